/* SPDX-License-Identifier: Apache-2.0 */
/* A run of another shard hangs and keeps the device's turn: this one's lane goes on without it, whatever it waits with, and so finds
 * out for itself what the device does. */
#include "yard.h"

#include "tier/policy.h"
#include "tier/pool.h"

#define OTHER (REACTORS_MAX - 1)

static struct yard y;
static struct turn_want want;

TestSuite(stuck, .timeout = 60);

static struct turn *turn(void) { return &y.tier->turns.dev[0]; }

static bool lane_waits(void *ctx)
{
    (void)ctx;
    return turn_others_wait(turn());
}

/* The other shard has the turn, and begins a run behind which this one's lane has to wait. */
static void hang(uint64_t patience_ns)
{
    cr_assert_eq(sim_run_until(y.sim, lane_waits, NULL, patience_ns), 0);
    turn_run_begin(turn(), sim_now_ns(y.sim));
    sim_run_for(y.sim, 10 * NS_PER_S);
}

static void answer(void)
{
    turn_run_end(turn());
    turn_give(turn(), OTHER);
    yard_close(&y);
}

static void dirty_yard(void)
{
    yard_open(&y, &(struct yard_opts){.nr_shards = 1, .nr_hdd = 1, .nr_vols = 1, .hdd_bytes = 128 * MIB, .log_bytes = 64 * MIB,
                                      .vol_bytes = 32 * MIB, .ssd_free = true, .tune = {.segment_bytes = 1 << 20}});
    for (uint64_t off = 0; off < 8 * MIB; off += 256 * KIB)
        yard_io(&y, 0, BLK_WRITE, off, 256 * KIB);
}

Test(stuck, destage_goes_on)
{
    dirty_yard();
    cr_assert(turn_take(turn(), OTHER, &want));
    hang(2 * POLICY_COOL_NS);
    cr_expect_gt(yard_stats(&y).destage_blocks, 0);
    answer();
}

Test(stuck, so_do_descriptions)
{
    dirty_yard();
    sim_run_for(y.sim, POLICY_COOL_NS + POLICY_SETTLED_NS / 2);
    cr_assert_eq(yard_dirty(&y), 0);
    cr_assert_eq(yard_stats(&y).descriptor_writes, 0);
    cr_assert(turn_take(turn(), OTHER, &want));
    hang(2 * POLICY_SETTLED_NS);
    cr_expect_gt(yard_stats(&y).descriptor_writes, 0);
    answer();
}
