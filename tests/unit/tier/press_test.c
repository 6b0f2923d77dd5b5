/* SPDX-License-Identifier: Apache-2.0 */
/* What reclaim does with the dirt of a victim: moves it, or has it destaged. */
#include "rig.h"

#define VOLUME 2048u             /* blocks: eight extents */

/* A few blocks of every extent in every segment, at random: no segment empties by itself, no extent is dense. */
static void scatter(struct rig *r, uint64_t writes)
{
    uint64_t dice = 12345;

    for (uint64_t i = 0; i < writes; i++) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        cr_assert_eq(rig_write(r, (dice >> 33) % VOLUME, 1, i + 1), 0);
    }
}

static void begin(struct rig *r, bool destage_victims)
{
    rig_init(r, &(struct rig_opts){.seed = 5, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = 24});
    r->opts.dirty_start_pct = 90; /* the log fills up before the disk has anything to do */
    r->opts.dirty_max_pct = 95;
    r->opts.destage_victims = destage_victims;
    cr_assert_eq(rig_boot(r), 0);
    shard_start(r->shard);
}

static uint64_t moved_of(bool destage_victims)
{
    struct rig r;
    uint64_t moved;

    begin(&r, destage_victims);
    scatter(&r, 6000);
    moved = shard_stats(r.shard)->reclaim_moved_blocks;
    cr_assert_gt(shard_stats(r.shard)->reclaim_segments, 20);
    shard_verify(r.shard);
    rig_drain(&r, true);
    rig_fini(&r);
    return moved;
}

Test(press, dirt_of_victims_goes_to_the_disk_rather_than_to_another_segment_where_that_is_wanted)
{
    uint64_t moves = moved_of(false), spared = moved_of(true);

    cr_assert_gt(moves, 300);
    cr_assert_lt(spared, moves / 10, "%llu of %llu", (unsigned long long)spared, (unsigned long long)moves);
}

Test(press, what_is_pinned_moves_all_the_same)
{
    struct rig r;

    begin(&r, true);
    shard_set_tier(r.shard, &r.vol, VOLUME_SSD);
    scatter(&r, 1500);
    cr_assert_gt(shard_stats(r.shard)->reclaim_moved_blocks, 0);
    shard_verify(r.shard);
    rig_drain(&r, true);
    rig_fini(&r);
}

/* Of writes to 600 blocks, again and again, while the disk is at its first one and reads besides: the log is full of them, old and new, but
 * 600 are dirty at most, nearly two thirds of it. */
static uint64_t longest_write(uint32_t dirty_max_pct)
{
    uint64_t longest = 0, dice = 12345;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 6, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = 24, .hdd_ns = 10 * NS_PER_S});
    r.opts.dirty_start_pct = dirty_max_pct - 5;
    r.opts.dirty_max_pct = dirty_max_pct;
    r.opts.destage_victims = true;
    cr_assert_eq(rig_boot(&r), 0);
    turn_fg_begin(turn_of(r.shard, 0));
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t from = sim_now_ns(r.sim);

        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        cr_assert_eq(rig_write(&r, (dice >> 33) % 600 * 3, 1, i + 1), 0);
        longest = MAX(longest, sim_now_ns(r.sim) - from);
    }
    cr_assert_eq(policy_writes_wait(r.shard->ix.nr_dirty, r.shard->log_blocks, dirty_max_pct), dirty_max_pct < 60);
    cr_assert_not(shard_writes_wait(r.shard), "for an empty segment, if for anything");
    cr_assert_gt(shard_stats(r.shard)->reclaim_segments, 20);
    turn_fg_end(turn_of(r.shard, 0), env_now_ns(r.env));
    shard_verify(r.shard);
    rig_drain(&r, true);
    rig_fini(&r);
    return longest / NS_PER_MS;
}

Test(press, hosts_do_not_wait_for_the_disk_while_less_is_dirty_than_may_be)
{
    uint64_t below = longest_write(95), beyond = longest_write(50);

    cr_assert_lt(below, 20, "%lu ms", (unsigned long)below);
    cr_assert_geq(beyond, 100, "%lu ms: beyond the limit moves are no way out", (unsigned long)beyond);
}
