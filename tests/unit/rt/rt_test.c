/* SPDX-License-Identifier: Apache-2.0 */
#include "rt_test.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct reactor *test_reactor(uint32_t poll_us, bool plain_ring)
{
    struct reactor_opts opts = {.poll_us = poll_us, .cpu = -1, .entries = 64, .plain_ring = plain_ring};
    struct reactor *r = NULL;
    char why[256] = "";

    cr_assert_eq(reactor_new(&opts, &r, why), 0, "%s", why);
    return r;
}

static void nothing(struct env_timer *t) { (void)t; }

bool run_until(struct reactor *r, const bool *flag)
{
    struct env *e = reactor_env(r);
    struct env_timer limit = {.fn = nothing};

    env_timer_arm(e, &limit, env_now_ns(e) + 5 * NS_PER_S);
    while (!*flag && env_timer_armed(&limit))
        env_run_once(e);
    env_timer_cancel(e, &limit);
    return *flag;
}

void run_for_ms(struct reactor *r, uint64_t ms)
{
    struct env *e = reactor_env(r);
    struct env_timer limit = {.fn = nothing};

    env_timer_arm(e, &limit, env_now_ns(e) + ms * NS_PER_MS);
    while (env_timer_armed(&limit))
        env_run_once(e);
}

char *test_file(uint64_t bytes)
{
    const char *dir = getenv("TMPDIR");
    char *path = NULL;
    int fd;

    cr_assert_gt(asprintf(&path, "%s/firn-rt-XXXXXX", dir ? dir : "/tmp"), 0);
    fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
    close(fd);
    return path;
}

void *test_blocks(size_t bytes, int fill)
{
    void *p = aligned_alloc(BLOCK_BYTES, bytes);

    cr_assert(p != NULL);
    memset(p, fill, bytes);
    return p;
}

struct dev *test_open(struct reactor *r, const char *path, bool pmem)
{
    struct dev_open_opts opts = {.pmem = pmem};
    struct dev *d = NULL;
    char why[256] = "";

    cr_assert_eq(dev_open(reactor_env(r), path, &opts, &d, why), 0, "%s", why);
    return d;
}
