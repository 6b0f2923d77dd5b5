/* SPDX-License-Identifier: Apache-2.0 */
/* Marks: what the owner's metadata calls durable is damaged or lost when it does not verify, never torn. */
#include "rig.h"

#define NR 6u

TestSuite(journal_marks, .timeout = 60);

/* NR groups of one record of two blocks; then the machine stops. The marks are those of the end. */
static struct rig *with_marks(enum journal_stream stream, struct journal_mark marks[static JOURNAL_STREAM_NR])
{
    struct rig *r = rig_new(&(struct rig_opts){0});

    log_set_level(LOG_LEVEL_ERROR + 1);
    cr_assert_eq(rig_open(r), 0);
    journal_marks(r->j, marks);
    cr_assert_eq(marks[stream].group, 0);
    for (uint32_t i = 0; i < NR; i++) {
        rig_append(r, stream, JOURNAL_WRITE, i * 100, 2);
        cr_assert_eq(rig_wait(r), 0);
    }
    journal_marks(r->j, marks);
    cr_assert_eq(marks[stream].group, NR);
    cr_assert_eq(marks[stream].segment, r->w[0].a.loc.segment);
    rig_crash(r);
    return r;
}

static void give(struct rig *r, const struct journal_mark *marks) { memcpy(r->opts.journal.marks, marks, sizeof(r->opts.journal.marks)); }

static uint64_t last_group(struct rig *r, struct jrn_group *g)
{
    struct jrn_group all[64];
    uint64_t off[64];
    uint32_t n = rig_groups(r, r->w[0].a.loc.segment, all, off, 64);

    cr_assert_eq(n, NR);
    *g = all[n - 1];
    return off[n - 1];
}

static void rot_in_the_newest_header(enum journal_stream stream)
{
    struct journal_mark marks[JOURNAL_STREAM_NR];
    struct rig *r = with_marks(stream, marks);
    struct jrn_group g;

    rig_flip(r, marks[stream].segment, last_group(r, &g) + 40, 3);
    rig_save(r);
    r->replay_only = true;
    cr_assert_eq(rig_open(r), 0, "nothing names it: it looks like a tear");
    cr_assert_eq(r->report.records, NR - 1);
    give(r, marks);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
        cr_assert_eq(r->report.groups_unnamed, 1);
    }
    r->replay_only = false;
    r->opts.bugs.ignore_marks = true;
    cr_assert_eq(rig_open(r), 0, "the planted bug loses it silently");
    rig_crash(r);
    r->opts.bugs.ignore_marks = false;
    rig_restore(r);
    r->opts.journal.accept_loss = true;
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.records, NR - 1);
    rig_crash(r);
    r->opts.journal.accept_loss = false;
    cr_assert_eq(rig_open(r), 0, "what was accepted once is on the medium");
    cr_assert_eq(r->report.records, NR - 1);
    rig_free(r);
}

Test(journal_marks, rot_in_the_newest_header_is_damage_if_the_metadata_names_it)
{
    rot_in_the_newest_header(JOURNAL_HOST);
    rot_in_the_newest_header(JOURNAL_MOVES);
}

Test(journal_marks, rot_in_the_newest_payload_keeps_the_record_if_the_metadata_names_it)
{
    struct journal_mark marks[JOURNAL_STREAM_NR];
    struct rig *r = with_marks(JOURNAL_MOVES, marks);
    struct jrn_group g;
    uint64_t off = last_group(r, &g);

    rig_flip(r, marks[JOURNAL_MOVES].segment, off + jrn_group_padded_bytes(&r->geo, &g) + 5000, 3);
    r->replay_only = true;
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.records, NR - 1, "nothing names it: torn");
    give(r, marks);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.records, NR, "its reader finds out, block by block");
    rig_free(r);
}

Test(journal_marks, older_marks_change_nothing_and_foreign_ones_are_refused)
{
    struct journal_mark marks[JOURNAL_STREAM_NR], old;
    struct rig *r = with_marks(JOURNAL_HOST, marks);
    struct jrn_group g;

    rig_flip(r, marks[JOURNAL_HOST].segment, last_group(r, &g) + 40, 3);
    r->replay_only = true;
    old = marks[JOURNAL_HOST];
    marks[JOURNAL_HOST].group = NR - 1;
    give(r, marks);
    cr_assert_eq(rig_open(r), 0, "the group behind the mark may be torn");
    cr_assert_eq(r->report.records, NR - 1);
    marks[JOURNAL_HOST] = (struct journal_mark){old.group, old.epoch, RIG_SEGMENTS};
    give(r, marks);
    cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    rig_free(r);
}

/* A device that lied about every flush may leave the header of a segment and nothing in it, or nothing at all. */
Test(journal_marks, a_segment_without_its_groups_stops_the_start_unless_it_was_freed)
{
    for (uint32_t from = 0; from <= JRN_SEG_HEADER_BYTES; from += JRN_SEG_HEADER_BYTES) {
        struct journal_mark marks[JOURNAL_STREAM_NR];
        struct rig *r = with_marks(JOURNAL_HOST, marks);
        const struct journal_mark *m = &marks[JOURNAL_HOST];

        rig_zero(r, m->segment, from, RIG_SEGMENT_BYTES - from);
        r->replay_only = true;
        cr_assert_eq(rig_open(r), 0, "nothing names it: it was never written");
        give(r, marks);
        cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
        cr_assert_geq(r->report.groups_unnamed, 1u);
        r->freed[m->segment] = m->epoch;
        cr_assert_eq(rig_open(r), 0);
        rig_free(r);
    }
}

Test(journal_marks, recovery_names_what_it_kept)
{
    struct journal_mark marks[JOURNAL_STREAM_NR], after[JOURNAL_STREAM_NR];
    struct rig *r = with_marks(JOURNAL_MOVES, marks);

    give(r, marks);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(rig_open(r), 0);
        journal_marks(r->j, after);
        cr_assert_eq(memcmp(&after[JOURNAL_MOVES], &marks[JOURNAL_MOVES], sizeof(after[0])), 0);
        cr_assert_eq(after[JOURNAL_HOST].group, 0);
        rig_crash(r);
    }
    rig_free(r);
}

/* The newest payload is read back at the start: what is not there is counted, and its records stay. */
Test(journal_marks, the_newest_payload_is_compared_at_every_start)
{
    struct journal_mark marks[JOURNAL_STREAM_NR];
    struct rig *r = with_marks(JOURNAL_HOST, marks);

    give(r, marks);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.blocks_bad, 0);
    rig_crash(r);
    rig_flip(r, marks[JOURNAL_HOST].segment, r->w[2].a.loc.unit * 512 + 4096, 1);
    rig_flip(r, marks[JOURNAL_HOST].segment, r->w[NR - 1].a.loc.unit * 512, 1);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(rig_open(r), 0);
        cr_assert_eq(r->report.blocks_bad, 2);
        cr_assert_eq(r->report.records, NR);
        rig_crash(r);
    }
    rig_free(r);
}
