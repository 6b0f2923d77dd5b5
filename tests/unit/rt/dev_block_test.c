/* SPDX-License-Identifier: Apache-2.0 */
/* A real block device, where the machine lets the test make one: a loop device over a temporary file. */
#include "rt_test.h"

#include "rt/dev.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Attaches path to a free loop device that goes away with its last user; the open descriptor, or -1. */
static int loop_over(const char *path, char name[32])
{
    struct loop_config cfg = {.info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
    int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1;
    int file = open(path, O_RDWR | O_CLOEXEC);

    cfg.fd = (__u32)file;
    for (int i = 0; ctl >= 0 && file >= 0 && i < 10; i++) { /* another process may take the free one first */
        int nr = ioctl(ctl, LOOP_CTL_GET_FREE);

        snprintf(name, 32, "/dev/loop%d", nr);
        fd = nr < 0 ? -1 : open(name, O_RDWR | O_CLOEXEC);
        if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &cfg) == 0)
            break;
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (ctl >= 0)
        close(ctl);
    if (file >= 0)
        close(file);
    return fd;
}

static bool done;
static void cb(struct dev_io *io) { (void)io, done = true; }

Test(dev_uring, a_block_device_writes_flushes_and_discards)
{
    char *path = test_file(8 * MIB), name[32], why[256] = "", *buf = aligned_alloc(BLOCK_BYTES, MIB);
    struct dev_open_opts opts = {0};
    struct dev_io discard = {.off_bytes = MIB, .len_bytes = MIB, .cb = cb};
    int fd = loop_over(path, name);
    struct reactor *r;
    struct dev *d;

    unlink(path);
    if (fd < 0)
        cr_skip_test("no loop device here");
    r = test_reactor(0, false);
    cr_assert_eq(dev_open(reactor_env(r), name, &opts, &d, why), 0, "%s", why);
    cr_assert_eq(d->caps.size_bytes, 8 * MIB);
    cr_assert(d->caps.block_bytes == 512 || d->caps.block_bytes == 4096);
    memset(buf, 'L', MIB);
    cr_assert_eq(dev_write_sync(d, MIB, buf, MIB, DEV_DSYNC), 0);
    cr_assert_eq(dev_write_sync(d, 2 * MIB, buf, MIB, 0), 0);
    cr_assert_eq(dev_flush_sync(d), 0);
    if (d->caps.discard) {
        dev_discard(d, &discard);
        cr_assert(run_until(r, &done));
        cr_assert_eq(discard.err, 0);
    }
    cr_assert_eq(dev_read_sync(d, 2 * MIB, buf, MIB), 0);
    cr_assert(buf[0] == 'L' && buf[MIB - 1] == 'L');
    cr_assert_eq(dev_read_sync(d, 0, buf, MIB), 0);
    cr_assert(buf[0] == 0 && buf[MIB - 1] == 0);
    dev_close(d);
    close(fd);
    reactor_free(r);
    free(buf), free(path);
}
