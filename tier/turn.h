/* SPDX-License-Identifier: Apache-2.0 */
/* turn.h: what the shards of a pool must know of each other at a capacity device: whose turn it is to write there in the
 * background, which foreground requests are in flight, and what of the budget is left. No lock, and nobody waits inside a call.
 *
 * 1. A lane takes the device's turn before a run, or a train of short ones; with it, it writes one after the other. So of all shards
 *    one train at most is in flight, and a foreground read waits for one, not for one of each shard.
 * 2. It gives the turn back when it has nothing to write at once, when it yields, or when others wait and it has had its time.
 * 3. Who gives it back hands it to the next that waits, in the order of shards, and says so on that one's own thread. The turn is
 *    never free while somebody waits.
 * Failure: a run that hangs keeps the turn. turn_stuck() tells those who wait; they withdraw and write without it, so that each
 * sees for itself what the device does.
 */
#ifndef FIRN_TIER_TURN_H
#define FIRN_TIER_TURN_H

#include "base/limits.h"
#include "base/types.h"
#include "rt/env.h"
#include "tier/placement.h"

struct turn_want {               /* one for each lane; the lane's, but while it waits */
    struct env      *env;
    struct env_task  granted;    /* runs there when the turn has been handed over */
};

struct turn {                    /* of one device; any thread */
    struct turn_want *want[REACTORS_MAX]; /* of the shards that wait */
    uint64_t waiting;            /* a bit a shard */
    bool     taken;
    uint32_t fg;                 /* foreground requests in flight */
    uint64_t fg_last_ns;         /* when the last one ended */
    uint64_t run_since_ns;       /* the run in flight was begun then; 0: none is */
    uint64_t pause_ns;           /* between two runs, because foreground requests take too long */
    uint64_t not_before_ns;      /* budget: the next run; whoever has the turn moves it */
    uint64_t migrate_not_before_ns; /* migration to it: the next batch */
    uint64_t head_bytes;         /* where the last request that was submitted ends */
    bool     late_at_start;      /* some shard's start has waited for it in vain: the others do not (ring_read.c) */
};
static_assert(REACTORS_MAX <= 64, "a bit a shard");
struct turns {
    struct turn dev[CAPACITY_DEVS_MAX];
    struct placement_census census[REACTORS_MAX]; /* each shard's, as of its last walk (migrate.c); any thread reads */
};

/* True: it is this shard's. False: w->granted runs once it is; it has not been asked for before. */
bool turn_take(struct turn *t, uint32_t shard, struct turn_want *w);
/* True: it is somebody's now, who will give it back; nobody is told when it could have been his. */
bool turn_try(struct turn *t);
static inline bool turn_taken(const struct turn *t) { return __atomic_load_n(&t->taken, __ATOMIC_RELAXED); }
void turn_give(struct turn *t, uint32_t shard);
/* No longer wanted. False: too late, it has been handed over and w->granted will run. */
bool turn_withdraw(struct turn *t, uint32_t shard);
bool turn_others_wait(const struct turn *t);
/* The run in flight takes far longer than any should. */
bool turn_stuck(const struct turn *t, uint64_t now_ns);

static inline void turn_run_begin(struct turn *t, uint64_t now_ns)
{
    __atomic_store_n(&t->run_since_ns, MAX(now_ns, UINT64_C(1)), __ATOMIC_RELAXED);
}
static inline void turn_run_end(struct turn *t) { __atomic_store_n(&t->run_since_ns, 0, __ATOMIC_RELAXED); }
static inline void turn_head_to(struct turn *t, uint64_t end_bytes) { __atomic_store_n(&t->head_bytes, end_bytes, __ATOMIC_RELAXED); }

/* ---- foreground: reads for hosts ---- */

static inline void turn_fg_begin(struct turn *t) { __atomic_fetch_add(&t->fg, 1, __ATOMIC_RELAXED); }
static inline void turn_fg_end(struct turn *t, uint64_t now_ns)
{
    uint32_t was = __atomic_fetch_sub(&t->fg, 1, __ATOMIC_RELAXED);

    assert(was > 0);
    __atomic_store_n(&t->fg_last_ns, now_ns, __ATOMIC_RELAXED);
}

/* ---- budget ---- */

/* A foreground request took so long: more than target_ns doubles the pause between runs, less halves it. 0: no target, no pause. */
void turn_fg_took(struct turn *t, uint64_t took_ns, uint64_t target_ns);
/* After a run that could wait: the next one pauses, while foreground requests come. */
void turn_pause(struct turn *t, uint64_t now_ns);

/* A run of so many bytes has been written: when the next one may begin, by these caps; 0: no cap. */
void turn_charge(struct turn *t, uint64_t now_ns, uint64_t bytes, uint64_t bytes_per_s, uint64_t ops_per_s);
/* So many bytes are on their way to it from another device: when the next ones may be. */
void turn_charge_migration(struct turn *t, uint64_t now_ns, uint64_t bytes, uint64_t bytes_per_s);

#endif
