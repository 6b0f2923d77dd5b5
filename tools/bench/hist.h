/* SPDX-License-Identifier: Apache-2.0 */
/* hist.h: a histogram of latencies whose buckets grow with the value: 64 steps an octave, so any value up to an hour is
 * known within 1.6 %. Fixed memory, one thread; histograms of several threads are added up afterwards. */
#ifndef FIRN_BENCH_HIST_H
#define FIRN_BENCH_HIST_H

#include "base/types.h"

#define HIST_SUB_BITS 6
#define HIST_OCTAVES  37 /* beyond the linear part: up to 2^42 ns */
#define HIST_BUCKETS  ((HIST_OCTAVES + 1) << HIST_SUB_BITS)

struct hist {
    uint64_t count, sum_ns, max_ns, min_ns;
    uint64_t bucket[HIST_BUCKETS];
};

void     hist_init(struct hist *h);
void     hist_add(struct hist *h, uint64_t ns);
void     hist_merge(struct hist *into, const struct hist *from);
uint64_t hist_percentile_ns(const struct hist *h, double percent); /* upper end of the bucket; 0 when empty */
double   hist_mean_ns(const struct hist *h);

#endif
