/* SPDX-License-Identifier: Apache-2.0 */
/* node.h: a running server: reactors, the pool, the target, one subsystem a volume, and the verbs the API speaks.
 *
 * Threads: node_open() and node_stop() are the main thread's. The verbs may be called from any thread but a reactor's:
 * each posts a call to reactor 0, where tier and target answer, and waits at most NODE_CALL_NS.
 */
#ifndef FIRN_DAEMON_NODE_H
#define FIRN_DAEMON_NODE_H

#include "daemon/config.h"
#include "daemon/model_devs.h"
#include "export/export.h"
#include "rt/metrics.h"
#include "rt/reactor.h"
#include "tier/tier.h"

#define NODE_CALL_NS (20 * NS_PER_S) /* a verb that takes longer answers -ETIMEDOUT; it may still be carried out */
#define NQN_PREFIX "nqn.2026-11.io.firn"

struct node;

struct node_opts {
    const struct config *cfg;
    uint64_t ram_bytes;        /* not 0: one volume "ram" from memory, no pool */
    bool     accept_loss;
    enum model_hdd_which model_hdd; /* not MODEL_HDD_NONE: cfg says one reactor */
    bool model_ssd;                 /* likewise */
};

/* Prepares the devices of the configuration as a new pool, over nothing at all; what a first format left that was cut short
 * (-FIRN_E_EXISTS if there is more); or whatever they hold. */
enum node_over { NODE_OVER_NOTHING, NODE_OVER_REMAINS, NODE_OVER_ANYTHING };
int  node_format(const struct config *cfg, enum node_over over, char why[static 256]);
/* Brings the pool's cache devices in line with the configuration. */
int  node_add_cache(const struct config *cfg, bool force, char why[static 256]);
/* Looks at them and changes nothing: do they hold what a format would refuse, other than a pool? -FIRN_E_FOREIGN. */
int  node_survey(const struct config *cfg, char why[static 256]);
/* Looks at them and changes nothing: could this pool be opened? */
int  node_probe(const struct config *cfg, char why[static 256]);

/* Devices, recovery, reactors, subsystems, listeners: it serves when this returns 0. Else why says what is wrong. */
int  node_open(const struct node_opts *opts, struct node **out, char why[static 256]);
/* Stops accepting, finishes what was accepted, commits, frees n. 1: n is freed, but not all could be committed (said why);
 * negative: something hangs and n is still alive. */
int  node_stop(struct node *n, uint64_t timeout_ns);

uint16_t node_port(const struct node *n);
uint16_t node_discovery_port(const struct node *n);
const char *node_name(const struct node *n);
bool node_has_pool(const struct node *n);
void node_set_volumes_max(struct node *n, uint64_t max); /* any thread */
uint64_t node_volumes_max(const struct node *n);         /* any thread */
/* What of tier and mover may change while the pool is open (TIER_LIVE) is from now on as in cfg; not from a reactor. */
int  node_retune(struct node *n, const struct config *cfg);
uint32_t node_reactors(const struct node *n);
void node_reactor_stats(const struct node *n, uint32_t i, struct reactor_stats *out);

/* ---- the verbs ---- */

struct volume_io { uint64_t ops, bytes, latency_count, latency_sum_ns, latency_p99_ns; };
struct volume_view {
    struct volume_info info;
    char     nqn[NQN_MAX_BYTES + 1];
    char     serial[21];
    uint32_t controllers;
    struct volume_io io[SUBSYS_OP_NR];
};

int node_volume_create(struct node *n, const struct volume_params *p, bool *created, struct volume_view *out);
int node_volume_get(struct node *n, const char *name, struct volume_view *out);
/* All of it or nothing: mask says which parameters (VOLUME_F_*). */
int node_volume_change(struct node *n, const char *name, unsigned mask, const struct volume_params *p, struct volume_view *out);
/* -FIRN_E_IN_USE while a host is connected, unless force: then the host is cut off first. */
int node_volume_delete(struct node *n, const char *name, bool force);
/* Adds or takes one entry of the allow-list; both are idempotent. Hosts that lose their right are cut off. */
int node_host_allow(struct node *n, const char *name, const char *nqn, struct volume_view *out);
int node_host_deny(struct node *n, const char *name, const char *nqn, struct volume_view *out);
/* Up to nr volumes after `after` in name order. Returns how many, or negative. */
#define NODE_LIST_MAX 16u /* a call; longer lists are asked for in pieces, so that reactor 0 is never held long */
int node_volume_list(struct node *n, const char *after, struct volume_view *out, uint32_t nr);

/* Its heat in at most parts_max parts, up to TIER_HEAT_PARTS_MAX. */
int node_volume_heat(struct node *n, const char *name, uint32_t parts_max, struct tier_heat *out);

/* What can be promised to that volume, or to a new one, of the places for copies: tier_cache_room(). */
int node_cache_room(struct node *n, const char *name, struct tier_cache_room *out);

/* What was lost has been looked after: the alert about it ends. 0 also if there is none. */
int node_loss_clear(struct node *n);

struct volume_stats {
    char     name[NAME_MAX_CHARS + 1];
    bool     served;      /* there is a subsystem; else the counters are zero */
    uint64_t size_bytes, used_bytes_ssd, used_bytes_flash, used_bytes_hdd, dirty_bytes, hit_blocks, miss_blocks;
    uint32_t controllers;
    uint64_t ops[SUBSYS_OP_NR], bytes[SUBSYS_OP_NR];
    struct metric_hist latency[SUBSYS_OP_NR];
};
/* As node_volume_list(), with what /metrics shows. */
#define NODE_STATS_MAX 64u
int node_volume_stats(struct node *n, const char *after, struct volume_stats *out, uint32_t nr);

/* ---- what operations see; any thread ---- */

void     node_pool_info(struct node *n, struct tier_info *out);    /* zeros without a pool */
uint32_t node_dev_info(struct node *n, struct tier_dev_info *out, uint32_t nr);
void     node_tier_stats(struct node *n, struct tier_stats *out);
void     node_journal_stats(struct node *n, struct journal_stats *out);
void     node_commit_hist(struct node *n, struct metric_hist *out);
void     node_dev_hist(struct node *n, uint32_t dev, enum dev_op op, struct metric_hist *out); /* dev: as node_dev_info() numbers */
void     node_target_stats(struct node *n, struct target_stats *out);
#endif
