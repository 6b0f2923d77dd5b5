/* SPDX-License-Identifier: Apache-2.0 */
/* dev.h: a block device, or a file that stands for one, as one thread sees it.
 *
 * A dev belongs to one env; each reactor opens its own dev on the same path. Requests are embedded by the caller,
 * complete in any order, exactly once, never from inside the call that submitted them, on the dev's own thread.
 * A short transfer is continued inside; err == 0 means all bytes.
 *
 * Durability: a write is volatile until a later flush on any dev of that device completes, unless DEV_DSYNC is set:
 * then its completion means durable (O_DIRECT + RWF_DSYNC; libpmem's persist). A failed flush is final: the dev answers
 * -FIRN_E_DEVICE_FAILED to every write and flush after it (faults.md 1.5).
 * A hung request never completes; its buffers stay the device's. Upper layers keep their own deadlines.
 */
#ifndef FIRN_RT_DEV_H
#define FIRN_RT_DEV_H

#include "base/err.h"
#include "base/list.h"
#include "base/types.h"
#include "rt/env.h"
#include "rt/ring_op.h"

struct dev;
struct dev_io;
struct metric_hist;
typedef void dev_io_cb(struct dev_io *io);

enum dev_op { DEV_READ, DEV_WRITE, DEV_FLUSH, DEV_DISCARD, DEV_OP_NR };
enum dev_flags { DEV_DSYNC = 1 };

struct dev_io {
    uint64_t            off_bytes; /* multiple of caps.block_bytes */
    uint64_t            len_bytes; /* sum of the iov; multiple of caps.block_bytes; 0 for flush */
    const struct iovec *iov;       /* borrowed until cb, array and buffers; buffers aligned to caps.align_bytes */
    int                 iovcnt;
    unsigned            flags;     /* enum dev_flags; writes only */
    dev_io_cb          *cb;
    void               *ctx;       /* the caller's */
    int                 err;       /* out: 0 or negative */
    struct {                       /* the dev's while in flight */
        enum dev_op     op;
        uint64_t        start_ns, start_still_ns;
        uint64_t        done_bytes;
        struct list     node;
        struct env_task task;
        struct reactor_op ring;    /* dev_uring */
        struct iovec    rest;      /* dev_uring: what is left of an element after a short transfer */
        struct dev     *dev;
        void           *p[4];
        uint64_t        u[4];
    } priv;
};

struct dev_caps {
    uint64_t size_bytes;
    uint32_t block_bytes;       /* logical block: unit of offsets and lengths: 512 or 4096 */
    uint32_t align_bytes;       /* buffers' alignment in memory */
    uint32_t iov_max;           /* elements of one request */
    bool     byte_addressable;  /* persistent memory */
    bool     rotational;
    bool     discard;
};

struct dev_stats { /* counted by the wrapper below, not by the implementations */
    uint64_t ops[DEV_OP_NR], bytes[DEV_OP_NR], errors[DEV_OP_NR];
    uint64_t in_flight;
};

struct dev_ops {
    const char *name; /* "uring", "pmem", "model", "sim" */
    void (*submit)(struct dev *d, struct dev_io *io); /* io->priv.op says which */
    void (*close)(struct dev *d);                     /* nothing in flight */
};

struct dev {
    const struct dev_ops *ops;
    struct env           *env;
    struct dev_caps       caps;
    struct dev_stats      stats;
    char                  path[256];
    bool                  failed;    /* a flush or DSYNC write failed: no further writes */
    uint64_t              patience_ns; /* the dev_*_sync() below give up after so long; 0: never. For devices that one can do without */
    bool                  gave_up;   /* it did: all is the device's until it answers; for good if the env has a new thread by then */
    bool                  closing;   /* closed while that is so: goes when it answers */
    struct list           inflight;  /* of dev_io.priv.node, oldest first: deadlines look at the head */
    struct list           left;      /* likewise: given up, and forgiven */
    struct metric_hist   *latency[DEV_OP_NR]; /* optional; metrics.h */
    void                (*observer)(struct dev *d, const struct dev_io *io); /* optional; sees each completion */
    void                 *observer_ctx;
};

/* Checked submission: asserts alignment and range (our own bugs), counts, stamps, refuses writes on a failed dev. */
void dev_read(struct dev *d, struct dev_io *io);
void dev_write(struct dev *d, struct dev_io *io);
void dev_flush(struct dev *d, struct dev_io *io);
void dev_discard(struct dev *d, struct dev_io *io); /* a hint: contents are undefined afterwards; ok to fail */
void dev_close(struct dev *d);

/* Implementations finish a request with this, from the dev's thread and never inside submit. */
void dev_io_done(struct dev *d, struct dev_io *io, int err);
/* For implementations: fills the common part. */
void dev_init(struct dev *d, const struct dev_ops *ops, struct env *env, const char *path);

/* Age in ns of the oldest request in flight, 0 if none: as far as its end would have been heard (env_heard_ns()), without the
 * time in which the process stood still. */
uint64_t dev_oldest_ns(const struct dev *d);

/* What the forms below have given up says no more of the device: it is usable until something else that is asked of it takes too long. For
 * those that one cannot do without: the end of what was given up may never be heard of (dev.gave_up). */
void dev_forgive(struct dev *d);
/* Of what they have given up and is still in flight the memory goes. For implementations whose device is no more, and which forget it. */
void dev_drop_left(struct dev *d);

/* Straight-line forms over env_run_once(): start, stop, format, check, recovery; never on the data path.
 * 0, the device's error, or the loop's (-FIRN_E_STOPPED: give up at once). -ETIMEDOUT: patience_ns is over; from then on at once. */
int dev_read_sync(struct dev *d, uint64_t off_bytes, void *buf, size_t len_bytes);
int dev_write_sync(struct dev *d, uint64_t off_bytes, const void *buf, size_t len_bytes, unsigned flags);
int dev_flush_sync(struct dev *d);

struct dev_open_opts {
    bool     read_only;
    bool     buffered;       /* no O_DIRECT: for file systems that lack it (tmpfs); DSYNC still holds */
    bool     pmem;           /* map with libpmem: a DAX file or /dev/dax; msync on an ordinary file */
};
/* Opens path (regular file or block device) on env, which must be a reactor. The error goes to `why` in words. */
int dev_open(struct env *env, const char *path, const struct dev_open_opts *opts, struct dev **out, char why[static 256]);

/* dev_model.h wraps another dev in the time that a given SSD or HDD takes. */

#endif
