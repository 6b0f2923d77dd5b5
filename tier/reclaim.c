/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim.c: empties log segments, one victim at a time, when the journal runs out of free ones.
 *
 * 1. Victim: the oldest, if tombstones want it gone (oldest.c); a sealed segment with nothing dirty; else the best by
 *    what it gains for its moves (policy.h).
 * 2. Its dirty blocks: of extents that are nearly whole they are left to the mover, at first; others are read, verified, and
 *    appended to the stream of moves with their seq; when that is durable the index points there, if the entry still is the one moved.
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
 * with it, for another try; an append that fails leaves the entry where it was
 * and the segment waits; nothing is freed.
 */
#include "base/crc32c.h"
#include "tier/priv.h"

#define PLACED_A_BLOCK 8u /* blocks of twins whose records, moved, take as much room as a block; at least, for streams of 32 KiB and more */
#define SETTLE_NS  (2 * NS_PER_MS)
#define SKIP_NS    NS_PER_S
#define PASSES_DESTAGE 50u /* over one whose dirt is all to be destaged: then it moves after all */
#define TWIN_PASSES 4u /* that destage has for what lies in twins */
#define SAVE_WAIT_NS (100 * NS_PER_MS) /* for copies that are being written: what they wait for may hang */
#define SAVE_USES 2u      /* reads of a clean block since it was written: it is worth another copy's place */
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

static bool starved(const struct shard *s)
{
    struct journal_load load;

    journal_load(s->j, &load);
    return load.starved;
}

/* ---- moves ---- */

static void move_free(struct move *m)
{
    struct shard *s = m->s;

    s->rc.in_flight--;
    s->seg[m->from].moving--;
    pool_put(&s->moves, m);
    shard_kick(s);
}

/* The index points to the new place, if it still points to the old one. */
static void repoint_block(struct move *m)
{
    struct shard *s = m->s;
    uint32_t id = index_find(&s->ix, m->layer, m->app.lba);
    struct index_entry n;

    if (id == INDEX_NONE)
        return;
    index_get(&s->ix, id, &n);
    if (n.segment != m->from || n.seq != m->app.seq)
        return;
    if (s->bugs.moved_block_lost) {
        map_remove(s, id);
        return;
    }
    n.segment = m->app.loc.segment;
    n.unit = m->app.loc.unit;
    if (m->app.type == JOURNAL_DAMAGED && !(n.flags & INDEX_ZERO)) {
        if (!(n.flags & INDEX_DIRTY) || (n.flags & INDEX_KEPT)) { /* destaged meanwhile, as damaged or whole: the map knows */
            map_remove(s, id);
            return;
        }
        if (index_virtual_free(&s->ix) == 0)
            return;
        n.flags |= INDEX_DAMAGED;
        n.csum = 0;
    }
    if (n.flags & (INDEX_ZERO | INDEX_DAMAGED))
        n.unit = 0;
    map_put(s, &n);
    s->rc.moved++;
    figure_add(&s->stats.reclaim_moved_blocks, 1);
}

static void repoint_discard(struct move *m)
{
    struct shard *s = m->s;
    uint32_t x = extent_find(&s->xt, m->layer, extent_no(m->app.lba));
    struct extent *e = x == EXTENT_NONE ? NULL : extent_at(&s->xt, x);

    if (e != NULL && e->discard_seq == m->app.seq && e->discard_segment == m->from)
        map_discard_move(s, x, m->app.loc.segment);
}

static void move_appended(struct journal_append *a)
{
    struct move *m = container_of(a, struct move, app);

    if (a->err == 0) {
        map_seg_seq(m->s, a->loc.segment, m->app.seq);
        if (a->type == JOURNAL_PLACED)
            twin_record_moved(m->s, m->layer, a, m->from);
        else if (a->nblocks == EXTENT_BLOCKS)
            repoint_discard(m);
        else
            repoint_block(m);
    }
    move_free(m);
}

/* Together, so that they share a header: one of its own for each would cost as much as the blocks. */
static void moves_flush(struct shard *s)
{
    struct list *n;

    while ((n = list_pop_front(&s->rc.ready)) != NULL)
        journal_append(s->j, &list_entry(n, struct move, node)->app);
    s->rc.nr_ready = 0;
}

