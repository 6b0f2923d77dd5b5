/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that fail, crawl or are full while clean copies lie in places on the SSD (faults.md B9, B10, B11, C4, C5). */
#include "tier/fetch.h"
#include "tier/map.h"
#include "tier/places.h"
#include "copies.h"

#define VOLUME 1536u             /* blocks: six extents, all of which are cold */
#define COPIED 512u              /* of the first ones the SSD has copies */
#define RUN    CHUNK_BLOCKS

/* Stamp 1, cold, nothing of it in the log; copies as far as there is room. */
static void begin(struct rig *r, uint32_t segments, uint32_t hdd_extents)
{
    rig_init(r, &(struct rig_opts){.seed = 17, .hdd_extents = hdd_extents, .volume_blocks = VOLUME + 512, .segments = segments});
    r->opts.admit_touches = 1;
    cr_assert_eq(rig_boot(r), 0);
    for (uint64_t b = 0; b < VOLUME; b += 32)
        cr_assert_eq(rig_write(r, b, 32, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    copies_drop_log(r);
    for (unsigned round = 0; round < 20 && copies_nr(r) < COPIED / 2; round++) {
        copies_make(r, 0, COPIED, 1);
        sim_run_for(r->sim, NS_PER_S);
    }
    cr_assert_geq(copies_nr(r), COPIED / 2);
}

/* ---- the SSD: the n-th request fails ---- */

static const uint32_t nth[] = {1, 2, 3, 5, 8, 13, 21};

static void ssd_read_fails(uint32_t n, uint32_t count)
{
    struct rig r;

    begin(&r, 24, 16);
    sim_disk_fail_nth(r.ssd, DEV_READ, n, count);
    for (unsigned round = 0; round < 2; round++)
        copies_expect(&r, 0, VOLUME, 1);
    cr_assert_eq(shard_stats(r.shard)->read_errors, 0);
    cr_assert_geq(shard_stats(r.shard)->slots_stale, 1);
    rig_places_settle(&r);
    shard_verify(r.shard);
    sim_disk_heal(r.ssd);
    rig_restart(&r);
    copies_expect(&r, 0, VOLUME, 1);
    rig_fini(&r);
}

Test(places_faults, a_copy_that_cannot_be_read_costs_nobody_an_error, .timeout = 120)
{
    for (size_t i = 0; i < ARRAY_LEN(nth); i++) {
        ssd_read_fails(nth[i], 1);
        ssd_read_fails(nth[i], UINT32_MAX);
    }
}

/* Whatever it was: a copy, a page of a table, the header of a segment, or the log. */
static void ssd_write_fails(uint32_t n, uint32_t count)
{
    uint8_t acked[COPIED / RUN] = {0};
    struct rig r;

    begin(&r, 24, 16);
    sim_disk_fail_nth(r.ssd, DEV_WRITE, n, count);
    for (uint64_t b = 0; b < COPIED; b += 4 * RUN)
        acked[b / RUN] = rig_write(&r, b + VOLUME / 2, RUN, 2) == 0;
    for (uint64_t b = 0; b < VOLUME / 2; b += RUN)
        rig_expect(&r, b, RUN, 1);
    sim_run_for(r.sim, 60 * NS_PER_S);
    for (uint64_t b = 0; b < VOLUME / 2; b += RUN)
        rig_expect(&r, b, RUN, 1);
    cr_assert_eq(shard_stats(r.shard)->read_errors, 0);
    rig_crash(&r);
    sim_disk_heal(r.ssd);
    cr_assert_eq(rig_boot(&r), 0);
    copies_expect(&r, 0, VOLUME / 2, 1);
    for (uint64_t b = 0; b < COPIED; b += RUN)
        if (acked[b / RUN])
            rig_expect(&r, b + VOLUME / 2, RUN, 2);
        else if (b % (4 * RUN) != 0)
            rig_expect(&r, b + VOLUME / 2, RUN, 1);
    shard_verify(r.shard);
    rig_fini(&r);
}

Test(places_faults, an_ssd_that_refuses_any_write_loses_nothing, .timeout = 120)
{
    for (size_t i = 0; i < ARRAY_LEN(nth); i++) {
        ssd_write_fails(nth[i], 1);
        ssd_write_fails(nth[i], UINT32_MAX);
    }
}

/* ---- capacity devices that fail in the middle of a destage ---- */

#define DIRTY_PER 18u            /* blocks of an extent that make_dirt() writes */

/* Beside copies, and so that holes lie between, which the log or the device would bridge. */
static void make_dirt(struct rig *r)
{
    for (uint64_t b = 0; b < VOLUME; b += EXTENT_BLOCKS) {
        cr_assert_eq(rig_write(r, b + 8, 16, 2), 0);
        cr_assert_eq(rig_write(r, b + 30, 2, 2), 0);
    }
}

static void expect_dirt(struct rig *r)
{
    for (uint64_t b = 0; b < VOLUME; b += EXTENT_BLOCKS) {
        rig_expect(r, b, 8, 1);
        rig_expect(r, b + 8, 16, 2);
        rig_expect(r, b + 24, 6, 1);
        rig_expect(r, b + 30, 2, 2);
        copies_expect(r, b + 32, b + EXTENT_BLOCKS, 1);
    }
}

/* Of one device, or of both. */
static void destage_fails(enum dev_op op, uint32_t n, uint32_t count, uint32_t devs)
{
    bool drained = false;
    struct rig r;

    begin(&r, 24, 16);
    make_dirt(&r);
    for (uint32_t d = 0; d < devs; d++)
        sim_disk_fail_nth(r.hdd[d], op, n, count);
    shard_drain(r.shard, true, rig_set, &drained);
    (void)sim_run_until(r.sim, rig_is_set, &drained, 60 * NS_PER_S);
    if (n == 1 && count == UINT32_MAX && devs == RIG_HDDS)
        cr_assert(!drained && r.shard->ix.nr_dirty >= VOLUME / EXTENT_BLOCKS * DIRTY_PER, "what has not settled is dirty");
    if (n == 1 && count == UINT32_MAX && devs == 1)
        for (uint32_t e = 0; e < VOLUME / EXTENT_BLOCKS; e++)
            cr_assert(drained && rig_extent(&r, e)->place.dev == 1, "it settles where there is room");
    expect_dirt(&r);
    cr_assert_eq(shard_stats(r.shard)->read_errors, 0);
    for (uint32_t d = 0; d < devs; d++)
        sim_disk_heal(r.hdd[d]);
    if (op != DEV_FLUSH || devs < RIG_HDDS) { /* a flush that failed is final until the next start */
        cr_assert_eq(sim_run_until(r.sim, rig_is_set, &drained, 100 * NS_PER_S), 0,
                     "request %u, %u times, %u devices: %lu blocks stay dirty", n, count, devs, (unsigned long)r.shard->ix.nr_dirty);
        expect_dirt(&r);
    }
    shard_verify(r.shard);
    rig_restart(&r);
    expect_dirt(&r);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    expect_dirt(&r);
    rig_fini(&r);
}

static void destages_fail(enum dev_op op)
{
    for (size_t i = 0; i < 4; i++)
        for (uint32_t devs = 1; devs <= RIG_HDDS; devs++) {
            destage_fails(op, nth[i], 1, devs);
            destage_fails(op, nth[i], UINT32_MAX, devs);
        }
}

Test(places_faults, an_hdd_that_refuses_writes_in_mid_destage_costs_nothing, .timeout = 180) { destages_fail(DEV_WRITE); }
Test(places_faults, an_hdd_that_cannot_flush_in_mid_destage_costs_nothing, .timeout = 180) { destages_fail(DEV_FLUSH); }

/* ---- C4: the SSD is full of what is dirty, and the disks take seconds for each request ---- */

struct late { struct blk_io io; struct iovec iov; char *buf; bool done; };
static void late_done(struct blk_io *io) { ((struct late *)io->ctx)->done = true; }

static unsigned nr_done(const struct late *l, unsigned nr)
{
    unsigned n = 0;

    for (unsigned i = 0; i < nr; i++)
        n += l[i].done;
    return n;
}

static void reads_of_copies_go_on(struct rig *r)
{
    unsigned nr = 0;

    for (uint64_t b = 0; b < COPIED; b++) {
        uint32_t id = index_find(&r->shard->ix, 1, b);
        uint64_t began = sim_now_ns(r->sim);

        if (id == INDEX_NONE || !in_place(r->shard, id))
            continue;
        rig_expect(r, b, 1, 1);
        cr_assert_lt(sim_now_ns(r->sim) - began, NS_PER_S / 100);
        nr++;
    }
    cr_assert_gt(nr, 0);
}

Test(places_faults, dirt_that_fills_the_ssd_before_slow_disks_waits_and_reads_go_on, .timeout = 120)
{
    enum { WRITES = 128, PER = (VOLUME - COPIED) / RUN };
    static struct late w[WRITES];
    struct rig r;

    begin(&r, 24, 16);
    for (unsigned i = 0; i < 32 && segpool_free_nr(r.segpool) > 0; i++) { /* copies have all that is free */
        (void)journal_slots_open(r.shard->j, 0);
        sim_run_for(r.sim, NS_PER_S / 100);
    }
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_faults(r.hdd[d])->stalled = 1000000;
    for (unsigned i = 0; i < WRITES; i++) {
        uint64_t block = COPIED + i % PER * RUN;

        w[i] = (struct late){.buf = aligned_alloc(BLOCK_BYTES, RUN * BLOCK_BYTES)};
        rig_fill(&r, w[i].buf, block, RUN, 2);
        w[i].iov = (struct iovec){w[i].buf, RUN * BLOCK_BYTES};
        w[i].io = (struct blk_io){.op = BLK_WRITE, .lba = block, .nlb = RUN, .iov = &w[i].iov, .iovcnt = 1, .cb = late_done,
                                  .ctx = &w[i]};
        blk_submit(&r.vol.blk, &w[i].io);
    }
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_lt(nr_done(w, WRITES), WRITES, "they wait");
    cr_assert_gt(shard_stats(r.shard)->write_waits, 0);
    reads_of_copies_go_on(&r);
    cr_assert_lt(nr_done(w, WRITES), WRITES, "they wait still");
    for (unsigned i = 0; i < WRITES; i++)
        cr_assert_eq(sim_run_until(r.sim, rig_is_set, &w[i].done, 10000 * NS_PER_S), 0, "%u of %u are answered",
                     nr_done(w, WRITES), WRITES);
    for (unsigned i = 0; i < WRITES; i++) {
        cr_assert_eq(w[i].io.err, 0);
        free(w[i].buf);
    }
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_faults(r.hdd[d])->stalled = 0;
    copies_expect(&r, 0, COPIED, 1);
    copies_expect(&r, COPIED, VOLUME, 2);
    shard_verify(r.shard);
    rig_restart(&r);
    copies_expect(&r, 0, COPIED, 1);
    copies_expect(&r, COPIED, VOLUME, 2);
    rig_fini(&r);
}

/* ---- C5: no room for another extent ---- */

Test(places_faults, in_a_full_pool_copies_neither_hinder_nor_come_back, .timeout = 120)
{
    struct rig r;

    begin(&r, 24, VOLUME / EXTENT_BLOCKS / RIG_HDDS);
    cr_assert_eq(rig_write(&r, VOLUME, RUN, 3), -FIRN_E_NO_SPACE);
    cr_assert_eq(rig_write(&r, 0, RUN, 2), 0);
    rig_expect(&r, 0, RUN, 2);
    for (uint64_t b = EXTENT_BLOCKS; b < 2 * EXTENT_BLOCKS; b += RUN)
        cr_assert_eq(rig_zero(&r, b, RUN), 0); /* the second extent, whose blocks have copies */
    rig_drain(&r, true);
    shard_start(r.shard);
    cr_assert_eq(rig_write(&r, VOLUME, RUN, 3), 0, "there is room again");
    rig_drain(&r, true);
    shard_start(r.shard);
    for (unsigned boot = 0; boot < 2; boot++) {
        rig_expect(&r, 0, RUN, 2);
        copies_expect(&r, RUN, EXTENT_BLOCKS, 1);
        copies_expect(&r, EXTENT_BLOCKS, 2 * EXTENT_BLOCKS, 0);
        copies_expect(&r, 2 * EXTENT_BLOCKS, VOLUME, 1);
        rig_expect(&r, VOLUME, RUN, 3);
        copies_expect(&r, VOLUME + RUN, VOLUME + EXTENT_BLOCKS, 0);
        shard_verify(r.shard);
        if (boot == 0)
            rig_restart(&r);
    }
    rig_fini(&r);
}
