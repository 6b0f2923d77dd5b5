/* SPDX-License-Identifier: Apache-2.0 */
/* How streams that go past the log share the device: what goes out together, and what they wait for. */
#include "past.h"

#include "tier/bypass.h"

TestSuite(bypass_run, .timeout = 120);

#define PIECE 8u  /* blocks of a write */
#define MANY  64u /* of them at once */

struct many { struct rig *r; char *buf; uint32_t answered; struct blk_io io[MANY]; struct iovec iov[MANY]; };

static void boot(struct rig *r, uint64_t seed)
{
    past_boot(r, (struct rig_opts){.seed = seed, .hdd_extents = 64, .volume_blocks = 8192}, 1);
}

static void on_answer(struct blk_io *io)
{
    cr_assert_eq(io->err, 0);
    ((struct many *)io->ctx)->answered++;
}

static bool all_answered(void *ctx) { return ((struct many *)ctx)->answered == MANY; }

/* All at once: piece i at first + i * step. */
static void submit(struct rig *r, struct many *m, uint32_t first, uint32_t step, uint32_t nblocks, uint64_t stamp)
{
    *m = (struct many){.r = r, .buf = aligned_alloc(BLOCK_BYTES, (size_t)MANY * nblocks * BLOCK_BYTES)};
    for (uint32_t i = 0; i < MANY; i++) {
        char *at = m->buf + (size_t)i * nblocks * BLOCK_BYTES;

        rig_fill(r, at, first + i * step, nblocks, stamp);
        m->iov[i] = (struct iovec){at, (size_t)nblocks * BLOCK_BYTES};
        m->io[i] = (struct blk_io){.op = BLK_WRITE, .lba = first + i * step, .nlb = nblocks, .iov = &m->iov[i], .iovcnt = 1,
                                   .cb = on_answer, .ctx = m};
        blk_submit(&r->vol.blk, &m->io[i]);
    }
}

static void finish(struct many *m)
{
    cr_assert_eq(sim_run_until(m->r->sim, all_answered, m, 100 * NS_PER_S), 0);
    free(m->buf);
    shard_verify(m->r->shard);
}

static uint64_t hdd_ops(const struct rig *r, enum dev_op op) { return r->hdd_dev[0]->stats.ops[op] + r->hdd_dev[1]->stats.ops[op]; }

Test(bypass_run, what_comes_together_and_lies_in_one_stroke_is_one_command_and_one_flush)
{
    struct many m;
    struct rig r;

    boot(&r, 1);
    submit(&r, &m, 0, PIECE, PIECE, 1);
    finish(&m);
    cr_assert_eq(past_blocks(&r), MANY * PIECE);
    cr_assert_leq(hdd_ops(&r, DEV_WRITE), 2, "%llu for 2 extents", (unsigned long long)hdd_ops(&r, DEV_WRITE));
    cr_assert_leq(hdd_ops(&r, DEV_FLUSH), 2);
    rig_expect(&r, 0, 64, 1);
    rig_expect(&r, 448, 64, 1);
    rig_fini(&r);
}

Test(bypass_run, holes_do_not_cut_a_train)
{
    struct many m;
    struct rig r;
    uint64_t writes, flushes;

    boot(&r, 2);
    cr_assert_eq(rig_write(&r, 0, 32, 1), 0);
    writes = hdd_ops(&r, DEV_WRITE);
    flushes = hdd_ops(&r, DEV_FLUSH);
    bit_set(past_twin(&r, 0)->used, 100); /* as if they had been written there: never twice */
    bit_set(past_twin(&r, 0)->used, 204);
    submit(&r, &m, 32, PIECE, PIECE, 2);
    finish(&m);
    cr_assert_eq(past_blocks(&r), 32 + (MANY - 2) * PIECE);
    cr_assert_geq(hdd_ops(&r, DEV_WRITE) - writes, 3);
    cr_assert_leq(hdd_ops(&r, DEV_FLUSH) - flushes, 3, "one for each extent, if they lie apart");
    rig_expect(&r, 0, 32, 1);
    for (uint32_t b = 32; b < 32 + MANY * PIECE; b += 32)
        rig_expect(&r, b, 32, 2);
    rig_restart(&r);
    rig_expect(&r, 0, 32, 1);
    for (uint32_t b = 32; b < 32 + MANY * PIECE; b += 32)
        rig_expect(&r, b, 32, 2);
    rig_fini(&r);
}

/* More than there are entries for: they wait, and their order is that in which they came. */
Test(bypass_run, a_stream_waits_for_its_entries_and_has_no_holes_and_others_pass_it)
{
    struct many m;
    struct rig r;
    uint64_t waits;

    rig_init(&r, &(struct rig_opts){.seed = 3, .segments = 40, .hdd_extents = 64, .volume_blocks = 8192, .hdd_ns = 50 * NS_PER_MS});
    r.opts.write_bypass = 1;
    r.opts.ios_per_shard = 16;
    cr_assert_eq(rig_boot(&r), 0);
    submit(&r, &m, 0, PIECE, PIECE, 1);
    waits = r.shard->stats.write_waits;
    cr_assert_geq(waits, MANY - 16);
    cr_assert_eq(rig_write(&r, 5000, 1, 7), 0);
    cr_assert_eq(m.answered, 0, "a write for the log waits for no disk");
    finish(&m);
    cr_assert_eq(past_blocks(&r), MANY * PIECE);
    rig_fini(&r);
}

