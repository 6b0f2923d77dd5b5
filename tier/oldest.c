/* SPDX-License-Identifier: Apache-2.0 */
/* oldest.c: makes the oldest log segment go when too many tombstones wait for it.
 *
 * A tombstone waits for every segment that may hold an older record of its extent (forget.c). While the log has room nobody empties
 * those, and a block that stays dirty keeps its seq wherever reclaim moves it. Each tombstone has a node, and a volume that is
 * written and discarded everywhere in turn would leave none for new extents of a pool that is empty.
 * 1. Tombstones have their share of the nodes, and none can be dropped: the segment with the lowest seq is to go.
 * 2. If it is being filled it is sealed. If it bears witness to the highest seq (shard.seq_high_segment), a record that changes
 *    nothing, a zero over what is a tombstone, is appended, and does so in its place.
 * 3. Extents that it holds dirty are destaged before all others: moved, they would keep their seqs. While it is needed they are looked
 *    for again every second: a clean block that bridged a hole of a destage that was given up is dirty since then (capture.c).
 * 4. Nothing in it is needed: reclaim takes it before all others. When its batch has committed tombstones are dropped, and if they
 *    are too many still it is the next one's turn.
 * Nothing here waits: what ends kicks the shard, and the next pass looks again.
 * Hosts can be faster than all that: writes wait while nodes are short and some will come back (gate.c).
 * Failures: a device that hangs, or a block that cannot be read, keeps its segment: after HOPE_NS nobody waits for it any more, and new
 * extents are refused when there is no node.
 */
#include "tier/forget.h"
#include "tier/map.h"
#include "tier/mover.h"
#include "tier/oldest.h"
#include "tier/priv.h"

#define TOMBSTONES_SHARE 4u  /* they may have one node in four; what has a place needs less than two */
#define NODES_SPARE      16u /* one in so many is kept for requests that have begun */
#define HOPE_NS          (5 * NS_PER_S)
#define AGAIN_NS         NS_PER_S
#define WITNESS_LOOKS    64u /* tombstones without a write under way are common */

static const struct extent_list *tombstones(const struct shard *s) { return &s->xt.side[EXTENT_SIDE_TOMBSTONE]; }

static bool too_many(const struct shard *s)
{
    return tombstones(s)->nr >= (s->t.tombstones_max != 0 ? s->t.tombstones_max : s->xt.nr_max / TOMBSTONES_SHARE);
}

/* The segment that is to go; INDEX_NONE: none. */
static uint32_t wanted(const struct shard *s)
{
    uint32_t g = too_many(s) && !s->tombs.committing ? shard_oldest_segment(s) : INDEX_NONE;

    if (g == INDEX_NONE || extent_at(&s->xt, tombstones(s)->first)->destaged_seq < s->seg[g].seq_min)
        return INDEX_NONE;
    return g;
}

static bool needed(const struct shard *s, uint32_t g) { return s->ix.seg_dirty[g] > 0 || s->seg[g].discards > 0; }

/* ---- what it holds ---- */

/* The extent of a slot, if its entry is dirty and its record lies in the segment. */
static uint32_t extent_of_slot(const struct shard *s, uint32_t id, uint32_t g)
{
    struct index_entry n;

    if (!index_slot_used(&s->ix, id) || !(index_flags_of(&s->ix, id) & INDEX_DIRTY))
        return EXTENT_NONE;
    index_get(&s->ix, id, &n);
    return n.segment == g ? extent_find(&s->xt, n.layer, extent_no(n.block)) : EXTENT_NONE;
}

static uint32_t extent_with_discard(const struct shard *s, uint32_t x, uint32_t g)
{
    const struct extent *e = extent_at(&s->xt, x);

    return e->layer != 0 && e->discard_seq != 0 && e->discard_segment == g ? x : EXTENT_NONE;
}

/* At the cursor: first the segment's slots, then those without payload, then the nodes. */
static uint32_t extent_at_cursor(const struct shard *s)
{
    const struct oldest *o = &s->oldest;
    uint64_t i = o->cursor;

    if (i < s->ix.slots_per_segment)
        return extent_of_slot(s, o->segment * s->ix.slots_per_segment + (uint32_t)i, o->segment);
    i -= s->ix.slots_per_segment;
    if (i < s->ix.nr_virtual)
        return extent_of_slot(s, s->ix.nr_phys + (uint32_t)i, o->segment);
    return extent_with_discard(s, (uint32_t)(i - s->ix.nr_virtual) + 1, o->segment);
}

static uint64_t walk_end(const struct shard *s)
{
    return (uint64_t)s->ix.slots_per_segment + s->ix.nr_virtual + s->xt.touched;
}

static void step_over_clean(struct shard *s)
{
    struct oldest *o = &s->oldest;
    bool no_slots = s->ix.seg_dirty[o->segment] == 0 || o->cursor >= (uint64_t)s->ix.slots_per_segment + s->ix.virtual_touched;

    if (no_slots)
        o->cursor = MAX(o->cursor, (uint64_t)s->ix.slots_per_segment + s->ix.nr_virtual);
}

