/* SPDX-License-Identifier: Apache-2.0 */
/* format.c: segment headers and commit groups to bytes and back. summary.c has summaries and footers.
 *
 * Every checksum is seeded with where the bytes belong (pool, segment, and for groups epoch and offset), so that whole old
 * bytes, or bytes written to a wrong place, fail just like damaged ones.
 */
#include "journal/format.h"

#include "base/crc32c.h"
#include "journal/format_raw.h"

static_assert(sizeof(struct jrn_seg_header_raw) == 128, "the segment header's used part lies in one 512-byte sector");
static_assert(sizeof(struct jrn_fixed_raw) == JRN_FIXED_BYTES, "fixed part");
static_assert(sizeof(struct jrn_record_raw) == JRN_RECORD_BYTES, "record");
static_assert(JRN_GROUP_BLOCKS_MAX <= UINT16_MAX && GROUP_RECORDS_MAX <= UINT16_MAX, "counts are 16 bits");
static_assert(REACTORS_MAX <= 256, "a shard's number is 8 bits in a group");

uint32_t jrn_seed(const struct segpool_geometry *geo, uint32_t segment, uint64_t epoch, uint64_t off_bytes)
{
    struct {
        struct uuid pool;
        le32 segment, zero;
        le64 epoch, off;
    } seed = {geo->pool, to_le32(segment), to_le32(0), to_le64(epoch), to_le64(off_bytes)};

    return crc32c(0, &seed, sizeof(seed));
}

bool jrn_all_zero(const void *buf, size_t len)
{
    const uint8_t *b = buf;

    return len == 0 || (b[0] == 0 && memcmp(b, b + 1, len - 1) == 0);
}

/* ---- segment header ------------------------------------------------------------------------------------------------ */

void jrn_seg_header_pack(const struct segpool_geometry *geo, uint32_t segment, const struct jrn_seg_header *h,
                         uint32_t magic, struct jrn_seg_header_raw *raw)
{
    memset(raw, 0, sizeof(*raw));
    raw->magic = to_le32(magic);
    raw->version = to_le16(JRN_VERSION);
    raw->use = to_le16(h->slots ? JRN_USE_SLOTS : JRN_USE_LOG);
    raw->pool = geo->pool;
    raw->segment = to_le32(segment);
    raw->shard = to_le32(h->shard);
    raw->stream = to_le32((uint32_t)h->stream);
    raw->align_bytes = to_le32(geo->align_bytes);
    raw->epoch = to_le64(h->epoch);
    raw->prev_epoch = to_le64(h->prev_epoch);
    raw->prev_segment = to_le32(h->prev_segment);
    raw->cut_group = to_le64(h->cut_group);
    raw->group_floor = to_le64(h->group_floor);
    raw->seq_floor = to_le64(h->seq_floor);
    raw->meta_commit_no = to_le64(h->meta_commit_no);
    raw->incompat = to_le32(h->placed ? JRN_INCOMPAT_PLACED : 0);
}

/* Nothing in it belongs to a stream. */
static bool slots_fields_valid(const struct jrn_seg_header *h)
{
    return h->stream == JOURNAL_HOST && h->prev_segment == 0 && h->prev_epoch == 0 && h->cut_group == 0 && h->group_floor == 0 &&
           !h->placed;
}

/* The newest batch that it may name. */
static uint64_t batch_max(const struct jrn_seg_header_raw *raw)
{
    return from_le16(raw->version) == 1 && from_le16(raw->use) == JRN_USE_LOG ? 0 : NUMBER_MEDIA_MAX;
}

