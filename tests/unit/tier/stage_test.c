/* SPDX-License-Identifier: Apache-2.0 */
/* Frames, and streams: the two parts of reading ahead that know no device. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tier/stage.h"
#include "tier/stream.h"

#define NR 64u

static uint32_t ready(struct stage *st, uint32_t x, uint32_t i)
{
    uint32_t f = stage_claim(st, x, i, x * 1000 + i, NULL);

    stage_arrived(st, f, true);
    return f;
}

Test(stage, the_first_in_is_the_first_out)
{
    struct stage st;

    cr_assert_eq(stage_init(&st, NR), 0);
    for (uint32_t i = 0; i < NR; i++)
        ready(&st, 5, i);
    stage_verify(&st);
    cr_assert_eq(stage_frame(&st, stage_find(&st, 5, 0))->csum, 5000);
    ready(&st, 6, 0);
    cr_assert_eq(stage_find(&st, 5, 0), STAGE_NONE);
    cr_assert_neq(stage_find(&st, 5, 1), STAGE_NONE);
    stage_drop_block(&st, 5, 7); /* its frame is the next one that is taken */
    ready(&st, 6, 1);
    cr_assert_neq(stage_find(&st, 5, 1), STAGE_NONE);
    stage_drop_extent(&st, 5);
    for (uint32_t i = 0; i < NR; i++)
        cr_assert_eq(stage_find(&st, 5, i), STAGE_NONE);
    cr_assert_neq(stage_find(&st, 6, 0), STAGE_NONE);
    stage_verify(&st);
    stage_fini(&st);
}

Test(stage, a_frame_that_yields_is_the_next_to_go)
{
    struct stage st;

    cr_assert_eq(stage_init(&st, NR), 0);
    for (uint32_t i = 0; i < NR; i++)
        ready(&st, 5, i);
    stage_yield(&st, stage_find(&st, 5, 0)); /* it is that anyway */
    stage_yield(&st, stage_find(&st, 5, 20));
    stage_yield(&st, stage_find(&st, 5, NR - 1));
    stage_verify(&st);
    for (uint32_t i = 0; i < 4; i++) {
        static const uint32_t order[] = {NR - 1, 20, 0, 1};

        cr_assert_neq(stage_find(&st, 5, order[i]), STAGE_NONE);
        ready(&st, 6, i);
        cr_assert_eq(stage_find(&st, 5, order[i]), STAGE_NONE);
        stage_verify(&st);
    }
    stage_lend(&st, stage_find(&st, 5, 2)); /* nobody gets it meanwhile */
    stage_yield(&st, stage_find(&st, 5, 2));
    ready(&st, 6, 9);
    cr_assert_neq(stage_find(&st, 5, 2), STAGE_NONE);
    cr_assert_eq(stage_find(&st, 5, 3), STAGE_NONE);
    cr_assert(stage_returned(&st, stage_find(&st, 5, 2)));
    stage_verify(&st);
    stage_fini(&st);
}

Test(stage, a_frame_that_a_device_writes_into_is_nobody_elses)
{
    struct stage st;
    uint32_t caught;

    cr_assert_eq(stage_init(&st, NR), 0);
    caught = stage_claim(&st, 1, 1, 9, NULL);
    stage_drop_block(&st, 1, 1);
    cr_assert_eq(stage_find(&st, 1, 1), STAGE_NONE);
    cr_assert_eq(stage_claimable(&st), NR - 1);
    for (uint32_t i = 0; i < 3 * NR; i++)
        cr_assert_neq(ready(&st, 2, i % 200), caught);
    cr_assert_neq(ready(&st, 1, 1), caught, "the block's next life has a frame of its own");
    stage_arrived(&st, caught, true);
    cr_assert_neq(stage_find(&st, 1, 1), caught, "and what came late is not found");
    cr_assert_eq(stage_claimable(&st), NR);
    stage_verify(&st);
    stage_fini(&st);
}

/* Against a table of what each block should find, for extents that share a hash and a filter. */
Test(stage, a_frame_that_is_lent_keeps_what_it_has)
{
    struct stage st;
    uint32_t kept, dropped;

    cr_assert_eq(stage_init(&st, NR), 0);
    kept = ready(&st, 1, 0);
    dropped = ready(&st, 1, 1);
    stage_lend(&st, kept);
    stage_lend(&st, dropped);
    cr_assert(stage_holds(&st, kept) && stage_claimable(&st) == NR - 2);
    for (uint32_t i = 0; i < 3 * NR; i++) { /* everything else is taken again and again */
        uint32_t f = ready(&st, 2 + i / NR, i % NR);

        cr_assert(f != kept && f != dropped);
    }
    cr_assert(stage_find(&st, 1, 0) == kept && stage_find(&st, 1, 1) == dropped);
    stage_drop_block(&st, 1, 1);
    cr_assert_eq(stage_find(&st, 1, 1), STAGE_NONE);
    cr_assert_eq(stage_claimable(&st), NR - 2, "it is still being read");
    stage_verify(&st);
    cr_assert(stage_returned(&st, kept));
    cr_assert_not(stage_returned(&st, dropped));
    cr_assert(stage_find(&st, 1, 0) == kept && stage_claimable(&st) == NR);
    stage_verify(&st);
    stage_fini(&st);
}

