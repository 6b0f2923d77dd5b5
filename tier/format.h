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
#include "journal/journal.h"
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
    uint32_t ring_nr;               /* capacity: descriptions that its ring has room for; 0: it has none */
};
#define LABEL_BYTES 4096u
/* Journal, where seg_align is 512: headers and footers of segments, slots' on other devices too, are that long; else 4096. */
#define LABEL_INCOMPAT_SHORT_HEADS 1u
/* Capacity: a ring of descriptions lies before the regions, and the regions' own descriptions are written late. */
#define LABEL_INCOMPAT_RING   2u
#define LABEL_INCOMPAT_KNOWN  (LABEL_INCOMPAT_SHORT_HEADS | LABEL_INCOMPAT_RING)
#define LABEL_RO_COMPAT_KNOWN 0u
static inline uint32_t label_head_bytes(const struct label *journal)
{
    return journal->incompat & LABEL_INCOMPAT_SHORT_HEADS ? journal->seg_align : 4096;
}
void label_encode(const struct label *l, void *buf /* LABEL_BYTES */);
/* 0, -FIRN_E_NOT_FIRN (no magic), -FIRN_E_CORRUPT, -FIRN_E_FORMAT_VERSION (unknown incompat bit or version). */
int  label_decode(const void *buf, struct label *out);

/* ---- metadata records: key -> value. Key = one tag byte and big-endian numbers. ----
 *  'P'                    pool: uuid, name, next ids, shards, feature bits
 *  'D' role index         device: uuid, size (which devices the pool is made of)
 *  'V' volume_id          volume: name, uuid, size, lba, shard, policy, top layer; may be marked as being deleted
 *  'H' volume_id n        one host of its allow-list
 *  'L' layer_id           layer: volume id, parent layer (0: none)
 *  'E' layer_id extent_no extent: place, destaged_seq (tombstone: no place)
 *  'C' layer_id extent_no its checksums and bitmaps
 *  'G' segment            epoch up to which the segment is free
 *  'S' shard              durable_seq named by the last batch (finds a journal that lost acknowledged records), marks, described_seq
 */
/* meta.h's implementations keep this behind every value (little-endian, 4 bytes), and check it: LMDB has no checksums. */
#define META_CRC_BYTES 4u
uint32_t meta_value_crc(const struct meta_key *k, const void *value, uint32_t len);

struct extent_place { uint16_t dev; uint32_t slot; }; /* capacity device index; extent slot on it */
#define EXTENT_NO_DEV 0xffffu

/* As a PLACED record of the log names it: below JOURNAL_PLACE_MAX. */
uint64_t extent_place_encode(struct extent_place p);
bool     extent_place_decode(uint64_t place, struct extent_place *p);
struct extent_rec { struct extent_place place; uint64_t destaged_seq; };

struct extent_sums {
    uint64_t valid[EXTENT_BLOCKS / 64];   /* block has bytes at place; else it reads as zeros */
    uint64_t damaged[EXTENT_BLOCKS / 64]; /* its newest bytes are lost: reads fail; valid and damaged exclude each other */
    uint32_t csum[EXTENT_BLOCKS];         /* block_csum() of valid blocks; 0 elsewhere */
};

#define NEXT_ID_MAX (UINT64_C(1) << 62)   /* ids of volumes and layers are lower: whatever a log claims, there is a next one */
struct pool_rec {
    struct uuid uuid;
    char     name[NAME_MAX_CHARS + 1];
    uint64_t next_volume_id, next_layer_id; /* rise for ever: ids are never used again */
    uint16_t nr_shards, nr_capacity;
    uint64_t created_wall_ns;
    uint64_t loss_wall_ns;      /* a start accepted that acknowledged data is missing, last then; 0: no, or settled by people */
    uint64_t copies_epoch;      /* copies in segments with this epoch or a lower one may be older than what devices hold; 0: none */
};

struct device_rec { struct uuid uuid; uint64_t device_bytes; };

#define VOLUME_DELETING 1u     /* flag: its deletion was decided; what is left of it is finished at the next open */
struct volume_rec {
    uint64_t    id, layer;     /* layer: top of the stack */
    struct uuid uuid;
    char        name[NAME_MAX_CHARS + 1];
    uint64_t    size_bytes, iops, bandwidth;
    uint32_t    lba_bytes;
    uint16_t    shard, tier;   /* tier: enum volume_tier */
    uint32_t    flags;
    uint32_t    nr_hosts;
    uint32_t    cache_min, cache_max; /* MiB, or percent with VOLUME_SHARE_PCT; 0: no limit */
    uint32_t    stream_kib;    /* 0: the pool's; UINT32_MAX: no cut-off */
    uint16_t    admit;         /* enum volume_admit */
};
#define VOLUME_SHARE_PCT      (UINT32_C(1) << 31)
#define VOLUME_STREAM_KIB_MAX (UINT32_C(1) << 30) /* 1 TiB */

