/* SPDX-License-Identifier: Apache-2.0 */
/* traffic.c: hosts. Each slot sends one request at a time, judges the answer, thinks, and sends the next.
 *
 * 1. A slot draws a volume, an operation and a range; a write is announced to the oracle before it is sent.
 * 2. The answer: data of a read is judged; a write is acknowledged to the oracle, or ends in doubt.
 * 3. An error must be one that the seed's troubles allow.
 */
#include "tools/sim/world.h"

#include "base/crc32c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void slot_tick(struct sim_event *ev);

void traffic_init(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.slots; i++) {
        struct slot *s = &w->slot[i];

        s->w = w;
        s->tick.fn = slot_tick;
        s->buf = aligned_alloc(4096, WORLD_IO_MAX);
        assert(s->buf != NULL);
    }
}

void traffic_fini(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.slots; i++)
        free(w->slot[i].buf);
}

static void slot_think(struct slot *s)
{
    struct world *w = s->w;

    sim_at(w->sim, &s->tick, sim_now_ns(w->sim) + sim_between(w->sim, 0, w->plan.think_max_ns));
}

void traffic_start(struct world *w)
{
    w->traffic = true;
    for (uint32_t i = 0; i < w->plan.slots; i++)
        slot_think(&w->slot[i]);
}

void traffic_crashed(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.slots; i++)
        w->slot[i].vol = w->slot[i].again = NULL;
    for (uint32_t i = 0; i < WORLD_VOLUMES; i++) {
        w->vol[i].in_flight = 0;
        w->vol[i].quiet = false;
        if (w->vol[i].oracle != NULL)
            oracle_crash(w->vol[i].oracle);
    }
    w->traffic = false;
}

bool traffic_idle(void *ctx)
{
    struct world *w = ctx;

    for (uint32_t i = 0; i < w->plan.slots; i++)
        if (w->slot[i].vol != NULL)
            return false;
    return true;
}

/* ---- drawing a request ---- */

static struct vol *draw_volume(struct world *w)
{
    uint32_t start = (uint32_t)sim_below(w->sim, WORLD_VOLUMES);

    for (uint32_t i = 0; i < WORLD_VOLUMES; i++) {
        struct vol *v = &w->vol[(start + i) % WORLD_VOLUMES];

        if (v->state == VOL_LIVE && !v->quiet)
            return v;
    }
    return NULL;
}

static enum blk_op draw_op(struct world *w)
{
    uint32_t sum = 0, r;
    int op = 0;

    for (int i = 0; i < BLK_OP_NR; i++)
        sum += w->plan.weight[i];
    r = (uint32_t)sim_below(w->sim, sum);
    while (r >= w->plan.weight[op])
        r -= w->plan.weight[op++];
    return (enum blk_op)op;
}

static uint64_t draw_length(struct world *w, const struct vol *v, enum blk_op op)
{
    uint64_t unit = v->params.lba_bytes, max = MIN(w->plan.io_max_bytes, v->blk->max_io_bytes) / unit;
    uint64_t per_block = BLOCK_BYTES / unit;

    if ((op == BLK_DISCARD || op == BLK_WRITE_ZEROES) && sim_chance(w->sim, 500000))
        return sim_between(w->sim, 1, 2 * EXTENT_BYTES / unit);
    if (sim_chance(w->sim, 700000))
        return sim_between(w->sim, 1, MIN(max, 4 * per_block));
    return sim_between(w->sim, 1, MIN(max, 64 * per_block));
}

/* A discard may leave the odd ends of a range as they were, so hosts here discard whole blocks. */
static void whole_blocks(struct slot *s)
{
    uint64_t per_block = BLOCK_BYTES / s->vol->params.lba_bytes;

    s->unit = ROUND_DOWN(s->unit, per_block);
    s->nr = MAX(ROUND_DOWN(s->nr, per_block), per_block);
}

/* A stream begins again where it began, at the volume's end. Some go on within the block in which they ended; most consist of long
 * writes of whole blocks. */
static void go_on(struct world *w, struct slot *s, uint64_t units)
{
    uint64_t *end = &s->stream_end[s->vol - w->vol], unit_bytes = s->vol->params.lba_bytes, per_block = BLOCK_BYTES / unit_bytes;
    uint64_t most = MIN(w->plan.io_max_bytes, s->vol->blk->max_io_bytes) / BLOCK_BYTES;

    if (sim_below(w->sim, 100) < w->plan.stream_pct) {
        s->unit = *end < units ? *end : 0;
        if (s->unit > 0 && w->plan.stream_laps && sim_chance(w->sim, 700000))
            s->unit--;
        if (sim_chance(w->sim, 800000)) {
            s->unit = ROUND_DOWN(s->unit, per_block);
            s->nr = sim_between(w->sim, MIN(4, most), MIN(64, most)) * per_block;
        }
        s->nr = MIN(s->nr, units - s->unit);
    }
    *end = s->unit + s->nr;
}

