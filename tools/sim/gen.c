/* SPDX-License-Identifier: Apache-2.0 */
/* gen.c: block traces made from a seed.
 *
 * Places of 16 KiB are drawn by Zipf's law: the k-th most popular comes up in proportion to 1/k. Four neighbours are about as popular
 * as each other, the fours are strewn, and 1 MiB of places lies in every 16 MiB: a volume that is not packed.
 */
#include "tools/sim/gen.h"

#include <stdlib.h>

#define PLACES        65536u
#define PLACE_BYTES   16384u
#define PLACES_A_LUMP 64u
#define LUMP_BYTES    (16 * MIB)            /* addresses from one lump of places to the next */
#define VOLUME_BYTES  (PLACES / PLACES_A_LUMP * LUMP_BYTES)

#define SCAN_EVERY    4000u                 /* requests from the start of one scan to that of the next */
#define SCAN_LEN      1000u
#define SCAN_BYTES    131072u

#define TXN_US        24000                 /* from one transaction to the next */
#define TXNS_A_CHECKPOINT 1000u
#define CHECKPOINT_PAGES  300u
#define DB_LOG_BYTES  (128 * MIB)

#define FILE_BYTES    (4 * MIB)
#define FILES         256u
#define FILE_IO       262144u
#define MERGE_FILES   4u
#define COMMIT_BYTES  (64 * MIB)

struct gen {
    struct trace *t;
    size_t   nr;                 /* wanted */
    uint64_t state;
    double  *sum;                /* sum[i] of 1/1 .. 1/(i + 1) */
    int64_t  now_us;             /* of the next request; -1: no clock */
};

const char *gen_kind_name(enum gen_kind k)
{
    static const char *const names[GEN_KIND_NR] = {
#define X(tag, name, text) [GEN_##tag] = name,
        GEN_KINDS(X)
#undef X
    };

    assert(k < GEN_KIND_NR);
    return names[k];
}

const char *gen_kind_text(enum gen_kind k)
{
    static const char *const texts[GEN_KIND_NR] = {
#define X(tag, name, text) [GEN_##tag] = text,
        GEN_KINDS(X)
#undef X
    };

    assert(k < GEN_KIND_NR);
    return texts[k];
}

int gen_kind_parse(const char *name)
{
    for (int i = 0; i < GEN_KIND_NR; i++)
        if (strcmp(gen_kind_name((enum gen_kind)i), name) == 0)
            return i;
    return -1;
}

/* ---- chance ---- */

