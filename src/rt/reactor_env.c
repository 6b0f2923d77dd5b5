/* SPDX-License-Identifier: Apache-2.0 */
/* reactor_env.c: what code on a reactor asks of its env, and the one call that other threads may make.
 *
 * A post pushes its task on a lock-free stack and wakes the reactor only if it sleeps. The reactor announces its sleep
 * first and looks at the stack afterwards; the poster pushes first and looks at the announcement afterwards: one of them
 * sees the other.
 */
#include "rt/reactor_priv.h"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

uint64_t reactor_clock_ns(int clock_id)
{
    struct timespec ts;

    clock_gettime(clock_id, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t reactor_mono_ns(struct env *e)
{
    return reactor_from_env(e)->now_ns;
}

static uint64_t reactor_heard_ns(struct env *e)
{
    return reactor_from_env(e)->heard_ns;
}

static uint64_t reactor_still_ns(struct env *e)
{
    return reactor_from_env(e)->still_ns;
}

static uint64_t reactor_wall_ns(struct env *e)
{
    (void)e;
    return reactor_clock_ns(CLOCK_REALTIME);
}

/* Buffered: labels and commands ask for a few bytes at a time. */
static void reactor_random(struct env *e, void *buf, size_t len)
{
    struct reactor *r = reactor_from_env(e);
    uint8_t *to = buf;

    while (len > 0) {
        size_t n;

        if (r->random_left == 0) {
            ssize_t got = getrandom(r->random_buf, REACTOR_RANDOM_BYTES, 0); /* whole up to 256 bytes, says its manual */

            assert(got == (ssize_t)REACTOR_RANDOM_BYTES);
            r->random_left = REACTOR_RANDOM_BYTES;
        }
        n = MIN(len, r->random_left);
        memcpy(to, r->random_buf + REACTOR_RANDOM_BYTES - r->random_left, n);
        r->random_left -= (uint32_t)n;
        to += n;
        len -= n;
    }
}

static void reactor_defer(struct env *e, struct env_task *task)
{
    task_queue_put(&reactor_from_env(e)->deferred, task);
}

void reactor_wake(struct reactor *r)
{
    uint64_t one = 1;

    if (atomic_load(&r->sleeping) && atomic_exchange(&r->sleeping, false)) {
        ssize_t n = write(r->wake_fd, &one, sizeof(one));

        assert(n == (ssize_t)sizeof(one));
    }
}

static void reactor_post(struct env *e, struct env_task *task)
{
    struct reactor *r = reactor_from_env(e);
    struct env_task *head = atomic_load_explicit(&r->posted, memory_order_relaxed);

    assert(task->fn != NULL);
    do
        task->next = head;
    while (!atomic_compare_exchange_weak(&r->posted, &head, task));
    reactor_wake(r); /* after the push: the owner sets `sleeping` before it looks at the stack a last time */
}

static void reactor_timer_arm(struct env *e, struct env_timer *t, uint64_t deadline_ns)
{
    timer_heap_arm(&reactor_from_env(e)->timers, t, deadline_ns);
}

static void reactor_timer_cancel(struct env *e, struct env_timer *t)
{
    timer_heap_cancel(&reactor_from_env(e)->timers, t);
}

const struct env_ops reactor_env_ops = {
    .name = "reactor",
    .mono_ns = reactor_mono_ns,
    .wall_ns = reactor_wall_ns,
    .random = reactor_random,
    .defer = reactor_defer,
    .post = reactor_post,
    .timer_arm = reactor_timer_arm,
    .timer_cancel = reactor_timer_cancel,
    .run_once = reactor_pass_or_wait,
    .heard_ns = reactor_heard_ns,
    .still_ns = reactor_still_ns,
};
