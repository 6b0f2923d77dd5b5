/* SPDX-License-Identifier: Apache-2.0 */
/* cmd.c: the life of a command: slot, checks that all commands share, buffers, R2T, answer.
 *
 * A capsule takes a slot; its opcode's prepare() says which way data goes and how much; the SGL must agree; then
 *   in-capsule data:  chunks, payload, execute        (no chunks: the queue stops reading)
 *   host data:        chunks, R2T, H2CData, execute   (no chunks: the command waits, the queue reads on)
 *   data to host:     chunks, execute, C2HData
 * where a blk that keeps to a rate is asked before cover (slots.c) and chunks are taken, or, for in-capsule data, before execution;
 * and cmd_complete() queues the answer. Failures: a command that is refused still takes its in-capsule bytes off the
 * stream. When the queue is closing, an answer is dropped and the slot freed; one that a blk holds waits for the blk.
 */
#include "export/priv.h"

static const uint8_t allowed[CMD_STATE_NR] = { /* from -> set of to; drawn in README.md */
    [CMD_FREE]        = 1 << CMD_RECEIVED,
    [CMD_RECEIVED]    = 1 << CMD_WAIT_BUFFER | 1 << CMD_WANT_DATA | 1 << CMD_EXECUTING | 1 << CMD_SENDING | 1 << CMD_FREE,
    [CMD_WAIT_BUFFER] = 1 << CMD_WANT_DATA | 1 << CMD_EXECUTING | 1 << CMD_FREE,
    [CMD_WANT_DATA]   = 1 << CMD_EXECUTING | 1 << CMD_SENDING | 1 << CMD_FREE,
    [CMD_EXECUTING]   = 1 << CMD_PARKED | 1 << CMD_SENDING,
    [CMD_PARKED]      = 1 << CMD_SENDING | 1 << CMD_FREE,
    [CMD_SENDING]     = 1 << CMD_FREE,
};

void cmd_set_state(struct cmd *c, enum cmd_state to)
{
    assert(c->state < CMD_STATE_NR && (allowed[c->state] & (1u << to)));
    if (c->state == CMD_EXECUTING)
        c->q->nr_held--;
    if (to == CMD_EXECUTING)
        c->q->nr_held++;
    if (c->state == CMD_PARKED)
        (*slots_parked(c->q))--;
    if (to == CMD_PARKED)
        (*slots_parked(c->q))++;
    c->state = to;
    if (to == CMD_EXECUTING || to == CMD_SENDING || to == CMD_FREE)
        cover_paid(c);
}

static struct cmd **cid_bucket(struct queue *q, uint16_t cid)
{
    return &q->by_cid[cid % ARRAY_LEN(q->by_cid)];
}

bool cmd_cid_busy(const struct queue *q, uint16_t cid)
{
    for (const struct cmd *c = q->by_cid[cid % ARRAY_LEN(q->by_cid)]; c; c = c->cid_next)
        if (c->cid == cid)
            return true;
    return false;
}

static void cid_insert(struct cmd *c)
{
    struct cmd **head = cid_bucket(c->q, c->cid);

    c->cid_next = *head;
    *head = c;
    c->hashed = true;
}

static void cid_remove(struct cmd *c)
{
    struct cmd **at = cid_bucket(c->q, c->cid);

    if (!c->hashed)
        return;
    while (*at != c)
        at = &(*at)->cid_next;
    *at = c->cid_next;
    c->hashed = false;
}

void cmd_answered(struct cmd *c)
{
    cid_remove(c);
    if (c->open)
        c->q->nr_open--;
    c->open = false;
}

struct cmd *cmd_new(struct queue *q, const struct nvme_sqe *sqe)
{
    struct cmd *c = slot_take(q);

    if (!c)
        return NULL;
    assert(c->state == CMD_FREE);
    memset(c, 0, offsetof(struct cmd, iov));
    c->q = q;
    c->sqe = *sqe;
    c->cid = from_le16(sqe->cid);
    c->start_ns = env_now_ns(q->te->env);
    list_push_back(&q->cmds, &c->node);
    list_init(&c->tx_node);
    list_init(&c->wait_node);
    q->nr_open++;
    c->open = true;
    q->sqhd = q->sqhd == q->sqsize ? 0 : (uint16_t)(q->sqhd + 1);
    cmd_set_state(c, CMD_RECEIVED);
    return c;
}

static bool queue_answers(const struct queue *q) { return q->state == QUEUE_LIVE || q->state == QUEUE_DRAIN; }

static bool fits_quota(const struct cmd *c)
{
    uint32_t max = subsys_is_discovery(c->q->s) ? DISCOVERY_DATA_MAX : QUEUE_DATA_MAX;

    return c->q->data_bytes == 0 || (uint64_t)c->q->data_bytes + c->bytes <= max;
}

