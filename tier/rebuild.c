/* SPDX-License-Identifier: Apache-2.0 */
/* rebuild.c: new metadata from what the devices say of themselves. A last resort, never in place.
 *
 * 1. Every description on every capacity device is read; of two for one slot the younger counts (rebuild_desc.c).
 *    Of two for one extent the one destaged later counts; if both are of one destage, the one whose bytes fit (rebuild_moved.c).
 * 2. The log is replayed without any knowledge of freed segments: it tells layers that never settled, and each layer's shard.
 * 3. Each layer becomes a volume, but those that somebody leaves out (rebuild_choice.c): with the name and identity that its extents
 *    tell, else as recovered-LAYER, sized by the last block that either knows. If the pool has no room for what the log holds
 *    besides, nothing is written, and a line says so. The records are committed elsewhere.
 * 4. Log segments that hold nothing more than the extents do become free (rebuild_log.c reads data for it), but the one with the
 *    highest seq of its shard. If nothing was unreadable, batches are numbered on from the highest that the log names: the pool
 *    opens as after any crash.
 * A description that is older than its extent's bytes makes those blocks fail their checksum: an error, not a wrong byte.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tier/check.h"
#include "tier/order.h"

#define BATCH_EXTENTS 64u

/* Of one shard: the highest seq in its log, and where it lies. */
struct witness { bool there; uint32_t segment; uint64_t seq; };

struct rebuild {
    struct offline o;
    struct strbuf *out;
    struct found f;
    uint64_t layer_max;         /* the highest id that anything names */
    uint8_t *desc;              /* a description */
    uint8_t *needed;            /* by segment: the log holds what nothing else does */
    struct witness newest[REACTORS_MAX];
    struct tier_check_report *report;
    uint64_t twins;             /* places that the log names beside those of descriptions */
};

/* ---- what the devices say ---- */

static int found_order(const void *pa, const void *pb)
{
    const struct found_extent *a = pa, *b = pb;
    int order = order_in_layer(a->layer, a->extent, b->layer, b->extent);

    return order != 0 ? order : order_up(b->destaged_seq, a->destaged_seq); /* the newest first: it stays */
}

static bool same_extent(const struct found_extent *a, const struct found_extent *b)
{
    return a->layer == b->layer && a->extent == b->extent;
}

/* The better one, as far as bytes tell. Nobody is to take an older version for the newest without a word. */
static int choose(struct rebuild *b, struct found_extent *last, const struct found_extent *f)
{
    bool better, doubt;
    int err = rebuild_better(&b->o, last, f, &better, &doubt);

    if (err)
        return err;
    if (better)
        *last = *f;
    if (doubt) {
        strbuf_add(b->out, "extent %llu of layer %llu: two places say the same, and the bytes of one do not fit: it may have been written "
                   "since, and what comes back be older\n", (unsigned long long)f->extent, (unsigned long long)f->layer);
        b->report->findings++;
        b->report->losses++;
    }
    return 0;
}

static int drop_older(struct rebuild *b)
{
    struct found *f = &b->f;
    size_t n = 0;
    int err = 0;

    if (f->nr_exts > 0)
        qsort(f->exts, f->nr_exts, sizeof(*f->exts), found_order);
    for (size_t i = 0; i < f->nr_exts && !err; i++) {
        struct found_extent *last = n > 0 ? &f->exts[n - 1] : NULL;

        if (last == NULL || !same_extent(last, &f->exts[i])) {
            f->exts[n++] = f->exts[i];
            continue;
        }
        if (last->destaged_seq == f->exts[i].destaged_seq)
            err = choose(b, last, &f->exts[i]);
    }
    f->nr_exts = n;
    return err;
}

/* ---- layers ---- */

static int layer_order(const void *a, const void *b)
{
    return order_up(((const struct found_layer *)a)->layer, ((const struct found_layer *)b)->layer);
}

/* Returns the shard whose log reaches furthest. */
static uint32_t find_newest(struct rebuild *b)
{
    uint32_t furthest = 0;

    for (size_t i = 0; i < b->o.nr_recs; i++) {
        const struct log_rec *r = &b->o.recs[i];
        struct witness *w = &b->newest[r->shard];

        if (!w->there || r->seq > w->seq)
            *w = (struct witness){.there = true, .segment = r->loc.segment, .seq = r->seq};
    }
    for (uint32_t i = 1; i < b->o.pool.nr_shards; i++)
        if (b->newest[i].seq > b->newest[furthest].seq)
            furthest = i;
    return furthest;
}

