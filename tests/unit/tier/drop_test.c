/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "tier/mover.h"
#include "tier/reclaim.h"
#include "rig.h"

/* Blocks 0 to 9 clean on a device and in a sealed segment, its number returned; then 2 and 6 are dirty elsewhere. */
static uint32_t make_victim(struct rig *r)
{
    struct shard *s;
    uint32_t g;

    rig_init(r, &(struct rig_opts){.seed = 41, .segments = 12});
    cr_assert_eq(rig_boot(r), 0);
    s = r->shard;
    cr_assert_eq(rig_write(r, 0, 10, 1), 0);
    g = (uint32_t)((rig_log_offset(r, 4) - r->geo.base_bytes) / r->geo.segment_bytes);
    for (uint64_t i = 0; s->seg[g].use != SEGMENT_LOG_SEALED; i++)
        cr_assert_eq(rig_write(r, 1000 + i % 150, 1, i + 10), 0);
    rig_drain(r, true);
    shard_start(s);
    cr_assert_eq(s->ix.seg_dirty[g], 0);
    cr_assert_eq(rig_write(r, 2, 1, 2), 0);
    cr_assert_eq(rig_write(r, 6, 1, 2), 0);
    sim_run_for(r->sim, NS_PER_S);
    return g;
}

/* Reclaim found that nothing in its victim is needed; before it drops the blocks, a destage begins to write over those that it
 * bridges with. */
Test(drop, a_victim_keeps_what_a_destage_began_to_write_over)
{
    struct rig r;
    uint32_t g = make_victim(&r);
    struct shard *s = r.shard;

    cr_assert(s->rc.state == RECLAIM_IDLE && s->seg[g].holds == 0 && s->seg[g].moving == 0);
    s->rc.segment = g;
    s->rc.cursor = 0;
    s->rc.state = RECLAIM_DROP;
    s->rc.look_ns = sim_now_ns(r.sim) + 50 * NS_PER_MS;
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_faults(r.hdd[d])->hung = 1000000;
    shard_drain(s, true, rig_nothing, NULL);
    cr_assert_eq(sim_run_until(r.sim, rig_lane_writes, &r, NS_PER_S), 0);
    cr_assert_gt(s->ix.seg_dirty[g], 0);
    sim_run_for(r.sim, NS_PER_S);
    rig_crash(&r);
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_faults(r.hdd[d])->hung = 0;
    cr_assert_eq(rig_boot(&r), 0);
    for (uint64_t b = 3; b <= 5; b++)
        rig_spoil_cold(&r, b);
    rig_expect(&r, 3, 3, 1);
    rig_fini(&r);
}
