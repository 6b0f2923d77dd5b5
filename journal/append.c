/* SPDX-License-Identifier: Apache-2.0 */
/* append.c: requests become groups, groups become durable, requests are answered.
 *
 * 1. journal_append() queues; forming groups is put off to the end of the loop's pass, so that what arrives together goes
 *    out together.
 * 2. With nothing in flight the queue's front goes out at once as a group: as many records as the limits and the segment
 *    allow. Header and the callers' buffers go out as one durable write.
 * 3. Meanwhile the queue fills; no timer ever waits for more. Up to groups_in_flight groups are out at once, but a further
 *    one only when the queue is worth as much as what is out, or fills a group: what is paid is the flush, so many small
 *    groups at once cost more than they gain. At worst the queue waits for one group, and then leaves at once.
 * 4. The device answers in any order; groups are completed in theirs, each record in its order: durable_seq, then its cb.
 * What has no group yet can be taken back (journal_append_cancel): it leaves the queue, and is answered from the loop.
 * Failures: one failed write and nothing is acknowledged again. Every request is answered with the error, in order, once
 * the device is done with its buffers. No segment: the queue waits (stream.c).
 */
#include "journal/priv.h"

static void check_append(const struct journal *j, const struct journal_append *req)
{
    uint64_t bytes = 0;

    assert(req->cb && req->layer != 0 && req->nblocks != 0 && req->lba <= UINT64_MAX - req->nblocks);
    assert(req->stream == JOURNAL_HOST || req->seq != 0);
    if (req->type == JOURNAL_PLACED) {
        assert(j->opts.placed && req->nblocks <= segpool_record_blocks_max(&j->geo) && req->csum && req->place < JOURNAL_PLACE_MAX);
        return;
    }
    if (req->type != JOURNAL_WRITE) {
        assert(req->type == JOURNAL_ZERO || (req->type == JOURNAL_DAMAGED && req->stream == JOURNAL_MOVES));
        assert(req->nblocks <= JRN_RANGE_BLOCKS_MAX);
        return;
    }
    assert(req->nblocks <= segpool_record_blocks_max(&j->geo));
    assert(req->iovcnt > 0 && (uint32_t)req->iovcnt < j->iov_max && req->csum);
    for (int i = 0; i < req->iovcnt; i++)
        bytes += req->iov[i].iov_len;
    assert(bytes == req->nblocks * BLOCK_BYTES);
}

static uint32_t payload_blocks(const struct journal_append *req)
{
    return req->type == JOURNAL_WRITE ? (uint32_t)req->nblocks : 0;
}

static uint32_t nr_sums(const struct journal_append *req)
{
    return req->type == JOURNAL_PLACED ? (uint32_t)req->nblocks : payload_blocks(req);
}

/* What a request adds to the balance between the queue and what is in flight: its blocks, or one for a bare record. */
static uint32_t weight(const struct journal_append *req)
{
    return MAX(payload_blocks(req), 1u);
}

void stream_kick(struct stream *st)
{
    if (!st->run.queued)
        env_defer(st->j->env, &st->run);
}

void journal_append(struct journal *j, struct journal_append *req)
{
    struct stream *st = &j->streams[req->stream];

    check_append(j, req);
    if (req->stream == JOURNAL_HOST || j->bugs.moved_gets_new_seq)
        req->seq = j->next_seq++;
    req->err = 0;
    req->priv.start_ns = env_now_ns(j->env);
    list_push_back(&st->queue, &req->priv.node);
    req->priv.queued = true;
    st->nr_queued++;
    st->queue_weight += weight(req);
    stream_kick(st);
}

static void unqueue(struct stream *st, struct journal_append *req)
{
    list_remove(&req->priv.node);
    req->priv.queued = false;
    st->nr_queued--;
    st->queue_weight -= weight(req);
}

/* ---- taking back ------------------------------------------------------------------------------------------------------- */

bool journal_append_cancel(struct journal *j, struct journal_append *req)
{
    struct stream *st = &j->streams[req->stream];

    if (!req->priv.queued)
        return false;
    unqueue(st, req);
    list_push_back(&j->canceled, &req->priv.node);
    if (!j->cancel.queued)
        env_defer(j->env, &j->cancel);
    if (list_empty(&st->queue))
        stream_set_starved(st, false);
    return true; /* those behind it wait for the same: a group that is out, or a segment */
}

