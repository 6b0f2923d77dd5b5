/* SPDX-License-Identifier: Apache-2.0 */
/* pool_cache.c: a pool's cache devices: SSDs of clean copies alone, which it can do without.
 *
 * 1. At a start they are opened and judged by their labels like the others (pool_devs.c). One that is not there, that cannot be read, or
 *    that hangs for tier.io_deadline, is left out: nothing on it is needed, and the pool opens without it. One that is somebody else's
 *    is refused.
 * 2. Their segments are numbered behind the journal's. They have no geometry in their labels: segments of the journal's size from behind
 *    the first label area on, as many as fit.
 * 3. What they hold is found by their own headers and tables (recover_places.c), and believed as far as the map names it.
 * Where the configuration names one, the journal's device holds the log alone.
 */
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "tier/index.h"
#include "tier/pool.h"

bool pool_has_cache(const struct pool_devs *p)
{
    for (uint32_t i = 0; i < p->nr; i++)
        if (p->dev[i].opts.role == TIER_CACHE)
            return true;
    return false;
}

/* That it is not there, or broken: not that it is another's, or that we may not look. */
bool pool_cache_absent(int err)
{
    return err == -FIRN_E_MISSING || err == -ENOENT || err == -ENXIO || err == -ENODEV || err == -ENOMEDIUM || err == -EIO ||
           err == -EREMOTEIO || err == -FIRN_E_DEVICE_FAILED || err == -ETIMEDOUT;
}

void pool_cache_leave_out(struct pool_dev *d, const char *why)
{
    char quoted[LOG_QUOTED_BYTES];

    assert(d->opts.role == TIER_CACHE);
    for (uint32_t e = 0; e < REACTORS_MAX; e++) {
        if (d->on[e] != NULL)
            dev_close(d->on[e]);
        d->on[e] = NULL;
    }
    d->missing = true;
    log_warn("a cache device is missing: the pool goes on without the copies that it holds, and loses nothing",
             "alert=cache_missing path=\"%s\" why=%s do=\"connect it and restart, or take it out of pool.cache\"", d->opts.path,
             log_quoted(why, quoted));
}

int pool_cache_plan(const struct pool_dev *d, const struct segpool_geometry *log, struct segpool_geometry *out, char why[static 256])
{
    if (segpool_plan_area(d->bytes, &d->label.device, log, out) != 0) {
        snprintf(why, 256, "cache device \"%.120s\" has %llu MiB: with segments of %u MiB it needs at least %llu MiB", d->opts.path,
                 (unsigned long long)(d->bytes / MIB), (unsigned)(log->segment_bytes / MIB),
                 (unsigned long long)((log->segment_bytes + 2 * LABEL_AREA_BYTES + MIB - 1) / MIB));
        return -FIRN_E_INVALID;
    }
    if (log->align_bytes < d->on[0]->caps.block_bytes) {
        snprintf(why, 256, "cache device \"%.120s\" has blocks of %u bytes, more than the journal's align of %u", d->opts.path,
                 d->on[0]->caps.block_bytes, log->align_bytes);
        return -FIRN_E_INVALID;
    }
    return 0;
}

int pool_slots_check(const struct pool_devs *p, const struct segpool_geometry *log, char why[static 256])
{
    uint64_t nr = log->nr_segments, per = (log->segment_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
    struct segpool_geometry geo;

    for (uint32_t i = 0; i < p->nr; i++)
        if (p->dev[i].opts.role == TIER_CACHE && !p->dev[i].missing &&
            segpool_plan_area(p->dev[i].bytes, &p->dev[i].label.device, log, &geo) == 0)
            nr += geo.nr_segments;
    if (nr * per <= INDEX_PHYS_MAX - INDEX_BEHIND_MAX)
        return 0;
    snprintf(why, 256, "journal and cache devices have %llu GiB together, and a pool can use %llu GiB of them: say a smaller size in "
             "pool.journal or pool.cache, or leave a cache device out", (unsigned long long)(nr * log->segment_bytes / GIB),
             (unsigned long long)((uint64_t)(INDEX_PHYS_MAX - INDEX_BEHIND_MAX) * BLOCK_BYTES / GIB));
    return -FIRN_E_INVALID;
}

int pool_areas_add(struct pool_devs *p, struct segpool *sp)
{
    if (!pool_has_cache(p))
        return 0;
    segpool_log_only(sp);
    for (uint32_t i = 0; i < p->nr; i++) {
        struct pool_dev *d = &p->dev[i];
        struct segpool_geometry geo;
        char why[256];
        int err;

        if (d->opts.role != TIER_CACHE || d->missing)
            continue;
        err = pool_cache_plan(d, segpool_geometry(sp), &geo, why);
        if (!err) {
            err = segpool_add(sp, d->on[0], &geo);
            snprintf(why, sizeof(why), "its segments cannot be read: %.80s", err_text(err));
        }
        if (err == -ENOMEM || err == -FIRN_E_STOPPED)
            return err;
        if (err)
            pool_cache_leave_out(d, why);
        else
            d->area = segpool_areas(sp) - 1;
    }
    return 0;
}

struct dev *pool_area_dev(const struct pool_devs *p, uint32_t area, uint32_t env)
{
    for (uint32_t i = 0; i < p->nr; i++)
        if (p->dev[i].area == area && (area != 0 || p->dev[i].opts.role == TIER_JOURNAL))
            return p->dev[i].on[env];
    return NULL;
}
