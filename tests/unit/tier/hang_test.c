/* SPDX-License-Identifier: Apache-2.0 */
/* Reads that are caught in a device which hangs: what they hold, and who waits for it. */
#include <stdlib.h>

#include "tier/gate.h"
#include "tier/map.h"
#include "tier/mover.h"
#include "rig.h"

static char buf[64 * BLOCK_BYTES] __attribute__((aligned(4096))), zeros[16 * BLOCK_BYTES] __attribute__((aligned(4096)));

static uint32_t node_of(const struct rig *r, uint32_t extent) { return extent_find(&r->shard->xt, 1, extent); }
static uint16_t device_of(const struct rig *r, uint32_t extent) { return extent_at(&r->shard->xt, node_of(r, extent))->place.dev; }

/* Reclaim would do the same one day: only the device has the extent's first blocks now. */
static void drop_log_copies(struct rig *r, uint32_t extent, uint32_t nblocks)
{
    for (uint32_t i = 0; i < nblocks; i++) {
        uint32_t id = index_find(&r->shard->ix, 1, (uint64_t)extent * EXTENT_BLOCKS + i);

        if (id != INDEX_NONE && !(index_flags_of(&r->shard->ix, id) & INDEX_DIRTY))
            map_remove(r->shard, id);
    }
}

/* ---- places that wait for reads ---- */

static bool read_over;
static int read_err;
static void read_answered(struct blk_io *io)
{
    read_over = true;
    read_err = io->err;
}

/* One read of block 0, cold, is caught; the device takes others. */
static uint16_t catch_a_read(struct rig *r, struct blk_io *io, struct iovec *iov)
{
    uint16_t dev = device_of(r, 0);

    drop_log_copies(r, 0, 8);
    read_over = false;
    sim_disk_faults(r->hdd[dev])->hung = 1000000;
    *iov = (struct iovec){buf, BLOCK_BYTES};
    *io = (struct blk_io){.op = BLK_READ, .lba = 0, .nlb = 1, .iov = iov, .iovcnt = 1, .cb = read_answered};
    blk_submit(&r->vol.blk, io);
    sim_run_for(r->sim, NS_PER_MS);
    sim_disk_faults(r->hdd[dev])->hung = 0;
    return dev;
}

Test(hang, a_read_that_hangs_keeps_one_place_however_often_its_extent_leaves_one)
{
    struct blk_io io;
    struct iovec iov;
    struct rig r;
    uint16_t dev;

    rig_init(&r, &(struct rig_opts){.seed = 26, .hdd_extents = 64, .volume_blocks = 16 * 256});
    r.opts.ios_per_shard = 16;
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 8, 1), 0);
    rig_drain(&r, true);
    shard_start(r.shard);
    r.shard->t.dirty_start_pct = 0; /* destage at once */
    dev = catch_a_read(&r, &io, &iov);
    for (uint64_t i = 0; i < 80; i++) { /* more than the four times 16 places that are remembered */
        cr_assert_eq(rig_zero(&r, 0, 256), 0);
        sim_run_for(r.sim, NS_PER_S / 10);
        cr_assert_eq(rig_write(&r, 0, 8, i + 2), 0);
        sim_run_for(r.sim, 2 * NS_PER_S);
        cr_assert_eq(r.shard->ix.nr_dirty, 0, "%lu", (unsigned long)i);
        cr_assert_eq(extent_at(&r.shard->xt, node_of(&r, 0))->gives, 1);
        cr_assert_eq(rig_used(&r), 2, "the place that is read, and the extent's");
    }
    cr_assert_not(read_over);
    sim_disk_heal(r.hdd[dev]);
    cr_assert_eq(sim_run_until(r.sim, rig_is_set, &read_over, 100 * NS_PER_S), 0);
    cr_assert_eq(read_err, 0);
    cr_assert_eq(rig_used(&r), 1);
    rig_expect(&r, 0, 8, 81);
    rig_drain(&r, true);
    rig_restart(&r);
    rig_expect(&r, 0, 8, 81);
    cr_assert_eq(rig_used(&r), 1);
    rig_fini(&r);
}

#define PLACES 300u /* more than a byte counts */