void canceled_run(struct env_task *t)
{
    struct journal *j = container_of(t, struct journal, cancel);
    struct list reqs;

    list_init(&reqs);
    list_splice_back(&reqs, &j->canceled);
    while (!list_empty(&reqs)) {
        struct journal_append *req = list_entry(list_pop_front(&reqs), struct journal_append, priv.node);

        figure_add(&j->stats.appends_canceled, 1);
        req->err = -FIRN_E_CANCELED;
        req->cb(req);
    }
}

/* An older program must find out before it meets such a record: the header of its segment says so. */
bool journal_allow_placed(struct journal *j)
{
    bool all = true;

    j->opts.placed = true;
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++) {
        struct stream *st = &j->streams[i];

        if (st->cur && !st->cur->head.placed)
            stream_seal_early(st, st->cur->segment);
        stream_say_placed(st);
        all &= !(st->cur && !st->cur->head.placed) && !(st->next && !st->next->head.placed);
    }
    return all;
}

/* ---- forming a group -------------------------------------------------------------------------------------------------- */

/* Takes the longest front of the queue that one group may carry. At least one request: its room is known. */
static uint32_t group_gather(struct group *g)
{
    struct stream *st = g->st;
    struct journal *j = st->j;
    uint32_t records = 0, iovs = 1;

    g->nr_blocks = g->nr_sums = g->weight = 0;
    while (!list_empty(&st->queue) && records < GROUP_RECORDS_MAX) {
        struct journal_append *req = list_first(&st->queue, struct journal_append, priv.node);
        uint32_t blocks = g->nr_blocks + payload_blocks(req), sums = g->nr_sums + nr_sums(req);
        uint32_t pieces = req->type == JOURNAL_WRITE ? (uint32_t)req->iovcnt : 0;

        if (records && ((uint64_t)blocks * BLOCK_BYTES > stream_group_bytes_max(st) || sums > JRN_GROUP_BLOCKS_MAX ||
                        iovs + pieces > j->iov_max || !oseg_fits(st, g->seg, records + 1, sums, blocks)))
            break;
        unqueue(st, req);
        list_push_back(&g->reqs, &req->priv.node);
        g->weight += weight(req);
        g->nr_blocks = blocks;
        g->nr_sums = sums;
        iovs += pieces;
        records++;
    }
    return records;
}

/* Records, checksums, echo and the write's pieces; each request learns where its blocks go. */
static void group_fill(struct group *g, struct jrn_group *h)
{
    struct stream *st = g->st;
    uint8_t *record = g->header + JRN_FIXED_BYTES;
    uint8_t *csum = record + h->nr_records * JRN_RECORD_BYTES;
    uint32_t header = jrn_group_padded_bytes(&st->j->geo, h);
    uint64_t unit = (g->off + header) / JOURNAL_UNIT_BYTES;

    g->iov[0] = (struct iovec){g->header, header};
    g->iovcnt = 1;
    list_for_each(n, &g->reqs) {
        struct journal_append *req = list_entry(n, struct journal_append, priv.node);
        struct jrn_record r = {.type = req->type, .layer = req->layer, .lba = req->lba, .nblocks = req->nblocks, .seq = req->seq,
                               .place = req->type == JOURNAL_PLACED ? req->place : 0};
        uint32_t blocks = payload_blocks(req), sums = nr_sums(req);

        jrn_record_encode(&r, record);
        record += JRN_RECORD_BYTES;
        req->loc = (struct journal_loc){g->seg->segment, (uint32_t)(g->off / JOURNAL_UNIT_BYTES)};
        if (blocks) {
            req->loc.unit = (uint32_t)unit;
            memcpy(g->iov + g->iovcnt, req->iov, (size_t)req->iovcnt * sizeof(*req->iov));
            g->iovcnt += req->iovcnt;
        }
        if (sums)
            jrn_csums_encode(req->csum, sums, csum);
        csum += 4 * sums;
        unit += (uint64_t)blocks * JOURNAL_UNITS_PER_BLOCK;
    }
    memcpy(csum, st->echo, (size_t)st->nr_echo * JRN_RECORD_BYTES);
    g->len = header + (uint64_t)g->nr_blocks * BLOCK_BYTES;
}

