/* SPDX-License-Identifier: Apache-2.0 */
/* Segments for slots on devices of their own: numbered behind the log's, found again by their own headers, never the log's. */
#include "rig.h"

TestSuite(journal_areas, .timeout = 30);

static struct { uint32_t nr, last; } opened;
static void on_slots(void *ctx, uint32_t segment, uint64_t epoch, int err)
{
    (void)ctx;
    cr_assert(err == 0 && epoch > 0);
    opened.nr++;
    opened.last = segment;
}

static uint32_t take(struct rig *r)
{
    uint32_t before = opened.nr;

    r->j->events.slots_opened = on_slots;
    cr_assert(journal_slots_open(r->j, UINT32_MAX), "what must stay free for the log is of no concern here");
    while (opened.nr == before)
        cr_assert_eq(env_run_once(r->env), 0);
    return opened.last;
}

static enum segment_use use_of(const struct rig *r, uint32_t segment)
{
    struct segment_info info;

    segpool_info(r->pool, segment, &info);
    return info.use;
}

static struct rig *begin(uint32_t nr_areas)
{
    struct rig *r = rig_new(&(struct rig_opts){.seed = 11, .nr_segments = 16, .nr_areas = nr_areas});

    cr_assert_eq(rig_open(r), 0);
    return r;
}

static void end(struct rig *r)
{
    cr_assert_eq(rig_close(r, true), 0);
    rig_free(r);
}

Test(journal_areas, numbers_go_on_behind_the_journals_and_say_device_and_offset)
{
    struct rig *r = begin(2);
    struct segment_at at;

    cr_assert_eq(segpool_areas(r->pool), 3);
    cr_assert_eq(segpool_segments(r->pool), 16 + 2 * RIG_AREA_SEGMENTS);
    for (uint32_t g = 0; g < segpool_segments(r->pool); g++) {
        at = segpool_at(r->pool, g);
        cr_assert_eq(at.area, g < 16 ? 0 : 1 + (g - 16) / RIG_AREA_SEGMENTS);
        cr_assert_eq(at.no, g < 16 ? g : (g - 16) % RIG_AREA_SEGMENTS);
        cr_assert_eq(segpool_offset(r->pool, g, 512), MIB + at.no * (uint64_t)r->geo.segment_bytes + 512);
        cr_assert_eq(journal_segment_dev(r->j, g), at.area == 0 ? r->dev : r->area_dev[at.area - 1]);
    }
    end(r);
}

Test(journal_areas, slots_never_take_a_segment_of_the_log_and_use_all_devices)
{
    struct rig *r = begin(2);
    uint32_t on[2] = {0}, free = segpool_free_nr(r->pool), g = 0;

    for (uint32_t i = 0; i < 2 * RIG_AREA_SEGMENTS; i++) {
        g = take(r);
        cr_assert_geq(g, 16);
        on[segpool_at(r->pool, g).area - 1]++;
        cr_assert_leq(on[0], on[1] + 1);
        cr_assert_leq(on[1], on[0] + 1);
    }
    cr_assert_not(journal_slots_open(r->j, 0), "they are all taken");
    cr_assert_eq(segpool_free_nr(r->pool), free);
    journal_slots_free(r->j, g);
    cr_assert_eq(segpool_free_nr(r->pool), free, "it comes back where it was");
    cr_assert_eq(take(r), g);
    end(r);
}

static bool done;
static void read_done(struct dev_io *io)
{
    cr_assert_eq(io->err, 0);
    done = true;
}

Test(journal_areas, bytes_go_to_the_segments_device_and_come_from_it)
{
    struct rig *r = begin(1);
    uint32_t g = take(r);
    struct journal_loc loc = {g, 8 + 8 * 3};
    static _Alignas(4096) uint8_t out[BLOCK_BYTES];
    struct iovec iov = {out, sizeof(out)};
    struct dev_io io = {.len_bytes = sizeof(out), .iov = &iov, .iovcnt = 1};

    memset(out, 0x3c, sizeof(out));
    cr_assert_eq(dev_write_sync(journal_segment_dev(r->j, g), segpool_offset(r->pool, g, 4096 * 4), out, sizeof(out), DEV_DSYNC), 0);
    memset(out, 0, sizeof(out));
    io.cb = read_done;
    journal_read(r->j, loc, &io);
    cr_assert_eq(io.off_bytes, MIB + (g - 16) * (uint64_t)r->geo.segment_bytes + 4 * 4096);
    while (!done)
        cr_assert_eq(env_run_once(r->env), 0);
    cr_assert(out[0] == 0x3c && out[BLOCK_BYTES - 1] == 0x3c);
    end(r);
}

