/* SPDX-License-Identifier: Apache-2.0 */
/* share.c: see share.h. */
#include "share.h"

#include <time.h>

void share_init(struct ctrl_share *s, uint32_t others)
{
    pthread_condattr_t attr;

    *s = (struct ctrl_share){.others = others};
    pthread_mutex_init(&s->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
}

void share_fini(struct ctrl_share *s)
{
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mu);
}

uint32_t share_publish(struct ctrl_share *s, const struct assoc *a)
{
    uint32_t generation;

    pthread_mutex_lock(&s->mu);
    s->over = s->generation;
    s->ctrl = assoc_ctrl_of(a);
    generation = ++s->generation;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mu);
    return generation;
}

bool share_is_over(struct ctrl_share *s, uint32_t generation)
{
    bool over;

    pthread_mutex_lock(&s->mu);
    over = s->over >= generation;
    pthread_mutex_unlock(&s->mu);
    return over;
}

bool share_has_others(struct ctrl_share *s)
{
    bool some;

    pthread_mutex_lock(&s->mu);
    some = s->others > 0;
    pthread_mutex_unlock(&s->mu);
    return some;
}

void share_end(struct ctrl_share *s)
{
    pthread_mutex_lock(&s->mu);
    s->gone = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mu);
}

void share_lost(struct ctrl_share *s, uint32_t generation)
{
    pthread_mutex_lock(&s->mu);
    s->over = MAX(s->over, generation);
    pthread_mutex_unlock(&s->mu);
}

uint32_t share_join(struct ctrl_share *s, uint32_t after, uint64_t wait_ns, struct assoc_ctrl *out)
{
    uint64_t end_ns = clock_ns() + wait_ns;
    struct timespec end = {.tv_sec = (time_t)(end_ns / NS_PER_S), .tv_nsec = (long)(end_ns % NS_PER_S)};
    uint32_t generation = 0;

    pthread_mutex_lock(&s->mu);
    while (s->generation <= after && !s->gone)
        if (pthread_cond_timedwait(&s->changed, &s->mu, &end) != 0)
            break;
    if (s->generation > after && !s->gone) {
        generation = s->generation;
        *out = s->ctrl;
    }
    pthread_mutex_unlock(&s->mu);
    return generation;
}

void share_leave(struct ctrl_share *s)
{
    pthread_mutex_lock(&s->mu);
    assert(s->others > 0);
    s->others--;
    pthread_mutex_unlock(&s->mu);
}
