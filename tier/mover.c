/* SPDX-License-Identifier: Apache-2.0 */
/* mover.c: destage. A lane a capacity device, so that a hung device holds up nobody else; and one lane that needs no device.
 *
 * 1. policy says when; the lane takes what is worth its time most, in address order (pick.c).
 * 2. Each extent in turn is captured: S = the highest durable seq, all its dirty blocks with seq <= S; what the map will say is
 *    computed from what it says now.
 * 3. Its payload is read from the log and verified, its runs are written in place (mover_io.c), while the next one is read. The
 *    log still holds every block that is written, as a dirty one, so a torn write is never visible.
 * 4. One flush, when it is the lane's turn, one batch for all: {E: place, destaged_seq = S}, {C: checksums}, {S: durable_seq}.
 * 5. Only then: entries whose seq is still the captured one are clean; places that were left are given back.
 * When hosts' writes wait for space a batch is not carried to its end: what it has written commits first, the rest has another turn.
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
        size_t bytes = LANE_BUFS * EXTENT_BYTES + POLICY_BATCH_EXTENTS * sizeof(struct job);
        char *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (mem == MAP_FAILED)
            return -ENOMEM;
        l->s = s;
        l->dev = i < s->o.nr_capacity ? (uint16_t)i : EXTENT_NO_DEV;
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

static void job_set_stage(struct job *job, enum job_stage to)
{
    static const bool allowed[JOB_STAGE_NR][JOB_STAGE_NR] = {
        [JOB_PICKED]  = {[JOB_READING] = true, [JOB_DONE] = true},
        [JOB_READING] = {[JOB_READ] = true, [JOB_DONE] = true},
        [JOB_READ]    = {[JOB_WRITING] = true, [JOB_DONE] = true},
        [JOB_WRITING] = {[JOB_PICKED] = true, [JOB_DONE] = true},
    };

    assert(job->stage < JOB_STAGE_NR && to < JOB_STAGE_NR && allowed[job->stage][to]);
    job->stage = to;
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

static bool take_buf(struct lane *l, struct job *job)
{
    for (uint32_t i = 0; i < LANE_BUFS && job->buf == NULL; i++) {
        if (l->buf_busy[i])
            continue;
        l->buf_busy[i] = true;
        job->buf = l->buf + (size_t)i * EXTENT_BYTES;
    }
    return job->buf != NULL;
}

static void give_buf(struct lane *l, struct job *job)
{
    if (job->buf != NULL)
        l->buf_busy[(size_t)(job->buf - l->buf) / EXTENT_BYTES] = false;
    job->buf = NULL;
}

static void job_over(struct lane *l, struct job *job)
{
    give_buf(l, job);
    job_set_stage(job, JOB_DONE);
}

static void prepare_woken(struct sums_waiter *w);

/* Captures the job. True: its payload is being read, or it waits for checksums. */
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
    job->err = lane_read_start(l);
    if (job->err != 0)
        return false;
    job_set_stage(job, JOB_READING);
    return true;
}

static void reader_go(struct lane *l)
{
    struct job *job = lane_reading(l);

    if (job_prepare(l, job))
        return;
    job_over(l, job);
    l->rd = JOB_NONE;
}

static void prepare_woken(struct sums_waiter *w)
{
    struct lane *l = container_of(w, struct lane, wait);

    l->parked = false;
    reader_go(l);
    lane_step(l);
}

void lane_read_done(struct lane *l)
{
    struct job *job = lane_reading(l);

    if (job->err != 0)
        job_over(l, job);
    else
        job_set_stage(job, JOB_READ);
    l->rd = JOB_NONE;
    lane_step(l);
}

/* ---- giving up, moving elsewhere ---- */

/* The extent is as if it had not been picked. */
static void job_undo(struct lane *l, struct job *job)
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
    extent_set_state(e, EXTENT_IDLE);
    map_settle(s, job->x);
}

static void job_abandon(struct lane *l, struct job *job)
{
    struct shard *s = l->s;
    struct extent *e = extent_at(&s->xt, job->x);

    if (job->err != -EAGAIN) {
        figure_add(&s->stats.destage_errors, 1);
        e->flags |= EXTENT_SPARSE_MOVE;
    }
    trace(TRACE_TIER_DESTAGE_DONE, layer_at(s, e->layer)->id, e->no, (uint64_t)-job->err);
    l->not_before_ns = MAX(l->not_before_ns, env_now_ns(s->env) + (job->err == -EAGAIN ? PAUSE_RETRY_NS : LANE_PAUSE_ERROR_NS));
    job_undo(l, job);
}

