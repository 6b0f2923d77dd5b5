/* SPDX-License-Identifier: Apache-2.0 */
/* reactor.c: the loop.
 *
 * One pass: 1. take what other threads posted; 2. fire due timers; 3. reap completions and run their callbacks;
 * 4. run deferred tasks, a few rounds, so that what they submit still joins; 5. one system call submits everything and
 * lets the kernel run its completion work. When a pass leaves nothing to do, a wait follows: first a spin that only
 * looks at shared memory, then a sleep in the kernel until a completion, the next timer, or a byte on the eventfd.
 *
 * Nothing is walked from a private list: each task, timer and completion is taken off its queue before it runs. So a
 * callback may submit again, and may run passes itself (env_run_once() during start and stop).
 *
 * Failures: a full submission queue is submitted early; a kernel that is out of memory (EAGAIN, EBUSY) is asked again in
 * the next pass; an overflowing completion queue is kept by the kernel and fetched. Any other error of the ring is our own
 * bug, and aborts.
 */
#include "rt/reactor.h"

#include "base/err.h"
#include "base/log.h"
#include "rt/timer_heap.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES_DEFAULT 1024u
#define DEFER_ROUNDS    4   /* rounds of deferred tasks before the pass submits: completion, queue, send */
#define SPIN_LOOKS      32u /* looks at shared memory between two looks at the clock */
#define RANDOM_BYTES    256u

/* TASKRUN: the kernel says in shared memory that completions wait for us to enter; OVERFLOW: that it keeps some. */
#define NEEDS_ENTER (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)

struct task_queue { struct env_task *first, **end; uint32_t nr; }; /* first in, first out */

struct reactor {
    struct env          env;
    struct io_uring     ring;
    struct reactor_opts opts;
    struct timer_heap   timers;
    struct task_queue   deferred, late; /* late: right before the pass submits */
    uint64_t            now_ns;         /* of this pass */
    uint64_t            spin_max_ns;    /* opts.poll_us */
    uint64_t            spin_ns;        /* what the next spin may take: halves when spinning does not pay */
    uint64_t            busy_since_ns;
    bool                enabled;        /* the ring has its owner thread */
    bool                wake_armed;     /* a read of wake_fd is on the ring */
    int                 wake_fd;
    uint64_t            wake_value;
    struct reactor_op   wake_op;
    pthread_t           owner, thread;
    bool                thread_started;
    uint32_t            random_left;
    uint8_t             random_buf[RANDOM_BYTES];
    struct reactor_stats stats;         /* written by the owner with relaxed stores */

    /* Written by other threads: on a cache line of their own. */
    _Atomic(struct env_task *) posted __attribute__((aligned(64))); /* a stack, newest first */
    _Atomic bool        sleeping;       /* a poster that finds it set clears it and writes wake_fd */
    _Atomic bool        stop;
};

static void stat_add(uint64_t *v, uint64_t n)
{
    __atomic_store_n(v, *v + n, __ATOMIC_RELAXED);
}

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static struct reactor *of_env(struct env *e)
{
    return container_of(e, struct reactor, env);
}

/* ---- the env ----------------------------------------------------------------------------------------------------- */

static uint64_t reactor_mono_ns(struct env *e)
{
    return of_env(e)->now_ns;
}

static uint64_t reactor_wall_ns(struct env *e)
{
    (void)e;
    return clock_ns(CLOCK_REALTIME);
}

/* Buffered: labels and commands ask for a few bytes at a time. */
static void reactor_random(struct env *e, void *buf, size_t len)
{
    struct reactor *r = of_env(e);
    uint8_t *to = buf;

    while (len > 0) {
        size_t n;

        if (r->random_left == 0) {
            ssize_t got = getrandom(r->random_buf, RANDOM_BYTES, 0); /* whole up to 256 bytes, says its manual */

            assert(got == (ssize_t)RANDOM_BYTES);
            r->random_left = RANDOM_BYTES;
        }
        n = MIN(len, r->random_left);
        memcpy(to, r->random_buf + RANDOM_BYTES - r->random_left, n);
        r->random_left -= (uint32_t)n;
        to += n;
        len -= n;
    }
}

static void queue_init(struct task_queue *q)
{
    *q = (struct task_queue){.end = &q->first};
}

