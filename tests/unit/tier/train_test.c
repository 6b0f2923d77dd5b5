/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of several extents that are in flight together (mover_io.c): each extent fails alone. */
#include "tier/mover.h"
#include "rig.h"

#define EXTENTS 6u
#define RUNS    5u

static void write_all(struct rig *r, uint32_t version)
{
    for (uint32_t x = 0; x < EXTENTS; x++)
        for (uint32_t i = 0; i < RUNS; i++)
            cr_assert_eq(rig_write(r, x * EXTENT_BLOCKS + i * 40, 4, version), 0);
}

static uint16_t dev_of(const struct rig *r, uint32_t no)
{
    return rig_extent(r, no)->place.dev;
}

static uint32_t on_dev(const struct rig *r, uint16_t dev)
{
    uint32_t nr = 0;

    for (uint32_t x = 0; x < EXTENTS; x++)
        nr += dev_of(r, x) == dev;
    return nr;
}

static bool a_train_is_out(void *ctx)
{
    const struct shard *s = ((struct rig *)ctx)->shard;

    return s->lanes[0].runs > 1 || s->lanes[1].runs > 1;
}

/* The nth run that its device is sent is refused, once. */
static void refuse(uint32_t nth)
{
    struct rig r;
    uint16_t dev;

    rig_init(&r, &(struct rig_opts){.seed = nth});
    cr_assert_eq(rig_boot(&r), 0);
    write_all(&r, 1);
    rig_drain(&r, true);
    dev = dev_of(&r, 0);
    cr_assert_eq(on_dev(&r, dev), EXTENTS, "neighbours lie together");
    write_all(&r, 2);
    sim_disk_fail_nth(r.hdd[dev], DEV_WRITE, nth, 1);
    r.shard->t.dirty_start_pct = 0;
    shard_start(r.shard);
    cr_assert_eq(sim_run_until(r.sim, a_train_is_out, &r, 5 * NS_PER_S), 0);
    rig_drain(&r, true);
    cr_assert_eq(r.shard->ix.nr_dirty, 0);
    cr_assert_eq(on_dev(&r, dev), EXTENTS - 1, "the one that was refused has gone elsewhere, the others have not");
    shard_verify(r.shard);
    rig_restart(&r);
    for (uint32_t x = 0; x < EXTENTS; x++)
        for (uint32_t i = 0; i < RUNS; i++)
            rig_expect(&r, x * EXTENT_BLOCKS + i * 40, 4, 2);
    rig_fini(&r);
}

Test(train, a_run_that_fails_costs_its_extent_and_no_other, .timeout = 60)
{
    for (uint32_t nth = 1; nth <= EXTENTS * RUNS; nth += 4)
        refuse(nth);
}
