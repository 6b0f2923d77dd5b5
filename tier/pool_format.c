/* SPDX-License-Identifier: Apache-2.0 */
/* pool_format.c: making a pool, and looking whether there is one.
 *
 * 1. A survey: every device is there, free, and empty, or can be made. What can be known is known before anything is made.
 * 2. Files are made, devices locked and opened, geometry planned: all before a write. Every device is empty, or `force`
 *    says that what it holds may go.
 * 3. Metadata: pool and device records in one batch.
 * 4. Label areas are zeroed; a journal that is a file is written whole, so that no later append allocates.
 * 5. Directories are flushed, then the labels are written, journal last: a device is the pool's from then on.
 * Failures: the files that were made are removed. A crash before 5 leaves no pool; formatting again needs `force` where something was
 * already written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "tier/pool.h"

#define ZERO_STEP (1u << 20)

void pool_uuid_make(struct env *e, struct uuid *out)
{
    env_random(e, out->b, sizeof(out->b));
    out->b[6] = (uint8_t)((out->b[6] & 0x0f) | 0x40); /* RFC 4122, version 4 */
    out->b[8] = (uint8_t)((out->b[8] & 0x3f) | 0x80);
}

/* Names what would do: the smallest journal that segpool_plan() cuts, found by asking it. */
static void say_journal_small(const struct pool_dev *d, const struct tier_opts *o, uint32_t nr_shards, char why[static 256])
{
    uint32_t align = o->journal_align ? o->journal_align : 4096;
    struct segpool_geometry geo;
    uint64_t min = MIB;

    while (min < 256 * TIB && segpool_plan(min, o->segment_bytes, align, nr_shards, &geo) != 0)
        min += MIN(MAX(ROUND_DOWN(min / 64, MIB), MIB), GIB);
    if (d->bytes < min && min < 256 * TIB)
        snprintf(why, 256, "journal device \"%.120s\" has %llu MiB: with %u shards it needs at least %llu MiB", d->opts.path,
                 (unsigned long long)(d->bytes / MIB), nr_shards, (unsigned long long)(min / MIB));
    else
        snprintf(why, 256, "journal device \"%.120s\": segments of %u bytes do not fit it", d->opts.path, o->segment_bytes);
}

static int plan(struct pool_devs *p, char why[static 256])
{
    const struct tier_opts *o = p->opts;
    struct label common = {.generation = 1, .nr_capacity = (uint16_t)p->nr_capacity};
    struct segpool_geometry geo;
    int err;

    common.nr_shards = (uint16_t)(o->nr_shards ? o->nr_shards : o->nr_envs);
    common.created_wall_ns = env_wall_ns(o->envs[0]);
    snprintf(common.pool_name, sizeof(common.pool_name), "%s", o->pool_name);
    pool_uuid_make(o->envs[0], &common.pool);
    if (!name_valid(o->pool_name) || o->nr_shards > REACTORS_MAX) {
        snprintf(why, 256, "the pool's name or its number of shards is invalid");
        return -FIRN_E_INVALID;
    }
    for (uint32_t i = 0; i < p->nr; i++) {
        struct pool_dev *d = &p->dev[i];

        d->label = common;
        d->label.role = (uint16_t)d->opts.role;
        d->label.index = d->index;
        d->label.device_bytes = d->bytes;
        pool_uuid_make(o->envs[0], &d->label.device);
        if (d->opts.role == TIER_JOURNAL) {
            err = segpool_plan(d->bytes, o->segment_bytes, o->journal_align ? o->journal_align : 4096, common.nr_shards, &geo);
            if (!err && geo.align_bytes < d->on[0]->caps.block_bytes) {
                snprintf(why, 256, "journal device \"%.120s\" has blocks of %u bytes, more than journal.align", d->opts.path,
                         d->on[0]->caps.block_bytes);
                return -FIRN_E_INVALID;
            }
            if (err) {
                say_journal_small(d, o, common.nr_shards, why);
                return err;
            }
            d->label.seg_base_bytes = geo.base_bytes;
            d->label.seg_bytes = geo.segment_bytes;
            d->label.seg_nr = geo.nr_segments;
            d->label.seg_align = geo.align_bytes;
            d->label.incompat |= geo.head_bytes < LABEL_BYTES ? LABEL_INCOMPAT_SHORT_HEADS : 0;
        } else if (d->opts.role == TIER_CACHE) {
            geo = pool_geometry(&p->dev[0].label);
            err = pool_cache_plan(d, &geo, &geo, why);
            if (err)
                return err;
        } else if (d->opts.role == TIER_CAPACITY) {
            d->label.ring_nr = d->on[0]->caps.rotational ? ring_plan(d->bytes, o->ring_bytes, common.nr_shards) : 0;
            d->label.incompat |= d->label.ring_nr > 0 ? LABEL_INCOMPAT_RING : 0;
            d->label.ext_base_bytes = ring_offset(d->label.ring_nr);
            d->label.ext_nr = region_plan(d->bytes - (uint64_t)d->label.ring_nr * DESC_BYTES);
            if (d->label.ext_nr == 0) {
                snprintf(why, 256, "capacity device \"%.150s\" is too small", d->opts.path);
                return -FIRN_E_INVALID;
            }
        }
    }
    geo = pool_geometry(&p->dev[0].label);
    return pool_slots_check(p, &geo, why);
}

