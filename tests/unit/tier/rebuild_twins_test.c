/* SPDX-License-Identifier: Apache-2.0 */
/* A place that the log names for one extent and a description for another: who had it later. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/strbuf.h"
#include "tier/check.h"
#include "tools/sim/media.h"
#include "tools/sim/sim.h"

#define BASE   MIB
#define SLOT   3u
#define STREAM 11u /* layers */
#define OTHER  12u

struct rig {
    struct sim *sim;
    struct env *env;
    struct media *media;
    struct offline o;
    struct found f;
    struct found_extent ext[2];
    struct log_rec rec[3];
    uint32_t csum[EXTENT_BLOCKS];
    struct tier_check_report report;
    struct strbuf out;
    uint8_t block[BLOCK_BYTES] __attribute__((aligned(4096)));
    uint8_t desc[DESC_BYTES] __attribute__((aligned(4096)));
};

static struct rig *rig_new(void)
{
    struct rig *r = aligned_alloc(4096, ROUND_UP(sizeof(*r), 4096));
    struct pool_dev *d = &r->o.devs.dev[0];

    memset(r, 0, sizeof(*r));
    r->sim = sim_new(1);
    r->env = sim_env_new(r->sim);
    r->media = media_new(BASE + REGION_BYTES);
    r->o.devs.nr = 1;
    d->opts.role = TIER_CAPACITY;
    d->label.ext_base_bytes = BASE;
    d->label.ext_nr = REGION_EXTENTS;
    cr_assert_eq(media_open(r->media, r->env, "hdd", &d->on[0]), 0);
    r->f.o = &r->o;
    r->f.exts = r->ext;
    r->o.recs = r->rec;
    r->o.csums = r->csum;
    return r;
}

static uint32_t write_block(struct rig *r, uint64_t layer, uint32_t i, uint8_t fill)
{
    memset(r->block, fill, sizeof(r->block));
    cr_assert_eq(dev_write_sync(r->o.devs.dev[0].on[0], region_extent_offset(BASE, SLOT) + (uint64_t)i * BLOCK_BYTES, r->block,
                                BLOCK_BYTES, 0), 0);
    return block_csum(r->block, layer, i);
}

/* Extent 0 of the layer is described there, with blocks from..to. */
static void describe(struct rig *r, uint64_t layer, uint64_t destaged_seq, uint32_t from, uint32_t to)
{
    struct extent_desc d = {.slot = SLOT, .layer = layer, .destaged_seq = destaged_seq};

    for (uint32_t i = from; i < to; i++) {
        d.sums.valid[i / 64] |= UINT64_C(1) << (i % 64);
        d.sums.csum[i] = write_block(r, layer, i, 'o');
    }
    extent_desc_encode(&d, r->desc);
    cr_assert_eq(dev_write_sync(r->o.devs.dev[0].on[0], region_desc_offset(BASE, SLOT), r->desc, DESC_BYTES, 0), 0);
    r->ext[r->f.nr_exts++] = (struct found_extent){.layer = layer, .destaged_seq = destaged_seq, .place = {.dev = 0, .slot = SLOT},
                                                  .desc_off = region_desc_offset(BASE, SLOT)};
}

/* A stream wrote blocks from..to there. */
static void stream(struct rig *r, uint32_t shard, uint64_t seq, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        r->csum[i] = write_block(r, STREAM, i, 's');
    r->rec[r->o.nr_recs++] = (struct log_rec){.type = JOURNAL_PLACED, .shard = shard, .layer = STREAM, .lba = from, .nblocks = to - from,
                                              .seq = seq, .csum = from,
                                              .place = extent_place_encode((struct extent_place){.dev = 0, .slot = SLOT})};
}

/* A record tells in whose log a layer is. */
static void other_in(struct rig *r, uint32_t shard)
{
    r->rec[r->o.nr_recs++] = (struct log_rec){.type = JOURNAL_WRITE, .shard = shard, .layer = OTHER, .lba = 9999, .nblocks = 1, .seq = 1};
}

