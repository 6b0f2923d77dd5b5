/* SPDX-License-Identifier: Apache-2.0 */
/* ctrl.c: a controller: one association of a host with a subsystem.
 *
 * Made by an admin Connect; enabled by a property; its I/O queues join by CNTLID. It lives on its subsystem's env.
 * It ends with its admin queue, by Keep Alive timeout, by a fence, or with its subsystem: state DYING, every queue cut;
 * it is gone when the last of them is, which means that no blk holds a command of it any more. Then Connects that waited
 * for that are decided.
 */
#include "base/log.h"
#include "export/priv.h"

static const uint8_t allowed[CTRL_NR] = {
    [CTRL_FREE]  = 1 << CTRL_LIVE,
    [CTRL_LIVE]  = 1 << CTRL_DYING,
    [CTRL_DYING] = 1 << CTRL_FREE,
};

static void set_state(struct ctrl *c, enum ctrl_state to)
{
    assert(c->state < CTRL_NR && (allowed[c->state] & (1u << to)));
    trace(TRACE_CTRL_STATE, c->cntlid, c->state, to);
    c->state = to;
}

/* ---- Keep Alive ----------------------------------------------------------------------------------------------------- */

/* How long the host may be silent; 0: for ever. KATO 0 means no Keep Alive: then TCP finds a peer that vanished (probes, net.h),
 * and one that is there but silent may stay, as hosts without Keep Alive expect. Discovery is for anybody, so there nobody stays
 * silent for ever: the fixed activity timeout that the specification has for such hosts. */
static uint64_t silence_ns(const struct ctrl *c)
{
    if (c->kato_ms)
        return c->kato_ms * NS_PER_MS + c->s->t->opts.kato_grace_ns;
    return subsys_is_discovery(c->s) ? c->s->t->opts.discovery_idle_ns : 0;
}

static uint64_t kato_deadline(const struct ctrl *c) { return c->last_seen_ns + silence_ns(c); }

static void kato_timer(struct env_timer *timer)
{
    struct ctrl *c = container_of(timer, struct ctrl, kato_timer);
    struct env *env = c->s->home->env;

    if (env_now_ns(env) < kato_deadline(c)) {
        env_timer_arm(env, timer, kato_deadline(c)); /* it spoke since: traffic counts */
        return;
    }
    if (env_heard_ns(env) < kato_deadline(c)) { /* what it said in time may lie unread, as after the process stood still */
        env_timer_arm(env, timer, env_now_ns(env) + NS_PER_MS);
        return;
    }
    log_warn("keep alive timeout", "subsystem=%s host=%s cntlid=%u", c->s->p.nqn, c->hostnqn, c->cntlid);
    ctrl_fail(c, NULL);
}

void ctrl_seen(struct ctrl *c)
{
    c->last_seen_ns = env_now_ns(c->s->home->env);
}