Test(hang, places_of_one_extent_are_given_back_each_after_its_own_reads)
{
    struct extent_place p[PLACES], last;
    struct rig r;
    uint32_t x;
    uint64_t used;

    rig_init(&r, &(struct rig_opts){.seed = 27, .hdd_extents = 200, .volume_blocks = 16 * 256});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 8, 1), 0);
    rig_drain(&r, true);
    x = node_of(&r, 0);
    last = extent_at(&r.shard->xt, x)->place;
    for (uint32_t i = 0; i < PLACES; i++) {
        p[i] = last;
        extent_at(&r.shard->xt, x)->reads = 1 + i % 3;
        cr_assert_eq(cold_reserve(r.cold, 1), 0);
        cr_assert_eq(cold_take(r.cold, (struct extent_place){.dev = EXTENT_NO_DEV}, 0, &last), 0);
        map_place(r.shard, x, last);
        map_give_place(r.shard, x, p[i]);
    }
    extent_at(&r.shard->xt, x)->reads = 1;
    used = rig_used(&r);
    cr_assert_eq(used, PLACES + 1);
    map_read_done(r.shard, x, last);
    cr_assert_eq(rig_used(&r), used, "the place where it is now stays");
    for (uint32_t i = PLACES; i-- > 0;) {
        for (uint32_t k = 0; k < 1 + i % 3; k++) {
            cr_assert_eq(rig_used(&r), used);
            map_read_done(r.shard, x, p[i]);
        }
        cr_assert_eq(rig_used(&r), --used);
    }
    cr_assert_eq(extent_at(&r.shard->xt, x)->gives, 0);
    cr_assert(list_empty(&r.shard->gives));
    rig_fini(&r);
}

/* ---- what one device may hold of the pools ---- */

#define MAX_REQS 3200u
#define COLD     32u /* blocks of extent 0 that only its device has; more, up to twice as many, are in the log as well */

static struct req {
    struct blk_io io;
    struct iovec  iov;
    unsigned      answers;
} reqs[MAX_REQS];
static unsigned nr_reqs;

static void ended(struct blk_io *io) { cr_assert_eq(++container_of(io, struct req, io)->answers, 1); }

/* lba and nlb in units of 512 bytes, whatever the volume has. */
static struct req *start(struct rig *r, enum blk_op op, uint64_t lba, uint32_t nlb)
{
    struct req *q = &reqs[nr_reqs++];
    uint32_t unit = r->o.lba_bytes / 512;

    cr_assert_lt(nr_reqs, MAX_REQS);
    cr_assert(lba % unit == 0 && nlb % unit == 0);
    *q = (struct req){.io = {.op = op, .lba = lba / unit, .nlb = nlb / unit, .cb = ended},
                      .iov = {op == BLK_READ ? buf : zeros, nlb * 512u}};
    if (op == BLK_READ || op == BLK_WRITE) {
        q->io.iov = &q->iov;
        q->io.iovcnt = 1;
    }
    blk_submit(&r->vol.blk, &q->io);
    return q;
}

static unsigned count(unsigned from, unsigned to, int err)
{
    unsigned nr = 0;

    for (unsigned i = from; i < to; i++)
        nr += reqs[i].answers == 1 && reqs[i].io.err == err;
    return nr;
}

static unsigned count_answered(unsigned from, unsigned to)
{
    unsigned nr = 0;

    for (unsigned i = from; i < to; i++)
        nr += reqs[i].answers;
    return nr;
}

