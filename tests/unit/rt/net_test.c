/* SPDX-License-Identifier: Apache-2.0 */
#include "rt_test.h"

#include "rt/net.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A call with its own iovec; calls that never complete leave done false. */
struct call {
    struct net_io io;
    struct iovec  iov[3];
    bool          done;
    bool          inside;
};

struct pair { /* both ends of one connection, on one reactor */
    struct reactor      *r;
    struct net_listener *l;
    struct net_conn     *a, *b; /* a connected, b was accepted */
    bool                 a_there, b_there;
    int                  err;
};

static void call_cb(struct net_io *io)
{
    struct call *c = container_of(io, struct call, io);

    cr_assert(!c->inside, "no callback from inside the call");
    cr_assert(!c->done, "one callback");
    c->done = true;
}

static void start(struct call *c, struct net_conn *conn, void *buf, size_t len, bool send)
{
    *c = (struct call){.io = {.iovcnt = 1, .cb = call_cb}, .iov = {{buf, len}}, .inside = true};
    c->io.iov = c->iov;
    if (send)
        net_send(conn, &c->io);
    else
        net_recv(conn, &c->io);
    c->inside = false;
}

static void accepted(void *ctx, struct net_conn *conn)
{
    struct pair *p = ctx;

    p->b = conn;
    p->b_there = true;
}

static void connected(void *ctx, struct net_conn *conn, int err)
{
    struct pair *p = ctx;

    p->a = conn;
    p->err = err;
    p->a_there = true;
}

static void pair_open(struct pair *p, bool plain_ring)
{
    char why[256] = "";

    *p = (struct pair){.r = test_reactor(20, plain_ring)};
    cr_assert_eq(net_listen(reactor_env(p->r), "127.0.0.1", 0, accepted, p, &p->l, why), 0, "%s", why);
    cr_assert_neq(net_listener_port(p->l), 0);
    net_connect(reactor_env(p->r), "127.0.0.1", net_listener_port(p->l), connected, p);
    cr_assert(run_until(p->r, &p->a_there) && run_until(p->r, &p->b_there));
    cr_assert_eq(p->err, 0);
}

static void set_flag(void *ctx) { *(bool *)ctx = true; }

static void conn_close(struct reactor *r, struct net_conn *c)
{
    bool closed = false;

    net_close(c, set_flag, &closed);
    cr_assert(!closed, "not from inside the call");
    cr_assert(run_until(r, &closed));
}

static void pair_close(struct pair *p)
{
    if (p->a != NULL)
        conn_close(p->r, p->a);
    if (p->b != NULL)
        conn_close(p->r, p->b);
    net_listener_close(p->l);
    run_for_ms(p->r, 5);
    reactor_free(p->r);
}

/* Receives until len bytes are there, however they are cut. */
static void receive_all(struct pair *p, struct net_conn *c, char *buf, size_t len, size_t at_most)
{
    for (size_t got = 0; got < len;) {
        struct call rx;

        start(&rx, c, buf + got, MIN(at_most, len - got), false);
        cr_assert(run_until(p->r, &rx.done));
        cr_assert_gt(rx.io.res, 0);
        got += (size_t)rx.io.res;
    }
}

static void bytes_arrive(bool plain_ring)
{
    enum { LEN = 3000000 }; /* more than the socket's buffers: the send waits for the receiver */
    struct pair p;
    struct call tx = {.io = {.iovcnt = 3, .cb = call_cb}};
    char *out = malloc(LEN), *in = malloc(LEN);

    pair_open(&p, plain_ring);
    for (int i = 0; i < LEN; i++)
        out[i] = (char)(i * 31 + (i >> 11));
    tx.iov[0] = (struct iovec){out, 1};
    tx.iov[1] = (struct iovec){out + 1, 100000};
    tx.iov[2] = (struct iovec){out + 100001, LEN - 100001};
    tx.io.iov = tx.iov;
    net_send(p.a, &tx.io);
    receive_all(&p, p.b, in, LEN, 7777);
    cr_assert(run_until(p.r, &tx.done));
    cr_assert_eq(tx.io.res, LEN);
    cr_assert_eq(memcmp(in, out, LEN), 0);
    cr_assert_eq(p.a->tx_bytes, LEN);
    cr_assert_eq(p.b->rx_bytes, LEN);
    cr_assert_str_eq(p.a->peer.text, p.b->local.text);
    cr_assert_str_eq(p.a->local.text, p.b->peer.text);
    free(out), free(in);
    pair_close(&p);
}

