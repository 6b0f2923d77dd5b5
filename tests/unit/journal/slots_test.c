/* SPDX-License-Identifier: Apache-2.0 */
/* Segments for slots: taken, found again, given back; the log knows nothing of what is in them. */
#include <errno.h>

#include "base/crc32c.h"
#include "journal/format_raw.h"
#include "rig.h"

TestSuite(journal_slots, .timeout = 30);

static const struct segpool_geometry geo = {.base_bytes = 1 << 20, .segment_bytes = 256 * 1024, .nr_segments = 16, .align_bytes = 512,
                                            .head_bytes = 512, .nr_shards = 4, .pool = {{7}}};
static const struct jrn_seg_header head = {.epoch = 99, .shard = 3, .slots = true, .seq_floor = 12345,
                                           .meta_commit_no = NUMBER_MEDIA_MAX};

Test(journal_slots, a_header_survives_the_round_trip_and_belongs_to_no_stream)
{
    static uint8_t buf[JRN_SEG_HEADER_BYTES];
    struct jrn_seg_header h, bad[] = {head, head, head, head, head, head, head};

    jrn_seg_header_encode(&geo, 5, &head, buf);
    cr_assert_eq(jrn_seg_header_decode(&geo, 5, buf, &h), 0);
    cr_assert(h.slots && h.epoch == 99 && h.shard == 3 && h.seq_floor == 12345 && h.meta_commit_no == NUMBER_MEDIA_MAX);
    bad[0].stream = JOURNAL_MOVES;
    bad[1].prev_segment = 1;
    bad[2].prev_epoch = 1;
    bad[3].cut_group = 1;
    bad[4].group_floor = 1;
    bad[5].meta_commit_no++;
    bad[6].epoch = 0;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        jrn_seg_header_encode(&geo, 5, &bad[i], buf);
        cr_assert_eq(jrn_seg_header_decode(&geo, 5, buf, &h), -FIRN_E_CORRUPT, "case %u", i);
    }
}

Test(journal_slots, a_footer_is_the_logs_alone)
{
    static uint8_t buf[JRN_FOOTER_MAX];
    struct jrn_footer f = {.head = {.epoch = 9, .seq_floor = 1}, .summary_off = 64 * 1024, .summary_bytes = 100, .nr_entries = 1,
                           .first_group = 1, .nr_groups = 1, .end_off = 8192};

    jrn_footer_encode(&geo, 5, &f, buf);
    cr_assert_eq(jrn_footer_decode(&geo, 5, buf, &f), 0);
    f.head.slots = true;
    jrn_footer_encode(&geo, 5, &f, buf);
    cr_assert_eq(jrn_footer_decode(&geo, 5, buf, &f), -FIRN_E_CORRUPT);
}

/* ---- with a journal ---- */

static uint32_t opened, last;
static void on_slots(void *ctx, uint32_t segment, uint64_t epoch, int err)
{
    (void)ctx;
    cr_assert(err == 0 && epoch > 0);
    opened++;
    last = segment;
}

static uint32_t take(struct rig *r)
{
    uint32_t before = opened;

    r->j->events.slots_opened = on_slots;
    cr_assert(journal_slots_open(r->j, 4));
    while (opened == before)
        cr_assert_eq(env_run_once(r->env), 0);
    return last;
}

static enum segment_use use_of(struct rig *r, uint32_t segment)
{
    struct segment_info info;

    segpool_info(r->pool, segment, &info);
    return info.use;
}

static struct rig *begin(void)
{
    struct rig *r = rig_new(&(struct rig_opts){.seed = 5, .nr_segments = 16});

    opened = 0;
    cr_assert_eq(rig_open(r), 0);
    return r;
}

static void crash_and_open(struct rig *r)
{
    rig_crash(r);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0);
}

static void end(struct rig *r)
{
    cr_assert_eq(rig_close(r, true), 0);
    rig_free(r);
}

