/* SPDX-License-Identifier: Apache-2.0 */
/* recover_judge.c: walks the groups of a segment that has no summary, puts the facts of each before judge.c, and gathers
 * what is kept or known to be damaged into the summary that the segment will get.
 *
 * Numbers in a stream follow each other. Where one is missing, the durable mark tells a tear (above it: nobody was told
 * that it is safe) from damage (at or below it). The header that follows a damaged one names its ranges by its echo.
 */
#include <errno.h>

#include "journal/priv.h"

/* ---- entering a segment ----------------------------------------------------------------------------------------------- */

static uint64_t first_known(const struct rseg *s) { return s->head.cut_group ? s->head.cut_group : s->first; }

static bool epoch_present(const struct recovery *r, enum journal_stream stream, uint64_t epoch)
{
    for (uint32_t i = 0; i < r->nr_segs; i++)
        if (r->segs[i].stream == stream && r->segs[i].epoch == epoch)
            return true;
    return false;
}

/* Whether b's groups follow a's, or a segment between them was freed. Only a sealed one can have been. */
static bool follows(const struct recovery *r, const struct rseg *a, const struct rseg *b)
{
    return b->head.prev_epoch >= a->epoch && epoch_present(r, b->stream, b->head.prev_epoch);
}

void rseg_enter(struct recovery *r, struct rseg *s)
{
    struct rstream *st = &r->streams[s->stream];
    uint64_t first = MIN(first_known(s), s->cut); /* groups from the cut on are of a past that ended there */

    if (s->head.cut_group) {
        st->ended = false; /* an earlier recovery settled where it ended */
        st->torn = NULL;
    } else if (st->last && (s->head_ok || s->foot_ok) && follows(r, st->last, s)) {
        st->expected = st->end; /* whatever segments without groups said between them: they will not be there for ever */
        return;
    } else if (st->torn && (s->head_ok || s->foot_ok) && follows(r, st->torn, s)) {
        return; /* nothing counts in the stream's oldest one, and it was not freed: its groups are not skipped over */
    }
    if (!first)
        return;
    if (st->expected == 0 || s->head_ok || s->foot_ok || first <= st->mark + 1)
        st->expected = MAX(st->expected, first);
}

/* The number behind the segment's last group, as far as anything says so. */
static uint64_t end_number(const struct recovery *r, const struct rseg *s)
{
    const struct rstream *st = &r->streams[s->stream];

    if (s->foot_ok)
        return s->foot.first_group + s->foot.nr_groups;
    for (const struct rseg *b = s + 1; b < r->segs + r->nr_segs; b++)
        if (b->stream == s->stream && first_known(b))
            return !(b->head_ok || b->foot_ok) || follows(r, s, b) ? first_known(b) : st->expected;
    return st->mark + 1;
}

/* ---- gathering ----------------------------------------------------------------------------------------------------------- */

static int gather(struct rseg *s, uint64_t number, const struct jrn_entry *e, const uint8_t *body)
{
    if (s->sealed)
        return 0; /* its summary is written */
    if (s->sum.len + jrn_entry_bytes(e->nr_records, e->nr_sums) > s->sum.cap)
        return -FIRN_E_CORRUPT;
    if (s->sum.nr_entries == 0)
        s->sum.first_group = number;
    summary_add(&s->sum, e, body);
    return 0;
}

static int keep(struct recovery *r, struct rseg *s, const struct scan_group *it)
{
    const struct jrn_group *g = &it->g;
    uint32_t header = jrn_group_padded_bytes(&r->j->geo, g);
    struct jrn_entry e = {
        .kind = JRN_ENTRY_KEPT,
        .unit = (uint32_t)(it->off / JOURNAL_UNIT_BYTES),
        .header_units = header / JOURNAL_UNIT_BYTES,
        .nr_records = g->nr_records,
        .nr_sums = g->nr_sums,
        .nr_blocks = g->nr_blocks,
        .nr_groups = 1,
    };

    s->sum.meta_commit_no = MAX(s->sum.meta_commit_no, g->meta_commit_no);
    s->end_off = MAX(s->end_off, it->off + header + (uint64_t)g->nr_blocks * BLOCK_BYTES);
    r->streams[s->stream].expected = g->number + 1;
    return gather(s, g->number, &e, jrn_group_body(g));
}

