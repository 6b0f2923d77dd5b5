/* SPDX-License-Identifier: Apache-2.0 */
/* control.c: volumes come, grow and go while hosts use them. One call is under way at a time.
 *
 * What a start must find: a volume whose creation was answered and whose deletion was not asked for. What it may find:
 * one whose creation or deletion a crash cut off; then it is whole, or gone.
 */
#include "tools/sim/world.h"

#include <inttypes.h>
#include <stdio.h>

#define IDLE_TICKS 10000u /* without an answer to a host: the machine stands still */

static void control_tick(struct sim_event *ev);

/* After a refusal: not at once again, or a machine that stands still would do nothing but ask. */
static void control_later(struct world *w)
{
    w->control_tick.fn = control_tick;
    sim_at(w->sim, &w->control_tick, sim_now_ns(w->sim) + NS_PER_S);
}

static void control_soon(struct world *w)
{
    w->control_tick.fn = control_tick;
    sim_at(w->sim, &w->control_tick, sim_now_ns(w->sim) + sim_between(w->sim, 0, 400 * w->plan.think_max_ns / w->plan.slots));
}

bool control_idle(void *ctx) { return ((struct world *)ctx)->control == NULL; }

static void vol_forget(struct vol *v)
{
    if (v->oracle != NULL)
        oracle_free(v->oracle);
    *v = (struct vol){.state = VOL_NONE};
}

static uint64_t units_of(const struct vol *v) { return v->params.size_bytes / v->params.lba_bytes; }

static void vol_lives(struct world *w, struct vol *v, struct blk *blk)
{
    v->state = VOL_LIVE;
    v->blk = blk;
    if (blk->lba_bytes != v->params.lba_bytes || blk->size_lba < units_of(v))
        world_fail(w, "%s: has the wrong geometry", v->params.name);
    if (w->plan.profile == PROFILE_NETWORK)
        v->host = net_host_new(w, v);
}

static bool control_error_allowed(const struct world *w, int err)
{
    return w->plan.profile == PROFILE_FULL ? err == -FIRN_E_NO_SPACE || err == -FIRN_E_NO_RESOURCES
                                           : w->meta_failed || w->device_failed || w->damaged;
}

/* The request under way has been answered: the next one may come. Of which volume it was. */
static struct vol *control_over(struct world *w)
{
    struct vol *v = w->control;

    w->control = NULL;
    control_soon(w);
    return v;
}

/* ---- create ---- */

static void created(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct world *w = ctx;
    struct vol *v = control_over(w);

    (void)info;
    if (err == 0) {
        vol_lives(w, v, blk);
        return;
    }
    control_later(w);
    if (err == -FIRN_E_RANGE && (v->params.policy.cache_min.pct != 0 || v->params.policy.cache_min.bytes != 0))
        return; /* the minima of all: it has that of a volume that was here before */
    if (!control_error_allowed(w, err))
        world_fail(w, "creating %s: %s", v->params.name, err_text(err));
    /* it may be there after the next start all the same: stays CREATING until then */
}

static void create(struct world *w, struct vol *v)
{
    uint64_t mib = sim_between(w->sim, 1, w->plan.volume_bytes_max / MIB);

    vol_forget(v);
    v->state = VOL_CREATING;
    v->params.size_bytes = mib * MIB;
    v->params.lba_bytes = sim_chance(w->sim, 500000) ? 4096 : 512;
    snprintf(v->params.name, sizeof(v->params.name), "v%u-%" PRIu64, (unsigned)(v - w->vol), ++w->tags);
    v->oracle = oracle_new(w->tags, v->params.lba_bytes, units_of(v));
    w->control = v;
    world_say(w, "create %s %" PRIu64 " MiB lba %u", v->params.name, mib, v->params.lba_bytes);
    tier_volume_create(w->tier, &v->params, created, w);
}

/* ---- grow ---- */

static void vol_grew(struct vol *v, uint64_t size_bytes)
{
    v->params.size_bytes = size_bytes;
    v->size_new = 0;
    oracle_grow(v->oracle, units_of(v));
}

static void resized(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct world *w = ctx;
    struct vol *v = control_over(w);

    (void)blk;
    (void)info;
    if (err == 0) {
        if (v->blk->size_lba * v->params.lba_bytes != v->size_new)
            world_fail(w, "%s: was resized and is %" PRIu64 " blocks", v->params.name, v->blk->size_lba);
        vol_grew(v, v->size_new);
    } else if (err == -FIRN_E_NO_SPACE) { /* it is pinned, and the log has no room for more of it */
        v->size_new = 0;
    } else if (!control_error_allowed(w, err)) {
        world_fail(w, "resizing %s: %s", v->params.name, err_text(err));
    }
}

