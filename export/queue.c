/* SPDX-License-Identifier: Apache-2.0 */
/* queue.c: the life of a connection.
 *
 * Accepted; ICReq; Connect names the subsystem; the queue moves to that subsystem's env, where the Connect is decided;
 * live; closed. Teardown is one path: the connection is cut, its outstanding calls come back, commands that no blk holds
 * are freed, those in a blk are called back or awaited, then the queue is given back. So a queue that is gone has nothing in flight:
 * that is the fence a controller waits for.
 * Failures: a protocol error sends a termination request and gives the host TERM_WAIT_NS to close; timeouts cut. On a live queue
 * one: what was sent must be read, and data that was asked for must come, within send_timeout.
 */
#include "base/log.h"
#include "export/priv.h"

static const uint8_t allowed[QUEUE_NR] = {
    [QUEUE_IC]         = 1 << QUEUE_CONNECT | 1 << QUEUE_TERM | 1 << QUEUE_CLOSING,
    [QUEUE_CONNECT]    = 1 << QUEUE_MOVING | 1 << QUEUE_TERM | 1 << QUEUE_CLOSING,
    [QUEUE_MOVING]     = 1 << QUEUE_CONNECTING | 1 << QUEUE_CLOSING,
    [QUEUE_CONNECTING] = 1 << QUEUE_LIVE | 1 << QUEUE_TERM | 1 << QUEUE_CLOSING,
    [QUEUE_LIVE]       = 1 << QUEUE_DRAIN | 1 << QUEUE_TERM | 1 << QUEUE_CLOSING,
    [QUEUE_DRAIN]      = 1 << QUEUE_TERM | 1 << QUEUE_CLOSING,
    [QUEUE_TERM]       = 1 << QUEUE_CLOSING,
};

void queue_set_state(struct queue *q, enum queue_state to)
{
    assert(q->state < QUEUE_NR && (allowed[q->state] & (1u << to)));
    trace(TRACE_QUEUE_STATE, (uint64_t)(uintptr_t)q, q->state, to);
    q->state = to;
}

void queue_arm_timer(struct queue *q, uint64_t deadline_ns)
{
    q->deadline_ns = deadline_ns;
    env_timer_arm(q->te->env, &q->timer, deadline_ns);
}

/* ---- what a live queue's host has to do within send_timeout -------------------------------------------------------- */

void queue_watch(struct queue *q)
{
    if (q->state == QUEUE_LIVE && !env_timer_armed(&q->timer))
        env_timer_arm(q->te->env, &q->timer, env_now_ns(q->te->env) + q->t->opts.send_timeout_ns);
}

uint64_t queue_host_ns(const struct queue *q)
{
    return (q->pause_start_ns ? q->pause_start_ns : env_now_ns(q->te->env)) - q->paused_ns;
}

void queue_pause(struct queue *q)
{
    assert(q->pause_start_ns == 0);
    q->pause_start_ns = env_now_ns(q->te->env);
}

void queue_resume(struct queue *q)
{
    if (q->pause_start_ns)
        q->paused_ns += env_now_ns(q->te->env) - q->pause_start_ns;
    q->pause_start_ns = 0;
}

/* The host may send its data, and has not sent all of it: after an R2T; behind the header of its capsule, the only RECEIVED ones. */
static bool owes_data(const struct cmd *c)
{
    return c->state == CMD_RECEIVED || (c->state == CMD_WANT_DATA && !c->send_r2t);
}

/* The age of what it owes the longest. From the grant on: a byte now and then does not make it younger. False: it owes nothing. */
static bool oldest_debt(const struct queue *q, uint64_t *age_ns)
{
    uint64_t now = queue_host_ns(q);
    bool owes = false;

    *age_ns = 0;
    list_for_each(n, &q->cmds) {
        const struct cmd *c = list_entry(n, struct cmd, node);

        if (!owes_data(c))
            continue;
        owes = true;
        *age_ns = MAX(*age_ns, now - c->owed_ns);
    }
    return owes;
}

static void live_timer(struct queue *q)
{
    uint64_t now = env_now_ns(q->te->env), timeout = q->t->opts.send_timeout_ns, deaf;
    uint64_t unread = q->tx_busy ? now - q->tx_start_ns : 0, unsent;
    bool owes = oldest_debt(q, &unsent);

    deaf = now - MIN(now, env_heard_ns(q->te->env)); /* what the host did meanwhile has not been looked at */
    unread -= MIN(unread, deaf);
    unsent -= MIN(unsent, deaf);
    if (unread >= timeout || (unsent >= timeout && !q->pause_start_ns)) {
        log_warn(unread >= timeout ? "host does not read" : "host does not send its data", "subsystem=%s host=%s qid=%u peer=%s",
                 q->s->p.nqn, q->ctrl->hostnqn, q->qid, q->conn->peer.text);
        queue_close(q, true);
        return;
    }
    if (q->pause_start_ns)
        unsent = 0; /* looked at again later */
    if (q->tx_busy || owes)
        env_timer_arm(q->te->env, &q->timer, now + timeout - MAX(unread, unsent));
}