void ctrl_set_kato(struct ctrl *c, uint32_t kato_ms)
{
    struct env *env = c->s->home->env;

    c->kato_ms = kato_ms;
    ctrl_seen(c);
    if (silence_ns(c) && c->state == CTRL_LIVE)
        env_timer_arm(env, &c->kato_timer, kato_deadline(c));
    else
        env_timer_cancel(env, &c->kato_timer);
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

static bool cntlid_taken(const struct subsys *s, uint16_t id)
{
    list_for_each(n, &s->ctrls)
        if (list_entry(n, struct ctrl, node)->cntlid == id)
            return true;
    return false;
}

/* The next in turn, so that an identifier is not used again soon. */
static uint16_t cntlid_new(struct subsys *s)
{
    do
        s->last_cntlid = s->last_cntlid >= 0xffef ? 1 : (uint16_t)(s->last_cntlid + 1);
    while (cntlid_taken(s, s->last_cntlid));
    return s->last_cntlid;
}

struct ctrl *ctrl_new(struct queue *admin, const struct fabrics_connect *sqe, const struct fabrics_connect_data *d)
{
    struct subsys *s = admin->s;
    struct target *t = admin->t;
    struct ctrl *c;

    if (!subsys_stats_ready(s))
        return NULL;
    pthread_mutex_lock(&t->lock);
    c = pool_get(&t->ctrls);
    pthread_mutex_unlock(&t->lock);
    if (!c)
        return NULL;
    memset(c, 0, sizeof(*c));
    c->s = s;
    c->cntlid = cntlid_new(s);
    set_state(c, CTRL_LIVE);
    list_push_back(&s->ctrls, &c->node);
    __atomic_fetch_add(&s->nr_ctrls, 1, __ATOMIC_RELAXED);
    list_init(&c->aers);
    c->io_queues_granted = (uint16_t)t->opts.queues_max;
    c->kato_timer.fn = kato_timer;
    memcpy(c->hostid, d->hostid, sizeof(c->hostid));
    memcpy(c->hostnqn, d->hostnqn, sizeof(c->hostnqn));
    c->hostnqn[NQN_MAX_BYTES] = 0;
    ctrl_set_kato(c, (uint32_t)MIN(ROUND_UP((uint64_t)from_le32(sqe->kato), 1000u), 3600000u)); /* KAS: whole seconds */
    subsys_watch(s);
    if (subsys_is_discovery(s)) /* open to anybody, who could else fill the log */
        log_debug("discovery begins", "host=%s cntlid=%u peer=%s", c->hostnqn, c->cntlid, admin->conn->peer.text);
    else
        log_info("host connected", "subsystem=%s host=%s cntlid=%u kato_ms=%u peer=%s", s->p.nqn, c->hostnqn, c->cntlid,
                 c->kato_ms, admin->conn->peer.text);
    return c;
}

void ctrl_go_live(struct ctrl *c, struct queue *q)
{
    assert(c->state == CTRL_LIVE && c->queues[q->qid] == NULL);
    c->queues[q->qid] = q;
    c->nr_queues++;
    ctrl_seen(c);
}

void ctrl_fail(struct ctrl *c, const struct queue *spare)
{
    if (c->state == CTRL_LIVE) {
        set_state(c, CTRL_DYING);
        c->csts |= CSTS_CFS;
        env_timer_cancel(c->s->home->env, &c->kato_timer);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(c->queues); i++)
        if (c->queues[i] && c->queues[i] != spare)
            queue_close(c->queues[i], true);
}

static void reset_done(struct ctrl *c)
{
    c->resetting = false;
    c->csts &= ~(uint32_t)(CSTS_RDY | CSTS_CFS);
}

static void abort_events(struct ctrl *c)
{
    struct list *n;

    while ((n = list_pop_front(&c->aers)) != NULL) {
        c->nr_aers--;
        cmd_complete(list_entry(n, struct cmd, wait_node), ST_ABORT_REQUESTED);
    }
}

/* The association and its admin queue stay; features are as at first. A write of before the reset cannot land after it: the host
 * may go on when CSTS.RDY is 0, and that waits for what a blk still holds. */
void ctrl_reset(struct ctrl *c)
{
    log_info("controller reset", "subsystem=%s host=%s cntlid=%u", c->s->p.nqn, c->hostnqn, c->cntlid);
    c->async_config = 0;
    c->events = c->events_masked = 0;
    c->host_behavior = 0;
    memset(c->features, 0, sizeof(c->features));
    c->io_queues_granted = (uint16_t)c->s->t->opts.queues_max;
    abort_events(c);
    if (c->nr_queues == 1) {
        reset_done(c);
        return;
    }
    c->resetting = true;
    for (uint32_t i = 1; i < ARRAY_LEN(c->queues); i++)
        if (c->queues[i])
            queue_close(c->queues[i], true);
}

static void run_pending(struct subsys *s)
{
    struct list ready;
    struct list *n;

    list_init(&ready);
    list_splice_back(&ready, &s->pending);
    while ((n = list_pop_front(&ready)) != NULL)
        connect_run(list_entry(n, struct queue, rx_wait));
}

static void gone(struct ctrl *c)
{
    struct subsys *s = c->s;
    struct target *t = s->t;

    assert(c->nr_aers == 0);
    if (subsys_is_discovery(s))
        log_debug("discovery ends", "host=%s cntlid=%u", c->hostnqn, c->cntlid);
    else
        log_info("host gone", "subsystem=%s host=%s cntlid=%u", s->p.nqn, c->hostnqn, c->cntlid);
    list_remove(&c->node);
    __atomic_fetch_sub(&s->nr_ctrls, 1, __ATOMIC_RELAXED);
    set_state(c, CTRL_FREE);
    pthread_mutex_lock(&t->lock);
    pool_put(&t->ctrls, c);
    pthread_mutex_unlock(&t->lock);
    subsys_watch(s);
    run_pending(s);
}

void ctrl_queue_gone(struct queue *q)
{
    struct subsys *s = q->s;
    struct ctrl *c = q->ctrl;

    assert(c->queues[q->qid] == q && c->nr_queues > 0);
    c->queues[q->qid] = NULL;
    c->nr_queues--;
    q->ctrl = NULL;
    if (c->nr_queues == 0) {
        assert(c->state == CTRL_DYING);
        gone(c);
    } else if (c->queues[0]) {
        if (c->resetting && c->nr_queues == 1)
            reset_done(c);
        queue_maybe_done(c->queues[0]); /* a draining admin queue waits for the others */
    }
    connect_io_pending(s);
}

/* ---- asynchronous events ------------------------------------------------------------------------------------------------ */

static uint32_t event_result(unsigned event)
{
    if (event == EVENT_NS)
        return 0x2u | 0x00u << 8 | (uint32_t)LID_CHANGED_NS << 16; /* notice, namespace attribute changed */
    return 0x2u | 0xf0u << 8 | (uint32_t)LID_DISCOVERY << 16;      /* notice, discovery log changed */
}

void ctrl_events_run(struct ctrl *c)
{
    unsigned event;
    struct cmd *aer;

    while ((event = c->events & ~c->events_masked) != 0 && !list_empty(&c->aers)) {
        event &= -event;
        c->events &= ~event;
        c->events_masked |= event; /* until its log page was read */
        aer = list_entry(list_pop_front(&c->aers), struct cmd, wait_node);
        c->nr_aers--;
        aer->result = event_result(event);
        cmd_complete(aer, ST_SUCCESS);
    }
}

void ctrl_event(struct ctrl *c, unsigned event)
{
    bool wanted = event == EVENT_NS ? (c->async_config & AEN_NS_ATTR) != 0 : (c->async_config & AEN_DISCOVERY) != 0;

    if (event == EVENT_NS)
        c->ns_changed = true;
    if (!wanted || c->state != CTRL_LIVE)
        return;
    c->events |= event;
    ctrl_events_run(c);
}

void ctrl_event_read(struct ctrl *c, unsigned event)
{
    c->events_masked &= ~event;
    ctrl_events_run(c);
}
