/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c: reads of rotational capacity devices go through RAM: aligned, shared, and ahead of streams.
 *
 * 1. A miss reads more than was asked for: a seek costs as much as the transfer of a megabyte. The aligned blocks around it, within
 *    their extent, that neither the log nor RAM has get frames; those between them are read and forgotten: one device request.
 * 2. Runs that want any of it wait for it, and so do those of requests that come later: one read of the device for all.
 * 3. What arrives is verified once. Then the runs copy what they want, each against the checksum that it wants.
 * 4. A frame lives until its turn comes, or until the map's idea of its block changes: the log takes a newer one (map_put), it is
 *    zeroed (map_discard), a batch says otherwise (sums_set, sums_drop). So a frame that is found holds what the map names; a hit compares
 *    the checksums all the same.
 * 5. What is worth a place on the SSD is copied there from its frame (fill.c).
 * 6. A host's read that goes on with a stream starts fetches ahead of it, for which nobody waits.
 * Failures: what did not come well is not staged; the runs that wanted it repair it block by block (read_repair.c), as if
 * their own read had failed. No frames or structs, or a device that keeps its share of them already: the run reads for itself, as
 * from a device that does not seek; nothing ever waits for a frame. Where the device refused a read nothing is fetched around what
 * is asked for, for a while.
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/crc32c.h"
#include "tier/fetch.h"
#include "tier/fill.h"
#include "tier/map.h"
#include "tier/priv.h"
#include "tier/read.h"
#include "tier/sums.h"

#define FETCH_DEPTH_MAX 32u /* what a disk can put in order by itself */
#define UNIT_SHRUNK     8u  /* blocks: fewer are not worth a seek, however few frames there are */
#define SHUN_NS         (60 * NS_PER_S)

/* ---- birth and end ---- */

static uint32_t frames_of(const struct shard *s)
{
    uint64_t nr = s->t.stage_bytes / BLOCK_BYTES / segpool_geometry(s->o.segpool)->nr_shards;

    return (uint32_t)MIN(MAX(nr, STAGE_FRAMES_MIN), STAGE_FRAMES_MAX);
}

bool fetch_seeks(const struct dev *d) { return d != NULL && d->caps.rotational && d->caps.iov_max >= EXTENT_BLOCKS; }

static bool any_seeks(const struct shard *s)
{
    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        if (fetch_seeks(shard_capacity(s, d)))
            return true;
    return false;
}

void fetch_retune(struct shard *s)
{
    uint32_t nr = s->stage.nr, unit = MAX(s->t.fetch_bytes / BLOCK_BYTES, 1u);

    while (unit > UNIT_SHRUNK && unit * 16 > nr)
        unit /= 2;
    s->fetch_blocks = MIN(unit, EXTENT_BLOCKS);
    s->fetch_depth = MIN(MAX(nr / 2 / s->fetch_blocks, 1u), FETCH_DEPTH_MAX);
    s->ahead_blocks = any_seeks(s) && s->t.read_ahead_max > BLOCK_BYTES ? MIN(s->t.read_ahead_max / BLOCK_BYTES, nr / 8) : 0;
}

int fetch_init(struct shard *s)
{
    int err = stage_init(&s->stage, frames_of(s));

    fetch_retune(s);
    s->hole = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->hole == MAP_FAILED) {
        s->hole = NULL;
        err = -ENOMEM;
    }
    return err ? err : pool_init(&s->fetches, sizeof(struct fetch), 16, FETCHES_MAX);
}

void fetch_fini(struct shard *s)
{
    stage_fini(&s->stage);
    pool_abandon(&s->fetches);
    if (s->hole != NULL)
        munmap(s->hole, BLOCK_BYTES);
}

bool fetch_busy(const struct shard *s) { return s->fetches.nr_free < s->fetches.nr; }

/* ---- what RAM has ---- */

