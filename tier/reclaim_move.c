/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim_move.c: one block, or one record without payload, leaves reclaim's victim.
 *
 * 1. Its block is read from the victim, and verified against the index. (A record without payload begins with 2.)
 * 2. It is appended to the stream of moves with its seq, together with others: MOVES_BATCH share a header.
 * 3. When that is durable the index points there, if the entry still is the one moved; likewise the node of a whole-extent zero.
 * A clean block that is to be saved goes from 1 to a place for copies instead (fill.c).
 *
 * Failures: bytes that are bad after REREADS_MAX tries move as a DAMAGED record, unless the map has the block; a block that the device does
 * not give stays where it is, and reclaim knows that the victim is stuck; an append that fails leaves the entry where it was.
 */
#include "base/crc32c.h"
#include "tier/fill.h"
#include "tier/map.h"
#include "tier/priv.h"
#include "tier/reclaim.h"
#include "tier/twin.h"

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
void moves_flush(struct shard *s)
{
    struct list *n;

    while ((n = list_pop_front(&s->rc.ready)) != NULL)
        journal_append(s->j, &list_entry(n, struct move, node)->app);
    s->rc.nr_ready = 0;
}

static void move_queue(struct move *m)
{
    list_push_back(&m->s->rc.ready, &m->node);
    if (++m->s->rc.nr_ready == MOVES_BATCH)
        moves_flush(m->s);
}

void move_append(struct move *m, enum journal_rec_type type, uint64_t seq, uint64_t lba, uint64_t nblocks)
{
    bool payload = type == JOURNAL_WRITE;

    m->app = (struct journal_append){.type = type, .stream = JOURNAL_MOVES, .layer = layer_at(m->s, m->layer)->id,
                                     .lba = lba, .nblocks = nblocks, .seq = seq, .iov = payload ? &m->iov : NULL,
                                     .iovcnt = payload, .csum = payload ? &m->csum : NULL, .cb = move_appended};
    move_queue(m);
}

void move_append_placed(struct move *m, uint64_t seq, uint64_t lba, uint64_t nblocks, uint64_t place)
{
    m->app = (struct journal_append){.type = JOURNAL_PLACED, .stream = JOURNAL_MOVES, .layer = layer_at(m->s, m->layer)->id, .lba = lba,
                                     .nblocks = nblocks, .seq = seq, .csum = (const uint32_t *)(const void *)m->buf, .place = place,
                                     .cb = move_appended};
    move_queue(m);
}

static void move_read_done(struct dev_io *io);

void move_read(struct move *m)
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
            fill_save(s, id, m->buf, index_ref(&s->ix, id) < RECLAIM_SAVE_USES);
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

struct move *move_get(struct shard *s, uint32_t layer)
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
