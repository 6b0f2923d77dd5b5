/* SPDX-License-Identifier: Apache-2.0 */
#include "net_pair.h"

void call_ended(struct net_io *io)
{
    struct call *c = container_of(io, struct call, io);

    cr_assert(!c->inside, "no callback from inside the call");
    cr_assert(!c->done, "one callback");
    c->done = true;
}

void call_start(struct call *c, struct net_conn *conn, void *buf, size_t len, bool send)
{
    *c = (struct call){.io = {.iovcnt = 1, .cb = call_ended}, .iov = {{buf, len}}, .inside = true};
    c->io.iov = c->iov;
    if (send)
        net_send(conn, &c->io);
    else
        net_recv(conn, &c->io);
    c->inside = false;
}

void pair_accepted(void *ctx, struct net_conn *conn)
{
    struct pair *p = ctx;

    p->b = conn;
    p->b_there = true;
}

void pair_connected(void *ctx, struct net_conn *conn, int err)
{
    struct pair *p = ctx;

    p->a = conn;
    p->err = err;
    p->a_there = true;
}

void pair_open(struct pair *p, bool plain_ring)
{
    char why[256] = "";

    *p = (struct pair){.r = test_reactor(20, plain_ring)};
    cr_assert_eq(net_listen(reactor_env(p->r), "127.0.0.1", 0, pair_accepted, p, &p->l, why), 0, "%s", why);
    cr_assert_neq(net_listener_port(p->l), 0);
    net_connect(reactor_env(p->r), "127.0.0.1", net_listener_port(p->l), pair_connected, p);
    cr_assert(run_until(p->r, &p->a_there) && run_until(p->r, &p->b_there));
    cr_assert_eq(p->err, 0);
}

void pair_flag(void *ctx) { *(bool *)ctx = true; }

void pair_end_close(struct reactor *r, struct net_conn *c)
{
    bool closed = false;

    net_close(c, pair_flag, &closed);
    cr_assert(!closed, "not from inside the call");
    cr_assert(run_until(r, &closed));
}

void pair_close(struct pair *p)
{
    if (p->a != NULL)
        pair_end_close(p->r, p->a);
    if (p->b != NULL)
        pair_end_close(p->r, p->b);
    net_listener_close(p->l);
    run_for_ms(p->r, 5);
    reactor_free(p->r);
}
