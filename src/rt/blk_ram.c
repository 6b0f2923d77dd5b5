/* SPDX-License-Identifier: Apache-2.0 */
/* blk_ram.c: a logical block device over anonymous memory. The copy happens inside submit, the callback from a deferred
 * task; so requests are carried out in the order of submission, each whole. Never touched pages cost nothing and read as
 * zeros.
 */
#include "rt/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

struct blk_ram {
    struct blk blk;
    char      *mem;
    size_t     mem_bytes;
};

static void copy_out(const char *from, const struct blk_io *io)
{
    for (int i = 0; i < io->iovcnt; from += io->iov[i].iov_len, i++)
        memcpy(io->iov[i].iov_base, from, io->iov[i].iov_len);
}

static void copy_in(char *to, const struct blk_io *io)
{
    for (int i = 0; i < io->iovcnt; to += io->iov[i].iov_len, i++)
        memcpy(to, io->iov[i].iov_base, io->iov[i].iov_len);
}

/* Whole pages go back to the kernel, which gives zeros the next time; the ragged ends are cleared by hand. */
static void zero(char *p, size_t len)
{
    char *lo = (char *)ROUND_UP((uintptr_t)p, (uintptr_t)BLOCK_BYTES);
    char *hi = (char *)ROUND_DOWN((uintptr_t)p + len, (uintptr_t)BLOCK_BYTES);

    if (lo >= hi || madvise(lo, (size_t)(hi - lo), MADV_DONTNEED) != 0) {
        memset(p, 0, len);
        return;
    }
    memset(p, 0, (size_t)(lo - p));
    memset(hi, 0, (size_t)(p + len - hi));
}

static void ram_done(struct env_task *task)
{
    struct blk_io *io = container_of(task, struct blk_io, priv.task);

    blk_io_done(io->priv.blk, io, 0);
}

static void ram_submit(struct blk *b, struct blk_io *io)
{
    struct blk_ram *r = container_of(b, struct blk_ram, blk);
    char *at = r->mem + io->lba * b->lba_bytes;

    switch (io->op) {
    case BLK_READ:
        copy_out(at, io);
        break;
    case BLK_WRITE:
        copy_in(at, io);
        break;
    case BLK_WRITE_ZEROES:
    case BLK_DISCARD:
        zero(at, (size_t)io->nlb * b->lba_bytes);
        break;
    case BLK_FLUSH:
        break;
    case BLK_OP_NR:
        assert(io->op < BLK_OP_NR); /* blk_submit() lets no such request through */
    }
    io->priv.task.fn = ram_done;
    env_defer(b->env, &io->priv.task);
}

static const struct blk_ops ram_ops = {.name = "ram", .submit = ram_submit};

int blk_ram_new(struct env *env, uint32_t lba_bytes, uint64_t size_bytes, struct blk **out)
{
    struct blk_ram *r;

    if (size_bytes < lba_bytes || size_bytes % lba_bytes != 0 || size_bytes > SIZE_MAX / 2)
        return -FIRN_E_INVALID;
    r = calloc(1, sizeof(*r));
    if (r == NULL)
        return -ENOMEM;
    r->mem_bytes = (size_t)ROUND_UP(size_bytes, BLOCK_BYTES);
    r->mem = mmap(NULL, r->mem_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r->mem == MAP_FAILED) {
        free(r);
        return -ENOMEM;
    }
    blk_init(&r->blk, &ram_ops, env, lba_bytes, size_bytes / lba_bytes);
    *out = &r->blk;
    return 0;
}

void blk_ram_free(struct blk *b)
{
    struct blk_ram *r = container_of(b, struct blk_ram, blk);

    assert(b->ops == &ram_ops && b->in_flight == 0);
    munmap(r->mem, r->mem_bytes);
    free(r);
}
