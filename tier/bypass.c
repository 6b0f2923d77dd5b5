/* SPDX-License-Identifier: Apache-2.0 */
/* bypass.c: a host's write that belongs to a long stream goes past the log.
 *
 * 1. Each extent that it touches has a twin, or gets one (twin.c), in which none of these blocks was ever written.
 * 2. The blocks are written there, and the device is flushed (bypass_run.c). Nobody has been told of them, and nothing names them: a
 *    torn write is never visible.
 * 3. Then a PLACED record {range, seq, checksums, place}, without payload, is appended to the log's HOST stream like any other.
 * 4. In its callback, in seq order, the blocks enter the index; when the records of all extents are durable the host is answered.
 * So the log decides, as ever, what was acknowledged, and which of two writes is the newer one.
 * Failures: whatever speaks against it before it begins: the log takes the write. The device refuses it: the log takes that part, whose
 * blocks are never written in that twin again. A device that hangs keeps the write, and its buffers, as it would keep a read.
 */
#include "tier/bypass.h"
#include "tier/map.h"
#include "tier/rmw.h"
#include "tier/twin.h"
#include "tier/write.h"

/* A host that writes less at a time waits for each write, as databases do for their logs: a disk would hold it up. */
#define MEAN_BLOCKS 4u
#define PACE_BLOCKS (MIB / BLOCK_BYTES) /* of which each must not have taken too long */

/* What is shorter than this the SSD keeps until it is read, or written again. */
static uint64_t cutoff_bytes(const struct shard *s)
{
    const struct segpool_geometry *geo = segpool_geometry(s->o.segpool);
    uint64_t ssd = (uint64_t)geo->nr_segments / geo->nr_shards * geo->segment_bytes;

    return MAX(s->t.write_bypass, s->t.write_bypass_part != 0 ? ssd / s->t.write_bypass_part : 0);
}

/* What comes slowly does not count, nor what came before a pause: its trains would be short, and each costs reads a way there and back. The
 * log collects it, and destage writes it in one. So it does where a host waits for each write, and the device has made it slow. */
static void keep_pace(const struct shard *s, struct stream *st)
{
    uint64_t now = env_now_ns(s->env), n = st->nblocks - st->mark, rate = s->t.write_bypass_rate;

    if (st->nr > 1 && rate != 0 && now > st->mark_ns + MAX(n, PACE_BLOCKS) * BLOCK_BYTES * NS_PER_S / rate)
        st->fast_from = st->nblocks;
    if (st->nr > 1 && n < PACE_BLOCKS && st->fast_from != st->nblocks)
        return;
    st->mark = st->nblocks;
    st->mark_ns = now;
}

static bool is_long(const struct shard *s, const struct stream *st)
{
    return (st->nblocks - st->fast_from) * BLOCK_BYTES > cutoff_bytes(s) && st->nblocks >= st->nr * MEAN_BLOCKS;
}

static bool anything_hangs(const struct shard *s)
{
    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        if (s->hung[d])
            return true;
    return false;
}

/* How many blocks of the write are to go past the log. Of a stream whose writes begin and end within blocks, each last block is written
 * again by the next one: the log has it until then. If that came as a surprise the log gets the first block of the next one, instead.
 * A write that ends within blocks is none of a stream, here: the next one waits for its blocks (rmw.c). */
void bypass_arrived(struct shard *s, struct blk_io *io)
{
    const struct volume *v = container_of(io->priv.blk, struct volume, blk);
    uint32_t lba_bytes = v->blk.lba_bytes;
    uint64_t n = (uint64_t)io->nlb * lba_bytes / BLOCK_BYTES;
    struct stream *st;

    io_set_past(io, 0);
    if (s->t.write_bypass == 0 || io->op != BLK_WRITE || (lba_bytes != BLOCK_BYTES && rmw_needs_buffer(io)))
        return;
    st = stream_read(&s->write_streams, (uint32_t)(uintptr_t)v->priv, io->lba * lba_bytes / BLOCK_BYTES, n);
    keep_pace(s, st);
    if (is_long(s, st))
        io_set_past(io, n - stream_shares_last(st));
}

