/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of writes that go past the log: what is where, what a crash leaves of it, and when the log takes them after all. */
#include "past.h"

#include "tier/bypass.h"
#include "tier/map.h"

TestSuite(bypass, .timeout = 120);

static void boot(struct rig *r, uint64_t seed, uint64_t bypass)
{
    past_boot(r, (struct rig_opts){.seed = seed, .hdd_extents = 32, .volume_blocks = 4096}, bypass);
}

static uint64_t host_blocks(const struct rig *r) { return journal_stats(r->shard->j)->host_bytes / BLOCK_BYTES; }

Test(bypass, nothing_goes_past_the_log_unless_it_is_asked_for)
{
    struct rig r;

    boot(&r, 1, 0);
    past_stream(&r, 0, 1024, 1);
    cr_assert(past_blocks(&r) == 0 && host_blocks(&r) == 1024);
    rig_fini(&r);
}

Test(bypass, a_stream_goes_past_the_log_once_it_is_long_and_all_of_it_is_read_back)
{
    struct rig r;

    boot(&r, 2, 512 * 1024);
    past_stream(&r, 0, 1024, 1);
    cr_assert_eq(host_blocks(&r), 128, "as much as the key says, and no more");
    cr_assert_eq(past_blocks(&r), 1024 - 128);
    for (uint32_t b = 0; b < 1024; b += 100) /* short and scattered ones never do */
        cr_assert_eq(rig_write(&r, 2000 + b, 1, 7), 0);
    cr_assert_eq(past_blocks(&r), 1024 - 128);
    past_expect(&r, 0, 1024, 1);
    rig_restart(&r);
    past_expect(&r, 0, 1024, 1);
    rig_fini(&r);
}

Test(bypass, an_extent_that_lies_in_its_twin_as_a_whole_is_destaged_by_a_record_alone)
{
    struct rig r;
    uint64_t written;

    boot(&r, 3, 1);
    past_stream(&r, 0, 1024, 1);
    written = r.hdd_dev[0]->stats.bytes[DEV_WRITE] + r.hdd_dev[1]->stats.bytes[DEV_WRITE];
    cr_assert_eq(written, 1024 * BLOCK_BYTES);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert(r.shard->ix.nr_dirty == 0 && r.shard->twins_used == 0 && r.shard->stats.twin_swaps == 4);
    cr_assert_eq(r.hdd_dev[0]->stats.bytes[DEV_WRITE] + r.hdd_dev[1]->stats.bytes[DEV_WRITE], written, "nothing was copied");
    cr_assert_eq(rig_used(&r), 4);
    past_stream(&r, 0, 1024, 2); /* again, elsewhere: the old places go back */
    past_expect(&r, 0, 1024, 2);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert(r.shard->stats.twin_swaps == 8 && rig_used(&r) == 4 && r.shard->ix.nr_dirty == 0);
    rig_restart(&r);
    cr_assert_eq(rig_used(&r), 4);
    past_expect(&r, 0, 1024, 2);
    rig_fini(&r);
}

Test(bypass, what_lies_in_a_twin_in_part_is_destaged_like_anything_else)
{
    struct rig r;

    boot(&r, 4, 1);
    past_stream(&r, 0, 256, 1);
    rig_drain(&r, true);
    shard_start(r.shard);
    past_stream(&r, 64, 64, 2);
    cr_assert_not_null(past_twin(&r, 64));
    cr_assert_eq(rig_write(&r, 70, 3, 3), 0, "a block of a twin is never written twice: the log has it");
    rig_drain(&r, true);
    cr_assert(r.shard->ix.nr_dirty == 0 && r.shard->twins_used == 0 && rig_used(&r) == 1);
    past_expect(&r, 0, 64, 1);
    past_expect(&r, 64, 6, 2);
    past_expect(&r, 70, 3, 3);
    past_expect(&r, 73, 55, 2);
    past_expect(&r, 128, 128, 1);
    rig_restart(&r);
    past_expect(&r, 70, 3, 3);
    past_expect(&r, 73, 55, 2);
    rig_fini(&r);
}

Test(bypass, of_a_stream_that_ends_within_blocks_the_log_has_the_last_one_until_the_next_write)
{
    struct rig r;

    boot(&r, 5, 1);
    cr_assert_eq(rig_write(&r, 0, 17, 1), 0);
    cr_assert_eq(rig_write(&r, 16, 17, 2), 0);
    for (uint32_t b = 32; b + 17 <= 4 * 256 + 1; b += 16)
        cr_assert_eq(rig_write(&r, b, 17, 2), 0);
    shard_verify(r.shard);
    cr_assert_leq(host_blocks(&r), 1024 / 16 + 17, "a block of each write");
    cr_assert_gt(past_blocks(&r), 1024 - 17 - 1);
    past_expect(&r, 0, 16, 1);
    past_expect(&r, 16, 1009, 2);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_eq(r.shard->stats.twin_swaps, 3, "but for the first extent, whose first boundary came as a surprise");
    rig_restart(&r);
    past_expect(&r, 0, 16, 1);
    past_expect(&r, 16, 1009, 2);
    rig_fini(&r);
}

