/* SPDX-License-Identifier: Apache-2.0 */
/* format.c: keys and metadata records. A record is decoded only if its length, version, reserved bytes and every field
 * are what an encoder of this version writes; anything else is -FIRN_E_CORRUPT, or -FIRN_E_FORMAT_VERSION when the
 * version is newer. FORMAT.md has the tables.
 */
#include "tier/format.h"

#include "base/crc32c.h"
#include "base/err.h"
#include "tier/tier.h"

#define REC_VERSION 1u
#define VOLUME_REC_VERSION 2u /* 1: what has been there from 140 on since is zero, and written as long as it is */
#define SHARD_REC_VERSION 3u /* 1 had no marks, 2 no described_seq */
#define SHARD_REC_RINGS   4u /* as 3, and a mark for each capacity device, where there are rings */

/* ---- keys: a tag and big-endian numbers ---- */

static void key_put(struct meta_key *k, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        k->b[k->len++] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
}

static uint64_t key_at(const struct meta_key *k, unsigned at, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | k->b[at + i];
    return v;
}

static struct meta_key key_of(char tag, uint64_t v, unsigned bytes)
{
    struct meta_key k = meta_key_tag(tag);

    key_put(&k, v, bytes);
    return k;
}

struct meta_key meta_key_tag(char tag)
{
    struct meta_key k = {.len = 1};

    k.b[0] = (uint8_t)tag;
    return k;
}

struct meta_key meta_key_pool(void) { return meta_key_tag('P'); }
struct meta_key meta_key_volume(uint64_t id) { return key_of('V', id, 8); }
struct meta_key meta_key_hosts(uint64_t volume) { return key_of('H', volume, 8); }
struct meta_key meta_key_layer(uint64_t id) { return key_of('L', id, 8); }
struct meta_key meta_key_layer_extents(uint64_t layer) { return key_of('E', layer, 8); }
struct meta_key meta_key_layer_sums(uint64_t layer) { return key_of('C', layer, 8); }
struct meta_key meta_key_segment(uint32_t segment) { return key_of('G', segment, 4); }
struct meta_key meta_key_shard(uint32_t shard) { return key_of('S', shard, 4); }

struct meta_key meta_key_device(uint16_t role, uint16_t index)
{
    struct meta_key k = key_of('D', role, 2);

    key_put(&k, index, 2);
    return k;
}

struct meta_key meta_key_host(uint64_t volume, uint32_t n)
{
    struct meta_key k = meta_key_hosts(volume);

    key_put(&k, n, 4);
    return k;
}

struct meta_key meta_key_extent(uint64_t layer, uint64_t extent)
{
    struct meta_key k = meta_key_layer_extents(layer);

    key_put(&k, extent, 8);
    return k;
}

struct meta_key meta_key_sums(uint64_t layer, uint64_t extent)
{
    struct meta_key k = meta_key_layer_sums(layer);

    key_put(&k, extent, 8);
    return k;
}

int meta_key_parse_id(const struct meta_key *k, char tag, uint64_t *id)
{
    unsigned bytes = tag == 'G' || tag == 'S' ? 4 : 8;

    if (k->len != 1 + bytes || k->b[0] != (uint8_t)tag)
        return -FIRN_E_CORRUPT;
    *id = key_at(k, 1, bytes);
    return 0;
}

int meta_key_parse_host(const struct meta_key *k, uint64_t *volume, uint32_t *n)
{
    if (k->len != 13 || k->b[0] != 'H')
        return -FIRN_E_CORRUPT;
    *volume = key_at(k, 1, 8);
    *n = (uint32_t)key_at(k, 9, 4);
    return 0;
}

int meta_key_parse_extent(const struct meta_key *k, char tag, uint64_t *layer, uint64_t *extent)
{
    if (k->len != 17 || k->b[0] != (uint8_t)tag)
        return -FIRN_E_CORRUPT;
    *layer = key_at(k, 1, 8);
    *extent = key_at(k, 9, 8);
    /* The extent's first block must be a block that a volume may have. */
    if (*layer == 0 || *extent >= VOLUME_BYTES_MAX / EXTENT_BYTES)
        return -FIRN_E_CORRUPT;
    return 0;
}

