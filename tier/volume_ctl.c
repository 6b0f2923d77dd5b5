/* SPDX-License-Identifier: Apache-2.0 */
/* volume_ctl.c: control of volumes: create, delete, hosts. All on envs[0]; each is one request (volume_request.c) that goes
 *
 *     check ─▶ metadata batch ─▶ the shard's env (attach, resize, detach) ─▶ back to envs[0] ─▶ memory, answer
 *
 * and answers once, never from inside the call. A volume carries one request at a time; another is -FIRN_E_IN_USE.
 * Create: {pool, volume, layer} in one batch, so a crash leaves the volume whole or not at all.
 * Delete: the record is marked first; then its extents go, in batches of the shard's; then the records. A crash in
 * between is finished by the next open. Ids of volumes and layers are never used again.
 * Failures: a failed batch is final for the metadata; the request says so, and nothing in memory has changed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tier/volume_request.h"

/* ---- create ---- */

static int params_check(struct volume_params *p)
{
    if (p->lba_bytes == 0)
        p->lba_bytes = BLOCK_BYTES;
    if (memchr(p->name, 0, sizeof(p->name)) == NULL || !name_valid(p->name) || (p->lba_bytes != 512 && p->lba_bytes != 4096) ||
        p->tier > VOLUME_HDD || p->size_bytes == 0 || p->size_bytes > VOLUME_BYTES_MAX)
        return -FIRN_E_INVALID;
    p->size_bytes = ROUND_UP(p->size_bytes, (uint64_t)EXTENT_BYTES);
    return 0;
}

static void create_home(struct request *r)
{
    struct volume *v = r->v;

    v->creating = false;
    if (r->err) {
        tier_remove(r->t, v);
        volume_free(v);
        r->v = NULL;
    }
    request_finish(r);
}

static void create_on_shard(struct request *r)
{
    r->err = shard_attach(r->v->shard, r->v);
    request_go_home(r, create_home);
}

static void create_committed(struct request *r)
{
    if (r->err)
        create_home(r);
    else
        request_go_to_shard(r, create_on_shard);
}

uint16_t volume_next_shard(const struct tier *t)
{
    uint16_t best = 0;

    for (uint16_t i = 1; i < t->nr_shards; i++)
        if (t->nr_on_shard[i] < t->nr_on_shard[best])
            best = i;
    return best;
}

static int create_volume(struct request *r, const struct volume_params *p)
{
    struct tier *t = r->t;
    struct volume_rec rec = {.id = t->pool.next_volume_id, .layer = t->pool.next_layer_id, .size_bytes = p->size_bytes,
                             .iops = p->iops, .bandwidth = p->bandwidth, .lba_bytes = p->lba_bytes,
                             .shard = volume_next_shard(t), .tier = (uint16_t)p->tier};
    struct layer_rec layer = {.volume = rec.id};
    int err;

    if (p->tier == VOLUME_SSD && !volume_pin_fits(t, NULL, rec.shard, p->size_bytes))
        return -FIRN_E_NO_SPACE;
    err = volume_policy_check(t, rec.shard, &p->policy);
    if (!err && !volume_min_fits(t, NULL, rec.shard, volume_min_bytes(t, rec.shard, &p->policy)))
        err = -FIRN_E_RANGE;
    if (err)
        return err;
    volume_policy_pack(&p->policy, &rec);
    env_random(t->envs[0], rec.uuid.b, sizeof(rec.uuid.b));
    rec.uuid.b[6] = (uint8_t)((rec.uuid.b[6] & 0x0f) | 0x40);
    rec.uuid.b[8] = (uint8_t)((rec.uuid.b[8] & 0x3f) | 0x80);
    memcpy(rec.name, p->name, strlen(p->name));
    r->v = volume_new(t, &rec);
    if (r->v == NULL)
        return -ENOMEM;
    r->v->busy = r->v->creating = true;
    r->v->pin_bytes = p->tier == VOLUME_SSD ? p->size_bytes : 0;
    err = tier_insert(t, r->v);
    if (err) {
        volume_free(r->v);
        return err;
    }
    t->pool.next_volume_id++;
    t->pool.next_layer_id++;
    request_add_op(r, meta_key_pool());
    request_add_put(r, pool_rec_encode(&t->pool, r->values[r->nr_ops - 1]));
    request_add_volume(r, &rec);
    request_add_op(r, meta_key_layer(rec.layer));
    request_add_put(r, layer_rec_encode(&layer, r->values[r->nr_ops - 1]));
    request_commit(r, create_committed);
    return 0;
}

