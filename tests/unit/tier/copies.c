/* SPDX-License-Identifier: Apache-2.0 */
#include "copies.h"

#include "tier/fetch.h"
#include "tier/map.h"
#include "tier/places.h"

void copies_expect(struct rig *r, uint64_t from, uint64_t to, uint64_t stamp)
{
    for (uint64_t b = from; b < to; b += CHUNK_BLOCKS)
        rig_expect(r, b, CHUNK_BLOCKS, stamp);
}

void copies_make(struct rig *r, uint64_t from, uint64_t to, uint64_t stamp)
{
    uint64_t nr = (to - from) / CHUNK_BLOCKS;

    cr_assert_neq(nr % 7, 0, "or it would not come to all of them");
    for (uint64_t i = 0; i < nr; i++) {
        uint64_t block = from + i * 7 % nr * CHUNK_BLOCKS;

        rig_expect(r, block, CHUNK_BLOCKS, stamp);
        rig_places_settle(r);
        fetch_forget_extent(r->shard, extent_find(&r->shard->xt, 1, extent_no(block)));
    }
}

bool copies_has(const struct rig *r, uint64_t block)
{
    uint32_t id = index_find(&r->shard->ix, 1, block);

    return id != INDEX_NONE && in_place(r->shard, id);
}

uint32_t copies_nr(const struct rig *r)
{
    uint32_t nr = 0;

    for (uint64_t b = 0; b < r->o.volume_blocks; b++)
        nr += copies_has(r, b);
    return nr;
}

void copies_drop_log(struct rig *r)
{
    for (uint64_t b = 0; b < r->o.volume_blocks; b++) {
        uint32_t id = index_find(&r->shard->ix, 1, b);

        if (id != INDEX_NONE && !in_place(r->shard, id) && !(index_flags_of(&r->shard->ix, id) & INDEX_DIRTY))
            map_remove(r->shard, id);
    }
}

void copies_begin(struct rig *r, uint32_t segments, uint32_t cache_segments)
{
    rig_init(r, &(struct rig_opts){.seed = 91, .hdd_extents = 16, .volume_blocks = COPIES_VOLUME, .segments = segments,
                                   .caches = cache_segments > 0, .cache_segments = cache_segments});
    r->opts.admit_touches = 1;
    cr_assert_eq(rig_boot(r), 0);
    for (uint64_t b = 0; b < COPIES_VOLUME; b += 32)
        cr_assert_eq(rig_write(r, b, 32, 1), 0);
    rig_drain(r, true);
    shard_start(r->shard);
    copies_drop_log(r);
    for (unsigned i = 0; i < 100 && r->shard->places.slots.nr_places == 0; i++) {
        rig_expect(r, COPIES_VOLUME - 16, 16, 1); /* asks for a segment; what RAM has of it goes again */
        sim_run_for(r->sim, NS_PER_S);
        fetch_forget_extent(r->shard, extent_find(&r->shard->xt, 1, COPIES_VOLUME / EXTENT_BLOCKS - 1));
    }
    cr_assert_gt(r->shard->places.slots.nr_places, 0);
}

void copies_finish(struct rig *r)
{
    rig_drain(r, true);
    cr_assert(!places_busy(r->shard) && r->shard->places.nr_lent == 0 && r->shard->stage.nr_out == 0);
    rig_fini(r);
}
