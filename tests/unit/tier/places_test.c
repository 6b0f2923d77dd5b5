/* SPDX-License-Identifier: Apache-2.0 */
/* Clean copies in places: how they come, what they never show, how they go, and what a start finds of them. */
#include "tier/fetch.h"
#include "tier/fill.h"
#include "tier/map.h"
#include "tier/places.h"
#include "tier/sums.h"
#include "rig.h"

#define VOLUME 1536u             /* blocks: six extents */

static char buf[64 * BLOCK_BYTES] __attribute__((aligned(4096)));

static void ended(struct blk_io *io) { *(bool *)io->ctx = true; }
static bool filling(void *ctx) { return fill_busy(((struct rig *)ctx)->shard); }

static void expect_all(struct rig *r, uint64_t from, uint64_t to, uint64_t stamp)
{
    for (uint64_t b = from; b < to; b += 16)
        rig_expect(r, b, 16, stamp);
}

static void drop_log_copies(struct rig *r)
{
    for (uint64_t b = 0; b < VOLUME; b++) {
        uint32_t id = index_find(&r->shard->ix, 1, b);

        if (id != INDEX_NONE && !(index_flags_of(&r->shard->ix, id) & INDEX_DIRTY))
            map_remove(r->shard, id);
    }
}

static bool lies_in_place(const struct rig *r, uint64_t block)
{
    uint32_t id = index_find(&r->shard->ix, 1, block);

    return id != INDEX_NONE && in_place(r->shard, id);
}

static uint32_t nr_in_places(const struct rig *r)
{
    uint32_t nr = 0;

    for (uint64_t b = 0; b < VOLUME; b++)
        nr += lies_in_place(r, b);
    return nr;
}

static uint64_t device_reads(const struct rig *r)
{
    return r->hdd_dev[0]->stats.ops[DEV_READ] + r->hdd_dev[1]->stats.ops[DEV_READ];
}

