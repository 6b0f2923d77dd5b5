/* SPDX-License-Identifier: Apache-2.0 */
/* alerts.c: see alerts.h. An alert lasts as long as its cause; damage for as long as the blocks stay as they are (tier/damage.h). */
#include "daemon/alerts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/sizefmt.h"
#include "daemon/fill.h"
#include "daemon/node.h"

typedef void say_fn(void *ctx, const char *text);

/* What is free of the capacity may be reserved already by what the log will settle there. */
static void tell_full(const struct tier_info *info, say_fn *say, void *ctx)
{
    uint64_t taken = info->capacity_used_bytes + info->capacity_reserved_bytes;
    char text[192], b1[32], b2[32];

    if (fill_level(info) == 0)
        return;
    if (taken >= info->capacity_bytes)
        snprintf(text, sizeof(text),
                 "the pool is full: writes to new places are refused; %s used + %s reserved; delete volumes or trim them",
                 size_format(info->capacity_used_bytes, b1), size_format(info->capacity_reserved_bytes, b2));
    else
        snprintf(text, sizeof(text), "the pool is getting full, above %" PRIu32 " %%: %s of %s are taken; delete volumes or trim them",
                 fill_level(info), size_format(taken, b1), size_format(info->capacity_bytes, b2));
    say(ctx, text);
}

static void tell_damage(const struct tier_info *info, say_fn *say, void *ctx)
{
    char text[256];

    if (info->damaged_blocks == 0)
        return;
    snprintf(text, sizeof(text),
             "%s%" PRIu64 " block%s of 4 KiB cannot be read: the log names volume and place; write them again or restore them; "
             "firnctl check --data finds all once the server is stopped",
             info->damaged_more ? "more than " : "", info->damaged_blocks, info->damaged_blocks == 1 ? "" : "s");
    say(ctx, text);
}

static void tell_loss(const struct tier_info *info, say_fn *say, void *ctx)
{
    char text[256], date[32];
    time_t at = (time_t)(info->loss_wall_ns / NS_PER_S);
    struct tm utc;

    if (info->loss_wall_ns == 0)
        return;
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", gmtime_r(&at, &utc));
    snprintf(text, sizeof(text),
             "acknowledged data is missing, which was accepted on %s: compare the volumes with what they should hold; firnctl check --data "
             "names what cannot be read; then firnctl loss clear", date);
    say(ctx, text);
}

/* What a cache device holds lies elsewhere, too. */
static void tell_device(const struct tier_dev_info *d, say_fn *say, void *ctx)
{
    const char *state = tier_dev_state(d);
    const char *lost = d->role == TIER_CACHE ? ": nothing is lost, reads go to the capacity devices" : "";
    char text[480];

    if (d->missing)
        snprintf(text, sizeof(text), "cache_missing: cache device %s is missing%s; connect it and restart firnd, or take it out of "
                 "pool.cache", d->path, lost);
    else if (d->failed || d->degraded)
        snprintf(text, sizeof(text), "device %s is %s%s", d->path, state, lost);
    else
        return;
    say(ctx, text);
}

void alerts_tell(const struct tier_info *info, const struct tier_dev_info *devs, uint32_t nr, say_fn *say, void *ctx)
{
    if (info->read_only_why[0])
        say(ctx, info->read_only_why);
    if (info->alert[0])
        say(ctx, info->alert);
    tell_loss(info, say, ctx);
    tell_full(info, say, ctx);
    for (uint32_t i = 0; i < nr; i++)
        tell_device(&devs[i], say, ctx);
    tell_damage(info, say, ctx);
}

void alerts_of_node(struct node *n, say_fn *say, void *ctx)
{
    const uint32_t max = 1 + CACHE_DEVS_MAX + CAPACITY_DEVS_MAX;
    struct tier_dev_info *d = calloc(max, sizeof(*d));
    uint32_t nr = d ? node_dev_info(n, d, max) : 0;
    struct tier_info info;

    node_pool_info(n, &info);
    alerts_tell(&info, d, nr, say, ctx);
    free(d);
}
