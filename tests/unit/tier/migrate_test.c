/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_test.c: a shard over a disk that seeks and flash: hot extents go to flash, cold ones leave it, and no byte changes. */
#include "tier/mover.h"
#include "rig.h"

#define BLOCKS  8192u            /* 32 extents, 8 cells of heat */
#define HDD     0
#define FLASH   1
#define MINUTE  (60 * NS_PER_S)
#define STAMP   9u

static void boot_with(struct rig *r, uint64_t seed, const struct tier_opts *t)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .segments = 24, .segment_bytes = 1 << 20, .hdd_extents = 64,
                                   .volume_blocks = BLOCKS, .flash = true});
    r->opts = *t;
    cr_assert_eq(rig_boot(r), 0);
}

static void boot(struct rig *r, uint64_t seed) { boot_with(r, seed, &(struct tier_opts){0}); }

static uint64_t on(const struct rig *r, uint16_t dev)
{
    uint64_t total, used;

    cold_usage(r->cold, dev, &total, &used);
    return used;
}

static void wait_for(struct rig *r, uint64_t ns)
{
    sim_run_for(r->sim, ns);
    shard_verify(r->shard);
}

/* Streamed: no heat that counts. */
static void load(struct rig *r)
{
    for (uint32_t b = 0; b < BLOCKS; b += 64)
        cr_assert_eq(rig_write(r, b, 64, STAMP), 0);
    rig_drain(r, true);
    shard_start(r->shard);
}

static void expect_all(struct rig *r)
{
    for (uint32_t b = 0; b < BLOCKS; b += 64)
        rig_expect(r, b, 64, STAMP);
}

/* Reads of 4 KiB all over these extents. */
static void warm(struct rig *r, uint32_t first, uint32_t nr, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++)
        for (uint32_t e = first; e < first + nr; e += HEAT_CELL_EXTENTS)
            rig_expect(r, e * EXTENT_BLOCKS + i % EXTENT_BLOCKS, 1, STAMP);
}

Test(migrate, what_is_streamed_begins_on_the_disk, .timeout = 60)
{
    struct rig r;

    boot(&r, 1);
    load(&r);
    cr_assert_eq(on(&r, HDD), 32);
    cr_assert_eq(on(&r, FLASH), 0);
    rig_fini(&r);
}

Test(migrate, what_is_hot_goes_to_flash_and_stays, .timeout = 60)
{
    struct rig r;

    boot(&r, 2);
    load(&r);
    warm(&r, 0, 8, 20);
    wait_for(&r, 3 * MINUTE);
    cr_assert_eq(on(&r, FLASH), 8);
    cr_assert_eq(on(&r, HDD), 24, "its old places were given back");
    cr_assert_eq(rig_extent(&r, 7)->place.dev, FLASH);
    cr_assert_eq(rig_extent(&r, 8)->place.dev, HDD);
    cr_assert_eq(shard_stats(r.shard)->migrate_up_blocks, 8 * EXTENT_BLOCKS);
    wait_for(&r, 2 * 3600 * NS_PER_S);
    cr_assert_eq(shard_stats(r.shard)->migrate_up_blocks, 8 * EXTENT_BLOCKS);
    cr_assert_eq(shard_stats(r.shard)->migrate_down_blocks, 0);
    expect_all(&r);
    rig_restart(&r);
    cr_assert_eq(on(&r, FLASH), 8);
    expect_all(&r);
    rig_fini(&r);
}

Test(migrate, what_cools_down_leaves_flash, .timeout = 60)
{
    struct rig r;

    boot_with(&r, 3, &(struct tier_opts){.heat_half_life_ns = 60 * NS_PER_S}); /* of use: 24 minutes */
    load(&r);
    warm(&r, 4, 4, 20);
    wait_for(&r, 3 * MINUTE);
    cr_assert_eq(on(&r, FLASH), 4);
    wait_for(&r, 3 * 3600 * NS_PER_S);
    cr_assert_eq(on(&r, FLASH), 0);
    cr_assert_eq(shard_stats(r.shard)->migrate_down_blocks, 4 * EXTENT_BLOCKS);
    expect_all(&r);
    rig_fini(&r);
}

