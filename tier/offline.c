/* SPDX-License-Identifier: Apache-2.0 */
/* offline.c: a pool opened for reading by check and dump: devices locked, the log replayed into memory, nothing written. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tier/check.h"
#include "tier/order.h"

#define RECORD_BLOCKS_MAX (GROUP_BYTES_MAX / BLOCK_BYTES)

void *check_grow(void **v, size_t *nr, size_t *cap, size_t bytes)
{
    if (*nr == *cap) {
        size_t want = *cap ? *cap * 2 : 256;
        void *p = realloc(*v, want * bytes);

        if (p == NULL)
            return NULL;
        *v = p;
        *cap = want;
    }
    memset((char *)*v + *nr * bytes, 0, bytes);
    return (char *)*v + (*nr)++ * bytes;
}

int offline_open(struct offline *o, const struct tier_opts *opts, char why[static 256])
{
    memset(o, 0, sizeof(*o));
    o->opts = opts;
    return pool_devs_open(&o->devs, opts, POOL_READ, why);
}

void offline_close(struct offline *o)
{
    if (o->segpool != NULL)
        segpool_close(o->segpool);
    if (o->meta != NULL)
        o->meta->ops->close(o->meta);
    pool_devs_close(&o->devs);
    free(o->epochs);
    free(o->recs);
    free(o->csums);
    free(o->lost);
}

int offline_segments(struct offline *o, char why[static 256])
{
    struct segpool_geometry geo = pool_geometry(&o->devs.dev[0].label);
    int err = pool_freed_epochs(o->meta, geo.nr_segments, &o->epochs, why);

    if (err)
        return err;
    err = segpool_open(o->devs.dev[0].on[0], &geo, pool_freed_epoch, o->epochs, &o->segpool);
    if (!err)
        err = pool_areas_add(&o->devs, o->segpool);
    for (uint32_t a = 1; !err && a < segpool_areas(o->segpool); a++)
        o->areas[a - 1] = pool_area_dev(&o->devs, a, 0);
    if (err)
        snprintf(why, 256, "the segments of \"%.120s\" cannot be read: %.80s", o->devs.dev[0].opts.path, err_text(err));
    return err;
}

/* ---- replay ---- */

struct replay { struct offline *o; uint32_t shard; offline_damage_fn *damage; void *ctx; };

static int csums_keep(struct offline *o, const struct journal_record *rec)
{
    if (o->nr_csums + rec->nblocks > o->cap_csums) {
        size_t want = MAX(o->cap_csums * 2, o->nr_csums + (size_t)rec->nblocks + 4096);
        uint32_t *v = realloc(o->csums, want * sizeof(*v));

        if (v == NULL)
            return -ENOMEM;
        o->csums = v;
        o->cap_csums = want;
    }
    memcpy(o->csums + o->nr_csums, rec->csum, rec->nblocks * sizeof(*rec->csum));
    o->nr_csums += (size_t)rec->nblocks;
    return 0;
}

static int keep_record(void *ctx, const struct journal_record *rec)
{
    struct replay *r = ctx;
    struct offline *o = r->o;
    struct log_rec *l = check_grow((void **)&o->recs, &o->nr_recs, &o->cap_recs, sizeof(*l));

    if (l == NULL)
        return -ENOMEM;
    *l = (struct log_rec){.type = rec->type, .stream = rec->stream, .shard = r->shard, .layer = rec->layer, .lba = rec->lba,
                          .nblocks = rec->nblocks, .seq = rec->seq, .loc = rec->loc, .place = rec->place, .csum = o->nr_csums};
    return rec->csum != NULL ? csums_keep(o, rec) : 0;
}

static int keep_damage(void *ctx, const struct journal_damage *d)
{
    struct replay *r = ctx;
    struct offline *o = r->o;
    struct log_rec *l;

    if (r->damage != NULL)
        r->damage(r->ctx, r->shard, d);
    if (!d->range_known)
        return 0;
    l = check_grow((void **)&o->lost, &o->nr_lost, &o->cap_lost, sizeof(*l));
    if (l == NULL)
        return -ENOMEM;
    *l = (struct log_rec){.type = JOURNAL_DAMAGED, .shard = r->shard, .layer = d->layer, .lba = d->lba, .nblocks = d->nblocks,
                          .seq = d->seq, .loc = {.segment = d->segment, .unit = d->unit}};
    return 0;
}

static void segment_seen(void *ctx, uint32_t segment, const struct segment_info *info)
{
    (void)ctx;
    (void)segment;
    (void)info;
}