/* What must be remembered of this group for the next one and for the summary. */
static void group_note(struct group *g, const struct jrn_group *h)
{
    struct stream *st = g->st;
    struct oseg *s = g->seg;
    struct jrn_entry e = {
        .kind = JRN_ENTRY_KEPT,
        .unit = (uint32_t)(g->off / JOURNAL_UNIT_BYTES),
        .header_units = jrn_group_padded_bytes(&st->j->geo, h) / JOURNAL_UNIT_BYTES,
        .nr_records = h->nr_records,
        .nr_sums = h->nr_sums,
        .nr_blocks = h->nr_blocks,
        .nr_groups = 1,
    };

    summary_add(&s->sum, &e, jrn_group_body(h));
    s->sum.meta_commit_no = MAX(s->sum.meta_commit_no, h->meta_commit_no);
    memcpy(st->echo, jrn_group_body(h), (size_t)h->nr_records * JRN_RECORD_BYTES);
    st->nr_echo = h->nr_records;
    st->prev_crc = h->crc;
    st->next_group++;
    s->off += g->len;
    s->nr_groups++;
    s->in_flight++;
}

static void group_build(struct group *g)
{
    struct stream *st = g->st;
    struct journal *j = st->j;
    struct jrn_group h = {
        .number = st->next_group,
        .epoch = g->seg->head.epoch,
        .durable_group = st->durable_group,
        .durable_seq = j->durable_seq,
        .meta_commit_no = j->events.meta_commit_no ? j->events.meta_commit_no(j->events.ctx) : 0,
        .index = g->seg->nr_groups,
        .nr_echo = st->nr_echo,
        .shard = j->opts.shard,
        .stream = st->id,
        .prev_crc = st->prev_crc,
    };

    g->number = h.number;
    g->off = g->seg->off;
    h.nr_records = group_gather(g);
    h.nr_blocks = g->nr_blocks;
    h.nr_sums = g->nr_sums;
    group_fill(g, &h);
    jrn_group_encode(&j->geo, g->seg->segment, g->off, &h, g->header);
    group_note(g, &h);
    figure_add(&j->stats.header_bytes, g->iov[0].iov_len);
}

static void group_complete(struct group *g);

static void group_submit(struct stream *st, struct oseg *s)
{
    struct journal *j = st->j;
    struct group *g = &st->groups[(st->head + st->nr_groups) % j->opts.groups_in_flight];

    st->nr_groups++;
    g->seg = s;
    g->written = false;
    g->err = 0;
    g->submit_ns = env_now_ns(j->env);
    group_build(g);
    st->out_weight += g->weight;
    g->io = (struct dev_io){
        .off_bytes = segment_base(&j->geo, s->segment) + g->off,
        .len_bytes = g->len,
        .iov = g->iov,
        .iovcnt = g->iovcnt,
        .flags = j->bugs.skip_fence ? 0 : DEV_DSYNC,
        .cb = group_written,
        .ctx = g,
    };
    trace(TRACE_JOURNAL_GROUP_SUBMIT, st->id, g->number, g->len);
    dev_write(j->dev, &g->io);
    if (j->bugs.ack_before_durable)
        group_complete(g);
}

/* Everything that waits is answered with the error, once nothing before it is still in flight. */
static void stream_answer_failed(struct stream *st)
{
    struct journal *j = st->j;
    struct list reqs;

    if (st->nr_groups)
        return;
    list_init(&reqs);
    list_splice_back(&reqs, &st->queue);
    list_for_each(n, &reqs)
        list_entry(n, struct journal_append, priv.node)->priv.queued = false; /* a callback may try to take others back */
    st->nr_queued = 0;
    st->queue_weight = 0;
    stream_set_starved(st, false);
    while (!list_empty(&reqs)) {
        struct journal_append *req = list_entry(list_pop_front(&reqs), struct journal_append, priv.node);

        figure_add(&j->stats.append_errors, 1);
        req->err = j->fail_err;
        req->cb(req);
    }
}

/* Whether the queue's front is to leave now, while older groups are still out. */
static bool stream_may_go(const struct stream *st)
{
    const struct journal_opts *o = &st->j->opts;

    if (list_empty(&st->queue) || st->nr_groups >= o->groups_in_flight)
        return false;
    return st->queue_weight >= MIN(st->out_weight, o->group_bytes_max / BLOCK_BYTES);
}

