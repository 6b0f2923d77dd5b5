/* SPDX-License-Identifier: Apache-2.0 */
/* The turn of a capacity device (turn.h): one shard at a time writes there, nobody is forgotten, a run that hangs stops nobody;
 * and destage yields to requests of the foreground there. */
#include "tier/mover.h"
#include "rig.h"

static unsigned granted_to[8], nr_granted;
struct other { struct turn_want want; unsigned no; };

static void granted(struct env_task *t) { granted_to[nr_granted++] = container_of(t, struct other, want.granted)->no; }

static void other_init(struct other *o, unsigned no, struct env *env)
{
    *o = (struct other){.want = {.env = env, .granted = {.fn = granted}}, .no = no};
}

Test(turn, it_goes_round_those_who_wait, .timeout = 20)
{
    struct sim *sim = sim_new(1);
    struct env *env = sim_env_new(sim);
    struct turn t = {0};
    struct other o[4];

    for (unsigned i = 0; i < 4; i++)
        other_init(&o[i], i * 21, env);
    cr_assert(turn_take(&t, 42, &o[2].want));
    cr_assert_not(turn_take(&t, 0, &o[0].want));
    cr_assert_not(turn_take(&t, 63, &o[3].want));
    cr_assert_not(turn_take(&t, 21, &o[1].want));
    cr_assert(turn_withdraw(&t, 21));
    turn_give(&t, 42);
    sim_run_for(sim, NS_PER_MS);
    cr_assert_eq(nr_granted, 1);
    cr_assert_eq(granted_to[0], 63, "the next one after the one that gives");
    cr_assert_not(turn_withdraw(&t, 63), "too late");
    cr_assert_not(turn_take(&t, 42, &o[2].want), "who had it waits like all others");
    turn_give(&t, 63);
    turn_give(&t, 0);
    turn_give(&t, 42);
    sim_run_for(sim, NS_PER_MS);
    cr_assert_eq(nr_granted, 3);
    cr_assert_eq(granted_to[1], 0);
    cr_assert_eq(granted_to[2], 42);
    cr_assert_not(turn_others_wait(&t));
    cr_assert(turn_take(&t, 21, &o[1].want), "it is free again");
    sim_env_free(env);
    sim_free(sim);
}

Test(turn, without_a_target_nothing_pauses, .timeout = 20)
{
    struct turn t = {0};

    turn_fg_took(&t, 3 * NS_PER_MS, NS_PER_MS);
    turn_pause(&t, NS_PER_MS);
    cr_assert_gt(t.not_before_ns, NS_PER_MS);
    t.not_before_ns = 0;
    turn_fg_took(&t, 3 * NS_PER_MS, 0); /* it was taken away */
    turn_pause(&t, NS_PER_MS);
    cr_assert_eq(t.not_before_ns, 0);
}

static uint64_t destaged(const struct rig *r) { return r->shard->stats.destage_blocks; }

static void others_take(struct rig *r, struct other *o)
{
    for (uint16_t d = 0; d < RIG_HDDS; d++) {
        other_init(&o[d], 1, r->env);
        cr_assert(turn_take(&r->turns.dev[d], 1, &o[d].want));
    }
}

static void some_dirt(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed});
    cr_assert_eq(rig_boot(r), 0);
    for (uint64_t b = 0; b < 200; b += 2)
        cr_assert_eq(rig_write(r, b, 1, 1), 0);
}

Test(turn, a_shard_writes_when_another_one_gives_the_turn_and_not_before, .timeout = 60)
{
    struct other o[RIG_HDDS];
    struct rig r;
    uint64_t events;

    some_dirt(&r, 5);
    others_take(&r, o);
    r.shard->t.dirty_start_pct = 0;
    shard_start(r.shard);
    sim_run_for(r.sim, 5 * NS_PER_S);
    cr_assert_eq(destaged(&r), 0);
    events = sim_events_run(r.sim);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_lt(sim_events_run(r.sim) - events, 100, "it does not spin");
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        turn_give(&r.turns.dev[d], 1);
    cr_assert_eq(sim_run_until(r.sim, rig_clean, &r, 20 * NS_PER_MS), 0, "at once");
    rig_expect(&r, 0, 1, 1);
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        cr_assert_not(r.turns.dev[d].taken, "and it is given back");
    rig_fini(&r);
}

