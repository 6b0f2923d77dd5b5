/* SPDX-License-Identifier: Apache-2.0 */
/* described.c: how far the descriptions of extents (describe.c) have come: `described_seq`, in the shard's record of the metadata.
 * Every extent with a place whose destaged_seq is not above it says on its device what the map says, durably. A start, after a
 * crash or not, makes all others due. Not counted: extents whose checksums are lost, and those that a zero in the log covers.
 *
 * 1. Descriptions were written, and the last round began a minute ago; or the shard drains, and nothing else is left to do. A round
 *    looks for the lowest destaged_seq that is not described: slot by slot among what is due, some at a time; what becomes due
 *    meanwhile is compared as it comes (map_settle()); what the lanes hold, at the end.
 * 2. Devices that got descriptions since their last flush are flushed, one after the other, when nobody wants them.
 * 3. described_seq is just below that lowest one. The shard's next record says so; where no batch comes along, marks.c commits one.
 * S of a destage may be lower than that of an earlier one, while a zero is on its way (zero.c): a batch that commits an S that is not above
 * described_seq takes it down again, in its own record.
 *
 * Failures: a device that cannot be flushed now ends the round: the next one tries again. A description that could not be written, a
 * flush that failed, for whatever shard: nobody knows what lies there; described_seq stays until the next start.
 */
#include "tier/describe.h"
#include "tier/mover.h"
#include "tier/priv.h"
#include "tier/ring.h"

#define ROUND_PERIOD_NS (60 * NS_PER_S) /* a flush of each device and a commit of 16 KiB, at this pace, are nothing */

static void set_round(struct shard *s, enum described_round to)
{
    static const bool allowed[DESCRIBED_ROUND_NR][DESCRIBED_ROUND_NR] = {
        [DESCRIBED_REST]  = {[DESCRIBED_LOOK] = true},
        [DESCRIBED_LOOK]  = {[DESCRIBED_FLUSH] = true, [DESCRIBED_REST] = true},
        [DESCRIBED_FLUSH] = {[DESCRIBED_REST] = true},
    };

    assert(allowed[s->described.round][to]);
    s->described.round = to;
}

/* ---- what is not described ---- */

void described_due(struct shard *s, uint64_t seq)
{
    if (s->described.round != DESCRIBED_REST)
        s->described.low = MIN(s->described.low, seq);
}

/* Among what is due. True: that was all. */
static bool look_at_due(struct shard *s)
{
    struct described *d = &s->described;

    for (uint32_t budget = SCAN_BUDGET; d->dev < s->o.nr_capacity; d->dev++, d->slot = 0) {
        const struct extent_slots *v = &s->xt.dev[d->dev];
        uint32_t slot = slotset_next(&v->due, d->slot);

        for (; slot != SLOT_NONE; slot = slotset_next(&v->due, slot + 1)) {
            d->slot = slot;
            if (budget-- == 0)
                return false;
            described_due(s, extent_at(&s->xt, v->x[slot])->destaged_seq);
        }
    }
    return true;
}

static void look_at_extent(struct shard *s, uint32_t x)
{
    const struct extent *e = extent_at(&s->xt, x);

    if ((e->flags & EXTENT_UNDESCRIBED) && (e->flags & EXTENT_RECORD))
        described_due(s, e->destaged_seq);
}

/* What lanes hold is on no list. What they will commit is due from then on. */
static void look_at_lane(struct shard *s, const struct lane *l)
{
    if (l->state == LANE_IDLE)
        return;
    for (uint32_t i = l->desc_at; l->state == LANE_DESCRIBE && i < l->nr_desc; i++)
        look_at_extent(s, l->desc[i]);
    for (uint32_t i = 0; l->state != LANE_DESCRIBE && i < l->nr_jobs; i++) {
        look_at_extent(s, l->jobs[i].x);
        if (l->jobs[i].captured)
            described_due(s, l->jobs[i].seq);
    }
}

/* ---- a round ---- */

static void round_begin(struct shard *s)
{
    struct described *d = &s->described;

    set_round(s, DESCRIBED_LOOK);
    d->began_ns = env_now_ns(s->env);
    if (s->draining)
        d->drain_ns = s->drain_began_ns;
    d->wanted = false;
    d->low = s->seq_high + 1;
    d->dev = 0;
    d->slot = 0;
}

static void round_give_up(struct shard *s)
{
    set_round(s, DESCRIBED_REST);
    s->described.wanted = true;
}

static void round_end(struct shard *s)
{
    struct described *d = &s->described;

    set_round(s, DESCRIBED_REST);
    for (uint16_t dev = 0; dev < s->o.nr_capacity; dev++)
        d->stuck |= cold_flush_failures(s->o.cold, dev) > 0;
    if (d->stuck)
        return;
    d->seq = MAX(d->seq, d->low - 1);
    ring_round_ended(s);
}

static void flushed(struct dev_io *io)
{
    struct shard *s = container_of(io, struct shard, described.io);
    struct described *d = &s->described;
    uint16_t dev = (uint16_t)__builtin_ctzll(d->to_flush);

    d->flushing = false;
    d->to_flush &= d->to_flush - 1;
    if (io->err != 0) {
        d->stuck = true;
        cold_flush_failed(s->o.cold, dev);
        shard_degrade(s, dev, io->err);
    }
    flush_turn_give(s->o.flush_turns, dev);
    shard_kick(s);
}