/* A layer of which the log knows nothing may go to any shard, if only that one's seqs have come as far as its own. */
static int find_layers(struct rebuild *b)
{
    struct found *f = &b->f;
    struct found_layer *l = NULL;
    uint32_t furthest;

    offline_sort(&b->o); /* one search a layer and not one a record */
    furthest = find_newest(b);
    for (size_t i = 0; i < f->nr_layers; i++)
        f->layers[i].shard = furthest;
    for (size_t i = 0; i < f->nr_exts; i++) {
        if (l == NULL || l->layer != f->exts[i].layer)
            l = found_layer_get(f, f->exts[i].layer);
        if (l == NULL)
            return -ENOMEM;
        l->blocks = MAX(l->blocks, (f->exts[i].extent + 1) * EXTENT_BLOCKS);
        l->extents++;
    }
    for (size_t i = 0; i < b->o.nr_recs; i++) {
        const struct log_rec *r = &b->o.recs[i];

        if (l == NULL || l->layer != r->layer)
            l = found_layer_get(f, r->layer);
        if (l == NULL)
            return -ENOMEM;
        l->shard = r->shard;
        if (r->type == JOURNAL_WRITE || r->type == JOURNAL_PLACED)
            l->blocks = MAX(l->blocks, r->lba + r->nblocks);
    }
    if (f->nr_layers > 0) {
        qsort(f->layers, f->nr_layers, sizeof(*f->layers), layer_order);
        b->layer_max = MAX(b->layer_max, f->layers[f->nr_layers - 1].layer);
    }
    return b->layer_max < NEXT_ID_MAX ? 0 : -FIRN_E_CORRUPT;
}

static unsigned long long ull(uint64_t v) { return v; }

static uint64_t extents_total(const struct rebuild *b)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < b->o.devs.nr; i++)
        if (b->o.devs.dev[i].opts.role == TIER_CAPACITY)
            total += b->o.devs.dev[i].label.ext_nr;
    return total;
}

/* 0: the pool can be served from what was found. 1: it cannot, and a line says why. */
static int judge_room(struct rebuild *b)
{
    uint64_t total = extents_total(b), used = b->f.nr_exts + b->twins, need;
    int err = found_need(&b->f, &need);

    if (err)
        return err;
    found_say(&b->f, b->out);
    if (b->f.nr_layers > VOLUMES_MAX)
        strbuf_add(b->out, "too many volumes: %llu were found, a pool holds %u; no map was made: do it again, leaving out those that had "
                   "been deleted, with --without VOLUME\n", ull(b->f.nr_layers), VOLUMES_MAX);
    else if (used + need > total)
        strbuf_add(b->out, "too full to start: what the log holds will take %llu extents of 1 MiB, of %llu the volumes have %llu: %llu MiB "
                   "too few; no map was made: do it again, leaving out volumes that had been deleted, with --without VOLUME\n",
                   ull(need), ull(total), ull(used), ull(used + need - total));
    else
        return 0;
    b->report->findings++;
    return 1;
}

/* ---- the new records ---- */

/* A description may be older than the bytes beside it. Those fail their checksum then, and that is the answer; a copy of what they were
 * would be believed, so none counts any more. */
static int write_pool(struct rebuild *b)
{
    const struct label *j = &b->o.devs.dev[0].label;
    struct pool_rec pool = {.uuid = j->pool, .next_volume_id = b->f.nr_layers + 1, .next_layer_id = b->layer_max + 1,
                            .nr_shards = j->nr_shards, .nr_capacity = j->nr_capacity, .created_wall_ns = j->created_wall_ns};
    uint8_t values[POOL_DEVS_MAX + 1][POOL_REC_BYTES];
    struct meta_op ops[POOL_DEVS_MAX + 1];
    uint32_t nr = 1;

    if (pool_copies_epoch(b->o.segpool, &pool.copies_epoch) != 0)
        return -FIRN_E_CORRUPT;
    memcpy(pool.name, j->pool_name, sizeof(pool.name));
    ops[0] = (struct meta_op){.key = meta_key_pool(), .value = values[0], .value_len = pool_rec_encode(&pool, values[0])};
    for (uint32_t i = 0; i < b->o.devs.nr; i++) {
        const struct label *l = &b->o.devs.dev[i].label;
        struct device_rec r = {.uuid = l->device, .device_bytes = l->device_bytes};

        if (b->o.devs.dev[i].missing)
            continue;
        ops[nr] = (struct meta_op){.key = meta_key_device(l->role, l->index), .value = values[nr],
                                   .value_len = device_rec_encode(&r, values[nr])};
        nr++;
    }
    return b->o.meta->ops->commit_sync(b->o.meta, ops, nr);
}

