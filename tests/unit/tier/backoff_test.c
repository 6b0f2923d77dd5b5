/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that refuse whatever is destaged: tried again later and later, and as before once one takes it. */
#include "rig.h"

static struct rig r;

/* Dirty data that is due, on devices that fail. */
static void begin(enum dev_op op)
{
    rig_init(&r, &(struct rig_opts){.seed = 77, .segments = 64});
    r.opts.dirty_start_pct = 5; /* from there on it is not left for a pause */
    cr_assert_eq(rig_boot(&r), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_fail_nth(r.hdd[i], op, 1, UINT32_MAX);
    for (uint64_t b = 0; b < 3 * EXTENT_BLOCKS; b += 16)
        cr_assert_eq(rig_write(&r, b, 16, 1), 0);
}

/* Batches that failed in that time: each gives all of its extents up. */
static uint64_t tries(uint64_t ns)
{
    uint64_t before = r.shard->stats.destage_errors, batches = 0;

    for (uint64_t at = 0; at < ns; at += NS_PER_MS) {
        sim_run_for(r.sim, NS_PER_MS);
        batches += r.shard->stats.destage_errors != before;
        before = r.shard->stats.destage_errors;
    }
    return batches;
}

static void expect_rare(enum dev_op op)
{
    begin(op);
    cr_assert_gt(tries(30 * NS_PER_S), 0, "it is tried again");
    tries(60 * NS_PER_S);
    cr_assert_leq(tries(60 * NS_PER_S), 6 * RIG_HDDS, "every 10 s for each device");
    cr_assert_gt(r.shard->ix.nr_dirty, 0);
    rig_expect(&r, 0, 64, 1);
}

TestSuite(backoff, .timeout = 120);

Test(backoff, flushes_that_always_fail_are_tried_every_ten_seconds)
{
    expect_rare(DEV_FLUSH);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_heal(r.hdd[i]);
    rig_restart(&r); /* such a flush is final until then */
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    rig_fini(&r);
}

Test(backoff, a_device_that_takes_writes_again_ends_it)
{
    expect_rare(DEV_WRITE);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_heal(r.hdd[i]);
    sim_run_for(r.sim, 11 * NS_PER_S);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    rig_fini(&r);
}

static bool has_failed(void *ctx) { return r.shard->stats.destage_errors > *(uint64_t *)ctx; }

/* Right behind a try, when the next one is far away. */
Test(backoff, a_drain_does_not_wait_for_the_next_try)
{
    uint64_t errors, began;

    expect_rare(DEV_WRITE);
    errors = r.shard->stats.destage_errors;
    cr_assert_eq(sim_run_until(r.sim, has_failed, &errors, 20 * NS_PER_S), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_heal(r.hdd[i]);
    began = sim_now_ns(r.sim);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    cr_assert_lt(sim_now_ns(r.sim) - began, NS_PER_S);
    rig_fini(&r);
}