Test(journal_slots, a_log_that_nothing_is_appended_to_has_no_segment)
{
    struct rig *r = begin();

    cr_assert_eq(segpool_free_nr(r->pool), 16);
    cr_assert_eq(rig_close(r, true), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(segpool_free_nr(r->pool), 16);
    rig_write(r, 1, 1);
    cr_assert_eq(rig_wait(r), 0);
    cr_assert_eq(segpool_free_nr(r->pool), 15);
    crash_and_open(r);
    cr_assert_lt(segpool_free_nr(r->pool), 15, "what was in use is sealed, and another one open");
    end(r);
}

Test(journal_slots, a_segment_is_found_again_and_the_log_with_it)
{
    struct rig *r = begin();
    uint32_t g;

    rig_write_blocks(r, 40);
    g = take(r);
    cr_assert_eq(use_of(r, g), SEGMENT_SLOTS);
    crash_and_open(r);
    cr_assert_eq(use_of(r, g), SEGMENT_SLOTS);
    end(r);
}

/* Groups that named it may have lain there. */
Test(journal_slots, a_header_names_the_newest_batch_of_metadata)
{
    struct rig *r = begin();
    uint32_t g = take(r);

    cr_assert_eq(r->report.meta_commit_no_max, 0);
    rig_crash(r);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.meta_commit_no_max, 1001);
    journal_slots_free(r->j, g);
    rig_crash(r);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.meta_commit_no_max, 1001);
    end(r);
}

/* It was opened again, and the machine stopped before a group was written in it. */
Test(journal_slots, a_header_of_the_log_names_the_newest_batch_too)
{
    struct rig *r = begin();
    uint32_t g;

    rig_write(r, 1, 1);
    cr_assert_eq(rig_wait(r), 0);
    g = r->w[0].a.loc.segment;
    rig_crash(r);
    rig_zero(r, g, JRN_SEG_HEADER_BYTES, r->geo.segment_bytes - JRN_SEG_HEADER_BYTES);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.meta_commit_no_max, 1001);
    end(r);
}

static void set_version(const struct segpool_geometry *g, uint32_t segment, uint16_t version, uint8_t *buf)
{
    struct jrn_seg_header_raw *raw = (void *)buf;

    raw->version = to_le16(version);
    raw->crc = to_le32(crc32c(jrn_seed(g, segment, 0, 0), buf + 4, g->head_bytes - 4));
}

Test(journal_slots, a_header_of_version_1_is_read_and_names_no_batch_in_the_log)
{
    static uint8_t buf[JRN_SEG_HEADER_BYTES];
    struct jrn_seg_header h = {.epoch = 99, .shard = 3, .seq_floor = 12345};

    jrn_seg_header_encode(&geo, 5, &h, buf);
    for (uint16_t v = 0; v <= JRN_VERSION + 1; v++) {
        set_version(&geo, 5, v, buf);
        cr_assert_eq(jrn_seg_header_decode(&geo, 5, buf, &h), v == 1 || v == 2 ? 0 : -FIRN_E_FORMAT_VERSION, "version %u", v);
    }
    h.meta_commit_no = 7;
    jrn_seg_header_encode(&geo, 5, &h, buf);
    cr_assert_eq(jrn_seg_header_decode(&geo, 5, buf, &h), 0);
    set_version(&geo, 5, 1, buf);
    cr_assert_eq(jrn_seg_header_decode(&geo, 5, buf, &h), -FIRN_E_CORRUPT);
    jrn_seg_header_encode(&geo, 5, &head, buf); /* of slots */
    set_version(&geo, 5, 1, buf);
    cr_assert_eq(jrn_seg_header_decode(&geo, 5, buf, &h), 0);
}

/* It may have overwritten the only header that said how far numbers had come. */
Test(journal_slots, what_is_taken_from_the_log_holds_nothing_of_it)
{
    struct rig *r = begin();
    uint32_t taken = 0, sealed;

    for (uint64_t i = 0; r->nr_sealed < 3; i++) {
        rig_write(r, i, 8);
        cr_assert_eq(rig_wait(r), 0);
    }
    sealed = r->sealed[0];
    rig_free_oldest(r);
    for (unsigned i = 0; i < 8 && use_of(r, sealed) != SEGMENT_SLOTS && segpool_free_nr(r->pool) > 5; i++, taken++)
        take(r);
    cr_assert_gt(taken, 0);
    for (unsigned life = 0; life < 3; life++) {
        crash_and_open(r);
        rig_write(r, 5, 1);
        cr_assert_eq(rig_wait(r), 0);
    }
    end(r);
}