static void queue_put(struct task_queue *q, struct env_task *task)
{
    assert(!task->queued && task->fn != NULL);
    task->queued = true;
    task->next = NULL;
    *q->end = task;
    q->end = &task->next;
    q->nr++;
}

/* Runs what is queued now, not what that queues; returns how many. */
static uint32_t queue_run(struct task_queue *q)
{
    uint32_t max = q->nr, nr = 0;

    for (; nr < max && q->nr > 0; nr++) {
        struct env_task *task = q->first;

        q->first = task->next;
        if (q->first == NULL)
            q->end = &q->first;
        q->nr--;
        task->queued = false;
        task->fn(task);
    }
    return nr;
}

static void reactor_defer(struct env *e, struct env_task *task)
{
    queue_put(&of_env(e)->deferred, task);
}

void reactor_before_submit(struct reactor *r, struct env_task *task)
{
    queue_put(&r->late, task);
}

static void wake(struct reactor *r)
{
    uint64_t one = 1;

    if (atomic_load(&r->sleeping) && atomic_exchange(&r->sleeping, false)) {
        ssize_t n = write(r->wake_fd, &one, sizeof(one));

        assert(n == (ssize_t)sizeof(one));
    }
}

static void reactor_post(struct env *e, struct env_task *task)
{
    struct reactor *r = of_env(e);
    struct env_task *head = atomic_load_explicit(&r->posted, memory_order_relaxed);

    assert(task->fn != NULL);
    do
        task->next = head;
    while (!atomic_compare_exchange_weak(&r->posted, &head, task));
    wake(r); /* after the push: the owner sets `sleeping` before it looks at the stack a last time */
}

static void reactor_timer_arm(struct env *e, struct env_timer *t, uint64_t deadline_ns)
{
    timer_heap_arm(&of_env(e)->timers, t, deadline_ns);
}

static void reactor_timer_cancel(struct env *e, struct env_timer *t)
{
    timer_heap_cancel(&of_env(e)->timers, t);
}

/* ---- the ring ---------------------------------------------------------------------------------------------------- */

static void refresh_now(struct reactor *r)
{
    r->now_ns = clock_ns(CLOCK_MONOTONIC);
}

