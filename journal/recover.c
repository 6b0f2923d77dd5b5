/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c: replay.
 *
 * 1. Every segment that holds something of the shard is looked at: header, footer and summary; without a summary its groups
 *    are searched (scan.c). From all of them, and from what the owner's metadata names: the durable mark of each stream; and
 *    where earlier recoveries cut it.
 * 2. In the order of epochs, each segment is judged (recover_judge.c) and its summary, found or gathered, is told to the
 *    owner: records, damaged ranges.
 * 3. Numbers go on above everything seen.
 * Nothing is written here; repair.c does, once the owner has agreed by calling journal_open().
 * Failures: groups lost whose ranges nothing names stop the start with -FIRN_E_CORRUPT, unless the owner accepts loss.
 */
#include <errno.h>
#include <stdlib.h>

#include "journal/priv.h"

static int by_epoch(const void *a, const void *b)
{
    uint64_t x = ((const struct rseg *)a)->epoch, y = ((const struct rseg *)b)->epoch;

    return x < y ? -1 : x > y;
}

static int recovery_new(struct journal *j, const struct journal_replay_ops *ops, struct journal_replay_report *report,
                        struct recovery **out)
{
    struct recovery *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    *out = r;
    r->j = j;
    r->ops = ops;
    r->report = report;
    r->segs = calloc(j->geo.nr_segments, sizeof(*r->segs));
    r->buf = aligned_alloc(BLOCK_BYTES, GROUP_BYTES_MAX);
    r->summary = aligned_alloc(BLOCK_BYTES, summary_cap(&j->geo) + BLOCK_BYTES);
    if (!r->segs || !r->buf || !r->summary)
        return -ENOMEM;
    for (uint32_t i = 0; i < j->geo.nr_segments; i++) {
        const struct segment_info *info = segpool_slot(j->pool, i);

        if (info->use == SEGMENT_LOG_OPEN && info->shard == j->opts.shard)
            r->segs[r->nr_segs++] = (struct rseg){
                .segment = i, .shard = info->shard, .stream = info->stream, .epoch = info->epoch, .cut = UINT64_MAX};
    }
    qsort(r->segs, r->nr_segs, sizeof(*r->segs), by_epoch);
    report->segments = r->nr_segs;
    return 0;
}

void recovery_free(struct recovery *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; r->segs && i < r->nr_segs; i++) {
        scan_free(&r->segs[i].scan);
        free(r->segs[i].sum.buf);
        free(r->segs[i].drop);
    }
    free(r->segs);
    free(r->buf);
    free(r->summary);
    free(r);
}

/* A later segment of the stream begins at a number: older ones end below it. Not those with a footer: it was written when their
 * groups had been answered, or judged, and says for itself where they end. */
static void mark_cuts(struct recovery *r)
{
    uint64_t lowest[JOURNAL_STREAM_NR] = {UINT64_MAX, UINT64_MAX};

    for (uint32_t i = r->nr_segs; i-- > 0;) {
        struct rseg *s = &r->segs[i];
        uint64_t *low = &lowest[s->stream];

        if (!s->foot_ok)
            s->cut = *low;
        if (s->first)
            *low = MIN(*low, s->first);
        if (s->head.cut_group)
            *low = MIN(*low, s->head.cut_group);
    }
}

/* ---- telling the owner ----------------------------------------------------------------------------------------------- */

/* The group is damaged, this record is not: without payload all of it stands in the echo or the header. */
static int tell_bare(struct recovery *r, const struct rseg *s, const struct jrn_entry *e, const struct jrn_record *rec)
{
    struct journal_record out = {.type = rec->type, .stream = s->stream, .layer = rec->layer, .lba = rec->lba,
                                 .nblocks = rec->nblocks, .seq = rec->seq, .loc = {s->segment, e->unit}};

    r->report->records++;
    return r->ops->record ? r->ops->record(r->ops->ctx, &out) : 0;
}

