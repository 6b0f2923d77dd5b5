/* SPDX-License-Identifier: Apache-2.0 */
/* format_volumes.c: records of a pool, its devices, volumes, their layers and hosts. Decoded as format.c says. */
#include "tier/format_rec.h"

#include "base/err.h"
#include "tier/tier.h"

#define VOLUME_REC_VERSION 2u /* 1: what has been there from 140 on since is zero, and written as long as it is */

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
    return rec_name_get(m.name, sizeof(m.name), out->name);
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
    return rec_all_zero(m.reserved, sizeof(m.reserved)) ? 0 : -FIRN_E_CORRUPT;
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
    if (!volume_fields_ok(out) || !policy_ok(out, version) || !rec_all_zero(m.reserved, sizeof(m.reserved)))
        return -FIRN_E_CORRUPT;
    return rec_name_get(m.name, sizeof(m.name), out->name);
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
    if (out->volume == 0 || !rec_all_zero(m.pad, sizeof(m.pad)) || !rec_all_zero(m.reserved, sizeof(m.reserved)))
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
