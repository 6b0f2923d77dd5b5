/* SPDX-License-Identifier: Apache-2.0 */
/* torn_test.c: a destage that a crash cut off may have spoilt what bridges its holes, and the ends of those may be zeroed later. What only
 * the log has whole stays dirty through any number of starts. */
#include "rig.h"
#include "tier/map.h"
#include "tier/recover.h"
#include "tier/write.h"

TestSuite(torn, .timeout = 60);

#define LEFT  100u               /* ends of the hole: the map lacks them */
#define COPY  105u               /* clean, in the log and on a device, where a write was cut off */
#define RIGHT 110u

static uint32_t entry(const struct rig *r, uint64_t block) { return index_find(&r->shard->ix, 1, block); }
static bool has(const struct rig *r, uint64_t block, unsigned flag)
{
    return entry(r, block) != INDEX_NONE && (index_flags_of(&r->shard->ix, entry(r, block)) & flag) != 0;
}
static bool is_kept(const struct rig *r) { return has(r, COPY, INDEX_KEPT); }
static bool is_zero(const struct rig *r, uint64_t block) { return has(r, block, INDEX_ZERO); }

/* The segment in which the newest of a block lies. */
static uint32_t segment_of(const struct rig *r, uint64_t block)
{
    struct index_entry n;

    index_get(&r->shard->ix, entry(r, block), &n);
    return n.segment;
}

/* Writes elsewhere until what the segment has of the extent has moved or is gone. */
static void empty(struct rig *r, uint32_t segment)
{
    uint64_t epoch = r->shard->seg[segment].epoch, i = 0;

    for (; r->shard->seg[segment].epoch == epoch && i < 5000; i++)
        cr_assert_eq(rig_write(r, 1000 + (uint64_t)rand() % 150, 1, i + 10), 0);
    cr_assert_neq(r->shard->seg[segment].epoch, epoch);
    shard_verify(r->shard);
}

static void boot_torn(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .segments = 12});
    cr_assert_eq(rig_boot(r), 0);
    cr_assert_eq(rig_write(r, COPY, 1, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    cr_assert_eq(rig_write(r, LEFT, 1, 2), 0);
    cr_assert_eq(rig_write(r, RIGHT, 1, 2), 0);
    rig_restart(r);
    cr_assert(is_kept(r));
    rig_spoil_cold(r, COPY);
}

static void expect_copy(struct rig *r, bool left, bool right)
{
    rig_drain(r, true);
    cr_assert_eq(r->shard->ix.nr_dirty, 0);
    while (rig_log_offset(r, COPY) != 0)
        map_remove(r->shard, entry(r, COPY));
    rig_expect(r, COPY, 1, 1);
    rig_expect(r, LEFT, 1, left ? 0 : 2);
    rig_expect(r, RIGHT, 1, right ? 0 : 2);
}

/* The records of what was zeroed leave the log, then those of the zeroed ranges, and each time the machine stops. */
static void zero_ends(uint64_t seed, uint32_t beyond, bool left, bool right)
{
    uint32_t of_left, of_right;
    struct rig r;

    boot_torn(&r, seed);
    of_left = segment_of(&r, LEFT);
    of_right = segment_of(&r, RIGHT);
    if (left)
        cr_assert_eq(rig_zero(&r, LEFT - beyond, 1 + 2 * beyond), 0);
    if (right)
        cr_assert_eq(rig_zero(&r, RIGHT - beyond, 1 + 2 * beyond), 0);
    empty(&r, of_left);
    if (of_right != of_left)
        empty(&r, of_right);
    for (uint32_t start = 0; start < 3; start++) {
        rig_restart(&r);
        shard_verify(r.shard);
        cr_assert(is_kept(&r), "start %u", start);
        for (uint32_t g = 0; g < r.o.segments; g++)
            if (g == segment_of(&r, COPY) || (left && g == segment_of(&r, LEFT + beyond)) || (right && g == segment_of(&r, RIGHT - beyond)))
                empty(&r, g);
    }
    rig_restart(&r);
    expect_copy(&r, left, right);
    rig_fini(&r);
}

Test(torn, a_hole_whose_left_end_was_zeroed_is_one_still) { zero_ends(1, 0, true, false); }
Test(torn, a_hole_whose_right_end_was_zeroed_is_one_still) { zero_ends(2, 0, false, true); }
Test(torn, a_hole_both_of_whose_ends_were_zeroed_is_one_still) { zero_ends(3, 0, true, true); }
Test(torn, a_hole_within_longer_zeroed_ranges_is_one_still) { zero_ends(4, 3, true, true); }

/* What lies far from any copy, or beside what is dirty, needs no entry: a start takes slots for what it needs alone. */
Test(torn, a_zeroed_range_away_from_copies_takes_no_slot)
{
    struct rig r;

    boot_torn(&r, 5);
    cr_assert_eq(rig_zero(&r, 20, 10), 0);
    cr_assert_eq(rig_zero(&r, 200, 30), 0);
    cr_assert_eq(rig_zero(&r, RIGHT + 1, 5), 0);
    cr_assert_eq(r.shard->ix.virtual_used, 0);
    rig_restart(&r);
    cr_assert_eq(r.shard->ix.virtual_used, 0);
    cr_assert(is_kept(&r));
    rig_fini(&r);
}

/* Records that say what 16 blocks to the left and right of the copy say, where there is no slot for the ends. */
Test(torn, without_slots_copies_are_kept_themselves_and_soon_destaged)
{
    static struct zero_rec z[1];
    uint64_t visits;
    struct extent *e;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 6, .segments = 12});
    cr_assert_eq(rig_boot(&r), 0);
    for (uint64_t b = 0; b < 2 * EXTENT_BLOCKS; b += 16)
        cr_assert_eq(rig_write(&r, EXTENT_BLOCKS + b, 16, 1), 0);
    cr_assert_eq(rig_write(&r, COPY, 1, 1), 0);
    rig_drain(&r, true);
    r.shard->ix.nr_virtual = 256;
    cr_assert_eq(rig_zero(&r, EXTENT_BLOCKS, EXTENT_BLOCKS - 32), 0);
    cr_assert_eq(index_virtual_free(&r.shard->ix), SLOTS_SPARE(r.shard));
    z[0] = (struct zero_rec){.seq = r.shard->seq_high + 1, .block = LEFT - 1, .nblocks = 2, .layer = 1,
                             .segment = r.shard->seq_high_segment, .epoch = r.shard->seg[r.shard->seq_high_segment].epoch};
    cr_assert_eq(zeroes_apply(r.shard, z, 1, &visits), 0);
    e = rig_extent(&r, 0);
    cr_assert(is_kept(&r) && (e->flags & EXTENT_URGENT) && e->nr_dirty == 1 && !is_zero(&r, LEFT));
    rig_fini(&r);
}
