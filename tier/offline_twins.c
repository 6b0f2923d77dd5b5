/* SPDX-License-Identifier: Apache-2.0 */
/* offline_twins.c: second places of extents (twin.c), as the offline tools see them: what the log's PLACED records name that no batch
 * has made needless. Each extent and place is told once, with all records that name it.
 */
#include <errno.h>
#include <stdlib.h>

#include "tier/check.h"
#include "tier/order.h"

static uint64_t extent_of(const struct log_rec *r) { return r->lba / EXTENT_BLOCKS; }

static int by_extent(const void *pa, const void *pb)
{
    const struct log_rec *a = *(const struct log_rec *const *)pa, *b = *(const struct log_rec *const *)pb;
    int order = order_in_layer(a->layer, extent_of(a), b->layer, extent_of(b));

    if (order == 0)
        order = order_up(a->place, b->place);
    return order != 0 ? order : order_up(b->seq, a->seq); /* the newest first */
}

static bool same(const struct log_rec *a, const struct log_rec *b)
{
    return a->layer == b->layer && extent_of(a) == extent_of(b) && a->place == b->place;
}

int offline_twins(const struct offline *o, const struct twin_ask *ask)
{
    const struct log_rec **v = malloc(MAX(o->nr_recs, (size_t)1) * sizeof(const struct log_rec *));
    size_t nr = 0;
    int err = 0;

    if (v == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < o->nr_recs; i++)
        if (o->recs[i].type == JOURNAL_PLACED && ask->owed(ask->ctx, o->recs[i].layer, extent_of(&o->recs[i]), o->recs[i].seq))
            v[nr++] = &o->recs[i];
    if (nr > 0)
        qsort(v, nr, sizeof(const struct log_rec *), by_extent);
    for (size_t from = 0, to; from < nr && err == 0; from = to) {
        for (to = from + 1; to < nr && same(v[from], v[to]); to++)
            ;
        err = ask->twin(ask->ctx, v + from, to - from);
    }
    free(v);
    return err;
}

bool offline_placed(const struct offline *o, const struct log_rec *r, const struct pool_dev **d, uint64_t *off_bytes)
{
    struct extent_place p;

    if (!extent_place_decode(r->place, &p) || r->lba % EXTENT_BLOCKS + r->nblocks > EXTENT_BLOCKS)
        return false;
    *d = offline_capacity(o, p.dev);
    if (*d == NULL || p.slot >= (*d)->label.ext_nr)
        return false;
    *off_bytes = region_extent_offset((*d)->label.ext_base_bytes, p.slot) + r->lba % EXTENT_BLOCKS * BLOCK_BYTES;
    return true;
}
