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

struct page_call {
    struct call        call;
    struct node       *n;
    char               after[NAME_MAX_CHARS + 1];
    void             (*fill)(struct node *n, const struct volume_info *info, void *out);
    size_t             bytes;    /* of one, as fill makes it */
    uint32_t           nr;
    struct volume_info *infos;
    char              *out;      /* nr of them: copies, on the thread that asked, and nothing else */
};

static void page_free(struct call *c)
{
    struct page_call *p = container_of(c, struct page_call, call);

    free(p->infos);
    free(p->out);
    free(p);
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

static void page_run(struct call *c)
{
    struct page_call *p = container_of(c, struct page_call, call);

    p->nr = list_infos(p->n, p->after, p->infos, p->nr);
    for (uint32_t i = 0; i < p->nr; i++)
        p->fill(p->n, &p->infos[i], p->out + i * p->bytes);
    call_done(c, 0);
}

/* Of the volumes behind that name at most nr, each as what->fill makes it; how many. */
static int page_of(struct node *n, const struct page_call *what, const char *after, void *out, uint32_t nr)
{
    struct page_call *p = malloc(sizeof(*p));
    int err = -FIRN_E_NO_RESOURCES;

    if (!p)
        return err;
    *p = *what;
    p->n = n;
    p->nr = nr;
    snprintf(p->after, sizeof(p->after), "%s", after);
    p->infos = calloc(MAX(nr, 1u), sizeof(*p->infos));
    p->out = calloc(MAX(nr, 1u), p->bytes);
    call_init(&p->call, page_run, page_free);
    if (p->infos && p->out)
        err = call_wait(n->envs[0], &p->call, NODE_CALL_NS);
    if (!err) {
        memcpy(out, p->out, p->nr * p->bytes);
        err = (int)p->nr;
    }
    call_put(&p->call);
    return err;
}

static void fill_view(struct node *n, const struct volume_info *info, void *out) { view_fill(n, info, out); }

int node_volume_list(struct node *n, const char *after, struct volume_view *out, uint32_t nr)
{
    struct page_call what = {.fill = fill_view, .bytes = sizeof(*out)};

    return page_of(n, &what, after, out, MIN(nr, NODE_LIST_MAX));
}

static void fill_stats(struct node *n, const struct volume_info *info, void *to)
{
    const struct exported *x = table_find(n, info->p.name);
    struct volume_stats *out = to;

    memcpy(out->name, info->p.name, sizeof(out->name));
    out->size_bytes = info->p.size_bytes;
    out->used_bytes_ssd = info->used_bytes_ssd;
    out->used_bytes_flash = info->used_bytes_flash;
    out->used_bytes_hdd = info->used_bytes_hdd;
    out->dirty_bytes = info->dirty_bytes;
    out->hit_blocks = info->hit_blocks;
    out->miss_blocks = info->miss_blocks;
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

int node_volume_stats(struct node *n, const char *after, struct volume_stats *out, uint32_t nr)
{
    struct page_call what = {.fill = fill_stats, .bytes = sizeof(*out)};

    return page_of(n, &what, after, out, MIN(nr, NODE_STATS_MAX));
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

struct export_call {
    struct call        call;
    struct node       *n;
    char               last[NAME_MAX_CHARS + 1]; /* of those that were begun */
    struct volume_info infos[NODE_LIST_MAX];
};

static void export_free(struct call *c) { free(container_of(c, struct export_call, call)); }

static void export_all_run(struct call *c)
{
    struct export_call *e = container_of(c, struct export_call, call);
    uint32_t nr;
    int err = 0;

    do {
        nr = list_infos(e->n, e->last, e->infos, NODE_LIST_MAX);
        for (uint32_t i = 0; i < nr && !err; i++) {
            err = export_info(e->n, &e->infos[i]);
            snprintf(e->last, sizeof(e->last), "%s", e->infos[i].p.name);
        }
    } while (!err && nr == NODE_LIST_MAX);
    call_done(c, err);
}

int volumes_export_all(struct node *n, char why[static 256])
{
    struct export_call *e = calloc(1, sizeof(*e));
    int err;

    if (!e)
        return -FIRN_E_NO_RESOURCES;
    e->n = n;
    call_init(&e->call, export_all_run, export_free);
    err = call_wait(n->envs[0], &e->call, 10 * NODE_CALL_NS);
    if (err)
        snprintf(why, 256, "volume %s cannot be served: %.120s", err == -ETIMEDOUT ? "?" : e->last, err_text(err));
    call_put(&e->call);
    return err;
}
