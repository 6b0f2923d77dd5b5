/* SPDX-License-Identifier: Apache-2.0 */
/* What reclaim saves of a victim's clean blocks: those that hosts read since they were written. */
#include "tier/fill.h"
#include "tier/map.h"
#include "copies.h"

#define VOLUME 1536u             /* blocks: six extents */
#define SEGMENTS 44u             /* of about 60 blocks: room for the volume and half as much again */
#define NARROW 32u               /* so many instead: none empties before its turn comes */
#define READ   256u              /* the first blocks are what hosts read */
#define FIRST  1024u             /* the last two are written over and over */

static struct tier_stats before;

static uint64_t saved(const struct rig *r) { return shard_stats(r->shard)->reclaim_saved_blocks - before.reclaim_saved_blocks; }

/* In requests so large that what lies around is not worth being saved, too. */
static void read_all(struct rig *r, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        for (uint64_t b = 0; b < READ; b += 32)
            rig_expect(r, b, 32, 1);
}

/* The log goes round, three times. At random: no segment empties by itself. */
static void turn_log(struct rig *r)
{
    uint64_t dice = 99;

    for (uint32_t blocks = 0; blocks < 3 * SEGMENTS * 60; blocks += 8) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        cr_assert_eq(rig_write(r, FIRST + (dice >> 33) % ((VOLUME - FIRST) / 8) * 8, 8, 3), 0);
        for (unsigned i = 0; i < 20 && fill_busy(r->shard); i++) { /* a block is never in RAM and in the log */
            shard_verify(r->shard);
            sim_run_for(r->sim, 10 * NS_PER_US);
        }
        sim_run_for(r->sim, 20 * NS_PER_MS); /* the disk keeps up, and hosts do not wait for space: then nothing is saved */
    }
    cr_assert_gt(shard_stats(r->shard)->reclaim_segments, 2 * SEGMENTS);
}

