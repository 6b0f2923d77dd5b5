/* SPDX-License-Identifier: Apache-2.0 */
/* shard.c: a shard's pass, and what its flows ask of it. The flows are in the files that priv.h names; birth and end in shard_life.c.
 *
 * One pass (shard_work) answers what ended inside a submission, starts what waits for a pool or for space, and gives zeroes,
 * deletions, reclaim and mover a bounded step each. It runs when something kicked it or a timer that they asked for is due.
 * Before the first shard_start() it takes deletions on and nothing else, which need no device: what a start leaves in flight at one
 * would end in a ring that nobody looks into any more, when the reactor is given to its thread.
 */
#include <errno.h>

#include "base/log.h"
#include "tier/bypass.h"
#include "tier/describe.h"
#include "tier/fetch.h"
#include "tier/forget.h"
#include "tier/gate.h"
#include "tier/heat_meta.h"
#include "tier/map.h"
#include "tier/marks.h"
#include "tier/migrate.h"
#include "tier/mover.h"
#include "tier/oldest.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/quota.h"
#include "tier/read.h"
#include "tier/reclaim.h"
#include "tier/rmw.h"
#include "tier/write.h"

#define RECLAIM_STEPS   16 /* a pass */

/* ---- answers ---- */

void shard_kick(struct shard *s)
{
    if (!s->work.queued && s->opened)
        env_defer(s->env, &s->work);
}

void shard_io_done(struct shard *s, struct blk_io *io, int err)
{
    struct blk *b = io->priv.blk;
    struct volume *v = container_of(b, struct volume, blk);

    assert(s->in_flight > 0 && v->in_flight > 0);
    s->in_flight--;
    v->in_flight--;
    blk_io_done(b, io, err);
    shard_kick(s);
}

void shard_io_later(struct shard *s, struct blk_io *io, int err)
{
    io->err = err;
    list_push_back(&s->ios_done, &io->priv.node);
    shard_kick(s);
}

static void answer(struct shard *s)
{
    struct list ios, rios, *n;

    list_init(&ios);
    list_init(&rios);
    list_splice_back(&ios, &s->ios_done);
    list_splice_back(&rios, &s->rios_done);
    while ((n = list_pop_front(&ios)) != NULL) {
        struct blk_io *io = list_entry(n, struct blk_io, priv.node);

        shard_io_done(s, io, io->err);
    }
    while ((n = list_pop_front(&rios)) != NULL) {
        struct rio *r = list_entry(n, struct rio, node);

        r->cb(r);
    }
}

void shard_fail(struct shard *s, int err)
{
    if (s->failed == 0) {
        if (err == -FIRN_E_META && !s->stopping) /* at the end of a start that failed, the metadata is closed already */
            s->fail_cause = meta_failed(s->o.meta);
        log_error("a shard takes no more writes", "shard=%u err=\"%s\" cause=\"%s\"", s->o.no, err_text(err),
                  err_text(s->fail_cause != 0 ? s->fail_cause : err));
        __atomic_store_n(&s->failed, err, __ATOMIC_RELEASE);
    }
    if (s->j != NULL) /* appends that wait for a segment would wait for ever */
        journal_give_up(s->j, err);
    shard_kick(s);
}

void shard_batch_over(struct shard *s, int err)
{
    if (err != 0)
        shard_fail(s, -FIRN_E_META);
    else
        figure_add(&s->stats.meta_batches, 1);
    shard_kick(s);
}

/* Once a device and shard: until the next start it is used only when there is no other. */
void shard_degrade(struct shard *s, uint16_t dev, int err)
{
    const struct dev *d = shard_capacity(s, dev);
    bool full = err == -ENOSPC || err == -EDQUOT;

    if (s->degraded[dev])
        return;
    __atomic_store_n(&s->degraded[dev], true, __ATOMIC_RELAXED);
    log_error("a capacity device is degraded: it refused a write", "device=\"%s\" shard=%u error=\"%s\" do=\"%s\"",
              d != NULL ? d->path : "", s->o.no, err_text(err),
              full ? "make room where this file lies, then restart firnd"
                   : "see the kernel's log, repair or replace it, then restart firnd");
}

/* ---- figures that flows ask for ---- */

bool dev_usable(const struct shard *s, const struct dev *d)
{
    return d != NULL && dev_oldest_ns(d) <= s->t.io_deadline_ns;
}

struct dev *shard_segment_dev(const struct shard *s, uint32_t segment)
{
    uint32_t area = segpool_at(s->o.segpool, segment).area;

    return area == 0 ? s->o.journal_dev : s->o.areas[area - 1];
}

struct dev *shard_capacity(const struct shard *s, uint16_t dev)
{
    return dev < s->o.nr_capacity ? s->o.capacity[dev] : NULL;
}

uint64_t shard_log_dirty(const struct shard *s) { return s->ix.nr_dirty - s->twin_live; }

