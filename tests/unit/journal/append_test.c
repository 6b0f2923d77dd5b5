/* SPDX-License-Identifier: Apache-2.0 */
/* Appending: order, batching, back-pressure, sealing, failure. */
#include "rig.h"

#include <signal.h>

TestSuite(journal_append, .timeout = 60);

static struct rig *opened(const struct rig_opts *o)
{
    struct rig *r = rig_new(o);

    cr_assert_eq(rig_open(r), 0);
    return r;
}

Test(journal_append, a_write_is_answered_once_it_is_durable_and_replayed_by_a_fresh_instance)
{
    struct rig *r = opened(&(struct rig_opts){0});
    struct wr *w = rig_write(r, 40, 3);
    const struct journal_record *rec;

    cr_assert_eq(rig_wait(r), 0);
    cr_assert(w->acked);
    cr_assert_eq(rig_close(r, false), 0);
    cr_assert_eq(rig_open(r), 0);
    rec = rig_find(r, 7, 40, w->a.seq);
    cr_assert_not_null(rec);
    cr_assert_eq(rec->nblocks, 3);
    cr_assert_eq(rec->loc.segment, w->a.loc.segment);
    cr_assert_eq(rec->loc.unit, w->a.loc.unit);
    cr_assert_eq(rig_verify(r), 0);
    cr_assert_eq(r->report.meta_commit_no_max, 1001);
    rig_free(r);
}

Test(journal_append, answers_come_in_order_although_the_device_answers_in_any)
{
    struct rig *r = opened(&(struct rig_opts){.seed = 5, .latency_min_ns = 1000, .latency_max_ns = 900000,
                                              .journal.groups_in_flight = 8});
    uint32_t last = 0;

    for (uint32_t i = 0; i < 200; i++) {
        rig_write(r, i, 1 + i % 3);
        if (i % 3 == 0)
            sim_run_for(r->sim, 20000);
    }
    cr_assert_eq(rig_wait(r), 0);
    for (uint32_t i = 0; i < r->nr_w; i++) {
        cr_assert(r->w[i].acked);
        cr_assert_gt(r->w[i].order, last);
        last = r->w[i].order;
        cr_assert(i == 0 || r->w[i].a.seq == r->w[i - 1].a.seq + 1);
    }
    rig_free(r);
}

Test(journal_append, what_arrives_in_one_pass_shares_a_group_and_what_arrives_meanwhile_the_next)
{
    struct rig *r = opened(&(struct rig_opts){.segment_bytes = 1 << 20, .journal.groups_in_flight = 1});

    rig_write_blocks(r, 32);
    cr_assert_eq(journal_stats(r->j)->groups_host, 1);
    rig_write(r, 100, 1);
    sim_run_for(r->sim, 1000);
    for (uint32_t i = 0; i < 10; i++)
        rig_write(r, 200 + i, 1);
    cr_assert_eq(rig_wait(r), 0);
    cr_assert_eq(journal_stats(r->j)->groups_host, 3);
    rig_free(r);
}

static uint32_t queued(const struct rig *r)
{
    struct journal_load load;

    journal_load(r->j, &load);
    return load.queued;
}

Test(journal_append, a_further_group_leaves_only_when_it_outweighs_those_in_flight)
{
    struct rig *r = opened(&(struct rig_opts){.segment_bytes = 1 << 20, .latency_min_ns = 100000, .latency_max_ns = 100000,
                                              .journal.groups_in_flight = 4});

    rig_write(r, 300, 1);
    cr_assert_eq(rig_wait(r), 0); /* its segment is open now */
    for (uint32_t i = 0; i < 8; i++)
        rig_write(r, i, 1);
    sim_run_for(r->sim, 1000);  /* eight blocks are out */
    for (uint32_t i = 0; i < 7; i++)
        rig_write(r, 100 + i, 1);
    sim_run_for(r->sim, 1000);
    cr_assert_eq(queued(r), 7);
    rig_write(r, 107, 1);       /* now as much waits as is out */
    sim_run_for(r->sim, 1000);
    cr_assert_eq(queued(r), 0);
    rig_write(r, 200, 1);
    sim_run_for(r->sim, 1000);
    cr_assert_eq(queued(r), 1);
    sim_run_for(r->sim, 150000); /* what was out is durable, and the one left without a further arrival */
    cr_assert_eq(queued(r), 0);
    cr_assert_eq(rig_wait(r), 0);
    cr_assert_eq(journal_stats(r->j)->groups_host, 4);
    rig_free(r);
}

