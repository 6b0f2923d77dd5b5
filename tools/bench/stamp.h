/* SPDX-License-Identifier: Apache-2.0 */
/* stamp.h: what a verified write puts into every unit (a 4 KiB block; 512 bytes for smaller writes): who wrote it,
 * where it belongs, which write it was, and a checksum over all of it. Pure. Bytes: FORMAT.md. */
#ifndef FIRN_BENCH_STAMP_H
#define FIRN_BENCH_STAMP_H

#include "base/types.h"

struct stamp_bytes {
    char    magic[8];
    uint8_t nguid[16];   /* the namespace's: a unit of another volume is foreign */
    le64    unit;        /* offset in the namespace, in units */
    le64    write_id;
    le32    generation;  /* run of firn-bench over this log, from 1 */
    le32    unit_bytes;
    le64    log_id;      /* of the log that knows this write */
    le32    rsvd;        /* zero */
    le32    crc;         /* CRC32C of the whole unit with this field zero */
};
static_assert(sizeof(struct stamp_bytes) == 64, "one cache line");

struct stamp {
    uint8_t  nguid[16];
    uint64_t unit, write_id, log_id;
    uint32_t generation;
};

enum stamp_verdict {
    STAMP_WHOLE,  /* verifies; `out` is filled */
    STAMP_ZEROS,  /* every byte is zero */
    STAMP_TORN,   /* carries our magic and does not verify: parts of several writes, or rot */
    STAMP_ALIEN,  /* neither ours nor zeros */
};

void stamp_fill(void *unit_buf, uint32_t unit_bytes, const struct stamp *s);
enum stamp_verdict stamp_read(const void *unit_buf, uint32_t unit_bytes, struct stamp *out);
const char *stamp_verdict_name(enum stamp_verdict v);

#endif
