/* SPDX-License-Identifier: Apache-2.0 */
/* migrate.c: extents between capacity devices of different speed: hot ones to flash, cold ones to disks that seek. A pool
 * that has only one kind knows nothing of this. placement.h says what should move; the mover moves it, in a lane of its own.
 *
 * 1. A walk over the shard's extents, a few hundred a pass: each is counted by its class, and those that should move by the marks
 *    of the last walk are noted. Its end: the counts of all shards give new marks. The next walk comes a minute later, or an
 *    hour where nobody reads or writes; at once when there were more to move than could be noted, or a volume's tier has changed.
 * 2. The lane rests, some are noted, and the rate allows it: a few extents of one device, which is quiet, become jobs of the lane,
 *    each with a place on the device of the other kind that has most room. Where no disk is left quiet for a second, one extent
 *    moves: what keeps it busy is what should leave it, for room that something colder should leave.
 * 3. A job is a destage that moves house (mover_batch.c): what is dirty comes from the log, the rest from the old place,
 *    verified; flush; one batch names the new places; only then the old ones are given back. A crash before leaves everything
 *    where it was.
 * 4. Reads of a disk are made with its turn, one extent at a time, and runs are written with the target's; requests of hosts end
 *    the batch.
 * A new extent begins where it would have to move to (pick.c); as long as no batch names its place the walk changes it for nothing.
 * Heat decides where bytes lie, never which: whatever it says, the map names the place.
 *
 * Failures: what cannot be read or written, or fails its checksum, stays where it is, and is left alone for an hour. Of a pool
 * that is all but full nothing moves. A device that hangs keeps the lane, and what it was about to move; the other lanes go on.
 */
#include "tier/gate.h"
#include "tier/heat_meta.h"
#include "tier/migrate.h"
#include "tier/mover.h"
#include "tier/priv.h"

#define WALK_LOOKS    512u               /* 0.1 ms */
#define WALK_NS       (60 * NS_PER_S)
#define WALK_IDLE     60u                /* so many times rarer where nothing is asked for */
#define WALKS_SOON    10u                /* after a change, a second apart: what is at work on an extent passes */
#define PATIENCE_NS   NS_PER_S           /* at most; then one extent moves, quiet or not, */
#define HURRY         5u                 /* and after so much of it writes beside requests of hosts */
#define SHUN_NS       (3600 * NS_PER_S)
#define SPARE_EXTENTS 16u                /* of the pool: free ones that are not taken for a move */
enum { DOWN, UP };

void migrate_init(struct shard *s)
{
    struct migrate *m = &s->migrate;

    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        if (shard_capacity(s, d) != NULL)
            m->kind[!shard_capacity(s, d)->caps.rotational] |= UINT64_C(1) << d;
    m->mixed = m->kind[0] != 0 && m->kind[1] != 0;
    m->source = m->last[0].dev = m->last[1].dev = EXTENT_NO_DEV;
    m->marks = placement_decide(&m->census, 0, placement_heat_class(s->t.migrate_heat), MIGRATE_LIST);
    m->marks.hot = placement_heat_class(s->t.migrate_heat); /* nothing has been counted: all that is hot may have room */
    m->marks.edge = PLACEMENT_CLASSES;
    migrate_soon(s);
}

/* ---- what should move ---- */

static bool on_flash(const struct shard *s, uint16_t dev) { return s->migrate.kind[1] >> dev & 1; }

bool migrate_is_flash(const struct shard *s, struct extent_place p)
{
    return s->migrate.mixed && p.dev != EXTENT_NO_DEV && on_flash(s, p.dev);
}

bool shard_flash(const struct shard *s, uint16_t dev) { return migrate_is_flash(s, (struct extent_place){.dev = dev}); }

static struct placement_room room(const struct shard *s)
{
    uint64_t avoid = devices_to_avoid(s), total, used;
    struct placement_room r = {0};

    for (uint16_t d = 0; d < s->o.nr_capacity; d++) {
        if (!on_flash(s, d) || (avoid >> d & 1))
            continue;
        cold_usage(s->o.cold, d, &total, &used);
        r.total += total;
        r.used += used;
    }
    return r;
}

