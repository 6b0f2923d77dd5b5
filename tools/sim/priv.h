/* SPDX-License-Identifier: Apache-2.0 */
/* priv.h: what the files of tools/sim share about the clock and its queue. */
#ifndef FIRN_SIM_PRIV_H
#define FIRN_SIM_PRIV_H

#include "tools/sim/sim.h"

/* The queue holds two kinds of waiters; each knows its place, so that it can be moved or taken out. */
enum sim_waiter { SIM_WAIT_EVENT, SIM_WAIT_TIMER };

struct sim_slot {
    uint64_t        at_ns, tie;
    enum sim_waiter kind;
    void           *who;    /* struct sim_event or struct env_timer */
};

struct sim {
    uint64_t         seed, rng;
    uint64_t         now_ns;
    int64_t          wall_skew_ns;
    uint64_t         trace_hash, events;
    struct sim_slot *heap;          /* heap[0] unused: positions count from 1 */
    uint32_t         nr, cap;
    uint64_t         crash_in_events, crash_in_writes; /* 0: not planned */
    bool             crash_due;     /* a write was the last straw: crash before the next event */
    bool             crashed, stuck;
    struct list      hooks;         /* of sim_crash_hook.node, in the order of their making */
    struct sim_faults counts;
    char             violation[256];
};

void sim_push(struct sim *s, uint64_t at_ns, enum sim_waiter kind, void *who);
void sim_pull(struct sim *s, uint32_t pos);
/* dev_sim: one more write was submitted. */
void sim_saw_write(struct sim *s);

#endif
