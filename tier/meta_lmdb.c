/* SPDX-License-Identifier: Apache-2.0 */
/* meta_lmdb.c: metadata in LMDB, behind one thread.
 *
 * 1. Reactors queue batches and gets; the meta thread takes all that wait.
 * 2. All waiting batches share one LMDB transaction; each raises commit_no by one, which is stored in the same transaction.
 * 3. The transaction is committed with its flushes; then the callbacks go to their envs, in order.
 * 4. Gets are answered after the batches that were queued with them.
 * Failures: a full map is grown between transactions and the whole transaction repeated; any other error is final, and
 * every later commit fails. A record whose checksum fails is that record's error alone.
 *
 * LMDB runs without its own locks (one process, proven by flock on the directory): env_lock serialises the thread with
 * the sync forms. No reader lives across a commit.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "rt/trace.h"
#include "tier/meta_lmdb.h"

#define MAP_BYTES_MAX     (UINT64_C(1) << 45) /* address space, not memory */
#define MAP_GROWTH_MIN    (64 * MIB)

int meta_lmdb_err(int rc)
{
    if (rc == 0)
        return 0;
    if (rc == MDB_NOTFOUND)
        return -FIRN_E_NOT_FOUND;
    if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH)
        return -FIRN_E_CORRUPT;
    return rc > 0 ? -rc : -FIRN_E_META;
}

/* ---- values with their checksum ---- */

static int value_put(MDB_txn *txn, MDB_dbi dbi, const struct meta_key *key, const void *value, uint32_t len)
{
    MDB_val k = {.mv_size = key->len, .mv_data = (void *)(uintptr_t)key->b};
    MDB_val v = {.mv_size = len + META_CRC_BYTES};
    le32 crc = to_le32(meta_value_crc(key, value, len));
    int rc = mdb_put(txn, dbi, &k, &v, MDB_RESERVE);

    if (rc != 0)
        return rc;
    memcpy(v.mv_data, value, len);
    memcpy((char *)v.mv_data + len, &crc, sizeof(crc));
    return 0;
}

/* The value proper of what LMDB returned; -FIRN_E_CORRUPT: its checksum fails. */
static int value_check(const struct meta_key *key, const MDB_val *v, uint32_t *len)
{
    le32 crc;

    if (v->mv_size < META_CRC_BYTES || v->mv_size > META_VALUE_MAX + META_CRC_BYTES)
        return -FIRN_E_CORRUPT;
    *len = (uint32_t)(v->mv_size - META_CRC_BYTES);
    memcpy(&crc, (const char *)v->mv_data + *len, sizeof(crc));
    return from_le32(crc) == meta_value_crc(key, v->mv_data, *len) ? 0 : -FIRN_E_CORRUPT;
}

static int value_get(MDB_txn *txn, MDB_dbi dbi, const struct meta_key *key, void *buf, uint32_t *len)
{
    MDB_val k = {.mv_size = key->len, .mv_data = (void *)(uintptr_t)key->b}, v;
    int rc = mdb_get(txn, dbi, &k, &v), err;

    if (rc != 0)
        return meta_lmdb_err(rc);
    err = value_check(key, &v, len);
    if (!err)
        memcpy(buf, v.mv_data, *len);
    return err;
}

/* ---- commits ---- */

