/* SPDX-License-Identifier: Apache-2.0 */
/* net_host.h: inside of the simulated NVMe/TCP host: one association, an admin and one I/O queue. */
#ifndef FIRN_SIM_NET_HOST_H
#define FIRN_SIM_NET_HOST_H

#include "export/spec.h"
#include "tools/sim/world.h"

#define HQ_RX_BYTES (1u << 20)
#define HQ_TX_BYTES (24u << 20) /* every slot's longest write at once, with headers */

enum hq_state { HQ_NONE, HQ_IC, HQ_CONNECT, HQ_ENABLE, HQ_LIVE, HQ_DEAD };

struct hq {                       /* one queue's connection */
    struct net_host *h;
    enum hq_state    state;
    bool             admin;
    struct sim_pipe *pipe;
    struct net_conn *conn;
    bool             closing, closed;
    struct net_io    rx, tx;
    struct iovec     rx_iov, tx_iov;
    bool             tx_busy;
    uint8_t         *rx_buf, *tx_buf;    /* bytes not yet taken; bytes not yet sent */
    uint32_t         rx_len, tx_len, tx_sent;
    uint8_t          dgst;
    uint32_t         h2c_max;
};

struct net_host {
    struct world    *w;
    struct vol      *vol;
    struct hq        q[2];        /* admin, I/O */
    uint16_t         cntlid;
    struct slot     *slot[WORLD_SLOTS + 1]; /* by command identifier; NULL: free */
    bool             up;          /* commands may be sent */
    bool             down;        /* the machine stops: no new connections */
    bool             broken;      /* the association is lost; commands wait for the next one to be told */
    struct sim_event retry;
    char             hostnqn[64];
};

/* net_pdu.c: whole PDUs out and in. */
void hq_send_icreq(struct hq *q);
void hq_send_capsule(struct hq *q, const void *sqe, const void *data, uint32_t bytes);
void hq_send_h2c(struct hq *q, uint16_t cid, uint16_t ttag, const uint8_t *data, uint32_t off, uint32_t len, bool last);
/* Takes one whole PDU from q->rx_buf; false: there is none. Calls net_host_pdu(). */
bool hq_take_pdu(struct hq *q);
void hq_flush(struct hq *q);

/* net_host.c: hdr is the PDU's header, data its payload (checked against its digest). */
void net_host_pdu(struct hq *q, const uint8_t *hdr, const uint8_t *data, uint32_t data_bytes);
void net_host_broke(struct hq *q, const char *why);

#endif
