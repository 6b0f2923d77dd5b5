/* SPDX-License-Identifier: Apache-2.0 */
/* Clean blocks that a destage writes to bridge the hole between dirty ones: until its batch has committed the log keeps them. */
#include <stdlib.h>

#include "tier/map.h"
#include "rig.h"

static _Alignas(4096) char buf[BLOCK_BYTES];

/* Blocks 0..9 clean in the log and on a device; then 2 and 6 are dirty, and 3..5 are the hole between them. */
static void make_a_hole(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .segments = 12});
    cr_assert_eq(rig_boot(r), 0);
    cr_assert_eq(rig_write(r, 0, 10, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    cr_assert_eq(rig_write(r, 2, 1, 2), 0);
    cr_assert_eq(rig_write(r, 6, 1, 2), 0);
}

/* Writes elsewhere until reclaim has emptied the segment in which block 4 lies, with what else is dirty there. */
static void churn(struct rig *r)
{
    uint32_t g = (uint32_t)((rig_log_offset(r, 4) - r->geo.base_bytes) / r->geo.segment_bytes);
    uint64_t epoch = r->shard->seg[g].epoch, i = 0;

    cr_assert_neq(rig_log_offset(r, 4), 0);
    for (; r->shard->seg[g].epoch == epoch && i < 5000; i++)
        cr_assert_eq(rig_write(r, 1000 + (uint64_t)rand() % 150, 1, i + 10), 0);
    cr_assert_neq(r->shard->seg[g].epoch, epoch);
    shard_verify(r->shard);
}

static void expect_whole_bridge(struct rig *r)
{
    rig_expect(r, 0, 2, 1);
    rig_expect(r, 2, 1, 2);
    rig_expect(r, 3, 3, 1);
    rig_expect(r, 6, 1, 2);
    rig_expect(r, 7, 3, 1);
}

/* What bridges a hole is clean, but no longer safe on its device once the write has begun: the log keeps it. */
Test(bridge, a_destage_that_was_given_up_costs_none_of_the_blocks_that_it_bridged)
{
    struct rig r;

    make_a_hole(&r, 22);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_fail_nth(r.hdd[i], DEV_WRITE, 1, UINT32_MAX);
    shard_drain(r.shard, true, rig_nothing, NULL);
    cr_assert_eq(sim_run_until(r.sim, rig_destage_failed, &r, 10 * NS_PER_S), 0);
    for (uint64_t b = 2; b <= 6; b++)
        rig_spoil_cold(&r, b);
    churn(&r);
    expect_whole_bridge(&r);
    rig_restart(&r);
    churn(&r);
    expect_whole_bridge(&r);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_heal(r.hdd[i]);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    shard_start(r.shard);
    churn(&r);
    cr_assert_eq(rig_log_offset(&r, 4), 0, "a clean copy again, and gone with its segment");
    expect_whole_bridge(&r);
    rig_fini(&r);
}

/* Blocks 3..5 were to be written over by a destage that was given up; now the devices take writes again. */
static void give_up_a_bridge(struct rig *r, uint64_t seed)
{
    struct tier_info info = {0};

    make_a_hole(r, seed);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_fail_nth(r->hdd[i], DEV_WRITE, 1, UINT32_MAX);
    shard_drain(r->shard, true, rig_nothing, NULL);
    cr_assert_eq(sim_run_until(r->sim, rig_destage_failed, r, 10 * NS_PER_S), 0);
    cr_assert_neq(index_flags_of(&r->shard->ix, index_find(&r->shard->ix, 1, 4)) & INDEX_KEPT, 0);
    shard_info(r->shard, &info);
    cr_assert_eq(info.journal_kept_bytes, 3 * BLOCK_BYTES, "what the log alone has is told apart");
    cr_assert_gt(info.journal_dirty_bytes, 3 * BLOCK_BYTES);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_heal(r->hdd[i]);
}

/* The device's copy is torn, and the log's device gives an error: that is no proof, and the log may have the block again. */
Test(bridge, a_bridging_block_that_the_log_does_not_give_now_stays_dirty)
{
    struct rig r;

    give_up_a_bridge(&r, 41);
    rig_spoil_cold(&r, 4);
    sim_disk_latent(r.ssd, rig_log_offset(&r, 4), BLOCK_BYTES);
    sim_run_for(r.sim, 3 * NS_PER_S);
    cr_assert_gt(r.shard->ix.nr_dirty, 0);
    cr_assert_neq(index_flags_of(&r.shard->ix, index_find(&r.shard->ix, 1, 4)) & INDEX_DIRTY, 0);
    sim_disk_heal(r.ssd);
    cr_assert_eq(sim_run_until(r.sim, rig_clean, &r, 10 * NS_PER_S), 0);
    while (rig_log_offset(&r, 4) != 0)
        map_remove(r.shard, index_find(&r.shard->ix, 1, 4));
    expect_whole_bridge(&r);
    rig_fini(&r);
}

/* The device's copy is whole: it is looked at, stays as it is, and no fault of the log's device keeps the extent dirty. */
Test(bridge, a_bridging_block_that_only_the_device_gives_is_not_written_over)
{
    struct extent_place p;
    struct rig r;

    give_up_a_bridge(&r, 42);
    p = rig_extent(&r, 0)->place;
    sim_disk_latent(r.ssd, rig_log_offset(&r, 4), BLOCK_BYTES);
    cr_assert_eq(sim_run_until(r.sim, rig_clean, &r, 10 * NS_PER_S), 0);
    cr_assert_eq(r.shard->stats.csum_errors_hdd, 0);
    cr_assert_eq(rig_extent(&r, 0)->place.dev, p.dev);
    rig_restart(&r);
    expect_whole_bridge(&r);
    rig_fini(&r);
}

/* Both copies were read, and both are bad. */
Test(bridge, a_bridging_block_without_a_whole_copy_is_damaged_and_no_other)
{
    struct rig r;

    give_up_a_bridge(&r, 43);
    sim_disk_rot(r.ssd, rig_log_offset(&r, 4));
    rig_spoil_cold(&r, 4);
    cr_assert_eq(sim_run_until(r.sim, rig_clean, &r, 10 * NS_PER_S), 0);
    cr_assert_eq(rig_read(&r, 4, 1, buf), -FIRN_E_DAMAGED);
    rig_expect(&r, 2, 1, 2);
    rig_expect(&r, 3, 1, 1);
    rig_expect(&r, 5, 1, 1);
    rig_expect(&r, 6, 1, 2);
    rig_fini(&r);
}

Test(bridge, a_destage_that_a_crash_cut_off_costs_none_of_the_blocks_that_it_bridged)
{
    struct rig r;

    make_a_hole(&r, 23);
    rig_crash(&r);
    cr_assert_eq(rig_boot(&r), 0);
    for (uint64_t b = 2; b <= 6; b++)
        rig_spoil_cold(&r, b);
    churn(&r);
    expect_whole_bridge(&r);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    shard_start(r.shard);
    churn(&r);
    expect_whole_bridge(&r);
    rig_fini(&r);
}

/* The lane that hangs has read what it writes: no segment waits for it, and what the log held is held still. */
Test(bridge, a_destage_that_hangs_keeps_no_segment_from_being_reclaimed)
{
    struct rig r;

    make_a_hole(&r, 24);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_faults(r.hdd[i])->hung = 1000000;
    shard_drain(r.shard, true, rig_nothing, NULL);
    cr_assert_eq(sim_run_until(r.sim, rig_lane_writes, &r, NS_PER_S), 0);
    for (uint32_t g = 0; g < r.o.segments; g++)
        cr_assert_eq(r.shard->seg[g].holds, 0);
    churn(&r);
    for (uint64_t b = 2; b <= 6; b++)
        cr_assert_neq(rig_log_offset(&r, b), 0);
    rig_expect(&r, 2, 1, 2);
    rig_expect(&r, 3, 3, 1);
    rig_fini(&r);
}

/* One extent's write hangs; the log does not give the next one's payload, which ends its part in the batch. */
Test(bridge, a_destage_that_was_given_up_beside_one_that_hangs_holds_no_segment)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 44});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 4, 1), 0);
    cr_assert_eq(rig_write(&r, EXTENT_BLOCKS, 4, 1), 0);
    sim_disk_latent(r.ssd, rig_log_offset(&r, EXTENT_BLOCKS), BLOCK_BYTES);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_faults(r.hdd[i])->hung = 1000000;
    shard_drain(r.shard, true, rig_nothing, NULL);
    cr_assert_eq(sim_run_until(r.sim, rig_lane_writes, &r, NS_PER_S), 0);
    sim_run_for(r.sim, NS_PER_S);
    for (uint32_t g = 0; g < r.o.segments; g++)
        cr_assert_eq(r.shard->seg[g].holds, 0);
    rig_fini(&r);
}
