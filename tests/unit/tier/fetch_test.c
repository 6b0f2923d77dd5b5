/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of a device that seeks, through RAM: what they share, what they never show, what they leave alone. */
#include <stdlib.h>

#include "tier/fetch.h"
#include "tier/map.h"
#include "tier/sums.h"
#include "rig.h"

#define REQS   64u
#define VOLUME 6144u             /* blocks */
#define FAR    4096u             /* from here on every other extent has 32 blocks, on both devices by turns */

static char buf[256 * BLOCK_BYTES] __attribute__((aligned(4096)));

static struct req {
    struct blk_io io;
    struct iovec  iov;
    char         *buf;
    bool          done;
} reqs[REQS];
static unsigned nr_reqs;

static void ended(struct blk_io *io)
{
    struct req *q = container_of(io, struct req, io);

    cr_assert_not(q->done);
    q->done = true;
}

static struct req *start(struct rig *r, enum blk_op op, uint64_t block, uint32_t n, uint64_t stamp)
{
    struct req *q = &reqs[nr_reqs++];

    cr_assert_leq(nr_reqs, REQS);
    *q = (struct req){.io = {.op = op, .lba = block, .nlb = n, .cb = ended}, .buf = aligned_alloc(BLOCK_BYTES, n * (size_t)BLOCK_BYTES)};
    q->iov = (struct iovec){q->buf, n * (size_t)BLOCK_BYTES};
    if (op == BLK_WRITE)
        rig_fill(r, q->buf, block, n, stamp);
    if (op == BLK_READ || op == BLK_WRITE) {
        q->io.iov = &q->iov;
        q->io.iovcnt = 1;
    }
    blk_submit(&r->vol.blk, &q->io);
    return q;
}

static bool is_done(void *ctx) { return ((struct req *)ctx)->done; }

static void expect_end(struct rig *r, struct req *q, uint64_t stamp)
{
    cr_assert_eq(sim_run_until(r->sim, is_done, q, 100 * NS_PER_S), 0);
    cr_assert_eq(q->io.err, 0);
    rig_fill(r, buf, q->io.lba, q->io.nlb, stamp);
    cr_assert_eq(memcmp(buf, q->buf, q->io.nlb * (size_t)BLOCK_BYTES), 0, "block %lu+%u is not of stamp %lu", (unsigned long)q->io.lba,
                 q->io.nlb, (unsigned long)stamp);
}

/* Longer than a request may be. */
static void expect_all(struct rig *r, uint64_t block, uint64_t n, uint64_t stamp)
{
    for (uint64_t b = block; b < block + n; b += 64)
        rig_expect(r, b, (uint32_t)MIN(block + n - b, 64u), stamp);
}

static void forget_reqs(void)
{
    for (unsigned i = 0; i < nr_reqs; i++)
        free(reqs[i].buf);
    nr_reqs = 0;
}

/* What only the device has from now on. */
static void drop_log_copies(struct rig *r, uint64_t block, uint32_t n)
{
    for (uint64_t b = block; b < block + n; b++) {
        uint32_t id = index_find(&r->shard->ix, 1, b);

        if (id != INDEX_NONE && !(index_flags_of(&r->shard->ix, id) & INDEX_DIRTY))
            map_remove(r->shard, id);
    }
}

