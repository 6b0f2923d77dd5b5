/* SPDX-License-Identifier: Apache-2.0 */
/* target.c: the target as a whole: pools, accept, limits, stop.
 *
 * Start: every pool is reserved; memory is resident only once it was used. Accept: a queue from the pool, or the
 * connection is cut. Before Connect nobody knows who it is, so there are few of these; of too many the oldest makes room, of
 * the address that has the most: a crowd that says nothing keeps no host out.
 * Stop: no more accepts; each env drains its queues; the last queue to go reports to envs[0].
 */
#include "base/log.h"
#include "export/block_sum.h"
#include "export/priv.h"

#include <errno.h>
#include <stdlib.h>

static void defaults(struct target_opts *o)
{
    o->connections_max = o->connections_max ? o->connections_max : CONNECTIONS_MAX;
    o->queue_depth = o->queue_depth ? MIN(o->queue_depth, QUEUE_DEPTH_MAX) : QUEUE_DEPTH_MAX;
    o->queue_depth = MAX(o->queue_depth, ADMIN_DEPTH); /* an admin queue must fit */
    o->queues_max = o->queues_max ? MIN(o->queues_max, QUEUES_PER_CTRL_MAX) : 16;
    o->data_buffers = o->data_buffers ? MAX(o->data_buffers, CHUNKS_MAX) : 1024;
    o->connect_timeout_ns = o->connect_timeout_ns ? o->connect_timeout_ns : 5 * NS_PER_S;
    o->kato_grace_ns = o->kato_grace_ns ? o->kato_grace_ns : NS_PER_S;
    o->discovery_idle_ns = o->discovery_idle_ns ? o->discovery_idle_ns : 120 * NS_PER_S;
    o->send_timeout_ns = o->send_timeout_ns ? o->send_timeout_ns : 30 * NS_PER_S;
}

static int env_init(struct target *t, struct target_env *te, struct env *env)
{
    const struct target_opts *o = &t->opts;
    int err;

    te->t = t;
    te->env = env;
    list_init(&te->queues);
    list_init(&te->wait_cmd);
    list_init(&te->wait_cover);
    list_init(&te->wait_lines);
    for (uint32_t i = 0; i < PRE_BUCKETS; i++)
        list_init(&te->pre[i].queues);
    err = pool_init(&te->cmds, ROUND_UP(sizeof(struct cmd), 64), 64, slots_nr(o));
    err = err ? err : pool_init(&te->stages, RX_STAGE_BYTES, BLOCK_BYTES, o->connections_max);
    err = err ? err : pool_init(&te->bulks, RX_BULK_BYTES, BLOCK_BYTES, RX_BULK_NR);
    err = err ? err : pool_init(&te->batches, ROUND_UP(sizeof(struct tx_batch), 64), 64, o->connections_max);
    return err ? err : buf_init(te, o->data_buffers);
}

static void pool_fini_if(struct pool *p)
{
    if (p->mem)
        pool_fini(p);
}

static void env_fini(struct target_env *te)
{
#define X(name) pool_fini_if(&te->name);
    ENV_POOLS(X)
#undef X
}

void target_release(struct target *t)
{
    for (uint32_t i = 0; t->te && i < t->opts.nr_envs; i++)
        env_fini(&t->te[i]);
    pool_fini_if(&t->queues);
    pool_fini_if(&t->ctrls);
    if (t->discovery) {
        free(t->discovery->stats);
        free(t->discovery);
    }
    discovery_fini(t);
    pthread_mutex_destroy(&t->lock);
    free(t->opts.envs);
    free(t->te);
    free(t);
}

