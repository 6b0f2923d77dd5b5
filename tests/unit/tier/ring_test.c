/* SPDX-License-Identifier: Apache-2.0 */
/* ring_test.c: descriptions go to the ring where that saves ways, and to their regions before the ring is written over. */
#include "tier/map.h"
#include "tier/mover.h"
#include "tier/ring.h"
#include "rig.h"

#define EXTENTS 320u
#define STEP    5u          /* of a sparse rewrite: every so many extents */
#define SPARSE  (EXTENTS / STEP)

static const struct ring *ring_of(const struct rig *r, unsigned dev) { return &r->shard->ring[dev]; }

static void boot_on(struct rig *r, uint64_t seed, uint32_t half, uint64_t hdd_ns)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .hdd_extents = 5 * REGION_EXTENTS, .volume_blocks = EXTENTS * EXTENT_BLOCKS,
                                   .ring_nr = 2 * half, .hdd_ns = hdd_ns});
    cr_assert_eq(rig_boot(r), 0);
    r->shard->t.dirty_start_pct = 0;
}

static void boot(struct rig *r, uint64_t seed, uint32_t half) { boot_on(r, seed, half, 0); }

static void rest(struct rig *r)
{
    shard_kick(r->shard);
    cr_assert_eq(sim_run_for(r->sim, 3 * POLICY_SETTLED_NS), 0);
    cr_assert_eq(r->shard->ix.nr_dirty, 0);
    shard_verify(r->shard);
}

/* One block of every STEPth extent, from the one numbered `from` on; then all of it settles, and is described. */
static void rewrite(struct rig *r, uint32_t from, uint64_t stamp)
{
    for (uint32_t no = from; no < EXTENTS; no += STEP)
        cr_assert_eq(rig_write(r, (uint64_t)no * EXTENT_BLOCKS, 1, stamp), 0);
    rest(r);
}

static void fill(struct rig *r)
{
    for (uint32_t no = 0; no < EXTENTS; no++)
        cr_assert_eq(rig_write(r, (uint64_t)no * EXTENT_BLOCKS, 1, 1), 0);
    rest(r);
}

static bool says_what_the_map_says(struct rig *r, uint32_t no)
{
    const struct extent *e = rig_extent(r, no);
    struct extent_desc d;

    return rig_description(r, e, &d) == 0 && d.extent == no && d.destaged_seq == e->destaged_seq;
}

static void expect_all_described(struct rig *r)
{
    for (uint32_t no = 0; no < EXTENTS; no++)
        cr_assert(says_what_the_map_says(r, no), "extent %u", no);
}

static uint32_t ringed(const struct rig *r)
{
    uint32_t nr = 0;

    for (unsigned d = 0; d < RIG_HDDS; d++)
        for (unsigned h = 0; h < 2; h++)
            nr += r->shard->xt.dev[d].ringed[h].nr;
    return nr;
}

static uint64_t writes(const struct rig *r) { return shard_stats(r->shard)->descriptor_writes; }

Test(ring, what_settles_here_and_there_is_described_in_one_write)
{
    uint64_t before;
    struct rig r;

    boot(&r, 81, 128);
    fill(&r);
    cr_assert_eq(ringed(&r), 0, "whole regions are described there at once");
    before = writes(&r);
    rewrite(&r, 0, 2);
    cr_assert_eq(writes(&r), before + 1);
    cr_assert_eq(ringed(&r), SPARSE);
    cr_assert_eq(ring_of(&r, 0)->head, SPARSE);
    expect_all_described(&r);
    rewrite(&r, 0, 3);
    cr_assert_eq(ringed(&r), SPARSE, "the same again: the older entries count no more");
    expect_all_described(&r);
    rig_fini(&r);
}

Test(ring, before_a_half_is_written_again_its_extents_are_described_in_their_regions)
{
    uint32_t turns = 0, cur = 0;
    struct rig r;

    boot(&r, 82, 40);
    fill(&r);
    for (uint32_t i = 0; i < 30; i++) {
        rewrite(&r, i % STEP, 2 + i);
        turns += ring_of(&r, 0)->cur != cur;
        cur = ring_of(&r, 0)->cur;
        expect_all_described(&r);
        cr_assert_leq(ringed(&r), 4 * 40);
    }
    cr_assert_geq(turns, 6, "%u turns", turns);
    rig_fini(&r);
}