/* How many descriptions are left, and places that a start takes beside them. */
static void expect(struct rig *r, size_t descriptions, uint64_t twins, uint64_t losses)
{
    uint64_t nr;

    cr_assert_eq(rebuild_twins(&r->f, &r->out, &r->report, &nr), 0);
    cr_assert(r->f.nr_exts == descriptions && nr == twins && r->report.losses == losses, "%zu descriptions, %llu twins, %llu losses",
              r->f.nr_exts, (unsigned long long)nr, (unsigned long long)r->report.losses);
    strbuf_fini(&r->out);
    dev_close(r->o.devs.dev[0].on[0]);
    media_free(r->media);
    sim_env_free(r->env);
    sim_free(r->sim);
    free(r);
}

/* OTHER is described with blocks 0..20; a stream in shard 0 wrote some there at seq 60, before that or since. */
struct scene { uint32_t from, to; bool stream_last; uint64_t described_seq; uint32_t other_shard; };

static struct rig *scene(const struct scene *c)
{
    struct rig *r = rig_new();

    if (!c->stream_last)
        stream(r, 0, 60, c->from, c->to);
    describe(r, OTHER, c->described_seq, 0, 20);
    if (c->stream_last)
        stream(r, 0, 60, c->from, c->to);
    other_in(r, c->other_shard);
    return r;
}

Test(rebuild_twins, in_one_shard_the_stream_had_it_later_if_its_seq_is_higher)
{
    /* none of the other's blocks */
    expect(scene(&(struct scene){.from = 100, .to = 110, .stream_last = true, .described_seq = 50}), 0, 1, 0);
}

Test(rebuild_twins, in_one_shard_the_described_extent_had_it_later_if_its_seq_is)
{
    expect(scene(&(struct scene){.from = 100, .to = 110, .described_seq = 70}), 1, 0, 0); /* the stream's bytes are still there */
}

/* A zero beside it held its seq down. */
Test(rebuild_twins, in_one_shard_bytes_that_were_written_over_tell_more_than_seqs)
{
    expect(scene(&(struct scene){.from = 10, .to = 30, .described_seq = 50}), 1, 0, 0);
}

Test(rebuild_twins, of_two_shards_the_one_whose_bytes_were_written_over_had_it_before)
{
    expect(scene(&(struct scene){.from = 10, .to = 30, .stream_last = true, .described_seq = 70, .other_shard = 1}), 0, 1, 0);
    expect(scene(&(struct scene){.from = 10, .to = 30, .described_seq = 50, .other_shard = 1}), 1, 0, 0);
}

Test(rebuild_twins, where_nothing_tells_the_description_stays_and_it_is_said)
{
    expect(scene(&(struct scene){.from = 100, .to = 110, .described_seq = 50, .other_shard = 1}), 1, 0, 1);
}

/* A destage wrote newer blocks over the first ones, and a crash came before its batch; what is left is nowhere else. */
Test(rebuild_twins, one_block_that_is_still_there_tells_that_the_stream_was)
{
    struct rig *r = scene(&(struct scene){.from = 100, .to = 110, .stream_last = true, .described_seq = 50});

    (void)write_block(r, STREAM, 100, 'n');
    expect(r, 0, 1, 0);
    r = scene(&(struct scene){.from = 100, .to = 105, .stream_last = true, .described_seq = 50});
    stream(r, 0, 61, 105, 110);
    for (uint32_t i = 104; i < 110; i++) /* of the newer record nothing is left */
        (void)write_block(r, STREAM, i, 'n');
    expect(r, 0, 1, 0);
}

Test(rebuild_twins, what_was_destaged_since_counts_no_more)
{
    struct rig *r = rig_new();

    stream(r, 0, 60, 100, 110);
    r->ext[r->f.nr_exts++] = (struct found_extent){.layer = STREAM, .destaged_seq = 60, .place = {.dev = 0, .slot = 7}};
    expect(r, 1, 0, 0);
}
