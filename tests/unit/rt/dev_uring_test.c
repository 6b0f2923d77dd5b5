/* SPDX-License-Identifier: Apache-2.0 */
#include "rt_test.h"

#include "rt/dev.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES (4 * MIB)

struct waiting { struct dev_io io; bool done; bool inside; };

static void waiting_cb(struct dev_io *io)
{
    struct waiting *w = container_of(io, struct waiting, io);

    cr_assert(!w->inside, "no callback from inside the call");
    w->done = true;
}

static void bytes_come_back(bool pmem, bool plain_ring)
{
    struct reactor *r = test_reactor(0, plain_ring);
    char *path = test_file(FILE_BYTES);
    struct dev *d = test_open(r, path, pmem);
    char *a = test_blocks(64 * KIB, 'a'), *b = test_blocks(64 * KIB, 'b'), *got = test_blocks(64 * KIB, 0);
    struct iovec iov[3] = {{got, BLOCK_BYTES}, {got + BLOCK_BYTES, BLOCK_BYTES}, {got + 2 * BLOCK_BYTES, 14 * BLOCK_BYTES}};
    struct waiting w = {.io = {.off_bytes = 32 * KIB, .len_bytes = 64 * KIB, .iov = iov, .iovcnt = 3, .cb = waiting_cb}};

    cr_assert_eq(d->caps.size_bytes, FILE_BYTES);
    cr_assert_eq(d->caps.byte_addressable, pmem);
    cr_assert_eq(dev_write_sync(d, 0, a, 64 * KIB, 0), 0);
    cr_assert_eq(dev_write_sync(d, 64 * KIB, b, 64 * KIB, DEV_DSYNC), 0);
    cr_assert_eq(dev_flush_sync(d), 0);
    w.inside = true;
    dev_read(d, &w.io);
    w.inside = false;
    cr_assert(run_until(r, &w.done));
    cr_assert_eq(w.io.err, 0);
    cr_assert_eq(memcmp(got, a, 32 * KIB), 0);
    cr_assert_eq(memcmp(got + 32 * KIB, b, 32 * KIB), 0);
    cr_assert_eq(d->stats.ops[DEV_WRITE], 2u);
    cr_assert_eq(d->stats.bytes[DEV_READ], 64 * KIB);
    cr_assert_eq(d->stats.in_flight, 0u);
    dev_close(d);
    d = test_open(r, path, !pmem); /* by the other way: it is really in the file */
    cr_assert_eq(dev_read_sync(d, 64 * KIB, got, 64 * KIB), 0);
    cr_assert_eq(memcmp(got, b, 64 * KIB), 0);
    dev_close(d);
    unlink(path);
    free(path), free(a), free(b), free(got);
    reactor_free(r);
}

Test(dev_uring, bytes_come_back) { bytes_come_back(false, false); }
Test(dev_uring, bytes_come_back_on_a_plain_ring) { bytes_come_back(false, true); }
Test(dev_pmem, bytes_come_back) { bytes_come_back(true, false); }

/* ---- age ---- */

struct look { struct env_timer timer; struct dev *d; uint64_t in_flight, age_ns, stood_until_ns; };

static void look(struct env_timer *t)
{
    struct look *l = container_of(t, struct look, timer);

    l->in_flight = l->d->stats.in_flight;
    l->age_ns = dev_oldest_ns(l->d);
    l->stood_until_ns = env_now_ns(l->d->env);
}

Test(dev_uring, a_request_is_not_late_because_the_process_stood_still)
{
    struct reactor *r = test_reactor(0, false);
    struct env *e = reactor_env(r);
    char *path = test_file(FILE_BYTES), *got = test_blocks(BLOCK_BYTES, 0);
    struct look l = {.timer.fn = look, .d = test_open(r, path, false)};
    struct iovec iov = {got, BLOCK_BYTES};
    struct waiting w = {.io = {.len_bytes = BLOCK_BYTES, .iov = &iov, .iovcnt = 1, .cb = waiting_cb}};

    run_for_ms(r, 5);
    dev_read(l.d, &w.io);
    env_timer_arm(e, &l.timer, env_now_ns(e) + NS_PER_MS);
    usleep(300 * 1000);
    cr_assert(run_until(r, &w.done));
    cr_assert_eq(l.in_flight, 1u, "its end had not been heard of");
    cr_assert_eq(l.age_ns, 0u, "%llu", (unsigned long long)l.age_ns);
    run_for_ms(r, 5);
    cr_assert_geq(env_heard_ns(e), l.stood_until_ns, "what hangs now would be late");
    dev_close(l.d);
    unlink(path);
    free(path), free(got);
    reactor_free(r);
}

