/* SPDX-License-Identifier: Apache-2.0 */
/* subsys.c: subsystems: the registry, hosts' rights, counters, removal.
 *
 * The registry and the lists of hosts are under target.lock, and changed on envs[0] only; all else of a subsystem belongs
 * to its home env.
 * A reference is held by the registry and by every queue bound to the subsystem. Removal takes it out of the registry,
 * cuts its controllers at home, drops the registry's reference; whoever drops the last one sends it back to envs[0], where
 * it is freed and the caller is told.
 */
#include "export/priv.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t hash(const char *nqn)
{
    uint32_t h = 2166136261u;

    for (; *nqn; nqn++)
        h = (h ^ (unsigned char)*nqn) * 16777619u;
    return h % SUBSYS_BUCKETS;
}

static struct subsys *find(struct target *t, const char *nqn)
{
    struct subsys *s = t->bucket[hash(nqn)];

    while (s && strcmp(s->p.nqn, nqn) != 0)
        s = s->hash_next;
    return s;
}

static void watch_blk(struct blk_watch *w, enum blk_event ev)
{
    struct subsys *s = container_of(w, struct subsys, watch);

    if (ev == BLK_EVENT_MAY_BEGIN) {
        lines_open(s);
        return;
    }
    list_for_each_safe(n, tmp, &s->ctrls) {
        struct ctrl *c = list_entry(n, struct ctrl, node);

        if (ev == BLK_EVENT_RESIZED)
            ctrl_event(c, EVENT_NS);
        else
            ctrl_fail(c, NULL);
    }
}

void subsys_watch(struct subsys *s)
{
    bool want = !list_empty(&s->ctrls) && !subsys_is_discovery(s);

    if (want == s->watching)
        return;
    s->watching = want;
    s->shut = false; /* the event may have come while nobody listened */
    if (want)
        blk_watch_add(s->p.blk, &s->watch);
    else
        blk_watch_remove(&s->watch);
}

static struct target_env *home_of(struct target *t, const struct blk *blk)
{
    for (uint32_t i = 0; i < t->opts.nr_envs; i++)
        if (!blk || t->te[i].env == blk->env)
            return &t->te[i];
    return NULL;
}

static int subsys_new(struct target *t, const struct subsys_params *params, struct subsys **out)
{
    struct target_env *home = home_of(t, params->blk);
    struct subsys *s;

    if (!home)
        return -FIRN_E_INVALID;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->p = *params;
    s->t = t;
    s->home = home;
    s->refs = 1;
    s->watch.cb = watch_blk;
    list_init(&s->ctrls);
    list_init(&s->pending);
    list_init(&s->wait_node);
    for (int i = 0; i < LINE_NR; i++)
        list_init(&s->line[i]);
    *out = s;
    return 0;
}

static int enlist(struct subsys *s)
{
    struct target *t = s->t;
    uint32_t h = hash(s->p.nqn);
    int err = 0;

    pthread_mutex_lock(&t->lock);
    if (find(t, s->p.nqn)) {
        err = -FIRN_E_EXISTS;
    } else {
        s->hash_next = t->bucket[h];
        t->bucket[h] = s;
        list_push_back(&t->subsystems, &s->node);
        t->nr_subsystems++;
    }
    pthread_mutex_unlock(&t->lock);
    return err;
}

static void delist(struct subsys *s)
{
    struct target *t = s->t;
    struct subsys **at = &t->bucket[hash(s->p.nqn)];

    pthread_mutex_lock(&t->lock);
    while (*at != s)
        at = &(*at)->hash_next;
    *at = s->hash_next;
    list_remove(&s->node);
    t->nr_subsystems--;
    discovery_changed(t);
    pthread_mutex_unlock(&t->lock);
}

int subsys_add(struct target *t, const struct subsys_params *params, struct subsys **out)
{
    int err;

    if (__atomic_load_n(&t->stopping, __ATOMIC_ACQUIRE)) /* nobody would remove it */
        return -FIRN_E_STOPPED;
    if (!params->blk || strncmp(params->nqn, "nqn.", 4) != 0 || strcmp(params->nqn, DISCOVERY_NQN) == 0)
        return -FIRN_E_INVALID;
    err = subsys_new(t, params, out);
    if (err)
        return err;
    err = discovery_reserve(t, t->nr_subsystems + 1); /* nr_subsystems is changed here and in delist(), on envs[0] */
    err = err ? err : enlist(*out);
    if (err) {
        free(*out);
        *out = NULL;
    }
    return err;
}

int subsys_new_discovery(struct target *t, struct subsys **out)
{
    struct subsys_params p = {.nqn = DISCOVERY_NQN, .serial = "discovery"};

    return subsys_new(t, &p, out);
}

struct subsys *subsys_get(struct target *t, const char *nqn)
{
    struct subsys *s;

    pthread_mutex_lock(&t->lock);
    s = strcmp(nqn, DISCOVERY_NQN) == 0 ? t->discovery : find(t, nqn);
    if (s)
        __atomic_fetch_add(&s->refs, 1, __ATOMIC_ACQ_REL);
    pthread_mutex_unlock(&t->lock);
    return s;
}

/* ---- removal ---------------------------------------------------------------------------------------------------------- */

static void removed(struct env_task *task)
{
    struct subsys *s = container_of(task, struct subsys, task);
    void (*cb)(void *ctx) = s->remove_cb;
    void *ctx = s->remove_ctx;

    assert(list_empty(&s->ctrls) && list_empty(&s->pending) && list_empty(&s->wait_node) && !s->watching);
    assert(s->held[0] == 0 && s->held[1] == 0);
    free(s->hosts);
    free(s->stats);
    free(s);
    if (cb)
        cb(ctx);
}

