/* SPDX-License-Identifier: Apache-2.0 */
/* index_hash.c: a two-choice cuckoo hash in buckets of one cache line.
 *
 * Find: hash the key, look at two buckets, compare 12 one-byte tags, and only where a tag agrees look at the slot's key.
 * Insert: the emptier of the two buckets; if both are full, a victim of the first moves to its other bucket, and so on.
 *   Kicks are few up to 97 % load; an entry that still finds no place after KICKS_MAX goes to a short stash that is
 *   searched when it is not empty.
 * Size: shards of a pool share its segments, and any of them may come to hold most of them: room for all, in each, would be
 *   the memory of the whole index as often as there are shards. So the hash begins with a shard's part, within address space
 *   that is reserved for all, grows by a 16th when it is nearly full, and shrinks by one when a fifth of it is empty. A bucket's
 *   number is its key's hash, scaled to the number of buckets: keys of bucket b of a hash that grows move to b or behind it, of
 *   one that shrinks to b or before it. So buckets are emptied in place, from the last one down or from the first one up, two
 *   with each change, and what is in them is inserted anew. `sweep` tells by which number a key is found meanwhile.
 */
#include "tier/index_hash.h"

#define BUCKET_SLOTS 12u
#define LOAD_PCT     97u
#define GROW_PCT     95u
#define SHRINK_PCT   80u
#define RESIZE_PART  16u
#define RESIZE_STEP  2u    /* buckets a change: over after half as many changes as there are buckets, before it is due again */
#define KICKS_MAX    1000
#define BUCKETS_MIN  64u
#define LEAST_PART   8u    /* of what it begins with */

struct index_bucket {            /* one cache line */
    uint32_t id[BUCKET_SLOTS];   /* slot id + 1; 0: empty */
    uint8_t  tag[BUCKET_SLOTS];
    uint32_t unused;
};
static_assert(sizeof(struct index_bucket) == 64, "a bucket is one cache line");

struct place { uint32_t b[2]; uint8_t tag; }; /* the two may be one */

static uint64_t mix64(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    x ^= x >> 33;
    return x;
}

static uint32_t scaled(uint32_t hash, uint32_t nr) { return (uint32_t)(((uint64_t)hash * nr) >> 32); }

static uint32_t bucket_of(const struct index *ix, uint32_t hash)
{
    uint32_t now = scaled(hash, ix->nr_buckets), was;

    if (ix->old_buckets == 0)
        return now;
    was = scaled(hash, ix->old_buckets);
    return (was < ix->sweep) == (ix->old_buckets > ix->nr_buckets) ? now : was;
}

static struct place place_of(const struct index *ix, uint64_t key)
{
    uint64_t h = mix64(key ^ ix->seed);

    return (struct place){{bucket_of(ix, (uint32_t)h), bucket_of(ix, (uint32_t)(h >> 32))}, (uint8_t)(mix64(h) >> 56)};
}

/* ---- size ---- */

void index_hash_plan(struct index *ix, uint64_t slots, uint32_t parts)
{
    uint64_t max = slots * 100 / (LOAD_PCT * BUCKET_SLOTS) + 2;

    ix->max_buckets = (uint32_t)max;
    ix->nr_buckets = (uint32_t)MIN(max, MAX(max / parts, (uint64_t)BUCKETS_MIN));
    ix->min_buckets = parts == 1 ? ix->nr_buckets : MIN(ix->nr_buckets, MAX(ix->nr_buckets / LEAST_PART, BUCKETS_MIN));
}

/* With a page behind them, so that all they are in can be given back. */
size_t index_hash_reserve_bytes(const struct index *ix) { return ix->max_buckets * sizeof(*ix->buckets) + ix->page_bytes; }

uint64_t index_hash_bytes(const struct index *ix)
{
    return MAX(figure_get(&ix->nr_buckets), figure_get(&ix->old_buckets)) * sizeof(*ix->buckets);
}

/* ---- buckets ---- */

static int bucket_slot_of_key(const struct index *ix, const struct index_bucket *b, uint8_t tag, uint64_t key)
{
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        if (b->tag[i] == tag && b->id[i] != 0 && index_slot_key(ix, b->id[i] - 1) == key)
            return (int)i;
    return -1;
}

uint32_t *index_hash_cell(const struct index *ix, uint64_t key)
{
    struct place p = place_of(ix, key);

    for (int c = 0; c < 2; c++) {
        struct index_bucket *b = &ix->buckets[p.b[c]];
        int i = bucket_slot_of_key(ix, b, p.tag, key);

        if (i >= 0)
            return &b->id[i];
    }
    for (uint32_t i = 0; i < ix->stash_nr; i++)
        if (index_slot_key(ix, ix->stash[i] - 1) == key)
            return (uint32_t *)&ix->stash[i];
    return NULL;
}

