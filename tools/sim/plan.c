/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c: what world a seed gets, and the names of profiles and planted bugs. Small on purpose: a journal of a few
 * segments wraps many times in two thousand requests, so that reclaim and destage run all the time.
 */
#include "tools/sim/world.h"

#include "tier/format.h"

const char *sim_profile_name(enum sim_profile p)
{
    static const char *const names[PROFILE_NR] = {
#define X(tag, text) [PROFILE_##tag] = #tag,
        SIM_PROFILES(X)
#undef X
    };

    assert(p < PROFILE_NR);
    return names[p];
}

int sim_profile_parse(const char *name)
{
    for (int i = 0; i < PROFILE_NR; i++)
        if (strcmp(sim_profile_name((enum sim_profile)i), name) == 0)
            return i;
    return -1;
}

static const struct { const char *name; enum sim_profile profile; } bugs[BUG_NR] = {
#define X(room, field, prof) [BUG_##field] = {#field, prof},
    SIM_BUGS(X)
#undef X
};

const char *sim_bug_name(enum sim_bug b)
{
    assert(b < BUG_NR);
    return bugs[b].name;
}

int sim_bug_parse(const char *name)
{
    for (int i = 0; i < BUG_NR; i++)
        if (strcmp(bugs[i].name, name) == 0)
            return i;
    return -1;
}

enum sim_profile sim_bug_profile(enum sim_bug b)
{
    assert(b < BUG_NR);
    return bugs[b].profile;
}

static uint32_t pick(struct sim *s, const uint32_t *of, size_t nr) { return of[sim_below(s, nr)]; }
#define PICK(s, ...) pick(s, (const uint32_t[]){__VA_ARGS__}, ARRAY_LEN(((const uint32_t[]){__VA_ARGS__})))

static enum sim_profile draw_profile(struct sim *s)
{
    static const uint8_t percent[PROFILE_NR] = {
        [PROFILE_CRASH] = 40, [PROFILE_SLOW] = 8, [PROFILE_TRANSIENT] = 8, [PROFILE_ROT] = 14, [PROFILE_FAILING] = 8,
        [PROFILE_META] = 5,   [PROFILE_FULL] = 5, [PROFILE_LYING] = 4,     [PROFILE_NETWORK] = 8,
    };
    uint32_t r = (uint32_t)sim_below(s, 100), p = 0;

    while (r >= percent[p])
        r -= percent[p++];
    return (enum sim_profile)p;
}

static void draw_geometry(struct plan *p, struct sim *s)
{
    p->shards = PICK(s, 1, 1, 2, 3);
    p->envs = (uint32_t)sim_between(s, 1, p->shards);
    p->segment_bytes = PICK(s, 64, 64, 128, 256, 256, 256, 512, 1024) * 1024;
    p->segments = p->shards * (uint32_t)sim_between(s, 8, 12);
    p->device_block = PICK(s, 512, 4096);
    p->torn = p->device_block == 4096 ? 4096 : PICK(s, 512, 4096);
    p->align = p->device_block == 4096 ? 4096 : PICK(s, 512, 4096);
    p->capacity_devs = (uint32_t)sim_between(s, 1, 3);
    p->journal_ns = PICK(s, 80, 80, 500, 3000) * NS_PER_US;
    p->capacity_ns = PICK(s, 100, 1000, 8000) * NS_PER_US;
    p->meta_ns = PICK(s, 1, 2, 20, 100) * NS_PER_MS;
    p->io_max_bytes = MIN(p->segment_bytes / 8, WORLD_IO_MAX);
    p->group_bytes_max = PICK(s, 0, 0, 64 * 1024, 16 * 1024);
    p->groups_in_flight = PICK(s, 0, 1, 2, 4);
    p->dirty_start_pct = PICK(s, 0, 10, 40);
    p->dirty_max_pct = PICK(s, 0, 50, 80);
    p->ios_per_shard = PICK(s, 0, 0, 16, 64);
}

