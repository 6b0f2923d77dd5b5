/* SPDX-License-Identifier: Apache-2.0 */
/* segment.c: the pool of segments: where each lies, what it is used for, handing out and taking back. survey.c opens it.
 *
 * A mutex guards the table and the areas' lists of free segments; it is taken when a segment changes hands, never once a write.
 */
#include <errno.h>
#include <stdlib.h>

#include "journal/priv.h"

#define LABELS_BYTES       MIB /* left out at both ends */
#define SEGMENTS_AIM       1024u
#define SEGMENTS_A_SHARD   8u

int segpool_plan(uint64_t device_bytes, uint32_t segment_bytes, uint32_t align_bytes, uint32_t nr_shards,
                 struct segpool_geometry *out)
{
    uint64_t area, bytes = segment_bytes;

    if ((align_bytes != 512 && align_bytes != 4096) || nr_shards == 0 || nr_shards > REACTORS_MAX ||
        device_bytes < 2 * LABELS_BYTES)
        return -FIRN_E_INVALID;
    area = device_bytes - 2 * LABELS_BYTES;
    if (bytes == 0)
        bytes = MIN(MAX(ROUND_UP(device_bytes / SEGMENTS_AIM, MIB), 16 * MIB), (uint64_t)SEGMENT_BYTES_MAX);
    if (bytes < SEGMENT_BYTES_MIN || bytes > SEGMENT_BYTES_MAX || bytes % 4096 ||
        area / bytes < (uint64_t)SEGMENTS_A_SHARD * nr_shards)
        return -FIRN_E_INVALID;
    *out = (struct segpool_geometry){
        .base_bytes = LABELS_BYTES,
        .segment_bytes = (uint32_t)bytes,
        .nr_segments = (uint32_t)MIN(area / bytes, (uint64_t)SEGMENTS_MAX),
        .align_bytes = align_bytes,
        .head_bytes = align_bytes,
        .nr_shards = nr_shards,
    };
    return 0;
}

int segpool_plan_area(uint64_t device_bytes, const struct uuid *device, const struct segpool_geometry *log,
                      struct segpool_geometry *out)
{
    uint64_t nr = device_bytes < 2 * LABELS_BYTES ? 0 : (device_bytes - 2 * LABELS_BYTES) / log->segment_bytes;

    *out = *log;
    out->base_bytes = LABELS_BYTES;
    out->nr_segments = (uint32_t)MIN(nr, (uint64_t)SEGMENTS_MAX);
    out->pool = *device;
    return nr == 0 ? -FIRN_E_INVALID : 0;
}

uint32_t segpool_record_blocks_max(const struct segpool_geometry *geo)
{
    return MIN(GROUP_BYTES_MAX, geo->segment_bytes / 2) / BLOCK_BYTES;
}

bool segpool_geometry_valid(const struct dev *d, const struct segpool_geometry *geo)
{
    return (geo->align_bytes == 512 || geo->align_bytes == 4096) && geo->align_bytes >= d->caps.block_bytes &&
           (geo->head_bytes == geo->align_bytes || geo->head_bytes == JRN_SEG_HEADER_BYTES) &&
           geo->segment_bytes >= SEGMENT_BYTES_MIN && geo->segment_bytes <= SEGMENT_BYTES_MAX &&
           geo->segment_bytes % 4096 == 0 && geo->base_bytes % 4096 == 0 && geo->nr_segments != 0 &&
           geo->nr_segments <= SEGMENTS_MAX && geo->nr_shards != 0 && geo->nr_shards <= REACTORS_MAX &&
           geo->base_bytes <= d->caps.size_bytes &&
           geo->nr_segments <= (d->caps.size_bytes - geo->base_bytes) / geo->segment_bytes;
}

int segpool_format(struct dev *d, const struct segpool_geometry *geo)
{
    void *zeros;
    int err = 0;

    if (!segpool_geometry_valid(d, geo))
        return -FIRN_E_INVALID;
    zeros = aligned_alloc(4096, JRN_SEG_HEADER_BYTES);
    if (!zeros)
        return -ENOMEM;
    memset(zeros, 0, JRN_SEG_HEADER_BYTES);
    for (uint32_t i = 0; i < geo->nr_segments && !err; i++) {
        err = dev_write_sync(d, segment_base(geo, i), zeros, JRN_SEG_HEADER_BYTES, 0);
        if (!err)
            err = dev_write_sync(d, segment_base(geo, i) + geo->segment_bytes - JRN_FOOTER_MAX, zeros,
                                 JRN_FOOTER_MAX, 0);
    }
    if (!err)
        err = dev_flush_sync(d);
    free(zeros);
    return err;
}

