/* SPDX-License-Identifier: Apache-2.0 */
/* read.h: reads of whole blocks, and the runs that they are made of: read.c and its files. */
#ifndef FIRN_TIER_READ_H
#define FIRN_TIER_READ_H

#include "tier/gate.h"
#include "tier/priv.h"
#include "tier/sums.h"

struct fetch;

struct rio {                     /* a read of whole blocks */
    struct shard *s;
    uint32_t layer, nblocks;
    uint64_t block;
    const struct iovec *iov;
    int iovcnt;
    uint32_t next;               /* blocks before it have been started */
    uint32_t in_flight;
    uint32_t moves;              /* blocks that were elsewhere when they were to be read again */
    int err;
    uint64_t err_block;
    struct damage_run damage;    /* of the latest block without an answer, and its neighbours: not said yet */
    bool parked;                 /* on a waiters' list */
    bool starved;                /* parked, for a run */
    struct list *turn;           /* of those that wait for a run, which it heads now: nobody else's turn comes first; or NULL */
    uint64_t ahead_end;          /* a fetch that it begins goes on to there, within the extent; 0: it belongs to no stream */
    uint64_t stream_blocks;      /* length so far of the stream that it belongs to */
    uint64_t missed;             /* chunk + 1 whose miss has been counted for it; 0: none */
    uint64_t again_chunk;        /* blocks of it that RAM had, a bit each, not counted yet */
    uint16_t again;
    struct hold *hold;           /* the request's: own, or its rmw's */
    struct hold own;
    void (*cb)(struct rio *r);
    void *ctx;
    struct list node;            /* s->runs_wanted, s->runs_dev, s->rios_done */
    struct sums_waiter wait;
};

static inline void rio_hit(struct rio *r, uint32_t n) { figure_add(&layer_at(r->s, r->layer)->hit_blocks, n); }
static inline void rio_missed(struct rio *r, uint32_t n) { figure_add(&layer_at(r->s, r->layer)->miss_blocks, n); }

enum run_source { RUN_NOTHING, RUN_ZERO, RUN_DAMAGED, RUN_LOG, RUN_COLD, RUN_TWIN, RUN_WAIT, RUN_UNKNOWN };
struct run_at {                  /* where one block lies now */
    enum run_source source;
    uint32_t csum;
    struct journal_loc loc;      /* LOG */
    uint32_t slot;               /* LOG: index id */
    uint32_t x;                  /* COLD, TWIN: extent, place, block in it */
    struct extent_place place;
    uint32_t in_extent;
    int err;                     /* UNKNOWN: why the metadata does not say */
};
struct run {                     /* neighbouring blocks from one source: one device request; then, one by one, those that failed */
    struct dev_io io;
    struct rio *rio;
    struct fetch *fetch;         /* that brings them: no request of their own; else NULL */
    struct slots_pin pin;        /* of the places that the request in flight reads */
    bool     pinned;
    bool     rotten_copies;      /* repair: those of the run that failed were read from places, and were rot */
    struct list node;            /* fetch.runs */
    struct run_at at;            /* of the first block of the request in flight */
    uint32_t first, n;           /* blocks of the request in flight */
    struct run_at whole;         /* repair: the run as it was */
    uint32_t whole_first, whole_n;
    uint64_t bad[(IO_BLOCKS_MAX + 63) / 64]; /* blocks still to be repaired, from whole_first */
    uint64_t counted[(IO_BLOCKS_MAX + 63) / 64]; /* their checksum errors were: once a block and read */
    bool     repairing, fresh;   /* fresh: the current bad block has not been looked up again yet */
    uint32_t tries;              /* 0: failed once; 1: read again; 2: the other copy */
    uint32_t want;               /* repair: the block's checksum */
    int      last_err;
    struct sums_waiter wait;
    struct iovec iov[BLK_IOV_MAX];
    uint32_t csum[IO_BLOCKS_MAX];
};

/* read.c */
void     read_start(struct shard *s, uint32_t layer, struct blk_io *io, unsigned kinds, uint64_t devs);
/* r->hold, r->ahead_end and r->stream_blocks are set. */
void     read_blocks(struct shard *s, struct rio *r, uint32_t layer, uint64_t block, uint32_t nblocks,
                     const struct iovec *iov, int iovcnt);
void     read_cancel(struct rio *r);                      /* if it waits for a run it ends, with what is under way */
void     runs_resume(struct shard *s);

/* read_where.c */
/* Source WAIT: w is called when the checksums have come; without w they are only looked for in RAM. */
void     where_look_up(struct rio *r, uint64_t block, struct sums_waiter *w, struct run_at *at);
void     where_map(struct rio *r, uint64_t block, struct sums_waiter *w, struct run_at *at); /* whatever the index has */
bool     where_same(const struct run_at *a, const struct run_at *b);
bool     where_follows(const struct run_at *a, uint32_t n, const struct run_at *b); /* b is what lies n blocks behind a */

/* read_run.c */
void     run_submit(struct run *u, uint32_t want);        /* want: the checksum of the block, when only one is repaired */
void     run_end(struct run *u);
void     run_take(struct run *u, const struct fetch *f);  /* its fetch has ended: copies what came */
void     run_taken(struct run *u);                        /* then ends, or repairs the rest */
/* A copy in a place that cannot be had now is no reason to fail. True: it is dropped, and the block is to be looked up again. */
bool     run_copy_given_up(struct shard *s, const struct run_at *at);
bool     run_dev_usable(struct shard *s, const struct run_at *at);

/* read_repair.c */
void     repair_begin(struct run *u);                     /* u->bad says which blocks */
void     repair_step(struct run *u);                      /* goes on with the next one, or ends the run */
void     repair_wake(struct sums_waiter *w);

/* read_answer.c */
void     rio_fail(struct rio *r, uint64_t block, int err);
void     rio_say_damage(struct rio *r);                   /* what has been noted of neighbours */
void     rio_check_done(struct rio *r);                   /* calls back if nothing is left to do */
void     rio_block_failed(struct rio *r, uint64_t block, const struct run_at *at, int err); /* err: the device's, which may mend; 0: rot */
void     rio_block_unknown(struct rio *r, uint64_t block, int err); /* the metadata would not say where it lies, or whether it is lost */

#endif
