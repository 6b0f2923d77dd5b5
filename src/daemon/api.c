/* SPDX-License-Identifier: Apache-2.0 */
/* api.c: one function a resource and method. The route is checked already; here bodies are read, node.h is asked, and its
 * answers become JSON. Errors of ours become HTTP statuses in api_http_status() and nowhere else.
 */
#include "daemon/api.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/sizefmt.h"
#include "daemon/alerts.h"
#include "daemon/api_json.h"
#include "daemon/api_policy.h"
#include "daemon/metrics_page.h"
#include "daemon/settings.h"
#include "daemon/status_page.h"

static_assert(HEAT_PARTS_MAX == TIER_HEAT_PARTS_MAX, "what the tier gives");

/* ---- replies ----------------------------------------------------------------------------------------------------- */

static void reply_json(struct reply *out, unsigned status, json_t *doc)
{
    out->status = status;
    out->type = "application/json";
    out->body = doc ? json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    out->len = out->body ? strlen(out->body) : 0;
    if (!out->body)
        out->status = 503; /* no memory even for an error's words */
    json_decref(doc);
}

void reply_error(struct reply *out, unsigned status, const char *code, const char *message)
{
    reply_json(out, status, json_pack("{s:{s:s,s:s}}", "error", "code", code, "message", message));
}

