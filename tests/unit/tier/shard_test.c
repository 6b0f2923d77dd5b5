/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "tier/map.h"
#include "tier/mover.h"
#include "tier/sums.h"
#include "rig.h"

static _Alignas(4096) char buf[600 * 1024];

Test(shard, reads_zeros_where_nothing_was_written)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 1});
    cr_assert_eq(rig_boot(&r), 0);
    memset(buf, 0xee, 8192);
    cr_assert_eq(rig_read(&r, 3, 2, buf), 0);
    for (int i = 0; i < 8192; i++)
        cr_assert_eq(buf[i], 0);
    rig_fini(&r);
}

Test(shard, an_acknowledged_write_survives_a_crash)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 2});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 250, 12, 5), 0); /* across an extent's bound */
    cr_assert_eq(rig_write(&r, 252, 1, 6), 0);
    for (int i = 0; i < 3; i++) {
        rig_expect(&r, 250, 2, 5);
        rig_expect(&r, 252, 1, 6);
        rig_expect(&r, 253, 9, 5);
        rig_expect(&r, 262, 4, 0);
        rig_restart(&r);
    }
    shard_verify(r.shard);
    rig_fini(&r);
}

Test(shard, destaged_blocks_are_clean_and_read_from_either_copy)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 3});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 10, 20, 1), 0);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    cr_assert_eq(rig_used(&r), 1);
    rig_restart(&r);
    cr_assert_eq(r.shard->ix.nr_dirty, 0, "a record at or below destaged_seq is not dirty");
    cr_assert_eq(r.shard->ix.nr_entries, 20, "but a clean copy");
    sim_disk_rot(r.ssd, rig_log_offset(&r, 12)); /* B2: the copy on the SSD rots: the other one serves */
    rig_expect(&r, 10, 20, 1);
    cr_assert_eq(rig_log_offset(&r, 12), 0, "and the bad copy is forgotten");
    cr_assert_gt(shard_stats(r.shard)->csum_errors_ssd, 0);
    rig_expect(&r, 10, 20, 1);
    rig_fini(&r);
}

static void expect_damaged(struct rig *r, uint64_t block)
{
    rig_expect(r, block - 1, 1, 2);
    rig_expect(r, block + 1, 1, 2);
    cr_assert_eq(rig_read(r, block - 1, 3, buf), -FIRN_E_DAMAGED);
}

Test(shard, a_damaged_dirty_block_fails_reads_for_ever_and_never_shows_older_bytes)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 4});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 100, 8, 1), 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_write(&r, 100, 8, 2), 0);
    sim_disk_rot(r.ssd, rig_log_offset(&r, 104) + 512);
    expect_damaged(&r, 104);
    rig_drain(&r, true);
    expect_damaged(&r, 104);
    rig_restart(&r);
    expect_damaged(&r, 104);
    cr_assert_eq(rig_write(&r, 104, 1, 3), 0); /* writing it again heals it */
    rig_expect(&r, 104, 1, 3);
    rig_drain(&r, true);
    rig_restart(&r);
    rig_expect(&r, 104, 1, 3);
    rig_fini(&r);
}

Test(shard, discard_gives_the_place_back_and_nothing_rises_from_the_dead)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 5});
    cr_assert_eq(rig_boot(&r), 0);
    for (uint32_t i = 0; i < 8; i++)
        cr_assert_eq(rig_write(&r, 256 + i * 32, 32, 1), 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_used(&r), 1);
    cr_assert_eq(rig_write(&r, 300, 8, 2), 0);
    cr_assert_eq(rig_zero(&r, 0, 2048), 0);
    rig_expect(&r, 256, 100, 0);
    rig_restart(&r); /* before or after the tombstone's batch: the same */
    rig_expect(&r, 256, 100, 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_used(&r), 0);
    rig_restart(&r);
    rig_expect(&r, 256, 100, 0);
    rig_fini(&r);
}

Test(shard, a_zeroed_part_hides_log_and_map)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 6});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 20, 1), 0);
    cr_assert_eq(rig_write(&r, 20, 20, 1), 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_write(&r, 20, 10, 2), 0);
    cr_assert_eq(rig_zero(&r, 10, 15), 0);
    for (int i = 0; i < 3; i++) {
        rig_expect(&r, 0, 10, 1);
        rig_expect(&r, 10, 15, 0);
        rig_expect(&r, 25, 5, 2);
        rig_expect(&r, 30, 10, 1);
        if (i == 0)
            rig_restart(&r);
        else
            rig_drain(&r, true);
    }
    cr_assert_eq(r.shard->ix.virtual_used, 0);
    rig_fini(&r);
}

Test(shard, a_full_pool_refuses_new_extents_and_takes_overwrites)
{
    struct rig r;
    uint32_t n = 0;

    rig_init(&r, &(struct rig_opts){.seed = 7, .hdd_extents = 2, .volume_blocks = 4096});
    cr_assert_eq(rig_boot(&r), 0);
    while (rig_write(&r, n * 256u, 1, 1) == 0)
        n++;
    cr_assert_eq(n, 2 * RIG_HDDS);
    cr_assert_eq(rig_write(&r, n * 256u, 1, 1), -FIRN_E_NO_SPACE);
    cr_assert_eq(rig_write(&r, 5, 3, 2), 0);
    cr_assert_eq(rig_zero(&r, 0, 256), 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_write(&r, n * 256u, 1, 1), 0);
    rig_drain(&r, true);
    rig_fini(&r);
}

static uint32_t fill_pool(struct rig *r)
{
    uint32_t n = 0;

    while (rig_write(r, n * 256u, 3, 1) == 0)
        n++;
    cr_assert_eq(n, r->o.hdd_extents * RIG_HDDS);
    return n;
}

