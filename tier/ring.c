/* SPDX-License-Identifier: Apache-2.0 */
/* ring.c: descriptions one behind the other. What settles here and there on a disk that seeks would cost a way there once more to be
 * described in its region; in the ring of its device many are one write. Each shard has a part of its own, in two halves.
 *
 * 1. describe.c writes a batch at the head, until the half is full. Such an extent is *ringed*: its newest description lies in that
 *    half alone, and what its region says of its slot is older, or of somebody else.
 * 2. The half that is written is nearly full: what is ringed in the other one is described in its region, in the order of the disk
 *    (ring_to_home()); what has left the device meanwhile is waited for, until it is described where it is now.
 * 3. Nothing is ringed there any more, and a round (described.c) has flushed the device since: the half may be written over.
 * The metadata knows the head, and homed_seq: what of the device was destaged later may be ringed. A start reads which of it is
 * (ring_read.c). Where it cannot it takes all of that to be ringed in both halves, and makes it due: described_seq goes down in the record
 * that a start commits before anything else. For what is in truth described in its region alone must not count as described while that is
 * written over. It goes on at the head: what lies behind it in its half nobody needed when that half was begun, or nothing calls it
 * described yet.
 *
 * Of one slot the youngest description counts, wherever it lies (format.h, struct desc_age): an entry of a former owner is older than
 * all of the next one's, because an extent that is being described keeps its slot.
 *
 * Failures: where no half is free descriptions go to their regions, as without a ring. After a description or a flush that
 * failed none becomes free until the next start. A head that the metadata does not know: both halves count as full.
 */
#include "tier/priv.h"
#include "tier/ring.h"

static unsigned halves_of(const struct extent *e) { return e->ring & RING_BOTH; }
static uint16_t dev_of(const struct extent *e) { return e->ring >> 2; }
static bool is_there(const struct extent *e) { return e->place.dev == dev_of(e); }

/* ---- which extents ---- */

static void add(struct shard *s, uint32_t x, unsigned half)
{
    const struct extent *e = extent_at(&s->xt, x);
    struct extent_slots *v = &s->xt.dev[dev_of(e)];

    if (!is_there(e)) {
        s->ring[dev_of(e)].away[half]++;
        return;
    }
    slotset_add(&v->ringed[half], e->place.slot);
    v->x[e->place.slot] = x;
}

static void remove_from(struct shard *s, uint32_t x, unsigned half)
{
    const struct extent *e = extent_at(&s->xt, x);

    if (is_there(e)) {
        slotset_remove(&s->xt.dev[dev_of(e)].ringed[half], e->place.slot);
        return;
    }
    assert(s->ring[dev_of(e)].away[half] > 0);
    s->ring[dev_of(e)].away[half]--;
}

void ring_leave(struct shard *s, uint32_t x)
{
    unsigned halves = halves_of(extent_at(&s->xt, x));

    for (unsigned h = 0; h < 2; h++)
        if (halves >> h & 1)
            remove_from(s, x, h);
}

void ring_arrive(struct shard *s, uint32_t x)
{
    unsigned halves = halves_of(extent_at(&s->xt, x));

    for (unsigned h = 0; h < 2; h++)
        if (halves >> h & 1)
            add(s, x, h);
}

void ring_note(struct shard *s, uint32_t x, uint16_t dev, unsigned halves)
{
    struct extent *e = extent_at(&s->xt, x);

    ring_leave(s, x);
    e->ring = halves == 0 ? 0 : (uint8_t)((unsigned)dev << 2 | halves);
    ring_arrive(s, x);
}

/* ---- its halves ---- */

static bool nobody_needs(const struct shard *s, uint16_t dev, unsigned half)
{
    return s->xt.dev[dev].ringed[half].nr == 0 && s->ring[dev].away[half] == 0;
}

static void turn_over(struct ring *r)
{
    r->cur ^= 1;
    r->head = 0;
    r->free = false;
    r->low[r->cur] = UINT64_MAX;
}

uint32_t ring_room(struct shard *s, uint16_t dev)
{
    struct ring *r = &s->ring[dev];

    if (r->half > 0 && r->head == r->half && (r->free || s->bugs.ring_unhomed))
        turn_over(r);
    return r->half - r->head;
}

uint64_t ring_at(const struct shard *s, uint16_t dev)
{
    const struct ring *r = &s->ring[dev];

    return ring_offset(r->first + r->cur * r->half + r->head);
}

void ring_wrote(struct shard *s, uint16_t dev, const uint32_t *x, uint32_t nr)
{
    struct ring *r = &s->ring[dev];

    assert(nr <= r->half - r->head);
    for (uint32_t i = 0; i < nr; i++) {
        uint64_t seq = extent_at(&s->xt, x[i])->destaged_seq;

        ring_note(s, x[i], dev, 1u << r->cur);
        r->low[r->cur] = MIN(r->low[r->cur], seq);
        r->homed = MIN(r->homed, seq - 1);
    }
    r->head += nr;
}

