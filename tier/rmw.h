/* SPDX-License-Identifier: Apache-2.0 */
/* rmw.h: requests of volumes with 512-byte lbas, which may begin and end within a block (rmw.c). */
#ifndef FIRN_TIER_RMW_H
#define FIRN_TIER_RMW_H

#include "tier/gate.h"
#include "tier/read.h"
#include "tier/write.h"

#define RMW_MAX         64u                              /* requests with parts of blocks at once: each has a buffer of IO_BLOCKS_MAX */

struct range_lock {              /* within one layer */
    uint64_t first, last;        /* blocks */
    bool     granted;
    void   (*fn)(struct range_lock *l);
    struct list node;
};

struct rmw {                     /* a request of a volume with 512-byte lbas */
    struct shard *s;
    struct blk_io *io;
    uint32_t layer;
    struct range_lock lock;      /* not for reads */
    uint64_t block, nblocks;     /* blocks it touches */
    uint32_t head_bytes;         /* of the first block, before the request */
    char    *buf;                /* NULL: whole blocks only, nothing is copied */
    struct iovec iov[2];         /* over buf */
    int      err;
    uint64_t err_block;
    struct hold hold;
    uint32_t pending;            /* parts under way */
    void   (*next)(struct rmw *m); /* when none is */
    struct rio rio[2];
    struct wio wio[2];
    struct zio zio;
};

bool     rmw_needs_buffer(const struct blk_io *io);
void     rmw_start(struct shard *s, uint32_t layer, struct blk_io *io, unsigned kinds, uint64_t devs);
uint64_t rmw_devs_before(const struct shard *s, uint32_t layer, uint64_t first, uint64_t last); /* of changes that it would wait for */
void     rmw_cancel(struct rmw *m);
void     rmws_resume(struct shard *s);

#endif
