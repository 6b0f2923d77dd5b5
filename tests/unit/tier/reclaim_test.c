/* SPDX-License-Identifier: Apache-2.0 */
/* Reclaim empties segments of the log for writes that go on: how much at a time, and with how little room. */
#include <stdlib.h>

#include "rig.h"

static _Alignas(4096) char buf[32 * BLOCK_BYTES];

Test(reclaim, reclaim_keeps_writes_going_for_many_times_the_size_of_the_log)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 10, .segments = 12});
    cr_assert_eq(rig_boot(&r), 0);
    srand(10);
    for (uint64_t i = 1; i <= 3000; i++)
        cr_assert_eq(rig_write(&r, (uint64_t)rand() % 2040, 1 + (uint32_t)rand() % 8, i), 0);
    cr_assert_gt(shard_stats(r.shard)->reclaim_segments, 20);
    rig_drain(&r, true);
    rig_stop(&r);
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    rig_fini(&r);
}

struct watched { struct rig *r; uint64_t entries, most; bool done; };

/* Asked after every event, and so after every pass. */
static bool watched_done(void *ctx)
{
    struct watched *w = ctx;
    uint64_t now = w->r->shard->ix.nr_entries;

    if (w->entries > now)
        w->most = MAX(w->most, w->entries - now);
    w->entries = now;
    return w->done;
}

static void watched_end(struct blk_io *io) { ((struct watched *)io->ctx)->done = true; }

static void write_watched(struct watched *w, uint64_t lba)
{
    struct iovec iov = {buf, 32 * BLOCK_BYTES};
    struct blk_io io = {.op = BLK_WRITE, .lba = lba, .nlb = 32, .iov = &iov, .iovcnt = 1, .cb = watched_end, .ctx = w};

    w->done = false;
    rig_fill(w->r, buf, lba, 32, 1);
    blk_submit(&w->r->vol.blk, &io);
    cr_assert_eq(sim_run_until(w->r->sim, watched_done, w, NS_PER_S), 0);
    cr_assert_eq(io.err, 0);
}

/* Hosts' requests wait for the end of a pass. A segment of 8128 clean blocks is dropped in several. */
Test(reclaim, reclaim_takes_a_bounded_part_of_a_pass)
{
    struct watched w = {0};
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 33, .segments = 6, .segment_bytes = 32 * MIB, .hdd_extents = 64, .volume_blocks = 32768});
    cr_assert_eq(rig_boot(&r), 0);
    w.r = &r;
    for (uint64_t b = 0; b < 32768; b += 32)
        write_watched(&w, b);
    cr_assert_gt(r.shard->stats.reclaim_dropped_blocks, 4096 + 2048);
    cr_assert_gt(w.most, 0);
    cr_assert_leq(w.most, 4096, "%llu", (unsigned long long)w.most);
    for (uint64_t b = 0; b < 32768; b += 1024)
        rig_expect(&r, b, 32, 1);
    rig_fini(&r);
}

/* No capacity device takes a write, so only moves make room; most of the log is dirty, in pieces, and each write is a group of
 * its own with a header as large as its block. */
Test(reclaim, reclaim_alone_keeps_a_nearly_full_log_of_single_blocks_going)
{
    enum { DIRTY = 784, AN_EXTENT = 98 };
    static uint64_t stamp[DIRTY];
    struct journal_stats js = {0};
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 27, .volume_blocks = 16 * 256});
    r.geo.align_bytes = 4096;
    r.opts.dirty_max_pct = 100;
    r.opts.groups_in_flight = 16; /* nothing makes moves wait for each other */
    srand(27);
    cr_assert_eq(rig_boot(&r), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_fail_nth(r.hdd[i], DEV_WRITE, 1, UINT32_MAX);
    for (uint64_t i = 0; i < 6000; i++) {
        uint64_t b = i < DIRTY ? i : (uint64_t)rand() % DIRTY;

        cr_assert_eq(rig_write(&r, b / AN_EXTENT * 512 + b % AN_EXTENT, 1, i + 1), 0);
        stamp[b] = i + 1;
        if (i % 1500 == 700) /* seals what is partly filled */
            rig_restart(&r);
    }
    shard_journal_stats(r.shard, &js);
    cr_assert_gt(js.groups_moves, 10);
    cr_assert_geq(js.moved_bytes / BLOCK_BYTES, 6 * js.groups_moves, "moves share headers: %lu blocks in %lu groups",
                  (unsigned long)(js.moved_bytes / BLOCK_BYTES), (unsigned long)js.groups_moves);
    for (uint64_t b = 0; b < DIRTY; b++)
        rig_expect(&r, b / AN_EXTENT * 512 + b % AN_EXTENT, 1, stamp[b]);
    shard_verify(r.shard);
    rig_fini(&r);
}

static unsigned answered, answered_well;

static void count_answer(struct blk_io *io)
{
    answered++;
    answered_well += io->err == 0;
}

/* Appends that wait for a segment wait for a batch that frees one. When no batch will commit any more, they are told. */
Test(reclaim, writes_that_wait_for_a_segment_are_answered_when_the_metadata_fails)
{
    static struct blk_io io[200];
    struct iovec iov = {buf, 16 * BLOCK_BYTES};
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 25, .segments = 12});
    cr_assert_eq(rig_boot(&r), 0);
    sim_meta_faults(r.store)->fail_nth = 1;
    answered = answered_well = 0;
    for (unsigned i = 0; i < ARRAY_LEN(io); i++) {
        io[i] = (struct blk_io){.op = BLK_WRITE, .lba = 16, .nlb = 16, .iov = &iov, .iovcnt = 1, .cb = count_answer};
        blk_submit(&r.vol.blk, &io[i]);
    }
    sim_run_for(r.sim, 100 * NS_PER_S);
    cr_assert_neq(r.shard->failed, 0);
    cr_assert_gt(answered_well, 10);
    cr_assert_eq(answered, ARRAY_LEN(io), "%u of %zu", answered, ARRAY_LEN(io));
    rig_drain(&r, true);
    (void)shard_stop(r.shard, 1);
    rig_restart(&r);
    rig_fini(&r);
}
