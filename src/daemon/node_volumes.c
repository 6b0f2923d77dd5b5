/* SPDX-License-Identifier: Apache-2.0 */
/* node_volumes.c: making, changing and deleting volumes. Each verb is a call to reactor 0 (node_op.c) and runs there as a column of
 * steps; a step ends by asking the tier or the target, whose callback takes the next one.
 *
 *   create:  table entry (busy) -> tier_volume_create -> subsystem -> free for others
 *   delete:  busy -> out of the table's sight -> subsys_remove (hosts cut, I/O waited for) -> caps stopped on the
 *            volume's reactor -> tier_volume_delete -> entry gone
 *   change (likewise hosts, node_hosts.c): busy -> tier -> target or caps -> free for others
 *
 * A busy entry makes other verbs on that name answer -FIRN_E_IN_USE, so no two flows meet. When a step fails the entry
 * becomes what the tier says is there: a created volume that cannot be exported is deleted again, a volume that could
 * not be deleted is exported again. Caps are freed only after they were stopped on the volume's reactor.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "daemon/node_op.h"

/* ---- create ---- */

static void caps_stopped(struct env_task *task)
{
    struct volume_op *op = container_of(task, struct volume_op, hop);

    blk_limit_free(op->x->limit);
    op->x->limit = NULL;
    op->then(op);
}

/* On the volume's reactor. */
static void stop_caps_there(struct env_task *task)
{
    struct volume_op *op = container_of(task, struct volume_op, hop);

    blk_limit_stop(op->x->limit);
    op->hop = (struct env_task){.fn = caps_stopped};
    env_post(op->n->envs[0], &op->hop);
}

/* The caps leave the volume's blk, which the volume may outlive them by: only then they are freed, and the flow goes on. */
static void stop_caps(struct volume_op *op, void (*then)(struct volume_op *))
{
    op->then = then;
    op->hop = (struct env_task){.fn = stop_caps_there};
    if (op->x->limit)
        env_post(op->x->blk->env, &op->hop);
    else
        then(op);
}

static void op_forget(struct volume_op *op)
{
    table_remove(op->n, op->x);
    op->x = NULL;
}

/* A volume that is still there keeps its entry, so that it can be deleted. */
static void create_undone(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct volume_op *op = ctx;

    (void)info;
    if (err)
        log_error("a volume was made but cannot be served", "volume=%s err=\"%s\"", op->params.name, err_text(err));
    if (volume_lookup(op->n, op->params.name, &op->view.info, &blk) != 0)
        op_forget(op);
    op_done(op, op->err);
}

static void create_undo(struct volume_op *op)
{
    if (op->err == -FIRN_E_STOPPED) { /* its asker is gone, and the volume is durable: the next start serves it */
        op_forget(op);
        op_done(op, op->err);
        return;
    }
    tier_volume_delete(op->n->tier, op->params.name, create_undone, op);
}

static void create_done(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct volume_op *op = ctx;

    if (err) {
        op_forget(op);
        op_done(op, err);
        return;
    }
    op->err = table_export(op->n, op->x, blk, info);
    if (op->err) {
        stop_caps(op, create_undo);
        return;
    }
    op->created = true;
    log_info("volume created", "volume=%s bytes=%llu", op->params.name, (unsigned long long)info->p.size_bytes);
    op_done(op, 0);
}

static void exists_done(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct volume_op *op = ctx;

    if (!err && !op->x->s) /* an earlier verb failed and left it unserved */
        err = table_export(op->n, op->x, blk, info);
    op_done(op, err);
}

static void create_run(struct call *c)
{
    struct volume_op *op = container_of(c, struct volume_op, call);
    struct node *n = op->n;
    struct exported *x = table_find(n, op->params.name);

    if (!n->tier) {
        op_done(op, -FIRN_E_READ_ONLY);
    } else if (x && x->busy) {
        op_done(op, -FIRN_E_IN_USE);
    } else if (x) { /* the tier compares the parameters */
        x->busy = true;
        op->x = x;
        tier_volume_create(n->tier, &op->params, exists_done, op);
    } else if (n->nr_exported >= atomic_load_explicit(&n->volumes_max, memory_order_relaxed)) {
        op_done(op, -FIRN_E_NO_RESOURCES);
    } else if ((op->x = table_add(n, op->params.name)) == NULL) {
        op_done(op, -FIRN_E_NO_RESOURCES);
    } else {
        op->x->busy = true;
        tier_volume_create(n->tier, &op->params, create_done, op);
    }
}

int node_volume_create(struct node *n, const struct volume_params *p, bool *created, struct volume_view *out)
{
    struct volume_op *op = op_new(n, p->name, create_run);

    if (!op)
        return -FIRN_E_NO_RESOURCES;
    op->params = *p;
    return op_wait(op, out, created);
}

