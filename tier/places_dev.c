/* SPDX-License-Identifier: Apache-2.0 */
/* places_dev.c: devices that hold clean copies, and fail.
 *
 * A copy that cannot be read is dropped at once, and its block is read from where it came (read.c): nobody sees an error. But each
 * costs the time of a read that fails, so a device that refused a write, or READ_ERRORS_MAX reads, is given up until the next start:
 * 1. None of its places is given out, read or written about any more; a read that finds a copy there drops it.
 * 2. Its segments are emptied one by one in the background, and are free then, for nobody.
 * A device that hangs is not given up: what is found there meanwhile is dropped and read from elsewhere, nothing is copied to it. But a
 * start waits for it once, whatever its shards want of it, and then does without it; so does a stop that writes about its copies.
 */
#include <errno.h>

#include "base/log.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/twin.h"

#define READ_ERRORS_MAX 16u      /* bad spots come alone; a device that dies has them everywhere */

static uint32_t area_of(const struct shard *s, uint32_t segment) { return segpool_at(s->o.segpool, segment).area; }

bool places_given_up(const struct shard *s, uint32_t segment) { return s->places.area[area_of(s, segment)].off; }

bool places_usable(const struct shard *s, uint32_t segment)
{
    return !places_given_up(s, segment) && dev_usable(s, shard_segment_dev(s, segment));
}

bool places_any_usable(const struct shard *s)
{
    uint32_t first = segpool_is_log_only(s->o.segpool), nr = segpool_areas(s->o.segpool);

    for (uint32_t a = first; a < nr; a++)
        if (!s->places.area[a].off && dev_usable(s, a == 0 ? s->o.journal_dev : s->o.areas[a - 1]))
            return true;
    return false;
}

static void give_up(struct shard *s, uint32_t area, int err)
{
    struct places *p = &s->places;
    const struct dev *d = area == 0 ? s->o.journal_dev : s->o.areas[area - 1];

    if (p->area[area].off)
        return;
    p->area[area].off = true;
    p->leave_from = 0;
    segpool_area_off(s->o.segpool, area);
    log_error("a device fails that holds copies of what lies elsewhere too: it is used for none any more until the next start",
              "device=\"%s\" shard=%u error=\"%s\" do=\"see the kernel's log, replace it, then restart firnd\"", d->path, s->o.no,
              err_text(err));
    for (uint32_t g = 0; g < s->twin_segment; g++) {
        if (s->seg[g].use != SEGMENT_SLOTS || area_of(s, g) != area)
            continue;
        slot_table_forget(&p->table, g);
        if (g != p->closing)
            slots_close_segment(&p->slots, g);
    }
    if (!s->stopping)
        shard_kick(s);
}

void places_write_failed(struct shard *s, uint32_t segment, int err) { give_up(s, area_of(s, segment), err); }

void places_hangs(struct shard *s, uint32_t segment) { give_up(s, area_of(s, segment), -ETIMEDOUT); }

void places_read_failed(struct shard *s, uint32_t segment, int err)
{
    uint32_t area = area_of(s, segment);

    if (++s->places.area[area].read_errors >= READ_ERRORS_MAX)
        give_up(s, area, err);
}

/* A segment of a device that was given up; INDEX_NONE: there is none any more. */
uint32_t places_leave_next(struct shard *s)
{
    struct places *p = &s->places;

    for (; p->leave_from < s->twin_segment; p->leave_from++)
        if (s->seg[p->leave_from].use == SEGMENT_SLOTS && p->area[area_of(s, p->leave_from)].off)
            return p->leave_from;
    p->leave_from = INDEX_NONE;
    return INDEX_NONE;
}
