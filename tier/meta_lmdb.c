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
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "rt/trace.h"
#include "tier/format.h"
#include "tier/meta.h"

#define MAP_BYTES_DEFAULT GIB
#define MAP_BYTES_MAX     (UINT64_C(1) << 45) /* address space, not memory */
#define MAP_GROWTH_MIN    (64 * MIB)

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

static struct meta_lmdb *of(const struct meta *m)
{
    return (struct meta_lmdb *)(uintptr_t)((const char *)m - offsetof(struct meta_lmdb, meta));
}

/* The one key that is LMDB's glue and no record of tier/: the number of the last committed batch. */
static struct meta_key commit_key(void) { return (struct meta_key){.len = 1}; }

static int mdb_err(int rc)
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
        return mdb_err(rc);
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
    struct meta_key ck = commit_key();
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
    return mdb_err(rc);
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

static int meta_lmdb_get_sync(struct meta *meta, const struct meta_key *key, void *buf, uint32_t *len)
{
    struct meta_lmdb *m = of(meta);
    MDB_txn *txn;
    int err;

    pthread_mutex_lock(&m->env_lock);
    err = mdb_err(mdb_txn_begin(m->env, NULL, MDB_RDONLY, &txn));
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

static void *meta_thread(void *arg)
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
    struct meta_lmdb *m = of(meta);

    assert(b->cb != NULL && b->env != NULL);
    b->priv.task = (struct env_task){.fn = batch_answer};
    b->err = 0;
    enqueue(m, &m->batches, &b->priv.node);
}

static void meta_lmdb_get(struct meta *meta, struct meta_get_req *r)
{
    struct meta_lmdb *m = of(meta);

    assert(r->cb != NULL && r->env != NULL);
    r->priv.task = (struct env_task){.fn = get_answer};
    enqueue(m, &m->gets, &r->priv.node);
}

/* ---- sync forms ---- */

static int meta_lmdb_commit_sync(struct meta *meta, const struct meta_op *ops, uint32_t nr)
{
    struct meta_batch b = {.ops = ops, .nr = nr};
    struct list one;

    if (of(meta)->read_only)
        return -FIRN_E_READ_ONLY;
    list_init(&one);
    list_push_back(&one, &b.priv.node);
    return apply(of(meta), &one);
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
    return rc == 0 || rc == MDB_NOTFOUND ? 0 : mdb_err(rc);
}

