/* SPDX-License-Identifier: Apache-2.0 */
/* priv.h: struct shard and what its flows share. Reading order: index.h, extent.h, this, map.c (the index and the extents
 * kept in step), gate.c, share.c, heat_meta.c, write.c, twin.c, bypass.c, bypass_run.c, read.c with read_where.c, read_run.c,
 * read_repair.c and read_answer.c, fetch.c, fill.c, places.c, sums.c, zero.c, rmw.c, cancel.c,
 * mover.c with pick.c, mover_batch.c, capture.c, mover_io.c, mover_turn.c, mover_commit.c, migrate.c, describe.c, described.c and ring.c,
 * reclaim.c with reclaim_victim.c, reclaim_walk.c and reclaim_move.c, forget.c, oldest.c, recover.c, recover_places.c, shard.c.
 *
 * Everything runs on shard->env, but the racy readers named in shard.h. Pools and tables are reserved in shard_new();
 * nothing is allocated afterwards (recovery, which is straight-line, may).
 *
 * Rules that tie the flows together:
 *  - A block enters the index in the callback of its append, in seq order within the HOST stream. What is not in the index and
 *    not in the map was never written, or is zero.
 *  - An extent has a place, or a reservation of one, before a write to it is appended.
 *  - One destage an extent at a time. It captures with S = seq_high, the highest durable seq (all up to it are indexed), or
 *    just below the seq of a zero that is durable but has not reached this extent yet (zero.c works in steps): so no zero is
 *    ever named by an S that lacks it.
 *  - seg.holds: blocks in the segment that a destage is about to read; reclaim waits for them. It never waits for a capacity
 *    device: while a destage writes, all that it writes over is dirty in the index (INDEX_KEPT makes it so if it was clean), and
 *    so moves if its segment goes.
 *  - seg.discards: records without payload in the segment whose effect the map lacks: whole-extent zeros, and zeroes
 *    still being applied. A segment is free to go when index dirty == 0, discards == 0, holds == 0.
 *  - A frame of the stage is found only while the index has nothing of its block and the map has what the frame holds: map_put,
 *    map_discard, sums_set and sums_drop see to it.
 *  - An entry of the index that lies in a place (slots.h) is clean, has seq 0 and the checksum that the map has (or had: a block whose
 *    record was lost is damaged for the map, its copy is not), and is there only
 *    while the log has nothing of its block: a change of the block passes map_put or map_remove, which give the place back. Nothing is
 *    ever bridged with it. It can be dropped at any time.
 *  - An entry whose slot stands for a block of a twin (twin.c) is dirty, and never anything else: the batch that makes it clean
 *    takes it out of the index. seg.placed: such entries whose records lie in the segment; they hold it like dirty ones.
 */
#ifndef FIRN_TIER_PRIV_H
#define FIRN_TIER_PRIV_H

#include "base/pool.h"
#include "rt/blk.h"
#include "rt/trace.h"
#include "tier/admit.h"
#include "tier/damage.h"
#include "tier/extent.h"
#include "tier/flush_turn.h"
#include "tier/format_heat.h"
#include "tier/index.h"
#include "tier/placement.h"
#include "tier/policy.h"
#include "tier/reclaim.h"
#include "tier/shard.h"
#include "tier/slot_table.h"
#include "tier/slots.h"
#include "tier/stage.h"
#include "tier/stream.h"
#include "tier/volume.h"

#define IO_BLOCKS_MAX   (MDTS_BYTES / BLOCK_BYTES + 2u) /* blocks a request can touch: 512-byte lbas may begin and end within one */
#define EXTENTS_PER_IO  3u                               /* IO_BLOCKS_MAX blocks cross at most two bounds */
#define LAYERS_MAX      (2u * VOLUMES_MAX)               /* layers of one shard; indices 1.. */
#define SUMS_CACHE      4096u                            /* extents whose checksums are in RAM: 4.6 MiB */
#define SUMS_LOADS      64u                              /* of them being fetched at once */
#define RMW_MAX         64u                              /* requests with parts of blocks at once: each has a buffer of IO_BLOCKS_MAX */
#define REREADS_MAX     3u                               /* before a dirty block is called damaged for good */
#define SCAN_BUDGET     4096u                            /* nodes or slots a pass looks at */
#define IOS_DEFAULT     1024u
#define FETCHES_MAX     256u                             /* reads of capacity devices into the stage at once */
#define SHUNNED         16u                              /* reads that a device refused, and that are remembered */
#define CAPTURE_WORDS   (EXTENT_BLOCKS / 64)
#define BRIDGE_BLOCKS   (64u * 1024u / BLOCK_BYTES)      /* longest hole in a run that clean blocks are written over */
static_assert(LAYERS_MAX < 1u << INDEX_LAYER_BITS, "a layer index fits the index's key");
static_assert(IO_BLOCKS_MAX <= GROUP_BYTES_MAX / BLOCK_BYTES, "a request is one record");

static inline bool bit_get(const uint64_t *w, uint32_t i) { return w[i / 64] >> (i % 64) & 1; }
static inline void bit_set(uint64_t *w, uint32_t i) { w[i / 64] |= UINT64_C(1) << (i % 64); }
static inline void bit_clear(uint64_t *w, uint32_t i) { w[i / 64] &= ~(UINT64_C(1) << (i % 64)); }
static inline void bit_put(uint64_t *w, uint32_t i, bool on)
{
    if (on)
        bit_set(w, i);
    else
        bit_clear(w, i);
}
static inline bool bits_any(const uint64_t *w) { return (w[0] | w[1] | w[2] | w[3]) != 0; }
static_assert(CAPTURE_WORDS == 4, "bits_any looks at four words");

struct layer {                   /* a layer of an attached volume */
    uint64_t id;                 /* 0: free */
    uint32_t hash_next;
    uint64_t nr_live, nr_dirty;  /* index entries */
    uint64_t nr_copies;          /* of nr_live: in places */
    uint32_t nr_filling;         /* copies on their way there */
    struct list limited;         /* on quota.limited: its volume has a minimum or a maximum */
    uint64_t nr_placed;          /* extents with a place */
    uint64_t nr_flash;           /* of them on flash, where the pool has both kinds of capacity devices */
    uint32_t heat_groups;        /* all of its heat records lie below */
    uint32_t lately[2];          /* blocks that hosts read, and wrote: halved together (quota.c) */
    struct admit_use use;        /* of what it reads: blocks used together, or again */
    struct volume *vol;          /* NULL: being deleted */
    struct list ranges;          /* rmw.c: of range_lock.node, oldest first */
    struct list changed;         /* on s->ranges_changed: a range was given up */
};

struct seg {                     /* a segment of this shard */
    enum segment_use use;        /* FREE, LOG_OPEN, LOG_SEALED, FREEING, SLOTS: then epoch and filled64 alone count */
    enum journal_stream stream;
    uint64_t epoch;
    uint64_t seq_min;            /* of the records inside; 0: none */
    uint32_t discards, holds;    /* see above */
    bool     pressed;            /* reclaim.c: what is dirty in it is urgent, or was */
    uint32_t placed;             /* entries whose blocks lie in twins, and whose records lie here */
    uint32_t moving;             /* moves that read from it are under way */
    uint64_t skip_until_ns;      /* no victim before: a block in it could not be read */
    uint64_t filled64;           /* mean of newest_epoch at the fills of its places, times 64 */
};

