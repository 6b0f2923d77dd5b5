/* SPDX-License-Identifier: Apache-2.0 */
/* volume.h: a volume in memory: a blk over a stack of layers. Owned by pool.c; its data path is the shard's. */
#ifndef FIRN_TIER_VOLUME_H
#define FIRN_TIER_VOLUME_H

#include "rt/blk.h"
#include "tier/tier.h"

struct shard;

struct volume {
    struct blk    blk;         /* ops: submit -> shard_submit */
    struct shard *shard;
    uint64_t      id;
    uint64_t      layer;       /* top of the stack: where writes go; ids are never used again */
    uint64_t      size_blocks; /* 4 KiB blocks */
    struct uuid   uuid;
    struct volume_params p;
    bool          read_only;
    uint64_t      in_flight;   /* shard's */
    void         *priv;        /* shard's */
    struct list   node;        /* shard's list */
    struct list   by_name;     /* pool's, on envs[0] */
    uint32_t      nr_hosts;
    char        **hosts;       /* pool's: nr_hosts strings; NULL when none (10,000 idle volumes must stay small) */
};

#endif
