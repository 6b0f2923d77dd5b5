/* SPDX-License-Identifier: Apache-2.0 */
/* info.c: what operations see of a pool, summed over shards and devices; and the switches that tests set. Counters are
 * read without locks: a figure may be a moment old.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tier/pool.h"

static const char *remedy(int cause)
{
    return cause == -ENOSPC || cause == -EDQUOT ? "make room in" : "repair";
}

bool tier_read_only(const struct tier *t, char why[static 512])
{
    int cause = meta_failed(t->meta), err = cause != 0 ? -FIRN_E_META : 0;

    for (uint32_t i = 0; i < t->nr_shards && err == 0; i++)
        err = shard_failed(t->shards[i], &cause);
    if (err == -FIRN_E_META)
        snprintf(why, 512, "metadata can no longer be written (%.80s): volumes take no writes; %s %.255s, then restart firnd",
                 err_text(cause), remedy(cause), t->opts.meta_path);
    else if (err != 0)
        snprintf(why, 512, "the journal can no longer be written (%.80s): volumes take no writes; %s %.255s, then restart firnd",
                 err_text(cause), remedy(cause), t->devs.dev[0].opts.path);
    return err != 0;
}

void tier_info_get(struct tier *t, struct tier_info *out)
{
    const struct segpool_geometry *geo = segpool_geometry(t->segpool);
    uint64_t total, used;

    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < t->nr_shards; i++) {
        uint64_t dirty = out->journal_dirty_bytes, kept = out->journal_kept_bytes;

        shard_info(t->shards[i], out);
        out->shard[i].room_bytes = shard_room(t->shards[i]);
        out->shard[i].dirty_bytes = out->journal_dirty_bytes - dirty;
        out->shard[i].kept_bytes = MIN(out->journal_kept_bytes - kept, out->shard[i].dirty_bytes); /* it may have changed since */
    }
    memcpy(out->name, t->pool.name, sizeof(out->name));
    out->uuid = t->pool.uuid;
    out->nr_shards = t->nr_shards;
    out->nr_volumes = __atomic_load_n(&t->nr_vols, __ATOMIC_RELAXED);
    out->journal_segments = geo->nr_segments;
    out->segment_bytes = geo->segment_bytes;
    out->journal_bytes = (uint64_t)geo->nr_segments * geo->segment_bytes;
    for (uint32_t a = 1; a < segpool_areas(t->segpool); a++)
        if (!segpool_area_is_off(t->segpool, a))
            out->cache_bytes += (uint64_t)segpool_area(t->segpool, a)->nr_segments * segpool_area(t->segpool, a)->segment_bytes;
    out->journal_free_segments = segpool_free_nr(t->segpool);
    cold_usage(t->cold, EXTENT_NO_DEV, &total, &used);
    out->capacity_bytes = total * EXTENT_BYTES;
    out->capacity_used_bytes = used * EXTENT_BYTES;
    for (uint16_t d = 0; d < t->pool.nr_capacity; d++) {
        if (!shard_flash(t->shards[0], d))
            continue;
        cold_usage(t->cold, d, &total, &used);
        out->flash_bytes += total * EXTENT_BYTES;
        out->flash_used_bytes += used * EXTENT_BYTES;
    }
    out->flash_used_bytes = MIN(out->flash_used_bytes, out->capacity_used_bytes); /* it may have grown since */
    out->capacity_reserved_bytes = cold_reserved(t->cold) * EXTENT_BYTES;
    out->commit_no = meta_commit_no(t->meta);
    out->loss_wall_ns = __atomic_load_n(&t->pool.loss_wall_ns, __ATOMIC_RELAXED);
    out->read_only = tier_read_only(t, out->read_only_why);
    if (t->alert[0] != '\0')
        memcpy(out->alert, t->alert, sizeof(out->alert));
}

static void io_add(struct dev_stats *sum, const struct dev *d)
{
    for (unsigned op = 0; op < DEV_OP_NR; op++) {
        sum->ops[op] += __atomic_load_n(&d->stats.ops[op], __ATOMIC_RELAXED);
        sum->bytes[op] += __atomic_load_n(&d->stats.bytes[op], __ATOMIC_RELAXED);
        sum->errors[op] += __atomic_load_n(&d->stats.errors[op], __ATOMIC_RELAXED);
    }
    sum->in_flight += __atomic_load_n(&d->stats.in_flight, __ATOMIC_RELAXED);
}

