/* SPDX-License-Identifier: Apache-2.0 */
/* queue_tx.c: the sending machine of a queue.
 *
 * One send is outstanding: either a PDU of the queue itself (ICResp, Connect's answer, a termination request), or a batch:
 * as many answers and R2Ts as are ready and fit. Headers are built in the batch; data is sent from the commands'
 * chunks, which are given back when the send is done; commands without data are free as soon as they are in a batch.
 * There is a batch for every connection: of fewer, hosts that do not read would hold all, and anybody may ask discovery.
 * Failures: an error or a host that does not read for send_timeout closes the queue.
 */
#include "base/crc32c.h"
#include "export/priv.h"

static void tx_run(struct queue *q);

static void tx_task(struct env_task *task)
{
    tx_run(container_of(task, struct queue, tx_task));
}

void queue_tx_schedule(struct queue *q)
{
    if (q->tx_task.queued || q->tx_busy)
        return;
    q->tx_task.fn = tx_task;
    env_defer(q->te->env, &q->tx_task);
}

/* ---- building a batch ---------------------------------------------------------------------------------------------- */

static uint8_t *add_hdr(struct tx_batch *b, uint32_t n)
{
    uint8_t *at = b->hdr + b->hdr_bytes;

    assert(b->hdr_bytes + n <= TX_HDR_BYTES);
    b->hdr_bytes += n;
    if (b->open) {
        b->iov[b->iovcnt - 1].iov_len += n;
        return at;
    }
    b->iov[b->iovcnt++] = (struct iovec){.iov_base = at, .iov_len = n};
    b->open = true;
    return at;
}

static uint32_t put_hdgst(const struct queue *q, uint8_t *pdu, uint32_t hlen)
{
    le32 crc;

    if (!q->pdu.hdgst)
        return hlen;
    pdu[1] |= PDU_HDGSTF;
    crc = to_le32(crc32c(0, pdu, hlen));
    memcpy(pdu + hlen, &crc, sizeof(crc));
    return hlen + DGST_BYTES;
}

static uint32_t hdgst_bytes(const struct queue *q) { return q->pdu.hdgst ? DGST_BYTES : 0; }

static void fill_resp(const struct queue *q, uint8_t *pdu, uint16_t cid, uint16_t status, uint64_t result)
{
    struct pdu_capsule_resp *r = (void *)pdu;

    memset(r, 0, sizeof(*r));
    r->common = (struct pdu_common){.type = PDU_CAPSULE_RESP, .hlen = sizeof(*r), .plen = to_le32((uint32_t)sizeof(*r) + hdgst_bytes(q))};
    r->cqe.result = to_le64(result);
    r->cqe.sqhd = to_le16(q->sqhd);
    r->cqe.cid = to_le16(cid);
    r->cqe.status = to_le16((uint16_t)(status << 1));
    put_hdgst(q, pdu, sizeof(*r));
}

static void add_resp(struct tx_batch *b, struct cmd *c)
{
    uint8_t *at = add_hdr(b, (uint32_t)sizeof(struct pdu_capsule_resp) + hdgst_bytes(c->q));

    fill_resp(c->q, at, c->cid, c->status, c->result);
}

static void add_r2t(struct tx_batch *b, struct cmd *c)
{
    uint8_t *at = add_hdr(b, (uint32_t)sizeof(struct pdu_r2t) + hdgst_bytes(c->q));
    struct pdu_r2t *r = (void *)at;

    memset(r, 0, sizeof(*r));
    r->common = (struct pdu_common){.type = PDU_R2T, .hlen = sizeof(*r), .plen = to_le32((uint32_t)sizeof(*r) + hdgst_bytes(c->q))};
    r->cccid = to_le16(c->cid);
    r->ttag = to_le16(cmd_ttag(c));
    r->r2tl = to_le32(c->bytes);
    put_hdgst(c->q, at, sizeof(*r));
}

/* SUCCESS spares the response capsule; only for hosts that do not look at SQHD, and for a result of zero. */
static bool spares_resp(const struct cmd *c) { return c->q->sqflow_off && c->result == 0; }

static uint32_t add_c2h_header(struct tx_batch *b, struct cmd *c)
{
    const struct queue *q = c->q;
    uint32_t head = (uint32_t)sizeof(struct pdu_c2h_data) + hdgst_bytes(q);
    uint32_t pdo = ROUND_UP(head, q->pda_bytes), ddgst = q->pdu.ddgst ? DGST_BYTES : 0;
    uint8_t *at = add_hdr(b, pdo);
    struct pdu_c2h_data *d = (void *)at;

    memset(at, 0, pdo);
    d->common = (struct pdu_common){.type = PDU_C2H_DATA, .hlen = sizeof(*d), .pdo = (uint8_t)pdo,
            .plen = to_le32(pdo + c->bytes + ddgst)};
    d->common.flags = (uint8_t)(PDU_LAST | (ddgst ? PDU_DDGSTF : 0) | (spares_resp(c) ? PDU_SUCCESS : 0));
    d->cccid = to_le16(c->cid);
    d->datal = to_le32(c->bytes);
    put_hdgst(q, at, sizeof(*d));
    return ddgst;
}

