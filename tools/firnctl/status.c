/* SPDX-License-Identifier: Apache-2.0 */
/* status.c: `firnctl status` and `firnctl device list`: one screen. */
#include <inttypes.h>
#include <stdio.h>

#include "base/sizefmt.h"
#include "tools/firnctl/client.h"
#include "tools/firnctl/commands.h"

#define VOLUMES_SHOWN 20u

static const char *size_of(const json_t *o, const char *key, char buf[static 32])
{
    return size_format((uint64_t)json_num(o, key), buf);
}

static void print_devices(const json_t *devices)
{
    size_t i;
    json_t *d;

    printf("%-10s %-44s %12s %12s %-9s %6s %s\n", "ROLE", "DEVICE", "SIZE", "USED", "STATE", "ERRORS", "BAD BLOCKS");
    json_array_foreach(devices, i, d)
    {
        int64_t bad = json_num(d, "checksum_errors");
        const char *state = json_text(d, "state");
        char b1[32], b2[32];

        if (bad > 0 && strcmp(state, "ok") == 0) /* it answers, but not with what was written */
            state = "bad data";
        printf("%-10s %-44s %12s %12s %-9s %6" PRId64 " %10" PRId64 "\n", json_text(d, "role"), json_text(d, "path"),
               size_of(d, "size", b1), size_of(d, "used", b2), state, json_num(json_object_get(d, "io"), "errors"), bad);
    }
}

/* What the log will settle on the HDDs is reserved there: it is as good as used. */
static void print_capacity(const json_t *pool)
{
    const json_t *c = json_object_get(pool, "capacity");
    char b1[32], b2[32], b3[32];

    printf("capacity %s used + %s reserved of %s\n", size_of(c, "used", b1), size_of(c, "reserved", b2), size_of(c, "size", b3));
}

static void print_tiers(const json_t *s)
{
    const json_t *t = json_object_get(s, "tier"), *tier;
    double ssd = (double)json_num(t, "read_hit_blocks"), ram = (double)json_num(t, "stage_hit_blocks");
    double hdd = (double)json_num(t, "read_miss_blocks"), all = ssd + ram + hdd;
    size_t i;

    json_array_foreach(json_object_get(s, "tiers"), i, tier)
    {
        const char *rest = json_object_get(tier, "dirty") ? "dirty" : "reserved";
        char b1[32], b2[32], b3[32];

        printf("  %-9s %s of %s, %s %s; %" PRId64 " extents\n", json_text(tier, "tier"), size_of(tier, "used", b1),
               size_of(tier, "size", b2), size_of(tier, rest, b3), rest[0] == 'd' ? "not yet destaged" : "reserved",
               json_num(tier, "extents"));
    }
    if (all > 0)
        printf("  reads     %.1f %% of blocks from the SSD, %.1f %% from RAM, %.1f %% from capacity devices\n",
               100 * ssd / all, 100 * ram / all, 100 * hdd / all);
}

/* What the SSD alone has. More is held there that was destaged, where a write beside it may have torn it: of all gaps, after a crash. */
static int64_t not_destaged(const json_t *of)
{
    return json_num(of, "dirty") - json_num(of, "kept");
}

/* Each shard's part of the log, where there are several: writes wait for their own. */
static void print_shards(const json_t *pool)
{
    const json_t *shards = json_object_get(pool, "shard_fill"), *sh;
    size_t i;

    if (json_array_size(shards) < 2)
        return;
    printf("  shards   ");
    json_array_foreach(shards, i, sh)
    {
        int64_t room = json_num(sh, "room");

        printf(" %" PRId64 " %%%s", room ? not_destaged(sh) * 100 / room : 0, i + 1 < json_array_size(shards) ? "," : "");
    }
    printf(" of what each can hold not yet destaged\n");
}

