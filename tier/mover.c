/* SPDX-License-Identifier: Apache-2.0 */
/* mover.c: destage: the lanes, and when they work. A lane a capacity device, so that a hung device holds up nobody else; and one
 * lane that needs no device.
 *
 * 1. policy says when; the lane takes what is worth its time most, in address order (pick.c).
 * 2. Each extent is captured, read from the log and written in place, one being read while another one is written (mover_batch.c).
 * 3. One flush, when it is the lane's turn (mover_io.c), one batch of the metadata for all; only then they are clean (mover_commit.c).
 * 4. One more lane moves extents between devices of different speed, by heat (migrate.c).
 * 5. A device that nobody wants gets its extents' descriptions (describe.c).
 * Failures: dirty data is never dropped: what could not be settled is tried again later, or on another device.
 */
#include <errno.h>
#include <sys/mman.h>

#include "tier/describe.h"
#include "tier/gate.h"
#include "tier/migrate.h"
#include "tier/mover.h"
#include "tier/priv.h"
#include "tier/reclaim.h"

#define PAUSE_RETRY_NS NS_PER_MS

/* ---- lanes ---- */

int mover_init(struct shard *s)
{
    s->nr_lanes = s->o.nr_capacity + 2;
    s->lanes = mmap(NULL, s->nr_lanes * sizeof(*s->lanes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->lanes == MAP_FAILED) {
        s->lanes = NULL;
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < s->nr_lanes; i++) {
        struct lane *l = &s->lanes[i];
        size_t bytes = LANE_BUFS * EXTENT_BYTES + POLICY_BATCH_EXTENTS * sizeof(struct job);
        char *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (mem == MAP_FAILED)
            return -ENOMEM;
        l->s = s;
        l->migrates = i == s->o.nr_capacity + 1;
        l->dev = i < s->o.nr_capacity ? (uint16_t)i : l->migrates ? 0 : EXTENT_NO_DEV;
        lane_turn_init(l);
        l->swept_ns = l->destage_last_ns = env_now_ns(s->env);
        l->buf = mem;
        l->jobs = (struct job *)(void *)(mem + LANE_BUFS * EXTENT_BYTES);
    }
    return 0;
}

void mover_fini(struct shard *s)
{
    for (uint32_t i = 0; s->lanes != NULL && i < s->nr_lanes; i++)
        if (s->lanes[i].buf != NULL)
            munmap(s->lanes[i].buf, LANE_BUFS * EXTENT_BYTES + POLICY_BATCH_EXTENTS * sizeof(struct job));
    if (s->lanes != NULL)
        munmap(s->lanes, s->nr_lanes * sizeof(*s->lanes));
    s->lanes = NULL;
}

void lane_set_state(struct lane *l, enum lane_state to)
{
    static const bool allowed[LANE_STATE_NR][LANE_STATE_NR] = {
        [LANE_IDLE]     = {[LANE_WORK] = true, [LANE_DESCRIBE] = true},
        [LANE_WORK]     = {[LANE_FLUSH] = true, [LANE_IDLE] = true},
        [LANE_FLUSH]    = {[LANE_COMMIT] = true},
        [LANE_COMMIT]   = {[LANE_IDLE] = true},
        [LANE_DESCRIBE] = {[LANE_IDLE] = true},
    };

    assert(l->state < LANE_STATE_NR && to < LANE_STATE_NR && allowed[l->state][to]);
    l->state = to;
}

/* Wherever its blocks go: what keeps the dirt up may lie on another device. */
static bool a_write_waits(const struct shard *s)
{
    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        if (!waits_empty(&s->writes_dev[d]))
            return true;
    return !waits_empty(&s->writes_wait);
}

static bool hosts_wait(struct shard *s) { return journal_starved(s->j) || (a_write_waits(s) && shard_writes_wait(s)); }

bool lane_waited_for(struct lane *l)
{
    return hosts_wait(l->s) || !waits_empty(&l->s->writes_dev[l->dev]) || !list_empty(&l->s->zeroes_wait);
}

static bool any_in(const struct shard *s, const struct lane *l, enum extent_bucket b)
{
    return s->xt.list[l->dev * EXTENT_BUCKETS + b].nr > 0 || s->xt.list[CAPACITY_DEVS_MAX * EXTENT_BUCKETS + b].nr > 0;
}

/* Where reclaim leaves all dirt to destage, nearly all of it is urgent some time. Done beside hosts' reads it took tencent-50k 326 s of
 * the disk, in its pauses, or when hosts' writes wait anyway, 230 s: each train that meets a read costs two ways more. */
static bool patient(const struct shard *s) { return s->t.destage_victims; }

/* An extent of the batch is waited for: on the lists it no longer is. A deletion waits for those of its volume. */
static bool batch_urgent(const struct lane *l)
{
    for (uint32_t i = 0; l->state == LANE_WORK && i < l->nr_jobs; i++) {
        const struct extent *e = extent_at(&l->s->xt, l->jobs[i].x);

        if ((!patient(l->s) && (e->flags & EXTENT_URGENT)) || layer_at(l->s, e->layer)->vol == NULL)
            return true;
    }
    return false;
}

struct policy_state lane_policy(struct lane *l)
{
    struct shard *s = l->s;
    const struct turn *t = turn_of(s, l->dev);
    uint64_t share = s->o.nr_capacity > 1 ? policy_share_scaled(s->dev_dirty[l->dev]) : 0, budget = lane_budget_ns(l);

    if (l->migrates)
        return migrate_policy(l, batch_urgent(l) || lane_waited_for(l));
    return (struct policy_state){
        .now_ns = env_now_ns(s->env), .fg_last_ns = figure_get(&t->fg_last_ns), .fg_in_flight = figure_get(&t->fg),
        .dirty = MAX(shard_log_dirty(s), share), .capacity = s->log_blocks,
        .start_pct = s->t.dirty_start_pct, .max_pct = s->t.dirty_max_pct,
        .drain = s->draining && s->drain_all,
        .urgent = (!patient(s) && any_in(s, l, EXTENT_BUCKET_URGENT)) || batch_urgent(l) || lane_waited_for(l),
        .eager = any_in(s, l, EXTENT_BUCKET_EAGER) || (patient(s) && any_in(s, l, EXTENT_BUCKET_URGENT)),
        .off_hours = s->t.mover_from_min != s->t.mover_to_min &&
                     !policy_on_hours(env_wall_ns(s->env), s->t.mover_from_min, s->t.mover_to_min),
        .not_before_ns = MAX(l->not_before_ns, budget)};
}

bool lane_hurries(struct lane *l)
{
    struct policy_state p = lane_policy(l);

    return policy_regime(&p) == POLICY_URGENT;
}

bool lane_yields(struct lane *l)
{
    struct policy_state p = lane_policy(l);

    return policy_yields(&p);
}

/* What is pinned goes if all is to, or if writes wait and nothing else is left that would let them go on. */
static bool takes_pinned(struct lane *l)
{
    if (l->s->draining && l->s->drain_all)
        return true;
    return !extent_any_from(&l->s->xt, l->dev, EXTENT_BUCKET_DENSITY) && lane_waited_for(l);
}

/* Only urgent extents, or those that wait for a pause, unless there is more reason to work than them. */
static unsigned lowest_bucket(struct lane *l)
{
    struct policy_state p = lane_policy(l);
    bool eager = p.eager;

    if (l->takes_pinned)
        return EXTENT_BUCKET_PINNED;
    p.urgent = lane_waited_for(l);
    p.eager = false;
    if (policy_destage_at(&p) == 0)
        return EXTENT_BUCKET_DENSITY;
    p.eager = eager;
    return policy_destage_at(&p) == 0 ? EXTENT_BUCKET_EAGER : EXTENT_BUCKET_URGENT;
}

void lane_rest(struct lane *l)
{
    struct shard *s = l->s;

    if (l->state != LANE_DESCRIBE)
        l->destage_last_ns = env_now_ns(s->env);
    lane_set_state(l, LANE_IDLE);
    s->changes++;
    shard_kick(s);
}

/* ---- when ---- */

void lane_begin(struct lane *l)
{
    l->begun_ns = env_now_ns(l->s->env);
    l->nr_jobs = 0;
    l->rd = l->wr = JOB_NONE;
    for (uint16_t d = 0; d < l->s->o.nr_capacity; d++)
        l->flush_failures[d] = cold_flush_failures(l->s->o.cold, d);
    l->bytes = 0;
    if (l->migrates) {
        migrate_pick(l);
    } else if (l->dev == EXTENT_NO_DEV) {
        lane_pick_meta(l);
    } else if (l->at_rest) {
        l->takes_pinned = false;
        l->cold_look_ns = lane_pick_cold(l);
    } else {
        l->takes_pinned = takes_pinned(l);
        lane_pick(l, lowest_bucket(l));
    }
    if (l->nr_jobs == 0)
        return;
    l->io_busy = false;
    lane_set_state(l, LANE_WORK);
    lane_step(l);
}

static bool lane_has_work(const struct shard *s, struct lane *l)
{
    if (l->dev == EXTENT_NO_DEV)
        return s->xt.side[EXTENT_SIDE_NO_DEVICE].nr > 0;
    if (extent_any_from(&s->xt, l->dev, EXTENT_BUCKET_DENSITY))
        return true;
    return extent_any_from(&s->xt, l->dev, EXTENT_BUCKET_PINNED) && takes_pinned(l);
}

struct lane_when {               /* 0: now */
    uint64_t destage_ns;
    uint64_t rest_ns;            /* in the idle regime: to look for what is dense or cold */
};

/* Of an idle lane that has work. */
static struct lane_when lane_when(struct lane *l)
{
    struct lane_when w = {UINT64_MAX, UINT64_MAX};
    struct shard *s = l->s;
    uint64_t now = env_now_ns(s->env);
    struct policy_state p;

    if (l->dev == EXTENT_NO_DEV) {
        w.destage_ns = l->not_before_ns > now ? l->not_before_ns : 0;
        return w;
    }
    if (s->draining && !s->drain_all && !lane_waited_for(l))
        return w;
    if (!dev_usable(s, shard_capacity(s, l->dev))) {
        w.destage_ns = now + LANE_PAUSE_ERROR_NS;
        return w;
    }
    p = lane_policy(l);
    w.destage_ns = policy_destage_at(&p);
    if (s->draining || policy_regime(&p) != POLICY_IDLE)
        return w;
    w.rest_ns = policy_rest_at(&p);
    if (now < l->cold_look_ns)
        w.rest_ns = MAX(w.rest_ns, l->cold_look_ns);
    return w;
}

/* Is it worth another try? Else a pass would ask for another pass. */
static bool run_may_go(struct lane *l)
{
    const struct turn *t = turn_of(l->s, l->dev);
    uint64_t now = env_now_ns(l->s->env);

    if (l->lent && dev_usable(l->s, shard_capacity(l->s, l->dev)))
        return false;
    if (l->migrates && l->turn == TURN_NONE && turn_taken(t) && !turn_stuck(t, now))
        return false;
    return !lane_yields(l) && now >= lane_budget_ns(l) && (l->turn != TURN_ASKED || turn_stuck(t, now));
}

/* When a lane that has a run to write, and could not, is to try again. */
static uint64_t run_again_at(const struct lane *l)
{
    uint64_t now = env_now_ns(l->s->env);

    if (l->turn == TURN_ASKED) /* it will be told; unless a run of another shard hangs */
        return now + LANE_PAUSE_ERROR_NS;
    return MAX(now + NS_PER_MS, lane_budget_ns(l));
}

/* A batch of descriptions that waits for the turn is told; unless a run of another shard hangs. */
static uint64_t describe_again_at(struct lane *l)
{
    struct shard *s = l->s;
    uint64_t now = env_now_ns(s->env);

    if (l->turn != TURN_ASKED)
        return UINT64_MAX;
    if (turn_stuck(turn_of(s, l->dev), now))
        describe_go_on(l);
    return now + LANE_PAUSE_ERROR_NS;
}

/* Nothing to destage: as after nearly every read. */
static uint64_t look_elsewhere(struct lane *l) { return l->dev == EXTENT_NO_DEV ? UINT64_MAX : describe_look(l); }

static uint64_t idle_look(struct lane *l)
{
    struct lane_when w;
    uint64_t at, elsewhere;

    l->at_rest = false;
    if (!lane_has_work(l->s, l))
        return look_elsewhere(l);
    w = lane_when(l);
    l->at_rest = w.destage_ns != 0 && w.rest_ns == 0;
    if (w.destage_ns == 0 || l->at_rest)
        lane_begin(l);
    if (l->state != LANE_IDLE)
        return UINT64_MAX;
    if (w.destage_ns == 0)
        return env_now_ns(l->s->env) + PAUSE_RETRY_NS;
    if (l->at_rest) /* it found nothing */
        w.rest_ns = lane_has_work(l->s, l) ? lane_when(l).rest_ns : UINT64_MAX;
    at = MIN(w.destage_ns, w.rest_ns);
    elsewhere = look_elsewhere(l);
    return MIN(at, elsewhere);
}

/* When the lane is to be looked at again. */
static uint64_t lane_look(struct lane *l)
{
    struct shard *s = l->s;
    uint64_t now;

    if (l->state == LANE_IDLE)
        return s->failed != 0 ? UINT64_MAX : l->migrates ? migrate_look(l) : idle_look(l);
    now = env_now_ns(s->env);
    if (lane_writes(l) && !l->io_busy) {
        if (run_may_go(l))
            lane_step(l);
        return lane_writes(l) && !l->io_busy ? run_again_at(l) : UINT64_MAX;
    }
    if (l->state == LANE_FLUSH && !l->io_busy) {
        lane_flush_step(l);
        return l->state == LANE_FLUSH && !l->io_busy ? now + NS_PER_MS : UINT64_MAX;
    }
    return l->state == LANE_DESCRIBE ? describe_again_at(l) : UINT64_MAX;
}

/* Entries without payload have a fixed number of slots: past half of them their extents come first. */
static void find_urgent(struct shard *s)
{
    uint32_t budget = MIN(SCAN_BUDGET, s->ix.virtual_touched);

    if (s->ix.virtual_used <= s->ix.nr_virtual / 2)
        return;
    while (budget-- > 0) {
        uint32_t id = s->ix.nr_phys + s->urgent_scan++ % s->ix.virtual_touched;
        struct index_entry n;
        uint32_t x;

        if (!index_slot_used(&s->ix, id))
            continue;
        index_get(&s->ix, id, &n);
        x = extent_find(&s->xt, n.layer, extent_no(n.block));
        extent_at(&s->xt, x)->flags |= EXTENT_URGENT;
        extent_relist(&s->xt, x);
    }
}

uint64_t mover_step(struct shard *s)
{
    uint64_t next = share_step(s);

    reclaim_pass_over(s);
    find_urgent(s);
    for (uint32_t i = 0; i < s->nr_lanes; i++) {
        uint64_t at = lane_look(&s->lanes[i]);

        next = MIN(next, at);
    }
    return next;
}

void mover_drain(struct shard *s)
{
    uint64_t soon = env_now_ns(s->env) + LANE_PAUSE_ERROR_NS;

    for (uint32_t i = 0; i < s->nr_lanes; i++)
        s->lanes[i].not_before_ns = MIN(s->lanes[i].not_before_ns, soon);
}

bool mover_busy(const struct shard *s)
{
    for (uint32_t i = 0; i < s->nr_lanes; i++)
        if (s->lanes[i].state != LANE_IDLE || s->lanes[i].turn != TURN_NONE)
            return true;
    return false;
}
