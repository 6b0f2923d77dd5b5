/* SPDX-License-Identifier: Apache-2.0 */
/* space.c: what a start will have to reserve: an extent for every one that has no place yet and of which the log holds a live block.
 *
 * 1. The blocks are listed that the log owes to extents without a place; of two records of one block the newer counts.
 * 2. The log's zeroed ranges, newest first: each meets the blocks in its range that no newer one has met, and ends those that are
 *    older than itself. A block is met once, however many ranges cover it: a log may hold millions of them.
 * 3. What is left is told by extent. recover.c reserves for the same ones: a block that is damaged takes its place too.
 * Failures: -ENOMEM.
 */
#include <errno.h>
#include <stdlib.h>

#include "tier/check.h"
#include "tier/order.h"

/* More blocks in one record are more than a shard can know of: what a start says then is not about space. */
#define KNOWN_BLOCKS_MAX (UINT64_C(1) << 24)

struct owed { uint64_t layer, block, seq; }; /* seq 0: zeroed since */

struct debts {
    const struct space_ask *ask;
    struct owed *v;              /* by layer, block */
    size_t nr, cap, *next;       /* those that a zeroed range has met are taken (order.h) */
};

static int debt_add(struct debts *d, const struct log_rec *r, uint64_t block)
{
    struct owed *o = check_grow((void **)&d->v, &d->nr, &d->cap, sizeof(*o));

    if (o == NULL)
        return -ENOMEM;
    *o = (struct owed){.layer = r->layer, .block = block, .seq = r->seq};
    return 0;
}

static int record_add(struct debts *d, const struct log_rec *r)
{
    uint64_t end = r->lba + r->nblocks;
    int err = 0;

    if (r->type == JOURNAL_ZERO || r->nblocks > KNOWN_BLOCKS_MAX)
        return 0;
    for (uint64_t block = r->lba; block < end && !err;) {
        uint64_t next = MIN(end, (block / EXTENT_BLOCKS + 1) * EXTENT_BLOCKS);
        bool owed = d->ask->unplaced(d->ask->ctx, r->layer, block / EXTENT_BLOCKS, r->seq);

        for (; block < next && owed && !err; block++)
            err = debt_add(d, r, block);
        block = next;
    }
    return err;
}

static int owed_order(const void *pa, const void *pb)
{
    const struct owed *a = pa, *b = pb;
    int order = order_in_layer(a->layer, a->block, b->layer, b->block);

    return order != 0 ? order : order_up(b->seq, a->seq);
}

/* In order, each block once. */
static int debts_settle(struct debts *d)
{
    size_t n = 0;

    if (d->nr > 0)
        qsort(d->v, d->nr, sizeof(*d->v), owed_order);
    for (size_t i = 0; i < d->nr; i++)
        if (n == 0 || d->v[n - 1].layer != d->v[i].layer || d->v[n - 1].block != d->v[i].block)
            d->v[n++] = d->v[i];
    d->nr = n;
    d->next = order_next_new(n);
    return d->next != NULL ? 0 : -ENOMEM;
}

/* ---- zeroed ranges ---- */

static size_t debt_from(const struct debts *d, uint64_t layer, uint64_t block)
{
    struct owed what = {.layer = layer, .block = block, .seq = UINT64_MAX};

    return order_from(d->v, d->nr, sizeof(what), owed_order, &what);
}

static void zero_meets(struct debts *d, const struct log_rec *z)
{
    size_t i = order_open(d->next, debt_from(d, z->layer, z->lba));

    for (; i < d->nr && d->v[i].layer == z->layer && d->v[i].block - z->lba < z->nblocks; i = order_open(d->next, i)) {
        if (z->seq > d->v[i].seq)
            d->v[i].seq = 0;
        order_take(d->next, i);
    }
}

static int newest_first(const void *pa, const void *pb)
{
    const struct log_rec *a = *(const struct log_rec *const *)pa, *b = *(const struct log_rec *const *)pb;

    return order_up(b->seq, a->seq);
}

static int zeroes_meet(struct debts *d, const struct offline *o)
{
    const struct log_rec **z = malloc(MAX(o->nr_recs, (size_t)1) * sizeof(const struct log_rec *));
    size_t nr = 0;

    if (z == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < o->nr_recs; i++)
        if (o->recs[i].type == JOURNAL_ZERO)
            z[nr++] = &o->recs[i];
    qsort(z, nr, sizeof(const struct log_rec *), newest_first);
    for (size_t i = 0; i < nr; i++)
        zero_meets(d, z[i]);
    free(z);
    return 0;
}

/* ---- all of it ---- */

static void tell(const struct debts *d)
{
    const struct owed *last = NULL;

    for (size_t i = 0; i < d->nr; i++) {
        const struct owed *o = &d->v[i];

        if (o->seq == 0 || (last != NULL && last->layer == o->layer && last->block / EXTENT_BLOCKS == o->block / EXTENT_BLOCKS))
            continue;
        last = o;
        d->ask->needs(d->ask->ctx, o->layer);
    }
}

int offline_space(const struct offline *o, const struct space_ask *ask)
{
    struct debts d = {.ask = ask};
    int err = 0;

    for (size_t i = 0; i < o->nr_recs && !err; i++)
        err = record_add(&d, &o->recs[i]);
    for (size_t i = 0; i < o->nr_lost && !err; i++)
        err = record_add(&d, &o->lost[i]);
    if (!err)
        err = debts_settle(&d);
    if (!err)
        err = zeroes_meet(&d, o);
    if (!err)
        tell(&d);
    free(d.v);
    free(d.next);
    return err;
}
