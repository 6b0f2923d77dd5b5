/* SPDX-License-Identifier: Apache-2.0 */
/* format_raw.h: the structures on the medium, little-endian. For format.c and summary.c alone. */
#ifndef FIRN_JOURNAL_FORMAT_RAW_H
#define FIRN_JOURNAL_FORMAT_RAW_H

#include "journal/format.h"

#define JRN_MAGIC_SEGMENT 0x534e5246u /* "FRNS" */
#define JRN_MAGIC_GROUP   0x474e5246u /* "FRNG" */
#define JRN_MAGIC_FOOTER  0x464e5246u /* "FRNF" */
#define JRN_USE_LOG       1u          /* other uses of a segment get other numbers */
#define JRN_USE_SLOTS     2u          /* copies of blocks that lie elsewhere too: tier/FORMAT.md */
#define JRN_INCOMPAT_PLACED 1u        /* records of type 4 may stand in the segment */

struct jrn_seg_header_raw {
    le32 crc;                         /* of the bytes behind it, to head_bytes, seeded with pool and segment */
    le32 magic;
    le16 version, use;
    le32 segment;
    struct uuid pool;
    le32 shard, stream, align_bytes;
    le32 compat, ro_compat, incompat; /* feature bits: ignore; refuse to write; refuse */
    le64 epoch;
    le64 prev_epoch;
    le32 prev_segment, zero;
    le64 cut_group;
    le64 group_floor;
    le64 seq_floor;
    le64 meta_commit_no;
    uint8_t reserved[16];
} __attribute__((packed));

struct jrn_fixed_raw {
    le32 crc;                         /* of the header behind it, padding left out; seeded with pool, segment, epoch, offset */
    le32 magic;
    le64 number;
    le64 epoch;
    le64 durable_group;
    le64 durable_seq;
    le64 meta_commit_no;
    le16 nr_records, nr_echo, nr_sums;
    uint8_t shard, stream;
    le32 index;
    le32 prev_crc;
} __attribute__((packed));

struct jrn_record_raw {
    le64 layer;
    le64 lba;
    le64 seq;
    le64 type_nblocks;                /* type in the top 8 bits, blocks in the low 37, zeros between;
                                       * PLACED: blocks in the low 16, place above */
} __attribute__((packed));

struct jrn_entry_raw {
    le32 unit;
    le16 header_units, nr_records, nr_sums, kind;
    le32 nr_groups;
} __attribute__((packed));

struct jrn_footer_raw {
    struct jrn_seg_header_raw head;   /* its crc covers the whole footer; magic is the footer's */
    le64 summary_off;
    le64 summary_bytes;
    le32 summary_crc, nr_entries;
    le64 first_group, nr_groups;
    le64 seq_min, seq_max;
    le64 end_off;
    le64 meta_commit_no;
    uint8_t reserved[56];
} __attribute__((packed));

uint32_t jrn_seed(const struct segpool_geometry *geo, uint32_t segment, uint64_t epoch, uint64_t off_bytes);
bool jrn_all_zero(const void *buf, size_t len);
void jrn_seg_header_pack(const struct segpool_geometry *geo, uint32_t segment, const struct jrn_seg_header *h,
                         uint32_t magic, struct jrn_seg_header_raw *raw);
int  jrn_seg_header_unpack(const struct segpool_geometry *geo, uint32_t segment, const struct jrn_seg_header_raw *raw,
                           struct jrn_seg_header *out);
void jrn_record_unpack(const void *buf, struct jrn_record *out);
bool jrn_record_valid(const void *buf);
/* All valid, and with so many checksums between them; *nr_blocks: of payload. */
bool jrn_records_valid(const uint8_t *raw, uint32_t nr_records, uint64_t nr_sums, uint32_t *nr_blocks);
void jrn_csums_unpack(const uint8_t *raw, uint32_t first, uint32_t nr, uint32_t *out);

#endif