/* ---- change ---- */

static void change_back(struct env_task *task)
{
    op_done(container_of(task, struct volume_op, hop), 0);
}

/* On the volume's reactor. */
static void change_caps(struct env_task *task)
{
    struct volume_op *op = container_of(task, struct volume_op, hop);

    blk_limit_set(op->x->limit, op->params.iops, op->params.bandwidth);
    op->hop = (struct env_task){.fn = change_back};
    env_post(op->n->envs[0], &op->hop);
}

/* Everything is on record; caps take effect. */
static void change_recorded(struct volume_op *op, const struct volume_info *info)
{
    if (!op->x->limit) {
        op_done(op, 0);
        return;
    }
    op->params.iops = info->p.iops;
    op->params.bandwidth = info->p.bandwidth;
    op->hop = (struct env_task){.fn = change_caps};
    env_post(op->x->blk->env, &op->hop);
}

static void change_set(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    (void)blk;
    if (err)
        op_done(ctx, err);
    else
        change_recorded(ctx, info);
}

static void change_run(struct call *c)
{
    struct volume_op *op = container_of(c, struct volume_op, call);
    int err = op_claim(op);

    if (err)
        op_done(op, err);
    else
        tier_volume_set(op->n->tier, op->params.name, op->mask, &op->params, change_set, op);
}

int node_volume_change(struct node *n, const char *name, unsigned mask, const struct volume_params *p, struct volume_view *out)
{
    struct volume_op *op = op_new(n, name, change_run);

    if (!op)
        return -FIRN_E_NO_RESOURCES;
    op->mask = mask;
    op->params.size_bytes = p->size_bytes;
    op->params.tier = p->tier;
    op->params.iops = p->iops;
    op->params.bandwidth = p->bandwidth;
    op->params.policy = p->policy;
    return op_wait(op, out, NULL);
}

/* ---- delete ---- */

/* The volume stays: it is served again. Its caps were stopped, and are made anew. */
static void delete_failed(struct volume_op *op, int err)
{
    struct volume_info *info = &op->view.info;
    struct blk *blk;
    int again = volume_lookup(op->n, op->params.name, info, &blk);

    log_error("a volume cannot be deleted", "volume=%s err=\"%s\"", op->params.name, err_text(err));
    if (!again)
        again = table_export(op->n, op->x, blk, info);
    if (again)
        log_error("and it cannot be served again", "volume=%s err=\"%s\"", op->params.name, err_text(again));
    op_done(op, err);
}

static void delete_done(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct volume_op *op = ctx;

    (void)blk;
    (void)info;
    if (err) {
        delete_failed(op, err);
        return;
    }
    log_info("volume deleted", "volume=%s", op->params.name);
    table_remove(op->n, op->x);
    call_done(&op->call, 0);
}

static void delete_stopped(struct volume_op *op)
{
    tier_volume_delete(op->n->tier, op->params.name, delete_done, op);
}

static void delete_unexported(void *ctx)
{
    stop_caps(ctx, delete_stopped);
}

static void delete_run(struct call *c)
{
    struct volume_op *op = container_of(c, struct volume_op, call);
    struct subsys *s;
    int err = op_claim(op);

    if (!err && op->x->s && !op->force && subsys_controllers(op->x->s) > 0)
        err = -FIRN_E_IN_USE;
    if (err) {
        op_done(op, err);
        return;
    }
    s = table_unexport(op->n, op->x);
    if (s)
        subsys_remove(s, delete_unexported, op);
    else
        delete_unexported(op);
}

int node_volume_delete(struct node *n, const char *name, bool force)
{
    struct volume_op *op = op_new(n, name, delete_run);

    if (!op)
        return -FIRN_E_NO_RESOURCES;
    op->force = force;
    return op_wait(op, NULL, NULL);
}

/* ---- an accepted loss ---- */

static void loss_cleared(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct volume_op *op = ctx;

    (void)blk;
    (void)info;
    call_done(&op->call, err);
}

static void loss_clear_run(struct call *c)
{
    struct volume_op *op = container_of(c, struct volume_op, call);

    tier_loss_clear(op->n->tier, loss_cleared, op);
}

int node_loss_clear(struct node *n)
{
    struct volume_op *op;
    struct tier_info info;
    int err;

    node_pool_info(n, &info);
    if (info.loss_wall_ns == 0) /* also without a pool */
        return 0;
    op = op_new(n, "", loss_clear_run);
    if (!op)
        return -FIRN_E_NO_RESOURCES;
    err = op_wait(op, NULL, NULL);
    if (!err)
        log_info("the loss that was accepted is settled", "pool=%s", config_text(&n->cfg, pool_name));
    return err;
}
