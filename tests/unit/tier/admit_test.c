/* SPDX-License-Identifier: Apache-2.0 */
/* What is worth a place, what is forgotten, and when the guard asks for more. */
#include <stdlib.h>

#include "admit_rig.h"

Test(admit, a_chunk_that_is_missed_again_within_a_turn_comes_whole)
{
    struct rig g;

    rig_up(&g, false);
    expect(miss(&g, 5, 0x0003, 0), 0, 0);
    pass(&g, TURN / 2);
    expect(miss(&g, 5, 0x0006, 0x8000), 0x7fff, 0x0003); /* what was asked for before has shown that it comes back */
    expect(miss(&g, 6, 0x0001, 0), 0, 0);
    admit_fini(&g.ad);
}

Test(admit, after_a_turn_a_chunk_and_its_blocks_are_forgotten)
{
    struct rig g;

    rig_up(&g, false);
    expect(miss(&g, 5, 0x0003, 0), 0, 0);
    pass(&g, TURN + TURN / 128);
    expect(miss(&g, 5, 0x0003, 0), 0, 0);
    expect(miss(&g, 5, 0x0008, 0), 0xffff, 0x0003);
    admit_fini(&g.ad);
}

Test(admit, layers_do_not_mix)
{
    struct rig g;

    rig_up(&g, false);
    expect(miss(&g, 5, 1, 0), 0, 0);
    expect(admit_miss(&g.ad, &g.r, NULL, 2, 5, 1, 0, 0), 0, 0);
    admit_fini(&g.ad);
}

Test(admit, a_block_asked_for_a_third_time_in_ram_comes_alone)
{
    struct rig g;

    rig_up(&g, false);
    expect(miss(&g, 5, 0x0010, 0), 0, 0);
    expect(admit_again(&g.ad, &g.r, NULL, 1, 5, 0x0030, 0), 0, 0);
    expect(admit_again(&g.ad, &g.r, NULL, 1, 5, 0x0030, 0), 0x0010, 0x0010);
    expect(admit_again(&g.ad, &g.r, NULL, 1, 5, 0x0020, 0), 0x0020, 0x0020); /* read ahead: its three asks were all in RAM */
    admit_fini(&g.ad);
}

Test(admit, what_only_ram_was_asked_for_comes_alone_at_its_first_miss)
{
    struct rig g;

    rig_up(&g, false);
    expect(admit_again(&g.ad, &g.r, NULL, 1, 5, 0x0002, 0), 0, 0);
    expect(miss(&g, 5, 0x0006, 0), 0x0002, 0x0002);
    admit_fini(&g.ad);
}

Test(admit, where_ram_says_nothing_it_still_counts_for_the_next_miss)
{
    struct rig g;

    rig_up(&g, true);
    g.r.again = ADMIT_AGAIN_NEVER;
    for (uint32_t i = 0; i < 8; i++)
        expect(admit_again(&g.ad, &g.r, NULL, 1, 5, 0x0002, 0), 0, 0);
    expect(miss(&g, 5, 0x0006, 0), 0x0002, 0x0002);
    admit_fini(&g.ad);
}

Test(admit, a_stream_is_worth_nothing_and_leaves_no_trace)
{
    struct rig g;

    rig_up(&g, false);
    for (uint32_t i = 0; i < 5; i++) {
        expect(admit_miss(&g.ad, &g.r, NULL, 1, 5, 0x00ff, 0, g.r.stream_blocks + 1), 0, 0);
        expect(admit_again(&g.ad, &g.r, NULL, 1, 5, 0x00ff, g.r.stream_blocks + 1), 0, 0);
    }
    cr_assert_eq(g.ad.misses, 0);
    expect(miss(&g, 5, 0x0001, 0), 0, 0);
    expect(admit_miss(&g.ad, &g.r, NULL, 1, 5, 0x0001, 0, g.r.stream_blocks), 0xffff, 0x0001);
    admit_fini(&g.ad);
}

Test(admit, what_was_evicted_unread_and_is_missed_comes_back_for_longer)
{
    struct rig g;

    rig_up(&g, false);
    admit_evicted(&g.ad, &g.r, 1, 5 * CHUNK_BLOCKS + 3, false);
    admit_evicted(&g.ad, &g.r, 1, 5 * CHUNK_BLOCKS + 4, true); /* it had its time */
    expect(miss(&g, 5, 0x0018, 0), 0x0008, 0x0008);
    admit_fini(&g.ad);
}

