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
#include "rt/reactor_priv.h"

#include <errno.h>
#include <time.h>

#define DEFER_ROUNDS 4   /* rounds of deferred tasks before the pass submits: completion, queue, send */
#define WAKE_NS      (30 * NS_PER_US) /* what waking adds to a sleep, on a virtual machine */
#define SPIN_IOS     4u  /* so many requests at devices are worth one poll_us of spinning */
#define SPIN_FACTOR  8u  /* and so many poll_us are the most */
#define REAP_IOS     8u  /* requests to devices that may end in one pass, or a quarter of those in flight */
#define STILL_NS     (NS_PER_S / 4) /* no pass takes that long; nor does a sleep while requests are in flight */
#define SPIN_LOOKS   32u /* looks at shared memory between two looks at the clock */

/* TASKRUN: the kernel says in shared memory that completions wait for us to enter; OVERFLOW: that it keeps some. */
#define NEEDS_ENTER (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)

/* ---- the ring ---------------------------------------------------------------------------------------------------- */

/* planned_ns: how long nobody was to look at the clock. Much longer, and the process stood still: stopped, frozen, starved. */
static void refresh_after(struct reactor *r, uint64_t planned_ns)
{
    uint64_t gone_ns = r->now_ns;

    r->now_ns = reactor_clock_ns(CLOCK_MONOTONIC);
    gone_ns = r->now_ns - gone_ns;
    if (gone_ns > planned_ns && gone_ns - planned_ns > STILL_NS)
        r->still_ns += gone_ns - planned_ns;
}

static void refresh_now(struct reactor *r) { refresh_after(r, 0); }

