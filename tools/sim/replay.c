/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c: the requests of a trace, one after the other or all at their time.
 *
 * 1. Requests arrive in the trace's order; their latency counts from then.
 * 2. They are begun in that order, as long as memory for their data lasts (a host has no endless queue either).
 * 3. One that is longer than a command may be is cut into several; it is answered when all are.
 * 4. Each written block carries {magic, block, number of the request}; each block read is judged by what was written to it.
 * Failures: an error, or a wrong block, ends the run: nothing here may fail.
 *
 * Which blocks are right: requests that are under way together may be carried out in any order. `floor` of a block is
 * the oldest request whose bytes it may still hold: all before it were answered before a later write of that block began,
 * which was answered as well.
 */
#include "tools/sim/replay.h"

#include "base/limits.h"
#include "tools/sim/replay_pool.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#define STAMP_MAGIC    UINT64_C(0x706d6174736e7266)
#define IN_FLIGHT_MAX  (256 * MIB) /* of data; one request always goes */
#define PATIENCE_NS    (3600 * NS_PER_S) /* for one answer to come after the one before */

struct stamp { uint64_t magic, block, no; }; /* no: number of the request, from 1; the rest of the block is zeros */

struct piece { struct blk_io io; struct iovec iov; struct op *op; };

struct op {                       /* a request under way */
    struct replay *r;
    size_t    i;                  /* its number in the trace, from 0 */
    uint64_t  first;              /* block */
    uint32_t  nr;                 /* blocks */
    uint32_t  left;               /* pieces without an answer */
    size_t    oldest;             /* requests before this one had been answered when it began */
    uint8_t  *buf;
    uint32_t *floor;              /* reads: of each block, when it began */
    struct list node;             /* replay.ops */
    struct piece piece[];
};

struct replay {
    struct replay_pool pool;
    const struct trace *t;
    bool      closed;
    struct score *score;
    struct sim_event arrival;     /* of the next request that has a time */
    uint64_t  t0_ns;
    size_t    arrived, begun, answered;
    size_t    oldest;             /* all before it were answered */
    uint64_t  in_flight_bytes;
    struct list ops;              /* under way */
    bool     *done;               /* a request */
    uint32_t *floor;              /* a touched block */
    bool      broken;
    char     *why;
};

static void PRINTF_LIKE(2, 3) broke(struct replay *r, const char *fmt, ...)
{
    va_list ap;

    if (r->broken)
        return;
    r->broken = true;
    va_start(ap, fmt);
    vsnprintf(r->why, 256, fmt, ap);
    va_end(ap);
}

/* ---- data ---- */

static void stamp_all(struct op *op)
{
    memset(op->buf, 0, (size_t)op->nr * BLOCK_BYTES);
    for (uint32_t b = 0; b < op->nr; b++) {
        struct stamp s = {STAMP_MAGIC, op->first + b, op->i + 1};

        memcpy(op->buf + (size_t)b * BLOCK_BYTES, &s, sizeof(s));
    }
}

static void remember_floor(struct op *op)
{
    const uint32_t *from = op->r->floor + trace_rank(op->r->t, op->first);

    memcpy(op->floor, from, op->nr * sizeof(*from)); /* a request's blocks are one run */
}

static void raise_floor(struct op *op)
{
    uint32_t *floor = op->r->floor + trace_rank(op->r->t, op->first);
    uint32_t to = (uint32_t)MIN(op->i, op->oldest) + 1;

    for (uint32_t b = 0; b < op->nr; b++)
        floor[b] = MAX(floor[b], to);
}

static void judge(struct op *op)
{
    for (uint32_t b = 0; b < op->nr; b++) {
        struct stamp s;

        memcpy(&s, op->buf + (size_t)b * BLOCK_BYTES, sizeof(s));
        if (s.no == 0 && s.magic == 0 && s.block == 0 && op->floor[b] == 0)
            continue;
        if (s.magic != STAMP_MAGIC || s.block != op->first + b || s.no < op->floor[b] || s.no > op->r->begun)
            broke(op->r, "request %zu: block %" PRIu64 " holds what request %" PRIu64 " wrote to block %" PRIu64
                  "; it may hold nothing older than request %u", op->i + 1, op->first + b, s.no, s.block, op->floor[b]);
    }
}

/* ---- one request ---- */

static void arrive(struct replay *r);

static void op_free(struct op *op)
{
    op->r->in_flight_bytes -= (uint64_t)op->nr * BLOCK_BYTES;
    list_remove(&op->node);
    free(op->buf);
    free(op->floor);
    free(op);
}

static void answered(struct op *op)
{
    struct replay *r = op->r;

    if (r->t->req[op->i].write)
        raise_floor(op);
    else
        judge(op);
    r->score->latency_ns[op->i] = sim_now_ns(r->pool.sim) - r->score->latency_ns[op->i];
    r->done[op->i] = true;
    r->answered++;
    while (r->oldest < r->begun && r->done[r->oldest])
        r->oldest++;
    op_free(op);
    arrive(r);
}

static void piece_done(struct blk_io *io)
{
    struct op *op = container_of(io, struct piece, io)->op;

    if (io->err != 0)
        broke(op->r, "request %zu: %s", op->i + 1, err_text(io->err));
    if (--op->left == 0)
        answered(op);
}