static int keep_damaged(struct recovery *r, struct rseg *s, uint64_t number, uint64_t off, const uint8_t *records,
                        uint32_t nr_records)
{
    struct jrn_entry e = {
        .kind = JRN_ENTRY_DAMAGED,
        .unit = (uint32_t)(off / JOURNAL_UNIT_BYTES),
        .nr_records = nr_records,
        .nr_groups = 1,
    };

    log_error("journal group damaged", "shard=%" PRIu32 " segment=%" PRIu32 " offset=%" PRIu64 " group=%" PRIu64
              " records=%" PRIu32, r->j->opts.shard, s->segment, off, number, nr_records);
    r->report->groups_corrupt++;
    s->hurt = true;
    r->streams[s->stream].expected = number + 1;
    return gather(s, number, &e, records);
}

static int keep_lost(struct recovery *r, struct rseg *s, uint64_t from, uint64_t nr, uint64_t off)
{
    struct jrn_entry e = {
        .kind = JRN_ENTRY_LOST,
        .unit = (uint32_t)(MIN(off, (uint64_t)r->j->geo.segment_bytes) / JOURNAL_UNIT_BYTES),
        .nr_groups = (uint32_t)nr,
    };

    log_error("journal groups lost without a name", "shard=%" PRIu32 " segment=%" PRIu32 " offset=%" PRIu64
              " group=%" PRIu64 " groups=%" PRIu64, r->j->opts.shard, s->segment, off, from, nr);
    r->report->groups_corrupt += nr;
    s->hurt = true;
    r->unnamed += nr;
    r->streams[s->stream].expected = from + nr;
    return nr <= UINT32_MAX ? gather(s, from, &e, NULL) : -FIRN_E_CORRUPT;
}

static void ends_torn(struct rstream *st, const struct rseg *s)
{
    st->ended = true;
    st->torn = s;
}

/* ---- missing numbers ------------------------------------------------------------------------------------------------------- */

/* Groups [expected, to) have no header; their place begins at off. next: the whole header of group `to`, or NULL. */
int judge_missing(struct recovery *r, struct rseg *s, uint64_t to, uint64_t off, const struct jrn_group *next)
{
    struct rstream *st = &r->streams[s->stream];
    bool unreadable = !st->ended && st->expected < to && st->expected > st->mark && rseg_unreadable(r, s, off);

    while (!st->ended && st->expected < to) {
        uint64_t n = st->expected, end = MIN(to, s->cut);
        struct facts f = {.cut = n >= s->cut, .marked = unreadable || n <= st->mark};
        enum decision d = judge(&f);
        int err = 0;

        if (d != DECISION_CORRUPT_HEADER) {
            *(d == DECISION_CUT ? &r->report->groups_cut : &r->report->groups_torn) += 1;
            if (d == DECISION_TORN)
                ends_torn(st, s);
            return 0;
        }
        if (!unreadable)
            end = MIN(end, st->mark + 1);
        if (end == to && next && next->nr_echo) {
            if (to - 1 > n)
                err = keep_lost(r, s, n, to - 1 - n, off);
            if (!err)
                err = keep_damaged(r, s, to - 1, off, jrn_group_echo_bytes(next), next->nr_echo);
        } else {
            err = keep_lost(r, s, n, end - n, off);
        }
        if (err)
            return err;
    }
    return 0;
}

/* ---- present ones ----------------------------------------------------------------------------------------------------------- */

static int judge_group(struct recovery *r, struct rseg *s, const struct scan_group *it)
{
    struct rstream *st = &r->streams[s->stream];
    const struct jrn_group *g = &it->g;
    struct facts f = {
        .header_ok = true,
        .epoch_current = g->epoch == s->epoch,
        .cut = g->number >= s->cut,
        .expected = g->number == st->expected,
        .marked = g->number <= st->mark,
        .payload_ok = true, /* below the mark the reader finds out: block by block, through the index */
    };
    bool unreadable = false;

    if (f.epoch_current && !f.cut && f.expected && !f.marked) {
        int err = rseg_check_payload(r, s, it, &f.payload_ok, &unreadable);

        if (err)
            return err;
        f.marked = unreadable; /* a block that cannot be read is no tear: its write may have been acknowledged */
    }
    if (!f.epoch_current && r->j->bugs.skip_epoch_check) {
        uint64_t expected = st->expected;
        int err = keep(r, s, it);

        st->expected = expected;
        return err;
    }
    switch (judge(&f)) {
    case DECISION_KEEP:
        return keep(r, s, it);
    case DECISION_STALE:
        r->report->groups_stale++;
        return 0;
    case DECISION_TORN:
        r->report->groups_torn++;
        ends_torn(st, s);
        s->drop[s->nr_drop++] = it->off;
        return 0;
    case DECISION_CUT:
        r->report->groups_cut++;
        s->drop[s->nr_drop++] = it->off;
        return 0;
    case DECISION_CORRUPT_PAYLOAD:
        return keep_damaged(r, s, g->number, it->off, jrn_group_body(g), g->nr_records);
    case DECISION_CORRUPT_HEADER:
        log_error("journal group repeats a number", "segment=%" PRIu32 " offset=%" PRIu64 " group=%" PRIu64, s->segment,
                  it->off, g->number);
        r->report->groups_corrupt++;
        r->unnamed++;
        s->drop[s->nr_drop++] = it->off; /* erased if the loss is accepted */
        return 0;
    }
    return -FIRN_E_CORRUPT;
}

