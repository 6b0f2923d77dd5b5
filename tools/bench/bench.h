/* SPDX-License-Identifier: Apache-2.0 */
/* bench.h: the subcommands; each returns the process's exit status. */
#ifndef FIRN_BENCH_BENCH_H
#define FIRN_BENCH_BENCH_H

#include "worker.h"

int cmd_run(const struct bench_opts *o);
int cmd_verify(const struct bench_opts *o);
int cmd_list(const struct bench_opts *o);
int cmd_ping(const struct bench_opts *o);

struct totals {
    struct worker_stats st;      /* sums over threads */
    struct hist         all;     /* every operation's latency */
    uint64_t            verdicts[ORACLE_VERDICT_NR];
    uint64_t            touched; /* units the log knows */
    double              seconds;
    const struct worker *workers;
    uint32_t            nr_workers;
    const struct ns_info *ns;
    struct acklog_summary log;
    int                 err;
    bool                usage;   /* err is the command line's */
    bool                lost;    /* err is a connection that was lost */
    const char         *why;
};
void report_run(const struct bench_opts *o, const struct totals *t);
void report_verify(const struct bench_opts *o, const struct totals *t);
bool totals_clean(const struct totals *t);

#endif