static void draw_range(struct world *w, struct slot *s)
{
    uint64_t units = oracle_units(s->vol->oracle), from = 0, span = units, per_block = BLOCK_BYTES / s->vol->params.lba_bytes;

    s->nr = draw_length(w, s->vol, s->io.op);
    s->nr = MIN(s->nr, units);
    if (sim_below(w->sim, 100) < w->plan.hot_pct)
        span = MAX(units / 8, s->nr);
    s->unit = from + sim_below(w->sim, span - s->nr + 1);
    if (sim_chance(w->sim, 600000)) { /* whole blocks, as file systems write */
        s->unit = ROUND_DOWN(s->unit, per_block);
        s->nr = MIN(ROUND_UP(s->nr, per_block), units - s->unit);
    }
    if (s->io.op == BLK_DISCARD)
        whole_blocks(s);
    if (s->io.op == BLK_WRITE && w->plan.stream_pct > 0)
        go_on(w, s, units);
}

static bool is_write(enum blk_op op) { return op == BLK_WRITE || op == BLK_WRITE_ZEROES || op == BLK_DISCARD; }

/* Most hosts never write where a write is under way; then the order of two writes is never in doubt. */
static bool range_busy(const struct world *w, const struct slot *s)
{
    for (uint32_t i = 0; i < w->plan.slots; i++) {
        const struct slot *o = &w->slot[i];

        if (o != s && o->vol == s->vol && is_write(o->io.op) && o->unit < s->unit + s->nr && s->unit < o->unit + o->nr)
            return true;
    }
    return false;
}

/* ---- the answer ---- */

bool world_error_allowed(struct world *w, enum blk_op op, int err)
{
    if (err == -ECONNRESET)
        return w->plan.profile == PROFILE_NETWORK;
    if (op == BLK_READ || err == -FIRN_E_DAMAGED) /* a small write reads the block around it */
        return w->damaged || w->device_failed || w->plan.profile == PROFILE_TRANSIENT || w->plan.profile == PROFILE_SLOW;
    if (err == -FIRN_E_NO_SPACE) {
        w->was_full = true;
        sim_fault_fired(w->sim, SIM_POOL_FULL);
        sim_fault_mattered(w->sim, SIM_POOL_FULL);
        return w->plan.profile == PROFILE_FULL;
    }
    return w->damaged || w->device_failed || w->meta_failed || w->plan.profile == PROFILE_SLOW ||
           w->plan.profile == PROFILE_TRANSIENT;
}

static void read_answered(struct slot *s)
{
    struct world *w = s->w;
    char why[256];

    if (s->io.err != 0) {
        oracle_read_end(s->vol->oracle, s->begun);
        w->blocks_refused += s->io.err != -ECONNRESET;
        return;
    }
    w->res->blocks_checked += s->nr * s->vol->params.lba_bytes / BLOCK_BYTES;
    if (oracle_read_check(s->vol->oracle, s->begun, s->unit, s->nr, s->buf, why) != 0)
        world_fail(w, "wrong data of %s: %s", s->vol->params.name, why);
}

static void tell_watched(const struct slot *s, const char *what)
{
    static const char *const ops[BLK_OP_NR] = {"read", "write", "flush", "write zeroes", "discard"};
    struct world *w = s->w;
    uint64_t unit = w->opts->watch;

    if (unit >= s->unit && unit < s->unit + s->nr)
        world_say(w, "%s: %s units %" PRIu64 "+%" PRIu64 " version %" PRIu64 " %s, err %d", s->vol->params.name, ops[s->io.op],
                  s->unit, s->nr, is_write(s->io.op) ? s->version : 0, what, s->io.err);
}

void traffic_complete(struct slot *s)
{
    struct world *w = s->w;
    struct vol *v = s->vol;

    assert(v != NULL && v->in_flight > 0);
    tell_watched(s, "answered");
    v->in_flight--;
    w->ops_done++;
    w->res->ops++;
    if (s->io.err != 0 && !world_error_allowed(w, s->io.op, s->io.err))
        world_fail(w, "%s: operation %d of units %" PRIu64 "+%" PRIu64 " answered: %s", v->params.name, (int)s->io.op,
                   s->unit, s->nr, err_text(s->io.err));
    if (s->io.op == BLK_READ)
        read_answered(s);
    else if (is_write(s->io.op))
        oracle_write_end(v->oracle, s->version, s->unit, s->nr,
                         s->io.err == 0 ? ORACLE_ACKED : s->io.err == -ECONNRESET ? ORACLE_OVER : ORACLE_FAILED);
    sim_trace_mix(w->sim, (s->unit << 8) ^ s->nr ^ ((uint64_t)s->io.op << 56) ^ (uint64_t)(s->io.err != 0));
    s->vol = NULL;
    mischief_act(w);
    slot_think(s);
}

static void slot_answered(struct blk_io *io)
{
    traffic_complete(container_of(io, struct slot, io));
}

