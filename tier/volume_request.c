/* SPDX-License-Identifier: Apache-2.0 */
/* volume_request.c: the way of a control request on volumes: check, metadata batch, the shard's env, back to envs[0], answer.
 *
 * All on envs[0] but for the steps that go to a shard. A request answers once, never from inside the call that made it. A volume carries
 * one at a time; another is -FIRN_E_IN_USE.
 * Failures: without memory for a request its answer, -ENOMEM, takes one of a few structs that the pool has for that.
 */
#include <errno.h>
#include <stdlib.h>

#include "tier/volume_request.h"

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

void request_go_home(struct request *r, step_fn *next) { go(r, r->t->envs[0], next); }

void request_go_to_shard(struct request *r, step_fn *next) { go(r, tier_shard_env(r->t, r->v->shard_no), next); }

static void batch_done(struct meta_batch *b)
{
    struct request *r = b->ctx;

    r->err = b->err;
    r->next(r);
}

void request_commit(struct request *r, step_fn *next)
{
    r->next = next;
    r->batch = (struct meta_batch){.ops = r->ops, .nr = r->nr_ops, .env = r->t->envs[0], .cb = batch_done, .ctx = r};
    meta_commit(r->t->meta, &r->batch);
}

void *request_add_op(struct request *r, struct meta_key key)
{
    assert(r->nr_ops < OPS_MAX);
    r->ops[r->nr_ops] = (struct meta_op){.key = key};
    return r->values[r->nr_ops++];
}

void request_add_put(struct request *r, uint32_t len)
{
    struct meta_op *op = &r->ops[r->nr_ops - 1];

    op->value = r->values[r->nr_ops - 1];
    op->value_len = len;
}

void request_add_volume(struct request *r, const struct volume_rec *rec)
{
    void *buf = request_add_op(r, meta_key_volume(rec->id));

    request_add_put(r, volume_rec_encode(rec, buf));
}

void request_finish(struct request *r)
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
struct request *request_new(struct tier *t, tier_volume_cb *cb, void *ctx)
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

void request_answer(struct request *r, int err)
{
    r->err = err;
    r->v = err ? NULL : r->v;
    request_go_home(r, request_finish);
}

/* Takes the volume for this request: 0, NOT_FOUND, IN_USE, STOPPED. */
static int request_take(struct request *r, const char *name)
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

struct request *request_on(struct tier *t, const char *name, int err, tier_volume_cb *cb, void *ctx)
{
    struct request *r = request_new(t, cb, ctx);

    if (r == NULL)
        return NULL;
    if (!err)
        err = request_take(r, name);
    if (!err)
        return r;
    request_answer(r, err);
    return NULL;
}