static void trim_block_by_block(struct rig *r, uint32_t extent)
{
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(rig_zero(r, extent * 256u + i, 1), 0);
}

/* Little is dirty, so nothing is destaged for its own sake: an extent with nothing left in it must not keep its promise. */
Test(shard, an_extent_trimmed_block_by_block_before_its_first_destage_makes_room)
{
    struct rig r;
    uint32_t n;

    rig_init(&r, &(struct rig_opts){.seed = 20, .hdd_extents = 4, .volume_blocks = 16 * 256});
    cr_assert_eq(rig_boot(&r), 0);
    n = fill_pool(&r);
    for (uint32_t x = 0; x < 4; x++)
        trim_block_by_block(&r, x);
    for (uint32_t x = 0; x < 4; x++)
        cr_assert_eq(rig_write(&r, (n + x) * 256u, 1, 2), 0);
    cr_assert_eq(rig_write(&r, 0, 1, 2), -FIRN_E_NO_SPACE);
    sim_run_for(r.sim, NS_PER_S);
    shard_verify(r.shard);
    rig_restart(&r);
    rig_expect(&r, 0, 3, 0);
    for (uint32_t x = 0; x < 4; x++)
        rig_expect(&r, (n + x) * 256u, 1, 2);
    rig_drain(&r, true);
    cr_assert_eq(rig_used(&r), n);
    rig_fini(&r);
}

Test(shard, a_destaged_extent_trimmed_block_by_block_makes_room)
{
    struct rig r;
    uint32_t n;

    rig_init(&r, &(struct rig_opts){.seed = 21, .hdd_extents = 4, .volume_blocks = 16 * 256});
    cr_assert_eq(rig_boot(&r), 0);
    n = fill_pool(&r);
    rig_drain(&r, true);
    shard_start(r.shard);
    trim_block_by_block(&r, 0);
    trim_block_by_block(&r, 1);
    cr_assert_eq(rig_zero(&r, 2 * 256, 2), 0); /* one block of it stays */
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_eq(rig_used(&r), n - 2);
    cr_assert_eq(rig_write(&r, n * 256u, 1, 2), 0);
    cr_assert_eq(rig_write(&r, (n + 1) * 256u, 1, 2), 0);
    cr_assert_eq(rig_write(&r, (n + 2) * 256u, 1, 2), -FIRN_E_NO_SPACE);
    rig_restart(&r);
    rig_expect(&r, 0, 3, 0);
    rig_expect(&r, 2 * 256, 2, 0);
    rig_expect(&r, 2 * 256 + 2, 1, 1);
    rig_fini(&r);
}

Test(shard, a_device_that_refuses_writes_is_left)
{
    struct rig r;
    struct extent_place p;

    rig_init(&r, &(struct rig_opts){.seed = 8});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 30, 1), 0);
    rig_drain(&r, true);
    p = rig_extent(&r, 0)->place;
    sim_disk_fail_nth(r.hdd[p.dev], DEV_WRITE, 1, UINT32_MAX);
    cr_assert_eq(rig_write(&r, 20, 20, 2), 0);
    rig_drain(&r, true);
    cr_assert_neq(rig_extent(&r, 0)->place.dev, p.dev);
    cr_assert_eq(rig_used(&r), 1, "the old place was given back");
    rig_restart(&r);
    rig_expect(&r, 0, 20, 1);
    rig_expect(&r, 20, 20, 2);
    rig_fini(&r);
}

/* One refused write, and the other device has no room for all: what is new settles on the first one all the same. */
Test(shard, a_device_that_refused_a_write_is_used_again_when_the_others_are_full)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 10, .hdd_extents = 2});
    cr_assert_eq(rig_boot(&r), 0);
    sim_disk_fail_nth(r.hdd[0], DEV_WRITE, 1, 1);
    for (uint32_t i = 0; i < 2 * RIG_HDDS; i++) {
        cr_assert_eq(rig_write(&r, i * 256, 30, 1), 0);
        rig_drain(&r, true);
    }
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    cr_assert_eq(rig_used(&r), 2 * RIG_HDDS);
    rig_restart(&r);
    for (uint32_t i = 0; i < 2 * RIG_HDDS; i++)
        rig_expect(&r, i * 256, 30, 1);
    rig_fini(&r);
}

static void zeroed(struct blk_io *io) { (void)io; }
static bool slots_taken(void *ctx) { return ((struct rig *)ctx)->shard->ix.virtual_used > 3000; }

/* Many ranges that cover extents in part, at once: a crash finds no more of them in the log than the next start has slots. */
Test(shard, zeroes_under_way_at_a_crash_never_outgrow_the_index)
{
    static struct blk_io io[32];
    static _Alignas(BLOCK_BYTES) char got[BLOCK_BYTES], old[BLOCK_BYTES];
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 11, .hdd_extents = 32, .volume_blocks = 32 * 256});
    cr_assert_eq(rig_boot(&r), 0);
    for (uint32_t i = 0; i < 32 * 8; i++)
        cr_assert_eq(rig_write(&r, i * 32, 32, 1), 0);
    rig_drain(&r, true);
    shard_start(r.shard);
    for (uint32_t i = 0; i < 32; i++) {
        io[i] = (struct blk_io){.op = BLK_DISCARD, .lba = i * 256, .nlb = 255, .cb = zeroed};
        blk_submit(&r.vol.blk, &io[i]);
    }
    cr_assert_eq(sim_run_until(r.sim, slots_taken, &r, NS_PER_S), 0);
    rig_crash(&r);
    cr_assert_eq(rig_boot(&r), 0);
    for (uint32_t i = 0; i < 32; i++) {
        rig_expect(&r, i * 256 + 255, 1, 1);
        cr_assert_eq(rig_read(&r, i * 256, 1, got), 0);
        rig_fill(&r, old, i * 256, 1, 1);
        for (uint32_t k = 0; k < 255; k += 85)
            rig_expect(&r, i * 256 + k, 85, memcmp(got, old, sizeof(got)) == 0);
    }
    for (uint32_t i = 0; i < 32; i++)
        cr_assert_eq(rig_zero(&r, i * 256, 255), 0);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->slots_promised, 0);
    rig_fini(&r);
}

