/* SPDX-License-Identifier: Apache-2.0 */
/* node_priv.h: shared by node.c (start, stop), node_ports.c (listeners), node_table.c (what is exported),
 * node_view.c (looking at it) and the verbs (node_op.h). */
#ifndef FIRN_DAEMON_NODE_PRIV_H
#define FIRN_DAEMON_NODE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/blk_limit.h"
#include "daemon/call.h"
#include "daemon/node.h"

struct port {                     /* one listener of one reactor */
    struct node         *n;
    uint32_t             env_index;
    bool                 discovery_only;
    struct net_listener *l;
};

/* An exported volume, or one that is being made or deleted. Lives in the table. */
struct exported {
    char           name[NAME_MAX_CHARS + 1];
    struct subsys *s;             /* NULL while it is being made or deleted */
    struct blk    *blk;           /* the tier's */
    struct blk_limit *limit;      /* between blk and subsystem: the caps */
    struct env_task start_task;   /* starts limit on the blk's env */
    bool           busy;          /* a verb is at work on it: others get -FIRN_E_IN_USE */
};

struct node {
    struct config       cfg;
    char                name[64];
    struct reactor     *reactors[REACTORS_MAX];
    struct env         *envs[REACTORS_MAX];
    uint32_t            nr_reactors, nr_running; /* running: those with a thread */
    struct tier        *tier;     /* NULL with --ram */
    struct blk         *ram;      /* NULL with a pool */
    struct model_devs   model_devs;
    struct target      *target;
    struct port         ports[2][REACTORS_MAX]; /* [0] I/O and discovery, [1] discovery only */
    uint16_t            port_nr[2];
    void               *table;    /* tsearch tree of struct exported, by name; reactor 0's alone while it runs */
    uint32_t            nr_exported;
    _Atomic uint64_t    volumes_max;
};

/* How long a part of the stop may take, of timeout_ns for all, when spent_ns are gone. Pure. */
enum stop_part { STOP_PORTS, STOP_TARGET, STOP_SUBSYSTEMS, STOP_TIER };
uint64_t stop_part_ns(enum stop_part part, uint64_t spent_ns, uint64_t timeout_ns);

uint32_t reactors_wanted(const struct config *cfg, bool ram);

/* node_ports.c: on the main thread; open and close with the reactors running. */
void ports_choose(struct node *n);
int  ports_open(struct node *n, char why[static 256]);
void ports_close(struct node *n, uint64_t timeout_ns);

/* node_table.c: on reactor 0. */
struct exported *table_find(struct node *n, const char *name);
struct exported *table_add(struct node *n, const char *name);       /* NULL: no memory */
void table_remove(struct node *n, struct exported *x);              /* frees x; its caps are stopped and freed already */
int  table_export(struct node *n, struct exported *x, struct blk *blk, const struct volume_info *info);
struct subsys *table_unexport(struct node *n, struct exported *x);  /* the subsystem is the caller's to remove */
/* Every subsystem is removed from the target (hosts are gone already); cb when all are. */
int  table_unexport_all(struct node *n, void (*cb)(void *ctx), void *ctx);
void table_free(struct node *n);                                    /* main thread, after the reactors ended */
void volume_nqn(const struct node *n, const char *name, char out[static NQN_MAX_BYTES + 1]);
void volume_serial(const struct uuid *uuid, char out[static 21]);

/* node_view.c: every volume of the pool becomes a subsystem; main thread, reactors running. */
int  volumes_export_all(struct node *n, char why[static 256]);
/* From tier or --ram; on reactor 0. */
int  volume_lookup(struct node *n, const char *name, struct volume_info *info, struct blk **blk);
void view_fill(struct node *n, const struct volume_info *info, struct volume_view *out); /* with what the target knows; likewise */

#endif
