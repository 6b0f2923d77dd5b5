/* SPDX-License-Identifier: Apache-2.0 */
/* dev_uring.c: a block device or a regular file through the reactor's ring.
 *
 * A request is one SQE: READ, WRITE (with RWF_DSYNC when asked), FSYNC (data only), or FALLOCATE for a discard, which
 * punches a hole in a file and unmaps on a block device. Opened with O_DIRECT, so the page cache holds nothing back.
 * Failures: EINTR and EAGAIN are asked again, for AGAIN_NS; a short transfer goes on with the rest, one element at a time;
 * a transfer of nothing (the file was cut under us) is an I/O error.
 */
#include "rt/dev.h"

#include "base/limits.h"
#include "rt/priv.h"
#include "rt/reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct dev_uring {
    struct dev      dev;
    struct reactor *reactor;
    int             fd;
    bool            quick;   /* durable writes end in the interrupt; else in a kernel thread, after a flush */
};

/* EINTR and EAGAIN are the kernel's troubles, not the device's, and pass; one that lasts so long is an error like any other. */
#define AGAIN_NS (5 * NS_PER_S)

static bool ask_again(const struct dev *d, const struct dev_io *io, int res)
{
    /* Not so for a flush: one that did not say yes may have lost pages already, and a second would not tell. */
    return (res == -EINTR || res == -EAGAIN) && io->priv.op != DEV_FLUSH && env_now_ns(d->env) - io->priv.start_ns < AGAIN_NS;
}

static void uring_done(struct reactor_op *op, int res, uint32_t cqe_flags);

static bool needs_thread(const struct dev_uring *u, const struct dev_io *io)
{
    return io->priv.op == DEV_FLUSH || (!u->quick && (io->flags & DEV_DSYNC));
}

static struct io_uring_sqe *sqe_for(struct dev_uring *u, struct dev_io *io)
{
    io->priv.ring.done = uring_done;
    reactor_io_begin(u->reactor, needs_thread(u, io));
    return reactor_sqe(u->reactor, &io->priv.ring);
}

/* What is left of the element in which the transfer stopped. */
static void rest_find(struct dev_io *io)
{
    uint64_t skip = io->priv.done_bytes;
    int i = 0;

    while (skip >= io->iov[i].iov_len)
        skip -= io->iov[i++].iov_len;
    io->priv.rest = (struct iovec){(char *)io->iov[i].iov_base + skip, io->iov[i].iov_len - skip};
}

/* Submits the transfer from done_bytes on. */
static void transfer(struct dev_uring *u, struct dev_io *io)
{
    struct io_uring_sqe *sqe = sqe_for(u, io);
    bool write = io->priv.op == DEV_WRITE, vector = io->priv.done_bytes == 0 && io->iovcnt > 1;
    uint64_t off = io->off_bytes + io->priv.done_bytes;
    const void *at = io->iov;
    unsigned len = (unsigned)io->iovcnt;

    if (!vector) {
        rest_find(io);
        at = io->priv.rest.iov_base;
        len = (unsigned)MIN(io->priv.rest.iov_len, (size_t)(INT_MAX & ~(BLOCK_BYTES - 1)));
    }
    if (write)
        io_uring_prep_rw(vector ? IORING_OP_WRITEV : IORING_OP_WRITE, sqe, u->fd, at, len, off);
    else
        io_uring_prep_rw(vector ? IORING_OP_READV : IORING_OP_READ, sqe, u->fd, at, len, off);
    if (io->flags & DEV_DSYNC)
        sqe->rw_flags = RWF_DSYNC;
}

static void uring_submit(struct dev *d, struct dev_io *io)
{
    struct dev_uring *u = container_of(d, struct dev_uring, dev);

    switch (io->priv.op) {
    case DEV_READ:
    case DEV_WRITE:
        transfer(u, io);
        break;
    case DEV_FLUSH:
        io_uring_prep_fsync(sqe_for(u, io), u->fd, IORING_FSYNC_DATASYNC);
        break;
    case DEV_DISCARD: {
        struct io_uring_sqe *sqe = sqe_for(u, io);

        io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, u->fd, NULL, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, io->off_bytes);
        sqe->addr = io->len_bytes;
        break;
    }
    case DEV_OP_NR:
        assert(io->priv.op < DEV_OP_NR);
    }
}

static void uring_done(struct reactor_op *op, int res, uint32_t cqe_flags)
{
    struct dev_io *io = container_of(op, struct dev_io, priv.ring);
    struct dev *d = io->priv.dev;
    bool moves = io->priv.op == DEV_READ || io->priv.op == DEV_WRITE;

    (void)cqe_flags;
    reactor_io_end(container_of(d, struct dev_uring, dev)->reactor, needs_thread(container_of(d, struct dev_uring, dev), io));
    if (ask_again(d, io, res)) {
        uring_submit(d, io);
        return;
    }
    if (res < 0 || !moves) {
        dev_io_done(d, io, MIN(res, 0));
        return;
    }
    io->priv.done_bytes += (uint64_t)res;
    assert(io->priv.done_bytes <= io->len_bytes);
    if (io->priv.done_bytes == io->len_bytes)
        dev_io_done(d, io, 0);
    else if (res == 0)
        dev_io_done(d, io, -EIO);
    else
        uring_submit(d, io);
}

