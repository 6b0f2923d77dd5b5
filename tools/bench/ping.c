/* SPDX-License-Identifier: Apache-2.0 */
/* ping.c: `firn-bench ping`: a TCP round trip on loopback with nothing behind it, both ends spinning and both sleeping.
 * It is the floor under every latency of a run on this machine, and what figures of other machines are scaled by. */
#include "bench.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct echo { int fd; uint32_t in_bytes, out_bytes; bool spin; volatile bool stop; };

/* Moves n bytes; false at the end of the stream. */
static bool move(int fd, void *buf, uint32_t n, bool spin, bool sending)
{
    uint32_t done = 0;

    while (done < n) {
        int flags = (spin ? MSG_DONTWAIT : 0) | MSG_NOSIGNAL;
        ssize_t got = sending ? send(fd, (char *)buf + done, n - done, flags) : recv(fd, (char *)buf + done, n - done, flags);

        if (got > 0)
            done += (uint32_t)got;
        else if (got == 0 || (errno != EAGAIN && errno != EINTR))
            return false;
    }
    return true;
}

static void *echo_main(void *arg)
{
    struct echo *e = arg;
    static char buf[65536];

    while (!e->stop && move(e->fd, buf, e->in_bytes, e->spin, false))
        if (!move(e->fd, buf, e->out_bytes, e->spin, true))
            break;
    return NULL;
}

/* A connected TCP pair on 127.0.0.1. */
static int tcp_pair(int fds[static 2])
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[1] = -1;
    if (l >= 0 && fds[0] >= 0 && bind(l, (struct sockaddr *)&sa, len) == 0 && listen(l, 1) == 0 &&
        getsockname(l, (struct sockaddr *)&sa, &len) == 0 && connect(fds[0], (struct sockaddr *)&sa, len) == 0)
        fds[1] = accept(l, NULL, NULL);
    if (l >= 0)
        close(l);
    if (fds[1] < 0)
        return -errno;
    setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return 0;
}

/* p50 of round trips of out_bytes there and in_bytes back. */
static int measure(uint32_t out_bytes, uint32_t in_bytes, bool spin, uint64_t for_ns, struct hist *h)
{
    struct echo e = {.in_bytes = out_bytes, .out_bytes = in_bytes, .spin = spin};
    uint64_t now, begin = clock_ns(), then = begin;
    static char buf[65536];
    pthread_t thread;
    int fds[2], err = tcp_pair(fds);

    hist_init(h);
    if (err)
        return err;
    e.fd = fds[1];
    if (pthread_create(&thread, NULL, echo_main, &e))
        return -EAGAIN;
    while (then - begin < for_ns && move(fds[0], buf, out_bytes, spin, true) && move(fds[0], buf, in_bytes, spin, false)) {
        now = clock_ns();
        if (now - begin > for_ns / 10)
            hist_add(h, now - then);
        then = now;
    }
    e.stop = true;
    shutdown(fds[0], SHUT_RDWR);
    pthread_join(thread, NULL);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

int cmd_ping(const struct bench_opts *o)
{
    static const struct { const char *name; uint32_t out, in; bool spin; } shapes[] = {
        {"spin_64_64", 64, 64, true},       {"spin_64_4096", 64, 4096, true}, {"spin_4096_64", 4096, 64, true},
        {"sleep_64_64", 64, 64, false},     {"sleep_64_4096", 64, 4096, false},
    };
    uint64_t each_ns = MIN(o->time_ns / ARRAY_LEN(shapes), 2 * NS_PER_S);
    struct hist *h = calloc(1, sizeof(*h));
    json_t *j = o->json ? json_object() : NULL;
    int err = h ? 0 : -ENOMEM;

    for (size_t i = 0; i < ARRAY_LEN(shapes) && !err; i++) {
        double p50, mean;

        err = measure(shapes[i].out, shapes[i].in, shapes[i].spin, each_ns, h);
        p50 = (double)hist_percentile_ns(h, 50) / 1e3;
        mean = hist_mean_ns(h) / 1e3;
        if (j)
            json_object_set_new(j, shapes[i].name, json_pack("{s:f, s:f, s:f}", "p50_us", p50, "mean_us", mean, "p99_us",
                                                             (double)hist_percentile_ns(h, 99) / 1e3));
        else
            printf("%-14s p50 %7.1f  mean %7.1f  p99 %7.1f us\n", shapes[i].name, p50, mean,
                   (double)hist_percentile_ns(h, 99) / 1e3);
    }
    free(h);
    if (err)
        fprintf(stderr, "firn-bench: %s\n", err_text(err));
    else if (j)
        json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(j);
    return err ? 1 : 0;
}
