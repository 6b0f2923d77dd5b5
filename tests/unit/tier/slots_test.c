/* SPDX-License-Identifier: Apache-2.0 */
/* Places of slot segments under random use, against the rules that a reader of the queue would expect. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "tier/slots.h"

enum { SEGS = 12, PER = 40, FIRST = 3, BLOCKS = 700, PLACES = SEGS * PER };

struct rig {
    struct index ix;
    struct slots sl;
    uint32_t id_of[BLOCKS];           /* where a block's copy is */
    uint64_t entered[PLACES];         /* when what is in a place entered the small queue; 0: it did not */
    bool     pinned[PLACES], pending[PLACES];
    uint64_t clock, evicted[3], nothing; /* evicted: from the ring, over, main */
};

static void rig_remove(struct rig *r, uint32_t id)
{
    unsigned flags = index_flags_of(&r->ix, id);
    struct index_entry e;

    index_get(&r->ix, id, &e);
    index_remove(&r->ix, id);
    slots_gone(&r->sl, id, flags);
    r->id_of[e.block] = INDEX_NONE;
    r->entered[id] = 0;
}

/* First in, first out: what came earlier is gone, main, or was busy at its turn; what is over goes first. */
static void check_turn(const struct rig *r, uint32_t id)
{
    for (uint32_t o = 0; o < PLACES; o++) {
        if (!index_slot_used(&r->ix, o) || r->pinned[o] || r->sl.seg[o / PER].closing)
            continue;
        cr_assert(!(index_flags_of(&r->ix, o) & INDEX_OVER), "%u is in the ring, %u is over", id, o);
        if (r->entered[o] != 0 && r->entered[o] < r->entered[id])
            cr_assert(index_flags_of(&r->ix, o) & INDEX_MAIN, "%u before %u", id, o);
    }
}

static void on_evict(void *ctx, uint32_t id)
{
    struct rig *r = ctx;
    unsigned flags = index_flags_of(&r->ix, id);

    cr_assert(index_ref(&r->ix, id) == 0 && !r->pinned[id], "what is used or being read stays");
    if (flags == 0)
        check_turn(r, id);
    r->evicted[flags == 0 ? 0 : flags == INDEX_OVER ? 1 : 2]++;
    rig_remove(r, id);
}

static void rig_up(struct rig *r, uint32_t segments)
{
    memset(r, 0, sizeof(*r));
    for (uint32_t b = 0; b < BLOCKS; b++)
        r->id_of[b] = INDEX_NONE;
    cr_assert_eq(index_init(&r->ix, SEGS, PER * 8, 4, 1, 5), 0);
    cr_assert_eq(slots_init(&r->sl, &r->ix, FIRST, 10, on_evict, r), 0);
    for (uint32_t s = 0; s < segments; s++)
        slots_open_segment(&r->sl, s);
}

static void rig_down(struct rig *r)
{
    slots_fini(&r->sl);
    index_fini(&r->ix);
}

static uint32_t rig_take(struct rig *r, bool to_main)
{
    uint32_t id = slots_take(&r->sl, to_main);

    if (id == INDEX_NONE) {
        r->nothing++;
        return id;
    }
    cr_assert(id % PER >= FIRST && !index_slot_used(&r->ix, id) && !r->pending[id] && !r->pinned[id]);
    r->pending[id] = true;
    r->entered[id] = to_main ? 0 : ++r->clock;
    return id;
}

static void rig_filled(struct rig *r, uint32_t id, uint64_t block)
{
    struct index_entry e = {.layer = 1, .block = block, .segment = id / PER, .unit = id % PER * 8, .csum = (uint32_t)block};

    r->pending[id] = false;
    e.flags = slots_filled(&r->sl, id);
    cr_assert_eq(index_put(&r->ix, INDEX_NONE, &e), id);
    r->id_of[block] = id;
}

static uint32_t rig_fill(struct rig *r, uint64_t block, bool to_main)
{
    uint32_t id = rig_take(r, to_main);

    if (id != INDEX_NONE)
        rig_filled(r, id, block);
    return id;
}

