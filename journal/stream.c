/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c: a stream's open segments.
 *
 * Life of one: taken from the pool, header written durably (opening), waits (ready), takes groups (filling), takes no more
 * (full, or its owner wants it back), and when its groups and everything older are durable and sealed, gets its summary
 * (sealing); then it is the owner's to free. The next one is opened when the current one is three quarters full, so that a
 * switch waits for nothing. The first one of a log in which nothing was ever written is opened for its first append: who only
 * reads needs no segment for it.
 * No free segment: appends wait, and the pool tells when one comes back. A write that fails stops the journal.
 */
#include "journal/priv.h"

#define BIT(x) (1u << (x))
static const unsigned oseg_next[OSEG_STATE_NR] = {
    [OSEG_IDLE] = BIT(OSEG_OPENING),
    [OSEG_OPENING] = BIT(OSEG_READY),
    [OSEG_READY] = BIT(OSEG_FILLING) | BIT(OSEG_IDLE) | BIT(OSEG_OPENING),
    [OSEG_FILLING] = BIT(OSEG_FULL) | BIT(OSEG_IDLE),
    [OSEG_FULL] = BIT(OSEG_SEALING),
    [OSEG_SEALING] = BIT(OSEG_IDLE),
};

void oseg_set_state(struct oseg *s, enum oseg_state state)
{
    assert(oseg_next[s->state] & BIT(state));
    s->state = state;
}

/* ---- summaries ------------------------------------------------------------------------------------------------------ */

/* A sixteenth of the segment: groups of single 4 KiB blocks need a hundredth. Many tiny records fill it first, and the
 * segment is then sealed early. At least a few of the longest groups. */
size_t summary_cap(const struct segpool_geometry *geo)
{
    return ROUND_UP(MAX(geo->segment_bytes / 16u, 4u * JRN_GROUP_HEADER_MAX), 4096u);
}

void summary_reset(struct summary *s, uint64_t first_group)
{
    s->len = 0;
    s->nr_entries = 0;
    s->first_group = first_group;
    s->nr_groups = s->seq_min = s->seq_max = s->meta_commit_no = 0;
}

void summary_add(struct summary *s, const struct jrn_entry *e, const uint8_t *body)
{
    struct jrn_entry view = *e;
    struct jrn_record r;

    assert(s->len + jrn_entry_bytes(e->nr_records, e->nr_sums) <= s->cap);
    s->len += jrn_entry_encode(e, body, s->buf + s->len);
    s->nr_entries++;
    s->nr_groups += e->nr_groups;
    view.raw = body;
    for (uint32_t i = 0; i < e->nr_records; i++) {
        jrn_entry_record(&view, i, &r);
        s->seq_min = s->seq_min ? MIN(s->seq_min, r.seq) : r.seq;
        s->seq_max = MAX(s->seq_max, r.seq);
    }
}

static uint64_t summary_room(const struct segpool_geometry *geo, size_t len)
{
    return ROUND_UP(len, (size_t)geo->align_bytes) + geo->head_bytes;
}

int summary_finish(struct summary *s, const struct segpool_geometry *geo, uint32_t segment,
                   const struct jrn_seg_header *head, uint64_t end_off, uint64_t *summary_off, size_t *bytes)
{
    uint64_t room = summary_room(geo, s->len);
    size_t padded = (size_t)room - geo->head_bytes;
    struct jrn_footer f = {
        .head = *head,
        .summary_off = geo->segment_bytes - room,
        .summary_bytes = s->len,
        .summary_crc = jrn_summary_crc(geo, segment, head->epoch, s->buf, s->len),
        .nr_entries = s->nr_entries,
        .first_group = s->first_group,
        .nr_groups = s->nr_groups,
        .seq_min = s->seq_min,
        .seq_max = s->seq_max,
        .end_off = end_off,
        .meta_commit_no = s->meta_commit_no,
    };

    if (end_off + room > geo->segment_bytes)
        return -FIRN_E_CORRUPT;
    memset(s->buf + s->len, 0, padded - s->len);
    jrn_footer_encode(geo, segment, &f, s->buf + padded);
    *summary_off = f.summary_off;
    *bytes = (size_t)room;
    return 0;
}

/* ---- room for the next group ---------------------------------------------------------------------------------------- */

static inline bool fits(const struct segpool_geometry *geo, uint64_t off, size_t summary_len, size_t cap, const struct jrn_group *shape,
                        uint32_t nr_blocks)
{
    size_t summary = summary_len + jrn_entry_bytes(shape->nr_records, shape->nr_sums);
    uint64_t end = off + jrn_group_padded_bytes(geo, shape) + (uint64_t)nr_blocks * BLOCK_BYTES;

    return summary <= cap && end + summary_room(geo, summary) <= geo->segment_bytes;
}

