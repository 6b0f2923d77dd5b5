/* SPDX-License-Identifier: Apache-2.0 */
/* recover_seg.c: one segment as recovery finds it: header, footer and summary, or a scan of its groups. */
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "journal/priv.h"

static int read_at(struct recovery *r, const struct rseg *s, uint64_t off, void *buf, size_t len)
{
    bool unreadable;

    return read_soft(r->j->dev, segment_base(&r->j->geo, s->segment) + off, buf, len, &unreadable);
}

/* What the survey made of the segment: the whole of recovery goes by that. */
static bool of_this_use(const struct rseg *s, const struct jrn_seg_header *h)
{
    return h->epoch == s->epoch && h->shard == s->shard && h->stream == s->stream;
}

static int load_header(struct recovery *r, struct rseg *s)
{
    int err = -FIRN_E_CORRUPT;

    for (uint32_t i = 0; i < JRN_READS && err == -FIRN_E_CORRUPT; i++) {
        err = read_at(r, s, 0, r->buf, r->j->geo.head_bytes);
        if (err)
            return err;
        err = jrn_seg_header_decode(&r->j->geo, s->segment, r->buf, &s->head);
    }
    s->head_ok = err == 0 && of_this_use(s, &s->head);
    return err == -FIRN_E_FORMAT_VERSION ? err : 0;
}

/* The bytes are in r->summary afterwards, verified. */
int rseg_read_summary(struct recovery *r, const struct rseg *s)
{
    const struct segpool_geometry *geo = &r->j->geo;
    size_t len = (size_t)s->foot.summary_bytes;

    if (len > summary_cap(geo))
        return -FIRN_E_CORRUPT;
    for (uint32_t i = 0; i < JRN_READS; i++) {
        int err = read_at(r, s, s->foot.summary_off, r->summary, ROUND_UP(len, (size_t)geo->align_bytes));

        if (err || jrn_summary_crc(geo, s->segment, s->epoch, r->summary, len) == s->foot.summary_crc)
            return err;
    }
    return -FIRN_E_CORRUPT;
}

/* A summary whose checksum holds was written by us, but is still walked before it is believed: what it keeps lies in the segment's
 * used part, one group behind the other. */
static bool summary_whole(struct recovery *r, const struct rseg *s)
{
    struct jrn_entry e;
    uint64_t groups = 0, end = JRN_SEG_HEADER_BYTES;
    uint32_t entries = 0;
    size_t pos = 0;

    while (pos < s->foot.summary_bytes) {
        if (jrn_entry_decode(&r->j->geo, r->summary, (size_t)s->foot.summary_bytes, &pos, &e))
            return false;
        if (e.kind == JRN_ENTRY_KEPT) {
            if ((uint64_t)e.unit * JOURNAL_UNIT_BYTES < end)
                return false;
            end = ((uint64_t)e.unit + e.header_units) * JOURNAL_UNIT_BYTES + (uint64_t)e.nr_blocks * BLOCK_BYTES;
            if (end > s->foot.end_off)
                return false;
        }
        groups += e.nr_groups;
        entries++;
    }
    return groups == s->foot.nr_groups && entries == s->foot.nr_entries;
}

static int load_footer(struct recovery *r, struct rseg *s)
{
    const struct segpool_geometry *geo = &r->j->geo;
    int err = -FIRN_E_CORRUPT;

    for (uint32_t i = 0; i < JRN_READS && err == -FIRN_E_CORRUPT; i++) {
        err = read_soft(r->j->dev, segment_base(geo, s->segment) + jrn_footer_off(geo), r->buf, geo->head_bytes, &s->foot_blind);
        if (err)
            return err;
        err = jrn_footer_decode(geo, s->segment, r->buf, &s->foot);
    }
    if (err == -FIRN_E_FORMAT_VERSION)
        return err;
    s->foot_ok = err == 0 && of_this_use(s, &s->foot.head) && !(s->head_ok && s->foot.first_group < s->head.cut_group);
    if (!s->foot_ok)
        return 0;
    if (!s->head_ok)
        s->head = s->foot.head;
    s->first = s->foot.first_group;
    s->end_off = s->foot.end_off;
    err = rseg_read_summary(r, s);
    s->sealed = err == 0 && summary_whole(r, s);
    return err == -FIRN_E_CORRUPT ? 0 : err;
}

