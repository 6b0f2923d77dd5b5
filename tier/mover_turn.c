/* SPDX-License-Identifier: Apache-2.0 */
/* mover_turn.c: how a lane's runs share a device with those of other shards and with foreground requests.
 *
 * 1. No run goes out without the device's turn (turn.h) and before the device's budget allows it; a stop waits for no budget.
 * 2. A run is cut so that the model of an HDD writes it within RUN_NS, the way to it included: that is how long it can hold up a
 *    foreground request. What is left of it follows at once, and costs no way. Shorter ones go out together, as a train that takes no
 *    longer: where hosts read between any two, each would begin with a way back. Measured, a tenth of the footprint as SSD: tencent-50k
 *    takes 241 s of the disk, not 258, cphy-vm 124.5, not 127.5, tpcc-small 82.9, not 86.4.
 * 3. The turn goes on to another shard when nothing can be written at once, or after LANE_STINT_NS: not after each run, for then two
 *    shards would send the head to and fro.
 * 4. Where mover.latency_target is set, reads that take longer make runs that can wait pause, more and more, until they do not.
 * 5. A train of streams that go past the log (bypass_run.c) goes out in the turn of its shard's lane, which lends it. Nothing of the lane's
 *    goes out meanwhile.
 * What leaves a device that refused it is written to another one without that one's turn: it is rare, and has a lane of its own there.
 * Failure: a run of another shard hangs: this one writes all the same, and meets its own deadline.
 */
#include "rt/dev_model.h"
#include "tier/bypass.h"
#include "tier/describe.h"
#include "tier/mover.h"
#include "tier/priv.h"

#define RUN_NS (20 * NS_PER_MS)

uint64_t lane_budget_ns(const struct lane *l)
{
    return l->s->draining && !l->s->drain_all ? 0 : figure_get(&turn_of(l->s, l->dev)->not_before_ns);
}

bool lane_turn(struct lane *l)
{
    struct shard *s = l->s;
    struct turn *t = turn_of(s, l->dev);
    uint64_t now = env_now_ns(s->env);

    if (l->lent)
        return false;
    if (now < lane_budget_ns(l)) {
        if (l->runs == 0)
            lane_turn_over(l);
        return false;
    }
    if (l->turn == TURN_ASKED && turn_stuck(t, now))
        lane_turn_over(l);
    if (l->turn == TURN_NONE && turn_stuck(t, now))
        return true;
    if (l->turn == TURN_NONE) {
        if (!l->migrates) /* the shard's own lane there may be waiting for it */
            l->turn = turn_take(t, s->o.no, &l->turn_want) ? TURN_HELD : TURN_ASKED;
        else if (turn_try(t))
            l->turn = TURN_HELD;
        l->turn_ns = now;
    }
    return l->turn == TURN_HELD;
}

void lane_turn_over(struct lane *l)
{
    if (l->lent)
        return; /* lane_turn_rest() comes */
    if (l->turn == TURN_HELD)
        turn_give(turn_of(l->s, l->dev), l->s->o.no);
    else if (l->turn == TURN_NONE || !turn_withdraw(turn_of(l->s, l->dev), l->s->o.no))
        return; /* none; or it comes in a moment, and goes on */
    l->turn = TURN_NONE;
}

/* ---- trains of streams: the shard has one turn, and they are its own ---- */

bool lane_turn_lend(struct lane *l)
{
    if (l->runs > 0 || !lane_turn(l))
        return false;
    l->lent = true;
    if (l->turn == TURN_HELD)
        turn_run_begin(turn_of(l->s, l->dev), env_now_ns(l->s->env));
    return true;
}

void lane_turn_back(struct lane *l)
{
    struct turn *t = turn_of(l->s, l->dev);

    assert(l->lent);
    l->lent = false;
    l->streamed = true;
    if (l->turn != TURN_HELD)
        return;
    turn_run_end(t);
    if (turn_others_wait(t) && env_now_ns(l->s->env) >= l->turn_ns + LANE_STINT_NS)
        lane_turn_over(l);
}

void lane_turn_rest(struct lane *l)
{
    if (l->lent || l->turn == TURN_ASKED)
        return;
    if (l->state == LANE_DESCRIBE && l->turn == TURN_HELD && l->runs == 0)
        describe_go_on(l);
    else if (l->runs == 0)
        lane_turn_over(l); /* it asks again if it may go on: who yields to reads keeps no turn */
}

