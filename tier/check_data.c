/* SPDX-License-Identifier: Apache-2.0 */
/* check_data.c: every block that the map or the log vouches for is read and compared with its checksum (I11).
 *
 * 1. A block that fails is a loss only if nothing else holds its content: a newer record in the log, a copy in the log, or,
 *    for a record of the log, an extent that has been destaged past it.
 * 2. Failed blocks that lie together on the volume and on the device, for the same reason, are one range: one finding, one line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "tier/check.h"

static unsigned long long ull(uint64_t v) { return v; }

/* ---- findings ---- */

struct range {                   /* neighbouring blocks with one fate */
    uint64_t layer, block, nblocks; /* nblocks 0: none */
    const struct pool_dev *dev;  /* NULL: nowhere any more */
    uint64_t off_bytes;
    const char *what, *comfort;  /* comfort: what else holds it; NULL: a loss */
};

struct walk { struct check *c; struct range r; uint8_t *buf; };

static void range_end(struct walk *w)
{
    const struct range *r = &w->r;
    const struct check_volume *v = check_volume_of_layer(w->c, r->layer);
    uint64_t per = v != NULL ? BLOCK_BYTES / v->rec.lba_bytes : 1;
    char name[NAME_MAX_CHARS + 16], where[320] = "";

    if (r->nblocks == 0)
        return;
    if (v != NULL)
        snprintf(name, sizeof(name), "volume %s", v->rec.name);
    else
        snprintf(name, sizeof(name), "layer %llu", ull(r->layer));
    if (r->dev != NULL)
        snprintf(where, sizeof(where), " on %s at offset %llu", r->dev->opts.path, ull(r->off_bytes));
    check_say(w->c, "I11", r->comfort != NULL ? CHECK_HARMLESS : CHECK_LOSS, "%s lba %llu+%llu (%llu bytes)%s: %s%s%s", name,
              ull(r->block * per), ull(r->nblocks * per), ull(r->nblocks * BLOCK_BYTES), where, r->what,
              r->comfort != NULL ? "; " : "", r->comfort != NULL ? r->comfort : "");
    w->c->report->damaged_blocks += r->nblocks;
    w->r.nblocks = 0;
}

static bool joins(const struct range *r, const struct range *n)
{
    return r->nblocks > 0 && r->layer == n->layer && r->block + r->nblocks == n->block && r->dev == n->dev &&
           (r->dev == NULL || r->off_bytes + r->nblocks * BLOCK_BYTES == n->off_bytes) && r->what == n->what &&
           r->comfort == n->comfort;
}

static void range_add(struct walk *w, const struct range *n)
{
    if (joins(&w->r, n)) {
        w->r.nblocks++;
        return;
    }
    range_end(w);
    w->r = *n;
}

static const char what_rotten[] = "fails its checksum", what_unreadable[] = "cannot be read",
                  what_lost[] = "its newest bytes were lost before";
static const char have_newer[] = "the log holds a newer one", have_copy[] = "the log holds a copy", not_newest[] = "it is not the newest";

/* ---- extents ---- */

/* Reads all, or, where that fails, block by block: ok[i] tells which are there. */
static void read_blocks(struct check *c, struct dev *d, uint64_t off, uint8_t *buf, uint32_t nblocks, bool *ok)
{
    bool all = dev_read_sync(d, off, buf, (size_t)nblocks * BLOCK_BYTES) == 0;

    c->report->blocks_read += nblocks;
    for (uint32_t i = 0; i < nblocks; i++)
        ok[i] = all || dev_read_sync(d, off + (uint64_t)i * BLOCK_BYTES, buf + (size_t)i * BLOCK_BYTES, BLOCK_BYTES) == 0;
}

static void bad_cold_block(struct walk *w, const struct check_extent *e, const struct pool_dev *d, uint32_t i, uint32_t csum,
                           bool readable)
{
    uint64_t block = e->extent * EXTENT_BLOCKS + i;
    bool newer = offline_newer(&w->c->off, e->layer, block, e->rec.destaged_seq);
    struct range r = {.layer = e->layer, .block = block, .nblocks = 1, .dev = d};

    /* A destage writes in place what the log still holds; one that a crash cut off before its batch leaves just this. */
    if (readable && newer)
        return;
    r.off_bytes = region_extent_offset(d->label.ext_base_bytes, e->rec.place.slot) + (uint64_t)i * BLOCK_BYTES;
    r.what = readable ? what_rotten : what_unreadable;
    if (newer)
        r.comfort = have_newer;
    else if (offline_copy(&w->c->off, e->layer, block, csum))
        r.comfort = have_copy;
    range_add(w, &r);
}

/* Its newest bytes are nowhere: the map, or a record of the log, says so. */
static void lost_block(struct walk *w, uint64_t layer, uint64_t block, uint64_t seq)
{
    struct range r = {.layer = layer, .block = block, .nblocks = 1, .what = what_lost};

    if (!offline_newer(&w->c->off, layer, block, seq))
        range_add(w, &r);
}