static int meta_lmdb_scan_sync(struct meta *meta, const struct meta_key *prefix,
                               int (*fn)(void *ctx, const struct meta_key *key, const void *value, uint32_t len), void *ctx)
{
    struct meta_lmdb *m = of(meta);
    MDB_cursor *c;
    MDB_txn *txn;
    int err;

    pthread_mutex_lock(&m->env_lock);
    err = mdb_err(mdb_txn_begin(m->env, NULL, MDB_RDONLY, &txn));
    if (!err) {
        m->readers++;
        err = mdb_err(mdb_cursor_open(txn, m->dbi, &c));
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

static uint64_t meta_lmdb_commit_no(const struct meta *meta) { return atomic_load(&of(meta)->commit_no); }

static int meta_lmdb_failed(const struct meta *meta) { return atomic_load(&of(meta)->cause); }

/* Durable with the first batch that takes its number from here. */
static void meta_lmdb_number_from(struct meta *meta, uint64_t commit_no)
{
    struct meta_lmdb *m = of(meta);

    atomic_store(&m->commit_no, MAX(atomic_load(&m->commit_no), commit_no));
}

/* ---- open and close ---- */

static void meta_lmdb_close(struct meta *meta)
{
    struct meta_lmdb *m = of(meta);

    if (m->started) {
        pthread_mutex_lock(&m->queue_lock);
        m->stopping = true;
        pthread_cond_signal(&m->wake);
        pthread_mutex_unlock(&m->queue_lock);
        pthread_join(m->thread, NULL);
    }
    if (m->env != NULL)
        mdb_env_close(m->env);
    if (m->lock_fd >= 0)
        close(m->lock_fd);
    pthread_mutex_destroy(&m->env_lock);
    pthread_mutex_destroy(&m->queue_lock);
    pthread_cond_destroy(&m->wake);
    free(m);
}

static const struct meta_ops meta_lmdb_ops = {
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

/* The directory itself is the lock: it is there whoever made it, and nothing is written to take it. */
static int dir_lock(struct meta_lmdb *m, const struct meta_lmdb_opts *opts, char why[static 256])
{
    if (opts->create && mkdir(m->path, 0700) != 0 && errno != EEXIST) {
        int err = -errno;

        snprintf(why, 256, "metadata directory \"%.150s\" cannot be made: %s", m->path, err_text(err));
        return err;
    }
    m->lock_fd = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->lock_fd < 0) {
        int err = -errno;

        snprintf(why, 256, "metadata directory \"%.150s\" cannot be opened: %s", m->path, err_text(err));
        return err == -ENOENT ? -FIRN_E_MISSING : err;
    }
    if (flock(m->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        snprintf(why, 256, "metadata directory \"%.150s\" is in use by another process", m->path);
        return -FIRN_E_BUSY;
    }
    return 0;
}

/* A file without a byte is what a format leaves that was cut short as it began: as good as none. */
static bool has_no_byte(const struct meta_lmdb *m)
{
    char file[512];
    struct stat st;

    snprintf(file, sizeof(file), "%s/data.mdb", m->path);
    return stat(file, &st) == 0 && st.st_size == 0;
}

static bool has_none(const struct meta_lmdb *m)
{
    char file[512];

    snprintf(file, sizeof(file), "%s/data.mdb", m->path);
    return (access(file, F_OK) != 0 && errno == ENOENT) || has_no_byte(m);
}

/* Half an environment would be in the way of the next that is to be made. The directory is locked. */
static void take_away(const struct meta_lmdb *m)
{
    char file[512];

    snprintf(file, sizeof(file), "%s/data.mdb", m->path);
    if (unlink(file) != 0 && errno != ENOENT)
        log_warn("a file that could not be made whole stays", "path=\"%s\" why=\"%s\"", file, err_text(errno));
}

/* Damage of single records is theirs alone; damage of the tree stops here, before LMDB could trip over it. */
static int walk_before_open(struct meta_lmdb *m, const struct meta_lmdb_opts *opts, char why[static 256])
{
    struct meta_walk w = {0};
    char text[256] = "";
    int err = opts->create && has_no_byte(m) ? -ENOENT : meta_lmdb_walk(m->path, &w, text);

    if (err == -ENOENT && opts->create)
        return 0;
    if (!err && opts->create && w.records > 0) {
        snprintf(why, 256, "metadata directory \"%.150s\" holds a pool already", m->path);
        return -FIRN_E_EXISTS;
    }
    if (err)
        snprintf(why, 256, "%.140s; path \"%.100s\"", text, m->path);
    else if (w.bad_records > 0)
        log_error("metadata records fail their checksum", "path=\"%s\" records=%llu", m->path,
                  (unsigned long long)w.bad_records);
    return err == -ENOENT ? -FIRN_E_MISSING : err;
}

static int env_open(struct meta_lmdb *m, const struct meta_lmdb_opts *opts)
{
    unsigned flags = MDB_NOTLS | MDB_NOLOCK | (opts->read_only ? MDB_RDONLY : 0u);
    MDB_envinfo info;
    MDB_txn *txn;
    int rc = mdb_env_create(&m->env);

    if (rc == 0)
        rc = mdb_env_set_mapsize(m->env, ROUND_UP(opts->map_bytes ? opts->map_bytes : MAP_BYTES_DEFAULT, 4096));
    if (rc == 0)
        rc = mdb_env_open(m->env, m->path, flags, 0600);
    if (rc == 0)
        rc = mdb_txn_begin(m->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, NULL, 0, &m->dbi);
    mdb_txn_abort(txn);
    mdb_env_info(m->env, &info);
    m->map_bytes = info.me_mapsize;
    return rc;
}

static int commit_no_load(struct meta_lmdb *m)
{
    uint8_t buf[META_VALUE_MAX];
    struct meta_key key = commit_key();
    uint32_t len = 0;
    le64 no;
    int err = meta_lmdb_get_sync(&m->meta, &key, buf, &len);

    if (err == -FIRN_E_NOT_FOUND)
        return 0;
    if (err || len != sizeof(no))
        return err ? err : -FIRN_E_CORRUPT;
    memcpy(&no, buf, sizeof(no));
    if (from_le64(no) > NUMBER_START_MAX)
        return -FIRN_E_CORRUPT;
    atomic_store(&m->commit_no, from_le64(no));
    return 0;
}

static struct meta_lmdb *meta_lmdb_new(const char *path, bool read_only)
{
    struct meta_lmdb *m = calloc(1, sizeof(*m));
    pthread_mutexattr_t attr;

    if (m == NULL)
        return NULL;
    m->meta.ops = &meta_lmdb_ops;
    m->lock_fd = -1;
    m->read_only = read_only;
    snprintf(m->path, sizeof(m->path), "%s", path);
    list_init(&m->batches);
    list_init(&m->gets);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&m->env_lock, &attr);
    pthread_mutexattr_destroy(&attr);
    pthread_mutex_init(&m->queue_lock, NULL);
    pthread_cond_init(&m->wake, NULL);
    return m;
}

int meta_lmdb_open(const char *path, const struct meta_lmdb_opts *opts, struct meta **out, char why[static 256])
{
    struct meta_lmdb *m = meta_lmdb_new(path, opts->read_only);
    bool fresh = false;
    int err, rc;

    why[0] = '\0';
    if (m == NULL)
        return -ENOMEM;
    err = dir_lock(m, opts, why);
    if (!err) {
        fresh = opts->create && has_none(m);
        err = walk_before_open(m, opts, why);
    }
    if (err)
        goto close_meta;
    rc = env_open(m, opts);
    err = mdb_err(rc);
    if (err) {
        snprintf(why, 256, "metadata \"%.150s\" cannot be opened: %.60s", path, mdb_strerror(rc));
        goto close_meta;
    }
    /* The new file's name must be as durable as the first batch in it. */
    if (opts->create && fsync(m->lock_fd) != 0)
        err = -errno;
    if (!err)
        err = commit_no_load(m);
    if (!err)
        err = -pthread_create(&m->thread, NULL, meta_thread, m);
    if (err) {
        snprintf(why, 256, "metadata \"%.150s\": %.80s", path, err_text(err));
        goto close_meta;
    }
    m->started = true;
    *out = &m->meta;
    return 0;

close_meta:
    if (fresh)
        take_away(m);
    meta_lmdb_close(&m->meta);
    return err;
}
