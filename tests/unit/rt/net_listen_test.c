/* SPDX-License-Identifier: Apache-2.0 */
/* Listening: who is accepted, what is said of an address that cannot be had, and whether a port is free. */
#include "net_pair.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

Test(net_listen, connecting_where_nobody_listens_fails)
{
    struct pair p;
    char name[400] = "";
    uint16_t port;

    pair_open(&p, false);
    port = net_listener_port(p.l);
    net_listener_close(p.l);
    pair_end_close(p.r, p.a);
    pair_end_close(p.r, p.b);
    p.a_there = p.b_there = false;
    net_connect(reactor_env(p.r), "127.0.0.1", port, pair_connected, &p);
    cr_assert(run_until(p.r, &p.a_there));
    cr_assert_eq(p.err, -ECONNREFUSED);
    cr_assert(p.a == NULL && !p.b_there, "no accept after the listener was closed");
    p.a_there = false;
    memset(name, 'x', sizeof(name) - 1); /* longer than any name: no look-up leaves the machine */
    net_connect(reactor_env(p.r), name, port, pair_connected, &p);
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
Test(net_listen, a_peer_that_vanished_is_asked_for)
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

Test(net_listen, an_address_that_cannot_be_listened_on_is_explained)
{
    struct reactor *r = test_reactor(0, false);
    struct net_listener *l;
    char why[256] = "";

    cr_assert_lt(net_listen(reactor_env(r), "192.0.2.77", 4420, pair_accepted, NULL, &l, why), 0);
    cr_assert(strstr(why, "192.0.2.77 port 4420") != NULL, "%s", why);
    cr_assert_lt(net_listen(reactor_env(r), "not an address", 4420, pair_accepted, NULL, &l, why), 0);
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
        pair_end_close(r, k.c[i]);
    net_listener_close(l[0]);
    net_listener_close(l[1]);
    run_for_ms(r, 5);
    reactor_free(r);
}

Test(net_listen, a_crowd_is_accepted) { crowd_meets(false); }
Test(net_listen, a_crowd_is_accepted_on_a_plain_ring) { crowd_meets(true); }

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
    net_connect(reactor_env(p.r), "127.0.0.1", net_listener_port(p.l), pair_connected, &p);
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
