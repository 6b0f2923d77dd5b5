/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c: see conn.h. */
#include "conn.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

uint64_t clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t thread_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

int loop_init(struct loop *l, bool spin, char why[static 256])
{
    static const unsigned flag_sets[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int err = -ENOSYS;

    memset(l, 0, sizeof(*l));
    l->spin = spin;
    for (size_t i = 0; i < ARRAY_LEN(flag_sets) && err < 0; i++)
        err = io_uring_queue_init(512, &l->ring, flag_sets[i]);
    if (err < 0) {
        snprintf(why, 256, "io_uring is refused here (%s): allow it for this kernel or container", err_text(err));
        return err;
    }
    l->now_ns = clock_ns();
    return 0;
}

void loop_fini(struct loop *l)
{
    io_uring_queue_exit(&l->ring);
}

static struct io_uring_sqe *get_sqe(struct loop *l, struct loop_op *op)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);

    if (sqe == NULL) {
        io_uring_submit(&l->ring);
        sqe = io_uring_get_sqe(&l->ring);
    }
    assert(sqe != NULL);
    io_uring_sqe_set_data(sqe, op);
    return sqe;
}

static void wait_sleeping(struct loop *l, uint64_t deadline_ns)
{
    struct io_uring_cqe *cqe;
    uint64_t left = deadline_ns > l->now_ns ? deadline_ns - l->now_ns : 0;
    struct __kernel_timespec ts = {.tv_sec = (long long)(left / NS_PER_S), .tv_nsec = (long long)(left % NS_PER_S)};

    io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &ts, NULL);
}

static void wait_spinning(struct loop *l, uint64_t deadline_ns)
{
    struct io_uring_cqe *cqe;

    io_uring_submit_and_get_events(&l->ring);
    for (uint32_t i = 1; io_uring_peek_cqe(&l->ring, &cqe) != 0; i++) {
        __builtin_ia32_pause();
        if (i % 64 == 0 && clock_ns() >= deadline_ns)
            break;
    }
}

void loop_pass(struct loop *l, uint64_t deadline_ns)
{
    struct io_uring_cqe *cqes[64];
    unsigned nr;

    l->passes++;
    if (l->spin)
        wait_spinning(l, deadline_ns);
    else
        wait_sleeping(l, deadline_ns);
    l->now_ns = clock_ns();
    while ((nr = io_uring_peek_batch_cqe(&l->ring, cqes, ARRAY_LEN(cqes))) > 0) {
        struct { struct loop_op *op; int res; uint32_t flags; } got[ARRAY_LEN(cqes)];

        for (unsigned i = 0; i < nr; i++) {
            got[i].op = io_uring_cqe_get_data(cqes[i]);
            got[i].res = cqes[i]->res;
            got[i].flags = cqes[i]->flags;
        }
        io_uring_cq_advance(&l->ring, nr);
        for (unsigned i = 0; i < nr; i++)
            got[i].op->done(got[i].op, got[i].res, got[i].flags);
    }
}

static void die(struct conn *c, const char *text)
{
    if (c->dead)
        return;
    c->dead = true;
    snprintf(c->why, sizeof(c->why), "%s", text);
}

static void arm_recv(struct conn *c)
{
    struct io_uring_sqe *sqe = get_sqe(c->loop, &c->recv_op);

    io_uring_prep_recv(sqe, c->fd, c->rx, CONN_RX_BYTES, 0);
    if (!c->more_waits)
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    c->recv_busy = true;
}