bool shard_seeks(const struct shard *s, uint16_t dev)
{
    const struct dev *d = shard_capacity(s, dev);

    return d != NULL && d->caps.rotational;
}

/* One that hangs is not waited for. */
static bool disks_read_for_hosts(const struct shard *s)
{
    for (uint16_t d = 0; d < s->o.nr_capacity; d++)
        if (shard_seeks(s, d) && !s->hung[d] && figure_get(&turn_of(s, d)->fg) > 0)
            return true;
    return false;
}

static bool many_wait(const struct shard *s) { return s->writes_wait.nr >= POLICY_BURST_WRITES; }

bool shard_writes_wait(const struct shard *s)
{
    uint64_t dirty = shard_log_dirty(s) + s->writing_blocks;

    if (!policy_writes_wait(dirty, s->log_blocks, s->t.dirty_max_pct))
        return false;
    if (policy_writes_wait(dirty, s->log_blocks, policy_burst_pct(s->t.dirty_max_pct)))
        return true;
    return env_now_ns(s->env) > s->calm_ns + POLICY_BURST_NS || (!disks_read_for_hosts(s) && !many_wait(s));
}

void shard_calm_look(struct shard *s)
{
    if (policy_calm(shard_log_dirty(s) + s->writing_blocks, s->log_blocks, s->t.dirty_max_pct))
        s->calm_ns = env_now_ns(s->env);
}

/* ---- layers ---- */

uint32_t *layer_hash_head(const struct shard *s, uint64_t id)
{
    return &s->layer_hash[(id * UINT64_C(0x9e3779b97f4a7c15) >> 32) % LAYER_HASH];
}

uint32_t layer_find(const struct shard *s, uint64_t id)
{
    uint32_t l = *layer_hash_head(s, id);

    while (l != 0 && s->layer[l].id != id)
        l = s->layer[l].hash_next;
    return l;
}

int shard_attach(struct shard *s, struct volume *v)
{
    uint32_t l = s->layer_free;
    struct layer *y;

    if (layer_find(s, v->layer) != 0)
        return -FIRN_E_EXISTS;
    if (l != 0)
        s->layer_free = s->layer[l].hash_next;
    else if (s->layers_touched < LAYERS_MAX)
        l = ++s->layers_touched;
    else
        return -FIRN_E_NO_RESOURCES;
    y = layer_at(s, l);
    *y = (struct layer){.id = v->layer, .vol = v, .hash_next = *layer_hash_head(s, v->layer)};
    list_init(&y->ranges);
    list_init(&y->changed);
    list_init(&y->limited);
    *layer_hash_head(s, v->layer) = l;
    v->priv = (void *)(uintptr_t)l;
    quota_changed(s, l);
    return 0;
}

void shard_detach(struct shard *s, struct volume *v, void (*cb)(void *ctx, int err), void *ctx)
{
    uint32_t l = layer_find(s, v->layer);
    struct forget *f = pool_get(&s->forgets_pool);

    assert(l != 0 && v->in_flight == 0 && f != NULL); /* as many as there can be layers */
    if (s->served)
        shard_start(s);
    layer_at(s, l)->vol = NULL;
    quota_changed(s, l);
    *f = (struct forget){.s = s, .layer = l, .cursor = 1, .cb = cb, .ctx = ctx};
    list_push_back(&s->forgets, &f->node);
    shard_kick(s);
}

/* ---- requests ---- */

void shard_submit(struct shard *s, struct volume *v, struct blk_io *io)
{
    s->in_flight++;
    v->in_flight++;
    io_set_at(io, IO_BEGUN, NULL);
    if (!s->started)
        shard_start(s);
    if (s->stopping) {
        shard_io_later(s, io, -FIRN_E_STOPPED);
        return;
    }
    switch (io->op) {
    case BLK_READ:
        heat_io(s, v, io);
        gate_submit(s, io);
        return;
    case BLK_WRITE:
    case BLK_WRITE_ZEROES:
    case BLK_DISCARD:
        if (v->read_only) {
            shard_io_later(s, io, -FIRN_E_READ_ONLY);
            return;
        }
        if (io->op == BLK_WRITE)
            heat_io(s, v, io);
        gate_submit(s, io);
        return;
    case BLK_FLUSH: /* what was answered is durable */
        shard_io_later(s, io, s->failed);
        return;
    case BLK_OP_NR:
        break;
    }
    assert(false); /* blk_submit lets no other operation through */
}

/* ---- the pass ---- */

