/* SPDX-License-Identifier: Apache-2.0 */
/* rollback_test.c: a pool whose metadata was restored from an older copy, on real files and LMDB: what is lost may be accepted,
 * and then nothing of it comes back in a wrong place, and it is accepted once.
 */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "journal/priv.h"
#include "tier/pool.h"

static void begin(void)
{
    on_files();
    dev_add("journal", TIER_JOURNAL, 24 * MIB);
    dev_add("hdd", TIER_CAPACITY, 70 * MIB);
    format_pool();
}

TestSuite(rollback, .init = begin, .fini = off_files, .timeout = 120);

static void open_with_loss(void)
{
    cr_assert_lt(tier_open(&opts, &tier, why), 0, "the loss is seen");
    opts.accept_loss = true;
    open_pool();
    opts.accept_loss = false;
}

static struct blk *create(const char *name) { return volume_make(name, 8 * MIB); }

static void meta_keep(void) { shell("cp -r %s %s.old", opts.meta_path, opts.meta_path); }

static void meta_back(void)
{
    shell("rm -r %s", opts.meta_path);
    shell("cp -r %s.old %s", opts.meta_path, opts.meta_path);
}

/* The header of the one group that has a record of that layer; its successor's echo still names it. */
static void rot_group_of(uint64_t layer)
{
    int fd = open(opts.devs[0].path, O_RDWR);
    uint32_t hits = 0;

    for (uint64_t off = LABEL_AREA_BYTES; off < opts.devs[0].size_bytes - LABEL_AREA_BYTES; off += sizeof(buf)) {
        uint64_t at;

        cr_assert_eq(pread(fd, buf, sizeof(buf), (off_t)off), (ssize_t)sizeof(buf));
        memcpy(&at, buf + 64, sizeof(at));
        if (memcmp(buf + 4, "FRNG", 4) != 0 || at != layer)
            continue;
        cr_assert_eq(pwrite(fd, "rot", 3, (off_t)off), 3);
        hits++;
    }
    close(fd);
    cr_assert_eq(hits, 1u);
}

/* The copy knows one volume; a second one came and went with the metadata, but for its bytes in the log. */
static void lose_a_volume(void)
{
    open_pool();
    put(create("one"), 0, 1);
    close_pool();
    meta_keep();
    open_pool();
    put(create("secret"), 7, 0xab);
    put(volume("one"), 1, 2);
}

static void a_new_volume_is_empty(void)
{
    expect(create("other"), 7, 0);
    close_pool();
    open_pool();
    expect(volume("other"), 7, 0);
    expect(volume("one"), 0, 1);
    close_pool();
}

Test(rollback, a_new_volume_never_has_the_bytes_of_one_that_was_lost)
{
    lose_a_volume();
    close_pool();
    meta_back();
    open_with_loss();
    a_new_volume_is_empty();
}

Test(rollback, a_layer_that_only_damage_names_counts_as_given_away)
{
    lose_a_volume();
    tier_close(tier); /* a crash: there is no summary yet, and the headers are looked at */
    rot_group_of(2);
    meta_back();
    open_with_loss();
    a_new_volume_is_empty();
}

Test(rollback, a_rebuilt_map_counts_layers_that_only_damage_names)
{
    struct tier_check_report report;
    struct strbuf text;

    lose_a_volume();
    tier_close(tier);
    rot_group_of(2);
    shell("rm -r %s", opts.meta_path);
    strbuf_init(&text);
    cr_assert_eq(tier_rebuild_map(&opts, opts.meta_path, &text, &report, why), 0, "%s", why);
    cr_assert_geq(report.losses, 1u, "%s", strbuf_str(&text));
    cr_assert_null(strstr(strbuf_str(&text), "recovered-2"), "nothing is left of it: %s", strbuf_str(&text));
    strbuf_fini(&text);
    open_with_loss();
    expect(create("other"), 7, 0);
    close_pool();
    open_pool();
    expect(volume("other"), 7, 0);
    close_pool();
}

/* Many batches were lost, so that what an orderly stop commits does not make up for them. */
static void lose_batches(void)
{
    char name[16];

    open_pool();
    put(create("one"), 0, 1);
    close_pool();
    meta_keep();
    open_pool();
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "v%u", i);
        create(name);
    }
    put(volume("one"), 1, 2);
    tier_close(tier);
    meta_back();
}

Test(rollback, a_loss_is_accepted_once)
{
    lose_batches();
    open_with_loss();
    close_pool();
    open_pool();
    expect(volume("one"), 1, 2);
    tier_close(tier); /* and after a crash */
    open_pool();
    close_pool();
}

