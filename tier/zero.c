/* SPDX-License-Identifier: Apache-2.0 */
/* zero.c: write zeroes and discard: a range of whole blocks that reads as zeros from now on.
 *
 * 1. One JOURNAL_ZERO record, whatever the length; not before slots without payload are promised for all that it may need:
 *    a crash must not leave more zeroes in the log than a start has slots for.
 * 2. When it is durable it is applied to the extents that exist in the range, a bounded number a pass: by number, or, when the
 *    range has more extents than there are nodes, by node. Until then the segment of the record counts a discard.
 * 3. An extent covered whole: its older entries leave the index, discard_seq says that the map no longer counts; a
 *    tombstone batch follows (mover.c). One covered in part: a dirty entry without payload for each block that index or map hold.
 * 4. The host is answered when all extents have been visited.
 * A write that came later has a higher seq, and survives wherever the walk meets it. A destage in between names an S below
 * the zero's seq for extents that the walk has not reached (zeroes_seq_below).
 * Failures: checksums not in RAM: the walk waits there. They cannot be read: every block of the range in that extent gets an entry,
 * as if the map held it; that is what slots were promised for. No slots to promise, or a device that has its share of them: the request
 * waits; destage frees slots. That device hangs: the request fails.
 */
#include "tier/gate.h"
#include "tier/map.h"
#include "tier/priv.h"
#include "tier/sums.h"
#include "tier/write.h"

static bool drop_older(struct shard *s, const struct extent *e, uint64_t seq)
{
    uint64_t block = (uint64_t)e->no * EXTENT_BLOCKS;
    bool dropped = false;

    for (uint32_t i = 0; i < EXTENT_BLOCKS && e->nr_live > 0; i++) {
        uint32_t id = index_find(&s->ix, e->layer, block + i);

        if (id == INDEX_NONE || index_seq(&s->ix, id) > seq)
            continue;
        map_remove(s, id);
        dropped = true;
    }
    return dropped;
}

static void zero_whole(struct shard *s, uint32_t x, uint64_t seq, uint32_t segment)
{
    struct extent *e = extent_at(&s->xt, x);
    bool undo = extent_mapped(e) || e->state == EXTENT_DESTAGING || e->discard_seq != 0;

    if (drop_older(s, e, seq))
        undo = true;
    if (undo && seq > e->discard_seq && seq > e->destaged_seq)
        map_discard(s, x, seq, segment);
    map_settle(s, x);
}

static bool map_holds(const struct sums *m, uint32_t i)
{
    return m != NULL && (m->err != 0 || bit_get(m->v.valid, i) || bit_get(m->v.damaged, i));
}

static void zero_part(struct shard *s, uint32_t x, uint32_t from, uint32_t to, uint64_t seq, uint32_t segment,
                      const struct sums *m)
{
    struct extent *e = extent_at(&s->xt, x);

    for (uint32_t i = from; i <= to; i++) {
        struct index_entry n = {.layer = e->layer, .block = (uint64_t)e->no * EXTENT_BLOCKS + i, .seq = seq,
                                .segment = segment, .flags = INDEX_DIRTY | INDEX_ZERO};
        uint32_t id = index_find(&s->ix, n.layer, n.block);

        if (id != INDEX_NONE ? index_seq(&s->ix, id) < seq : map_holds(m, i))
            map_put(s, &n);
    }
    if (m != NULL && m->err == 0)
        map_note_empty(s, x, &m->v);
    map_settle(s, x);
}

bool zero_extent(struct shard *s, uint32_t x, uint64_t block, uint64_t nblocks, uint64_t seq, uint32_t segment,
                 const struct sums *m)
{
    uint64_t start = (uint64_t)extent_at(&s->xt, x)->no * EXTENT_BLOCKS, end = start + EXTENT_BLOCKS;
    uint64_t from = MAX(block, start), to = MIN(block + nblocks, end);

    assert(from < to);
    if (to - from == EXTENT_BLOCKS) {
        zero_whole(s, x, seq, segment);
        return true;
    }
    if (index_virtual_free(&s->ix) < to - from)
        return false;
    zero_part(s, x, (uint32_t)(from - start), (uint32_t)(to - 1 - start), seq, segment, m);
    return true;
}

/* ---- the walk ---- */

static bool covers(const struct zio *z, const struct extent *e)
{
    return e->layer == z->layer && e->no >= extent_no(z->block) && e->no <= extent_no(z->block + z->nblocks - 1);
}

