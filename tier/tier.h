/* SPDX-License-Identifier: Apache-2.0 */
/* tier.h: a pool and its volumes, as the daemon, the simulator and the offline tools see them.
 *
 * A pool is one metadata environment, one journal device cut into segments, and one or more capacity devices, cut into
 * extents. It has a fixed number of shards; shard i lives on envs[i % nr_envs]. A volume belongs to one shard for ever.
 *
 * Threads: control calls are made on envs[0]'s thread and answer there, once, never from inside the call. tier_open()
 * and tier_format() are straight-line and run before the reactors' threads (all envs are then driven by the caller).
 */
#ifndef FIRN_TIER_H
#define FIRN_TIER_H

#include "base/err.h"
#include "base/limits.h"
#include "base/sizefmt.h"
#include "base/strbuf.h"
#include "base/types.h"
#include "rt/blk.h"
#include "rt/dev.h"
#include "rt/env.h"
#include "tier/meta.h"

struct tier;
struct tier_bugs;
struct journal_bugs;
struct journal_stats;
struct metric_hist;

enum tier_role { TIER_JOURNAL, TIER_CACHE, TIER_CAPACITY };

enum tier_media { TIER_MEDIA_ASK, TIER_MEDIA_SSD, TIER_MEDIA_HDD }; /* ASK: as the kernel says */

struct tier_dev_opts {
    enum tier_role role;
    enum tier_media media;
    char     path[256];
    uint64_t size_bytes;      /* files: made or grown to this at format; devices: 0 = whole, else at most this much */
};

/* What opens devices and metadata: the real thing or the simulator's. NULL members: dev_open(), meta_lmdb_open(). */
struct tier_seams {
    int (*dev_open)(void *ctx, struct env *env, const struct tier_dev_opts *dev, const struct dev_open_opts *opts,
                    struct dev **out, char why[static 256]);
    int (*meta_open)(void *ctx, const char *path, bool create, bool read_only, struct meta **out, char why[static 256]);
    /* Stands a dev before one that was opened, and owns it then; NULL: none. An error leaves `below` alone. */
    int (*dev_wrap)(void *ctx, const struct tier_dev_opts *dev, struct dev *below, struct dev **out);
    void *ctx;
};

#define TIER_MIGRATE_OFF UINT64_MAX

