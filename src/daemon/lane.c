/* SPDX-License-Identifier: Apache-2.0 */
/* lane.c: see lane.h. */
#include "daemon/lane.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"

struct lane {
    pthread_mutex_t mu;         /* everything below */
    pthread_cond_t  cv;
    struct list     waiting;    /* of job.node */
    uint32_t        nr_waiting;
    uint64_t        stuck_ns;
    uint64_t        since_ns[LANE_THREADS]; /* when it took what it is at; 0: idle */
    pthread_t       threads[LANE_THREADS];
    uint32_t        nr_threads, nr_begun;   /* begun: those that have found their place in since_ns */
    bool            quit;
    char            name[16];
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void *serve(void *arg)
{
    struct lane *l = arg;
    uint32_t me;

    pthread_setname_np(pthread_self(), l->name);
    pthread_mutex_lock(&l->mu);
    me = l->nr_begun++;
    for (;;) {
        struct job *j;

        while (list_empty(&l->waiting) && !l->quit)
            pthread_cond_wait(&l->cv, &l->mu);
        if (l->quit)
            break;
        j = list_entry(list_pop_front(&l->waiting), struct job, node);
        l->nr_waiting--;
        l->since_ns[me] = now_ns();
        pthread_mutex_unlock(&l->mu);
        j->run(j);
        pthread_mutex_lock(&l->mu);
        l->since_ns[me] = 0;
    }
    pthread_mutex_unlock(&l->mu);
    return NULL;
}

static bool stuck(const struct lane *l)
{
    uint64_t now = now_ns();

    for (uint32_t i = 0; i < LANE_THREADS; i++)
        if (l->since_ns[i] == 0 || now - l->since_ns[i] < l->stuck_ns)
            return false;
    return true;
}

int lane_new(const char *name, uint64_t stuck_ns, struct lane **out)
{
    struct lane *l = calloc(1, sizeof(*l));
    int err = 0;

    if (!l)
        return -FIRN_E_NO_RESOURCES;
    pthread_mutex_init(&l->mu, NULL);
    pthread_cond_init(&l->cv, NULL);
    list_init(&l->waiting);
    l->stuck_ns = stuck_ns;
    strncpy(l->name, name, sizeof(l->name) - 1);
    while (l->nr_threads < LANE_THREADS && !err) {
        err = -pthread_create(&l->threads[l->nr_threads], NULL, serve, l);
        l->nr_threads += err == 0;
    }
    if (err) {
        lane_stop(l);
        lane_free(l);
        return err;
    }
    *out = l;
    return 0;
}

void lane_put(struct lane *l, struct job *j)
{
    bool taken;

    pthread_mutex_lock(&l->mu);
    taken = !l->quit && l->nr_waiting < LANE_QUEUE_MAX && !stuck(l);
    if (taken) {
        list_push_back(&l->waiting, &j->node);
        l->nr_waiting++;
        pthread_cond_signal(&l->cv);
    }
    pthread_mutex_unlock(&l->mu);
    if (!taken)
        j->refuse(j);
}

static void refuse_waiting(struct lane *l, bool only_if_stuck)
{
    struct list out, *n;

    list_init(&out);
    pthread_mutex_lock(&l->mu);
    if (!only_if_stuck || stuck(l)) {
        list_splice_back(&out, &l->waiting);
        l->nr_waiting = 0;
    }
    pthread_mutex_unlock(&l->mu);
    while ((n = list_pop_front(&out)) != NULL) {
        struct job *j = list_entry(n, struct job, node);

        j->refuse(j);
    }
}

void lane_look(struct lane *l)
{
    refuse_waiting(l, true);
}

void lane_stop(struct lane *l)
{
    pthread_mutex_lock(&l->mu);
    l->quit = true;
    pthread_cond_broadcast(&l->cv);
    pthread_mutex_unlock(&l->mu);
    refuse_waiting(l, false);
    for (uint32_t i = 0; i < l->nr_threads; i++)
        pthread_join(l->threads[i], NULL);
    l->nr_threads = 0;
}

void lane_free(struct lane *l)
{
    pthread_mutex_destroy(&l->mu);
    pthread_cond_destroy(&l->cv);
    free(l);
}
