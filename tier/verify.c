/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c: the shard's counters proved against each other by a full walk. For tests and the simulator: it allocates. */
#include <stdlib.h>

#include "tier/fetch.h"
#include "tier/gate.h"
#include "tier/migrate.h"
#include "tier/mover.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/ring.h"
#include "tier/twin.h"
#include "tier/write.h"

struct count { uint32_t live, dirty, zeroes, damaged; };

static void count_slots(const struct shard *s, uint32_t from, uint32_t to, struct count *of)
{
    for (uint32_t id = from; id < to; id++) {
        struct index_entry e;
        uint32_t x;

        if (!index_slot_used(&s->ix, id))
            continue;
        index_get(&s->ix, id, &e);
        x = extent_find(&s->xt, e.layer, extent_no(e.block));
        assert(x != EXTENT_NONE);
        assert(in_twin(s, id) || s->seg[e.segment].use != SEGMENT_FREE); /* what it points to may not be written again */
        if (in_place(s, id))
            assert(s->seg[e.segment].use == SEGMENT_SLOTS && !(e.flags & INDEX_DIRTY) && extent_mapped(extent_at(&s->xt, x)));
        else if (!in_twin(s, id)) /* else twins_verify() */
            assert(s->seg[e.segment].seq_min != 0 && s->seg[e.segment].seq_min <= e.seq);
        if ((e.flags & INDEX_KEPT) && !in_place(s, id)) /* the map has it: only its being dirty is new */
            assert((e.flags & INDEX_DIRTY) && !(e.flags & (INDEX_ZERO | INDEX_DAMAGED)) && extent_mapped(extent_at(&s->xt, x)));
        else if (e.flags & INDEX_DIRTY)
            assert(e.seq > extent_at(&s->xt, x)->destaged_seq);
        of[x].live++;
        of[x].dirty += (e.flags & INDEX_DIRTY) != 0;
        of[x].zeroes += (e.flags & INDEX_ZERO) != 0;
        of[x].damaged += (e.flags & INDEX_DAMAGED) != 0;
    }
}

/* What a device has to do in the order of its slots is what is on its lists. */
static void verify_slots(const struct shard *s, uint32_t x)
{
    const struct extent *e = extent_at(&s->xt, x);
    const struct extent_slots *d;

    if (!extent_placed(e))
        return;
    d = &s->xt.dev[e->place.dev];
    assert(slotset_has(&d->dirty, e->place.slot) == (e->list != 0));
    assert(slotset_has(&d->due, e->place.slot) == (e->side >= EXTENT_SIDE_DESCRIBE));
    assert((e->list == 0 && e->side < EXTENT_SIDE_DESCRIBE) || d->x[e->place.slot] == x);
}

/* A change of the tier reaches extents a few at a time. */
static void verify_tier(const struct shard *s, const struct extent *e)
{
    const struct volume *v = layer_at(s, e->layer)->vol;

    if (v == NULL || e->nr_dirty == 0 || s->retier != 0)
        return;
    assert(((e->flags & EXTENT_EAGER) != 0) == (v->tier == VOLUME_HDD));
    assert(((e->flags & EXTENT_PINNED) != 0) == (v->tier == VOLUME_SSD));
}

static void verify_extent(const struct shard *s, uint32_t x, const struct count *c)
{
    const struct extent *e = extent_at(&s->xt, x);

    assert(e->nr_live == c->live && e->nr_dirty == c->dirty && e->nr_zero == c->zeroes);
    assert(extent_find(&s->xt, e->layer, e->no) == x);
    assert(layer_at(s, e->layer)->id != 0);
    verify_slots(s, x);
    verify_tier(s, e);
    if (c->dirty > c->zeroes || e->users > 0) /* what was acknowledged can settle; zeros need no place */
        assert(extent_placed(e) || (e->flags & EXTENT_RESERVED));
    if (e->state == EXTENT_IDLE && e->nr_dirty > 0)
        assert((e->list != 0) != (e->side == EXTENT_SIDE_NO_DEVICE));
    if (e->state == EXTENT_IDLE && e->discard_seq != 0 && e->nr_dirty == 0)
        assert(e->side == EXTENT_SIDE_NO_DEVICE);
    if (e->discard_seq != 0)
        assert(e->discard_seq > e->destaged_seq && s->seg[e->discard_segment].discards > 0);
}

