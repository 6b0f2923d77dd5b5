/* SPDX-License-Identifier: Apache-2.0 */
/* descs.c: at each start, what the server will not describe again must be described, durably: somebody whose metadata is lost has
 * nothing else. Judged where media keep what they were told.
 */
#include "tools/sim/world.h"

#include "tier/format.h"

#include <inttypes.h>

static struct sim_disk *capacity(struct world *w, uint16_t dev)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < w->topts.nr_devs; i++)
        if (w->topts.devs[i].role == TIER_CAPACITY && n++ == dev)
            return sim_machine_disk(&w->machine, w->topts.devs[i].path);
    return NULL;
}

/* The slot's, as tier_rebuild_map() finds it. */
static bool youngest(struct sim_disk *disk, const struct tier_described *e, struct extent_desc *out)
{
    static uint8_t buf[DESC_BYTES];
    struct extent_desc d;
    bool found;

    sim_disk_peek(disk, e->off_bytes, buf, sizeof(buf));
    found = extent_desc_decode(buf, out) == 0;
    for (uint32_t i = 0; i < e->ring_nr; i++) {
        sim_disk_peek(disk, ring_offset(i), buf, sizeof(buf));
        if (extent_desc_decode(buf, &d) != 0 || d.slot != e->slot || (found && !desc_younger(&d.age, &out->age)))
            continue;
        *out = d;
        found = true;
    }
    return found;
}

static void judge(void *ctx, const struct tier_described *e)
{
    struct world *w = ctx;
    struct sim_disk *disk = capacity(w, e->dev);
    struct extent_desc d;

    assert(disk != NULL);
    if (!youngest(disk, e, &d))
        world_fail(w, "layer %" PRIu64 " extent %" PRIu64 " counts as described and is not", e->layer, e->extent);
    else if (d.layer != e->layer || d.extent != e->extent || d.destaged_seq != e->destaged_seq)
        world_fail(w, "layer %" PRIu64 " extent %" PRIu64 " was destaged up to %" PRIu64 ", its description tells of layer %" PRIu64
                   " extent %" PRIu64 " up to %" PRIu64, e->layer, e->extent, e->destaged_seq, d.layer, d.extent, d.destaged_seq);
}

void descs_check(struct world *w)
{
    switch (w->plan.profile) {
    case PROFILE_CRASH:
    case PROFILE_SLOW:
    case PROFILE_TRANSIENT:
    case PROFILE_FAILING:
    case PROFILE_FULL:
    case PROFILE_NETWORK:
        if (!w->damaged)
            tier_described(w->tier, judge, w);
        return;
    case PROFILE_ROT:
    case PROFILE_META:
    case PROFILE_LYING:
    case PROFILE_NR:
        return;
    }
}