Test(stage, finds_what_a_plain_table_says)
{
    static uint32_t frame_of[8][EXTENT_BLOCKS];
    static struct { uint32_t f, x, i; bool dropped; } out[NR];
    uint32_t nr_out = 0, found = 0;
    struct stage st;

    srand(7);
    cr_assert_eq(stage_init(&st, NR), 0);
    for (uint32_t n = 0; n < 200000; n++) {
        uint32_t k = (uint32_t)rand() % 8, i = (uint32_t)rand() % 40, x = 3 + k * STAGE_FILTER, f = stage_find(&st, x, i);

        if (f != STAGE_NONE) {
            cr_assert_eq(f, frame_of[k][i]);
            cr_assert_eq(stage_frame(&st, f)->csum, k * 1000 + i);
            found++;
        }
        switch (rand() % 4) {
        case 0:
            if (f != STAGE_NONE || stage_claimable(&st) == 0)
                break;
            out[nr_out].x = x;
            out[nr_out].i = i;
            out[nr_out].dropped = false;
            out[nr_out].f = frame_of[k][i] = stage_claim(&st, x, i, k * 1000 + i, NULL);
            nr_out++;
            break;
        case 1:
            if (nr_out > 0) {
                uint32_t o = (uint32_t)rand() % nr_out;
                bool good = rand() % 3 != 0;

                stage_arrived(&st, out[o].f, good);
                if (!out[o].dropped)
                    cr_assert_eq(stage_find(&st, out[o].x, out[o].i), good ? out[o].f : STAGE_NONE);
                out[o] = out[--nr_out];
            }
            break;
        case 2:
            stage_drop_block(&st, x, i);
            cr_assert_eq(stage_find(&st, x, i), STAGE_NONE);
            for (uint32_t o = 0; o < nr_out; o++)
                out[o].dropped |= out[o].f == f && f != STAGE_NONE;
            break;
        default:
            break;
        }
        cr_assert_eq(st.nr_out, nr_out);
    }
    cr_assert_gt(found, 10000);
    stage_verify(&st);
    stage_fini(&st);
}

/* ---- streams ---- */

static struct stream_table t;

static uint64_t ahead(uint32_t layer, uint64_t block, uint64_t n, uint64_t max, uint64_t *from)
{
    return stream_ahead(stream_read(&t, layer, block, n), max, from);
}

Test(stream, random_reads_read_nothing_ahead)
{
    uint64_t from;

    srand(3);
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(ahead(1, (uint64_t)rand() % 100000 * 40, 1 + (uint64_t)rand() % 8, 256, &from), 0);
    for (int i = 0; i < 1000; i++) /* the same block again and again is no stream either */
        cr_assert_eq(ahead(2, 77, 1, 256, &from), 0);
}

Test(stream, reads_ahead_as_much_as_was_read_and_again_when_half_is_used)
{
    uint64_t from = 0, end = 0, fetched = 0;

    for (uint64_t b = 1000; b < 1031; b++)
        cr_assert_eq(ahead(1, b, 1, 256, &from), 0);
    cr_assert_eq(ahead(1, 1031, 1, 256, &from), 32);
    cr_assert_eq(from, 1032);
    for (uint64_t b = 1032, e = 1064; b < 5000; b++) {
        uint64_t n = ahead(1, b, 1, 256, &from);

        if (n == 0) {
            cr_assert_gt(e, b, "the reader never catches up");
            continue;
        }
        cr_assert_eq(from, e, "each block once");
        cr_assert_leq(e - (b + 1), n / 2);
        cr_assert_leq(n, MIN(b + 1 - 1000, 256));
        e += n;
        end = e;
        fetched++;
    }
    cr_assert_leq(end, 5000 + 256 + 128);
    cr_assert_leq(fetched, 4 + 4000 / 256);
}

Test(stream, parts_of_blocks_and_other_layers)
{
    uint64_t from, n = 0;

    for (uint64_t b = 0; b < 40; b += 2) { /* each begins in the block in which the one before ended; 3 blocks touched */
        cr_assert_eq(ahead(2, b + 2, 1, 256, &from), 0, "another layer's stream is not this one's");
        n = ahead(1, b, 3, 256, &from);
        if (n > 0)
            break;
    }
    cr_assert_eq(n, 33, "blocks count once, although they were read twice");
    cr_assert_eq(from, 33);
}

Test(stream, sixty_four_at_once)
{
    uint64_t from;

    for (uint64_t b = 0; b < 31; b++)
        for (uint32_t i = 0; i < STREAMS; i++)
            cr_assert_eq(ahead(1, i * 100000 + b, 1, 256, &from), 0);
    for (uint32_t i = 0; i < STREAMS; i++)
        cr_assert_eq(ahead(1, i * 100000 + 31, 1, 256, &from), 32);
    cr_assert_eq(ahead(1, 50, 1, 256, &from), 0); /* one more: the oldest stream is forgotten, no other */
    cr_assert_eq(ahead(1, 32, 1, 8, &from), 0);
    for (uint32_t i = 2; i < STREAMS; i++)
        cr_assert_eq(stream_read(&t, 1, i * 100000 + 32, 1)->nblocks, 33);
}

/* Requests of 16 blocks that begin in the last block of the one before, cut into pieces of 8. */
Test(stream, of_what_is_cut_into_pieces_the_last_one_alone_shares_its_last_block)
{
    uint32_t wrong = 0;

    for (uint64_t b = 0; b < 15 * 100; b += 15) {
        wrong += stream_shares_last(stream_read(&t, 3, b, 8)) && b > 15 * 8;
        wrong += !stream_shares_last(stream_read(&t, 3, b + 8, 8)) && b > 15 * 8;
    }
    cr_assert_eq(wrong, 0);
    for (uint64_t b = 1500; b < 3000; b += 8) /* then none does */
        wrong += stream_shares_last(stream_read(&t, 3, b, 8));
    cr_assert_leq(wrong, 8);
}
