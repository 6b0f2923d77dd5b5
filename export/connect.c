/* SPDX-License-Identifier: Apache-2.0 */
/* connect.c: the Fabrics Connect command.
 *
 * On the accepting env: the capsule and its data are checked by themselves, the subsystem is looked up, the queue moves to
 * its env. There: may this host; admin: is an older association in the way; I/O: does its controller exist.
 * The fence: an association of the same host is cut first, and the Connect waits in subsys.pending until every
 * queue of the old one is gone, with every command that its blk held. Then it is decided anew. Another host on a
 * single-host subsystem is refused while an association lives. In the same way an I/O queue waits for the one that had its
 * identifier, whose connection may have ended before its commands have; QID_WAIT_NS at most.
 * Failures: the answer says which parameter (IPO, IATTR); the connection is closed behind it, so that a crowd that may not in
 * takes no connection from hosts that may.
 */
#include "base/log.h"
#include "base/sizefmt.h"
#include "export/priv.h"

#define IN_SQE(member)  ((uint32_t)offsetof(struct fabrics_connect, member))
#define IN_DATA(member) ((uint32_t)offsetof(struct fabrics_connect_data, member) | 1u << 16)

static const struct fabrics_connect *sqe_of(const struct queue *q) { return (const void *)&q->connect.sqe; }
static const struct fabrics_connect_data *data_of(const struct queue *q) { return (const void *)q->connect.data; }

static void refuse(struct queue *q, uint16_t status, uint32_t result)
{
    metric_add(&q->te->stats.refused, 1);
    if (q->state == QUEUE_MOVING)
        queue_set_state(q, QUEUE_CONNECTING);
    queue_set_state(q, QUEUE_TERM);
    q->tx_fin = false;
    queue_arm_timer(q, env_now_ns(q->te->env) + TERM_WAIT_NS);
    queue_send_connect_resp(q, status, result);
}

/* Hosts try again for ever: REFUSALS_SAID lines an env in REFUSALS_NS, and the next one tells how many were left out. */
#define REFUSALS_SAID 8u
#define REFUSALS_NS   (10 * NS_PER_S)

static void say_refused(struct queue *q, const char *why)
{
    struct target_env *te = q->te;
    uint64_t now = env_now_ns(te->env);

    if (now - te->said_from_ns >= REFUSALS_NS) {
        te->said_from_ns = now;
        te->said = 0;
    }
    if (te->said == REFUSALS_SAID) {
        te->unsaid++;
        return;
    }
    log_warn("host refused", "subsystem=%s host=%s peer=%s why=\"%s\" left_out=%u", data_of(q)->subnqn, data_of(q)->hostnqn,
             q->conn ? q->conn->peer.text : "", why, te->unsaid);
    te->said++;
    te->unsaid = 0;
}

uint32_t connect_check_data(const struct fabrics_connect_data *d)
{
    static const uint8_t none[sizeof(d->hostid)];

    if (!nqn_valid(d->subnqn))
        return IN_DATA(subnqn);
    if (!nqn_valid(d->hostnqn))
        return IN_DATA(hostnqn);
    if (memcmp(d->hostid, none, sizeof(none)) == 0)
        return IN_DATA(hostid);
    return 0;
}

static uint16_t check_capsule(const struct queue *q)
{
    const struct fabrics_connect *sqe = sqe_of(q);

    if (sqe->opc != OPC_FABRICS || sqe->fctype != FC_CONNECT)
        return ST_COMMAND_SEQUENCE | STATUS_DNR;
    if (sqe->flags >> 6 != 1 && sqe->flags >> 6 != 2)
        return ST_INVALID_FIELD | STATUS_DNR;
    if (sqe->sgl.type != SGL_OFFSET)
        return ST_SGL_TYPE | STATUS_DNR;
    if (from_le64(sqe->sgl.addr) != 0)
        return ST_SGL_OFFSET | STATUS_DNR;
    if (from_le32(sqe->sgl.length) != sizeof(q->connect.data) || q->capsule_data != sizeof(q->connect.data))
        return ST_SGL_LENGTH | STATUS_DNR;
    if (q->connect.bad_digest)
        return ST_TRANSIENT_TRANSPORT;
    return from_le16(sqe->recfmt) == 0 ? ST_SUCCESS : (ST_CONNECT_FORMAT | STATUS_DNR);
}

