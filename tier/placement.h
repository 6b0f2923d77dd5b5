/* SPDX-License-Identifier: Apache-2.0 */
/* placement.h: which extents should lie on flash, where a pool has capacity devices that seek and others that do not. Pure: how
 * hot what is, and how much room, in; the marks by which extents move, out.
 *
 * Extents are counted by heat of use (heat.h), in powers of two. Volumes for the SSD are the hottest class, those for the HDD the coldest.
 *   hot:  the lowest class from which on everything fits on flash, up to PLACEMENT_FULL_PCT of it, and not below what is worth a move.
 *   edge: the class below, if it fits only in part: it fills what is left, up to PLACEMENT_EDGE_PCT.
 * Up goes what is hot, and of the edge while there is room. Down goes what is two classes colder than hot, and whatever is
 * coldest while more than PLACEMENT_FULL_PCT is used. A new extent is placed as if it were to move, and may use the rest of the room, too.
 * Nothing goes to and fro: moves change no class's count, so heat that stays leaves the marks where they are; between up and down
 * there is a class that stays, and for what fits in part there are PLACEMENT_FULL_PCT - PLACEMENT_EDGE_PCT of room.
 */
#ifndef FIRN_TIER_PLACEMENT_H
#define FIRN_TIER_PLACEMENT_H

#include "base/types.h"

#define PLACEMENT_FULL_PCT 90u  /* of flash: the rest is for new extents that are hot */
#define PLACEMENT_EDGE_PCT 85u
#define PLACEMENT_NEW_PCT  97u
#define PLACEMENT_HOT_MIN  4u   /* heat of use; README.md says why */

enum placement_class {
    PLACEMENT_HDD,              /* of a volume for the HDD */
    PLACEMENT_COLD,             /* heat below 1 */
    PLACEMENT_WARM,             /* and 31 more: log2 of heat */
    PLACEMENT_SSD = PLACEMENT_WARM + 32, /* of a volume for the SSD */
    PLACEMENT_CLASSES
};

struct placement_census { uint32_t nr[2][PLACEMENT_CLASSES]; }; /* extents: on disks that seek, on flash */
struct placement_room { uint64_t used, total; };                /* of flash, in extents */

struct placement_marks {
    unsigned hot;               /* class; PLACEMENT_CLASSES: nothing fits whole */
    unsigned edge;              /* PLACEMENT_CLASSES: none */
    unsigned coldest;           /* on flash; PLACEMENT_CLASSES: it is empty */
    unsigned up_from, down_to;  /* what moves first: the hottest, the coldest, of which there are about as many as asked for */
};

/* heat_class(): of a volume that is for neither. */
unsigned placement_heat_class(double use);

/* total: extents of flash. hot_min: the lowest class worth a move. few: so many may be moved before the next look. */
struct placement_marks placement_decide(const struct placement_census *c, uint64_t total, unsigned hot_min, uint32_t few);

/* Should an extent of that class go to flash, as things are? */
bool placement_up(const struct placement_marks *m, unsigned class, const struct placement_room *r);
/* Should it leave flash? known: heat has been watched for long enough to call something cold. */
bool placement_down(const struct placement_marks *m, unsigned class, const struct placement_room *r, bool known);
/* Should a new one begin there? */
bool placement_new(const struct placement_marks *m, unsigned class, const struct placement_room *r);

#endif
