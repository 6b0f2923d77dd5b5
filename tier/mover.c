/* SPDX-License-Identifier: Apache-2.0 */
/* mover.c: destage. A lane a capacity device, so that a hung device holds up nobody else; and one lane that needs no device.
 *
 * 1. policy says when; the lane takes what is worth its time most, in address order (pick.c).
 * 2. Each extent in turn is captured: S = the highest durable seq, all its dirty blocks with seq <= S; what the map will say is
 *    computed from what it says now.
 * 3. Its payload is read from the log and verified, its runs are written in place (mover_io.c). The log still holds every
 *    block that is written, as a dirty one, so a torn write is never visible.
 * 4. One flush, when it is the lane's turn, one batch for all: {E: place, destaged_seq = S}, {C: checksums}, {S: durable_seq}.
 * 5. Only then: entries whose seq is still the captured one are clean; places that were left are given back.
 * An extent that ends up all zeros becomes a tombstone: a record without place.
 * Failures: a damaged block becomes a damaged bit, the rest goes on; a device that refuses a write is degraded, and the
 * extent begins again on another one; else the extent stays dirty and is tried again later. Dirty data is never dropped.
 */
#include <errno.h>
#include <sys/mman.h>

#include "tier/priv.h"

#define PAUSE_RETRY_NS NS_PER_MS

/* ---- lanes ---- */

