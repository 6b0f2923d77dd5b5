/* SPDX-License-Identifier: Apache-2.0 */
/* old_map_test.c: a map that was rebuilt, or restored from an older copy, may be older than what lies on the devices; copies on the SSD may
 * be just as old. On real files and LMDB.
 */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "tier/map.h"
#include "tier/places.h"
#include "tier/pool.h"
#include "tier/priv.h"

static void begin(void)
{
    on_files();
    dev_add("journal", TIER_JOURNAL, 40 * MIB);
    dev_add("hdd", TIER_CAPACITY, 70 * MIB);
    format_pool();
}

TestSuite(old_map, .init = begin, .fini = off_files, .timeout = 120);

static struct blk *create(const char *name) { return volume_make(name, 8 * MIB); }

/* ---- what the test is about ---- */

static void drain(struct shard *s)
{
    bool drained = false;

    shard_drain(s, true, raise_flag, &drained);
    run_until(&drained);
    shard_start(s);
}

/* As reclaim does it, if the segment of the block is closed and empty but for that. */
static uint32_t forget_in_ram(struct shard *s, uint64_t *epoch)
{
    uint32_t id = index_find(&s->ix, 1, 0), g = id / s->ix.slots_per_segment;

    cr_assert_neq(id, INDEX_NONE);
    *epoch = s->seg[g].epoch;
    map_remove(s, id);
    return g;
}

static void free_segment(uint32_t g, uint64_t epoch)
{
    uint8_t value[64];
    struct meta_op op = {.key = meta_key_segment(g), .value = value, .value_len = segment_rec_encode(epoch, value)};
    struct meta *m;

    cr_assert_eq(pool_meta_open(&opts, false, false, &m, why), 0, "%s", why);
    cr_assert_eq(m->ops->commit_sync(m, &op, 1), 0);
    m->ops->close(m);
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
        cr_assert_eq(env_run_once(envs[0]), 0);
    id = places_take(s, 1, FILL_MAIN);
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

static struct shard *shard0(void) { return tier->shards[0]; }

/* The first block rests in an extent, and a clean copy of it in the log. */
static uint64_t begin_in_log(void)
{
    struct blk *b;

    open_pool();
    b = create("one");
    put(b, 0, 1);
    drain(shard0());
    cr_assert_neq(index_find(&shard0()->ix, 1, 0), INDEX_NONE);
    return cold_offset(tier->cold, extent_at(&shard0()->xt, extent_find(&shard0()->xt, 1, 0))->place);
}

/* The same, but the copy is in a place. */
static uint64_t begin_in_place(void)
{
    uint64_t off = begin_in_log(), epoch;
    struct blk *b = volume("one");
    uint32_t g;

    for (unsigned i = 0; i < 600; i++) /* the log goes on in the next segments */
        put(b, 256 + i, (int)(i % 250 + 1));
    drain(shard0());
    g = forget_in_ram(shard0(), &epoch);
    copy_first_block(shard0(), container_of(b, struct volume, blk)->layer, 1);
    expect(b, 0, 1);
    close_pool();
    free_segment(g, epoch);
    open_pool();
    cr_assert(in_place(shard0(), index_find(&shard0()->ix, 1, 0)));
    expect(volume("one"), 0, 1);
    return off;
}

static void rebuild_map(void)
{
    struct tier_check_report report;
    struct strbuf text;

    shell("rm -r %s", opts.meta_path);
    strbuf_init(&text);
    cr_assert_eq(tier_rebuild_map(&opts, opts.meta_path, &text, &report, why), 0, "%s", why);
    cr_assert_eq(report.losses, 0u, "%s", strbuf_str(&text));
    strbuf_fini(&text);
}

/* The pool is closed; what follows is committed, told to the log, and lost again. */
static void roll_back(void)
{
    char cmd[640], name[16];

    snprintf(cmd, sizeof(cmd), "cp -r %s %s.old", opts.meta_path, opts.meta_path);
    cr_assert_eq(system(cmd), 0, "%s", cmd);
    open_pool();
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "v%u", i);
        create(name);
    }
    put(volume("one"), 1100, 2);
    tier_close(tier);
    shell("rm -r %s", opts.meta_path);
    snprintf(cmd, sizeof(cmd), "mv %s.old %s", opts.meta_path, opts.meta_path);
    cr_assert_eq(system(cmd), 0, "%s", cmd);
    cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_ROLLED_BACK, "%s", why);
}

/* Also in later starts, and if a device comes back that was not there. */
static void is_damaged_for_good(bool accept_loss)
{
    for (unsigned i = 0; i < 3; i++) {
        opts.accept_loss = accept_loss && i == 0;
        open_pool();
        cr_assert_eq(do_io(volume("one"), BLK_READ, 0, 1, buf), -FIRN_E_DAMAGED, "start %u: an error is better than an older version", i);
        if (i == 1)
            tier_close(tier);
        else
            close_pool();
    }
}

Test(old_map, a_rebuilt_map_believes_no_copies_in_places)
{
    uint64_t off = begin_in_place();

    close_pool();
    write_past_the_map(off);
    rebuild_map();
    is_damaged_for_good(false);
}