static uint64_t draw(struct gen *g)
{
    uint64_t x = g->state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t below(struct gen *g, uint64_t n) { return (uint64_t)(((__uint128_t)draw(g) * n) >> 64); }

static uint32_t zipf(struct gen *g)
{
    double at = (double)(draw(g) >> 11) / 9007199254740992.0 * g->sum[PLACES - 1];
    uint32_t lo = 0, hi = PLACES - 1;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;

        if (g->sum[mid] > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static uint64_t place(struct gen *g)
{
    uint32_t rank = zipf(g);
    uint32_t p = (rank / 4 * 7919u % (PLACES / 4)) * 4 + rank % 4; /* odd: every four goes to another place */

    return (uint64_t)(p / PLACES_A_LUMP) * LUMP_BYTES + (uint64_t)(p % PLACES_A_LUMP) * PLACE_BYTES;
}

/* ---- requests ---- */

static bool wanted(const struct gen *g) { return g->t->nr < g->nr; }

static void add(struct gen *g, bool write, uint64_t off, uint32_t len, int64_t step_us)
{
    if (!wanted(g))
        return;
    trace_add(g->t, g->now_us, write, off, len);
    if (g->now_us >= 0)
        g->now_us += step_us;
}

static void add_row(struct gen *g, bool write, uint64_t off, uint64_t bytes, uint32_t len, int64_t step_us)
{
    for (uint64_t at = 0; at < bytes; at += len)
        add(g, write, off + at, len, step_us);
}

static void add_small(struct gen *g, unsigned write_pct)
{
    uint64_t at = place(g);
    uint32_t first = (uint32_t)below(g, 4), n = 1 + (uint32_t)below(g, 4 - first);

    add(g, below(g, 100) < write_pct, at + first * BLOCK_BYTES, n * BLOCK_BYTES, 0);
}

static void make_zipf(struct gen *g)
{
    g->now_us = -1;
    while (wanted(g))
        add_small(g, 30);
}

static void make_scan(struct gen *g)
{
    uint64_t from = 0;

    g->now_us = -1;
    for (unsigned i = 0; wanted(g); i++) {
        unsigned at = i % SCAN_EVERY;

        if (at == 0)
            from = ROUND_DOWN(below(g, VOLUME_BYTES - SCAN_LEN * SCAN_BYTES), (uint64_t)SCAN_BYTES);
        if (at < SCAN_LEN)
            add(g, false, from + (uint64_t)at * SCAN_BYTES, SCAN_BYTES, 0);
        add_small(g, 15);
    }
}

/* Log behind the pages. A transaction: a few pages read, the log appended to; a checkpoint writes pages, as fast as they go. */
static void make_oltp(struct gen *g)
{
    uint64_t log = 0;

    for (unsigned txn = 1; wanted(g); txn++) {
        uint32_t len = 512 * (1 + (uint32_t)below(g, 8));

        for (uint64_t reads = 1 + below(g, 2); reads > 0; reads--)
            add(g, false, place(g), PLACE_BYTES, TXN_US / 3);
        if (log + len > DB_LOG_BYTES)
            log = 0;
        add(g, true, VOLUME_BYTES + log, len, TXN_US / 3);
        log += len;
        for (unsigned p = 0; txn % TXNS_A_CHECKPOINT == 0 && p < CHECKPOINT_PAGES; p++)
            add(g, true, place(g), PLACE_BYTES, 500);
    }
}

struct files { uint32_t oldest, nr; };

static uint64_t file_at(uint32_t no) { return (uint64_t)(no % FILES) * FILE_BYTES; }

/* The oldest are read and written again as fewer, at the end. */
static void merge(struct gen *g, struct files *f)
{
    for (unsigned i = 0; i < MERGE_FILES; i++)
        add_row(g, false, file_at(f->oldest + i), FILE_BYTES, FILE_IO, 4000);
    for (unsigned i = 0; i < MERGE_FILES - 1; i++)
        add_row(g, true, file_at(f->oldest + f->nr + i), FILE_BYTES, FILE_IO, 4000);
    f->oldest += MERGE_FILES;
    f->nr--;
}

static void make_compaction(struct gen *g)
{
    struct files f = {0, 1};
    uint64_t log = 0;

    for (unsigned i = 1; wanted(g); i++) {
        uint64_t newest = zipf(g) % f.nr; /* young files are read more often */
        uint64_t off = file_at(f.oldest + f.nr - 1 - (uint32_t)newest) + below(g, FILE_BYTES / BLOCK_BYTES) * BLOCK_BYTES;

        add(g, false, off, BLOCK_BYTES, 12000);
        add(g, true, FILES * FILE_BYTES + log, 32768, 8000);
        log = (log + 32768) % COMMIT_BYTES;
        if (i % 128 == 0)
            add_row(g, true, file_at(f.oldest + f.nr++), FILE_BYTES, FILE_IO, 4000);
        if (f.nr > FILES / 2)
            merge(g, &f);
    }
}

void gen_trace(enum gen_kind k, uint64_t seed, size_t nr, struct trace *out)
{
    static void (*const make[GEN_KIND_NR])(struct gen *g) = {
        [GEN_ZIPF] = make_zipf, [GEN_SCAN] = make_scan, [GEN_OLTP] = make_oltp, [GEN_COMPACTION] = make_compaction,
    };
    struct gen g = {.t = out, .nr = nr, .state = seed};
    double sum = 0;

    assert(k < GEN_KIND_NR && out->nr == 0);
    g.sum = malloc(PLACES * sizeof(*g.sum));
    assert(g.sum != NULL);
    for (uint32_t i = 0; i < PLACES; i++)
        g.sum[i] = sum += 1.0 / (i + 1);
    make[k](&g);
    free(g.sum);
}
