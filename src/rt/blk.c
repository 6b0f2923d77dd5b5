/* SPDX-License-Identifier: Apache-2.0 */
/* blk.c: the checks that every logical block device shares, and its watchers.
 *
 * What arrives here began as a host's command, so nothing of it is asserted on: a request outside the device, or of a
 * shape that the contract forbids, completes with an error and never reaches the implementation.
 */
#include "rt/blk.h"

#include "base/limits.h"

void blk_init(struct blk *b, const struct blk_ops *ops, struct env *env, uint32_t lba_bytes, uint64_t size_lba)
{
    assert(lba_bytes == 512 || lba_bytes == BLOCK_BYTES);
    *b = (struct blk){.ops = ops, .env = env, .lba_bytes = lba_bytes, .size_lba = size_lba, .max_io_bytes = MDTS_BYTES};
    list_init(&b->watchers);
    list_init(&b->untold);
}

static int check_data(const struct blk *b, const struct blk_io *io)
{
    uint64_t want = (uint64_t)io->nlb * b->lba_bytes, sum = 0;

    if (want > b->max_io_bytes || io->iovcnt < 1 || io->iovcnt > BLK_IOV_MAX)
        return -FIRN_E_INVALID;
    if (io->crc != NULL && b->lba_bytes != BLOCK_BYTES)
        return -FIRN_E_INVALID;
    for (int i = 0; i < io->iovcnt; i++) {
        if ((uintptr_t)io->iov[i].iov_base % BLOCK_BYTES != 0)
            return -FIRN_E_INVALID;
        if (i + 1 < io->iovcnt && io->iov[i].iov_len % BLOCK_BYTES != 0)
            return -FIRN_E_INVALID;
        sum += io->iov[i].iov_len;
    }
    return sum == want ? 0 : -FIRN_E_INVALID;
}

static int check_request(const struct blk *b, const struct blk_io *io)
{
    if (io->op >= BLK_OP_NR)
        return -FIRN_E_INVALID;
    if (io->op == BLK_FLUSH)
        return 0;
    if (io->nlb == 0)
        return -FIRN_E_INVALID;
    if (io->lba >= b->size_lba || io->nlb > b->size_lba - io->lba)
        return -FIRN_E_RANGE;
    return io->op == BLK_READ || io->op == BLK_WRITE ? check_data(b, io) : 0;
}

static void refuse_task(struct env_task *task)
{
    struct blk_io *io = container_of(task, struct blk_io, priv.task);

    blk_io_done(io->priv.blk, io, io->err);
}

void blk_submit(struct blk *b, struct blk_io *io)
{
    assert(io->cb != NULL);
    io->err = check_request(b, io);
    io->err_lba = io->lba;
    io->priv.blk = b;
    io->priv.task.queued = false;
    io->priv.start_ns = env_now_ns(b->env);
    list_init(&io->priv.node);
    b->in_flight++;
    if (io->err == 0) {
        b->ops->submit(b, io);
        return;
    }
    io->priv.task.fn = refuse_task;
    env_defer(b->env, &io->priv.task);
}

void blk_cancel(struct blk *b, struct blk_io *io)
{
    assert(b->in_flight > 0 || io->priv.blk != b);
    if (b->ops->cancel)
        b->ops->cancel(b, io);
}

void blk_io_done(struct blk *b, struct blk_io *io, int err)
{
    assert(err <= 0 && b->in_flight > 0 && io->priv.blk == b);
    b->in_flight--;
    io->err = err;
    io->cb(io);
}

void blk_watch_add(struct blk *b, struct blk_watch *w)
{
    assert(w->cb != NULL);
    list_push_back(&b->watchers, &w->node);
}

void blk_watch_remove(struct blk_watch *w)
{
    list_remove(&w->node);
}

/* A watcher may remove itself or any other while it is told. */
void blk_notify(struct blk *b, enum blk_event ev)
{
    struct list *n;

    list_splice_back(&b->untold, &b->watchers);
    while ((n = list_pop_front(&b->untold)) != NULL) {
        struct blk_watch *w = list_entry(n, struct blk_watch, node);

        list_push_back(&b->watchers, n);
        w->cb(w, ev);
    }
}
