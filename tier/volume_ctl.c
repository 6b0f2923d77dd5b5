/* SPDX-License-Identifier: Apache-2.0 */
/* volume_ctl.c: control of volumes: create, set, delete, hosts. All on envs[0]; each is one request that goes
 *
 *     check ─▶ metadata batch ─▶ the shard's env (attach, resize, detach) ─▶ back to envs[0] ─▶ memory, answer
 *
 * and answers once, never from inside the call. A volume carries one request at a time; another is -FIRN_E_IN_USE.
 * Create: {pool, volume, layer} in one batch, so a crash leaves the volume whole or not at all.
 * Set: all parameters that change, the size too, are one record: all of them or none.
 * Delete: the record is marked first; then its extents go, in batches of the shard's; then the records. A crash in
 * between is finished by the next open. Ids of volumes and layers are never used again.
 * Failures: a failed batch is final for the metadata; the request says so, and nothing in memory has changed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tier/pool.h"

#define OPS_MAX (HOSTS_PER_VOLUME_MAX + 4u)

struct request;
typedef void step_fn(struct request *r);

struct request {
    struct tier     *t;
    struct volume   *v;          /* NULL: the answer is an error without a volume */
    tier_volume_cb  *cb;
    void            *ctx;
    int              err;
    step_fn         *next;       /* runs on the env that the task or batch was sent to */
    struct env_task  task;
    struct list      node;       /* t->requests */
    struct volume_params p;      /* set */
    uint64_t         was_pinned, was_min; /* set: pin_bytes, min_bytes, if it fails */
    enum volume_tier tier;       /* set: as it is going to act */
    uint64_t         loss_wall_ns; /* loss clear: what is put back if it fails */
    uint32_t         nr_hosts;   /* set_hosts */
    char             hosts[HOSTS_PER_VOLUME_MAX][NQN_MAX_BYTES + 1];
    struct meta_batch batch;
    uint32_t         nr_ops;
    struct meta_op   ops[OPS_MAX];
    uint8_t          values[OPS_MAX][NQN_MAX_BYTES + 33];
    struct volume_info info;     /* of the answer: what was committed is answered, whatever memory there is by then */
};
static_assert(VOLUME_REC_BYTES <= NQN_MAX_BYTES + 33 && POOL_REC_BYTES <= NQN_MAX_BYTES + 33, "values hold any record");

/* ---- the way of a request ---- */

static void run_next(struct env_task *task)
{
    struct request *r = container_of(task, struct request, task);

    r->next(r);
}

static void go(struct request *r, struct env *env, step_fn *next)
{
    r->next = next;
    r->task = (struct env_task){.fn = run_next};
    env_post(env, &r->task);
}

static void go_home(struct request *r, step_fn *next) { go(r, r->t->envs[0], next); }
static void go_to_shard(struct request *r, step_fn *next) { go(r, tier_shard_env(r->t, r->v->shard_no), next); }

static void batch_done(struct meta_batch *b)
{
    struct request *r = b->ctx;

    r->err = b->err;
    r->next(r);
}

static void commit(struct request *r, step_fn *next)
{
    r->next = next;
    r->batch = (struct meta_batch){.ops = r->ops, .nr = r->nr_ops, .env = r->t->envs[0], .cb = batch_done, .ctx = r};
    meta_commit(r->t->meta, &r->batch);
}

static void *add_op(struct request *r, struct meta_key key)
{
    assert(r->nr_ops < OPS_MAX);
    r->ops[r->nr_ops] = (struct meta_op){.key = key};
    return r->values[r->nr_ops++];
}

static void add_put(struct request *r, uint32_t len)
{
    struct meta_op *op = &r->ops[r->nr_ops - 1];

    op->value = r->values[r->nr_ops - 1];
    op->value_len = len;
}

static void add_volume(struct request *r, const struct volume_rec *rec)
{
    void *buf = add_op(r, meta_key_volume(rec->id));

    add_put(r, volume_rec_encode(rec, buf));
}

/* The answer; frees the request. */
static void finish(struct request *r)
{
    struct tier *t = r->t;
    bool found = r->err == 0 && r->v != NULL;

    if (r->v != NULL)
        r->v->busy = false;
    if (found)
        volume_info_get(t, r->v, &r->info);
    r->cb(r->ctx, r->err, found ? &r->v->blk : NULL, found ? &r->info : NULL);
    list_remove(&r->node);
    free(r);
    t->ctl_in_flight--;
    tier_stop_go_on(t);
}

