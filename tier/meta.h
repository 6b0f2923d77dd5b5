/* SPDX-License-Identifier: Apache-2.0 */
/* meta.h: the seam for metadata: an ordered key-value store with atomic, durable batches. LMDB behind one meta thread
 * in the daemon (meta_lmdb.c); a table in memory with the same contract in the simulator.
 *
 * Contract: a batch whose callback said 0 survives any crash whole; one whose callback has not run is there whole or
 * not at all; batches are applied in the order of meta_commit() calls. Every committed batch raises commit_no by one,
 * stored in the same transaction. Records carry their own checksum (LMDB has none): a record that fails it is
 * -FIRN_E_CORRUPT for that key alone, never a crash.
 *
 * Threads: any env may commit and get; callbacks run on the env named in the request.
 * Sync forms are for start, format, check: before the reactors run, or on the control thread. Any thread may call commit_sync(): a shard
 * does at a stop, for the last batch that it has.
 */
#ifndef FIRN_TIER_META_H
#define FIRN_TIER_META_H

#include "base/err.h"
#include "base/list.h"
#include "base/types.h"
#include "rt/env.h"

#define META_KEY_MAX   32u
#define META_VALUE_MAX 2048u

struct meta;

struct meta_key { uint8_t len; uint8_t b[META_KEY_MAX]; }; /* big-endian fields, so that memory order is key order */

struct meta_op {               /* one put or delete; the caller's memory, borrowed until the batch's cb */
    struct meta_key key;
    const void     *value;     /* NULL: delete (deleting what is not there is fine) */
    uint32_t        value_len; /* <= META_VALUE_MAX */
};

struct meta_batch {
    const struct meta_op *ops;
    uint32_t nr;
    struct env *env;           /* cb runs there */
    void (*cb)(struct meta_batch *b);
    void *ctx;
    int      err;              /* out. A failed commit is final: every later one fails too */
    uint64_t commit_no;        /* out */
    struct { struct list node; struct env_task task; } priv;
};

struct meta_get_req {
    struct meta_key key;
    void    *buf;              /* META_VALUE_MAX bytes */
    uint32_t len;              /* out */
    struct env *env;
    void (*cb)(struct meta_get_req *r);
    void *ctx;
    int   err;                 /* out: 0, -FIRN_E_NOT_FOUND, -FIRN_E_CORRUPT */
    struct { struct list node; struct env_task task; } priv;
};

struct meta_ops {
    const char *name; /* "lmdb", "sim" */
    void (*commit)(struct meta *m, struct meta_batch *b);
    void (*get)(struct meta *m, struct meta_get_req *r);
    int  (*get_sync)(struct meta *m, const struct meta_key *key, void *buf, uint32_t *len);
    int  (*commit_sync)(struct meta *m, const struct meta_op *ops, uint32_t nr);
    /* Visits keys that begin with prefix in order until fn returns non-zero (returned) or the end (0). A record that
     * fails its checksum is visited with value NULL. */
    int  (*scan_sync)(struct meta *m, const struct meta_key *prefix,
                      int (*fn)(void *ctx, const struct meta_key *key, const void *value, uint32_t len), void *ctx);
    uint64_t (*commit_no)(const struct meta *m); /* last committed; any thread */
    int  (*failed)(const struct meta *m);        /* 0, or why commits fail from now on: -ENOSPC, ...; any thread. NULL: unknown */
    void (*number_from)(struct meta *m, uint64_t commit_no); /* later batches get higher numbers than this */
    void (*close)(struct meta *m);               /* waits for queued batches */
};

struct meta { const struct meta_ops *ops; };

static inline void meta_commit(struct meta *m, struct meta_batch *b) { m->ops->commit(m, b); }
static inline void meta_get(struct meta *m, struct meta_get_req *r) { m->ops->get(m, r); }
static inline uint64_t meta_commit_no(const struct meta *m) { return m->ops->commit_no(m); }
static inline int meta_failed(const struct meta *m) { return m->ops->failed != NULL ? m->ops->failed(m) : 0; }

/* map_bytes: address space to begin with (0: 1 GiB); it grows when it is full. create: a new environment is made; one
 * that holds records already is -FIRN_E_EXISTS. */
struct meta_lmdb_opts { uint64_t map_bytes; bool read_only; bool create; };
/* The directory at path holds one environment. `why` says what is wrong in words. Starts the meta thread. */
int meta_lmdb_open(const char *path, const struct meta_lmdb_opts *opts, struct meta **out, char why[static 256]);

/* Walks an environment's file page by page with its own bounds, without LMDB, which trusts its pages and may crash on
 * rotten ones. Done before every open. 0: LMDB can open it; records that fail their checksum are counted and shown to
 * `bad`. -ENOENT: no environment there; -FIRN_E_CORRUPT: the tree is damaged, `why` says where. Reads only. */
struct meta_walk {
    uint64_t pages, records, bad_records; /* out */
    void   (*bad)(void *ctx, const struct meta_key *key);
    void    *ctx;
};
int meta_lmdb_walk(const char *path, struct meta_walk *w, char why[static 256]);

#endif
