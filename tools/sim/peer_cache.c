/* SPDX-License-Identifier: Apache-2.0 */
/* peer_cache.c: the LRU, the disk and the cleaning of the peers' models.
 *
 * A block that is evicted dirty is cleaned first: bcache looks among the 4096 oldest for a clean one instead, and writes the dirty
 * run around the oldest if there is none; ocf cleans its oldest hundred until that block is among them.
 */
#include "tools/sim/peer_cache.h"

#include "base/limits.h"
#include "rt/dev_model.h"

#include <stdlib.h>

#define ROOM_MIN     64u
#define SEARCH_MAX   4096u                 /* bcache: blocks looked at for a clean one */
#define OLD_NS       (120 * (int64_t)NS_PER_S)

void peer_cache_init(struct peer_cache *c, const struct trace *t, uint64_t ssd_bytes, bool ages, struct peer_score *score)
{
    uint32_t i = 0;

    assert(t->blocks < PEER_NONE);
    *c = (struct peer_cache){.ages = ages, .span_bytes = t->end_bytes, .nr = (uint32_t)t->blocks, .newest = PEER_NONE,
                             .oldest = PEER_NONE, .score = score};
    c->room = (uint32_t)MAX(MIN(ssd_bytes / BLOCK_BYTES, (uint64_t)PEER_NONE), (uint64_t)ROOM_MIN);
    c->b = calloc(c->nr, sizeof(*c->b));
    assert(c->b != NULL);
    for (size_t r = 0; r < t->nr_runs; r++)
        for (uint64_t k = 0; k < t->run[r].nr; k++)
            c->b[i++].addr = t->run[r].first + k;
}

void peer_cache_fini(struct peer_cache *c) { free(c->b); }

/* ---- the disk ---- */

int64_t peer_disk(struct peer_cache *c, int64_t now, bool write, uint64_t off_bytes, uint64_t len_bytes)
{
    struct peer_score *s = c->score;
    uint64_t cost = dev_model_hdd_cost_ns(c->span_bytes, &c->head_bytes, write, off_bytes, len_bytes, &s->hdd_seeks);

    s->hdd_busy_ns += cost;
    s->hdd_reads += !write;
    s->hdd_writes += write;
    s->hdd_read_bytes += write ? 0 : len_bytes;
    s->hdd_write_bytes += write ? len_bytes : 0;
    c->disk_free_ns = MAX(now, c->disk_free_ns) + (int64_t)cost;
    return c->disk_free_ns;
}

/* ---- the LRU ---- */

static void unlink_block(struct peer_cache *c, uint32_t i)
{
    struct peer_block *b = &c->b[i];

    *(b->newer == PEER_NONE ? &c->newest : &c->b[b->newer].older) = b->older;
    *(b->older == PEER_NONE ? &c->oldest : &c->b[b->older].newer) = b->newer;
}

static void link_newest(struct peer_cache *c, uint32_t i)
{
    c->b[i].newer = PEER_NONE;
    c->b[i].older = c->newest;
    *(c->newest == PEER_NONE ? &c->oldest : &c->b[c->newest].newer) = i;
    c->newest = i;
}

void peer_touch(struct peer_cache *c, uint32_t i)
{
    unlink_block(c, i);
    link_newest(c, i);
}

void peer_drop(struct peer_cache *c, uint32_t i)
{
    unlink_block(c, i);
    c->nr_dirty -= c->b[i].dirty;
    c->nr_cached--;
    c->b[i].cached = c->b[i].dirty = false;
}

/* ---- cleaning ---- */

static bool neighbours(const struct peer_cache *c, uint32_t i) { return i + 1 < c->nr && c->b[i + 1].addr == c->b[i].addr + 1; }

static void clean_run(struct peer_cache *c, int64_t now, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i <= last; i++) {
        c->nr_dirty -= c->b[i].dirty;
        c->b[i].dirty = false;
    }
    peer_disk(c, now, true, c->b[first].addr * BLOCK_BYTES, (uint64_t)(last - first + 1) * BLOCK_BYTES);
}

