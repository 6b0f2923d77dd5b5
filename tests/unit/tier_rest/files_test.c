/* SPDX-License-Identifier: Apache-2.0 */
/* files_test.c: a pool on real files, LMDB and a real reactor: making them, locking them, a restart, and damage to them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rt/reactor.h"
#include "tier/tier.h"

static char dir[64], why[256];
static struct reactor *reactor;
static struct env *env;
static struct tier_opts opts;

static void dev_add(const char *name, enum tier_role role, uint64_t size)
{
    struct tier_dev_opts *d = &opts.devs[opts.nr_devs++];

    d->role = role;
    d->size_bytes = size;
    snprintf(d->path, sizeof(d->path), "%s/%s", dir, name);
}

static void begin(void)
{
    struct reactor_opts o = {.cpu = -1};

    snprintf(dir, sizeof(dir), "/tmp/firn-files-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(reactor_new(&o, &reactor, why), 0, "%s", why);
    env = reactor_env(reactor);
    memset(&opts, 0, sizeof(opts));
    snprintf(opts.pool_name, sizeof(opts.pool_name), "default");
    snprintf(opts.meta_path, sizeof(opts.meta_path), "%s/meta", dir);
    opts.envs = &env;
    opts.nr_envs = 1;
    opts.segment_bytes = 1 << 20;
    opts.ios_per_shard = 64;
    dev_add("journal", TIER_JOURNAL, 24 * MIB);
    dev_add("hdd", TIER_CAPACITY, 70 * MIB);
}

static void end(void)
{
    char cmd[128];

    reactor_free(reactor);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    cr_assert_eq(system(cmd), 0);
}

TestSuite(files, .init = begin, .fini = end, .timeout = 120);

static void raise(void *ctx) { *(bool *)ctx = true; }

static void run_until(bool *flag)
{
    while (!*flag)
        cr_assert_eq(env_run_once(env), 0);
}

static struct tier *open_pool(void)
{
    struct tier *t = NULL;

    cr_assert_eq(tier_open(&opts, &t, why), 0, "%s", why);
    return t;
}

static void close_pool(struct tier *t)
{
    bool stopped = false;

    tier_stop(t, raise, &stopped);
    run_until(&stopped);
    tier_close(t);
}

struct answer { bool done; int err; struct blk *blk; };

static void answered(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct answer *a = ctx;

    (void)info;
    *a = (struct answer){.done = true, .err = err, .blk = blk};
}

struct io { struct blk_io io; struct iovec iov; bool done; };
static void io_done(struct blk_io *io) { ((struct io *)io->ctx)->done = true; }

static int do_io(struct blk *b, enum blk_op op, uint64_t lba, void *buf)
{
    struct io r = {.iov = {.iov_base = buf, .iov_len = 4096}};

    r.io = (struct blk_io){.op = op, .lba = lba, .nlb = 1, .iov = &r.iov, .iovcnt = 1, .cb = io_done, .ctx = &r};
    blk_submit(b, &r.io);
    run_until(&r.done);
    return r.io.err;
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
    static _Alignas(4096) uint8_t in[4096], out[4096];
    struct volume_params p = {.name = "db", .size_bytes = 8 * MIB, .lba_bytes = 4096};
    struct tier_check_report report;
    struct answer a = {0};
    struct strbuf text;
    struct blk *b;
    struct tier *t;

    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    t = open_pool();
    tier_volume_create(t, &p, answered, &a);
    run_until(&a.done);
    cr_assert_eq(a.err, 0);
    for (unsigned i = 0; i < 100; i++) {
        memset(in, (int)i + 1, sizeof(in));
        cr_assert_eq(do_io(a.blk, BLK_WRITE, i * 19, in), 0);
    }
    close_pool(t);
    strbuf_init(&text);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_DATA, &text, &report, why), 0, "%s", why);
    cr_assert_eq(report.findings, 0, "%s", strbuf_str(&text));
    cr_assert_geq(report.blocks_read, 100u);
    strbuf_fini(&text);
    t = open_pool();
    cr_assert_eq(tier_volume_get(t, "db", NULL, &b), 0);
    for (unsigned i = 0; i < 100; i++) {
        memset(in, (int)i + 1, sizeof(in));
        cr_assert_eq(do_io(b, BLK_READ, i * 19, out), 0);
        cr_assert_eq(memcmp(in, out, sizeof(in)), 0, "block %u", i * 19);
    }
    close_pool(t);
}

Test(files, a_map_rebuilt_from_the_devices_reads_the_same)
{
    static _Alignas(4096) uint8_t in[4096], out[4096];
    struct volume_params p = {.name = "db", .size_bytes = 8 * MIB, .lba_bytes = 4096};
    struct tier_check_report report;
    struct answer a = {0};
    bool drained = false;
    struct strbuf text;
    struct blk *b;
    struct tier *t;
    char dir2[200];

    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    t = open_pool();
    tier_volume_create(t, &p, answered, &a);
    run_until(&a.done);
    for (unsigned i = 0; i < 200; i++) {
        memset(in, (int)i + 1, sizeof(in));
        cr_assert_eq(do_io(a.blk, BLK_WRITE, i * 9, in), 0);
        if (i == 149) {
            tier_drain(t, true, raise, &drained);
            run_until(&drained);
        }
    }
    close_pool(t);
    snprintf(dir2, sizeof(dir2), "%s/meta2", dir);
    strbuf_init(&text);
    cr_assert_eq(tier_rebuild_map(&opts, dir2, &text, &report, why), 0, "%s", why);
    cr_assert_eq(report.findings, 0, "%s", strbuf_str(&text));
    cr_assert_not_null(strstr(strbuf_str(&text), "name=db "), "%s", strbuf_str(&text));
    cr_assert_eq(tier_rebuild_map(&opts, dir2, &text, &report, why), -FIRN_E_EXISTS, "never over anything");
    snprintf(opts.meta_path, sizeof(opts.meta_path), "%s", dir2);
    t = open_pool();
    cr_assert_eq(tier_volume_get(t, "db", NULL, &b), 0);
    for (unsigned i = 0; i < 200; i++) {
        memset(in, (int)i + 1, sizeof(in));
        cr_assert_eq(do_io(b, BLK_READ, i * 9, out), 0, "block %u", i * 9);
        cr_assert_eq(memcmp(in, out, sizeof(in)), 0, "block %u", i * 9);
    }
    close_pool(t);
    strbuf_fini(&text);
    strbuf_init(&text);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_DATA, &text, &report, why), 0, "%s", why);
    strbuf_fini(&text);
}

/* Without its metadata a log that went round looks full: what was freed long ago must be told from what is needed. */
Test(files, a_rebuilt_pool_whose_log_went_round_has_free_segments)
{
    static _Alignas(4096) uint8_t in[4096], out[4096];
    struct volume_params p = {.name = "db", .size_bytes = 8 * MIB, .lba_bytes = 4096};
    struct tier_check_report report;
    struct answer a = {0};
    struct tier_info before, after;
    bool drained = false;
    struct strbuf text;
    struct blk *b;
    struct tier *t;

    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    t = open_pool();
    tier_volume_create(t, &p, answered, &a);
    run_until(&a.done);
    for (unsigned i = 0; i < 8000; i++) {
        memset(in, (int)(i / 7) + 1, sizeof(in));
        cr_assert_eq(do_io(a.blk, BLK_WRITE, i * 7 % 2048, in), 0);
    }
    tier_drain(t, true, raise, &drained);
    run_until(&drained);
    memset(in, 0xee, sizeof(in));
    cr_assert_eq(do_io(a.blk, BLK_WRITE, 5, in), 0);
    tier_info_get(t, &before);
    close_pool(t);
    snprintf(opts.meta_path, sizeof(opts.meta_path), "%s/meta2", dir);
    strbuf_init(&text);
    cr_assert_eq(tier_rebuild_map(&opts, opts.meta_path, &text, &report, why), 0, "%s", why);
    cr_assert_eq(report.findings, 0, "%s", strbuf_str(&text));
    t = open_pool();
    tier_info_get(t, &after);
    cr_assert_geq(after.journal_free_segments + 4, before.journal_free_segments, "%llu of %llu",
                  (unsigned long long)after.journal_free_segments, (unsigned long long)before.journal_free_segments);
    cr_assert_eq(tier_volume_get(t, "db", NULL, &b), 0);
    for (unsigned i = 8000 - 2048; i < 8000; i++) {
        memset(in, i * 7 % 2048 == 5 ? 0xee : (int)(i / 7) + 1, sizeof(in));
        cr_assert_eq(do_io(b, BLK_READ, i * 7 % 2048, out), 0);
        cr_assert_eq(memcmp(in, out, sizeof(in)), 0, "block %u", i * 7 % 2048);
    }
    close_pool(t);
    strbuf_fini(&text);
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

static void drain_all(struct tier *t)
{
    bool drained = false;

    tier_drain(t, true, raise, &drained);
    run_until(&drained);
}

/* Blocks 0..9 rest in an extent, and as clean copies in a segment with nothing else that is needed; 2 and 6 were written again, and
 * a destage that wrote over the hole between them was cut off. Then the metadata is lost. */
Test(files, a_rebuilt_map_keeps_what_a_cut_off_destage_bridged)
{
    static _Alignas(4096) uint8_t in[4096], out[4096];
    struct volume_params p = {.name = "db", .size_bytes = 8 * MIB, .lba_bytes = 4096};
    struct tier_check_report report;
    struct answer a = {0};
    struct strbuf text;
    struct blk *b;
    struct tier *t;

    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    t = open_pool();
    tier_volume_create(t, &p, answered, &a);
    run_until(&a.done);
    for (unsigned i = 0; i < 600; i++) { /* the log goes on in the next segments */
        memset(in, i < 10 ? (int)i + 0x51 : 0x11, sizeof(in));
        cr_assert_eq(do_io(a.blk, BLK_WRITE, i < 10 ? i : 300 + i, in), 0);
    }
    drain_all(t);
    for (unsigned i = 2; i <= 6; i += 4) {
        memset(in, (int)i + 0x71, sizeof(in));
        cr_assert_eq(do_io(a.blk, BLK_WRITE, i, in), 0);
    }
    close_pool(t);
    for (uint8_t i = 3; i < 6; i++)
        tear(opts.devs[1].path, find_block(opts.devs[1].path, (uint8_t)(i + 0x51)));
    snprintf(opts.meta_path, sizeof(opts.meta_path), "%s/meta2", dir);
    strbuf_init(&text);
    cr_assert_eq(tier_rebuild_map(&opts, opts.meta_path, &text, &report, why), 0, "%s", why);
    cr_assert_eq(report.findings, 0, "%s", strbuf_str(&text));
    for (int round = 0; round < 2; round++) { /* out of the log; then, the hole written over again, from the extent */
        t = open_pool();
        cr_assert_eq(tier_volume_get(t, "db", NULL, &b), 0);
        for (unsigned i = 0; i < 10; i++) {
            memset(in, (int)i + (i == 2 || i == 6 ? 0x71 : 0x51), sizeof(in));
            cr_assert_eq(do_io(b, BLK_READ, i, out), 0, "block %u", i);
            cr_assert_eq(memcmp(in, out, sizeof(in)), 0, "block %u", i);
        }
        drain_all(t);
        close_pool(t);
        cr_assert_eq(tier_check(&opts, TIER_CHECK_DATA, &text, &report, why), 0, "%s", why);
        cr_assert_eq(report.damaged_blocks, 0, "%s", strbuf_str(&text));
    }
    strbuf_fini(&text);
}

/* faults.md C8. */
Test(files, a_second_opener_is_refused_at_once)
{
    struct strbuf text;
    struct tier_check_report report;
    struct tier *t, *other;

    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    t = open_pool();
    cr_assert_eq(tier_open(&opts, &other, why), -FIRN_E_BUSY);
    cr_assert_not_null(strstr(why, "in use"), "%s", why);
    strbuf_init(&text);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_QUICK, &text, &report, why), -FIRN_E_BUSY);
    strbuf_fini(&text);
    close_pool(t);
    t = open_pool();
    close_pool(t);
}

