/* SPDX-License-Identifier: Apache-2.0 */
/* recover_verify.c: the newest payload of each stream is read back at every start. Elsewhere the reader finds out block by
 * block, perhaps in a year; but what a device lost although it had called it safe is among the newest, and the owner can say
 * so at once.
 *
 * From the newest segment back, the summaries name groups, blocks and checksums; VERIFY_BYTES of payload are compared.
 * Failures: blocks that differ, or cannot be read, are counted; the records stay as they are.
 */
#include "base/crc32c.h"
#include "journal/priv.h"

#define VERIFY_BYTES (16 * MIB) /* a stream; a fraction of a second */

/* Each block of the group is counted that is not what was written. */
static int verify_entry(struct recovery *r, const struct rseg *s, const struct jrn_entry *e)
{
    uint64_t off = ((uint64_t)e->unit + e->header_units) * JOURNAL_UNIT_BYTES;
    uint64_t bad = e->nr_blocks;

    jrn_entry_csums(e, 0, e->nr_sums, r->csum);
    for (uint32_t i = 0; i < JRN_READS && bad != 0; i++) {
        const uint8_t *block = r->buf;
        bool unreadable;
        uint32_t n = 0;
        int err = read_soft(r->j->dev, segment_base(&r->j->geo, s->segment) + off, r->buf, (size_t)e->nr_blocks * BLOCK_BYTES,
                            &unreadable);

        if (err)
            return err;
        bad = 0;
        for (uint32_t k = 0; k < e->nr_records; k++) {
            struct jrn_record rec;

            jrn_entry_record(e, k, &rec);
            n += rec.type == JOURNAL_PLACED ? (uint32_t)rec.nblocks : 0;
            for (uint64_t b = 0; rec.type == JOURNAL_WRITE && b < rec.nblocks; b++, n++, block += BLOCK_BYTES)
                bad += block_csum(block, rec.layer, rec.lba + b) != r->csum[n];
        }
    }
    r->report->blocks_bad += bad;
    return 0;
}

/* Payload of the groups that count. verify: all but the first `skip` bytes of it are compared. */
static int walk(struct recovery *r, const struct rseg *s, const uint8_t *summary, size_t len, bool verify, uint64_t skip,
                uint64_t *bytes)
{
    uint64_t number = s->sealed ? s->foot.first_group : s->sum.first_group;
    size_t pos = 0;
    int err = 0;

    *bytes = 0;
    while (pos < len && !err && number < s->cut) {
        struct jrn_entry e;

        err = jrn_entry_decode(&r->j->geo, summary, len, &pos, &e);
        if (err)
            return err;
        number += e.nr_groups;
        if (e.kind != JRN_ENTRY_KEPT)
            continue;
        *bytes += (uint64_t)e.nr_blocks * BLOCK_BYTES;
        if (verify && *bytes > skip && e.nr_blocks > 0)
            err = verify_entry(r, s, &e);
    }
    return err;
}

static int verify_segment(struct recovery *r, const struct rseg *s, uint64_t *left)
{
    const uint8_t *summary = s->sealed ? r->summary : s->sum.buf;
    size_t len = s->sealed ? (size_t)s->foot.summary_bytes : s->sum.len;
    uint64_t bytes = 0;
    int err = s->sealed ? rseg_read_summary(r, s) : 0;

    if (!err)
        err = walk(r, s, summary, len, false, 0, &bytes);
    if (!err)
        err = walk(r, s, summary, len, true, bytes > *left ? bytes - *left : 0, &bytes);
    *left -= MIN(*left, bytes);
    return err;
}

int recover_verify(struct recovery *r)
{
    uint64_t left[JOURNAL_STREAM_NR] = {VERIFY_BYTES, VERIFY_BYTES};
    int err = 0;

    for (uint32_t i = r->nr_segs; i-- > 0 && !err;) {
        const struct rseg *s = &r->segs[i];

        if (!rseg_empty(s) && left[s->stream] > 0)
            err = verify_segment(r, s, &left[s->stream]);
    }
    return err;
}
