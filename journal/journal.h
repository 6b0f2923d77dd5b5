/* SPDX-License-Identifier: Apache-2.0 */
/* journal.h: the pool of segments, on the journal device and perhaps on others, and one shard's write-ahead log in it.
 *
 * A host's write is acknowledged once its record is durable here. The same record is then the cached copy that serves
 * reads: journal_append tells where each block went. Layer ids and LBAs are opaque numbers; the log never interprets them.
 *
 * Model: records are gathered into commit groups without a timer (while some groups are in flight, the next one fills);
 * a group is one durable write: {header of records and block checksums}{blocks}. Two streams, HOST and MOVES, each
 * with its own open segment and group numbers. Completion is in order within the stream.
 * Space comes back by whole segments: the owner says when nothing in one is needed (journal_segment_free).
 *
 * Threads: a struct journal belongs to one env (its shard's reactor). A struct segpool is shared by the shards of a
 * process; taking and giving back a segment is under a mutex and never on the data path.
 * Memory: no allocation after journal_open().
 */
#ifndef FIRN_JOURNAL_H
#define FIRN_JOURNAL_H

#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/types.h"
#include "rt/dev.h"

struct journal;
struct segpool;

/* ---- where things lie ------------------------------------------------------------------------------------------ */

/* A place on a device of the pool of segments: `unit` counts 512-byte units from the segment's start. Blocks of one record lie
 * together: block i of a record at unit + 8*i. */
struct journal_loc { uint32_t segment; uint32_t unit; };
#define JOURNAL_UNIT_BYTES 512u
#define JOURNAL_UNITS_PER_BLOCK (BLOCK_BYTES / JOURNAL_UNIT_BYTES)

enum journal_stream { JOURNAL_HOST, JOURNAL_MOVES, JOURNAL_STREAM_NR };

enum journal_rec_type {
    JOURNAL_WRITE   = 1, /* payload of nblocks blocks */
    JOURNAL_ZERO    = 2, /* the range reads as zeros from here on; no payload; nblocks up to 2^36 */
    JOURNAL_DAMAGED = 3, /* the newest bytes of the range are lost; reads fail; no payload; MOVES stream only */
    JOURNAL_PLACED  = 4, /* the blocks lie elsewhere already, durably: at `place`, of which the log knows nothing; checksums, no payload */
};
#define JOURNAL_PLACE_MAX (UINT64_C(1) << 40) /* places are below */

/* ---- the pool of segments -------------------------------------------------------------------------------------- */

/* Geometry of an area: the segments of one device. Of the journal device it is kept in its label by the caller; the log is made of
 * its segments alone. Areas on other devices (segpool_add()) have segments of the same size, which are used for slots. */
struct segpool_geometry {
    uint64_t base_bytes;     /* where segment 0 begins; multiple of 4096 */
    uint32_t segment_bytes;  /* SEGMENT_BYTES_MIN..MAX, a multiple of 4096 */
    uint32_t nr_segments;
    uint32_t align_bytes;    /* 512 or 4096: where headers and groups may begin; >= the device's logical block */
    uint32_t head_bytes;     /* a segment's header takes, and its footer: align_bytes, or 4096 in a pool of before there was a choice */
    uint32_t nr_shards;      /* fixed when the pool is formatted */
    struct uuid pool;        /* seeds every header's checksum: another pool's bytes never verify. Of other areas: their device's own */
};

/* Segments are numbered through all areas: those of the journal device, area 0, come first, then the others' in the order in which they
 * were added. On media each area counts its own from 0. */
#define SEGMENT_AREAS_MAX (1u + CACHE_DEVS_MAX + CAPACITY_DEVS_MAX)
struct segment_at { uint32_t area, no; };

enum segment_use { SEGMENT_FREE, SEGMENT_LOG_OPEN, SEGMENT_LOG_SEALED, SEGMENT_SLOTS, SEGMENT_FREEING };

struct segment_info {
    enum segment_use use;
    uint32_t shard;
    enum journal_stream stream;
    uint64_t epoch;            /* unique in the pool, rising; FREE: of its last use that was freed; 0: never used */
    uint64_t seq_min, seq_max; /* of the records inside; 0 when there are none */
    uint32_t used_units;       /* units taken so far, headers included */
};