static void grow(struct world *w, struct vol *v)
{
    if (v->params.size_bytes >= 2 * w->plan.volume_bytes_max || v->size_new != 0)
        return;
    v->size_new = v->params.size_bytes + sim_between(w->sim, 1, 2) * MIB;
    w->control = v;
    world_say(w, "resize %s to %" PRIu64, v->params.name, v->size_new);
    tier_volume_resize(w->tier, v->params.name, v->size_new, resized, w);
}

/* ---- tier ---- */

static void tier_set(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct world *w = ctx;
    struct vol *v = control_over(w);

    (void)blk;
    (void)info;
    if (err != 0 && err != -FIRN_E_NO_SPACE && !control_error_allowed(w, err)) /* more would be pinned than the log has room for */
        world_fail(w, "setting the tier of %s: %s", v->params.name, err_text(err));
}

static void set_tier(struct world *w, struct vol *v, enum volume_tier tier)
{
    struct volume_params p = {.tier = tier};

    w->control = v;
    world_say(w, "tier %u for %s", (unsigned)tier, v->params.name);
    tier_volume_set(w->tier, v->params.name, VOLUME_F_TIER, &p, tier_set, w);
}

/* ---- policy ---- */

static struct volume_share draw_share(struct world *w)
{
    switch (sim_below(w->sim, 3)) {
    case 0:
        return (struct volume_share){0};
    case 1:
        return (struct volume_share){.pct = (uint32_t)sim_between(w->sim, 1, 60)};
    default:
        return (struct volume_share){.bytes = sim_between(w->sim, 1, 2) * MIB};
    }
}

static void policy_set(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct world *w = ctx;
    struct vol *v = control_over(w);

    (void)blk;
    (void)info;
    if (err == 0)
        v->params.policy = v->policy_new;
    if (err == 0 || err == -FIRN_E_INVALID || err == -FIRN_E_RANGE) /* the minima of all, or its own above its maximum */
        v->policy_asked = false;
    else if (!control_error_allowed(w, err))
        world_fail(w, "setting the policy of %s: %s", v->params.name, err_text(err));
}

static void set_policy(struct world *w, struct vol *v)
{
    static const uint64_t cutoffs[] = {0, 64 * KIB, UINT64_MAX};
    struct volume_params p = {.policy = {.admit = (enum volume_admit)sim_below(w->sim, VOLUME_ADMIT_THIRD + 1)}};

    p.policy.cache_min = draw_share(w);
    p.policy.cache_max = draw_share(w);
    p.policy.stream_cutoff = cutoffs[sim_below(w->sim, ARRAY_LEN(cutoffs))];
    v->policy_new = p.policy;
    v->policy_asked = true;
    w->control = v;
    world_say(w, "policy for %s: admit %u", v->params.name, (unsigned)p.policy.admit);
    tier_volume_set(w->tier, v->params.name, VOLUME_F_CACHE_MIN | VOLUME_F_CACHE_MAX | VOLUME_F_ADMIT | VOLUME_F_STREAM, &p, policy_set, w);
}

/* ---- knobs ---- */

static void retuned(void *ctx)
{
    control_over(ctx);
}

static void retune(struct world *w, struct vol *v)
{
    struct tier_opts o = {.admit_touches = (uint32_t)sim_between(w->sim, 1, 2), .admit_blocks = sim_chance(w->sim, 300000),
                          .destage_victims = sim_chance(w->sim, 300000), .stream_cutoff = 64 * KIB << sim_below(w->sim, 7),
                          .fetch_bytes = BLOCK_BYTES << sim_below(w->sim, 6), .read_ahead_max = BLOCK_BYTES << sim_below(w->sim, 8),
                          .dirty_start_pct = w->plan.dirty_start_pct, .dirty_max_pct = w->plan.dirty_max_pct};

    w->control = v;
    world_say(w, "knobs: admit %u%s%s", o.admit_touches, o.admit_blocks ? ", blocks" : "", o.destage_victims ? ", victims destaged" : "");
    if (tier_retune(w->tier, &o, retuned, w) != 0)
        retuned(w);
}

/* ---- delete ---- */

static void deleted(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct world *w = ctx;
    struct vol *v = control_over(w);

    (void)blk;
    (void)info;
    if (err == 0)
        vol_forget(v);
    else if (!control_error_allowed(w, err))
        world_fail(w, "deleting %s: %s", v->params.name, err_text(err));
}

static void delete_when_quiet(struct world *w, struct vol *v)
{
    v->quiet = true;
    w->control = v;
    if (v->in_flight != 0 || v->host != NULL) {
        w->control = NULL; /* looked at again with the next tick; NETWORK volumes stay */
        v->quiet = v->host == NULL;
        return;
    }
    v->state = VOL_DELETING;
    world_say(w, "delete %s", v->params.name);
    tier_volume_delete(w->tier, v->params.name, deleted, w);
}

