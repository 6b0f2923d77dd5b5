/* SPDX-License-Identifier: Apache-2.0 */
/* map.c: the index, the extents, the layers and the segments kept in step: every change of an entry passes here, so that
 * their counters can be proved against each other (shard_verify).
 */
#include "tier/describe.h"
#include "tier/fetch.h"
#include "tier/map.h"
#include "tier/migrate.h"
#include "tier/mover.h"
#include "tier/priv.h"
#include "tier/ring.h"
#include "tier/sums.h"
#include "tier/twin.h"

/* An entry is no more; flags: what it had. */
static void entry_gone(struct shard *s, uint32_t id, unsigned flags)
{
    if (in_place(s, id))
        slots_gone(&s->places.slots, id, flags);
    else if (in_twin(s, id))
        twin_gone(s, id);
}

/* Also before a start has opened its segment for places. */
static bool is_copy(const struct shard *s, uint32_t id)
{
    return id < s->ix.nr_phys && s->seg[id / s->ix.slots_per_segment].use == SEGMENT_SLOTS;
}

uint32_t map_extent(struct shard *s, uint32_t layer, uint32_t no)
{
    uint32_t x = extent_find(&s->xt, layer, no);

    return x != EXTENT_NONE ? x : extent_add(&s->xt, layer, no);
}

/* Dirt by device: what an extent's counters were is taken off, what they are is added. */
static void count_share(struct shard *s, const struct extent *e, int by)
{
    if (!extent_placed(e))
        return;
    assert(by > 0 || (s->dev_dirty[e->place.dev] >= e->nr_dirty && s->dev_zero[e->place.dev] >= e->nr_zero));
    s->dev_dirty[e->place.dev] += (uint64_t)((int64_t)e->nr_dirty * by);
    s->dev_zero[e->place.dev] += (uint64_t)((int64_t)e->nr_zero * by);
}

void map_place(struct shard *s, uint32_t x, struct extent_place p)
{
    struct extent *e = extent_at(&s->xt, x);
    struct layer *l = layer_at(s, e->layer);

    extent_unlist(&s->xt, x);
    figure_sub(&l->nr_placed, extent_placed(e));
    figure_sub(&l->nr_flash, migrate_is_flash(s, e->place));
    count_share(s, e, -1);
    ring_leave(s, x);
    e->place = p;
    ring_arrive(s, x);
    count_share(s, e, 1);
    figure_add(&l->nr_placed, extent_placed(e));
    figure_add(&l->nr_flash, migrate_is_flash(s, p));
    extent_relist(&s->xt, x);
}

void map_tier(struct shard *s, struct extent *e)
{
    const struct volume *v = layer_at(s, e->layer)->vol;
    enum volume_tier tier = v != NULL ? v->tier : VOLUME_AUTO;
    unsigned bit = tier == VOLUME_HDD ? EXTENT_EAGER : tier == VOLUME_SSD ? EXTENT_PINNED : 0;

    e->flags = (uint8_t)((e->flags & ~(unsigned)(EXTENT_EAGER | EXTENT_PINNED)) | bit);
}

static void count_entry(struct shard *s, struct extent *e, unsigned flags, int by)
{
    struct layer *l = layer_at(s, e->layer);
    bool dirty = (flags & INDEX_DIRTY) != 0;

    count_share(s, e, -1);
    if (e->nr_live + by == 0 || e->nr_live == 0)
        figure_add(&s->live_extents, (uint64_t)(int64_t)by);
    map_tier(s, e);
    e->nr_live = (uint16_t)(e->nr_live + by);
    figure_add(&l->nr_live, (uint64_t)(int64_t)by);
    if (dirty) {
        e->nr_dirty = (uint16_t)(e->nr_dirty + by);
        figure_add(&l->nr_dirty, (uint64_t)(int64_t)by);
    }
    if (flags & INDEX_ZERO)
        e->nr_zero = (uint16_t)(e->nr_zero + by);
    count_share(s, e, 1);
    if (flags & INDEX_DAMAGED)
        figure_add(&s->damaged_blocks, (uint64_t)(int64_t)by);
    assert(e->nr_live <= EXTENT_BLOCKS && e->nr_dirty <= e->nr_live && e->nr_zero <= e->nr_dirty);
}

/* What is known of the block's use: all of it if its bytes only move. New bytes inherit that the old ones were read: who reads a page,
 * changes it and writes it comes back for it, too. Once, however often: only reads of the new ones can make it more. Where wear counts most
 * nothing is inherited: what was read once is not saved there (reclaim_walk.c). */
