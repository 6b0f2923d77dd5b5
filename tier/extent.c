/* SPDX-License-Identifier: Apache-2.0 */
/* extent.c: nodes, their hash by (layer, number), and the lists of those that need work. */
#include "tier/extent.h"

#include <errno.h>
#include <sys/mman.h>

static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* All of the hash is resident after some thousand extents: with a bucket for whatever a shard may come to hold, in each of many
 * shards, it would be larger than the nodes. A shard that holds all of the pool has longer chains. */
int extent_table_init(struct extent_table *t, uint32_t nr_max, uint32_t parts)
{
    uint32_t buckets = 1024, wanted = (uint32_t)MIN((uint64_t)nr_max, 2 * (uint64_t)nr_max / parts);

    while (buckets < wanted && buckets < 1u << 30)
        buckets *= 2;
    *t = (struct extent_table){.nr_max = nr_max, .hash_mask = buckets - 1};
    t->node = reserve((size_t)(nr_max + 1) * sizeof(*t->node));
    t->hash = reserve((size_t)buckets * sizeof(*t->hash));
    if (t->node != NULL && t->hash != NULL)
        return 0;
    extent_table_fini(t);
    return -ENOMEM;
}

int extent_table_add_dev(struct extent_table *t, uint16_t dev, uint32_t nr_slots)
{
    struct extent_slots *d = &t->dev[dev];
    int err = slotset_init(&d->dirty, nr_slots);

    err = err ? err : slotset_init(&d->due, nr_slots);
    err = err ? err : slotset_init(&d->ripe, (nr_slots + REGION_EXTENTS - 1) / REGION_EXTENTS);
    for (unsigned h = 0; h < ARRAY_LEN(d->ringed); h++)
        err = err ? err : slotset_init(&d->ringed[h], nr_slots);
    d->x = reserve((size_t)d->dirty.nr_slots * sizeof(*d->x));
    return err == 0 && d->x == NULL ? -ENOMEM : err;
}

static void dev_fini(struct extent_slots *d)
{
    if (d->x != NULL)
        munmap(d->x, (size_t)d->dirty.nr_slots * sizeof(*d->x));
    slotset_fini(&d->dirty);
    slotset_fini(&d->due);
    slotset_fini(&d->ripe);
    for (unsigned h = 0; h < ARRAY_LEN(d->ringed); h++)
        slotset_fini(&d->ringed[h]);
}

void extent_table_fini(struct extent_table *t)
{
    for (unsigned d = 0; d < CAPACITY_DEVS_MAX; d++)
        dev_fini(&t->dev[d]);
    if (t->node != NULL)
        munmap(t->node, (size_t)(t->nr_max + 1) * sizeof(*t->node));
    if (t->hash != NULL)
        munmap(t->hash, ((size_t)t->hash_mask + 1) * sizeof(*t->hash));
    *t = (struct extent_table){0};
}

static uint32_t *head_of(const struct extent_table *t, uint32_t layer, uint32_t no)
{
    uint64_t h = ((uint64_t)layer << 32 | no) * UINT64_C(0x9e3779b97f4a7c15);

    return &t->hash[(uint32_t)(h >> 32) & t->hash_mask];
}

uint32_t extent_find(const struct extent_table *t, uint32_t layer, uint32_t no)
{
    uint32_t x = *head_of(t, layer, no);

    while (x != EXTENT_NONE && !(t->node[x].layer == layer && t->node[x].no == no))
        x = t->node[x].hash_next;
    return x;
}

uint32_t extent_add(struct extent_table *t, uint32_t layer, uint32_t no)
{
    uint32_t *head = head_of(t, layer, no);
    uint32_t x = t->free;

    assert(layer != 0 && extent_find(t, layer, no) == EXTENT_NONE);
    if (x != EXTENT_NONE)
        t->free = t->node[x].hash_next;
    else if (t->touched < t->nr_max)
        x = ++t->touched;
    else
        return EXTENT_NONE;
    t->node[x] = (struct extent){.layer = layer, .no = no, .place = {.dev = EXTENT_NO_DEV}, .hash_next = *head};
    *head = x;
    t->nr_used++;
    return x;
}

void extent_del(struct extent_table *t, uint32_t x)
{
    struct extent *e = extent_at(t, x);
    uint32_t *at = head_of(t, e->layer, e->no);

    assert(e->list == 0 && e->side == EXTENT_SIDE_NONE && e->nr_live == 0 && e->users == 0 && e->reads == 0 && e->gives == 0 &&
           e->ring == 0);
    while (*at != x)
        at = &t->node[*at].hash_next;
    *at = e->hash_next;
    *e = (struct extent){.hash_next = t->free};
    t->free = x;
    t->nr_used--;
}

void extent_set_state(struct extent *e, enum extent_state to)
{
    static const bool allowed[EXTENT_STATE_NR][EXTENT_STATE_NR] = {
        [EXTENT_IDLE]       = {[EXTENT_DESTAGING] = true, [EXTENT_DESCRIBING] = true, [EXTENT_FORGETTING] = true},
        [EXTENT_DESTAGING]  = {[EXTENT_IDLE] = true},
        [EXTENT_DESCRIBING] = {[EXTENT_IDLE] = true},
        [EXTENT_FORGETTING] = {[EXTENT_IDLE] = true},
    };

    assert(e->state < EXTENT_STATE_NR && to < EXTENT_STATE_NR && allowed[e->state][to]);
    e->state = (uint8_t)to;
}

