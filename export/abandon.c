/* SPDX-License-Identifier: Apache-2.0 */
/* abandon.c: gives the memory of a target back whose machine has crashed. In a file of its own, so that only a program that
 * lives longer than such a machine, the simulator, carries it.
 */
#include "export/priv.h"

#include <stdlib.h>

static void subsystems_abandon(struct target *t)
{
    list_for_each_safe(n, tmp, &t->subsystems) {
        struct subsys *s = list_entry(n, struct subsys, node);

        free(s->hosts);
        free(s->stats);
        free(s);
    }
}

void target_abandon(struct target *t)
{
    for (uint32_t i = 0; i < t->opts.nr_envs; i++) {
        struct target_env *te = &t->te[i];

#define X(name) pool_abandon(&te->name);
        ENV_POOLS(X)
#undef X
    }
    pool_abandon(&t->queues);
    pool_abandon(&t->ctrls);
    subsystems_abandon(t);
    target_release(t);
}
