/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "daemon/fill.h"

static struct tier_info at(uint64_t used, uint64_t reserved)
{
    return (struct tier_info){.capacity_bytes = 1000, .capacity_used_bytes = used, .capacity_reserved_bytes = reserved};
}

static uint32_t look(struct fill_watch *w, uint64_t used)
{
    struct tier_info i = at(used, 0);

    return fill_look(w, &i);
}

Test(fill, levels_count_what_is_reserved)
{
    struct tier_info none = {0}, low = at(700, 99), warm = at(700, 100), hot = at(900, 0), full = at(500, 450);

    cr_assert_eq(fill_level(&none), 0);
    cr_assert_eq(fill_level(&low), 0);
    cr_assert_eq(fill_level(&warm), 80);
    cr_assert_eq(fill_level(&hot), 90);
    cr_assert_eq(fill_level(&full), 95);
}

Test(fill, each_level_is_said_once_on_the_way_up_and_again_after_a_time)
{
    struct fill_watch w = {0};

    cr_assert_eq(look(&w, 100), 0);
    cr_assert_eq(look(&w, 810), 80);
    cr_assert_eq(look(&w, 850), 0);
    cr_assert_eq(look(&w, 910), 90);
    cr_assert_eq(look(&w, 990), 95);
    for (uint32_t n = 1; n < FILL_AGAIN; n++)
        cr_assert_eq(look(&w, 990), 0);
    cr_assert_eq(look(&w, 990), 95);
}

Test(fill, a_pool_on_the_edge_says_it_once)
{
    struct fill_watch w = {0};

    cr_assert_eq(look(&w, 800), 80);
    cr_assert_eq(look(&w, 795), 0);
    cr_assert_eq(look(&w, 800), 0);
    cr_assert_eq(look(&w, 770), 0);
    cr_assert_eq(look(&w, 800), 80);
    cr_assert_eq(look(&w, 960), 95);
    cr_assert_eq(look(&w, 0), 0);
    cr_assert_eq(look(&w, 960), 95);
}

static enum fill_word refusals(struct fill_refusals *r, uint64_t used, uint64_t refused)
{
    struct tier_info i = at(used, 0);

    return fill_look_refused(r, &i, refused);
}

Test(fill, refusals_are_said_once_until_there_is_room)
{
    struct fill_refusals r = {0};

    cr_assert_eq(refusals(&r, 1000, 0), FILL_NOTHING, "full, and nobody wanted more");
    cr_assert_eq(refusals(&r, 1000, 3), FILL_FULL);
    cr_assert_eq(refusals(&r, 1000, 3), FILL_NOTHING);
    cr_assert_eq(refusals(&r, 1000, 9), FILL_NOTHING);
    cr_assert_eq(refusals(&r, 990, 9), FILL_NOTHING, "too little to call it room");
    for (unsigned i = 2; i < FILL_QUIET; i++)
        cr_assert_eq(refusals(&r, 980, 9), FILL_NOTHING, "look %u", i);
    cr_assert_eq(refusals(&r, 980, 9), FILL_ROOM);
    cr_assert_eq(refusals(&r, 980, 9), FILL_NOTHING);
    cr_assert_eq(refusals(&r, 1000, 10), FILL_FULL);
}

/* There are bytes and no places: some writes go, others do not. */
Test(fill, now_and_then_a_refusal_is_one_story)
{
    struct fill_refusals r = {0};
    unsigned said = 0;

    for (unsigned i = 1; i < 100; i++)
        said += refusals(&r, 900, i / 2) != FILL_NOTHING;
    cr_assert_eq(said, 1);
}
