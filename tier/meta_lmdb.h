/* SPDX-License-Identifier: Apache-2.0 */
/* meta_lmdb.h: the metadata store of the daemon, between its two files: what it does (meta_lmdb.c), and opening it (meta_lmdb_open.c). */
#ifndef FIRN_TIER_META_LMDB_H
#define FIRN_TIER_META_LMDB_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tier/format.h"
#include "tier/meta.h"

struct meta_lmdb {
    struct meta     meta;
    char            path[256];
    int             lock_fd;
    bool            read_only;
    MDB_env        *env;
    MDB_dbi         dbi;
    uint64_t        map_bytes;
    _Atomic uint64_t commit_no;
    _Atomic int     cause;       /* set under env_lock: 0, or the error that ended all commits; any thread asks */
    unsigned        readers;     /* under env_lock: read transactions open; a commit asserts that there is none */
    pthread_mutex_t env_lock;    /* recursive: a scan's callback may get */
    pthread_mutex_t queue_lock;
    pthread_cond_t  wake;
    struct list     batches, gets; /* under queue_lock */
    bool            stopping;      /* under queue_lock */
    bool            started;
    pthread_t       thread;
};

static inline struct meta_lmdb *meta_lmdb_of(const struct meta *m)
{
    return (struct meta_lmdb *)(uintptr_t)((const char *)m - offsetof(struct meta_lmdb, meta));
}

/* The one key that is LMDB's glue and no record of tier/: the number of the last committed batch. */
static inline struct meta_key meta_lmdb_commit_key(void) { return (struct meta_key){.len = 1}; }

/* meta_lmdb.c */
extern const struct meta_ops meta_lmdb_ops;
int   meta_lmdb_err(int rc);                              /* LMDB's error as one of ours */
void *meta_lmdb_thread(void *arg);                        /* until m->stopping, and nothing waits */
int   meta_lmdb_get_sync(struct meta *meta, const struct meta_key *key, void *buf, uint32_t *len);

/* meta_lmdb_open.c */
void  meta_lmdb_close(struct meta *meta);                 /* of one that is half open, too */

#endif
