/* SPDX-License-Identifier: Apache-2.0 */
/* shard.h: one thread's share of a pool: its log, its index, the map of its volumes' extents, their reads and writes,
 * its mover and reclaim. Everything in here runs on shard->env and shares nothing with other shards but what cold.h,
 * meta.h and the segment pool guard themselves.
 *
 * pool.c (control, start, stop) makes shards and attaches volumes; read.c, write.c, zero.c, rmw.c, mover.c, reclaim.c,
 * recover.c are the flows.
 */
#ifndef FIRN_TIER_SHARD_H
#define FIRN_TIER_SHARD_H

#include "journal/journal.h"
#include "tier/cold.h"
#include "tier/format.h"
#include "tier/tier.h"
#include "tier/turn.h"

struct shard;

struct shard_opts {
    const struct tier_opts *tier;
    uint32_t        no;
    struct env     *env;
    struct segpool *segpool;
    struct dev     *journal_dev;                     /* this env's handles; the shard does not close them */
    struct dev     *areas[SEGMENT_AREAS_MAX - 1];    /* of the segment pool's areas from 1 on */
    struct dev     *capacity[CAPACITY_DEVS_MAX];     /* NULL: missing (the volume's reads there fail) */
    uint32_t        nr_capacity;
    struct cold    *cold;
    struct flush_turns *flush_turns;                 /* the pool's */
    struct turns   *turns;                           /* likewise */
    struct meta    *meta;
};

int  shard_new(const struct shard_opts *opts, struct shard **out);
/* Straight-line, before the threads run: loads the map of its layers, replays the log, rebuilds the index. Volumes must have been
 * attached before. Writes nothing. *layer_max is raised to the highest layer id that the
 * log names, of layers that nobody has attached too. */
/* What the map says of its extents. Of all shards, before the first one is recovered: what a log says of places is believed only of those
 * that no map names. */
int  shard_load(struct shard *s, char why[static 256]);
int  shard_recover(struct shard *s, struct journal_replay_report *report, uint64_t *layer_max, char why[static 256]);
/* After that, when more has been forgotten in the pool of segments: copies that were found in those of the log are not believed either. */
void shard_forget_copies(struct shard *s);
/* Once every shard of the pool has been recovered and judged, and a loss that was accepted is settled: the log is repaired, and new
 * records go behind what it holds. Before that nothing may be written, not even to the metadata: a refused start would else be
 * accepted when it is tried again. 0 or negative. */
int  shard_open_log(struct shard *s);

/* After every shard of the pool has recovered and been judged: the metadata now names what was kept of the log. */
int  shard_marks_commit(struct shard *s, bool final);

/* Heat as the metadata knows it; likewise, or at any time before shard_start(). */
void shard_heat_load(struct shard *s);

/* After every shard of the pool has recovered (they share the space on the capacity devices): background work may begin.
 * The first request, drain or detach implies it. */
void shard_start(struct shard *s);

/* A layer's bottom of the stack is attached with the volume; runs on the shard's env (or before the threads run). */
struct volume;  /* defined in volume.h: blk, layers, policy, counters */
int  shard_attach(struct shard *s, struct volume *v);
/* After the volume's records are gone from the metadata and no I/O is in flight: forgets index and map of its layer;
 * space goes back when the batches that unmap the extents have committed. cb on the shard's env. */
void shard_detach(struct shard *s, struct volume *v, void (*cb)(void *ctx, int err), void *ctx);

/* The knobs of TIER_LIVE change, on the shard's env. */
void shard_retune(struct shard *s, const struct tier_opts *o);
/* Its tier changes, on the shard's env: extents that are dirty are listed anew, a few at a time. */
void shard_set_tier(struct shard *s, struct volume *v, enum volume_tier tier);
/* Likewise: what of the places for copies it may have. Takes effect with the next copies. */
void shard_set_policy(struct shard *s, struct volume *v, const struct volume_policy *policy);
/* Its part of all segments, in bytes; any thread. */
uint64_t shard_segment_bytes(const struct shard *s);
/* So much, in bytes, may be pinned to the SSD; any thread. */
uint64_t shard_pin_max(const struct shard *s);

/* blk_ops.submit of volumes ends here, range already checked by blk_submit(). */
void shard_submit(struct shard *s, struct volume *v, struct blk_io *io);
/* blk_ops.cancel of volumes: cancel.c. */
void shard_cancel(struct shard *s, struct blk_io *io);

/* Finish what was accepted, then cb. destage_all: also destage everything dirty first. Background work rests from then
 * on, until the next request, drain, detach or shard_start(). */
void shard_drain(struct shard *s, bool destage_all, void (*cb)(void *ctx), void *ctx);
/* After a drain: stops mover and reclaim, seals the log. turns: so many shards do that on its thread, one after the other. */
int  shard_stop(struct shard *s, uint32_t turns);
void shard_free(struct shard *s);

uint64_t shard_room(const struct shard *s); /* bytes of blocks that its part of the log can hold; any thread */
void shard_info(const struct shard *s, struct tier_info *add);   /* adds this shard's figures; any thread, racy */
const struct tier_stats *shard_stats(const struct shard *s);
void shard_journal_stats(const struct shard *s, struct journal_stats *add); /* likewise, until shard_stop() */
void shard_set_commit_hist(struct shard *s, struct metric_hist *h);         /* after shard_recover() */
/* 0, or why it takes no more writes; *cause: what the device or the metadata store said; any thread, racy. */
int shard_failed(const struct shard *s, int *cause);
/* The device refused a write, or holds a request for longer than the deadline; any thread, racy. */
bool shard_degraded(const struct shard *s, uint16_t dev);
/* It does not seek, and the pool has others that do. */
bool shard_flash(const struct shard *s, uint16_t dev);
uint64_t shard_csum_errors(const struct shard *s, uint16_t dev); /* blocks of a capacity device that failed their checksum; likewise */
void shard_volume_usage(struct shard *s, const struct volume *v, struct volume_info *out); /* shard's thread or racy */
void shard_set_bugs(struct shard *s, const struct tier_bugs *bugs, const struct journal_bugs *journal);
void shard_verify(struct shard *s);
void shard_described(struct shard *s, void (*fn)(void *ctx, const struct tier_described *e), void *ctx);

#endif
