/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim.c: empties log segments, one victim at a time, when the journal runs out of free ones.
 *
 * 1. Victim: the oldest, if tombstones want it gone (oldest.c); a sealed segment with nothing dirty; else the best by
 *    what it gains for its moves (reclaim_victim.c).
 * 2. Its dirty blocks: of extents that are nearly whole (destage_victims: of all) they are left to the mover, at first; others are read,
 *    verified, and appended to the stream of moves with their seq; when that is durable the index points there, if the entry still is
 *    the one moved (reclaim_walk.c, reclaim_move.c).
 * 3. Entries without payload and whole-extent zeros whose records lie in it move as records; so do those that name blocks of twins,
 *    unless destage makes them needless first.
 * 4. When nothing in it is needed (dirty, discards, holds all 0) those of its clean blocks that hosts read are saved: read, verified, and
 *    copied to places (fill.c), as if a disk had brought them. Not while hosts wait for space, nor when copies take too long to write.
 *    The other clean entries are dropped.
 * 5. Batch {G: segment is free up to its epoch}; when it has committed, and not before, the journal may use the segment again.
 * Then tombstones whose extents no log segment can name any more are deleted.
 * No segment is free for moves either: victims that destage has emptied since go first, then clean copies; those moves wait.
 *
 * Why moving always gains space. What a victim needs in the stream of moves fits in one segment, headers and all: moves are appended
 * in batches that share a header, and a segment with more than victim_max blocks to be moved is no victim. So after V victims,
 * with one more under way, the stream has filled at most V segments, has one that it fills and perhaps the next one open: it
 * has taken at most V + 2 and given back V. Two a shard is what the journal keeps from hosts (reserve_segments). And there is a
 * victim: log_blocks counts victim_max blocks a segment, without the reserve and the open ones, and dirty data is a part of it, so
 * the sealed segments have less than victim_max to be moved on average. A crash seals a segment that is partly filled, and so costs part of
 * the reserve until that one, sparse as it is, becomes a victim; should it run out, destage empties segments without it.
 *
 * Failures: a block whose bytes are bad moves as a DAMAGED record; one that the device does not give stays, and its segment
 * with it, for another try; an append that fails leaves the entry where it was and the segment waits; nothing is freed.
 */
#include "tier/forget.h"
#include "tier/marks.h"
#include "tier/oldest.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/reclaim.h"

#define SKIP_NS    NS_PER_S
#define PASSES_MAX 8u /* over a victim that a destage holds: then another one is looked for */

static void set_state(struct shard *s, enum reclaim_state to)
{
    static const bool allowed[RECLAIM_STATE_NR][RECLAIM_STATE_NR] = {
        [RECLAIM_IDLE]     = {[RECLAIM_MOVE] = true},
        [RECLAIM_MOVE]     = {[RECLAIM_VIRTUAL] = true, [RECLAIM_MOVE] = true},
        [RECLAIM_VIRTUAL]  = {[RECLAIM_DISCARDS] = true, [RECLAIM_MOVE] = true},
        [RECLAIM_DISCARDS] = {[RECLAIM_PLACED] = true, [RECLAIM_MOVE] = true},
        [RECLAIM_PLACED]   = {[RECLAIM_SETTLE] = true, [RECLAIM_MOVE] = true},
        [RECLAIM_SETTLE]   = {[RECLAIM_MOVE] = true, [RECLAIM_SAVE] = true, [RECLAIM_DROP] = true, [RECLAIM_IDLE] = true},
        [RECLAIM_SAVE]     = {[RECLAIM_SETTLE] = true, [RECLAIM_MOVE] = true},
        [RECLAIM_DROP]     = {[RECLAIM_SETTLE] = true, [RECLAIM_COMMIT] = true},
        [RECLAIM_COMMIT]   = {[RECLAIM_IDLE] = true},
    };

    assert(allowed[s->rc.state][to]);
    s->rc.state = to;
    s->rc.cursor = 0;
}

bool reclaim_starved(const struct shard *s) { return journal_starved(s->j); }

/* ---- a victim is taken ---- */

/* A draining shard begins nothing new but for appends that wait: hosts', or its own moves'. */
static bool may_work(const struct shard *s, bool appends_wait)
{
    return !s->draining || appends_wait || s->rc.in_flight > 0;
}