/* The volume is cold, of stamp 1, and whatever is read is copied; one segment is open for that. */
static void begin_with(struct rig *r, uint32_t segments, uint32_t cache_segments)
{
    rig_init(r, &(struct rig_opts){.seed = 91, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = segments,
                                   .caches = cache_segments > 0, .cache_segments = cache_segments});
    r->opts.admit_touches = 1;
    cr_assert_eq(rig_boot(r), 0);
    for (uint64_t b = 0; b < VOLUME; b += 32)
        cr_assert_eq(rig_write(r, b, 32, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    drop_log_copies(r);
    for (unsigned i = 0; i < 100 && r->shard->places.slots.nr_places == 0; i++) {
        rig_expect(r, VOLUME - 16, 16, 1); /* asks for a segment; what RAM has of it goes again */
        sim_run_for(r->sim, NS_PER_S);
        fetch_forget_extent(r->shard, extent_find(&r->shard->xt, 1, VOLUME / EXTENT_BLOCKS - 1));
    }
    cr_assert_gt(r->shard->places.slots.nr_places, 0);
}

static void begin(struct rig *r, uint32_t segments) { begin_with(r, segments, 0); }

/* Each chunk is missed, and none belongs to a stream. */
static void copy_blocks(struct rig *r, uint64_t from, uint64_t to)
{
    uint64_t nr = (to - from) / 16;

    for (uint64_t i = 0; i < nr; i++) {
        uint64_t block = from + i * 5 % nr * 16;

        rig_expect(r, block, 16, 1);
        rig_places_settle(r);
        fetch_forget_extent(r->shard, extent_find(&r->shard->xt, 1, extent_no(block)));
    }
}

static void finish(struct rig *r)
{
    rig_drain(r, true);
    cr_assert(!places_busy(r->shard) && r->shard->places.nr_lent == 0 && r->shard->stage.nr_out == 0);
    rig_fini(r);
}

Test(places, what_is_worth_it_is_read_from_the_ssd_next_time)
{
    struct rig r;
    uint64_t before, hits;

    begin(&r, 64);
    copy_blocks(&r, 0, 16);
    cr_assert_eq(nr_in_places(&r), 16);
    cr_assert_eq(stage_find(&r.shard->stage, extent_find(&r.shard->xt, 1, 0), 3), STAGE_NONE, "the frame has done its duty");
    before = device_reads(&r);
    hits = shard_stats(r.shard)->slot_hit_blocks;
    rig_expect(&r, 0, 16, 1);
    cr_assert_eq(device_reads(&r), before);
    cr_assert_eq(shard_stats(r.shard)->slot_hit_blocks - hits, 16);
    finish(&r);
}

/* The same again for a write, a zero of some blocks and one of a whole extent, while the copy is on its way. */
static void change_during_fill(enum blk_op op, uint32_t nlb, uint64_t stamp, bool at_its_end)
{
    static char data[16 * BLOCK_BYTES] __attribute__((aligned(4096)));
    struct iovec iov = {data, sizeof(data)};
    bool done = false;
    struct blk_io io = {.op = op, .lba = 0, .nlb = nlb, .cb = ended, .ctx = &done};
    struct rig r;

    begin(&r, 64);
    if (op == BLK_WRITE) {
        rig_fill(&r, data, 0, nlb, stamp);
        io.iov = &iov;
        io.iovcnt = 1;
    }
    rig_expect(&r, 0, 16, 1);
    cr_assert(fill_busy(r.shard));
    if (at_its_end)
        rig_places_settle(&r);
    blk_submit(&r.vol.blk, &io);
    cr_assert_eq(sim_run_until(r.sim, rig_is_set, &done, 100 * NS_PER_S), 0);
    cr_assert_eq(io.err, 0);
    rig_places_settle(&r);
    rig_expect(&r, 0, 16, stamp);
    for (uint64_t b = 0; b < 16; b++)
        cr_assert_not(lies_in_place(&r, b));
    shard_verify(r.shard);
    rig_drain(&r, true);
    rig_expect(&r, 0, 16, stamp);
    rig_restart(&r);
    rig_expect(&r, 0, 16, stamp);
    finish(&r);
}

Test(places, what_is_written_while_it_is_copied_stays_new) { change_during_fill(BLK_WRITE, 16, 2, false); }
Test(places, what_is_written_after_it_was_copied_is_new) { change_during_fill(BLK_WRITE, 16, 2, true); }
Test(places, what_is_zeroed_while_it_is_copied_stays_zero) { change_during_fill(BLK_WRITE_ZEROES, 16, 0, false); }
Test(places, what_is_zeroed_after_it_was_copied_is_zero) { change_during_fill(BLK_WRITE_ZEROES, 16, 0, true); }
Test(places, an_extent_that_is_zeroed_while_it_is_copied_stays_zero) { change_during_fill(BLK_DISCARD, 256, 0, false); }
Test(places, an_extent_that_is_zeroed_after_it_was_copied_is_zero) { change_during_fill(BLK_DISCARD, 256, 0, true); }

Test(places, a_copy_of_what_the_map_has_not_any_more_is_given_up)
{
    struct rig r;

    begin(&r, 64);
    rig_expect(&r, 0, 16, 1);
    cr_assert(fill_busy(r.shard));
    for (uint32_t i = 0; i < 16; i += 2)
        fetch_forget(r.shard, extent_find(&r.shard->xt, 1, 0), i);
    rig_places_settle(&r);
    for (uint64_t b = 0; b < 16; b++)
        cr_assert_eq(lies_in_place(&r, b), b % 2 != 0);
    cr_assert_geq(shard_stats(r.shard)->fill_dropped, 8);
    shard_verify(r.shard);
    finish(&r);
}

static void no_errors(const struct rig *r)
{
    const struct tier_stats *st = shard_stats(r->shard);

    cr_assert(st->read_errors == 0 && st->csum_errors_ssd == 0 && st->csum_errors_hdd == 0);
}

Test(places, rot_in_a_copy_costs_nobody_an_error)
{
    struct rig r;

    begin(&r, 64);
    copy_blocks(&r, 0, 32);
    memset(buf, 0xd1, BLOCK_BYTES);
    sim_disk_poke(r.ssd, rig_log_offset(&r, 5), buf, BLOCK_BYTES);
    sim_disk_latent(r.ssd, rig_log_offset(&r, 20), 512);
    rig_expect(&r, 0, 16, 1);
    rig_expect(&r, 16, 16, 1);
    cr_assert_geq(shard_stats(r.shard)->slots_stale, 2);
    no_errors(&r);
    cr_assert_not(lies_in_place(&r, 20), "a place that cannot be read has to be asked for");
    rig_places_settle(&r);
    rig_expect(&r, 0, 32, 1);
    shard_verify(r.shard);
    finish(&r);
}

Test(places, a_rotten_copy_is_dropped_and_written_anew)
{
    struct rig r;
    uint64_t before, fills;

    begin(&r, 64);
    copy_blocks(&r, 0, 16);
    memset(buf, 0xd1, BLOCK_BYTES);
    for (uint64_t b = 3; b < 16; b += 4)
        sim_disk_poke(r.ssd, rig_log_offset(&r, b), buf, BLOCK_BYTES);
    fills = shard_stats(r.shard)->fill_blocks;
    rig_expect(&r, 0, 16, 1);
    cr_assert_eq(shard_stats(r.shard)->slots_stale, 4);
    rig_places_settle(&r);
    cr_assert_eq(nr_in_places(&r), 16);
    cr_assert_eq(shard_stats(r.shard)->fill_blocks - fills, 4, "what was not rotten stays where it is");
    before = device_reads(&r);
    rig_expect(&r, 0, 16, 1);
    cr_assert_eq(device_reads(&r), before);
    cr_assert_eq(shard_stats(r.shard)->slots_stale, 4);
    no_errors(&r);
    finish(&r);
}

/* The copy is found rotten, and while the device is asked the block is written: what is written wins. */
Test(places, a_rotten_copy_of_what_is_written_meanwhile_is_not_written_anew)
{
    static char data[BLOCK_BYTES] __attribute__((aligned(4096)));
    struct iovec in = {buf, BLOCK_BYTES}, out = {data, BLOCK_BYTES};
    bool read = false, written = false;
    struct blk_io rio = {.op = BLK_READ, .lba = 5, .nlb = 1, .iov = &in, .iovcnt = 1, .cb = ended, .ctx = &read};
    struct blk_io wio = {.op = BLK_WRITE, .lba = 5, .nlb = 1, .iov = &out, .iovcnt = 1, .cb = ended, .ctx = &written};
    struct rig r;
    uint64_t fills;

    begin(&r, 64);
    copy_blocks(&r, 0, 16);
    memset(buf, 0xd1, BLOCK_BYTES);
    sim_disk_poke(r.ssd, rig_log_offset(&r, 5), buf, BLOCK_BYTES);
    fills = shard_stats(r.shard)->fill_blocks;
    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_faults(r.hdd[d])->delayed = 1000000;
    blk_submit(&r.vol.blk, &rio);
    while (shard_stats(r.shard)->slots_stale == 0)
        cr_assert_eq(sim_step(r.sim), 0);
    rig_fill(&r, data, 5, 1, 2);
    blk_submit(&r.vol.blk, &wio);
    cr_assert_eq(sim_run_until(r.sim, rig_is_set, &written, 100 * NS_PER_S), 0);
    cr_assert_not(read, "the device is slower than the log");
    cr_assert_eq(sim_run_until(r.sim, rig_is_set, &read, 100 * NS_PER_S), 0);
    rig_places_settle(&r);
    cr_assert(rio.err == 0 && wio.err == 0);
    cr_assert_eq(shard_stats(r.shard)->fill_blocks, fills);
    rig_expect(&r, 5, 1, 2);
    shard_verify(r.shard);
    finish(&r);
}

/* B14: the whole SSD is gone. Hosts do not notice, as far as the capacity devices have what they read. */
Test(places, an_ssd_that_is_gone_costs_no_read_of_what_is_clean)
{
    struct rig r;

    begin(&r, 64);
    copy_blocks(&r, 0, 64);
    cr_assert_eq(nr_in_places(&r), 64);
    sim_disk_faults(r.ssd)->gone = true;
    expect_all(&r, 0, VOLUME, 1);
    expect_all(&r, 0, 64, 1);
    no_errors(&r);
    cr_assert_lt(rig_write(&r, 0, 1, 2), 0);
    rig_crash(&r);
    sim_disk_heal(r.ssd);
    cr_assert_eq(rig_boot(&r), 0);
    expect_all(&r, 16, VOLUME, 1);
    rig_fini(&r);
}

Test(places, copies_are_evicted_for_others)
{
    struct rig r;

    begin(&r, 12); /* twelve segments of sixty-odd places, most of them the log's reserve */
    for (unsigned round = 0; round < 3; round++)
        copy_blocks(&r, 0, VOLUME);
    cr_assert_gt(shard_stats(r.shard)->evicted_unread + shard_stats(r.shard)->evicted_read, 100);
    shard_verify(r.shard);
    expect_all(&r, 0, VOLUME, 1);
    finish(&r);
}

static void drop_copies(struct rig *r, uint64_t nr)
{
    for (uint32_t id = 0; id < r->shard->ix.nr_phys && nr > 0; id++)
        if (in_place(r->shard, id) && index_slot_used(&r->shard->ix, id)) {
            places_drop(r->shard, id);
            nr--;
        }
    cr_assert_eq(nr, 0);
}

Test(places, copies_displace_each_other_from_the_first_time_on_until_a_quarter_of_the_cache_is_free)
{
    struct rig r;
    uint64_t cache;

    begin_with(&r, 32, 12);
    cache = r.shard->places.admit.blocks;
    copy_blocks(&r, 0, 32);
    cr_assert_not(r.shard->places.admit.full);
    for (unsigned round = 0; round < 2; round++)
        copy_blocks(&r, 0, VOLUME);
    cr_assert(r.shard->places.admit.full);
    drop_copies(&r, cache / 8);
    copy_blocks(&r, 0, 16); /* perhaps it is there still */
    copy_blocks(&r, VOLUME / 2, VOLUME / 2 + 16);
    cr_assert(r.shard->places.admit.full && slots_have_free(&r.shard->places.slots));
    drop_copies(&r, cache / 2);
    for (unsigned round = 0; round < 3; round++) /* the guard asks for more misses by now */
        copy_blocks(&r, 0, 64);
    cr_assert_not(r.shard->places.admit.full);
    finish(&r);
}

Test(places, while_the_log_has_most_of_the_cache_a_few_free_places_change_nothing)
{
    struct rig r;

    begin(&r, 12);
    for (unsigned round = 0; round < 3; round++)
        copy_blocks(&r, 0, VOLUME);
    cr_assert(r.shard->places.admit.full);
    cr_assert_lt(places_base(r.shard), r.shard->places.admit.blocks / 4);
    drop_copies(&r, r.shard->places.slots.nr_used);
    for (unsigned round = 0; round < 4; round++) /* the guard asks for more misses by now */
        copy_blocks(&r, 0, 16);
    cr_assert_gt(r.shard->places.slots.nr_used, 0);
    cr_assert(r.shard->places.admit.full);
    finish(&r);
}

Test(places, the_log_gets_segments_back_when_it_needs_them)
{
    struct rig r;
    uint64_t places;

    begin(&r, 24);
    for (unsigned round = 0; round < 2; round++)
        copy_blocks(&r, 0, VOLUME);
    places = r.shard->places.slots.nr_places;
    cr_assert_gt(places, 180);
    for (uint64_t i = 0; i < 48; i++) /* more than is free, and destage has no time */
        cr_assert_eq(rig_write(&r, i * 16, 16, 2), 0);
    cr_assert_lt(r.shard->places.slots.nr_places, places);
    expect_all(&r, 0, 48 * 16, 2);
    shard_verify(r.shard);
    finish(&r);
}

Test(places, nothing_of_a_volume_for_the_hdd_is_copied)
{
    struct rig r;
    uint64_t had;

    begin(&r, 16);
    had = shard_stats(r.shard)->fill_blocks;
    shard_set_tier(r.shard, &r.vol, VOLUME_HDD);
    for (unsigned round = 0; round < 3; round++)
        copy_blocks(&r, 0, 256);
    cr_assert_eq(shard_stats(r.shard)->fill_blocks, had);
    shard_set_tier(r.shard, &r.vol, VOLUME_AUTO);
    for (unsigned round = 0; round < 3; round++)
        copy_blocks(&r, 0, 256);
    cr_assert_gt(shard_stats(r.shard)->fill_blocks, had);
    finish(&r);
}

static void restart_finds(bool orderly)
{
    struct rig r;
    uint64_t before;
    uint32_t had;

    begin(&r, 16); /* the log has long forgotten the first extents */
    for (unsigned round = 0; round < 20 && nr_in_places(&r) < 200; round++)
        copy_blocks(&r, 0, 256);
    had = nr_in_places(&r);
    cr_assert_geq(had, 200);
    if (!orderly) {
        sim_run_for(r.sim, 100 * NS_PER_S); /* old pages are written when nobody wants the device */
        cr_assert_eq(dev_flush_sync(r.ssd_dev), 0); /* as it does by itself, some time */
    }
    if (orderly) {
        rig_stop(&r);
        cr_assert_eq(rig_boot(&r), 0);
    } else {
        rig_restart(&r);
    }
    cr_assert_geq(shard_stats(r.shard)->slots_found * 10, had * 9u);
    cr_assert_eq(shard_stats(r.shard)->slots_found, nr_in_places(&r));
    shard_verify(r.shard);
    before = device_reads(&r);
    expect_all(&r, 0, 256, 1);
    cr_assert_leq(device_reads(&r) - before, 256u - had);
    cr_assert_eq(shard_stats(r.shard)->slots_stale, 0);
    finish(&r);
}

Test(places, a_stop_leaves_them_for_the_next_start) { restart_finds(true); }
Test(places, a_crash_leaves_what_the_tables_say) { restart_finds(false); }

Test(places, what_was_written_since_the_table_was_is_not_found)
{
    struct rig r;

    begin(&r, 16);
    copy_blocks(&r, 0, 64);
    copy_blocks(&r, 0, 64);
    sim_run_for(r.sim, 100 * NS_PER_S);
    cr_assert_eq(dev_flush_sync(r.ssd_dev), 0);
    for (uint64_t b = 0; b < 32; b += 16)
        cr_assert_eq(rig_write(&r, b, 16, 2), 0);
    rig_drain(&r, true);
    shard_start(r.shard);
    cr_assert_eq(rig_write(&r, 32, 16, 3), 0); /* and this is in the log alone */
    rig_restart(&r);
    for (uint64_t b = 0; b < 48; b++)
        cr_assert_not(lies_in_place(&r, b));
    cr_assert(lies_in_place(&r, 48));
    expect_all(&r, 0, 32, 2);
    expect_all(&r, 32, 48, 3);
    expect_all(&r, 48, 64, 1);
    finish(&r);
}

static uint32_t nr_slot_segments(const struct rig *r)
{
    uint32_t nr = 0;

    for (uint32_t g = 0; g < r->o.segments; g++) {
        struct segment_info info;

        segpool_info(r->segpool, g, &info);
        cr_assert_eq(info.use == SEGMENT_SLOTS, r->shard->seg[g].use == SEGMENT_SLOTS);
        nr += info.use == SEGMENT_SLOTS;
    }
    return nr;
}

static uint64_t slow_from_ns;

/* From here on every request to the SSD takes a second or more. */
static void slow_down(struct rig *r)
{
    sim_disk_faults(r->ssd)->stalled = 1000000;
    slow_from_ns = env_now_ns(r->env);
}

static void restart_slowly(bool unreadable)
{
    uint32_t had, found;
    uint64_t took;
    struct rig r;

    begin(&r, 64);
    for (unsigned round = 0; round < 20 && nr_slot_segments(&r) < 12; round++)
        copy_blocks(&r, 0, VOLUME);
    had = nr_slot_segments(&r);
    cr_assert_geq(had, 12);
    rig_stop(&r);
    if (unreadable)
        for (uint32_t g = 0; g < r.o.segments; g++)
            sim_disk_latent(r.ssd, r.geo.base_bytes + g * (uint64_t)r.geo.segment_bytes + 4096, 512);
    r.on_recovered = slow_down;
    cr_assert_eq(rig_boot(&r), 0);
    took = env_now_ns(r.env) - slow_from_ns;
    sim_disk_heal(r.ssd);
    found = nr_slot_segments(&r);
    cr_assert(found < had && took < 40 * NS_PER_S, "%u of %u in %lu ms", found, had, (unsigned long)(took / NS_PER_MS));
    shard_verify(r.shard);
    expect_all(&r, 0, VOLUME, 1);
    cr_assert_eq(shard_stats(r.shard)->read_errors, 0);
    finish(&r);
}

Test(places, a_start_looks_for_them_for_a_limited_time) { restart_slowly(false); }
Test(places, a_start_does_not_wait_for_tables_that_cannot_be_read) { restart_slowly(true); }

/* The device is given up for copies, not for the log, which gets what they had. */
Test(places, segments_whose_tables_cannot_be_read_are_the_logs_again, .timeout = 60)
{
    uint32_t had;
    struct rig r;

    begin(&r, 64);
    for (unsigned round = 0; round < 20 && nr_slot_segments(&r) < 12; round++)
        copy_blocks(&r, 0, VOLUME);
    had = nr_slot_segments(&r);
    cr_assert_geq(had, 12);
    rig_stop(&r);
    for (uint32_t g = 0; g < r.o.segments; g++)
        sim_disk_latent(r.ssd, r.geo.base_bytes + g * (uint64_t)r.geo.segment_bytes + 4096, 4096);
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert(r.shard->places.area[0].off);
    cr_assert_eq(nr_slot_segments(&r), 0);
    sim_disk_heal(r.ssd);
    shard_verify(r.shard);
    expect_all(&r, 0, VOLUME, 1);
    finish(&r);
}

/* Whatever lies in slot segments: no byte that is read changes. */
static void spoil(struct rig *r, uint64_t off, uint64_t bytes)
{
    memset(buf, 0x77, sizeof(buf));
    for (uint64_t at = 0; at < bytes; at += BLOCK_BYTES)
        sim_disk_poke(r->ssd, off + at, buf, (uint32_t)MIN(bytes - at, BLOCK_BYTES));
}

static void restart_spoilt(uint64_t from, uint64_t to)
{
    struct rig r;
    bool slots[16];

    begin(&r, 16);
    copy_blocks(&r, 0, 512);
    for (uint32_t g = 0; g < 16; g++)
        slots[g] = r.shard->seg[g].use == SEGMENT_SLOTS;
    rig_stop(&r);
    for (uint32_t g = 0; g < 16; g++)
        if (slots[g])
            spoil(&r, r.geo.base_bytes + g * (uint64_t)r.geo.segment_bytes + from, MIN(to, r.geo.segment_bytes) - from);
    cr_assert_eq(rig_boot(&r), 0);
    expect_all(&r, 0, VOLUME, 1);
    cr_assert_eq(shard_stats(r.shard)->read_errors, 0);
    shard_verify(r.shard);
    finish(&r);
}

Test(places, a_rotten_header_loses_a_segment_of_copies_and_nothing_else) { restart_spoilt(0, 4096); }
Test(places, a_rotten_page_loses_its_copies_and_nothing_else) { restart_spoilt(4096, 4608); }
Test(places, rotten_places_are_found_out_one_by_one) { restart_spoilt(8192, UINT64_MAX); }
Test(places, all_of_them_gone_change_nothing) { restart_spoilt(0, UINT64_MAX); }

Test(places, a_volume_goes_while_it_is_copied_and_another_takes_its_number)
{
    struct volume next;
    struct rig r;
    bool gone = false;

    begin(&r, 64);
    copy_blocks(&r, 64, 128);
    rig_expect(&r, 0, 16, 1);
    cr_assert(filling(&r));
    shard_detach(r.shard, &r.vol, rig_detached, &gone);
    cr_assert_eq(sim_run_until(r.sim, rig_is_set, &gone, 100 * NS_PER_S), 0);
    next = r.vol;
    next.layer = RIG_LAYER + 1;
    r.vol = next;
    cr_assert_eq(shard_attach(r.shard, &r.vol), 0);
    cr_assert_eq((uintptr_t)r.vol.priv, 1, "the same number");
    expect_all(&r, 0, VOLUME, 0);
    cr_assert_eq(nr_in_places(&r), 0);
    shard_verify(r.shard);
    finish(&r);
}

Test(places, a_drain_waits_for_what_is_copied)
{
    struct rig r;

    begin(&r, 64);
    rig_expect(&r, 0, 16, 1);
    cr_assert(filling(&r));
    rig_drain(&r, false);
    cr_assert_not(filling(&r));
    finish(&r);
}

/* The SSD takes no copy any more: hosts do not notice. */
Test(places, an_ssd_that_refuses_copies_is_left_alone)
{
    struct rig r;

    begin(&r, 64);
    sim_disk_fail_nth(r.ssd, DEV_WRITE, 1, 1);
    copy_blocks(&r, 0, 64);
    cr_assert(r.shard->places.area[0].off);
    cr_assert_eq(rig_write(&r, 0, 16, 2), 0);
    rig_expect(&r, 0, 16, 2);
    expect_all(&r, 16, VOLUME, 1);
    finish(&r);
}

/* A read of the copy hangs, so its segment cannot close: nothing is looked for again and again, and what the log has to give is taken. */
Test(places, reclaim_waits_for_a_segment_that_closes, .timeout = 60)
{
    struct iovec iov = {buf, BLOCK_BYTES};
    bool done = false;
    struct blk_io io = {.op = BLK_READ, .nlb = 1, .iov = &iov, .iovcnt = 1, .cb = ended, .ctx = &done};
    struct rig r;
    struct shard *s;
    uint64_t events;

    begin(&r, 12);
    s = r.shard;
    for (unsigned round = 0; round < 2; round++)
        copy_blocks(&r, 0, 256);
    sim_run_for(r.sim, 60 * NS_PER_S);
    while (segpool_free_nr(r.segpool) > 4) {
        cr_assert(journal_slots_open(s->j, 4));
        sim_run_for(r.sim, NS_PER_S);
    }
    while (io.lba < 256 && !lies_in_place(&r, io.lba))
        io.lba++;
    cr_assert_lt(io.lba, 256);
    sim_disk_faults(r.ssd)->hung = 1000000;
    blk_submit(&r.vol.blk, &io);
    sim_run_for(r.sim, NS_PER_MS);
    places_release(s, index_find(&s->ix, 1, io.lba) / s->ix.slots_per_segment);
    s->rc.wanted = true;
    s->rc.seen_changes = UINT64_MAX;
    events = sim_events_run(r.sim);
    shard_kick(s);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_not(places_may_release(s));
    cr_assert_gt(segpool_free_nr(r.segpool), 4);
    cr_assert_lt(sim_events_run(r.sim) - events, 100, "it does not spin");
    rig_fini(&r);
}

/* All writes of tables that there may be at once hang: who waits for them waits for their end, not by the clock. */
Test(places, tables_that_hang_keep_nobody_awake, .timeout = 60)
{
    struct rig r;
    struct places *p;
    uint32_t nr = 0;
    uint64_t events;

    begin(&r, 24);
    p = &r.shard->places;
    for (unsigned round = 0; round < 2; round++)
        copy_blocks(&r, 0, 256);
    sim_run_for(r.sim, 100 * NS_PER_S);
    for (uint32_t g = 0; g < 24; g++)
        for (uint32_t page = 0; page < p->table.layout.nr_pages && r.shard->seg[g].use == SEGMENT_SLOTS; page++, nr++)
            slot_table_changed(&p->table, g, page * p->table.layout.entries, env_now_ns(r.env));
    cr_assert_gt(nr, TABLE_WRITES);
    p->table_look_ns = env_now_ns(r.env) + SLOT_TABLE_AGE_NS;
    sim_disk_faults(r.ssd)->hung = 1000000;
    shard_kick(r.shard);
    sim_run_for(r.sim, SLOT_TABLE_AGE_NS + NS_PER_MS);
    cr_assert(places_busy(r.shard));
    events = sim_events_run(r.sim);
    sim_run_for(r.sim, 100 * NS_PER_MS);
    cr_assert_lt(sim_events_run(r.sim) - events, 100, "it does not spin");
    rig_fini(&r);
}

/* The map's record of an extent is lost, and what is written next to it makes the map call the rest of it damaged: what there are
 * copies of is there, and the map knows it again. */
Test(places, copies_outlive_the_record_of_their_checksums)
{
    struct meta_key key = meta_key_sums(RIG_LAYER, 0);
    struct meta_op op = {.key = key};
    struct rig r;
    uint64_t copied = 0;

    begin(&r, 64);
    copy_blocks(&r, 0, 16);
    while (copied < 16 && !lies_in_place(&r, copied))
        copied++;
    cr_assert_lt(copied, 16);
    cr_assert_eq(r.meta->ops->commit_sync(r.meta, &op, 1), 0);
    sums_drop(r.shard, extent_find(&r.shard->xt, 1, 0));
    cr_assert_eq(rig_write(&r, 40, 1, 2), 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_read(&r, 100, 1, buf), -FIRN_E_DAMAGED);
    rig_expect(&r, copied, 1, 1);
    rig_expect(&r, 40, 1, 2);
    shard_verify(r.shard);
    rig_restart(&r);
    cr_assert_eq(rig_read(&r, 100, 1, buf), -FIRN_E_DAMAGED);
    rig_expect(&r, 40, 1, 2);
    rig_expect(&r, copied, 1, 1);
    finish(&r);
}

/* ---- the metadata cannot be read while a start looks for copies ---- */

static struct unread { struct rig *r; const struct meta_ops *under; struct meta_ops ops; uint32_t failed; } unread;

static bool looks_for_copies(const struct rig *r)
{
    for (uint32_t g = 0; r->shard != NULL && g < r->o.segments; g++)
        if (r->shard->seg[g].use == SEGMENT_SLOTS)
            return true;
    return false;
}

static int get_sync(struct meta *m, const struct meta_key *key, void *out, uint32_t *len)
{
    if (key->b[0] != 'C' || !looks_for_copies(unread.r))
        return unread.under->get_sync(m, key, out, len);
    unread.failed++;
    return -FIRN_E_META;
}

static void break_gets(struct rig *r)
{
    unread = (struct unread){.r = r, .under = r->meta->ops, .ops = *r->meta->ops};
    unread.ops.get_sync = get_sync;
    r->meta->ops = &unread.ops;
}

Test(places, checksums_that_a_start_could_not_read_are_read_later)
{
    struct rig r;

    begin(&r, 16);
    for (unsigned round = 0; round < 3; round++)
        copy_blocks(&r, 0, 256);
    cr_assert_gt(nr_in_places(&r), 0);
    rig_stop(&r);
    r.on_meta = break_gets;
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_gt(unread.failed, 0);
    cr_assert_eq(shard_stats(r.shard)->slots_found, 0);
    expect_all(&r, 0, 256, 1);
    shard_verify(r.shard);
    r.on_meta = NULL;
    finish(&r);
}