struct tier_opts {
    char     pool_name[NAME_MAX_CHARS + 1];
    char     meta_path[256];
    uint64_t meta_map_bytes;         /* LMDB map size; 0: 1 GiB + 2 GiB a TiB of capacity */
    struct tier_dev_opts devs[1 + CACHE_DEVS_MAX + CAPACITY_DEVS_MAX]; /* [0] is the journal */
    uint32_t nr_devs;
    bool     journal_pmem;
    bool     buffered;               /* files on a file system without O_DIRECT */
    uint32_t nr_shards;              /* format only; 0: one an env */
    uint32_t segment_bytes;          /* format only; 0: by size */
    uint32_t journal_align;          /* format only; 512 or 4096; 0: 4096 */
    uint64_t ring_bytes;             /* format only, for tests: of descriptions on each device that seeks; 0: by size; RING_NONE */
    bool     force;                  /* format: overwrite whatever the devices hold */
    bool     remains;                /* ... but only what a cut first format left, else -FIRN_E_EXISTS; longer files are cut */
    const char *const *rebuild_without; /* tier_rebuild_map() only: names, as it prints them, of volumes that shall not come back */
    uint32_t nr_rebuild_without;
    bool     accept_loss;
    uint32_t group_bytes_max, groups_in_flight;
    uint32_t dirty_start_pct;        /* 0: 40: idle destage begins */
    uint32_t dirty_max_pct;          /* 0: 60: writes wait, or at policy_burst_pct() of it while disks read */
    uint64_t write_bypass;           /* a sequential stream of writes that is longer in bytes goes past the log; 0: never */
    uint32_t write_bypass_part;      /* ... and than one part in so many of its shard's log; 0: that does not count */
    uint64_t write_bypass_rate;      /* ... and brings so many bytes per second; 0: however few */
    uint64_t stage_bytes;            /* RAM for what was read from capacity devices that seek, of all shards; 0: 16 MiB */
    uint32_t fetch_bytes;            /* what a read of those reads: so much, aligned; 0: 128 KiB */
    /* What is worth a copy on the SSD, and what reclaim does: tier_retune() changes these while the pool is open. */
    uint32_t admit_touches;          /* misses that make a chunk of 64 KiB worth it; 0: 2; at most 4 */
    bool     admit_blocks;           /* no chunk is: its blocks alone, each for itself */
    uint32_t admit_again;            /* asks that make a block in RAM worth it; 0: 3; at most 4. admit_blocks: until no place is free */
    uint32_t admit_turns;            /* turns of the cache for which an ask counts; 0: 1; at most 255. admit_blocks: from then on */
    uint64_t stream_cutoff;          /* bytes: nothing of a stream that is longer; 0: 4 MiB; UINT64_MAX: all streams */
    bool     destage_victims;        /* all that is dirty in a victim is destaged; else what lies few moves within the SSD */
    uint32_t read_ahead_max;         /* bytes ahead of a stream in one go; a block: none; 0: 1 MiB */
    uint64_t io_deadline_ns;         /* a device whose oldest request is older is degraded: new I/O fails at once; 0: 30 s */
    uint32_t ios_per_shard;          /* blk requests a shard carries at once; 0: 1024 */
    uint32_t tombstones_max;         /* a shard, before the oldest segment of its log has to go; 0: a quarter of what it has room for */
    uint32_t pin_pct;                /* of a shard's part of the log: so large may its volumes of tier ssd be; 0: 50 */
    uint64_t heat_half_life_ns;      /* of reads and writes; 0: 1 h. That of use is 24 times as long (heat.h) */
    uint64_t heat_period_ns;         /* between two saves of heat; 0: 60 s */
    uint64_t migrate_rate;           /* bytes per second that migration moves to one capacity device; 0: 16 MiB; TIER_MIGRATE_OFF: none */
    uint32_t migrate_heat;           /* heat of use from which an extent is worth a place on flash; 0: 4 */
    uint64_t mover_bandwidth;        /* background work: bytes per second a capacity device; 0: no cap */
    uint32_t mover_iops;             /* and writes per second; 0: no cap */
    uint64_t mover_latency_ns;       /* reads for hosts that take longer slow it down; 0: they do not */
    uint32_t mover_from_min, mover_to_min; /* minutes of the day, UTC, between which it may do what is not urgent; equal: always */
    struct tier_seams seams;
    struct env **envs;
    uint32_t nr_envs;
    const struct tier_bugs    *bugs;         /* tests only: planted before recovery; NULL: none */
    const struct journal_bugs *journal_bugs; /* likewise */
};

/* Of these, what may change while a pool is open. */
#define TIER_LIVE(x)                                                                                                    \
    x(admit_touches) x(admit_blocks) x(admit_again) x(admit_turns) x(stream_cutoff) x(destage_victims) x(write_bypass)  \
    x(write_bypass_part) x(write_bypass_rate) x(fetch_bytes) x(read_ahead_max) x(dirty_start_pct) x(dirty_max_pct)      \
    x(mover_bandwidth) x(mover_iops) x(mover_latency_ns) x(mover_from_min) x(mover_to_min) x(migrate_rate) x(migrate_heat)

/* Prepares empty devices as a new pool. Refuses devices that carry a Firn label or any known signature unless force.
 * Files are created; the journal file is written whole (a first write into unwritten blocks is slow). */
int  tier_format(const struct tier_opts *opts, char why[static 256]);
/* No server runs: cache devices that are configured and empty become the pool's, those that are the pool's and not configured are
 * forgotten. Refuses devices that hold anything else unless force. */
int  tier_cache_add(const struct tier_opts *opts, char why[static 256]);
/* Looks without changing anything: would a format be refused for what is on a device, other than a pool of Firn? -FIRN_E_FOREIGN. */
int  tier_survey(const struct tier_opts *opts, char why[static 256]);
/* Looks without changing anything: can this pool be opened? */
int  tier_probe(const struct tier_opts *opts, char why[static 256]);
/* Locks, checks labels, recovers every shard, seals what a crash left open. */
int  tier_open(const struct tier_opts *opts, struct tier **out, char why[static 256]);
/* No new I/O; what was accepted finishes; metadata is committed; cb on envs[0]. */
void tier_stop(struct tier *t, void (*cb)(void *ctx), void *ctx);
/* After tier_stop's cb: 0, or why something of what was accepted is in the log only, and the next start replays it. */
int  tier_stop_err(const struct tier *t);
void tier_close(struct tier *t); /* after tier_stop's cb (or, in the simulator, after a crash) */

