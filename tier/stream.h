/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h: which reads follow each other, and how far ahead of them a capacity device should be read. Pure memory. */
#ifndef FIRN_TIER_STREAM_H
#define FIRN_TIER_STREAM_H

#include "base/limits.h"

#define STREAMS           64u
#define STREAM_BUCKETS    128u
#define STREAM_MIN_BLOCKS (128u * 1024u / BLOCK_BYTES) /* read in one go before anything is read ahead: random reads pay nothing */

#define STREAM_GUESSES 64u
struct stream {
    uint64_t next;               /* block after the latest read */
    uint64_t ahead;              /* blocks before it were asked for ahead */
    uint64_t nblocks;            /* read so far */
    uint64_t nr;                 /* reads, or writes */
    uint64_t fast_from;          /* of writes, bypass.c: of nblocks those before it came too slowly, or before a pause */
    uint64_t mark, mark_ns;      /* ... this many had come then */
    uint8_t  shares;             /* of the latest ones, a bit each, the latest lowest: did the next one begin in its last block? */
    uint8_t  now;                /* of guess: what the latest one looks like */
    int8_t   guess[STREAM_GUESSES]; /* above 0: the next one mostly begins in the last block of such a one */
};

struct stream_table {            /* 0: of no stream */
    uint64_t key[STREAMS];       /* layer and next: what a read is compared with; 0: not used yet */
    struct stream of[STREAMS];
    uint8_t  head[STREAM_BUCKETS]; /* by a hash of the key's neighbourhood: number + 1 of a stream; 0: none */
    uint8_t  chain[STREAMS];     /* of the next one with that hash; likewise */
    uint8_t  younger[STREAMS + 1], older[STREAMS + 1]; /* a ring of numbers by last use; STREAMS: its two ends */
    bool     begun;              /* the ring is set */
};

/* A read of nblocks from block on. The stream that it belongs to: perhaps a new one, in the place of the one unused for
 * longest. */
struct stream *stream_read(struct stream_table *t, uint32_t layer, uint64_t block, uint64_t nblocks);
/* Will the next one begin in the last block of the latest one? As likely as not, if it was so after one of that length that came after
 * such ones: a host cuts what is long into pieces, and only the last of them ends within a block. */
bool stream_shares_last(const struct stream *st);
/* How many blocks to read ahead now, from *from on; at most max: as many as were read so far, once half of
 * what is ahead has been used. */
uint64_t stream_ahead(struct stream *st, uint64_t max, uint64_t *from);

#endif