void tier_volume_create(struct tier *t, const struct volume_params *params, tier_volume_cb *cb, void *ctx)
{
    struct request *r = request_new(t, cb, ctx);
    struct volume_params p = *params;
    struct volume *v;
    int err = params_check(&p);

    if (r == NULL)
        return;
    if (!err && t->stopping)
        err = -FIRN_E_STOPPED;
    if (err) {
        request_answer(r, err);
        return;
    }
    v = tier_find(t, p.name);
    if (v != NULL && (v->creating || v->deleting || v->busy))
        err = -FIRN_E_IN_USE;
    else if (v != NULL && !volume_params_same(&v->p, &p))
        err = -FIRN_E_EXISTS;
    else if (v == NULL && (t->nr_vols >= VOLUMES_MAX || MAX(t->pool.next_volume_id, t->pool.next_layer_id) >= NEXT_ID_MAX))
        err = -FIRN_E_NO_RESOURCES;
    if (!err && v == NULL) {
        err = create_volume(r, &p);
        if (!err)
            return;
    }
    if (!err) {
        v->busy = true;
        r->v = v;
    }
    request_answer(r, err);
}

/* ---- an accepted loss ---- */

static void loss_set(struct tier *t, uint64_t wall_ns) /* operations look on from their threads */
{
    __atomic_store_n(&t->pool.loss_wall_ns, wall_ns, __ATOMIC_RELAXED);
}

static void loss_cleared(struct request *r)
{
    if (r->err)
        loss_set(r->t, r->loss_wall_ns);
    request_finish(r);
}

void tier_loss_clear(struct tier *t, tier_volume_cb *cb, void *ctx)
{
    struct request *r = request_new(t, cb, ctx);

    if (r == NULL)
        return;
    if (t->stopping || t->pool.loss_wall_ns == 0) {
        request_answer(r, t->stopping ? -FIRN_E_STOPPED : 0);
        return;
    }
    r->loss_wall_ns = t->pool.loss_wall_ns;
    loss_set(t, 0); /* at once: a create that follows writes the same record */
    request_add_op(r, meta_key_pool());
    request_add_put(r, pool_rec_encode(&t->pool, r->values[r->nr_ops - 1]));
    request_commit(r, loss_cleared);
}

/* ---- hosts ---- */

static void hosts_committed(struct request *r)
{
    const char *nqns[HOSTS_PER_VOLUME_MAX];

    for (uint32_t i = 0; i < r->nr_hosts; i++)
        nqns[i] = r->hosts[i];
    if (!r->err)
        r->err = volume_hosts_replace(r->v, nqns, r->nr_hosts);
    request_finish(r);
}

static int hosts_check(const char *const *nqns, uint32_t nr)
{
    if (nr > HOSTS_PER_VOLUME_MAX)
        return -FIRN_E_NO_RESOURCES;
    for (uint32_t i = 0; i < nr; i++)
        if (!host_nqn_valid(nqns[i]))
            return -FIRN_E_INVALID;
    return 0;
}

void tier_volume_set_hosts(struct tier *t, const char *name, const char *const *nqns, uint32_t nr, tier_volume_cb *cb, void *ctx)
{
    struct request *r = request_on(t, name, hosts_check(nqns, nr), cb, ctx);
    struct volume_rec rec;

    if (r == NULL)
        return;
    r->nr_hosts = nr;
    for (uint32_t i = 0; i < nr; i++) {
        snprintf(r->hosts[i], sizeof(r->hosts[i]), "%s", nqns[i]);
        request_add_op(r, meta_key_host(r->v->id, i));
        request_add_put(r, host_rec_encode(nqns[i], r->values[r->nr_ops - 1]));
    }
    for (uint32_t i = nr; i < r->v->nr_hosts; i++)
        request_add_op(r, meta_key_host(r->v->id, i));
    volume_rec_of(r->v, &rec);
    rec.nr_hosts = nr;
    request_add_volume(r, &rec);
    request_commit(r, hosts_committed);
}

