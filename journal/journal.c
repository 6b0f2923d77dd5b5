/* SPDX-License-Identifier: Apache-2.0 */
/* journal.c: making, opening and closing one shard's log; reading its blocks; giving segments back.
 *
 * journal_new() takes all memory, journal_replay() reads (recover.c), journal_open() repairs (repair.c) and opens the first
 * HOST segment; the MOVES stream opens its first one when the first block is moved.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "journal/priv.h"

static void space_returned(struct env_task *t)
{
    struct seg_waiter *w = container_of(t, struct seg_waiter, task);
    struct journal *j = container_of(w, struct journal, waiter);

    segpool_waiter_ran(j->pool, w);
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++)
        stream_kick(&j->streams[i]);
}

/* Another shard's appends wait for a segment: the free ones are everybody's, so are the ones that could be. Or its copies do. */
static void space_asked(struct env_task *t)
{
    struct seg_waiter *w = container_of(t, struct seg_waiter, ask);
    struct journal *j = container_of(w, struct journal, waiter);

    segpool_asked_ran(j->pool, w);
    if (j->closing)
        return;
    if (segpool_hungry(j->pool) && j->events.space_wanted)
        j->events.space_wanted(j->events.ctx);
    if (j->events.slots_wanted && segpool_slots_owed(j->pool, j->opts.shard))
        j->events.slots_wanted(j->events.ctx);
}

static void opts_fill(struct journal_opts *o, const struct segpool_geometry *geo)
{
    if (!o->group_bytes_max)
        o->group_bytes_max = JRN_GROUP_BYTES_DEFAULT;
    o->group_bytes_max = MIN(MIN(o->group_bytes_max, GROUP_BYTES_MAX), geo->segment_bytes / 4);
    if (!o->groups_in_flight)
        o->groups_in_flight = 2;
    o->groups_in_flight = MIN(o->groups_in_flight, JRN_GROUPS_IN_FLIGHT_MAX);
    if (!o->reserve_segments)
        o->reserve_segments = 2;
}

/* One mapping; pages that are never used never become resident. */
static int arena_init(struct journal *j)
{
    size_t summary = summary_cap(&j->geo) + JRN_FOOTER_MAX, echo = GROUP_RECORDS_MAX * JRN_RECORD_BYTES;
    size_t stream = JRN_OSEGS * (summary + JRN_SEG_HEADER_BYTES) + j->opts.groups_in_flight * JRN_GROUP_HEADER_MAX + echo;
    uint8_t *at;

    static_assert(JRN_GROUP_HEADER_MAX % 4096 == 0 && GROUP_RECORDS_MAX * JRN_RECORD_BYTES % 4096 == 0, "aligned parts");
    j->arena_bytes = JOURNAL_STREAM_NR * stream + JRN_SLOTS_OPENING * JRN_SEG_HEADER_BYTES;
    j->arena = mmap(NULL, j->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (j->arena == MAP_FAILED) {
        j->arena = NULL;
        return -ENOMEM;
    }
    at = j->arena;
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++) {
        struct stream *st = &j->streams[i];

        for (uint32_t k = 0; k < JRN_OSEGS; k++) {
            st->osegs[k].sum.buf = at;
            st->osegs[k].sum.cap = summary_cap(&j->geo);
            st->osegs[k].block = at + summary;
            at += summary + JRN_SEG_HEADER_BYTES;
        }
        for (uint32_t k = 0; k < j->opts.groups_in_flight; k++, at += JRN_GROUP_HEADER_MAX)
            st->groups[k].header = at;
        st->echo = at;
        at += echo;
    }
    slots_opening_init(j, at);
    return 0;
}

static int stream_init(struct journal *j, enum journal_stream id)
{
    struct stream *st = &j->streams[id];

    st->j = j;
    st->id = id;
    st->run.fn = stream_run;
    list_init(&st->queue);
    st->groups = calloc(j->opts.groups_in_flight, sizeof(*st->groups));
    if (!st->groups)
        return -ENOMEM;
    for (uint32_t k = 0; k < j->opts.groups_in_flight; k++) {
        st->groups[k].st = st;
        list_init(&st->groups[k].reqs);
        st->groups[k].iov = calloc(j->iov_max, sizeof(struct iovec));
        if (!st->groups[k].iov)
            return -ENOMEM;
    }
    for (uint32_t k = 0; k < JRN_OSEGS; k++)
        st->osegs[k].st = st;
    return 0;
}

int journal_new(struct env *env, struct dev *d, struct segpool *p, const struct journal_opts *opts,
                const struct journal_events *events, struct journal **out)
{
    struct journal *j = calloc(1, sizeof(*j));
    int err = 0;

    if (!j)
        return -ENOMEM;
    j->env = env;
    j->dev = d;
    j->pool = p;
    j->geo = *segpool_geometry(p);
    j->opts = *opts;
    j->events = events ? *events : (struct journal_events){0};
    opts_fill(&j->opts, &j->geo);
    assert(opts->shard < j->geo.nr_shards && d->caps.iov_max >= 2 && d->caps.align_bytes <= 4096);
    j->reserve = j->opts.reserve_segments * j->geo.nr_shards; /* the free segments are everybody's */
    j->iov_max = MIN(d->caps.iov_max, JRN_IOV_MAX);
    list_init(&j->canceled);
    j->cancel.fn = canceled_run;
    j->waiter.env = env;
    j->waiter.shard = opts->shard;
    j->waiter.task.fn = space_returned;
    j->waiter.ask.fn = space_asked;
    segpool_waiter_add(p, &j->waiter);
    assert(segpool_areas(p) == 1 || opts->areas);
    j->pins = calloc(segpool_segments(p), sizeof(*j->pins));
    if (!j->pins)
        err = -ENOMEM;
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR && !err; i++)
        err = stream_init(j, (enum journal_stream)i);
    if (!err)
        err = arena_init(j);
    if (err) {
        journal_abandon(j);
        return err;
    }
    *out = j;
    return 0;
}