int jrn_seg_header_unpack(const struct segpool_geometry *geo, uint32_t segment, const struct jrn_seg_header_raw *raw,
                          struct jrn_seg_header *out)
{
    if (from_le16(raw->version) == 0 || from_le16(raw->version) > JRN_VERSION ||
        (from_le32(raw->incompat) & ~JRN_INCOMPAT_PLACED) || from_le32(raw->ro_compat) ||
        (from_le16(raw->use) != JRN_USE_LOG && from_le16(raw->use) != JRN_USE_SLOTS))
        return -FIRN_E_FORMAT_VERSION;
    if (memcmp(&raw->pool, &geo->pool, sizeof(geo->pool)) || from_le32(raw->segment) != segment ||
        from_le32(raw->align_bytes) != geo->align_bytes)
        return -FIRN_E_CORRUPT;
    *out = (struct jrn_seg_header){
        .epoch = from_le64(raw->epoch),
        .shard = from_le32(raw->shard),
        .slots = from_le16(raw->use) == JRN_USE_SLOTS,
        .placed = from_le32(raw->incompat) & JRN_INCOMPAT_PLACED,
        .stream = (enum journal_stream)from_le32(raw->stream),
        .prev_segment = from_le32(raw->prev_segment),
        .prev_epoch = from_le64(raw->prev_epoch),
        .cut_group = from_le64(raw->cut_group),
        .group_floor = from_le64(raw->group_floor),
        .seq_floor = from_le64(raw->seq_floor),
        .meta_commit_no = from_le64(raw->meta_commit_no),
    };
    if (out->epoch == 0 || out->epoch > NUMBER_MEDIA_MAX || out->cut_group > NUMBER_MEDIA_MAX ||
        out->group_floor > NUMBER_MEDIA_MAX || out->shard >= geo->nr_shards || from_le32(raw->stream) >= JOURNAL_STREAM_NR ||
        out->prev_segment >= geo->nr_segments || out->prev_epoch >= out->epoch || out->seq_floor > SEQ_MEDIA_MAX ||
        out->meta_commit_no > batch_max(raw) || from_le32(raw->zero) != 0 ||
        !jrn_all_zero(raw->reserved, sizeof(raw->reserved)))
        return -FIRN_E_CORRUPT;
    return out->slots && !slots_fields_valid(out) ? -FIRN_E_CORRUPT : 0;
}

void jrn_seg_header_encode(const struct segpool_geometry *geo, uint32_t segment, const struct jrn_seg_header *h,
                           void *buf)
{
    struct jrn_seg_header_raw *raw = buf;

    memset(buf, 0, geo->head_bytes);
    jrn_seg_header_pack(geo, segment, h, JRN_MAGIC_SEGMENT, raw);
    raw->crc = to_le32(crc32c(jrn_seed(geo, segment, 0, 0), (char *)buf + 4, geo->head_bytes - 4));
}

int jrn_seg_header_decode(const struct segpool_geometry *geo, uint32_t segment, const void *buf,
                          struct jrn_seg_header *out)
{
    const struct jrn_seg_header_raw *raw = buf;

    if (from_le32(raw->magic) != JRN_MAGIC_SEGMENT ||
        from_le32(raw->crc) != crc32c(jrn_seed(geo, segment, 0, 0), (const char *)buf + 4, geo->head_bytes - 4))
        return -FIRN_E_CORRUPT;
    return jrn_seg_header_unpack(geo, segment, raw, out);
}

/* ---- records ---------------------------------------------------------------------------------------------------- */

#define NBLOCKS_MASK ((UINT64_C(1) << 37) - 1)
#define TYPE_SHIFT   56
#define PLACE_SHIFT  16 /* of a PLACED record; blocks below */

void jrn_record_encode(const struct jrn_record *r, void *buf)
{
    struct jrn_record_raw *raw = buf;

    raw->layer = to_le64(r->layer);
    raw->lba = to_le64(r->lba);
    raw->seq = to_le64(r->seq);
    raw->type_nblocks = to_le64((uint64_t)r->type << TYPE_SHIFT | r->place << PLACE_SHIFT | r->nblocks);
}

void jrn_record_unpack(const void *buf, struct jrn_record *out)
{
    const struct jrn_record_raw *raw = buf;
    uint64_t word = from_le64(raw->type_nblocks);

    *out = (struct jrn_record){
        .type = (enum journal_rec_type)(word >> TYPE_SHIFT),
        .layer = from_le64(raw->layer),
        .lba = from_le64(raw->lba),
        .nblocks = word & ~(UINT64_C(0xff) << TYPE_SHIFT),
        .seq = from_le64(raw->seq),
    };
    if (out->type == JOURNAL_PLACED) {
        out->place = out->nblocks >> PLACE_SHIFT;
        out->nblocks &= (UINT64_C(1) << PLACE_SHIFT) - 1;
    }
}

