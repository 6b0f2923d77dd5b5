/* SPDX-License-Identifier: Apache-2.0 */
/* bits.h: a bit a block of an extent, or of a request. */
#ifndef FIRN_TIER_BITS_H
#define FIRN_TIER_BITS_H

#include "base/limits.h"

#define CAPTURE_WORDS   (EXTENT_BLOCKS / 64)

static inline bool bit_get(const uint64_t *w, uint32_t i) { return w[i / 64] >> (i % 64) & 1; }
static inline void bit_set(uint64_t *w, uint32_t i) { w[i / 64] |= UINT64_C(1) << (i % 64); }
static inline void bit_clear(uint64_t *w, uint32_t i) { w[i / 64] &= ~(UINT64_C(1) << (i % 64)); }
static inline void bit_put(uint64_t *w, uint32_t i, bool on)
{
    if (on)
        bit_set(w, i);
    else
        bit_clear(w, i);
}
static inline bool bits_any(const uint64_t *w) { return (w[0] | w[1] | w[2] | w[3]) != 0; }
static_assert(CAPTURE_WORDS == 4, "bits_any looks at four words");

#endif