static PRINTF_LIKE(4, 5) void reply_detail(struct reply *out, unsigned status, const char *code, const char *fmt, ...)
{
    char message[sizeof(((struct tier_info *)0)->read_only_why)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    reply_error(out, status, code, message);
}

static void reply_text(struct reply *out, unsigned status, const char *type, const char *text)
{
    out->status = status;
    out->type = type;
    out->body = strdup(text);
    out->len = out->body ? strlen(text) : 0;
}

static unsigned status_of_own(enum firn_err e)
{
    switch (e) {
    case FIRN_E_NOT_FOUND:
        return 404;
    case FIRN_E_EXISTS:
    case FIRN_E_IN_USE:
    case FIRN_E_READ_ONLY:
        return 409;
    case FIRN_E_INVALID:
    case FIRN_E_RANGE:
        return 400;
    case FIRN_E_NOT_ALLOWED:
        return 403;
    case FIRN_E_NO_SPACE:
        return 507;
    case FIRN_E_NO_RESOURCES:
    case FIRN_E_STOPPED:
    case FIRN_E_BUSY:
    case FIRN_E_CANCELED:
        return 503;
    case FIRN_E_DAMAGED:
    case FIRN_E_DEVICE_FAILED:
    case FIRN_E_NOT_FIRN:
    case FIRN_E_FOREIGN:
    case FIRN_E_MISSING:
    case FIRN_E_FORMAT_VERSION:
    case FIRN_E_CORRUPT:
    case FIRN_E_ROLLED_BACK:
    case FIRN_E_META:
        return 500;
    case FIRN_E_BASE:
    case FIRN_E_END:
        break;
    }
    return 500;
}

unsigned api_http_status(int err)
{
    unsigned e = (unsigned)(err < 0 ? -err : err);

    if (e > FIRN_E_BASE && e < FIRN_E_END)
        return status_of_own((enum firn_err)e);
    return e == ETIMEDOUT ? 504 : 500;
}

static void reply_err(struct api *a, struct reply *out, int err)
{
    struct tier_info info;

    node_pool_info(a->node, &info);
    if (err == -ETIMEDOUT)
        reply_error(out, api_http_status(err), "timeout", "the server did not answer in time; it may still do it");
    else if (err == -FIRN_E_META && info.read_only)
        reply_detail(out, api_http_status(err), err_code(err), "%s", info.read_only_why);
    else if (err == -FIRN_E_READ_ONLY && !node_has_pool(a->node))
        reply_detail(out, api_http_status(err), err_code(err), "the server runs from memory (--ram): it has the one volume ram");
    else
        reply_error(out, api_http_status(err), err_code(err), err_text(err));
}

/* Of a request that wanted a volume pinned. */
static void reply_pin_err(struct api *a, struct reply *out, int err)
{
    struct tier_info info;

    node_pool_info(a->node, &info);
    reply_detail(out, api_http_status(err), err_code(err), "tier ssd: there is no room to keep it on the SSD; volumes of that tier may "
                 "have %s in all on each reactor, half of its part of the journal", size_format(info.pin_max_bytes, (char[32]){0}));
}

/* What a change asked for would leave: shares that it does not name are those that are there. */
static void shares_wanted(struct api *a, const struct volume_params *p, unsigned seen, struct volume_view *v, struct volume_policy *out)
{
    bool there = node_volume_get(a->node, p->name, v) == 0;

    *out = p->policy;
    if (there && !(seen & API_CACHE_MIN))
        out->cache_min = v->info.p.policy.cache_min;
    if (there && !(seen & API_CACHE_MAX))
        out->cache_max = v->info.p.policy.cache_max;
}

/* Of a request that wanted shares of the cache for the volume p->name; false: it is about something else. v: room. */
static bool reply_share_err(struct api *a, struct reply *out, int err, unsigned seen, const struct volume_params *p, struct volume_view *v)
{
    char what[256] = "cache_min: does not fit beside the minima of other volumes of its reactor";
    struct tier_cache_room room;
    struct volume_policy wanted;

    if (err == -FIRN_E_RANGE && (seen & API_CACHE_MIN)) {
        if (node_cache_room(a->node, p->name, &room) == 0)
            api_say_min_over_room(&p->policy.cache_min, &room, what);
    } else if (err == -FIRN_E_INVALID && (seen & (API_CACHE_MIN | API_CACHE_MAX))) {
        shares_wanted(a, p, seen, v, &wanted);
        api_say_min_over_max(&wanted, what);
    } else {
        return false;
    }
    reply_detail(out, 400, "invalid", "%s", what);
    return true;
}

/* About the volume of that name. */
static void reply_volume_err(struct api *a, struct reply *out, int err, const char *name)
{
    if (err == -FIRN_E_NOT_FOUND)
        reply_detail(out, 404, "not_found", "there is no volume %s", name);
    else if (err == -FIRN_E_IN_USE)
        reply_detail(out, 409, "in_use", "another change of volume %s is in work", name);
    else
        reply_err(a, out, err);
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

static json_t *io_json(const struct volume_io *io)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "ops", (json_int_t)io->ops, "bytes", (json_int_t)io->bytes, "latency_count",
                     (json_int_t)io->latency_count, "latency_sum_ns", (json_int_t)io->latency_sum_ns, "latency_p99_ns",
                     (json_int_t)io->latency_p99_ns);
}

static json_t *hosts_json(const struct volume_info *info)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < info->nr_hosts; i++)
        json_array_append_new(a, json_string(info->hosts[i]));
    return a;
}

static json_t *volume_json(const struct volume_view *v)
{
    const struct volume_info *i = &v->info;
    char uuid[UUID_TEXT_CHARS + 1];

    json_t *o = json_pack("{s:s,s:I,s:i,s:s,s:I,s:I, s:s,s:s,s:s, s:{s:I,s:I,s:I,s:I},s:I, s:o,s:i,s:b, s:{s:o,s:o,s:o,s:o,s:o}}",
                          "name", i->p.name, "size", (json_int_t)i->p.size_bytes, "lba", (int)i->p.lba_bytes,
                          "tier", volume_tier_name(i->p.tier), "iops", (json_int_t)i->p.iops, "bandwidth", (json_int_t)i->p.bandwidth,
                          "uuid", uuid_format(&i->uuid, uuid), "nqn", v->nqn, "serial", v->serial,
                          "used", "ssd", (json_int_t)i->used_bytes_ssd, "flash", (json_int_t)i->used_bytes_flash,
                          "hdd", (json_int_t)i->used_bytes_hdd, "copies", (json_int_t)i->copies_bytes, "dirty", (json_int_t)i->dirty_bytes,
                          "hosts", hosts_json(i), "controllers", (int)v->controllers, "read_only", (int)i->read_only,
                          "io", "read", io_json(&v->io[SUBSYS_READ]), "write", io_json(&v->io[SUBSYS_WRITE]),
                          "flush", io_json(&v->io[SUBSYS_FLUSH]), "discard", io_json(&v->io[SUBSYS_DISCARD]),
                          "write_zeroes", io_json(&v->io[SUBSYS_WRITE_ZEROES]));

    if (o)
        api_put_policy(o, &i->p.policy);
    return o;
}

