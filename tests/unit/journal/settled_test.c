/* SPDX-License-Identifier: Apache-2.0 */
/* What one start decides, the next one decides too, whatever the image: the facts that a decision came from are written down,
 * or are of no weight once the start is over. The images are put together by hand; no crash makes them. */
#include "rig.h"

TestSuite(journal_settled, .timeout = 60);

static struct rig *crafted(void)
{
    struct rig *r = rig_new(&(struct rig_opts){.nr_segments = 8});

    log_set_level(LOG_LEVEL_ERROR + 1);
    return r;
}

static void put_head(struct rig *r, uint32_t segment, const struct jrn_seg_header *h)
{
    uint8_t buf[JRN_SEG_HEADER_BYTES];

    jrn_seg_header_encode(&r->geo, segment, h, buf);
    sim_disk_poke(r->disk, rig_base(r, segment), buf, r->geo.head_bytes);
}

/* A group of one record: without payload, or of blocks that are not what their checksums say. Returns where its payload begins. */
static uint64_t put_group(struct rig *r, uint32_t segment, uint64_t off, struct jrn_group g)
{
    static uint8_t buf[JRN_GROUP_HEADER_MAX];
    static const uint32_t csum[JRN_GROUP_BLOCKS_MAX] = {1};
    struct jrn_record rec = {g.nr_blocks ? JOURNAL_WRITE : JOURNAL_ZERO, 7, g.number, MAX(g.nr_blocks, 1u), g.number, 0};

    g.nr_records = 1;
    g.nr_sums = g.nr_blocks;
    jrn_record_encode(&rec, buf + JRN_FIXED_BYTES);
    jrn_csums_encode(csum, g.nr_blocks, buf + JRN_FIXED_BYTES + JRN_RECORD_BYTES);
    jrn_group_encode(&r->geo, segment, off, &g, buf);
    sim_disk_poke(r->disk, rig_base(r, segment) + off, buf, jrn_group_padded_bytes(&r->geo, &g));
    return off + jrn_group_padded_bytes(&r->geo, &g);
}

/* A summary of bare records, one for each group, whose places are so many units apart. */
static void put_footer_apart(struct rig *r, uint32_t segment, const struct jrn_seg_header *h, uint64_t first, uint32_t nr, uint32_t apart)
{
    uint8_t buf[512 + 512] = {0}, body[JRN_RECORD_BYTES];
    struct jrn_footer f = {.head = *h, .summary_off = r->geo.segment_bytes - sizeof(buf), .nr_entries = nr, .first_group = first,
                           .nr_groups = nr, .seq_min = first, .seq_max = first + nr - 1, .end_off = JRN_SEG_HEADER_BYTES + 512 * nr};

    for (uint32_t i = 0; i < nr; i++) {
        struct jrn_entry e = {.kind = JRN_ENTRY_KEPT, .unit = JRN_SEG_HEADER_BYTES / 512 + i * apart, .header_units = 1,
                              .nr_records = 1, .nr_groups = 1};

        jrn_record_encode(&(struct jrn_record){JOURNAL_ZERO, 7, first + i, 1, first + i, 0}, body);
        f.summary_bytes += jrn_entry_encode(&e, body, buf + f.summary_bytes);
    }
    f.summary_crc = jrn_summary_crc(&r->geo, segment, h->epoch, buf, (size_t)f.summary_bytes);
    jrn_footer_encode(&r->geo, segment, &f, buf + 512);
    sim_disk_poke(r->disk, rig_base(r, segment) + f.summary_off, buf, sizeof(buf));
}

static void put_footer(struct rig *r, uint32_t segment, const struct jrn_seg_header *h, uint64_t first, uint32_t nr)
{
    put_footer_apart(r, segment, h, first, nr, 1);
}

/* Each start opens a segment, so that in the end every one that was given back has a header of its own. */
static void every_start_finds(struct rig *r, uint32_t records, int err)
{
    for (uint32_t i = 0; i < 12; i++) {
        cr_assert_eq(rig_open(r), err, "start %u", i);
        cr_assert_eq(r->report.records, records, "start %u", i);
        if (err == 0)
            cr_assert_eq(rig_close(r, true), 0);
    }
    rig_free(r);
}

Test(journal_settled, what_a_footer_names_is_kept_whatever_a_later_segment_says_was_cut)
{
    struct jrn_seg_header sealed = {.epoch = 2}, cut = {.epoch = 5, .cut_group = 2};
    struct rig *r = crafted();

    put_head(r, 1, &sealed);
    put_footer(r, 1, &sealed, 225, 2);
    put_head(r, 0, &cut);
    every_start_finds(r, 2, 0);
}

Test(journal_settled, a_summary_that_keeps_two_groups_in_one_place_is_not_believed)
{
    struct jrn_seg_header head = {.epoch = 2};
    struct rig *r = crafted();
    uint64_t next;

    put_head(r, 1, &head);
    next = put_group(r, 1, JRN_SEG_HEADER_BYTES, (struct jrn_group){.number = 225, .epoch = 2});
    put_group(r, 1, next, (struct jrn_group){.number = 226, .index = 1, .epoch = 2});
    put_footer_apart(r, 1, &head, 225, 2, 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.segments_scanned, 1, "its groups were looked for");
    cr_assert_eq(rig_close(r, true), 0);
    every_start_finds(r, 2, 0);
}

