/* SPDX-License-Identifier: Apache-2.0 */
/* fill.h: copies on their way from RAM to places on the SSD (fill.c). */
#ifndef FIRN_TIER_FILL_H
#define FIRN_TIER_FILL_H

#include "tier/priv.h"

struct fetch;
struct rio;
struct run_at;

#define FILL_BLOCKS  32u
#define FILLS_MAX    64u

struct fill {                    /* copies of blocks of one extent, on their way from frames to places that lie beside each other */
    struct dev_io io;
    struct shard *s;
    uint64_t layer_id;
    uint32_t layer, no, x;       /* extent */
    uint32_t place, n;           /* slot id of the first place; how many */
    uint32_t frame[FILL_BLOCKS];
    uint16_t in_extent[FILL_BLOCKS];
    uint32_t csum[FILL_BLOCKS];
    struct iovec iov[FILL_BLOCKS];
};

bool     fill_wants_chunk(const struct rio *r, uint64_t block); /* a fetch of this block should bring its whole chunk */
/* A fetch began for n blocks of the request, from its block `first` on. */
void     fill_missed(struct rio *r, uint32_t x, uint32_t first, uint32_t n, const struct fetch *f);
void     fill_again(struct rio *r, uint32_t i);           /* RAM had block i of it, or is about to */
void     fill_again_end(struct rio *r);                   /* the pass over the request is over */
void     fill_arrived(struct shard *s, const struct fetch *f); /* its frames are ready: those that are worth it are copied */
void     fill_anew(struct shard *s, const struct run_at *at, const void *block); /* what the map has there, and the SSD lost */
bool     fill_may_save(const struct shard *s, const struct index_entry *n); /* clean, of the log: on a disk, and to be copied */
bool     fill_crowded(const struct shard *s, uint32_t coming); /* no room for more than these, which are being read */
/* Of such an entry; verified. spare: only if a place is free still. */
void     fill_save(struct shard *s, uint32_t id, const void *block, bool spare);
bool     fill_busy(const struct shard *s);

#endif
