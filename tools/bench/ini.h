/* SPDX-License-Identifier: Apache-2.0 */
/* ini.h: one NVMe/TCP queue as the initiator sees it: bytes in, bytes out, no I/O of its own.
 *
 * Happy path: ini_init() puts an ICReq into the outgoing batch; ini_rx() reads the ICResp; ini_submit() appends capsules,
 * with the data inside when it fits; an R2T appends H2CData; C2HData lands in the command's buffer; CapsuleResp, or the
 * SUCCESS flag of the last C2HData, ends the command and calls its done().
 *
 * Strict on purpose: whatever the target may not send ends the queue with a sentence (ini.fault), the spec's fatal error
 * status and a TermReq to send. Every length is compared before a byte is used.
 *
 * Memory: two outgoing batches of headers and iovecs; data is borrowed from commands until they are done. Commands are
 * the caller's. done() may submit again. One thread.
 */
#ifndef FIRN_BENCH_INI_H
#define FIRN_BENCH_INI_H

#include "wire.h"

#define INI_DEPTH_MAX   1024u
#define INI_BATCH_IOVS  1000          /* below UIO_MAXIOV */
#define INI_BATCH_HDRS  (128u * 1024u)
#define INI_STATUS_LOST 0xffffu       /* not on the wire: the connection ended before the command did */

enum ini_dir { INI_NO_DATA, INI_READ, INI_WRITE };
enum ini_state { INI_IDLE, INI_SENT, INI_STATE_NR };

struct ini_cmd;
typedef void ini_done_cb(struct ini_cmd *c);

struct ini_cmd {
    struct nvme_sqe sqe;     /* in: all but cid, flags and SGL */
    enum ini_dir    dir;
    uint8_t        *data;    /* read: NULL drops the bytes after checking them */
    uint32_t        len;
    ini_done_cb    *done;
    uint16_t        status;  /* out: status field without the phase bit; INI_STATUS_LOST */
    uint64_t        result;
    struct {
        enum ini_state  state;
        bool            in_capsule, read_last;
        uint16_t        ttag;
        uint32_t        moved;            /* read: bytes received; write: bytes granted by R2T or in the capsule */
        uint32_t        h2c_off, h2c_end; /* part of a grant not yet in a batch */
        struct ini_cmd *h2c_next;
    } priv;
};

struct ini_opts {
    uint32_t depth;          /* commands outstanding at most */
    bool     hdgst, ddgst;
    bool     sq_flow;        /* SQ flow control on: then the target may not use SUCCESS */
    uint32_t in_capsule_max; /* data bytes that fit a capsule */
};

struct ini_batch {
    uint32_t     nr_iov, hdr_used;
    uint64_t     bytes;
    bool         last_is_hdr; /* the last iovec ends where the next header begins */
    struct iovec iov[INI_BATCH_IOVS];
    uint8_t      hdr[INI_BATCH_HDRS];
};

enum ini_rx { INI_RX_CH, INI_RX_PSH, INI_RX_PAD, INI_RX_DATA, INI_RX_DDGST, INI_RX_NR };

struct ini {
    struct ini_opts opts;
    bool            ready;       /* ICResp seen */
    uint8_t         cpda;        /* data of ours must begin at a multiple of (cpda + 1) * 4 */
    uint32_t        maxh2cdata;
    struct ini_cmd *by_cid[INI_DEPTH_MAX];
    uint16_t        free_cid[INI_DEPTH_MAX];
    uint32_t        nr_free, outstanding;
    struct ini_cmd *h2c_head, *h2c_tail; /* grants waiting for room in a batch */
    struct ini_batch *build, *flying;    /* flying: NULL, or the batch being sent */
    struct ini_batch *batches;
    enum ini_rx     rx;
    uint8_t         head[128 + PDU_DIGEST_BYTES + PDU_TERM_MAX];
    uint32_t        head_have, head_want;
    struct ini_cmd *rx_cmd;      /* whose C2HData is arriving */
    uint32_t        rx_pad, rx_data, rx_crc;
    uint8_t         fes;         /* 0: no fault of the target's */
    char            fault[200];  /* empty: none */
    uint64_t        pdus_rx, r2ts, success_flags;
};

int  ini_init(struct ini *q, const struct ini_opts *opts); /* 0 or -ENOMEM */
void ini_fini(struct ini *q);

/* True when another command may be submitted: a cid is free and the batch has room for its capsule. */
bool ini_has_room(const struct ini *q);
void ini_submit(struct ini *q, struct ini_cmd *c);

/* The batch to send next, or NULL. The caller sends all of it, then calls ini_sent(). */
struct ini_batch *ini_take_batch(struct ini *q);
void ini_sent(struct ini *q);

/* 0, or -EPROTO: the target broke a rule (q->fault, q->fes), or sent a TermReq (q->fes is 0 then). */
int  ini_rx_bytes(struct ini *q, const uint8_t *buf, size_t n);

/* The connection is gone: every outstanding command ends with INI_STATUS_LOST. */
void ini_lose_all(struct ini *q);

/* The H2CTermReq for q->fault; returns its length. */
size_t ini_term_req(const struct ini *q, uint8_t buf[static PDU_TERM_MAX]);

/* Shared between ini_tx.c and ini_rx.c. */
void ini_grant(struct ini *q, struct ini_cmd *c);
void ini_finish(struct ini *q, struct ini_cmd *c, uint16_t status, uint64_t result);

#endif
