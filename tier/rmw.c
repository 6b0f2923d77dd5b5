/* SPDX-License-Identifier: Apache-2.0 */
/* rmw.c: volumes with 512-byte lbas over a log of 4 KiB blocks.
 *
 * A request of whole blocks goes straight on. Else it has a buffer:
 *   read: whole blocks into the buffer, the wanted bytes out of it.
 *   write: the blocks that it covers in part are read, its bytes laid over them, all its blocks appended as one record:
 *     so a block is old or new, whole, also after a crash.
 *   write zeroes, discard: the partial blocks at the ends as writes, what lies between as a zeroed range.
 * A write or zeroed range holds its blocks, in order of arrival, against every other one of the layer: nothing that was
 * merged can be stale when it is appended.
 * Failure: what cannot be read cannot be merged: the request fails with the read's error and changes nothing.
 */
#include "tier/bypass.h"
#include "tier/fetch.h"
#include "tier/gate.h"
#include "tier/priv.h"
#include "tier/read.h"
#include "tier/rmw.h"
#include "tier/write.h"

#define LBA_BYTES     512u
#define LBAS_PER_BLOCK (BLOCK_BYTES / LBA_BYTES)

bool rmw_needs_buffer(const struct blk_io *io) { return io->lba % LBAS_PER_BLOCK != 0 || io->nlb % LBAS_PER_BLOCK != 0; }

/* ---- who may touch which blocks ---- */

static bool overlaps(const struct range_lock *a, const struct range_lock *b) { return a->first <= b->last && b->first <= a->last; }

static bool may_hold(const struct list *ranges, const struct range_lock *l)
{
    list_for_each(n, ranges) {
        const struct range_lock *o = list_entry(n, struct range_lock, node);

        if (o == l)
            return true;
        if (overlaps(o, l))
            return false;
    }
    return true;
}

uint64_t rmw_devs_before(const struct shard *s, uint32_t layer, uint64_t first, uint64_t last)
{
    struct range_lock l = {.first = first, .last = last};
    uint64_t devs = 0;

    list_for_each(n, &layer_at(s, layer)->ranges) {
        const struct range_lock *o = list_entry(n, struct range_lock, node);

        if (overlaps(o, &l))
            devs |= container_of(o, const struct rmw, lock)->hold.devs;
    }
    return devs;
}

static void ranges_grant(struct shard *s, struct list *ranges)
{
    list_for_each_safe(n, tmp, ranges) {
        struct range_lock *l = list_entry(n, struct range_lock, node);

        if (!l->granted && (s->bugs.rmw_unlocked || may_hold(ranges, l))) {
            l->granted = true;
            l->fn(l);
        }
    }
}

/* ---- the end ---- */

static void rmw_over(struct rmw *m)
{
    struct shard *s = m->s;
    struct blk_io *io = m->io;
    struct layer *l = layer_at(s, m->layer);
    int err = m->err;

    if (io->op == BLK_READ) {
        io->err_lba = MAX(io->lba, m->err_block * LBAS_PER_BLOCK);
        figure_add(&s->stats.read_ops, err == 0);
        figure_add(&s->stats.read_errors, err != 0 && err != -FIRN_E_CANCELED);
    } else {
        write_count(s, io, err);
        list_remove(&m->lock.node);
        if (list_empty(&l->changed))
            list_push_back(&s->ranges_changed, &l->changed);
    }
    hold_end(s, &m->hold);
    if (m->buf != NULL)
        pool_put(&s->rmw_bufs, m->buf);
    pool_put(&s->rmws, m);
    io_set_at(io, IO_BEGUN, NULL);
    shard_io_later(s, io, err); /* this may run inside the submission */
}

static void rmw_part_done(struct rmw *m, int err)
{
    if (err != 0 && m->err == 0)
        m->err = err;
    assert(m->pending > 0);
    if (--m->pending == 0)
        m->next(m);
}

/* ---- parts ---- */

static void part_read(struct rio *r)
{
    struct rmw *m = r->ctx;

    if (r->err != 0)
        m->err_block = r->err_block;
    rmw_part_done(m, r->err);
}

static void part_written(struct wio *w, int err) { rmw_part_done(w->ctx, err); }
static void part_zeroed(struct zio *z, int err) { rmw_part_done(z->ctx, err); }

