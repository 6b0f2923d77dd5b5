/* SPDX-License-Identifier: Apache-2.0 */
/* net_sim.c: two ends of a stream. Each direction is one buffer: bytes that have arrived, then bytes on their way.
 *
 * 1. A send puts bytes on their way as far as the buffer has room; it completes when all are there.
 * 2. From time to time a piece of any size arrives; a waiting receive completes with what is there.
 * 3. A shutdown lets the bytes before it through, then the reader sees the end.
 * Failures: a cut ends both ends at once, in the middle of a piece if it was planned so; on a half-open pair one end knows
 * and the other hears nothing any more.
 */
#include "tools/sim/priv.h"

#include <stdio.h>
#include <stdlib.h>

struct flow {
    uint8_t *buf;
    uint32_t len, arrived;   /* bytes in buf; the first `arrived` of them can be read */
    bool     fin, fin_arrived;
    bool     void_;          /* half-open: whatever is put in disappears */
    struct sim_event deliver;
    struct end *to;
};

struct end {
    struct net_conn  conn;
    struct sim_pipe *pipe;
    struct end      *other;
    struct flow      in;     /* what comes to this end */
    struct net_io   *rx, *tx;
    bool             fin_wanted; /* shutdown() came while a send was under way */
    bool             reset, closing, closed, attached;
    struct env_task  close_task;
    void           (*close_cb)(void *ctx);
    void            *close_ctx;
};

struct sim_pipe {
    struct sim         *sim;
    struct sim_net_opts opts;
    struct end          end[2];
    uint64_t            cut_after; /* bytes to arrive until then; 0: no plan */
};

static struct end *end_of(struct net_conn *c) { return container_of(c, struct end, conn); }

static void io_heard(struct env_task *t)
{
    struct net_io *io = container_of(t, struct net_io, priv.task);

    io->priv.busy = false;
    io->cb(io);
}

static void io_finish(struct end *e, struct net_io **slot, int64_t res)
{
    struct net_io *io = *slot;

    *slot = NULL;
    io->res = res;
    io->priv.task.fn = io_heard;
    io->priv.task.queued = false;
    env_post(e->conn.env, &io->priv.task);
}

static void end_reset(struct end *e);

/* ---- arriving ---- */

static void deliver_soon(struct end *e)
{
    struct sim_pipe *p = e->pipe;
    struct flow *f = &e->in;

    if (f->deliver.heap_pos != 0 || (f->len == f->arrived && (!f->fin || f->fin_arrived)))
        return;
    sim_at(p->sim, &f->deliver, p->sim->now_ns + sim_between(p->sim, p->opts.delay_min_ns, p->opts.delay_max_ns));
}

static uint64_t iov_len(const struct net_io *io)
{
    uint64_t n = 0;

    for (int i = 0; i < io->iovcnt; i++)
        n += io->iov[i].iov_len;
    return n;
}

static void take(struct flow *f, const struct net_io *io, uint32_t n)
{
    uint32_t at = 0;

    for (int i = 0; i < io->iovcnt && at < n; i++) {
        uint32_t part = (uint32_t)MIN((uint64_t)(n - at), io->iov[i].iov_len);

        memcpy(io->iov[i].iov_base, f->buf + at, part);
        at += part;
    }
    f->len -= n;
    f->arrived -= n;
    memmove(f->buf, f->buf + n, f->len);
}

static void send_more(struct end *e);

static void recv_try(struct end *e)
{
    struct flow *f = &e->in;

    if (e->rx == NULL)
        return;
    if (e->reset) {
        io_finish(e, &e->rx, -ECONNRESET);
    } else if (f->arrived != 0) {
        uint32_t n = (uint32_t)MIN((uint64_t)f->arrived, iov_len(e->rx));

        take(f, e->rx, n);
        e->conn.rx_bytes += n;
        io_finish(e, &e->rx, n);
        send_more(e->other);
    } else if (f->fin_arrived) {
        io_finish(e, &e->rx, 0);
    }
}

static uint32_t draw_piece(struct sim_pipe *p, uint32_t waiting)
{
    if (waiting > 1 && sim_chance(p->sim, p->opts.small_pieces)) {
        sim_fault_fired(p->sim, SIM_NET_SEGMENTED);
        sim_fault_mattered(p->sim, SIM_NET_SEGMENTED);
        return (uint32_t)sim_between(p->sim, 1, MIN(waiting, 64u));
    }
    return sim_chance(p->sim, 500000) ? waiting : (uint32_t)sim_between(p->sim, 1, waiting);
}