/* faults.md C1, C2, B5: what is missing or rotten is named; nothing crashes, nothing is changed. */
Test(files, missing_and_rotten_parts_are_named)
{
    char file[400];
    struct tier_check_report report;
    struct strbuf text;
    struct tier *t;
    int fd;

    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
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
    strbuf_init(&text);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_META, &text, &report, why), 0, "%s", why);
    cr_assert_geq(report.losses, 1u);
    cr_assert_eq(report.meta_err, -FIRN_E_CORRUPT);
    strbuf_fini(&text);
}

/* What keeps the metadata from being read is not lost data, and no reason to make it anew. */
Test(files, metadata_that_cannot_be_opened_is_no_finding)
{
    char file[300], away[400];
    struct tier_check_report report;
    struct strbuf text;

    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    snprintf(file, sizeof(file), "%s/data.mdb", opts.meta_path);
    snprintf(away, sizeof(away), "%s.away", file);
    cr_assert_eq(rename(file, away), 0);
    cr_assert_eq(symlink("data.mdb", file), 0);
    strbuf_init(&text);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_META, &text, &report, why), -ELOOP, "%s", strbuf_str(&text));
    cr_assert_eq(report.findings + report.losses, 0u);
    cr_assert_not_null(strstr(why, "no loss of data"), "%s", why);
    cr_assert_eq(unlink(file), 0);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_META, &text, &report, why), 0, "%s", why);
    cr_assert_eq(report.losses, 1u, "one that is missing is one");
    cr_assert_eq(rename(away, file), 0);
    strbuf_fini(&text);
}
