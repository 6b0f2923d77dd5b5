/* SPDX-License-Identifier: Apache-2.0 */
/* api_volumes.c: volumes, their heat and their hosts as JSON.
 *
 * 1. A body is read into the parameters of a volume (api_json.c).
 * 2. node.h does it, and says what is there then.
 * 3. That is the answer.
 * Failures: what a request can mend is said with what is there, or would fit: other parameters of a volume of that name, room on the
 * SSD, shares of the cache, the limit of volumes, a host that is connected. Anything else is as api_reply.c has it.
 */
#include "daemon/api_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sizefmt.h"
#include "daemon/api_json.h"
#include "daemon/api_policy.h"

static_assert(HEAT_PARTS_MAX == TIER_HEAT_PARTS_MAX, "what the tier gives");

/* ---- objects ---- */

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

    json_t *o = json_pack("{s:s,s:I,s:i,s:s,s:I,s:I, s:s,s:s,s:s, s:{s:I,s:I,s:I,s:I},s:I, s:{s:I,s:I}, "
                          "s:o,s:i,s:b, s:{s:o,s:o,s:o,s:o,s:o}}",
                          "name", i->p.name, "size", (json_int_t)i->p.size_bytes, "lba", (int)i->p.lba_bytes,
                          "tier", volume_tier_name(i->p.tier), "iops", (json_int_t)i->p.iops, "bandwidth", (json_int_t)i->p.bandwidth,
                          "uuid", uuid_format(&i->uuid, uuid), "nqn", v->nqn, "serial", v->serial,
                          "used", "ssd", (json_int_t)i->used_bytes_ssd, "flash", (json_int_t)i->used_bytes_flash,
                          "hdd", (json_int_t)i->used_bytes_hdd, "copies", (json_int_t)i->copies_bytes, "dirty", (json_int_t)i->dirty_bytes,
                          "read_blocks", "hit", (json_int_t)i->hit_blocks, "miss", (json_int_t)i->miss_blocks,
                          "hosts", hosts_json(i), "controllers", (int)v->controllers, "read_only", (int)i->read_only,
                          "io", "read", io_json(&v->io[SUBSYS_READ]), "write", io_json(&v->io[SUBSYS_WRITE]),
                          "flush", io_json(&v->io[SUBSYS_FLUSH]), "discard", io_json(&v->io[SUBSYS_DISCARD]),
                          "write_zeroes", io_json(&v->io[SUBSYS_WRITE_ZEROES]));

    if (o)
        api_put_policy(o, &i->p.policy);
    return o;
}

/* ---- what goes wrong ---- */

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

static void reply_view(struct api *a, struct reply *out, int err, unsigned status, const char *name, const struct volume_view *v)
{
    if (err)
        reply_volume_err(a, out, err, name);
    else
        reply_json(out, status, volume_json(v));
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

/* ---- the verbs ---- */

void api_volumes_list(struct api *a, const struct route *r, struct reply *out)
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

void api_volume_create(struct api *a, const char *body, size_t len, struct reply *out)
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

void api_volume(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out)
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

void api_heat(struct api *a, const struct route *r, struct reply *out)
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

void api_hosts(struct api *a, const struct route *r, struct reply *out)
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
