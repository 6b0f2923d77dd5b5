/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <sys/mman.h>
#include <stdio.h>
#include <stdlib.h>

#include "tier/index.h"

static struct index_entry entry(uint32_t layer, uint64_t block, uint32_t segment, uint32_t unit, uint64_t seq, unsigned flags)
{
    return (struct index_entry){.layer = layer, .block = block, .segment = segment, .unit = unit, .seq = seq,
                                .csum = (uint32_t)(block * 31 + seq), .flags = flags};
}

Test(index, gives_back_what_was_put)
{
    struct index ix;
    struct index_entry e = entry(7, (UINT64_C(1) << 36) - 1, 3, 8 * 5 + 3, INDEX_SEQ_MAX, INDEX_DIRTY), got;
    uint32_t id;

    cr_assert_eq(index_init(&ix, 8, 1024, 16, 1, 1), 0);
    cr_assert_eq(index_find(&ix, e.layer, e.block), INDEX_NONE);
    id = index_put(&ix, INDEX_NONE, &e);
    cr_assert_eq(index_find(&ix, e.layer, e.block), id);
    index_get(&ix, id, &got);
    cr_assert(got.layer == e.layer && got.block == e.block && got.seq == e.seq && got.csum == e.csum);
    cr_assert(got.segment == e.segment && got.unit == e.unit && got.flags == e.flags);
    cr_assert_eq(ix.seg_live[3], 1);
    cr_assert_eq(ix.seg_dirty[3], 1);
    index_set_clean(&ix, id);
    cr_assert_eq(ix.seg_dirty[3], 0);
    index_remove(&ix, id);
    cr_assert_eq(index_find(&ix, e.layer, e.block), INDEX_NONE);
    cr_assert_eq(ix.nr_entries, 0);
    index_fini(&ix);
}

Test(index, a_newer_place_replaces_the_older_one)
{
    struct index ix;
    struct index_entry a = entry(1, 9, 0, 8, 1, INDEX_DIRTY), b = entry(1, 9, 1, 16, 2, INDEX_DIRTY);
    uint32_t id;

    cr_assert_eq(index_init(&ix, 2, 1024, 16, 1, 1), 0);
    id = index_put(&ix, INDEX_NONE, &a);
    id = index_put(&ix, id, &b);
    cr_assert_eq(index_find(&ix, 1, 9), id);
    cr_assert(ix.seg_live[0] == 0 && ix.seg_live[1] == 1 && ix.nr_entries == 1);
    index_verify(&ix);
    index_fini(&ix);
}

Test(index, virtual_slots_are_counted_and_come_back)
{
    struct index ix;
    struct index_entry z = entry(1, 0, 1, 0, 5, INDEX_ZERO | INDEX_DIRTY), got;

    cr_assert_eq(index_init(&ix, 2, 1024, 4, 1, 1), 0);
    for (uint64_t i = 0; i < 4; i++) {
        z.block = i;
        index_put(&ix, INDEX_NONE, &z);
    }
    cr_assert_eq(index_virtual_free(&ix), 0);
    index_get(&ix, index_find(&ix, 1, 2), &got);
    cr_assert(got.segment == 1 && (got.flags & INDEX_ZERO));
    z.block = 2;
    z.seq = 6;
    index_put(&ix, index_find(&ix, 1, 2), &z); /* full, but replacing reuses */
    index_verify(&ix);
    index_remove(&ix, index_find(&ix, 1, 1));
    cr_assert_eq(index_virtual_free(&ix), 1);
    index_verify(&ix);
    index_fini(&ix);
}

