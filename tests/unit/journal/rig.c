/* SPDX-License-Identifier: Apache-2.0 */
/* rig.c: see rig.h. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"

static uint64_t freed_epoch(void *ctx, uint32_t segment) { return ((struct rig *)ctx)->freed[segment]; }

static void areas_new(struct rig *r)
{
    struct sim_disk_opts d = {.block_bytes = 512, .torn_bytes = 512,
                              .size_bytes = 2 * MIB + (uint64_t)r->opts.segment_bytes * RIG_AREA_SEGMENTS};
    struct uuid device;

    for (uint32_t i = 0; i < r->opts.nr_areas; i++) {
        memset(&device, 0xa0 + (int)i, sizeof(device));
        r->area_disk[i] = sim_disk_new(r->sim, "cache", &d);
        cr_assert_eq(segpool_plan_area(d.size_bytes, &device, &r->geo, &r->area_geo[i]), 0);
        cr_assert_eq(r->area_geo[i].nr_segments, RIG_AREA_SEGMENTS);
    }
}

struct rig *rig_new(const struct rig_opts *opts)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct sim_disk_opts d = {.block_bytes = 512, .latency_min_ns = opts->latency_min_ns,
                              .latency_max_ns = opts->latency_max_ns, .torn_bytes = 512};

    r->opts = *opts;
    r->opts.journal.placed = true;
    if (!r->opts.segment_bytes)
        r->opts.segment_bytes = RIG_SEGMENT_BYTES;
    if (!r->opts.nr_segments)
        r->opts.nr_segments = 32;
    if (!r->opts.align_bytes)
        r->opts.align_bytes = 512;
    if (opts->torn_bytes)
        d.torn_bytes = opts->torn_bytes;
    r->sim = sim_new(opts->seed ? opts->seed : 1);
    d.size_bytes = 2 * MIB + (uint64_t)r->opts.segment_bytes * r->opts.nr_segments;
    r->disk = sim_disk_new(r->sim, "journal", &d);
    cr_assert_eq(segpool_plan(d.size_bytes, r->opts.segment_bytes, r->opts.align_bytes, 1, &r->geo), 0);
    if (r->opts.long_heads)
        r->geo.head_bytes = 4096;
    memset(&r->geo.pool, 0x5a, sizeof(r->geo.pool));
    cr_assert_eq(r->geo.nr_segments, r->opts.nr_segments);
    areas_new(r);
    return r;
}

void rig_free(struct rig *r)
{
    if (r->env)
        rig_crash(r);
    for (uint32_t i = 0; i < r->nr_w; i++) {
        free(r->w[i].buf);
        free(r->w[i].csum);
    }
    free(r->rec);
    free(r->image);
    sim_disk_free(r->disk);
    for (uint32_t i = 0; i < r->opts.nr_areas; i++)
        sim_disk_free(r->area_disk[i]);
    sim_free(r->sim);
    free(r);
}

uint64_t rig_base(const struct rig *r, uint32_t segment)
{
    return r->geo.base_bytes + (uint64_t)segment * r->geo.segment_bytes;
}

/* ---- a life ---------------------------------------------------------------------------------------------------------- */

static int on_record(void *ctx, const struct journal_record *rec)
{
    struct rig *r = ctx;

    if (r->nr_rec == r->cap_rec) {
        r->cap_rec = r->cap_rec ? 2 * r->cap_rec : 256;
        r->rec = realloc(r->rec, r->cap_rec * sizeof(*r->rec));
    }
    r->rec[r->nr_rec].r = *rec;
    r->rec[r->nr_rec++].csum0 = rec->csum ? rec->csum[0] : 0;
    return 0;
}

static int on_damage(void *ctx, const struct journal_damage *d)
{
    struct rig *r = ctx;

    if (!d->range_known)
        r->nr_unnamed++;
    else if (r->nr_dmg < ARRAY_LEN(r->dmg))
        r->dmg[r->nr_dmg++] = *d;
    return 0;
}

static void on_segment(void *ctx, uint32_t segment, const struct segment_info *info)
{
    struct rig *r = ctx;

    cr_assert_eq(info->use, SEGMENT_LOG_SEALED);
    cr_assert(r->nr_sealed < ARRAY_LEN(r->sealed));
    r->sealed[r->nr_sealed++] = segment;
}