static bool space_needed(struct shard *s)
{
    struct journal_load load;

    if (!s->rc.wanted && !s->places.wants_segment && !reclaim_starved(s)) /* as after nearly every request */
        return oldest_victim(s) != INDEX_NONE;
    journal_load(s->j, &load);
    if (!load.starved && load.free_segments > reclaim_free_target(s))
        s->rc.wanted = false;
    if (load.starved)
        s->rc.wanted = true;
    if (s->places.wants_segment && (s->draining || load.free_segments > reclaim_free_target(s) + 1))
        s->places.wants_segment = false;
    return (s->rc.wanted && may_work(s, load.starved)) || s->places.wants_segment || oldest_victim(s) != INDEX_NONE;
}

static void take_victim(struct shard *s, uint32_t g)
{
    struct reclaim *rc = &s->rc;

    rc->segment = g;
    rc->passes = 1;
    rc->moved = 0;
    rc->forgot = rc->stuck = rc->saved = rc->for_places = false;
    trace(TRACE_TIER_RECLAIM_START, g, s->ix.seg_dirty[g], s->seg[g].epoch);
    set_state(s, RECLAIM_MOVE);
    if (reclaim_destages(s) && s->ix.seg_dirty[g] > 0)
        reclaim_press(s, g);
}

/* Copies are evicted all the time: if a segment of the log is worth less than those, its place is theirs. */
static void reclaim_for_places(struct shard *s)
{
    double score;
    uint32_t g = reclaim_victim(s, PRICE_HALF, &score);

    s->places.wants_segment = false;
    if (g != INDEX_NONE) {
        take_victim(s, g);
        s->rc.for_places = true;
    }
}

static void reclaim_begin(struct shard *s)
{
    struct reclaim *rc = &s->rc;
    bool hurry = reclaim_starved(s);
    uint32_t g = oldest_victim(s);

    if (g != INDEX_NONE) {
        take_victim(s, g);
        return;
    }
    if (!rc->wanted) {
        reclaim_for_places(s);
        return;
    }
    if (rc->seen_changes == s->changes && rc->seen_starved == hurry)
        return;
    g = reclaim_cheapest(s, hurry);
    rc->seen_changes = g == INDEX_NONE ? s->changes : UINT64_MAX;
    rc->seen_starved = hurry;
    if (g == INDEX_NONE)
        return;
    if (s->seg[g].use == SEGMENT_SLOTS)
        places_release(s, g);
    else
        take_victim(s, g);
}

/* Moves wait for a free segment themselves, or hosts wait for moves: destage has emptied other segments meanwhile, and those
 * cost nothing; nor do copies. */
static void leave_for_empty_one(struct shard *s)
{
    struct journal_load load;
    double score;
    uint32_t g;

    journal_load(s->j, &load);
    if (load.free_segments > 0 && !load.starved)
        return;
    g = reclaim_victim(s, PRICE_NOTHING, &score);
    if (g != INDEX_NONE)
        take_victim(s, g);
    else if (places_may_release(s) && (g = reclaim_slot_victim(s, 0)) != INDEX_NONE)
        places_release(s, g);
}

static bool needed(const struct shard *s)
{
    const struct seg *g = &s->seg[s->rc.segment];

    return (s->ix.seg_dirty[s->rc.segment] > 0 && !s->bugs.victim_dirty_dropped) || g->discards > 0 || g->placed > 0 || g->holds > 0;
}

static void settle(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    if (s->seg[rc->segment].moving > 0) {
        leave_for_empty_one(s);
        return;
    }
    if (!needed(s)) {
        set_state(s, rc->saved ? RECLAIM_DROP : RECLAIM_SAVE);
        rc->saved = true;
        rc->saved_ns = env_now_ns(s->env);
        return;
    }
    rc->look_ns = env_now_ns(s->env) + RECLAIM_SETTLE_NS;
    if (rc->stuck)
        s->seg[rc->segment].skip_until_ns = env_now_ns(s->env) + SKIP_NS;
    if (rc->stuck || (rc->passes++ >= PASSES_MAX && s->seg[rc->segment].holds > 0))
        set_state(s, RECLAIM_IDLE);
    else
        set_state(s, RECLAIM_MOVE);
}

static void segment_freed(struct shard *s, uint32_t g)
{
    s->seg[g] = (struct seg){.use = SEGMENT_FREE};
    index_segment_left(&s->ix, g);
    figure_add(&s->stats.reclaim_segments, 1);
    tombstones_drop(s);
}