uint32_t meta_value_crc(const struct meta_key *k, const void *value, uint32_t len)
{
    uint32_t crc = crc32c(0, &k->len, 1);

    crc = crc32c(crc, k->b, k->len);
    return len > 0 ? crc32c(crc, value, len) : crc;
}

/* ---- what all records begin with ---- */

struct rec_head {
    le16    version;     /* 0 */
    le16    reserved;    /* 2 zero */
};

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

static int rec_check_version(const void *buf, uint32_t len, uint32_t want, uint16_t version)
{
    const struct rec_head *h = buf;

    if (len < sizeof(*h))
        return -FIRN_E_CORRUPT;
    if (from_le16(h->version) > version)
        return -FIRN_E_FORMAT_VERSION;
    if (len != want || from_le16(h->version) != version || from_le16(h->reserved) != 0)
        return -FIRN_E_CORRUPT;
    return 0;
}

static uint16_t rec_version(const void *buf, uint32_t len)
{
    return len < sizeof(struct rec_head) ? 0 : from_le16(((const struct rec_head *)buf)->version);
}

static int rec_check(const void *buf, uint32_t len, uint32_t want) { return rec_check_version(buf, len, want, REC_VERSION); }

/* A name on media is padded with zeros to its field's end. */
static int name_get(const char *raw, size_t field, char *out)
{
    size_t n = strnlen(raw, field);

    if (n == 0 || n >= field || !all_zero((const uint8_t *)raw + n, field - n))
        return -FIRN_E_CORRUPT;
    memcpy(out, raw, field);
    return name_valid(out) ? 0 : -FIRN_E_CORRUPT;
}

/* ---- extents ---- */

struct extent_rec_media {
    struct rec_head head;         /*  0 */
    le16            dev;          /*  4 EXTENT_NO_DEV: a tombstone */
    uint8_t         pad[2];       /*  6 zero */
    le32            slot;         /*  8 zero in a tombstone */
    uint8_t         pad2[4];      /* 12 zero */
    le64            destaged_seq; /* 16 */
    uint8_t         reserved[8];  /* 24 zero */
};
static_assert(sizeof(struct extent_rec_media) == EXTENT_REC_BYTES, "on-disk size is frozen");
static_assert(offsetof(struct extent_rec_media, destaged_seq) == 16, "on-disk offset is frozen");

#define PLACE_SLOT_SHIFT 8u /* slot in the upper 32 bits of 40, device below */
static_assert(CAPACITY_DEVS_MAX <= 1u << PLACE_SLOT_SHIFT, "a place has 8 bits for the device");

uint64_t extent_place_encode(struct extent_place p) { return (uint64_t)p.slot << PLACE_SLOT_SHIFT | p.dev; }

bool extent_place_decode(uint64_t place, struct extent_place *p)
{
    *p = (struct extent_place){.dev = (uint16_t)(place & ((1u << PLACE_SLOT_SHIFT) - 1)), .slot = (uint32_t)(place >> PLACE_SLOT_SHIFT)};
    return p->dev < CAPACITY_DEVS_MAX && extent_place_encode(*p) == place;
}

uint32_t extent_rec_encode(const struct extent_rec *r, void *buf)
{
    struct extent_rec_media m = {.head.version = to_le16(REC_VERSION)};

    m.dev = to_le16(r->place.dev);
    m.slot = to_le32(r->place.dev == EXTENT_NO_DEV ? 0 : r->place.slot);
    m.destaged_seq = to_le64(r->destaged_seq);
    memcpy(buf, &m, sizeof(m));
    return sizeof(m);
}

int extent_rec_decode(const void *buf, uint32_t len, struct extent_rec *out)
{
    struct extent_rec_media m;
    int err = rec_check(buf, len, sizeof(m));

    if (err)
        return err;
    memcpy(&m, buf, sizeof(m));
    out->place.dev = from_le16(m.dev);
    out->place.slot = from_le32(m.slot);
    out->destaged_seq = from_le64(m.destaged_seq);
    if (out->place.dev == EXTENT_NO_DEV ? out->place.slot != 0 : out->place.dev >= CAPACITY_DEVS_MAX)
        return -FIRN_E_CORRUPT;
    if (out->destaged_seq > SEQ_MEDIA_MAX) /* no write could ever be newer */
        return -FIRN_E_CORRUPT;
    if (!all_zero(m.pad, sizeof(m.pad)) || !all_zero(m.pad2, sizeof(m.pad2)) || !all_zero(m.reserved, sizeof(m.reserved)))
        return -FIRN_E_CORRUPT;
    return 0;
}

