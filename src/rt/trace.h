/* SPDX-License-Identifier: Apache-2.0 */
/* trace.h: the last few thousand events of a thread, in a ring, for the last words of a crash and for failing seeds.
 *
 * A trace point costs a clock-free store of four words. The list of points is one X-macro; names in a dump come from it.
 */
#ifndef FIRN_RT_TRACE_H
#define FIRN_RT_TRACE_H

#include "base/strbuf.h"
#include "base/types.h"

/*      tag                 meaning of a, b, c */
#define TRACE_POINTS(x)                                              \
    x(JOURNAL_GROUP_SUBMIT, "stream group bytes")                    \
    x(JOURNAL_GROUP_DURABLE,"stream group seq")                      \
    x(JOURNAL_SEGMENT_OPEN, "stream segment epoch")                  \
    x(JOURNAL_SEGMENT_SEAL, "segment epoch groups")                  \
    x(JOURNAL_SEGMENT_FREE, "segment epoch free")                    \
    x(JOURNAL_FAILED,       "err segment offset")                    \
    x(TIER_WRITE,           "layer lba blocks")                      \
    x(TIER_WRITE_DONE,      "layer lba seq")                         \
    x(TIER_READ,            "layer lba blocks")                      \
    x(TIER_ZERO,            "layer lba blocks")                      \
    x(TIER_DESTAGE_START,   "layer extent seq")                      \
    x(TIER_DESTAGE_DONE,    "layer extent err")                      \
    x(TIER_RECLAIM_START,   "segment dirty epoch")                   \
    x(TIER_RECLAIM_DONE,    "segment moved err")                     \
    x(TIER_CSUM_ERROR,      "layer lba place")                       \
    x(META_COMMIT,          "batch entries err")                     \
    x(QUEUE_STATE,          "queue from to")                         \
    x(CMD_STATE,            "cid from to")                           \
    x(CTRL_STATE,           "cntlid from to")

enum trace_point {
#define X(tag, args) TRACE_##tag,
    TRACE_POINTS(X)
#undef X
    TRACE_NR
};

/* This thread's ring; free at thread exit. */
void trace(enum trace_point point, uint64_t a, uint64_t b, uint64_t c);
/* This thread's last `nr` events, oldest first, one line each. */
void trace_dump(struct strbuf *out, uint32_t nr);
/* On SIGABRT and other fatal signals: every thread's last events to stderr, then the default action (core). */
void trace_install_crash_handler(void);

#endif