Test(slots, places_are_given_out_side_by_side_until_there_are_none)
{
    static struct rig r;

    rig_up(&r, 2);
    for (uint32_t i = 0; i < 2 * (PER - FIRST); i++)
        cr_assert_eq(rig_fill(&r, i, false), i / (PER - FIRST) * PER + FIRST + i % (PER - FIRST));
    cr_assert_eq(r.evicted[0] + r.evicted[1] + r.evicted[2], 0);
    slots_verify(&r.sl);
    rig_fill(&r, 600, false);
    cr_assert_eq(r.evicted[0] + r.evicted[1] + r.evicted[2], 1);
    slots_verify(&r.sl);
    rig_down(&r);
}

Test(slots, what_was_used_in_the_small_queue_stays_where_it_lies)
{
    static struct rig r;
    uint32_t id;

    rig_up(&r, SEGS);
    for (uint32_t i = 0; i < 20; i++)
        rig_fill(&r, i, false);
    id = r.id_of[0];
    index_ref_add(&r.ix, id);
    for (uint32_t i = 20; i < 600; i++)
        rig_fill(&r, i, false);
    cr_assert(r.id_of[0] == id && (index_flags_of(&r.ix, id) & INDEX_MAIN));
    cr_assert_eq(r.id_of[1], INDEX_NONE);
    slots_verify(&r.sl);
    rig_down(&r);
}

Test(slots, a_scan_takes_no_more_than_the_small_queue)
{
    static struct rig r;
    uint32_t hot = 300, left = 0;

    rig_up(&r, SEGS);
    for (uint32_t i = 0; i < hot; i++)
        index_ref_add(&r.ix, rig_fill(&r, i, true));
    for (uint32_t i = 0; i < 100000; i++) {
        uint64_t b = hot + i % (BLOCKS - hot);

        if (r.id_of[b] == INDEX_NONE)
            rig_fill(&r, b, false);
    }
    for (uint32_t i = 0; i < hot; i++)
        left += r.id_of[i] != INDEX_NONE;
    cr_assert_eq(left, hot);
    rig_down(&r);
}

Test(slots, the_small_queue_gives_until_it_has_its_share)
{
    static struct rig r;
    const uint32_t places = SEGS * (PER - FIRST), main = 300, later = 150;

    for (unsigned i = 0; i < 2; i++) {
        uint64_t pct = i == 0 ? 10 : 4, small = 0;

        rig_up(&r, SEGS);
        slots_small_share(&r.sl, (uint32_t)pct);
        for (uint32_t b = 0; b < places; b++)
            rig_fill(&r, b, b < main);
        for (uint32_t b = 0; b < later; b++)
            rig_fill(&r, places + b, true);
        for (uint32_t b = main; b < places; b++)
            small += r.id_of[b] != INDEX_NONE;
        cr_assert_eq(small, places * pct / 100);
        cr_assert_eq(r.evicted[2], later - (places - main - small), "then main gives");
        slots_verify(&r.sl);
        rig_down(&r);
    }
}

Test(slots, the_small_queue_is_a_share_of_the_cache_whatever_the_log_has_of_it)
{
    const uint32_t places = PER - FIRST;
    static struct rig r;

    rig_up(&r, 0);
    slots_fini(&r.sl);
    cr_assert_eq(slots_init(&r.sl, &r.ix, FIRST, 50, on_evict, &r), 0);
    cr_assert_eq(slots_small_pct(&r.sl, 8 * places, 10), 10, "no places yet");
    slots_open_segment(&r.sl, 0);
    cr_assert_eq(slots_small_pct(&r.sl, 8 * places, 10), 50, "an eighth of the cache: more than the ring has room for");
    slots_open_segment(&r.sl, 1);
    cr_assert_eq(slots_small_pct(&r.sl, 8 * places, 10), 40);
    slots_open_segment(&r.sl, 2);
    slots_open_segment(&r.sl, 3);
    cr_assert_eq(slots_small_pct(&r.sl, 8 * places, 10), 20);
    cr_assert_eq(slots_small_pct(&r.sl, 3 * places, 10), 10, "this shard has more than its share");
    rig_down(&r);
}

