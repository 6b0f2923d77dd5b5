/* SPDX-License-Identifier: Apache-2.0 */
/* forget.c: records of extents that go: those of a deleted layer, and tombstones that no log segment needs any more.
 *
 * A deleted layer: its volume's records are gone already, so recovery ignores its blocks in the log. Here, node by node: index
 * entries are dropped, the records are deleted in batches, and when a batch has committed the places go back. Its heat goes last.
 * A tombstone is needed while a log segment may hold a record of its extent with a seq not above its destaged_seq. Each keeps a
 * node: when they are too many, oldest.c makes the segment go that they wait for.
 * A crash in between leaves records of a layer that does not exist: nobody reads them, their places count as free.
 */
#include "tier/forget.h"
#include "tier/heat_meta.h"
#include "tier/map.h"
#include "tier/oldest.h"
#include "tier/priv.h"
#include "tier/twin.h"

static void forget_add(struct forget *f, uint32_t x)
{
    struct shard *s = f->s;
    struct extent *e = extent_at(&s->xt, x);
    uint64_t layer = layer_at(s, e->layer)->id;

    extent_set_state(e, EXTENT_FORGETTING);
    extent_relist(&s->xt, x);
    extent_side(&s->xt, x, EXTENT_SIDE_NONE);
    f->op[2 * f->nr] = (struct meta_op){.key = meta_key_extent(layer, e->no)};
    f->op[2 * f->nr + 1] = (struct meta_op){.key = meta_key_sums(layer, e->no)};
    f->x[f->nr++] = x;
}

static void forget_commit(struct forget *f, uint32_t nr_ops, void (*cb)(struct meta_batch *b))
{
    f->committing = true;
    f->batch = (struct meta_batch){.ops = f->op, .nr = nr_ops, .env = f->s->env, .cb = cb, .ctx = f};
    meta_commit(f->s->o.meta, &f->batch);
}

/* False: the batch failed, and the shard with it. */
static bool forget_committed(struct forget *f)
{
    struct shard *s = f->s;

    trace(TRACE_META_COMMIT, f->batch.commit_no, f->batch.nr, (uint64_t)-f->batch.err);
    f->committing = false;
    s->changes += f->batch.err == 0;
    shard_batch_over(s, f->batch.err);
    return f->batch.err == 0;
}

/* ---- tombstones ---- */

static void tombs_committed(struct meta_batch *b)
{
    struct forget *f = b->ctx;
    struct shard *s = f->s;

    if (!forget_committed(f))
        return;
    for (uint32_t i = 0; i < f->nr; i++) {
        struct extent *e = extent_at(&s->xt, f->x[i]);

        e->flags &= (uint8_t)~EXTENT_RECORD;
        e->destaged_seq = 0; /* what is newer has a higher seq; what was older is gone from the log */
        figure_add(&s->stats.tombstones_dropped, 1);
        extent_set_state(e, EXTENT_IDLE);
        map_settle(s, f->x[i]);
    }
    f->nr = 0;
    tombstones_drop(s);
}

uint32_t shard_oldest_segment(const struct shard *s)
{
    uint32_t oldest = INDEX_NONE;

    for (uint32_t g = 0; g < s->twin_segment; g++)
        if (s->seg[g].use != SEGMENT_FREE && s->seg[g].seq_min != 0 &&
            (oldest == INDEX_NONE || s->seg[g].seq_min < s->seg[oldest].seq_min))
            oldest = g;
    return oldest;
}

uint64_t shard_oldest_seq(const struct shard *s)
{
    uint32_t g = shard_oldest_segment(s);

    return g == INDEX_NONE ? UINT64_MAX : s->seg[g].seq_min;
}

void tombstones_drop(struct shard *s)
{
    struct forget *f = &s->tombs;
    uint64_t oldest;
    uint32_t x;

    if (f->committing || s->xt.side[EXTENT_SIDE_TOMBSTONE].nr == 0 || s->failed != 0)
        return;
    oldest = shard_oldest_seq(s);
    f->s = s;
    f->nr = 0;
    while (f->nr < FORGET_BATCH && (x = s->xt.side[EXTENT_SIDE_TOMBSTONE].first) != EXTENT_NONE &&
           extent_at(&s->xt, x)->destaged_seq < oldest)
        forget_add(f, x);
    if (f->nr > 0)
        forget_commit(f, 2 * f->nr, tombs_committed);
}

/* ---- a deleted layer ---- */

