/* SPDX-License-Identifier: Apache-2.0 */
/* waits.c: requests that wait for the same thing, the oldest first, however many they are.
 *
 * 1. A newcomer, and nearly everybody else, is younger than those that wait: he goes behind them, and they leave from the front.
 * 2. Who comes from another queue may be older than the last one. Such requests are a pairing heap: an addition takes one step, a
 *    removal, amortised, as many as the logarithm of how many there are.
 * 3. The first one is the older of the first in order and of the heap's root.
 * With one list, in which each is put in his place, a replay of wsrch-small on two disks looked at 885 requests for each that came late,
 * 26 M instructions in all; so it is 3 M. The heap alone would, after 16,000 that came in order, pair as many children of its root at once.
 */
#include "tier/waits.h"

#include <assert.h>

/* Links of the heap, in the request. */
#define CHILD(io) ((io)->priv.p[1]) /* the first one */
#define NEXT(io)  ((io)->priv.p[2]) /* of its parent's children; NULL: it is the last */
#define PREV(io)  ((io)->priv.p[3]) /* likewise; of the first child the parent, of the root NULL */
#define CAME(io)  ((io)->priv.u[2])
#define LATE(io)  ((io)->priv.u[3])

void waits_init(struct waits *q)
{
    *q = (struct waits){0};
    list_init(&q->in_order);
}

static bool older(const struct blk_io *a, const struct blk_io *b)
{
    return a->priv.start_ns != b->priv.start_ns ? a->priv.start_ns < b->priv.start_ns : CAME(a) < CAME(b);
}

/* Two heaps, each its root alone in NEXT and PREV, become one. */
static struct blk_io *meld(struct waits *q, struct blk_io *a, struct blk_io *b)
{
    struct blk_io *top, *below, *child;

    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    q->melds++;
    top = older(a, b) ? a : b;
    below = top == a ? b : a;
    child = CHILD(top);
    if (child != NULL)
        PREV(child) = below;
    NEXT(below) = child;
    PREV(below) = top;
    CHILD(top) = below;
    return top;
}

static struct blk_io *cut(struct blk_io *io)
{
    if (io != NULL)
        NEXT(io) = PREV(io) = NULL;
    return io;
}

/* A heap of these siblings: each with the next one, then all such pairs from the last one on. */
static struct blk_io *meld_siblings(struct waits *q, struct blk_io *first)
{
    struct blk_io *pairs = NULL, *root = NULL;

    while (first != NULL) {
        struct blk_io *a = first, *b = NEXT(a), *pair;

        first = b != NULL ? NEXT(b) : NULL;
        pair = meld(q, cut(a), cut(b));
        NEXT(pair) = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        struct blk_io *pair = pairs;

        pairs = NEXT(pair);
        root = meld(q, root, cut(pair));
    }
    return root;
}

static void late_remove(struct waits *q, struct blk_io *io)
{
    struct blk_io *prev = PREV(io), *next = NEXT(io), *below = meld_siblings(q, CHILD(io));

    if (io == q->late) {
        q->late = below;
        return;
    }
    if (CHILD(prev) == io)
        CHILD(prev) = next;
    else
        NEXT(prev) = next;
    if (next != NULL)
        PREV(next) = prev;
    q->late = meld(q, q->late, below);
}

void waits_add(struct waits *q, struct blk_io *io)
{
    const struct list *last = q->in_order.prev;

    CAME(io) = q->came++;
    LATE(io) = last != &q->in_order && older(io, list_entry(last, const struct blk_io, priv.node));
    q->nr++;
    if (!LATE(io)) {
        list_push_back(&q->in_order, &io->priv.node);
        return;
    }
    CHILD(io) = NULL;
    q->late = meld(q, q->late, cut(io));
}

void waits_remove(struct waits *q, struct blk_io *io)
{
    assert(q->nr > 0);
    q->nr--;
    if (LATE(io))
        late_remove(q, io);
    else
        list_remove(&io->priv.node);
}

struct blk_io *waits_first(const struct waits *q)
{
    struct blk_io *first = list_first(&q->in_order, struct blk_io, priv.node);

    return first == NULL || (q->late != NULL && older(q->late, first)) ? q->late : first;
}

/* ---- verification ---- */

static const struct blk_io *parent(const struct blk_io *io)
{
    const struct blk_io *prev = PREV(io);

    while (prev != NULL && CHILD(prev) != io) {
        io = prev;
        prev = PREV(io);
    }
    return prev;
}

/* Of the heap, each before those below it. */
static const struct blk_io *following(const struct blk_io *io)
{
    if (CHILD(io) != NULL)
        return CHILD(io);
    while (io != NULL && NEXT(io) == NULL)
        io = parent(io);
    return io != NULL ? NEXT(io) : NULL;
}

uint32_t waits_verify(const struct waits *q)
{
    const struct blk_io *before = NULL;
    uint32_t nr = 0;

    list_for_each(n, &q->in_order) {
        const struct blk_io *io = list_entry(n, const struct blk_io, priv.node);

        assert(!LATE(io) && (before == NULL || older(before, io)));
        before = io;
        nr++;
    }
    for (const struct blk_io *io = q->late; io != NULL; io = following(io)) {
        assert(LATE(io) && (io == q->late || older(parent(io), io)));
        nr++;
    }
    assert(nr == q->nr);
    return nr;
}
