/* SPDX-License-Identifier: Apache-2.0 */
/* pin_test.c: what a volume's tier changes: for the HDD, it is destaged in the next pause; for the SSD, it stays, as long as anything
 * else can give way.
 */
#include "rig.h"

#define VOLUME_BLOCKS 4096u

static void boot(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .segments = 40, .hdd_extents = 32, .volume_blocks = VOLUME_BLOCKS});
    cr_assert_eq(rig_boot(r), 0);
}

static uint64_t dirty(const struct rig *r) { return r->shard->ix.nr_dirty; }

/* Writes until so much of the log is dirty. */
static void soil(struct rig *r, uint32_t pct)
{
    for (uint32_t b = 0; dirty(r) < r->shard->log_blocks * pct / 100; b += 8) {
        cr_assert_lt(b, VOLUME_BLOCKS);
        cr_assert_eq(rig_write(r, b, 8, 1), 0);
    }
}

static void wait_for(struct rig *r, uint64_t ns)
{
    sim_run_for(r->sim, ns);
    shard_verify(r->shard);
}

Test(pin, a_volume_for_the_hdd_is_destaged_in_the_next_pause, .timeout = 60)
{
    struct rig r;

    boot(&r, 1);
    cr_assert_eq(rig_write(&r, 5, 3, 1), 0);
    wait_for(&r, 5 * NS_PER_S);
    cr_assert_eq(dirty(&r), 3, "of others so little stays");
    shard_set_tier(r.shard, &r.vol, VOLUME_HDD);
    wait_for(&r, NS_PER_S);
    cr_assert_eq(dirty(&r), 0, "what was there when its tier changed, too");
    cr_assert_eq(rig_write(&r, 700, 1, 2), 0);
    wait_for(&r, NS_PER_S);
    cr_assert_eq(dirty(&r), 0);
    shard_set_tier(r.shard, &r.vol, VOLUME_AUTO);
    cr_assert_eq(rig_write(&r, 900, 1, 2), 0);
    wait_for(&r, 5 * NS_PER_S);
    cr_assert_eq(dirty(&r), 1);
    rig_expect(&r, 5, 3, 1);
    rig_expect(&r, 700, 1, 2);
    rig_fini(&r);
}

Test(pin, a_volume_for_the_ssd_stays_dirty, .timeout = 60)
{
    struct rig r;
    uint64_t was;

    boot(&r, 2);
    r.vol.tier = VOLUME_SSD;
    soil(&r, 75);
    was = dirty(&r);
    wait_for(&r, 10 * NS_PER_S);
    cr_assert_eq(dirty(&r), was, "above dirty_start, and idle");
    cr_assert_eq(rig_used(&r), 0, "no place is taken for it");
    shard_set_tier(r.shard, &r.vol, VOLUME_AUTO);
    wait_for(&r, 10 * NS_PER_S);
    cr_assert_leq(dirty(&r), r.shard->log_blocks * 60 / 100, "like any other");
    rig_fini(&r);
}

Test(pin, what_is_pinned_survives_a_crash_and_moves_with_reclaim, .timeout = 60)
{
    struct rig r;

    boot(&r, 3);
    r.vol.tier = VOLUME_SSD;
    for (uint32_t i = 0; i < 4000; i++)
        cr_assert_eq(rig_write(&r, i * 7 % 600, 1, 1 + i), 0);
    cr_assert_gt(shard_stats(r.shard)->reclaim_segments, 0);
    cr_assert_eq(shard_stats(r.shard)->destage_blocks, 0);
    for (uint32_t b = 0; b < 600; b += 7)
        rig_expect(&r, b, 1, 3601 + b / 7);
    rig_restart(&r);
    for (uint32_t b = 0; b < 600; b += 7)
        rig_expect(&r, b, 1, 3601 + b / 7);
    rig_fini(&r);
}

Test(pin, where_nothing_else_is_left_it_gives_way, .timeout = 60)
{
    struct rig r;

    boot(&r, 4);
    r.vol.tier = VOLUME_SSD;
    for (uint32_t b = 0; b < VOLUME_BLOCKS; b += 8) /* more than the log may hold dirty */
        cr_assert_eq(rig_write(&r, b, 8, 3), 0);
    cr_assert_gt(shard_stats(r.shard)->destage_blocks, 0);
    rig_drain(&r, true);
    cr_assert_eq(dirty(&r), 0, "and when all is to go");
    for (uint32_t b = 0; b < VOLUME_BLOCKS; b += 64)
        rig_expect(&r, b, 64, 3);
    rig_fini(&r);
}
