/* SPDX-License-Identifier: Apache-2.0 */
/* repair.c: what opening writes after replay.
 *
 * 1. A flush: what replay read, and what the owner now relies on, is durable.
 * 2. Groups that were dropped are erased (their headers become zeros), so that they never come back, whatever rots later.
 * 3. Segments without a summary get one, in the order of epochs; damaged headers are written again.
 * 4. Segments with nothing in them go back to the pool, behind a new header if anything was dropped there, or the old one would say
 *    that the log goes on there. The one where it does stays: opening takes it again.
 * Idempotent: after a crash at any of these writes, replay comes to the same records: a dropped group is above the durable
 * mark and stays so, a summary is whole or ignored. Afterwards all that counts is in summaries, which no other segment's bytes
 * can overrule: those are used again, and what they said is gone.
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
    return dev_write_sync(j->dev, segment_base(&j->geo, s->segment), r->buf, j->geo.head_bytes, DEV_DSYNC);
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
    figure_add(&j->stats.header_bytes, bytes);
    return dev_write_sync(j->dev, segment_base(&j->geo, s->segment) + off, s->sum.buf, bytes, DEV_DSYNC);
}

static int repair_segment(struct recovery *r, struct rseg *s)
{
    struct segpool *p = r->j->pool;
    int err = 0;

    if (rseg_empty(s))
        return 0;
    s->head.placed |= r->j->opts.placed; /* what was said of it is lost with its header and footer */
    if (!s->sealed)
        err = write_summary(r, s);
    if (!err && !s->head_ok)
        err = write_header(r, s);
    if (err)
        return err;
    segpool_set_span(p, s->segment, s->sealed ? s->foot.seq_min : s->sum.seq_min,
                     s->sealed ? s->foot.seq_max : s->sum.seq_max, s->end_off);
    segpool_set_use(p, s->segment, SEGMENT_LOG_SEALED);
    return 0;
}

/* Payload of a group that was erased may look like groups: the next epoch is above theirs too. */
static int see_epochs(struct recovery *r, const struct rseg *s)
{
    struct scan sc = {0};
    int err = scan_segment(r->j->dev, &r->j->geo, s->segment, SCAN_ANY, &sc);

    for (uint32_t i = 0; i < sc.nr && !err; i++)
        (void)segpool_epoch_seen(r->j->pool, sc.v[i].g.epoch);
    scan_free(&sc);
    return err;
}

/* Nothing in it counts. What an erased group uncovers, and older uses behind a header that is damaged, are hidden for good by a
 * header with an epoch of its own. So is what it said of where the log goes on, and what cannot be read now but perhaps later. */
static int give_back(struct recovery *r, struct rseg *s)
{
    bool said_next = s->stream == JOURNAL_HOST && rseg_opened(s);
    int err = s->nr_drop ? see_epochs(r, s) : 0;

    if (!err && (s->nr_drop || s->blind || !s->head_ok || said_next)) {
        s->head.epoch = segpool_epoch_new(r->j->pool, s->segment);
        s->head.cut_group = s->head.prev_epoch = 0;
        err = write_header(r, s);
    }
    if (!err)
        segpool_give(r->j->pool, s->segment);
    return err;
}

int repair(struct recovery *r)
{
    int err = dev_flush_sync(r->j->dev);

    for (uint32_t i = 0; i < r->nr_segs && !err; i++)
        err = erase_dropped(r, &r->segs[i]);
    for (uint32_t i = 0; i < r->nr_segs && !err; i++)
        err = repair_segment(r, &r->segs[i]);
    for (uint32_t i = 0; i < r->nr_segs && !err; i++)
        if (rseg_empty(&r->segs[i]) && &r->segs[i] != r->idle)
            err = give_back(r, &r->segs[i]);
    return err;
}