/* ---- checksums of extents (sums.c) ---- */

struct sums_waiter { void (*fn)(struct sums_waiter *w); struct list node; };
enum sums_state { SUMS_FREE, SUMS_LOADING, SUMS_READY };
struct sums {
    enum sums_state state;
    int      err;                /* READY with err: the record is missing or corrupt */
    uint32_t x;                  /* extent */
    uint32_t pins;
    struct list lru, waiters;
    uint32_t hash_next;
    struct sums_load *load;      /* LOADING; NULL once superseded by a commit */
    struct extent_sums v;
};
struct sums_load { struct meta_get_req req; struct shard *s; struct sums *to; uint8_t buf[META_VALUE_MAX]; };

/* ---- requests ---- */

enum pool_kind { POOL_RIO, POOL_RMW, POOL_RMW_BUF, POOL_WIO, POOL_ZIO, POOL_BYPASS, POOL_KIND_NR };
struct hold {                    /* gate.c: what a request has taken of the pools, on account of the devices it may be caught in */
    unsigned kinds;              /* enum pool_kind, a bit each */
    uint64_t devs;               /* a bit each */
};

struct wio {                     /* a write of whole blocks on its way to the log */
    struct journal_append app;
    struct shard *s;
    uint32_t layer;
    uint32_t ext[EXTENTS_PER_IO], nr_ext;
    uint32_t past;               /* so many of its blocks are to go past the log, the first ones (bypass.c) */
    struct iovec iov[BLK_IOV_MAX];
    void (*cb)(struct wio *w, int err);
    void *ctx;
    struct list node;            /* s->writes while in flight */
    uint32_t csum[IO_BLOCKS_MAX];
};

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

struct fetch {                   /* one read of a capacity device into the stage */
    struct dev_io io;
    struct shard *s;
    uint64_t layer_id;
    uint32_t layer, no;          /* extent */
    uint32_t x;                  /* its node */
    struct extent_place place;
    uint32_t first, n;           /* blocks of the extent */
    struct list runs;            /* that wait for it */
    struct sums_waiter wait;     /* of one that has not begun: it waits for checksums, and keeps nothing but itself */
    uint64_t rotten[CAPTURE_WORDS]; /* by block of the extent: what came is not what was written */
    uint32_t frame[EXTENT_BLOCKS];  /* from first on; STAGE_NONE: a hole, whose bytes nobody wants; or nothing good came */
    struct iovec iov[EXTENT_BLOCKS];
};

struct zio {                     /* a zeroed range of whole blocks */
    struct journal_append app;
    struct shard *s;
    uint32_t layer;
    uint64_t block, nblocks, seq;
    uint32_t segment;
    uint32_t slots;              /* without payload, promised to it until it has been applied */
    uint64_t cursor;             /* extent number, or node number when walking nodes; all before it are done */
    bool by_node, durable, parked;
    bool waits;                  /* on s->zeroes_wait */
    bool blind;                  /* the map's record of the extent at the cursor cannot be read */
    void (*cb)(struct zio *z, int err);
    void *ctx;
    struct list node;            /* s->zeroes_wait before it is appended, s->zeroes once durable */
    struct sums_waiter wait;
};

struct range_lock {              /* rmw.c; within one layer */
    uint64_t first, last;        /* blocks */
    bool     granted;
    void   (*fn)(struct range_lock *l);
    struct list node;
};

struct rmw {                     /* a request of a volume with 512-byte lbas */
    struct shard *s;
    struct blk_io *io;
    uint32_t layer;
    struct range_lock lock;      /* not for reads */
    uint64_t block, nblocks;     /* blocks it touches */
    uint32_t head_bytes;         /* of the first block, before the request */
    char    *buf;                /* NULL: whole blocks only, nothing is copied */
    struct iovec iov[2];         /* over buf */
    int      err;
    uint64_t err_block;
    struct hold hold;
    uint32_t pending;            /* parts under way */
    void   (*next)(struct rmw *m); /* when none is */
    struct rio rio[2];
    struct wio wio[2];
    struct zio zio;
};

/* Where a host's request is that may not have begun; in blk_io.priv, for cancel.c. */
enum io_at {
    IO_BEGUN,                    /* or its answer is on its way */
    IO_WAITS,                    /* on a list of the shard, by priv.node */
    IO_READ,                     /* priv.p[0]: its struct rio, which may wait for a run */
    IO_RMW,                      /* priv.p[0]: its struct rmw, which may wait for its range, or for a run */
    IO_ZERO,                     /* priv.p[0]: its struct zio, which may wait for slots, or for a group of the log */
    IO_LOG,                      /* priv.p[0]: its struct wio, which may wait for a group of the log */
};
static inline void io_set_at(struct blk_io *io, enum io_at at, void *of)
{
    io->priv.u[0] = at;
    io->priv.p[0] = of;
}
/* So many blocks of a write are to go past the log. Known in the order in which writes come, whatever they wait for then. */
static inline void io_set_past(struct blk_io *io, uint64_t nblocks) { io->priv.u[1] = nblocks; }
static inline uint32_t io_past(const struct blk_io *io) { return (uint32_t)io->priv.u[1]; }

/* ---- clean copies in places (fill.c, places.c) ---- */

#define FILL_BLOCKS  32u
#define FILLS_MAX    64u
#define TABLE_WRITES 4u
struct fill {                    /* copies of blocks of one extent, on their way from frames to places that lie beside each other */
    struct dev_io io;
    struct shard *s;
    uint64_t layer_id;
    uint32_t layer, no, x;       /* extent */
    uint32_t place, n;           /* slot id of the first place; how many */
    uint32_t frame[FILL_BLOCKS];
    uint16_t in_extent[FILL_BLOCKS];
    uint32_t csum[FILL_BLOCKS];
    struct iovec iov[FILL_BLOCKS];
};
struct table_write { struct dev_io io; struct iovec iov; struct shard *s; char *buf; uint32_t segment, page; bool busy; };

struct quota {                   /* quota.c */
    struct list limited;         /* of layer.limited */
    uint64_t base;               /* places of which shares in percent are */
    uint32_t over;               /* layer that is most over its maximum; 0: none */
    uint32_t taker;              /* layer for which a place is being looked for */
    uint32_t looks;              /* places taken since the last look */
};

struct places {
    struct slots slots;
    struct slot_table table;
    struct admit admit;
    struct admit_rules rules;
    struct admit_rules read_rules; /* of volumes that are hardly written */
    struct quota quota;
    struct pool fills;
    struct fill *cur;            /* not full yet, not written yet: within one call only */
    uint32_t nr_lent;            /* frames that fills are reading */
    uint32_t asks;               /* copies that went, or found no place */
    uint32_t closing, cursor;    /* segment that is given back to the log, place that is dropped next; INDEX_NONE */
    uint64_t log_took_ns;        /* when the log took its last segment */
    struct {
        bool     off;            /* given up until the next start (places_dev.c) */
        uint32_t read_errors;
    } area[SEGMENT_AREAS_MAX];   /* as the segment pool numbers them */
    uint32_t leave_from;         /* from this one on there may be segments of an area that is off, to be emptied; INDEX_NONE: none */
    bool     wants_segment;      /* of the log, if one is cheap to empty */
    uint64_t table_look_ns;      /* old pages may be due then; UINT64_MAX: none changed */
    char    *table_bufs;
    struct table_write table_write[TABLE_WRITES];
};