/* Reads every segment header (straight-line, before the reactors run). freed_epoch(ctx, seg): the epoch up to which
 * the caller's metadata calls this segment free; a header with a higher one is live. 0, device errors,
 * -FIRN_E_FORMAT_VERSION. A damaged header of a segment is not an error here: recovery judges it. */
int  segpool_open(struct dev *d, const struct segpool_geometry *geo,
                  uint64_t (*freed_epoch)(void *ctx, uint32_t segment), void *ctx, struct segpool **out);
void segpool_close(struct segpool *p);
/* Adds another device's segments (straight-line, before any log is made of the pool). From then on all segments for slots are taken from
 * areas that were added. What is there already is kept if a header of this area says so, and is never a log. 0; -FIRN_E_INVALID:
 * segments of another size, or with heads of another, or they do not fit; device errors: it is as if this had not been tried. */
int  segpool_add(struct segpool *p, struct dev *d, const struct segpool_geometry *geo);
/* The journal device's segments are for the log alone from now on: those of slots are called free. Before any log is made of the pool. */
void segpool_log_only(struct segpool *p);
bool segpool_is_log_only(const struct segpool *p); /* so, or because there are other areas */
/* Before any log is opened: the journal device's segments of slots are called free, the oldest first, until so many are free or none
 * is left. */
void segpool_free_slots(struct segpool *p, uint32_t nr_free);
/* Before any log is opened: what segments with this epoch or a lower one hold for slots counts no more; of areas that are added later
 * neither; and no segment gets such an epoch any more. At most NUMBER_START_MAX. */
void segpool_forget_slots(struct segpool *p, uint64_t epoch);
uint64_t segpool_forgotten(const struct segpool *p); /* that epoch; 0: none */
uint64_t segpool_epoch_max(const struct segpool *p); /* no segment has a higher one */
const struct segpool_geometry *segpool_geometry(const struct segpool *p); /* of the journal device's area */
const struct segpool_geometry *segpool_area(const struct segpool *p, uint32_t area);
uint32_t segpool_areas(const struct segpool *p);      /* 1: the journal device alone */
uint32_t segpool_segments(const struct segpool *p);   /* of all areas */
struct segment_at segpool_at(const struct segpool *p, uint32_t segment);
/* On the area's device: bytes from the segment's start. */
uint64_t segpool_offset(const struct segpool *p, uint32_t segment, uint64_t off_bytes);
uint32_t segpool_free_nr(const struct segpool *p);  /* segments that the log may take; any thread */
uint32_t segpool_area_free_nr(const struct segpool *p, uint32_t area); /* any thread */
/* Its device failed: until the next start no segment is taken there for slots. Any thread. */
void segpool_area_off(struct segpool *p, uint32_t area);
bool segpool_area_is_off(const struct segpool *p, uint32_t area); /* any thread */
void segpool_info(const struct segpool *p, uint32_t segment, struct segment_info *out);
/* Cuts geometry for a device or file: label areas of 1 MiB at both ends are left out. segment_bytes 0: 1/1024 of the
 * device, rounded to 1 MiB, between 16 and 256 MiB. -FIRN_E_INVALID if fewer than 8 segments a shard fit. */
int  segpool_plan(uint64_t device_bytes, uint32_t segment_bytes, uint32_t align_bytes, uint32_t nr_shards,
                  struct segpool_geometry *out);
/* Cuts an area on another device: as many of the log's segments as it has room for. -FIRN_E_INVALID: not one. */
int  segpool_plan_area(uint64_t device_bytes, const struct uuid *device, const struct segpool_geometry *log,
                       struct segpool_geometry *out);
/* Clears headers and footers of all segments, then flushes: what the device held before can neither be taken for a log
 * nor make segpool_open search for one. Part of formatting a pool; straight-line. */
int  segpool_format(struct dev *d, const struct segpool_geometry *geo);
/* Blocks that one WRITE record may have in this geometry: GROUP_BYTES_MAX, or half of a very small segment. */
uint32_t segpool_record_blocks_max(const struct segpool_geometry *geo);

