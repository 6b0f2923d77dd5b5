/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h: struct tier and what pool*.c, volume.c, volume_ctl.c, info.c, check.c and dump.c share. */
#ifndef FIRN_TIER_POOL_H
#define FIRN_TIER_POOL_H

#include "journal/journal.h"
#include "rt/metrics.h"
#include "tier/flush_turn.h"
#include "tier/turn.h"
#include "tier/label.h"
#include "tier/shard.h"
#include "tier/volume.h"

#define POOL_DEVS_MAX (1u + CACHE_DEVS_MAX + CAPACITY_DEVS_MAX)

struct pool_dev {
    struct tier_dev_opts opts;
    uint16_t     index;          /* among the devices of its role */
    bool         missing;        /* a cache device that is not there, or cannot be read: there are no handles */
    bool         fresh;          /* pool_add.c: a cache device whose label is still to be judged, or written */
    uint32_t     area;           /* of the pool of segments: that of a cache device; 0: the journal's, or it has none */
    bool         made;           /* a file that this format made, and locked before anybody else: it goes if the format fails */
    int          lock_fd;        /* real devices: flock, and O_EXCL on block devices; -1: none */
    uint64_t     bytes;          /* the part that Firn uses */
    struct dev  *on[REACTORS_MAX]; /* one handle an env; [0] is there unless it is missing, the others for envs with shards */
    struct label label;
    struct label_copies copies;
};

/* The devices of one pool, opened; [0] is the journal. */
struct pool_devs {
    const struct tier_opts *opts;
    uint32_t        nr, nr_capacity;
    struct pool_dev dev[POOL_DEVS_MAX];
};

enum pool_access { POOL_READ, POOL_WRITE, POOL_FORMAT, POOL_SURVEY, POOL_ADD };
/* Locks and opens every device on envs[0]; POOL_FORMAT also makes files, POOL_ADD those of cache devices; POOL_SURVEY asks whether it
 * could, makes none, and
 * leaves those without a handle. Labels are not looked at. */
int  pool_devs_open(struct pool_devs *p, const struct tier_opts *opts, enum pool_access access, char why[static 256]);
void pool_devs_close(struct pool_devs *p);
/* Files among the devices. Empty: a format was cut short between the name and the length. To make: nothing is there, or that. */
bool pool_file_empty(const char *path);
bool pool_file_to_make(const char *path);
/* Makes a file that is not there as long as configured, and locks it first. What holds bytes already may be somebody's: its
 * length is left alone, unless force says that all of it may go and no server has it. */
int  pool_file_make(struct pool_dev *d, bool force, char why[static 256]);
int  pool_file_lock(const struct pool_dev *d, char why[static 256]); /* lock_fd; -FIRN_E_BUSY: another process has or had it */
bool pool_file_is(const char *path, int fd);
void pool_files_unmake(const struct pool_devs *p); /* removes those again that were made and are still ours */
int  pool_files_cut(const struct pool_devs *p, char why[static 256]); /* after a forced make: to the lengths configured */
/* Do these devices hold no more than a first format leaves that was cut short? Anything that says that the pool was opened
 * since, or may have been: -FIRN_E_EXISTS. */
int  pool_remains_check(const struct pool_devs *p, char why[static 256]);
int  pool_file_possible(const struct tier_dev_opts *o, char why[static 256]); /* what make would say; makes nothing */
/* Handles on envs[1..nr_envs-1]. */
int  pool_devs_spread(struct pool_devs *p, uint32_t nr_envs, char why[static 256]);
/* Reads all labels and proves that these devices are this pool, whole. Writes nothing. */
int  pool_labels_read(struct pool_devs *p, char why[static 256]);
bool pool_devs_old(const struct pool_devs *p); /* one is an old copy: read with accept_loss only */
/* Brings all labels to the next generation, three good copies each; a crash in between leaves them within 1. */
int  pool_labels_renew(struct pool_devs *p, char why[static 256]);
void pool_uuid_make(struct env *e, struct uuid *out);
struct segpool_geometry pool_geometry(const struct label *journal);
/* pool_cache.c */
bool pool_has_cache(const struct pool_devs *p);      /* the configuration names a device for it other than the journal's */
bool pool_cache_absent(int err);                     /* an error for which a cache device is left out */
void pool_cache_leave_out(struct pool_dev *d, const char *why);
int  pool_cache_plan(const struct pool_dev *d, const struct segpool_geometry *log, struct segpool_geometry *out, char why[static 256]);
/* Journal and cache devices together must not be more than an index can number. */
int  pool_slots_check(const struct pool_devs *p, const struct segpool_geometry *log, char why[static 256]);
int  pool_areas_add(struct pool_devs *p, struct segpool *sp); /* all cache devices' segments; -ENOMEM, -FIRN_E_STOPPED */
struct dev *pool_area_dev(const struct pool_devs *p, uint32_t area, uint32_t env);
const char *pool_role_name(enum tier_role role);
uint64_t pool_meta_map_bytes(const struct tier_opts *opts);
int  pool_meta_open(const struct tier_opts *opts, bool create, bool read_only, struct meta **out, char why[static 256]);
/* Pool record and device records agree with the labels. */
int  pool_meta_match(const struct pool_devs *p, struct meta *m, struct pool_rec *rec, char why[static 256]);
/* Warns of what the configuration says of devices and has no effect on a pool that is there: other sizes, caches left out. */
void pool_say_ignored(const struct pool_devs *p, struct meta *m);
/* 'G' records: nr epochs. */
int  pool_freed_epochs(struct meta *m, uint32_t nr, uint64_t **out, char why[static 256]);
uint64_t pool_freed_epoch(void *epochs, uint32_t segment); /* for segpool_open() */
/* Up to which epoch copies count no more, of all segments that there are by now: *epoch. 0; -FIRN_E_CORRUPT: no number is left. */
int  pool_copies_epoch(const struct segpool *p, uint64_t *epoch);
int  pool_cold_new(const struct pool_devs *p, struct cold **out);

