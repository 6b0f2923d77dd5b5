/* SPDX-License-Identifier: Apache-2.0 */
/* trace.h: a block trace in memory: its requests, and which blocks they touch.
 *
 * A line is t_us,op,offset,len: microseconds, since whenever, or -1 (when the request before it is answered), R or W,
 * bytes, bytes. Nothing else may stand in a file, no blank lines and no headings; it may be compressed with gzip.
 */
#ifndef FIRN_SIM_TRACE_H
#define FIRN_SIM_TRACE_H

#include "base/types.h"

struct trace_req {
    int64_t  t_us;        /* since the earliest one. -1: arrives when the request before it is answered */
    uint64_t off_bytes;
    uint32_t len_bytes;   /* > 0 */
    bool     write;
};

/* Blocks that the trace touches, in order, as runs that neither overlap nor meet. */
struct trace_run { uint64_t first, nr, base; }; /* base: blocks in the runs before it */

struct trace {
    struct trace_req *req;
    size_t            nr;
    struct trace_run *run;
    size_t            nr_runs;
    uint64_t          blocks;     /* distinct ones: the footprint */
    uint64_t          end_bytes;  /* behind the last byte that is addressed */
};

#define TRACE_LEN_MAX (UINT32_C(1) << 30)

/* 0; -FIRN_E_INVALID: a line is broken, or there is none; -errno: cannot be read. why names file, line and what is wrong. */
int  trace_read(const char *path, struct trace *out, char why[static 512]);
void trace_free(struct trace *t);
/* Adds a request: for tests and generators. Then trace_index() once. */
void trace_add(struct trace *t, int64_t t_us, bool write, uint64_t off_bytes, uint32_t len_bytes);
void trace_index(struct trace *t);
bool trace_timed(const struct trace *t); /* a request has a time */

/* A request covers whole blocks: what it touches in part counts. */
static inline uint64_t trace_first(const struct trace_req *q) { return q->off_bytes / BLOCK_BYTES; }
static inline uint64_t trace_last(const struct trace_req *q) { return (q->off_bytes + q->len_bytes - 1) / BLOCK_BYTES; }
/* Number of a touched block among the touched ones, 0..blocks-1. */
uint64_t trace_rank(const struct trace *t, uint64_t block);

#endif
