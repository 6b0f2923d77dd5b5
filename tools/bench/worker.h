/* SPDX-License-Identifier: Apache-2.0 */
/* worker.h: one thread of load: a loop, an association, its slots, its part of the range.
 *
 * Happy path: fill every queue to its depth, write the submissions to the acknowledgement log, send each queue's batch
 * with one call, reap, judge, log acknowledgements; until time, count or bytes are reached; then drain.
 * A lost connection: every request in flight becomes a maybe; with --reconnect the association is built again and the
 * run goes on; without, the run fails.
 */
#ifndef FIRN_BENCH_WORKER_H
#define FIRN_BENCH_WORKER_H

#include "acklog.h"
#include "gen.h"
#include "hist.h"
#include "progress.h"
#include "share.h"

#include <pthread.h>

#define WORKER_FINDINGS 10

struct finding { uint64_t unit, sure, seen; enum oracle_verdict verdict; };

struct worker_stats {
    struct hist lat[GEN_OP_NR];
    uint64_t ops, bytes, acked_writes, submitted_writes, io_errors, reconnects, lost_requests, lost_writes;
    uint64_t outage_max_ns, outage_sum_ns, protocol_faults, units_judged;
    uint64_t pdus_rx, r2ts, success_flags;
    uint64_t begin_ns, end_ns, cpu_ns;
    uint64_t by_op[GEN_OP_NR];
};

struct worker;
struct slot {
    struct ini_cmd   cmd;
    struct worker   *w;
    struct slot     *next_free;
    uint32_t         queue;
    struct gen_req   req;
    uint64_t         id, start_ns;
    bool             busy;
    struct dsm_range range;
    uint8_t         *buf;
};

struct worker {
    const struct bench_opts *o;
    uint32_t          index;
    struct progress  *progress;    /* verify: told how many units are judged; NULL: nobody listens */
    bool              sweep;       /* verify: read every touched unit once */
    struct loop       loop;
    struct assoc      assoc;
    bool              assoc_open;
    struct ctrl_share *share;      /* NULL: a controller of its own; else thread 0 leads */
    struct assoc_ctrl joined;      /* that of the others */
    uint32_t          generation;  /* of the shared controller that assoc belongs to */
    struct ns_info    ns;
    struct oracle     oracle;
    bool              oracle_used;
    struct acklog_writer log;
    struct gen        gen;
    struct slot      *slots, *free_slots[ASSOC_IO_MAX];
    struct gen_range *single;      /* gen's, nr_slots */
    uint32_t          nr_slots, inflight;
    uint8_t          *mem;
    uint64_t          mem_bytes;
    uint64_t          next_id, id_step;
    uint32_t          run;
    uint64_t          quota_ops, quota_bytes, started_ops, started_bytes;
    bool              stop, measuring;
    int               err;
    bool              lost;        /* err is a connection that was lost, and did not come back */
    bool              usage;       /* err is the command line's: what was asked for does not fit the target */
    char              why[256];
    struct worker_stats st;
    struct finding    findings[WORKER_FINDINGS];
    uint32_t          nr_findings;
    pthread_t         thread;
};

extern volatile bool worker_interrupted; /* SIGINT, SIGTERM: finish what is in flight, report */

int  worker_connect(struct worker *w);              /* first association, on the worker's own thread */
int  worker_prepare(struct worker *w, uint64_t begin_bytes, uint64_t end_bytes); /* slots, buffers, generator */
void worker_run(struct worker *w);                  /* w->err, w->why, w->st */
void worker_disconnect(struct worker *w);           /* on the worker's own thread, the only one that may use its ring */
void worker_fini(struct worker *w);

void worker_leave(struct worker *w);                /* of the shared controller; once, after worker_disconnect() */

/* status_text.c: a status field without the phase bit in words. */
const char *status_text(uint16_t status);

/* worker_io.c */
bool worker_start_one(struct worker *w, uint32_t queue);

#endif