/* A volume slows down when its own shard's part of the log is full, however empty the others are. */
static json_t *shards_json(const struct tier_info *i)
{
    json_t *a = json_array();

    for (uint32_t n = 0; n < i->nr_shards; n++)
        json_array_append_new(a, json_pack("{s:I,s:I,s:I}", "room", (json_int_t)i->shard[n].room_bytes, "dirty",
                                           (json_int_t)i->shard[n].dirty_bytes, "kept", (json_int_t)i->shard[n].kept_bytes));
    return a;
}

static json_t *pool_json(const struct tier_info *i)
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

static json_t *devices_json(struct node *n)
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

/* ---- volumes ----------------------------------------------------------------------------------------------------- */

static void reply_view(struct api *a, struct reply *out, int err, unsigned status, const char *name, const struct volume_view *v)
{
    if (err)
        reply_volume_err(a, out, err, name);
    else
        reply_json(out, status, volume_json(v));
}

static void volumes_list(struct api *a, const struct route *r, struct reply *out)
{
    struct volume_view *v = calloc(NODE_LIST_MAX, sizeof(*v));
    json_t *list = json_array();
    char after[NAME_MAX_CHARS + 1];
    unsigned left = r->limit;
    int nr = v ? 1 : -FIRN_E_NO_RESOURCES;

    snprintf(after, sizeof(after), "%s", r->after);
    while (nr > 0 && left > 0) {
        nr = node_volume_list(a->node, after, v, MIN(left, NODE_LIST_MAX));
        for (int i = 0; i < nr; i++) {
            json_array_append_new(list, volume_json(&v[i]));
            snprintf(after, sizeof(after), "%s", v[i].info.p.name);
            left--;
        }
    }
    free(v);
    if (nr < 0) {
        json_decref(list);
        reply_err(a, out, nr);
    } else { /* a full page: the name to go on after; else there is no more */
        reply_json(out, 200, json_pack("{s:o,s:s?}", "volumes", list, "next", left == 0 && r->limit > 0 ? after : NULL));
    }
}

static json_t *body_object(const char *body, size_t len, struct reply *out)
{
    char why[256];
    json_t *o = api_json_parse(body, len, why);

    if (!o)
        reply_error(out, 400, "invalid", why);
    return o;
}

/* In bytes where the short texts are alike. */
static void say_sizes(uint64_t is, uint64_t wanted, char what[static 160])
{
    char b1[32], b2[32];

    if (strcmp(size_format(is, b1), size_format(wanted, b2)) != 0)
        snprintf(what, 160, "its size is %s, not %s", b1, b2);
    else
        snprintf(what, 160, "its size is %" PRIu64 " bytes, not %" PRIu64 " bytes", is, wanted);
}

/* As the tier calls them. */
static unsigned fields_of(unsigned seen)
{
    return (seen & API_TIER ? VOLUME_F_TIER : 0u) | (seen & API_IOPS ? VOLUME_F_IOPS : 0u) |
           (seen & API_BANDWIDTH ? VOLUME_F_BANDWIDTH : 0u) | (seen & API_SIZE ? VOLUME_F_SIZE : 0u) |
           (seen & API_CACHE_MIN ? VOLUME_F_CACHE_MIN : 0u) | (seen & API_CACHE_MAX ? VOLUME_F_CACHE_MAX : 0u) |
           (seen & API_ADMIT ? VOLUME_F_ADMIT : 0u) | (seen & API_STREAM ? VOLUME_F_STREAM : 0u);
}

