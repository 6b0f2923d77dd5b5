/* SPDX-License-Identifier: Apache-2.0 */
/* recover.h: what the steps of a start say to each other: zeroed ranges that a replay of the log has met (recover.c gathers them,
 * recover_zero.c applies them), and the log to be replayed (shard_log.c). */
#ifndef FIRN_TIER_RECOVER_H
#define FIRN_TIER_RECOVER_H

#include "tier/priv.h"

struct zero_rec {
    uint64_t seq, block, nblocks;
    uint64_t epoch;              /* of the segment: of equal seqs the later one is the copy that reclaim made */
    uint32_t layer, segment;
    bool     head, tail;         /* recover_zero.c: the extent at that end is covered in part, and by no later zero whole */
};

/* Once every other record is in the index. Changes the order of z. *visits: extents that were looked at, for tests. */
int zeroes_apply(struct shard *s, struct zero_rec *z, size_t nr, uint64_t *visits);

/* The shard has a journal, not yet open. seq_floor: the highest seq that the metadata names. */
int log_make(struct shard *s, uint64_t seq_floor, const struct shard_rec *rec);

#endif
