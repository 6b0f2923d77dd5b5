/* SPDX-License-Identifier: Apache-2.0 */
/* What reads could not have: counted once a place, said in the log within bounds, forgotten when it is mended. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tier/fetch.h"
#include "tier/map.h"
#include "tier/mover.h"
#include "tier/sums.h"
#include "base/log.h"
#include "rig.h"

static _Alignas(4096) char buf[300 * BLOCK_BYTES];
static char said[64 * 1024];

static uint64_t damaged(const struct rig *r)
{
    struct tier_info i = {0};

    shard_info(r->shard, &i);
    return i.damaged_blocks;
}

/* Standard error goes to a file from here on; what_was_said() gives it back and begins anew. */
static FILE *listen(void)
{
    FILE *f = tmpfile();

    cr_assert_not_null(f);
    cr_assert_geq(dup2(fileno(f), STDERR_FILENO), 0);
    return f;
}

static const char *what_was_said(FILE *f)
{
    rewind(f);
    said[fread(said, 1, sizeof(said) - 1, f)] = '\0';
    rewind(f);
    cr_assert_eq(ftruncate(fileno(f), 0), 0);
    return said;
}

static unsigned lines_of(const char *text)
{
    unsigned n = 0;

    for (; (text = strstr(text, "level=warn msg=\"a read met damage\"")) != NULL; text++)
        n++;
    return n;
}

static void begin(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed});
    cr_assert_eq(rig_boot(r), 0);
    snprintf(r->vol.name, sizeof(r->vol.name), "vol");
}

Test(damage, one_block_counts_once_for_a_read_and_once_for_ever)
{
    struct rig r;

    begin(&r, 1);
    cr_assert_eq(rig_write(&r, 0, 8, 1), 0);
    sim_disk_rot(r.ssd, rig_log_offset(&r, 4));
    cr_assert_eq(damaged(&r), 0);
    cr_assert_eq(rig_read(&r, 0, 8, buf), -FIRN_E_DAMAGED);
    cr_assert_eq(shard_stats(r.shard)->csum_errors_ssd, 1, "once, though it was read again: %llu",
                 (unsigned long long)shard_stats(r.shard)->csum_errors_ssd);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(rig_read(&r, 4, 1, buf), -FIRN_E_DAMAGED);
    cr_assert_eq(damaged(&r), 1);
    rig_drain(&r, true); /* the map knows it now */
    cr_assert_eq(rig_read(&r, 4, 1, buf), -FIRN_E_DAMAGED);
    cr_assert_eq(damaged(&r), 1);
    cr_assert_eq(rig_write(&r, 4, 1, 2), 0);
    cr_assert_eq(damaged(&r), 0, "written again");
    rig_expect(&r, 4, 1, 2);
    cr_assert_eq(damaged(&r), 0);
    rig_fini(&r);
}

/* A destage reads what it writes, and may be the first to meet the damage; nobody has to read the block to know. */
Test(damage, what_destage_finds_is_counted_before_anybody_reads_it)
{
    struct rig r;

    begin(&r, 7);
    cr_assert_eq(rig_write(&r, 0, 8, 1), 0);
    sim_disk_rot(r.ssd, rig_log_offset(&r, 4));
    cr_assert_eq(damaged(&r), 0);
    rig_drain(&r, true);
    cr_assert_eq(damaged(&r), 1);
    cr_assert_eq(rig_read(&r, 4, 1, buf), -FIRN_E_DAMAGED);
    cr_assert_eq(damaged(&r), 1, "the same one");
    cr_assert_eq(rig_write(&r, 5, 1, 2), 0);
    rig_drain(&r, true);
    cr_assert_eq(damaged(&r), 1, "its neighbour settled");
    cr_assert_eq(rig_write(&r, 4, 1, 2), 0);
    cr_assert_eq(damaged(&r), 0, "written again");
    rig_drain(&r, true);
    cr_assert_eq(damaged(&r), 0);
    rig_expect(&r, 4, 2, 2);
    rig_fini(&r);
}