static void add_data(struct tx_batch *b, struct cmd *c)
{
    uint32_t crc = 0, ddgst = add_c2h_header(b, c);
    le32 le;

    for (int i = 0; i < c->iovcnt; i++) {
        b->iov[b->iovcnt++] = c->iov[i];
        if (ddgst)
            crc = crc32c(crc, c->iov[i].iov_base, c->iov[i].iov_len);
    }
    b->open = false;
    b->data_bytes += c->bytes;
    le = to_le32(crc);
    if (ddgst)
        memcpy(add_hdr(b, DGST_BYTES), &le, sizeof(le));
    if (!spares_resp(c))
        add_resp(b, c);
}

static bool fits(const struct tx_batch *b)
{
    return b->iovcnt + CHUNKS_MAX + 2 <= TX_IOV_MAX && b->hdr_bytes + CMD_TX_HDR_MAX <= TX_HDR_BYTES && b->data_bytes < TX_BATCH_BYTES;
}

static void add_cmd(struct tx_batch *b, struct cmd *c)
{
    if (c->send_r2t) {
        c->send_r2t = false;
        c->owed_ns = queue_host_ns(c->q);
        add_r2t(b, c);
        return;
    }
    cmd_answered(c);
    if (c->dir == DIR_C2H && c->status == ST_SUCCESS) {
        add_data(b, c);
        list_push_back(&b->cmds, &c->tx_node);
        return;
    }
    add_resp(b, c);
    cmd_free(c);
}

static void fill_batch(struct queue *q, struct tx_batch *b)
{
    list_init(&b->cmds);
    b->iovcnt = 0;
    b->hdr_bytes = 0;
    b->data_bytes = 0;
    b->open = false;
    while (!list_empty(&q->tx_list) && fits(b))
        add_cmd(b, list_entry(list_pop_front(&q->tx_list), struct cmd, tx_node));
}

/* ---- the send ------------------------------------------------------------------------------------------------------- */

void queue_tx_release(struct queue *q)
{
    struct tx_batch *b = q->batch;
    struct list *n;

    if (!b)
        return;
    q->batch = NULL;
    while ((n = list_pop_front(&b->cmds)) != NULL)
        cmd_free(list_entry(n, struct cmd, tx_node));
    pool_put(&q->te->batches, b);
}

static void ctl_sent(struct queue *q)
{
    if (q->state == QUEUE_TERM && !q->tx_fin) {
        queue_close(q, false); /* a refused Connect: its host has nothing more to say */
        return;
    }
    if (q->state == QUEUE_TERM) {
        net_shutdown(q->conn);
        queue_rx_run(q);
        return;
    }
    queue_rx_schedule(q);
    tx_run(q);
}

static void tx_done(struct net_io *io)
{
    struct queue *q = container_of(io, struct queue, tx_io);
    bool ctl = q->ctl_busy;

    q->tx_busy = false;
    queue_tx_release(q);
    if (q->state == QUEUE_CLOSING)
        return;
    if (io->res < 0) {
        queue_close(q, true);
        return;
    }
    q->ctl_busy = false;
    if (ctl)
        q->ctl_bytes = 0;
    if (q->state == QUEUE_MOVING) {
        queue_move(q); /* from here on q may be another thread's */
        return;
    }
    if (ctl)
        ctl_sent(q);
    else
        tx_run(q);
    queue_maybe_done(q);
}

static void start_send(struct queue *q, struct iovec *iov, int iovcnt)
{
    q->tx_busy = true;
    q->tx_start_ns = env_now_ns(q->te->env);
    q->tx_io.iov = iov;
    q->tx_io.iovcnt = iovcnt;
    q->tx_io.cb = tx_done;
    queue_watch(q); /* of R2Ts in it too */
    net_send(q->conn, &q->tx_io);
}

static void send_ctl(struct queue *q)
{
    q->ctl_busy = true;
    q->tx_iov = (struct iovec){.iov_base = q->ctl, .iov_len = q->ctl_bytes};
    start_send(q, &q->tx_iov, 1);
}

static void tx_run(struct queue *q)
{
    if (q->tx_busy || q->state == QUEUE_CLOSING)
        return;
    if (q->ctl_bytes) {
        send_ctl(q);
        return;
    }
    if (list_empty(&q->tx_list) || (q->state != QUEUE_LIVE && q->state != QUEUE_DRAIN))
        return;
    q->batch = pool_get(&q->te->batches);
    assert(q->batch != NULL);
    fill_batch(q, q->batch);
    start_send(q, q->batch->iov, q->batch->iovcnt);
}

void queue_tx_ctl(struct queue *q, uint32_t bytes)
{
    assert(q->ctl_bytes == 0 && bytes > 0 && bytes <= sizeof(q->ctl));
    q->ctl_bytes = bytes;
    tx_run(q);
}

void queue_send_connect_resp(struct queue *q, uint16_t status, uint64_t result)
{
    fill_resp(q, q->ctl, from_le16(q->connect.sqe.cid), status, result);
    if (q->sqflow_off) /* says that the host's wish was granted */
        ((struct pdu_capsule_resp *)(void *)q->ctl)->cqe.sqhd = to_le16(0xffff);
    if (q->sqflow_off && q->pdu.hdgst)
        put_hdgst(q, q->ctl, sizeof(struct pdu_capsule_resp));
    queue_tx_ctl(q, (uint32_t)sizeof(struct pdu_capsule_resp) + hdgst_bytes(q));
}
