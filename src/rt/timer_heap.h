/* SPDX-License-Identifier: Apache-2.0 */
/* timer_heap.h: armed timers in a binary heap, earliest first; for every env that keeps its own clock. One thread. */
#ifndef FIRN_RT_TIMER_HEAP_H
#define FIRN_RT_TIMER_HEAP_H

#include "rt/env.h"

struct timer_heap {
    struct env_timer **at;  /* at[1] is the earliest; at[0] is not used, so that heap_pos 0 means "not armed" */
    uint32_t           nr, cap;
};

int  timer_heap_init(struct timer_heap *h); /* 0 or -ENOMEM */
void timer_heap_fini(struct timer_heap *h);
/* Arming an armed timer moves it. The heap doubles when it is full; so it allocates only on the way to a new peak. */
void timer_heap_arm(struct timer_heap *h, struct env_timer *t, uint64_t deadline_ns);
void timer_heap_cancel(struct timer_heap *h, struct env_timer *t); /* of a timer that is not armed: nothing */
/* Takes out the earliest timer if it is due; NULL: none is. */
struct env_timer *timer_heap_pop_due(struct timer_heap *h, uint64_t now_ns);
/* UINT64_MAX: no timer is armed. */
static inline uint64_t timer_heap_next_ns(const struct timer_heap *h)
{
    return h->nr > 0 ? h->at[1]->deadline_ns : UINT64_MAX;
}

#endif
