/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <signal.h>

#include "base/err.h"
#include "tier/cold.h"

static const struct extent_place nowhere = {.dev = EXTENT_NO_DEV};

static struct cold *two_devs(uint32_t a, uint32_t b)
{
    struct cold_dev_desc d[2] = {{.ext_base_bytes = MIB, .ext_nr = a}, {.ext_base_bytes = 2 * MIB, .ext_nr = b}};
    struct cold *c = NULL;

    cr_assert_eq(cold_new(d, 2, &c), 0);
    return c;
}

static struct extent_place take(struct cold *c, struct extent_place near, uint16_t avoid_dev)
{
    uint64_t avoid = avoid_dev == EXTENT_NO_DEV ? 0 : UINT64_C(1) << avoid_dev;
    struct extent_place p = {.dev = EXTENT_NO_DEV};

    cr_assert_eq(cold_reserve(c, 1), 0);
    if (cold_take(c, near, avoid, &p) != 0)
        cold_unreserve(c, 1);
    return p;
}

Test(cold, reservations_never_exceed_what_is_free)
{
    struct cold *c = two_devs(3, 2);

    cr_assert_eq(cold_reserve(c, 5), 0);
    cr_assert_eq(cold_reserve(c, 1), -FIRN_E_NO_SPACE);
    cold_unreserve(c, 1);
    cr_assert_eq(cold_mark(c, (struct extent_place){.dev = 0, .slot = 0}), 0);
    cr_assert_eq(cold_reserve(c, 1), -FIRN_E_NO_SPACE);
    cr_assert_eq(cold_reserved(c), 4);
    cold_free(c);
}

Test(cold, marks_refuse_what_is_taken_or_not_there)
{
    struct cold *c = two_devs(3, 2);

    cr_assert_eq(cold_mark(c, (struct extent_place){.dev = 1, .slot = 1}), 0);
    cr_assert_eq(cold_mark(c, (struct extent_place){.dev = 1, .slot = 1}), -FIRN_E_CORRUPT);
    cr_assert_eq(cold_mark(c, (struct extent_place){.dev = 1, .slot = 2}), -FIRN_E_CORRUPT);
    cr_assert_eq(cold_mark(c, (struct extent_place){.dev = 2, .slot = 0}), -FIRN_E_CORRUPT);
    cr_assert_eq(cold_mark(c, nowhere), -FIRN_E_CORRUPT);
    cold_free(c);
}

Test(cold, neighbours_lie_behind_each_other)
{
    struct cold *c = two_devs(1000, 10);
    struct extent_place a = take(c, nowhere, EXTENT_NO_DEV), p = a;

    cr_assert_eq(a.dev, 0, "the emptiest device");
    for (unsigned i = 1; i < 64; i++) {
        p = take(c, p, EXTENT_NO_DEV);
        cr_assert(p.dev == 0 && p.slot == a.slot + i);
    }
    cold_free(c);
}

Test(cold, two_that_grow_side_by_side_do_not_interleave_within_a_region)
{
    struct cold *c = two_devs(1000, 1);
    struct extent_place a = take(c, nowhere, EXTENT_NO_DEV), b = take(c, nowhere, EXTENT_NO_DEV);

    for (unsigned i = 1; i < 40; i++) {
        struct extent_place na = take(c, a, EXTENT_NO_DEV), nb = take(c, b, EXTENT_NO_DEV);

        cr_assert_eq(na.slot, a.slot + 1);
        cr_assert_eq(nb.slot, b.slot + 1);
        a = na;
        b = nb;
    }
    cold_free(c);
}

Test(cold, a_failed_device_is_avoided_until_the_others_are_full)
{
    struct cold *c = two_devs(100, 3);
    struct extent_place p = {.dev = 0, .slot = 4};

    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(take(c, p, 0).dev, 1);
    cr_assert_eq(take(c, p, 0).dev, EXTENT_NO_DEV);
    cr_assert_eq(take(c, p, EXTENT_NO_DEV).dev, 0);
    cold_free(c);
}

Test(cold, every_extent_can_be_taken_exactly_once)
{
    struct cold *c = two_devs(200, 65);
    bool seen[2][200] = {0};
    uint64_t total, used;

    for (unsigned i = 0; i < 265; i++) {
        struct extent_place p = take(c, nowhere, EXTENT_NO_DEV);

        cr_assert(p.dev < 2 && p.slot < (p.dev ? 65u : 200u) && !seen[p.dev][p.slot]);
        seen[p.dev][p.slot] = true;
    }
    cold_usage(c, EXTENT_NO_DEV, &total, &used);
    cr_assert(total == 265 && used == 265);
    cr_assert_eq(cold_reserve(c, 1), -FIRN_E_NO_SPACE);
    cold_give(c, (struct extent_place){.dev = 1, .slot = 64});
    cr_assert_eq(take(c, nowhere, EXTENT_NO_DEV).slot, 64);
    cold_free(c);
}

Test(cold, a_gap_is_filled_from_its_start)
{
    struct cold *c = two_devs(64, 1);

    for (uint32_t i = 0; i < 64; i++)
        if (i < 10 || i > 20)
            cold_mark(c, (struct extent_place){.dev = 0, .slot = i});
    cr_assert_eq(take(c, nowhere, EXTENT_NO_DEV).slot, 10);
    cold_free(c);
}

Test(cold, offsets_leave_room_for_descriptions)
{
    struct cold *c = two_devs(1000, 1);

    cr_assert_eq(cold_desc_offset(c, (struct extent_place){.dev = 0, .slot = 0}), MIB);
    cr_assert_eq(cold_offset(c, (struct extent_place){.dev = 0, .slot = 0}), MIB + 64 * 4096);
    cr_assert_eq(cold_offset(c, (struct extent_place){.dev = 0, .slot = 63}), MIB + 64 * 4096 + 63 * MIB);
    cr_assert_eq(cold_desc_offset(c, (struct extent_place){.dev = 0, .slot = 64}), MIB + 64 * 4096 + 64 * MIB);
    cr_assert_eq(cold_offset(c, (struct extent_place){.dev = 1, .slot = 0}), 2 * MIB + 64 * 4096);
    cold_free(c);
}

Test(cold, giving_back_what_is_free_is_a_bug_of_ours, .signal = SIGABRT)
{
    struct cold *c = two_devs(10, 1);

    cold_give(c, (struct extent_place){.dev = 0, .slot = 1});
}
