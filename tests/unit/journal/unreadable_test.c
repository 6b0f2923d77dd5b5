/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning of a segment cannot be read: header and first group. If the log may have gone on there, a start says so; if it cannot
 * have, a start goes on as ever. */
#include "rig.h"

TestSuite(journal_unreadable, .timeout = 120);

static struct rig *started(void)
{
    struct rig *r = rig_new(&(struct rig_opts){.nr_segments = 8});

    log_set_level(LOG_LEVEL_ERROR + 1);
    cr_assert_eq(rig_open(r), 0);
    return r;
}

static uint32_t write_one(struct rig *r, uint64_t nblocks)
{
    struct wr *w = rig_write(r, r->nr_w * 100, nblocks);

    cr_assert_eq(rig_wait(r), 0);
    return w->a.loc.segment;
}

/* Groups until the first one in a segment that is not the first's. Returns that segment. */
static uint32_t write_into_next(struct rig *r)
{
    uint32_t first = write_one(r, 4), now = first;

    while (now == first)
        now = write_one(r, 4);
    sim_run_for(r->sim, NS_PER_MS);
    return now;
}

static void lose(struct rig *r, uint32_t segment, uint64_t from, uint64_t len)
{
    sim_disk_latent(r->disk, rig_base(r, segment) + from, len);
}

/* Every start says that something is missing, until that is accepted; what was accepted once is settled. */
static void told_until_accepted(struct rig *r)
{
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
        cr_assert_geq(r->report.groups_unnamed, 1u);
    }
    r->opts.journal.accept_loss = true;
    cr_assert_eq(rig_open(r), 0);
    rig_crash(r);
    r->opts.journal.accept_loss = false;
    cr_assert_eq(rig_open(r), 0);
    rig_free(r);
}

static void all_there(struct rig *r)
{
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(rig_open(r), 0);
        cr_assert_eq(rig_verify(r), 0);
        cr_assert_eq(r->report.groups_corrupt, 0);
        rig_crash(r);
    }
    rig_free(r);
}

Test(journal_unreadable, a_header_alone_costs_nothing)
{
    struct rig *r = started();
    uint32_t next = write_into_next(r);

    rig_crash(r);
    lose(r, next, 0, 4096);
    all_there(r);
}

Test(journal_unreadable, header_and_only_group_behind_a_sealed_segment_are_missed)
{
    struct rig *r = started();
    uint32_t next = write_into_next(r);

    cr_assert_eq(r->nr_sealed, 1);
    rig_crash(r);
    lose(r, next, 0, 8192);
    told_until_accepted(r);
}

Test(journal_unreadable, header_and_only_group_behind_a_full_segment_without_a_summary_are_missed)
{
    struct rig *r = started();
    uint32_t next = write_into_next(r);

    rig_crash(r);
    rig_zero(r, r->w[0].a.loc.segment, jrn_footer_off(&r->geo), r->geo.head_bytes);
    lose(r, next, 0, 8192);
    told_until_accepted(r);
}

Test(journal_unreadable, header_rotten_and_only_group_unreadable_are_missed)
{
    struct rig *r = started();
    uint32_t next = write_into_next(r);

    rig_crash(r);
    rig_flip(r, next, 60, 3);
    lose(r, next, 4096, 4096);
    told_until_accepted(r);
}

Test(journal_unreadable, what_the_metadata_names_is_missed_behind_anything)
{
    struct journal_mark marks[JOURNAL_STREAM_NR];
    struct rig *r = started();
    uint32_t next = write_into_next(r);

    journal_marks(r->j, marks);
    cr_assert_eq(marks[JOURNAL_HOST].segment, next);
    rig_crash(r);
    memcpy(r->opts.journal.marks, marks, sizeof(marks));
    lose(r, next, 0, 8192);
    r->replay_only = true;
    cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    rig_free(r);
}

