/* SPDX-License-Identifier: Apache-2.0 */
/* nth_test.c: the n-th request to a device fails, for many n, each device and kind of request, once and for ever (faults.md
 * B9, B10, B11). A pool is opened, written, drained, written over and read; it crashes, the device is whole again, the pool is read.
 *
 * While the fault lasts every request is answered, and a read gives the newest acknowledged bytes, or newer ones that were
 * submitted, or an error. Without the fault there are no errors, and the offline check finds no loss.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "tier/check.h"
#include "tier/tier.h"
#include "tools/sim/sim.h"

#define BLOCKS 40u
#define STRIDE 37u /* blocks of the test are so far apart: six extents */

static struct sim *sim;
static struct sim_machine machine;
static struct env *env;
static struct tier_opts opts;
static struct tier *tier;
static struct blk *blk;
static char why[256];
static uint8_t acked[BLOCKS], tried[BLOCKS]; /* stamps: the last one acknowledged; the last one submitted */
static uint32_t errors;                      /* answers other than success */

static void dev_add(const char *path, enum tier_role role, uint64_t size)
{
    struct tier_dev_opts *d = &opts.devs[opts.nr_devs++];

    d->role = role;
    d->size_bytes = size;
    snprintf(d->path, sizeof(d->path), "%s", path);
}

static bool is_set(void *ctx) { return *(bool *)ctx; }
static void set(void *ctx) { *(bool *)ctx = true; }

struct answer { bool done; int err; };

static void answered(void *ctx, int err, struct blk *b, const struct volume_info *info)
{
    struct answer *a = ctx;

    (void)info;
    blk = b;
    *a = (struct answer){.done = true, .err = err};
}

static void begin(void)
{
    struct volume_params p = {.name = "v", .size_bytes = 8 * MIB, .lba_bytes = 4096};
    struct answer a = {0};
    bool stopped = false;

    sim = sim_new(21);
    sim_machine_init(&machine, sim);
    env = sim_env_new(sim);
    memset(&opts, 0, sizeof(opts));
    snprintf(opts.pool_name, sizeof(opts.pool_name), "default");
    snprintf(opts.meta_path, sizeof(opts.meta_path), "meta");
    opts.envs = &env;
    opts.nr_envs = 1;
    opts.segment_bytes = 256 * 1024;
    opts.ios_per_shard = 64;
    dev_add("journal", TIER_JOURNAL, 16 * MIB);
    dev_add("hdd-0", TIER_CAPACITY, 20 * MIB);
    dev_add("hdd-1", TIER_CAPACITY, 20 * MIB);
    sim_machine_seams(&machine, &opts.seams);
    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    cr_assert_eq(tier_open(&opts, &tier, why), 0, "%s", why);
    tier_volume_create(tier, &p, answered, &a);
    cr_assert_eq(sim_run_until(sim, is_set, &a.done, 100 * NS_PER_S), 0);
    cr_assert_eq(a.err, 0);
    tier_stop(tier, set, &stopped);
    cr_assert_eq(sim_run_until(sim, is_set, &stopped, 100 * NS_PER_S), 0);
    tier_close(tier);
    tier = NULL;
    memset(acked, 0, sizeof(acked));
    memset(tried, 0, sizeof(tried));
    errors = 0;
}

static void end(void)
{
    sim_env_free(env);
    sim_machine_fini(&machine);
    sim_free(sim);
}

struct io { struct blk_io io; struct iovec iov; bool done; };
static void io_done(struct blk_io *io) { ((struct io *)io->ctx)->done = true; }

static int do_io(enum blk_op op, uint32_t i, void *buf)
{
    struct io r = {.iov = {.iov_base = buf, .iov_len = 4096}};

    r.io = (struct blk_io){.op = op, .lba = i * STRIDE, .nlb = 1, .iov = &r.iov, .iovcnt = 1, .cb = io_done, .ctx = &r};
    blk_submit(blk, &r.io);
    cr_assert_eq(sim_run_until(sim, is_set, &r.done, 200 * NS_PER_S), 0, "a request is never answered");
    errors += r.io.err != 0;
    return r.io.err;
}

static void write_every(uint32_t step)
{
    static _Alignas(4096) uint8_t buf[4096];

    for (uint32_t i = 0; i < BLOCKS; i += step) {
        memset(buf, ++tried[i], sizeof(buf));
        if (do_io(BLK_WRITE, i, buf) == 0)
            acked[i] = tried[i];
    }
}

