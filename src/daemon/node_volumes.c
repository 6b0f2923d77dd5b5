/* SPDX-License-Identifier: Apache-2.0 */
/* node_volumes.c: the verbs on volumes. Each is a call to reactor 0 and runs there as a column of steps; a step ends by
 * asking the tier or the target, whose callback takes the next one.
 *
 *   create:  table entry (busy) -> tier_volume_create -> subsystem -> free for others
 *   delete:  busy -> out of the table's sight -> subsys_remove (hosts cut, I/O waited for) -> caps stopped on the
 *            volume's reactor -> tier_volume_delete -> entry gone
 *   change, hosts: busy -> tier -> target or caps -> free for others
 *
 * A busy entry makes other verbs on that name answer -FIRN_E_IN_USE, so no two flows meet. When a step fails the entry
 * becomes what the tier says is there: a created volume that cannot be exported is deleted again, a volume that could
 * not be deleted is exported again. Caps are freed only after they were stopped on the volume's reactor.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "daemon/node_priv.h"
#include "rt/metrics.h"

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

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static void ram_info(const struct node *n, struct volume_info *info)
{
    memset(info, 0, sizeof(*info));
    snprintf(info->p.name, sizeof(info->p.name), "ram");
    info->p.size_bytes = n->ram->size_lba * n->ram->lba_bytes;
    info->p.lba_bytes = n->ram->lba_bytes;
    memcpy(info->uuid.b, "\x66\x69\x72\x6e\x72\x61\x4d\x00\x80\x00\x00\x00\x00\x00\x00\x01", 16);
    info->nr_hosts = 1;
    info->hosts[0][0] = '*';
}

int volume_lookup(struct node *n, const char *name, struct volume_info *info, struct blk **blk)
{
    if (n->tier)
        return tier_volume_get(n->tier, name, info, blk);
    if (strcmp(name, "ram") != 0)
        return -FIRN_E_NOT_FOUND;
    ram_info(n, info);
    *blk = n->ram;
    return 0;
}

static void read_io(struct subsys *s, struct volume_io io[static SUBSYS_OP_NR])
{
    for (unsigned i = 0; i < SUBSYS_OP_NR; i++) {
        const struct metric_hist *h = subsys_latency(s, (enum subsys_op)i);

        io[i].ops = metric_get(subsys_ops(s, (enum subsys_op)i));
        io[i].bytes = metric_get(subsys_bytes(s, (enum subsys_op)i));
        io[i].latency_count = __atomic_load_n((const uint64_t *)&h->count, __ATOMIC_RELAXED);
        io[i].latency_sum_ns = __atomic_load_n((const uint64_t *)&h->sum_ns, __ATOMIC_RELAXED);
        io[i].latency_p99_ns = metric_quantile_ns(h, 0.99);
    }
}

static void fill_view(struct node *n, const struct volume_info *info, struct volume_view *out)
{
    struct exported *x = table_find(n, info->p.name);

    if (&out->info != info)
        out->info = *info;
    volume_nqn(n, info->p.name, out->nqn);
    volume_serial(&info->uuid, out->serial);
    out->controllers = 0;
    memset(out->io, 0, sizeof(out->io));
    if (x && x->s) {
        out->controllers = subsys_controllers(x->s);
        read_io(x->s, out->io);
    }
}

/* ---- the frame of every verb ------------------------------------------------------------------------------------- */

static void op_free(struct call *c)
{
    free(container_of(c, struct volume_op, call));
}

static struct volume_op *op_new(struct node *n, const char *name, void (*run)(struct call *))
{
    struct volume_op *op = calloc(1, sizeof(*op));

    if (!op)
        return NULL;
    op->n = n;
    snprintf(op->params.name, sizeof(op->params.name), "%s", name);
    call_init(&op->call, run, op_free);
    return op;
}

static int op_wait(struct volume_op *op, struct volume_view *out, bool *created)
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

static void op_done(struct volume_op *op, int err)
{
    struct blk *blk;

    if (op->x)
        op->x->busy = false;
    if (!err) {
        err = volume_lookup(op->n, op->params.name, &op->view.info, &blk);
        if (!err)
            fill_view(op->n, &op->view.info, &op->view);
    }
    call_done(&op->call, err);
}

/* Claims the volume for a flow. 0, or the error to answer. */
static int op_claim(struct volume_op *op)
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

/* ---- get, list --------------------------------------------------------------------------------------------------- */

static void get_run(struct call *c)
{
    op_done(container_of(c, struct volume_op, call), 0);
}

int node_volume_get(struct node *n, const char *name, struct volume_view *out)
{
    struct volume_op *op = op_new(n, name, get_run);

    return op ? op_wait(op, out, NULL) : -FIRN_E_NO_RESOURCES;
}

struct list_call {
    struct call        call;
    struct node       *n;
    char               after[NAME_MAX_CHARS + 1];
    uint32_t           nr;
    struct volume_info infos[NODE_LIST_MAX];
    struct volume_view views[NODE_LIST_MAX];
};

static void list_free(struct call *c)
{
    free(container_of(c, struct list_call, call));
}

static uint32_t list_infos(struct node *n, const char *after, struct volume_info *out, uint32_t nr)
{
    if (n->tier)
        return tier_volume_list(n->tier, after, out, nr);
    if (nr == 0 || strcmp(after, "ram") >= 0)
        return 0;
    ram_info(n, &out[0]);
    return 1;
}

