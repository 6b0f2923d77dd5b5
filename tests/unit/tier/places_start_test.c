/* SPDX-License-Identifier: Apache-2.0 */
/* What a start finds of clean copies in places: all that their tables say, in a bounded time, and never a wrong byte. */
#include "copies.h"

static void restart_finds(bool orderly)
{
    struct rig r;
    uint64_t before;
    uint32_t had;

    copies_begin(&r, 16, 0); /* the log has long forgotten the first extents */
    for (unsigned round = 0; round < 20 && copies_nr(&r) < 200; round++)
        copies_make(&r, 0, 256, 1);
    had = copies_nr(&r);
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
    cr_assert_eq(shard_stats(r.shard)->slots_found, copies_nr(&r));
    shard_verify(r.shard);
    before = rig_device_reads(&r);
    copies_expect(&r, 0, 256, 1);
    cr_assert_leq(rig_device_reads(&r) - before, 256u - had);
    cr_assert_eq(shard_stats(r.shard)->slots_stale, 0);
    copies_finish(&r);
}

Test(places_start, a_stop_leaves_them_for_the_next_start) { restart_finds(true); }
Test(places_start, a_crash_leaves_what_the_tables_say) { restart_finds(false); }

Test(places_start, what_was_written_since_the_table_was_is_not_found)
{
    struct rig r;

    copies_begin(&r, 16, 0);
    copies_make(&r, 0, 64, 1);
    copies_make(&r, 0, 64, 1);
    sim_run_for(r.sim, 100 * NS_PER_S);
    cr_assert_eq(dev_flush_sync(r.ssd_dev), 0);
    for (uint64_t b = 0; b < 32; b += 16)
        cr_assert_eq(rig_write(&r, b, 16, 2), 0);
    rig_drain(&r, true);
    shard_start(r.shard);
    cr_assert_eq(rig_write(&r, 32, 16, 3), 0); /* and this is in the log alone */
    rig_restart(&r);
    for (uint64_t b = 0; b < 48; b++)
        cr_assert_not(copies_has(&r, b));
    cr_assert(copies_has(&r, 48));
    copies_expect(&r, 0, 32, 2);
    copies_expect(&r, 32, 48, 3);
    copies_expect(&r, 48, 64, 1);
    copies_finish(&r);
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

/* How many. */
static uint32_t take_many_segments(struct rig *r)
{
    copies_begin(r, 64, 0);
    for (unsigned round = 0; round < 20 && nr_slot_segments(r) < 12; round++)
        copies_make(r, 0, COPIES_VOLUME, 1);
    cr_assert_geq(nr_slot_segments(r), 12);
    return nr_slot_segments(r);
}

static void spoil_tables(struct rig *r, uint32_t bytes)
{
    for (uint32_t g = 0; g < r->o.segments; g++)
        sim_disk_latent(r->ssd, r->geo.base_bytes + g * (uint64_t)r->geo.segment_bytes + 4096, bytes);
}

static void restart_slowly(bool unreadable)
{
    uint32_t had, found;
    uint64_t took;
    struct rig r;

    had = take_many_segments(&r);
    rig_stop(&r);
    if (unreadable)
        spoil_tables(&r, 512);
    r.on_recovered = slow_down;
    cr_assert_eq(rig_boot(&r), 0);
    took = env_now_ns(r.env) - slow_from_ns;
    sim_disk_heal(r.ssd);
    found = nr_slot_segments(&r);
    cr_assert(found < had && took < 40 * NS_PER_S, "%u of %u in %lu ms", found, had, (unsigned long)(took / NS_PER_MS));
    shard_verify(r.shard);
    copies_expect(&r, 0, COPIES_VOLUME, 1);
    cr_assert_eq(shard_stats(r.shard)->read_errors, 0);
    copies_finish(&r);
}

Test(places_start, a_start_looks_for_them_for_a_limited_time) { restart_slowly(false); }
Test(places_start, a_start_does_not_wait_for_tables_that_cannot_be_read) { restart_slowly(true); }

/* The device is given up for copies, not for the log, which gets what they had. */
Test(places_start, segments_whose_tables_cannot_be_read_are_the_logs_again, .timeout = 60)
{
    struct rig r;

    (void)take_many_segments(&r);
    rig_stop(&r);
    spoil_tables(&r, 4096);
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert(r.shard->places.area[0].off);
    cr_assert_eq(nr_slot_segments(&r), 0);
    sim_disk_heal(r.ssd);
    shard_verify(r.shard);
    copies_expect(&r, 0, COPIES_VOLUME, 1);
    copies_finish(&r);
}

/* Whatever lies in slot segments: no byte that is read changes. */
static void spoil(struct rig *r, uint64_t off, uint64_t bytes)
{
    static const char noise[BLOCK_BYTES] = {[0 ... BLOCK_BYTES - 1] = 0x77};

    for (uint64_t at = 0; at < bytes; at += BLOCK_BYTES)
        sim_disk_poke(r->ssd, off + at, noise, (uint32_t)MIN(bytes - at, BLOCK_BYTES));
}

static void restart_spoilt(uint64_t from, uint64_t to)
{
    struct rig r;
    bool slots[16];

    copies_begin(&r, 16, 0);
    copies_make(&r, 0, 512, 1);
    for (uint32_t g = 0; g < 16; g++)
        slots[g] = r.shard->seg[g].use == SEGMENT_SLOTS;
    rig_stop(&r);
    for (uint32_t g = 0; g < 16; g++)
        if (slots[g])
            spoil(&r, r.geo.base_bytes + g * (uint64_t)r.geo.segment_bytes + from, MIN(to, r.geo.segment_bytes) - from);
    cr_assert_eq(rig_boot(&r), 0);
    copies_expect(&r, 0, COPIES_VOLUME, 1);
    cr_assert_eq(shard_stats(r.shard)->read_errors, 0);
    shard_verify(r.shard);
    copies_finish(&r);
}

Test(places_start, a_rotten_header_loses_a_segment_of_copies_and_nothing_else) { restart_spoilt(0, 4096); }
Test(places_start, a_rotten_page_loses_its_copies_and_nothing_else) { restart_spoilt(4096, 4608); }
Test(places_start, rotten_places_are_found_out_one_by_one) { restart_spoilt(8192, UINT64_MAX); }
Test(places_start, all_of_them_gone_change_nothing) { restart_spoilt(0, UINT64_MAX); }

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

Test(places_start, checksums_that_a_start_could_not_read_are_read_later)
{
    struct rig r;

    copies_begin(&r, 16, 0);
    for (unsigned round = 0; round < 3; round++)
        copies_make(&r, 0, 256, 1);
    cr_assert_gt(copies_nr(&r), 0);
    rig_stop(&r);
    r.on_meta = break_gets;
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_gt(unread.failed, 0);
    cr_assert_eq(shard_stats(r.shard)->slots_found, 0);
    copies_expect(&r, 0, 256, 1);
    shard_verify(r.shard);
    r.on_meta = NULL;
    copies_finish(&r);
}
