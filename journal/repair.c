/* SPDX-License-Identifier: Apache-2.0 */
/* repair.c: what opening writes after replay.
 *
 * 1. A flush: what replay read, and what the owner now relies on, is durable.
 * 2. Groups that were dropped are erased (their headers become zeros), so that they never come back, whatever rots later.
 * 3. Segments without a summary get one, in the order of epochs; damaged headers are written again.
 * 4. Segments with nothing in them go back to the pool.
 * Idempotent: after a crash at any of these writes, replay comes to the same records: a dropped group is above the durable
 * mark and stays so, a summary is whole or ignored.
 */
#include "journal/priv.h"

static int erase_dropped(struct recovery *r, const struct rseg *s)
{
    struct journal *j = r->j;
    int err = 0;

    memset(r->buf, 0, j->geo.align_bytes);
    for (uint32_t i = 0; i < s->nr_drop && !err; i++)
        err = dev_write_sync(j->dev, segment_base(&j->geo, s->segment) + s->drop[i], r->buf, j->geo.align_bytes, DEV_DSYNC);
    return err;
}

static int write_header(struct recovery *r, const struct rseg *s)
{
    struct journal *j = r->j;

    jrn_seg_header_encode(&j->geo, s->segment, &s->head, r->buf);
    return dev_write_sync(j->dev, segment_base(&j->geo, s->segment), r->buf, JRN_SEG_HEADER_BYTES, DEV_DSYNC);
}

static int write_summary(struct recovery *r, struct rseg *s)
{
    struct journal *j = r->j;
    uint64_t off;
    size_t bytes;
    int err = summary_finish(&s->sum, &j->geo, s->segment, &s->head, s->end_off, &off, &bytes);

    if (err) {
        log_error("no room for a journal segment's summary", "segment=%" PRIu32 " end=%" PRIu64, s->segment, s->end_off);
        return err;
    }
    j->stats.header_bytes += bytes;
    return dev_write_sync(j->dev, segment_base(&j->geo, s->segment) + off, s->sum.buf, bytes, DEV_DSYNC);
}

static int repair_segment(struct recovery *r, struct rseg *s)
{
    struct segpool *p = r->j->pool;
    int err = 0;

    if (!rseg_empty(s) && !s->sealed)
        err = write_summary(r, s);
    if (!err && !s->head_ok)
        err = write_header(r, s); /* of an empty one too: its epoch hides what older uses left there */
    if (err)
        return err;
    if (rseg_empty(s)) {
        segpool_give(p, s->segment);
        return 0;
    }
    segpool_set_span(p, s->segment, s->sealed ? s->foot.seq_min : s->sum.seq_min,
                     s->sealed ? s->foot.seq_max : s->sum.seq_max, s->end_off);
    segpool_set_use(p, s->segment, SEGMENT_LOG_SEALED);
    return 0;
}

int repair(struct recovery *r)
{
    int err = dev_flush_sync(r->j->dev);

    for (uint32_t i = 0; i < r->nr_segs && !err; i++)
        err = erase_dropped(r, &r->segs[i]);
    for (uint32_t i = 0; i < r->nr_segs && !err; i++)
        err = repair_segment(r, &r->segs[i]);
    return err;
}
