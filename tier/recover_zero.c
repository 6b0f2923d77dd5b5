/* SPDX-License-Identifier: Apache-2.0 */
/* recover_zero.c: the zeroed ranges of a log, applied at a start as zero.c does while running. A log may hold millions of them, each
 * over a whole volume: what a start does is bounded by their number and the number of extents, not by the product.
 *
 * 1. The extents are put in order; each knows the next one that no zero has covered whole yet.
 * 2. The zeroes, newest first: each takes the extents in its range that it covers whole and that no newer one took. What is older
 *    than that has no effect there, and is left out; so an extent is visited once here, however many zeroes cover it.
 * 3. An extent at an end of the range is covered in part. If nothing newer covers it whole it is noted, and its turn comes when all
 *    that is covered whole is done, oldest first, in the order in which slots were promised for its blocks.
 * 4. A destage that a crash cut off may have bridged a hole whose end was zeroed since. Where the map lacks that block, and its write has
 *    left the log, nothing but the zeroed range tells of it: its first and its last block get an entry then, if a clean copy lies beside
 *    them (map_keep_bridges()). Last, so that they take no slot that others need.
 * Failures: -ENOMEM; checksums of a mapped extent that cannot be read now; no slots. Where 4 finds none, all copies that may lie in such a
 * hole are kept, and destaged soon.
 */
#include <errno.h>
#include <stdlib.h>

#include "tier/map.h"
#include "tier/mover.h"
#include "tier/order.h"
#include "tier/recover.h"
#include "tier/sums.h"
#include "tier/write.h"

struct place {                   /* of a node in the order of (layer, extent) */
    uint64_t no;
    uint32_t layer, x;
};

struct walk {
    struct shard *s;
    struct place *at;
    size_t nr, *next;            /* those that a zero covers whole are taken (order.h) */
    uint64_t visits;
};

/* ---- extents in order ---- */

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    return order_in_layer(x->layer, x->no, y->layer, y->no);
}

static int places_make(struct walk *w)
{
    const struct extent_table *t = &w->s->xt;

    w->at = malloc(((size_t)t->nr_used + 1) * sizeof(*w->at));
    w->next = order_next_new(t->nr_used);
    if (w->at == NULL || w->next == NULL)
        return -ENOMEM;
    for (uint32_t x = 1; x <= t->touched; x++) {
        const struct extent *e = extent_at(t, x);

        if (e->layer != 0)
            w->at[w->nr++] = (struct place){.layer = e->layer, .no = e->no, .x = x};
    }
    if (w->nr > 0)
        qsort(w->at, w->nr, sizeof(*w->at), by_place);
    return 0;
}

/* The first place at or behind that extent. */
static size_t place_from(const struct walk *w, uint32_t layer, uint64_t no)
{
    struct place what = {.layer = layer, .no = no};

    return order_from(w->at, w->nr, sizeof(what), by_place, &what);
}

/* ---- one zero ---- */

static int zero_at(struct walk *w, const struct zero_rec *z, uint32_t x, bool whole)
{
    struct shard *s = w->s;
    const struct extent *e = extent_at(&s->xt, x);
    struct sums *m = NULL;
    int err = 0;

    w->visits++;
    if (z->seq <= e->destaged_seq || z->seq <= e->discard_seq)
        return 0;
    if (!whole && extent_mapped(e))
        err = sums_get_sync(s, x, &m);
    if (err == 0 && !zero_extent(s, x, z->block, z->nblocks, z->seq, z->segment, m))
        err = -FIRN_E_NO_RESOURCES;
    return err;
}

/* Extents from *first to *end - 1 are covered whole; none: *first >= *end. */
static void whole_extents(const struct zero_rec *z, uint64_t *first, uint64_t *end)
{
    *first = (z->block + EXTENT_BLOCKS - 1) / EXTENT_BLOCKS;
    *end = (z->block + z->nblocks) / EXTENT_BLOCKS;
}

static bool place_wanted(struct walk *w, uint32_t layer, uint64_t no)
{
    size_t i = place_from(w, layer, no);

    return i < w->nr && w->at[i].layer == layer && w->at[i].no == no && order_open(w->next, i) == i;
}

/* Takes what it covers whole, and notes what it covers in part. */
static int zero_whole_extents(struct walk *w, struct zero_rec *z)
{
    uint64_t first, end, last = z->block + z->nblocks - 1;
    int err = 0;

    whole_extents(z, &first, &end);
    if (first < end) {
        size_t stop = place_from(w, z->layer, end);

        for (size_t i = order_open(w->next, place_from(w, z->layer, first)); i < stop && err == 0; i = order_open(w->next, i)) {
            err = zero_at(w, z, w->at[i].x, true);
            order_take(w->next, i);
        }
    }
    z->head = z->block % EXTENT_BLOCKS != 0 && place_wanted(w, z->layer, extent_no(z->block));
    z->tail = (last + 1) % EXTENT_BLOCKS != 0 && (z->block % EXTENT_BLOCKS == 0 || extent_no(last) != extent_no(z->block)) &&
              place_wanted(w, z->layer, extent_no(last));
    return err;
}