static uint32_t nr_due(const struct rig *r)
{
    uint32_t nr = 0;

    for (uint32_t x = 1; x <= r->shard->xt.touched; x++)
        nr += extent_at(&r->shard->xt, x)->layer != 0 && (extent_at(&r->shard->xt, x)->flags & EXTENT_UNDESCRIBED);
    return nr;
}

static uint8_t ring_bits(const struct rig *r, uint32_t no)
{
    return extent_at(&r->shard->xt, extent_find(&r->shard->xt, layer_find(r->shard, RIG_LAYER), no))->ring;
}

/* Of the first capacity device: some of what was destaged since homed_seq lies in the ring, some was described in its region since. */
static void boot_ringed(struct rig *r, uint64_t seed)
{
    boot(r, seed, 40);
    fill(r);
    for (uint32_t i = 0; i < 8; i++)
        rewrite(r, i % STEP, 2 + i);
    cr_assert_gt(ring_of(r, 0)->homed, 0);
    cr_assert_gt(ring_of(r, 0)->head, 0);
    cr_assert_gt(ringed(r), 0);
}

Test(ring, a_start_goes_on_at_the_head_and_finds_what_only_the_ring_tells)
{
    uint8_t was[EXTENTS];
    uint32_t head, cur, nr;
    uint64_t homed;
    struct rig r;

    boot_ringed(&r, 83);
    head = ring_of(&r, 0)->head;
    cur = ring_of(&r, 0)->cur;
    homed = ring_of(&r, 0)->homed;
    for (uint32_t no = 0; no < EXTENTS; no++)
        was[no] = ring_bits(&r, no);
    for (uint32_t start = 0; start < 2; start++) {
        rig_restart(&r);
        cr_assert_eq(ring_of(&r, 0)->head, head);
        cr_assert_eq(ring_of(&r, 0)->cur, cur);
        cr_assert_geq(ring_of(&r, 0)->homed, MIN(homed, r.shard->seq_high));
        for (uint32_t no = nr = 0; no < EXTENTS; no++) {
            cr_assert_eq(was[no] & ~ring_bits(&r, no), 0, "extent %u: the ring alone has it", no);
            nr += (ring_bits(&r, no) & RING_BOTH) == RING_BOTH;
        }
        cr_assert_eq(nr, 0, "a start knows which half");
        cr_assert_eq(nr_due(&r), 0, "and describes nothing again");
        cr_assert_lt(ringed(&r), EXTENTS, "not all");
        expect_all_described(&r);
    }
    r.shard->t.dirty_start_pct = 0;
    for (uint32_t i = 0; i < 12; i++) {
        rewrite(&r, i % STEP, 20 + i);
        expect_all_described(&r);
    }
    rig_fini(&r);
}

/* What may lie there alone is described again then, and not one of them counts before it is. */
static void start_without_ring(struct rig *r, uint64_t homed, uint64_t waits_ns)
{
    uint64_t began = sim_now_ns(r->sim);

    cr_assert_eq(rig_boot(r), 0);
    cr_assert_geq(sim_now_ns(r->sim) - began, waits_ns);
    cr_assert_leq(sim_now_ns(r->sim) - began, waits_ns + NS_PER_S);
    cr_assert_eq(ring_of(r, 0)->homed, MIN(homed, r->shard->seq_high));
    cr_assert_eq(r->shard->xt.dev[0].ringed[0].nr, r->shard->xt.dev[0].ringed[1].nr, "which half nobody knows");
    cr_assert_gt(r->shard->xt.dev[0].ringed[0].nr, 0);
    cr_assert_geq(nr_due(r), r->shard->xt.dev[0].ringed[0].nr);
    cr_assert_not(ring_of(r, 0)->free);
    cr_assert_lt(r->shard->described.seq, r->shard->described.loaded);
    sim_disk_heal(r->hdd[0]);
    r->shard->t.dirty_start_pct = 0;
    cr_assert_eq(sim_run_for(r->sim, 3 * POLICY_OVERDUE_NS), 0);
    cr_assert_eq(nr_due(r), 0);
    expect_all_described(r);
    for (uint32_t i = 0; i < 12; i++) {
        rewrite(r, i % STEP, 20 + i);
        expect_all_described(r);
    }
    rig_fini(r);
}