/* The most one-block records, `batch` of them appended in one pass each time, that surely fit in what a segment of the MOVES
 * stream has: with group headers, echo, summary, a batch that is cut in two by the segment's end, and four short batches. */
uint32_t segpool_moved_blocks_max(const struct segpool_geometry *geo, uint32_t batch);

/* ---- appending -------------------------------------------------------------------------------------------------- */

struct journal_append;
typedef void journal_append_cb(struct journal_append *req);

struct journal_append {
    enum journal_rec_type type;
    enum journal_stream   stream;
    uint64_t              layer;    /* opaque, non-zero */
    uint64_t              lba;      /* first block; counts 4 KiB blocks */
    uint64_t              nblocks;  /* WRITE, PLACED: 1..segpool_record_blocks_max() */
    uint64_t              place;    /* PLACED: opaque; the log must have been opened for such records */
    uint64_t              seq;      /* MOVES: in, kept. HOST: out, set before cb */
    const struct iovec   *iov;      /* WRITE: borrowed until cb; bases 4096-aligned, lengths multiples of 4096 */
    int                   iovcnt;
    const uint32_t       *csum;     /* WRITE, PLACED: nblocks address-bound checksums (block_csum); borrowed until cb */
    journal_append_cb    *cb;       /* once; never from inside journal_append(); in order within the stream,
                                   * but for what was canceled */
    void                 *ctx;
    int                   err;      /* out: 0: durable. Else a later replay finds it whole or not at all */
    struct journal_loc    loc;      /* out: WRITE: first block; others: the group header that holds the record */
    struct {
        struct list node;
        bool        queued;       /* it has no group yet */
        uint64_t    start_ns;
    } priv;
};

/* Queues the record for the next group. Appends wait, in order, while no segment is free: back-pressure, never an error. */
void journal_append(struct journal *j, struct journal_append *req);

/* PLACED records may be appended from now on, in segments that are opened from now on; true: those are all there are. Segments that say
 * nothing of such records are sealed as soon as something is in them; of one in which nothing is the header is written again. */
bool journal_allow_placed(struct journal *j);

/* Nobody wants req any more, which was appended. True: no group had taken it, and none will; it is
 * answered soon with -FIRN_E_CANCELED, from the loop, whatever stands before it in its stream; a HOST record's seq is never used.
 * Those behind it move up. False: it is in a group, or is being or was answered: it ends as ever, and this changed nothing. */
bool journal_append_cancel(struct journal *j, struct journal_append *req);

/* The owner will free no segment any more: what waits or is in flight is answered with err, and nothing is appended again.
 * Reads go on. */
void journal_give_up(struct journal *j, int err);

/* All HOST records with seq <= this are durable and their callbacks have run: everything up to it is in the index.
 * Read it in the same pass in which the index is read. */
uint64_t journal_durable_seq(const struct journal *j);

/* How far a stream is durable: its newest durable group and the segment that holds it. The owner keeps the marks of both
 * streams in its metadata and gives them back at the next start: what they name and the log lacks was lost, never torn. */
struct journal_mark {
    uint64_t group;            /* 0: nothing */
    uint64_t epoch;            /* of the segment's use; once that was freed, the mark says nothing */
    uint32_t segment;
};
void journal_marks(const struct journal *j, struct journal_mark out[static JOURNAL_STREAM_NR]);

struct journal_load {          /* what policy needs; valid for this pass */
    uint32_t free_segments;    /* of the whole pool */
    uint32_t queued;           /* appends waiting for a group, both streams */
    bool     starved;          /* appends wait for a free segment, here or in another shard of the pool */
    bool     failed;           /* the device failed: every append is answered with an error */
};
void journal_load(const struct journal *j, struct journal_load *out);
bool journal_starved(const struct journal *j); /* of that, what every pass asks */

/* Nothing in the segment is needed any more, and the metadata says so durably (design.md, "must always hold" 4).
 * Asserts that it is sealed and belongs to this shard. Its blocks may be overwritten from now on. */
void journal_segment_free(struct journal *j, uint32_t segment);

/* The owner wants the segment back soon: if its stream is filling it and it holds something, it takes no more groups, and is sealed in
 * the background like a full one (segment_sealed). Else this changes nothing. Costs what the segment had left. */
