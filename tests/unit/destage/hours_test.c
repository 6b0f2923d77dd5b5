/* SPDX-License-Identifier: Apache-2.0 */
/* mover.hours: what may not be destaged now is when its hours begin, without anybody's asking. */
#include "yard.h"

static struct yard y;

TestSuite(hours, .timeout = 60);

static void open_yard(uint32_t in_min, uint32_t to_min, uint32_t start_pct)
{
    uint32_t now_min;
    struct yard_opts o = {.nr_shards = 1, .nr_hdd = 1, .nr_vols = 1, .hdd_bytes = 256 * MIB, .log_bytes = 64 * MIB,
                          .vol_bytes = 64 * MIB, .ssd_free = true};
    struct sim *sim = sim_new(1);
    struct env *env = sim_env_new(sim);

    now_min = (uint32_t)(env_wall_ns(env) / (60 * NS_PER_S));
    sim_env_free(env);
    sim_free(sim);
    o.tune = (struct tier_opts){.segment_bytes = (uint32_t)MIB, .dirty_start_pct = start_pct,
                                .mover_from_min = (now_min + in_min) % (24 * 60), .mover_to_min = (now_min + to_min) % (24 * 60)};
    yard_open(&y, &o);
}

static void rests_until_its_hours(uint32_t start_pct)
{
    open_yard(120, 240, start_pct);
    for (uint64_t off = 0; off < 16 * MIB; off += 64 * KIB)
        yard_io(&y, 0, BLK_WRITE, off, 64 * KIB);
    sim_run_for(y.sim, 115 * 60 * NS_PER_S);
    cr_assert_eq(yard_stats(&y).destage_blocks, 0);
    sim_run_for(y.sim, 10 * 60 * NS_PER_S);
    cr_assert_gt(yard_stats(&y).destage_blocks, 0);
    yard_close(&y);
}

Test(hours, above_the_start_mark) { rests_until_its_hours(5); }
Test(hours, at_rest) { rests_until_its_hours(60); }