struct extent_sums_media {
    struct rec_head head;                        /*  0 */
    uint8_t         reserved[12];                /*  4 zero */
    le64            valid[EXTENT_BLOCKS / 64];   /* 16 bit i of word i/64: block i */
    le64            damaged[EXTENT_BLOCKS / 64]; /* 48 */
    le32            csum[EXTENT_BLOCKS];         /* 80 */
};
static_assert(sizeof(struct extent_sums_media) == EXTENT_SUMS_BYTES, "on-disk size is frozen");
static_assert(EXTENT_SUMS_BYTES <= META_VALUE_MAX, "one record holds an extent's checksums");

uint32_t extent_sums_encode(const struct extent_sums *s, void *buf)
{
    struct extent_sums_media m = {.head.version = to_le16(REC_VERSION)};

    for (unsigned w = 0; w < EXTENT_BLOCKS / 64; w++) {
        m.valid[w] = to_le64(s->valid[w]);
        m.damaged[w] = to_le64(s->damaged[w]);
    }
    for (unsigned i = 0; i < EXTENT_BLOCKS; i++)
        if (s->valid[i / 64] >> (i % 64) & 1)
            m.csum[i] = to_le32(s->csum[i]);
    memcpy(buf, &m, sizeof(m));
    return sizeof(m);
}

int extent_sums_decode(const void *buf, uint32_t len, struct extent_sums *out)
{
    struct extent_sums_media m;
    int err = rec_check(buf, len, sizeof(m));

    if (err)
        return err;
    memcpy(&m, buf, sizeof(m));
    if (!all_zero(m.reserved, sizeof(m.reserved)))
        return -FIRN_E_CORRUPT;
    for (unsigned w = 0; w < EXTENT_BLOCKS / 64; w++) {
        out->valid[w] = from_le64(m.valid[w]);
        out->damaged[w] = from_le64(m.damaged[w]);
        if (out->valid[w] & out->damaged[w])
            return -FIRN_E_CORRUPT;
    }
    for (unsigned i = 0; i < EXTENT_BLOCKS; i++) {
        out->csum[i] = from_le32(m.csum[i]);
        if (out->csum[i] != 0 && !(out->valid[i / 64] >> (i % 64) & 1))
            return -FIRN_E_CORRUPT;
    }
    return 0;
}

/* ---- one number: 'G' and 'S' ---- */

struct number_rec_media {
    struct rec_head head;        /* 0 */
    uint8_t         reserved[4]; /* 4 zero */
    le64            value;       /* 8 */
};
static_assert(sizeof(struct number_rec_media) == 16, "on-disk size is frozen");

static uint32_t number_encode(uint64_t v, void *buf)
{
    struct number_rec_media m = {.head.version = to_le16(REC_VERSION), .value = to_le64(v)};

    memcpy(buf, &m, sizeof(m));
    return sizeof(m);
}

static int number_decode(const void *buf, uint32_t len, uint64_t *out)
{
    struct number_rec_media m;
    int err = rec_check(buf, len, sizeof(m));

    if (err)
        return err;
    memcpy(&m, buf, sizeof(m));
    *out = from_le64(m.value);
    return all_zero(m.reserved, sizeof(m.reserved)) ? 0 : -FIRN_E_CORRUPT;
}

uint32_t segment_rec_encode(uint64_t free_epoch, void *buf) { return number_encode(free_epoch, buf); }
int segment_rec_decode(const void *buf, uint32_t len, uint64_t *free_epoch) { return number_decode(buf, len, free_epoch); }

/* ---- shards ---- */

