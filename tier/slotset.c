/* SPDX-License-Identifier: Apache-2.0 */
/* slotset.c: bits in two levels. */
#include "tier/slotset.h"

#include <errno.h>
#include <sys/mman.h>

static uint32_t words_for(uint32_t bits) { return (bits + SLOTSET_GROUP - 1) / SLOTSET_GROUP; }

static size_t bytes(const struct slotset *t)
{
    return (words_for(t->nr_slots) + words_for(words_for(t->nr_slots))) * sizeof(uint64_t);
}

int slotset_init(struct slotset *t, uint32_t nr_slots)
{
    void *p;

    *t = (struct slotset){.nr_slots = MAX(nr_slots, 1u)};
    p = mmap(NULL, bytes(t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -ENOMEM;
    t->word = p;
    t->top = t->word + words_for(t->nr_slots);
    return 0;
}

void slotset_fini(struct slotset *t)
{
    if (t->word != NULL)
        munmap(t->word, bytes(t));
    *t = (struct slotset){0};
}

void slotset_add(struct slotset *t, uint32_t slot)
{
    uint32_t w = slot / SLOTSET_GROUP;

    assert(slot < t->nr_slots && !slotset_has(t, slot));
    t->word[w] |= UINT64_C(1) << (slot % SLOTSET_GROUP);
    t->top[w / SLOTSET_GROUP] |= UINT64_C(1) << (w % SLOTSET_GROUP);
    t->nr++;
}

void slotset_remove(struct slotset *t, uint32_t slot)
{
    uint32_t w = slot / SLOTSET_GROUP;

    assert(slot < t->nr_slots && slotset_has(t, slot));
    t->word[w] &= ~(UINT64_C(1) << (slot % SLOTSET_GROUP));
    if (t->word[w] == 0)
        t->top[w / SLOTSET_GROUP] &= ~(UINT64_C(1) << (w % SLOTSET_GROUP));
    t->nr--;
}

/* The first bit that is set at or behind `from`, of nr words. */
static uint32_t next_bit(const uint64_t *word, uint32_t nr, uint32_t from)
{
    uint32_t w = from / SLOTSET_GROUP;
    uint64_t rest = w < nr ? word[w] & (~UINT64_C(0) << (from % SLOTSET_GROUP)) : 0;

    while (rest == 0 && ++w < nr)
        rest = word[w];
    return rest == 0 ? SLOT_NONE : w * SLOTSET_GROUP + (uint32_t)__builtin_ctzll(rest);
}

uint32_t slotset_next(const struct slotset *t, uint32_t from)
{
    uint32_t nr = words_for(t->nr_slots), w = from / SLOTSET_GROUP, slot;

    if (t->nr == 0 || from >= t->nr_slots)
        return SLOT_NONE;
    slot = next_bit(t->word, w + 1, from);
    if (slot != SLOT_NONE)
        return slot;
    w = next_bit(t->top, words_for(nr), w + 1);
    return w == SLOT_NONE ? SLOT_NONE : next_bit(t->word, w + 1, w * SLOTSET_GROUP);
}