static int apply_op(struct meta_lmdb *m, MDB_txn *txn, const struct meta_op *op)
{
    MDB_val k = {.mv_size = op->key.len, .mv_data = (void *)(uintptr_t)op->key.b};
    int rc;

    assert(op->key.len > 0 && op->key.len <= META_KEY_MAX && op->value_len <= META_VALUE_MAX);
    assert(op->key.len != 1 || op->key.b[0] != 0);
    if (op->value != NULL)
        return value_put(txn, m->dbi, &op->key, op->value, op->value_len);
    rc = mdb_del(txn, m->dbi, &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* All batches of the list in one transaction. An MDB error; nothing of it is there unless 0. */
static int apply_once(struct meta_lmdb *m, struct list *batches, uint64_t *commit_no)
{
    struct meta_key ck = meta_lmdb_commit_key();
    MDB_txn *txn;
    le64 no;
    int rc = mdb_txn_begin(m->env, NULL, 0, &txn);

    if (rc != 0)
        return rc;
    *commit_no = atomic_load(&m->commit_no);
    list_for_each(n, batches) {
        struct meta_batch *b = list_entry(n, struct meta_batch, priv.node);

        for (uint32_t i = 0; i < b->nr && rc == 0; i++)
            rc = apply_op(m, txn, &b->ops[i]);
        b->commit_no = ++*commit_no;
    }
    no = to_le64(*commit_no);
    if (rc == 0)
        rc = value_put(txn, m->dbi, &ck, &no, sizeof(no));
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

/* Only between transactions. False: the map is as large as it may be. */
static bool map_grow(struct meta_lmdb *m)
{
    uint64_t want = m->map_bytes + MAX(m->map_bytes / 4, MAP_GROWTH_MIN);
    int rc;

    if (want > MAP_BYTES_MAX)
        return false;
    want = ROUND_UP(want, MIB);
    rc = mdb_env_set_mapsize(m->env, want);
    if (rc != 0) {
        log_error("metadata map cannot grow", "path=\"%s\" bytes=%llu error=\"%s\"", m->path, (unsigned long long)want,
                  mdb_strerror(rc));
        return false;
    }
    log_info("metadata map grown", "path=\"%s\" bytes=%llu", m->path, (unsigned long long)want);
    m->map_bytes = want;
    return true;
}

/* LMDB calls a write that was cut short EIO; the usual reason is a file system without room. */
static int commit_cause(const struct meta_lmdb *m, int rc)
{
    struct statvfs fs;

    if (rc == EIO && statvfs(m->path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < MIB)
        return -ENOSPC;
    return meta_lmdb_err(rc);
}

static void commit_failed(struct meta_lmdb *m, int rc)
{
    int cause = commit_cause(m, rc);

    atomic_store(&m->cause, cause);
    log_error("metadata commit failed; no further commit is accepted", "path=\"%s\" error=\"%s\" do=\"%s %s, then restart firnd\"",
              m->path, cause == -FIRN_E_META ? mdb_strerror(rc) : err_text(cause),
              cause == -ENOSPC || cause == -EDQUOT ? "make room in" : "repair what holds", m->path);
}

static int apply(struct meta_lmdb *m, struct list *batches)
{
    uint64_t commit_no = 0;
    int rc;

    pthread_mutex_lock(&m->env_lock);
    assert(m->readers == 0);
    if (atomic_load(&m->cause) == 0) {
        do
            rc = apply_once(m, batches, &commit_no);
        while (rc == MDB_MAP_FULL && map_grow(m));
        if (rc == 0)
            atomic_store(&m->commit_no, commit_no);
        else
            commit_failed(m, rc);
    }
    rc = atomic_load(&m->cause) != 0 ? -FIRN_E_META : 0;
    pthread_mutex_unlock(&m->env_lock);
    return rc;
}

static void batch_answer(struct env_task *task)
{
    struct meta_batch *b = container_of(task, struct meta_batch, priv.task);

    b->cb(b);
}

static void run_batches(struct meta_lmdb *m, struct list *batches)
{
    struct list *n;
    int err;

    if (list_empty(batches))
        return;
    err = apply(m, batches);
    while ((n = list_pop_front(batches)) != NULL) {
        struct meta_batch *b = list_entry(n, struct meta_batch, priv.node);

        b->err = err;
        trace(TRACE_META_COMMIT, b->commit_no, b->nr, (uint64_t)(int64_t)err);
        env_post(b->env, &b->priv.task);
    }
}

/* ---- gets ---- */

int meta_lmdb_get_sync(struct meta *meta, const struct meta_key *key, void *buf, uint32_t *len)
{
    struct meta_lmdb *m = meta_lmdb_of(meta);
    MDB_txn *txn;
    int err;

    pthread_mutex_lock(&m->env_lock);
    err = meta_lmdb_err(mdb_txn_begin(m->env, NULL, MDB_RDONLY, &txn));
    if (!err) {
        err = value_get(txn, m->dbi, key, buf, len);
        mdb_txn_abort(txn);
    }
    pthread_mutex_unlock(&m->env_lock);
    return err;
}

static void get_answer(struct env_task *task)
{
    struct meta_get_req *r = container_of(task, struct meta_get_req, priv.task);

    r->cb(r);
}

static void run_gets(struct meta_lmdb *m, struct list *gets)
{
    struct list *n;

    while ((n = list_pop_front(gets)) != NULL) {
        struct meta_get_req *r = list_entry(n, struct meta_get_req, priv.node);

        r->err = meta_lmdb_get_sync(&m->meta, &r->key, r->buf, &r->len);
        env_post(r->env, &r->priv.task);
    }
}

/* ---- the thread ---- */

void *meta_lmdb_thread(void *arg)
{
    struct meta_lmdb *m = arg;
    struct list batches, gets;
    bool stop = false;

    list_init(&batches);
    list_init(&gets);
    while (!stop) {
        pthread_mutex_lock(&m->queue_lock);
        while (list_empty(&m->batches) && list_empty(&m->gets) && !m->stopping)
            pthread_cond_wait(&m->wake, &m->queue_lock);
        list_splice_back(&batches, &m->batches);
        list_splice_back(&gets, &m->gets);
        stop = m->stopping && list_empty(&batches) && list_empty(&gets);
        pthread_mutex_unlock(&m->queue_lock);
        run_batches(m, &batches);
        run_gets(m, &gets);
    }
    return NULL;
}

static void enqueue(struct meta_lmdb *m, struct list *queue, struct list *node)
{
    pthread_mutex_lock(&m->queue_lock);
    assert(!m->stopping);
    list_push_back(queue, node);
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->queue_lock);
}

static void meta_lmdb_commit(struct meta *meta, struct meta_batch *b)
{
    struct meta_lmdb *m = meta_lmdb_of(meta);

    assert(b->cb != NULL && b->env != NULL);
    b->priv.task = (struct env_task){.fn = batch_answer};
    b->err = 0;
    enqueue(m, &m->batches, &b->priv.node);
}

static void meta_lmdb_get(struct meta *meta, struct meta_get_req *r)
{
    struct meta_lmdb *m = meta_lmdb_of(meta);

    assert(r->cb != NULL && r->env != NULL);
    r->priv.task = (struct env_task){.fn = get_answer};
    enqueue(m, &m->gets, &r->priv.node);
}

/* ---- sync forms ---- */

static int meta_lmdb_commit_sync(struct meta *meta, const struct meta_op *ops, uint32_t nr)
{
    struct meta_batch b = {.ops = ops, .nr = nr};
    struct list one;

    if (meta_lmdb_of(meta)->read_only)
        return -FIRN_E_READ_ONLY;
    list_init(&one);
    list_push_back(&one, &b.priv.node);
    return apply(meta_lmdb_of(meta), &one);
}

static bool has_prefix(const MDB_val *k, const struct meta_key *prefix)
{
    return k->mv_size >= prefix->len && memcmp(k->mv_data, prefix->b, prefix->len) == 0;
}

static int scan_cursor(MDB_cursor *c, const struct meta_key *prefix,
                       int (*fn)(void *ctx, const struct meta_key *key, const void *value, uint32_t len), void *ctx)
{
    MDB_val k = {.mv_size = prefix->len, .mv_data = (void *)(uintptr_t)prefix->b}, v;
    int rc = mdb_cursor_get(c, &k, &v, prefix->len > 0 ? MDB_SET_RANGE : MDB_FIRST), err = 0;

    for (; rc == 0 && err == 0 && has_prefix(&k, prefix); rc = err ? 0 : mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        struct meta_key key = {.len = (uint8_t)MIN(k.mv_size, META_KEY_MAX)};
        uint32_t len = 0;

        memcpy(key.b, k.mv_data, key.len);
        if (k.mv_size > META_KEY_MAX)
            return -FIRN_E_CORRUPT;
        if (key.len == 1 && key.b[0] == 0)
            continue;
        if (value_check(&key, &v, &len) != 0)
            err = fn(ctx, &key, NULL, 0);
        else
            err = fn(ctx, &key, v.mv_data, len);
    }
    if (err)
        return err;
    return rc == 0 || rc == MDB_NOTFOUND ? 0 : meta_lmdb_err(rc);
}

static int meta_lmdb_scan_sync(struct meta *meta, const struct meta_key *prefix,
                               int (*fn)(void *ctx, const struct meta_key *key, const void *value, uint32_t len), void *ctx)
{
    struct meta_lmdb *m = meta_lmdb_of(meta);
    MDB_cursor *c;
    MDB_txn *txn;
    int err;

    pthread_mutex_lock(&m->env_lock);
    err = meta_lmdb_err(mdb_txn_begin(m->env, NULL, MDB_RDONLY, &txn));
    if (!err) {
        m->readers++;
        err = meta_lmdb_err(mdb_cursor_open(txn, m->dbi, &c));
        if (!err) {
            err = scan_cursor(c, prefix, fn, ctx);
            mdb_cursor_close(c);
        }
        mdb_txn_abort(txn);
        m->readers--;
    }
    pthread_mutex_unlock(&m->env_lock);
    return err;
}

static uint64_t meta_lmdb_commit_no(const struct meta *meta) { return atomic_load(&meta_lmdb_of(meta)->commit_no); }

static int meta_lmdb_failed(const struct meta *meta) { return atomic_load(&meta_lmdb_of(meta)->cause); }

/* Durable with the first batch that takes its number from here. */
static void meta_lmdb_number_from(struct meta *meta, uint64_t commit_no)
{
    struct meta_lmdb *m = meta_lmdb_of(meta);

    atomic_store(&m->commit_no, MAX(atomic_load(&m->commit_no), commit_no));
}

const struct meta_ops meta_lmdb_ops = {
    .name = "lmdb",
    .commit = meta_lmdb_commit,
    .get = meta_lmdb_get,
    .get_sync = meta_lmdb_get_sync,
    .commit_sync = meta_lmdb_commit_sync,
    .scan_sync = meta_lmdb_scan_sync,
    .commit_no = meta_lmdb_commit_no,
    .failed = meta_lmdb_failed,
    .number_from = meta_lmdb_number_from,
    .close = meta_lmdb_close,
};
