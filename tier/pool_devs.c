/* SPDX-License-Identifier: Apache-2.0 */
/* pool_devs.c: the devices of a pool: locking and opening them, and proving by their labels that they are the right ones.
 *
 * 1. Real devices are locked (flock; block devices also O_EXCL, which a mounted file system refuses).
 * 2. One handle on envs[0]; later one on every env that has shards.
 * 3. Labels: every device carries one, of this pool, in this role, at this place, of this size and generation.
 * Failures: each says which device, and what it is instead. Nothing is written until all devices have passed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "tier/pool.h"

const char *pool_role_name(enum tier_role role)
{
    switch (role) {
    case TIER_JOURNAL: return "journal";
    case TIER_CACHE: return "cache";
    case TIER_CAPACITY: return "capacity";
    }
    return "unknown";
}

/* ---- locks, handles ---- */

/* One device by two names: its lock would look like another server's. */
static int named_twice(const struct pool_devs *p, const struct pool_dev *d, char why[static 256])
{
    struct stat st, other;

    if (stat(d->opts.path, &st) != 0)
        return 0;
    for (const struct pool_dev *o = p->dev; o < d; o++) {
        bool same = stat(o->opts.path, &other) == 0 && (S_ISBLK(st.st_mode) ? S_ISBLK(other.st_mode) && st.st_rdev == other.st_rdev
                                                                            : st.st_dev == other.st_dev && st.st_ino == other.st_ino);

        if (same) {
            snprintf(why, 256, "\"%.110s\" and \"%.110s\" are one device", o->opts.path, d->opts.path);
            return -FIRN_E_INVALID;
        }
    }
    return 0;
}

/* What a format that failed removed meanwhile is locked by a handle alone: no longer the device. */
int pool_file_lock(const struct pool_dev *d, char why[static 256])
{
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0 && pool_file_is(d->opts.path, d->lock_fd))
        return 0;
    snprintf(why, 256, "%s device \"%.150s\" is in use by another process", pool_role_name(d->opts.role), d->opts.path);
    return -FIRN_E_BUSY;
}

static int dev_lock(struct pool_dev *d, char why[static 256])
{
    struct stat st;
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;

    if (d->lock_fd >= 0) /* as its file was made */
        return 0;
    if (stat(d->opts.path, &st) == 0 && S_ISBLK(st.st_mode))
        flags |= O_EXCL;
    d->lock_fd = open(d->opts.path, flags);
    if (d->lock_fd < 0) {
        int err = -errno;

        if (err == -EACCES || err == -EPERM)
            snprintf(why, 256, "%s device \"%.120s\" cannot be opened as uid %u: %s; run it as the user that owns it",
                     pool_role_name(d->opts.role), d->opts.path, (unsigned)geteuid(), err_text(err));
        else
            snprintf(why, 256, "%s device \"%.150s\" %s: %s", pool_role_name(d->opts.role), d->opts.path,
                     err == -EBUSY ? "is in use" : err == -ENOENT ? "is missing" : "cannot be opened", err_text(err));
        return err == -EBUSY ? -FIRN_E_BUSY : err == -ENOENT ? -FIRN_E_MISSING : err;
    }
    return pool_file_lock(d, why);
}

static int handle_open(const struct pool_devs *p, struct pool_dev *d, uint32_t env, bool read_only, char why[static 256])
{
    const struct tier_opts *o = p->opts;
    struct dev_open_opts open_opts = {.read_only = read_only, .buffered = o->buffered,
                                      .pmem = d->opts.role == TIER_JOURNAL && o->journal_pmem};
    int err;

    if (o->seams.dev_open != NULL)
        err = o->seams.dev_open(o->seams.ctx, o->envs[env], &d->opts, &open_opts, &d->on[env], why);
    else
        err = dev_open(o->envs[env], d->opts.path, &open_opts, &d->on[env], why);
    if (err == 0 && d->opts.media != TIER_MEDIA_ASK)
        d->on[env]->caps.rotational = d->opts.media == TIER_MEDIA_HDD;
    if (err == 0 && o->seams.dev_wrap != NULL) {
        err = o->seams.dev_wrap(o->seams.ctx, &d->opts, d->on[env], &d->on[env]);
        if (err != 0)
            snprintf(why, 256, "%s device \"%.150s\": %s", pool_role_name(d->opts.role), d->opts.path, err_text(err));
    }
    if (err == 0 && d->opts.role == TIER_CACHE) /* the pool can do without it: it does not wait for ever */
        d->on[env]->patience_ns = o->io_deadline_ns != 0 ? o->io_deadline_ns : 30 * NS_PER_S;
    return err;
}

