/* SPDX-License-Identifier: Apache-2.0 */
/* volume_request.h: the way of a control request on volumes (volume_request.c), whose steps are volume_ctl.c's and volume_set.c's. */
#ifndef FIRN_TIER_VOLUME_REQUEST_H
#define FIRN_TIER_VOLUME_REQUEST_H

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

/* NULL: no memory; the answer, which may not come from inside the call, then needs none. */
struct request *request_new(struct tier *t, tier_volume_cb *cb, void *ctx);
/* A request that has its volume; NULL: err, or why it cannot have it, has been answered. */
struct request *request_on(struct tier *t, const char *name, int err, tier_volume_cb *cb, void *ctx);
/* The next step, there; or once the batch of what was added has committed, or failed: r->err says so. */
void  request_go_home(struct request *r, step_fn *next);
void  request_go_to_shard(struct request *r, step_fn *next);
void  request_commit(struct request *r, step_fn *next);
/* To the batch. A record is encoded into what add_op returns, then add_put says how long it is; without that it is a delete. */
void *request_add_op(struct request *r, struct meta_key key);
void  request_add_put(struct request *r, uint32_t len);
void  request_add_volume(struct request *r, const struct volume_rec *rec);
void  request_answer(struct request *r, int err);         /* later, from envs[0] */
void  request_finish(struct request *r);                  /* the answer, now; frees the request */

#endif