static void queue_timer(struct env_timer *timer)
{
    struct queue *q = container_of(timer, struct queue, timer);

    switch (q->state) {
    case QUEUE_IC:
    case QUEUE_CONNECT:
    case QUEUE_DRAIN:
    case QUEUE_TERM:
        queue_close(q, true);
        return;
    case QUEUE_LIVE:
        live_timer(q);
        return;
    case QUEUE_MOVING:     /* sending ICResp is the host's to let happen */
        queue_close(q, true);
        return;
    case QUEUE_CONNECTING: /* not behind a fence, which may take as long as a device does */
        connect_late(q);
        return;
    case QUEUE_CLOSING:
    case QUEUE_NR:
        return;
    }
}

void queue_start(struct queue *q)
{
    pdu_init(&q->pdu, IN_CAPSULE_BYTES, H2C_DATA_MAX_BYTES);
    list_init(&q->rx_wait);
    list_init(&q->cover_wait);
    list_init(&q->tx_list);
    list_init(&q->cmds);
    list_init(&q->wait_quota);
    q->timer.fn = queue_timer;
    q->rx_buf = q->rx_small;
    q->rx_cap = RX_SMALL_BYTES;
    list_push_back(&q->te->queues, &q->node);
    queue_arm_timer(q, env_now_ns(q->te->env) + q->t->opts.connect_timeout_ns);
    queue_rx_run(q);
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

static void finish(struct queue *q)
{
    struct subsys *s = q->s;

    assert(q->nr_cmds == 0 && q->nr_held == 0 && q->data_bytes == 0 && !q->covered);
    assert(!q->rx_busy && !q->tx_busy);
    queue_rx_release(q);
    list_remove(&q->node);
    target_pre_connect_done(q);
    if (q->ctrl)
        ctrl_queue_gone(q);
    if (s)
        subsys_put(s);
    target_queue_gone(q->t, q);
}

static void free_unheld(struct queue *q)
{
    list_for_each_safe(n, tmp, &q->cmds) {
        struct cmd *c = list_entry(n, struct cmd, node);

        if (c->state == CMD_EXECUTING) { /* only a blk takes its time */
            blk_cancel(q->s->p.blk, &c->io);
            continue;
        }
        if (c->state == CMD_PARKED) {
            list_remove(&c->wait_node);
            q->ctrl->nr_aers--;
        }
        list_remove(&c->tx_node);
        cmd_free(c);
    }
}

static void run_end(struct env_task *task)
{
    struct queue *q = container_of(task, struct queue, task);

    if (q->rx_task.queued || q->tx_task.queued)
        env_defer(q->te->env, task); /* behind them */
    else
        finish(q);
}

/* An admin queue outlives its controller's I/O queues: its end would cut them. */
static bool drained(const struct queue *q)
{
    return q->nr_held == 0 && !q->tx_busy && !q->ctl_bytes && list_empty(&q->tx_list) && (q->qid != 0 || q->ctrl->nr_queues == 1);
}

/* The host is told by the end of our stream, and what it still sends is read until it ends its own. A close at once would answer
 * that with a reset: Linux then fails what it sends, so fast that a command's retries are gone before its queues stand still, and
 * the program that wrote gets an error. After the end of a stream its commands wait for the next connection. */
static void part(struct queue *q)
{
    queue_set_state(q, QUEUE_TERM);
    queue_arm_timer(q, env_now_ns(q->te->env) + PART_NS);
    net_shutdown(q->conn);
    queue_rx_run(q);
}

void queue_maybe_done(struct queue *q)
{
    if (q->state == QUEUE_DRAIN && drained(q))
        part(q);
    if (q->state != QUEUE_CLOSING || !q->conn_closed || q->task.queued)
        return;
    if (q->nr_cmds > 0)
        return;
    q->task.fn = run_end; /* from the loop: callers up the stack may still look at q */
    env_defer(q->te->env, &q->task);
}

static void closed(void *ctx)
{
    struct queue *q = ctx;

    q->conn = NULL;
    q->conn_closed = true;
    q->rx_busy = false;
    q->tx_busy = false;
    queue_tx_release(q);
    free_unheld(q);
    queue_maybe_done(q);
}

void queue_close(struct queue *q, bool abort)
{
    if (q->state == QUEUE_CLOSING)
        return;
    queue_set_state(q, QUEUE_CLOSING);
    env_timer_cancel(q->te->env, &q->timer);
    list_remove(&q->rx_wait);
    list_remove(&q->cover_wait);
    if (abort)
        net_abort(q->conn);
    net_close(q->conn, closed, q);
    if (q->ctrl && q->qid == 0)
        ctrl_fail(q->ctrl, q);
}

void queue_drain(struct queue *q)
{
    if (q->state == QUEUE_CLOSING || q->state == QUEUE_DRAIN)
        return;
    if (q->state != QUEUE_LIVE) {
        queue_close(q, false);
        return;
    }
    queue_set_state(q, QUEUE_DRAIN);
    queue_arm_timer(q, env_now_ns(q->te->env) + DRAIN_NS);
    queue_maybe_done(q);
}

/* C2HTermReq: what was wrong, and the header it was wrong in, as far as it was received. */
void queue_terminate(struct queue *q, uint16_t fes, uint32_t fei)
{
    uint32_t n = MIN(q->pdu.have, TERM_REQ_DATA_MAX);
    struct pdu_term_req *t = (void *)q->ctl;

    metric_add(&q->te->stats.protocol_errors, 1);
    log_debug("protocol error", "peer=%s fes=%u fei=%u", q->conn ? q->conn->peer.text : "", fes, fei);
    if (q->state == QUEUE_CLOSING || q->state == QUEUE_TERM)
        return;
    if (q->state == QUEUE_MOVING || q->state == QUEUE_DRAIN || q->ctl_bytes) {
        queue_close(q, true); /* nothing else can be said now */
        return;
    }
    queue_set_state(q, QUEUE_TERM);
    memset(t, 0, sizeof(*t));
    t->common = (struct pdu_common){.type = PDU_C2H_TERM_REQ, .hlen = sizeof(*t), .plen = to_le32((uint32_t)sizeof(*t) + n)};
    t->fes = to_le16(fes);
    t->fei = to_le32(fei);
    memcpy(q->ctl + sizeof(*t), q->pdu.hdr, n);
    q->tx_fin = true;
    queue_arm_timer(q, env_now_ns(q->te->env) + TERM_WAIT_NS);
    queue_tx_ctl(q, (uint32_t)sizeof(*t) + n);
    if (q->ctrl && q->qid == 0)
        ctrl_fail(q->ctrl, q);
}

/* ---- to the subsystem's env ------------------------------------------------------------------------------------------ */

static void arrive(struct env_task *task)
{
    struct queue *q = container_of(task, struct queue, task);

    q->te = q->s->home;
    net_attach(q->conn, q->te->env);
    list_push_back(&q->te->queues, &q->node);
    if (__atomic_load_n(&q->t->stopping, __ATOMIC_ACQUIRE))
        queue_close(q, false);
    else
        connect_run(q);
}

/* More connections to discovery than are let in, q included. Those on their way out count, so no crowd of refused ones grows either. */
static bool discovery_full(struct queue *q)
{
    uint32_t max = MAX(q->t->opts.connections_max / 8, DISCOVERY_QUEUES_MIN);

    return subsys_is_discovery(q->s) && __atomic_load_n(&q->s->refs, __ATOMIC_ACQUIRE) - 1 > max; /* one is the target's */
}

void queue_move(struct queue *q)
{
    if (q->state == QUEUE_CONNECT)
        queue_set_state(q, QUEUE_MOVING);
    q->rx_blocked = true;
    if (q->tx_busy || q->ctl_bytes)
        return; /* the send's end comes here again */
    assert(q->state == QUEUE_MOVING && !q->rx_busy && q->rx_buf == q->rx_small);
    assert(!q->rx_task.queued && !q->tx_task.queued);
    if (discovery_full(q)) {
        metric_add(&q->te->stats.refused, 1);
        queue_close(q, false);
        return;
    }
    env_timer_cancel(q->te->env, &q->timer);
    target_pre_connect_done(q);
    if (q->te == q->s->home) {
        connect_run(q);
        return;
    }
    list_remove(&q->node);
    if (net_detach(q->conn) != 0) {
        list_push_back(&q->te->queues, &q->node);
        queue_close(q, true);
        return;
    }
    q->task.fn = arrive;
    env_post(q->s->home->env, &q->task);
}