/* Extents 0..extents - 1 hold stamp 1, cold; neighbours lie on the same device. */
static void begin_sized(struct rig *r, uint32_t lba_bytes, uint32_t extents, uint64_t stage_bytes)
{
    uint32_t per = BLOCK_BYTES / lba_bytes;

    nr_reqs = 0;
    rig_init(r, &(struct rig_opts){.seed = 71, .hdd_extents = 64, .volume_blocks = VOLUME, .segments = 64, .lba_bytes = lba_bytes});
    r->opts.stage_bytes = stage_bytes;
    cr_assert_eq(rig_boot(r), 0);
    for (uint64_t b = 0; b < extents * EXTENT_BLOCKS; b += 32)
        cr_assert_eq(rig_write(r, b * per, 32 * per, 1), 0);
    for (uint64_t b = FAR; b < VOLUME; b += 2 * EXTENT_BLOCKS)
        cr_assert_eq(rig_write(r, b * per, 32 * per, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    drop_log_copies(r, 0, VOLUME);
}

static void begin(struct rig *r) { begin_sized(r, BLOCK_BYTES, 2, 0); }

static void finish(struct rig *r)
{
    rig_drain(r, true);
    cr_assert_not(fetch_busy(r->shard));
    cr_assert(r->shard->runs.nr_free == r->shard->runs.nr && r->shard->rios.nr_free == r->shard->rios.nr);
    for (unsigned d = 0; d < RIG_HDDS; d++)
        cr_assert(r->shard->fetching[d] == 0 && r->shard->fetch_frames[d] == 0 && r->shard->fg_in_flight[d] == 0);
    cr_assert_eq(r->shard->stage.nr_out, 0);
    rig_fini(r);
    forget_reqs();
}

static uint64_t device_reads(const struct rig *r)
{
    return r->hdd_dev[0]->stats.ops[DEV_READ] + r->hdd_dev[1]->stats.ops[DEV_READ];
}

static uint64_t media_offset(const struct rig *r, uint64_t block)
{
    return cold_offset(r->cold, rig_extent(r, extent_no(block))->place) + block % EXTENT_BLOCKS * BLOCK_BYTES;
}

static struct sim_disk *disk_of(const struct rig *r, uint64_t block) { return r->hdd[rig_extent(r, extent_no(block))->place.dev]; }

Test(fetch, a_miss_brings_its_neighbours_and_they_are_read_from_ram)
{
    struct rig r;
    uint64_t before;

    begin(&r);
    before = device_reads(&r);
    rig_expect(&r, 40, 1, 1);
    cr_assert_eq(device_reads(&r) - before, 1);
    rig_expect(&r, 32, 32, 1); /* 128 KiB, aligned */
    cr_assert_eq(device_reads(&r) - before, 1);
    cr_assert_eq(shard_stats(r.shard)->stage_hit_blocks, 32);
    rig_expect(&r, 64, 1, 1);
    cr_assert_eq(device_reads(&r) - before, 2);
    shard_verify(r.shard);
    finish(&r);
}

Test(fetch, readers_of_the_same_chunk_share_one_read_of_the_device)
{
    struct rig r;
    uint64_t before;

    begin(&r);
    before = device_reads(&r);
    start(&r, BLK_READ, 70, 2, 0);
    start(&r, BLK_READ, 71, 3, 0);
    start(&r, BLK_READ, 95, 1, 0);
    start(&r, BLK_READ, 90, 10, 0); /* and on into the next chunk */
    for (unsigned i = 0; i < nr_reqs; i++)
        expect_end(&r, &reqs[i], 1);
    cr_assert_eq(device_reads(&r) - before, 2);
    cr_assert_eq(shard_stats(r.shard)->fetch_shared, 3);
    finish(&r);
}

Test(fetch, what_is_written_during_a_fetch_is_read_new_afterwards)
{
    struct rig r;
    struct req *old, *w;
    uint64_t before;

    begin(&r);
    sim_disk_faults(disk_of(&r, 0))->hung = 1000000; /* it takes its time */
    old = start(&r, BLK_READ, 8, 1, 0);
    sim_run_for(r.sim, NS_PER_MS);
    w = start(&r, BLK_WRITE, 10, 2, 2);
    cr_assert_eq(sim_run_until(r.sim, is_done, w, NS_PER_S), 0);
    rig_expect(&r, 10, 2, 2);
    cr_assert_not(old->done);
    shard_verify(r.shard);
    sim_disk_heal(disk_of(&r, 0));
    expect_end(&r, old, 1);
    before = device_reads(&r);
    rig_expect(&r, 10, 2, 2);
    rig_expect(&r, 9, 1, 1);
    cr_assert_eq(device_reads(&r), before, "the others came with the fetch");
    rig_drain(&r, true);
    drop_log_copies(&r, 0, 32);
    rig_expect(&r, 10, 2, 2);
    shard_verify(r.shard);
    finish(&r);
}

/* The request itself waits for a block that is written meanwhile: either version is right, whole; later ones must be new. */
Test(fetch, a_block_that_is_written_while_it_is_waited_for_is_looked_up_again)
{
    struct rig r;
    struct req *old, *w;

    begin(&r);
    sim_disk_faults(disk_of(&r, 0))->hung = 1000000;
    old = start(&r, BLK_READ, 8, 4, 0);
    sim_run_for(r.sim, NS_PER_MS);
    w = start(&r, BLK_WRITE, 8, 4, 2);
    cr_assert_eq(sim_run_until(r.sim, is_done, w, NS_PER_S), 0);
    sim_disk_heal(disk_of(&r, 0));
    expect_end(&r, old, 2);
    finish(&r);
}

Test(fetch, what_is_zeroed_during_a_fetch_stays_zero)
{
    struct rig r;
    struct req *old, *z;
    struct sim_disk *disk;

    begin(&r);
    disk = disk_of(&r, 0);
    sim_disk_faults(disk)->hung = 1000000;
    old = start(&r, BLK_READ, 8, 1, 0);
    sim_run_for(r.sim, NS_PER_MS);
    z = start(&r, BLK_DISCARD, 0, 256, 0);
    cr_assert_eq(sim_run_until(r.sim, is_done, z, NS_PER_S), 0);
    rig_expect(&r, 9, 20, 0);
    sim_disk_heal(disk);
    expect_end(&r, old, 0);
    expect_all(&r, 0, 256, 0);
    cr_assert_eq(rig_write(&r, 5, 1, 3), 0); /* the extent's next life, perhaps at the same place */
    rig_drain(&r, true);
    drop_log_copies(&r, 0, 32);
    rig_expect(&r, 5, 1, 3);
    expect_all(&r, 6, 250, 0);
    expect_all(&r, 256, 256, 1);
    finish(&r);
}

Test(fetch, a_staged_block_that_is_written_zeroed_or_moved_is_never_read_old)
{
    struct rig r;

    begin(&r);
    for (uint64_t v = 2; v < 12; v++) {
        rig_expect(&r, 0, 64, v - 1);
        cr_assert_eq(rig_write(&r, 0, 30, v), 0);
        rig_expect(&r, 0, 30, v);
        rig_expect(&r, 30, 34, v - 1);
        cr_assert_eq(rig_zero(&r, 30, 30), 0);
        rig_expect(&r, 30, 30, 0);
        cr_assert_eq(rig_write(&r, 30, 32, v), 0);
        cr_assert_eq(rig_write(&r, 62, 2, v), 0);
        rig_drain(&r, true);
        shard_start(r.shard);
        drop_log_copies(&r, 0, 256);
        shard_verify(r.shard);
    }
    finish(&r);
}

Test(fetch, rot_beside_a_block_costs_that_block_nothing)
{
    struct rig r;
    char got[BLOCK_BYTES] __attribute__((aligned(4096)));

    begin(&r);
    sim_disk_rot(disk_of(&r, 3), media_offset(&r, 3));
    rig_expect(&r, 4, 28, 1);
    cr_assert_eq(shard_stats(r.shard)->csum_errors_hdd, 0, "nobody asked for it");
    cr_assert_eq(rig_read(&r, 3, 1, got), -FIRN_E_DAMAGED);
    cr_assert_eq(shard_stats(r.shard)->csum_errors_hdd, 1);
    cr_assert_eq(r.shard->damage.nr, 1);
    rig_expect(&r, 0, 3, 1);
    sim_disk_heal(disk_of(&r, 3));
    rig_expect(&r, 0, 32, 1);
    cr_assert_eq(r.shard->damage.nr, 0);
    finish(&r);
}

Test(fetch, a_sector_that_cannot_be_read_fails_its_own_block_only)
{
    struct rig r;
    char got[BLOCK_BYTES] __attribute__((aligned(4096)));

    uint64_t before;

    begin(&r);
    sim_disk_latent(disk_of(&r, 3), media_offset(&r, 3), 4096);
    rig_expect(&r, 4, 28, 1);
    before = device_reads(&r);
    rig_expect(&r, 9, 1, 1);
    cr_assert_eq(device_reads(&r) - before, 1, "the bad sector is not tried again for its neighbours");
    cr_assert_neq(rig_read(&r, 3, 1, got), 0);
    rig_expect(&r, 0, 3, 1);
    cr_assert_eq(rig_write(&r, 3, 1, 2), 0);
    rig_expect(&r, 3, 1, 2);
    sim_run_for(r.sim, 61 * NS_PER_S);
    before = shard_stats(r.shard)->fetch_ops;
    rig_expect(&r, 9, 1, 1);
    cr_assert_eq(shard_stats(r.shard)->fetch_ops - before, 1, "but not for ever");
    finish(&r);
}

Test(fetch, a_device_that_fails_after_the_fetch_is_not_asked_for_what_ram_has)
{
    struct rig r;
    char got[BLOCK_BYTES] __attribute__((aligned(4096)));

    begin(&r);
    rig_expect(&r, 0, 1, 1);
    sim_disk_faults(disk_of(&r, 0))->eio_read = 1000000;
    rig_expect(&r, 0, 32, 1);
    cr_assert_neq(rig_read(&r, 32, 1, got), 0);
    sim_disk_heal(disk_of(&r, 0));
    expect_all(&r, 0, 256, 1);
    finish(&r);
}

Test(fetch, blocks_of_the_log_are_left_out_and_read_over)
{
    struct rig r;
    uint64_t before;

    begin(&r);
    cr_assert_eq(rig_write(&r, 10, 5, 2), 0);
    before = device_reads(&r);
    rig_expect(&r, 0, 10, 1);
    rig_expect(&r, 10, 5, 2);
    rig_expect(&r, 15, 17, 1);
    cr_assert_eq(device_reads(&r) - before, 1);
    shard_verify(r.shard);
    finish(&r);
}

Test(fetch, a_stream_is_read_ahead_and_random_reads_are_not)
{
    struct rig r;
    uint64_t before;

    begin_sized(&r, BLOCK_BYTES, 8, 0);
    before = device_reads(&r);
    for (uint64_t i = 0; i < 16; i++)
        rig_expect(&r, (i * 7 % 16) * 96, 1, 1);
    cr_assert_eq(shard_stats(r.shard)->read_ahead_blocks, 0);
    cr_assert_eq(device_reads(&r) - before, 16);
    fetch_forget_extent(r.shard, extent_find(&r.shard->xt, 1, 0));
    before = device_reads(&r);
    for (uint64_t b = 0; b < 8 * EXTENT_BLOCKS; b++)
        rig_expect(&r, b, 1, 1);
    cr_assert_gt(shard_stats(r.shard)->read_ahead_blocks, 5 * EXTENT_BLOCKS);
    cr_assert_lt(device_reads(&r) - before, 32);
    shard_verify(r.shard);
    finish(&r);
}

Test(fetch, a_volume_of_512_bytes_shares_and_reads_ahead_too)
{
    struct rig r;
    uint64_t before;

    begin_sized(&r, 512, 4, 0);
    before = device_reads(&r);
    for (uint64_t lba = 3; lba + 6 < 4 * EXTENT_BLOCKS * 8; lba += 6)
        rig_expect(&r, lba, 6, 1);
    cr_assert_lt(device_reads(&r) - before, 24);
    cr_assert_eq(rig_write(&r, 81, 1, 2), 0);
    rig_expect(&r, 80, 1, 1);
    rig_expect(&r, 81, 1, 2);
    rig_expect(&r, 82, 100, 1);
    finish(&r);
}

Test(fetch, devices_that_do_not_seek_are_read_as_they_are_asked)
{
    struct rig r;
    uint64_t before;

    begin(&r);
    r.hdd_dev[0]->caps.rotational = r.hdd_dev[1]->caps.rotational = false;
    before = device_reads(&r);
    for (uint64_t b = 0; b < 64; b++)
        rig_expect(&r, b, 1, 1);
    cr_assert_eq(device_reads(&r) - before, 64);
    cr_assert_eq(shard_stats(r.shard)->fetch_ops, 0);
    finish(&r);
}

static int drained;
static void on_drained(void *ctx)
{
    (void)ctx;
    drained++;
}

Test(fetch, a_stop_waits_for_what_is_read_ahead)
{
    struct rig r;

    begin_sized(&r, BLOCK_BYTES, 4, 0);
    for (uint64_t b = 0; b < 64; b++)
        rig_expect(&r, b, 1, 1);
    cr_assert(fetch_busy(r.shard), "nobody waits for it");
    while (fetch_busy(r.shard))
        sim_run_for(r.sim, NS_PER_MS);
    fetch_forget_extent(r.shard, extent_find(&r.shard->xt, 1, 0));
    sim_disk_faults(disk_of(&r, 0))->hung = 1000000;
    fetch_ahead(r.shard, 1, &(struct ahead){.stream = &r.shard->streams.of[0], .from = 0, .end = 64});
    cr_assert(fetch_busy(r.shard));
    shard_drain(r.shard, false, on_drained, NULL);
    sim_run_for(r.sim, 10 * NS_PER_S);
    cr_assert_eq(drained, 0);
    sim_disk_heal(disk_of(&r, 0));
    sim_run_for(r.sim, 10 * NS_PER_S);
    cr_assert_eq(drained, 1);
    rig_stop(&r);
    cr_assert_eq(rig_boot(&r), 0);
    expect_all(&r, 0, 1024, 1);
    finish(&r);
}

static int forgotten;
static void on_forgotten(void *ctx, int err)
{
    (void)ctx;
    cr_assert_eq(err, 0);
    forgotten++;
}
static bool is_forgotten(void *ctx)
{
    (void)ctx;
    return forgotten > 0;
}

Test(fetch, a_volume_goes_while_it_is_read_ahead_and_another_takes_its_number)
{
    struct volume next;
    struct rig r;

    begin_sized(&r, BLOCK_BYTES, 4, 0);
    for (uint64_t b = 0; b < 64; b++)
        rig_expect(&r, b, 1, 1);
    cr_assert(fetch_busy(r.shard));
    forgotten = 0;
    shard_detach(r.shard, &r.vol, on_forgotten, NULL);
    cr_assert_eq(sim_run_until(r.sim, is_forgotten, NULL, 10 * NS_PER_S), 0);
    next = r.vol;
    next.layer = RIG_LAYER + 1;
    r.vol = next;
    cr_assert_eq(shard_attach(r.shard, &r.vol), 0);
    cr_assert_eq((uintptr_t)r.vol.priv, 1, "the same number");
    expect_all(&r, 0, 1024, 0);
    sim_run_for(r.sim, NS_PER_S);
    shard_verify(r.shard);
    expect_all(&r, 0, 1024, 0);
    finish(&r);
}

/* The smallest stage under more readers than it has frames for. */
Test(fetch, a_small_stage_serves_everybody)
{
    struct rig r;

    begin_sized(&r, BLOCK_BYTES, 8, 1);
    cr_assert_eq(r.shard->stage.nr, STAGE_FRAMES_MIN);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < REQS; i++)
            start(&r, BLK_READ, (i * 37 + round * 11) % 64 * 30, 1 + i * 5 % 120, 0);
        for (unsigned i = 0; i < REQS; i++)
            expect_end(&r, &reqs[i], 1);
        forget_reqs();
    }
    shard_verify(r.shard);
    finish(&r);
}

