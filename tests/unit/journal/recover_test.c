/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery: tears, rot, cuts, crashes in recovery itself. */
#include "rig.h"

#include <stdlib.h>

TestSuite(journal_recover, .timeout = 240);

/* `nr` groups of one record each, every one durable before the next is built; then the machine stops. */
static struct rig *with_groups(struct rig_opts o, uint32_t nr, uint64_t nblocks)
{
    struct rig *r = rig_new(&o);

    cr_assert_eq(rig_open(r), 0);
    for (uint32_t i = 0; i < nr; i++) {
        rig_write(r, i * 100, nblocks);
        cr_assert_eq(rig_wait(r), 0);
    }
    sim_run_for(r->sim, NS_PER_MS);
    rig_crash(r);
    return r;
}

static uint32_t groups_of(struct rig *r, struct jrn_group g[64], uint64_t off[64])
{
    return rig_groups(r, r->w[0].a.loc.segment, g, off, 64);
}

Test(journal_recover, a_tear_at_every_sector_of_the_last_group_loses_that_group_alone)
{
    for (uint32_t align = 512; align <= 4096; align += 3584) {
        struct rig *r = with_groups((struct rig_opts){.align_bytes = align}, 6, 2);
        struct jrn_group g[64];
        uint64_t off[64];
        uint32_t segment = r->w[0].a.loc.segment, n = groups_of(r, g, off);
        uint32_t sectors = (jrn_group_padded_bytes(&r->geo, &g[n - 1]) + 2 * BLOCK_BYTES) / 512;

        cr_assert_eq(n, 6);
        rig_save(r);
        for (uint32_t k = 0; k < 2 * sectors; k++) {
            uint32_t cut = k % sectors;
            bool head = k >= sectors; /* the first sectors are missing, not the last ones */

            rig_restore(r);
            if (head)
                rig_zero(r, segment, off[5], 512 * (cut + 1));
            else
                rig_zero(r, segment, off[5] + 512 * cut, 512 * (sectors - cut));
            r->w[5].acked = r->w[5].absent = false;
            cr_assert_eq(rig_open(r), 0);
            cr_assert_eq(r->report.records, 5, "align %u tear %u", align, k);
            cr_assert_eq(r->report.groups_corrupt, 0);
            cr_assert_eq(rig_verify(r), 0);
            rig_write(r, 7777, 1);
            cr_assert_eq(rig_wait(r), 0);
            rig_crash(r);
            cr_assert_eq(rig_open(r), 0);
            cr_assert_eq(rig_verify(r), 0);
            cr_assert_eq(r->report.records, 6);
            rig_crash(r);
            r->nr_w--;
            free(r->w[r->nr_w].buf);
            free(r->w[r->nr_w].csum);
            memset(&r->w[r->nr_w], 0, sizeof(r->w[0]));
        }
        rig_free(r);
    }
}

Test(journal_recover, rot_in_any_byte_of_a_durable_header_is_reported_with_its_range_and_hides_nothing_else)
{
    struct rig *r = with_groups((struct rig_opts){0}, 10, 1);
    static const uint32_t at[] = {0, 4, 8};
    struct jrn_group g[64];
    uint64_t off[64];
    uint32_t segment = r->w[0].a.loc.segment;

    cr_assert_eq(groups_of(r, g, off), 10);
    cr_assert_eq(g[9].durable_group, g[8].number);
    log_set_level(LOG_LEVEL_ERROR + 1);
    r->replay_only = true;
    for (uint32_t i = 0; i < ARRAY_LEN(at); i++)
        for (uint32_t b = 0; b < jrn_group_header_bytes(1, at[i] ? 1 : 0, 1); b++) {
            rig_flip(r, segment, off[at[i]] + b, b % 8);
            cr_assert_eq(rig_open(r), 0, "group %u byte %u", at[i], b);
            cr_assert_eq(r->report.records, 9);
            cr_assert_eq(r->report.groups_corrupt, 1);
            cr_assert_eq(r->nr_dmg, 1);
            cr_assert(r->dmg[0].layer == 7 && r->dmg[0].lba == at[i] * 100 && r->dmg[0].nblocks == 1 &&
                      r->dmg[0].seq == r->w[at[i]].a.seq);
            rig_flip(r, segment, off[at[i]] + b, b % 8);
        }
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.records, 10);
    rig_free(r);
}

Test(journal_recover, named_damage_is_told_again_after_every_restart)
{
    struct rig *r = with_groups((struct rig_opts){0}, 10, 1);
    struct jrn_group g[64];
    uint64_t off[64];

    cr_assert_eq(groups_of(r, g, off), 10);
    log_set_level(LOG_LEVEL_ERROR + 1);
    rig_flip(r, r->w[0].a.loc.segment, off[4] + 40, 0);
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(rig_open(r), 0);
        cr_assert_eq(r->nr_dmg, 1);
        cr_assert_eq(r->dmg[0].lba, 400);
        cr_assert_eq(r->report.records, 9);
        rig_crash(r);
    }
    rig_free(r);
}