Test(journal_areas, a_segment_is_found_again_wherever_its_device_stands_in_the_list)
{
    struct rig *r = begin(2);
    uint32_t a = take(r), b = take(r), taken = 0;

    cr_assert_neq(segpool_at(r->pool, a).area, segpool_at(r->pool, b).area);
    rig_crash(r);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(use_of(r, a) == SEGMENT_SLOTS && use_of(r, b) == SEGMENT_SLOTS);
    rig_crash(r);
    r->areas_absent = 1;
    cr_assert_eq(rig_open(r), 0);
    for (uint32_t g = 16; g < segpool_segments(r->pool); g++)
        taken += use_of(r, g) == SEGMENT_SLOTS;
    cr_assert_eq(taken, 1, "the second device's, which is the first one now");
    rig_crash(r);
    r->areas_absent = 0;
    cr_assert_eq(rig_open(r), 0);
    cr_assert(use_of(r, a) == SEGMENT_SLOTS && use_of(r, b) == SEGMENT_SLOTS);
    end(r);
}

/* It belongs to the pool no less than the log, but nothing that it says is needed. */
Test(journal_areas, what_a_header_there_says_of_the_log_and_its_metadata_is_ignored)
{
    struct rig *r = begin(1);
    struct jrn_seg_header h = {.epoch = NUMBER_START_MAX + 1, .slots = true, .seq_floor = SEQ_MEDIA_MAX,
                               .meta_commit_no = NUMBER_MEDIA_MAX};
    static uint8_t buf[JRN_SEG_HEADER_BYTES];

    rig_write(r, 7, 1);
    cr_assert_eq(rig_wait(r), 0);
    rig_crash(r);
    jrn_seg_header_encode(&r->area_geo[0], 0, &h, buf); /* forged: no next epoch would be left */
    sim_disk_poke(r->area_disk[0], MIB, buf, r->geo.head_bytes);
    h.epoch = 77;
    jrn_seg_header_encode(&r->area_geo[0], 1, &h, buf);
    sim_disk_poke(r->area_disk[0], MIB + r->geo.segment_bytes, buf, r->geo.head_bytes);
    h = (struct jrn_seg_header){.epoch = 78, .stream = JOURNAL_HOST, .group_floor = 1};
    jrn_seg_header_encode(&r->area_geo[0], 2, &h, buf); /* a segment of a log, which has no place there */
    sim_disk_poke(r->area_disk[0], MIB + 2 * (uint64_t)r->geo.segment_bytes, buf, r->geo.head_bytes);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0);
    cr_assert_eq(use_of(r, 16), SEGMENT_FREE);
    cr_assert_eq(use_of(r, 17), SEGMENT_SLOTS);
    cr_assert_eq(use_of(r, 18), SEGMENT_FREE);
    cr_assert_leq(r->report.meta_commit_no_max, 1000 + r->life);
    rig_write(r, 8, 1);
    cr_assert_eq(rig_wait(r), 0);
    end(r);
}

Test(journal_areas, a_header_that_cannot_be_read_frees_its_segment_and_a_dead_device_is_left_out)
{
    struct rig *r = begin(2);
    uint32_t a = take(r), b = take(r);
    struct segment_at at = segpool_at(r->pool, a);

    rig_crash(r);
    sim_disk_latent(r->area_disk[at.area - 1], MIB + at.no * (uint64_t)r->geo.segment_bytes, 512);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(use_of(r, a), SEGMENT_FREE);
    cr_assert_eq(use_of(r, b), SEGMENT_SLOTS);
    rig_crash(r);
    sim_disk_faults(r->area_disk[0])->eio_read = 1000000;
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->areas_refused, 1);
    cr_assert_eq(segpool_segments(r->pool), 16 + RIG_AREA_SEGMENTS);
    rig_write(r, 9, 1);
    cr_assert_eq(rig_wait(r), 0);
    end(r);
}

Test(journal_areas, segments_of_another_size_are_refused)
{
    struct rig *r = begin(1);
    struct segpool_geometry geo = r->area_geo[0];

    geo.segment_bytes *= 2;
    geo.nr_segments /= 2;
    cr_assert_eq(segpool_add(r->pool, r->area_dev[0], &geo), -FIRN_E_INVALID);
    geo = r->area_geo[0];
    geo.nr_segments += 8;
    cr_assert_eq(segpool_add(r->pool, r->area_dev[0], &geo), -FIRN_E_INVALID, "more than the device has room for");
    geo = r->area_geo[0];
    geo.head_bytes = 4096;
    cr_assert_eq(segpool_add(r->pool, r->area_dev[0], &geo), -FIRN_E_INVALID, "the log writes shorter headers, there too");
    cr_assert_eq(segpool_plan_area(2 * MIB + r->geo.segment_bytes - 1, &geo.pool, &r->geo, &geo), -FIRN_E_INVALID);
    end(r);
}

