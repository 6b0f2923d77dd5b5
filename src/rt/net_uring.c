/* SPDX-License-Identifier: Apache-2.0 */
/* net_uring.c: a TCP connection on the reactor's ring.
 *
 * Each direction is one operation that lives in the connection: receive and send, each idle or on the ring. A receive
 * completes with whatever is there. A send goes on until all is out; the kernel does most of that (MSG_WAITALL), the rest is sent again.
 * Receives reach the ring behind everything else of a pass: answers leave first, and by then more bytes may be there.
 *
 * Failures: an error of the socket is the outstanding call's result, and the owner's next step is net_close(). Cutting
 * (abort, close) cancels what is on the ring; a call that had succeeded before the cancellation reached it reports an
 * error too, so that nobody goes on with a cut connection. The socket is closed when both directions are idle.
 */
#include "rt/net.h"

#include "rt/net_priv.h"
#include "rt/reactor.h"

#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct direction {
    struct reactor_op op;
    struct net_io    *io;       /* outstanding, or NULL */
    struct msghdr     msg;
    bool              on_ring;  /* false while a task is on its way to submit or refuse it */
};

struct conn {
    struct net_conn  conn;
    struct reactor  *reactor;   /* NULL while detached */
    int              fd;
    struct direction rx, tx;
    struct env_task  rx_late;   /* brings the receive to the ring */
    bool             cut;       /* aborted or closing: every outstanding and later call fails */
    bool             closing;
    void           (*close_cb)(void *ctx);
    void            *close_ctx;
    struct env_task  close_task;
};

static struct conn *of_conn(struct net_conn *c)
{
    return container_of(c, struct conn, conn);
}

static void close_when_idle(struct conn *c)
{
    if (c->closing && c->rx.io == NULL && c->tx.io == NULL && !c->close_task.queued)
        env_defer(c->conn.env, &c->close_task);
}

/* The last step for a request; the connection may be freed by the callback only through close_task. */
static void finish(struct conn *c, struct direction *dir, int64_t res)
{
    struct net_io *io = dir->io;

    dir->io = NULL;
    dir->on_ring = false;
    io->res = c->cut && res >= 0 ? -ECANCELED : res;
    io->priv.busy = false;
    close_when_idle(c);
    io->cb(io);
}

static void refuse_task(struct env_task *task)
{
    struct net_io *io = container_of(task, struct net_io, priv.task);
    struct conn *c = of_conn(io->priv.conn);

    finish(c, c->rx.io == io ? &c->rx : &c->tx, -ECANCELED);
}

/* Takes the request into its direction; false: the connection is cut, and the refusal is on its way. */
static bool begin(struct conn *c, struct direction *dir, struct net_io *io)
{
    assert(c->reactor != NULL && dir->io == NULL && !c->closing);
    assert(io->cb != NULL && io->iovcnt > 0);
    dir->io = io;
    io->priv.conn = &c->conn;
    io->priv.done_bytes = 0;
    io->priv.busy = true;
    if (!c->cut)
        return true;
    io->priv.task = (struct env_task){.fn = refuse_task};
    env_defer(c->conn.env, &io->priv.task);
    return false;
}

static bool again(int res)
{
    return res == -EINTR || res == -EAGAIN;
}

/* ---- receive ------------------------------------------------------------------------------------------------------- */

static void rx_submit(struct conn *c)
{
    struct net_io *io = c->rx.io;
    struct io_uring_sqe *sqe = reactor_sqe(c->reactor, &c->rx.op);

    if (io->iovcnt == 1) {
        io_uring_prep_recv(sqe, c->fd, io->iov->iov_base, io->iov->iov_len, 0);
    } else {
        c->rx.msg = (struct msghdr){.msg_iov = io->iov, .msg_iovlen = (size_t)io->iovcnt};
        io_uring_prep_recvmsg(sqe, c->fd, &c->rx.msg, 0);
    }
    c->rx.on_ring = true;
}

static void rx_done(struct reactor_op *op, int res, uint32_t cqe_flags)
{
    struct conn *c = container_of(op, struct conn, rx.op);

    (void)cqe_flags;
    if (again(res) && !c->cut) {
        rx_submit(c);
        return;
    }
    if (res > 0)
        c->conn.rx_bytes += (uint64_t)res;
    finish(c, &c->rx, res);
}

static void rx_late(struct env_task *task)
{
    struct conn *c = container_of(task, struct conn, rx_late);

    if (c->cut)
        finish(c, &c->rx, -ECANCELED);
    else
        rx_submit(c);
}

static void uring_recv(struct net_conn *conn, struct net_io *io)
{
    if (begin(of_conn(conn), &of_conn(conn)->rx, io))
        reactor_before_submit(of_conn(conn)->reactor, &of_conn(conn)->rx_late);
}

/* ---- send ---------------------------------------------------------------------------------------------------------- */

static void tx_submit(struct conn *c)
{
    struct net_io *io = c->tx.io;
    struct io_uring_sqe *sqe = reactor_sqe(c->reactor, &c->tx.op);
    int flags = MSG_NOSIGNAL | MSG_WAITALL;

    if (io->iovcnt == 1) {
        io_uring_prep_send(sqe, c->fd, io->iov->iov_base, io->iov->iov_len, flags);
    } else {
        c->tx.msg = (struct msghdr){.msg_iov = io->iov, .msg_iovlen = (size_t)io->iovcnt};
        io_uring_prep_sendmsg(sqe, c->fd, &c->tx.msg, (unsigned)flags);
    }
    c->tx.on_ring = true;
}

