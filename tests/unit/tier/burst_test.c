/* SPDX-License-Identifier: Apache-2.0 */
/* Where writes wait for dirt to fall (shard.c): at the limit, or later while disks read for hosts, or if many would wait. */
#include <stdlib.h>

#include "tier/mover.h"
#include "rig.h"

#define WRITES 256u
#define BLOCKS 4u
#define SLOW_NS NS_PER_S

static struct { struct blk_io io; struct iovec iov; } reqs[WRITES];
static unsigned nr_started, nr_answered;

static void ended(struct blk_io *io)
{
    cr_assert_eq(io->err, 0);
    nr_answered++;
}

static bool all_answered(void *ctx)
{
    (void)ctx;
    return nr_answered == nr_started;
}

static void start(struct rig *r, unsigned nr)
{
    cr_assert_leq(nr, WRITES);
    nr_answered = 0;
    nr_started = nr;
    for (unsigned i = 0; i < nr; i++) {
        size_t bytes = BLOCKS * BLOCK_BYTES;

        reqs[i].iov = (struct iovec){aligned_alloc(BLOCK_BYTES, bytes), bytes};
        reqs[i].io = (struct blk_io){.op = BLK_WRITE, .lba = i * BLOCKS, .nlb = BLOCKS, .iov = &reqs[i].iov, .iovcnt = 1, .cb = ended};
        rig_fill(r, reqs[i].iov.iov_base, i * BLOCKS, BLOCKS, 1);
        blk_submit(&r->vol.blk, &reqs[i].io);
    }
}

/* Another shard does. */
static void host_reads(struct rig *r, uint16_t dev, bool on)
{
    if (on)
        turn_fg_begin(turn_of(r->shard, dev));
    else
        turn_fg_end(turn_of(r->shard, dev), env_now_ns(r->env));
}

static unsigned nr_waiting(const struct rig *r) { return r->shard->writes_wait.nr; }

/* With this much of the log dirty, so many more wait; then the reads are over, and all is written. */
static void waits_at(const struct rig_opts *o, int reads, uint32_t pct, unsigned more)
{
    struct rig r;
    uint64_t limit;

    rig_init(&r, o);
    r.opts.dirty_start_pct = 5;
    r.opts.dirty_max_pct = 20;
    cr_assert_eq(rig_boot(&r), 0);
    limit = r.shard->log_blocks * pct / 100;
    if (reads >= 0)
        host_reads(&r, (uint16_t)reads, true);
    start(&r, (unsigned)((limit + BLOCKS - 1) / BLOCKS) + more);
    sim_run_for(r.sim, SLOW_NS / 2);
    cr_assert(r.shard->ix.nr_dirty >= limit && r.shard->ix.nr_dirty < limit + BLOCKS, "%llu, not %llu",
              (unsigned long long)r.shard->ix.nr_dirty, (unsigned long long)limit);
    cr_assert_eq(nr_waiting(&r), more);
    cr_assert_eq(nr_answered * BLOCKS, r.shard->ix.nr_dirty);
    if (reads >= 0)
        host_reads(&r, (uint16_t)reads, false);
    cr_assert_eq(sim_run_until(r.sim, all_answered, NULL, 1000 * NS_PER_S), 0, "%u answered", nr_answered);
    rig_drain(&r, true);
    for (unsigned i = 0; i < nr_started; i++)
        free(reqs[i].iov.iov_base);
    for (unsigned i = 0; i < nr_started; i++)
        rig_expect(&r, i * BLOCKS, BLOCKS, 1);
    rig_fini(&r);
}

Test(burst, writes_wait_at_the_limit_when_no_disk_reads)
{
    waits_at(&(struct rig_opts){.seed = 1, .hdd_ns = SLOW_NS}, -1, 20, POLICY_BURST_WRITES - 1);
}

Test(burst, and_later_while_one_does)
{
    waits_at(&(struct rig_opts){.seed = 2, .hdd_ns = SLOW_NS}, 0, policy_burst_pct(20), 3);
    waits_at(&(struct rig_opts){.seed = 3, .hdd_ns = SLOW_NS}, 1, policy_burst_pct(20), 3);
}

Test(burst, or_if_many_would_wait)
{
    waits_at(&(struct rig_opts){.seed = 5, .hdd_ns = SLOW_NS}, -1, policy_burst_pct(20), POLICY_BURST_WRITES + 4);
}

Test(burst, reads_of_flash_are_no_reason)
{
    waits_at(&(struct rig_opts){.seed = 4, .hdd_ns = SLOW_NS, .flash = true}, 0, policy_burst_pct(20), 3);
    waits_at(&(struct rig_opts){.seed = 4, .hdd_ns = SLOW_NS, .flash = true}, 1, 20, 3);
}

Test(burst, what_lasts_is_a_load_and_has_no_more_room)
{
    uint64_t limit;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 7, .hdd_ns = 100 * SLOW_NS});
    r.opts.dirty_start_pct = 19;
    r.opts.dirty_max_pct = 20;
    cr_assert_eq(rig_boot(&r), 0);
    limit = r.shard->log_blocks / 5;
    host_reads(&r, 0, true);
    start(&r, (unsigned)((limit + BLOCKS - 1) / BLOCKS));
    sim_run_for(r.sim, POLICY_BURST_NS - NS_PER_S);
    cr_assert_geq(r.shard->ix.nr_dirty, limit);
    cr_assert_not(shard_writes_wait(r.shard));
    sim_run_for(r.sim, 2 * NS_PER_S);
    cr_assert(shard_writes_wait(r.shard));
    r.shard->calm_ns = 0;
    r.shard->t.dirty_max_pct = 30;
    shard_calm_look(r.shard);
    r.shard->t.dirty_max_pct = 20;
    cr_assert_not(shard_writes_wait(r.shard), "a burst after less was dirty");
    host_reads(&r, 0, false);
    rig_drain(&r, true);
    for (unsigned i = 0; i < nr_started; i++)
        free(reqs[i].iov.iov_base);
    rig_fini(&r);
}

/* All that is dirty may lie on the other one, and be pinned there. */
Test(burst, a_write_that_waits_for_one_device_hurries_the_lanes_of_all)
{
    struct blk_io waits = {0};
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 6, .hdd_ns = SLOW_NS});
    r.opts.dirty_start_pct = 5;
    r.opts.dirty_max_pct = 20;
    cr_assert_eq(rig_boot(&r), 0);
    start(&r, (unsigned)(r.shard->log_blocks / 5 / BLOCKS) + 1);
    sim_run_for(r.sim, SLOW_NS / 2);
    cr_assert(waits_empty(&r.shard->writes_wait) && shard_writes_wait(r.shard));
    cr_assert_not(lane_waited_for(&r.shard->lanes[1]), "nobody is held up by what is dirty");
    waits_add(&r.shard->writes_dev[0], &waits);
    cr_assert(lane_waited_for(&r.shard->lanes[0]));
    cr_assert(lane_waited_for(&r.shard->lanes[1]));
    waits_remove(&r.shard->writes_dev[0], &waits);
    rig_drain(&r, true);
    for (unsigned i = 0; i < nr_started; i++)
        free(reqs[i].iov.iov_base);
    rig_fini(&r);
}
