/* SPDX-License-Identifier: Apache-2.0 */
/* blk.h: where export/ and tier/ meet: a logical block device as the target sees it. tier/ implements it for volumes,
 * blk_ram for `firnd --ram`. Neither room knows the other.
 *
 * A blk lives on one env, its home; all calls and callbacks happen there. Requests are embedded by the caller; cb runs
 * once, never from inside blk_submit(). A write that completed with err == 0 is durable; so is a write zeroes or a
 * discard. A read returns durable data only. Requests in flight at once may be carried out in any order, each whole:
 * a request of up to one 4 KiB block is atomic against crash and against other requests.
 * A blk that keeps to a rate holds requests back. Who has buffers to spare for others asks blk_may_begin() before it takes any.
 */
#ifndef FIRN_RT_BLK_H
#define FIRN_RT_BLK_H

#include "base/err.h"
#include "base/list.h"
#include "base/types.h"
#include "rt/env.h"

struct blk;
struct blk_io;
typedef void blk_io_cb(struct blk_io *io);

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_WRITE_ZEROES, BLK_DISCARD, BLK_OP_NR };

struct blk_io {
    enum blk_op         op;
    uint64_t            lba;    /* in units of the blk's lba_bytes */
    uint32_t            nlb;    /* count of them, >= 1; 0 for flush. Write zeroes and discard: up to 2^32 - 1 */
    const struct iovec *iov;    /* read, write: borrowed until cb; every element but the last a multiple of 4096 bytes,
                                 * every base 4096-aligned; the sum is nlb * lba_bytes */
    int                 iovcnt; /* <= BLK_IOV_MAX */
    bool                paid;   /* blk_may_begin() said yes to it: it is not held back */
    const uint32_t     *crc;    /* write, optional: plain CRC32C of each whole 4 KiB block; only with 4096-byte lbas */
    blk_io_cb          *cb;
    void               *ctx;
    int                 err;    /* out: 0, or negative: -FIRN_E_DAMAGED (err_lba says where), NO_SPACE, RANGE, ... */
    uint64_t            err_lba;
    struct {            /* the implementation's while in flight */
        struct blk     *blk;
        struct list     node;
        struct env_task task;
        uint64_t        start_ns;
        void           *p[4];
        uint64_t        u[4];
    } priv;
};
#define BLK_IOV_MAX 8

/* MAY_BEGIN: blk_may_begin() said no, and is worth another question. */
enum blk_event { BLK_EVENT_RESIZED, BLK_EVENT_GONE, BLK_EVENT_MAY_BEGIN };

struct blk_ops {
    const char *name; /* "ram", "volume" */
    void (*submit)(struct blk *b, struct blk_io *io);
    void (*cancel)(struct blk *b, struct blk_io *io); /* optional: blk_cancel() */
    bool (*may_begin)(struct blk *b, uint64_t ios, uint64_t bytes); /* of one with holds_back: blk_may_begin() */
};

struct blk {
    const struct blk_ops *ops;
    struct env           *env;         /* home: the reactor whose thread serves it */
    uint32_t              lba_bytes;   /* 512 or 4096 */
    uint64_t              size_lba;    /* changes only on the home thread; BLK_EVENT_RESIZED follows */
    uint32_t              max_io_bytes;
    bool                  holds_back;  /* it keeps to a rate now */
    struct list           watchers;    /* of blk_watch.node */
    struct list           untold;      /* those that blk_notify() has still to call */
    uint64_t              in_flight;
};

struct blk_watch {
    void      (*cb)(struct blk_watch *w, enum blk_event ev);
    struct list node;
};

void blk_init(struct blk *b, const struct blk_ops *ops, struct env *env, uint32_t lba_bytes, uint64_t size_lba);
/* Checks range and shape; a bad request completes with -FIRN_E_RANGE or -FIRN_E_INVALID and reaches no implementation. */
void blk_submit(struct blk *b, struct blk_io *io);
/* May requests that count as so many, and move so many bytes, be submitted? True: the rate has paid for them, set their `paid`.
 * False: BLK_EVENT_MAY_BEGIN comes later, never from inside this call. */
static inline bool blk_may_begin(struct blk *b, uint64_t ios, uint64_t bytes)
{
    return !b->holds_back || b->ops->may_begin(b, ios, bytes);
}
/* Nobody wants the answer of io any more, which is in flight. If b has not begun it, it completes soon with
 * -FIRN_E_CANCELED and changes nothing; else it completes as ever. */
void blk_cancel(struct blk *b, struct blk_io *io);
/* Implementations finish with this, never from inside submit. */
void blk_io_done(struct blk *b, struct blk_io *io, int err);
void blk_watch_add(struct blk *b, struct blk_watch *w);
void blk_watch_remove(struct blk_watch *w);
void blk_notify(struct blk *b, enum blk_event ev);

/* A blk over anonymous memory: loses everything at exit; measures the target alone. */
int  blk_ram_new(struct env *env, uint32_t lba_bytes, uint64_t size_bytes, struct blk **out);
void blk_ram_free(struct blk *b);

#endif
