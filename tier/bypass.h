/* SPDX-License-Identifier: Apache-2.0 */
/* bypass.h: streams of writes past the log: which, and their records (bypass.c); trains of them on a device (bypass_run.c). */
#ifndef FIRN_TIER_BYPASS_H
#define FIRN_TIER_BYPASS_H

#include "tier/priv.h"
#include "tier/write.h"

struct bypass;
struct bypass_part {             /* what of a write lies in one extent */
    struct list node;            /* bypass_dev.queue, .train */
    struct list age;             /* bypass_dev.ages, while it queues */
    struct journal_append app;
    struct bypass *of;
    uint32_t x, first, n;        /* extent; blocks of the write */
    bool     log;                /* the log has them */
    uint64_t off_bytes, since_ns; /* on the device; since when it queues */
    struct iovec iov[BLK_IOV_MAX];
    int      iovcnt;
};
#define BYPASS_IOVS  512u
#define BYPASS_TRAIN 64u         /* commands of a train at most */
enum bypass_state { BYPASS_REST, BYPASS_WRITE, BYPASS_WRITTEN, BYPASS_FLUSH };
struct bypass_dev;
struct bypass_io { struct dev_io io; struct bypass_dev *of; };
struct bypass_dev {              /* of one device: one train at a time */
    struct shard *s;
    enum bypass_state state;
    struct list queue;           /* parts, in the order of their places */
    struct list ages;            /* the same, the oldest first */
    struct list train;           /* parts that are being written, or flushed */
    uint32_t nr_ios, in_flight;  /* commands of the train; of them not answered yet */
    bool     failed;             /* one of them was refused */
    uint32_t flush_failures;     /* of the device, all shards', when the train began */
    struct bypass_io io[BYPASS_TRAIN];
    struct dev_io flush;
    struct iovec iov[BYPASS_IOVS];
};
struct bypass {
    struct shard *s;
    struct wio *w;
    uint32_t nr, left;
    int err;
    struct bypass_part part[EXTENTS_PER_IO + 2]; /* and what the log has at both ends */
};

/* So many blocks of a write are to go past the log. Known in the order in which writes come, whatever they wait for then. */
static inline void io_set_past(struct blk_io *io, uint64_t nblocks) { io->priv.u[1] = nblocks; }
static inline uint32_t io_past(const struct blk_io *io) { return (uint32_t)io->priv.u[1]; }

/* bypass.c */
void     bypass_part_done(struct bypass_part *p, bool durable); /* not durable: the log takes it */
void     bypass_arrived(struct shard *s, struct blk_io *io);         /* a request: sets io_past() */
bool     bypass_needed(const struct shard *s, const struct blk_io *io); /* an entry of the pool, for such a write */
bool     bypass_write(struct shard *s, struct wio *w);    /* false: the log is to take it */

/* bypass_run.c */
void     bypass_queue(struct shard *s, struct bypass_part *p, uint16_t dev, uint64_t off_bytes);
int      bypass_init(struct shard *s);
uint64_t bypass_step(struct shard *s);                    /* as mover_step() */
void     bypass_turn(struct shard *s, uint16_t dev);      /* the lane there has got the turn */
bool     bypass_has_time(const struct shard *s, uint16_t dev); /* its budget is not spent for longer than a train may wait */
void     bypass_fini(struct shard *s);

#endif