Test(dev_pmem, a_flushed_write_is_in_the_file)
{
    struct reactor *r = test_reactor(0, false);
    char *path = test_file(FILE_BYTES), *a = test_blocks(BLOCK_BYTES, 'p'), got[BLOCK_BYTES];
    struct dev *d = test_open(r, path, true);
    FILE *f;

    cr_assert_eq(dev_write_sync(d, 8 * BLOCK_BYTES, a, BLOCK_BYTES, 0), 0);
    cr_assert_eq(dev_flush_sync(d), 0);
    f = fopen(path, "rb");
    cr_assert(f != NULL && fseek(f, 8 * BLOCK_BYTES, SEEK_SET) == 0);
    cr_assert_eq(fread(got, 1, sizeof(got), f), sizeof(got));
    cr_assert_eq(memcmp(got, a, BLOCK_BYTES), 0);
    fclose(f);
    dev_close(d);
    unlink(path);
    free(path), free(a);
    reactor_free(r);
}

Test(dev_pmem, read_only_reads_and_refuses_writes)
{
    struct reactor *r = test_reactor(0, false);
    char *path = test_file(FILE_BYTES), *a = test_blocks(BLOCK_BYTES, 'p'), why[256];
    struct dev_open_opts opts = {.pmem = true, .read_only = true};
    struct dev *d = NULL;

    cr_assert_eq(dev_open(reactor_env(r), path, &opts, &d, why), 0);
    cr_assert_eq(dev_read_sync(d, 0, a, BLOCK_BYTES), 0);
    cr_assert_eq(a[0], 0);
    cr_assert_eq(dev_write_sync(d, 0, a, BLOCK_BYTES, 0), -EROFS);
    dev_close(d);
    unlink(path);
    free(path), free(a);
    reactor_free(r);
}

Test(dev_uring, many_at_once_complete_each_once)
{
    enum { NR = 500 };
    struct reactor *r = test_reactor(0, false); /* 64 entries: the queue overflows several times */
    char *path = test_file(FILE_BYTES), *buf = test_blocks(NR * BLOCK_BYTES, 0);
    struct dev *d = test_open(r, path, false);
    static struct waiting w[NR];
    static struct iovec iov[NR];
    int done = 0;

    for (int i = 0; i < NR; i++) {
        iov[i] = (struct iovec){buf + (size_t)i * BLOCK_BYTES, BLOCK_BYTES};
        memset(iov[i].iov_base, i, BLOCK_BYTES);
        w[i] = (struct waiting){.io = {.off_bytes = (uint64_t)i * BLOCK_BYTES, .len_bytes = BLOCK_BYTES, .iov = &iov[i], .iovcnt = 1,
                                       .cb = waiting_cb, .flags = i % 2 ? DEV_DSYNC : 0}};
        dev_write(d, &w[i].io);
    }
    cr_assert_eq(d->stats.in_flight, NR);
    for (int i = 0; i < NR; i++) {
        cr_assert(run_until(r, &w[i].done));
        done += w[i].io.err == 0;
    }
    cr_assert_eq(done, NR);
    memset(buf, 0xff, NR * BLOCK_BYTES);
    cr_assert_eq(dev_read_sync(d, 0, buf, NR * BLOCK_BYTES), 0);
    for (int i = 0; i < NR; i++)
        cr_assert_eq(buf[(size_t)i * BLOCK_BYTES + 17], (char)i);
    dev_close(d);
    unlink(path);
    free(path), free(buf);
    reactor_free(r);
}

Test(dev_uring, a_discarded_range_reads_as_zeros_on_a_file)
{
    struct reactor *r = test_reactor(0, false);
    char *path = test_file(FILE_BYTES), *a = test_blocks(MIB, 'd');
    struct dev *d = test_open(r, path, false);
    struct waiting w = {.io = {.off_bytes = 256 * KIB, .len_bytes = 512 * KIB, .cb = waiting_cb}};
    struct stat before, after;

    cr_assert_eq(dev_write_sync(d, 0, a, MIB, DEV_DSYNC), 0);
    cr_assert_eq(stat(path, &before), 0);
    dev_discard(d, &w.io);
    cr_assert(run_until(r, &w.done));
    cr_assert_eq(w.io.err, 0);
    cr_assert_eq(stat(path, &after), 0);
    cr_assert_eq((before.st_blocks - after.st_blocks) * 512, 512 * (long)KIB);
    cr_assert_eq(dev_read_sync(d, 0, a, MIB), 0);
    cr_assert(a[256 * KIB - 1] == 'd' && a[256 * KIB] == 0 && a[768 * KIB - 1] == 0 && a[768 * KIB] == 'd');
    dev_close(d);
    unlink(path);
    free(path), free(a);
    reactor_free(r);
}

