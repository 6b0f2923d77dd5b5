/* SPDX-License-Identifier: Apache-2.0 */
/* files_test.c: a pool on real files, LMDB and a real reactor: making them, locking them, a restart, and damage to them. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct strbuf text;

static void begin(void)
{
    on_files();
    dev_add("journal", TIER_JOURNAL, 24 * MIB);
    dev_add("hdd", TIER_CAPACITY, 70 * MIB);
    strbuf_init(&text);
}

static void end(void)
{
    strbuf_fini(&text);
    off_files();
}

TestSuite(files, .init = begin, .fini = end, .timeout = 120);

static void drain(void)
{
    bool drained = false;

    tier_drain(tier, true, raise_flag, &drained);
    run_until(&drained);
}

/* The volume of all tests, in a new pool that is open. */
static struct blk *begin_volume(void)
{
    format_pool();
    open_pool();
    return volume_make("db", 8 * MIB);
}

static struct tier_check_report check_data(void)
{
    struct tier_check_report report;

    cr_assert_eq(tier_check(&opts, TIER_CHECK_DATA, &text, &report, why), 0, "%s", why);
    return report;
}

/* The pool goes on with metadata made from what the devices say; nothing is missing. */
static void rebuild(void)
{
    struct tier_check_report report;

    snprintf(opts.meta_path, sizeof(opts.meta_path), "%s/meta2", dir);
    cr_assert_eq(tier_rebuild_map(&opts, opts.meta_path, &text, &report, why), 0, "%s", why);
    cr_assert_eq(report.findings, 0, "%s", strbuf_str(&text));
}

Test(files, formatting_makes_the_files_and_writes_the_journal_whole)
{
    struct stat st;

    opts.devs[1].size_bytes = 0;
    cr_assert_eq(tier_format(&opts, why), -FIRN_E_MISSING, "a file needs a size");
    cr_assert_neq(access(opts.devs[1].path, F_OK), 0, "none was made");
    opts.devs[1].size_bytes = 70 * MIB;
    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    cr_assert_eq(tier_probe(&opts, why), 0, "%s", why);
    cr_assert_eq(stat(opts.devs[0].path, &st), 0);
    cr_assert_eq(st.st_size, 24 * (off_t)MIB);
    cr_assert_geq((uint64_t)st.st_blocks * 512, 24 * MIB, "no holes");
    cr_assert_eq(stat(opts.devs[1].path, &st), 0);
    cr_assert_lt((uint64_t)st.st_blocks * 512, 8 * MIB, "sparse");
    cr_assert_eq(tier_format(&opts, why), -FIRN_E_FOREIGN, "%s", why);
    opts.force = true;
    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
}

Test(files, bytes_survive_a_restart_and_the_check_is_clean)
{
    struct blk *b = begin_volume();
    struct tier_check_report report;

    for (unsigned i = 0; i < 100; i++)
        put(b, i * 19, (int)i + 1);
    close_pool();
    report = check_data();
    cr_assert_eq(report.findings, 0, "%s", strbuf_str(&text));
    cr_assert_geq(report.blocks_read, 100u);
    open_pool();
    for (unsigned i = 0; i < 100; i++)
        expect(volume("db"), i * 19, (int)i + 1);
    close_pool();
}

Test(files, a_map_rebuilt_from_the_devices_reads_the_same)
{
    struct blk *b = begin_volume();
    struct tier_check_report report;

    for (unsigned i = 0; i < 200; i++) {
        put(b, i * 9, (int)i + 1);
        if (i == 149)
            drain();
    }
    close_pool();
    rebuild();
    cr_assert_not_null(strstr(strbuf_str(&text), "name=db "), "%s", strbuf_str(&text));
    cr_assert_eq(tier_rebuild_map(&opts, opts.meta_path, &text, &report, why), -FIRN_E_EXISTS, "never over anything");
    open_pool();
    for (unsigned i = 0; i < 200; i++)
        expect(volume("db"), i * 9, (int)i + 1);
    close_pool();
    check_data();
}

/* Without its metadata a log that went round looks full: what was freed long ago must be told from what is needed. */
Test(files, a_rebuilt_pool_whose_log_went_round_has_free_segments)
{
    struct tier_info before, after;
    struct blk *b = begin_volume();

    for (unsigned i = 0; i < 8000; i++)
        put(b, i * 7 % 2048, (uint8_t)(i / 7 + 1));
    drain();
    put(b, 5, 0xee);
    tier_info_get(tier, &before);
    close_pool();
    rebuild();
    open_pool();
    tier_info_get(tier, &after);
    cr_assert_geq(after.journal_free_segments + 4, before.journal_free_segments, "%llu of %llu",
                  (unsigned long long)after.journal_free_segments, (unsigned long long)before.journal_free_segments);
    for (unsigned i = 8000 - 2048; i < 8000; i++)
        expect(volume("db"), i * 7 % 2048, i * 7 % 2048 == 5 ? 0xee : (uint8_t)(i / 7 + 1));
    close_pool();
}