static int init(struct target *t)
{
    struct env **envs = calloc(t->opts.nr_envs, sizeof(*envs));
    int err;

    t->te = calloc(t->opts.nr_envs, sizeof(*t->te));
    if (envs)
        memcpy(envs, t->opts.envs, t->opts.nr_envs * sizeof(*envs));
    t->opts.envs = envs;
    if (!envs || !t->te)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->opts.nr_envs; i++) {
        err = env_init(t, &t->te[i], envs[i]);
        if (err)
            return err;
    }
    err = pool_init(&t->queues, sizeof(struct queue), 64, t->opts.connections_max);
    err = err ? err : pool_init(&t->ctrls, ROUND_UP(sizeof(struct ctrl), 64), 64, t->opts.connections_max);
    return err ? err : subsys_new_discovery(t, &t->discovery);
}

int target_new(const struct target_opts *opts, struct target **out)
{
    struct target *t;
    int err;

    if (opts->nr_envs == 0 || opts->nr_envs > REACTORS_MAX)
        return -FIRN_E_INVALID;
    t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    block_sum_init();
    t->opts = *opts;
    defaults(&t->opts);
    pthread_mutex_init(&t->lock, NULL);
    list_init(&t->subsystems);
    t->genctr = 1; /* 0 is that of no view */
    err = init(t);
    if (err) {
        target_release(t);
        return err;
    }
    *out = t;
    return 0;
}

void target_set_bugs(struct target *t, const struct export_bugs *bugs) { t->bugs = *bugs; }

void target_free(struct target *t)
{
    assert(t->nr_queues == 0 && t->nr_subsystems == 0);
    target_release(t);
}

/* ---- accept ------------------------------------------------------------------------------------------------------------ */

static void closed(void *ctx) { (void)ctx; }

/* "address:port", or without a port. */
static struct pre_bucket *bucket_of(struct target_env *te, const char *peer)
{
    const char *end = strrchr(peer, ':');
    uint32_t h = 2166136261u;

    for (; *peer && peer != end; peer++)
        h = (h ^ (unsigned char)*peer) * 16777619u;
    return &te->pre[h % PRE_BUCKETS];
}

static void pre_connect(struct queue *q)
{
    q->pre = bucket_of(q->te, q->conn->peer.text);
    q->pre->nr++;
    q->te->nr_pre++;
    list_push_back(&q->pre->queues, &q->pre_node);
    q->pre_connect = true;
}

/* The bound is on all envs together; an env that has no more than its part of it need not care what others have. */
static bool too_many(struct target_env *te)
{
    struct target *t = te->t;
    uint32_t max = MIN(PRE_CONNECT_MAX, MAX(t->opts.connections_max / 2, 1u)), nr;

    pthread_mutex_lock(&t->lock);
    nr = t->nr_pre_connect;
    pthread_mutex_unlock(&t->lock);
    return nr >= max && te->nr_pre > 0 && te->nr_pre >= max / t->opts.nr_envs;
}

static void make_room(struct target_env *te)
{
    struct pre_bucket *most = &te->pre[0];
    struct queue *q;

    for (uint32_t i = 1; i < PRE_BUCKETS; i++)
        if (te->pre[i].nr > most->nr)
            most = &te->pre[i];
    q = list_first(&most->queues, struct queue, pre_node);
    assert(q != NULL);
    metric_add(&te->stats.refused, 1);
    target_pre_connect_done(q);
    queue_close(q, true);
}

/* Hosts try again for ever: a line an env in FULL_NS. */
#define FULL_NS (10 * NS_PER_S)

static void say_full(struct target_env *te, const struct net_conn *conn)
{
    uint64_t now = env_now_ns(te->env);

    if (te->full_said_ns != 0 && now - te->full_said_ns < FULL_NS) {
        te->full_unsaid++;
        return;
    }
    log_warn("connection refused: there are as many as limits.connections lets in",
             "peer=%s connections=%u do=\"raise limits.connections and start again, or connect fewer queues\" left_out=%u", conn->peer.text,
             te->t->opts.connections_max, te->full_unsaid);
    te->full_said_ns = MAX(now, UINT64_C(1));
    te->full_unsaid = 0;
}

