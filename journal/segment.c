/* SPDX-License-Identifier: Apache-2.0 */
/* segment.c: the pool of segments: what each is used for, handing out and taking back.
 *
 * At start every header is read: epoch above the metadata's free mark = in use. The first group is read with it: its epoch
 * is the higher one when the header's write was lost. Behind a damaged header the footer says the same; else the whole area
 * is searched, unless the header is all zeros as formatting left it. A mutex guards the table's free list; it is taken when
 * a segment changes hands, never once a write.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "journal/priv.h"

struct segpool {
    pthread_mutex_t lock;
    struct segpool_geometry geo;
    struct segment_info *info;  /* use changes under the lock */
    uint32_t *free_ring;        /* free segments, oldest first: wear spreads */
    uint32_t  free_head;
    uint32_t  free_nr;          /* written under the lock, read by any thread */
    uint32_t  hungry_nr;        /* waiters that are hungry; likewise */
    uint64_t  epoch_max;
    uint64_t  seq_floor[REACTORS_MAX];
    uint64_t  meta_commit_no;
    struct list waiters;
};

#define LABELS_BYTES       MIB /* left out at both ends */
#define SEGMENTS_AIM       1024u
#define SEGMENTS_A_SHARD   8u

int segpool_plan(uint64_t device_bytes, uint32_t segment_bytes, uint32_t align_bytes, uint32_t nr_shards,
                 struct segpool_geometry *out)
{
    uint64_t area, bytes = segment_bytes;

    if ((align_bytes != 512 && align_bytes != 4096) || nr_shards == 0 || nr_shards > REACTORS_MAX ||
        device_bytes < 2 * LABELS_BYTES)
        return -FIRN_E_INVALID;
    area = device_bytes - 2 * LABELS_BYTES;
    if (bytes == 0)
        bytes = MIN(MAX(ROUND_UP(device_bytes / SEGMENTS_AIM, MIB), 16 * MIB), (uint64_t)SEGMENT_BYTES_MAX);
    if (bytes < SEGMENT_BYTES_MIN || bytes > SEGMENT_BYTES_MAX || bytes % 4096 ||
        area / bytes < (uint64_t)SEGMENTS_A_SHARD * nr_shards)
        return -FIRN_E_INVALID;
    *out = (struct segpool_geometry){
        .base_bytes = LABELS_BYTES,
        .segment_bytes = (uint32_t)bytes,
        .nr_segments = (uint32_t)MIN(area / bytes, (uint64_t)SEGMENTS_MAX),
        .align_bytes = align_bytes,
        .nr_shards = nr_shards,
    };
    return 0;
}

uint32_t segpool_record_blocks_max(const struct segpool_geometry *geo)
{
    return MIN(GROUP_BYTES_MAX, geo->segment_bytes / 2) / BLOCK_BYTES;
}

static bool geometry_valid(const struct dev *d, const struct segpool_geometry *geo)
{
    return (geo->align_bytes == 512 || geo->align_bytes == 4096) && geo->align_bytes >= d->caps.block_bytes &&
           geo->segment_bytes >= SEGMENT_BYTES_MIN && geo->segment_bytes <= SEGMENT_BYTES_MAX &&
           geo->segment_bytes % 4096 == 0 && geo->base_bytes % 4096 == 0 && geo->nr_segments != 0 &&
           geo->nr_segments <= SEGMENTS_MAX && geo->nr_shards != 0 && geo->nr_shards <= REACTORS_MAX &&
           geo->base_bytes <= d->caps.size_bytes &&
           geo->nr_segments <= (d->caps.size_bytes - geo->base_bytes) / geo->segment_bytes;
}

int segpool_format(struct dev *d, const struct segpool_geometry *geo)
{
    void *zeros;
    int err = 0;

    if (!geometry_valid(d, geo))
        return -FIRN_E_INVALID;
    zeros = aligned_alloc(4096, JRN_SEG_HEADER_BYTES);
    if (!zeros)
        return -ENOMEM;
    memset(zeros, 0, JRN_SEG_HEADER_BYTES);
    for (uint32_t i = 0; i < geo->nr_segments && !err; i++) {
        err = dev_write_sync(d, segment_base(geo, i), zeros, JRN_SEG_HEADER_BYTES, 0);
        if (!err)
            err = dev_write_sync(d, segment_base(geo, i) + geo->segment_bytes - JRN_FOOTER_BYTES, zeros,
                                 JRN_FOOTER_BYTES, 0);
    }
    if (!err)
        err = dev_flush_sync(d);
    free(zeros);
    return err;
}