/* Where on a device a block lies whose bytes are all `fill`. */
static off_t find_block(const char *path, uint8_t fill)
{
    static uint8_t got[4096];
    int fd = open(path, O_RDONLY);
    off_t at = 0;

    cr_assert_geq(fd, 0);
    for (; pread(fd, got, sizeof(got), at) == sizeof(got); at += (off_t)sizeof(got))
        if (got[0] == fill && memcmp(got, got + 1, sizeof(got) - 1) == 0)
            break;
    close(fd);
    return at;
}

/* As a destage leaves a block that was being written when the power went. */
static void tear(const char *path, off_t at)
{
    uint8_t bytes[2048];
    int fd = open(path, O_WRONLY);

    cr_assert_geq(fd, 0);
    memset(bytes, 0xd1, sizeof(bytes));
    cr_assert_eq(pwrite(fd, bytes, sizeof(bytes), at), (ssize_t)sizeof(bytes));
    close(fd);
}

/* Blocks 0..9 rest in an extent, and as clean copies in a segment with nothing else that is needed; 2 and 6 were written again, and
 * a destage that wrote over the hole between them was cut off. Then the metadata is lost. */
Test(files, a_rebuilt_map_keeps_what_a_cut_off_destage_bridged)
{
    struct blk *b = begin_volume();

    for (unsigned i = 0; i < 600; i++) /* the log goes on in the next segments */
        put(b, i < 10 ? i : 300 + i, i < 10 ? (int)i + 0x51 : 0x11);
    drain();
    for (unsigned i = 2; i <= 6; i += 4)
        put(b, i, (int)i + 0x71);
    close_pool();
    for (uint8_t i = 3; i < 6; i++)
        tear(opts.devs[1].path, find_block(opts.devs[1].path, (uint8_t)(i + 0x51)));
    rebuild();
    for (int round = 0; round < 2; round++) { /* out of the log; then, the hole written over again, from the extent */
        open_pool();
        for (unsigned i = 0; i < 10; i++)
            expect(volume("db"), i, (int)i + (i == 2 || i == 6 ? 0x71 : 0x51));
        drain();
        close_pool();
        cr_assert_eq(check_data().damaged_blocks, 0, "%s", strbuf_str(&text));
    }
}

/* faults.md C8. */
Test(files, a_second_opener_is_refused_at_once)
{
    struct tier_check_report report;
    struct tier *other;

    format_pool();
    open_pool();
    cr_assert_eq(tier_open(&opts, &other, why), -FIRN_E_BUSY);
    cr_assert_not_null(strstr(why, "in use"), "%s", why);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_QUICK, &text, &report, why), -FIRN_E_BUSY);
    close_pool();
    open_pool();
    close_pool();
}

/* faults.md C1, C2, B5: what is missing or rotten is named; nothing crashes, nothing is changed. */
Test(files, missing_and_rotten_parts_are_named)
{
    char file[400];
    struct tier_check_report report;
    struct tier *t;
    int fd;

    format_pool();
    snprintf(file, sizeof(file), "%s.away", opts.devs[1].path);
    cr_assert_eq(rename(opts.devs[1].path, file), 0);
    cr_assert_eq(tier_open(&opts, &t, why), -FIRN_E_MISSING, "%s", why);
    cr_assert_not_null(strstr(why, "hdd"), "%s", why);
    cr_assert_eq(rename(file, opts.devs[1].path), 0);
    snprintf(file, sizeof(file), "%s/data.mdb", opts.meta_path);
    fd = open(file, O_WRONLY);
    cr_assert_eq(pwrite(fd, "\xff\xff", 2, 2 * 4096 + 12), 2);
    cr_assert_eq(pwrite(fd, "\xff\xff", 2, 3 * 4096 + 12), 2);
    cr_assert_eq(pwrite(fd, "\xff\xff", 2, 4 * 4096 + 12), 2);
    close(fd);
    cr_assert_eq(tier_open(&opts, &t, why), -FIRN_E_CORRUPT, "%s", why);
    cr_assert_not_null(strstr(why, opts.meta_path), "%s", why);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_META, &text, &report, why), 0, "%s", why);
    cr_assert_geq(report.losses, 1u);
    cr_assert_eq(report.meta_err, -FIRN_E_CORRUPT);
}

/* What keeps the metadata from being read is not lost data, and no reason to make it anew. */
Test(files, metadata_that_cannot_be_opened_is_no_finding)
{
    char file[300], away[400];
    struct tier_check_report report;

    format_pool();
    snprintf(file, sizeof(file), "%s/data.mdb", opts.meta_path);
    snprintf(away, sizeof(away), "%s.away", file);
    cr_assert_eq(rename(file, away), 0);
    cr_assert_eq(symlink("data.mdb", file), 0);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_META, &text, &report, why), -ELOOP, "%s", strbuf_str(&text));
    cr_assert_eq(report.findings + report.losses, 0u);
    cr_assert_not_null(strstr(why, "no loss of data"), "%s", why);
    cr_assert_eq(unlink(file), 0);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_META, &text, &report, why), 0, "%s", why);
    cr_assert_eq(report.losses, 1u, "one that is missing is one");
    cr_assert_eq(rename(away, file), 0);
}
