/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim_walk.c: the walks over reclaim's victim, one a state; each goes on at the cursor, and is over when the cursor is at its end.
 *
 * 1. RECLAIM_MOVE: its dirty blocks move, or are left to the mover.
 * 2. RECLAIM_VIRTUAL, RECLAIM_DISCARDS: entries without payload and whole-extent zeros whose records lie in it move as records.
 *    RECLAIM_PLACED: so do records of blocks in twins, unless destage makes them needless first.
 * 3. RECLAIM_SAVE: of its clean blocks those that hosts read go to places. RECLAIM_DROP: the others leave the index.
 * A walk that finds no struct for a move, or has looked at enough in this pass, stops there and goes on in another pass.
 * What fails a walk leaves to its move (reclaim_move.c).
 */
#include "tier/bypass.h"
#include "tier/fill.h"
#include "tier/map.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/reclaim.h"
#include "tier/twin.h"

#define PASSES_DESTAGE 50u /* over one whose dirt is all to be destaged: then it moves after all */
#define TWIN_PASSES 4u     /* that destage has for what lies in twins */
#define HOT_AROUND ((float)(HEAT_CELL_BYTES >> 14)) /* reads of 4 MiB, lately; four times as many: as if there were no such rule */
#define SAVE_WAIT_NS (100 * NS_PER_MS) /* for copies that are being written: what they wait for may hang */

/* The whole pass shares one budget, however many steps and victims it takes: hosts' requests wait for its end. */
static bool may_look(struct shard *s)
{
    if (s->rc.looks == SCAN_BUDGET)
        return false;
    s->rc.looks++;
    return true;
}

void reclaim_pass_over(struct shard *s) { s->rc.looks = 0; }

/* While a stream goes past the log the disk is its own: what victims hold is moved, little as it is, instead of written between its
 * strokes. cphy-vm at 10 %, low-wear, streams of 6 MiB and more, dirty_start 60, dirty_max 80, requests of half a segment, HDD s / SSD MiB:
 * without this 179 / 1429, for 1 s after the last write past the log 177 / 1439, for 10 s and for 100 s 160 / 1343. */
#define STREAM_OVER_NS (10 * NS_PER_S)
bool reclaim_destages(const struct shard *s)
{
    return s->t.destage_victims && (s->bypass_last_ns == 0 || env_now_ns(s->env) > s->bypass_last_ns + STREAM_OVER_NS);
}

/* Hosts wait for a segment, and moves give them one without the disk. But what moves stays dirty: where the dirt of victims is to be
 * destaged, only up to the limit, at which hosts would wait for the disk anyway; beyond it moves would fill the log faster than any HDD
 * empties it. */
static bool hosts_hurry(const struct shard *s)
{
    return reclaim_starved(s) && (!reclaim_destages(s) || !policy_writes_wait(shard_log_dirty(s), s->log_blocks, s->t.dirty_max_pct));
}

/* What is nearly whole is destaged rather than moved, unless that has had its time or hosts hurry; but not what is pinned. With
 * destage_victims all is. */
static bool leave_to_mover(struct shard *s, uint32_t x)
{
    struct extent *e = extent_at(&s->xt, x);
    bool wanted = reclaim_destages(s) ? s->rc.passes <= PASSES_DESTAGE : e->nr_dirty >= POLICY_WHOLE_BLOCKS && s->rc.passes <= 1;

    if (extent_placed(e) && s->hung[e->place.dev])
        return false;
    if (!wanted || (e->flags & (EXTENT_SPARSE_MOVE | EXTENT_PINNED)) || hosts_hurry(s))
        return false;
    e->flags |= EXTENT_URGENT;
    extent_relist(&s->xt, x);
    return true;
}

/* Its extent is destaged rather than its records moved. */
static bool leave_twin(struct shard *s, struct twin *t)
{
    struct extent *e = extent_at(&s->xt, t->x);

    if (s->hung[t->place.dev] || (extent_placed(e) && s->hung[e->place.dev]) || s->rc.passes > TWIN_PASSES || reclaim_starved(s))
        return false;
    if (!e->whole && e->state == EXTENT_IDLE) {
        e->flags |= EXTENT_URGENT;
        extent_relist(&s->xt, t->x);
    }
    return true;
}

