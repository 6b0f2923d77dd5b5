/* SPDX-License-Identifier: Apache-2.0 */
/* survey.c: what a start makes of the headers of all segments.
 *
 * The journal device's: epoch above the metadata's free mark = in use. The first group is read with it: its epoch is the higher
 * one when the header's write was lost. Behind a damaged header the footer says the same; else the whole segment is searched,
 * unless the header is all zeros as formatting left it. A segment of which nothing can be read ends the start: that is no bad spot.
 * One whose header says nothing, and whose first group cannot be read, is taken for free, and counted: the log may have gone on there.
 * Other devices': a segment is in use, for slots, if its header says so. Nothing on them is needed: what cannot be read is free, and a
 * device of which hardly anything can be read is left out.
 */
#include <errno.h>
#include <stdlib.h>

#include "journal/priv.h"

#define SURVEY_BYTES   (JRN_SEG_HEADER_BYTES + JRN_GROUP_HEADER_MAX)
#define EPOCHS_UNKNOWN 64u    /* a segment whose epoch cannot be read has none that is so far above all that can be read */
#define UNREADABLE_MAX 2u     /* headers on a device of copies alone that cannot be read: more, and it is taken for dead */

struct survey {               /* one segment looked at */
    struct segpool *p;
    struct dev     *d;
    uint32_t        segment;  /* the area's own number */
    const struct segpool_geometry *geo;
    uint64_t        freed;    /* the metadata calls it free up to this epoch */
    uint8_t        *buf;      /* SURVEY_BYTES */
    uint64_t        epoch;    /* highest valid one found; 0: none */
    uint32_t        shard;
    enum journal_stream stream;
    bool            slots;
    bool            blank;    /* the header reads as formatting left it */
    bool            unknown;  /* it may hold a group, of which nothing can be read */
};

static void survey_found(struct survey *s, uint64_t epoch, uint32_t shard, enum journal_stream stream, bool slots)
{
    if (epoch <= s->epoch)
        return;
    s->epoch = epoch;
    s->shard = shard;
    s->stream = stream;
    s->slots = slots;
}

static int survey_footer(struct survey *s)
{
    const struct segpool_geometry *geo = s->geo;
    struct jrn_footer f;
    bool unreadable = false;
    uint8_t *buf = s->buf + JRN_SEG_HEADER_BYTES;
    int err = -FIRN_E_CORRUPT;

    for (uint32_t i = 0; i < JRN_READS && err == -FIRN_E_CORRUPT; i++) {
        err = read_soft(s->d, segment_base(geo, s->segment) + jrn_footer_off(geo), buf, geo->head_bytes, &unreadable);
        if (err)
            return err;
        err = jrn_footer_decode(geo, s->segment, buf, &f);
    }
    if (err == 0 && f.head.epoch <= NUMBER_START_MAX) /* a place may lie there */
        survey_found(s, f.head.epoch, f.head.shard, f.head.stream, false);
    return unreadable ? -EIO : err == -FIRN_E_FORMAT_VERSION ? err : 0;
}

static int survey_area(struct survey *s)
{
    struct scan sc = {0};
    int err = scan_segment(s->d, s->geo, s->segment, SCAN_ANY, &sc);

    for (uint32_t i = 0; !err && i < sc.nr; i++)
        if (sc.v[i].g.epoch <= NUMBER_START_MAX) /* payload of a host may look like a group, and claim what it likes */
            survey_found(s, sc.v[i].g.epoch, sc.v[i].g.shard, sc.v[i].g.stream, false);
    scan_free(&sc);
    return err;
}

/* The first group, read along with the header. */
static void survey_first_group(struct survey *s)
{
    struct jrn_group g;

    if (jrn_group_decode(s->geo, s->segment, JRN_SEG_HEADER_BYTES, s->buf + JRN_SEG_HEADER_BYTES,
                         JRN_GROUP_HEADER_MAX, &g) == 0)
        survey_found(s, g.epoch, g.shard, g.stream, false);
}

/* Is there anything between the ends that can be read? */
static bool survey_answers(struct survey *s)
{
    bool unreadable = true;

    for (uint64_t i = 1; i < 8 && unreadable; i++)
        if (read_soft(s->d, segment_base(s->geo, s->segment) + ROUND_DOWN(s->geo->segment_bytes / 8 * i, (uint64_t)BLOCK_BYTES), s->buf,
                      BLOCK_BYTES, &unreadable) != 0)
            return false;
    return !unreadable;
}

/* Groups stand one behind the other: where the first one says that it is none, the segment holds nothing. If it cannot be read, it
 * may have been the only one. */