/* All of TIER_LIVE is from now on as in opts; 0 there: the default. 0: cb is called when every shard has taken it; else not:
 * -FIRN_E_IN_USE, another change is under way; -FIRN_E_STOPPED. */
typedef void tier_retune_cb(void *ctx);
int  tier_retune(struct tier *t, const struct tier_opts *opts, tier_retune_cb *cb, void *ctx);

/* ---- volumes ---- */

enum volume_tier { VOLUME_AUTO, VOLUME_SSD, VOLUME_HDD };

/* What of the places for clean copies a volume has, and what of it is copied there. All zeros: nothing is special about it. */
enum volume_admit { VOLUME_ADMIT_AUTO, VOLUME_ADMIT_NEVER, VOLUME_ADMIT_FIRST, VOLUME_ADMIT_SECOND, VOLUME_ADMIT_THIRD };
struct volume_share { uint32_t pct; uint64_t bytes; }; /* one of the two; neither: no limit. Whole MiB, 1..100 */
struct volume_policy {
    struct volume_share cache_min; /* as long as it has no more, nobody else's copies displace its own */
    struct volume_share cache_max; /* when it has as much, its copies displace each other */
    enum volume_admit admit;       /* at which miss; AUTO: as the pool's knobs say */
    uint64_t stream_cutoff;        /* bytes, whole KiB; 0: the pool's; UINT64_MAX: streams are no exception */
};

struct volume_params {             /* what a user gives */
    char     name[NAME_MAX_CHARS + 1];
    uint64_t size_bytes;           /* multiple of 1 MiB after rounding up; 1 MiB..VOLUME_BYTES_MAX */
    uint32_t lba_bytes;            /* 512 or 4096 */
    enum volume_tier tier;
    uint64_t iops, bandwidth;      /* caps; 0: none */
    struct volume_policy policy;
};

struct volume_info {               /* what it is */
    struct volume_params p;
    uint64_t    id;
    struct uuid uuid;
    uint32_t    shard;
    uint64_t    used_bytes_ssd, used_bytes_flash, used_bytes_hdd, dirty_bytes; /* approximate while running */
    uint64_t    hit_blocks, miss_blocks; /* read since it was attached: from the SSD or RAM; from capacity devices */
    uint64_t    copies_bytes;      /* of those on the SSD, clean copies of what rests on HDDs; likewise */
    uint32_t    nr_hosts;
    char        hosts[HOSTS_PER_VOLUME_MAX][NQN_MAX_BYTES + 1];
    bool        read_only;         /* its metadata failed a check, or its shard or the pool takes no more writes */
};

typedef void tier_volume_cb(void *ctx, int err, struct blk *blk, const struct volume_info *info);

/* Same name and same parameters: the existing one, err 0. Other parameters: -FIRN_E_EXISTS. */
void tier_volume_create(struct tier *t, const struct volume_params *params, tier_volume_cb *cb, void *ctx);
/* Grows online; shrinking is -FIRN_E_INVALID. Watchers of the blk get BLK_EVENT_RESIZED. */
void tier_volume_resize(struct tier *t, const char *name, uint64_t size_bytes, tier_volume_cb *cb, void *ctx);
/* The given fields of params replace the volume's (mask: enum volume_field), all of them or none; the size as in a resize.
 * -FIRN_E_INVALID: also where cache_min is more than cache_max; -FIRN_E_RANGE: the minima of its shard's volumes would be more than all. */
enum volume_field { VOLUME_F_TIER = 1, VOLUME_F_IOPS = 2, VOLUME_F_BANDWIDTH = 4, VOLUME_F_SIZE = 8, VOLUME_F_CACHE_MIN = 16,
                    VOLUME_F_CACHE_MAX = 32, VOLUME_F_ADMIT = 64, VOLUME_F_STREAM = 128 };
void tier_volume_set(struct tier *t, const char *name, unsigned mask, const struct volume_params *params,
                     tier_volume_cb *cb, void *ctx);
/* The caller has taken the blk from the target first (no I/O in flight). Gives all its space back. */
void tier_volume_delete(struct tier *t, const char *name, tier_volume_cb *cb, void *ctx);
/* Replaces the allow-list. */
void tier_volume_set_hosts(struct tier *t, const char *name, const char *const *nqns, uint32_t nr, tier_volume_cb *cb, void *ctx);
/* What was lost has been looked after: forgets that a start accepted it. err 0 also if there is nothing to forget. */
void tier_loss_clear(struct tier *t, tier_volume_cb *cb, void *ctx);
/* On envs[0]'s thread: names in order after `after` ("" for the first); returns how many were filled. */
uint32_t tier_volume_list(struct tier *t, const char *after, struct volume_info *out, uint32_t nr);
int      tier_volume_get(struct tier *t, const char *name, struct volume_info *out, struct blk **blk);