struct mark_media { le64 group; le64 epoch; le32 segment; uint8_t reserved[4]; };
struct shard_rec_media {
    struct rec_head   head;         /*  0 version SHARD_REC_VERSION */
    uint8_t           reserved[4];  /*  4 zero */
    le64              durable_seq;  /*  8 */
    struct mark_media mark[2];      /* 16 host, moves */
    le64              described_seq; /* 64 */
};
static_assert(sizeof(struct shard_rec_media) == SHARD_REC_BYTES, "on-disk size is frozen");
static_assert(JOURNAL_STREAM_NR == 2, "a mark a stream");

struct ring_mark_media { le64 homed_seq; le32 head; uint8_t reserved[4]; };
static_assert(sizeof(struct ring_mark_media) == SHARD_REC_RING_BYTES, "on-disk size is frozen");

static uint32_t rings_encode(const struct shard_rec *r, uint8_t *buf)
{
    for (uint32_t i = 0; i < r->nr_rings; i++) {
        struct ring_mark_media m = {.homed_seq = to_le64(r->ring[i].homed_seq), .head = to_le32(r->ring[i].head)};

        memcpy(buf + i * sizeof(m), &m, sizeof(m));
    }
    return r->nr_rings * SHARD_REC_RING_BYTES;
}

uint32_t shard_rec_encode(const struct shard_rec *r, void *buf)
{
    struct shard_rec_media m = {.head.version = to_le16(r->nr_rings > 0 ? SHARD_REC_RINGS : SHARD_REC_VERSION),
                                .durable_seq = to_le64(r->durable_seq)};

    for (unsigned i = 0; i < ARRAY_LEN(m.mark); i++) {
        m.mark[i].group = to_le64(r->mark[i].group);
        m.mark[i].epoch = to_le64(r->mark[i].epoch);
        m.mark[i].segment = to_le32(r->mark[i].segment);
    }
    m.described_seq = to_le64(r->described_seq);
    memcpy(buf, &m, sizeof(m));
    return (uint32_t)sizeof(m) + rings_encode(r, (uint8_t *)buf + sizeof(m));
}

static int rings_decode(const uint8_t *buf, uint32_t len, struct shard_rec *out)
{
    for (; len > 0; buf += SHARD_REC_RING_BYTES, len -= SHARD_REC_RING_BYTES) {
        struct ring_mark_media m;

        memcpy(&m, buf, sizeof(m));
        out->ring[out->nr_rings++] = (struct ring_mark){.homed_seq = from_le64(m.homed_seq), .head = from_le32(m.head)};
        if (from_le64(m.homed_seq) > out->durable_seq || !all_zero(m.reserved, sizeof(m.reserved)))
            return -FIRN_E_CORRUPT;
    }
    return 0;
}

/* How long a record of that version is; 0: no length would do. */
static uint32_t shard_rec_bytes(uint32_t version, uint32_t len)
{
    if (version == SHARD_REC_VERSION - 1)
        return offsetof(struct shard_rec_media, described_seq);
    if (version < SHARD_REC_RINGS)
        return SHARD_REC_BYTES;
    return len > SHARD_REC_BYTES && len <= SHARD_REC_MAX && (len - SHARD_REC_BYTES) % SHARD_REC_RING_BYTES == 0 ? len : 0;
}

/* A mark names a group in a use of a segment, or nothing at all. */
static int mark_decode(const struct mark_media *m, struct journal_mark *out)
{
    *out = (struct journal_mark){from_le64(m->group), from_le64(m->epoch), from_le32(m->segment)};
    if (!all_zero(m->reserved, sizeof(m->reserved)) || (out->group == 0) != (out->epoch == 0))
        return -FIRN_E_CORRUPT;
    return out->group == 0 && out->segment != 0 ? -FIRN_E_CORRUPT : 0;
}

/* Version 2 ends before described_seq: nothing counts as described then, and all of it is described anew. */
int shard_rec_decode(const void *buf, uint32_t len, struct shard_rec *out)
{
    struct shard_rec_media m = {0};
    uint32_t version = MIN(MAX(rec_version(buf, len), SHARD_REC_VERSION - 1u), SHARD_REC_RINGS);
    int err = rec_check_version(buf, len, shard_rec_bytes(version, len), (uint16_t)version);

    *out = (struct shard_rec){0};
    if (err)
        return err;
    memcpy(&m, buf, MIN(len, (uint32_t)sizeof(m)));
    out->durable_seq = from_le64(m.durable_seq);
    out->described_seq = from_le64(m.described_seq);
    if (out->durable_seq > SEQ_MEDIA_MAX || out->described_seq > out->durable_seq)
        return -FIRN_E_CORRUPT;
    for (unsigned i = 0; i < ARRAY_LEN(m.mark) && !err; i++)
        err = mark_decode(&m.mark[i], &out->mark[i]);
    if (!err && len > sizeof(m))
        err = rings_decode((const uint8_t *)buf + sizeof(m), len - (uint32_t)sizeof(m), out);
    return !err && !all_zero(m.reserved, sizeof(m.reserved)) ? -FIRN_E_CORRUPT : err;
}