void journal_segment_seal(struct journal *j, uint32_t segment);

/* ---- segments for slots: places of copies that lie elsewhere too; the log knows nothing of what is in them ---- */

/* Takes a free segment, of the journal device if more than `keep` are free there and nobody's appends wait for one, unless few are
 * being opened: its header is made durable, then events.slots_opened tells of it. False: none was taken. */
bool journal_slots_open(struct journal *j, uint32_t keep);
/* None was to be had, and copies go without: other devices' segments are shared out evenly among the shards that want them. */
void journal_slots_ask(struct journal *j);
/* Nothing in it is used any more, or in flight: it is free at once. Its header stays until the next one is written. */
void journal_slots_free(struct journal *j, uint32_t segment);
/* Writes behind the header of a slot segment of this shard, without a flush. */
void journal_slots_write(struct journal *j, struct journal_loc loc, struct dev_io *io);

/* Pin: while a read of it is in flight a segment that was freed is not handed out again. Cheap counters. */
void journal_segment_pin(struct journal *j, uint32_t segment);
void journal_segment_unpin(struct journal *j, uint32_t segment);

/* The device that holds it, of this journal's env. */
struct dev *journal_segment_dev(const struct journal *j, uint32_t segment);

/* Reads nblocks of payload at loc into iov (checked against the segment's bounds); the dev's request is the caller's.
 * Verification is the caller's: the checksum lives in the index. */
void journal_read(struct journal *j, struct journal_loc loc, struct dev_io *io);

/* ---- opening and recovery --------------------------------------------------------------------------------------- */

struct journal_events {        /* all on the journal's env */
    void *ctx;
    /* A segment was opened for a stream; before any append completes in it. Its header is durable. */
    void (*segment_opened)(void *ctx, uint32_t segment, enum journal_stream stream, uint64_t epoch);
    void (*segment_sealed)(void *ctx, uint32_t segment, uint64_t seq_min, uint64_t seq_max);
    /* A segment was taken for slots, and its header is durable; or err, and the segment is free again. NULL: none is ever taken. */
    void (*slots_opened)(void *ctx, uint32_t segment, uint64_t epoch, int err);
    /* Another shard has less than its share of segments for slots, and this one more: one shall be given back. NULL: none ever is. */
    void (*slots_wanted)(void *ctx);
    /* Free segments are at or below the reserve, or another shard's appends wait for one: reclaim now. */
    void (*space_wanted)(void *ctx);
    void (*failed)(void *ctx, int err);
    /* The number of the last metadata batch known committed: goes into headers (a rolled-back LMDB is then seen). */
    uint64_t (*meta_commit_no)(void *ctx);
};

struct journal_opts {
    uint32_t shard;
    uint32_t group_bytes_max;   /* payload of a group; 0: 256 KiB; at least MDTS_BYTES is always allowed for one record */
    uint32_t groups_in_flight;  /* a stream; 0: 2 */
    uint32_t reserve_segments;  /* kept for MOVES; HOST appends wait rather than take them; 0: 2 */
    bool     accept_loss;       /* go on although acknowledged data is known to be missing */
    bool     placed;            /* PLACED records may be appended, also without it if replay finds some; older programs refuse the pool */
    uint64_t seq_floor;         /* the highest seq that the metadata names: new records get higher ones. 0: none known */
    struct journal_mark marks[JOURNAL_STREAM_NR]; /* as the metadata has them; not trusted */
    bool        marks_final;    /* the metadata says too that nothing was acknowledged since it got these marks */
    struct dev *const *areas;   /* this env's devices of the areas from 1 on: [area - 1]; borrowed. NULL: there are none */
};

struct journal_record {         /* one replayed record */
    enum journal_rec_type type;
    enum journal_stream   stream;
    uint64_t layer, lba, nblocks, seq;
    uint64_t place;             /* PLACED */
    struct journal_loc loc;
    const uint32_t *csum;       /* WRITE, PLACED: nblocks; valid during the call */
};