/* A replay alone opens no segment and appends nothing: of the events only the question for a number could be asked. */
static void no_open(void *ctx, uint32_t segment, enum journal_stream stream, uint64_t epoch)
{
    (void)ctx;
    (void)segment;
    (void)stream;
    (void)epoch;
}
static void no_seal(void *ctx, uint32_t segment, uint64_t lo, uint64_t hi)
{
    (void)ctx;
    (void)segment;
    (void)lo;
    (void)hi;
}
static void no_space(void *ctx) { (void)ctx; }
static void no_failure(void *ctx, int err)
{
    (void)ctx;
    (void)err;
}
static uint64_t commit_no(void *ctx) { return meta_commit_no(((struct replay *)ctx)->o->meta); }

static int replay_shard(struct replay *r, char why[static 256])
{
    struct offline *o = r->o;
    struct journal_opts opts = {.shard = r->shard, .accept_loss = true, .areas = o->areas};
    struct journal_events events = {.ctx = r, .segment_opened = no_open, .segment_sealed = no_seal, .space_wanted = no_space,
                                    .failed = no_failure, .meta_commit_no = commit_no};
    struct journal_replay_ops ops = {.ctx = r, .record = keep_record, .damage = keep_damage, .segment = segment_seen};
    struct journal *j;
    int err;

    memcpy(opts.marks, o->shard[r->shard].mark, sizeof(opts.marks));
    opts.marks_final = o->shard[r->shard].marks_final;
    err = journal_new(o->opts->envs[0], o->devs.dev[0].on[0], o->segpool, &opts, &events, &j);
    if (!err) {
        err = journal_replay(j, &ops, &o->reports[r->shard]);
        journal_close(j, false);
    }
    if (err)
        snprintf(why, 256, "the log of shard %u cannot be read: %.120s", r->shard, err_text(err));
    return err;
}

int offline_replay(struct offline *o, offline_damage_fn *damage, void *ctx, char why[static 256])
{
    int err = 0;

    for (uint32_t i = 0; i < o->pool.nr_shards && !err; i++) {
        struct replay r = {.o = o, .shard = i, .damage = damage, .ctx = ctx};

        err = replay_shard(&r, why);
    }
    return err;
}

const struct pool_dev *offline_capacity(const struct offline *o, uint16_t index)
{
    for (uint32_t i = 0; i < o->devs.nr; i++)
        if (o->devs.dev[i].opts.role == TIER_CAPACITY && o->devs.dev[i].index == index)
            return &o->devs.dev[i];
    return NULL;
}

/* ---- asking the log ---- */

static int rec_order(const void *pa, const void *pb)
{
    const struct log_rec *a = pa, *b = pb;
    int order = order_in_layer(a->layer, a->lba, b->layer, b->lba);

    if (order == 0)
        order = order_up(a->seq, b->seq);
    return order != 0 ? order : order_up(a->loc.segment, b->loc.segment);
}

void offline_sort(struct offline *o)
{
    if (o->nr_recs > 0)
        qsort(o->recs, o->nr_recs, sizeof(*o->recs), rec_order);
}

/* First record at or behind (layer, lba). */
static size_t lower_bound(const struct offline *o, uint64_t layer, uint64_t lba)
{
    struct log_rec what = {.layer = layer, .lba = lba};

    return order_from(o->recs, o->nr_recs, sizeof(what), rec_order, &what);
}

static bool covers(const struct log_rec *r, uint64_t layer, uint64_t block)
{
    return r->layer == layer && block >= r->lba && block - r->lba < r->nblocks;
}

bool offline_newer(const struct offline *o, uint64_t layer, uint64_t block, uint64_t seq)
{
    for (size_t i = lower_bound(o, layer, 0); i < o->nr_recs && o->recs[i].layer == layer && o->recs[i].lba <= block; i++)
        if (o->recs[i].seq > seq && covers(&o->recs[i], layer, block))
            return true;
    return false;
}

/* A clean copy in there counts: the map is not older than it. */
static bool copies_count(const struct offline *o, uint32_t segment)
{
    struct segment_info info;

    segpool_info(o->segpool, segment, &info);
    return info.epoch > o->pool.copies_epoch;
}

bool offline_copy(const struct offline *o, uint64_t layer, uint64_t block, uint32_t csum)
{
    uint64_t from = block >= RECORD_BLOCKS_MAX ? block - RECORD_BLOCKS_MAX + 1 : 0;

    for (size_t i = lower_bound(o, layer, from); i < o->nr_recs && o->recs[i].layer == layer && o->recs[i].lba <= block; i++) {
        const struct log_rec *r = &o->recs[i];

        if (r->type == JOURNAL_WRITE && covers(r, layer, block) && o->csums[r->csum + (size_t)(block - r->lba)] == csum &&
            copies_count(o, r->loc.segment))
            return true;
    }
    return false;
}
