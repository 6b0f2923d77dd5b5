/* SPDX-License-Identifier: Apache-2.0 */
/* read.c: a host's read, and those of the merge in rmw.c.
 *
 * 1. Each block is looked up: index (log, or a copy in a place), else map (capacity device), else zeros. Neighbours from one
 *    source that lie together become one run: one device request straight into the caller's memory; or, from a device that
 *    seeks, what RAM has, or is about to have (fetch.c).
 * 2. What a run reads is pinned: the segment, or the extent's place. What is overwritten meanwhile may be answered either way,
 *    whole: the checksum taken at submission says which.
 * 3. Every block is verified. A request is answered when all its runs are.
 * Failures, a block at a time: looked up and read again (the place may have changed under way); then the other copy, if
 * there is one with the same checksum; then -FIRN_E_DAMAGED, or the device's error. Never zeros, never older bytes.
 * A copy in a place that fails, for whatever reason, is dropped, and the block looked up again: no error, no second try. If it was rot,
 * what the device gives instead is copied anew; a place that cannot be read may stay so, and has to be asked for.
 * Where a block lies cannot be read now: the metadata's error, which says nothing of the block.
 * A run that finds no free struct, or no checksums in RAM, parks its request; it goes on from where it stood. So does one for a device
 * that has its share of the structs already: a device that hangs gives none back.
 */
#include "base/crc32c.h"
#include "tier/priv.h"

#define MOVED_MAX 256u /* a request whose blocks keep moving under it is answered with an error at last */

static void rio_step(struct rio *r);

/* ---- where a block lies ---- */

static void at_twin(struct shard *s, const struct index_entry *n, struct run_at *at)
{
    uint32_t x = extent_find(&s->xt, n->layer, extent_no(n->block));

    *at = (struct run_at){.source = RUN_TWIN, .csum = n->csum, .x = x, .place = twin_of(s, extent_at(&s->xt, x))->place,
                          .in_extent = (uint32_t)(n->block % EXTENT_BLOCKS)};
}

static void at_index(struct shard *s, uint32_t id, struct run_at *at)
{
    struct index_entry e;

    index_get(&s->ix, id, &e);
    if (e.flags & INDEX_ZERO)
        *at = (struct run_at){.source = RUN_ZERO};
    else if (e.flags & INDEX_DAMAGED)
        *at = (struct run_at){.source = RUN_DAMAGED};
    else if (in_twin(s, id))
        at_twin(s, &e, at);
    else
        *at = (struct run_at){.source = RUN_LOG, .csum = e.csum, .loc = {e.segment, e.unit}, .slot = id};
}

static void at_sums(const struct sums *m, const struct extent *e, uint32_t x, uint32_t i, struct run_at *at)
{
    if (m->err != 0 && !sums_lost(m))
        *at = (struct run_at){.source = RUN_UNKNOWN, .err = m->err};
    else if (m->err != 0 || bit_get(m->v.damaged, i))
        *at = (struct run_at){.source = RUN_DAMAGED};
    else if (!bit_get(m->v.valid, i))
        *at = (struct run_at){.source = RUN_ZERO};
    else
        *at = (struct run_at){.source = RUN_COLD, .csum = m->v.csum[i], .x = x, .place = e->place, .in_extent = i};
}

static void at_map(struct rio *r, uint64_t block, struct sums_waiter *w, struct run_at *at)
{
    struct shard *s = r->s;
    uint32_t x = extent_find(&s->xt, r->layer, extent_no(block));
    struct sums *m;

    *at = (struct run_at){.source = RUN_ZERO};
    if (x == EXTENT_NONE || !extent_mapped(extent_at(&s->xt, x)))
        return;
    m = sums_get(s, x, w);
    if (m == NULL) {
        at->source = RUN_WAIT;
        return;
    }
    at_sums(m, extent_at(&s->xt, x), x, (uint32_t)(block % EXTENT_BLOCKS), at);
    sums_put(s, m);
}

/* Planted: RAM is asked before the index is. */
static bool at_overwritten(struct rio *r, uint64_t block, struct run_at *at)
{
    struct shard *s = r->s;
    uint32_t i = (uint32_t)(block % EXTENT_BLOCKS), x = extent_find(&s->xt, r->layer, extent_no(block));
    uint32_t f = x == EXTENT_NONE ? STAGE_NONE : stage_find(&s->stage, x, i);

    if (f == STAGE_NONE || stage_frame(&s->stage, f)->state != FRAME_READY)
        return false;
    *at = (struct run_at){.source = RUN_COLD, .csum = stage_frame(&s->stage, f)->csum, .x = x, .in_extent = i,
                          .place = extent_at(&s->xt, x)->place};
    return true;
}