/* Which of the parameters that were asked for differs from what is there; those left out may be anything, but a size of blocks that
 * a host does not expect would serve nobody. */
static bool differs(const struct volume_params *is, const struct volume_params *p, unsigned seen, char what[static 160])
{
    what[0] = '\0';
    if (is->size_bytes != ROUND_UP(p->size_bytes, MIB))
        say_sizes(is->size_bytes, p->size_bytes, what);
    else if (is->lba_bytes != p->lba_bytes)
        snprintf(what, 160, "its lba is %u, not %u", is->lba_bytes, p->lba_bytes);
    else if ((seen & API_TIER) && is->tier != p->tier)
        snprintf(what, 160, "its tier is %s, not %s", volume_tier_name(is->tier), volume_tier_name(p->tier));
    else if ((seen & API_IOPS) && is->iops != p->iops)
        snprintf(what, 160, "its iops is %" PRIu64 ", not %" PRIu64, is->iops, p->iops);
    else if ((seen & API_BANDWIDTH) && is->bandwidth != p->bandwidth)
        snprintf(what, 160, "its bandwidth is %" PRIu64 ", not %" PRIu64, is->bandwidth, p->bandwidth);
    else
        (void)api_policy_differs(&is->policy, &p->policy, fields_of(seen), what);
    return what[0] != '\0';
}

/* A volume of that name is there, and not all of its parameters are p's. A change since it was made is no reason to refuse the
 * request that made it. v: room. */
static void reply_exists(struct api *a, const struct volume_params *p, unsigned seen, struct volume_view *v, struct reply *out)
{
    char what[160] = "with other parameters";
    struct volume_params is;
    bool created;

    if (node_volume_get(a->node, p->name, v) == 0 && !differs(&v->info.p, p, seen, what)) {
        is = v->info.p; /* asked for as it is: a volume that an earlier failure left unserved is served again */
        reply_view(a, out, node_volume_create(a->node, &is, &created, v), 200, p->name, v);
    } else
        reply_detail(out, 409, "exists", "a volume of that name exists: %s", what);
}

/* Of what a create can lack, the one limit that the user has set is told by its name. */
static void reply_not_created(struct api *a, struct reply *out, int err, const char *name)
{
    uint64_t max = node_volumes_max(a->node);
    struct tier_info info;

    node_pool_info(a->node, &info);
    if (err == -FIRN_E_NO_RESOURCES && info.nr_volumes >= max)
        reply_detail(out, 503, err_code(err), "limits.volumes = %" PRIu64 " is reached; delete a volume%s", max,
                     max < VOLUMES_MAX ? ", or raise it in firn.conf and reload" : "");
    else
        reply_volume_err(a, out, err, name);
}

static void volume_create(struct api *a, const char *body, size_t len, struct reply *out)
{
    struct volume_params p = {.lba_bytes = BLOCK_BYTES};
    struct volume_view *v = calloc(1, sizeof(*v));
    json_t *o = body_object(body, len, out);
    bool created = false;
    char why[256] = "";
    int seen;

    if (o && v) {
        seen = api_volume_params(o, API_NAME | API_SIZE | API_LBA | API_CHANGES, &p, why);
        if (seen < 0)
            reply_error(out, 400, "invalid", why);
        else if (!(seen & API_NAME) || !(seen & API_SIZE))
            reply_error(out, 400, "invalid", "name and size are needed");
        else {
            int err = node_volume_create(a->node, &p, &created, v);

            if (err == -FIRN_E_NO_SPACE && p.tier == VOLUME_SSD)
                reply_pin_err(a, out, err);
            else if (err == -FIRN_E_EXISTS)
                reply_exists(a, &p, (unsigned)seen, v, out);
            else if (err && !reply_share_err(a, out, err, (unsigned)seen, &p, v))
                reply_not_created(a, out, err, p.name);
            else if (!err)
                reply_view(a, out, err, created ? 201 : 200, p.name, v);
        }
    } else if (o) {
        reply_error(out, 503, "no_resources", "out of memory");
    }
    json_decref(o);
    free(v);
}

