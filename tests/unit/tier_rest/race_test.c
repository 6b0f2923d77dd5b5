/* SPDX-License-Identifier: Apache-2.0 */
/* race_test.c: formats that another process overtakes, that fail half-way, or that a stale mark asks for: on real files. The
 * calls between which a race lies are this program's own, so that the other process comes exactly there.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rt/reactor.h"
#include "tier/tier.h"

static char dir[64], why[256], data_mdb[300];
static struct reactor *reactor[2];
static struct env *env[2];
static struct tier_opts opts[2]; /* [1]: the other process */
static struct tier *other;
static void (*before_lock)(void); /* once */
static const char *sync_fails;    /* the fsync of this path fails */

int flock(int fd, int op)
{
    void (*fn)(void) = before_lock;

    before_lock = NULL;
    if (fn != NULL)
        fn();
    return (int)syscall(SYS_flock, fd, op);
}

int fsync(int fd)
{
    struct stat is, named;

    if (sync_fails != NULL && fstat(fd, &is) == 0 && stat(sync_fails, &named) == 0 && is.st_ino == named.st_ino) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

static void begin(void)
{
    struct reactor_opts o = {.cpu = -1};

    snprintf(dir, sizeof(dir), "/tmp/firn-race-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    for (unsigned i = 0; i < 2; i++) {
        struct tier_opts *p = &opts[i];

        cr_assert_eq(reactor_new(&o, &reactor[i], why), 0, "%s", why);
        env[i] = reactor_env(reactor[i]);
        memset(p, 0, sizeof(*p));
        snprintf(p->pool_name, sizeof(p->pool_name), "default");
        snprintf(p->meta_path, sizeof(p->meta_path), "%s/meta", dir);
        p->envs = &env[i];
        p->nr_envs = 1;
        p->segment_bytes = 1 << 20;
        p->ios_per_shard = 64;
        p->nr_devs = 2;
        p->devs[0] = (struct tier_dev_opts){.role = TIER_JOURNAL, .size_bytes = 24 * MIB};
        p->devs[1] = (struct tier_dev_opts){.role = TIER_CAPACITY, .size_bytes = 70 * MIB};
        snprintf(p->devs[0].path, sizeof(p->devs[0].path), "%s/journal", dir);
        snprintf(p->devs[1].path, sizeof(p->devs[1].path), "%s/hdd", dir);
    }
    snprintf(data_mdb, sizeof(data_mdb), "%s/meta/data.mdb", dir);
}

static void end(void)
{
    char cmd[128];

    reactor_free(reactor[0]);
    reactor_free(reactor[1]);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    cr_assert_eq(system(cmd), 0);
}

TestSuite(race, .init = begin, .fini = end, .timeout = 120);

static void raise(void *ctx) { *(bool *)ctx = true; }

static void run_until(const bool *flag)
{
    while (!*flag)
        cr_assert_eq(env_run_once(env[1]), 0);
}

static void close_other(void)
{
    bool stopped = false;

    tier_stop(other, raise, &stopped);
    run_until(&stopped);
    tier_close(other);
}

static void made_by_other(void)
{
    char text[256];

    cr_assert_eq(tier_format(&opts[1], text), 0, "%s", text);
}

static void served_by_other(void)
{
    char text[256];

    made_by_other();
    cr_assert_eq(tier_open(&opts[1], &other, text), 0, "%s", text);
}

struct io { struct blk_io io; struct iovec iov; bool done; };
static void io_done(struct blk_io *io) { ((struct io *)io->ctx)->done = true; }
struct answer { bool done; struct blk *blk; };

static void answered(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    (void)info;
    cr_assert_eq(err, 0);
    *(struct answer *)ctx = (struct answer){.done = true, .blk = blk};
}

/* A pool that was served, with a volume and a write. */
static void used_by_other(void)
{
    static _Alignas(4096) uint8_t in[4096];
    struct volume_params p = {.name = "db", .size_bytes = 8 * MIB, .lba_bytes = 4096};
    struct answer a = {0};
    struct io r = {.iov = {.iov_base = in, .iov_len = 4096}};

    served_by_other();
    tier_volume_create(other, &p, answered, &a);
    run_until(&a.done);
    memset(in, 0x5a, sizeof(in));
    r.io = (struct blk_io){.op = BLK_WRITE, .lba = 7, .nlb = 1, .iov = &r.iov, .iovcnt = 1, .cb = io_done, .ctx = &r};
    blk_submit(a.blk, &r.io);
    run_until(&r.done);
    cr_assert_eq(r.io.err, 0);
    close_other();
}

static off_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : -1;
}

static void damage(const char *path, off_t from, off_t to)
{
    static const uint8_t junk[4096] = {0xd7, 0xd7};
    int fd = open(path, O_WRONLY);

    cr_assert_geq(fd, 0);
    for (off_t at = from; at < to; at += (off_t)sizeof(junk))
        cr_assert_eq(pwrite(fd, junk, sizeof(junk), at), (ssize_t)sizeof(junk));
    close(fd);
}

/* Without a trace of a label. */
static void wipe_labels(const struct tier_dev_opts *d)
{
    static const uint8_t zeros[4096];
    off_t size = size_of(d->path);
    int fd = open(d->path, O_WRONLY);

    cr_assert_geq(fd, 0);
    for (off_t at = 0; at < 8192; at += 4096)
        cr_assert_eq(pwrite(fd, zeros, sizeof(zeros), at), (ssize_t)sizeof(zeros));
    cr_assert_eq(pwrite(fd, zeros, sizeof(zeros), size / 4096 * 4096 - 4096), (ssize_t)sizeof(zeros));
    close(fd);
}