static void on_recv(struct loop_op *op, int res, uint32_t cqe_flags)
{
    struct conn *c = container_of(op, struct conn, recv_op);

    c->recv_busy = false;
    if (c->dead)
        return;
    if (res == -EINTR || res == -EAGAIN) {
        arm_recv(c);
        return;
    }
    if (res <= 0) {
        die(c, res == 0 ? "the target closed the connection" : err_text(res));
        return;
    }
    c->rx_total += (uint64_t)res;
    c->more_waits = (cqe_flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
    if (ini_rx_bytes(&c->q, c->rx, (size_t)res) != 0) {
        c->protocol_fault = c->q.fes != 0;
        die(c, c->q.fault);
        return;
    }
    arm_recv(c);
}

static void arm_send(struct conn *c)
{
    struct io_uring_sqe *sqe = get_sqe(c->loop, &c->send_op);

    io_uring_prep_sendmsg(sqe, c->fd, &c->msg, MSG_NOSIGNAL | MSG_WAITALL);
    c->send_busy = true;
}

static void advance_msg(struct msghdr *m, uint64_t n)
{
    while (n > 0) {
        size_t step = MIN((size_t)n, m->msg_iov[0].iov_len);

        m->msg_iov[0].iov_base = (char *)m->msg_iov[0].iov_base + step;
        m->msg_iov[0].iov_len -= step;
        n -= step;
        if (m->msg_iov[0].iov_len == 0) {
            m->msg_iov++;
            m->msg_iovlen--;
        }
    }
}

static void on_send(struct loop_op *op, int res, uint32_t cqe_flags)
{
    struct conn *c = container_of(op, struct conn, send_op);

    (void)cqe_flags;
    c->send_busy = false;
    if (c->dead)
        return;
    if (res < 0 && res != -EINTR && res != -EAGAIN) {
        die(c, err_text(res));
        return;
    }
    if (res > 0) {
        c->tx_total += (uint64_t)res;
        c->send_left -= (uint64_t)res;
        advance_msg(&c->msg, (uint64_t)res);
    }
    if (c->send_left > 0) {
        arm_send(c);
        return;
    }
    ini_sent(&c->q);
    conn_kick(c);
}

void conn_kick(struct conn *c)
{
    struct ini_batch *b;

    if (c->dead || c->send_busy)
        return;
    b = ini_take_batch(&c->q);
    if (b == NULL)
        return;
    c->msg = (struct msghdr){.msg_iov = b->iov, .msg_iovlen = b->nr_iov};
    c->send_left = b->bytes;
    arm_send(c);
}

static int connect_within(int fd, const struct sockaddr *sa, socklen_t len, uint64_t timeout_ns)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int err = 0;
    socklen_t errlen = sizeof(err);

    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        return -errno;
    if (connect(fd, sa, len) != 0 && errno != EINPROGRESS)
        return -errno;
    if (poll(&p, 1, (int)(timeout_ns / NS_PER_MS)) <= 0)
        return -ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &errlen) != 0)
        return -errno;
    if (err)
        return -err;
    return fcntl(fd, F_SETFL, 0) == 0 ? 0 : -errno; /* io_uring waits by itself only on blocking descriptors */
}

static int tcp_connect(const char *host, uint16_t port, uint64_t timeout_ns, char why[static 256])
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    char service[8];
    int fd = -1, err, one = 1;

    snprintf(service, sizeof(service), "%u", port);
    err = getaddrinfo(host, service, &hints, &list);
    if (err) {
        snprintf(why, 256, "%s: %s", host, gai_strerror(err));
        return -EINVAL;
    }
    err = -ENOENT;
    for (struct addrinfo *a = list; a && err; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        err = fd < 0 ? -errno : connect_within(fd, a->ai_addr, a->ai_addrlen, timeout_ns);
        if (err && fd >= 0)
            close(fd);
    }
    freeaddrinfo(list);
    if (err) {
        snprintf(why, 256, "connect to %s port %u: %s", host, port, err_text(err));
        return err;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

int conn_open(struct conn *c, struct loop *l, const char *host, uint16_t port, const struct ini_opts *opts,
              uint64_t timeout_ns, char why[static 256])
{
    int err;

    memset(c, 0, sizeof(*c));
    c->fd = -1;
    c->loop = l;
    c->recv_op.done = on_recv;
    c->send_op.done = on_send;
    c->rx = malloc(CONN_RX_BYTES);
    err = c->rx ? ini_init(&c->q, opts) : -ENOMEM;
    if (err) {
        free(c->rx);
        c->rx = NULL;
        snprintf(why, 256, "out of memory");
        return err;
    }
    c->fd = tcp_connect(host, port, timeout_ns, why);
    if (c->fd < 0) {
        err = c->fd;
        c->fd = -1;
        conn_close(c);
        return err;
    }
    arm_recv(c);
    conn_kick(c);
    return 0;
}

static void send_term_req(struct conn *c)
{
    uint8_t buf[PDU_TERM_MAX];
    size_t n = ini_term_req(&c->q, buf);

    /* Best effort: between PDUs only, else the target could not tell it from data. */
    if (!c->send_busy)
        (void)!send(c->fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void conn_close(struct conn *c)
{
    if (c->rx == NULL)
        return;
    die(c, "closed by this side");
    if (c->fd >= 0) {
        if (c->protocol_fault)
            send_term_req(c);
        shutdown(c->fd, SHUT_RDWR);
        while (c->recv_busy || c->send_busy)
            loop_pass(c->loop, clock_ns() + NS_PER_S);
        close(c->fd);
        c->fd = -1;
    }
    ini_lose_all(&c->q);
    ini_fini(&c->q);
    free(c->rx);
    c->rx = NULL;
}

int conn_wait(struct conn *c, const volatile bool *flag, uint64_t deadline_ns)
{
    while (!*flag) {
        conn_kick(c);
        if (c->dead)
            return -ECONNRESET;
        if (c->loop->now_ns >= deadline_ns)
            return -ETIMEDOUT;
        loop_pass(c->loop, deadline_ns);
    }
    return 0;
}