static uint32_t uses_inherited(const struct shard *s, uint32_t old, uint64_t seq)
{
    uint32_t uses = old == INDEX_NONE || s->t.admit_blocks ? 0 : index_ref(&s->ix, old);

    return uses > 1 && index_seq(&s->ix, old) != seq ? 1 : uses;
}

void map_put(struct shard *s, const struct index_entry *n)
{
    uint32_t x = extent_find(&s->xt, n->layer, extent_no(n->block));
    uint32_t old = index_find(&s->ix, n->layer, n->block), id;
    unsigned was = old == INDEX_NONE ? 0 : index_flags_of(&s->ix, old);
    uint32_t uses = uses_inherited(s, old, n->seq);
    struct extent *e = extent_at(&s->xt, x);

    if (old != INDEX_NONE) {
        count_entry(s, e, was, -1);
        figure_sub(&layer_at(s, n->layer)->nr_copies, is_copy(s, old));
    }
    id = index_put(&s->ix, old, n);
    if (uses > 0 && !index_is_virtual(&s->ix, id))
        index_ref_set(&s->ix, id, uses);
    figure_add(&layer_at(s, n->layer)->nr_copies, is_copy(s, id));
    if (old != INDEX_NONE)
        entry_gone(s, old, was);
    fetch_forget(s, x, (uint32_t)(n->block % EXTENT_BLOCKS));
    count_entry(s, e, n->flags, 1);
    damage_mended(&s->damage, n->layer, n->block, 1);
}

void map_remove(struct shard *s, uint32_t id)
{
    struct index_entry n;

    index_get(&s->ix, id, &n);
    count_entry(s, extent_at(&s->xt, extent_find(&s->xt, n.layer, extent_no(n.block))), n.flags, -1);
    figure_sub(&layer_at(s, n.layer)->nr_copies, is_copy(s, id));
    index_remove(&s->ix, id);
    entry_gone(s, id, n.flags);
    if (n.flags & INDEX_DAMAGED) /* destaged: from now on the map says that it is lost; what zeroes it says so next */
        damage_note(&s->damage, n.layer, n.block);
}

void map_set_clean(struct shard *s, uint32_t id)
{
    struct index_entry n;
    struct extent *e;

    index_get(&s->ix, id, &n);
    e = extent_at(&s->xt, extent_find(&s->xt, n.layer, extent_no(n.block)));
    assert(e->nr_dirty > 0);
    count_share(s, e, -1);
    e->nr_dirty--;
    count_share(s, e, 1);
    figure_sub(&layer_at(s, e->layer)->nr_dirty, 1);
    index_set_clean(&s->ix, id);
}

void map_set_kept(struct shard *s, uint32_t id)
{
    struct index_entry n;
    struct extent *e;

    assert(!in_place(s, id)); /* a place promises nothing */
    index_get(&s->ix, id, &n);
    e = extent_at(&s->xt, extent_find(&s->xt, n.layer, extent_no(n.block)));
    index_set_kept(&s->ix, id);
    count_share(s, e, -1);
    e->nr_dirty++;
    count_share(s, e, 1);
    figure_add(&layer_at(s, e->layer)->nr_dirty, 1);
}

/* After a start: a destage may have been under way, and it may have bridged any hole between dirty blocks with clean ones of
 * the log. What was dirty then is dirty still, so every block that it can have written over lies in such a hole now. */
void map_keep_bridges(struct shard *s, uint32_t x)
{
    struct extent *e = extent_at(&s->xt, x);
    uint32_t id[EXTENT_BLOCKS], last = EXTENT_BLOCKS;

    if (e->nr_live == e->nr_dirty || e->nr_dirty < 2)
        return;
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        id[i] = index_find(&s->ix, e->layer, (uint64_t)e->no * EXTENT_BLOCKS + i);
        if (id[i] == INDEX_NONE || !(index_flags_of(&s->ix, id[i]) & INDEX_DIRTY))
            continue;
        for (uint32_t b = last + 1; last != EXTENT_BLOCKS && i - last - 1 <= BRIDGE_BLOCKS && b < i; b++)
            if (id[b] != INDEX_NONE)
                map_set_kept(s, id[b]);
        last = i;
    }
}

/* The map was older than the devices when the epoch was taken up to which copies do not count: a clean record from before may be of the
 * bytes that the device had then. Only where a destage may have spoilt those the log's is the better guess. */