static unsigned class_of(const struct shard *s, const struct extent *e)
{
    switch (layer_at(s, e->layer)->vol->tier) {
    case VOLUME_SSD:
        return PLACEMENT_SSD;
    case VOLUME_HDD:
        return PLACEMENT_HDD;
    case VOLUME_AUTO:
        break;
    }
    return placement_heat_class((double)heat_get(&s->heat, heat_now_s(s), e->layer, e->no / HEAT_CELL_EXTENTS).use);
}

/* Heat that has been watched for less than a half-life says nothing of what is cold: its records may have been lost. */
static bool heat_known(const struct shard *s) { return heat_now_s(s) >= s->heat.half_life_s; }

/* Nobody is at work on it, and no byte of it counts as zero without saying so in the map. */
static bool movable(const struct shard *s, const struct extent *e)
{
    return e->layer != 0 && e->state == EXTENT_IDLE && extent_placed(e) && e->twin == 0 && e->discard_seq == 0 &&
           layer_at(s, e->layer)->vol != NULL;
}

static bool shunned(const struct shard *s, uint32_t x)
{
    for (unsigned i = 0; i < MIGRATE_SHUNNED; i++)
        if (s->migrate.shunned[i].x == x && env_now_ns(s->env) < s->migrate.shunned[i].until_ns)
            return true;
    return false;
}

static bool should_move(const struct shard *s, uint32_t x, int way, const struct placement_room *r)
{
    const struct extent *e = extent_at(&s->xt, x);

    if (!movable(s, e) || on_flash(s, e->place.dev) != (way == DOWN) || shunned(s, x))
        return false;
    return way == UP ? placement_up(&s->migrate.marks, class_of(s, e), r)
                     : placement_down(&s->migrate.marks, class_of(s, e), r, heat_known(s));
}

uint64_t migrate_not_there(const struct shard *s, const struct extent *e)
{
    struct placement_room r;

    if (!s->migrate.mixed || layer_at(s, e->layer)->vol == NULL)
        return 0;
    r = room(s);
    return s->migrate.kind[!placement_new(&s->migrate.marks, class_of(s, e), &r)];
}

/* ---- the walk ---- */

/* The hottest, or coldest, first: others only while there is room on the list. */
static void look_at(struct shard *s, uint32_t x, const struct placement_room *r)
{
    const struct extent *e = extent_at(&s->xt, x);
    struct migrate *m = &s->migrate;
    unsigned class;
    int way;

    if (!movable(s, e)) {
        m->restless |= e->layer != 0 && e->state != EXTENT_IDLE;
        return;
    }
    class = class_of(s, e);
    way = on_flash(s, e->place.dev) ? DOWN : UP;
    m->census.nr[way == DOWN][class]++;
    if (!should_move(s, x, way, r))
        return;
    m->restless = true;
    if (e->flags & EXTENT_FRESH) { /* nothing lies there yet */
        share_leave(s, x, devices_to_avoid(s) | m->kind[way == DOWN]);
        return;
    }
    if (m->nr[way] == MIGRATE_LIST || (way == UP ? class < m->marks.up_from : class > m->marks.down_to))
        m->more = true;
    else
        m->list[way][m->nr[way]++] = x;
}

static void publish(struct shard *s)
{
    struct placement_census *to = &s->o.turns->census[s->o.no], *from = &s->migrate.census;

    for (unsigned k = 0; k < PLACEMENT_CLASSES; k++)
        for (unsigned f = 0; f < 2; f++)
            __atomic_store_n(&to->nr[f][k], from->nr[f][k], __ATOMIC_RELAXED);
}

static void decide(struct shard *s)
{
    struct placement_census sum = {0};
    struct placement_room r = room(s);

    for (unsigned i = 0; i < REACTORS_MAX; i++)
        for (unsigned k = 0; k < PLACEMENT_CLASSES; k++)
            for (unsigned f = 0; f < 2; f++)
                sum.nr[f][k] += __atomic_load_n(&s->o.turns->census[i].nr[f][k], __ATOMIC_RELAXED);
    s->migrate.marks = placement_decide(&sum, r.total, placement_heat_class(s->t.migrate_heat), MIGRATE_LIST);
}

