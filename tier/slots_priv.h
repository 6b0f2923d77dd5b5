/* SPDX-License-Identifier: Apache-2.0 */
/* slots_priv.h: what places (slots.c) and the queues that they are in (slots_evict.c) say to each other. */
#ifndef FIRN_TIER_SLOTS_PRIV_H
#define FIRN_TIER_SLOTS_PRIV_H

#include "tier/slots.h"

enum place_state {               /* of a place below fresh, without an entry */
    PLACE_FREE,                  /* chained */
    PLACE_HOLE,                  /* in the ring */
    PLACE_TAKEN_SMALL,           /* in the ring */
    PLACE_TAKEN_OVER,            /* it left the ring unfilled */
    PLACE_TAKEN_MAIN,
};

static inline struct slots_seg *slots_seg_of(const struct slots *sl, uint32_t id) { return &sl->seg[id / sl->per_segment]; }

static inline enum place_state slots_state(const struct slots *sl, uint32_t id)
{
    return (enum place_state)*index_spare(sl->ix, id).state;
}

static inline void slots_state_set(struct slots *sl, uint32_t id, enum place_state st) { *index_spare(sl->ix, id).state = (uint32_t)st; }

/* A read of the place is under way. */
static inline bool slots_pinned(const struct slots_seg *g, uint32_t id)
{
    list_for_each(n, &g->pins) {
        const struct slots_pin *p = list_entry(n, struct slots_pin, node);

        if (id - p->first < p->nr)
            return true;
    }
    return false;
}

/* slots.c */
void slots_free_push(struct slots *sl, uint32_t id);

/* slots_evict.c */
void slots_ring_push(struct slots *sl, uint32_t id);     /* the small queue's newest */
/* An entry with these flags has come (1) or gone (-1): which counter of queues it is in; the ring counts its own. */
void slots_queue_count(struct slots *sl, uint32_t id, unsigned flags, int by);
bool slots_evict_within(struct slots *sl, uint32_t *steps); /* true: a place became free */

#endif