static int change_volume(struct api *a, const char *name, int seen, const struct volume_params *p, struct volume_view *v)
{
    unsigned mask = fields_of((unsigned)seen);

    if (!mask)
        return node_volume_get(a->node, name, v);
    return node_volume_change(a->node, name, mask, p, v);
}

static void volume_patch(struct api *a, const char *name, const char *body, size_t len, struct reply *out)
{
    struct volume_params p = {0};
    struct volume_view *v = calloc(1, sizeof(*v));
    json_t *o = body_object(body, len, out);
    char why[256] = "";
    int seen, err;

    if (o && v) {
        snprintf(p.name, sizeof(p.name), "%s", name);
        seen = api_volume_params(o, API_SIZE | API_CHANGES, &p, why);
        if (seen < 0)
            reply_error(out, 400, "invalid", why);
        else if ((seen & API_SIZE) && node_volume_get(a->node, name, v) == 0 && ROUND_UP(p.size_bytes, MIB) < v->info.p.size_bytes)
            reply_detail(out, 400, "invalid", "volumes only grow; its size is %s now", size_format(v->info.p.size_bytes, (char[32]){0}));
        else if ((err = change_volume(a, name, seen, &p, v)) == -FIRN_E_NO_SPACE)
            reply_pin_err(a, out, err);
        else if (!reply_share_err(a, out, err, (unsigned)seen, &p, v))
            reply_view(a, out, err, 200, name, v);
    } else if (o) {
        reply_error(out, 503, "no_resources", "out of memory");
    }
    json_decref(o);
    free(v);
}

/* A delete is refused for hosts that are connected, or for another change: whichever is there now. */
static void reply_not_deleted(struct api *a, const struct route *r, int err, struct reply *out)
{
    struct volume_view *v = err == -FIRN_E_IN_USE && !r->force ? calloc(1, sizeof(*v)) : NULL;

    if (v && node_volume_get(a->node, r->volume, v) == 0 && v->controllers > 0)
        reply_detail(out, 409, "in_use", "a host is connected to volume %s", r->volume);
    else
        reply_volume_err(a, out, err, r->volume);
    free(v);
}

static void volume(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out)
{
    struct volume_view *v;
    int err;

    if (r->method == HTTP_PATCH) {
        volume_patch(a, r->volume, body, len, out);
    } else if (r->method == HTTP_DELETE) {
        err = node_volume_delete(a->node, r->volume, r->force);
        if (err)
            reply_not_deleted(a, r, err, out);
        else
            out->status = 204;
    } else {
        v = calloc(1, sizeof(*v));
        err = v ? node_volume_get(a->node, r->volume, v) : -FIRN_E_NO_RESOURCES;
        reply_view(a, out, err, 200, r->volume, v);
        free(v);
    }
}

/* One list a figure, part by part: what draws them takes them as they are. */
static json_t *heat_json(const struct tier_heat *h)
{
    json_t *read = json_array(), *write = json_array(), *ssd = json_array(), *hdd = json_array();

    for (uint32_t i = 0; i < h->nr; i++) {
        json_array_append_new(read, json_real(h->part[i].read));
        json_array_append_new(write, json_real(h->part[i].write));
        json_array_append_new(ssd, json_integer((json_int_t)h->part[i].ssd_bytes));
        json_array_append_new(hdd, json_integer((json_int_t)h->part[i].hdd_bytes));
    }
    return json_pack("{s:s,s:I,s:I,s:I, s:o,s:o, s:{s:o,s:o}}", "volume", h->name, "size", (json_int_t)h->size_bytes,
                     "part", (json_int_t)h->part_bytes, "half_life_s", (json_int_t)h->half_life_s,
                     "read", read, "write", write, "used", "ssd", ssd, "hdd", hdd);
}