static void write_and_settle(struct rig *r)
{
    for (uint64_t b = 0; b < FIRST; b += 32)
        cr_assert_eq(rig_write(r, b, 32, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
}

/* Some of the log has gone to copies. All but the last two extents is destaged, and still in the log, too: clean. */
static void begin(struct rig *r)
{
    rig_init(r, &(struct rig_opts){.seed = 17, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = SEGMENTS});
    cr_assert_eq(rig_boot(r), 0);
    for (unsigned i = 0; i < 8; i++) {
        write_and_settle(r);
        read_all(r, 2);
        turn_log(r);
    }
    cr_assert_gt(r->shard->places.slots.nr_places, 0);
    write_and_settle(r);
    before = *shard_stats(r->shard);
}

static uint32_t in_places(const struct rig *r, uint64_t from, uint64_t to)
{
    uint32_t nr = 0;

    for (uint64_t b = from; b < to; b++)
        nr += copies_has(r, b);
    return nr;
}

static void finish(struct rig *r)
{
    shard_verify(r->shard);
    rig_drain(r, true);
    rig_expect(r, 0, 16, 1);
    rig_restart(r);
    rig_expect(r, 0, 16, 1);
    rig_drain(r, true);
    rig_fini(r);
}

Test(save, what_hosts_read_stays_on_the_ssd_when_its_segment_goes)
{
    struct rig r;
    uint64_t hits;

    begin(&r);
    read_all(&r, 2);
    turn_log(&r);
    cr_assert_gt(saved(&r), READ / 2);
    cr_assert_gt(in_places(&r, 0, READ), READ / 4);
    cr_assert_eq(in_places(&r, READ, FIRST), 0, "nobody has read that");
    hits = shard_stats(r.shard)->slot_hit_blocks;
    for (uint64_t b = 0; b < READ; b++)
        if (in_places(&r, b, b + 1) == 1)
            rig_expect(&r, b, 1, 1);
    cr_assert_geq(shard_stats(r.shard)->slot_hit_blocks - hits, READ / 4);
    finish(&r);
}

Test(save, nothing_that_nobody_reads_is_written_again)
{
    struct rig r;

    begin(&r);
    turn_log(&r);
    cr_assert_eq(saved(&r), 0);
    cr_assert_gt(shard_stats(r.shard)->reclaim_dropped_blocks - before.reclaim_dropped_blocks, FIRST / 2);
    finish(&r);
}

Test(save, what_was_written_since_it_was_read_is_not_saved_in_its_old_form)
{
    struct rig r;

    begin(&r);
    read_all(&r, 3);
    for (uint64_t b = 0; b < READ; b += 32)
        cr_assert_eq(rig_write(&r, b, 32, 2), 0);
    turn_log(&r);
    for (uint64_t b = 0; b < READ; b += 16)
        rig_expect(&r, b, 16, 2);
    shard_verify(r.shard);
    rig_drain(&r, true);
    rig_restart(&r);
    for (uint64_t b = 0; b < READ; b += 16)
        rig_expect(&r, b, 16, 2);
    rig_drain(&r, true);
    rig_fini(&r);
}

/* A volume of which nothing is to be copied has nothing saved either. */
Test(save, a_volume_that_is_not_to_be_copied_is_left_alone)
{
    struct rig r;

    begin(&r);
    r.vol.policy.admit = VOLUME_ADMIT_NEVER;
    read_all(&r, 3);
    turn_log(&r);
    cr_assert_eq(saved(&r), 0);
    finish(&r);
}

Test(save, a_block_that_is_rotten_in_the_log_is_dropped_and_read_where_it_rests)
{
    struct rig r;
    uint64_t rotten = 0, at;

    begin(&r);
    read_all(&r, 2);
    for (uint64_t b = 0; b < READ; b += 7) {
        at = rig_log_offset(&r, b);
        if (at != 0) {
            sim_disk_rot(r.ssd, at);
            rotten++;
        }
    }
    cr_assert_gt(rotten, 10);
    turn_log(&r);
    cr_assert_gt(shard_stats(r.shard)->csum_errors_ssd, 0);
    read_all(&r, 1);
    finish(&r);
}

static bool reads_to_save(void *ctx)
{
    const struct shard *s = ((struct rig *)ctx)->shard;

    return s->rc.saved && s->rc.reads > 0 && s->places.slots.nr_places > 0;
}

static bool has_read(void *ctx) { return ((struct rig *)ctx)->shard->rc.reads == 0; }

/* As a destage of their extents does before its first write (capture.c): what the disk has of them may be spoilt from then on. */
static uint32_t keep_used(struct rig *r, uint32_t segment, uint64_t *block)
{
    struct shard *s = r->shard;
    struct index_entry n;
    uint32_t nr = 0;

    for (uint32_t at = 0; at < s->ix.slots_per_segment; at++) {
        uint32_t id = segment * s->ix.slots_per_segment + at;

        if (!index_slot_used(&s->ix, id) || (index_flags_of(&s->ix, id) & INDEX_DIRTY) || index_ref(&s->ix, id) < 2)
            continue;
        index_get(&s->ix, id, &n);
        map_set_kept(s, id);
        extent_relist(&s->xt, extent_find(&s->xt, n.layer, extent_no(n.block)));
        block[nr++] = n.block;
    }
    return nr;
}

Test(save, what_a_destage_bridges_with_stays_in_the_log_although_it_was_being_saved)
{
    uint64_t dice = 99, block[256];
    uint32_t nr = 0;
    struct rig r;

    begin(&r);
    read_all(&r, 2);
    for (unsigned i = 0; i < 2000 && nr < 4; i++) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        cr_assert_eq(rig_write(&r, FIRST + (dice >> 33) % ((VOLUME - FIRST) / 8) * 8, 8, 3), 0);
        if (sim_run_until(r.sim, reads_to_save, &r, 20 * NS_PER_MS) == 0)
            nr = keep_used(&r, r.shard->rc.segment, block);
    }
    cr_assert_geq(nr, 4);
    cr_assert_eq(sim_run_until(r.sim, has_read, &r, NS_PER_S), 0);
    for (uint32_t i = 0; i < nr; i++) {
        uint32_t id = index_find(&r.shard->ix, 1, block[i]);

        cr_assert(id != INDEX_NONE && !in_place(r.shard, id) && (index_flags_of(&r.shard->ix, id) & INDEX_DIRTY), "block %lu",
                  (unsigned long)block[i]);
    }
    finish(&r);
}

static uint32_t longest_save_ms(struct rig *r)
{
    uint64_t dice = 99;
    uint32_t longest = 0, ms = 0;

    for (uint32_t i = 0; i < SEGMENTS * 60 * 2 / 8; i++) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        cr_assert_eq(rig_write(r, FIRST + (dice >> 33) % ((VOLUME - FIRST) / 8) * 8, 8, 3), 0);
        for (unsigned t = 0; t < 20; t++) {
            sim_run_for(r->sim, NS_PER_MS);
            ms = r->shard->rc.state == RECLAIM_SAVE ? ms + 1 : 0;
            longest = MAX(longest, ms);
        }
    }
    return longest;
}

