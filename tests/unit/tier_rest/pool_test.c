/* SPDX-License-Identifier: Apache-2.0 */
/* pool_test.c: labels, formatting and probing on simulated devices: what is refused, and that a refusal writes nothing. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "tier/label.h"

static void begin(void)
{
    on_machine(11, 1);
    opts.segment_bytes = 256 * 1024;
    opts.ios_per_shard = 0;
    dev_add("journal", TIER_JOURNAL, 16 * MIB);
    dev_add("hdd-0", TIER_CAPACITY, 32 * MIB);
    dev_add("hdd-1", TIER_CAPACITY, 48 * MIB);
}

TestSuite(pool, .init = begin, .fini = off_machine, .timeout = 60);

static struct dev *open_dev(unsigned i)
{
    struct dev *d = NULL;

    cr_assert_eq(sim_dev_open(sim_machine_disk(&machine, opts.devs[i].path), envs[0], &d), 0);
    return d;
}

static struct label label_of(unsigned i)
{
    struct label_copies copies;
    struct label l;
    struct dev *d = open_dev(i);

    cr_assert_eq(label_read(d, d->caps.size_bytes, &l, &copies), 0);
    dev_close(d);
    return l;
}

static void set_label(unsigned i, const struct label *l)
{
    struct dev *d = open_dev(i);

    cr_assert_eq(label_write(d, d->caps.size_bytes, l, 0), 0);
    dev_close(d);
}

static uint32_t disk_hash(unsigned i)
{
    struct sim_disk *d = sim_machine_disk(&machine, opts.devs[i].path);
    static uint8_t bytes[MIB];
    uint32_t crc = 0;

    for (uint64_t off = 0; off < sim_disk_size(d); off += MIB) {
        sim_disk_peek(d, off, bytes, MIB);
        crc = crc32c(crc, bytes, MIB);
    }
    return crc;
}

Test(pool, a_formatted_pool_is_found)
{
    format_pool();
    cr_assert_eq(tier_probe(&opts, why), 0, "%s", why);
    cr_assert_eq(label_of(1).index, 0);
    cr_assert_eq(label_of(2).index, 1);
    cr_assert_eq(label_of(2).nr_capacity, 2);
}

Test(pool, an_empty_device_is_no_pool)
{
    cr_assert_eq(tier_probe(&opts, why), -FIRN_E_NOT_FIRN, "%s", why);
    cr_assert_not_null(strstr(why, "journal"));
}

Test(pool, a_journal_that_is_too_small_is_told_how_large_it_must_be)
{
    opts.nr_shards = 4;
    opts.segment_bytes = 1 << 20;
    opts.devs[0].size_bytes = 33 * MIB;
    cr_assert_eq(tier_format(&opts, why), -FIRN_E_INVALID);
    cr_assert_not_null(strstr(why, "\"journal\" has 33 MiB: with 4 shards it needs at least 34 MiB"), "%s", why);
}

Test(pool, the_size_that_was_named_is_enough)
{
    opts.nr_shards = 4;
    opts.segment_bytes = 1 << 20;
    opts.devs[0].size_bytes = 34 * MIB;
    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
}

Test(pool, formatting_twice_needs_force)
{
    struct label first, second;

    format_pool();
    first = label_of(0);
    cr_assert_eq(tier_format(&opts, why), -FIRN_E_FOREIGN);
    cr_assert_not_null(strstr(why, "Firn label"), "%s", why);
    second = label_of(0);
    cr_assert_eq(memcmp(&first.pool, &second.pool, sizeof(first.pool)), 0);
}

/* faults.md C3: twelve signatures and more; the refusal names what was found and changes no byte. */
Test(pool, known_signatures_are_refused_and_named)
{
    static const struct { uint64_t off; const char *bytes; size_t len; const char *name; } rows[] = {
        {0x438, "\x53\xef", 2, "ext2/3/4"}, {0, "XFSB", 4, "XFS"}, {0x10040, "_BHRfS_M", 8, "Btrfs"},
        {0x400, "\x10\x20\xf5\xf2", 4, "F2FS"}, {3, "NTFS    ", 8, "NTFS"}, {82, "FAT32", 5, "FAT"},
        {4086, "SWAPSPACE2", 10, "swap"}, {0x200, "LABELONE", 8, "LVM"}, {0, "LUKS\xba\xbe", 6, "LUKS"},
        {0x1000, "\xfc\x4e\x2b\xa9", 4, "MD RAID"}, {512, "EFI PART", 8, "GPT"}, {510, "\x55\xaa", 2, "partition table"},
        {0x8001, "CD001", 5, "ISO 9660"}, {0, "hsqs", 4, "SquashFS"}, {777, "?", 1, "unknown data"},
    };
    static const uint8_t zeros[16];

    cr_assert_eq(tier_probe(&opts, why), -FIRN_E_NOT_FIRN);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sim_disk *d = sim_machine_disk(&machine, "hdd-0");
        uint32_t before;

        sim_disk_poke(d, rows[i].off, rows[i].bytes, rows[i].len);
        before = disk_hash(1);
        cr_expect_eq(tier_format(&opts, why), -FIRN_E_FOREIGN, "%s", rows[i].name);
        cr_expect_not_null(strstr(why, rows[i].name), "%s: %s", rows[i].name, why);
        cr_expect_not_null(strstr(why, "hdd-0"), "%s", why);
        cr_expect_eq(disk_hash(1), before);
        sim_disk_poke(d, rows[i].off, zeros, rows[i].len);
    }
    sim_disk_poke(sim_machine_disk(&machine, "hdd-0"), 0x438, "\x53\xef", 2);
    opts.force = true;
    format_pool();
    cr_assert_eq(tier_probe(&opts, why), 0, "%s", why);
}

