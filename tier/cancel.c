/* SPDX-License-Identifier: Apache-2.0 */
/* cancel.c: nobody wants the answer of a request any more: a fence, a reset or a deletion waits for it.
 *
 * 1. A request that waits says so in itself (enum io_at): in one of the shard's queues, for its range of blocks, for a run, or for slots.
 * 2. If nothing of it has begun it leaves what it waits in, and is answered from the loop with -FIRN_E_CANCELED: the wait for
 *    dirt to fall lasts as long as the capacity devices take, for ever if one hangs.
 * 3. A record that was appended and has no group yet is taken back from the log, which answers it: groups wait while the SSD or
 *    the metadata does not answer. The parts of a change of 512 bytes stay: they stand for each other.
 * 4. What is in a group, or is being read, ends as ever: its buffers are in use.
 * The pass that answers it lets those behind it go on.
 */
#include "tier/gate.h"
#include "tier/priv.h"
#include "tier/read.h"
#include "tier/rmw.h"
#include "tier/write.h"

void io_wait(struct shard *s, struct waits *q, struct blk_io *io)
{
    io_set_at(io, IO_WAITS, q);
    waits_add(q, io);
    s->nr_waiting++;
}

void io_wait_over(struct shard *s, struct blk_io *io)
{
    assert(io->priv.u[0] == IO_WAITS && s->nr_waiting > 0);
    waits_remove(io->priv.p[0], io);
    io_set_at(io, IO_BEGUN, NULL);
    s->nr_waiting--;
}

static void zeroes_canceled(struct shard *s, struct blk_io *io)
{
    struct zio *z = io->priv.p[0];

    if (!zero_cancel(z)) {
        (void)journal_append_cancel(s->j, &z->app); /* false of one that is being applied */
        return;
    }
    pool_put(&s->zios, z);
    io_set_at(io, IO_BEGUN, NULL);
    shard_io_later(s, io, -FIRN_E_CANCELED);
}

void shard_cancel(struct shard *s, struct blk_io *io)
{
    if (io->err != 0) /* it is being answered; or blk_submit() refused it, and nobody here has set its place */
        return;
    switch ((enum io_at)io->priv.u[0]) {
    case IO_BEGUN:
        return;
    case IO_WAITS:
        io_wait_over(s, io);
        shard_io_later(s, io, -FIRN_E_CANCELED);
        return;
    case IO_READ:
        read_cancel(io->priv.p[0]);
        return;
    case IO_RMW:
        rmw_cancel(io->priv.p[0]);
        return;
    case IO_ZERO:
        zeroes_canceled(s, io);
        return;
    case IO_LOG: { /* if it can be taken back, the log answers it */
        struct wio *w = io->priv.p[0];

        (void)journal_append_cancel(s->j, &w->app);
        return;
    }
    }
    assert(false); /* no other place is ever set */
}
