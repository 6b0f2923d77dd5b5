/* SPDX-License-Identifier: Apache-2.0 */
/* http_watch.c: see http_watch.h. */
#include "daemon/http_watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/err.h"
#include "base/list.h"

struct watch {
    pthread_mutex_t mu;         /* conns, quit */
    pthread_cond_t  cv;
    struct list     conns;      /* of watched.node */
    void          (*tick)(void *ctx);
    void           *ctx;
    pthread_t       thread;
    bool            running, quit;
};

struct watched {
    struct list node;
    int         fd;
    uint64_t    deadline_ns;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

struct watched *watch_add(struct watch *w, int fd, uint64_t in_ns)
{
    struct watched *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->fd = fd;
    c->deadline_ns = now_ns() + in_ns;
    pthread_mutex_lock(&w->mu);
    list_push_back(&w->conns, &c->node);
    pthread_mutex_unlock(&w->mu);
    return c;
}

void watch_deadline(struct watch *w, struct watched *c, uint64_t in_ns)
{
    pthread_mutex_lock(&w->mu);
    c->deadline_ns = now_ns() + in_ns;
    pthread_mutex_unlock(&w->mu);
}

void watch_remove(struct watch *w, struct watched *c)
{
    pthread_mutex_lock(&w->mu);
    list_remove(&c->node);
    pthread_mutex_unlock(&w->mu);
    free(c);
}

static void cut_overdue(struct watch *w)
{
    uint64_t now = now_ns();

    list_for_each(n, &w->conns)
    {
        struct watched *c = list_entry(n, struct watched, node);

        if (now > c->deadline_ns)
            shutdown(c->fd, SHUT_RDWR); /* its server notices and closes it */
    }
}

static void nap(struct watch *w)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WATCH_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_cond_timedwait(&w->cv, &w->mu, &until);
}

static void *run(void *arg)
{
    struct watch *w = arg;

    pthread_setname_np(pthread_self(), "http-watch");
    pthread_mutex_lock(&w->mu);
    while (!w->quit) {
        cut_overdue(w);
        nap(w);
        pthread_mutex_unlock(&w->mu);
        w->tick(w->ctx);
        pthread_mutex_lock(&w->mu);
    }
    pthread_mutex_unlock(&w->mu);
    return NULL;
}

int watch_new(struct watch **out)
{
    struct watch *w = calloc(1, sizeof(*w));
    pthread_condattr_t attr;

    if (!w)
        return -FIRN_E_NO_RESOURCES;
    pthread_mutex_init(&w->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* who sets the clock back must not put the watcher to sleep */
    pthread_cond_init(&w->cv, &attr);
    pthread_condattr_destroy(&attr);
    list_init(&w->conns);
    *out = w;
    return 0;
}

int watch_start(struct watch *w, void (*tick)(void *ctx), void *ctx)
{
    int err;

    w->tick = tick;
    w->ctx = ctx;
    err = -pthread_create(&w->thread, NULL, run, w);
    w->running = err == 0;
    return err;
}

void watch_stop(struct watch *w)
{
    if (!w->running)
        return;
    pthread_mutex_lock(&w->mu);
    w->quit = true;
    pthread_cond_signal(&w->cv);
    pthread_mutex_unlock(&w->mu);
    pthread_join(w->thread, NULL);
    w->running = false;
}

void watch_free(struct watch *w)
{
    pthread_mutex_destroy(&w->mu);
    pthread_cond_destroy(&w->cv);
    free(w);
}
