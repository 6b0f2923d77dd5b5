/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h: one shard with one volume over simulated devices and metadata, driven in virtual time; crash and reopen at will. */
#ifndef FIRN_TEST_TIER_RIG_H
#define FIRN_TEST_TIER_RIG_H

#include <criterion/criterion.h>

#include "tier/priv.h"
#include "tools/sim/sim.h"

#define RIG_HDDS 2u
#define RIG_LAYER 7u

#define RIG_CACHES 2u

struct rig_opts {
    bool     short_heads;            /* the log has headers of one block; else of 4096 bytes, which tests that count segments go by */
    uint64_t seed;
    uint32_t lba_bytes, hdd_extents, segments, segment_bytes;
    uint64_t volume_blocks;
    uint64_t hdd_ns;                 /* a request there takes so long; 0: next to nothing */
    bool     flash;                  /* the second capacity device does not seek */
    uint32_t ring_nr;                /* entries of the ring of each capacity device that seeks */
    uint32_t caches, cache_segments; /* devices of copies alone; segments of each */
    uint32_t shards;                 /* of the pool, of which this is the first, and the others are idle; 0: 1 */
};

struct rig {
    struct rig_opts  o;
    struct sim      *sim;
    struct sim_disk *ssd, *hdd[RIG_HDDS];
    struct sim_disk *cache[RIG_CACHES];
    uint32_t         cache_absent;        /* a bit each: left out of the boots to come */
    struct sim_meta_store *store;
    uint64_t         boots;
    struct segpool_geometry geo;
    struct tier_opts opts;
    struct tier_bugs bugs;
    /* of one boot */
    struct env      *env;
    struct dev      *ssd_dev, *hdd_dev[RIG_HDDS], *cache_dev[RIG_CACHES]; /* NULL: absent */
    struct meta     *meta;
    struct segpool  *segpool;
    struct cold     *cold;
    struct flush_turns flush_turns;
    struct turns     turns;
    struct shard    *shard;
    struct volume    vol;
    struct journal_replay_report report;
    void   (*on_recovered)(struct rig *r); /* each boot, before the log is opened; NULL: nothing */
    void   (*on_meta)(struct rig *r);     /* each boot, when the metadata is open; NULL: nothing */
};

void rig_init(struct rig *r, const struct rig_opts *o);
void rig_fini(struct rig *r);
int  rig_boot(struct rig *r);
void rig_crash(struct rig *r);            /* and close */
void rig_restart(struct rig *r);          /* crash and boot */
void rig_drain(struct rig *r, bool destage_all);
void rig_stop(struct rig *r);             /* orderly */

/* One request from start to end; its error. Data: every 512 bytes carry (lba, stamp). */
int  rig_write(struct rig *r, uint64_t lba, uint32_t nlb, uint64_t stamp);
int  rig_zero(struct rig *r, uint64_t lba, uint32_t nlb);
int  rig_read(struct rig *r, uint64_t lba, uint32_t nlb, char *buf);
void rig_fill(const struct rig *r, char *buf, uint64_t lba, uint32_t nlb, uint64_t stamp);
/* Asserts that the range reads as written with this stamp (0: zeros). */
void rig_expect(struct rig *r, uint64_t lba, uint32_t nlb, uint64_t stamp);
/* Where the newest bytes of a block lie on the SSD; 0: not in the log. */
uint64_t rig_log_offset(struct rig *r, uint64_t block);
/* The description of the slot of a placed extent, as a power failure would leave it: the youngest, in its region or in the ring. */
int  rig_description(struct rig *r, const struct extent *e, struct extent_desc *d);
struct extent *rig_extent(const struct rig *r, uint32_t no);
/* A block of an extent gets other bytes on its device, as a write that was cut off leaves them. */
void rig_spoil_cold(struct rig *r, uint64_t block);
uint64_t rig_used(struct rig *r);         /* extents that have a place */
uint64_t rig_device_reads(const struct rig *r); /* of the capacity devices, since the boot */

/* Callbacks, and what to wait for with sim_run_until(): of a flag, or of a rig. */
void rig_set(void *flag);
bool rig_is_set(void *flag);
void rig_nothing(void *ctx);
void rig_ended(struct blk_io *io);        /* its ctx is the flag */
void rig_detached(void *flag, int err);   /* asserts that it is no error */
bool rig_clean(void *rig);
bool rig_destage_failed(void *rig);
bool rig_flushing(void *rig);             /* a lane of it */
bool rig_lane_writes(void *rig);
bool rig_places_rest(void *rig);          /* nothing is under way that has to do with copies */
void rig_places_settle(struct rig *r);    /* waits for that */

#endif