static void piece_arrives(struct sim_event *ev)
{
    struct flow *f = container_of(ev, struct flow, deliver);
    struct end *e = f->to;
    struct sim_pipe *p = e->pipe;
    uint32_t n = f->len == f->arrived ? 0 : draw_piece(p, f->len - f->arrived);

    if (e->closing && n != 0) { /* data for a socket that is no more */
        end_reset(e->other);
        return;
    }
    if (p->cut_after != 0 && n >= p->cut_after) {
        p->cut_after = 0;
        sim_pipe_cut(p);
        return;
    }
    p->cut_after -= p->cut_after != 0 ? n : 0;
    f->arrived += n;
    f->fin_arrived = f->fin && f->arrived == f->len;
    recv_try(e);
    deliver_soon(e);
}

/* ---- leaving ---- */

static uint32_t put(struct flow *f, struct net_io *io, uint32_t room)
{
    uint32_t n = 0;

    while (io->iovcnt > 0 && n < room) {
        uint32_t part = (uint32_t)MIN((uint64_t)(room - n), io->iov->iov_len);

        if (!f->void_)
            memcpy(f->buf + f->len + n, io->iov->iov_base, part);
        io->iov->iov_base = (char *)io->iov->iov_base + part;
        io->iov->iov_len -= part;
        n += part;
        if (io->iov->iov_len == 0) {
            io->iov++;
            io->iovcnt--;
        }
    }
    return n;
}

static void send_more(struct end *e)
{
    struct flow *f = &e->other->in;

    if (e->tx == NULL)
        return;
    if (e->reset) {
        io_finish(e, &e->tx, -ECONNRESET);
        return;
    }
    for (;;) {
        uint32_t n = put(f, e->tx, f->void_ ? 65536 : e->pipe->opts.buffer_bytes - f->len);

        if (!f->void_)
            f->len += n;
        e->tx->priv.done_bytes += n;
        e->conn.tx_bytes += n;
        if (n == 0 || e->tx->iovcnt == 0)
            break;
    }
    if (e->tx->iovcnt == 0) {
        io_finish(e, &e->tx, (int64_t)e->tx->priv.done_bytes);
        f->fin |= e->fin_wanted;
    }
    deliver_soon(e->other);
}

/* ---- verbs ---- */

static void net_sim_recv(struct net_conn *c, struct net_io *io)
{
    struct end *e = end_of(c);

    assert(e->rx == NULL && !e->closing && e->attached && iov_len(io) > 0);
    io->priv.busy = true;
    if (e->pipe->sim->crashed)
        return;
    e->rx = io;
    recv_try(e);
}

static void net_sim_send(struct net_conn *c, struct net_io *io)
{
    struct end *e = end_of(c);

    assert(e->tx == NULL && !e->closing && e->attached && !e->fin_wanted && iov_len(io) > 0);
    io->priv.busy = true;
    io->priv.done_bytes = 0;
    if (e->pipe->sim->crashed)
        return;
    e->tx = io;
    send_more(e);
}

static void net_sim_shutdown(struct net_conn *c)
{
    struct end *e = end_of(c);

    e->fin_wanted = true;
    if (e->tx == NULL && !e->other->in.void_)
        e->other->in.fin = true;
    deliver_soon(e->other);
}

static bool net_sim_peer_gone(const struct net_conn *c)
{
    const struct end *e = container_of(c, const struct end, conn);

    return e->reset || e->in.fin_arrived;
}

static void end_reset(struct end *e)
{
    e->reset = true;
    sim_cancel(e->pipe->sim, &e->in.deliver);
    recv_try(e);
    send_more(e);
}

static void net_sim_abort(struct net_conn *c)
{
    struct end *e = end_of(c);

    end_reset(e);
    if (!e->other->in.void_)
        end_reset(e->other);
}

static void end_closed(struct env_task *t)
{
    struct end *e = container_of(t, struct end, close_task);

    e->closed = true;
    e->close_cb(e->close_ctx);
}