static unsigned gets_to_fail;
static const struct meta_ops *real_ops;

static void get_failed(struct env_task *t)
{
    struct meta_get_req *r = container_of(t, struct meta_get_req, priv.task);

    r->err = -ENOMEM;
    r->cb(r);
}

static void failing_get(struct meta *m, struct meta_get_req *r)
{
    if (gets_to_fail == 0) {
        real_ops->get(m, r);
        return;
    }
    gets_to_fail--;
    r->priv.task = (struct env_task){.fn = get_failed};
    env_post(r->env, &r->priv.task);
}

/* No memory for one look at the map is no damage: the destage comes again, and the blocks beneath stay what they are. */
Test(shard, checksums_that_cannot_be_fetched_now_are_not_lost)
{
    static struct meta_ops failing;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 12});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 8, 1), 0);
    rig_drain(&r, true);
    rig_stop(&r);
    cr_assert_eq(rig_boot(&r), 0);
    for (uint32_t i = 1; i <= SUMS_CACHE; i++)
        if (r.shard->sums[i].x != EXTENT_NONE)
            sums_drop(r.shard, r.shard->sums[i].x);
    real_ops = r.meta->ops;
    failing = *real_ops;
    failing.get = failing_get;
    r.meta->ops = &failing;
    cr_assert_eq(rig_write(&r, 3, 1, 2), 0);
    gets_to_fail = 2;
    rig_drain(&r, true);
    cr_assert_eq(gets_to_fail, 0);
    cr_assert_eq(r.shard->stats.destage_errors, 2);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    rig_restart(&r);
    for (uint32_t i = 0; i < 8; i++) /* as if the log's copies were gone */
        if (index_find(&r.shard->ix, 1, i) != INDEX_NONE)
            map_remove(r.shard, index_find(&r.shard->ix, 1, i));
    rig_expect(&r, 0, 3, 1);
    rig_expect(&r, 3, 1, 2);
    rig_expect(&r, 4, 4, 1);
    rig_fini(&r);
}

static void set_true(void *ctx) { *(bool *)ctx = true; }
static bool destage_failed(void *ctx) { return ((struct rig *)ctx)->shard->stats.destage_errors > 0; }

static bool flushing(void *ctx)
{
    const struct shard *s = ((struct rig *)ctx)->shard;

    return s->lanes[0].state == LANE_FLUSH || s->lanes[1].state == LANE_FLUSH;
}

/* Another shard's, of all devices. */
static void flushes_failed(struct rig *r)
{
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        cold_flush_failed(r->cold, d);
}

/* A failed flush drops what others wrote too, and tells only the one who asked: their batches are written again. */
Test(shard, a_flush_that_failed_for_another_shard_is_this_ones_concern)
{
    bool drained = false;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 14});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 30, 1), 0);
    shard_drain(r.shard, true, set_true, &drained);
    cr_assert_eq(sim_run_until(r.sim, flushing, &r, NS_PER_S), 0);
    flushes_failed(&r);
    sim_run_for(r.sim, 50 * NS_PER_MS);
    cr_assert_eq(r.shard->ix.nr_dirty, 30);
    cr_assert_eq(r.shard->stats.destage_errors, 1);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert(drained);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    rig_restart(&r);
    rig_expect(&r, 0, 30, 1);
    rig_fini(&r);
}

/* ... but not one of a device that this one wrote nothing to: it may fail for ever. */
Test(shard, a_flush_of_another_device_that_failed_is_not)
{
    bool drained = false;
    struct rig r;
    uint16_t dev;

    rig_init(&r, &(struct rig_opts){.seed = 14});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 30, 1), 0);
    shard_drain(r.shard, true, set_true, &drained);
    cr_assert_eq(sim_run_until(r.sim, flushing, &r, NS_PER_S), 0);
    dev = r.shard->lanes[0].state == LANE_FLUSH ? 0 : 1;
    cold_flush_failed(r.cold, 1 - dev);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert(drained);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    cr_assert_eq(r.shard->stats.destage_errors, 0);
    rig_restart(&r);
    rig_expect(&r, 0, 30, 1);
    rig_fini(&r);
}

/* ... and of which its own thread has not heard yet. */
Test(shard, a_flush_of_another_shard_is_heard_of_before_this_ones_begins)
{
    bool drained = false;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 15});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 30, 1), 0);
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        cr_assert(flush_turn_take(&r.flush_turns, d));
    shard_drain(r.shard, true, set_true, &drained);
    cr_assert_eq(sim_run_until(r.sim, flushing, &r, NS_PER_S), 0);
    sim_run_for(r.sim, 500 * NS_PER_MS);
    cr_assert(flushing(&r));
    cr_assert_eq(r.shard->ix.nr_dirty, 30);
    flushes_failed(&r);
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        flush_turn_give(&r.flush_turns, d);
    sim_run_for(r.sim, 50 * NS_PER_MS);
    cr_assert_eq(r.shard->ix.nr_dirty, 30);
    cr_assert_eq(r.shard->stats.destage_errors, 1);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert(drained);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    rig_fini(&r);
}

