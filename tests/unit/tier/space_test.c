/* SPDX-License-Identifier: Apache-2.0 */
/* Room on capacity devices: refused where there is none, given back by trims, by zeroes and with the volume. */
#include "rig.h"

Test(space, a_full_pool_refuses_new_extents_and_takes_overwrites)
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
Test(space, an_extent_trimmed_block_by_block_before_its_first_destage_makes_room)
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

Test(space, a_destaged_extent_trimmed_block_by_block_makes_room)
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

static void zeroed(struct blk_io *io) { (void)io; }
static bool slots_taken(void *ctx) { return ((struct rig *)ctx)->shard->ix.virtual_used > 3000; }

/* Many ranges that cover extents in part, at once: a crash finds no more of them in the log than the next start has slots. */
Test(space, zeroes_under_way_at_a_crash_never_outgrow_the_index)
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

static void detached(void *ctx, int e) { *(int *)ctx = e; }

Test(space, deleting_a_layer_gives_everything_back)
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

Test(space, a_failed_shard_answers_a_deletion_and_the_next_start_finishes_it)
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
