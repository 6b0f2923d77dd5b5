/* SPDX-License-Identifier: Apache-2.0 */
/* read.c: a host's read, and those of the merge in rmw.c.
 *
 * 1. Each block is looked up (read_where.c): index (log, or a copy in a place), else map (capacity device), else zeros. Neighbours from one
 *    source that lie together become one run: one device request straight into the caller's memory (read_run.c); or, from a device that
 *    seeks, what RAM has, or is about to have (fetch.c).
 * 2. What a run reads is pinned: the segment, or the extent's place. What is overwritten meanwhile may be answered either way,
 *    whole: the checksum taken at submission says which.
 * 3. Every block is verified. A request is answered when all its runs are (read_answer.c).
 * Failures, a block at a time (read_repair.c): looked up and read again (the place may have changed under way); then the other copy, if
 * there is one with the same checksum; then -FIRN_E_DAMAGED, or the device's error. Never zeros, never older bytes.
 * A copy in a place that fails, for whatever reason, is dropped, and the block looked up again: no error, no second try. If it was rot,
 * what the device gives instead is copied anew; a place that cannot be read may stay so, and has to be asked for.
 * Where a block lies cannot be read now: the metadata's error, which says nothing of the block.
 * A run that finds no free struct, or no checksums in RAM, parks its request; it goes on from where it stood. So does one for a device
 * that has its share of the structs already: a device that hangs gives none back.
 */
#include "tier/fetch.h"
#include "tier/fill.h"
#include "tier/gate.h"
#include "tier/priv.h"
#include "tier/read.h"
#include "tier/sums.h"
#include "tier/write.h"

/* ---- starting runs ---- */

static void zero_run(struct rio *r, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        memset(iov_block(r->iov, r->iovcnt, r->next + i), 0, BLOCK_BYTES);
    figure_add(&r->s->stats.read_zero_blocks, n);
}

/* Planted: what is not durable yet is served from the writes under way. */
static bool serve_undurable(struct rio *r)
{
    uint64_t block = r->block + r->next;
    bool found = false;

    list_for_each(n, &r->s->writes) {
        struct wio *w = list_entry(n, struct wio, node);

        if (w->layer != r->layer || block < w->app.lba || block >= w->app.lba + w->app.nblocks)
            continue;
        memcpy(iov_block(r->iov, r->iovcnt, r->next),
               iov_block(w->app.iov, w->app.iovcnt, (uint32_t)(block - w->app.lba)), BLOCK_BYTES);
        found = true;
    }
    return found;
}

/* A new request of the device has to wait. */
static bool fetch_waits(const struct rio *r, uint16_t dev)
{
    return fetch_full(r->s, dev) || (!list_empty(&r->s->runs_dev[dev]) && r->turn == NULL);
}

/* False: it is parked until a run is given back; nobody passes those who wait for the same already. */
static bool may_run(struct rio *r, const struct run_at *at)
{
    struct shard *s = r->s;
    struct list *dev = at->source == RUN_COLD || at->source == RUN_TWIN ? &s->runs_dev[at->place.dev] : NULL, *l = NULL;
    bool shared = at->source == RUN_COLD && fetch_under_way(s, at) != NULL;

    if (dev != NULL && (runs_full(s, at->place.dev) || (!shared && fetch_waits(r, at->place.dev))))
        l = dev;
    else if (pool_is_empty(&s->runs) || (!list_empty(&s->runs_wanted) && r->turn == NULL))
        l = &s->runs_wanted;
    if (l == NULL)
        return true;
    r->parked = r->starved = true;
    if (l == r->turn)
        list_push_front(l, &r->node); /* it found some of what it needs */
    else
        list_push_back(l, &r->node);
    if (r->turn == NULL)
        shard_kick(s); /* a device that hangs is looked at by the clock */
    return false;
}

/* RAM has it already, or another fetch than f brings it. */
static bool comes_otherwise(const struct shard *s, const struct run_at *at, const struct fetch *f)
{
    return at->source == RUN_COLD && (fetch_staged(s, at) != NULL || fetch_under_way(s, at) != f);
}

