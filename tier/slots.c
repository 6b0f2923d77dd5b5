/* SPDX-License-Identifier: Apache-2.0 */
/* slots.c: places of slot segments: where they come from, and what becomes of each.
 *
 * Take: a free place of the segment that is being filled up, fresh ones first; if there is none, a copy is evicted (slots_evict.c).
 * A place in the small queue's ring whose copy has gone stays there as a hole, and is free when its turn comes: so no id is ever in
 *   the ring twice.
 * State of a place without an entry: in the words that the index does not need then (index_spare).
 */
#include "tier/slots_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int slots_init(struct slots *sl, struct index *ix, uint32_t first_slot, uint32_t small_pct,
               void (*evict)(void *ctx, uint32_t id), void *ctx)
{
    size_t nr;

    assert(small_pct >= 1 && small_pct <= 50 && first_slot < ix->slots_per_segment);
    *sl = (struct slots){.ix = ix, .evict = evict, .ctx = ctx, .first_slot = first_slot, .nr_segments = ix->nr_segments,
                         .per_segment = ix->slots_per_segment, .small_pct = small_pct, .ring_pct = small_pct, .evicting = INDEX_NONE};
    list_init(&sl->with_free);
    nr = ((size_t)ix->nr_phys - (size_t)ix->nr_behind * ix->slots_per_segment) * small_pct / 100 + 1;
    sl->ring_cap = (uint32_t)nr;
    sl->seg = calloc(ix->nr_segments, sizeof(*sl->seg));
    sl->ring = mmap(NULL, nr * sizeof(*sl->ring), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sl->ring == MAP_FAILED)
        sl->ring = NULL;
    if (sl->seg == NULL || sl->ring == NULL) {
        slots_fini(sl);
        return -ENOMEM;
    }
    for (uint32_t s = 0; s < ix->nr_segments; s++) {
        list_init(&sl->seg[s].with_free);
        list_init(&sl->seg[s].pins);
    }
    return 0;
}

void slots_small_share(struct slots *sl, uint32_t pct)
{
    assert(pct >= 1 && pct <= sl->ring_pct);
    sl->small_pct = pct;
}

uint32_t slots_small_pct(const struct slots *sl, uint64_t blocks, uint32_t pct)
{
    uint64_t of = sl->nr_places == 0 ? pct : blocks * pct / sl->nr_places;

    return (uint32_t)MIN(MAX(of, (uint64_t)pct), (uint64_t)sl->ring_pct);
}

void slots_fini(struct slots *sl)
{
    if (sl->ring != NULL)
        munmap(sl->ring, (size_t)sl->ring_cap * sizeof(*sl->ring));
    free(sl->seg);
    *sl = (struct slots){0};
}

/* ---- free places ---- */

static bool seg_has_free(const struct slots *sl, const struct slots_seg *g)
{
    return g->free != INDEX_NONE || g->fresh < sl->per_segment;
}

static void seg_list(struct slots *sl, struct slots_seg *g)
{
    bool want = g->open && !g->closing && seg_has_free(sl, g);

    if (want && list_empty(&g->with_free))
        list_push_back(&sl->with_free, &g->with_free);
    else if (!want && !list_empty(&g->with_free))
        list_remove(&g->with_free);
}

void slots_free_push(struct slots *sl, uint32_t id)
{
    struct slots_seg *g = slots_seg_of(sl, id);
    struct index_spare w = index_spare(sl->ix, id);

    *w.state = PLACE_FREE;
    *w.next = g->free;
    g->free = id;
    seg_list(sl, g);
}

/* The first free place of a segment that no read covers: a place may have become free while it was being read. */
static uint32_t seg_free_pop(struct slots *sl, struct slots_seg *g, uint32_t *steps)
{
    uint32_t *link = &g->free;

    if (g->fresh < sl->per_segment)
        return (uint32_t)(g - sl->seg) * sl->per_segment + g->fresh++;
    for (; *link != INDEX_NONE && *steps < SLOTS_STEPS; ++*steps) {
        uint32_t id = *link;
        struct index_spare w = index_spare(sl->ix, id);

        if (!slots_pinned(g, id)) {
            *link = *w.next;
            return id;
        }
        link = w.next;
    }
    return INDEX_NONE;
}