static void verify_layers(const struct shard *s, const struct count *of)
{
    struct layer *sum = calloc(s->layers_touched + 1, sizeof(*sum));
    uint64_t dirty[CAPACITY_DEVS_MAX] = {0}, reserved = 0, damaged = 0, live = 0;

    assert(sum != NULL);
    for (uint32_t x = 1; x <= s->xt.touched; x++) {
        const struct extent *e = extent_at(&s->xt, x);

        if (e->layer == 0)
            continue;
        verify_extent(s, x, &of[x]);
        sum[e->layer].nr_live += of[x].live;
        sum[e->layer].nr_dirty += of[x].dirty;
        sum[e->layer].nr_placed += extent_placed(e);
        sum[e->layer].nr_flash += migrate_is_flash(s, e->place);
        if (extent_placed(e))
            dirty[e->place.dev] += e->nr_dirty;
        reserved += (e->flags & EXTENT_RESERVED) != 0;
        damaged += of[x].damaged;
        live += of[x].live > 0;
    }
    for (uint32_t l = 1; l <= s->layers_touched; l++) {
        const struct layer *y = layer_at(s, l);

        assert(y->nr_live == sum[l].nr_live && y->nr_dirty == sum[l].nr_dirty && y->nr_placed == sum[l].nr_placed);
        assert(y->nr_flash == sum[l].nr_flash);
    }
    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        assert(dirty[d] == s->dev_dirty[d]);
    assert(reserved <= cold_reserved(s->o.cold));
    assert(damaged == s->damaged_blocks && live == s->live_extents);
    free(sum);
}

static void verify_segments(const struct shard *s)
{
    uint32_t *discards = calloc(s->ix.nr_segments, sizeof(*discards)), *placed = calloc(s->ix.nr_segments, sizeof(*placed));

    assert(discards != NULL && placed != NULL);
    twins_verify(s, placed);
    for (uint32_t x = 1; x <= s->xt.touched; x++)
        if (extent_at(&s->xt, x)->layer != 0 && extent_at(&s->xt, x)->discard_seq != 0)
            discards[extent_at(&s->xt, x)->discard_segment]++;
    list_for_each(n, &s->zeroes)
        discards[list_entry(n, struct zio, node)->segment]++;
    for (uint32_t g = 0; g < s->ix.nr_segments; g++) {
        assert(s->seg[g].discards == discards[g] && s->seg[g].placed == placed[g]);
        if (!mover_busy(s))
            assert(s->seg[g].holds == 0);
        if (s->seg[g].use == SEGMENT_FREE)
            assert((in_twin_segment(s, g) || s->ix.seg_live[g] == 0) && s->seg[g].discards == 0 && s->seg[g].placed == 0);
    }
    free(discards);
    free(placed);
}

void shard_verify(struct shard *s)
{
    struct count *of = calloc((size_t)s->xt.touched + 1, sizeof(*of));

    assert(of != NULL);
    index_verify(&s->ix);
    count_slots(s, 0, s->ix.nr_phys, of);
    count_slots(s, s->ix.nr_phys, s->ix.nr_phys + s->ix.virtual_touched, of);
    verify_layers(s, of);
    verify_segments(s);
    gate_verify(s);
    fetch_verify(s);
    places_verify(s);
    ring_verify(s);
    free(of);
}

void shard_described(struct shard *s, void (*fn)(void *ctx, const struct tier_described *e), void *ctx)
{
    if (s->stats.destage_extents > 0) /* these say no more what the metadata said */
        return;
    for (uint32_t x = 1; x <= s->xt.touched; x++) {
        const struct extent *e = extent_at(&s->xt, x);

        if (e->layer == 0 || !(e->flags & EXTENT_RECORD) || e->destaged_seq > s->described.loaded || !extent_mapped(e))
            continue;
        if (s->described.unflushed >> e->place.dev & 1) /* what is being written over is not counted any more */
            continue;
        fn(ctx, &(struct tier_described){.dev = e->place.dev, .off_bytes = cold_desc_offset(s->o.cold, e->place),
                                         .slot = e->place.slot, .ring_nr = cold_ring_nr(s->o.cold, e->place.dev),
                                         .layer = layer_at(s, e->layer)->id, .extent = e->no, .destaged_seq = e->destaged_seq});
    }
}