/* With one copy, bytes that read as something else than what was written are what a power cut may leave. */
Test(journal_unreadable, header_and_only_group_that_rotted_look_like_a_tear_unless_the_metadata_names_them)
{
    struct journal_mark marks[JOURNAL_STREAM_NR];
    struct rig *r = started();
    uint32_t next = write_into_next(r);

    journal_marks(r->j, marks);
    rig_crash(r);
    rig_flip(r, next, 60, 3);
    rig_flip(r, next, 4096 + 60, 3);
    r->replay_only = true;
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.records, r->nr_w - 1);
    memcpy(r->opts.journal.marks, marks, sizeof(marks));
    cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    rig_free(r);
}

/* All before it is freed: nothing but its header says that it belongs to the log, and nothing at all which group was the first. */
Test(journal_unreadable, the_first_group_of_the_only_segment_is_missed)
{
    struct rig *r = started();
    uint32_t next = write_into_next(r);

    rig_free_oldest(r);
    rig_crash(r);
    lose(r, next, 4096, 4096);
    told_until_accepted(r);
}

Test(journal_unreadable, the_first_segment_of_a_new_log_is_missed)
{
    struct rig *r = started();
    uint32_t first = write_one(r, 1);

    rig_crash(r);
    lose(r, first, 0, 8192);
    told_until_accepted(r);
}

/* The segment that was opened ahead before the crash is empty, and says no more that the log stays there. */
Test(journal_unreadable, the_first_segment_after_a_start_is_missed)
{
    for (uint32_t groups = 1; groups < 60; groups += 3) { /* some end with a segment opened ahead, some without */
        struct rig *r = started();
        uint32_t now = 0;

        for (uint32_t i = 0; i < groups; i++)
            write_one(r, 4);
        rig_crash(r);
        cr_assert_eq(rig_open(r), 0);
        now = write_one(r, 1);
        rig_crash(r);
        lose(r, now, 0, 8192);
        told_until_accepted(r);
    }
}

Test(journal_unreadable, the_first_segment_after_a_stop_is_missed)
{
    for (uint32_t groups = 1; groups < 60; groups += 3) {
        struct rig *r = started();
        uint32_t now = 0;

        for (uint32_t i = 0; i < groups; i++)
            write_one(r, 4);
        cr_assert_eq(rig_close(r, true), 0);
        cr_assert_eq(rig_open(r), 0);
        now = write_one(r, 1);
        rig_crash(r);
        lose(r, now, 0, 8192);
        told_until_accepted(r);
    }
}

Test(journal_unreadable, the_segment_behind_one_that_was_wanted_back_is_missed)
{
    struct rig *r = started();
    uint32_t first = write_one(r, 1), now;

    journal_segment_seal(r->j, first);
    now = write_one(r, 1);
    cr_assert_neq(now, first);
    cr_assert_eq(r->nr_sealed, 1, "nothing follows before the summary says so");
    rig_crash(r);
    lose(r, now, 0, 8192);
    told_until_accepted(r);
}

/* Its summary, too: then nothing says that it was wanted back, and it seems to have room. */
Test(journal_unreadable, a_spot_over_the_end_of_one_that_was_wanted_back_and_the_beginning_of_the_next_is_missed)
{
    struct rig *r = started();
    uint32_t first = write_one(r, 1), now;

    journal_segment_seal(r->j, first);
    now = write_one(r, 1);
    cr_assert_eq(now, first + 1);
    rig_crash(r);
    lose(r, first, r->geo.segment_bytes - 4096, 4096 + 8192);
    told_until_accepted(r);
}

/* Where the log cannot have gone on: in each other segment in turn. */
static void elsewhere_is_no_matter(struct rig *r)
{
    rig_save(r);
    r->replay_only = true;
    for (uint32_t i = 0; i < r->geo.nr_segments; i++) {
        uint8_t head[JRN_SEG_HEADER_BYTES];
        struct jrn_seg_header h;

        sim_disk_peek(r->disk, rig_base(r, i), head, sizeof(head));
        if (jrn_seg_header_decode(&r->geo, i, head, &h) == 0 && h.epoch > r->freed[i])
            continue;
        lose(r, i, 0, 8192);
        cr_assert_eq(rig_open(r), 0, "segment %u", i);
        cr_assert_eq(r->report.groups_corrupt, 0);
        cr_assert_eq(rig_verify(r), 0);
        sim_disk_heal(r->disk);
    }
    rig_free(r);
}

