/* SPDX-License-Identifier: Apache-2.0 */
/* fill.c: blocks that were read from capacity devices, and are worth it, are copied to places on the SSD.
 *
 * 1. A miss, or a block that RAM had: admit.c says which blocks of the chunk are worth a place. Their frames are marked, or, if
 *    they are ready, copied at once.
 * 2. A fetch arrives: its marked frames get places; those that lie beside each other are one write, without a flush.
 *    A frame is lent meanwhile: nobody gets it for something else.
 * 3. The write is over: a frame that nobody has dropped since holds what the map names, and the log has nothing newer of its block. Only
 *    then does the copy enter the index; the frame goes.
 * What reclaim saves of the log (reclaim.c) goes the same way, from step 2 on.
 * Failures: no place, no struct, too many frames lent: the block stays where it was, until it is asked for again. The block
 * changed meanwhile: the place is given back. The SSD refuses a write: no more copies there until the next start; the log finds out for
 * itself.
 */
#include "tier/fetch.h"
#include "tier/fill.h"
#include "tier/map.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/quota.h"
#include "tier/read.h"

#define LENT_SHARE 4u            /* of all frames, one in so many at most */

bool fill_busy(const struct shard *s) { return s->places.fills.nr_free < s->places.fills.nr; }

/* ---- a copy's way ---- */

static bool layer_same(const struct shard *s, const struct fill *f)
{
    const struct layer *y = layer_at(s, f->layer);

    return y->id == f->layer_id && y->vol != NULL;
}

/* Planted: whatever has become of its block. */
static bool believed(const struct shard *s, const struct fill *f)
{
    uint32_t x = extent_find(&s->xt, f->layer, f->no);

    return s->bugs.fill_after_write && x != EXTENT_NONE && extent_mapped(extent_at(&s->xt, x));
}

static void copy_written(struct fill *f, uint32_t i)
{
    struct shard *s = f->s;
    struct places *p = &s->places;
    uint32_t id = f->place + i;
    bool same = stage_returned(&s->stage, f->frame[i]), kept = layer_same(s, f) && (same || believed(s, f));
    struct index_entry n = {.layer = f->layer, .block = (uint64_t)f->no * EXTENT_BLOCKS + f->in_extent[i], .csum = f->csum[i]};

    p->nr_lent--;
    if (layer_at(s, f->layer)->id == f->layer_id)
        layer_at(s, f->layer)->nr_filling--;
    if (f->io.err != 0 || !kept || p->slots.seg[id / p->slots.per_segment].closing) {
        slots_give_back(&p->slots, id);
        figure_add(&s->stats.fill_dropped, 1);
        return;
    }
    places_put(s, &n, id, slots_filled(&p->slots, id));
    figure_add(&s->stats.fill_blocks, 1);
}

static void fill_written(struct dev_io *io)
{
    struct fill *f = container_of(io, struct fill, io);
    struct shard *s = f->s;

    if (io->err != 0)
        places_write_failed(s, f->place / s->places.slots.per_segment, io->err);
    for (uint32_t i = 0; i < f->n; i++)
        copy_written(f, i);
    pool_put(&s->places.fills, f);
    shard_kick(s);
}

static void submit(struct shard *s)
{
    struct fill *f = s->places.cur;
    struct journal_loc loc;

    s->places.cur = NULL;
    if (f == NULL)
        return;
    loc = (struct journal_loc){f->place / s->places.slots.per_segment,
                               f->place % s->places.slots.per_segment * JOURNAL_UNITS_PER_BLOCK};
    f->io = (struct dev_io){.len_bytes = (uint64_t)f->n * BLOCK_BYTES, .iov = f->iov, .iovcnt = (int)f->n, .cb = fill_written};
    journal_slots_write(s->j, loc, &f->io);
}

static struct fill *fill_new(struct shard *s, const struct frame *m, uint32_t place)
{
    const struct extent *e = extent_at(&s->xt, m->x);
    struct fill *f = pool_get(&s->places.fills);

    if (f == NULL)
        return NULL;
    f->s = s;
    f->layer = e->layer;
    f->layer_id = layer_at(s, e->layer)->id;
    f->no = e->no;
    f->x = m->x;
    f->place = place;
    f->n = 0;
    return f;
}

static bool follows(const struct fill *f, uint32_t x, uint32_t place)
{
    return f != NULL && f->x == x && f->n < FILL_BLOCKS && place == f->place + f->n;
}