static int zero_part_of(struct walk *w, const struct zero_rec *z, uint64_t block)
{
    uint32_t x = extent_find(&w->s->xt, z->layer, extent_no(block));

    return x == EXTENT_NONE ? 0 : zero_at(w, z, x, false); /* an earlier one may have left nothing of it */
}

/* ---- what may have been the end of a hole ---- */

/* Does a clean copy come next to a block in that direction, as far as a destage bridges? keep: it is dirty from now on, and so are those
 * behind it. */
static bool copies_beside(struct shard *s, const struct extent *e, uint32_t i, int by, bool keep)
{
    bool found = false;

    for (int64_t at = (int64_t)i + by, n = 0; n < BRIDGE_BLOCKS && at >= 0 && at < EXTENT_BLOCKS; at += by, n++) {
        uint32_t id = index_find(&s->ix, e->layer, (uint64_t)e->no * EXTENT_BLOCKS + (uint64_t)at);

        if (id == INDEX_NONE)
            continue;
        if (index_flags_of(&s->ix, id) & INDEX_DIRTY)
            break;
        if (!keep)
            return true;
        map_set_kept(s, id);
        found = true;
    }
    return found;
}

/* i: the last block of the zeroed range in that direction. Without an entry nobody will know the end of the hole once the record of the
 * range has left the log: if there is no slot for one it must not matter for long. */
static void bound_hole(struct shard *s, const struct zero_rec *z, struct extent *e, uint32_t i, int by)
{
    struct index_entry n = {.layer = e->layer, .block = (uint64_t)e->no * EXTENT_BLOCKS + i, .seq = z->seq, .segment = z->segment,
                            .flags = INDEX_DIRTY | INDEX_ZERO};
    bool slot = index_virtual_free(&s->ix) > SLOTS_SPARE(s);

    if (index_find(&s->ix, n.layer, n.block) != INDEX_NONE || !copies_beside(s, e, i, by, !slot))
        return;
    if (slot)
        map_put(s, &n);
    else
        e->flags |= EXTENT_URGENT;
}

static void bound_holes(struct walk *w, const struct zero_rec *z, uint64_t block)
{
    uint32_t x = extent_find(&w->s->xt, z->layer, extent_no(block));
    struct extent *e = x == EXTENT_NONE ? NULL : extent_at(&w->s->xt, x);
    uint64_t start = ROUND_DOWN(block, (uint64_t)EXTENT_BLOCKS);

    if (e == NULL || z->seq <= e->destaged_seq || z->seq <= e->discard_seq || e->nr_live == e->nr_dirty)
        return;
    bound_hole(w->s, z, e, (uint32_t)(MAX(z->block, start) - start), -1);
    bound_hole(w->s, z, e, (uint32_t)(MIN(z->block + z->nblocks, start + EXTENT_BLOCKS) - 1 - start), 1);
}

/* ---- all of them ---- */

/* Of equal seqs the copy that reclaim made comes first in both orders, and stays: the other one's segment was being emptied. */
static int newest_first(const void *a, const void *b)
{
    const struct zero_rec *x = a, *y = b;

    if (x->seq != y->seq)
        return x->seq > y->seq ? -1 : 1;
    return (x->epoch < y->epoch) - (x->epoch > y->epoch);
}

static int oldest_first(const void *a, const void *b)
{
    const struct zero_rec *x = a, *y = b;

    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return (x->epoch < y->epoch) - (x->epoch > y->epoch);
}

int zeroes_apply(struct shard *s, struct zero_rec *z, size_t nr, uint64_t *visits)
{
    struct walk w = {.s = s};
    int err = nr == 0 ? 0 : places_make(&w);

    if (err == 0 && nr > 0)
        qsort(z, nr, sizeof(*z), newest_first);
    for (size_t i = 0; i < nr && err == 0; i++)
        err = zero_whole_extents(&w, &z[i]);
    if (err == 0 && nr > 0)
        qsort(z, nr, sizeof(*z), oldest_first);
    for (size_t i = 0; i < nr && err == 0; i++) {
        if (z[i].head)
            err = zero_part_of(&w, &z[i], z[i].block);
        if (z[i].tail && err == 0)
            err = zero_part_of(&w, &z[i], z[i].block + z[i].nblocks - 1);
    }
    for (size_t i = 0; i < nr && err == 0; i++) {
        if (z[i].head)
            bound_holes(&w, &z[i], z[i].block);
        if (z[i].tail)
            bound_holes(&w, &z[i], z[i].block + z[i].nblocks - 1);
    }
    *visits = w.visits;
    free(w.at);
    free(w.next);
    return err;
}