void connect_received(struct queue *q)
{
    const struct fabrics_connect_data *d = data_of(q);
    uint16_t status = check_capsule(q);
    uint32_t bad;

    if (status) {
        refuse(q, status, 0);
        return;
    }
    bad = connect_check_data(d);
    if (bad) {
        refuse(q, ST_CONNECT_PARAM | STATUS_DNR, bad);
        return;
    }
    if (!q->discovery_only || strcmp(d->subnqn, DISCOVERY_NQN) == 0)
        q->s = subsys_get(q->t, d->subnqn);
    if (!q->s) { /* no Do Not Retry: it may come back, say while this node starts */
        say_refused(q, "no such subsystem");
        refuse(q, ST_CONNECT_PARAM, IN_DATA(subnqn));
        return;
    }
    queue_move(q);
}

/* ---- at the subsystem's env ------------------------------------------------------------------------------------------ */

static bool same_host(const struct ctrl *c, const struct fabrics_connect_data *d)
{
    if (strcmp(c->hostnqn, d->hostnqn) != 0)
        return false;
    return c->s->p.single_host || memcmp(c->hostid, d->hostid, sizeof(c->hostid)) == 0;
}

enum fence { FENCE_CLEAR, FENCE_WAIT, FENCE_REFUSE };

/* What older associations mean for an admin Connect; cuts those of the same host. */
static enum fence fence(struct queue *q)
{
    struct subsys *s = q->s;
    enum fence verdict = FENCE_CLEAR;

    if (subsys_is_discovery(s))
        return FENCE_CLEAR;
    list_for_each_safe(n, tmp, &s->ctrls) {
        struct ctrl *c = list_entry(n, struct ctrl, node);
        bool same = same_host(c, data_of(q));

        if (!same && !s->p.single_host)
            continue;
        if (!same && c->state == CTRL_LIVE)
            return FENCE_REFUSE;
        ctrl_fail(c, NULL);
        verdict = FENCE_WAIT;
    }
    return q->t->bugs.skip_association_fence ? FENCE_CLEAR : verdict;
}

/* q waits for a fence. A host that tries again has given up its earlier try, which would hold a connection for as long as a
 * device hangs, one more with each try.
 */
static void wait_for_fence(struct queue *q)
{
    const struct fabrics_connect_data *d = data_of(q);

    list_for_each_safe(n, tmp, &q->s->pending) {
        struct queue *older = list_entry(n, struct queue, rx_wait);

        if (strcmp(data_of(older)->hostnqn, d->hostnqn) == 0 &&
            (q->s->p.single_host || memcmp(data_of(older)->hostid, d->hostid, sizeof(d->hostid)) == 0))
            queue_close(older, true);
    }
    list_push_back(&q->s->pending, &q->rx_wait);
}

static void grant(struct queue *q, struct ctrl *c, uint16_t qid)
{
    const struct fabrics_connect *sqe = sqe_of(q);

    q->qid = qid;
    q->ctrl = c;
    q->sqsize = from_le16(sqe->sqsize);
    q->sqhd = 1; /* Connect took the first entry */
    q->sqflow_off = (sqe->cattr & CATTR_SQ_FLOW_OFF) != 0;
    q->pdu.connected = true;
    q->rx_blocked = false;
    queue_set_state(q, QUEUE_LIVE);
    env_timer_cancel(q->te->env, &q->timer);
    ctrl_go_live(c, q);
    queue_send_connect_resp(q, ST_SUCCESS, c->cntlid);
}

static bool sqsize_ok(const struct queue *q)
{
    uint16_t sqsize = from_le16(sqe_of(q)->sqsize);

    return sqsize >= 1 && sqsize < q->t->opts.queue_depth;
}

static void connect_admin(struct queue *q)
{
    struct ctrl *c;

    if (from_le16(data_of(q)->cntlid) != 0xffff) {
        refuse(q, ST_CONNECT_PARAM | STATUS_DNR, IN_DATA(cntlid));
        return;
    }
    switch (fence(q)) {
    case FENCE_REFUSE: /* the other host may leave: worth a retry */
        say_refused(q, "another host is connected");
        refuse(q, ST_CONNECT_HOST, IN_DATA(hostnqn));
        return;
    case FENCE_WAIT:
        wait_for_fence(q);
        return;
    case FENCE_CLEAR:
        break;
    }
    c = ctrl_new(q, sqe_of(q), data_of(q));
    if (c)
        grant(q, c, 0);
    else
        refuse(q, ST_CONNECT_BUSY, 0);
}