const void *fetch_staged(const struct shard *s, const struct run_at *at)
{
    uint32_t f = stage_find(&s->stage, at->x, at->in_extent);

    if (f == STAGE_NONE || !stage_holds(&s->stage, f) || stage_frame(&s->stage, f)->csum != at->csum)
        return NULL;
    return stage_block(&s->stage, f);
}

struct fetch *fetch_under_way(const struct shard *s, const struct run_at *at)
{
    uint32_t f = stage_find(&s->stage, at->x, at->in_extent);

    if (f == STAGE_NONE || stage_frame(&s->stage, f)->state != FRAME_FETCHING || stage_frame(&s->stage, f)->csum != at->csum)
        return NULL;
    return stage_frame(&s->stage, f)->fetch;
}

/* Where blocks are used together, not again, RAM is for those that have not been used. */
void fetch_served(struct shard *s, uint32_t layer, uint32_t f)
{
    if (layer_at(s, layer)->use.chunks && quota_use(s, layer) != NULL)
        stage_yield(&s->stage, f);
}

void fetch_forget(struct shard *s, uint32_t x, uint32_t in_extent)
{
    if (!s->bugs.stage_keeps_overwritten)
        stage_drop_block(&s->stage, x, in_extent);
}

void fetch_forget_extent(struct shard *s, uint32_t x) { stage_drop_extent(&s->stage, x); }

void fetch_forget_changed(struct shard *s, uint32_t x, const struct extent_sums *v)
{
    for (uint32_t i = 0; i < EXTENT_BLOCKS && stage_may_have(&s->stage, x); i++) {
        uint32_t f = stage_find(&s->stage, x, i);

        if (f != STAGE_NONE && (!bit_get(v->valid, i) || bit_get(v->damaged, i) || v->csum[i] != stage_frame(&s->stage, f)->csum))
            stage_drop(&s->stage, f);
    }
}

/* ---- sectors that cannot be read ---- */

/* A disk tries for seconds: who wants the neighbours shall not wait for it each time. */
static void shun(struct fetch *f)
{
    struct shard *s = f->s;

    s->shunned[s->shunned_next++ % SHUNNED] =
        (struct shunned){.x = f->x, .from = f->first, .to = f->first + f->n, .until_ns = env_now_ns(s->env) + SHUN_NS};
}

static bool is_shunned(const struct shard *s, uint32_t x, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < SHUNNED; i++) {
        const struct shunned *h = &s->shunned[i];

        if (h->x == x && h->from < to && from < h->to && env_now_ns(s->env) < h->until_ns)
            return true;
    }
    return false;
}

/* ---- what came ---- */

static uint64_t block_of(const struct fetch *f, uint32_t i) { return (uint64_t)f->no * EXTENT_BLOCKS + f->first + i; }

static void take_block(struct fetch *f, uint32_t i)
{
    struct shard *s = f->s;
    uint32_t fr = f->frame[i];
    bool wanted, good;

    if (fr == STAGE_NONE)
        return;
    wanted = stage_frame(&s->stage, fr)->state == FRAME_FETCHING;
    good = f->io.err == 0 && wanted &&
           (s->bugs.skip_csum ||
            block_csum(stage_block(&s->stage, fr), f->layer_id, block_of(f, i)) == stage_frame(&s->stage, fr)->csum);
    if (wanted && !good && f->io.err == 0)
        bit_set(f->rotten, f->first + i);
    if (good)
        damage_mended(&s->damage, f->layer, block_of(f, i), 1);
    else
        f->frame[i] = STAGE_NONE;
    stage_arrived(&s->stage, fr, good);
}