static void heat(struct api *a, const struct route *r, struct reply *out)
{
    struct tier_heat *h = calloc(1, sizeof(*h));
    int err = h ? node_volume_heat(a->node, r->volume, r->parts, h) : -FIRN_E_NO_RESOURCES;

    if (!node_has_pool(a->node))
        reply_error(out, 404, "not_found", "there is no heat: the server runs from memory (--ram)");
    else if (err)
        reply_volume_err(a, out, err, r->volume);
    else
        reply_json(out, 200, heat_json(h));
    free(h);
}

static void hosts(struct api *a, const struct route *r, struct reply *out)
{
    struct volume_view *v = calloc(1, sizeof(*v));
    int err = v ? 0 : -FIRN_E_NO_RESOURCES;

    if (!err && r->method == HTTP_PUT)
        err = node_host_allow(a->node, r->volume, r->nqn, v);
    else if (!err && r->method == HTTP_DELETE)
        err = node_host_deny(a->node, r->volume, r->nqn, v);
    else if (!err)
        err = node_volume_get(a->node, r->volume, v);
    if (err)
        reply_volume_err(a, out, err, r->volume);
    else
        reply_json(out, 200, json_pack("{s:o}", "hosts", hosts_json(&v->info)));
    free(v);
}

/* ---- node -------------------------------------------------------------------------------------------------------- */

static uint64_t uptime_s(const struct api *a)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return ((uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec - a->started_ns) / NS_PER_S;
}

static void add_alert(void *ctx, const char *text) { json_array_append_new(ctx, json_string(text)); }

static json_t *alerts_json(struct node *n)
{
    json_t *list = json_array();

    if (list)
        alerts_of_node(n, add_alert, list);
    return list;
}

static json_t *capacity_json(const char *tier, uint64_t bytes, uint64_t used_bytes, uint64_t reserved_bytes)
{
    return json_pack("{s:s,s:I,s:I,s:I,s:I}", "tier", tier, "size", (json_int_t)bytes, "used", (json_int_t)used_bytes,
                     "reserved", (json_int_t)reserved_bytes, "extents", (json_int_t)(used_bytes / EXTENT_BYTES));
}

/* What each tier has room for and holds; blocks that lie on both the SSD and another one count on both. What is reserved may go to
 * any capacity device: it is shown with the last. */
static json_t *tiers_json(const struct tier_info *i)
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

static json_t *tier_stats_json(struct node *n)
{
    struct tier_stats s;
    json_t *o = json_object();

    node_tier_stats(n, &s);
#define X(name, help) json_object_set_new(o, #name, json_integer((json_int_t)s.name));
    TIER_COUNTERS(X)
#undef X
    return o;
}