/* ---- opening ------------------------------------------------------------------------------------------------------- */

#define SURVEY_BYTES (JRN_SEG_HEADER_BYTES + JRN_GROUP_HEADER_MAX)

struct survey {               /* one segment looked at */
    struct segpool *p;
    struct dev     *d;
    uint32_t        segment;
    uint64_t        freed;    /* the metadata calls it free up to this epoch */
    uint8_t        *buf;      /* SURVEY_BYTES */
    uint64_t        epoch;    /* highest valid one found; 0: none */
    uint32_t        shard;
    enum journal_stream stream;
    bool            slots;
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
    const struct segpool_geometry *geo = &s->p->geo;
    struct jrn_footer f;
    bool unreadable = false;
    uint8_t *buf = s->buf + JRN_SEG_HEADER_BYTES;
    int err = -FIRN_E_CORRUPT;

    for (uint32_t i = 0; i < JRN_READS && err == -FIRN_E_CORRUPT; i++) {
        err = read_soft(s->d, segment_base(geo, s->segment) + geo->segment_bytes - JRN_FOOTER_BYTES, buf, JRN_FOOTER_BYTES,
                        &unreadable);
        if (err)
            return err;
        err = jrn_footer_decode(geo, s->segment, buf, &f);
    }
    if (err == 0)
        survey_found(s, f.head.epoch, f.head.shard, f.head.stream, false);
    return unreadable ? -EIO : err == -FIRN_E_FORMAT_VERSION ? err : 0;
}

static int survey_area(struct survey *s)
{
    struct scan sc = {0};
    int err = scan_segment(s->d, &s->p->geo, s->segment, SCAN_ANY, &sc);

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

    if (jrn_group_decode(&s->p->geo, s->segment, JRN_SEG_HEADER_BYTES, s->buf + JRN_SEG_HEADER_BYTES,
                         JRN_GROUP_HEADER_MAX, &g) == 0)
        survey_found(s, g.epoch, g.shard, g.stream, false);
}

/* The header cannot be read: what else does the segment say of itself? All zeros with nothing behind was never used. */
static int survey_damaged(struct survey *s, bool zeros, bool header_unreadable)
{
    int err = survey_footer(s);

    if (err == -EIO && header_unreadable)
        return err; /* this is not a bad spot: the device is gone */
    if (err && err != -EIO)
        return err;
    return zeros || s->epoch > s->freed ? 0 : survey_area(s);
}

static int survey_segment(struct survey *s)
{
    struct segpool *p = s->p;
    struct jrn_seg_header h;
    bool unreadable = false, zeros;
    int err = -FIRN_E_CORRUPT;

    for (uint32_t i = 0; i < JRN_READS && err == -FIRN_E_CORRUPT; i++) {
        err = read_soft(s->d, segment_base(&p->geo, s->segment), s->buf, SURVEY_BYTES, &unreadable);
        if (err)
            return err;
        err = jrn_seg_header_decode(&p->geo, s->segment, s->buf, &h);
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
    zeros = !unreadable && s->buf[0] == 0 && memcmp(s->buf, s->buf + 1, JRN_SEG_HEADER_BYTES - 1) == 0;
    return survey_damaged(s, zeros, unreadable);
}

static int segpool_survey(struct segpool *p, struct dev *d, uint64_t (*freed_epoch)(void *, uint32_t), void *ctx)
{
    uint8_t *buf = aligned_alloc(4096, SURVEY_BYTES);
    int err = buf ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < p->geo.nr_segments && !err; i++) {
        uint64_t freed = freed_epoch(ctx, i);
        struct survey s = {.p = p, .d = d, .segment = i, .freed = freed, .buf = buf};

        err = freed <= NUMBER_MEDIA_MAX ? survey_segment(&s) : -FIRN_E_CORRUPT;
        p->epoch_max = MAX(p->epoch_max, MAX(freed, s.epoch));
        if (s.epoch > freed) {
            p->info[i] = (struct segment_info){
                .use = s.slots ? SEGMENT_SLOTS : SEGMENT_LOG_OPEN, .shard = s.shard, .stream = s.stream, .epoch = s.epoch};
        } else {
            p->info[i].epoch = freed; /* what it held up to here was given up on purpose */
            p->free_ring[p->free_nr++] = i;
        }
    }
    free(buf);
    return err;
}