static void on_sealed(void *ctx, uint32_t segment, uint64_t seq_min, uint64_t seq_max)
{
    struct rig *r = ctx;

    cr_assert(seq_min <= seq_max);
    cr_assert(r->nr_sealed < ARRAY_LEN(r->sealed));
    r->sealed[r->nr_sealed++] = segment;
}

static void on_opened(void *ctx, uint32_t segment, enum journal_stream stream, uint64_t epoch)
{
    (void)segment, (void)stream, (void)epoch;
    ((struct rig *)ctx)->opened++;
}

static void on_space(void *ctx) { ((struct rig *)ctx)->space_wanted++; }

static void on_failed(void *ctx, int err)
{
    cr_assert(err < 0);
    ((struct rig *)ctx)->failed++;
}

static uint64_t commit_no(void *ctx) { return 1000 + ((struct rig *)ctx)->life; }

static void areas_open(struct rig *r)
{
    uint32_t nr = 0;

    if (r->log_only)
        segpool_log_only(r->pool);
    r->areas_refused = 0;
    for (uint32_t i = 0; i < r->opts.nr_areas; i++) {
        if (r->areas_absent >> i & 1)
            continue;
        cr_assert_eq(sim_dev_open(r->area_disk[i], r->env, &r->area_dev[nr]), 0);
        if (segpool_add(r->pool, r->area_dev[nr], &r->area_geo[i]) == 0) {
            nr++;
            continue;
        }
        r->areas_refused |= 1u << i;
        dev_close(r->area_dev[nr]);
        r->area_dev[nr] = NULL;
    }
    r->opts.journal.areas = r->area_dev;
}

static int open_journal(struct rig *r)
{
    struct journal_events ev = {.ctx = r, .segment_opened = on_opened, .segment_sealed = on_sealed, .space_wanted = on_space,
                                .failed = on_failed, .meta_commit_no = commit_no};
    struct journal_replay_ops ops = {r, on_record, on_damage, on_segment};
    int err = segpool_open(r->dev, &r->geo, freed_epoch, r, &r->pool);

    if (!err)
        areas_open(r);
    if (!err)
        err = journal_new(r->env, r->dev, r->pool, &r->opts.journal, &ev, &r->j);
    if (err)
        return err;
    journal_set_bugs(r->j, &r->opts.bugs);
    err = journal_replay(r->j, &ops, &r->report);
    return err || r->replay_only ? err : journal_open(r->j);
}

int rig_open(struct rig *r)
{
    int err;

    r->env = sim_env_new(r->sim);
    cr_assert_eq(sim_dev_open(r->disk, r->env, &r->dev), 0);
    r->life++;
    r->nr_rec = r->nr_dmg = r->nr_unnamed = r->nr_sealed = r->opened = 0;
    err = open_journal(r);
    if (r->replay_only || (err && err != -FIRN_E_STOPPED))
        rig_crash(r);
    else if (err)
        rig_down(r);
    return err;
}

static void release(struct rig *r)
{
    journal_abandon(r->j);
    segpool_close(r->pool);
    if (r->dev)
        dev_close(r->dev);
    for (uint32_t i = 0; i < RIG_AREAS; i++) {
        if (r->area_dev[i])
            dev_close(r->area_dev[i]);
        r->area_dev[i] = NULL;
    }
    if (r->env)
        sim_env_free(r->env);
    r->j = NULL;
    r->pool = NULL;
    r->dev = NULL;
    r->env = NULL;
}

void rig_down(struct rig *r)
{
    release(r);
    for (uint32_t i = 0; i < r->nr_w; i++)
        r->w[i].done = true;
    r->in_flight = 0;
    sim_reboot(r->sim);
}

void rig_crash(struct rig *r)
{
    if (!sim_crashed(r->sim))
        sim_crash(r->sim);
    rig_down(r);
}

void rig_save(struct rig *r)
{
    size_t len = sim_disk_size(r->disk);

    if (!r->image)
        r->image = malloc(len);
    sim_disk_peek(r->disk, 0, r->image, len);
}

void rig_restore(struct rig *r) { sim_disk_poke(r->disk, 0, r->image, sim_disk_size(r->disk)); }