/* Whether a record's numbers can be: types, bounds, and no sum that wraps. */
bool jrn_record_valid(const void *buf)
{
    struct jrn_record r;

    jrn_record_unpack(buf, &r);
    if (r.layer == 0 || r.seq == 0 || r.seq > SEQ_MEDIA_MAX || r.nblocks == 0 || r.nblocks > (r.nblocks & NBLOCKS_MASK) ||
        r.lba > UINT64_MAX - r.nblocks)
        return false;
    switch (r.type) {
    case JOURNAL_WRITE:
    case JOURNAL_PLACED:  return r.nblocks <= JRN_GROUP_BLOCKS_MAX;
    case JOURNAL_ZERO:
    case JOURNAL_DAMAGED: return r.nblocks <= JRN_RANGE_BLOCKS_MAX;
    }
    return false;
}

bool jrn_records_valid(const uint8_t *raw, uint32_t nr_records, uint64_t nr_sums, uint32_t *nr_blocks)
{
    uint64_t sums = 0;

    *nr_blocks = 0;

    for (uint32_t i = 0; i < nr_records; i++) {
        struct jrn_record r;

        if (!jrn_record_valid(raw + i * JRN_RECORD_BYTES))
            return false;
        jrn_record_unpack(raw + i * JRN_RECORD_BYTES, &r);
        sums += jrn_record_has_sums(&r) ? r.nblocks : 0;
        *nr_blocks += r.type == JOURNAL_WRITE ? (uint32_t)r.nblocks : 0;
    }
    return sums == nr_sums;
}

void jrn_csums_encode(const uint32_t *csum, uint32_t nr, void *buf)
{
    le32 *out = buf;

    for (uint32_t i = 0; i < nr; i++)
        out[i] = to_le32(csum[i]);
}

void jrn_csums_unpack(const uint8_t *raw, uint32_t first, uint32_t nr, uint32_t *out)
{
    const le32 *in = (const void *)raw;

    for (uint32_t i = 0; i < nr; i++)
        out[i] = from_le32(in[first + i]);
}

/* ---- groups ----------------------------------------------------------------------------------------------------- */

void jrn_group_encode(const struct segpool_geometry *geo, uint32_t segment, uint64_t off_bytes, struct jrn_group *g,
                      void *buf)
{
    struct jrn_fixed_raw *raw = buf;
    uint32_t bytes = jrn_group_header_bytes(g->nr_records, g->nr_echo, g->nr_sums);

    memset((char *)buf + bytes, 0, jrn_group_padded_bytes(geo, g) - bytes);
    raw->magic = to_le32(JRN_MAGIC_GROUP);
    raw->number = to_le64(g->number);
    raw->epoch = to_le64(g->epoch);
    raw->durable_group = to_le64(g->durable_group);
    raw->durable_seq = to_le64(g->durable_seq);
    raw->meta_commit_no = to_le64(g->meta_commit_no);
    raw->nr_records = to_le16((uint16_t)g->nr_records);
    raw->nr_echo = to_le16((uint16_t)g->nr_echo);
    raw->nr_sums = to_le16((uint16_t)g->nr_sums);
    raw->shard = (uint8_t)g->shard;
    raw->stream = (uint8_t)g->stream;
    raw->index = to_le32(g->index);
    raw->prev_crc = to_le32(g->prev_crc);
    g->crc = crc32c(jrn_seed(geo, segment, g->epoch, off_bytes), (char *)buf + 4, bytes - 4);
    raw->crc = to_le32(g->crc);
    g->raw = buf;
}

bool jrn_group_magic(const void *buf)
{
    const struct jrn_fixed_raw *raw = buf;

    return from_le32(raw->magic) == JRN_MAGIC_GROUP;
}

uint64_t jrn_group_epoch_peek(const void *buf)
{
    const struct jrn_fixed_raw *raw = buf;

    return from_le64(raw->epoch);
}

static void fixed_unpack(const struct jrn_fixed_raw *raw, struct jrn_group *out)
{
    *out = (struct jrn_group){
        .number = from_le64(raw->number),
        .epoch = from_le64(raw->epoch),
        .durable_group = from_le64(raw->durable_group),
        .durable_seq = from_le64(raw->durable_seq),
        .meta_commit_no = from_le64(raw->meta_commit_no),
        .index = from_le32(raw->index),
        .nr_records = from_le16(raw->nr_records),
        .nr_echo = from_le16(raw->nr_echo),
        .nr_sums = from_le16(raw->nr_sums),
        .shard = raw->shard,
        .stream = (enum journal_stream)raw->stream,
        .prev_crc = from_le32(raw->prev_crc),
        .crc = from_le32(raw->crc),
        .raw = (const uint8_t *)raw,
    };
}

