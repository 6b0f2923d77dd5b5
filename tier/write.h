/* SPDX-License-Identifier: Apache-2.0 */
/* write.h: writes of whole blocks (write.c), and zeroed ranges (zero.c). */
#ifndef FIRN_TIER_WRITE_H
#define FIRN_TIER_WRITE_H

#include "tier/priv.h"
#include "tier/sums.h"

struct wio {                     /* a write of whole blocks on its way to the log */
    struct journal_append app;
    struct shard *s;
    uint32_t layer;
    uint32_t ext[EXTENTS_PER_IO], nr_ext;
    uint32_t past;               /* so many of its blocks are to go past the log, the first ones (bypass.c) */
    struct iovec iov[BLK_IOV_MAX];
    void (*cb)(struct wio *w, int err);
    void *ctx;
    struct list node;            /* s->writes while in flight */
    uint32_t csum[IO_BLOCKS_MAX];
};

struct zio {                     /* a zeroed range of whole blocks */
    struct journal_append app;
    struct shard *s;
    uint32_t layer;
    uint64_t block, nblocks, seq;
    uint32_t segment;
    uint32_t slots;              /* without payload, promised to it until it has been applied */
    uint64_t cursor;             /* extent number, or node number when walking nodes; all before it are done */
    bool by_node, durable, parked;
    bool waits;                  /* on s->zeroes_wait */
    bool blind;                  /* the map's record of the extent at the cursor cannot be read */
    void (*cb)(struct zio *z, int err);
    void *ctx;
    struct list node;            /* s->zeroes_wait before it is appended, s->zeroes once durable */
    struct sums_waiter wait;
};

/* write.c */
void     write_start(struct shard *s, uint32_t layer, struct blk_io *io);
int      write_blocks(struct shard *s, struct wio *w, uint32_t layer, uint64_t block, uint32_t nblocks,
                      const struct iovec *iov, int iovcnt, const uint32_t *crc);
void     write_indexed(struct shard *s, uint32_t layer, const struct journal_append *a, const uint32_t *csum);
void     write_end(struct wio *w, int err);
void     write_count(struct shard *s, const struct blk_io *io, int err);

/* zero.c */
#define SLOTS_SPARE(s) ((s)->ix.nr_virtual / 8) /* without payload, never promised: for damage, which nobody announces */
int      zero_blocks(struct shard *s, struct zio *z, uint32_t layer, uint64_t block, uint64_t nblocks);
uint16_t zeroes_share_wanted(const struct shard *s, const struct blk_io *io); /* as share_zeroes_wanted() */
bool     zero_cancel(struct zio *z);                      /* true: it waited, is off its list, and z->cb will not be called */
bool     zeroes_step(struct shard *s);                    /* true: more to do at once */
uint64_t zeroes_seq_below(const struct shard *s, uint32_t x, uint64_t seq); /* largest S <= seq that names no unapplied zero */
bool     zero_extent(struct shard *s, uint32_t x, uint64_t block, uint64_t nblocks, uint64_t seq, uint32_t segment,
                     const struct sums *m);               /* false: no free virtual slots; m: NULL, or the map of it counts */

#endif
