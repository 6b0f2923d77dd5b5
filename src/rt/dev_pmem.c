/* SPDX-License-Identifier: Apache-2.0 */
/* dev_pmem.c: persistent memory, or a file that stands for it, mapped by libpmem.
 *
 * A request is a copy, done inside submit; its callback comes from a deferred task. On real persistent memory every
 * write is made persistent by the copy itself, since a flush on another thread's dev could not drain this CPU's stores. On an
 * ordinary file (tests; any machine) a DSYNC write syncs its range and a flush syncs the whole mapping: the call blocks.
 * Failures: msync's error is the request's.
 */
#include "rt/dev.h"

#include "rt/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <libpmem.h>
#include <limits.h>
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

static void copy_out(const char *from, const struct dev_io *io)
{
    for (int i = 0; i < io->iovcnt; from += io->iov[i].iov_len, i++)
        memcpy(io->iov[i].iov_base, from, io->iov[i].iov_len);
}

static int copy_in(const struct dev_pmem *p, char *to, const struct dev_io *io)
{
    char *at = to;

    if (p->read_only)
        return -EROFS;
    for (int i = 0; i < io->iovcnt; at += io->iov[i].iov_len, i++)
        if (p->is_pmem)
            pmem_memcpy_nodrain(at, io->iov[i].iov_base, io->iov[i].iov_len);
        else
            memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
    if (p->is_pmem)
        pmem_drain();
    else if ((io->flags & DEV_DSYNC) && pmem_msync(to, io->len_bytes) != 0)
        return -errno;
    return 0;
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
        copy_out(p->mem + io->off_bytes, io);
        return 0;
    case DEV_WRITE:
        return copy_in(p, p->mem + io->off_bytes, io);
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
