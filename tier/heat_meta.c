/* SPDX-License-Identifier: Apache-2.0 */
/* heat_meta.c: a shard's heat: its clock, what touches it, and the 'T' records that outlive a start.
 *
 * 1. At a start the records of its layers are read; the heat clock goes on from the newest one. So it stands still while the pool is
 *    closed, and for what passed untouched before that: cells stay as hot as they were beside each other.
 * 2. A read or write of a host touches the cells that it begins in and ends in, when it arrives.
 * 3. Once a period, if anything has changed: a walk over the cells, a few thousand a pass. Each that has changed brings the record
 *    of its group; HEAT_BATCH of them are one batch, and the walk goes on when that has committed. Nobody waits for it.
 * 4. A drain writes what is left, so a shard that was stopped knows all of it.
 * 5. A layer that is deleted takes its records along (forget.c).
 * Failures: a record that cannot be read is left out, and said; a crash loses the last minutes. No byte that is read depends on heat.
 * A failed commit is final, as everywhere.
 */
#include "base/log.h"
#include "tier/heat_meta.h"
#include "tier/priv.h"
#include "tier/quota.h"

#define HEAT_PERIOD_NS (60 * NS_PER_S)

uint32_t heat_now_s(const struct shard *s)
{
    const struct heat_saver *h = &s->heat_saver;

    return (uint32_t)MIN(h->base_s + (env_now_ns(s->env) - h->began_ns) / NS_PER_S, (uint64_t)HEAT_CLOCK_MAX);
}

void heat_io(struct shard *s, const struct volume *v, const struct blk_io *io)
{
    uint64_t lba_bytes = v->blk.lba_bytes, first = io->lba * lba_bytes / BLOCK_BYTES;
    uint64_t last = ((io->lba + io->nlb) * lba_bytes - 1) / BLOCK_BYTES;
    uint32_t layer = (uint32_t)(uintptr_t)v->priv, nblocks = (uint32_t)(last - first + 1);

    heat_touch(&s->heat, heat_now_s(s), layer, first, nblocks, io->op == BLK_WRITE);
    quota_io(s, layer, nblocks, io->op == BLK_WRITE);
}

struct heat_value heat_of_extent(const struct shard *s, uint32_t x)
{
    const struct extent *e = extent_at(&s->xt, x);

    return heat_get(&s->heat, heat_now_s(s), e->layer, e->no / HEAT_CELL_EXTENTS);
}

/* ---- at a start ---- */

struct heat_load { struct shard *s; uint32_t layer, left_out; struct heat_rec rec; };

static int load_group(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct heat_load *l = ctx;
    struct layer *y = layer_at(l->s, l->layer);
    uint64_t id;
    uint32_t group;
    int err = meta_key_parse_heat(key, &id, &group);

    if (!err) {
        y->heat_groups = MAX(y->heat_groups, group + 1);
        err = value == NULL ? -FIRN_E_CORRUPT : heat_rec_decode(value, len, &l->rec);
    }
    l->left_out += err != 0;
    if (err)
        return 0;
    l->s->heat_saver.base_s = MAX(l->s->heat_saver.base_s, l->rec.clock_s);
    for (uint32_t i = 0; i < HEAT_GROUP_CELLS; i++) {
        const struct heat_value *v = &l->rec.v[i];

        if (v->read > 0 || v->write > 0 || v->use > 0)
            heat_put(&l->s->heat, l->layer, group * HEAT_GROUP_CELLS + i, l->rec.clock_s, v);
    }
    return 0;
}

void shard_heat_load(struct shard *s)
{
    struct heat_load l = {.s = s};
    int err = 0;

    for (l.layer = 1; l.layer <= s->layers_touched && !err; l.layer++) {
        struct meta_key prefix = meta_key_layer_heat(layer_at(s, l.layer)->id);

        if (layer_at(s, l.layer)->id != 0)
            err = s->o.meta->ops->scan_sync(s->o.meta, &prefix, load_group, &l);
    }
    s->heat_saver.began_ns = s->heat_saver.saved_ns = env_now_ns(s->env);
    if (l.left_out > 0 || err)
        log_warn("heat is not all known: some records cannot be read", "shard=%u records=%u error=\"%s\"", s->o.no, l.left_out,
                 err ? err_text(err) : "damaged");
}

/* ---- saving ---- */

static void add_group(struct shard *s, uint32_t l, uint32_t group)
{
    struct heat_saver *h = &s->heat_saver;
    struct heat_rec *rec = &h->rec;

    rec->clock_s = heat_now_s(s);
    for (uint32_t i = 0; i < HEAT_GROUP_CELLS; i++) {
        rec->v[i] = heat_get(&s->heat, rec->clock_s, l, group * HEAT_GROUP_CELLS + i);
        heat_note_saved(&s->heat, l, group * HEAT_GROUP_CELLS + i);
    }
    layer_at(s, l)->heat_groups = MAX(layer_at(s, l)->heat_groups, group + 1);
    h->op[h->nr] = (struct meta_op){.key = meta_key_heat(layer_at(s, l)->id, group), .value = h->value[h->nr],
                                    .value_len = heat_rec_encode(rec, h->value[h->nr])};
    h->nr++;
}

static void saved(struct meta_batch *b)
{
    struct shard *s = b->ctx;
    struct heat_saver *h = &s->heat_saver;

    trace(TRACE_META_COMMIT, b->commit_no, b->nr, (uint64_t)-b->err);
    h->committing = false;
    h->nr = 0;
    shard_batch_over(s, b->err);
}

/* True: the walk is over. */
static bool walk(struct shard *s)
{
    struct heat_saver *h = &s->heat_saver;
    uint32_t budget = SCAN_BUDGET;
    const struct heat_cell *c;

    while (h->nr < HEAT_BATCH && (c = heat_next_changed(&s->heat, &h->cursor, &budget)) != NULL)
        add_group(s, c->layer, c->no / HEAT_GROUP_CELLS);
    return h->nr < HEAT_BATCH && budget > 0;
}

static uint64_t period_ns(const struct shard *s) { return s->t.heat_period_ns != 0 ? s->t.heat_period_ns : HEAT_PERIOD_NS; }

uint64_t heat_step(struct shard *s)
{
    struct heat_saver *h = &s->heat_saver;
    uint64_t now = env_now_ns(s->env);
    bool over;

    if (s->failed != 0 || h->committing || (s->heat.nr_changed == 0 && h->cursor == 0))
        return UINT64_MAX;
    if (h->cursor == 0 && !s->draining && now < h->saved_ns + period_ns(s))
        return h->saved_ns + period_ns(s);
    over = walk(s);
    if (over) {
        h->cursor = 0;
        h->saved_ns = now;
    }
    if (h->nr == 0)
        return now;
    h->committing = true;
    h->batch = (struct meta_batch){.ops = h->op, .nr = h->nr, .env = s->env, .cb = saved, .ctx = s};
    meta_commit(s->o.meta, &h->batch);
    return UINT64_MAX;
}

bool heat_busy(const struct shard *s)
{
    return s->heat_saver.committing || (s->failed == 0 && (s->heat.nr_changed > 0 || s->heat_saver.cursor > 0));
}

/* ---- a deleted layer ---- */

uint32_t heat_forget_groups(struct shard *s, uint32_t l, uint32_t *group, struct meta_op *ops, uint32_t max)
{
    const struct layer *y = layer_at(s, l);
    uint32_t nr = 0;

    for (; *group < y->heat_groups && nr < max; ++*group)
        ops[nr++] = (struct meta_op){.key = meta_key_heat(y->id, *group)};
    return nr;
}
