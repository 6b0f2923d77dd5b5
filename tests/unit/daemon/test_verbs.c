/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs on volumes over a simulated pool whose metadata fails, and a target that takes no subsystem: what a failed step
 * leaves. There is one thread: who waits for a call drives the machine meanwhile, so call.c is replaced here.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/node_priv.h"
#include "daemon/settings.h"
#include "tools/sim/sim.h"

static struct sim *sim;
static struct sim_machine machine;
static struct env *envs[2];
static struct node *node;
static struct volume_view view;
static bool late; /* nobody is answered in time: the asker leaves, and the call goes on without him */

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
    c->owners = 1;
    c->done = false;
}

static bool call_is_done(void *ctx) { return ((struct call *)ctx)->done; }

int call_wait(struct env *env, struct call *c, uint64_t timeout_ns)
{
    c->owners = 2;
    env_post(env, &c->task);
    if (late)
        return -ETIMEDOUT;
    return sim_run_until(sim, call_is_done, c, timeout_ns) == 0 ? c->err : -ETIMEDOUT;
}

void call_done(struct call *c, int err)
{
    cr_assert_not(c->done, "one answer");
    c->err = err;
    c->done = true;
    call_put(c);
}

void call_put(struct call *c)
{
    if (--c->owners == 0)
        c->fini(c);
}

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

/* ---- settings ---- */

static struct settings *settings;

static const char *setting(const char *key, char out[static 64])
{
    json_t *all = settings_json(settings);

    snprintf(out, 64, "%s", json_string_value(json_object_get(all, key)));
    json_decref(all);
    return out;
}

static int set(const char *text, char why[static 256])
{
    json_t *keys = json_loads(text, 0, NULL);
    int err = settings_set(settings, keys, why);

    json_decref(keys);
    return err;
}

static void settings_begin(void)
{
    struct config *c = calloc(1, sizeof(*c));

    begin();
    config_defaults(c);
    cr_assert_eq(settings_new(c, NULL, node, NULL, &settings), 0);
    free(c);
}

TestSuite(settings, .init = settings_begin, .timeout = 60);

Test(settings, a_change_that_the_pool_refuses_changes_nothing)
{
    char why[256], is[64];
    bool stopped = false;

    cr_assert_eq(set("{\"tier.admit\": 3, \"limits.volumes\": 9}", why), 0, "%s", why);
    cr_assert_str_eq(setting("tier.admit", is), "3");
    tier_stop(node->tier, raise, &stopped);
    cr_assert_eq(set("{\"tier.admit\": 4, \"limits.volumes\": 8, \"log.level\": \"debug\"}", why), -FIRN_E_STOPPED);
    cr_assert_eq(strncmp(why, "nothing is changed: ", 20), 0, "%s", why);
    cr_assert_str_eq(setting("tier.admit", is), "3");
    cr_assert_str_eq(setting("limits.volumes", is), "9");
    cr_assert_str_eq(setting("log.level", is), "info");
    cr_assert_eq(node->volumes_max, 9);
}

/* It cannot be called back: a reactor may have it. So it is what is set, and the answer says from when on. */
Test(settings, a_change_that_the_pool_is_late_to_take_is_set_and_says_so)
{
    char why[256], is[64];

    late = true;
    cr_assert_eq(set("{\"tier.admit\": 4, \"limits.volumes\": 8}", why), -ETIMEDOUT);
    cr_assert_not_null(strstr(why, "keys of tier and mover are in force as soon as its reactors go on"), "%s", why);
    cr_assert_str_eq(setting("tier.admit", is), "4");
    cr_assert_str_eq(setting("limits.volumes", is), "8");
    sim_run_until(sim, never, NULL, NS_PER_S);
    late = false;
    cr_assert_eq(set("{\"tier.admit\": 1}", why), 0, "%s", why);
    cr_assert_str_eq(setting("tier.admit", is), "1");
}

/* The second one is refused whole, and what is told is what the pool will have. */
Test(settings, a_change_behind_one_that_is_late_is_refused)
{
    struct tier_opts o = {.admit_touches = 4};
    char why[256], is[64];
    bool taken = false;

    cr_assert_eq(tier_retune(node->tier, &o, raise, &taken), 0);
    cr_assert_eq(set("{\"mover.iops\": 7, \"limits.volumes\": 8}", why), -FIRN_E_IN_USE);
    cr_assert_str_eq(why, "nothing is changed: the pool has not yet taken an earlier change");
    cr_assert_str_eq(setting("mover.iops", is), "0");
    cr_assert_str_eq(setting("limits.volumes", is), "16384");
    cr_assert_eq(sim_run_until(sim, flag_up, &taken, NS_PER_S), 0);
    cr_assert_eq(set("{\"mover.iops\": 7}", why), 0, "%s", why);
}