static bool move_slot(struct shard *s, uint32_t id)
{
    struct index_entry n;
    struct move *m;

    index_get(&s->ix, id, &n);
    if (s->bugs.move_drops_dirty && !s->rc.forgot) {
        s->rc.forgot = true;
        map_remove(s, id);
        return true;
    }
    if (leave_to_mover(s, extent_find(&s->xt, n.layer, extent_no(n.block))))
        return true;
    m = move_get(s, n.layer);
    if (m == NULL)
        return false;
    m->csum = n.csum;
    m->loc = (struct journal_loc){n.segment, n.unit};
    move_read(m);
    return true;
}

/* To be moved, before the segment may go. */
static bool keeps(const struct shard *s, uint32_t id)
{
    if (s->bugs.victim_dirty_dropped && index_ref(&s->ix, id) == 0)
        return false;
    return (index_flags_of(&s->ix, id) & INDEX_DIRTY) != 0;
}

/* The next slot of the victim, while there are any of what the walk is after: left, by segment. */
static bool walk_next(const struct shard *s, const uint32_t *left, uint32_t *id)
{
    const struct reclaim *rc = &s->rc;

    *id = rc->segment * s->ix.slots_per_segment + rc->cursor;
    return rc->cursor < s->ix.slots_per_segment && left[rc->segment] > 0;
}

static bool walk_payload(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    for (uint32_t id; walk_next(s, s->ix.seg_dirty, &id); rc->cursor++) {
        if (!may_look(s))
            return false;
        if (index_slot_used(&s->ix, id) && keeps(s, id) && !move_slot(s, id))
            return false;
    }
    return true;
}

static bool walk_virtual(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    for (; rc->cursor < s->ix.virtual_touched && s->ix.seg_dirty[rc->segment] > 0; rc->cursor++) {
        uint32_t id = s->ix.nr_phys + rc->cursor;
        struct index_entry n;
        struct move *m;

        if (!may_look(s))
            return false;
        if (!index_slot_used(&s->ix, id))
            continue;
        index_get(&s->ix, id, &n);
        if (n.segment != rc->segment)
            continue;
        m = move_get(s, n.layer);
        if (m == NULL)
            return false;
        move_append(m, n.flags & INDEX_ZERO ? JOURNAL_ZERO : JOURNAL_DAMAGED, n.seq, n.block, 1);
    }
    return true;
}

static bool walk_discards(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    for (; rc->cursor < s->xt.touched && s->seg[rc->segment].discards > 0; rc->cursor++) {
        struct extent *e = extent_at(&s->xt, rc->cursor + 1);
        struct move *m;

        if (!may_look(s))
            return false;
        if (e->layer == 0 || e->discard_seq == 0 || e->discard_segment != rc->segment)
            continue;
        m = move_get(s, e->layer);
        if (m == NULL)
            return false;
        move_append(m, JOURNAL_ZERO, e->discard_seq, (uint64_t)e->no * EXTENT_BLOCKS, EXTENT_BLOCKS);
    }
    return true;
}

/* Blocks of one record: a record for each would take more room than what it was made of. */
static bool move_placed(struct shard *s, struct twin *t, uint32_t first, uint32_t n)
{
    const struct extent *e = extent_at(&s->xt, t->x);
    struct move *m = move_get(s, e->layer);
    uint32_t *csum;
    uint64_t seq = 0;

    if (m == NULL)
        return false;
    csum = (void *)m->buf;
    static_assert(EXTENT_BLOCKS * sizeof(*csum) <= BLOCK_BYTES, "checksums of an extent fit a move's block");
    for (uint32_t i = 0; i < n; i++)
        csum[i] = twin_block(s, t, first + i, &seq);
    move_append_placed(m, seq, (uint64_t)e->no * EXTENT_BLOCKS + first, n, extent_place_encode(t->place));
    return true;
}

