/* SPDX-License-Identifier: Apache-2.0 */
/* rebuild_twins.c: places that the log names for extents (twin.c), and that descriptions may name for others: one of both had it first.
 *
 * 1. A record whose extent has a description that is not older counts no more: the place was given back, or is the description's.
 * 2. Where seqs are of one shard they tell. A place is given back when what names it is committed, and what its next owner is described
 *    with was durable later: so the higher seq is the later owner's. The record needs a higher one than the description.
 * 3. Seqs of two shards tell nothing. If a block there is not what the description says, the stream wrote over it later. If all are, either
 *    may be the later one: the description stays, and what the record names comes back as damage. An error is better than a wrong byte.
 * Failure: doubt is said, and counts as a loss.
 */
#include <errno.h>

#include "base/crc32c.h"
#include "tier/check.h"

struct twins {
    struct found *f;
    struct strbuf *out;
    struct tier_check_report *report;
    uint64_t nr;
};

static bool same_extent(const struct found_extent *f, uint64_t layer, uint64_t extent) { return f->layer == layer && f->extent == extent; }

static bool is_before(const struct found_extent *f, uint64_t layer, uint64_t extent)
{
    return f->layer != layer ? f->layer < layer : f->extent < extent;
}

static bool twin_owed(void *ctx, uint64_t layer, uint64_t extent, uint64_t seq)
{
    const struct found *f = ((struct twins *)ctx)->f;
    size_t lo = 0, hi = f->nr_exts;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (same_extent(&f->exts[mid], layer, extent))
            return f->exts[mid].destaged_seq < seq;
        if (is_before(&f->exts[mid], layer, extent))
            lo = mid + 1;
        else
            hi = mid;
    }
    return true;
}

/* Does it hold what the record says? */
static bool twin_there(const struct offline *o, const struct log_rec *r)
{
    static uint8_t block[BLOCK_BYTES] __attribute__((aligned(4096)));
    const struct pool_dev *d;
    uint64_t off;

    return offline_placed(o, r, &d, &off) && dev_read_sync(d->on[0], off, block, BLOCK_BYTES) == 0 &&
           block_csum(block, r->layer, r->lba) == o->csums[r->csum];
}

/* A layer lives in one shard, whose log tells. */
static bool same_shard(const struct offline *o, const struct log_rec *r, uint64_t layer)
{
    for (size_t i = 0; i < o->nr_recs; i++)
        if (o->recs[i].layer == layer)
            return o->recs[i].shard == r->shard;
    return layer == r->layer;
}

static void say_doubt(struct twins *t, const struct log_rec *r, const struct found_extent *f)
{
    strbuf_add(t->out, "extent %llu of layer %llu: the log has some of it at a place that extent %llu of layer %llu is described at, whose "
               "bytes fit: what the log names there comes back as damage\n", (unsigned long long)(r->lba / EXTENT_BLOCKS),
               (unsigned long long)r->layer, (unsigned long long)f->extent, (unsigned long long)f->layer);
    t->report->findings++;
    t->report->losses++;
}

/* 0: sets *later: the record's extent had the place after the description's. */
static int judge(struct twins *t, const struct log_rec *r, const struct found_extent *f, bool *later)
{
    bool whole;
    int err;

    if (same_shard(t->f->o, r, f->layer)) {
        *later = r->seq > f->destaged_seq;
        return 0;
    }
    err = rebuild_fits(t->f->o, f, &whole);
    *later = !whole;
    if (err == 0 && whole)
        say_doubt(t, r, f);
    return err;
}

static int twin_found(void *ctx, const struct log_rec *r)
{
    struct twins *t = ctx;
    struct extent_place p;

    if (!extent_place_decode(r->place, &p) || !twin_there(t->f->o, r))
        return 0;
    for (size_t i = 0; i < t->f->nr_exts; i++) {
        struct found_extent *f = &t->f->exts[i];
        bool later;
        int err;

        if (f->place.dev != p.dev || f->place.slot != p.slot || same_extent(f, r->layer, r->lba / EXTENT_BLOCKS))
            continue;
        err = judge(t, r, f, &later);
        if (err != 0 || !later)
            return err;
        f->place.dev = EXTENT_NO_DEV;
    }
    t->nr++;
    return 0;
}

int rebuild_twins(struct found *f, struct strbuf *out, struct tier_check_report *report, uint64_t *nr)
{
    struct twins t = {.f = f, .out = out, .report = report};
    struct twin_ask ask = {.ctx = &t, .owed = twin_owed, .twin = twin_found};
    int err = offline_twins(f->o, &ask);
    size_t n = 0;

    for (size_t i = 0; i < f->nr_exts; i++)
        if (f->exts[i].place.dev != EXTENT_NO_DEV)
            f->exts[n++] = f->exts[i];
    f->nr_exts = n;
    *nr = t.nr;
    return err;
}
