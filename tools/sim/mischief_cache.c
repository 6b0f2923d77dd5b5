/* SPDX-License-Identifier: Apache-2.0 */
/* mischief_cache.c: what happens to the SSDs of clean copies. None of it may be seen by a host, or stop a start: so nothing here says
 * that data may be damaged, or that a device failed.
 *
 * Between boots one is away, comes back, is blank but for its labels, changes its place with the other one, or is an older copy of
 * itself. While hosts work, one fails for good, or loses some spots. Drawn from the seed's number and how far it has come: other chances
 * stay what they were.
 */
#include "tools/sim/world.h"

#include <stdlib.h>

#define STRIKE_EVERY 700u  /* requests between two blows */

static struct sim_disk *cache_disk(struct world *w, uint32_t i)
{
    assert(i < w->plan.cache_devs);
    return w->machine.disk[1 + w->plan.capacity_devs + i];
}

static uint64_t area_bytes(const struct world *w) { return (uint64_t)w->plan.cache_segments * w->plan.segment_bytes; }

static void fired(struct world *w, enum sim_fault f, const char *what, uint32_t i)
{
    world_say(w, "cache %u: %s", i, what);
    sim_fault_fired(w->sim, f);
    sim_fault_mattered(w->sim, f);
}

static void fill(struct world *w, uint32_t i, int byte)
{
    static char block[BLOCK_BYTES];

    memset(block, byte, sizeof(block));
    for (uint64_t off = 0; off < area_bytes(w); off += BLOCK_BYTES)
        sim_disk_poke(cache_disk(w, i), MIB + off, block, BLOCK_BYTES);
}

/* The whole area as it was at an earlier boot: every header, table and place of it was true once. */
static void older_copy(struct world *w, uint32_t i)
{
    if (w->cache_image == NULL) {
        w->cache_image = malloc(area_bytes(w));
        assert(w->cache_image != NULL);
        sim_disk_peek(cache_disk(w, i), MIB, w->cache_image, area_bytes(w));
        return;
    }
    fired(w, SIM_CACHE_OLD, "an older copy of itself", i);
    sim_disk_poke(cache_disk(w, i), MIB, w->cache_image, area_bytes(w));
}

static void swap_paths(struct world *w)
{
    struct tier_dev_opts *d = &w->topts.devs[1 + w->plan.capacity_devs], t = d[0];

    if (w->plan.cache_devs < 2)
        return;
    d[0] = d[1];
    d[1] = t;
    fired(w, SIM_CACHE_SWAPPED, "named in another order", 0);
}

void mischief_cache_boot(struct world *w)
{
    uint64_t drawn = w->opts->seed / 8 + w->res->crashes * 5;
    uint32_t i;

    if (w->plan.cache_devs == 0)
        return;
    for (i = 0; i < w->plan.cache_devs; i++)
        sim_disk_heal(cache_disk(w, i));
    i = (uint32_t)(drawn / 6 % w->plan.cache_devs);
    switch (drawn % 6) {
    case 0:
        sim_disk_faults(cache_disk(w, i))->gone = true;
        fired(w, SIM_CACHE_GONE, "away", i);
        break;
    case 1:
        fill(w, i, drawn / 12 % 2 == 0 ? 0 : 0xa5);
        fired(w, SIM_CACHE_BLANK, "blank but for its labels", i);
        break;
    case 2:
        older_copy(w, 0);
        break;
    case 3:
        swap_paths(w);
        break;
    default:
        break;
    }
}

/* After a request. */
void mischief_cache_act(struct world *w)
{
    uint64_t drawn = w->opts->seed / 16 + w->ops_done / STRIKE_EVERY;
    struct sim_disk *d;
    uint64_t off;

    if (w->plan.cache_devs == 0 || w->ops_done % STRIKE_EVERY != w->opts->seed % STRIKE_EVERY)
        return;
    d = cache_disk(w, (uint32_t)(drawn / 8 % w->plan.cache_devs));
    switch (drawn % 8) {
    case 0:
        sim_disk_faults(d)->eio_read = 1000000;
        break;
    case 1:
        sim_disk_fail_nth(d, DEV_WRITE, 1 + (uint32_t)(drawn / 8 % 4), UINT32_MAX);
        break;
    case 2:
        sim_disk_faults(d)->gone = true;
        break;
    case 3:
        for (unsigned i = 0; i < 20 && sim_disk_pick_written(d, MIB, MIB + area_bytes(w), &off); i++)
            if (i % 2 == 0)
                sim_disk_rot(d, off);
            else
                sim_disk_latent(d, off, 512);
        break;
    default:
        return;
    }
    world_say(w, "cache device struck, kind %u", (unsigned)(drawn % 8));
    sim_fault_fired(w->sim, SIM_CACHE_STRUCK);
    sim_fault_mattered(w->sim, SIM_CACHE_STRUCK);
}