/* As if the extent had moved from there: nobody has taken the place since. The pool is open. */
static void leave_former_place(void)
{
    static _Alignas(4096) uint8_t data[EXTENT_BYTES];
    uint64_t base = tier->devs.dev[1].label.ext_base_bytes;
    uint32_t from = extent_at(&shard0()->xt, extent_find(&shard0()->xt, 1, 0))->place.slot, to = tier->devs.dev[1].label.ext_nr - 1;
    int fd = open(opts.devs[1].path, O_RDWR);
    struct extent_desc desc;

    close_pool();
    cr_assert_eq(pread(fd, buf, DESC_BYTES, (off_t)region_desc_offset(base, from)), DESC_BYTES);
    cr_assert_eq(pread(fd, data, sizeof(data), (off_t)region_extent_offset(base, from)), (ssize_t)sizeof(data));
    cr_assert_eq(extent_desc_decode(buf, &desc), 0);
    desc.slot = to;
    extent_desc_encode(&desc, buf);
    cr_assert_eq(pwrite(fd, buf, DESC_BYTES, (off_t)region_desc_offset(base, to)), DESC_BYTES);
    cr_assert_eq(pwrite(fd, data, sizeof(data), (off_t)region_extent_offset(base, to)), (ssize_t)sizeof(data));
    close(fd);
}

static uint64_t rebuild_losses(void)
{
    struct tier_check_report report;
    struct strbuf text;

    shell("rm -r %s", opts.meta_path);
    strbuf_init(&text);
    cr_assert_eq(tier_rebuild_map(&opts, opts.meta_path, &text, &report, why), 0, "%s", why);
    cr_assert_eq(strstr(strbuf_str(&text), "two places") != NULL, report.losses > 0);
    strbuf_fini(&text);
    return report.losses;
}

Test(old_map, a_former_place_that_is_whole_is_as_good_as_the_new_one)
{
    (void)begin_in_place();
    leave_former_place();
    cr_assert_eq(rebuild_losses(), 0);
    open_pool();
    expect(volume("one"), 0, 1);
    close_pool();
}

/* It has what was there before: whoever wants that has to say so. */
Test(old_map, a_former_place_is_not_taken_for_the_newest_without_a_word)
{
    uint64_t off = begin_in_place();

    leave_former_place();
    write_past_the_map(off);
    cr_assert_eq(rebuild_losses(), 1);
    cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_ROLLED_BACK, "%s", why);
    opts.accept_loss = true;
    open_pool();
    close_pool();
}

Test(old_map, a_rebuilt_map_believes_no_clean_copies_in_the_log)
{
    uint64_t off = begin_in_log();

    close_pool();
    write_past_the_map(off);
    rebuild_map();
    is_damaged_for_good(false);
}

Test(old_map, an_older_map_believes_no_copies_in_places)
{
    uint64_t off = begin_in_place();

    close_pool();
    roll_back();
    write_past_the_map(off);
    is_damaged_for_good(true);
}

Test(old_map, an_older_map_believes_no_clean_copies_in_the_log)
{
    uint64_t off = begin_in_log();

    close_pool();
    roll_back();
    write_past_the_map(off);
    is_damaged_for_good(true);
}

/* The same for copies on a device of their own: it may be away when the loss is accepted, or the map rebuilt, and come back. */
static void with_cache(void)
{
    shell("rm -r %s", dir);
    cr_assert_eq(mkdir(dir, 0700), 0);
    dev_add("cache", TIER_CACHE, 8 * MIB);
    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
}

static void cache_moves(const char *from, const char *to)
{
    char cmd[640];

    snprintf(cmd, sizeof(cmd), "mv %s/%s %s/%s", dir, from, dir, to);
    cr_assert_eq(system(cmd), 0, "%s", cmd);
}

static void damaged_with_cache_away(bool accept_loss)
{
    cache_moves("cache", "away");
    opts.accept_loss = accept_loss;
    open_pool();
    opts.accept_loss = false;
    cr_assert_eq(segpool_areas(tier->segpool), 1u);
    close_pool();
    cache_moves("away", "cache");
    is_damaged_for_good(false);
}

Test(old_map, an_older_map_believes_no_copies_on_a_cache_device)
{
    uint64_t off;

    with_cache();
    off = begin_in_place();
    cr_assert_eq(segpool_areas(tier->segpool), 2u);
    close_pool();
    roll_back();
    write_past_the_map(off);
    is_damaged_for_good(true);
}

Test(old_map, an_older_map_believes_no_copies_on_a_cache_device_that_comes_back)
{
    uint64_t off;

    with_cache();
    off = begin_in_place();
    close_pool();
    roll_back();
    write_past_the_map(off);
    damaged_with_cache_away(true);
}

Test(old_map, a_rebuilt_map_believes_no_copies_on_a_cache_device)
{
    uint64_t off;

    with_cache();
    off = begin_in_place();
    close_pool();
    write_past_the_map(off);
    rebuild_map();
    is_damaged_for_good(false);
}

/* What is copied from then on counts. */
Test(old_map, copies_that_come_after_a_loss_was_accepted_outlive_a_start)
{
    struct blk *b;
    uint32_t id;

    (void)begin_in_place();
    close_pool();
    roll_back();
    opts.accept_loss = true;
    open_pool();
    opts.accept_loss = false;
    b = volume("one");
    cr_assert_eq(index_find(&shard0()->ix, 1, 0), INDEX_NONE);
    copy_first_block(shard0(), container_of(b, struct volume, blk)->layer, 1);
    put(b, 5, 5);
    drain(shard0());
    close_pool();
    open_pool();
    id = index_find(&shard0()->ix, 1, 0);
    cr_assert(id != INDEX_NONE && in_place(shard0(), id));
    cr_assert_neq(index_find(&shard0()->ix, 1, 5), INDEX_NONE);
    expect(volume("one"), 0, 1);
    expect(volume("one"), 5, 5);
    close_pool();
}
