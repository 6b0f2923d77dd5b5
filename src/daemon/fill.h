/* SPDX-License-Identifier: Apache-2.0 */
/* fill.h: how full the pool is, in steps that people are told of: 80, 90 and 95 per cent of the capacity taken. Taken is what is
 * used and what the log has reserved; and when writes are refused. Pure.
 */
#ifndef FIRN_DAEMON_FILL_H
#define FIRN_DAEMON_FILL_H

#include <stdint.h>

#include "tier/tier.h"

/* A watch over time; zeroed at start. */
struct fill_watch {
    uint32_t level; /* what was said last, per cent; 0: nothing is to be said */
    uint32_t looks; /* since then */
};

#define FILL_BELOW 2u   /* per cent: so far below a level it is left, so that a pool on the edge says it once */
#define FILL_AGAIN 120u /* looks after which a level that holds is said again */

/* A watch over refusals; zeroed at start. */
struct fill_refusals {
    uint64_t seen;  /* as of the last look */
    uint32_t quiet; /* looks without another one */
    bool     full;  /* said, and there has been no room since */
};

#define FILL_QUIET 3u /* looks without a refusal before there is said to be room */

enum fill_word { FILL_NOTHING, FILL_FULL, FILL_ROOM };

/* The highest of 80, 90 and 95 that is reached; 0: none, or there is no capacity. */
uint32_t fill_level(const struct tier_info *info);

/* One look. Returns the level that is to be said now, 0 for none. */
uint32_t fill_look(struct fill_watch *w, const struct tier_info *info);

/* One look at how many writes were refused since the start. What is to be said now: at the first refusal, and when FILL_BELOW
 * per cent are free again and none was refused for FILL_QUIET looks: places can lack while bytes do not. */
enum fill_word fill_look_refused(struct fill_refusals *r, const struct tier_info *info, uint64_t refused);

#endif