Test(ring, a_start_that_cannot_read_it_describes_again_what_it_may_have)
{
    uint64_t homed;
    struct rig r;

    boot_ringed(&r, 88);
    homed = ring_of(&r, 0)->homed;
    rig_crash(&r);
    sim_disk_latent(r.hdd[0], ring_offset(70), 512);
    start_without_ring(&r, homed, 0);
}

Test(ring, so_does_one_that_finds_an_entry_rotten)
{
    uint64_t homed;
    struct rig r;

    boot_ringed(&r, 89);
    homed = ring_of(&r, 0)->homed;
    rig_crash(&r);
    sim_disk_rot(r.hdd[0], ring_offset(1));
    start_without_ring(&r, homed, 0);
}

/* No bit of the magic makes of it one that nobody has written. */
Test(ring, so_does_one_that_finds_the_magic_of_an_entry_rotten)
{
    static uint8_t page[DESC_BYTES];
    uint64_t homed;
    struct rig r;

    for (unsigned bit = 8 * 8; bit < 16 * 8; bit += 9) {
        boot_ringed(&r, 89);
        homed = ring_of(&r, 0)->homed;
        rig_crash(&r);
        sim_disk_peek(r.hdd[0], ring_offset(1), page, sizeof(page));
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        sim_disk_poke(r.hdd[0], ring_offset(1), page, sizeof(page));
        start_without_ring(&r, homed, 0);
    }
}

Test(ring, so_does_one_whose_disk_hangs_for_which_it_waits_not_for_long)
{
    uint64_t homed;
    struct rig r;

    boot_ringed(&r, 90);
    homed = ring_of(&r, 0)->homed;
    rig_crash(&r);
    sim_disk_faults(r.hdd[0])->hung = 1000000;
    start_without_ring(&r, homed, 2 * NS_PER_S);
}

static void wait_in_vain(struct rig *r) { r->turns.dev[0].late_at_start = true; }

Test(ring, nor_does_a_shard_wait_for_one_that_another_has_waited_for)
{
    uint64_t homed;
    struct rig r;

    boot_ringed(&r, 96);
    homed = ring_of(&r, 0)->homed;
    rig_crash(&r);
    sim_disk_faults(r.hdd[0])->hung = 1000000;
    r.on_meta = wait_in_vain;
    start_without_ring(&r, homed, 0);
}

static void write_every(struct rig *r, uint32_t step, uint64_t stamp)
{
    for (uint32_t no = 0; no < EXTENTS; no += step)
        cr_assert_eq(rig_write(r, (uint64_t)no * EXTENT_BLOCKS, 1, stamp), 0);
    rest(r);
}

/* A shard of 64 has 160 ms for all disks. */
Test(ring, what_a_start_waits_for_one_disk_in_vain_is_not_taken_from_the_others)
{
    uint32_t nr[2], due;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 97, .hdd_extents = 5 * REGION_EXTENTS, .volume_blocks = EXTENTS * EXTENT_BLOCKS,
                                    .ring_nr = 80, .segments = 64 * 24, .shards = 64});
    cr_assert_eq(rig_boot(&r), 0);
    r.shard->t.dirty_start_pct = 0;
    write_every(&r, 2, 1); /* without neighbours: by turns on both disks */
    write_every(&r, 10, 2);
    for (unsigned h = 0; h < 2; h++)
        nr[h] = r.shard->xt.dev[1].ringed[h].nr;
    cr_assert(nr[0] + nr[1] > 0 && r.shard->xt.dev[0].ringed[0].nr > 0);
    rig_crash(&r);
    sim_disk_faults(r.hdd[0])->hung = 1000000;
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert(r.turns.dev[0].late_at_start && !r.turns.dev[1].late_at_start);
    for (unsigned h = 0; h < 2; h++)
        cr_assert_eq(r.shard->xt.dev[1].ringed[h].nr, nr[h]);
    due = nr_due(&r);
    cr_assert_eq(due, r.shard->xt.dev[0].ringed[0].nr, "%u are described again, on the disk that hangs alone", due);
    sim_disk_heal(r.hdd[0]);
    cr_assert_eq(sim_run_for(r.sim, NS_PER_S), 0);
    rig_fini(&r);
}

