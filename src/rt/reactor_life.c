/* SPDX-License-Identifier: Apache-2.0 */
/* reactor_life.c: a reactor from new to free: its ring, its thread, its owner.
 *
 * The ring is made disabled, so that the thread that runs the reactor first, not the one that made it, becomes its only
 * submitter. An older kernel gets a plainer ring. A reactor whose owner has left gets a new ring with its next owner.
 */
#include "rt/reactor_priv.h"

#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES_DEFAULT 1024u

/* Newest kernel first; each line is what the one above lost. */
static const unsigned ring_flags[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    0,
};

static int ring_open(struct reactor *r)
{
    unsigned entries = r->opts.entries ? r->opts.entries : ENTRIES_DEFAULT;
    int err = -EINVAL;

    for (size_t i = r->opts.plain_ring ? ARRAY_LEN(ring_flags) - 1 : 0; i < ARRAY_LEN(ring_flags) && err == -EINVAL; i++) {
        struct io_uring_params p = {.flags = ring_flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                    .cq_entries = entries * 4};

        err = io_uring_queue_init_params(entries, &r->ring, &p);
    }
    if (err == 0 && (r->ring.features & IORING_FEAT_EXT_ARG) == 0) {
        io_uring_queue_exit(&r->ring);
        err = -ENOSYS;
    }
    return err;
}

static void explain(int err, char why[static 256])
{
    const char *hint = "";

    if (err == -EPERM || err == -EACCES)
        hint = ": a seccomp profile or the sysctl kernel.io_uring_disabled forbids it to this process";
    else if (err == -ENOSYS || err == -EINVAL)
        hint = ": the kernel lacks it or is older than 5.11";
    else if (err == -ENOMEM)
        hint = ": raise the limit of locked memory (ulimit -l)";
    snprintf(why, 256, "io_uring is needed and refused: %s%s", err_text(err), hint);
}

int reactor_new(const struct reactor_opts *opts, struct reactor **out, char why[static 256])
{
    struct reactor *r = aligned_alloc(64, ROUND_UP(sizeof(*r), (size_t)64));
    int err;

    if (r == NULL || (memset(r, 0, sizeof(*r)), timer_heap_init(&r->timers)) != 0) {
        free(r);
        snprintf(why, 256, "out of memory");
        return -ENOMEM;
    }
    r->opts = *opts;
    r->env.ops = &reactor_env_ops;
    task_queue_init(&r->deferred);
    task_queue_init(&r->late);
    r->spin_max_ns = r->spin_ns = opts->poll_us * NS_PER_US;
    r->now_ns = reactor_clock_ns(CLOCK_MONOTONIC);
    r->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (r->wake_fd < 0) {
        err = -errno;
        snprintf(why, 256, "eventfd: %s", err_text(err));
        goto free_reactor;
    }
    err = ring_open(r);
    if (err) {
        explain(err, why);
        goto close_wake;
    }
    *out = r;
    return 0;

close_wake:
    close(r->wake_fd);
free_reactor:
    timer_heap_fini(&r->timers);
    free(r);
    return err;
}

struct env *reactor_env(struct reactor *r)
{
    return &r->env;
}

struct reactor *reactor_of_env(struct env *e)
{
    assert(e->ops == &reactor_env_ops);
    return reactor_from_env(e);
}

uint32_t reactor_index(const struct reactor *r)
{
    return r->opts.index;
}

static void pin(const struct reactor *r)
{
    cpu_set_t set;

    if (r->opts.cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((unsigned)r->opts.cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0)
        log_warn("cannot pin a reactor", "reactor=%u cpu=%d", r->opts.index, r->opts.cpu);
}

void reactor_run(struct reactor *r)
{
    reactor_enable(r);
    pin(r);
    io_uring_register_ring_fd(&r->ring); /* saves a lookup in each enter; refused by old kernels, which is fine */
    while (!atomic_load_explicit(&r->stop, memory_order_acquire)) {
        reactor_pass(r);
        reactor_wait(r);
    }
    io_uring_unregister_ring_fd(&r->ring); /* belongs to this thread; another one may free the reactor */
    atomic_store(&r->stop, false);
}

/* A ring cannot change its submitter, so the next owner gets a new one; and a new eventfd, since the old ring's read of
 * it is cancelled behind our back and could swallow a wake-up. It takes the place of the old one under the same number: whoever
 * posted the last task may be about to write there still. */
int reactor_disown(struct reactor *r)
{
    struct io_uring old = r->ring;
    int fd, err;

    if (!r->enabled)
        return 0;
    assert(!r->thread_started && (r->orphaned || pthread_equal(r->owner, pthread_self())));
    fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    err = ring_open(r);
    if (!err && dup3(fd, r->wake_fd, O_CLOEXEC) < 0) {
        err = -errno;
        io_uring_queue_exit(&r->ring);
    }
    close(fd);
    if (err) {
        r->ring = old;
        return err;
    }
    io_uring_queue_exit(&old);
    r->wake_armed = false;
    r->enabled = false;
    r->orphaned = false;
    r->ios = r->yields = 0; /* what was left to a device that hangs: its end is not heard of in the new ring */
    return 0;
}

static void *thread_main(void *arg)
{
    struct reactor *r = arg;
    char name[16];

    snprintf(name, sizeof(name), "reactor-%u", r->opts.index % 1000);
    pthread_setname_np(pthread_self(), name);
    reactor_run(r);
    return NULL;
}

int reactor_start_thread(struct reactor *r)
{
    int err = pthread_create(&r->thread, NULL, thread_main, r);

    r->thread_started = err == 0;
    return -err;
}

void reactor_stop(struct reactor *r)
{
    atomic_store(&r->stop, true);
    reactor_wake(r);
}

void reactor_join(struct reactor *r)
{
    if (!r->thread_started)
        return;
    pthread_join(r->thread, NULL);
    r->thread_started = false;
    r->orphaned = r->enabled;
    if (reactor_disown(r) != 0)
        log_warn("a stopped reactor keeps its old ring", "reactor=%u", r->opts.index);
}

void reactor_free(struct reactor *r)
{
    assert(!r->thread_started);
    io_uring_queue_exit(&r->ring);
    close(r->wake_fd);
    timer_heap_fini(&r->timers);
    free(r);
}

void reactor_stats_get(const struct reactor *r, struct reactor_stats *out)
{
    out->passes = __atomic_load_n(&r->stats.passes, __ATOMIC_RELAXED);
    out->sleeps = __atomic_load_n(&r->stats.sleeps, __ATOMIC_RELAXED);
    out->wakeups = __atomic_load_n(&r->stats.wakeups, __ATOMIC_RELAXED);
    out->spin_ns = __atomic_load_n(&r->stats.spin_ns, __ATOMIC_RELAXED);
    out->busy_ns = __atomic_load_n(&r->stats.busy_ns, __ATOMIC_RELAXED);
    out->sqes = __atomic_load_n(&r->stats.sqes, __ATOMIC_RELAXED);
    out->cqes = __atomic_load_n(&r->stats.cqes, __ATOMIC_RELAXED);
}
