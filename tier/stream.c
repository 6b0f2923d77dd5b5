/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c: a read that begins where another ended goes on with its stream. */
#include "tier/stream.h"

static uint64_t key_of(uint32_t layer, uint64_t block) { return (uint64_t)layer << 40 | block; }
static_assert(VOLUME_BYTES_MAX / BLOCK_BYTES < UINT64_C(1) << 40, "a block number fits a key, beside the layer");

/* Every host read comes by here: comparing it with all streams took 500 instructions. A read asks for two keys that lie beside each other,
 * so those of one neighbourhood share a bucket, and one is looked at. */
#define NEIGHBOURS 16u

static uint8_t *bucket_of(struct stream_table *t, uint64_t neighbourhood)
{
    return &t->head[(neighbourhood * UINT64_C(0x9e3779b97f4a7c15) >> 32) % STREAM_BUCKETS];
}

/* Reads that are not of whole blocks begin in the block in which the one before ended. */
static uint32_t find(struct stream_table *t, uint64_t key)
{
    uint32_t at = STREAMS;

    for (uint64_t n = key / NEIGHBOURS; n <= (key + 1) / NEIGHBOURS; n++)
        for (uint32_t i = *bucket_of(t, n); i != 0; i = t->chain[i - 1])
            if (t->key[i - 1] - key <= 1 && (at == STREAMS || i - 1 > at))
                at = i - 1;
    return at;
}

static void set_key(struct stream_table *t, uint32_t i, uint64_t key)
{
    uint8_t *from = bucket_of(t, t->key[i] / NEIGHBOURS), *to = bucket_of(t, key / NEIGHBOURS);
    bool used = t->key[i] != 0;

    t->key[i] = key;
    if (used && from == to)
        return;
    if (used) {
        while (*from != i + 1)
            from = &t->chain[*from - 1];
        *from = t->chain[i];
    }
    t->chain[i] = *to;
    *to = (uint8_t)(i + 1);
}

static void make_youngest(struct stream_table *t, uint32_t i)
{
    uint8_t last = t->older[STREAMS];

    if (i == last)
        return;
    t->older[t->younger[i]] = t->older[i];
    t->younger[t->older[i]] = t->younger[i];
    t->younger[i] = STREAMS;
    t->older[i] = last;
    t->younger[last] = t->older[STREAMS] = (uint8_t)i;
}

static void begin(struct stream_table *t)
{
    for (uint32_t i = 0; i <= STREAMS; i++) {
        t->younger[i] = (uint8_t)((i + 1) % (STREAMS + 1));
        t->older[i] = (uint8_t)((i + STREAMS) % (STREAMS + 1));
    }
    t->begun = true;
}

/* The latest one is judged by the one that comes now. */
static void note_shared(struct stream *st, uint64_t block, uint64_t nblocks)
{
    bool shares = block + 1 == st->next;
    int8_t *g = &st->guess[st->now];

    if (st->nr > 0) {
        *g = (int8_t)(shares ? MIN(*g + 1, 2) : MAX(*g - 1, -2));
        st->shares = (uint8_t)(st->shares << 1 | shares);
    }
    st->nr++;
    st->now = (uint8_t)(((uint32_t)nblocks * 0x9e3779b1u >> 26 ^ (st->shares & 7u) << 3) % STREAM_GUESSES);
}

bool stream_shares_last(const struct stream *st) { return st->guess[st->now] > 0; }

struct stream *stream_read(struct stream_table *t, uint32_t layer, uint64_t block, uint64_t nblocks)
{
    uint32_t i = find(t, key_of(layer, block));
    struct stream *st;

    assert(layer != 0); /* no key is 0 */
    if (!t->begun)
        begin(t);
    if (i == STREAMS) {
        i = t->younger[STREAMS];
        t->of[i] = (struct stream){.next = block, .ahead = block};
    }
    make_youngest(t, i);
    st = &t->of[i];
    note_shared(st, block, nblocks);
    st->nblocks += block + nblocks - MAX(st->next, block);
    st->next = block + nblocks;
    set_key(t, i, key_of(layer, st->next));
    return st;
}

uint64_t stream_ahead(struct stream *st, uint64_t max, uint64_t *from)
{
    uint64_t n = MIN(st->nblocks, max);

    if (st->nblocks < STREAM_MIN_BLOCKS)
        return 0;
    *from = MAX(st->ahead, st->next);
    if (*from - st->next > n / 2)
        return 0;
    st->ahead = *from + n;
    return n;
}