static int survey_unknown(struct survey *s)
{
    bool unreadable;
    int err;

    if (s->blank)
        return 0;
    err = read_soft(s->d, segment_base(s->geo, s->segment) + JRN_SEG_HEADER_BYTES, s->buf, BLOCK_BYTES, &unreadable);
    if (err || !unreadable)
        return err;
    log_warn("a segment of the journal's device cannot be read where it begins", "segment=%" PRIu32, s->segment);
    s->unknown = true;
    return 0;
}

/* The header cannot be read: what else does the segment say of itself? All zeros with nothing behind was never used. */
static int survey_damaged(struct survey *s, bool zeros, bool header_unreadable)
{
    int err = survey_footer(s);

    if (err == -EIO && header_unreadable && !survey_answers(s))
        return err; /* these are not bad spots: the device is gone */
    if (err && err != -EIO)
        return err;
    if (zeros || s->epoch > s->freed)
        return 0;
    err = survey_area(s);
    return err || s->epoch > s->freed ? err : survey_unknown(s);
}

/* Header and first group. A bad spot behind a short header leaves that whole. */
static int survey_read(struct survey *s, bool *unreadable)
{
    bool head_unreadable = false;
    int err = read_soft(s->d, segment_base(s->geo, s->segment), s->buf, SURVEY_BYTES, unreadable);

    if (!err && *unreadable)
        err = read_soft(s->d, segment_base(s->geo, s->segment), s->buf, s->geo->head_bytes, &head_unreadable);
    s->blank = !err && !head_unreadable && s->buf[0] == 0 && memcmp(s->buf, s->buf + 1, JRN_SEG_HEADER_BYTES - 1) == 0;
    return err;
}

static int survey_segment(struct survey *s)
{
    struct segpool *p = s->p;
    struct jrn_seg_header h;
    bool unreadable = false;
    int err = -FIRN_E_CORRUPT;

    for (uint32_t i = 0; i < JRN_READS && err == -FIRN_E_CORRUPT; i++) {
        err = survey_read(s, &unreadable);
        if (err)
            return err;
        err = jrn_seg_header_decode(s->geo, s->segment, s->buf, &h);
        if (err == 0)
            survey_found(s, h.epoch, h.shard, h.stream, h.slots);
        if (err != -FIRN_E_FORMAT_VERSION)
            survey_first_group(s); /* above the header's epoch when the header's write was lost */
    }
    if (err == -FIRN_E_FORMAT_VERSION)
        return err;
    if (err == 0) {
        p->seq_floor[h.shard] = MAX(p->seq_floor[h.shard], h.seq_floor);
        p->meta_commit_no = MAX(p->meta_commit_no, h.meta_commit_no);
        return 0;
    }
    return survey_damaged(s, s->blank && !unreadable, unreadable);
}

static void survey_keep(const struct survey *s, uint32_t segment)
{
    struct segpool *p = s->p;

    if (s->epoch > s->freed && !(s->slots && s->epoch <= p->forgotten)) {
        p->slots_nr[s->shard] += segment >= p->area[0].geo.nr_segments;
        p->info[segment] = (struct segment_info){
            .use = s->slots ? SEGMENT_SLOTS : SEGMENT_LOG_OPEN, .shard = s->shard, .stream = s->stream, .epoch = s->epoch};
    } else {
        p->info[segment].epoch = s->freed; /* what it held up to here was given up on purpose */
        if (!s->unknown)
            area_free_push(&p->area[segpool_at(p, segment).area], segment);
    }
}

/* Behind all that are free: a bad spot is the last place to go on in. Should what it holds come to light again, all that is opened
 * from now on is newer. */
static void unknown_last(struct segpool *p, const uint32_t *unknown)
{
    for (uint32_t i = 0; i < p->unknown_nr; i++)
        area_free_push(&p->area[0], unknown[i]);
    p->unknown_first = p->unknown_nr ? unknown[0] : 0;
    p->epoch_max += p->unknown_nr ? EPOCHS_UNKNOWN : 0;
}

static int log_survey(struct segpool *p, struct dev *d, uint64_t (*freed_epoch)(void *, uint32_t), void *ctx)
{
    uint8_t *buf = aligned_alloc(4096, SURVEY_BYTES);
    uint32_t *unknown = calloc(p->nr_segments, sizeof(*unknown));
    int err = buf && unknown ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < p->nr_segments && !err; i++) {
        struct survey s = {.p = p, .d = d, .geo = &p->area[0].geo, .segment = i, .freed = freed_epoch(ctx, i), .buf = buf};

        err = s.freed <= NUMBER_MEDIA_MAX ? survey_segment(&s) : -FIRN_E_CORRUPT;
        p->epoch_max = MAX(p->epoch_max, MAX(s.freed, s.epoch));
        if (s.unknown)
            unknown[p->unknown_nr++] = i;
        survey_keep(&s, i);
    }
    if (!err)
        unknown_last(p, unknown);
    free(unknown);
    free(buf);
    return err;
}

