/* SPDX-License-Identifier: Apache-2.0 */
/* yard.h: a pool of several shards on modelled devices in virtual time, and hosts that read and write its volumes in loops. */
#ifndef FIRN_TEST_YARD_H
#define FIRN_TEST_YARD_H

#include <criterion/criterion.h>

#include "base/limits.h"
#include "rt/dev_model.h"
#include "tier/format.h"
#include "tier/tier.h"
#include "tools/sim/media.h"
#include "tools/sim/sim.h"

#define YARD_HDDS 4u
#define YARD_VOLS 8u

struct yard_opts {
    uint32_t nr_shards, nr_hdd, nr_vols;
    uint64_t hdd_bytes, log_bytes, vol_bytes;
    bool     ssd_free;             /* the SSD takes no time: only the HDD is looked at */
    struct tier_opts tune;
};

struct yard_dev {
    struct yard  *yard;
    char          path[16];
    bool          hdd;
    struct media *media;
    struct dev   *model;
    uint32_t      writes_at_once;  /* most that were in flight */
    uint64_t      written_bytes;
    uint64_t      last_ns;         /* when the last request ended */
    uint64_t      longest_write_ns;/* that one took, once all before it had ended */
};

struct yard {
    struct yard_opts o;
    struct sim      *sim;
    struct env      *env;
    struct sim_meta_store *store;
    struct tier_opts topts;
    struct yard_dev  dev[1 + YARD_HDDS]; /* [0]: the SSD */
    struct tier     *tier;
    struct blk      *vol[YARD_VOLS];     /* on shard i % nr_shards */
    char            *buf;                /* of all requests: nobody looks at it */
};

void yard_open(struct yard *y, const struct yard_opts *o);
void yard_close(struct yard *y);
void yard_drain(struct yard *y, bool destage_all);
/* One request from start to end; how long it took. */
uint64_t yard_io(struct yard *y, unsigned vol, enum blk_op op, uint64_t off_bytes, uint64_t len_bytes);
/* The first bytes of each MiB of each volume are written, and destaged: every extent has its place. */
void yard_fill(struct yard *y, uint32_t bytes_an_extent);
struct tier_stats yard_stats(struct yard *y);
uint64_t yard_dirty(struct yard *y);                  /* bytes */

#define YARD_PARTS 2u

/* A host that has one request under way after the other. What is longer than MDTS comes as so many commands at once, as from any host. */
struct yard_host {
    struct yard  *yard;
    unsigned      vol;
    bool          write, ordered, stop;   /* ordered: one behind the other, from 0 on */
    uint32_t      len_bytes;
    uint64_t      from_bytes, within_bytes, next_bytes, seed;
    uint64_t      stride_bytes;           /* from one possible place to the next; 0: len_bytes */
    uint64_t      pause_ns;               /* between two of them */
    struct yard_part { struct blk_io io; struct iovec iov; } part[YARD_PARTS];
    uint32_t      parts_left;
    struct env_timer timer;
    uint64_t      began_ns, nr, longest_ns;
    void        (*saw)(struct yard_host *h, uint64_t took_ns); /* optional */
};
void yard_host_start(struct yard_host *h);
void yard_host_stop(struct yard_host *h); /* and what it has under way is over */

#endif
