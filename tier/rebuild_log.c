/* SPDX-License-Identifier: Apache-2.0 */
/* rebuild_log.c: which log segments a rebuilt map still needs. Without its metadata a log seems full of segments that were
 * freed long ago, and a pool without a free segment cannot open.
 *
 * 1. Of all records of one block the newest counts, the last copy of it that reclaim made; its segment is needed unless the
 *    extent was destaged later. A record without payload is needed unless every extent of its range was destaged later.
 * 2. What is left are copies of blocks that extents have, or should have: a destage that a crash cut off may have torn what it
 *    wrote over, the clean blocks that bridge its holes too (design.md, "must always hold" 9). So each extent of which there is
 *    such a copy is read, and a segment with a copy that is not on the device as its description says is needed.
 * Doubt keeps a segment: needed is what recovery would miss, and perhaps more. What cannot be read is no proof.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "tier/check.h"
#include "tier/order.h"

struct newest { uint64_t layer, block, seq, epoch; uint32_t segment, csum; };

struct look {                    /* for copies that only the log has whole */
    const struct offline *o;
    uint8_t *needed;             /* by segment */
    uint8_t *desc, *data;        /* of one extent */
};

static int by_block(const void *pa, const void *pb)
{
    const struct newest *a = pa, *b = pb;
    int order = order_in_layer(a->layer, a->block, b->layer, b->block);

    if (order == 0)
        order = order_up(b->seq, a->seq); /* the newest first */
    return order != 0 ? order : order_up(b->epoch, a->epoch);
}

static int by_extent(const void *pa, const void *pb)
{
    const struct found_extent *a = pa, *b = pb;

    return order_in_layer(a->layer, a->extent, b->layer, b->extent);
}

/* First extent at or behind (layer, extent). */
static size_t first_at(const struct found_extent *e, size_t nr, uint64_t layer, uint64_t extent)
{
    struct found_extent what = {.layer = layer, .extent = extent};

    return order_from(e, nr, sizeof(what), by_extent, &what);
}

/* Every extent of the range is in the map, and was destaged at seq or later. */
static bool settled(const struct found_extent *e, size_t nr, uint64_t layer, uint64_t lba, uint64_t nblocks, uint64_t seq)
{
    uint64_t first = lba / EXTENT_BLOCKS, last = (lba + nblocks - 1) / EXTENT_BLOCKS;
    size_t i = first_at(e, nr, layer, first);
    uint64_t no = first;

    for (; no <= last && i < nr && e[i].layer == layer && e[i].extent == no && e[i].destaged_seq >= seq; no++)
        i++;
    return no > last;
}

static int gather(const struct offline *o, struct newest **out, size_t *nr)
{
    struct newest *v = malloc(MAX(o->nr_csums, (size_t)1) * sizeof(*v)); /* a checksum a block of a WRITE */

    *out = v;
    *nr = 0;
    if (v == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < o->nr_recs; i++) {
        const struct log_rec *r = &o->recs[i];
        struct segment_info info;

        if (r->type != JOURNAL_WRITE)
            continue;
        segpool_info(o->segpool, r->loc.segment, &info);
        for (uint64_t k = 0; k < r->nblocks; k++)
            v[(*nr)++] = (struct newest){.layer = r->layer, .block = r->lba + k, .seq = r->seq, .epoch = info.epoch,
                                         .segment = r->loc.segment, .csum = o->csums[r->csum + (size_t)k]};
    }
    assert(*nr <= o->nr_csums);
    if (*nr > 0)
        qsort(v, *nr, sizeof(*v), by_block);
    return 0;
}

/* ---- copies of what extents have ---- */

/* Is the block on the device as its description says? Data is read block by block where it cannot be read at once. */
static bool on_device(const struct look *k, const struct found_extent *e, const struct extent_desc *desc, bool all_read, uint32_t i)
{
    const struct pool_dev *d = offline_capacity(k->o, e->place.dev);
    uint64_t off = region_extent_offset(d->label.ext_base_bytes, e->place.slot) + (uint64_t)i * BLOCK_BYTES;
    uint8_t *data = k->data + (size_t)i * BLOCK_BYTES;

    if (!all_read && dev_read_sync(d->on[0], off, data, BLOCK_BYTES) != 0)
        return false;
    return block_csum(data, e->layer, e->extent * EXTENT_BLOCKS + i) == desc->sums.csum[i];
}