/* Source WAIT: w is called when the checksums have come; without w they are only looked for in RAM. */
static void look_up(struct rio *r, uint64_t block, struct sums_waiter *w, struct run_at *at)
{
    struct shard *s = r->s;
    uint32_t id = index_find(&s->ix, r->layer, block);

    if (id != INDEX_NONE && s->bugs.damaged_falls_through && (index_flags_of(&s->ix, id) & INDEX_DAMAGED))
        id = INDEX_NONE;
    if (s->bugs.stage_keeps_overwritten && at_overwritten(r, block, at))
        return;
    if (id != INDEX_NONE)
        at_index(s, id, at);
    else
        at_map(r, block, w, at);
}

static bool same_place(const struct run_at *a, const struct run_at *b)
{
    if (a->source != b->source || a->csum != b->csum)
        return false;
    if (a->source == RUN_LOG)
        return a->slot == b->slot;
    return extent_place_same(a->place, b->place) && a->in_extent == b->in_extent;
}

static bool follows(const struct run_at *a, uint32_t n, const struct run_at *b)
{
    if (a->source != b->source)
        return false;
    if (a->source == RUN_LOG)
        return a->loc.segment == b->loc.segment && a->loc.unit + n * JOURNAL_UNITS_PER_BLOCK == b->loc.unit;
    if (a->source == RUN_COLD || a->source == RUN_TWIN)
        return a->x == b->x && a->in_extent + n == b->in_extent;
    return a->source == RUN_ZERO;
}

/* ---- answering ---- */

static void rio_fail(struct rio *r, uint64_t block, int err)
{
    if (r->err == 0 || block < r->err_block) {
        r->err = err;
        r->err_block = block;
    }
}

static void rio_say_damage(struct rio *r)
{
    if (r->damage.nblocks > 0)
        damage_say(&r->s->damage, env_now_ns(r->s->env), layer_at(r->s, r->layer)->vol, &r->damage);
    r->damage.nblocks = 0;
}

static void rio_check_done(struct rio *r)
{
    if (r->next < r->nblocks || r->in_flight > 0 || r->parked)
        return;
    rio_say_damage(r);
    r->cb(r);
}

/* ---- one run ---- */

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

static void run_end(struct run *u)
{
    struct rio *r = u->rio;
    struct shard *s = r->s;

    r->in_flight--;
    pool_put(&s->runs, u);
    rio_check_done(r);
    shard_kick(s);
}

static void repair_step(struct run *u);

/* A block whose copy was rotten has come from its device: unless it changed meanwhile, the SSD gets it again. */
static void copy_anew(struct run *u)
{
    struct rio *r = u->rio;
    struct run_at now;

    look_up(r, r->block + u->first, NULL, &now);
    if (now.source == RUN_COLD && same_place(&u->at, &now))
        fill_anew(r->s, &now, iov_block(r->iov, r->iovcnt, u->first));
}

static void repair_begin(struct run *u)
{
    u->whole = u->at;
    u->whole_first = u->first;
    u->whole_n = u->n;
    u->repairing = u->fresh = true;
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
    u->io.off_bytes = cold_offset(s->o.cold, u->at.place) + (uint64_t)u->at.in_extent * BLOCK_BYTES;
    turn_head_to(turn_of(s, u->at.place.dev), u->io.off_bytes + u->io.len_bytes);
    dev_read(shard_capacity(s, u->at.place.dev), &u->io);
}

/* A copy in a place that cannot be had now is no reason to fail. True: it is dropped, and the block is to be looked up again. */
static bool copy_given_up(struct shard *s, const struct run_at *at)
{
    if (at->source != RUN_LOG || !in_place(s, at->slot) || places_usable(s, at->loc.segment))
        return false;
    places_drop(s, at->slot);
    return true;
}

static bool run_dev_usable(struct shard *s, const struct run_at *at)
{
    return dev_usable(s, at->source == RUN_LOG ? shard_segment_dev(s, at->loc.segment) : shard_capacity(s, at->place.dev));
}

/* want: the checksum of the block, when only one is repaired. */
static void run_submit(struct run *u, uint32_t want)
{
    struct rio *r = u->rio;

    u->want = want;
    u->io = (struct dev_io){.len_bytes = (uint64_t)u->n * BLOCK_BYTES, .iov = u->iov, .iovcnt = run_iov(u), .cb = run_done};
    if (u->at.source == RUN_LOG)
        run_submit_log(r->s, u);
    else
        run_submit_cold(r->s, u);
}