/* A flush that hangs in another shard keeps this one's batch from its commit, not its blocks from another try. */
Test(shard, a_flush_that_waits_for_another_one_gives_up_after_the_deadline)
{
    bool drained = false;
    struct rig r;
    uint64_t before;

    rig_init(&r, &(struct rig_opts){.seed = 17});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 30, 1), 0);
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        cr_assert(flush_turn_take(&r.flush_turns, d));
    shard_drain(r.shard, true, set_true, &drained);
    cr_assert_eq(sim_run_until(r.sim, flushing, &r, NS_PER_S), 0);
    before = sim_events_run(r.sim);
    sim_run_for(r.sim, 100 * NS_PER_MS);
    cr_assert_lt(sim_events_run(r.sim) - before, 1000, "it does not spin");
    cr_assert_eq(sim_run_until(r.sim, destage_failed, &r, 60 * NS_PER_S), 0);
    cr_assert_eq(r.shard->ix.nr_dirty, 30);
    for (uint16_t d = 0; d < RIG_HDDS; d++)
        flush_turn_give(&r.flush_turns, d);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert(drained);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    rig_restart(&r);
    rig_expect(&r, 0, 30, 1);
    rig_fini(&r);
}

/* A rotten clean copy in the log is no damage when the extent moves to another device: the old place has the block. */
Test(shard, a_rotten_clean_copy_damages_nothing_that_moves_to_another_device)
{
    struct extent_place p;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 16});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 10, 1), 0);
    rig_drain(&r, true);
    p = rig_extent(&r, 0)->place;
    cr_assert_eq(rig_write(&r, 2, 1, 2), 0);
    sim_disk_rot(r.ssd, rig_log_offset(&r, 4) + 512);
    sim_disk_fail_nth(r.hdd[p.dev], DEV_WRITE, 1, UINT32_MAX);
    rig_drain(&r, true);
    cr_assert_neq(rig_extent(&r, 0)->place.dev, p.dev);
    rig_expect(&r, 0, 2, 1);
    rig_expect(&r, 2, 1, 2);
    rig_expect(&r, 3, 7, 1);
    rig_fini(&r);
}