static void refuse(struct env_task *task)
{
    struct refusal *f = container_of(task, struct refusal, task);
    tier_volume_cb *cb = f->cb;

    f->cb = NULL;
    f->t->ctl_in_flight--;
    cb(f->ctx, -ENOMEM, NULL, NULL);
    tier_stop_go_on(f->t);
}

/* NULL: no memory; the answer, which may not come from inside the call, then needs none. */
static struct request *request_new(struct tier *t, tier_volume_cb *cb, void *ctx)
{
    struct request *r = calloc(1, sizeof(*r));
    uint32_t i = 0;

    t->ctl_in_flight++;
    if (r != NULL) {
        r->t = t;
        r->cb = cb;
        r->ctx = ctx;
        list_push_back(&t->requests, &r->node);
        return r;
    }
    while (i < REFUSALS_MAX && t->refusals[i].cb != NULL)
        i++;
    assert(i < REFUSALS_MAX);
    t->refusals[i] = (struct refusal){.task.fn = refuse, .t = t, .cb = cb, .ctx = ctx};
    env_post(t->envs[0], &t->refusals[i].task);
    return NULL;
}

void tier_requests_drop(struct tier *t)
{
    struct list *n;

    while ((n = list_pop_front(&t->requests)) != NULL)
        free(list_entry(n, struct request, node));
}

static void answer(struct request *r, int err)
{
    r->err = err;
    r->v = err ? NULL : r->v;
    go_home(r, finish);
}

/* Takes the volume for this request: 0, NOT_FOUND, IN_USE, STOPPED. */
static int take(struct request *r, const char *name)
{
    struct volume *v = tier_find(r->t, name);

    if (r->t->stopping)
        return -FIRN_E_STOPPED;
    if (v == NULL)
        return -FIRN_E_NOT_FOUND;
    if (v->busy || v->creating)
        return -FIRN_E_IN_USE;
    if (v->deleting)
        return -FIRN_E_NOT_FOUND;
    v->busy = true;
    r->v = v;
    return 0;
}

/* A request that has its volume; NULL: err, or what take() says, has been answered. */
static struct request *request_on(struct tier *t, const char *name, int err, tier_volume_cb *cb, void *ctx)
{
    struct request *r = request_new(t, cb, ctx);

    if (r == NULL)
        return NULL;
    if (!err)
        err = take(r, name);
    if (!err)
        return r;
    answer(r, err);
    return NULL;
}

/* ---- create ---- */

static bool same_params(const struct volume_params *a, const struct volume_params *b)
{
    return a->size_bytes == b->size_bytes && a->lba_bytes == b->lba_bytes && a->tier == b->tier && a->iops == b->iops &&
           a->bandwidth == b->bandwidth && volume_policy_same(&a->policy, &b->policy);
}

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
    finish(r);
}

static void create_on_shard(struct request *r)
{
    r->err = shard_attach(r->v->shard, r->v);
    go_home(r, create_home);
}

static void create_committed(struct request *r)
{
    if (r->err)
        create_home(r);
    else
        go_to_shard(r, create_on_shard);
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
    add_op(r, meta_key_pool());
    add_put(r, pool_rec_encode(&t->pool, r->values[r->nr_ops - 1]));
    add_volume(r, &rec);
    add_op(r, meta_key_layer(rec.layer));
    add_put(r, layer_rec_encode(&layer, r->values[r->nr_ops - 1]));
    commit(r, create_committed);
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
        answer(r, err);
        return;
    }
    v = tier_find(t, p.name);
    if (v != NULL && (v->creating || v->deleting || v->busy))
        err = -FIRN_E_IN_USE;
    else if (v != NULL && !same_params(&v->p, &p))
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
    answer(r, err);
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
    finish(r);
}

void tier_loss_clear(struct tier *t, tier_volume_cb *cb, void *ctx)
{
    struct request *r = request_new(t, cb, ctx);

    if (r == NULL)
        return;
    if (t->stopping || t->pool.loss_wall_ns == 0) {
        answer(r, t->stopping ? -FIRN_E_STOPPED : 0);
        return;
    }
    r->loss_wall_ns = t->pool.loss_wall_ns;
    loss_set(t, 0); /* at once: a create that follows writes the same record */
    add_op(r, meta_key_pool());
    add_put(r, pool_rec_encode(&t->pool, r->values[r->nr_ops - 1]));
    commit(r, loss_cleared);
}

