/* SPDX-License-Identifier: Apache-2.0 */
/* cold.c: space on the capacity devices: a bit an extent, a word a region.
 *
 * Choice of a place: 1. the slot behind the neighbour. 2. A region that is wholly free, from the start of the longest
 * run of such regions: two volumes that grow side by side then interleave by regions of 64 MiB and not by extents.
 * 3. No such region: of the next SCAN_REGIONS with room behind the device's cursor, the longest run of free slots in one.
 * Cost: 1 is a bit test; 2 reads a bit a region (32 KiB for 16 TiB); 3 is bounded unless the device is all but full.
 */
#include "tier/cold.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define SCAN_REGIONS 4096u

struct cold_dev {
    struct cold_dev_desc desc;
    uint32_t  nr_regions;
    uint64_t *used;    /* a word a region, a bit an extent; slots beyond ext_nr are set for ever */
    uint64_t *whole;   /* a bit a region: all its extents are free */
    uint64_t  nr_used;
    uint32_t  cursor;  /* region at which the next scan for a gap begins */
};

struct cold {
    pthread_mutex_t lock;
    uint32_t nr_devs;
    uint64_t total, used, reserved;
    uint32_t flush_failures[CAPACITY_DEVS_MAX]; /* atomic; of any shard */
    uint64_t generation, desc_no; /* of the labels; the next description's, atomic */
    struct cold_dev devs[];
};

static void slots_beyond_end(struct cold_dev *d)
{
    uint32_t tail = d->desc.ext_nr % REGION_EXTENTS;

    if (tail != 0)
        d->used[d->nr_regions - 1] = ~UINT64_C(0) << tail;
}

/* The last region may be a part; it counts as whole only if it is not. */
static void whole_update(struct cold_dev *d, uint32_t region)
{
    uint64_t bit = UINT64_C(1) << (region % 64);

    if (d->used[region] == 0)
        d->whole[region / 64] |= bit;
    else
        d->whole[region / 64] &= ~bit;
}

static int cold_dev_init(struct cold_dev *d, const struct cold_dev_desc *desc)
{
    d->desc = *desc;
    d->nr_regions = (desc->ext_nr + REGION_EXTENTS - 1) / REGION_EXTENTS;
    d->used = calloc(MAX(d->nr_regions, 1u), sizeof(*d->used));
    d->whole = calloc(d->nr_regions / 64 + 1, sizeof(*d->whole));
    if (d->used == NULL || d->whole == NULL)
        return -ENOMEM;
    slots_beyond_end(d);
    for (uint32_t r = 0; r < d->nr_regions; r++)
        whole_update(d, r);
    return 0;
}

int cold_new(const struct cold_dev_desc *devs, uint32_t nr_devs, struct cold **out)
{
    struct cold *c = calloc(1, sizeof(*c) + nr_devs * sizeof(c->devs[0]));

    if (c == NULL)
        return -ENOMEM;
    pthread_mutex_init(&c->lock, NULL);
    c->nr_devs = nr_devs;
    for (uint32_t i = 0; i < nr_devs; i++) {
        if (cold_dev_init(&c->devs[i], &devs[i]) != 0) {
            cold_free(c);
            return -ENOMEM;
        }
        c->total += devs[i].ext_nr;
    }
    *out = c;
    return 0;
}