/* The journal is looked at first and labelled last: another device's label without the journal's has a story. */
static int say_foreign(const struct pool_dev *d, const char *found, char why[static 256])
{
    bool ours = strcmp(found, "a Firn label") == 0, half = ours && d->opts.role != TIER_JOURNAL;

    snprintf(why, 256, "%s device \"%.90s\" is not empty: it carries %s%s; --force %s", pool_role_name(d->opts.role),
             d->opts.path, found, half ? ", and the journal none: a format was cut short, or it is another pool's" : "",
             ours ? "destroys the pool that is there" : "overwrites it");
    return -FIRN_E_FOREIGN;
}

static int all_empty(const struct pool_devs *p, char why[static 256])
{
    for (uint32_t i = 0; i < p->nr; i++) {
        const struct pool_dev *d = &p->dev[i];
        int err;
        const char *found;

        if (d->on[0] == NULL) /* surveyed, and not made yet */
            continue;
        found = label_foreign(d->on[0], d->bytes, &err);
        if (err) {
            snprintf(why, 256, "%s device \"%.120s\" cannot be read: %.80s", pool_role_name(d->opts.role), d->opts.path, err_text(err));
            return err;
        }
        if (found != NULL)
            return say_foreign(d, found, why);
        if (p->opts->seams.dev_open == NULL && d->bytes < ROUND_DOWN(d->opts.size_bytes, LABEL_BYTES)) {
            snprintf(why, 256, "%s device \"%.120s\" has %llu bytes, less than the size configured; --force lengthens a file",
                     pool_role_name(d->opts.role), d->opts.path, (unsigned long long)d->bytes);
            return -FIRN_E_INVALID;
        }
    }
    return 0;
}

/* Blocks that were never written make a file system allocate on the first append: several times the latency. */
static int journal_zero(const struct pool_devs *p)
{
    const struct pool_dev *d = &p->dev[0];
    struct stat st;
    void *buf;
    int err = 0;

    if (p->opts->seams.dev_open != NULL || stat(d->opts.path, &st) != 0 || !S_ISREG(st.st_mode))
        return 0;
    buf = aligned_alloc(4096, ZERO_STEP);
    if (buf == NULL)
        return -ENOMEM;
    memset(buf, 0, ZERO_STEP);
    for (uint64_t off = 0; off < d->bytes && !err; off += ZERO_STEP)
        err = dev_write_sync(d->on[0], off, buf, MIN(ZERO_STEP, d->bytes - off), 0);
    free(buf);
    return err ? err : dev_flush_sync(d->on[0]);
}

static int journal_prepare(const struct pool_devs *p)
{
    struct segpool_geometry geo = pool_geometry(&p->dev[0].label);
    int err = journal_zero(p);

    return err ? err : segpool_format(p->dev[0].on[0], &geo);
}

static int devices_prepare(const struct pool_devs *p, char why[static 256])
{
    int err = 0;

    for (uint32_t i = 0; i < p->nr && !err; i++) {
        err = label_wipe(p->dev[i].on[0], p->dev[i].bytes);
        if (!err && i == 0)
            err = journal_prepare(p);
        if (err == -ENOSPC && i == 0)
            snprintf(why, 256, "journal device \"%.90s\" cannot be written: %.30s: it takes %llu MiB of room at once; make room or the "
                     "journal smaller", p->dev[i].opts.path, err_text(err), (unsigned long long)(p->dev[i].bytes / MIB));
        else if (err)
            snprintf(why, 256, "%s device \"%.120s\" cannot be written: %.80s", pool_role_name(p->dev[i].opts.role),
                     p->dev[i].opts.path, err_text(err));
    }
    return err;
}

