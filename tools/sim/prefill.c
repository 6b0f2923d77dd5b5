/* SPDX-License-Identifier: Apache-2.0 */
/* prefill.c: the metadata of a full volume, made up record by record.
 *
 * 1. A scan of a layer's 'E' records, at a start, is answered from the bitmap: the store below has none yet.
 * 2. A get of 'C' is answered here as long as the engine has not committed the extent's own record.
 * 3. Everything else goes to the store below; batches are looked at on their way, counted, and their extents are no longer ours.
 */
#include "tools/sim/prefill.h"

#include "base/crc32c.h"

#include <errno.h>
#include <stdlib.h>

struct prefill_meta { struct meta meta; struct meta *under; struct prefill *p; };

static struct prefill_meta *of(struct meta *m) { return container_of(m, struct prefill_meta, meta); }

/* ---- which extents ---- */

static bool is_ours(const struct prefill *p, uint64_t x) { return x < p->nr_extents && (p->ours[x / 64] >> (x % 64) & 1) != 0; }

void prefill_init(struct prefill *p, const struct trace *t, uint64_t volume_bytes, uint32_t nr_devs)
{
    static const uint8_t zeros[BLOCK_BYTES];

    assert(volume_bytes % EXTENT_BYTES == 0 && nr_devs > 0);
    *p = (struct prefill){.t = t, .nr_extents = volume_bytes / EXTENT_BYTES, .nr_devs = nr_devs, .zero_crc = crc32c(0, zeros, BLOCK_BYTES)};
    p->ours = calloc(p->nr_extents / 64 + 1, sizeof(*p->ours));
    assert(p->ours != NULL);
    for (size_t i = 0; i < t->nr_runs; i++) {
        uint64_t first = t->run[i].first / EXTENT_BLOCKS, last = (t->run[i].first + t->run[i].nr - 1) / EXTENT_BLOCKS;

        for (uint64_t x = first == 0 ? 0 : first - 1; x <= last + 1 && x < p->nr_extents; x++)
            p->ours[x / 64] |= UINT64_C(1) << (x % 64);
    }
}

void prefill_fini(struct prefill *p) { free(p->ours); }

struct extent_place prefill_place(const struct prefill *p, uint64_t extent)
{
    uint64_t region = extent / REGION_EXTENTS;

    return (struct extent_place){.dev = (uint16_t)(region % p->nr_devs),
                                 .slot = (uint32_t)(region / p->nr_devs * REGION_EXTENTS + extent % REGION_EXTENTS)};
}

uint64_t prefill_extents_a_dev(const struct prefill *p)
{
    uint64_t regions = (p->nr_extents + REGION_EXTENTS - 1) / REGION_EXTENTS;

    return (regions + p->nr_devs - 1) / p->nr_devs * REGION_EXTENTS;
}

int prefill_arm(struct prefill *p, struct meta *under, uint64_t volume_id)
{
    struct meta_key key = meta_key_volume(volume_id);
    uint8_t buf[META_VALUE_MAX];
    struct volume_rec rec;
    uint32_t len = 0;
    int err = under->ops->get_sync(under, &key, buf, &len);

    if (err == 0)
        err = volume_rec_decode(buf, len, &rec);
    if (err != 0)
        return err;
    p->layer = rec.layer;
    p->armed = true;
    return 0;
}

/* ---- records ---- */

/* The sums record of an extent that is ours; false: the key is another. */
static bool make_sums(const struct prefill *p, const struct meta_key *key, void *buf, uint32_t *len)
{
    struct extent_sums sums = {0};
    uint64_t layer, x;

    if (!p->armed || meta_key_parse_extent(key, 'C', &layer, &x) != 0 || layer != p->layer || !is_ours(p, x))
        return false;
    memset(sums.valid, 0xff, sizeof(sums.valid));
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++)
        sums.csum[i] = block_csum_of_crc(p->zero_crc, layer, x * EXTENT_BLOCKS + i);
    *len = extent_sums_encode(&sums, buf);
    return true;
}

static int scan_ours(const struct prefill *p, int (*fn)(void *, const struct meta_key *, const void *, uint32_t), void *ctx)
{
    for (uint64_t x = 0; x < p->nr_extents; x++) {
        struct extent_rec rec = {.place = prefill_place(p, x)};
        struct meta_key key = meta_key_extent(p->layer, x);
        uint8_t buf[EXTENT_REC_BYTES];
        int err;

        if (!is_ours(p, x))
            continue;
        err = fn(ctx, &key, buf, extent_rec_encode(&rec, buf));
        if (err != 0)
            return err;
    }
    return 0;
}

/* ---- pages of a commit ---- */

