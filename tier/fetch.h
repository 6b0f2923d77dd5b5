/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.h: misses on devices that seek: what is read around them into the stage (fetch.c). */
#ifndef FIRN_TIER_FETCH_H
#define FIRN_TIER_FETCH_H

#include "tier/bits.h"
#include "tier/read.h"
#include "tier/sums.h"

#define FETCHES_MAX     256u                             /* reads of capacity devices into the stage at once */

struct fetch {                   /* one read of a capacity device into the stage */
    struct dev_io io;
    struct shard *s;
    uint64_t layer_id;
    uint32_t layer, no;          /* extent */
    uint32_t x;                  /* its node */
    struct extent_place place;
    uint32_t first, n;           /* blocks of the extent */
    struct list runs;            /* that wait for it */
    struct sums_waiter wait;     /* of one that has not begun: it waits for checksums, and keeps nothing but itself */
    uint64_t rotten[CAPTURE_WORDS]; /* by block of the extent: what came is not what was written */
    uint32_t frame[EXTENT_BLOCKS];  /* from first on; STAGE_NONE: a hole, whose bytes nobody wants; or nothing good came */
    struct iovec iov[EXTENT_BLOCKS];
};

bool     fetch_seeks(const struct dev *d);               /* others have no seeks to be spared; NULL: absent */
int      fetch_init(struct shard *s);
void     fetch_retune(struct shard *s);                   /* how much is read at once, as s->t has it now */
void     fetch_fini(struct shard *s);
bool     fetch_busy(const struct shard *s);
/* A cold block that RAM holds, as the map has it now; NULL: it does not. */
const void *fetch_staged(const struct shard *s, const struct run_at *at);
struct fetch *fetch_under_way(const struct shard *s, const struct run_at *at); /* the one that brings it, or NULL */
/* Begins one that brings nblocks from there on, and what lies around them (chunk: their whole chunks at least), up to ahead_end; NULL: not
 * now, or not from such a device. */
struct fetch *fetch_begin(struct shard *s, const struct run_at *at, uint32_t nblocks, bool chunk, uint64_t ahead_end);
void     fetch_served(struct shard *s, uint32_t layer, uint32_t f); /* a host got what is in the frame */
bool     fetch_full(const struct shard *s, uint16_t dev); /* there are enough in flight there: what needs another one waits */
/* A host reads there: what should be read ahead of it; to be begun after the read itself has been. */
struct ahead { struct stream *stream; uint64_t from, end, stream_blocks; }; /* blocks; end 0: nothing; of the stream so far */
struct ahead fetch_plan_ahead(struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks);
void     fetch_ahead(struct shard *s, uint32_t layer, const struct ahead *a);
/* Of the blocks from there on, so many come with it. */
static inline uint32_t fetch_covers(const struct fetch *f, const struct run_at *at)
{
    return at->in_extent >= f->first && at->in_extent < f->first + f->n ? f->first + f->n - at->in_extent : 0;
}
void     fetch_join(struct fetch *f, struct run *u);
/* The map's idea of blocks has changed, or the log has newer ones. */
void     fetch_forget(struct shard *s, uint32_t x, uint32_t in_extent);
void     fetch_forget_extent(struct shard *s, uint32_t x);
void     fetch_forget_changed(struct shard *s, uint32_t x, const struct extent_sums *v); /* those that v does not have as they are */
void     fetch_verify(struct shard *s);

#endif
