/* SPDX-License-Identifier: Apache-2.0 */
/* stage.h: RAM for blocks of capacity devices: a fixed number of frames, found by extent and block, taken again first in, first out.
 *
 * Pure memory. A frame is claimed for a read of the device, filled by it, then ready until its turn comes or the block changes. The
 * caller says what belongs to a block: it drops frames when the map's idea of their blocks changes. A frame that is dropped
 * while a device still writes into it, or reads from it, is nobody's, but is not given out before that has ended.
 */
#ifndef FIRN_TIER_STAGE_H
#define FIRN_TIER_STAGE_H

#include "base/limits.h"

#define STAGE_NONE        0u
#define STAGE_FRAMES_MIN  64u
#define STAGE_FRAMES_MAX  (1u << 22)    /* 16 GiB */
#define STAGE_FILTER      4096u

/* What is worth a place on the SSD, and in which queue it begins there. SPARE: in main, if a place is free: no other copy goes for it. */
enum fill_kind { FILL_NOT, FILL_SMALL, FILL_MAIN, FILL_SPARE };

enum frame_state {
    FRAME_FREE,
    FRAME_FETCHING,              /* found, but the device has not answered */
    FRAME_READY,
    FRAME_LENT,                  /* as READY, but another device reads it: it keeps what it has */
    FRAME_DROPPED,               /* not found any more; a device writes into it, or reads it */
};

struct fetch;
struct frame {
    uint32_t x;                  /* extent node */
    uint32_t csum;               /* of the block, as the map had it when the frame was claimed */
    struct fetch *fetch;         /* FETCHING, DROPPED */
    uint32_t hash_next;
    uint32_t next, prev;         /* READY: oldest first; FREE: next */
    uint16_t in_extent;
    uint8_t  state;              /* enum frame_state */
    uint8_t  fill;               /* FETCHING: enum fill_kind, for whoever sees it arrive */
};

struct stage {
    char         *mem;           /* frame i at (i - 1) * BLOCK_BYTES */
    struct frame *frame;         /* [1..nr] */
    uint32_t     *hash;
    uint32_t      nr, hash_mask;
    uint32_t      nr_out;        /* FETCHING, LENT or DROPPED: not to be had now */
    uint32_t      free, first, last;
    uint32_t      filter[STAGE_FILTER]; /* frames that can be found, by the low bits of their extent's number */
};

int  stage_init(struct stage *st, uint32_t nr);
void stage_fini(struct stage *st);
/* The frame that is found for a block, FETCHING, READY or LENT; or STAGE_NONE. */
uint32_t stage_find(const struct stage *st, uint32_t x, uint32_t in_extent);
/* False: no frame of the extent is found. True: perhaps. */
static inline bool stage_may_have(const struct stage *st, uint32_t x) { return st->filter[x % STAGE_FILTER] != 0; }
static inline struct frame *stage_frame(const struct stage *st, uint32_t f)
{
    assert(f != STAGE_NONE && f <= st->nr);
    return &st->frame[f];
}
static inline void *stage_block(const struct stage *st, uint32_t f) { return st->mem + (size_t)(f - 1) * BLOCK_BYTES; }
static inline uint32_t stage_claimable(const struct stage *st) { return st->nr - st->nr_out; }
/* For a block that is not found; the oldest ready frame goes if none is free. Something must be claimable. */
uint32_t stage_claim(struct stage *st, uint32_t x, uint32_t in_extent, uint32_t csum, struct fetch *fetch);
/* The device has answered: a claimed frame becomes READY, or free. A dropped one becomes free in any case. */
void stage_arrived(struct stage *st, uint32_t f, bool good);
void stage_yield(struct stage *st, uint32_t f);            /* if it is ready it is the next to go */
/* A ready frame is not given out until it has been returned. True: nobody has dropped it since, and it is READY again, as the latest. */
void stage_lend(struct stage *st, uint32_t f);
bool stage_returned(struct stage *st, uint32_t f);
/* What is in it can be read. */
static inline bool stage_holds(const struct stage *st, uint32_t f)
{
    return stage_frame(st, f)->state == FRAME_READY || stage_frame(st, f)->state == FRAME_LENT;
}
void stage_drop(struct stage *st, uint32_t f);             /* of a frame that is found */
void stage_drop_block(struct stage *st, uint32_t x, uint32_t in_extent);
void stage_drop_extent(struct stage *st, uint32_t x);
void stage_verify(const struct stage *st);                 /* for tests: the lists against the states */

#endif