/* ---- when ---- */

static uint32_t count_live(const struct world *w)
{
    uint32_t nr = 0;

    for (uint32_t i = 0; i < WORLD_VOLUMES; i++)
        nr += w->vol[i].state == VOL_LIVE;
    return nr;
}

static void control_act(struct world *w)
{
    struct vol *v = &w->vol[sim_below(w->sim, WORLD_VOLUMES)];
    uint64_t dice = sim_below(w->sim, 100);

    for (uint32_t i = 0; i < WORLD_VOLUMES; i++)
        if (w->vol[i].quiet && w->vol[i].state == VOL_LIVE) {
            delete_when_quiet(w, &w->vol[i]);
            return;
        }
    if (v->state == VOL_NONE && count_live(w) < w->plan.volumes)
        create(w, v);
    else if (v->state == VOL_LIVE && dice < 10 && count_live(w) > 1)
        delete_when_quiet(w, v);
    else if (v->state == VOL_LIVE && dice < 30)
        grow(w, v);
    else if (v->state == VOL_LIVE && dice < 60)
        set_tier(w, v, (enum volume_tier)(dice % 3));
    else if (v->state == VOL_LIVE && dice < 80)
        set_policy(w, v);
    else if (v->state == VOL_LIVE && dice < 90)
        retune(w, v);
}

static void control_tick(struct sim_event *ev)
{
    struct world *w = container_of(ev, struct world, control_tick);

    if (!w->traffic || w->tier == NULL || world_dead(w))
        return;
    if (w->control == NULL)
        control_act(w);
    if (w->control != NULL)
        return;
    w->control_idle = w->control_ops == w->ops_done ? w->control_idle + 1 : 0;
    w->control_ops = w->ops_done;
    if (w->meta_failed || w->device_failed || w->control_idle > IDLE_TICKS)
        control_later(w);
    else
        control_soon(w);
}

void control_start(struct world *w)
{
    control_soon(w);
}

void control_crashed(struct world *w)
{
    w->control = NULL;
    for (uint32_t i = 0; i < WORLD_VOLUMES; i++)
        w->vol[i].blk = NULL;
}

/* ---- after a start ---- */

static bool share_same(const struct volume_share *a, const struct volume_share *b) { return a->pct == b->pct && a->bytes == b->bytes; }

static bool policy_same(const struct volume_policy *a, const struct volume_policy *b)
{
    return share_same(&a->cache_min, &b->cache_min) && share_same(&a->cache_max, &b->cache_max) && a->admit == b->admit &&
           a->stream_cutoff == b->stream_cutoff;
}

static void check_one(struct world *w, struct vol *v)
{
    struct volume_info info;
    struct blk *blk = NULL;
    int err = tier_volume_get(w->tier, v->params.name, &info, &blk);
    bool there = err == 0;

    if (!there && v->state == VOL_LIVE) {
        if (!w->damaged)
            world_fail(w, "%s is gone: %s", v->params.name, err_text(err));
        v->state = VOL_NONE;
        return;
    }
    if (!there) {
        vol_forget(v);
        return;
    }
    if (v->size_new != 0 && info.p.size_bytes == v->size_new)
        vol_grew(v, v->size_new);
    v->size_new = 0;
    if (v->policy_asked && policy_same(&info.p.policy, &v->policy_new))
        v->params.policy = v->policy_new;
    v->policy_asked = false;
    if (!policy_same(&info.p.policy, &v->params.policy))
        world_fail(w, "%s came back with another policy", v->params.name);
    if (info.p.size_bytes != v->params.size_bytes || info.p.lba_bytes != v->params.lba_bytes)
        world_fail(w, "%s came back as %" PRIu64 " bytes, not %" PRIu64, v->params.name, info.p.size_bytes,
                   v->params.size_bytes);
    else
        vol_lives(w, v, blk);
}

void control_check(struct world *w)
{
    static struct volume_info list[WORLD_VOLUMES * 2];
    uint32_t known = 0, found;

    for (uint32_t i = 0; i < WORLD_VOLUMES; i++)
        if (w->vol[i].state != VOL_NONE)
            check_one(w, &w->vol[i]);
    for (uint32_t i = 0; i < WORLD_VOLUMES; i++)
        known += w->vol[i].state != VOL_NONE;
    found = tier_volume_list(w->tier, "", list, ARRAY_LEN(list));
    if (found != known && !w->damaged)
        world_fail(w, "%u volumes exist, %u should", found, known);
}