/* ---- streams of writes that go past the log (twin.c, bypass.c) ---- */

#define TWINS_MAX    128u        /* so much of streams in MiB is not committed at a time; a number fits extent.twin */
struct twin {                    /* a second place of an extent, that the log's PLACED records name and no batch does yet */
    uint32_t x;                  /* EXTENT_NONE: free */
    struct extent_place place;
    bool     closed;             /* nothing more is written there */
    bool     given;              /* planted bug: it is another's already */
    uint16_t live;               /* entries of the index whose blocks lie there */
    uint32_t writes;             /* under way, until their records are answered */
    uint32_t reads;              /* in flight there */
    uint64_t seq_max;            /* of records that name it; 0: none does */
    uint64_t used[CAPTURE_WORDS];   /* blocks that were written, or begun: none is written twice */
    uint32_t record[EXTENT_BLOCKS]; /* of live entries: the segment that holds the record */
};

struct bypass;
struct bypass_part {             /* what of a write lies in one extent */
    struct list node;            /* bypass_dev.queue, .train */
    struct list age;             /* bypass_dev.ages, while it queues */
    struct journal_append app;
    struct bypass *of;
    uint32_t x, first, n;        /* extent; blocks of the write */
    bool     log;                /* the log has them */
    uint64_t off_bytes, since_ns; /* on the device; since when it queues */
    struct iovec iov[BLK_IOV_MAX];
    int      iovcnt;
};
#define BYPASS_IOVS  512u
#define BYPASS_TRAIN 64u         /* commands of a train at most */
enum bypass_state { BYPASS_REST, BYPASS_WRITE, BYPASS_WRITTEN, BYPASS_FLUSH };
struct bypass_dev;
struct bypass_io { struct dev_io io; struct bypass_dev *of; };
struct bypass_dev {              /* of one device: one train at a time */
    struct shard *s;
    enum bypass_state state;
    struct list queue;           /* parts, in the order of their places */
    struct list ages;            /* the same, the oldest first */
    struct list train;           /* parts that are being written, or flushed */
    uint32_t nr_ios, in_flight;  /* commands of the train; of them not answered yet */
    bool     failed;             /* one of them was refused */
    uint32_t flush_failures;     /* of the device, all shards', when the train began */
    struct bypass_io io[BYPASS_TRAIN];
    struct dev_io flush;
    struct iovec iov[BYPASS_IOVS];
};
struct bypass {
    struct shard *s;
    struct wio *w;
    uint32_t nr, left;
    int err;
    struct bypass_part part[EXTENTS_PER_IO + 2]; /* and what the log has at both ends */
};

/* ---- mover ---- */

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

/* ---- migration ---- */

#define MIGRATE_BATCH   4u       /* extents that move together: a quarter of a second at 16 MB/s */
#define MIGRATE_LIST    256u
#define MIGRATE_SHUNNED 16u
struct migrate {                 /* migrate.c */
    bool     mixed;              /* the pool has capacity devices of both kinds; false: nothing below counts */
    uint64_t kind[2];            /* devices, a bit each: that seek, that do not */
    struct placement_census census; /* of the walk under way */
    struct placement_marks  marks;  /* by the last ones of all shards */
    uint32_t cursor;             /* the walk: next node; 0: none is under way */
    bool     more;               /* it left some out */
    bool     moved;              /* some of what it noted is on its way, or there */
    bool     restless;           /* it found some to move, or that others were at work on */
    uint32_t hurry;              /* so many more are to come soon, as long as they are restless */
    uint64_t walk_ns;            /* the last one ended then; 0: there was none */
    uint64_t walk_ios;           /* requests served when the last one ended */
    uint32_t list[2][MIGRATE_LIST], nr[2]; /* extents noted by it: to leave flash, to go there; */
    uint32_t at[2];              /* those before have had their turn */
    struct extent_place last[2]; /* taken for one */
    uint64_t began_ns;           /* the last batch */
    uint64_t look_ns;            /* when there may be another one */
    int      began_way;
    uint16_t source;             /* of the batch */
    bool     has_turn;           /* of the source */
    uint32_t shunned_next;
    struct migrate_shunned { uint32_t x; uint64_t until_ns; } shunned[MIGRATE_SHUNNED];
};

struct give {                    /* a place that extent x has left, and that reads are still in flight at */
    struct extent_place place;
    uint32_t x, reads;
    struct list node;            /* s->gives */
};

/* ---- deleting a layer ---- */

#define FORGET_BATCH 32u
struct forget {                  /* records of extents that are deleted, a batch at a time */
    struct shard *s;
    struct list node;
    uint32_t layer, cursor;      /* layer index; next node to look at */
    uint32_t nr;                 /* extents in the batch */
    uint32_t x[FORGET_BATCH];
    bool     committing;
    bool     blocked;            /* an extent was busy: the walk begins again */
    uint64_t heat_cursor;        /* behind the extents: next cell to look at */
    uint32_t heat_group;         /* behind the cells: next record to delete */
    uint64_t changes;            /* s->changes when it was */
    struct meta_batch batch;
    struct meta_op op[2 * FORGET_BATCH];
    void (*cb)(void *ctx, int err);
    void *ctx;
};

/* ---- marks (marks.c) ---- */

struct marks {
    struct journal_mark said[JOURNAL_STREAM_NR]; /* as in the last record handed to the metadata */
    uint64_t said_ns;            /* when; 0: never */
    uint64_t begun_ns, not_before_ns; /* the last batch of marks alone; the next one */
    bool     committing;
    struct meta_batch batch;
    struct meta_op op;
    uint8_t  rec[SHARD_REC_MAX];
};

/* ---- how far descriptions have come (described.c) ---- */

enum described_round { DESCRIBED_REST, DESCRIBED_LOOK, DESCRIBED_FLUSH, DESCRIBED_ROUND_NR };
struct described {
    uint64_t seq;                /* extents destaged up to there are described */
    uint64_t said;               /* as in the last record handed to the metadata */
    uint64_t loaded;             /* as this start found it */
    enum described_round round;
    bool     wanted;             /* descriptions were written since the last round began */
    bool     stuck;              /* what lies on a device is not known: seq stays until the next start */
    bool     flushing;           /* io is in flight */
    uint64_t began_ns;           /* the last round; 0: none */
    uint64_t drain_ns;           /* drain_began_ns of the last drain that had one */
    uint64_t low;                /* the round: lowest destaged_seq so far that is not described, or may come to be so */
    uint16_t dev;                /* LOOK: goes on there */
    uint32_t slot;
    uint64_t unflushed;          /* devices, a bit each, that got descriptions since their last flush here began */
    uint64_t to_flush;           /* of them, in this round */
    struct dev_io io;
};

/* ---- the rings of descriptions (ring.c) ---- */