/* ---- looking ------------------------------------------------------------------------------------------------------- */

const struct segpool_geometry *segpool_geometry(const struct segpool *p) { return &p->area[0].geo; }
uint32_t segpool_areas(const struct segpool *p) { return p->nr_areas; }
uint32_t segpool_segments(const struct segpool *p) { return p->nr_segments; }
uint32_t segpool_free_nr(const struct segpool *p) { return segpool_area_free_nr(p, 0); }

const struct segpool_geometry *segpool_area(const struct segpool *p, uint32_t area)
{
    assert(area < p->nr_areas);
    return &p->area[area].geo;
}

uint32_t segpool_area_free_nr(const struct segpool *p, uint32_t area)
{
    assert(area < p->nr_areas);
    return __atomic_load_n(&p->area[area].free_nr, __ATOMIC_RELAXED);
}

struct segment_at segpool_at(const struct segpool *p, uint32_t segment)
{
    uint32_t area = 0;

    assert(segment < p->nr_segments);
    while (segment - p->area[area].first >= p->area[area].geo.nr_segments)
        area++;
    return (struct segment_at){area, segment - p->area[area].first};
}

uint64_t segpool_offset(const struct segpool *p, uint32_t segment, uint64_t off_bytes)
{
    struct segment_at at = segpool_at(p, segment);

    assert(off_bytes < p->area[at.area].geo.segment_bytes);
    return segment_base(&p->area[at.area].geo, at.no) + off_bytes;
}

bool segpool_hungry(const struct segpool *p) { return __atomic_load_n(&p->hungry_nr, __ATOMIC_RELAXED) > 0; }
uint64_t segpool_seq_floor(const struct segpool *p, uint32_t shard) { return p->seq_floor[shard]; }
uint64_t segpool_forgotten(const struct segpool *p) { return p->forgotten; }
uint64_t segpool_epoch_max(const struct segpool *p) { return p->epoch_max; }
uint64_t segpool_meta_commit_no(const struct segpool *p) { return p->meta_commit_no; }

void segpool_info(const struct segpool *p, uint32_t segment, struct segment_info *out)
{
    struct segpool *m = (struct segpool *)(uintptr_t)p;

    assert(segment < p->nr_segments);
    pthread_mutex_lock(&m->lock);
    *out = m->info[segment];
    pthread_mutex_unlock(&m->lock);
}

struct segment_info *segpool_slot(struct segpool *p, uint32_t segment)
{
    assert(segment < p->nr_segments);
    return &p->info[segment];
}

uint64_t segpool_epoch_seen(struct segpool *p, uint64_t epoch)
{
    pthread_mutex_lock(&p->lock);
    if (epoch <= NUMBER_START_MAX) /* bytes of a host may claim anything; what is never reached needs no room above it */
        p->epoch_max = MAX(p->epoch_max, epoch);
    epoch = p->epoch_max;
    pthread_mutex_unlock(&p->lock);
    return epoch;
}

uint64_t segpool_epoch_new(struct segpool *p, uint32_t segment)
{
    uint64_t epoch;

    pthread_mutex_lock(&p->lock);
    epoch = p->info[segment].epoch = ++p->epoch_max;
    pthread_mutex_unlock(&p->lock);
    return epoch;
}

void segpool_set_span(struct segpool *p, uint32_t segment, uint64_t seq_min, uint64_t seq_max, uint64_t used_bytes)
{
    struct segment_info *i = segpool_slot(p, segment);

    pthread_mutex_lock(&p->lock);
    i->seq_min = seq_min;
    i->seq_max = seq_max;
    i->used_units = (uint32_t)(used_bytes / JOURNAL_UNIT_BYTES);
    pthread_mutex_unlock(&p->lock);
}

/* ---- changing hands ------------------------------------------------------------------------------------------------ */

#define BIT(x) (1u << (x))
static const unsigned use_next[] = {
    [SEGMENT_FREE] = BIT(SEGMENT_LOG_OPEN) | BIT(SEGMENT_SLOTS),
    [SEGMENT_LOG_OPEN] = BIT(SEGMENT_LOG_SEALED) | BIT(SEGMENT_FREE), /* free at once: opened, never written */
    [SEGMENT_LOG_SEALED] = BIT(SEGMENT_FREEING) | BIT(SEGMENT_FREE),
    [SEGMENT_SLOTS] = BIT(SEGMENT_FREEING) | BIT(SEGMENT_FREE),
    [SEGMENT_FREEING] = BIT(SEGMENT_FREE),
};

static void set_use_locked(struct segpool *p, uint32_t segment, enum segment_use use)
{
    assert(use_next[p->info[segment].use] & BIT(use));
    p->info[segment].use = use;
}

