/* SPDX-License-Identifier: Apache-2.0 */
/* shard_life.c: a shard's birth and its end: pools and tables are reserved, and given back.
 *
 * Failures: a part that cannot be had: all that was is given back, and nothing is left. An end after a crash finds objects out of their
 * pools and work that is queued; an end after the journal failed closes it nevertheless, for what the device still has in its hands.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tier/bypass.h"
#include "tier/fetch.h"
#include "tier/forget.h"
#include "tier/gate.h"
#include "tier/map.h"
#include "tier/migrate.h"
#include "tier/mover.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/read.h"
#include "tier/reclaim.h"
#include "tier/ring.h"
#include "tier/rmw.h"
#include "tier/sums.h"
#include "tier/twin.h"
#include "tier/write.h"

#define VIRTUAL_MIN     4096u
#define LANES_OPEN_SEGS 4u /* both streams: the one being filled, and the next */

/* ---- birth ---- */

void shard_defaults(struct tier_opts *t)
{
    /* With 60 and 80 more of what the log holds is dirt that is to be moved: tencent-50k at 10 % moves 77 MiB, not
     * 62, and the SSD is written 1070 MiB, not 1046. The disk works as long, to a hundredth. */
    t->dirty_start_pct = t->dirty_start_pct != 0 ? t->dirty_start_pct : 40;
    t->dirty_max_pct = t->dirty_max_pct != 0 ? t->dirty_max_pct : 60;
    t->stage_bytes = t->stage_bytes != 0 ? t->stage_bytes : 16 * MIB;
    t->fetch_bytes = t->fetch_bytes != 0 ? t->fetch_bytes : 128 * 1024;
    t->read_ahead_max = t->read_ahead_max != 0 ? t->read_ahead_max : (uint32_t)MIB;
    t->pin_pct = t->pin_pct != 0 ? t->pin_pct : 50;
    t->migrate_rate = t->migrate_rate != 0 ? t->migrate_rate : 16 * MIB;
    t->migrate_heat = t->migrate_heat != 0 ? t->migrate_heat : PLACEMENT_HOT_MIN;
    t->heat_half_life_ns = t->heat_half_life_ns != 0 ? t->heat_half_life_ns : 3600 * NS_PER_S;
    t->io_deadline_ns = t->io_deadline_ns != 0 ? t->io_deadline_ns : 30 * NS_PER_S;
    t->ios_per_shard = t->ios_per_shard != 0 ? t->ios_per_shard : IOS_DEFAULT;
}

static int pools_init(struct shard *s)
{
    uint32_t n = s->t.ios_per_shard;
    int err = pool_init(&s->wios, sizeof(struct wio), 16, n);

    err = err ? err : pool_init(&s->rios, sizeof(struct rio), 16, n);
    err = err ? err : bypass_init(s);
    err = err ? err : pool_init(&s->runs, sizeof(struct run), 16, 4 * n);
    err = err ? err : pool_init(&s->gives_pool, sizeof(struct give), 16, 4 * n + FETCHES_MAX);
    err = err ? err : pool_init(&s->zios, sizeof(struct zio), 16, n);
    err = err ? err : pool_init(&s->rmws, sizeof(struct rmw), 16, n);
    err = err ? err : pool_init(&s->rmw_bufs, IO_BLOCKS_MAX * BLOCK_BYTES, BLOCK_BYTES, RMW_MAX);
    err = err ? err : pool_init(&s->sums_loads, sizeof(struct sums_load), 16, SUMS_LOADS);
    err = err ? err : pool_init(&s->moves, sizeof(struct move), 16, MOVES_MAX);
    return err ? err : pool_init(&s->forgets_pool, sizeof(struct forget), 16, LAYERS_MAX);
}

static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* Each move owns a block of memory for good. */
static int moves_init(struct shard *s)
{
    struct move *m[MOVES_MAX];

    s->move_bufs = reserve(MOVES_MAX * BLOCK_BYTES);
    if (s->move_bufs == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < MOVES_MAX; i++) {
        m[i] = pool_get(&s->moves);
        m[i]->buf = s->move_bufs + (size_t)i * BLOCK_BYTES;
    }
    for (uint32_t i = 0; i < MOVES_MAX; i++)
        pool_put(&s->moves, m[i]);
    return 0;
}

