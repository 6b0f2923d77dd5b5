/* SPDX-License-Identifier: Apache-2.0 */
/* rings_test.c: pools whose disks have a ring of descriptions, and those that were formatted without: what their labels and records say,
 * and that a map can be rebuilt from what the ring has. On real files and LMDB.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rt/reactor.h"
#include "tier/label.h"
#include "tier/pool.h"
#include "tier/priv.h"

#define EXTENTS 8u            /* of each volume */
#define HALF    32u

static char dir[64], why[256];
static struct reactor *reactor;
static struct env *env;
static struct tier_opts opts;
static struct tier *tier;
static struct strbuf text;
static _Alignas(4096) uint8_t buf[4096];

static void dev_add(const char *name, enum tier_role role, uint64_t size)
{
    struct tier_dev_opts *d = &opts.devs[opts.nr_devs++];

    d->role = role;
    d->media = role == TIER_CAPACITY ? TIER_MEDIA_HDD : TIER_MEDIA_SSD;
    d->size_bytes = size;
    snprintf(d->path, sizeof(d->path), "%s/%s", dir, name);
}

static void begin(void)
{
    struct reactor_opts o = {.cpu = -1};

    snprintf(dir, sizeof(dir), "/tmp/firn-rings-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(reactor_new(&o, &reactor, why), 0, "%s", why);
    env = reactor_env(reactor);
    memset(&opts, 0, sizeof(opts));
    snprintf(opts.pool_name, sizeof(opts.pool_name), "default");
    snprintf(opts.meta_path, sizeof(opts.meta_path), "%s/meta", dir);
    opts.envs = &env;
    opts.nr_envs = 1;
    opts.nr_shards = 2;
    opts.segment_bytes = 1 << 20;
    opts.ios_per_shard = 64;
    opts.ring_bytes = 2 * 2 * HALF * DESC_BYTES;
    opts.dirty_start_pct = 90; /* nothing settles before a drain */
    opts.dirty_max_pct = 95;
    dev_add("journal", TIER_JOURNAL, 40 * MIB);
    dev_add("hdd", TIER_CAPACITY, 70 * MIB);
    strbuf_init(&text);
}

static void remove_all(const char *what)
{
    char cmd[640];

    snprintf(cmd, sizeof(cmd), "rm -r %s", what);
    cr_assert_eq(system(cmd), 0, "%s", cmd);
}

static void end(void)
{
    strbuf_fini(&text);
    reactor_free(reactor);
    remove_all(dir);
}

TestSuite(rings, .init = begin, .fini = end, .timeout = 120);

static void raise(void *ctx) { *(bool *)ctx = true; }

static void run_until(const bool *flag)
{
    while (!*flag)
        cr_assert_eq(env_run_once(env), 0);
}

static void format(void) { cr_assert_eq(tier_format(&opts, why), 0, "%s", why); }
static void open_pool(void) { cr_assert_eq(tier_open(&opts, &tier, why), 0, "%s", why); }

static void drain(void)
{
    bool drained = false;

    tier_drain(tier, true, raise, &drained);
    run_until(&drained);
}

static void close_pool(void)
{
    bool stopped = false;

    drain();
    tier_stop(tier, raise, &stopped);
    run_until(&stopped);
    tier_close(tier);
}

struct answer { bool done; int err; };

static void answered(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    (void)info;
    (void)blk;
    *(struct answer *)ctx = (struct answer){.done = true, .err = err};
}

static void create(const char *name)
{
    struct volume_params p = {.size_bytes = EXTENTS * MIB, .lba_bytes = 4096};
    struct answer a = {0};

    snprintf(p.name, sizeof(p.name), "%s", name);
    tier_volume_create(tier, &p, answered, &a);
    run_until(&a.done);
    cr_assert_eq(a.err, 0);
}

static void delete(const char *name)
{
    struct answer a = {0};

    tier_volume_delete(tier, name, answered, &a);
    run_until(&a.done);
    cr_assert_eq(a.err, 0);
}

struct io { struct blk_io io; struct iovec iov; bool done; };
static void io_done(struct blk_io *io) { ((struct io *)io->ctx)->done = true; }

static void do_io(const char *name, enum blk_op op, uint64_t lba)
{
    struct io r = {.iov = {.iov_base = buf, .iov_len = sizeof(buf)}};
    struct blk *b = NULL;

    cr_assert_eq(tier_volume_get(tier, name, NULL, &b), 0, "%s", name);
    r.io = (struct blk_io){.op = op, .lba = lba, .nlb = 1, .iov = &r.iov, .iovcnt = 1, .cb = io_done, .ctx = &r};
    blk_submit(b, &r.io);
    run_until(&r.done);
    cr_assert_eq(r.io.err, 0, "%s lba %lu: %s", name, (unsigned long)lba, err_text(r.io.err));
}

/* One block of every `step`th extent from `from` on; then all of it settles and is described. */
static void settle(const char *name, uint32_t from, uint32_t step, int byte)
{
    for (uint32_t no = from; no < EXTENTS; no += step) {
        memset(buf, byte, sizeof(buf));
        do_io(name, BLK_WRITE, (uint64_t)no * EXTENT_BLOCKS);
    }
    drain();
}

/* All of it, in two batches of single extents: into the ring. The last one comes first: a batch goes on behind the one before it, and
 * the second one then begins at the first extent. */
static void settle_in_ring(const char *name, int byte)
{
    settle(name, 1, 2, byte);
    settle(name, 0, 2, byte);
}

static void expect_all(const char *name, int byte)
{
    for (uint32_t no = 0; no < EXTENTS; no++) {
        memset(buf, 0x11, sizeof(buf));
        do_io(name, BLK_READ, (uint64_t)no * EXTENT_BLOCKS);
        for (size_t i = 0; i < sizeof(buf); i++)
            cr_assert_eq(buf[i], byte, "%s extent %u reads %02x", name, no, buf[i]);
    }
}

/* A pool with a volume whose newest descriptions lie in the ring alone. Closed. */
static void begin_in_ring(const char *name)
{
    open_pool();
    create(name);
    settle(name, 0, 1, 1);
    settle_in_ring(name, 2);
    close_pool();
}

/* ---- bytes on the disk ---- */

static struct label label_of(unsigned i)
{
    struct label_copies copies;
    struct dev_open_opts o = {.read_only = true};
    struct label l;
    struct dev *d;

    cr_assert_eq(dev_open(env, opts.devs[i].path, &o, &d, why), 0, "%s", why);
    cr_assert_eq(label_read(d, ROUND_DOWN(opts.devs[i].size_bytes, LABEL_BYTES), &l, &copies), 0);
    dev_close(d);
    return l;
}

enum change { WIPE, SPOIL };
static void change(uint64_t off, enum change how)
{
    int fd = open(opts.devs[1].path, O_RDWR);

    cr_assert_eq(pread(fd, buf, DESC_BYTES, (off_t)off), DESC_BYTES);
    if (how == WIPE)
        memset(buf, 0, sizeof(buf));
    else
        buf[100] ^= 1;
    cr_assert_eq(pwrite(fd, buf, DESC_BYTES, (off_t)off), DESC_BYTES);
    close(fd);
}

static void change_regions(enum change how)
{
    struct label l = label_of(1);

    for (uint32_t slot = 0; slot < l.ext_nr; slot++)
        change(region_desc_offset(l.ext_base_bytes, slot), how);
}

/* Entries of the ring that are descriptions, of whatever age. */
static uint32_t entries(void)
{
    struct label l = label_of(1);
    int fd = open(opts.devs[1].path, O_RDONLY);
    struct extent_desc d;
    uint32_t nr = 0;

    for (uint32_t i = 0; i < l.ring_nr; i++) {
        cr_assert_eq(pread(fd, buf, DESC_BYTES, (off_t)ring_offset(i)), DESC_BYTES);
        nr += extent_desc_decode(buf, &d) == 0;
    }
    close(fd);
    return nr;
}

struct mapped { uint32_t nr; uint64_t seqs; };

static int see_extent(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct mapped *m = ctx;
    struct extent_rec rec;

    (void)key;
    cr_assert_eq(extent_rec_decode(value, len, &rec), 0);
    m->nr += rec.place.dev != EXTENT_NO_DEV;
    m->seqs += rec.place.dev != EXTENT_NO_DEV ? rec.destaged_seq : 0;
    return 0;
}

/* The extents of the metadata that have a place, and all that they were destaged up to. */
static struct mapped mapped(void)
{
    struct meta_key all = meta_key_tag('E');
    struct mapped sum = {0};
    struct meta *m;

    cr_assert_eq(pool_meta_open(&opts, false, true, &m, why), 0, "%s", why);
    cr_assert_eq(m->ops->scan_sync(m, &all, see_extent, &sum), 0);
    m->ops->close(m);
    return sum;
}

static uint64_t rebuild_losses(void)
{
    struct tier_check_report report;

    remove_all(opts.meta_path);
    strbuf_fini(&text);
    strbuf_init(&text);
    cr_assert_eq(tier_rebuild_map(&opts, opts.meta_path, &text, &report, why), 0, "%s", why);
    return report.losses;
}

/* All of the map comes back as it was, if nothing is lost. */
static uint64_t rebuild(void)
{
    struct mapped before = mapped(), after;
    uint64_t losses = rebuild_losses();

    after = mapped();
    cr_assert_eq(after.nr, before.nr);
    cr_assert_eq(after.seqs == before.seqs, losses == 0);
    return losses;
}

static void expect_text(const char *what, bool there)
{
    cr_assert_eq(strstr(strbuf_str(&text), what) != NULL, there, "\"%s\" in: %s", what, strbuf_str(&text));
}

/* ---- labels and records ---- */

static uint16_t shard_rec_version(void)
{
    struct meta_key key = meta_key_shard(0);
    uint8_t value[META_VALUE_MAX];
    uint32_t len = 0;
    struct meta *m;

    cr_assert_eq(pool_meta_open(&opts, false, true, &m, why), 0, "%s", why);
    cr_assert_eq(m->ops->get_sync(m, &key, value, &len), 0);
    m->ops->close(m);
    return value[0];
}

Test(rings, a_new_pool_has_one_on_each_disk_that_seeks)
{
    format();
    cr_assert_eq(label_of(0).incompat & LABEL_INCOMPAT_RING, 0u);
    cr_assert_eq(label_of(1).incompat, LABEL_INCOMPAT_RING);
    cr_assert_eq(label_of(1).ring_nr, 4 * HALF);
    cr_assert_eq(label_of(1).ext_base_bytes, ring_offset(4 * HALF));
    begin_in_ring("one");
    cr_assert_eq(entries(), EXTENTS);
    cr_assert_eq(shard_rec_version(), 4);
    open_pool();
    expect_all("one", 2);
    close_pool();
}

Test(rings, a_device_that_does_not_seek_and_an_older_pool_have_none)
{
    for (int older = 0; older < 2; older++) {
        opts.devs[1].media = older ? TIER_MEDIA_HDD : TIER_MEDIA_SSD;
        opts.ring_bytes = older ? RING_NONE : opts.ring_bytes;
        opts.force = true;
        format();
        cr_assert_eq(label_of(1).incompat, 0u);
        cr_assert_eq(label_of(1).ring_nr, 0u);
        cr_assert_eq(label_of(1).ext_base_bytes, LABEL_AREA_BYTES);
        begin_in_ring("one");
        cr_assert_eq(shard_rec_version(), 3, "as an older program knows it");
        cr_assert_eq(rebuild(), 0);
        expect_text("name=one bytes=8388608 extents=8", true);
        open_pool();
        expect_all("one", 2);
        close_pool();
    }
}

/* ---- rebuilding ---- */

Test(rings, a_map_is_rebuilt_from_the_ring_alone)
{
    format();
    begin_in_ring("one");
    change_regions(WIPE);
    cr_assert_eq(rebuild(), 0, "%s", strbuf_str(&text));
    expect_text("name=one bytes=8388608 extents=8", true);
    open_pool();
    expect_all("one", 2);
    settle_in_ring("one", 3);
    close_pool();
    cr_assert_eq(rebuild(), 0, "what was described since the last rebuild is younger");
    open_pool();
    expect_all("one", 3);
    close_pool();
}

Test(rings, what_is_rotten_in_its_region_is_no_loss_if_the_ring_has_it)
{
    format();
    begin_in_ring("one");
    for (uint32_t slot = 0; slot < EXTENTS; slot++)
        change(region_desc_offset(label_of(1).ext_base_bytes, slot), SPOIL);
    cr_assert_eq(rebuild(), 0, "%s", strbuf_str(&text));
    expect_text("extents=8", true);
    open_pool();
    expect_all("one", 2);
    close_pool();
}

Test(rings, an_entry_that_is_rotten_is_a_loss_and_the_older_description_counts)
{
    format();
    begin_in_ring("one");
    for (uint32_t i = 0; i < 4 * HALF; i++)
        change(ring_offset(i), SPOIL);
    cr_assert_eq(rebuild(), EXTENTS);
    expect_text("extents=8", true);
}

Test(rings, an_entry_of_another_pool_or_device_is_nothing)
{
    format();
    begin_in_ring("one");
    opts.force = true;
    format();
    cr_assert_eq(entries(), EXTENTS, "they are there still");
    open_pool();
    create("two");
    close_pool();
    cr_assert_eq(rebuild(), 0);
    expect_text("name=one", false);
}

/* Another shard's extents have the places now; they are described in their regions, or in the other part of the ring. */
static void gone_owner(bool in_ring)
{
    format();
    begin_in_ring("one");
    open_pool();
    delete("one");
    create("none");
    create("two");
    settle("two", 0, 1, 5);
    if (in_ring)
        settle_in_ring("two", 6);
    close_pool();
    cr_assert_eq(entries(), in_ring ? 2 * EXTENTS : EXTENTS);
    cr_assert_eq(rebuild(), 0, "%s", strbuf_str(&text));
    expect_text("name=one", false);
    expect_text("name=two bytes=8388608 extents=8", true);
    open_pool();
    expect_all("two", in_ring ? 6 : 5);
    close_pool();
}

Test(rings, an_entry_of_a_former_owner_does_not_count_beside_the_regions) { gone_owner(false); }
Test(rings, an_entry_of_a_former_owner_does_not_count_beside_a_younger_one) { gone_owner(true); }

/* Bytes alone do not tell: what was written since lies beside them, and nothing calls it lost. */
Test(rings, rot_in_a_region_is_a_loss_if_what_it_said_was_later_than_the_ring)
{
    format();
    begin_in_ring("one");
    open_pool();
    memset(buf, 3, sizeof(buf));
    do_io("one", BLK_WRITE, 1);
    close_pool();
    change(region_desc_offset(label_of(1).ext_base_bytes, 0), SPOIL);
    cr_assert_eq(rebuild(), 1, "%s", strbuf_str(&text));
    expect_text("extents=8", true);
}

Test(rings, rot_in_a_region_is_a_loss_if_it_was_of_another_extent_than_the_ring_has)
{
    format();
    begin_in_ring("one");
    open_pool();
    delete("one");
    create("none");
    create("two");
    memset(buf, 3, sizeof(buf));
    do_io("two", BLK_WRITE, 1);
    close_pool();
    change(region_desc_offset(label_of(1).ext_base_bytes, 0), SPOIL);
    cr_assert_gt(rebuild_losses(), 0, "%s", strbuf_str(&text));
}

/* A power cut, or an older copy of that device, has left the journal's label behind. */
Test(rings, descriptions_of_a_start_whose_labels_catch_up_are_younger_than_those_before)
{
    struct dev_open_opts o = {0};
    struct label l;
    struct dev *d;

    format();
    begin_in_ring("one");
    l = label_of(0);
    l.generation--;
    cr_assert_eq(dev_open(env, opts.devs[0].path, &o, &d, why), 0, "%s", why);
    cr_assert_eq(label_write(d, ROUND_DOWN(opts.devs[0].size_bytes, LABEL_BYTES), &l, 0), 0);
    dev_close(d);
    open_pool();
    settle("one", 3, 4, 3); /* two of those that the start before has described, and numbered higher */
    close_pool();
    cr_assert_eq(rebuild(), 0, "%s", strbuf_str(&text));
}

/* ---- devices with and without ---- */

static void create_on_hdd(const char *name)
{
    struct volume_params p = {.size_bytes = EXTENTS * MIB, .lba_bytes = 4096, .tier = VOLUME_HDD};
    struct answer a = {0};

    snprintf(p.name, sizeof(p.name), "%s", name);
    tier_volume_create(tier, &p, answered, &a);
    run_until(&a.done);
    cr_assert_eq(a.err, 0);
}

/* As if the extent in the disk's first slot had moved to flash, been described there, and been written since. */
static void leave_for_flash(void)
{
    static _Alignas(4096) uint8_t data[EXTENT_BYTES];
    struct label hdd = label_of(1), flash = label_of(2);
    uint32_t to = flash.ext_nr - 1;
    struct extent_desc desc;
    int from = open(opts.devs[1].path, O_RDONLY), fd = open(opts.devs[2].path, O_RDWR);

    cr_assert_eq(pread(from, buf, DESC_BYTES, (off_t)region_desc_offset(hdd.ext_base_bytes, 0)), DESC_BYTES);
    cr_assert_eq(pread(from, data, sizeof(data), (off_t)region_extent_offset(hdd.ext_base_bytes, 0)), (ssize_t)sizeof(data));
    cr_assert_eq(extent_desc_decode(buf, &desc), 0);
    cr_assert_neq(desc.age.generation, 0);
    desc.age = (struct desc_age){0};
    desc.device = flash.device;
    desc.slot = to;
    extent_desc_encode(&desc, buf);
    data[17] ^= 1;
    cr_assert_eq(pwrite(fd, buf, DESC_BYTES, (off_t)region_desc_offset(flash.ext_base_bytes, to)), DESC_BYTES);
    cr_assert_eq(pwrite(fd, data, sizeof(data), (off_t)region_extent_offset(flash.ext_base_bytes, to)), (ssize_t)sizeof(data));
    close(from);
    close(fd);
}

Test(rings, a_former_place_on_a_disk_is_not_taken_for_younger_than_one_on_flash)
{
    dev_add("flash", TIER_CAPACITY, 70 * MIB);
    opts.devs[2].media = TIER_MEDIA_SSD;
    format();
    open_pool();
    create_on_hdd("one");
    settle("one", 0, 1, 1);
    close_pool();
    leave_for_flash();
    cr_assert_eq(rebuild_losses(), 1, "%s", strbuf_str(&text));
    expect_text("two places say the same", true);
}