void segpool_set_use(struct segpool *p, uint32_t segment, enum segment_use use)
{
    assert(segment < p->nr_segments);
    pthread_mutex_lock(&p->lock);
    set_use_locked(p, segment, use);
    pthread_mutex_unlock(&p->lock);
}

void area_free_push(struct segpool_area *a, uint32_t segment)
{
    a->free_ring[(a->free_head + a->free_nr) % a->geo.nr_segments] = segment;
    __atomic_store_n(&a->free_nr, a->free_nr + 1, __ATOMIC_RELAXED);
}

/* What is taken: for which shard and stream, with what epoch from now on. */
static bool take_locked(struct segpool *p, struct segpool_area *a, uint32_t keep, struct segment_info want, uint32_t *segment,
                        uint64_t *epoch)
{
    if (a->free_nr <= keep)
        return false;
    *segment = a->free_ring[a->free_head];
    a->free_head = (a->free_head + 1) % a->geo.nr_segments;
    __atomic_store_n(&a->free_nr, a->free_nr - 1, __ATOMIC_RELAXED);
    *epoch = want.epoch = ++p->epoch_max;
    set_use_locked(p, *segment, want.use);
    p->info[*segment] = want;
    return true;
}

bool segpool_take(struct segpool *p, uint32_t shard, enum journal_stream stream, uint32_t keep, struct seg_waiter *w,
                  uint32_t *segment, uint64_t *epoch)
{
    struct segment_info want = {.use = SEGMENT_LOG_OPEN, .shard = shard, .stream = stream};
    bool taken;

    pthread_mutex_lock(&p->lock);
    taken = take_locked(p, &p->area[0], keep, want, segment, epoch);
    if (!taken && w)
        w->wanted = true;
    pthread_mutex_unlock(&p->lock);
    return taken;
}

/* Of the areas that are not the log's, the one that has most: so all their devices serve reads. NULL: nothing is free. */
static struct segpool_area *emptiest(struct segpool *p)
{
    struct segpool_area *best = NULL;

    for (uint32_t i = 1; i < p->nr_areas; i++)
        if (!p->area[i].off && p->area[i].free_nr > (best ? best->free_nr : 0))
            best = &p->area[i];
    return best;
}

/* Of the areas that are not the log's, what each shard may keep when another one has less. */
static uint32_t slots_share(const struct segpool *p)
{
    uint32_t nr = 0;

    for (uint32_t i = 1; i < p->nr_areas; i++)
        nr += p->area[i].off ? 0 : p->area[i].geo.nr_segments;
    return nr / p->area[0].geo.nr_shards;
}

static bool take_other(struct segpool *p, struct segment_info want, uint32_t *segment, uint64_t *epoch)
{
    struct segpool_area *a = emptiest(p);
    uint64_t me = UINT64_C(1) << want.shard;

    if (!a || ((p->poor & ~me) != 0 && p->slots_nr[want.shard] >= slots_share(p))) /* what is free is for those */
        return false;
    p->poor &= ~me;
    p->slots_nr[want.shard]++;
    return take_locked(p, a, 0, want, segment, epoch);
}

bool segpool_take_slots(struct segpool *p, uint32_t shard, uint32_t keep, uint32_t *segment, uint64_t *epoch)
{
    struct segment_info want = {.use = SEGMENT_SLOTS, .shard = shard};
    bool taken;

    pthread_mutex_lock(&p->lock);
    if (p->nr_areas > 1)
        taken = take_other(p, want, segment, epoch);
    else
        taken = !p->log_only && !p->area[0].off && p->hungry_nr == 0 && take_locked(p, &p->area[0], keep, want, segment, epoch);
    pthread_mutex_unlock(&p->lock);
    return taken;
}

static void waiters_tell_locked(struct segpool *p)
{
    list_for_each(n, &p->waiters) {
        struct seg_waiter *w = list_entry(n, struct seg_waiter, node);

        if (w->wanted && !w->posted) {
            w->wanted = false;
            w->posted = true;
            env_post(w->env, &w->task);
        }
    }
}

void segpool_give(struct segpool *p, uint32_t segment)
{
    uint32_t area = segpool_at(p, segment).area;

    pthread_mutex_lock(&p->lock);
    set_use_locked(p, segment, SEGMENT_FREE);
    area_free_push(&p->area[area], segment);
    p->slots_nr[p->info[segment].shard] -= area != 0;
    if (area == 0)
        waiters_tell_locked(p);
    pthread_mutex_unlock(&p->lock);
}

