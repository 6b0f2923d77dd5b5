/* SPDX-License-Identifier: Apache-2.0 */
/* describe_test.c: when extents are described on their devices, what the descriptions say, and what a failed one costs. */
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

/* A pool that crashed behind a destage: its extents settled, nobody knows whether they were described. */
static void settle_and_crash(struct rig *r, uint64_t seed)
{
    boot(r, seed);
    cr_assert_eq(rig_write(r, 0, 4, 1), 0);
    rig_drain(r, true);
    rig_restart(r);
    cr_assert_gt(r->report.segments_scanned, 0);
    cr_assert_eq(shard_stats(r->shard)->descriptor_writes, 0);
    describe_after_crash(r->shard);
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
    describe_after_crash(r.shard);
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
    rig_drain(r, true);
    rig_restart(r);
    describe_after_crash(r->shard);
    shard_kick(r->shard);
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