struct ring {                    /* the shard's part of a device's */
    uint32_t first, half;        /* its first entry; entries of each of its halves, 0: it has none */
    uint32_t cur;                /* the half that is written */
    uint32_t head;               /* entry of it that is next; `half`: it is full */
    bool     free;               /* nobody needs what lies in the other half */
    bool     emptied;            /* nor does after the flush of the round under way */
    uint64_t homed;              /* an extent whose newest description lies here alone was destaged later than that */
    uint64_t low[2];             /* lowest destaged_seq of what was written into the half; UINT64_MAX: nothing */
    uint32_t away[2];            /* extents described in the half that have left the device, and are not described anew */
};

/* ---- heat (heat_meta.c) ---- */

#define HEAT_BATCH 8u
struct heat_saver {              /* of what has changed, group by group */
    uint32_t base_s;             /* heat clock at this start */
    uint64_t began_ns;           /* that was then */
    uint64_t saved_ns;           /* the last walk ended */
    uint64_t cursor;             /* of the walk under way; 0: none */
    bool     committing;
    uint32_t nr;                 /* of op */
    struct heat_rec rec;
    struct meta_batch batch;
    struct meta_op op[HEAT_BATCH];
    uint8_t  value[HEAT_BATCH][HEAT_REC_BYTES];
};

/* ---- the oldest segment (oldest.c) ---- */

struct oldest {                  /* the segment that tombstones wait for, when there are too many of them */
    bool     wanted;             /* there are */
    uint32_t segment;
    uint64_t epoch;              /* of its use */
    uint64_t since_ns;           /* it has been wanted since then */
    uint64_t again_ns;           /* when a search that is over begins again */
    uint64_t cursor;             /* of the search for extents that need it: slots, slots without payload, nodes */
    bool     appending;          /* a record that is to bear witness in its place */
    struct journal_append app;
};

struct shard {
    struct shard_opts o;
    struct tier_opts  t;         /* with defaults filled in */
    struct env       *env;
    struct journal   *j;
    struct index      ix;
    struct extent_table xt;
    struct seg       *seg;       /* by segment number of the pool */
    uint64_t          log_blocks;/* what this shard's part of the log can hold when reclaim has packed it, beside its reserves */
    uint64_t          newest_epoch;
    uint64_t          seq_high;  /* of all durable records that were indexed: what destages name as S. (The journal's durable
                                  * seq leaps ahead at a start; a record in the log must bear witness to what the map names.) */
    uint32_t          seq_high_segment; /* holds that record: it is not reclaimed */
    bool              loaded, opened, started, stopping;
    uint64_t          seq_named; /* loaded: the highest seq that the map names */
    uint32_t          opened_s;           /* by the clock; what was dirty then counts as written then: nobody knows better */
    uint32_t          victim_max; /* blocks that a victim may have to be moved: emptying it gains space, see reclaim.c */
    uint32_t          log_segments; /* numbers below it: the journal device's; index and seg[] have those of all areas */
    uint32_t          reserve_segments; /* free ones that the journal keeps for moves, all shards' */
    uint64_t          writing_blocks;   /* appended, not yet durable */
    uint64_t          changes;   /* events after which another victim may be worth a look: reclaim.c */
    int               failed;    /* the journal or the metadata store failed: no more writes; 0 or the error */
    int               fail_cause;/* what the device or the store said; 0: nothing */
    uint32_t         *layer_hash;
    struct layer     *layer;     /* [1..LAYERS_MAX] */
    uint32_t          layers_touched, layer_free;

    struct pool wios, rios, runs, zios, rmws, rmw_bufs, sums_loads, moves, gives_pool, forgets_pool;
    struct pool *pool_of[POOL_KIND_NR];
    uint32_t held[POOL_KIND_NR][CAPACITY_DEVS_MAX]; /* entries of requests that may be caught in the device */
    /* Of blk_io, each in order of arrival: gate.c. */
    struct list writes_wait;     /* for dirt to fall, or for nodes */
    struct list writes_dev[CAPACITY_DEVS_MAX]; /* for dirt, or zeroed blocks, to fall in the share of that device */
    struct list pool_wait[POOL_KIND_NR]; /* for an entry of that pool */
    struct list held_wait[POOL_KIND_NR][CAPACITY_DEVS_MAX]; /* for an entry that the device keeps */
    struct list ranges_changed;  /* of layer.changed */
    struct list rios_done;       /* finished inside their submission: answered from the loop */
    struct list ios_done;        /* blk_io with err set: answered from the loop */
    struct list runs_wanted;     /* rio: for a run */
    struct list runs_dev[CAPACITY_DEVS_MAX]; /* rio: for a run that the device keeps */
    struct list writes;          /* wio in flight */
    struct list zeroes;          /* zio durable, being applied, in seq order */
    struct list zeroes_wait;     /* zio that no slots could be promised to yet, in order */
    uint32_t    slots_promised;  /* of virtual slots, to zeroes that were appended and are not applied */
    struct list gives;           /* places that wait for reads in flight */
    struct list forgets;
    struct env_task  work;       /* shard.c: one pass of everything that waits */
    struct env_timer timer;
    uint32_t in_flight;          /* requests accepted and not answered */

    struct sums *sums;           /* SUMS_CACHE */
    uint32_t    *sums_hash;
    uint32_t     sums_nr;        /* of them were ever used: the others take no RAM */
    struct list  sums_lru;       /* of sums.lru: those, unpinned or not, oldest first */
    struct list  sums_blocked;   /* waiters for a free entry or load */

    struct twin  *twins;         /* TWINS_MAX */
    uint32_t      twin_segment;  /* of the index: first of those whose slots are blocks of twins; below are the log's */
    uint32_t      twins_used;
    uint64_t      twin_live;     /* entries whose blocks lie in twins: dirty, but not in the log */
    struct pool   bypasses;
    struct bypass_dev bypass_dev[CAPACITY_DEVS_MAX];
    uint64_t      bypass_last_ns; /* when a write last went past the log; 0: none has */
    struct stream_table write_streams;

    struct stage  stage;
    struct stream_table streams;
    struct pool   fetches;
    uint32_t      fetch_blocks;  /* what a miss reads: so many, aligned */
    uint32_t      fetch_depth;   /* in flight at one device: more would only keep frames waiting */
    uint32_t      ahead_blocks;  /* most that is read ahead of a stream in one go */
    uint32_t      fetching[CAPACITY_DEVS_MAX]; /* fetches in flight there */
    uint32_t      fetch_frames[CAPACITY_DEVS_MAX]; /* frames that they keep */
    struct shunned { uint32_t x, from, to; uint64_t until_ns; } shunned[SHUNNED]; /* blocks of extents that are not fetched around */
    uint32_t      shunned_next;
    char         *hole;          /* a block that nobody reads */

    struct places places;