/* A device that carries a label of a pool, other than d; NULL: none. Labels go on journal last (pool_format.c). */
static const struct pool_dev *labelled(const struct pool_devs *p, const struct pool_dev *d, struct label *out)
{
    struct label_copies copies;

    for (uint32_t i = 0; i < p->nr; i++)
        if (&p->dev[i] != d && p->dev[i].on[0] != NULL && label_read(p->dev[i].on[0], p->dev[i].bytes, out, &copies) == 0)
            return &p->dev[i];
    return NULL;
}

static uint32_t capacity_wanted(const struct tier_opts *o)
{
    uint32_t nr = 0;

    for (uint32_t i = 0; i < o->nr_devs; i++)
        nr += o->devs[i].role == TIER_CAPACITY;
    return nr;
}

/* What to do about a device that a pool does not know. */
static const char *misplaced(const struct pool_devs *p, const struct pool_dev *d, const struct label *other)
{
    if (d->opts.role == TIER_CACHE) /* labels do not count these: one too many, or the wrong one */
        return "firnd --add-cache takes in an empty one; else correct pool.cache";
    return other->nr_capacity < capacity_wanted(p->opts) ? "a device cannot be added to a pool yet: take it out of pool.capacity"
                                                         : "correct its path";
}

/* d carries no label. Where the others are a pool's, the advice to format would be the way to its end. */
static int say_unlabelled(const struct pool_devs *p, const struct pool_dev *d, char why[static 256])
{
    struct label l;
    const struct pool_dev *other = labelled(p, d, &l);

    if (other == NULL)
        return 0;
    if (d->opts.role == TIER_JOURNAL) {
        snprintf(why, 256, "journal device \"%.55s\" carries no Firn label, but \"%.55s\" does: correct pool.journal.path, unless a "
                 "format was cut short. A --format destroys that pool", d->opts.path, other->opts.path);
        return -FIRN_E_CORRUPT;
    }
    snprintf(why, 256, "this pool is formatted and \"%.80s\" does not belong to it; %s. Do not --format: that destroys the pool",
             d->opts.path, misplaced(p, d, &l));
    return -FIRN_E_FOREIGN;
}

static int say_empty_file(const struct pool_devs *p, const struct pool_dev *d, char why[static 256])
{
    int err = say_unlabelled(p, d, why);

    if (!err)
        snprintf(why, 256, "%s device \"%.150s\" is an empty file; was the pool formatted?", pool_role_name(d->opts.role), d->opts.path);
    return err ? err : -FIRN_E_MISSING;
}

/* A file of a few bytes is somebody's note, or a mistake; a label of a pool has never been on it. */
static int file_small(const char *role, const char *path, uint64_t min, char why[static 256])
{
    struct stat st;

    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size >= min)
        return 0;
    snprintf(why, 256, "%s device \"%.120s\" is %llu bytes, too small for a device (at least %llu)", role, path,
             (unsigned long long)st.st_size, (unsigned long long)min);
    return -FIRN_E_INVALID;
}

static int one_open(struct pool_devs *p, struct pool_dev *d, enum pool_access access, char why[static 256])
{
    bool real = p->opts->seams.dev_open == NULL;
    bool makes = access == POOL_FORMAT || (access == POOL_ADD && d->opts.role == TIER_CACHE && real && pool_file_to_make(d->opts.path));
    int err = 0;

    if (real && access == POOL_SURVEY && pool_file_to_make(d->opts.path))
        return pool_file_possible(&d->opts, why);
    if (real)
        err = named_twice(p, d, why);
    if (!err && real && makes)
        err = pool_file_make(d, p->opts->force, why);
    else if (!err && real && pool_file_empty(d->opts.path)) /* a format that was cut short between the name and the length */
        err = say_empty_file(p, d, why);
    if (!err && real && !(access == POOL_SURVEY && p->opts->force && d->opts.size_bytes != 0)) /* it will be lengthened */
        err = file_small(pool_role_name(d->opts.role), d->opts.path, access == POOL_READ ? LABEL_BYTES : 2 * LABEL_AREA_BYTES, why);
    if (!err && real)
        err = dev_lock(d, why);
    if (!err)
        err = handle_open(p, d, 0, access == POOL_READ || access == POOL_SURVEY, why);
    if (err)
        return err;
    d->bytes = d->on[0]->caps.size_bytes;
    if (d->opts.size_bytes != 0)
        d->bytes = MIN(d->bytes, d->opts.size_bytes);
    d->bytes = ROUND_DOWN(d->bytes, LABEL_BYTES);
    if ((access == POOL_FORMAT || access == POOL_ADD) && d->bytes < 2 * LABEL_AREA_BYTES) {
        snprintf(why, 256, "%s device \"%.120s\" is %llu bytes, too small for a device (at least %u)", pool_role_name(d->opts.role),
                 d->opts.path, (unsigned long long)d->bytes, 2 * LABEL_AREA_BYTES);
        return -FIRN_E_INVALID;
    }
    return 0;
}

