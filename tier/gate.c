/* SPDX-License-Identifier: Apache-2.0 */
/* gate.c: where a request waits of which nothing has begun, and what one capacity device may hold of the pools.
 *
 * 1. A request needs room for dirt and for new extents, in all and in the share of its device (share.c), and an entry of each pool that
 *    its kind of request uses. The first of these that it lacks decides where it waits: there is a queue for each resource, and one for
 *    each resource and device, so that it holds up only those that lack the same.
 * 2. Entries of the pools that reads use are counted for every device that may keep them: the devices that have the blocks which are
 *    to be read; for a change also those that a change before it, whose range overlaps, may be caught in. One device may keep
 *    POLICY_SHARE_PCT of a pool. A device is called hung only after the deadline, so the share binds a healthy one as well.
 * 3. When nothing is lacking it takes all of it at once and begins. So nobody holds one thing while he waits for another.
 * 4. A queue is in order of arrival (waits.c), and a newcomer goes behind those that are there. Each pass asks the head of each queue
 *    again: it begins, or stays, or goes, by its age, to the queue of what it lacks now.
 * Failures: reads of a device that is past its deadline begin, and fail in their own way. What would wait for its share of dirt, or for
 * a change that is caught in it and has taken the share, is answered with an error.
 */
#include "tier/bypass.h"
#include "tier/gate.h"
#include "tier/oldest.h"
#include "tier/priv.h"
#include "tier/read.h"
#include "tier/rmw.h"
#include "tier/twin.h"
#include "tier/write.h"

struct ask {                     /* what a request needs */
    struct blk_io *io;
    uint32_t layer;
    uint64_t first, last;        /* blocks it touches */
    unsigned kinds;              /* enum pool_kind, a bit each: one of each of these pools */
    uint64_t devs;               /* it may be caught in, a bit each */
    uint64_t behind;             /* of them: because it would wait for another change */
};

#define BIT(i) (1u << (i))
#define DEV_BIT(d) (UINT64_C(1) << (d))

/* ---- what devices hold ---- */

static uint32_t share_of(const struct pool *p) { return MAX(p->nr * POLICY_SHARE_PCT / 100, 1u); }

void hold_begin(struct shard *s, struct hold *h, unsigned kinds, uint64_t devs)
{
    *h = (struct hold){.kinds = kinds};
    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        if (devs & DEV_BIT(d))
            hold_dev(s, h, d);
}

/* Whether there is room is not asked here: it has begun. Only an extent that moved, or lost its copy in the log, while the request waited
 * for checksums or for its range brings it to a device that it did not name before. */
void hold_dev(struct shard *s, struct hold *h, uint16_t dev)
{
    if (h->devs & DEV_BIT(dev))
        return;
    h->devs |= DEV_BIT(dev);
    for (unsigned k = 0; k < POOL_KIND_NR; k++)
        s->held[k][dev] += (h->kinds & BIT(k)) != 0;
}

void hold_end(struct shard *s, struct hold *h)
{
    for (uint16_t d = 0; h->devs != 0 && d < s->o.nr_capacity; d++)
        for (unsigned k = 0; (h->devs & DEV_BIT(d)) && k < POOL_KIND_NR; k++)
            if (h->kinds & BIT(k)) {
                assert(s->held[k][d] > 0);
                s->held[k][d]--;
            }
    *h = (struct hold){0};
}

bool runs_full(const struct shard *s, uint16_t dev) { return s->fg_in_flight[dev] >= share_of(&s->runs); }

static bool held_full(const struct shard *s, unsigned kind, uint16_t dev)
{
    return s->held[kind][dev] >= share_of(s->pool_of[kind]);
}

bool gate_waits(const struct shard *s, uint16_t dev)
{
    bool any = !list_empty(&s->runs_dev[dev]);

    if (s->nr_waiting == 0)
        return any;
    any |= !waits_empty(&s->writes_dev[dev]);
    for (unsigned k = 0; k < POOL_KIND_NR; k++)
        any |= !waits_empty(&s->held_wait[k][dev]);
    return any;
}

/* ---- what a request needs ---- */

static uint64_t devs_of_extent(const struct shard *s, uint32_t layer, uint64_t first, uint64_t last)
{
    uint32_t x = extent_find(&s->xt, layer, extent_no(first));
    const struct extent *e;

    uint64_t devs;

    if (x == EXTENT_NONE)
        return 0;
    e = extent_at(&s->xt, x);
    devs = e->twin != 0 ? DEV_BIT(twin_of(s, e)->place.dev) : 0;
    if (!extent_mapped(e))
        return devs;
    for (uint64_t b = first; b <= last; b++)
        if (e->nr_live == 0 || index_find(&s->ix, layer, b) == INDEX_NONE)
            return devs | DEV_BIT(e->place.dev);
    return devs;
}

