/* SPDX-License-Identifier: Apache-2.0 */
/* rt_threads: what reactors do to each other, without a test framework, so that the thread sanitizer can watch it:
 * posts to and fro, wake-ups, connections that move, metrics that are read while they are written, stops.
 */
#include "base/log.h"
#include "rt/metrics.h"
#include "rt/net.h"
#include "rt/reactor.h"
#include "rt/trace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct reactor *start(uint32_t index, uint32_t poll_us)
{
    struct reactor_opts opts = {.cpu = -1, .index = index, .poll_us = poll_us};
    struct reactor *r = NULL;
    char why[256] = "";
    int err = reactor_new(&opts, &r, why);

    if (err == 0)
        err = reactor_start_thread(r);
    if (err) {
        fprintf(stderr, "rt_threads: %s\n", why);
        exit(1);
    }
    return r;
}

static void end(struct reactor *r)
{
    reactor_stop(r);
    reactor_join(r);
    reactor_free(r);
}

static void wait_for(const _Atomic int *v, int want, const char *what)
{
    for (int i = 0; i < 20000 && atomic_load(v) != want; i++)
        usleep(1000);
    if (atomic_load(v) != want) {
        fprintf(stderr, "rt_threads: %s: %d of %d\n", what, atomic_load(v), want);
        exit(1);
    }
}

/* ---- a ball between two reactors: each hop wakes or meets the other ------------------------------------------------ */

struct ball {
    struct env_task  task;
    struct env      *side[2];
    struct env_timer rest;   /* now and then it rests, so that both fall asleep */
    int              hops, left;
    uint64_t         payload; /* not atomic: handed over by the post alone */
    _Atomic int      done;
};

static void ball_hop(struct env_task *t)
{
    struct ball *b = container_of(t, struct ball, task);
    struct env *here = b->side[b->hops % 2];

    b->hops++;
    b->payload += (uint64_t)b->hops;
    if (--b->left == 0) {
        atomic_store(&b->done, 1);
        return;
    }
    if (b->hops % 500 == 0)
        env_timer_arm(here, &b->rest, env_now_ns(here) + 2 * NS_PER_MS);
    else
        env_post(b->side[b->hops % 2], &b->task);
}

static void ball_rested(struct env_timer *t)
{
    struct ball *b = container_of(t, struct ball, rest);

    env_post(b->side[b->hops % 2], &b->task);
}

static void balls(struct reactor *x, struct reactor *y)
{
    enum { BALLS = 8, HOPS = 10000 };
    static struct ball b[BALLS];

    for (int i = 0; i < BALLS; i++) {
        b[i] = (struct ball){.task = {.fn = ball_hop}, .side = {reactor_env(x), reactor_env(y)}, .rest = {.fn = ball_rested},
                             .left = HOPS};
        env_post(reactor_env(x), &b[i].task);
    }
    for (int i = 0; i < BALLS; i++) {
        wait_for(&b[i].done, 1, "a ball was lost");
        assert(b[i].payload == (uint64_t)HOPS * (HOPS + 1) / 2);
    }
}

/* ---- connections accepted here, served there ------------------------------------------------------------------------- */

struct peer { /* one end that sends and receives the same number of bytes */
    struct net_conn *conn;
    struct env      *env;
    struct net_io    rx, tx;
    struct iovec     rx_iov, tx_iov;
    struct env_task  task;
    bool             echo;
    uint64_t         left;
    char             buf[2048];
};

enum { CONNS = 16, BYTES = 200000 };
static struct env *serving;
static _Atomic int closed;

static void peer_recv(struct peer *p);
static void peer_closed(void *ctx)
{
    free(ctx);
    atomic_fetch_add(&closed, 1);
}

static void peer_sent(struct net_io *io)
{
    struct peer *p = container_of(io, struct peer, tx);

    if (io->res < 0)
        net_close(p->conn, peer_closed, p);
    else
        peer_recv(p);
}

static void peer_send(struct peer *p, size_t len)
{
    p->tx_iov = (struct iovec){p->buf, len};
    p->tx = (struct net_io){.iov = &p->tx_iov, .iovcnt = 1, .cb = peer_sent};
    net_send(p->conn, &p->tx);
}

static void peer_received(struct net_io *io)
{
    struct peer *p = container_of(io, struct peer, rx);

    if (io->res <= 0 || (!p->echo && p->left <= (uint64_t)io->res)) {
        net_close(p->conn, peer_closed, p);
        return;
    }
    p->left -= p->echo ? 0 : (uint64_t)io->res;
    peer_send(p, (size_t)io->res);
}