/* ---- again, and the other copy ---- */

enum repair { REPAIR_UNDER_WAY, REPAIR_OVER };

static struct run_at at_of_block(const struct run *u, uint32_t i)
{
    struct run_at at = u->whole;

    at.csum = u->csum[i];
    at.in_extent += i;
    if (at.source == RUN_LOG) {
        at.loc.unit += i * JOURNAL_UNITS_PER_BLOCK;
        at.slot = index_slot_id(&u->rio->s->ix, at.loc.segment, at.loc.unit);
    }
    return at;
}

static uint64_t log_offset(const struct shard *s, struct journal_loc loc)
{
    return segpool_offset(s->o.segpool, loc.segment, (uint64_t)loc.unit * JOURNAL_UNIT_BYTES);
}

static enum damage_kind kind_of(const struct run_at *at, int err)
{
    if (at->source == RUN_DAMAGED)
        return DAMAGE_LOST;
    if (err == 0)
        return DAMAGE_CHECKSUM;
    return err == -FIRN_E_DEVICE_FAILED ? DAMAGE_DEVICE : DAMAGE_UNREADABLE;
}

static void note_damage(struct rio *r, uint64_t block, const struct run_at *at, int err)
{
    struct shard *s = r->s;
    uint32_t id = index_find(&s->ix, r->layer, block);
    struct damage_run d = {.kind = kind_of(at, err), .block = block, .nblocks = 1, .err = err != 0 ? err : -FIRN_E_DAMAGED};

    if (at->source == RUN_LOG) {
        d.dev = shard_segment_dev(s, at->loc.segment);
        d.off_bytes = log_offset(s, at->loc);
    } else if (at->source == RUN_COLD || at->source == RUN_TWIN) {
        d.dev = shard_capacity(s, at->place.dev);
        d.off_bytes = cold_offset(s->o.cold, at->place) + (uint64_t)at->in_extent * BLOCK_BYTES;
    }
    if (d.kind != DAMAGE_DEVICE && !(id != INDEX_NONE && (index_flags_of(&s->ix, id) & INDEX_DAMAGED)))
        damage_note(&s->damage, r->layer, block);
    if (damage_joins(&r->damage, &d)) {
        r->damage.nblocks++;
        return;
    }
    rio_say_damage(r);
    r->damage = d;
}

/* err: the device's, which may mend; 0: the bytes were read, and are not those that were written. */
static void block_failed(struct rio *r, uint64_t block, const struct run_at *at, int err)
{
    memset(iov_block(r->iov, r->iovcnt, (uint32_t)(block - r->block)), 0, BLOCK_BYTES);
    note_damage(r, block, at, err);
    rio_fail(r, block, err != 0 ? err : -FIRN_E_DAMAGED);
}

/* The metadata would not say where it lies, or whether it is lost: the host may ask again. */
static void block_unknown(struct rio *r, uint64_t block, int err)
{
    memset(iov_block(r->iov, r->iovcnt, (uint32_t)(block - r->block)), 0, BLOCK_BYTES);
    rio_fail(r, block, err);
}

/* The copy beside the one that failed: only beneath an entry whose block the map has too, and only with the same checksum. */
static bool other_copy(struct run *u, uint64_t block, const struct run_at *bad, struct run_at *at)
{
    struct shard *s = u->rio->s;

    unsigned flags = bad->source == RUN_LOG ? index_flags_of(&s->ix, bad->slot) : INDEX_DIRTY;

    if ((flags & INDEX_DIRTY) && !(flags & INDEX_KEPT))
        return false;
    at_map(u->rio, block, &u->wait, at);
    if (at->source == RUN_WAIT || at->source == RUN_UNKNOWN)
        return true;
    if (at->source != RUN_COLD || at->csum != bad->csum)
        return false;
    if (!(flags & INDEX_KEPT) || u->last_err == 0)
        map_remove(s, bad->slot); /* a copy that is bad is worth nothing; one that cannot be read now may be the only one */
    return true;
}

/* An entry that stays beneath its other copy is no new place. */
static bool moved(const struct run *u, const struct run_at *was, const struct run_at *now)
{
    bool back = u->tries == 2 && was->source == RUN_COLD && now->source == RUN_LOG && was->csum == now->csum;

    return !same_place(was, now) && !back;
}

