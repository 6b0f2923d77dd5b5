/* SPDX-License-Identifier: Apache-2.0 */
/* described_test.c: what the metadata calls described is described on its device, whatever happened, and what is not is due. */
#include "tier/describe.h"
#include "rig.h"

#define EXTENTS 40u
#define OPS     24u
#define CRASHES 60u

static const struct described *of(const struct rig *r) { return &r->shard->described; }

static void boot_with(struct rig *r, uint64_t seed, uint32_t ring_nr, bool flash)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .hdd_extents = 120, .volume_blocks = EXTENTS * EXTENT_BLOCKS, .ring_nr = ring_nr,
                                   .flash = flash});
    cr_assert_eq(rig_boot(r), 0);
}

static void boot(struct rig *r, uint64_t seed) { boot_with(r, seed, 0, false); }

/* As the device keeps it through a power failure. */
static bool says_what_the_map_says(struct rig *r, const struct extent *e)
{
    struct extent_desc d;

    return rig_description(r, e, &d) == 0 && d.extent == e->no && d.destaged_seq == e->destaged_seq;
}

/* A start has just been: of what is not due, all says on its device what the map says. Returns how many that are. */
static uint32_t expect_described(struct rig *r)
{
    uint32_t nr = 0;

    for (uint32_t x = 1; x <= r->shard->xt.touched; x++) {
        const struct extent *e = extent_at(&r->shard->xt, x);

        if (e->layer == 0 || !(e->flags & EXTENT_RECORD) || !extent_mapped(e) || e->destaged_seq > of(r)->loaded)
            continue;
        cr_assert(says_what_the_map_says(r, e), "extent %u, destaged %lu, described %lu", e->no, (unsigned long)e->destaged_seq,
                  (unsigned long)of(r)->seq);
        nr++;
    }
    return nr;
}

Test(described, nothing_is_described_twice_because_of_a_crash)
{
    struct rig r;

    boot(&r, 61);
    for (uint32_t no = 0; no < EXTENTS; no++)
        cr_assert_eq(rig_write(&r, no * EXTENT_BLOCKS, 2, 1), 0);
    rig_drain(&r, true);
    cr_assert_eq(of(&r)->seq, r.shard->seq_high);
    cr_assert_eq(of(&r)->said, of(&r)->seq, "the drain has committed it");
    rig_restart(&r);
    cr_assert_eq(expect_described(&r), EXTENTS);
    cr_assert_eq(sim_run_for(r.sim, 2 * POLICY_OVERDUE_NS), 0);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 0);
    rig_fini(&r);
}

Test(described, a_shard_that_has_said_all_commits_and_flushes_nothing_more)
{
    uint64_t batches, flushes;
    struct rig r;

    boot(&r, 62);
    r.shard->t.dirty_start_pct = 0;
    for (uint32_t no = 0; no < EXTENTS; no++)
        cr_assert_eq(rig_write(&r, no * EXTENT_BLOCKS, 2, 1), 0);
    cr_assert_eq(sim_run_for(r.sim, 3 * POLICY_SETTLED_NS), 0);
    cr_assert_eq(of(&r)->said, r.shard->seq_high, "without any drain");
    cr_assert_eq(sim_run_for(r.sim, POLICY_SETTLED_NS), 0); /* heat, too */
    batches = shard_stats(r.shard)->meta_batches;
    flushes = r.hdd_dev[0]->stats.ops[DEV_FLUSH] + r.hdd_dev[1]->stats.ops[DEV_FLUSH];
    cr_assert_eq(sim_run_for(r.sim, 2 * POLICY_OVERDUE_NS), 0);
    cr_assert_eq(shard_stats(r.shard)->meta_batches, batches);
    cr_assert_eq(r.hdd_dev[0]->stats.ops[DEV_FLUSH] + r.hdd_dev[1]->stats.ops[DEV_FLUSH], flushes);
    rig_restart(&r);
    cr_assert_eq(expect_described(&r), EXTENTS);
    rig_fini(&r);
}

