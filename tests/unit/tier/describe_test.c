/* SPDX-License-Identifier: Apache-2.0 */
/* describe_test.c: when extents are described on their devices, what the descriptions say, and what a failed one costs. */
#include "tier/mover.h"
#include "rig.h"

static _Alignas(4096) char buf[DESC_BYTES];

static const struct extent *extent_of(struct rig *r, uint32_t no)
{
    uint32_t x = extent_find(&r->shard->xt, layer_find(r->shard, RIG_LAYER), no);

    cr_assert_neq(x, EXTENT_NONE);
    return extent_at(&r->shard->xt, x);
}

/* 0 if the extent's description is there and says what the map says. */
static int described(struct rig *r, uint32_t no, struct extent_desc *d)
{
    const struct extent *e = extent_of(r, no);
    int err = dev_read_sync(r->hdd_dev[e->place.dev], cold_desc_offset(r->cold, e->place), buf, sizeof(buf));

    cr_assert_eq(err, 0);
    err = extent_desc_decode(buf, d);
    if (err)
        return err;
    cr_assert_eq(d->layer, RIG_LAYER);
    cr_assert_eq(d->slot, e->place.slot);
    return d->extent == no && d->destaged_seq == e->destaged_seq ? 0 : -FIRN_E_NOT_FOUND;
}

static void boot(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed});
    cr_assert_eq(rig_boot(r), 0);
}

Test(describe, a_drain_leaves_every_settled_extent_described)
{
    struct extent_desc d;
    struct rig r;

    boot(&r, 21);
    for (uint32_t no = 0; no < 4; no++)
        cr_assert_eq(rig_write(&r, no * EXTENT_BLOCKS + 3, 2, 1), 0);
    rig_drain(&r, true);
    for (uint32_t no = 0; no < 4; no++) {
        cr_assert_eq(described(&r, no, &d), 0, "extent %u", no);
        cr_assert(bit_get(d.sums.valid, 3) && bit_get(d.sums.valid, 4) && !bit_get(d.sums.valid, 5));
    }
    cr_assert_eq(shard_stats(r.shard)->descriptor_bytes, 4 * DESC_BYTES);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 1, "neighbours share a write");
    cr_assert_eq(rig_write(&r, 3, 1, 2), 0);
    rig_drain(&r, true);
    cr_assert_eq(described(&r, 0, &d), 0, "again when it settles again");
    cr_assert_eq(shard_stats(r.shard)->descriptor_bytes, 5 * DESC_BYTES, "and no other");
    rig_fini(&r);
}

Test(describe, what_was_discarded_is_not_described)
{
    struct rig r;

    boot(&r, 22);
    cr_assert_eq(rig_write(&r, 260, 20, 1), 0);
    cr_assert_eq(rig_zero(&r, 256, 256), 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_used(&r), 0);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 0);
    rig_fini(&r);
}

/* Everything is destaged, and nothing described yet. */
static void settle(struct rig *r)
{
    r->shard->t.dirty_start_pct = 0;
    shard_start(r->shard);
    for (int i = 0; i < 100 && r->shard->ix.nr_dirty > 0; i++)
        cr_assert_eq(sim_run_for(r->sim, 10 * NS_PER_MS), 0);
    cr_assert_eq(r->shard->ix.nr_dirty, 0);
    cr_assert_eq(shard_stats(r->shard)->descriptor_writes, 0);
}

/* A pool that crashed behind a destage: its extents settled, and were not described. */
static void settle_and_crash(struct rig *r, uint64_t seed)
{
    boot(r, seed);
    cr_assert_eq(rig_write(r, 0, 4, 1), 0);
    settle(r);
    rig_restart(r);
    cr_assert_gt(r->report.segments_scanned, 0);
    cr_assert_eq(shard_stats(r->shard)->descriptor_writes, 0);
    shard_verify(r->shard);
}