/* A place is read twice, then the other copy; a new place, if there were not too many, from the beginning. */
static bool again(struct run *u, uint64_t block, const struct run_at *was, struct run_at *now)
{
    if (now->source == RUN_DAMAGED)
        return false;
    if (now->source == RUN_UNKNOWN)
        return true;
    if (moved(u, was, now)) {
        u->tries = 0;
        return u->rio->moves++ < MOVED_MAX;
    }
    if (u->tries++ == 0)
        return true;
    if (u->tries != 2 || !other_copy(u, block, was, now))
        return false;
    if (now->source == RUN_WAIT)
        u->tries--;
    return true;
}

/* Where bad block i is to be read next; false: nowhere, its fate is decided. */
static bool repair_where(struct run *u, uint32_t i, struct run_at *now)
{
    struct rio *r = u->rio;
    uint64_t block = r->block + u->whole_first + i;
    struct run_at was = u->at;

    if (u->fresh) {
        was = at_of_block(u, i);
        u->tries = 0;
    }
    look_up(r, block, &u->wait, now);
    if (now->source == RUN_WAIT)
        return true;
    u->fresh = false;
    if (now->source == RUN_DAMAGED)
        was = *now;
    if (now->source == RUN_ZERO) {
        memset(iov_block(r->iov, r->iovcnt, u->whole_first + i), 0, BLOCK_BYTES);
        return false;
    }
    if (again(u, block, &was, now))
        return true;
    block_failed(r, block, &was, now->source == RUN_DAMAGED ? 0 : u->last_err);
    return false;
}

static enum repair repair_block(struct run *u, uint32_t i)
{
    struct rio *r = u->rio;
    struct run_at now;

    if (!repair_where(u, i, &now))
        return REPAIR_OVER;
    if (now.source == RUN_WAIT)
        return REPAIR_UNDER_WAY;
    if (now.source == RUN_UNKNOWN) {
        block_unknown(r, r->block + u->whole_first + i, now.err);
        return REPAIR_OVER;
    }
    if (copy_given_up(r->s, &now))
        return repair_block(u, i);
    if (!run_dev_usable(r->s, &now)) {
        block_failed(r, r->block + u->whole_first + i, &now, -FIRN_E_DEVICE_FAILED);
        return REPAIR_OVER;
    }
    u->at = now;
    u->first = u->whole_first + i;
    u->n = 1;
    figure_add(&r->s->stats.read_retried, 1);
    run_submit(u, now.csum);
    return REPAIR_UNDER_WAY;
}

static void repair_step(struct run *u)
{
    for (uint32_t i = 0; i < u->whole_n; i++) {
        if (!bit_get(u->bad, i))
            continue;
        if (repair_block(u, i) == REPAIR_UNDER_WAY)
            return;
        bit_clear(u->bad, i);
        u->fresh = true;
    }
    run_end(u);
}

static void repair_wake(struct sums_waiter *w) { repair_step(container_of(w, struct run, wait)); }

/* ---- a request ---- */

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
        f = fetch_begin(s, &u->at, u->n, u->rio->ahead_end);
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
    if (shared)
        figure_add(&s->stats.stage_hit_blocks, u->n);
    else
        figure_add(&s->stats.read_miss_blocks, u->n);
    return true;
}

static bool serve_staged(struct rio *r, const struct run_at *at)
{
    const void *block = fetch_staged(r->s, at);

    if (block == NULL)
        return false;
    memcpy(iov_block(r->iov, r->iovcnt, r->next), block, BLOCK_BYTES);
    fill_again(r, r->next);
    figure_add(&r->s->stats.stage_hit_blocks, 1);
    return true;
}

static bool rio_run(struct rio *r, const struct run_at *at)
{
    struct shard *s = r->s;
    struct fetch *f;
    struct run *u;
    bool fetched;

    if (copy_given_up(s, at))
        return true;
    if (!run_dev_usable(s, at)) {
        block_failed(r, r->block + r->next, at, -FIRN_E_DEVICE_FAILED);
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

        look_up(r, r->block + u->first + u->n, NULL, &b);
        if (!follows(at, u->n, &b) || comes_otherwise(s, &b, f))
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
        look_up(r, r->block + r->next, &r->wait, &at);
        if (at.source == RUN_WAIT) {
            r->parked = true;
            break;
        }
        if (at.source == RUN_ZERO) {
            zero_run(r, 1);
            r->next++;
        } else if (at.source == RUN_DAMAGED) {
            block_failed(r, r->block + r->next, &at, 0);
            r->next++;
        } else if (at.source == RUN_UNKNOWN) {
            block_unknown(r, r->block + r->next, at.err);
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
        resume(s, &s->runs_dev[d], d);
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
