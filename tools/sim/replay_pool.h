/* SPDX-License-Identifier: Apache-2.0 */
/* replay_pool.h: the machine under a replay: media, models, metadata, and a pool on them with one full volume. */
#ifndef FIRN_SIM_REPLAY_POOL_H
#define FIRN_SIM_REPLAY_POOL_H

#include "journal/journal.h"
#include "tools/sim/media.h"
#include "tools/sim/prefill.h"
#include "tools/sim/replay.h"
#include "tools/sim/sim.h"

struct replay_pool;

struct replay_dev {              /* [0]: the SSD; then HDDs */
    struct replay_pool *pool;
    struct media *media;
    struct dev   *model, *below; /* while the pool is open to be charged; model wraps below */
    char          path[16];
    FILE         *oplog;
    uint64_t      head_bytes;    /* HDD: as the model has it */
    char          kind;          /* 'S', 'H' */
};

struct replay_pool {
    const struct replay_opts *o;
    struct score *score;
    struct sim   *sim;
    struct env   *env;
    struct sim_meta_store *store;
    struct prefill prefill;
    struct replay_dev dev[1 + REPLAY_HDDS_MAX];
    uint32_t      nr_devs;
    uint64_t      volume_bytes;
    bool          modelled;      /* devices opened from now on take time */
    bool          flushing;      /* the final flush has begun */
    struct tier_opts topts;
    struct tier  *tier;
    struct blk   *blk;
    uint32_t      io_blocks[2];  /* most that a read, a write may have: many records fit a segment */
    struct tier_stats    stats0; /* when counting began */
    struct journal_stats journal0;
};

/* Makes the machine, formats, makes the volume, fills it, opens the pool on models. On failure replay_pool_close() is still due. */
int  replay_pool_open(struct replay_pool *p, const struct replay_opts *o, struct score *score, char why[static 256]);
/* What the devices are sent from now on counts. */
int  replay_pool_count(struct replay_pool *p, char why[static 256]);
/* Destages everything, then puts the devices' and the engine's counters into the score. */
int  replay_pool_flush(struct replay_pool *p, char why[static 256]);
void replay_pool_close(struct replay_pool *p);

#endif