static void reclaim_committed(struct meta_batch *b)
{
    struct shard *s = b->ctx;
    struct reclaim *rc = &s->rc;

    trace(TRACE_META_COMMIT, b->commit_no, b->nr, (uint64_t)-b->err);
    trace(TRACE_TIER_RECLAIM_DONE, rc->segment, rc->moved, (uint64_t)-b->err);
    if (b->err != 0) {
        shard_fail(s, -FIRN_E_META); /* whether the segment is free only a restart can tell: it stays as it is */
        set_state(s, RECLAIM_IDLE);
        return;
    }
    figure_add(&s->stats.meta_batches, 1);
    segment_freed(s, rc->segment);
    rc->seen_changes = UINT64_MAX;
    if (!s->bugs.free_before_commit)
        journal_segment_free(s->j, rc->segment);
    if (rc->for_places && !s->draining) /* now: the log would have it before the next copy comes */
        (void)journal_slots_open(s->j, reclaim_free_target(s) + 1);
    set_state(s, RECLAIM_IDLE);
    shard_kick(s);
}

static void reclaim_commit(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    assert(s->ix.seg_live[rc->segment] == 0 && !needed(s));
    set_state(s, RECLAIM_COMMIT);
    s->seg[rc->segment].use = SEGMENT_FREEING;
    rc->op[0] = (struct meta_op){.key = meta_key_segment(rc->segment), .value = rc->rec,
                                 .value_len = segment_rec_encode(s->seg[rc->segment].epoch, rc->rec)};
    rc->op[1] = (struct meta_op){.key = meta_key_shard(s->o.no), .value = rc->shard_rec,
                                 .value_len = marks_encode(s, rc->shard_rec)};
    rc->batch = (struct meta_batch){.ops = rc->op, .nr = 2, .env = s->env, .cb = reclaim_committed, .ctx = s};
    if (s->bugs.free_before_commit)
        journal_segment_free(s->j, rc->segment);
    meta_commit(s->o.meta, &rc->batch);
}

/* The walk is over, or was broken off, and what is read has come: a short batch. */
static void flush_rest(struct shard *s)
{
    struct reclaim *rc = &s->rc;
    bool walking = rc->state == RECLAIM_MOVE || rc->state == RECLAIM_VIRTUAL || rc->state == RECLAIM_DISCARDS ||
                   rc->state == RECLAIM_PLACED;

    if (rc->nr_ready > 0 && (s->failed != 0 || (!walking && rc->reads == 0)))
        moves_flush(s);
}

bool reclaim_step(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    flush_rest(s);
    if (s->failed != 0 || s->stopping || env_now_ns(s->env) < rc->look_ns)
        return false;
    if (rc->state == RECLAIM_IDLE) {
        if (!space_needed(s))
            return false;
        reclaim_begin(s);
        return rc->state != RECLAIM_IDLE;
    }
    if (rc->state == RECLAIM_COMMIT)
        return false;
    if (rc->state == RECLAIM_SETTLE) {
        settle(s);
        return rc->state != RECLAIM_SETTLE && env_now_ns(s->env) >= rc->look_ns;
    }
    if (!reclaim_walk(s)) {
        if (rc->looks < SCAN_BUDGET) /* out of moves */
            leave_for_empty_one(s);
        else
            shard_kick(s); /* the next pass goes on */
        return false;
    }
    if (rc->state == RECLAIM_SAVE)
        set_state(s, RECLAIM_SETTLE);
    else if (rc->state != RECLAIM_DROP)
        set_state(s, rc->state + 1);
    else if (needed(s) || s->ix.seg_live[rc->segment] > 0)
        set_state(s, RECLAIM_SETTLE);
    else
        reclaim_commit(s);
    return rc->state != RECLAIM_COMMIT;
}

uint64_t reclaim_look_ns(const struct shard *s)
{
    const struct reclaim *rc = &s->rc;

    if (s->failed != 0 || rc->state == RECLAIM_COMMIT || (rc->state != RECLAIM_IDLE && s->seg[rc->segment].moving > 0))
        return UINT64_MAX;
    if (rc->state == RECLAIM_IDLE && (!rc->wanted || rc->seen_changes != UINT64_MAX || !may_work(s, reclaim_starved(s))))
        return UINT64_MAX;
    return rc->look_ns;
}

bool reclaim_busy(const struct shard *s) { return s->rc.state != RECLAIM_IDLE || s->rc.in_flight > 0; }
