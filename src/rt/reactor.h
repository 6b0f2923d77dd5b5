/* SPDX-License-Identifier: Apache-2.0 */
/* reactor.h: a thread with one io_uring: the env of the daemon, firn-bench and most tests.
 *
 * One pass: posted tasks, due timers, completions, deferred tasks, then one system call that submits all of it.
 * After work it spins for poll_us, longer while many requests are in flight at devices (adaptive: stops when spinning does
 * not pay), and then sleeps in the kernel; an idle reactor makes no system call. The ring is SINGLE_ISSUER + DEFER_TASKRUN
 * where the kernel has it.
 */
#ifndef FIRN_RT_REACTOR_H
#define FIRN_RT_REACTOR_H

#include "rt/env.h"
#include "rt/ring_op.h"

struct io_uring;
struct io_uring_sqe;
struct reactor;

struct reactor_opts {
    uint32_t entries;   /* submission queue; 0: 1024 */
    uint32_t poll_us;   /* longest spin after work, with up to 4 requests at devices; 0: sleep at once */
    int      cpu;       /* pin to this CPU; -1: do not */
    uint32_t index;     /* for names and logs */
    bool     plain_ring; /* tests: a ring as an old kernel gives it, without SINGLE_ISSUER and DEFER_TASKRUN */
};

/* Needs io_uring: a kernel or container that refuses it gives a clear sentence in `why`. */
int  reactor_new(const struct reactor_opts *opts, struct reactor **out, char why[static 256]);
struct env *reactor_env(struct reactor *r);
struct reactor *reactor_of_env(struct env *e); /* asserts that e is a reactor's */
uint32_t reactor_index(const struct reactor *r);
/* The ring belongs to the thread that first runs the reactor (run, or env_run_once). */
void reactor_run(struct reactor *r);           /* until reactor_stop() */
/* Lets another thread be the next to run it; nothing may be in flight. For straight-line work before the threads. */
int  reactor_disown(struct reactor *r);
int  reactor_start_thread(struct reactor *r);  /* runs it on a new thread */
void reactor_stop(struct reactor *r);          /* any thread */
/* After start_thread and stop. Then the caller may run passes itself, to close things down in straight lines. */
void reactor_join(struct reactor *r);
void reactor_free(struct reactor *r);

/* For dev and net implementations: an operation on the ring; op->done() runs once (multishot: until MORE is absent).
 * Never NULL: a full submission queue is submitted first. op NULL: nobody wants to know the result. */
struct io_uring_sqe *reactor_sqe(struct reactor *r, struct reactor_op *op);
/* Runs task once, after this pass's other work and right before it submits. Net asks for receives there, so that the
 * answers of a pass leave first. */
void reactor_before_submit(struct reactor *r, struct env_task *task);
struct io_uring *reactor_ring(struct reactor *r);

/* Around each request to a device. The more are in flight, the longer a spin may be, since a device that many requests wait
 * for is worth waiting for; and of those that end together some are answered before the others are looked at, so that the
 * host can go on and the device is not left idle.
 * `threaded`: while one of these is in flight the reactor sleeps rather than spins. A durable write to a device without FUA is
 * finished by a kernel thread on the CPU that took the interrupt, which often is this one: a spin would keep it waiting until
 * the next tick. */
void reactor_io_begin(struct reactor *r, bool threaded);
void reactor_io_end(struct reactor *r, bool threaded);

struct reactor_stats { uint64_t passes, sleeps, wakeups, spin_ns, busy_ns, sqes, cqes; };
void reactor_stats_get(const struct reactor *r, struct reactor_stats *out); /* any thread; racy reads of counters */

#endif
