/* SPDX-License-Identifier: Apache-2.0 */
/* Clean copies in places: how they come, what they never show, and how they go. */
#include "tier/fetch.h"
#include "tier/fill.h"
#include "tier/map.h"
#include "tier/places.h"
#include "tier/sums.h"
#include "copies.h"

static char buf[64 * BLOCK_BYTES] __attribute__((aligned(4096)));

static bool filling(void *ctx) { return fill_busy(((struct rig *)ctx)->shard); }

Test(places, what_is_worth_it_is_read_from_the_ssd_next_time)
{
    struct rig r;
    uint64_t before, hits;

    copies_begin(&r, 64, 0);
    copies_make(&r, 0, 16, 1);
    cr_assert_eq(copies_nr(&r), 16);
    cr_assert_eq(stage_find(&r.shard->stage, extent_find(&r.shard->xt, 1, 0), 3), STAGE_NONE, "the frame has done its duty");
    before = rig_device_reads(&r);
    hits = shard_stats(r.shard)->slot_hit_blocks;
    rig_expect(&r, 0, 16, 1);
    cr_assert_eq(rig_device_reads(&r), before);
    cr_assert_eq(shard_stats(r.shard)->slot_hit_blocks - hits, 16);
    copies_finish(&r);
}

/* The same again for a write, a zero of some blocks and one of a whole extent, while the copy is on its way. */
static void change_during_fill(enum blk_op op, uint32_t nlb, uint64_t stamp, bool at_its_end)
{
    static char data[16 * BLOCK_BYTES] __attribute__((aligned(4096)));
    struct iovec iov = {data, sizeof(data)};
    bool done = false;
    struct blk_io io = {.op = op, .lba = 0, .nlb = nlb, .cb = rig_ended, .ctx = &done};
    struct rig r;

    copies_begin(&r, 64, 0);
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
        cr_assert_not(copies_has(&r, b));
    shard_verify(r.shard);
    rig_drain(&r, true);
    rig_expect(&r, 0, 16, stamp);
    rig_restart(&r);
    rig_expect(&r, 0, 16, stamp);
    copies_finish(&r);
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

    copies_begin(&r, 64, 0);
    rig_expect(&r, 0, 16, 1);
    cr_assert(fill_busy(r.shard));
    for (uint32_t i = 0; i < 16; i += 2)
        fetch_forget(r.shard, extent_find(&r.shard->xt, 1, 0), i);
    rig_places_settle(&r);
    for (uint64_t b = 0; b < 16; b++)
        cr_assert_eq(copies_has(&r, b), b % 2 != 0);
    cr_assert_geq(shard_stats(r.shard)->fill_dropped, 8);
    shard_verify(r.shard);
    copies_finish(&r);
}

static void no_errors(const struct rig *r)
{
    const struct tier_stats *st = shard_stats(r->shard);

    cr_assert(st->read_errors == 0 && st->csum_errors_ssd == 0 && st->csum_errors_hdd == 0);
}

Test(places, rot_in_a_copy_costs_nobody_an_error)
{
    struct rig r;

    copies_begin(&r, 64, 0);
    copies_make(&r, 0, 32, 1);
    memset(buf, 0xd1, BLOCK_BYTES);
    sim_disk_poke(r.ssd, rig_log_offset(&r, 5), buf, BLOCK_BYTES);
    sim_disk_latent(r.ssd, rig_log_offset(&r, 20), 512);
    rig_expect(&r, 0, 16, 1);
    rig_expect(&r, 16, 16, 1);
    cr_assert_geq(shard_stats(r.shard)->slots_stale, 2);
    no_errors(&r);
    cr_assert_not(copies_has(&r, 20), "a place that cannot be read has to be asked for");
    rig_places_settle(&r);
    rig_expect(&r, 0, 32, 1);
    shard_verify(r.shard);
    copies_finish(&r);
}

Test(places, a_rotten_copy_is_dropped_and_written_anew)
{
    struct rig r;
    uint64_t before, fills;

    copies_begin(&r, 64, 0);
    copies_make(&r, 0, 16, 1);
    memset(buf, 0xd1, BLOCK_BYTES);
    for (uint64_t b = 3; b < 16; b += 4)
        sim_disk_poke(r.ssd, rig_log_offset(&r, b), buf, BLOCK_BYTES);
    fills = shard_stats(r.shard)->fill_blocks;
    rig_expect(&r, 0, 16, 1);
    cr_assert_eq(shard_stats(r.shard)->slots_stale, 4);
    rig_places_settle(&r);
    cr_assert_eq(copies_nr(&r), 16);
    cr_assert_eq(shard_stats(r.shard)->fill_blocks - fills, 4, "what was not rotten stays where it is");
    before = rig_device_reads(&r);
    rig_expect(&r, 0, 16, 1);
    cr_assert_eq(rig_device_reads(&r), before);
    cr_assert_eq(shard_stats(r.shard)->slots_stale, 4);
    no_errors(&r);
    copies_finish(&r);
}