static void status(struct api *a, struct reply *out)
{
    struct tier_info info;
    struct target_stats t;

    node_pool_info(a->node, &info);
    node_target_stats(a->node, &t);
    reply_json(out, 200, json_pack("{s:s,s:s,s:b,s:I,s:i,s:i,s:i, s:o?,s:o?,s:o,s:o, s:{s:I,s:I,s:I,s:I,s:I},s:o}",
                                   "node", node_name(a->node), "version", FIRN_VERSION, "ready", (int)!a->stopping,
                                   "uptime_s", (json_int_t)uptime_s(a), "reactors", (int)node_reactors(a->node),
                                   "port", (int)node_port(a->node), "discovery_port", (int)node_discovery_port(a->node),
                                   "pool", node_has_pool(a->node) ? pool_json(&info) : NULL,
                                   "tiers", node_has_pool(a->node) ? tiers_json(&info) : NULL,
                                   "devices", devices_json(a->node), "tier", tier_stats_json(a->node),
                                   "target", "connections", (json_int_t)t.connections, "refused", (json_int_t)t.connections_refused,
                                   "protocol_errors", (json_int_t)t.protocol_errors, "digest_errors", (json_int_t)t.digest_errors,
                                   "fenced_commands", (json_int_t)t.fenced_commands,
                                   "alerts", alerts_json(a->node)));
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

static void pool(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out)
{
    struct tier_info info;

    if (!node_has_pool(a->node)) {
        reply_error(out, 404, "not_found", "there is no pool: the server runs from memory (--ram)");
        return;
    }
    if (r->method == HTTP_PATCH && pool_patch(a, body, len, out) != 0)
        return;
    node_pool_info(a->node, &info);
    reply_json(out, 200, pool_json(&info));
}

static void config(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out)
{
    char why[256] = "";
    json_t *o;
    int err;

    if (r->method == HTTP_PATCH) {
        o = body_object(body, len, out);
        if (!o)
            return;
        err = settings_set(a->settings, o, why);
        json_decref(o);
        if (err) {
            reply_error(out, api_http_status(err), err == -ETIMEDOUT ? "timeout" : err_code(err), why);
            return;
        }
    }
    reply_json(out, 200, settings_json(a->settings));
}

static void metrics(struct api *a, struct reply *out)
{
    struct strbuf b;

    strbuf_init(&b);
    metrics_page_render(a->metrics, &b);
    reply_text(out, b.failed ? 503 : 200, "text/plain; version=0.0.4; charset=utf-8", strbuf_str(&b));
    strbuf_fini(&b);
}

static void page(struct api *a, struct reply *out)
{
    struct strbuf b;

    strbuf_init(&b);
    status_page_render(a->node, uptime_s(a), &b);
    reply_text(out, b.failed ? 503 : 200, "text/html; charset=utf-8", strbuf_str(&b));
    strbuf_fini(&b);
}

static void readyz(struct api *a, struct reply *out)
{
    struct tier_info info;
    char text[sizeof(info.read_only_why) + 16];

    node_pool_info(a->node, &info);
    snprintf(text, sizeof(text), "read-only: %s\n", info.read_only_why);
    if (a->stopping)
        reply_text(out, 503, "text/plain", "stopping\n");
    else if (info.read_only)
        reply_text(out, 503, "text/plain", text);
    else
        reply_text(out, 200, "text/plain", "ok\n");
}

void api_handle(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out)
{
    *out = (struct reply){.status = 500};
    if (a->stopping && r->method != HTTP_GET) {
        reply_error(out, 503, "stopped", err_text(-FIRN_E_STOPPED));
        return;
    }
    switch (r->id) {
    case ROUTE_PAGE:
        page(a, out);
        return;
    case ROUTE_METRICS:
        metrics(a, out);
        return;
    case ROUTE_HEALTHZ:
        reply_text(out, 200, "text/plain", "ok\n");
        return;
    case ROUTE_READYZ:
        readyz(a, out);
        return;
    case ROUTE_STATUS:
        status(a, out);
        return;
    case ROUTE_POOL:
        pool(a, r, body, len, out);
        return;
    case ROUTE_DEVICES:
        reply_json(out, 200, json_pack("{s:o}", "devices", devices_json(a->node)));
        return;
    case ROUTE_CONFIG:
        config(a, r, body, len, out);
        return;
    case ROUTE_VOLUMES:
        if (r->method == HTTP_POST)
            volume_create(a, body, len, out);
        else
            volumes_list(a, r, out);
        return;
    case ROUTE_VOLUME:
        volume(a, r, body, len, out);
        return;
    case ROUTE_HEAT:
        heat(a, r, out);
        return;
    case ROUTE_HOSTS:
    case ROUTE_HOST:
        hosts(a, r, out);
        return;
    case ROUTE_NR:
        break;
    }
    assert(false && "a route without a verb");
}