static void draw_hosts(struct plan *p, struct sim *s)
{
    p->volumes = (uint32_t)sim_between(s, 1, 3);
    p->slots = PICK(s, 1, 4, 8, 16, 32, WORLD_SLOTS);
    p->volume_bytes_max = PICK(s, 1, 2, 4, 8) * MIB;
    p->overlap = sim_chance(s, 300000);
    p->weight[BLK_READ] = (uint32_t)sim_between(s, 10, 60);
    p->weight[BLK_WRITE] = (uint32_t)sim_between(s, 30, 80);
    p->weight[BLK_FLUSH] = 2;
    p->weight[BLK_WRITE_ZEROES] = (uint32_t)sim_below(s, 8);
    p->weight[BLK_DISCARD] = (uint32_t)sim_below(s, 8);
    p->hot_pct = PICK(s, 0, 50, 90);
    p->think_max_ns = PICK(s, 1, 100, 2000, 20000) * NS_PER_US;
}

/* Hosts that write in one boot and mostly read in the next, all over more than the SSD holds, and copies of whatever is read:
 * those come and go all the time. */
static void draw_readers(struct plan *p)
{
    p->segments += 4 * p->shards;
    p->segment_bytes = MIN(p->segment_bytes, 256 * (uint32_t)KIB);
    p->io_max_bytes = p->segment_bytes / 8;
    p->admit_touches = 1;
    p->readers = true;
    p->hot_pct = 0;
    p->dirty_start_pct = 10;
    p->dirty_max_pct = 50;
    p->volumes = 3;
    p->volume_bytes_max = 4 * MIB;
}

void plan_boot(struct plan *p, uint32_t no)
{
    p->migrate_heat = no % 2 != 0 ? 1 : 1u << 20;
    if (!p->readers)
        return;
    p->weight[BLK_READ] = no % 2 != 0 ? 10 : 100;
    p->weight[BLK_WRITE] = no % 2 != 0 ? 100 : 5;
}

void plan_draw(struct plan *p, struct sim *s, const struct world_opts *opts)
{
    enum sim_profile drawn = draw_profile(s);
    uint64_t need;

    p->profile = opts->profile >= 0 ? (enum sim_profile)opts->profile : drawn;
    draw_geometry(p, s);
    draw_hosts(p, s);
    if (opts->seed % 5 < 2)
        draw_readers(p);
    if (opts->seed / 3 % 3 == 0) {
        p->cache_devs = 1 + (uint32_t)(opts->seed / 9 % 2);
        p->cache_segments = p->shards * 2 + (uint32_t)(opts->seed / 9 % 7);
    }
    if (p->capacity_devs > 1 && opts->seed / 2 % 2 == 0) /* hot extents go there, and come back */
        p->flash = 1u << (opts->seed / 4 % p->capacity_devs);
    p->boots = (uint32_t)sim_between(s, 4, 7);
    need = WORLD_VOLUMES * 2 * p->volume_bytes_max; /* every volume there may be, grown to twice its size */
    if (p->profile == PROFILE_FULL)
        need = p->volumes * p->volume_bytes_max / 2;
    p->capacity_bytes = ROUND_UP(need / p->capacity_devs, MIB) + 8 * MIB;
    if (p->profile == PROFILE_FULL)
        p->capacity_bytes = ROUND_UP(need / p->capacity_devs, MIB) + 4 * MIB;
    /* Each half so small that it is soon full; and pools as they were before there were rings. */
    p->ring_bytes = (uint64_t)2 * p->shards * (uint32_t[]){1, 2, 3, 5, 8, 16}[opts->seed / 7 % 6] * DESC_BYTES;
    if (opts->seed % 7 == 0)
        p->ring_bytes = RING_NONE;
    p->capacity_bytes += p->ring_bytes == RING_NONE ? 0 : ROUND_UP(p->ring_bytes, MIB);
    if (sim_chance(s, 150000)) { /* as dev_pmem.c has it: whole blocks, although bytes would do */
        p->pmem_torn = PICK(s, 8, 8, 64);
        p->align = BLOCK_BYTES;
    }
    if (opts->seed % 3 == 0) /* so few that the oldest segment often has to go */
        p->tombstones_max = 1 + (uint32_t)(opts->seed / 3 % 4);
    p->write_bypass = (uint32_t[]){0, 1, 128 * 1024}[opts->seed / 2 % 3]; /* 1: every write, until a block comes again */
    p->stream_pct = p->write_bypass != 0 ? 80 : 0;
    p->stream_laps = opts->seed / 6 % 3 == 0;
    p->stage_bytes = (uint32_t[]){1, 256, 1024, 16384}[opts->seed % 4] * 1024; /* of all shards; the first two: the least that there is */
}
