/* SPDX-License-Identifier: Apache-2.0 */
/* conn.h: sockets under initiator queues: one io_uring a thread, one receive and one send outstanding a connection.
 *
 * loop_pass() submits what is pending, waits (in the kernel, or spinning over the completion ring), and runs what
 * completed; received bytes go into ini_rx_bytes(), whose done() callbacks run from here. A connection that ends for
 * whatever reason is marked dead with a sentence; its owner notices, calls conn_close(), and every outstanding command
 * has then ended.
 */
#ifndef FIRN_BENCH_CONN_H
#define FIRN_BENCH_CONN_H

#include "ini.h"

#include <liburing.h>
#include <sys/socket.h>

#define CONN_RX_BYTES (256u * 1024u)

struct loop_op { void (*done)(struct loop_op *op, int res, uint32_t cqe_flags); };

struct loop {
    struct io_uring ring;
    bool            spin;
    uint64_t        now_ns;   /* read once a pass, and again after completions */
    uint64_t        passes;
};

int  loop_init(struct loop *l, bool spin, char why[static 256]);
void loop_fini(struct loop *l);
void loop_pass(struct loop *l, uint64_t deadline_ns); /* returns after completions, or at the deadline */
uint64_t clock_ns(void);
uint64_t thread_cpu_ns(void);

struct conn {
    struct loop    *loop;
    struct ini      q;
    int             fd;           /* -1: not open */
    bool            dead;
    bool            protocol_fault; /* dead because the target broke a rule */
    char            why[256];
    bool            recv_busy, send_busy;
    bool            more_waits;   /* the last receive left bytes in the socket */
    struct loop_op  recv_op, send_op;
    struct msghdr   msg;
    uint64_t        send_left, rx_total, tx_total;
    uint8_t        *rx;
};

/* Connects (blocking, up to timeout_ns) and starts the queue; ICReq is under way when it returns. */
int  conn_open(struct conn *c, struct loop *l, const char *host, uint16_t port, const struct ini_opts *opts,
               uint64_t timeout_ns, char why[static 256]);
void conn_kick(struct conn *c);  /* sends what ini has built, if nothing is being sent */
void conn_close(struct conn *c); /* safe to call on a closed one */
/* Runs the loop until *flag, the connection's death or the deadline. 0, -ECONNRESET or -ETIMEDOUT. */
int  conn_wait(struct conn *c, const volatile bool *flag, uint64_t deadline_ns);

#endif