/* The devices that reading these blocks takes now. */
static uint64_t devs_of_blocks(const struct shard *s, uint32_t layer, uint64_t first, uint64_t last)
{
    uint64_t devs = 0;

    for (uint64_t b = first; b <= last; b = ((uint64_t)extent_no(b) + 1) * EXTENT_BLOCKS)
        devs |= devs_of_extent(s, layer, b, MIN(last, ((uint64_t)extent_no(b) + 1) * EXTENT_BLOCKS - 1));
    return devs;
}

/* A change reads the blocks at its ends that it covers in part. */
static uint64_t devs_of_ends(const struct shard *s, const struct ask *a)
{
    uint32_t per = BLOCK_BYTES / a->io->priv.blk->lba_bytes;
    bool head = a->io->lba % per != 0, tail = (a->io->lba + a->io->nlb) % per != 0;
    uint64_t devs = 0;

    if (head || (tail && a->first == a->last))
        devs |= devs_of_blocks(s, a->layer, a->first, a->first);
    if (tail)
        devs |= devs_of_blocks(s, a->layer, a->last, a->last);
    return devs;
}

static unsigned kinds_of(const struct blk_io *io)
{
    if (io->priv.blk->lba_bytes != BLOCK_BYTES)
        return BIT(POOL_RMW) | (rmw_needs_buffer(io) ? BIT(POOL_RMW_BUF) : 0);
    return io->op == BLK_READ ? BIT(POOL_RIO) : io->op == BLK_WRITE ? BIT(POOL_WIO) : BIT(POOL_ZIO);
}

static struct ask ask_of(const struct shard *s, struct blk_io *io)
{
    const struct volume *v = container_of(io->priv.blk, struct volume, blk);
    uint64_t lba_bytes = v->blk.lba_bytes;
    struct ask a = {.io = io, .layer = (uint32_t)(uintptr_t)v->priv, .kinds = kinds_of(io),
                    .first = io->lba * lba_bytes / BLOCK_BYTES, .last = ((io->lba + io->nlb) * lba_bytes - 1) / BLOCK_BYTES};

    if ((a.kinds & BIT(POOL_WIO)) && bypass_needed(s, io))
        a.kinds |= BIT(POOL_BYPASS);
    if (io->op == BLK_READ) {
        a.devs = devs_of_blocks(s, a.layer, a.first, a.last);
    } else if (lba_bytes != BLOCK_BYTES) {
        a.behind = rmw_devs_before(s, a.layer, a.first, a.last);
        a.devs = devs_of_ends(s, &a) | a.behind;
    }
    return a;
}

/* ---- what it lacks ---- */

/* A newcomer passes nobody; one that comes from another queue passes those that are younger, else two of them could make each other
 * wait for ever. */
static bool must_wait(const struct waits *q, bool lacking, const struct ask *a, const struct waits *from)
{
    const struct blk_io *head = waits_first(q);

    return lacking || (q != from && head != NULL && (from == NULL || head->priv.start_ns < a->io->priv.start_ns));
}

static bool is_device_queue(const struct shard *s, const struct waits *q)
{
    return q >= &s->writes_dev[0] && q < &s->writes_dev[CAPACITY_DEVS_MAX];
}

/* The device in whose share there is no room for what it changes. */
static uint16_t share_lacking(const struct shard *s, const struct ask *a)
{
    return a->io->op == BLK_WRITE ? share_wanted(s, a->layer, a->first, a->last - a->first + 1) : zeroes_share_wanted(s, a->io);
}

static bool writes_wait(const struct shard *s) { return shard_writes_wait(s) || oldest_writes_wait(s); }

static int lacks_room(struct shard *s, const struct ask *a, struct waits *from, struct waits **queue)
{
    uint16_t dev;

    if (a->io->op == BLK_READ || s->failed != 0)
        return 0;
    if (a->io->op == BLK_WRITE && is_device_queue(s, from) && writes_wait(s)) {
        *queue = from; /* it has waited for all room there is once already */
        dev = share_lacking(s, a);
        return dev == EXTENT_NO_DEV || dev_usable(s, shard_capacity(s, dev)) ? 0 : -FIRN_E_DEVICE_FAILED;
    }
    if (a->io->op == BLK_WRITE && !is_device_queue(s, from) && must_wait(&s->writes_wait, writes_wait(s), a, from)) {
        *queue = &s->writes_wait;
        return 0;
    }
    dev = share_lacking(s, a);
    if (dev == EXTENT_NO_DEV)
        return 0;
    *queue = &s->writes_dev[dev];
    return dev_usable(s, shard_capacity(s, dev)) ? 0 : -FIRN_E_DEVICE_FAILED;
}