/* A cache that names the journal's device is the journal's device: one log serves both. */
static bool is_journal_again(const struct tier_opts *o, uint32_t i)
{
    return o->devs[i].role == TIER_CACHE && strcmp(o->devs[i].path, o->devs[0].path) == 0;
}

static int options_check(const struct tier_opts *o, char why[static 256])
{
    const char *wrong = NULL;
    uint32_t nr_capacity = 0;

    if (o->nr_envs < 1 || o->nr_envs > REACTORS_MAX)
        wrong = "there must be between 1 and 64 reactors";
    else if (o->nr_devs < 2 || o->nr_devs > ARRAY_LEN(o->devs) || o->devs[0].role != TIER_JOURNAL)
        wrong = "a pool needs one journal and at least one capacity device";
    for (uint32_t i = 1; wrong == NULL && i < o->nr_devs; i++) {
        nr_capacity += o->devs[i].role == TIER_CAPACITY;
        if (o->devs[i].role == TIER_JOURNAL)
            wrong = "a pool has one journal";
        for (uint32_t k = 0; k < i && !is_journal_again(o, i); k++)
            if (strcmp(o->devs[k].path, o->devs[i].path) == 0)
                wrong = "a device is named twice";
    }
    if (wrong == NULL && (nr_capacity < 1 || nr_capacity > CAPACITY_DEVS_MAX))
        wrong = "a pool needs between 1 and 64 capacity devices";
    if (wrong != NULL)
        snprintf(why, 256, "%s", wrong);
    return wrong != NULL ? -FIRN_E_INVALID : 0;
}

int pool_devs_open(struct pool_devs *p, const struct tier_opts *opts, enum pool_access access, char why[static 256])
{
    uint16_t index[3] = {0};
    int err;

    memset(p, 0, sizeof(*p));
    p->opts = opts;
    why[0] = '\0';
    err = options_check(opts, why);
    for (uint32_t i = 0; i < opts->nr_devs && !err; i++) {
        struct pool_dev *d = &p->dev[p->nr];

        if (is_journal_again(opts, i))
            continue;
        d->lock_fd = -1;
        d->opts = opts->devs[i];
        d->index = index[d->opts.role]++;
        p->nr++;
        p->nr_capacity += d->opts.role == TIER_CAPACITY;
        err = one_open(p, d, access, why);
        if (d->opts.role == TIER_CACHE && (access == POOL_READ || access == POOL_WRITE) && pool_cache_absent(err)) {
            pool_cache_leave_out(d, why);
            err = 0;
        }
    }
    if (err) {
        pool_files_unmake(p);
        pool_devs_close(p);
    }
    return err;
}

void pool_devs_close(struct pool_devs *p)
{
    for (uint32_t i = 0; i < p->nr; i++) {
        for (uint32_t e = 0; e < REACTORS_MAX; e++)
            if (p->dev[i].on[e] != NULL)
                dev_close(p->dev[i].on[e]);
        if (p->dev[i].lock_fd >= 0)
            close(p->dev[i].lock_fd);
    }
    p->nr = 0;
}

int pool_devs_spread(struct pool_devs *p, uint32_t nr_envs, char why[static 256])
{
    int err = 0;

    for (uint32_t i = 0; i < p->nr; i++)
        for (uint32_t e = 1; e < nr_envs && !err; e++)
            if (!p->dev[i].missing)
                err = handle_open(p, &p->dev[i], e, false, why);
    return err;
}

/* ---- labels ---- */

static int label_error(const struct pool_devs *p, const struct pool_dev *d, int err, char why[static 256])
{
    const char *role = pool_role_name(d->opts.role);
    int known = err == -FIRN_E_NOT_FIRN ? say_unlabelled(p, d, why) : 0;

    if (known)
        return known;
    if (err == -FIRN_E_NOT_FIRN)
        snprintf(why, 256, "%s device \"%.150s\" carries no Firn label; was the pool formatted?", role, d->opts.path);
    else if (err == -FIRN_E_CORRUPT)
        snprintf(why, 256, "%s device \"%.150s\": all copies of its label are damaged", role, d->opts.path);
    else if (err == -FIRN_E_FORMAT_VERSION)
        snprintf(why, 256, "%s device \"%.150s\" was written by a newer Firn; nothing was changed", role, d->opts.path);
    else
        snprintf(why, 256, "%s device \"%.120s\": its label cannot be read: %.80s", role, d->opts.path, err_text(err));
    return err;
}

