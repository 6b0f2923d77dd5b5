/* SPDX-License-Identifier: Apache-2.0 */
/* unread_test.c: records of the metadata that cannot be read for a while: nothing is called lost for it, and nothing hangs. */
#include "tier/map.h"
#include "tier/sums.h"
#include "rig.h"

#define GETS_MAX 64u

/* The metadata's gets fail while `broken` is set, from the loop, as they do in a store that gave up. */
static struct faulty {
    const struct meta_ops *under;
    struct meta_ops ops;
    bool     broken;
    uint32_t gets;               /* that failed */
    struct meta_get_req *pending[GETS_MAX];
} faulty;

static void answer_get(struct env_task *t)
{
    for (uint32_t i = 0; i < GETS_MAX; i++) {
        struct meta_get_req *q = faulty.pending[i];

        if (q == NULL || &q->priv.task != t)
            continue;
        faulty.pending[i] = NULL;
        q->err = -FIRN_E_META;
        q->cb(q);
        return;
    }
}

static void faulty_get(struct meta *m, struct meta_get_req *q)
{
    uint32_t i = 0;

    if (!faulty.broken) {
        faulty.under->get(m, q);
        return;
    }
    while (i < GETS_MAX && faulty.pending[i] != NULL)
        i++;
    cr_assert_lt(i, GETS_MAX);
    faulty.pending[i] = q;
    faulty.gets++;
    q->priv.task = (struct env_task){.fn = answer_get};
    env_defer(q->env, &q->priv.task);
}

static void break_gets(struct rig *r)
{
    faulty = (struct faulty){.under = r->meta->ops, .ops = *r->meta->ops, .broken = true};
    faulty.ops.get = faulty_get;
    r->meta->ops = &faulty.ops;
}

static uint32_t extent_0(struct rig *r) { return extent_find(&r->shard->xt, layer_find(r->shard, RIG_LAYER), 0); }

/* 16 blocks of stamp 3 that only a capacity device has; their checksums are not in RAM, and cannot be had. */
static void settle_and_break(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed});
    cr_assert_eq(rig_boot(r), 0);
    cr_assert_eq(rig_write(r, 0, 16, 3), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t id = index_find(&r->shard->ix, layer_find(r->shard, RIG_LAYER), i);

        if (id != INDEX_NONE)
            map_remove(r->shard, id);
    }
    sums_drop(r->shard, extent_0(r));
    break_gets(r);
}

Test(unread, a_read_says_that_it_failed_and_calls_nothing_damaged)
{
    static _Alignas(4096) char b[2 * BLOCK_BYTES];
    struct rig r;

    settle_and_break(&r, 41);
    cr_assert_eq(rig_read(&r, 0, 2, b), -FIRN_E_META);
    cr_assert_eq(r.shard->damage.nr, 0);
    faulty.broken = false;
    rig_expect(&r, 0, 16, 3);
    rig_fini(&r);
}

/* The copy in the log is rotten; whether the device has another one nobody can say. */
static void rot_and_break(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed});
    cr_assert_eq(rig_boot(r), 0);
    cr_assert_eq(rig_write(r, 0, 16, 3), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    sim_disk_rot(r->ssd, rig_log_offset(r, 4));
    sums_drop(r->shard, extent_0(r));
    break_gets(r);
}

Test(unread, the_other_copy_of_a_rotten_block_is_not_given_up)
{
    static _Alignas(4096) char b[BLOCK_BYTES];
    struct rig r;

    rot_and_break(&r, 42);
    cr_assert_eq(rig_read(&r, 4, 1, b), -FIRN_E_META);
    cr_assert_eq(r.shard->damage.nr, 0);
    faulty.broken = false;
    rig_expect(&r, 4, 1, 3);
    rig_fini(&r);
}

Test(unread, a_discard_of_a_part_ends_and_is_right, .timeout = 60)
{
    bool done = false;
    struct blk_io io = {.op = BLK_WRITE_ZEROES, .lba = 4, .nlb = 40, .cb = rig_ended, .ctx = &done};
    struct rig r;

    settle_and_break(&r, 43);
    blk_submit(&r.vol.blk, &io);
    for (uint32_t i = 0; !done && i < 100000; i++)
        cr_assert_eq(sim_step(r.sim), 0);
    cr_assert(done, "not after %u gets", faulty.gets);
    cr_assert_eq(io.err, 0);
    cr_assert_eq(faulty.gets, 1);
    faulty.broken = false;
    shard_verify(r.shard);
    rig_expect(&r, 0, 4, 3);
    rig_expect(&r, 4, 40, 0);
    rig_drain(&r, true);
    rig_restart(&r);
    rig_expect(&r, 0, 4, 3);
    rig_expect(&r, 4, 40, 0);
    rig_fini(&r);
}

Test(unread, a_drain_with_a_discard_under_way_ends, .timeout = 60)
{
    bool done = false;
    struct blk_io io = {.op = BLK_WRITE_ZEROES, .lba = 0, .nlb = 8, .cb = rig_ended, .ctx = &done};
    struct rig r;

    settle_and_break(&r, 44);
    blk_submit(&r.vol.blk, &io);
    rig_drain(&r, false);
    cr_assert_eq(sim_run_until(r.sim, rig_is_set, &done, NS_PER_S), 0);
    rig_fini(&r);
}

Test(unread, an_extent_is_described_when_its_checksums_can_be_had_again)
{
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 45});
    cr_assert_eq(rig_boot(&r), 0);
    cr_assert_eq(rig_write(&r, 0, 16, 3), 0);
    r.shard->t.dirty_start_pct = 0;
    shard_kick(r.shard);
    cr_assert_eq(sim_run_for(r.sim, NS_PER_S), 0);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    rig_restart(&r);
    sums_drop(r.shard, extent_0(&r));
    break_gets(&r);
    shard_kick(r.shard);
    cr_assert_eq(sim_run_for(r.sim, POLICY_SETTLED_NS + NS_PER_S), 0);
    cr_assert_gt(faulty.gets, 0);
    cr_assert_lt(faulty.gets, 20, "it does not ask all the time: %u", faulty.gets);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 0);
    faulty.broken = false;
    cr_assert_eq(sim_run_for(r.sim, NS_PER_S), 0);
    cr_assert_eq(shard_stats(r.shard)->descriptor_writes, 1);
    cr_assert_not(extent_at(&r.shard->xt, extent_0(&r))->flags & EXTENT_UNDESCRIBED);
    rig_fini(&r);
}
