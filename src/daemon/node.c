/* SPDX-License-Identifier: Apache-2.0 */
/* node.c: start and stop.
 *
 * Start: 1. reactors are made; 2. tier_open() locks, checks and recovers, driving all of them from this thread; 3. each
 * reactor gets its own thread; 4. every volume becomes a subsystem; 5. listeners open. Hosts see nothing before that.
 * Stop is the reverse: listeners close, the target finishes what it accepted, the tier commits, threads end.
 * A start that fails undoes what it did and says why; nothing was written but what recovery itself may write.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "daemon/node_priv.h"
#include "journal/journal.h"
#include "rt/metrics.h"

static int make_reactors(struct node *n, uint32_t nr, char why[static 256])
{
    struct rlimit memlock = {0, 0};

    for (uint32_t i = 0; i < nr; i++) {
        struct reactor_opts o = {.poll_us = (uint32_t)(config_num(&n->cfg, export_poll_ns) / NS_PER_US), .cpu = -1, .index = i};
        char cause[256] = "";
        int err = reactor_new(&o, &n->reactors[i], cause);

        if (err) {
            getrlimit(RLIMIT_MEMLOCK, &memlock);
            snprintf(why, 256, "reactor %u: %.150s (locked memory limit: %llu KiB)", i, cause,
                     (unsigned long long)memlock.rlim_cur / 1024);
            return err;
        }
        n->envs[i] = reactor_env(n->reactors[i]);
        n->nr_reactors++;
    }
    return 0;
}

static int open_storage(struct node *n, const struct node_opts *opts, char why[static 256])
{
    struct tier_opts *o;
    int err;

    if (opts->ram_bytes) {
        err = blk_ram_new(n->envs[0], BLOCK_BYTES, opts->ram_bytes, &n->ram);
        if (err)
            snprintf(why, 256, "memory for the RAM volume: %.150s", err_text(err));
        return err;
    }
    o = calloc(1, sizeof(*o));
    if (!o)
        return -FIRN_E_NO_RESOURCES;
    config_tier_opts(&n->cfg, o);
    o->accept_loss = opts->accept_loss;
    o->envs = n->envs;
    o->nr_envs = n->nr_reactors;
    n->model_devs.which = opts->model_hdd;
    n->model_devs.ssd = opts->model_ssd;
    model_devs_use(&n->model_devs, o);
    err = tier_open(o, &n->tier, why);
    free(o);
    return err;
}

static int make_target(struct node *n, char why[static 256])
{
    const char *announce = config_text(&n->cfg, export_announce);
    struct target_opts o = {
        .envs = n->envs,
        .nr_envs = n->nr_reactors,
        .port = n->port_nr[0],
        .connections_max = (uint32_t)config_num(&n->cfg, limits_connections),
        .queue_depth = (uint32_t)config_num(&n->cfg, limits_queue_depth),
        .queues_max = (uint32_t)config_num(&n->cfg, export_queues),
        .connect_timeout_ns = config_num(&n->cfg, export_connect_ns),
        .send_timeout_ns = config_num(&n->cfg, export_send_ns),
        .io_deadline_ns = config_num(&n->cfg, tier_io_deadline_ns),
    };
    int err;

    snprintf(o.discovery_traddr, sizeof(o.discovery_traddr), "%.63s", announce[0] ? announce : config_text(&n->cfg, export_listen));
    err = target_new(&o, &n->target);
    if (err)
        snprintf(why, 256, "the NVMe/TCP target: %.150s", err_text(err));
    return err;
}

static int start_threads(struct node *n, char why[static 256])
{
    for (uint32_t i = 0; i < n->nr_reactors; i++) {
        int err = reactor_start_thread(n->reactors[i]);

        if (err) {
            snprintf(why, 256, "a thread for reactor %u: %.150s", i, err_text(err));
            return err;
        }
        n->nr_running++;
    }
    return 0;
}

/* What is left once the target and the tier have stopped, or were never there. */
static void free_rest(struct node *n)
{
    for (uint32_t i = 0; i < n->nr_running; i++)
        reactor_stop(n->reactors[i]);
    for (uint32_t i = 0; i < n->nr_running; i++)
        reactor_join(n->reactors[i]);
    if (n->target)
        target_free(n->target);
    if (n->tier)
        tier_close(n->tier);
    table_free(n);
    if (n->ram)
        blk_ram_free(n->ram);
    for (uint32_t i = 0; i < n->nr_reactors; i++)
        reactor_free(n->reactors[i]);
    free(n);
}

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

