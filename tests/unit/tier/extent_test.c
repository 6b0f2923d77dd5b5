/* SPDX-License-Identifier: Apache-2.0 */
/* The table of extents, as one of many shards has it. */
#include "tier/extent.h"

#include <criterion/criterion.h>

#define NR    100000u
#define PARTS 16u

Test(extent, one_of_many_tables_is_small_and_yet_may_hold_all)
{
    struct extent_table one, t;

    cr_assert_eq(extent_table_init(&one, NR, 1), 0);
    cr_assert_eq(extent_table_init(&t, NR, PARTS), 0);
    cr_assert_leq((t.hash_mask + 1) * PARTS, 2 * (one.hash_mask + 1), "all together at most twice one that is alone");
    for (uint32_t no = 0; no < NR; no++)
        cr_assert_neq(extent_add(&t, 1 + no % 3, no), EXTENT_NONE);
    cr_assert_eq(extent_add(&t, 9, 9), EXTENT_NONE, "full");
    for (uint32_t no = 0; no < NR; no += 2)
        extent_del(&t, extent_find(&t, 1 + no % 3, no));
    for (uint32_t no = 0; no < NR; no++) {
        uint32_t x = extent_find(&t, 1 + no % 3, no);

        cr_assert(no % 2 == 0 ? x == EXTENT_NONE : x != EXTENT_NONE && extent_at(&t, x)->no == no);
    }
    extent_table_fini(&one);
    extent_table_fini(&t);
}
