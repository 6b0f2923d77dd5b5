/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_dev.h"
#include "rt/dev.h"
#include "rt_test.h"

static void ended(struct dev_io *io) { cr_assert_eq(io->err, 0); }
static void ticked(struct env_timer *t) { (void)t; }

/* A request whose kernel thread was stopped with the process begins to be late when both go on. */
Test(heard, standing_still_makes_nothing_late, .timeout = 60)
{
    struct reactor *r = test_reactor(0, false);
    struct env *e = reactor_env(r);
    struct fake_dev f;
    struct iovec iov = {aligned_alloc(4096, 4096), 4096};
    struct dev_io io = {.len_bytes = 4096, .iov = &iov, .iovcnt = 1, .cb = ended};
    struct env_timer tick = {.fn = ticked};
    uint64_t begun;

    fake_dev_init(&f, e, MIB);
    env_timer_arm(e, &tick, 0);
    env_run_once(e);
    dev_read(&f.dev, &io);
    usleep(1500000);
    for (int i = 0; i < 3; i++) {
        env_timer_arm(e, &tick, env_now_ns(e));
        env_run_once(e);
    }
    cr_assert_lt(dev_oldest_ns(&f.dev), NS_PER_S, "it stood still for longer");
    begun = env_now_ns(e);
    while (env_now_ns(e) < begun + 1200 * NS_PER_MS) {
        env_timer_arm(e, &tick, env_now_ns(e) + 10 * NS_PER_MS);
        env_run_once(e);
    }
    cr_assert_geq(dev_oldest_ns(&f.dev), NS_PER_S, "and goes on to grow old");
    fake_dev_end(&f, 0);
    free(iov.iov_base);
    reactor_free(r);
}

struct again { struct dev_io io; struct iovec iov; struct dev *d; bool *stop; };

static void again(struct dev_io *io)
{
    struct again *q = container_of(io, struct again, io);

    cr_assert_eq(io->err, 0);
    if (!*q->stop)
        dev_read(q->d, &q->io);
}

/* A device that answers faster than the loop takes its answers: a request that hangs beside them must still grow old. */
Test(heard, goes_on_while_the_queue_never_gets_empty, .timeout = 60)
{
    enum { DEPTH = 64 };
    struct reactor *r = test_reactor(0, false);
    struct env *e = reactor_env(r);
    char *path = test_file(4 * MIB), *buf = aligned_alloc(4096, DEPTH * 4096), why[256];
    struct again *q = calloc(DEPTH, sizeof(*q));
    struct dev_open_opts opts = {.buffered = true};
    uint64_t begun, heard;
    bool stop = false;
    struct dev *d;

    cr_assert_eq(dev_open(e, path, &opts, &d, why), 0);
    memset(buf, 0, DEPTH * 4096);
    for (uint32_t i = 0; i < DEPTH; i++)
        cr_assert_eq(dev_write_sync(d, i * UINT64_C(4096), buf, 4096, 0), 0); /* in the page cache, so that reads end at once */
    for (uint32_t i = 0; i < DEPTH; i++) {
        q[i] = (struct again){.d = d, .stop = &stop, .iov = {buf + i * 4096, 4096}};
        q[i].io = (struct dev_io){.off_bytes = i * UINT64_C(4096), .len_bytes = 4096, .iov = &q[i].iov, .iovcnt = 1, .cb = again};
        dev_read(d, &q[i].io);
    }
    begun = env_now_ns(e);
    heard = env_heard_ns(e);
    while (env_now_ns(e) < begun + NS_PER_S)
        env_run_once(e);
    cr_assert_gt(env_heard_ns(e), heard + NS_PER_S / 2);
    stop = true;
    while (d->stats.in_flight > 0)
        env_run_once(e);
    dev_close(d);
    unlink(path);
    free(path);
    free(q);
    free(buf);
    reactor_free(r);
}