static void extent_forgotten(struct shard *s, uint32_t x)
{
    struct extent *e = extent_at(&s->xt, x);

    twin_drop(s, x);
    if (extent_placed(e)) {
        struct extent_place p = e->place;

        map_place(s, x, (struct extent_place){.dev = EXTENT_NO_DEV});
        map_give_place(s, x, p);
        figure_add(&s->stats.extents_freed, 1);
    }
    e->flags &= (uint8_t)~(EXTENT_RECORD | EXTENT_FRESH);
    extent_set_state(e, EXTENT_IDLE);
    map_settle(s, x);
}

static void layer_committed(struct meta_batch *b)
{
    struct forget *f = b->ctx;

    if (!forget_committed(f)) {
        list_remove(&f->node);
        f->cb(f->ctx, -FIRN_E_META);
        pool_put(&f->s->forgets_pool, f);
        return;
    }
    for (uint32_t i = 0; i < f->nr; i++)
        extent_forgotten(f->s, f->x[i]);
    f->nr = 0;
}

static void drop_entries(struct shard *s, uint32_t x)
{
    struct extent *e = extent_at(&s->xt, x);

    for (uint32_t i = 0; i < EXTENT_BLOCKS && e->nr_live > 0; i++) {
        uint32_t id = index_find(&s->ix, e->layer, (uint64_t)e->no * EXTENT_BLOCKS + i);

        if (id != INDEX_NONE)
            map_remove(s, id);
    }
    map_discard_done(s, x);
}

static void layer_free(struct shard *s, uint32_t l)
{
    struct layer *y = layer_at(s, l);
    uint32_t *at = layer_hash_head(s, y->id);

    assert(y->nr_live == 0 && y->nr_dirty == 0 && y->nr_placed == 0);
    while (*at != l)
        at = &layer_at(s, *at)->hash_next;
    *at = y->hash_next;
    damage_forget_layer(&s->damage, l);
    *y = (struct layer){.hash_next = s->layer_free};
    s->layer_free = l;
}

/* Takes nodes of the layer until the batch is full, the budget spent, or the walk is over. */
static void forget_walk(struct forget *f, uint32_t *budget)
{
    struct shard *s = f->s;

    for (; f->cursor <= s->xt.touched && f->nr < FORGET_BATCH && *budget > 0; f->cursor++) {
        struct extent *e = extent_at(&s->xt, f->cursor);

        --*budget;
        if (e->layer != f->layer)
            continue;
        if (e->state != EXTENT_IDLE || e->users > 0 || e->reads > 0 || e->gives > 0 || twin_is_read(s, e)) {
            f->blocked = true;
            f->changes = s->changes;
            continue;
        }
        *budget -= MIN(*budget, 64u);
        drop_entries(s, f->cursor);
        forget_add(f, f->cursor);
    }
}

/* Behind the extents: cells, then records. True: they are gone; else *more says whether to come back at once. */
static bool forget_heat(struct forget *f, uint32_t *budget, bool *more)
{
    uint32_t nr;

    *more = !heat_forget(&f->s->heat, f->layer, &f->heat_cursor, budget);
    if (*more)
        return false;
    nr = heat_forget_groups(f->s, f->layer, &f->heat_group, f->op, ARRAY_LEN(f->op));
    if (nr > 0)
        forget_commit(f, nr, layer_committed);
    return nr == 0;
}

static bool forget_step(struct forget *f, uint32_t *budget)
{
    struct shard *s = f->s;
    bool more;

    if (f->committing)
        return false;
    forget_walk(f, budget);
    if (f->nr > 0 && (f->nr == FORGET_BATCH || f->cursor > s->xt.touched)) {
        forget_commit(f, 2 * f->nr, layer_committed);
        return false;
    }
    if (f->cursor <= s->xt.touched)
        return *budget == 0;
    if (f->blocked) {
        f->blocked = false;
        f->cursor = 1;
        return s->changes != f->changes; /* what holds the extent kicks the shard when it lets go; or it has, long since */
    }
    if (!forget_heat(f, budget, &more))
        return more;
    list_remove(&f->node);
    layer_free(s, f->layer);
    f->cb(f->ctx, 0);
    pool_put(&s->forgets_pool, f);
    return false;
}

/* No batch will be taken any more: the next start finishes it. One that is under way answers for itself. */
static void forget_fail(struct forget *f)
{
    if (f->committing)
        return;
    list_remove(&f->node);
    f->cb(f->ctx, f->s->failed);
    pool_put(&f->s->forgets_pool, f);
}

bool forgets_step(struct shard *s)
{
    uint32_t budget = SCAN_BUDGET;
    bool more = false;

    list_for_each_safe(n, tmp, &s->forgets) {
        if (s->failed == 0)
            more |= forget_step(list_entry(n, struct forget, node), &budget);
        else
            forget_fail(list_entry(n, struct forget, node));
    }
    return more;
}