Test(index, holds_every_slot_within_24_bytes_a_block)
{
    struct index ix;
    uint32_t segs = 64, per = 4096;
    double bytes;

    cr_assert_eq(index_init(&ix, segs, per * 8, segs * per / 16, 1, 0x1234567), 0);
    for (uint32_t i = 0; i < segs * per; i++) {
        struct index_entry e = entry(1 + i % 5, (uint64_t)i * 2654435761u % (UINT64_C(1) << 30), i / per, i % per * 8, i, 0);

        if (index_find(&ix, e.layer, e.block) == INDEX_NONE)
            index_put(&ix, INDEX_NONE, &e);
    }
    cr_assert_gt(ix.nr_entries, (uint64_t)segs * per * 99 / 100);
    bytes = (double)index_bytes(&ix) / (double)((uint64_t)segs * per);
    cr_log_info("index: %.2f bytes a block, %u stashed", bytes, ix.stash_nr);
    fprintf(stderr, "index at full load: %.2f bytes a block, %u in the stash\n", bytes, ix.stash_nr);
    cr_assert_leq(bytes, 24.0);
    cr_assert_eq(ix.stash_nr, 0);
    index_verify(&ix);
    index_fini(&ix);
}

Test(index, agrees_with_an_array_under_random_changes)
{
    enum { SEGS = 16, PER = 64, BLOCKS = 400 };
    static uint64_t seq_of[BLOCKS];
    static uint32_t id_of[BLOCKS];
    struct index ix;
    uint64_t seq = 0;

    cr_assert_eq(index_init(&ix, SEGS, PER * 8, 64, 1, 99), 0);
    srand(1);
    for (int i = 0; i < BLOCKS; i++)
        id_of[i] = INDEX_NONE;
    for (int step = 0; step < 200000; step++) {
        uint64_t b = (uint64_t)rand() % BLOCKS;
        uint32_t slot = (uint32_t)rand() % (SEGS * PER);

        cr_assert_eq(index_find(&ix, 1, b), id_of[b]);
        if (rand() % 4 == 0 && id_of[b] != INDEX_NONE) {
            index_remove(&ix, id_of[b]);
            id_of[b] = INDEX_NONE;
        } else if (!index_slot_used(&ix, slot)) {
            struct index_entry e = entry(1, b, slot / PER, slot % PER * 8, ++seq, rand() % 2 ? INDEX_DIRTY : 0);

            id_of[b] = index_put(&ix, id_of[b], &e);
            seq_of[b] = seq;
        }
        if (id_of[b] != INDEX_NONE)
            cr_assert_eq(index_seq(&ix, id_of[b]), seq_of[b]);
    }
    index_verify(&ix);
    index_fini(&ix);
}

Test(index, counts_uses_up_to_three_without_taking_them_for_flags)
{
    struct index ix;
    struct index_entry e = entry(3, 5, 1, 8 * 4 + 7, 9, INDEX_DIRTY), got;
    uint32_t id;

    cr_assert_eq(index_init(&ix, 2, 1024, 4, 1, 1), 0);
    id = index_put(&ix, INDEX_NONE, &e);
    for (uint32_t i = 0; i < 6; i++) {
        cr_assert_eq(index_ref(&ix, id), MIN(i, INDEX_REF_MAX));
        cr_assert_eq(index_flags_of(&ix, id), INDEX_DIRTY);
        index_ref_add(&ix, id);
    }
    index_get(&ix, id, &got);
    cr_assert(got.flags == INDEX_DIRTY && got.unit == e.unit && got.block == e.block);
    index_set_clean(&ix, id);
    index_set_queue(&ix, id, INDEX_OVER);
    cr_assert(index_flags_of(&ix, id) == INDEX_OVER && index_ref(&ix, id) == INDEX_REF_MAX);
    index_set_queue(&ix, id, INDEX_MAIN);
    cr_assert(index_flags_of(&ix, id) == INDEX_MAIN && index_ref(&ix, id) == INDEX_REF_MAX);
    index_ref_set(&ix, id, 1);
    cr_assert(index_flags_of(&ix, id) == INDEX_MAIN && index_ref(&ix, id) == 1);
    index_set_kept(&ix, id);
    cr_assert(ix.nr_kept == 1 && ix.nr_dirty == 1);
    index_set_clean(&ix, id);
    cr_assert(ix.nr_kept == 0 && ix.nr_dirty == 0);
    cr_assert(index_flags_of(&ix, id) == INDEX_MAIN && index_ref(&ix, id) == 1);
    index_set_kept(&ix, id);
    index_verify(&ix);
    e.unit = 8;
    id = index_put(&ix, id, &e);
    cr_assert(index_ref(&ix, id) == 0 && index_flags_of(&ix, id) == INDEX_DIRTY);
    cr_assert(ix.nr_kept == 0 && ix.nr_dirty == 1);
    index_fini(&ix);
}

