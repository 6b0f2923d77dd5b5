/* SPDX-License-Identifier: Apache-2.0 */
/* extent.h: what a shard knows in RAM of each extent of its layers: place, destaged_seq, dirt; and lists of those that
 * need work. A node exists while the map has a record of the extent, or the index has a block of it, or a write
 * that will need it is under way. Pure memory; nodes are numbers (1..), in memory that is reserved at start.
 */
#ifndef FIRN_TIER_EXTENT_H
#define FIRN_TIER_EXTENT_H

#include "base/limits.h"
#include "tier/format.h"
#include "tier/slotset.h"

#define EXTENT_NONE 0u
static_assert(REGION_EXTENTS == SLOTSET_GROUP, "a word of a slotset is a region");

enum extent_state {
    EXTENT_IDLE,
    EXTENT_DESTAGING,   /* captured by a lane, until its batch has committed or the destage was given up */
    EXTENT_DESCRIBING,  /* its description is being written (describe.c): place and record stay what they are */
    EXTENT_FORGETTING,  /* its layer is being deleted; until the batch that unmaps it has committed */
    EXTENT_STATE_NR,
};

enum extent_flags {
    EXTENT_RESERVED = 1, /* holds one of cold's reservations, because it has no place yet */
    EXTENT_RECORD   = 2, /* the metadata holds an 'E' record of it, perhaps a tombstone */
    EXTENT_FRESH    = 4, /* its place was taken but no batch names it yet: no bytes of it count */
    EXTENT_URGENT   = 8, /* destaged before all others: its slots or its segment are wanted */
    EXTENT_SPARSE_MOVE = 16, /* a destage failed; reclaim moves it rather than wait */
    EXTENT_UNDESCRIBED = 32, /* its description on the device is older than its record */
    EXTENT_EAGER  = 64,  /* its volume is for the HDD: destaged in the next pause, however little is dirty in all */
    EXTENT_PINNED = 128, /* its volume is for the SSD: not destaged, unless it is urgent or all is to be */
};

/* Lists of work, by lane and density; extents in IDLE state with dirty blocks are on exactly one. */
enum extent_bucket {
    EXTENT_BUCKET_PINNED,
    EXTENT_BUCKET_DENSITY,      /* and 8 more: log2 of dirty blocks */
    EXTENT_BUCKET_EAGER = EXTENT_BUCKET_DENSITY + 9,
    EXTENT_BUCKET_URGENT,
    EXTENT_BUCKETS
};
_Static_assert(EXTENT_BUCKETS <= 32, "a bit each in extent_table.held");
#define EXTENT_LANES   (CAPACITY_DEVS_MAX + 1u) /* a lane a device, and one for extents that have no place yet */
enum extent_side_list {
    EXTENT_SIDE_NONE, EXTENT_SIDE_NO_DEVICE, EXTENT_SIDE_TOMBSTONE,
    EXTENT_SIDE_DESCRIBE,       /* what is due to be described; and one for each further device */
    EXTENT_SIDE_NR = EXTENT_SIDE_DESCRIBE + CAPACITY_DEVS_MAX
};

struct extent {
    uint32_t layer;           /* layer index; 0: a free node */
    uint32_t no;              /* number of the extent in its layer */
    uint64_t destaged_seq;    /* as committed */
    uint64_t discard_seq;     /* a whole-extent zero that is not committed: the map counts as empty; 0: none */
    uint32_t discard_segment; /* where that record lies */
    struct extent_place place;
    uint32_t hash_next;
    uint32_t next, prev;      /* the work list */
    uint32_t side_next, side_prev;
    uint32_t written_s;       /* when a host last wrote to it, by the clock; 0: before the start */
    uint32_t users;           /* writes under way: they rely on a place or a reservation */
    uint32_t reads;           /* reads in flight at its place */
    uint32_t gives;           /* places that it has left and that wait for the reads in flight there */
    uint16_t nr_live;         /* index entries, 0..256 */
    uint16_t nr_dirty;
    uint16_t nr_zero;         /* of them zeroed: they need no place */
    uint16_t list;            /* lane * EXTENT_BUCKETS + bucket + 1; 0: on none */
    uint8_t  state;           /* enum extent_state */
    uint8_t  flags;           /* enum extent_flags */
    uint8_t  side;            /* enum extent_side_list */
    uint8_t  twin;            /* number of its second place, from 1 (twin.c); 0: none */
    bool     whole;           /* every block of it is dirty, and lies there */
    uint8_t  ring;            /* ring.c: where its newest description lies alone: halves, a bit each, and 4 * device; 0: in its region */
};
static_assert(CAPACITY_DEVS_MAX <= 64, "a device fits extent.ring");

