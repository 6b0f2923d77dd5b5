/* SPDX-License-Identifier: Apache-2.0 */
/* room_test.c: the room that a start reserves for what the log holds, told without a start: the same to the extent. On real files;
 * a volume that was deleted is back in a map that was rebuilt, or rolled back, and has places that another one was promised.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "rt/reactor.h"
#include "tier/check.h"
#include "tier/tier.h"

#define OLD_EXTENTS 40u

static char dir[64], why[256];
static struct reactor *reactor;
static struct env *env;
static struct tier_opts opts;
static struct tier *tier;
static struct strbuf text;
static struct tier_check_report report;
static char then[80];       /* a copy of the metadata */
static unsigned nr_new;     /* extents of "new" with a block in the log, but for zeroes() */
static _Alignas(4096) uint8_t buf[4096];

static void shell(const char *verb, const char *from, const char *to)
{
    char cmd[700];

    snprintf(cmd, sizeof(cmd), "%s %s %s", verb, from, to);
    cr_assert_eq(system(cmd), 0, "%s", cmd);
}

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

    snprintf(dir, sizeof(dir), "/tmp/firn-room-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(reactor_new(&o, &reactor, why), 0, "%s", why);
    env = reactor_env(reactor);
    snprintf(opts.pool_name, sizeof(opts.pool_name), "default");
    snprintf(opts.meta_path, sizeof(opts.meta_path), "%s/meta", dir);
    opts.envs = &env;
    opts.nr_envs = 1;
    opts.segment_bytes = 1 << 20;
    opts.ios_per_shard = 64;
    dev_add("journal", TIER_JOURNAL, 24 * MIB);
    dev_add("hdd", TIER_CAPACITY, 64 * MIB);
    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    strbuf_init(&text);
}

static void end(void)
{
    strbuf_fini(&text);
    reactor_free(reactor);
    shell("rm -rf", dir, "");
}

TestSuite(room, .init = begin, .fini = end, .timeout = 120);

static void raise(void *ctx) { *(bool *)ctx = true; }

static void run_until(bool *flag)
{
    while (!*flag)
        cr_assert_eq(env_run_once(env), 0);
}

static void close_pool(void)
{
    bool stopped = false;

    tier_stop(tier, raise, &stopped);
    run_until(&stopped);
    tier_close(tier);
}

struct answer { bool done; int err; struct blk *blk; };

static void answered(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    (void)info;
    *(struct answer *)ctx = (struct answer){.done = true, .err = err, .blk = blk};
}

static struct blk *create(const char *name)
{
    struct volume_params p = {.size_bytes = 64 * MIB, .lba_bytes = 4096};
    struct answer a = {0};

    snprintf(p.name, sizeof(p.name), "%s", name);
    tier_volume_create(tier, &p, answered, &a);
    run_until(&a.done);
    cr_assert_eq(a.err, 0);
    return a.blk;
}

struct io { struct blk_io io; struct iovec iov; bool done; };
static void io_done(struct blk_io *io) { ((struct io *)io->ctx)->done = true; }

static int do_io(struct blk *b, enum blk_op op, uint64_t lba, uint32_t nlb)
{
    struct io r = {.iov = {.iov_base = buf, .iov_len = sizeof(buf)}};

    r.io = (struct blk_io){.op = op, .lba = lba, .nlb = nlb, .cb = io_done, .ctx = &r};
    if (op == BLK_WRITE || op == BLK_READ) {
        r.io.iov = &r.iov;
        r.io.iovcnt = 1;
    }
    blk_submit(b, &r.io);
    run_until(&r.done);
    return r.io.err;
}

static void put(struct blk *b, uint64_t lba, int fill)
{
    memset(buf, fill, sizeof(buf));
    cr_assert_eq(do_io(b, BLK_WRITE, lba, 1), 0);
}

static void erase(const char *name)
{
    struct answer a = {0};

    tier_volume_delete(tier, name, answered, &a);
    run_until(&a.done);
    cr_assert_eq(a.err, 0);
}

/* Of these four extents two need a place: what is zeroed, whole or block by block, needs none. */
static void zeroes(struct blk *b)
{
    for (unsigned x = 60; x <= 62; x++)
        put(b, x * 256 + 7, 3);
    put(b, 61 * 256 + 8, 3);
    cr_assert_eq(do_io(b, BLK_WRITE_ZEROES, 60 * 256, 256), 0);
    cr_assert_eq(do_io(b, BLK_DISCARD, 61 * 256 + 8, 1), 0);
    cr_assert_eq(do_io(b, BLK_WRITE_ZEROES, 62 * 256 + 7, 1), 0);
    cr_assert_eq(do_io(b, BLK_WRITE_ZEROES, 63 * 256, 256), 0);
    put(b, 63 * 256 + 7, 3);
}

/* "old" settles, and the metadata of then is kept, which knows an empty "new" too. Old is deleted; the log holds of new what needs
 * all places that old left free, and `more`. Then the metadata is gone. */