/* A zeroed range has no payload that could be lost: the echo repeats all of it. Told as damage, a large one would need an
 * entry for each of its blocks. */
Test(journal_recover, a_zeroed_range_survives_the_rot_of_its_header)
{
    struct rig *r = rig_new(&(struct rig_opts){0});
    const struct journal_record *rec;
    struct jrn_group g[64];
    uint64_t off[64];

    cr_assert_eq(rig_open(r), 0);
    for (uint32_t i = 0; i < 6; i++) {
        if (i == 2)
            rig_append(r, JOURNAL_HOST, JOURNAL_ZERO, 1000, UINT64_C(1) << 30);
        else
            rig_write(r, i * 100, 1);
        cr_assert_eq(rig_wait(r), 0);
    }
    rig_crash(r);
    cr_assert_eq(groups_of(r, g, off), 6);
    log_set_level(LOG_LEVEL_ERROR + 1);
    rig_flip(r, r->w[0].a.loc.segment, off[2] + 40, 0);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(rig_open(r), 0);
        cr_assert_eq(r->report.groups_corrupt, i == 0);
        cr_assert_eq(r->nr_dmg, 0);
        rec = rig_find(r, 7, 1000, r->w[2].a.seq);
        cr_assert(rec && rec->type == JOURNAL_ZERO && rec->nblocks == UINT64_C(1) << 30);
        cr_assert_eq(r->report.records, 6);
        rig_crash(r);
    }
    rig_free(r);
}

/* Its header, footer and groups are all gone: only the header of the next one knows that it was there. */
Test(journal_recover, a_segment_that_vanished_stops_the_start_and_one_that_was_freed_does_not)
{
    for (uint32_t freed = 0; freed < 2; freed++) {
        struct rig *r = with_groups((struct rig_opts){.segment_bytes = RIG_SEGMENT_BYTES, .nr_segments = 12}, 60, 8);
        uint32_t first = r->w[0].a.loc.segment, gone = first;

        for (uint32_t i = 0; gone == first; i++)
            gone = r->w[i].a.loc.segment;
        cr_assert_neq(r->w[59].a.loc.segment, gone);
        log_set_level(LOG_LEVEL_ERROR + 1);
        if (freed) {
            cr_assert_eq(rig_open(r), 0);
            rig_free_oldest(r);
            rig_crash(r);
            gone = first;
        }
        rig_zero(r, gone, 0, RIG_SEGMENT_BYTES);
        r->replay_only = true;
        cr_assert_eq(rig_open(r), freed ? 0 : -FIRN_E_CORRUPT);
        rig_free(r);
    }
}

/* What a second or third read gives back was never lost: no tear, no damage, nothing refused. */
Test(journal_recover, reads_that_fail_or_go_astray_once_change_nothing)
{
    struct rig *r = rig_new(&(struct rig_opts){0});

    cr_assert_eq(rig_open(r), 0);
    for (uint32_t i = 0; i < 60; i++) {
        rig_write(r, i * 10, 1 + i % 4);
        cr_assert_eq(rig_wait(r), 0);
    }
    rig_crash(r);
    rig_save(r);
    log_set_level(LOG_LEVEL_ERROR + 1);
    for (uint32_t n = 1; n < 150; n++) {
        bool astray = n % 2;

        rig_restore(r);
        if (astray)
            sim_disk_faults(r->disk)->misdirected_read = 10000;
        else
            sim_disk_fail_nth(r->disk, DEV_READ, n, 2);
        cr_assert_eq(rig_open(r), 0);
        cr_assert_eq(r->nr_dmg + r->report.groups_corrupt, 0, "read %u", n);
        sim_disk_heal(r->disk);
        cr_assert_eq(rig_verify(r), 0, "read %u", n);
        rig_crash(r);
    }
    rig_free(r);
}

Test(journal_recover, loss_without_a_name_stops_the_start_until_it_is_accepted)
{
    struct rig *r = with_groups((struct rig_opts){0}, 10, 1);
    struct jrn_group g[64];
    uint64_t off[64];

    cr_assert_eq(groups_of(r, g, off), 10);
    log_set_level(LOG_LEVEL_ERROR + 1);
    rig_flip(r, r->w[0].a.loc.segment, off[4] + 40, 0);
    rig_flip(r, r->w[0].a.loc.segment, off[5] + 40, 0);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    cr_assert_eq(r->nr_unnamed, 1);
    cr_assert_eq(r->nr_dmg, 1);
    cr_assert_eq(r->dmg[0].lba, 500, "the second of the two has a name: the echo behind it");
    r->opts.journal.accept_loss = true;
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->report.records, 8);
    rig_crash(r);
    r->opts.journal.accept_loss = false;
    cr_assert_eq(rig_open(r), 0, "what was accepted once is on the medium");
    cr_assert_eq(r->nr_unnamed, 1);
    cr_assert_eq(r->nr_dmg, 1);
    cr_assert_eq(r->report.records, 8);
    rig_free(r);
}

