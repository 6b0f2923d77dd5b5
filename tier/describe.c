/* SPDX-License-Identifier: Apache-2.0 */
/* describe.c: descriptions of extents on their devices, so that the map can be rebuilt from them. Lazily: no destage waits
 * for one, and no head moves for one while anything else wants the device.
 *
 * 1. A batch of destages has committed: its extents join their device's list, and its set of slots that are due (extent.h).
 * 2. The device is quiet, and one of its regions has EXTENT_RIPE of them: the lane takes that region's. When nothing was destaged
 *    for a minute, or the shard drains, or the last round ended ten minutes ago: the next DESCRIBE_BATCH, round and round the device
 *    (one alone costs as much head movement as the destage it tells of). Held in state DESCRIBING, an
 *    extent keeps place, destaged_seq and checksums: nobody else gets its slot while the write is under way.
 * 3. Their checksums are fetched, neighbours' descriptions joined; one write after another, without a flush.
 * On a device with a ring (ring.c) a batch that would take several writes is one write into the ring, if there is room; so a batch
 * is due as soon as there are RING_RIPE of them, wherever they lie. A batch of what leaves the ring goes to the regions; half a ring of
 * that is thousands of ways, so what is overdue comes first: where hosts leave little room nobody would describe it for hours.
 * A foreground request or an urgent extent ends the batch: what is left goes back to the list. A failed write is not
 * repeated: the map is what counts, and the next destage of that extent describes it anew, or the next start. Checksums that cannot
 * be read: again later.
 * How far all this has come the metadata knows (described.c): at a start whatever it does not call described is due. A drain without
 * destage, as every stop is, gives up after DESCRIBE_STOP_NS.
 */
#include "tier/describe.h"
#include "tier/map.h"
#include "tier/mover.h"
#include "tier/priv.h"
#include "tier/ring.h"
#include "tier/sums.h"

#define DESCRIBE_STOP_NS (2 * NS_PER_S)
static_assert(DESCRIBE_BATCH * DESC_BYTES <= EXTENT_BYTES, "a batch fits the lane's buffer");
static_assert(DESCRIBE_BATCH >= REGION_EXTENTS, "a batch holds a region");
#define RING_RIPE DESCRIBE_BATCH
#define RUNS_TO_REGIONS 1u /* a batch of so many runs goes there at once: it is described for good, and not later than by way of the ring */

static struct extent_list *waiting(struct shard *s, uint16_t dev)
{
    return &s->xt.side[EXTENT_SIDE_DESCRIBE + dev];
}

static bool draining(const struct shard *s)
{
    return s->draining && (s->drain_all || env_now_ns(s->env) < s->drain_began_ns + DESCRIBE_STOP_NS);
}

bool describe_pending(struct shard *s)
{
    if (!draining(s))
        return false;
    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        if (waiting(s, d)->nr > 0 && dev_usable(s, shard_capacity(s, d)))
            return true;
    return false;
}

/* ---- a batch ---- */

static struct extent_place place_of(const struct lane *l, uint32_t i) { return extent_at(&l->s->xt, l->desc[i])->place; }

static void describe_release(struct lane *l, uint32_t i, bool described)
{
    struct extent *e = extent_at(&l->s->xt, l->desc[i]);

    if (described)
        e->flags &= (uint8_t)~EXTENT_UNDESCRIBED;
    extent_set_state(e, EXTENT_IDLE);
    map_settle(l->s, l->desc[i]);
}

static void describe_end(struct lane *l)
{
    for (uint32_t i = l->desc_at; i < l->nr_desc; i++)
        describe_release(l, i, false);
    l->nr_desc = 0;
    lane_turn_over(l);
    lane_rest(l);
}

static void describe_step(struct lane *l);

static void describe_woken(struct sums_waiter *w)
{
    struct lane *l = container_of(w, struct lane, wait);

    l->parked = false;
    describe_step(l);
}

static void note_written(struct lane *l)
{
    if (l->to_ring)
        ring_wrote(l->s, l->dev, &l->desc[l->desc_at], l->desc_n);
    for (uint32_t i = 0; !l->to_ring && i < l->desc_n; i++)
        ring_note(l->s, l->desc[l->desc_at + i], l->dev, 0);
}

static void describe_written(struct dev_io *io)
{
    struct lane *l = container_of(io, struct lane, io);

    lane_run_end(l, l->dev, io);
    if (io->err != 0)
        l->not_before_ns = MAX(l->not_before_ns, env_now_ns(l->s->env) + LANE_PAUSE_ERROR_NS);
    l->bytes += io->len_bytes;
    described_written(l->s, l->dev, io->err);
    if (io->err == 0)
        note_written(l);
    for (uint32_t i = 0; i < l->desc_n; i++)
        describe_release(l, l->desc_at + i, true);
    l->desc_at += l->desc_n;
    l->desc_n = 0;
    if (io->err != 0)
        describe_end(l);
    else
        describe_step(l);
}