struct stop_call {
    struct call  call;
    struct node *n;
};

static void stop_free(struct call *c)
{
    free(container_of(c, struct stop_call, call));
}

static void stopped(void *ctx)
{
    struct stop_call *sc = ctx;

    call_done(&sc->call, 0);
}

static void stop_target_run(struct call *c)
{
    struct stop_call *sc = container_of(c, struct stop_call, call);

    target_stop(sc->n->target, stopped, sc);
}

static void remove_subsystems_run(struct call *c)
{
    struct stop_call *sc = container_of(c, struct stop_call, call);

    if (table_unexport_all(sc->n, stopped, sc) != 0)
        call_done(c, -FIRN_E_NO_RESOURCES);
}

static void stop_tier_run(struct call *c)
{
    struct stop_call *sc = container_of(c, struct stop_call, call);

    tier_stop(sc->n->tier, stopped, sc);
}

/* The target first lets its hosts' commands end, for up to 5 s, and then waits for what devices hold of those it cut; that
 * may take as long as a device does. So a part has all the time that is left, but for the third that the tier is to have. */
uint64_t stop_part_ns(enum stop_part part, uint64_t spent_ns, uint64_t timeout_ns)
{
    uint64_t until = timeout_ns;

    switch (part) {
    case STOP_PORTS:
        until = timeout_ns / 8;
        break;
    case STOP_TARGET:
        until = timeout_ns / 8 * 5;
        break;
    case STOP_SUBSYSTEMS: /* short: their hosts are gone */
        until = timeout_ns / 3 * 2;
        break;
    case STOP_TIER:
        break;
    }
    return until > spent_ns ? until - spent_ns : 0;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static int stop_part(struct node *n, void (*run)(struct call *), const char *what, uint64_t timeout_ns)
{
    struct stop_call *sc = calloc(1, sizeof(*sc));
    int err;

    if (!sc) {
        log_error("does not stop", "part=%s err=\"%s\"", what, err_text(-ENOMEM));
        return -ENOMEM;
    }
    sc->n = n;
    call_init(&sc->call, run, stop_free);
    err = call_wait(n->envs[0], &sc->call, timeout_ns);
    if (err)
        log_error("does not stop", "part=%s err=\"%s\"", what, err_text(err));
    call_put(&sc->call);
    return err;
}

static int stop_running(struct node *n, uint64_t timeout_ns)
{
    uint64_t start = now_ns();
    int err = 0;

    ports_close(n, stop_part_ns(STOP_PORTS, 0, timeout_ns));
    if (n->target)
        err = stop_part(n, stop_target_run, "target", stop_part_ns(STOP_TARGET, now_ns() - start, timeout_ns));
    if (!err && n->target)
        err = stop_part(n, remove_subsystems_run, "subsystems", stop_part_ns(STOP_SUBSYSTEMS, now_ns() - start, timeout_ns));
    if (!err && n->tier)
        err = stop_part(n, stop_tier_run, "tier", stop_part_ns(STOP_TIER, now_ns() - start, timeout_ns));
    return err;
}

int node_stop(struct node *n, uint64_t timeout_ns)
{
    int err = stop_running(n, timeout_ns), uncommitted;

    if (err)
        return err;
    uncommitted = n->tier ? tier_stop_err(n->tier) : 0;
    if (uncommitted)
        log_error("stopped without a commit", "error=\"%s\" note=\"what was acknowledged is in the journal: the next start replays it\"",
                  err_text(uncommitted));
    free_rest(n);
    return uncommitted ? 1 : 0;
}

/* A start that fails late; with hanging devices the process ends anyway, and the pool is as after a crash. */
static void undo_start(struct node *n)
{
    if (n->nr_running == n->nr_reactors && n->nr_running > 0 && stop_running(n, NODE_CALL_NS) != 0)
        return;
    free_rest(n);
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static int hand_over_reactors(struct node *n, char why[static 256])
{
    for (uint32_t i = 0; i < n->nr_reactors; i++) {
        int err = reactor_disown(n->reactors[i]);

        if (err) {
            snprintf(why, 256, "reactor %u: %.150s", i, err_text(err));
            return err;
        }
    }
    return 0;
}

/* The shards of a pool were chosen by its format; who names a number of threads may think that all will carry volumes. */
static void say_idle_reactors(const struct node *n)
{
    struct tier_info info;

    if (!n->tier || config_num(&n->cfg, reactors) == 0)
        return;
    tier_info_get(n->tier, &info);
    if (n->nr_reactors > info.nr_shards)
        log_warn("more reactors are configured than the pool has shards: the others carry no volume",
                 "reactors=%u shards=%u do=\"set reactors = %u; a pool keeps the shards that it was formatted with\"", n->nr_reactors,
                 info.nr_shards, info.nr_shards);
}

int node_open(const struct node_opts *opts, struct node **out, char why[static 256])
{
    struct node *n = calloc(1, sizeof(*n));
    int err;

    snprintf(why, 256, "out of memory");
    if (!n)
        return -FIRN_E_NO_RESOURCES;
    n->cfg = *opts->cfg;
    config_node_name(&n->cfg, n->name);
    node_set_volumes_max(n, config_num(&n->cfg, limits_volumes));
    ports_choose(n);
    err = make_reactors(n, reactors_wanted(&n->cfg, opts->ram_bytes != 0), why);
    if (!err)
        err = open_storage(n, opts, why);
    if (!err)
        say_idle_reactors(n);
    if (!err)
        err = make_target(n, why);
    if (!err)
        err = hand_over_reactors(n, why);
    if (!err)
        err = start_threads(n, why);
    if (!err)
        err = volumes_export_all(n, why);
    if (!err)
        err = ports_open(n, why);
    if (err) {
        undo_start(n);
        return err;
    }
    *out = n;
    return 0;
}

/* ---- facts ------------------------------------------------------------------------------------------------------- */

uint16_t node_port(const struct node *n) { return n->port_nr[0]; }
uint16_t node_discovery_port(const struct node *n) { return n->port_nr[1]; }
const char *node_name(const struct node *n) { return n->name; }
bool node_has_pool(const struct node *n) { return n->tier != NULL; }
uint32_t node_reactors(const struct node *n) { return n->nr_reactors; }

void node_set_volumes_max(struct node *n, uint64_t max)
{
    atomic_store_explicit(&n->volumes_max, max, memory_order_relaxed);
}

uint64_t node_volumes_max(const struct node *n)
{
    return atomic_load_explicit(&n->volumes_max, memory_order_relaxed);
}

void node_reactor_stats(const struct node *n, uint32_t i, struct reactor_stats *out)
{
    assert(i < n->nr_reactors);
    reactor_stats_get(n->reactors[i], out);
}

void node_pool_info(struct node *n, struct tier_info *out)
{
    memset(out, 0, sizeof(*out));
    if (n->tier)
        tier_info_get(n->tier, out);
}

uint32_t node_dev_info(struct node *n, struct tier_dev_info *out, uint32_t nr)
{
    return n->tier ? tier_dev_info_get(n->tier, out, nr) : 0;
}

void node_tier_stats(struct node *n, struct tier_stats *out)
{
    memset(out, 0, sizeof(*out));
    if (n->tier)
        tier_stats_get(n->tier, out);
}

void node_journal_stats(struct node *n, struct journal_stats *out)
{
    memset(out, 0, sizeof(*out));
    if (n->tier)
        tier_journal_stats_get(n->tier, out);
}

void node_commit_hist(struct node *n, struct metric_hist *out)
{
    memset(out, 0, sizeof(*out));
    if (n->tier)
        tier_commit_hist_get(n->tier, out);
}

void node_dev_hist(struct node *n, uint32_t dev, enum dev_op op, struct metric_hist *out)
{
    memset(out, 0, sizeof(*out));
    if (n->tier)
        tier_dev_hist_get(n->tier, dev, op, out);
}

void node_target_stats(struct node *n, struct target_stats *out)
{
    target_stats_get(n->target, out);
}
