/* SPDX-License-Identifier: Apache-2.0 */
/* model_devs.c: stands the model of an HDD or of an SSD before the devices of a pool that are to be some.
 *
 * Each capacity device is a disk of its own. With "all" the journal is the beginning of the first of them: one head serves
 * both, as where a node has that disk alone. What is no part of a pool (metadata) is not slowed down.
 */
#include "daemon/model_devs.h"

int model_hdd_parse(const char *text, enum model_hdd_which *out)
{
    if (strcmp(text, "capacity") == 0)
        *out = MODEL_HDD_CAPACITY;
    else if (strcmp(text, "all") == 0)
        *out = MODEL_HDD_ALL;
    else if (text[0] >= '0' && text[0] <= '9' && text[1] == '\0')
        *out = (enum model_hdd_which)(MODEL_HDD_FIRST + text[0] - '0');
    else
        return -FIRN_E_INVALID;
    return 0;
}

static bool is_hdd(const struct model_devs *m, const struct tier_dev_opts *dev)
{
    if (m->which == MODEL_HDD_NONE)
        return false;
    if (m->which >= MODEL_HDD_FIRST)
        return dev->role == TIER_CAPACITY && strcmp(dev->path, m->path) == 0;
    return dev->role == TIER_CAPACITY || (dev->role == TIER_JOURNAL && m->which == MODEL_HDD_ALL);
}

/* The disk that a device is a part of; NULL: one of its own. */
static struct dev_model_disk *disk_of(struct model_devs *m, enum tier_role role)
{
    if (m->which != MODEL_HDD_ALL || (role == TIER_CAPACITY && m->shared))
        return NULL;
    m->shared = role == TIER_CAPACITY;
    return &m->disk;
}

static int wrap(void *ctx, const struct tier_dev_opts *dev, struct dev *below, struct dev **out)
{
    struct model_devs *m = ctx;
    struct dev_model_params params = {.hdd = is_hdd(m, dev), .scale = 1};

    *out = below;
    if (!params.hdd && !m->ssd)
        return 0;
    params.turns = params.hdd;
    params.disk = params.hdd ? disk_of(m, dev->role) : NULL;
    return dev_model_new(below, &params, out);
}

void model_devs_use(struct model_devs *m, struct tier_opts *o)
{
    if (m->which == MODEL_HDD_NONE && !m->ssd)
        return;
    assert(o->nr_envs == 1);
    for (uint32_t i = 0, no = 0; i < o->nr_devs; i++)
        if (o->devs[i].role == TIER_CAPACITY && MODEL_HDD_FIRST + no++ == (uint32_t)m->which)
            memcpy(m->path, o->devs[i].path, sizeof(m->path));
    o->seams.dev_wrap = wrap;
    o->seams.ctx = m;
}