int segpool_open(struct dev *d, const struct segpool_geometry *geo, uint64_t (*freed_epoch)(void *ctx, uint32_t segment),
                 void *ctx, struct segpool **out)
{
    struct segpool *p;
    int err = -ENOMEM;

    if (!geometry_valid(d, geo))
        return -FIRN_E_INVALID;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->geo = *geo;
    pthread_mutex_init(&p->lock, NULL);
    list_init(&p->waiters);
    p->info = calloc(geo->nr_segments, sizeof(*p->info));
    p->free_ring = calloc(geo->nr_segments, sizeof(*p->free_ring));
    if (p->info && p->free_ring)
        err = segpool_survey(p, d, freed_epoch, ctx);
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
    free(p->info);
    free(p->free_ring);
    free(p);
}

/* ---- looking ------------------------------------------------------------------------------------------------------- */

const struct segpool_geometry *segpool_geometry(const struct segpool *p) { return &p->geo; }
uint32_t segpool_free_nr(const struct segpool *p) { return __atomic_load_n(&p->free_nr, __ATOMIC_RELAXED); }
bool segpool_hungry(const struct segpool *p) { return __atomic_load_n(&p->hungry_nr, __ATOMIC_RELAXED) > 0; }
uint64_t segpool_seq_floor(const struct segpool *p, uint32_t shard) { return p->seq_floor[shard]; }
uint64_t segpool_meta_commit_no(const struct segpool *p) { return p->meta_commit_no; }

void segpool_info(const struct segpool *p, uint32_t segment, struct segment_info *out)
{
    struct segpool *m = (struct segpool *)(uintptr_t)p;

    assert(segment < p->geo.nr_segments);
    pthread_mutex_lock(&m->lock);
    *out = m->info[segment];
    pthread_mutex_unlock(&m->lock);
}

struct segment_info *segpool_slot(struct segpool *p, uint32_t segment)
{
    assert(segment < p->geo.nr_segments);
    return &p->info[segment];
}

uint64_t segpool_epoch_seen(struct segpool *p, uint64_t epoch)
{
    pthread_mutex_lock(&p->lock);
    if (epoch <= NUMBER_START_MAX) /* bytes of a host may claim anything; what is never reached needs no room above it */
        p->epoch_max = MAX(p->epoch_max, epoch);
    epoch = p->epoch_max;
    pthread_mutex_unlock(&p->lock);
    return epoch;
}

uint64_t segpool_epoch_new(struct segpool *p, uint32_t segment)
{
    uint64_t epoch;

    pthread_mutex_lock(&p->lock);
    epoch = p->info[segment].epoch = ++p->epoch_max;
    pthread_mutex_unlock(&p->lock);
    return epoch;
}

void segpool_set_span(struct segpool *p, uint32_t segment, uint64_t seq_min, uint64_t seq_max, uint64_t used_bytes)
{
    struct segment_info *i = segpool_slot(p, segment);

    pthread_mutex_lock(&p->lock);
    i->seq_min = seq_min;
    i->seq_max = seq_max;
    i->used_units = (uint32_t)(used_bytes / JOURNAL_UNIT_BYTES);
    pthread_mutex_unlock(&p->lock);
}

/* ---- changing hands ------------------------------------------------------------------------------------------------ */

#define BIT(x) (1u << (x))
static const unsigned use_next[] = {
    [SEGMENT_FREE] = BIT(SEGMENT_LOG_OPEN) | BIT(SEGMENT_SLOTS),
    [SEGMENT_LOG_OPEN] = BIT(SEGMENT_LOG_SEALED) | BIT(SEGMENT_FREE), /* free at once: opened, never written */
    [SEGMENT_LOG_SEALED] = BIT(SEGMENT_FREEING) | BIT(SEGMENT_FREE),
    [SEGMENT_SLOTS] = BIT(SEGMENT_FREEING) | BIT(SEGMENT_FREE),
    [SEGMENT_FREEING] = BIT(SEGMENT_FREE),
};

static void set_use_locked(struct segpool *p, uint32_t segment, enum segment_use use)
{
    assert(use_next[p->info[segment].use] & BIT(use));
    p->info[segment].use = use;
}

void segpool_set_use(struct segpool *p, uint32_t segment, enum segment_use use)
{
    assert(segment < p->geo.nr_segments);
    pthread_mutex_lock(&p->lock);
    set_use_locked(p, segment, use);
    pthread_mutex_unlock(&p->lock);
}

/* What is taken: for which shard and stream, with what epoch from now on. */
static bool take_locked(struct segpool *p, uint32_t keep, struct segment_info want, uint32_t *segment, uint64_t *epoch)
{
    if (p->free_nr <= keep)
        return false;
    *segment = p->free_ring[p->free_head];
    p->free_head = (p->free_head + 1) % p->geo.nr_segments;
    __atomic_store_n(&p->free_nr, p->free_nr - 1, __ATOMIC_RELAXED);
    *epoch = want.epoch = ++p->epoch_max;
    set_use_locked(p, *segment, want.use);
    p->info[*segment] = want;
    return true;
}

