/* SPDX-License-Identifier: Apache-2.0 */
/* node_hosts.c: which hosts may connect to a volume: allowed and denied one by one.
 *
 * 1. The volume is claimed; its list as the tier has it gains a host or loses one.
 * 2. The tier records the new list, then the target is told: a host that is no longer on it is cut.
 * Failures: the list is full: nothing changes. The tier has recorded it and the target could not take it: the error is answered, and
 * the same request, made again, tells the target.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "daemon/node_op.h"

static void hosts_done(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct volume_op *op = ctx;
    const char *hosts[HOSTS_PER_VOLUME_MAX];

    (void)blk;
    for (uint32_t i = 0; !err && i < info->nr_hosts; i++)
        hosts[i] = info->hosts[i];
    if (!err && op->x->s)
        err = subsys_set_hosts(op->x->s, hosts, info->nr_hosts);
    if (!err)
        log_info(op->allow ? "host allowed" : "host denied", "volume=%s host=\"%s\"", op->params.name, op->nqn);
    op_done(op, err);
}

/* The new list into hosts. Its length, or negative; *same: nothing changes. */
static int change_hosts(const struct volume_op *op, const struct volume_info *info, const char **hosts, bool *same)
{
    uint32_t nr = 0;
    bool was_in = false;

    for (uint32_t i = 0; i < info->nr_hosts; i++) {
        bool it = strcmp(info->hosts[i], op->nqn) == 0;

        was_in |= it;
        if (!it || op->allow)
            hosts[nr++] = info->hosts[i];
    }
    *same = was_in == op->allow;
    if (!op->allow || was_in)
        return (int)nr;
    if (nr == HOSTS_PER_VOLUME_MAX)
        return -FIRN_E_NO_RESOURCES;
    hosts[nr++] = op->nqn;
    return (int)nr;
}

static void hosts_run(struct call *c)
{
    struct volume_op *op = container_of(c, struct volume_op, call);
    const char *hosts[HOSTS_PER_VOLUME_MAX];
    struct blk *blk;
    bool same = false;
    int nr = op_claim(op);

    if (!nr)
        nr = volume_lookup(op->n, op->params.name, &op->view.info, &blk);
    if (!nr)
        nr = change_hosts(op, &op->view.info, hosts, &same);
    if (nr >= 0 && same && op->x->s) /* recorded, but an earlier change may have failed before the target knew */
        nr = subsys_set_hosts(op->x->s, hosts, (uint32_t)nr);
    if (nr < 0 || same)
        op_done(op, MIN(nr, 0));
    else
        tier_volume_set_hosts(op->n->tier, op->params.name, hosts, (uint32_t)nr, hosts_done, op);
}

static int change_host(struct node *n, const char *name, const char *nqn, bool allow, struct volume_view *out)
{
    struct volume_op *op = op_new(n, name, hosts_run);

    if (!op)
        return -FIRN_E_NO_RESOURCES;
    op->allow = allow;
    snprintf(op->nqn, sizeof(op->nqn), "%s", nqn);
    return op_wait(op, out, NULL);
}

int node_host_allow(struct node *n, const char *name, const char *nqn, struct volume_view *out)
{
    return change_host(n, name, nqn, true, out);
}

int node_host_deny(struct node *n, const char *name, const char *nqn, struct volume_view *out)
{
    return change_host(n, name, nqn, false, out);
}