Test(bypass, a_start_finds_what_was_acknowledged_and_what_is_newer_stays_newer)
{
    struct rig r;

    boot(&r, 6, 1);
    past_stream(&r, 0, 128, 1);
    cr_assert_eq(rig_write(&r, 10, 5, 2), 0);
    cr_assert_eq(rig_zero(&r, 40, 8), 0);
    rig_restart(&r);
    cr_assert_not_null(past_twin(&r, 0));
    cr_assert_eq(r.shard->twin_live, 128 - 5 - 8);
    past_expect(&r, 0, 10, 1);
    past_expect(&r, 10, 5, 2);
    past_expect(&r, 40, 8, 0);
    cr_assert_eq(rig_write(&r, 200, 8, 3), 0);
    cr_assert_eq(rig_log_offset(&r, 200) != 0 && past_blocks(&r) == 0, true, "what the last run had begun to write there nobody knows");
    rig_drain(&r, true);
    cr_assert_eq(r.shard->twins_used, 0);
    past_expect(&r, 0, 10, 1);
    past_expect(&r, 10, 5, 2);
    past_expect(&r, 15, 25, 1);
    past_expect(&r, 40, 8, 0);
    past_expect(&r, 48, 80, 1);
    past_expect(&r, 200, 8, 3);
    rig_fini(&r);
}

Test(bypass, a_twin_that_no_batch_has_named_is_nobody_elses_after_a_crash)
{
    struct rig r;

    boot(&r, 7, 1);
    past_stream(&r, 0, 128, 1);
    rig_restart(&r);
    cr_assert_eq(rig_used(&r), 1);
    for (uint32_t i = 1; i < 10; i++)
        past_stream(&r, i * 256, 256, 10 + i);
    rig_drain(&r, true);
    past_expect(&r, 0, 128, 1);
    for (uint32_t i = 1; i < 10; i++)
        past_expect(&r, i * 256, 256, 10 + i);
    rig_fini(&r);
}

/* Blocks before b were written twice, those of the write at b may have been. */
static void expect_prefix(struct rig *r, uint32_t b)
{
    if (b > 0)
        past_expect(r, 0, b, 2);
    if (b + IO < 512)
        past_expect(r, b + IO, 512 - b - IO, 1);
}

/* Wherever it stops: every block is the newest one that was acknowledged, or the one that was under way. */
Test(bypass, it_may_crash_at_any_write)
{
    char *buf = aligned_alloc(BLOCK_BYTES, IO * BLOCK_BYTES);
    bool answered;

    for (uint32_t at = 1; at < 120; at++) {
        struct iovec iov = {buf, IO * BLOCK_BYTES};
        struct blk_io io;
        struct rig r;
        uint32_t b;

        boot(&r, 100 + at, 1);
        past_stream(&r, 0, 512, 1);
        sim_run_for(r.sim, NS_PER_S);
        sim_crash_in_writes(r.sim, at);
        for (b = 0; b < 512 && !sim_crashed(r.sim); b += IO) {
            answered = false;
            rig_fill(&r, buf, b, IO, 2);
            io = (struct blk_io){.op = BLK_WRITE, .lba = b, .nlb = IO, .iov = &iov, .iovcnt = 1, .cb = rig_ended, .ctx = &answered};
            blk_submit(&r.vol.blk, &io);
            (void)sim_run_until(r.sim, rig_is_set, &answered, NS_PER_S);
            if (!answered)
                break;
        }
        rig_restart(&r);
        expect_prefix(&r, b);
        rig_drain(&r, true);
        expect_prefix(&r, b);
        rig_fini(&r);
    }
    free(buf);
}

Test(bypass, a_write_that_the_device_refuses_is_taken_by_the_log)
{
    struct rig r;

    boot(&r, 8, 1);
    past_stream(&r, 0, 64, 1);
    sim_disk_fail_nth(r.hdd[0], DEV_WRITE, 1, 1);
    sim_disk_fail_nth(r.hdd[1], DEV_WRITE, 1, 1);
    cr_assert_eq(rig_write(&r, 64, IO, 1), 0);
    cr_assert(r.shard->stats.bypass_refused > 0 && host_blocks(&r) == IO);
    past_expect(&r, 0, 96, 1);
    rig_restart(&r);
    past_expect(&r, 0, 96, 1);
    rig_fini(&r);
}

