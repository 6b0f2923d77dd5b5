/* SPDX-License-Identifier: Apache-2.0 */
/* format_media.c: the two structures that tier/ puts on devices themselves: the label and the extent's description.
 * Both are 4 KiB, begin with a CRC32C of all that follows, then magic and version; reserved bytes are zero and checked.
 */
#include "base/crc32c.h"
#include "base/err.h"
#include "tier/format_rec.h"
#include "tier/tier.h"

#define LABEL_MAGIC   "FIRNLABL"
#define DESC_MAGIC    "FIRNEXTD"
#define MEDIA_VERSION 1u
#define DESC_VERSION  2u     /* of descriptions on devices with a ring; elsewhere 1 */

struct label_media {
    le32    crc;             /*   0 of bytes 4..4095 */
    le32    version;         /*   4 */
    char    magic[8];        /*   8 */
    uint8_t pool[16];        /*  16 */
    uint8_t device[16];      /*  32 */
    char    pool_name[64];   /*  48 zero-padded */
    le16    role;            /* 112 enum tier_role */
    le16    index;           /* 114 */
    le16    nr_capacity;     /* 116 */
    le16    nr_shards;       /* 118 */
    le64    generation;      /* 120 */
    le64    device_bytes;    /* 128 */
    le64    created;         /* 136 wall clock, ns */
    le32    compat;          /* 144 */
    le32    ro_compat;       /* 148 */
    le32    incompat;        /* 152 */
    le32    seg_align;       /* 156 */
    le64    seg_base;        /* 160 */
    le32    seg_bytes;       /* 168 */
    le32    seg_nr;          /* 172 */
    le64    ext_base;        /* 176 */
    le32    ext_nr;          /* 184 */
    le32    ring_nr;         /* 188 */
    uint8_t reserved[3904];  /* 192 zero */
};
static_assert(sizeof(struct label_media) == LABEL_BYTES, "on-disk size is frozen");
static_assert(offsetof(struct label_media, ring_nr) == 188, "on-disk offset is frozen");

static uint32_t media_crc(const void *buf) { return crc32c(0, (const uint8_t *)buf + 4, 4096 - 4); }

void label_encode(const struct label *l, void *buf)
{
    struct label_media m = {.version = to_le32(MEDIA_VERSION)};

    memcpy(m.magic, LABEL_MAGIC, 8);
    memcpy(m.pool, l->pool.b, 16);
    memcpy(m.device, l->device.b, 16);
    memcpy(m.pool_name, l->pool_name, strnlen(l->pool_name, NAME_MAX_CHARS));
    m.role = to_le16(l->role);
    m.index = to_le16(l->index);
    m.nr_capacity = to_le16(l->nr_capacity);
    m.nr_shards = to_le16(l->nr_shards);
    m.generation = to_le64(l->generation);
    m.device_bytes = to_le64(l->device_bytes);
    m.created = to_le64(l->created_wall_ns);
    m.compat = to_le32(l->compat);
    m.ro_compat = to_le32(l->ro_compat);
    m.incompat = to_le32(l->incompat);
    m.seg_align = to_le32(l->seg_align);
    m.seg_base = to_le64(l->seg_base_bytes);
    m.seg_bytes = to_le32(l->seg_bytes);
    m.seg_nr = to_le32(l->seg_nr);
    m.ext_base = to_le64(l->ext_base_bytes);
    m.ext_nr = to_le32(l->ext_nr);
    m.ring_nr = to_le32(l->ring_nr);
    m.crc = to_le32(media_crc(&m));
    memcpy(buf, &m, sizeof(m));
}

