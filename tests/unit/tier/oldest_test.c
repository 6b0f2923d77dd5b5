/* SPDX-License-Identifier: Apache-2.0 */
/* oldest_test.c: tombstones never fill the table of extents, whatever in the log they wait for. */
#include "tier/map.h"
#include "rig.h"

#define NODES  800u              /* for tests a table that fills soon: 200 tombstones are too many */
#define EXTENTS 20000u

static void begin(struct rig *r, uint64_t seed, uint32_t segment_bytes)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .segment_bytes = segment_bytes, .volume_blocks = (uint64_t)EXTENTS * EXTENT_BLOCKS});
    cr_assert_eq(rig_boot(r), 0);
}

static uint32_t tombstones(const struct rig *r) { return r->shard->xt.side[EXTENT_SIDE_TOMBSTONE].nr; }

/* Extents that are written and discarded, one after the other. */
static void churn(struct rig *r, uint64_t from, uint64_t nr)
{
    for (uint64_t no = from; no < from + nr; no++) {
        int err = rig_write(r, no * EXTENT_BLOCKS, 1, 3);

        cr_assert_eq(err, 0, "extent %lu: %d; %u nodes, %u tombstones", (unsigned long)no, err, r->shard->xt.nr_used, tombstones(r));
        cr_assert_eq(rig_zero(r, no * EXTENT_BLOCKS, EXTENT_BLOCKS), 0);
    }
}

/* What the table holds is too much from here on: it settles without anybody's help. */
static void shrink(struct rig *r)
{
    r->shard->xt.nr_max = NODES;
    shard_kick(r->shard);
    cr_assert_eq(sim_run_for(r->sim, 2 * NS_PER_S), 0);
    cr_assert_leq(tombstones(r), NODES / 4);
}

static void expect_after_restart(struct rig *r, uint64_t first, uint64_t nr)
{
    shard_verify(r->shard);
    rig_restart(r);
    rig_expect(r, 0, 1, 3);
    for (uint64_t no = first; no < first + nr; no++)
        rig_expect(r, no * EXTENT_BLOCKS, 1, 0);
}

Test(oldest, a_block_that_stays_dirty_does_not_fill_the_table, .timeout = 100)
{
    struct rig r;

    begin(&r, 31, 0);
    r.shard->xt.nr_max = NODES;
    cr_assert_eq(rig_write(&r, 0, 1, 3), 0);
    churn(&r, 1, 3 * NODES);
    cr_assert_leq(tombstones(&r), NODES * 5 / 8);
    expect_after_restart(&r, 3 * NODES - 50, 50);
    rig_fini(&r);
}

/* Only the stream of moves, which nothing else fills, holds it. */
Test(oldest, nor_does_one_that_was_moved, .timeout = 100)
{
    struct rig r;

    begin(&r, 32, 0);
    for (uint64_t i = 0; i < 50; i++) { /* something stays dirty in every segment: none is emptied at no cost */
        cr_assert_eq(rig_write(&r, i * 5, 1, 3), 0);
        churn(&r, 1 + i * 40, 40);
    }
    cr_assert_gt(shard_stats(r.shard)->reclaim_moved_blocks, 0);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_gt(tombstones(&r), 1000);
    shrink(&r);
    churn(&r, 2001, 3 * NODES);
    cr_assert_leq(tombstones(&r), NODES * 5 / 8);
    expect_after_restart(&r, 1950, 100);
    rig_fini(&r);
}

/* The log is nearly empty and nobody writes: all records lie in the segment that is being filled, the newest of them as well. */
Test(oldest, tombstones_of_the_open_segment_go_when_nobody_writes, .timeout = 100)
{
    struct rig r;

    begin(&r, 33, 4u << 20);
    cr_assert_eq(rig_write(&r, 0, 1, 3), 0);
    churn(&r, 1, 500);
    cr_assert_eq(sim_run_for(r.sim, NS_PER_S), 0);
    cr_assert_eq(shard_stats(r.shard)->reclaim_segments, 0);
    cr_assert_eq(tombstones(&r), 500);
    shrink(&r);
    churn(&r, 501, 100);
    expect_after_restart(&r, 1, 600);
    rig_fini(&r);
}

/* After a start they are in any order. */
Test(oldest, tombstones_go_after_a_restart, .timeout = 100)
{
    struct rig r;

    begin(&r, 34, 4u << 20);
    cr_assert_eq(rig_write(&r, 0, 1, 3), 0);
    for (uint64_t no = 600; no > 0; no--)
        churn(&r, no, 1);
    rig_restart(&r);
    cr_assert_gt(tombstones(&r), 500);
    shrink(&r);
    expect_after_restart(&r, 1, 600);
    rig_fini(&r);
}

/* Zeroed blocks and a whole extent's zero, with dirty neighbours: all that a segment can be needed for. */
Test(oldest, whatever_the_segment_is_needed_for_settles, .timeout = 100)
{
    struct rig r;

    begin(&r, 35, 4u << 20);
    cr_assert_eq(rig_write(&r, 0, 32, 3), 0);
    cr_assert_eq(rig_write(&r, 9000 * EXTENT_BLOCKS, 32, 3), 0);
    rig_drain(&r, true);
    shard_start(r.shard);
    cr_assert_eq(rig_zero(&r, 1, 8), 0);
    cr_assert_eq(rig_zero(&r, 9000 * EXTENT_BLOCKS, EXTENT_BLOCKS), 0);
    cr_assert_eq(rig_write(&r, 9000 * EXTENT_BLOCKS + 7, 1, 4), 0);
    churn(&r, 1, 500);
    shrink(&r);
    expect_after_restart(&r, 1, 500);
    rig_expect(&r, 1, 8, 0);
    rig_expect(&r, 9, 23, 3);
    rig_expect(&r, 9000 * EXTENT_BLOCKS, 7, 0);
    rig_expect(&r, 9000 * EXTENT_BLOCKS + 7, 1, 4);
    rig_expect(&r, 9000 * EXTENT_BLOCKS + 8, 24, 0);
    rig_fini(&r);
}

