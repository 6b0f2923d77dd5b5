/* SPDX-License-Identifier: Apache-2.0 */
/* pool_add.c: brings the cache devices of a pool in line with its configuration, while no server runs.
 *
 * 1. All devices are opened and locked; files of cache devices that are not there are made, as by a format. Journal and capacity devices
 *    are proven to be the pool, with its metadata, which must not be older than the log says: a batch of ours would make up for one that
 *    is missing, and no start would tell any more.
 * 2. Each cache device that is configured is either one that the metadata knows, which is left as it is; or empty, or one that this pool
 *    had and forgot; or, with `force`, whatever it is. Anything else is refused before a byte is written.
 * 3. One batch: those that are left out are forgotten, the new ones get a record each. Then label areas are cleared, and labels written.
 * Failures: a crash between batch and label leaves a device that a start refuses, because it carries no label; doing this again mends it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tier/check.h"

struct known { bool there; struct uuid uuid; };   /* a 'D' record of a cache device */
struct add {
    struct pool_devs p;
    struct meta     *meta;
    struct known     known[CACHE_DEVS_MAX];
    const struct tier_opts *o;
};

static int record_seen(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct add *a = ctx;
    struct device_rec rec;

    for (uint16_t i = 0; i < CACHE_DEVS_MAX; i++) {
        struct meta_key k = meta_key_device(TIER_CACHE, i);

        if (k.len != key->len || memcmp(k.b, key->b, k.len) != 0)
            continue;
        a->known[i].there = true;
        if (value != NULL && device_rec_decode(value, len, &rec) == 0) /* else it is nobody's */
            a->known[i].uuid = rec.uuid;
    }
    return 0;
}

static bool is_known(const struct add *a, const struct label *l)
{
    return l->role == TIER_CACHE && l->index < CACHE_DEVS_MAX && a->known[l->index].there &&
           memcmp(&a->known[l->index].uuid, &l->device, sizeof(l->device)) == 0;
}

/* Decides for each cache device whether it is new. */
static int judge(struct add *a, struct pool_dev *d, char why[static 256])
{
    const struct label *j = &a->p.dev[0].label;
    struct segpool_geometry geo = pool_geometry(j);
    const char *found;
    bool ours;
    int err = label_read(d->on[0], d->bytes, &d->label, &d->copies);

    if (err == 0 && d->label.device_bytes < d->bytes)
        err = label_read(d->on[0], d->label.device_bytes, &d->label, &d->copies);
    ours = err == 0 && d->label.role == TIER_CACHE && memcmp(&d->label.pool, &j->pool, sizeof(j->pool)) == 0;
    d->fresh = !ours || !is_known(a, &d->label);
    if (!d->fresh || ours || a->o->force)
        return d->fresh ? pool_cache_plan(d, &geo, &geo, why) : 0;
    found = label_foreign(d->on[0], d->bytes, &err);
    if (err) {
        snprintf(why, 256, "cache device \"%.120s\" cannot be read: %.80s", d->opts.path, err_text(err));
        return err;
    }
    if (found != NULL) {
        snprintf(why, 256, "cache device \"%.120s\" is not empty: it carries %.60s; --force overwrites it", d->opts.path, found);
        return -FIRN_E_FOREIGN;
    }
    return pool_cache_plan(d, &geo, &geo, why);
}

static bool configured(const struct add *a, uint16_t index)
{
    for (uint32_t i = 0; i < a->p.nr; i++)
        if (a->p.dev[i].opts.role == TIER_CACHE && !a->p.dev[i].fresh && a->p.dev[i].label.index == index)
            return true;
    return false;
}

static void label_make(struct add *a, struct pool_dev *d, uint16_t index)
{
    d->label = a->p.dev[0].label;
    d->label.role = TIER_CACHE;
    d->label.index = index;
    d->label.device_bytes = d->bytes;
    d->label.incompat &= ~LABEL_INCOMPAT_SHORT_HEADS;
    d->label.seg_base_bytes = 0;
    d->label.seg_bytes = d->label.seg_nr = d->label.seg_align = 0;
    pool_uuid_make(a->o->envs[0], &d->label.device);
}

/* Numbers of those that are left out are given to the new ones. */
static int records_write(struct add *a, uint32_t *added, uint32_t *forgotten)
{
    uint8_t values[CACHE_DEVS_MAX][DEVICE_REC_BYTES];
    struct meta_op ops[CACHE_DEVS_MAX];
    uint32_t at = 0, nr = 0;

    *added = *forgotten = 0;
    for (uint16_t n = 0; n < CACHE_DEVS_MAX; n++) {
        struct device_rec r;

        if (configured(a, n))
            continue;
        while (at < a->p.nr && !a->p.dev[at].fresh)
            at++;
        *forgotten += a->known[n].there;
        ops[nr] = (struct meta_op){.key = meta_key_device(TIER_CACHE, n)};
        if (at < a->p.nr) {
            label_make(a, &a->p.dev[at], n);
            r = (struct device_rec){.uuid = a->p.dev[at].label.device, .device_bytes = a->p.dev[at].bytes};
            ops[nr].value = values[nr];
            ops[nr].value_len = device_rec_encode(&r, values[nr]);
            ++*added;
            at++;
        }
        nr += a->known[n].there || ops[nr].value != NULL;
    }
    return nr == 0 ? 0 : a->meta->ops->commit_sync(a->meta, ops, nr);
}