/* Of a volume whose blocks are used together, not again, what a host got goes first, whatever came before it. */
Test(fetch, ram_is_for_what_has_not_been_used_where_nothing_is_used_again)
{
    for (unsigned together = 0; together < 2; together++) {
        uint64_t before;
        struct rig r;

        begin_sized(&r, BLOCK_BYTES, 8, 1);
        r.shard->layer[1].lately[0] = 1000; /* and nothing written */
        r.shard->layer[1].lately[1] = 0;
        r.shard->layer[1].use.chunks = together;
        cr_assert_eq(r.shard->fetch_blocks, 8);
        for (uint64_t b = 0; b < 64; b += 8)
            rig_expect(&r, b, 4, 1);
        before = device_reads(&r);
        rig_expect(&r, 256, 1, 1); /* 8 frames of 64 go */
        rig_expect(&r, 4, 4, 1);
        cr_assert_eq(device_reads(&r) - before, together ? 1 : 2);
        rig_expect(&r, 56, 4, 1);
        cr_assert_eq(device_reads(&r) - before, together ? 2 : 2);
        shard_verify(r.shard);
        finish(&r);
    }
}

static uint32_t in_ram(const struct rig *r, uint32_t extent, uint32_t n)
{
    uint32_t x = extent_find(&r->shard->xt, 1, extent), nr = 0;

    for (uint32_t i = 0; i < n; i++)
        nr += stage_find(&r->shard->stage, x, i) != STAGE_NONE || index_find(&r->shard->ix, 1, i) != INDEX_NONE;
    return nr;
}

