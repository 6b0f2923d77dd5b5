/* SPDX-License-Identifier: Apache-2.0 */
/* dev_model.c: another dev in the time of a given SSD or HDD.
 *
 * A request waits for a free way (an HDD has one), goes to the device below at once when it has one, and completes when that
 * is done and the modelled time is over. The model keeps its own time line: the next request begins where the last
 * one ended, so a late timer does not make the device slower. Flushes and discards cost nothing but their turn.
 * An SSD's latencies overlap; its transfers share one channel. Failures below are passed on, after the time.
 */
#include "rt/dev_model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define HDD_SEEK_READ_MS   0.23  /* track to track */
#define HDD_SEEK_WRITE_MS  0.32
#define HDD_STROKE_READ_MS 13.44 /* times the root of the distance, as a part of the span */
#define HDD_STROKE_WRITE_MS 14.78
#define HDD_ROTATION_MS    4.16  /* half a turn at 7,200 rpm */
#define HDD_TURN_MS        (60e3 / 7200)
#define HDD_OVERHEAD_MS    0.10
#define HDD_RATE           200e3 /* bytes per ms */
#define HDD_PASS_BYTES     524288 /* a gap up to here may be passed over instead of sought over */
#define SSD_READ_MS        0.085
#define SSD_WRITE_MS       0.020
#define SSD_READ_RATE      3200e3
#define SSD_WRITE_RATE     1050e3
#define NS_PER_MS_F        1e6

#define WAYS_DEFAULT 16u
#define WAYS_MAX     256u

struct way {                    /* one request being served */
    struct dev_io     io;       /* to the device below */
    struct dev_io    *of;       /* the caller's; NULL: the way is free */
    struct env_timer  timer;
    struct dev_model *model;
    bool              below_done, time_over;
};

struct dev_model {
    struct dev              dev;
    struct dev             *below;
    struct dev_model_params params;
    struct dev_io          *waiting, *waiting_last; /* linked through priv.p[0] */
    struct dev_model_disk  *disk, own;  /* an SSD's free_at_ns is the end of the last transfer; it has no head */
    uint64_t                at_bytes;   /* where on the disk this dev begins */
    uint64_t                busy_ns, seeks;
    uint32_t                nr_ways;
    struct way              ways[];
};

/* ---- costs --------------------------------------------------------------------------------------------------------- */

/* Time to bring the head over `gap` bytes (negative: back). */
static double position_ms(double gap, double span, bool write, uint64_t *seeks)
{
    double part = fmin(1, fabs(gap) / span);
    double seek = (write ? HDD_SEEK_WRITE_MS : HDD_SEEK_READ_MS) +
                  (write ? HDD_STROKE_WRITE_MS : HDD_STROKE_READ_MS) * sqrt(part) + HDD_ROTATION_MS;

    if (gap > 0 && gap <= HDD_PASS_BYTES && gap / HDD_RATE < seek)
        return gap / HDD_RATE;
    (*seeks)++;
    return seek;
}

uint64_t dev_model_hdd_cost_ns(uint64_t span_bytes, uint64_t *head_bytes, bool write, uint64_t off_bytes,
                               uint64_t len_bytes, uint64_t *seeks)
{
    double span = (double)ROUND_UP(MAX(span_bytes, UINT64_C(1)), GIB);
    double gap = (double)(int64_t)(off_bytes - *head_bytes);
    double ms = HDD_OVERHEAD_MS + (double)len_bytes / HDD_RATE;

    if (off_bytes != *head_bytes)
        ms += position_ms(gap, span, write, seeks);
    *head_bytes = off_bytes + len_bytes;
    return (uint64_t)(ms * NS_PER_MS_F + 0.5);
}

