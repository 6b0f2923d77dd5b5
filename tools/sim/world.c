/* SPDX-License-Identifier: Apache-2.0 */
/* world.c: one seed from beginning to end.
 *
 * 1. A machine is made, a pool formatted on it (now and then a crash interrupts that, and it is formatted again).
 * 2. Several times: the pool is opened (now and then a crash interrupts that, up to five times in a row), what exists is
 *    compared with what must exist, hosts work on it, and it ends in a crash or an orderly stop.
 * 3. Liveness: every fault is lifted; what is under way must end, everything dirty must settle, every unit must read
 *    back, the engine's own walk and the offline check must find nothing, and all of it once more after a last start.
 * Failures: the first thing that is wrong is kept as the reason, and the seed ends there.
 */
#include "tools/sim/world.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Virtual time that anything which must end may take. */
#define PATIENCE_NS (600 * NS_PER_S)

void world_say(struct world *w, const char *fmt, ...)
{
    va_list ap;

    if (!w->opts->verbose)
        return;
    fprintf(stderr, "%12.6f #%-8" PRIu64 " ", (double)sim_now_ns(w->sim) / (double)NS_PER_S, sim_events_run(w->sim));
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

void world_fail(struct world *w, const char *fmt, ...)
{
    va_list ap;

    if (w->res->failed)
        return;
    w->res->failed = true;
    va_start(ap, fmt);
    vsnprintf(w->res->reason, sizeof(w->res->reason), fmt, ap);
    va_end(ap);
    world_say(w, "FAILED: %s", w->res->reason);
}

bool world_dead(void *ctx)
{
    struct world *w = ctx;

    if (sim_violation_text(w->sim) != NULL)
        world_fail(w, "%s", sim_violation_text(w->sim));
    return w->res->failed;
}

/* ---- starting ---- */

/* A start said no. That is right if there is damage; with the damage lifted it must go. */
static bool refusal_is_right(struct world *w, int err)
{
    world_say(w, "start refused: %s (%s)", err_text(err), w->why);
    if (!w->damaged && !w->device_failed && !w->meta_failed && w->plan.profile != PROFILE_TRANSIENT &&
        w->plan.profile != PROFILE_SLOW) {
        world_fail(w, "start refused without a cause: %s (%s)", err_text(err), w->why);
        return false;
    }
    w->res->refused = true;
    if (w->plan.profile == PROFILE_LYING) {
        w->res->lie_noticed = true;
        return false;
    }
    w->faults_on = false;
    mischief_heal(w);
    return true;
}

/* A lying flush is noticed, too, by a start that goes on and says that acknowledged writes are not there any more. */
static void look_for_alert(struct world *w)
{
    struct tier_info info;

    tier_info_get(w->tier, &info);
    if (w->plan.profile == PROFILE_LYING && info.alert[0] != '\0')
        w->res->lie_noticed = true;
}

static void open_pool(struct world *w)
{
    uint32_t refusals = 0;

    w->topts.force = false;
    for (uint32_t depth = 0; w->tier == NULL && !world_dead(w); depth++) {
        int err;

        mischief_boot(w, depth);
        err = tier_open(&w->topts, &w->tier, w->why);
        if (sim_crashed(w->sim)) {
            if (sim_stuck(w->sim) && w->plan.profile != PROFILE_SLOW)
                world_fail(w, "recovery waits for something that never comes");
            world_say(w, "crashed in recovery, depth %u", depth);
            if (err == 0)
                tier_close(w->tier);
            w->tier = NULL;
            w->res->crashes++;
            sim_fault_fired(w->sim, SIM_CRASH_IN_RECOVERY);
            sim_fault_mattered(w->sim, SIM_CRASH_IN_RECOVERY);
            world_reboot(w);
            if (w->plan.profile == PROFILE_SLOW)
                mischief_heal(w);
        } else if (err != 0) {
            w->tier = NULL;
            if (!refusal_is_right(w, err))
                return;
            sim_crash(w->sim); /* the process ends: what was under way answers nobody */
            world_reboot(w);
            if (++refusals > 1)
                world_fail(w, "start refused with every fault lifted: %s (%s)", err_text(err), w->why);
        }
    }
    sim_crash_in_events(w->sim, 0);
    sim_crash_in_writes(w->sim, 0);
    if (w->tier == NULL)
        return;
    sim_ends_unheard(w->sim); /* from here on each shard has a thread */
    look_for_alert(w);
    descs_check(w);
    if (w->plan.profile == PROFILE_NETWORK)
        net_world_start(w);
}

/* ---- working and ending ---- */

static bool boot_done(void *ctx)
{
    struct world *w = ctx;

    return world_dead(w) || w->ops_done >= w->ops_goal;
}

static bool idle(void *ctx)
{
    struct world *w = ctx;

    return world_dead(w) || (traffic_idle(w) && control_idle(w));
}

static void flag_set(void *ctx) { *(bool *)ctx = true; }
static bool flag_is_set(void *ctx) { return *(bool *)ctx; }

/* Hung and failing devices may hold everything up until the machine is started again; nothing else may. */
static bool may_stand_still(const struct world *w)
{
    return w->plan.profile == PROFILE_SLOW || w->device_failed || w->meta_failed || w->damaged || w->was_full;
}

static void count_stats(struct world *w)
{
    struct tier_stats st;

    tier_stats_get(w->tier, &st);
    for (uint64_t i = 0; i < st.write_waits; i++) {
        sim_fault_fired(w->sim, SIM_JOURNAL_FULL);
        sim_fault_mattered(w->sim, SIM_JOURNAL_FULL);
    }
    world_say(w, "stats: %" PRIu64 " reads %" PRIu64 " writes, %" PRIu64 " extents destaged, %" PRIu64 " segments reclaimed, %"
              PRIu64 " blocks moved, %" PRIu64 " waits", st.read_ops, st.write_ops, st.destage_extents, st.reclaim_segments,
              st.reclaim_moved_blocks, st.write_waits);
    world_say(w, "migrated: %" PRIu64 " blocks to flash, %" PRIu64 " from it, %" PRIu64 " failed", st.migrate_up_blocks,
              st.migrate_down_blocks, st.migrate_errors);
    world_say(w, "streams: %" PRIu64 " blocks past the log, %" PRIu64 " refused, %" PRIu64 " swaps", st.bypass_blocks, st.bypass_refused,
              st.twin_swaps);
    world_say(w, "copies: %" PRIu64 " found again, %" PRIu64 " filled, %" PRIu64 " dropped, %" PRIu64 " hits, %" PRIu64 " evicted, %" PRIu64
              " stale", st.slots_found, st.fill_blocks, st.fill_dropped, st.slot_hit_blocks, st.evicted_read + st.evicted_unread,
              st.slots_stale);
}

static void after_crash(struct world *w)
{
    traffic_crashed(w);
    control_crashed(w);
    if (w->tier != NULL) {
        count_stats(w);
        tier_close(w->tier);
    }
    w->tier = NULL;
    w->res->crashes++;
    if (w->plan.profile == PROFILE_FAILING || w->plan.profile == PROFILE_SLOW)
        mischief_heal(w);
    world_reboot(w);
    if (w->plan.profile == PROFILE_ROT)
        mischief_crashed(w);
}

static void crash_now(struct world *w)
{
    if (!sim_crashed(w->sim))
        sim_crash(w->sim);
    world_say(w, "crash");
    after_crash(w);
}

/* Waits for done(); false: the machine crashed meanwhile (and has been cleaned up), or it never came. */
static bool wait_for(struct world *w, bool (*done)(void *ctx), void *ctx, const char *what)
{
    int err = sim_run_until(w->sim, done, ctx, PATIENCE_NS);

    if (err == 0)
        return true;
    if (err != -FIRN_E_STOPPED && !may_stand_still(w))
        world_fail(w, "%s never ended%s", what, err == -EAGAIN ? " (nothing is left that could happen)" : "");
    crash_now(w);
    return false;
}

static bool stop_target(struct world *w)
{
    bool stopped = false;

    if (w->target == NULL)
        return true;
    net_world_stop(w);
    target_stop(w->target, flag_set, &stopped);
    return wait_for(w, flag_is_set, &stopped, "the stop of the target");
}

static void stop_orderly(struct world *w)
{
    bool stopped = false, busy = sim_chance(w->sim, 500000);

    w->traffic = false;
    if (!busy && !wait_for(w, idle, w, "what was under way"))
        return;
    if (!control_idle(w) && !wait_for(w, control_idle, w, "a control call"))
        return;
    world_say(w, "stop%s", busy ? " with requests under way" : "");
    if (!stop_target(w))
        return;
    tier_stop(w->tier, flag_set, &stopped);
    if (!wait_for(w, flag_is_set, &stopped, "the stop"))
        return;
    if (!traffic_idle(w) && !w->damaged && w->target == NULL)
        world_fail(w, "stopped, but requests were not answered");
    count_stats(w);
    tier_close(w->tier);
    w->tier = NULL;
    sim_fault_fired(w->sim, SIM_GRACEFUL_STOP);
    sim_fault_mattered(w->sim, SIM_GRACEFUL_STOP);
    traffic_crashed(w);
    control_crashed(w);
    if (sim_chance(w->sim, 500000) && !sim_crashed(w->sim)) /* and then the power goes: nothing may depend on it */
        sim_crash(w->sim);
    world_reboot(w);
}

static void run_boot(struct world *w, uint32_t no)
{
    int err;

    plan_boot(&w->plan, no);
    w->topts.migrate_heat = w->plan.migrate_heat;
    open_pool(w);
    if (w->tier == NULL || w->res->lie_noticed)
        return;
    control_check(w);
    world_say(w, "boot %u of %u: open", no, w->plan.boots);
    mischief_run(w, false);
    w->ops_goal = w->ops_done + (w->opts->ops == 0 ? 2000 : w->opts->ops) / w->plan.boots;
    traffic_start(w);
    control_start(w);
    err = sim_run_until(w->sim, boot_done, w, PATIENCE_NS);
    if (world_dead(w))
        return;
    if (err != 0 && err != -FIRN_E_STOPPED && !may_stand_still(w))
        world_fail(w, "%" PRIu64 " requests answered and then no more", w->ops_done);
    else if (err != 0 || sim_chance(w->sim, 600000))
        crash_now(w);
    else
        stop_orderly(w);
}

/* ---- the end ---- */

static void check_offline(struct world *w)
{
    struct tier_check_report report;
    struct strbuf out;
    int err;

    strbuf_init(&out);
    err = tier_check(&w->topts, TIER_CHECK_DATA, &out, &report, w->why);
    if (err != 0 && !w->damaged)
        world_fail(w, "check: %s (%s)", err_text(err), w->why);
    else if (err == 0 && report.findings != 0 && !w->damaged)
        world_fail(w, "check: %" PRIu64 " findings: %.300s", report.findings, strbuf_str(&out));
    strbuf_fini(&out);
}

static void settle(struct world *w, bool destage_all)
{
    bool drained = false;

    tier_drain(w->tier, destage_all, flag_set, &drained);
    if (!wait_for(w, flag_is_set, &drained, destage_all ? "destaging everything" : "the drain"))
        return;
    tier_verify(w->tier);
}

static bool finish_pass(struct world *w)
{
    open_pool(w);
    if (w->tier == NULL || w->res->lie_noticed || world_dead(w))
        return false;
    control_check(w);
    traffic_read_all(w);
    return !world_dead(w);
}

static void stop_at_end(struct world *w)
{
    bool stopped = false;

    if (!stop_target(w))
        return;
    tier_stop(w->tier, flag_set, &stopped);
    if (!wait_for(w, flag_is_set, &stopped, "the last stop"))
        return;
    count_stats(w);
    tier_close(w->tier);
    w->tier = NULL;
    traffic_crashed(w);
    control_crashed(w);
    world_reboot(w);
}

static void count_refused_blocks(struct world *w)
{
    uint64_t limit = 8 + w->faults_planted * 512;

    if (!w->damaged && w->blocks_refused != 0)
        world_fail(w, "%" PRIu64 " blocks cannot be read and nothing broke", w->blocks_refused);
    if (w->plan.profile == PROFILE_ROT && !(w->kinds & 7) && w->blocks_refused > limit)
        world_fail(w, "%" PRIu64 " blocks cannot be read after %" PRIu64 " faults", w->blocks_refused, w->faults_planted);
}

static void finish(struct world *w)
{
    w->faults_on = false;
    mischief_heal(w);
    if (!finish_pass(w))
        return;
    settle(w, true);
    if (world_dead(w) || w->tier == NULL)
        return;
    w->blocks_refused = 0;
    traffic_read_all(w);
    count_refused_blocks(w);
    if (world_dead(w))
        return;
    stop_at_end(w);
    if (world_dead(w))
        return;
    check_offline(w);
    if (!world_dead(w) && finish_pass(w))
        stop_at_end(w);
}

/* What a lying flush lost and the start did not notice is counted, not failed: faults.md A6 asks for a rate. */
static void judge_lie(struct world *w)
{
    if (w->plan.profile != PROFILE_LYING || !w->res->failed)
        return;
    w->res->lie_missed = true;
    w->res->failed = false;
}

static void world_end(struct world *w)
{
    if (w->tier != NULL) { /* failed in the middle: the machine goes down so that everything may be given back */
        if (!sim_crashed(w->sim))
            sim_crash(w->sim);
        tier_close(w->tier);
    }
    if (!sim_crashed(w->sim))
        sim_crash(w->sim);
    if (w->target != NULL)
        net_world_gone(w);
    world_envs_free(w);
    for (uint32_t i = 0; i < WORLD_VOLUMES; i++)
        if (w->vol[i].oracle != NULL)
            oracle_free(w->vol[i].oracle);
    traffic_fini(w);
    free(w->cache_image);
    w->res->trace_hash = sim_trace_hash(w->sim);
    w->res->events = sim_events_run(w->sim);
    w->res->profile = w->plan.profile;
    w->res->faults = *sim_fault_counts(w->sim);
    sim_machine_fini(&w->machine);
    sim_free(w->sim);
    free(w);
}

void world_run(const struct world_opts *opts, struct world_result *out)
{
    struct world *w = calloc(1, sizeof(*w));

    assert(w != NULL);
    memset(out, 0, sizeof(*out));
    w->opts = opts;
    w->res = out;
    w->sim = sim_new(opts->seed);
    w->faults_on = true;
    plan_draw(&w->plan, w->sim, opts);
    world_say(w, "seed %" PRIu64 " profile %s shards %u envs %u segments %u x %u align %u device %u torn %u pmem %u capacity %u x %"
              PRIu64 " slots %u cache %u x %u", opts->seed, sim_profile_name(w->plan.profile), w->plan.shards, w->plan.envs,
              w->plan.segments, w->plan.segment_bytes, w->plan.align, w->plan.device_block, w->plan.torn, w->plan.pmem_torn,
              w->plan.capacity_devs, w->plan.capacity_bytes, w->plan.slots, w->plan.cache_devs, w->plan.cache_segments);
    world_make(w);
    traffic_init(w);
    world_envs_new(w);
    world_format(w);
    if (!world_dead(w))
        older_heads(w);
    for (uint32_t i = 0; i < w->plan.boots && !world_dead(w) && !w->res->lie_noticed; i++)
        run_boot(w, i + 1);
    if (!world_dead(w) && !w->res->lie_noticed)
        finish(w);
    judge_lie(w);
    world_end(w);
}
