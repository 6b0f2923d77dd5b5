/* SPDX-License-Identifier: Apache-2.0 */
/* forget.h: records of what was deleted, and tombstones (forget.c). */
#ifndef FIRN_TIER_FORGET_H
#define FIRN_TIER_FORGET_H

#include "base/list.h"
#include "tier/meta.h"

struct shard;

#define FORGET_BATCH 32u
struct forget {                  /* records of extents that are deleted, a batch at a time */
    struct shard *s;
    struct list node;
    uint32_t layer, cursor;      /* layer index; next node to look at */
    uint32_t nr;                 /* extents in the batch */
    uint32_t x[FORGET_BATCH];
    bool     committing;
    bool     blocked;            /* an extent was busy: the walk begins again */
    uint64_t heat_cursor;        /* behind the extents: next cell to look at */
    uint32_t heat_group;         /* behind the cells: next record to delete */
    uint64_t changes;            /* s->changes when it was */
    struct meta_batch batch;
    struct meta_op op[2 * FORGET_BATCH];
    void (*cb)(void *ctx, int err);
    void *ctx;
};

void     tombstones_drop(struct shard *s);
bool     forgets_step(struct shard *s);
uint64_t shard_oldest_seq(const struct shard *s);         /* of what live log segments hold */
uint32_t shard_oldest_segment(const struct shard *s);     /* that holds it; INDEX_NONE: none */

#endif