/* Whether it is proven that nothing anybody relies on was lost at a place of this group number that cannot be read: the marks are final;
 * or a group of MOVES has no mark yet, and what it repeats stands where it was; or nothing follows the segment before this one. Metadata
 * that names no group of either stream proves nothing of MOVES: it may have been rebuilt. */
static bool nobodys(const struct recovery *r, const struct rseg *s, uint64_t number)
{
    const struct rseg *last = r->streams[s->stream].last;
    const struct journal_mark *marks = r->j->opts.marks;
    bool named = marks[JOURNAL_HOST].epoch != 0 || marks[JOURNAL_MOVES].epoch != 0;

    if (number > marks[s->stream].group && ((s->stream == JOURNAL_MOVES && named) || r->j->opts.marks_final))
        return true;
    return rseg_empty(s) && last && last->epoch == s->head.prev_epoch && rseg_has_room(r, last);
}

/* Of a stream of which nothing else is left the header says which group might be there: that one, or one a little behind it. None that
 * the metadata names in an older segment is. */
static uint64_t next_number(const struct recovery *r, const struct rseg *s)
{
    const struct journal_mark *m = &r->j->opts.marks[s->stream];
    uint64_t floor = MAX(s->head.group_floor, UINT64_C(1));

    if (r->streams[s->stream].expected)
        return r->streams[s->stream].expected;
    return m->epoch < s->epoch ? MAX(floor, m->group + 1) : floor;
}

/* Nothing behind tells where the stream ended: then it ended where no header verifies, unless that place cannot be read. */
static bool end_unreadable(struct recovery *r, struct rseg *s, uint64_t end)
{
    struct rstream *st = &r->streams[s->stream];
    uint64_t number = next_number(r, s);

    if (s->foot_ok || s->nr_drop || !(st->expected || s->head_ok) || st->expected >= s->cut)
        return false;
    for (const struct rseg *b = s + 1; b < r->segs + r->nr_segs; b++)
        if (b->stream == s->stream && first_known(b))
            return false;
    s->blind = rseg_unreadable(r, s, end);
    if (!s->blind || nobodys(r, s, number))
        return false;
    st->expected = number;
    return true;
}

/* The stream's oldest segment holds nothing, yet the one behind it, which has groups, was opened because this one filled: at
 * least the group before them was here. Its number, or 0. */
static uint64_t vanished_group(const struct recovery *r, const struct rseg *s)
{
    for (const struct rseg *b = s + 1; b < r->segs + r->nr_segs; b++)
        if (b->stream == s->stream && b->first)
            return (b->head_ok || b->foot_ok) && b->head.prev_epoch == s->epoch ? first_known(b) - 1 : 0;
    return 0;
}

int rseg_judge(struct recovery *r, struct rseg *s)
{
    struct rstream *st = &r->streams[s->stream];
    uint64_t end = JRN_SEG_HEADER_BYTES, number;
    int err = 0;

    if (s->foot_ok)
        s->cut = MIN(s->cut, s->foot.first_group + s->foot.nr_groups);
    rseg_enter(r, s);
    for (uint32_t i = 0; i < s->scan.nr && !err; i++) {
        const struct scan_group *it = &s->scan.v[i];

        if (it->g.epoch == s->epoch && st->expected && it->g.number > st->expected)
            err = judge_missing(r, s, it->g.number, end, &it->g);
        if (!err)
            err = judge_group(r, s, it);
        if (it->g.epoch == s->epoch)
            end = it->off + jrn_group_padded_bytes(&r->j->geo, &it->g) + (uint64_t)it->g.nr_blocks * BLOCK_BYTES;
    }
    if (err)
        return err;
    s->scan_end = end;
    s->hurt = false; /* what was lost before the last whole group takes none of the room behind it */
    if (!st->expected)
        st->expected = vanished_group(r, s);
    number = st->expected ? end_number(r, s) : 0;
    if (number <= st->expected && end_unreadable(r, s, end)) {
        number = st->expected + 1;
        recover_maybe(r, s->segment);
    }
    if (number > st->expected)
        return judge_missing(r, s, number, end, NULL);
    r->report->groups_torn += s->scan.torn_end;
    return 0;
}