static void check_cold(struct walk *w, const struct check_extent *e)
{
    struct check *c = w->c;
    const struct pool_dev *d = offline_capacity(&c->off, e->rec.place.dev);
    struct meta_key key = meta_key_sums(e->layer, e->extent);
    uint64_t first = e->extent * EXTENT_BLOCKS;
    uint8_t value[META_VALUE_MAX];
    struct extent_sums sums;
    bool ok[EXTENT_BLOCKS];
    uint32_t len = 0;

    if (d == NULL || e->rec.place.slot >= d->label.ext_nr ||
        c->off.meta->ops->get_sync(c->off.meta, &key, value, &len) != 0 || extent_sums_decode(value, len, &sums) != 0)
        return; /* check_meta.c has said so */
    read_blocks(c, d->on[0], region_extent_offset(d->label.ext_base_bytes, e->rec.place.slot), w->buf, EXTENT_BLOCKS, ok);
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        if (sums.damaged[i / 64] >> (i % 64) & 1)
            lost_block(w, e->layer, first + i, e->rec.destaged_seq);
        else if (!(sums.valid[i / 64] >> (i % 64) & 1))
            continue;
        else if (!ok[i] || block_csum(w->buf + (size_t)i * BLOCK_BYTES, e->layer, first + i) != sums.csum[i])
            bad_cold_block(w, e, d, i, sums.csum[i], ok[i]);
    }
}

/* ---- the log ---- */

/* Does the pool need what a record of this seq says of the block? */
static bool needed(const struct check *c, uint64_t layer, uint64_t block, uint64_t seq)
{
    const struct check_extent *e = check_extent_find(c, layer, block / EXTENT_BLOCKS);

    return (e == NULL || seq > e->rec.destaged_seq) && !offline_newer(&c->off, layer, block, seq);
}

static void check_log_part(struct walk *w, const struct log_rec *r, uint32_t from, uint32_t nblocks)
{
    struct check *c = w->c;
    const struct segpool_geometry *geo = segpool_geometry(c->off.segpool);
    uint64_t off = geo->base_bytes + (uint64_t)r->loc.segment * geo->segment_bytes + (uint64_t)r->loc.unit * JOURNAL_UNIT_BYTES +
                   (uint64_t)from * BLOCK_BYTES;
    bool ok[EXTENT_BLOCKS];

    read_blocks(c, c->off.devs.dev[0].on[0], off, w->buf, nblocks, ok);
    for (uint32_t i = 0; i < nblocks; i++) {
        struct range n = {.layer = r->layer, .block = r->lba + from + i, .nblocks = 1, .dev = &c->off.devs.dev[0],
                          .off_bytes = off + (uint64_t)i * BLOCK_BYTES, .what = ok[i] ? what_rotten : what_unreadable};

        if (ok[i] && block_csum(w->buf + (size_t)i * BLOCK_BYTES, r->layer, n.block) == c->off.csums[r->csum + from + i])
            continue;
        n.comfort = needed(c, r->layer, n.block, r->seq) ? NULL : not_newest;
        range_add(w, &n);
    }
}

static void check_log_record(struct walk *w, const struct log_rec *r)
{
    for (uint64_t at = 0; at < r->nblocks; at += EXTENT_BLOCKS)
        check_log_part(w, r, (uint32_t)at, (uint32_t)MIN(r->nblocks - at, (uint64_t)EXTENT_BLOCKS));
}

/* What is not needed may be another extent's by now; so may what a deletion has reached, which a crash cut short. */
static void check_placed_record(struct walk *w, const struct log_rec *r)
{
    struct check *c = w->c;
    const struct pool_dev *d;
    bool ok[EXTENT_BLOCKS];
    uint64_t off;

    if ((check_volume_of_layer(c, r->layer)->rec.flags & VOLUME_DELETING) || !offline_placed(&c->off, r, &d, &off))
        return; /* check_meta.c has said so */
    read_blocks(c, d->on[0], off, w->buf, (uint32_t)r->nblocks, ok);
    for (uint32_t i = 0; i < r->nblocks; i++) {
        struct range n = {.layer = r->layer, .block = r->lba + i, .nblocks = 1, .dev = d, .off_bytes = off + (uint64_t)i * BLOCK_BYTES,
                          .what = ok[i] ? what_rotten : what_unreadable};

        if (!(ok[i] && block_csum(w->buf + (size_t)i * BLOCK_BYTES, r->layer, n.block) == c->off.csums[r->csum + i]) &&
            needed(c, r->layer, n.block, r->seq))
            range_add(w, &n);
    }
}

static void check_damaged_record(struct walk *w, const struct log_rec *r)
{
    for (uint64_t i = 0; i < r->nblocks; i++)
        if (needed(w->c, r->layer, r->lba + i, r->seq))
            lost_block(w, r->layer, r->lba + i, r->seq);
}

int check_data(struct check *c)
{
    struct walk w = {.c = c, .buf = aligned_alloc(4096, EXTENT_BYTES)};

    if (w.buf == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < c->nr_exts; i++)
        if (c->exts[i].rec.place.dev != EXTENT_NO_DEV)
            check_cold(&w, &c->exts[i]);
    for (size_t i = 0; i < c->off.nr_recs; i++) {
        const struct log_rec *r = &c->off.recs[i];

        if (check_volume_of_layer(c, r->layer) == NULL)
            continue; /* of a volume that is gone */
        if (r->type == JOURNAL_WRITE)
            check_log_record(&w, r);
        else if (r->type == JOURNAL_PLACED)
            check_placed_record(&w, r);
        else if (r->type == JOURNAL_DAMAGED)
            check_damaged_record(&w, r);
    }
    range_end(&w);
    free(w.buf);
    return 0;
}
