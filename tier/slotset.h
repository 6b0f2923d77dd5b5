/* SPDX-License-Identifier: Apache-2.0 */
/* slotset.h: a set of slots of one capacity device, in their order on it: what is due there, found from wherever the head is.
 * A bit a slot, and above each word of them a bit, so that the next slot of an empty device is found at once.
 * Pure memory, reserved at start; a word is the slots of one region (REGION_EXTENTS).
 */
#ifndef FIRN_TIER_SLOTSET_H
#define FIRN_TIER_SLOTSET_H

#include "base/types.h"

#define SLOT_NONE     UINT32_MAX
#define SLOTSET_GROUP 64u        /* slots a word */

struct slotset {
    uint64_t *word, *top;        /* top: which words are not zero */
    uint32_t  nr_slots, nr;      /* slots there are; slots in the set */
};

int  slotset_init(struct slotset *t, uint32_t nr_slots);
void slotset_fini(struct slotset *t);
void slotset_add(struct slotset *t, uint32_t slot);      /* must not be in it */
void slotset_remove(struct slotset *t, uint32_t slot);   /* must be in it */
static inline bool slotset_has(const struct slotset *t, uint32_t slot)
{
    return t->word[slot / SLOTSET_GROUP] >> (slot % SLOTSET_GROUP) & 1;
}
/* The lowest one that is not below `from`; SLOT_NONE: none. */
uint32_t slotset_next(const struct slotset *t, uint32_t from);
/* How many of the 64 neighbours to which the slot belongs are in the set. */
static inline uint32_t slotset_group(const struct slotset *t, uint32_t slot)
{
    return (uint32_t)__builtin_popcountll(t->word[slot / SLOTSET_GROUP]);
}

#endif
