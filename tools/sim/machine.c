/* SPDX-License-Identifier: Apache-2.0 */
/* machine.c: named disks and one metadata store, and the seams through which tier/ opens them. */
#include "tools/sim/sim.h"

#include "tier/tier.h"

#include <stdio.h>

struct sim_disk *sim_machine_add(struct sim_machine *m, const char *path, const struct sim_disk_opts *opts)
{
    for (unsigned i = 0; i < SIM_MACHINE_DISKS; i++) {
        if (m->disk[i] != NULL)
            continue;
        snprintf(m->path[i], sizeof(m->path[i]), "%s", path);
        return m->disk[i] = sim_disk_new(m->sim, path, opts);
    }
    assert(false); /* more disks than a machine has places */
    return NULL;
}

static int machine_dev_open(void *ctx, struct env *env, const struct tier_dev_opts *dev, const struct dev_open_opts *opts,
                            struct dev **out, char why[static 256])
{
    struct sim_machine *m = ctx;
    struct sim_disk *d = sim_machine_disk(m, dev->path);
    struct sim_disk_opts o = m->defaults;
    int err;

    (void)opts;
    if (d == NULL && dev->size_bytes == 0) {
        snprintf(why, 256, "%.200s: no such device", dev->path);
        return -ENOENT;
    }
    if (d == NULL) {
        o.size_bytes = dev->size_bytes;
        o.capacity = o.rotational = dev->role == TIER_CAPACITY;
        d = sim_machine_add(m, dev->path, &o);
    }
    err = sim_dev_open(d, env, out);
    if (err != 0)
        snprintf(why, 256, "%.200s: %s", dev->path, err_text(err));
    return err;
}

static int machine_meta_open(void *ctx, const char *path, bool create, bool read_only, struct meta **out, char why[static 256])
{
    struct sim_machine *m = ctx;
    int err;

    (void)read_only;
    if (!create && sim_meta_records(m->store) == 0) {
        snprintf(why, 256, "%.200s: there is no metadata", path);
        return -FIRN_E_NOT_FOUND;
    }
    err = sim_meta_open(m->store, out);
    if (err != 0)
        snprintf(why, 256, "%.200s: %s", path, err_text(err));
    return err;
}

void sim_machine_init(struct sim_machine *m, struct sim *s)
{
    memset(m, 0, sizeof(*m));
    m->sim = s;
    m->store = sim_meta_store_new(s);
    m->defaults = (struct sim_disk_opts){.block_bytes = 512, .torn_bytes = 512};
}

void sim_machine_fini(struct sim_machine *m)
{
    for (unsigned i = 0; i < SIM_MACHINE_DISKS; i++)
        if (m->disk[i] != NULL)
            sim_disk_free(m->disk[i]);
    sim_meta_store_free(m->store);
}

struct sim_disk *sim_machine_disk(struct sim_machine *m, const char *path)
{
    for (unsigned i = 0; i < SIM_MACHINE_DISKS; i++)
        if (m->disk[i] != NULL && strcmp(m->path[i], path) == 0)
            return m->disk[i];
    return NULL;
}

void sim_machine_seams(struct sim_machine *m, struct tier_seams *out)
{
    *out = (struct tier_seams){.dev_open = machine_dev_open, .meta_open = machine_meta_open, .ctx = m};
}