/* Sizes first: they say how far the checksum reaches. */
static bool group_sizes_valid(const struct jrn_group *g, size_t len)
{
    return g->nr_records != 0 && g->nr_records <= GROUP_RECORDS_MAX && g->nr_echo <= GROUP_RECORDS_MAX &&
           g->nr_sums <= JRN_GROUP_BLOCKS_MAX && jrn_group_header_bytes(g->nr_records, g->nr_echo, g->nr_sums) <= len;
}

static bool group_lies_inside(const struct segpool_geometry *geo, const struct jrn_group *g, uint64_t off_bytes)
{
    uint64_t end = off_bytes + jrn_group_padded_bytes(geo, g) + (uint64_t)g->nr_blocks * BLOCK_BYTES;

    return off_bytes >= JRN_SEG_HEADER_BYTES && end <= jrn_footer_off(geo);
}

static bool group_fields_valid(const struct segpool_geometry *geo, const struct jrn_group *g)
{
    return g->epoch != 0 && g->epoch <= NUMBER_MEDIA_MAX && g->number != 0 && g->number <= NUMBER_MEDIA_MAX &&
           g->index < g->number && g->durable_group < g->number && g->durable_seq <= SEQ_MEDIA_MAX &&
           g->meta_commit_no <= NUMBER_MEDIA_MAX &&
           g->shard < geo->nr_shards && (uint32_t)g->stream < JOURNAL_STREAM_NR;
}

int jrn_group_decode(const struct segpool_geometry *geo, uint32_t segment, uint64_t off_bytes, const void *buf,
                     size_t len, struct jrn_group *out)
{
    uint64_t echo_blocks = 0;

    if (len < JRN_FIXED_BYTES || !jrn_group_magic(buf))
        return -FIRN_E_CORRUPT;
    fixed_unpack(buf, out);
    if (!group_sizes_valid(out, len))
        return -FIRN_E_CORRUPT;
    if (out->crc != crc32c(jrn_seed(geo, segment, out->epoch, off_bytes), (const char *)buf + 4,
                           jrn_group_header_bytes(out->nr_records, out->nr_echo, out->nr_sums) - 4))
        return -FIRN_E_CORRUPT;
    if (!group_fields_valid(geo, out) || !jrn_records_valid(jrn_group_body(out), out->nr_records, out->nr_sums, &out->nr_blocks) ||
        !group_lies_inside(geo, out, off_bytes))
        return -FIRN_E_CORRUPT;
    for (uint32_t i = 0; i < out->nr_echo; i++) {
        struct jrn_record r;

        if (!jrn_record_valid(jrn_group_echo_bytes(out) + i * JRN_RECORD_BYTES))
            return -FIRN_E_CORRUPT;
        jrn_group_echo(out, i, &r);
        echo_blocks += jrn_record_has_sums(&r) ? r.nblocks : 0;
    }
    return echo_blocks <= JRN_GROUP_BLOCKS_MAX ? 0 : -FIRN_E_CORRUPT;
}

const uint8_t *jrn_group_body(const struct jrn_group *g) { return g->raw + JRN_FIXED_BYTES; }

const uint8_t *jrn_group_echo_bytes(const struct jrn_group *g)
{
    return jrn_group_body(g) + g->nr_records * JRN_RECORD_BYTES + g->nr_sums * 4u;
}

void jrn_group_record(const struct jrn_group *g, uint32_t i, struct jrn_record *out)
{
    assert(i < g->nr_records);
    jrn_record_unpack(jrn_group_body(g) + i * JRN_RECORD_BYTES, out);
}

void jrn_group_echo(const struct jrn_group *g, uint32_t i, struct jrn_record *out)
{
    assert(i < g->nr_echo);
    jrn_record_unpack(jrn_group_echo_bytes(g) + i * JRN_RECORD_BYTES, out);
}

void jrn_group_csums(const struct jrn_group *g, uint32_t first, uint32_t nr, uint32_t *out)
{
    assert(first + nr <= g->nr_sums);
    jrn_csums_unpack(jrn_group_body(g) + g->nr_records * JRN_RECORD_BYTES, first, nr, out);
}