/* On envs[0]'s thread: what minima (volume_policy.cache_min) are parts of on the shard of that volume, or of the next that is made if there
 * is none of that name; and what the others there have of it. */
struct tier_cache_room { uint64_t bytes, others_min_bytes; };
void tier_cache_room(struct tier *t, const char *name, struct tier_cache_room *out);

/* Where a volume is hot, and where it lies: its bytes in parts of equal length, each whole cells of 4 MiB. The caller's memory until cb. */
#define TIER_HEAT_PARTS_MAX 4096u
struct tier_heat_part {
    double   read, write;          /* heat: requests, halving every half-life */
    uint64_t ssd_bytes, hdd_bytes; /* that hosts' blocks take there; what lies in both counts in both */
};
struct tier_heat {
    char     name[NAME_MAX_CHARS + 1];
    uint32_t parts_max;            /* at most so many */
    void   (*cb)(struct tier_heat *h); /* on envs[0], once, never from inside the call */
    void    *ctx;
    int      err;                  /* out, and all that follows */
    uint64_t size_bytes, part_bytes;
    uint32_t half_life_s, nr;
    struct tier_heat_part part[TIER_HEAT_PARTS_MAX];
    struct { struct env_task task; struct tier *t; uint64_t layer; uint32_t shard, cell; } priv;
};
void tier_volume_heat(struct tier *t, struct tier_heat *h); /* on envs[0] */

/* ---- what operations see ---- */

struct tier_dev_info {
    char path[256]; enum tier_role role; struct uuid uuid;
    uint64_t size_bytes, used_bytes; bool failed, degraded, missing; /* missing: of a cache alone */
    uint64_t checksum_errors; /* blocks read from it that were not what was written, since the start */
    struct dev_stats io;
};
static inline const char *tier_dev_state(const struct tier_dev_info *d)
{
    return d->missing ? "missing" : d->failed ? "failed" : d->degraded ? "degraded" : "ok";
}
struct tier_info {
    char name[NAME_MAX_CHARS + 1]; struct uuid uuid; uint32_t nr_shards, nr_volumes;
    /* room: what a shard's part of the log can hold. kept: of the dirty, what a capacity device has as well, unless a destage beside
     * it was cut short and has torn it; so a start after a crash may find more dirty than there is room. */
    struct { uint64_t room_bytes, dirty_bytes, kept_bytes; } shard[REACTORS_MAX];
    uint64_t journal_bytes, journal_dirty_bytes, journal_kept_bytes, journal_free_segments, journal_segments, segment_bytes;
    uint64_t cache_bytes;                    /* of devices for copies alone, those that are in use */
    uint64_t capacity_bytes, capacity_used_bytes, capacity_reserved_bytes;
    uint64_t flash_bytes, flash_used_bytes;  /* of capacity, on devices that do not seek; 0: the pool has not both kinds */
    uint64_t index_blocks, index_bytes;      /* entries, memory */
    uint64_t ssd_extents;                    /* of which the SSD holds blocks */
    uint64_t pin_max_bytes;                  /* of volumes of tier ssd, a shard */
    uint64_t damaged_blocks; bool damaged_more; /* known not to be readable, each once; more: there are others */
    uint64_t commit_no;
    bool read_only;                          /* a write failed for good: until the next start volumes take none */
    char read_only_why[512];                 /* a sentence: what, why, what to do; "" */
    uint64_t loss_wall_ns;                   /* when a start last accepted that acknowledged data is missing; 0: never, or cleared */
    char alert[256];
};
void     tier_info_get(struct tier *t, struct tier_info *out);                  /* any thread; racy reads of counters */
uint32_t tier_dev_info_get(struct tier *t, struct tier_dev_info *out, uint32_t nr); /* any thread */
/* Summed over shards and envs; any thread, until tier_stop(). dev: as tier_dev_info_get() numbers them. */
void     tier_journal_stats_get(struct tier *t, struct journal_stats *out);
void     tier_commit_hist_get(struct tier *t, struct metric_hist *out);         /* group submitted to durable */
void     tier_dev_hist_get(struct tier *t, uint32_t dev, enum dev_op op, struct metric_hist *out);

