/* SPDX-License-Identifier: Apache-2.0 */
/* Shards take turns to flush a capacity device (flush_turn.h), and each hears of those that failed for another. */
#include "tier/mover.h"
#include "rig.h"

/* Other shards' flushes, all of which succeed, keep the turn from this one for longer than a request may take. */
Test(flush_wait, a_turn_that_others_had_is_no_fault_of_the_device, .timeout = 60)
{
    struct rig r;
    unsigned flushing = 0;
    bool done = false;

    rig_init(&r, &(struct rig_opts){.seed = 41, .segments = 12});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 10, 1), 0);
    for (unsigned d = 0; d < CAPACITY_DEVS_MAX; d++)
        r.flush_turns.taken[d] = true;
    shard_drain(r.shard, true, rig_set, &done);
    sim_run_for(r.sim, 10 * NS_PER_S);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        flushing += r.shard->lanes[i].state == LANE_FLUSH;
    cr_assert_gt(flushing, 0);
    sim_run_for(r.sim, 60 * NS_PER_S);
    for (unsigned d = 0; d < RIG_HDDS; d++)
        cr_assert_not(r.shard->degraded[d], "device %u", d);
    for (unsigned d = 0; d < CAPACITY_DEVS_MAX; d++)
        r.flush_turns.taken[d] = false;
    cr_assert_eq(sim_run_until(r.sim, rig_is_set, &done, 1000 * NS_PER_S), 0);
    cr_assert_eq(r.shard->ix.nr_dirty, 0, "and goes on when it is given back");
    rig_fini(&r);
}

/* Blocks 0..29 of a destage have been written, and their flush is under way, or waits for its turn; *drained: when all is clean. */
static void write_to_the_flush(struct rig *r, uint64_t seed, bool others_turn, bool *drained)
{
    rig_init(r, &(struct rig_opts){.seed = seed});
    cr_assert_eq(rig_boot(r), 0);
    cr_assert_eq(rig_write(r, 0, 30, 1), 0);
    for (uint16_t d = 0; others_turn && d < RIG_HDDS; d++)
        cr_assert(flush_turn_take(&r->flush_turns, d));
    shard_drain(r->shard, true, rig_set, drained);
    cr_assert_eq(sim_run_until(r->sim, rig_flushing, r, NS_PER_S), 0);
}

static void others_give_the_turn(struct rig *r)
{
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        flush_turn_give(&r->flush_turns, d);
}

static void expect_clean(struct rig *r, const bool *drained)
{
    sim_run_for(r->sim, NS_PER_S);
    cr_assert(*drained);
    cr_assert_eq(r->shard->ix.nr_dirty, 0);
}

/* Another shard's, of all devices. */
static void flushes_failed(struct rig *r)
{
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        cold_flush_failed(r->cold, d);
}

/* A failed flush drops what others wrote too, and tells only the one who asked: their batches are written again. */
Test(flush_wait, a_flush_that_failed_for_another_shard_is_this_ones_concern)
{
    bool drained = false;
    struct rig r;

    write_to_the_flush(&r, 14, false, &drained);
    flushes_failed(&r);
    sim_run_for(r.sim, 50 * NS_PER_MS);
    cr_assert_eq(r.shard->ix.nr_dirty, 30);
    cr_assert_eq(r.shard->stats.destage_errors, 1);
    expect_clean(&r, &drained);
    rig_restart(&r);
    rig_expect(&r, 0, 30, 1);
    rig_fini(&r);
}

/* ... but not one of a device that this one wrote nothing to: it may fail for ever. */
Test(flush_wait, a_flush_of_another_device_that_failed_is_not)
{
    bool drained = false;
    struct rig r;
    uint16_t dev;

    write_to_the_flush(&r, 14, false, &drained);
    dev = r.shard->lanes[0].state == LANE_FLUSH ? 0 : 1;
    cold_flush_failed(r.cold, 1 - dev);
    expect_clean(&r, &drained);
    cr_assert_eq(r.shard->stats.destage_errors, 0);
    rig_restart(&r);
    rig_expect(&r, 0, 30, 1);
    rig_fini(&r);
}

/* ... and of which its own thread has not heard yet. */
Test(flush_wait, a_flush_of_another_shard_is_heard_of_before_this_ones_begins)
{
    bool drained = false;
    struct rig r;

    write_to_the_flush(&r, 15, true, &drained);
    sim_run_for(r.sim, 500 * NS_PER_MS);
    cr_assert(rig_flushing(&r));
    cr_assert_eq(r.shard->ix.nr_dirty, 30);
    flushes_failed(&r);
    others_give_the_turn(&r);
    sim_run_for(r.sim, 50 * NS_PER_MS);
    cr_assert_eq(r.shard->ix.nr_dirty, 30);
    cr_assert_eq(r.shard->stats.destage_errors, 1);
    expect_clean(&r, &drained);
    rig_fini(&r);
}

/* A flush that hangs in another shard keeps this one's batch from its commit, not its blocks from another try. */
Test(flush_wait, a_flush_that_waits_for_another_one_gives_up_after_the_deadline)
{
    bool drained = false;
    struct rig r;
    uint64_t before;

    write_to_the_flush(&r, 17, true, &drained);
    before = sim_events_run(r.sim);
    sim_run_for(r.sim, 100 * NS_PER_MS);
    cr_assert_lt(sim_events_run(r.sim) - before, 1000, "it does not spin");
    cr_assert_eq(sim_run_until(r.sim, rig_destage_failed, &r, 60 * NS_PER_S), 0);
    cr_assert_eq(r.shard->ix.nr_dirty, 30);
    others_give_the_turn(&r);
    expect_clean(&r, &drained);
    rig_restart(&r);
    rig_expect(&r, 0, 30, 1);
    rig_fini(&r);
}
