/* SPDX-License-Identifier: Apache-2.0 */
/* summary.c: what a sealed segment says of itself at its end: an entry for each group, and a footer. Also the printers. */
#include "base/crc32c.h"
#include "journal/format.h"
#include "journal/format_raw.h"

#include <inttypes.h>

static_assert(sizeof(struct jrn_entry_raw) == JRN_ENTRY_BYTES, "summary entry");
static_assert(sizeof(struct jrn_footer_raw) == 256, "the footer's used part lies in one 512-byte sector");

/* The footer's checksum takes another seed than the header's, so that neither passes for the other. */
#define FOOTER_SEED_OFF UINT64_C(0xf007e4)
#define SUMMARY_SEED_OFF UINT64_C(0x50bba4)

uint32_t jrn_entry_encode(const struct jrn_entry *e, const uint8_t *body, void *buf)
{
    struct jrn_entry_raw *raw = buf;
    uint32_t bytes = jrn_entry_bytes(e->nr_records, e->nr_sums);

    raw->unit = to_le32(e->unit);
    raw->header_units = to_le16((uint16_t)e->header_units);
    raw->nr_records = to_le16((uint16_t)e->nr_records);
    raw->nr_sums = to_le16((uint16_t)e->nr_sums);
    raw->kind = to_le16((uint16_t)e->kind);
    raw->nr_groups = to_le32(e->nr_groups);
    if (bytes > JRN_ENTRY_BYTES)
        memcpy((char *)buf + JRN_ENTRY_BYTES, body, bytes - JRN_ENTRY_BYTES);
    return bytes;
}

static bool kept_valid(const struct segpool_geometry *geo, struct jrn_entry *e)
{
    uint64_t end;

    if (e->nr_records == 0 || e->nr_groups != 1 || !jrn_records_valid(e->raw, e->nr_records, e->nr_sums, &e->nr_blocks))
        return false;
    end = ((uint64_t)e->unit + e->header_units) * JOURNAL_UNIT_BYTES + (uint64_t)e->nr_blocks * BLOCK_BYTES;
    return end <= jrn_footer_off(geo) && (uint64_t)e->unit * JOURNAL_UNIT_BYTES >= JRN_SEG_HEADER_BYTES;
}

static bool damaged_valid(const struct jrn_entry *e)
{
    for (uint32_t i = 0; i < e->nr_records; i++)
        if (!jrn_record_valid(e->raw + i * JRN_RECORD_BYTES))
            return false;
    return e->nr_records != 0 && e->nr_sums == 0 && e->nr_groups == 1;
}

static bool entry_valid(const struct segpool_geometry *geo, struct jrn_entry *e)
{
    if ((uint64_t)e->unit * JOURNAL_UNIT_BYTES > geo->segment_bytes)
        return false;
    switch (e->kind) {
    case JRN_ENTRY_KEPT:    return kept_valid(geo, e);
    case JRN_ENTRY_DAMAGED: return damaged_valid(e);
    case JRN_ENTRY_LOST:    return e->nr_records == 0 && e->nr_sums == 0 && e->nr_groups != 0;
    }
    return false;
}

int jrn_entry_decode(const struct segpool_geometry *geo, const void *summary, size_t len, size_t *pos,
                     struct jrn_entry *out)
{
    const struct jrn_entry_raw *raw = (const void *)((const char *)summary + *pos);
    uint32_t bytes;

    if (*pos > len || len - *pos < JRN_ENTRY_BYTES)
        return -FIRN_E_CORRUPT;
    *out = (struct jrn_entry){
        .kind = (enum jrn_entry_kind)from_le16(raw->kind),
        .unit = from_le32(raw->unit),
        .header_units = from_le16(raw->header_units),
        .nr_records = from_le16(raw->nr_records),
        .nr_sums = from_le16(raw->nr_sums),
        .nr_groups = from_le32(raw->nr_groups),
        .raw = (const uint8_t *)raw + JRN_ENTRY_BYTES,
    };
    if (out->nr_records > GROUP_RECORDS_MAX || out->nr_sums > JRN_GROUP_BLOCKS_MAX)
        return -FIRN_E_CORRUPT;
    bytes = jrn_entry_bytes(out->nr_records, out->nr_sums);
    if (bytes > len - *pos || !entry_valid(geo, out))
        return -FIRN_E_CORRUPT;
    *pos += bytes;
    return 0;
}

void jrn_entry_record(const struct jrn_entry *e, uint32_t i, struct jrn_record *out)
{
    assert(i < e->nr_records);
    jrn_record_unpack(e->raw + i * JRN_RECORD_BYTES, out);
}

void jrn_entry_csums(const struct jrn_entry *e, uint32_t first, uint32_t nr, uint32_t *out)
{
    assert(first + nr <= e->nr_sums);
    jrn_csums_unpack(e->raw + e->nr_records * JRN_RECORD_BYTES, first, nr, out);
}

uint32_t jrn_summary_crc(const struct segpool_geometry *geo, uint32_t segment, uint64_t epoch, const void *summary,
                         size_t len)
{
    return crc32c(jrn_seed(geo, segment, epoch, SUMMARY_SEED_OFF), summary, len);
}

static uint32_t footer_crc(const struct segpool_geometry *geo, uint32_t segment, const void *buf)
{
    return crc32c(jrn_seed(geo, segment, 0, FOOTER_SEED_OFF), (const char *)buf + 4, geo->head_bytes - 4);
}

