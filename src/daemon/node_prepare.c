/* SPDX-License-Identifier: Apache-2.0 */
/* node_prepare.c: a pool before it runs: format and probe, in a straight line over one reactor of their own. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "daemon/node_priv.h"

#define SEGMENTS_PER_SHARD_MIN 8u /* journal.h: segpool_plan() */

uint32_t reactors_wanted(const struct config *cfg, bool ram)
{
    cpu_set_t set;
    uint32_t want = (uint32_t)config_num(cfg, reactors);

    if (want == 0 && ram)
        want = 1; /* one volume lives on one reactor; more would only accept */
    if (want == 0 && sched_getaffinity(0, sizeof(set), &set) == 0)
        want = (uint32_t)CPU_COUNT(&set);
    return MIN(MAX(want, 1u), REACTORS_MAX);
}

/* One shard a reactor, but no more than a small journal has segments for: a shard can live with company on a reactor. */
static uint32_t shards_wanted(const struct config *cfg)
{
    uint64_t journal = config_num(cfg, journal_size), segment = config_num(cfg, journal_segment_size);
    uint32_t nr = reactors_wanted(cfg, false);
    uint64_t fit;

    if (journal == 0)
        return nr;
    if (segment == 0)
        segment = MIN(MAX(journal / 1024, 16 * MIB), 256 * MIB);
    fit = journal > 2 * MIB ? (journal - 2 * MIB) / segment / SEGMENTS_PER_SHARD_MIN : 0;
    return (uint32_t)MIN((uint64_t)nr, MAX(fit, 1u));
}

static int with_one_reactor(const struct config *cfg, enum node_over over, int (*fn)(const struct tier_opts *, char *),
                            char why[static 256])
{
    struct reactor_opts ro = {.cpu = -1};
    struct tier_opts *o = calloc(1, sizeof(*o));
    struct reactor *r = NULL;
    struct env *env;
    int err = o ? reactor_new(&ro, &r, why) : -FIRN_E_NO_RESOURCES;

    if (!err) {
        env = reactor_env(r);
        config_tier_opts(cfg, o);
        o->envs = &env;
        o->nr_envs = 1;
        o->nr_shards = shards_wanted(cfg);
        o->force = over != NODE_OVER_NOTHING;
        o->remains = over == NODE_OVER_REMAINS;
        err = fn(o, why);
        reactor_free(r);
    }
    free(o);
    return err;
}

static int do_format(const struct tier_opts *o, char *why) { return tier_format(o, why); }
static int do_add_cache(const struct tier_opts *o, char *why) { return tier_cache_add(o, why); }
static int do_survey(const struct tier_opts *o, char *why) { return tier_survey(o, why); }
static int do_probe(const struct tier_opts *o, char *why) { return tier_probe(o, why); }

/* The number of shards stays with the pool: reactors beyond it would never carry a volume. */
static void say_few_shards(const struct config *cfg)
{
    uint32_t reactors = reactors_wanted(cfg, false), shards = shards_wanted(cfg);

    if (reactors > shards)
        log_warn("the journal is too small for a shard on every reactor",
                 "reactors=%u shards=%u segments_per_shard=%u do=\"a larger pool.journal.size or smaller journal.segment_size, "
                 "set before the format; else the other reactors carry no volume\"",
                 reactors, shards, SEGMENTS_PER_SHARD_MIN);
}

int node_format(const struct config *cfg, enum node_over over, char why[static 256])
{
    int err = with_one_reactor(cfg, over, do_format, why);

    if (!err)
        say_few_shards(cfg);
    return err;
}

int node_add_cache(const struct config *cfg, bool force, char why[static 256])
{
    return with_one_reactor(cfg, force ? NODE_OVER_ANYTHING : NODE_OVER_NOTHING, do_add_cache, why);
}

int node_survey(const struct config *cfg, char why[static 256])
{
    return with_one_reactor(cfg, NODE_OVER_NOTHING, do_survey, why);
}

int node_probe(const struct config *cfg, char why[static 256])
{
    return with_one_reactor(cfg, NODE_OVER_NOTHING, do_probe, why);
}
