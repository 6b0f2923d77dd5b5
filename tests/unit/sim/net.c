/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated connections keep the contract of net.h: every byte in order, in any pieces, or a reset. */
#include "tools/sim/sim.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define TOTAL 100000u

struct ends {
    struct sim *s;
    struct env *e;
    struct sim_pipe *p;
    struct net_conn *a, *b;
    struct net_io tx, rx;
    struct iovec tx_iov, rx_iov;
    uint8_t out[TOTAL], in[TOTAL];
    uint32_t got, receives;
    int64_t last;
    int sent, closed;
};

static struct ends *ends_new(uint64_t seed, const struct sim_net_opts *o)
{
    struct ends *x = calloc(1, sizeof(*x));

    x->s = sim_new(seed);
    x->e = sim_env_new(x->s);
    for (uint32_t i = 0; i < TOTAL; i++)
        x->out[i] = (uint8_t)(i * 7 + i / 256);
    sim_pipe_new(x->s, x->e, x->e, o, &x->p, &x->a, &x->b);
    return x;
}

static void on_closed(void *ctx) { ++*(int *)ctx; }

static void ends_free(struct ends *x)
{
    net_close(x->a, on_closed, &x->closed);
    net_close(x->b, on_closed, &x->closed);
    while (sim_step(x->s) == 0)
        ;
    cr_assert_eq(x->closed, 2);
    sim_pipe_free(x->p);
    sim_env_free(x->e);
    sim_free(x->s);
    free(x);
}

static void receive(struct ends *x);

static void on_received(struct net_io *io)
{
    struct ends *x = container_of(io, struct ends, rx);

    x->last = io->res;
    if (io->res <= 0)
        return;
    x->got += (uint32_t)io->res;
    x->receives++;
    if (x->got < TOTAL)
        receive(x);
}

static void receive(struct ends *x)
{
    x->rx_iov = (struct iovec){x->in + x->got, TOTAL - x->got};
    x->rx = (struct net_io){.iov = &x->rx_iov, .iovcnt = 1, .cb = on_received};
    net_recv(x->b, &x->rx);
}

static void on_sent(struct net_io *io)
{
    struct ends *x = container_of(io, struct ends, tx);

    x->sent = io->res == (int64_t)TOTAL ? 1 : -1;
}

static void send_all(struct ends *x)
{
    x->tx_iov = (struct iovec){x->out, TOTAL};
    x->tx = (struct net_io){.iov = &x->tx_iov, .iovcnt = 1, .cb = on_sent};
    net_send(x->a, &x->tx);
}

Test(sim_net, bytes_arrive_in_order_in_any_pieces)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim_net_opts o = {.buffer_bytes = 5000, .small_pieces = seed % 2 ? 300000 : 0};
        struct ends *x = ends_new(seed, &o);

        receive(x);
        send_all(x);
        while (sim_step(x->s) == 0)
            ;
        cr_assert_eq(x->sent, 1);
        cr_assert_eq(x->got, TOTAL);
        cr_assert_gt(x->receives, 19);
        cr_assert_eq(memcmp(x->in, x->out, TOTAL), 0);
        ends_free(x);
    }
}

Test(sim_net, a_shutdown_ends_the_stream_behind_the_last_byte)
{
    struct ends *x = ends_new(3, NULL);

    send_all(x);
    net_shutdown(x->a);
    receive(x);
    cr_assert(!net_peer_gone(x->b));
    while (sim_step(x->s) == 0)
        ;
    cr_assert_eq(x->got, TOTAL);
    cr_assert(net_peer_gone(x->b) && !net_peer_gone(x->a));
    receive(x->got < TOTAL ? x : (x->got = 0, x));
    while (sim_step(x->s) == 0)
        ;
    cr_assert_eq(x->last, 0);
    ends_free(x);
}

Test(sim_net, a_planned_cut_resets_both_ends_in_the_middle)
{
    struct ends *x = ends_new(4, NULL);

    sim_pipe_cut_after(x->p, 30000);
    receive(x);
    send_all(x);
    while (sim_step(x->s) == 0)
        ;
    cr_assert_lt(x->got, 30000);
    cr_assert_eq(x->last, -ECONNRESET);
    cr_assert(!sim_pipe_alive(x->p));
    cr_assert(net_peer_gone(x->a) && net_peer_gone(x->b));
    ends_free(x);
}

Test(sim_net, on_a_half_open_pair_one_end_hears_nothing)
{
    struct ends *x = ends_new(5, NULL);

    receive(x);
    sim_pipe_half_open(x->p, false); /* b lives */
    while (sim_step(x->s) == 0)
        ;
    cr_assert_eq(x->got, 0);
    cr_assert_eq(x->last, 0, "no callback yet");
    send_all(x);
    while (sim_step(x->s) == 0)
        ;
    cr_assert_eq(x->sent, -1, "the dead end knows");
    ends_free(x);
}