Test(race, a_format_that_lost_leaves_the_files_of_the_one_that_won)
{
    before_lock = served_by_other; /* the name is made, its lock is not taken yet */
    cr_assert_eq(tier_format(&opts[0], why), -FIRN_E_BUSY, "%s", why);
    cr_assert_eq(size_of(opts[0].devs[0].path), 24 * (off_t)MIB, "the journal is there");
    close_other();
    cr_assert_eq(tier_probe(&opts[0], why), 0, "%s", why);
}

Test(race, nor_does_it_take_away_a_pool_that_is_made_and_not_served_yet)
{
    before_lock = made_by_other;
    cr_assert_eq(tier_format(&opts[0], why), -FIRN_E_FOREIGN, "%s", why);
    cr_assert_eq(tier_probe(&opts[0], why), 0, "%s", why);
}

static void removed(void)
{
    int fd = open(opts[0].devs[0].path, O_RDONLY), made;
    char text[256];

    cr_assert_geq(fd, 0);
    cr_assert_eq(unlink(opts[0].devs[0].path), 0);
    close(fd);
    made = tier_format(&opts[1], text);
    (void)made;
}

/* The lock of a file that has lost its name keeps nobody out. */
Test(race, a_lock_of_a_file_that_is_gone_is_no_lock)
{
    cr_assert_eq(tier_format(&opts[1], why), 0, "%s", why);
    before_lock = removed;
    cr_assert_eq(tier_probe(&opts[0], why), -FIRN_E_BUSY, "%s", why);
}

Test(race, metadata_that_cannot_be_made_leaves_nothing_in_the_way)
{
    char meta[300];

    snprintf(meta, sizeof(meta), "%s", opts[0].meta_path);
    cr_assert_eq(mkdir(meta, 0700), 0);
    sync_fails = meta;
    cr_assert_eq(tier_format(&opts[0], why), -EIO, "%s", why);
    cr_assert_neq(access(data_mdb, F_OK), 0, "it was not there before");
    cr_assert_neq(access(opts[0].devs[0].path, F_OK), 0);
    sync_fails = NULL;
    cr_assert_eq(tier_format(&opts[0], why), 0, "%s", why);
    sync_fails = meta;
    cr_assert_neq(tier_format(&opts[0], why), 0);
    cr_assert_eq(access(data_mdb, F_OK), 0, "this one was there");
}

static int format_remains(void)
{
    opts[0].force = opts[0].remains = true;
    return tier_format(&opts[0], why);
}

Test(race, remains_of_a_first_format_are_formatted_and_cut)
{
    opts[1].devs[0].size_bytes = 32 * MIB;
    for (unsigned labels = 0; labels < 3; labels++) { /* none; on the capacity alone; both */
        made_by_other();
        if (labels < 2)
            wipe_labels(&opts[1].devs[0]);
        if (labels < 1)
            wipe_labels(&opts[1].devs[1]);
        if (labels == 0)
            damage(data_mdb, 0, 16384);
        cr_assert_eq(format_remains(), 0, "%u: %s", labels, why);
        cr_assert_eq(size_of(opts[0].devs[0].path), 24 * (off_t)MIB, "cut");
        opts[0].remains = false;
        cr_assert_eq(tier_probe(&opts[0], why), 0, "%s", why);
        opts[1].force = true;
    }
}

/* What was acknowledged is in there, whatever mark says that it is not and whatever else is damaged. */
Test(race, a_pool_that_was_in_use_is_no_remains)
{
    used_by_other();
    opts[0].devs[0].size_bytes = 23 * MIB;
    cr_assert_eq(format_remains(), -FIRN_E_EXISTS, "whole: %s", why);
    damage(data_mdb, 8192, size_of(data_mdb));
    cr_assert_eq(format_remains(), -FIRN_E_EXISTS, "metadata damaged: %s", why);
    wipe_labels(&opts[1].devs[0]);
    cr_assert_eq(format_remains(), -FIRN_E_EXISTS, "and the journal without a label: %s", why);
    wipe_labels(&opts[1].devs[1]);
    cr_assert_eq(unlink(data_mdb), 0);
    cr_assert_eq(format_remains(), -FIRN_E_EXISTS, "the journal alone: %s", why);
    cr_assert_eq(size_of(opts[0].devs[0].path), 24 * (off_t)MIB, "nothing is cut");
}

Test(race, a_label_without_a_journal_is_no_remains)
{
    made_by_other();
    cr_assert_eq(unlink(opts[1].devs[0].path), 0);
    cr_assert_eq(format_remains(), -FIRN_E_EXISTS, "%s", why);
    cr_assert_neq(access(opts[1].devs[0].path, F_OK), 0, "no journal is made");
}

Test(race, the_data_of_somebody_else_is_no_remains)
{
    int fd;

    made_by_other();
    wipe_labels(&opts[1].devs[0]);
    wipe_labels(&opts[1].devs[1]);
    cr_assert_eq(unlink(data_mdb), 0);
    fd = open(opts[1].devs[1].path, O_RDWR);
    cr_assert_eq(pwrite(fd, "\x53\xef", 2, 0x438), 2);
    close(fd);
    cr_assert_eq(format_remains(), -FIRN_E_EXISTS, "%s", why);
}

Test(race, metadata_that_has_moved_on_is_no_remains)
{
    used_by_other();
    wipe_labels(&opts[1].devs[0]);
    wipe_labels(&opts[1].devs[1]);
    cr_assert_eq(truncate(opts[1].devs[0].path, 0), 0);
    cr_assert_eq(truncate(opts[1].devs[0].path, 24 * MIB), 0);
    cr_assert_eq(format_remains(), -FIRN_E_EXISTS, "%s", why);
}