Test(journal_slots, the_log_comes_first)
{
    struct rig *r = begin();
    uint32_t nr = 0, segs[16];

    rig_write(r, 1, 1);
    cr_assert_eq(rig_wait(r), 0);
    r->j->events.slots_opened = on_slots;
    while (segpool_free_nr(r->pool) > 4)
        segs[nr++] = take(r);
    cr_assert_not(journal_slots_open(r->j, 4), "no more than were asked to stay free");
    journal_slots_free(r->j, segs[0]);
    cr_assert_eq(use_of(r, segs[0]), SEGMENT_FREE);
    cr_assert_eq(segpool_free_nr(r->pool), 5);
    rig_crash(r); /* it was not used again: its header still says what it was */
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(use_of(r, segs[0]), SEGMENT_SLOTS);
    journal_slots_free(r->j, segs[0]);
    for (uint64_t i = 0; use_of(r, segs[0]) != SEGMENT_LOG_SEALED; i++) {
        rig_write(r, 100 + i, 8);
        cr_assert_eq(rig_wait(r), 0);
        if (r->nr_sealed > 2)
            rig_free_oldest(r);
    }
    crash_and_open(r);
    cr_assert_eq(use_of(r, segs[0]), SEGMENT_LOG_SEALED);
    end(r);
}

/* Its header rots: nothing of it is found, and nobody misses it. */
Test(journal_slots, a_damaged_header_frees_the_segment)
{
    struct rig *r = begin();
    uint32_t g;

    rig_write_blocks(r, 20);
    g = take(r);
    cr_assert_eq(rig_close(r, true), 0);
    rig_flip(r, g, 60, 3);
    rig_down(r);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0);
    cr_assert_neq(use_of(r, g), SEGMENT_SLOTS);
    end(r);
}

/* ---- bad spots, and bytes of hosts, where a header and a footer might be -------------------------------------------- */

static void spoil_ends(struct rig *r, uint32_t g)
{
    sim_disk_latent(r->disk, rig_base(r, g), 4096);
    sim_disk_latent(r->disk, rig_base(r, g) + jrn_footer_off(&r->geo), 4096);
}

Test(journal_slots, two_bad_spots_in_one_refuse_no_start)
{
    struct rig *r = begin();
    uint32_t g;

    rig_write_blocks(r, 20);
    g = take(r);
    cr_assert_eq(rig_close(r, true), 0);
    spoil_ends(r, g);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0);
    cr_assert_neq(use_of(r, g), SEGMENT_SLOTS);
    end(r);
}

Test(journal_slots, two_bad_spots_in_a_segment_of_the_log_leave_its_groups)
{
    struct rig *r = begin();

    for (uint64_t i = 0; r->nr_sealed < 2; i++) {
        rig_write(r, i, 8);
        cr_assert_eq(rig_wait(r), 0);
    }
    cr_assert_eq(rig_close(r, true), 0);
    spoil_ends(r, r->sealed[0]);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0);
    end(r);
}

Test(journal_slots, a_segment_of_which_nothing_can_be_read_refuses_the_start)
{
    struct rig *r = begin();
    uint32_t g = take(r);

    cr_assert_eq(rig_close(r, true), 0);
    sim_disk_latent(r->disk, rig_base(r, g), r->geo.segment_bytes);
    cr_assert_eq(rig_open(r), -EIO);
    rig_free(r);
}

Test(journal_slots, a_footer_that_a_host_wrote_takes_no_numbers)
{
    static uint8_t buf[JRN_FOOTER_MAX] __attribute__((aligned(4096)));
    struct jrn_footer f = {.head = {.epoch = NUMBER_MEDIA_MAX, .seq_floor = 1}, .summary_off = 64 * 1024, .summary_bytes = 100,
                           .nr_entries = 1, .first_group = 1, .nr_groups = 1, .end_off = 8192};
    struct rig *r = begin();
    uint32_t g;

    rig_write_blocks(r, 20);
    g = take(r);
    cr_assert_eq(rig_close(r, true), 0);
    jrn_footer_encode(&r->geo, g, &f, buf);
    sim_disk_poke(r->disk, rig_base(r, g) + jrn_footer_off(&r->geo), buf, r->geo.head_bytes);
    rig_flip(r, g, 60, 3);
    rig_down(r);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0);
    cr_assert_neq(use_of(r, g), SEGMENT_SLOTS);
    end(r);
}
