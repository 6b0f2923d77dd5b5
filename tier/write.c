/* SPDX-License-Identifier: Apache-2.0 */
/* write.c: a host's write.
 *
 * 1. It waits its turn (gate.c): for dirt below its limit, room in the share of the device on which its extents lie, and a wio from the
 *    pool.
 * 2. Its extents get nodes, and a reservation each if they have no place: what is acknowledged can always settle.
 * 3. Checksums bound to the address, from the digest pass if the target made one.
 * 4. One record is appended to the log's HOST stream; or, of a long stream, the capacity device takes the blocks first (bypass.c).
 * 5. In the append's callback (durable, in seq order) each block enters the index, dirty; then the host is answered.
 * Failures: no space for a new extent is answered at once and changes nothing (overwrites go on); a failed append
 * leaves the index as it was; a hung or failed journal device fails new writes instead of holding them.
 */
#include "base/crc32c.h"
#include "tier/bypass.h"
#include "tier/gate.h"
#include "tier/map.h"
#include "tier/priv.h"
#include "tier/write.h"

void *iov_block(const struct iovec *iov, int iovcnt, uint32_t block)
{
    size_t off = (size_t)block * BLOCK_BYTES;

    for (int i = 0; i < iovcnt; i++) {
        if (off < iov[i].iov_len)
            return (char *)iov[i].iov_base + off;
        off -= iov[i].iov_len;
    }
    assert(false); /* a block beyond the request */
    return NULL;
}

void write_indexed(struct shard *s, uint32_t layer, const struct journal_append *a, const uint32_t *csum)
{
    for (uint32_t i = 0; i < a->nblocks; i++) {
        struct index_entry e = {.layer = layer, .block = a->lba + i, .seq = a->seq, .csum = csum[i],
                                .segment = a->loc.segment, .unit = a->loc.unit + i * JOURNAL_UNITS_PER_BLOCK,
                                .flags = INDEX_DIRTY};

        map_put(s, &e);
    }
    map_seg_seq(s, a->loc.segment, a->seq);
}

void write_end(struct wio *w, int err)
{
    struct shard *s = w->s;

    list_remove(&w->node);
    s->writing_blocks -= w->app.nblocks;
    for (uint32_t i = 0; err == 0 && i < w->nr_ext; i++)
        extent_at(&s->xt, w->ext[i])->written_s = (uint32_t)(env_now_ns(s->env) / NS_PER_S);
    if (err == 0)
        trace(TRACE_TIER_WRITE_DONE, w->app.layer, w->app.lba, w->app.seq);
    map_unuse(s, w->ext, w->nr_ext);
    w->cb(w, err);
    shard_kick(s);
}

static void wio_appended(struct journal_append *a)
{
    struct wio *w = container_of(a, struct wio, app);

    if (a->err == 0)
        write_indexed(w->s, w->layer, a, w->csum);
    write_end(w, a->err);
}

int write_blocks(struct shard *s, struct wio *w, uint32_t layer, uint64_t block, uint32_t nblocks,
                 const struct iovec *iov, int iovcnt, const uint32_t *crc)
{
    uint64_t id = layer_at(s, layer)->id;
    int err;

    assert(nblocks >= 1 && nblocks <= IO_BLOCKS_MAX);
    if (s->failed != 0)
        return s->failed;
    if (!dev_usable(s, s->o.journal_dev))
        return -FIRN_E_DEVICE_FAILED;
    if (nblocks > segpool_record_blocks_max(segpool_geometry(s->o.segpool))) /* segments of tests; real ones hold any request */
        return -FIRN_E_INVALID;
    err = map_use(s, layer, block, nblocks, w->ext, &w->nr_ext);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < nblocks; i++)
        w->csum[i] = crc != NULL ? block_csum_of_crc(crc[i], id, block + i)
                                 : block_csum(iov_block(iov, iovcnt, i), id, block + i);
    w->s = s;
    w->layer = layer;
    w->app = (struct journal_append){.type = JOURNAL_WRITE, .stream = JOURNAL_HOST, .layer = id, .lba = block,
                                     .nblocks = nblocks, .iov = iov, .iovcnt = iovcnt, .csum = w->csum, .cb = wio_appended};
    list_push_back(&s->writes, &w->node);
    s->writing_blocks += nblocks;
    trace(TRACE_TIER_WRITE, id, block, nblocks);
    if (!bypass_write(s, w))
        journal_append(s->j, &w->app);
    return 0;
}

void write_count(struct shard *s, const struct blk_io *io, int err)
{
    if (err == -FIRN_E_CANCELED)
        return; /* neither written nor refused */
    if (err == -FIRN_E_NO_SPACE)
        figure_add(&s->stats.write_no_space, 1);
    else if (err != 0)
        figure_add(&s->stats.write_errors, 1);
    else if (io->op == BLK_WRITE)
        figure_add(&s->stats.write_ops, 1);
    else
        figure_add(&s->stats.zero_ops, 1);
}

/* from: the pool that the request's own struct goes back to. */
static void host_done(struct shard *s, struct pool *from, void *own, struct blk_io *io, int err)
{
    io_set_at(io, IO_BEGUN, NULL);
    pool_put(from, own);
    write_count(s, io, err);
    shard_io_done(s, io, err);
}

static void host_written(struct wio *w, int err) { host_done(w->s, &w->s->wios, w, w->ctx, err); }
static void host_zeroed(struct zio *z, int err) { host_done(z->s, &z->s->zios, z, z->ctx, err); }

void write_start(struct shard *s, uint32_t layer, struct blk_io *io)
{
    int err;

    if (io->op == BLK_WRITE) {
        struct wio *w = pool_get(&s->wios);

        w->cb = host_written;
        w->ctx = io;
        w->past = io_past(io);
        err = write_blocks(s, w, layer, io->lba, io->nlb, io->iov, io->iovcnt, io->crc);
        if (err != 0)
            pool_put(&s->wios, w);
        else
            io_set_at(io, IO_LOG, w);
    } else {
        struct zio *z = pool_get(&s->zios);

        z->cb = host_zeroed;
        z->ctx = io;
        err = zero_blocks(s, z, layer, io->lba, io->nlb);
        if (err != 0)
            pool_put(&s->zios, z);
        else
            io_set_at(io, IO_ZERO, z);
    }
    if (err != 0) {
        write_count(s, io, err);
        shard_io_later(s, io, err);
    }
}