bool segpool_take(struct segpool *p, uint32_t shard, enum journal_stream stream, uint32_t keep, struct seg_waiter *w,
                  uint32_t *segment, uint64_t *epoch)
{
    struct segment_info want = {.use = SEGMENT_LOG_OPEN, .shard = shard, .stream = stream};
    bool taken;

    pthread_mutex_lock(&p->lock);
    taken = take_locked(p, keep, want, segment, epoch);
    if (!taken && w)
        w->wanted = true;
    pthread_mutex_unlock(&p->lock);
    return taken;
}

bool segpool_take_slots(struct segpool *p, uint32_t shard, uint32_t keep, uint32_t *segment, uint64_t *epoch)
{
    struct segment_info want = {.use = SEGMENT_SLOTS, .shard = shard};
    bool taken;

    pthread_mutex_lock(&p->lock);
    taken = p->hungry_nr == 0 && take_locked(p, keep, want, segment, epoch);
    pthread_mutex_unlock(&p->lock);
    return taken;
}

void segpool_give(struct segpool *p, uint32_t segment)
{
    assert(segment < p->geo.nr_segments);
    pthread_mutex_lock(&p->lock);
    set_use_locked(p, segment, SEGMENT_FREE);
    p->free_ring[(p->free_head + p->free_nr) % p->geo.nr_segments] = segment;
    __atomic_store_n(&p->free_nr, p->free_nr + 1, __ATOMIC_RELAXED);
    list_for_each(n, &p->waiters) {
        struct seg_waiter *w = list_entry(n, struct seg_waiter, node);

        if (w->wanted && !w->posted) {
            w->wanted = false;
            w->posted = true;
            env_post(w->env, &w->task);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

/* SEGMENTS_MAX: none. */
static uint32_t oldest_slots(const struct segpool *p)
{
    uint32_t best = SEGMENTS_MAX;

    for (uint32_t i = 0; i < p->geo.nr_segments; i++)
        if (p->info[i].use == SEGMENT_SLOTS && (best == SEGMENTS_MAX || p->info[i].epoch < p->info[best].epoch))
            best = i;
    return best;
}

void segpool_free_slots(struct segpool *p, uint32_t nr_free)
{
    uint32_t g;

    while (segpool_free_nr(p) < nr_free && (g = oldest_slots(p)) != SEGMENTS_MAX)
        segpool_give(p, g);
}

void segpool_waiter_add(struct segpool *p, struct seg_waiter *w)
{
    pthread_mutex_lock(&p->lock);
    list_push_back(&p->waiters, &w->node);
    pthread_mutex_unlock(&p->lock);
}

static void set_hungry_locked(struct segpool *p, struct seg_waiter *w, bool hungry)
{
    if (w->hungry == hungry)
        return;
    w->hungry = hungry;
    __atomic_store_n(&p->hungry_nr, hungry ? p->hungry_nr + 1 : p->hungry_nr - 1, __ATOMIC_RELAXED);
    list_for_each(n, &p->waiters) {
        struct seg_waiter *o = list_entry(n, struct seg_waiter, node);

        if (!hungry || o == w || o->asked)
            continue;
        o->asked = true;
        env_post(o->env, &o->ask);
    }
}

void segpool_set_hungry(struct segpool *p, struct seg_waiter *w, bool hungry)
{
    pthread_mutex_lock(&p->lock);
    set_hungry_locked(p, w, hungry);
    pthread_mutex_unlock(&p->lock);
}

bool segpool_waiter_remove(struct segpool *p, struct seg_waiter *w, bool force)
{
    bool posted;

    pthread_mutex_lock(&p->lock);
    w->wanted = false;
    posted = (w->posted || w->asked) && !force;
    if (!posted) {
        list_remove(&w->node);
        set_hungry_locked(p, w, false);
    }
    pthread_mutex_unlock(&p->lock);
    return !posted;
}

void segpool_waiter_ran(struct segpool *p, struct seg_waiter *w)
{
    pthread_mutex_lock(&p->lock);
    w->posted = false;
    pthread_mutex_unlock(&p->lock);
}

void segpool_asked_ran(struct segpool *p, struct seg_waiter *w)
{
    pthread_mutex_lock(&p->lock);
    w->asked = false;
    pthread_mutex_unlock(&p->lock);
}