Test(index, uses_of_what_has_no_payload_are_not_counted)
{
    struct index ix;
    struct index_entry z = entry(1, 0, 1, 0, 5, INDEX_ZERO | INDEX_DIRTY), d = entry(1, 1, 1, 0, 6, INDEX_DAMAGED | INDEX_DIRTY);
    uint32_t id;

    cr_assert_eq(index_init(&ix, 2, 1024, 4, 1, 1), 0);
    id = index_put(&ix, INDEX_NONE, &z);
    index_ref_add(&ix, id);
    cr_assert(index_flags_of(&ix, id) == (INDEX_ZERO | INDEX_DIRTY) && index_ref(&ix, id) == 0);
    id = index_put(&ix, INDEX_NONE, &d);
    index_ref_add(&ix, id);
    cr_assert(index_flags_of(&ix, id) == (INDEX_DAMAGED | INDEX_DIRTY) && index_ref(&ix, id) == 0);
    index_fini(&ix);
}

Test(index, entries_that_come_and_go_at_full_load_never_need_the_stash)
{
    enum { SEGS = 64, PER = 4096, NR = SEGS * PER };
    static uint32_t id_of[NR];
    struct index ix;

    cr_assert_eq(index_init(&ix, SEGS, PER * 8, 64, 1, 4711), 0);
    for (uint32_t i = 0; i < NR; i++) {
        struct index_entry e = entry(1, i, i / PER, i % PER * 8, 1, 0);

        id_of[i] = index_put(&ix, INDEX_NONE, &e);
    }
    srand(2);
    for (uint64_t b = NR; b < 4 * NR; b++) {
        uint32_t slot = (uint32_t)rand() % NR;
        struct index_entry e = entry(2, b * 97, slot / PER, slot % PER * 8, 1, 0);

        index_remove(&ix, id_of[slot]);
        id_of[slot] = index_put(&ix, INDEX_NONE, &e);
        cr_assert_eq(ix.stash_nr, 0);
    }
    cr_assert_eq(ix.nr_entries, NR);
    index_verify(&ix);
    index_fini(&ix);
}

/* ---- many indexes over the same segments ---- */

enum { MANY = 8, LARGE_SEGS = 16, LARGE_PER = 4096, LARGE = LARGE_SEGS * LARGE_PER };

static void fill_segment(struct index *ix, uint32_t layer, uint32_t segment)
{
    for (uint32_t i = 0; i < LARGE_PER; i++) {
        struct index_entry e = entry(layer, (uint64_t)(segment * LARGE_PER + i) * 7919, segment, i * 8, 1, 0);

        index_put(ix, INDEX_NONE, &e);
    }
}

static void leave_segment(struct index *ix, uint32_t segment)
{
    for (uint32_t i = 0; i < LARGE_PER; i++)
        index_remove(ix, segment * LARGE_PER + i);
    index_segment_left(ix, segment);
}

static uint64_t resident(void *from, size_t bytes)
{
    static unsigned char there[LARGE * 8 / 4096 + 1];
    uint64_t pages = 0;

    cr_assert_leq(bytes, (size_t)LARGE * 8);
    cr_assert_eq(mincore(from, bytes, there), 0);
    for (size_t i = 0; i < (bytes + 4095) / 4096; i++)
        pages += there[i] & 1;
    return pages * 4096;
}