bool oseg_fits(const struct stream *st, const struct oseg *s, uint32_t nr_records, uint32_t nr_sums, uint32_t nr_blocks)
{
    struct jrn_group shape = {.nr_records = nr_records, .nr_echo = st->nr_echo, .nr_sums = nr_sums};

    return fits(&st->j->geo, s->off, s->sum.len, s->sum.cap, &shape, nr_blocks);
}

bool segment_has_room(const struct segpool_geometry *geo, uint64_t off, size_t summary_len)
{
    uint32_t blocks = segpool_record_blocks_max(geo);
    struct jrn_group longest = {.nr_records = 1, .nr_echo = GROUP_RECORDS_MAX, .nr_sums = blocks};

    return fits(geo, off, summary_len, summary_cap(geo), &longest, blocks);
}

static void stream_switch(struct stream *st)
{
    if (st->cur) {
        oseg_set_state(st->cur, OSEG_FULL);
        st->cur = NULL;
        stream_seal_ready(st);
    }
    if (st->next && st->next->state == OSEG_READY) {
        st->cur = st->next;
        st->next = NULL;
        oseg_set_state(st->cur, OSEG_FILLING);
    }
}

/* Recovery takes it that nothing follows a segment without a summary that has room: nothing does before the summary is durable. */
void stream_seal_early(struct stream *st, uint32_t segment)
{
    if (st->j->failed || !st->cur || st->cur->segment != segment || st->cur->nr_groups == 0)
        return;
    oseg_set_state(st->cur, OSEG_FULL);
    st->cur = NULL;
    st->held = true;
    stream_seal_ready(st);
    if (st->id == JOURNAL_HOST) /* not when it is needed: until then nothing that can be read says where the log goes on */
        stream_open_ahead(st);
}

struct oseg *stream_room(struct stream *st, uint32_t nr_sums, uint32_t nr_blocks)
{
    if (st->held) {
        stream_open_ahead(st);
        return NULL;
    }
    if (st->cur && oseg_fits(st, st->cur, 1, nr_sums, nr_blocks))
        return st->cur;
    stream_switch(st);
    if (!st->cur) {
        stream_open_ahead(st);
        return NULL;
    }
    summary_reset(&st->cur->sum, st->next_group);
    assert(oseg_fits(st, st->cur, 1, nr_sums, nr_blocks));
    return st->cur;
}

/* A group of MOVES is as large as it can be, whatever the hosts' groups are: its header is what moving costs. */
uint32_t stream_group_bytes_max(const struct stream *st)
{
    return st->id == JOURNAL_MOVES ? MIN(JRN_GROUP_BYTES_DEFAULT, st->j->geo.segment_bytes / 4) : st->j->opts.group_bytes_max;
}

uint32_t segpool_moved_blocks_max(const struct segpool_geometry *geo, uint32_t batch)
{
    uint32_t k = MIN(batch, MIN(JRN_GROUP_BYTES_DEFAULT, geo->segment_bytes / 4) / BLOCK_BYTES);
    struct jrn_group shape = {.nr_records = k, .nr_echo = MIN(batch, GROUP_RECORDS_MAX), .nr_sums = k};
    uint64_t header = jrn_group_padded_bytes(geo, &shape), entry = jrn_entry_bytes(k, k);
    uint64_t fixed = JRN_SEG_HEADER_BYTES + geo->head_bytes + geo->align_bytes /* the summary's */
                     + header + BLOCK_BYTES /* cut at the end */ + 4 * (header + entry) /* short batches */;

    assert(fixed < geo->segment_bytes);
    return (uint32_t)((geo->segment_bytes - fixed) * k / (header + k * (uint64_t)BLOCK_BYTES + entry));
}

/* ---- opening ---------------------------------------------------------------------------------------------------------- */

static struct oseg *oseg_idle(struct stream *st)
{
    for (uint32_t i = 0; i < JRN_OSEGS; i++)
        if (st->osegs[i].state == OSEG_IDLE)
            return &st->osegs[i];
    return NULL;
}

void stream_set_starved(struct stream *st, bool starved)
{
    if (st->starved == starved)
        return;
    st->starved = starved;
    segpool_set_hungry(st->j->pool, &st->j->waiter, st->j->streams[JOURNAL_HOST].starved || st->j->streams[JOURNAL_MOVES].starved);
}

