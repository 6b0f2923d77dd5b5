/* SPDX-License-Identifier: Apache-2.0 */
/* node_view.c: looking at volumes: what the tier (or --ram) says of them, and the target; page by page, as a list or as figures for
 * metrics; and all of them once, at start, to be exported.
 *
 * All of it runs on reactor 0, whose alone the table is: a page is copied there, and read by whoever asked for it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/node_priv.h"
#include "rt/metrics.h"

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

void view_fill(struct node *n, const struct volume_info *info, struct volume_view *out)
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

/* ---- page by page ---- */

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
        view_fill(lc->n, &lc->infos[i], &lc->views[i]);
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

/* ---- at start ---- */

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