static bool quiet(struct shard *s, uint16_t dev)
{
    struct policy_state p = lane_policy(&s->lanes[dev]);

    return s->draining || (p.fg_in_flight == 0 && !p.urgent) || p.now_ns >= s->described.began_ns + POLICY_OVERDUE_NS;
}

/* When to be called again. */
static uint64_t flush_next(struct shard *s)
{
    struct described *d = &s->described;
    uint16_t dev = (uint16_t)__builtin_ctzll(d->to_flush);
    struct dev *to = shard_capacity(s, dev);

    if (!dev_usable(s, to)) {
        round_give_up(s);
        return UINT64_MAX;
    }
    if (!quiet(s, dev))
        return env_now_ns(s->env) + POLICY_DESCRIBE_NS;
    if (!flush_turn_take(s->o.flush_turns, dev))
        return env_now_ns(s->env) + NS_PER_MS;
    d->flushing = true;
    d->unflushed &= ~(UINT64_C(1) << dev);
    d->io = (struct dev_io){.cb = flushed};
    dev_flush(to, &d->io);
    return UINT64_MAX;
}

static uint64_t look(struct shard *s)
{
    struct described *d = &s->described;
    bool over = look_at_due(s);

    for (uint32_t i = 0; over && i < s->nr_lanes; i++)
        look_at_lane(s, &s->lanes[i]);
    if (d->low <= d->seq + 1 && !ring_waits(s)) {
        set_round(s, DESCRIBED_REST); /* nothing to be gained: what is due is as old as that */
    } else if (over) {
        set_round(s, DESCRIBED_FLUSH);
        ring_round_begins(s);
    }
    d->to_flush = s->bugs.described_unflushed ? 0 : d->unflushed;
    return d->round == DESCRIBED_REST ? UINT64_MAX : env_now_ns(s->env);
}

/* ---- when ---- */

/* Nothing but a round is left of what a drain waits for. */
static bool drained(struct shard *s)
{
    return !mover_busy(s) && !describe_pending(s) && !(s->drain_all && s->ix.nr_dirty > 0);
}

/* UINT64_MAX: not by the clock. */
static uint64_t begin_at(struct shard *s)
{
    const struct described *d = &s->described;

    if (!d->wanted || d->stuck)
        return UINT64_MAX;
    if (s->draining)
        return d->drain_ns != s->drain_began_ns && drained(s) ? 0 : UINT64_MAX;
    return d->began_ns == 0 ? 0 : d->began_ns + ROUND_PERIOD_NS;
}

static void round_cut_off(struct shard *s)
{
    if (s->described.round != DESCRIBED_REST && !s->described.flushing)
        set_round(s, DESCRIBED_REST);
}

uint64_t described_step(struct shard *s)
{
    struct described *d = &s->described;
    uint64_t at;

    if (d->flushing)
        return UINT64_MAX;
    if (s->failed != 0) {
        round_cut_off(s);
        return UINT64_MAX;
    }
    if (d->round == DESCRIBED_REST) {
        at = begin_at(s);
        if (at > env_now_ns(s->env))
            return at;
        round_begin(s);
    }
    if (d->round == DESCRIBED_LOOK)
        return look(s);
    if (d->to_flush != 0 && !d->stuck)
        return flush_next(s);
    round_end(s);
    return UINT64_MAX;
}

bool described_busy(struct shard *s)
{
    const struct described *d = &s->described;

    return d->flushing || (s->failed == 0 && (d->round != DESCRIBED_REST || begin_at(s) == 0));
}

/* ---- what others tell ---- */

void described_written(struct shard *s, uint16_t dev, int err)
{
    s->described.unflushed |= UINT64_C(1) << dev;
    s->described.wanted = true;
    s->described.stuck |= err != 0;
}

static void take_down(struct shard *s, uint64_t seq)
{
    described_due(s, seq);
    if (seq <= s->described.seq)
        s->described.seq = seq - 1;
}

uint64_t described_say(struct shard *s)
{
    struct described *d = &s->described;

    for (uint32_t i = 0; i < s->nr_lanes; i++)
        for (uint32_t k = 0; s->lanes[i].state == LANE_COMMIT && k < s->lanes[i].nr_jobs; k++)
            if (!s->lanes[i].jobs[k].tombstone)
                take_down(s, s->lanes[i].jobs[k].seq);
    d->seq = MIN(d->seq, s->seq_high); /* less, if a loss was accepted */
    d->said = d->seq;
    return d->seq;
}

bool described_unsaid(const struct shard *s) { return s->described.seq > s->described.said; }

void described_load(struct shard *s, uint64_t seq) { s->described.seq = s->described.said = s->described.loaded = seq; }

void described_start(const struct shard *s, struct extent *e)
{
    if ((e->flags & EXTENT_RECORD) && extent_placed(e) && e->destaged_seq > s->described.loaded)
        e->flags |= EXTENT_UNDESCRIBED;
}
