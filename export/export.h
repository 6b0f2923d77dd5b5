/* SPDX-License-Identifier: Apache-2.0 */
/* export.h: the NVMe/TCP target: subsystems over blks, ports, controllers.
 *
 * A subsystem is one volume: namespace 1 over one blk. The target knows nothing of tiers; blk.h is all it sees.
 * Threads: a target has one part per env (reactor). Control calls below are made on envs[0]'s thread; they reach the other
 * parts by env_post() and answer on envs[0]. A connection begins where it was accepted and moves to the blk's env when
 * Connect has named the subsystem (admin and I/O queues alike).
 * Memory: pools at start; an empty pool closes the newest claimant or leaves the socket unread, never allocates.
 */
#ifndef FIRN_EXPORT_H
#define FIRN_EXPORT_H

#include "base/err.h"
#include "base/limits.h"
#include "base/types.h"
#include "rt/blk.h"
#include "rt/env.h"
#include "rt/net.h"

struct target;
struct subsys;

struct target_opts {
    struct env **envs;            /* nr_envs of them; borrowed for the target's life */
    uint32_t     nr_envs;
    char         discovery_traddr[64]; /* address and port announced in discovery log entries */
    uint16_t     port;
    uint32_t     connections_max; /* 0: CONNECTIONS_MAX */
    uint32_t     queue_depth;     /* I/O queues; 0: QUEUE_DEPTH_MAX */
    uint32_t     queues_max;      /* I/O queues a controller; 0: 16 */
    uint32_t     commands;        /* command slots an env, for all its queues; 0: 32,768 */
    uint32_t     data_buffers;    /* an env: MDTS-sized data is built from 4 KiB-aligned chunks; 0: default */
    uint64_t     connect_timeout_ns;   /* ICReq + Connect must be done by then; 0: 5 s */
    uint64_t     kato_grace_ns;
    uint64_t     io_deadline_ns;  /* how long what is below may keep a request: told to hosts (CQT), with the grace */
    uint64_t     discovery_idle_ns; /* a discovery host without Keep Alive is cut after this long silent; 0: 120 s */
    uint64_t     send_timeout_ns; /* a host that does not read, or does not send data it owes, is cut after this; 0: 30 s */
};

int  target_new(const struct target_opts *opts, struct target **out);
/* Gives an accepted connection to the target; call on the env that accepted it. discovery_only: port 8009. */
void target_accept(struct target *t, uint32_t env_index, struct net_conn *conn, bool discovery_only);
/* No new connections; existing commands finish; queues close; cb on envs[0]. */
void target_stop(struct target *t, void (*cb)(void *ctx), void *ctx);
void target_free(struct target *t);
/* For simulators: its machine has crashed, so no callback comes any more and blks and connections are gone or will not be
 * asked. Gives back all memory whatever was under way, but for subsystems whose removal had begun. */
void target_abandon(struct target *t);

struct subsys_params {
    char        nqn[NQN_MAX_BYTES + 1];
    char        serial[21];       /* 20 hex digits */
    struct uuid uuid;             /* namespace UUID; NGUID is derived: the same 16 bytes */
    struct blk *blk;
    bool        single_host;      /* one controller at a time: a second host NQN is refused while one is connected (RWO), a
                                   * second path of the same host takes the place of the first; so for volumes */
};
/* -FIRN_E_STOPPED once target_stop() was called. */
int  subsys_add(struct target *t, const struct subsys_params *params, struct subsys **out);
/* Host NQNs that may connect; "*" allows any. Replaces the list; hosts that lost their right are cut off (fenced). */
int  subsys_set_hosts(struct subsys *s, const char *const *hostnqns, uint32_t nr);
/* Cuts every association of it, waits for their I/O, then cb; s is freed. */
void subsys_remove(struct subsys *s, void (*cb)(void *ctx), void *ctx);
uint32_t subsys_controllers(const struct subsys *s); /* associations alive; any thread */

struct target_stats { uint64_t connections, connections_refused, protocol_errors, digest_errors, fenced_commands; };
void target_stats_get(const struct target *t, struct target_stats *out); /* any thread */

/* Per-subsystem I/O counters, by op; written by the blk's env, read by HTTP threads. */
struct metric_counter;
struct metric_hist;
enum subsys_op { SUBSYS_READ, SUBSYS_WRITE, SUBSYS_FLUSH, SUBSYS_DISCARD, SUBSYS_WRITE_ZEROES, SUBSYS_OTHER, SUBSYS_OP_NR };
struct metric_counter *subsys_ops(struct subsys *s, enum subsys_op op);
struct metric_counter *subsys_bytes(struct subsys *s, enum subsys_op op);
struct metric_hist    *subsys_latency(struct subsys *s, enum subsys_op op);

/* Switches for planted bugs; only tests set them. */
struct export_bugs {
    bool skip_association_fence;  /* a new Connect of a host does not wait for its old association's writes */
    bool complete_before_blk;     /* a write is answered before the blk said durable */
};
void target_set_bugs(struct target *t, const struct export_bugs *bugs);

#endif