void map_forget_copies(struct shard *s, uint32_t x)
{
    const struct extent *e = extent_at(&s->xt, x);
    uint64_t forgotten = segpool_forgotten(s->o.segpool), first = (uint64_t)e->no * EXTENT_BLOCKS;

    for (uint32_t i = 0; i < EXTENT_BLOCKS && forgotten > 0 && e->nr_live > e->nr_dirty; i++) {
        uint32_t id = index_find(&s->ix, e->layer, first + i);

        if (id != INDEX_NONE && !(index_flags_of(&s->ix, id) & INDEX_DIRTY) && s->seg[id / s->ix.slots_per_segment].epoch <= forgotten)
            map_remove(s, id);
    }
}

void map_seg_seq(struct shard *s, uint32_t segment, uint64_t seq)
{
    struct seg *g = &s->seg[segment];

    if (g->seq_min == 0 || seq < g->seq_min)
        g->seq_min = seq;
    if (seq >= s->seq_high) {
        s->seq_high = seq;
        s->seq_high_segment = segment;
    }
}

void map_discard(struct shard *s, uint32_t x, uint64_t seq, uint32_t segment)
{
    struct extent *e = extent_at(&s->xt, x);

    assert(seq > e->discard_seq);
    fetch_forget_extent(s, x);
    damage_mended(&s->damage, e->layer, (uint64_t)e->no * EXTENT_BLOCKS, EXTENT_BLOCKS);
    if (e->discard_seq != 0)
        s->seg[e->discard_segment].discards--;
    e->discard_seq = seq;
    e->discard_segment = segment;
    s->seg[segment].discards++;
}

void map_discard_done(struct shard *s, uint32_t x)
{
    struct extent *e = extent_at(&s->xt, x);

    if (e->discard_seq == 0)
        return;
    assert(s->seg[e->discard_segment].discards > 0);
    s->seg[e->discard_segment].discards--;
    e->discard_seq = 0;
}

void map_discard_move(struct shard *s, uint32_t x, uint32_t segment)
{
    struct extent *e = extent_at(&s->xt, x);

    s->seg[e->discard_segment].discards--;
    e->discard_segment = segment;
    s->seg[segment].discards++;
}

int map_reserve(struct shard *s, struct extent *e)
{
    int err;

    if (extent_placed(e) || (e->flags & EXTENT_RESERVED))
        return 0;
    err = cold_reserve(s->o.cold, 1);
    if (err == 0)
        e->flags |= EXTENT_RESERVED;
    return err;
}

/* Which side list: work for the metadata alone, or a record without a place. */
static enum extent_side_list side_wanted(const struct extent *e)
{
    if (e->state != EXTENT_IDLE)
        return EXTENT_SIDE_NONE;
    if (extent_needs_no_device(e))
        return EXTENT_SIDE_NO_DEVICE;
    if (!extent_placed(e) && (e->flags & EXTENT_RECORD) && e->nr_live == 0 && e->discard_seq == 0)
        return EXTENT_SIDE_TOMBSTONE;
    if ((e->flags & EXTENT_UNDESCRIBED) && (e->flags & EXTENT_RECORD) && extent_mapped(e))
        return (enum extent_side_list)(EXTENT_SIDE_DESCRIBE + e->place.dev);
    return EXTENT_SIDE_NONE;
}

/* Nothing in it needs a place any more: what was promised or taken, and no batch names, is somebody else's. */
static void give_promise_back(struct shard *s, uint32_t x)
{
    struct extent *e = extent_at(&s->xt, x);

    if ((e->flags & EXTENT_FRESH) && e->twin == 0) {
        struct extent_place p = e->place;

        map_place(s, x, (struct extent_place){.dev = EXTENT_NO_DEV});
        e->flags &= (uint8_t)~EXTENT_FRESH;
        map_give_place(s, x, p);
    }
    if (e->flags & EXTENT_RESERVED) {
        e->flags &= (uint8_t)~EXTENT_RESERVED;
        cold_unreserve(s->o.cold, 1);
    }
}

void map_settle(struct shard *s, uint32_t x)
{
    struct extent *e = extent_at(&s->xt, x);
    bool unused = e->state == EXTENT_IDLE && e->users == 0;

    if (e->nr_dirty == 0 && e->state == EXTENT_IDLE)
        e->flags &= (uint8_t)~(EXTENT_URGENT | EXTENT_SPARSE_MOVE);
    if (unused && extent_weight(e) == 0)
        give_promise_back(s, x);
    if (!extent_placed(e) && e->state == EXTENT_IDLE)
        ring_note(s, x, 0, 0); /* a batch has said so: nobody needs to find it there */
    extent_relist(&s->xt, x);
    extent_side(&s->xt, x, side_wanted(e));
    if (e->side >= EXTENT_SIDE_DESCRIBE)
        described_due(s, e->destaged_seq);
    if (!unused || e->nr_dirty > 0)
        return;
    if (!extent_placed(e) && !(e->flags & EXTENT_RECORD) && e->nr_live == 0 && e->reads == 0 && e->gives == 0 &&
        e->discard_seq == 0 && e->twin == 0) {
        sums_drop(s, x);
        extent_del(&s->xt, x);
    }
}

