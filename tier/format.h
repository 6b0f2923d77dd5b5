/* SPDX-License-Identifier: Apache-2.0 */
/* format.h: the bytes tier/ keeps: labels, metadata records, extent descriptors. Pure: no I/O, no allocation; shared by
 * daemon, simulator, fuzzers, check and dump. FORMAT.md is the prose. Decoders validate everything and return host order;
 * nothing else in the tree reads le members of these structures.
 */
#ifndef FIRN_TIER_FORMAT_H
#define FIRN_TIER_FORMAT_H

#include "base/limits.h"
#include "base/sizefmt.h"
#include "base/types.h"
#include "tier/meta.h"

/* ---- where a label lies: copies at 0, 4096 and size - 4096 of every device; the area is LABEL_AREA_BYTES at both ends ---- */
#define LABEL_AREA_BYTES (1u << 20)

struct label {                      /* host order */
    struct uuid pool, device;
    char     pool_name[NAME_MAX_CHARS + 1];
    uint16_t role;                  /* enum tier_role */
    uint16_t index;                 /* position among the devices of its role */
    uint16_t nr_capacity;           /* devices the pool has */
    uint16_t nr_shards;
    uint64_t generation;            /* newest valid copy wins; all devices within 1 of each other */
    uint64_t device_bytes;
    uint64_t created_wall_ns;
    uint32_t compat, ro_compat, incompat; /* feature bits */
    uint64_t seg_base_bytes;        /* journal: geometry; 0 elsewhere */
    uint32_t seg_bytes, seg_nr, seg_align;
    uint64_t ext_base_bytes;        /* capacity: geometry; 0 elsewhere */
    uint32_t ext_nr;                /* data extents */
};
#define LABEL_BYTES 4096u
void label_encode(const struct label *l, void *buf /* LABEL_BYTES */);
/* 0, -FIRN_E_NOT_FIRN (no magic), -FIRN_E_CORRUPT, -FIRN_E_FORMAT_VERSION (unknown incompat bit or version). */
int  label_decode(const void *buf, struct label *out);

/* ---- metadata records: key -> value. Key = one tag byte and big-endian numbers. ----
 *  'P'                    pool: uuid, name, next ids, shards, feature bits
 *  'V' volume_id          volume: name, uuid, size, lba, shard, policy, hosts, top layer
 *  'L' layer_id           layer: volume id, parent layer (0: none)
 *  'E' layer_id extent_no extent: place, destaged_seq (tombstone: no place)
 *  'C' layer_id extent_no its checksums and bitmaps
 *  'G' segment            epoch up to which the segment is free
 *  'S' shard              durable_seq named by the last batch (finds a journal that lost acknowledged records)
 */
struct extent_place { uint16_t dev; uint32_t slot; }; /* capacity device index; extent slot on it */
#define EXTENT_NO_DEV 0xffffu

struct extent_rec { struct extent_place place; uint64_t destaged_seq; };

struct extent_sums {
    uint64_t valid[EXTENT_BLOCKS / 64];   /* block has bytes at place; else it reads as zeros */
    uint64_t damaged[EXTENT_BLOCKS / 64]; /* its newest bytes are lost: reads fail; valid and damaged exclude each other */
    uint32_t csum[EXTENT_BLOCKS];         /* block_csum() of valid blocks; 0 elsewhere */
};

struct meta_key meta_key_pool(void);
struct meta_key meta_key_volume(uint64_t id);
struct meta_key meta_key_layer(uint64_t id);
struct meta_key meta_key_extent(uint64_t layer, uint64_t extent);
struct meta_key meta_key_sums(uint64_t layer, uint64_t extent);
struct meta_key meta_key_segment(uint32_t segment);
struct meta_key meta_key_shard(uint32_t shard);
int meta_key_parse_extent(const struct meta_key *k, char tag, uint64_t *layer, uint64_t *extent); /* -FIRN_E_CORRUPT */

#define EXTENT_REC_BYTES  32u
#define EXTENT_SUMS_BYTES (EXTENT_BLOCKS * 4u + 64u + 16u)
uint32_t extent_rec_encode(const struct extent_rec *r, void *buf);
int      extent_rec_decode(const void *buf, uint32_t len, struct extent_rec *out);
uint32_t extent_sums_encode(const struct extent_sums *s, void *buf);
int      extent_sums_decode(const void *buf, uint32_t len, struct extent_sums *out);
uint32_t segment_rec_encode(uint64_t free_epoch, void *buf);
int      segment_rec_decode(const void *buf, uint32_t len, uint64_t *free_epoch);
uint32_t shard_rec_encode(uint64_t durable_seq, void *buf);
int      shard_rec_decode(const void *buf, uint32_t len, uint64_t *durable_seq);

#endif
