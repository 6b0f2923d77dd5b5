/* SPDX-License-Identifier: Apache-2.0 */
/* disposable_test.c: heat and clean copies are worth time and nothing else (faults.md I20). On real files and LMDB, between two
 * starts, all records of heat go, and what slot segments hold or say of themselves: every byte reads as before.
 */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rt/dev_model.h"
#include "tier/pool.h"
#include "tier/priv.h"

#define RUN   16u                /* blocks of a request */
#define NR    2048u              /* blocks that are looked at: eight extents */
#define BLOCKS 4096u             /* of the volume */
#define RECORDS_MAX 64u

static struct blk *vol;
static _Alignas(4096) uint8_t data[RUN * BLOCK_BYTES], want[RUN * BLOCK_BYTES];

static uint64_t slots[64];       /* where slot segments lie in the journal's file */
static uint32_t nr_slots;
static uint64_t places_from;     /* of such a segment: header, pages of the table, then places */

/* ---- a pool with a disk that seeks, a thousand times as fast as one ---- */

static int wrap(void *ctx, const struct tier_dev_opts *dev, struct dev *below, struct dev **out)
{
    struct dev_model_params p = {.hdd = true, .scale = 0.001};

    (void)ctx;
    *out = below;
    return dev->role == TIER_CAPACITY ? dev_model_new(below, &p, out) : 0;
}

static void begin(void)
{
    on_files();
    opts.admit_touches = 1;
    opts.stage_bytes = 256 * KIB;
    opts.seams.dev_wrap = wrap;
    dev_add("journal", TIER_JOURNAL, 20 * MIB);
    dev_add("hdd", TIER_CAPACITY, 70 * MIB);
    format_pool();
}

TestSuite(disposable, .init = begin, .fini = off_files, .timeout = 120);

static struct shard *shard(void) { return tier->shards[0]; }

static void open_again(void)
{
    open_pool();
    vol = volume("v");
}

static void drain(void)
{
    bool drained = false;

    shard_drain(shard(), true, raise_flag, &drained);
    run_until(&drained);
    shard_start(shard());
}

/* ---- requests ---- */

static void fill(uint8_t *out, uint64_t lba, uint64_t stamp)
{
    for (size_t i = 0; i < sizeof(data) / 16; i++) {
        uint64_t word[2] = {lba + i / (BLOCK_BYTES / 16), stamp + i};

        memcpy(out + i * 16, word, 16);
    }
}

/* Every fifth run was written a second time. */
static uint64_t stamp_of(uint64_t run) { return run % 5 == 0 ? 2000000 : 1000000; }

static void put_run(uint64_t lba, uint64_t stamp)
{
    fill(data, lba, stamp);
    cr_assert_eq(do_io(vol, BLK_WRITE, lba, RUN, data), 0);
}

static void expect_all(void)
{
    for (uint64_t i = 0; i < NR / RUN; i++) {
        uint64_t run = i * 5 % (NR / RUN); /* no stream */

        fill(want, run * RUN, stamp_of(run));
        memset(data, 0x11, sizeof(data));
        cr_assert_eq(do_io(vol, BLK_READ, run * RUN, RUN, data), 0);
        cr_assert_eq(memcmp(data, want, sizeof(data)), 0, "run %lu is not what was written", (unsigned long)run);
    }
}

/* ---- what can be thrown away ---- */

/* Not fills: where the machine is busy the log takes segments back, and their copies are made again. */
static uint32_t copies(void)
{
    const struct shard *s = shard();
    uint32_t nr = 0;

    for (uint32_t g = 0; g < segpool_segments(s->o.segpool); g++)
        nr += s->seg[g].use == SEGMENT_SLOTS ? s->ix.seg_live[g] : 0;
    return nr;
}

/* Until much of what is looked at lies in slot segments. */
static void warm(void)
{
    for (unsigned i = 0; i < 2; i++) {
        for (uint64_t run = 0; run < NR / RUN; run++)
            if (i == 0 || run % 5 == 0)
                put_run(run * RUN, (i + 1) * 1000000);
        drain();
    }
    for (unsigned i = 0; i < 3; i++)
        for (uint64_t b = NR; b < BLOCKS; b += RUN)
            put_run(b, i);
    drain();
    for (unsigned i = 0; i < 50 && copies() < NR / 4; i++)
        expect_all();
    cr_assert_geq(copies(), NR / 4);
}

