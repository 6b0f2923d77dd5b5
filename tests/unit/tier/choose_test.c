/* SPDX-License-Identifier: Apache-2.0 */
/* choose_test.c: the choice of regions against the best of all choices, for few enough to try them all. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/limits.h"
#include "tier/choose.h"

#define SPAN  (32 * GIB)
#define TRIED 12u

static struct choose_region region(uint32_t id, uint64_t off_bytes, uint32_t blocks)
{
    struct choose_region r = {.id = id};

    choose_add_run(&r, SPAN, off_bytes, (uint64_t)blocks * BLOCK_BYTES);
    return r;
}

Test(choose, costs_a_region_as_the_disk_takes_it)
{
    struct choose_region r = {.id = 1};

    choose_add_run(&r, SPAN, 8 * GIB, 256 * KIB);
    choose_add_run(&r, SPAN, 8 * GIB + 512 * KIB, 4 * KIB); /* 256 KiB further on: passed over */
    cr_assert_eq(r.blocks, 65);
    cr_assert_eq(r.first_bytes, 8 * GIB);
    cr_assert_eq(r.end_bytes, 8 * GIB + 516 * KIB);
    cr_assert_eq(choose_cost_ns(&r, SPAN, 8 * GIB), r.inside_ns, "the head is there");
    cr_assert_gt(r.inside_ns, 516 * KIB * 5, "5 ns a byte");
    cr_assert_lt(r.inside_ns, 516 * KIB * 5 + 210 * NS_PER_US, "and two commands");
    cr_assert_gt(choose_cost_ns(&r, SPAN, 0), r.inside_ns + 10 * NS_PER_MS, "a quarter of the span away");
    cr_assert_lt(choose_cost_ns(&r, SPAN, 8 * GIB - MIB), r.inside_ns + 5 * NS_PER_MS);
}

Test(choose, takes_dense_regions_and_sweeps_from_the_head)
{
    struct choose_region r[] = {region(1, 1 * GIB, 200), region(2, 30 * GIB, 3), region(3, 20 * GIB, 220), region(4, 12 * GIB, 240)};

    cr_assert_eq(choose_best(r, 4, 4, SPAN, 10 * GIB), 3, "three blocks alone are left for later");
    cr_assert(r[0].id == 4 && r[1].id == 3 && r[2].id == 1);
    cr_assert_eq(choose_best(r, 3, 2, SPAN, 10 * GIB), 2);
}

Test(choose, takes_what_there_is_if_all_is_sparse)
{
    struct choose_region r[] = {region(1, 5 * GIB, 1), region(2, 5 * GIB + 8 * MIB, 1), region(3, 6 * GIB, 1)};

    cr_assert_eq(choose_best(r, 3, 16, SPAN, 5 * GIB), 1, "the head is there: nothing else is half as cheap");
    cr_assert_eq(choose_best(r, 3, 16, SPAN, 0), 3);
    cr_assert(r[0].id == 1 && r[1].id == 2 && r[2].id == 3);
    cr_assert_eq(choose_best(r, 0, 16, SPAN, 0), 0);
    cr_assert_eq(choose_best(r, 1, 16, SPAN, 0), 1);
}

Test(choose, leaves_what_is_written_often_for_later)
{
    struct choose_region r[] = {region(1, 1 * GIB, 100), region(2, 1 * GIB + 4 * MIB, 100), region(3, 1 * GIB + 8 * MIB, 200)};

    r[0].write_heat = 3;
    r[2].write_heat = 1000;
    cr_assert_eq(choose_best(r, 3, 3, SPAN, 1 * GIB), 2, "twice as dense does not outweigh 1000 writes");
    cr_assert(r[0].id == 1 && r[1].id == 2);
    cr_assert_eq(choose_best(r, 2, 1, SPAN, 0), 1);
    cr_assert_eq(r[0].id, 2);
    r[1].urgent = true;
    cr_assert_eq(choose_best(r, 2, 1, SPAN, 0), 1);
    cr_assert_eq(r[0].id, 1, "but what is urgent cannot wait");
}

Test(choose, takes_what_is_urgent_before_all_others)
{
    struct choose_region r[] = {region(1, 1 * GIB, 200), region(2, 30 * GIB, 3), region(3, 20 * GIB, 2), region(4, 12 * GIB, 240)};

    r[1].urgent = true;
    cr_assert_eq(choose_best(r, 4, 1, SPAN, 0), 1);
    cr_assert_eq(r[0].id, 2);
    cr_assert_eq(choose_best(r, 4, 4, SPAN, 0), 3, "nor does it lower what the others are held against");
    cr_assert(r[0].id == 1 && r[1].id == 4 && r[2].id == 2);
}

static double score_of(const struct choose_region *r, uint32_t nr, uint64_t head)
{
    uint64_t ns = 0, blocks = 0;

    for (uint32_t i = 0; i < nr; i++) {
        ns += choose_cost_ns(&r[i], SPAN, head);
        blocks += r[i].blocks;
        head = r[i].end_bytes;
    }
    return (double)blocks / (double)ns;
}

/* The best subset of so many, swept upwards from the head (all[] is in that order). */
static double best_of_all(const struct choose_region *all, uint32_t size, uint64_t head)
{
    double best = 0;

    for (uint32_t set = 1; set < 1u << TRIED; set++) {
        struct choose_region r[TRIED];
        uint32_t nr = 0;
        double score;

        if ((uint32_t)__builtin_popcount(set) != size)
            continue;
        for (uint32_t i = 0; i < TRIED; i++)
            if (set >> i & 1)
                r[nr++] = all[i];
        score = score_of(r, nr, head);
        best = score > best ? score : best;
    }
    return best;
}

Test(choose, is_nearly_as_good_as_the_best_choice)
{
    double sum = 0, worst = 1;
    uint32_t rounds = 60;

    srand(3);
    for (uint32_t round = 0; round < rounds; round++) {
        struct choose_region all[TRIED], r[TRIED];
        uint64_t at = 0, head = 0;
        uint32_t nr;
        double part;

        for (uint32_t i = 0; i < TRIED; i++) {
            at += (1 + (uint64_t)rand() % 640) * 4 * MIB;
            all[i] = region(i, at, 1 + (uint32_t)rand() % (rand() % 2 ? 8 : 256));
        }
        memcpy(r, all, sizeof(r));
        nr = choose_best(r, TRIED, 6, SPAN, head);
        for (uint32_t i = 1; i < nr; i++)
            cr_assert_gt(r[i].first_bytes, r[i - 1].first_bytes, "one sweep");
        part = score_of(r, nr, head) / best_of_all(all, nr, head);
        sum += part;
        worst = part < worst ? part : worst;
    }
    cr_assert_gt(worst, 0.85, "worst %f", worst);
    cr_assert_gt(sum / rounds, 0.97, "mean %f", sum / rounds);
}