/* Blocks 0..9 clean in the log and on a device; then 2 and 6 are dirty, and 3..5 are the hole between them. */
static void make_a_hole(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .segments = 12});
    cr_assert_eq(rig_boot(r), 0);
    cr_assert_eq(rig_write(r, 0, 10, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    cr_assert_eq(rig_write(r, 2, 1, 2), 0);
    cr_assert_eq(rig_write(r, 6, 1, 2), 0);
}

/* Writes elsewhere until reclaim has emptied the segment in which block 4 lies, with what else is dirty there. */
static void churn(struct rig *r)
{
    uint32_t g = (uint32_t)((rig_log_offset(r, 4) - r->geo.base_bytes) / r->geo.segment_bytes);
    uint64_t epoch = r->shard->seg[g].epoch, i = 0;

    cr_assert_neq(rig_log_offset(r, 4), 0);
    for (; r->shard->seg[g].epoch == epoch && i < 5000; i++)
        cr_assert_eq(rig_write(r, 1000 + (uint64_t)rand() % 150, 1, i + 10), 0);
    cr_assert_neq(r->shard->seg[g].epoch, epoch);
    shard_verify(r->shard);
}

static void expect_whole_bridge(struct rig *r)
{
    rig_expect(r, 0, 2, 1);
    rig_expect(r, 2, 1, 2);
    rig_expect(r, 3, 3, 1);
    rig_expect(r, 6, 1, 2);
    rig_expect(r, 7, 3, 1);
}

static void nothing(void *ctx) { (void)ctx; }

/* What bridges a hole is clean, but no longer safe on its device once the write has begun: the log keeps it. */
Test(shard, a_destage_that_was_given_up_costs_none_of_the_blocks_that_it_bridged)
{
    struct rig r;

    make_a_hole(&r, 22);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_fail_nth(r.hdd[i], DEV_WRITE, 1, UINT32_MAX);
    shard_drain(r.shard, true, nothing, NULL);
    cr_assert_eq(sim_run_until(r.sim, destage_failed, &r, 10 * NS_PER_S), 0);
    for (uint64_t b = 2; b <= 6; b++)
        rig_spoil_cold(&r, b);
    churn(&r);
    expect_whole_bridge(&r);
    rig_restart(&r);
    churn(&r);
    expect_whole_bridge(&r);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_heal(r.hdd[i]);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    shard_start(r.shard);
    churn(&r);
    cr_assert_eq(rig_log_offset(&r, 4), 0, "a clean copy again, and gone with its segment");
    expect_whole_bridge(&r);
    rig_fini(&r);
}

/* Blocks 3..5 were to be written over by a destage that was given up; now the devices take writes again. */
static void give_up_a_bridge(struct rig *r, uint64_t seed)
{
    struct tier_info info = {0};

    make_a_hole(r, seed);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_fail_nth(r->hdd[i], DEV_WRITE, 1, UINT32_MAX);
    shard_drain(r->shard, true, nothing, NULL);
    cr_assert_eq(sim_run_until(r->sim, destage_failed, r, 10 * NS_PER_S), 0);
    cr_assert_neq(index_flags_of(&r->shard->ix, index_find(&r->shard->ix, 1, 4)) & INDEX_KEPT, 0);
    shard_info(r->shard, &info);
    cr_assert_eq(info.journal_kept_bytes, 3 * BLOCK_BYTES, "what the log alone has is told apart");
    cr_assert_gt(info.journal_dirty_bytes, 3 * BLOCK_BYTES);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_heal(r->hdd[i]);
}

static bool all_clean(void *ctx) { return ((struct rig *)ctx)->shard->ix.nr_dirty == 0; }

/* The device's copy is torn, and the log's device gives an error: that is no proof, and the log may have the block again. */
Test(shard, a_bridging_block_that_the_log_does_not_give_now_stays_dirty)
{
    struct rig r;

    give_up_a_bridge(&r, 41);
    rig_spoil_cold(&r, 4);
    sim_disk_latent(r.ssd, rig_log_offset(&r, 4), BLOCK_BYTES);
    sim_run_for(r.sim, 3 * NS_PER_S);
    cr_assert_gt(r.shard->ix.nr_dirty, 0);
    cr_assert_neq(index_flags_of(&r.shard->ix, index_find(&r.shard->ix, 1, 4)) & INDEX_DIRTY, 0);
    sim_disk_heal(r.ssd);
    cr_assert_eq(sim_run_until(r.sim, all_clean, &r, 10 * NS_PER_S), 0);
    while (rig_log_offset(&r, 4) != 0)
        map_remove(r.shard, index_find(&r.shard->ix, 1, 4));
    expect_whole_bridge(&r);
    rig_fini(&r);
}

/* The device's copy is whole: it is looked at, stays as it is, and no fault of the log's device keeps the extent dirty. */
Test(shard, a_bridging_block_that_only_the_device_gives_is_not_written_over)
{
    struct extent_place p;
    struct rig r;

    give_up_a_bridge(&r, 42);
    p = rig_extent(&r, 0)->place;
    sim_disk_latent(r.ssd, rig_log_offset(&r, 4), BLOCK_BYTES);
    cr_assert_eq(sim_run_until(r.sim, all_clean, &r, 10 * NS_PER_S), 0);
    cr_assert_eq(r.shard->stats.csum_errors_hdd, 0);
    cr_assert_eq(rig_extent(&r, 0)->place.dev, p.dev);
    rig_restart(&r);
    expect_whole_bridge(&r);
    rig_fini(&r);
}

/* Both copies were read, and both are bad. */
Test(shard, a_bridging_block_without_a_whole_copy_is_damaged_and_no_other)
{
    struct rig r;

    give_up_a_bridge(&r, 43);
    sim_disk_rot(r.ssd, rig_log_offset(&r, 4));
    rig_spoil_cold(&r, 4);
    cr_assert_eq(sim_run_until(r.sim, all_clean, &r, 10 * NS_PER_S), 0);
    cr_assert_eq(rig_read(&r, 4, 1, buf), -FIRN_E_DAMAGED);
    rig_expect(&r, 2, 1, 2);
    rig_expect(&r, 3, 1, 1);
    rig_expect(&r, 5, 1, 1);
    rig_expect(&r, 6, 1, 2);
    rig_fini(&r);
}

Test(shard, a_destage_that_a_crash_cut_off_costs_none_of_the_blocks_that_it_bridged)
{
    struct rig r;

    make_a_hole(&r, 23);
    rig_crash(&r);
    cr_assert_eq(rig_boot(&r), 0);
    for (uint64_t b = 2; b <= 6; b++)
        rig_spoil_cold(&r, b);
    churn(&r);
    expect_whole_bridge(&r);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    shard_start(r.shard);
    churn(&r);
    expect_whole_bridge(&r);
    rig_fini(&r);
}

static bool a_lane_writes(void *ctx)
{
    const struct shard *s = ((struct rig *)ctx)->shard;

    return lane_writes(&s->lanes[0]) || lane_writes(&s->lanes[1]);
}

/* The lane that hangs has read what it writes: no segment waits for it, and what the log held is held still. */
Test(shard, a_destage_that_hangs_keeps_no_segment_from_being_reclaimed)
{
    struct rig r;

    make_a_hole(&r, 24);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_faults(r.hdd[i])->hung = 1000000;
    shard_drain(r.shard, true, nothing, NULL);
    cr_assert_eq(sim_run_until(r.sim, a_lane_writes, &r, NS_PER_S), 0);
    for (uint32_t g = 0; g < r.o.segments; g++)
        cr_assert_eq(r.shard->seg[g].holds, 0);
    churn(&r);
    for (uint64_t b = 2; b <= 6; b++)
        cr_assert_neq(rig_log_offset(&r, b), 0);
    rig_expect(&r, 2, 1, 2);
    rig_expect(&r, 3, 3, 1);
    rig_fini(&r);
}

/* One extent's write hangs; the log does not give the next one's payload, which ends its part in the batch. */
Test(shard, a_destage_that_was_given_up_beside_one_that_hangs_holds_no_segment)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 44});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 4, 1), 0);
    cr_assert_eq(rig_write(&r, EXTENT_BLOCKS, 4, 1), 0);
    sim_disk_latent(r.ssd, rig_log_offset(&r, EXTENT_BLOCKS), BLOCK_BYTES);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_faults(r.hdd[i])->hung = 1000000;
    shard_drain(r.shard, true, nothing, NULL);
    cr_assert_eq(sim_run_until(r.sim, a_lane_writes, &r, NS_PER_S), 0);
    sim_run_for(r.sim, NS_PER_S);
    for (uint32_t g = 0; g < r.o.segments; g++)
        cr_assert_eq(r.shard->seg[g].holds, 0);
    rig_fini(&r);
}