static void note_slots(void)
{
    struct shard *s = shard();

    places_from = (uint64_t)s->places.table.layout.first_unit * JOURNAL_UNIT_BYTES;
    nr_slots = 0;
    for (uint32_t g = 0; g < segpool_segments(s->o.segpool); g++)
        if (s->seg[g].use == SEGMENT_SLOTS)
            slots[nr_slots++] = segpool_offset(s->o.segpool, g, 0);
    cr_assert_gt(nr_slots, 0);
}

struct keys { struct meta_op op[RECORDS_MAX]; uint32_t nr; };

static int note_key(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct keys *k = ctx;

    (void)value;
    (void)len;
    cr_assert_lt(k->nr, RECORDS_MAX);
    k->op[k->nr++] = (struct meta_op){.key = *key};
    return 0;
}

static void drop_heat(void)
{
    const struct meta_lmdb_opts lo = {0};
    const struct meta_key prefix = {.len = 1, .b = {'T'}};
    static struct keys k;
    struct meta *m;

    k.nr = 0;
    cr_assert_eq(meta_lmdb_open(opts.meta_path, &lo, &m, why), 0, "%s", why);
    cr_assert_eq(m->ops->scan_sync(m, &prefix, note_key, &k), 0);
    cr_assert_gt(k.nr, 0, "there is heat to be lost");
    cr_assert_eq(m->ops->commit_sync(m, k.op, k.nr), 0);
    m->ops->close(m);
}

/* noise: not zeros. The bytes [from, to) of each slot segment. */
static void spoil_slots(uint64_t from, uint64_t to, bool noise)
{
    int fd = open(opts.devs[0].path, O_RDWR);
    uint64_t x = 88172645463325252;

    cr_assert_geq(fd, 0);
    for (uint32_t i = 0; i < nr_slots; i++)
        for (uint64_t at = from; at < to; at += BLOCK_BYTES) {
            memset(data, 0, BLOCK_BYTES);
            for (size_t k = 0; noise && k < BLOCK_BYTES; k += 8) {
                x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                memcpy(data + k, &x, 8);
            }
            cr_assert_eq(pwrite(fd, data, BLOCK_BYTES, (off_t)(slots[i] + at)), (ssize_t)BLOCK_BYTES);
        }
    cr_assert_eq(fsync(fd), 0);
    close(fd);
}

static void find_no_loss(void)
{
    struct tier_check_report report;
    struct strbuf out;

    strbuf_init(&out);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_DATA, &out, &report, why), 0, "%s", why);
    cr_assert_eq(report.losses, 0, "%s", strbuf_str(&out));
    strbuf_fini(&out);
}

enum part { HEADER = 1, TABLE = 2, PLACES = 4 };

static void lose(unsigned parts, bool noise)
{
    uint32_t held;

    open_pool();
    vol = volume_make("v", BLOCKS * (uint64_t)BLOCK_BYTES);
    warm();
    held = copies();
    close_pool();
    open_again();
    cr_assert_geq(shard_stats(shard())->slots_found, held, "%llu of %u found", (unsigned long long)shard_stats(shard())->slots_found, held);
    expect_all();
    note_slots();
    close_pool();
    drop_heat();
    if (parts & HEADER)
        spoil_slots(0, SLOT_HEADER_BYTES, noise);
    if (parts & TABLE)
        spoil_slots(SLOT_HEADER_BYTES, places_from, noise);
    if (parts & PLACES)
        spoil_slots(places_from, opts.segment_bytes, noise);
    find_no_loss();
    open_again();
    cr_assert_eq(shard_stats(shard())->slots_found != 0, parts == PLACES);
    expect_all();
    cr_assert(shard_stats(shard())->read_errors == 0 && shard_stats(shard())->csum_errors_hdd == 0);
    shard_verify(shard());
    put_run(RUN, stamp_of(1));
    expect_all();
    close_pool();
    find_no_loss();
}

Test(disposable, heat_and_tables_gone) { lose(TABLE, false); }
Test(disposable, heat_gone_and_tables_noise) { lose(TABLE, true); }
Test(disposable, heat_and_headers_gone) { lose(HEADER, false); }
Test(disposable, heat_gone_and_copies_noise) { lose(PLACES, true); }
Test(disposable, heat_and_slot_segments_gone) { lose(HEADER | TABLE | PLACES, false); }
