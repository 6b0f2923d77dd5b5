/* SPDX-License-Identifier: Apache-2.0 */
/* recover_places.c: clean copies that the last run left in its slot segments. Straight-line, reads only.
 *
 * 1. The pages of each slot segment's table are read. One that cannot be read, or is torn, or of a former use, is as good as none.
 * 2. An entry counts if its volume is there, the map has that very checksum for its block, and the log has nothing of the block.
 *    What the place really holds is found out when it is read first.
 * 3. What counts enters the index, as if it had been used once long ago; all other places are free.
 * In the order of their blocks: each record of checksums is read once a segment.
 */
#include <errno.h>
#include <stdlib.h>

#include "tier/priv.h"

struct found { uint32_t layer, id, csum; uint64_t block; };
struct adopt { struct shard *s; struct found *v; uint32_t nr; char *buf; }; /* buf: all pages of a segment */

static int by_block(const void *pa, const void *pb)
{
    const struct found *a = pa, *b = pb;

    if (a->layer != b->layer)
        return a->layer < b->layer ? -1 : 1;
    return a->block != b->block ? (a->block < b->block ? -1 : 1) : 0;
}

static void page_found(struct adopt *a, uint32_t segment, const struct slot_page *t)
{
    const struct places *p = &a->s->places;
    uint32_t first = segment * p->slots.per_segment + p->slots.first_slot + t->page * p->table.layout.entries;

    for (uint32_t i = 0; i < t->nr; i++) {
        uint32_t l = t->entry[i].layer == 0 ? 0 : layer_find(a->s, t->entry[i].layer);

        if (l != 0 && !layer_at(a->s, l)->vol->deleting)
            a->v[a->nr++] = (struct found){.layer = l, .id = first + i, .csum = t->entry[i].csum, .block = t->entry[i].block};
    }
}

static int read_at(struct adopt *a, uint32_t segment, uint32_t page, uint32_t nr)
{
    struct shard *s = a->s;
    const struct slot_layout *l = &s->places.table.layout;
    uint64_t off = segpool_offset(s->o.segpool, segment, slot_page_offset(l, page));

    return dev_read_sync(shard_segment_dev(s, segment), off, a->buf + (size_t)page * l->page_bytes, (size_t)nr * l->page_bytes);
}

/* All in one go, or, if that fails, one by one. */
static int pages_read(struct adopt *a, uint32_t segment, uint64_t epoch)
{
    struct shard *s = a->s;
    const struct slot_layout *l = &s->places.table.layout;
    struct segment_at at = segpool_at(s->o.segpool, segment);
    struct slot_page t = {.epoch = epoch, .segment = at.no};
    int all = read_at(a, segment, 0, l->nr_pages);

    for (t.page = 0; t.page < l->nr_pages && all != -FIRN_E_STOPPED; t.page++) {
        int err = all == 0 ? 0 : read_at(a, segment, t.page, 1);

        if (err != 0 && err != -FIRN_E_STOPPED)
            places_read_failed(s, segment, err);
        if (err == -FIRN_E_STOPPED)
            return err;
        if (err == 0 && slot_page_decode(segpool_area(s->o.segpool, at.area), a->buf + (size_t)t.page * l->page_bytes, &t) == 0)
            page_found(a, segment, &t);
    }
    return all == -FIRN_E_STOPPED ? all : 0;
}

static bool named_by_map(struct shard *s, const struct found *f, const struct sums *m)
{
    uint32_t i = (uint32_t)(f->block % EXTENT_BLOCKS);

    if (m->err != 0 || !bit_get(m->v.valid, i) || bit_get(m->v.damaged, i))
        return false;
    return m->v.csum[i] == f->csum || s->bugs.slot_table_trusted;
}

static int entry_adopt(struct shard *s, const struct found *f)
{
    uint32_t x = f->block / EXTENT_BLOCKS > UINT32_MAX ? EXTENT_NONE : extent_find(&s->xt, f->layer, extent_no(f->block));
    struct index_entry n = {.layer = f->layer, .block = f->block, .csum = f->csum, .segment = f->id / s->ix.slots_per_segment,
                            .unit = f->id % s->ix.slots_per_segment * JOURNAL_UNITS_PER_BLOCK, .flags = INDEX_MAIN};
    struct sums *m;
    int err;

    if (x == EXTENT_NONE || !extent_mapped(extent_at(&s->xt, x)) || index_find(&s->ix, f->layer, f->block) != INDEX_NONE)
        return 0;
    err = sums_get_sync(s, x, &m);
    if (err == 0 && named_by_map(s, f, m)) {
        map_put(s, &n);
        figure_add(&s->stats.slots_found, 1);
    }
    return err == -FIRN_E_STOPPED ? err : 0;
}

static int segment_adopt(struct adopt *a, uint32_t segment, uint64_t epoch)
{
    struct shard *s = a->s;
    int err;

    a->nr = 0;
    err = pages_read(a, segment, epoch);
    if (err != 0 || !places_usable(s, segment)) /* given up meanwhile */
        return err;
    s->newest_epoch = MAX(s->newest_epoch, epoch);
    s->seg[segment] = (struct seg){.use = SEGMENT_SLOTS, .epoch = epoch, .filled64 = epoch * 64};
    if (a->nr > 0)
        qsort(a->v, a->nr, sizeof(*a->v), by_block);
    for (uint32_t i = 0; i < a->nr && err == 0; i++)
        err = entry_adopt(s, &a->v[i]);
    slots_adopt_segment(&s->places.slots, segment);
    return err;
}

void shard_forget_copies(struct shard *s)
{
    for (uint32_t x = 1; x <= s->xt.touched; x++) {
        if (extent_at(&s->xt, x)->layer == 0)
            continue;
        map_forget_copies(s, x);
        map_settle(s, x);
    }
}

int places_recover(struct shard *s)
{
    const struct slot_layout *l = &s->places.table.layout;
    struct adopt a = {.s = s, .v = calloc(l->nr_places, sizeof(*a.v)),
                      .buf = aligned_alloc(BLOCK_BYTES, ROUND_UP((size_t)l->nr_pages * l->page_bytes, BLOCK_BYTES))};
    int err = a.v == NULL || a.buf == NULL ? -ENOMEM : 0;

    for (uint32_t g = 0; g < s->ix.nr_segments && err == 0; g++) {
        struct segment_info info;

        segpool_info(s->o.segpool, g, &info);
        if (info.use == SEGMENT_SLOTS && info.shard == s->o.no && places_usable(s, g))
            err = segment_adopt(&a, g, info.epoch);
    }
    free(a.v);
    free(a.buf);
    return err;
}