/* Moves the array past n sent bytes; true: something is left. */
static bool iov_advance(struct net_io *io, size_t n)
{
    while (io->iovcnt > 0 && n >= io->iov->iov_len) {
        n -= io->iov->iov_len;
        io->iov++;
        io->iovcnt--;
    }
    if (io->iovcnt == 0)
        return false;
    io->iov->iov_base = (char *)io->iov->iov_base + n;
    io->iov->iov_len -= n;
    return true;
}

static void tx_done(struct reactor_op *op, int res, uint32_t cqe_flags)
{
    struct conn *c = container_of(op, struct conn, tx.op);
    struct net_io *io = c->tx.io;

    (void)cqe_flags;
    if (again(res) && !c->cut) {
        tx_submit(c);
        return;
    }
    if (res < 0) {
        finish(c, &c->tx, res);
        return;
    }
    c->conn.tx_bytes += (uint64_t)res;
    io->priv.done_bytes += (uint64_t)res;
    if (!iov_advance(io, (size_t)res))
        finish(c, &c->tx, (int64_t)io->priv.done_bytes);
    else if (res == 0 || c->cut)
        finish(c, &c->tx, -ECONNABORTED);
    else
        tx_submit(c);
}

static void uring_send(struct net_conn *conn, struct net_io *io)
{
    if (begin(of_conn(conn), &of_conn(conn)->tx, io))
        tx_submit(of_conn(conn));
}

/* ---- ends ---------------------------------------------------------------------------------------------------------- */

static void cancel(struct conn *c, struct direction *dir)
{
    if (dir->io == NULL || !dir->on_ring)
        return;
    io_uring_prep_cancel64(reactor_sqe(c->reactor, NULL), (uintptr_t)&dir->op, 0);
}

static void cut(struct conn *c)
{
    if (c->cut)
        return;
    c->cut = true;
    cancel(c, &c->rx);
    cancel(c, &c->tx);
}

static void uring_shutdown(struct net_conn *conn)
{
    shutdown(of_conn(conn)->fd, SHUT_WR); /* of a connection that is gone already: no matter */
}

static bool uring_peer_gone(const struct net_conn *conn)
{
    int fd = container_of(conn, const struct conn, conn)->fd;
    struct tcp_info info;
    socklen_t len = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;
    switch (info.tcpi_state) {
    case TCP_CLOSE_WAIT:
    case TCP_LAST_ACK:
    case TCP_CLOSING:
    case TCP_TIME_WAIT:
    case TCP_CLOSE:
        return true;
    default: /* also with our own end shut down */
        return false;
    }
}

/* Dissolving the association sends the RST now; a close alone would wait for the operations on the ring. */
static void uring_abort(struct net_conn *conn)
{
    struct conn *c = of_conn(conn);
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    struct sockaddr none = {.sa_family = AF_UNSPEC};

    assert(c->reactor != NULL);
    cut(c);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    if (connect(c->fd, &none, sizeof(none)) != 0)
        shutdown(c->fd, SHUT_RDWR);
}

static void close_task(struct env_task *task)
{
    struct conn *c = container_of(task, struct conn, close_task);
    void (*cb)(void *ctx) = c->close_cb;
    void *ctx = c->close_ctx;

    close(c->fd);
    free(c);
    if (cb != NULL)
        cb(ctx);
}

/* A cancellation may miss a receive that just woke for nothing and waits again; shutting down wakes it for good. */
static void uring_close(struct net_conn *conn, void (*cb)(void *ctx), void *ctx)
{
    struct conn *c = of_conn(conn);

    assert(c->reactor != NULL && !c->closing);
    cut(c);
    if (c->rx.io != NULL || c->tx.io != NULL)
        shutdown(c->fd, SHUT_RDWR);
    c->closing = true;
    c->close_cb = cb;
    c->close_ctx = ctx;
    close_when_idle(c);
}

static int uring_detach(struct net_conn *conn)
{
    struct conn *c = of_conn(conn);

    assert(c->reactor != NULL && c->rx.io == NULL && c->tx.io == NULL && !c->closing);
    c->reactor = NULL;
    c->conn.env = NULL;
    return 0;
}

static void uring_attach(struct net_conn *conn, struct env *env)
{
    struct conn *c = of_conn(conn);

    assert(c->reactor == NULL);
    c->conn.env = env;
    c->reactor = reactor_of_env(env);
}

static const struct net_conn_ops uring_conn_ops = {
    .recv = uring_recv,
    .send = uring_send,
    .shutdown = uring_shutdown,
    .peer_gone = uring_peer_gone,
    .abort = uring_abort,
    .close = uring_close,
    .detach = uring_detach,
    .attach = uring_attach,
};

struct net_conn *net_conn_new(struct env *env, int fd)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->conn.ops = &uring_conn_ops;
    c->conn.env = env;
    c->reactor = reactor_of_env(env);
    c->fd = fd;
    c->rx.op.done = rx_done;
    c->tx.op.done = tx_done;
    c->close_task.fn = close_task;
    c->rx_late.fn = rx_late;
    return &c->conn;
}
