/* SPDX-License-Identifier: Apache-2.0 */
/* What an offline check says of a pool, and which damage refuses a start. */
#include "rig.h"

#include <stdio.h>

#include "journal/journal.h"
#include "tier/check.h"

static void begin(void) { small_machine(5); }

TestSuite(checks, .init = begin, .fini = off_machine, .timeout = 120);

static void make_data(void)
{
    struct blk *b;

    open_pool();
    b = volume_make("db", 16 * MIB);
    write_some(b, 40);
    drain_pool();
    write_some(b, 3);
    close_pool();
}

static struct tier_check_report checked(enum tier_check_depth depth, char *text, size_t len)
{
    struct tier_check_report report;
    struct strbuf out, again;

    strbuf_init(&out);
    strbuf_init(&again);
    cr_assert_eq(tier_check(&opts, depth, &out, &report, why), 0, "%s", why);
    cr_assert_eq(tier_check(&opts, depth, &again, &report, why), 0);
    cr_assert_str_eq(strbuf_str(&out), strbuf_str(&again), "the same twice");
    snprintf(text, len, "%s", strbuf_str(&out));
    strbuf_fini(&out);
    strbuf_fini(&again);
    return report;
}

Test(checks, check_names_a_rotten_extent_block)
{
    struct tier_check_report r;
    struct strbuf dump;
    char text[4096];
    struct blk *b;

    open_pool();
    b = volume_make("db", 16 * MIB);
    for (uint64_t lba = 10; lba < 13; lba++) /* each a record of its own */
        cr_assert_eq(do_io(b, BLK_WRITE, lba, 1, buf), 0);
    drain_pool();
    close_pool();
    check_is(0);
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++)
        sim_disk_rot(sim_machine_disk(&machine, "hdd-0"), region_extent_offset(MIB, 0) + i * BLOCK_BYTES);
    r = checked(TIER_CHECK_DATA, text, sizeof(text));
    cr_assert_eq(r.findings, 1, "neighbours are one: %s", text);
    cr_assert_eq(r.damaged_blocks, 3);
    cr_assert_not_null(strstr(text, "I11 damage: volume db lba 10+3 (12288 bytes) on hdd-"), "%s", text);
    cr_assert_not_null(strstr(text, ": fails its checksum; the log holds a copy\n"), "%s", text);
    r = checked(TIER_CHECK_META, text, sizeof(text));
    cr_assert_eq(r.findings, 0, "%s", text);
    for (int what = TIER_DUMP_LABELS; what <= TIER_DUMP_VOLUMES; what++) {
        strbuf_init(&dump);
        cr_assert_eq(tier_dump(&opts, (enum tier_dump)what, &dump, why), 0, "%s", why);
        cr_assert_gt(dump.len, 20u);
        strbuf_fini(&dump);
    }
}

Test(checks, check_names_rotten_metadata_and_labels)
{
    struct tier_check_report r;
    char text[4096];

    make_data();
    sim_disk_rot(sim_machine_disk(&machine, "hdd-0"), 0);
    r = checked(TIER_CHECK_QUICK, text, sizeof(text));
    cr_assert(r.findings == 1 && r.losses == 0, "%s", text);
    cr_assert_not_null(strstr(text, "I14"));
    cr_assert(sim_meta_rot(machine.store, 'C'));
    r = checked(TIER_CHECK_META, text, sizeof(text));
    cr_assert_geq(r.findings, 2u, "%s", text);
    cr_assert_geq(r.losses, 1u, "%s", text);
}

/* Shard 0 holds db: its newest group is gone, and only the metadata knows that there was one. */
Test(checks, a_log_that_ends_before_what_the_metadata_calls_durable_is_refused)
{
    struct meta_key key = meta_key_shard(0);
    struct shard_rec rec;
    uint8_t value[META_VALUE_MAX];
    uint32_t len;
    struct meta *m;
    char text[4096];

    make_data();
    cr_assert_eq(sim_meta_open(machine.store, &m), 0);
    cr_assert_eq(m->ops->get_sync(m, &key, value, &len), 0);
    cr_assert_eq(shard_rec_decode(value, len, &rec), 0);
    cr_assert_gt(rec.mark[JOURNAL_HOST].group, 0u, "an orderly stop has named it");
    rec.mark[JOURNAL_HOST].group++;
    cr_assert_eq(m->ops->commit_sync(m, &(struct meta_op){.key = key, .value = value,
                                                          .value_len = shard_rec_encode(&rec, value)}, 1), 0);
    m->ops->close(m);
    cr_assert_geq(checked(TIER_CHECK_QUICK, text, sizeof(text)).losses, 1u);
    cr_assert_not_null(strstr(text, "I6"), "%s", text);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_ROLLED_BACK);
        cr_assert_not_null(strstr(why, "acknowledged writes are missing"), "%s", why);
    }
    opts.accept_loss = true;
    open_pool();
    close_pool();
    opts.accept_loss = false;
    open_pool();
    close_pool();
}

/* faults.md A6: a device that lied about a flush has lost what another one remembers. */
Test(checks, a_journal_that_lost_acknowledged_writes_is_seen)
{
    struct meta_key key = meta_key_shard(0);
    struct tier_info info;
    struct shard_rec rec = {.durable_seq = 1000000};
    struct strbuf dump;
    uint8_t value[SHARD_REC_BYTES];
    struct meta *m;
    char text[4096];

    make_data();
    cr_assert_eq(sim_meta_open(machine.store, &m), 0);
    cr_assert_eq(m->ops->commit_sync(m, &(struct meta_op){.key = key, .value = value,
                                                          .value_len = shard_rec_encode(&rec, value)}, 1), 0);
    m->ops->close(m);
    cr_assert_geq(checked(TIER_CHECK_QUICK, text, sizeof(text)).losses, 1u);
    cr_assert_not_null(strstr(text, "I5"), "%s", text);
    strbuf_init(&dump);
    cr_assert_eq(tier_dump(&opts, TIER_DUMP_JOURNAL, &dump, why), 0, "%s", why);
    cr_assert_not_null(strstr(strbuf_str(&dump), "marks shard=0 durable_seq=1000000 host_group=0"), "%s", strbuf_str(&dump));
    strbuf_fini(&dump);
    cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_ROLLED_BACK);
    cr_assert_not_null(strstr(why, "shard 0"), "%s", why);
    opts.accept_loss = true;
    open_pool();
    tier_info_get(tier, &info);
    cr_assert_not_null(strstr(info.alert, "shard 0"), "%s", info.alert);
    close_pool();
}

Test(checks, labels_move_on_together_and_rotten_copies_are_made_good)
{
    struct tier_check_report r;
    char text[4096];

    make_data();
    sim_disk_rot(sim_machine_disk(&machine, "journal"), 4096);
    open_pool();
    close_pool();
    r = checked(TIER_CHECK_QUICK, text, sizeof(text));
    cr_assert_eq(r.findings, 0, "%s", text);
}

Test(checks, a_damaged_volume_record_refuses_the_start)
{
    make_data();
    cr_assert(sim_meta_rot(machine.store, 'V'));
    cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_CORRUPT);
    cr_assert_not_null(strstr(why, "volume"), "%s", why);
}