static uint32_t free_pop(struct slots *sl, uint32_t *steps)
{
    list_for_each_safe(n, next, &sl->with_free) {
        struct slots_seg *g = list_entry(n, struct slots_seg, with_free);
        uint32_t id = seg_free_pop(sl, g, steps);

        seg_list(sl, g);
        if (id != INDEX_NONE || ++*steps >= SLOTS_STEPS)
            return id;
    }
    return INDEX_NONE;
}

/* ---- a place's life ---- */

static uint32_t taken(struct slots *sl, uint32_t id, bool to_main)
{
    if (id == INDEX_NONE)
        return id;
    slots_state_set(sl, id, to_main ? PLACE_TAKEN_MAIN : PLACE_TAKEN_SMALL);
    slots_seg_of(sl, id)->nr_taken++;
    sl->nr_taken++;
    if (!to_main)
        slots_ring_push(sl, id);
    return id;
}

uint32_t slots_take(struct slots *sl, bool to_main)
{
    uint32_t steps = 0, id;

    while ((id = free_pop(sl, &steps)) == INDEX_NONE)
        if (!slots_evict_within(sl, &steps))
            return INDEX_NONE;
    return taken(sl, id, to_main);
}

uint32_t slots_take_free(struct slots *sl, bool to_main)
{
    uint32_t steps = 0;

    return taken(sl, free_pop(sl, &steps), to_main);
}

static enum place_state taken_end(struct slots *sl, uint32_t id)
{
    enum place_state st = slots_state(sl, id);
    struct slots_seg *g = slots_seg_of(sl, id);

    assert(slots_has(sl, id) && st != PLACE_FREE && st != PLACE_HOLE && g->nr_taken > 0);
    g->nr_taken--;
    sl->nr_taken--;
    return st;
}

unsigned slots_filled(struct slots *sl, uint32_t id)
{
    enum place_state st = taken_end(sl, id);
    unsigned queue = st == PLACE_TAKEN_MAIN ? INDEX_MAIN : st == PLACE_TAKEN_OVER ? INDEX_OVER : 0;

    slots_queue_count(sl, id, queue, 1);
    sl->nr_used++;
    return queue;
}

void slots_give_back(struct slots *sl, uint32_t id)
{
    if (taken_end(sl, id) == PLACE_TAKEN_SMALL)
        slots_state_set(sl, id, PLACE_HOLE);
    else
        slots_free_push(sl, id);
}

void slots_gone(struct slots *sl, uint32_t id, unsigned flags)
{
    bool in_ring = !(flags & (INDEX_MAIN | INDEX_OVER)) && sl->evicting != id;

    assert(slots_has(sl, id) && sl->nr_used > 0);
    sl->nr_used--;
    slots_queue_count(sl, id, flags, -1);
    if (sl->evicting == id)
        sl->evicting = INDEX_NONE;
    if (in_ring)
        slots_state_set(sl, id, PLACE_HOLE);
    else
        slots_free_push(sl, id);
}

/* ---- segments ---- */

static void seg_begin(struct slots *sl, struct slots_seg *g, uint32_t fresh)
{
    assert(!g->open && list_empty(&g->pins) && g->nr_ring == g->nr_stale);
    assert(g->nr_main == 0 && g->nr_over == 0 && g->nr_taken == 0);
    g->open = true;
    g->closing = false;
    g->free = INDEX_NONE;
    g->fresh = fresh;
    sl->nr_places += sl->per_segment - sl->first_slot;
}

void slots_open_segment(struct slots *sl, uint32_t segment)
{
    assert(sl->ix->seg_live[segment] == 0);
    seg_begin(sl, &sl->seg[segment], sl->first_slot);
    seg_list(sl, &sl->seg[segment]);
}

void slots_adopt_segment(struct slots *sl, uint32_t segment)
{
    struct slots_seg *g = &sl->seg[segment];

    seg_begin(sl, g, sl->per_segment);
    for (uint32_t p = sl->per_segment; p-- > sl->first_slot;) { /* backwards: low places are given out first */
        uint32_t id = segment * sl->per_segment + p;

        if (!index_slot_used(sl->ix, id)) {
            slots_free_push(sl, id);
            continue;
        }
        assert(index_flags_of(sl->ix, id) == INDEX_MAIN);
        slots_queue_count(sl, id, INDEX_MAIN, 1);
        sl->nr_used++;
    }
}