/* v: the newest records of one extent's blocks, in segments that nothing else needs. */
static void look_at_extent(const struct look *k, const struct found_extent *e, const struct newest *v, size_t nr)
{
    const struct pool_dev *d = offline_capacity(k->o, e->place.dev);
    uint64_t base = d->label.ext_base_bytes;
    struct extent_desc desc;
    bool described = dev_read_sync(d->on[0], e->desc_off, k->desc, DESC_BYTES) == 0 &&
                     extent_desc_decode(k->desc, &desc) == 0;
    bool all_read = dev_read_sync(d->on[0], region_extent_offset(base, e->place.slot), k->data, EXTENT_BYTES) == 0;

    for (size_t n = 0; n < nr; n++) {
        uint32_t i = (uint32_t)(v[n].block % EXTENT_BLOCKS);

        if (described && (!(desc.sums.valid[i / 64] >> (i % 64) & 1) || desc.sums.csum[i] != v[n].csum))
            continue; /* stale: recovery takes no notice of it */
        if (!described || !on_device(k, e, &desc, all_read, i))
            k->needed[v[n].segment] = 1;
    }
}

static bool same_extent(const struct newest *a, const struct newest *b)
{
    return a->layer == b->layer && a->block / EXTENT_BLOCKS == b->block / EXTENT_BLOCKS;
}

/* v: settled, in segments that were not needed so far. */
static int keep_only_copies(const struct offline *o, const struct found_extent *exts, size_t nr_exts, const struct newest *v,
                            size_t nr, uint8_t *needed)
{
    struct look k = {.o = o, .needed = needed, .desc = aligned_alloc(4096, DESC_BYTES), .data = aligned_alloc(4096, EXTENT_BYTES)};
    int err = k.desc == NULL || k.data == NULL ? -ENOMEM : 0;

    for (size_t from = 0, to; from < nr && !err; from = to) {
        const struct found_extent *e = &exts[first_at(exts, nr_exts, v[from].layer, v[from].block / EXTENT_BLOCKS)];

        for (to = from + 1; to < nr && same_extent(&v[from], &v[to]); to++)
            ;
        look_at_extent(&k, e, v + from, to - from);
    }
    free(k.desc);
    free(k.data);
    return err;
}

/* ---- all of it ---- */

/* Leaves in v[0..*nr) what is settled and the newest of its block, and marks the segments of what is not settled. */
static void keep_unsettled(const struct found_extent *exts, size_t nr_exts, struct newest *v, size_t *nr, uint8_t *needed)
{
    struct newest last = {0}; /* layer ids begin at 1 */
    size_t n = 0;

    for (size_t i = 0; i < *nr; i++) {
        struct newest at = v[i];

        if (last.layer == at.layer && last.block == at.block)
            continue;
        last = at;
        if (settled(exts, nr_exts, at.layer, at.block, 1, at.seq))
            v[n++] = at;
        else
            needed[at.segment] = 1;
    }
    *nr = n;
}

static void drop_needed(struct newest *v, size_t *nr, const uint8_t *needed)
{
    size_t n = 0;

    for (size_t i = 0; i < *nr; i++)
        if (!needed[v[i].segment])
            v[n++] = v[i];
    *nr = n;
}

int rebuild_segments_needed(const struct offline *o, const struct found_extent *exts, size_t nr_exts, uint8_t *needed)
{
    struct newest *v;
    size_t nr;
    int err = gather(o, &v, &nr);

    if (!err)
        keep_unsettled(exts, nr_exts, v, &nr, needed);
    for (size_t i = 0; i < o->nr_recs && !err; i++) {
        const struct log_rec *r = &o->recs[i];

        if (r->type != JOURNAL_WRITE && !settled(exts, nr_exts, r->layer, r->lba, r->nblocks, r->seq))
            needed[r->loc.segment] = 1;
    }
    if (!err) {
        drop_needed(v, &nr, needed);
        err = keep_only_copies(o, exts, nr_exts, v, nr, needed);
    }
    free(v);
    return err;
}