static void label_get(const struct label_media *m, struct label *out)
{
    memcpy(out->pool.b, m->pool, 16);
    memcpy(out->device.b, m->device, 16);
    memcpy(out->pool_name, m->pool_name, sizeof(m->pool_name));
    out->role = from_le16(m->role);
    out->index = from_le16(m->index);
    out->nr_capacity = from_le16(m->nr_capacity);
    out->nr_shards = from_le16(m->nr_shards);
    out->generation = from_le64(m->generation);
    out->device_bytes = from_le64(m->device_bytes);
    out->created_wall_ns = from_le64(m->created);
    out->compat = from_le32(m->compat);
    out->ro_compat = from_le32(m->ro_compat);
    out->incompat = from_le32(m->incompat);
    out->seg_align = from_le32(m->seg_align);
    out->seg_base_bytes = from_le64(m->seg_base);
    out->seg_bytes = from_le32(m->seg_bytes);
    out->seg_nr = from_le32(m->seg_nr);
    out->ext_base_bytes = from_le64(m->ext_base);
    out->ext_nr = from_le32(m->ext_nr);
    out->ring_nr = from_le32(m->ring_nr);
}

/* Segments lie between the label areas, aligned; their number and size are within the limits. */
static bool label_segments_ok(const struct label *l)
{
    if (l->role != TIER_JOURNAL)
        return l->seg_base_bytes == 0 && l->seg_bytes == 0 && l->seg_nr == 0 && l->seg_align == 0 &&
               !(l->incompat & LABEL_INCOMPAT_SHORT_HEADS);
    if (l->incompat & LABEL_INCOMPAT_SHORT_HEADS && l->seg_align != 512)
        return false;
    return (l->seg_align == 512 || l->seg_align == 4096) && l->seg_bytes >= SEGMENT_BYTES_MIN &&
           l->seg_bytes <= SEGMENT_BYTES_MAX && l->seg_bytes % 4096 == 0 && l->seg_nr >= 1 && l->seg_nr <= SEGMENTS_MAX &&
           l->seg_base_bytes >= LABEL_AREA_BYTES && l->seg_base_bytes % 4096 == 0 &&
           l->seg_base_bytes <= l->device_bytes &&
           (uint64_t)l->seg_nr * l->seg_bytes + LABEL_AREA_BYTES <= l->device_bytes - l->seg_base_bytes;
}

static bool label_extents_ok(const struct label *l)
{
    if (l->role != TIER_CAPACITY)
        return l->ext_base_bytes == 0 && l->ext_nr == 0;
    return l->ext_nr >= 1 && l->ext_base_bytes >= LABEL_AREA_BYTES && l->ext_base_bytes % 4096 == 0 &&
           l->ext_base_bytes <= l->device_bytes &&
           region_extent_offset(0, l->ext_nr - 1) + EXTENT_BYTES + LABEL_AREA_BYTES <= l->device_bytes - l->ext_base_bytes;
}

/* Between the label area and the first region, the same for each half of each shard. */
static bool label_ring_ok(const struct label *l)
{
    bool has = (l->incompat & LABEL_INCOMPAT_RING) != 0;

    if (!has || l->role != TIER_CAPACITY)
        return !has && l->ring_nr == 0;
    return l->ring_nr >= 1 && l->ring_nr % (2u * l->nr_shards) == 0 && ring_offset(l->ring_nr) <= l->ext_base_bytes;
}

static bool label_ok(const struct label *l)
{
    size_t n = strnlen(l->pool_name, sizeof(l->pool_name));

    if (n >= sizeof(l->pool_name) || !rec_all_zero((const uint8_t *)l->pool_name + n, sizeof(l->pool_name) - n))
        return false;
    return name_valid(l->pool_name) && l->role <= TIER_CAPACITY && l->index < CAPACITY_DEVS_MAX && l->nr_capacity >= 1 &&
           l->nr_capacity <= CAPACITY_DEVS_MAX && l->nr_shards >= 1 && l->nr_shards <= REACTORS_MAX &&
           l->generation != 0 && (l->role != TIER_CAPACITY || l->index < l->nr_capacity) &&
           label_segments_ok(l) && label_extents_ok(l) && label_ring_ok(l);
}

int label_decode(const void *buf, struct label *out)
{
    struct label_media m;

    memcpy(&m, buf, sizeof(m));
    if (memcmp(m.magic, LABEL_MAGIC, 8) != 0)
        return -FIRN_E_NOT_FIRN;
    if (from_le32(m.crc) != media_crc(&m))
        return -FIRN_E_CORRUPT;
    if (from_le32(m.version) > MEDIA_VERSION || from_le32(m.incompat) & ~LABEL_INCOMPAT_KNOWN)
        return -FIRN_E_FORMAT_VERSION;
    label_get(&m, out);
    if (from_le32(m.version) != MEDIA_VERSION || !rec_all_zero(m.reserved, sizeof(m.reserved)) || !label_ok(out))
        return -FIRN_E_CORRUPT;
    return 0;
}