/* ---- sending ---- */

static void slot_iov(struct slot *s)
{
    uint64_t bytes = s->nr * s->vol->params.lba_bytes, cut = 0;

    if (bytes > BLOCK_BYTES && sim_chance(s->w->sim, 300000))
        cut = sim_between(s->w->sim, 1, (bytes - 1) / BLOCK_BYTES) * BLOCK_BYTES;
    s->iov[0] = (struct iovec){s->buf, cut == 0 ? bytes : cut};
    s->iov[1] = (struct iovec){s->buf + cut, bytes - cut};
    s->io.iov = s->iov;
    s->io.iovcnt = cut == 0 ? 1 : 2;
}

static void slot_prepare(struct slot *s)
{
    s->io.lba = s->unit;
    s->io.nlb = (uint32_t)s->nr;
    s->io.cb = slot_answered;
    s->io.ctx = s->w;
    switch (s->io.op) {
    case BLK_READ:
        slot_iov(s);
        s->begun = oracle_read_begin(s->vol->oracle);
        break;
    case BLK_WRITE:
        slot_iov(s);
        s->version = oracle_write_begin(s->vol->oracle, s->unit, s->nr, false);
        oracle_fill(s->vol->oracle, s->version, s->unit, s->nr, s->buf);
        break;
    case BLK_WRITE_ZEROES:
    case BLK_DISCARD:
        s->version = oracle_write_begin(s->vol->oracle, s->unit, s->nr, true);
        break;
    case BLK_FLUSH:
        s->io.lba = 0;
        s->io.nlb = 0;
        break;
    case BLK_OP_NR:
        assert(false);
    }
}

static void slot_send(struct slot *s)
{
    s->vol->in_flight++;
    tell_watched(s, "sent");
    if (s->vol->host != NULL)
        net_host_submit(s->vol->host, s);
    else
        blk_submit(s->vol->blk, &s->io);
}

/* What to do next, or false. */
static bool slot_draw(struct slot *s)
{
    struct vol *again = s->again;

    memset(&s->io, 0, sizeof(s->io));
    s->again = NULL;
    if (again != NULL && again->state == VOL_LIVE && !again->quiet) {
        s->vol = again;
        s->io.op = BLK_WRITE;
        return true;
    }
    s->vol = draw_volume(s->w);
    if (s->vol == NULL)
        return false;
    s->io.op = draw_op(s->w);
    draw_range(s->w, s);
    return true;
}

static void slot_tick(struct sim_event *ev)
{
    struct slot *s = container_of(ev, struct slot, tick);
    struct world *w = s->w;

    if (!w->traffic || w->tier == NULL || world_dead(w))
        return;
    if (!slot_draw(s)) {
        slot_think(s);
        return;
    }
    if (is_write(s->io.op) && !w->plan.overlap && range_busy(w, s)) {
        s->vol = NULL;
        slot_think(s);
        return;
    }
    slot_prepare(s);
    slot_send(s);
}

/* ---- reading everything ---- */

static bool slot_idle(void *ctx) { return ((struct slot *)ctx)->vol == NULL; }

/* One request with a slot, waited for. */
static int read_once(struct world *w, struct vol *v, uint64_t unit, uint64_t nr)
{
    struct slot *s = &w->slot[0];
    int err;

    memset(&s->io, 0, sizeof(s->io));
    s->io.op = BLK_READ;
    s->vol = v;
    s->unit = unit;
    s->nr = nr;
    slot_prepare(s);
    slot_send(s);
    err = sim_run_until(w->sim, slot_idle, s, 600 * NS_PER_S);
    if (err != 0 && err != -FIRN_E_STOPPED)
        world_fail(w, "a read of %s units %" PRIu64 "+%" PRIu64 " never came back", v->params.name, unit, nr);
    return err != 0 ? err : s->io.err;
}

static void read_volume(struct world *w, struct vol *v)
{
    uint64_t step = MIN(w->plan.io_max_bytes, 64u * 1024u) / v->params.lba_bytes, per_block = BLOCK_BYTES / v->params.lba_bytes;

    for (uint64_t at = 0, n; at < oracle_units(v->oracle) && !world_dead(w) && !sim_crashed(w->sim); at += n) {
        n = MIN(step, oracle_units(v->oracle) - at);
        if (read_once(w, v, at, n) == 0)
            continue;
        for (uint64_t b = 0; b < n && !world_dead(w) && !sim_crashed(w->sim); b += per_block)
            read_once(w, v, at + b, MIN(per_block, n - b)); /* the error is for that block alone */
    }
}

void traffic_read_all(struct world *w)
{
    bool was = w->traffic;

    w->traffic = false;
    for (uint32_t i = 0; i < WORLD_VOLUMES; i++)
        if (w->vol[i].state == VOL_LIVE)
            read_volume(w, &w->vol[i]);
    w->traffic = was;
}
