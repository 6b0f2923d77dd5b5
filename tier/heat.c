/* SPDX-License-Identifier: Apache-2.0 */
/* heat.c: cells in buckets. A touch finds its cell, or takes the bucket's coldest; brings it to now; adds one. */
#include "tier/heat.h"

#include <errno.h>
#include <math.h>
#include <sys/mman.h>

#define CELLS_MIN 1024u

float heat_decay(float v, uint32_t dt_s, uint32_t half_life_s)
{
    if (dt_s > 0)
        v *= exp2f(-(float)dt_s / (float)half_life_s);
    return v < HEAT_MIN ? 0 : v;
}

int heat_init(struct heat *h, uint64_t nr_cells, uint32_t half_life_s)
{
    uint32_t buckets = CELLS_MIN / HEAT_WAYS;
    void *p;

    assert(half_life_s > 0);
    while ((uint64_t)buckets * HEAT_WAYS < nr_cells && buckets < 1u << 28)
        buckets *= 2;
    *h = (struct heat){.nr_buckets = buckets, .half_life_s = half_life_s};
    p = mmap(NULL, heat_nr_cells(h) * sizeof(*h->cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -ENOMEM;
    h->cell = p;
    return 0;
}

void heat_fini(struct heat *h)
{
    if (h->cell != NULL)
        munmap(h->cell, heat_nr_cells(h) * sizeof(*h->cell));
    *h = (struct heat){0};
}

static struct heat_cell *bucket_of(const struct heat *h, uint32_t layer, uint32_t no)
{
    uint64_t key = ((uint64_t)layer << 32 | no) * UINT64_C(0x9e3779b97f4a7c15);

    return &h->cell[(uint64_t)((uint32_t)(key >> 32) & (h->nr_buckets - 1)) * HEAT_WAYS];
}

static struct heat_cell *find(const struct heat *h, uint32_t layer, uint32_t no)
{
    struct heat_cell *c = bucket_of(h, layer, no);

    for (uint32_t i = 0; i < HEAT_WAYS; i++)
        if (c[i].layer == layer && c[i].no == no)
            return &c[i];
    return NULL;
}

/* The clock of a record may be ahead of this start's: then no time has passed. */
static struct heat_value value_at(const struct heat *h, const struct heat_cell *c, uint32_t now_s)
{
    uint32_t dt = now_s > c->at_s ? now_s - c->at_s : 0;

    return (struct heat_value){heat_decay(c->v.read, dt, h->half_life_s), heat_decay(c->v.write, dt, h->half_life_s),
                               heat_decay(c->v.use, dt, h->half_life_s * HEAT_USE_SLOWER)};
}

static float sum(const struct heat_value *v) { return v->read + v->write + v->use; }

static void set_changed(struct heat *h, struct heat_cell *c, bool on)
{
    if (c->changed == on)
        return;
    c->changed = on;
    h->nr_changed += on ? 1u : UINT64_MAX;
}

/* A free cell of the bucket, or its coldest. */
static struct heat_cell *coldest(const struct heat *h, uint32_t now_s, uint32_t layer, uint32_t no)
{
    struct heat_cell *c = bucket_of(h, layer, no), *best = c;
    float least = HEAT_MAX * 4;

    for (uint32_t i = 0; i < HEAT_WAYS; i++) {
        struct heat_value v = value_at(h, &c[i], now_s);

        if (c[i].layer == 0)
            return &c[i];
        if (sum(&v) < least) {
            least = sum(&v);
            best = &c[i];
        }
    }
    return best;
}

static void take(struct heat *h, struct heat_cell *c, uint32_t layer, uint32_t no, uint32_t at_s, const struct heat_value *v)
{
    set_changed(h, c, false);
    *c = (struct heat_cell){.layer = layer, .no = no & ((1u << HEAT_CELL_BITS) - 1), .at_s = at_s, .v = *v};
}

static float add_one(float v) { return MIN(v + 1, HEAT_MAX); }

static void touch_cell(struct heat *h, uint32_t now_s, uint32_t layer, uint32_t no, bool write, bool small)
{
    static const struct heat_value cold;
    struct heat_cell *c = find(h, layer, no);

    if (c == NULL) {
        c = coldest(h, now_s, layer, no);
        take(h, c, layer, no, now_s, &cold);
    } else if (c->at_s < now_s) {
        c->v = value_at(h, c, now_s);
        c->at_s = now_s;
    }
    if (write)
        c->v.write = add_one(c->v.write);
    else
        c->v.read = add_one(c->v.read);
    if (small)
        c->v.use = add_one(c->v.use);
    set_changed(h, c, true);
}

void heat_touch(struct heat *h, uint32_t now_s, uint32_t layer, uint64_t block, uint32_t nblocks, bool write)
{
    uint64_t first = block / HEAT_CELL_BLOCKS, last = (block + nblocks - 1) / HEAT_CELL_BLOCKS;
    bool small = nblocks <= HEAT_SMALL_BYTES / BLOCK_BYTES;

    assert(layer != 0 && nblocks > 0 && last >> HEAT_CELL_BITS == 0);
    for (uint64_t no = first; no <= last; no++)
        touch_cell(h, now_s, layer, (uint32_t)no, write, small);
}

struct heat_value heat_get(const struct heat *h, uint32_t now_s, uint32_t layer, uint32_t no)
{
    const struct heat_cell *c = find(h, layer, no);

    return c != NULL ? value_at(h, c, now_s) : (struct heat_value){0};
}

void heat_put(struct heat *h, uint32_t layer, uint32_t no, uint32_t at_s, const struct heat_value *v)
{
    struct heat_cell *c = find(h, layer, no);
    struct heat_value there;

    if (c == NULL) {
        c = coldest(h, at_s, layer, no);
        there = value_at(h, c, at_s);
        if (c->layer != 0 && sum(&there) >= sum(v))
            return;
    }
    take(h, c, layer, no, at_s, v);
}

bool heat_forget(struct heat *h, uint32_t layer, uint64_t *cursor, uint32_t *budget)
{
    for (; *cursor < heat_nr_cells(h) && *budget > 0; ++*cursor, --*budget) {
        struct heat_cell *c = &h->cell[*cursor];

        if (c->layer != layer)
            continue;
        set_changed(h, c, false);
        *c = (struct heat_cell){0};
    }
    return *cursor == heat_nr_cells(h);
}

const struct heat_cell *heat_next_changed(const struct heat *h, uint64_t *cursor, uint32_t *budget)
{
    for (; *cursor < heat_nr_cells(h) && *budget > 0; ++*cursor, --*budget)
        if (h->cell[*cursor].changed)
            return &h->cell[*cursor];
    return NULL;
}

void heat_note_saved(struct heat *h, uint32_t layer, uint32_t no)
{
    struct heat_cell *c = find(h, layer, no);

    if (c != NULL)
        set_changed(h, c, false);
}
