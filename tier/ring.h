/* SPDX-License-Identifier: Apache-2.0 */
/* ring.h: descriptions one behind the other, in each device's ring (ring.c). */
#ifndef FIRN_TIER_RING_H
#define FIRN_TIER_RING_H

#include "base/types.h"

struct shard;
struct shard_rec;
struct slotset;

struct ring {                    /* the shard's part of a device's */
    uint32_t first, half;        /* its first entry; entries of each of its halves, 0: it has none */
    uint32_t cur;                /* the half that is written */
    uint32_t head;               /* entry of it that is next; `half`: it is full */
    bool     free;               /* nobody needs what lies in the other half */
    bool     emptied;            /* nor does after the flush of the round under way */
    uint64_t homed;              /* an extent whose newest description lies here alone was destaged later than that */
    uint64_t low[2];             /* lowest destaged_seq of what was written into the half; UINT64_MAX: nothing */
    uint32_t away[2];            /* extents described in the half that have left the device, and are not described anew */
};

#define RING_BOTH 3u             /* halves, a bit each */

void     ring_init(struct shard *s);
void     ring_load(struct shard *s, const struct shard_rec *rec); /* as the metadata has it */
void     ring_start(struct shard *s, uint32_t x);         /* an extent with a record, at a start; before map_settle() */
int      ring_started(struct shard *s);                   /* that were all; straight-line. 0, -ENOMEM, -FIRN_E_STOPPED */
int      ring_read(struct shard *s);                      /* ring_read.c: which of them the rings have, and where */
void     ring_say(struct shard *s, struct shard_rec *rec);/* for a record that is committed next */
void     ring_leave(struct shard *s, uint32_t x);         /* around a change of its place */
void     ring_arrive(struct shard *s, uint32_t x);
/* Its newest description lies in these halves, a bit each, of that ring alone; 0: in its region, or nobody needs it. */
void     ring_note(struct shard *s, uint32_t x, uint16_t dev, unsigned halves);
uint32_t ring_room(struct shard *s, uint16_t dev);        /* entries that may be written now, one behind the other */
uint64_t ring_at(const struct shard *s, uint16_t dev);    /* where, in bytes */
void     ring_wrote(struct shard *s, uint16_t dev, const uint32_t *x, uint32_t nr); /* entries for these extents */
struct slotset *ring_to_home(struct shard *s, uint16_t dev); /* what should be described in its region, soon; NULL: nothing */
bool     ring_waits(const struct shard *s);               /* for the flush of a round */
void     ring_round_begins(struct shard *s);              /* it will flush all devices that got descriptions */
void     ring_round_ended(struct shard *s);               /* it has */
void     ring_verify(const struct shard *s);

#endif