static uint64_t period_ns(const struct shard *s) { return s->t.heat_period_ns != 0 ? s->t.heat_period_ns : WALK_NS; }
static uint64_t patience_ns(const struct shard *s) { return MIN(period_ns(s), PATIENCE_NS); }
static uint64_t ios(const struct shard *s) { return s->stats.read_ops + s->stats.write_ops; }

static void walk_over(struct shard *s)
{
    struct migrate *m = &s->migrate;

    publish(s);
    decide(s);
    m->cursor = 0;
    m->walk_ios = ios(s);
    m->walk_ns = env_now_ns(s->env);
    m->hurry = m->restless && m->hurry > 0 ? m->hurry - 1 : 0;
}

void migrate_soon(struct shard *s)
{
    s->migrate.walk_ns = 0;
    s->migrate.hurry = WALKS_SOON;
}

static uint32_t left(const struct migrate *m, int way) { return m->nr[way] - m->at[way]; }

/* When the next one begins: at once if some were left out, and what was noted has moved. */
static uint64_t walk_at(const struct shard *s)
{
    const struct migrate *m = &s->migrate;
    uint64_t period = m->restless || m->walk_ios != ios(s) ? period_ns(s) : WALK_IDLE * period_ns(s);

    if (m->walk_ns == 0 || (m->more && m->moved && left(m, UP) + left(m, DOWN) == 0))
        return 0;
    return m->walk_ns + (m->hurry > 0 ? patience_ns(s) : period);
}

uint64_t migrate_step(struct shard *s)
{
    struct migrate *m = &s->migrate;
    struct placement_room r;

    if (!m->mixed || s->failed != 0 || s->draining)
        return UINT64_MAX;
    if (m->cursor == 0) {
        if (env_now_ns(s->env) < walk_at(s))
            return walk_at(s);
        m->census = (struct placement_census){0};
        m->nr[UP] = m->nr[DOWN] = m->at[UP] = m->at[DOWN] = 0;
        m->more = m->moved = m->restless = false;
        m->cursor = 1;
    }
    r = room(s);
    for (uint32_t i = 0; i < WALK_LOOKS && m->cursor <= s->xt.touched; i++)
        look_at(s, m->cursor++, &r);
    if (m->cursor <= s->xt.touched)
        return env_now_ns(s->env) + NS_PER_MS;
    walk_over(s);
    return walk_at(s);
}

/* ---- a batch ---- */

static bool quiet(const struct shard *s, uint16_t dev)
{
    const struct turn *t = turn_of(s, dev);

    if (on_flash(s, dev))
        return true;
    return figure_get(&t->fg) == 0 && figure_get(&t->fg_last_ns) + POLICY_IDLE_NS <= env_now_ns(s->env);
}

/* The one with most room of those that can be used; EXTENT_NO_DEV: none. */
static uint16_t target_of(const struct shard *s, int way)
{
    uint64_t avoid = devices_to_avoid(s), total, used, most = 0;
    uint16_t best = EXTENT_NO_DEV;

    for (uint16_t d = 0; d < s->o.nr_capacity; d++) {
        if (on_flash(s, d) != (way == UP) || (avoid >> d & 1))
            continue;
        cold_usage(s->o.cold, d, &total, &used);
        if (total - used > most) {
            most = total - used;
            best = d;
        }
    }
    return best;
}

static bool pool_has_room(const struct shard *s)
{
    uint64_t total, used;

    cold_usage(s->o.cold, EXTENT_NO_DEV, &total, &used);
    return used + cold_reserved(s->o.cold) + SPARE_EXTENTS + MIGRATE_BATCH <= total;
}

/* A place for it there, at the cost of nobody's promise. */
static bool take_place(const struct shard *s, uint16_t dev, struct extent_place near, struct extent_place *to)
{
    if (cold_reserve(s->o.cold, 1) != 0)
        return false;
    if (cold_take(s->o.cold, near, ~(UINT64_C(1) << dev), to) == 0)
        return true;
    cold_unreserve(s->o.cold, 1);
    return false;
}

