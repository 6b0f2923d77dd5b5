/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery by chance: machines through many lives and deaths, rot anywhere; and the planted bugs, each of which must be seen. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

TestSuite(journal_recover_chance, .timeout = 240);

static void some_writes(struct rig *r)
{
    uint32_t nr = (uint32_t)sim_between(r->sim, 0, 60);

    for (uint32_t i = 0; i < nr && r->nr_w < RIG_WRITES_MAX - 64 && !sim_crashed(r->sim); i++) {
        uint64_t lba = (uint64_t)r->nr_w * 16;

        if (sim_chance(r->sim, 100000))
            rig_append(r, JOURNAL_HOST, JOURNAL_ZERO, lba, sim_between(r->sim, 1, 1 << 20));
        else if (sim_chance(r->sim, 300000))
            rig_append(r, JOURNAL_MOVES, r->nr_w % 3 != 0 ? JOURNAL_WRITE : JOURNAL_PLACED, lba, sim_between(r->sim, 1, 8));
        else
            rig_append(r, JOURNAL_HOST, r->nr_w % 5 == 0 ? JOURNAL_PLACED : JOURNAL_WRITE, lba, sim_between(r->sim, 1, 8));
        if (sim_chance(r->sim, 50000))
            (void)rig_cancel(r, &r->w[r->nr_w - sim_between(r->sim, 1, MIN(r->nr_w, 6u))]);
        if (sim_chance(r->sim, 300000))
            sim_run_for(r->sim, sim_between(r->sim, 1, 300000));
        if (r->nr_sealed > 3 && !sim_crashed(r->sim))
            rig_free_oldest(r);
    }
    if (!sim_crashed(r->sim) && sim_chance(r->sim, 500000))
        (void)rig_wait(r);
}

/* One machine through many lives and deaths. Returns how many promises were broken. */
static uint32_t lives(uint64_t seed, const struct journal_bugs *bugs)
{
    struct rig *r = rig_new(&(struct rig_opts){
        .seed = seed, .nr_segments = 24, .align_bytes = seed % 2 ? 512 : 4096, .long_heads = seed % 4 == 1,
        .torn_bytes = seed % 3 ? 512 : 4096, .journal.groups_in_flight = 1 + (uint32_t)(seed % 5),
        .bugs = bugs ? *bugs : (struct journal_bugs){0}});
    uint32_t bad = 0;

    for (uint32_t life = 0; life < 12 && !bad; life++) {
        int err;

        if (sim_chance(r->sim, 500000))
            sim_crash_in_writes(r->sim, sim_between(r->sim, 1, 8));
        err = rig_open(r);
        sim_crash_in_writes(r->sim, 0);
        if (err == -FIRN_E_STOPPED)
            continue;
        if (err) {
            fprintf(stderr, "seed %lu life %u: open: %s\n", (unsigned long)seed, life, err_text(err));
            bad++;
            break;
        }
        bad += rig_verify(r) + r->nr_dmg + r->nr_unnamed;
        sim_crash_in_events(r->sim, sim_between(r->sim, 1, 400));
        some_writes(r);
        if (!sim_crashed(r->sim) && !bugs && r->in_flight == 0 && sim_chance(r->sim, 300000)) {
            sim_crash_in_events(r->sim, 0);
            (void)rig_close(r, true);
        } else {
            rig_crash(r);
        }
        sim_crash_in_events(r->sim, 0);
    }
    rig_free(r);
    return bad;
}

Test(journal_recover_chance, whatever_the_crash_leaves_every_acknowledged_record_is_replayed)
{
    const char *more = getenv("FIRN_JOURNAL_SEEDS"); /* 150 unless told */
    uint64_t seeds = more ? strtoull(more, NULL, 10) : 150;

    for (uint64_t seed = 1; seed <= seeds; seed++)
        cr_assert_eq(lives(seed, NULL), 0, "seed %lu", (unsigned long)seed);
}

