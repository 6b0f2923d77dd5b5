/* SPDX-License-Identifier: Apache-2.0 */
/* queue_rx.c: the receiving machine of a queue.
 *
 * One receive is outstanding. It fills, in this order, what is missing of a large payload (straight in the command's
 * chunks) and a buffer of the queue, which grows with traffic: RX_SMALL inside the queue, a stage, and while receives
 * fill it, a bulk buffer. The parser then walks the bytes; one handler an event; a budget, so that other queues get
 * their turn. A handler answers again, wait (a slot, chunks or a decision is missing: bytes stay), or fatal.
 */
#include "export/block_sum.h"
#include "export/priv.h"

static bool may_parse(const struct queue *q)
{
    return !q->rx_blocked && q->ctl_bytes == 0 &&
           (q->state == QUEUE_IC || q->state == QUEUE_CONNECT || q->state == QUEUE_LIVE);
}

static void rx_task(struct env_task *task)
{
    struct queue *q = container_of(task, struct queue, rx_task);

    if (q->state != QUEUE_CLOSING)
        queue_rx_run(q);
}

void queue_rx_schedule(struct queue *q)
{
    if (q->rx_task.queued)
        return;
    q->rx_task.fn = rx_task;
    env_defer(q->te->env, &q->rx_task);
}

void queue_rx_unblock(struct queue *q)
{
    q->rx_blocked = false;
    queue_rx_schedule(q);
}

/* ---- buffers ---------------------------------------------------------------------------------------------------- */

static struct pool *buf_pool(struct queue *q)
{
    if (q->rx_cap == RX_STAGE_BYTES)
        return &q->te->stages;
    return q->rx_cap == RX_BULK_BYTES ? &q->te->bulks : NULL;
}

void queue_rx_release(struct queue *q)
{
    struct pool *p = buf_pool(q);

    if (p)
        pool_put(p, q->rx_buf);
    q->rx_buf = q->rx_small;
    q->rx_cap = RX_SMALL_BYTES;
    q->rx_pos = q->rx_len = 0;
}

static bool try_buf(struct queue *q, struct pool *p, uint32_t cap)
{
    uint8_t *buf = pool_get(p);

    if (!buf)
        return false;
    queue_rx_release(q);
    q->rx_buf = buf;
    q->rx_cap = cap;
    return true;
}

/* The buffer is empty: the right one for what the last receive showed. */
static void choose_buf(struct queue *q)
{
    q->rx_pos = q->rx_len = 0;
    if (q->state != QUEUE_LIVE || q->qid == 0)
        return;
    if (q->rx_full && q->rx_cap >= RX_STAGE_BYTES) {
        if (q->rx_cap == RX_STAGE_BYTES)
            try_buf(q, &q->te->bulks, RX_BULK_BYTES);
        return;
    }
    if (q->rx_cap != RX_STAGE_BYTES)
        try_buf(q, &q->te->stages, RX_STAGE_BYTES);
}

/* Elements for the rest of a large payload; none if it is short, dropped, or not under way. */
static int direct_iov(struct queue *q)
{
    struct cmd *c = q->rx_cmd;
    uint32_t left = q->pdu.data_left, off = q->rx_off, unit;
    int nr = 0;

    q->rx_direct = 0;
    if (q->state != QUEUE_LIVE || q->pdu.state != PDU_ST_DATA || !c || c->status || left < RX_DIRECT_MIN)
        return 0;
    unit = cmd_chunk_bytes(c);
    q->rx_direct = left;
    for (uint32_t n; left > 0; left -= n, off += n) {
        n = MIN(left, unit - off % unit);
        assert(nr < CHUNKS_MAX - 1);
        q->rx_iov[nr++] = (struct iovec){.iov_base = (char *)c->iov[off / unit].iov_base + off % unit, .iov_len = n};
    }
    return nr;
}

/* ---- the receive ----------------------------------------------------------------------------------------------------- */

/* rx_off moved by n. Where a block of the payload is a block of the command, the digest gives its checksum. */
static void advance(struct queue *q, uint32_t n)
{
    struct cmd *c = q->rx_cmd;

    q->rx_off += n;
    if (!q->pdu.data_digest || q->pdu.data_done % BLOCK_BYTES != 0)
        return;
    if (c && c->status == ST_SUCCESS && q->rx_off % BLOCK_BYTES == 0) {
        c->crc[q->rx_off / BLOCK_BYTES - 1] = block_sum(q->rx_sum, q->pdu.data_crc);
        c->nr_sums++;
    }
    q->rx_sum = q->pdu.data_crc;
}