/* What the metadata knows of a shard's log. */
struct shard_rec {
    uint64_t durable_seq;      /* of the newest record that was durable and indexed */
    struct journal_mark mark[JOURNAL_STREAM_NR]; /* the newest durable group of each stream */
    bool     marks_final;      /* nothing was acknowledged since: the shard has stopped, or has not begun yet */
    uint64_t described_seq;    /* extents destaged up to there are described on their devices (described.c); <= durable_seq */
    uint32_t nr_rings;         /* of the capacity devices from 0 on; 0: no device of the pool has a ring */
    struct ring_mark {
        uint64_t homed_seq;    /* extents there destaged up to it are described in their regions, too; <= durable_seq */
        uint32_t head;         /* entry of the shard's part that is written next; a half's first: the half before it is full */
    } ring[CAPACITY_DEVS_MAX];
};

struct layer_rec { uint64_t volume, parent; }; /* parent 0: the bottom */

struct meta_key meta_key_tag(char tag);    /* a prefix for scans; meta_key_tag('P') is meta_key_pool() */
struct meta_key meta_key_pool(void);
struct meta_key meta_key_device(uint16_t role, uint16_t index);
struct meta_key meta_key_volume(uint64_t id);
struct meta_key meta_key_hosts(uint64_t volume);              /* a prefix */
struct meta_key meta_key_host(uint64_t volume, uint32_t n);
struct meta_key meta_key_layer_extents(uint64_t layer);       /* prefixes: all of one layer */
struct meta_key meta_key_layer_sums(uint64_t layer);
struct meta_key meta_key_layer(uint64_t id);
struct meta_key meta_key_extent(uint64_t layer, uint64_t extent);
struct meta_key meta_key_sums(uint64_t layer, uint64_t extent);
struct meta_key meta_key_segment(uint32_t segment);
struct meta_key meta_key_shard(uint32_t shard);
/* Keys of one number ('V' and 'L': 8 bytes, 'G' and 'S': 4). -FIRN_E_CORRUPT: another tag or length. */
int meta_key_parse_id(const struct meta_key *k, char tag, uint64_t *id);
int meta_key_parse_host(const struct meta_key *k, uint64_t *volume, uint32_t *n);
int meta_key_parse_extent(const struct meta_key *k, char tag, uint64_t *layer, uint64_t *extent); /* -FIRN_E_CORRUPT */

#define EXTENT_REC_BYTES  32u
#define EXTENT_SUMS_BYTES (EXTENT_BLOCKS * 4u + 64u + 16u)
uint32_t extent_rec_encode(const struct extent_rec *r, void *buf);
int      extent_rec_decode(const void *buf, uint32_t len, struct extent_rec *out);
uint32_t extent_sums_encode(const struct extent_sums *s, void *buf);
int      extent_sums_decode(const void *buf, uint32_t len, struct extent_sums *out);
uint32_t segment_rec_encode(uint64_t free_epoch, void *buf);
int      segment_rec_decode(const void *buf, uint32_t len, uint64_t *free_epoch);
#define SHARD_REC_BYTES 72u          /* without rings */
#define SHARD_REC_RING_BYTES 16u
#define SHARD_REC_MAX (SHARD_REC_BYTES + CAPACITY_DEVS_MAX * SHARD_REC_RING_BYTES)
uint32_t shard_rec_encode(const struct shard_rec *r, void *buf);
int      shard_rec_decode(const void *buf, uint32_t len, struct shard_rec *out);