/* A sealed segment gets no new record, but what was clean in it may become dirty behind the cursor. */
static void walk_again(struct shard *s)
{
    struct oldest *o = &s->oldest;
    uint64_t now = env_now_ns(s->env);

    if (now < o->again_ns)
        return;
    if (o->cursor >= walk_end(s))
        o->cursor = 0;
    o->again_ns = now + AGAIN_NS;
}

/* True: the pass's budget is spent. */
static bool hurry_extents(struct shard *s)
{
    struct oldest *o = &s->oldest;
    uint32_t budget = SCAN_BUDGET;

    walk_again(s);
    step_over_clean(s);
    for (; o->cursor < walk_end(s) && needed(s, o->segment); o->cursor++) {
        uint32_t x;

        if (budget-- == 0)
            return true;
        x = extent_at_cursor(s);
        if (x == EXTENT_NONE)
            continue;
        extent_at(&s->xt, x)->flags |= EXTENT_URGENT;
        extent_relist(&s->xt, x);
    }
    return false;
}

/* ---- another witness ---- */

static void witnessed(struct journal_append *a)
{
    struct shard *s = a->ctx;

    s->oldest.appending = false;
    if (a->err == 0)
        map_seg_seq(s, a->loc.segment, a->seq);
    shard_kick(s);
}

/* What is written to the extent later has a higher seq; nothing is under way that has a lower one. */
static uint32_t any_tombstone(const struct shard *s)
{
    uint32_t x = tombstones(s)->first;

    for (uint32_t i = 0; i < WITNESS_LOOKS && x != EXTENT_NONE; i++, x = extent_at(&s->xt, x)->side_next)
        if (extent_at(&s->xt, x)->users == 0)
            return x;
    return EXTENT_NONE;
}

static void call_witness(struct shard *s)
{
    struct oldest *o = &s->oldest;
    uint32_t x = o->appending ? EXTENT_NONE : any_tombstone(s);
    const struct extent *e;

    if (x == EXTENT_NONE)
        return;
    e = extent_at(&s->xt, x);
    o->appending = true;
    o->app = (struct journal_append){.type = JOURNAL_ZERO, .stream = JOURNAL_HOST, .layer = layer_at(s, e->layer)->id,
                                     .lba = (uint64_t)e->no * EXTENT_BLOCKS, .nblocks = EXTENT_BLOCKS, .cb = witnessed, .ctx = s};
    journal_append(s->j, &o->app);
}

/* ---- the step ---- */

/* Sealing a segment early, and a witness in another one, take from the free ones: not while those are short. */
static bool room(const struct shard *s)
{
    struct journal_load load;

    journal_load(s->j, &load);
    return !s->rc.wanted && !load.starved && load.free_segments > s->reserve_segments;
}

static void aim_at(struct shard *s, uint32_t g)
{
    struct oldest *o = &s->oldest;

    if (o->segment != g || o->epoch != s->seg[g].epoch) {
        o->cursor = 0;
        o->since_ns = env_now_ns(s->env);
        o->again_ns = o->since_ns + AGAIN_NS;
    }
    o->segment = g;
    o->epoch = s->seg[g].epoch;
}

bool oldest_step(struct shard *s)
{
    uint32_t g;

    s->oldest.wanted = false;
    if (s->failed != 0 || s->draining || !too_many(s))
        return false;
    tombstones_drop(s);
    g = wanted(s);
    if (g == INDEX_NONE)
        return false;
    s->oldest.wanted = true;
    aim_at(s, g);
    if (s->seg[g].use == SEGMENT_LOG_OPEN && room(s))
        journal_segment_seal(s->j, g);
    if (s->seg[g].use != SEGMENT_LOG_SEALED)
        return false;
    if (g == s->seq_high_segment && room(s))
        call_witness(s);
    return hurry_extents(s);
}

uint64_t oldest_look_ns(const struct shard *s)
{
    const struct oldest *o = &s->oldest;

    return o->wanted && s->seg[o->segment].use == SEGMENT_LOG_SEALED && needed(s, o->segment) ? o->again_ns : UINT64_MAX;
}

/* A record without a place, to be committed or dropped, is on its way. */
static bool nodes_come_back(const struct shard *s)
{
    if (s->xt.side[EXTENT_SIDE_NO_DEVICE].nr > 0 || s->lanes[s->o.nr_capacity].state != LANE_IDLE || s->tombs.committing)
        return true;
    return s->oldest.wanted && env_now_ns(s->env) < s->oldest.since_ns + HOPE_NS;
}

bool oldest_writes_wait(const struct shard *s)
{
    return s->xt.nr_used > s->xt.nr_max - s->xt.nr_max / NODES_SPARE && nodes_come_back(s);
}

uint32_t oldest_victim(const struct shard *s)
{
    const struct oldest *o = &s->oldest;
    const struct seg *g = &s->seg[o->segment];

    if (!o->wanted || g->use != SEGMENT_LOG_SEALED || o->segment == s->seq_high_segment || needed(s, o->segment) || g->holds > 0 ||
        g->moving > 0)
        return INDEX_NONE;
    return o->segment;
}