bool lane_relocate(struct lane *l, struct job *job)
{
    struct shard *s = l->s;
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
    job_set_stage(job, JOB_PICKED);
    return true;
}

/* What is neither done nor being read or written has its turn in another batch. */
static void drop_waiting_jobs(struct lane *l)
{
    while (l->nr_jobs > 0) {
        struct job *job = &l->jobs[l->nr_jobs - 1];

        if (l->rd == l->nr_jobs - 1 || (job->stage != JOB_PICKED && job->stage != JOB_READ))
            return;
        give_buf(l, job);
        job_undo(l, job);
        lane_unpick(l, job);
        l->nr_jobs--;
    }
}

/* The device hangs in a job's write: the others of the batch need not wait for it. */
void lane_shed(struct lane *l)
{
    if (lane_writes(l))
        drop_waiting_jobs(l);
}

/* ---- the batch ---- */

/* Drops jobs that were given up; what is left is to be committed. */
void lane_drop_failed(struct lane *l)
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

static uint32_t first_in(const struct lane *l, enum job_stage stage)
{
    for (uint32_t i = 0; i < l->nr_jobs; i++)
        if (l->jobs[i].stage == stage)
            return i;
    return JOB_NONE;
}

/* True: there may be another one to capture at once. */
static bool reader_next(struct lane *l)
{
    uint32_t i = l->rd == JOB_NONE ? first_in(l, JOB_PICKED) : JOB_NONE;

    if (i == JOB_NONE || !take_buf(l, &l->jobs[i]))
        return false;
    l->rd = i;
    reader_go(l);
    return l->rd == JOB_NONE;
}

static void writer_take(struct lane *l)
{
    l->wr = first_in(l, JOB_READ);
    if (l->wr == JOB_NONE)
        return;
    job_set_stage(lane_writing(l), JOB_WRITING);
    job_own_bridges(l, lane_writing(l));
    l->next_block = 0;
}

/* Writes that wait for dirt to fall; more than POLICY_HOLD_WRITES are not counted. */
static uint32_t writes_waiting(const struct lane *l)
{
    const struct list *lists[] = {&l->s->writes_wait, &l->s->writes_dev[l->dev]};
    uint32_t nr = 0;

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (const struct list *n = lists[i]->next; n != lists[i] && nr < POLICY_HOLD_WRITES; n = n->next)
            nr++;
    return nr;
}

/* Writes of hosts wait for this batch to commit: what it has written so far is what they wait for. */
static void end_early(struct lane *l)
{
    if (l->dev == EXTENT_NO_DEV || l->s->draining)
        return;
    if (policy_ends_batch(l->bytes, env_now_ns(l->s->env) - l->begun_ns, writes_waiting(l), lane_waited_for(l)))
        drop_waiting_jobs(l);
}

/* True: a job is over, and its buffer another one's. */
static bool writer_next(struct lane *l)
{
    if (l->wr == JOB_NONE)
        writer_take(l);
    if (l->wr == JOB_NONE || l->io_busy || !lane_write_more(l))
        return false;
    if (lane_writing(l)->stage == JOB_WRITING)
        job_over(l, lane_writing(l));
    l->wr = JOB_NONE;
    end_early(l);
    return true;
}

void lane_step(struct lane *l)
{
    do {
        while (reader_next(l))
            ;
    } while (writer_next(l));
    if (l->rd != JOB_NONE || l->wr != JOB_NONE)
        return;
    lane_drop_failed(l);
    if (l->nr_jobs == 0) {
        lane_rest(l);
        return;
    }
    lane_set_state(l, LANE_FLUSH);
    lane_flush(l);
}

/* ---- when ---- */

static void lane_begin(struct lane *l)
{
    l->begun_ns = env_now_ns(l->s->env);
    l->nr_jobs = 0;
    l->rd = l->wr = JOB_NONE;
    l->flush_devs = 0;
    l->flush_failures = cold_flush_failures(l->s->o.cold);
    l->bytes = 0;
    if (l->dev == EXTENT_NO_DEV)
        lane_pick_meta(l);
    else
        lane_pick(l, lowest_bucket(l));
    if (l->nr_jobs == 0)
        return;
    l->io_busy = false;
    l->write_err = 0;
    lane_set_state(l, LANE_WORK);
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

    if (lane_writes(l) && !l->io_busy) {
        if (lane_yields(l))
            return now + NS_PER_MS;
        lane_step(l);
        return lane_writes(l) && !l->io_busy ? now + NS_PER_MS : UINT64_MAX;
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