int mover_init(struct shard *s)
{
    s->nr_lanes = s->o.nr_capacity + 1;
    s->lanes = mmap(NULL, s->nr_lanes * sizeof(*s->lanes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->lanes == MAP_FAILED) {
        s->lanes = NULL;
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < s->nr_lanes; i++) {
        struct lane *l = &s->lanes[i];
        size_t bytes = EXTENT_BYTES + POLICY_BATCH_EXTENTS * sizeof(struct job);
        char *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (mem == MAP_FAILED)
            return -ENOMEM;
        l->s = s;
        l->dev = i < s->o.nr_capacity ? (uint16_t)i : EXTENT_NO_DEV;
        l->swept_ns = l->destage_last_ns = env_now_ns(s->env);
        l->buf = mem;
        l->jobs = (struct job *)(void *)(mem + EXTENT_BYTES);
    }
    return 0;
}

void mover_fini(struct shard *s)
{
    for (uint32_t i = 0; s->lanes != NULL && i < s->nr_lanes; i++)
        if (s->lanes[i].buf != NULL)
            munmap(s->lanes[i].buf, EXTENT_BYTES + POLICY_BATCH_EXTENTS * sizeof(struct job));
    if (s->lanes != NULL)
        munmap(s->lanes, s->nr_lanes * sizeof(*s->lanes));
    s->lanes = NULL;
}

void lane_set_state(struct lane *l, enum lane_state to)
{
    static const bool allowed[LANE_STATE_NR][LANE_STATE_NR] = {
        [LANE_IDLE]    = {[LANE_PREPARE] = true, [LANE_DESCRIBE] = true},
        [LANE_PREPARE] = {[LANE_READ] = true, [LANE_FLUSH] = true, [LANE_COMMIT] = true, [LANE_IDLE] = true},
        [LANE_READ]    = {[LANE_WRITE] = true, [LANE_PREPARE] = true},
        [LANE_WRITE]   = {[LANE_PREPARE] = true},
        [LANE_FLUSH]   = {[LANE_COMMIT] = true},
        [LANE_COMMIT]  = {[LANE_IDLE] = true},
        [LANE_DESCRIBE] = {[LANE_IDLE] = true},
    };

    assert(l->state < LANE_STATE_NR && to < LANE_STATE_NR && allowed[l->state][to]);
    l->state = to;
}

static bool hosts_wait(struct shard *s)
{
    struct journal_load load;

    journal_load(s->j, &load);
    return load.starved || shard_writes_wait(s);
}

static bool lane_waited_for(struct lane *l)
{
    return hosts_wait(l->s) || !list_empty(&l->s->writes_dev[l->dev]) || !list_empty(&l->s->zeroes_wait);
}

static struct extent_list *urgent_list(struct shard *s, unsigned lane)
{
    return &s->xt.list[lane * EXTENT_BUCKETS + EXTENT_BUCKETS - 1];
}

struct policy_state lane_policy(struct lane *l)
{
    struct shard *s = l->s;
    uint64_t share = s->o.nr_capacity > 1 ? policy_share_scaled(s->dev_dirty[l->dev]) : 0;

    return (struct policy_state){
        .now_ns = env_now_ns(s->env), .fg_last_ns = s->fg_last_ns[l->dev], .fg_in_flight = s->fg_in_flight[l->dev] + s->fetching[l->dev],
        .dirty = MAX(s->ix.nr_dirty, share), .capacity = s->log_blocks,
        .start_pct = s->t.dirty_start_pct, .max_pct = s->t.dirty_max_pct,
        .drain = s->draining && s->drain_all,
        .urgent = urgent_list(s, l->dev)->nr > 0 || urgent_list(s, CAPACITY_DEVS_MAX)->nr > 0 || lane_waited_for(l),
        .not_before_ns = l->not_before_ns};
}

bool lane_yields(struct lane *l)
{
    struct policy_state p = lane_policy(l);

    return policy_yields(&p);
}

/* Only urgent extents, unless there is more reason to work than them. */
static unsigned lowest_bucket(struct lane *l)
{
    struct policy_state p = lane_policy(l);

    p.urgent = lane_waited_for(l);
    return policy_destage_at(&p) == 0 ? 0 : EXTENT_BUCKETS - 1;
}

/* ---- one extent ---- */

static void prepare_woken(struct sums_waiter *w);

/* Captures the current job; true: its payload is being read, or it waits for checksums. */
static bool job_prepare(struct lane *l, struct job *job)
{
    struct shard *s = l->s;
    struct extent *e = extent_at(&s->xt, job->x);
    struct sums *base = NULL;

    if (extent_mapped(e)) {
        l->wait.fn = prepare_woken;
        base = sums_get(s, job->x, &l->wait);
        l->parked = base == NULL;
        if (l->parked)
            return true;
    }
    if (!job->relocate)
        job->place = e->place;
    job->err = job_capture(l, job, base);
    if (base != NULL)
        sums_put(s, base);
    if (job->err != 0)
        return false;
    trace(TRACE_TIER_DESTAGE_START, layer_at(s, e->layer)->id, e->no, job->seq);
    if (!bits_any(job->put))
        return false;
    lane_set_state(l, LANE_READ);
    lane_read_start(l);
    return true;
}

/* ---- giving up, moving elsewhere ---- */

static void job_abandon(struct lane *l, struct job *job)
{
    struct shard *s = l->s;
    struct extent *e = extent_at(&s->xt, job->x);

    job_release(l, job);
    if (job->tombstone && job->old_place.dev != EXTENT_NO_DEV) { /* the map still names it */
        map_place(s, job->x, job->old_place);
        if (e->flags & EXTENT_RESERVED)
            cold_unreserve(s->o.cold, 1);
        e->flags &= (uint8_t)~EXTENT_RESERVED;
    } else if (job->relocate && s->failed == 0) { /* else the map may name it: nobody may have it before a restart tells */
        cold_give(s->o.cold, job->place);
    }
    if (job->err != -EAGAIN) {
        figure_add(&s->stats.destage_errors, 1);
        e->flags |= EXTENT_SPARSE_MOVE;
    }
    trace(TRACE_TIER_DESTAGE_DONE, layer_at(s, e->layer)->id, e->no, (uint64_t)-job->err);
    l->not_before_ns = MAX(l->not_before_ns, env_now_ns(s->env) + (job->err == -EAGAIN ? PAUSE_RETRY_NS : LANE_PAUSE_ERROR_NS));
    extent_set_state(e, EXTENT_IDLE);
    map_settle(s, job->x);
}

bool lane_relocate(struct lane *l)
{
    struct shard *s = l->s;
    struct job *job = &l->jobs[l->cur];
    struct extent *e = extent_at(&s->xt, job->x);
    struct extent_place nowhere = {.dev = EXTENT_NO_DEV}, to;

    if (job->relocate || s->o.nr_capacity < 2 || cold_reserve(s->o.cold, 1) != 0)
        return false;
    if (cold_take(s->o.cold, nowhere, devices_to_avoid(s), &to) != 0 &&
        cold_take(s->o.cold, nowhere, UINT64_C(1) << job->place.dev, &to) != 0) {
        cold_unreserve(s->o.cold, 1);
        return false;
    }
    job_release(l, job);
    job->relocate = true;
    job->old_place = e->place;
    job->place = to;
    lane_set_state(l, LANE_PREPARE);
    return true;
}

/* The device hangs in the current job's write: those whose turn has not come need not wait for it. */
void lane_shed(struct lane *l)
{
    if (l->state != LANE_WRITE)
        return;
    while (l->nr_jobs > l->cur + 1) {
        uint32_t x = l->jobs[--l->nr_jobs].x;

        extent_set_state(extent_at(&l->s->xt, x), EXTENT_IDLE);
        map_settle(l->s, x);
    }
}

/* ---- the batch ---- */

static void prepare_woken(struct sums_waiter *w)
{
    struct lane *l = container_of(w, struct lane, wait);

    l->parked = false;
    lane_step(l);
}

/* Drops jobs that were given up; what is left is to be committed. */
static void drop_failed_jobs(struct lane *l)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < l->nr_jobs; i++) {
        if (l->jobs[i].err != 0)
            job_abandon(l, &l->jobs[i]);
        else if (kept++ != i)
            l->jobs[kept - 1] = l->jobs[i];
    }
    l->nr_jobs = kept;
}