uint32_t region_plan(uint64_t device_bytes)
{
    uint64_t usable, rest, nr;

    if (device_bytes < 2 * LABEL_AREA_BYTES)
        return 0;
    usable = ROUND_DOWN(device_bytes, 4096) - 2 * LABEL_AREA_BYTES;
    rest = usable % REGION_BYTES;
    nr = usable / REGION_BYTES * REGION_EXTENTS;
    if (rest > DESC_TABLE_BYTES)
        nr += (rest - DESC_TABLE_BYTES) / EXTENT_BYTES;
    return (uint32_t)MIN(nr, UINT32_MAX - REGION_EXTENTS);
}

uint32_t ring_plan(uint64_t device_bytes, uint64_t ask_bytes, uint32_t nr_shards)
{
    uint64_t bytes = ask_bytes != 0 ? ask_bytes : MIN(device_bytes / 512, (uint64_t)RING_BYTES_MAX);
    uint64_t half = bytes / DESC_BYTES / (2u * nr_shards);

    if (ask_bytes == RING_NONE || bytes > device_bytes / 2 || half < (ask_bytes != 0 ? 1 : RING_HALF_MIN))
        return 0;
    return (uint32_t)MIN(half, (uint64_t)RING_BYTES_MAX / DESC_BYTES) * 2 * nr_shards;
}

struct desc_media {
    le32    crc;                         /*    0 of bytes 4..4095 */
    le32    version;                     /*    4 1; 2: with an age */
    char    magic[8];                    /*    8 */
    uint8_t pool[16];                    /*   16 */
    uint8_t device[16];                  /*   32 */
    le32    slot;                        /*   48 */
    uint8_t pad[4];                      /*   52 zero */
    le64    layer;                       /*   56 */
    le64    extent;                      /*   64 */
    le64    destaged_seq;                /*   72 */
    uint8_t sums[EXTENT_SUMS_BYTES];     /*   80 as in the 'C' record */
    uint8_t volume[16];                  /* 1184 UUID; zero: not known, and all of the volume's fields are zero */
    le64    volume_bytes;                /* 1200 */
    le32    volume_lba;                  /* 1208 */
    uint8_t pad2[4];                     /* 1212 zero */
    char    volume_name[64];             /* 1216 zero-padded */
    le64    age_generation;              /* 1280 */
    le64    age_no;                      /* 1288 */
    uint8_t reserved[4096 - 1296];       /* zero */
};
static_assert(offsetof(struct desc_media, volume) == 1184, "on-disk offset is frozen");
static_assert(sizeof(struct desc_media) == DESC_BYTES, "on-disk size is frozen");

void extent_desc_encode(const struct extent_desc *d, void *buf)
{
    struct desc_media m = {.version = to_le32(d->age.generation == 0 ? 1 : DESC_VERSION)};

    memcpy(m.magic, DESC_MAGIC, 8);
    m.age_generation = to_le64(d->age.generation);
    m.age_no = to_le64(d->age.no);
    memcpy(m.pool, d->pool.b, 16);
    memcpy(m.device, d->device.b, 16);
    m.slot = to_le32(d->slot);
    m.layer = to_le64(d->layer);
    m.extent = to_le64(d->extent);
    m.destaged_seq = to_le64(d->destaged_seq);
    extent_sums_encode(&d->sums, m.sums);
    memcpy(m.volume, d->volume.uuid.b, 16);
    m.volume_bytes = to_le64(d->volume.size_bytes);
    m.volume_lba = to_le32(d->volume.lba_bytes);
    memcpy(m.volume_name, d->volume.name, strnlen(d->volume.name, sizeof(d->volume.name) - 1)); /* no bytes behind the name */
    m.crc = to_le32(media_crc(&m));
    memcpy(buf, &m, sizeof(m));
}

