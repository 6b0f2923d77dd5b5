/* SPDX-License-Identifier: Apache-2.0 */
/* check.c: does a pool hold together? Offline, read-only, the same output each time.
 *
 * 1. Labels (I14, I18): every copy of every device; who they say they are.
 * 2. Metadata: its file page by page, then every record alone and against the others (check_meta.c: I1, I2, I3, I12, I13).
 * 3. The log: replayed without writing (I5, I6), and judged against the metadata (I8).
 * 4. Data: every block of every extent and of the log against its checksum (check_data.c: I11).
 * Failures: what cannot be opened at all is a negative result; all else is a line, and the walk goes on where it can.
 */
#include "tier/check.h"
#include "tier/order.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void check_say(struct check *c, const char *invariant, enum check_loss loss, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    strbuf_add(c->out, "%s %s: %s\n", invariant, loss == CHECK_LOSS ? "loss" : "damage", text);
    c->report->findings++;
    c->report->losses += loss == CHECK_LOSS;
}

/* Ids of volumes and of their layers rise together. */
static int by_layer(const void *pa, const void *pb)
{
    const struct check_volume *a = pa, *b = pb;

    return order_up(a->rec.layer, b->rec.layer);
}

const struct check_volume *check_volume_of_layer(const struct check *c, uint64_t layer)
{
    struct check_volume what = {.rec.layer = layer};

    return c->nr_vols == 0 ? NULL : bsearch(&what, c->vols, c->nr_vols, sizeof(what), by_layer);
}

static int by_extent(const void *pa, const void *pb)
{
    const struct check_extent *a = pa, *b = pb;

    return order_in_layer(a->layer, a->extent, b->layer, b->extent);
}

const struct check_extent *check_extent_find(const struct check *c, uint64_t layer, uint64_t extent)
{
    struct check_extent what = {.layer = layer, .extent = extent};

    return c->nr_exts == 0 ? NULL : bsearch(&what, c->exts, c->nr_exts, sizeof(what), by_extent);
}

/* ---- labels ---- */

static void check_copies(struct check *c, const struct pool_dev *d)
{
    struct label_copies copies;
    struct label l;
    int err = label_read(d->on[0], d->bytes, &l, &copies);

    if (!err && l.device_bytes < d->bytes)
        err = label_read(d->on[0], l.device_bytes, &l, &copies);
    for (unsigned i = 0; i < LABEL_COPIES; i++)
        if (copies.err[i] == -FIRN_E_FORMAT_VERSION)
            check_say(c, "I18", CHECK_HARMLESS, "device \"%s\": copy %u of its label is of a newer format", d->opts.path, i);
        else if (copies.err[i] != 0)
            check_say(c, "I14", CHECK_HARMLESS, "device \"%s\": copy %u of its label: %s", d->opts.path, i,
                      err_text(copies.err[i]));
        else if (!err && copies.stale & 1u << i)
            check_say(c, "I14", CHECK_HARMLESS, "device \"%s\": copy %u of its label is older than another", d->opts.path, i);
}

/* 0: the labels are a pool's. 1: they are not, and a line says so. */
static int check_labels(struct check *c)
{
    char why[256];
    int err;

    for (uint32_t i = 0; i < c->off.devs.nr; i++)
        if (c->off.devs.dev[i].missing)
            check_say(c, "I14", CHECK_HARMLESS, "cache device \"%s\" is missing: the copies that it holds are not used",
                      c->off.devs.dev[i].opts.path);
        else
            check_copies(c, &c->off.devs.dev[i]);
    err = pool_labels_read(&c->off.devs, why);
    if (err)
        check_say(c, err == -FIRN_E_FORMAT_VERSION ? "I18" : "I14", CHECK_LOSS, "%s", why);
    return err ? 1 : 0;
}

/* ---- metadata ---- */

static void bad_record(void *ctx, const struct meta_key *key)
{
    struct check *c = ctx;
    char hex[2 * META_KEY_MAX + 1];

    for (unsigned i = 0; i < key->len; i++)
        snprintf(hex + 2 * i, 3, "%02x", key->b[i]);
    check_say(c, "I11", key->b[0] == 'G' || key->b[0] == 'T' ? CHECK_HARMLESS : CHECK_LOSS,
              "metadata: the record of key %s fails its checksum", hex);
}

/* What the metadata is. All else is what kept it from being read, and says nothing about what it holds. */
static bool is_finding(int err)
{
    return err == -FIRN_E_CORRUPT || err == -FIRN_E_MISSING || err == -FIRN_E_FOREIGN || err == -FIRN_E_FORMAT_VERSION;
}

static int say_unread(int err, char why[static 256])
{
    const char *todo = err == -EACCES || err == -EPERM ? "run it as the user that owns it"
                                                       : "this is no loss of data: mend it, then check again";
    char what[256];

    snprintf(what, sizeof(what), "%s", why[0] != '\0' ? why : err_text(err));
    if (err != -FIRN_E_BUSY)
        snprintf(why, 256, "%.*s; %s", (int)(253 - strlen(todo)), what, todo);
    return err;
}

/* 0: open. 1: damaged, and a line says so. */
static int check_meta_open(struct check *c, char why[static 256])
{
    const struct tier_opts *o = c->off.opts;
    struct meta_walk w = {.bad = bad_record, .ctx = c};
    int err = 0;

    if (o->seams.meta_open == NULL)
        err = meta_lmdb_walk(o->meta_path, &w, why);
    c->report->records += w.records;
    if (!err)
        err = pool_meta_open(o, false, true, &c->off.meta, why);
    if (!err)
        err = pool_meta_match(&c->off.devs, c->off.meta, &c->off.pool, why);
    err = err == -ENOENT ? -FIRN_E_MISSING : err;
    if (err && !is_finding(err))
        return say_unread(err, why);
    if (err)
        check_say(c, "I2", CHECK_LOSS, "%.200s", why);
    c->report->meta_err = err;
    return err ? 1 : 0;
}