Test(journal_unreadable, a_free_segment_is_no_matter_after_a_crash)
{
    struct rig *r = started();

    write_into_next(r);
    rig_crash(r);
    elsewhere_is_no_matter(r);
}

Test(journal_unreadable, a_free_segment_is_no_matter_after_a_crash_with_one_opened_ahead)
{
    struct rig *r = started();

    while (r->opened < 2)
        write_one(r, 4);
    sim_run_for(r->sim, NS_PER_MS);
    rig_crash(r);
    elsewhere_is_no_matter(r);
}

Test(journal_unreadable, starts_that_find_nothing_new_take_no_more_segments)
{
    struct rig *r = started();

    write_one(r, 1);
    cr_assert_eq(rig_close(r, true), 0);
    for (uint32_t i = 0; i < 20; i++) {
        cr_assert_eq(rig_open(r), 0);
        cr_assert_leq(r->report.segments, 2u);
        cr_assert_eq(rig_verify(r), 0);
        if (i % 2)
            rig_crash(r);
        else
            cr_assert_eq(rig_close(r, true), 0);
    }
    rig_free(r);
}

/* ---- what the metadata says, and what is proven without it ---- */

static void stop(struct rig *r, bool final)
{
    struct journal_mark marks[JOURNAL_STREAM_NR];

    journal_marks(r->j, marks);
    cr_assert_eq(rig_close(r, true), 0);
    memcpy(r->opts.journal.marks, marks, sizeof(marks));
    r->opts.journal.marks_final = final;
}

Test(journal_unreadable, a_free_segment_is_no_matter_after_a_stop_that_was_told)
{
    struct rig *r = started();

    write_into_next(r);
    stop(r, true);
    elsewhere_is_no_matter(r);
}

Test(journal_unreadable, a_free_segment_may_have_been_written_behind_a_full_one)
{
    struct rig *r = started();

    write_into_next(r);
    stop(r, false);
    lose(r, 7, 0, 8192);
    r->replay_only = true;
    cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    cr_assert_eq(r->report.groups_unnamed, 1);
    cr_assert_eq(r->report.groups_maybe, 1, "or nothing was there");
    cr_assert_eq(r->report.maybe_segment, 7);
    rig_free(r);
}

/* The header of the one segment that is left tells of fewer groups than the metadata: it was opened ahead of them. */
Test(journal_unreadable, a_segment_opened_ahead_is_no_matter_after_a_stop_when_all_others_are_freed)
{
    struct rig *r = started();
    uint32_t first = write_one(r, 4), next;

    while (r->opened < 2)
        write_one(r, 4);
    sim_run_for(r->sim, NS_PER_MS);
    write_one(r, 4);
    next = r->j->streams[JOURNAL_HOST].next->segment;
    journal_segment_seal(r->j, first);
    sim_run_for(r->sim, 10 * NS_PER_MS);
    rig_free_oldest(r);
    stop(r, true);
    lose(r, next, 4096, 4096);
    r->replay_only = true;
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.groups_corrupt, 0);
    r->opts.journal.marks_final = false;
    cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    rig_free(r);
}

/* Final marks are believed of what lies behind them alone. */
Test(journal_unreadable, what_final_marks_name_is_missed)
{
    struct rig *r = started();
    uint32_t next = write_into_next(r);

    stop(r, true);
    lose(r, next, 0, r->geo.segment_bytes);
    r->replay_only = true;
    cr_assert_lt(rig_open(r), 0);
    sim_disk_heal(r->disk);
    rig_zero(r, next, 0, 8192);
    rig_zero(r, next, jrn_footer_off(&r->geo), r->geo.head_bytes);
    cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    cr_assert_eq(r->report.groups_maybe, 0);
    rig_free(r);
}