    struct lane  *lanes;         /* nr_capacity + 2 */
    uint32_t      nr_lanes;
    uint64_t      csum_errors[CAPACITY_DEVS_MAX];  /* figures: of stats.csum_errors_hdd, those of each device */
    uint32_t      fg_in_flight[CAPACITY_DEVS_MAX]; /* runs there; what all shards have there: turn.h */
    bool          degraded[CAPACITY_DEVS_MAX]; /* refused a write */
    bool          hung[CAPACITY_DEVS_MAX];     /* as of the last pass: a request in it is older than the deadline */
    uint64_t      dev_dirty[CAPACITY_DEVS_MAX]; /* dirty blocks of extents that have their place there */
    uint64_t      dev_zero[CAPACITY_DEVS_MAX];  /* of them zeroed */
    uint32_t      hung_scan;     /* node at which the search for extents that can leave hung devices goes on */
    uint32_t      retier;        /* node at which the walk after a change of a volume's tier goes on; 0: none is under way */
    uint32_t      urgent_scan;   /* virtual slot at which the search for urgent extents goes on */
    struct migrate migrate;
    struct reclaim rc;
    struct marks   marks;
    struct described described;
    struct ring    ring[CAPACITY_DEVS_MAX];
    struct heat       heat;
    struct heat_saver heat_saver;
    struct forget  tombs;        /* tombstones that no log segment needs */
    struct oldest  oldest;
    char          *move_bufs;
    char          *rmw_mem;

    bool draining, drain_all;
    uint64_t drain_began_ns;
    void (*drain_cb)(void *ctx);
    void *drain_ctx;

    struct tier_stats stats;
    struct tier_bugs  bugs;
    uint64_t live_extents;       /* of which the index has entries */
    uint64_t damaged_blocks;     /* entries of the index that are INDEX_DAMAGED */
    struct damage damage;        /* other blocks that could not be read */
};

/* shard.c */
void     shard_defaults(struct tier_opts *t);             /* for what is 0 there */
void     shard_kick(struct shard *s);                     /* runs a pass of waiting work, from the loop */
void     shard_io_later(struct shard *s, struct blk_io *io, int err);  /* answers from the loop */
void     shard_io_done(struct shard *s, struct blk_io *io, int err);
void     shard_fail(struct shard *s, int err);
void     shard_degrade(struct shard *s, uint16_t dev, int err); /* the capacity device refused a write or flush */
uint32_t layer_find(const struct shard *s, uint64_t id);  /* 0: not attached */
uint32_t *layer_hash_head(const struct shard *s, uint64_t id);
static inline struct layer *layer_at(const struct shard *s, uint32_t l) { return &s->layer[l]; }
bool     dev_usable(const struct shard *s, const struct dev *d); /* there, and nothing hangs in it past the deadline */
struct dev *shard_segment_dev(const struct shard *s, uint32_t segment);
struct dev *shard_capacity(const struct shard *s, uint16_t dev);
bool     shard_seeks(const struct shard *s, uint16_t dev);
bool     shard_writes_wait(const struct shard *s);
static inline struct turn *turn_of(const struct shard *s, uint16_t dev) { return &s->o.turns->dev[dev]; }
static inline void fg_begin(struct shard *s, uint16_t dev)
{
    s->fg_in_flight[dev]++;
    turn_fg_begin(turn_of(s, dev));
}
static inline void fg_took(struct shard *s, const struct dev_io *io, uint16_t dev) /* as long as the device made a host wait */
{
    turn_fg_took(turn_of(s, dev), env_now_ns(s->env) - io->priv.start_ns, s->t.mover_latency_ns);
}
static inline void fg_end(struct shard *s, uint16_t dev)
{
    s->fg_in_flight[dev]--;
    turn_fg_end(turn_of(s, dev), env_now_ns(s->env));
}

/* map.c: index, extents, layers and segments in step */
static inline uint32_t extent_no(uint64_t block) { return (uint32_t)(block / EXTENT_BLOCKS); }
void     map_put(struct shard *s, const struct index_entry *e);   /* its extent exists */
void     map_remove(struct shard *s, uint32_t id);
void     map_set_clean(struct shard *s, uint32_t id);
void     map_set_kept(struct shard *s, uint32_t id);              /* INDEX_KEPT */
void     map_keep_bridges(struct shard *s, uint32_t x);           /* after a start */
void     map_forget_copies(struct shard *s, uint32_t x);          /* then: clean copies that count no more */
void     map_discard(struct shard *s, uint32_t x, uint64_t seq, uint32_t segment); /* a whole-extent zero */
void     map_discard_done(struct shard *s, uint32_t x);
void     map_discard_move(struct shard *s, uint32_t x, uint32_t segment);
void     map_seg_seq(struct shard *s, uint32_t segment, uint64_t seq);
int      map_reserve(struct shard *s, struct extent *e);          /* a reservation if it has no place; -FIRN_E_NO_SPACE */
void     map_place(struct shard *s, uint32_t x, struct extent_place p); /* its place changes, and whose dirt it is */
void     map_tier(struct shard *s, struct extent *e);              /* flags as its volume's tier has it; before extent_relist() */
void     map_settle(struct shard *s, uint32_t x);                 /* lists; reservation given back, node freed if nothing needs it */
void     map_note_empty(struct shard *s, uint32_t x, const struct extent_sums *v); /* before map_settle */
uint32_t map_extent(struct shard *s, uint32_t layer, uint32_t no);/* find or add */
void     map_give_reads(struct shard *s, uint32_t x, struct extent_place p, uint32_t reads); /* so many are in flight there */
void     map_give_place(struct shard *s, uint32_t x, struct extent_place p); /* once no read is in flight there */
void     map_read_done(struct shard *s, uint32_t x, struct extent_place p);
int      map_use(struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks, uint32_t *ext, uint32_t *nr);
void     map_unuse(struct shard *s, const uint32_t *ext, uint32_t nr);

/* marks.c */
uint32_t marks_encode(struct shard *s, void *buf);        /* the 'S' record, for a batch that is committed next */
uint64_t marks_step(struct shard *s);                     /* when to be called again */
bool     marks_busy(struct shard *s);                     /* the metadata does not name everything yet */

/* described.c */
uint64_t described_step(struct shard *s);                 /* as mover_step() */
bool     described_busy(struct shard *s);                 /* a round is under way, or a drain has to wait for one */
void     described_due(struct shard *s, uint64_t seq);    /* an extent destaged then is to be described */
void     described_written(struct shard *s, uint16_t dev, int err); /* a description was, there */
uint64_t described_say(struct shard *s);                  /* for a record that is committed next */
bool     described_unsaid(const struct shard *s);
void     described_load(struct shard *s, uint64_t seq);   /* as the metadata has it */
void     described_start(const struct shard *s, struct extent *e); /* before map_settle(), at a start */

/* ring.c */
void     ring_init(struct shard *s);
void     ring_load(struct shard *s, const struct shard_rec *rec); /* as the metadata has it */
void     ring_start(struct shard *s, uint32_t x);         /* an extent with a record, at a start; before map_settle() */
void     ring_started(struct shard *s);                   /* that were all */
void     ring_say(struct shard *s, struct shard_rec *rec);/* for a record that is committed next */
void     ring_leave(struct shard *s, uint32_t x);         /* around a change of its place */
void     ring_arrive(struct shard *s, uint32_t x);
/* Its newest description lies in these halves, a bit each, of that ring alone; 0: in its region, or nobody needs it. */
void     ring_note(struct shard *s, uint32_t x, uint16_t dev, unsigned halves);
uint32_t ring_room(struct shard *s, uint16_t dev);        /* entries that may be written now, one behind the other */
uint64_t ring_at(const struct shard *s, uint16_t dev);    /* where, in bytes */
void     ring_wrote(struct shard *s, uint16_t dev, const uint32_t *x, uint32_t nr); /* entries for these extents */
struct slotset *ring_to_home(struct shard *s, uint16_t dev); /* what should be described in its region, soon; NULL: nothing */
bool     ring_waits(const struct shard *s);               /* for the flush of a round */
void     ring_round_begins(struct shard *s);              /* it will flush all devices that got descriptions */
void     ring_round_ended(struct shard *s);               /* it has */
void     ring_verify(const struct shard *s);