/* The read that was given up is never heard of again: the threads that serve the pool have rings of their own. */
Test(ring, one_that_was_not_waited_for_is_used_once_it_answers)
{
    struct rig r;

    boot_ringed(&r, 94);
    rig_crash(&r);
    sim_disk_faults(r.hdd[0])->hung = 1000000;
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert(r.turns.dev[0].late_at_start, "no other shard waits for it");
    sim_disk_faults(r.hdd[0])->hung = 0;
    cr_assert_eq(r.hdd_dev[0]->stats.in_flight, 1);
    r.shard->t.dirty_start_pct = 0;
    cr_assert_eq(sim_run_for(r.sim, 2 * r.shard->t.io_deadline_ns), 0);
    for (uint32_t i = 0; i < 4; i++)
        rewrite(&r, i, 20 + i);
    expect_all_described(&r);
    cr_assert_eq(r.hdd_dev[0]->stats.in_flight, 1);
    sim_disk_heal(r.hdd[0]);
    cr_assert_eq(sim_run_for(r.sim, NS_PER_S), 0);
    cr_assert_eq(r.hdd_dev[0]->stats.in_flight, 0);
    rig_fini(&r);
}

/* What the ring says is older than the map, but all that a device says of the extent. */
Test(ring, a_start_keeps_an_entry_until_what_settled_since_is_described)
{
    struct rig r;

    boot(&r, 95, 2 * SPARSE);
    fill(&r);
    rewrite(&r, 0, 2);
    for (uint32_t no = 0; no < EXTENTS; no += STEP)
        cr_assert_eq(rig_write(&r, (uint64_t)no * EXTENT_BLOCKS, 1, 3), 0);
    for (int i = 0; i < 1000 && r.shard->ix.nr_dirty > 0; i++)
        cr_assert_eq(sim_run_for(r.sim, NS_PER_MS), 0);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    cr_assert_eq(nr_due(&r), SPARSE);
    rig_restart(&r);
    cr_assert_eq(nr_due(&r), SPARSE);
    cr_assert_eq(r.shard->xt.dev[0].ringed[0].nr, SPARSE);
    cr_assert_eq(r.shard->xt.dev[0].ringed[1].nr, 0);
    cr_assert_eq(ring_of(&r, 0)->head, SPARSE);
    shard_start(r.shard);
    rest(&r);
    expect_all_described(&r);
    rig_fini(&r);
}

/* A torn write at the head is what a crash leaves; what was there before nobody needed. */
Test(ring, an_entry_behind_the_head_may_be_torn)
{
    static uint8_t page[DESC_BYTES];
    struct rig r;
    uint64_t off;

    boot(&r, 91, 2 * SPARSE);
    fill(&r);
    rewrite(&r, 0, 2);
    off = ring_at(r.shard, 0);
    cr_assert_eq(ring_of(&r, 0)->head, SPARSE);
    rig_crash(&r);
    sim_disk_peek(r.hdd[0], ring_offset(0), page, sizeof(page));
    page[1000] ^= 1;
    sim_disk_poke(r.hdd[0], off, page, sizeof(page));
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(nr_due(&r), 0);
    cr_assert_gt(ringed(&r), 0);
    rig_fini(&r);
}

/* As after a crash behind entries that no record knew of yet. */
Test(ring, a_head_that_is_too_low_writes_over_nothing_that_is_needed)
{
    uint32_t head;
    struct rig r;

    boot(&r, 92, 2 * SPARSE);
    fill(&r);
    rewrite(&r, 0, 2);
    head = ring_of(&r, 0)->head;
    cr_assert_eq(head, SPARSE);
    r.shard->ring[0].head = 1;
    cr_assert_eq(shard_marks_commit(r.shard, false), 0);
    rig_restart(&r);
    cr_assert_eq(ring_of(&r, 0)->head, head);
    cr_assert_eq(nr_due(&r), 0);
    expect_all_described(&r);
    rig_fini(&r);
}

/* Home, or not: without a half that is free descriptions are written as in a pool without a ring. */
Test(ring, where_no_half_is_free_descriptions_go_to_their_regions)
{
    struct rig r;

    boot(&r, 84, 40);
    fill(&r);
    rewrite(&r, 0, 2);
    r.shard->described.stuck = true; /* as after a flush that failed */
    for (uint32_t i = 0; i < 12; i++) {
        rewrite(&r, i % STEP, 4 + i);
        cr_assert_eq(dev_flush_sync(r.hdd_dev[0]), 0);
        expect_all_described(&r);
    }
    cr_assert_not(ring_of(&r, 0)->free);
    cr_assert_eq(ring_of(&r, 0)->head, 40);
    rig_fini(&r);
}