static void list_run(struct call *c)
{
    struct list_call *lc = container_of(c, struct list_call, call);

    lc->nr = list_infos(lc->n, lc->after, lc->infos, lc->nr);
    for (uint32_t i = 0; i < lc->nr; i++)
        fill_view(lc->n, &lc->infos[i], &lc->views[i]);
    call_done(c, 0);
}

int node_volume_list(struct node *n, const char *after, struct volume_view *out, uint32_t nr)
{
    struct list_call *lc = calloc(1, sizeof(*lc));
    int err;

    if (!lc)
        return -FIRN_E_NO_RESOURCES;
    lc->n = n;
    lc->nr = MIN(nr, NODE_LIST_MAX);
    snprintf(lc->after, sizeof(lc->after), "%s", after);
    call_init(&lc->call, list_run, list_free);
    err = call_wait(n->envs[0], &lc->call, NODE_CALL_NS);
    if (!err) {
        memcpy(out, lc->views, lc->nr * sizeof(*out));
        err = (int)lc->nr;
    }
    call_put(&lc->call);
    return err;
}

struct stats_call {
    struct call         call;
    struct node        *n;
    char                after[NAME_MAX_CHARS + 1];
    uint32_t            nr;
    struct volume_info  infos[NODE_STATS_MAX];
    struct volume_stats stats[NODE_STATS_MAX];
};

static void stats_free(struct call *c)
{
    free(container_of(c, struct stats_call, call));
}

static void fill_stats(struct node *n, const struct volume_info *info, struct volume_stats *out)
{
    const struct exported *x = table_find(n, info->p.name);

    memcpy(out->name, info->p.name, sizeof(out->name));
    out->size_bytes = info->p.size_bytes;
    out->used_bytes_ssd = info->used_bytes_ssd;
    out->used_bytes_flash = info->used_bytes_flash;
    out->used_bytes_hdd = info->used_bytes_hdd;
    out->dirty_bytes = info->dirty_bytes;
    out->served = x && x->s;
    if (!out->served)
        return;
    out->controllers = subsys_controllers(x->s);
    for (unsigned i = 0; i < SUBSYS_OP_NR; i++) {
        out->ops[i] = metric_get(subsys_ops(x->s, (enum subsys_op)i));
        out->bytes[i] = metric_get(subsys_bytes(x->s, (enum subsys_op)i));
        if (out->ops[i])
            metric_hist_add(&out->latency[i], subsys_latency(x->s, (enum subsys_op)i));
    }
}

/* Copies and nothing else: the page is made of the copies, on the thread that asked. */
static void stats_run(struct call *c)
{
    struct stats_call *sc = container_of(c, struct stats_call, call);

    sc->nr = list_infos(sc->n, sc->after, sc->infos, sc->nr);
    for (uint32_t i = 0; i < sc->nr; i++)
        fill_stats(sc->n, &sc->infos[i], &sc->stats[i]);
    call_done(c, 0);
}

int node_volume_stats(struct node *n, const char *after, struct volume_stats *out, uint32_t nr)
{
    struct stats_call *sc = calloc(1, sizeof(*sc));
    int err;

    if (!sc)
        return -FIRN_E_NO_RESOURCES;
    sc->n = n;
    sc->nr = MIN(nr, NODE_STATS_MAX);
    snprintf(sc->after, sizeof(sc->after), "%s", after);
    call_init(&sc->call, stats_run, stats_free);
    err = call_wait(n->envs[0], &sc->call, NODE_CALL_NS);
    if (!err) {
        memcpy(out, sc->stats, sc->nr * sizeof(*out));
        err = (int)sc->nr;
    }
    call_put(&sc->call);
    return err;
}

/* ---- create ------------------------------------------------------------------------------------------------------ */

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

/* ---- change ------------------------------------------------------------------------------------------------------ */

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

/* ---- delete ------------------------------------------------------------------------------------------------------ */

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

/* ---- an accepted loss -------------------------------------------------------------------------------------------- */

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

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

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

/* ---- at start ---------------------------------------------------------------------------------------------------- */

static int export_info(struct node *n, const struct volume_info *info)
{
    struct volume_info again;
    struct blk *blk;
    struct exported *x = table_add(n, info->p.name);
    int err = x ? volume_lookup(n, info->p.name, &again, &blk) : -FIRN_E_NO_RESOURCES;

    return err ? err : table_export(n, x, blk, info);
}

static void export_all_run(struct call *c)
{
    struct list_call *lc = container_of(c, struct list_call, call);
    int err = 0;

    do {
        lc->nr = NODE_LIST_MAX;
        if (lc->n->tier) {
            lc->nr = tier_volume_list(lc->n->tier, lc->after, lc->infos, lc->nr);
        } else {
            lc->nr = 1;
            ram_info(lc->n, &lc->infos[0]);
        }
        for (uint32_t i = 0; i < lc->nr && !err; i++) {
            err = export_info(lc->n, &lc->infos[i]);
            snprintf(lc->after, sizeof(lc->after), "%s", lc->infos[i].p.name);
        }
    } while (!err && lc->nr == NODE_LIST_MAX);
    call_done(c, err);
}

int volumes_export_all(struct node *n, char why[static 256])
{
    struct list_call *lc = calloc(1, sizeof(*lc));
    int err;

    if (!lc)
        return -FIRN_E_NO_RESOURCES;
    lc->n = n;
    call_init(&lc->call, export_all_run, list_free);
    err = call_wait(n->envs[0], &lc->call, 10 * NODE_CALL_NS);
    if (err)
        snprintf(why, 256, "volume %s cannot be served: %.120s", err == -ETIMEDOUT ? "?" : lc->after, err_text(err));
    call_put(&lc->call);
    return err;
}