#define OTHER_SHARD 1u

static void take_devices(struct rig *r)
{
    for (uint16_t d = 0; d < r->shard->o.nr_capacity; d++)
        r->turns.dev[d].taken = true;
}

static void give_devices(struct rig *r)
{
    for (uint16_t d = 0; d < r->shard->o.nr_capacity; d++)
        turn_give(&r->turns.dev[d], OTHER_SHARD);
}

/* What was clean there becomes dirty when all of it has been looked at: it bridged a hole of a destage that was given up. */
Test(oldest, so_does_what_becomes_dirty_in_it_later, .timeout = 100)
{
    struct rig r;
    uint32_t id;

    begin(&r, 37, 4u << 20);
    cr_assert_eq(rig_write(&r, 0, 1, 3), 0);
    cr_assert_eq(rig_write(&r, 9000 * EXTENT_BLOCKS, 1, 3), 0);
    rig_drain(&r, true);
    shard_start(r.shard);
    cr_assert_eq(rig_write(&r, 1, 1, 4), 0);
    churn(&r, 1, 500);
    take_devices(&r);
    r.shard->xt.nr_max = NODES;
    shard_kick(r.shard);
    cr_assert_eq(sim_run_for(r.sim, NS_PER_S / 2), 0);
    id = index_find(&r.shard->ix, 1, 9000 * EXTENT_BLOCKS);
    cr_assert(id / r.shard->ix.slots_per_segment == r.shard->oldest.segment && r.shard->oldest.wanted);
    cr_assert(!(index_flags_of(&r.shard->ix, id) & INDEX_DIRTY));
    map_set_kept(r.shard, id);
    give_devices(&r);
    cr_assert_eq(sim_run_for(r.sim, 3 * NS_PER_S), 0);
    cr_assert_leq(tombstones(&r), NODES / 4, "%u; dirty %lu", tombstones(&r), (unsigned long)r.shard->ix.nr_dirty);
    expect_after_restart(&r, 2, 499);
    rig_expect(&r, 9000 * EXTENT_BLOCKS, 1, 3);
    rig_fini(&r);
}

/* Nobody waits for ever for a segment that cannot be emptied: there is an error, and an end to it. */
Test(oldest, new_extents_are_refused_while_the_devices_take_nothing, .timeout = 100)
{
    struct rig r;
    int err = 0;

    begin(&r, 36, 0);
    cr_assert_eq(rig_write(&r, 0, 1, 3), 0);
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_faults(r.hdd[d])->eio_write = 1000000;
    r.shard->xt.nr_max = NODES;
    for (uint64_t no = 1; no < 2 * NODES && err == 0; no++) {
        err = rig_write(&r, no * EXTENT_BLOCKS, 1, 3);
        if (err == 0)
            cr_assert_eq(rig_zero(&r, no * EXTENT_BLOCKS, EXTENT_BLOCKS), 0);
    }
    cr_assert_eq(err, -FIRN_E_NO_SPACE);
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_faults(r.hdd[d])->eio_write = 0;
    cr_assert_eq(sim_run_for(r.sim, 10 * NS_PER_S), 0);
    churn(&r, 3 * NODES, 2 * NODES);
    expect_after_restart(&r, 1, 100);
    rig_fini(&r);
}

/* ---- a write under way ----------------------------------------------------------------------------------------------------- */

struct under_way { struct blk_io io; struct iovec iov; bool done; };

static void under_way_done(struct blk_io *io) { ((struct under_way *)io->ctx)->done = true; }

/* The witness is a zero: over an extent to which a write is on its way it would take that write with it at the next start. */
static void write_beside_a_witness(uint64_t seed)
{
    static _Alignas(4096) char data[BLOCK_BYTES];
    uint64_t lba = 5 * EXTENT_BLOCKS + 1;
    struct under_way w = {.iov = {data, sizeof(data)}};
    struct rig r;

    begin(&r, seed, 4u << 20);
    churn(&r, 5, 1);
    cr_assert_eq(sim_run_for(r.sim, NS_PER_S), 0);
    cr_assert_eq(tombstones(&r), 1);
    r.shard->t.tombstones_max = 1;
    rig_fill(&r, data, lba, 1, 9);
    w.io = (struct blk_io){.op = BLK_WRITE, .lba = lba, .nlb = 1, .iov = &w.iov, .iovcnt = 1, .cb = under_way_done, .ctx = &w};
    shard_kick(r.shard);
    cr_assert_eq(sim_run_for(r.sim, 1), 0);
    blk_submit(&r.vol.blk, &w.io);
    for (int i = 0; i < 1000 && !w.done; i++)
        cr_assert_eq(sim_run_for(r.sim, 10 * NS_PER_US), 0);
    cr_assert(w.done && w.io.err == 0);
    rig_expect(&r, lba, 1, 9);
    rig_restart(&r);
    rig_expect(&r, lba, 1, 9);
    rig_fini(&r);
}

Test(oldest, a_write_under_way_outlives_the_witness, .timeout = 200)
{
    for (uint64_t seed = 1; seed <= 10; seed++)
        write_beside_a_witness(seed);
}
