/* SPDX-License-Identifier: Apache-2.0 */
/* embedded.c: see embedded.h. A file named "formatting" lies in DIR while the first format runs; a crash leaves it there, and
 * the next start formats again: nothing had been served from those files. A pool without the mark is never overwritten; nor
 * is one with it that shows any sign of use (tier/pool_remains.c), whatever left the mark.
 * Two first starts at once: the lock of DIR itself decides who looks and marks; the other one leaves.
 */
#include "daemon/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/err.h"
#include "daemon/node_priv.h"

#define JOURNAL_BYTES  GIB
#define CAPACITY_BYTES (64 * GIB)
#define SHARE_SEGMENTS 64u                /* of the log, for each reactor */
#define SEGMENT_BYTES_USUAL (16 * MIB)    /* what a log of this size or more is cut into without a word */
#define TMPFS_MAGIC    0x01021994
#define MARK           "formatting"

static int set(struct config *c, enum config_key key, const char *dir, const char *name, char why[static 256])
{
    char path[CONFIG_TEXT_MAX + 32];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return config_set_text(c, key, path, why);
}

/* What keeps this process out of DIR, and the way in; an absent file is another thing. */
static int kept_out(const char *dir, int err, const char *what, char why[static 256])
{
    if (err == -ENOTDIR)
        snprintf(why, 256, "%.180s is not a directory", dir);
    else if (err == -EACCES || err == -EPERM)
        snprintf(why, 256, "%.120s cannot be %s as uid %u: %.40s; run it as the user that owns it", dir, what, (unsigned)geteuid(),
                 err_text(err));
    else
        snprintf(why, 256, "%.150s cannot be %s: %.60s", dir, what, err_text(err));
    return err;
}

static int look_for(const char *dir, const char *name, bool *there, char why[static 256])
{
    char path[CONFIG_TEXT_MAX + 32];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    *there = stat(path, &st) == 0;
    return *there || errno == ENOENT ? 0 : kept_out(dir, -errno, "read", why);
}

static int find_state(const char *dir, enum embedded_state *state, char why[static 256])
{
    bool marked = false, journal = false;
    int err = look_for(dir, MARK, &marked, why);

    if (!err)
        err = look_for(dir, "journal", &journal, why);
    *state = marked ? EMBEDDED_UNFINISHED : journal ? EMBEDDED_POOL : EMBEDDED_EMPTY;
    return err;
}

/* tmpfs has no O_DIRECT. */
static bool needs_buffering(const char *dir)
{
    struct statfs fs;

    return statfs(dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* The directory's name from the root; one that is only looked at need not be there. The caller frees it. */
static char *resolve(const char *dir, bool make)
{
    char *real = realpath(dir, NULL);

    return real || make || errno != ENOENT ? real : strdup(dir);
}

int embedded_config(const char *dir, bool make, uint64_t journal_bytes, uint64_t capacity_bytes, struct config *c,
                    enum embedded_state *state, char why[static 256])
{
    char *real;
    int err;

    if (make && mkdir(dir, 0700) != 0 && errno != EEXIST)
        return kept_out(dir, -errno, "made", why);
    real = resolve(dir, make);
    if (!real || strlen(real) > 180) {
        err = kept_out(dir, real ? -ENAMETOOLONG : -errno, "read", why);
        free(real);
        return err;
    }
    err = find_state(real, state, why);
    if (err) {
        free(real);
        return err;
    }
    config_defaults(c);
    c->has_pool = true;
    err = set(c, CONFIG_KEY_journal_path, real, "journal", why);
    if (!err)
        err = set(c, CONFIG_KEY_pool_metadata, real, "meta", why);
    if (!err && strlen(real) <= 96)
        err = set(c, CONFIG_KEY_api_unix, real, "firnd.sock", why);
    if (!err && strlen(real) > 96) {
        err = -ENAMETOOLONG;
        snprintf(why, 256, "%.180s: too long for a unix socket in it", real);
    }
    config_num(c, journal_size) = journal_bytes ? journal_bytes : JOURNAL_BYTES;
    c->nr_capacity = 1;
    snprintf(c->capacity[0].path, sizeof(c->capacity[0].path), "%s/capacity", real);
    c->capacity[0].size_bytes = capacity_bytes ? capacity_bytes : CAPACITY_BYTES;
    snprintf(config_text(c, export_listen), CONFIG_TEXT_MAX, "127.0.0.1");
    config_text(c, api_listen)[0] = '\0';
    config_num(c, pool_buffered) = needs_buffering(real);
    if (*state == EMBEDDED_POOL) /* its files are what they were made */
        config_num(c, journal_size) = c->capacity[0].size_bytes = 0;
    free(real);
    return err;
}

/* What reclaim keeps free and what is open is some segments a shard, whatever their size: of few segments it would be most. */
void embedded_segments(struct config *c)
{
    uint64_t by_share = config_num(c, journal_size) / SHARE_SEGMENTS / reactors_wanted(c, false);

    if (by_share < SEGMENT_BYTES_USUAL)
        config_num(c, journal_segment_size) = MAX(ROUND_DOWN(by_share, MIB), 4 * MIB);
}

int embedded_lock(const char *dir, int *fd, enum embedded_state *state, char why[static 256])
{
    int err = 0;

    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return kept_out(dir, -errno, "read", why);
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        err = errno == EWOULDBLOCK ? -FIRN_E_BUSY : -errno;
        snprintf(why, 256, "%.150s is in use by another process: a pool is being made in it", dir);
    }
    if (!err)
        err = find_state(dir, state, why);
    if (err)
        close(*fd);
    return err;
}

int embedded_mark(const char *dir, bool formatting, char why[static 256])
{
    char path[CONFIG_TEXT_MAX + 32];
    int fd, err = 0;

    snprintf(path, sizeof(path), "%.240s/%s", dir, MARK);
    if (formatting) {
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0 || close(fd) != 0)
            err = -errno;
    } else if (unlink(path) != 0 && errno != ENOENT) {
        err = -errno;
    }
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!err && (fd < 0 || fsync(fd) != 0))
        err = -errno;
    if (fd >= 0)
        close(fd);
    return err ? kept_out(dir, err, "written", why) : 0;
}
