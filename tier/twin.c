/* SPDX-License-Identifier: Apache-2.0 */
/* twin.c: second places of extents, where streams of writes lie that went past the log (bypass.c).
 *
 * 1. A twin is a place on a capacity device, taken like any other. No batch names it: the log's PLACED records do. Each block of it
 *    is written once, in the position that it has in the extent.
 * 2. A block whose record is durable is dirty in the index, in a slot of its own behind those of the log.
 * 3. When the whole extent lies there, a batch makes the twin its place (job.swap): nothing is read or written. Else a destage takes the
 *    blocks from there like others from the log. An extent that has no place yet has its twin for one, and only the rest is written.
 * 4. The twin is given back, or is the place of its extent, only when a batch has committed whose destaged_seq is not below the seq of
 *    any record that names it: until then a start would take it for this extent again.
 * Failures: no twin, or no room on the devices: the log takes the write. The log fails: it may hold a record that it called failed, so the
 * place stays taken until a start has read it.
 */
#include <errno.h>
#include <sys/mman.h>

#include "tier/gate.h"
#include "tier/map.h"
#include "tier/mover.h"
#include "tier/twin.h"

static_assert(TWINS_MAX <= UINT8_MAX, "extent.twin is 8 bits");
static_assert(TWINS_MAX * EXTENT_BLOCKS + SEGMENT_BYTES_MAX / BLOCK_BYTES <= INDEX_BEHIND_MAX, "room behind the segments");

uint32_t twins_segments(uint32_t segment_bytes)
{
    uint32_t per = segment_bytes / BLOCK_BYTES;

    return (TWINS_MAX * EXTENT_BLOCKS + per - 1) / per;
}

int twins_init(struct shard *s, uint32_t log_segments)
{
    s->twin_segment = log_segments;
    s->twins = mmap(NULL, TWINS_MAX * sizeof(*s->twins), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->twins != MAP_FAILED)
        return 0;
    s->twins = NULL;
    return -ENOMEM;
}

void twins_fini(struct shard *s)
{
    if (s->twins != NULL)
        munmap(s->twins, TWINS_MAX * sizeof(*s->twins));
    s->twins = NULL;
}

/* ---- names ---- */

static uint32_t slot_of(const struct shard *s, const struct twin *t, uint32_t in_extent)
{
    return s->twin_segment * s->ix.slots_per_segment + (uint32_t)(t - s->twins) * EXTENT_BLOCKS + in_extent;
}

struct journal_loc twin_loc(const struct shard *s, const struct twin *t, uint32_t in_extent)
{
    uint32_t id = slot_of(s, t, in_extent);

    return (struct journal_loc){id / s->ix.slots_per_segment, id % s->ix.slots_per_segment * JOURNAL_UNITS_PER_BLOCK};
}

static struct twin *twin_at(const struct shard *s, uint32_t id, uint32_t *in_extent)
{
    uint32_t at = id - s->twin_segment * s->ix.slots_per_segment;

    assert(in_twin(s, id) && at / EXTENT_BLOCKS < TWINS_MAX);
    *in_extent = at % EXTENT_BLOCKS;
    return &s->twins[at / EXTENT_BLOCKS];
}

uint64_t twin_offset(const struct shard *s, struct journal_loc loc, uint16_t *dev)
{
    uint32_t i;
    const struct twin *t = twin_at(s, index_slot_id(&s->ix, loc.segment, loc.unit), &i);

    *dev = t->place.dev;
    return cold_offset(s->o.cold, t->place) + (uint64_t)i * BLOCK_BYTES;
}

/* ---- birth ---- */

static struct twin *twin_take(struct shard *s, uint32_t x, struct extent_place p)
{
    for (uint32_t i = 0; i < TWINS_MAX; i++) {
        if (s->twins[i].x != EXTENT_NONE)
            continue;
        s->twins[i] = (struct twin){.x = x, .place = p};
        extent_at(&s->xt, x)->twin = (uint8_t)(i + 1);
        s->twins_used++;
        return &s->twins[i];
    }
    return NULL;
}

/* What has no place yet needs no second one. */
static struct twin *twin_at_home(struct shard *s, struct twin *t)
{
    struct extent *e = extent_at(&s->xt, t->x);

    if (extent_placed(e))
        return t;
    map_place(s, t->x, t->place);
    e->flags |= EXTENT_FRESH;
    return t;
}

/* Streams lie as their extents follow each other. */
static struct extent_place near(struct shard *s, const struct extent *e)
{
    uint32_t before = e->no == 0 ? EXTENT_NONE : extent_find(&s->xt, e->layer, e->no - 1);
    const struct twin *t = before == EXTENT_NONE ? NULL : twin_of(s, extent_at(&s->xt, before));

    return t != NULL ? t->place : extent_neighbour(s, e);
}

struct twin *twin_new(struct shard *s, uint32_t x)
{
    struct extent *e = extent_at(&s->xt, x);
    uint64_t avoid = devices_to_avoid(s);
    struct extent_place p;

