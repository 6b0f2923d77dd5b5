/* SPDX-License-Identifier: Apache-2.0 */
/* call.c: see call.h. */
#include "daemon/call.h"

#include <errno.h>
#include <time.h>

static void run_task(struct env_task *task)
{
    struct call *c = container_of(task, struct call, task);

    c->run(c);
}

void call_init(struct call *c, void (*run)(struct call *), void (*fini)(struct call *))
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&c->mu, NULL);
    pthread_cond_init(&c->cv, &attr);
    pthread_condattr_destroy(&attr);
    c->task = (struct env_task){.fn = run_task};
    c->run = run;
    c->fini = fini;
    c->owners = 1;
    c->done = false;
    c->err = 0;
}

int call_wait(struct env *env, struct call *c, uint64_t timeout_ns)
{
    struct timespec until;
    int err = 0, rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(timeout_ns / NS_PER_S);
    until.tv_nsec += (long)(timeout_ns % NS_PER_S);
    if (until.tv_nsec >= (long)NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= (long)NS_PER_S;
    }
    pthread_mutex_lock(&c->mu);
    assert(c->owners == 1);
    c->owners = 2;
    pthread_mutex_unlock(&c->mu);
    env_post(env, &c->task);
    pthread_mutex_lock(&c->mu);
    while (!c->done && rc == 0)
        rc = pthread_cond_timedwait(&c->cv, &c->mu, &until);
    err = c->done ? c->err : -ETIMEDOUT;
    pthread_mutex_unlock(&c->mu);
    return err;
}

void call_done(struct call *c, int err)
{
    pthread_mutex_lock(&c->mu);
    assert(!c->done);
    c->done = true;
    c->err = err;
    pthread_cond_signal(&c->cv);
    pthread_mutex_unlock(&c->mu);
    call_put(c);
}

void call_put(struct call *c)
{
    unsigned left;

    pthread_mutex_lock(&c->mu);
    assert(c->owners > 0);
    left = --c->owners;
    pthread_mutex_unlock(&c->mu);
    if (left > 0)
        return;
    pthread_mutex_destroy(&c->mu);
    pthread_cond_destroy(&c->cv);
    c->fini(c);
}