static unsigned bucket_of(const struct extent *e)
{
    if (e->flags & EXTENT_URGENT)
        return EXTENT_BUCKET_URGENT;
    if (e->flags & (EXTENT_EAGER | EXTENT_PINNED))
        return e->flags & EXTENT_EAGER ? EXTENT_BUCKET_EAGER : EXTENT_BUCKET_PINNED;
    return EXTENT_BUCKET_DENSITY + 31u - (unsigned)__builtin_clz(e->nr_dirty);
}

static uint16_t list_wanted(const struct extent *e)
{
    unsigned lane = extent_placed(e) ? e->place.dev : CAPACITY_DEVS_MAX;

    if (e->state != EXTENT_IDLE || e->nr_dirty == 0 || extent_needs_no_device(e))
        return 0;
    return (uint16_t)(lane * EXTENT_BUCKETS + bucket_of(e) + 1);
}

static struct extent_slots *slots_of_list(struct extent_table *t, uint16_t list)
{
    unsigned lane = (list - 1u) / EXTENT_BUCKETS;

    return lane < CAPACITY_DEVS_MAX ? &t->dev[lane] : NULL;
}

static uint32_t *held_of(struct extent_table *t, uint16_t list) { return &t->held[(list - 1u) / EXTENT_BUCKETS]; }
static uint32_t bucket_bit(uint16_t list) { return 1u << (list - 1u) % EXTENT_BUCKETS; }

static void list_unlink(struct extent_table *t, struct extent *e)
{
    struct extent_list *l = &t->list[e->list - 1];
    struct extent_slots *d = slots_of_list(t, e->list);

    if (d != NULL)
        slotset_remove(&d->dirty, e->place.slot);

    if (e->prev != EXTENT_NONE)
        t->node[e->prev].next = e->next;
    else
        l->first = e->next;
    if (e->next != EXTENT_NONE)
        t->node[e->next].prev = e->prev;
    else
        l->last = e->prev;
    if (--l->nr == 0)
        *held_of(t, e->list) &= ~bucket_bit(e->list);
    e->list = 0;
}

static void list_append(struct extent_table *t, uint32_t x, uint16_t list)
{
    struct extent_list *l = &t->list[list - 1];
    struct extent_slots *d = slots_of_list(t, list);
    struct extent *e = &t->node[x];

    if (d != NULL) {
        slotset_add(&d->dirty, e->place.slot);
        d->x[e->place.slot] = x;
    }
    e->next = EXTENT_NONE;
    e->prev = l->last;
    if (l->last != EXTENT_NONE)
        t->node[l->last].next = x;
    else
        l->first = x;
    l->last = x;
    l->nr++;
    *held_of(t, list) |= bucket_bit(list);
    e->list = list;
}

void extent_relist(struct extent_table *t, uint32_t x)
{
    struct extent *e = extent_at(t, x);
    uint16_t want = list_wanted(e);

    if (want == e->list)
        return;
    if (e->list != 0)
        list_unlink(t, e);
    if (want != 0)
        list_append(t, x, want);
}

void extent_unlist(struct extent_table *t, uint32_t x)
{
    struct extent *e = extent_at(t, x);

    assert(e->side < EXTENT_SIDE_DESCRIBE); /* its place has bytes that count */
    if (e->list != 0)
        list_unlink(t, e);
}

static void due_add(struct extent_slots *d, uint32_t slot, uint32_t x)
{
    slotset_add(&d->due, slot);
    d->x[slot] = x;
    if (slotset_group(&d->due, slot) == EXTENT_RIPE)
        slotset_add(&d->ripe, slot / REGION_EXTENTS);
}

static void due_remove(struct extent_slots *d, uint32_t slot)
{
    slotset_remove(&d->due, slot);
    if (slotset_group(&d->due, slot) == EXTENT_RIPE - 1)
        slotset_remove(&d->ripe, slot / REGION_EXTENTS);
}

static void side_unlink(struct extent_table *t, struct extent *e)
{
    struct extent_list *l = &t->side[e->side];

    if (e->side >= EXTENT_SIDE_DESCRIBE)
        due_remove(&t->dev[e->side - EXTENT_SIDE_DESCRIBE], e->place.slot);

    if (e->side_prev != EXTENT_NONE)
        t->node[e->side_prev].side_next = e->side_next;
    else
        l->first = e->side_next;
    if (e->side_next != EXTENT_NONE)
        t->node[e->side_next].side_prev = e->side_prev;
    else
        l->last = e->side_prev;
    l->nr--;
    e->side = EXTENT_SIDE_NONE;
}

void extent_side(struct extent_table *t, uint32_t x, enum extent_side_list side)
{
    struct extent *e = extent_at(t, x);
    struct extent_list *l = &t->side[side];

    if (e->side == side)
        return;
    if (e->side != EXTENT_SIDE_NONE)
        side_unlink(t, e);
    if (side == EXTENT_SIDE_NONE)
        return;
    if (side >= EXTENT_SIDE_DESCRIBE)
        due_add(&t->dev[side - EXTENT_SIDE_DESCRIBE], e->place.slot, x);
    e->side_next = EXTENT_NONE;
    e->side_prev = l->last;
    if (l->last != EXTENT_NONE)
        t->node[l->last].side_next = x;
    else
        l->first = x;
    l->last = x;
    l->nr++;
    e->side = (uint8_t)side;
}