    assert(e->twin == 0);
    if (!extent_placed(e) && e->state != EXTENT_IDLE) /* a tombstone is being committed: it may get its place back */
        return NULL;
    if (s->twins_used == TWINS_MAX || (extent_placed(e) && cold_reserve(s->o.cold, 1) != 0))
        return NULL;
    assert(extent_placed(e) || (e->flags & EXTENT_RESERVED));
    if (extent_placed(e)) /* so that one device has all of it: whose share of dirt it is, and what must answer, does not change */
        avoid |= ~(UINT64_C(1) << e->place.dev);
    if (cold_take(s->o.cold, near(s, e), avoid, &p) == 0) {
        if (!extent_placed(e))
            e->flags &= (uint8_t)~EXTENT_RESERVED;
        return twin_at_home(s, twin_take(s, x, p));
    }
    if (extent_placed(e))
        cold_unreserve(s->o.cold, 1);
    return NULL;
}

struct twin *twin_found(struct shard *s, uint32_t x, struct extent_place p)
{
    struct extent *e = extent_at(&s->xt, x);
    struct twin *t = twin_of(s, e);

    if (t != NULL)
        return extent_place_same(t->place, p) ? t : NULL;
    if (s->twins_used == TWINS_MAX || cold_mark(s->o.cold, p) != 0)
        return NULL;
    t = twin_take(s, x, p);
    t->closed = true; /* what the last run had begun to write there nobody knows */
    return twin_at_home(s, t);
}

/* ---- what lies there ---- */

void twin_put(struct shard *s, struct twin *t, const struct index_entry *n, uint32_t segment)
{
    uint32_t i = (uint32_t)(n->block % EXTENT_BLOCKS);
    struct journal_loc loc = twin_loc(s, t, i);
    struct index_entry e = *n;

    e.segment = loc.segment;
    e.unit = loc.unit;
    e.flags = INDEX_DIRTY;
    map_put(s, &e);
    bit_set(t->used, i);
    t->record[i] = segment;
    t->seq_max = MAX(t->seq_max, n->seq);
    s->seg[segment].placed++;
    s->twin_live++;
    extent_at(&s->xt, t->x)->whole = ++t->live == EXTENT_BLOCKS;
}

void twin_gone(struct shard *s, uint32_t id)
{
    uint32_t i;
    struct twin *t = twin_at(s, id, &i);

    assert(t->x != EXTENT_NONE && t->live > 0 && s->seg[t->record[i]].placed > 0);
    s->seg[t->record[i]].placed--;
    s->twin_live--;
    t->live--;
    extent_at(&s->xt, t->x)->whole = false;
}

/* ---- records that move ---- */

uint32_t twin_block(const struct shard *s, const struct twin *t, uint32_t in_extent, uint64_t *seq)
{
    struct index_entry n;

    index_get(&s->ix, slot_of(s, t, in_extent), &n);
    *seq = n.seq;
    return n.csum;
}

static bool recorded_in(const struct shard *s, const struct twin *t, uint32_t i, uint32_t segment)
{
    return index_slot_used(&s->ix, slot_of(s, t, i)) && t->record[i] == segment;
}

uint32_t twin_run(const struct shard *s, const struct twin *t, uint32_t in_extent, uint32_t segment)
{
    uint32_t n = 0;

    while (in_extent + n < EXTENT_BLOCKS && recorded_in(s, t, in_extent + n, segment) &&
           index_seq(&s->ix, slot_of(s, t, in_extent + n)) == index_seq(&s->ix, slot_of(s, t, in_extent)))
        n++;
    return MIN(n, segpool_record_blocks_max(segpool_geometry(s->o.segpool)));
}

/* Entries that are still the ones moved: the same seq is the same write. */
void twin_record_moved(struct shard *s, uint32_t layer, const struct journal_append *a, uint32_t from)
{
    uint32_t x = extent_find(&s->xt, layer, extent_no(a->lba)), first = (uint32_t)(a->lba % EXTENT_BLOCKS);
    struct twin *t = x == EXTENT_NONE ? NULL : twin_of(s, extent_at(&s->xt, x));

    for (uint32_t i = first; t != NULL && i < first + a->nblocks; i++) {
        if (!recorded_in(s, t, i, from) || index_seq(&s->ix, slot_of(s, t, i)) != a->seq)
            continue;
        s->seg[from].placed--;
        t->record[i] = a->loc.segment;
        s->seg[a->loc.segment].placed++;
    }
}

/* ---- destage ---- */

/* All of it lies in the log and the twin. Of what is dirty only because a destage may have torn it the old place may have the one copy
 * that is left: that is not given away. */
static bool nothing_else(const struct job *job)
{
    for (unsigned w = 0; w < CAPTURE_WORDS; w++)
        if ((job->sums.valid[w] & ~job->put[w]) != 0)
            return false;
    return !bits_any(job->kept);
}

