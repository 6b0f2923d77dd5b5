/* SPDX-License-Identifier: Apache-2.0 */
/* heads_test.c: how long the headers of a pool's segments are, as its label says: one block in a new pool, 4096 bytes in one that an
 * older program formatted; on the journal's device and on one of copies alone.
 */
#include "rig.h"

#include <stdio.h>

#include "journal/format.h"
#include "tier/label.h"
#include "tier/pool.h"

static void begin(void)
{
    on_machine(7, 1);
    opts.segment_bytes = 256 * 1024;
    opts.journal_align = 512;
    dev_add("journal", TIER_JOURNAL, 16 * MIB);
    dev_add("hdd", TIER_CAPACITY, 70 * MIB);
    dev_add("cache", TIER_CACHE, 10 * MIB);
}

TestSuite(heads, .init = begin, .fini = off_machine, .timeout = 60);

static struct label label_of(unsigned i, bool older)
{
    struct sim_disk *disk = sim_machine_disk(&machine, opts.devs[i].path);
    struct label_copies copies;
    struct label l;
    struct dev *d;

    cr_assert_eq(sim_dev_open(disk, envs[0], &d), 0);
    cr_assert_eq(label_read(d, sim_disk_size(disk), &l, &copies), 0);
    if (older) {
        l.incompat = 0;
        cr_assert_eq(label_write(d, sim_disk_size(disk), &l, 0), 0);
    }
    dev_close(d);
    return l;
}

/* ---- heads ---- */

static uint32_t heads_found(const struct segpool_geometry *geo, const char *path)
{
    struct jrn_seg_header h;
    uint32_t n = 0;

    for (uint32_t g = 0; g < geo->nr_segments; g++) {
        sim_disk_peek(sim_machine_disk(&machine, path), geo->base_bytes + (uint64_t)g * geo->segment_bytes, buf, sizeof(buf));
        n += jrn_seg_header_decode(geo, g, buf, &h) == 0;
    }
    return n;
}

/* What is written at later starts, too, is as the label says. */
static void lives_with(bool older, uint32_t bytes)
{
    struct segpool_geometry geo;

    format_pool();
    cr_assert_eq(label_of(0, older).incompat, older ? 0 : LABEL_INCOMPAT_SHORT_HEADS);
    cr_assert_eq(label_of(1, false).incompat | label_of(2, false).incompat, 0);
    open_pool();
    volume_make("a", 8 * MIB);
    put(volume("a"), 0, 1);
    close_pool();
    for (uint64_t i = 1; i < 4; i++) {
        open_pool();
        geo = *segpool_geometry(tier->segpool);
        cr_assert_eq(geo.head_bytes, bytes);
        cr_assert_eq(segpool_area(tier->segpool, 1)->head_bytes, bytes);
        expect(volume("a"), i - 1, (int)i);
        put(volume("a"), i, (int)i + 1);
        close_pool();
    }
    cr_assert_gt(heads_found(&geo, "journal"), 0u);
    geo.head_bytes = bytes == 512 ? 4096 : 512;
    cr_assert_eq(heads_found(&geo, "journal"), 0u);
    cr_assert_eq(label_of(0, false).incompat, older ? 0 : LABEL_INCOMPAT_SHORT_HEADS, "labels are written anew at each start");
}

Test(heads, a_new_pool_with_blocks_of_512_bytes_has_heads_of_one_block) { lives_with(false, 512); }
Test(heads, an_older_pool_keeps_its_own) { lives_with(true, 4096); }

Test(heads, a_pool_with_blocks_of_4096_bytes_is_what_an_older_program_knows)
{
    opts.journal_align = 0;
    format_pool();
    cr_assert_eq(label_of(0, false).incompat, 0);
}

static void added_later(bool older, uint32_t bytes)
{
    opts.nr_devs = 2;
    format_pool();
    label_of(0, older);
    open_pool();
    volume_make("a", 8 * MIB);
    put(volume("a"), 0, 1);
    close_pool();
    opts.nr_devs = 3;
    cr_assert_eq(tier_cache_add(&opts, why), 0, "%s", why);
    cr_assert_eq(label_of(2, false).incompat, 0);
    cr_assert_eq(label_of(0, false).incompat, older ? 0 : LABEL_INCOMPAT_SHORT_HEADS);
    open_pool();
    cr_assert_eq(segpool_areas(tier->segpool), 2u);
    cr_assert_eq(segpool_area(tier->segpool, 1)->head_bytes, bytes);
    expect(volume("a"), 0, 1);
    close_pool();
}

/* The pool's bit stays the journal's: no other label may have it. */
Test(heads, a_cache_device_that_is_added_later_has_the_heads_of_its_pool) { added_later(false, 512); }
Test(heads, a_cache_device_that_is_added_to_an_older_pool_has_its_heads) { added_later(true, 4096); }

/* ---- copies on other devices ---- */

static void copy_to_blocks_of(unsigned i, uint32_t block_bytes)
{
    struct sim_disk *old = sim_machine_disk(&machine, opts.devs[i].path);
    struct sim_disk_opts o = {.size_bytes = sim_disk_size(old), .block_bytes = block_bytes, .torn_bytes = block_bytes};
    struct sim_disk *copy = sim_disk_new(sim, "copy", &o);

    for (uint64_t at = 0; at < o.size_bytes; at += sizeof(buf)) {
        sim_disk_peek(old, at, buf, sizeof(buf));
        sim_disk_poke(copy, at, buf, sizeof(buf));
    }
    for (unsigned m = 0; m < SIM_MACHINE_DISKS; m++)
        if (machine.disk[m] == old)
            machine.disk[m] = copy;
    sim_disk_free(old);
}

static void begin_with_one_block(uint32_t align)
{
    opts.journal_align = align;
    format_pool();
    open_pool();
    volume_make("a", 8 * MIB);
    put(volume("a"), 0, 1);
    close_pool();
}

static void refused_for_its_blocks(int err)
{
    cr_assert_eq(err, -FIRN_E_INVALID);
    cr_assert(strstr(why, "journal device") && strstr(why, "blocks of 4096 bytes") && strstr(why, "places of 512"), "%s", why);
}

Test(heads, a_copy_of_the_log_on_larger_blocks_is_refused_and_says_why)
{
    uint64_t generation;

    begin_with_one_block(512);
    generation = label_of(0, false).generation;
    copy_to_blocks_of(0, 4096);
    refused_for_its_blocks(tier_probe(&opts, why));
    refused_for_its_blocks(tier_open(&opts, &tier, why));
    cr_assert_eq(label_of(0, false).generation, generation);
    copy_to_blocks_of(0, 512);
    open_pool();
    expect(volume("a"), 0, 1);
    close_pool();
}

Test(heads, a_copy_of_the_log_on_smaller_blocks_goes_on_as_it_was)
{
    begin_with_one_block(4096);
    copy_to_blocks_of(0, 512);
    open_pool();
    cr_assert_eq(segpool_geometry(tier->segpool)->head_bytes, 4096u);
    expect(volume("a"), 0, 1);
    close_pool();
}

/* Its copies are lost with it, and nothing else. */
Test(heads, a_copy_of_a_cache_device_on_larger_blocks_is_left_out)
{
    begin_with_one_block(512);
    copy_to_blocks_of(2, 4096);
    open_pool();
    cr_assert_eq(segpool_areas(tier->segpool), 1u);
    expect(volume("a"), 0, 1);
    close_pool();
}