/* ---- set ---- */

static void set_home(struct request *r)
{
    r->v->p = r->p;
    if (r->p.tier != VOLUME_SSD)
        r->v->pin_bytes = 0;
    finish(r);
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
    go_home(r, set_home);
}

static void set_committed(struct request *r)
{
    if (r->err) {
        r->v->pin_bytes = r->was_pinned;
        r->v->min_bytes = r->was_min;
        finish(r);
    } else if (r->p.size_bytes != r->v->p.size_bytes || r->tier != r->v->tier || !volume_policy_same(&r->p.policy, &r->v->p.policy)) {
        go_to_shard(r, set_on_shard);
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

#define VOLUME_F_SHARES (VOLUME_F_CACHE_MIN | VOLUME_F_CACHE_MAX | VOLUME_F_ADMIT | VOLUME_F_STREAM)

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
    if (err || (same_params(&r->p, &r->v->p) && r->v->pin_bytes == r->was_pinned)) {
        r->v->busy = err == 0;
        answer(r, err);
        return;
    }
    volume_rec_of(r->v, &rec);
    rec.size_bytes = r->p.size_bytes;
    rec.tier = (uint16_t)r->p.tier;
    rec.iops = r->p.iops;
    rec.bandwidth = r->p.bandwidth;
    volume_policy_pack(&r->p.policy, &rec);
    add_volume(r, &rec);
    commit(r, set_committed);
}

void tier_volume_resize(struct tier *t, const char *name, uint64_t size_bytes, tier_volume_cb *cb, void *ctx)
{
    struct volume_params p = {.size_bytes = size_bytes};

    tier_volume_set(t, name, VOLUME_F_SIZE, &p, cb, ctx);
}

/* ---- hosts ---- */

static void hosts_committed(struct request *r)
{
    const char *nqns[HOSTS_PER_VOLUME_MAX];

    for (uint32_t i = 0; i < r->nr_hosts; i++)
        nqns[i] = r->hosts[i];
    if (!r->err)
        r->err = volume_hosts_replace(r->v, nqns, r->nr_hosts);
    finish(r);
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
        add_op(r, meta_key_host(r->v->id, i));
        add_put(r, host_rec_encode(nqns[i], r->values[r->nr_ops - 1]));
    }
    for (uint32_t i = nr; i < r->v->nr_hosts; i++)
        add_op(r, meta_key_host(r->v->id, i));
    volume_rec_of(r->v, &rec);
    rec.nr_hosts = nr;
    add_volume(r, &rec);
    commit(r, hosts_committed);
}

/* ---- delete ---- */

static void delete_committed(struct request *r)
{
    if (!r->err) {
        tier_remove(r->t, r->v);
        volume_free(r->v);
    }
    r->v = NULL;
    finish(r);
}

static void delete_home(struct request *r)
{
    if (r->err) {
        r->v = NULL; /* stays marked; the next open tries again */
        finish(r);
        return;
    }
    r->nr_ops = 0;
    add_op(r, meta_key_volume(r->v->id));
    add_op(r, meta_key_layer(r->v->layer));
    for (uint32_t i = 0; i < r->v->nr_hosts; i++)
        add_op(r, meta_key_host(r->v->id, i));
    commit(r, delete_committed);
}

static void delete_detached(void *ctx, int err)
{
    struct request *r = ctx;

    r->err = err;
    go_home(r, delete_home);
}

static void delete_on_shard(struct request *r) { shard_detach(r->v->shard, r->v, delete_detached, r); }

static void delete_marked(struct request *r)
{
    if (r->err) {
        r->v->deleting = false;
        finish(r);
        return;
    }
    go_to_shard(r, delete_on_shard);
}

void tier_volume_delete(struct tier *t, const char *name, tier_volume_cb *cb, void *ctx)
{
    struct request *r = request_on(t, name, 0, cb, ctx);
    struct volume_rec rec;

    if (r == NULL)
        return;
    r->v->deleting = true;
    volume_rec_of(r->v, &rec);
    add_volume(r, &rec);
    commit(r, delete_marked);
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
    go_to_shard(r, delete_on_shard);
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