Test(admit, low_wear_takes_blocks_alone_and_forgets_none_while_places_are_free)
{
    struct rig g;

    rig_up(&g, true);
    expect(miss(&g, 5, 0x0003, 0), 0, 0);
    pass_blocks(&g, 4 * CACHE);
    expect(miss(&g, 5, 0x0005, 0), 0x0001, 0x0001);
    expect(miss(&g, 5, 0x0002, 0x0001), 0x0002, 0x0002);
    for (uint32_t i = 0; i < 3; i++)
        expect(admit_again(&g.ad, &g.r, NULL, 1, 9, 0x0001, 0), 0, 0);
    expect(admit_again(&g.ad, &g.r, NULL, 1, 9, 0x0001, 0), 0x0001, 0x0001);
    admit_fini(&g.ad);
}

Test(admit, once_copies_displace_each_other_a_block_alone_is_remembered_for_a_half_turn_at_least_and_a_turn_at_most)
{
    struct rig g;

    rig_up(&g, true);
    g.ad.full = true;
    expect(miss(&g, 5, 0x0003, 0), 0, 0);
    pass_blocks(&g, CACHE / 2);
    expect(miss(&g, 5, 0x0001, 0), 0x0001, 0x0001);
    expect(miss(&g, 5, 0x0010, 0), 0, 0);
    pass_blocks(&g, CACHE / 2);
    expect(miss(&g, 5, 0x0002, 0), 0, 0); /* its neighbours were asked for meanwhile, it was not */
    expect(miss(&g, 5, 0x0010, 0), 0x0010, 0x0010);
    expect(miss(&g, 6, 0x0001, 0), 0, 0);
    pass_blocks(&g, CACHE);
    expect(miss(&g, 5, 0x0002, 0), 0, 0);
    expect(miss(&g, 6, 0x0001, 0), 0, 0); /* nothing of its chunk was looked at all the while */
    admit_fini(&g.ad);
}

/* So much of a turn passes between two misses of a block alone, from the middle of a half turn on: is it a second miss? */
static bool remembered(uint64_t room, uint32_t missed, uint32_t written)
{
    struct rig g;
    bool again;

    rig_up(&g, true);
    g.ad.full = true;
    g.ad.room = room;
    admit_written(&g.ad, (uint32_t)room / 4);
    expect(miss(&g, 5, 0x0001, 0), 0, 0);
    pass_blocks(&g, missed);
    admit_written(&g.ad, written);
    again = miss(&g, 5, 0x0001, 0).fill != 0;
    admit_fini(&g.ad);
    return again;
}

Test(admit, of_a_turn_of_blocks_alone_what_is_written_is_a_part_like_what_is_missed)
{
    cr_assert(remembered(CACHE, CACHE / 4, CACHE / 4));
    cr_assert(remembered(CACHE, 0, CACHE / 2));
    cr_assert_not(remembered(CACHE, CACHE / 2, CACHE / 2));
    cr_assert_not(remembered(CACHE, 0, CACHE));
    cr_assert_not(remembered(CACHE, 0, UINT32_MAX));
}

Test(admit, a_turn_of_blocks_alone_is_the_shorter_the_more_is_dirty)
{
    cr_assert(remembered(CACHE, CACHE / 2, 0));
    cr_assert_not(remembered(CACHE / 2, CACHE / 2, 0));
    cr_assert(remembered(CACHE / 2, CACHE / 4, 0));
}

Test(admit, once_copies_displace_each_other_ram_says_nothing_of_blocks_alone)
{
    struct rig g;

    rig_up(&g, true);
    g.ad.full = true;
    for (uint32_t i = 0; i < 8; i++)
        expect(admit_again(&g.ad, &g.r, NULL, 1, 5, 0x0001, 0), 0, 0);
    expect(miss(&g, 5, 0x0001, 0), 0, 0);
    expect(miss(&g, 5, 0x0001, 0), 0x0001, 0x0001);
    admit_fini(&g.ad);
}

Test(admit, an_evicted_block_alone_that_nobody_read_is_remembered_as_long_as_one_that_was_missed)
{
    struct rig g;

    rig_up(&g, true);
    g.ad.full = true;
    admit_evicted(&g.ad, &g.r, 1, 5 * CHUNK_BLOCKS + 3, false);
    admit_evicted(&g.ad, &g.r, 1, 6 * CHUNK_BLOCKS + 3, false);
    pass_blocks(&g, CACHE / 2);
    expect(miss(&g, 5, 0x0008, 0), 0x0008, 0x0008);
    pass_blocks(&g, CACHE / 2);
    expect(miss(&g, 6, 0x0008, 0), 0, 0);
    admit_fini(&g.ad);
}