static void read_all(const char *when, bool errors_allowed)
{
    static _Alignas(4096) uint8_t buf[4096];

    for (uint32_t i = 0; i < BLOCKS; i++) {
        int err = do_io(BLK_READ, i, buf);

        cr_assert(err == 0 || errors_allowed, "%s: block %u: %s", when, i, err_text(err));
        if (err)
            continue;
        cr_assert(buf[0] >= acked[i] && buf[0] <= tried[i] && memcmp(buf, buf + 1, 4095) == 0,
                  "%s: block %u reads %u, acknowledged %u, tried %u", when, i, buf[0], acked[i], tried[i]);
    }
}

/* With the fault: what answers, answers rightly. */
static void work(void)
{
    bool drained = false;

    if (tier_volume_get(tier, "v", NULL, &blk) != 0)
        return;
    write_every(1);
    read_all("before the drain", true);
    tier_drain(tier, true, set, &drained);
    sim_run_until(sim, is_set, &drained, 60 * NS_PER_S); /* what cannot settle, waits */
    write_every(3);
    read_all("after the drain", true);
}

static void judge(void)
{
    struct tier_check_report report;
    struct strbuf out;
    bool drained = false, stopped = false;

    cr_assert_eq(tier_open(&opts, &tier, why), 0, "without the fault: %s", why);
    cr_assert_eq(tier_volume_get(tier, "v", NULL, &blk), 0);
    read_all("after the restart", false);
    write_every(5);
    tier_drain(tier, true, set, &drained);
    cr_assert_eq(sim_run_until(sim, is_set, &drained, 100 * NS_PER_S), 0);
    read_all("after all has settled", false);
    tier_stop(tier, set, &stopped);
    cr_assert_eq(sim_run_until(sim, is_set, &stopped, 100 * NS_PER_S), 0);
    tier_close(tier);
    tier = NULL;
    strbuf_init(&out);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_DATA, &out, &report, why), 0, "%s", why);
    cr_assert_eq(report.losses, 0, "%s", strbuf_str(&out));
    strbuf_fini(&out);
}

/* One run; how many answers were errors. late: requests are counted from the end of the start. */
static uint32_t run(const char *disk, enum dev_op op, uint32_t n, uint32_t count, bool late)
{
    struct sim_disk *d;
    uint32_t seen;

    begin();
    d = sim_machine_disk(&machine, disk);
    if (!late)
        sim_disk_fail_nth(d, op, n, count);
    if (tier_open(&opts, &tier, why) == 0) {
        if (late)
            sim_disk_fail_nth(d, op, n, count);
        work();
    } else {
        cr_assert_neq(why[0], '\0');
        tier = NULL;
    }
    seen = errors;
    sim_crash(sim);
    if (tier != NULL)
        tier_close(tier);
    tier = NULL;
    sim_env_free(env);
    sim_reboot(sim);
    env = sim_env_new(sim);
    sim_disk_heal(d);
    judge();
    end();
    return seen;
}

static uint32_t run_all(const char *disk, enum dev_op op)
{
    static const uint32_t nth[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 19, 24, 30, 37, 46, 57, 70, 86};
    uint32_t seen = 0;

    for (size_t i = 0; i < ARRAY_LEN(nth); i++) {
        for (int late = 0; late < 2; late++) {
            seen += run(disk, op, nth[i], 1, late);
            seen += run(disk, op, nth[i], UINT32_MAX, late);
        }
    }
    return seen;
}

TestSuite(nth, .timeout = 120);

Test(nth, a_failed_read_of_the_log_is_an_error_or_nothing) { cr_assert_gt(run_all("journal", DEV_READ), 0); }
Test(nth, a_failed_write_to_the_log_loses_nothing_acknowledged) { cr_assert_gt(run_all("journal", DEV_WRITE), 0); }
Test(nth, a_failed_flush_of_the_log_loses_nothing_acknowledged) { run_all("journal", DEV_FLUSH); }
Test(nth, a_failed_read_of_a_capacity_device_is_an_error_or_nothing) { run_all("hdd-0", DEV_READ); }
Test(nth, a_failed_write_to_a_capacity_device_is_felt_by_no_host) { cr_assert_eq(run_all("hdd-0", DEV_WRITE), 0); }
Test(nth, a_failed_flush_of_a_capacity_device_is_felt_by_no_host) { cr_assert_eq(run_all("hdd-0", DEV_FLUSH), 0); }
