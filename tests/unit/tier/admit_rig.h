/* SPDX-License-Identifier: Apache-2.0 */
/* admit_rig.h: a table of misses with rules, and chunks that are missed beside those of a test. */
#ifndef FIRN_TEST_TIER_ADMIT_RIG_H
#define FIRN_TEST_TIER_ADMIT_RIG_H

#include <criterion/criterion.h>

#include "tier/admit.h"

#define CACHE 16384u             /* blocks: a turn is 1024 misses */
#define TURN  (CACHE / CHUNK_BLOCKS)

struct rig { struct admit ad; struct admit_rules r; uint64_t noise; };

static inline void rig_up(struct rig *g, bool low_wear)
{
    struct admit_rules set = {0};

    *g = (struct rig){.noise = 1u << 20};
    cr_assert_eq(admit_init(&g->ad, CACHE, 77), 0);
    if (low_wear)
        set = (struct admit_rules){.by_block = true, .again = 4};
    admit_rules_init(&g->r, CACHE, &set);
}

static const struct admit_rules read_mostly = {.by_block = true, .along = true, .again = ADMIT_AGAIN_NEVER,
                                                 .asked_turns = 5};

static inline struct admit_fill miss(struct rig *g, uint64_t chunk, uint16_t asked, uint16_t have)
{
    return admit_miss(&g->ad, &g->r, NULL, 1, chunk, asked, have, 0);
}

/* Other chunks are missed, each once. */
static inline void pass(struct rig *g, uint32_t misses)
{
    while (misses-- > 0)
        cr_assert_eq(miss(g, g->noise++, 1, 0).fill, 0, "a first touch is never worth a place");
}

/* So many blocks of the others: whole chunks. */
static inline void pass_blocks(struct rig *g, uint32_t blocks)
{
    for (; blocks > 0; blocks -= CHUNK_BLOCKS)
        cr_assert_eq(miss(g, g->noise++, 0xffff, 0).fill, 0);
}

static inline void expect(struct admit_fill f, unsigned fill, unsigned main)
{
    cr_assert(f.fill == fill && f.main == main, "%04x %04x", f.fill, f.main);
}

#endif
