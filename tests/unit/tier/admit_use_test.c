/* SPDX-License-Identifier: Apache-2.0 */
/* What is worth a place where blocks of a chunk are used together, and not again. */
#include "admit_rig.h"

static struct admit_fill used(struct rig *g, struct admit_use *u, uint64_t chunk, uint16_t asked)
{
    return admit_miss(&g->ad, &g->r, u, 1, chunk, asked, 0, 0);
}

/* nr chunks, two misses each: of every `again`th the same block, of the others neighbours. Of how many all but the block that was asked for
 * came at their first miss. */
static uint32_t pairs(struct rig *g, struct admit_use *u, uint32_t nr, uint32_t again)
{
    uint32_t whole = 0;

    while (nr-- > 0) {
        uint64_t c = g->noise++;
        bool came = used(g, u, c, 0x0001).fill == 0xfffe;

        whole += came;
        if (!came)
            used(g, u, c, nr % again == again - 1 ? 0x0001 : 0x0010);
    }
    return whole;
}

static void begin_use(struct rig *g, struct admit_use *u)
{
    *u = (struct admit_use){0};
    rig_up(g, false);
    admit_rules_init(&g->r, CACHE, &read_mostly);
}

Test(admit_use, where_only_neighbours_come_back_a_first_miss_is_worth_the_chunk_but_for_a_sample)
{
    struct admit_use u;
    struct rig g;
    uint32_t whole;

    begin_use(&g, &u);
    cr_assert_eq(pairs(&g, &u, TURN / 2 - 1, UINT32_MAX), 0);
    cr_assert(!u.chunks);
    pairs(&g, &u, 1, UINT32_MAX);
    cr_assert(u.chunks);
    whole = pairs(&g, &u, 10000, UINT32_MAX);
    cr_assert(u.chunks && whole > 9200 && whole < 9500, "%u", whole);
    admit_fini(&g.ad);
}

Test(admit_use, it_is_not_where_one_block_in_a_hundred_comes_again_or_hardly_any_neighbour)
{
    struct admit_use u;
    struct rig g;

    begin_use(&g, &u);
    cr_assert_eq(pairs(&g, &u, 20 * TURN, 100), 0);
    for (uint32_t i = 0; i < 20; i++) {
        cr_assert_eq(pairs(&g, &u, TURN / 10, UINT32_MAX), 0);
        for (uint32_t k = 0; k < TURN; k++)
            cr_assert_eq(used(&g, &u, g.noise++, 1).fill, 0);
    }
    admit_fini(&g.ad);
}

Test(admit_use, it_no_longer_is_when_blocks_of_the_sample_come_again)
{
    struct admit_use u;
    struct rig g;

    begin_use(&g, &u);
    pairs(&g, &u, TURN, UINT32_MAX);
    cr_assert(u.chunks);
    pairs(&g, &u, ADMIT_SAMPLE * 100, 4);
    cr_assert(!u.chunks);
    admit_fini(&g.ad);
}

/* RAM keeps the sample's frames: misses alone would say that nothing comes back. */
Test(admit_use, in_ram_the_sample_counts_as_well)
{
    uint32_t again = 0;
    struct admit_use u;
    struct rig g;

    begin_use(&g, &u);
    pairs(&g, &u, TURN, UINT32_MAX);
    for (uint32_t i = 0; i < ADMIT_SAMPLE * 1000; i++) {
        uint64_t c = g.noise++;

        if (used(&g, &u, c, 0x0001).fill == 0)
            admit_again(&g.ad, &g.r, &u, 1, c, 0x0010, 0);
    }
    cr_assert(u.chunks);
    for (uint32_t i = 0; u.chunks && i < ADMIT_SAMPLE * 1000; i++, again++) {
        uint64_t c = g.noise++;

        if (used(&g, &u, c, 0x0001).fill == 0)
            admit_again(&g.ad, &g.r, &u, 1, c, 0x0001, 0);
    }
    cr_assert(!u.chunks, "after %u", again);
    admit_fini(&g.ad);
}

Test(admit_use, there_what_is_asked_for_is_worth_nothing_until_it_is_asked_for_again)
{
    struct admit_use u;
    struct rig g;
    uint64_t c;

    begin_use(&g, &u);
    pairs(&g, &u, TURN, UINT32_MAX);
    cr_assert(u.chunks);
    for (c = g.noise; !admit_wants_chunk(&g.ad, &g.r, &u, 1, c, 0); c++)
        ;
    expect(used(&g, &u, c, 0x0031), 0xffce, 0);
    expect(admit_miss(&g.ad, &g.r, &u, 1, c, 0x0013, 0xffcc, 0), 0x0031, 0x0031);
    expect(used(&g, &u, c, 0x0002), 0xffff, 0x0002);
    admit_fini(&g.ad);
}

/* Rules that spare the SSD learn it, too, and copy nothing more for it. */
Test(admit_use, blocks_alone_tell_what_is_used_together)
{
    static const struct admit_rules alone = {.by_block = true, .again = 4};

    for (uint32_t again = 4; again <= 4000; again *= 1000) {
        struct admit_use u;
        struct rig g;

        begin_use(&g, &u);
        admit_rules_init(&g.r, CACHE, &alone);
        for (uint32_t i = 0; i < 8000; i++) {
            uint64_t c = g.noise++;
            bool same = i % again == again - 1;

            cr_assert(!admit_wants_chunk(&g.ad, &g.r, &u, 1, c, 0));
            expect(used(&g, &u, c, 0x0001), 0, 0);
            expect(used(&g, &u, c, same ? 0x0001 : 0x0010), same, same);
        }
        cr_assert_eq(u.chunks, again > 4);
        admit_fini(&g.ad);
    }
}

Test(admit_use, there_a_chunk_is_remembered_for_five_turns)
{
    for (uint32_t turns = 1; turns <= 6; turns += turns < 4 ? 1 : 2) {
        struct admit_use u = {.chunks = true};
        struct rig g;

        rig_up(&g, false);
        admit_miss(&g.ad, &g.r, &u, 1, 5, 0x0003, 0, 0);
        pass(&g, turns * TURN - TURN / 64);
        u = (struct admit_use){.chunks = true};
        cr_assert_eq(admit_wants_chunk(&g.ad, &g.r, &u, 1, 5, 0), turns <= 5, "%u turns", turns);
        cr_assert_eq(admit_wants_chunk(&g.ad, &g.r, NULL, 1, 5, 0), turns <= 1, "%u turns", turns);
        expect(admit_miss(&g.ad, &g.r, &u, 1, 5, 0x0030, 0, 0), turns <= 5 ? 0xffcf : 0, turns <= 1 ? 0x0003 : 0);
        admit_fini(&g.ad);
    }
}

/* Whatever happens, it says what the next miss would do. */
Test(admit_use, whether_a_chunk_is_wanted_is_known_before)
{
    uint32_t seen[2] = {0};
    struct rig g;

    srand(4);
    rig_up(&g, false);
    for (uint32_t i = 0; i < 40000; i++) {
        uint64_t c = (uint64_t)rand() % (2 * TURN);
        bool wants = admit_wants_chunk(&g.ad, &g.r, NULL, 1, c, 0);

        cr_assert_eq(miss(&g, c, (uint16_t)(1u << i % 16), 0).fill == 0xffff, wants);
        seen[wants]++;
        cr_assert(!admit_wants_chunk(&g.ad, &g.r, NULL, 1, c, UINT64_MAX), "nothing of a stream");
    }
    cr_assert(seen[0] > 1000 && seen[1] > 1000);
    admit_fini(&g.ad);
}
