/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tier/stream.h"

#define READS  200000
#define BLOCKS 700u /* few enough that streams meet */

/* The same question asked of a plain array: each read is compared with all of them. */
struct plain { uint64_t next, nblocks, last_use; uint32_t layer; };

static uint32_t plain_read(struct plain *all, uint64_t use, uint32_t layer, uint64_t block, uint64_t nblocks)
{
    uint32_t at = STREAMS, oldest = 0;

    for (uint32_t i = 0; i < STREAMS; i++) {
        if (all[i].layer == layer && (all[i].next == block || all[i].next == block + 1))
            at = i;
        if (all[i].last_use < all[oldest].last_use)
            oldest = i;
    }
    if (at == STREAMS) {
        at = oldest;
        all[at] = (struct plain){.next = block, .layer = layer};
    }
    all[at].nblocks += block + nblocks - MAX(all[at].next, block);
    all[at].next = block + nblocks;
    all[at].last_use = use;
    return at;
}

Test(stream, agrees_with_a_plain_array)
{
    static struct stream_table t;
    static struct plain all[STREAMS];

    srand(7);
    for (uint64_t i = 1; i <= READS; i++) {
        const struct plain *p = &all[(uint32_t)rand() % STREAMS];
        bool on = p->layer != 0 && rand() % 3 != 0; /* goes on with one of them, perhaps from within its last block */
        uint32_t layer = on ? p->layer : 1 + (uint32_t)rand() % 3, at;
        uint64_t block = on ? p->next - (rand() % 2 != 0) : (uint32_t)rand() % BLOCKS, n = 1 + (uint32_t)rand() % 40;
        const struct stream *st;

        at = plain_read(all, i, layer, block, n);
        st = stream_read(&t, layer, block, n);
        cr_assert_eq(st - t.of, at);
        cr_assert_eq(st->next, all[at].next);
        cr_assert_eq(st->nblocks, all[at].nblocks);
    }
}