Test(net, bytes_arrive_whole_and_in_order) { bytes_arrive(false); }
Test(net, bytes_arrive_on_a_plain_ring) { bytes_arrive(true); }

Test(net, a_receive_completes_with_what_is_there)
{
    struct pair p;
    struct call rx, tx;
    char buf[100] = "", ping[] = "ping";

    pair_open(&p, false);
    start(&rx, p.b, buf, sizeof(buf), false);
    run_for_ms(p.r, 5);
    cr_assert(!rx.done);
    start(&tx, p.a, ping, 4, true);
    cr_assert(run_until(p.r, &rx.done));
    cr_assert_eq(rx.io.res, 4);
    cr_assert_str_eq(buf, "ping");
    cr_assert(run_until(p.r, &tx.done));
    pair_close(&p);
}

Test(net, shutdown_lets_bytes_out_and_then_ends_the_stream)
{
    struct pair p;
    struct call rx, tx;
    char buf[8], bye[] = "bye";

    pair_open(&p, false);
    start(&tx, p.a, bye, 3, true);
    cr_assert(run_until(p.r, &tx.done));
    net_shutdown(p.a);
    receive_all(&p, p.b, buf, 3, sizeof(buf));
    start(&rx, p.b, buf, sizeof(buf), false);
    cr_assert(run_until(p.r, &rx.done));
    cr_assert_eq(rx.io.res, 0);
    start(&tx, p.b, bye, 3, true); /* the other way is still open */
    cr_assert(run_until(p.r, &tx.done));
    cr_assert_eq(tx.io.res, 3);
    receive_all(&p, p.a, buf, 3, sizeof(buf));
    pair_close(&p);
}

Test(net, the_end_of_the_peer_is_known_before_its_bytes_are_received)
{
    struct pair p;
    struct call tx;
    char buf[8], bye[] = "bye";

    pair_open(&p, false);
    start(&tx, p.a, bye, 3, true);
    cr_assert(run_until(p.r, &tx.done));
    cr_assert(!net_peer_gone(p.a) && !net_peer_gone(p.b));
    net_shutdown(p.a);
    for (int i = 0; i < 1000 && !net_peer_gone(p.b); i++)
        run_for_ms(p.r, 1);
    cr_assert(net_peer_gone(p.b));
    cr_assert(!net_peer_gone(p.a), "its own end is not the peer's");
    receive_all(&p, p.b, buf, 3, sizeof(buf));
    net_abort(p.b);
    for (int i = 0; i < 1000 && !net_peer_gone(p.a); i++)
        run_for_ms(p.r, 1);
    cr_assert(net_peer_gone(p.a), "reset");
    pair_close(&p);
}

Test(net, abort_fails_both_directions_and_resets_the_peer)
{
    enum { LEN = 20000000 };
    struct pair p;
    struct call rx, tx, peer_rx, later;
    char *big = calloc(1, LEN), buf[8];
    int64_t res = 1;

    pair_open(&p, false);
    start(&rx, p.a, buf, sizeof(buf), false);
    start(&tx, p.a, big, LEN, true);
    run_for_ms(p.r, 5);
    cr_assert(!rx.done && !tx.done);
    net_abort(p.a);
    cr_assert(!rx.done && !tx.done, "not from inside the call");
    cr_assert(run_until(p.r, &rx.done) && run_until(p.r, &tx.done));
    cr_assert_lt(rx.io.res, 0);
    cr_assert_lt(tx.io.res, 0);
    while (res > 0) { /* the peer may read what had arrived; then it must not see an orderly end */
        start(&peer_rx, p.b, big, LEN, false);
        cr_assert(run_until(p.r, &peer_rx.done));
        res = peer_rx.io.res;
    }
    cr_assert_eq(res, -ECONNRESET);
    start(&later, p.a, buf, sizeof(buf), false);
    cr_assert(run_until(p.r, &later.done));
    cr_assert_lt(later.io.res, 0);
    free(big);
    pair_close(&p);
}

