/* SPDX-License-Identifier: Apache-2.0 */
/* reactor_priv.h: the reactor from inside, for its three files: reactor.c (the loop), reactor_env.c (what the env's users
 * call), reactor_life.c (from new to free).
 */
#ifndef FIRN_RT_REACTOR_PRIV_H
#define FIRN_RT_REACTOR_PRIV_H

#include "rt/reactor.h"
#include "rt/task_queue.h"
#include "rt/timer_heap.h"

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#define REACTOR_RANDOM_BYTES 256u

struct reactor {
    struct env          env;
    struct io_uring     ring;
    struct reactor_opts opts;
    struct timer_heap   timers;
    struct task_queue   deferred, late; /* late: right before the pass submits */
    uint64_t            now_ns;         /* of this pass */
    uint64_t            heard_ns;       /* env_heard_ns(): when the last pass that has ended began */
    uint64_t            still_ns;       /* env_still_ns() */
    uint64_t            spin_max_ns;    /* opts.poll_us */
    uint64_t            spin_ns;        /* what the next spin may take: halves when spinning does not pay */
    uint32_t            ios;            /* requests in flight at devices */
    uint32_t            ios_ended;      /* since the last reap began */
    bool                mark_set;       /* heard_ns becomes mark_ns once the completions up to mark_head are reaped */
    uint32_t            mark_head;
    uint64_t            mark_ns;
    uint32_t            yields;         /* of ios, those that the kernel finishes on a thread: no spin meanwhile */
    bool                taskrun_stale;  /* the kernel's flag says "enter", an enter found nothing, and none came since */
    uint64_t            busy_since_ns;
    bool                enabled;        /* the ring has its owner thread */
    bool                orphaned;       /* that thread was joined, and no other may enter its ring */
    bool                wake_armed;     /* a read of wake_fd is on the ring */
    int                 wake_fd;
    uint64_t            wake_value;
    struct reactor_op   wake_op;
    pthread_t           owner, thread;
    bool                thread_started;
    uint32_t            random_left;
    uint8_t             random_buf[REACTOR_RANDOM_BYTES];
    struct reactor_stats stats;         /* written by the owner with relaxed stores */

    /* Written by other threads: on a cache line of their own. */
    _Atomic(struct env_task *) posted __attribute__((aligned(64))); /* a stack, newest first */
    _Atomic bool        sleeping;       /* a poster that finds it set clears it and writes wake_fd */
    _Atomic bool        stop;
};

static inline struct reactor *reactor_from_env(struct env *e)
{
    return container_of(e, struct reactor, env);
}

extern const struct env_ops reactor_env_ops; /* reactor_env.c */
uint64_t reactor_clock_ns(int clock_id);     /* reactor_env.c: clock_gettime */
void     reactor_wake(struct reactor *r);    /* reactor_env.c: any thread; after what it is to see was stored */
int      reactor_pass_or_wait(struct env *e); /* reactor.c: env_run_once() */
void     reactor_enable(struct reactor *r);  /* reactor.c: makes the calling thread the ring's owner, or asserts that it is */
uint32_t reactor_pass(struct reactor *r);    /* reactor.c: one pass; how much it did */
void     reactor_wait(struct reactor *r);    /* reactor.c: returns when the next pass will find something */

#endif
