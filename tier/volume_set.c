/* SPDX-License-Identifier: Apache-2.0 */
/* volume_set.c: parameters of a volume change, its size too.
 *
 * 1. What is to change is merged with what is there and checked, and what the SSD has to keep for it is taken, on envs[0].
 * 2. One record in one batch: all of it or none.
 * 3. The shard acts by it, then the volume's memory has it, and the request is answered.
 * Failures: a value that does not fit is refused before anything is taken; a failed batch is final for the metadata, and what was taken is
 * given back.
 */
#include <errno.h>

#include "tier/volume_request.h"

#define VOLUME_F_SHARES (VOLUME_F_CACHE_MIN | VOLUME_F_CACHE_MAX | VOLUME_F_ADMIT | VOLUME_F_STREAM)

static void set_home(struct request *r)
{
    r->v->p = r->p;
    if (r->p.tier != VOLUME_SSD)
        r->v->pin_bytes = 0;
    request_finish(r);
}

static void set_on_shard(struct request *r)
{
    bool resized = r->v->size_blocks != r->p.size_bytes / BLOCK_BYTES;

    if (r->v->tier != r->tier)
        shard_set_tier(r->v->shard, r->v, r->tier);
    shard_set_policy(r->v->shard, r->v, &r->p.policy);
    r->v->size_blocks = r->p.size_bytes / BLOCK_BYTES;
    r->v->blk.size_lba = r->p.size_bytes / r->v->blk.lba_bytes;
    if (resized)
        blk_notify(&r->v->blk, BLK_EVENT_RESIZED);
    request_go_home(r, set_home);
}

static void set_committed(struct request *r)
{
    if (r->err) {
        r->v->pin_bytes = r->was_pinned;
        r->v->min_bytes = r->was_min;
        request_finish(r);
    } else if (r->p.size_bytes != r->v->p.size_bytes || r->tier != r->v->tier || !volume_policy_same(&r->p.policy, &r->v->p.policy)) {
        request_go_to_shard(r, set_on_shard);
    } else {
        set_home(r);
    }
}

/* The volume's parameters with those of the mask replaced; 0, or what is wrong with them. */
static int params_merge(const struct volume_params *is, unsigned mask, const struct volume_params *wanted, struct volume_params *out)
{
    *out = *is;
    if (mask & VOLUME_F_TIER)
        out->tier = wanted->tier;
    if (mask & VOLUME_F_IOPS)
        out->iops = wanted->iops;
    if (mask & VOLUME_F_BANDWIDTH)
        out->bandwidth = wanted->bandwidth;
    volume_policy_merge(&out->policy, mask, &wanted->policy);
    if ((mask & VOLUME_F_SIZE) && wanted->size_bytes > VOLUME_BYTES_MAX)
        return -FIRN_E_INVALID;
    if (mask & VOLUME_F_SIZE)
        out->size_bytes = ROUND_UP(wanted->size_bytes, (uint64_t)EXTENT_BYTES);
    return out->size_bytes < is->size_bytes || out->tier > VOLUME_HDD ? -FIRN_E_INVALID : 0;
}

/* What is going to be pinned is taken at once: another request may ask for it as well. A volume for which there was no room at the
 * start stays without it until its tier is asked for again. */
static int pin(struct request *r, unsigned mask)
{
    r->was_pinned = r->v->pin_bytes;
    r->tier = r->p.tier;
    if (r->p.tier != VOLUME_SSD)
        return 0;
    if (!(mask & VOLUME_F_TIER) && r->was_pinned == 0) {
        r->tier = VOLUME_AUTO;
        return 0;
    }
    if (!volume_pin_fits(r->t, r->v, r->v->shard_no, r->p.size_bytes))
        return -FIRN_E_NO_SPACE;
    r->v->pin_bytes = r->p.size_bytes;
    return 0;
}

/* The room that its minimum takes is taken at once, like that of a pin. Whether percent and bytes agree depends on what devices there are
 * now: asked when they are set, not when something else is. */
static int take_min(struct request *r, unsigned mask)
{
    uint64_t bytes = volume_min_bytes(r->t, r->v->shard_no, &r->p.policy);
    int err = mask & VOLUME_F_SHARES ? volume_policy_check(r->t, r->v->shard_no, &r->p.policy) : 0;

    if (!err && bytes > r->was_min && !volume_min_fits(r->t, r->v, r->v->shard_no, bytes))
        err = -FIRN_E_RANGE;
    if (!err)
        r->v->min_bytes = bytes;
    return err;
}

void tier_volume_set(struct tier *t, const char *name, unsigned mask, const struct volume_params *params,
                     tier_volume_cb *cb, void *ctx)
{
    struct request *r = request_on(t, name, 0, cb, ctx);
    struct volume_rec rec;
    int err;

    if (r == NULL)
        return;
    r->was_min = r->v->min_bytes;
    err = params_merge(&r->v->p, mask, params, &r->p);
    err = err ? err : take_min(r, mask);
    err = err ? err : pin(r, mask);
    if (err)
        r->v->min_bytes = r->was_min;
    if (err || (volume_params_same(&r->p, &r->v->p) && r->v->pin_bytes == r->was_pinned)) {
        r->v->busy = err == 0;
        request_answer(r, err);
        return;
    }
    volume_rec_of(r->v, &rec);
    rec.size_bytes = r->p.size_bytes;
    rec.tier = (uint16_t)r->p.tier;
    rec.iops = r->p.iops;
    rec.bandwidth = r->p.bandwidth;
    volume_policy_pack(&r->p.policy, &rec);
    request_add_volume(r, &rec);
    request_commit(r, set_committed);
}

void tier_volume_resize(struct tier *t, const char *name, uint64_t size_bytes, tier_volume_cb *cb, void *ctx)
{
    struct volume_params p = {.size_bytes = size_bytes};

    tier_volume_set(t, name, VOLUME_F_SIZE, &p, cb, ctx);
}
