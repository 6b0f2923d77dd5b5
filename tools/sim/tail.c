/* SPDX-License-Identifier: Apache-2.0 */
/* tail.c: rot that no start could tell from the torn tail of a crash, and nothing else, is lifted after a crash.
 *
 * 1. The log is walked as it was written, beneath every fault: label, segment headers, group headers.
 * 2. Of each stream the highest group is found that anything readable calls durable: the shard's record in the metadata,
 *    the headers of later groups, footers, cuts. It is the rule of journal/FORMAT.md, told a second time.
 * 3. Rot, lost and misdirected writes in the groups behind it are lifted. What the device cannot read is no tear, and stays.
 * Before that some of the newest groups of a stream rot on purpose: chance alone seldom meets them. Nor does it meet the beginning of
 * the segment that was opened last, header and first group: that becomes unreadable in some crashes.
 */
#include "tools/sim/world.h"

#include "journal/format.h"
#include "tier/format.h"

#include <stdlib.h>

#define TAIL_GROUPS 8192u
#define TAIL_NEWEST 3u /* groups of a stream of which one may rot in the moment of a crash */

struct tail_group { uint64_t off, len, header, number, durable; uint32_t stream; }; /* off: on the device */

struct tail {
    struct world *w;
    struct sim_disk *disk;
    struct segpool_geometry geo;
    struct meta  *meta;
    uint64_t      mark[REACTORS_MAX * JOURNAL_STREAM_NR];  /* as the log says */
    uint64_t      named[REACTORS_MAX * JOURNAL_STREAM_NR]; /* as the metadata says */
    struct shard_rec rec[REACTORS_MAX];
    struct tail_group v[TAIL_GROUPS];
    uint32_t      nr;
    uint8_t       buf[JRN_GROUP_HEADER_MAX];
};

static bool geometry(struct tail *t)
{
    const uint64_t at[] = {0, LABEL_BYTES, sim_disk_size(t->disk) - LABEL_BYTES};
    struct label l;

    for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
        sim_disk_peek(t->disk, at[i], t->buf, LABEL_BYTES);
        if (label_decode(t->buf, &l) != 0)
            continue;
        t->geo = (struct segpool_geometry){.base_bytes = l.seg_base_bytes, .segment_bytes = l.seg_bytes, .nr_segments = l.seg_nr,
                                           .align_bytes = l.seg_align, .head_bytes = label_head_bytes(&l),
                                           .nr_shards = l.nr_shards, .pool = l.pool};
        return true;
    }
    return false;
}

static uint64_t freed_epoch(struct tail *t, uint32_t segment)
{
    struct meta_key key = meta_key_segment(segment);
    uint8_t value[META_VALUE_MAX];
    uint64_t epoch = 0;
    uint32_t len;

    if (t->meta->ops->get_sync(t->meta, &key, value, &len) != 0 || segment_rec_decode(value, len, &epoch) != 0)
        return 0;
    return epoch;
}

static void load_records(struct tail *t)
{
    for (uint32_t i = 0; i < t->geo.nr_shards; i++) {
        struct meta_key key = meta_key_shard(i);
        uint8_t value[META_VALUE_MAX];
        uint32_t len;

        if (t->meta->ops->get_sync(t->meta, &key, value, &len) != 0 || shard_rec_decode(value, len, &t->rec[i]) != 0)
            t->rec[i] = (struct shard_rec){0};
    }
}

static bool readable(const struct tail *t, uint64_t off, uint64_t len) { return !sim_disk_faulty(t->disk, off, len); }

static void raise_mark(struct tail *t, uint32_t stream, uint64_t group) { t->mark[stream] = MAX(t->mark[stream], group); }

static void see_footer(struct tail *t, uint32_t segment, uint64_t base, uint32_t stream, uint64_t epoch)
{
    uint64_t off = base + jrn_footer_off(&t->geo);
    struct jrn_footer f;

    sim_disk_peek(t->disk, off, t->buf, t->geo.head_bytes);
    if (readable(t, off, t->geo.head_bytes) && jrn_footer_decode(&t->geo, segment, t->buf, &f) == 0 && f.head.epoch == epoch)
        raise_mark(t, stream, f.first_group + f.nr_groups - 1);
}

static void see_groups(struct tail *t, uint32_t segment, uint64_t base, uint32_t stream, uint64_t epoch)
{
    uint64_t off = JRN_SEG_HEADER_BYTES;
    struct jrn_group g;

    while (off + JRN_FIXED_BYTES <= t->geo.segment_bytes) {
        size_t len = (size_t)MIN(t->geo.segment_bytes - off, sizeof(t->buf));
        struct tail_group *v = &t->v[t->nr];

        sim_disk_peek(t->disk, base + off, t->buf, len);
        if (jrn_group_decode(&t->geo, segment, off, t->buf, len, &g) != 0 || g.epoch != epoch)
            return;
        assert(t->nr < TAIL_GROUPS);
        *v = (struct tail_group){.off = base + off, .header = jrn_group_padded_bytes(&t->geo, &g), .number = g.number,
                                 .durable = g.durable_group, .stream = stream};
        v->len = v->header + (uint64_t)g.nr_blocks * BLOCK_BYTES;
        off += v->len;
        t->nr++;
    }
}