static bool in_part(const struct zio *z, const struct extent *e)
{
    uint64_t start = (uint64_t)e->no * EXTENT_BLOCKS;

    return z->block > start || z->block + z->nblocks < start + EXTENT_BLOCKS;
}

enum step { STEP_ON, STEP_WAIT };

/* What the map says of an extent when its record cannot be read: anything. */
static const struct sums unread = {.err = -FIRN_E_META};

static uint32_t zio_extent(const struct zio *z)
{
    return z->by_node ? (uint32_t)z->cursor : extent_find(&z->s->xt, z->layer, (uint32_t)z->cursor);
}

static enum step zio_visit(struct zio *z, uint32_t x)
{
    struct shard *s = z->s;
    struct extent *e = extent_at(&s->xt, x);
    struct sums *m = NULL;
    bool mapped = in_part(z, e) && extent_mapped(e), blind = mapped && z->blind, done;

    z->blind = false;
    if (z->seq <= e->discard_seq) /* a later zero has taken all that this one could */
        return STEP_ON;
    if (mapped && !blind) {
        m = sums_get(s, x, &z->wait);
        if (m == NULL) {
            z->parked = true;
            return STEP_WAIT;
        }
    }
    done = zero_extent(s, x, z->block, z->nblocks, z->seq, z->segment, blind ? &unread : m);
    if (m != NULL)
        sums_put(s, m);
    return done ? STEP_ON : STEP_WAIT;
}

static uint64_t zio_end(const struct zio *z)
{
    return z->by_node ? (uint64_t)z->s->xt.touched + 1 : (uint64_t)extent_no(z->block + z->nblocks - 1) + 1;
}

/* True: every extent of the range has been visited. */
static bool zio_walk(struct zio *z, uint32_t *budget)
{
    struct shard *s = z->s;

    for (; z->cursor < zio_end(z); z->cursor++) {
        uint32_t x = zio_extent(z);

        if (*budget == 0)
            return false;
        --*budget;
        if (x == EXTENT_NONE || !covers(z, extent_at(&s->xt, x)))
            continue;
        *budget -= MIN(*budget, 16u); /* a visit costs more than a look */
        if (zio_visit(z, x) == STEP_WAIT)
            return false;
    }
    return true;
}

/* Blocks in extents that the range covers in part: the most slots it can take. */
static uint32_t slots_wanted(uint64_t block, uint64_t nblocks)
{
    uint64_t end = block + nblocks, first_bound = ROUND_UP(block, (uint64_t)EXTENT_BLOCKS);
    uint64_t last_bound = ROUND_DOWN(end, (uint64_t)EXTENT_BLOCKS);

    return (uint32_t)(first_bound > last_bound ? nblocks : first_bound - block + end - last_bound);
}

static bool slots_free(const struct shard *s, uint32_t nr)
{
    return nr == 0 || index_virtual_free(&s->ix) >= s->slots_promised + nr + SLOTS_SPARE(s);
}

static void zio_append(struct zio *z)
{
    z->s->slots_promised += z->slots;
    journal_append(z->s->j, &z->app);
}

static int append_error(const struct shard *s)
{
    return s->failed != 0 ? s->failed : dev_usable(s, s->o.journal_dev) ? 0 : -FIRN_E_DEVICE_FAILED;
}

/* A device whose zeroed blocks have their share of the slots already. */
static uint16_t zio_share(const struct zio *z)
{
    return z->slots > 0 ? share_zeroes_wanted(z->s, z->layer, z->block, z->nblocks) : EXTENT_NO_DEV;
}

/* Blocks that the request covers in part are written, not zeroed. */
uint16_t zeroes_share_wanted(const struct shard *s, const struct blk_io *io)
{
    const struct volume *v = container_of(io->priv.blk, struct volume, blk);
    uint64_t per = BLOCK_BYTES / v->blk.lba_bytes, first = (io->lba + per - 1) / per, end = (io->lba + io->nlb) / per;

    if (first >= end || slots_wanted(first, end - first) == 0)
        return EXTENT_NO_DEV;
    return share_zeroes_wanted(s, (uint32_t)(uintptr_t)v->priv, first, end - first);
}

