/* SPDX-License-Identifier: Apache-2.0 */
/* sums.h: checksums of extents, fetched when they are needed (sums.c). */
#ifndef FIRN_TIER_SUMS_H
#define FIRN_TIER_SUMS_H

#include "base/list.h"
#include "tier/format.h"
#include "tier/meta.h"

struct shard;

#define SUMS_CACHE      4096u                            /* extents whose checksums are in RAM: 4.6 MiB */
#define SUMS_LOADS      64u                              /* of them being fetched at once */

struct sums_waiter { void (*fn)(struct sums_waiter *w); struct list node; };
enum sums_state { SUMS_FREE, SUMS_LOADING, SUMS_READY };
struct sums {
    enum sums_state state;
    int      err;                /* READY with err: the record is missing or corrupt */
    uint32_t x;                  /* extent */
    uint32_t pins;
    struct list lru, waiters;
    uint32_t hash_next;
    struct sums_load *load;      /* LOADING; NULL once superseded by a commit */
    struct extent_sums v;
};
struct sums_load { struct meta_get_req req; struct shard *s; struct sums *to; uint8_t buf[META_VALUE_MAX]; };

/* Pinned and READY, or NULL: w->fn runs later; w NULL: only look. */
struct sums *sums_get(struct shard *s, uint32_t x, struct sums_waiter *w);
void     sums_put(struct shard *s, struct sums *m);
void     sums_set(struct shard *s, uint32_t x, const struct extent_sums *v); /* what a batch has committed */
void     sums_drop(struct shard *s, uint32_t x);
int      sums_get_sync(struct shard *s, uint32_t x, struct sums **out);       /* recovery; not pinned */
bool     sums_lost(const struct sums *m);                 /* its err is for ever: what the record said nobody knows */
void     sums_init(struct shard *s);

#endif