/* A chunk that is to be copied at this miss is read whole, however little RAM there is; of a volume that is hardly written. */
Test(fetch, what_is_copied_as_a_whole_is_read_as_a_whole)
{
    for (unsigned written = 0; written < 2; written++) {
        struct rig r;

        begin_sized(&r, BLOCK_BYTES, 8, 1);
        r.shard->places.read_rules = r.shard->places.rules; /* as in a cache of a few chunks */
        r.shard->layer[1].lately[0] = 1000;
        r.shard->layer[1].lately[1] = written * 1000;
        rig_expect(&r, 3, 1, 1);
        cr_assert_eq(in_ram(&r, 0, 32), 8);
        for (uint64_t b = 256; b < 512; b += 32) /* RAM forgets it */
            rig_expect(&r, b, 1, 1);
        cr_assert_eq(in_ram(&r, 0, 32), 0);
        rig_expect(&r, 3, 1, 1);
        cr_assert_eq(in_ram(&r, 0, 32), written ? 8 : 16);
        finish(&r);
    }
}

/* A device that hangs keeps its part of frames and fetches; reads that wait for it can be called back; the other's go on. */
Test(fetch, a_device_that_hangs_leaves_ram_to_the_others)
{
    uint64_t before, other = 0;
    struct rig r;

    begin_sized(&r, BLOCK_BYTES, 2, 1);
    for (uint64_t b = FAR; b < VOLUME; b += 2 * EXTENT_BLOCKS)
        other = disk_of(&r, b) != disk_of(&r, 0) ? b : other;
    cr_assert_gt(other, 0);
    sim_disk_faults(disk_of(&r, 0))->hung = 1000000;
    for (unsigned i = 0; i < REQS - 1; i++)
        start(&r, BLK_READ, i * 4, 1, 0);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_leq(r.shard->fetch_frames[rig_extent(&r, 0)->place.dev], STAGE_FRAMES_MIN * POLICY_SHARE_PCT / 100);
    before = shard_stats(r.shard)->fetch_ops;
    rig_expect(&r, other, 2, 1);
    rig_expect(&r, other + 2, 2, 1);
    cr_assert_eq(shard_stats(r.shard)->fetch_ops - before, 1);
    shard_cancel(r.shard, &reqs[REQS - 2].io);
    cr_assert_eq(sim_run_until(r.sim, is_done, &reqs[REQS - 2], NS_PER_S), 0);
    cr_assert_eq(reqs[REQS - 2].io.err, -FIRN_E_CANCELED);
    sim_disk_heal(disk_of(&r, 0));
    for (unsigned i = 0; i < REQS - 2; i++)
        expect_end(&r, &reqs[i], 1);
    finish(&r);
}

