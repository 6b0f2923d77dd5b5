/* SPDX-License-Identifier: Apache-2.0 */
/* dev_pmem.c: persistent memory, or a file that stands for it, mapped by libpmem.
 *
 * A request is a copy, done inside submit; its callback comes from a deferred task. On real persistent memory every
 * write is made persistent by the copy itself, since a flush on another thread's dev could not drain this CPU's stores. On an
 * ordinary file (tests; any machine) a DSYNC write syncs its range and a flush syncs the whole mapping: the call blocks.
 * Failures: msync's error is the request's. A line of memory that is poisoned, or is not there any more (a file that was cut), is
 * a SIGBUS within the copy: the handler leaves the copy, and the request ends with -EIO, as it would on a block device. It does
 * so for addresses of the mapping that this thread is copying from or to; of any other SIGBUS it knows nothing, and
 * whoever had the signal before gets it.
 */
#include "rt/dev.h"

#include "rt/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <libpmem.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct dev_pmem {
    struct dev dev;
    char      *mem;
    size_t     mapped_bytes;
    int        is_pmem;
    bool       read_only;
};

/* ---- memory that cannot be had ---- */

struct guard { sigjmp_buf out; uintptr_t from, to; }; /* a copy under way, and the mapping that it touches */
static _Thread_local struct guard *volatile guard;    /* NULL: none */
static struct sigaction before;                       /* who had the signal */

static bool is_ours(const siginfo_t *info)
{
    uintptr_t at = (uintptr_t)info->si_addr;

    return guard != NULL && info->si_code > 0 && at >= guard->from && at < guard->to;
}

/* What is sent, and not met by an instruction, does not come again by itself. */
static bool was_sent(const siginfo_t *info) { return info->si_code <= 0 || info->si_code == BUS_MCEERR_AO; }

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (is_ours(info))
        siglongjmp(guard->out, 1);
    sigaction(sig, &before, NULL); /* the instruction is tried again on return, and meets who had the signal before */
    if (was_sent(info))
        raise(sig);
}

/* Without the signal blocked inside the handler: then leaving it by a jump need not restore a mask, and a copy makes no system call. */
static void catch_sigbus(void)
{
    struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = (int)(SA_SIGINFO | SA_NODEFER)};

    sigemptyset(&sa.sa_mask);
    sigaction(SIGBUS, &sa, &before);
}

/* ---- requests ---- */

static void copy_out(const char *from, const struct dev_io *io)
{
    for (int i = 0; i < io->iovcnt; from += io->iov[i].iov_len, i++)
        memcpy(io->iov[i].iov_base, from, io->iov[i].iov_len);
}

static void copy_in(const struct dev_pmem *p, char *to, const struct dev_io *io)
{
    for (int i = 0; i < io->iovcnt; to += io->iov[i].iov_len, i++)
        if (p->is_pmem)
            pmem_memcpy_nodrain(to, io->iov[i].iov_base, io->iov[i].iov_len);
        else
            memcpy(to, io->iov[i].iov_base, io->iov[i].iov_len);
    if (p->is_pmem)
        pmem_drain();
}

/* 0, or -EIO: a part of it cannot be had. libpmem's copies are plain code that holds nothing: they may be left at any instruction. */
static int copy(const struct dev_pmem *p, const struct dev_io *io)
{
    struct guard g = {.from = (uintptr_t)p->mem, .to = (uintptr_t)p->mem + p->mapped_bytes};

    if (sigsetjmp(g.out, 0) != 0) {
        guard = NULL;
        return -EIO;
    }
    guard = &g;
    atomic_signal_fence(memory_order_seq_cst);
    if (io->priv.op == DEV_READ)
        copy_out(p->mem + io->off_bytes, io);
    else
        copy_in(p, p->mem + io->off_bytes, io);
    atomic_signal_fence(memory_order_seq_cst);
    guard = NULL;
    return 0;
}

static int write_in(const struct dev_pmem *p, const struct dev_io *io)
{
    int err = p->read_only ? -EROFS : copy(p, io);

    if (!err && !p->is_pmem && (io->flags & DEV_DSYNC) && pmem_msync(p->mem + io->off_bytes, io->len_bytes) != 0)
        err = -errno;
    return err;
}

static int flush(const struct dev_pmem *p)
{
    if (p->is_pmem || p->read_only)
        return 0;
    return pmem_msync(p->mem, p->mapped_bytes) != 0 ? -errno : 0;
}

static int carry_out(const struct dev_pmem *p, const struct dev_io *io)
{
    switch (io->priv.op) {
    case DEV_READ:
        return copy(p, io);
    case DEV_WRITE:
        return write_in(p, io);
    case DEV_FLUSH:
        return flush(p);
    case DEV_DISCARD:
    case DEV_OP_NR:
        break;
    }
    return -EOPNOTSUPP;
}

static void pmem_submit(struct dev *d, struct dev_io *io)
{
    dev_io_done_later(d, io, carry_out(container_of(d, struct dev_pmem, dev), io));
}

static void pmem_close(struct dev *d)
{
    struct dev_pmem *p = container_of(d, struct dev_pmem, dev);

    if (p->read_only)
        munmap(p->mem, p->mapped_bytes);
    else
        pmem_unmap(p->mem, p->mapped_bytes);
    free(p);
}

static const struct dev_ops pmem_ops = {.name = "pmem", .submit = pmem_submit, .close = pmem_close};

/* libpmem maps for writing only. */
static int map_read_only(struct dev_pmem *p, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
    struct stat st;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
        close(fd);
        return -EINVAL;
    }
    p->mapped_bytes = (size_t)st.st_size;
    p->mem = mmap(NULL, p->mapped_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (p->mem == MAP_FAILED)
        err = -errno;
    close(fd);
    return err;
}

static int map(struct dev_pmem *p, const char *path)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, catch_sigbus);
    if (p->read_only)
        return map_read_only(p, path);
    p->mem = pmem_map_file(path, 0, 0, 0, &p->mapped_bytes, &p->is_pmem);
    return p->mem == NULL ? -errno : 0;
}

int dev_pmem_open(struct env *env, const char *path, const struct dev_open_opts *opts, struct dev **out,
                  char why[static 256])
{
    struct dev_pmem *p = calloc(1, sizeof(*p));
    int err;

    if (p == NULL) {
        snprintf(why, 256, "out of memory");
        return -ENOMEM;
    }
    dev_init(&p->dev, &pmem_ops, env, path);
    p->read_only = opts->read_only;
    err = map(p, path);
    if (err) {
        snprintf(why, 256, "%.128s: cannot be mapped: %s", path, err_text(err));
        free(p);
        return err;
    }
    p->dev.caps = (struct dev_caps){.size_bytes = ROUND_DOWN((uint64_t)p->mapped_bytes, BLOCK_BYTES),
                                    .block_bytes = BLOCK_BYTES,
                                    .align_bytes = 1,
                                    .iov_max = IOV_MAX,
                                    .byte_addressable = true};
    if (p->dev.caps.size_bytes == 0) {
        snprintf(why, 256, "%.128s: smaller than one block", path);
        pmem_close(&p->dev);
        return -ENOSPC;
    }
    *out = &p->dev;
    return 0;
}