Test(admit, what_was_asked_for_before_comes_along_with_a_block_that_is_missed_again)
{
    struct rig g;

    rig_up(&g, true);
    admit_rules_init(&g.r, CACHE, &read_mostly);
    expect(miss(&g, 5, 0x0007, 0), 0, 0);
    pass(&g, TURN * 2);
    expect(miss(&g, 5, 0x0020, 0x0002), 0, 0); /* nothing is missed again: nothing comes */
    expect(miss(&g, 5, 0x0011, 0x0002), 0x0025, 0x0001); /* on trial, and not what the SSD has */
    expect(miss(&g, 5, 0x0010, 0x0027), 0x0010, 0x0010); /* asked for at the same time is not before */
    expect(miss(&g, 5, 0x0004, 0), 0, 0); /* it was forgotten */
    admit_fini(&g.ad);
}

Test(admit, rules_may_remember_as_long_while_copies_displace_each_other)
{
    struct rig g;

    rig_up(&g, true);
    admit_rules_init(&g.r, CACHE, &read_mostly);
    g.ad.full = true;
    expect(miss(&g, 5, 0x0001, 0), 0, 0);
    expect(miss(&g, 6, 0x0001, 0), 0, 0);
    pass(&g, TURN * 9 / 2);
    expect(miss(&g, 5, 0x0001, 0), 0x0001, 0x0001);
    pass(&g, TURN / 2);
    expect(miss(&g, 6, 0x0001, 0), 0, 0);
    admit_fini(&g.ad);
}

static void evictions(struct rig *g, uint32_t nr, uint32_t unread_pct)
{
    for (uint32_t i = 0; i < nr; i++)
        admit_evicted(&g->ad, &g->r, 9, i, i % 100 >= unread_pct);
}

Test(admit, the_guard_asks_for_more_while_copies_go_unread_and_for_less_when_they_are_used)
{
    struct rig g;

    rig_up(&g, false);
    g.r.window = 100;
    evictions(&g, 100, 85);
    cr_assert_eq(g.r.touches, 2);
    evictions(&g, 100, 86);
    cr_assert_eq(g.r.touches, 3);
    expect(miss(&g, 5, 0x0001, 0), 0, 0);
    expect(miss(&g, 5, 0x0002, 0), 0, 0);
    expect(miss(&g, 5, 0x0004, 0), 0xffff, 0x0003);
    evictions(&g, 1000, 99);
    cr_assert_eq(g.r.touches, ADMIT_TOUCHES_MAX);
    for (uint32_t i = 0; i < 3; i++)
        expect(miss(&g, 6, (uint16_t)(1u << i), 0), 0, 0);
    expect(miss(&g, 6, 0x8000, 0), 0xffff, 0x0007);
    evictions(&g, 100, 50); /* neither */
    cr_assert_eq(g.r.touches, ADMIT_TOUCHES_MAX);
    evictions(&g, 1000, 49);
    cr_assert_eq(g.r.touches, 2);
    g.r.by_block = true; /* a touch too few costs less */
    evictions(&g, 1000, 99);
    evictions(&g, 100, 60);
    cr_assert_eq(g.r.touches, ADMIT_TOUCHES_MAX);
    evictions(&g, 1000, 59);
    cr_assert_eq(g.r.touches, 2);
    admit_fini(&g.ad);
}

Test(admit, nearly_all_of_two_turns_and_a_half_is_remembered)
{
    uint32_t nr = TURN * 5 / 2, known = 0; /* each at the farthest, in turn: the hardest order */
    struct rig g;

    rig_up(&g, true);
    admit_rules_init(&g.r, CACHE, &read_mostly);
    for (uint32_t c = 0; c < nr; c++)
        expect(miss(&g, c * 7, 1, 0), 0, 0);
    for (uint32_t c = 0; c < nr; c++)
        known += miss(&g, c * 7, 1, 0).fill != 0;
    cr_assert_geq(known, nr * 99 / 100, "%u of %u", known, nr);
    admit_fini(&g.ad);
}