static bool may_copy(const struct shard *s)
{
    const struct places *p = &s->places;

    return s->failed == 0 && !s->stopping && p->nr_lent < s->stage.nr / LENT_SHARE && places_any_usable(s);
}

/* A ready frame. False: it was not to be. */
static bool copy(struct shard *s, uint32_t fr, enum fill_kind kind)
{
    struct places *p = &s->places;
    const struct frame *m = stage_frame(&s->stage, fr);
    struct fill *f;
    uint32_t id;

    if (!may_copy(s))
        return false;
    id = places_take(s, extent_at(&s->xt, m->x)->layer, kind);
    if (id == INDEX_NONE)
        return false;
    if (!places_usable(s, id / p->slots.per_segment)) {
        slots_give_back(&p->slots, id);
        return false;
    }
    if (!follows(p->cur, m->x, id)) {
        submit(s);
        p->cur = fill_new(s, m, id);
    }
    f = p->cur;
    if (f == NULL) {
        slots_give_back(&p->slots, id);
        return false;
    }
    stage_lend(&s->stage, fr);
    layer_at(s, f->layer)->nr_filling++;
    p->nr_lent++;
    f->frame[f->n] = fr;
    f->in_extent[f->n] = m->in_extent;
    f->csum[f->n] = m->csum;
    f->iov[f->n] = (struct iovec){stage_block(&s->stage, fr), BLOCK_BYTES};
    f->n++;
    return true;
}

void fill_arrived(struct shard *s, const struct fetch *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        struct frame *m = f->frame[i] == STAGE_NONE ? NULL : stage_frame(&s->stage, f->frame[i]);

        if (m == NULL || m->state != FRAME_READY || m->fill == FILL_NOT)
            continue;
        if (!copy(s, f->frame[i], (enum fill_kind)m->fill))
            figure_add(&s->stats.fill_dropped, 1);
        m->fill = FILL_NOT;
    }
    submit(s);
}

/* ---- what is worth a place ---- */

/* The block's frame, if RAM has it or has room for it. */
static uint32_t frame_of(struct shard *s, uint32_t x, uint32_t in_extent, uint32_t csum, const void *block)
{
    uint32_t fr = stage_find(&s->stage, x, in_extent);

    if (fr != STAGE_NONE || stage_claimable(&s->stage) == 0)
        return fr;
    fr = stage_claim(&s->stage, x, in_extent, csum, NULL);
    memcpy(stage_block(&s->stage, fr), block, BLOCK_BYTES);
    stage_arrived(&s->stage, fr, true);
    return fr;
}

static bool copy_frame(struct shard *s, uint32_t fr, enum fill_kind kind)
{
    bool ready = fr != STAGE_NONE && stage_frame(&s->stage, fr)->state == FRAME_READY, copied = ready && copy(s, fr, kind);

    if (ready && !copied)
        figure_add(&s->stats.fill_dropped, 1);
    submit(s);
    return copied;
}

void fill_anew(struct shard *s, const struct run_at *at, const void *block)
{
    if (quota_admits(s, extent_at(&s->xt, at->x)->layer) && may_copy(s))
        copy_frame(s, frame_of(s, at->x, at->in_extent, at->csum, block), FILL_MAIN);
}

bool fill_crowded(const struct shard *s, uint32_t coming)
{
    return s->places.nr_lent + coming >= s->stage.nr / LENT_SHARE || s->places.fills.nr_free <= coming;
}

bool fill_may_save(const struct shard *s, const struct index_entry *n)
{
    uint32_t x = extent_find(&s->xt, n->layer, extent_no(n->block));
    const struct extent *e = x == EXTENT_NONE ? NULL : extent_at(&s->xt, x);

    return e != NULL && extent_placed(e) && fetch_seeks(shard_capacity(s, e->place.dev)) && quota_admits(s, n->layer) &&
           s->failed == 0 && !s->stopping && places_any_usable(s);
}

/* From here on RAM has the block, and not the log as well. */
void fill_save(struct shard *s, uint32_t id, const void *block, bool spare)
{
    struct index_entry n;
    uint32_t x, fr;

    index_get(&s->ix, id, &n);
    if (!fill_may_save(s, &n) || !may_copy(s))
        return;
    x = extent_find(&s->xt, n.layer, extent_no(n.block));
    fr = frame_of(s, x, (uint32_t)(n.block % EXTENT_BLOCKS), n.csum, block);
    if (copy_frame(s, fr, spare ? FILL_SPARE : FILL_MAIN)) {
        map_remove(s, id);
        map_settle(s, x);
        figure_add(&s->stats.reclaim_saved_blocks, 1);
    } else if (fr != STAGE_NONE) {
        stage_drop(&s->stage, fr);
    }
}