static void fetch_done(struct dev_io *io)
{
    struct fetch *f = container_of(io, struct fetch, io);
    struct shard *s = f->s;
    uint16_t dev = f->place.dev;
    struct list runs, *n;

    s->fetching[dev]--;
    fg_took(s, io, dev);
    turn_fg_end(turn_of(s, dev), env_now_ns(s->env));
    if (io->err != 0)
        shun(f);
    for (uint32_t i = 0; i < f->n; i++) {
        s->fetch_frames[dev] -= f->frame[i] != STAGE_NONE;
        take_block(f, i);
    }
    list_init(&runs);
    list_splice_back(&runs, &f->runs);
    list_for_each(r, &runs) /* all of them before any ends: who is answered may ask for frames at once */
        run_take(list_entry(r, struct run, node), f);
    fill_arrived(s, f);
    map_read_done(s, f->x, f->place);
    pool_put(&s->fetches, f);
    while ((n = list_pop_front(&runs)) != NULL)
        run_taken(list_entry(n, struct run, node));
    shard_kick(s);
}

/* ---- one fetch ---- */

static uint32_t share_of(const struct shard *s, uint32_t nr)
{
    return s->o.nr_capacity > 1 ? MAX(nr * POLICY_SHARE_PCT / 100, 1u) : nr;
}

bool fetch_full(const struct shard *s, uint16_t dev)
{
    return fetch_seeks(shard_capacity(s, dev)) && s->fetching[dev] >= s->fetch_depth;
}

static bool may_fetch(const struct shard *s, uint16_t dev)
{
    const struct dev *d = shard_capacity(s, dev);

    return fetch_seeks(d) && dev_usable(s, d) && !fetch_full(s, dev) && !pool_is_empty(&s->fetches);
}

static uint32_t frames_left(const struct shard *s, uint16_t dev)
{
    uint32_t share = share_of(s, s->stage.nr);

    return s->fetch_frames[dev] >= share ? 0 : MIN(share - s->fetch_frames[dev], stage_claimable(&s->stage));
}

/* Only the device has it, as far as RAM is asked. */
static bool only_there(const struct shard *s, const struct extent *e, uint32_t x, const struct extent_sums *v, uint32_t i)
{
    return bit_get(v->valid, i) && !bit_get(v->damaged, i) && stage_find(&s->stage, x, i) == STAGE_NONE &&
           (e->nr_live == 0 || index_find(&s->ix, e->layer, (uint64_t)e->no * EXTENT_BLOCKS + i) == INDEX_NONE);
}

/* Frames for what is wanted of [from, to); the fetch shrinks to what lies between the first and the last of them. */
static void claim(struct fetch *f, const struct extent_sums *v, uint32_t from, uint32_t to)
{
    struct shard *s = f->s;
    const struct extent *e = extent_at(&s->xt, f->x);

    f->n = 0;
    f->first = from;
    for (uint32_t i = from; i < to; i++) {
        bool want = only_there(s, e, f->x, v, i);

        if (want && f->n == 0)
            f->first = i;
        f->frame[i - f->first] = want ? stage_claim(&s->stage, f->x, i, v->csum[i], f) : STAGE_NONE;
        if (want)
            f->n = i - f->first + 1;
        s->fetch_frames[f->place.dev] += want;
    }
}

/* Frames that lie together are one element. */
static int fetch_iov(struct fetch *f)
{
    const struct stage *st = &f->s->stage;
    int n = 0;

    for (uint32_t i = 0; i < f->n; i++) {
        char *p = f->frame[i] == STAGE_NONE ? f->s->hole : stage_block(st, f->frame[i]);
        struct iovec *last = n == 0 ? NULL : &f->iov[n - 1];

        if (f->frame[i] != STAGE_NONE && last != NULL && (char *)last->iov_base + last->iov_len == p)
            last->iov_len += BLOCK_BYTES;
        else
            f->iov[n++] = (struct iovec){p, BLOCK_BYTES};
    }
    return n;
}

static void submit(struct fetch *f)
{
    struct shard *s = f->s;
    struct extent *e = extent_at(&s->xt, f->x);

    e->reads++;
    s->fetching[f->place.dev]++;
    turn_fg_begin(turn_of(s, f->place.dev));
    figure_add(&s->stats.fetch_ops, 1);
    f->io = (struct dev_io){.off_bytes = cold_offset(s->o.cold, f->place) + (uint64_t)f->first * BLOCK_BYTES,
                            .len_bytes = (uint64_t)f->n * BLOCK_BYTES, .iov = f->iov, .iovcnt = fetch_iov(f), .cb = fetch_done};
    turn_head_to(turn_of(s, f->place.dev), f->io.off_bytes + f->io.len_bytes);
    dev_read(shard_capacity(s, f->place.dev), &f->io);
}