/* It looks again when the read is answered or a moment has passed, not in each pass. */
Test(shard, a_destage_that_yields_to_a_read_does_not_spin)
{
    struct rig r;
    uint64_t before;

    rig_init(&r, &(struct rig_opts){.seed = 31});
    cr_assert_eq(rig_boot(&r), 0);
    for (uint64_t b = 0; b < 200; b += 2)
        cr_assert_eq(rig_write(&r, b, 1, 1), 0);
    r.shard->t.dirty_start_pct = 0;
    shard_start(r.shard);
    cr_assert_eq(sim_run_until(r.sim, a_lane_writes, &r, 10 * NS_PER_S), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        fg_begin(r.shard, (uint16_t)i);
    sim_run_for(r.sim, 100 * NS_PER_MS);
    before = sim_events_run(r.sim);
    sim_run_for(r.sim, 100 * NS_PER_MS);
    cr_assert(a_lane_writes(&r));
    cr_assert_lt(sim_events_run(r.sim) - before, 1000);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        fg_end(r.shard, (uint16_t)i);
    cr_assert_eq(sim_run_until(r.sim, all_clean, &r, NS_PER_S), 0);
    for (uint64_t b = 0; b < 200; b += 2)
        rig_expect(&r, b, 1, 1);
    rig_fini(&r);
}

/* Somebody waits for it: it yields neither before it was picked nor after. */
Test(shard, an_urgent_destage_does_not_wait_for_reads_to_end)
{
    struct rig r;
    uint32_t x;

    rig_init(&r, &(struct rig_opts){.seed = 45});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 8, 1), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        r.shard->fg_in_flight[i]++; /* there is always one */
    x = extent_find(&r.shard->xt, 1, 0);
    extent_at(&r.shard->xt, x)->flags |= EXTENT_URGENT;
    extent_relist(&r.shard->xt, x);
    shard_start(r.shard);
    cr_assert_eq(sim_run_until(r.sim, all_clean, &r, 10 * NS_PER_S), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        r.shard->fg_in_flight[i]--;
    rig_expect(&r, 0, 8, 1);
    rig_fini(&r);
}

static void detached(void *ctx, int e) { *(int *)ctx = e; }
static bool is_detached(void *ctx) { return *(int *)ctx == 0; }

/* The lane has its extents, and yields to reads that never end: of another volume's, on the same disk. */
Test(shard, a_deletion_does_not_wait_for_reads_to_end)
{
    int gone = 1;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 46});
    cr_assert_eq(rig_boot(&r), 0);
    for (uint64_t b = 0; b < 200; b += 2)
        cr_assert_eq(rig_write(&r, b, 1, 1), 0);
    r.shard->t.dirty_start_pct = 0;
    shard_start(r.shard);
    cr_assert_eq(sim_run_until(r.sim, a_lane_writes, &r, 10 * NS_PER_S), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        r.shard->fg_in_flight[i]++;
    shard_detach(r.shard, &r.vol, detached, &gone);
    cr_assert_eq(sim_run_until(r.sim, is_detached, &gone, 10 * NS_PER_S), 0);
    cr_assert_eq(rig_used(&r), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        r.shard->fg_in_flight[i]--;
    rig_fini(&r);
}

Test(shard, deleting_a_layer_gives_everything_back)
{
    struct rig r;
    int err = 1;

    rig_init(&r, &(struct rig_opts){.seed = 9});
    cr_assert_eq(rig_boot(&r), 0);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(rig_write(&r, i * 256, 30, 1), 0);
    rig_drain(&r, true);
    cr_assert_eq(rig_write(&r, 1530, 30, 1), 0);
    shard_detach(r.shard, &r.vol, detached, &err);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_eq(err, 0);
    cr_assert_eq(rig_used(&r), 0);
    cr_assert_eq(cold_reserved(r.cold), 0);
    cr_assert_eq(r.shard->ix.nr_entries, 0);
    cr_assert_eq(r.shard->xt.nr_used, 0);
    shard_verify(r.shard);
    rig_fini(&r);
}

Test(shard, a_failed_shard_answers_a_deletion_and_the_next_start_finishes_it)
{
    struct rig r;
    int err = 1;

    rig_init(&r, &(struct rig_opts){.seed = 13});
    cr_assert_eq(rig_boot(&r), 0);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(rig_write(&r, i * 256, 30, 1), 0);
    shard_fail(r.shard, -FIRN_E_DEVICE_FAILED);
    shard_detach(r.shard, &r.vol, detached, &err);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_eq(err, -FIRN_E_DEVICE_FAILED);
    err = 1;
    rig_restart(&r);
    shard_detach(r.shard, &r.vol, detached, &err);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_eq(err, 0);
    cr_assert_eq(r.shard->xt.nr_used, 0);
    rig_fini(&r);
}

Test(shard, reclaim_keeps_writes_going_for_many_times_the_size_of_the_log)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 10, .segments = 12});
    cr_assert_eq(rig_boot(&r), 0);
    srand(10);
    for (uint64_t i = 1; i <= 3000; i++)
        cr_assert_eq(rig_write(&r, (uint64_t)rand() % 2040, 1 + (uint32_t)rand() % 8, i), 0);
    cr_assert_gt(shard_stats(r.shard)->reclaim_segments, 20);
    rig_drain(&r, true);
    rig_stop(&r);
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    rig_fini(&r);
}

/* No capacity device takes a write, so only moves make room; most of the log is dirty, in pieces, and each write is a group of
 * its own with a header as large as its block. */
struct watched { struct rig *r; uint64_t entries, most; bool done; };

/* Asked after every event, and so after every pass. */
static bool watched_done(void *ctx)
{
    struct watched *w = ctx;
    uint64_t now = w->r->shard->ix.nr_entries;

    if (w->entries > now)
        w->most = MAX(w->most, w->entries - now);
    w->entries = now;
    return w->done;
}

static void watched_end(struct blk_io *io) { ((struct watched *)io->ctx)->done = true; }