Test(admit, takes_four_bytes_a_block_of_cache)
{
    struct admit ad;

    cr_assert_eq(admit_init(&ad, 1u << 24, 1), 0);
    cr_assert(admit_bytes(&ad) <= 4u << 24 && admit_bytes(&ad) > (4u << 24) * UINT64_C(99) / 100);
    admit_fini(&ad);
}

/* The rules in plain words, with a memory that forgets nothing but by age. */
#define CHUNKS 300u
struct plain { uint64_t chunk_at, asked_at; uint32_t touches, asked[CHUNK_BLOCKS]; uint64_t half[CHUNK_BLOCKS]; };

static bool plain_alone(const struct rig *g) { return g->r.by_block && !g->r.along; }

/* Blocks alone: what was not asked for in this half turn or the one before, once copies displace each other. */
static void plain_age(struct plain *p, const struct rig *g, uint16_t asked)
{
    uint64_t half = g->ad.passed / (ADMIT_TURN_UNIT / 2 * g->r.asked_turns);

    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++) {
        if (g->ad.full && half - p->half[i] > 1)
            p->asked[i] = 0;
        if (asked >> i & 1)
            p->half[i] = half;
    }
}

static struct admit_fill plain_miss(struct plain *p, const struct rig *g, uint16_t asked, uint16_t have, bool in_ram)
{
    uint64_t now = g->ad.misses * 256 / g->ad.turn;
    uint32_t need = in_ram ? MAX(g->r.again, g->r.touches) : g->r.touches;
    struct admit_fill f = {0, 0};
    bool all, any = false;

    if (plain_alone(g) && in_ram && g->ad.full)
        return f;
    if (plain_alone(g))
        plain_age(p, g, asked);
    if (now - p->chunk_at >= 256)
        p->touches = 0;
    if (!plain_alone(g) && now - p->asked_at >= 256 * g->r.asked_turns)
        memset(p->asked, 0, sizeof(p->asked));
    if (!in_ram) {
        p->touches++;
        p->chunk_at = now;
    }
    all = !in_ram && !g->r.by_block && p->touches >= need;
    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++) {
        if (all ? have >> i & 1 : !(asked >> i & 1))
            continue;
        any = any || all || p->asked[i] + 1 >= need;
        if (all || p->asked[i] + 1 >= need) {
            f.fill |= (uint16_t)(1u << i);
            f.main |= (uint16_t)(p->asked[i] ? 1u << i : 0);
            p->asked[i] = 0;
        } else {
            p->asked[i] = MIN(p->asked[i] + 1, 3u);
        }
    }
    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++)
        if (g->r.along && any && !in_ram && !((asked | have) >> i & 1) && p->asked[i] > 0) {
            f.fill |= (uint16_t)(1u << i);
            p->asked[i] = 0;
        }
    if (!all)
        p->asked_at = now;
    return f;
}

Test(admit, agrees_with_the_rules_in_plain_words)
{
    for (int rules = 0; rules < 4; rules++) { /* chunks; blocks alone, full or not; blocks and what comes along */
        static struct plain plain[CHUNKS];
        uint64_t fills = 0;
        struct rig g;

        memset(plain, 0, sizeof(plain));
        rig_up(&g, rules == 1 || rules == 2);
        g.ad.full = rules == 2;
        if (rules == 3)
            admit_rules_init(&g.r, CACHE, &read_mostly);
        g.ad.turn = 200; /* chunks come back before and after a turn */
        g.ad.room = 200;
        srand(3);
        for (uint32_t step = 0; step < 200000; step++) {
            uint64_t c = (uint64_t)rand() % (rand() % 3 ? CHUNKS / 10 : CHUNKS);
            uint16_t asked = (uint16_t)(1u << rand() % 16 | 1u << rand() % 16), have = (uint16_t)(rand() & rand() & ~asked);
            bool in_ram = rand() % 4 == 0;
            struct admit_fill f = in_ram ? admit_again(&g.ad, &g.r, NULL, 1, c, asked, 0) : miss(&g, c, asked, have);
            struct admit_fill want = plain_miss(&plain[c], &g, asked, have, in_ram);

            cr_assert(f.fill == want.fill && f.main == want.main, "step %u: %04x %04x, not %04x %04x", step, f.fill, f.main,
                      want.fill, want.main);
            fills += f.fill != 0;
            g.r.touches = g.r.touches_min + step / 50000 % 2;
        }
        cr_assert_gt(fills, 10000);
        admit_fini(&g.ad);
    }
}
