/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that nobody wants any more: what has not begun is answered once with CANCELED and leaves no trace, what has begun
 * ends as ever, and what waits behind goes on. */
#include <stdlib.h>

#include "rig.h"

#define MAX_REQS 512u
#define OLD 1u
#define NEW 9u

static struct req {
    struct blk_io io;
    struct iovec  iov;
    unsigned      answers;
} reqs[MAX_REQS];
static unsigned nr_reqs, nr_answered, nr_canceled;
static bool in_call; /* of blk_cancel or blk_submit */

static void ended(struct blk_io *io)
{
    struct req *q = container_of(io, struct req, io);

    cr_assert_not(in_call, "never from inside a call");
    cr_assert_eq(++q->answers, 1);
    cr_assert(io->err == 0 || io->err == -FIRN_E_CANCELED, "%d", io->err);
    nr_answered++;
    nr_canceled += io->err != 0;
}

static void start(struct rig *r, enum blk_op op, uint64_t lba, uint32_t nlb)
{
    struct req *q = &reqs[nr_reqs++];
    size_t bytes = (size_t)nlb * r->o.lba_bytes;

    *q = (struct req){.io = {.op = op, .lba = lba, .nlb = nlb, .cb = ended}};
    memset(&q->io.priv, 0x5a, sizeof(q->io.priv)); /* nothing relies on what the caller left there */
    if (op == BLK_READ || op == BLK_WRITE) {
        q->iov = (struct iovec){aligned_alloc(BLOCK_BYTES, ROUND_UP(bytes, (size_t)BLOCK_BYTES)), bytes};
        rig_fill(r, q->iov.iov_base, lba, nlb, NEW);
        q->io.iov = &q->iov;
        q->io.iovcnt = 1;
    }
    in_call = true;
    blk_submit(&r->vol.blk, &q->io);
    in_call = false;
}

static void call_back(struct rig *r, unsigned i)
{
    if (reqs[i].answers != 0)
        return;
    in_call = true;
    blk_cancel(&r->vol.blk, &reqs[i].io);
    in_call = false;
}

static void begin(struct rig *r, const struct rig_opts *o)
{
    nr_reqs = nr_answered = nr_canceled = 0;
    rig_init(r, o);
}

static bool all_answered(void *ctx)
{
    (void)ctx;
    return nr_answered == nr_reqs;
}

static void await_all(struct rig *r)
{
    cr_assert_eq(sim_run_until(r->sim, all_answered, NULL, 1000 * NS_PER_S), 0, "%u of %u", nr_answered, nr_reqs);
}

/* Each range is as its request says: changed, or not. */
static void expect_all(struct rig *r)
{
    for (unsigned i = 0; i < nr_reqs; i++) {
        const struct blk_io *io = &reqs[i].io;
        uint64_t stamp = io->op == BLK_WRITE ? NEW : 0;

        if (io->op != BLK_READ)
            for (uint32_t k = 0; k < io->nlb; k += 8)
                rig_expect(r, io->lba + k, MIN(8u, io->nlb - k), io->err == 0 ? stamp : OLD);
    }
}

static void finish(struct rig *r)
{
    cr_assert_eq(r->shard->in_flight, 0);
    cr_assert_eq(r->vol.blk.in_flight, 0);
    expect_all(r);
    shard_verify(r->shard);
    rig_drain(r, true);
    cr_assert_eq(r->shard->slots_promised, 0);
    rig_restart(r);
    expect_all(r);
    for (unsigned i = 0; i < nr_reqs; i++)
        free(reqs[i].iov.iov_base);
    rig_fini(r);
}

static void prepare(struct rig *r, uint64_t lbas)
{
    cr_assert_eq(rig_boot(r), 0);
    for (uint64_t at = 0; at < lbas; at += 32)
        cr_assert_eq(rig_write(r, at, 32, OLD), 0);
    rig_drain(r, true);
    shard_start(r->shard);
}

/* ---- a log that does not take any ---- */

Test(cancel, appends_without_a_group_do_not_wait_for_the_log)
{
    struct rig r;
    unsigned early;

    begin(&r, &(struct rig_opts){.seed = 7});
    prepare(&r, 2048);
    sim_disk_faults(r.ssd)->hung = 1000000;
    for (uint64_t i = 0; i < 256; i++)
        start(&r, i < 128 || i % 2 ? BLK_WRITE : BLK_WRITE_ZEROES, i * 8, 7);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_eq(nr_answered, 0);
    for (unsigned i = 0; i < 256; i++)
        call_back(&r, i);
    sim_run_for(r.sim, NS_PER_S);
    early = nr_answered;
    cr_assert(early > 100 && early < 256 && nr_canceled == early, "%u of 256 answered while the SSD hangs, %u taken back", early,
              nr_canceled);
    for (unsigned i = 0; i < 256; i++)
        call_back(&r, i);
    sim_disk_heal(r.ssd);
    await_all(&r);
    cr_assert_eq(nr_canceled, early, "what was in a group was written");
    finish(&r);
}

/* ---- dirt at its limit, and no device that takes any ---- */