/* LMDB writes every page on the way to a changed record anew, and one meta page. Leaves hold three 'C' records or some sixty
 * of the others; batches come sorted, so neighbours follow each other. */
#define C_PER_LEAF 3u
#define E_PER_LEAF 60u
#define PAGES_A_COMMIT 3u /* root, list of free pages, meta page */

struct leaf { uint64_t no; bool any; };

/* Pages that a record in that leaf adds: the leaf, unless the one before lay there; once a kind, a branch above it. */
static uint64_t leaf_pages(struct leaf *l, uint64_t no)
{
    uint64_t pages = l->any ? 0 : 1;

    pages += !l->any || l->no != no ? 1 : 0;
    *l = (struct leaf){.no = no, .any = true};
    return pages;
}

static uint64_t batch_pages(const struct meta_op *ops, uint32_t nr)
{
    struct leaf sums = {0}, extents = {0};
    uint64_t pages = PAGES_A_COMMIT, layer, x;

    for (uint32_t i = 0; i < nr; i++) {
        if (meta_key_parse_extent(&ops[i].key, 'C', &layer, &x) == 0)
            pages += leaf_pages(&sums, x / C_PER_LEAF);
        else if (meta_key_parse_extent(&ops[i].key, 'E', &layer, &x) == 0)
            pages += leaf_pages(&extents, x / E_PER_LEAF);
        else
            pages++;
    }
    return pages;
}

static void look_at(struct prefill *p, const struct meta_op *ops, uint32_t nr)
{
    uint64_t layer, x;

    if (!p->armed)
        return;
    p->batches++;
    p->pages += batch_pages(ops, nr);
    for (uint32_t i = 0; i < nr; i++)
        if (meta_key_parse_extent(&ops[i].key, 'C', &layer, &x) == 0 && layer == p->layer && x < p->nr_extents)
            p->ours[x / 64] &= ~(UINT64_C(1) << (x % 64));
}

/* ---- the verbs ---- */

static void commit(struct meta *m, struct meta_batch *b)
{
    look_at(of(m)->p, b->ops, b->nr);
    meta_commit(of(m)->under, b);
}

static void get_heard(struct env_task *t)
{
    struct meta_get_req *r = container_of(t, struct meta_get_req, priv.task);

    r->cb(r);
}

static void get(struct meta *m, struct meta_get_req *r)
{
    if (!make_sums(of(m)->p, &r->key, r->buf, &r->len)) {
        meta_get(of(m)->under, r);
        return;
    }
    r->err = 0;
    r->priv.task = (struct env_task){.fn = get_heard};
    env_post(r->env, &r->priv.task);
}

static int get_sync(struct meta *m, const struct meta_key *key, void *buf, uint32_t *len)
{
    return make_sums(of(m)->p, key, buf, len) ? 0 : of(m)->under->ops->get_sync(of(m)->under, key, buf, len);
}

static int commit_sync(struct meta *m, const struct meta_op *ops, uint32_t nr)
{
    look_at(of(m)->p, ops, nr);
    return of(m)->under->ops->commit_sync(of(m)->under, ops, nr);
}

static int scan_sync(struct meta *m, const struct meta_key *prefix,
                     int (*fn)(void *ctx, const struct meta_key *key, const void *value, uint32_t len), void *ctx)
{
    struct prefill *p = of(m)->p;
    struct meta_key ours = meta_key_layer_extents(p->layer);

    if (p->armed && prefix->len == ours.len && memcmp(prefix->b, ours.b, ours.len) == 0)
        return scan_ours(p, fn, ctx);
    return of(m)->under->ops->scan_sync(of(m)->under, prefix, fn, ctx);
}

static uint64_t commit_no(const struct meta *m)
{
    return meta_commit_no(container_of(m, const struct prefill_meta, meta)->under);
}

static void number_from(struct meta *m, uint64_t no) { of(m)->under->ops->number_from(of(m)->under, no); }

static void close_both(struct meta *m)
{
    of(m)->under->ops->close(of(m)->under);
    free(of(m));
}

static const struct meta_ops prefill_ops = {
    .name = "prefill",
    .commit = commit,
    .get = get,
    .get_sync = get_sync,
    .commit_sync = commit_sync,
    .scan_sync = scan_sync,
    .commit_no = commit_no,
    .number_from = number_from,
    .close = close_both,
};

void prefill_open(struct prefill *p, struct meta *under, struct meta **out)
{
    struct prefill_meta *pm = calloc(1, sizeof(*pm));

    assert(pm != NULL);
    *pm = (struct prefill_meta){.meta.ops = &prefill_ops, .under = under, .p = p};
    *out = &pm->meta;
}
