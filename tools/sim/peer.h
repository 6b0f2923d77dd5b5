/* SPDX-License-Identifier: Apache-2.0 */
/* peer.h: what other caches would have needed for a trace: models of their published rules, for scale. Pure arithmetic: no
 * engine, no machine; the same trace always gives the same figures.
 *
 * hdd     no cache.
 * wtlru   write-through, LRU of 4 KiB lines.
 * bcache  write-back, LRU; streams past 4 MiB bypass; cleans in address order above 10 % dirty, when the disk has rested or, without
 *         a clock, once a write; writes bypass above 70 % dirty.
 * ocf     write-back, LRU; streams past 1 MiB bypass once it is full; cleans what was written 120 s ago, 100 blocks at a time, after
 *         10 s of rest, and 100 of the oldest when it must evict a dirty block.
 * bc64k, ocf64k: the same with lines of 64 KiB on reads; only blocks of the trace take room, in the peer's favour.
 * Every write to the SSD pays its data and 4 KiB; every dirty block is written at the end, in address order, and counts. A request
 * covers whole blocks in the cache, and its own bytes on the disk. One disk, one request at a time; the SSD has no queue.
 */
#ifndef FIRN_SIM_PEER_H
#define FIRN_SIM_PEER_H

#include "tools/sim/trace.h"

#define PEERS(x) x(HDD, "hdd") x(WTLRU, "wtlru") x(BCACHE, "bcache") x(BC64K, "bc64k") x(OCF, "ocf") x(OCF64K, "ocf64k")

enum peer_kind {
#define X(tag, name) PEER_##tag,
    PEERS(X)
#undef X
    PEER_NR
};
const char *peer_name(enum peer_kind k);

struct peer_score {
    uint64_t hdd_reads, hdd_writes, hdd_seeks, hdd_read_bytes, hdd_write_bytes, hdd_busy_ns;
    uint64_t ssd_write_bytes;
    uint64_t blocks_read, blocks_hit;
    double   mean_ns;
    uint64_t p99_ns;
};

/* ssd_bytes: room for data; at least 64 blocks are taken. closed: the trace's times are not looked at. */
void peer_run(enum peer_kind k, const struct trace *t, uint64_t ssd_bytes, bool closed, struct peer_score *out);

/* One request is outstanding: it was asked for (closed), or the trace has no times, or they say nothing, and are not wanted (open). */
bool peer_closed(const struct trace *t, bool closed, bool open);
/* Its requests come more than three times as fast as a disk alone could answer them: replayed at its times the trace would
 * measure a queue and nothing else. Never of a trace without times. */
bool peer_too_dense(const struct trace *t);

#endif