void slots_close_segment(struct slots *sl, uint32_t segment)
{
    assert(sl->seg[segment].open && !sl->seg[segment].closing);
    sl->seg[segment].closing = true;
    seg_list(sl, &sl->seg[segment]);
}

bool slots_closed(const struct slots *sl, uint32_t segment)
{
    const struct slots_seg *g = &sl->seg[segment];

    return g->closing && g->nr_taken == 0 && list_empty(&g->pins) && sl->ix->seg_live[segment] == 0;
}

void slots_drop_segment(struct slots *sl, uint32_t segment)
{
    struct slots_seg *g = &sl->seg[segment];

    assert(slots_closed(sl, segment) && g->nr_main == 0 && g->nr_over == 0);
    sl->nr_stale += g->nr_ring - g->nr_stale;
    g->nr_stale = g->nr_ring;
    g->open = g->closing = false;
    sl->nr_places -= sl->per_segment - sl->first_slot;
}

/* ---- reads ---- */

void slots_pin(struct slots *sl, struct slots_pin *p, uint32_t id, uint32_t nr)
{
    assert(slots_has(sl, id) && nr > 0 && id % sl->per_segment + nr <= sl->per_segment);
    p->first = id;
    p->nr = nr;
    list_push_back(&slots_seg_of(sl, id)->pins, &p->node);
}

void slots_unpin(struct slots *sl, struct slots_pin *p)
{
    assert(slots_has(sl, p->first));
    list_remove(&p->node);
}

/* ---- invariants ---- */

struct tally { uint64_t used, main, over, taken, free, in_ring; };

static void tally_place(const struct slots *sl, uint32_t id, struct tally *t)
{
    if (index_slot_used(sl->ix, id)) {
        unsigned flags = index_flags_of(sl->ix, id);

        assert(flags == 0 || flags == INDEX_MAIN || flags == INDEX_OVER);
        t->used++;
        t->main += flags == INDEX_MAIN;
        t->over += flags == INDEX_OVER;
        t->in_ring += flags == 0;
        return;
    }
    switch (slots_state(sl, id)) {
    case PLACE_FREE:        t->free++; return;
    case PLACE_HOLE:        t->in_ring++; return;
    case PLACE_TAKEN_SMALL: t->in_ring++; t->taken++; return;
    case PLACE_TAKEN_OVER:
    case PLACE_TAKEN_MAIN:  t->taken++; return;
    }
    assert(false); /* a place in no state */
}

static void verify_segment(const struct slots *sl, uint32_t segment, struct tally *all)
{
    const struct slots_seg *g = &sl->seg[segment];
    uint32_t base = segment * sl->per_segment;
    struct tally t = {0};

    for (uint32_t p = sl->first_slot; p < g->fresh; p++)
        tally_place(sl, base + p, &t);
    for (uint32_t id = g->free; id != INDEX_NONE; id = *index_spare(sl->ix, id).next, t.free--)
        assert(slots_state(sl, id) == PLACE_FREE && t.free > 0);
    assert(t.free == 0 && t.main == g->nr_main && t.over == g->nr_over && t.taken == g->nr_taken);
    assert(t.in_ring == g->nr_ring - g->nr_stale);
    assert(list_empty(&g->with_free) == (g->closing || !seg_has_free(sl, g)));
    all->used += t.used;
    all->main += t.main;
    all->over += t.over;
    all->taken += t.taken;
    all->in_ring += t.in_ring;
}

void slots_verify(const struct slots *sl)
{
    uint64_t places = 0;
    struct tally t = {0};

    for (uint32_t s = 0; s < sl->nr_segments; s++) {
        if (!sl->seg[s].open) {
            assert(sl->seg[s].nr_ring == sl->seg[s].nr_stale && list_empty(&sl->seg[s].with_free));
            continue;
        }
        places += sl->per_segment - sl->first_slot;
        verify_segment(sl, s, &t);
    }
    assert(places == sl->nr_places && t.used == sl->nr_used && t.main == sl->nr_main && t.over == sl->nr_over);
    assert(t.taken == sl->nr_taken && t.in_ring == sl->ring_nr - sl->nr_stale);
}
