/* SPDX-License-Identifier: Apache-2.0 */
/* env_sim.c: an env in virtual time. Tasks of one env run in the order they were queued, one an event, so that other envs
 * and devices come in between; timers are the sim's own waiters.
 *
 * After a crash everything that is queued is forgotten and nothing new is taken: what closing code queues never runs.
 */
#include "tools/sim/priv.h"

#include <stdlib.h>

struct env_sim {
    struct env            env;
    struct sim           *sim;
    struct sim_event      drain;      /* runs the oldest task; armed while there is one */
    struct env_task      *first, **last;
    struct sim_crash_hook hook;
};

/* A task takes up to this long, so that devices and other envs come in between, and a loop of tasks moves the clock. */
#define TASK_NS_MAX 500u

static struct env_sim *env_sim_of(struct env *e);

static void drain_soon(struct env_sim *es)
{
    sim_at(es->sim, &es->drain, es->sim->now_ns + sim_below(es->sim, TASK_NS_MAX));
}

static void tasks_forget(struct env_sim *es)
{
    while (es->first != NULL) {
        struct env_task *t = es->first;

        es->first = t->next;
        t->next = NULL;
        t->queued = false;
    }
    es->last = &es->first;
}

static void task_run(struct sim_event *ev)
{
    struct env_sim *es = container_of(ev, struct env_sim, drain);
    struct env_task *t = es->first;

    assert(t != NULL);
    es->first = t->next;
    if (es->first == NULL)
        es->last = &es->first;
    else
        drain_soon(es);
    t->next = NULL;
    t->queued = false;
    t->fn(t);
}

static void env_sim_queue(struct env *e, struct env_task *task)
{
    struct env_sim *es = env_sim_of(e);

    assert(task->fn != NULL);
    assert(!task->queued);
    if (es->sim->crashed)
        return;
    task->queued = true;
    task->next = NULL;
    if (es->first == NULL)
        drain_soon(es);
    *es->last = task;
    es->last = &task->next;
}

static uint64_t env_sim_mono(struct env *e) { return env_sim_of(e)->sim->now_ns; }

static uint64_t env_sim_wall(struct env *e)
{
    struct sim *s = env_sim_of(e)->sim;

    /* 2026-11-01, plus what the seed's jumps made of it */
    return (uint64_t)((int64_t)(UINT64_C(1793491200) * NS_PER_S + s->now_ns) + s->wall_skew_ns);
}

static void env_sim_random(struct env *e, void *buf, size_t len)
{
    struct sim *s = env_sim_of(e)->sim;

    for (size_t at = 0; at < len; at += 8) {
        uint64_t r = sim_rand(s);

        memcpy((char *)buf + at, &r, MIN(len - at, sizeof(r)));
    }
}

static void env_sim_timer_arm(struct env *e, struct env_timer *t, uint64_t deadline_ns)
{
    struct sim *s = env_sim_of(e)->sim;

    if (t->heap_pos != 0)
        sim_pull(s, t->heap_pos);
    t->deadline_ns = deadline_ns;
    if (!s->crashed)
        sim_push(s, deadline_ns, SIM_WAIT_TIMER, t);
}

static void env_sim_timer_cancel(struct env *e, struct env_timer *t)
{
    if (t->heap_pos != 0)
        sim_pull(env_sim_of(e)->sim, t->heap_pos);
}

static int env_sim_run_once(struct env *e)
{
    struct sim *s = env_sim_of(e)->sim;
    int err = sim_step(s);

    if (err != -EAGAIN)
        return err;
    s->stuck = true;
    sim_crash(s); /* who gives up now takes memory away that a hung request may still hold */
    return -FIRN_E_STOPPED;
}

static const struct env_ops env_sim_ops = {
    .name = "sim",
    .mono_ns = env_sim_mono,
    .wall_ns = env_sim_wall,
    .random = env_sim_random,
    .defer = env_sim_queue,
    .post = env_sim_queue,
    .timer_arm = env_sim_timer_arm,
    .timer_cancel = env_sim_timer_cancel,
    .run_once = env_sim_run_once,
};

static struct env_sim *env_sim_of(struct env *e)
{
    assert(e->ops == &env_sim_ops);
    return container_of(e, struct env_sim, env);
}

struct sim *sim_of_env(struct env *e) { return env_sim_of(e)->sim; }

static void env_sim_crashed(struct sim_crash_hook *h)
{
    tasks_forget(container_of(h, struct env_sim, hook));
}

struct env *sim_env_new(struct sim *s)
{
    struct env_sim *es = calloc(1, sizeof(*es));

    assert(es != NULL);
    es->env.ops = &env_sim_ops;
    es->sim = s;
    es->drain.fn = task_run;
    es->last = &es->first;
    es->hook.fn = env_sim_crashed;
    sim_crash_hook_add(s, &es->hook);
    return &es->env;
}

void sim_env_free(struct env *e)
{
    struct env_sim *es = env_sim_of(e);

    sim_cancel(es->sim, &es->drain);
    tasks_forget(es);
    sim_crash_hook_remove(&es->hook);
    free(es);
}
