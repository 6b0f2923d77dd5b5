/* SPDX-License-Identifier: Apache-2.0 */
/* volume_policy.c: what of the places for copies a volume is to have: its record, and whether it fits. On envs[0].
 *
 * A share in percent is one of the places of the volume's shard; to compare it with bytes, or to add it up, it counts as that part of
 * the shard's segments: what they all would be if the log were empty. quota.c acts on it.
 */
#include "tier/pool.h"

static uint32_t share_pack(const struct volume_share *sh)
{
    return sh->pct != 0 ? VOLUME_SHARE_PCT | sh->pct : (uint32_t)(sh->bytes / MIB);
}

static struct volume_share share_unpack(uint32_t v)
{
    if (v & VOLUME_SHARE_PCT)
        return (struct volume_share){.pct = v & ~VOLUME_SHARE_PCT};
    return (struct volume_share){.bytes = v * MIB};
}

void volume_policy_pack(const struct volume_policy *p, struct volume_rec *rec)
{
    rec->cache_min = share_pack(&p->cache_min);
    rec->cache_max = share_pack(&p->cache_max);
    rec->admit = (uint16_t)p->admit;
    rec->stream_kib = p->stream_cutoff == UINT64_MAX ? UINT32_MAX : (uint32_t)(p->stream_cutoff / KIB);
}

void volume_policy_unpack(const struct volume_rec *rec, struct volume_policy *p)
{
    p->cache_min = share_unpack(rec->cache_min);
    p->cache_max = share_unpack(rec->cache_max);
    p->admit = (enum volume_admit)rec->admit;
    p->stream_cutoff = rec->stream_kib == UINT32_MAX ? UINT64_MAX : rec->stream_kib * KIB;
}

bool volume_policy_same(const struct volume_policy *a, const struct volume_policy *b)
{
    return a->cache_min.pct == b->cache_min.pct && a->cache_min.bytes == b->cache_min.bytes && a->cache_max.pct == b->cache_max.pct &&
           a->cache_max.bytes == b->cache_max.bytes && a->admit == b->admit && a->stream_cutoff == b->stream_cutoff;
}

void volume_policy_merge(struct volume_policy *to, unsigned mask, const struct volume_policy *from)
{
    if (mask & VOLUME_F_CACHE_MIN)
        to->cache_min = from->cache_min;
    if (mask & VOLUME_F_CACHE_MAX)
        to->cache_max = from->cache_max;
    if (mask & VOLUME_F_ADMIT)
        to->admit = from->admit;
    if (mask & VOLUME_F_STREAM)
        to->stream_cutoff = from->stream_cutoff;
}

static bool share_valid(const struct volume_share *sh)
{
    return (sh->pct == 0 || sh->bytes == 0) && sh->pct <= 100 && sh->bytes % MIB == 0 && sh->bytes <= VOLUME_BYTES_MAX;
}

static uint64_t share_bytes(const struct volume_share *sh, uint64_t all) { return sh->pct != 0 ? all / 100 * sh->pct : sh->bytes; }

int volume_policy_check(const struct tier *t, uint32_t shard_no, const struct volume_policy *p)
{
    uint64_t all = shard_segment_bytes(t->shards[shard_no]);
    bool max = p->cache_max.pct != 0 || p->cache_max.bytes != 0;

    if (!share_valid(&p->cache_min) || !share_valid(&p->cache_max) || p->admit > VOLUME_ADMIT_THIRD ||
        (p->stream_cutoff != UINT64_MAX && (p->stream_cutoff % KIB != 0 || p->stream_cutoff / KIB > VOLUME_STREAM_KIB_MAX)))
        return -FIRN_E_INVALID;
    return max && share_bytes(&p->cache_min, all) > share_bytes(&p->cache_max, all) ? -FIRN_E_INVALID : 0;
}

static uint64_t others_min_bytes(const struct tier *t, const struct volume *but, uint32_t shard_no)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < t->nr_vols; i++)
        if (t->vols[i] != but && t->vols[i]->shard_no == shard_no)
            bytes += t->vols[i]->min_bytes;
    return bytes;
}

bool volume_min_fits(const struct tier *t, const struct volume *but, uint32_t shard_no, uint64_t bytes)
{
    uint64_t all = shard_segment_bytes(t->shards[shard_no]);

    if (bytes == 0) /* whatever others were promised when there were more devices */
        return true;
    return bytes <= all && others_min_bytes(t, but, shard_no) <= all - bytes;
}

void tier_cache_room(struct tier *t, const char *name, struct tier_cache_room *out)
{
    const struct volume *v = tier_find(t, name);
    uint32_t shard_no = v != NULL ? v->shard_no : volume_next_shard(t);

    out->bytes = shard_segment_bytes(t->shards[shard_no]);
    out->others_min_bytes = others_min_bytes(t, v, shard_no);
}

uint64_t volume_min_bytes(const struct tier *t, uint32_t shard_no, const struct volume_policy *p)
{
    return share_bytes(&p->cache_min, shard_segment_bytes(t->shards[shard_no]));
}