static void dev_info(struct tier *t, const struct pool_dev *d, struct tier_dev_info *out)
{
    const struct segpool_geometry *geo = segpool_geometry(t->segpool);
    uint64_t total, used;

    memset(out, 0, sizeof(*out));
    memcpy(out->path, d->opts.path, sizeof(out->path));
    out->role = d->opts.role;
    out->uuid = d->label.device;
    out->size_bytes = d->bytes;
    out->missing = d->missing;
    for (uint32_t e = 0; e < REACTORS_MAX; e++) {
        if (d->on[e] == NULL)
            continue;
        io_add(&out->io, d->on[e]);
        out->failed |= __atomic_load_n(&d->on[e]->failed, __ATOMIC_RELAXED);
    }
    if (d->opts.role == TIER_CAPACITY) {
        for (uint32_t i = 0; i < t->nr_shards; i++)
            out->degraded |= shard_degraded(t->shards[i], d->index);
        for (uint32_t i = 0; i < t->nr_shards; i++)
            out->checksum_errors += shard_csum_errors(t->shards[i], d->index);
        cold_usage(t->cold, d->index, &total, &used);
        out->used_bytes = used * EXTENT_BYTES;
    } else if (d->opts.role == TIER_JOURNAL) {
        for (uint32_t i = 0; i < t->nr_shards; i++)
            out->checksum_errors += figure_get(&shard_stats(t->shards[i])->csum_errors_ssd);
        out->used_bytes = (uint64_t)(geo->nr_segments - segpool_free_nr(t->segpool)) * geo->segment_bytes;
    } else if (d->area != 0) {
        geo = segpool_area(t->segpool, d->area);
        out->used_bytes = (uint64_t)(geo->nr_segments - segpool_area_free_nr(t->segpool, d->area)) * geo->segment_bytes;
        out->failed |= segpool_area_is_off(t->segpool, d->area);
    }
}

uint32_t tier_dev_info_get(struct tier *t, struct tier_dev_info *out, uint32_t nr)
{
    uint32_t n = MIN(nr, t->devs.nr);

    for (uint32_t i = 0; i < n; i++)
        dev_info(t, &t->devs.dev[i], &out[i]);
    return n;
}

void tier_stats_get(struct tier *t, struct tier_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < t->nr_shards; i++) {
        const struct tier_stats *s = shard_stats(t->shards[i]);

#define X(name, help) out->name += __atomic_load_n(&s->name, __ATOMIC_RELAXED);
        TIER_COUNTERS(X)
#undef X
    }
}

/* ---- the log, and how long things took ---- */

void tier_journal_stats_get(struct tier *t, struct journal_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < t->nr_shards; i++)
        shard_journal_stats(t->shards[i], out);
}

static struct metric_hist *dev_hist(const struct tier *t, uint32_t dev, uint32_t env, unsigned op)
{
    return &t->dev_hist[(dev * t->opts.nr_envs + env) * DEV_OP_NR + op];
}

int tier_measure(struct tier *t)
{
    t->commit_hist = calloc(t->nr_shards, sizeof(*t->commit_hist));
    t->dev_hist = calloc((size_t)t->devs.nr * t->opts.nr_envs * DEV_OP_NR, sizeof(*t->dev_hist));
    if (t->commit_hist == NULL || t->dev_hist == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->nr_shards; i++)
        shard_set_commit_hist(t->shards[i], &t->commit_hist[i]);
    for (uint32_t i = 0; i < t->devs.nr; i++)
        for (uint32_t e = 0; e < t->opts.nr_envs; e++)
            for (unsigned op = 0; op < DEV_OP_NR && t->devs.dev[i].on[e] != NULL; op++)
                t->devs.dev[i].on[e]->latency[op] = dev_hist(t, i, e, op);
    return 0;
}

void tier_commit_hist_get(struct tier *t, struct metric_hist *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < t->nr_shards; i++)
        metric_hist_add(out, &t->commit_hist[i]);
}

void tier_dev_hist_get(struct tier *t, uint32_t dev, enum dev_op op, struct metric_hist *out)
{
    assert(dev < t->devs.nr && op < DEV_OP_NR);
    memset(out, 0, sizeof(*out));
    for (uint32_t e = 0; e < t->opts.nr_envs; e++)
        metric_hist_add(out, dev_hist(t, dev, e, op));
}

/* ---- for tests ---- */

void tier_set_bugs(struct tier *t, const struct tier_bugs *bugs, const struct journal_bugs *journal)
{
    for (uint32_t i = 0; i < t->nr_shards; i++)
        shard_set_bugs(t->shards[i], bugs, journal);
}

void tier_verify(struct tier *t)
{
    uint64_t total, used;

    for (uint32_t i = 0; i < t->nr_shards; i++)
        shard_verify(t->shards[i]);
    cold_usage(t->cold, EXTENT_NO_DEV, &total, &used);
    assert(used <= total);
}

void tier_described(struct tier *t, void (*fn)(void *ctx, const struct tier_described *e), void *ctx)
{
    for (uint32_t i = 0; i < t->nr_shards; i++)
        shard_described(t->shards[i], fn, ctx);
}
