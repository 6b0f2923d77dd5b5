/* SPDX-License-Identifier: Apache-2.0 */
/* slots.h: the places of slot segments: which one a clean copy gets, and which copy goes for it. S3-FIFO without links.
 *
 * A place is a slot of the index, in a segment that was given to slots. New copies enter a small queue, about a
 * tenth of all places; what was used there when its turn comes stays where it lies and is `main` from then on; what was not goes.
 * The queue is a ring of slot ids. While main is not yet large, the queue is longer than the ring: what the ring had no room for, the
 * oldest of the queue, is found by a hand that goes round the places, which is nearly the order in which they were filled.
 * Copies of blocks that were remembered from before (admit.h) are main at once. Main has no queue: a hand goes round the
 * places; a use gives a copy one more round, up to three.
 *
 * A place is free, or taken (a fill is being written to it), or has an entry of the index. The caller tells:
 *   slots_take() -> place; write it; slots_filled(), index_put() with the flag that it returns; or slots_give_back().
 *   Whoever removes or replaces an entry that lies in a place calls slots_gone() right after, whatever the reason.
 *   Whoever reads places pins them: they are neither evicted nor given out while a read is under way.
 *
 * A copy that `spares` wants to stay is passed by, and is main from then on; when only such are left of main, the small queue gives.
 *
 * Pure memory but for the callback; no clock. All is reserved at start. A call looks at no more than SLOTS_STEPS places: a fill
 * that finds none is dropped, the next one goes on from there. One thread.
 */
#ifndef FIRN_TIER_SLOTS_H
#define FIRN_TIER_SLOTS_H

#include "base/list.h"
#include "tier/index.h"

#define SLOTS_STEPS 4096u

struct slots_pin { struct list node; uint32_t first, nr; }; /* places [first, + nr), in one segment */

struct slots_seg {               /* a segment of the index */
    struct list with_free;       /* slots.with_free */
    struct list pins;
    uint32_t free;               /* places that were used: chained by index_spare.next; INDEX_NONE: none */
    uint32_t fresh;              /* from this place on none was taken since the segment came */
    uint32_t nr_taken, nr_main, nr_over;
    uint32_t nr_ring;            /* its ids in the ring */
    uint32_t nr_stale;           /* the oldest of its ids in the ring: of a former time as a slot segment */
    bool     open, closing;      /* closing: nothing is given out here any more */
};

struct slots {
    struct index *ix;
    void   (*evict)(void *ctx, uint32_t id); /* removes the entry from the index and calls slots_gone(); clean, not pinned */
    bool   (*spares)(void *ctx, uint32_t id); /* this copy is not to go for another one now; NULL: all may */
    void    *ctx;
    struct slots_seg *seg;       /* [nr_segments] */
    uint32_t *ring;
    uint32_t ring_cap, ring_first, ring_nr;
    uint32_t nr_stale;           /* in the ring */
    uint32_t first_slot, nr_segments, per_segment; /* place p of a segment is its slot first_slot + p */
    uint32_t small_pct, ring_pct; /* of all places: what the small queue may have now, and at most */
    uint32_t main_hand, over_hand, evict_hand; /* slot ids */
    uint32_t evicting;           /* it has left its queue already; INDEX_NONE: none */
    struct list with_free;       /* segments with free places; they are filled up one by one */
    uint64_t nr_places, nr_used, nr_main, nr_over, nr_taken; /* of open segments; used: with an entry */
};

/* Places of a segment are its slots from first_slot on. 0 or -ENOMEM. */
int  slots_init(struct slots *sl, struct index *ix, uint32_t first_slot, uint32_t small_pct,
                void (*evict)(void *ctx, uint32_t id), void *ctx);
void slots_fini(struct slots *sl);

/* A segment without entries becomes one for slots. */
void slots_open_segment(struct slots *sl, uint32_t segment);
/* The same at a start: entries that were found in its table are in the index already, with INDEX_MAIN. */
void slots_adopt_segment(struct slots *sl, uint32_t segment);
/* From now on none of its places is given out. The caller removes its entries; once slots_closed(): slots_drop_segment(). */
void slots_close_segment(struct slots *sl, uint32_t segment);
bool slots_closed(const struct slots *sl, uint32_t segment); /* no entry, no fill, no read */
void slots_drop_segment(struct slots *sl, uint32_t segment);

static inline bool slots_has(const struct slots *sl, uint32_t id)
{
    return id < sl->ix->nr_phys && sl->seg[id / sl->per_segment].open && id % sl->per_segment >= sl->first_slot;
}

/* The small queue gives while it has more of all places than this; at most what slots_init() was told, which is the ring's size. */
void slots_small_share(struct slots *sl, uint32_t pct);
/* pct of a cache of so many blocks, of which the log may have some, in percent of the places that there are; no more than the ring's. */
uint32_t slots_small_pct(const struct slots *sl, uint64_t blocks, uint32_t pct);
/* A place for a new copy, perhaps that of another one; INDEX_NONE: none was found this time. */
uint32_t slots_take(struct slots *sl, bool to_main);
uint32_t slots_take_free(struct slots *sl, bool to_main);   /* not that of another one */
/* Evicts one of those that `of` picks, used ones last: a hand of its own. Its place is free at once, or, in the small queue, when its turn
 * comes. False: none was found this time. */
bool slots_evict(struct slots *sl, bool (*of)(void *ctx, uint32_t id), void *ctx);
static inline bool slots_have_free(const struct slots *sl) { return !list_empty(&sl->with_free); }
/* The fill of a place has been written, and its index_put() comes next: flags for it (INDEX_MAIN, INDEX_OVER or 0). */
unsigned slots_filled(struct slots *sl, uint32_t id);
void     slots_give_back(struct slots *sl, uint32_t id);    /* the fill was dropped */
void     slots_gone(struct slots *sl, uint32_t id, unsigned flags); /* its entry is no more; flags: what it had */

void slots_pin(struct slots *sl, struct slots_pin *p, uint32_t id, uint32_t nr);
void slots_unpin(struct slots *sl, struct slots_pin *p);
void slots_verify(const struct slots *sl); /* asserts counters and states by a full walk */

#endif
