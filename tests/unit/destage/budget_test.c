/* SPDX-License-Identifier: Apache-2.0 */
/* When destage works: at rest, and within the budget of a device, whichever shards want it. */
#include "yard.h"

#include "tier/mover.h"
#include "tier/policy.h"
#include "tier/pool.h"
#include "tier/priv.h"

static struct yard y;

TestSuite(budget, .timeout = 60);

static void open_log(uint32_t nr_shards, uint32_t nr_hdd, uint64_t log_bytes, const struct tier_opts *tune)
{
    struct yard_opts o = {.nr_shards = nr_shards, .nr_hdd = nr_hdd, .nr_vols = 4, .hdd_bytes = 256 * MIB, .log_bytes = log_bytes,
                          .vol_bytes = 32 * MIB, .ssd_free = true, .tune = *tune};

    o.tune.segment_bytes = (uint32_t)MIB;
    yard_open(&y, &o);
}

static void open_yard(uint32_t nr_shards, uint32_t nr_hdd, const struct tier_opts *tune) { open_log(nr_shards, nr_hdd, 128 * MIB, tune); }

/* So many blocks in each of the extents [from, to) of each volume. */
static void dirty(uint32_t from, uint32_t to, uint32_t nblocks)
{
    for (unsigned v = 0; v < 4; v++)
        for (uint64_t x = from; x < to; x++)
            for (uint32_t b = 0; b < nblocks; b += 64)
                yard_io(&y, v, BLK_WRITE, x * EXTENT_BYTES + b * BLOCK_BYTES, MIN(nblocks - b, 64u) * BLOCK_BYTES);
}

Test(budget, an_idle_server_destages_what_is_dense_soon_and_all_that_is_cold_in_the_end)
{
    uint64_t sparse = 4 * 8 * 3 * BLOCK_BYTES;

    open_yard(2, 1, &(struct tier_opts){0});
    dirty(0, 8, 64);
    dirty(8, 16, 3);
    cr_assert_eq(yard_dirty(&y), sparse + 4 * 8 * 64 * BLOCK_BYTES);
    sim_run_for(y.sim, POLICY_COOL_NS / 2);
    cr_assert_eq(yard_stats(&y).destage_blocks, 0, "not while it is warm");
    sim_run_for(y.sim, POLICY_COOL_NS);
    cr_assert_eq(yard_dirty(&y), sparse);
    sim_run_for(y.sim, POLICY_COLD_NS);
    cr_assert_eq(yard_dirty(&y), 0);
    yard_close(&y);
}

Test(budget, what_is_written_again_and_again_is_not_destaged_at_rest)
{
    open_yard(1, 1, &(struct tier_opts){0});
    for (unsigned i = 0; i < 20; i++) {
        dirty(0, 2, 64);
        sim_run_for(y.sim, POLICY_COOL_NS * 2 / 3);
    }
    cr_assert_eq(yard_stats(&y).destage_blocks, 0);
    yard_close(&y);
}

/* More extents than a pass looks at, none of them due for hours. */
Test(budget, a_server_at_rest_does_not_look_at_the_same_dirt_all_the_time)
{
    const struct lane *l;

    yard_open(&y, &(struct yard_opts){.nr_shards = 1, .nr_hdd = 1, .nr_vols = 1, .hdd_bytes = 6 * GIB, .log_bytes = 128 * MIB,
                                      .vol_bytes = 5 * GIB, .ssd_free = true, .tune = {.segment_bytes = 1 << 20}});
    l = &y.tier->shards[0]->lanes[0];
    for (uint64_t x = 0; x < SCAN_BUDGET + 500; x++)
        yard_io(&y, 0, BLK_WRITE, x * EXTENT_BYTES, BLOCK_BYTES);
    sim_run_for(y.sim, 5 * NS_PER_S);
    cr_assert_gt(l->cold_look_ns, sim_now_ns(y.sim) + NS_PER_S);
    sim_run_for(y.sim, POLICY_COLD_NS + 600 * NS_PER_S);
    cr_expect_eq(yard_dirty(&y), 0);
    yard_close(&y);
}

static double drain_s(void)
{
    uint64_t began_ns = sim_now_ns(y.sim);

    yard_drain(&y, true);
    return (double)(sim_now_ns(y.sim) - began_ns) / (double)NS_PER_S;
}

/* Of the device, not of each shard: four shards share it. */
Test(budget, bandwidth_is_the_devices)
{
    double s;

    open_yard(4, 1, &(struct tier_opts){.mover_bandwidth = 4 * MIB});
    dirty(0, 16, 192);
    s = drain_s();
    cr_assert_float_eq(s, 48.0 / 4, 1.2, "48 MiB at 4 MiB/s take %.2f s", s);
    yard_close(&y);
}

Test(budget, writes_per_second_are_the_devices)
{
    double s;

    open_yard(4, 1, &(struct tier_opts){.mover_iops = 20});
    dirty(0, 16, 1);
    s = drain_s();
    cr_assert(s > 64.0 / 20 && s < 64.0 / 20 + 4, "64 runs and the descriptions, at 20/s, take %.2f s", s);
    yard_close(&y);
}

/* What a host that reads all the time sees while the log is above its start mark, and how much is destaged beside it. */
static uint64_t read_beside(uint64_t target_ns, uint64_t *destaged)
{
    struct yard_host r = {.yard = &y, .vol = 0, .len_bytes = BLOCK_BYTES, .from_bytes = 16 * MIB, .within_bytes = 16 * MIB,
                          .stride_bytes = EXTENT_BYTES, .seed = 3, .pause_ns = 30 * NS_PER_MS};

    open_log(1, 1, 64 * MIB, &(struct tier_opts){.mover_latency_ns = target_ns, .dirty_start_pct = 5, .dirty_max_pct = 80,
                                                  .stage_bytes = 256 * KIB});
    dirty(0, 32, 16);
    yard_drain(&y, true);
    dirty(0, 16, 256); /* the log forgets what is read below: it is older */
    yard_drain(&y, true);
    dirty(0, 14, 190);
    *destaged = yard_stats(&y).destage_blocks;
    yard_host_start(&r);
    sim_run_for(y.sim, 3 * NS_PER_S);
    yard_host_stop(&r);
    *destaged = yard_stats(&y).destage_blocks - *destaged;
    yard_close(&y);
    return r.nr;
}

Test(budget, reads_that_take_longer_than_the_target_slow_destage_down)
{
    uint64_t without, with;

    cr_assert_gt(read_beside(0, &without), 50);
    cr_assert_gt(read_beside(NS_PER_MS, &with), 50);
    cr_assert_gt(without, 2 * with, "%llu blocks, %llu with a target", (unsigned long long)without, (unsigned long long)with);
}

Test(budget, several_disks_work_at_once)
{
    double one, four;

    open_yard(2, 1, &(struct tier_opts){0});
    dirty(0, 24, 192);
    one = drain_s();
    yard_close(&y);
    open_yard(2, 4, &(struct tier_opts){0});
    dirty(0, 24, 192);
    four = drain_s();
    for (unsigned d = 1; d <= 4; d++)
        cr_assert_gt(y.dev[d].written_bytes, 0, "disk %u", d);
    cr_assert_lt(four, one / 2.5, "%.2f s, %.2f s with four", one, four);
    yard_close(&y);
}