static uint64_t loss_told(void)
{
    struct tier_info i;

    tier_info_get(tier, &i);
    return i.loss_wall_ns;
}

static void cleared(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    cr_assert_eq(err, 0);
    cr_assert(blk == NULL && info == NULL);
    *(bool *)ctx = true;
}

/* What is committed while no server runs has a number too: so many of those would hide that batches are missing. */
Test(rollback, cache_devices_that_come_and_go_hide_no_loss)
{
    uint32_t without = opts.nr_devs, refused = 0;

    lose_batches();
    dev_add("cache", TIER_CACHE, 8 * MIB);
    for (unsigned i = 0; i < 60; i++) {
        opts.nr_devs = without + (i + 1) % 2;
        refused += tier_cache_add(&opts, why) == -FIRN_E_ROLLED_BACK;
    }
    opts.nr_devs = without;
    open_with_loss();
    cr_assert_eq(refused, 60);
    close_pool();
    opts.nr_devs = without + 1;
    cr_assert_eq(tier_cache_add(&opts, why), 0, "%s", why);
    open_pool();
    expect(volume("one"), 1, 2);
    tier_close(tier);
    cr_assert_eq(tier_cache_add(&opts, why), 0, "after a crash: %s", why);
    open_pool();
    close_pool();
}

Test(rollback, a_loss_that_was_accepted_is_told_until_it_is_cleared)
{
    uint64_t when;
    bool done = false;

    lose_batches();
    opts.accept_loss = true;
    open_pool();
    when = loss_told();
    cr_assert_neq(when, 0);
    tier_close(tier);
    opts.accept_loss = false;
    open_pool();
    cr_assert_eq(loss_told(), when, "also after a crash");
    create("other"); /* writes the record that holds it */
    tier_loss_clear(tier, cleared, &done);
    run_until(&done);
    cr_assert_eq(loss_told(), 0);
    close_pool();
    opts.accept_loss = true; /* of what is whole nothing is accepted */
    open_pool();
    cr_assert_eq(loss_told(), 0);
    close_pool();
}

Test(rollback, ids_that_only_lost_batches_gave_away_are_left_out)
{
    struct volume_info info;

    lose_batches();
    open_with_loss();
    create("other");
    cr_assert_eq(tier_volume_get(tier, "other", &info, NULL), 0);
    cr_assert_gt(info.id, 21u, "one, and the twenty that nothing names any more");
    close_pool();
}

static void two_shards(void)
{
    static struct env *two[2];

    two[0] = two[1] = envs[0];
    shell("rm -rf %s/*", dir);
    opts.envs = two;
    opts.nr_envs = 2;
    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    open_pool();
    put(create("a"), 0, 1);
    put(create("b"), 0, 1);
}

static struct blk *on_the_second_shard(void)
{
    static const char *const names[] = {"a", "b"};
    struct volume_info info;

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        cr_assert_eq(tier_volume_get(tier, names[i], &info, NULL), 0);
        if (info.shard == 1)
            return volume(names[i]);
    }
    cr_assert(false);
    return NULL;
}

/* Shard 0's log says nothing of the lost batches, shard 1's does: what the one does in a start that the other refuses must not
 * make it look newer the next time. */
Test(rollback, a_refused_open_stays_refused)
{
    two_shards();
    close_pool();
    meta_keep();
    open_pool();
    create("secret");
    put(on_the_second_shard(), 1, 2);
    tier_close(tier);
    meta_back();
    for (unsigned i = 0; i < 30; i++)
        cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_ROLLED_BACK, "try %u: %s", i, why);
}

Test(rollback, one_lost_batch_is_seen_by_any_shard)
{
    struct blk *on1;

    two_shards();
    close_pool();
    open_pool();
    on1 = on_the_second_shard();
    meta_keep();
    create("secret");
    put(on1, 1, 2);
    tier_close(tier);
    meta_back();
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_ROLLED_BACK, "try %u: %s", i, why);
}

/* ---- numbers so high that what is written behind them would not be believed -------------------------------------------------- */

static int journal_file(void)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/journal", dir);
    fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    return fd;
}

