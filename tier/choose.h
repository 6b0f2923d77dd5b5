/* SPDX-License-Identifier: Apache-2.0 */
/* choose.h: which dirty regions of an HDD to destage next, and in which order: most blocks for the time that the disk takes.
 * A region is a few neighbouring extents. Pure: the caller says where dirt lies; costs are those of the model of an HDD
 * (rt/dev_model.h).
 */
#ifndef FIRN_TIER_CHOOSE_H
#define FIRN_TIER_CHOOSE_H

#include "base/types.h"

#define CHOOSE_SLOTS 4u              /* extents of a region; a multiple of them is what lies together on the device */

struct choose_region {
    uint32_t id;                     /* the caller's */
    bool     urgent;                 /* taken before those that are not, however little it gives */
    uint32_t blocks;                 /* dirty ones */
    uint64_t first_bytes, end_bytes; /* where the first run begins and the last one ends */
    uint64_t inside_ns;              /* the time between them */
    float    write_heat;             /* what is hot is written again before long: its destage would have been for nothing */
    uint64_t from_bytes;             /* choose_best(): where the sweep comes from when it reaches the region; what it is worth from there */
    double   score;
};

/* Adds a run; they come in the order of their addresses. */
void     choose_add_run(struct choose_region *r, uint64_t span_bytes, uint64_t off_bytes, uint64_t len_bytes);
/* With the head there: the time that it takes to write the region; blocks a millisecond, by the root of 1 + write heat. */
uint64_t choose_cost_ns(const struct choose_region *r, uint64_t span_bytes, uint64_t head_bytes);
double   choose_score(const struct choose_region *r, uint64_t span_bytes, uint64_t head_bytes);
/* Keeps at most `keep` regions, in the order in which to write them: from the head upwards, then from the lowest. How many. */
uint32_t choose_best(struct choose_region *r, uint32_t nr, uint32_t keep, uint64_t span_bytes, uint64_t head_bytes);

#endif
