/* SPDX-License-Identifier: Apache-2.0 */
/* read_run.c: one run of a read: neighbouring blocks from one source.
 *
 * 1. What it reads is pinned: the log's segment, the places, or the extent's place. One device request goes straight into the
 *    caller's memory.
 * 2. Every block is verified by the checksum that was taken at submission. If all are good the run ends.
 * Or a fetch brings it (fetch.c): then its blocks are copied from frames, if those have what the run looked for.
 * Failures: blocks that are bad, or did not come, are repaired one by one (read_repair.c), in this run. A copy in a place that
 * fails is dropped.
 */
#include "base/crc32c.h"
#include "tier/fetch.h"
#include "tier/fill.h"
#include "tier/gate.h"
#include "tier/map.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/read.h"
#include "tier/twin.h"

static int run_iov(struct run *u)
{
    const struct rio *r = u->rio;
    size_t left = (size_t)u->n * BLOCK_BYTES, off = (size_t)u->first * BLOCK_BYTES;
    int n = 0;

    for (int i = 0; i < r->iovcnt && left > 0; i++) {
        size_t take;

        if (off >= r->iov[i].iov_len) {
            off -= r->iov[i].iov_len;
            continue;
        }
        take = MIN(r->iov[i].iov_len - off, left);
        u->iov[n++] = (struct iovec){(char *)r->iov[i].iov_base + off, take};
        left -= take;
        off = 0;
    }
    assert(left == 0);
    return n;
}

static void run_unpin(struct run *u)
{
    struct shard *s = u->rio->s;

    if (u->pinned) {
        slots_unpin(&s->places.slots, &u->pin);
        u->pinned = false;
        return;
    }
    if (u->at.source == RUN_LOG) {
        journal_segment_unpin(s->j, u->at.loc.segment);
        return;
    }
    fg_took(s, &u->io, u->at.place.dev);
    fg_end(s, u->at.place.dev);
    twin_read_done(s, u->at.x, u->at.place);
}

static bool run_block_ok(const struct run *u, uint32_t i)
{
    const struct rio *r = u->rio;

    if (r->s->bugs.skip_csum)
        return true;
    return block_csum(iov_block(r->iov, r->iovcnt, u->first + i), layer_at(r->s, r->layer)->id,
                      r->block + u->first + i) == (u->repairing ? u->want : u->csum[i]);
}

static void count_bad(struct run *u, uint32_t i)
{
    struct shard *s = u->rio->s;
    bool ssd = u->at.source == RUN_LOG;
    uint32_t of_whole = u->repairing ? u->first - u->whole_first : i;

    if (bit_get(u->counted, of_whole))
        return;
    bit_set(u->counted, of_whole);
    if (ssd) {
        figure_add(&s->stats.csum_errors_ssd, 1);
    } else {
        figure_add(&s->stats.csum_errors_hdd, 1);
        figure_add(&s->csum_errors[u->at.place.dev], 1);
    }
    trace(TRACE_TIER_CSUM_ERROR, layer_at(s, u->rio->layer)->id, u->rio->block + u->first + i,
          ssd ? u->at.loc.segment : u->at.place.slot);
}

/* A copy is still the one that was read, which is not what it should be, or cannot be had. */
static void drop_copy(struct run *u, uint32_t i)
{
    struct shard *s = u->rio->s;
    uint32_t id = u->pin.first + i;

    if (index_find(&s->ix, u->rio->layer, u->rio->block + u->first + i) != id)
        return;
    figure_add(&s->stats.slots_stale, 1);
    places_drop(s, id);
}

void run_end(struct run *u)
{
    struct rio *r = u->rio;
    struct shard *s = r->s;

    r->in_flight--;
    pool_put(&s->runs, u);
    rio_check_done(r);
    shard_kick(s);
}

/* A block whose copy was rotten has come from its device: unless it changed meanwhile, the SSD gets it again. */
static void copy_anew(struct run *u)
{
    struct rio *r = u->rio;
    struct run_at now;

    where_look_up(r, r->block + u->first, NULL, &now);
    if (now.source == RUN_COLD && where_same(&u->at, &now))
        fill_anew(r->s, &now, iov_block(r->iov, r->iovcnt, u->first));
}

