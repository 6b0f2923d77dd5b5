/* SPDX-License-Identifier: Apache-2.0 */
/* rebuild_twins.c: places that the log names for extents (twin.c), and that descriptions may name for others: one of both had it first.
 *
 * 1. A record whose extent has a description that is not older counts no more: the place was given back, or is the description's.
 * 2. If all blocks of the description are there, and the stream had one of them, the description is the later one, whatever seqs say: of
 *    a destage beside a zero that is on its way they may be too low (zero.c).
 * 3. Else, where seqs are of one shard, they tell. A place is given back when what names it is committed, and what its next owner is
 *    described with was durable later: so the higher seq is the later owner's. The record needs a higher one than the description.
 * 4. Seqs of two shards tell nothing. If a block there is not what the description says, the stream wrote over it later. If all are,
 *    either may be the later one: the description stays, and what the record names comes back as damage. An error is better than a
 *    wrong byte.
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

/* Does it hold any block that the record says? */
static bool record_there(const struct offline *o, const struct log_rec *r)
{
    static uint8_t block[BLOCK_BYTES] __attribute__((aligned(4096)));
    const struct pool_dev *d;
    uint64_t off;

    if (!offline_placed(o, r, &d, &off))
        return false;
    for (uint64_t i = 0; i < r->nblocks; i++)
        if (dev_read_sync(d->on[0], off + i * BLOCK_BYTES, block, BLOCK_BYTES) == 0 &&
            block_csum(block, r->layer, r->lba + i) == o->csums[r->csum + i])
            return true;
    return false;
}

/* One block is enough: a destage that a crash cut off writes what is newer over the others, and some cannot be read. */
static bool twin_there(const struct offline *o, const struct log_rec *const *r, size_t nr)
{
    for (size_t i = 0; i < nr; i++)
        if (record_there(o, r[i]))
            return true;
    return false;
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

/* Its blocks are all there: where a record has one as well, the stream's bytes are not. */
static bool wrote_over(const struct offline *o, const struct found_extent *f, const struct log_rec *const *r, size_t nr)
{
    static uint8_t buf[DESC_BYTES] __attribute__((aligned(4096)));
    struct extent_desc d;

    if (dev_read_sync(offline_capacity(o, f->place.dev)->on[0], f->desc_off, buf, DESC_BYTES) != 0 || extent_desc_decode(buf, &d) != 0)
        return false;
    for (size_t n = 0; n < nr; n++)
        for (uint64_t b = r[n]->lba; b < r[n]->lba + r[n]->nblocks; b++)
            if (d.sums.valid[b % EXTENT_BLOCKS / 64] >> (b % 64) & 1)
                return true;
    return false;
}

/* 0: sets *later: the extent of the records had the place after the description's. */
static int judge(struct twins *t, const struct log_rec *const *recs, size_t nr, const struct found_extent *f, bool *later)
{
    const struct log_rec *r = recs[0];
    bool whole, doubt;
    int err = rebuild_fits(t->f->o, f, &whole);

    if (err != 0)
        return err;
    *later = false;
    if (whole && wrote_over(t->f->o, f, recs, nr))
        return 0;
    doubt = !same_shard(t->f->o, r, f->layer) && whole;
    *later = same_shard(t->f->o, r, f->layer) ? r->seq > f->destaged_seq : !whole;
    if (doubt)
        say_doubt(t, r, f);
    return 0;
}

static int twin_found(void *ctx, const struct log_rec *const *recs, size_t nr)
{
    const struct log_rec *r = recs[0];
    struct twins *t = ctx;
    struct extent_place p;

    if (!extent_place_decode(r->place, &p) || !twin_there(t->f->o, recs, nr))
        return 0;
    for (size_t i = 0; i < t->f->nr_exts; i++) {
        struct found_extent *f = &t->f->exts[i];
        bool later;
        int err;

        if (f->place.dev != p.dev || f->place.slot != p.slot || same_extent(f, r->layer, r->lba / EXTENT_BLOCKS))
            continue;
        err = judge(t, recs, nr, f, &later);
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
