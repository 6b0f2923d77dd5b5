/* SPDX-License-Identifier: Apache-2.0 */
/* mischief.c: what breaks, and when. Every seed crashes; its profile says what else happens, and of the profile's kinds
 * each seed has some (w->kinds), so that a failure can be told apart.
 */
#include "tools/sim/world.h"

#include <stdio.h>

#define KIND(n) (1u << (n))
#define FAULTS_A_SEED 8u

static struct sim_disk *journal_disk(struct world *w) { return w->machine.disk[0]; }

static struct sim_disk *draw_disk(struct world *w)
{
    uint32_t nr = 1 + w->plan.capacity_devs;

    return sim_chance(w->sim, 500000) ? w->machine.disk[0] : w->machine.disk[sim_below(w->sim, nr)];
}

/* ---- crashes ---- */

static void plan_crash(struct world *w, uint64_t events, uint64_t writes)
{
    if (sim_chance(w->sim, 500000))
        sim_crash_in_events(w->sim, sim_between(w->sim, 1, events));
    else
        sim_crash_in_writes(w->sim, sim_between(w->sim, 1, writes));
}

static void rot_metadata(struct world *w)
{
    static const char tags[] = {'E', 'C', 'V', 'S', 'G', 'L'};

    if (w->plan.profile != PROFILE_META || !(w->kinds & KIND(0)) || !sim_chance(w->sim, 600000))
        return;
    if (sim_meta_rot(w->machine.store, tags[sim_below(w->sim, sizeof(tags))]))
        w->damaged = true;
}

/* Nothing may depend on heat. No draw decides: a seed's other troubles stay what they are. */
static void drop_heat(struct world *w)
{
    if ((w->kinds & KIND(4)) && sim_meta_drop(w->machine.store, 'T') > 0)
        sim_fault_fired(w->sim, SIM_HEAT_GONE);
}

/* The segment's header, as it lies on the device, says that it holds nothing but copies. */
static bool holds_copies(struct world *w, uint64_t base)
{
    struct { le32 crc, magic; le16 version, use; } head;

    sim_disk_peek(journal_disk(w), base, &head, sizeof(head));
    return from_le32(head.magic) == 0x534e5246u && from_le16(head.use) == 2;
}

/* What clean copies there are turns into noise, or what the SSD says of them: no byte that is read may change, and nothing may
 * fail; unless another fault makes such a header lie. Drawn from the seed's number: its other chances stay what they were. */
static void spoil_copies(struct world *w)
{
    uint64_t drawn = w->opts->seed / 2 + w->res->crashes;
    static char noise[BLOCK_BYTES];

    if (w->plan.profile == PROFILE_ROT || w->plan.profile == PROFILE_LYING || drawn % 3 != 0)
        return;
    memset(noise, 0xa5, sizeof(noise));
    for (uint32_t g = (uint32_t)(drawn / 3 % 2); g < w->plan.segments; g += 2) {
        uint64_t base = MIB + (uint64_t)g * w->plan.segment_bytes, from = (1 + (g + drawn) / 2 % 2) * BLOCK_BYTES;
        uint64_t to = (g + drawn) % 3 == 0 ? 2 * BLOCK_BYTES : w->plan.segment_bytes;

        if (!holds_copies(w, base))
            continue;
        for (uint64_t at = from; at < to; at += BLOCK_BYTES)
            sim_disk_poke(journal_disk(w), base + at, noise, BLOCK_BYTES);
        sim_fault_fired(w->sim, SIM_COPIES_SPOILT);
        sim_fault_mattered(w->sim, SIM_COPIES_SPOILT);
    }
}

void mischief_boot(struct world *w, uint32_t depth)
{
    if (depth == 0 && w->faults_on)
        mischief_cache_boot(w);
    if (depth == 0 && w->faults_on)
        spoil_copies(w);
    if (depth == 0 && w->faults_on)
        drop_heat(w);
    if (depth < 5 && sim_chance(w->sim, 300000))
        plan_crash(w, 300, 20);
    if (depth == 0 && w->faults_on)
        rot_metadata(w);
}

/* ---- the rates of a boot ---- */

static void slow_rates(struct world *w, struct sim_disk_faults *f)
{
    f->delayed = 20000;
    f->stalled = (w->kinds & KIND(0)) ? 1000 : 0;
    f->hung = (w->kinds & KIND(1)) ? 500 : 0;
}

static void rot_rates(struct world *w, struct sim_disk_faults *f)
{
    f->lost_write = (w->kinds & KIND(0)) ? 500 : 0;
    f->misdirected_write = (w->kinds & KIND(1)) ? 500 : 0;
    f->misdirected_read = (w->kinds & KIND(2)) ? 2000 : 0;
    if (w->kinds & (KIND(0) | KIND(1) | KIND(2)))
        w->damaged = true;
}

