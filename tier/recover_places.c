/* SPDX-License-Identifier: Apache-2.0 */
/* recover_places.c: clean copies that the last run left in its slot segments. Straight-line, reads only.
 *
 * 1. The pages of each slot segment's table are read. One that cannot be read, or is torn, or of a former use, is as good as none.
 * 2. An entry counts if its volume is there, the map has that very checksum for its block, and the log has nothing of the block.
 *    What the place really holds is found out when it is read first.
 * 3. What counts enters the index, as if it had been used once long ago; all other places are free.
 * Many segments at once, in the order of their blocks: each record of checksums is read once.
 * All of that for no longer than START_NS, divided by the shards, which have their turns one after the other: nobody can use the pool
 * meanwhile, and copies are no more than copies. What was not looked at by then is free; of segments that were, what was found stays.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "tier/map.h"
#include "tier/order.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/sums.h"
#include "tier/twin.h"

#define START_NS  (20 * NS_PER_S) /* half of it for the tables */
#define FOUND_MAX (1u << 22)     /* entries in RAM at once, of 16 GiB of places */

struct found { uint32_t layer, id, csum; uint64_t block; };
struct adopt {
    struct shard *s;
    struct found *v;
    uint32_t nr, cap;
    uint32_t from, to;           /* segments whose entries these are, but for those that are not marked */
    bool    *read;               /* by segment: its table was */
    char    *buf;                /* all pages of a segment */
    uint64_t read_until_ns, until_ns;
    uint32_t unread;             /* segments that there was no time for */
};

static bool late(const struct adopt *a, uint64_t until_ns) { return env_now_ns(a->s->env) >= until_ns; }

static int by_block(const void *pa, const void *pb)
{
    const struct found *a = pa, *b = pb;

    return order_in_layer(a->layer, a->block, b->layer, b->block);
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

    if (all == -ETIMEDOUT) {
        places_hangs(s, segment);
        return 0;
    }
    for (t.page = 0; t.page < l->nr_pages && all != -FIRN_E_STOPPED && (all == 0 || !late(a, a->read_until_ns)); t.page++) {
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

    if (s->seg[n.segment].use != SEGMENT_SLOTS) /* given up meanwhile */
        return 0;
    if (x == EXTENT_NONE || !extent_mapped(extent_at(&s->xt, x)) || index_find(&s->ix, f->layer, f->block) != INDEX_NONE)
        return 0;
    err = sums_get_sync(s, x, &m);
    if (err == 0 && named_by_map(s, f, m)) {
        map_put(s, &n);
        figure_add(&s->stats.slots_found, 1);
    }
    return err == -FIRN_E_STOPPED ? err : 0;
}

/* Their device was given up, also in the middle of this, also by another shard: the log takes them if it is its own. */
static void leave(struct adopt *a, uint32_t segment)
{
    a->read[segment] = false;
    journal_slots_free(a->s->j, segment);
}

/* Those that were not given up meanwhile. */
static void segments_begin(struct adopt *a)
{
    struct shard *s = a->s;

    for (uint32_t g = a->from; g < a->to; g++) {
        struct segment_info info;

        if (a->read[g] && !places_usable(s, g))
            leave(a, g);
        if (!a->read[g])
            continue;
        segpool_info(s->o.segpool, g, &info);
        s->newest_epoch = MAX(s->newest_epoch, info.epoch);
        s->seg[g] = (struct seg){.use = SEGMENT_SLOTS, .epoch = info.epoch, .filled64 = info.epoch * 64};
    }
}

/* What was found enters the index; then the segments are open. */
static int found_adopt(struct adopt *a)
{
    struct shard *s = a->s;
    int err = 0;

    segments_begin(a);
    if (a->nr > 0)
        qsort(a->v, a->nr, sizeof(*a->v), by_block);
    for (uint32_t i = 0; i < a->nr && err == 0 && !late(a, a->until_ns); i++)
        err = entry_adopt(s, &a->v[i]);
    for (uint32_t g = a->from; g < a->to; g++)
        if (a->read[g])
            slots_adopt_segment(&s->places.slots, g);
    a->nr = 0;
    a->from = a->to;
    return err;
}

static int segment_look(struct adopt *a, uint32_t segment)
{
    struct segment_info info;
    int err = 0;

    segpool_info(a->s->o.segpool, segment, &info);
    if (info.use != SEGMENT_SLOTS || info.shard != a->s->o.no)
        return 0;
    if (!places_usable(a->s, segment) || segpool_area_is_off(a->s->o.segpool, segpool_at(a->s->o.segpool, segment).area)) {
        leave(a, segment);
        return 0;
    }
    if (late(a, a->read_until_ns)) {
        journal_slots_free(a->s->j, segment);
        a->unread++;
        return 0;
    }
    if (a->cap - a->nr < a->s->places.table.layout.nr_places)
        err = found_adopt(a);
    err = err ? err : pages_read(a, segment, info.epoch);
    a->read[segment] = err == 0;
    return err;
}

static int adopt_all(struct adopt *a)
{
    struct shard *s = a->s;
    int err = 0;

    for (uint32_t g = 0; g < s->twin_segment && err == 0; g++) {
        a->to = g;
        err = segment_look(a, g);
    }
    a->to = s->twin_segment;
    err = err ? err : found_adopt(a);
    if (a->unread > 0)
        log_warn("there was no time to look for all copies of the last run: the rest is forgotten, and comes back as it is read",
                 "shard=%" PRIu32 " segments=%" PRIu32 " found=%" PRIu64, s->o.no, a->unread, s->stats.slots_found);
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

/* Places of its slot segments. */
static uint64_t places_nr(const struct shard *s)
{
    uint64_t nr = 0;

    for (uint32_t g = 0; g < s->twin_segment; g++) {
        struct segment_info info;

        segpool_info(s->o.segpool, g, &info);
        nr += info.use == SEGMENT_SLOTS && info.shard == s->o.no ? s->places.table.layout.nr_places : 0;
    }
    return nr;
}

int places_recover(struct shard *s)
{
    const struct slot_layout *l = &s->places.table.layout;
    uint64_t now = env_now_ns(s->env), time = START_NS / segpool_geometry(s->o.segpool)->nr_shards;
    struct adopt a = {.s = s, .cap = (uint32_t)MAX(MIN(places_nr(s), (uint64_t)FOUND_MAX), (uint64_t)l->nr_places),
                      .read_until_ns = now + time / 2, .until_ns = now + time};
    int err;

    a.v = malloc(a.cap * sizeof(*a.v));
    a.read = calloc(s->ix.nr_segments, sizeof(*a.read));
    a.buf = aligned_alloc(BLOCK_BYTES, ROUND_UP((size_t)l->nr_pages * l->page_bytes, BLOCK_BYTES));
    err = a.v == NULL || a.read == NULL || a.buf == NULL ? -ENOMEM : adopt_all(&a);
    free(a.v);
    free(a.read);
    free(a.buf);
    return err;
}
