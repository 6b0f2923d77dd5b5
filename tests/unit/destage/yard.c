/* SPDX-License-Identifier: Apache-2.0 */
#include "yard.h"

#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_NS (3600 * NS_PER_S)

/* ---- devices ---- */

static void saw(struct dev *d, const struct dev_io *io)
{
    struct yard_dev *of = d->observer_ctx;
    uint64_t now = env_now_ns(d->env), began_ns = MAX(of->last_ns, io->priv.start_ns);
    uint32_t nr = io->priv.op == DEV_WRITE;

    list_for_each(n, &d->inflight)
        nr += list_entry(n, const struct dev_io, priv.node)->priv.op == DEV_WRITE;
    of->writes_at_once = MAX(of->writes_at_once, nr);
    of->last_ns = now;
    if (io->priv.op != DEV_WRITE)
        return;
    of->written_bytes += io->len_bytes;
    of->longest_write_ns = MAX(of->longest_write_ns, now - began_ns);
}

static int open_dev(void *ctx, struct env *env, const struct tier_dev_opts *dev, const struct dev_open_opts *opts,
                    struct dev **out, char why[static 256])
{
    struct yard *y = ctx;
    struct yard_dev *d = &y->dev[0];
    struct dev *below;

    (void)opts;
    (void)why;
    while (strcmp(d->path, dev->path) != 0)
        d++;
    cr_assert_eq(media_open(d->media, env, d->path, &below), 0);
    *out = below;
    if (y->o.ssd_free && !d->hdd)
        return 0;
    cr_assert_eq(dev_model_new(below, &(struct dev_model_params){.hdd = d->hdd, .scale = 1}, out), 0);
    d->model = *out;
    d->model->observer = saw;
    d->model->observer_ctx = d;
    return 0;
}

static int open_meta(void *ctx, const char *path, bool create, bool read_only, struct meta **out, char why[static 256])
{
    struct yard *y = ctx;

    (void)path;
    (void)create;
    (void)read_only;
    (void)why;
    return sim_meta_open(y->store, out);
}

static void add_dev(struct yard *y, enum tier_role role, const char *path, uint64_t size_bytes)
{
    uint32_t i = y->topts.nr_devs++;
    struct yard_dev *d = &y->dev[i];

    y->topts.devs[i].role = role;
    snprintf(y->topts.devs[i].path, sizeof(y->topts.devs[i].path), "%s", path);
    *d = (struct yard_dev){.yard = y, .hdd = role == TIER_CAPACITY, .media = media_new(size_bytes)};
    snprintf(d->path, sizeof(d->path), "%s", path);
}

/* ---- the pool ---- */

struct waited { bool done; int err; struct blk *blk; };

static bool is_done(void *ctx) { return ((struct waited *)ctx)->done; }
static void done(void *ctx) { ((struct waited *)ctx)->done = true; }

static void made(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct waited *w = ctx;

    (void)info;
    *w = (struct waited){.done = true, .err = err, .blk = blk};
}

static void wait_for(struct yard *y, struct waited *w)
{
    cr_assert_eq(sim_run_until(y->sim, is_done, w, PATIENCE_NS), 0);
    cr_assert_eq(w->err, 0, "%s", err_text(w->err));
}

static void make_volumes(struct yard *y)
{
    for (unsigned i = 0; i < y->o.nr_vols; i++) {
        struct volume_params p = {.size_bytes = y->o.vol_bytes, .lba_bytes = BLOCK_BYTES};
        struct waited w = {0};

        snprintf(p.name, sizeof(p.name), "v%u", i);
        tier_volume_create(y->tier, &p, made, &w);
        wait_for(y, &w);
        y->vol[i] = w.blk;
    }
}

void yard_open(struct yard *y, const struct yard_opts *o)
{
    char why[256] = "", path[16];

    *y = (struct yard){.o = *o, .topts = o->tune};
    y->sim = sim_new(1);
    y->env = sim_env_new(y->sim);
    y->store = sim_meta_store_new(y->sim);
    sim_meta_faults(y->store)->latency_min_ns = sim_meta_faults(y->store)->latency_max_ns = 100 * NS_PER_US;
    y->buf = aligned_alloc(BLOCK_BYTES, MDTS_BYTES);
    memset(y->buf, 0, MDTS_BYTES);
    for (uint32_t i = 0; i < MDTS_BYTES; i += BLOCK_BYTES)
        y->buf[i] = 7; /* the rest is zeros, which media keep in no RAM */
    snprintf(y->topts.pool_name, sizeof(y->topts.pool_name), "yard");
    snprintf(y->topts.meta_path, sizeof(y->topts.meta_path), "meta");
    y->topts.nr_shards = o->nr_shards;
    y->topts.envs = &y->env;
    y->topts.nr_envs = 1;
    y->topts.seams = (struct tier_seams){.dev_open = open_dev, .meta_open = open_meta, .ctx = y};
    add_dev(y, TIER_JOURNAL, "ssd", 2 * LABEL_AREA_BYTES + o->log_bytes);
    for (uint32_t i = 0; i < o->nr_hdd; i++) {
        snprintf(path, sizeof(path), "hdd%u", i);
        add_dev(y, TIER_CAPACITY, path, o->hdd_bytes);
    }
    cr_assert_eq(tier_format(&y->topts, why), 0, "%s", why);
    cr_assert_eq(tier_open(&y->topts, &y->tier, why), 0, "%s", why);
    make_volumes(y);
}