/* ---- delete ---- */

static void delete_committed(struct request *r)
{
    if (!r->err) {
        tier_remove(r->t, r->v);
        volume_free(r->v);
    }
    r->v = NULL;
    request_finish(r);
}

static void delete_home(struct request *r)
{
    if (r->err) {
        r->v = NULL; /* stays marked; the next open tries again */
        request_finish(r);
        return;
    }
    r->nr_ops = 0;
    request_add_op(r, meta_key_volume(r->v->id));
    request_add_op(r, meta_key_layer(r->v->layer));
    for (uint32_t i = 0; i < r->v->nr_hosts; i++)
        request_add_op(r, meta_key_host(r->v->id, i));
    request_commit(r, delete_committed);
}

static void delete_detached(void *ctx, int err)
{
    struct request *r = ctx;

    r->err = err;
    request_go_home(r, delete_home);
}

static void delete_on_shard(struct request *r) { shard_detach(r->v->shard, r->v, delete_detached, r); }

static void delete_marked(struct request *r)
{
    if (r->err) {
        r->v->deleting = false;
        request_finish(r);
        return;
    }
    request_go_to_shard(r, delete_on_shard);
}

void tier_volume_delete(struct tier *t, const char *name, tier_volume_cb *cb, void *ctx)
{
    struct request *r = request_on(t, name, 0, cb, ctx);
    struct volume_rec rec;

    if (r == NULL)
        return;
    r->v->deleting = true;
    volume_rec_of(r->v, &rec);
    request_add_volume(r, &rec);
    request_commit(r, delete_marked);
}

/* ---- what an open finishes ---- */

static void finished_at_open(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    (void)blk;
    (void)info;
    *(int *)ctx = err;
}

/* Straight-line: first the shard's env runs, until it has let go of the volume; then envs[0], until the records are gone. */
static int finish_one(struct tier *t, struct volume *v, char why[static 256])
{
    int result = 1, err = 0;
    struct request *r = request_new(t, finished_at_open, &result);

    if (r == NULL)
        return -ENOMEM;
    v->busy = true;
    r->v = v;
    request_go_to_shard(r, delete_on_shard);
    while (result == 1 && !err)
        err = env_run_once(r->next == delete_on_shard ? tier_shard_env(t, v->shard_no) : t->envs[0]);
    if (!err)
        err = result;
    if (err)
        snprintf(why, 256, "the deletion of a volume could not be finished: %s", err_text(err));
    return err;
}

int tier_deletions_finish(struct tier *t, char why[static 256])
{
    for (uint32_t i = 0; i < t->nr_vols;) {
        struct volume *v = t->vols[i];
        int err;

        if (!v->deleting) {
            i++;
            continue;
        }
        log_info("deletion resumed", "volume=%s", v->p.name);
        err = finish_one(t, v, why);
        if (err)
            return err;
    }
    return 0;
}

/* ---- looking ---- */

static bool visible(const struct volume *v) { return !v->creating && !v->deleting; }

uint32_t tier_volume_list(struct tier *t, const char *after, struct volume_info *out, uint32_t nr)
{
    uint32_t n = 0;

    for (uint32_t i = tier_find_after(t, after); i < t->nr_vols && n < nr; i++)
        if (visible(t->vols[i]))
            volume_info_get(t, t->vols[i], &out[n++]);
    return n;
}

int tier_volume_get(struct tier *t, const char *name, struct volume_info *out, struct blk **blk)
{
    struct volume *v = tier_find(t, name);

    if (v == NULL || !visible(v))
        return -FIRN_E_NOT_FOUND;
    if (out != NULL)
        volume_info_get(t, v, out);
    if (blk != NULL)
        *blk = &v->blk;
    return 0;
}