Test(journal_recover, headers_footers_and_summaries_stand_in_for_each_other)
{
    struct rig *r = rig_new(&(struct rig_opts){0});
    uint32_t sealed;

    cr_assert_eq(rig_open(r), 0);
    for (uint32_t i = 0; i < 150; i++) {
        rig_write(r, i * 10, 3);
        if (i % 4 == 0)
            cr_assert_eq(rig_wait(r), 0);
    }
    cr_assert_eq(rig_wait(r), 0);
    sim_run_for(r->sim, NS_PER_MS);
    cr_assert_geq(r->nr_sealed, 3);
    sealed = r->sealed[1];
    rig_crash(r);
    rig_save(r);
    for (uint32_t what = 0; what < 5; what++) {
        uint32_t segment = what == 4 ? r->w[149].a.loc.segment : sealed;

        rig_restore(r);
        if (what == 0 || what == 3 || what == 4)
            rig_flip(r, segment, 30, 3);
        if (what == 1 || what == 3)
            rig_flip(r, segment, jrn_footer_off(&r->geo) + 40, 3);
        if (what == 2)
            rig_flip(r, segment, jrn_footer_off(&r->geo) - 512 + 10, 3);
        for (uint32_t again = 0; again < 2; again++) {
            cr_assert_eq(rig_open(r), 0, "damage %u", what);
            cr_assert_eq(r->report.records, 150);
            cr_assert_eq(r->report.groups_corrupt, 0);
            cr_assert_eq(rig_verify(r), 0);
            rig_crash(r);
        }
    }
    rig_free(r);
}

Test(journal_recover, a_segment_whose_header_write_was_lost_is_still_found)
{
    struct rig *r = rig_new(&(struct rig_opts){.nr_segments = 10});
    static uint8_t old[JRN_SEG_HEADER_BYTES];
    uint32_t segment;

    cr_assert_eq(rig_open(r), 0);
    for (uint32_t i = 0; i < 60; i++)
        rig_write(r, i * 10, 3);
    cr_assert_eq(rig_wait(r), 0);
    sim_run_for(r->sim, NS_PER_MS);
    segment = r->sealed[0];
    sim_disk_peek(r->disk, rig_base(r, segment), old, sizeof(old));
    for (uint32_t i = 0; r->w[r->nr_w - 1].a.loc.segment != segment; i++) {
        cr_assert_lt(i, 500);
        rig_write(r, 1000 + i * 10, 3);
        cr_assert_eq(rig_wait(r), 0);
        sim_run_for(r->sim, NS_PER_MS);
        if (r->nr_sealed)
            rig_free_oldest(r);
    }
    rig_crash(r);
    sim_disk_poke(r->disk, rig_base(r, segment), old, sizeof(old));
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(rig_open(r), 0);
        cr_assert_eq(rig_verify(r), 0);
        cr_assert_eq(r->nr_dmg + r->nr_unnamed, 0);
        rig_crash(r);
    }
    rig_free(r);
}

/* Two groups in flight at the crash; the first is torn, the second whole. Neither was acknowledged. */
static struct rig *torn_and_whole(uint32_t groups_before)
{
    struct rig *r = rig_new(&(struct rig_opts){0});
    struct jrn_group g[64];
    uint64_t off[64];
    uint32_t n;

    cr_assert_eq(rig_open(r), 0);
    for (uint32_t i = 0; i < groups_before; i++) {
        rig_write(r, i, 1);
        cr_assert_eq(rig_wait(r), 0);
    }
    rig_write(r, 1000, 12);
    rig_write(r, 2000, 12);
    cr_assert_eq(rig_wait(r), 0);
    rig_crash(r);
    n = groups_of(r, g, off);
    cr_assert_eq(n, groups_before + 2);
    cr_assert_eq(g[n - 1].durable_group, g[n - 3].number);
    rig_zero(r, r->w[0].a.loc.segment, off[n - 2] + 512 + 4096, 512);
    r->w[groups_before].acked = r->w[groups_before + 1].acked = false;
    return r;
}