Test(slots, a_fill_that_is_dropped_gives_its_place_back)
{
    static struct rig r;
    uint32_t id;

    rig_up(&r, 1);
    for (uint32_t i = 0; i < 1000; i++) {
        id = rig_take(&r, i % 2);
        cr_assert_neq(id, INDEX_NONE);
        r.pending[id] = false;
        slots_give_back(&r.sl, id);
        slots_verify(&r.sl);
    }
    cr_assert_eq(r.evicted[0] + r.evicted[1] + r.evicted[2], 0);
    rig_down(&r);
}

Test(slots, with_everything_taken_or_read_a_fill_finds_nothing_and_returns)
{
    static struct rig r;
    struct slots_pin p;
    uint32_t id;

    rig_up(&r, 1);
    for (uint32_t i = 0; i < PER - FIRST; i++)
        rig_fill(&r, i, i % 2);
    slots_pin(&r.sl, &p, FIRST, PER - FIRST);
    memset(r.pinned, true, sizeof(r.pinned));
    cr_assert_eq(rig_fill(&r, 100, false), INDEX_NONE);
    rig_remove(&r, r.id_of[7]); /* a write that came meanwhile: its place is free, and still being read */
    cr_assert_eq(rig_fill(&r, 100, false), INDEX_NONE);
    slots_verify(&r.sl);
    slots_unpin(&r.sl, &p);
    memset(r.pinned, false, sizeof(r.pinned));
    id = rig_fill(&r, 100, false);
    cr_assert_neq(id, INDEX_NONE);
    slots_verify(&r.sl);
    rig_down(&r);
}

Test(slots, a_segment_that_was_given_up_and_comes_back_is_as_new)
{
    static struct rig r;

    rig_up(&r, 2);
    for (uint32_t round = 0; round < 50; round++) {
        for (uint64_t b = 0; b < 60; b++)
            if (r.id_of[b] == INDEX_NONE)
                rig_fill(&r, b, b % 7 == 0);
        slots_close_segment(&r.sl, round % 2);
        for (uint32_t b = 0; b < BLOCKS; b++)
            if (r.id_of[b] != INDEX_NONE && r.id_of[b] / PER == round % 2)
                rig_remove(&r, r.id_of[b]);
        cr_assert(slots_closed(&r.sl, round % 2));
        slots_drop_segment(&r.sl, round % 2);
        slots_verify(&r.sl);
        slots_open_segment(&r.sl, round % 2);
        slots_verify(&r.sl);
    }
    rig_down(&r);
}

Test(slots, what_a_start_finds_is_main_and_the_rest_is_free)
{
    static struct rig r;

    rig_up(&r, 0);
    for (uint32_t b = 0; b < 20; b++) {
        struct index_entry e = {.layer = 1, .block = b, .segment = 4, .unit = (FIRST + b) * 8, .flags = INDEX_MAIN};

        r.id_of[b] = index_put(&r.ix, INDEX_NONE, &e);
    }
    slots_adopt_segment(&r.sl, 4);
    slots_verify(&r.sl);
    cr_assert(r.sl.nr_used == 20 && r.sl.nr_main == 20);
    cr_assert_eq(rig_fill(&r, 30, false), 4 * PER + FIRST + 20);
    for (uint64_t b = 100; b < 200; b++)
        rig_fill(&r, b, false);
    slots_verify(&r.sl);
    rig_down(&r);
}

/* ---- random use ---- */

#define PENDING 24
struct chaos {
    struct rig r;
    uint32_t pend[PENDING];
    uint64_t pend_block[PENDING];
    struct { struct slots_pin pin; bool on; } reads[8];
    int closing;                 /* a segment; -1: none */
    uint32_t open;               /* segments, a bit each */
};

static bool block_pending(const struct chaos *c, uint64_t b)
{
    for (uint32_t i = 0; i < PENDING; i++)
        if (c->pend[i] != INDEX_NONE && c->pend_block[i] == b)
            return true;
    return false;
}