/* ---- pool, volumes, layers, hosts ---- */

struct pool_rec_media {
    struct rec_head head;           /*   0 */
    le16            nr_shards;      /*   4 */
    le16            nr_capacity;    /*   6 */
    uint8_t         uuid[16];       /*   8 */
    char            name[64];       /*  24 zero-padded */
    le64            next_volume_id; /*  88 */
    le64            next_layer_id;  /*  96 */
    le64            created;        /* 104 wall clock, ns */
    le64            loss_accepted;  /* 112 wall clock, ns; 0: none */
    le64            copies_epoch;   /* 120 0: none */
};
static_assert(sizeof(struct pool_rec_media) == POOL_REC_BYTES, "on-disk size is frozen");
static_assert(NAME_MAX_CHARS + 1 == 64, "names fill their fields");

uint32_t pool_rec_encode(const struct pool_rec *r, void *buf)
{
    struct pool_rec_media m = {.head.version = to_le16(REC_VERSION)};

    m.nr_shards = to_le16(r->nr_shards);
    m.nr_capacity = to_le16(r->nr_capacity);
    memcpy(m.uuid, r->uuid.b, 16);
    memcpy(m.name, r->name, strnlen(r->name, NAME_MAX_CHARS));
    m.next_volume_id = to_le64(r->next_volume_id);
    m.next_layer_id = to_le64(r->next_layer_id);
    m.created = to_le64(r->created_wall_ns);
    m.loss_accepted = to_le64(r->loss_wall_ns);
    m.copies_epoch = to_le64(r->copies_epoch);
    memcpy(buf, &m, sizeof(m));
    return sizeof(m);
}

int pool_rec_decode(const void *buf, uint32_t len, struct pool_rec *out)
{
    struct pool_rec_media m;
    int err = rec_check(buf, len, sizeof(m));

    if (err)
        return err;
    memcpy(&m, buf, sizeof(m));
    out->nr_shards = from_le16(m.nr_shards);
    out->nr_capacity = from_le16(m.nr_capacity);
    memcpy(out->uuid.b, m.uuid, 16);
    out->next_volume_id = from_le64(m.next_volume_id);
    out->next_layer_id = from_le64(m.next_layer_id);
    out->created_wall_ns = from_le64(m.created);
    out->loss_wall_ns = from_le64(m.loss_accepted);
    out->copies_epoch = from_le64(m.copies_epoch);
    if (out->nr_shards < 1 || out->nr_shards > REACTORS_MAX || out->nr_capacity < 1 ||
        out->nr_capacity > CAPACITY_DEVS_MAX || out->next_volume_id == 0 || out->next_layer_id == 0 ||
        out->next_volume_id > NEXT_ID_MAX || out->next_layer_id > NEXT_ID_MAX || out->copies_epoch > NUMBER_START_MAX)
        return -FIRN_E_CORRUPT;
    return name_get(m.name, sizeof(m.name), out->name);
}

struct device_rec_media {
    struct rec_head head;         /*  0 */
    uint8_t         reserved[4];  /*  4 zero */
    uint8_t         uuid[16];     /*  8 */
    le64            device_bytes; /* 24 */
};
static_assert(sizeof(struct device_rec_media) == DEVICE_REC_BYTES, "on-disk size is frozen");

uint32_t device_rec_encode(const struct device_rec *r, void *buf)
{
    struct device_rec_media m = {.head.version = to_le16(REC_VERSION), .device_bytes = to_le64(r->device_bytes)};

    memcpy(m.uuid, r->uuid.b, 16);
    memcpy(buf, &m, sizeof(m));
    return sizeof(m);
}

