/* SPDX-License-Identifier: Apache-2.0 */
/* flush_turn.h: one flush of a capacity device at a time, of all shards: a failed one is known before the next one begins.
 *
 * A flush that fails may drop what any shard wrote; the kernel says so to one who asks, and a later flush may succeed. Each shard
 * hears of its own flushes on its own thread, some time after they ended. So a shard whose flush succeeds could commit a
 * batch before the other has said that its flush, an earlier one, had failed (cold_flush_failed()).
 *
 * 1. Take the device's turn; without it try again later. It is never waited for.
 * 2. Flush. If it failed: cold_flush_failed(). 3. Give the turn back. 4. Compare the device's cold_flush_failures() with what it was
 *    before the batch's first write: whatever failed before this flush began is in it.
 * Failure: a flush that hangs keeps its turn; those who wait give up their batches after the deadline, and all stays dirty.
 */
#ifndef FIRN_TIER_FLUSH_TURN_H
#define FIRN_TIER_FLUSH_TURN_H

#include "base/limits.h"
#include "base/types.h"

struct flush_turns { bool taken[CAPACITY_DEVS_MAX]; }; /* of one pool; any thread */

static inline bool flush_turn_take(struct flush_turns *t, uint16_t dev)
{
    return !__atomic_exchange_n(&t->taken[dev], true, __ATOMIC_SEQ_CST);
}

static inline void flush_turn_give(struct flush_turns *t, uint16_t dev)
{
    bool had = __atomic_exchange_n(&t->taken[dev], false, __ATOMIC_SEQ_CST);

    assert(had);
}

#endif