static int tables_init(struct shard *s)
{
    const struct segpool_geometry *geo = segpool_geometry(s->o.segpool);
    uint32_t nr_segments = segpool_segments(s->o.segpool);
    uint64_t slots = (uint64_t)geo->segment_bytes / BLOCK_BYTES * geo->nr_segments, nr_extents, total, used, seed;
    uint32_t virt = (uint32_t)MIN(MAX(slots / 16, VIRTUAL_MIN), INDEX_VIRTUAL_MAX), share = geo->nr_segments / geo->nr_shards;
    uint32_t segments = nr_segments + twins_segments(geo->segment_bytes);
    int err;

    env_random(s->env, &seed, sizeof(seed));
    cold_usage(s->o.cold, EXTENT_NO_DEV, &nr_extents, &used);
    err = index_init(&s->ix, segments, geo->segment_bytes / JOURNAL_UNIT_BYTES, virt, geo->nr_shards, seed);
    if (!err) /* twice what can have a place: tombstones beside their successors */
        err = extent_table_init(&s->xt, (uint32_t)MIN(2 * nr_extents + 65536, (uint64_t)UINT32_MAX / 2), geo->nr_shards);
    for (uint16_t d = 0; d < s->o.nr_capacity && !err; d++) {
        cold_usage(s->o.cold, d, &total, &used);
        err = extent_table_add_dev(&s->xt, d, (uint32_t)total);
    }
    if (!err) /* a cell for what can have a place; with holes in between, and for what has none, the coldest go */
        err = heat_init(&s->heat, nr_extents / HEAT_CELL_EXTENTS, (uint32_t)(s->t.heat_half_life_ns / NS_PER_S));
    s->ix.nr_behind = segments - nr_segments;
    if (!err)
        err = twins_init(s, nr_segments);
    s->seg = reserve(segments * sizeof(*s->seg));
    s->layer = reserve((LAYERS_MAX + 1) * sizeof(*s->layer));
    s->layer_hash = reserve(LAYER_HASH * sizeof(*s->layer_hash));
    s->sums = reserve((SUMS_CACHE + 1) * sizeof(*s->sums));
    s->sums_hash = reserve(SUMS_CACHE * 2 * sizeof(*s->sums_hash));
    if (!err && (!s->seg || !s->layer || !s->layer_hash || !s->sums || !s->sums_hash))
        err = -ENOMEM;
    s->log_segments = geo->nr_segments;
    s->reserve_segments = 2 * geo->nr_shards;
    s->victim_max = segpool_moved_blocks_max(geo, MOVES_BATCH);
    s->log_blocks = (share > 2 + LANES_OPEN_SEGS ? share - 2 - LANES_OPEN_SEGS : 1) * (uint64_t)s->victim_max;
    return err;
}

static void lists_init(struct shard *s)
{
    struct list *lists[] = {&s->ranges_changed, &s->rios_done, &s->ios_done,
                            &s->runs_wanted, &s->writes, &s->zeroes, &s->zeroes_wait, &s->gives, &s->forgets, &s->sums_lru,
                            &s->sums_blocked};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_init(lists[i]);
    gate_init(s);
    shard_pass_init(s);
    list_init(&s->rc.ready);
    s->rc.seen_changes = UINT64_MAX;
}

int shard_new(const struct shard_opts *opts, struct shard **out)
{
    struct shard *s = calloc(1, sizeof(*s));
    int err;

    if (s == NULL)
        return -ENOMEM;
    s->o = *opts;
    s->t = *opts->tier;
    s->env = opts->env;
    shard_defaults(&s->t);
    lists_init(s);
    err = pools_init(s);
    err = err ? err : tables_init(s);
    err = err ? err : moves_init(s);
    err = err ? err : fetch_init(s);
    err = err ? err : places_init(s);
    err = err ? err : mover_init(s);
    if (err) {
        shard_free(s);
        return err;
    }
    ring_init(s);
    sums_init(s);
    migrate_init(s);
    *out = s;
    return 0;
}

/* ---- end ---- */

int shard_stop(struct shard *s, uint32_t turns)
{
    bool named;
    int err = 0;

    assert(s->in_flight == 0);
    s->stopping = true;
    env_timer_cancel(s->env, &s->timer);
    while (s->work.queued && err == 0)
        err = env_run_once(s->env);
    if (err == 0 && s->failed == 0)
        places_stop(s, turns);
    named = s->j != NULL && s->failed == 0 && !marks_busy(s);
    if (err == 0 && s->j != NULL) { /* after a failure too: the device may still have summaries and headers in its hands */
        err = journal_close(s->j, s->failed == 0);
        s->j = NULL;
    }
    if (err == 0 && named && s->failed == 0)
        err = shard_marks_commit(s, true);
    s->opened = false;
    return err;
}

static void unreserve(void *p, size_t bytes)
{
    if (p != NULL)
        munmap(p, bytes);
}

void shard_free(struct shard *s)
{
    struct pool *pools[] = {&s->wios, &s->rios, &s->runs, &s->gives_pool, &s->zios, &s->rmws, &s->rmw_bufs,
                            &s->sums_loads, &s->moves, &s->forgets_pool, &s->bypasses};

    if (s == NULL)
        return;
    s->stopping = true;
    if (env_timer_armed(&s->timer))
        env_timer_cancel(s->env, &s->timer);
    while (s->work.queued && env_run_once(s->env) == 0) /* a start that failed late: the loop goes on without us */
        ;
    journal_abandon(s->j);
    for (size_t i = 0; i < ARRAY_LEN(pools); i++) /* after a crash in the simulator objects are still out */
        pool_abandon(pools[i]);
    mover_fini(s);
    twins_fini(s);
    bypass_fini(s);
    places_fini(s);
    fetch_fini(s);
    unreserve(s->seg, (segpool_segments(s->o.segpool) + twins_segments(segpool_geometry(s->o.segpool)->segment_bytes)) * sizeof(*s->seg));
    unreserve(s->layer, (LAYERS_MAX + 1) * sizeof(*s->layer));
    unreserve(s->layer_hash, LAYER_HASH * sizeof(*s->layer_hash));
    unreserve(s->sums, (SUMS_CACHE + 1) * sizeof(*s->sums));
    unreserve(s->sums_hash, SUMS_CACHE * 2 * sizeof(*s->sums_hash));
    unreserve(s->move_bufs, MOVES_MAX * BLOCK_BYTES);
    index_fini(&s->ix);
    extent_table_fini(&s->xt);
    heat_fini(&s->heat);
    free(s);
}
