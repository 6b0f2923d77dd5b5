/* SPDX-License-Identifier: Apache-2.0 */
/* heat_meta.h: heat as requests make it, and the records that outlive a start (heat_meta.c). */
#ifndef FIRN_TIER_HEAT_META_H
#define FIRN_TIER_HEAT_META_H

#include "tier/format_heat.h"
#include "tier/heat.h"
#include "tier/meta.h"

struct blk_io;
struct shard;
struct volume;

#define HEAT_BATCH 8u
struct heat_saver {              /* of what has changed, group by group */
    uint32_t base_s;             /* heat clock at this start */
    uint64_t began_ns;           /* that was then */
    uint64_t saved_ns;           /* the last walk ended */
    uint64_t cursor;             /* of the walk under way; 0: none */
    bool     committing;
    uint32_t nr;                 /* of op */
    struct heat_rec rec;
    struct meta_batch batch;
    struct meta_op op[HEAT_BATCH];
    uint8_t  value[HEAT_BATCH][HEAT_REC_BYTES];
};

uint32_t heat_now_s(const struct shard *s);               /* the heat clock */
void     heat_io(struct shard *s, const struct volume *v, const struct blk_io *io); /* a read or a write has come */
struct heat_value heat_of_extent(const struct shard *s, uint32_t x);
uint64_t heat_step(struct shard *s);                      /* as mover_step() */
bool     heat_busy(const struct shard *s);                /* the metadata does not know all of it */
/* Of a layer whose cells are gone: deletes of its records from *group on. How many; 0: that was all. */
uint32_t heat_forget_groups(struct shard *s, uint32_t l, uint32_t *group, struct meta_op *ops, uint32_t max);

#endif