Test(journal_unreadable, nothing_is_in_a_segment_opened_ahead_while_the_one_before_has_room)
{
    struct rig *r = rig_new(&(struct rig_opts){.nr_segments = 8, .segment_bytes = 6 * 1024 * 1024});
    uint32_t next;

    log_set_level(LOG_LEVEL_ERROR + 1);
    cr_assert_eq(rig_open(r), 0);
    while (r->opened < 2)
        write_one(r, 32);
    sim_run_for(r->sim, NS_PER_MS);
    next = r->j->streams[JOURNAL_HOST].next->segment;
    rig_crash(r);
    lose(r, next, 4096, 4096);
    all_there(r);
}

/* Once that is full nobody knows: one group may be there. */
Test(journal_unreadable, the_first_group_of_a_segment_behind_a_full_one_may_be_missing)
{
    struct rig *r = started();
    uint32_t next = write_into_next(r);

    rig_crash(r);
    lose(r, next, 4096, 4096);
    r->replay_only = true;
    cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    cr_assert_eq(r->report.groups_maybe, 1);
    r->opts.journal.marks_final = true; /* not so: but then the answer is another one */
    cr_assert_eq(rig_open(r), 0);
    rig_free(r);
}

/* What it repeats stands where it was: that is freed by a batch alone which has the mark. */
Test(journal_unreadable, a_moved_group_without_a_mark_is_not_missed)
{
    struct rig *r = started();
    struct journal_mark before[JOURNAL_STREAM_NR], marks[JOURNAL_STREAM_NR];
    struct wr *w;

    write_one(r, 1);
    journal_marks(r->j, before);
    w = rig_append(r, JOURNAL_MOVES, JOURNAL_WRITE, 0, 1);
    cr_assert_eq(rig_wait(r), 0);
    journal_marks(r->j, marks);
    rig_crash(r);
    lose(r, w->a.loc.segment, 4096, 4096);
    r->replay_only = true;
    cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT, "metadata that names nothing may have named it once");
    memcpy(r->opts.journal.marks, before, sizeof(before));
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.groups_corrupt, 0);
    memcpy(r->opts.journal.marks, marks, sizeof(marks));
    cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    rig_free(r);
}

Test(journal_unreadable, behind_a_segment_that_was_wanted_back_the_next_one_is_opened_at_once)
{
    struct rig *r = started();
    uint32_t first = write_one(r, 1);

    journal_segment_seal(r->j, first);
    sim_run_for(r->sim, 10 * NS_PER_MS);
    cr_assert_eq(r->nr_sealed, 1);
    cr_assert_eq(r->opened, 2u);
    rig_crash(r);
    elsewhere_is_no_matter(r);
}

static bool is_sealed(const struct rig *r, uint32_t segment)
{
    for (uint32_t i = 0; i < r->nr_sealed; i++)
        if (r->sealed[i] == segment)
            return true;
    return false;
}

static bool seal_under_way(const struct stream *st)
{
    for (uint32_t i = 0; i < JRN_OSEGS; i++)
        if (st->osegs[i].state == OSEG_SEALING)
            return true;
    return false;
}

/* While the one before is still being sealed, too. */
Test(journal_unreadable, nothing_follows_a_segment_that_was_wanted_back_before_its_summary)
{
    struct rig *r = started();
    struct stream *st = &r->j->streams[JOURNAL_HOST];
    uint32_t wanted = SEGMENT_ANY;

    for (uint32_t i = 0; i < 200 && wanted == SEGMENT_ANY; i++) {
        rig_write(r, r->nr_w * 100, 4);
        while (r->in_flight && wanted == SEGMENT_ANY) {
            if (st->cur && st->cur->nr_groups > 0 && seal_under_way(st))
                wanted = st->cur->segment;
            else
                cr_assert_eq(sim_step(r->sim), 0);
        }
    }
    cr_assert_neq(wanted, SEGMENT_ANY, "two at a time");
    journal_segment_seal(r->j, wanted);
    for (uint32_t i = 0; i < 4; i++)
        rig_write(r, r->nr_w * 100, 1);
    while (r->in_flight) {
        cr_assert_eq(sim_step(r->sim), 0);
        cr_assert(!st->cur || st->cur->segment == wanted || is_sealed(r, wanted));
    }
    rig_free(r);
}
