/* SPDX-License-Identifier: Apache-2.0 */
/* Segments of the least size there is: the longest records and headers fit, whatever the alignment, and come back. */
#include "rig.h"

TestSuite(journal_small, .timeout = 240);

/* Turns over all segments a few times: records of every length, groups full of records, blocks that move. */
static void write_much(struct rig *r, uint64_t longest)
{
    for (uint32_t i = 0; i < 24; i++) {
        rig_write(r, i * 100, longest);
        if (i % 4 == 3)
            for (uint32_t k = 0; k < GROUP_RECORDS_MAX; k++)
                rig_append(r, JOURNAL_HOST, JOURNAL_ZERO, 5000 + i * 200 + k, 1);
        for (uint32_t k = 0; k < 6; k++)
            rig_append(r, JOURNAL_MOVES, JOURNAL_WRITE, 20000 + i * 10 + k, 1);
        rig_write(r, 40000 + i * 100, 1 + i % longest);
        cr_assert_eq(rig_wait(r), 0);
        sim_run_for(r->sim, NS_PER_MS);
        while (r->nr_sealed > 4)
            rig_free_oldest(r);
    }
}

Test(journal_small, the_longest_records_and_headers_fit)
{
    for (uint32_t i = 0; i < 3; i++) {
        struct rig *r = rig_new(&(struct rig_opts){.segment_bytes = SEGMENT_BYTES_MIN, .align_bytes = i == 0 ? 512 : 4096,
                                                   .nr_segments = 16, .long_heads = i == 2, .seed = 3 + i});
        uint64_t longest = segpool_record_blocks_max(&r->geo);

        cr_assert_eq(longest, SEGMENT_BYTES_MIN / BLOCK_BYTES / 2);
        for (uint32_t life = 0; life < 3; life++) {
            cr_assert_eq(rig_open(r), 0);
            cr_assert_eq(r->report.groups_corrupt, 0);
            cr_assert_eq(rig_verify(r), 0);
            write_much(r, longest);
            rig_crash(r);
        }
        cr_assert_eq(rig_open(r), 0);
        cr_assert_gt(r->report.records, 20);
        cr_assert_eq(rig_verify(r), 0);
        rig_free(r);
    }
}

/* What is promised of a victim: that many moved blocks fit in one segment. */
Test(journal_small, something_of_a_segment_can_move)
{
    for (uint32_t align = 512; align <= 4096; align += 3584) {
        struct segpool_geometry geo = {.segment_bytes = SEGMENT_BYTES_MIN, .align_bytes = align, .head_bytes = 4096};
        uint32_t blocks = SEGMENT_BYTES_MIN / BLOCK_BYTES;

        cr_assert_gt(segpool_moved_blocks_max(&geo, 64), blocks / 4);
        cr_assert_lt(segpool_moved_blocks_max(&geo, 64), blocks);
    }
    cr_assert_lt(segpool_plan(64 * MIB, SEGMENT_BYTES_MIN - 4096, 512, 1, &(struct segpool_geometry){0}), 0);
}
