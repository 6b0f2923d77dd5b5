/* SPDX-License-Identifier: Apache-2.0 */
/* node_tune.c: knobs of the tier that changed, on their way to the pool: reactor 0 tells the tier, which tells its shards. */
#include <stdlib.h>

#include "daemon/node_priv.h"

struct tune_call { struct call call; struct node *n; struct tier_opts opts; };

static void tune_free(struct call *c) { free(container_of(c, struct tune_call, call)); }

static void tune_done(void *ctx) { call_done(&((struct tune_call *)ctx)->call, 0); }

static void tune_run(struct call *c)
{
    struct tune_call *tc = container_of(c, struct tune_call, call);
    int err = tier_retune(tc->n->tier, &tc->opts, tune_done, tc);

    if (err)
        call_done(c, err);
}

int node_retune(struct node *n, const struct config *cfg)
{
    struct tune_call *tc;
    int err;

    if (!n->tier) /* --ram: they are for nothing there */
        return 0;
    tc = calloc(1, sizeof(*tc));
    if (!tc)
        return -FIRN_E_NO_RESOURCES;
    tc->n = n;
    config_tier_opts(cfg, &tc->opts);
    call_init(&tc->call, tune_run, tune_free);
    err = call_wait(n->envs[0], &tc->call, NODE_CALL_NS);
    call_put(&tc->call);
    return err;
}