static int meta_write(const struct pool_devs *p, struct meta *m)
{
    const struct label *j = &p->dev[0].label;
    struct pool_rec pool = {.uuid = j->pool, .next_volume_id = 1, .next_layer_id = 1, .nr_shards = j->nr_shards,
                            .nr_capacity = j->nr_capacity, .created_wall_ns = j->created_wall_ns};
    uint8_t values[POOL_DEVS_MAX + 1][POOL_REC_BYTES];
    struct meta_op ops[POOL_DEVS_MAX + 1];

    memcpy(pool.name, j->pool_name, sizeof(pool.name));
    ops[0] = (struct meta_op){.key = meta_key_pool(), .value = values[0], .value_len = pool_rec_encode(&pool, values[0])};
    for (uint32_t i = 0; i < p->nr; i++) {
        struct device_rec r = {.uuid = p->dev[i].label.device, .device_bytes = p->dev[i].bytes};

        ops[i + 1] = (struct meta_op){.key = meta_key_device(p->dev[i].label.role, p->dev[i].label.index), .value = values[i + 1]};
        ops[i + 1].value_len = device_rec_encode(&r, values[i + 1]);
    }
    return m->ops->commit_sync(m, ops, p->nr + 1);
}

/* With force, what an older pool kept in that directory goes first; its directory lock is not held then, but all its
 * devices are locked here, so no daemon runs on them. *out: made by this format, and its directory locked until it is closed. */
static int meta_create(const struct pool_devs *p, struct meta **out, char why[static 256])
{
    const struct tier_opts *o = p->opts;
    struct meta *m;
    char path[512];
    int err;

    if (o->force && o->seams.meta_open == NULL) {
        err = pool_meta_open(o, false, true, &m, why);
        if (err == -FIRN_E_BUSY)
            return err;
        if (!err)
            m->ops->close(m);
        snprintf(path, sizeof(path), "%s/data.mdb", o->meta_path);
        unlink(path);
    }
    err = pool_meta_open(o, true, false, &m, why);
    if (err == -FIRN_E_EXISTS)
        snprintf(why, 256, "metadata directory \"%.90s\" holds a pool, but the devices are empty: a format was cut short, or the pool's "
                 "devices are others; --force overwrites it", o->meta_path);
    if (err)
        return err;
    *out = m;
    err = meta_write(p, m);
    if (err)
        snprintf(why, 256, "metadata \"%.120s\" cannot be written: %.80s", o->meta_path, err_text(err));
    return err;
}

static int labels_write(const struct pool_devs *p, char why[static 256])
{
    for (uint32_t i = p->nr; i-- > 0;) {
        int err = label_write(p->dev[i].on[0], p->dev[i].bytes, &p->dev[i].label, 0);

        if (err) {
            snprintf(why, 256, "%s device \"%.120s\": its label cannot be written: %.80s",
                     pool_role_name(p->dev[i].opts.role), p->dev[i].opts.path, err_text(err));
            return err;
        }
    }
    return 0;
}

static int parent_sync(const char *path, char why[static 256])
{
    char dir[256];
    char *slash;
    int fd, err = 0;

    snprintf(dir, sizeof(dir), "%s", path);
    slash = strrchr(dir, '/');
    if (slash == NULL)
        snprintf(dir, sizeof(dir), ".");
    else
        slash[slash == dir] = '\0';
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        err = -errno;
    if (fd >= 0)
        close(fd);
    if (err)
        snprintf(why, 256, "directory \"%.150s\" cannot be flushed: %s", dir, err_text(err));
    return err;
}

/* A pool whose files lose their names in a power cut is lost: what was made here gets durable names. */
static int names_sync(const struct pool_devs *p, char why[static 256])
{
    struct stat st;
    int err = 0;

    if (p->opts->seams.meta_open == NULL)
        err = parent_sync(p->opts->meta_path, why);
    for (uint32_t i = 0; i < p->nr && !err && p->opts->seams.dev_open == NULL; i++)
        if (stat(p->dev[i].opts.path, &st) == 0 && S_ISREG(st.st_mode))
            err = parent_sync(p->dev[i].opts.path, why);
    return err;
}

/* A format that fails leaves no file of its own: what it made would be in the way of the next, and fill a disk that was too small.
 * Metadata goes first and the journal last: whatever a crash leaves here looks like a format that was cut short. */
