/* SPDX-License-Identifier: Apache-2.0 */
/* priv.h: what the files of journal/ share.
 *
 * segment.c  the pool: where a segment lies, which is used for what
 * survey.c   opening the pool: what headers say
 * stream.c   a stream's open segments: opening ahead, switching, sealing
 * append.c   requests -> groups -> durable -> callbacks
 * judge.c    the decision table of recovery, pure
 * scan.c     finds the groups of a segment that has no summary
 * recover_next.c  may the log have gone on where nothing can be read?
 * recover.c  replay: facts for judge.c, records to the owner
 * repair.c   what opening writes: drops torn groups for good, seals what a crash left open
 * slots.c    segments for something else than the log
 * journal.c  making, opening, closing
 */
#ifndef FIRN_JOURNAL_PRIV_H
#define FIRN_JOURNAL_PRIV_H

#include <inttypes.h>
#include <pthread.h>

#include "base/log.h"
#include "journal/format.h"
#include "journal/journal.h"
#include "rt/env.h"
#include "rt/metrics.h"
#include "rt/trace.h"

#define JRN_GROUPS_IN_FLIGHT_MAX 16u
#define JRN_GROUP_BYTES_DEFAULT  (256u * 1024u)
#define JRN_SEQ_MARGIN           4096u /* above every seq seen: more than the records that may have been in flight unseen */
#define JRN_OSEGS                3u    /* a stream's open segments: filling, next, being sealed */
#define JRN_IOV_MAX              1024u
#define JRN_SLOTS_OPENING        4u    /* segments for slots whose header is being written */

/* ---- segment.c --------------------------------------------------------------------------------------------------- */

struct seg_waiter {          /* a journal whose appends wait for a free segment */
    struct list     node;
    uint32_t        shard;
    struct env     *env;
    struct env_task task;    /* posted to env when a segment is given back */
    bool            wanted;  /* under the pool's mutex, like posted */
    bool            posted;  /* the task is env's until it runs */
    bool            hungry;  /* appends wait: every other journal of the pool is asked to free what it can */
    struct env_task ask;     /* posted to env when another one is hungry */
    bool            asked;   /* like posted */
};

struct segpool_area {         /* a device's segments */
    struct segpool_geometry geo;
    uint32_t  first;          /* number of its segment 0 in the pool */
    uint32_t *free_ring;      /* free segments, oldest first: wear spreads */
    uint32_t  free_head;
    uint32_t  free_nr;        /* written under the lock, read by any thread */
    bool      off;            /* likewise: none of its segments is taken for slots any more */
};

struct segpool {
    pthread_mutex_t lock;
    struct segpool_area area[SEGMENT_AREAS_MAX]; /* [0]: the journal device's, and the log's */
    uint32_t  nr_areas, nr_segments;
    bool      log_only;         /* no segment of area 0 becomes one for slots */
    uint32_t  slots_nr[REACTORS_MAX]; /* segments for slots that a shard has in the other areas */
    uint64_t  poor;             /* a bit a shard that has less than its share of those, and asked for one */
    struct segment_info *info;  /* use changes under the lock */
    uint32_t  hungry_nr;        /* waiters that are hungry; written under the lock, read by any thread */
    uint64_t  epoch_max;
    uint64_t  forgotten;        /* slots of segments up to this epoch count no more */
    uint64_t  seq_floor[REACTORS_MAX]; /* of all headers on the journal device, like meta_commit_no */
    uint64_t  meta_commit_no;
    uint32_t  unknown_nr;       /* free segments of area 0, at the start, that may hold a group of which nothing can be read */
    uint32_t  unknown_first;    /* number of one */
    struct list waiters;
};

bool segpool_geometry_valid(const struct dev *d, const struct segpool_geometry *geo);
void area_free_push(struct segpool_area *a, uint32_t segment);

/* Takes a free segment of the journal device unless no more than `keep` are left; false then, and w (if any) is told when one comes
 * back. */