/* ---- shares ---- */

struct shard_mock { struct seg_waiter w; uint32_t asked; };
static void task_ran(struct env_task *t)
{
    struct shard_mock *m = container_of(container_of(t, struct seg_waiter, ask), struct shard_mock, w);

    m->asked++;
}

static uint64_t none_freed(void *ctx, uint32_t segment)
{
    (void)ctx, (void)segment;
    return 0;
}

static uint32_t take_for(struct segpool *p, uint32_t shard, uint32_t nr)
{
    uint32_t segment, got = 0;
    uint64_t epoch;

    while (got < nr && segpool_take_slots(p, shard, 0, &segment, &epoch))
        got++;
    return got;
}

static uint32_t one_of(const struct segpool *p, uint32_t shard)
{
    struct segment_info info;

    for (uint32_t g = 16; g < segpool_segments(p); g++) {
        segpool_info(p, g, &info);
        if (info.use == SEGMENT_SLOTS && info.shard == shard)
            return g;
    }
    cr_assert(false, "the shard has none");
    return 0;
}

/* Two shards, eight segments. */
Test(journal_areas, one_shard_may_have_all_until_another_one_wants_its_share)
{
    struct rig *r = rig_new(&(struct rig_opts){.seed = 11, .nr_segments = 16, .nr_areas = 2});
    struct shard_mock m[2] = {{.w.shard = 0}, {.w.shard = 1}};
    struct segpool *p;

    r->geo.nr_shards = r->area_geo[0].nr_shards = r->area_geo[1].nr_shards = 2;
    r->env = sim_env_new(r->sim);
    cr_assert_eq(sim_dev_open(r->disk, r->env, &r->dev), 0);
    cr_assert_eq(segpool_open(r->dev, &r->geo, none_freed, NULL, &p), 0);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(sim_dev_open(r->area_disk[i], r->env, &r->area_dev[i]), 0);
        cr_assert_eq(segpool_add(p, r->area_dev[i], &r->area_geo[i]), 0);
        m[i].w.env = r->env;
        m[i].w.ask.fn = task_ran;
        segpool_waiter_add(p, &m[i].w);
    }
    cr_assert_eq(take_for(p, 0, 100), 8, "nobody else wants any");
    cr_assert_not(segpool_slots_owed(p, 0));
    for (uint32_t i = 0; i < 4; i++) {
        segpool_ask_slots(p, 1);
        sim_run_for(r->sim, NS_PER_MS);
        segpool_asked_ran(p, &m[0].w);
        cr_assert_eq(m[0].asked, i + 1);
        cr_assert(segpool_slots_owed(p, 0));
        segpool_give(p, one_of(p, 0));
        cr_assert_not(segpool_slots_owed(p, 0), "one at a time");
        cr_assert_eq(take_for(p, 0, 1), 0, "what was given up is the other one's");
        cr_assert_eq(take_for(p, 1, 1), 1);
    }
    segpool_ask_slots(p, 1);
    cr_assert_not(m[0].w.asked, "both have what is theirs");
    cr_assert_eq(m[1].asked, 0);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert(segpool_waiter_remove(p, &m[i].w, true));
    segpool_close(p);
    rig_free(r);
}

Test(journal_areas, an_area_that_is_off_gives_nothing_and_counts_for_no_share)
{
    struct rig *r = begin(2);
    uint32_t g = take(r);

    segpool_area_off(r->pool, 1);
    for (uint32_t i = 0; i < RIG_AREA_SEGMENTS - (segpool_at(r->pool, g).area == 2); i++)
        cr_assert_eq(segpool_at(r->pool, take(r)).area, 2);
    cr_assert_not(journal_slots_open(r->j, 0));
    end(r);
}

Test(journal_areas, the_log_alone_uses_its_device_when_it_is_told_so)
{
    struct rig *r = rig_new(&(struct rig_opts){.seed = 11, .nr_segments = 16});
    struct segment_info info;

    cr_assert_eq(rig_open(r), 0);
    r->j->events.slots_opened = on_slots;
    cr_assert(journal_slots_open(r->j, 4));
    while (opened.nr == 0)
        cr_assert_eq(env_run_once(r->env), 0);
    segpool_info(r->pool, opened.last, &info);
    cr_assert_eq(info.use, SEGMENT_SLOTS);
    cr_assert_eq(rig_close(r, true), 0);
    r->log_only = true;
    cr_assert_eq(rig_open(r), 0);
    segpool_info(r->pool, opened.last, &info);
    cr_assert_eq(info.use, SEGMENT_FREE, "what copies had is the log's");
    r->j->events.slots_opened = on_slots;
    cr_assert_not(journal_slots_open(r->j, 0));
    end(r);
}