Test(pool, a_backup_partition_table_at_the_end_is_seen)
{
    cr_assert_eq(tier_probe(&opts, why), -FIRN_E_NOT_FIRN);
    sim_disk_poke(sim_machine_disk(&machine, "hdd-1"), 48 * MIB - 512, "EFI PART", 8);
    cr_assert_eq(tier_format(&opts, why), -FIRN_E_FOREIGN);
    cr_assert_not_null(strstr(why, "backup of a GPT"), "%s", why);
}

Test(pool, any_two_copies_of_a_label_may_go)
{
    static const uint8_t noise[4096] = {1, 2, 3};
    uint64_t at[3] = {0, 4096, 32 * MIB - 4096};

    format_pool();
    for (unsigned keep = 0; keep < 3; keep++) {
        struct sim_disk *d = sim_machine_disk(&machine, "hdd-0");
        uint8_t saved[3][4096];

        for (unsigned i = 0; i < 3; i++) {
            sim_disk_peek(d, at[i], saved[i], 4096);
            if (i != keep)
                sim_disk_poke(d, at[i], noise, 4096);
        }
        cr_assert_eq(tier_probe(&opts, why), 0, "copy %u: %s", keep, why);
        for (unsigned i = 0; i < 3; i++)
            sim_disk_poke(d, at[i], saved[i], 4096);
    }
}

Test(pool, the_newest_copy_wins_and_the_others_are_stale)
{
    struct label l, out;
    struct label_copies copies;
    uint8_t bytes[LABEL_BYTES];
    struct dev *d;

    format_pool();
    l = label_of(1);
    l.generation++;
    label_encode(&l, bytes);
    sim_disk_poke(sim_machine_disk(&machine, "hdd-0"), 4096, bytes, sizeof(bytes));
    d = open_dev(1);
    cr_assert_eq(label_read(d, d->caps.size_bytes, &out, &copies), 0);
    cr_assert_eq(out.generation, l.generation);
    cr_assert_eq(copies.stale, 1u | 4u);
    cr_assert_eq(label_write(d, d->caps.size_bytes, &out, 0), 0);
    cr_assert_eq(label_read(d, d->caps.size_bytes, &out, &copies), 0);
    cr_assert_eq(copies.stale, 0);
    dev_close(d);
}

Test(pool, a_newer_format_is_refused_and_nothing_is_written)
{
    struct label l;
    uint32_t before;

    format_pool();
    l = label_of(1);
    l.incompat = 1u << 31;
    set_label(1, &l);
    before = disk_hash(0) ^ disk_hash(1) ^ disk_hash(2);
    cr_assert_eq(tier_probe(&opts, why), -FIRN_E_FORMAT_VERSION);
    cr_assert_not_null(strstr(why, "newer"), "%s", why);
    cr_assert_eq(disk_hash(0) ^ disk_hash(1) ^ disk_hash(2), before);
}

/* faults.md C1 to C3. */
Test(pool, wrong_swapped_old_and_missing_devices_are_named)
{
    struct tier_opts good, o;
    struct label l, keep;

    format_pool();
    good = opts;
    o = opts;
    o.devs[1] = good.devs[2];
    o.devs[2] = good.devs[1];
    cr_expect_eq(tier_probe(&o, why), -FIRN_E_FOREIGN, "swapped: %s", why);
    o = opts;
    o.nr_devs = 2;
    cr_expect_eq(tier_probe(&o, why), -FIRN_E_MISSING, "one fewer: %s", why);
    o = opts;
    snprintf(o.devs[1].path, sizeof(o.devs[1].path), "gone");
    o.devs[1].size_bytes = 0;
    cr_expect_lt(tier_probe(&o, why), 0);
    cr_expect_not_null(strstr(why, "gone"), "%s", why);
    o = opts;
    o.devs[2] = o.devs[1];
    cr_expect_eq(tier_probe(&o, why), -FIRN_E_INVALID, "named twice: %s", why);
    keep = l = label_of(2);
    l.pool.b[0] ^= 1;
    set_label(2, &l);
    cr_expect_eq(tier_probe(&opts, why), -FIRN_E_FOREIGN, "another pool: %s", why);
    l = keep;
    l.device.b[0] ^= 1;
    set_label(2, &l);
    cr_expect_eq(tier_probe(&opts, why), -FIRN_E_FOREIGN, "another device: %s", why);
    l = keep;
    l.index = 0;
    set_label(2, &l);
    cr_expect_eq(tier_probe(&opts, why), -FIRN_E_FOREIGN, "a clone of the other: %s", why);
    l = keep;
    l.generation += 2;
    set_label(2, &l);
    cr_expect_eq(tier_probe(&opts, why), -FIRN_E_FOREIGN, "old copies: %s", why);
    l = keep;
    l.generation += 1;
    set_label(2, &l);
    cr_expect_eq(tier_probe(&opts, why), 0, "a crash may leave one step: %s", why);
    o = opts;
    snprintf(o.pool_name, sizeof(o.pool_name), "other");
    cr_expect_eq(tier_probe(&o, why), -FIRN_E_FOREIGN, "another name: %s", why);
}

