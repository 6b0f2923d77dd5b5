/* SPDX-License-Identifier: Apache-2.0 */
/* A destage that waits for its turn means to bridge over a clean copy of the log; the log forgets that, and the block comes back into
 * a place (capture.c, job_own_bridges()): places give no promise, so nothing may be written over the device's copy for their sake. */
#include "tier/fetch.h"
#include "tier/map.h"
#include "tier/mover.h"
#include "tier/places.h"
#include "tier/reclaim.h"
#include "copies.h"

#define OTHER_SHARD 1u

struct pair { struct rig r; uint32_t no[2]; uint16_t dev; uint64_t base; }; /* two extents of one device; base: of the one that waits */

static bool reclaimed(void *ctx) { return ((struct pair *)ctx)->r.shard->rc.state == RECLAIM_IDLE; }

static uint32_t entry(const struct pair *p, uint32_t i) { return index_find(&p->r.shard->ix, 1, p->base + i); }
static bool dropped(void *ctx) { return entry(ctx, 4) == INDEX_NONE; }

static struct job *job_waiting(struct pair *p)
{
    struct lane *l = &p->r.shard->lanes[p->dev];

    for (uint32_t i = 0; lane_writes(l) && i < l->nr_jobs; i++)
        if (l->jobs[i].stage == JOB_READ)
            return &l->jobs[i];
    return NULL;
}
static bool waits(void *ctx) { return job_waiting(ctx) != NULL; }

static bool becomes_dirty_in_a_place(void *ctx)
{
    struct pair *p = ctx;
    uint32_t id = entry(p, 4);

    return id != INDEX_NONE && in_place(p->r.shard, id) && (index_flags_of(&p->r.shard->ix, id) & INDEX_DIRTY);
}

static uint16_t dev_of(const struct rig *r, uint32_t no)
{
    return rig_extent(r, no)->place.dev;
}

static void find_pair(struct pair *p)
{
    for (uint32_t a = 0; a < 5 && p->no[1] == 0; a++)
        for (uint32_t b = a + 1; b < 5 && p->no[1] == 0; b++)
            if (dev_of(&p->r, a) == dev_of(&p->r, b)) {
                p->no[0] = a;
                p->no[1] = b;
            }
    cr_assert_gt(p->no[1], 0);
    p->dev = dev_of(&p->r, p->no[0]);
}

/* Of both: clean copies of 0..9 in a sealed segment of the log, and then 2 and 6 dirty in another one. */
static void make_bridges(struct pair *p)
{
    struct rig *r = &p->r;

    for (unsigned k = 0; k < 2; k++)
        cr_assert_eq(rig_write(r, p->no[k] * EXTENT_BLOCKS, 10, 2), 0);
    for (uint64_t i = 0; i < 130; i++)
        cr_assert_eq(rig_write(r, 5 * EXTENT_BLOCKS + i % 150, 1, i + 10), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    for (unsigned k = 0; k < 2; k++) {
        cr_assert_eq(rig_write(r, p->no[k] * EXTENT_BLOCKS + 2, 1, 3), 0);
        cr_assert_eq(rig_write(r, p->no[k] * EXTENT_BLOCKS + 6, 1, 3), 0);
    }
}

/* One has its first run ready, the other one comes behind it and owns no bridge yet. */
static void wait_for_turn(struct pair *p)
{
    struct shard *s = p->r.shard;

    p->r.turns.dev[p->dev].taken = true;
    shard_drain(s, true, rig_nothing, NULL);
    cr_assert_eq(sim_run_until(p->r.sim, waits, p, 10 * NS_PER_S), 0);
    p->base = (uint64_t)extent_at(&s->xt, job_waiting(p)->x)->no * EXTENT_BLOCKS;
    cr_assert(bit_get(job_waiting(p)->bridge, 4));
}

/* What lies in the segment of clean copies goes, and is freed once the block has come back into a place. */
static void log_forgets(struct pair *p)
{
    struct rig *r = &p->r;
    struct shard *s = r->shard;
    uint32_t g = (uint32_t)((rig_log_offset(r, p->base + 4) - r->geo.base_bytes) / r->geo.segment_bytes);

    cr_assert(s->seg[g].use == SEGMENT_LOG_SEALED && s->seg[g].holds == 0 && s->seg[g].moving == 0);
    s->rc.segment = g;
    s->rc.cursor = 0;
    s->rc.passes = 1;
    s->rc.look_ns = 0;
    s->rc.state = RECLAIM_MOVE;
    shard_kick(s);
    cr_assert_eq(sim_run_until(r->sim, dropped, p, 10 * NS_PER_S), 0);
    cr_assert(job_waiting(p) != NULL);
    rig_expect(r, p->base + 3, 3, 2);
    cr_assert_eq(sim_run_until(r->sim, rig_places_rest, &p->r, 10 * NS_PER_S), 0);
    cr_assert_eq(sim_run_until(r->sim, reclaimed, p, 10 * NS_PER_S), 0);
    cr_assert_eq(s->seg[g].use, SEGMENT_FREE);
    cr_assert(entry(p, 4) != INDEX_NONE && in_place(s, entry(p, 4)));
}

Test(bridge_place, a_copy_in_a_place_is_no_bridge, .timeout = 60)
{
    struct pair p = {.base = 0};

    copies_begin(&p.r, 64, 0);
    find_pair(&p);
    make_bridges(&p);
    wait_for_turn(&p);
    log_forgets(&p);
    turn_give(&p.r.turns.dev[p.dev], OTHER_SHARD);
    cr_assert_neq(sim_run_until(p.r.sim, becomes_dirty_in_a_place, &p, 10 * NS_PER_S), 0, "what lies in a place is clean");
    cr_assert_eq(sim_run_until(p.r.sim, rig_clean, &p.r, 10 * NS_PER_S), 0);
    shard_verify(p.r.shard);
    rig_restart(&p.r);
    rig_expect(&p.r, p.base + 2, 1, 3);
    rig_expect(&p.r, p.base + 3, 3, 2);
    rig_expect(&p.r, p.base + 6, 1, 3);
    rig_fini(&p.r);
}