void stream_run(struct env_task *t)
{
    struct stream *st = container_of(t, struct stream, run);
    struct journal *j = st->j;

    if (j->failed) {
        stream_answer_failed(st);
        return;
    }
    while (stream_may_go(st)) {
        struct journal_append *req = list_first(&st->queue, struct journal_append, priv.node);
        struct oseg *s = stream_room(st, nr_sums(req), payload_blocks(req));

        if (!s)
            return;
        stream_set_starved(st, false);
        group_submit(st, s);
        if (s->off > j->geo.segment_bytes - j->geo.segment_bytes / 4)
            stream_open_ahead(st);
    }
}

/* ---- completion ------------------------------------------------------------------------------------------------------- */

static void request_done(struct stream *st, struct journal_append *req, int err)
{
    struct journal *j = st->j;

    req->err = err;
    if (err) {
        figure_add(&j->stats.append_errors, 1);
    } else {
        figure_add(&j->stats.records, 1);
        figure_add(st->id == JOURNAL_HOST ? &j->stats.host_bytes : &j->stats.moved_bytes, payload_blocks(req) * (uint64_t)BLOCK_BYTES);
        if (st->id == JOURNAL_HOST)
            j->durable_seq = MAX(j->durable_seq, req->seq);
    }
    req->cb(req);
}

/* Answers the group's requests. The callbacks may append again. */
static void group_complete(struct group *g)
{
    struct stream *st = g->st;
    struct journal *j = st->j;
    int err = j->failed ? j->fail_err : g->err;
    struct list reqs;

    list_init(&reqs);
    list_splice_back(&reqs, &g->reqs);
    while (!list_empty(&reqs))
        request_done(st, list_entry(list_pop_front(&reqs), struct journal_append, priv.node), err);
}

static void group_durable(struct stream *st, const struct group *g)
{
    struct journal *j = st->j;

    assert(g->number == st->durable_group + 1);
    st->durable_group = g->number;
    st->mark = (struct journal_mark){g->number, g->seg->head.epoch, g->seg->segment};
    figure_add(st->id == JOURNAL_HOST ? &j->stats.groups_host : &j->stats.groups_moves, 1);
    trace(TRACE_JOURNAL_GROUP_DURABLE, st->id, g->number, j->durable_seq);
    if (j->commit_hist)
        metric_observe_ns(j->commit_hist, env_now_ns(j->env) - g->submit_ns);
}

/* The oldest groups that the device has answered, in order: everything before them is answered already. */
static void stream_complete(struct stream *st)
{
    struct journal *j = st->j;

    while (st->nr_groups && st->groups[st->head].written) {
        struct group *g = &st->groups[st->head];

        g->seg->in_flight--;
        if (!j->failed)
            group_durable(st, g);
        group_complete(g);
        st->head = (st->head + 1) % j->opts.groups_in_flight;
        st->out_weight -= g->weight;
        st->nr_groups--;
    }
    stream_seal_ready(st);
    stream_kick(st);
}

void group_written(struct dev_io *io)
{
    struct group *g = io->ctx;
    struct stream *st = g->st;

    g->written = true;
    g->err = io->err;
    if (io->err)
        journal_fail(st->j, io->err, g->seg->segment, g->off);
    else if (st->j->bugs.ack_out_of_order)
        group_complete(g);
    stream_complete(st);
}

/* Final: what the device kept of what it was given is not known any more. */
void journal_fail(struct journal *j, int err, uint32_t segment, uint64_t off_bytes)
{
    if (j->failed)
        return;
    j->failed = true;
    j->fail_err = err;
    trace(TRACE_JOURNAL_FAILED, (uint64_t)-err, segment, off_bytes);
    log_error("journal write failed", "device=\"%s\" shard=%" PRIu32 " segment=%" PRIu32 " offset=%" PRIu64 " error=\"%s\"",
              j->dev->path, j->opts.shard, segment, off_bytes, err_text(err));
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++)
        stream_kick(&j->streams[i]);
    if (j->events.failed)
        j->events.failed(j->events.ctx, err);
}

void journal_give_up(struct journal *j, int err)
{
    if (j->failed)
        return;
    j->failed = true;
    j->fail_err = err;
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++)
        stream_kick(&j->streams[i]);
}
