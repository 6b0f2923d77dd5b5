/* SPDX-License-Identifier: Apache-2.0 */
/* A reactor that was driven in a straight line goes on under a thread of its own. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "rt/dev.h"
#include "rt/reactor.h"

static _Atomic int ran;
static void run(struct env_task *t)
{
    (void)t;
    atomic_fetch_add(&ran, 1);
}

Test(reactor, runs_on_a_thread_after_straight_line_work)
{
    static struct reactor_opts opts = {.cpu = -1};
    static struct env_task task = {.fn = run};
    struct reactor *r;
    struct dev *d;
    char why[256], path[] = "/tmp/firn-disown-XXXXXX";
    int fd = mkstemp(path);
    void *buf = aligned_alloc(4096, 4096);
    struct dev_open_opts o = {.buffered = true};

    cr_assert_eq(ftruncate(fd, 65536), 0);
    close(fd);
    cr_assert_eq(reactor_new(&opts, &r, why), 0, "%s", why);
    cr_assert_eq(reactor_disown(r), 0, "a reactor that never ran");
    cr_assert_eq(dev_open(reactor_env(r), path, &o, &d, why), 0, "%s", why);
    memset(buf, 7, 4096);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(dev_write_sync(d, 0, buf, 4096, DEV_DSYNC), 0);
        cr_assert_eq(reactor_disown(r), 0);
    }
    cr_assert_eq(reactor_start_thread(r), 0);
    usleep(20000); /* asleep by now: the post has to wake it through the new eventfd */
    env_post(reactor_env(r), &task);
    for (int i = 0; i < 2000 && atomic_load(&ran) == 0; i++)
        usleep(1000);
    cr_assert_eq(atomic_load(&ran), 1);
    reactor_stop(r);
    reactor_join(r);
    dev_close(d);
    reactor_free(r);
    unlink(path);
    free(buf);
}

/* A device keeps a request for ever; the reactor that gets another ring does not wait for it. */
Test(reactor, sleeps_although_a_request_was_left_to_the_old_ring)
{
    static struct reactor_opts opts = {.cpu = -1};
    static struct env_task task = {.fn = run};
    struct reactor_stats a, b;
    struct reactor *r;
    char why[256];

    cr_assert_eq(reactor_new(&opts, &r, why), 0, "%s", why);
    env_defer(reactor_env(r), &task);
    cr_assert_eq(env_run_once(reactor_env(r)), 0); /* from now on the ring is this thread's */
    reactor_io_begin(r, false);
    cr_assert_eq(reactor_disown(r), 0);
    cr_assert_eq(reactor_start_thread(r), 0);
    usleep(50000);
    reactor_stats_get(r, &a);
    usleep(700000);
    reactor_stats_get(r, &b);
    cr_assert_eq(b.passes, a.passes, "no pass while nothing happens");
    reactor_stop(r);
    reactor_join(r);
    reactor_free(r);
}