void rig_flip(struct rig *r, uint32_t segment, uint64_t off, uint32_t bit)
{
    uint8_t sector[512];
    uint64_t at = rig_base(r, segment) + off;

    sim_disk_peek(r->disk, ROUND_DOWN(at, 512u), sector, sizeof(sector));
    sector[at % 512] ^= (uint8_t)(1u << bit);
    sim_disk_poke(r->disk, ROUND_DOWN(at, 512u), sector, sizeof(sector));
}

void rig_zero(struct rig *r, uint32_t segment, uint64_t off, size_t len)
{
    uint8_t *zeros = calloc(1, len);

    sim_disk_poke(r->disk, rig_base(r, segment) + off, zeros, len);
    free(zeros);
}

int rig_close(struct rig *r, bool seal)
{
    int err = journal_close(r->j, seal);

    r->j = NULL;
    if (err == -FIRN_E_STOPPED)
        rig_down(r);
    else
        release(r);
    return err;
}

/* ---- writes ------------------------------------------------------------------------------------------------------------- */

static void on_append(struct journal_append *a)
{
    struct wr *w = a->ctx;
    struct rig *r = w->iov[1].iov_base;

    cr_assert(!w->done, "answered twice");
    w->done = true;
    w->acked = a->err == 0;
    cr_assert_eq(w->canceled, a->err == -FIRN_E_CANCELED);
    w->order = ++r->answered;
    r->in_flight--;
    if (w->acked && a->stream == JOURNAL_HOST && !r->opts.bugs.ack_out_of_order)
        cr_assert_eq(journal_durable_seq(r->j), a->seq);
}

static void fill(struct wr *w)
{
    w->buf = aligned_alloc(4096, w->a.nblocks * BLOCK_BYTES);
    w->csum = calloc(w->a.nblocks, sizeof(*w->csum));
    for (uint64_t b = 0; b < w->a.nblocks; b++) {
        uint64_t *words = (uint64_t *)(void *)(w->buf + b * BLOCK_BYTES);

        for (uint32_t i = 0; i < BLOCK_BYTES / 8; i++)
            words[i] = (w->a.layer << 48) ^ ((w->a.lba + b) << 20) ^ i ^ ((uint64_t)(uintptr_t)w & 0xffff0) * 0x9e3779b97f4a7c15u;
        w->csum[b] = block_csum(w->buf + b * BLOCK_BYTES, w->a.layer, w->a.lba + b);
    }
}

struct wr *rig_append(struct rig *r, enum journal_stream stream, enum journal_rec_type type, uint64_t lba, uint64_t nblocks)
{
    struct wr *w = &r->w[r->nr_w++];

    cr_assert(r->nr_w <= RIG_WRITES_MAX);
    w->a = (struct journal_append){.type = type, .stream = stream, .layer = 7, .lba = lba, .nblocks = nblocks,
                                   .cb = on_append, .ctx = w};
    w->life = r->life;
    w->iov[1].iov_base = r; /* not part of the request: iovcnt is 1 */
    if (stream == JOURNAL_MOVES)
        w->a.seq = 500000 + r->nr_w;
    if (type == JOURNAL_PLACED) {
        w->csum = calloc(nblocks, sizeof(*w->csum));
        for (uint64_t i = 0; i < nblocks; i++)
            w->csum[i] = (uint32_t)(lba + i) * 2654435761u;
        w->a.csum = w->csum;
        w->a.place = lba * 77;
    }
    if (type == JOURNAL_WRITE) {
        fill(w);
        w->iov[0] = (struct iovec){w->buf, nblocks * BLOCK_BYTES};
        w->a.iov = w->iov;
        w->a.iovcnt = 1;
        w->a.csum = w->csum;
    }
    w->submitted = true;
    r->in_flight++;
    journal_append(r->j, &w->a);
    cr_assert(!w->done, "answered from inside the call");
    return w;
}

bool rig_cancel(struct rig *r, struct wr *w)
{
    if (w->done || !journal_append_cancel(r->j, &w->a))
        return false;
    cr_assert(!w->done, "answered from inside the call");
    w->freed = w->canceled = true;
    return true;
}

static bool all_answered(void *ctx) { return ((struct rig *)ctx)->in_flight == 0; }

int rig_wait(struct rig *r) { return sim_run_until(r->sim, all_answered, r, 60 * NS_PER_S); }