bool segpool_take(struct segpool *p, uint32_t shard, enum journal_stream stream, uint32_t keep, struct seg_waiter *w,
                  uint32_t *segment, uint64_t *epoch);
/* For slots: from other areas than the journal device's if there are any; else never while appends wait. */
bool segpool_take_slots(struct segpool *p, uint32_t shard, uint32_t keep, uint32_t *segment, uint64_t *epoch);
/* A shard whose copies find no place, for want of segments outside the journal's device: who has more than its share is asked, if the
 * shard has less than its own. */
void segpool_ask_slots(struct segpool *p, uint32_t shard);
bool segpool_slots_owed(struct segpool *p, uint32_t shard); /* another one asked, and this one has more than its share */
void segpool_give(struct segpool *p, uint32_t segment);
/* Its use, with the transition asserted. */
void segpool_set_use(struct segpool *p, uint32_t segment, enum segment_use use);
void segpool_set_span(struct segpool *p, uint32_t segment, uint64_t seq_min, uint64_t seq_max, uint64_t used_bytes);
void segpool_waiter_add(struct segpool *p, struct seg_waiter *w);
/* False: posted; run the loop and try again. force: the loop is gone, and the task with it. */
bool segpool_waiter_remove(struct segpool *p, struct seg_waiter *w, bool force);
void segpool_waiter_ran(struct segpool *p, struct seg_waiter *w);
void segpool_asked_ran(struct segpool *p, struct seg_waiter *w);
void segpool_set_hungry(struct segpool *p, struct seg_waiter *w, bool hungry);
bool segpool_hungry(const struct segpool *p); /* any journal is; any thread */
uint64_t segpool_seq_floor(const struct segpool *p, uint32_t shard); /* of all headers, also of free segments */
uint64_t segpool_meta_commit_no(const struct segpool *p); /* likewise */
struct segment_info *segpool_slot(struct segpool *p, uint32_t segment); /* its owner's thread */
/* None up to it will be handed out; above NUMBER_START_MAX: none ever is. */
uint64_t segpool_epoch_seen(struct segpool *p, uint64_t epoch);
uint64_t segpool_epoch_new(struct segpool *p, uint32_t segment);     /* for a header that hides what stands behind it */

static inline uint64_t segment_base(const struct segpool_geometry *geo, uint32_t segment)
{
    assert(segment < geo->nr_segments); /* the area's own */
    return geo->base_bytes + (uint64_t)segment * geo->segment_bytes;
}

/* ---- the summary being gathered for one segment -------------------------------------------------------------------- */

struct summary {
    uint8_t *buf;            /* cap bytes, then room for a footer */
    size_t   cap, len;
    uint32_t nr_entries;
    uint64_t first_group, nr_groups, seq_min, seq_max, meta_commit_no;
};

void summary_reset(struct summary *s, uint64_t first_group);
void summary_add(struct summary *s, const struct jrn_entry *e, const uint8_t *body);
/* Writes the footer behind the entries and says where both go: summary_off is where buf's first byte belongs; the
 * footer ends the segment. Returns the bytes of the whole. -FIRN_E_CORRUPT: they would reach into the groups. */
int  summary_finish(struct summary *s, const struct segpool_geometry *geo, uint32_t segment,
                    const struct jrn_seg_header *head, uint64_t end_off, uint64_t *summary_off, size_t *bytes);
size_t summary_cap(const struct segpool_geometry *geo); /* largest summary of a segment */

/* ---- a stream's open segments and groups ------------------------------------------------------------------------- */

enum oseg_state { OSEG_IDLE, OSEG_OPENING, OSEG_READY, OSEG_FILLING, OSEG_FULL, OSEG_SEALING, OSEG_STATE_NR };

struct stream;

struct oseg {                 /* reactor only */
    struct stream         *st;
    enum oseg_state        state;
    uint32_t               segment;
    struct jrn_seg_header  head;
    uint64_t               off;       /* where the next group goes, from the segment's start */
    uint32_t               nr_groups; /* submitted */
    uint32_t               in_flight; /* submitted and not yet durable */
    struct summary         sum;       /* of all submitted groups */
    uint8_t               *block;     /* its header's bytes while they are written */
    struct dev_io          io;        /* header or seal */
    bool                   io_busy;   /* the device has it */
    struct iovec           iov;
};