static bool told(const struct rig *r, const struct wr *w)
{
    for (uint32_t i = 0; i < r->nr_dmg; i++)
        if (r->dmg[i].layer == w->a.layer && r->dmg[i].lba == w->a.lba && r->dmg[i].nblocks == w->a.nblocks &&
            r->dmg[i].seq == w->a.seq)
            return true;
    return false;
}

/* Acknowledged records that are neither replayed nor told as damaged. The newest groups of a stream, which no later header
 * calls durable, cannot be told from a tear: from `newest` on nothing is counted. */
static uint32_t silently_lost(const struct rig *r, uint32_t newest)
{
    uint32_t lost = 0;

    for (uint32_t i = 0; i < newest; i++) {
        const struct wr *w = &r->w[i];

        lost += !w->freed && w->acked && !rig_find(r, w->a.layer, w->a.lba, w->a.seq) && !told(r, w);
    }
    return lost;
}

Test(journal_recover_chance, one_rotten_sector_anywhere_never_loses_an_acknowledged_record_silently)
{
    uint32_t damaged = 0;

    log_set_level(LOG_LEVEL_ERROR + 1);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct rig *r = rig_new(&(struct rig_opts){.seed = seed, .align_bytes = seed % 2 ? 512 : 4096, .long_heads = seed < 5});
        uint32_t nr = seed % 4 < 2 ? 160 : 24, refused = 0; /* many sealed segments, or only an open one */
        uint64_t at;

        cr_assert_eq(rig_open(r), 0);
        for (uint32_t i = 0; i < nr; i++) {
            rig_append(r, JOURNAL_HOST, i % 9 ? JOURNAL_WRITE : JOURNAL_ZERO, i * 16, 1 + i % 4);
            if (i % 3 == 0 || i + 10 > nr)
                cr_assert_eq(rig_wait(r), 0);
        }
        rig_crash(r);
        r->replay_only = true;
        r->life++;
        for (uint32_t k = 0; k < 150; k++) {
            int err;

            at = rig_base(r, r->w[k % nr].a.loc.segment) + 512 * sim_below(r->sim, r->geo.segment_bytes / 512);
            sim_disk_rot(r->disk, at);
            err = rig_open(r);
            cr_assert(err == 0 || err == -FIRN_E_CORRUPT);
            cr_assert(err != 0 || silently_lost(r, nr - 5) == 0, "seed %lu: rot at %lu", (unsigned long)seed,
                      (unsigned long)at);
            refused += err != 0;
            damaged += r->nr_dmg != 0;
            sim_disk_heal(r->disk);
        }
        cr_assert_eq(refused, 0, "one bad sector always has a name");
        rig_free(r);
    }
    cr_assert_gt(damaged, 0);
}

static bool caught(const struct journal_bugs *bugs)
{
    log_set_level(LOG_LEVEL_ERROR + 1);
    for (uint64_t seed = 1; seed <= 60; seed++)
        if (lives(seed, bugs))
            return true;
    return false;
}

Test(journal_recover_chance, the_bug_ack_before_durable_is_caught)
{
    cr_assert(caught(&(struct journal_bugs){.ack_before_durable = true}));
}

Test(journal_recover_chance, the_bug_skip_fence_is_caught) { cr_assert(caught(&(struct journal_bugs){.skip_fence = true})); }

Test(journal_recover_chance, the_bug_ack_out_of_order_is_caught)
{
    cr_assert(caught(&(struct journal_bugs){.ack_out_of_order = true}));
}

Test(journal_recover_chance, the_bug_skip_epoch_check_is_caught)
{
    cr_assert(caught(&(struct journal_bugs){.skip_epoch_check = true}));
}

Test(journal_recover_chance, the_bug_moved_gets_new_seq_changes_the_seq)
{
    struct rig *r = rig_new(&(struct rig_opts){.bugs.moved_gets_new_seq = true});
    struct wr *w;

    cr_assert_eq(rig_open(r), 0);
    w = rig_append(r, JOURNAL_MOVES, JOURNAL_WRITE, 1, 1);
    cr_assert_lt(w->a.seq, 500000u);
    rig_free(r);
}
