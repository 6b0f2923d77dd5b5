/* SPDX-License-Identifier: Apache-2.0 */
/* pool_meta.c: the pool's own records in the metadata, and whether they agree with the labels. Straight-line; reads only.
 *
 * Failures: damage of a record of the pool itself (pool, device, segment, shard, volume, layer) refuses the start: what a
 * volume owns cannot be told without it, and space that is not known to be used would be given away.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tier/pool.h"

/* Address space, not memory: room for the checksums of every extent and as much again. */
uint64_t pool_meta_map_bytes(const struct tier_opts *opts)
{
    uint64_t capacity = 0;

    if (opts->meta_map_bytes != 0)
        return opts->meta_map_bytes;
    for (uint32_t i = 0; i < opts->nr_devs; i++)
        if (opts->devs[i].role == TIER_CAPACITY)
            capacity += opts->devs[i].size_bytes;
    return GIB + capacity / TIB * 2 * GIB;
}

int pool_meta_open(const struct tier_opts *opts, bool create, bool read_only, struct meta **out, char why[static 256])
{
    struct meta_lmdb_opts lmdb = {.map_bytes = pool_meta_map_bytes(opts), .read_only = read_only, .create = create};

    if (opts->seams.meta_open != NULL)
        return opts->seams.meta_open(opts->seams.ctx, opts->meta_path, create, read_only, out, why);
    return meta_lmdb_open(opts->meta_path, &lmdb, out, why);
}

static int pool_rec_get(const struct pool_devs *p, struct meta *m, struct pool_rec *rec, char why[static 256])
{
    struct meta_key key = meta_key_pool();
    uint8_t buf[META_VALUE_MAX];
    uint32_t len = 0;
    int err = m->ops->get_sync(m, &key, buf, &len);

    if (!err)
        err = pool_rec_decode(buf, len, rec);
    if (err == -FIRN_E_NOT_FOUND)
        snprintf(why, 256, "metadata \"%.150s\" holds no pool", p->opts->meta_path);
    else if (err)
        snprintf(why, 256, "metadata \"%.120s\": the pool's record: %.80s", p->opts->meta_path, err_text(err));
    return err == -FIRN_E_NOT_FOUND ? -FIRN_E_MISSING : err;
}

static int device_match(const struct pool_devs *p, const struct pool_dev *d, struct meta *m, char why[static 256])
{
    struct meta_key key = meta_key_device(d->label.role, d->label.index);
    char uuid[UUID_TEXT_CHARS + 1], want[UUID_TEXT_CHARS + 1];
    uint8_t buf[META_VALUE_MAX];
    struct device_rec rec;
    uint32_t len = 0;
    int err = m->ops->get_sync(m, &key, buf, &len);

    if (!err)
        err = device_rec_decode(buf, len, &rec);
    if (d->opts.role == TIER_CACHE && (err == -FIRN_E_NOT_FOUND || (!err && memcmp(&rec.uuid, &d->label.device, sizeof(rec.uuid)) != 0))) {
        snprintf(why, 256, "cache device \"%.110s\" is the pool's no more: firnd --add-cache takes it in again; else take it out of "
                 "pool.cache", d->opts.path);
        return -FIRN_E_FOREIGN;
    }
    if (err) {
        snprintf(why, 256, "metadata \"%.100s\": the record of %s device %u: %.60s", p->opts->meta_path,
                 pool_role_name(d->opts.role), d->label.index, err_text(err));
        return err == -FIRN_E_NOT_FOUND ? -FIRN_E_FOREIGN : err;
    }
    if (memcmp(&rec.uuid, &d->label.device, sizeof(rec.uuid)) == 0)
        return 0;
    snprintf(why, 256, "%s device \"%.80s\" is %s; the pool's is %s", pool_role_name(d->opts.role), d->opts.path,
             uuid_format(&d->label.device, uuid), uuid_format(&rec.uuid, want));
    return -FIRN_E_FOREIGN;
}

int pool_meta_match(const struct pool_devs *p, struct meta *m, struct pool_rec *rec, char why[static 256])
{
    const struct label *j = &p->dev[0].label;
    char uuid[UUID_TEXT_CHARS + 1], want[UUID_TEXT_CHARS + 1];
    int err = pool_rec_get(p, m, rec, why);

    if (err)
        return err;
    if (memcmp(&rec->uuid, &j->pool, sizeof(rec->uuid)) != 0) {
        snprintf(why, 256, "metadata \"%.100s\" is of pool %s; the devices are of pool %s", p->opts->meta_path,
                 uuid_format(&rec->uuid, uuid), uuid_format(&j->pool, want));
        return -FIRN_E_FOREIGN;
    }
    if (rec->nr_shards != j->nr_shards || rec->nr_capacity != j->nr_capacity) {
        snprintf(why, 256, "metadata \"%.100s\" names %u shards and %u capacity devices, the labels %u and %u",
                 p->opts->meta_path, rec->nr_shards, rec->nr_capacity, j->nr_shards, j->nr_capacity);
        return -FIRN_E_CORRUPT;
    }
    for (uint32_t i = 0; i < p->nr && !err; i++)
        err = p->dev[i].missing || p->dev[i].fresh ? 0 : device_match(p, &p->dev[i], m, why);
    return err;
}

struct epochs { uint64_t *v; uint32_t nr; };

static int epoch_seen(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct epochs *e = ctx;
    uint64_t segment, epoch;
    int err = meta_key_parse_id(key, 'G', &segment);

    if (!err)
        err = value == NULL ? -FIRN_E_CORRUPT : segment_rec_decode(value, len, &epoch);
    if (!err && segment >= e->nr)
        err = -FIRN_E_CORRUPT;
    if (!err)
        e->v[segment] = epoch;
    return err;
}

int pool_freed_epochs(struct meta *m, uint32_t nr, uint64_t **out, char why[static 256])
{
    struct meta_key prefix = meta_key_tag('G');
    struct epochs e = {.v = calloc(nr, sizeof(*e.v)), .nr = nr};
    int err = e.v == NULL ? -ENOMEM : m->ops->scan_sync(m, &prefix, epoch_seen, &e);

    if (err) {
        snprintf(why, 256, "the metadata's records of log segments: %.100s", err_text(err));
        free(e.v);
        return err;
    }
    *out = e.v;
    return 0;
}

/* Also of a device that is not there now: it may have been given each of its segments since the newest one that is. */
#define EPOCHS_AHEAD ((uint64_t)SEGMENTS_MAX * SEGMENT_AREAS_MAX)

int pool_copies_epoch(const struct segpool *p, uint64_t *epoch)
{
    *epoch = segpool_epoch_max(p) + EPOCHS_AHEAD;
    return *epoch <= NUMBER_START_MAX ? 0 : -FIRN_E_CORRUPT;
}

uint64_t pool_freed_epoch(void *epochs, uint32_t segment) { return ((const uint64_t *)epochs)[segment]; }