struct group {                /* one durable write; reactor only */
    struct stream *st;
    struct oseg   *seg;
    uint64_t       number, off, len;
    uint64_t       submit_ns;
    uint32_t       nr_sums, nr_blocks, weight;
    uint8_t       *header;    /* JRN_GROUP_HEADER_MAX, aligned to a page */
    struct iovec  *iov;       /* header, then the callers' */
    int            iovcnt;
    struct list    reqs;      /* in order */
    struct dev_io  io;
    bool           written;   /* the device answered */
    int            err;
};

struct stream {
    struct journal     *j;
    enum journal_stream id;
    struct list         queue;          /* appends that have no group yet */
    uint32_t            nr_queued;
    uint64_t            queue_weight, out_weight; /* of the requests that wait, and of those in groups in flight */
    struct group       *groups;         /* ring of j->groups_in_flight */
    uint32_t            head, nr_groups; /* oldest in flight; how many */
    uint64_t            next_group;
    uint64_t            durable_group;  /* every group up to it is durable */
    struct journal_mark mark;           /* the newest durable group that a segment still holds */
    uint64_t            cut_group;      /* recovery's cut, not yet in a durable header; 0: none */
    uint32_t            last_segment;   /* opened last: the next one's prev */
    uint64_t            last_epoch;
    struct oseg         osegs[JRN_OSEGS];
    struct oseg        *cur, *next;
    struct env_task     run;            /* forms groups at the end of a pass */
    bool                starved;        /* appends wait for a free segment */
    bool                held;           /* no group is formed until all that is sealed has its summary: the newest of it was not full */
    uint8_t            *echo;           /* records of the previous group */
    uint32_t            nr_echo, prev_crc;
};

struct slots_open {           /* a segment for slots whose header is being written; reactor only */
    struct journal *j;
    bool            busy;
    uint32_t        segment;
    uint64_t        epoch;
    uint8_t        *block;    /* the header's bytes */
    struct dev_io   io;
    struct iovec    iov;
};

struct recovery;

struct journal {
    struct env            *env;
    struct dev            *dev;
    struct segpool        *pool;
    struct segpool_geometry geo;
    struct journal_opts    opts;        /* zeros replaced by defaults */
    struct journal_events  events;
    struct stream          streams[JOURNAL_STREAM_NR];
    uint64_t               next_seq, durable_seq;
    uint32_t              *pins;        /* reads in flight, by segment */
    uint32_t               reserve;     /* segments that HOST leaves alone */
    uint32_t               iov_max;     /* elements of a group's write, header included */
    bool                   failed, closing;
    int                    fail_err;
    struct seg_waiter      waiter;
    struct list            canceled;    /* appends that were taken back, not answered yet */
    struct env_task        cancel;      /* answers them */
    struct journal_stats   stats;
    struct metric_hist    *commit_hist;
    struct journal_bugs    bugs;
    struct slots_open      slots_opening[JRN_SLOTS_OPENING];
    struct recovery       *recovery;    /* from replay to open */
    void                  *arena;       /* one mapping: groups' headers, summaries, blocks */
    size_t                 arena_bytes;
};

/* ---- stream.c ----------------------------------------------------------------------------------------------------- */

