/* SPDX-License-Identifier: Apache-2.0 */
/* What a shard promises: what was acknowledged is read, after any crash, and nothing older or other than it. */
#include <errno.h>
#include <stdlib.h>

#include "tier/map.h"
#include "tier/sums.h"
#include "rig.h"

static _Alignas(4096) char buf[3 * BLOCK_BYTES];

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