Test(describe, after_a_crash_a_quiet_device_gets_what_may_be_missing)
{
    struct extent_desc d;
    struct rig r;

    settle_and_crash(&r, 23);
    shard_kick(r.shard);
    cr_assert_eq(sim_run_for(r.sim, POLICY_SETTLED_NS / 2), 0);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 0, "one alone is not worth a way there yet");
    cr_assert_eq(sim_run_for(r.sim, POLICY_SETTLED_NS), 0);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 1, "without any drain");
    cr_assert_eq(described(&r, 0, &d), 0);
    shard_verify(r.shard);
    rig_fini(&r);
}

Test(describe, a_failed_write_is_not_repeated_and_holds_nothing_up)
{
    struct rig r;

    settle_and_crash(&r, 24);
    sim_disk_fail_nth(r.hdd[extent_of(&r, 0)->place.dev], DEV_WRITE, 1, 1);
    rig_drain(&r, false);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 1);
    rig_drain(&r, true);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 1);
    rig_expect(&r, 0, 4, 1);
    cr_assert_eq(rig_write(&r, 0, 4, 2), 0);
    rig_drain(&r, true);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 2, "the next destage describes it");
    rig_fini(&r);
}

Test(describe, an_extent_whose_checksums_are_lost_is_left_out)
{
    struct rig r;

    settle_and_crash(&r, 25);
    cr_assert(sim_meta_rot(r.store, 'C'));
    rig_restart(&r);
    rig_drain(&r, false);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 0);
    rig_fini(&r);
}

/* The lane destages again and again: there is never a minute of silence. */
Test(describe, one_alone_is_described_when_it_has_waited_for_long)
{
    struct extent_desc d;
    uint64_t waited = 0;
    struct rig r;

    settle_and_crash(&r, 28);
    for (; shard_stats(r.shard)->descriptor_writes == 0 && waited < 2 * POLICY_OVERDUE_NS; waited += POLICY_SETTLED_NS / 4) {
        for (uint32_t i = 0; i < RIG_HDDS; i++)
            r.shard->lanes[i].destage_last_ns = env_now_ns(r.env);
        shard_kick(r.shard);
        cr_assert_eq(sim_run_for(r.sim, POLICY_SETTLED_NS / 4), 0);
    }
    cr_assert_geq(waited, POLICY_OVERDUE_NS - POLICY_SETTLED_NS);
    cr_assert_leq(waited, POLICY_OVERDUE_NS + POLICY_SETTLED_NS);
    cr_assert_eq(described(&r, 0, &d), 0);
    rig_fini(&r);
}

/* 200 extents on two devices of 120 settled, and a crash: all of them are due. */
static void settle_many_and_crash(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .hdd_extents = 120, .volume_blocks = 200 * EXTENT_BLOCKS});
    cr_assert_eq(rig_boot(r), 0);
    for (uint32_t no = 0; no < 200; no++)
        cr_assert_eq(rig_write(r, no * EXTENT_BLOCKS + no, 1, 1), 0);
    settle(r);
    rig_restart(r);
}

static uint32_t due_in(struct rig *r, uint32_t dev, uint32_t region)
{
    return slotset_group(&r->shard->xt.dev[dev].due, region * REGION_EXTENTS);
}

Test(describe, a_region_with_many_does_not_wait_for_those_with_few)
{
    uint64_t ripe = 0;
    struct rig r;

    settle_many_and_crash(&r, 27);
    for (uint32_t i = 0; i < 2 * RIG_HDDS; i++) {
        ripe += due_in(&r, i / 2, i % 2) >= EXTENT_RIPE ? due_in(&r, i / 2, i % 2) : 0;
        cr_assert_eq(slotset_has(&r.shard->xt.dev[i / 2].ripe, i % 2), due_in(&r, i / 2, i % 2) >= EXTENT_RIPE);
    }
    cr_assert_eq(sim_run_for(r.sim, POLICY_SETTLED_NS / 2), 0);
    cr_assert_eq(shard_stats(r.shard)->descriptor_bytes, ripe * DESC_BYTES);
    for (uint32_t i = 0; i < 2 * RIG_HDDS; i++)
        cr_assert_lt(due_in(&r, i / 2, i % 2), EXTENT_RIPE);
    cr_assert_leq(shard_stats(r.shard)->descriptor_writes, 3 * 2 * RIG_HDDS, "neighbours share a write");
    shard_verify(r.shard);
    rig_fini(&r);
}

