/* SPDX-License-Identifier: Apache-2.0 */
/* room_test.c: the room that a start reserves for what the log holds, told without a start: the same to the extent. On real files;
 * a volume that was deleted is back in a map that was rebuilt, or rolled back, and has places that another one was promised.
 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "tier/check.h"
#include "tier/tier.h"

#define OLD_EXTENTS 40u

static struct strbuf text;
static struct tier_check_report report;
static char then[80];       /* a copy of the metadata */
static unsigned nr_new;     /* extents of "new" with a block in the log, but for zeroes() */

static void begin(void)
{
    on_files();
    dev_add("journal", TIER_JOURNAL, 24 * MIB);
    dev_add("hdd", TIER_CAPACITY, 64 * MIB);
    format_pool();
    strbuf_init(&text);
}

static void end(void)
{
    strbuf_fini(&text);
    off_files();
}

TestSuite(room, .init = begin, .fini = end, .timeout = 120);

static struct blk *create(const char *name) { return volume_make(name, 64 * MIB); }

static void erase(const char *name)
{
    struct answer a = {0};

    tier_volume_delete(tier, name, answered, &a);
    cr_assert_eq(answer_of(&a), 0);
}

/* Of these four extents two need a place: what is zeroed, whole or block by block, needs none. */
static void zeroes(struct blk *b)
{
    for (unsigned x = 60; x <= 62; x++)
        put(b, x * 256 + 7, 3);
    put(b, 61 * 256 + 8, 3);
    cr_assert_eq(do_io(b, BLK_WRITE_ZEROES, 60 * 256, 256, NULL), 0);
    cr_assert_eq(do_io(b, BLK_DISCARD, 61 * 256 + 8, 1, NULL), 0);
    cr_assert_eq(do_io(b, BLK_WRITE_ZEROES, 62 * 256 + 7, 1, NULL), 0);
    cr_assert_eq(do_io(b, BLK_WRITE_ZEROES, 63 * 256, 256, NULL), 0);
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
    tier_drain(tier, true, raise_flag, &drained);
    run_until(&drained);
    tier_info_get(tier, &info);
    close_pool();
    snprintf(then, sizeof(then), "%s/then", dir);
    shell("cp -r %s %s", opts.meta_path, then);
    cr_assert_eq(tier_open(&opts, &tier, why), 0, "%s", why);
    erase("old");
    cr_assert_eq(tier_volume_get(tier, "new", NULL, &new), 0);
    nr_new = (unsigned)(info.capacity_bytes / MIB) - OLD_EXTENTS - 2 + more;
    cr_assert_leq(nr_new, 60u);
    for (unsigned i = 0; i < nr_new; i++)
        put(new, i * 256, (int)i + 2);
    zeroes(new);
    close_pool();
    shell("rm -r %s", opts.meta_path);
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
        cr_assert_eq(do_io(b, BLK_READ, i * 256, 1, buf), 0);
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
        shell("mv %s %s", then, opts.meta_path);
        strbuf_fini(&text);
        strbuf_init(&text);
        cr_assert_eq(tier_check(&opts, TIER_CHECK_DATA, &text, &report, why), 0, "%s", why);
        cr_assert_eq(strstr(strbuf_str(&text), "I13") != NULL, more == 1, "%s", strbuf_str(&text));
        opts.accept_loss = true; /* it was rolled back */
        cr_assert_eq(tier_open(&opts, &tier, why), more == 1 ? -FIRN_E_NO_SPACE : 0, "%s", why);
        if (more == 0)
            close_pool();
        opts.accept_loss = false;
        shell("rm -r %s", opts.meta_path);
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