/* All settled; then descriptions, of which one write or the flush behind them fails. */
static void describe_badly(enum dev_op op, uint64_t seed, uint32_t ring_nr)
{
    struct rig r;

    boot_with(&r, seed, ring_nr, false);
    for (uint32_t no = 0; no < EXTENTS; no++)
        cr_assert_eq(rig_write(&r, no * EXTENT_BLOCKS, 2, 1), 0);
    r.shard->t.dirty_start_pct = 0;
    shard_kick(r.shard);
    for (int i = 0; i < 100 && r.shard->ix.nr_dirty > 0; i++)
        cr_assert_eq(sim_run_for(r.sim, 10 * NS_PER_MS), 0);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 0);
    for (uint32_t i = 0; i < RIG_HDDS; i++)
        sim_disk_fail_nth(r.hdd[i], op, 1, 1);
    cr_assert_eq(sim_run_for(r.sim, 3 * POLICY_SETTLED_NS), 0);
    cr_assert_gt(shard_stats(r.shard)->descriptor_writes, 0);
    cr_assert(of(&r)->stuck);
    cr_assert_eq(of(&r)->seq, 0);
    rig_drain(&r, false);
    rig_restart(&r);
    cr_assert_eq(of(&r)->seq, 0);
    cr_assert_eq(expect_described(&r), 0, "all are due");
    cr_assert_eq(sim_run_for(r.sim, 3 * POLICY_SETTLED_NS), 0);
    cr_assert_gt(of(&r)->seq, 0);
    rig_restart(&r);
    cr_assert_eq(expect_described(&r), EXTENTS);
    rig_fini(&r);
}

Test(described, a_description_that_could_not_be_written_is_due_at_the_next_start) { describe_badly(DEV_WRITE, 63, 0); }
Test(described, descriptions_behind_a_failed_flush_are_due_at_the_next_start) { describe_badly(DEV_FLUSH, 64, 0); }
Test(described, so_is_one_that_the_ring_did_not_take) { describe_badly(DEV_WRITE, 67, 64); }
Test(described, so_are_those_of_the_ring_behind_a_failed_flush) { describe_badly(DEV_FLUSH, 68, 64); }

/* Another one settles with an S that is not above what is called described: its own batch takes that back. */
Test(described, a_destage_that_names_a_lower_seq_is_due)
{
    struct rig r;

    boot(&r, 65);
    cr_assert_eq(rig_write(&r, 0, 2, 1), 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_write(&r, EXTENT_BLOCKS, 2, 1), 0);
    r.shard->described.seq = r.shard->described.said = r.shard->seq_high; /* as if the zero that holds S down had come before */
    r.shard->t.dirty_start_pct = 0;
    shard_kick(r.shard);
    cr_assert_eq(sim_run_for(r.sim, NS_PER_S), 0);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    cr_assert_lt(of(&r)->seq, r.shard->seq_high);
    rig_restart(&r);
    cr_assert_eq(expect_described(&r), 1);
    rig_fini(&r);
}

static void one_op(struct rig *r, uint64_t stamp)
{
    uint64_t block = sim_below(r->sim, (EXTENTS - 2) * EXTENT_BLOCKS);
    uint32_t n = 1 + (uint32_t)sim_below(r->sim, 16);

    switch (sim_below(r->sim, 8)) {
    case 0:
        cr_assert_eq(rig_zero(r, block, n), 0);
        break;
    case 1:
        cr_assert_eq(rig_zero(r, block / EXTENT_BLOCKS * EXTENT_BLOCKS, EXTENT_BLOCKS), 0);
        break;
    case 2:
        cr_assert_eq(sim_run_for(r->sim, sim_below(r->sim, 3) == 0 ? 2 * POLICY_SETTLED_NS : sim_below(r->sim, NS_PER_S)), 0);
        break;
    case 3:
        rig_drain(r, sim_below(r->sim, 3) == 0);
        shard_start(r->shard);
        break;
    default:
        cr_assert_eq(rig_write(r, block, n, stamp), 0);
        break;
    }
}

static void crash_often(uint64_t seed, uint32_t ring_nr, bool flash)
{
    uint64_t stamp = 1;
    uint32_t nr = 0;
    struct rig r;

    boot_with(&r, seed, ring_nr, flash);
    for (uint32_t crash = 0; crash < CRASHES; crash++) {
        r.shard->t.dirty_start_pct = crash % 3 == 0 ? 60 : 0;
        for (uint32_t i = 0, n = (uint32_t)sim_below(r.sim, OPS); i < n; i++)
            one_op(&r, stamp++);
        if (sim_below(r.sim, 4) == 0) {
            rig_stop(&r);
            cr_assert_eq(rig_boot(&r), 0);
        } else {
            rig_restart(&r);
        }
        shard_verify(r.shard);
        nr += expect_described(&r);
    }
    cr_assert_gt(nr, CRASHES * 4);
    rig_fini(&r);
}

