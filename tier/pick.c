/* SPDX-License-Identifier: Apache-2.0 */
/* pick.c: what a lane destages next.
 *
 * 1. Extents that have no place yet get one, near their neighbours: from then on they are the work of that device's lane.
 * 2. Candidates: the densest extents, urgent ones before all others; with each comes what is dirty in its region. What is pinned stays.
 * 3. The best regions for the time that the disk takes (choose.h), in one sweep from where the head is; their extents become the jobs.
 * In the idle regime (policy.h) there is no choice either: what is dense and cool, or cold, in address order.
 * A shard that drains destages everything: what comes next on the device, round and round, without a choice.
 */
#include "tier/choose.h"
#include "tier/gate.h"
#include "tier/heat_meta.h"
#include "tier/map.h"
#include "tier/migrate.h"
#include "tier/mover.h"
#include "tier/priv.h"

static_assert(REGION_EXTENTS % CHOOSE_SLOTS == 0, "what is destaged together lies together");

/* ---- places ---- */

struct extent_place extent_neighbour(struct shard *s, const struct extent *e)
{
    for (int d = -1; d <= 1; d += 2) {
        uint32_t x = (d < 0 && e->no == 0) ? EXTENT_NONE : extent_find(&s->xt, e->layer, e->no + (uint32_t)d);

        if (x != EXTENT_NONE && extent_placed(extent_at(&s->xt, x)))
            return extent_at(&s->xt, x)->place;
    }
    return (struct extent_place){.dev = EXTENT_NO_DEV};
}

/* When all others are full, or there is no other, the device that failed has another try: nothing may stay dirty for ever. */
static int take_place(struct shard *s, const struct extent *e, struct extent_place *p)
{
    uint64_t avoid = devices_to_avoid(s), not_there = migrate_not_there(s, e);
    int err = not_there != 0 ? cold_take(s->o.cold, extent_neighbour(s, e), avoid | not_there, p) : -FIRN_E_NO_SPACE;

    if (err != 0)
        err = cold_take(s->o.cold, extent_neighbour(s, e), avoid, p);
    if (err != 0 && avoid != 0)
        err = cold_take(s->o.cold, extent_neighbour(s, e), 0, p);
    return err;
}

/* Gives extents without a place one, which puts them on the list of that device's lane. */
static void place_new_extents(struct shard *s, unsigned lowest)
{
    uint32_t budget = POLICY_BATCH_EXTENTS;

    for (unsigned b = EXTENT_BUCKETS; b-- > lowest;) {
        struct extent_list *l = &s->xt.list[CAPACITY_DEVS_MAX * EXTENT_BUCKETS + b];

        while (l->first != EXTENT_NONE && budget-- > 0) {
            uint32_t x = l->first;
            struct extent *e = extent_at(&s->xt, x);
            struct extent_place p;

            assert(e->flags & EXTENT_RESERVED);
            if (take_place(s, e, &p) != 0)
                return;
            map_place(s, x, p);
            e->flags = (uint8_t)((e->flags & ~EXTENT_RESERVED) | EXTENT_FRESH);
        }
        if (l->first != EXTENT_NONE)
            return;
    }
}

/* ---- jobs ---- */

void lane_add(struct lane *l, uint32_t x)
{
    struct shard *s = l->s;
    struct job *job = &l->jobs[l->nr_jobs++];

    extent_set_state(extent_at(&s->xt, x), EXTENT_DESTAGING);
    map_settle(s, x);
    job->x = x;
    job->err = job->write_err = 0;
    job->runs = 0;
    job->stage = JOB_PICKED;
    job->buf = NULL;
    job->captured = job->tombstone = job->relocate = job->wrote = job->swap = false;
    job->old_place.dev = EXTENT_NO_DEV;
    memset(job->held, 0, sizeof(job->held));
}

static struct extent_slots *slots_of(struct lane *l) { return &l->s->xt.dev[l->dev]; }

static bool drains(const struct lane *l) { return l->s->draining && l->s->drain_all; }

static bool stays(const struct lane *l, const struct extent *e)
{
    return (e->flags & (EXTENT_PINNED | EXTENT_URGENT)) == EXTENT_PINNED && !l->takes_pinned;
}

/* What is dirty in these slots, in their order; one that is taken leaves the set. */
static void add_dirty(struct lane *l, uint32_t from, uint32_t end)
{
    struct extent_slots *d = slots_of(l);
    uint32_t slot = slotset_next(&d->dirty, from);

    for (; slot < end && l->nr_jobs < POLICY_BATCH_EXTENTS; slot = slotset_next(&d->dirty, slot + 1)) {
        l->slot_from = slot + 1;
        if (!stays(l, extent_at(&l->s->xt, d->x[slot])))
            lane_add(l, d->x[slot]);
    }
}

void lane_unpick(struct lane *l, const struct job *job)
{
    const struct extent *e = extent_at(&l->s->xt, job->x);

    if (extent_placed(e) && e->place.dev == l->dev)
        l->slot_from = e->place.slot;
}

static void pick_next(struct lane *l)
{
    uint32_t from = l->slot_from;

    add_dirty(l, from, SLOT_NONE);
    add_dirty(l, 0, from);
}

/* ---- the choice ---- */

struct candidates { struct choose_region r[POLICY_CANDIDATES]; uint32_t nr; };

static bool is_candidate(const struct candidates *c, uint32_t id)
{
    for (uint32_t i = 0; i < c->nr; i++)
        if (c->r[i].id == id)
            return true;
    return false;
}

