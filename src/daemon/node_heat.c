/* SPDX-License-Identifier: Apache-2.0 */
/* node_heat.c: the verb that asks for a volume's heat: reactor 0 asks the tier, which answers there. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/node_priv.h"

struct heat_call { struct call call; struct node *n; struct tier_heat heat; };

static void heat_free(struct call *c) { free(container_of(c, struct heat_call, call)); }

static void heat_done(struct tier_heat *h)
{
    struct heat_call *hc = h->ctx;

    call_done(&hc->call, h->err);
}

static void heat_run(struct call *c)
{
    struct heat_call *hc = container_of(c, struct heat_call, call);

    tier_volume_heat(hc->n->tier, &hc->heat);
}

int node_volume_heat(struct node *n, const char *name, uint32_t parts_max, struct tier_heat *out)
{
    struct heat_call *hc = n->tier ? calloc(1, sizeof(*hc)) : NULL;
    int err;

    if (!hc)
        return n->tier ? -FIRN_E_NO_RESOURCES : -FIRN_E_READ_ONLY;
    hc->n = n;
    hc->heat.cb = heat_done;
    hc->heat.ctx = hc;
    hc->heat.parts_max = parts_max;
    snprintf(hc->heat.name, sizeof(hc->heat.name), "%s", name);
    call_init(&hc->call, heat_run, heat_free);
    err = call_wait(n->envs[0], &hc->call, NODE_CALL_NS);
    if (!err)
        *out = hc->heat;
    call_put(&hc->call);
    return err;
}
