/* SPDX-License-Identifier: Apache-2.0 */
/* slots_evict.c: which copy goes for another one: S3-FIFO over the places of slots.c.
 *
 * The small queue gives while it holds its share of all places: first what is over, then the ring. Else main's hand does.
 * An id whose segment was dropped while it was in the ring is stale; the ring is first in, first out, so the stale ones of a
 *   segment are the first of its ids to come out, and a number is enough to know them.
 */
#include "tier/slots_priv.h"

#include <sys/mman.h>

#define SPARED_MAX 64u           /* of main, before the small queue gives although it is short */
#define RING_GIVEN 16384u        /* ids at once: whole pages, of 64 KiB, too */

/* ---- the small queue ---- */

/* The queue moves on through all of the ring, which has room for far more than it mostly holds: what it has left is given back. */
static void ring_left(struct slots *sl)
{
    if (sl->ring_first % RING_GIVEN == 0 && sl->ring_first != 0 && sl->ring_nr + RING_GIVEN <= sl->ring_cap)
        (void)madvise(sl->ring + sl->ring_first - RING_GIVEN, RING_GIVEN * sizeof(*sl->ring), MADV_DONTNEED); /* refused: it stays */
}

/* The oldest id of the ring that is not stale; INDEX_NONE: it is empty. */
static uint32_t ring_pop(struct slots *sl)
{
    while (sl->ring_nr > 0) {
        uint32_t id = sl->ring[sl->ring_first];
        struct slots_seg *g = slots_seg_of(sl, id);

        sl->ring_first = sl->ring_first + 1 == sl->ring_cap ? 0 : sl->ring_first + 1;
        sl->ring_nr--;
        ring_left(sl);
        g->nr_ring--;
        if (g->nr_stale == 0)
            return id;
        g->nr_stale--;
        sl->nr_stale--;
    }
    return INDEX_NONE;
}

/* Which counter of queues an entry with these flags is in; the ring counts its own. */
void slots_queue_count(struct slots *sl, uint32_t id, unsigned flags, int by)
{
    struct slots_seg *g = slots_seg_of(sl, id);

    if (flags & INDEX_MAIN) {
        g->nr_main += (uint32_t)by;
        sl->nr_main += (uint64_t)by;
    } else if (flags & INDEX_OVER) {
        g->nr_over += (uint32_t)by;
        sl->nr_over += (uint64_t)by;
    }
}

static void queue_move(struct slots *sl, uint32_t id, unsigned queue)
{
    slots_queue_count(sl, id, index_flags_of(sl->ix, id), -1);
    index_set_queue(sl->ix, id, queue);
    slots_queue_count(sl, id, queue, 1);
    if (queue == INDEX_MAIN)
        index_ref_set(sl->ix, id, 0);
}

/* The ring is full although places were free. Its oldest leaves it as if its turn had come, but for that none has to go. */
static void ring_spill(struct slots *sl)
{
    uint32_t id = ring_pop(sl);

    if (id == INDEX_NONE)
        return;
    if (index_slot_used(sl->ix, id))
        queue_move(sl, id, index_ref(sl->ix, id) > 0 ? INDEX_MAIN : INDEX_OVER);
    else if (slots_state(sl, id) == PLACE_TAKEN_SMALL)
        slots_state_set(sl, id, PLACE_TAKEN_OVER);
    else
        slots_free_push(sl, id);
}

void slots_ring_push(struct slots *sl, uint32_t id)
{
    if (sl->ring_nr == sl->ring_cap)
        ring_spill(sl);
    sl->ring[(uint32_t)(((uint64_t)sl->ring_first + sl->ring_nr) % sl->ring_cap)] = id;
    sl->ring_nr++;
    slots_seg_of(sl, id)->nr_ring++;
}

/* ---- eviction ---- */

static void evict_one(struct slots *sl, uint32_t id)
{
    sl->evicting = id;
    sl->evict(sl->ctx, id);
    assert(sl->evicting == INDEX_NONE); /* slots_gone() was called */
}

static bool spared(const struct slots *sl, uint32_t id) { return sl->spares != NULL && sl->spares(sl->ctx, id); }

