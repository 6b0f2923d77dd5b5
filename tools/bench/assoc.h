/* SPDX-License-Identifier: Apache-2.0 */
/* assoc.h: an association: admin queue, controller enabled, namespace known, I/O queues connected, kept alive.
 *
 * assoc_open() walks the steps a Linux host walks: Connect, CAP, CC.EN, CSTS.RDY, Identify controller and namespace,
 * number of queues, Connect of each I/O queue. It blocks (running the loop) and checks every answer. The death of any
 * connection is the death of the association.
 *
 * Several threads may share one controller, as one host must: one thread has the admin queue and opens first, the others
 * (opts.leader) open I/O queues of that controller alone.
 */
#ifndef FIRN_BENCH_ASSOC_H
#define FIRN_BENCH_ASSOC_H

#include "conn.h"

#define ASSOC_IO_MAX 64u
#define ASSOC_ADMIN_DEPTH 8u

struct assoc_ctrl;
struct assoc_opts {
    char     host[128];
    uint16_t port;
    char     subnqn[224], hostnqn[224];
    uint8_t  hostid[16];
    uint32_t io_queues, depth;
    uint32_t first_queue;        /* of them, counted from 0 over all threads of the controller */
    uint32_t all_queues;         /* of the controller; 0: io_queues */
    const struct assoc_ctrl *leader; /* NULL: with an admin queue and a controller of its own */
    bool     hdgst, ddgst, sq_flow;
    bool     discovery;          /* stop after the controller is enabled */
    uint32_t kato_ms;
    uint64_t timeout_ns;         /* of each step */
    uint32_t in_capsule_cap;     /* use at most this; UINT32_MAX: all that IOCCSZ allows */
};

struct ns_info {
    uint8_t  nguid[16];
    uint32_t lba_bytes;
    uint64_t size_lba;
    char     serial[21], model[41], firmware[9];
    uint32_t in_capsule_bytes;   /* of I/O queues */
    uint32_t mdts_bytes;         /* largest transfer; UINT32_MAX: no limit */
    uint32_t mqes;               /* entries of an I/O queue at most */
    bool     volatile_cache, can_trim, can_zero;
};

struct assoc_ctrl { uint16_t cntlid; uint64_t cap; struct ns_info ns; }; /* what an I/O queue needs of its controller */

struct assoc {
    struct loop      *loop;
    struct assoc_opts opts;
    struct conn       admin;
    struct conn       io[ASSOC_IO_MAX];
    uint32_t          nr_io;
    uint16_t          cntlid;
    uint64_t          cap;
    struct ns_info    ns;
    struct ini_cmd    keep_alive;
    bool              keep_alive_busy;
    uint64_t          keep_alive_next_ns;
    uint64_t          pdus_rx, r2ts, success_flags; /* of connections already closed */
    uint8_t          *page;      /* admin transfers */
};

struct assoc_ctrl assoc_ctrl_of(const struct assoc *a);
int  assoc_open(struct assoc *a, struct loop *l, const struct assoc_opts *opts, char why[static 256]);
/* Ends every outstanding command with INI_STATUS_LOST. polite: announce the shutdown first (CC.SHN). */
void assoc_close(struct assoc *a, bool polite);
bool assoc_dead(const struct assoc *a, const char **why, bool *protocol_fault);
void assoc_tick(struct assoc *a); /* keep alive when due; call every pass */

/* One admin command, blocking. Status in *status; negative: the connection died or time ran out. */
int  assoc_admin(struct assoc *a, struct ini_cmd *c, char why[static 256]);
/* The same on an I/O queue that nothing else uses meanwhile. */
int  assoc_io(struct assoc *a, uint32_t queue, struct ini_cmd *c, char why[static 256]);
void hostid_of(const char *hostnqn, uint32_t salt, uint8_t out[static 16]);

#endif