struct extent_list { uint32_t first, last, nr; };

#define EXTENT_RIPE 16u           /* of a region's slots: so many due descriptions are worth a way there */

struct extent_slots {             /* the work of one device, in the order of its slots */
    struct slotset dirty;         /* on one of the lists of its lane */
    struct slotset due;           /* on its list of those to be described */
    struct slotset ripe;          /* regions in which EXTENT_RIPE are due */
    struct slotset ringed[2];     /* whose newest description lies in that half of the device's ring alone */
    uint32_t *x;                  /* of a slot that is in a set: its extent */
};

struct extent_table {
    struct extent *node;      /* [1..nr_max] */
    uint32_t *hash;
    uint32_t  hash_mask, nr_max, nr_used, touched, free;
    struct extent_list list[EXTENT_LANES * (unsigned)EXTENT_BUCKETS];
    uint32_t  held[EXTENT_LANES]; /* a bit a bucket: its list is not empty. Looked at with every host request */
    struct extent_list side[EXTENT_SIDE_NR];
    struct extent_slots dev[CAPACITY_DEVS_MAX];
};

int  extent_table_init(struct extent_table *t, uint32_t nr_max, uint32_t parts); /* parts: tables that share the pool's extents */
int  extent_table_add_dev(struct extent_table *t, uint16_t dev, uint32_t nr_slots); /* before an extent has its place there */
void extent_table_fini(struct extent_table *t);
uint32_t extent_find(const struct extent_table *t, uint32_t layer, uint32_t no);
uint32_t extent_add(struct extent_table *t, uint32_t layer, uint32_t no); /* must not exist; EXTENT_NONE: full */
void extent_del(struct extent_table *t, uint32_t x);                      /* on no list */
static inline struct extent *extent_at(const struct extent_table *t, uint32_t x)
{
    assert(x != EXTENT_NONE && x <= t->touched);
    return &t->node[x];
}
/* A list from `lowest` upwards holds something that the lane of `dev`, or the lane without a place, may take. */
static inline bool extent_any_from(const struct extent_table *t, uint16_t dev, unsigned lowest)
{
    return ((t->held[dev] | t->held[CAPACITY_DEVS_MAX]) >> lowest) != 0;
}
/* Dirty blocks that will have to lie somewhere. */
static inline uint32_t extent_weight(const struct extent *e) { return (uint32_t)e->nr_dirty - e->nr_zero; }
static inline bool extent_place_same(struct extent_place a, struct extent_place b) { return a.dev == b.dev && a.slot == b.slot; }
static inline bool extent_placed(const struct extent *e) { return e->place.dev != EXTENT_NO_DEV; }
/* The map's record of it has bytes that count: reads beneath the index go to the capacity device. */
static inline bool extent_mapped(const struct extent *e)
{
    return extent_placed(e) && !(e->flags & EXTENT_FRESH) && e->discard_seq == 0;
}
/* Work for the lane without a device: a whole-extent zero, or zeroed blocks of an extent that has neither place nor
 * reservation (it was all zeros when they came); or all of it lies on its device already. */
static inline bool extent_needs_no_device(const struct extent *e)
{
    if (e->whole)
        return true;
    return e->nr_dirty == 0 ? e->discard_seq != 0 : !extent_placed(e) && !(e->flags & EXTENT_RESERVED);
}
void extent_set_state(struct extent *e, enum extent_state to); /* asserts the transition */
/* Puts it on the work list that fits lane, dirt and urgency, or on none if it is clean or not idle. */
void extent_relist(struct extent_table *t, uint32_t x);
void extent_unlist(struct extent_table *t, uint32_t x); /* until extent_relist(): its place is about to change */
void extent_side(struct extent_table *t, uint32_t x, enum extent_side_list side); /* at the end; NONE removes */

#endif