/* One list for struct, metrics, README; kept by each shard, summed for readers. */
#define TIER_COUNTERS(x)                                                                       \
    x(read_ops,            "reads served")                                                    \
    x(read_hit_blocks,     "blocks read from the log on the SSD")                             \
    x(read_miss_blocks,    "blocks read from a capacity device")                              \
    x(stage_hit_blocks,    "blocks read from RAM, with what an earlier read of a capacity device brought") \
    x(fetch_ops,           "reads of capacity devices into RAM")                              \
    x(fetch_shared,        "reads that waited for one that was under way already")            \
    x(read_ahead_blocks,   "blocks read ahead of streams")                                    \
    x(slot_hit_blocks,     "of the blocks read from the SSD, those that lay there as clean copies of others") \
    x(fill_blocks,         "blocks copied from capacity devices to the SSD")                  \
    x(fill_dropped,        "blocks worth copying that found no place, or changed meanwhile")  \
    x(evicted_read,        "copies evicted that had been read")                               \
    x(evicted_unread,      "copies evicted that nobody had read")                             \
    x(slots_found,         "copies found again by the latest start")                         \
    x(slots_stale,         "copies that were not what the map names: dropped, and read where they came from") \
    x(table_bytes,         "bytes written of what slot segments say of themselves")           \
    x(read_zero_blocks,    "blocks read that were never written")                             \
    x(read_retried,        "reads repeated after a checksum or device error")                 \
    x(csum_errors_ssd,     "blocks from the SSD that failed their checksum")                  \
    x(csum_errors_hdd,     "blocks from a capacity device that failed their checksum")        \
    x(read_errors,         "reads answered with an error")                                    \
    x(write_ops,           "writes made durable")                                             \
    x(write_waits,         "writes that waited for space in the journal")                     \
    x(write_no_space,      "writes refused because the pool is full")                         \
    x(write_errors,        "writes answered with an error")                                   \
    x(bypass_blocks,       "blocks of streams written past the log")                          \
    x(bypass_refused,      "writes of streams, or parts of them, that the log took after all") \
    x(twin_swaps,          "extents whose streams became their place without a copy")          \
    x(rmw_ops,             "writes that were smaller than a block: read, merged, written")    \
    x(zero_ops,            "write zeroes and discards made durable")                          \
    x(destage_extents,     "extents destaged")                                                \
    x(destage_blocks,      "blocks written to capacity devices by destage")                   \
    x(destage_bridged,     "clean blocks written to bridge holes between dirty ones")         \
    x(destage_requeued,    "extents written again during their destage")                      \
    x(destage_errors,      "destages given up after a device error")                          \
    x(migrate_up_blocks,   "blocks moved from disks that seek to flash, because they are hot")  \
    x(migrate_down_blocks, "blocks moved from flash to disks that seek, because they are cold") \
    x(migrate_errors,      "extents that were to move and could not be read or written")      \
    x(reclaim_segments,    "log segments emptied")                                            \
    x(reclaim_moved_blocks,"dirty blocks moved within the log")                               \
    x(reclaim_saved_blocks,"clean blocks of the log copied to places, since hosts read them")  \
    x(reclaim_dropped_blocks,"clean blocks dropped from the log")                             \
    x(meta_batches,        "metadata batches committed")                                      \
    x(extents_freed,       "extents given back by discard or delete")                         \
    x(tombstones_dropped,  "tombstones no log segment needed any more")                       \
    x(descriptor_writes,   "writes of extents' descriptions to capacity devices")             \
    x(descriptor_bytes,    "bytes of extents' descriptions written")
struct tier_stats {
#define X(name, help) uint64_t name;
    TIER_COUNTERS(X)
#undef X
};
void tier_stats_get(struct tier *t, struct tier_stats *out); /* any thread */

/* ---- offline, for firnctl: straight-line, read-only ---- */

enum tier_check_depth { TIER_CHECK_QUICK, TIER_CHECK_META, TIER_CHECK_DATA };
struct tier_check_report {
    uint64_t findings, losses, blocks_read, records;
    uint64_t damaged_blocks; /* of data; neighbours are one finding */
    int      meta_err;       /* tier_check(): 0, or why the metadata could not be opened, or is of no use: a finding tells */
};
/* One line a finding into out, each naming the invariant. 0 even with findings; negative: cannot be read at all. */
int tier_check(const struct tier_opts *opts, enum tier_check_depth depth, struct strbuf *out,
               struct tier_check_report *report, char why[static 256]);