Test(migrate, a_volume_says_where_it_wants_to_be, .timeout = 60)
{
    struct rig r;

    boot(&r, 4);
    load(&r);
    shard_set_tier(r.shard, &r.vol, VOLUME_SSD);
    wait_for(&r, 10 * NS_PER_S);
    cr_assert_eq(on(&r, FLASH), 32);
    shard_set_tier(r.shard, &r.vol, VOLUME_HDD);
    wait_for(&r, 10 * NS_PER_S);
    cr_assert_eq(on(&r, FLASH), 0);
    expect_all(&r);
    rig_fini(&r);
}

Test(migrate, new_extents_begin_where_they_belong, .timeout = 60)
{
    struct rig r;

    boot(&r, 5);
    for (uint32_t i = 0; i < 20; i++)
        cr_assert_eq(rig_write(&r, i, 1, STAMP), 0);
    cr_assert_eq(rig_write(&r, 2048, 64, STAMP), 0);
    wait_for(&r, 61 * NS_PER_S); /* it had a place before it was hot */
    rig_drain(&r, true);
    cr_assert_eq(shard_stats(r.shard)->migrate_up_blocks, 0);
    cr_assert_eq(rig_extent(&r, 0)->place.dev, FLASH, "written in small requests");
    cr_assert_eq(rig_extent(&r, 8)->place.dev, HDD);
    r.vol.tier = VOLUME_HDD;
    for (uint32_t i = 0; i < 20; i++)
        cr_assert_eq(rig_write(&r, 4096 + i, 1, STAMP), 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_extent(&r, 16)->place.dev, HDD);
    r.vol.tier = VOLUME_SSD;
    cr_assert_eq(rig_write(&r, 5120, 64, STAMP), 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_extent(&r, 20)->place.dev, FLASH);
    rig_fini(&r);
}

Test(migrate, no_faster_than_it_may, .timeout = 60)
{
    struct rig r;
    uint64_t blocks;

    boot_with(&r, 6, &(struct tier_opts){.migrate_rate = 100000}); /* an extent in ten seconds */
    load(&r);
    warm(&r, 0, 32, 20);
    wait_for(&r, 61 * NS_PER_S + MINUTE);
    blocks = shard_stats(r.shard)->migrate_up_blocks;
    cr_assert_geq(blocks, EXTENT_BLOCKS);
    cr_assert_leq(blocks, 16 * EXTENT_BLOCKS);
    rig_fini(&r);
    boot_with(&r, 6, &(struct tier_opts){.migrate_rate = TIER_MIGRATE_OFF});
    load(&r);
    warm(&r, 0, 32, 20);
    wait_for(&r, 10 * MINUTE);
    cr_assert_eq(on(&r, FLASH), 0);
    rig_fini(&r);
}

Test(migrate, what_was_written_meanwhile_comes_along, .timeout = 60)
{
    struct rig r;

    boot(&r, 7);
    load(&r);
    for (uint32_t i = 0; i < 40; i++) /* dirty, hot, and below what is destaged by itself */
        cr_assert_eq(rig_write(&r, 3 + 7 * i % 200, 1, 100 + i), 0);
    wait_for(&r, 3 * MINUTE);
    cr_assert_eq(rig_extent(&r, 0)->place.dev, FLASH);
    cr_assert_eq(rig_extent(&r, 0)->nr_dirty, 0);
    for (uint32_t i = 0; i < 40; i++)
        rig_expect(&r, 3 + 7 * i % 200, 1, 100 + i);
    rig_fini(&r);
}

