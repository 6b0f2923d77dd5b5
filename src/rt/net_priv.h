/* SPDX-License-Identifier: Apache-2.0 */
/* net_priv.h: what net_uring.c (a connection) and net_listen.c (how connections come to be) share. */
#ifndef FIRN_RT_NET_PRIV_H
#define FIRN_RT_NET_PRIV_H

#include "rt/net.h"

/* A connection over a connected socket, which it owns from here on. NULL: out of memory; the socket is the caller's. */
struct net_conn *net_conn_new(struct env *env, int fd);

#endif