static void submit(struct op *op, bool write)
{
    struct blk *blk = op->r->pool.blk;
    uint32_t most = op->r->pool.io_blocks[write], pieces = op->left;

    for (uint32_t p = 0; p < pieces; p++) {
        struct piece *x = &op->piece[p];
        uint32_t at = p * most, n = MIN(most, op->nr - at);

        x->op = op;
        x->iov = (struct iovec){op->buf + (size_t)at * BLOCK_BYTES, (size_t)n * BLOCK_BYTES};
        x->io = (struct blk_io){.op = write ? BLK_WRITE : BLK_READ, .lba = op->first + at, .nlb = n, .iov = &x->iov, .iovcnt = 1,
                                .cb = piece_done};
        blk_submit(blk, &x->io);
    }
}

static void begin(struct replay *r, size_t i)
{
    const struct trace_req *q = &r->t->req[i];
    uint32_t nr = (uint32_t)(trace_last(q) - trace_first(q) + 1), most = r->pool.io_blocks[q->write];
    uint32_t pieces = (nr + most - 1) / most;
    struct op *op = calloc(1, sizeof(*op) + pieces * sizeof(op->piece[0]));

    assert(op != NULL);
    *op = (struct op){.r = r, .i = i, .first = trace_first(q), .nr = nr, .left = pieces, .oldest = r->oldest};
    op->buf = aligned_alloc(BLOCK_BYTES, (size_t)nr * BLOCK_BYTES);
    op->floor = q->write ? NULL : malloc(nr * sizeof(*op->floor));
    assert(op->buf != NULL && (q->write || op->floor != NULL));
    r->in_flight_bytes += (uint64_t)nr * BLOCK_BYTES;
    list_push_back(&r->ops, &op->node);
    if (q->write) {
        stamp_all(op);
        r->score->writes++;
        r->score->blocks_written += nr;
    } else {
        remember_floor(op);
        r->score->reads++;
        r->score->blocks_read += nr;
    }
    submit(op, q->write);
}

/* ---- all of them ---- */

static void begin_more(struct replay *r)
{
    while (r->begun < r->arrived && (r->in_flight_bytes == 0 || r->in_flight_bytes + r->t->req[r->begun].len_bytes <= IN_FLIGHT_MAX))
        begin(r, r->begun++);
}

/* Of a request, in microseconds; -1: none, it waits for the one before it. */
static int64_t time_of(const struct replay *r, size_t i) { return r->closed ? -1 : r->t->req[i].t_us; }

/* Takes in every request whose time has come. */
static void arrive(struct replay *r)
{
    uint64_t now = sim_now_ns(r->pool.sim);

    for (; r->arrived < r->t->nr; r->arrived++) {
        int64_t t_us = time_of(r, r->arrived);
        uint64_t due = t_us < 0 ? 0 : r->t0_ns + (uint64_t)t_us * NS_PER_US;

        if (t_us < 0 && r->arrived > 0 && !r->done[r->arrived - 1])
            break;
        if (due > now) {
            if (r->arrival.heap_pos == 0)
                sim_at(r->pool.sim, &r->arrival, due);
            break;
        }
        r->score->latency_ns[r->arrived] = now;
    }
    begin_more(r);
}

static void arrival_due(struct sim_event *ev) { arrive(container_of(ev, struct replay, arrival)); }

static bool over(void *ctx)
{
    struct replay *r = ctx;

    return r->broken || r->answered == r->t->nr;
}

static int run_trace(struct replay *r)
{
    struct sim *s = r->pool.sim;
    int64_t last = 0;
    int err;

    for (size_t i = 0; i < r->t->nr; i++)
        last = MAX(last, time_of(r, i));
    r->t0_ns = sim_now_ns(s);
    arrive(r);
    err = sim_run_until(s, over, r, (uint64_t)last * NS_PER_US + r->t->nr * NS_PER_S + PATIENCE_NS);
    r->score->run_ns = sim_now_ns(s) - r->t0_ns;
    if (err != 0)
        broke(r, "%zu of %zu requests were answered and then no more", r->answered, r->t->nr);
    return r->broken ? err != 0 ? err : -FIRN_E_CORRUPT : 0;
}

static void make_score(struct replay *r, const struct replay_opts *o)
{
    *r->score = (struct score){.requests = o->trace->nr, .span_bytes = ROUND_UP(o->trace->end_bytes, GIB),
                               .footprint_bytes = o->trace->blocks * BLOCK_BYTES, .ssd_bytes = o->ssd_bytes, .nr_hdd = o->nr_hdd,
                               .closed = o->closed};
    r->score->latency_ns = calloc(o->trace->nr, sizeof(uint64_t));
    r->done = calloc(o->trace->nr, sizeof(bool));
    r->floor = calloc(o->trace->blocks, sizeof(uint32_t));
    assert(r->score->latency_ns != NULL && r->done != NULL && r->floor != NULL && o->trace->nr < UINT32_MAX);
}

int replay_run(const struct replay_opts *o, struct score *out, char why[static 256])
{
    struct replay *r = calloc(1, sizeof(*r));
    int err;

    assert(r != NULL && o->nr_hdd >= 1 && o->nr_hdd <= REPLAY_HDDS_MAX && o->ssd_bytes % BLOCK_BYTES == 0);
    r->t = o->trace;
    r->closed = o->closed;
    r->score = out;
    r->why = why;
    r->arrival.fn = arrival_due;
    list_init(&r->ops);
    make_score(r, o);
    err = replay_pool_open(&r->pool, o, out, why);
    if (err == 0)
        err = replay_pool_count(&r->pool, why);
    if (err == 0)
        err = run_trace(r);
    if (err == 0)
        err = replay_pool_flush(&r->pool, why);
    if (err == 0)
        score_finish(out);
    replay_pool_close(&r->pool);
    while (!list_empty(&r->ops)) /* after a failure */
        op_free(list_entry(r->ops.next, struct op, node));
    free(r->done);
    free(r->floor);
    free(r);
    return err;
}