/* It waits for one, or the stream's extents would have holes that the log fills: a way of the head each, later. */
bool bypass_needed(const struct shard *s, const struct blk_io *io) { return io_past(io) > 0 && !anything_hangs(s); }

static uint32_t wanted(struct shard *s, const struct wio *w)
{
    const struct layer *l = layer_at(s, w->layer);

    return s->draining || l->vol == NULL || l->vol->tier == VOLUME_SSD || !journal_allow_placed(s->j) ? 0 : w->past;
}

static bool unused(const struct twin *t, uint64_t block, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (bit_get(t->used, (uint32_t)((block + i) % EXTENT_BLOCKS)))
            return false;
    return true;
}

static bool part_fits(struct shard *s, const struct bypass_part *p, uint64_t block)
{
    struct extent *e = extent_at(&s->xt, p->x);
    const struct twin *t = twin_of(s, e);
    bool begins = t == NULL;

    if (begins && s->twins_used == TWINS_MAX)
        twins_press(s);
    if (begins)
        t = twin_new(s, p->x);
    return t != NULL && !t->closed && (unused(t, block, p->n) || s->bugs.twin_written_twice) && !s->degraded[t->place.dev] &&
           dev_usable(s, shard_capacity(s, t->place.dev)) && (!begins || bypass_has_time(s, t->place.dev));
}

static void add_part(struct bypass *b, uint32_t first, uint32_t n, bool log)
{
    const struct wio *w = b->w;
    struct bypass_part *p = &b->part[b->nr++];

    assert(b->nr <= ARRAY_LEN(b->part) && n > 0);
    p->of = b;
    p->x = w->ext[extent_no(w->app.lba + first) - extent_no(w->app.lba)];
    p->first = first;
    p->n = n;
    p->log = log;
}

static bool first_is_used(const struct shard *s, const struct wio *w)
{
    const struct twin *t = twin_of(s, extent_at(&s->xt, w->ext[0]));

    return t != NULL && !s->bugs.twin_written_twice && bit_get(t->used, (uint32_t)(w->app.lba % EXTENT_BLOCKS));
}

/* The blocks of the write by extent, and what the log takes of it. False: nothing is left to go past it. */
static bool cut(struct bypass *b, uint32_t past)
{
    const struct wio *w = b->w;
    uint32_t at = first_is_used(b->s, w);

    if (at >= past)
        return false;
    if (at > 0)
        add_part(b, 0, at, true);
    while (at < past) {
        uint32_t n = MIN(EXTENT_BLOCKS - (uint32_t)((w->app.lba + at) % EXTENT_BLOCKS), past - at);

        add_part(b, at, n, false);
        at += n;
    }
    if (at < w->app.nblocks)
        add_part(b, at, (uint32_t)w->app.nblocks - at, true);
    return true;
}

static int part_iov(struct bypass_part *p)
{
    const struct wio *w = p->of->w;
    size_t left = (size_t)p->n * BLOCK_BYTES, off = (size_t)p->first * BLOCK_BYTES;
    int n = 0;

    for (int i = 0; i < w->app.iovcnt && left > 0; i++) {
        size_t take;

        if (off >= w->app.iov[i].iov_len) {
            off -= w->app.iov[i].iov_len;
            continue;
        }
        take = MIN(w->app.iov[i].iov_len - off, left);
        p->iov[n++] = (struct iovec){(char *)w->app.iov[i].iov_base + off, take};
        left -= take;
        off = 0;
    }
    assert(left == 0);
    return n;
}

/* ---- the record ---- */

