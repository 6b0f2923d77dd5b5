/* SPDX-License-Identifier: Apache-2.0 */
/* node_table.c: what is exported: volume name to subsystem, in name order.
 *
 * The table is reactor 0's alone: who wants to know of it asks there (node_view.c), in short pieces. A subsystem leaves
 * the table before it is removed from the target, so nobody finds one that is being freed.
 * Every subsystem stands on a blk_limit over the tier's blk: caps can then change without cutting a host off.
 */
#include <search.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "daemon/node_priv.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct exported *)a)->name, ((const struct exported *)b)->name);
}

void volume_nqn(const struct node *n, const char *name, char out[static NQN_MAX_BYTES + 1])
{
    snprintf(out, NQN_MAX_BYTES + 1, "%s:%s:%s", NQN_PREFIX, n->name, name);
}

void volume_serial(const struct uuid *uuid, char out[static 21])
{
    for (unsigned i = 0; i < 10; i++)
        snprintf(out + 2 * i, 3, "%02x", uuid->b[i]);
}

struct exported *table_find(struct node *n, const char *name)
{
    struct exported key;
    void *found;

    snprintf(key.name, sizeof(key.name), "%s", name);
    found = tfind(&key, &n->table, by_name);
    return found ? *(struct exported **)found : NULL;
}

struct exported *table_add(struct node *n, const char *name)
{
    struct exported *x = calloc(1, sizeof(*x));
    void *at;

    if (!x)
        return NULL;
    snprintf(x->name, sizeof(x->name), "%s", name);
    at = tsearch(x, &n->table, by_name);
    if (at)
        n->nr_exported++;
    assert(!at || *(struct exported **)at == x);
    if (!at) {
        free(x);
        return NULL;
    }
    return x;
}

void table_remove(struct node *n, struct exported *x)
{
    assert(x->s == NULL && x->limit == NULL);
    tdelete(x, &n->table, by_name);
    n->nr_exported--;
    free(x);
}

static void start_limit(struct env_task *task)
{
    struct exported *x = container_of(task, struct exported, start_task);

    blk_limit_start(x->limit);
}

/* The start is posted before the subsystem is told of, so it runs before any watcher or I/O of the target. */
static int add_subsys(struct node *n, struct exported *x, const struct volume_info *info, struct subsys **out)
{
    struct subsys_params p = {.uuid = info->uuid, .blk = blk_limit_blk(x->limit), .single_host = n->tier != NULL};
    const char *hosts[HOSTS_PER_VOLUME_MAX];
    int err;

    volume_nqn(n, x->name, p.nqn);
    volume_serial(&info->uuid, p.serial);
    err = subsys_add(n->target, &p, out);
    if (err)
        return err;
    for (uint32_t i = 0; i < info->nr_hosts; i++)
        hosts[i] = info->hosts[i];
    err = subsys_set_hosts(*out, hosts, info->nr_hosts);
    if (err) /* it stays closed to all: nobody gets in who was not let in */
        log_error("allow-list not applied", "volume=%s err=\"%s\"", x->name, err_text(err));
    return 0;
}

int table_export(struct node *n, struct exported *x, struct blk *blk, const struct volume_info *info)
{
    struct subsys *s = NULL;
    int err = 0;

    assert(x->s == NULL);
    x->blk = blk;
    if (!x->limit) {
        err = blk_limit_new(blk, info->p.iops, info->p.bandwidth, &x->limit);
        if (err)
            return err;
        x->start_task = (struct env_task){.fn = start_limit};
        env_post(blk->env, &x->start_task);
    }
    err = add_subsys(n, x, info, &s);
    if (err)
        return err;
    x->s = s;
    return 0;
}

struct subsys *table_unexport(struct node *n, struct exported *x)
{
    struct subsys *s = x->s;

    (void)n;
    x->s = NULL;
    return s;
}

static void free_exported(void *p)
{
    struct exported *x = p;

    if (x->limit)
        blk_limit_free(x->limit);
    free(x);
}

void table_free(struct node *n)
{
    tdestroy(n->table, free_exported);
    n->table = NULL;
}

struct removal {
    struct node *n;
    uint32_t     left;
    void       (*cb)(void *ctx);
    void        *ctx;
};

static void one_removed(void *ctx)
{
    struct removal *r = ctx;

    if (--r->left > 0)
        return;
    r->cb(r->ctx);
    free(r);
}

static void remove_one(const void *nodep, VISIT which, void *closure)
{
    struct exported *x = *(struct exported *const *)nodep;
    struct removal *r = closure;
    struct subsys *s;

    if (which != postorder && which != leaf)
        return;
    s = table_unexport(r->n, x);
    if (!s)
        return;
    r->left++;
    subsys_remove(s, one_removed, r);
}

int table_unexport_all(struct node *n, void (*cb)(void *ctx), void *ctx)
{
    struct removal *r = calloc(1, sizeof(*r));

    if (!r)
        return -FIRN_E_NO_RESOURCES;
    *r = (struct removal){.n = n, .left = 1, .cb = cb, .ctx = ctx}; /* 1: the walk itself */
    twalk_r(n->table, remove_one, r);
    one_removed(r);
    return 0;
}
