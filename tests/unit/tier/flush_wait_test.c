/* SPDX-License-Identifier: Apache-2.0 */
/* Shards take turns to flush a capacity device (flush_turn.h). */
#include "tier/mover.h"
#include "rig.h"

static void drained(void *ctx) { *(bool *)ctx = true; }
static bool is_set(void *ctx) { return *(bool *)ctx; }

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
    shard_drain(r.shard, true, drained, &done);
    sim_run_for(r.sim, 10 * NS_PER_S);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        flushing += r.shard->lanes[i].state == LANE_FLUSH;
    cr_assert_gt(flushing, 0);
    sim_run_for(r.sim, 60 * NS_PER_S);
    for (unsigned d = 0; d < RIG_HDDS; d++)
        cr_assert_not(r.shard->degraded[d], "device %u", d);
    for (unsigned d = 0; d < CAPACITY_DEVS_MAX; d++)
        r.flush_turns.taken[d] = false;
    cr_assert_eq(sim_run_until(r.sim, is_set, &done, 1000 * NS_PER_S), 0);
    cr_assert_eq(r.shard->ix.nr_dirty, 0, "and goes on when it is given back");
    rig_fini(&r);
}