void jrn_footer_encode(const struct segpool_geometry *geo, uint32_t segment, const struct jrn_footer *f, void *buf)
{
    struct jrn_footer_raw *raw = buf;

    memset(buf, 0, geo->head_bytes);
    jrn_seg_header_pack(geo, segment, &f->head, JRN_MAGIC_FOOTER, &raw->head);
    raw->summary_off = to_le64(f->summary_off);
    raw->summary_bytes = to_le64(f->summary_bytes);
    raw->summary_crc = to_le32(f->summary_crc);
    raw->nr_entries = to_le32(f->nr_entries);
    raw->first_group = to_le64(f->first_group);
    raw->nr_groups = to_le64(f->nr_groups);
    raw->seq_min = to_le64(f->seq_min);
    raw->seq_max = to_le64(f->seq_max);
    raw->end_off = to_le64(f->end_off);
    raw->meta_commit_no = to_le64(f->meta_commit_no);
    raw->head.crc = to_le32(footer_crc(geo, segment, buf));
}

static bool footer_fields_valid(const struct segpool_geometry *geo, const struct jrn_footer *f)
{
    uint64_t limit = jrn_footer_off(geo);

    return f->end_off >= JRN_SEG_HEADER_BYTES && f->end_off <= f->summary_off && f->summary_off <= limit &&
           f->summary_bytes <= limit - f->summary_off && f->seq_min <= f->seq_max && f->seq_max <= SEQ_MEDIA_MAX &&
           f->nr_groups != 0 && f->nr_entries != 0 && f->nr_entries <= f->nr_groups && f->first_group != 0 &&
           f->first_group >= f->head.cut_group && f->meta_commit_no <= NUMBER_MEDIA_MAX &&
           f->nr_groups <= NUMBER_MEDIA_MAX && f->first_group <= NUMBER_MEDIA_MAX - f->nr_groups && f->summary_off % geo->align_bytes == 0;
}

int jrn_footer_decode(const struct segpool_geometry *geo, uint32_t segment, const void *buf, struct jrn_footer *out)
{
    const struct jrn_footer_raw *raw = buf;
    int err;

    if (from_le32(raw->head.magic) != JRN_MAGIC_FOOTER || from_le32(raw->head.crc) != footer_crc(geo, segment, buf))
        return -FIRN_E_CORRUPT;
    *out = (struct jrn_footer){
        .summary_off = from_le64(raw->summary_off),
        .summary_bytes = from_le64(raw->summary_bytes),
        .summary_crc = from_le32(raw->summary_crc),
        .nr_entries = from_le32(raw->nr_entries),
        .first_group = from_le64(raw->first_group),
        .nr_groups = from_le64(raw->nr_groups),
        .seq_min = from_le64(raw->seq_min),
        .seq_max = from_le64(raw->seq_max),
        .end_off = from_le64(raw->end_off),
        .meta_commit_no = from_le64(raw->meta_commit_no),
    };
    err = jrn_seg_header_unpack(geo, segment, &raw->head, &out->head);
    if (err)
        return err;
    return !out->head.slots && footer_fields_valid(geo, out) && jrn_all_zero(raw->reserved, sizeof(raw->reserved)) ? 0 : -FIRN_E_CORRUPT;
}

/* ---- printers ------------------------------------------------------------------------------------------------------ */

static const char *stream_name(enum journal_stream s) { return s == JOURNAL_HOST ? "host" : "moves"; }

void jrn_seg_header_print(struct strbuf *out, const struct jrn_seg_header *h)
{
    strbuf_add(out, "epoch %" PRIu64 " shard %" PRIu32, h->epoch, h->shard);
    if (h->slots) {
        strbuf_add(out, " slots, batch %" PRIu64, h->meta_commit_no);
        return;
    }
    strbuf_add(out, " stream %s", stream_name(h->stream));
    if (h->prev_epoch)
        strbuf_add(out, " after segment %" PRIu32 " epoch %" PRIu64, h->prev_segment, h->prev_epoch);
    if (h->cut_group)
        strbuf_add(out, " cut at group %" PRIu64, h->cut_group);
}

void jrn_footer_print(struct strbuf *out, const struct jrn_footer *f)
{
    strbuf_add(out, "sealed epoch %" PRIu64 " groups %" PRIu64 "..%" PRIu64 " seq %" PRIu64 "..%" PRIu64
               " end %" PRIu64 " summary %" PRIu64 "+%" PRIu64, f->head.epoch, f->first_group,
               f->first_group + f->nr_groups - 1, f->seq_min, f->seq_max, f->end_off, f->summary_off, f->summary_bytes);
}

void jrn_group_print(struct strbuf *out, const struct jrn_group *g)
{
    strbuf_add(out, "group %" PRIu64 " epoch %" PRIu64 " %s records %" PRIu32 " blocks %" PRIu32 " durable_group %" PRIu64
               " durable_seq %" PRIu64 " meta %" PRIu64, g->number, g->epoch, stream_name(g->stream), g->nr_records,
               g->nr_blocks, g->durable_group, g->durable_seq, g->meta_commit_no);
}

void jrn_record_print(struct strbuf *out, const struct jrn_record *r)
{
    static const char *const names[] = {[JOURNAL_WRITE] = "write", [JOURNAL_ZERO] = "zero", [JOURNAL_DAMAGED] = "damaged",
                                        [JOURNAL_PLACED] = "placed"};

    strbuf_add(out, "%s layer %" PRIu64 " lba %" PRIu64 "+%" PRIu64 " seq %" PRIu64, names[r->type], r->layer, r->lba, r->nblocks,
               r->seq);
    if (r->type == JOURNAL_PLACED)
        strbuf_add(out, " at %#" PRIx64, r->place);
}
