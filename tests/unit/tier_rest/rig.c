/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "rt/reactor.h"

char dir[64], why[256];
struct env *envs[2];
struct sim *sim;
struct sim_machine machine;
struct tier_opts opts;
struct tier *tier;
_Alignas(4096) uint8_t buf[4096];

static struct reactor *reactor;

/* ---- where a pool lives ---- */

static void opts_begin(uint32_t nr_shards)
{
    memset(&opts, 0, sizeof(opts));
    snprintf(opts.pool_name, sizeof(opts.pool_name), "default");
    snprintf(opts.meta_path, sizeof(opts.meta_path), "%s%smeta", dir, dir[0] ? "/" : "");
    opts.envs = envs;
    opts.nr_envs = nr_shards;
    opts.segment_bytes = 1 << 20;
    opts.ios_per_shard = 64;
}

void on_files(void)
{
    struct reactor_opts o = {.cpu = -1};

    snprintf(dir, sizeof(dir), "/tmp/firn-pool-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(reactor_new(&o, &reactor, why), 0, "%s", why);
    envs[0] = reactor_env(reactor);
    opts_begin(1);
}

void off_files(void)
{
    reactor_free(reactor);
    shell("rm -r %s", dir);
}

void on_machine(uint64_t seed, uint32_t nr_shards)
{
    sim = sim_new(seed);
    sim_machine_init(&machine, sim);
    for (uint32_t i = 0; i < nr_shards; i++)
        envs[i] = sim_env_new(sim);
    opts_begin(nr_shards);
    sim_machine_seams(&machine, &opts.seams);
}

void off_machine(void)
{
    for (uint32_t i = 0; i < opts.nr_envs; i++)
        sim_env_free(envs[i]);
    sim_machine_fini(&machine);
    sim_free(sim);
}

void dev_add(const char *name, enum tier_role role, uint64_t size_bytes)
{
    struct tier_dev_opts *d = &opts.devs[opts.nr_devs++];

    d->role = role;
    d->size_bytes = size_bytes;
    snprintf(d->path, sizeof(d->path), "%s%s%s", dir, dir[0] ? "/" : "", name);
}

void format_pool(void) { cr_assert_eq(tier_format(&opts, why), 0, "%s", why); }
void open_pool(void) { cr_assert_eq(tier_open(&opts, &tier, why), 0, "%s", why); }

void close_pool(void)
{
    bool stopped = false;

    tier_stop(tier, raise_flag, &stopped);
    run_until(&stopped);
    tier_close(tier);
    tier = NULL;
}

PRINTF_LIKE(1, 2) void shell(const char *fmt, ...)
{
    char cmd[700];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(cmd, sizeof(cmd), fmt, ap);
    va_end(ap);
    cr_assert_eq(system(cmd), 0, "%s", cmd);
}

/* ---- what is asked of it ---- */

void raise_flag(void *ctx) { *(bool *)ctx = true; }
bool flag_up(void *ctx) { return *(bool *)ctx; }

void run_until(bool *flag) { run_within(flag, 100 * NS_PER_S); }

void run_within(bool *flag, uint64_t ns)
{
    if (sim != NULL)
        cr_assert_eq(sim_run_until(sim, flag_up, flag, ns), 0);
    while (!*flag)
        cr_assert_eq(env_run_once(envs[0]), 0);
}

void answered(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct answer *a = ctx;

    cr_assert_not(a->done, "one answer");
    a->done = true;
    a->err = err;
    a->blk = blk;
    if (info != NULL)
        a->info = *info;
}

int answer_of(struct answer *a)
{
    run_until(&a->done);
    return a->err;
}

struct blk *volume_make(const char *name, uint64_t size_bytes)
{
    struct volume_params p = {.size_bytes = size_bytes, .lba_bytes = BLOCK_BYTES};
    struct answer a = {0};

    snprintf(p.name, sizeof(p.name), "%s", name);
    tier_volume_create(tier, &p, answered, &a);
    cr_assert_eq(answer_of(&a), 0);
    return a.blk;
}

struct blk *volume(const char *name)
{
    struct blk *b = NULL;

    cr_assert_eq(tier_volume_get(tier, name, NULL, &b), 0);
    return b;
}

static void io_done(struct blk_io *io) { *(bool *)io->ctx = true; }

int do_io(struct blk *b, enum blk_op op, uint64_t lba, uint32_t nlb, void *data)
{
    struct iovec iov = {data, (size_t)nlb * b->lba_bytes};
    bool done = false;
    struct blk_io io = {.op = op, .lba = lba, .nlb = nlb, .iov = &iov, .iovcnt = data != NULL, .cb = io_done, .ctx = &done};

    blk_submit(b, &io);
    run_until(&done);
    return io.err;
}

void put(struct blk *b, uint64_t lba, int byte)
{
    memset(buf, byte, sizeof(buf));
    cr_assert_eq(do_io(b, BLK_WRITE, lba, 1, buf), 0);
}

void expect(struct blk *b, uint64_t lba, int byte)
{
    memset(buf, 0x11, sizeof(buf));
    cr_assert_eq(do_io(b, BLK_READ, lba, 1, buf), 0);
    for (size_t i = 0; i < sizeof(buf); i++)
        cr_assert_eq(buf[i], byte, "lba %lu reads %02x", (unsigned long)lba, buf[i]);
}

void small_machine(uint64_t seed)
{
    on_machine(seed, 2);
    dev_add("journal", TIER_JOURNAL, 40 * MIB);
    dev_add("hdd-0", TIER_CAPACITY, 70 * MIB);
    format_pool();
}

void write_some(struct blk *b, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        memset(buf, (int)(i + 1), 4096);
        cr_assert_eq(do_io(b, BLK_WRITE, i * 37 % b->size_lba, 1, buf), 0);
    }
}

void drain_pool(void)
{
    bool drained = false;

    tier_drain(tier, true, raise_flag, &drained);
    run_within(&drained, 1000 * NS_PER_S);
}

void check_is(uint64_t findings)
{
    struct tier_check_report report;
    struct strbuf out;
    int err;

    strbuf_init(&out);
    err = tier_check(&opts, TIER_CHECK_DATA, &out, &report, why);
    cr_assert_eq(err, 0, "%s", why);
    cr_assert_eq(report.findings, findings, "%s", strbuf_str(&out));
    strbuf_fini(&out);
}