static void give_source_back(struct lane *l)
{
    struct migrate *m = &l->s->migrate;

    if (!m->has_turn)
        return;
    turn_run_end(turn_of(l->s, m->source));
    turn_give(turn_of(l->s, m->source), l->s->o.no);
    m->has_turn = false;
}

/* The head is wanted for reads. False: it is another one's, at the moment. */
static bool take_source(struct lane *l, uint16_t dev)
{
    struct migrate *m = &l->s->migrate;

    m->source = dev;
    if (on_flash(l->s, dev))
        return true;
    m->has_turn = turn_try(turn_of(l->s, dev));
    if (m->has_turn)
        turn_run_begin(turn_of(l->s, dev), env_now_ns(l->s->env));
    return m->has_turn;
}

/* Behind the extent before it, if that lies there; else behind what went there last: streams stay streams, descriptions lie together. */
static struct extent_place near_of(const struct lane *l, uint32_t x)
{
    const struct shard *s = l->s;
    const struct extent *e = extent_at(&s->xt, x);
    uint32_t before = e->no == 0 ? EXTENT_NONE : extent_find(&s->xt, e->layer, e->no - 1);

    for (uint32_t i = 0; i < l->nr_jobs; i++)
        if (l->jobs[i].x == before)
            return l->jobs[i].place;
    if (before != EXTENT_NONE && extent_at(&s->xt, before)->place.dev == l->dev)
        return extent_at(&s->xt, before)->place;
    return s->migrate.last[on_flash(s, l->dev)];
}

static bool add_job(struct lane *l, uint32_t x)
{
    struct shard *s = l->s;
    struct extent_place to;
    struct job *job;

    if (!take_place(s, l->dev, near_of(l, x), &to))
        return false;
    s->migrate.last[on_flash(s, l->dev)] = to;
    lane_add(l, x);
    job = &l->jobs[l->nr_jobs - 1];
    job->relocate = true;
    job->old_place = extent_at(&s->xt, x)->place;
    job->place = to;
    return true;
}

/* The next on the list that should still move; EXTENT_NONE: none is left. */
static uint32_t next_noted(struct shard *s, int way)
{
    struct placement_room r = room(s);
    struct migrate *m = &s->migrate;

    for (; left(m, way) > 0; m->at[way]++) {
        uint32_t x = m->list[way][m->at[way]];
        const struct extent *e = extent_at(&s->xt, x);

        if (should_move(s, x, way, &r) && extent_mapped(e) && dev_usable(s, shard_capacity(s, e->place.dev)))
            return x;
    }
    return EXTENT_NONE;
}

/* When there may be a batch that way; 0: it has begun. */
static uint64_t begin(struct lane *l, int way)
{
    struct shard *s = l->s;
    struct migrate *m = &s->migrate;
    uint64_t now = env_now_ns(s->env);
    uint32_t x = next_noted(s, way), most = MIGRATE_BATCH;
    uint16_t target = x == EXTENT_NONE ? EXTENT_NO_DEV : target_of(s, way), source;
    struct turn *t;

    if (target == EXTENT_NO_DEV || !pool_has_room(s)) {
        m->at[way] = m->nr[way];
        return UINT64_MAX;
    }
    t = turn_of(s, target);
    if (now < figure_get(&t->migrate_not_before_ns))
        return figure_get(&t->migrate_not_before_ns);
    source = extent_at(&s->xt, x)->place.dev;
    if (now < figure_get(&turn_of(s, source)->not_before_ns)) /* spent: else destage, which waits for it, would never have its turn */
        return figure_get(&turn_of(s, source)->not_before_ns);
    if (!quiet(s, source) || !quiet(s, target)) {
        if (now < m->began_ns + patience_ns(s))
            return now + POLICY_IDLE_NS;
        most = 1;
    }
    if (!take_source(l, source))
        return now + NS_PER_MS;
    l->dev = target;
    for (; l->nr_jobs < most && x != EXTENT_NONE && extent_at(&s->xt, x)->place.dev == source; x = next_noted(s, way)) {
        if (!add_job(l, x))
            break;
        m->at[way]++;
    }
    if (l->nr_jobs == 0) { /* the last place there went to another shard */
        give_source_back(l);
        m->at[way] = m->nr[way];
        return UINT64_MAX;
    }
    turn_charge_migration(t, now, l->nr_jobs * (uint64_t)EXTENT_BYTES, s->t.migrate_rate);
    turn_charge(turn_of(s, source), now, l->nr_jobs * (uint64_t)EXTENT_BYTES, s->t.mover_bandwidth, 0);
    m->began_ns = now;
    m->moved = true;
    return 0;
}