/* Blocks of a chunk, whose first block is `first` of extent x. */
static void admitted(struct shard *s, uint32_t x, uint32_t first, struct admit_fill a)
{
    if (!quota_admits(s, extent_at(&s->xt, x)->layer))
        return;
    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++) {
        enum fill_kind kind = a.main >> i & 1 ? FILL_MAIN : FILL_SMALL;
        uint32_t fr = a.fill >> i & 1 ? stage_find(&s->stage, x, first + i) : STAGE_NONE;

        if (fr == STAGE_NONE)
            continue;
        if (stage_frame(&s->stage, fr)->state == FRAME_FETCHING)
            stage_frame(&s->stage, fr)->fill = (uint8_t)kind;
        else if (stage_frame(&s->stage, fr)->state == FRAME_READY && !copy(s, fr, kind))
            figure_add(&s->stats.fill_dropped, 1);
    }
    submit(s);
}

/* The request's blocks of the chunk that the fetch brings have been missed. */
static void chunk_missed(struct rio *r, uint32_t x, uint64_t chunk, const struct fetch *f)
{
    struct shard *s = r->s;
    uint64_t base = chunk * CHUNK_BLOCKS;
    uint32_t first = (uint32_t)(base % EXTENT_BLOCKS);
    uint16_t asked = 0, have = 0;
    struct admit_rules own;

    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++) {
        uint32_t fr = stage_find(&s->stage, x, first + i);

        if (fr == STAGE_NONE && index_find(&s->ix, r->layer, base + i) != INDEX_NONE)
            have |= (uint16_t)(1u << i);
        else if (fr != STAGE_NONE && stage_frame(&s->stage, fr)->fetch == f && base + i >= r->block && base + i < r->block + r->nblocks)
            asked |= (uint16_t)(1u << i);
    }
    quota_room(s);
    if (asked != 0)
        admitted(s, x, first, admit_miss(&s->places.admit, quota_rules(s, r->layer, &own), quota_use(s, r->layer), r->layer, chunk,
                                          asked, have, r->stream_blocks));
}

/* Where RAM is so little that fetches are shorter: what is copied as a whole is read as a whole. Not of volumes that are written: there it
 * is a tenth more copies (a made-up database at 10 %) for the same time of the disk. */
bool fill_wants_chunk(const struct rio *r, uint64_t block)
{
    struct shard *s = r->s;
    struct admit_rules own;

    return s->fetch_blocks < CHUNK_BLOCKS && quota_use(s, r->layer) != NULL && quota_admits(s, r->layer) && may_copy(s) &&
           admit_wants_chunk(&s->places.admit, quota_rules(s, r->layer, &own), quota_use(s, r->layer), r->layer, block / CHUNK_BLOCKS,
                             r->stream_blocks);
}

void fill_missed(struct rio *r, uint32_t x, uint32_t first, uint32_t n, const struct fetch *f)
{
    uint64_t from = (r->block + first) / CHUNK_BLOCKS, to = (r->block + first + n - 1) / CHUNK_BLOCKS;

    for (uint64_t c = from; c <= to; c++) {
        if (r->missed == c + 1)
            continue;
        r->missed = c + 1;
        chunk_missed(r, x, c, f);
    }
}

void fill_again_end(struct rio *r)
{
    struct shard *s = r->s;
    uint64_t base = r->again_chunk * CHUNK_BLOCKS;
    struct admit_rules own;
    uint32_t x;

    if (r->again == 0)
        return;
    x = extent_find(&s->xt, r->layer, extent_no(base));
    if (x != EXTENT_NONE)
        admitted(s, x, (uint32_t)(base % EXTENT_BLOCKS),
                 admit_again(&s->places.admit, quota_rules(s, r->layer, &own), quota_use(s, r->layer), r->layer, r->again_chunk, r->again,
                             r->stream_blocks));
    r->again = 0;
}

void fill_again(struct rio *r, uint32_t i)
{
    uint64_t block = r->block + i;

    if (r->again != 0 && r->again_chunk != block / CHUNK_BLOCKS)
        fill_again_end(r);
    r->again_chunk = block / CHUNK_BLOCKS;
    r->again |= (uint16_t)(1u << (block % CHUNK_BLOCKS));
}
