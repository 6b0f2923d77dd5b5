/* SPDX-License-Identifier: Apache-2.0 */
/* pool_files.c: devices that are files: --format makes them, as long as configured.
 *
 * 1. The survey asks pool_file_possible() for each that is to be made. 2. pool_file_make() makes it, takes its lock, and says so.
 * 3. Of a format that fails nothing stays behind: pool_files_unmake().
 * Between a name and its lock another process may take the file: it is that process's then, whoever made the name.
 * Failures: no size, no such directory, or a path under /dev, where a file would hide that a device's path is mistyped.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "tier/pool.h"

bool pool_file_empty(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

bool pool_file_to_make(const char *path)
{
    return pool_file_empty(path) || (access(path, F_OK) != 0 && errno == ENOENT);
}

static void dir_of(const char *path, char dir[static 256])
{
    char *slash;

    snprintf(dir, 256, "%s", path);
    slash = strrchr(dir, '/');
    if (slash != NULL)
        slash[slash == dir] = '\0';
    else
        snprintf(dir, 256, ".");
}

/* A file under /dev is memory, gone with the next boot: what is missing there is a device, or its path is mistyped. */
static bool under_dev(const char *path)
{
    char dir[256], real[PATH_MAX];

    dir_of(path, dir);
    if (realpath(dir, real) == NULL)
        snprintf(real, sizeof(real), "%s", dir);
    return strcmp(real, "/dev") == 0 || strncmp(real, "/dev/", 5) == 0;
}

/* Something is to be made at that path: does the configuration want that? */
static int file_wanted(const struct tier_dev_opts *o, char why[static 256])
{
    bool missing = access(o->path, F_OK) != 0;

    if (under_dev(o->path)) {
        snprintf(why, 256, "%s device \"%.150s\" is %s; no file is made under /dev: correct the path", pool_role_name(o->role), o->path,
                 missing ? "missing" : "an empty file");
        return -FIRN_E_MISSING;
    }
    if (missing && o->size_bytes == 0) {
        snprintf(why, 256, "%s device \"%.150s\" is missing; to make a file, give it a size", pool_role_name(o->role), o->path);
        return -FIRN_E_MISSING;
    }
    return 0;
}

/* A name that nobody had is this format's own, and may be taken back; any other may not. */
static int open_or_make(const char *path, bool *made)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    *made = fd >= 0;
    return fd >= 0 || errno != EEXIST ? fd : open(path, O_RDWR | O_CLOEXEC);
}

bool pool_file_is(const char *path, int fd)
{
    struct stat st, named;

    return fstat(fd, &st) == 0 && stat(path, &named) == 0 && st.st_dev == named.st_dev && st.st_ino == named.st_ino;
}

/* The file is locked. */
static int lengthen(const struct tier_dev_opts *o, int fd)
{
    char quoted[LOG_QUOTED_BYTES];
    struct stat st;

    if (fstat(fd, &st) != 0)
        return -errno;
    if ((uint64_t)st.st_size >= o->size_bytes)
        return 0;
    if (ftruncate(fd, (off_t)o->size_bytes) != 0 || fsync(fd) != 0)
        return -errno;
    log_info("file made", "path=%s bytes=%llu", log_quoted(o->path, quoted), (unsigned long long)o->size_bytes);
    return 0;
}

int pool_file_make(struct pool_dev *d, bool force, char why[static 256])
{
    const struct tier_dev_opts *o = &d->opts;
    struct stat st;
    bool made;
    int err = 0;

    if (stat(o->path, &st) == 0 && (!S_ISREG(st.st_mode) || (st.st_size != 0 && !force)))
        return 0;
    if (pool_file_to_make(o->path))
        err = file_wanted(o, why);
    if (err)
        return err;
    d->lock_fd = open_or_make(o->path, &made);
    if (d->lock_fd < 0)
        err = -errno;
    else
        err = pool_file_lock(d, why);
    if (err == -FIRN_E_BUSY)
        return err;
    d->made = !err && made && fstat(d->lock_fd, &st) == 0 && st.st_size == 0; /* with bytes: another had it before the lock */
    if (!err)
        err = lengthen(o, d->lock_fd);
    if (err)
        snprintf(why, 256, "file \"%.150s\" cannot be made: %s", o->path, err_text(err));
    return err;
}

void pool_files_unmake(const struct pool_devs *p)
{
    char quoted[LOG_QUOTED_BYTES];

    for (uint32_t i = p->nr; i-- > 0;) { /* the journal last: as they were made, backwards */
        const struct pool_dev *d = &p->dev[i];

        if (d->made && d->lock_fd >= 0 && pool_file_is(d->opts.path, d->lock_fd) && unlink(d->opts.path) == 0)
            log_info("file removed, as the format failed", "path=%s", log_quoted(d->opts.path, quoted));
    }
}

int pool_files_cut(const struct pool_devs *p, char why[static 256])
{
    for (uint32_t i = 0; i < p->nr; i++) {
        const struct pool_dev *d = &p->dev[i];
        struct stat st;

        if (d->lock_fd < 0 || d->opts.size_bytes == 0 || fstat(d->lock_fd, &st) != 0 || !S_ISREG(st.st_mode) ||
            (uint64_t)st.st_size <= d->opts.size_bytes)
            continue;
        if (ftruncate(d->lock_fd, (off_t)d->opts.size_bytes) != 0) {
            int err = -errno;

            snprintf(why, 256, "file \"%.150s\" cannot be cut: %s", d->opts.path, err_text(err));
            return err;
        }
    }
    return 0;
}

int pool_file_possible(const struct tier_dev_opts *o, char why[static 256])
{
    char dir[256];

    if (file_wanted(o, why) != 0)
        return -FIRN_E_MISSING;
    dir_of(o->path, dir);
    if (access(dir, W_OK) == 0)
        return 0;
    snprintf(why, 256, "%s device \"%.120s\": no file can be made there: %s", pool_role_name(o->role), o->path, err_text(-errno));
    return -FIRN_E_MISSING;
}