static PRINTF_LIKE(4, 5) int foreign(const struct pool_dev *d, int err, char why[static 256], const char *fmt, ...)
{
    char uuid[UUID_TEXT_CHARS + 1];
    va_list ap;
    int n = snprintf(why, 256, "%s device \"%.90s\" (%s) ", pool_role_name(d->opts.role), d->opts.path,
                     uuid_format(&d->label.device, uuid));

    va_start(ap, fmt);
    vsnprintf(why + n, 256 - (size_t)n, fmt, ap);
    va_end(ap);
    return err;
}

static int label_match(const struct pool_devs *p, const struct pool_dev *d, char why[static 256])
{
    const struct label *j = &p->dev[0].label, *l = &d->label;
    char uuid[UUID_TEXT_CHARS + 1];

    if (memcmp(&l->pool, &j->pool, sizeof(l->pool)) != 0)
        return foreign(d, -FIRN_E_FOREIGN, why, "belongs to pool %s (\"%.20s\"), not to the journal's", uuid_format(&l->pool, uuid),
                       l->pool_name);
    if (l->role != d->opts.role || (l->index != d->index && l->role != TIER_CACHE)) /* these may come and go */
        return foreign(d, -FIRN_E_FOREIGN, why, "is %s device %u of the pool, not %s device %u", pool_role_name(l->role),
                       l->index, pool_role_name(d->opts.role), d->index);
    if (l->device_bytes > d->bytes && d->opts.size_bytes != 0 && d->on[0]->caps.size_bytes >= l->device_bytes)
        return foreign(d, -FIRN_E_FOREIGN, why, "was formatted with %llu bytes, more than the size that is configured, and keeps "
                       "them: set size = %llu", (unsigned long long)l->device_bytes, (unsigned long long)l->device_bytes);
    if (l->device_bytes > d->bytes)
        return foreign(d, -FIRN_E_FOREIGN, why, "has %llu bytes of the %llu it was formatted with", (unsigned long long)d->bytes,
                       (unsigned long long)l->device_bytes);
    if (l->role == TIER_JOURNAL && l->seg_align < d->on[0]->caps.block_bytes) /* a copy of it, or its file system is another's */
        return foreign(d, -FIRN_E_INVALID, why, "has blocks of %u bytes, and the log on it places of %u: bring it to a device with blocks "
                       "of %u", d->on[0]->caps.block_bytes, l->seg_align, l->seg_align);
    if (l->role == TIER_CACHE)
        return l->nr_shards == j->nr_shards ? 0 : foreign(d, -FIRN_E_FOREIGN, why, "names %u shards, the journal %u", l->nr_shards,
                                                          j->nr_shards);
    if (l->nr_capacity > p->nr_capacity)
        return foreign(d, -FIRN_E_MISSING, why, "names %u capacity devices; %u are configured: put the others back into pool.capacity",
                       l->nr_capacity, p->nr_capacity);
    if (l->nr_capacity < p->nr_capacity || l->nr_shards != j->nr_shards)
        return foreign(d, -FIRN_E_FOREIGN, why, "names %u capacity devices and %u shards; %u are configured, the journal says %u",
                       l->nr_capacity, l->nr_shards, p->nr_capacity, j->nr_shards);
    if (p->opts->pool_name[0] != '\0' && strcmp(p->opts->pool_name, l->pool_name) != 0)
        return foreign(d, -FIRN_E_FOREIGN, why, "belongs to pool \"%.63s\"", l->pool_name);
    return 0;
}

/* A cache device may have been away: what it holds is judged block by block. */
static bool has_generation(const struct pool_dev *d) { return d->opts.role != TIER_CACHE; }

static uint64_t newest_generation(const struct pool_devs *p)
{
    uint64_t newest = 0;

    for (uint32_t i = 0; i < p->nr; i++)
        if (has_generation(&p->dev[i]))
            newest = MAX(newest, p->dev[i].label.generation);
    return newest;
}

bool pool_devs_old(const struct pool_devs *p)
{
    bool old = false;

    for (uint32_t i = 0; i < p->nr; i++)
        old |= has_generation(&p->dev[i]) && newest_generation(p) - p->dev[i].label.generation > 1;
    return old;
}