Test(rollback, an_epoch_that_leaves_none_for_the_next_is_refused)
{
    struct jrn_seg_header h = {.epoch = NUMBER_MEDIA_MAX, .group_floor = 1, .seq_floor = 1};
    struct segpool_geometry geo;
    uint32_t last;
    off_t at;
    int fd;

    open_pool();
    geo = *segpool_geometry(tier->segpool);
    put(create("a"), 0, 1);
    close_pool();
    last = geo.nr_segments - 1;
    at = (off_t)(geo.base_bytes + (uint64_t)last * geo.segment_bytes);
    fd = journal_file();
    memset(buf, 0, sizeof(buf));
    jrn_seg_header_encode(&geo, last, &h, buf);
    cr_assert_eq(pwrite(fd, buf, JRN_SEG_HEADER_BYTES, at), JRN_SEG_HEADER_BYTES);
    for (int i = 0; i < 2; i++)
        cr_assert_lt(tier_open(&opts, &tier, why), 0);
    memset(buf, 0, sizeof(buf));
    cr_assert_eq(pwrite(fd, buf, JRN_SEG_HEADER_BYTES, at), JRN_SEG_HEADER_BYTES);
    close(fd);
    open_pool();
    expect(volume("a"), 0, 1);
    close_pool();
}

static void footers_claim(uint64_t meta_commit_no)
{
    struct segpool_geometry geo = *segpool_geometry(tier->segpool);
    int fd = journal_file(), n = 0;

    close_pool();
    for (uint32_t g = 0; g < geo.nr_segments; g++) {
        off_t at = (off_t)(geo.base_bytes + (uint64_t)g * geo.segment_bytes + jrn_footer_off(&geo));
        struct jrn_footer f;

        if (pread(fd, buf, geo.head_bytes, at) != (ssize_t)geo.head_bytes || jrn_footer_decode(&geo, g, buf, &f) != 0)
            continue;
        f.meta_commit_no = meta_commit_no;
        jrn_footer_encode(&geo, g, &f, buf);
        cr_assert_eq(pwrite(fd, buf, geo.head_bytes, at), (ssize_t)geo.head_bytes);
        n++;
    }
    close(fd);
    cr_assert_gt(n, 0);
}

Test(rollback, a_batch_that_leaves_no_number_for_the_next_is_refused_also_when_loss_is_accepted)
{
    open_pool();
    put(create("a"), 0, 1);
    footers_claim(NUMBER_MEDIA_MAX);
    opts.accept_loss = true;
    for (int i = 0; i < 2; i++)
        cr_assert_lt(tier_open(&opts, &tier, why), 0);
}

Test(rollback, metadata_that_leave_no_number_for_the_next_batch_are_refused)
{
    open_pool();
    tier->meta->ops->number_from(tier->meta, NUMBER_START_MAX - 1);
    put(create("a"), 0, 1);
    put(create("b"), 0, 1);
    close_pool();
    cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_CORRUPT, "%s", why);
}

/* Bytes of a host may look like a group: what they claim must stop nobody. */
Test(rollback, an_epoch_that_a_host_wrote_takes_no_numbers)
{
    uint64_t before;

    open_pool();
    before = segpool_epoch_seen(tier->segpool, 0);
    cr_assert_eq(segpool_epoch_seen(tier->segpool, NUMBER_MEDIA_MAX), before);
    cr_assert_eq(segpool_epoch_seen(tier->segpool, NUMBER_START_MAX + 1), before);
    cr_assert_eq(segpool_epoch_seen(tier->segpool, before + 7), before + 7);
    close_pool();
}

Test(rollback, a_group_that_a_host_wrote_stops_no_start_where_a_header_rots)
{
    struct jrn_record zero = {.type = JOURNAL_ZERO, .layer = 1, .nblocks = 1, .seq = 1};
    struct jrn_group g = {.epoch = NUMBER_MEDIA_MAX, .number = 1, .nr_records = 1};
    struct segpool_geometry geo;
    uint64_t at;
    int fd;

    open_pool();
    geo = *segpool_geometry(tier->segpool);
    put(create("a"), 0, 1);
    close_pool();
    at = geo.base_bytes + (uint64_t)(geo.nr_segments - 1) * geo.segment_bytes;
    fd = journal_file();
    memset(buf, 0x5a, sizeof(buf));
    cr_assert_eq(pwrite(fd, buf, JRN_SEG_HEADER_BYTES, (off_t)at), JRN_SEG_HEADER_BYTES);
    memset(buf, 0, sizeof(buf));
    jrn_record_encode(&zero, buf + JRN_FIXED_BYTES);
    jrn_group_encode(&geo, geo.nr_segments - 1, 8 * JRN_SEG_HEADER_BYTES, &g, buf);
    cr_assert_eq(jrn_group_decode(&geo, geo.nr_segments - 1, 8 * JRN_SEG_HEADER_BYTES, buf, sizeof(buf), &g), 0);
    cr_assert_eq(pwrite(fd, buf, sizeof(buf), (off_t)(at + 8 * JRN_SEG_HEADER_BYTES)), (ssize_t)sizeof(buf));
    close(fd);
    open_pool();
    expect(volume("a"), 0, 1);
    close_pool();
}
