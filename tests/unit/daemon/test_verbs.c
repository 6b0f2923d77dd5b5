/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs on volumes over a simulated pool whose metadata fails, and a target that takes no subsystem: what a failed step
 * leaves. There is one thread: who waits for a call drives the machine meanwhile, so call.c is replaced here.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/node_priv.h"
#include "tools/sim/sim.h"

static struct sim *sim;
static struct sim_machine machine;
static struct env *envs[2];
static struct node *node;
static struct volume_view view;

/* ---- call.c's part ---- */

static void run_call(struct env_task *task)
{
    struct call *c = container_of(task, struct call, task);

    c->run(c);
}

void call_init(struct call *c, void (*run)(struct call *), void (*fini)(struct call *))
{
    c->task = (struct env_task){.fn = run_call};
    c->run = run;
    c->fini = fini;
    c->done = false;
}

static bool call_is_done(void *ctx) { return ((struct call *)ctx)->done; }

int call_wait(struct env *env, struct call *c, uint64_t timeout_ns)
{
    env_post(env, &c->task);
    return sim_run_until(sim, call_is_done, c, timeout_ns) == 0 ? c->err : -ETIMEDOUT;
}

void call_done(struct call *c, int err)
{
    cr_assert_not(c->done, "one answer");
    c->err = err;
    c->done = true;
}

void call_put(struct call *c) { c->fini(c); }

/* ---- a node ---- */

static void begin(void)
{
    struct tier_opts o = {.pool_name = "default", .meta_path = "meta", .envs = envs, .nr_envs = 2, .segment_bytes = 1 << 20,
                          .ios_per_shard = 64, .nr_devs = 2};
    struct target_opts t = {.envs = envs, .nr_envs = 2, .connections_max = 8, .queue_depth = 16, .commands = 64, .data_buffers = 8};
    char why[256] = "";

    sim = sim_new(7);
    sim_machine_init(&machine, sim);
    envs[0] = sim_env_new(sim);
    envs[1] = sim_env_new(sim);
    o.devs[0] = (struct tier_dev_opts){.role = TIER_JOURNAL, .path = "journal", .size_bytes = 40 * MIB};
    o.devs[1] = (struct tier_dev_opts){.role = TIER_CAPACITY, .path = "hdd", .size_bytes = 70 * MIB};
    sim_machine_seams(&machine, &o.seams);
    node = calloc(1, sizeof(*node));
    snprintf(node->name, sizeof(node->name), "n");
    node->envs[0] = envs[0];
    node->envs[1] = envs[1];
    node->nr_reactors = 2;
    node_set_volumes_max(node, 10);
    cr_assert_eq(tier_format(&o, why), 0, "%s", why);
    cr_assert_eq(tier_open(&o, &node->tier, why), 0, "%s", why);
    cr_assert_eq(target_new(&t, &node->target), 0);
}

TestSuite(verbs, .init = begin, .timeout = 60);

static int create(const char *name)
{
    struct volume_params p = {.size_bytes = MIB, .lba_bytes = 4096};
    bool created;

    snprintf(p.name, sizeof(p.name), "%s", name);
    return node_volume_create(node, &p, &created, &view);
}

/* Takes the NQN that a volume of that name is to have. */
static struct subsys *occupy(const char *name, struct blk *blk)
{
    struct subsys_params p = {.blk = blk, .serial = "0123456789"};
    struct subsys *s;

    volume_nqn(node, name, p.nqn);
    cr_assert_eq(subsys_add(node->target, &p, &s), 0);
    return s;
}

static bool flag_up(void *ctx) { return *(bool *)ctx; }
static void raise(void *ctx) { *(bool *)ctx = true; }

static void give_back(struct subsys *s)
{
    bool removed = false;

    subsys_remove(s, raise, &removed);
    cr_assert_eq(sim_run_until(sim, flag_up, &removed, 10 * NS_PER_S), 0);
}

static struct blk *blk_of(const char *name)
{
    struct blk *b = NULL;

    cr_assert_eq(tier_volume_get(node->tier, name, NULL, &b), 0);
    return b;
}

/* "a" and "b" are on different shards, so one of them is not on reactor 0. */
static void make_neighbours(void)
{
    cr_assert_eq(create("a"), 0);
    cr_assert_eq(create("c"), 0);
    cr_assert_eq(node_volume_delete(node, "c", false), 0);
}

Test(verbs, a_volume_that_cannot_be_exported_is_deleted_again)
{
    struct subsys *in_the_way;

    make_neighbours();
    in_the_way = occupy("b", blk_of("a"));
    cr_assert_neq(create("b"), 0);
    cr_assert_eq(node_volume_get(node, "b", &view), -FIRN_E_NOT_FOUND);
    cr_assert_eq(node->nr_exported, 1);
    give_back(in_the_way);
    cr_assert_eq(create("b"), 0);
    cr_assert_neq(blk_of("b")->env, envs[0]);
}

/* Its caps were watching its blk, which lives on. */
Test(verbs, a_volume_that_can_be_neither_exported_nor_deleted_keeps_nobody_that_was_freed)
{
    struct subsys *in_the_way;
    struct blk *b;

    make_neighbours();
    in_the_way = occupy("b", blk_of("a"));
    sim_meta_faults(machine.store)->fail_nth = 2; /* create commits, delete does not */
    cr_assert_neq(create("b"), 0);
    cr_assert_eq(node_volume_get(node, "b", &view), 0);
    b = blk_of("b");
    cr_assert_neq(b->env, envs[0]);
    cr_assert(list_empty(&b->watchers));
    blk_notify(b, BLK_EVENT_RESIZED);
    cr_assert_neq(node_volume_delete(node, "b", false), -FIRN_E_NOT_FOUND, "what is listed can be asked for");
    give_back(in_the_way);
    cr_assert_eq(create("b"), 0, "and is served when it is asked for again");
    cr_assert_not_null(table_find(node, "b")->s);
}

static bool never(void *ctx) { return ctx == &sim; }

/* What was posted to the volume's reactor is over before its memory is given back. */
Test(verbs, a_create_that_meets_a_stop_leaves_nothing_behind)
{
    bool stopped = false;

    make_neighbours();
    target_stop(node->target, raise, &stopped);
    cr_assert_eq(sim_run_until(sim, flag_up, &stopped, 10 * NS_PER_S), 0);
    cr_assert_eq(create("b"), -FIRN_E_STOPPED);
    sim_run_until(sim, never, NULL, NS_PER_S);
    cr_assert(list_empty(&blk_of("b")->watchers));
    cr_assert_eq(node->nr_exported, 1);
}
