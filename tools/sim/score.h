/* SPDX-License-Identifier: Apache-2.0 */
/* score.h: what a replay counts, and how it is printed. */
#ifndef FIRN_SIM_SCORE_H
#define FIRN_SIM_SCORE_H

#include "base/strbuf.h"
#include "base/types.h"

struct score_dev {               /* commands that reached a kind of device, as it was sent them */
    uint64_t reads, writes, read_bytes, write_bytes;
    uint64_t seeks;              /* HDD: positionings that were charged */
    uint64_t busy_ns;
};

enum score_use { SCORE_READ, SCORE_DESTAGE, SCORE_DESCRIBE, SCORE_USE_NR };

struct score {
    uint64_t requests, reads, writes;
    uint64_t blocks_read;        /* asked for, in whole blocks */
    uint64_t blocks_missed;      /* of them: not on the SSD nor in RAM */
    uint64_t blocks_in_ram;      /* of them: in RAM */
    uint64_t blocks_written;
    struct score_dev hdd, ssd;   /* of all HDDs; journal and cache */
    uint64_t use_ns[2][SCORE_USE_NR]; /* hdd.busy_ns by what the HDDs did; [1]: in the final flush */
    uint64_t ssd_host_bytes;     /* of ssd.write_bytes: payload of host writes, */
    uint64_t ssd_moved_bytes;    /* of blocks that reclaim moved or saved, */
    uint64_t ssd_fill_bytes;     /* of other clean copies; the rest is headers, summaries and tables */
    uint64_t destaged_blocks, bridged_blocks, described_bytes, write_waits;
    uint64_t meta_batches, meta_pages; /* metadata commits, and pages that LMDB would write for them: beside ssd */
    uint64_t span_bytes, footprint_bytes; /* of the trace; span: the HDD's addressed span */
    uint64_t ssd_bytes;          /* segments, without labels */
    uint32_t segment_bytes, nr_hdd;
    bool     closed;             /* one request outstanding; else they came at the trace's times */
    uint64_t run_ns, flush_ns;   /* virtual time: first arrival to last answer; the final flush */
    uint64_t *latency_ns;        /* one a request; sorted by score_finish() */
};

void score_fini(struct score *s);
/* Sorts the latencies. */
void score_finish(struct score *s);
double score_mean_ns(const struct score *s);
/* The request at rank requests * part / 1000, counted from the fastest. After score_finish(). */
uint64_t score_percentile_ns(const struct score *s, unsigned part);
/* Share of blocks read that needed no HDD; 0 without reads. */
double score_read_hit(const struct score *s);
uint64_t score_header_bytes(const struct score *s);

void score_print(struct strbuf *out, const struct score *s);
/* One object, the scorecard's keys; MB are 10^6 bytes. */
void score_json(struct strbuf *out, const struct score *s);

#endif
