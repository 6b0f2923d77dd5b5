/* SPDX-License-Identifier: Apache-2.0 */
/* waits.h: requests that wait for the same thing, the oldest first. While a request waits, waits.c has its priv.node, priv.p[1] to [3],
 * priv.u[2] and [3].
 */
#ifndef FIRN_TIER_WAITS_H
#define FIRN_TIER_WAITS_H

#include "base/list.h"
#include "rt/blk.h"

struct waits {
    struct list    in_order;     /* of blk_io.priv.node: each came when no younger one waited here */
    struct blk_io *late;         /* the others: root of a heap, the oldest of them; NULL: there are none */
    uint32_t       nr;           /* of both */
    uint64_t       came;         /* ever: of two of one age the one that came first goes first */
    uint64_t       melds;        /* heaps that were made one, ever: what the order costs, for tests */
};

void           waits_init(struct waits *q);
void           waits_add(struct waits *q, struct blk_io *io);
void           waits_remove(struct waits *q, struct blk_io *io); /* it waits there, anywhere */
struct blk_io *waits_first(const struct waits *q);               /* NULL: nothing waits */
uint32_t       waits_verify(const struct waits *q);              /* how many; asserts that they are in order */
static inline bool waits_empty(const struct waits *q) { return q->nr == 0; }

#endif