static void space_check(struct journal *j)
{
    if (segpool_free_nr(j->pool) <= j->reserve + 2 && j->events.space_wanted)
        j->events.space_wanted(j->events.ctx);
}

static void oseg_begin(struct stream *st, struct oseg *s, uint64_t epoch)
{
    struct journal *j = st->j;

    oseg_set_state(s, OSEG_OPENING);
    s->head = (struct jrn_seg_header){
        .epoch = epoch,
        .shard = j->opts.shard,
        .stream = st->id,
        .prev_segment = st->last_segment,
        .prev_epoch = st->last_epoch,
        .cut_group = st->cut_group,
        .group_floor = st->next_group,
        .placed = j->opts.placed,
        /* Above all that may follow in the current segment and in this one; a record takes at least its 32 bytes. */
        .seq_floor = j->next_seq + 2 * (j->geo.segment_bytes / JRN_RECORD_BYTES),
        /* What stood here may have been the last to name a batch, and there may never be a group behind this. */
        .meta_commit_no = j->events.meta_commit_no ? j->events.meta_commit_no(j->events.ctx) : 0,
    };
    s->off = JRN_SEG_HEADER_BYTES;
    s->nr_groups = s->in_flight = 0;
    summary_reset(&s->sum, st->next_group);
    jrn_seg_header_encode(&j->geo, s->segment, &s->head, s->block);
}

static bool oseg_take(struct stream *st, struct oseg *s)
{
    struct journal *j = st->j;
    uint64_t epoch;

    if (!segpool_take(j->pool, j->opts.shard, st->id, st->id == JOURNAL_HOST ? j->reserve : 0, &j->waiter, &s->segment,
                      &epoch))
        return false;
    oseg_begin(st, s, epoch);
    return true;
}

/* The header is durable: groups may follow. */
static void oseg_opened(struct oseg *s)
{
    struct stream *st = s->st;
    struct journal *j = st->j;

    oseg_set_state(s, OSEG_READY);
    st->last_segment = s->segment;
    st->last_epoch = s->head.epoch;
    st->cut_group = 0;
    figure_add(&j->stats.segments_opened, 1);
    figure_add(&j->stats.header_bytes, j->geo.head_bytes);
    trace(TRACE_JOURNAL_SEGMENT_OPEN, st->id, s->segment, s->head.epoch);
    if (j->events.segment_opened)
        j->events.segment_opened(j->events.ctx, s->segment, st->id, s->head.epoch);
}

static void header_written(struct dev_io *io)
{
    struct oseg *s = io->ctx;

    s->io_busy = false;
    if (io->err) {
        journal_fail(s->st->j, io->err, s->segment, 0);
        return;
    }
    oseg_opened(s);
    space_check(s->st->j);
    stream_kick(s->st);
}

static void oseg_write(struct oseg *s, uint64_t off, size_t bytes, dev_io_cb *cb)
{
    struct journal *j = s->st->j;

    s->iov.iov_len = bytes;
    s->io_busy = true;
    s->io = (struct dev_io){
        .off_bytes = segment_base(&j->geo, s->segment) + off,
        .len_bytes = bytes,
        .iov = &s->iov,
        .iovcnt = 1,
        .flags = DEV_DSYNC,
        .cb = cb,
        .ctx = s,
    };
    dev_write(j->dev, &s->io);
}

static void header_rewritten(struct dev_io *io)
{
    struct oseg *s = io->ctx;

    s->io_busy = false;
    if (io->err) {
        journal_fail(s->st->j, io->err, s->segment, 0);
        return;
    }
    oseg_set_state(s, OSEG_READY);
    stream_kick(s->st);
}

/* One that waits gets its header again: nothing is in it, and a torn header is what a crash leaves of any that is being opened. */
void stream_say_placed(struct stream *st)
{
    struct oseg *s = st->next;

    if (st->j->failed || st->j->closing || !s || s->head.placed || s->state != OSEG_READY)
        return;
    s->head.placed = true;
    jrn_seg_header_encode(&st->j->geo, s->segment, &s->head, s->block);
    oseg_set_state(s, OSEG_OPENING);
    s->iov.iov_base = s->block;
    oseg_write(s, 0, st->j->geo.head_bytes, header_rewritten);
}