/* The first thread that runs the reactor becomes the ring's only submitter. */
void reactor_enable(struct reactor *r)
{
    int err;

    if (r->enabled) {
        assert(!r->orphaned && pthread_equal(r->owner, pthread_self()));
        return;
    }
    /* liburing 2.3 declares io_uring_enable_rings() and does not export it */
    err = io_uring_register((unsigned)r->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    assert(err == 0);
    r->owner = pthread_self();
    r->enabled = true;
    refresh_after(r, UINT64_MAX);
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
        figure_add(&r->stats.sqes, (uint64_t)n);
    else
        assert(ring_error_passes(n));
}

/* The kernel sets the flag after it queued the work, so an enter in between can leave it set over an empty queue: who
 * believed it then would never sleep. Waiting in the kernel looks at the queue itself. */
static bool ring_needs_enter(const struct reactor *r)
{
    return (__atomic_load_n(r->ring.sq.kflags, __ATOMIC_RELAXED) & NEEDS_ENTER) != 0 && !r->taskrun_stale;
}

void reactor_io_begin(struct reactor *r, bool threaded)
{
    r->ios++;
    r->yields += threaded;
}

void reactor_io_end(struct reactor *r, bool threaded)
{
    assert(r->ios > 0 && r->yields >= threaded);
    r->ios--;
    r->ios_ended++;
    r->yields -= threaded;
}

struct io_uring_sqe *reactor_sqe(struct reactor *r, struct reactor_op *op)
{
    struct io_uring_sqe *sqe;

    while ((sqe = io_uring_get_sqe(&r->ring)) == NULL) {
        reactor_enable(r);
        ring_submit(r);
    }
    io_uring_sqe_set_data(sqe, op);
    return sqe;
}

struct io_uring *reactor_ring(struct reactor *r)
{
    return &r->ring;
}

void reactor_before_submit(struct reactor *r, struct env_task *task)
{
    task_queue_put(&r->late, task);
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
        task_queue_put(&r->deferred, fifo);
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

/* All that had ended by ns stands in the queue now: it has been heard of once that much is reaped, be it in several passes. A
 * queue that never gets empty would else stop the time up to which ends were heard. */
static void mark_set(struct reactor *r, uint64_t ns)
{
    if (r->mark_set)
        return;
    r->mark_ns = ns;
    r->mark_head = *r->ring.cq.khead + io_uring_cq_ready(&r->ring);
    r->mark_set = true;
}

static uint32_t reap(struct reactor *r)
{
    uint32_t max = io_uring_cq_ready(&r->ring), max_ios = MAX(REAP_IOS, r->ios / 4), nr = 0;

    r->ios_ended = 0;
    while (nr < max && r->ios_ended < max_ios && io_uring_cq_ready(&r->ring) > 0) {
        const struct io_uring_cqe *cqe = &r->ring.cq.cqes[*r->ring.cq.khead & r->ring.cq.ring_mask];
        struct reactor_op *op = io_uring_cqe_get_data(cqe);
        uint32_t flags = cqe->flags;
        int res = cqe->res;

        io_uring_cq_advance(&r->ring, 1);
        nr++;
        if (op != NULL)
            op->done(op, res, flags);
    }
    figure_add(&r->stats.cqes, nr);
    r->taskrun_stale &= nr == 0;
    if (r->mark_set && (int32_t)(*r->ring.cq.khead - r->mark_head) >= 0) {
        r->heard_ns = MAX(r->heard_ns, r->mark_ns);
        r->mark_set = false;
    }
    return nr;
}

static uint32_t run_deferred(struct reactor *r)
{
    uint32_t nr = 0;

    for (int round = 0; round < DEFER_ROUNDS && r->deferred.nr > 0; round++)
        nr += task_queue_run(&r->deferred);
    return nr;
}

static void busy_until_now(struct reactor *r)
{
    figure_add(&r->stats.busy_ns, r->now_ns - r->busy_since_ns);
    r->busy_since_ns = r->now_ns;
}

uint32_t reactor_pass(struct reactor *r)
{
    uint64_t before_ns = r->now_ns; /* what ended before that was there for this pass's reap, however long the kernel took */
    uint32_t did;

    if (io_uring_cq_ready(&r->ring) == 0 && ring_needs_enter(r)) {
        io_uring_get_events(&r->ring);
        r->taskrun_stale = io_uring_cq_ready(&r->ring) == 0 && ring_needs_enter(r);
    }
    refresh_now(r);
    busy_until_now(r);
    did = take_posted(r);
    did += fire_timers(r);
    mark_set(r, before_ns);
    did += reap(r);
    did += run_deferred(r);
    task_queue_run(&r->late);
    if (io_uring_sq_ready(&r->ring) > 0 || ring_needs_enter(r))
        ring_submit(r);
    figure_add(&r->stats.passes, 1);
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
    r->wake_op.done = wake_done;
    io_uring_prep_read(reactor_sqe(r, &r->wake_op), r->wake_fd, &r->wake_value, sizeof(r->wake_value), 0);
    r->wake_armed = true;
}

/* In the kernel, until a completion or the next timer. */
static void sleep_in_kernel(struct reactor *r)
{
    uint64_t next_ns = MIN(timer_heap_next_ns(&r->timers), r->ios > 0 ? r->now_ns + STILL_NS : UINT64_MAX);
    uint64_t ns = next_ns > r->now_ns ? next_ns - r->now_ns : 0;
    struct __kernel_timespec ts = {.tv_sec = (long long)(ns / NS_PER_S), .tv_nsec = (long long)(ns % NS_PER_S)};
    struct io_uring_cqe *cqe;
    int n;

    arm_wake(r);
    atomic_store(&r->sleeping, true); /* seen by a poster, or its task is seen by us: both orders are sequential */
    if (atomic_load(&r->posted) == NULL && !atomic_load(&r->stop) && !work_waits(r) && ns > 0) {
        figure_add(&r->stats.sleeps, 1);
        if (next_ns == UINT64_MAX)
            n = io_uring_submit_and_wait(&r->ring, 1);
        else
            n = io_uring_submit_and_wait_timeout(&r->ring, &cqe, 1, &ts, NULL);
        assert(n >= 0 || ring_error_passes(n));
    }
    r->taskrun_stale = false;
    if (!atomic_exchange(&r->sleeping, false))
        figure_add(&r->stats.wakeups, 1);
    refresh_after(r, r->ios > 0 ? ns : UINT64_MAX);
}

/* A device with a queue answers many requests at once, after a time that is longer than that of one. */
static uint64_t spin_factor(const struct reactor *r)
{
    return MAX(1u, MIN(r->ios / SPIN_IOS, SPIN_FACTOR));
}

/* A wait that the longest spin would have outlasted was worth one, also if the waking made it longer: else two sleepers that
 * answer each other would never begin to spin. Any other says that spinning does not pay. */
static void spin_adapt(struct reactor *r, uint64_t waited_ns)
{
    if (waited_ns <= spin_factor(r) * r->spin_max_ns + WAKE_NS)
        r->spin_ns = r->spin_max_ns;
    else
        r->spin_ns = r->spin_ns > r->spin_max_ns / 8 ? r->spin_ns / 2 : 0;
}

/* Returns when the next pass will find something: at once, after a spin, or after a sleep. */
void reactor_wait(struct reactor *r)
{
    uint64_t from_ns;
    bool found = false;

    if (work_waits(r))
        return;
    refresh_now(r);
    from_ns = r->now_ns;
    busy_until_now(r);
    if (r->spin_ns > 0 && r->yields == 0) {
        found = spin(r, from_ns + spin_factor(r) * r->spin_ns);
        figure_add(&r->stats.spin_ns, r->now_ns - from_ns);
    }
    if (!found) {
        sleep_in_kernel(r);
        if (r->yields == 0)
            spin_adapt(r, r->now_ns - from_ns);
    }
    r->busy_since_ns = r->now_ns;
}

/* Never negative: a stopping reactor finishes what a straight-line caller waits for, since the kernel owns its buffers. */
int reactor_pass_or_wait(struct env *e)
{
    struct reactor *r = reactor_from_env(e);

    reactor_enable(r);
    if (reactor_pass(r) > 0)
        return 0;
    if (!atomic_load(&r->stop))
        reactor_wait(r);
    reactor_pass(r);
    return 0;
}
