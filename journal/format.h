/* SPDX-License-Identifier: Apache-2.0 */
/* format.h: the bytes journal/ keeps on its device: segment headers, commit groups, summaries, footers. Pure: no I/O, no
 * allocation; shared by the daemon, the simulator, fuzzers, check and dump. FORMAT.md is the prose.
 *
 * Decoders validate everything before they return host order; nothing else in the tree reads le members of these bytes.
 * 0; -FIRN_E_CORRUPT: not such a structure, or damaged; -FIRN_E_FORMAT_VERSION: whole, but newer than this program.
 */
#ifndef FIRN_JOURNAL_FORMAT_H
#define FIRN_JOURNAL_FORMAT_H

#include "base/strbuf.h"
#include "journal/journal.h"

#define JRN_VERSION          2u    /* written; 1 is read too: there the log's headers have no meta_commit_no */
/* The header's checksum, and its write, end at the geometry's head_bytes. What follows, to where groups begin, is never looked at: a
 * spot of 4096 bytes that cannot be read takes the header or the first group, not both. */
#define JRN_SEG_HEADER_BYTES 4096u /* of a segment are left to its header; groups follow */
#define JRN_FOOTER_MAX       4096u /* head_bytes at most: the end of a segment; the summary ends where the footer begins */
#define JRN_FIXED_BYTES      64u   /* fixed part of a group header */
#define JRN_RECORD_BYTES     32u
#define JRN_ENTRY_BYTES      16u   /* of a summary: one for each group */
#define JRN_GROUP_BLOCKS_MAX (GROUP_BYTES_MAX / BLOCK_BYTES)
#define JRN_RANGE_BLOCKS_MAX (UINT64_C(1) << 36) /* of a ZERO or DAMAGED record */
/* The longest group header, padded to the coarsest alignment. */
#define JRN_GROUP_HEADER_MAX \
    ROUND_UP(JRN_FIXED_BYTES + 2u * GROUP_RECORDS_MAX * JRN_RECORD_BYTES + 4u * JRN_GROUP_BLOCKS_MAX, 4096u)

/* ---- the segment header: written durably before the first group, or place, behind it ------------------------------ */

struct jrn_seg_header {
    uint64_t epoch;        /* pool-wide, rising, never used twice */
    uint32_t shard;
    bool     slots;        /* not a segment of the log: of all below it has seq_floor and meta_commit_no alone */
    enum journal_stream stream;
    uint32_t prev_segment; /* the segment before this one in its stream; prev_epoch 0: none */
    uint64_t prev_epoch;
    uint64_t cut_group;    /* first group here; groups from this number on in older segments of the stream were dropped by
                            * recovery. 0: opened ahead of need, nothing was cut */
    uint64_t group_floor;  /* the stream's next group number when this was written */
    uint64_t seq_floor;    /* HOST: no record here, or in older segments of the shard, has a higher seq */
    uint64_t meta_commit_no; /* the newest metadata batch known committed. 0: none */
    bool     placed;       /* PLACED records may stand in it */
};

void jrn_seg_header_encode(const struct segpool_geometry *geo, uint32_t segment, const struct jrn_seg_header *h,
                           void *buf /* head_bytes */);
int  jrn_seg_header_decode(const struct segpool_geometry *geo, uint32_t segment, const void *buf,
                           struct jrn_seg_header *out);

/* ---- a commit group: header {fixed part, records, block checksums, echo}, padding, payload ------------------------- */

struct jrn_record {
    enum journal_rec_type type;
    uint64_t layer, lba, nblocks, seq;
    uint64_t place;        /* PLACED; else 0 */
};
/* Its blocks have checksums beside it. */
static inline bool jrn_record_has_sums(const struct jrn_record *r) { return r->type == JOURNAL_WRITE || r->type == JOURNAL_PLACED; }

struct jrn_group {
    uint64_t number;         /* +1 for each group of a stream, across segments; from 1 */
    uint64_t epoch;          /* of the segment */
    uint64_t durable_group;  /* the highest group of this stream known durable when this one was built */
    uint64_t durable_seq;    /* of the shard, likewise */
    uint64_t meta_commit_no; /* the newest metadata batch known committed, likewise */
    uint32_t index;          /* groups before this one in the segment */
    uint32_t nr_records, nr_echo;
    uint32_t nr_sums;        /* checksums: of payload, and of what PLACED records name */
    uint32_t nr_blocks;      /* of payload; decoded: as the WRITE records say. Not encoded */
    uint32_t shard;
    enum journal_stream stream;
    uint32_t prev_crc;       /* of the previous group's header: chains them; 0 after recovery */
    uint32_t crc;            /* out */
    const uint8_t *raw;      /* decoded: the header's bytes; records, checksums and echo are read from there */
};

static inline uint32_t jrn_group_header_bytes(uint32_t nr_records, uint32_t nr_echo, uint32_t nr_sums)
{
    return JRN_FIXED_BYTES + JRN_RECORD_BYTES * (nr_records + nr_echo) + 4u * nr_sums;
}
static inline uint32_t jrn_group_padded_bytes(const struct segpool_geometry *geo, const struct jrn_group *g)
{
    return ROUND_UP(jrn_group_header_bytes(g->nr_records, g->nr_echo, g->nr_sums), geo->align_bytes);
}