Test(net, close_waits_for_the_outstanding_receive_and_send)
{
    enum { LEN = 20000000 };
    struct pair p;
    struct call rx, tx, end;
    char *big = calloc(1, LEN), buf[8];
    bool closed = false;
    int64_t res = 1;

    pair_open(&p, false);
    start(&rx, p.a, buf, sizeof(buf), false);
    start(&tx, p.a, big, LEN, true);
    run_for_ms(p.r, 5);
    net_close(p.a, set_flag, &closed);
    cr_assert(!closed && !rx.done && !tx.done);
    cr_assert(run_until(p.r, &closed));
    cr_assert(rx.done && tx.done, "the buffers are free before the close is told");
    cr_assert_lt(rx.io.res, 0);
    cr_assert_lt(tx.io.res, 0);
    p.a = NULL;
    while (res > 0) {
        start(&end, p.b, big, LEN, false);
        cr_assert(run_until(p.r, &end.done));
        res = end.io.res;
    }
    free(big);
    pair_close(&p);
}

Test(net, close_right_after_a_receive_began)
{
    for (int i = 0; i < 30; i++) {
        struct pair p;
        struct call rx;
        char buf[8];
        bool closed = false;

        pair_open(&p, i % 2);
        start(&rx, p.b, buf, sizeof(buf), false); /* not even submitted yet */
        net_close(p.b, set_flag, &closed);
        cr_assert(run_until(p.r, &closed));
        cr_assert(rx.done && rx.io.res < 0);
        p.b = NULL;
        pair_close(&p);
    }
}

struct closer { struct net_io io; struct iovec iov; struct net_conn *c; bool closed; };

static void close_in_cb(struct net_io *io)
{
    struct closer *k = container_of(io, struct closer, io);

    net_close(k->c, set_flag, &k->closed);
}

Test(net, a_callback_may_close_its_connection)
{
    struct pair p;
    struct call tx;
    char buf[8], x[] = "x";
    struct closer k = {.io = {.iovcnt = 1, .cb = close_in_cb}, .iov = {buf, sizeof(buf)}};

    pair_open(&p, false);
    k.io.iov = &k.iov;
    k.c = p.b;
    net_recv(p.b, &k.io);
    start(&tx, p.a, x, 1, true);
    cr_assert(run_until(p.r, &k.closed));
    cr_assert_eq(k.io.res, 1);
    p.b = NULL;
    pair_close(&p);
}

/* ---- two reactors -------------------------------------------------------------------------------------------------- */

struct echo { /* an echo server that takes its connection over on another reactor */
    struct env_task  task;
    struct env      *env;
    struct net_conn *conn;
    struct net_io    rx, tx;
    struct iovec     rx_iov, tx_iov;
    char             buf[4096];
    _Atomic bool     closed;
};

static void echo_closed(void *ctx) { atomic_store((_Atomic bool *)ctx, true); }

static void echo_rx(struct net_io *io);

static void echo_recv(struct echo *e)
{
    e->rx_iov = (struct iovec){e->buf, sizeof(e->buf)};
    e->rx = (struct net_io){.iov = &e->rx_iov, .iovcnt = 1, .cb = echo_rx};
    net_recv(e->conn, &e->rx);
}

static void echo_tx(struct net_io *io) { echo_recv(container_of(io, struct echo, tx)); }

static void echo_rx(struct net_io *io)
{
    struct echo *e = container_of(io, struct echo, rx);

    if (io->res <= 0) {
        net_close(e->conn, echo_closed, &e->closed);
        return;
    }
    e->tx_iov = (struct iovec){e->buf, (size_t)io->res};
    e->tx = (struct net_io){.iov = &e->tx_iov, .iovcnt = 1, .cb = echo_tx};
    net_send(e->conn, &e->tx);
}

static void echo_attach(struct env_task *t)
{
    struct echo *e = container_of(t, struct echo, task);

    net_attach(e->conn, e->env);
    echo_recv(e);
}