/* In order, but those whose device has its share hold up nobody. */
static void zeroes_resume(struct shard *s)
{
    struct list failed, *f;

    list_init(&failed);
    list_for_each_safe(n, tmp, &s->zeroes_wait) {
        struct zio *z = list_entry(n, struct zio, node);
        uint16_t dev = zio_share(z);
        int err = append_error(s);

        if (err == 0 && dev != EXTENT_NO_DEV && !dev_usable(s, shard_capacity(s, dev)))
            err = -FIRN_E_DEVICE_FAILED;
        if (err == 0 && dev != EXTENT_NO_DEV)
            continue;
        if (err == 0 && !slots_free(s, z->slots))
            break;
        list_remove(n);
        z->waits = false;
        z->app.err = err;
        if (err != 0)
            list_push_back(&failed, n);
        else
            zio_append(z);
    }
    while ((f = list_pop_front(&failed)) != NULL) { /* who is answered may ask for more, or call back what waits */
        struct zio *z = list_entry(f, struct zio, node);

        z->cb(z, z->app.err);
    }
}

bool zeroes_step(struct shard *s)
{
    uint32_t budget = SCAN_BUDGET;

    list_for_each_safe(n, tmp, &s->zeroes) {
        struct zio *z = list_entry(n, struct zio, node);

        if (z->parked || !zio_walk(z, &budget))
            continue;
        list_remove(n);
        s->seg[z->segment].discards--;
        s->slots_promised -= z->slots;
        s->changes++;
        z->cb(z, 0);
        shard_kick(s);
    }
    zeroes_resume(s);
    return budget == 0;
}

uint64_t zeroes_seq_below(const struct shard *s, uint32_t x, uint64_t seq)
{
    const struct extent *e = extent_at(&s->xt, x);

    list_for_each(n, &s->zeroes) {
        const struct zio *z = list_entry(n, struct zio, node);

        if (z->seq <= seq && covers(z, e) && (z->by_node ? x >= z->cursor : e->no >= z->cursor))
            seq = z->seq - 1;
    }
    return seq;
}

static void zio_wake(struct sums_waiter *w)
{
    struct zio *z = container_of(w, struct zio, wait);
    uint32_t x = zio_extent(z);
    struct sums *m = x == EXTENT_NONE ? NULL : sums_get(z->s, x, NULL);

    z->parked = false;
    z->blind = m != NULL && m->err != 0 && !sums_lost(m);
    if (m != NULL)
        sums_put(z->s, m);
    shard_kick(z->s);
}

static void zio_appended(struct journal_append *a)
{
    struct zio *z = container_of(a, struct zio, app);
    struct shard *s = z->s;
    uint64_t first = extent_no(z->block), last = extent_no(z->block + z->nblocks - 1);

    if (a->err != 0) {
        s->slots_promised -= z->slots;
        z->cb(z, a->err);
        return;
    }
    z->seq = a->seq;
    z->segment = a->loc.segment;
    map_seg_seq(s, z->segment, z->seq);
    s->seg[z->segment].discards++;
    z->by_node = last - first >= s->xt.touched;
    z->cursor = z->by_node ? 1 : first;
    list_push_back(&s->zeroes, &z->node);
    shard_kick(s);
}

int zero_blocks(struct shard *s, struct zio *z, uint32_t layer, uint64_t block, uint64_t nblocks)
{
    int err = append_error(s);

    if (err != 0)
        return err;
    z->s = s;
    z->layer = layer;
    z->block = block;
    z->nblocks = nblocks;
    z->slots = slots_wanted(block, nblocks);
    z->parked = z->waits = z->blind = false;
    z->wait.fn = zio_wake;
    z->app = (struct journal_append){.type = JOURNAL_ZERO, .stream = JOURNAL_HOST, .layer = layer_at(s, layer)->id,
                                     .lba = block, .nblocks = nblocks, .cb = zio_appended};
    trace(TRACE_TIER_ZERO, z->app.layer, block, nblocks);
    if (list_empty(&s->zeroes_wait) && slots_free(s, z->slots) && zio_share(z) == EXTENT_NO_DEV) {
        zio_append(z);
    } else {
        z->waits = true;
        list_push_back(&s->zeroes_wait, &z->node);
        shard_kick(s);
    }
    return 0;
}

/* Its slots are promised when it is appended: while it waits it holds nothing. */
bool zero_cancel(struct zio *z)
{
    if (!z->waits)
        return false;
    z->waits = false;
    list_remove(&z->node);
    return true;
}