/* f: the fetch that brings its first block, or NULL. False: the run has to read for itself. */
static bool run_fetch(struct run *u, struct fetch *f)
{
    struct shard *s = u->rio->s;
    bool shared = f != NULL;

    if (!shared)
        f = fetch_begin(s, &u->at, u->n, fill_wants_chunk(u->rio, u->rio->block + u->first), u->rio->ahead_end);
    if (f == NULL)
        return false;
    u->n = MIN(u->n, fetch_covers(f, &u->at));
    if (shared)
        for (uint32_t i = 0; i < u->n; i++)
            fill_again(u->rio, u->first + i);
    else
        fill_missed(u->rio, u->at.x, u->first, u->n, f);
    fetch_join(f, u);
    hold_dev(s, u->rio->hold, u->at.place.dev);
    fg_begin(s, u->at.place.dev);
    figure_add(&s->stats.fetch_shared, shared);
    figure_add(shared ? &s->stats.stage_hit_blocks : &s->stats.read_miss_blocks, u->n);
    (shared ? rio_hit : rio_missed)(u->rio, u->n);
    return true;
}

static bool serve_staged(struct rio *r, const struct run_at *at)
{
    const void *block = fetch_staged(r->s, at);

    if (block == NULL)
        return false;
    memcpy(iov_block(r->iov, r->iovcnt, r->next), block, BLOCK_BYTES);
    fill_again(r, r->next);
    fetch_served(r->s, r->layer, stage_find(&r->s->stage, at->x, at->in_extent));
    figure_add(&r->s->stats.stage_hit_blocks, 1);
    rio_hit(r, 1);
    return true;
}

static bool rio_run(struct rio *r, const struct run_at *at)
{
    struct shard *s = r->s;
    struct fetch *f;
    struct run *u;
    bool fetched;

    if (run_copy_given_up(s, at))
        return true;
    if (!run_dev_usable(s, at)) {
        rio_block_failed(r, r->block + r->next, at, -FIRN_E_DEVICE_FAILED);
        r->next++;
        return true;
    }
    if (!may_run(r, at))
        return false;
    u = pool_get(&s->runs);
    u->rio = r;
    u->at = *at;
    u->first = r->next;
    u->repairing = u->pinned = u->rotten_copies = false;
    memset(u->bad, 0, sizeof(u->bad));
    memset(u->counted, 0, sizeof(u->counted));
    u->wait.fn = repair_wake;
    list_init(&u->wait.node);
    u->fetch = NULL;
    f = at->source == RUN_COLD ? fetch_under_way(s, at) : NULL;
    u->csum[0] = at->csum;
    for (u->n = 1; u->first + u->n < r->nblocks; u->n++) {
        struct run_at b;

        where_look_up(r, r->block + u->first + u->n, NULL, &b);
        if (!where_follows(at, u->n, &b) || comes_otherwise(s, &b, f))
            break;
        u->csum[u->n] = b.csum;
    }
    fetched = at->source == RUN_COLD && run_fetch(u, f);
    r->next += u->n;
    r->in_flight++;
    if (!fetched)
        run_submit(u, 0);
    return true;
}

/* Starts runs until all have been started or the request must wait. */
static void rio_step(struct rio *r)
{
    struct run_at at;

    while (r->next < r->nblocks) {
        if (r->s->bugs.index_before_durable && serve_undurable(r)) {
            r->next++;
            continue;
        }
        where_look_up(r, r->block + r->next, &r->wait, &at);
        if (at.source == RUN_WAIT) {
            r->parked = true;
            break;
        }
        if (at.source == RUN_ZERO) {
            zero_run(r, 1);
            r->next++;
        } else if (at.source == RUN_DAMAGED) {
            rio_block_failed(r, r->block + r->next, &at, 0);
            r->next++;
        } else if (at.source == RUN_UNKNOWN) {
            rio_block_unknown(r, r->block + r->next, at.err);
            r->next++;
        } else if (at.source == RUN_COLD && serve_staged(r, &at)) {
            r->next++;
        } else if (!rio_run(r, &at)) {
            break;
        }
    }
    fill_again_end(r);
}