/* Zeroed block by block until nothing of it is left: destaged before all others, for its place is worth more than the trouble,
 * which is one record. v: what the map says of it. */
void map_note_empty(struct shard *s, uint32_t x, const struct extent_sums *v)
{
    struct extent *e = extent_at(&s->xt, x);
    uint32_t held = 0;

    for (unsigned w = 0; w < CAPTURE_WORDS; w++)
        held += (uint32_t)__builtin_popcountll(v->valid[w] | v->damaged[w]);
    if (e->nr_zero == 0 || extent_weight(e) > 0 || e->nr_zero < held)
        return;
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        uint32_t id;

        if (!bit_get(v->valid, i) && !bit_get(v->damaged, i))
            continue;
        id = index_find(&s->ix, e->layer, (uint64_t)e->no * EXTENT_BLOCKS + i);
        if (id == INDEX_NONE || !(index_flags_of(&s->ix, id) & INDEX_ZERO))
            return;
    }
    e->flags |= EXTENT_URGENT;
}

void map_give_reads(struct shard *s, uint32_t x, struct extent_place p, uint32_t reads)
{
    struct give *g;

    if (reads == 0) {
        cold_give(s->o.cold, p);
        return;
    }
    g = pool_get(&s->gives_pool); /* as many as there are runs and fetches: each has at least one of its own in flight */
    assert(g != NULL);
    *g = (struct give){.place = p, .x = x, .reads = reads};
    extent_at(&s->xt, x)->gives++;
    list_push_back(&s->gives, &g->node);
}

void map_give_place(struct shard *s, uint32_t x, struct extent_place p)
{
    struct extent *e = extent_at(&s->xt, x);
    uint32_t reads = e->reads;

    e->reads = 0; /* they are the place's from now on: what becomes of the extent next does not wait for them */
    map_give_reads(s, x, p, reads);
}

static struct give *give_of(const struct shard *s, uint32_t x, struct extent_place p)
{
    list_for_each(n, &s->gives) {
        struct give *g = list_entry(n, struct give, node);

        if (g->x == x && extent_place_same(g->place, p))
            return g;
    }
    return NULL;
}

/* A place that waits to be given back is nobody's next place: so p is either one of those, or the extent's own (which a
 * tombstone's destage has taken off it until its batch has committed). */
void map_read_done(struct shard *s, uint32_t x, struct extent_place p)
{
    struct extent *e = extent_at(&s->xt, x);
    struct give *g = e->gives > 0 ? give_of(s, x, p) : NULL;

    if (g == NULL) {
        assert(e->reads > 0 && (!extent_placed(e) || extent_place_same(e->place, p)));
        e->reads--;
        return;
    }
    assert(g->reads > 0 && e->gives > 0);
    if (--g->reads > 0)
        return;
    list_remove(&g->node);
    e->gives--;
    cold_give(s->o.cold, p);
    pool_put(&s->gives_pool, g);
    map_settle(s, x);
}

/* Takes the extents of a range into use: nodes, places reserved. All or nothing. */
int map_use(struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks, uint32_t *ext, uint32_t *nr)
{
    uint32_t last = extent_no(block + nblocks - 1);

    *nr = 0;
    for (uint32_t no = extent_no(block); no <= last; no++) {
        uint32_t x = map_extent(s, layer, no);
        int err = x == EXTENT_NONE ? -FIRN_E_NO_SPACE : 0;

        if (err == 0) {
            extent_at(&s->xt, x)->users++;
            ext[(*nr)++] = x;
            err = map_reserve(s, extent_at(&s->xt, x));
        }
        if (err != 0) {
            map_unuse(s, ext, *nr);
            *nr = 0;
            return err;
        }
    }
    return 0;
}

void map_unuse(struct shard *s, const uint32_t *ext, uint32_t nr)
{
    for (uint32_t i = 0; i < nr; i++) {
        assert(extent_at(&s->xt, ext[i])->users > 0);
        extent_at(&s->xt, ext[i])->users--;
        map_settle(s, ext[i]);
    }
}
