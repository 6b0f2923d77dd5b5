/* SPDX-License-Identifier: Apache-2.0 */
/* Segments of copies beside a log that is full of what is dirty: the log gets on, although no destage can empty anything. */
#include "tier/fetch.h"
#include "tier/map.h"
#include "tier/places.h"
#include "tier/reclaim.h"
#include "copies.h"

#define VOLUME 1536u /* blocks: six extents */

static uint32_t nr_slots(const struct rig *r)
{
    uint32_t nr = 0;

    for (uint32_t g = 0; g < r->o.segments; g++)
        nr += r->shard->seg[g].use == SEGMENT_SLOTS;
    return nr;
}

static uint32_t clean_sealed(const struct rig *r)
{
    uint32_t nr = 0;

    for (uint32_t g = 0; g < r->o.segments; g++)
        nr += r->shard->seg[g].use == SEGMENT_LOG_SEALED && r->shard->ix.seg_dirty[g] == 0;
    return nr;
}

/* Copies take all that is free, as they come over time while the log rests. */
static void take_all(struct rig *r)
{
    for (unsigned i = 0; i < 32; i++) {
        (void)journal_slots_open(r->shard->j, 0);
        sim_run_for(r->sim, NS_PER_S / 100);
    }
    cr_assert_eq(segpool_free_nr(r->segpool), 0);
}

/* All sealed segments of the log hold something dirty of a volume that stays on the SSD; the rest is for copies. */
static void begin(struct rig *r)
{
    struct shard *s;

    rig_init(r, &(struct rig_opts){.seed = 91, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = 32});
    r->opts.admit_touches = 1;
    cr_assert_eq(rig_boot(r), 0);
    s = r->shard;
    for (uint64_t b = 0; b < 256; b += 32)
        cr_assert_eq(rig_write(r, b, 32, 1), 0);
    rig_drain(r, true);
    shard_start(s);
    shard_set_tier(s, &r->vol, VOLUME_SSD);
    copies_drop_log(r);
    for (uint64_t k = 0, b = 512; k < 26 && (clean_sealed(r) > 0 || k < 20); k++) {
        for (uint64_t i = 0; i < 3; i++, b += 12) {
            cr_assert_eq(rig_write(r, b, 12, 2), 0);
            cr_assert_eq(rig_write(r, 1500, 8, 3 + k), 0);
        }
        sim_run_for(r->sim, NS_PER_S / 10);
    }
    sim_run_for(r->sim, 12 * NS_PER_S);
    take_all(r);
    for (unsigned round = 0; round < 2; round++)
        copies_make(r, 0, 256, 1);
    sim_run_for(r->sim, 100 * NS_PER_S);
    cr_assert_geq(nr_slots(r), 5);
}

/* They are free, but their headers say what they were. */
static void give_back(struct rig *r, uint32_t nr)
{
    for (uint32_t g = 0; g < r->o.segments && segpool_free_nr(r->segpool) < nr; g++)
        if (r->shard->seg[g].use == SEGMENT_SLOTS) {
            places_release(r->shard, g);
            sim_run_for(r->sim, NS_PER_S / 10);
        }
    cr_assert_eq(segpool_free_nr(r->segpool), nr);
}

static void write_with_hung_disks(struct rig *r)
{
    static char data[BLOCK_BYTES] __attribute__((aligned(4096)));
    struct iovec iov = {data, sizeof(data)};
    bool done = false;
    struct blk_io io = {.op = BLK_WRITE, .lba = 900, .nlb = 1, .iov = &iov, .iovcnt = 1, .cb = rig_ended, .ctx = &done};

    for (unsigned d = 0; d < RIG_HDDS; d++)
        sim_disk_faults(r->hdd[d])->hung = 1000000;
    rig_fill(r, data, 900, 1, 77);
    blk_submit(&r->vol.blk, &io);
    cr_assert_eq(sim_run_until(r->sim, rig_is_set, &done, 10 * NS_PER_S), 0);
    cr_assert_eq(io.err, 0);
    rig_expect(r, 900, 1, 77);
}

Test(places_reserve, what_was_given_back_is_free_after_a_start, .timeout = 60)
{
    struct rig r;
    uint32_t target;

    begin(&r);
    target = reclaim_free_target(r.shard);
    give_back(&r, target);
    cr_assert_eq(dev_flush_sync(r.ssd_dev), 0);
    rig_restart(&r);
    cr_assert_geq(segpool_free_nr(r.segpool), target);
    cr_assert_eq(clean_sealed(&r), 0);
    write_with_hung_disks(&r);
    shard_verify(r.shard);
    rig_fini(&r);
}

static uint32_t dirty_segment(const struct rig *r)
{
    uint32_t g = 0;

    while (g < r->o.segments && (r->shard->seg[g].use != SEGMENT_LOG_SEALED || r->shard->ix.seg_dirty[g] == 0))
        g++;
    cr_assert_lt(g, r->o.segments);
    return g;
}

Test(places_reserve, copies_go_when_moves_wait_for_a_segment, .timeout = 60)
{
    struct shard *s;
    struct rig r;
    uint32_t had;

    begin(&r);
    s = r.shard;
    had = nr_slots(&r);
    cr_assert_eq(clean_sealed(&r), 0);
    s->rc.segment = dirty_segment(&r);
    s->rc.cursor = 0;
    s->rc.passes = 1;
    s->rc.look_ns = 0;
    s->rc.state = RECLAIM_MOVE;
    shard_kick(s);
    for (unsigned i = 0; i < 70; i++) /* more than is left of the open segment */
        write_with_hung_disks(&r);
    cr_assert_lt(nr_slots(&r), had);
    shard_verify(s);
    rig_fini(&r);
}