static int tell_damage(struct recovery *r, const struct rseg *s, const struct jrn_entry *e)
{
    struct journal_damage d = {.segment = s->segment, .unit = e->unit, .range_known = e->kind == JRN_ENTRY_DAMAGED};
    int err = 0;

    if (!d.range_known && r->ops->damage)
        return r->ops->damage(r->ops->ctx, &d);
    for (uint32_t i = 0; i < e->nr_records && !err; i++) {
        struct jrn_record rec;

        jrn_entry_record(e, i, &rec);
        if (!jrn_record_has_sums(&rec)) {
            err = tell_bare(r, s, e, &rec);
            continue;
        }
        r->j->opts.placed |= rec.type == JOURNAL_PLACED;
        d.layer = rec.layer;
        d.lba = rec.lba;
        d.nblocks = rec.nblocks;
        d.seq = rec.seq;
        if (r->ops->damage)
            err = r->ops->damage(r->ops->ctx, &d);
    }
    return err;
}

static int tell_records(struct recovery *r, const struct rseg *s, const struct jrn_entry *e)
{
    uint32_t done = 0, sums = 0;
    int err = 0;

    jrn_entry_csums(e, 0, e->nr_sums, r->csum);
    for (uint32_t i = 0; i < e->nr_records && !err; i++) {
        struct journal_record out = {.stream = s->stream, .loc = {s->segment, e->unit}};
        struct jrn_record rec;

        jrn_entry_record(e, i, &rec);
        out.type = rec.type;
        out.layer = rec.layer;
        out.lba = rec.lba;
        out.nblocks = rec.nblocks;
        out.seq = rec.seq;
        out.place = rec.place;
        if (rec.type == JOURNAL_WRITE) {
            out.loc.unit = e->unit + e->header_units + done * JOURNAL_UNITS_PER_BLOCK;
            done += (uint32_t)rec.nblocks;
        }
        if (jrn_record_has_sums(&rec)) {
            out.csum = r->csum + sums;
            sums += (uint32_t)rec.nblocks;
        }
        r->j->opts.placed |= rec.type == JOURNAL_PLACED;
        r->report->records++;
        if (r->ops->record)
            err = r->ops->record(r->ops->ctx, &out);
    }
    r->report->groups++;
    r->report->blocks += e->nr_blocks;
    return err;
}

static int tell_entries(struct recovery *r, const struct rseg *s, const uint8_t *summary, size_t len)
{
    size_t pos = 0;
    int err = 0;

    while (pos < len && !err) {
        struct jrn_entry e;

        err = jrn_entry_decode(&r->j->geo, summary, len, &pos, &e);
        if (err)
            return err;
        err = e.kind == JRN_ENTRY_KEPT ? tell_records(r, s, &e) : tell_damage(r, s, &e);
    }
    return err;
}

static void tell_segment(struct recovery *r, const struct rseg *s)
{
    struct segment_info info = {
        .use = SEGMENT_LOG_SEALED,
        .shard = s->head.shard,
        .stream = s->stream,
        .epoch = s->epoch,
        .seq_min = s->sealed ? s->foot.seq_min : s->sum.seq_min,
        .seq_max = s->sealed ? s->foot.seq_max : s->sum.seq_max,
        .used_units = (uint32_t)(s->end_off / JOURNAL_UNIT_BYTES),
    };

    if (r->ops->segment)
        r->ops->segment(r->ops->ctx, s->segment, &info);
}

/* ---- one segment ------------------------------------------------------------------------------------------------------ */

/* The header of a sealed segment's first group: its echo names the group before it. */
static bool first_header(struct recovery *r, const struct rseg *s, struct jrn_group *g)
{
    uint64_t off = segment_base(&r->j->geo, s->segment) + JRN_SEG_HEADER_BYTES;
    int err = -FIRN_E_CORRUPT;

    for (uint32_t i = 0; i < JRN_READS && err == -FIRN_E_CORRUPT; i++) {
        bool unreadable;

        err = read_soft(r->j->dev, off, r->summary, JRN_GROUP_HEADER_MAX, &unreadable);
        if (!err)
            err = jrn_group_decode(&r->j->geo, s->segment, JRN_SEG_HEADER_BYTES, r->summary, JRN_GROUP_HEADER_MAX, g);
    }
    return err == 0 && g->epoch == s->epoch && g->number == s->first;
}