void subsys_put(struct subsys *s)
{
    if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    s->task.fn = removed;
    env_post(s->t->te[0].env, &s->task);
}

static void remove_at_home(struct env_task *task)
{
    struct subsys *s = container_of(task, struct subsys, task);
    struct list *n;

    s->removing = true;
    while ((n = list_pop_front(&s->pending)) != NULL)
        queue_close(list_entry(n, struct queue, rx_wait), false);
    list_for_each_safe(at, tmp, &s->ctrls)
        ctrl_fail(list_entry(at, struct ctrl, node), NULL);
    subsys_put(s);
}

/* A change of hosts that is still on its way home goes first. */
static void remove_when_quiet(struct env_task *task)
{
    struct subsys *s = container_of(task, struct subsys, task);
    bool wait;

    pthread_mutex_lock(&s->t->lock);
    wait = s->hosts_posted;
    pthread_mutex_unlock(&s->t->lock);
    if (wait) {
        env_post(s->t->te[0].env, task);
        return;
    }
    s->task.fn = remove_at_home;
    env_post(s->home->env, &s->task);
}

void subsys_remove(struct subsys *s, void (*cb)(void *ctx), void *ctx)
{
    assert(!s->removed);
    s->removed = true;
    s->remove_cb = cb;
    s->remove_ctx = ctx;
    delist(s);
    s->task.fn = remove_when_quiet;
    remove_when_quiet(&s->task);
}

/* ---- hosts -------------------------------------------------------------------------------------------------------------- */

bool subsys_host_allowed_locked(const struct subsys *s, const char *hostnqn)
{
    if (subsys_is_discovery(s) || s->any_host)
        return true;
    for (const char *h = s->hosts; h && *h; h += strlen(h) + 1)
        if (strcmp(h, hostnqn) == 0)
            return true;
    return false;
}

bool subsys_host_allowed(struct subsys *s, const char *hostnqn)
{
    bool ok;

    pthread_mutex_lock(&s->t->lock);
    ok = subsys_host_allowed_locked(s, hostnqn);
    pthread_mutex_unlock(&s->t->lock);
    return ok;
}

/* At home: hosts that lost their right are cut off. */
static void fence_hosts(struct env_task *task)
{
    struct subsys *s = container_of(task, struct subsys, hosts_task);

    pthread_mutex_lock(&s->t->lock);
    s->hosts_posted = false;
    pthread_mutex_unlock(&s->t->lock);
    list_for_each_safe(n, tmp, &s->ctrls) {
        struct ctrl *c = list_entry(n, struct ctrl, node);

        if (!subsys_host_allowed(s, c->hostnqn))
            ctrl_fail(c, NULL);
    }
}

static char *join_hosts(const char *const *hostnqns, uint32_t nr, bool *any)
{
    size_t bytes = 1;
    char *all, *at;

    *any = false;
    for (uint32_t i = 0; i < nr; i++)
        bytes += strlen(hostnqns[i]) + 1;
    at = all = calloc(1, bytes);
    for (uint32_t i = 0; all && i < nr; i++) {
        *any |= strcmp(hostnqns[i], "*") == 0;
        at = stpcpy(at, hostnqns[i]) + 1;
    }
    return all;
}

int subsys_set_hosts(struct subsys *s, const char *const *hostnqns, uint32_t nr)
{
    struct target *t = s->t;
    bool any, post;
    char *hosts, *old;

    if (nr > HOSTS_PER_VOLUME_MAX)
        return -FIRN_E_INVALID;
    hosts = join_hosts(hostnqns, nr, &any);
    if (!hosts)
        return -ENOMEM;
    pthread_mutex_lock(&t->lock);
    old = s->hosts;
    s->hosts = hosts;
    s->any_host = any;
    post = !s->hosts_posted;
    s->hosts_posted = true;
    discovery_changed(t);
    pthread_mutex_unlock(&t->lock);
    free(old);
    if (post) { /* else it is on its way, and not to be touched */
        s->hosts_task.fn = fence_hosts;
        env_post(s->home->env, &s->hosts_task);
    }
    return 0;
}

/* ---- counters ------------------------------------------------------------------------------------------------------------- */

uint32_t subsys_controllers(const struct subsys *s) { return __atomic_load_n(&s->nr_ctrls, __ATOMIC_RELAXED); }

bool subsys_stats_ready(struct subsys *s)
{
    if (!s->stats)
        __atomic_store_n(&s->stats, (struct subsys_stats *)calloc(1, sizeof(struct subsys_stats)), __ATOMIC_RELEASE);
    return s->stats != NULL;
}

/* Before the first Connect everything is zero, and costs nothing. */
static struct subsys_stats *stats_of(struct subsys *s)
{
    static struct subsys_stats zero;
    struct subsys_stats *st = __atomic_load_n(&s->stats, __ATOMIC_ACQUIRE);

    return st ? st : &zero;
}

struct metric_counter *subsys_ops(struct subsys *s, enum subsys_op op) { return &stats_of(s)->ops[op]; }
struct metric_counter *subsys_bytes(struct subsys *s, enum subsys_op op) { return &stats_of(s)->bytes[op]; }
struct metric_hist *subsys_latency(struct subsys *s, enum subsys_op op) { return &stats_of(s)->latency[op]; }

void subsys_count(struct subsys *s, enum subsys_op op, uint64_t bytes, uint64_t start_ns)
{
    metric_add(&s->stats->ops[op], 1);
    metric_add(&s->stats->bytes[op], bytes);
    metric_observe_ns(&s->stats->latency[op], env_now_ns(s->home->env) - start_ns);
}
