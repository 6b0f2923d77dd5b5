/* SPDX-License-Identifier: Apache-2.0 */
/* cold.h: space on the capacity devices, in extents of 1 MiB. Shared by all shards: calls below are under a mutex and made
 * once an extent, never once a block. What is used is told by the map alone: at start every mapped extent is marked.
 *
 * Promise of thin pools: an extent is reserved before the first write to it is acknowledged, so what was acknowledged can
 * always settle. cold_reserve fails with -FIRN_E_NO_SPACE when free - reserved is exhausted.
 */
#ifndef FIRN_TIER_COLD_H
#define FIRN_TIER_COLD_H

#include "rt/dev.h"
#include "tier/format.h"

struct cold;

struct cold_dev_desc {
    uint64_t ext_base_bytes;
    uint32_t ext_nr;
    uint32_t ring_nr, nr_shards;  /* entries of its ring, of all shards; 0: it has none */
    struct uuid uuid, pool;
};

int  cold_new(const struct cold_dev_desc *devs, uint32_t nr_devs, struct cold **out);
void cold_free(struct cold *c);
int  cold_mark(struct cold *c, struct extent_place p);     /* at start; -FIRN_E_CORRUPT: out of range or marked twice */
int  cold_reserve(struct cold *c, uint32_t nr);
void cold_unreserve(struct cold *c, uint32_t nr);
/* Turns one reservation into a place, as near as can be to `near` (an extent's neighbour; dev EXTENT_NO_DEV: none):
 * the slot behind it if that is free, else the start of the longest free run on the emptiest healthy device.
 * avoid: a bit a device that failed. -FIRN_E_NO_SPACE only when every other device is full. */
int  cold_take(struct cold *c, struct extent_place near, uint64_t avoid, struct extent_place *out);
/* Only after the batch that unmaps it committed. Never while a read of it is in flight (the caller counts). */
void cold_give(struct cold *c, struct extent_place p);
uint64_t cold_offset(const struct cold *c, struct extent_place p); /* bytes on its device */
void cold_usage(const struct cold *c, uint16_t dev, uint64_t *total, uint64_t *used); /* extents; dev EXTENT_NO_DEV: all */
uint64_t cold_reserved(const struct cold *c);

/* The extent's own description (format.h), DESC_BYTES at cold_desc_offset() on its device. describe.c writes it some
 * time after the batch that maps the extent committed, without a flush: it serves rebuilding only, the map wins. */
uint64_t cold_desc_offset(const struct cold *c, struct extent_place p);
/* A shard's part of the device's ring: its first entry, and how many each half has; 0: none. */
uint32_t cold_ring_nr(const struct cold *c, uint16_t dev); /* entries of all shards' */
void cold_ring(const struct cold *c, uint16_t dev, uint32_t shard, uint32_t *first, uint32_t *half);
/* extent_desc_decode_on() of this device; one that names none of its slots is nothing, too. */
int  cold_desc_decode(const struct cold *c, uint16_t dev, const void *buf, struct extent_desc *out);
/* At a start, before the first description: the labels' generation. Descriptions on devices with a ring count on from there, so that of
 * two for one slot the younger is known, whatever shard wrote it. */
void cold_set_generation(struct cold *c, uint64_t generation);
void cold_desc_encode(struct cold *c, struct extent_place p, uint64_t layer, uint64_t extent,
                      uint64_t destaged_seq, const struct extent_sums *sums, const struct desc_volume *volume, void *buf);

/* A flush that failed may have dropped what any shard wrote, and no later flush brings that back, nor says so to others than
 * the one who asked: a batch counts as flushed only if none failed, for whatever shard, at a device that it wrote to since its first
 * write. Other devices' do not count: one whose every flush fails would keep all others' batches from their commits. Any thread. */
void     cold_flush_failed(struct cold *c, uint16_t dev);
uint32_t cold_flush_failures(const struct cold *c, uint16_t dev);

#endif
