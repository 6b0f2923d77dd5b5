/* SPDX-License-Identifier: Apache-2.0 */
/* zeroes_test.c: zeroed ranges that a start finds in the log: what they cost, and that leaving out those without effect has none. */
#include "rig.h"
#include "tier/recover.h"

TestSuite(zeroes, .timeout = 120);

#define EXTENTS 300u
#define ZEROES  1000u

/* A block in every other extent, so that the order of extents has holes; the segment of the log that has the last of them. */
static uint32_t scatter(struct rig *r)
{
    for (uint64_t i = 0; i < EXTENTS; i += 2)
        cr_assert_eq(rig_write(r, i * EXTENT_BLOCKS + 7, 1, 3), 0);
    return r->shard->seq_high_segment;
}

static struct zero_rec zero(const struct rig *r, uint32_t segment, uint64_t n, uint64_t block, uint64_t nblocks)
{
    return (struct zero_rec){.seq = r->shard->seq_high + 1 + n, .block = block, .nblocks = nblocks, .segment = segment,
                             .layer = layer_find(r->shard, RIG_LAYER), .epoch = r->shard->seg[segment].epoch};
}

static void boot(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .segments = 24, .hdd_extents = EXTENTS, .volume_blocks = EXTENTS * EXTENT_BLOCKS});
    r->opts.dirty_start_pct = 79;
    cr_assert_eq(rig_boot(r), 0);
}

Test(zeroes, of_many_over_everything_the_newest_alone_costs_something)
{
    static struct zero_rec z[ZEROES];
    uint64_t visits = 0;
    uint32_t segment;
    struct rig r;

    boot(&r, 5);
    segment = scatter(&r);
    for (uint64_t i = 0; i < ZEROES; i++)
        z[i] = zero(&r, segment, i, 0, EXTENTS * EXTENT_BLOCKS);
    cr_assert_eq(zeroes_apply(r.shard, z, ZEROES, &visits), 0);
    cr_assert_eq(visits, EXTENTS / 2, "%lu", (unsigned long)visits);
    for (uint64_t i = 0; i < EXTENTS; i++)
        rig_expect(&r, i * EXTENT_BLOCKS + 7, 1, 0);
    rig_fini(&r);
}

/* No range lies within another one: each begins and ends a few blocks behind its elder. */
Test(zeroes, ranges_that_creep_forward_cost_their_ends)
{
    static struct zero_rec z[ZEROES];
    uint64_t visits = 0;
    uint32_t segment;
    struct rig r;

    boot(&r, 6);
    segment = scatter(&r);
    for (uint64_t i = 0; i < ZEROES; i++)
        z[i] = zero(&r, segment, i, 3 * i, EXTENTS / 2 * EXTENT_BLOCKS);
    cr_assert_eq(zeroes_apply(r.shard, z, ZEROES, &visits), 0);
    cr_assert_leq(visits, EXTENTS / 2 + 2 * ZEROES, "%lu", (unsigned long)visits);
    for (uint64_t i = 0; i < EXTENTS; i += 2) {
        uint64_t block = i * EXTENT_BLOCKS + 7;

        rig_expect(&r, block, 1, block < 3 * (ZEROES - 1) + EXTENTS / 2 * EXTENT_BLOCKS ? 0 : 3);
    }
    rig_fini(&r);
}

/* ---- against an array ---- */

#define MODEL_EXTENTS 12u
#define MODEL_BLOCKS  (MODEL_EXTENTS * EXTENT_BLOCKS)

static uint64_t model[MODEL_BLOCKS];

static void change(struct rig *r, uint64_t stamp)
{
    uint64_t first = sim_below(r->sim, MODEL_BLOCKS), n = 1 + sim_below(r->sim, 4 * EXTENT_BLOCKS);
    bool write = sim_below(r->sim, 2) == 0;

    if (write)
        n = 1 + sim_below(r->sim, 16);
    else if (sim_below(r->sim, 2) == 0) { /* whole extents */
        first -= first % EXTENT_BLOCKS;
        n = ROUND_UP(n, (uint64_t)EXTENT_BLOCKS);
    }
    n = MIN(n, MODEL_BLOCKS - first);
    cr_assert_eq(write ? rig_write(r, first, (uint32_t)n, stamp) : rig_zero(r, first, (uint32_t)n), 0);
    for (uint64_t i = first; i < first + n; i++)
        model[i] = write ? stamp : 0;
}

