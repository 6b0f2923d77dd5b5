/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that wait for dirt to fall: how long the batch of destages under way may keep them. */
#include "rig.h"

#define EXTENTS 200u
#define WRITES  6000u

/* One at a time, a block each, far from each other: what a host with one request in flight sees of a full log. */
static uint64_t longest_write(struct rig *r)
{
    uint64_t longest = 0;

    for (uint64_t i = 0; i < WRITES; i++) {
        uint64_t block = i * 67 % EXTENTS * EXTENT_BLOCKS + i / EXTENTS * 36 % EXTENT_BLOCKS, from = sim_now_ns(r->sim);

        cr_assert_eq(rig_write(r, block, 1, 1), 0);
        longest = MAX(longest, sim_now_ns(r->sim) - from);
    }
    return longest;
}

Test(hold, one_write_that_waits_does_not_wait_for_a_whole_sweep, .timeout = 100)
{
    uint64_t longest;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 3, .hdd_ns = 250 * NS_PER_MS, .segments = 24, .segment_bytes = 1 << 20, .hdd_extents = 150,
                                    .volume_blocks = EXTENTS * EXTENT_BLOCKS});
    cr_assert_eq(rig_boot(&r), 0);
    longest = longest_write(&r);
    cr_assert_gt(shard_stats(r.shard)->destage_blocks, 0);
    cr_assert_lt(longest, POLICY_HOLD_MAX_NS + 3 * NS_PER_S, "%lu ms", (unsigned long)(longest / NS_PER_MS));
    shard_verify(r.shard);
    rig_fini(&r);
}