static void see_segment(struct tail *t, uint32_t segment)
{
    uint64_t base = t->geo.base_bytes + (uint64_t)segment * t->geo.segment_bytes;
    const struct journal_mark *m;
    struct jrn_seg_header h;
    uint32_t stream;

    sim_disk_peek(t->disk, base, t->buf, t->geo.head_bytes);
    if (jrn_seg_header_decode(&t->geo, segment, t->buf, &h) != 0 || h.epoch <= freed_epoch(t, segment))
        return;
    stream = h.shard * JOURNAL_STREAM_NR + h.stream;
    m = &t->rec[h.shard].mark[h.stream];
    if (m->epoch == h.epoch)
        t->named[stream] = m->group;
    if (h.cut_group != 0 && readable(t, base, t->geo.head_bytes))
        raise_mark(t, stream, h.cut_group - 1);
    see_groups(t, segment, base, stream, h.epoch);
    see_footer(t, segment, base, stream, h.epoch);
}

static bool is_newest(const struct tail *t, const struct tail_group *g)
{
    uint32_t behind = 0;

    for (uint32_t i = 0; i < t->nr; i++)
        behind += t->v[i].stream == g->stream && t->v[i].number > g->number;
    return behind < TAIL_NEWEST;
}

static void rot_group(struct tail *t, const struct tail_group *g)
{
    uint64_t len = sim_chance(t->w->sim, 500000) ? g->header : g->len;

    sim_disk_rot(t->disk, g->off + sim_below(t->w->sim, len / 512) * 512);
    world_say(t->w, "rot in group %llu of stream %u", (unsigned long long)g->number, g->stream);
    t->w->damaged = true;
    t->w->faults_planted++;
}

/* Rather where the metadata alone bears witness: that is what its record is for. */
static void strike(struct tail *t)
{
    uint32_t start = t->nr == 0 ? 0 : (uint32_t)sim_below(t->w->sim, t->nr);

    for (int any = 0; any < 2; any++) {
        for (uint32_t i = 0; i < t->nr; i++) {
            const struct tail_group *g = &t->v[(start + i) % t->nr];

            if (any ? !is_newest(t, g) : g->number <= t->mark[g->stream] || g->number > t->named[g->stream])
                continue;
            rot_group(t, g);
            return;
        }
    }
}

static void see_headers(struct tail *t)
{
    for (uint32_t i = 0; i < t->nr; i++)
        if (readable(t, t->v[i].off, t->v[i].header))
            raise_mark(t, t->v[i].stream, t->v[i].durable);
}

static void heal(struct tail *t)
{
    for (uint32_t i = 0; i < t->nr; i++)
        if (t->v[i].number > MAX(t->mark[t->v[i].stream], t->named[t->v[i].stream]))
            sim_disk_heal_range(t->disk, t->v[i].off, t->v[i].len);
}

/* Of the segments of hosts' writes that the metadata does not call free, the one that was opened last, or the one before it. */
static bool newest_begin(struct tail *t, bool before, uint64_t *off)
{
    uint64_t newest[2] = {0}, at[2] = {0};

    for (uint32_t i = 0; i < t->geo.nr_segments; i++) {
        uint64_t base = t->geo.base_bytes + (uint64_t)i * t->geo.segment_bytes;
        struct jrn_seg_header h;

        sim_disk_peek(t->disk, base, t->buf, t->geo.head_bytes);
        if (jrn_seg_header_decode(&t->geo, i, t->buf, &h) != 0 || h.slots || h.stream != JOURNAL_HOST ||
            h.epoch <= MAX(freed_epoch(t, i), newest[1]))
            continue;
        if (h.epoch > newest[0]) {
            newest[1] = newest[0];
            at[1] = at[0];
        }
        newest[h.epoch < newest[0]] = h.epoch;
        at[h.epoch < newest[0]] = base;
    }
    *off = at[before];
    return newest[before] != 0;
}

void tail_blind(struct world *w, bool before)
{
    struct tail *t = calloc(1, sizeof(*t));
    uint64_t off;

    assert(t != NULL);
    t->disk = w->machine.disk[0];
    if (geometry(t) && sim_meta_open(w->machine.store, &t->meta) == 0) {
        if (newest_begin(t, before, &off)) {
            world_say(w, "the journal cannot read %llu, where a segment begins", (unsigned long long)off);
            sim_disk_latent(t->disk, off, 2 * BLOCK_BYTES);
            w->damaged = true;
            w->faults_planted++;
        }
        t->meta->ops->close(t->meta);
    }
    free(t);
}

void tail_crashed(struct world *w, bool rot)
{
    uint64_t fixed[REACTORS_MAX * JOURNAL_STREAM_NR]; /* what footers and cuts say */
    struct tail *t = calloc(1, sizeof(*t));

    assert(t != NULL);
    t->w = w;
    t->disk = w->machine.disk[0];
    if (geometry(t) && sim_meta_open(w->machine.store, &t->meta) == 0) {
        load_records(t);
        for (uint32_t i = 0; i < t->geo.nr_segments; i++)
            see_segment(t, i);
        t->meta->ops->close(t->meta);
        if (rot) {
            memcpy(fixed, t->mark, sizeof(fixed));
            see_headers(t);
            strike(t);
            memcpy(t->mark, fixed, sizeof(fixed)); /* a header that was struck bears no witness */
        }
        see_headers(t);
        heal(t);
    }
    free(t);
}