static bool is_forgetting(void *ctx) { return rig_extent(ctx, 1)->state == EXTENT_FORGETTING; }

/* Checksums come for what was to be read ahead when the extent's records are being deleted already. */
Test(fetch, nothing_is_read_ahead_of_a_volume_that_goes)
{
    struct rig r;
    uint32_t x;

    begin_sized(&r, BLOCK_BYTES, 4, 0);
    x = extent_find(&r.shard->xt, 1, 1);
    sums_drop(r.shard, x);
    sim_disk_faults(disk_of(&r, EXTENT_BLOCKS))->hung = 1000000;
    fetch_ahead(r.shard, 1, &(struct ahead){.stream = &r.shard->streams.of[0], .from = EXTENT_BLOCKS, .end = EXTENT_BLOCKS + 64});
    cr_assert(fetch_busy(r.shard), "it waits for checksums");
    forgotten = 0;
    shard_detach(r.shard, &r.vol, on_forgotten, NULL);
    cr_assert_eq(sim_run_until(r.sim, is_forgetting, &r, NS_PER_S), 0);
    cr_assert_eq(sim_run_until(r.sim, is_forgotten, NULL, 10 * NS_PER_S), 0);
    cr_assert_not(fetch_busy(r.shard));
    shard_verify(r.shard);
    rig_fini(&r);
}
