/* SPDX-License-Identifier: Apache-2.0 */
/* heat_look.c: a volume's heat for people: envs[0] finds the volume, its shard adds up cells and extents part by part, LOOKS cells
 * a turn of its loop so that no request waits for a picture, and envs[0] answers.
 * The layer is found anew each turn: a volume that is deleted meanwhile ends it with an error.
 */
#include "tier/heat_meta.h"
#include "tier/migrate.h"
#include "tier/pool.h"
#include "tier/priv.h"

#define LOOKS 1024u

static void go(struct tier_heat *h, struct env *env, env_task_fn *fn)
{
    h->priv.task = (struct env_task){.fn = fn};
    env_post(env, &h->priv.task);
}

static void look_home(struct env_task *task)
{
    struct tier_heat *h = container_of(task, struct tier_heat, priv.task);
    struct tier *t = h->priv.t;

    t->ctl_in_flight--;
    h->cb(h);
    tier_stop_go_on(t);
}

/* Flash is SSD, too: what lies there need not be in the log to be counted. */
static void add_extent(const struct shard *s, const struct extent *e, struct tier_heat_part *p)
{
    bool flash = extent_mapped(e) && migrate_is_flash(s, e->place);

    p->ssd_bytes += flash ? EXTENT_BYTES : (uint64_t)(e->nr_live - e->nr_zero) * BLOCK_BYTES;
    p->hdd_bytes += extent_mapped(e) && !flash ? EXTENT_BYTES : 0;
}

static void add_cell(const struct shard *s, uint32_t l, uint32_t cell, struct tier_heat_part *p)
{
    struct heat_value v = heat_get(&s->heat, heat_now_s(s), l, cell);

    p->read += (double)v.read;
    p->write += (double)v.write;
    for (uint32_t i = 0; i < HEAT_CELL_EXTENTS; i++) {
        uint32_t x = extent_find(&s->xt, l, cell * HEAT_CELL_EXTENTS + i);

        if (x == EXTENT_NONE)
            continue;
        add_extent(s, extent_at(&s->xt, x), p);
    }
}

static void look_on_shard(struct env_task *task)
{
    struct tier_heat *h = container_of(task, struct tier_heat, priv.task);
    const struct shard *s = h->priv.t->shards[h->priv.shard];
    uint32_t l = layer_find(s, h->priv.layer), cells = (uint32_t)((h->size_bytes + HEAT_CELL_BYTES - 1) / HEAT_CELL_BYTES);
    uint32_t end = MIN(h->priv.cell + LOOKS, cells), per = (uint32_t)(h->part_bytes / HEAT_CELL_BYTES);

    if (l == 0)
        h->err = -FIRN_E_NOT_FOUND;
    for (; h->err == 0 && h->priv.cell < end; h->priv.cell++)
        add_cell(s, l, h->priv.cell, &h->part[h->priv.cell / per]);
    if (h->err == 0 && end < cells)
        go(h, s->env, look_on_shard);
    else
        go(h, h->priv.t->envs[0], look_home);
}

/* Parts of whole cells, as many as asked for or fewer. */
static void divide(struct tier_heat *h)
{
    uint64_t cells = (h->size_bytes + HEAT_CELL_BYTES - 1) / HEAT_CELL_BYTES;
    uint64_t per = (cells + h->parts_max - 1) / h->parts_max;

    h->part_bytes = per * HEAT_CELL_BYTES;
    h->nr = (uint32_t)((cells + per - 1) / per);
    memset(h->part, 0, h->nr * sizeof(h->part[0]));
}

void tier_volume_heat(struct tier *t, struct tier_heat *h)
{
    const struct volume *v = tier_find(t, h->name);

    assert(h->parts_max > 0 && h->parts_max <= TIER_HEAT_PARTS_MAX && h->cb != NULL);
    t->ctl_in_flight++;
    h->priv.t = t;
    h->priv.cell = 0;
    h->err = t->stopping ? -FIRN_E_STOPPED : v == NULL || v->creating || v->deleting ? -FIRN_E_NOT_FOUND : 0;
    if (h->err != 0) {
        go(h, t->envs[0], look_home);
        return;
    }
    h->priv.shard = v->shard_no;
    h->priv.layer = v->layer;
    h->size_bytes = v->p.size_bytes;
    h->half_life_s = t->shards[v->shard_no]->heat.half_life_s;
    divide(h);
    go(h, tier_shard_env(t, v->shard_no), look_on_shard);
}
