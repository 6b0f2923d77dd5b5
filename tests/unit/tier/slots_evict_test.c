/* SPDX-License-Identifier: Apache-2.0 */
/* Which copies go for others: hit ratios against S3-FIFO with queues that are queues; what memory the queue takes. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tier/slots.h"

enum { SPACE = 60000, CACHE = 6000 };

struct ghost { uint32_t ring[CACHE], stamp[SPACE], n; };
static void ghost_add(struct ghost *g, uint32_t b)
{
    uint32_t *at = &g->ring[g->n % CACHE];

    if (g->n >= CACHE && g->stamp[*at] == g->n - CACHE + 1)
        g->stamp[*at] = 0;
    *at = b;
    g->stamp[b] = ++g->n;
}
static bool ghost_take(struct ghost *g, uint32_t b)
{
    bool was = g->stamp[b] != 0;

    g->stamp[b] = 0;
    return was;
}

struct fifo { uint32_t q[CACHE + 1], head, n; };
static void fifo_push(struct fifo *f, uint32_t b) { f->q[(f->head + f->n++) % (CACHE + 1)] = b; }
static uint32_t fifo_pop(struct fifo *f)
{
    uint32_t b = f->q[f->head];

    f->head = (f->head + 1) % (CACHE + 1);
    f->n--;
    return b;
}

struct reference { struct fifo small, main; struct ghost ghost; uint8_t in[SPACE], ref[SPACE]; };

static void reference_evict(struct reference *r)
{
    for (;;) {
        if (r->small.n * 10 >= CACHE || r->main.n == 0) {
            uint32_t b = fifo_pop(&r->small);

            if (r->ref[b] == 0) {
                r->in[b] = 0;
                ghost_add(&r->ghost, b);
                return;
            }
            r->ref[b] = 0;
            fifo_push(&r->main, b);
        } else {
            uint32_t b = fifo_pop(&r->main);

            if (r->ref[b] == 0) {
                r->in[b] = 0;
                return;
            }
            r->ref[b]--;
            fifo_push(&r->main, b);
        }
    }
}

static bool reference_read(struct reference *r, uint32_t b)
{
    if (r->in[b]) {
        r->ref[b] = (uint8_t)MIN(r->ref[b] + 1, 3);
        return true;
    }
    while (r->small.n + r->main.n >= CACHE)
        reference_evict(r);
    r->in[b] = 1;
    r->ref[b] = 0;
    fifo_push(ghost_take(&r->ghost, b) ? &r->main : &r->small, b);
    return false;
}

struct ours { struct index ix; struct slots sl; struct ghost ghost; };

static void ours_evict(void *ctx, uint32_t id)
{
    struct ours *o = ctx;
    unsigned flags = index_flags_of(&o->ix, id);
    struct index_entry e;

    index_get(&o->ix, id, &e);
    index_remove(&o->ix, id);
    slots_gone(&o->sl, id, flags);
    if (!(flags & INDEX_MAIN))
        ghost_add(&o->ghost, (uint32_t)e.block);
}

static bool ours_read(struct ours *o, uint32_t b)
{
    uint32_t id = index_find(&o->ix, 1, b);
    struct index_entry e = {.layer = 1, .block = b};

    if (id != INDEX_NONE) {
        index_ref_add(&o->ix, id);
        return true;
    }
    id = slots_take(&o->sl, ghost_take(&o->ghost, b));
    if (id == INDEX_NONE)
        return false;
    e.segment = id / o->ix.slots_per_segment;
    e.unit = id % o->ix.slots_per_segment * 8;
    e.flags = slots_filled(&o->sl, id);
    index_put(&o->ix, INDEX_NONE, &e);
    return false;
}

static uint32_t zipf_table[1 << 16];
static void zipf_init(double a)
{
    static double sum[SPACE + 1];
    uint32_t b = 0;

    for (uint32_t i = 0; i < SPACE; i++)
        sum[i + 1] = sum[i] + 1 / pow(i + 1, a);
    for (uint32_t i = 0; i < ARRAY_LEN(zipf_table); i++) {
        while (sum[b + 1] / sum[SPACE] < (i + 0.5) / ARRAY_LEN(zipf_table))
            b++;
        zipf_table[i] = (uint32_t)((uint64_t)b * 7919 % SPACE);
    }
}

enum workload { ZIPF, ZIPF_AND_SCAN, LOOP, SHIFT, WORKLOAD_NR };
static uint32_t next_block(enum workload w, uint32_t i, uint64_t *rnd)
{
    *rnd = *rnd * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint32_t z = zipf_table[*rnd >> 48];

    switch (w) {
    case ZIPF:          return z;
    case ZIPF_AND_SCAN: return i / 1000 % 2 ? i % SPACE : z;
    case LOOP:          return i % 3 ? z : i / 3 % (CACHE / 2);
    case SHIFT:         return (z + i / 50000 * 5000) % SPACE;
    case WORKLOAD_NR:   break;
    }
    abort();
}

Test(slots_evict, hit_ratios_are_those_of_s3_fifo)
{
    for (int w = ZIPF; w < WORKLOAD_NR; w++)
        for (int slope = 7; slope <= 11; slope += 2) {
            static struct reference ref;
            static struct ours o;
            uint64_t hits_ref = 0, hits = 0, rnd = 42;
            uint32_t nr = 600000;

            memset(&ref, 0, sizeof(ref));
            memset(&o, 0, sizeof(o));
            zipf_init(slope / 10.0);
            cr_assert_eq(index_init(&o.ix, CACHE / 100, 101 * 8, 4, 1, 5), 0);
            cr_assert_eq(slots_init(&o.sl, &o.ix, 1, 10, ours_evict, &o), 0);
            for (uint32_t s = 0; s < CACHE / 100; s++)
                slots_open_segment(&o.sl, s);
            for (uint32_t i = 0; i < nr; i++) {
                uint32_t b = next_block((enum workload)w, i, &rnd);

                hits_ref += reference_read(&ref, b);
                hits += ours_read(&o, b);
            }
            slots_verify(&o.sl);
            fprintf(stderr, "workload %d, zipf %.1f: %.4f, with queues %.4f\n", w, slope / 10.0, (double)hits / nr, (double)hits_ref / nr);
            cr_assert_geq((double)hits, (double)hits_ref * 0.99);
            cr_assert_leq((double)hits, (double)hits_ref * 1.05); /* more is not worse, but would be another policy */
            slots_fini(&o.sl);
            index_fini(&o.ix);
        }
}

