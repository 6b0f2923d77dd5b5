/* SPDX-License-Identifier: Apache-2.0 */
/* priv.h: struct shard, and what is common to its flows. What a flow shares with others stands in the header named for it. Reading
 * order: index.h, extent.h, this, map.c (the index and the extents kept in step), gate.c, share.c, heat_meta.c, write.c, twin.c,
 * bypass.c, bypass_run.c, read.c with its files, fetch.c, fill.c, places.c, sums.c, zero.c, rmw.c, cancel.c, mover.c with pick.c,
 * mover_batch.c, capture.c, mover_io.c, mover_turn.c, mover_commit.c, migrate.c, describe.c, described.c and ring.c, reclaim.c with its
 * files, forget.c, oldest.c, recover.c, recover_places.c, shard.c, shard_life.c.
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
#include "tier/bits.h"
#include "tier/damage.h"
#include "tier/describe.h"
#include "tier/extent.h"
#include "tier/flush_turn.h"
#include "tier/forget.h"
#include "tier/gate.h"
#include "tier/heat_meta.h"
#include "tier/index.h"
#include "tier/marks.h"
#include "tier/migrate.h"
#include "tier/oldest.h"
#include "tier/places.h"
#include "tier/policy.h"
#include "tier/reclaim.h"
#include "tier/ring.h"
#include "tier/shard.h"
#include "tier/stage.h"
#include "tier/stream.h"
#include "tier/volume.h"
#include "tier/waits.h"

#define IO_BLOCKS_MAX   (MDTS_BYTES / BLOCK_BYTES + 2u) /* blocks a request can touch: 512-byte lbas may begin and end within one */
#define EXTENTS_PER_IO  3u                               /* IO_BLOCKS_MAX blocks cross at most two bounds */
#define LAYERS_MAX      (2u * VOLUMES_MAX)               /* layers of one shard; indices 1.. */
#define LAYER_HASH      (2u * LAYERS_MAX)
#define REREADS_MAX     3u                               /* before a dirty block is called damaged for good */
#define SCAN_BUDGET     4096u                            /* nodes or slots a pass looks at */
#define IOS_DEFAULT     1024u
#define SHUNNED         16u                              /* reads that a device refused, and that are remembered */
static_assert(LAYERS_MAX < 1u << INDEX_LAYER_BITS, "a layer index fits the index's key");
static_assert(IO_BLOCKS_MAX <= GROUP_BYTES_MAX / BLOCK_BYTES, "a request is one record");

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
    uint64_t hit_blocks, miss_blocks; /* of what hosts read: from the SSD or RAM; from capacity devices */
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
    bool              served;    /* it was started once: the start of the pool has come to its end */
    uint64_t          seq_named; /* loaded: the highest seq that the map names */
    uint32_t          opened_s;           /* by the clock; what was dirty then counts as written then: nobody knows better */
    uint32_t          victim_max; /* blocks that a victim may have to be moved: emptying it gains space, see reclaim.c */
    uint32_t          log_segments; /* numbers below it: the journal device's; index and seg[] have those of all areas */
    uint32_t          reserve_segments; /* free ones that the journal keeps for moves, all shards' */
    uint64_t          writing_blocks;   /* appended, not yet durable */
    uint64_t          calm_ns;          /* a write came then, and so little was dirty that what came behind it may be a burst */
    uint64_t          changes;   /* events after which another victim may be worth a look: reclaim.c */
    int               failed;    /* the journal or the metadata store failed: no more writes; 0 or the error */
    int               fail_cause;/* what the device or the store said; 0: nothing */
    uint32_t         *layer_hash;
    struct layer     *layer;     /* [1..LAYERS_MAX] */
    uint32_t          layers_touched, layer_free;

    struct pool wios, rios, runs, zios, rmws, rmw_bufs, sums_loads, moves, gives_pool, forgets_pool;
    struct pool *pool_of[POOL_KIND_NR];
    uint32_t held[POOL_KIND_NR][CAPACITY_DEVS_MAX]; /* entries of requests that may be caught in the device */
    uint32_t nr_waiting;         /* in the queues that follow: gate.c */
    struct waits writes_wait;    /* for dirt to fall, or for nodes */
    struct waits writes_dev[CAPACITY_DEVS_MAX]; /* for dirt, or zeroed blocks, to fall in the share of that device */
    struct waits pool_wait[POOL_KIND_NR]; /* for an entry of that pool */
    struct waits held_wait[POOL_KIND_NR][CAPACITY_DEVS_MAX]; /* for an entry that the device keeps */
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
    struct bypass_dev *bypass_dev; /* nr_capacity */
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

static inline uint32_t extent_no(uint64_t block) { return (uint32_t)(block / EXTENT_BLOCKS); }
static inline bool in_place(const struct shard *s, uint32_t id) { return slots_has(&s->places.slots, id); }

/* shard_life.c */
void     shard_defaults(struct tier_opts *t);             /* for what is 0 there */

/* shard.c */
void     shard_pass_init(struct shard *s);
void     shard_kick(struct shard *s);                     /* runs a pass of waiting work, from the loop */
void     shard_io_later(struct shard *s, struct blk_io *io, int err);  /* answers from the loop */
void     shard_io_done(struct shard *s, struct blk_io *io, int err);
void     shard_fail(struct shard *s, int err);
void     shard_batch_over(struct shard *s, int err); /* a batch of the metadata: counted, or the shard fails; a pass follows */
void     shard_degrade(struct shard *s, uint16_t dev, int err); /* the capacity device refused a write or flush */
uint32_t layer_find(const struct shard *s, uint64_t id);  /* 0: not attached */
uint32_t *layer_hash_head(const struct shard *s, uint64_t id);
static inline struct layer *layer_at(const struct shard *s, uint32_t l) { return &s->layer[l]; }
bool     dev_usable(const struct shard *s, const struct dev *d); /* there, and nothing hangs in it past the deadline */
struct dev *shard_segment_dev(const struct shard *s, uint32_t segment);
struct dev *shard_capacity(const struct shard *s, uint16_t dev);
bool     shard_seeks(const struct shard *s, uint16_t dev);
bool     shard_writes_wait(const struct shard *s);
void shard_calm_look(struct shard *s);          /* a write comes: what may become a burst begins here */
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

/* write.c */
void    *iov_block(const struct iovec *iov, int iovcnt, uint32_t block); /* where block i of the request lies */

#endif