static void identity(struct rebuild *b, const struct found_layer *l, struct volume_rec *v)
{
    memcpy(v->name, l->name, sizeof(v->name));
    if (found_as_told(l)) {
        v->uuid = l->volume.uuid;
        v->lba_bytes = l->volume.lba_bytes;
        return;
    }
    env_random(b->o.opts->envs[0], v->uuid.b, sizeof(v->uuid.b));
    v->uuid.b[6] = (uint8_t)((v->uuid.b[6] & 0x0f) | 0x40);
    v->uuid.b[8] = (uint8_t)((v->uuid.b[8] & 0x3f) | 0x80);
}

static int write_volume(struct rebuild *b, uint64_t id, const struct found_layer *l)
{
    struct volume_rec v = {.id = id, .layer = l->layer, .size_bytes = found_bytes(l), .lba_bytes = BLOCK_BYTES,
                           .shard = (uint16_t)l->shard};
    struct layer_rec layer = {.volume = id};
    uint8_t value[VOLUME_REC_BYTES], layer_value[LAYER_REC_BYTES];
    struct meta_op ops[2] = {{.key = meta_key_volume(id), .value = value}, {.key = meta_key_layer(l->layer), .value = layer_value}};

    identity(b, l, &v);
    ops[0].value_len = volume_rec_encode(&v, value);
    ops[1].value_len = layer_rec_encode(&layer, layer_value);
    return b->o.meta->ops->commit_sync(b->o.meta, ops, 2);
}

static int put_extents(struct rebuild *b, const struct found_extent *f, uint32_t nr)
{
    static uint8_t rec[BATCH_EXTENTS][EXTENT_REC_BYTES], sums[BATCH_EXTENTS][EXTENT_SUMS_BYTES];
    struct meta_op ops[2 * BATCH_EXTENTS];

    for (uint32_t i = 0; i < nr; i++) {
        struct extent_rec r = {.place = f[i].place, .destaged_seq = f[i].destaged_seq};
        const struct pool_dev *d = offline_capacity(&b->o, r.place.dev);
        struct extent_desc desc;
        int err;

        assert(d != NULL);
        err = dev_read_sync(d->on[0], f[i].desc_off, b->desc, DESC_BYTES);
        if (!err)
            err = extent_desc_decode(b->desc, &desc);
        if (err)
            return err;
        ops[2 * i] = (struct meta_op){.key = meta_key_extent(f[i].layer, f[i].extent), .value = rec[i],
                                      .value_len = extent_rec_encode(&r, rec[i])};
        ops[2 * i + 1] = (struct meta_op){.key = meta_key_sums(f[i].layer, f[i].extent), .value = sums[i],
                                          .value_len = extent_sums_encode(&desc.sums, sums[i])};
    }
    return b->o.meta->ops->commit_sync(b->o.meta, ops, 2 * nr);
}

/* A log with nothing in it would say that nothing had ever been written, and contradict extents that were destaged. So, as while a
 * server runs, the segment stays that bears witness to the highest seq of its shard. */
static void keep_witnesses(struct rebuild *b)
{
    for (uint32_t i = 0; i < b->o.pool.nr_shards; i++)
        if (b->newest[i].there)
            b->needed[b->newest[i].segment] = 1;
}

/* Log segments that hold nothing the extents lack are free, as they were before. */
static int write_segments(struct rebuild *b)
{
    uint32_t nr = b->o.devs.dev[0].label.seg_nr;
    int err = rebuild_segments_needed(&b->o, b->f.exts, b->f.nr_exts, b->needed);

    keep_witnesses(b);
    for (uint32_t g = 0; g < nr && !err; g++) {
        struct segment_info info;
        uint8_t value[64];
        struct meta_op op = {.key = meta_key_segment(g), .value = value};

        segpool_info(b->o.segpool, g, &info);
        if (b->needed[g] || info.epoch == 0 || (info.use != SEGMENT_LOG_OPEN && info.use != SEGMENT_LOG_SEALED))
            continue;
        op.value_len = segment_rec_encode(info.epoch, value);
        err = b->o.meta->ops->commit_sync(b->o.meta, &op, 1);
        b->report->records++;
    }
    return err;
}

/* The log names batches of the lost metadata; batches of the new one must not be mistaken for those. Where something is
 * known to be missing the numbers stay low: the pool then opens only for somebody who accepts the loss, which settles it. */
static int number_batches(struct rebuild *b)
{
    uint64_t seen = 0;

    for (uint32_t i = 0; i < b->o.pool.nr_shards; i++)
        seen = MAX(seen, b->o.reports[i].meta_commit_no_max);
    if (seen > NUMBER_START_MAX)
        return -FIRN_E_CORRUPT;
    if (b->report->losses == 0)
        b->o.meta->ops->number_from(b->o.meta, seen);
    return 0;
}