static void write_watched(struct watched *w, uint64_t lba)
{
    struct iovec iov = {buf, 32 * BLOCK_BYTES};
    struct blk_io io = {.op = BLK_WRITE, .lba = lba, .nlb = 32, .iov = &iov, .iovcnt = 1, .cb = watched_end, .ctx = w};

    w->done = false;
    rig_fill(w->r, buf, lba, 32, 1);
    blk_submit(&w->r->vol.blk, &io);
    cr_assert_eq(sim_run_until(w->r->sim, watched_done, w, NS_PER_S), 0);
    cr_assert_eq(io.err, 0);
}

/* Hosts' requests wait for the end of a pass. A segment of 8128 clean blocks is dropped in several. */
Test(shard, reclaim_takes_a_bounded_part_of_a_pass)
{
    struct watched w = {0};
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 33, .segments = 6, .segment_bytes = 32 * MIB, .hdd_extents = 64, .volume_blocks = 32768});
    cr_assert_eq(rig_boot(&r), 0);
    w.r = &r;
    for (uint64_t b = 0; b < 32768; b += 32)
        write_watched(&w, b);
    cr_assert_gt(r.shard->stats.reclaim_dropped_blocks, 4096 + 2048);
    cr_assert_gt(w.most, 0);
    cr_assert_leq(w.most, 4096, "%llu", (unsigned long long)w.most);
    for (uint64_t b = 0; b < 32768; b += 1024)
        rig_expect(&r, b, 32, 1);
    rig_fini(&r);
}

Test(shard, reclaim_alone_keeps_a_nearly_full_log_of_single_blocks_going)
{
    enum { DIRTY = 784, AN_EXTENT = 98 };
    static uint64_t stamp[DIRTY];
    struct journal_stats js = {0};
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 27, .volume_blocks = 16 * 256});
    r.geo.align_bytes = 4096;
    r.opts.dirty_max_pct = 100;
    r.opts.groups_in_flight = 16; /* nothing makes moves wait for each other */
    srand(27);
    cr_assert_eq(rig_boot(&r), 0);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_fail_nth(r.hdd[i], DEV_WRITE, 1, UINT32_MAX);
    for (uint64_t i = 0; i < 6000; i++) {
        uint64_t b = i < DIRTY ? i : (uint64_t)rand() % DIRTY;

        cr_assert_eq(rig_write(&r, b / AN_EXTENT * 512 + b % AN_EXTENT, 1, i + 1), 0);
        stamp[b] = i + 1;
        if (i % 1500 == 700) /* seals what is partly filled */
            rig_restart(&r);
    }
    shard_journal_stats(r.shard, &js);
    cr_assert_gt(js.groups_moves, 10);
    cr_assert_geq(js.moved_bytes / BLOCK_BYTES, 6 * js.groups_moves, "moves share headers: %lu blocks in %lu groups",
                  (unsigned long)(js.moved_bytes / BLOCK_BYTES), (unsigned long)js.groups_moves);
    for (uint64_t b = 0; b < DIRTY; b++)
        rig_expect(&r, b / AN_EXTENT * 512 + b % AN_EXTENT, 1, stamp[b]);
    shard_verify(r.shard);
    rig_fini(&r);
}

/* ---- a device that hangs (B13) ---- */

static struct blk_io hung_io[400];
static unsigned hung_done, hung_failed;

static void hung_answer(struct blk_io *io)
{
    hung_done++;
    hung_failed += io->err == -FIRN_E_DEVICE_FAILED;
    cr_assert(io->err == 0 || io->err == -FIRN_E_DEVICE_FAILED);
}

