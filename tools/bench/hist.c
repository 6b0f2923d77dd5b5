/* SPDX-License-Identifier: Apache-2.0 */
/* hist.c: buckets: the first 64 values one by one, then 64 buckets an octave. */
#include "hist.h"

#include <math.h>

static uint32_t bucket_of(uint64_t ns)
{
    uint32_t octave, index;

    if (ns < (1u << HIST_SUB_BITS))
        return (uint32_t)ns;
    octave = 63u - (uint32_t)__builtin_clzll(ns) - HIST_SUB_BITS; /* 0 for [64, 128) */
    index = ((octave + 1) << HIST_SUB_BITS) + (uint32_t)((ns >> octave) & ((1u << HIST_SUB_BITS) - 1));
    return MIN(index, (uint32_t)HIST_BUCKETS - 1);
}

static uint64_t bucket_top(uint32_t index)
{
    uint32_t octave = index >> HIST_SUB_BITS;
    uint64_t sub = index & ((1u << HIST_SUB_BITS) - 1);

    if (octave == 0)
        return index;
    octave--;
    return ((((uint64_t)1 << HIST_SUB_BITS) + sub + 1) << octave) - 1;
}

void hist_init(struct hist *h)
{
    memset(h, 0, sizeof(*h));
    h->min_ns = UINT64_MAX;
}

void hist_add(struct hist *h, uint64_t ns)
{
    h->count++;
    h->sum_ns += ns;
    h->max_ns = MAX(h->max_ns, ns);
    h->min_ns = MIN(h->min_ns, ns);
    h->bucket[bucket_of(ns)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    into->max_ns = MAX(into->max_ns, from->max_ns);
    into->min_ns = MIN(into->min_ns, from->min_ns);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
}

uint64_t hist_percentile_ns(const struct hist *h, double percent)
{
    uint64_t want = (uint64_t)ceil((double)h->count * percent / 100.0), seen = 0;

    if (h->count == 0)
        return 0;
    want = MAX(want, (uint64_t)1);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= want)
            return MIN(bucket_top(i), h->max_ns);
    }
    return h->max_ns;
}

double hist_mean_ns(const struct hist *h)
{
    return h->count ? (double)h->sum_ns / (double)h->count : 0.0;
}