static void hang(struct rig *r, uint32_t n)
{
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_faults(r->hdd[d])->hung = n;
}

static void heal(struct rig *r)
{
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_heal(r->hdd[d]);
}

static void writes_behind_the_limit(struct rig *r)
{
    begin(r, &(struct rig_opts){.seed = 1});
    r->opts.dirty_max_pct = 10;
    r->opts.dirty_start_pct = 5;
    prepare(r, 2048);
    hang(r, 1000000);
    for (uint64_t i = 0; i < 256; i++)
        start(r, BLK_WRITE, i * 8, 8);
    sim_run_for(r->sim, NS_PER_S);
    cr_assert(nr_answered > 0 && nr_answered < 200, "%u", nr_answered);
}

Test(cancel, writes_behind_the_dirt_limit_do_not_wait_for_the_devices)
{
    struct rig r;
    unsigned before;
    uint64_t errors;

    writes_behind_the_limit(&r);
    before = nr_answered;
    errors = r.shard->stats.write_errors;
    for (unsigned i = 0; i < nr_reqs; i++)
        call_back(&r, i);
    sim_run_for(r.sim, 10 * NS_PER_MS);
    cr_assert_eq(nr_answered, nr_reqs, "%u of %u, while every device hangs", nr_answered, nr_reqs);
    cr_assert_eq(nr_canceled, nr_reqs - before);
    cr_assert_eq(r.shard->stats.write_errors, errors);
    heal(&r);
    finish(&r);
}

Test(cancel, what_waits_among_the_canceled_goes_on)
{
    struct rig r;
    unsigned begun;

    writes_behind_the_limit(&r);
    begun = nr_answered;
    for (unsigned i = 0; i < nr_reqs; i += 2) {
        call_back(&r, i);
        call_back(&r, i); /* again: it is on its way */
    }
    sim_run_for(r.sim, 10 * NS_PER_MS);
    cr_assert_gt(nr_canceled, 10);
    cr_assert_lt(nr_answered, nr_reqs);
    cr_assert_eq(nr_answered, begun + nr_canceled);
    heal(&r);
    await_all(&r);
    for (unsigned i = 1; i < nr_reqs; i += 2)
        cr_assert_eq(reqs[i].io.err, 0);
    finish(&r);
}

/* ---- the share of one device ---- */

Test(cancel, writes_that_wait_for_the_share_of_one_device_do_not_wait_for_it)
{
    struct rig r;
    uint16_t dev;
    unsigned waiting;

    begin(&r, &(struct rig_opts){.seed = 2, .hdd_extents = 24, .volume_blocks = 16 * 256});
    prepare(&r, 4096);
    dev = rig_extent(&r, 0)->place.dev;
    sim_disk_faults(r.hdd[dev])->hung = 1000000;
    for (uint32_t e = 0; e < 16; e++)
        if (rig_extent(&r, e)->place.dev == dev)
            for (uint64_t at = 0; at < 256 && nr_reqs < MAX_REQS; at += 4)
                start(&r, BLK_WRITE, e * 256 + at, 4);
    sim_run_for(r.sim, NS_PER_S);
    waiting = r.shard->writes_dev[dev].nr;
    cr_assert_gt(waiting, 0);
    for (unsigned i = 0; i < nr_reqs; i++)
        call_back(&r, i);
    sim_run_for(r.sim, 10 * NS_PER_MS);
    cr_assert_eq(nr_answered, nr_reqs);
    cr_assert_geq(nr_canceled, waiting);
    sim_disk_heal(r.hdd[dev]);
    finish(&r);
}

static void failed_or_not(struct blk_io *io)
{
    cr_assert(io->err == 0 || io->err == -FIRN_E_DEVICE_FAILED, "%d", io->err);
    nr_answered++;
}

/* Dirt is at the limit of all meanwhile, and no device takes any. */
Test(cancel, writes_that_wait_for_the_share_of_a_hung_device_fail_at_its_deadline)
{
    struct rig r;
    uint16_t dev;

    begin(&r, &(struct rig_opts){.seed = 2, .hdd_extents = 24, .volume_blocks = 24 * 256});
    r.opts.dirty_max_pct = 20;
    r.opts.dirty_start_pct = 5;
    prepare(&r, 16 * 256);
    dev = rig_extent(&r, 0)->place.dev;
    hang(&r, 1000000);
    for (uint64_t at = 0; at < 256; at += 2) /* on that device, then nowhere yet */
        start(&r, BLK_WRITE, at, 2);
    for (uint64_t at = 16 * 256; nr_reqs < MAX_REQS; at += 4)
        start(&r, BLK_WRITE, at, 4);
    for (unsigned i = 0; i < nr_reqs; i++)
        reqs[i].io.cb = failed_or_not;
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_not(waits_empty(&r.shard->writes_dev[dev]));
    cr_assert(shard_writes_wait(r.shard));
    sim_run_for(r.sim, 100 * NS_PER_S);
    cr_assert(waits_empty(&r.shard->writes_dev[dev]));
    heal(&r);
    await_all(&r);
    rig_drain(&r, true);
    for (unsigned i = 0; i < nr_reqs; i++)
        free(reqs[i].iov.iov_base);
    rig_fini(&r);
}

