/* SPDX-License-Identifier: Apache-2.0 */
/* volume.h: a volume in memory: a blk over a stack of layers. Owned by pool.c; its data path is the shard's.
 *
 * Threads: what stands under "shard" is touched on the shard's env alone once the volume is attached; what stands under
 * "pool" on envs[0] alone. 10,000 idle volumes must stay small: hosts are kept apart, and only where there are any.
 */
#ifndef FIRN_TIER_VOLUME_H
#define FIRN_TIER_VOLUME_H

#include "rt/blk.h"
#include "tier/tier.h"

struct shard;

struct volume {
    /* never change */
    struct shard *shard;
    uint32_t      shard_no;
    uint64_t      id;
    struct uuid   uuid;
    char          name[NAME_MAX_CHARS + 1]; /* p.name, for the shard's log lines */
    /* shard */
    struct blk    blk;         /* ops: submit -> shard_submit */
    uint64_t      layer;       /* top of the stack: where writes go; ids are never used again */
    uint64_t      size_blocks; /* 4 KiB blocks */
    bool          read_only;
    enum volume_tier tier;     /* as it acts: p.tier, but auto where the log has no room to pin it */
    struct volume_policy policy; /* as it acts */
    uint64_t      in_flight;   /* requests */
    void         *priv;
    struct list   node;        /* shard's list */
    /* pool */
    struct volume_params p;
    uint64_t      pin_bytes;   /* of it that count against what may be pinned to the SSD */
    uint64_t      min_bytes;   /* that its cache_min takes of its shard's places */
    bool          busy;        /* a control request is under way: another is -FIRN_E_IN_USE */
    bool          creating;    /* its first batch has not committed: nobody sees it yet */
    bool          deleting;    /* its record says so: nobody sees it any more */
    uint32_t      nr_hosts;
    char        **hosts;       /* nr_hosts strings; NULL when none */
};

#endif
