/* SPDX-License-Identifier: Apache-2.0 */
/* Streams past the log, and what may come in their midst: nothing that was answered is lost, nothing older is read. */
#include "past.h"

TestSuite(bypass_loss, .timeout = 120);

#define NR 16u

struct req {
    struct blk_io io;
    struct iovec iov;
    char *buf;
    bool answered;
    int err;
};

static void boot(struct rig *r, uint64_t seed, uint64_t hdd_ns, uint32_t ring_nr)
{
    past_boot(r, (struct rig_opts){.seed = seed, .hdd_extents = 64, .volume_blocks = 8192, .hdd_ns = hdd_ns, .ring_nr = ring_nr}, 1);
}

static void answered(struct blk_io *io)
{
    struct req *q = io->ctx;

    q->answered = true;
    q->err = io->err;
}

static bool all_answered(void *ctx)
{
    const struct req *q = ctx;

    for (uint32_t i = 0; i < NR; i++)
        if (!q[i].answered)
            return false;
    return true;
}

/* A stream of NR writes at once. */
static void submit(struct rig *r, struct req *q, uint32_t from, uint64_t stamp)
{
    for (uint32_t i = 0; i < NR; i++) {
        q[i] = (struct req){.buf = aligned_alloc(BLOCK_BYTES, IO * BLOCK_BYTES)};
        q[i].iov = (struct iovec){q[i].buf, IO * BLOCK_BYTES};
        rig_fill(r, q[i].buf, from + i * IO, IO, stamp);
        q[i].io = (struct blk_io){.op = BLK_WRITE, .lba = from + i * IO, .nlb = IO, .iov = &q[i].iov, .iovcnt = 1, .cb = answered,
                                  .ctx = &q[i]};
        blk_submit(&r->vol.blk, &q[i].io);
    }
}

static void release(struct req *q)
{
    for (uint32_t i = 0; i < NR; i++)
        free(q[i].buf);
}

/* ... in any of the lives of what was written: at once, after a crash, destaged, and after a crash then. */
static void expect_always(struct rig *r, uint32_t from, uint32_t nblocks, uint64_t stamp)
{
    past_expect(r, from, nblocks, stamp);
    rig_restart(r);
    shard_verify(r->shard);
    past_expect(r, from, nblocks, stamp);
    rig_drain(r, true);
    past_expect(r, from, nblocks, stamp);
    rig_restart(r);
    shard_verify(r->shard);
    past_expect(r, from, nblocks, stamp);
}