Test(bypass, a_flush_that_fails_acknowledges_nothing_that_it_may_have_dropped)
{
    struct rig r;

    boot(&r, 9, 1);
    past_stream(&r, 0, 64, 1);
    sim_disk_fail_nth(r.hdd[0], DEV_FLUSH, 1, 1);
    sim_disk_fail_nth(r.hdd[1], DEV_FLUSH, 1, 1);
    cr_assert_eq(rig_write(&r, 64, IO, 2), 0);
    cr_assert_eq(host_blocks(&r), IO, "the log has it");
    rig_restart(&r);
    past_expect(&r, 0, 64, 1);
    past_expect(&r, 64, IO, 2);
    rig_fini(&r);
}

Test(bypass, what_rots_in_a_twin_is_an_error_and_never_what_lies_beneath)
{
    struct rig r;
    const struct twin *t;
    char *buf = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);

    boot(&r, 10, 1);
    past_stream(&r, 0, 256, 1);
    sim_run_for(r.sim, NS_PER_S);
    past_stream(&r, 0, 64, 2);
    t = past_twin(&r, 0);
    cr_assert_not_null(t);
    sim_disk_rot(r.hdd[t->place.dev], cold_offset(r.cold, t->place) + 9 * BLOCK_BYTES);
    cr_assert_eq(rig_read(&r, 9, 1, buf), -FIRN_E_DAMAGED);
    past_expect(&r, 0, 9, 2);
    rig_drain(&r, true);
    cr_assert_eq(rig_read(&r, 9, 1, buf), -FIRN_E_DAMAGED, "destaged as lost");
    past_expect(&r, 10, 54, 2);
    past_expect(&r, 64, 192, 1);
    free(buf);
    rig_fini(&r);
}

/* Nothing can be destaged, and the log is far too small for what is written beside them. */
Test(bypass, records_of_twins_move_with_reclaim)
{
    struct rig r;
    uint32_t segment;

    boot(&r, 11, 0);
    cr_assert_eq(rig_write(&r, 250, 1, 9), 0); /* so that the twins have to be copied */
    cr_assert_eq(rig_write(&r, 1270, 1, 9), 0);
    past_begin(&r);
    past_stream(&r, 0, 64, 1);
    past_stream(&r, 1024, 32, 2);
    segment = past_twin(&r, 0)->record[5];
    cr_assert_eq(r.shard->seg[segment].placed, 96);
    past_hdds_refuse(&r, true);
    for (uint32_t i = 0; i < 6000; i++)
        cr_assert_eq(rig_write(&r, 2048 + (i * 2654435761u >> 9) % 700, 1, 100 + i), 0); /* no segment is ever empty */
    shard_verify(r.shard);
    cr_assert_gt(r.shard->stats.reclaim_segments, 3);
    cr_assert_neq(past_twin(&r, 0)->record[5], segment);
    past_expect(&r, 0, 64, 1);
    past_expect(&r, 1024, 32, 2);
    past_hdds_refuse(&r, false);
    rig_restart(&r);
    cr_assert_eq(r.shard->twin_live, 96);
    past_expect(&r, 0, 64, 1);
    past_expect(&r, 1024, 32, 2);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->twins_used, 0);
    past_expect(&r, 0, 64, 1);
    past_expect(&r, 1024, 32, 2);
    rig_fini(&r);
}

Test(bypass, what_comes_slowly_or_before_a_pause_does_not_count)
{
    struct rig r;
    uint64_t before;

    rig_init(&r, &(struct rig_opts){.seed = 22, .segments = 40, .hdd_extents = 32, .volume_blocks = 4096});
    r.opts.write_bypass = 512 * KIB;
    r.opts.write_bypass_rate = MIB;
    cr_assert_eq(rig_boot(&r), 0);
    past_stream(&r, 0, 512, 1);
    cr_assert_eq(past_blocks(&r), 512 - 128);
    cr_assert_eq(sim_run_for(r.sim, 1100 * NS_PER_MS), 0);
    past_stream(&r, 512, 256, 1);
    cr_assert_eq(past_blocks(&r), 512 - 128 + 256 - 128 - IO, "the write behind the pause is the last one before it counts");
    before = past_blocks(&r);
    for (uint32_t b = 768; b < 2048; b += IO) { /* half a MiB a second */
        cr_assert_eq(sim_run_for(r.sim, 250 * NS_PER_MS), 0);
        past_stream(&r, b, IO, 1);
    }
    cr_assert_leq(past_blocks(&r), before + 128 + 256, "what its first MiB may have brought before it was seen to be slow");
    past_expect(&r, 0, 2048, 1);
    rig_fini(&r);
}