/* Trains of streams and runs take turns: hosts wait for both, or for the trains alone. */
bool lane_turn_to_streams(struct lane *l)
{
    if (l->runs == 0 && !l->streamed && !l->lent && !l->migrates && l->dev != EXTENT_NO_DEV)
        bypass_turn(l->s, l->dev);
    if (!l->lent && l->runs == 0)
        l->streamed = false;
    return l->lent;
}

/* A run is in flight; what else the lane has in flight needs no turn. */
static bool run_is_out(const struct lane *l) { return l->io_busy && (lane_writes(l) || l->state == LANE_DESCRIBE); }

static void granted(struct env_task *task)
{
    struct lane *l = container_of(task, struct lane, turn_want.granted);

    assert(l->turn == TURN_ASKED);
    l->turn = TURN_HELD;
    l->turn_ns = env_now_ns(l->s->env);
    if (!l->migrates && l->dev != EXTENT_NO_DEV)
        bypass_turn(l->s, l->dev); /* hosts wait for it */
    if (l->lent)
        return;
    if (l->state == LANE_DESCRIBE)
        describe_go_on(l);
    else if (lane_writes(l) && !l->io_busy)
        lane_step(l);
    if (!run_is_out(l))
        lane_turn_over(l);
    shard_kick(l->s);
}

void lane_turn_init(struct lane *l)
{
    l->turn_want = (struct turn_want){.env = l->s->env, .granted = {.fn = granted}};
}

void lane_run_begin(struct lane *l, uint16_t dev, const struct dev_io *io)
{
    l->io_busy = true;
    turn_head_to(turn_of(l->s, dev), io->off_bytes + io->len_bytes);
    if (l->runs++ == 0 && dev == l->dev && l->turn == TURN_HELD)
        turn_run_begin(turn_of(l->s, dev), env_now_ns(l->s->env));
}

void lane_run_end(struct lane *l, uint16_t dev, const struct dev_io *io)
{
    struct shard *s = l->s;
    struct turn *t = turn_of(s, dev);
    uint64_t now = env_now_ns(s->env);

    assert(l->runs > 0);
    l->io_busy = --l->runs > 0;
    if (dev != l->dev)
        return;
    turn_charge(t, now, io->len_bytes, s->t.mover_bandwidth, s->t.mover_iops);
    if (!lane_hurries(l))
        turn_pause(t, now);
    if (l->turn != TURN_HELD)
        return;
    if (l->runs > 0) { /* the next one of the train is in the device's hands from now on */
        turn_run_begin(t, now);
        return;
    }
    turn_run_end(t);
    if (turn_others_wait(t) && (l->migrates || now >= l->turn_ns + LANE_STINT_NS))
        lane_turn_over(l);
}

static uint64_t run_ns(uint64_t span_bytes, uint64_t head_bytes, uint64_t off_bytes, uint32_t nblocks)
{
    uint64_t seeks = 0;

    return dev_model_hdd_cost_ns(span_bytes, &head_bytes, true, off_bytes, (uint64_t)nblocks * BLOCK_BYTES, &seeks);
}

uint32_t lane_run_blocks(const struct lane *l, uint16_t dev, uint64_t off_bytes, uint32_t nblocks)
{
    const struct dev *d = shard_capacity(l->s, dev);
    uint64_t span = d->caps.size_bytes, head = figure_get(&turn_of(l->s, dev)->head_bytes), way_ns, whole_ns;

    if (!d->caps.rotational)
        return nblocks;
    way_ns = run_ns(span, head, off_bytes, 0);
    whole_ns = run_ns(span, head, off_bytes, nblocks);
    if (whole_ns <= RUN_NS)
        return nblocks;
    return way_ns >= RUN_NS ? 1 : MAX((uint32_t)(nblocks * (RUN_NS - way_ns) / (whole_ns - way_ns)), 1u);
}

bool lane_train_takes(struct lane *l, uint16_t dev, uint64_t off_bytes, uint32_t nblocks)
{
    const struct dev *d = shard_capacity(l->s, dev);
    uint64_t ns = RUN_NS;

    if (d->caps.rotational && dev == l->dev)
        ns = run_ns(d->caps.size_bytes, figure_get(&turn_of(l->s, dev)->head_bytes), off_bytes, nblocks);
    if (l->runs == 0)
        l->train_ns = 0;
    else if (l->train_ns + ns > RUN_NS)
        return false;
    l->train_ns += ns;
    return true;
}
