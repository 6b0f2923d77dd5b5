/* SPDX-License-Identifier: Apache-2.0 */
/* world_make.c: the machine of a seed, and the pool on it.
 *
 * 1. Disks, in part full of noise, the pool's options, and the bug that is planted, if any, are made from the plan.
 * 2. The pool is formatted; now and then a crash interrupts that, and it is formatted again.
 * 3. A reboot ends what the machine ran, and gives it new envs.
 */
#include "tools/sim/world.h"

#include <stdio.h>

static void make_disks(struct world *w)
{
    const struct plan *p = &w->plan;
    struct sim_disk_opts o = {.block_bytes = p->device_block, .torn_bytes = p->torn, .garbage = sim_chance(w->sim, 300000)};

    o.latency_min_ns = 10 * NS_PER_US;
    o.latency_max_ns = p->journal_ns;
    o.size_bytes = 2 * MIB + (uint64_t)p->segments * p->segment_bytes;
    if (p->pmem_torn != 0) {
        o.block_bytes = BLOCK_BYTES;
        o.torn_bytes = p->pmem_torn;
    }
    sim_machine_add(&w->machine, "journal", &o);
    o.block_bytes = p->device_block;
    o.torn_bytes = p->torn;
    o.size_bytes = p->capacity_bytes;
    o.capacity = o.rotational = true;
    o.latency_min_ns = 50 * NS_PER_US;
    o.latency_max_ns = p->capacity_ns;
    sim_meta_faults(w->machine.store)->latency_min_ns = 50 * NS_PER_US;
    sim_meta_faults(w->machine.store)->latency_max_ns = p->meta_ns;
    for (uint32_t i = 0; i < p->capacity_devs; i++) {
        char name[24];

        snprintf(name, sizeof(name), "capacity%u", i);
        o.rotational = (p->flash >> i & 1) == 0;
        sim_machine_add(&w->machine, name, &o);
    }
    o.capacity = o.rotational = false;
    o.latency_min_ns = 10 * NS_PER_US;
    o.latency_max_ns = p->journal_ns;
    o.size_bytes = 2 * MIB + (uint64_t)p->cache_segments * p->segment_bytes;
    for (uint32_t i = 0; i < p->cache_devs; i++) {
        char name[24];

        snprintf(name, sizeof(name), "cache%u", i);
        sim_machine_add(&w->machine, name, &o);
    }
}

static void fill_tier_opts(struct world *w)
{
    const struct plan *p = &w->plan;
    struct tier_opts *t = &w->topts;

    memset(t, 0, sizeof(*t));
    snprintf(t->pool_name, sizeof(t->pool_name), "sim");
    snprintf(t->meta_path, sizeof(t->meta_path), "meta");
    t->nr_devs = 1 + p->capacity_devs + p->cache_devs;
    for (uint32_t i = 0; i < t->nr_devs; i++) {
        t->devs[i].role = i == 0 ? TIER_JOURNAL : i <= p->capacity_devs ? TIER_CAPACITY : TIER_CACHE;
        snprintf(t->devs[i].path, sizeof(t->devs[i].path), "%s", w->machine.path[i]);
        t->devs[i].size_bytes = sim_disk_size(w->machine.disk[i]);
    }
    t->nr_shards = p->shards;
    t->segment_bytes = p->segment_bytes;
    t->ring_bytes = p->ring_bytes;
    t->journal_align = p->align;
    t->group_bytes_max = p->group_bytes_max;
    t->groups_in_flight = p->groups_in_flight;
    t->dirty_start_pct = p->dirty_start_pct;
    t->dirty_max_pct = p->dirty_max_pct;
    t->ios_per_shard = p->ios_per_shard;
    t->write_bypass = p->write_bypass;
    t->tombstones_max = p->tombstones_max;
    t->stage_bytes = p->stage_bytes;
    t->pin_pct = 1000; /* more than there is: what is pinned must give way where nothing else can */
    t->heat_period_ns = 50 * NS_PER_MS; /* often, so that crashes meet it */
    t->heat_half_life_ns = p->flash != 0 ? NS_PER_S : 0;
    t->migrate_rate = UINT64_C(1) << 40;
    t->admit_touches = p->admit_touches;
    sim_machine_seams(&w->machine, &t->seams);
    t->envs = w->envs;
    t->nr_envs = p->envs;
}

void world_envs_new(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.envs; i++)
        w->envs[i] = sim_env_new(w->sim);
}

void world_envs_free(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.envs; i++)
        sim_env_free(w->envs[i]);
}

void world_reboot(struct world *w)
{
    if (w->target != NULL && !sim_crashed(w->sim))
        sim_crash(w->sim); /* connections end with the machine */
    if (w->target != NULL)
        net_world_gone(w);
    world_envs_free(w);
    sim_reboot(w->sim);
    world_envs_new(w);
}

void world_format(struct world *w)
{
    int err;

    w->topts.force = true; /* noise looks like somebody's data */
    if (sim_chance(w->sim, 50000))
        sim_crash_in_events(w->sim, sim_between(w->sim, 1, 60));
    err = tier_format(&w->topts, w->why);
    if (sim_crashed(w->sim)) {
        sim_fault_fired(w->sim, SIM_CRASH_IN_FORMAT);
        sim_fault_mattered(w->sim, SIM_CRASH_IN_FORMAT);
        world_say(w, "crashed in format");
        world_reboot(w);
        err = tier_format(&w->topts, w->why);
    }
    sim_crash_in_events(w->sim, 0);
    if (err != 0)
        world_fail(w, "format: %s (%s)", err_text(err), w->why);
}

static void plant(struct world *w)
{
    if (w->opts->bug < 0)
        return;
    switch ((enum sim_bug)w->opts->bug) {
#define X(room, field, prof)       \
    case BUG_##field:              \
        w->bugs.room.field = true; \
        break;
        SIM_BUGS(X)
#undef X
    case BUG_NR:
        break;
    }
    w->topts.bugs = &w->bugs.tier;
    w->topts.journal_bugs = &w->bugs.journal;
}

void world_make(struct world *w)
{
    sim_machine_init(&w->machine, w->sim);
    make_disks(w);
    fill_tier_opts(w);
    plant(w);
}