Test(net, a_connection_moves_to_another_reactor)
{
    struct pair p;
    struct reactor *other;
    struct call tx;
    char *out = malloc(100000), *in = malloc(100000), first[4];
    static struct echo e;

    pair_open(&p, false);
    other = test_reactor(20, false);
    cr_assert_eq(reactor_start_thread(other), 0);
    start(&tx, p.a, (char[]){'a', 'b', 'c', 'd'}, 4, true); /* used here first */
    receive_all(&p, p.b, first, 4, 4);
    cr_assert_eq(net_detach(p.b), 0);
    e = (struct echo){.task = {.fn = echo_attach}, .env = reactor_env(other), .conn = p.b};
    env_post(reactor_env(other), &e.task);
    p.b = NULL;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100000; i++)
            out[i] = (char)(i * 7 + round);
        start(&tx, p.a, out, 100000, true);
        receive_all(&p, p.a, in, 100000, 100000);
        cr_assert(run_until(p.r, &tx.done));
        cr_assert_eq(memcmp(in, out, 100000), 0);
    }
    conn_close(p.r, p.a);
    p.a = NULL;
    for (int i = 0; i < 5000 && !atomic_load(&e.closed); i++)
        usleep(1000);
    cr_assert(atomic_load(&e.closed));
    reactor_stop(other);
    reactor_join(other);
    reactor_free(other);
    free(out), free(in);
    pair_close(&p);
}

/* ---- listening ----------------------------------------------------------------------------------------------------- */

Test(net, connecting_where_nobody_listens_fails)
{
    struct pair p;
    char name[400] = "";
    uint16_t port;

    pair_open(&p, false);
    port = net_listener_port(p.l);
    net_listener_close(p.l);
    conn_close(p.r, p.a);
    conn_close(p.r, p.b);
    p.a_there = p.b_there = false;
    net_connect(reactor_env(p.r), "127.0.0.1", port, connected, &p);
    cr_assert(run_until(p.r, &p.a_there));
    cr_assert_eq(p.err, -ECONNREFUSED);
    cr_assert(p.a == NULL && !p.b_there, "no accept after the listener was closed");
    p.a_there = false;
    memset(name, 'x', sizeof(name) - 1); /* longer than any name: no look-up leaves the machine */
    net_connect(reactor_env(p.r), name, port, connected, &p);
    cr_assert(!p.a_there);
    cr_assert(run_until(p.r, &p.a_there));
    cr_assert_lt(p.err, 0);
    reactor_free(p.r);
}

/* The descriptor of the connection that was accepted on this port of ours. */
static int accepted_fd(uint16_t port)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in me = {0}, peer;
        socklen_t n = sizeof(me), m = sizeof(peer);

        if (getsockname(fd, (struct sockaddr *)&me, &n) == 0 && me.sin_family == AF_INET && ntohs(me.sin_port) == port &&
            getpeername(fd, (struct sockaddr *)&peer, &m) == 0)
            return fd;
    }
    return -1;
}

static unsigned tcp_option(int fd, int level, int name)
{
    unsigned v = 0;
    socklen_t n = sizeof(v);

    cr_assert_eq(getsockopt(fd, level, name, &v, &n), 0);
    return v;
}

/* The kernel ends a connection by probes once TCP_USER_TIMEOUT is over: it must have asked more than once by then. */
Test(net, a_peer_that_vanished_is_asked_for)
{
    struct pair p;
    unsigned limit_s, first_s, every_s;
    int fd;

    pair_open(&p, false);
    fd = accepted_fd(net_listener_port(p.l));
    cr_assert_geq(fd, 0);
    cr_assert_eq(tcp_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    limit_s = tcp_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) / 1000;
    first_s = tcp_option(fd, IPPROTO_TCP, TCP_KEEPIDLE);
    every_s = tcp_option(fd, IPPROTO_TCP, TCP_KEEPINTVL);
    cr_assert(limit_s > 0 && first_s + 2 * every_s < limit_s, "%u %u %u", limit_s, first_s, every_s);
    pair_close(&p);
}

Test(net, an_address_that_cannot_be_listened_on_is_explained)
{
    struct reactor *r = test_reactor(0, false);
    struct net_listener *l;
    char why[256] = "";

    cr_assert_lt(net_listen(reactor_env(r), "192.0.2.77", 4420, accepted, NULL, &l, why), 0);
    cr_assert(strstr(why, "192.0.2.77 port 4420") != NULL, "%s", why);
    cr_assert_lt(net_listen(reactor_env(r), "not an address", 4420, accepted, NULL, &l, why), 0);
    cr_assert(strstr(why, "not an address") != NULL, "%s", why);
    reactor_free(r);
}

struct crowd { int accepted, connected; bool all; struct net_conn *c[128]; int nr; };

static void crowd_check(struct crowd *k) { k->all = k->accepted == 64 && k->connected == 64; }