/* When the metadata is lost or damaged: makes new metadata in new_meta_dir (which must not hold any) from what extents say
 * of themselves and from the log; devices are only read, and the old metadata is left alone. Volumes come back as
 * themselves, without hosts and caps; those that never had an extent destaged as recovered-LAYER (if that is taken,
 * recovered-LAYER-2), sized by their last block. What the descriptions do not know yet is lost, and what was deleted or
 * discarded lately may be back: a last resort;
 * rebuild_without leaves it out. One line a volume into out, and one a finding. One without a loss: the pool would not open for want
 * of room, and no metadata was made. With a loss, a part could not be read: the pool opens only with accept_loss, the first time.
 * Without findings it opens as after a crash. -FIRN_E_EXISTS: new_meta_dir holds metadata, damaged or not. -FIRN_E_NOT_FOUND:
 * rebuild_without names what is not there; out has a line for each that is. */
int tier_rebuild_map(const struct tier_opts *opts, const char *new_meta_dir, struct strbuf *out,
                     struct tier_check_report *report, char why[static 256]);
enum tier_dump { TIER_DUMP_LABELS, TIER_DUMP_JOURNAL, TIER_DUMP_EXTENTS, TIER_DUMP_VOLUMES, TIER_DUMP_HEAT };
int tier_dump(const struct tier_opts *opts, enum tier_dump what, struct strbuf *out, char why[static 256]);

/* ---- for tests ---- */

struct tier_bugs {                 /* planted bugs: each breaks one rule of design.md section 3 */
    bool s_from_blocks;            /* destaged_seq also covers writes that were submitted and are not durable yet */
    bool free_before_commit;       /* blocks count as clean, and a segment is given back, before the batch that says so committed */
    bool drop_tombstone;           /* an extent that became all zeros leaves no record, though the log still has older blocks of it */
    bool skip_capacity_flush;      /* a destage's batch does not wait for the flush of the devices it wrote to */
    bool damaged_falls_through;    /* reads, destage and recovery take the older bytes beneath a damaged block */
    bool skip_csum;                /* what hosts read is not verified */
    bool index_before_durable;     /* reads are answered from writes that are not durable yet */
    bool move_drops_dirty;         /* reclaim forgets one dirty block of each victim */
    bool rmw_unlocked;             /* writes smaller than a block do not exclude each other */
    bool stage_keeps_overwritten;  /* RAM answers with a block that was written since */
    bool moved_block_lost;         /* a block that reclaim has moved is found at neither place */
    bool bridge_stale;             /* holes are bridged with what the buffer held before, not with the log's copy */
    bool victim_dirty_dropped;     /* reclaim takes dirty blocks that nobody has read for clean ones */
    bool fill_after_write;         /* a copy enters the index although its block was written meanwhile */
    bool slot_table_trusted;       /* a start believes what slot segments say of themselves */
    bool described_unflushed;      /* the metadata calls extents described whose descriptions no flush followed */
    bool ring_unhomed;             /* a half of the ring is written over while it has the only description of some extent */
    bool heat_changes_data;        /* an extent that moves because of its heat leaves behind what was written since it was destaged */
    bool destage_ignores_rewrite;  /* a batch makes a block clean although it was written again after the capture */
    bool placed_before_durable;    /* a stream's record is appended before the device has made its blocks durable */
    bool twin_given_early;         /* the place of a stream is another extent's before the batch that copied it has committed */
    bool twin_written_twice;       /* a block of a stream is written over another one that was acknowledged, and not committed yet */
    bool placed_beats_newer;       /* a start takes a stream's block although the log has a newer one */
};
struct journal_bugs;
void tier_set_bugs(struct tier *t, const struct tier_bugs *bugs, const struct journal_bugs *journal);
/* Everything idle: no I/O, no destage, no reclaim in flight. drain: also everything dirty is destaged (liveness phase). */
void tier_drain(struct tier *t, bool destage_all, void (*cb)(void *ctx), void *ctx);
/* Asserts the runtime invariants by a full walk; in tests and the simulator. */
void tier_verify(struct tier *t);
/* At a start: tells of every extent that counted as described until then, on devices that got no description since: where that lies in its
 * region, unless a younger one is in the ring of the device, of so many entries; and what it must say. */
struct tier_described { uint16_t dev; uint32_t slot, ring_nr; uint64_t off_bytes, layer, extent, destaged_seq; };
void tier_described(struct tier *t, void (*fn)(void *ctx, const struct tier_described *e), void *ctx);

#endif
