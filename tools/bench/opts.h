/* SPDX-License-Identifier: Apache-2.0 */
/* opts.h: the command line of firn-bench. One list of options feeds parser and help. */
#ifndef FIRN_BENCH_OPTS_H
#define FIRN_BENCH_OPTS_H

#include "assoc.h"

#define THREADS_MAX 64u

enum bench_rw { RW_READ, RW_WRITE, RW_MIXED };

struct bench_opts {
    char          host[128], nqn[224], hostnqn[224], ack_log[1024];
    uint16_t      port;
    enum bench_rw rw;
    bool          random;
    uint32_t      read_pct, trim_pct, zero_pct; /* trim and zero: share of the writes */
    uint32_t      bs_bytes, qd, connections, threads, zipf_pct;
    uint64_t      time_ns, ops, bytes, rate, size_bytes, offset_bytes, seed, warmup_ns, reconnect_ns, timeout_ns, kato_ns;
    uint32_t      flush_every;
    uint64_t      in_capsule;
    int           cpu;
    bool          hdgst, ddgst, sq_flow, poll, json, verify, fresh, fua, idle, own_hosts;
};

/* 0, or 2 after a sentence on stderr (the exit status). */
int opts_parse(int argc, char **argv, struct bench_opts *o);
void opts_help(void);
void opts_assoc(const struct bench_opts *o, uint32_t thread, struct assoc_opts *out);

#endif
