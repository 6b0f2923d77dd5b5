/* SPDX-License-Identifier: Apache-2.0 */
/* world.h: one seed's world: a machine, a pool on it, hosts that use it, and what is done to them. Shared by the files of
 * tools/sim that make it go: plan.c (draws it), world_make.c (makes it), world.c (boots, stops, judges), traffic.c (I/O),
 * control.c (volumes), mischief.c (faults).
 */
#ifndef FIRN_SIM_WORLD_H
#define FIRN_SIM_WORLD_H

#include "export/export.h"
#include "journal/journal.h"
#include "tier/tier.h"
#include "tools/sim/oracle.h"
#include "tools/sim/sim.h"

/* What kind of trouble a seed is about; all of them crash. One line each: tag, what errors a host may then see. */
#define SIM_PROFILES(x)                                                                            \
    x(CRASH,     "crashes only; no error is allowed")                                              \
    x(SLOW,      "late, stalled and hung requests; errors once the deadline has passed")           \
    x(TRANSIENT, "reads fail now and then; the block reads well afterwards")                       \
    x(ROT,       "rot, latent errors, lost and misdirected requests; that block may fail")         \
    x(FAILING,   "writes or flushes fail, a device goes; writes may fail, data stays")             \
    x(META,      "metadata rots or fails to commit")                                               \
    x(FULL,      "more volume than capacity; new blocks may be refused")                           \
    x(LYING,     "flushes that lie; a loss must be noticed at the next start")                     \
    x(NETWORK,   "hosts through NVMe/TCP; connections break anywhere")

enum sim_profile {
#define X(tag, text) PROFILE_##tag,
    SIM_PROFILES(X)
#undef X
    PROFILE_NR
};
const char *sim_profile_name(enum sim_profile p);
int sim_profile_parse(const char *name); /* -1: none */

/* Planted bugs: one list for the switches, `firn-sim bugs` and its table. field, room, profiles most likely to show it. */
#define SIM_BUGS(x)                                                  \
    x(journal, ack_before_durable,      PROFILE_CRASH)               \
    x(journal, skip_epoch_check,        PROFILE_CRASH)               \
    x(journal, skip_fence,              PROFILE_CRASH)               \
    x(journal, moved_gets_new_seq,      PROFILE_CRASH)               \
    x(journal, ack_out_of_order,        PROFILE_CRASH)               \
    x(journal, ignore_marks,            PROFILE_ROT)                 \
    x(tier,    s_from_blocks,           PROFILE_CRASH)               \
    x(tier,    free_before_commit,      PROFILE_CRASH)               \
    x(tier,    drop_tombstone,          PROFILE_CRASH)               \
    x(tier,    skip_capacity_flush,     PROFILE_CRASH)               \
    x(tier,    damaged_falls_through,   PROFILE_ROT)                 \
    x(tier,    skip_csum,               PROFILE_ROT)                 \
    x(tier,    index_before_durable,    PROFILE_CRASH)               \
    x(tier,    move_drops_dirty,        PROFILE_CRASH)               \
    x(tier,    rmw_unlocked,            PROFILE_CRASH)               \
    x(tier,    destage_ignores_rewrite, PROFILE_CRASH)               \
    x(tier,    stage_keeps_overwritten, PROFILE_CRASH)               \
    x(tier,    moved_block_lost,        PROFILE_CRASH)               \
    x(tier,    bridge_stale,            PROFILE_CRASH)               \
    x(tier,    victim_dirty_dropped,    PROFILE_CRASH)               \
    x(tier,    fill_after_write,        PROFILE_CRASH)               \
    x(tier,    heat_changes_data,       PROFILE_CRASH)               \
    x(tier,    slot_table_trusted,      PROFILE_CRASH)               \
    x(tier,    described_unflushed,     PROFILE_CRASH)               \
    x(tier,    ring_unhomed,            PROFILE_CRASH)               \
    x(tier,    placed_before_durable,   PROFILE_CRASH)               \
    x(tier,    twin_given_early,        PROFILE_CRASH)               \
    x(tier,    twin_written_twice,      PROFILE_CRASH)               \
    x(tier,    placed_beats_newer,      PROFILE_CRASH)               \
    x(export,  skip_association_fence,  PROFILE_NETWORK)             \
    x(export,  complete_before_blk,     PROFILE_NETWORK)