Test(describe, more_extents_than_a_batch_are_described_batch_by_batch)
{
    struct extent_desc d;
    struct rig r;

    settle_many_and_crash(&r, 26);
    cr_assert_eq(sim_run_for(r.sim, 2 * POLICY_SETTLED_NS), 0);
    for (uint32_t no = 0; no < 200; no++)
        cr_assert_eq(described(&r, no, &d), 0, "extent %u", no);
    cr_assert_eq(shard_stats(r.shard)->descriptor_bytes, 200 * DESC_BYTES);
    shard_verify(r.shard);
    rig_fini(&r);
}

/* MANY extents on two devices; of every STEPth one a block more settled than its description says. Their regions have too few of
 * them to be described soon. */
#define MANY 3800u
#define STEP 7u

static void settle_some_again(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .hdd_extents = 32 * REGION_EXTENTS, .volume_blocks = MANY * EXTENT_BLOCKS});
    cr_assert_eq(rig_boot(r), 0);
    for (uint32_t no = 0; no < MANY; no++)
        cr_assert_eq(rig_write(r, (uint64_t)no * EXTENT_BLOCKS, 1, 1), 0);
    rig_drain(r, true);
    for (uint32_t no = 0; no < MANY; no += STEP)
        cr_assert_eq(rig_write(r, (uint64_t)no * EXTENT_BLOCKS + 255, 1, 2), 0);
    r->shard->t.dirty_start_pct = 0;
    shard_start(r->shard);
    cr_assert_eq(sim_run_for(r->sim, POLICY_SETTLED_NS / 4), 0);
    cr_assert_eq(r->shard->ix.nr_dirty, 0);
}

static uint32_t stale(struct rig *r)
{
    struct extent_desc d;
    uint32_t nr = 0;

    for (uint32_t no = 0; no < MANY; no += STEP)
        nr += described(r, no, &d) != 0 || !bit_get(d.sums.valid, 255);
    return nr;
}

Test(describe, what_a_stop_had_no_time_for_is_described_after_the_next_start)
{
    struct rig r;

    settle_some_again(&r, 29);
    for (uint32_t i = 0; i < RIG_HDDS; i++)
        sim_disk_faults(r.hdd[i])->delayed = 1000000;
    rig_stop(&r);
    for (uint32_t i = 0; i < RIG_HDDS; i++)
        sim_disk_faults(r.hdd[i])->delayed = 0;
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(r.report.segments_scanned, 0, "an orderly stop");
    shard_start(r.shard);
    cr_assert_eq(sim_run_for(r.sim, 3 * POLICY_OVERDUE_NS), 0);
    cr_assert_eq(stale(&r), 0, "%u of %u", stale(&r), MANY / STEP);
    rig_fini(&r);
}

Test(describe, what_was_due_when_the_log_went_on_is_described_after_a_crash)
{
    struct rig r;

    settle_some_again(&r, 30);
    for (uint64_t i = 0; i < 3000; i++) { /* elsewhere: the log goes round */
        cr_assert_eq(rig_write(&r, EXTENT_BLOCKS + i % 2 * 8, 8, 3 + i), 0);
        cr_assert_eq(sim_run_for(r.sim, 10 * NS_PER_MS), 0);
    }
    rig_restart(&r);
    cr_assert_gt(r.report.segments_scanned, 0);
    cr_assert_eq(sim_run_for(r.sim, 3 * POLICY_OVERDUE_NS), 0);
    cr_assert_eq(stale(&r), 0, "%u of %u", stale(&r), MANY / STEP);
    rig_fini(&r);
}
