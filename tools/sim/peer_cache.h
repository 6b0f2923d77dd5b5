/* SPDX-License-Identifier: Apache-2.0 */
/* peer_cache.h: inside the peers' models: one disk, one LRU of blocks, and the two ways of cleaning it. */
#ifndef FIRN_SIM_PEER_CACHE_H
#define FIRN_SIM_PEER_CACHE_H

#include "tools/sim/peer.h"

#define PEER_NONE     UINT32_MAX
#define PEER_RUN_MAX  256u  /* blocks that one cleaning write may have */
#define PEER_PLAN_MAX 100u  /* blocks that ocf takes at a time */

struct peer_block {
    uint64_t addr;               /* number of the block in the volume */
    int64_t  written_ns;         /* when a write put it here last */
    uint32_t newer, older;       /* LRU, while it is cached */
    bool     cached, dirty;
};

struct peer_cache {              /* blocks are named by their rank among the trace's */
    bool     ages;               /* ocf's cleaning; else bcache's */
    uint64_t span_bytes, head_bytes;
    int64_t  disk_free_ns;       /* end of the disk's last request */
    int64_t  arrival_ns;         /* of the request at work */
    struct peer_block *b;
    uint32_t nr, room, nr_cached, nr_dirty;
    uint32_t newest, oldest;
    uint32_t sweep;              /* bcache: cleaning goes on here */
    uint32_t plan[PEER_PLAN_MAX], nr_plan, at_plan; /* ocf: blocks to clean, in address order */
    struct peer_score *score;
};

void peer_cache_init(struct peer_cache *c, const struct trace *t, uint64_t ssd_bytes, bool ages, struct peer_score *score);
void peer_cache_fini(struct peer_cache *c);
/* A request of the disk that cannot begin before now; when it ends. */
int64_t peer_disk(struct peer_cache *c, int64_t now, bool write, uint64_t off_bytes, uint64_t len_bytes);
void peer_touch(struct peer_cache *c, uint32_t i);                /* it is the newest now */
int64_t peer_insert(struct peer_cache *c, int64_t now, uint32_t i); /* not cached: takes its room; how long cleaning held that up */
void peer_drop(struct peer_cache *c, uint32_t i);                 /* also if it is dirty: the caller knows better */
/* One cleaning write that cannot begin before `now`; forced: of blocks of any age. False: there is nothing to clean. */
bool peer_clean(struct peer_cache *c, int64_t now, bool forced);
void peer_clean_all(struct peer_cache *c);                        /* in address order */

#endif