/* ---- pools, ranges, slots ---- */

Test(cancel, reads_and_writes_that_wait_for_a_pool)
{
    struct rig r;

    begin(&r, &(struct rig_opts){.seed = 3});
    r.opts.ios_per_shard = 8;
    prepare(&r, 2048);
    for (unsigned i = 0; i < 64; i++)
        start(&r, i % 2 ? BLK_READ : BLK_WRITE, i * 8, 8);
    for (unsigned i = 0; i < nr_reqs; i++)
        call_back(&r, i);
    await_all(&r);
    cr_assert_eq(nr_canceled, 64 - 6, "what is read lies on one device: it may have three quarters of the pool");
    finish(&r);
}

Test(cancel, parts_of_one_block_that_wait_for_each_other)
{
    struct rig r;

    begin(&r, &(struct rig_opts){.seed = 4, .lba_bytes = 512});
    prepare(&r, 2048);
    for (unsigned i = 0; i < 8; i++) /* all in block 3 */
        start(&r, i == 5 ? BLK_WRITE_ZEROES : BLK_WRITE, 24 + i, 1);
    for (unsigned i = 0; i < 7; i++)
        call_back(&r, i);
    await_all(&r);
    cr_assert_eq(nr_canceled, 6, "the first had begun, the last was not called back");
    finish(&r);
}

static void zeroes_without_slots(uint32_t lba_bytes)
{
    uint32_t per = BLOCK_BYTES / lba_bytes;
    struct rig r;

    begin(&r, &(struct rig_opts){.seed = 5, .lba_bytes = lba_bytes, .hdd_extents = 32, .volume_blocks = 32 * 256});
    prepare(&r, 32 * 256 * per);
    for (uint32_t i = 0; i < 32; i++)
        start(&r, BLK_DISCARD, (uint64_t)i * 256 * per, 255 * per);
    cr_assert_not(list_empty(&r.shard->zeroes_wait));
    for (unsigned i = 0; i < nr_reqs; i++)
        call_back(&r, i);
    cr_assert(list_empty(&r.shard->zeroes_wait));
    await_all(&r);
    if (lba_bytes == BLOCK_BYTES)
        cr_assert_eq(nr_canceled, 32, "those that got slots have no group of the log yet");
    else
        cr_assert(nr_canceled > 8 && nr_canceled < 32, "%u", nr_canceled);
    finish(&r);
}

Test(cancel, zeroes_that_wait_for_slots) { zeroes_without_slots(4096); }
Test(cancel, zeroes_that_wait_for_slots_in_units_of_512_bytes) { zeroes_without_slots(512); }

/* ---- what is being answered already ---- */

static int said;
static void say(struct blk_io *io) { said = io->err; }

Test(cancel, what_was_refused_stays_refused)
{
    struct blk_io io = {.op = BLK_WRITE_ZEROES, .lba = 1u << 30, .nlb = 1, .cb = say};
    struct rig r;

    begin(&r, &(struct rig_opts){.seed = 6});
    cr_assert_eq(rig_boot(&r), 0);
    memset(&io.priv, 0x5a, sizeof(io.priv));
    said = 1;
    blk_submit(&r.vol.blk, &io);
    blk_cancel(&r.vol.blk, &io);
    cr_assert_eq(said, 1);
    sim_run_for(r.sim, NS_PER_MS);
    cr_assert_eq(said, -FIRN_E_RANGE);
    finish(&r);
}

/* ---- at any time ---- */

static void at_random(uint32_t lba_bytes, unsigned seed)
{
    struct rig r;

    srand(seed);
    begin(&r, &(struct rig_opts){.seed = seed, .lba_bytes = lba_bytes, .segments = 14});
    r.opts.ios_per_shard = 4 + (uint32_t)rand() % 60;
    r.opts.dirty_max_pct = 10 + (uint32_t)rand() % 40;
    r.opts.dirty_start_pct = 5;
    prepare(&r, 2048);
    hang(&r, (uint32_t)rand() % 4);
    for (unsigned i = 0; i < 400; i++) { /* neighbours share blocks of 512-byte lbas */
        int what = rand() % 10;

        start(&r, what < 6 ? BLK_WRITE : what < 8 ? BLK_READ : BLK_WRITE_ZEROES, i * 5, 5);
        while (rand() % 4 != 0)
            call_back(&r, nr_reqs - 1 - (unsigned)rand() % MIN(nr_reqs, 60u));
        if (rand() % 3 == 0)
            sim_run_for(r.sim, (uint64_t)rand() % (200 * NS_PER_US));
    }
    heal(&r);
    await_all(&r);
    cr_assert(nr_canceled > 0 && nr_canceled < nr_reqs, "%u", nr_canceled);
    finish(&r);
}

Test(cancel, at_any_time)
{
    for (unsigned seed = 1; seed <= 12; seed++)
        at_random(4096, seed);
}

Test(cancel, at_any_time_in_units_of_512_bytes)
{
    for (unsigned seed = 1; seed <= 12; seed++)
        at_random(512, seed);
}
