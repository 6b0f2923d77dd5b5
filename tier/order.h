/* SPDX-License-Identifier: Apache-2.0 */
/* order.h: rows of things that lie in layers (records, blocks, extents): their order, the first one from a place on, and the first one
 * that nobody has taken yet. For starts and for tools: nothing here is on the data path. */
#ifndef FIRN_TIER_ORDER_H
#define FIRN_TIER_ORDER_H

#include "base/types.h"

/* As qsort() wants it. */
static inline int order_up(uint64_t a, uint64_t b) { return (a > b) - (a < b); }

/* By layer, and in a layer by number: of a block, or of an extent. */
static inline int order_in_layer(uint64_t layer_a, uint64_t no_a, uint64_t layer_b, uint64_t no_b)
{
    return layer_a != layer_b ? order_up(layer_a, layer_b) : order_up(no_a, no_b);
}

/* Which of nr things of so many bytes, in that order, is the first that does not come before what; nr: all of them do. */
static inline size_t order_from(const void *things, size_t nr, size_t bytes, int (*order)(const void *, const void *), const void *what)
{
    size_t lo = 0, hi = nr;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (order((const char *)things + mid * bytes, what) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* next[i]: i, until thing i is taken; then where to look on. One more than there are things, so that there is always a next one.
 * The first one from i on that is not taken; the way there gets shorter for the next one who asks. */
static inline size_t order_open(size_t *next, size_t i)
{
    while (next[i] != i) {
        next[i] = next[next[i]];
        i = next[i];
    }
    return i;
}

static inline void order_take(size_t *next, size_t i) { next[i] = i + 1; }

/* Nothing is taken of nr things. NULL: no memory. */
size_t *order_next_new(size_t nr);

#endif