void lane_rest(struct lane *l)
{
    struct shard *s = l->s;

    if (l->state != LANE_DESCRIBE)
        l->destage_last_ns = env_now_ns(s->env);
    if (s->t.mover_bandwidth != 0)
        l->not_before_ns = MAX(l->not_before_ns, env_now_ns(s->env) + l->bytes * NS_PER_S / s->t.mover_bandwidth);
    lane_set_state(l, LANE_IDLE);
    s->changes++;
    shard_kick(s);
}

void lane_step(struct lane *l)
{
    while (l->cur < l->nr_jobs) {
        if (job_prepare(l, &l->jobs[l->cur]))
            return;
        l->cur++;
    }
    drop_failed_jobs(l);
    if (l->nr_jobs == 0) {
        lane_rest(l);
        return;
    }
    lane_set_state(l, LANE_FLUSH);
    lane_flush(l);
}

void lane_next(struct lane *l)
{
    lane_set_state(l, LANE_PREPARE);
    l->cur++;
    lane_step(l);
}

static void set_op(struct meta_op *op, struct meta_key key, const void *value, uint32_t len)
{
    *op = (struct meta_op){.key = key, .value = value, .value_len = len};
}

static uint32_t job_ops(struct lane *l, struct job *job, struct meta_op *op)
{
    struct shard *s = l->s;
    struct extent *e = extent_at(&s->xt, job->x);
    uint64_t layer = layer_at(s, e->layer)->id;
    struct extent_rec rec = {.place = job->place, .destaged_seq = job->seq};

    if (job->tombstone)
        rec.place = (struct extent_place){.dev = EXTENT_NO_DEV};
    set_op(&op[0], meta_key_extent(layer, e->no), job->rec, extent_rec_encode(&rec, job->rec));
    set_op(&op[1], meta_key_sums(layer, e->no), job->sums_rec, extent_sums_encode(&job->sums, job->sums_rec));
    if (job->tombstone)
        op[1].value = NULL;
    if (job->tombstone && s->bugs.drop_tombstone)
        op[0].value = NULL;
    return 2;
}