static int replay_sealed(struct recovery *r, struct rseg *s)
{
    struct rstream *st = &r->streams[s->stream];
    int err = 0;

    rseg_enter(r, s);
    if (st->expected < s->first) {
        struct jrn_group g;
        bool named = first_header(r, s, &g);

        err = judge_missing(r, s, s->first, JRN_SEG_HEADER_BYTES, named ? &g : NULL);
    }
    if (!err)
        err = rseg_read_summary(r, s);
    if (err)
        return err;
    st->expected = MAX(st->expected, s->foot.first_group + s->foot.nr_groups);
    tell_segment(r, s);
    return tell_entries(r, s, r->summary, (size_t)s->foot.summary_bytes);
}

static int replay_scanned(struct recovery *r, struct rseg *s)
{
    int err = rseg_judge(r, s);

    if (err || s->sum.nr_entries == 0)
        return err;
    tell_segment(r, s);
    return tell_entries(r, s, s->sum.buf, s->sum.len);
}

/* ---- the whole --------------------------------------------------------------------------------------------------------- */

static uint64_t end_group(const struct rseg *s)
{
    return s->sealed ? s->foot.first_group + s->foot.nr_groups : s->sum.first_group + s->sum.nr_groups;
}

static void set_numbers(struct recovery *r)
{
    struct journal *j = r->j;

    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++) {
        struct stream *st = &j->streams[i];

        st->next_group = r->streams[i].expected ? r->streams[i].expected : MAX(r->streams[i].floor, UINT64_C(1));
        st->durable_group = st->next_group - 1;
        st->cut_group = st->next_group;
        if (r->streams[i].last) {
            st->last_segment = r->streams[i].last->segment;
            st->last_epoch = r->streams[i].last->epoch;
            st->mark = (struct journal_mark){end_group(r->streams[i].last) - 1, st->last_epoch, st->last_segment};
        }
    }
    r->report->seq_max = r->seq_max;
    r->report->meta_commit_no_max = MAX(r->report->meta_commit_no_max, segpool_meta_commit_no(j->pool));
    j->next_seq = MAX(MAX(r->seq_max, segpool_seq_floor(j->pool, j->opts.shard)), j->opts.seq_floor) + JRN_SEQ_MARGIN;
    j->durable_seq = j->next_seq - 1;
}

/* The segment before this one was neither freed nor used again, and yet nothing in it says that it was ever written: header,
 * footer and groups are all gone. Nothing names what it held. */
static void check_previous(struct recovery *r, const struct rseg *s)
{
    const struct jrn_seg_header *h = &s->head;

    if (!(s->head_ok || s->foot_ok) || h->prev_epoch == 0 ||
        segpool_slot(r->j->pool, h->prev_segment)->epoch >= h->prev_epoch)
        return;
    log_error("journal segment vanished", "shard=%" PRIu32 " segment=%" PRIu32 " epoch=%" PRIu64 " before=%" PRIu32,
              r->j->opts.shard, h->prev_segment, h->prev_epoch, s->segment);
    r->report->groups_corrupt++;
    r->unnamed++;
}

/* ---- what the owner's metadata calls durable --------------------------------------------------------------------------- */

static bool mark_found(const struct recovery *r, uint32_t stream, const struct journal_mark *m)
{
    for (uint32_t i = 0; i < r->nr_segs; i++)
        if (r->segs[i].epoch == m->epoch && r->segs[i].segment == m->segment && r->segs[i].stream == stream)
            return true;
    return false;
}

/* A mark raises its stream's while the segment that it names is there. If that was freed, or used again, the mark is out of
 * date; if it is neither, the segment vanished. */