/* Building: records, checksums and echo go to their places first, then the fixed part seals them. buf is padded with
 * zeros; it holds JRN_GROUP_HEADER_MAX bytes. */
void jrn_record_encode(const struct jrn_record *r, void *buf /* JRN_RECORD_BYTES */);
void jrn_csums_encode(const uint32_t *csum, uint32_t nr, void *buf);
void jrn_group_encode(const struct segpool_geometry *geo, uint32_t segment, uint64_t off_bytes, struct jrn_group *g,
                      void *buf);

/* buf: len bytes from off_bytes of the segment. The group's own epoch is in *out: whether it is the segment's is the
 * caller's question. */
int  jrn_group_decode(const struct segpool_geometry *geo, uint32_t segment, uint64_t off_bytes, const void *buf,
                      size_t len, struct jrn_group *out);
bool jrn_group_magic(const void *buf); /* four bytes: cheap first look when searching */
uint64_t jrn_group_epoch_peek(const void *buf); /* of a header that may be torn: for counting, never for deciding */
void jrn_group_record(const struct jrn_group *g, uint32_t i, struct jrn_record *out);
void jrn_group_echo(const struct jrn_group *g, uint32_t i, struct jrn_record *out);
void jrn_group_csums(const struct jrn_group *g, uint32_t first, uint32_t nr, uint32_t *out);
/* Records and checksums lie together: what a summary repeats. */
const uint8_t *jrn_group_body(const struct jrn_group *g);
const uint8_t *jrn_group_echo_bytes(const struct jrn_group *g);

/* ---- the summary of a sealed segment ----------------------------------------------------------------------------- */

enum jrn_entry_kind {
    JRN_ENTRY_KEPT = 0,    /* a whole group: its records and checksums follow */
    JRN_ENTRY_DAMAGED = 1, /* its header was lost below the durable mark; its ranges follow, from the echo */
    JRN_ENTRY_LOST = 2,    /* groups lost without a name; an operator went on with --accept-loss */
};

struct jrn_entry {
    enum jrn_entry_kind kind;
    uint32_t unit;         /* of the group's header */
    uint32_t header_units; /* KEPT: payload begins so far behind it */
    uint32_t nr_records;
    uint32_t nr_sums, nr_blocks; /* as of the group */
    uint32_t nr_groups;    /* 1; LOST: how many */
    const uint8_t *raw;    /* decoded: records, then checksums */
};

static inline uint32_t jrn_entry_bytes(uint32_t nr_records, uint32_t nr_sums)
{
    return JRN_ENTRY_BYTES + JRN_RECORD_BYTES * nr_records + 4u * nr_sums;
}
/* body: records and checksums in the format of a group header. Returns the bytes written. */
uint32_t jrn_entry_encode(const struct jrn_entry *e, const uint8_t *body, void *buf);
/* Reads the entry at *pos of a summary of len bytes and moves *pos behind it. */
int  jrn_entry_decode(const struct segpool_geometry *geo, const void *summary, size_t len, size_t *pos,
                      struct jrn_entry *out);
void jrn_entry_record(const struct jrn_entry *e, uint32_t i, struct jrn_record *out);
void jrn_entry_csums(const struct jrn_entry *e, uint32_t first, uint32_t nr, uint32_t *out);
uint32_t jrn_summary_crc(const struct segpool_geometry *geo, uint32_t segment, uint64_t epoch, const void *summary,
                         size_t len);

static inline uint64_t jrn_footer_off(const struct segpool_geometry *geo) { return geo->segment_bytes - geo->head_bytes; }

struct jrn_footer {
    struct jrn_seg_header head; /* repeats the segment header: either can stand in for the other */
    uint64_t summary_off;       /* bytes from the segment's start */
    uint64_t summary_bytes;
    uint32_t summary_crc;
    uint32_t nr_entries;
    uint64_t first_group, nr_groups; /* groups [first, first + nr) are durable, or known lost */
    uint64_t seq_min, seq_max;       /* of the records inside; 0: none */
    uint64_t end_off;                /* behind the last group */
    uint64_t meta_commit_no;         /* highest in any group here */
};

void jrn_footer_encode(const struct segpool_geometry *geo, uint32_t segment, const struct jrn_footer *f,
                       void *buf /* head_bytes */);
int  jrn_footer_decode(const struct segpool_geometry *geo, uint32_t segment, const void *buf, struct jrn_footer *out);

/* ---- printers ------------------------------------------------------------------------------------------------------ */

void jrn_seg_header_print(struct strbuf *out, const struct jrn_seg_header *h);
void jrn_footer_print(struct strbuf *out, const struct jrn_footer *f);
void jrn_group_print(struct strbuf *out, const struct jrn_group *g);
void jrn_record_print(struct strbuf *out, const struct jrn_record *r);

#endif
