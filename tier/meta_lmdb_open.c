/* SPDX-License-Identifier: Apache-2.0 */
/* meta_lmdb_open.c: the metadata store is opened, and closed.
 *
 * 1. The directory is locked: one process has it. 2. The tree is walked page by page (meta_walk.c), so that LMDB never meets a rotten one.
 * 3. LMDB opens it, the number of the last batch is read, the meta thread begins.
 * Failures: each says what and where; half an environment that was to be made is taken away again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "tier/meta_lmdb.h"

#define MAP_BYTES_DEFAULT GIB

void meta_lmdb_close(struct meta *meta)
{
    struct meta_lmdb *m = meta_lmdb_of(meta);

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
    struct meta_key key = meta_lmdb_commit_key();
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
    err = meta_lmdb_err(rc);
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
        err = -pthread_create(&m->thread, NULL, meta_lmdb_thread, m);
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
