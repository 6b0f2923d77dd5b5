/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include <pthread.h>
#include <stdlib.h>

struct loop {
    struct env       env;
    pthread_mutex_t  lock;
    pthread_cond_t   wake;
    struct env_task *head, **tail;
    uint64_t         rand;
};

static struct loop *of(struct env *e) { return container_of(e, struct loop, env); }
static uint64_t no_time(struct env *e) { return of(e)->rand; }

static void chance(struct env *e, void *buf, size_t len)
{
    uint8_t *p = buf;

    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)((of(e)->rand = of(e)->rand * 6364136223846793005u + 1442695040888963407u) >> 56);
}

static void post(struct env *e, struct env_task *task)
{
    struct loop *l = of(e);

    pthread_mutex_lock(&l->lock);
    task->next = NULL;
    *l->tail = task;
    l->tail = &task->next;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

static void no_timer(struct env *e, struct env_timer *t, uint64_t deadline_ns)
{
    (void)e;
    (void)t;
    (void)deadline_ns;
    abort();
}

static void no_cancel(struct env *e, struct env_timer *t)
{
    (void)e;
    (void)t;
}

static int run_once(struct env *e)
{
    struct loop *l = of(e);
    struct env_task *t;

    pthread_mutex_lock(&l->lock);
    while (l->head == NULL)
        pthread_cond_wait(&l->wake, &l->lock);
    t = l->head;
    l->head = t->next;
    if (l->head == NULL)
        l->tail = &l->head;
    pthread_mutex_unlock(&l->lock);
    t->fn(t);
    return 0;
}

static const struct env_ops loop_ops = {.name = "loop", .mono_ns = no_time, .wall_ns = no_time, .random = chance, .defer = post,
                                        .post = post, .timer_arm = no_timer, .timer_cancel = no_cancel, .run_once = run_once};

struct env *loop_new(void)
{
    struct loop *l = calloc(1, sizeof(*l));

    l->env.ops = &loop_ops;
    l->tail = &l->head;
    l->rand = 42;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    return &l->env;
}

void loop_free(struct env *e) { free(of(e)); }
