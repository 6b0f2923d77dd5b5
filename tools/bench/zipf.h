/* SPDX-License-Identifier: Apache-2.0 */
/* zipf.h: places drawn by Zipf's law, the k-th most popular as often as 1/k^theta. No table: any range costs the same. The
 * popular places are spread over the range in runs of neighbours, as rows of a database are. Pure; one thread. */
#ifndef FIRN_BENCH_ZIPF_H
#define FIRN_BENCH_ZIPF_H

#include "base/types.h"

struct zipf {
    double   theta;           /* above 0, at most ZIPF_THETA_MAX */
    uint64_t nr;              /* places: 1.. */
    uint64_t run, runs, step; /* places in a run of neighbours; runs, the last one maybe short; from one run to the next popular one */
    double   high, low, near; /* of the integral that is inverted: its ends; where its inverse needs no second look */
};

#define ZIPF_THETA_MAX 3.0

void     zipf_init(struct zipf *z, uint64_t nr, double theta, uint64_t run);
/* 0..nr-1: the rank's number of place; bits() gives 64 random bits, and is asked once or more. */
uint64_t zipf_next(const struct zipf *z, uint64_t (*bits)(void *ctx), void *ctx);
uint64_t zipf_rank(const struct zipf *z, uint64_t (*bits)(void *ctx), void *ctx); /* 1..nr, 1 the most popular */
/* Place of a rank; nr or more where the last run is short: to be drawn again. */
uint64_t zipf_place(const struct zipf *z, uint64_t rank);

#endif