/* A crash at any event of a migration: every block reads as written, and places are nobody's or somebody's. */
Test(migrate, crashes_anywhere_change_nothing, .timeout = 120)
{
    for (uint64_t at = 1; at < 400; at += 3) {
        struct rig r;
        uint64_t used;

        boot(&r, 1000 + at);
        load(&r);
        warm(&r, 0, 8, 8);
        cr_assert_eq(rig_write(&r, 5, 2, STAMP), 0);
        sim_run_for(r.sim, MINUTE - NS_PER_S);
        sim_crash_in_events(r.sim, at);
        sim_run_for(r.sim, 5 * NS_PER_S);
        sim_crash_in_events(r.sim, 0);
        rig_restart(&r);
        used = rig_used(&r);
        cr_assert_eq(used, 32, "crash at %lu: %lu places", (unsigned long)at, (unsigned long)used);
        expect_all(&r);
        shard_verify(r.shard);
        rig_fini(&r);
    }
}

Test(migrate, a_rotten_block_keeps_its_extent_where_it_is, .timeout = 60)
{
    static char buf[BLOCK_BYTES];
    struct rig r;

    boot(&r, 8);
    load(&r);
    warm(&r, 0, 4, 20);
    sim_disk_rot(r.hdd[HDD], cold_offset(r.cold, rig_extent(&r, 1)->place) + 200 * BLOCK_BYTES);
    wait_for(&r, 10 * MINUTE);
    cr_assert_eq(on(&r, FLASH), 3);
    cr_assert_eq(rig_extent(&r, 1)->place.dev, HDD);
    cr_assert_eq(shard_stats(r.shard)->migrate_errors, 1, "not again and again");
    cr_assert_neq(rig_read(&r, EXTENT_BLOCKS + 200, 1, buf), 0);
    sim_disk_heal(r.hdd[HDD]);
    rig_expect(&r, EXTENT_BLOCKS + 200, 1, STAMP);
    rig_fini(&r);
}

Test(migrate, flash_that_refuses_writes_is_left_alone, .timeout = 60)
{
    struct rig r;

    boot(&r, 9);
    load(&r);
    warm(&r, 0, 4, 20);
    sim_disk_fail_nth(r.hdd[FLASH], DEV_WRITE, 1, UINT32_MAX);
    wait_for(&r, 10 * MINUTE);
    cr_assert_eq(on(&r, FLASH), 0);
    cr_assert_eq(on(&r, HDD), 32);
    expect_all(&r);
    rig_fini(&r);
}

Test(migrate, a_busy_disk_gives_an_extent_a_second, .timeout = 60)
{
    struct rig r;
    uint64_t from;

    boot(&r, 10);
    load(&r);
    warm(&r, 0, 8, 20);
    from = sim_now_ns(r.sim);
    for (uint32_t i = 0; sim_now_ns(r.sim) < from + 90 * NS_PER_S; i++) { /* one after the other: never 20 ms of silence */
        rig_expect(&r, 4096 + i * 67 % 4096, 1, STAMP);
        sim_run_for(r.sim, NS_PER_MS);
    }
    cr_assert_geq(on(&r, FLASH), 8);
    rig_fini(&r);
}

/* More than a list holds wants to move, and there is no room. */
Test(migrate, a_full_pool_moves_nothing_and_rests, .timeout = 60)
{
    uint64_t events;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 12, .segments = 24, .segment_bytes = 1 << 20, .hdd_extents = 310,
                                    .volume_blocks = 610 * EXTENT_BLOCKS, .flash = true});
    cr_assert_eq(rig_boot(&r), 0);
    r.vol.tier = VOLUME_HDD;
    for (uint32_t b = 0; b < 610 * EXTENT_BLOCKS; b += 64)
        cr_assert_eq(rig_write(&r, b, 64, STAMP), 0);
    rig_drain(&r, true);
    shard_start(r.shard);
    cr_assert_eq(on(&r, HDD) + on(&r, FLASH), 610);
    shard_set_tier(r.shard, &r.vol, VOLUME_SSD);
    wait_for(&r, 30 * NS_PER_S);
    events = sim_events_run(r.sim);
    wait_for(&r, 60 * NS_PER_S);
    cr_assert_lt(sim_events_run(r.sim) - events, 1000);
    cr_assert_leq(on(&r, FLASH), 310 * PLACEMENT_NEW_PCT / 100);
    rig_expect(&r, 100 * EXTENT_BLOCKS, 64, STAMP);
    rig_fini(&r);
}

