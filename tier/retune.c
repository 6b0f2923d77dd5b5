/* SPDX-License-Identifier: Apache-2.0 */
/* retune.c: knobs that change while a pool is open.
 *
 * From envs[0] to one shard after the other, and back: each takes the figures of TIER_LIVE on its own env. What is under way goes on as it
 * was begun. No record is written: the configuration has the figures, and the next open is given them.
 * Failures: another change is under way, or a stop: nothing changes.
 */
#include "tier/fetch.h"
#include "tier/places.h"
#include "tier/pool.h"
#include "tier/priv.h"

static void live_copy(struct tier_opts *to, const struct tier_opts *from)
{
#define X(field) to->field = from->field;
    TIER_LIVE(X)
#undef X
}

void shard_retune(struct shard *s, const struct tier_opts *o)
{
    live_copy(&s->t, o);
    shard_defaults(&s->t);
    places_retune(s);
    fetch_retune(s);
    shard_kick(s);
}

/* ---- from shard to shard ---- */

static void retune_hop(struct tier *t);

static void home(struct env_task *task)
{
    struct retune *r = container_of(task, struct retune, task);
    struct tier *t = container_of(r, struct tier, retune);
    tier_retune_cb *cb = r->cb;

    r->cb = NULL;
    t->ctl_in_flight--;
    cb(r->ctx);
    tier_stop_go_on(t);
}

static void on_shard(struct env_task *task)
{
    struct retune *r = container_of(task, struct retune, task);
    struct tier *t = container_of(r, struct tier, retune);

    shard_retune(t->shards[r->shard++], &r->opts);
    retune_hop(t);
}

static void retune_hop(struct tier *t)
{
    struct retune *r = &t->retune;
    bool done = r->shard == t->nr_shards;

    r->task = (struct env_task){.fn = done ? home : on_shard};
    env_post(done ? t->envs[0] : tier_shard_env(t, r->shard), &r->task);
}

int tier_retune(struct tier *t, const struct tier_opts *opts, tier_retune_cb *cb, void *ctx)
{
    struct retune *r = &t->retune;

    if (r->cb != NULL || t->stopping)
        return t->stopping ? -FIRN_E_STOPPED : -FIRN_E_IN_USE;
    *r = (struct retune){.cb = cb, .ctx = ctx};
    live_copy(&r->opts, opts);
    t->ctl_in_flight++;
    retune_hop(t);
    return 0;
}