static void net_sim_close(struct net_conn *c, void (*cb)(void *ctx), void *ctx)
{
    struct end *e = end_of(c);

    assert(!e->closing);
    e->closing = true;
    e->close_cb = cb;
    e->close_ctx = ctx;
    if (e->tx != NULL)
        net_sim_abort(c);
    else if (!e->reset)
        net_sim_shutdown(c);
    if (e->rx != NULL)
        io_finish(e, &e->rx, -ECANCELED);
    e->close_task.fn = end_closed;
    env_post(c->env, &e->close_task); /* behind the callbacks above */
}

static int net_sim_detach(struct net_conn *c)
{
    struct end *e = end_of(c);

    assert(e->rx == NULL && e->tx == NULL && e->attached);
    e->attached = false;
    c->env = NULL;
    return 0;
}

static void net_sim_attach(struct net_conn *c, struct env *env)
{
    struct end *e = end_of(c);

    assert(!e->attached);
    e->attached = true;
    c->env = env;
}

static const struct net_conn_ops net_sim_ops = {
    .recv = net_sim_recv,
    .send = net_sim_send,
    .shutdown = net_sim_shutdown,
    .peer_gone = net_sim_peer_gone,
    .abort = net_sim_abort,
    .close = net_sim_close,
    .detach = net_sim_detach,
    .attach = net_sim_attach,
};

/* ---- the pair ---- */

static void end_init(struct sim_pipe *p, unsigned which, struct env *env)
{
    struct end *e = &p->end[which];

    e->conn.ops = &net_sim_ops;
    e->conn.env = env;
    snprintf(e->conn.local.text, sizeof(e->conn.local.text), "sim:%u", which);
    snprintf(e->conn.peer.text, sizeof(e->conn.peer.text), "sim:%u", 1 - which);
    e->pipe = p;
    e->other = &p->end[1 - which];
    e->attached = true;
    e->in.to = e;
    e->in.deliver.fn = piece_arrives;
    e->in.buf = malloc(p->opts.buffer_bytes);
    assert(e->in.buf != NULL);
}

int sim_pipe_new(struct sim *s, struct env *a, struct env *b, const struct sim_net_opts *opts, struct sim_pipe **out,
                 struct net_conn **end_a, struct net_conn **end_b)
{
    struct sim_pipe *p = calloc(1, sizeof(*p));

    assert(p != NULL);
    p->sim = s;
    if (opts != NULL)
        p->opts = *opts;
    if (p->opts.delay_max_ns == 0) {
        p->opts.delay_min_ns = 5 * NS_PER_US;
        p->opts.delay_max_ns = 50 * NS_PER_US;
    }
    if (p->opts.delay_max_ns >= NS_PER_MS) {
        sim_fault_fired(s, SIM_NET_DELAYED);
        sim_fault_mattered(s, SIM_NET_DELAYED);
    }
    if (p->opts.buffer_bytes == 0)
        p->opts.buffer_bytes = 256u * 1024u;
    end_init(p, 0, a);
    end_init(p, 1, b);
    *out = p;
    *end_a = &p->end[0].conn;
    *end_b = &p->end[1].conn;
    return 0;
}

void sim_pipe_cut(struct sim_pipe *p)
{
    sim_fault_fired(p->sim, SIM_NET_CUT);
    sim_fault_mattered(p->sim, SIM_NET_CUT);
    end_reset(&p->end[0]);
    end_reset(&p->end[1]);
}

void sim_pipe_cut_after(struct sim_pipe *p, uint64_t bytes) { p->cut_after = MAX(bytes, 1u); }

void sim_pipe_half_open(struct sim_pipe *p, bool a_lives)
{
    struct end *lives = &p->end[a_lives ? 0 : 1], *dead = lives->other;

    sim_fault_fired(p->sim, SIM_NET_HALF_OPEN);
    sim_fault_mattered(p->sim, SIM_NET_HALF_OPEN);
    dead->in.void_ = true;
    lives->in.void_ = true;
    sim_cancel(p->sim, &lives->in.deliver);
    lives->in.len = lives->in.arrived; /* what was on its way is gone */
    dead->in.len = dead->in.arrived = 0;
    end_reset(dead);
    send_more(lives);
}

bool sim_pipe_alive(const struct sim_pipe *p)
{
    return !p->end[0].reset && !p->end[1].reset;
}

void sim_pipe_free(struct sim_pipe *p)
{
    for (unsigned i = 0; i < 2; i++) {
        assert(p->end[i].closed || p->sim->crashed);
        sim_cancel(p->sim, &p->end[i].in.deliver);
        free(p->end[i].in.buf);
    }
    free(p);
}
