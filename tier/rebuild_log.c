/* SPDX-License-Identifier: Apache-2.0 */
/* rebuild_log.c: which log segments a rebuilt map still needs. Without its metadata a log seems full of segments that were
 * freed long ago, and a pool without a free segment cannot open.
 *
 * Of all records of one block the newest counts, the last copy of it that reclaim made; its segment is needed unless the
 * extent was destaged later. A record without payload is needed unless every extent of its range was destaged later.
 * Doubt keeps a segment: needed is what recovery would miss, and perhaps more.
 */
#include <errno.h>
#include <stdlib.h>

#include "tier/check.h"

struct newest { uint64_t layer, block, seq, epoch; uint32_t segment; };

static int by_block(const void *pa, const void *pb)
{
    const struct newest *a = pa, *b = pb;

    if (a->layer != b->layer)
        return a->layer < b->layer ? -1 : 1;
    if (a->block != b->block)
        return a->block < b->block ? -1 : 1;
    if (a->seq != b->seq) /* the newest first */
        return a->seq > b->seq ? -1 : 1;
    return a->epoch != b->epoch ? (a->epoch > b->epoch ? -1 : 1) : 0;
}

/* First extent at or behind (layer, extent). */
static size_t first_at(const struct found_extent *e, size_t nr, uint64_t layer, uint64_t extent)
{
    size_t lo = 0, hi = nr;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (e[mid].layer < layer || (e[mid].layer == layer && e[mid].extent < extent))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
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
                                         .segment = r->loc.segment};
    }
    assert(*nr <= o->nr_csums);
    if (*nr > 0)
        qsort(v, *nr, sizeof(*v), by_block);
    return 0;
}

int rebuild_segments_needed(const struct offline *o, const struct found_extent *exts, size_t nr_exts, uint8_t *needed)
{
    struct newest *v;
    size_t nr;
    int err = gather(o, &v, &nr);

    for (size_t i = 0; i < nr && !err; i++) {
        if (i > 0 && v[i - 1].layer == v[i].layer && v[i - 1].block == v[i].block)
            continue;
        if (!settled(exts, nr_exts, v[i].layer, v[i].block, 1, v[i].seq))
            needed[v[i].segment] = 1;
    }
    for (size_t i = 0; i < o->nr_recs && !err; i++) {
        const struct log_rec *r = &o->recs[i];

        if (r->type != JOURNAL_WRITE && !settled(exts, nr_exts, r->layer, r->lba, r->nblocks, r->seq))
            needed[r->loc.segment] = 1;
    }
    free(v);
    return err;
}