/* A captured entry that is still the captured one is clean now; without payload, or damaged, it is gone: the map knows. */
static void entry_committed(struct shard *s, const struct job *job, const struct extent *e, uint32_t i)
{
    uint32_t id = index_find(&s->ix, e->layer, (uint64_t)e->no * EXTENT_BLOCKS + i);

    if (id == INDEX_NONE || !(index_flags_of(&s->ix, id) & INDEX_DIRTY))
        return;
    if (index_seq(&s->ix, id) != job->block_seq[i] && !s->bugs.destage_ignores_rewrite) {
        figure_add(&s->stats.destage_requeued, 1);
        return;
    }
    if (index_is_virtual(&s->ix, id) || bit_get(job->sums.damaged, i))
        map_remove(s, id);
    else
        map_set_clean(s, id);
}

/* What the batch made clean. */
static void job_clean(struct lane *l, struct job *job)
{
    struct extent *e = extent_at(&l->s->xt, job->x);

    job_release(l, job);
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++)
        if (bit_get(job->dirty, i))
            entry_committed(l->s, job, e, i);
}

/* What the map calls lost from now on, unless the log has newer bytes: a host need not read it first to be counted. */
static void note_damage(struct shard *s, const struct job *job, const struct extent *e)
{
    uint64_t first = (uint64_t)e->no * EXTENT_BLOCKS;

    if (e->discard_seq != 0) /* zeroed since the capture */
        return;
    for (uint32_t i = 0; i < EXTENT_BLOCKS && bits_any(job->sums.damaged); i++)
        if (bit_get(job->sums.damaged, i) && index_find(&s->ix, e->layer, first + i) == INDEX_NONE)
            damage_note(&s->damage, e->layer, first + i);
}

static void job_committed(struct lane *l, struct job *job)
{
    struct shard *s = l->s;
    struct extent *e = extent_at(&s->xt, job->x);

    e->destaged_seq = job->seq;
    e->flags = (uint8_t)((e->flags & ~EXTENT_FRESH) | EXTENT_RECORD | EXTENT_UNDESCRIBED);
    if (job->relocate)
        map_place(s, job->x, job->place);
    if (e->discard_seq <= job->seq)
        map_discard_done(s, job->x);
    if (job->tombstone)
        sums_drop(s, job->x);
    else
        sums_set(s, job->x, &job->sums);
    if (!s->bugs.free_before_commit)
        job_clean(l, job);
    note_damage(s, job, e);
    if (!job->tombstone)
        map_note_empty(s, job->x, &job->sums);
    if (job->old_place.dev != EXTENT_NO_DEV) {
        figure_add(&s->stats.extents_freed, job->tombstone);
        map_give_place(s, job->x, job->old_place);
    }
    figure_add(&s->stats.destage_extents, 1);
    trace(TRACE_TIER_DESTAGE_DONE, layer_at(s, e->layer)->id, e->no, 0);
    extent_set_state(e, EXTENT_IDLE);
    map_settle(s, job->x);
}

static void lane_committed(struct meta_batch *b)
{
    struct lane *l = b->ctx;
    struct shard *s = l->s;

    trace(TRACE_META_COMMIT, b->commit_no, b->nr, (uint64_t)-b->err);
    if (b->err != 0) { /* final: nobody knows what the map says now; the index still has all that is dirty */
        shard_fail(s, -FIRN_E_META);
        for (uint32_t i = 0; i < l->nr_jobs; i++)
            l->jobs[i].err = -FIRN_E_META;
        drop_failed_jobs(l);
        lane_rest(l);
        return;
    }
    figure_add(&s->stats.meta_batches, 1);
    for (uint32_t i = 0; i < l->nr_jobs; i++)
        job_committed(l, &l->jobs[i]);
    lane_rest(l);
}

