/* SPDX-License-Identifier: Apache-2.0 */
/* mover.h: destage: lanes, one a capacity device, and the extents of their batches (mover.c and its files, pick.c, capture.c). */
#ifndef FIRN_TIER_MOVER_H
#define FIRN_TIER_MOVER_H

#include "tier/bits.h"
#include "tier/priv.h"
#include "tier/sums.h"

#define BRIDGE_BLOCKS   (64u * 1024u / BLOCK_BYTES)      /* longest hole in a run that clean blocks are written over */

enum job_stage { JOB_PICKED, JOB_READING, JOB_READ, JOB_WRITING, JOB_SENT, JOB_DONE, JOB_STAGE_NR }; /* SENT: all of its runs were */
#define JOB_NONE UINT32_MAX
struct job {                     /* one extent's destage */
    uint32_t x;
    enum job_stage stage;
    char    *buf;                /* EXTENT_BYTES, one of the lane's: block i at i * BLOCK_BYTES; NULL: none yet, or no longer */
    uint64_t seq;                /* S */
    int      err;                /* given up */
    uint32_t runs;               /* of its payload in flight */
    int      write_err;          /* of one of them */
    bool     captured, tombstone, relocate, wrote;
    bool     swap;               /* its twin becomes its place: all of it lies there */
    struct extent_place place;   /* where it will be */
    struct extent_place old_place; /* to be given back after the commit; EXTENT_NO_DEV: none */
    uint64_t dirty[CAPTURE_WORDS];  /* captured */
    uint64_t put[CAPTURE_WORDS];    /* of them with payload: to be written */
    uint64_t bridge[CAPTURE_WORDS]; /* clean ones in the log that may be written over a hole */
    uint64_t kept[CAPTURE_WORDS];   /* of the dirty: the map has them already (INDEX_KEPT) */
    uint64_t cold[CAPTURE_WORDS];   /* to be read from where the map has the extent: relocation; kept ones that the log does not give */
    uint64_t held[CAPTURE_WORDS];   /* loc's segment is held, until the payload has been read */
    struct journal_loc loc[EXTENT_BLOCKS];
    uint64_t block_seq[EXTENT_BLOCKS];
    struct extent_sums sums;     /* as the batch will say */
    uint8_t  rec[EXTENT_REC_BYTES], sums_rec[EXTENT_SUMS_BYTES];
};

enum lane_state { LANE_IDLE, LANE_WORK, LANE_FLUSH, LANE_COMMIT, LANE_DESCRIBE, LANE_STATE_NR };
enum lane_turn { TURN_NONE, TURN_ASKED, TURN_HELD };
#define LANE_READS 32u
#define LANE_BUFS  4u            /* some extents are read while others are written: neither a stream nor a train waits for the log */
#define LANE_RUNS  16u           /* of a train at most */
#define LANE_PAUSE_ERROR_NS (100 * NS_PER_MS)
#define LANE_PAUSE_ERROR_MAX_NS (10 * NS_PER_S) /* after several batches in a row that committed nothing */
#define LANE_STINT_NS (200 * NS_PER_MS) /* one lane keeps its device's turn so long before another shard's has it */
#define DESCRIBE_BATCH 64u
struct lane;
struct lane_read { struct dev_io io; struct iovec iov; struct lane *lane; uint32_t first, n; bool busy; };
struct lane_run { struct dev_io io; struct iovec iov; struct lane *lane; uint32_t job; bool busy; };

struct lane {                    /* destages for one device, one batch at a time; behind them what needs no device; migration */
    struct shard *s;
    uint16_t dev;                /* EXTENT_NO_DEV: the meta lane; of migration: where this batch goes */
    bool     migrates;           /* the lane of migration */
    enum lane_state state;
    uint32_t nr_jobs;            /* of this batch */
    uint32_t rd, wr;             /* the one that is captured and read; the one that is written; JOB_NONE */
    struct job *jobs;            /* POLICY_BATCH_EXTENTS */
    char    *buf;                /* LANE_BUFS of EXTENT_BYTES */
    bool     buf_busy[LANE_BUFS];
    uint32_t reads_in_flight;
    uint32_t next_block;         /* of the job that is written: all before it were started */
    struct lane_run run[LANE_RUNS];
    uint32_t runs;               /* in flight; of payload, or the one of descriptions */
    uint64_t train_ns;           /* what the train in flight takes the device, from when it had nothing of this lane */
    uint64_t want[CAPTURE_WORDS];/* reads of this pass: not started yet */
    uint64_t bad[CAPTURE_WORDS]; /* failed in this pass */
    uint64_t unread[CAPTURE_WORDS]; /* of this job: the log's device gave an error, not bytes */
    int      read_err;           /* a device error among them */
    uint32_t pass;               /* of reads: what failed is read again, alone, REREADS_MAX times before it is called damaged */
    bool     io_busy;            /* io, or a run, is in flight */
    struct lane_read read[LANE_READS];
    struct dev_io io;            /* descriptions, flush */
    struct iovec  iov;
    enum lane_turn turn;         /* to write to its device: turn.h */
    struct turn_want turn_want;
    uint64_t turn_ns;            /* when it got the turn */
    bool     streamed;           /* since its last run a train of streams went out */
    bool     lent;               /* the turn is, to a train of streams: nothing of the lane's goes out (bypass_run.c) */
    uint64_t flush_devs;         /* FLUSH: devices that hold what this batch wrote, and are not flushed yet */
    uint64_t turn_since_ns;      /* FLUSH: a turn has been waited for since then (flush_turn.h) */
    uint32_t flush_failures[CAPACITY_DEVS_MAX]; /* of all shards, when this batch began */
    uint64_t not_before_ns;
    uint64_t pause_ns;           /* after the last batch that failed; 0: one has committed since */
    uint64_t paused_ns;          /* when that batch was begun */
    uint64_t begun_ns;           /* when this batch was */
    uint64_t bytes;              /* written by it */
    uint64_t destage_last_ns;    /* when the last batch of destages ended */
    bool     at_rest;            /* this batch takes what is dense or cold (idle regime) */
    uint64_t cold_look_ns;       /* nothing is before */
    uint32_t cold_looked;        /* extents that this way around the device has left as they are, so far */
    uint64_t cold_next_ns;       /* the first of them is due then */
    uint32_t desc[DESCRIBE_BATCH]; /* describe.c: extents of this batch, by slot */
    bool     takes_pinned;       /* this batch: what is pinned, too */
    uint32_t slot_from;          /* where the sweep over the device goes on: behind the last extent that was picked */
    uint32_t desc_from;          /* slot at which the search for the next ones goes on */
    uint64_t swept_ns;           /* when that was last past the end, or nothing was due */
    uint32_t nr_desc, desc_at, desc_n; /* all; first of the run at work; its length so far */
    bool     to_ring;            /* they go to the device's ring, in one write; else to their regions */
    bool     parked;             /* waits for checksums */
    struct sums_waiter wait;
    struct meta_batch batch;
    struct meta_op ops[2 * POLICY_BATCH_EXTENTS + 1];
    uint8_t shard_rec[SHARD_REC_MAX];
};
static_assert(CAPACITY_DEVS_MAX <= 64, "flush_devs has a bit a device");