/* All that may be written to places at once is caught in one of two devices of copies. */
Test(save, a_device_of_copies_that_hangs_does_not_keep_segments_from_being_emptied)
{
    uint64_t segments;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 19, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = SEGMENTS, .caches = 2,
                                    .cache_segments = 12});
    r.opts.io_deadline_ns = 5 * NS_PER_S;
    cr_assert_eq(rig_boot(&r), 0);
    for (unsigned i = 0; i < 2; i++) {
        write_and_settle(&r);
        read_all(&r, 2);
        longest_save_ms(&r);
    }
    cr_assert_gt(shard_stats(r.shard)->reclaim_saved_blocks, 0);
    write_and_settle(&r);
    read_all(&r, 2);
    sim_disk_faults(r.cache[0])->hung = 1000000;
    segments = shard_stats(r.shard)->reclaim_segments;
    cr_assert_leq(longest_save_ms(&r), 200);
    cr_assert_gt(shard_stats(r.shard)->reclaim_segments - segments, SEGMENTS / 2);
    cr_assert_eq(r.shard->places.fills.nr_free, 0, "it was so crowded all the time");
    sim_disk_heal(r.cache[0]);
    finish(&r);
}

static uint64_t evicted(const struct rig *r) { return shard_stats(r->shard)->evicted_read + shard_stats(r->shard)->evicted_unread; }