void yard_close(struct yard *y)
{
    struct waited w = {0};

    tier_stop(y->tier, done, &w);
    wait_for(y, &w);
    tier_close(y->tier);
    sim_env_free(y->env);
    for (uint32_t i = 0; i < y->topts.nr_devs; i++)
        media_free(y->dev[i].media);
    sim_meta_store_free(y->store);
    sim_free(y->sim);
    free(y->buf);
}

void yard_drain(struct yard *y, bool destage_all)
{
    struct waited w = {0};

    tier_drain(y->tier, destage_all, done, &w);
    wait_for(y, &w);
}

struct tier_stats yard_stats(struct yard *y)
{
    struct tier_stats t;

    tier_stats_get(y->tier, &t);
    return t;
}

uint64_t yard_dirty(struct yard *y)
{
    struct tier_info i;

    tier_info_get(y->tier, &i);
    return i.journal_dirty_bytes;
}

/* ---- requests ---- */

static void io_done(struct blk_io *io)
{
    struct waited *w = io->ctx;

    w->done = true;
    w->err = io->err;
}

uint64_t yard_io(struct yard *y, unsigned vol, enum blk_op op, uint64_t off_bytes, uint64_t len_bytes)
{
    struct waited w = {0};
    struct iovec iov = {y->buf, len_bytes};
    struct blk_io io = {.op = op, .lba = off_bytes / BLOCK_BYTES, .nlb = (uint32_t)(len_bytes / BLOCK_BYTES), .iov = &iov, .iovcnt = 1,
                        .cb = io_done, .ctx = &w};
    uint64_t began_ns = sim_now_ns(y->sim);

    blk_submit(y->vol[vol], &io);
    wait_for(y, &w);
    return sim_now_ns(y->sim) - began_ns;
}

void yard_fill(struct yard *y, uint32_t bytes_an_extent)
{
    for (unsigned v = 0; v < y->o.nr_vols; v++)
        for (uint64_t off = 0; off < y->o.vol_bytes; off += EXTENT_BYTES)
            yard_io(y, v, BLK_WRITE, off, bytes_an_extent);
    yard_drain(y, true);
}

/* ---- hosts ---- */

static void host_next(struct yard_host *h);

static void host_timer(struct env_timer *t) { host_next(container_of(t, struct yard_host, timer)); }

static void host_done(struct blk_io *io)
{
    struct yard_host *h = io->ctx;
    uint64_t took_ns = sim_now_ns(h->yard->sim) - h->began_ns;

    cr_assert_eq(io->err, 0, "%s", err_text(io->err));
    if (--h->parts_left > 0)
        return;
    h->nr++;
    h->longest_ns = MAX(h->longest_ns, took_ns);
    if (h->saw != NULL)
        h->saw(h, took_ns);
    h->began_ns = 0;
    if (h->stop)
        return;
    h->timer.fn = host_timer;
    env_timer_arm(h->yard->env, &h->timer, sim_now_ns(h->yard->sim) + h->pause_ns);
}

static uint64_t place(struct yard_host *h)
{
    uint64_t stride = h->stride_bytes != 0 ? h->stride_bytes : h->len_bytes, nr = h->within_bytes / stride, i;

    h->seed = h->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    i = h->ordered ? h->next_bytes / stride % nr : (h->seed >> 33) % nr;
    h->next_bytes += stride;
    return h->from_bytes + i * stride;
}

static void host_next(struct yard_host *h)
{
    uint64_t at = place(h);

    h->began_ns = sim_now_ns(h->yard->sim);
    h->parts_left = (h->len_bytes + MDTS_BYTES - 1) / MDTS_BYTES;
    cr_assert_leq(h->parts_left, YARD_PARTS);
    for (uint32_t off = 0; off < h->len_bytes; off += MDTS_BYTES) {
        struct yard_part *p = &h->part[off / MDTS_BYTES];
        uint32_t len = MIN(h->len_bytes - off, MDTS_BYTES);

        p->iov = (struct iovec){h->yard->buf, len};
        p->io = (struct blk_io){.op = h->write ? BLK_WRITE : BLK_READ, .lba = (at + off) / BLOCK_BYTES, .nlb = len / BLOCK_BYTES,
                                .iov = &p->iov, .iovcnt = 1, .cb = host_done, .ctx = h};
        blk_submit(h->yard->vol[h->vol], &p->io);
    }
}

void yard_host_start(struct yard_host *h)
{
    h->stop = false;
    host_next(h);
}

static bool host_rests(void *ctx) { return ((struct yard_host *)ctx)->began_ns == 0; }

void yard_host_stop(struct yard_host *h)
{
    h->stop = true;
    if (env_timer_armed(&h->timer))
        env_timer_cancel(h->yard->env, &h->timer);
    cr_assert_eq(sim_run_until(h->yard->sim, host_rests, h, PATIENCE_NS), 0);
}