/* ---- the log ---- */

static void log_damage(void *ctx, uint32_t shard, const struct journal_damage *d)
{
    struct check *c = ctx;

    if (d->range_known)
        check_say(c, "I6", CHECK_LOSS, "log of shard %u, segment %u, unit %u: layer %llu blocks %llu+%llu, seq %llu cannot be read back",
                  shard, d->segment, d->unit, (unsigned long long)d->layer, (unsigned long long)d->lba,
                  (unsigned long long)d->nblocks, (unsigned long long)d->seq);
    else
        check_say(c, "I6", CHECK_LOSS, "log of shard %u, segment %u, unit %u: a group cannot be read back, nor what was in it",
                  shard, d->segment, d->unit);
}

static int shard_seq_seen(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct check *c = ctx;
    struct shard_rec rec;
    uint64_t no;

    if (meta_key_parse_id(key, 'S', &no) != 0 || no >= REACTORS_MAX || value == NULL || shard_rec_decode(value, len, &rec) != 0)
        check_say(c, "I8", CHECK_LOSS, "metadata: a shard's record is damaged");
    else
        c->off.shard[no] = rec;
    return 0;
}

struct owners { bool any[REACTORS_MAX]; }; /* shards that have a volume */

static int owner_seen(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct owners *o = ctx;
    struct volume_rec rec;

    (void)key;
    if (value != NULL && volume_rec_decode(value, len, &rec) == 0 && rec.shard < REACTORS_MAX)
        o->any[rec.shard] = true;
    else
        memset(o->any, true, sizeof(o->any)); /* a damaged record may be of any */
    return 0;
}

/* As a start takes it: of a shard without a volume nothing can have been written behind its marks. */
static int marks_without_owner(struct check *c)
{
    struct meta_key prefix = meta_key_tag('V');
    struct owners owners = {0};
    int err = c->off.meta->ops->scan_sync(c->off.meta, &prefix, owner_seen, &owners);

    for (uint32_t i = 0; i < REACTORS_MAX && !err; i++)
        c->off.shard[i].marks_final |= !owners.any[i];
    return err;
}

static int check_log(struct check *c, char why[static 256])
{
    struct meta_key prefix = meta_key_tag('S');
    struct meta *m = c->off.meta;
    int err = m->ops->scan_sync(m, &prefix, shard_seq_seen, c);

    if (!err)
        err = marks_without_owner(c);
    if (!err)
        err = offline_segments(&c->off, why);
    if (!err)
        err = offline_replay(&c->off, log_damage, c, why);
    if (err)
        return err;
    for (uint32_t i = 0; i < c->off.pool.nr_shards; i++) {
        const struct journal_replay_report *r = &c->off.reports[i];

        if (r->meta_commit_no_max > meta_commit_no(m))
            check_say(c, "I8", CHECK_LOSS, "metadata is at batch %llu, the log of shard %u saw batch %llu: it was rolled back",
                      (unsigned long long)meta_commit_no(m), i, (unsigned long long)r->meta_commit_no_max);
        if (c->off.shard[i].durable_seq > r->seq_max)
            check_say(c, "I5", CHECK_LOSS, "the log of shard %u ends at %llu, the metadata knows of %llu: writes are missing", i,
                      (unsigned long long)r->seq_max, (unsigned long long)c->off.shard[i].durable_seq);
        if (r->groups_maybe > 0)
            check_say(c, "I6", CHECK_LOSS, "segment %u of the journal cannot be read where the log of shard %u may go on: its last "
                      "acknowledged writes may stand there, or nothing", r->maybe_segment, i);
        if (r->groups_unnamed > r->groups_maybe)
            check_say(c, "I6", CHECK_LOSS, "the log of shard %u lacks %llu or more groups that were durable, and nothing names "
                      "what they held", i, (unsigned long long)(r->groups_unnamed - r->groups_maybe));
    }
    c->report->records += c->off.nr_recs;
    offline_sort(&c->off);
    return 0;
}

static int run(struct check *c, char why[static 256])
{
    int err = check_labels(c);

    if (!err)
        err = check_meta_open(c, why);
    if (!err)
        err = check_log(c, why);
    if (!err && c->depth >= TIER_CHECK_META)
        err = check_records(c);
    if (!err && c->depth >= TIER_CHECK_DATA)
        err = check_data(c);
    return err > 0 ? 0 : err;
}

int tier_check(const struct tier_opts *opts, enum tier_check_depth depth, struct strbuf *out,
               struct tier_check_report *report, char why[static 256])
{
    struct check *c = calloc(1, sizeof(*c));
    int err;

    why[0] = '\0';
    memset(report, 0, sizeof(*report));
    if (c == NULL)
        return -ENOMEM;
    c->depth = depth;
    c->out = out;
    c->report = report;
    err = offline_open(&c->off, opts, why);
    if (!err) {
        err = run(c, why);
        offline_close(&c->off);
    }
    if (err && why[0] == '\0')
        snprintf(why, 256, "the pool cannot be read: %s", err_text(err));
    free(c->vols);
    free(c->exts);
    free(c->sums);
    free(c);
    return err;
}
