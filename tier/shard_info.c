/* SPDX-License-Identifier: Apache-2.0 */
/* shard_info.c: what a shard says of itself: figures, from any thread; and what tests switch.
 *
 * Figures are read one by one while the shard goes on: each is whole, together they are of no one moment.
 */
#include "tier/priv.h"

void shard_info(const struct shard *s, struct tier_info *add)
{
    uint64_t entries = figure_get(&s->ix.nr_entries);

    add->journal_dirty_bytes += figure_get(&s->ix.nr_dirty) * BLOCK_BYTES;
    add->journal_kept_bytes += figure_get(&s->ix.nr_kept) * BLOCK_BYTES;
    add->index_blocks += entries;
    add->index_bytes += index_bytes(&s->ix);
    add->pin_max_bytes = shard_pin_max(s);
    add->ssd_extents += figure_get(&s->live_extents);
    add->damaged_blocks += figure_get(&s->damaged_blocks) + __atomic_load_n(&s->damage.nr, __ATOMIC_RELAXED);
    add->damaged_more |= __atomic_load_n(&s->damage.full, __ATOMIC_RELAXED);
}

uint64_t shard_room(const struct shard *s) { return s->log_blocks * BLOCK_BYTES; }

const struct tier_stats *shard_stats(const struct shard *s) { return &s->stats; }

uint64_t shard_csum_errors(const struct shard *s, uint16_t dev) { return figure_get(&s->csum_errors[dev]); }

void shard_journal_stats(const struct shard *s, struct journal_stats *add)
{
    const struct journal *j = __atomic_load_n(&s->j, __ATOMIC_RELAXED);
    const struct journal_stats *js = j != NULL ? journal_stats(j) : NULL;

    if (js == NULL)
        return;
#define X(name, help) add->name += __atomic_load_n(&js->name, __ATOMIC_RELAXED);
    JOURNAL_COUNTERS(X)
#undef X
}

void shard_set_commit_hist(struct shard *s, struct metric_hist *h) { journal_set_commit_hist(s->j, h); }

int shard_failed(const struct shard *s, int *cause)
{
    int err = __atomic_load_n(&s->failed, __ATOMIC_ACQUIRE);

    *cause = err != 0 && s->fail_cause != 0 ? s->fail_cause : err;
    return err;
}

bool shard_degraded(const struct shard *s, uint16_t dev)
{
    return __atomic_load_n(&s->degraded[dev], __ATOMIC_RELAXED) || __atomic_load_n(&s->hung[dev], __ATOMIC_RELAXED);
}

void shard_volume_usage(struct shard *s, const struct volume *v, struct volume_info *out)
{
    const struct layer *l = layer_at(s, (uint32_t)(uintptr_t)v->priv);
    uint64_t nr_flash = figure_get(&l->nr_flash), nr_placed = figure_get(&l->nr_placed);

    out->used_bytes_ssd = figure_get(&l->nr_live) * BLOCK_BYTES;
    out->used_bytes_flash = nr_flash * EXTENT_BYTES;
    out->used_bytes_hdd = (nr_placed - MIN(nr_flash, nr_placed)) * EXTENT_BYTES; /* an extent may be moving just now */
    out->dirty_bytes = figure_get(&l->nr_dirty) * BLOCK_BYTES;
    out->copies_bytes = figure_get(&l->nr_copies) * BLOCK_BYTES;
    out->hit_blocks = figure_get(&l->hit_blocks);
    out->miss_blocks = figure_get(&l->miss_blocks);
}

void shard_set_bugs(struct shard *s, const struct tier_bugs *bugs, const struct journal_bugs *journal)
{
    s->bugs = bugs != NULL ? *bugs : (struct tier_bugs){0};
    if (s->j != NULL)
        journal_set_bugs(s->j, journal);
}