/* The segment in which a group of this shape goes, or NULL: it is being opened, or there is no space. */
struct oseg *stream_room(struct stream *st, uint32_t nr_sums, uint32_t nr_blocks);
/* Whether the longest group that one record can need may follow there, with the summary that is due then. */
bool segment_has_room(const struct segpool_geometry *geo, uint64_t off, size_t summary_len);
bool oseg_fits(const struct stream *st, const struct oseg *s, uint32_t nr_records, uint32_t nr_sums, uint32_t nr_blocks);
uint32_t stream_group_bytes_max(const struct stream *st); /* payload of one group */
void stream_say_placed(struct stream *st);     /* also of the next segment, if it has been opened without */
void stream_open_ahead(struct stream *st);     /* when the current segment runs full */
void stream_seal_ready(struct stream *st);     /* seals full segments whose groups are all durable, oldest first */
void stream_seal_early(struct stream *st, uint32_t segment); /* if it is the current one */
void stream_set_starved(struct stream *st, bool starved); /* appends that wait are the whole pool's concern */
/* At start: the first segment. `again`: this one, which is open and empty; else SEGMENT_ANY. */
#define SEGMENT_ANY UINT32_MAX
int  stream_open_sync(struct stream *st, uint32_t again);
int  stream_seal_sync(struct stream *st);      /* at close */
bool stream_busy(const struct stream *st);     /* a header or summary is being, or about to be, written */
void oseg_set_state(struct oseg *s, enum oseg_state state);

/* ---- slots.c ------------------------------------------------------------------------------------------------------- */

void slots_opening_init(struct journal *j, uint8_t *blocks); /* JRN_SEG_HEADER_BYTES for each */
bool slots_opening_busy(const struct journal *j);

/* ---- append.c ------------------------------------------------------------------------------------------------------ */

void stream_kick(struct stream *st);           /* forms groups at the end of this pass */
void stream_run(struct env_task *t);
void canceled_run(struct env_task *t);
void group_written(struct dev_io *io);
void journal_fail(struct journal *j, int err, uint32_t segment, uint64_t off_bytes);

/* ---- judge.c ------------------------------------------------------------------------------------------------------- */

struct facts {
    bool header_ok;     /* a whole group header stands there */
    bool epoch_current; /* of the segment's present use */
    bool cut;           /* its number is at or above one at which an earlier recovery cut the stream */
    bool expected;      /* its number follows the last one that was kept or accounted for */
    bool marked;        /* its number is at or below the durable mark: it was acknowledged, or may have been */
    bool payload_ok;    /* its blocks match their checksums */
};
enum decision { DECISION_KEEP, DECISION_TORN, DECISION_STALE, DECISION_CUT, DECISION_CORRUPT_PAYLOAD,
                DECISION_CORRUPT_HEADER };

struct judge_row { char letter; uint8_t mask, value; enum decision decision; const char *crash; };
#define JUDGE_ROWS 11u
extern const struct judge_row judge_table[JUDGE_ROWS];
uint8_t judge_bits(const struct facts *f);
enum decision judge(const struct facts *f);

/* ---- scan.c -------------------------------------------------------------------------------------------------------- */

struct scan_group { uint64_t off; struct jrn_group g; }; /* g.raw: a copy of its own */

struct scan {
    struct scan_group *v;
    uint32_t nr, cap;
    bool     torn_end;      /* the beginning of a group of this epoch stands behind the last whole one */
};

/* A read may fail, or go astray, once: nothing is called damaged, torn or empty before it was read so often. What verifies is
 * believed at once: checksums are bound to place and use. */
#define JRN_READS 3u
/* Reads what it can: blocks that the device cannot read become zeros. Fails only when the loop is ending. */
int  read_soft(struct dev *d, uint64_t off_bytes, void *buf, size_t len, bool *unreadable);
/* Every whole group header in the segment, by offset; payload of groups of this epoch is skipped over. epoch
 * SCAN_ANY: the segment's own is not known, nothing is skipped. */
#define SCAN_ANY UINT64_MAX
int  scan_segment(struct dev *d, const struct segpool_geometry *geo, uint32_t segment, uint64_t epoch, struct scan *out);
/* Into a what either found, by offset; b is empty then. */
int  scan_join(const struct segpool_geometry *geo, uint64_t epoch, struct scan *a, struct scan *b);
void scan_free(struct scan *s);

/* ---- recover.c, repair.c ------------------------------------------------------------------------------------------- */