static int generations_match(const struct pool_devs *p, char why[static 256])
{
    uint64_t newest = newest_generation(p);

    for (uint32_t i = 0; i < p->nr; i++)
        if (has_generation(&p->dev[i]) && newest - p->dev[i].label.generation > 1 && !p->opts->accept_loss)
            return foreign(&p->dev[i], -FIRN_E_FOREIGN, why, "is an old copy: generation %llu, the pool is at %llu",
                           (unsigned long long)p->dev[i].label.generation, (unsigned long long)newest);
    return 0;
}

static int one_label_read(struct pool_devs *p, struct pool_dev *d, char why[static 256])
{
    int err = label_read(d->on[0], d->bytes, &d->label, &d->copies);

    /* The last copy lies at the end of what was formatted; the device may have grown since. */
    if (!err && d->label.device_bytes < d->bytes) {
        d->bytes = d->label.device_bytes;
        err = label_read(d->on[0], d->bytes, &d->label, &d->copies);
    }
    return err ? label_error(p, d, err, why) : 0;
}

int pool_labels_read(struct pool_devs *p, char why[static 256])
{
    for (uint32_t i = 0; i < p->nr; i++) {
        struct pool_dev *d = &p->dev[i];
        int err = d->missing || d->fresh ? 0 : one_label_read(p, d, why);

        if (d->opts.role == TIER_CACHE && pool_cache_absent(err)) {
            pool_cache_leave_out(d, why);
            err = 0;
        }
        if (err)
            return err;
    }
    for (uint32_t i = 0; i < p->nr; i++) {
        int err = p->dev[i].missing || p->dev[i].fresh ? 0 : label_match(p, &p->dev[i], why);

        if (err)
            return err;
    }
    return generations_match(p, why);
}

/* Writes every label anew, at this generation, and flushes it. A cache device that does not take it is found out when it is used. */
static int labels_write(struct pool_devs *p, uint64_t generation, char why[static 256])
{
    for (uint32_t i = 0; i < p->nr; i++) {
        struct pool_dev *d = &p->dev[i];
        int err;

        if (d->missing)
            continue;
        d->label.generation = generation;
        d->label.nr_capacity = p->dev[0].label.nr_capacity;
        err = label_write(d->on[0], d->bytes, &d->label, d->copies.stale);
        d->copies.stale = err ? d->copies.stale : 0;
        if (err && (d->opts.role != TIER_CACHE || err == -FIRN_E_STOPPED)) {
            snprintf(why, 256, "%s device \"%.120s\": its label cannot be written: %.80s", pool_role_name(d->opts.role),
                     d->opts.path, err_text(err));
            return err;
        }
    }
    return 0;
}

/* In two rounds. What was read may be a label whose flush failed at an earlier start: it is in the device's cache, a flush of
 * today would not bring it back, and only a new write makes it last. So first all devices come to the newest generation for
 * certain; only then, from an even field, they move on. A power cut then never leaves one two generations behind.
 * On they move at every start: one of the newest generation may have written descriptions before an older copy of another device took
 * that one's place, and those of this start have to be younger (cold_set_generation()). */
int pool_labels_renew(struct pool_devs *p, char why[static 256])
{
    uint64_t high = newest_generation(p);
    int err;

    for (uint32_t i = 0; i < p->nr; i++) {
        const struct pool_dev *d = &p->dev[i];

        if (d->copies.stale != 0)
            log_warn("label repaired", "path=\"%s\" copies=%u", d->opts.path, (unsigned)__builtin_popcount(d->copies.stale));
    }
    err = labels_write(p, high, why);
    return err ? err : labels_write(p, high + 1, why);
}

struct segpool_geometry pool_geometry(const struct label *journal)
{
    return (struct segpool_geometry){
        .base_bytes = journal->seg_base_bytes,
        .segment_bytes = journal->seg_bytes,
        .nr_segments = journal->seg_nr,
        .align_bytes = journal->seg_align,
        .head_bytes = label_head_bytes(journal),
        .nr_shards = journal->nr_shards,
        .pool = journal->pool,
    };
}

int pool_cold_new(const struct pool_devs *p, struct cold **out)
{
    struct cold_dev_desc desc[CAPACITY_DEVS_MAX];
    uint32_t nr = 0;

    memset(desc, 0, sizeof(desc));
    for (uint32_t i = 0; i < p->nr; i++) {
        const struct label *l = &p->dev[i].label;

        if (l->role == TIER_CAPACITY)
            desc[nr++] = (struct cold_dev_desc){.ext_base_bytes = l->ext_base_bytes, .ext_nr = l->ext_nr,
                                                .ring_nr = l->ring_nr, .nr_shards = l->nr_shards,
                                                .uuid = l->device, .pool = l->pool};
    }
    return cold_new(desc, nr, out);
}
