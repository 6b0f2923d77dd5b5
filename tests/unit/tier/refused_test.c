/* SPDX-License-Identifier: Apache-2.0 */
/* A capacity device that refuses writes, or never answers (B13): what it holds up, and where data goes instead. */
#include "rig.h"

static _Alignas(4096) char buf[8 * BLOCK_BYTES];

Test(refused, a_device_that_refuses_writes_is_left)
{
    struct rig r;
    struct extent_place p;

    rig_init(&r, &(struct rig_opts){.seed = 8});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 30, 1), 0);
    rig_drain(&r, true);
    p = rig_extent(&r, 0)->place;
    sim_disk_fail_nth(r.hdd[p.dev], DEV_WRITE, 1, UINT32_MAX);
    cr_assert_eq(rig_write(&r, 20, 20, 2), 0);
    rig_drain(&r, true);
    cr_assert_neq(rig_extent(&r, 0)->place.dev, p.dev);
    cr_assert_eq(rig_used(&r), 1, "the old place was given back");
    rig_restart(&r);
    rig_expect(&r, 0, 20, 1);
    rig_expect(&r, 20, 20, 2);
    rig_fini(&r);
}

/* One refused write, and the other device has no room for all: what is new settles on the first one all the same. */
Test(refused, a_device_that_refused_a_write_is_used_again_when_the_others_are_full)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 10, .hdd_extents = 2});
    cr_assert_eq(rig_boot(&r), 0);
    sim_disk_fail_nth(r.hdd[0], DEV_WRITE, 1, 1);
    for (uint32_t i = 0; i < 2 * RIG_HDDS; i++) {
        cr_assert_eq(rig_write(&r, i * 256, 30, 1), 0);
        rig_drain(&r, true);
    }
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    cr_assert_eq(rig_used(&r), 2 * RIG_HDDS);
    rig_restart(&r);
    for (uint32_t i = 0; i < 2 * RIG_HDDS; i++)
        rig_expect(&r, i * 256, 30, 1);
    rig_fini(&r);
}

/* A rotten clean copy in the log is no damage when the extent moves to another device: the old place has the block. */
Test(refused, a_rotten_clean_copy_damages_nothing_that_moves_to_another_device)
{
    struct extent_place p;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 16});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 10, 1), 0);
    rig_drain(&r, true);
    p = rig_extent(&r, 0)->place;
    cr_assert_eq(rig_write(&r, 2, 1, 2), 0);
    sim_disk_rot(r.ssd, rig_log_offset(&r, 4) + 512);
    sim_disk_fail_nth(r.hdd[p.dev], DEV_WRITE, 1, UINT32_MAX);
    rig_drain(&r, true);
    cr_assert_neq(rig_extent(&r, 0)->place.dev, p.dev);
    rig_expect(&r, 0, 2, 1);
    rig_expect(&r, 2, 1, 2);
    rig_expect(&r, 3, 7, 1);
    rig_fini(&r);
}

static struct blk_io hung_io[400];
static unsigned hung_done, hung_failed;

static void hung_answer(struct blk_io *io)
{
    hung_done++;
    hung_failed += io->err == -FIRN_E_DEVICE_FAILED;
    cr_assert(io->err == 0 || io->err == -FIRN_E_DEVICE_FAILED);
}

/* Extents 0, 2, 4, .. 14, not neighbours, so that they lie on both devices by turns. */
static uint16_t settle_on_both(struct rig *r, unsigned per_dev[RIG_HDDS])
{
    memset(per_dev, 0, RIG_HDDS * sizeof(per_dev[0]));
    for (uint64_t e = 0; e < 16; e += 2)
        cr_assert_eq(rig_write(r, e * 256, 8, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    for (uint32_t e = 0; e < 16; e += 2)
        per_dev[rig_extent(r, e)->place.dev]++;
    cr_assert_gt(per_dev[0], 1);
    cr_assert_gt(per_dev[1], 1);
    return rig_extent(r, 0)->place.dev;
}

static void write_behind(struct rig *r, unsigned i, uint64_t lba)
{
    static struct iovec iov;

    iov = (struct iovec){buf, 8 * BLOCK_BYTES};
    hung_io[i] = (struct blk_io){.op = BLK_WRITE, .lba = lba, .nlb = 8, .iov = &iov, .iovcnt = 1, .cb = hung_answer};
    blk_submit(&r->vol.blk, &hung_io[i]);
}

static bool lies_on(const struct rig *r, uint32_t e, uint16_t dev)
{
    uint32_t x = extent_find(&r->shard->xt, 1, e);

    return x != EXTENT_NONE && extent_at(&r->shard->xt, x)->place.dev == dev;
}

/* More than the whole log may hold, to the extents of one device. */
static void overload(struct rig *r, uint16_t dev)
{
    unsigned i = 0;

    hung_done = hung_failed = 0;
    rig_fill(r, buf, 0, 8, 9);
    for (uint64_t at = 0; i < ARRAY_LEN(hung_io); at = (at + 8) % 256)
        for (uint32_t e = 0; e < 16 && i < ARRAY_LEN(hung_io); e += 2)
            if (lies_on(r, e, dev))
                write_behind(r, i++, e * 256 + at);
}

/* All that does not lie on the device is written whole, several times; how many extents that were. */
static unsigned others_go_on(struct rig *r, uint16_t hung, uint64_t stamp)
{
    unsigned nr = 0;

    for (uint64_t i = 0; i < 96; i++)
        for (uint32_t e = 0; e < 16; e++)
            if (!lies_on(r, e, hung)) {
                cr_assert_eq(rig_write(r, e * 256 + (i * 8) % 256, 8, stamp), 0);
                nr++;
            }
    return nr / 96;
}

Test(refused, a_device_that_hangs_stops_only_what_lies_on_it)
{
    unsigned per_dev[RIG_HDDS];
    struct rig r;
    uint16_t hung;
    uint64_t began;

    rig_init(&r, &(struct rig_opts){.seed = 26, .hdd_extents = 24, .volume_blocks = 16 * 256});
    cr_assert_eq(rig_boot(&r), 0);
    hung = settle_on_both(&r, per_dev);
    sim_disk_faults(r.hdd[hung])->hung = 1000000;
    overload(&r, hung);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_lt(hung_done, ARRAY_LEN(hung_io), "its share is full");
    began = sim_now_ns(r.sim);
    cr_assert_gt(others_go_on(&r, hung, 5), per_dev[1 - hung]);
    cr_assert_lt(sim_now_ns(r.sim) - began, 25 * NS_PER_S, "before anybody calls it hung");
    sim_run_for(r.sim, 40 * NS_PER_S);
    cr_assert_eq(hung_done, ARRAY_LEN(hung_io), "past the deadline what waits is answered");
    cr_assert_gt(hung_failed, 0);
    cr_assert_geq(others_go_on(&r, hung, 6), per_dev[1 - hung] + 7, "and new extents go to the other device");
    shard_verify(r.shard);
    cr_assert(shard_degraded(r.shard, hung));
    rig_expect(&r, 0, 8, 9); /* what was acknowledged is in the log */
    sim_disk_heal(r.hdd[hung]);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    cr_assert_not(r.shard->hung[hung]);
    rig_restart(&r);
    rig_expect(&r, 0, 8, 9);
    rig_fini(&r);
}
