/* SPDX-License-Identifier: Apache-2.0 */
/* mover_batch.c: the jobs of a batch, from when they were picked until nothing is left to write.
 *
 * 1. The reader takes the first job that was only picked, and captures it: S = the highest durable seq, all its dirty blocks with
 *    seq <= S; what the map will say is computed from what it says now. Its payload is read from the log and verified.
 * 2. The writer takes the first one that was read; its runs are written in place (mover_io.c). The log still holds every block that is
 *    written, as a dirty one, so a torn write is never visible.
 * 3. When all are done those that were given up leave the batch; the others are flushed and committed together.
 * When hosts' writes wait for space, or a stop waits, a batch is not carried to its end: what it has written commits first, the rest has
 * another turn.
 * An extent that ends up all zeros becomes a tombstone: a record without place.
 * Failures: a damaged block becomes a damaged bit, the rest goes on; a device that refuses a write is degraded, and the
 * extent begins again on another one; else the extent stays dirty and is tried again later: after 100 ms, and after twice as long each
 * time, 10 s at most, until a batch commits. Dirty data is never dropped.
 */
#include <errno.h>

#include "tier/gate.h"
#include "tier/map.h"
#include "tier/migrate.h"
#include "tier/mover.h"
#include "tier/priv.h"
#include "tier/sums.h"

#define PAUSE_RETRY_NS NS_PER_MS

static void job_set_stage(struct job *job, enum job_stage to)
{
    static const bool allowed[JOB_STAGE_NR][JOB_STAGE_NR] = {
        [JOB_PICKED]  = {[JOB_READING] = true, [JOB_DONE] = true},
        [JOB_READING] = {[JOB_READ] = true, [JOB_DONE] = true},
        [JOB_READ]    = {[JOB_WRITING] = true, [JOB_DONE] = true},
        [JOB_WRITING] = {[JOB_SENT] = true},
        [JOB_SENT]    = {[JOB_PICKED] = true, [JOB_DONE] = true},
    };

    assert(job->stage < JOB_STAGE_NR && to < JOB_STAGE_NR && allowed[job->stage][to]);
    job->stage = to;
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

/* Whatever it still holds of the log would be held as long as the device takes for the others of the batch. */
static void job_over(struct lane *l, struct job *job)
{
    job_release(l, job);
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

/* Once a batch, however many of its jobs fail. A stop is not kept waiting by it. */
static uint64_t pause_longer(struct lane *l)
{
    if (l->s->draining)
        return LANE_PAUSE_ERROR_NS;
    if (l->pause_ns == 0 || l->paused_ns != l->begun_ns)
        l->pause_ns = MIN(MAX(2 * l->pause_ns, (uint64_t)LANE_PAUSE_ERROR_NS), LANE_PAUSE_ERROR_MAX_NS);
    l->paused_ns = l->begun_ns;
    return l->pause_ns;
}

static void job_abandon(struct lane *l, struct job *job)
{
    struct shard *s = l->s;
    struct extent *e = extent_at(&s->xt, job->x);

    if (l->migrates && job->err != -EAGAIN) {
        migrate_failed(l, job);
    } else if (job->err != -EAGAIN) {
        figure_add(&s->stats.destage_errors, 1);
        e->flags |= EXTENT_SPARSE_MOVE;
    }
    trace(TRACE_TIER_DESTAGE_DONE, layer_at(s, e->layer)->id, e->no, (uint64_t)-job->err);
    l->not_before_ns = MAX(l->not_before_ns, env_now_ns(s->env) + (job->err == -EAGAIN ? PAUSE_RETRY_NS : pause_longer(l)));
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
    job->write_err = 0;
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
    if (lane_writes(l) || (l->migrates && l->state == LANE_WORK))
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

/* Where what was written lies. A device that a job has left is not asked: one whose flush failed fails each of them, and every
 * batch that wants to leave it would be doubted for that. */
static uint64_t devs_to_flush(const struct lane *l)
{
    uint64_t devs = 0;

    for (uint32_t i = 0; i < l->nr_jobs; i++)
        if (l->jobs[i].wrote)
            devs |= UINT64_C(1) << l->jobs[i].place.dev;
    return devs;
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
    if (l->migrates)
        migrate_reading(l, &l->jobs[i]);
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

/* Writes that wait for dirt to fall. */
static uint32_t writes_waiting(const struct lane *l) { return l->s->writes_wait.nr + l->s->writes_dev[l->dev].nr; }

/* Writes of hosts wait for this batch to commit: what it has written so far is what they wait for. Or a stop does, and wants no more. */
static void end_early(struct lane *l)
{
    bool waited;

    if (l->migrates && migrate_ends(l))
        drop_waiting_jobs(l);
    if (l->migrates || l->dev == EXTENT_NO_DEV || (l->s->draining && l->s->drain_all))
        return;
    waited = lane_waited_for(l);
    if ((l->s->draining && !waited) || policy_ends_batch(l->bytes, env_now_ns(l->s->env) - l->begun_ns, writes_waiting(l), waited))
        drop_waiting_jobs(l);
}

void lane_job_written(struct lane *l, uint32_t i)
{
    struct job *job = &l->jobs[i];

    if (job->write_err != 0 && lane_relocate(l, job))
        return;
    job->err = job->write_err;
    job_over(l, job);
    end_early(l);
}

/* True: a job was sent; perhaps its buffer is another one's. */
static bool writer_next(struct lane *l)
{
    uint32_t i;

    if (l->wr == JOB_NONE)
        writer_take(l);
    if (l->wr == JOB_NONE || !lane_write_more(l))
        return false;
    i = l->wr;
    job_set_stage(&l->jobs[i], JOB_SENT);
    l->wr = JOB_NONE;
    if (l->jobs[i].runs == 0)
        lane_job_written(l, i);
    return true;
}

void lane_step(struct lane *l)
{
    do {
        while (reader_next(l))
            ;
    } while (writer_next(l));
    if (l->migrates && l->rd == JOB_NONE && first_in(l, JOB_PICKED) == JOB_NONE)
        migrate_read_all(l);
    if (!l->io_busy && (l->wr == JOB_NONE || l->turn == TURN_HELD))
        lane_turn_over(l);
    if (l->rd != JOB_NONE || l->wr != JOB_NONE || l->runs > 0)
        return;
    lane_drop_failed(l);
    if (l->nr_jobs == 0) {
        lane_rest(l);
        return;
    }
    l->flush_devs = devs_to_flush(l);
    lane_set_state(l, LANE_FLUSH);
    lane_flush(l);
}