static void expect_all(struct rig *r, uint64_t seed)
{
    for (uint32_t i = 0; i < MODEL_BLOCKS; i++) {
        static _Alignas(4096) char got[BLOCK_BYTES], want[BLOCK_BYTES];

        cr_assert_eq(rig_read(r, i, 1, got), 0);
        memset(want, 0, sizeof(want));
        if (model[i] != 0)
            rig_fill(r, want, i, 1, model[i]);
        cr_assert_eq(memcmp(got, want, sizeof(got)), 0, "seed %lu block %u", (unsigned long)seed, i);
    }
}

static void crash_among_zeroes(uint64_t seed)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = seed, .segments = 24, .hdd_extents = 32, .volume_blocks = MODEL_BLOCKS});
    r.opts.dirty_start_pct = 79;
    cr_assert_eq(rig_boot(&r), 0);
    memset(model, 0, sizeof(model));
    for (uint64_t round = 0; round < 4; round++) {
        for (uint64_t i = 0; i < 40; i++)
            change(&r, 1 + round * 100 + i);
        if (sim_below(r.sim, 2) == 0) {
            rig_drain(&r, true); /* zeroes of the next round meet what the map holds */
            shard_start(r.shard);
        }
        for (uint64_t i = sim_below(r.sim, 40); i > 0; i--)
            change(&r, 50 + round * 100 + i);
        rig_restart(&r);
        shard_verify(r.shard);
        expect_all(&r, seed);
    }
    rig_fini(&r);
}

Test(zeroes, a_crash_among_overlapping_ones_changes_nothing)
{
    for (uint64_t seed = 1; seed <= 30; seed++)
        crash_among_zeroes(seed);
}

/* ---- a disk that hangs ---- */

#define CUT   60u                /* extents, each zeroed but for a block at both ends */
#define WAITS 64u

static uint32_t nr_answered;

static void io_answered(struct blk_io *io)
{
    (void)io;
    nr_answered++;
}

static bool all_answered(void *ctx) { return nr_answered == *(uint32_t *)ctx; }

/* Nothing settles: what was zeroed keeps its slots, and the records of the log their segments. */
Test(zeroes, while_no_disk_answers_take_no_more_than_there_is_and_all_goes_on_when_one_does)
{
    static struct blk_io zero_io[CUT], write_io[WAITS];
    static char data[BLOCK_BYTES] __attribute__((aligned(4096)));
    struct iovec iov = {data, sizeof(data)};
    uint32_t nr = 0, first;
    struct rig r;

    boot(&r, 9);
    for (uint64_t i = 0; i < CUT; i++)
        for (uint64_t b = 0; b < EXTENT_BLOCKS; b += 32)
            cr_assert_eq(rig_write(&r, i * EXTENT_BLOCKS + b, 32, 1), 0);
    rig_drain(&r, true);
    shard_start(r.shard);
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_faults(r.hdd[d])->hung = 1000000;
    nr_answered = 0;
    for (uint64_t i = 0; i < CUT; i++) /* else what is zeroed needs the metadata alone, and no disk */
        cr_assert_eq(rig_write(&r, i * EXTENT_BLOCKS, 1, 2), 0);
    for (uint64_t i = 0; i < CUT; i++) {
        zero_io[nr] = (struct blk_io){.op = BLK_WRITE_ZEROES, .lba = i * EXTENT_BLOCKS + 1, .nlb = EXTENT_BLOCKS - 2, .cb = io_answered};
        blk_submit(&r.vol.blk, &zero_io[nr++]);
        cr_assert_eq(sim_run_for(r.sim, NS_PER_MS), 0);
    }
    cr_assert_eq(sim_run_for(r.sim, 5 * NS_PER_S), 0);
    first = nr_answered;
    cr_assert_lt(first, CUT, "not all fit");
    cr_assert_gt(first, 4);
    cr_assert_gt(r.shard->ix.virtual_used, r.shard->ix.nr_virtual / 2);
    cr_assert_leq(r.shard->ix.virtual_used, r.shard->ix.nr_virtual);
    for (uint32_t i = 0; i < WAITS; i++, nr++) {
        write_io[i] = (struct blk_io){.op = BLK_WRITE, .lba = i * 16, .nlb = 1, .iov = &iov, .iovcnt = 1, .cb = io_answered};
        blk_submit(&r.vol.blk, &write_io[i]);
    }
    cr_assert_eq(sim_run_for(r.sim, 100 * NS_PER_S), 0);
    shard_verify(r.shard);
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_heal(r.hdd[d]);
    cr_assert_eq(sim_run_until(r.sim, all_answered, &nr, 100 * NS_PER_S), 0);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.virtual_used, 0);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    for (uint64_t i = 0; i < CUT; i++)
        if (zero_io[i].err == 0)
            rig_expect(&r, i * EXTENT_BLOCKS + EXTENT_BLOCKS - 32, 31, 0);
    rig_fini(&r);
}
