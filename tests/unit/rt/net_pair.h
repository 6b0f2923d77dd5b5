/* SPDX-License-Identifier: Apache-2.0 */
/* net_pair.h: connections for tests, and calls on them that check how they end. */
#ifndef FIRN_TEST_RT_NET_PAIR_H
#define FIRN_TEST_RT_NET_PAIR_H

#include "rt_test.h"

#include "rt/net.h"

#include <criterion/criterion.h>
#include <string.h>

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

void call_start(struct call *c, struct net_conn *conn, void *buf, size_t len, bool send);
void pair_open(struct pair *p, bool plain_ring);
void pair_close(struct pair *p);
void pair_end_close(struct reactor *r, struct net_conn *c);
void pair_flag(void *ctx);    /* sets a bool */
void call_ended(struct net_io *io); /* of a call */
/* Callbacks; ctx is the pair. */
void pair_accepted(void *ctx, struct net_conn *conn);
void pair_connected(void *ctx, struct net_conn *conn, int err);

#endif