Test(bypass, a_stream_that_is_short_for_the_log_stays_in_it)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 23, .segments = 40, .hdd_extents = 32, .volume_blocks = 4096});
    r.opts.write_bypass = 4 * KIB;
    r.opts.write_bypass_part = 10;
    cr_assert_eq(rig_boot(&r), 0);
    past_stream(&r, 0, 4 * r.geo.segment_bytes / BLOCK_BYTES, 1);
    cr_assert_eq(past_blocks(&r), 0);
    past_stream(&r, 4 * r.geo.segment_bytes / BLOCK_BYTES, 128, 1);
    cr_assert_eq(past_blocks(&r), 128);
    rig_fini(&r);
}

/* More of them in one segment than go out in one batch: each has its checksums and its place also when it is the last one of that. */
Test(bypass, many_records_of_a_twin_move_in_several_batches)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 21, .segments = 12, .segment_bytes = MIB, .hdd_extents = 32, .volume_blocks = 4096});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 255, 1, 9), 0); /* so that the twins have to be copied */
    cr_assert_eq(rig_write(&r, 511, 1, 9), 0);
    past_begin(&r);
    for (uint32_t b = 0; b < 496; b += b == 240 ? 16 : 4) /* neither extent whole */
        cr_assert_eq(rig_write(&r, b, 4, 1), 0);
    cr_assert_gt(r.shard->seg[past_twin(&r, 0)->record[5]].placed, 4 * MOVES_BATCH);
    past_hdds_refuse(&r, true);
    for (uint32_t i = 0; i < 8000; i++)
        cr_assert_eq(rig_write(&r, 2048 + (i * 2654435761u >> 9) % 700, 1, 100 + i), 0);
    cr_assert_gt(r.shard->stats.reclaim_segments, 3);
    shard_verify(r.shard);
    past_hdds_refuse(&r, false);
    rig_restart(&r);
    cr_assert_eq(r.shard->twin_live, 484);
    for (uint32_t b = 0; b < 496; b += b == 240 ? 16 : 4)
        rig_expect(&r, b, 4, 1);
    rig_drain(&r, true);
    for (uint32_t b = 0; b < 496; b += b == 240 ? 16 : 4)
        rig_expect(&r, b, 4, 1);
    rig_fini(&r);
}

Test(bypass, what_is_deleted_gives_its_twins_back)
{
    struct rig r;
    bool done = false;

    boot(&r, 12, 1);
    past_stream(&r, 0, 300, 1);
    cr_assert_gt(rig_used(&r), 1);
    shard_detach(r.shard, &r.vol, rig_detached, &done);
    cr_assert_eq(sim_run_until(r.sim, rig_is_set, &done, 100 * NS_PER_S), 0);
    cr_assert(rig_used(&r) == 0 && r.shard->twins_used == 0);
    rig_fini(&r);
}

/* In place the destage would have kept it: the map's copy is not given away for one that may be the worse. */
Test(bypass, what_a_destage_may_have_torn_keeps_its_place_as_the_copy_of_last_resort)
{
    struct rig r;
    uint32_t id;

    boot(&r, 13, 0);
    past_stream(&r, 0, 256, 1);
    past_begin(&r);
    id = index_find(&r.shard->ix, 1, 100);
    cr_assert(id != INDEX_NONE && !(index_flags_of(&r.shard->ix, id) & INDEX_DIRTY));
    for (uint32_t b = 0; b < 256; b += b == 100 ? 1 : MIN(20u, 256 - b))
        cr_assert_eq(b == 100 ? 0 : rig_write(&r, b, MIN(20u, 256 - b), 2), 0);
    cr_assert(past_twin(&r, 0)->live == 255 && !extent_at(&r.shard->xt, 1)->whole);
    map_set_kept(r.shard, id); /* as a start does with what bridges a hole */
    map_settle(r.shard, extent_find(&r.shard->xt, 1, 0));
    sim_disk_rot(r.ssd, rig_log_offset(&r, 100));
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    past_expect(&r, 0, 100, 2);
    past_expect(&r, 100, 1, 1);
    past_expect(&r, 101, 155, 2);
    rig_fini(&r);
}

/* What reclaim moves has a stream of its own, in which nothing may be for long. */
Test(bypass, the_key_works_at_once_in_a_log_that_was_opened_without)
{
    struct rig r;
    struct tier_opts o;

    boot(&r, 14, 0);
    cr_assert_eq(rig_write(&r, 3000, 8, 1), 0);
    rig_restart(&r);
    o = r.opts;
    o.write_bypass = 1;
    shard_retune(r.shard, &o);
    past_stream(&r, 0, 768, 2);
    cr_assert_geq(past_blocks(&r), 512, "%llu", (unsigned long long)past_blocks(&r));
    past_expect(&r, 0, 768, 2);
    rig_restart(&r); /* without the key: what the log holds counts nevertheless */
    past_expect(&r, 0, 768, 2);
    past_expect(&r, 3000, 8, 1);
    rig_fini(&r);
}