static int labels_write(struct add *a, char why[static 256])
{
    int err = 0;

    for (uint32_t i = 0; i < a->p.nr && !err; i++) {
        struct pool_dev *d = &a->p.dev[i];

        if (!d->fresh)
            continue;
        err = label_wipe(d->on[0], d->bytes);
        if (!err)
            err = label_write(d->on[0], d->bytes, &d->label, 0);
        if (err)
            snprintf(why, 256, "cache device \"%.120s\" cannot be written: %.80s", d->opts.path, err_text(err));
    }
    return err;
}

static int shards_read(struct offline *o)
{
    int err = 0;

    for (uint32_t i = 0; i < o->pool.nr_shards && !err; i++) {
        struct meta_key key = meta_key_shard(i);
        uint8_t buf[META_VALUE_MAX];
        uint32_t len = 0;

        err = o->meta->ops->get_sync(o->meta, &key, buf, &len);
        err = err ? err : shard_rec_decode(buf, len, &o->shard[i]);
        err = err == -FIRN_E_NOT_FOUND ? 0 : err;
    }
    return err;
}

static int judge_batches(struct offline *o, char why[static 256])
{
    int err = shards_read(o);

    err = err ? err : offline_segments(o, why);
    err = err ? err : offline_replay(o, NULL, NULL, why);
    for (uint32_t i = 0; i < o->pool.nr_shards && !err; i++)
        if (o->reports[i].meta_commit_no_max > meta_commit_no(o->meta))
            err = -FIRN_E_ROLLED_BACK;
    if (err == -FIRN_E_ROLLED_BACK)
        snprintf(why, 256, "metadata \"%.90s\" is older than the journal: it was rolled back. Bring back the newest, or start firnd once "
                 "as pool.cache was", o->opts->meta_path);
    else if (err && why[0] == '\0')
        snprintf(why, 256, "the log cannot be read: %.100s", err_text(err));
    return err;
}

/* Devices and metadata are ours; what copies the pool has is no matter here. */
static int not_rolled_back(struct add *a, const struct pool_rec *rec, char why[static 256])
{
    struct offline *o = calloc(1, sizeof(*o));
    int err;

    if (o == NULL)
        return -ENOMEM;
    o->opts = a->o;
    o->devs = a->p;
    o->meta = a->meta;
    o->pool = *rec;
    for (uint32_t i = 0; i < o->devs.nr; i++)
        o->devs.dev[i].missing |= o->devs.dev[i].opts.role == TIER_CACHE;
    err = judge_batches(o, why);
    o->meta = NULL;
    o->devs.nr = 0;
    offline_close(o);
    free(o);
    return err;
}

static int open_pool(struct add *a, char why[static 256])
{
    struct meta_key prefix = meta_key_tag('D');
    struct pool_rec rec;
    int err;

    for (uint32_t i = 0; i < a->p.nr; i++) /* their labels are looked at when all others have been */
        a->p.dev[i].fresh = a->p.dev[i].opts.role == TIER_CACHE;
    err = pool_labels_read(&a->p, why);
    if (!err)
        err = pool_meta_open(a->o, false, false, &a->meta, why);
    if (!err)
        err = pool_meta_match(&a->p, a->meta, &rec, why);
    if (!err)
        err = not_rolled_back(a, &rec, why);
    return err ? err : a->meta->ops->scan_sync(a->meta, &prefix, record_seen, a);
}

static int add_steps(struct add *a, char why[static 256])
{
    uint32_t added, forgotten;
    int err = open_pool(a, why);

    for (uint32_t i = 0; i < a->p.nr && !err; i++)
        if (a->p.dev[i].opts.role == TIER_CACHE)
            err = judge(a, &a->p.dev[i], why);
    if (!err) {
        struct segpool_geometry geo = pool_geometry(&a->p.dev[0].label);

        err = pool_slots_check(&a->p, &geo, why);
    }
    if (!err)
        err = records_write(a, &added, &forgotten);
    if (!err)
        err = labels_write(a, why);
    if (!err)
        log_info("cache devices of the pool are as configured", "added=%u forgotten=%u", added, forgotten);
    else if (why[0] == '\0')
        snprintf(why, 256, "metadata \"%.120s\" cannot be written: %.80s", a->o->meta_path, err_text(err));
    return err;
}

int tier_cache_add(const struct tier_opts *opts, char why[static 256])
{
    struct add *a = calloc(1, sizeof(*a));
    int err;

    why[0] = '\0';
    if (a == NULL)
        return -ENOMEM;
    a->o = opts;
    err = pool_devs_open(&a->p, opts, POOL_ADD, why);
    if (!err) {
        err = add_steps(a, why);
        if (err)
            pool_files_unmake(&a->p);
        if (a->meta != NULL)
            a->meta->ops->close(a->meta);
        pool_devs_close(&a->p);
    }
    free(a);
    return err;
}