static void run_done(struct dev_io *io)
{
    struct run *u = container_of(io, struct run, io);
    bool any = false, copy = u->pinned;

    run_unpin(u);
    u->last_err = io->err;
    if (io->err != 0 && copy)
        places_read_failed(u->rio->s, u->at.loc.segment, io->err);
    for (uint32_t i = 0; i < u->n; i++) {
        bool ok = io->err == 0 && run_block_ok(u, i);

        if (!ok && copy)
            drop_copy(u, i);
        else if (!ok && io->err == 0)
            count_bad(u, i);
        if (ok)
            damage_mended(&u->rio->s->damage, u->rio->layer, u->rio->block + u->first + i, 1);
        if (u->repairing && ok)
            bit_clear(u->bad, u->first - u->whole_first);
        if (u->repairing && ok)
            u->fresh = true;
        if (u->repairing && ok && u->rotten_copies)
            copy_anew(u);
        if (!u->repairing && !ok)
            bit_set(u->bad, i);
        any |= !ok;
    }
    if (!u->repairing && !any) {
        run_end(u);
        return;
    }
    if (!u->repairing) {
        u->rotten_copies = copy && io->err == 0;
        repair_begin(u);
    }
    repair_step(u);
}

void run_take(struct run *u, const struct fetch *f)
{
    struct rio *r = u->rio;
    struct shard *s = r->s;

    fg_end(s, u->at.place.dev);
    u->last_err = f->io.err;
    for (uint32_t i = 0; i < u->n; i++) {
        uint32_t in_extent = u->at.in_extent + i, fr = f->frame[in_extent - f->first];

        if (fr != STAGE_NONE && stage_frame(&s->stage, fr)->csum == u->csum[i]) {
            memcpy(iov_block(r->iov, r->iovcnt, u->first + i), stage_block(&s->stage, fr), BLOCK_BYTES);
            fetch_served(s, r->layer, fr);
            continue;
        }
        bit_set(u->bad, i);
        if (bit_get(f->rotten, in_extent))
            count_bad(u, i);
    }
}

void run_taken(struct run *u)
{
    bool any = false;

    u->fetch = NULL;
    for (unsigned w = 0; w < ARRAY_LEN(u->bad); w++)
        any |= u->bad[w] != 0;
    if (!any) {
        run_end(u);
        return;
    }
    repair_begin(u);
    repair_step(u);
}

static void run_submit_log(struct shard *s, struct run *u)
{
    u->pinned = in_place(s, u->at.slot);
    if (u->pinned)
        slots_pin(&s->places.slots, &u->pin, u->at.slot, u->n);
    else
        journal_segment_pin(s->j, u->at.loc.segment);
    for (uint32_t i = 0; i < u->n; i++)
        index_ref_add(&s->ix, u->at.slot + i);
    figure_add(&s->stats.slot_hit_blocks, u->pinned ? u->n : 0);
    figure_add(&s->stats.read_hit_blocks, u->n);
    rio_hit(u->rio, u->n);
    journal_read(s->j, u->at.loc, &u->io);
}

static void run_submit_cold(struct shard *s, struct run *u)
{
    struct extent *e = extent_at(&s->xt, u->at.x);

    assert(u->at.source == RUN_TWIN || extent_place_same(e->place, u->at.place)); /* looked up in this very call */
    if (u->at.source == RUN_TWIN)
        twin_of(s, e)->reads++;
    else
        e->reads++;
    hold_dev(s, u->rio->hold, u->at.place.dev);
    fg_begin(s, u->at.place.dev);
    figure_add(&s->stats.read_miss_blocks, u->n);
    rio_missed(u->rio, u->n);
    u->io.off_bytes = cold_offset(s->o.cold, u->at.place) + (uint64_t)u->at.in_extent * BLOCK_BYTES;
    turn_head_to(turn_of(s, u->at.place.dev), u->io.off_bytes + u->io.len_bytes);
    dev_read(shard_capacity(s, u->at.place.dev), &u->io);
}

/* A copy in a place that cannot be had now is no reason to fail. True: it is dropped, and the block is to be looked up again. */
bool run_copy_given_up(struct shard *s, const struct run_at *at)
{
    if (at->source != RUN_LOG || !in_place(s, at->slot) || places_usable(s, at->loc.segment))
        return false;
    places_drop(s, at->slot);
    return true;
}

bool run_dev_usable(struct shard *s, const struct run_at *at)
{
    return dev_usable(s, at->source == RUN_LOG ? shard_segment_dev(s, at->loc.segment) : shard_capacity(s, at->place.dev));
}

/* want: the checksum of the block, when only one is repaired. */
void run_submit(struct run *u, uint32_t want)
{
    struct rio *r = u->rio;

    u->want = want;
    u->io = (struct dev_io){.len_bytes = (uint64_t)u->n * BLOCK_BYTES, .iov = u->iov, .iovcnt = run_iov(u), .cb = run_done};
    if (u->at.source == RUN_LOG)
        run_submit_log(r->s, u);
    else
        run_submit_cold(r->s, u);
}