/* Late: what is written again until then is described by that. */
struct slotset *ring_to_home(struct shard *s, uint16_t dev)
{
    struct ring *r = &s->ring[dev];

    if (r->half == 0 || r->free || s->draining || s->described.stuck || r->half - r->head > r->half / 4)
        return NULL;
    return s->xt.dev[dev].ringed[!r->cur].nr > 0 ? &s->xt.dev[dev].ringed[!r->cur] : NULL;
}

/* ---- rounds ---- */

static bool can_be_freed(const struct shard *s, uint16_t dev)
{
    const struct ring *r = &s->ring[dev];

    return r->half > 0 && !r->free && nobody_needs(s, dev, !r->cur);
}

bool ring_waits(const struct shard *s)
{
    for (uint16_t dev = 0; dev < s->o.nr_capacity; dev++)
        if (can_be_freed(s, dev))
            return true;
    return false;
}

void ring_round_begins(struct shard *s)
{
    for (uint16_t dev = 0; dev < s->o.nr_capacity; dev++)
        s->ring[dev].emptied = can_be_freed(s, dev);
}

void ring_round_ended(struct shard *s)
{
    for (uint16_t dev = 0; dev < s->o.nr_capacity; dev++) {
        struct ring *r = &s->ring[dev];

        if (!r->emptied)
            continue;
        r->emptied = false;
        r->free = true;
        r->homed = MAX(r->homed, r->low[r->cur] - 1);
    }
}

/* ---- what the metadata knows ---- */

void ring_init(struct shard *s)
{
    for (uint16_t dev = 0; dev < s->o.nr_capacity; dev++) {
        struct ring *r = &s->ring[dev];

        *r = (struct ring){.cur = 1, .low = {UINT64_MAX, UINT64_MAX}};
        cold_ring(s->o.cold, dev, s->o.no, &r->first, &r->half);
        r->head = r->half;
    }
}

void ring_say(struct shard *s, struct shard_rec *rec)
{
    bool any = false;

    for (uint16_t dev = 0; dev < s->o.nr_capacity; dev++) {
        const struct ring *r = &s->ring[dev];

        any |= r->half > 0;
        rec->ring[dev] = (struct ring_mark){.homed_seq = MIN(r->homed, s->seq_high), .head = r->cur * r->half + r->head};
    }
    rec->nr_rings = any ? s->o.nr_capacity : 0;
}

/* A head between the halves is the end of one: that the other had become free nobody has said. */
void ring_load(struct shard *s, const struct shard_rec *rec)
{
    for (uint32_t dev = 0; dev < MIN(rec->nr_rings, s->o.nr_capacity); dev++) {
        struct ring *r = &s->ring[dev];
        uint32_t head = rec->ring[dev].head;

        r->homed = rec->ring[dev].homed_seq;
        if (head == 0 || head > 2 * r->half)
            continue;
        r->cur = (head - 1) / r->half;
        r->head = head - r->cur * r->half;
    }
}

void ring_start(struct shard *s, uint32_t x)
{
    const struct extent *e = extent_at(&s->xt, x);
    const struct ring *r;

    if (!(e->flags & EXTENT_RECORD) || !extent_placed(e))
        return;
    r = &s->ring[e->place.dev];
    if (r->half == 0 || e->destaged_seq <= r->homed)
        return;
    ring_note(s, x, e->place.dev, RING_BOTH);
}

int ring_started(struct shard *s)
{
    int err = ring_read(s);

    for (uint16_t dev = 0; dev < s->o.nr_capacity; dev++)
        s->ring[dev].free = can_be_freed(s, dev);
    return err;
}

void ring_verify(const struct shard *s)
{
    uint32_t there[CAPACITY_DEVS_MAX][2] = {0}, away[CAPACITY_DEVS_MAX][2] = {0};

    for (uint32_t x = 1; x <= s->xt.touched; x++) {
        const struct extent *e = extent_at(&s->xt, x);

        for (unsigned h = 0; h < 2 && e->layer != 0; h++) {
            if (!(halves_of(e) >> h & 1))
                continue;
            (is_there(e) ? there : away)[dev_of(e)][h]++;
            assert(!is_there(e) || (slotset_has(&s->xt.dev[dev_of(e)].ringed[h], e->place.slot) &&
                                    s->xt.dev[dev_of(e)].x[e->place.slot] == x));
        }
    }
    for (uint16_t dev = 0; dev < s->o.nr_capacity; dev++)
        for (unsigned h = 0; h < 2; h++)
            assert(s->xt.dev[dev].ringed[h].nr == there[dev][h] && s->ring[dev].away[h] == away[dev][h]);
}
