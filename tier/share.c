/* SPDX-License-Identifier: Apache-2.0 */
/* share.c: what one capacity device may take of the shard, so that a device that hangs, or is slow, stops nobody else.
 *
 * 1. Dirty blocks are counted by the device on which their extent has its place. One device's may fill POLICY_SHARE_PCT of the
 *    limit of all; its zeroed blocks as much of the slots without payload. What has no place yet is nobody's. A pool with one
 *    device knows no shares.
 * 2. A write to an extent of a device whose share is full waits in that device's queue; those behind it go on. The share binds a
 *    healthy device as well: when it begins to hang it is too late to count.
 * 3. A device whose oldest request is past the deadline hangs: what waits for room in its share is answered with an error. Its dirty
 *    blocks stay where they are, in the log; reclaim moves them like any others.
 * 4. Extents that have a place there, but no batch that names it, get one elsewhere, and so do new ones (mover.c).
 * Failures: no room elsewhere: the extent keeps its place, and waits.
 */
#include "base/log.h"
#include "tier/gate.h"
#include "tier/map.h"
#include "tier/mover.h"
#include "tier/priv.h"

#define LOOK_NS (100 * NS_PER_MS)

bool share_full(const struct shard *s, uint16_t dev)
{
    return s->o.nr_capacity > 1 &&
           policy_share_full(s->dev_dirty[dev] + s->writing_blocks, s->log_blocks, s->t.dirty_max_pct);
}

/* The first device, of those whose extents the request touches, that has no room for more of it; EXTENT_NO_DEV: none. */
static uint16_t first_device(const struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks,
                             bool (*full)(const struct shard *s, uint16_t dev))
{
    for (uint32_t no = extent_no(block); no <= extent_no(block + nblocks - 1); no++) {
        uint32_t x = extent_find(&s->xt, layer, no);

        if (x != EXTENT_NONE && extent_placed(extent_at(&s->xt, x)) && full(s, extent_at(&s->xt, x)->place.dev))
            return extent_at(&s->xt, x)->place.dev;
    }
    return EXTENT_NO_DEV;
}

uint16_t share_wanted(const struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks)
{
    return s->o.nr_capacity < 2 ? EXTENT_NO_DEV : first_device(s, layer, block, nblocks, share_full);
}

static bool zeroes_full(const struct shard *s, uint16_t dev)
{
    return s->dev_zero[dev] >= (uint64_t)s->ix.nr_virtual * POLICY_SHARE_PCT / 100;
}

/* Only the extents at both ends can be covered in part. */
uint16_t share_zeroes_wanted(const struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks)
{
    uint16_t dev;

    if (s->o.nr_capacity < 2)
        return EXTENT_NO_DEV;
    dev = first_device(s, layer, block, 1, zeroes_full);
    return dev != EXTENT_NO_DEV ? dev : first_device(s, layer, block + nblocks - 1, 1, zeroes_full);
}

uint64_t devices_to_avoid(const struct shard *s)
{
    uint64_t avoid = 0;

    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        if (s->degraded[d] || !dev_usable(s, shard_capacity(s, d)))
            avoid |= UINT64_C(1) << d;
    return avoid;
}

/* ---- a device that hangs ---- */

void share_leave(struct shard *s, uint32_t x, uint64_t avoid)
{
    struct extent *e = extent_at(&s->xt, x);
    struct extent_place was = e->place, to;

    if (cold_reserve(s->o.cold, 1) != 0)
        return;
    if (cold_take(s->o.cold, (struct extent_place){.dev = EXTENT_NO_DEV}, avoid, &to) != 0) {
        cold_unreserve(s->o.cold, 1);
        return;
    }
    map_place(s, x, to);
    map_give_place(s, x, was);
    map_settle(s, x);
}

/* A bounded number of nodes a pass, round and round while a device hangs. */
static void leave_hung_devices(struct shard *s)
{
    for (uint32_t budget = MIN(SCAN_BUDGET, s->xt.touched); budget > 0; budget--) {
        uint32_t x = 1 + s->hung_scan++ % s->xt.touched;
        struct extent *e = extent_at(&s->xt, x);

        if (e->layer != 0 && e->state == EXTENT_IDLE && (e->flags & EXTENT_FRESH) && e->twin == 0 &&
            s->hung[e->place.dev])
            share_leave(s, x, devices_to_avoid(s));
    }
}

static bool note(struct shard *s, uint16_t d)
{
    const struct dev *dev = shard_capacity(s, d);
    bool hung = !dev_usable(s, dev);

    if (s->hung[d] == hung)
        return hung;
    __atomic_store_n(&s->hung[d], hung, __ATOMIC_RELAXED); /* operations look on from their thread */
    if (hung && dev != NULL)
        log_error("capacity device hangs: what is on it alone cannot be read, new data goes to others",
                  "device=\"%s\" shard=%u dirty_blocks=%llu", dev->path, s->o.no, (unsigned long long)s->dev_dirty[d]);
    else if (dev != NULL)
        log_info("capacity device answers again", "device=\"%s\" shard=%u", dev->path, s->o.no);
    return hung;
}

uint64_t share_step(struct shard *s)
{
    bool any = false, waits = false;

    for (uint16_t d = 0; d < s->o.nr_capacity; d++) {
        if (note(s, d)) {
            any = true;
            lane_shed(&s->lanes[d]);
            lane_shed(&s->lanes[s->o.nr_capacity + 1]);
        }
        waits |= gate_waits(s, d);
    }
    if (any && s->o.nr_capacity > 1)
        leave_hung_devices(s);
    return waits || !list_empty(&s->zeroes_wait) ? env_now_ns(s->env) + LOOK_NS : UINT64_MAX;
}
