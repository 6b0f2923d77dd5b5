/* SPDX-License-Identifier: Apache-2.0 */
/* Control calls of a target, on the simulator's loop. */
#include <criterion/criterion.h>

#include "export/priv.h"
#include "tools/sim/sim.h"

static void count(void *ctx) { ++*(int *)ctx; }

static void run_until(struct env *e, const int *n, int want)
{
    for (int i = 0; i < 1000 && *n < want; i++)
        cr_assert_geq(env_run_once(e), 0);
    cr_assert_eq(*n, want);
}

/* Its asker may come late: a volume that was still being made when the target stopped. Nobody would remove it. */
Test(target, takes_no_subsystem_once_it_stops)
{
    struct sim *sim = sim_new(1);
    struct env *env = sim_env_new(sim);
    struct target_opts o = {.envs = &env, .nr_envs = 1, .connections_max = 8};
    struct subsys_params p = {.nqn = "nqn.2026-11.io.firn:n:first", .serial = "1"};
    struct subsys_params late = {.nqn = "nqn.2026-11.io.firn:n:late", .serial = "2"};
    struct subsys *first, *second = NULL;
    struct target *t;
    int stopped = 0, removed = 0;

    cr_assert_eq(blk_ram_new(env, 4096, 1 << 20, &p.blk), 0);
    late.blk = p.blk;
    cr_assert_eq(target_new(&o, &t), 0);
    cr_assert_eq(subsys_add(t, &p, &first), 0);
    target_stop(t, count, &stopped);
    cr_assert_eq(subsys_add(t, &late, &second), -FIRN_E_STOPPED, "while it stops");
    run_until(env, &stopped, 1);
    cr_assert_eq(subsys_add(t, &late, &second), -FIRN_E_STOPPED, "when it has stopped");
    cr_assert_null(second);
    subsys_remove(first, count, &removed);
    run_until(env, &removed, 1);
    target_free(t);
    blk_ram_free(p.blk);
    sim_env_free(env);
    sim_free(sim);
}