void migrate_pick(struct lane *l)
{
    struct migrate *m = &l->s->migrate;
    int first = m->began_way == UP ? DOWN : UP;

    m->look_ns = UINT64_MAX;
    for (int i = 0; i < 2 && l->nr_jobs == 0; i++) {
        int way = i == 0 ? first : 1 - first;
        uint64_t at = left(m, way) > 0 ? begin(l, way) : UINT64_MAX;

        m->look_ns = MIN(m->look_ns, at);
        if (at == 0)
            m->began_way = way;
    }
}

uint64_t migrate_look(struct lane *l)
{
    struct shard *s = l->s;
    struct migrate *m = &s->migrate;
    uint64_t now;

    if (!m->mixed || s->t.migrate_rate == TIER_MIGRATE_OFF || s->draining || m->cursor != 0 || left(m, UP) + left(m, DOWN) == 0)
        return UINT64_MAX;
    now = env_now_ns(s->env);
    if (!policy_on_hours(env_wall_ns(s->env), s->t.mover_from_min, s->t.mover_to_min))
        return now + 60 * NS_PER_S;
    if (now < l->not_before_ns)
        return l->not_before_ns;
    lane_begin(l);
    return l->state == LANE_IDLE ? MAX(m->look_ns, now + NS_PER_MS) : UINT64_MAX;
}

/* ---- while it is under way ---- */

struct policy_state migrate_policy(struct lane *l, bool urgent)
{
    struct shard *s = l->s;
    const struct turn *t = turn_of(s, l->dev);
    uint64_t now = env_now_ns(s->env);
    bool flash = on_flash(s, l->dev); /* where requests do not wait for each other */

    return (struct policy_state){
        .now_ns = now, .fg_last_ns = flash ? 0 : figure_get(&t->fg_last_ns), .fg_in_flight = flash ? 0 : figure_get(&t->fg),
        .capacity = s->log_blocks, .start_pct = s->t.dirty_start_pct, .max_pct = s->t.dirty_max_pct, .drain = s->draining,
        .urgent = urgent || now > l->begun_ns + HURRY * patience_ns(s), .not_before_ns = lane_budget_ns(l)};
}

bool migrate_ends(const struct lane *l)
{
    const struct shard *s = l->s;

    return s->draining || s->failed != 0 || (!on_flash(s, s->migrate.source) && figure_get(&turn_of(s, s->migrate.source)->fg) > 0) ||
           (!on_flash(s, l->dev) && figure_get(&turn_of(s, l->dev)->fg) > 0);
}

void migrate_reading(struct lane *l, const struct job *job)
{
    struct turn *t = turn_of(l->s, job->old_place.dev);

    if (l->s->migrate.has_turn)
        turn_run_begin(t, env_now_ns(l->s->env));
    turn_head_to(t, cold_offset(l->s->o.cold, job->old_place) + EXTENT_BYTES);
}

void migrate_read_all(struct lane *l) { give_source_back(l); }

void migrate_failed(struct lane *l, const struct job *job)
{
    struct migrate *m = &l->s->migrate;

    figure_add(&l->s->stats.migrate_errors, 1);
    m->shunned[m->shunned_next++ % MIGRATE_SHUNNED] = (struct migrate_shunned){job->x, env_now_ns(l->s->env) + SHUN_NS};
}

void migrate_done(struct lane *l, const struct job *job)
{
    struct tier_stats *st = &l->s->stats;
    uint64_t blocks = 0;

    for (unsigned w = 0; w < CAPTURE_WORDS; w++)
        blocks += (uint64_t)__builtin_popcountll(job->put[w]);
    figure_add(on_flash(l->s, job->place.dev) ? &st->migrate_up_blocks : &st->migrate_down_blocks, blocks);
}