static void lose_metadata(unsigned more)
{
    struct tier_info info;
    bool drained = false;
    struct blk *old, *new;

    cr_assert_eq(tier_open(&opts, &tier, why), 0, "%s", why);
    old = create("old");
    new = create("new");
    for (unsigned i = 0; i < OLD_EXTENTS; i++)
        put(old, i * 256, 1);
    tier_drain(tier, true, raise, &drained);
    run_until(&drained);
    tier_info_get(tier, &info);
    close_pool();
    snprintf(then, sizeof(then), "%s/then", dir);
    shell("cp -r", opts.meta_path, then);
    cr_assert_eq(tier_open(&opts, &tier, why), 0, "%s", why);
    erase("old");
    cr_assert_eq(tier_volume_get(tier, "new", NULL, &new), 0);
    nr_new = (unsigned)(info.capacity_bytes / MIB) - OLD_EXTENTS - 2 + more;
    cr_assert_leq(nr_new, 60u);
    for (unsigned i = 0; i < nr_new; i++)
        put(new, i * 256, (int)i + 2);
    zeroes(new);
    close_pool();
    shell("rm -r", opts.meta_path, "");
}

static int rebuild(const char *without)
{
    strbuf_fini(&text);
    strbuf_init(&text);
    opts.rebuild_without = &without;
    opts.nr_rebuild_without = without != NULL;
    return tier_rebuild_map(&opts, opts.meta_path, &text, &report, why);
}

static void new_reads_the_same(const char *name)
{
    struct blk *b;

    cr_assert_eq(tier_open(&opts, &tier, why), 0, "%s", why);
    cr_assert_eq(tier_volume_get(tier, name, NULL, &b), 0);
    for (unsigned i = 0; i < nr_new; i++) {
        cr_assert_eq(do_io(b, BLK_READ, i * 256, 1), 0);
        for (unsigned k = 0; k < sizeof(buf); k++)
            cr_assert_eq(buf[k], i + 2, "extent %u", i);
    }
    close_pool();
}

Test(room, a_rebuilt_map_that_just_leaves_room_opens)
{
    lose_metadata(0);
    cr_assert_eq(rebuild(NULL), 0, "%s", why);
    cr_assert_eq(report.findings, 0, "%s", strbuf_str(&text));
    new_reads_the_same("recovered-2");
}

Test(room, one_extent_too_few_is_found_and_no_map_is_made)
{
    lose_metadata(1);
    cr_assert_eq(rebuild(NULL), 0, "%s", why);
    cr_assert_eq(report.findings, 1, "%s", strbuf_str(&text));
    cr_assert_eq(report.losses, 0);
    cr_assert_not_null(strstr(strbuf_str(&text), ": 1 MiB too few"), "%s", strbuf_str(&text));
    cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_MISSING, "%s", why);
    cr_assert_eq(rebuild("older"), -FIRN_E_NOT_FOUND);
    cr_assert_not_null(strstr(strbuf_str(&text), "name=old "), "%s", strbuf_str(&text));
    cr_assert_eq(rebuild("old"), 0, "%s", why);
    cr_assert_eq(report.findings, 0, "%s", strbuf_str(&text));
    new_reads_the_same("recovered-2");
    cr_assert_eq(rebuild("old"), -FIRN_E_EXISTS, "never over anything");
}

/* What a server would refuse to start from, whoever made it. */
Test(room, check_finds_metadata_that_leaves_too_little)
{
    for (unsigned more = 0; more < 2; more++) {
        lose_metadata(more);
        shell("mv", then, opts.meta_path);
        strbuf_fini(&text);
        strbuf_init(&text);
        cr_assert_eq(tier_check(&opts, TIER_CHECK_DATA, &text, &report, why), 0, "%s", why);
        cr_assert_eq(strstr(strbuf_str(&text), "I13") != NULL, more == 1, "%s", strbuf_str(&text));
        opts.accept_loss = true; /* it was rolled back */
        cr_assert_eq(tier_open(&opts, &tier, why), more == 1 ? -FIRN_E_NO_SPACE : 0, "%s", why);
        if (more == 0)
            close_pool();
        opts.accept_loss = false;
        shell("rm -r", opts.meta_path, "");
        opts.force = true;
        cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    }
}

/* Of two volumes of one name a pool would not start. */
Test(room, no_two_layers_get_one_name)
{
    struct found_layer layers[] = {
        {.layer = 1, .volume.name = "recovered-1"},   /* deleted, its name given again */
        {.layer = 2, .volume.name = "recovered-1-2"},
        {.layer = 3},
        {.layer = 4, .volume.name = "recovered-3"},
        {.layer = 9, .volume.name = "recovered-1"},
    };
    struct found f = {.layers = layers, .nr_layers = ARRAY_LEN(layers)};

    found_name(&f);
    cr_assert_str_eq(layers[0].name, "recovered-1-3");
    cr_assert_not(found_as_told(&layers[0]));
    cr_assert_str_eq(layers[1].name, "recovered-1-2");
    cr_assert_str_eq(layers[2].name, "recovered-3-2");
    cr_assert_str_eq(layers[3].name, "recovered-3");
    cr_assert_str_eq(layers[4].name, "recovered-1");
    cr_assert(found_as_told(&layers[4]));
}