static int marks_apply(struct recovery *r)
{
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++) {
        const struct journal_mark *m = &r->j->opts.marks[i];

        if (m->epoch == 0 || r->j->bugs.ignore_marks)
            continue;
        if (m->segment >= r->j->geo.nr_segments || m->group > NUMBER_MEDIA_MAX)
            return -FIRN_E_CORRUPT;
        if (mark_found(r, i, m)) {
            r->streams[i].mark = MAX(r->streams[i].mark, m->group);
            r->streams[i].owner_mark = m->group;
        } else if (segpool_slot(r->j->pool, m->segment)->epoch < m->epoch) {
            log_error("journal segment vanished", "shard=%" PRIu32 " segment=%" PRIu32 " epoch=%" PRIu64 " group=%" PRIu64,
                      r->j->opts.shard, m->segment, m->epoch, m->group);
            r->report->groups_corrupt++;
            r->unnamed++;
        }
    }
    return 0;
}

/* The segment is there, but neither a group in it nor its footer: nothing else counts what is missing. */
static void marks_reached(struct recovery *r)
{
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++) {
        struct rstream *st = &r->streams[i];

        if (st->end > st->owner_mark || st->owner_mark == 0)
            continue;
        log_error("journal ends before what the metadata calls durable", "shard=%" PRIu32 " stream=%" PRIu32 " group=%" PRIu64
                  " durable=%" PRIu64, r->j->opts.shard, i, st->end, st->owner_mark);
        r->report->groups_corrupt++;
        r->unnamed++;
    }
}

static int replay_all(struct recovery *r)
{
    int err = 0;

    for (uint32_t i = 0; i < r->nr_segs && !err; i++)
        err = rseg_load(r, &r->segs[i]);
    if (!err)
        err = marks_apply(r);
    if (err)
        return err;
    mark_cuts(r);
    for (uint32_t i = 0; i < r->nr_segs && !err; i++) {
        struct rseg *s = &r->segs[i];

        err = s->sealed ? replay_sealed(r, s) : replay_scanned(r, s);
        if (!rseg_empty(s)) {
            check_previous(r, s);
            r->streams[s->stream].last = s;
            r->streams[s->stream].end = MAX(r->streams[s->stream].end, end_group(s));
        }
    }
    if (err)
        return err;
    marks_reached(r);
    recover_next(r);
    return recover_verify(r);
}

/* Whether what follows can be numbered so that the next start believes it. */
static int numbers_left(const struct journal *j)
{
    uint64_t group = 0;

    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++)
        group = MAX(group, j->streams[i].next_group);
    if (group <= NUMBER_START_MAX && j->next_seq <= SEQ_START_MAX)
        return 0;
    log_error("the log claims numbers that leave none for the next write; not started",
              "shard=%" PRIu32 " group=%" PRIu64 " most=%" PRIu64 " seq=%" PRIu64 " most=%" PRIu64, j->opts.shard, group,
              (uint64_t)NUMBER_START_MAX, j->next_seq, (uint64_t)SEQ_START_MAX);
    return -FIRN_E_CORRUPT;
}

int journal_replay(struct journal *j, const struct journal_replay_ops *ops, struct journal_replay_report *report)
{
    int err;

    assert(!j->recovery);
    memset(report, 0, sizeof(*report));
    err = recovery_new(j, ops, report, &j->recovery);
    if (!err)
        err = replay_all(j->recovery);
    if (err)
        return err;
    set_numbers(j->recovery);
    err = numbers_left(j);
    if (err)
        return err;
    report->groups_unnamed = j->recovery->unnamed;
    if (j->recovery->unnamed && !j->opts.accept_loss) {
        log_error(report->groups_maybe < report->groups_unnamed
                      ? "journal has lost acknowledged records that nothing names; not started"
                      : "journal cannot be read where acknowledged records may stand, or nothing; not started",
                  "shard=%" PRIu32 " groups=%" PRIu64, j->opts.shard, j->recovery->unnamed);
        return -FIRN_E_CORRUPT;
    }
    return 0;
}