/* Extents 0, 2, 4, .. 14 lie on both devices by turns; extent 0's hangs; returns another one, on the other device. */
static uint32_t hang_one(struct rig *r, uint32_t lba_bytes, uint32_t ios)
{
    uint32_t per = BLOCK_BYTES / lba_bytes, healthy = 0;

    nr_reqs = 0;
    memset(reqs, 0, sizeof(reqs));
    rig_init(r, &(struct rig_opts){.seed = 28, .hdd_extents = 24, .volume_blocks = 16 * 256, .lba_bytes = lba_bytes});
    r->opts.ios_per_shard = ios;
    cr_assert_eq(rig_boot(r), 0);
    for (uint64_t e = 0; e < 16; e += 2)
        for (uint64_t i = 0; i < 2; i++)
            cr_assert_eq(rig_write(r, (e * 256 + i * COLD) * per, COLD * per, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    for (uint32_t e = 0; e < 16; e += 2)
        healthy = device_of(r, e) != device_of(r, 0) ? e : healthy;
    cr_assert_gt(healthy, 0);
    drop_log_copies(r, 0, COLD);
    drop_log_copies(r, healthy, COLD);
    cr_assert_neq(rig_log_offset(r, 2 * COLD - 1), 0);
    sim_disk_faults(r->hdd[device_of(r, 0)])->hung = 1000000;
    return healthy;
}

/* Whatever needs only the SSD or the other device is answered, soon and well. */
static void others_go_on(struct rig *r, uint32_t healthy)
{
    uint64_t at = healthy * 256ul * 8;
    unsigned from = nr_reqs;
    uint32_t part = r->o.lba_bytes == 512 ? 1 : 8;

    for (unsigned i = 0; i < 3; i++) {
        start(r, BLK_READ, at + i * 8, part);                  /* from the other device */
        start(r, BLK_READ, at + i * 8, 16);
        start(r, BLK_READ, (2 * COLD - 1 - 2ul * i) * 8, part); /* of an extent of the one that hangs, from the log */
        start(r, BLK_WRITE, at + (8 + i) * 8, part);           /* merged with what the other device has */
        start(r, BLK_WRITE, at + (12 + i) * 8, 8);
        start(r, BLK_WRITE, (2 * COLD + 4ul * i) * 8, 8);       /* a whole block, to the log: the device is not asked */
        start(r, BLK_WRITE_ZEROES, at + (20 + i) * 8, part);
        start(r, BLK_WRITE_ZEROES, at + (24 + i) * 8, 16);
    }
    sim_run_for(r->sim, NS_PER_S);
    cr_assert_eq(count(from, nr_reqs, 0), nr_reqs - from, "%u of %u", count(from, nr_reqs, 0), nr_reqs - from);
}

static void heal_and_finish(struct rig *r)
{
    sim_disk_heal(r->hdd[0]);
    sim_disk_heal(r->hdd[1]);
    sim_run_for(r->sim, 20 * NS_PER_S);
    cr_assert_eq(count_answered(0, nr_reqs), nr_reqs);
    for (unsigned k = 0; k < POOL_KIND_NR; k++)
        for (unsigned d = 0; d < RIG_HDDS; d++)
            cr_assert(r->shard->held[k][d] == 0 && waits_empty(&r->shard->held_wait[k][d]));
    cr_assert_eq(r->shard->in_flight, 0);
    cr_assert(r->shard->runs.nr_free == r->shard->runs.nr && r->shard->rios.nr_free == r->shard->rios.nr);
    cr_assert(r->shard->rmws.nr_free == r->shard->rmws.nr && r->shard->rmw_bufs.nr_free == r->shard->rmw_bufs.nr);
    rig_drain(r, true);
    rig_fini(r);
}

/* held: so many of them are caught in the device; the others are answered when its deadline is over, and not before. */
static void expect_only_those_caught(struct rig *r, uint32_t healthy, unsigned held)
{
    unsigned nr = nr_reqs;

    sim_run_for(r->sim, NS_PER_S);
    cr_assert_eq(count_answered(0, nr), 0);
    others_go_on(r, healthy);
    cr_assert_eq(count_answered(0, nr), 0);
    sim_run_for(r->sim, 60 * NS_PER_S);
    cr_assert_eq(count(0, nr, -FIRN_E_DEVICE_FAILED), nr - held, "%u of %u", count(0, nr, -FIRN_E_DEVICE_FAILED), nr);
    cr_assert_eq(count_answered(0, nr), nr - held);
    others_go_on(r, healthy);
    heal_and_finish(r);
    cr_assert_eq(count(0, nr, 0), held);
}

Test(hang, reads_leave_requests_to_others)
{
    struct rig r;
    uint32_t healthy = hang_one(&r, 4096, 0);

    for (unsigned i = 0; i < 1100; i++)
        start(&r, BLK_READ, i % COLD * 8, 8);
    expect_only_those_caught(&r, healthy, 768);
}

Test(hang, reads_leave_runs_to_others)
{
    struct rig r;
    uint32_t healthy = hang_one(&r, 4096, 16);
    unsigned nr = 10;

    for (uint32_t i = COLD; i < 2 * COLD; i += 2) /* from now on by turns in the log and not: a run each */
        map_remove(r.shard, index_find(&r.shard->ix, 1, i));
    for (unsigned i = 0; i < nr; i++)
        start(&r, BLK_READ, COLD * 8, COLD * 8);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_eq(count_answered(0, nr), 0);
    cr_assert_eq(r.shard->fg_in_flight[device_of(&r, 0)], 48);
    others_go_on(&r, healthy);
    sim_run_for(r.sim, 60 * NS_PER_S);
    cr_assert_eq(count(0, nr, -FIRN_E_DEVICE_FAILED), nr - 3, "the first three have 16 of 48 each");
    others_go_on(&r, healthy);
    heal_and_finish(&r);
    cr_assert_eq(count(0, nr, 0), 3);
}

Test(hang, reads_of_parts_leave_buffers_to_others)
{
    struct rig r;
    uint32_t healthy = hang_one(&r, 512, 0);

    for (unsigned i = 0; i < 100; i++)
        start(&r, BLK_READ, i % COLD * 8 + i % 8, 1);
    expect_only_those_caught(&r, healthy, 48);
}

Test(hang, reads_of_whole_blocks_in_units_of_512_bytes_leave_requests_to_others)
{
    struct rig r;
    uint32_t healthy = hang_one(&r, 512, 0);

    for (unsigned i = 0; i < 1100; i++)
        start(&r, BLK_READ, i % COLD * 8, 8);
    expect_only_those_caught(&r, healthy, 768);
}

Test(hang, writes_of_parts_leave_buffers_to_others)
{
    struct rig r;
    uint32_t healthy = hang_one(&r, 512, 0);

    for (unsigned i = 0; i < 100; i++) /* from block 0 on two each, the end of one and the begin of the next: no two overlap but in time */
        start(&r, i % 2 ? BLK_WRITE : BLK_WRITE_ZEROES, i % (COLD / 2) * 16 + 6, 4);
    expect_only_those_caught(&r, healthy, 48);
}

/* Behind one write that is caught: they wait for its blocks, and the last also for the one before it, far from the device. */
Test(hang, writes_behind_a_write_leave_buffers_to_others)
{
    struct rig r;
    uint32_t healthy = hang_one(&r, 512, 0);

    start(&r, BLK_WRITE, (COLD - 1) * 8 + 2, 1);
    for (unsigned i = 0; i < 99; i++) /* both ends are in the log */
        start(&r, BLK_WRITE, i % 2 ? (COLD + 3) * 8 + 1 : (COLD - 1) * 8, i % 2 ? 4 : 5 * 8 - 2);
    expect_only_those_caught(&r, healthy, 48);
}

/* Zeroed blocks of the device have their share of the slots; more wait for it. */
Test(hang, zeroes_leave_the_queue_for_slots_to_others)
{
    struct rig r;
    uint16_t dev;
    uint32_t healthy = 0;
    unsigned waiting;

    nr_reqs = 0;
    memset(reqs, 0, sizeof(reqs));
    rig_init(&r, &(struct rig_opts){.seed = 29, .hdd_extents = 26, .volume_blocks = 40 * 256});
    cr_assert_eq(rig_boot(&r), 0);
    for (uint64_t at = 0; at < 40 * 256; at += 32)
        cr_assert_eq(rig_write(&r, at, 32, 1), 0);
    rig_drain(&r, true);
    shard_start(r.shard);
    dev = device_of(&r, 0);
    sim_disk_faults(r.hdd[dev])->hung = 1000000;
    r.shard->t.dirty_start_pct = 0;
    start(&r, BLK_WRITE, 0, 64);
    sim_run_for(r.sim, NS_PER_S); /* it is being destaged, and nothing else of the device is until that ends */
    cr_assert(lane_writes(&r.shard->lanes[dev]));
    for (uint32_t e = 2; e < 40; e++)
        if (device_of(&r, e) == dev)
            start(&r, BLK_WRITE_ZEROES, e * 256ul * 8, 255 * 8);
        else
            healthy = e;
    cr_assert_not(list_empty(&r.shard->zeroes_wait));
    cr_assert_gt(healthy, 0, "extents fill one device, then the other");
    start(&r, BLK_WRITE_ZEROES, healthy * 256ul * 8, 8 * 8);
    sim_run_for(r.sim, NS_PER_S);
    waiting = nr_reqs - count_answered(0, nr_reqs);
    cr_assert_gt(waiting, 0);
    cr_assert_eq(reqs[nr_reqs - 1].answers, 1);
    start(&r, BLK_DISCARD, 255 * 8, 8);
    start(&r, BLK_DISCARD, (healthy * 256ul + 8) * 8, 8);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_eq(reqs[nr_reqs - 2].answers, 0, "it waits for the device, outside");
    cr_assert_not(waits_empty(&r.shard->writes_dev[dev]));
    cr_assert_eq(reqs[nr_reqs - 1].answers, 1);
    sim_run_for(r.sim, 60 * NS_PER_S);
    cr_assert_eq(count(0, nr_reqs, -FIRN_E_DEVICE_FAILED), waiting + 1);
    heal_and_finish(&r);
}

/* ---- nobody wants them any more ---- */

static void cancel_what_waits(uint32_t lba_bytes, uint32_t ios, enum blk_op op, unsigned nr, uint32_t nlb, unsigned held)
{
    struct rig r;
    uint32_t healthy = hang_one(&r, lba_bytes, ios);

    for (unsigned i = 0; i < nr; i++)
        start(&r, op, i % (COLD / 2) * 8, nlb);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_eq(count_answered(0, nr), 0);
    for (unsigned i = 0; i < nr; i++)
        blk_cancel(&r.vol.blk, &reqs[i].io);
    cr_assert_eq(count_answered(0, nr), 0, "never from inside the call");
    sim_run_for(r.sim, 10 * NS_PER_MS);
    cr_assert_eq(count(0, nr, -FIRN_E_CANCELED), nr - held, "%u of %u", count(0, nr, -FIRN_E_CANCELED), nr);
    cr_assert_eq(count_answered(0, nr), nr - held);
    cr_assert_eq(r.shard->stats.read_errors, 0);
    others_go_on(&r, healthy);
    heal_and_finish(&r);
    cr_assert_eq(count(0, nr, 0), held);
}

Test(hang, reads_that_wait_for_a_request_can_be_called_back) { cancel_what_waits(4096, 0, BLK_READ, 1100, 8, 768); }
Test(hang, reads_of_parts_that_wait_for_a_buffer_can_be_called_back) { cancel_what_waits(512, 0, BLK_READ, 100, 1, 48); }
Test(hang, zeroes_of_parts_that_wait_for_a_buffer_can_be_called_back)
{
    cancel_what_waits(512, 0, BLK_WRITE_ZEROES, 100, 1, COLD / 2); /* others wait for the range of one that is caught */
}

Test(hang, reads_that_wait_for_a_run_can_be_called_back)
{
    struct rig r;
    uint32_t healthy = hang_one(&r, 4096, 16);
    unsigned nr = 10;

    for (uint32_t i = COLD; i < 2 * COLD; i += 2)
        map_remove(r.shard, index_find(&r.shard->ix, 1, i));
    for (unsigned i = 0; i < nr; i++)
        start(&r, BLK_READ, (COLD + i % 2 * 2) * 8, 20 * 8); /* ten runs of the device each: 48 are the share */
    sim_run_for(r.sim, NS_PER_S);
    for (unsigned i = 0; i < nr; i++)
        blk_cancel(&r.vol.blk, &reqs[i].io);
    sim_run_for(r.sim, 10 * NS_PER_MS);
    cr_assert_eq(count(0, nr, -FIRN_E_CANCELED), nr - 5, "the fifth has runs in the device's hands");
    others_go_on(&r, healthy);
    heal_and_finish(&r);
    cr_assert_eq(count(0, 5, 0), 4);
    cr_assert_eq(reqs[4].io.err, -FIRN_E_CANCELED);
}

/* ---- a healthy device ---- */

Test(hang, what_waits_for_a_share_of_a_healthy_device_is_served_in_order)
{
    struct rig r;
    uint16_t dev;

    hang_one(&r, 512, 16);
    dev = device_of(&r, 0);
    sim_disk_heal(r.hdd[dev]);
    for (unsigned i = 0; i < 3000; i++)
        start(&r, BLK_READ, i % COLD * 8 + i % 8, 8 - i % 8);
    while (count_answered(0, nr_reqs) < nr_reqs) {
        unsigned first = 0, last = nr_reqs;

        while (reqs[first].answers != 0)
            first++;
        while (last > 0 && reqs[last - 1].answers == 0)
            last--;
        cr_assert(last < first || last - first < 32, "%u waits, %u is answered", first, last - 1);
        sim_run_for(r.sim, 5 * NS_PER_MS);
        cr_assert_lt(sim_now_ns(r.sim), 1000 * NS_PER_S);
    }
    cr_assert_eq(count(0, nr_reqs, 0), nr_reqs);
    heal_and_finish(&r);
}

/* ---- at any time ---- */

/* How many were called back in time, and how many failed. */
static void at_random(uint32_t lba_bytes, unsigned seed, unsigned *canceled, unsigned *failed)
{
    static const enum blk_op ops[] = {BLK_READ, BLK_READ, BLK_READ, BLK_WRITE, BLK_WRITE, BLK_WRITE_ZEROES};
    uint32_t unit = lba_bytes / 512, healthy;
    struct rig r;
    uint16_t dev;

    srand(seed);
    healthy = hang_one(&r, lba_bytes, 4 + (uint32_t)rand() % 60);
    dev = device_of(&r, 0);
    r.shard->t.dirty_start_pct = 0; /* what is written becomes cold again soon */
    for (unsigned i = 0; i < 3000; i++) {
        enum blk_op op = ops[rand() % 6];
        uint64_t extent = rand() % 3 ? 0 : healthy, lba = (uint64_t)rand() % ((op == BLK_READ ? 2 * COLD : 12) * 8);
        uint32_t nlb = 1 + (uint32_t)rand() % (rand() % 4 ? 12u : 100u);

        start(&r, op, ROUND_DOWN(extent * 256 * 8 + lba, (uint64_t)unit), MAX(ROUND_DOWN(nlb, unit), unit));
        for (unsigned k = rand() % 2 ? 0 : 5; k > 0; k--) {
            struct req *q = &reqs[nr_reqs - 1 - (unsigned)rand() % MIN(nr_reqs, 100u)];

            if (q->answers == 0)
                blk_cancel(&r.vol.blk, &q->io);
        }
        if (rand() % 8 == 0)
            sim_disk_faults(r.hdd[dev])->hung = rand() % 3 ? 1000000 : 0;
        if (rand() % 8 == 0)
            drop_log_copies(&r, (uint32_t)extent, 2 * COLD);
        if (rand() % 10 == 0)
            sim_run_for(r.sim, (uint64_t)rand() % (10 * NS_PER_MS));
        if (rand() % 300 == 0)
            sim_run_for(r.sim, (uint64_t)rand() % 60000 * NS_PER_MS);
        if (rand() % 200 == 0)
            sim_disk_heal(r.hdd[dev]);
    }
    shard_verify(r.shard);
    heal_and_finish(&r);
    cr_assert_gt(count(0, nr_reqs, 0), 100);
    *canceled += count(0, nr_reqs, -FIRN_E_CANCELED);
    *failed += count(0, nr_reqs, -FIRN_E_DEVICE_FAILED);
}

Test(hang, at_any_time_everything_is_answered_and_given_back)
{
    unsigned canceled[2] = {0, 0}, failed[2] = {0, 0};

    for (unsigned seed = 1; seed <= 10; seed++) {
        at_random(4096, seed, &canceled[0], &failed[0]);
        at_random(512, seed, &canceled[1], &failed[1]);
    }
    for (unsigned i = 0; i < 2; i++)
        cr_assert(canceled[i] > 100 && failed[i] > 100, "%u were called back, %u failed", canceled[i], failed[i]);
}