struct shard_step {              /* one shard's part of a drain or stop */
    struct env_task task;
    struct tier    *t;
    uint32_t        no;
    int             err;         /* of its stop */
};

#define REFUSALS_MAX 64u         /* answers under way to requests there was no memory for */
struct refusal { struct env_task task; struct tier *t; tier_volume_cb *cb; void *ctx; };

struct retune {                  /* retune.c: knobs on their way from shard to shard */
    struct env_task task;
    uint32_t        shard;       /* next */
    struct tier_opts opts;       /* of them TIER_LIVE */
    tier_retune_cb *cb;          /* NULL: none is under way */
    void           *ctx;
};

struct tier {
    struct tier_opts opts;
    struct env      *envs[REACTORS_MAX];
    struct pool_devs devs;
    struct meta     *meta;
    struct segpool  *segpool;
    uint64_t        *freed_epochs;
    struct cold     *cold;
    struct flush_turns flush_turns;
    struct turns     turns;
    struct pool_rec  pool;        /* envs[0] */
    uint32_t         nr_shards;
    struct shard    *shards[REACTORS_MAX];
    struct journal_replay_report reports[REACTORS_MAX];
    struct metric_hist *commit_hist;  /* [nr_shards]; each written by its shard */
    struct metric_hist *dev_hist;     /* [devs.nr][nr_envs][DEV_OP_NR]; each written by its env */
    char             alert[256];  /* said at open; "" */
    bool             loss;        /* this start accepted that acknowledged data is missing */

    struct volume  **vols;        /* envs[0]: sorted by name */
    uint32_t         nr_vols, cap_vols;
    uint32_t         nr_on_shard[REACTORS_MAX];
    uint32_t         ctl_in_flight; /* envs[0]: volume requests */
    struct list      requests;      /* envs[0] */
    struct refusal   refusals[REFUSALS_MAX];

    bool             stopping, stop_begun; /* envs[0] */
    void           (*stop_cb)(void *ctx);
    void            *stop_ctx;
    struct retune    retune;      /* its cb: envs[0] */
    struct shard_step steps[REACTORS_MAX];
    uint32_t         steps_left;  /* envs[0]; 0: no drain or stop under way */
    bool             steps_destage_all, steps_seal;
    bool             steps_last;  /* the second round */
    int              stop_err;    /* the first one of a shard */
    void           (*steps_cb)(void *ctx);
    void            *steps_ctx;
    void           (*drain_cb)(void *ctx); /* envs[0]; NULL: no drain */
    void            *drain_ctx;
};

static inline struct env *tier_shard_env(const struct tier *t, uint32_t no) { return t->envs[no % t->opts.nr_envs]; }

/* volume.c */
struct volume *tier_find(const struct tier *t, const char *name);
uint32_t tier_find_after(const struct tier *t, const char *name); /* where in vols the names after it begin */
int  tier_insert(struct tier *t, struct volume *v); /* -ENOMEM */
void tier_remove(struct tier *t, struct volume *v);
struct volume *volume_new(struct tier *t, const struct volume_rec *rec);
void volume_free(struct volume *v);
void volume_rec_of(const struct volume *v, struct volume_rec *out);
void volume_info_get(const struct tier *t, const struct volume *v, struct volume_info *out);
bool volume_params_same(const struct volume_params *a, const struct volume_params *b);
int  volume_hosts_replace(struct volume *v, const char *const *nqns, uint32_t nr); /* -ENOMEM: nothing changed */
/* Is there room to pin so much in that shard's part of the log, beside all others that are? */
bool volume_pin_fits(const struct tier *t, const struct volume *but, uint32_t shard_no, uint64_t bytes);
/* volume_policy.c */
void volume_policy_pack(const struct volume_policy *p, struct volume_rec *rec);
void volume_policy_unpack(const struct volume_rec *rec, struct volume_policy *p);
bool volume_policy_same(const struct volume_policy *a, const struct volume_policy *b);
void volume_policy_merge(struct volume_policy *to, unsigned mask, const struct volume_policy *from);
int  volume_policy_check(const struct tier *t, uint32_t shard_no, const struct volume_policy *p); /* 0, -FIRN_E_INVALID */
/* Its minimum in bytes, and whether there is room for so much beside those of all others there. */
uint64_t volume_min_bytes(const struct tier *t, uint32_t shard_no, const struct volume_policy *p);
bool volume_min_fits(const struct tier *t, const struct volume *but, uint32_t shard_no, uint64_t bytes);
/* volume.c */
int  tier_volumes_load(struct tier *t, char why[static 256]);
/* volume_ctl.c */
uint16_t volume_next_shard(const struct tier *t); /* where the next one that is made will live: that with the fewest */
int  tier_deletions_finish(struct tier *t, char why[static 256]); /* at open */
/* volume_request.c */
void tier_requests_drop(struct tier *t);                          /* after a crash */
/* info.c */
bool tier_read_only(const struct tier *t, char why[static 512]); /* any thread, racy; why untouched if not */
int  tier_measure(struct tier *t); /* at open: histograms for devices and shards */
/* pool.c */
void tier_stop_go_on(struct tier *t); /* a request or drain ended: a stop that waits for it begins */

#endif
