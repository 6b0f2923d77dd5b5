/* SPDX-License-Identifier: Apache-2.0 */
/* map.h: index, extents, layers and segments in step (map.c). */
#ifndef FIRN_TIER_MAP_H
#define FIRN_TIER_MAP_H

#include "base/list.h"
#include "tier/extent.h"
#include "tier/index.h"

struct shard;

struct give {                    /* a place that extent x has left, and that reads are still in flight at */
    struct extent_place place;
    uint32_t x, reads;
    struct list node;            /* s->gives */
};

void     map_put(struct shard *s, const struct index_entry *e);   /* its extent exists */
void     map_remove(struct shard *s, uint32_t id);
void     map_set_clean(struct shard *s, uint32_t id);
void     map_set_kept(struct shard *s, uint32_t id);              /* INDEX_KEPT */
void     map_keep_bridges(struct shard *s, uint32_t x);           /* after a start */
void     map_forget_copies(struct shard *s, uint32_t x);          /* then: clean copies that count no more */
void     map_discard(struct shard *s, uint32_t x, uint64_t seq, uint32_t segment); /* a whole-extent zero */
void     map_discard_done(struct shard *s, uint32_t x);
void     map_discard_move(struct shard *s, uint32_t x, uint32_t segment);
void     map_seg_seq(struct shard *s, uint32_t segment, uint64_t seq);
int      map_reserve(struct shard *s, struct extent *e);          /* a reservation if it has no place; -FIRN_E_NO_SPACE */
void     map_place(struct shard *s, uint32_t x, struct extent_place p); /* its place changes, and whose dirt it is */
void     map_tier(struct shard *s, struct extent *e);              /* flags as its volume's tier has it; before extent_relist() */
void     map_settle(struct shard *s, uint32_t x);                 /* lists; reservation given back, node freed if nothing needs it */
void     map_note_empty(struct shard *s, uint32_t x, const struct extent_sums *v); /* before map_settle */
uint32_t map_extent(struct shard *s, uint32_t layer, uint32_t no);/* find or add */
void     map_give_reads(struct shard *s, uint32_t x, struct extent_place p, uint32_t reads); /* so many are in flight there */
void     map_give_place(struct shard *s, uint32_t x, struct extent_place p); /* once no read is in flight there */
void     map_read_done(struct shard *s, uint32_t x, struct extent_place p);
int      map_use(struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks, uint32_t *ext, uint32_t *nr);
void     map_unuse(struct shard *s, const uint32_t *ext, uint32_t nr);

#endif