/* SEGMENTS_MAX: none. */
static uint32_t oldest_slots(const struct segpool *p)
{
    uint32_t best = SEGMENTS_MAX;

    for (uint32_t i = 0; i < p->area[0].geo.nr_segments; i++)
        if (p->info[i].use == SEGMENT_SLOTS && (best == SEGMENTS_MAX || p->info[i].epoch < p->info[best].epoch))
            best = i;
    return best;
}

void segpool_free_slots(struct segpool *p, uint32_t nr_free)
{
    uint32_t g;

    while (segpool_free_nr(p) < nr_free && (g = oldest_slots(p)) != SEGMENTS_MAX)
        segpool_give(p, g);
}

void segpool_area_off(struct segpool *p, uint32_t area)
{
    assert(area < p->nr_areas);
    pthread_mutex_lock(&p->lock);
    __atomic_store_n(&p->area[area].off, true, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&p->lock);
}

bool segpool_area_is_off(const struct segpool *p, uint32_t area)
{
    assert(area < p->nr_areas);
    return __atomic_load_n(&p->area[area].off, __ATOMIC_RELAXED);
}

void segpool_ask_slots(struct segpool *p, uint32_t shard)
{
    struct seg_waiter *rich = NULL;

    pthread_mutex_lock(&p->lock);
    list_for_each(n, &p->waiters) {
        struct seg_waiter *w = list_entry(n, struct seg_waiter, node);

        if (!rich || p->slots_nr[w->shard] > p->slots_nr[rich->shard])
            rich = w;
    }
    if (rich && !emptiest(p) && p->slots_nr[shard] < slots_share(p) && p->slots_nr[rich->shard] > slots_share(p)) {
        p->poor |= UINT64_C(1) << shard;
        if (!rich->asked) {
            rich->asked = true;
            env_post(rich->env, &rich->ask);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

bool segpool_slots_owed(struct segpool *p, uint32_t shard)
{
    bool owed;

    pthread_mutex_lock(&p->lock);
    owed = (p->poor & ~(UINT64_C(1) << shard)) != 0 && p->slots_nr[shard] > slots_share(p) && !emptiest(p);
    pthread_mutex_unlock(&p->lock);
    return owed;
}

void segpool_log_only(struct segpool *p)
{
    p->log_only = true;
    segpool_free_slots(p, p->area[0].geo.nr_segments);
}

bool segpool_is_log_only(const struct segpool *p) { return p->log_only || p->nr_areas > 1; }

void segpool_forget_slots(struct segpool *p, uint64_t epoch)
{
    assert(epoch <= NUMBER_START_MAX);
    p->forgotten = MAX(p->forgotten, epoch);
    p->epoch_max = MAX(p->epoch_max, epoch);
    for (uint32_t i = 0; i < p->nr_segments; i++)
        if (p->info[i].use == SEGMENT_SLOTS && p->info[i].epoch <= epoch)
            segpool_give(p, i);
}

void segpool_waiter_add(struct segpool *p, struct seg_waiter *w)
{
    pthread_mutex_lock(&p->lock);
    list_push_back(&p->waiters, &w->node);
    pthread_mutex_unlock(&p->lock);
}

static void set_hungry_locked(struct segpool *p, struct seg_waiter *w, bool hungry)
{
    if (w->hungry == hungry)
        return;
    w->hungry = hungry;
    __atomic_store_n(&p->hungry_nr, hungry ? p->hungry_nr + 1 : p->hungry_nr - 1, __ATOMIC_RELAXED);
    list_for_each(n, &p->waiters) {
        struct seg_waiter *o = list_entry(n, struct seg_waiter, node);

        if (!hungry || o == w || o->asked)
            continue;
        o->asked = true;
        env_post(o->env, &o->ask);
    }
}

void segpool_set_hungry(struct segpool *p, struct seg_waiter *w, bool hungry)
{
    pthread_mutex_lock(&p->lock);
    set_hungry_locked(p, w, hungry);
    pthread_mutex_unlock(&p->lock);
}

bool segpool_waiter_remove(struct segpool *p, struct seg_waiter *w, bool force)
{
    bool posted;

    pthread_mutex_lock(&p->lock);
    w->wanted = false;
    posted = (w->posted || w->asked) && !force;
    if (!posted) {
        list_remove(&w->node);
        set_hungry_locked(p, w, false);
    }
    pthread_mutex_unlock(&p->lock);
    return !posted;
}

void segpool_waiter_ran(struct segpool *p, struct seg_waiter *w)
{
    pthread_mutex_lock(&p->lock);
    w->posted = false;
    pthread_mutex_unlock(&p->lock);
}

void segpool_asked_ran(struct segpool *p, struct seg_waiter *w)
{
    pthread_mutex_lock(&p->lock);
    w->asked = false;
    pthread_mutex_unlock(&p->lock);
}
