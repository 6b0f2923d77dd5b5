/* SPDX-License-Identifier: Apache-2.0 */
/* A stop ends what a batch has begun, not all that it was going to do: dirty blocks may stay in the log. */
#include "yard.h"

#include "tier/policy.h"

#define EXTENTS 64u

static_assert(EXTENTS <= POLICY_BATCH_EXTENTS, "one batch");

static struct yard y;

TestSuite(stop, .timeout = 60);

static void open_yard(const struct tier_opts *tune)
{
    struct yard_opts o = {.nr_shards = 1, .nr_hdd = 1, .nr_vols = 1, .hdd_bytes = 256 * MIB, .log_bytes = 256 * MIB,
                          .vol_bytes = 128 * MIB, .ssd_free = true, .tune = *tune};

    o.tune.segment_bytes = (uint32_t)MIB;
    yard_open(&y, &o);
}

/* Every `stride`-th block of each of 64 extents. */
static void dirty(uint32_t stride)
{
    for (uint64_t x = 0; x < EXTENTS; x++)
        for (uint32_t b = 0; b < EXTENT_BLOCKS; b += stride)
            yard_io(&y, 0, BLK_WRITE, x * EXTENT_BYTES + b * BLOCK_BYTES, BLOCK_BYTES);
}

static bool destages(void *ctx)
{
    (void)ctx;
    return yard_stats(&y).destage_blocks > 0;
}

/* How long a stop takes that comes when a batch has just begun. */
static double stop_s(uint32_t stride, const struct tier_opts *tune)
{
    uint64_t began_ns, left;

    open_yard(tune);
    dirty(stride);
    cr_assert_eq(sim_run_until(y.sim, destages, NULL, 2 * POLICY_COOL_NS), 0);
    began_ns = sim_now_ns(y.sim);
    yard_drain(&y, false);
    began_ns = sim_now_ns(y.sim) - began_ns;
    left = yard_dirty(&y);
    yard_close(&y);
    cr_expect_gt(left, 0);
    return (double)began_ns / (double)NS_PER_S;
}

Test(stop, does_not_wait_for_a_whole_batch)
{
    double s = stop_s(4, &(struct tier_opts){0});

    cr_assert_lt(s, 5, "%.2f s", s);
}

Test(stop, does_not_wait_for_a_budget)
{
    double bandwidth = stop_s(1, &(struct tier_opts){.mover_bandwidth = MIB}), iops = stop_s(4, &(struct tier_opts){.mover_iops = 1});

    cr_assert_lt(bandwidth, 5, "%.2f s", bandwidth);
    cr_assert_lt(iops, 5, "%.2f s", iops);
}
