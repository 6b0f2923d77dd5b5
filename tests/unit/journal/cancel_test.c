/* SPDX-License-Identifier: Apache-2.0 */
/* Taking back appends that have no group yet. */
#include "rig.h"

TestSuite(journal_cancel, .timeout = 60);

static struct rig *opened(const struct rig_opts *o)
{
    struct rig *r = rig_new(o);

    log_set_level(LOG_LEVEL_ERROR + 1);
    cr_assert_eq(rig_open(r), 0);
    return r;
}

static struct journal_load load(const struct rig *r)
{
    struct journal_load l;

    journal_load(r->j, &l);
    return l;
}

static void found_after_a_crash(struct rig *r, uint32_t records)
{
    rig_crash(r);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0);
    cr_assert_eq(r->report.records, records);
    rig_free(r);
}

Test(journal_cancel, what_has_no_group_is_answered_canceled_once_and_is_never_found)
{
    for (uint32_t s = 0; s < JOURNAL_STREAM_NR; s++) {
        struct rig *r = opened(&(struct rig_opts){.latency_min_ns = 100000, .latency_max_ns = 100000, .journal.groups_in_flight = 1});
        struct wr *w[5];

        w[0] = rig_append(r, (enum journal_stream)s, JOURNAL_WRITE, 0, 2);
        sim_run_for(r->sim, 150000); /* its segment is opened first */
        for (uint32_t i = 1; i < 5; i++)
            w[i] = rig_append(r, (enum journal_stream)s, i == 4 ? JOURNAL_ZERO : JOURNAL_WRITE, i * 10, 2);
        cr_assert_eq(load(r).queued, 4);
        cr_assert_not(rig_cancel(r, w[0]), "it is in a group");
        cr_assert(rig_cancel(r, w[2]));
        cr_assert(rig_cancel(r, w[4]));
        cr_assert_not(journal_append_cancel(r->j, &w[2]->a), "once");
        cr_assert_eq(load(r).queued, 2);
        sim_run_for(r->sim, 1000);
        cr_assert(w[2]->done && w[4]->done && !w[0]->done, "before those in front of it");
        cr_assert_eq(rig_wait(r), 0);
        cr_assert(w[0]->acked && w[1]->acked && w[3]->acked);
        cr_assert_lt(w[1]->order, w[3]->order);
        cr_assert_eq(journal_stats(r->j)->appends_canceled, 2);
        cr_assert_eq(journal_stats(r->j)->append_errors, 0);
        found_after_a_crash(r, 3);
    }
}

Test(journal_cancel, an_append_is_taken_back_in_the_pass_in_which_it_came)
{
    struct rig *r = opened(&(struct rig_opts){0});
    struct wr *gone = rig_write(r, 0, 1), *kept;

    cr_assert(rig_cancel(r, gone));
    kept = rig_write(r, 0, 1);
    cr_assert_eq(rig_wait(r), 0);
    cr_assert(kept->acked && !gone->acked);
    cr_assert_eq(journal_durable_seq(r->j), kept->a.seq);
    found_after_a_crash(r, 1);
}

Test(journal_cancel, appends_that_wait_for_a_segment_are_taken_back_and_the_pool_hungers_no_more)
{
    struct rig *r = opened(&(struct rig_opts){.nr_segments = 8});
    uint32_t first = 0, held;

    for (uint32_t i = 0; !load(r).starved; i++) {
        rig_write(r, i * 10, 8);
        sim_run_for(r->sim, 1000000);
    }
    for (uint32_t i = 0; i < 5; i++)
        rig_write(r, 90000 + i * 10, 8);
    sim_run_for(r->sim, NS_PER_S);
    while (r->w[first].done)
        first++;
    held = r->nr_w - first;
    cr_assert_eq(load(r).queued, held);
    for (uint32_t i = first; i < r->nr_w; i++)
        cr_assert(rig_cancel(r, &r->w[i]));
    cr_assert_not(load(r).starved);
    cr_assert_eq(load(r).queued, 0);
    cr_assert_eq(rig_wait(r), 0);
    cr_assert_eq(journal_stats(r->j)->appends_canceled, held);
    rig_free_oldest(r);
    rig_write(r, 1, 1);
    cr_assert_eq(rig_wait(r), 0);
    cr_assert(r->w[r->nr_w - 1].acked);
    cr_assert_eq(rig_close(r, true), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0);
    rig_free(r);
}

/* The pool still knows that somebody waits. */
Test(journal_cancel, those_behind_go_when_a_segment_comes)
{
    struct rig *r = opened(&(struct rig_opts){.nr_segments = 8});
    struct wr *large, *small;

    while (!load(r).starved) {
        rig_write(r, r->nr_w * 40, 8);
        sim_run_for(r->sim, NS_PER_S / 100);
    }
    large = &r->w[r->nr_w - 1];
    cr_assert_not(large->done);
    small = rig_append(r, JOURNAL_HOST, JOURNAL_ZERO, 999999, 1);
    sim_run_for(r->sim, NS_PER_S);
    cr_assert_not(small->done);
    cr_assert(rig_cancel(r, large));
    cr_assert(load(r).starved);
    rig_free_oldest(r);
    cr_assert_eq(rig_wait(r), 0);
    cr_assert(small->acked);
    rig_free(r);
}

static struct journal_append pair[2];
static struct journal *of_pair;
static uint32_t answers[2];
static bool taken_back;

static void pair_answered(struct journal_append *a)
{
    answers[a - pair]++;
    taken_back |= journal_append_cancel(of_pair, &pair[1 - (a - pair)]);
}

/* A callback takes back its neighbour: in the answers after a failure it comes too late, in those of a cancellation too. */
Test(journal_cancel, what_is_being_answered_is_not_taken_back)
{
    for (uint32_t fails = 0; fails < 2; fails++) {
        struct rig *r = opened(&(struct rig_opts){0});

        of_pair = r->j;
        memset(answers, 0, sizeof(answers));
        for (uint32_t i = 0; i < 2; i++) {
            pair[i] = (struct journal_append){.type = JOURNAL_ZERO, .stream = JOURNAL_HOST, .layer = 1, .lba = i, .nblocks = 1,
                                              .cb = pair_answered};
            journal_append(r->j, &pair[i]);
        }
        if (fails)
            journal_give_up(r->j, -FIRN_E_STOPPED);
        for (uint32_t i = 0; i < 2 && !fails; i++)
            cr_assert(journal_append_cancel(r->j, &pair[i]));
        sim_run_for(r->sim, NS_PER_S);
        for (uint32_t i = 0; i < 2; i++) {
            cr_assert_eq(answers[i], 1);
            cr_assert_eq(pair[i].err, fails ? -FIRN_E_STOPPED : -FIRN_E_CANCELED);
        }
        cr_assert_not(taken_back);
        cr_assert_eq(load(r).queued, 0);
        rig_free(r);
    }
}