static void rio_wake(struct sums_waiter *w)
{
    struct rio *r = container_of(w, struct rio, wait);

    r->parked = false;
    rio_step(r);
    rio_check_done(r);
}

void read_blocks(struct shard *s, struct rio *r, uint32_t layer, uint64_t block, uint32_t nblocks,
                 const struct iovec *iov, int iovcnt)
{
    assert(nblocks >= 1 && nblocks <= IO_BLOCKS_MAX);
    r->s = s;
    r->layer = layer;
    r->block = block;
    r->nblocks = nblocks;
    r->iov = iov;
    r->iovcnt = iovcnt;
    r->next = r->in_flight = r->moves = 0;
    r->err = 0;
    r->damage.nblocks = 0;
    r->missed = 0;
    r->again = 0;
    r->parked = r->starved = false;
    r->turn = NULL;
    r->wait.fn = rio_wake;
    list_init(&r->wait.node);
    trace(TRACE_TIER_READ, layer_at(s, layer)->id, block, nblocks);
    rio_step(r);
    if (r->next < r->nblocks || r->in_flight > 0 || r->parked)
        return;
    rio_say_damage(r);
    list_push_back(&s->rios_done, &r->node); /* nothing to wait for, but never answered from inside the submission */
    shard_kick(s);
}

/* ---- those that wait ---- */

/* Those that wait for a run, the first first, as long as it finds one. */
static void resume(struct shard *s, struct list *l, uint16_t dev)
{
    struct rio *r;

    while ((r = list_first(l, struct rio, node)) != NULL) {
        bool share = dev != EXTENT_NO_DEV && dev_usable(s, shard_capacity(s, dev)) && (runs_full(s, dev) || fetch_full(s, dev));

        if (share || (dev == EXTENT_NO_DEV && pool_is_empty(&s->runs)))
            return;
        list_remove(&r->node);
        r->parked = r->starved = false;
        r->turn = l;
        rio_step(r);
        r->turn = NULL;
        rio_check_done(r);
    }
}

void runs_resume(struct shard *s)
{
    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        if (!list_empty(&s->runs_dev[d]))
            resume(s, &s->runs_dev[d], d);
    if (!list_empty(&s->runs_wanted))
        resume(s, &s->runs_wanted, EXTENT_NO_DEV);
}

void read_cancel(struct rio *r)
{
    if (!r->starved)
        return;
    list_remove(&r->node);
    r->parked = r->starved = false;
    rio_fail(r, r->block + r->next, -FIRN_E_CANCELED);
    r->next = r->nblocks;
    if (r->in_flight > 0)
        return;
    rio_say_damage(r);
    list_push_back(&r->s->rios_done, &r->node);
    shard_kick(r->s);
}

/* ---- a host's ---- */

static void host_read(struct rio *r)
{
    struct shard *s = r->s;
    struct blk_io *io = r->ctx;
    int err = r->err;

    io->err_lba = r->err_block;
    hold_end(s, &r->own);
    pool_put(&s->rios, r);
    figure_add(&s->stats.read_ops, err == 0);
    figure_add(&s->stats.read_errors, err != 0 && err != -FIRN_E_CANCELED);
    shard_io_done(s, io, err);
}

void read_start(struct shard *s, uint32_t layer, struct blk_io *io, unsigned kinds, uint64_t devs)
{
    struct rio *r = pool_get(&s->rios);
    struct ahead a = fetch_plan_ahead(s, layer, io->lba, io->nlb);

    r->cb = host_read;
    r->ctx = io;
    r->hold = &r->own;
    hold_begin(s, r->hold, kinds, devs);
    io_set_at(io, IO_READ, r);
    r->ahead_end = a.end;
    r->stream_blocks = a.stream_blocks;
    read_blocks(s, r, layer, io->lba, io->nlb, io->iov, io->iovcnt);
    fetch_ahead(s, layer, &a);
}