Test(dev_uring, a_file_cut_under_us_is_an_error_not_short_data)
{
    struct reactor *r = test_reactor(0, false);
    char *path = test_file(FILE_BYTES), *a = test_blocks(64 * KIB, 0);
    struct dev *d = test_open(r, path, false);

    cr_assert_eq(truncate(path, (off_t)MIB), 0);
    cr_assert_eq(dev_read_sync(d, MIB - 32 * KIB, a, 64 * KIB), -EIO, "half is there");
    cr_assert_eq(dev_read_sync(d, 2 * MIB, a, 64 * KIB), -EIO, "nothing is there");
    dev_close(d);
    unlink(path);
    free(path), free(a);
    reactor_free(r);
}

Test(dev_uring, a_vector_that_stops_inside_an_element_goes_on_there)
{
    struct reactor *r = test_reactor(0, false);
    char *path = test_file(FILE_BYTES), *a = test_blocks(64 * KIB, 'v'), *got = test_blocks(64 * KIB, 0);
    struct dev *d = test_open(r, path, false);
    struct iovec iov[3] = {{got, 4 * KIB}, {got + 4 * KIB, 40 * KIB}, {got + 44 * KIB, 20 * KIB}};
    struct waiting w = {.io = {.off_bytes = MIB - 20 * KIB, .len_bytes = 64 * KIB, .iov = iov, .iovcnt = 3, .cb = waiting_cb}};

    cr_assert_eq(dev_write_sync(d, MIB - 20 * KIB, a, 64 * KIB, 0), 0);
    cr_assert_eq(truncate(path, (off_t)MIB), 0);
    dev_read(d, &w.io);
    cr_assert(run_until(r, &w.done));
    cr_assert_eq(w.io.err, -EIO, "the rest was asked for, and is not there");
    cr_assert_eq(w.io.priv.done_bytes, 20 * KIB);
    cr_assert_eq(w.io.priv.rest.iov_base, got + 20 * KIB, "in the middle of the second element");
    cr_assert_eq(w.io.priv.rest.iov_len, 24 * KIB);
    cr_assert_eq(memcmp(got, a, 20 * KIB), 0);
    dev_close(d);
    unlink(path);
    free(path), free(a), free(got);
    reactor_free(r);
}

static void refused(const char *path, bool pmem, const char *word)
{
    struct reactor *r = test_reactor(0, false);
    struct dev_open_opts opts = {.pmem = pmem};
    struct dev *d = NULL;
    char why[256] = "";

    cr_assert_lt(dev_open(reactor_env(r), path, &opts, &d, why), 0);
    cr_assert(strstr(why, path) != NULL && strstr(why, word) != NULL, "%s", why);
    reactor_free(r);
}

/* Stands between the ring and the device: the kernel says EAGAIN `left` times, and every time `age_ns` have passed. */
static struct {
    void   (*done)(struct reactor_op *op, int res, uint32_t cqe_flags);
    unsigned left, asked;
    uint64_t age_ns;
} short_of_memory;

static void says_again(struct reactor_op *op, int res, uint32_t cqe_flags)
{
    struct dev_io *io = container_of(op, struct dev_io, priv.ring);
    bool again = short_of_memory.left > 0;

    short_of_memory.left -= again;
    short_of_memory.asked++;
    io->priv.start_ns -= short_of_memory.age_ns;
    short_of_memory.done(op, again ? -EAGAIN : res, cqe_flags);
    if (again && short_of_memory.asked < 1000)
        op->done = says_again; /* asked anew, or over: then nobody looks */
}

static int read_with_eagain(unsigned times, uint64_t age_ns)
{
    struct reactor *r = test_reactor(0, false);
    char *path = test_file(FILE_BYTES), *got = test_blocks(BLOCK_BYTES, 0);
    struct dev *d = test_open(r, path, false);
    struct iovec iov = {got, BLOCK_BYTES};
    struct waiting w = {.io = {.len_bytes = BLOCK_BYTES, .iov = &iov, .iovcnt = 1, .cb = waiting_cb}};

    dev_read(d, &w.io);
    short_of_memory.done = w.io.priv.ring.done;
    short_of_memory.left = times;
    short_of_memory.age_ns = age_ns;
    w.io.priv.ring.done = says_again;
    cr_assert(run_until(r, &w.done));
    dev_close(d);
    unlink(path);
    free(path), free(got);
    reactor_free(r);
    return w.io.err;
}

Test(dev_uring, a_kernel_short_of_memory_is_asked_again)
{
    cr_assert_eq(read_with_eagain(5, 0), 0);
    cr_assert_eq(short_of_memory.asked, 6);
}

Test(dev_uring, but_not_for_ever)
{
    cr_assert_eq(read_with_eagain(100, NS_PER_S), -EAGAIN);
    cr_assert_lt(short_of_memory.asked, 10);
}

Test(dev_uring, open_says_what_is_wrong)
{
    char *empty = test_file(0);

    refused("/nowhere/at/all", false, "No such file");
    refused("/dev/null", false, "neither a block device");
    refused(empty, false, "it has no size");
    refused(empty, true, "cannot be mapped");
    refused("/nowhere/at/all", true, "No such file");
    unlink(empty);
    free(empty);
}