/* The disk does not answer what a migration reads: the flash's own lane goes on, and all of it ends when the disk is back. */
Test(migrate, a_disk_that_hangs_keeps_its_extents_and_nobody_else, .timeout = 60)
{
    struct rig r;

    boot_with(&r, 13, &(struct tier_opts){.dirty_start_pct = 1});
    load(&r);
    warm(&r, 28, 4, 20);
    wait_for(&r, 3 * MINUTE);
    cr_assert_eq(rig_extent(&r, 28)->place.dev, FLASH);
    warm(&r, 0, 4, 20);
    sim_disk_faults(r.hdd[HDD])->hung = 1000000;
    sim_run_for(r.sim, 61 * NS_PER_S);
    cr_assert(mover_busy(r.shard), "it waits");
    for (uint32_t b = 0; b < 2 * EXTENT_BLOCKS; b += 8)
        cr_assert_eq(rig_write(&r, 28 * EXTENT_BLOCKS + b, 8, STAMP), 0);
    sim_run_for(r.sim, 10 * NS_PER_S);
    cr_assert(mover_busy(r.shard), "still");
    cr_assert_lt(rig_extent(&r, 28)->nr_dirty + rig_extent(&r, 29)->nr_dirty, EXTENT_BLOCKS, "destaged");
    sim_disk_heal(r.hdd[HDD]);
    wait_for(&r, 5 * MINUTE);
    cr_assert_eq(on(&r, FLASH), 8);
    expect_all(&r);
    rig_fini(&r);
}

Test(migrate, heat_that_is_lost_empties_no_flash, .timeout = 60)
{
    struct rig r;

    boot(&r, 11);
    load(&r);
    warm(&r, 0, 8, 20);
    wait_for(&r, 5 * MINUTE);
    cr_assert_eq(on(&r, FLASH), 8);
    rig_stop(&r);
    cr_assert_gt(sim_meta_drop(r.store, 'T'), 0);
    cr_assert_eq(rig_boot(&r), 0);
    wait_for(&r, 30 * MINUTE);
    cr_assert_eq(on(&r, FLASH), 8, "for an hour nothing is called cold");
    expect_all(&r);
    wait_for(&r, 3 * 3600 * NS_PER_S);
    cr_assert_eq(on(&r, FLASH), 0);
    expect_all(&r);
    rig_fini(&r);
}

static bool hdd_clean(void *ctx) { return ((struct rig *)ctx)->shard->dev_dirty[HDD] == 0; }

/* What is read there to be moved counts for mover.bandwidth, and destage shares that. */
Test(migrate, a_budget_that_migration_could_use_up_leaves_some_to_destage, .timeout = 60)
{
    const struct turn *t;
    struct rig r;

    boot_with(&r, 14, &(struct tier_opts){.dirty_start_pct = 1, .mover_bandwidth = MIB});
    load(&r);
    t = &r.turns.dev[HDD];
    warm(&r, 0, 28, 20);
    for (int i = 0; i < 600 && on(&r, FLASH) < 2; i++)
        wait_for(&r, NS_PER_S);
    for (uint32_t b = 0; b < EXTENT_BLOCKS; b += 64)
        cr_assert_eq(rig_write(&r, 30 * EXTENT_BLOCKS + b, 64, STAMP), 0);
    r.shard->t.dirty_max_pct = 1; /* as much as there is */
    cr_assert_eq(sim_run_until(r.sim, hdd_clean, &r, 10 * NS_PER_S), 0);
    cr_assert_lt(on(&r, FLASH), 28, "migration is not over");
    cr_assert_leq(t->not_before_ns, sim_now_ns(r.sim) + 6 * NS_PER_S);
    wait_for(&r, 2 * MINUTE);
    cr_assert_eq(on(&r, FLASH), 28);
    expect_all(&r);
    rig_fini(&r);
}
