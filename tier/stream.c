/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c: a read that begins where another ended goes on with its stream. */
#include "tier/stream.h"

static uint64_t key_of(uint32_t layer, uint64_t block) { return (uint64_t)layer << 40 | block; }
static_assert(VOLUME_BYTES_MAX / BLOCK_BYTES < UINT64_C(1) << 40, "a block number fits a key, beside the layer");

/* Reads that are not of whole blocks begin in the block in which the one before ended. */
static uint32_t find(const struct stream_table *t, uint64_t key)
{
    uint32_t at = STREAMS;

    for (uint32_t i = 0; i < STREAMS; i++)
        if (t->key[i] - key <= 1)
            at = i;
    return at;
}

/* The stream at that place of the order is the youngest now. Returns its number. */
static uint32_t move_to_end(struct stream_table *t, size_t at)
{
    uint8_t i = t->order[at];

    memmove(&t->order[at], &t->order[at + 1], STREAMS - 1 - at);
    t->order[STREAMS - 1] = i;
    return i;
}

static void begin(struct stream_table *t)
{
    for (uint32_t i = 0; i < STREAMS; i++)
        t->order[i] = (uint8_t)i;
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
        i = move_to_end(t, 0);
        t->of[i] = (struct stream){.next = block, .ahead = block};
    } else {
        const uint8_t *at = memchr(t->order, (int)i, STREAMS);

        move_to_end(t, (size_t)(at - t->order));
    }
    st = &t->of[i];
    note_shared(st, block, nblocks);
    st->nblocks += block + nblocks - MAX(st->next, block);
    st->next = block + nblocks;
    t->key[i] = key_of(layer, st->next);
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