/* An extent counts as one run at its start. Where its blocks lie would take a look at each in the index, and changed
 * nothing that could be measured: two regions differ by the way to them and by how much lies there. */
static void region_of(struct lane *l, uint32_t id, uint64_t span_bytes, struct choose_region *r)
{
    const struct extent_slots *d = slots_of(l);
    uint32_t end = (id + 1) * CHOOSE_SLOTS;

    *r = (struct choose_region){.id = id};
    for (uint32_t slot = slotset_next(&d->dirty, id * CHOOSE_SLOTS); slot < end; slot = slotset_next(&d->dirty, slot + 1)) {
        const struct extent *e = extent_at(&l->s->xt, d->x[slot]);
        struct heat_value heat;

        if (stays(l, e))
            continue;
        heat = heat_of_extent(l->s, d->x[slot]);
        r->urgent |= (e->flags & EXTENT_URGENT) != 0;
        r->write_heat = MAX(r->write_heat, heat.write);
        choose_add_run(r, span_bytes, cold_offset(l->s->o.cold, e->place), MAX(extent_weight(e), 1u) * BLOCK_BYTES);
    }
}

static void add_candidate(struct lane *l, struct candidates *c, uint32_t slot, uint64_t span_bytes)
{
    uint32_t id = slot / CHOOSE_SLOTS;

    if (is_candidate(c, id))
        return;
    region_of(l, id, span_bytes, &c->r[c->nr]);
    c->nr += c->r[c->nr].blocks > 0;
}

/* Those next to where the last batch ended, and the densest of all. */
static void find_candidates(struct lane *l, unsigned lowest, struct candidates *c, uint64_t span_bytes)
{
    const struct slotset *dirty = &slots_of(l)->dirty;
    uint32_t looks = 0, slot = slotset_next(dirty, l->slot_from);
    struct shard *s = l->s;

    c->nr = 0;
    for (; lowest <= EXTENT_BUCKET_DENSITY && slot != SLOT_NONE && looks < POLICY_NEAR; slot = slotset_next(dirty, slot + 1), looks++)
        add_candidate(l, c, slot, span_bytes);
    for (unsigned b = EXTENT_BUCKETS; b-- > lowest && looks < POLICY_CANDIDATES;) {
        uint32_t x = s->xt.list[l->dev * EXTENT_BUCKETS + b].first;

        for (; x != EXTENT_NONE && looks++ < POLICY_CANDIDATES; x = extent_at(&s->xt, x)->next)
            add_candidate(l, c, extent_at(&s->xt, x)->place.slot, span_bytes);
    }
}

void lane_pick(struct lane *l, unsigned lowest)
{
    uint64_t span_bytes = shard_capacity(l->s, l->dev)->caps.size_bytes;
    struct candidates c;

    place_new_extents(l->s, lowest);
    if (drains(l)) {
        pick_next(l);
        return;
    }
    find_candidates(l, lowest, &c, span_bytes);
    c.nr = choose_best(c.r, c.nr, POLICY_BATCH_REGIONS, span_bytes, figure_get(&turn_of(l->s, l->dev)->head_bytes));
    for (uint32_t i = 0; i < c.nr; i++)
        add_dirty(l, c.r[i].id * CHOOSE_SLOTS, (c.r[i].id + 1) * CHOOSE_SLOTS);
}

/* Those of the slots [from, end) that are dense and cool, or cold; false: there are jobs enough, or it took long enough. */
static bool add_cold(struct lane *l, uint32_t from, uint32_t end, uint32_t *looks)
{
    struct extent_slots *d = slots_of(l);
    uint64_t now = env_now_ns(l->s->env);

    for (uint32_t slot = slotset_next(&d->dirty, from); slot < end; slot = slotset_next(&d->dirty, slot + 1)) {
        const struct extent *e = extent_at(&l->s->xt, d->x[slot]);
        uint64_t at = policy_cold_at(e->nr_dirty, MAX(e->written_s, l->s->opened_s) * NS_PER_S);

        if ((*looks)++ == SCAN_BUDGET || l->nr_jobs == POLICY_BATCH_EXTENTS)
            return false;
        l->slot_from = slot + 1;
        if (!stays(l, e) && at <= now) {
            lane_add(l, d->x[slot]);
            continue;
        }
        l->cold_looked++;
        if (!stays(l, e))
            l->cold_next_ns = MIN(l->cold_next_ns, at);
    }
    return true;
}

/* Once around takes several calls if much is dirty; then it rests until something is due. */
uint64_t lane_pick_cold(struct lane *l)
{
    uint64_t now = env_now_ns(l->s->env);
    uint32_t from = l->slot_from, looks = 0;

    if (l->cold_looked == 0)
        l->cold_next_ns = now + POLICY_COOL_NS; /* what is written from now on is not due before */
    place_new_extents(l->s, EXTENT_BUCKET_DENSITY);
    if (add_cold(l, from, SLOT_NONE, &looks))
        add_cold(l, 0, from, &looks);
    if (l->cold_looked < slots_of(l)->dirty.nr)
        return now;
    l->cold_looked = 0;
    return l->cold_next_ns;
}

void lane_pick_meta(struct lane *l)
{
    uint32_t x;

    while (l->nr_jobs < POLICY_BATCH_RECORDS && (x = l->s->xt.side[EXTENT_SIDE_NO_DEVICE].first) != EXTENT_NONE)
        lane_add(l, x);
}