Test(pool, a_device_more_than_the_pool_has_is_no_reason_to_format)
{
    struct tier_opts good;

    format_pool();
    good = opts;
    dev_add("hdd-2", TIER_CAPACITY, 32 * MIB);
    cr_expect_eq(tier_probe(&opts, why), -FIRN_E_FOREIGN, "%s", why);
    cr_expect_not_null(strstr(why, "this pool is formatted and \"hdd-2\" does not belong to it; a device cannot be added"), "%s", why);
    cr_expect_not_null(strstr(why, "Do not --format: that destroys the pool"), "%s", why);
    cr_expect_eq(tier_format(&opts, why), -FIRN_E_FOREIGN);
    cr_expect_not_null(strstr(why, "--force destroys the pool that is there"), "%s", why);
    opts = good;
    snprintf(opts.devs[2].path, sizeof(opts.devs[2].path), "empty");
    cr_expect_eq(tier_probe(&opts, why), -FIRN_E_FOREIGN, "%s", why);
    cr_expect_not_null(strstr(why, "\"empty\" does not belong to it; correct its path. Do not --format"), "%s", why);
    opts = good;
    snprintf(opts.devs[0].path, sizeof(opts.devs[0].path), "elsewhere");
    cr_expect_eq(tier_probe(&opts, why), -FIRN_E_CORRUPT, "%s", why);
    cr_expect_not_null(strstr(why, "journal device \"elsewhere\" carries no Firn label, but \"hdd-0\" does"), "%s", why);
    opts = good;
    cr_expect_eq(tier_probe(&opts, why), 0, "%s", why);
}

Test(pool, impossible_options_are_refused_in_words)
{
    struct tier_opts o = opts;

    o.nr_devs = 1;
    cr_expect_eq(tier_format(&o, why), -FIRN_E_INVALID);
    o = opts;
    snprintf(o.pool_name, sizeof(o.pool_name), "Bad Name");
    cr_expect_eq(tier_format(&o, why), -FIRN_E_INVALID);
    o = opts;
    o.devs[0].size_bytes = 3 * MIB;
    snprintf(o.devs[0].path, sizeof(o.devs[0].path), "tiny");
    cr_expect_eq(tier_format(&o, why), -FIRN_E_INVALID, "%s", why);
    cr_expect_not_null(strstr(why, "tiny"), "%s", why);
}

static uint64_t check_losses(void)
{
    struct tier_check_report report;
    struct strbuf out;

    strbuf_init(&out);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_META, &out, &report, why), 0, "%s", why);
    strbuf_fini(&out);
    return report.losses;
}

/* Whichever request fails: an error in words, and no pool; or, if only spare copies of the last label failed, a whole one. */
Test(pool, formatting_that_fails_anywhere_leaves_no_pool_or_a_whole_one)
{
    static const enum dev_op ops[] = {DEV_READ, DEV_WRITE, DEV_FLUSH};
    bool passed = false;

    for (size_t o = 0; o < ARRAY_LEN(ops); o++) {
        unsigned failed = 0;

        passed = false;
        for (unsigned n = 1; n < 400 && !passed; n++) {
            int err;

            off_machine();
            begin();
            cr_assert_eq(tier_probe(&opts, why), -FIRN_E_NOT_FIRN); /* makes the disks */
            sim_disk_fail_nth(sim_machine_disk(&machine, "journal"), ops[o], n, 1);
            err = tier_format(&opts, why);
            passed = err == 0;
            failed += !passed;
            sim_disk_heal(sim_machine_disk(&machine, "journal"));
            if (!passed)
                cr_assert_neq(why[0], '\0');
            if (tier_probe(&opts, why) == 0)
                cr_assert_eq(check_losses(), 0, "op %d, request %u", (int)ops[o], n);
            else
                cr_assert_not(passed, "op %d, request %u: %s", (int)ops[o], n, why);
        }
        cr_assert(passed && failed > 0, "op %d: %u failed", (int)ops[o], failed);
    }
}