/* ... unless it was written again while the destage was under way. */
Test(damage, what_was_written_again_meanwhile_is_not_counted)
{
    struct rig r;

    begin(&r, 8);
    cr_assert_eq(rig_write(&r, 0, 8, 1), 0);
    sim_disk_rot(r.ssd, rig_log_offset(&r, 4));
    shard_drain(r.shard, true, rig_nothing, NULL);
    cr_assert_eq(sim_run_until(r.sim, rig_flushing, &r, NS_PER_S), 0);
    cr_assert_eq(r.shard->lanes[0].nr_jobs + r.shard->lanes[1].nr_jobs, 1);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_faults(r.hdd[i])->delayed = 1000000;
    cr_assert_eq(rig_write(&r, 4, 1, 2), 0);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_eq(r.shard->stats.destage_requeued, 1, "%llu", (unsigned long long)r.shard->stats.destage_requeued);
    cr_assert_eq(damaged(&r), 0);
    rig_expect(&r, 4, 1, 2);
    rig_fini(&r);
}

Test(damage, what_the_index_knows_to_be_lost_is_not_counted_twice)
{
    struct rig r;
    uint64_t off;

    begin(&r, 2);
    cr_assert_eq(rig_write(&r, 0, 1, 1), 0);
    cr_assert_eq(rig_write(&r, 100, 1, 1), 0);
    off = rig_log_offset(&r, 0);
    sim_disk_rot(r.ssd, off);
    cr_assert_eq(rig_read(&r, 0, 1, buf), -FIRN_E_DAMAGED);
    cr_assert_eq(damaged(&r), 1);
    for (uint32_t i = 0; i < r.shard->ix.nr_phys; i++) { /* as reclaim does when it cannot read what it moves */
        struct index_entry e;

        if (!index_slot_used(&r.shard->ix, i))
            continue;
        index_get(&r.shard->ix, i, &e);
        if (e.block != 0)
            continue;
        e.flags |= INDEX_DAMAGED;
        e.csum = e.unit = 0;
        map_put(r.shard, &e);
        break;
    }
    cr_assert_eq(damaged(&r), 1);
    cr_assert_eq(rig_read(&r, 0, 1, buf), -FIRN_E_DAMAGED);
    cr_assert_eq(damaged(&r), 1);
    rig_drain(&r, true); /* leaves the index, and is remembered */
    cr_assert_eq(damaged(&r), 1);
    cr_assert_eq(rig_zero(&r, 0, 1), 0);
    cr_assert_eq(damaged(&r), 0, "zeroed");
    rig_fini(&r);
}

Test(damage, a_trim_of_whole_extents_and_a_device_that_reads_again_end_it)
{
    struct rig r;

    begin(&r, 3);
    for (uint32_t i = 0; i < 256; i += 32)
        cr_assert_eq(rig_write(&r, i, 32, 1), 0);
    rig_drain(&r, true);
    while (rig_log_offset(&r, 9) != 0) /* the clean copy goes first */
        map_remove(r.shard, index_find(&r.shard->ix, 1, 9));
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_latent(r.hdd[i], 0, sim_disk_size(r.hdd[i]));
    cr_assert_neq(rig_read(&r, 9, 1, buf), 0);
    cr_assert_eq(damaged(&r), 1);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_heal(r.hdd[i]);
    rig_expect(&r, 9, 1, 1);
    cr_assert_eq(damaged(&r), 0, "it reads again");
    fetch_forget_extent(r.shard, extent_find(&r.shard->xt, 1, 0)); /* RAM would answer */
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_latent(r.hdd[i], 0, sim_disk_size(r.hdd[i]));
    cr_assert_neq(rig_read(&r, 9, 1, buf), 0);
    cr_assert_eq(damaged(&r), 1);
    cr_assert_eq(rig_zero(&r, 0, 256), 0);
    cr_assert_eq(damaged(&r), 0, "trimmed");
    rig_fini(&r);
}

