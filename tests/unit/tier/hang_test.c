/* SPDX-License-Identifier: Apache-2.0 */
/* Reads that are caught in a device which hangs: what they hold, and who waits for it. */
#include "rig.h"

static char buf[256 * BLOCK_BYTES] __attribute__((aligned(4096)));

static uint32_t node_of(const struct rig *r, uint32_t extent) { return extent_find(&r->shard->xt, 1, extent); }
static uint16_t device_of(const struct rig *r, uint32_t extent) { return extent_at(&r->shard->xt, node_of(r, extent))->place.dev; }

/* Reclaim would do the same one day: only the device has the extent's first blocks now. */
static void drop_log_copies(struct rig *r, uint32_t extent, uint32_t nblocks)
{
    for (uint32_t i = 0; i < nblocks; i++) {
        uint32_t id = index_find(&r->shard->ix, 1, (uint64_t)extent * EXTENT_BLOCKS + i);

        if (id != INDEX_NONE)
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

static bool is_over(void *ctx) { return *(bool *)ctx; }

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
    cr_assert_eq(sim_run_until(r.sim, is_over, &read_over, 100 * NS_PER_S), 0);
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
