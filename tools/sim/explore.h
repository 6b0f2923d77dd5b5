/* SPDX-License-Identifier: Apache-2.0 */
/* explore.h: many seeds, several processes. A seed that aborts or hangs takes its process with it, not the run. */
#ifndef FIRN_SIM_EXPLORE_H
#define FIRN_SIM_EXPLORE_H

#include "tools/sim/world.h"

#include <stdio.h>

struct explore_opts {
    uint64_t seed, seeds;      /* the first, and how many; with `list` only those */
    const uint64_t *list;
    uint32_t jobs;             /* processes; 1 and one seed: this process */
    uint32_t ops;
    int      profile, bug;
    uint32_t seconds_a_seed;   /* then it counts as hung; 0: 120 */
    uint32_t twice_in;         /* one seed in so many runs twice and must agree with itself; 0: none */
    bool     stop_at_first;    /* failure */
    bool     quiet;            /* no line for a failing seed */
    bool     verbose;
    uint64_t watch;            /* world_opts.watch */
    const char *self;          /* argv[0], for the replay command */
};

struct explore_sum {
    uint64_t passed, failed, refused, ops, events, crashes, blocks_checked, lies_missed, lies_noticed, determinism_checked;
    uint64_t first_failed;     /* seed */
    char     first_reason[WORLD_REASON_MAX];
    uint64_t by_profile[PROFILE_NR];
    struct sim_faults faults;
};

int explore(const struct explore_opts *opts, struct explore_sum *sum);

#endif
