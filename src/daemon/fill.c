/* SPDX-License-Identifier: Apache-2.0 */
/* fill.c: see fill.h. Each threshold is said once on the way up, and again when the pool has stayed there for a while. */
#include "daemon/fill.h"

static const uint32_t levels[] = {95, 90, 80};

static uint64_t taken(const struct tier_info *i)
{
    return i->capacity_used_bytes + i->capacity_reserved_bytes;
}

static uint32_t level_at(const struct tier_info *i, uint64_t bytes)
{
    if (i->capacity_bytes == 0)
        return 0;
    for (uint32_t n = 0; n < sizeof(levels) / sizeof(*levels); n++)
        if (bytes >= i->capacity_bytes / 100 * levels[n])
            return levels[n];
    return 0;
}

uint32_t fill_level(const struct tier_info *info)
{
    return level_at(info, taken(info));
}

uint32_t fill_look(struct fill_watch *w, const struct tier_info *info)
{
    uint32_t now = fill_level(info);

    if (now < w->level)
        now = level_at(info, taken(info) + info->capacity_bytes / 100 * FILL_BELOW);
    if (now > w->level || (now != 0 && now == w->level && ++w->looks >= FILL_AGAIN)) {
        *w = (struct fill_watch){.level = now};
        return now;
    }
    if (now < w->level)
        *w = (struct fill_watch){.level = now};
    return 0;
}

enum fill_word fill_look_refused(struct fill_refusals *r, const struct tier_info *info, uint64_t refused)
{
    bool more = refused != r->seen, was = r->full;

    r->seen = refused;
    r->quiet = more ? 0 : r->quiet + 1;
    if (more)
        r->full = true;
    else if (r->quiet >= FILL_QUIET && taken(info) + info->capacity_bytes / 100 * FILL_BELOW <= info->capacity_bytes)
        r->full = false;
    if (r->full == was)
        return FILL_NOTHING;
    return r->full ? FILL_FULL : FILL_ROOM;
}