static void move_append(struct move *m, enum journal_rec_type type, uint64_t seq, uint64_t lba, uint64_t nblocks)
{
    bool payload = type == JOURNAL_WRITE;

    m->app = (struct journal_append){.type = type, .stream = JOURNAL_MOVES, .layer = layer_at(m->s, m->layer)->id,
                                     .lba = lba, .nblocks = nblocks, .seq = seq, .iov = payload ? &m->iov : NULL,
                                     .iovcnt = payload, .csum = payload ? &m->csum : NULL, .cb = move_appended};
    list_push_back(&m->s->rc.ready, &m->node);
    if (++m->s->rc.nr_ready == MOVES_BATCH)
        moves_flush(m->s);
}

static void move_read_done(struct dev_io *io);

static void move_read(struct move *m)
{
    m->s->rc.reads++;
    m->iov = (struct iovec){m->buf, BLOCK_BYTES};
    m->io = (struct dev_io){.len_bytes = BLOCK_BYTES, .iov = &m->iov, .iovcnt = 1, .cb = move_read_done};
    journal_read(m->s->j, m->loc, &m->io);
}

static void move_read_done(struct dev_io *io)
{
    struct move *m = container_of(io, struct move, io);
    struct shard *s = m->s;
    uint32_t id = index_slot_id(&s->ix, m->loc.segment, m->loc.unit);
    bool ok = io->err == 0;
    struct index_entry n;

    if (--s->rc.reads == 0)
        shard_kick(s); /* the last batch of a victim waits for it */
    if (!index_slot_used(&s->ix, id) || layer_at(s, m->layer)->id == 0) { /* written again, or deleted, meanwhile */
        move_free(m);
        return;
    }
    index_get(&s->ix, id, &n);
    if (ok && block_csum(m->buf, layer_at(s, n.layer)->id, n.block) != n.csum) {
        figure_add(&s->stats.csum_errors_ssd, 1);
        trace(TRACE_TIER_CSUM_ERROR, layer_at(s, n.layer)->id, n.block, n.segment);
        ok = false;
    }
    if (m->save) { /* dirty: a destage has begun to bridge with it meanwhile, and may spoil what the disk has */
        if (ok && !(n.flags & INDEX_DIRTY))
            fill_save(s, id, m->buf);
        move_free(m);
        return;
    }
    if (!ok && m->tries++ < (int)REREADS_MAX) {
        move_read(m);
        return;
    }
    if (io->err != 0) { /* no proof that it is lost */
        s->rc.stuck |= m->from == s->rc.segment;
        move_free(m);
        return;
    }
    if (!ok && (n.flags & INDEX_KEPT)) { /* no copy at all: the map has the block, and its checksum */
        map_remove(s, id);
        map_settle(s, extent_find(&s->xt, n.layer, extent_no(n.block)));
        move_free(m);
        return;
    }
    move_append(m, ok ? JOURNAL_WRITE : JOURNAL_DAMAGED, n.seq, n.block, 1);
}

static struct move *move_get(struct shard *s, uint32_t layer)
{
    struct move *m = pool_get(&s->moves);

    if (m == NULL)
        return NULL;
    s->rc.in_flight++;
    m->s = s;
    m->layer = layer;
    m->from = s->rc.segment;
    m->tries = 0;
    m->save = false;
    s->seg[m->from].moving++;
    return m;
}

/* The whole pass shares one budget, however many steps and victims it takes: hosts' requests wait for its end. */
static bool may_look(struct shard *s)
{
    if (s->rc.looks == SCAN_BUDGET)
        return false;
    s->rc.looks++;
    return true;
}

void reclaim_pass_over(struct shard *s) { s->rc.looks = 0; }

/* ---- the walks over a victim; each returns false when it must wait, and is at its end when the cursor is ---- */

/* While a stream goes past the log the disk is its own: what victims hold is moved, little as it is, instead of written between its
 * strokes. cphy-vm at 10 %, low-wear, streams of 6 MiB and more, dirty_start 60, dirty_max 80, requests of half a segment, HDD s / SSD MiB:
 * without this 179 / 1429, for 1 s after the last write past the log 177 / 1439, for 10 s and for 100 s 160 / 1343. */