/* Its checksums are in RAM and it is mapped. NULL: there is nothing to be read. */
static struct fetch *begin(struct shard *s, uint32_t x, uint32_t from, uint32_t to)
{
    const struct extent *e = extent_at(&s->xt, x);
    struct sums *m = sums_get(s, x, NULL);
    struct fetch *f;

    if (m == NULL)
        return NULL;
    f = pool_get(&s->fetches);
    f->s = s;
    f->x = x;
    f->layer = e->layer;
    f->layer_id = layer_at(s, e->layer)->id;
    f->no = e->no;
    f->place = e->place;
    f->n = 0;
    memset(f->rotten, 0, sizeof(f->rotten));
    list_init(&f->runs);
    if (m->err == 0 && !is_shunned(s, x, from, to))
        claim(f, &m->v, from, to);
    sums_put(s, m);
    if (f->n == 0) {
        pool_put(&s->fetches, f);
        return NULL;
    }
    submit(f);
    return f;
}

struct fetch *fetch_begin(struct shard *s, const struct run_at *at, uint32_t nblocks, bool chunk, uint64_t ahead_end)
{
    uint32_t unit = chunk ? MAX(s->fetch_blocks, CHUNK_BLOCKS) : s->fetch_blocks;
    uint64_t base = (uint64_t)extent_at(&s->xt, at->x)->no * EXTENT_BLOCKS;
    uint32_t from = ROUND_DOWN(at->in_extent, unit), left = frames_left(s, at->place.dev);
    uint32_t to = ROUND_UP(at->in_extent + nblocks, unit);
    struct fetch *f;

    if (nblocks > s->stage.nr / 2 || !may_fetch(s, at->place.dev))
        return NULL;
    if (ahead_end > base + to)
        to = (uint32_t)MIN(ahead_end - base, EXTENT_BLOCKS);
    to = MIN(to, EXTENT_BLOCKS);
    if (left < to - from) {
        from = at->in_extent;
        to = from + MIN(nblocks, left);
    }
    f = begin(s, at->x, from, to);
    return f != NULL && fetch_covers(f, at) > 0 ? f : NULL;
}

void fetch_join(struct fetch *f, struct run *u)
{
    u->fetch = f;
    list_push_back(&f->runs, &u->node);
}

/* ---- ahead of streams ---- */

/* Half of all frames stay for those who wait. */
static bool may_go_ahead(const struct shard *s, uint32_t x, uint32_t nblocks)
{
    const struct extent *e = x == EXTENT_NONE ? NULL : extent_at(&s->xt, x);

    return e != NULL && extent_mapped(e) && may_fetch(s, e->place.dev) && list_empty(&s->runs_dev[e->place.dev]) &&
           s->stage.nr_out + nblocks <= s->stage.nr / 2 && nblocks <= frames_left(s, e->place.dev);
}

static void go_ahead(struct shard *s, uint32_t x, uint32_t from, uint32_t to)
{
    struct fetch *f = begin(s, x, from, to);

    for (uint32_t i = 0; f != NULL && i < f->n; i++)
        figure_add(&s->stats.read_ahead_blocks, f->frame[i] != STAGE_NONE);
}

/* The checksums have come, or not; the layer may be another's by now, or be going: its extents must not get new readers once their
 * records are being deleted. */
static void ahead_wake(struct sums_waiter *w)
{
    struct fetch *f = container_of(w, struct fetch, wait);
    struct shard *s = f->s;
    const struct layer *y = layer_at(s, f->layer);
    bool same = y->id == f->layer_id && y->vol != NULL;
    uint32_t x = same ? extent_find(&s->xt, f->layer, f->no) : EXTENT_NONE, from = f->first, n = f->n;

    pool_put(&s->fetches, f);
    if (may_go_ahead(s, x, n))
        go_ahead(s, x, from, from + n);
    shard_kick(s);
}