Test(bypass_run, a_train_waits_for_its_turn)
{
    struct many m;
    struct rig r;

    boot(&r, 4);
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        cr_assert(turn_try(&r.turns.dev[d]));
    submit(&r, &m, 0, PIECE, PIECE, 1);
    sim_run_for(r.sim, 10 * NS_PER_S);
    cr_assert(m.answered == 0 && hdd_ops(&r, DEV_WRITE) == 0);
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        turn_give(&r.turns.dev[d], 5);
    finish(&m);
    cr_assert_eq(past_blocks(&r), MANY * PIECE);
    sim_run_for(r.sim, NS_PER_S);
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        cr_assert_not(turn_taken(&r.turns.dev[d]), "and gives it back");
    rig_fini(&r);
}

Test(bypass_run, what_the_budget_has_no_room_for_the_log_takes)
{
    struct many m;
    struct rig r;

    boot(&r, 5);
    r.shard->t.mover_bandwidth = MIB;
    for (uint32_t i = 0; i < 5; i++) {
        submit(&r, &m, i * MANY * PIECE, PIECE, PIECE, 1);
        finish(&m);
    }
    cr_assert(past_blocks(&r) > 0 && past_blocks(&r) < 5 * MANY * PIECE / 2, "%llu", (unsigned long long)past_blocks(&r));
    for (uint16_t d = 0; d < RIG_HDDS; d++) {
        uint64_t bytes = r.hdd_dev[d]->stats.bytes[DEV_WRITE], ns = sim_now_ns(r.sim);

        cr_assert_leq((double)bytes, (double)MIB * ((double)ns / (double)NS_PER_S + 3), "%llu bytes in %llu ns",
                      (unsigned long long)bytes, (unsigned long long)ns);
    }
    rig_fini(&r);
}

Test(bypass_run, a_twin_lies_on_the_device_of_its_extent)
{
    struct many m;
    struct rig r;
    uint32_t twins = 0;

    boot(&r, 6);
    for (uint32_t i = 0; i < 2; i++) {
        submit(&r, &m, 0, 128, 3, 1 + i); /* no stream: the log has them */
        finish(&m);
        rig_drain(&r, true);
        shard_start(r.shard);
    }
    for (uint32_t x = 0; x < 30; x++) {
        cr_assert_eq(rig_write(&r, x * 256 + 7, 16, 5), 0);
        cr_assert_eq(rig_write(&r, x * 256 + 23, 16, 5), 0);
        if (past_twin(&r, x * 256) != NULL) {
            const struct extent *e = extent_at(&r.shard->xt, extent_find(&r.shard->xt, 1, x));

            twins++;
            cr_assert_eq(past_twin(&r, x * 256)->place.dev, e->place.dev);
        }
    }
    cr_assert_gt(twins, 0);
    rig_fini(&r);
}

Test(bypass_run, who_writes_little_at_a_time_waits_for_no_disk)
{
    struct rig r;

    boot(&r, 7);
    for (uint32_t b = 0; b < 1024; b += 2)
        cr_assert_eq(rig_write(&r, b, 2, 1), 0);
    cr_assert_eq(past_blocks(&r), 0);
    rig_expect(&r, 0, 64, 1);
    rig_fini(&r);
}

/* A write of a part of a block holds its blocks against the next one until it is answered. */
Test(bypass_run, writes_that_end_within_blocks_are_the_logs)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 8, .lba_bytes = 512, .segments = 40, .hdd_extents = 64, .volume_blocks = 8192});
    r.opts.write_bypass = 1;
    cr_assert_eq(rig_boot(&r), 0);
    for (uint32_t lba = 3; lba < 4096; lba += 128)
        cr_assert_eq(rig_write(&r, lba, 128, 1), 0);
    cr_assert_eq(past_blocks(&r), 0);
    for (uint32_t lba = 8192; lba < 12288; lba += 128)
        cr_assert_eq(rig_write(&r, lba, 128, 1), 0);
    cr_assert_eq(past_blocks(&r), 512);
    rig_expect(&r, 3, 128, 1);
    rig_expect(&r, 8192, 128, 1);
    rig_fini(&r);
}

/* The log is beyond its limit, and the lane sweeps the device without a pause: streams, for which hosts wait, have turns in between. */
Test(bypass_run, a_train_goes_out_between_two_of_the_lane)
{
    uint64_t dice = 5, began;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 31, .segments = 40, .hdd_extents = 64, .volume_blocks = 8192, .hdd_ns = 20 * NS_PER_MS});
    r.opts.dirty_start_pct = 90;
    r.opts.dirty_max_pct = 95;
    cr_assert_eq(rig_boot(&r), 0);
    for (uint32_t i = 0; i < 1200; i++) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        cr_assert_eq(rig_write(&r, (dice >> 33) % 4096, 1, i + 1), 0);
    }
    shard_start(r.shard);
    r.shard->t.dirty_start_pct = 1;
    r.shard->t.dirty_max_pct = 94;
    r.shard->t.write_bypass = 1;
    for (uint32_t x = 1; x <= r.shard->xt.touched; x++)
        if (extent_at(&r.shard->xt, x)->nr_dirty > 0) {
            extent_at(&r.shard->xt, x)->flags |= EXTENT_URGENT;
            extent_relist(&r.shard->xt, x);
        }
    cr_assert_eq(sim_run_for(r.sim, 100 * NS_PER_MS), 0);
    began = sim_now_ns(r.sim);
    cr_assert_eq(rig_write(&r, 6000, 32, 7), 0);
    cr_assert_eq(past_blocks(&r), 32);
    cr_assert_gt(r.shard->ix.nr_dirty, 600, "it still sweeps");
    cr_assert_lt(sim_now_ns(r.sim) - began, 200 * NS_PER_MS, "%lu ms", (unsigned long)((sim_now_ns(r.sim) - began) / NS_PER_MS));
    rig_drain(&r, true);
    rig_fini(&r);
}
