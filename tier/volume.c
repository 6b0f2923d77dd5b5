/* SPDX-License-Identifier: Apache-2.0 */
/* volume.c: volumes in memory: the table by name, the bridge to their records, loading them at open.
 *
 * Loading: 'V' records make volumes; each one's layer record must name it; its hosts follow. A damaged record refuses the
 * start: extents of a volume that is not known would be taken for free space.
 */
#include "tier/volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tier/pool.h"

/* ---- the table: sorted by name, searched by halves ---- */

static uint32_t lower_bound(const struct tier *t, const char *name)
{
    uint32_t lo = 0, hi = t->nr_vols;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (strcmp(t->vols[mid]->p.name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct volume *tier_find(const struct tier *t, const char *name)
{
    uint32_t i = lower_bound(t, name);

    return i < t->nr_vols && strcmp(t->vols[i]->p.name, name) == 0 ? t->vols[i] : NULL;
}

uint32_t tier_find_after(const struct tier *t, const char *name)
{
    uint32_t i = lower_bound(t, name);

    return i < t->nr_vols && strcmp(t->vols[i]->p.name, name) == 0 ? i + 1 : i;
}

int tier_insert(struct tier *t, struct volume *v)
{
    uint32_t i = lower_bound(t, v->p.name);

    assert(i == t->nr_vols || strcmp(t->vols[i]->p.name, v->p.name) != 0);
    if (t->nr_vols == t->cap_vols) {
        uint32_t cap = t->cap_vols ? t->cap_vols * 2 : 64;
        struct volume **vols = realloc(t->vols, cap * sizeof(*vols));

        if (vols == NULL)
            return -ENOMEM;
        t->vols = vols;
        t->cap_vols = cap;
    }
    memmove(&t->vols[i + 1], &t->vols[i], (t->nr_vols - i) * sizeof(t->vols[0]));
    t->vols[i] = v;
    __atomic_store_n(&t->nr_vols, t->nr_vols + 1, __ATOMIC_RELAXED); /* tier_info_get() reads it from anywhere */
    t->nr_on_shard[v->shard_no]++;
    return 0;
}

void tier_remove(struct tier *t, struct volume *v)
{
    uint32_t i = lower_bound(t, v->p.name);

    assert(i < t->nr_vols && t->vols[i] == v);
    memmove(&t->vols[i], &t->vols[i + 1], (t->nr_vols - i - 1) * sizeof(t->vols[0]));
    __atomic_store_n(&t->nr_vols, t->nr_vols - 1, __ATOMIC_RELAXED);
    t->nr_on_shard[v->shard_no]--;
}

/* ---- one volume ---- */

static void volume_submit(struct blk *b, struct blk_io *io)
{
    struct volume *v = container_of(b, struct volume, blk);

    shard_submit(v->shard, v, io);
}

static void volume_cancel(struct blk *b, struct blk_io *io)
{
    struct volume *v = container_of(b, struct volume, blk);

    assert(io->priv.blk == b);
    shard_cancel(v->shard, io);
}

static const struct blk_ops volume_ops = {.name = "volume", .submit = volume_submit, .cancel = volume_cancel};

struct volume *volume_new(struct tier *t, const struct volume_rec *rec)
{
    struct volume *v = calloc(1, sizeof(*v));

    if (v == NULL)
        return NULL;
    v->shard_no = rec->shard;
    v->shard = t->shards[rec->shard];
    v->id = rec->id;
    v->uuid = rec->uuid;
    v->layer = rec->layer;
    v->size_blocks = rec->size_bytes / BLOCK_BYTES;
    v->deleting = rec->flags & VOLUME_DELETING;
    memcpy(v->p.name, rec->name, sizeof(v->p.name));
    memcpy(v->name, rec->name, sizeof(v->name));
    v->p.size_bytes = rec->size_bytes;
    v->p.lba_bytes = rec->lba_bytes;
    v->p.tier = v->tier = (enum volume_tier)rec->tier;
    v->p.iops = rec->iops;
    v->p.bandwidth = rec->bandwidth;
    volume_policy_unpack(rec, &v->p.policy);
    v->policy = v->p.policy;
    v->min_bytes = volume_min_bytes(t, rec->shard, &v->policy);
    list_init(&v->node);
    blk_init(&v->blk, &volume_ops, tier_shard_env(t, rec->shard), rec->lba_bytes, rec->size_bytes / rec->lba_bytes);
    v->blk.max_io_bytes = MDTS_BYTES;
    return v;
}

static void hosts_free(char **hosts, uint32_t nr)
{
    for (uint32_t i = 0; i < nr; i++)
        free(hosts[i]);
    free(hosts);
}

void volume_free(struct volume *v)
{
    hosts_free(v->hosts, v->nr_hosts);
    free(v);
}

void volume_rec_of(const struct volume *v, struct volume_rec *out)
{
    memset(out, 0, sizeof(*out));
    out->id = v->id;
    out->layer = v->layer;
    out->uuid = v->uuid;
    memcpy(out->name, v->p.name, sizeof(out->name));
    out->size_bytes = v->p.size_bytes;
    out->iops = v->p.iops;
    out->bandwidth = v->p.bandwidth;
    volume_policy_pack(&v->p.policy, out);
    out->lba_bytes = v->p.lba_bytes;
    out->shard = (uint16_t)v->shard_no;
    out->tier = (uint16_t)v->p.tier;
    out->flags = v->deleting ? VOLUME_DELETING : 0;
    out->nr_hosts = v->nr_hosts;
}

bool volume_params_same(const struct volume_params *a, const struct volume_params *b)
{
    return a->size_bytes == b->size_bytes && a->lba_bytes == b->lba_bytes && a->tier == b->tier && a->iops == b->iops &&
           a->bandwidth == b->bandwidth && volume_policy_same(&a->policy, &b->policy);
}

void volume_info_get(const struct tier *t, const struct volume *v, struct volume_info *out)
{
    char why[512];

    memset(out, 0, sizeof(*out));
    out->p = v->p;
    out->id = v->id;
    out->uuid = v->uuid;
    out->shard = v->shard_no;
    out->read_only = v->read_only || tier_read_only(t, why);
    out->nr_hosts = v->nr_hosts;
    for (uint32_t i = 0; i < v->nr_hosts; i++)
        snprintf(out->hosts[i], sizeof(out->hosts[i]), "%s", v->hosts[i]);
    shard_volume_usage(v->shard, v, out);
}

int volume_hosts_replace(struct volume *v, const char *const *nqns, uint32_t nr)
{
    char **hosts = nr > 0 ? calloc(nr, sizeof(*hosts)) : NULL;

    for (uint32_t i = 0; i < nr; i++) {
        if (hosts != NULL)
            hosts[i] = strdup(nqns[i]);
        if (hosts == NULL || hosts[i] == NULL) {
            if (hosts != NULL)
                hosts_free(hosts, nr);
            return -ENOMEM;
        }
    }
    hosts_free(v->hosts, v->nr_hosts);
    v->hosts = hosts;
    v->nr_hosts = nr;
    return 0;
}

/* ---- loading ---- */

struct load { struct tier *t; char *why; };

static int refuse(char *why, const char *what, uint64_t id)
{
    snprintf(why, 256, "metadata: the record of %s %llu is damaged", what, (unsigned long long)id);
    return -FIRN_E_CORRUPT;
}

static int load_volume(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct load *l = ctx;
    struct volume_rec rec;
    struct volume *v;
    uint64_t id = 0;
    int err = meta_key_parse_id(key, 'V', &id);

    if (!err)
        err = value == NULL ? -FIRN_E_CORRUPT : volume_rec_decode(value, len, &rec);
    if (err || rec.id != id || rec.shard >= l->t->nr_shards || l->t->nr_vols >= VOLUMES_MAX ||
        tier_find(l->t, rec.name) != NULL || id >= l->t->pool.next_volume_id || rec.layer >= l->t->pool.next_layer_id)
        return refuse(l->why, "volume", id);
    v = volume_new(l->t, &rec);
    if (v == NULL)
        return -ENOMEM;
    err = tier_insert(l->t, v);
    if (err)
        volume_free(v);
    return err;
}

static int load_layer(const struct volume *v, struct meta *m, char *why)
{
    struct meta_key key = meta_key_layer(v->layer);
    uint8_t buf[META_VALUE_MAX];
    struct layer_rec rec;
    uint32_t len = 0;
    int err = m->ops->get_sync(m, &key, buf, &len);

    if (!err)
        err = layer_rec_decode(buf, len, &rec);
    if (err || rec.volume != v->id || rec.parent != 0)
        return refuse(why, "layer", v->layer);
    return 0;
}

struct hosts_load { const char *nqns[HOSTS_PER_VOLUME_MAX]; char buf[HOSTS_PER_VOLUME_MAX][NQN_MAX_BYTES + 1]; uint32_t nr; };

static int load_host(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct hosts_load *h = ctx;
    uint64_t volume;
    uint32_t n;
    int err = meta_key_parse_host(key, &volume, &n);

    if (!err && (value == NULL || n != h->nr || h->nr >= HOSTS_PER_VOLUME_MAX))
        err = -FIRN_E_CORRUPT;
    if (!err)
        err = host_rec_decode(value, len, h->buf[h->nr]);
    if (!err)
        h->nqns[h->nr] = h->buf[h->nr];
    if (!err)
        h->nr++;
    return err;
}

/* A damaged allow-list lets nobody in that it does not name for sure: deny by default, and say so. */
static int load_hosts(struct tier *t, struct volume *v)
{
    struct meta_key prefix = meta_key_hosts(v->id);
    struct hosts_load *h = calloc(1, sizeof(*h));
    int err;

    if (h == NULL)
        return -ENOMEM;
    err = t->meta->ops->scan_sync(t->meta, &prefix, load_host, h);
    if (err == -FIRN_E_CORRUPT || err == -FIRN_E_FORMAT_VERSION) {
        snprintf(t->alert, sizeof(t->alert), "volume %s: its list of hosts is damaged; allow its hosts again", v->p.name);
        err = 0;
        h->nr = 0;
    }
    if (!err)
        err = volume_hosts_replace(v, h->nqns, h->nr);
    free(h);
    return err;
}

bool volume_pin_fits(const struct tier *t, const struct volume *but, uint32_t shard_no, uint64_t bytes)
{
    uint64_t max = shard_pin_max(t->shards[shard_no]);

    for (uint32_t i = 0; i < t->nr_vols && bytes <= max; i++)
        if (t->vols[i] != but && t->vols[i]->shard_no == shard_no)
            bytes += t->vols[i]->pin_bytes;
    return bytes <= max;
}

/* The log may be another one than when they were pinned. */
static void load_pin(struct tier *t, struct volume *v)
{
    if (v->p.tier != VOLUME_SSD)
        return;
    if (volume_pin_fits(t, v, v->shard_no, v->p.size_bytes)) {
        v->pin_bytes = v->p.size_bytes;
        return;
    }
    v->tier = VOLUME_AUTO;
    log_warn("a volume is not kept on the SSD: there is no room to pin it", "volume=%s bytes=%llu max=%llu", v->p.name,
             (unsigned long long)v->p.size_bytes, (unsigned long long)shard_pin_max(v->shard));
}

int tier_volumes_load(struct tier *t, char why[static 256])
{
    struct meta_key prefix = meta_key_tag('V');
    struct load l = {.t = t, .why = why};
    int err = t->meta->ops->scan_sync(t->meta, &prefix, load_volume, &l);

    for (uint32_t i = 0; i < t->nr_vols && !err; i++) {
        load_pin(t, t->vols[i]);
        err = load_layer(t->vols[i], t->meta, why);
        if (!err)
            err = load_hosts(t, t->vols[i]);
        if (!err)
            err = shard_attach(t->vols[i]->shard, t->vols[i]);
    }
    if (err && why[0] == '\0')
        snprintf(why, 256, "volumes cannot be loaded: %s", err_text(err));
    return err;
}