/* The copy is found rotten, and while the device is asked the block is written: what is written wins. */
Test(places, a_rotten_copy_of_what_is_written_meanwhile_is_not_written_anew)
{
    static char data[BLOCK_BYTES] __attribute__((aligned(4096)));
    struct iovec in = {buf, BLOCK_BYTES}, out = {data, BLOCK_BYTES};
    bool read = false, written = false;
    struct blk_io rio = {.op = BLK_READ, .lba = 5, .nlb = 1, .iov = &in, .iovcnt = 1, .cb = rig_ended, .ctx = &read};
    struct blk_io wio = {.op = BLK_WRITE, .lba = 5, .nlb = 1, .iov = &out, .iovcnt = 1, .cb = rig_ended, .ctx = &written};
    struct rig r;
    uint64_t fills;

    copies_begin(&r, 64, 0);
    copies_make(&r, 0, 16, 1);
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
    copies_finish(&r);
}

/* B14: the whole SSD is gone. Hosts do not notice, as far as the capacity devices have what they read. */
Test(places, an_ssd_that_is_gone_costs_no_read_of_what_is_clean)
{
    struct rig r;

    copies_begin(&r, 64, 0);
    copies_make(&r, 0, 64, 1);
    cr_assert_eq(copies_nr(&r), 64);
    sim_disk_faults(r.ssd)->gone = true;
    copies_expect(&r, 0, COPIES_VOLUME, 1);
    copies_expect(&r, 0, 64, 1);
    no_errors(&r);
    cr_assert_lt(rig_write(&r, 0, 1, 2), 0);
    rig_crash(&r);
    sim_disk_heal(r.ssd);
    cr_assert_eq(rig_boot(&r), 0);
    copies_expect(&r, 16, COPIES_VOLUME, 1);
    rig_fini(&r);
}

Test(places, copies_are_evicted_for_others)
{
    struct rig r;

    copies_begin(&r, 12, 0); /* twelve segments of sixty-odd places, most of them the log's reserve */
    for (unsigned round = 0; round < 3; round++)
        copies_make(&r, 0, COPIES_VOLUME, 1);
    cr_assert_gt(shard_stats(r.shard)->evicted_unread + shard_stats(r.shard)->evicted_read, 100);
    shard_verify(r.shard);
    copies_expect(&r, 0, COPIES_VOLUME, 1);
    copies_finish(&r);
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

    copies_begin(&r, 32, 12);
    cache = r.shard->places.admit.blocks;
    copies_make(&r, 0, 32, 1);
    cr_assert_not(r.shard->places.admit.full);
    for (unsigned round = 0; round < 2; round++)
        copies_make(&r, 0, COPIES_VOLUME, 1);
    cr_assert(r.shard->places.admit.full);
    drop_copies(&r, cache / 8);
    copies_make(&r, 0, 16, 1); /* perhaps it is there still */
    copies_make(&r, COPIES_VOLUME / 2, COPIES_VOLUME / 2 + 16, 1);
    cr_assert(r.shard->places.admit.full && slots_have_free(&r.shard->places.slots));
    drop_copies(&r, cache / 2);
    for (unsigned round = 0; round < 3; round++) /* the guard asks for more misses by now */
        copies_make(&r, 0, 64, 1);
    cr_assert_not(r.shard->places.admit.full);
    copies_finish(&r);
}

Test(places, while_the_log_has_most_of_the_cache_a_few_free_places_change_nothing)
{
    struct rig r;

    copies_begin(&r, 12, 0);
    for (unsigned round = 0; round < 3; round++)
        copies_make(&r, 0, COPIES_VOLUME, 1);
    cr_assert(r.shard->places.admit.full);
    cr_assert_lt(places_base(r.shard), r.shard->places.admit.blocks / 4);
    drop_copies(&r, r.shard->places.slots.nr_used);
    for (unsigned round = 0; round < 4; round++) /* the guard asks for more misses by now */
        copies_make(&r, 0, 16, 1);
    cr_assert_gt(r.shard->places.slots.nr_used, 0);
    cr_assert(r.shard->places.admit.full);
    copies_finish(&r);
}

