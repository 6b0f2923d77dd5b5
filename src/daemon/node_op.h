/* SPDX-License-Identifier: Apache-2.0 */
/* node_op.h: the frame of every verb on a volume: a call to reactor 0, and what it carries (node_op.c). */
#ifndef FIRN_DAEMON_NODE_OP_H
#define FIRN_DAEMON_NODE_OP_H

#include "daemon/node_priv.h"

struct volume_op {
    struct call          call;
    struct node         *n;
    struct exported     *x;
    struct env_task      hop;        /* to the volume's reactor and back */
    struct volume_params params;     /* create, change; the name for all */
    unsigned             mask;
    bool                 force, allow, created;
    char                 nqn[NQN_MAX_BYTES + 1];
    struct volume_view   view;       /* the answer */
    int                  err;        /* first error of a flow that has to go on */
    void               (*then)(struct volume_op *op); /* once the caps have stopped */
};

/* Any thread. run is called on reactor 0, and ends in op_done(). NULL: no memory. */
struct volume_op *op_new(struct node *n, const char *name, void (*run)(struct call *));
/* Gives op up. 0: *out and *created, where they are wanted, are the answer. */
int  op_wait(struct volume_op *op, struct volume_view *out, bool *created);
/* Reactor 0. Claims the volume for a flow. 0, or the error to answer. */
int  op_claim(struct volume_op *op);
/* Reactor 0: the flow is over, others may have the volume. Without an error the answer is the volume as it is now. */
void op_done(struct volume_op *op, int err);

#endif
