/* SPDX-License-Identifier: Apache-2.0 */
/* read_where.c: where a block lies now.
 *
 * The index knows, if the log has it or a place a copy; else the map, if its extent has a record: on a capacity device, or zeros;
 * else it was never written, and is zeros. The answer counts until the caller returns to its loop.
 * Failures: the checksums of the extent are not in RAM: RUN_WAIT; what the map has lost for ever is RUN_DAMAGED, what it cannot
 * say now RUN_UNKNOWN.
 */
#include "tier/priv.h"
#include "tier/read.h"
#include "tier/sums.h"
#include "tier/twin.h"

static void at_twin(struct shard *s, const struct index_entry *n, struct run_at *at)
{
    uint32_t x = extent_find(&s->xt, n->layer, extent_no(n->block));

    *at = (struct run_at){.source = RUN_TWIN, .csum = n->csum, .x = x, .place = twin_of(s, extent_at(&s->xt, x))->place,
                          .in_extent = (uint32_t)(n->block % EXTENT_BLOCKS)};
}

static void at_index(struct shard *s, uint32_t id, struct run_at *at)
{
    struct index_entry e;

    index_get(&s->ix, id, &e);
    if (e.flags & INDEX_ZERO)
        *at = (struct run_at){.source = RUN_ZERO};
    else if (e.flags & INDEX_DAMAGED)
        *at = (struct run_at){.source = RUN_DAMAGED};
    else if (in_twin(s, id))
        at_twin(s, &e, at);
    else
        *at = (struct run_at){.source = RUN_LOG, .csum = e.csum, .loc = {e.segment, e.unit}, .slot = id};
}

static void at_sums(const struct sums *m, const struct extent *e, uint32_t x, uint32_t i, struct run_at *at)
{
    if (m->err != 0 && !sums_lost(m))
        *at = (struct run_at){.source = RUN_UNKNOWN, .err = m->err};
    else if (m->err != 0 || bit_get(m->v.damaged, i))
        *at = (struct run_at){.source = RUN_DAMAGED};
    else if (!bit_get(m->v.valid, i))
        *at = (struct run_at){.source = RUN_ZERO};
    else
        *at = (struct run_at){.source = RUN_COLD, .csum = m->v.csum[i], .x = x, .place = e->place, .in_extent = i};
}

void where_map(struct rio *r, uint64_t block, struct sums_waiter *w, struct run_at *at)
{
    struct shard *s = r->s;
    uint32_t x = extent_find(&s->xt, r->layer, extent_no(block));
    struct sums *m;

    *at = (struct run_at){.source = RUN_ZERO};
    if (x == EXTENT_NONE || !extent_mapped(extent_at(&s->xt, x)))
        return;
    m = sums_get(s, x, w);
    if (m == NULL) {
        at->source = RUN_WAIT;
        return;
    }
    at_sums(m, extent_at(&s->xt, x), x, (uint32_t)(block % EXTENT_BLOCKS), at);
    sums_put(s, m);
}

/* Planted: RAM is asked before the index is. */
static bool at_overwritten(struct rio *r, uint64_t block, struct run_at *at)
{
    struct shard *s = r->s;
    uint32_t i = (uint32_t)(block % EXTENT_BLOCKS), x = extent_find(&s->xt, r->layer, extent_no(block));
    uint32_t f = x == EXTENT_NONE ? STAGE_NONE : stage_find(&s->stage, x, i);

    if (f == STAGE_NONE || stage_frame(&s->stage, f)->state != FRAME_READY)
        return false;
    *at = (struct run_at){.source = RUN_COLD, .csum = stage_frame(&s->stage, f)->csum, .x = x, .in_extent = i,
                          .place = extent_at(&s->xt, x)->place};
    return true;
}

/* Source WAIT: w is called when the checksums have come; without w they are only looked for in RAM. */
void where_look_up(struct rio *r, uint64_t block, struct sums_waiter *w, struct run_at *at)
{
    struct shard *s = r->s;
    uint32_t id = index_find(&s->ix, r->layer, block);

    if (id != INDEX_NONE && s->bugs.damaged_falls_through && (index_flags_of(&s->ix, id) & INDEX_DAMAGED))
        id = INDEX_NONE;
    if (s->bugs.stage_keeps_overwritten && at_overwritten(r, block, at))
        return;
    if (id != INDEX_NONE)
        at_index(s, id, at);
    else
        where_map(r, block, w, at);
}

bool where_same(const struct run_at *a, const struct run_at *b)
{
    if (a->source != b->source || a->csum != b->csum)
        return false;
    if (a->source == RUN_LOG)
        return a->slot == b->slot;
    return extent_place_same(a->place, b->place) && a->in_extent == b->in_extent;
}

bool where_follows(const struct run_at *a, uint32_t n, const struct run_at *b)
{
    if (a->source != b->source)
        return false;
    if (a->source == RUN_LOG)
        return a->loc.segment == b->loc.segment && a->loc.unit + n * JOURNAL_UNITS_PER_BLOCK == b->loc.unit;
    if (a->source == RUN_COLD || a->source == RUN_TWIN)
        return a->x == b->x && a->in_extent + n == b->in_extent;
    return a->source == RUN_ZERO;
}