Test(described, what_is_not_due_after_any_crash_is_described, .timeout = 120) { crash_often(66, 0, false); }
Test(described, so_it_is_with_a_ring_of_any_size, .timeout = 120)
{
    for (uint32_t half = 1; half <= 64; half *= 2)
        crash_often(70 + half, 2 * half, half % 3 == 1);
}

/* Every fifth extent, on one device: eight ways, or one into the ring. */
static void write_sparsely(struct rig *r, uint32_t from, uint64_t stamp)
{
    for (uint32_t no = from; no < EXTENTS; no += 5)
        cr_assert_eq(rig_write(r, (uint64_t)no * EXTENT_BLOCKS, 1, stamp), 0);
}

static uint32_t ringed(const struct rig *r)
{
    return r->shard->xt.dev[0].ringed[0].nr + r->shard->xt.dev[0].ringed[1].nr;
}

/* Half of the ring is full, and what comes next needs the other one. */
static void fill_half(struct rig *r, uint64_t seed)
{
    boot_with(r, seed, 16, false);
    r->shard->t.dirty_start_pct = 0;
    for (uint32_t no = 0; no < EXTENTS; no++)
        cr_assert_eq(rig_write(r, (uint64_t)no * EXTENT_BLOCKS, 1, 1), 0);
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(sim_run_for(r->sim, 3 * POLICY_SETTLED_NS), 0);
        write_sparsely(r, i, 2 + i);
    }
}

/* Returns whether there was a crash so early. */
static bool crash_in_turn(uint64_t seed, uint32_t events)
{
    uint32_t before;
    bool crashed;
    struct rig r;

    fill_half(&r, seed);
    before = r.shard->ring[0].cur;
    sim_crash_in_events(r.sim, events);
    shard_kick(r.shard);
    (void)sim_run_for(r.sim, 4 * POLICY_SETTLED_NS);
    crashed = sim_crashed(r.sim);
    cr_assert(crashed || (r.shard->ring[0].cur != before && r.shard->ring[0].free), "a whole turn");
    rig_restart(&r);
    shard_verify(r.shard);
    cr_assert_geq(expect_described(&r), EXTENTS / 5 * 3, "after %u events", events);
    rig_fini(&r);
    return crashed;
}

Test(described, a_crash_between_any_two_steps_of_a_turn_of_the_ring_leaves_described_what_was, .timeout = 160)
{
    for (uint64_t seed = 90; seed < 98; seed++) {
        uint32_t n = 1;

        while (crash_in_turn(seed, n))
            n++;
        cr_assert_gt(n, 40);
    }
}

/* What a start is not sure of, because it cannot read the ring, it describes again: in the region, where there is no room in the ring. */
static void crash_after_start(bool readable)
{
    uint32_t nr = 0;

    for (uint64_t seed = 100; seed < 104; seed++) {
        bool crashed = true;

        for (uint32_t n = 1; crashed; n++) {
            struct rig r;

            fill_half(&r, seed);
            cr_assert_eq(sim_run_for(r.sim, 3 * POLICY_SETTLED_NS), 0);
            r.shard->ring[0].homed = 0; /* as if one of the ringed had been destaged first of all */
            cr_assert_eq(shard_marks_commit(r.shard, false), 0);
            for (unsigned i = 0; i < RIG_HDDS && !readable; i++)
                sim_disk_latent(r.hdd[i], ring_offset(0), 512);
            rig_restart(&r);
            cr_assert_gt(ringed(&r), readable ? 0 : 16);
            cr_assert_geq(expect_described(&r), EXTENTS - 1);
            sim_crash_in_events(r.sim, n);
            shard_kick(r.shard);
            (void)sim_run_for(r.sim, 4 * POLICY_SETTLED_NS);
            crashed = sim_crashed(r.sim);
            rig_restart(&r);
            shard_verify(r.shard);
            nr += expect_described(&r);
            rig_fini(&r);
        }
    }
    cr_assert_gt(nr, 0);
}

Test(described, a_crash_while_a_start_describes_again_leaves_described_what_was, .timeout = 160) { crash_after_start(false); }
Test(described, so_does_one_behind_a_start_that_has_read_the_ring, .timeout = 160) { crash_after_start(true); }