/* heat_meta.c */
uint32_t heat_now_s(const struct shard *s);               /* the heat clock */
void     heat_io(struct shard *s, const struct volume *v, const struct blk_io *io); /* a read or a write has come */
struct heat_value heat_of_extent(const struct shard *s, uint32_t x);
uint64_t heat_step(struct shard *s);                      /* as mover_step() */
bool     heat_busy(const struct shard *s);                /* the metadata does not know all of it */
/* Of a layer whose cells are gone: deletes of its records from *group on. How many; 0: that was all. */
uint32_t heat_forget_groups(struct shard *s, uint32_t l, uint32_t *group, struct meta_op *ops, uint32_t max);

/* sums.c */
/* Pinned and READY, or NULL: w->fn runs later; w NULL: only look. */
struct sums *sums_get(struct shard *s, uint32_t x, struct sums_waiter *w);
void     sums_put(struct shard *s, struct sums *m);
void     sums_set(struct shard *s, uint32_t x, const struct extent_sums *v); /* what a batch has committed */
void     sums_drop(struct shard *s, uint32_t x);
int      sums_get_sync(struct shard *s, uint32_t x, struct sums **out);       /* recovery; not pinned */
bool     sums_lost(const struct sums *m);                 /* its err is for ever: what the record said nobody knows */
void     sums_init(struct shard *s);

/* cancel.c */
void     io_wait(struct list *l, struct blk_io *io);      /* behind those that are older */
void     io_wait_over(struct blk_io *io);

/* gate.c */
void     gate_init(struct shard *s);
void     gate_submit(struct shard *s, struct blk_io *io);
void     gate_resume(struct shard *s);
bool     gate_waits(const struct shard *s, uint16_t dev); /* something waits for what that device keeps */
void     hold_begin(struct shard *s, struct hold *h, unsigned kinds, uint64_t devs);
void     hold_dev(struct shard *s, struct hold *h, uint16_t dev); /* it may be caught there as well */
void     hold_end(struct shard *s, struct hold *h);
bool     runs_full(const struct shard *s, uint16_t dev);  /* the device keeps its share of them */

/* write.c, zero.c, rmw.c */
void     write_start(struct shard *s, uint32_t layer, struct blk_io *io);
int      write_blocks(struct shard *s, struct wio *w, uint32_t layer, uint64_t block, uint32_t nblocks,
                      const struct iovec *iov, int iovcnt, const uint32_t *crc);
int      zero_blocks(struct shard *s, struct zio *z, uint32_t layer, uint64_t block, uint64_t nblocks);
uint16_t zeroes_share_wanted(const struct shard *s, const struct blk_io *io); /* as share_zeroes_wanted() */
bool     zero_cancel(struct zio *z);                      /* true: it waited, is off its list, and z->cb will not be called */
bool     zeroes_step(struct shard *s);                    /* true: more to do at once */
uint64_t zeroes_seq_below(const struct shard *s, uint32_t x, uint64_t seq); /* largest S <= seq that names no unapplied zero */
bool     zero_extent(struct shard *s, uint32_t x, uint64_t block, uint64_t nblocks, uint64_t seq, uint32_t segment,
                     const struct sums *m);               /* false: no free virtual slots; m: NULL, or the map of it counts */
void     write_indexed(struct shard *s, uint32_t layer, const struct journal_append *a, const uint32_t *csum);
void     write_end(struct wio *w, int err);
void     write_count(struct shard *s, const struct blk_io *io, int err);
bool     rmw_needs_buffer(const struct blk_io *io);
void     rmw_start(struct shard *s, uint32_t layer, struct blk_io *io, unsigned kinds, uint64_t devs);
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

/* fetch.c */
bool     fetch_seeks(const struct dev *d);               /* others have no seeks to be spared; NULL: absent */
int      fetch_init(struct shard *s);
void     fetch_retune(struct shard *s);                   /* how much is read at once, as s->t has it now */
void     fetch_fini(struct shard *s);
bool     fetch_busy(const struct shard *s);
/* A cold block that RAM holds, as the map has it now; NULL: it does not. */
const void *fetch_staged(const struct shard *s, const struct run_at *at);
struct fetch *fetch_under_way(const struct shard *s, const struct run_at *at); /* the one that brings it, or NULL */
/* Begins one that brings nblocks from there on, and what lies around them, up to ahead_end; NULL: not now, or not from such a device. */
struct fetch *fetch_begin(struct shard *s, const struct run_at *at, uint32_t nblocks, uint64_t ahead_end);
bool     fetch_full(const struct shard *s, uint16_t dev); /* there are enough in flight there: what needs another one waits */
/* A host reads there: what should be read ahead of it; to be begun after the read itself has been. */
struct ahead { struct stream *stream; uint64_t from, end, stream_blocks; }; /* blocks; end 0: nothing; of the stream so far */
struct ahead fetch_plan_ahead(struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks);
void     fetch_ahead(struct shard *s, uint32_t layer, const struct ahead *a);
/* Of the blocks from there on, so many come with it. */
static inline uint32_t fetch_covers(const struct fetch *f, const struct run_at *at)
{
    return at->in_extent >= f->first && at->in_extent < f->first + f->n ? f->first + f->n - at->in_extent : 0;
}
void     fetch_join(struct fetch *f, struct run *u);
/* The map's idea of blocks has changed, or the log has newer ones. */
void     fetch_forget(struct shard *s, uint32_t x, uint32_t in_extent);
void     fetch_forget_extent(struct shard *s, uint32_t x);
void     fetch_forget_changed(struct shard *s, uint32_t x, const struct extent_sums *v); /* those that v does not have as they are */
void     fetch_verify(struct shard *s);

/* fill.c */
/* A fetch began for n blocks of the request, from its block `first` on. */
void     fill_missed(struct rio *r, uint32_t x, uint32_t first, uint32_t n, const struct fetch *f);
void     fill_again(struct rio *r, uint32_t i);           /* RAM had block i of it, or is about to */
void     fill_again_end(struct rio *r);                   /* the pass over the request is over */
void     fill_arrived(struct shard *s, const struct fetch *f); /* its frames are ready: those that are worth it are copied */
void     fill_anew(struct shard *s, const struct run_at *at, const void *block); /* what the map has there, and the SSD lost */
bool     fill_may_save(const struct shard *s, const struct index_entry *n); /* clean, of the log: on a disk, and to be copied */
bool     fill_crowded(const struct shard *s, uint32_t coming); /* no room for more than these, which are being read */
/* Of such an entry; verified. spare: only if a place is free still. */
void     fill_save(struct shard *s, uint32_t id, const void *block, bool spare);
bool     fill_busy(const struct shard *s);

