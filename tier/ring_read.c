/* SPDX-License-Identifier: Apache-2.0 */
/* ring_read.c: what a start finds in the shard's part of each ring. Straight-line, reads only.
 *
 * The metadata knows what may have its newest description in the ring alone: what was destaged above homed_seq (ring.c). Of that:
 * 1. An entry names the extent, on its slot, with its destaged_seq: it is ringed in that half.
 * 2. None does, and it counts as described: its region has the description, durably. Nothing that only the ring has is written over
 *    before the device was flushed behind the description in the region, and what counts as described once was.
 * 3. None does, and it does not count: it is due, and nobody relies on what its region says. But an older entry of it may be all that the
 *    device says of it until then: it is ringed there.
 * So no description is written again, homed_seq rises to just below the lowest that is ringed, and a half where none is, is free. The
 * head is behind all entries of its half that are needed, whatever the metadata says.
 *
 * Failures: a part that cannot be read, not in time, or of which an entry does not verify (but behind the head, where a crash may tear
 * one): nobody knows what was there. All of 1 to 3 counts as ringed in both halves then, and is due. So does an extent of which the ring
 * tells something later than the map does.
 */
#include <errno.h>
#include <stdlib.h>

#include "tier/map.h"
#include "tier/priv.h"

#define LOOK_NS     (10 * NS_PER_S) /* for all devices that answer, divided by the shards, which have their turns one after the other */
#define PATIENCE_NS (2 * NS_PER_S)  /* one that takes longer hangs: a start does not wait for it, and the others have their time after it */
#define AT_ONCE     256u            /* entries a read */

struct look {
    struct shard *s;
    uint16_t dev;
    uint64_t until_ns;
    uint8_t *buf;               /* AT_ONCE entries */
    uint8_t *seen;              /* by slot: halves that have it, a bit each; those that have an older entry of it; or LATER */
    uint32_t end[2];            /* of each half: behind the last entry that is needed */
};
#define LATER    4u
#define OLDER_AT 3u             /* the first of the bits for older entries */

static struct extent_slots *slots_of(const struct look *l) { return &l->s->xt.dev[l->dev]; }

static uint8_t saw(const struct extent_desc *d, const struct extent *e, uint32_t half)
{
    if (d->destaged_seq > e->destaged_seq)
        return LATER;
    return (uint8_t)(d->destaged_seq == e->destaged_seq ? 1u << half : 1u << half << OLDER_AT);
}

/* False: it does not verify, and may be needed. */
static bool take(struct look *l, uint32_t entry, const void *buf)
{
    struct shard *s = l->s;
    const struct ring *r = &s->ring[l->dev];
    uint32_t half = entry / r->half, at = entry % r->half;
    const struct extent *e;
    struct extent_desc d;
    int err = cold_desc_decode(s->o.cold, l->dev, buf, &d);

    if (err == -FIRN_E_NOT_FOUND)
        return true;
    if (err != 0)
        return half == r->cur && at >= r->head;
    if (!slotset_has(&slots_of(l)->ringed[0], d.slot))
        return true;
    e = extent_at(&s->xt, slots_of(l)->x[d.slot]);
    if (layer_at(s, e->layer)->id != d.layer || e->no != d.extent)
        return true;
    if (d.destaged_seq < e->destaged_seq && !(e->flags & EXTENT_UNDESCRIBED))
        return true;
    l->seen[d.slot] = (uint8_t)(l->seen[d.slot] | saw(&d, e, half));
    l->end[half] = MAX(l->end[half], at + 1);
    return true;
}

static unsigned halves_seen(uint8_t seen)
{
    return seen & RING_BOTH ? seen & RING_BOTH : seen >> OLDER_AT & RING_BOTH;
}

static int read_part(struct look *l, struct dev *d)
{
    const struct ring *r = &l->s->ring[l->dev];

    for (uint32_t from = 0; from < 2 * r->half; from += AT_ONCE) {
        uint32_t n = MIN(2 * r->half - from, AT_ONCE);
        int err;

        if (env_now_ns(l->s->env) >= l->until_ns)
            return -ETIMEDOUT;
        err = dev_read_sync(d, ring_offset(r->first + from), l->buf, (size_t)n * DESC_BYTES);
        if (err != 0)
            return err;
        for (uint32_t i = 0; i < n; i++)
            if (!take(l, from + i, l->buf + (size_t)i * DESC_BYTES))
                return -FIRN_E_CORRUPT;
    }
    return 0;
}

static void make_due(struct shard *s, uint32_t x)
{
    struct extent *e = extent_at(&s->xt, x);

    e->flags |= EXTENT_UNDESCRIBED;
    s->described.seq = MIN(s->described.seq, e->destaged_seq - 1);
    map_settle(s, x);
}

static void conclude(struct look *l, bool known)
{
    struct shard *s = l->s;
    struct ring *r = &s->ring[l->dev];
    const struct slotset *maybe = &slots_of(l)->ringed[0];
    uint64_t low = UINT64_MAX;

    for (uint32_t slot = slotset_next(maybe, 0); slot != SLOT_NONE; slot = slotset_next(maybe, slot + 1)) {
        uint32_t x = slots_of(l)->x[slot];
        uint64_t seq = extent_at(&s->xt, x)->destaged_seq;
        bool later = !known || (l->seen[slot] & LATER);
        unsigned halves = later ? RING_BOTH : halves_seen(l->seen[slot]);

        low = halves != 0 ? MIN(low, seq) : low;
        for (unsigned h = 0; h < 2 && !later; h++)
            r->low[h] = halves >> h & 1 ? MIN(r->low[h], seq) : r->low[h];
        ring_note(s, x, l->dev, halves);
        if (later)
            make_due(s, x);
    }
    if (!known)
        return;
    r->homed = MAX(r->homed, low - 1);
    r->head = MAX(r->head, l->end[r->cur]);
}

static int look(struct look *l)
{
    struct dev *d = shard_capacity(l->s, l->dev);
    struct turn *t = turn_of(l->s, l->dev);
    uint64_t was = d->patience_ns, began = env_now_ns(l->s->env);
    int err;

    l->end[0] = l->end[1] = 0;
    l->seen = calloc(slots_of(l)->ringed[0].nr_slots, 1);
    if (l->seen == NULL)
        return -ENOMEM;
    d->patience_ns = PATIENCE_NS;
    err = t->late_at_start ? -ETIMEDOUT : read_part(l, d);
    if (d->gave_up) {
        t->late_at_start = true;
        l->until_ns += env_now_ns(l->s->env) - began;
    }
    d->patience_ns = was;
    dev_forgive(d); /* a bad sector may take that long, and a start has no other disk for what lies there */
    if (err != -FIRN_E_STOPPED)
        conclude(l, err == 0);
    free(l->seen);
    return err == -FIRN_E_STOPPED ? err : 0;
}

int ring_read(struct shard *s)
{
    struct look l = {.s = s, .until_ns = env_now_ns(s->env) + LOOK_NS / segpool_geometry(s->o.segpool)->nr_shards};
    int err = 0;

    for (l.dev = 0; l.dev < s->o.nr_capacity && err == 0; l.dev++) {
        if (s->xt.dev[l.dev].ringed[0].nr == 0)
            continue;
        l.buf = l.buf != NULL ? l.buf : aligned_alloc(BLOCK_BYTES, (size_t)AT_ONCE * DESC_BYTES);
        err = l.buf == NULL ? -ENOMEM : look(&l);
    }
    free(l.buf);
    return err;
}