/* The first blocks have copies; those behind them are clean, in the log, and read so many times. Places are free. */
static void begin_beside_copies(struct rig *r, unsigned segments, unsigned times)
{
    rig_init(r, &(struct rig_opts){.seed = 20, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = segments, .caches = 1,
                                   .cache_segments = 12});
    cr_assert_eq(rig_boot(r), 0);
    for (unsigned i = 0; i < 2; i++) {
        write_and_settle(r);
        read_all(r, 2);
        longest_save_ms(r);
    }
    cr_assert_gt(in_places(r, 0, READ), READ / 2);
    for (uint64_t b = READ; b < FIRST; b += 32)
        cr_assert_eq(rig_write(r, b, 32, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    for (uint64_t b = READ; b < 2 * READ; b += 16)
        for (unsigned i = 0; i < times; i++)
            rig_expect(r, b, 16, 1);
    while (journal_slots_open(r->shard->j, 0))
        sim_run_for(r->sim, NS_PER_MS); /* all of the device: what is taken then is not replaced */
    cr_assert(slots_have_free(&r->shard->places.slots));
    before = *shard_stats(r->shard);
}

static uint32_t take_free_places(struct rig *r, uint32_t *id, uint32_t max)
{
    uint32_t nr = 0;

    while (nr < max && (id[nr] = slots_take_free(&r->shard->places.slots, true)) != INDEX_NONE)
        nr++;
    cr_assert_lt(nr, max);
    return nr;
}

/* A write, and 20 ms; less, if blocks are being read by then that are to be saved: true. */
static bool write_until_save(struct rig *r, uint64_t *dice)
{
    *dice = *dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
    cr_assert_eq(rig_write(r, FIRST + (*dice >> 33) % ((VOLUME - FIRST) / 8) * 8, 8, 3), 0);
    for (unsigned i = 0; i < 1000 && !reads_to_save(r); i++)
        sim_run_for(r->sim, 20 * NS_PER_US);
    return reads_to_save(r);
}

/* Others take what is free while blocks are being read that are to be saved. */
static void save_when_none_is_free_any_more(unsigned times, bool displaces)
{
    static uint32_t id[12 * 64];
    uint64_t dice = 99, was, copied;
    uint32_t nr, reads = 0;
    struct rig r;

    begin_beside_copies(&r, SEGMENTS, times);
    for (unsigned i = 0; i < 2000 && reads < 4; i++) {
        if (!write_until_save(&r, &dice))
            continue;
        reads += r.shard->rc.reads;
        nr = take_free_places(&r, id, ARRAY_LEN(id));
        was = evicted(&r);
        copied = saved(&r);
        cr_assert_eq(sim_run_until(r.sim, has_read, &r, NS_PER_S), 0);
        cr_assert_eq(evicted(&r) > was, displaces);
        cr_assert_eq(saved(&r) > copied, displaces);
        while (nr > 0)
            slots_give_back(&r.shard->places.slots, id[--nr]);
        shard_verify(r.shard);
    }
    cr_assert_geq(reads, 4);
    finish(&r);
}

Test(save, what_was_read_once_takes_no_other_copys_place) { save_when_none_is_free_any_more(1, false); }
Test(save, what_was_read_again_does) { save_when_none_is_free_any_more(2, true); }

/* At leisure: while hosts wait for space nothing is saved. */
static uint64_t saved_after_a_write(struct rig *r, unsigned version)
{
    before = *shard_stats(r->shard);
    for (uint64_t b = READ; b < 2 * READ; b += 8) {
        cr_assert_eq(rig_write(r, b, 8, version), 0);
        sim_run_for(r->sim, 20 * NS_PER_MS);
    }
    rig_drain(r, true);
    shard_start(r->shard);
    sim_run_for(r->sim, NS_PER_S);
    turn_log(r);
    return saved(r);
}

/* A database reads a page, writes it, and reads it again when its segment has gone. Nobody reads the copy that this is worth: the next
 * write inherits nothing. */
Test(save, what_is_written_over_inherits_that_it_was_read_once)
{
    struct rig r;

    begin_beside_copies(&r, NARROW, 1);
    cr_assert_gt(saved_after_a_write(&r, 2), READ / 2);
    cr_assert_gt(in_places(&r, READ, 2 * READ), READ / 2);
    cr_assert_lt(saved_after_a_write(&r, 3), READ / 8);
    for (uint64_t b = READ; b < 2 * READ; b += 16)
        rig_expect(&r, b, 16, 3);
    shard_verify(r.shard);
    rig_drain(&r, true);
    rig_fini(&r);
}

/* All segments have some of the first extents, which are destaged and not read since. */
static void write_mixed(struct rig *r)
{
    uint64_t dice = 7;

    for (uint64_t b = 0; b < 6 * FIRST; b += 8) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        if (b % 48 == 0)
            cr_assert_eq(rig_write(r, b / 6, 8, 1), 0);
        else
            cr_assert_eq(rig_write(r, FIRST + (dice >> 33) % ((VOLUME - FIRST) / 8) * 8, 8, 3), 0);
        sim_run_for(r->sim, 20 * NS_PER_MS);
    }
    rig_drain(r, true);
    shard_start(r->shard);
    sim_run_for(r->sim, NS_PER_S);
}

/* The SSD is more than three times as large as the volume. Returns how many copies there were, at most, of what nobody read. */
static uint32_t turn_roomy_log(struct rig *r, unsigned reads)
{
    uint32_t most = 0;

    rig_init(r, &(struct rig_opts){.seed = 23, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = 2 * SEGMENTS, .caches = 1,
                                   .cache_segments = 12});
    cr_assert_eq(rig_boot(r), 0);
    while (journal_slots_open(r->shard->j, 0))
        sim_run_for(r->sim, NS_PER_MS);
    write_and_settle(r);
    read_all(r, reads);
    for (unsigned i = 0; i < 4; i++) {
        write_mixed(r);
        turn_log(r);
        most = MAX(most, in_places(r, READ, FIRST));
    }
    return most;
}

Test(save, what_is_read_around_stays_where_the_ssd_is_roomy)
{
    struct rig r;

    cr_assert_gt(turn_roomy_log(&r, 40), 0);
    finish(&r);
}

Test(save, what_is_hardly_read_around_goes)
{
    struct rig r;

    cr_assert_eq(turn_roomy_log(&r, 1), 0);
    cr_assert_gt(shard_stats(r.shard)->reclaim_dropped_blocks, FIRST - READ);
    finish(&r);
}

/* The log goes round; all its segments have something of what nobody reads, destaged. */
static void turn_mixed_log(struct rig *r)
{
    uint64_t dice = 7;

    for (uint64_t b = 6 * READ; b < 6 * FIRST; b += 8) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        if (b % 48 == 0)
            cr_assert_eq(rig_write(r, b / 6, 8, 1), 0);
        else
            cr_assert_eq(rig_write(r, FIRST + (dice >> 33) % ((VOLUME - FIRST) / 8) * 8, 8, 3), 0);
        sim_run_for(r->sim, 20 * NS_PER_MS);
    }
}

/* Nothing has to go for want of room: reclaim leaves the segments of copies alone, although nobody reads those for a while. */
Test(save, copies_stay_where_the_ssd_is_roomy)
{
    uint32_t copies;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 29, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = 2 * SEGMENTS});
    cr_assert_eq(rig_boot(&r), 0);
    write_and_settle(&r);
    read_all(&r, 2);
    turn_mixed_log(&r);
    copies = in_places(&r, 0, READ);
    cr_assert_gt(copies, READ / 8);
    for (unsigned i = 0; i < 8; i++)
        turn_mixed_log(&r);
    cr_assert_geq(in_places(&r, 0, READ), copies);
    finish(&r);
}