/* Payload that came straight to one of the command's chunks. */
static void took_span(struct queue *q, const char *at, size_t n)
{
    size_t step = n;

    for (; n > 0; n -= step, at += step) {
        if (q->pdu.data_digest)
            step = MIN(n, BLOCK_BYTES - q->pdu.data_done % BLOCK_BYTES);
        pdu_took(&q->pdu, at, step);
        advance(q, (uint32_t)step);
    }
}

static void took_direct(struct queue *q, size_t n)
{
    for (int i = 0; n > 0; i++) {
        size_t part = MIN(n, q->rx_iov[i].iov_len);

        took_span(q, q->rx_iov[i].iov_base, part);
        n -= part;
    }
}

static void arm_recv(struct queue *q);

static void rx_done(struct net_io *io)
{
    struct queue *q = container_of(io, struct queue, rx_io);
    size_t direct;

    q->rx_busy = false;
    if (q->state == QUEUE_CLOSING)
        return;
    if (io->res <= 0) {
        queue_close(q, io->res < 0);
        return;
    }
    if (q->state == QUEUE_TERM) {
        arm_recv(q); /* what a doomed connection says is dropped until it ends */
        return;
    }
    if (q->state == QUEUE_DRAIN)
        return;
    direct = MIN((size_t)io->res, q->rx_direct);
    took_direct(q, direct);
    q->rx_pos = 0;
    q->rx_len = (uint32_t)((size_t)io->res - direct);
    q->rx_full = q->rx_len == q->rx_cap;
    if (q->ctrl)
        ctrl_seen(q->ctrl);
    queue_rx_run(q);
}

static void arm_recv(struct queue *q)
{
    int nr;

    if (q->rx_busy)
        return;
    choose_buf(q);
    nr = direct_iov(q);
    q->rx_iov[nr++] = (struct iovec){.iov_base = q->rx_buf, .iov_len = q->rx_cap};
    q->rx_io.iov = q->rx_iov;
    q->rx_io.iovcnt = nr;
    q->rx_io.cb = rx_done;
    q->rx_busy = true;
    net_recv(q->conn, &q->rx_io);
}

/* ---- events ------------------------------------------------------------------------------------------------------------ */

/* A fault that the parser could not see. */
static enum step fail(struct queue *q, const struct pdu_event *ev, struct pdu_fault f)
{
    pdu_fail(&q->pdu, ev, f);
    return STEP_FATAL;
}

static enum step on_more(struct queue *q, const struct pdu_event *ev)
{
    (void)q;
    (void)ev;
    return STEP_AGAIN;
}

static enum step on_icreq(struct queue *q, const struct pdu_event *ev)
{
    struct pdu_icresp *r = (void *)q->ctl;

    queue_set_state(q, QUEUE_CONNECT);
    pdu_ic_done(&q->pdu, ev->ic.dgst);
    q->pda_bytes = (uint8_t)((ev->ic.hpda + 1) * 4);
    memset(r, 0, sizeof(*r));
    r->common = (struct pdu_common){.type = PDU_ICRESP, .hlen = sizeof(*r), .plen = to_le32(sizeof(*r))};
    r->dgst = ev->ic.dgst;
    r->maxh2cdata = to_le32(H2C_DATA_MAX_BYTES);
    queue_tx_ctl(q, sizeof(*r));
    return STEP_AGAIN;
}

static enum step first_capsule(struct queue *q, const struct pdu_event *ev)
{
    q->connect.sqe = *ev->sqe;
    q->connect.have = 0;
    q->connect.bad_digest = false;
    q->capsule_data = ev->data_bytes;
    if (ev->data_bytes)
        return STEP_AGAIN;
    connect_received(q);
    return STEP_WAIT;
}

static enum step begin(struct queue *q, const struct nvme_sqe *sqe, uint32_t data_bytes)
{
    struct cmd *c = cmd_new(q, sqe);

    if (!c) {
        if (sqe != &q->connect.sqe)
            q->connect.sqe = *sqe;
        q->capsule_data = data_bytes;
        q->capsule_waits = true;
        slot_wait(q);
        return STEP_WAIT;
    }
    cmd_begin(c, data_bytes);
    return STEP_AGAIN;
}

static enum step on_capsule(struct queue *q, const struct pdu_event *ev)
{
    if (q->state == QUEUE_CONNECT)
        return first_capsule(q, ev);
    if (q->nr_open > q->sqsize) /* sqsize is 0-based: the queue's entries are all taken */
        return fail(q, ev, (struct pdu_fault){.fes = FES_SEQUENCE});
    return begin(q, ev->sqe, ev->data_bytes);
}