static uint64_t resident_of_all(struct index *ix)
{
    uint64_t sum = 0;

    for (uint32_t k = 0; k < MANY; k++)
        sum += resident(ix[k].key_flags, LARGE * 8) + resident(ix[k].csum, LARGE * 4) + resident(ix[k].seq_lo, LARGE * 4) +
               resident(ix[k].seq_hi, LARGE * 2) + resident(ix[k].buckets, ix[k].max_buckets * 64);
    return sum;
}

static uint64_t bytes_of_all(const struct index *ix)
{
    uint64_t sum = 0;

    for (uint32_t k = 0; k < MANY; k++)
        sum += index_bytes(&ix[k]);
    return sum;
}

/* Each shard in turn holds all that the pool has: together they never take much more than one of them. */
Test(index, those_of_many_shards_take_together_what_one_would)
{
    static struct index ix[MANY];
    uint64_t most = 0;

    for (uint32_t k = 0; k < MANY; k++)
        cr_assert_eq(index_init(&ix[k], LARGE_SEGS, LARGE_PER * 8, 64, MANY, k), 0);
    for (uint32_t k = 0, begins = ix[0].nr_buckets; k < 2 * MANY; k++) {
        if (k == 0) {
            fill_segment(&ix[0], 1, 0);
            cr_assert_eq(ix[0].nr_buckets, begins, "it is not made smaller because it is still empty");
            leave_segment(&ix[0], 0);
        }
        for (uint32_t g = 0; g < LARGE_SEGS; g++) {
            if (k > 0)
                leave_segment(&ix[(k - 1) % MANY], g);
            fill_segment(&ix[k % MANY], 1 + k, g);
            most = MAX(most, resident_of_all(ix));
        }
        cr_assert_eq(ix[k % MANY].nr_entries, (uint64_t)LARGE);
        cr_assert_eq(ix[k % MANY].stash_nr, 0);
        cr_assert_leq(bytes_of_all(ix), (uint64_t)LARGE * (k < MANY ? 29 : 25), /* what they begin with is not resident yet */
                      "shard %u: %.1f bytes a block", k, (double)bytes_of_all(ix) / LARGE);
        index_verify(&ix[k % MANY]);
    }
    fprintf(stderr, "at most %.1f bytes a block are resident\n", (double)most / LARGE);
    cr_assert_leq(most, (uint64_t)LARGE * 27, "%.1f bytes a block", (double)most / LARGE);
    for (uint32_t k = 0; k < MANY; k++)
        index_fini(&ix[k]);
}

/* The hash grows and shrinks, while entries come and go. */
Test(index, finds_everything_at_any_size)
{
    static uint32_t id_of[LARGE];   /* of block b; INDEX_NONE: none */
    struct index ix;
    uint32_t least = UINT32_MAX, most = 0;

    cr_assert_eq(index_init(&ix, LARGE_SEGS, LARGE_PER * 8, 64, 64, 7), 0);
    srand(3);
    for (uint32_t b = 0; b < LARGE; b++)
        id_of[b] = INDEX_NONE;
    for (uint32_t step = 0; step < 1500000; step++) {
        bool more = step / 250000 % 2 == 0 && step % 5 != 0;
        uint32_t b = (uint32_t)rand() % LARGE, slot = b; /* a block's slot is its own: they are all distinct */
        struct index_entry e = entry(1, (uint64_t)b * 7919, slot / LARGE_PER, slot % LARGE_PER * 8, step, 0);

        cr_assert_eq(index_find(&ix, 1, (uint64_t)b * 7919), id_of[b]);
        if (more && id_of[b] == INDEX_NONE) {
            id_of[b] = index_put(&ix, INDEX_NONE, &e);
        } else if (!more && id_of[b] != INDEX_NONE) {
            index_remove(&ix, id_of[b]);
            id_of[b] = INDEX_NONE;
        }
        least = step > 250000 ? MIN(least, ix.nr_buckets) : least;
        most = MAX(most, ix.nr_buckets);
        if (step % 50000 == 0)
            index_verify(&ix);
    }
    cr_assert(most > 4000 && least < 1000, "%u to %u buckets", least, most);
    cr_assert_eq(ix.stash_nr, 0);
    index_fini(&ix);
}