static void set_rates(struct world *w, struct sim_disk *d)
{
    struct sim_disk_faults *f = sim_disk_faults(d);

    memset(f, 0, sizeof(*f));
    switch (w->plan.profile) {
    case PROFILE_SLOW:
        slow_rates(w, f);
        break;
    case PROFILE_TRANSIENT:
        f->eio_read = 3000;
        break;
    case PROFILE_ROT:
        rot_rates(w, f);
        break;
    case PROFILE_LYING:
        f->lying_flush = d == journal_disk(w) || (w->kinds & KIND(0));
        w->damaged = true;
        break;
    case PROFILE_CRASH:
        f->delayed = (w->kinds & KIND(0)) ? 5000 : 0;
        break;
    case PROFILE_NETWORK:
        f->delayed = 20000; /* so that writes of a dead association are still under way */
        break;
    case PROFILE_FAILING:
    case PROFILE_META:
    case PROFILE_FULL:
    case PROFILE_NR:
        break;
    }
}

void mischief_run(struct world *w, bool last_boot)
{
    if (w->kinds == 0)
        w->kinds = (uint32_t)sim_between(w->sim, 1, 31);
    if (sim_chance(w->sim, 100000)) {
        sim_wall_jump(w->sim, (int64_t)sim_below(w->sim, 6) * 365 * 86400 * (int64_t)NS_PER_S - 3 * 365 * 86400 * (int64_t)NS_PER_S);
        sim_fault_fired(w->sim, SIM_WALL_CLOCK_JUMP);
    }
    for (uint32_t i = 0; i <= w->plan.capacity_devs + w->plan.cache_devs && w->faults_on; i++)
        set_rates(w, w->machine.disk[i]);
    if (!last_boot && sim_chance(w->sim, 600000))
        plan_crash(w, 20000, 1500);
}

/* ---- single blows ---- */

static void strike_rot(struct world *w)
{
    struct sim_disk *d = draw_disk(w);
    uint64_t off, size = sim_disk_size(d);
    bool label = sim_chance(w->sim, 50000);

    if (!sim_disk_pick_written(d, label ? 0 : MIB, label ? 2 * BLOCK_BYTES : size - MIB, &off))
        return;
    world_say(w, "%s of the %s at %llu", (w->kinds & KIND(3)) || label ? "rot" : "latent error",
              d == journal_disk(w) ? "journal" : "capacity", (unsigned long long)off);
    if ((w->kinds & KIND(3)) || label)
        sim_disk_rot(d, off);
    else
        sim_disk_latent(d, off, 512 * sim_between(w->sim, 1, 16));
    w->damaged = true;
    w->faults_planted++;
}

static void strike_failing(struct world *w)
{
    enum dev_op op = sim_chance(w->sim, 500000) ? DEV_WRITE : DEV_FLUSH; /* only capacity devices are flushed */
    struct sim_disk *d = op == DEV_WRITE ? draw_disk(w) : w->machine.disk[1 + sim_below(w->sim, w->plan.capacity_devs)];

    w->device_failed = true;
    w->faults_planted++;
    if (sim_chance(w->sim, 200000))
        sim_disk_faults(d)->gone = true;
    else
        sim_disk_fail_nth(d, op, (uint32_t)sim_between(w->sim, 1, 20),
                          sim_chance(w->sim, 500000) ? 1 : UINT32_MAX);
}

static void strike_meta(struct world *w)
{
    if (!(w->kinds & KIND(1)))
        return;
    w->meta_failed = true;
    w->faults_planted++;
    sim_meta_faults(w->machine.store)->fail_nth = (uint32_t)sim_between(w->sim, 1, 20);
}

void mischief_act(struct world *w)
{
    if (!w->faults_on)
        return;
    mischief_cache_act(w);
    if (w->plan.profile == PROFILE_ROT && (w->kinds & (KIND(3) | KIND(4))) && w->faults_planted < FAULTS_A_SEED &&
        sim_chance(w->sim, 6000))
        strike_rot(w);
    if (w->plan.profile == PROFILE_FAILING && !w->device_failed && sim_chance(w->sim, 3000))
        strike_failing(w);
    if (w->plan.profile == PROFILE_META && !w->meta_failed && sim_chance(w->sim, 3000))
        strike_meta(w);
    if (w->plan.profile == PROFILE_NETWORK && sim_chance(w->sim, 5000))
        for (uint32_t i = 0; i < WORLD_VOLUMES; i++)
            if (w->vol[i].host != NULL && sim_chance(w->sim, 500000))
                net_host_mischief(w->vol[i].host);
}

/* In half of the seeds with latent errors, by their number: their other chances stay what they were. */
void mischief_crashed(struct world *w)
{
    if (w->faults_on && !(w->kinds & KIND(3)) && (w->kinds & KIND(4)) && w->opts->seed / 4 % 2 == 0 && w->res->crashes % 2 == 0)
        tail_blind(w, w->res->crashes % 4 == 0);
    tail_crashed(w, w->faults_on && (w->kinds & KIND(3)) && sim_chance(w->sim, 600000));
}

void mischief_heal(struct world *w)
{
    for (uint32_t i = 0; i < SIM_MACHINE_DISKS; i++)
        if (w->machine.disk[i] != NULL)
            sim_disk_heal(w->machine.disk[i]);
    sim_meta_heal(w->machine.store);
    w->device_failed = w->meta_failed = false;
}
