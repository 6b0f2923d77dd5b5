/* SPDX-License-Identifier: Apache-2.0 */
/* marks.h: what of the log is durable, as the metadata knows it (marks.c). */
#ifndef FIRN_TIER_MARKS_H
#define FIRN_TIER_MARKS_H

#include "journal/journal.h"
#include "tier/format.h"
#include "tier/meta.h"

struct shard;

struct marks {
    struct journal_mark said[JOURNAL_STREAM_NR]; /* as in the last record handed to the metadata */
    uint64_t said_ns;            /* when; 0: never */
    uint64_t begun_ns, not_before_ns; /* the last batch of marks alone; the next one */
    bool     committing;
    bool     final;              /* records say so from now on: nothing is acknowledged after them */
    struct meta_batch batch;
    struct meta_op op;
    uint8_t  rec[SHARD_REC_MAX];
};

uint32_t marks_encode(struct shard *s, void *buf);        /* the 'S' record, for a batch that is committed next */
uint64_t marks_step(struct shard *s);                     /* when to be called again */
void     marks_begin(struct shard *s);                    /* the log is open: what is said from now on is not final */
bool     marks_busy(struct shard *s);                     /* the metadata does not name everything yet */

#endif
