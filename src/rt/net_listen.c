/* SPDX-License-Identifier: Apache-2.0 */
/* net_listen.c: how connections come to be: listening and connecting.
 *
 * A listener keeps one accept on the ring, multishot where the kernel has it, else armed again after each. Reactors that
 * listen on one port each have a socket of their own (SO_REUSEPORT), and the kernel spreads connections over them.
 * Failures: when the process is out of descriptors or memory, accepting pauses for a moment instead of burning the CPU;
 * connections wait in the backlog meanwhile. A connection that dies before it is accepted is nobody's loss.
 */
#include "rt/net.h"

#include "base/err.h"
#include "base/log.h"
#include "rt/net_priv.h"
#include "rt/reactor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG            1024
#define ACCEPT_PAUSE_NS    (100 * NS_PER_MS)
#define USER_TIMEOUT_MS    30000u /* sent bytes that nobody acknowledged for so long: the peer is gone */
#define PROBE_AFTER_S      15     /* nothing came for so long: the kernel asks, three times before USER_TIMEOUT_MS ends it */
#define PROBE_EVERY_S      5

static_assert(PROBE_AFTER_S + 2 * PROBE_EVERY_S < USER_TIMEOUT_MS / 1000, "one lost probe cuts nobody");

struct net_listener {
    struct env       *env;
    struct reactor   *reactor;
    int               fd;
    uint16_t          port;
    bool              multishot;
    bool              armed;    /* an accept is on the ring */
    bool              closing;
    bool              in_done;  /* accept_done() runs, and frees a listener that is closed meanwhile */
    struct reactor_op op;
    struct env_timer  pause;
    net_accept_cb    *cb;
    void             *ctx;
};

/* ---- sockets and addresses ------------------------------------------------------------------------------------------- */

static void addr_text(struct net_addr *a, const struct sockaddr_storage *ss)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)ss;

        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(a->text, sizeof(a->text), "%s:%u", host, ntohs(in->sin_port));
    } else if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)ss;

        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) { /* a peer over IPv4 on a socket for both */
            inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], host, sizeof(host));
            snprintf(a->text, sizeof(a->text), "%s:%u", host, ntohs(in6->sin6_port));
            return;
        }
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(a->text, sizeof(a->text), "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        snprintf(a->text, sizeof(a->text), "?");
    }
}

static void addrs_find(struct net_conn *c, int fd)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);

    if (getpeername(fd, (struct sockaddr *)&ss, &len) != 0)
        ss.ss_family = AF_UNSPEC;
    addr_text(&c->peer, &ss);
    len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
        ss.ss_family = AF_UNSPEC;
    addr_text(&c->local, &ss);
}

static struct net_conn *conn_over(struct env *env, int fd)
{
    struct net_conn *c = net_conn_new(env, fd);
    int on = 1, after_s = PROBE_AFTER_S, every_s = PROBE_EVERY_S;
    unsigned timeout_ms = USER_TIMEOUT_MS;

    if (c == NULL)
        return NULL;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)); /* a peer that vanished while nothing was in flight */
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after_s, sizeof(after_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
    addrs_find(c, fd);
    return c;
}

/* Names are looked up here and now: only net_connect() takes them, for firn-bench. */
static int resolve(const char *host, uint16_t port, int flags, struct addrinfo **out, char why[static 256])
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    char service[8];
    int e;

    snprintf(service, sizeof(service), "%u", port);
    e = getaddrinfo(host, service, &hints, out);
    if (e == 0)
        return 0;
    snprintf(why, 256, "%s: %s", host, gai_strerror(e));
    return -EADDRNOTAVAIL;
}

/* ---- listening ------------------------------------------------------------------------------------------------------- */

static void accept_arm(struct net_listener *l)
{
    struct io_uring_sqe *sqe = reactor_sqe(l->reactor, &l->op);

    if (l->multishot)
        io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
    else
        io_uring_prep_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
    l->armed = true;
}

static void pause_over(struct env_timer *t)
{
    accept_arm(container_of(t, struct net_listener, pause));
}

static void listener_free(struct net_listener *l)
{
    close(l->fd);
    free(l);
}

static void accept_new(struct net_listener *l, int fd)
{
    struct net_conn *c = l->closing ? NULL : conn_over(l->env, fd);

    if (c == NULL)
        close(fd);
    else
        l->cb(l->ctx, c);
}

/* Failures of the connection that was to be accepted, or of nobody. */
static bool passing(int err)
{
    return err == -ECONNABORTED || err == -EPROTO || err == -EINTR || err == -EAGAIN;
}

/* After an accept that ends the operation: arms the next one, now or after a pause. */
static void accept_again(struct net_listener *l, int res)
{
    if (res == -EINVAL && l->multishot) {
        l->multishot = false; /* before Linux 5.19 */
    } else if (res < 0 && !passing(res)) {
        log_warn("accepting connections pauses", "port=%u reason=\"%s\"", l->port, err_text(res));
        env_timer_arm(l->env, &l->pause, env_now_ns(l->env) + ACCEPT_PAUSE_NS);
        return;
    }
    accept_arm(l);
}

static void accept_done(struct reactor_op *op, int res, uint32_t cqe_flags)
{
    struct net_listener *l = container_of(op, struct net_listener, op);

    l->armed = (cqe_flags & IORING_CQE_F_MORE) != 0;
    if (res >= 0) {
        l->in_done = true;
        accept_new(l, res);
        l->in_done = false;
    }
    if (l->armed)
        return;
    if (l->closing)
        listener_free(l);
    else
        accept_again(l, res);
}

