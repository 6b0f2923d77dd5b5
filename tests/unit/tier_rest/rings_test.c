/* SPDX-License-Identifier: Apache-2.0 */
/* rings_test.c: pools whose disks have a ring of descriptions, and those that were formatted without: what their labels and records say,
 * and that a map can be rebuilt from what the ring has. On real files and LMDB.
 */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tier/label.h"
#include "tier/pool.h"

#define EXTENTS 8u            /* of each volume */
#define HALF    32u

static struct strbuf text;

static void begin(void)
{
    on_files();
    opts.nr_shards = 2;
    opts.ring_bytes = 2 * 2 * HALF * DESC_BYTES;
    opts.dirty_start_pct = 90; /* nothing settles before a drain */
    opts.dirty_max_pct = 95;
    dev_add("journal", TIER_JOURNAL, 40 * MIB);
    dev_add("hdd", TIER_CAPACITY, 70 * MIB);
    opts.devs[0].media = TIER_MEDIA_SSD;
    opts.devs[1].media = TIER_MEDIA_HDD;
    strbuf_init(&text);
}

static void end(void)
{
    strbuf_fini(&text);
    off_files();
}

TestSuite(rings, .init = begin, .fini = end, .timeout = 120);

static void drain(void)
{
    bool drained = false;

    tier_drain(tier, true, raise_flag, &drained);
    run_until(&drained);
}

static void drain_and_close(void)
{
    drain();
    close_pool();
}

static void create(const char *name) { (void)volume_make(name, EXTENTS * MIB); }

static void delete(const char *name)
{
    struct answer a = {0};

    tier_volume_delete(tier, name, answered, &a);
    cr_assert_eq(answer_of(&a), 0);
}

/* One block of every `step`th extent from `from` on; then all of it settles and is described. */
static void settle(const char *name, uint32_t from, uint32_t step, int byte)
{
    for (uint32_t no = from; no < EXTENTS; no += step)
        put(volume(name), (uint64_t)no * EXTENT_BLOCKS, byte);
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
    for (uint32_t no = 0; no < EXTENTS; no++)
        expect(volume(name), (uint64_t)no * EXTENT_BLOCKS, byte);
}

/* A pool with a volume whose newest descriptions lie in the ring alone. Closed. */
static void begin_in_ring(const char *name)
{
    open_pool();
    create(name);
    settle(name, 0, 1, 1);
    settle_in_ring(name, 2);
    drain_and_close();
}

/* ---- bytes on the disk ---- */

static struct label label_of(unsigned i)
{
    struct label_copies copies;
    struct dev_open_opts o = {.read_only = true};
    struct label l;
    struct dev *d;

    cr_assert_eq(dev_open(envs[0], opts.devs[i].path, &o, &d, why), 0, "%s", why);
    cr_assert_eq(label_read(d, ROUND_DOWN(opts.devs[i].size_bytes, LABEL_BYTES), &l, &copies), 0);
    dev_close(d);
    return l;
}

enum change { WIPE, SPOIL, SPOIL_MAGIC };
static void change(uint64_t off, enum change how)
{
    int fd = open(opts.devs[1].path, O_RDWR);

    cr_assert_eq(pread(fd, buf, DESC_BYTES, (off_t)off), DESC_BYTES);
    if (how == WIPE)
        memset(buf, 0, sizeof(buf));
    else
        buf[how == SPOIL ? 100 : 8] ^= 1;
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

    shell("rm -r %s", opts.meta_path);
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
    format_pool();
    cr_assert_eq(label_of(0).incompat & LABEL_INCOMPAT_RING, 0u);
    cr_assert_eq(label_of(1).incompat, LABEL_INCOMPAT_RING);
    cr_assert_eq(label_of(1).ring_nr, 4 * HALF);
    cr_assert_eq(label_of(1).ext_base_bytes, ring_offset(4 * HALF));
    begin_in_ring("one");
    cr_assert_eq(entries(), EXTENTS);
    cr_assert_eq(shard_rec_version(), 5, "4, and stopped in order");
    open_pool();
    expect_all("one", 2);
    drain_and_close();
}

Test(rings, a_device_that_does_not_seek_and_an_older_pool_have_none)
{
    for (int older = 0; older < 2; older++) {
        opts.devs[1].media = older ? TIER_MEDIA_HDD : TIER_MEDIA_SSD;
        opts.ring_bytes = older ? RING_NONE : opts.ring_bytes;
        opts.force = true;
        format_pool();
        cr_assert_eq(label_of(1).incompat, 0u);
        cr_assert_eq(label_of(1).ring_nr, 0u);
        cr_assert_eq(label_of(1).ext_base_bytes, LABEL_AREA_BYTES);
        begin_in_ring("one");
        cr_assert_eq(shard_rec_version(), 5, "3, and stopped in order");
        cr_assert_eq(rebuild(), 0);
        expect_text("name=one bytes=8388608 extents=8", true);
        open_pool();
        expect_all("one", 2);
        drain_and_close();
    }
}

/* ---- rebuilding ---- */

Test(rings, a_map_is_rebuilt_from_the_ring_alone)
{
    format_pool();
    begin_in_ring("one");
    change_regions(WIPE);
    cr_assert_eq(rebuild(), 0, "%s", strbuf_str(&text));
    expect_text("name=one bytes=8388608 extents=8", true);
    open_pool();
    expect_all("one", 2);
    settle_in_ring("one", 3);
    drain_and_close();
    cr_assert_eq(rebuild(), 0, "what was described since the last rebuild is younger");
    open_pool();
    expect_all("one", 3);
    drain_and_close();
}