/* The first thread that runs the reactor becomes the ring's only submitter. */
static void ring_enable(struct reactor *r)
{
    int err;

    if (r->enabled) {
        assert(pthread_equal(r->owner, pthread_self()));
        return;
    }
    /* liburing 2.3 declares io_uring_enable_rings() and does not export it */
    err = io_uring_register((unsigned)r->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    assert(err == 0);
    r->owner = pthread_self();
    r->enabled = true;
    refresh_now(r);
    r->busy_since_ns = r->now_ns;
}

static bool ring_error_passes(int err)
{
    return err == -EAGAIN || err == -EBUSY || err == -EINTR || err == -ETIME || err == -ENOMEM;
}

static void ring_submit(struct reactor *r)
{
    int n = io_uring_submit_and_get_events(&r->ring);

    if (n >= 0)
        stat_add(&r->stats.sqes, (uint64_t)n);
    else
        assert(ring_error_passes(n));
}

static bool ring_needs_enter(const struct reactor *r)
{
    return (__atomic_load_n(r->ring.sq.kflags, __ATOMIC_RELAXED) & NEEDS_ENTER) != 0;
}

struct io_uring_sqe *reactor_sqe(struct reactor *r, struct reactor_op *op)
{
    struct io_uring_sqe *sqe;

    while ((sqe = io_uring_get_sqe(&r->ring)) == NULL) {
        ring_enable(r);
        ring_submit(r);
    }
    io_uring_sqe_set_data(sqe, op);
    return sqe;
}

struct io_uring *reactor_ring(struct reactor *r)
{
    return &r->ring;
}

/* ---- steps of a pass; each returns how much it did ----------------------------------------------------------------- */

/* Posted tasks join the deferred ones in the order in which they were posted. */
static uint32_t take_posted(struct reactor *r)
{
    struct env_task *stack, *fifo = NULL;
    uint32_t nr = 0;

    if (atomic_load_explicit(&r->posted, memory_order_relaxed) == NULL)
        return 0;
    stack = atomic_exchange(&r->posted, NULL);
    while (stack != NULL) {
        struct env_task *next = stack->next;

        stack->next = fifo;
        fifo = stack;
        stack = next;
    }
    while (fifo != NULL) {
        struct env_task *next = fifo->next;

        fifo->queued = false;
        reactor_defer(&r->env, fifo);
        fifo = next;
        nr++;
    }
    return nr;
}

/* At most as many as are armed now: a timer that arms itself for the past must not hold up the loop. */
static uint32_t fire_timers(struct reactor *r)
{
    uint32_t max = r->timers.nr, nr = 0;
    struct env_timer *t;

    while (nr < max && (t = timer_heap_pop_due(&r->timers, r->now_ns)) != NULL) {
        t->fn(t);
        nr++;
    }
    return nr;
}

static uint32_t reap(struct reactor *r)
{
    uint32_t max = io_uring_cq_ready(&r->ring), nr = 0;

    while (nr < max && io_uring_cq_ready(&r->ring) > 0) {
        const struct io_uring_cqe *cqe = &r->ring.cq.cqes[*r->ring.cq.khead & r->ring.cq.ring_mask];
        struct reactor_op *op = io_uring_cqe_get_data(cqe);
        uint32_t flags = cqe->flags;
        int res = cqe->res;

        io_uring_cq_advance(&r->ring, 1);
        nr++;
        if (op != NULL)
            op->done(op, res, flags);
    }
    stat_add(&r->stats.cqes, nr);
    return nr;
}

static uint32_t run_deferred(struct reactor *r)
{
    uint32_t nr = 0;

    for (int round = 0; round < DEFER_ROUNDS && r->deferred.nr > 0; round++)
        nr += queue_run(&r->deferred);
    return nr;
}

static void busy_until_now(struct reactor *r)
{
    stat_add(&r->stats.busy_ns, r->now_ns - r->busy_since_ns);
    r->busy_since_ns = r->now_ns;
}

static uint32_t pass(struct reactor *r)
{
    uint32_t did;

    if (io_uring_cq_ready(&r->ring) == 0 && ring_needs_enter(r))
        io_uring_get_events(&r->ring);
    refresh_now(r);
    busy_until_now(r);
    did = take_posted(r);
    did += fire_timers(r);
    did += reap(r);
    did += run_deferred(r);
    queue_run(&r->late);
    if (io_uring_sq_ready(&r->ring) > 0 || ring_needs_enter(r))
        ring_submit(r);
    stat_add(&r->stats.passes, 1);
    return did;
}

/* ---- waiting ------------------------------------------------------------------------------------------------------- */

static bool work_waits(struct reactor *r)
{
    return io_uring_cq_ready(&r->ring) > 0 || ring_needs_enter(r) || r->deferred.nr > 0 || r->late.nr > 0 ||
           atomic_load_explicit(&r->posted, memory_order_relaxed) != NULL ||
           atomic_load_explicit(&r->stop, memory_order_relaxed);
}

static void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

/* Looks for work until `until_ns`, without a system call; true: there is some. Leaves the time in now_ns. */
static bool spin(struct reactor *r, uint64_t until_ns)
{
    for (;;) {
        for (unsigned i = 0; i < SPIN_LOOKS; i++) {
            if (work_waits(r))
                return true;
            cpu_relax();
        }
        refresh_now(r);
        if (r->now_ns >= timer_heap_next_ns(&r->timers))
            return true;
        if (r->now_ns >= until_ns)
            return false;
    }
}

static void wake_done(struct reactor_op *op, int res, uint32_t flags)
{
    (void)res;
    (void)flags;
    container_of(op, struct reactor, wake_op)->wake_armed = false;
}

static void arm_wake(struct reactor *r)
{
    if (r->wake_armed)
        return;
    io_uring_prep_read(reactor_sqe(r, &r->wake_op), r->wake_fd, &r->wake_value, sizeof(r->wake_value), 0);
    r->wake_armed = true;
}

/* In the kernel, until a completion or the next timer. */
static void sleep_in_kernel(struct reactor *r)
{
    uint64_t next_ns = timer_heap_next_ns(&r->timers);
    uint64_t ns = next_ns > r->now_ns ? next_ns - r->now_ns : 0;
    struct __kernel_timespec ts = {.tv_sec = (long long)(ns / NS_PER_S), .tv_nsec = (long long)(ns % NS_PER_S)};
    struct io_uring_cqe *cqe;
    int n;

    arm_wake(r);
    atomic_store(&r->sleeping, true);
    if (!work_waits(r) && ns > 0) {
        stat_add(&r->stats.sleeps, 1);
        if (next_ns == UINT64_MAX)
            n = io_uring_submit_and_wait(&r->ring, 1);
        else
            n = io_uring_submit_and_wait_timeout(&r->ring, &cqe, 1, &ts, NULL);
        assert(n >= 0 || ring_error_passes(n));
    }
    if (!atomic_exchange(&r->sleeping, false))
        stat_add(&r->stats.wakeups, 1);
}

/* A sleep shorter than the longest spin would have been worth a spin; a long one says that spinning does not pay. */
static void spin_adapt(struct reactor *r, uint64_t slept_ns)
{
    if (slept_ns <= r->spin_max_ns)
        r->spin_ns = r->spin_max_ns;
    else
        r->spin_ns = r->spin_ns > r->spin_max_ns / 8 ? r->spin_ns / 2 : 0;
}

/* Returns when the next pass will find something: at once, after a spin, or after a sleep. */
static void wait_for_work(struct reactor *r)
{
    uint64_t from_ns;
    bool found = false;

    if (work_waits(r))
        return;
    refresh_now(r);
    from_ns = r->now_ns;
    busy_until_now(r);
    if (r->spin_ns > 0) {
        found = spin(r, from_ns + r->spin_ns);
        stat_add(&r->stats.spin_ns, r->now_ns - from_ns);
    }
    if (!found) {
        sleep_in_kernel(r);
        refresh_now(r);
        spin_adapt(r, r->now_ns - from_ns);
    }
    r->busy_since_ns = r->now_ns;
}

/* Never negative: a stopping reactor finishes what a straight-line caller waits for, since the kernel owns its buffers. */
static int reactor_run_once(struct env *e)
{
    struct reactor *r = of_env(e);

    ring_enable(r);
    if (pass(r) > 0)
        return 0;
    if (!atomic_load(&r->stop))
        wait_for_work(r);
    pass(r);
    return 0;
}

static const struct env_ops reactor_env_ops = {
    .name = "reactor",
    .mono_ns = reactor_mono_ns,
    .wall_ns = reactor_wall_ns,
    .random = reactor_random,
    .defer = reactor_defer,
    .post = reactor_post,
    .timer_arm = reactor_timer_arm,
    .timer_cancel = reactor_timer_cancel,
    .run_once = reactor_run_once,
};

/* ---- life ---------------------------------------------------------------------------------------------------------- */

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
    queue_init(&r->deferred);
    queue_init(&r->late);
    r->spin_max_ns = r->spin_ns = opts->poll_us * NS_PER_US;
    r->wake_op.done = wake_done;
    refresh_now(r);
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
    return of_env(e);
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
    ring_enable(r);
    pin(r);
    io_uring_register_ring_fd(&r->ring); /* saves a lookup in each enter; refused by old kernels, which is fine */
    while (!atomic_load_explicit(&r->stop, memory_order_acquire)) {
        pass(r);
        wait_for_work(r);
    }
    io_uring_unregister_ring_fd(&r->ring); /* belongs to this thread; another one may free the reactor */
    atomic_store(&r->stop, false);
}

/* A ring cannot change its submitter, so the next owner gets a new one; and a new eventfd, since the old ring's read of
 * it is cancelled behind our back and could swallow a wake-up. */
int reactor_disown(struct reactor *r)
{
    struct io_uring old = r->ring;
    int fd, err;

    if (!r->enabled)
        return 0;
    assert(!r->thread_started && pthread_equal(r->owner, pthread_self()));
    fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    err = ring_open(r);
    if (err) {
        r->ring = old;
        close(fd);
        return err;
    }
    io_uring_queue_exit(&old);
    close(r->wake_fd);
    r->wake_fd = fd;
    r->wake_armed = false;
    r->enabled = false;
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
    wake(r);
}

void reactor_join(struct reactor *r)
{
    if (r->thread_started)
        pthread_join(r->thread, NULL);
    r->thread_started = false;
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