uint64_t dev_model_hdd_turn_cost_ns(uint64_t idle_ns, uint64_t *head_bytes, uint64_t off_bytes, uint64_t len_bytes)
{
    double ahead_ms = (double)(off_bytes - *head_bytes) / HDD_RATE;
    double turned_ms = (double)idle_ns / NS_PER_MS_F + HDD_OVERHEAD_MS;
    double wait_ms = fmod(ahead_ms - turned_ms, HDD_TURN_MS);

    if (wait_ms < 0)
        wait_ms += HDD_TURN_MS;
    *head_bytes = off_bytes + len_bytes;
    return (uint64_t)((HDD_OVERHEAD_MS + wait_ms + (double)len_bytes / HDD_RATE) * NS_PER_MS_F + 0.5);
}

static double ssd_transfer_ms(bool write, uint64_t len_bytes)
{
    return (double)len_bytes / (write ? SSD_WRITE_RATE : SSD_READ_RATE);
}

static double ssd_latency_ms(bool write)
{
    return write ? SSD_WRITE_MS : SSD_READ_MS;
}

uint64_t dev_model_ssd_cost_ns(bool write, uint64_t len_bytes)
{
    return (uint64_t)((ssd_latency_ms(write) + ssd_transfer_ms(write, len_bytes)) * NS_PER_MS_F + 0.5);
}

/* ---- service ------------------------------------------------------------------------------------------------------- */

static bool moves(const struct dev_io *io)
{
    return io->priv.op == DEV_READ || io->priv.op == DEV_WRITE;
}

static uint64_t scaled(const struct dev_model *m, uint64_t ns)
{
    return (uint64_t)((double)ns * m->params.scale + 0.5);
}

static uint64_t hdd_cost_ns(struct dev_model *m, const struct dev_io *io, uint64_t start_ns)
{
    struct dev_model_disk *disk = m->disk;
    uint64_t off_bytes = m->at_bytes + io->off_bytes;
    bool write = io->priv.op == DEV_WRITE;

    if (m->params.turns && write && start_ns > disk->free_at_ns && off_bytes >= disk->head_bytes &&
        off_bytes - disk->head_bytes <= HDD_PASS_BYTES)
        return dev_model_hdd_turn_cost_ns((uint64_t)((double)(start_ns - disk->free_at_ns) / m->params.scale), &disk->head_bytes, off_bytes,
                                          io->len_bytes);
    return dev_model_hdd_cost_ns(disk->span_bytes, &disk->head_bytes, write, off_bytes, io->len_bytes, &m->seeks);
}

/* When the request ends by the model, begun when it came or when the one before it ended; moves the time line. */
static uint64_t end_of(struct dev_model *m, const struct dev_io *io)
{
    uint64_t start_ns = MAX(io->priv.start_ns, m->disk->free_at_ns), cost_ns, latency_ns;
    bool write = io->priv.op == DEV_WRITE;

    if (!moves(io))
        return start_ns;
    if (m->params.hdd) {
        cost_ns = hdd_cost_ns(m, io, start_ns);
        m->busy_ns += cost_ns;
        return m->disk->free_at_ns = start_ns + scaled(m, cost_ns);
    }
    cost_ns = dev_model_ssd_cost_ns(write, io->len_bytes);
    latency_ns = (uint64_t)(ssd_latency_ms(write) * NS_PER_MS_F + 0.5);
    m->busy_ns += cost_ns;
    m->disk->free_at_ns = start_ns + scaled(m, cost_ns - latency_ns);
    return m->disk->free_at_ns + scaled(m, latency_ns);
}

static void way_submit(struct dev_model *m, struct way *w)
{
    switch (w->of->priv.op) {
    case DEV_READ:
        dev_read(m->below, &w->io);
        break;
    case DEV_WRITE:
        dev_write(m->below, &w->io);
        break;
    case DEV_FLUSH:
        dev_flush(m->below, &w->io);
        break;
    case DEV_DISCARD:
        dev_discard(m->below, &w->io);
        break;
    case DEV_OP_NR:
        assert(w->of->priv.op < DEV_OP_NR);
    }
}

static void serve_next(struct dev_model *m);

static void way_end(struct way *w)
{
    struct dev_model *m = w->model;
    struct dev_io *io = w->of;
    int err = w->io.err; /* the way serves another request before this one is told */

    if (!w->below_done || !w->time_over)
        return;
    w->of = NULL;
    serve_next(m);
    dev_io_done(&m->dev, io, err);
}