static struct ctrl *find_ctrl(const struct queue *q)
{
    const struct fabrics_connect_data *d = data_of(q);
    uint16_t cntlid = from_le16(d->cntlid);

    list_for_each(n, &q->s->ctrls) {
        struct ctrl *c = list_entry(n, struct ctrl, node);

        if (c->cntlid == cntlid && c->state == CTRL_LIVE && strcmp(c->hostnqn, d->hostnqn) == 0 &&
            memcmp(c->hostid, d->hostid, sizeof(c->hostid)) == 0)
            return c;
    }
    return NULL;
}

/* Long enough for most devices; a host waits longer than that for an answer. */
#define QID_WAIT_NS (2 * NS_PER_S)

static uint16_t qid_of(const struct queue *q) { return from_le16(sqe_of(q)->qid); }

static bool same_place(const struct queue *a, const struct queue *b)
{
    const struct fabrics_connect_data *x = data_of(a), *y = data_of(b);

    return qid_of(a) == qid_of(b) && memcmp(&x->cntlid, &y->cntlid, sizeof(x->cntlid)) == 0 && strcmp(x->hostnqn, y->hostnqn) == 0 &&
           memcmp(x->hostid, y->hostid, sizeof(x->hostid)) == 0;
}

/* Who does not read, because chunks or a slot are lacking, does not see the end of its stream either: under a low cap for minutes. */
static void end_if_gone(struct queue *old)
{
    if (old->conn && net_peer_gone(old->conn))
        queue_close(old, true);
}

/* Of several tries the last one waits. */
static void wait_for_qid(struct queue *q, struct queue *old)
{
    end_if_gone(old);
    list_for_each_safe(n, tmp, &q->s->pending) {
        struct queue *older = list_entry(n, struct queue, rx_wait);

        if (same_place(older, q))
            queue_close(older, true);
    }
    if (!env_timer_armed(&q->timer)) /* else it waits since before */
        queue_arm_timer(q, env_now_ns(q->te->env) + QID_WAIT_NS);
    list_push_back(&q->s->pending, &q->rx_wait);
}

/* The host may try again: the queue in its way may yet end. */
void connect_late(struct queue *q)
{
    list_remove(&q->rx_wait);
    refuse(q, ST_CONNECT_PARAM, IN_SQE(qid));
}

void connect_io_pending(struct subsys *s)
{
    struct list ready, *n;

    list_init(&ready);
    list_for_each_safe(at, tmp, &s->pending) {
        if (qid_of(list_entry(at, struct queue, rx_wait)) == 0)
            continue;
        list_remove(at);
        list_push_back(&ready, at);
    }
    while ((n = list_pop_front(&ready)) != NULL)
        connect_run(list_entry(n, struct queue, rx_wait));
}

static void connect_io(struct queue *q, uint16_t qid)
{
    struct ctrl *c = find_ctrl(q);

    if (subsys_is_discovery(q->s)) /* there is no blk behind it */
        refuse(q, ST_CONNECT_PARAM | STATUS_DNR, IN_SQE(qid));
    else if (!c) /* gone since its admin Connect, perhaps with the server that knew it: Linux gives the device up for a Do Not Retry */
        refuse(q, ST_CONNECT_PARAM, IN_DATA(cntlid));
    else if (qid > c->io_queues_granted)
        refuse(q, ST_CONNECT_PARAM | STATUS_DNR, IN_SQE(qid));
    else if (!(c->csts & CSTS_RDY) || c->resetting)
        refuse(q, ST_COMMAND_SEQUENCE | STATUS_DNR, 0);
    else if (c->queues[qid])
        wait_for_qid(q, c->queues[qid]);
    else
        grant(q, c, qid);
}

void connect_run(struct queue *q)
{
    uint16_t qid = qid_of(q);

    if (q->state == QUEUE_MOVING)
        queue_set_state(q, QUEUE_CONNECTING);
    if (q->s->removing) {
        say_refused(q, "no such subsystem");
        refuse(q, ST_CONNECT_PARAM, IN_DATA(subnqn));
    } else if (!subsys_host_allowed(q->s, data_of(q)->hostnqn)) {
        say_refused(q, "not on the list");
        refuse(q, ST_CONNECT_HOST | STATUS_DNR, IN_DATA(hostnqn));
    } else if (!sqsize_ok(q)) {
        refuse(q, ST_CONNECT_PARAM | STATUS_DNR, IN_SQE(sqsize));
    } else if (qid == 0) {
        connect_admin(q);
    } else {
        connect_io(q, qid);
    }
}