Test(journal_append, a_group_never_exceeds_records_bytes_or_pieces)
{
    struct rig *r = opened(&(struct rig_opts){.segment_bytes = 1 << 20, .journal.group_bytes_max = 64 * 1024});
    struct jrn_group g[64];
    uint64_t off[64];
    uint32_t n;

    for (uint32_t i = 0; i < 300; i++)
        rig_append(r, JOURNAL_HOST, JOURNAL_ZERO, i * 10, UINT64_C(1) << 36);
    for (uint32_t i = 0; i < 20; i++)
        rig_write(r, i, 5);
    rig_write(r, 5000, 100);
    cr_assert_eq(rig_wait(r), 0);
    n = rig_groups(r, r->w[0].a.loc.segment, g, off, 64);
    cr_assert_geq(n, 3 + 7);
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_leq(g[i].nr_records, GROUP_RECORDS_MAX);
        cr_assert(g[i].nr_blocks <= 16 || (g[i].nr_records == 1 && g[i].nr_blocks == 100));
    }
    rig_free(r);
}

Test(journal_append, moves_keep_their_seq_and_do_not_move_the_durable_seq)
{
    struct rig *r = opened(&(struct rig_opts){0});
    uint64_t before = journal_durable_seq(r->j);
    struct wr *w = rig_append(r, JOURNAL_MOVES, JOURNAL_WRITE, 9, 2);

    w->a.seq = 77;
    cr_assert_eq(rig_wait(r), 0);
    cr_assert_eq(w->a.seq, 77);
    cr_assert_eq(journal_durable_seq(r->j), before);
    cr_assert_eq(rig_close(r, true), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not_null(rig_find(r, 7, 9, 77));
    cr_assert_eq(rig_find(r, 7, 9, 77)->stream, JOURNAL_MOVES);
    rig_free(r);
}

Test(journal_append, a_full_segment_is_sealed_and_its_summary_is_all_that_recovery_reads)
{
    struct rig *r = opened(&(struct rig_opts){0});

    for (uint32_t i = 0; i < 200; i++)
        rig_write(r, i, 2);
    cr_assert_eq(rig_wait(r), 0);
    cr_assert_eq(sim_run_for(r->sim, NS_PER_MS), 0);
    cr_assert_geq(r->nr_sealed, 5);
    cr_assert_eq(rig_close(r, true), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0);
    cr_assert_eq(r->report.records, 200);
    cr_assert_leq(r->report.segments_scanned, 1, "only the one that was opened ahead has no summary");
    rig_free(r);
}

/* Whenever the machine goes down: before, while and after the summary is written. */
Test(journal_append, a_segment_that_its_owner_wants_back_is_sealed_early_and_nothing_is_lost)
{
    for (uint32_t steps = 0; steps < 40; steps++) {
        struct rig *r = opened(&(struct rig_opts){.seed = 9 + steps});
        struct wr *first = rig_write(r, 1, 2);
        uint32_t segment;

        cr_assert_eq(rig_wait(r), 0);
        segment = first->a.loc.segment;
        for (uint32_t i = 0; i < 4; i++)
            rig_write(r, 10 + i * 4, 3);
        sim_run_for(r->sim, 1000); /* a group is out, and the rest waits for it */
        journal_segment_seal(r->j, segment + 1);
        journal_segment_seal(r->j, segment);
        journal_segment_seal(r->j, segment);
        rig_write(r, 100, 1);
        for (uint32_t i = 0; i < steps && sim_step(r->sim) == 0; i++)
            ;
        if (steps == 39) {
            cr_assert_eq(rig_wait(r), 0);
            cr_assert_eq(sim_run_for(r->sim, NS_PER_MS), 0);
            cr_assert_eq(r->nr_sealed, 1);
            cr_assert_eq(r->sealed[0], segment);
            cr_assert_neq(r->w[r->nr_w - 1].a.loc.segment, segment);
            journal_segment_seal(r->j, segment);
            rig_free_oldest(r);
        }
        rig_crash(r);
        cr_assert_eq(rig_open(r), 0);
        cr_assert_eq(rig_verify(r), 0, "after %u steps", steps);
        rig_free(r);
    }
}

Test(journal_append, host_appends_wait_at_the_reserve_and_moves_go_on)
{
    struct rig *r = opened(&(struct rig_opts){.nr_segments = 8});
    struct journal_load load;
    struct wr *moved;

    for (uint32_t i = 0; i < 300; i++)
        rig_write(r, i * 4, 4);
    cr_assert_neq(sim_run_for(r->sim, NS_PER_S), -FIRN_E_STOPPED);
    journal_load(r->j, &load);
    cr_assert(load.starved);
    cr_assert_gt(load.queued, 0);
    cr_assert_eq(load.free_segments, 2);
    cr_assert_gt(r->space_wanted, 0);
    cr_assert_eq(journal_stats(r->j)->waits_for_space, 1);
    moved = rig_append(r, JOURNAL_MOVES, JOURNAL_WRITE, 9999, 1);
    sim_run_for(r->sim, NS_PER_S);
    cr_assert(moved->acked);
    for (uint32_t round = 0; r->in_flight && round < 100; round++) {
        if (r->nr_sealed)
            rig_free_oldest(r);
        sim_run_for(r->sim, 10 * NS_PER_MS);
    }
    cr_assert_eq(r->in_flight, 0, "freeing segments lets the waiting ones go on");
    rig_free(r);
}

Test(journal_append, a_freed_segment_is_not_handed_out_while_it_is_pinned)
{
    struct rig *r = opened(&(struct rig_opts){0});
    uint32_t segment, free_nr;
    struct segment_info info;

    for (uint32_t i = 0; i < 100; i++)
        rig_write(r, i * 4, 4);
    cr_assert_eq(rig_wait(r), 0);
    sim_run_for(r->sim, NS_PER_MS);
    segment = r->sealed[0];
    journal_segment_pin(r->j, segment);
    journal_segment_pin(r->j, segment);
    free_nr = segpool_free_nr(r->pool);
    rig_free_oldest(r);
    journal_segment_unpin(r->j, segment);
    segpool_info(r->pool, segment, &info);
    cr_assert_eq(info.use, SEGMENT_FREEING);
    cr_assert_eq(segpool_free_nr(r->pool), free_nr);
    journal_segment_unpin(r->j, segment);
    cr_assert_eq(segpool_free_nr(r->pool), free_nr + 1);
    rig_free(r);
}

Test(journal_append, freeing_a_segment_that_is_open_is_a_bug, .signal = SIGABRT)
{
    struct rig *r = opened(&(struct rig_opts){0});
    struct wr *w = rig_write(r, 1, 1);

    cr_assert_eq(rig_wait(r), 0);
    journal_segment_free(r->j, w->a.loc.segment);
}

Test(journal_append, a_failed_write_fails_everything_behind_it_in_order_in_both_streams)
{
    for (uint32_t nth = 1; nth <= 12; nth++) {
        struct rig *r = opened(&(struct rig_opts){.seed = nth, .latency_min_ns = 1000, .latency_max_ns = 200000,
                                                  .journal.groups_in_flight = 4});
        bool failed_seen[2] = {false, false};
        uint32_t last[2] = {0, 0}, errors = 0;

        sim_disk_fail_nth(r->disk, DEV_WRITE, nth, 1);
        for (uint32_t i = 0; i < 120; i++) {
            rig_append(r, i % 4 ? JOURNAL_HOST : JOURNAL_MOVES, JOURNAL_WRITE, i * 2, 2);
            if (i % 5 == 0)
                sim_run_for(r->sim, 30000);
        }
        cr_assert_eq(rig_wait(r), 0, "every append is answered");
        for (uint32_t i = 0; i < r->nr_w; i++) {
            struct wr *w = &r->w[i];
            enum journal_stream s = w->a.stream;

            cr_assert_gt(w->order, last[s]);
            last[s] = w->order;
            cr_assert(!(failed_seen[s] && w->acked), "acknowledged behind a failure");
            failed_seen[s] |= !w->acked;
            errors += !w->acked;
        }
        cr_assert_gt(errors, 0);
        cr_assert_eq(r->failed, 1);
        cr_assert_eq(journal_stats(r->j)->append_errors, errors);
        rig_write(r, 1, 1);
        cr_assert_eq(rig_wait(r), 0);
        cr_assert(!r->w[r->nr_w - 1].acked, "nothing is acknowledged again");
        rig_crash(r);
        cr_assert_eq(rig_open(r), 0);
        cr_assert_eq(rig_verify(r), 0);
        rig_free(r);
    }
}

/* Bytes of headers and summaries for each 4 KiB that a host writes. */
static double header_bytes_a_write(uint32_t depth, uint32_t align)
{
    struct rig *r = opened(&(struct rig_opts){.segment_bytes = 16 << 20, .nr_segments = 8, .align_bytes = align});
    uint64_t before = journal_stats(r->j)->header_bytes, bytes;

    for (uint32_t done = 0; done < 3200; done += depth) {
        for (uint32_t k = 0; k < depth; k++)
            rig_write(r, done + k, 1);
        cr_assert_eq(rig_wait(r), 0);
    }
    bytes = journal_stats(r->j)->header_bytes - before;
    rig_free(r);
    return (double)bytes / 3200;
}

Test(journal_append, headers_cost_little)
{
    static const struct { uint32_t depth, align; double most; } of[] = {
        {1, 512, 600}, {32, 512, 96}, {1, 4096, 4200}, {32, 4096, 150}};

    for (uint32_t i = 0; i < ARRAY_LEN(of); i++) {
        double each = header_bytes_a_write(of[i].depth, of[i].align);

        cr_log_info("depth %u align %u: %.1f bytes of headers a 4 KiB write", of[i].depth, of[i].align, each);
        cr_assert_lt(each, of[i].most);
    }
}

/* Nothing may come for long: the one that waits, and has nothing in it, says so again instead. */
Test(journal_append, a_stream_at_rest_may_take_placed_records_too)
{
    struct rig *r = opened(&(struct rig_opts){0});
    const struct stream *moves = &r->j->streams[JOURNAL_MOVES];
    const struct journal_record *rec;
    struct wr *w;

    r->j->opts.placed = false;
    for (uint32_t i = 0; moves->next == NULL || moves->next->state != OSEG_READY; i++) {
        cr_assert_lt(i, 2000);
        rig_append(r, JOURNAL_MOVES, JOURNAL_WRITE, i * 8, 8);
        cr_assert_eq(rig_wait(r), 0);
    }
    cr_assert_not(moves->next->head.placed);
    (void)journal_allow_placed(r->j);
    sim_run_for(r->sim, NS_PER_S);
    cr_assert(journal_allow_placed(r->j) && (moves->next == NULL || moves->next->head.placed));
    w = rig_append(r, JOURNAL_MOVES, JOURNAL_PLACED, 90000, 9);
    cr_assert_eq(rig_wait(r), 0);
    rig_crash(r);
    cr_assert_eq(rig_open(r), 0);
    rec = rig_find(r, 7, 90000, w->a.seq);
    cr_assert(rec != NULL && rec->type == JOURNAL_PLACED && rec->place == w->a.place);
    cr_assert_eq(rig_verify(r), 0);
    rig_free(r);
}