/* May it ask for chunks: its queue's share of them, and cover for an R2T. */
static bool may_claim(const struct cmd *c)
{
    return fits_quota(c) && (!cmd_wants_r2t(c) || cover_get(c->q));
}

static bool claim(struct cmd *c)
{
    if (cmd_wants_r2t(c))
        cover_owe(c);
    return line_get_chunks(c);
}

bool cmd_quota_room(const struct queue *q)
{
    const struct cmd *c = list_first(&q->wait_quota, struct cmd, wait_node);

    return c && fits_quota(c);
}

/* In turn. */
void cmd_quota_retry(struct queue *q)
{
    struct cmd *c;

    while (queue_answers(q) && (c = list_first(&q->wait_quota, struct cmd, wait_node)) != NULL && may_claim(c)) {
        line_leave(c);
        if (claim(c))
            cmd_granted(c);
    }
}

void cmd_free(struct cmd *c)
{
    struct queue *q = c->q;
    struct target_env *te = q->te;
    bool had_data = c->claim != 0;

    cmd_answered(c);
    if (c->waiting) /* it may have been what those behind it waited for */
        target_env_wake(te);
    line_leave(c);
    buf_put(te, c);
    list_remove(&c->node);
    if (q->rx_cmd == c)
        q->rx_cmd = NULL;
    cmd_set_state(c, CMD_FREE);
    slot_give(q, c);
    if (had_data && !list_empty(&q->wait_quota))
        cmd_quota_retry(q);
}

uint16_t cmd_ttag(const struct cmd *c)
{
    return (uint16_t)(((const char *)c - (const char *)c->q->te->cmds.mem) / (ptrdiff_t)c->q->te->cmds.obj_bytes);
}

struct cmd *cmd_by_ttag(struct queue *q, uint16_t ttag)
{
    struct pool *p = &q->te->cmds;
    struct cmd *c = (struct cmd *)(void *)((char *)p->mem + (size_t)ttag * p->obj_bytes);

    if (ttag >= p->nr || c->state != CMD_WANT_DATA || c->q != q || c->send_r2t)
        return NULL;
    return c;
}

/* ---- checks that all commands share ------------------------------------------------------------------------------ */

uint16_t cmd_check_sgl(const struct cmd *c, uint32_t in_capsule_bytes)
{
    const struct nvme_sgl *sgl = &c->sqe.sgl;
    uint32_t psdt = c->sqe.flags >> 6;

    if (psdt != 1 && psdt != 2)
        return ST_INVALID_FIELD | STATUS_DNR;
    if (in_capsule_bytes && c->dir != DIR_H2C)
        return ST_INVALID_FIELD | STATUS_DNR;
    if (c->dir == DIR_NONE)
        return ST_SUCCESS;
    if (sgl->type == SGL_OFFSET && from_le64(sgl->addr) != 0)
        return ST_SGL_OFFSET | STATUS_DNR;
    if (sgl->type != SGL_TRANSPORT && (sgl->type != SGL_OFFSET || c->dir != DIR_H2C))
        return ST_SGL_TYPE | STATUS_DNR;
    if (from_le32(sgl->length) != c->bytes)
        return ST_SGL_LENGTH | STATUS_DNR;
    if (in_capsule_bytes != (sgl->type == SGL_OFFSET ? c->bytes : 0))
        return ST_SGL_LENGTH | STATUS_DNR;
    return ST_SUCCESS;
}

static const struct cmd_op *op_of(const struct cmd *c)
{
    if (c->sqe.opc == OPC_FABRICS)
        return fabrics_op(&c->sqe);
    return c->q->qid == 0 ? admin_op(c->q->ctrl, &c->sqe) : io_op(&c->sqe);
}

static uint16_t judge(struct cmd *c, uint32_t in_capsule_bytes)
{
    uint16_t status;

    if (cmd_cid_busy(c->q, c->cid))
        return ST_CID_CONFLICT;
    cid_insert(c);
    if (c->sqe.flags & 3) /* no fused commands */
        return ST_INVALID_FIELD | STATUS_DNR;
    c->op = op_of(c);
    if (!c->op)
        return ST_INVALID_OPCODE | STATUS_DNR;
    if (c->sqe.opc != OPC_FABRICS && !(c->q->ctrl->csts & CSTS_RDY))
        return ST_COMMAND_SEQUENCE | STATUS_DNR;
    status = c->op->prepare(c);
    if (status)
        return status;
    assert((c->dir == DIR_NONE) == (c->bytes == 0) && c->bytes <= MDTS_BYTES);
    return cmd_check_sgl(c, in_capsule_bytes);
}