static void chaos_fill(struct chaos *c)
{
    uint32_t i = (uint32_t)rand() % PENDING;
    uint64_t b = (uint64_t)rand() % BLOCKS;

    if (rand() % 2 != 0) {
        if (c->r.id_of[b] == INDEX_NONE && !block_pending(c, b))
            rig_fill(&c->r, b, rand() % 4 == 0);
        return;
    }
    if (c->pend[i] != INDEX_NONE) {
        if (rand() % 5 == 0) {
            c->r.pending[c->pend[i]] = false;
            c->r.entered[c->pend[i]] = 0;
            slots_give_back(&c->r.sl, c->pend[i]);
        } else {
            rig_filled(&c->r, c->pend[i], c->pend_block[i]);
        }
        c->pend[i] = INDEX_NONE;
    } else if (c->r.id_of[b] == INDEX_NONE && !block_pending(c, b)) {
        c->pend[i] = rig_take(&c->r, rand() % 4 == 0);
        c->pend_block[i] = b;
        if (c->pend[i] != INDEX_NONE)
            c->r.entered[c->pend[i]] = 0; /* likewise */
    }
}

static void chaos_read(struct chaos *c)
{
    uint32_t i = (uint32_t)rand() % ARRAY_LEN(c->reads), s = (uint32_t)rand() % SEGS;
    uint32_t at = FIRST + (uint32_t)rand() % (PER - FIRST), nr = 1 + (uint32_t)rand() % 3;

    if (c->reads[i].on) {
        for (uint32_t k = 0; k < c->reads[i].pin.nr; k++)
            c->r.pinned[c->reads[i].pin.first + k] = false;
        slots_unpin(&c->r.sl, &c->reads[i].pin);
        c->reads[i].on = false;
        return;
    }
    if (!(c->open >> s & 1) || at + nr > PER)
        return;
    for (uint32_t k = 0; k < nr; k++)
        if (c->r.pending[s * PER + at + k] || c->r.pinned[s * PER + at + k] || !index_slot_used(&c->r.ix, s * PER + at + k))
            return;
    slots_pin(&c->r.sl, &c->reads[i].pin, s * PER + at, nr);
    c->reads[i].on = true;
    for (uint32_t k = 0; k < nr; k++) {
        c->r.pinned[s * PER + at + k] = true;
        c->r.entered[s * PER + at + k] = 0; /* its turn may pass meanwhile */
        index_ref_add(&c->r.ix, s * PER + at + k);
    }
}

static void chaos_segment(struct chaos *c)
{
    uint32_t s = (uint32_t)rand() % SEGS;

    if (c->closing >= 0) {
        s = (uint32_t)c->closing;
        for (uint32_t id = s * PER; id < (s + 1) * PER; id++)
            if (index_slot_used(&c->r.ix, id))
                rig_remove(&c->r, id);
        if (!slots_closed(&c->r.sl, s))
            return;
        slots_drop_segment(&c->r.sl, s);
        memset(&c->r.entered[s * PER], 0, PER * sizeof(c->r.entered[0]));
        c->open &= ~(1u << s);
        c->closing = -1;
    } else if (!(c->open >> s & 1)) {
        slots_open_segment(&c->r.sl, s);
        c->open |= 1u << s;
    } else if (__builtin_popcount(c->open) > 3) {
        slots_close_segment(&c->r.sl, s);
        c->closing = (int)s;
    }
}

Test(slots, a_hundred_thousand_random_operations_break_no_rule)
{
    static struct chaos c;

    srand(7);
    rig_up(&c.r, 6);
    c.open = 0x3f;
    c.closing = -1;
    for (uint32_t i = 0; i < PENDING; i++)
        c.pend[i] = INDEX_NONE;
    for (uint32_t step = 0; step < 100000; step++) {
        uint32_t b = (uint32_t)rand() % BLOCKS, what = (uint32_t)rand() % 100;

        if (what < 60)
            chaos_fill(&c);
        else if (what < 75)
            chaos_read(&c);
        else if (what < 90 && c.r.id_of[b] != INDEX_NONE)
            index_ref_add(&c.r.ix, c.r.id_of[b]);
        else if (what < 97 && c.r.id_of[b] != INDEX_NONE)
            rig_remove(&c.r, c.r.id_of[b]);
        else if (step % 8 == 0)
            chaos_segment(&c);
        slots_verify(&c.r.sl);
    }
    cr_assert(c.r.evicted[0] > 1000 && c.r.evicted[1] > 1000 && c.r.evicted[2] > 300, "%llu small, %llu over, %llu main",
              (unsigned long long)c.r.evicted[0], (unsigned long long)c.r.evicted[1], (unsigned long long)c.r.evicted[2]);
    index_verify(&c.r.ix);
    rig_down(&c.r);
}
