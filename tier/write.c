/* SPDX-License-Identifier: Apache-2.0 */
/* write.c: a host's write.
 *
 * 1. It waits its turn: a wio from the pool, and dirt below its limit, first come first served; then room in the share of the
 *    device on which its extents lie (share.c), behind those that wait for the same device.
 * 2. Its extents get nodes, and a reservation each if they have no place: what is acknowledged can always settle.
 * 3. Checksums bound to the address, from the digest pass if the target made one.
 * 4. One record is appended to the log's HOST stream.
 * 5. In the append's callback (durable, in seq order) each block enters the index, dirty; then the host is answered.
 * Failures: no space for a new extent is answered at once and changes nothing (overwrites go on); a failed append
 * leaves the index as it was; a hung or failed journal device fails new writes instead of holding them.
 */
#include "base/crc32c.h"
#include "tier/priv.h"

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

static void wio_index(struct wio *w)
{
    const struct journal_append *a = &w->app;

    for (uint32_t i = 0; i < a->nblocks; i++) {
        struct index_entry e = {.layer = w->layer, .block = a->lba + i, .seq = a->seq, .csum = w->csum[i],
                                .segment = a->loc.segment, .unit = a->loc.unit + i * JOURNAL_UNITS_PER_BLOCK,
                                .flags = INDEX_DIRTY};

        map_put(w->s, &e);
    }
    map_seg_seq(w->s, a->loc.segment, a->seq);
}

static void wio_appended(struct journal_append *a)
{
    struct wio *w = container_of(a, struct wio, app);
    struct shard *s = w->s;

    list_remove(&w->node);
    s->writing_blocks -= a->nblocks;
    if (a->err == 0) {
        wio_index(w);
        trace(TRACE_TIER_WRITE_DONE, a->layer, a->lba, a->seq);
    }
    map_unuse(s, w->ext, w->nr_ext);
    w->cb(w, a->err);
    shard_kick(s);
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
    journal_append(s->j, &w->app);
    return 0;
}

void write_count(struct shard *s, const struct blk_io *io, int err)
{
    if (err == -FIRN_E_CANCELED)
        return; /* neither written nor refused */
    if (err == -FIRN_E_NO_SPACE)
        s->stats.write_no_space++;
    else if (err != 0)
        s->stats.write_errors++;
    else if (io->op == BLK_WRITE)
        s->stats.write_ops++;
    else
        s->stats.zero_ops++;
}

static void host_written(struct wio *w, int err)
{
    struct shard *s = w->s;
    struct blk_io *io = w->ctx;

    pool_put(&s->wios, w);
    write_count(s, io, err);
    shard_io_done(s, io, err);
}

static void host_zeroed(struct zio *z, int err)
{
    struct shard *s = z->s;
    struct blk_io *io = z->ctx;

    pool_put(&s->zios, z);
    write_count(s, io, err);
    shard_io_done(s, io, err);
}

static void host_write_start(struct shard *s, struct blk_io *io)
{
    struct volume *v = container_of(io->priv.blk, struct volume, blk);
    uint32_t layer = (uint32_t)(uintptr_t)v->priv;
    int err;

    if (v->blk.lba_bytes != BLOCK_BYTES) {
        rmw_start(s, layer, io);
        return;
    }
    if (io->op == BLK_WRITE) {
        struct wio *w = pool_get(&s->wios);

        w->cb = host_written;
        w->ctx = io;
        err = write_blocks(s, w, layer, io->lba, io->nlb, io->iov, io->iovcnt, io->crc);
        if (err != 0)
            pool_put(&s->wios, w);
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

static bool pools_ready(const struct shard *s, const struct blk_io *io)
{
    if (io->priv.blk->lba_bytes != BLOCK_BYTES)
        return !pool_is_empty(&s->rmws) && !(rmw_needs_buffer(io) && pool_is_empty(&s->rmw_bufs));
    return !pool_is_empty(io->op == BLK_WRITE ? &s->wios : &s->zios);
}

static bool can_start(const struct shard *s, const struct blk_io *io)
{
    return pools_ready(s, io) && (s->failed != 0 || io->op != BLK_WRITE || !shard_writes_wait(s));
}

/* Starts it; or, if a device's share has no room, puts it into that device's queue, or, if that device hangs, says so. It is on
 * no list, and can start. */
static void start_in_share(struct shard *s, struct blk_io *io)
{
    uint16_t dev = s->failed == 0 ? share_wanted(s, io) : EXTENT_NO_DEV;

    if (dev == EXTENT_NO_DEV) {
        host_write_start(s, io);
    } else if (dev_usable(s, shard_capacity(s, dev))) {
        s->stats.write_waits++;
        io_wait(&s->writes_dev[dev], io);
        shard_kick(s);
    } else {
        write_count(s, io, -FIRN_E_DEVICE_FAILED);
        shard_io_later(s, io, -FIRN_E_DEVICE_FAILED);
    }
}

/* Those that wait for one device: each is looked at again when the first of them has room, or never will. */
static void dev_writes_resume(struct shard *s, uint16_t dev)
{
    struct blk_io *io;

    while ((io = list_first(&s->writes_dev[dev], struct blk_io, priv.node)) != NULL) {
        bool hung = !dev_usable(s, shard_capacity(s, dev));

        if (!hung && s->failed == 0 && (!can_start(s, io) || share_wanted(s, io) == dev))
            return;
        if ((hung || s->failed != 0) && !pools_ready(s, io))
            return;
        io_wait_over(io);
        start_in_share(s, io);
    }
}

void writes_resume(struct shard *s)
{
    struct blk_io *io;

    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        dev_writes_resume(s, d);
    while ((io = list_first(&s->writes_wait, struct blk_io, priv.node)) != NULL && can_start(s, io)) {
        io_wait_over(io);
        start_in_share(s, io);
    }
}

void write_submit(struct shard *s, struct volume *v, struct blk_io *io)
{
    if (v->read_only) {
        shard_io_later(s, io, -FIRN_E_READ_ONLY);
        return;
    }
    if (list_empty(&s->writes_wait) && can_start(s, io)) {
        start_in_share(s, io);
        return;
    }
    s->stats.write_waits++;
    io_wait(&s->writes_wait, io);
    shard_kick(s);
}