Test(ring, a_head_that_the_metadata_does_not_know_frees_nothing)
{
    struct rig r;

    boot(&r, 85, 40);
    fill(&r);
    rewrite(&r, 0, 2);
    cr_assert_gt(ringed(&r), 0);
    r.shard->ring[0].head = r.shard->ring[0].cur = 0; /* as if nothing had been written */
    cr_assert_eq(shard_marks_commit(r.shard, false), 0);
    rig_restart(&r);
    cr_assert_eq(ring_of(&r, 0)->head, 40);
    cr_assert_not(ring_of(&r, 0)->free);
    cr_assert_eq(ring_room(r.shard, 0), 0);
    expect_all_described(&r);
    rig_fini(&r);
}

/* An extent that has left the device, and is not described anew, is still found by what the ring says of it. */
Test(ring, a_half_waits_for_those_that_have_left_the_device)
{
    struct extent_place there = {.dev = 1, .slot = 5 * REGION_EXTENTS - 1}, back;
    struct rig r;
    uint32_t x;

    boot(&r, 86, 128);
    fill(&r);
    rewrite(&r, 0, 2);
    x = r.shard->xt.dev[0].x[slotset_next(&r.shard->xt.dev[0].ringed[ring_of(&r, 0)->cur], 0)];
    back = extent_at(&r.shard->xt, x)->place;
    cr_assert_eq(ring_of(&r, 0)->away[ring_of(&r, 0)->cur], 0);
    map_place(r.shard, x, there);
    cr_assert_eq(ring_of(&r, 0)->away[ring_of(&r, 0)->cur], 1);
    shard_verify(r.shard);
    ring_note(r.shard, x, 1, 1);
    cr_assert_eq(ring_of(&r, 0)->away[ring_of(&r, 0)->cur], 0);
    cr_assert(slotset_has(&r.shard->xt.dev[1].ringed[0], there.slot));
    ring_note(r.shard, x, 0, 0);
    map_place(r.shard, x, back);
    shard_verify(r.shard);
    rig_fini(&r);
}

/* Half a ring is to be described in its regions, which takes a while: what has no description yet does not wait for all of that. */
Test(ring, what_is_overdue_is_described_before_what_the_ring_has)
{
    struct rig r;
    uint64_t before;
    uint32_t x;

    boot_on(&r, 87, SPARSE, NS_PER_MS);
    fill(&r);
    rewrite(&r, 0, 2);
    rewrite(&r, 1, 3);
    cr_assert_eq(sim_run_for(r.sim, POLICY_OVERDUE_NS), 0);
    x = extent_find(&r.shard->xt, layer_find(r.shard, RIG_LAYER), 4);
    cr_assert_eq(rig_write(&r, 4 * EXTENT_BLOCKS, 1, 4), 0);
    for (int i = 0; i < 100 && r.shard->ix.nr_dirty > 0; i++)
        cr_assert_eq(sim_run_for(r.sim, 10 * NS_PER_MS), 0);
    cr_assert(extent_at(&r.shard->xt, x)->flags & EXTENT_UNDESCRIBED);
    r.shard->ring[0].head = ring_of(&r, 0)->half;
    for (uint32_t no = 0; no < EXTENTS; no += STEP) /* as after a start: nothing has been described in its region yet */
        ring_note(r.shard, extent_find(&r.shard->xt, layer_find(r.shard, RIG_LAYER), no), 0, 1u << !ring_of(&r, 0)->cur);
    r.shard->ring[0].free = false;
    r.shard->lanes[0].swept_ns = 0;
    cr_assert_gt(env_now_ns(r.env), POLICY_OVERDUE_NS);
    before = writes(&r);
    for (int i = 0; i < 1000 && writes(&r) == before; i++)
        cr_assert_eq(sim_run_for(r.sim, NS_PER_MS), 0);
    cr_assert_eq(sim_run_for(r.sim, 2 * NS_PER_MS), 0);
    cr_assert_not(extent_at(&r.shard->xt, x)->flags & EXTENT_UNDESCRIBED);
    rest(&r);
    cr_assert_eq(r.shard->xt.dev[0].ringed[!ring_of(&r, 0)->cur].nr, 0, "then that");
    expect_all_described(&r);
    rig_fini(&r);
}