void lane_commit(struct lane *l)
{
    struct shard *s = l->s;
    uint32_t nr = 0;

    lane_set_state(l, LANE_COMMIT);
    drop_failed_jobs(l);
    if (l->nr_jobs == 0) {
        lane_rest(l);
        return;
    }
    for (uint32_t i = 0; i < l->nr_jobs; i++)
        nr += job_ops(l, &l->jobs[i], &l->ops[nr]);
    set_op(&l->ops[nr++], meta_key_shard(s->o.no), l->shard_rec, marks_encode(s, l->shard_rec));
    for (uint32_t i = 0; i < l->nr_jobs && s->bugs.free_before_commit; i++)
        job_clean(l, &l->jobs[i]);
    l->batch = (struct meta_batch){.ops = l->ops, .nr = nr, .env = s->env, .cb = lane_committed, .ctx = l};
    meta_commit(s->o.meta, &l->batch);
}

/* ---- when ---- */

static void lane_begin(struct lane *l)
{
    l->nr_jobs = l->cur = 0;
    l->flush_devs = 0;
    l->flush_failures = cold_flush_failures(l->s->o.cold);
    l->bytes = 0;
    if (l->dev == EXTENT_NO_DEV)
        lane_pick_meta(l);
    else
        lane_pick(l, lowest_bucket(l));
    if (l->nr_jobs == 0)
        return;
    lane_set_state(l, LANE_PREPARE);
    lane_step(l);
}

static bool lane_has_work(const struct shard *s, const struct lane *l)
{
    if (l->dev == EXTENT_NO_DEV)
        return s->xt.side[EXTENT_SIDE_NO_DEVICE].nr > 0;
    for (unsigned b = 0; b < EXTENT_BUCKETS; b++)
        if (s->xt.list[l->dev * EXTENT_BUCKETS + b].nr > 0 || s->xt.list[CAPACITY_DEVS_MAX * EXTENT_BUCKETS + b].nr > 0)
            return true;
    return false;
}

/* When an idle lane is to destage; 0: now. */
static uint64_t destage_at(struct lane *l)
{
    struct shard *s = l->s;
    uint64_t now = env_now_ns(s->env);
    struct policy_state p;

    if (!lane_has_work(s, l))
        return UINT64_MAX;
    if (s->draining && !s->drain_all && l->dev != EXTENT_NO_DEV && !lane_waited_for(l))
        return UINT64_MAX;
    if (l->dev == EXTENT_NO_DEV)
        return l->not_before_ns > now ? l->not_before_ns : 0;
    if (!dev_usable(s, shard_capacity(s, l->dev)))
        return now + LANE_PAUSE_ERROR_NS;
    p = lane_policy(l);
    return policy_destage_at(&p);
}

/* When the lane is to be looked at again. */
static uint64_t lane_look(struct lane *l)
{
    struct shard *s = l->s;
    uint64_t now = env_now_ns(s->env), at, describe;

    if (l->state == LANE_WRITE && !l->io_busy) {
        if (lane_yields(l))
            return now + NS_PER_MS;
        lane_write_step(l);
        return l->state == LANE_WRITE && !l->io_busy ? now + NS_PER_MS : UINT64_MAX;
    }
    if (l->state == LANE_FLUSH && !l->io_busy) {
        lane_flush_step(l);
        return l->state == LANE_FLUSH && !l->io_busy ? now + NS_PER_MS : UINT64_MAX;
    }
    if (l->state != LANE_IDLE || s->failed != 0)
        return UINT64_MAX;
    at = destage_at(l);
    if (at != 0) {
        describe = describe_look(l);
        return MIN(at, describe);
    }
    lane_begin(l);
    return l->state == LANE_IDLE ? now + PAUSE_RETRY_NS : UINT64_MAX;
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

bool mover_busy(const struct shard *s)
{
    for (uint32_t i = 0; i < s->nr_lanes; i++)
        if (s->lanes[i].state != LANE_IDLE)
            return true;
    return false;
}