/* Recovery found something of this log, or an operator accepted that it did not: the first header settles that (its cut). */
static bool has_history(const struct journal *j)
{
    return j->streams[JOURNAL_HOST].last_epoch != 0 || j->streams[JOURNAL_MOVES].last_epoch != 0 || j->opts.accept_loss;
}

int journal_open(struct journal *j)
{
    const struct rseg *idle;
    int err;

    assert(j->recovery && (!j->recovery->unnamed || j->opts.accept_loss));
    idle = j->recovery->idle;
    err = repair(j->recovery);
    if (!err && (has_history(j) || idle))
        err = stream_open_sync(&j->streams[JOURNAL_HOST], idle ? idle->segment : SEGMENT_ANY);
    recovery_free(j->recovery);
    j->recovery = NULL;
    return err;
}

/* ---- closing -------------------------------------------------------------------------------------------------------- */

static bool journal_busy(const struct journal *j)
{
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++)
        if (stream_busy(&j->streams[i]) || j->streams[i].run.queued)
            return true;
    return slots_opening_busy(j);
}

void journal_abandon(struct journal *j)
{
    if (!j)
        return;
    (void)segpool_waiter_remove(j->pool, &j->waiter, true);
    recovery_free(j->recovery);
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++) {
        for (uint32_t k = 0; j->streams[i].groups && k < j->opts.groups_in_flight; k++)
            free(j->streams[i].groups[k].iov);
        free(j->streams[i].groups);
    }
    if (j->arena)
        munmap(j->arena, j->arena_bytes);
    free(j->pins);
    free(j);
}

static int journal_settle(struct journal *j)
{
    int err = 0;

    while (!err && (journal_busy(j) || !segpool_waiter_remove(j->pool, &j->waiter, false)))
        err = env_run_once(j->env);
    return err;
}

int journal_close(struct journal *j, bool seal)
{
    int err;

    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++)
        assert(list_empty(&j->streams[i].queue) && j->streams[i].nr_groups == 0);
    assert(list_empty(&j->canceled));
    j->closing = true;
    err = journal_settle(j);
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR && seal && !err && !j->failed; i++)
        err = stream_seal_sync(&j->streams[i]);
    if (!err && j->failed)
        err = j->fail_err;
    journal_abandon(j);
    return err;
}

/* ---- space and reads -------------------------------------------------------------------------------------------------- */

static void give(struct journal *j, uint32_t segment)
{
    figure_add(&j->stats.segments_freed, 1);
    trace(TRACE_JOURNAL_SEGMENT_FREE, segment, segpool_slot(j->pool, segment)->epoch, segpool_free_nr(j->pool) + 1);
    segpool_give(j->pool, segment);
}

void journal_segment_free(struct journal *j, uint32_t segment)
{
    const struct segment_info *i = segpool_slot(j->pool, segment);

    assert(i->use == SEGMENT_LOG_SEALED && i->shard == j->opts.shard);
    if (j->pins[segment])
        segpool_set_use(j->pool, segment, SEGMENT_FREEING);
    else
        give(j, segment);
}

void journal_segment_seal(struct journal *j, uint32_t segment)
{
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++)
        stream_seal_early(&j->streams[i], segment);
}

void journal_segment_pin(struct journal *j, uint32_t segment)
{
    assert(segment < segpool_segments(j->pool) && j->pins[segment] < UINT32_MAX);
    j->pins[segment]++;
}

void journal_segment_unpin(struct journal *j, uint32_t segment)
{
    assert(segment < segpool_segments(j->pool) && j->pins[segment] > 0);
    if (--j->pins[segment] == 0 && segpool_slot(j->pool, segment)->use == SEGMENT_FREEING)
        give(j, segment);
}

struct dev *journal_segment_dev(const struct journal *j, uint32_t segment)
{
    uint32_t area = segpool_at(j->pool, segment).area;

    return area == 0 ? j->dev : j->opts.areas[area - 1];
}

void journal_read(struct journal *j, struct journal_loc loc, struct dev_io *io)
{
    uint64_t off = (uint64_t)loc.unit * JOURNAL_UNIT_BYTES;

    assert(off >= JRN_SEG_HEADER_BYTES);
    assert(io->len_bytes <= j->geo.segment_bytes && off <= j->geo.segment_bytes - io->len_bytes);
    io->off_bytes = segpool_offset(j->pool, loc.segment, off);
    dev_read(journal_segment_dev(j, loc.segment), io);
}

/* ---- looking ----------------------------------------------------------------------------------------------------------- */

void journal_marks(const struct journal *j, struct journal_mark out[static JOURNAL_STREAM_NR])
{
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++)
        out[i] = j->streams[i].mark;
}

uint64_t journal_durable_seq(const struct journal *j) { return j->durable_seq; }
const struct journal_stats *journal_stats(const struct journal *j) { return &j->stats; }
void journal_set_commit_hist(struct journal *j, struct metric_hist *h) { j->commit_hist = h; }

void journal_set_bugs(struct journal *j, const struct journal_bugs *bugs)
{
    j->bugs = bugs ? *bugs : (struct journal_bugs){0};
}

bool journal_starved(const struct journal *j) { return segpool_hungry(j->pool); }

void journal_load(const struct journal *j, struct journal_load *out)
{
    *out = (struct journal_load){
        .free_segments = segpool_free_nr(j->pool),
        .queued = j->streams[JOURNAL_HOST].nr_queued + j->streams[JOURNAL_MOVES].nr_queued,
        .starved = journal_starved(j),
        .failed = j->failed,
    };
}