struct rseg {                  /* a segment that holds, or may hold, something of this shard */
    uint32_t segment, shard;
    enum journal_stream stream;
    uint64_t epoch;
    bool     head_ok, foot_ok; /* whole, and of this use: epoch, shard and stream */
    bool     foot_blind;       /* where the footer belongs cannot be read: it may have one */
    bool     sealed;           /* footer and summary are whole: its groups need no look */
    struct jrn_seg_header head;     /* the footer's where the header is damaged; epoch, shard and stream alone where both are */
    struct jrn_footer foot;
    struct scan scan;
    uint64_t first;            /* number of its first group; 0: unknown */
    uint64_t cut;              /* groups from here on are not the stream's; UINT64_MAX: none. Of a sealed one: always none */
    struct summary sum;        /* gathered when it is not sealed: what repair.c writes */
    uint64_t end_off;          /* behind the last kept group */
    uint64_t scan_end;         /* behind the last whole header of this use, and its payload; nothing where it is sealed */
    bool     blind;            /* what stands behind that cannot be read */
    bool     hurt;             /* something behind that was lost: how much room is left is not known */
    uint64_t *drop;            /* offsets of whole groups that must never come back; as long as scan.nr */
    uint32_t nr_drop;
};
static inline bool rseg_empty(const struct rseg *s) { return !s->sealed && s->sum.nr_entries == 0; }
/* Its header was written for groups to follow, not to hide what stood there (repair.c). */
static inline bool rseg_opened(const struct rseg *s) { return s->head_ok && (s->head.cut_group || s->head.prev_epoch); }

struct rstream {
    uint64_t mark;             /* highest group known durable */
    uint64_t owner_mark;       /* as the owner's metadata says, while the segment it names is there; 0: nothing */
    uint64_t expected;         /* next group; 0: nothing known yet */
    uint64_t end;              /* behind the last group that a segment holds, or will call lost; 0: none */
    uint64_t floor;            /* the next group's number when none is left to tell */
    bool     ended;            /* a torn group was met: what follows was never acknowledged */
    const struct rseg *torn;   /* it was in this one; NULL: none was met, or a later recovery settled it */
    struct rseg *last;         /* last one that was judged */
};

struct recovery {
    struct journal *j;
    const struct journal_replay_ops *ops;
    struct journal_replay_report *report;
    struct rseg   *segs;       /* in epoch order */
    uint32_t       nr_segs;
    struct rstream streams[JOURNAL_STREAM_NR];
    struct rseg   *idle;       /* open and empty, where HOST goes on; NULL: there is none */
    uint64_t       unnamed;    /* groups lost without a name and without consent on the medium */
    uint64_t       seq_max;
    uint8_t       *buf;        /* GROUP_BYTES_MAX */
    uint8_t       *summary;    /* largest summary */
    uint32_t       csum[JRN_GROUP_BLOCKS_MAX];
};

/* recover_seg.c: one segment's bytes, and what they say. */
int  rseg_load(struct recovery *r, struct rseg *s);
int  rseg_read_summary(struct recovery *r, const struct rseg *s);
bool rseg_unreadable(struct recovery *r, const struct rseg *s, uint64_t off);
int  rseg_check_payload(struct recovery *r, const struct rseg *s, const struct scan_group *it, bool *ok, bool *unreadable);

/* recover_judge.c: facts of each group of a segment without summary; gathers rseg.sum. */
void rseg_enter(struct recovery *r, struct rseg *s);
int  rseg_judge(struct recovery *r, struct rseg *s);
int  judge_missing(struct recovery *r, struct rseg *s, uint64_t to, uint64_t off, const struct jrn_group *next);

void recover_next(struct recovery *r);   /* recover_next.c; sets r->idle */
void recover_maybe(struct recovery *r, uint32_t segment); /* a group may be lost there that may never have been */
bool rseg_has_room(const struct recovery *r, const struct rseg *s); /* that was judged: nothing follows it in its stream */
int  recover_verify(struct recovery *r); /* recover_verify.c: is the newest payload what was written? */
void recovery_free(struct recovery *r);
int  repair(struct recovery *r);

#endif