static void start_read(struct rmw *m, int i, uint64_t block, uint32_t n, const struct iovec *iov, int iovcnt, const struct ahead *a)
{
    m->pending++;
    m->rio[i].cb = part_read;
    m->rio[i].ctx = m;
    m->rio[i].hold = &m->hold;
    m->rio[i].ahead_end = a->end;
    m->rio[i].stream_blocks = a->stream_blocks;
    read_blocks(m->s, &m->rio[i], m->layer, block, n, iov, iovcnt);
}

static void start_write(struct rmw *m, int i, uint64_t block, uint32_t n, const struct iovec *iov, int iovcnt)
{
    int err;

    m->pending++;
    m->wio[i].cb = part_written;
    m->wio[i].ctx = m;
    m->wio[i].past = m->buf != NULL ? 0 : io_past(m->io);
    err = write_blocks(m->s, &m->wio[i], m->layer, block, n, iov, iovcnt, NULL);
    if (err != 0)
        rmw_part_done(m, err);
}

static void start_zero(struct rmw *m, uint64_t block, uint64_t n)
{
    int err;

    m->pending++;
    m->zio.cb = part_zeroed;
    m->zio.ctx = m;
    err = zero_blocks(m->s, &m->zio, m->layer, block, n);
    if (err != 0)
        rmw_part_done(m, err);
}

/* Copies the request's bytes between its iov and the buffer. */
static void copy_bytes(const struct rmw *m, bool to_buf)
{
    char *p = (char *)m->buf + m->head_bytes;

    for (int i = 0; i < m->io->iovcnt; i++) {
        const struct iovec *v = &m->io->iov[i];

        memcpy(to_buf ? p : v->iov_base, to_buf ? v->iov_base : p, v->iov_len);
        p += v->iov_len;
    }
}

/* ---- read ---- */

static void read_finish(struct rmw *m)
{
    if (m->err == 0 && m->buf != NULL)
        copy_bytes(m, false);
    rmw_over(m);
}

static void whole_read(struct rmw *m)
{
    struct ahead a = fetch_plan_ahead(m->s, m->layer, m->block, m->nblocks);

    m->next = read_finish;
    if (m->buf == NULL) {
        start_read(m, 0, m->block, (uint32_t)m->nblocks, m->io->iov, m->io->iovcnt, &a);
    } else {
        m->iov[0] = (struct iovec){m->buf, m->nblocks * BLOCK_BYTES};
        start_read(m, 0, m->block, (uint32_t)m->nblocks, m->iov, 1, &a);
    }
    fetch_ahead(m->s, m->layer, &a);
}

/* ---- write, write zeroes ---- */

static uint32_t tail_bytes(const struct rmw *m)
{
    return (uint32_t)((m->head_bytes + (uint64_t)m->io->nlb * LBA_BYTES) % BLOCK_BYTES);
}

/* Where the buffer holds the last block: behind all others (write), or in the second block (zeroes need only the ends). */
static char *tail_at(const struct rmw *m)
{
    uint64_t i = m->nblocks == 1 ? 0 : m->io->op == BLK_WRITE ? m->nblocks - 1 : 1;

    return (char *)m->buf + i * BLOCK_BYTES;
}

static void write_merged(struct rmw *m)
{
    hold_end(m->s, &m->hold); /* from here on it is in the log's hands */
    m->next = rmw_over;
    if (m->err != 0) {
        rmw_over(m);
        return;
    }
    copy_bytes(m, true);
    m->iov[0] = (struct iovec){m->buf, m->nblocks * BLOCK_BYTES};
    start_write(m, 0, m->block, (uint32_t)m->nblocks, m->iov, 1);
}

static void zero_ends(struct rmw *m)
{
    uint64_t end = m->nblocks == 1 ? 0 : 1;
    uint32_t tail = tail_bytes(m);

    memset((char *)m->buf + m->head_bytes, 0, (m->nblocks == 1 && tail != 0 ? tail : BLOCK_BYTES) - m->head_bytes);
    if (end == 1 && tail != 0)
        memset(tail_at(m), 0, tail);
}