static void rot_regions(enum change how)
{
    format_pool();
    begin_in_ring("one");
    for (uint32_t slot = 0; slot < EXTENTS; slot++)
        change(region_desc_offset(label_of(1).ext_base_bytes, slot), how);
    cr_assert_eq(rebuild(), 0, "%s", strbuf_str(&text));
    expect_text("extents=8", true);
    open_pool();
    expect_all("one", 2);
    drain_and_close();
}

Test(rings, what_is_rotten_in_its_region_is_no_loss_if_the_ring_has_it) { rot_regions(SPOIL); }
Test(rings, nor_is_what_has_a_rotten_magic_there) { rot_regions(SPOIL_MAGIC); }

static void rot_ring(enum change how)
{
    format_pool();
    begin_in_ring("one");
    for (uint32_t i = 0; i < 4 * HALF; i++)
        change(ring_offset(i), how);
    cr_assert_eq(rebuild(), EXTENTS);
    expect_text("extents=8", true);
}

Test(rings, an_entry_that_is_rotten_is_a_loss_and_the_older_description_counts) { rot_ring(SPOIL); }
Test(rings, so_is_an_entry_whose_magic_is_rotten) { rot_ring(SPOIL_MAGIC); }

Test(rings, an_entry_of_another_pool_or_device_is_nothing)
{
    format_pool();
    begin_in_ring("one");
    opts.force = true;
    format_pool();
    cr_assert_eq(entries(), EXTENTS, "they are there still");
    open_pool();
    create("two");
    drain_and_close();
    cr_assert_eq(rebuild(), 0);
    expect_text("name=one", false);
}

/* Another shard's extents have the places now; they are described in their regions, or in the other part of the ring. */
static void gone_owner(bool in_ring)
{
    format_pool();
    begin_in_ring("one");
    open_pool();
    delete("one");
    create("none");
    create("two");
    settle("two", 0, 1, 5);
    if (in_ring)
        settle_in_ring("two", 6);
    drain_and_close();
    cr_assert_eq(entries(), in_ring ? 2 * EXTENTS : EXTENTS);
    cr_assert_eq(rebuild(), 0, "%s", strbuf_str(&text));
    expect_text("name=one", false);
    expect_text("name=two bytes=8388608 extents=8", true);
    open_pool();
    expect_all("two", in_ring ? 6 : 5);
    drain_and_close();
}

Test(rings, an_entry_of_a_former_owner_does_not_count_beside_the_regions) { gone_owner(false); }
Test(rings, an_entry_of_a_former_owner_does_not_count_beside_a_younger_one) { gone_owner(true); }

/* Bytes alone do not tell: what was written since lies beside them, and nothing calls it lost. */
Test(rings, rot_in_a_region_is_a_loss_if_what_it_said_was_later_than_the_ring)
{
    format_pool();
    begin_in_ring("one");
    open_pool();
    put(volume("one"), 1, 3);
    drain_and_close();
    change(region_desc_offset(label_of(1).ext_base_bytes, 0), SPOIL);
    cr_assert_eq(rebuild(), 1, "%s", strbuf_str(&text));
    expect_text("extents=8", true);
}

Test(rings, rot_in_a_region_is_a_loss_if_it_was_of_another_extent_than_the_ring_has)
{
    format_pool();
    begin_in_ring("one");
    open_pool();
    delete("one");
    create("none");
    create("two");
    put(volume("two"), 1, 3);
    drain_and_close();
    change(region_desc_offset(label_of(1).ext_base_bytes, 0), SPOIL);
    cr_assert_gt(rebuild_losses(), 0, "%s", strbuf_str(&text));
}

/* A power cut, or an older copy of that device, has left the journal's label behind. */
Test(rings, descriptions_of_a_start_whose_labels_catch_up_are_younger_than_those_before)
{
    struct dev_open_opts o = {0};
    struct label l;
    struct dev *d;

    format_pool();
    begin_in_ring("one");
    l = label_of(0);
    l.generation--;
    cr_assert_eq(dev_open(envs[0], opts.devs[0].path, &o, &d, why), 0, "%s", why);
    cr_assert_eq(label_write(d, ROUND_DOWN(opts.devs[0].size_bytes, LABEL_BYTES), &l, 0), 0);
    dev_close(d);
    open_pool();
    settle("one", 3, 4, 3); /* two of those that the start before has described, and numbered higher */
    drain_and_close();
    cr_assert_eq(rebuild(), 0, "%s", strbuf_str(&text));
}

/* ---- devices with and without ---- */

static void create_on_hdd(const char *name)
{
    struct volume_params p = {.size_bytes = EXTENTS * MIB, .lba_bytes = 4096, .tier = VOLUME_HDD};
    struct answer a = {0};

    snprintf(p.name, sizeof(p.name), "%s", name);
    tier_volume_create(tier, &p, answered, &a);
    cr_assert_eq(answer_of(&a), 0);
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
    format_pool();
    open_pool();
    create_on_hdd("one");
    settle("one", 0, 1, 1);
    drain_and_close();
    leave_for_flash();
    cr_assert_eq(rebuild_losses(), 1, "%s", strbuf_str(&text));
    expect_text("two places say the same", true);
}