static int lacks_share(struct shard *s, const struct ask *a, uint16_t dev, const struct waits *from, struct waits **queue)
{
    bool usable = dev_usable(s, shard_capacity(s, dev));

    for (unsigned k = 0; k < POOL_KIND_NR && *queue == NULL; k++) {
        if (!(a->kinds & BIT(k)))
            continue;
        if (usable && must_wait(&s->held_wait[k][dev], held_full(s, k, dev), a, from))
            *queue = &s->held_wait[k][dev];
        if (!usable && (a->behind & DEV_BIT(dev)) && held_full(s, k, dev))
            return -FIRN_E_DEVICE_FAILED;
    }
    return 0;
}

/* The queue in which it has to wait, NULL if it may begin; or the error with which it is answered. from: the one that it heads, or NULL. */
static int lacks(struct shard *s, const struct ask *a, struct waits *from, struct waits **queue)
{
    int err;

    *queue = NULL;
    err = lacks_room(s, a, from, queue);
    for (uint16_t d = 0; err == 0 && *queue == NULL && d < s->o.nr_capacity; d++)
        if (a->devs & DEV_BIT(d))
            err = lacks_share(s, a, d, from, queue);
    for (unsigned k = 0; err == 0 && *queue == NULL && k < POOL_KIND_NR; k++)
        if ((a->kinds & BIT(k)) && must_wait(&s->pool_wait[k], pool_is_empty(s->pool_of[k]), a, from))
            *queue = &s->pool_wait[k];
    return err;
}

/* ---- in, and on ---- */

static void begin(struct shard *s, const struct ask *a)
{
    if (a->io->priv.blk->lba_bytes != BLOCK_BYTES)
        rmw_start(s, a->layer, a->io, a->kinds, a->devs);
    else if (a->io->op == BLK_READ)
        read_start(s, a->layer, a->io, a->kinds, a->devs);
    else
        write_start(s, a->layer, a->io);
}

/* False: it heads `from`, and stays. */
static bool go_on(struct shard *s, struct blk_io *io, struct waits *from)
{
    struct ask a = ask_of(s, io);
    struct waits *to;
    int err = lacks(s, &a, from, &to);

    if (err == 0 && to != NULL && to == from)
        return false;
    if (from != NULL)
        io_wait_over(s, io);
    if (err != 0) {
        write_count(s, io, err);
        shard_io_later(s, io, err);
    } else if (to != NULL) {
        io_wait(s, to, io);
    } else {
        begin(s, &a);
    }
    return true;
}

static void resume(struct shard *s, struct waits *q)
{
    while (!waits_empty(q) && go_on(s, waits_first(q), q))
        ;
}

void gate_submit(struct shard *s, struct blk_io *io)
{
    bypass_arrived(s, io);
    if (io->op == BLK_WRITE)
        shard_calm_look(s);
    go_on(s, io, NULL);
    if (io->priv.u[0] != IO_WAITS)
        return;
    if (io->op != BLK_READ)
        figure_add(&s->stats.write_waits, 1);
    shard_kick(s);
}

void gate_resume(struct shard *s)
{
    if (s->nr_waiting == 0) /* as in nearly every pass */
        return;
    for (uint16_t d = 0; d < s->o.nr_capacity; d++) {
        for (unsigned k = 0; k < POOL_KIND_NR; k++)
            resume(s, &s->held_wait[k][d]);
        resume(s, &s->writes_dev[d]);
    }
    for (unsigned k = 0; k < POOL_KIND_NR; k++)
        resume(s, &s->pool_wait[k]);
    resume(s, &s->writes_wait);
}

void gate_init(struct shard *s)
{
    struct pool *pools[POOL_KIND_NR] = {[POOL_RIO] = &s->rios, [POOL_RMW] = &s->rmws, [POOL_RMW_BUF] = &s->rmw_bufs,
                                        [POOL_WIO] = &s->wios, [POOL_ZIO] = &s->zios, [POOL_BYPASS] = &s->bypasses};

    memcpy(s->pool_of, pools, sizeof(pools));
    waits_init(&s->writes_wait);
    for (unsigned k = 0; k < POOL_KIND_NR; k++)
        waits_init(&s->pool_wait[k]);
    for (uint16_t d = 0; d < CAPACITY_DEVS_MAX; d++) {
        waits_init(&s->writes_dev[d]);
        list_init(&s->runs_dev[d]);
        for (unsigned k = 0; k < POOL_KIND_NR; k++)
            waits_init(&s->held_wait[k][d]);
    }
}

void gate_verify(const struct shard *s)
{
    uint32_t nr = waits_verify(&s->writes_wait);

    for (unsigned k = 0; k < POOL_KIND_NR; k++)
        nr += waits_verify(&s->pool_wait[k]);
    for (uint16_t d = 0; d < s->o.nr_capacity; d++) {
        nr += waits_verify(&s->writes_dev[d]);
        for (unsigned k = 0; k < POOL_KIND_NR; k++)
            nr += waits_verify(&s->held_wait[k][d]);
    }
    assert(nr == s->nr_waiting);
}