static struct queue *admit(struct target *t)
{
    struct queue *q = NULL;

    pthread_mutex_lock(&t->lock);
    if (!t->stopping)
        q = pool_get(&t->queues);
    if (q) {
        t->nr_queues++;
        t->nr_pre_connect++;
    }
    pthread_mutex_unlock(&t->lock);
    return q;
}

void target_accept(struct target *t, uint32_t env_index, struct net_conn *conn, bool discovery_only)
{
    struct target_env *te = &t->te[env_index];
    struct queue *q;

    assert(env_index < t->opts.nr_envs);
    if (too_many(te))
        make_room(te);
    q = admit(t);
    if (!q) {
        metric_add(&te->stats.refused, 1);
        if (!__atomic_load_n(&t->stopping, __ATOMIC_ACQUIRE))
            say_full(te, conn);
        net_close(conn, closed, NULL);
        return;
    }
    memset(q, 0, sizeof(*q));
    q->t = t;
    q->te = te;
    q->conn = conn;
    q->discovery_only = discovery_only;
    pre_connect(q);
    queue_start(q);
}

void target_pre_connect_done(struct queue *q)
{
    struct target *t = q->t;

    if (!q->pre_connect)
        return;
    q->pre_connect = false;
    list_remove(&q->pre_node);
    q->pre->nr--;
    q->te->nr_pre--;
    pthread_mutex_lock(&t->lock);
    t->nr_pre_connect--;
    pthread_mutex_unlock(&t->lock);
}

/* ---- stop -------------------------------------------------------------------------------------------------------------- */

static void stopped(struct env_task *task)
{
    struct target *t = container_of(task, struct target, stop_task);

    t->stop_cb(t->stop_ctx);
}

/* With the lock held. */
static void stop_check(struct target *t)
{
    if (!t->stopping || t->stopped || t->nr_queues > 0 || t->stop_left > 0)
        return;
    t->stopped = true;
    t->stop_task.fn = stopped;
    env_post(t->te[0].env, &t->stop_task);
}

void target_queue_gone(struct target *t, struct queue *q)
{
    pthread_mutex_lock(&t->lock);
    pool_put(&t->queues, q);
    t->nr_queues--;
    stop_check(t);
    pthread_mutex_unlock(&t->lock);
}

static void stop_env(struct env_task *task)
{
    struct target_env *te = container_of(task, struct target_env, stop_task);
    struct target *t = te->t;

    list_for_each_safe(n, tmp, &te->queues)
        queue_drain(list_entry(n, struct queue, node));
    pthread_mutex_lock(&t->lock);
    t->stop_left--;
    stop_check(t);
    pthread_mutex_unlock(&t->lock);
}

void target_stop(struct target *t, void (*cb)(void *ctx), void *ctx)
{
    assert(!t->stopping);
    t->stop_cb = cb;
    t->stop_ctx = ctx;
    pthread_mutex_lock(&t->lock);
    t->stop_left = t->opts.nr_envs;
    __atomic_store_n(&t->stopping, true, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&t->lock);
    for (uint32_t i = 0; i < t->opts.nr_envs; i++) {
        t->te[i].stop_task.fn = stop_env;
        env_post(t->te[i].env, &t->te[i].stop_task);
    }
}

void target_stats_get(const struct target *t, struct target_stats *out)
{
    struct target *rw = (struct target *)(uintptr_t)t; /* the lock is not const */

    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < t->opts.nr_envs; i++) {
        const struct env_stats *s = &t->te[i].stats;

        out->protocol_errors += metric_get(&s->protocol_errors);
        out->digest_errors += metric_get(&s->digest_errors);
        out->fenced_commands += metric_get(&s->fenced_commands);
        out->connections_refused += metric_get(&s->refused);
    }
    pthread_mutex_lock(&rw->lock);
    out->connections = t->nr_queues;
    pthread_mutex_unlock(&rw->lock);
}
