/* SPDX-License-Identifier: Apache-2.0 */
/* Clean copies on devices of their own: where they go, what a start finds of them, and what hosts see when one fails: nothing. */
#include <errno.h>

#include "tier/fetch.h"
#include "tier/map.h"
#include "tier/places.h"
#include "tier/twin.h"
#include "copies.h"

#define VOLUME 768u              /* blocks: three extents */

/* Nothing of the volume is left in the log, or in RAM. */
static void forget(struct rig *r)
{
    copies_drop_log(r);
    for (uint32_t no = 0; no < VOLUME / EXTENT_BLOCKS; no++)
        fetch_forget_extent(r->shard, extent_find(&r->shard->xt, 1, no));
}

static void make_cold(struct rig *r, uint64_t from, uint64_t to, uint64_t stamp)
{
    for (uint64_t b = from; b < to; b += 32)
        cr_assert_eq(rig_write(r, b, 32, stamp), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    forget(r);
}

/* Areas are numbered from 1 in the order of the devices that are there. */
static uint32_t nr_copies(const struct rig *r, uint32_t area)
{
    uint32_t nr = 0;

    for (uint64_t b = 0; b < VOLUME; b++) {
        uint32_t id = index_find(&r->shard->ix, 1, b);

        if (id != INDEX_NONE && in_place(r->shard, id))
            nr += segpool_at(r->segpool, id / r->shard->ix.slots_per_segment).area == area;
    }
    return nr;
}

/* What was written first is in the log no more. */
static void wrap_log(struct rig *r)
{
    for (unsigned round = 0; round < 10; round++)
        make_cold(r, 640, VOLUME, 1);
}

static uint64_t hdd_reads(const struct rig *r)
{
    return r->hdd_dev[0]->stats.ops[DEV_READ] + r->hdd_dev[1]->stats.ops[DEV_READ];
}

static void begin(struct rig *r, uint32_t caches)
{
    rig_init(r, &(struct rig_opts){.seed = 17, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = 16, .caches = caches,
                                   .cache_segments = 20});
    r->opts.admit_touches = 1;
    r->opts.io_deadline_ns = NS_PER_S;
    cr_assert_eq(rig_boot(r), 0);
    make_cold(r, 0, VOLUME, 1);
    if (r->cache_absent != (1u << caches) - 1) /* the first segment of each device is opened by those that come too early */
        for (unsigned i = 0; i < 4; i++, forget(r))
            copies_make(r, VOLUME - 64, VOLUME, 1);
}

static void finish(struct rig *r)
{
    rig_drain(r, true);
    cr_assert(!places_busy(r->shard) && r->shard->places.nr_lent == 0 && r->shard->stage.nr_out == 0);
    rig_fini(r);
}

Test(places_dev, copies_go_there_and_the_log_keeps_the_journals_device_to_itself)
{
    struct rig r;
    uint64_t reads;
    uint32_t used;

    begin(&r, 2);
    copies_make(&r, 0, 640, 1);
    cr_assert_geq(nr_copies(&r, 1) + nr_copies(&r, 2), 600);
    cr_assert_gt(nr_copies(&r, 1), 100);
    cr_assert_gt(nr_copies(&r, 2), 100);
    for (uint32_t g = 0; g < r.shard->log_segments; g++)
        cr_assert_neq(r.shard->seg[g].use, SEGMENT_SLOTS);
    used = nr_copies(&r, 1) + nr_copies(&r, 2);
    reads = hdd_reads(&r);
    copies_expect(&r, 0, 512, 1);
    cr_assert_leq(hdd_reads(&r) - reads, (512 - MIN(used, 512u)) / 16 + 2);
    finish(&r);
}

Test(places_dev, a_start_finds_what_an_orderly_stop_left)
{
    struct rig r;
    uint64_t reads;
    uint32_t was;

    begin(&r, 2);
    copies_make(&r, 0, 640, 1);
    wrap_log(&r);
    was = nr_copies(&r, 1) + nr_copies(&r, 2);
    cr_assert_geq(was, 600);
    rig_stop(&r);
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(nr_copies(&r, 1) + nr_copies(&r, 2), was);
    cr_assert_eq(shard_stats(r.shard)->slots_found, was);
    reads = hdd_reads(&r);
    copies_expect(&r, 0, 256, 1);
    cr_assert_eq(hdd_reads(&r), reads);
    finish(&r);
}

/* Some of what it holds is old by then, all of it looks right. */
Test(places_dev, a_device_that_was_away_brings_back_only_what_is_still_true)
{
    struct rig r;

    begin(&r, 2);
    copies_make(&r, 0, 640, 1);
    rig_stop(&r);
    r.cache_absent = 3;
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(r.shard->places.slots.nr_places, 0);
    make_cold(&r, 0, 128, 2);
    copies_make(&r, 0, 128, 2);
    cr_assert_eq(r.shard->places.slots.nr_places, 0, "nor does the journal's device serve instead");
    rig_stop(&r);
    r.cache_absent = 1;
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_gt(nr_copies(&r, 1), 50);
    copies_expect(&r, 0, 128, 2);
    copies_expect(&r, 128, VOLUME, 1);
    rig_stop(&r);
    r.cache_absent = 0;
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_gt(nr_copies(&r, 1), 50);
    copies_expect(&r, 0, 128, 2);
    copies_expect(&r, 128, VOLUME, 1);
    finish(&r);
}

Test(places_dev, one_that_cannot_be_read_any_more_is_given_up_and_nobody_notices)
{
    struct rig r;
    uint64_t errors;

    begin(&r, 2);
    copies_make(&r, 0, 640, 1);
    sim_disk_faults(r.cache[0])->eio_read = 1000000;
    forget(&r);
    copies_expect(&r, 0, 640, 1);
    cr_assert(r.shard->places.area[1].off);
    cr_assert(segpool_area_is_off(r.segpool, 1) && !segpool_area_is_off(r.segpool, 2));
    errors = r.cache_dev[0]->stats.errors[DEV_READ];
    cr_assert_leq(errors, 16 + 16, "and then nothing is read there");
    cr_assert_gt(nr_copies(&r, 2), 100);
    sim_run_for(r.sim, 10 * NS_PER_S);
    cr_assert_eq(nr_copies(&r, 1), 0);
    for (uint32_t g = 0; g < r.shard->twin_segment; g++)
        if (segpool_at(r.segpool, g).area == 1)
            cr_assert_neq(r.shard->seg[g].use, SEGMENT_SLOTS);
    forget(&r);
    copies_make(&r, 0, 640, 1);
    cr_assert_eq(r.cache_dev[0]->stats.errors[DEV_READ], errors);
    cr_assert_eq(nr_copies(&r, 1), 0, "what it held goes to the other one");
    cr_assert_gt(nr_copies(&r, 2), 500);
    shard_verify(r.shard);
    finish(&r);
}

Test(places_dev, one_that_takes_no_copy_any_more_is_given_up_and_used_again_after_a_start)
{
    struct rig r;

    begin(&r, 1);
    copies_make(&r, 0, 128, 1);
    sim_disk_fail_nth(r.cache[0], DEV_WRITE, 1, UINT32_MAX);
    copies_make(&r, 128, 640, 1);
    cr_assert(r.shard->places.area[1].off);
    copies_expect(&r, 0, VOLUME, 1);
    cr_assert_eq(rig_write(&r, 0, 16, 2), 0);
    rig_expect(&r, 0, 16, 2);
    sim_run_for(r.sim, 10 * NS_PER_S);
    cr_assert_eq(r.shard->places.slots.nr_places, 0);
    rig_stop(&r);
    sim_disk_heal(r.cache[0]);
    cr_assert_eq(rig_boot(&r), 0);
    copies_make(&r, 128, 640, 1);
    copies_make(&r, 128, 640, 1);
    cr_assert_gt(nr_copies(&r, 1), 300);
    rig_expect(&r, 0, 16, 2);
    finish(&r);
}

/* A segment that it had just been asked for comes after that: it is not used, and copies do not wait for it. */
Test(places_dev, one_that_is_given_up_while_a_segment_is_opened_there_hinders_no_copy)
{
    struct rig r;

    begin(&r, 2);
    while (journal_slots_open(r.shard->j, 0))
        ;
    places_write_failed(r.shard, r.shard->log_segments, -EIO);
    sim_run_for(r.sim, 10 * NS_PER_S);
    for (uint32_t g = 0; g < r.shard->twin_segment; g++)
        if (segpool_at(r.segpool, g).area == 1)
            cr_assert_neq(r.shard->seg[g].use, SEGMENT_SLOTS);
    copies_make(&r, 0, 640, 1);
    cr_assert_eq(nr_copies(&r, 1), 0);
    cr_assert_gt(nr_copies(&r, 2), 500);
    shard_verify(r.shard);
    finish(&r);
}

/* Errors of single spots: those copies go, the device stays. */
Test(places_dev, bad_spots_cost_their_copies_alone)
{
    struct rig r;
    uint64_t stale;

    begin(&r, 1);
    copies_make(&r, 0, 256, 1);
    for (uint64_t b = 0; b < 8; b++) {
        uint32_t id = index_find(&r.shard->ix, 1, b * 30), per = r.shard->ix.slots_per_segment;

        cr_assert(id != INDEX_NONE && in_place(r.shard, id));
        sim_disk_latent(r.cache[0], segpool_offset(r.segpool, id / per, (uint64_t)(id % per) * BLOCK_BYTES), 512);
    }
    forget(&r);
    stale = shard_stats(r.shard)->slots_stale;
    copies_expect(&r, 0, 256, 1);
    cr_assert_geq(shard_stats(r.shard)->slots_stale - stale, 8);
    cr_assert_not(r.shard->places.area[1].off);
    cr_assert_gt(nr_copies(&r, 1), 100);
    finish(&r);
}

static bool ended_flag;
/* The one request that is caught in it waits; what comes later does not go there. */
Test(places_dev, one_that_hangs_is_passed_by)
{
    static char buf[16 * BLOCK_BYTES] __attribute__((aligned(4096)));
    struct iovec iov = {buf, sizeof(buf)};
    struct blk_io io = {.op = BLK_READ, .nlb = 16, .iov = &iov, .iovcnt = 1, .cb = rig_ended, .ctx = &ended_flag};
    struct rig r;

    begin(&r, 1);
    copies_make(&r, 0, 256, 1);
    forget(&r);
    sim_disk_faults(r.cache[0])->hung = 1000000;
    blk_submit(&r.vol.blk, &io);
    sim_run_for(r.sim, 2 * NS_PER_S);
    cr_assert_not(ended_flag);
    copies_expect(&r, 16, VOLUME, 1);
    cr_assert_not(r.shard->places.area[1].off);
    sim_disk_heal(r.cache[0]);
    sim_run_for(r.sim, 2 * NS_PER_S);
    cr_assert(ended_flag);
    cr_assert_eq(io.err, 0);
    copies_make(&r, 256, 512, 1);
    cr_assert_gt(nr_copies(&r, 1), 200);
    finish(&r);
}

/* It dies while a start reads what it says of itself. */
Test(places_dev, a_start_goes_on_without_one_that_fails_meanwhile)
{
    struct rig r;
    uint32_t used = 0;

    begin(&r, 2);
    copies_make(&r, 0, 640, 1);
    for (uint32_t g = 0; g < r.shard->twin_segment; g++)
        used += segpool_at(r.segpool, g).area == 1 && r.shard->seg[g].use == SEGMENT_SLOTS;
    cr_assert_geq(used, 3);
    rig_stop(&r);
    sim_disk_fail_nth(r.cache[0], DEV_READ, used + 3 * (20 - used) + 2, UINT32_MAX); /* after all headers, empty ones thrice, and a table */
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert(r.shard->places.area[1].off);
    cr_assert_gt(nr_copies(&r, 2), 100);
    copies_expect(&r, 0, VOLUME, 1);
    sim_run_for(r.sim, 10 * NS_PER_S);
    cr_assert_eq(nr_copies(&r, 1), 0);
    finish(&r);
}

static struct env_timer hang_timer;
static struct rig *hang_rig;
static bool hang_known;          /* another shard has waited for it */

/* Once the headers of its segments have been read. */
static void hang(struct env_timer *t)
{
    struct rig *r = hang_rig;

    if (r->shard == NULL) {
        env_timer_arm(r->env, t, env_now_ns(r->env) + 10 * NS_PER_US);
        return;
    }
    r->cache_dev[0]->patience_ns = NS_PER_S;
    sim_disk_faults(r->cache[0])->hung = 1000000;
    if (hang_known)
        segpool_area_off(r->segpool, 1);
}

static void hang_soon(struct rig *r)
{
    hang_rig = r;
    hang_timer = (struct env_timer){.fn = hang};
    env_timer_arm(r->env, &hang_timer, env_now_ns(r->env));
}

static uint64_t boot_beside_one_that_hangs(struct rig *r, bool known)
{
    uint64_t began;

    begin(r, 2);
    copies_make(r, 0, 160, 1); /* few tables, so that errors are not many */
    cr_assert_gt(nr_copies(r, 1), 50);
    rig_stop(r);
    r->on_meta = hang_soon;
    hang_known = known;
    began = sim_now_ns(r->sim);
    cr_assert_eq(rig_boot(r), 0);
    r->on_meta = NULL;
    began = sim_now_ns(r->sim) - began;
    cr_assert_eq(sim_disk_faults(r->cache[0])->hung, 1000000);
    cr_assert_eq(nr_copies(r, 1), 0);
    cr_assert_gt(nr_copies(r, 2), 50);
    copies_expect(r, 0, VOLUME, 1);
    return began;
}

Test(places_dev, a_start_waits_once_for_one_that_hangs_meanwhile)
{
    struct rig r;

    cr_assert_geq(boot_beside_one_that_hangs(&r, false), NS_PER_S);
    cr_assert(segpool_area_is_off(r.segpool, 1), "no other shard waits for it");
    sim_disk_heal(r.cache[0]);
    sim_run_for(r.sim, NS_PER_S);
    finish(&r);
}

Test(places_dev, nor_does_a_shard_wait_for_one_that_another_has_waited_for)
{
    struct rig r;

    cr_assert_lt(boot_beside_one_that_hangs(&r, true), NS_PER_S);
    cr_assert_eq(r.cache_dev[0]->stats.in_flight, 0, "it was not asked");
    sim_disk_heal(r.cache[0]);
    finish(&r);
}

/* It begins to hang when nothing but its tables is left to be written. */
static void stop_beside_one_that_hangs(uint32_t turns, uint64_t patience_ns, uint64_t waits_ns)
{
    struct rig r;
    uint64_t began;

    begin(&r, 2);
    copies_make(&r, 0, 640, 1);
    cr_assert(nr_copies(&r, 1) > 100 && nr_copies(&r, 2) > 100);
    rig_drain(&r, false);
    for (unsigned i = 0; i < 2; i++)
        r.cache_dev[i]->patience_ns = patience_ns;
    sim_disk_faults(r.cache[0])->hung = 1000000;
    began = sim_now_ns(r.sim);
    cr_assert_eq(shard_stop(r.shard, turns), 0);
    cr_assert_geq(sim_now_ns(r.sim) - began, waits_ns);
    cr_assert_leq(sim_now_ns(r.sim) - began, waits_ns + NS_PER_S / 10, "once");
    cr_assert_eq(r.cache_dev[0]->stats.in_flight, 1);
    cr_assert(r.shard->places.area[1].off && !r.shard->places.area[2].off);
    sim_disk_heal(r.cache[0]);
    cr_assert_eq(sim_run_for(r.sim, NS_PER_S), 0);
    rig_restart(&r);
    cr_assert_gt(nr_copies(&r, 2), 100, "the other one's tables were written");
    copies_expect(&r, 0, VOLUME, 1);
    finish(&r);
}

Test(places_dev, a_stop_waits_once_for_one_that_hangs) { stop_beside_one_that_hangs(1, NS_PER_S, NS_PER_S); }
Test(places_dev, nor_does_it_wait_for_as_long_as_a_request_may_take) { stop_beside_one_that_hangs(1, 30 * NS_PER_S, 2 * NS_PER_S); }
Test(places_dev, nor_is_that_taken_from_the_others_time) { stop_beside_one_that_hangs(64, 30 * NS_PER_S, 2 * NS_PER_S); }

/* One of 64 shards that stop one after the other has 78 ms of the 5 s. */
Test(places_dev, nor_does_each_shard_of_a_thread_write_about_copies_for_as_long_as_one_alone)
{
    static const struct { uint32_t turns; uint64_t from_ns, to_ns; } t[] = {{1, 150 * NS_PER_MS, 5 * NS_PER_S},
                                                                            {64, 78 * NS_PER_MS, 130 * NS_PER_MS}};

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct rig r;
        uint64_t took;

        begin(&r, 2);
        copies_make(&r, 0, 640, 1);
        rig_drain(&r, false);
        for (unsigned c = 0; c < 2; c++)
            sim_disk_faults(r.cache[c])->delayed = 1000000; /* 1 to 50 ms */
        took = sim_now_ns(r.sim);
        cr_assert_eq(shard_stop(r.shard, t[i].turns), 0);
        took = sim_now_ns(r.sim) - took;
        cr_assert(took >= t[i].from_ns && took <= t[i].to_ns, "%llu ms", (unsigned long long)(took / NS_PER_MS));
        for (unsigned c = 0; c < 2; c++)
            sim_disk_heal(r.cache[c]);
        rig_restart(&r);
        copies_expect(&r, 0, VOLUME, 1);
        finish(&r);
    }
}