static bool work_left(struct shard *s)
{
    if (s->in_flight > 0 || mover_busy(s) || fetch_busy(s) || places_busy(s) || s->oldest.appending)
        return true;
    if (s->failed != 0) /* what is under way in the devices comes back; more will not happen */
        return s->rc.in_flight > 0 || s->rc.state == RECLAIM_COMMIT || s->tombs.committing || marks_busy(s) || heat_busy(s);
    if (reclaim_busy(s) || s->tombs.committing || !list_empty(&s->forgets) || !list_empty(&s->zeroes))
        return true;
    if (s->xt.side[EXTENT_SIDE_NO_DEVICE].nr > 0 || (s->drain_all && s->ix.nr_dirty > 0))
        return true;
    return describe_pending(s) || marks_busy(s) || heat_busy(s);
}

static void check_drained(struct shard *s)
{
    void (*cb)(void *ctx) = s->drain_cb;

    if (!s->draining || work_left(s))
        return;
    s->draining = false;
    s->drain_cb = NULL;
    s->started = false; /* background work rests until something is asked of the shard: a stop may follow */
    cb(s->drain_ctx);
}

/* ---- a volume's tier ---- */

void shard_set_tier(struct shard *s, struct volume *v, enum volume_tier tier)
{
    v->tier = tier;
    s->retier = 1;
    migrate_soon(s);
    shard_kick(s);
}

void shard_set_policy(struct shard *s, struct volume *v, const struct volume_policy *policy)
{
    v->policy = *policy;
    quota_changed(s, (uint32_t)(uintptr_t)v->priv);
}

uint64_t shard_segment_bytes(const struct shard *s)
{
    const struct segpool_geometry *geo = segpool_geometry(s->o.segpool);

    return (uint64_t)(places_segments(s) / geo->nr_shards) * geo->segment_bytes;
}

uint64_t shard_pin_max(const struct shard *s)
{
    const struct segpool_geometry *geo = segpool_geometry(s->o.segpool);

    return (uint64_t)(geo->nr_segments / geo->nr_shards) * geo->segment_bytes * s->t.pin_pct / 100;
}

/* True: more to do at once. */
static bool retier_step(struct shard *s)
{
    uint32_t end = MIN(s->retier + SCAN_BUDGET, s->xt.touched + 1);

    if (s->retier == 0)
        return false;
    for (; s->retier < end; s->retier++) {
        struct extent *e = extent_at(&s->xt, s->retier);

        if (e->layer == 0 || e->nr_dirty == 0)
            continue;
        map_tier(s, e);
        extent_relist(&s->xt, s->retier);
    }
    if (s->retier > s->xt.touched)
        s->retier = 0;
    return s->retier != 0;
}

static bool background(struct shard *s)
{
    bool more = false;

    if (!list_empty(&s->zeroes) || !list_empty(&s->zeroes_wait)) /* there hardly ever are */
        more |= zeroes_step(s);
    if (!list_empty(&s->forgets))
        more |= forgets_step(s);
    more |= oldest_step(s);
    more |= places_step(s);
    more |= retier_step(s);
    for (int i = 0; i < RECLAIM_STEPS; i++) {
        if (!reclaim_step(s))
            return more;
    }
    return true;
}

static void arm(struct shard *s, uint64_t at)
{
    if (at == UINT64_MAX)
        return;
    at = MAX(at, env_now_ns(s->env) + NS_PER_US);
    if (!env_timer_armed(&s->timer) || s->timer.deadline_ns > at)
        env_timer_arm(s->env, &s->timer, at);
}

static void sooner(uint64_t *at, uint64_t other) { *at = MIN(*at, other); }

static void shard_work(struct env_task *task)
{
    struct shard *s = container_of(task, struct shard, work);

    answer(s);
    rmws_resume(s);
    runs_resume(s);
    gate_resume(s);
    if (s->started && !s->stopping) {
        bool more = background(s);
        uint64_t at = migrate_step(s);

        sooner(&at, mover_step(s));
        sooner(&at, bypass_step(s));
        sooner(&at, marks_step(s));
        sooner(&at, heat_step(s));
        sooner(&at, oldest_look_ns(s));
        sooner(&at, reclaim_look_ns(s));
        sooner(&at, places_look_ns(s));
        arm(s, at);
        if (more)
            shard_kick(s);
    } else if (!s->served && !list_empty(&s->forgets) && forgets_step(s)) {
        shard_kick(s);
    }
    check_drained(s);
}

static void shard_timer(struct env_timer *t) { shard_kick(container_of(t, struct shard, timer)); }

void shard_pass_init(struct shard *s)
{
    s->work.fn = shard_work;
    s->timer.fn = shard_timer;
}

void shard_start(struct shard *s)
{
    s->started = s->served = true;
    shard_kick(s);
}

void shard_drain(struct shard *s, bool destage_all, void (*cb)(void *ctx), void *ctx)
{
    assert(!s->draining);
    s->draining = true;
    s->drain_all = destage_all;
    s->drain_began_ns = env_now_ns(s->env);
    s->drain_cb = cb;
    s->drain_ctx = ctx;
    mover_drain(s);
    shard_start(s);
}