int device_rec_decode(const void *buf, uint32_t len, struct device_rec *out)
{
    struct device_rec_media m;
    int err = rec_check(buf, len, sizeof(m));

    if (err)
        return err;
    memcpy(&m, buf, sizeof(m));
    memcpy(out->uuid.b, m.uuid, 16);
    out->device_bytes = from_le64(m.device_bytes);
    return all_zero(m.reserved, sizeof(m.reserved)) ? 0 : -FIRN_E_CORRUPT;
}

struct volume_rec_media {
    struct rec_head head;         /*   0 */
    le32            flags;        /*   4 VOLUME_DELETING */
    le64            id;           /*   8 as in the key */
    le64            layer;        /*  16 */
    uint8_t         uuid[16];     /*  24 */
    char            name[64];     /*  40 zero-padded */
    le64            size_bytes;   /* 104 */
    le64            iops;         /* 112 0: no cap */
    le64            bandwidth;    /* 120 bytes a second; 0: no cap */
    le32            lba_bytes;    /* 128 512 or 4096 */
    le16            shard;        /* 132 */
    le16            tier;         /* 134 enum volume_tier */
    le32            nr_hosts;     /* 136 */
    le32            cache_min;    /* 140 enum volume_share_media */
    le32            cache_max;    /* 144 */
    le32            stream_kib;   /* 148 0: the pool's cut-off; ffffffff: none */
    le16            admit;        /* 152 enum volume_admit */
    uint8_t         reserved[6];  /* 154 zero */
};
static_assert(sizeof(struct volume_rec_media) == VOLUME_REC_BYTES, "on-disk size is frozen");

static bool has_policy(const struct volume_rec *r)
{
    return r->cache_min != 0 || r->cache_max != 0 || r->stream_kib != 0 || r->admit != VOLUME_ADMIT_AUTO;
}

/* A program that knows no policies reads the records of volumes that have none. */
uint32_t volume_rec_encode(const struct volume_rec *r, void *buf)
{
    struct volume_rec_media m = {.head.version = to_le16(has_policy(r) ? VOLUME_REC_VERSION : REC_VERSION)};

    m.cache_min = to_le32(r->cache_min);
    m.cache_max = to_le32(r->cache_max);
    m.stream_kib = to_le32(r->stream_kib);
    m.admit = to_le16(r->admit);
    m.flags = to_le32(r->flags);
    m.id = to_le64(r->id);
    m.layer = to_le64(r->layer);
    memcpy(m.uuid, r->uuid.b, 16);
    memcpy(m.name, r->name, strnlen(r->name, NAME_MAX_CHARS));
    m.size_bytes = to_le64(r->size_bytes);
    m.iops = to_le64(r->iops);
    m.bandwidth = to_le64(r->bandwidth);
    m.lba_bytes = to_le32(r->lba_bytes);
    m.shard = to_le16(r->shard);
    m.tier = to_le16(r->tier);
    m.nr_hosts = to_le32(r->nr_hosts);
    memcpy(buf, &m, sizeof(m));
    return sizeof(m);
}

static bool share_ok(uint32_t share)
{
    uint32_t v = share & ~VOLUME_SHARE_PCT;

    return share == 0 || (v > 0 && v <= (share & VOLUME_SHARE_PCT ? 100 : VOLUME_BYTES_MAX / MIB));
}

static bool policy_ok(const struct volume_rec *r, uint16_t version)
{
    return share_ok(r->cache_min) && share_ok(r->cache_max) && r->admit <= VOLUME_ADMIT_THIRD &&
           (r->stream_kib <= VOLUME_STREAM_KIB_MAX || r->stream_kib == UINT32_MAX) && has_policy(r) == (version == VOLUME_REC_VERSION);
}

static bool volume_fields_ok(const struct volume_rec *r)
{
    return r->id != 0 && r->layer != 0 && (r->flags & ~VOLUME_DELETING) == 0 && r->shard < REACTORS_MAX &&
           r->tier <= VOLUME_HDD && r->nr_hosts <= HOSTS_PER_VOLUME_MAX && (r->lba_bytes == 512 || r->lba_bytes == 4096) &&
           r->size_bytes >= EXTENT_BYTES && r->size_bytes <= VOLUME_BYTES_MAX && r->size_bytes % EXTENT_BYTES == 0;
}

