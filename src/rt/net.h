/* SPDX-License-Identifier: Apache-2.0 */
/* net.h: stream connections as one thread sees them: TCP in the daemon, a simulated network in firn-sim.
 *
 * A connection has at most one receive and one send outstanding. Both complete exactly once, never from inside the
 * call, on the connection's env, with the bytes moved (> 0), 0 (receive: the peer closed), or a negative error.
 * A receive completes as soon as any byte is there; a send completes when all bytes went out or an error ended it.
 * Buffers are borrowed until completion, also after net_close() was asked for: that waits for them.
 */
#ifndef FIRN_RT_NET_H
#define FIRN_RT_NET_H

#include "base/types.h"
#include "rt/env.h"

struct net_listener;
struct net_conn;
struct net_io;
typedef void net_io_cb(struct net_io *io);

struct net_io {
    struct iovec *iov;    /* sends may modify the array while they advance */
    int           iovcnt;
    net_io_cb    *cb;
    int64_t       res;    /* out: bytes, 0 at end of stream (receive), or negative error */
    struct {
        struct net_conn *conn;
        struct env_task  task;
        uint64_t         done_bytes;
        void            *p[4];
        uint64_t         u[4];
        bool             busy;
    } priv;
};

struct net_addr { char text[64]; }; /* "127.0.0.1:40112", for logs */

struct net_conn_ops {
    void (*recv)(struct net_conn *c, struct net_io *io);
    void (*send)(struct net_conn *c, struct net_io *io);
    void (*shutdown)(struct net_conn *c);
    bool (*peer_gone)(const struct net_conn *c);
    void (*abort)(struct net_conn *c);
    void (*close)(struct net_conn *c, void (*cb)(void *ctx), void *ctx);
    int  (*detach)(struct net_conn *c);
    void (*attach)(struct net_conn *c, struct env *env);
};

struct net_conn {
    const struct net_conn_ops *ops;
    struct env                *env;
    struct net_addr            peer, local;
    uint64_t                   rx_bytes, tx_bytes;
};

static inline void net_recv(struct net_conn *c, struct net_io *io) { c->ops->recv(c, io); }
static inline void net_send(struct net_conn *c, struct net_io *io) { c->ops->send(c, io); }
/* No more sends; what was sent still goes out, then the peer sees the end of the stream. */
static inline void net_shutdown(struct net_conn *c) { c->ops->shutdown(c); }
/* The peer has ended or reset its stream, though bytes from before may still be there to be received. */
static inline bool net_peer_gone(const struct net_conn *c) { return c->ops->peer_gone(c); }
/* Cuts the connection now: outstanding calls complete with an error, unsent bytes never leave (SO_LINGER 0, RST). */
static inline void net_abort(struct net_conn *c) { c->ops->abort(c); }
/* Cuts what is outstanding, waits for it, frees the connection, then calls cb once. */
static inline void net_close(struct net_conn *c, void (*cb)(void *ctx), void *ctx) { c->ops->close(c, cb, ctx); }
/* Moving to another env: detach with nothing outstanding (asserted), hand the pointer over by env_post(), attach there. */
static inline int net_detach(struct net_conn *c) { return c->ops->detach(c); }
static inline void net_attach(struct net_conn *c, struct env *env) { c->ops->attach(c, env); }

/* conn belongs to the callee. */
typedef void net_accept_cb(void *ctx, struct net_conn *conn);

/* Real TCP on a reactor env. Several reactors may listen on one port (SO_REUSEPORT is set). port 0: the kernel
 * chooses; net_listener_port() tells. Accepted sockets get TCP_NODELAY, and
 * TCP_USER_TIMEOUT with probes: a peer that vanished is found out whether bytes are in flight or not. */
int  net_listen(struct env *env, const char *host, uint16_t port, net_accept_cb *cb, void *ctx,
                struct net_listener **out, char why[static 256]);
/* Would a server of its own get the port? net_listen() shares it with whoever else sets SO_REUSEPORT, and two servers that
 * share a port each get half of the hosts; so ask before the first of one's own listeners. port must not be 0. */
int  net_port_free(const char *host, uint16_t port, char why[static 256]);
uint16_t net_listener_port(const struct net_listener *l);
void net_listener_close(struct net_listener *l); /* no accept after this returns */

/* Connects without blocking; cb gets conn, or NULL and a negative error. For firn-bench and tests. */
void net_connect(struct env *env, const char *host, uint16_t port,
                 void (*cb)(void *ctx, struct net_conn *conn, int err), void *ctx);

#endif
