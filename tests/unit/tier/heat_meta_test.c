/* SPDX-License-Identifier: Apache-2.0 */
/* heat_meta_test.c: what of a shard's heat outlives a stop, a crash, and the loss of its records. */
#include "tier/heat_meta.h"
#include "rig.h"

#include <math.h>

#define BLOCKS 2048u             /* two cells */
#define LAYER(r) ((uint32_t)(uintptr_t)(r)->vol.priv)

static uint32_t records(struct rig *r)
{
    return sim_meta_count(r->store, 'T');
}

static void boot(struct rig *r, uint64_t seed)
{
    rig_init(r, &(struct rig_opts){.seed = seed, .volume_blocks = BLOCKS});
    cr_assert_eq(rig_boot(r), 0);
}

static struct heat_value heat(struct rig *r, uint32_t no) { return heat_get(&r->shard->heat, heat_now_s(r->shard), LAYER(r), no); }

static void near(float is, double want) { cr_assert(fabs((double)is - want) <= want / 200, "%f, not %f", (double)is, want); }

static void wait_for(struct rig *r, uint64_t ns) { sim_run_for(r->sim, ns); }

static void warm(struct rig *r)
{
    for (uint32_t i = 0; i < 40; i++) {
        cr_assert_eq(rig_write(r, i % 4 * 16, 4, 1 + i), 0);
        rig_expect(r, 1024, 32, 0);
    }
}

Test(heat_meta, requests_of_hosts_are_touches, .timeout = 60)
{
    struct rig r;

    boot(&r, 1);
    warm(&r);
    near(heat(&r, 0).write, 40);
    near(heat(&r, 0).use, 40);
    cr_assert_eq(heat(&r, 0).read, 0);
    near(heat(&r, 1).read, 40);
    cr_assert_eq(heat(&r, 1).use, 0, "of 128 KiB each");
    cr_assert_eq(rig_zero(&r, 0, 16), 0);
    near(heat(&r, 0).write, 40);
    rig_fini(&r);
}

Test(heat_meta, a_stop_keeps_it_and_time_off_does_not_cool, .timeout = 60)
{
    struct rig r;

    boot(&r, 2);
    warm(&r);
    wait_for(&r, 1800 * NS_PER_S);
    cr_assert_eq(rig_write(&r, 0, 1, 5), 0);
    rig_stop(&r);
    cr_assert_eq(records(&r), 1, "both cells are of one group");
    cr_assert_eq(rig_boot(&r), 0);
    near(heat(&r, 0).write, 40 * sqrt(0.5) + 1);
    near(heat(&r, 1).read, 40 * sqrt(0.5));
    wait_for(&r, 1800 * NS_PER_S);
    near(heat(&r, 0).write, 20 + sqrt(0.5));
    rig_fini(&r);
}

Test(heat_meta, a_crash_costs_a_minute, .timeout = 60)
{
    struct rig r;

    boot(&r, 3);
    warm(&r);
    wait_for(&r, 61 * NS_PER_S);
    cr_assert_eq(rig_write(&r, 0, 1, 5), 0);
    rig_restart(&r);
    cr_assert_gt(heat(&r, 0).write, 38);
    cr_assert_lt(heat(&r, 0).write, 40.5f);
    rig_fini(&r);
}

Test(heat_meta, the_first_save_of_a_start_takes_its_time, .timeout = 60)
{
    struct rig r;

    boot(&r, 7);
    wait_for(&r, 100 * NS_PER_S);
    rig_restart(&r);
    cr_assert_eq(rig_write(&r, 0, 1, 5), 0);
    wait_for(&r, NS_PER_S);
    cr_assert_eq(records(&r), 0);
    wait_for(&r, 60 * NS_PER_S);
    cr_assert_eq(records(&r), 1);
    rig_fini(&r);
}

Test(heat_meta, what_has_not_changed_is_not_written_again, .timeout = 60)
{
    struct rig r;
    uint64_t batches;

    boot(&r, 4);
    warm(&r);
    rig_drain(&r, true);
    batches = shard_stats(r.shard)->meta_batches;
    wait_for(&r, 3600 * NS_PER_S);
    cr_assert_eq(shard_stats(r.shard)->meta_batches, batches);
    cr_assert(!env_timer_armed(&r.shard->timer), "an idle shard sleeps");
    rig_fini(&r);
}

Test(heat_meta, without_its_records_every_byte_reads_the_same, .timeout = 60)
{
    static _Alignas(4096) char with[BLOCKS * BLOCK_BYTES], without[BLOCKS * BLOCK_BYTES];

    for (int how = 0; how < 3; how++) {
        struct rig r;

        boot(&r, 5);
        warm(&r);
        rig_drain(&r, true);
        cr_assert_eq(rig_write(&r, 32, 8, 99), 0); /* some of it dirty */
        for (uint32_t b = 0; b < BLOCKS; b += 64)
            cr_assert_eq(rig_read(&r, b, 64, with + b * BLOCK_BYTES), 0);
        rig_stop(&r);
        cr_assert_gt(records(&r), 0);
        if (how == 0)
            cr_assert_eq(sim_meta_drop(r.store, 'T'), 1);
        else if (how == 1)
            cr_assert(sim_meta_rot(r.store, 'T'));
        cr_assert_eq(rig_boot(&r), 0);
        cr_assert_eq(heat(&r, 0).write > 0, how == 2, "a record that is there counts");
        for (uint32_t b = 0; b < BLOCKS; b += 64)
            cr_assert_eq(rig_read(&r, b, 64, without + b * BLOCK_BYTES), 0);
        cr_assert_eq(memcmp(with, without, sizeof(with)), 0);
        rig_fini(&r);
    }
}

static void detach(struct rig *r)
{
    bool done = false;

    shard_detach(r->shard, &r->vol, rig_detached, &done);
    cr_assert_eq(sim_run_until(r->sim, rig_is_set, &done, 100 * NS_PER_S), 0);
    cr_assert_eq(records(r), 0);
    cr_assert_eq(r->shard->heat.nr_changed, 0);
    wait_for(r, 120 * NS_PER_S);
    cr_assert_eq(records(r), 0, "and none comes back");
}

Test(heat_meta, deleted_layers_take_their_records_along, .timeout = 60)
{
    struct rig r;

    boot(&r, 6);
    for (uint32_t i = 0; i < 2; i++) {
        warm(&r);
        rig_drain(&r, true);
        cr_assert_eq(records(&r), 1);
        cr_assert_eq(rig_write(&r, 0, 1, 5), 0); /* what has changed since goes as well */
        detach(&r);
        r.vol.layer++;
        cr_assert_eq(shard_attach(r.shard, &r.vol), 0);
    }
    rig_fini(&r);
}