Test(journal_recover, a_whole_group_behind_a_torn_one_never_comes_back)
{
    struct rig *r = torn_and_whole(5);
    uint32_t segment = r->w[0].a.loc.segment;

    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(rig_open(r), 0);
        cr_assert_eq(rig_verify(r), 0);
        cr_assert_null(rig_find(r, 7, 2000, r->w[6].a.seq));
        cr_assert_eq(r->report.groups_torn, i == 0 ? 2 : 0);
        rig_write(r, 3000 + i, 1);
        cr_assert_eq(rig_wait(r), 0);
        rig_crash(r);
        if (i == 1) /* not even when the summary that leaves it out is lost */
            rig_flip(r, segment, jrn_footer_off(&r->geo) + 40, 3);
    }
    rig_free(r);
}

Test(journal_recover, a_crash_after_any_write_of_recovery_leaves_the_same_records)
{
    struct rig *r = torn_and_whole(5);
    uint32_t n;

    rig_save(r);
    for (n = 1; n < 100; n++) {
        int err;

        rig_restore(r);
        r->w[5].absent = r->w[6].absent = false;
        sim_crash_in_writes(r->sim, n);
        err = rig_open(r);
        cr_assert(err == 0 || err == -FIRN_E_STOPPED);
        sim_crash_in_writes(r->sim, 0);
        if (err == 0) {
            rig_crash(r);
            if (n > 6)
                break;
        }
        for (uint32_t depth = 0; depth < 5; depth++) { /* again and again, in the middle of repairing the repair */
            sim_crash_in_writes(r->sim, 1 + (n + depth) % 4);
            if (rig_open(r) == 0)
                rig_crash(r);
            sim_crash_in_writes(r->sim, 0);
        }
        cr_assert_eq(rig_open(r), 0);
        cr_assert_eq(rig_verify(r), 0);
        cr_assert_eq(r->report.records, 5);
        cr_assert_eq(r->report.groups_corrupt, 0);
        rig_crash(r);
    }
    cr_assert_gt(n, 3, "recovery writes at least: two erasures, a summary, a header");
    cr_assert_lt(n, 100);
    rig_free(r);
}

Test(journal_recover, unreadable_blocks_where_the_log_may_go_on_are_not_taken_for_its_end)
{
    struct rig *r = with_groups((struct rig_opts){.align_bytes = 4096}, 5, 1);
    struct jrn_group g[64];
    uint64_t off[64];

    cr_assert_eq(groups_of(r, g, off), 5);
    log_set_level(LOG_LEVEL_ERROR + 1);
    r->replay_only = true;
    sim_disk_latent(r->disk, rig_base(r, r->w[0].a.loc.segment) + off[4], 4096);
    cr_assert_eq(rig_open(r), -FIRN_E_CORRUPT);
    sim_disk_heal(r->disk);
    sim_disk_latent(r->disk, rig_base(r, r->w[0].a.loc.segment) + off[4] + 4096, 4096);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->nr_dmg, 1);
    cr_assert_eq(r->dmg[0].lba, 400);
    sim_disk_heal(r->disk);
    sim_disk_latent(r->disk, rig_base(r, r->w[0].a.loc.segment) + off[2], 4096);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->nr_dmg, 1);
    cr_assert_eq(r->dmg[0].lba, 200);
    rig_free(r);
}

Test(journal_recover, seqs_go_on_above_everything_even_when_every_segment_was_freed)
{
    struct rig *r = rig_new(&(struct rig_opts){0});
    uint64_t last = 0;

    for (uint32_t life = 0; life < 6; life++) {
        cr_assert_eq(rig_open(r), 0);
        cr_assert_geq(journal_durable_seq(r->j), last);
        while (r->nr_sealed)
            rig_free_oldest(r);
        for (uint32_t i = 0; i < 90; i++) {
            struct wr *w = rig_write(r, i, 3);

            cr_assert_gt(w->a.seq, last);
            last = w->a.seq;
        }
        cr_assert_eq(rig_wait(r), 0);
        if (life % 2) {
            cr_assert_eq(rig_close(r, true), 0);
        } else {
            sim_run_for(r->sim, NS_PER_MS);
            while (r->nr_sealed)
                rig_free_oldest(r);
            rig_crash(r);
        }
    }
    r->opts.journal.seq_floor = last + 1000000;
    cr_assert_eq(rig_open(r), 0);
    cr_assert_gt(journal_durable_seq(r->j), last + 1000000);
    rig_free(r);
}

Test(journal_recover, old_bytes_of_another_pool_are_not_searched_after_formatting)
{
    struct rig *r = with_groups((struct rig_opts){0}, 10, 1);
    struct dev *d;

    r->env = sim_env_new(r->sim);
    cr_assert_eq(sim_dev_open(r->disk, r->env, &d), 0);
    cr_assert_eq(segpool_format(d, &r->geo), 0);
    dev_close(d);
    sim_env_free(r->env);
    r->env = NULL;
    for (uint32_t i = 0; i < r->nr_w; i++)
        r->w[i].freed = true;
    memset(&r->geo.pool, 0x77, sizeof(r->geo.pool));
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->nr_rec, 0);
    rig_free(r);
}
