/* SPDX-License-Identifier: Apache-2.0 */
/* format.c: records of extents, segments and shards. A record is decoded only if its length, version, reserved bytes and every field
 * are what an encoder of this version writes; anything else is -FIRN_E_CORRUPT, or -FIRN_E_FORMAT_VERSION when the
 * version is newer. FORMAT.md has the tables.
 */
#include "tier/format_rec.h"

#include "base/err.h"
#include "tier/tier.h"

#define SHARD_REC_VERSION 3u /* 1 had no marks, 2 no described_seq */
#define SHARD_REC_RINGS   4u /* as 3, and a mark for each capacity device, where there are rings */
#define SHARD_REC_FINAL   5u /* as 3 or 4, whichever its length says, and the marks are final */
#define SHARD_FLAG_FINAL  1u

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
    if (!rec_all_zero(m.pad, sizeof(m.pad)) || !rec_all_zero(m.pad2, sizeof(m.pad2)) || !rec_all_zero(m.reserved, sizeof(m.reserved)))
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
    if (!rec_all_zero(m.reserved, sizeof(m.reserved)))
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
    return rec_all_zero(m.reserved, sizeof(m.reserved)) ? 0 : -FIRN_E_CORRUPT;
}

uint32_t segment_rec_encode(uint64_t free_epoch, void *buf) { return number_encode(free_epoch, buf); }
int segment_rec_decode(const void *buf, uint32_t len, uint64_t *free_epoch) { return number_decode(buf, len, free_epoch); }

/* ---- shards ---- */

struct mark_media { le64 group; le64 epoch; le32 segment; uint8_t reserved[4]; };
struct shard_rec_media {
    struct rec_head   head;         /*  0 version SHARD_REC_VERSION */
    le32              flags;        /*  4 SHARD_FLAG_FINAL in version 5, else zero */
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
    uint16_t version = r->marks_final ? SHARD_REC_FINAL : r->nr_rings > 0 ? SHARD_REC_RINGS : SHARD_REC_VERSION;
    struct shard_rec_media m = {.head.version = to_le16(version), .flags = to_le32(r->marks_final ? SHARD_FLAG_FINAL : 0),
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
        if (from_le64(m.homed_seq) > out->durable_seq || !rec_all_zero(m.reserved, sizeof(m.reserved)))
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
    if (version == SHARD_REC_FINAL && len == SHARD_REC_BYTES)
        return len;
    return len > SHARD_REC_BYTES && len <= SHARD_REC_MAX && (len - SHARD_REC_BYTES) % SHARD_REC_RING_BYTES == 0 ? len : 0;
}

/* A mark names a group in a use of a segment, or nothing at all. */
static int mark_decode(const struct mark_media *m, struct journal_mark *out)
{
    *out = (struct journal_mark){from_le64(m->group), from_le64(m->epoch), from_le32(m->segment)};
    if (!rec_all_zero(m->reserved, sizeof(m->reserved)) || (out->group == 0) != (out->epoch == 0))
        return -FIRN_E_CORRUPT;
    return out->group == 0 && out->segment != 0 ? -FIRN_E_CORRUPT : 0;
}

/* Version 2 ends before described_seq: nothing counts as described then, and all of it is described anew. */
int shard_rec_decode(const void *buf, uint32_t len, struct shard_rec *out)
{
    struct shard_rec_media m = {0};
    uint32_t version = MIN(MAX(rec_version(buf, len), SHARD_REC_VERSION - 1u), SHARD_REC_FINAL);
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
    out->marks_final = version == SHARD_REC_FINAL;
    return !err && from_le32(m.flags) != (out->marks_final ? SHARD_FLAG_FINAL : 0) ? -FIRN_E_CORRUPT : err;
}