Test(journal_settled, nothing_comes_out_of_the_payload_of_a_dropped_group)
{
    struct rig *r = crafted();
    uint64_t inside;

    put_head(r, 0, &(struct jrn_seg_header){.epoch = 4});
    inside = put_group(r, 0, JRN_SEG_HEADER_BYTES, (struct jrn_group){.number = 30, .epoch = 4, .nr_blocks = 2});
    put_group(r, 0, inside, (struct jrn_group){.number = 9, .epoch = 4});
    put_group(r, 0, inside + 512, (struct jrn_group){.number = 9, .epoch = 5}); /* the next epoch */
    every_start_finds(r, 0, 0);
}

Test(journal_settled, the_header_says_whose_segment_it_is)
{
    struct rig *r = crafted();
    uint64_t next;

    put_head(r, 0, &(struct jrn_seg_header){.epoch = 1});
    next = put_group(r, 0, JRN_SEG_HEADER_BYTES, (struct jrn_group){.number = 70, .index = 60, .epoch = 1, .stream = JOURNAL_MOVES});
    put_group(r, 0, next, (struct jrn_group){.number = 5, .epoch = 1});
    every_start_finds(r, 1, 0);
}

/* The mark's segment holds a group, dropped, that would begin behind the mark; what was dropped is no reason to be content. */
Test(journal_settled, a_mark_is_reached_by_groups_that_count_alone)
{
    struct rig *r = crafted();

    r->opts.journal.marks[JOURNAL_HOST] = (struct journal_mark){.group = 2, .segment = 0, .epoch = 4};
    put_head(r, 0, &(struct jrn_seg_header){.epoch = 4});
    put_group(r, 0, JRN_SEG_HEADER_BYTES, (struct jrn_group){.number = 104, .index = 96, .epoch = 4});
    every_start_finds(r, 0, -FIRN_E_CORRUPT);
}

/* Segment 7 is free; the epoch that is said to be its last one is another's. */
Test(journal_settled, the_segment_before_is_looked_for_in_its_place)
{
    struct jrn_seg_header second = {.epoch = 3, .prev_segment = 7, .prev_epoch = 2, .cut_group = 1};
    struct rig *r = crafted();

    put_head(r, 0, &(struct jrn_seg_header){.epoch = 2});
    put_head(r, 1, &second);
    put_footer(r, 1, &second, 1, 2);
    every_start_finds(r, 2, -FIRN_E_CORRUPT);
}

/* All groups of the stream's first segment were in flight, and none arrived; one in the next segment did. It is behind a torn one. */
Test(journal_settled, a_group_behind_a_first_segment_that_is_torn_whole_is_dropped_once_and_for_all)
{
    struct rig *r = crafted();

    put_head(r, 0, &(struct jrn_seg_header){.epoch = 1});
    put_head(r, 2, &(struct jrn_seg_header){.epoch = 3, .prev_segment = 0, .prev_epoch = 1});
    put_group(r, 2, JRN_SEG_HEADER_BYTES, (struct jrn_group){.number = 3, .epoch = 3});
    every_start_finds(r, 0, 0);
}

Test(journal_settled, nor_does_it_count_behind_one_of_which_a_later_group_arrived)
{
    struct rig *r = crafted();

    put_head(r, 0, &(struct jrn_seg_header){.epoch = 1, .cut_group = 1});
    put_group(r, 0, JRN_SEG_HEADER_BYTES + 8192, (struct jrn_group){.number = 2, .index = 1, .epoch = 1});
    put_head(r, 2, &(struct jrn_seg_header){.epoch = 3, .prev_segment = 0, .prev_epoch = 1});
    put_group(r, 2, JRN_SEG_HEADER_BYTES, (struct jrn_group){.number = 3, .epoch = 3});
    every_start_finds(r, 0, 0);
}

/* The same, but the newest group says that those before it had been answered: they are lost. */
Test(journal_settled, a_first_segment_that_lost_what_was_durable_stops_every_start)
{
    struct rig *r = crafted();

    put_head(r, 0, &(struct jrn_seg_header){.epoch = 1});
    put_head(r, 2, &(struct jrn_seg_header){.epoch = 3, .prev_segment = 0, .prev_epoch = 1});
    put_group(r, 2, JRN_SEG_HEADER_BYTES, (struct jrn_group){.number = 3, .epoch = 3, .durable_group = 2});
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    rig_free(r);
}

static uint32_t open_segment(struct rig *r)
{
    struct segment_info info = {0};
    uint32_t i = 0;

    for (; info.use != SEGMENT_LOG_OPEN; i++)
        segpool_info(r->pool, i, &info);
    return i - 1;
}

/* The first of two starts continues behind a segment that is freed before the second one, which finds an older one to continue
 * behind, but the same number to go on with. In the end nothing is left of the first one's header. */
Test(journal_settled, starts_without_a_write_name_no_loss_where_a_segment_was_freed)
{
    struct rig *r = rig_new(&(struct rig_opts){.nr_segments = 8});
    uint32_t idle, n = 0;

    log_set_level(LOG_LEVEL_ERROR + 1);
    cr_assert_eq(rig_open(r), 0);
    do {
        rig_write(r, n * 100, 8);
        cr_assert_eq(rig_wait(r), 0);
    } while (r->w[n++].a.loc.segment == r->w[0].a.loc.segment);
    rig_crash(r);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->nr_sealed, 2);
    idle = open_segment(r);
    rig_free_sealed(r, 1);
    rig_crash(r);
    cr_assert_eq(rig_open(r), 0);
    do {
        if (r->nr_sealed > 2)
            rig_free_sealed(r, 2);
        rig_write(r, n * 100, 8);
        cr_assert_eq(rig_wait(r), 0);
    } while (r->w[n++].a.loc.segment != idle && n < 200);
    cr_assert_lt(n, 200u);
    rig_crash(r);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0);
    rig_free(r);
}