static bool walk_placed(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    while (rc->cursor < TWINS_MAX * EXTENT_BLOCKS && s->seg[rc->segment].placed > 0) {
        struct twin *t = &s->twins[rc->cursor / EXTENT_BLOCKS];
        uint32_t first = rc->cursor % EXTENT_BLOCKS, n = t->x == EXTENT_NONE ? 0 : twin_run(s, t, first, rc->segment);

        if (!may_look(s))
            return false;
        if (t->x == EXTENT_NONE || (first == 0 && leave_twin(s, t)))
            rc->cursor += EXTENT_BLOCKS - first;
        else if (n == 0)
            rc->cursor++;
        else if (!move_placed(s, t, first, n))
            return false;
        else
            rc->cursor += n;
    }
    return true;
}

/* Since long before its segment's turn began: one read for each 16 KiB of the 4 MiB that it lies in. */
static bool read_around(const struct shard *s, uint32_t id)
{
    struct index_entry n;

    index_get(&s->ix, id, &n);
    return heat_get(&s->heat, heat_now_s(s), n.layer, (uint32_t)(n.block / HEAT_CELL_BLOCKS)).read >= HOT_AROUND;
}

/* Read twice since it was written: worth the place of another copy. Once: worth one that is free, unless wear counts most. Where the SSD is
 * roomy, in any profile, the log gives a segment if none is free, and what hosts have not read since, but read around, is worth it, too. */
static bool worth_saving(struct shard *s, uint32_t id)
{
    uint32_t uses = index_ref(&s->ix, id);
    bool free = slots_have_free(&s->places.slots);

    if (uses >= RECLAIM_SAVE_USES)
        return true;
    if (!places_roomy(s))
        return uses > 0 && free && !s->t.admit_blocks;
    if (uses == 0 && !read_around(s, id))
        return false;
    if (!free)
        places_ask(s);
    return free;
}

/* True: it waits for moves or for fills to end; not for longer than a device that answers takes. */
static bool save_waits(struct shard *s)
{
    struct reclaim *rc = &s->rc;
    uint64_t now = env_now_ns(s->env);

    if (now >= rc->saved_ns + SAVE_WAIT_NS)
        return false;
    rc->look_ns = now + RECLAIM_SETTLE_NS;
    return true;
}

static bool walk_used(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    for (uint32_t id; walk_next(s, s->ix.seg_live, &id); rc->cursor++) {
        struct index_entry n;
        struct move *m;

        if (s->draining || reclaim_starved(s)) /* a stop, or hosts, had to wait for it */
            return true;
        if (!may_look(s))
            return false;
        if (!index_slot_used(&s->ix, id) || keeps(s, id) || !worth_saving(s, id))
            continue;
        index_get(&s->ix, id, &n);
        if (!fill_may_save(s, &n))
            continue;
        m = fill_crowded(s, rc->reads) ? NULL : move_get(s, n.layer);
        if (m == NULL)
            return !save_waits(s);
        m->save = true;
        rc->saved_ns = env_now_ns(s->env);
        m->csum = n.csum;
        m->loc = (struct journal_loc){n.segment, n.unit};
        move_read(m);
    }
    return true;
}

static bool drop_clean(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    for (uint32_t id; walk_next(s, s->ix.seg_live, &id); rc->cursor++) {
        struct index_entry n;
        uint32_t x;

        if (!may_look(s))
            return false;
        if (!index_slot_used(&s->ix, id) || keeps(s, id))
            continue; /* dirty: since the victim was looked at, a destage began to bridge with it */
        index_get(&s->ix, id, &n);
        x = extent_find(&s->xt, n.layer, extent_no(n.block));
        map_remove(s, id);
        map_settle(s, x);
        figure_add(&s->stats.reclaim_dropped_blocks, 1);
    }
    return true;
}

bool reclaim_walk(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    switch (rc->state) {
    case RECLAIM_MOVE:
        return walk_payload(s);
    case RECLAIM_VIRTUAL:
        return walk_virtual(s);
    case RECLAIM_DISCARDS:
        return walk_discards(s);
    case RECLAIM_PLACED:
        return walk_placed(s);
    case RECLAIM_SAVE:
        return walk_used(s);
    case RECLAIM_DROP:
        return drop_clean(s);
    case RECLAIM_IDLE:
    case RECLAIM_SETTLE:
    case RECLAIM_COMMIT:
    case RECLAIM_STATE_NR:
        break;
    }
    return true;
}