static enum step on_h2c_data(struct queue *q, const struct pdu_event *ev)
{
    struct cmd *c = cmd_by_ttag(q, ev->h2c.ttag);
    struct pdu_r2t_state r2t;
    struct pdu_fault f;

    if (c)
        r2t = (struct pdu_r2t_state){.cid = c->cid, .next = c->got, .end = c->bytes};
    if (!pdu_h2c_check(&ev->h2c, c ? &r2t : NULL, &f))
        return fail(q, ev, f);
    q->rx_cmd = c;
    q->rx_off = ev->h2c.datao;
    q->rx_last = ev->h2c.last;
    q->rx_sum = 0;
    c->got += ev->h2c.datal;
    return STEP_AGAIN;
}

static void connect_data(struct queue *q, const uint8_t *bytes, size_t n)
{
    size_t room = sizeof(q->connect.data) - MIN(q->connect.have, sizeof(q->connect.data));

    memcpy(q->connect.data + MIN(q->connect.have, sizeof(q->connect.data)), bytes, MIN(n, room));
    q->connect.have += (uint32_t)n;
}

static enum step on_data(struct queue *q, const struct pdu_event *ev)
{
    if (q->state == QUEUE_CONNECT)
        connect_data(q, ev->bytes, ev->len);
    else if (q->rx_cmd && q->rx_cmd->status == ST_SUCCESS)
        cmd_copy_in(q->rx_cmd, q->rx_off, ev->bytes, ev->len);
    advance(q, (uint32_t)ev->len);
    return STEP_AGAIN;
}

static enum step on_end(struct queue *q, const struct pdu_event *ev)
{
    struct cmd *c = q->rx_cmd;

    if (!ev->digest_ok)
        metric_add(&q->te->stats.digest_errors, 1);
    if (q->state == QUEUE_CONNECT) {
        q->connect.bad_digest = !ev->digest_ok;
        connect_received(q);
        return STEP_WAIT; /* q may be on its way to another thread */
    }
    assert(c != NULL);
    q->rx_cmd = NULL;
    c->bad_digest |= !ev->digest_ok;
    if (q->rx_last)
        cmd_data_end(c);
    return STEP_AGAIN;
}

static enum step on_term(struct queue *q, const struct pdu_event *ev)
{
    (void)ev;
    metric_add(&q->te->stats.protocol_errors, 1);
    queue_close(q, false);
    return STEP_WAIT;
}

static enum step on_error(struct queue *q, const struct pdu_event *ev)
{
    (void)q;
    (void)ev; /* the parser keeps it */
    return STEP_FATAL;
}

static enum step (*const on_event[PDU_EV_NR])(struct queue *q, const struct pdu_event *ev) = {
    [PDU_EV_MORE] = on_more,         [PDU_EV_ICREQ] = on_icreq, [PDU_EV_CAPSULE] = on_capsule,
    [PDU_EV_H2C_DATA] = on_h2c_data, [PDU_EV_DATA] = on_data,   [PDU_EV_END] = on_end,
    [PDU_EV_TERM] = on_term,         [PDU_EV_ERROR] = on_error,
};

/* ---- the machine ------------------------------------------------------------------------------------------------------- */

/* Nothing to feed, and no event pending without bytes. */
static bool starved(const struct queue *q)
{
    return q->rx_pos == q->rx_len && (q->pdu.state != PDU_ST_DDGST || q->pdu.data_digest);
}

static enum step step(struct queue *q)
{
    struct pdu_event ev;

    if (q->capsule_waits) {
        q->capsule_waits = false;
        return begin(q, &q->connect.sqe, q->capsule_data);
    }
    q->rx_pos += (uint32_t)pdu_step(&q->pdu, q->rx_buf + q->rx_pos, q->rx_len - q->rx_pos, &ev);
    return on_event[ev.type](q, &ev);
}

void queue_rx_run(struct queue *q)
{
    if (q->rx_busy)
        return;
    if (q->state == QUEUE_TERM) {
        arm_recv(q);
        return;
    }
    for (int budget = RX_BUDGET_EVENTS; budget > 0; budget--) {
        if (!may_parse(q))
            break;
        if (!q->capsule_waits && starved(q)) {
            arm_recv(q);
            return;
        }
        switch (step(q)) {
        case STEP_AGAIN:
            break;
        case STEP_WAIT:
            return;
        case STEP_FATAL:
            queue_terminate(q, q->pdu.fault.fes, q->pdu.fault.fei);
            return;
        }
    }
    if (may_parse(q))
        queue_rx_schedule(q);
}
