/* SPDX-License-Identifier: Apache-2.0 */
/* rebuild_copies_test.c: a map that was rebuilt may be older than what lies on the devices; copies on the SSD may be just as old. On real
 * files and LMDB.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "rt/reactor.h"
#include "tier/pool.h"
#include "tier/priv.h"

static char dir[64], why[256];
static struct reactor *reactor;
static struct env *env;
static struct tier_opts opts;
static struct tier *tier;
static _Alignas(4096) uint8_t buf[4096];

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

    snprintf(dir, sizeof(dir), "/tmp/firn-copies-XXXXXX");
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
    dev_add("journal", TIER_JOURNAL, 14 * MIB);
    dev_add("hdd", TIER_CAPACITY, 70 * MIB);
    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
}

static void remove_all(const char *what)
{
    char cmd[640];

    snprintf(cmd, sizeof(cmd), "rm -r %s", what);
    cr_assert_eq(system(cmd), 0, "%s", cmd);
}

static void end(void)
{
    reactor_free(reactor);
    remove_all(dir);
}

TestSuite(rebuild_copies, .init = begin, .fini = end, .timeout = 120);

static void raise(void *ctx) { *(bool *)ctx = true; }

static void run_until(bool *flag)
{
    while (!*flag)
        cr_assert_eq(env_run_once(env), 0);
}

static void open_pool(void) { cr_assert_eq(tier_open(&opts, &tier, why), 0, "%s", why); }

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
    struct volume_params p = {.size_bytes = 8 * MIB, .lba_bytes = 4096};
    struct answer a = {0};

    snprintf(p.name, sizeof(p.name), "%s", name);
    tier_volume_create(tier, &p, answered, &a);
    run_until(&a.done);
    cr_assert_eq(a.err, 0);
    return a.blk;
}

static struct blk *volume(const char *name)
{
    struct blk *b = NULL;

    cr_assert_eq(tier_volume_get(tier, name, NULL, &b), 0);
    return b;
}

struct io { struct blk_io io; struct iovec iov; bool done; };
static void io_done(struct blk_io *io) { ((struct io *)io->ctx)->done = true; }

static int do_io(struct blk *b, enum blk_op op, uint64_t lba)
{
    struct io r = {.iov = {.iov_base = buf, .iov_len = sizeof(buf)}};

    r.io = (struct blk_io){.op = op, .lba = lba, .nlb = 1, .iov = &r.iov, .iovcnt = 1, .cb = io_done, .ctx = &r};
    blk_submit(b, &r.io);
    run_until(&r.done);
    return r.io.err;
}

static void put(struct blk *b, uint64_t lba, int byte)
{
    memset(buf, byte, sizeof(buf));
    cr_assert_eq(do_io(b, BLK_WRITE, lba), 0);
}

static void expect(struct blk *b, uint64_t lba, int byte)
{
    memset(buf, 0x11, sizeof(buf));
    cr_assert_eq(do_io(b, BLK_READ, lba), 0);
    for (size_t i = 0; i < sizeof(buf); i++)
        cr_assert_eq(buf[i], byte, "lba %lu reads %02x", (unsigned long)lba, buf[i]);
}

/* ---- what the test is about ---- */

static void drain(struct shard *s)
{
    bool drained = false;

    shard_drain(s, true, raise, &drained);
    run_until(&drained);
    shard_start(s);
}

/* Until the log has nothing of the volume's first block any more, and its segment is another one's. */
static void forget_in_log(struct shard *s, struct blk *b)
{
    uint32_t id = index_find(&s->ix, 1, 0), g = id / s->ix.slots_per_segment;
    uint64_t epoch = s->seg[g].epoch;

    cr_assert_neq(id, INDEX_NONE);
    for (unsigned i = 0; i < 40000 && (s->seg[g].use == SEGMENT_FREE || s->seg[g].epoch == epoch); i++)
        put(b, 256 + i % 1024, (int)(i % 250 + 1));
    cr_assert_eq(index_find(&s->ix, 1, 0), INDEX_NONE);
    drain(s);
}

static void written(struct dev_io *io) { *(bool *)io->ctx = true; }

static void copy_first_block(struct shard *s, uint64_t layer, int byte)
{
    struct iovec iov = {buf, sizeof(buf)};
    bool done = false;
    struct dev_io io = {.len_bytes = sizeof(buf), .iov = &iov, .iovcnt = 1, .cb = written, .ctx = &done};
    struct index_entry n = {.layer = 1};
    uint32_t id;

    cr_assert(journal_slots_open(s->j, 0));
    while (s->places.slots.nr_places == 0)
        cr_assert_eq(env_run_once(env), 0);
    id = places_take(s, true);
    cr_assert_neq(id, INDEX_NONE);
    memset(buf, byte, sizeof(buf));
    n.csum = block_csum(buf, layer, 0);
    journal_slots_write(s->j, (struct journal_loc){id / s->ix.slots_per_segment, id % s->ix.slots_per_segment * 8}, &io);
    run_until(&done);
    places_put(s, &n, id, slots_filled(&s->places.slots, id));
}

/* As if a later destage had written the block, and neither its description nor its record in the log were there any more. */
static void write_past_the_map(uint64_t off)
{
    int fd = open(opts.devs[1].path, O_RDWR);

    memset(buf, 0x77, sizeof(buf));
    cr_assert_eq(pwrite(fd, buf, sizeof(buf), (off_t)off), (ssize_t)sizeof(buf));
    close(fd);
}

Test(rebuild_copies, a_rebuilt_map_believes_no_copies)
{
    struct tier_check_report report;
    struct strbuf text;
    struct shard *s;
    struct blk *b;
    uint64_t off;

    open_pool();
    s = tier->shards[0];
    b = create("one");
    put(b, 0, 1);
    drain(s);
    forget_in_log(s, b);
    copy_first_block(s, container_of(b, struct volume, blk)->layer, 1);
    expect(b, 0, 1);
    off = cold_offset(tier->cold, extent_at(&s->xt, extent_find(&s->xt, 1, 0))->place);
    close_pool();
    write_past_the_map(off);
    remove_all(opts.meta_path);
    strbuf_init(&text);
    cr_assert_eq(tier_rebuild_map(&opts, opts.meta_path, &text, &report, why), 0, "%s", why);
    cr_assert_eq(report.losses, 0u, "%s", strbuf_str(&text));
    strbuf_fini(&text);
    open_pool();
    cr_assert_eq(do_io(volume("one"), BLK_READ, 0), -FIRN_E_DAMAGED, "an error is better than an older version");
    close_pool();
}
