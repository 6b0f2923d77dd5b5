/* SPDX-License-Identifier: Apache-2.0 */
/* quota.h: what of the places for copies each volume may have (quota.c). */
#ifndef FIRN_TIER_QUOTA_H
#define FIRN_TIER_QUOTA_H

#include "base/list.h"
#include "tier/admit.h"

struct shard;

struct quota {
    struct list limited;         /* of layer.limited */
    uint64_t base;               /* places of which shares in percent are */
    uint32_t over;               /* layer that is most over its maximum; 0: none */
    uint32_t taker;              /* layer for which a place is being looked for */
    uint32_t looks;              /* places taken since the last look */
};

void     quota_init(struct shard *s);
void     quota_changed(struct shard *s, uint32_t layer);  /* its volume's policy did, or it has none any more */
bool     quota_spares(void *ctx, uint32_t id);            /* for slots.h: ctx is the shard */
bool     quota_makes_room(struct shard *s, uint32_t layer); /* before a place is taken for it; false: it may have none now */
bool     quota_has_room(struct shard *s, uint32_t layer); /* it may have one more, and no other copy goes for it */
bool     quota_admits(const struct shard *s, uint32_t layer); /* anything of it may be copied */
bool     quota_own_rule(const struct shard *s, uint32_t layer); /* how often it must be missed: not as the pool's knobs say */
void     quota_io(struct shard *s, uint32_t layer, uint32_t nblocks, bool write); /* of a host */
void     quota_room(struct shard *s);                     /* before a miss is judged: what of the cache copies may displace */
/* As the pool's knobs say, for a volume that is used like this one. */
struct admit_rules *quota_pool_rules(struct shard *s, uint32_t layer);
struct admit_use *quota_use(struct shard *s, uint32_t layer); /* NULL: what it reads is not looked at so */
struct admit_rules *quota_rules(struct shard *s, uint32_t layer, struct admit_rules *own); /* the pool's, or own, filled in */
void     quota_verify(const struct shard *s, const uint64_t *copies); /* by layer, counted */

#endif