/* 0; -EAGAIN: something may still come to lie where this destage would write, or what it would give back. */
int twin_capture(struct lane *l, struct job *job)
{
    struct shard *s = l->s;
    struct extent *e = extent_at(&s->xt, job->x);
    struct twin *t = twin_of(s, e);

    job->swap = false;
    if (t == NULL)
        return 0;
    t->closed = true;
    if ((e->whole || extent_place_same(t->place, e->place)) && (t->writes > 0 || t->seq_max > job->seq))
        return -EAGAIN;
    if (!job->relocate && t->writes == 0 && t->seq_max <= job->seq && bits_any(job->put) && nothing_else(job)) {
        job->old_place = e->place;
        if (extent_place_same(t->place, e->place))
            job->old_place.dev = EXTENT_NO_DEV;
        job->place = t->place;
        job->swap = true;
        memset(job->bridge, 0, sizeof(job->bridge));
    }
    if (s->bugs.twin_given_early && !extent_place_same(t->place, e->place) && !job->relocate && t->writes == 0 && !t->given) {
        t->given = true;
        cold_give(s->o.cold, t->place);
    }
    for (uint32_t i = 0; i < EXTENT_BLOCKS && extent_place_same(t->place, job->place); i++)
        if (bit_get(job->put, i) && in_twin_segment(s, job->loc[i].segment))
            bit_clear(job->put, i); /* it lies there */
    return 0;
}

/* ---- the end ---- */

static void twin_end(struct shard *s, uint32_t x, struct extent_place given)
{
    struct extent *e = extent_at(&s->xt, x);
    struct twin *t = twin_of(s, e), was = *t;

    assert(t->x == x && t->live == 0 && t->writes == 0);
    *t = (struct twin){.x = EXTENT_NONE};
    s->twins_used--;
    e->twin = 0;
    e->whole = false;
    if (extent_place_same(was.place, e->place))
        e->reads += was.reads; /* it is the extent's place now */
    else if (extent_place_same(was.place, given))
        assert(was.reads == 0); /* it was */
    else if (!was.given)
        map_give_reads(s, x, was.place, was.reads);
    s->changes++;
}

void twin_reads_given(struct shard *s, uint32_t x, struct extent_place p)
{
    struct extent *e = extent_at(&s->xt, x);
    struct twin *t = twin_of(s, e);

    if (t == NULL || !extent_place_same(t->place, p))
        return;
    e->reads += t->reads;
    t->reads = 0;
}

void twin_settle(struct shard *s, uint32_t x, struct extent_place given)
{
    const struct extent *e = extent_at(&s->xt, x);
    const struct twin *t = twin_of(s, e);

    if (t != NULL && t->live == 0 && t->writes == 0 && t->seq_max <= e->destaged_seq)
        twin_end(s, x, given);
}

void twin_drop(struct shard *s, uint32_t x)
{
    struct twin *t = twin_of(s, extent_at(&s->xt, x));

    if (t != NULL)
        twin_end(s, x, (struct extent_place){.dev = EXTENT_NO_DEV});
}

void twin_read_done(struct shard *s, uint32_t x, struct extent_place p)
{
    struct twin *t = twin_of(s, extent_at(&s->xt, x));

    if (t != NULL && t->reads > 0 && extent_place_same(t->place, p))
        t->reads--;
    else
        map_read_done(s, x, p);
}

/* What is left of streams that ended long since makes room for others. */
void twins_press(struct shard *s)
{
    for (uint32_t i = 0; i < TWINS_MAX; i++) {
        const struct twin *t = &s->twins[i];
        struct extent *e;

        if (t->x == EXTENT_NONE || t->writes > 0)
            continue;
        e = extent_at(&s->xt, t->x);
        if (e->whole || e->nr_dirty == 0 || e->state != EXTENT_IDLE || (e->flags & EXTENT_URGENT))
            continue;
        e->flags |= EXTENT_URGENT;
        extent_relist(&s->xt, t->x);
    }
}

void twins_verify(const struct shard *s, uint32_t *placed)
{
    uint64_t live = 0;
    uint32_t used = 0;

    for (uint32_t i = 0; i < TWINS_MAX; i++) {
        const struct twin *t = &s->twins[i];
        uint32_t n = 0;

        if (t->x == EXTENT_NONE)
            continue;
        used++;
        assert(extent_at(&s->xt, t->x)->twin == i + 1);
        for (uint32_t b = 0; b < EXTENT_BLOCKS; b++) {
            uint32_t id = slot_of(s, t, b);
            struct index_entry e;

            if (!index_slot_used(&s->ix, id))
                continue;
            index_get(&s->ix, id, &e);
            assert(bit_get(t->used, b) && e.seq <= t->seq_max && e.block % EXTENT_BLOCKS == b && (e.flags & INDEX_DIRTY));
            assert(extent_find(&s->xt, e.layer, extent_no(e.block)) == t->x);
            assert(s->seg[t->record[b]].use != SEGMENT_FREE && s->seg[t->record[b]].seq_min <= e.seq);
            placed[t->record[b]]++;
            n++;
        }
        assert(n == t->live && extent_at(&s->xt, t->x)->whole == (n == EXTENT_BLOCKS));
        live += n;
    }
    assert(used == s->twins_used && live == s->twin_live);
}