enum sim_bug {
#define X(room, field, profile) BUG_##field,
    SIM_BUGS(X)
#undef X
    BUG_NR
};
const char *sim_bug_name(enum sim_bug b);
int sim_bug_parse(const char *name); /* -1: none */
enum sim_profile sim_bug_profile(enum sim_bug b);

struct world_opts {
    uint64_t seed;
    uint32_t ops;        /* host requests; 0: 2000 */
    int      profile;    /* enum sim_profile; -1: drawn */
    int      bug;        /* enum sim_bug; -1: none */
    bool     verbose;    /* tell the story on stderr */
    uint64_t watch;      /* verbose: tell of each request that touches this unit, of any volume; UINT64_MAX: none */
};

#define WORLD_REASON_MAX 512
struct world_result {
    bool     failed, refused;     /* refused: a start was refused because of damage, as it should be */
    bool     lie_missed;          /* LYING: data was lost and the start said nothing */
    bool     lie_noticed;
    char     reason[WORLD_REASON_MAX];
    uint64_t trace_hash, events, ops, crashes, blocks_checked;
    enum sim_profile profile;
    struct sim_faults faults;
};

/* Runs one seed from beginning to end on this thread. */
void world_run(const struct world_opts *opts, struct world_result *out);

/* ---- inside ---- */

#define WORLD_VOLUMES 6u
#define WORLD_SLOTS   64u
#define WORLD_IO_MAX  (512u * 1024u)

struct plan {                     /* drawn from the seed, then constant */
    enum sim_profile profile;
    uint32_t shards, envs;
    uint32_t segment_bytes, segments, align, device_block, torn;
    uint32_t pmem_torn;           /* the journal lies on persistent memory, which tears at so many bytes; 0: on a disk */
    uint32_t capacity_devs;
    uint32_t flash;               /* of them, a bit each: those that do not seek */
    uint32_t migrate_heat;        /* from which extents belong there; another one in every other boot, so that they move */
    uint64_t capacity_bytes;      /* each */
    uint64_t ring_bytes;          /* of descriptions, on each that seeks; RING_NONE */
    uint32_t cache_devs, cache_segments; /* SSDs of clean copies alone; segments of each */
    uint64_t journal_ns, capacity_ns, meta_ns; /* longest ordinary latency of each */
    bool     readers;             /* hosts mostly read, in every other boot */
    uint32_t group_bytes_max, groups_in_flight, dirty_start_pct, dirty_max_pct, ios_per_shard, stage_bytes, admit_touches;
    uint64_t write_bypass;
    uint32_t stream_pct;          /* of writes go on where the one before from that slot ended */
    bool     stream_laps;         /* some of them within the block in which it ended */
    uint32_t tombstones_max;      /* 0: more than it will ever see */
    uint32_t volumes, slots;
    uint64_t volume_bytes_max;
    uint32_t boots;
    uint32_t io_max_bytes;
    bool     overlap;             /* hosts may write where a write is under way */
    uint32_t weight[BLK_OP_NR];   /* of each operation */
    uint32_t hot_pct;             /* of requests go to the first eighth of a volume */
    uint64_t think_max_ns;
};
void plan_draw(struct plan *p, struct sim *s, const struct world_opts *opts);
void plan_boot(struct plan *p, uint32_t no); /* what changes from boot to boot; from 1 */

enum vol_state { VOL_NONE, VOL_CREATING, VOL_LIVE, VOL_DELETING };

struct vol {
    enum vol_state     state;
    struct volume_params params;
    uint64_t           size_new;  /* a resize under way; 0: none */
    struct volume_policy policy_new; /* likewise, while policy_asked */
    bool               policy_asked;
    struct blk        *blk;
    struct oracle     *oracle;
    uint32_t           in_flight;
    bool               quiet;     /* about to be deleted: no new requests */
    struct net_host   *host;      /* NETWORK: requests go this way */
    struct subsys     *subsys;
};