static void describe_write(struct lane *l)
{
    struct shard *s = l->s;
    uint64_t off = l->to_ring ? ring_at(s, l->dev) : cold_desc_offset(s->o.cold, place_of(l, l->desc_at));

    figure_add(&s->stats.descriptor_writes, 1);
    figure_add(&s->stats.descriptor_bytes, (uint64_t)l->desc_n * DESC_BYTES);
    l->iov = (struct iovec){l->buf, (size_t)l->desc_n * DESC_BYTES};
    l->io = (struct dev_io){.off_bytes = off, .len_bytes = l->iov.iov_len, .iov = &l->iov, .iovcnt = 1, .cb = describe_written};
    lane_run_begin(l, l->dev, &l->io);
    dev_write(shard_capacity(s, l->dev), &l->io);
}

/* The region's description of that one of the batch lies right behind that of the one before. */
static bool is_next(const struct lane *l, uint32_t i)
{
    return cold_desc_offset(l->s->o.cold, place_of(l, i - 1)) + DESC_BYTES == cold_desc_offset(l->s->o.cold, place_of(l, i));
}

/* The next of the batch is to be written right behind the run that is being gathered. */
static bool joins_run(const struct lane *l)
{
    if (l->desc_at + l->desc_n == l->nr_desc)
        return false;
    return l->desc_n == 0 || l->to_ring || is_next(l, l->desc_at + l->desc_n);
}

/* Name, identity and block size never change; an older size is made good by the extents themselves. */
static struct desc_volume owner(const struct layer *y)
{
    struct desc_volume d = {0};

    if (y->vol == NULL || !name_valid(y->vol->p.name))
        return d;
    d = (struct desc_volume){.uuid = y->vol->uuid, .size_bytes = y->vol->size_blocks * BLOCK_BYTES, .lba_bytes = y->vol->blk.lba_bytes};
    memcpy(d.name, y->vol->p.name, sizeof(d.name));
    return d;
}

enum gathered { GATHERED, GATHER_WAITS, GATHER_LOST, GATHER_LATER };

/* Puts the next description behind those of the run, if its checksums are there. */
static enum gathered gather_one(struct lane *l)
{
    struct shard *s = l->s;
    uint32_t i = l->desc_at + l->desc_n;
    const struct extent *e = extent_at(&s->xt, l->desc[i]);
    const struct layer *y = layer_at(s, e->layer);
    struct desc_volume volume = owner(y);
    struct sums *m;
    enum gathered got;

    l->wait.fn = describe_woken;
    m = sums_get(s, l->desc[i], &l->wait);
    l->parked = m == NULL;
    if (l->parked)
        return GATHER_WAITS;
    got = m->err == 0 ? GATHERED : sums_lost(m) ? GATHER_LOST : GATHER_LATER;
    if (got == GATHERED)
        cold_desc_encode(s->o.cold, e->place, y->id, e->no, e->destaged_seq, &m->v, &volume,
                         l->buf + (size_t)l->desc_n * DESC_BYTES);
    sums_put(s, m);
    l->desc_n += got == GATHERED;
    return got;
}

static bool may_go_on(struct lane *l)
{
    struct policy_state p = lane_policy(l);

    return dev_usable(l->s, shard_capacity(l->s, l->dev)) && (draining(l->s) || (p.fg_in_flight == 0 && !p.urgent));
}

/* An extent whose checksums are lost has nothing to say of itself, and one whose checksums cannot be read now must wait: it is
 * taken out of the batch, which stays in order. */
static void drop_speechless(struct lane *l, bool lost)
{
    uint32_t i = l->desc_at + l->desc_n;

    if (!lost)
        l->not_before_ns = MAX(l->not_before_ns, env_now_ns(l->s->env) + LANE_PAUSE_ERROR_NS);
    else
        ring_note(l->s, l->desc[i], l->dev, 0);
    describe_release(l, i, lost);
    memmove(&l->desc[i], &l->desc[i + 1], (l->nr_desc - i - 1) * sizeof(l->desc[0]));
    l->nr_desc--;
}

static void describe_step(struct lane *l)
{
    while (joins_run(l)) {
        enum gathered got = gather_one(l);

        if (got == GATHER_WAITS)
            return;
        if (got != GATHERED)
            drop_speechless(l, got == GATHER_LOST);
    }
    if (l->desc_n == 0 || !may_go_on(l))
        describe_end(l);
    else if (lane_turn(l))
        describe_write(l);
    else if (l->turn == TURN_NONE) /* the budget is spent */
        describe_end(l);
    else
        shard_kick(l->s); /* whether it ever comes is looked at by the clock */
}

void describe_go_on(struct lane *l)
{
    if (!l->parked && !l->io_busy)
        describe_step(l);
}

/* ---- when ---- */