static void index_placed(struct shard *s, struct bypass_part *p, struct twin *t)
{
    const struct journal_append *a = &p->app;

    for (uint32_t i = 0; i < a->nblocks; i++) {
        struct index_entry n = {.layer = p->of->w->layer, .block = a->lba + i, .seq = a->seq, .csum = a->csum[i]};

        twin_put(s, t, &n, a->loc.segment);
    }
    map_seg_seq(s, a->loc.segment, a->seq);
    figure_add(&s->stats.bypass_blocks, a->nblocks);
}

static void part_appended(struct journal_append *a)
{
    struct bypass_part *p = container_of(a, struct bypass_part, app);
    struct bypass *b = p->of;
    struct shard *s = b->s;
    struct twin *t = p->log ? NULL : twin_of(s, extent_at(&s->xt, p->x));

    if (a->err == 0 && a->type == JOURNAL_PLACED)
        index_placed(s, p, t);
    else if (a->err == 0)
        write_indexed(s, b->w->layer, a, a->csum);
    if (t != NULL) {
        t->writes--;
        if (a->err != 0 && a->type == JOURNAL_PLACED) /* the log may hold it: nobody may have the place before a restart tells */
            t->seq_max = INDEX_SEQ_MAX;
        twin_settle(s, p->x, (struct extent_place){.dev = EXTENT_NO_DEV});
    }
    b->err = b->err != 0 ? b->err : a->err;
    b->w->app.seq = a->seq;
    if (--b->left > 0)
        return;
    write_end(b->w, b->err);
    pool_put(&s->bypasses, b);
}

static void part_append(struct bypass_part *p, bool placed)
{
    struct shard *s = p->of->s;
    const struct journal_append *a = &p->of->w->app;

    p->app = (struct journal_append){.type = placed ? JOURNAL_PLACED : JOURNAL_WRITE, .stream = JOURNAL_HOST, .layer = a->layer,
                                     .lba = a->lba + p->first, .nblocks = p->n, .csum = a->csum + p->first, .cb = part_appended};
    if (placed) {
        p->app.place = extent_place_encode(twin_of(s, extent_at(&s->xt, p->x))->place);
    } else {
        p->app.iov = p->iov;
        p->app.iovcnt = part_iov(p);
    }
    journal_append(s->j, &p->app);
}

/* ---- the blocks ---- */

void bypass_part_done(struct bypass_part *p, bool durable)
{
    figure_add(&p->of->s->stats.bypass_refused, !durable);
    part_append(p, durable);
}

static void part_begin(struct bypass_part *p)
{
    struct shard *s = p->of->s;
    struct twin *t = twin_of(s, extent_at(&s->xt, p->x));
    uint32_t first = (uint32_t)((p->of->w->app.lba + p->first) % EXTENT_BLOCKS);

    for (uint32_t i = first; i < first + p->n; i++)
        bit_set(t->used, i);
    t->writes++;
    p->iovcnt = part_iov(p);
    bypass_queue(s, p, t->place.dev, cold_offset(s->o.cold, t->place) + (uint64_t)first * BLOCK_BYTES);
}

bool bypass_write(struct shard *s, struct wio *w)
{
    uint32_t past = w->past == 0 ? 0 : wanted(s, w);
    struct bypass *b = past > 0 ? pool_get(&s->bypasses) : NULL;
    bool fits = b != NULL;

    if (b == NULL)
        return false;
    *b = (struct bypass){.s = s, .w = w};
    fits = cut(b, past);
    for (uint32_t i = 0; i < b->nr && fits; i++)
        fits = b->part[i].log || part_fits(s, &b->part[i], w->app.lba + b->part[i].first);
    if (!fits) {
        for (uint32_t i = 0; i < b->nr; i++)
            twin_settle(s, b->part[i].x, (struct extent_place){.dev = EXTENT_NO_DEV});
        figure_add(&s->stats.bypass_refused, 1);
        pool_put(&s->bypasses, b);
        return false;
    }
    b->left = b->nr;
    for (uint32_t i = 0; i < b->nr; i++) {
        if (b->part[i].log)
            part_append(&b->part[i], false);
        else
            part_begin(&b->part[i]);
    }
    return true;
}