/* quota.c: what of the places each volume may have */
void     quota_init(struct shard *s);
void     quota_changed(struct shard *s, uint32_t layer);  /* its volume's policy did, or it has none any more */
bool     quota_spares(void *ctx, uint32_t id);            /* for slots.h: ctx is the shard */
bool     quota_makes_room(struct shard *s, uint32_t layer); /* before a place is taken for it; false: it may have none now */
bool     quota_has_room(struct shard *s, uint32_t layer); /* it may have one more, and no other copy goes for it */
bool     quota_admits(const struct shard *s, uint32_t layer); /* anything of it may be copied */
bool     quota_own_rule(const struct shard *s, uint32_t layer); /* how often it must be missed: not as the pool's knobs say */
void     quota_io(struct shard *s, uint32_t layer, uint32_t nblocks, bool write); /* of a host */
/* As the pool's knobs say, for a volume that is used like this one. */
struct admit_rules *quota_pool_rules(struct shard *s, uint32_t layer);
struct admit_use *quota_use(struct shard *s, uint32_t layer); /* NULL: what it reads is not looked at so */
struct admit_rules *quota_rules(struct shard *s, uint32_t layer, struct admit_rules *own); /* the pool's, or own, filled in */
void     quota_verify(const struct shard *s, const uint64_t *copies); /* by layer, counted */

/* places.c: segments of places, from the log and back; their tables */
int      places_init(struct shard *s);
void     places_fini(struct shard *s);
void     places_retune(struct shard *s);                  /* what is worth a place, as s->t has it now */
uint32_t places_segments(const struct shard *s);          /* that may hold copies, of all shards */
uint32_t places_possible(const struct shard *s);          /* free segments that copies could take now, of this shard's part */
uint64_t places_base(const struct shard *s);              /* places that there are, and those that these could become */
/* As slots_take(), or slots_take_free() for what is SPARE; takes another segment if places are short, and segments are not. */
uint32_t places_take(struct shard *s, uint32_t layer, enum fill_kind kind);
void     places_opened(void *ctx, uint32_t segment, uint64_t epoch, int err);
void     places_put(struct shard *s, struct index_entry *n, uint32_t id, unsigned flags); /* a copy is in its place: n, without where */
void     places_drop(struct shard *s, uint32_t id);       /* the copy is bad, or not wanted */
void     places_wanted(void *ctx);                        /* another shard has less than its share of segments */
bool     places_may_release(const struct shard *s);
void     places_release(struct shard *s, uint32_t segment); /* gives it back to the pool, as soon as nobody reads it */
bool     places_step(struct shard *s);                    /* true: more to do at once */
uint64_t places_look_ns(const struct shard *s);           /* when to call it again */
bool     places_busy(const struct shard *s);              /* something is in flight */
void     places_stop(struct shard *s);                    /* straight-line: what of the tables was not written */
/* As a log segment's; not looked at closely if it cannot be more than beat. */
double   places_victim_score(const struct shard *s, uint32_t segment, double beat);
void     places_verify(struct shard *s);
static inline bool in_place(const struct shard *s, uint32_t id) { return slots_has(&s->places.slots, id); }
/* places_dev.c: devices of copies that fail */
bool     places_usable(const struct shard *s, uint32_t segment); /* its device answers, and was not given up */
bool     places_given_up(const struct shard *s, uint32_t segment); /* its device was */
bool     places_any_usable(const struct shard *s);        /* some device that copies may go to */
void     places_write_failed(struct shard *s, uint32_t segment, int err); /* of a place, or of what its segment says of itself */
void     places_read_failed(struct shard *s, uint32_t segment, int err);
void     places_hangs(struct shard *s, uint32_t segment); /* a start, or a stop, has waited for its device */
uint32_t places_leave_next(struct shard *s);
/* recover_places.c: what the last run left in slot segments; straight-line, after replay. 0; -FIRN_E_STOPPED, -ENOMEM */
int      places_recover(struct shard *s);

uint64_t rmw_devs_before(const struct shard *s, uint32_t layer, uint64_t first, uint64_t last); /* of changes that it would wait for */
void     rmw_cancel(struct rmw *m);
void     rmws_resume(struct shard *s);
void    *iov_block(const struct iovec *iov, int iovcnt, uint32_t block); /* where block i of the request lies */

/* twin.c: second places of extents */
int      twins_init(struct shard *s, uint32_t log_segments);
void     twins_fini(struct shard *s);
uint32_t twins_segments(uint32_t segment_bytes);          /* of the index, for all of them */
static inline struct twin *twin_of(const struct shard *s, const struct extent *e) { return e->twin == 0 ? NULL : &s->twins[e->twin - 1]; }
static inline bool twin_is_read(const struct shard *s, const struct extent *e) { return e->twin != 0 && twin_of(s, e)->reads > 0; }
static inline bool in_twin_segment(const struct shard *s, uint32_t segment) { return segment >= s->twin_segment; }
static inline bool in_twin(const struct shard *s, uint32_t id)
{
    return !index_is_virtual(&s->ix, id) && in_twin_segment(s, id / s->ix.slots_per_segment);
}
/* A new one for an extent without one; NULL: none is free, or no room on a device. */
struct twin *twin_new(struct shard *s, uint32_t x);
struct twin *twin_found(struct shard *s, uint32_t x, struct extent_place p); /* at a start; NULL: the place is another's, or none is left */
/* n without where; segment: the record's. */
void     twin_put(struct shard *s, struct twin *t, const struct index_entry *n, uint32_t segment);
void     twin_gone(struct shard *s, uint32_t id);         /* the entry is no more */
struct journal_loc twin_loc(const struct shard *s, const struct twin *t, uint32_t in_extent); /* of the index */
uint64_t twin_offset(const struct shard *s, struct journal_loc loc, uint16_t *dev); /* where it lies */
uint32_t twin_block(const struct shard *s, const struct twin *t, uint32_t in_extent, uint64_t *seq); /* of a live entry: its checksum */
/* So many live entries from there on have one seq, and their record in that segment. */
uint32_t twin_run(const struct shard *s, const struct twin *t, uint32_t in_extent, uint32_t segment);
void     twin_record_moved(struct shard *s, uint32_t layer, const struct journal_append *a, uint32_t from);
int      twin_capture(struct lane *l, struct job *job);
/* The extent's place is about to be given back, and may be the twin. */
void     twin_reads_given(struct shard *s, uint32_t x, struct extent_place p);
void     twin_settle(struct shard *s, uint32_t x, struct extent_place given); /* gives it back if nothing can name it any more */
void     twin_drop(struct shard *s, uint32_t x);          /* of an extent that is no more */
void     twin_read_done(struct shard *s, uint32_t x, struct extent_place p);
void     twins_press(struct shard *s);                    /* they are short */
void     twins_verify(const struct shard *s, uint32_t *placed); /* adds to placed, by segment */
/* bypass.c, bypass_run.c */
void     bypass_part_done(struct bypass_part *p, bool durable); /* not durable: the log takes it */
void     bypass_queue(struct shard *s, struct bypass_part *p, uint16_t dev, uint64_t off_bytes);
int      bypass_init(struct shard *s);
uint64_t bypass_step(struct shard *s);                    /* as mover_step() */
void     bypass_turn(struct shard *s, uint16_t dev);      /* the lane there has got the turn */
bool     bypass_has_time(const struct shard *s, uint16_t dev); /* its budget is not spent for longer than a train may wait */
void     bypass_arrived(struct shard *s, struct blk_io *io);         /* a request: sets io_past() */
bool     bypass_needed(const struct shard *s, const struct blk_io *io); /* an entry of the pool, for such a write */
bool     bypass_write(struct shard *s, struct wio *w);    /* false: the log is to take it */

