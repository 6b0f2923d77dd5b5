/* SPDX-License-Identifier: Apache-2.0 */
/* dev_pmem_test.c: memory that cannot be had is an error of the request, and of nothing else. */
#include "rt_test.h"

#include "rt/dev.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_BYTES (4 * MIB)

/* A file that is cut under the mapping gives what a poisoned line gives: SIGBUS at the copy. */
Test(dev_pmem_gone, memory_that_cannot_be_had_is_an_error_of_that_request)
{
    struct reactor *r = test_reactor(0, false);
    char *path = test_file(FILE_BYTES), *a = test_blocks(2 * BLOCK_BYTES, 'p'), *got = test_blocks(2 * BLOCK_BYTES, 0);
    struct dev *d = test_open(r, path, true);

    cr_assert_eq(dev_write_sync(d, MIB - BLOCK_BYTES, a, 2 * BLOCK_BYTES, DEV_DSYNC), 0);
    cr_assert_eq(truncate(path, MIB), 0);
    for (int i = 0; i < 3; i++) { /* not the first time only */
        cr_assert_eq(dev_read_sync(d, MIB, got, BLOCK_BYTES), -EIO);
        cr_assert_eq(dev_read_sync(d, MIB - BLOCK_BYTES, got, 2 * BLOCK_BYTES), -EIO, "half of it");
        cr_assert_eq(dev_write_sync(d, 2 * MIB, a, BLOCK_BYTES, 0), -EIO);
        memset(got, 0, BLOCK_BYTES);
        cr_assert_eq(dev_read_sync(d, MIB - BLOCK_BYTES, got, BLOCK_BYTES), 0, "its neighbour is well");
        cr_assert_eq(memcmp(got, a, BLOCK_BYTES), 0);
        cr_assert_eq(dev_write_sync(d, 0, a, BLOCK_BYTES, DEV_DSYNC), 0);
    }
    cr_assert_eq(d->stats.errors[DEV_READ], 6u);
    cr_assert_eq(dev_write_sync(d, MIB, a, BLOCK_BYTES, DEV_DSYNC), -EIO);
    cr_assert_eq(dev_write_sync(d, 0, a, BLOCK_BYTES, DEV_DSYNC), -FIRN_E_DEVICE_FAILED);
    cr_assert_eq(dev_read_sync(d, 0, got, BLOCK_BYTES), 0);
    dev_close(d);
    unlink(path);
    free(path), free(a), free(got);
    reactor_free(r);
}

static void *read_what_is_gone(void *path)
{
    struct reactor *r = test_reactor(0, false);
    char *got = test_blocks(BLOCK_BYTES, 0);
    struct dev *d = test_open(r, path, true);

    cr_assert_eq(truncate(path, MIB), 0);
    for (int i = 0; i < 200; i++)
        cr_assert_eq(dev_read_sync(d, 2 * MIB, got, BLOCK_BYTES), -EIO);
    dev_close(d);
    free(got);
    reactor_free(r);
    return NULL;
}

Test(dev_pmem_gone, each_thread_leaves_its_own_copy)
{
    pthread_t thread[4];
    char *path[4];

    for (int i = 0; i < 4; i++) {
        path[i] = test_file(FILE_BYTES);
        cr_assert_eq(pthread_create(&thread[i], NULL, read_what_is_gone, path[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pthread_join(thread[i], NULL), 0);
        unlink(path[i]);
        free(path[i]);
    }
}

/* As in a program without handlers of its own; sanitizers have some. */
static void nobody_has_it(void) { cr_assert(signal(SIGBUS, SIG_DFL) != SIG_ERR); }

/* Memory behind the end of a file, which no device has anything to do with. */
static volatile char *foreign(void)
{
    char *path = test_file(2 * BLOCK_BYTES);
    int fd = open(path, O_RDWR);
    volatile char *p = mmap(NULL, 2 * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    cr_assert(p != MAP_FAILED && ftruncate(fd, BLOCK_BYTES) == 0);
    close(fd);
    unlink(path);
    free(path);
    return p + BLOCK_BYTES;
}

static void use_pmem(struct reactor *r)
{
    char *path = test_file(FILE_BYTES), *got = test_blocks(BLOCK_BYTES, 0);
    struct dev *d = test_open(r, path, true);

    cr_assert_eq(truncate(path, MIB), 0);
    cr_assert_eq(dev_read_sync(d, MIB, got, BLOCK_BYTES), -EIO);
    unlink(path);
    free(path), free(got);
}

Test(dev_pmem_gone, memory_that_is_not_a_devices_still_kills, .signal = SIGBUS)
{
    nobody_has_it();
    use_pmem(test_reactor(0, false));
    *foreign() = 1;
}

Test(dev_pmem_gone, a_signal_that_was_sent_still_kills, .signal = SIGBUS)
{
    nobody_has_it();
    use_pmem(test_reactor(0, false));
    raise(SIGBUS);
}

static sigjmp_buf back;
static void had_it_before(int sig)
{
    (void)sig;
    siglongjmp(back, 1);
}

Test(dev_pmem_gone, who_had_the_signal_before_has_it_for_other_memory)
{
    struct sigaction sa = {.sa_handler = had_it_before};
    volatile bool came = false;

    cr_assert_eq(sigaction(SIGBUS, &sa, NULL), 0);
    use_pmem(test_reactor(0, false));
    if (sigsetjmp(back, 1) == 0)
        *foreign() = 1;
    else
        came = true;
    cr_assert(came);
}