static void print_pool(const json_t *pool, const json_t *s)
{
    const json_t *j = json_object_get(pool, "journal");
    int64_t size = json_num(j, "size"), dirty = not_destaged(j);
    char b1[32];

    printf("pool %s (%s)\n", json_text(pool, "name"), json_text(pool, "uuid"));
    printf("  journal   %s, %" PRId64 " %% not yet destaged, %" PRId64 " of %" PRId64 " segments free\n", size_of(j, "size", b1),
           size ? dirty * 100 / size : 0, json_num(j, "free_segments"), json_num(j, "segments"));
    print_shards(pool);
    if (json_num(j, "kept") > 0)
        printf("  kept      %s more that were destaged, until they are once more: a write that a crash cut short may have torn them\n",
               size_of(j, "kept", b1));
    printf("  ");
    print_capacity(pool);
    print_tiers(s);
}

static void print_volumes(const json_t *volumes)
{
    size_t i, n = json_array_size(volumes);
    json_t *v;

    printf("\n%zu volume%s\n", n, n == 1 ? "" : "s");
    json_array_foreach(volumes, i, v)
    {
        char b1[32];

        if (i == VOLUMES_SHOWN) {
            printf("  and %zu more: firnctl volume list\n", n - i);
            break;
        }
        printf("  %-32s %12s  %" PRId64 " connected%s\n", json_text(v, "name"), size_of(v, "size", b1), json_num(v, "controllers"),
               json_is_true(json_object_get(v, "read_only")) ? ", read-only" : "");
    }
}

static void print_status(const json_t *s, const json_t *volumes)
{
    const json_t *pool = json_object_get(s, "pool"), *alerts = json_object_get(s, "alerts");
    size_t i;
    json_t *a;

    printf("node %s: firn %s, up %" PRId64 " s, %" PRId64 " reactor%s, port %" PRId64 ", discovery also on %" PRId64
           ", %" PRId64 " connections\n",
           json_text(s, "node"), json_text(s, "version"), json_num(s, "uptime_s"), json_num(s, "reactors"),
           json_num(s, "reactors") == 1 ? "" : "s", json_num(s, "port"),
           json_num(s, "discovery_port"), json_num(json_object_get(s, "target"), "connections"));
    if (json_is_object(pool))
        print_pool(pool, s);
    else
        printf("no pool: the server runs from memory\n");
    printf("\n");
    print_devices(json_object_get(s, "devices"));
    print_volumes(volumes);
    printf("\n%s\n", json_array_size(alerts) ? "alerts:" : "alerts: none");
    json_array_foreach(alerts, i, a)
        printf("  %s\n", client_string(a));
}

int cmd_status(const struct args *a)
{
    json_t *s = NULL, *volumes = NULL;
    int err = client_json(a, "cannot get the status", "GET", "/v1/status", NULL, &s, NULL);

    if (!err && !print_json(a, s)) {
        volumes = all_volumes(a);
        if (volumes)
            print_status(s, volumes);
        else
            err = CTL_FAILED;
    }
    json_decref(volumes);
    json_decref(s);
    return err;
}

int cmd_device_list(const struct args *a)
{
    json_t *doc = NULL, *s = NULL;
    int err = client_json(a, "cannot list devices", "GET", "/v1/devices", NULL, &doc, NULL);

    if (!err && !print_json(a, doc)) {
        print_devices(json_object_get(doc, "devices"));
        err = client_json(a, "cannot get the status", "GET", "/v1/status", NULL, &s, NULL);
        if (!err && json_is_object(json_object_get(s, "pool")))
            print_capacity(json_object_get(s, "pool"));
    }
    json_decref(s);
    json_decref(doc);
    return err;
}

int cmd_loss_clear(const struct args *a)
{
    json_t *before = NULL, *pool = NULL;
    int err = client_json(a, "cannot clear the loss", "GET", "/v1/pool", NULL, &before, NULL);

    if (!err)
        err = client_json(a, "cannot clear the loss", "PATCH", "/v1/pool", json_pack("{s:n}", "loss_accepted"), &pool, NULL);
    if (!err && !print_json(a, pool) && !arg(a, quiet))
        printf("%s\n", json_is_integer(json_object_get(before, "loss_accepted")) ? "cleared"
                       : "there is nothing to clear: no start has accepted a loss since the last time");
    json_decref(before);
    json_decref(pool);
    return err;
}
