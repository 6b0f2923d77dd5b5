/* SPDX-License-Identifier: Apache-2.0 */
/* mover_commit.c: the end of a batch of destages: what it wrote is on its devices, the metadata says so, then memory does.
 *
 * 1. One batch of records for all jobs: {E: place, destaged_seq = S}, {C: checksums}, {S: durable_seq}.
 * 2. When it has committed: entries of the index whose seq is still the captured one are clean; places that were left are given back.
 * A commit that fails is final: nobody knows what the map says now, and the index still has all that is dirty.
 */
#include "tier/map.h"
#include "tier/marks.h"
#include "tier/migrate.h"
#include "tier/mover.h"
#include "tier/priv.h"
#include "tier/sums.h"
#include "tier/twin.h"

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
    if (index_is_virtual(&s->ix, id) || bit_get(job->sums.damaged, i) || in_twin(s, id))
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
    if (job->relocate || job->swap)
        map_place(s, job->x, job->place);
    if (job->swap) {
        if (e->flags & EXTENT_RESERVED)
            cold_unreserve(s->o.cold, 1);
        e->flags &= (uint8_t)~EXTENT_RESERVED;
        figure_add(&s->stats.twin_swaps, 1);
    }
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
        twin_reads_given(s, job->x, job->old_place);
        map_give_place(s, job->x, job->old_place);
    }
    twin_settle(s, job->x, job->old_place);
    if (l->migrates)
        migrate_done(l, job);
    else
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
        lane_drop_failed(l);
        lane_rest(l);
        return;
    }
    figure_add(&s->stats.meta_batches, 1);
    l->pause_ns = 0;
    for (uint32_t i = 0; i < l->nr_jobs; i++)
        job_committed(l, &l->jobs[i]);
    lane_rest(l);
}

void lane_commit(struct lane *l)
{
    struct shard *s = l->s;
    uint32_t nr = 0;

    lane_set_state(l, LANE_COMMIT);
    lane_drop_failed(l);
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