static int listen_socket(const struct addrinfo *ai)
{
    int on = 1, err;
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0 && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 &&
        listen(fd, BACKLOG) == 0)
        return fd;
    err = -errno;
    close(fd);
    return err;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);

    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
        return 0;
    return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&ss)->sin6_port
                                          : ((struct sockaddr_in *)(void *)&ss)->sin_port);
}

int net_listen(struct env *env, const char *host, uint16_t port, net_accept_cb *cb, void *ctx, struct net_listener **out,
               char why[static 256])
{
    struct net_listener *l;
    struct addrinfo *ai;
    int fd, err = resolve(host, port, AI_PASSIVE | AI_NUMERICHOST, &ai, why);

    if (err)
        return err;
    fd = listen_socket(ai);
    freeaddrinfo(ai);
    if (fd < 0) {
        snprintf(why, 256, "cannot listen on %s port %u: %s", host, port, err_text(fd));
        return fd;
    }
    l = calloc(1, sizeof(*l));
    if (l == NULL) {
        close(fd);
        snprintf(why, 256, "out of memory");
        return -ENOMEM;
    }
    *l = (struct net_listener){.env = env, .reactor = reactor_of_env(env), .fd = fd, .port = bound_port(fd), .multishot = true,
                               .op = {accept_done}, .pause = {.fn = pause_over}, .cb = cb, .ctx = ctx};
    accept_arm(l);
    *out = l;
    return 0;
}

/* Linux lets sockets with SO_REUSEADDR alone share a port until one of them listens, so TIME_WAIT is no obstacle here and
 * another server is, whatever options it has set. */
int net_port_free(const char *host, uint16_t port, char why[static 256])
{
    struct addrinfo *ai;
    int on = 1, fd, err = resolve(host, port, AI_PASSIVE | AI_NUMERICHOST, &ai, why);

    if (err)
        return err;
    fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0)
        err = -errno;
    freeaddrinfo(ai);
    if (fd >= 0)
        close(fd);
    if (err)
        snprintf(why, 256, "cannot listen on %.64s port %u: %s", host, port, err_text(err));
    return err;
}

uint16_t net_listener_port(const struct net_listener *l)
{
    return l->port;
}

/* shutdown() ends listening at once, whatever the ring still holds of the socket. */
void net_listener_close(struct net_listener *l)
{
    assert(!l->closing);
    l->closing = true;
    shutdown(l->fd, SHUT_RDWR);
    env_timer_cancel(l->env, &l->pause);
    if (l->armed)
        io_uring_prep_cancel64(reactor_sqe(l->reactor, NULL), (uintptr_t)&l->op, 0);
    else if (!l->in_done)
        listener_free(l);
}

/* ---- connecting ------------------------------------------------------------------------------------------------------ */

struct connecting {
    struct reactor_op       op;
    struct env_task         task;   /* for errors that are known at once */
    struct env             *env;
    int                     fd, err;
    struct sockaddr_storage to;
    socklen_t               to_len;
    void                  (*cb)(void *ctx, struct net_conn *conn, int err);
    void                   *ctx;
};

static void connect_finish(struct connecting *k, int err)
{
    struct net_conn *conn = NULL;

    if (err == 0) {
        conn = conn_over(k->env, k->fd);
        err = conn == NULL ? -ENOMEM : 0;
    }
    if (err && k->fd >= 0)
        close(k->fd);
    k->cb(k->ctx, conn, err);
    free(k);
}

static void connect_refused(struct env_task *task)
{
    struct connecting *k = container_of(task, struct connecting, task);

    connect_finish(k, k->err);
}

static void connect_submit(struct connecting *k)
{
    io_uring_prep_connect(reactor_sqe(reactor_of_env(k->env), &k->op), k->fd, (struct sockaddr *)&k->to, k->to_len);
}

static void connect_done(struct reactor_op *op, int res, uint32_t cqe_flags)
{
    struct connecting *k = container_of(op, struct connecting, op);

    (void)cqe_flags;
    if (res == -EINTR || res == -EAGAIN)
        connect_submit(k);
    else
        connect_finish(k, MIN(res, 0));
}

static int connect_prepare(struct connecting *k, const char *host, uint16_t port)
{
    char why[256];
    struct addrinfo *ai;
    int err = resolve(host, port, 0, &ai, why);

    if (err)
        return err;
    memcpy(&k->to, ai->ai_addr, ai->ai_addrlen);
    k->to_len = ai->ai_addrlen;
    k->fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
    freeaddrinfo(ai);
    return k->fd < 0 ? -errno : 0;
}

void net_connect(struct env *env, const char *host, uint16_t port,
                 void (*cb)(void *ctx, struct net_conn *conn, int err), void *ctx)
{
    struct connecting *k = calloc(1, sizeof(*k));

    assert(k != NULL); /* tools and tests only; there is nothing to report to without it */
    *k = (struct connecting){.op = {connect_done}, .task = {.fn = connect_refused}, .env = env, .fd = -1, .cb = cb, .ctx = ctx};
    k->err = connect_prepare(k, host, port);
    if (k->err)
        env_defer(env, &k->task);
    else
        connect_submit(k);
}
