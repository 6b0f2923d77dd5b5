/* SPDX-License-Identifier: Apache-2.0 */
/* check_data.c: every block that the map or the log vouches for is read and compared with its checksum (I11).
 *
 * A block that fails is a loss only if nothing else holds its content: a newer record in the log, a copy in the log, or,
 * for a record of the log, an extent that has been destaged past it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "tier/check.h"

static unsigned long long ull(uint64_t v) { return v; }

/* Reads all, or, where that fails, block by block: ok[i] tells which are there. */
static void read_blocks(struct check *c, struct dev *d, uint64_t off, uint8_t *buf, uint32_t nblocks, bool *ok)
{
    bool all = dev_read_sync(d, off, buf, (size_t)nblocks * BLOCK_BYTES) == 0;

    c->report->blocks_read += nblocks;
    for (uint32_t i = 0; i < nblocks; i++)
        ok[i] = all || dev_read_sync(d, off + (uint64_t)i * BLOCK_BYTES, buf + (size_t)i * BLOCK_BYTES, BLOCK_BYTES) == 0;
}

static void bad_cold_block(struct check *c, const struct check_extent *e, uint32_t i, uint32_t csum, bool readable)
{
    uint64_t block = e->extent * EXTENT_BLOCKS + i;
    const char *what = readable ? "fails its checksum" : "cannot be read";

    /* A destage writes in place what the log still holds; one that a crash cut off before its batch leaves just this. */
    if (readable && offline_newer(&c->off, e->layer, block, e->rec.destaged_seq))
        return;
    if (offline_newer(&c->off, e->layer, block, e->rec.destaged_seq))
        check_say(c, "I11", CHECK_HARMLESS, "layer %llu block %llu on capacity device %u %s; the log holds a newer one",
                  ull(e->layer), ull(block), e->rec.place.dev, what);
    else if (offline_copy(&c->off, e->layer, block, csum))
        check_say(c, "I11", CHECK_HARMLESS, "layer %llu block %llu on capacity device %u %s; the log holds a copy", ull(e->layer),
                  ull(block), e->rec.place.dev, what);
    else
        check_say(c, "I11", CHECK_LOSS, "layer %llu block %llu on capacity device %u %s", ull(e->layer), ull(block),
                  e->rec.place.dev, what);
}

static const struct pool_dev *capacity_dev(const struct check *c, uint16_t index)
{
    for (uint32_t i = 0; i < c->off.devs.nr; i++)
        if (c->off.devs.dev[i].opts.role == TIER_CAPACITY && c->off.devs.dev[i].index == index)
            return &c->off.devs.dev[i];
    return NULL;
}

static void check_cold(struct check *c, const struct check_extent *e, uint8_t *buf)
{
    const struct pool_dev *d = capacity_dev(c, e->rec.place.dev);
    struct meta_key key = meta_key_sums(e->layer, e->extent);
    uint8_t value[META_VALUE_MAX];
    struct extent_sums sums;
    bool ok[EXTENT_BLOCKS];
    uint32_t len = 0;

    if (d == NULL || e->rec.place.slot >= d->label.ext_nr ||
        c->off.meta->ops->get_sync(c->off.meta, &key, value, &len) != 0 || extent_sums_decode(value, len, &sums) != 0)
        return; /* check_meta.c has said so */
    read_blocks(c, d->on[0], region_extent_offset(d->label.ext_base_bytes, e->rec.place.slot), buf, EXTENT_BLOCKS, ok);
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        if (!(sums.valid[i / 64] >> (i % 64) & 1))
            continue;
        if (!ok[i] || block_csum(buf + (size_t)i * BLOCK_BYTES, e->layer, e->extent * EXTENT_BLOCKS + i) != sums.csum[i])
            bad_cold_block(c, e, i, sums.csum[i], ok[i]);
    }
}

static void bad_log_block(struct check *c, const struct log_rec *r, uint64_t block, bool readable)
{
    const struct check_extent *e = check_extent_find(c, r->layer, block / EXTENT_BLOCKS);
    const char *what = readable ? "fails its checksum" : "cannot be read";
    bool needed = (e == NULL || r->seq > e->rec.destaged_seq) && !offline_newer(&c->off, r->layer, block, r->seq);

    check_say(c, "I11", needed ? CHECK_LOSS : CHECK_HARMLESS, "layer %llu block %llu in log segment %u, unit %u %s%s", ull(r->layer),
              ull(block), r->loc.segment, r->loc.unit, what, needed ? "" : "; it is not the newest");
}

static void check_log_record(struct check *c, const struct log_rec *r, uint8_t *buf)
{
    const struct segpool_geometry *geo = segpool_geometry(c->off.segpool);
    uint64_t off = geo->base_bytes + (uint64_t)r->loc.segment * geo->segment_bytes + (uint64_t)r->loc.unit * JOURNAL_UNIT_BYTES;
    bool ok[EXTENT_BLOCKS];

    if (check_volume_of_layer(c, r->layer) == NULL || r->nblocks > EXTENT_BLOCKS)
        return; /* of a volume that is gone */
    read_blocks(c, c->off.devs.dev[0].on[0], off, buf, (uint32_t)r->nblocks, ok);
    for (uint32_t i = 0; i < r->nblocks; i++)
        if (!ok[i] || block_csum(buf + (size_t)i * BLOCK_BYTES, r->layer, r->lba + i) != c->off.csums[r->csum + i])
            bad_log_block(c, r, r->lba + i, ok[i]);
}

static void check_damaged_record(struct check *c, const struct log_rec *r)
{
    uint64_t end = r->lba + r->nblocks;

    if (check_volume_of_layer(c, r->layer) == NULL)
        return;
    for (uint64_t block = r->lba; block < end; block++) {
        const struct check_extent *e = check_extent_find(c, r->layer, block / EXTENT_BLOCKS);

        if ((e == NULL || r->seq > e->rec.destaged_seq) && !offline_newer(&c->off, r->layer, block, r->seq)) {
            check_say(c, "I11", CHECK_LOSS, "layer %llu block %llu: its newest bytes were lost before", ull(r->layer), ull(block));
            if (c->report->findings > 100000)
                return;
        }
    }
}

int check_data(struct check *c)
{
    uint8_t *buf = aligned_alloc(4096, EXTENT_BYTES);

    if (buf == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < c->nr_exts; i++)
        if (c->exts[i].rec.place.dev != EXTENT_NO_DEV)
            check_cold(c, &c->exts[i], buf);
    for (size_t i = 0; i < c->off.nr_recs; i++) {
        const struct log_rec *r = &c->off.recs[i];

        if (r->type == JOURNAL_WRITE)
            check_log_record(c, r, buf);
        else if (r->type == JOURNAL_DAMAGED)
            check_damaged_record(c, r);
    }
    free(buf);
    return 0;
}