static int desc_volume_decode(const struct desc_media *m, struct desc_volume *out)
{
    size_t len = strnlen(m->volume_name, sizeof(m->volume_name));

    memset(out, 0, sizeof(*out));
    if (rec_all_zero(m->volume, sizeof(m->volume)))
        return from_le64(m->volume_bytes) == 0 && from_le32(m->volume_lba) == 0 &&
               rec_all_zero((const uint8_t *)m->volume_name, sizeof(m->volume_name)) ? 0 : -FIRN_E_CORRUPT;
    memcpy(out->uuid.b, m->volume, 16);
    out->size_bytes = from_le64(m->volume_bytes);
    out->lba_bytes = from_le32(m->volume_lba);
    if (len > NAME_MAX_CHARS || !rec_all_zero((const uint8_t *)m->volume_name + len, sizeof(m->volume_name) - len))
        return -FIRN_E_CORRUPT;
    memcpy(out->name, m->volume_name, len);
    if (!name_valid(out->name) || (out->lba_bytes != 512 && out->lba_bytes != 4096) || out->size_bytes < EXTENT_BYTES ||
        out->size_bytes > VOLUME_BYTES_MAX || out->size_bytes % EXTENT_BYTES != 0)
        return -FIRN_E_CORRUPT;
    return 0;
}

static void desc_get(const struct desc_media *m, struct extent_desc *out)
{
    out->age = (struct desc_age){from_le64(m->age_generation), from_le64(m->age_no)};
    memcpy(out->pool.b, m->pool, 16);
    memcpy(out->device.b, m->device, 16);
    out->slot = from_le32(m->slot);
    out->layer = from_le64(m->layer);
    out->extent = from_le64(m->extent);
    out->destaged_seq = from_le64(m->destaged_seq);
}

void extent_desc_claims(const void *buf, struct extent_desc *out)
{
    struct desc_media m;

    memcpy(&m, buf, sizeof(m));
    memset(out, 0, sizeof(*out));
    desc_get(&m, out);
}

int extent_desc_decode(const void *buf, struct extent_desc *out)
{
    struct desc_media m;

    memcpy(&m, buf, sizeof(m));
    if (memcmp(m.magic, DESC_MAGIC, 8) != 0)
        return -FIRN_E_NOT_FOUND;
    if (from_le32(m.crc) != media_crc(&m))
        return -FIRN_E_CORRUPT;
    if (from_le32(m.version) > DESC_VERSION)
        return -FIRN_E_FORMAT_VERSION;
    desc_get(&m, out);
    if (from_le32(m.version) != (out->age.generation == 0 ? 1u : DESC_VERSION) ||
        (out->age.generation == 0 && out->age.no != 0) || out->layer == 0 || out->extent >= VOLUME_BYTES_MAX / EXTENT_BYTES ||
        out->destaged_seq > SEQ_MEDIA_MAX || !rec_all_zero(m.pad, sizeof(m.pad)) || !rec_all_zero(m.pad2, sizeof(m.pad2)) ||
        !rec_all_zero(m.reserved, sizeof(m.reserved)) ||
        desc_volume_decode(&m, &out->volume) != 0)
        return -FIRN_E_CORRUPT;
    return extent_sums_decode(m.sums, EXTENT_SUMS_BYTES, &out->sums);
}

static bool same_uuid(const struct uuid *a, const struct uuid *b) { return memcmp(a, b, sizeof(*a)) == 0; }

int extent_desc_decode_on(const struct uuid *pool, const struct uuid *device, const void *buf, struct extent_desc *out)
{
    int err = extent_desc_decode(buf, out);
    struct extent_desc was;

    if (err == 0)
        return same_uuid(&out->pool, pool) && same_uuid(&out->device, device) ? 0 : -FIRN_E_NOT_FOUND;
    if (err != -FIRN_E_NOT_FOUND)
        return err;
    extent_desc_claims(buf, &was);
    return same_uuid(&was.pool, pool) || same_uuid(&was.device, device) ? -FIRN_E_CORRUPT : -FIRN_E_NOT_FOUND;
}
