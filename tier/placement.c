/* SPDX-License-Identifier: Apache-2.0 */
/* placement.c: the marks of placement, from counts; and what they say of one extent. */
#include "tier/placement.h"

#include <math.h>

enum { SLOW, FLASH };

unsigned placement_heat_class(double use)
{
    if (!(use >= 1))
        return PLACEMENT_COLD;
    return PLACEMENT_WARM + (unsigned)MIN(ilogb(use), 31);
}

static uint64_t pct_of(uint64_t total, uint32_t pct) { return total * pct / 100; }

/* Would one more extent stay within so much of flash? */
static bool fits(const struct placement_room *r, uint32_t pct) { return r->used < pct_of(r->total, pct); }

static unsigned hot_class(const struct placement_census *c, uint64_t total, unsigned hot_min)
{
    uint64_t sum = 0;
    unsigned k = PLACEMENT_CLASSES;

    for (; k > hot_min; k--) {
        sum += (uint64_t)c->nr[SLOW][k - 1] + c->nr[FLASH][k - 1];
        if (sum > pct_of(total, PLACEMENT_FULL_PCT))
            break;
    }
    return k;
}

static unsigned coldest_on_flash(const struct placement_census *c)
{
    unsigned k = 0;

    while (k < PLACEMENT_CLASSES && c->nr[FLASH][k] == 0)
        k++;
    return k;
}

/* The lowest class such that it and all above are not more than so many; the hottest that there is, at least. */
static unsigned hottest_few(const struct placement_census *c, uint32_t few)
{
    uint64_t sum = 0;

    for (unsigned k = PLACEMENT_CLASSES; k-- > 0;) {
        sum += c->nr[SLOW][k];
        if (sum > few)
            return sum == c->nr[SLOW][k] ? k : k + 1;
    }
    return 0;
}

static unsigned coldest_few(const struct placement_census *c, uint32_t few)
{
    uint64_t sum = 0;

    for (unsigned k = 0; k < PLACEMENT_CLASSES; k++) {
        sum += c->nr[FLASH][k];
        if (sum > few)
            return sum == c->nr[FLASH][k] ? k : k - 1;
    }
    return PLACEMENT_CLASSES;
}

struct placement_marks placement_decide(const struct placement_census *c, uint64_t total, unsigned hot_min, uint32_t few)
{
    struct placement_marks m = {.hot = hot_class(c, total, hot_min), .edge = PLACEMENT_CLASSES, .coldest = coldest_on_flash(c),
                                .up_from = hottest_few(c, few), .down_to = coldest_few(c, few)};

    if (m.hot > hot_min)
        m.edge = m.hot - 1;
    return m;
}

bool placement_up(const struct placement_marks *m, unsigned class, const struct placement_room *r)
{
    if (class == PLACEMENT_HDD)
        return false;
    return class >= m->hot ? fits(r, PLACEMENT_FULL_PCT) : class == m->edge && fits(r, PLACEMENT_EDGE_PCT);
}

bool placement_down(const struct placement_marks *m, unsigned class, const struct placement_room *r, bool known)
{
    if (class == PLACEMENT_HDD)
        return true;
    if (class == PLACEMENT_SSD)
        return false;
    if (r->used > pct_of(r->total, PLACEMENT_FULL_PCT) && class <= m->coldest)
        return true;
    return known && class + 1 < m->hot;
}

bool placement_new(const struct placement_marks *m, unsigned class, const struct placement_room *r)
{
    return placement_up(m, class, r) || (class >= m->hot && class != PLACEMENT_HDD && fits(r, PLACEMENT_NEW_PCT));
}