static void peer_recv(struct peer *p)
{
    p->rx_iov = (struct iovec){p->buf, sizeof(p->buf)};
    p->rx = (struct net_io){.iov = &p->rx_iov, .iovcnt = 1, .cb = peer_received};
    net_recv(p->conn, &p->rx);
}

static struct peer *peer_new(struct net_conn *conn, bool echo)
{
    struct peer *p = calloc(1, sizeof(*p));

    assert(p != NULL);
    p->conn = conn;
    p->echo = echo;
    p->left = BYTES;
    return p;
}

static void arrived(struct env_task *t)
{
    struct peer *p = container_of(t, struct peer, task);

    net_attach(p->conn, serving);
    peer_recv(p);
}

static void accepted(void *ctx, struct net_conn *conn)
{
    struct peer *p = peer_new(conn, true);

    (void)ctx;
    net_detach(conn);
    p->task.fn = arrived;
    env_post(serving, &p->task);
}

static void connected(void *ctx, struct net_conn *conn, int err)
{
    (void)ctx;
    assert(err == 0);
    peer_send(peer_new(conn, false), 1500);
}

struct opening { struct env_task task; struct env *env; struct net_listener *l; _Atomic int ready; };

static void open_all(struct env_task *t)
{
    struct opening *o = container_of(t, struct opening, task);
    char why[256];
    int err = net_listen(o->env, "127.0.0.1", 0, accepted, NULL, &o->l, why);

    assert(err == 0);
    for (int i = 0; i < CONNS; i++)
        net_connect(o->env, "127.0.0.1", net_listener_port(o->l), connected, NULL);
}

static void shut(struct env_task *t)
{
    struct opening *o = container_of(t, struct opening, task);

    net_listener_close(o->l);
    atomic_store(&o->ready, 1);
}

static void connections(struct reactor *x, struct reactor *y)
{
    static struct opening o;

    serving = reactor_env(y);
    o = (struct opening){.task = {.fn = open_all}, .env = reactor_env(x)};
    env_post(o.env, &o.task);
    wait_for(&closed, 2 * CONNS, "connections closed");
    o.task = (struct env_task){.fn = shut};
    env_post(o.env, &o.task);
    wait_for(&o.ready, 1, "the listener closed");
    usleep(20000); /* its last completion frees it */
}

/* ---- metrics and logs ------------------------------------------------------------------------------------------------ */

struct writer { struct metric_counter n; struct metric_hist h; struct metric a, b; };

static void *write_metrics(void *arg)
{
    struct writer *w = arg;

    for (uint64_t i = 0; i < 100000; i++) {
        metric_add(&w->n, 1);
        metric_observe_ns(&w->h, i * 10);
        trace(TRACE_TIER_READ, i, 0, 0);
        if (i % 1000 == 0)
            log_debug("working", "i=%d", (int)i);
    }
    return NULL;
}

static void metrics_while_written(void)
{
    static struct writer w[3];
    pthread_t t[3];
    struct strbuf out;

    for (int i = 0; i < 3; i++) {
        w[i].a = (struct metric){.name = "n_total", .help = "N.", .type = METRIC_COUNTER, .src.counter = &w[i].n};
        w[i].b = (struct metric){.name = "h_seconds", .help = "H.", .type = METRIC_HIST, .src.hist = &w[i].h};
        metric_register(&w[i].a);
        metric_register(&w[i].b);
        pthread_create(&t[i], NULL, write_metrics, &w[i]);
    }
    for (int i = 0; i < 50; i++) {
        strbuf_init(&out);
        metrics_render(&out);
        assert(strstr(strbuf_str(&out), "h_seconds_bucket") != NULL);
        strbuf_fini(&out);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
        assert(metric_get(&w[i].n) == 100000 && w[i].h.count == 100000);
        metric_unregister(&w[i].a);
        metric_unregister(&w[i].b);
    }
}

int main(void)
{
    for (uint32_t poll_us = 0; poll_us <= 50; poll_us += 50) {
        struct reactor *x = start(0, poll_us), *y = start(1, poll_us);
        struct reactor_stats stats;

        balls(x, y);
        atomic_store(&closed, 0);
        connections(x, y);
        reactor_stats_get(x, &stats);
        assert(stats.passes > 0 && stats.cqes > 0);
        end(x);
        end(y);
    }
    for (uint32_t i = 0; i < 100; i++)
        end(start(i, i % 3));
    metrics_while_written();
    puts("rt_threads: ok");
    return 0;
}