#define STREAM_OVER_NS (10 * NS_PER_S)
static bool destages_victims(const struct shard *s)
{
    return s->t.destage_victims && (s->bypass_last_ns == 0 || env_now_ns(s->env) > s->bypass_last_ns + STREAM_OVER_NS);
}

/* What is nearly whole is destaged rather than moved, unless that has had its time or host writes wait; but not what is pinned. With
 * destage_victims all are, and hosts wait: if moves went on for them, the log would fill faster than any HDD empties it. */
static bool leave_to_mover(struct shard *s, uint32_t x)
{
    struct extent *e = extent_at(&s->xt, x);
    bool wanted = destages_victims(s) ? s->rc.passes <= PASSES_DESTAGE : e->nr_dirty >= POLICY_WHOLE_BLOCKS && s->rc.passes <= 1;

    if (extent_placed(e) && s->hung[e->place.dev])
        return false;
    if (!wanted || (e->flags & (EXTENT_SPARSE_MOVE | EXTENT_PINNED)) || (!destages_victims(s) && starved(s)))
        return false;
    e->flags |= EXTENT_URGENT;
    extent_relist(&s->xt, x);
    return true;
}

/* Its extent is destaged rather than its records moved. */
static bool leave_twin(struct shard *s, struct twin *t)
{
    struct extent *e = extent_at(&s->xt, t->x);

    if (s->hung[t->place.dev] || (extent_placed(e) && s->hung[e->place.dev]) || s->rc.passes > TWIN_PASSES || starved(s))
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

static bool walk_payload(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    for (; rc->cursor < s->ix.slots_per_segment && s->ix.seg_dirty[rc->segment] > 0; rc->cursor++) {
        uint32_t id = rc->segment * s->ix.slots_per_segment + rc->cursor;

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
    move_append(m, JOURNAL_PLACED, seq, (uint64_t)e->no * EXTENT_BLOCKS + first, n);
    m->app.csum = csum;
    m->app.place = extent_place_encode(t->place);
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

/* Read twice since it was written: worth the place of another copy. Once: worth one that is free, unless wear counts most. */
static bool worth_saving(const struct shard *s, uint32_t id)
{
    uint32_t uses = index_ref(&s->ix, id);

    return uses >= SAVE_USES || (uses > 0 && !s->t.admit_blocks && slots_have_free(&s->places.slots));
}

/* True: it waits for moves or for fills to end; not for longer than a device that answers takes. */
static bool save_waits(struct shard *s)
{
    struct reclaim *rc = &s->rc;
    uint64_t now = env_now_ns(s->env);

    if (now >= rc->saved_ns + SAVE_WAIT_NS)
        return false;
    rc->look_ns = now + SETTLE_NS;
    return true;
}

static bool walk_used(struct shard *s)
{
    struct reclaim *rc = &s->rc;

    for (; rc->cursor < s->ix.slots_per_segment && s->ix.seg_live[rc->segment] > 0; rc->cursor++) {
        uint32_t id = rc->segment * s->ix.slots_per_segment + rc->cursor;
        struct index_entry n;
        struct move *m;

        if (s->draining || starved(s)) /* a stop, or hosts, had to wait for it */
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

    for (; rc->cursor < s->ix.slots_per_segment && s->ix.seg_live[rc->segment] > 0; rc->cursor++) {
        uint32_t id = rc->segment * s->ix.slots_per_segment + rc->cursor;
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

/* ---- choosing, and the end ---- */

enum price { PRICE_NOTHING, PRICE_HALF, PRICE_FAIR, PRICE_ANY }; /* what a victim may cost in moves; HALF: of its blocks */

static double victim_score(const struct shard *s, uint32_t g, enum price price)
{
    uint32_t records = s->seg[g].discards + (s->seg[g].placed + PLACED_A_BLOCK - 1) / PLACED_A_BLOCK;
    struct policy_segment p = {.segment = g, .slots = s->ix.slots_per_segment, .dirty = s->ix.seg_dirty[g] + records,
                               .live = s->ix.seg_live[g] + records,
                               .age = s->newest_epoch - s->seg[g].epoch};
    double score;

    if (p.dirty > s->victim_max || (price == PRICE_NOTHING && p.dirty > 0) || (price == PRICE_HALF && p.dirty > p.slots / 2))
        return 0;
    score = policy_victim_score(&p);
    return score == 0 && price == PRICE_ANY ? (double)(p.slots - p.dirty) / (double)p.slots / 1e6 : score;
}

/* Of the log. */
static uint32_t victim(struct shard *s, enum price price, double *best_score)
{
    uint64_t now = env_now_ns(s->env);
    uint32_t best = INDEX_NONE;

    *best_score = 0;
    for (uint32_t g = 0; g < s->log_segments; g++) {
        double score;

        if (s->seg[g].use != SEGMENT_LOG_SEALED || s->seg[g].holds > 0 || s->seg[g].moving > 0 ||
            g == s->seq_high_segment || s->seg[g].skip_until_ns > now)
            continue;
        score = victim_score(s, g, price);
        if (score > *best_score) {
            *best_score = score;
            best = g;
        }
    }
    return best;
}

/* Of the segments for clean copies; one that is better than `score`. */
static uint32_t slot_victim(struct shard *s, double score)
{
    uint32_t best = INDEX_NONE;

    for (uint32_t g = 0; g < s->log_segments; g++) { /* what lies on other devices is of no use to the log */
        double of = s->seg[g].use == SEGMENT_SLOTS ? places_victim_score(s, g, score) : 0;

        if (of > score) {
            score = of;
            best = g;
        }
    }
    return best;
}

double reclaim_score(const struct shard *s, uint32_t g) { return victim_score(s, g, PRICE_FAIR); }

/* The journal asks at its reserve and two more; in a tiny pool that would be every segment there is. */
uint32_t reclaim_free_target(const struct shard *s) { return MIN(s->reserve_segments + 2, MAX(s->log_segments / 2, 2u) - 1); }

/* A draining shard begins nothing new but for appends that wait: hosts', or its own moves'. */
static bool may_work(const struct shard *s, bool appends_wait)
{
    return !s->draining || appends_wait || s->rc.in_flight > 0;
}

static bool space_needed(struct shard *s)
{
    struct journal_load load;

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
    if (destages_victims(s) && s->ix.seg_dirty[g] > 0)
        reclaim_press(s, g);
}

/* Copies are evicted all the time: if a segment of the log is worth less than those, its place is theirs. */
static void reclaim_for_places(struct shard *s)
{
    double score;
    uint32_t g = victim(s, PRICE_HALF, &score);

    s->places.wants_segment = false;
    if (g != INDEX_NONE) {
        take_victim(s, g);
        s->rc.for_places = true;
    }
}

/* What the log gives, or the clean copies. While a segment of those closes, and nothing hurries, only what costs nothing. */
static uint32_t cheapest(struct shard *s, bool hurry)
{
    bool may_release = places_may_release(s);
    double score;
    uint32_t g = victim(s, hurry ? PRICE_ANY : may_release ? PRICE_FAIR : PRICE_NOTHING, &score);
    uint32_t copies = may_release ? slot_victim(s, score) : INDEX_NONE;

    return copies != INDEX_NONE ? copies : g;
}

static void reclaim_begin(struct shard *s)
{
    struct reclaim *rc = &s->rc;
    bool hurry = starved(s);
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
    g = cheapest(s, hurry);
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
    g = victim(s, PRICE_NOTHING, &score);
    if (g != INDEX_NONE)
        take_victim(s, g);
    else if (places_may_release(s) && (g = slot_victim(s, 0)) != INDEX_NONE)
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
    rc->look_ns = env_now_ns(s->env) + SETTLE_NS;
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

static bool walk(struct shard *s)
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
    if (!walk(s)) {
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
    if (rc->state == RECLAIM_IDLE && (!rc->wanted || rc->seen_changes != UINT64_MAX || !may_work(s, starved(s))))
        return UINT64_MAX;
    return rc->look_ns;
}

bool reclaim_busy(const struct shard *s) { return s->rc.state != RECLAIM_IDLE || s->rc.in_flight > 0; }