static int area_init(struct segpool_area *a, const struct segpool_geometry *geo, uint32_t first)
{
    *a = (struct segpool_area){.geo = *geo, .first = first, .free_ring = calloc(geo->nr_segments, sizeof(*a->free_ring))};
    return a->free_ring ? 0 : -ENOMEM;
}

int segpool_open(struct dev *d, const struct segpool_geometry *geo, uint64_t (*freed_epoch)(void *ctx, uint32_t segment),
                 void *ctx, struct segpool **out)
{
    struct segpool *p;
    int err;

    if (!segpool_geometry_valid(d, geo))
        return -FIRN_E_INVALID;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    pthread_mutex_init(&p->lock, NULL);
    list_init(&p->waiters);
    p->nr_areas = 1;
    p->nr_segments = geo->nr_segments;
    p->info = calloc(geo->nr_segments, sizeof(*p->info));
    err = area_init(&p->area[0], geo, 0);
    if (!err)
        err = p->info ? log_survey(p, d, freed_epoch, ctx) : -ENOMEM;
    if (!err && p->epoch_max > NUMBER_START_MAX) {
        log_error("a segment of the log claims an epoch that leaves none for the next", "epoch=%" PRIu64 " most=%" PRIu64, p->epoch_max,
                  (uint64_t)NUMBER_START_MAX);
        err = -FIRN_E_CORRUPT;
    }
    if (err) {
        segpool_close(p);
        return err;
    }
    *out = p;
    return 0;
}

void segpool_close(struct segpool *p)
{
    if (!p)
        return;
    pthread_mutex_destroy(&p->lock);
    for (uint32_t i = 0; i < p->nr_areas; i++)
        free(p->area[i].free_ring);
    free(p->info);
    free(p);
}

/* ---- other devices ------------------------------------------------------------------------------------------------- */

/* Its header says all there is to know: what cannot be read, is torn or is another pool's is as good as empty. True: unreadable. */
static bool survey_slots(struct survey *s)
{
    struct jrn_seg_header h;
    bool unreadable = false;

    for (uint32_t i = 0; i < JRN_READS; i++) {
        unreadable = false;
        if (read_soft(s->d, segment_base(s->geo, s->segment), s->buf, s->geo->head_bytes, &unreadable) != 0)
            return true;
        if (jrn_seg_header_decode(s->geo, s->segment, s->buf, &h) != 0)
            continue;
        if (h.slots && h.epoch <= NUMBER_START_MAX)
            survey_found(s, h.epoch, h.shard, h.stream, true);
        return false;
    }
    return unreadable;
}

static int slots_survey(struct segpool *p, struct dev *d, const struct segpool_area *a)
{
    uint8_t *buf = aligned_alloc(4096, SURVEY_BYTES);
    uint32_t unreadable = 0;

    if (!buf)
        return -ENOMEM;
    for (uint32_t i = 0; i < a->geo.nr_segments && unreadable <= UNREADABLE_MAX; i++) {
        struct survey s = {.p = p, .d = d, .geo = &a->geo, .segment = i, .buf = buf};

        unreadable += survey_slots(&s);
        p->epoch_max = MAX(p->epoch_max, s.epoch);
        survey_keep(&s, a->first + i);
    }
    free(buf);
    return unreadable > UNREADABLE_MAX ? -EIO : 0;
}

static int info_grow(struct segpool *p, uint32_t by)
{
    struct segment_info *info = realloc(p->info, ((size_t)p->nr_segments + by) * sizeof(*info));

    if (!info)
        return -ENOMEM;
    memset(info + p->nr_segments, 0, by * sizeof(*info));
    p->info = info;
    return 0;
}

static void area_drop(struct segpool *p)
{
    struct segpool_area *a = &p->area[--p->nr_areas];

    while (p->nr_segments > a->first) {
        const struct segment_info *i = &p->info[--p->nr_segments];

        p->slots_nr[i->shard] -= i->use == SEGMENT_SLOTS;
    }
    free(a->free_ring);
}

int segpool_add(struct segpool *p, struct dev *d, const struct segpool_geometry *geo)
{
    const struct segpool_geometry *log = &p->area[0].geo;
    struct segpool_area *a = &p->area[p->nr_areas];
    int err;

    if (p->nr_areas == SEGMENT_AREAS_MAX || !segpool_geometry_valid(d, geo) || geo->segment_bytes != log->segment_bytes ||
        geo->align_bytes != log->align_bytes || geo->head_bytes != log->head_bytes || geo->nr_shards != log->nr_shards)
        return -FIRN_E_INVALID;
    err = info_grow(p, geo->nr_segments);
    if (!err)
        err = area_init(a, geo, p->nr_segments);
    if (err)
        return err;
    p->nr_areas++;
    p->nr_segments += geo->nr_segments;
    err = slots_survey(p, d, a);
    if (err)
        area_drop(p);
    return err;
}