static inline struct job *lane_reading(struct lane *l) { return &l->jobs[l->rd]; }
static inline struct job *lane_writing(struct lane *l) { return &l->jobs[l->wr]; }
static inline bool lane_writes(const struct lane *l) { return l->state == LANE_WORK && (l->wr != JOB_NONE || l->runs > 0); }

/* mover.c */
int      mover_init(struct shard *s);
void     mover_fini(struct shard *s);
uint64_t mover_step(struct shard *s);                     /* when to look again; UINT64_MAX: not by the clock */
void     mover_drain(struct shard *s);                     /* a drain begins: no pause after an error keeps it waiting for long */
bool     mover_busy(const struct shard *s);
void     lane_set_state(struct lane *l, enum lane_state to);
void     lane_begin(struct lane *l);                      /* a batch, if there is anything to do */
void     lane_rest(struct lane *l);                       /* the batch is over */
bool     lane_yields(struct lane *l);
bool     lane_hurries(struct lane *l);                    /* it destages beside foreground requests */
bool     lane_waited_for(struct lane *l);                 /* hosts' requests wait for what it destages */
struct policy_state lane_policy(struct lane *l);

/* pick.c */
void     lane_pick(struct lane *l, unsigned lowest);      /* jobs; of buckets from this one on */
uint64_t lane_pick_cold(struct lane *l);                  /* jobs, in the idle regime; without one: when there may be one */
void     lane_pick_meta(struct lane *l);
struct extent_place extent_neighbour(struct shard *s, const struct extent *e);
void     lane_add(struct lane *l, uint32_t x);            /* a job */
void     lane_unpick(struct lane *l, const struct job *job); /* it was the last one, and has its turn another time */

/* mover_batch.c */
void     lane_step(struct lane *l);                       /* goes on with what can go on */
void     lane_read_done(struct lane *l);                  /* or given up with job->err */
void     lane_job_written(struct lane *l, uint32_t job);  /* it was sent, and nothing of it is in flight */
void     lane_drop_failed(struct lane *l);                /* jobs that were given up leave the batch */
bool     lane_relocate(struct lane *l, struct job *job);  /* it begins again for another device; false: there is none */
void     lane_shed(struct lane *l);                       /* its device hangs */

/* capture.c */
int      job_capture(struct lane *l, struct job *job, const struct sums *base); /* base: NULL, or what the map says; -EAGAIN */
void     job_keep_bridges(struct job *job);
void     job_own_bridges(struct lane *l, struct job *job);
void     job_release(struct lane *l, struct job *job);

/* mover_io.c */
int      lane_read_start(struct lane *l);                 /* the payload of the job that is read; then lane_read_done */
bool     lane_write_more(struct lane *l);                 /* of the job that is written; true: all of it was sent, or will not be */
void     lane_flush(struct lane *l);                      /* then lane_commit */
void     lane_flush_step(struct lane *l);                 /* goes on if it is its turn */

/* mover_turn.c */
void     lane_turn_init(struct lane *l);
bool     lane_turn(struct lane *l);                       /* may a run go out now? false: lane_step() or describe_go_on() comes again */
void     lane_turn_over(struct lane *l);                  /* nothing goes out now: another shard may */
bool     lane_turn_lend(struct lane *l);                  /* to a train of streams; false: as with lane_turn(), or the lane's is out */
bool     lane_turn_to_streams(struct lane *l);            /* a train of streams goes first, or is out: no run may */
void     lane_turn_back(struct lane *l);                  /* that train is over */
void     lane_turn_rest(struct lane *l);                  /* no train has more for it now */
void     lane_run_begin(struct lane *l, uint16_t dev, const struct dev_io *io); /* it goes there */
void     lane_run_end(struct lane *l, uint16_t dev, const struct dev_io *io);   /* it is over; its bytes count against the budget */
uint32_t lane_run_blocks(const struct lane *l, uint16_t dev, uint64_t off_bytes, uint32_t nblocks); /* so many of them in one run */
bool     lane_train_takes(struct lane *l, uint16_t dev, uint64_t off_bytes, uint32_t nblocks); /* then the run counts as a part of it */
uint64_t lane_budget_ns(const struct lane *l);            /* no run goes out before */

/* mover_commit.c */
void     lane_commit(struct lane *l);

#endif