Test(turn, a_run_of_another_shard_that_hangs_is_not_waited_for, .timeout = 60)
{
    struct other o[RIG_HDDS];
    struct rig r;

    some_dirt(&r, 5);
    others_take(&r, o);
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        turn_run_begin(&r.turns.dev[d], env_now_ns(r.env));
    r.shard->t.dirty_start_pct = 0;
    shard_start(r.shard);
    sim_run_for(r.sim, 900 * NS_PER_MS);
    cr_assert_eq(destaged(&r), 0);
    cr_assert_eq(sim_run_until(r.sim, rig_clean, &r, 2 * NS_PER_S), 0);
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        cr_assert(r.turns.dev[d].taken && !turn_others_wait(&r.turns.dev[d]), "it stays whose it is");
    rig_fini(&r);
}

static bool flushes(void *ctx)
{
    const struct lane *l = ctx;

    return l->state == LANE_FLUSH && l->io_busy;
}

/* It was asked for, and not wanted any more when it had been handed over already. */
Test(turn, a_turn_that_comes_too_late_is_given_back, .timeout = 60)
{
    struct rig r;
    struct turn *t;
    struct lane *l;

    some_dirt(&r, 5);
    l = &r.shard->lanes[rig_extent(&r, 0)->place.dev];
    t = &r.turns.dev[l->dev];
    r.shard->t.dirty_start_pct = 0;
    shard_start(r.shard);
    cr_assert_eq(sim_run_until(r.sim, flushes, l, 5 * NS_PER_S), 0);
    cr_assert(l->turn == TURN_NONE && !t->taken);
    t->taken = true;
    l->turn = TURN_ASKED;
    env_post(r.env, &l->turn_want.granted);
    cr_assert_eq(sim_run_until(r.sim, rig_clean, &r, 5 * NS_PER_S), 0);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert(l->turn == TURN_NONE && !t->taken);
    rig_fini(&r);
}

/* It looks again when the read is answered or a moment has passed, not in each pass. */
Test(turn, a_destage_that_yields_to_a_read_does_not_spin)
{
    struct rig r;
    uint64_t before;

    some_dirt(&r, 31);
    r.shard->t.dirty_start_pct = 0;
    shard_start(r.shard);
    cr_assert_eq(sim_run_until(r.sim, rig_lane_writes, &r, 10 * NS_PER_S), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        fg_begin(r.shard, (uint16_t)i);
    sim_run_for(r.sim, 100 * NS_PER_MS);
    before = sim_events_run(r.sim);
    sim_run_for(r.sim, 100 * NS_PER_MS);
    cr_assert(rig_lane_writes(&r));
    cr_assert_lt(sim_events_run(r.sim) - before, 1000);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        fg_end(r.shard, (uint16_t)i);
    cr_assert_eq(sim_run_until(r.sim, rig_clean, &r, NS_PER_S), 0);
    for (uint64_t b = 0; b < 200; b += 2)
        rig_expect(&r, b, 1, 1);
    rig_fini(&r);
}

/* Somebody waits for it: it yields neither before it was picked nor after. */
Test(turn, an_urgent_destage_does_not_wait_for_reads_to_end)
{
    struct rig r;
    uint32_t x;

    rig_init(&r, &(struct rig_opts){.seed = 45});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 8, 1), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        r.shard->fg_in_flight[i]++; /* there is always one */
    x = extent_find(&r.shard->xt, 1, 0);
    extent_at(&r.shard->xt, x)->flags |= EXTENT_URGENT;
    extent_relist(&r.shard->xt, x);
    shard_start(r.shard);
    cr_assert_eq(sim_run_until(r.sim, rig_clean, &r, 10 * NS_PER_S), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        r.shard->fg_in_flight[i]--;
    rig_expect(&r, 0, 8, 1);
    rig_fini(&r);
}

static void detached(void *ctx, int e) { *(int *)ctx = e; }
static bool is_detached(void *ctx) { return *(int *)ctx == 0; }

/* The lane has its extents, and yields to reads that never end: of another volume's, on the same disk. */
Test(turn, a_deletion_does_not_wait_for_reads_to_end)
{
    int gone = 1;
    struct rig r;

    some_dirt(&r, 46);
    r.shard->t.dirty_start_pct = 0;
    shard_start(r.shard);
    cr_assert_eq(sim_run_until(r.sim, rig_lane_writes, &r, 10 * NS_PER_S), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        r.shard->fg_in_flight[i]++;
    shard_detach(r.shard, &r.vol, detached, &gone);
    cr_assert_eq(sim_run_until(r.sim, is_detached, &gone, 10 * NS_PER_S), 0);
    cr_assert_eq(rig_used(&r), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        r.shard->fg_in_flight[i]--;
    rig_fini(&r);
}
