/* SPDX-License-Identifier: Apache-2.0 */
/* env.h: the seam for time, chance and scheduling. One env is one thread's event loop: a reactor (reactor.h) in the
 * daemon, a virtual-time loop in the simulator. Code in journal/, tier/ and export/ learns time and randomness from
 * here and from nowhere else.
 *
 * Threads: every call comes from the env's own thread, but env_post(), which any thread may call.
 * Memory:  timers and tasks are embedded by the caller; nothing is allocated.
 */
#ifndef FIRN_RT_ENV_H
#define FIRN_RT_ENV_H

#include "base/list.h"
#include "base/types.h"

struct env;
struct env_task;
struct env_timer;
typedef void env_task_fn(struct env_task *task);
typedef void env_timer_fn(struct env_timer *timer);

/* Runs once, later, from the loop, never from inside the call that queued it. */
struct env_task {
    env_task_fn     *fn;
    struct env_task *next;   /* env's while queued */
    bool             queued; /* env's: defer only; queueing twice is asserted on */
};

struct env_timer {
    env_timer_fn *fn;
    uint64_t      deadline_ns;
    uint32_t      heap_pos;  /* env's; 0: not armed (positions count from 1) */
};

struct env_ops {
    const char *name;
    uint64_t (*mono_ns)(struct env *e);
    uint64_t (*wall_ns)(struct env *e);
    void     (*random)(struct env *e, void *buf, size_t len);
    void     (*defer)(struct env *e, struct env_task *task);
    void     (*post)(struct env *e, struct env_task *task);
    void     (*timer_arm)(struct env *e, struct env_timer *t, uint64_t deadline_ns);
    void     (*timer_cancel)(struct env *e, struct env_timer *t);
    int      (*run_once)(struct env *e);
    uint64_t (*heard_ns)(struct env *e); /* optional: of an env that hears late */
    uint64_t (*still_ns)(struct env *e); /* optional: of an env that may stand still */
};

struct env { const struct env_ops *ops; };

/* Monotonic nanoseconds; cached once a loop pass in the reactor, so cheap. */
static inline uint64_t env_now_ns(struct env *e) { return e->ops->mono_ns(e); }
/* Everything that had ended by then has been heard of. Whether a request is late is judged by this: after the process has stood
 * still for seconds, answers that came long ago still wait to be read. */
static inline uint64_t env_heard_ns(struct env *e) { return e->ops->heard_ns != NULL ? e->ops->heard_ns(e) : env_now_ns(e); }
/* How long in all the process stood still, as far as e has noticed: the kernel's threads that work for it may have done so too, so
 * that time does not count against what was in flight. */
static inline uint64_t env_still_ns(struct env *e) { return e->ops->still_ns != NULL ? e->ops->still_ns(e) : 0; }
/* Wall clock, for humans and labels only. No decision about data may depend on it. */
static inline uint64_t env_wall_ns(struct env *e) { return e->ops->wall_ns(e); }
static inline void env_random(struct env *e, void *buf, size_t len) { e->ops->random(e, buf, len); }
static inline void env_defer(struct env *e, struct env_task *task) { e->ops->defer(e, task); }
/* From any thread: task->fn runs on e's thread. The task belongs to e until fn is called. */
static inline void env_post(struct env *e, struct env_task *task) { e->ops->post(e, task); }
/* Arming an armed timer moves it. fn runs once, at or after the deadline. */
static inline void env_timer_arm(struct env *e, struct env_timer *t, uint64_t deadline_ns)
{
    assert(t->fn != NULL);
    e->ops->timer_arm(e, t, deadline_ns);
}
static inline void env_timer_cancel(struct env *e, struct env_timer *t) { e->ops->timer_cancel(e, t); }
static inline bool env_timer_armed(const struct env_timer *t) { return t->heap_pos != 0; }

/* One pass of the loop, blocking until something happens. For start, stop, format and check only: code that may wait
 * (recovery) is written in straight lines over dev_read_sync() and the like, which call this until they are done.
 * 0, or negative when the loop is ending (in the simulator: the machine crashed); then the caller gives up at once,
 * and whatever was in flight never completes. */
static inline int env_run_once(struct env *e) { return e->ops->run_once(e); }

#endif