Test(bypass_loss, a_disk_that_fails_in_the_midst_of_a_stream)
{
    struct req q[NR];
    struct rig r;

    boot(&r, 1, 5 * NS_PER_MS, 0);
    past_stream(&r, 0, 512, 1);
    submit(&r, q, 512, 1);
    cr_assert_eq(sim_run_for(r.sim, 2 * NS_PER_MS), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_fail_nth(r.hdd[i], DEV_WRITE, 1, UINT32_MAX);
    cr_assert_eq(sim_run_until(r.sim, all_answered, q, 100 * NS_PER_S), 0);
    for (uint32_t i = 0; i < NR; i++)
        cr_assert_eq(q[i].err, 0, "the log takes it");
    release(q);
    past_stream(&r, 256, 512, 2); /* over blocks in twins and blocks in the log */
    shard_verify(r.shard);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_heal(r.hdd[i]);
    rig_restart(&r);
    past_expect(&r, 0, 256, 1);
    past_expect(&r, 256, 512, 2);
    expect_always(&r, 768, 256, 1);
    rig_fini(&r);
}

static void zeroes_over(struct rig *r, uint32_t after_ms, uint32_t from, uint32_t nblocks)
{
    struct req q[NR], z = {0};
    char *buf = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
    bool zero[NR * IO];
    uint32_t nr = 0;

    submit(r, q, 0, 1);
    cr_assert_eq(sim_run_for(r->sim, after_ms * NS_PER_MS), 0);
    z.io = (struct blk_io){.op = BLK_WRITE_ZEROES, .lba = from, .nlb = nblocks, .cb = answered, .ctx = &z};
    blk_submit(&r->vol.blk, &z.io);
    cr_assert_eq(sim_run_until(r->sim, all_answered, q, 100 * NS_PER_S), 0);
    cr_assert_eq(sim_run_for(r->sim, NS_PER_S), 0);
    cr_assert(z.answered && z.err == 0);
    release(q);
    for (uint32_t b = 0; b < NR * IO; b++) { /* what was under way beside it: one or the other, and for good */
        cr_assert_eq(rig_read(r, b, 1, buf), 0);
        zero[b] = memcmp(buf, (char[64]){0}, 64) == 0;
        nr += zero[b];
        cr_assert(!zero[b] || (b >= from && b < from + nblocks));
    }
    for (unsigned pass = 0; pass < 3; pass++) {
        for (uint32_t b = 0; b < NR * IO; b++)
            rig_expect(r, b, 1, zero[b] ? 0 : 1);
        if (pass == 1)
            rig_drain(r, true);
        rig_restart(r);
        shard_verify(r->shard);
    }
    cr_assert(after_ms < 1000 || nr == nblocks, "all of it was answered before");
    free(buf);
}

Test(bypass_loss, zeroes_over_a_stream_that_is_under_way)
{
    static const uint32_t after_ms[] = {0, 3, 8, 20, 60, 3000};

    for (uint32_t i = 0; i < ARRAY_LEN(after_ms); i++) {
        struct rig r;

        boot(&r, 20 + i, 5 * NS_PER_MS, 0);
        zeroes_over(&r, after_ms[i], 0, 256);
        rig_fini(&r);
        boot(&r, 30 + i, 5 * NS_PER_MS, 0);
        zeroes_over(&r, after_ms[i], 100, 300);
        rig_fini(&r);
    }
}

Test(bypass_loss, a_stop_in_the_midst_of_a_stream)
{
    for (uint32_t ms = 0; ms < 40; ms += 3) {
        struct req q[NR];
        struct rig r;

        boot(&r, 40 + ms, 5 * NS_PER_MS, 0);
        past_stream(&r, 0, 512, 1);
        submit(&r, q, 512, 1);
        cr_assert_eq(sim_run_for(r.sim, ms * NS_PER_MS), 0);
        rig_drain(&r, false);
        cr_assert_eq(sim_run_until(r.sim, all_answered, q, 100 * NS_PER_S), 0);
        release(q);
        rig_stop(&r);
        cr_assert_eq(rig_boot(&r), 0);
        for (uint32_t i = 0; i < NR; i++)
            cr_assert_eq(q[i].err, 0);
        expect_always(&r, 0, 1024, 1);
        rig_fini(&r);
    }
}

Test(bypass_loss, a_deletion_behind_a_stream_that_was_called_back)
{
    for (uint32_t ms = 0; ms < 40; ms += 3) {
        struct req q[NR];
        struct rig r;
        bool done = false;

        boot(&r, 60 + ms, 5 * NS_PER_MS, 0);
        past_stream(&r, 0, 512, 1);
        submit(&r, q, 256, 2);
        cr_assert_eq(sim_run_for(r.sim, ms * NS_PER_MS), 0);
        for (uint32_t i = 0; i < NR; i++)
            if (!q[i].answered)
                shard_cancel(r.shard, &q[i].io);
        cr_assert_eq(sim_run_until(r.sim, all_answered, q, 100 * NS_PER_S), 0);
        release(q);
        shard_verify(r.shard);
        shard_detach(r.shard, &r.vol, rig_detached, &done);
        cr_assert_eq(sim_run_until(r.sim, rig_is_set, &done, 100 * NS_PER_S), 0);
        cr_assert(rig_used(&r) == 0 && r.shard->twins_used == 0 && r.shard->ix.nr_dirty == 0);
        rig_fini(&r);
    }
}

/* They are an error until they are written again; what else lies in the twin is not lost with them. */
Test(bypass_loss, sectors_of_a_twin_that_cannot_be_read)
{
    char *buf = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
    const struct twin *t;
    struct rig r;

    boot(&r, 80, 0, 0);
    past_stream(&r, 0, 256, 1);
    rig_drain(&r, true);
    shard_start(r.shard);
    past_stream(&r, 0, 224, 2);
    cr_assert_eq(rig_write(&r, 10, 4, 3), 0);
    t = twin_of(r.shard, rig_extent(&r, 0));
    cr_assert_not_null(t);
    sim_disk_latent(r.hdd[t->place.dev], cold_offset(r.cold, t->place) + 8 * BLOCK_BYTES, 4 * BLOCK_BYTES);
    for (uint32_t b = 8; b < 10; b++)
        cr_assert_lt(rig_read(&r, b, 1, buf), 0, "never what lies beneath");
    rig_restart(&r);
    for (uint32_t b = 8; b < 10; b++)
        cr_assert_lt(rig_read(&r, b, 1, buf), 0);
    cr_assert_eq(sim_run_for(r.sim, 100 * NS_PER_S), 0);
    cr_assert_gt(r.shard->ix.nr_dirty, 0, "no proof that they are lost");
    cr_assert_eq(rig_write(&r, 8, 2, 4), 0);
    rig_drain(&r, true);
    rig_restart(&r);
    past_expect(&r, 0, 8, 2);
    rig_expect(&r, 8, 2, 4);
    rig_expect(&r, 10, 4, 3);
    past_expect(&r, 14, 210, 2);
    past_expect(&r, 224, 32, 1);
    free(buf);
    rig_fini(&r);
}

/* Places go round between extents, whose descriptions are in a ring that is full again and again: each start believes the youngest. */
Test(bypass_loss, streams_over_each_other_whose_descriptions_are_in_a_ring)
{
    struct rig r;

    boot(&r, 90, 0, 8);
    for (uint32_t lap = 1; lap <= 12; lap++) {
        for (uint32_t b = 0; b < 2048; b += IO)
            cr_assert_eq(rig_write(&r, b, IO, lap), 0);
        for (uint32_t b = 5; b < 2048; b += 512)
            cr_assert_eq(rig_write(&r, b, 1, 100 + lap), 0);
        if (lap % 3 == 0)
            rig_drain(&r, true);
        else
            cr_assert_eq(sim_run_for(r.sim, lap % 2 * 70 * NS_PER_S), 0);
        rig_restart(&r);
        shard_verify(r.shard);
        for (uint32_t b = 0; b < 2048; b += IO)
            if (b % 512 != 0)
                rig_expect(&r, b, IO, lap);
        for (uint32_t b = 5; b < 2048; b += 512)
            rig_expect(&r, b, 1, 100 + lap);
    }
    rig_drain(&r, true);
    cr_assert(r.shard->twins_used == 0 && rig_used(&r) == 8);
    rig_stop(&r);
    cr_assert_eq(rig_boot(&r), 0);
    for (uint32_t no = 0; no < 8; no++) {
        const struct extent *e = rig_extent(&r, no);
        struct extent_desc d;

        cr_assert_eq(rig_description(&r, e, &d), 0);
        cr_assert(d.slot == e->place.slot && d.extent == no && d.destaged_seq == e->destaged_seq, "extent %u", no);
    }
    rig_fini(&r);
}

/* What the SSD called failed may be there after all, as what was under way beside it: its place goes to no other shard. */
Test(bypass_loss, a_log_that_fails_in_the_midst_of_a_stream)
{
    uint64_t used;
    struct req q[NR];
    struct rig r;

    boot(&r, 95, 5 * NS_PER_MS, 0);
    past_stream(&r, 0, 256, 1);
    rig_drain(&r, true);
    shard_start(r.shard);
    submit(&r, q, 0, 2); /* a second place of one extent, and the first of another */
    sim_disk_fail_nth(r.ssd, DEV_WRITE, 1, UINT32_MAX);
    cr_assert_eq(sim_run_for(r.sim, NS_PER_MS), 0);
    used = rig_used(&r);
    cr_assert_eq(used, 3);
    cr_assert_eq(sim_run_until(r.sim, all_answered, q, 100 * NS_PER_S), 0);
    for (uint32_t i = 0; i < NR; i++)
        cr_assert_neq(q[i].err, 0);
    release(q);
    cr_assert_eq(sim_run_for(r.sim, NS_PER_S), 0);
    cr_assert(rig_used(&r) == used && r.shard->twins_used == 2);
    sim_disk_heal(r.ssd);
    rig_restart(&r);
    shard_verify(r.shard);
    cr_assert_eq(rig_used(&r), 1);
    past_expect(&r, 0, 256, 1);
    rig_fini(&r);
}