static uint32_t dirty_end(const struct peer_cache *c, uint32_t first, uint32_t last)
{
    while (last - first + 1 < PEER_RUN_MAX && neighbours(c, last) && c->b[last + 1].dirty)
        last++;
    return last;
}

static bool clean_sweep(struct peer_cache *c, int64_t now)
{
    uint32_t last;

    if (c->nr_dirty == 0)
        return false;
    while (!c->b[c->sweep].dirty)
        c->sweep = (c->sweep + 1) % c->nr;
    last = dirty_end(c, c->sweep, c->sweep);
    clean_run(c, now, c->sweep, last);
    c->sweep = (last + 1) % c->nr;
    return true;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void make_plan(struct peer_cache *c, bool forced)
{
    c->nr_plan = c->at_plan = 0;
    for (uint32_t i = c->oldest; i != PEER_NONE && c->nr_plan < PEER_PLAN_MAX; i = c->b[i].newer) {
        bool old = forced || c->arrival_ns - c->b[i].written_ns > OLD_NS;

        if (!old)
            break;
        if (c->b[i].dirty)
            c->plan[c->nr_plan++] = i;
    }
    qsort(c->plan, c->nr_plan, sizeof(*c->plan), by_number);
}

static bool clean_old(struct peer_cache *c, int64_t now, bool forced)
{
    uint32_t first, last;

    while (c->at_plan < c->nr_plan && !c->b[c->plan[c->at_plan]].dirty)
        c->at_plan++;
    if (c->at_plan == c->nr_plan)
        make_plan(c, forced);
    if (c->nr_plan == 0)
        return false;
    first = last = c->plan[c->at_plan++];
    while (c->at_plan < c->nr_plan && c->plan[c->at_plan] == last + 1 && neighbours(c, last) && c->b[last + 1].dirty) {
        last++;
        c->at_plan++;
    }
    clean_run(c, now, first, last);
    return true;
}

bool peer_clean(struct peer_cache *c, int64_t now, bool forced) { return c->ages ? clean_old(c, now, forced) : clean_sweep(c, now); }

void peer_clean_all(struct peer_cache *c)
{
    for (uint32_t i = 0; i < c->nr; i++)
        if (c->b[i].dirty)
            clean_run(c, c->disk_free_ns, i, dirty_end(c, i, i));
}

/* ---- room ---- */

static void clean_until(struct peer_cache *c, int64_t now, uint32_t victim)
{
    make_plan(c, true);
    while (c->b[victim].dirty && clean_old(c, now, true))
        ;
    c->nr_plan = c->at_plan = 0;
}

static uint32_t oldest_clean(const struct peer_cache *c)
{
    uint32_t i = c->oldest;

    for (uint32_t n = 0; i != PEER_NONE && c->b[i].dirty && n < SEARCH_MAX; n++)
        i = c->b[i].newer;
    return i != PEER_NONE && !c->b[i].dirty ? i : PEER_NONE;
}

static void clean_around(struct peer_cache *c, int64_t now, uint32_t i)
{
    uint32_t first = i, last = i;

    while (last - first + 1 < PEER_RUN_MAX && first > 0 && neighbours(c, first - 1) && c->b[first - 1].dirty)
        first--;
    clean_run(c, now, first, dirty_end(c, first, last));
}

static int64_t evict(struct peer_cache *c, int64_t now)
{
    int64_t free_ns = MAX(now, c->disk_free_ns);
    uint32_t victim = c->oldest;

    if (c->b[victim].dirty && c->ages) {
        clean_until(c, now, victim);
    } else if (c->b[victim].dirty) {
        uint32_t clean = oldest_clean(c);

        if (clean == PEER_NONE)
            clean_around(c, now, victim);
        else
            victim = clean;
    }
    peer_drop(c, victim);
    return MAX(c->disk_free_ns - free_ns, (int64_t)0);
}

int64_t peer_insert(struct peer_cache *c, int64_t now, uint32_t i)
{
    int64_t held = 0;

    while (c->nr_cached >= c->room)
        held += evict(c, now);
    c->b[i].cached = true;
    c->nr_cached++;
    link_newest(c, i);
    return held;
}