#define POOL_REC_BYTES   128u
#define DEVICE_REC_BYTES 32u
#define VOLUME_REC_BYTES 160u
#define LAYER_REC_BYTES  32u
uint32_t pool_rec_encode(const struct pool_rec *r, void *buf);
int      pool_rec_decode(const void *buf, uint32_t len, struct pool_rec *out);
uint32_t device_rec_encode(const struct device_rec *r, void *buf);
int      device_rec_decode(const void *buf, uint32_t len, struct device_rec *out);
uint32_t volume_rec_encode(const struct volume_rec *r, void *buf);
int      volume_rec_decode(const void *buf, uint32_t len, struct volume_rec *out);
uint32_t layer_rec_encode(const struct layer_rec *r, void *buf);
int      layer_rec_decode(const void *buf, uint32_t len, struct layer_rec *out);
/* An NQN: printable ASCII, at most NQN_MAX_BYTES, no NUL on media. out: NQN_MAX_BYTES + 1 bytes. */
bool     host_nqn_valid(const char *nqn);
uint32_t host_rec_encode(const char *nqn, void *buf /* NQN_MAX_BYTES + 8 */);
int      host_rec_decode(const void *buf, uint32_t len, char *out);

/* ---- capacity devices: regions of REGION_EXTENTS extents, each region behind a table of one descriptor an extent.
 * A descriptor tells whose bytes lie there, so that the map can be rebuilt; it is written lazily, and the map wins. ---- */
#define REGION_EXTENTS   64u
#define DESC_BYTES       4096u
#define DESC_TABLE_BYTES (REGION_EXTENTS * DESC_BYTES)
#define REGION_BYTES     (DESC_TABLE_BYTES + (uint64_t)REGION_EXTENTS * EXTENT_BYTES)

static inline uint64_t region_extent_offset(uint64_t ext_base_bytes, uint32_t slot)
{
    return ext_base_bytes + slot / REGION_EXTENTS * REGION_BYTES + DESC_TABLE_BYTES +
           (uint64_t)(slot % REGION_EXTENTS) * EXTENT_BYTES;
}
static inline uint64_t region_desc_offset(uint64_t ext_base_bytes, uint32_t slot)
{
    return ext_base_bytes + slot / REGION_EXTENTS * REGION_BYTES + (uint64_t)(slot % REGION_EXTENTS) * DESC_BYTES;
}
/* Extents that fit a device of that size behind the label areas; 0: too small. */
uint32_t region_plan(uint64_t device_bytes);

/* ---- the ring (ring.c): a description is first written there, beside others, one write for many, and to its region when its entry is
 * to be written over. Each shard has a part of it, each part two halves. It lies behind the label area. ---- */
#define RING_BYTES_MAX (256u << 20)
#define RING_HALF_MIN  64u          /* entries: a smaller device has no ring */
#define RING_NONE      UINT64_MAX
static inline uint64_t ring_offset(uint32_t entry) { return LABEL_AREA_BYTES + (uint64_t)entry * DESC_BYTES; }
/* Entries for a device of that size: 1/512 of it, or as many bytes as asked for. A multiple of two for each shard; 0: none. */
uint32_t ring_plan(uint64_t device_bytes, uint64_t ask_bytes, uint32_t nr_shards);

struct desc_volume {            /* whose extent it is, as hosts know it; uuid zero: not known */
    struct uuid uuid;
    uint64_t    size_bytes;
    uint32_t    lba_bytes;
    char        name[NAME_MAX_CHARS + 1];
};
/* When it was written: of all descriptions of one slot, wherever they lie, the youngest is the slot's. */
struct desc_age {
    uint64_t generation;        /* of the labels; 0: the device has no ring, and a slot one description */
    uint64_t no;                /* among those written since that start */
};
static inline bool desc_younger(const struct desc_age *a, const struct desc_age *b)
{
    return a->generation != b->generation ? a->generation > b->generation : a->no > b->no;
}
struct extent_desc {
    struct uuid pool, device;
    struct desc_age age;
    struct desc_volume volume;
    uint32_t    slot;
    uint64_t    layer, extent, destaged_seq;
    struct extent_sums sums;
};
void extent_desc_encode(const struct extent_desc *d, void *buf /* DESC_BYTES */);
/* 0, -FIRN_E_NOT_FOUND (never written), -FIRN_E_CORRUPT, -FIRN_E_FORMAT_VERSION. */
int  extent_desc_decode(const void *buf, struct extent_desc *out);
/* The same of what a device of a pool holds: what others wrote counts as never written, and what bears the UUID of this pool, or of
 * this device, never does: its magic is rotten then. */
int  extent_desc_decode_on(const struct uuid *pool, const struct uuid *device, const void *buf, struct extent_desc *out);
/* What one that does not verify says of itself, word for word: whose it may have been. Unchecked, and without sums and volume. */
void     extent_desc_claims(const void *buf, struct extent_desc *out);

#endif