static void way_below_done(struct dev_io *io)
{
    struct way *w = container_of(io, struct way, io);

    w->below_done = true;
    way_end(w);
}

static void way_time_over(struct env_timer *t)
{
    struct way *w = container_of(t, struct way, timer);

    w->time_over = true;
    way_end(w);
}

static void serve(struct dev_model *m, struct way *w, struct dev_io *io)
{
    w->of = io;
    w->below_done = w->time_over = false;
    w->io = (struct dev_io){.off_bytes = io->off_bytes, .len_bytes = io->len_bytes, .iov = io->iov, .iovcnt = io->iovcnt,
                            .flags = io->flags, .cb = way_below_done};
    env_timer_arm(m->dev.env, &w->timer, end_of(m, io));
    way_submit(m, w);
}

static struct way *free_way(struct dev_model *m)
{
    for (uint32_t i = 0; i < m->nr_ways; i++)
        if (m->ways[i].of == NULL)
            return &m->ways[i];
    return NULL;
}

static void serve_next(struct dev_model *m)
{
    struct dev_io *io = m->waiting;
    struct way *w = io != NULL ? free_way(m) : NULL;

    if (w == NULL)
        return;
    m->waiting = io->priv.p[0];
    if (m->waiting == NULL)
        m->waiting_last = NULL;
    serve(m, w, io);
}

static void model_submit(struct dev *d, struct dev_io *io)
{
    struct dev_model *m = container_of(d, struct dev_model, dev);
    struct dev_io *last = m->waiting_last;

    io->priv.p[0] = NULL;
    if (last != NULL)
        last->priv.p[0] = io;
    else
        m->waiting = io;
    m->waiting_last = io;
    serve_next(m);
}

static void model_close(struct dev *d)
{
    struct dev_model *m = container_of(d, struct dev_model, dev);

    dev_close(m->below);
    free(m);
}

static const struct dev_ops model_ops = {.name = "model", .submit = model_submit, .close = model_close};

static void join_disk(struct dev_model *m)
{
    uint64_t bytes = m->below->caps.size_bytes;

    m->disk = m->params.disk != NULL ? m->params.disk : &m->own;
    m->at_bytes = m->disk->span_bytes;
    m->disk->span_bytes += m->params.disk == NULL && m->params.span_bytes != 0 ? m->params.span_bytes : bytes;
}

int dev_model_new(struct dev *below, const struct dev_model_params *params, struct dev **out)
{
    uint32_t ways = params->hdd ? 1 : MIN(params->ways ? params->ways : WAYS_DEFAULT, WAYS_MAX);
    struct dev_model *m = calloc(1, sizeof(*m) + ways * sizeof(struct way));

    if (m == NULL)
        return -ENOMEM;
    dev_init(&m->dev, &model_ops, below->env, below->path);
    m->dev.caps = below->caps;
    m->dev.caps.rotational = params->hdd;
    m->below = below;
    m->params = *params;
    join_disk(m);
    if (m->params.scale <= 0)
        m->params.scale = 1;
    m->nr_ways = ways;
    for (uint32_t i = 0; i < ways; i++) {
        m->ways[i].model = m;
        m->ways[i].timer.fn = way_time_over;
    }
    *out = &m->dev;
    return 0;
}

uint64_t dev_model_busy_ns(const struct dev *d)
{
    assert(d->ops == &model_ops);
    return container_of(d, struct dev_model, dev)->busy_ns;
}

uint64_t dev_model_seeks(const struct dev *d)
{
    assert(d->ops == &model_ops);
    return container_of(d, struct dev_model, dev)->seeks;
}

void dev_model_restart(struct dev *d)
{
    struct dev_model *m = container_of(d, struct dev_model, dev);

    assert(d->ops == &model_ops && m->waiting == NULL);
    for (uint32_t i = 0; i < m->nr_ways; i++)
        assert(m->ways[i].of == NULL);
    m->disk->head_bytes = m->disk->free_at_ns = m->busy_ns = m->seeks = 0;
}
