/* SPDX-License-Identifier: Apache-2.0 */
/* gate.h: where requests wait that have not begun, and for what: gate.c, share.c; how they are called back: cancel.c. */
#ifndef FIRN_TIER_GATE_H
#define FIRN_TIER_GATE_H

#include "rt/blk.h"
#include "tier/waits.h"

struct shard;

enum pool_kind { POOL_RIO, POOL_RMW, POOL_RMW_BUF, POOL_WIO, POOL_ZIO, POOL_BYPASS, POOL_KIND_NR };
struct hold {                    /* what a request has taken of the pools, on account of the devices it may be caught in */
    unsigned kinds;              /* enum pool_kind, a bit each */
    uint64_t devs;               /* a bit each */
};

/* gate.c */
void     gate_init(struct shard *s);
void     gate_submit(struct shard *s, struct blk_io *io);
void     gate_resume(struct shard *s);
bool     gate_waits(const struct shard *s, uint16_t dev); /* something waits for what that device keeps */
void     hold_begin(struct shard *s, struct hold *h, unsigned kinds, uint64_t devs);
void     hold_dev(struct shard *s, struct hold *h, uint16_t dev); /* it may be caught there as well */
void     hold_end(struct shard *s, struct hold *h);
void     gate_verify(const struct shard *s);
bool     runs_full(const struct shard *s, uint16_t dev);  /* the device keeps its share of them */

/* share.c: what one capacity device may take of the shard */
bool     share_full(const struct shard *s, uint16_t dev);
/* Of a change of these blocks: a device whose share must shrink first; or EXTENT_NO_DEV. */
uint16_t share_wanted(const struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks);
uint16_t share_zeroes_wanted(const struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks);
uint64_t shard_log_dirty(const struct shard *s);          /* blocks that only the log has */
uint64_t devices_to_avoid(const struct shard *s);         /* degraded or hung, a bit each */
void     share_leave(struct shard *s, uint32_t x, uint64_t avoid); /* a place that no batch names yet, for one elsewhere */
uint64_t share_step(struct shard *s);                     /* as mover_step() */

/* Where a host's request is that may not have begun; in blk_io.priv, for cancel.c. */
enum io_at {
    IO_BEGUN,                    /* or its answer is on its way */
    IO_WAITS,                    /* priv.p[0]: in which of the shard's struct waits */
    IO_READ,                     /* priv.p[0]: its struct rio, which may wait for a run */
    IO_RMW,                      /* priv.p[0]: its struct rmw, which may wait for its range, or for a run */
    IO_ZERO,                     /* priv.p[0]: its struct zio, which may wait for slots, or for a group of the log */
    IO_LOG,                      /* priv.p[0]: its struct wio, which may wait for a group of the log */
};
static inline void io_set_at(struct blk_io *io, enum io_at at, void *of)
{
    io->priv.u[0] = at;
    io->priv.p[0] = of;
}

/* cancel.c */
void     io_wait(struct shard *s, struct waits *q, struct blk_io *io); /* behind those that are older */
void     io_wait_over(struct shard *s, struct blk_io *io);

#endif