static void zero_merged(struct rmw *m)
{
    bool head = m->head_bytes != 0 || m->nblocks == 1, tail = m->nblocks > 1 && tail_bytes(m) != 0;
    uint64_t middle = m->nblocks - head - tail;

    hold_end(m->s, &m->hold);
    m->next = rmw_over;
    if (m->err != 0) {
        rmw_over(m);
        return;
    }
    zero_ends(m);
    m->pending++; /* none of the parts ends the request before all have been started */
    if (head) {
        m->iov[0] = (struct iovec){m->buf, BLOCK_BYTES};
        start_write(m, 0, m->block, 1, &m->iov[0], 1);
    }
    if (tail) {
        m->iov[1] = (struct iovec){tail_at(m), BLOCK_BYTES};
        start_write(m, 1, m->block + m->nblocks - 1, 1, &m->iov[1], 1);
    }
    if (middle > 0)
        start_zero(m, m->block + head, middle);
    rmw_part_done(m, 0);
}

/* Reads the blocks that the request covers in part. */
static void merge_start(struct rmw *m)
{
    static const struct ahead alone;
    bool tail = tail_bytes(m) != 0, one = m->nblocks == 1;

    m->next = m->io->op == BLK_WRITE ? write_merged : zero_merged;
    m->pending++;
    if (m->head_bytes != 0 || one) {
        m->iov[0] = (struct iovec){m->buf, BLOCK_BYTES};
        start_read(m, 0, m->block, 1, &m->iov[0], 1, &alone);
    }
    if (tail && !one) {
        m->iov[1] = (struct iovec){tail_at(m), BLOCK_BYTES};
        start_read(m, 1, m->block + m->nblocks - 1, 1, &m->iov[1], 1, &alone);
    }
    rmw_part_done(m, 0);
}

static void change_start(struct range_lock *l)
{
    struct rmw *m = container_of(l, struct rmw, lock);

    m->next = rmw_over;
    if (m->buf != NULL) {
        figure_add(&m->s->stats.rmw_ops, 1);
        merge_start(m);
    } else if (m->io->op == BLK_WRITE) {
        start_write(m, 0, m->block, (uint32_t)m->nblocks, m->io->iov, m->io->iovcnt);
    } else {
        start_zero(m, m->block, m->nblocks);
    }
}

void rmw_start(struct shard *s, uint32_t layer, struct blk_io *io, unsigned kinds, uint64_t devs)
{
    struct rmw *m = pool_get(&s->rmws);
    struct list *ranges = &layer_at(s, layer)->ranges;

    m->s = s;
    m->io = io;
    m->layer = layer;
    m->block = io->lba / LBAS_PER_BLOCK;
    m->head_bytes = (uint32_t)(io->lba % LBAS_PER_BLOCK * LBA_BYTES);
    m->nblocks = (m->head_bytes + (uint64_t)io->nlb * LBA_BYTES + BLOCK_BYTES - 1) / BLOCK_BYTES;
    m->buf = rmw_needs_buffer(io) ? pool_get(&s->rmw_bufs) : NULL;
    m->err = 0;
    m->pending = 0;
    hold_begin(s, &m->hold, kinds, devs);
    io_set_at(io, IO_RMW, m);
    if (io->op == BLK_READ) {
        whole_read(m);
    } else {
        m->lock = (struct range_lock){.first = m->block, .last = m->block + m->nblocks - 1, .fn = change_start};
        list_push_back(ranges, &m->lock.node);
        if (s->bugs.rmw_unlocked || may_hold(ranges, &m->lock)) {
            m->lock.granted = true;
            change_start(&m->lock);
        }
    }
}

/* A change that waits for its range has begun nothing; nor has a zeroed range that waits for slots and has no blocks to merge. What is
 * to be read and waits for a run is not read: the request ends with its parts. */
void rmw_cancel(struct rmw *m)
{
    bool change = m->io->op != BLK_READ, only_zeroes = m->buf == NULL && m->io->op != BLK_WRITE;

    if (change && (!m->lock.granted || (only_zeroes && zero_cancel(&m->zio)))) {
        m->err = -FIRN_E_CANCELED;
        rmw_over(m);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(m->rio); i++)
        read_cancel(&m->rio[i]);
}

/* Ranges were given up: those behind them may go on. From the loop. */
void rmws_resume(struct shard *s)
{
    struct list *n;

    while ((n = list_pop_front(&s->ranges_changed)) != NULL)
        ranges_grant(s, &list_entry(n, struct layer, changed)->ranges);
}