/* Extents 0, 2, 4, .. 14, not neighbours, so that they lie on both devices by turns. */
static uint16_t settle_on_both(struct rig *r, unsigned per_dev[RIG_HDDS])
{
    memset(per_dev, 0, RIG_HDDS * sizeof(per_dev[0]));
    for (uint64_t e = 0; e < 16; e += 2)
        cr_assert_eq(rig_write(r, e * 256, 8, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    for (uint32_t e = 0; e < 16; e += 2)
        per_dev[rig_extent(r, e)->place.dev]++;
    cr_assert_gt(per_dev[0], 1);
    cr_assert_gt(per_dev[1], 1);
    return rig_extent(r, 0)->place.dev;
}

static void write_behind(struct rig *r, unsigned i, uint64_t lba)
{
    static struct iovec iov;

    iov = (struct iovec){buf, 8 * BLOCK_BYTES};
    hung_io[i] = (struct blk_io){.op = BLK_WRITE, .lba = lba, .nlb = 8, .iov = &iov, .iovcnt = 1, .cb = hung_answer};
    blk_submit(&r->vol.blk, &hung_io[i]);
}

static bool lies_on(const struct rig *r, uint32_t e, uint16_t dev)
{
    uint32_t x = extent_find(&r->shard->xt, 1, e);

    return x != EXTENT_NONE && extent_at(&r->shard->xt, x)->place.dev == dev;
}

/* More than the whole log may hold, to the extents of one device. */
static void overload(struct rig *r, uint16_t dev)
{
    unsigned i = 0;

    hung_done = hung_failed = 0;
    rig_fill(r, buf, 0, 8, 9);
    for (uint64_t at = 0; i < ARRAY_LEN(hung_io); at = (at + 8) % 256)
        for (uint32_t e = 0; e < 16 && i < ARRAY_LEN(hung_io); e += 2)
            if (lies_on(r, e, dev))
                write_behind(r, i++, e * 256 + at);
}

/* All that does not lie on the device is written whole, several times; how many extents that were. */
static unsigned others_go_on(struct rig *r, uint16_t hung, uint64_t stamp)
{
    unsigned nr = 0;

    for (uint64_t i = 0; i < 96; i++)
        for (uint32_t e = 0; e < 16; e++)
            if (!lies_on(r, e, hung)) {
                cr_assert_eq(rig_write(r, e * 256 + (i * 8) % 256, 8, stamp), 0);
                nr++;
            }
    return nr / 96;
}

Test(shard, a_device_that_hangs_stops_only_what_lies_on_it)
{
    unsigned per_dev[RIG_HDDS];
    struct rig r;
    uint16_t hung;
    uint64_t began;

    rig_init(&r, &(struct rig_opts){.seed = 26, .hdd_extents = 24, .volume_blocks = 16 * 256});
    cr_assert_eq(rig_boot(&r), 0);
    hung = settle_on_both(&r, per_dev);
    sim_disk_faults(r.hdd[hung])->hung = 1000000;
    overload(&r, hung);
    sim_run_for(r.sim, NS_PER_S);
    cr_assert_lt(hung_done, ARRAY_LEN(hung_io), "its share is full");
    began = sim_now_ns(r.sim);
    cr_assert_gt(others_go_on(&r, hung, 5), per_dev[1 - hung]);
    cr_assert_lt(sim_now_ns(r.sim) - began, 25 * NS_PER_S, "before anybody calls it hung");
    sim_run_for(r.sim, 40 * NS_PER_S);
    cr_assert_eq(hung_done, ARRAY_LEN(hung_io), "past the deadline what waits is answered");
    cr_assert_gt(hung_failed, 0);
    cr_assert_geq(others_go_on(&r, hung, 6), per_dev[1 - hung] + 7, "and new extents go to the other device");
    shard_verify(r.shard);
    cr_assert(shard_degraded(r.shard, hung));
    rig_expect(&r, 0, 8, 9); /* what was acknowledged is in the log */
    sim_disk_heal(r.hdd[hung]);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    cr_assert_not(r.shard->hung[hung]);
    rig_restart(&r);
    rig_expect(&r, 0, 8, 9);
    rig_fini(&r);
}

static unsigned answered, answered_well;

static void count_answer(struct blk_io *io)
{
    answered++;
    answered_well += io->err == 0;
}

/* Appends that wait for a segment wait for a batch that frees one. When no batch will commit any more, they are told. */
Test(shard, writes_that_wait_for_a_segment_are_answered_when_the_metadata_fails)
{
    static struct blk_io io[200];
    struct iovec iov = {buf, 16 * BLOCK_BYTES};
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 25, .segments = 12});
    cr_assert_eq(rig_boot(&r), 0);
    sim_meta_faults(r.store)->fail_nth = 1;
    answered = answered_well = 0;
    for (unsigned i = 0; i < ARRAY_LEN(io); i++) {
        io[i] = (struct blk_io){.op = BLK_WRITE, .lba = 16, .nlb = 16, .iov = &iov, .iovcnt = 1, .cb = count_answer};
        blk_submit(&r.vol.blk, &io[i]);
    }
    sim_run_for(r.sim, 100 * NS_PER_S);
    cr_assert_neq(r.shard->failed, 0);
    cr_assert_gt(answered_well, 10);
    cr_assert_eq(answered, ARRAY_LEN(io), "%u of %zu", answered, ARRAY_LEN(io));
    rig_drain(&r, true);
    (void)shard_stop(r.shard);
    rig_restart(&r);
    rig_fini(&r);
}

/* ---- against an array ---- */

struct model { uint64_t stamp[8192]; }; /* of each lba */

static void model_step(struct rig *r, struct model *m, uint64_t lbas, uint64_t stamp)
{
    uint32_t n = 1 + (uint32_t)rand() % (rand() % 8 == 0 ? 300 : 12);
    uint64_t lba = (uint64_t)rand() % (lbas - 300), at = lba;
    int what = rand() % 100;

    if (what < 45) {
        n = MIN(n, r->o.lba_bytes == 512 ? 200u : 30u);
        cr_assert_eq(rig_write(r, lba, n, stamp), 0);
    } else if (what < 60) {
        cr_assert_eq(rig_zero(r, lba, n), 0);
        stamp = 0;
    } else if (what < 63) {
        rig_drain(r, rand() % 2);
        return;
    } else if (what < 66) {
        rig_restart(r);
        return;
    } else {
        for (; at < lba + MIN(n, 20u); at++)
            rig_expect(r, at, 1, m->stamp[at]);
        return;
    }
    for (; at < lba + n; at++)
        m->stamp[at] = stamp;
}

static void model_run(uint32_t lba_bytes, uint64_t seed)
{
    static struct model m;
    struct rig r;
    uint64_t lbas = lba_bytes == 512 ? 8192 : 2048;

    memset(&m, 0, sizeof(m));
    srand((unsigned)seed);
    rig_init(&r, &(struct rig_opts){.seed = seed, .lba_bytes = lba_bytes, .segments = 14,
                                    .volume_blocks = lbas * lba_bytes / BLOCK_BYTES});
    cr_assert_eq(rig_boot(&r), 0);
    for (uint64_t i = 1; i <= 600; i++)
        model_step(&r, &m, lbas, i);
    rig_drain(&r, true);
    rig_restart(&r);
    for (uint64_t i = 0; i < lbas; i++)
        rig_expect(&r, i, 1, m.stamp[i]);
    rig_fini(&r);
}

Test(shard, agrees_with_an_array_through_crashes)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        model_run(4096, seed);
}

Test(shard, agrees_with_an_array_through_crashes_in_units_of_512_bytes)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        model_run(512, seed);
}