struct world;
struct slot {                     /* one host request at a time */
    struct world *w;
    struct sim_event tick;        /* the next request */
    struct blk_io io;
    struct iovec  iov[2];
    uint8_t      *buf;            /* WORLD_IO_MAX, 4096-aligned */
    struct vol   *vol;            /* NULL: idle */
    uint64_t      unit, nr, version, begun;
    uint64_t      stream_end[WORLD_VOLUMES]; /* what it wrote last in each ended there */
    bool          sent;           /* NETWORK: the command is on its way */
    struct vol   *again;          /* NETWORK: its outcome is unknown; the same range is written anew, as a host would */
};

struct world {
    const struct world_opts *opts;
    struct world_result     *res;
    struct plan              plan;
    struct sim              *sim;
    struct sim_machine       machine;
    struct tier_opts         topts;
    struct tier             *tier;   /* NULL: not running */
    struct target           *target; /* NETWORK only */
    struct sim_pipe        **pipes;  /* NETWORK: every connection of this boot */
    uint32_t                 nr_pipes;
    struct env              *envs[REACTORS_MAX];
    struct vol               vol[WORLD_VOLUMES];
    struct slot              slot[WORLD_SLOTS];
    struct sim_event         control_tick;
    struct vol              *control;    /* the volume that a control call is about; NULL: none under way */
    uint64_t                 control_ops, control_idle; /* ops_done at the last tick; ticks since it moved */
    uint64_t                 tags;       /* volumes made so far */
    bool                     traffic;    /* slots may begin new requests */
    bool                     faults_on;
    uint32_t                 kinds;      /* mischief.c's: which of the profile's troubles this seed has */
    bool                     damaged;    /* something was done to media that may have cost data */
    bool                     meta_failed, device_failed, was_full;
    uint64_t                 faults_planted, blocks_refused;
    uint64_t                 ops_done, ops_goal;
    struct { struct tier_bugs tier; struct journal_bugs journal; struct export_bugs export; } bugs; /* planted */
    char                    *cache_image; /* mischief_cache.c: a cache device as it was; NULL: not yet */
    char                     why[256];
};

void world_fail(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void world_say(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool world_dead(void *ctx);       /* failed already: loops end */
bool world_error_allowed(struct world *w, enum blk_op op, int err);

void world_make(struct world *w);            /* world_make.c: the machine, from the plan */
void world_format(struct world *w);
void world_reboot(struct world *w);
void world_envs_new(struct world *w);
void world_envs_free(struct world *w);

void traffic_init(struct world *w);
void traffic_fini(struct world *w);
void traffic_start(struct world *w);
void traffic_crashed(struct world *w);       /* every request under way has ended without an answer */
bool traffic_idle(void *ctx);
/* Reads every unit of every volume and judges it. */
void traffic_read_all(struct world *w);
/* Sends a slot's request to the volume: at its blk or over the network. */
void traffic_complete(struct slot *s);

void control_start(struct world *w);
void control_crashed(struct world *w);
bool control_idle(void *ctx);
/* After a start: what exists is what must or may exist. */
void control_check(struct world *w);

/* Before a start that is number `depth` in a row: plans a crash of the recovery, rots what lies still. */
void mischief_boot(struct world *w, uint32_t depth);
void mischief_run(struct world *w, bool last_boot); /* sets the rates of a boot, plans its end */
void mischief_act(struct world *w);                 /* after a request: now and then something breaks */
void mischief_cache_boot(struct world *w);          /* the same for SSDs of clean copies */
void mischief_cache_act(struct world *w);
void mischief_crashed(struct world *w);             /* ROT: what rots in the log's newest groups, and what may not */
void mischief_heal(struct world *w);                /* lifts every fault that can be lifted */

/* After a crash, when the machine is up again: lifts what no start could tell from a tear in the log; rot: plants some first. */
void tail_crashed(struct world *w, bool rot);
void tail_blind(struct world *w, bool before);
void older_heads(struct world *w); /* formatted: some have what an older program would have written */

/* After a start: what it will not describe again is described. */
void descs_check(struct world *w);

/* NETWORK: a small NVMe/TCP host a volume. */
struct net_host *net_host_new(struct world *w, struct vol *v);
void net_host_submit(struct net_host *h, struct slot *s);
void net_host_mischief(struct net_host *h);
void net_world_start(struct world *w);   /* the target */
void net_world_stop(struct world *w);    /* hosts reconnect no more; the target is about to stop */
void net_world_gone(struct world *w);    /* after a crash: frees hosts and connections */

#endif