/* ---- memory ---- */

enum { TURN_SEGS = 64, TURN_PER = 4096, TURN_PLACES = TURN_SEGS * (TURN_PER - 1) };

static void turn_evict(void *ctx, uint32_t id)
{
    struct ours *o = ctx;
    unsigned flags = index_flags_of(&o->ix, id);

    index_remove(&o->ix, id);
    slots_gone(&o->sl, id, flags);
}

static uint64_t ring_resident(const struct slots *sl)
{
    static unsigned char there[TURN_PLACES * 4 / 4096];
    uint64_t pages = 0;

    cr_assert_leq(sl->ring_cap * sizeof(*sl->ring), sizeof(there) * 4096);
    cr_assert_eq(mincore(sl->ring, sl->ring_cap * sizeof(*sl->ring), there), 0);
    for (size_t i = 0; i < sl->ring_cap * sizeof(*sl->ring) / 4096; i++)
        pages += there[i] & 1;
    return pages * 4096;
}

/* Room for half of all places, of which the queue has a tenth: four turns of all of them. */
Test(slots_evict, the_ring_takes_the_memory_of_what_is_in_it)
{
    static struct ours o;
    uint64_t most = 0;

    memset(&o, 0, sizeof(o));
    cr_assert_eq(index_init(&o.ix, TURN_SEGS, TURN_PER * 8, 4, 1, 5), 0);
    cr_assert_eq(slots_init(&o.sl, &o.ix, 1, 50, turn_evict, &o), 0);
    slots_small_share(&o.sl, 10);
    for (uint32_t s = 0; s < TURN_SEGS; s++)
        slots_open_segment(&o.sl, s);
    for (uint32_t b = 0; b < 5 * TURN_PLACES; b++) {
        uint32_t id = slots_take(&o.sl, b % 10 != 0);
        struct index_entry e = {.layer = 1, .block = b, .segment = id / TURN_PER, .unit = id % TURN_PER * 8};

        cr_assert_neq(id, INDEX_NONE);
        e.flags = slots_filled(&o.sl, id);
        index_put(&o.ix, INDEX_NONE, &e);
        if (b > TURN_PLACES && b % 4096 == 0)
            most = MAX(most, ring_resident(&o.sl));
    }
    slots_verify(&o.sl);
    cr_assert_gt(most, 0);
    cr_assert_leq(most, (uint64_t)TURN_PLACES / 10 * 4 + 4 * 65536, "%.2f bytes a place", (double)most / TURN_PLACES);
    slots_fini(&o.sl);
    index_fini(&o.ix);
}
