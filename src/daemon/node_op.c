/* SPDX-License-Identifier: Apache-2.0 */
/* node_op.c: the frame of every verb on a volume.
 *
 * 1. The thread that asks makes a volume_op, posts it to reactor 0 and waits.
 * 2. There the verb claims the volume's table entry, and runs as a column of steps (node_volumes.c, node_hosts.c).
 * 3. It ends with what is there then, which is the answer.
 * Failures: whoever asked has gone, or waited for too long: the verb goes on, and its op frees itself.
 */
#include "daemon/node_op.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void op_free(struct call *c)
{
    free(container_of(c, struct volume_op, call));
}

struct volume_op *op_new(struct node *n, const char *name, void (*run)(struct call *))
{
    struct volume_op *op = calloc(1, sizeof(*op));

    if (!op)
        return NULL;
    op->n = n;
    snprintf(op->params.name, sizeof(op->params.name), "%s", name);
    call_init(&op->call, run, op_free);
    return op;
}

int op_wait(struct volume_op *op, struct volume_view *out, bool *created)
{
    int err = call_wait(op->n->envs[0], &op->call, NODE_CALL_NS);

    if (err != -ETIMEDOUT && !err) {
        if (out)
            *out = op->view;
        if (created)
            *created = op->created;
    }
    call_put(&op->call);
    return err;
}

void op_done(struct volume_op *op, int err)
{
    struct blk *blk;

    if (op->x)
        op->x->busy = false;
    if (!err) {
        err = volume_lookup(op->n, op->params.name, &op->view.info, &blk);
        if (!err)
            view_fill(op->n, &op->view.info, &op->view);
    }
    call_done(&op->call, err);
}

int op_claim(struct volume_op *op)
{
    struct exported *x;

    if (!op->n->tier)
        return -FIRN_E_READ_ONLY; /* --ram: its one volume stays as it is */
    x = table_find(op->n, op->params.name);
    if (!x)
        return -FIRN_E_NOT_FOUND;
    if (x->busy)
        return -FIRN_E_IN_USE;
    x->busy = true;
    op->x = x;
    return 0;
}

static void get_run(struct call *c)
{
    op_done(container_of(c, struct volume_op, call), 0);
}

int node_volume_get(struct node *n, const char *name, struct volume_view *out)
{
    struct volume_op *op = op_new(n, name, get_run);

    return op ? op_wait(op, out, NULL) : -FIRN_E_NO_RESOURCES;
}