/* passed: so many copies of main have been spared in this call. */
static bool small_is_due(const struct slots *sl, uint32_t passed)
{
    uint64_t nr = sl->ring_nr - sl->nr_stale + sl->nr_over;

    return nr > 0 && (nr * 100 >= sl->nr_places * sl->small_pct || sl->nr_main == 0 || passed >= SPARED_MAX);
}

/* True: a place became free. */
static bool ring_step(struct slots *sl)
{
    uint32_t id = ring_pop(sl);

    if (id == INDEX_NONE)
        return false;
    if (!index_slot_used(sl->ix, id)) {
        if (slots_state(sl, id) == PLACE_HOLE) {
            slots_free_push(sl, id);
            return !slots_seg_of(sl, id)->closing;
        }
        slots_ring_push(sl, id); /* being filled: it had no time to be used */
    } else if (index_ref(sl->ix, id) > 0 || spared(sl, id)) {
        queue_move(sl, id, INDEX_MAIN);
    } else if (slots_pinned(slots_seg_of(sl, id), id)) {
        slots_ring_push(sl, id);
    } else {
        evict_one(sl, id);
        return !slots_seg_of(sl, id)->closing;
    }
    return false;
}

/* The next place of a hand, over segments that have nothing for it; *steps counts those too. */
static uint32_t hand_next(struct slots *sl, unsigned queue, uint32_t *steps)
{
    uint32_t *hand = queue == INDEX_MAIN ? &sl->main_hand : &sl->over_hand;

    for (; *steps < SLOTS_STEPS; ++*steps) {
        const struct slots_seg *g;

        if (*hand >= sl->ix->nr_phys)
            *hand = 0;
        g = slots_seg_of(sl, *hand);
        if (g->open && !g->closing && (queue == INDEX_MAIN ? g->nr_main : g->nr_over) > 0 && *hand % sl->per_segment < g->fresh)
            return (*hand)++;
        *hand = (*hand / sl->per_segment + 1) * sl->per_segment;
    }
    return INDEX_NONE;
}

/* Main's hand takes a use away; that of what is over makes main of what was used. */
static bool hand_step(struct slots *sl, unsigned queue, uint32_t *steps, uint32_t *passed)
{
    uint32_t id = hand_next(sl, queue, steps), ref;

    if (id == INDEX_NONE || !index_slot_used(sl->ix, id) || !(index_flags_of(sl->ix, id) & queue))
        return false;
    ref = index_ref(sl->ix, id);
    if (queue == INDEX_OVER && (ref > 0 || spared(sl, id)))
        queue_move(sl, id, INDEX_MAIN);
    else if (ref > 0)
        index_ref_set(sl->ix, id, ref - 1);
    else if (spared(sl, id))
        ++*passed;
    else if (!slots_pinned(slots_seg_of(sl, id), id)) {
        evict_one(sl, id);
        return true;
    }
    return false;
}

bool slots_evict_within(struct slots *sl, uint32_t *steps)
{
    uint32_t passed = 0;

    for (; *steps < SLOTS_STEPS; ++*steps) {
        bool freed;

        if (!small_is_due(sl, passed))
            freed = sl->nr_main > 0 && hand_step(sl, INDEX_MAIN, steps, &passed);
        else
            freed = sl->nr_over > 0 ? hand_step(sl, INDEX_OVER, steps, &passed) : ring_step(sl);
        if (freed)
            return true;
    }
    return false;
}

bool slots_evict(struct slots *sl, bool (*of)(void *ctx, uint32_t id), void *ctx)
{
    for (uint32_t steps = 0; steps < SLOTS_STEPS; steps++) {
        uint32_t id = sl->evict_hand < sl->ix->nr_phys ? sl->evict_hand : 0;
        const struct slots_seg *g = slots_seg_of(sl, id);

        if (!g->open || g->closing) {
            sl->evict_hand = (id / sl->per_segment + 1) * sl->per_segment;
            continue;
        }
        sl->evict_hand = id + 1;
        if (id % sl->per_segment < sl->first_slot || !index_slot_used(sl->ix, id) || slots_pinned(g, id) || !of(ctx, id))
            continue;
        if (index_ref(sl->ix, id) == 0) {
            sl->evict(sl->ctx, id);
            return true;
        }
        index_ref_set(sl->ix, id, index_ref(sl->ix, id) - 1);
    }
    return false;
}