static struct extent_slots *slots_of(struct lane *l) { return &l->s->xt.dev[l->dev]; }

static void take(struct lane *l, uint32_t slot)
{
    uint32_t x = slots_of(l)->x[slot];

    assert(extent_at(&l->s->xt, x)->place.slot == slot);
    l->desc[l->nr_desc++] = x;
    extent_set_state(extent_at(&l->s->xt, x), EXTENT_DESCRIBING);
    map_settle(l->s, x);
}

/* The next ones behind the last batch, then from the start again. */
static void pick_next(struct lane *l)
{
    struct slotset *due = &slots_of(l)->due;
    uint32_t slot = slotset_next(due, l->desc_from);

    if (slot == SLOT_NONE) {
        l->swept_ns = env_now_ns(l->s->env);
        slot = slotset_next(due, 0);
    }
    for (; l->nr_desc < DESCRIBE_BATCH && slot != SLOT_NONE; slot = slotset_next(due, slot)) {
        take(l, slot);
        l->desc_from = slot + 1;
    }
}

/* All of the next region that is worth a way there. */
static void pick_ripe(struct lane *l)
{
    struct extent_slots *d = slots_of(l);
    uint32_t region = slotset_next(&d->ripe, (l->desc_from + REGION_EXTENTS - 1) / REGION_EXTENTS), slot;

    if (region == SLOT_NONE)
        region = slotset_next(&d->ripe, 0);
    l->desc_from = (region + 1) * REGION_EXTENTS;
    for (slot = slotset_next(&d->due, region * REGION_EXTENTS); slot < l->desc_from; slot = slotset_next(&d->due, slot))
        take(l, slot);
}

/* What is ringed where the ring is to be written next, in the order of its regions. */
static void pick_ringed(struct lane *l, const struct slotset *ringed)
{
    uint32_t slot = slotset_next(ringed, l->desc_from), budget = SCAN_BUDGET;

    if (slot == SLOT_NONE)
        slot = slotset_next(ringed, 0);
    for (; l->nr_desc < DESCRIBE_BATCH && slot != SLOT_NONE && budget > 0; slot = slotset_next(ringed, l->desc_from), budget--) {
        const struct extent *e = extent_at(&l->s->xt, slots_of(l)->x[slot]);

        if (e->state == EXTENT_IDLE && extent_mapped(e))
            take(l, slot);
        l->desc_from = slot + 1;
    }
}

/* Into the ring goes what would be several writes; as much of it as there is room for. */
static void choose_target(struct lane *l)
{
    uint32_t runs = 1, room = ring_room(l->s, l->dev);

    for (uint32_t i = 1; i < l->nr_desc; i++)
        runs += !is_next(l, i);
    l->to_ring = room > 0 && runs > RUNS_TO_REGIONS;
    while (l->to_ring && l->nr_desc > room)
        describe_release(l, --l->nr_desc, false);
}

static void pick(struct lane *l, const struct slotset *ringed, bool all)
{
    l->nr_desc = l->desc_at = l->desc_n = 0;
    l->to_ring = false;
    if (ringed != NULL)
        pick_ringed(l, ringed);
    if (l->nr_desc > 0 || waiting(l->s, l->dev)->nr == 0)
        return;
    if (all || slots_of(l)->ripe.nr == 0)
        pick_next(l);
    else
        pick_ripe(l);
    choose_target(l);
}

uint64_t describe_look(struct lane *l)
{
    struct shard *s = l->s;
    uint64_t now = env_now_ns(s->env), at;
    const struct slotset *ringed;
    struct policy_state p;
    bool ripe, overdue;

    if (l->dev == EXTENT_NO_DEV)
        return UINT64_MAX;
    ringed = ring_to_home(s, l->dev);
    if (waiting(s, l->dev)->nr == 0)
        l->swept_ns = now;
    if (waiting(s, l->dev)->nr == 0 && ringed == NULL)
        return UINT64_MAX;
    if (!dev_usable(s, shard_capacity(s, l->dev)))
        return now + LANE_PAUSE_ERROR_NS;
    p = lane_policy(l);
    p.drain = draining(s);
    ripe = slots_of(l)->ripe.nr > 0 || ringed != NULL || (ring_room(s, l->dev) > 0 && waiting(s, l->dev)->nr >= RING_RIPE);
    overdue = now >= l->swept_ns + POLICY_OVERDUE_NS;
    at = policy_describe_at(&p, l->destage_last_ns, ripe || overdue);
    if (at != 0)
        return at;
    pick(l, overdue ? NULL : ringed, p.drain || overdue || !ripe);
    if (l->nr_desc == 0) /* others are at work on them */
        return now + POLICY_DESCRIBE_NS;
    l->nr_jobs = 0;
    l->bytes = 0;
    lane_set_state(l, LANE_DESCRIBE);
    describe_step(l);
    return UINT64_MAX;
}