static void see_group(struct recovery *r, struct rseg *s, const struct jrn_group *g)
{
    struct rstream *st = &r->streams[s->stream];
    struct jrn_record rec;

    if (!s->first && g->number > g->index)
        s->first = g->number - g->index;
    st->mark = MAX(st->mark, g->durable_group);
    r->seq_max = MAX(r->seq_max, g->durable_seq);
    r->report->meta_commit_no_max = MAX(r->report->meta_commit_no_max, g->meta_commit_no);
    for (uint32_t i = 0; i < g->nr_records; i++) {
        jrn_group_record(g, i, &rec);
        r->seq_max = MAX(r->seq_max, rec.seq);
    }
    for (uint32_t i = 0; i < g->nr_echo; i++) {
        jrn_group_echo(g, i, &rec);
        r->seq_max = MAX(r->seq_max, rec.seq);
    }
}

static int load_groups(struct recovery *r, struct rseg *s)
{
    struct journal *j = r->j;
    int err = scan_segment(j->dev, &j->geo, s->segment, s->epoch, &s->scan);

    if (err)
        return err;
    r->report->segments_scanned++;
    s->end_off = JRN_SEG_HEADER_BYTES;
    s->sum.cap = summary_cap(&j->geo);
    s->sum.buf = aligned_alloc(BLOCK_BYTES, s->sum.cap + JRN_FOOTER_MAX);
    s->drop = calloc(s->scan.nr + 1u, sizeof(*s->drop));
    if (!s->sum.buf || !s->drop)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->scan.nr; i++) {
        struct jrn_group *g = &s->scan.v[i].g;

        (void)segpool_epoch_seen(j->pool, g->epoch);
        if (g->shard != j->opts.shard || g->stream != s->stream)
            g->epoch = 0; /* no epoch is shared: cannot be of this use */
        if (g->epoch == s->epoch)
            see_group(r, s, g);
    }
    if (!s->head_ok && !s->foot_ok)
        s->head = (struct jrn_seg_header){.epoch = s->epoch, .shard = j->opts.shard, .stream = s->stream};
    return 0;
}

static void see_header(struct recovery *r, struct rseg *s)
{
    struct rstream *st = &r->streams[s->stream];

    if (s->foot_ok) {
        st->mark = MAX(st->mark, s->foot.first_group + s->foot.nr_groups - 1);
        r->seq_max = MAX(r->seq_max, s->foot.seq_max);
        r->report->meta_commit_no_max = MAX(r->report->meta_commit_no_max, s->foot.meta_commit_no);
    }
    if (s->head.cut_group)
        st->mark = MAX(st->mark, s->head.cut_group - 1);
    st->floor = MAX(st->floor, s->head.group_floor);
}

int rseg_load(struct recovery *r, struct rseg *s)
{
    int err = load_header(r, s);

    if (!err)
        err = load_footer(r, s);
    if (!err && !s->sealed)
        err = load_groups(r, s);
    if (err)
        return err;
    see_header(r, s);
    if (!s->head_ok)
        log_warn("journal segment header damaged", "segment=%" PRIu32 " epoch=%" PRIu64, s->segment, s->epoch);
    return 0;
}

bool rseg_unreadable(struct recovery *r, const struct rseg *s, uint64_t off)
{
    bool unreadable = false;

    if (off < jrn_footer_off(&r->j->geo))
        (void)read_soft(r->j->dev, segment_base(&r->j->geo, s->segment) + ROUND_DOWN(off, (uint64_t)BLOCK_BYTES), r->buf,
                        BLOCK_BYTES, &unreadable);
    return unreadable;
}

static bool payload_matches(const struct recovery *r, const struct jrn_group *g)
{
    const uint8_t *block = r->buf;
    uint32_t n = 0;
    bool ok = true;

    for (uint32_t i = 0; i < g->nr_records; i++) {
        struct jrn_record rec;

        jrn_group_record(g, i, &rec);
        if (rec.type == JOURNAL_PLACED)
            n += (uint32_t)rec.nblocks;
        if (rec.type != JOURNAL_WRITE)
            continue;
        for (uint64_t b = 0; b < rec.nblocks; b++, n++, block += BLOCK_BYTES)
            ok &= block_csum(block, rec.layer, rec.lba + b) == r->csum[n];
    }
    return ok;
}

int rseg_check_payload(struct recovery *r, const struct rseg *s, const struct scan_group *it, bool *ok, bool *unreadable)
{
    const struct jrn_group *g = &it->g;
    uint64_t off = it->off + jrn_group_padded_bytes(&r->j->geo, g);
    int err = 0;

    *ok = g->nr_blocks == 0;
    *unreadable = false;
    jrn_group_csums(g, 0, g->nr_sums, r->csum);
    for (uint32_t i = 0; i < JRN_READS && !*ok && !err; i++) {
        err = read_soft(r->j->dev, segment_base(&r->j->geo, s->segment) + off, r->buf, (size_t)g->nr_blocks * BLOCK_BYTES,
                        unreadable);
        *ok = !err && payload_matches(r, g);
    }
    return err;
}