static void unmake(const struct pool_devs *p, const struct meta *made, bool dir_made)
{
    const struct tier_opts *o = p->opts;
    char path[512];

    if (o->seams.meta_open == NULL) {
        snprintf(path, sizeof(path), "%s/data.mdb", o->meta_path);
        if (made != NULL)
            unlink(path);
        if (dir_made)
            rmdir(o->meta_path); /* if nothing else is in it */
    }
    pool_files_unmake(p);
}

static int remains_only(const struct pool_devs *p, char why[static 256])
{
    return p->opts->remains ? pool_remains_check(p, why) : 0;
}

static int survey(struct pool_devs *p, const struct tier_opts *opts, char why[static 256])
{
    int err = opts->seams.dev_open == NULL ? pool_devs_open(p, opts, POOL_SURVEY, why) : 0;

    if (err || opts->seams.dev_open != NULL)
        return err;
    err = opts->force ? remains_only(p, why) : all_empty(p, why);
    pool_devs_close(p);
    return err;
}

/* Whatever else is wrong is left to those who open the pool. */
int tier_survey(const struct tier_opts *opts, char why[static 256])
{
    struct pool_devs *p = calloc(1, sizeof(*p));
    int err = p == NULL ? -ENOMEM : pool_devs_open(p, opts, POOL_SURVEY, why), ignored;
    bool foreign = false;

    for (uint32_t i = 0; !err && i < p->nr && !foreign; i++) {
        const struct pool_dev *d = &p->dev[i];
        const char *found = d->on[0] != NULL ? label_foreign(d->on[0], d->bytes, &ignored) : NULL;

        foreign = found != NULL && strcmp(found, "a Firn label") != 0;
        if (foreign)
            say_foreign(d, found, why);
    }
    if (!err)
        pool_devs_close(p);
    free(p);
    return err ? err : foreign ? -FIRN_E_FOREIGN : 0;
}

int tier_format(const struct tier_opts *opts, char why[static 256])
{
    struct pool_devs *p = calloc(1, sizeof(*p));
    struct meta *made = NULL;
    bool dir_made = access(opts->meta_path, F_OK) != 0;
    char uuid[UUID_TEXT_CHARS + 1];
    int err;

    why[0] = '\0';
    if (p == NULL)
        return -ENOMEM;
    err = survey(p, opts, why);
    if (!err)
        err = pool_devs_open(p, opts, POOL_FORMAT, why);
    if (err)
        goto free_devs;
    err = remains_only(p, why); /* again: between the survey's locks and these a server may have come and gone */
    if (!err && opts->remains)
        err = pool_files_cut(p, why);
    if (!err)
        err = plan(p, why);
    if (!err && !opts->force)
        err = all_empty(p, why);
    if (!err)
        err = meta_create(p, &made, why);
    if (!err)
        err = devices_prepare(p, why);
    if (!err)
        err = names_sync(p, why);
    if (!err)
        err = labels_write(p, why);
    if (!err)
        log_info("pool formatted", "pool=%s uuid=%s shards=%u segments=%u segment_bytes=%u", opts->pool_name,
                 uuid_format(&p->dev[0].label.pool, uuid), p->dev[0].label.nr_shards, p->dev[0].label.seg_nr,
                 p->dev[0].label.seg_bytes);
    else
        unmake(p, made, dir_made);
    if (made != NULL)
        made->ops->close(made);
    pool_devs_close(p);
free_devs:
    free(p);
    return err;
}

int tier_probe(const struct tier_opts *opts, char why[static 256])
{
    struct pool_devs *p = calloc(1, sizeof(*p));
    struct pool_rec rec;
    struct meta *m;
    int err;

    why[0] = '\0';
    if (p == NULL)
        return -ENOMEM;
    err = pool_devs_open(p, opts, POOL_READ, why);
    if (err)
        goto free_devs;
    err = pool_labels_read(p, why);
    if (err)
        goto close_devs;
    err = pool_meta_open(opts, false, true, &m, why);
    if (err)
        goto close_devs;
    err = pool_meta_match(p, m, &rec, why);
    if (!err) {
        struct segpool_geometry geo = pool_geometry(&p->dev[0].label);

        err = pool_slots_check(p, &geo, why);
    }
    if (!err)
        pool_say_ignored(p, m);
    m->ops->close(m);
close_devs:
    pool_devs_close(p);
free_devs:
    free(p);
    return err;
}
