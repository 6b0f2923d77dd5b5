/* SPDX-License-Identifier: Apache-2.0 */
/* gen.h: block traces made from a seed, for machines that have no recorded ones. Whole numbers and divisions only: the same
 * kind, seed and length give the same requests on every machine.
 */
#ifndef FIRN_SIM_GEN_H
#define FIRN_SIM_GEN_H

#include "tools/sim/trace.h"

#define GEN_KINDS(x)                                                                              \
    x(ZIPF,       "zipf",       "small requests, a few places much more often than the rest; no clock") \
    x(SCAN,       "scan",       "the same, mostly reads, with long scans running through it; no clock") \
    x(OLTP,       "oltp",       "a log written in a row, pages read and written, bursts of checkpoints") \
    x(COMPACTION, "compaction", "files written and merged whole, a commit log, small reads of live files")

enum gen_kind {
#define X(tag, name, text) GEN_##tag,
    GEN_KINDS(X)
#undef X
    GEN_KIND_NR
};
const char *gen_kind_name(enum gen_kind k);
const char *gen_kind_text(enum gen_kind k);
int gen_kind_parse(const char *name); /* -1: none */

/* Adds nr requests to a trace that has none, without trace_index(). */
void gen_trace(enum gen_kind k, uint64_t seed, size_t nr, struct trace *out);

#endif