static void execute(struct cmd *c)
{
    cmd_set_state(c, CMD_EXECUTING);
    c->op->execute(c);
}

/* All its data is there. */
static void start(struct cmd *c)
{
    if (line_may_begin(c))
        execute(c);
    else
        cmd_set_state(c, CMD_WAIT_BUFFER);
}

/* Its chunks are there. */
static void proceed(struct cmd *c)
{
    if (c->dir != DIR_H2C) {
        execute(c);
        return;
    }
    cmd_set_state(c, CMD_WANT_DATA);
    c->send_r2t = true;
    list_push_back(&c->q->tx_list, &c->tx_node);
    queue_tx_schedule(c->q);
}

/* What an R2T takes keeps others waiting, so its blk is asked before. */
static bool data_room(struct cmd *c)
{
    struct queue *q = c->q;

    if (cmd_wants_r2t(c) && !line_may_begin(c))
        return false;
    if (!list_empty(&q->wait_quota) || !may_claim(c)) {
        list_push_back(&q->wait_quota, &c->wait_node);
        c->waiting = true;
        return false;
    }
    return claim(c);
}

/* Its blk said yes. On a queue that is ending it waits for the end: cover is of no use there. */
static void begun(struct cmd *c)
{
    if (queue_answers(c->q) && data_room(c))
        proceed(c);
}

void cmd_granted(struct cmd *c)
{
    if (c->state == CMD_RECEIVED) { /* its in-capsule data may be read */
        queue_resume(c->q);
        queue_rx_unblock(c->q);
    } else if (c->in_capsule) {
        execute(c);
    } else if (cmd_wants_r2t(c) && c->nr_chunks == 0) {
        begun(c);
    } else {
        proceed(c);
    }
}

static void begin_in_capsule(struct cmd *c)
{
    struct queue *q = c->q;

    q->rx_cmd = c;
    q->rx_off = 0;
    q->rx_sum = 0;
    q->rx_last = true;
    c->in_capsule = true;
    c->owed_ns = queue_host_ns(q);
    queue_watch(q);
    if (c->status == ST_SUCCESS && !line_get_chunks(c)) {
        q->rx_blocked = true;
        queue_pause(q);
    }
}

void cmd_begin(struct cmd *c, uint32_t in_capsule_bytes)
{
    c->status = judge(c, in_capsule_bytes);
    if (in_capsule_bytes) {
        begin_in_capsule(c);
        return;
    }
    if (c->status) {
        cmd_complete(c, c->status);
        return;
    }
    if (c->bytes == 0 && !c->scratch) {
        start(c);
        return;
    }
    if (data_room(c))
        proceed(c);
    else
        cmd_set_state(c, CMD_WAIT_BUFFER);
}

void cmd_data_end(struct cmd *c)
{
    if (c->status == ST_SUCCESS && c->bad_digest)
        c->status = ST_TRANSIENT_TRANSPORT;
    if (c->status)
        cmd_complete(c, c->status);
    else
        start(c);
}

void cmd_complete(struct cmd *c, uint16_t status)
{
    struct queue *q = c->q;

    c->status = status;
    cmd_set_state(c, CMD_SENDING);
    if (queue_answers(q)) {
        list_push_back(&q->tx_list, &c->tx_node);
        queue_tx_schedule(q);
        return;
    }
    metric_add(&q->te->stats.fenced_commands, 1);
    cmd_free(c);
    queue_maybe_done(q);
}

/* ---- data --------------------------------------------------------------------------------------------------------- */

void cmd_copy_in(struct cmd *c, uint32_t off, const void *from, size_t n)
{
    uint32_t unit = cmd_chunk_bytes(c);

    assert((uint64_t)off + n <= c->bytes);
    for (size_t step; n > 0; n -= step, off += (uint32_t)step, from = (const char *)from + step) {
        step = MIN(n, unit - off % unit);
        memcpy((char *)c->iov[off / unit].iov_base + off % unit, from, step);
    }
}

void cmd_copy_out(const struct cmd *c, uint32_t off, void *to, size_t n)
{
    uint32_t unit = cmd_chunk_bytes(c);

    assert((uint64_t)off + n <= c->bytes);
    for (size_t step; n > 0; n -= step, off += (uint32_t)step, to = (char *)to + step) {
        step = MIN(n, unit - off % unit);
        memcpy(to, (const char *)c->iov[off / unit].iov_base + off % unit, step);
    }
}

void cmd_zero_data(struct cmd *c)
{
    for (int i = 0; i < c->iovcnt; i++)
        memset(c->iov[i].iov_base, 0, c->iov[i].iov_len);
}
