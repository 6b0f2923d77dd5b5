/* SPDX-License-Identifier: Apache-2.0 */
/* node_cache.c: the verb that asks what is left of the places for copies: volumes and what they were promised belong to reactor 0. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/node_priv.h"

struct room_call { struct call call; struct node *n; char name[NAME_MAX_CHARS + 1]; struct tier_cache_room room; };

static void room_free(struct call *c) { free(container_of(c, struct room_call, call)); }

static void room_run(struct call *c)
{
    struct room_call *rc = container_of(c, struct room_call, call);

    tier_cache_room(rc->n->tier, rc->name, &rc->room);
    call_done(c, 0);
}

int node_cache_room(struct node *n, const char *name, struct tier_cache_room *out)
{
    struct room_call *rc = n->tier ? calloc(1, sizeof(*rc)) : NULL;
    int err;

    if (!rc)
        return n->tier ? -FIRN_E_NO_RESOURCES : -FIRN_E_READ_ONLY;
    rc->n = n;
    snprintf(rc->name, sizeof(rc->name), "%s", name);
    call_init(&rc->call, room_run, room_free);
    err = call_wait(n->envs[0], &rc->call, NODE_CALL_NS);
    if (!err)
        *out = rc->room;
    call_put(&rc->call);
    return err;
}