static unsigned bucket_load(const struct index_bucket *b)
{
    unsigned n = 0;

    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        n += b->id[i] != 0;
    return n;
}

static bool bucket_add(struct index_bucket *b, uint32_t id1, uint8_t tag)
{
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        if (b->id[i] == 0) {
            b->id[i] = id1;
            b->tag[i] = tag;
            return true;
        }
    }
    return false;
}

static unsigned next_victim(struct index *ix)
{
    ix->walk ^= ix->walk << 13;
    ix->walk ^= ix->walk >> 7;
    ix->walk ^= ix->walk << 17;
    return (unsigned)(ix->walk % BUCKET_SLOTS);
}

static void insert(struct index *ix, uint32_t id, uint64_t key)
{
    struct place p = place_of(ix, key);
    int emptier = bucket_load(&ix->buckets[p.b[1]]) < bucket_load(&ix->buckets[p.b[0]]);
    uint32_t at = p.b[emptier], id1 = id + 1;
    uint8_t tag = p.tag;

    for (int kick = 0; kick < KICKS_MAX; kick++) {
        struct index_bucket *b = &ix->buckets[at];
        unsigned v;
        uint32_t out;

        if (bucket_add(b, id1, tag))
            return;
        v = next_victim(ix);
        out = b->id[v];
        b->id[v] = id1;
        b->tag[v] = tag;
        p = place_of(ix, index_slot_key(ix, out - 1));
        at = p.b[p.b[0] == at];
        tag = p.tag;
        id1 = out;
    }
    assert(ix->stash_nr < ARRAY_LEN(ix->stash));
    ix->stash[ix->stash_nr++] = id1;
}

/* ---- resizing ---- */

static bool loaded_over(const struct index *ix, unsigned pct)
{
    return ix->nr_entries * 100 > (uint64_t)ix->nr_buckets * BUCKET_SLOTS * pct;
}

static void resize(struct index *ix, uint32_t nr)
{
    figure_set(&ix->old_buckets, ix->nr_buckets);
    figure_set(&ix->nr_buckets, nr);
    ix->sweep = ix->old_buckets < nr ? ix->old_buckets : 0;
}

/* What is emptier because it only begins to fill stays as large as it will have to be. */
static void resize_if_due(struct index *ix, bool removed)
{
    uint32_t part = ix->nr_buckets / RESIZE_PART + 1;

    if (ix->nr_buckets < ix->max_buckets && loaded_over(ix, GROW_PCT))
        resize(ix, MIN(ix->nr_buckets + part, ix->max_buckets));
    else if (removed && ix->nr_buckets > ix->min_buckets && !loaded_over(ix, SHRINK_PCT))
        resize(ix, MAX(ix->nr_buckets - part, ix->min_buckets));
}

/* What lies in bucket b, whose keys are found by the new number from now on, goes where that says. */
static void empty_bucket(struct index *ix, uint32_t b)
{
    struct index_bucket was = ix->buckets[b];

    ix->buckets[b] = (struct index_bucket){0};
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        if (was.id[i] != 0)
            insert(ix, was.id[i] - 1, index_slot_key(ix, was.id[i] - 1));
}

static void resize_step(struct index *ix)
{
    bool grows = ix->old_buckets < ix->nr_buckets;

    empty_bucket(ix, grows ? --ix->sweep : ix->sweep++);
    if (ix->sweep != (grows ? 0 : ix->old_buckets))
        return;
    if (!grows) /* with the page in which the buckets ended before */
        index_pages_give(ix, ix->buckets + ix->nr_buckets, (char *)(ix->buckets + ix->old_buckets) + ix->page_bytes);
    figure_set(&ix->old_buckets, 0);
}

static void resize_some(struct index *ix, bool removed)
{
    if (ix->old_buckets == 0)
        resize_if_due(ix, removed);
    for (unsigned i = 0; i < RESIZE_STEP && ix->old_buckets != 0; i++)
        resize_step(ix);
}

/* ---- changes ---- */

void index_hash_add(struct index *ix, uint32_t id, uint64_t key)
{
    resize_some(ix, false);
    insert(ix, id, key);
}

void index_hash_remove(struct index *ix, uint64_t key)
{
    uint32_t *cell = index_hash_cell(ix, key);

    assert(cell != NULL);
    if (cell >= ix->stash && cell < ix->stash + ix->stash_nr)
        *cell = ix->stash[--ix->stash_nr];
    else
        *cell = 0;
    resize_some(ix, true);
}