void rig_free_sealed(struct rig *r, uint32_t nth)
{
    uint32_t segment = r->sealed[nth];
    struct segment_info info;

    cr_assert(r->nr_sealed > nth);
    memmove(r->sealed + nth, r->sealed + nth + 1, (--r->nr_sealed - nth) * sizeof(*r->sealed));
    segpool_info(r->pool, segment, &info);
    for (uint32_t i = 0; i < r->nr_w; i++)
        if (r->w[i].acked && !r->w[i].freed && r->w[i].a.loc.segment == segment)
            r->w[i].freed = true;
    r->freed[segment] = info.epoch;
    journal_segment_free(r->j, segment);
}

/* ---- judging ------------------------------------------------------------------------------------------------------------- */

const struct journal_record *rig_find(const struct rig *r, uint64_t layer, uint64_t lba, uint64_t seq)
{
    for (uint32_t i = 0; i < r->nr_rec; i++)
        if (r->rec[i].r.layer == layer && r->rec[i].r.lba == lba && r->rec[i].r.seq == seq)
            return &r->rec[i].r;
    return NULL;
}

static bool in_place(struct rig *r, const struct wr *w, const struct journal_record *rec)
{
    uint8_t *b;
    bool same;

    if (rec->type != w->a.type || rec->nblocks != w->a.nblocks || rec->stream != w->a.stream)
        return false;
    if (w->a.type == JOURNAL_PLACED)
        return rec->place == w->a.place;
    if (w->a.type != JOURNAL_WRITE)
        return true;
    b = malloc(w->a.nblocks * BLOCK_BYTES);
    sim_disk_peek(r->disk, rig_base(r, rec->loc.segment) + (uint64_t)rec->loc.unit * JOURNAL_UNIT_BYTES, b,
                  w->a.nblocks * BLOCK_BYTES);
    same = memcmp(b, w->buf, w->a.nblocks * BLOCK_BYTES) == 0;
    free(b);
    return same;
}

uint32_t rig_verify(struct rig *r)
{
    bool ended[2] = {false, false};
    uint32_t bad = 0, last_life = 0;

    for (uint32_t i = 0; i < r->nr_w; i++) {
        struct wr *w = &r->w[i];
        const struct journal_record *rec = rig_find(r, w->a.layer, w->a.lba, w->a.seq);
        const char *why = rec && w->freed ? "replayed although its segment was freed" : NULL;

        if (w->life != last_life)
            ended[0] = ended[1] = false;
        last_life = w->life;
        if (w->freed || w->life == r->life)
            rec = NULL;
        else if (!rec && w->acked)
            why = "acknowledged and not replayed";
        else if (rec && w->absent)
            why = "came back from the dead";
        else if (rec && ended[w->a.stream])
            why = "kept although one before it in its stream is not";
        else if (rec && !in_place(r, w, rec))
            why = "replayed with other bytes";
        if (!w->freed && w->life != r->life && !rec) {
            ended[w->a.stream] = true;
            w->absent = true;
        } else if (rec) {
            w->acked = true; /* seen once: it must stay */
            w->a.loc = rec->loc;
        }
        if (why)
            fprintf(stderr, "write %u lba %lu seq %lu: %s\n", i, (unsigned long)w->a.lba, (unsigned long)w->a.seq, why);
        bad += why != NULL;
    }
    return bad;
}

uint32_t rig_groups(struct rig *r, uint32_t segment, struct jrn_group *g, uint64_t *off, uint32_t max)
{
    static uint8_t buf[JRN_GROUP_HEADER_MAX];
    uint64_t at = JRN_SEG_HEADER_BYTES;
    uint32_t n = 0;

    while (n < max && at + JRN_GROUP_HEADER_MAX < r->geo.segment_bytes) {
        sim_disk_peek(r->disk, rig_base(r, segment) + at, buf, sizeof(buf));
        if (jrn_group_decode(&r->geo, segment, at, buf, sizeof(buf), &g[n]))
            break;
        off[n] = at;
        at += jrn_group_padded_bytes(&r->geo, &g[n]) + (uint64_t)g[n].nr_blocks * BLOCK_BYTES;
        n++;
    }
    return n;
}

void rig_write_blocks(struct rig *r, uint64_t nr)
{
    for (uint64_t i = 0; i < nr; i++)
        rig_write(r, i, 1);
    cr_assert_eq(rig_wait(r), 0);
}
