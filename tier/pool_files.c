/* SPDX-License-Identifier: Apache-2.0 */
/* pool_files.c: devices that are files: --format makes them, as long as configured.
 *
 * 1. The survey asks pool_file_possible() for each that is to be made. 2. pool_file_make() makes it and says so.
 * 3. Of a format that fails nothing stays behind: pool_files_unmake().
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

int pool_file_make(const struct tier_dev_opts *o, bool force, bool *made, char why[static 256])
{
    char quoted[LOG_QUOTED_BYTES];
    struct stat st;
    int fd, err = 0;

    if (stat(o->path, &st) == 0 && (!S_ISREG(st.st_mode) || (st.st_size != 0 && !force)))
        return 0;
    if (pool_file_to_make(o->path))
        err = file_wanted(o, why);
    if (err)
        return err;
    fd = open_or_make(o->path, made);
    if (fd < 0 || fstat(fd, &st) != 0)
        err = -errno;
    if (!err && (uint64_t)st.st_size < o->size_bytes && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (ftruncate(fd, (off_t)o->size_bytes) != 0 || fsync(fd) != 0)
            err = -errno;
        else
            log_info("file made", "path=%s bytes=%llu", log_quoted(o->path, quoted), (unsigned long long)o->size_bytes);
    }
    if (fd >= 0)
        close(fd);
    if (err)
        snprintf(why, 256, "file \"%.150s\" cannot be made: %s", o->path, err_text(err));
    return err;
}

void pool_files_unmake(const struct pool_devs *p)
{
    char quoted[LOG_QUOTED_BYTES];

    for (uint32_t i = 0; i < p->nr; i++)
        if (p->dev[i].made && unlink(p->dev[i].opts.path) == 0)
            log_info("file removed, as the format failed", "path=%s", log_quoted(p->dev[i].opts.path, quoted));
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
