/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim.h: log segments are emptied (reclaim.c); what its files share, and what a pass of the shard calls. */
#ifndef FIRN_TIER_RECLAIM_H
#define FIRN_TIER_RECLAIM_H

#include "base/list.h"
#include "journal/journal.h"
#include "rt/dev.h"
#include "tier/format.h"
#include "tier/meta.h"

struct shard;

enum reclaim_state {
    RECLAIM_IDLE, RECLAIM_MOVE, RECLAIM_VIRTUAL, RECLAIM_DISCARDS, RECLAIM_PLACED, RECLAIM_SETTLE, RECLAIM_SAVE, RECLAIM_DROP,
    RECLAIM_COMMIT,
    RECLAIM_STATE_NR
};
#define MOVES_BATCH 64u          /* appended together */
#define MOVES_MAX (2 * MOVES_BATCH) /* one batch is being read while one is being written */
struct move {                    /* one block, or one record without payload, on its way to the stream of moves */
    struct journal_append app;
    struct dev_io io;
    struct iovec iov;
    struct shard *s;
    char    *buf;                /* BLOCK_BYTES; this struct's for good */
    struct list node;            /* rc.ready */
    uint32_t layer, csum, from;  /* layer index; from: the segment it leaves */
    struct journal_loc loc;
    int      tries;
    bool     save;               /* a clean block that is used: to a place for copies instead */
};
struct reclaim {
    enum reclaim_state state;
    uint32_t segment, cursor, in_flight;
    struct list ready;           /* moves that wait for their batch */
    uint32_t nr_ready, reads;    /* reads: moves whose block is being read */
    uint32_t passes;             /* over the victim */
    uint32_t looks;              /* at slots and nodes in this pass of the shard: SCAN_BUDGET at most */
    uint64_t moved;              /* blocks of the victim */
    uint64_t look_ns;            /* not before */
    uint64_t seen_changes;       /* s->changes when no victim was found; UINT64_MAX: one was */
    bool     seen_starved;
    bool     wanted;             /* the journal asked for space */
    bool     stuck;              /* a block of the victim could not be read: it stays */
    bool     for_places;         /* the victim is emptied for copies */
    bool     saved;              /* the victim's used blocks have been looked at, or are: */
    uint64_t saved_ns;           /* since then no block was read that is to be saved */
    bool     forgot;             /* planted bug: done for this victim */
    struct meta_batch batch;
    struct meta_op op[2];
    uint8_t  rec[64], shard_rec[SHARD_REC_MAX];
};

#define RECLAIM_SETTLE_NS (2 * NS_PER_MS)
#define RECLAIM_SAVE_USES 2u     /* reads of a clean block since it was written: it is worth another copy's place */

/* reclaim.c */
bool     reclaim_step(struct shard *s);                   /* true: more to do at once */
bool     reclaim_busy(const struct shard *s);
uint64_t reclaim_look_ns(const struct shard *s);          /* when to look again; UINT64_MAX: not by the clock */
bool     reclaim_starved(const struct shard *s);          /* hosts' appends wait for a free segment */

/* reclaim_victim.c */
enum reclaim_price { PRICE_NOTHING, PRICE_HALF, PRICE_FAIR, PRICE_ANY }; /* what a victim may cost in moves; HALF: of its blocks */
uint32_t reclaim_victim(struct shard *s, enum reclaim_price price, double *best_score); /* of the log; INDEX_NONE: none */
uint32_t reclaim_slot_victim(struct shard *s, double score); /* of the segments for clean copies, if it is better than that */
uint32_t reclaim_cheapest(struct shard *s, bool hurry);   /* of both */
double   reclaim_score(const struct shard *s, uint32_t segment); /* as a victim; 0: none */
uint32_t reclaim_free_target(const struct shard *s);      /* of free segments: reclaim begins when there are no more than so many */

/* reclaim_walk.c */
bool     reclaim_walk(struct shard *s);                   /* that of the state; false: it must wait, true: it is over */
bool     reclaim_destages(const struct shard *s);         /* what is dirty in a victim, rather than move it */
void     reclaim_pass_over(struct shard *s);              /* the next pass has a budget of its own */

/* reclaim_move.c */
struct move *move_get(struct shard *s, uint32_t layer);   /* from the victim; NULL: none is free */
void     move_read(struct move *m);                       /* its block; then it is appended, or saved */
void     move_append(struct move *m, enum journal_rec_type type, uint64_t seq, uint64_t lba, uint64_t nblocks);
/* A record of blocks in a twin, whose checksums stand in m->buf. */
void     move_append_placed(struct move *m, uint64_t seq, uint64_t lba, uint64_t nblocks, uint64_t place);
void     moves_flush(struct shard *s);                    /* those that wait for their batch to be full */

/* press.c */
void     reclaim_press(struct shard *s, uint32_t victim); /* its dirt, and that of those that come next, is wanted on the disk */

#endif
