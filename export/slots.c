/* SPDX-License-Identifier: Apache-2.0 */
/* slots.c: command slots of an env: fewer than all its queues together may have commands outstanding.
 *
 * A queue that finds no slot for a capsule stops reading until it gets one. A queue that owes host data must not be stopped so: its
 * data lies behind capsules, and its commands keep slots and chunks until the data is there. So an R2T goes to covered queues
 * only: as many free slots as such a queue has unused entries are promised to it. It reads on whatever others do, and
 * its cover ends when it owes nothing. Others wait in line for cover; while somebody does, a covered queue gets no R2T beyond
 * those of its turn, so that cover goes round.
 * No deadlock: the last queue_depth free slots are promised, never taken uncovered, so the first in line fits. If a
 * queue used them up and its cover ended, that queue itself fits: what it left is still free. Slots in a blk or a send come back by
 * themselves; event requests, which need not, get at most half of the slots: an eighth those of discovery, where anybody may ask, the
 * rest of that half those of hosts that have a volume.
 */
#include "export/priv.h"

static uint32_t unused_entries(const struct queue *q) { return q->nr_cmds <= q->sqsize ? q->sqsize + 1u - q->nr_cmds : 0; }
static uint32_t kept_back(const struct target_env *te) { return te->promised + te->t->opts.queue_depth; }

uint32_t slots_nr(const struct target_opts *o)
{
    uint64_t all = (uint64_t)o->connections_max * o->queue_depth, max = o->commands ? o->commands : CMDS_PER_ENV_MAX;

    return (uint32_t)MAX(MIN(MIN(all, max) + o->queue_depth, CMDS_PER_ENV_MAX), 2u * o->queue_depth);
}

struct cmd *slot_take(struct queue *q)
{
    struct target_env *te = q->te;
    bool promised = q->covered && unused_entries(q) > 0;

    if (!promised && te->cmds.nr_free <= kept_back(te))
        return NULL;
    te->promised -= promised;
    q->nr_cmds++;
    assert(te->cmds.nr_free > 0);
    return pool_get(&te->cmds);
}

void slot_give(struct queue *q, struct cmd *c)
{
    struct target_env *te = q->te;

    assert(q->nr_cmds > 0);
    q->nr_cmds--;
    te->promised += q->covered && unused_entries(q) > 0;
    pool_put(&te->cmds, c);
    if (!list_empty(&te->wait_cmd) || !list_empty(&te->wait_cover))
        target_env_wake(te);
}

void slot_wait(struct queue *q)
{
    q->rx_blocked = true;
    if (q->covered) /* its own answers hold the slots: as soon as one is sent */
        list_push_front(&q->te->wait_cmd, &q->rx_wait);
    else
        list_push_back(&q->te->wait_cmd, &q->rx_wait);
}

uint32_t *slots_parked(const struct queue *q)
{
    return subsys_is_discovery(q->s) ? &q->te->nr_parked_disc : &q->te->nr_parked;
}

bool slots_for_event(const struct queue *q)
{
    uint32_t eighth = (q->te->cmds.nr - q->t->opts.queue_depth) / 8;

    return *slots_parked(q) < (subsys_is_discovery(q->s) ? eighth : 3 * eighth);
}

/* ---- cover -------------------------------------------------------------------------------------------------------- */

static void get_in_line(struct queue *q)
{
    if (list_empty(&q->cover_wait))
        list_push_back(&q->te->wait_cover, &q->cover_wait);
}

static bool try_cover(struct queue *q)
{
    struct target_env *te = q->te;

    if (te->cmds.nr_free - te->promised < unused_entries(q))
        return false;
    te->promised += unused_entries(q);
    q->covered = true;
    return true;
}

static void uncover(struct queue *q)
{
    struct target_env *te = q->te;

    te->promised -= unused_entries(q);
    q->covered = false;
    if (q->state == QUEUE_LIVE && !list_empty(&q->wait_quota))
        get_in_line(q);
    if (!list_empty(&te->wait_cover) || !list_empty(&te->wait_cmd))
        target_env_wake(te);
}

bool cover_get(struct queue *q)
{
    if (q->cover_turn)
        return true;
    if (list_empty(&q->te->wait_cover) && (q->covered || try_cover(q)))
        return true;
    if (!q->covered)
        get_in_line(q);
    return false;
}

void cover_owe(struct cmd *c)
{
    assert(c->q->covered && !c->owes);
    c->owes = true;
    c->q->nr_owed++;
}

void cover_paid(struct cmd *c)
{
    struct queue *q = c->q;

    if (!c->owes)
        return;
    c->owes = false;
    if (--q->nr_owed == 0 && !q->cover_turn)
        uncover(q);
}

/* ---- who waits ---------------------------------------------------------------------------------------------------- */

/* q's turn: every command of it that waits now and fits its share of chunks. */
static void take_turn(struct queue *q)
{
    list_remove(&q->cover_wait);
    if (q->capsule_waits) { /* it waited for a slot, and has one now */
        list_remove(&q->rx_wait);
        queue_rx_unblock(q);
    }
    q->cover_turn = true;
    cmd_quota_retry(q);
    q->cover_turn = false;
    if (q->nr_owed == 0)
        uncover(q);
}

static void serve_cover(struct target_env *te)
{
    list_for_each_safe(n, tmp, &te->wait_cover) {
        struct queue *q = list_entry(n, struct queue, cover_wait);

        if (cmd_quota_room(q) && try_cover(q))
            take_turn(q);
    }
}

static void serve_capsules(struct target_env *te)
{
    uint32_t nr = te->cmds.nr_free > kept_back(te) ? te->cmds.nr_free - kept_back(te) : 0;
    struct queue *q;

    while ((q = list_first(&te->wait_cmd, struct queue, rx_wait)) != NULL && (q->covered || nr > 0)) {
        nr -= q->covered ? 0 : 1;
        list_remove(&q->rx_wait);
        queue_rx_unblock(q);
    }
}

void slots_serve(struct target_env *te)
{
    serve_cover(te);
    serve_capsules(te);
}
