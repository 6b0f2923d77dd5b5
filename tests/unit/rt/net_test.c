/* SPDX-License-Identifier: Apache-2.0 */
#include "net_pair.h"

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

/* Receives until len bytes are there, however they are cut. */
static void receive_all(struct pair *p, struct net_conn *c, char *buf, size_t len, size_t at_most)
{
    for (size_t got = 0; got < len;) {
        struct call rx;

        call_start(&rx, c, buf + got, MIN(at_most, len - got), false);
        cr_assert(run_until(p->r, &rx.done));
        cr_assert_gt(rx.io.res, 0);
        got += (size_t)rx.io.res;
    }
}

static void bytes_arrive(bool plain_ring)
{
    enum { LEN = 3000000 }; /* more than the socket's buffers: the send waits for the receiver */
    struct pair p;
    struct call tx = {.io = {.iovcnt = 3, .cb = call_ended}};
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
    call_start(&rx, p.b, buf, sizeof(buf), false);
    run_for_ms(p.r, 5);
    cr_assert(!rx.done);
    call_start(&tx, p.a, ping, 4, true);
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
    call_start(&tx, p.a, bye, 3, true);
    cr_assert(run_until(p.r, &tx.done));
    net_shutdown(p.a);
    receive_all(&p, p.b, buf, 3, sizeof(buf));
    call_start(&rx, p.b, buf, sizeof(buf), false);
    cr_assert(run_until(p.r, &rx.done));
    cr_assert_eq(rx.io.res, 0);
    call_start(&tx, p.b, bye, 3, true); /* the other way is still open */
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
    call_start(&tx, p.a, bye, 3, true);
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
    call_start(&rx, p.a, buf, sizeof(buf), false);
    call_start(&tx, p.a, big, LEN, true);
    run_for_ms(p.r, 5);
    cr_assert(!rx.done && !tx.done);
    net_abort(p.a);
    cr_assert(!rx.done && !tx.done, "not from inside the call");
    cr_assert(run_until(p.r, &rx.done) && run_until(p.r, &tx.done));
    cr_assert_lt(rx.io.res, 0);
    cr_assert_lt(tx.io.res, 0);
    while (res > 0) { /* the peer may read what had arrived; then it must not see an orderly end */
        call_start(&peer_rx, p.b, big, LEN, false);
        cr_assert(run_until(p.r, &peer_rx.done));
        res = peer_rx.io.res;
    }
    cr_assert_eq(res, -ECONNRESET);
    call_start(&later, p.a, buf, sizeof(buf), false);
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
    call_start(&rx, p.a, buf, sizeof(buf), false);
    call_start(&tx, p.a, big, LEN, true);
    run_for_ms(p.r, 5);
    net_close(p.a, pair_flag, &closed);
    cr_assert(!closed && !rx.done && !tx.done);
    cr_assert(run_until(p.r, &closed));
    cr_assert(rx.done && tx.done, "the buffers are free before the close is told");
    cr_assert_lt(rx.io.res, 0);
    cr_assert_lt(tx.io.res, 0);
    p.a = NULL;
    while (res > 0) {
        call_start(&end, p.b, big, LEN, false);
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
        call_start(&rx, p.b, buf, sizeof(buf), false); /* not even submitted yet */
        net_close(p.b, pair_flag, &closed);
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

    net_close(k->c, pair_flag, &k->closed);
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
    call_start(&tx, p.a, x, 1, true);
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
    call_start(&tx, p.a, (char[]){'a', 'b', 'c', 'd'}, 4, true); /* used here first */
    receive_all(&p, p.b, first, 4, 4);
    cr_assert_eq(net_detach(p.b), 0);
    e = (struct echo){.task = {.fn = echo_attach}, .env = reactor_env(other), .conn = p.b};
    env_post(reactor_env(other), &e.task);
    p.b = NULL;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100000; i++)
            out[i] = (char)(i * 7 + round);
        call_start(&tx, p.a, out, 100000, true);
        receive_all(&p, p.a, in, 100000, 100000);
        cr_assert(run_until(p.r, &tx.done));
        cr_assert_eq(memcmp(in, out, 100000), 0);
    }
    pair_end_close(p.r, p.a);
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