struct journal_damage {         /* acknowledged records that cannot be read back; also a log line each */
    uint32_t segment, unit;
    bool     range_known;       /* from the summary or the echo in the next header; else only the segment is known */
    uint64_t layer, lba, nblocks, seq;
};

struct journal_replay_ops {
    void *ctx;
    /* Every kept record of this shard, once, segments in epoch order, groups in order; seqs are NOT sorted across
     * streams: of two records for one block the higher seq wins, equal seqs carry equal bytes. Non-zero ends the replay. */
    int (*record)(void *ctx, const struct journal_record *rec);
    int (*damage)(void *ctx, const struct journal_damage *dmg);
    /* Before its records. All of these are sealed when journal_open() returns; no segment_sealed event tells it again. */
    void (*segment)(void *ctx, uint32_t segment, const struct segment_info *info);
};

struct journal_replay_report {
    uint32_t segments, segments_scanned;  /* all; those without a valid summary */
    uint64_t groups, records, blocks;
    uint64_t groups_torn, groups_stale, groups_cut, groups_corrupt;
    uint64_t groups_unnamed;              /* of the corrupt ones: nothing names what they held */
    uint64_t groups_maybe;                /* of the unnamed ones: the log may have gone on where nothing can be read, or not */
    uint32_t maybe_segment;               /* in which one of those places is */
    uint64_t blocks_bad;                  /* of the newest payload: not what was written; their records were told all the same */
    uint64_t seq_max, meta_commit_no_max; /* seen in any header */
};

/* Opens shard's log: replays what is there (straight-line, over dev_*_sync), seals what a crash left open, opens fresh
 * segments. Idempotent: a crash at any write of it, any number of times, leaves the same records. In this order the
 * caller may judge before anything is written: journal_replay() only reads; journal_open() continues after it.
 * -FIRN_E_CORRUPT when acknowledged records are lost beyond naming and accept_loss is not set. */
int  journal_new(struct env *env, struct dev *d, struct segpool *p, const struct journal_opts *opts,
                 const struct journal_events *events, struct journal **out);
int  journal_replay(struct journal *j, const struct journal_replay_ops *ops, struct journal_replay_report *report);
int  journal_open(struct journal *j);
/* Requires: nothing queued or in flight. With seal set, writes the summaries of the open segments first. */
int  journal_close(struct journal *j, bool seal);
/* Frees memory without any I/O, whatever is in flight: for machines that crashed in a simulator, and failed starts. */
void journal_abandon(struct journal *j);

/* Counters: one list for struct, metrics and README. */
#define JOURNAL_COUNTERS(x)                                                        \
    x(groups_host,        "commit groups of host writes made durable")            \
    x(groups_moves,       "commit groups of moved blocks made durable")           \
    x(records,            "records made durable")                                 \
    x(host_bytes,         "payload bytes of host writes")                         \
    x(moved_bytes,        "payload bytes of moved blocks")                        \
    x(header_bytes,       "group headers, segment headers and summaries written") \
    x(segments_opened,    "segments opened")                                      \
    x(segments_freed,     "segments given back")                                  \
    x(waits_for_space,    "times host appends had to wait for a free segment")    \
    x(append_errors,      "appends answered with an error")                       \
    x(appends_canceled,   "appends taken back before they had a group")

struct journal_stats {
#define X(name, help) uint64_t name;
    JOURNAL_COUNTERS(X)
#undef X
};
const struct journal_stats *journal_stats(const struct journal *j);
struct metric_hist;
void journal_set_commit_hist(struct journal *j, struct metric_hist *h); /* group submit to durable; optional */

/* Switches for planted bugs: only tests set them; production leaves it NULL. Each breaks one rule on purpose. */
struct journal_bugs {
    bool ack_before_durable;      /* completes a group when it is submitted */
    bool skip_epoch_check;        /* replays groups of an older epoch */
    bool skip_fence;              /* the write of a group loses its DSYNC */
    bool moved_gets_new_seq;      /* a MOVES record takes a fresh seq */
    bool ignore_marks;            /* recovery does not believe what the metadata calls durable */
    bool ack_out_of_order;        /* completes a group when it is durable although an earlier one is not */
};
void journal_set_bugs(struct journal *j, const struct journal_bugs *bugs);

#endif