void stream_open_ahead(struct stream *st)
{
    struct journal *j = st->j;
    struct oseg *s = oseg_idle(st);

    if (st->next || !s || j->failed || j->closing)
        return;
    if (!oseg_take(st, s)) {
        if (!st->starved && !st->cur && !list_empty(&st->queue)) {
            stream_set_starved(st, true);
            figure_add(&j->stats.waits_for_space, st->id == JOURNAL_HOST);
        }
        space_check(j);
        return;
    }
    stream_set_starved(st, false);
    st->next = s;
    s->iov.iov_base = s->block;
    oseg_write(s, 0, j->geo.head_bytes, header_written);
}

int stream_open_sync(struct stream *st, uint32_t again)
{
    struct journal *j = st->j;
    struct oseg *s = oseg_idle(st);
    int err;

    assert(s && !st->cur && !st->next);
    if (again != SEGMENT_ANY) {
        s->segment = again;
        oseg_begin(st, s, segpool_epoch_new(j->pool, again));
    } else if (!oseg_take(st, s)) {
        space_check(j);
        return 0; /* full: the first append waits for space like any other */
    }
    err = dev_write_sync(j->dev, segment_base(&j->geo, s->segment), s->block, j->geo.head_bytes, DEV_DSYNC);
    if (err)
        return err;
    oseg_opened(s);
    st->next = s;
    space_check(j);
    return 0;
}

/* ---- sealing ----------------------------------------------------------------------------------------------------------- */

static struct oseg *oldest_unsealed(struct stream *st)
{
    struct oseg *oldest = NULL;

    for (uint32_t i = 0; i < JRN_OSEGS; i++) {
        struct oseg *s = &st->osegs[i];

        if ((s->state == OSEG_FULL || s->state == OSEG_SEALING) && (!oldest || s->head.epoch < oldest->head.epoch))
            oldest = s;
    }
    return oldest;
}

static void oseg_sealed(struct oseg *s)
{
    struct journal *j = s->st->j;

    segpool_set_span(j->pool, s->segment, s->sum.seq_min, s->sum.seq_max, s->off);
    segpool_set_use(j->pool, s->segment, SEGMENT_LOG_SEALED);
    trace(TRACE_JOURNAL_SEGMENT_SEAL, s->segment, s->head.epoch, s->nr_groups);
    oseg_set_state(s, OSEG_IDLE);
    if (!oldest_unsealed(s->st))
        s->st->held = false;
    if (j->events.segment_sealed)
        j->events.segment_sealed(j->events.ctx, s->segment, s->sum.seq_min, s->sum.seq_max);
}

static void seal_written(struct dev_io *io)
{
    struct oseg *s = io->ctx;
    struct stream *st = s->st;

    s->io_busy = false;
    if (io->err) {
        journal_fail(st->j, io->err, s->segment, st->j->geo.segment_bytes);
        return;
    }
    oseg_sealed(s);
    stream_seal_ready(st);
    stream_kick(st);
}

/* Room for the summary was kept while the segment filled. */
static void oseg_finish(struct oseg *s, uint64_t *off, size_t *bytes)
{
    int err = summary_finish(&s->sum, &s->st->j->geo, s->segment, &s->head, s->off, off, bytes);

    assert(err == 0);
    figure_add(&s->st->j->stats.header_bytes, *bytes);
}

/* In order: recovery takes it that whatever lies behind an unsealed segment is unsealed too. */
void stream_seal_ready(struct stream *st)
{
    struct oseg *s = oldest_unsealed(st);
    uint64_t off;
    size_t bytes;

    if (!s || s->state != OSEG_FULL || s->in_flight != 0 || st->j->failed)
        return;
    oseg_set_state(s, OSEG_SEALING);
    oseg_finish(s, &off, &bytes);
    s->iov.iov_base = s->sum.buf;
    oseg_write(s, off, bytes, seal_written);
}

bool stream_busy(const struct stream *st)
{
    for (uint32_t i = 0; i < JRN_OSEGS; i++)
        if (st->osegs[i].io_busy || (st->osegs[i].state == OSEG_FULL && !st->j->failed))
            return true;
    return false;
}

int stream_seal_sync(struct stream *st)
{
    struct journal *j = st->j;
    struct oseg *s = st->cur;
    uint64_t off;
    size_t bytes;
    int err;

    if (!s || s->nr_groups == 0)
        return 0;
    oseg_finish(s, &off, &bytes);
    err = dev_write_sync(j->dev, segment_base(&j->geo, s->segment) + off, s->sum.buf, bytes, DEV_DSYNC);
    if (err)
        return err;
    oseg_set_state(s, OSEG_FULL);
    oseg_set_state(s, OSEG_SEALING);
    st->cur = NULL;
    oseg_sealed(s);
    return 0;
}
