/* SPDX-License-Identifier: Apache-2.0 */
/* api_pool.c: the pool and its devices as JSON, and the one thing about a pool that people settle: a loss that was accepted.
 *
 * Without a pool (--ram) there is nothing to say: 404.
 */
#include "daemon/api_priv.h"

#include <stdlib.h>

/* A volume slows down when its own shard's part of the log is full, however empty the others are. */
static json_t *shards_json(const struct tier_info *i)
{
    json_t *a = json_array();

    for (uint32_t n = 0; n < i->nr_shards; n++)
        json_array_append_new(a, json_pack("{s:I,s:I,s:I}", "room", (json_int_t)i->shard[n].room_bytes, "dirty",
                                           (json_int_t)i->shard[n].dirty_bytes, "kept", (json_int_t)i->shard[n].kept_bytes));
    return a;
}

json_t *api_pool_json(const struct tier_info *i)
{
    char uuid[UUID_TEXT_CHARS + 1];

    return json_pack("{s:s,s:s,s:i,s:i,s:o, s:{s:I,s:I,s:I,s:I,s:I,s:I}, s:{s:I,s:I,s:I}, s:{s:I,s:I}, s:I,s:I,s:o,s:b,s:s}",
                     "name", i->name, "uuid", uuid_format(&i->uuid, uuid), "shards", (int)i->nr_shards, "volumes", (int)i->nr_volumes,
                     "shard_fill", shards_json(i),
                     "journal", "size", (json_int_t)i->journal_bytes, "dirty", (json_int_t)i->journal_dirty_bytes,
                     "kept", (json_int_t)MIN(i->journal_kept_bytes, i->journal_dirty_bytes),
                     "segments", (json_int_t)i->journal_segments, "free_segments", (json_int_t)i->journal_free_segments,
                     "segment_size", (json_int_t)i->segment_bytes,
                     "capacity", "size", (json_int_t)i->capacity_bytes, "used", (json_int_t)i->capacity_used_bytes,
                     "reserved", (json_int_t)i->capacity_reserved_bytes,
                     "index", "blocks", (json_int_t)i->index_blocks, "bytes", (json_int_t)i->index_bytes,
                     "damaged_blocks", (json_int_t)i->damaged_blocks, "commit_no", (json_int_t)i->commit_no,
                     "loss_accepted", i->loss_wall_ns ? json_integer((json_int_t)(i->loss_wall_ns / NS_PER_S)) : json_null(),
                     "read_only", (int)i->read_only, "alert", i->alert);
}

static const char *role_name(enum tier_role r)
{
    switch (r) {
    case TIER_JOURNAL:
        return "journal";
    case TIER_CACHE:
        return "cache";
    case TIER_CAPACITY:
        return "capacity";
    }
    return "?";
}

static json_t *device_json(const struct tier_dev_info *d)
{
    char uuid[UUID_TEXT_CHARS + 1];

    return json_pack("{s:s,s:s,s:s,s:I,s:I,s:s,s:I, s:{s:I,s:I,s:I,s:I,s:I}}",
                     "path", d->path, "role", role_name(d->role), "uuid", uuid_format(&d->uuid, uuid),
                     "size", (json_int_t)d->size_bytes, "used", (json_int_t)d->used_bytes,
                     "state", tier_dev_state(d),
                     "checksum_errors", (json_int_t)d->checksum_errors,
                     "io", "read_ops", (json_int_t)d->io.ops[DEV_READ], "write_ops", (json_int_t)d->io.ops[DEV_WRITE],
                     "read_bytes", (json_int_t)d->io.bytes[DEV_READ], "write_bytes", (json_int_t)d->io.bytes[DEV_WRITE],
                     "errors", (json_int_t)(d->io.errors[DEV_READ] + d->io.errors[DEV_WRITE] + d->io.errors[DEV_FLUSH]));
}

json_t *api_devices_json(struct node *n)
{
    const uint32_t max = 1 + CACHE_DEVS_MAX + CAPACITY_DEVS_MAX;
    struct tier_dev_info *d = calloc(max, sizeof(*d));
    uint32_t nr = d ? node_dev_info(n, d, max) : 0;
    json_t *a = json_array();

    for (uint32_t i = 0; i < nr; i++)
        json_array_append_new(a, device_json(&d[i]));
    free(d);
    return a;
}

static json_t *capacity_json(const char *tier, uint64_t bytes, uint64_t used_bytes, uint64_t reserved_bytes)
{
    return json_pack("{s:s,s:I,s:I,s:I,s:I}", "tier", tier, "size", (json_int_t)bytes, "used", (json_int_t)used_bytes,
                     "reserved", (json_int_t)reserved_bytes, "extents", (json_int_t)(used_bytes / EXTENT_BYTES));
}

/* What each tier has room for and holds; blocks that lie on both the SSD and another one count on both. What is reserved may go to
 * any capacity device: it is shown with the last. */
json_t *api_tiers_json(const struct tier_info *i)
{
    json_t *list = json_pack("[{s:s,s:I,s:I,s:I,s:I}]", "tier", "ssd", "size", (json_int_t)(i->journal_bytes + i->cache_bytes),
                             "used", (json_int_t)(i->index_blocks * BLOCK_BYTES), "dirty", (json_int_t)i->journal_dirty_bytes,
                             "extents", (json_int_t)i->ssd_extents);

    if (list != NULL && i->flash_bytes > 0)
        json_array_append_new(list, capacity_json("flash", i->flash_bytes, i->flash_used_bytes, 0));
    if (list != NULL)
        json_array_append_new(list, capacity_json("hdd", i->capacity_bytes - i->flash_bytes,
                                                  i->capacity_used_bytes - i->flash_used_bytes, i->capacity_reserved_bytes));
    return list;
}

/* The one thing about a pool that people settle: {"loss_accepted": null}. */
static int pool_patch(struct api *a, const char *body, size_t len, struct reply *out)
{
    json_t *o = body_object(body, len, out);
    int err = -FIRN_E_INVALID;

    if (!o)
        return err;
    if (json_object_size(o) == 1 && json_is_null(json_object_get(o, "loss_accepted"))) {
        err = node_loss_clear(a->node);
        if (err)
            reply_err(a, out, err);
    } else {
        reply_error(out, 400, "invalid", "allowed is loss_accepted, and null for it: what was lost has been looked after");
    }
    json_decref(o);
    return err;
}

void api_pool(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out)
{
    struct tier_info info;

    if (!node_has_pool(a->node)) {
        reply_error(out, 404, "not_found", "there is no pool: the server runs from memory (--ram)");
        return;
    }
    if (r->method == HTTP_PATCH && pool_patch(a, body, len, out) != 0)
        return;
    node_pool_info(a->node, &info);
    reply_json(out, 200, api_pool_json(&info));
}