/* share.c: what one capacity device may take of the shard */
bool     share_full(const struct shard *s, uint16_t dev);
/* Of a change of these blocks: a device whose share must shrink first; or EXTENT_NO_DEV. */
uint16_t share_wanted(const struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks);
uint16_t share_zeroes_wanted(const struct shard *s, uint32_t layer, uint64_t block, uint64_t nblocks);
uint64_t shard_log_dirty(const struct shard *s);          /* blocks that only the log has */
uint64_t devices_to_avoid(const struct shard *s);         /* degraded or hung, a bit each */
void     share_leave(struct shard *s, uint32_t x, uint64_t avoid); /* a place that no batch names yet, for one elsewhere */
uint64_t share_step(struct shard *s);                     /* as mover_step() */

/* mover.c, pick.c, mover_batch.c, mover_io.c, mover_commit.c, describe.c, forget.c, oldest.c */
int      mover_init(struct shard *s);
void     mover_fini(struct shard *s);
uint64_t mover_step(struct shard *s);                     /* when to look again; UINT64_MAX: not by the clock */
void     mover_drain(struct shard *s);                     /* a drain begins: no pause after an error keeps it waiting for long */
bool     mover_busy(const struct shard *s);
void     lane_set_state(struct lane *l, enum lane_state to);
void     lane_begin(struct lane *l);                      /* a batch, if there is anything to do */
void     lane_add(struct lane *l, uint32_t x);            /* pick.c: a job */
bool     lane_yields(struct lane *l);
bool     lane_hurries(struct lane *l);                    /* it destages beside foreground requests */
bool     lane_waited_for(struct lane *l);                 /* hosts' requests wait for what it destages */
bool     lane_turn(struct lane *l);                       /* may a run go out now? false: lane_step() or describe_go_on() comes again */
void     lane_turn_over(struct lane *l);                  /* nothing goes out now: another shard may */
bool     lane_turn_lend(struct lane *l);                  /* to a train of streams; false: as with lane_turn(), or the lane's is out */
bool     lane_turn_to_streams(struct lane *l);            /* a train of streams goes first, or is out: no run may */
void     lane_turn_back(struct lane *l);                  /* that train is over */
void     lane_turn_rest(struct lane *l);                  /* no train has more for it now */
void     lane_turn_init(struct lane *l);
void     lane_run_begin(struct lane *l, uint16_t dev, const struct dev_io *io); /* it goes there */
void     lane_run_end(struct lane *l, uint16_t dev, const struct dev_io *io);   /* it is over; its bytes count against the budget */
uint32_t lane_run_blocks(const struct lane *l, uint16_t dev, uint64_t off_bytes, uint32_t nblocks); /* so many of them in one run */
uint64_t lane_budget_ns(const struct lane *l);            /* no run goes out before */
bool     lane_train_takes(struct lane *l, uint16_t dev, uint64_t off_bytes, uint32_t nblocks); /* then the run counts as a part of it */
struct policy_state lane_policy(struct lane *l);
void     lane_rest(struct lane *l);                       /* the batch is over */
int      lane_read_start(struct lane *l);                 /* mover_io.c: the payload of the job that is read; then lane_read_done */
bool     lane_write_more(struct lane *l);                 /* of the job that is written; true: all of it was sent, or will not be */
void     lane_job_written(struct lane *l, uint32_t job);  /* mover_batch.c: it was sent, and nothing of it is in flight */
void     lane_drop_failed(struct lane *l);                /* jobs that were given up leave the batch */
void     lane_flush(struct lane *l);                      /* then lane_commit */
void     lane_flush_step(struct lane *l);                 /* goes on if it is its turn */
void     lane_commit(struct lane *l);
void     lane_step(struct lane *l);                       /* goes on with what can go on */
void     lane_read_done(struct lane *l);                  /* or given up with job->err */
static inline struct job *lane_reading(struct lane *l) { return &l->jobs[l->rd]; }
static inline struct job *lane_writing(struct lane *l) { return &l->jobs[l->wr]; }
static inline bool lane_writes(const struct lane *l) { return l->state == LANE_WORK && (l->wr != JOB_NONE || l->runs > 0); }
struct extent_place extent_neighbour(struct shard *s, const struct extent *e);
void     lane_pick(struct lane *l, unsigned lowest);      /* pick.c: jobs; of buckets from this one on */
uint64_t lane_pick_cold(struct lane *l);                  /* jobs, in the idle regime; without one: when there may be one */
void     lane_pick_meta(struct lane *l);
void     lane_unpick(struct lane *l, const struct job *job); /* it was the last one, and has its turn another time */
int      job_capture(struct lane *l, struct job *job, const struct sums *base); /* base: NULL, or what the map says; -EAGAIN */
void     job_keep_bridges(struct job *job);
void     job_own_bridges(struct lane *l, struct job *job);
bool     lane_relocate(struct lane *l, struct job *job);  /* it begins again for another device; false: there is none */
void     job_release(struct lane *l, struct job *job);
void     lane_shed(struct lane *l);                       /* its device hangs */

/* migrate.c */
void     migrate_init(struct shard *s);
uint64_t migrate_step(struct shard *s);                   /* as mover_step(): the walk */
void     migrate_soon(struct shard *s);                   /* one is due, and some more while there is something to move */
uint64_t migrate_look(struct lane *l);                    /* of its lane, idle; likewise */
void     migrate_pick(struct lane *l);
bool     migrate_is_flash(const struct shard *s, struct extent_place p); /* of a pool with both kinds of capacity devices */
/* An extent is to get its first place: devices, a bit each, where it should not be. */
uint64_t migrate_not_there(const struct shard *s, const struct extent *e);
struct policy_state migrate_policy(struct lane *l, bool urgent);
bool     migrate_ends(const struct lane *l);              /* others want its devices: what has not begun has another turn */
void     migrate_reading(struct lane *l, const struct job *job);
void     migrate_read_all(struct lane *l);                /* of the batch nothing will be read any more */
void     migrate_done(struct lane *l, const struct job *job); /* its batch has committed */
void     migrate_failed(struct lane *l, const struct job *job);
uint64_t describe_look(struct lane *l);                   /* of an idle lane; as mover_step() */
void     describe_go_on(struct lane *l);                  /* it has the turn that it waited for */
bool     describe_pending(struct shard *s);               /* a drain has to wait for descriptions */
void     tombstones_drop(struct shard *s);
uint64_t shard_oldest_seq(const struct shard *s);         /* of what live log segments hold */
uint32_t shard_oldest_segment(const struct shard *s);     /* that holds it; INDEX_NONE: none */
bool     forgets_step(struct shard *s);
bool     oldest_step(struct shard *s);                    /* true: more to do at once */
uint64_t oldest_look_ns(const struct shard *s);
bool     oldest_writes_wait(const struct shard *s);       /* nodes are short, and some will come back */
uint32_t oldest_victim(const struct shard *s);            /* to be emptied before all others, at no cost; INDEX_NONE: none */

#endif