static void crowd_accept(void *ctx, struct net_conn *conn)
{
    struct crowd *k = ctx;

    k->c[k->nr++] = conn;
    k->accepted++;
    crowd_check(k);
}

static void crowd_connect(void *ctx, struct net_conn *conn, int err)
{
    struct crowd *k = ctx;

    cr_assert_eq(err, 0);
    k->c[k->nr++] = conn;
    k->connected++;
    crowd_check(k);
}

static void crowd_meets(bool plain_ring)
{
    struct reactor *r = test_reactor(0, plain_ring);
    struct net_listener *l[2];
    struct crowd k = {0};
    char why[256];

    cr_assert_eq(net_listen(reactor_env(r), "127.0.0.1", 0, crowd_accept, &k, &l[0], why), 0);
    cr_assert_eq(net_listen(reactor_env(r), "127.0.0.1", net_listener_port(l[0]), crowd_accept, &k, &l[1], why), 0,
                 "several may listen on one port");
    for (int i = 0; i < 64; i++)
        net_connect(reactor_env(r), "127.0.0.1", net_listener_port(l[0]), crowd_connect, &k);
    cr_assert(run_until(r, &k.all));
    for (int i = 0; i < k.nr; i++)
        conn_close(r, k.c[i]);
    net_listener_close(l[0]);
    net_listener_close(l[1]);
    run_for_ms(r, 5);
    reactor_free(r);
}

Test(net, a_crowd_is_accepted) { crowd_meets(false); }
Test(net, a_crowd_is_accepted_on_a_plain_ring) { crowd_meets(true); }

/* ---- is a port free? ---- */

/* A plain listening socket with these options set, as a foreign server would have it; *port 0: the kernel chooses. */
static int foreign_listener(uint16_t *port, bool reuse_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(*port)};
    socklen_t len = sizeof(in);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    if (reuse_port)
        cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

Test(net_port, is_taken_while_a_server_listens_whatever_options_it_has_set)
{
    for (int reuse = 0; reuse < 2; reuse++) {
        char why[256] = "", words[64];
        uint16_t port = 0;
        int fd = foreign_listener(&port, reuse != 0);

        cr_assert_eq(net_port_free("127.0.0.1", port, why), -EADDRINUSE);
        snprintf(words, sizeof(words), "127.0.0.1 port %u", port);
        cr_assert_not_null(strstr(why, words), "%s", why);
        cr_assert_eq(net_port_free("0.0.0.0", port, why), -EADDRINUSE);
        cr_assert_eq(net_port_free("127.0.0.2", port, why), 0, "another address: %s", why);
        close(fd);
        cr_assert_eq(net_port_free("127.0.0.1", port, why), 0, "%s", why);
    }
}

Test(net_port, of_our_own_listener_is_taken_too_and_asking_disturbs_nobody)
{
    struct pair p;
    char why[256] = "";

    pair_open(&p, false);
    cr_assert_eq(net_port_free("127.0.0.1", net_listener_port(p.l), why), -EADDRINUSE);
    p.b_there = false;
    net_connect(reactor_env(p.r), "127.0.0.1", net_listener_port(p.l), connected, &p);
    cr_assert(run_until(p.r, &p.b_there), "it still accepts");
}

Test(net_port, is_free_at_once_although_old_connections_linger)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char why[256] = "";
    uint16_t port = 0;
    int server = foreign_listener(&port, false), host = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), conn;
    char end;

    in.sin_port = htons(port);
    cr_assert_eq(connect(host, (struct sockaddr *)&in, sizeof(in)), 0);
    conn = accept(server, NULL, NULL);
    cr_assert_geq(conn, 0);
    close(conn); /* who closes first keeps the address in TIME_WAIT */
    cr_assert_eq(read(host, &end, 1), 0);
    close(host);
    close(server);
    cr_assert_eq(net_port_free("127.0.0.1", port, why), 0, "%s", why);
}

Test(net_port, an_address_that_is_not_ours_is_refused_with_words)
{
    char why[256] = "";

    cr_assert_eq(net_port_free("192.0.2.1", 4420, why), -EADDRNOTAVAIL);
    cr_assert_not_null(strstr(why, "192.0.2.1 port 4420"), "%s", why);
    cr_assert_eq(net_port_free("no-address", 4420, why), -EADDRNOTAVAIL);
    cr_assert_not_null(strstr(why, "no-address"), "names are not looked up: %s", why);
}