Test(damage, neighbours_are_one_line_that_says_where)
{
    struct rig r;
    FILE *f = listen();
    char where[128];
    const char *text;

    begin(&r, 4);
    cr_assert_eq(rig_write(&r, 0, 20, 1), 0);
    for (unsigned i = 5; i < 8; i++)
        sim_disk_rot(r.ssd, rig_log_offset(&r, i));
    sim_disk_rot(r.ssd, rig_log_offset(&r, 12));
    what_was_said(f);
    cr_assert_eq(rig_read(&r, 0, 20, buf), -FIRN_E_DAMAGED);
    text = what_was_said(f);
    cr_assert_eq(lines_of(text), 2, "%s", text);
    cr_assert_not_null(strstr(text, "volume=vol lba=5 lbas=3 kind=checksum device=\""), "%s", text);
    cr_assert_not_null(strstr(text, "volume=vol lba=12 lbas=1 kind=checksum"), "%s", text);
    snprintf(where, sizeof(where), "offset=%llu bytes=12288 why=\"", (unsigned long long)rig_log_offset(&r, 5));
    cr_assert_not_null(strstr(text, where), "%s in %s", where, text);
    cr_assert_not_null(strstr(text, "firnctl check --data"), "%s", text);
    rig_fini(&r);
}

Test(damage, the_log_is_not_flooded_and_says_what_it_left_out)
{
    struct rig r;
    FILE *f = listen();
    const char *text;

    begin(&r, 5);
    cr_assert_eq(rig_write(&r, 0, 1, 1), 0);
    sim_disk_rot(r.ssd, rig_log_offset(&r, 0));
    what_was_said(f);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(rig_read(&r, 0, 1, buf), -FIRN_E_DAMAGED);
    text = what_was_said(f);
    cr_assert_eq(lines_of(text), 10, "%s", text);
    cr_assert_eq(sim_run_for(r.sim, 11 * NS_PER_S), 0);
    cr_assert_neq(rig_read(&r, 0, 1, buf), 0);
    text = what_was_said(f);
    cr_assert_eq(lines_of(text), 1, "%s", text);
    cr_assert_not_null(strstr(text, "suppressed=90"), "%s", text);
    rig_fini(&r);
}

Test(damage, the_table_is_bounded_and_says_when_there_is_more)
{
    struct rig r;
    struct tier_info i = {0};

    begin(&r, 6);
    for (uint64_t b = 0; b < DAMAGE_MAX + 10u; b++)
        for (int twice = 0; twice < 2; twice++)
            damage_note(&r.shard->damage, 1, b * 3);
    shard_info(r.shard, &i);
    cr_assert_eq(i.damaged_blocks, DAMAGE_MAX);
    cr_assert(i.damaged_more);
    damage_mended(&r.shard->damage, 1, 0, 3000);
    cr_assert_eq(damaged(&r), DAMAGE_MAX - 1000);
    damage_note(&r.shard->damage, 2, 1);
    damage_forget_layer(&r.shard->damage, 1);
    cr_assert_eq(damaged(&r), 1, "another layer's stay");
    damage_forget_layer(&r.shard->damage, 2);
    cr_assert_eq(damaged(&r), 0);
    rig_fini(&r);
}

/* Every clean copy in the log is bad, and the device has all of them: as many other copies as a request has blocks. */
Test(damage, a_long_read_of_rotten_clean_copies_is_served_by_the_device)
{
    enum { N = MDTS_BYTES / BLOCK_BYTES };
    struct rig r;

    begin(&r, 17);
    for (uint32_t i = 0; i < N; i += 16)
        cr_assert_eq(rig_write(&r, i, 16, 3), 0);
    rig_drain(&r, true);
    shard_start(r.shard);
    for (uint32_t i = 0; i < N; i++) {
        cr_assert_neq(rig_log_offset(&r, i), 0);
        sim_disk_rot(r.ssd, rig_log_offset(&r, i));
    }
    sums_drop(r.shard, extent_find(&r.shard->xt, layer_find(r.shard, RIG_LAYER), 0)); /* they have to be waited for, too */
    rig_expect(&r, 0, N, 3);
    cr_assert_eq(damaged(&r), 0);
    cr_assert_eq(shard_stats(r.shard)->csum_errors_ssd, N);
    rig_fini(&r);
}