Test(places, the_log_gets_segments_back_when_it_needs_them)
{
    struct rig r;
    uint64_t places;

    copies_begin(&r, 24, 0);
    for (unsigned round = 0; round < 2; round++)
        copies_make(&r, 0, COPIES_VOLUME, 1);
    places = r.shard->places.slots.nr_places;
    cr_assert_gt(places, 180);
    for (uint64_t i = 0; i < 48; i++) /* more than is free, and destage has no time */
        cr_assert_eq(rig_write(&r, i * 16, 16, 2), 0);
    cr_assert_lt(r.shard->places.slots.nr_places, places);
    copies_expect(&r, 0, 48 * 16, 2);
    shard_verify(r.shard);
    copies_finish(&r);
}

Test(places, nothing_of_a_volume_for_the_hdd_is_copied)
{
    struct rig r;
    uint64_t had;

    copies_begin(&r, 16, 0);
    had = shard_stats(r.shard)->fill_blocks;
    shard_set_tier(r.shard, &r.vol, VOLUME_HDD);
    for (unsigned round = 0; round < 3; round++)
        copies_make(&r, 0, 256, 1);
    cr_assert_eq(shard_stats(r.shard)->fill_blocks, had);
    shard_set_tier(r.shard, &r.vol, VOLUME_AUTO);
    for (unsigned round = 0; round < 3; round++)
        copies_make(&r, 0, 256, 1);
    cr_assert_gt(shard_stats(r.shard)->fill_blocks, had);
    copies_finish(&r);
}

Test(places, a_volume_goes_while_it_is_copied_and_another_takes_its_number)
{
    struct volume next;
    struct rig r;
    bool gone = false;

    copies_begin(&r, 64, 0);
    copies_make(&r, 64, 128, 1);
    rig_expect(&r, 0, 16, 1);
    cr_assert(filling(&r));
    shard_detach(r.shard, &r.vol, rig_detached, &gone);
    cr_assert_eq(sim_run_until(r.sim, rig_is_set, &gone, 100 * NS_PER_S), 0);
    next = r.vol;
    next.layer = RIG_LAYER + 1;
    r.vol = next;
    cr_assert_eq(shard_attach(r.shard, &r.vol), 0);
    cr_assert_eq((uintptr_t)r.vol.priv, 1, "the same number");
    copies_expect(&r, 0, COPIES_VOLUME, 0);
    cr_assert_eq(copies_nr(&r), 0);
    shard_verify(r.shard);
    copies_finish(&r);
}

Test(places, a_drain_waits_for_what_is_copied)
{
    struct rig r;

    copies_begin(&r, 64, 0);
    rig_expect(&r, 0, 16, 1);
    cr_assert(filling(&r));
    rig_drain(&r, false);
    cr_assert_not(filling(&r));
    copies_finish(&r);
}

/* The SSD takes no copy any more: hosts do not notice. */
Test(places, an_ssd_that_refuses_copies_is_left_alone)
{
    struct rig r;

    copies_begin(&r, 64, 0);
    sim_disk_fail_nth(r.ssd, DEV_WRITE, 1, 1);
    copies_make(&r, 0, 64, 1);
    cr_assert(r.shard->places.area[0].off);
    cr_assert_eq(rig_write(&r, 0, 16, 2), 0);
    rig_expect(&r, 0, 16, 2);
    copies_expect(&r, 16, COPIES_VOLUME, 1);
    copies_finish(&r);
}

/* A read of the copy hangs, so its segment cannot close: nothing is looked for again and again, and what the log has to give is taken. */
Test(places, reclaim_waits_for_a_segment_that_closes, .timeout = 60)
{
    struct iovec iov = {buf, BLOCK_BYTES};
    bool done = false;
    struct blk_io io = {.op = BLK_READ, .nlb = 1, .iov = &iov, .iovcnt = 1, .cb = rig_ended, .ctx = &done};
    struct rig r;
    struct shard *s;
    uint64_t events;

    copies_begin(&r, 12, 0);
    s = r.shard;
    for (unsigned round = 0; round < 2; round++)
        copies_make(&r, 0, 256, 1);
    sim_run_for(r.sim, 60 * NS_PER_S);
    while (segpool_free_nr(r.segpool) > 4) {
        cr_assert(journal_slots_open(s->j, 4));
        sim_run_for(r.sim, NS_PER_S);
    }
    while (io.lba < 256 && !copies_has(&r, io.lba))
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

    copies_begin(&r, 24, 0);
    p = &r.shard->places;
    for (unsigned round = 0; round < 2; round++)
        copies_make(&r, 0, 256, 1);
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

    copies_begin(&r, 64, 0);
    copies_make(&r, 0, 16, 1);
    while (copied < 16 && !copies_has(&r, copied))
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
    copies_finish(&r);
}