void cold_free(struct cold *c)
{
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < c->nr_devs; i++) {
        free(c->devs[i].used);
        free(c->devs[i].whole);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static bool slot_used(const struct cold_dev *d, uint32_t slot)
{
    return d->used[slot / REGION_EXTENTS] >> (slot % REGION_EXTENTS) & 1;
}

static void slot_set(struct cold *c, struct cold_dev *d, uint32_t slot)
{
    assert(!slot_used(d, slot));
    d->used[slot / REGION_EXTENTS] |= UINT64_C(1) << (slot % REGION_EXTENTS);
    whole_update(d, slot / REGION_EXTENTS);
    d->nr_used++;
    c->used++;
}

int cold_mark(struct cold *c, struct extent_place p)
{
    int err = 0;

    pthread_mutex_lock(&c->lock);
    if (p.dev >= c->nr_devs || p.slot >= c->devs[p.dev].desc.ext_nr || slot_used(&c->devs[p.dev], p.slot))
        err = -FIRN_E_CORRUPT;
    else
        slot_set(c, &c->devs[p.dev], p.slot);
    pthread_mutex_unlock(&c->lock);
    return err;
}

int cold_reserve(struct cold *c, uint32_t nr)
{
    int err = 0;

    pthread_mutex_lock(&c->lock);
    /* At start more may be reserved than is free (a device is missing): then nothing new fits. */
    if (c->used + c->reserved + nr > c->total)
        err = -FIRN_E_NO_SPACE;
    else
        c->reserved += nr;
    pthread_mutex_unlock(&c->lock);
    return err;
}

void cold_unreserve(struct cold *c, uint32_t nr)
{
    pthread_mutex_lock(&c->lock);
    assert(c->reserved >= nr);
    c->reserved -= nr;
    pthread_mutex_unlock(&c->lock);
}

/* Start of the longest run of whole regions; nr_regions: there is none. */
static uint32_t longest_whole_run(const struct cold_dev *d)
{
    uint32_t best = d->nr_regions, best_len = 0, start = 0, len = 0;

    for (uint32_t r = 0; r < d->nr_regions; r++) {
        uint64_t word = d->whole[r / 64];

        if (r % 64 == 0 && (word == 0 || word == ~UINT64_C(0)) && r + 64 <= d->nr_regions) {
            if (word != 0) {
                start = len == 0 ? r : start;
                len += 64;
            } else {
                len = 0;
            }
            r += 63;
        } else if (word >> (r % 64) & 1) {
            start = len == 0 ? r : start;
            len++;
        } else {
            len = 0;
        }
        if (len > best_len) {
            best = start;
            best_len = len;
        }
    }
    return best;
}

/* Longest run of free slots in one region's word; *start is its first. */
static uint32_t longest_gap(uint64_t used, uint32_t *start)
{
    uint32_t best = 0, len = 0;

    for (uint32_t i = 0; i < REGION_EXTENTS; i++) {
        len = used >> i & 1 ? 0 : len + 1;
        if (len > best) {
            best = len;
            *start = i + 1 - len;
        }
    }
    return best;
}

static bool find_gap(struct cold_dev *d, uint32_t *slot)
{
    uint32_t best = 0, start = 0;

    for (uint32_t i = 0; i < d->nr_regions; i++) {
        uint32_t r = (d->cursor + i) % d->nr_regions, len = 0;

        if (i >= SCAN_REGIONS && best > 0)
            break;
        if (d->used[r] != ~UINT64_C(0))
            len = longest_gap(d->used[r], &start);
        if (len > best) {
            best = len;
            *slot = r * REGION_EXTENTS + start;
        }
    }
    if (best > 0)
        d->cursor = *slot / REGION_EXTENTS;
    return best > 0;
}

static bool dev_find(struct cold_dev *d, uint32_t *slot)
{
    uint32_t region;

    if (d->nr_used >= d->desc.ext_nr)
        return false;
    region = longest_whole_run(d);
    if (region < d->nr_regions) {
        *slot = region * REGION_EXTENTS;
        return true;
    }
    return find_gap(d, slot);
}

static bool avoided(uint64_t avoid, uint16_t dev) { return dev < 64 && avoid >> dev & 1; }

static bool neighbour_free(const struct cold *c, struct extent_place near, uint64_t avoid)
{
    return near.dev < c->nr_devs && !avoided(avoid, near.dev) && near.slot + 1 < c->devs[near.dev].desc.ext_nr &&
           near.slot + 1 != 0 && !slot_used(&c->devs[near.dev], near.slot + 1);
}

/* The device with most room, in extents: large devices fill in proportion. */
static uint16_t emptiest_dev(const struct cold *c, uint64_t avoid)
{
    uint16_t best = EXTENT_NO_DEV;
    uint64_t best_free = 0;

    for (uint16_t i = 0; i < c->nr_devs; i++) {
        uint64_t nr_free = c->devs[i].desc.ext_nr - c->devs[i].nr_used;

        if (!avoided(avoid, i) && nr_free > best_free) {
            best = i;
            best_free = nr_free;
        }
    }
    return best;
}

int cold_take(struct cold *c, struct extent_place near, uint64_t avoid, struct extent_place *out)
{
    struct extent_place p = {.dev = EXTENT_NO_DEV};

    pthread_mutex_lock(&c->lock);
    assert(c->reserved > 0);
    if (neighbour_free(c, near, avoid)) {
        p = (struct extent_place){.dev = near.dev, .slot = near.slot + 1};
    } else {
        p.dev = emptiest_dev(c, avoid);
        if (p.dev != EXTENT_NO_DEV) {
            bool found = dev_find(&c->devs[p.dev], &p.slot);

            assert(found);
        }
    }
    if (p.dev != EXTENT_NO_DEV) {
        slot_set(c, &c->devs[p.dev], p.slot);
        c->reserved--;
        *out = p;
    }
    pthread_mutex_unlock(&c->lock);
    return p.dev != EXTENT_NO_DEV ? 0 : -FIRN_E_NO_SPACE;
}

void cold_give(struct cold *c, struct extent_place p)
{
    struct cold_dev *d;

    pthread_mutex_lock(&c->lock);
    assert(p.dev < c->nr_devs);
    d = &c->devs[p.dev];
    assert(p.slot < d->desc.ext_nr && slot_used(d, p.slot));
    d->used[p.slot / REGION_EXTENTS] &= ~(UINT64_C(1) << (p.slot % REGION_EXTENTS));
    whole_update(d, p.slot / REGION_EXTENTS);
    d->nr_used--;
    c->used--;
    pthread_mutex_unlock(&c->lock);
}

/* Geometry never changes while the pool is open: no lock. */
uint64_t cold_offset(const struct cold *c, struct extent_place p)
{
    assert(p.dev < c->nr_devs && p.slot < c->devs[p.dev].desc.ext_nr);
    return region_extent_offset(c->devs[p.dev].desc.ext_base_bytes, p.slot);
}

uint64_t cold_desc_offset(const struct cold *c, struct extent_place p)
{
    assert(p.dev < c->nr_devs && p.slot < c->devs[p.dev].desc.ext_nr);
    return region_desc_offset(c->devs[p.dev].desc.ext_base_bytes, p.slot);
}

uint32_t cold_ring_nr(const struct cold *c, uint16_t dev)
{
    assert(dev < c->nr_devs);
    return c->devs[dev].desc.ring_nr;
}

void cold_ring(const struct cold *c, uint16_t dev, uint32_t shard, uint32_t *first, uint32_t *half)
{
    const struct cold_dev_desc *d = &c->devs[dev].desc;

    assert(dev < c->nr_devs && (d->ring_nr == 0 || shard < d->nr_shards));
    *half = d->ring_nr == 0 ? 0 : d->ring_nr / d->nr_shards / 2;
    *first = shard * 2 * *half;
}

int cold_desc_decode(const struct cold *c, uint16_t dev, const void *buf, struct extent_desc *out)
{
    const struct cold_dev_desc *is = &c->devs[dev].desc;
    int err = extent_desc_decode_on(&is->pool, &is->uuid, buf, out);

    return err == 0 && out->slot >= is->ext_nr ? -FIRN_E_NOT_FOUND : err;
}

void cold_set_generation(struct cold *c, uint64_t generation)
{
    c->generation = generation;
    c->desc_no = 0;
}

void cold_desc_encode(struct cold *c, struct extent_place p, uint64_t layer, uint64_t extent,
                      uint64_t destaged_seq, const struct extent_sums *sums, const struct desc_volume *volume, void *buf)
{
    struct extent_desc d = {.slot = p.slot, .layer = layer, .extent = extent, .destaged_seq = destaged_seq, .sums = *sums,
                            .volume = *volume};

    assert(p.dev < c->nr_devs);
    d.pool = c->devs[p.dev].desc.pool;
    d.device = c->devs[p.dev].desc.uuid;
    assert(c->devs[p.dev].desc.ring_nr == 0 || c->generation != 0); /* labels are renewed before anything is described */
    if (c->devs[p.dev].desc.ring_nr > 0)
        d.age = (struct desc_age){c->generation, __atomic_fetch_add(&c->desc_no, 1, __ATOMIC_RELAXED)};
    extent_desc_encode(&d, buf);
}

void cold_usage(const struct cold *c, uint16_t dev, uint64_t *total, uint64_t *used)
{
    struct cold *m = (struct cold *)(uintptr_t)c; /* the lock alone changes */

    pthread_mutex_lock(&m->lock);
    assert(dev == EXTENT_NO_DEV || dev < c->nr_devs);
    *total = dev == EXTENT_NO_DEV ? c->total : c->devs[dev].desc.ext_nr;
    *used = dev == EXTENT_NO_DEV ? c->used : c->devs[dev].nr_used;
    pthread_mutex_unlock(&m->lock);
}

uint64_t cold_reserved(const struct cold *c)
{
    struct cold *m = (struct cold *)(uintptr_t)c;
    uint64_t nr;

    pthread_mutex_lock(&m->lock);
    nr = c->reserved;
    pthread_mutex_unlock(&m->lock);
    return nr;
}

void cold_flush_failed(struct cold *c, uint16_t dev) { __atomic_fetch_add(&c->flush_failures[dev], 1, __ATOMIC_SEQ_CST); }

uint32_t cold_flush_failures(const struct cold *c, uint16_t dev)
{
    return __atomic_load_n(&c->flush_failures[dev], __ATOMIC_SEQ_CST);
}