static void wait_for_sums(struct shard *s, uint32_t x, uint32_t from, uint32_t n)
{
    const struct extent *e = extent_at(&s->xt, x);
    struct fetch *f = pool_get(&s->fetches);
    struct sums *m;

    f->s = s;
    f->layer = e->layer;
    f->layer_id = layer_at(s, e->layer)->id;
    f->no = e->no;
    f->first = from;
    f->n = n;
    f->wait.fn = ahead_wake;
    list_init(&f->wait.node);
    m = sums_get(s, x, &f->wait);
    assert(m == NULL); /* they were looked for in this very call */
}

static bool ahead_in_extent(struct shard *s, uint32_t x, uint32_t from, uint32_t n)
{
    struct sums *m;

    if (!may_go_ahead(s, x, n))
        return false;
    m = sums_get(s, x, NULL);
    if (m == NULL) {
        wait_for_sums(s, x, from, n);
        return true;
    }
    sums_put(s, m);
    go_ahead(s, x, from, from + n);
    return true;
}

struct ahead fetch_plan_ahead(struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks)
{
    struct ahead a = {0};
    uint64_t n, size = layer_at(s, layer)->vol->size_blocks;

    if (s->ahead_blocks == 0)
        return a;
    a.stream = stream_read(&s->streams, layer, block, nblocks);
    a.stream_blocks = a.stream->nblocks;
    n = stream_ahead(a.stream, s->ahead_blocks, &a.from);
    a.end = n == 0 || a.from >= size ? 0 : MIN(a.from + n, size);
    return a;
}

/* What cannot be had now is asked for again by the stream's next read. */
void fetch_ahead(struct shard *s, uint32_t layer, const struct ahead *a)
{
    for (uint64_t b = a->from; b < a->end;) {
        uint32_t first = (uint32_t)(b % EXTENT_BLOCKS), n = (uint32_t)MIN(a->end - b, EXTENT_BLOCKS - first);
        uint32_t x = extent_find(&s->xt, layer, extent_no(b));

        if (x != EXTENT_NONE && extent_mapped(extent_at(&s->xt, x)) && !ahead_in_extent(s, x, first, n)) {
            a->stream->ahead = b;
            return;
        }
        b += n;
    }
}

/* ---- for tests ---- */

static void verify_against_map(struct shard *s, const struct frame *m)
{
    struct sums *c = list_empty(&s->sums_blocked) ? sums_get(s, m->x, NULL) : NULL;

    if (c == NULL)
        return;
    if (c->err == 0)
        assert(bit_get(c->v.valid, m->in_extent) && !bit_get(c->v.damaged, m->in_extent) && c->v.csum[m->in_extent] == m->csum);
    sums_put(s, c);
}

static void verify_frame(struct shard *s, uint32_t f)
{
    const struct frame *m = stage_frame(&s->stage, f);
    const struct extent *e = extent_at(&s->xt, m->x);
    uint64_t block = (uint64_t)e->no * EXTENT_BLOCKS + m->in_extent;

    assert(e->layer != 0 && extent_mapped(e));
    assert(s->bugs.stage_keeps_overwritten || index_find(&s->ix, e->layer, block) == INDEX_NONE);
    verify_against_map(s, m);
    if (stage_holds(&s->stage, f) && !s->bugs.skip_csum)
        assert(block_csum(stage_block(&s->stage, f), layer_at(s, e->layer)->id, block) == m->csum);
}

void fetch_verify(struct shard *s)
{
    stage_verify(&s->stage);
    for (uint32_t f = 1; f <= s->stage.nr; f++)
        if (stage_frame(&s->stage, f)->state == FRAME_FETCHING || stage_holds(&s->stage, f))
            verify_frame(s, f);
}
