/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata from an older copy, when segments of the log that it still counts on hold clean copies by now, or were opened again: the groups
 * that named later batches are gone, and hosts wrote none since. The start is refused all the same. */
#include <stdlib.h>

#include "base/err.h"
#include "copies.h"

#define VOLUME  1536u /* blocks */
#define FIRST   1024u /* what is in the log alone when the metadata is copied */
#define NR      200u
#define OPS_MAX 512u

struct snapshot { struct meta_op op[OPS_MAX]; uint32_t nr; uint64_t commit_no; };

static char buf[16 * BLOCK_BYTES] __attribute__((aligned(4096)));

static int keep_record(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct snapshot *c = ctx;
    void *copy = malloc(len);

    cr_assert(c->nr < OPS_MAX && copy != NULL);
    memcpy(copy, value, len);
    c->op[c->nr++] = (struct meta_op){.key = *key, .value = copy, .value_len = len};
    return 0;
}

static void snapshot(struct rig *r, struct snapshot *c)
{
    struct meta_key all = {.len = 0};

    c->nr = 0;
    c->commit_no = meta_commit_no(r->meta);
    cr_assert_eq(r->meta->ops->scan_sync(r->meta, &all, keep_record, c), 0);
}

/* After a crash. */
static void restore(struct rig *r, struct snapshot *c)
{
    struct meta *m;

    sim_meta_store_free(r->store);
    r->store = sim_meta_store_new(r->sim);
    cr_assert_eq(sim_meta_open(r->store, &m), 0);
    m->ops->number_from(m, c->commit_no - 1);
    cr_assert_eq(m->ops->commit_sync(m, c->op, c->nr), 0);
    cr_assert_eq(meta_commit_no(m), c->commit_no);
    m->ops->close(m);
    while (c->nr > 0)
        free((void *)(uintptr_t)c->op[--c->nr].value);
}

/* Most is cold; the last that was written lies in the log alone, and not in its newest segment. */
static void begin(struct rig *r)
{
    rig_init(r, &(struct rig_opts){.seed = 91, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = 14});
    r->opts.admit_touches = 1;
    cr_assert_eq(rig_boot(r), 0);
    for (uint64_t b = 0; b < FIRST; b += 16)
        cr_assert_eq(rig_write(r, b, 16, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    for (uint64_t b = FIRST; b < FIRST + NR; b += 8)
        cr_assert_eq(rig_write(r, b, 8, 2), 0);
    for (uint64_t b = 0; b < 70; b++)
        cr_assert_eq(rig_write(r, 1500, 1, 3), 0);
    sim_run_for(r->sim, 5 * NS_PER_S);
}

Test(places_rollback, older_metadata_is_told_by_a_segment_of_copies, .timeout = 60)
{
    static struct snapshot old;
    uint32_t g;
    struct rig r;

    begin(&r);
    g = (uint32_t)((rig_log_offset(&r, FIRST) - r.geo.base_bytes) / r.geo.segment_bytes);
    snapshot(&r, &old);
    rig_drain(&r, true);
    shard_start(r.shard);
    for (unsigned round = 0; round < 60 && r.shard->seg[g].use != SEGMENT_SLOTS; round++) {
        copies_drop_log(&r);
        copies_make(&r, 0, FIRST, 1);
        sim_run_for(r.sim, 2 * NS_PER_S);
    }
    cr_assert_eq(r.shard->seg[g].use, SEGMENT_SLOTS);
    cr_assert_eq(dev_flush_sync(r.ssd_dev), 0);
    rig_crash(&r);
    restore(&r, &old);
    cr_assert_eq(rig_boot(&r), -FIRN_E_ROLLED_BACK);
    cr_assert_gt(r.report.meta_commit_no_max, old.commit_no);
    rig_fini(&r);
}

/* What is open is closed: what comes later begins in segments of its own. */
static void seal_open(struct rig *r)
{
    for (uint32_t g = 0; g < r->o.segments; g++)
        if (r->shard->seg[g].use == SEGMENT_LOG_OPEN)
            journal_segment_seal(r->shard->j, g);
    sim_run_for(r->sim, 5 * NS_PER_S);
}

/* As if the machine had stopped each time before the first group in it was written. */
static void empty_segment(struct rig *r, uint32_t g)
{
    uint64_t base = r->geo.base_bytes + g * (uint64_t)r->geo.segment_bytes;

    memset(buf, 0, sizeof(buf));
    for (uint32_t at = 4096; at < r->geo.segment_bytes; at += BLOCK_BYTES)
        sim_disk_poke(r->ssd, base + at, buf, BLOCK_BYTES);
}

Test(places_rollback, older_metadata_is_told_by_a_segment_of_the_log_that_was_only_opened, .timeout = 60)
{
    static struct snapshot old;
    uint64_t newest = 0, epoch;
    uint32_t g;
    struct rig r;

    begin(&r);
    g = (uint32_t)((rig_log_offset(&r, FIRST) - r.geo.base_bytes) / r.geo.segment_bytes);
    epoch = r.shard->seg[g].epoch;
    seal_open(&r);
    for (uint32_t k = 0; k < r.o.segments; k++)
        if (r.shard->seg[k].use == SEGMENT_LOG_SEALED)
            newest = MAX(newest, r.shard->seg[k].epoch);
    snapshot(&r, &old);
    rig_drain(&r, true);
    shard_start(r.shard);
    for (unsigned i = 0; i < 2000 && (r.shard->seg[g].use == SEGMENT_FREE || r.shard->seg[g].epoch == epoch); i++) {
        cr_assert_eq(rig_write(&r, i * 16 % FIRST, 16, 4), 0);
        if (i % 16 == 0) {
            rig_drain(&r, true);
            shard_start(r.shard);
        }
    }
    cr_assert(r.shard->seg[g].use == SEGMENT_LOG_OPEN || r.shard->seg[g].use == SEGMENT_LOG_SEALED);
    cr_assert_eq(dev_flush_sync(r.ssd_dev), 0);
    for (uint32_t k = 0; k < r.o.segments; k++)
        if (r.shard->seg[k].epoch > newest)
            empty_segment(&r, k);
    rig_crash(&r);
    restore(&r, &old);
    cr_assert_eq(rig_boot(&r), -FIRN_E_ROLLED_BACK);
    cr_assert_gt(r.report.meta_commit_no_max, old.commit_no);
    rig_fini(&r);
}