/* The pool's own record comes last: without it nothing starts from a map that a crash left in part. */
static int write_records(struct rebuild *b)
{
    struct found *f = &b->f;
    int err = 0;

    b->report->records += 2 * f->nr_exts + 2 * f->nr_layers + b->o.devs.nr + 1;
    for (size_t i = 0; i < f->nr_exts && !err; i += BATCH_EXTENTS)
        err = put_extents(b, f->exts + i, (uint32_t)MIN(f->nr_exts - i, (size_t)BATCH_EXTENTS));
    for (size_t i = 0; i < f->nr_layers && !err; i++)
        err = write_volume(b, i + 1, &f->layers[i]);
    if (!err)
        err = write_segments(b);
    return err ? err : write_pool(b);
}

static void damage_line(void *ctx, uint32_t shard, const struct journal_damage *d)
{
    struct rebuild *b = ctx;

    if (d->range_known)
        b->layer_max = MAX(b->layer_max, d->layer);
    strbuf_add(b->out, "log of shard %u: segment %u, unit %u cannot be read back\n", shard, d->segment, d->unit);
    b->needed[d->segment] = 1;
    b->report->findings++;
    b->report->losses++;
}

/* What is there already is never written over, whatever state it is in. */
static int open_new(struct rebuild *b, const struct tier_opts *new_opts, char why[static 256])
{
    char text[256];
    int err = pool_meta_open(new_opts, true, false, &b->o.meta, text);

    if (err == -FIRN_E_CORRUPT || err == -FIRN_E_EXISTS)
        snprintf(why, 256, "the directory holds metadata already: %.200s", text);
    else
        memcpy(why, text, sizeof(text));
    return err == -FIRN_E_CORRUPT ? -FIRN_E_EXISTS : err;
}

static int look(struct rebuild *b, const struct tier_opts *new_opts, char why[static 256])
{
    int err = pool_labels_read(&b->o.devs, why);

    if (!err)
        err = open_new(b, new_opts, why);
    if (!err)
        err = offline_segments(&b->o, why);
    b->o.pool.nr_shards = b->o.devs.dev[0].label.nr_shards;
    if (!err)
        b->needed = calloc(b->o.devs.dev[0].label.seg_nr, 1);
    if (!err && b->needed == NULL)
        err = -ENOMEM;
    if (!err)
        err = offline_replay(&b->o, damage_line, b, why);
    for (uint32_t i = 0; i < b->o.devs.nr && !err; i++)
        if (b->o.devs.dev[i].opts.role == TIER_CAPACITY)
            err = rebuild_descs(&b->f, &b->o.devs.dev[i], b->out, b->report);
    return err;
}

static int run(struct rebuild *b, const struct tier_opts *new_opts, char why[static 256])
{
    int err = look(b, new_opts, why);

    if (err)
        return err;
    err = drop_older(b);
    err = err ? err : rebuild_twins(&b->f, b->out, b->report, &b->twins);
    err = err ? err : find_layers(b);
    if (err)
        return err;
    found_name(&b->f);
    err = found_leave_out(&b->f, b->o.opts, b->out, why);
    if (!err)
        err = judge_room(b);
    if (err)
        return err > 0 ? 0 : err;
    err = number_batches(b);
    return err ? err : write_records(b);
}

int tier_rebuild_map(const struct tier_opts *opts, const char *new_meta_dir, struct strbuf *out, struct tier_check_report *report,
                     char why[static 256])
{
    struct rebuild *b = calloc(1, sizeof(*b));
    struct tier_opts *new_opts = malloc(sizeof(*new_opts));
    int err = b == NULL || new_opts == NULL ? -ENOMEM : 0;

    why[0] = '\0';
    if (err)
        goto free_both;
    *new_opts = *opts;
    snprintf(new_opts->meta_path, sizeof(new_opts->meta_path), "%s", new_meta_dir);
    memset(report, 0, sizeof(*report));
    b->f.o = &b->o;
    b->out = out;
    b->report = report;
    b->desc = aligned_alloc(4096, DESC_BYTES);
    err = b->desc == NULL ? -ENOMEM : offline_open(&b->o, opts, why);
    if (!err) {
        err = run(b, new_opts, why);
        offline_close(&b->o);
    }
    if (err && why[0] == '\0')
        snprintf(why, 256, "the map cannot be rebuilt: %s", err_text(err));
    free(b->desc);
    free(b->needed);
    free(b->f.exts);
    free(b->f.layers);
free_both:
    free(new_opts);
    free(b);
    return err;
}
