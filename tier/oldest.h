/* SPDX-License-Identifier: Apache-2.0 */
/* oldest.h: the oldest segment of the log goes when too many tombstones wait for it (oldest.c). */
#ifndef FIRN_TIER_OLDEST_H
#define FIRN_TIER_OLDEST_H

#include "journal/journal.h"

struct shard;

struct oldest {                  /* the segment that tombstones wait for, when there are too many of them */
    bool     wanted;             /* there are */
    uint32_t segment;
    uint64_t epoch;              /* of its use */
    uint64_t since_ns;           /* it has been wanted since then */
    uint64_t again_ns;           /* when a search that is over begins again */
    uint64_t cursor;             /* of the search for extents that need it: slots, slots without payload, nodes */
    bool     appending;          /* a record that is to bear witness in its place */
    struct journal_append app;
};

bool     oldest_step(struct shard *s);                    /* true: more to do at once */
uint64_t oldest_look_ns(const struct shard *s);
bool     oldest_writes_wait(const struct shard *s);       /* nodes are short, and some will come back */
uint32_t oldest_victim(const struct shard *s);            /* to be emptied before all others, at no cost; INDEX_NONE: none */

#endif