int volume_rec_decode(const void *buf, uint32_t len, struct volume_rec *out)
{
    uint16_t version = rec_version(buf, len) == REC_VERSION ? REC_VERSION : VOLUME_REC_VERSION;
    struct volume_rec_media m;
    int err = rec_check_version(buf, len, sizeof(m), version);

    if (err)
        return err;
    memcpy(&m, buf, sizeof(m));
    out->cache_min = from_le32(m.cache_min);
    out->cache_max = from_le32(m.cache_max);
    out->stream_kib = from_le32(m.stream_kib);
    out->admit = from_le16(m.admit);
    out->flags = from_le32(m.flags);
    out->id = from_le64(m.id);
    out->layer = from_le64(m.layer);
    memcpy(out->uuid.b, m.uuid, 16);
    out->size_bytes = from_le64(m.size_bytes);
    out->iops = from_le64(m.iops);
    out->bandwidth = from_le64(m.bandwidth);
    out->lba_bytes = from_le32(m.lba_bytes);
    out->shard = from_le16(m.shard);
    out->tier = from_le16(m.tier);
    out->nr_hosts = from_le32(m.nr_hosts);
    if (!volume_fields_ok(out) || !policy_ok(out, version) || !all_zero(m.reserved, sizeof(m.reserved)))
        return -FIRN_E_CORRUPT;
    return name_get(m.name, sizeof(m.name), out->name);
}

struct layer_rec_media {
    struct rec_head head;        /*  0 */
    uint8_t         pad[4];      /*  4 zero */
    le64            volume;      /*  8 */
    le64            parent;      /* 16 0: the bottom of the stack */
    uint8_t         reserved[8]; /* 24 zero */
};
static_assert(sizeof(struct layer_rec_media) == LAYER_REC_BYTES, "on-disk size is frozen");

uint32_t layer_rec_encode(const struct layer_rec *r, void *buf)
{
    struct layer_rec_media m = {.head.version = to_le16(REC_VERSION)};

    m.volume = to_le64(r->volume);
    m.parent = to_le64(r->parent);
    memcpy(buf, &m, sizeof(m));
    return sizeof(m);
}

int layer_rec_decode(const void *buf, uint32_t len, struct layer_rec *out)
{
    struct layer_rec_media m;
    int err = rec_check(buf, len, sizeof(m));

    if (err)
        return err;
    memcpy(&m, buf, sizeof(m));
    out->volume = from_le64(m.volume);
    out->parent = from_le64(m.parent);
    if (out->volume == 0 || !all_zero(m.pad, sizeof(m.pad)) || !all_zero(m.reserved, sizeof(m.reserved)))
        return -FIRN_E_CORRUPT;
    return 0;
}

bool host_nqn_valid(const char *nqn)
{
    size_t n = strnlen(nqn, NQN_MAX_BYTES + 1);

    if (n == 0 || n > NQN_MAX_BYTES)
        return false;
    for (size_t i = 0; i < n; i++)
        if (nqn[i] < '!' || nqn[i] > '~')
            return false;
    return true;
}

uint32_t host_rec_encode(const char *nqn, void *buf)
{
    struct rec_head h = {.version = to_le16(REC_VERSION)};
    uint32_t n = (uint32_t)strnlen(nqn, NQN_MAX_BYTES);

    memcpy(buf, &h, sizeof(h));
    memcpy((char *)buf + sizeof(h), nqn, n);
    return (uint32_t)sizeof(h) + n;
}

int host_rec_decode(const void *buf, uint32_t len, char *out)
{
    int err = rec_check(buf, len, len);
    uint32_t n = len - (uint32_t)sizeof(struct rec_head);

    if (err)
        return err;
    if (n > NQN_MAX_BYTES || memchr((const char *)buf + sizeof(struct rec_head), 0, n) != NULL)
        return -FIRN_E_CORRUPT;
    memcpy(out, (const char *)buf + sizeof(struct rec_head), n);
    out[n] = '\0';
    return host_nqn_valid(out) ? 0 : -FIRN_E_CORRUPT;
}