static void uring_close(struct dev *d)
{
    struct dev_uring *u = container_of(d, struct dev_uring, dev);

    close(u->fd);
    free(u);
}

static const struct dev_ops uring_ops = {.name = "uring", .submit = uring_submit, .close = uring_close};

/* ---- what the kernel says about the device ------------------------------------------------------------------------- */

/* The line in /sys/dev/block/MAJ:MIN/queue/FILE; of a partition, from its disk. Empty: not there. */
static void queue_text(dev_t dev, const char *file, char text[static 64])
{
    static const char *const dirs[] = {"queue", "../queue"};
    char path[128];

    text[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(dirs) && text[0] == 0; i++) {
        FILE *f;

        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(dev), minor(dev), dirs[i], file);
        f = fopen(path, "re");
        if (f == NULL)
            continue;
        if (fgets(text, 64, f) == NULL)
            text[0] = 0;
        fclose(f);
    }
}

static long queue_number(dev_t dev, const char *file) /* -1: not there */
{
    char text[64], *end;
    long v;

    queue_text(dev, file, text);
    v = strtol(text, &end, 10);
    return end == text ? -1 : v;
}

/* Nothing to flush, or the write itself can carry the order to be durable. */
static bool durable_in_interrupt(dev_t dev)
{
    char text[64];

    queue_text(dev, "write_cache", text);
    return strncmp(text, "write through", 13) == 0 || queue_number(dev, "fua") == 1;
}

static int caps_of_block_device(struct dev_uring *u, const struct stat *st)
{
    struct dev_caps *c = &u->dev.caps;
    int block;

    if (ioctl(u->fd, BLKGETSIZE64, &c->size_bytes) != 0 || ioctl(u->fd, BLKSSZGET, &block) != 0)
        return -errno;
    if (block != 512 && block != (int)BLOCK_BYTES)
        return -EINVAL;
    c->block_bytes = (uint32_t)block;
    c->align_bytes = (uint32_t)block;
    c->rotational = queue_number(st->st_rdev, "rotational") == 1;
    c->discard = queue_number(st->st_rdev, "discard_max_bytes") > 0;
    return 0;
}

/* A file's own alignment rule, where the kernel tells it; 4096 suits every file system. */
static void caps_of_file(struct dev_uring *u, const struct stat *st)
{
    struct dev_caps *c = &u->dev.caps;

    c->block_bytes = BLOCK_BYTES;
    c->align_bytes = BLOCK_BYTES;
#ifdef STATX_DIOALIGN
    struct statx sx;

    if (statx(u->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 && (sx.stx_mask & STATX_DIOALIGN) &&
        sx.stx_dio_mem_align > 0)
        c->align_bytes = MIN(MAX(sx.stx_dio_mem_align, 512u), BLOCK_BYTES);
#endif
    c->size_bytes = ROUND_DOWN((uint64_t)st->st_size, BLOCK_BYTES);
    c->rotational = queue_number(st->st_dev, "rotational") == 1;
    c->discard = true;
}

static int caps_find(struct dev_uring *u, const struct dev_open_opts *opts)
{
    struct stat st;
    int err = 0;

    if (fstat(u->fd, &st) != 0)
        return -errno;
    if (S_ISBLK(st.st_mode))
        err = caps_of_block_device(u, &st);
    else
        caps_of_file(u, &st);
    u->quick = !opts->buffered && durable_in_interrupt(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev);
    if (opts->buffered)
        u->dev.caps.align_bytes = 1;
    u->dev.caps.iov_max = IOV_MAX;
    return err || u->dev.caps.size_bytes > 0 ? err : -ENOSPC;
}

/* Looked at before it is opened: opening a tape or a terminal may do something. */
static int open_fd(const char *path, const struct dev_open_opts *opts)
{
    int flags = O_CLOEXEC | (opts->read_only ? O_RDONLY : O_RDWR) | (opts->buffered ? 0 : O_DIRECT);
    struct stat st;
    int fd;

    if (stat(path, &st) != 0)
        return -errno;
    if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
        return -ENOTBLK;
    fd = open(path, flags);
    return fd < 0 ? -errno : fd;
}

static const char *open_hint(int err, const struct dev_open_opts *opts)
{
    if (err == -ENOTBLK)
        return " (neither a block device nor a regular file)";
    if (err == -ENOSPC)
        return " (it has no size: make the file as large as the device is to be)";
    if (err == -EINVAL && !opts->buffered)
        return " (the file system refuses O_DIRECT, or the device's blocks are neither 512 nor 4096 bytes)";
    return "";
}

int dev_open(struct env *env, const char *path, const struct dev_open_opts *opts, struct dev **out, char why[static 256])
{
    struct dev_uring *u;
    int err;

    if (opts->pmem)
        return dev_pmem_open(env, path, opts, out, why);
    u = calloc(1, sizeof(*u));
    if (u == NULL) {
        snprintf(why, 256, "out of memory");
        return -ENOMEM;
    }
    dev_init(&u->dev, &uring_ops, env, path);
    u->reactor = reactor_of_env(env);
    u->fd = open_fd(path, opts);
    err = u->fd < 0 ? u->fd : caps_find(u, opts);
    if (err) {
        snprintf(why, 256, "%.128s: %s%s", path, err_text(err), open_hint(err, opts));
        if (u->fd >= 0)
            close(u->fd);
        free(u);
        return err;
    }
    *out = &u->dev;
    return 0;
}
