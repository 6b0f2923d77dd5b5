/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait for the same thing: their order, and what it costs to keep it. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tier/waits.h"

#define NR 16000u

static struct blk_io ios[NR];
static struct waits q;
static uint32_t seed = 1;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(seed >> 8) * below >> 24);
}

/* The model: those that wait, in the order in which they came. */
static struct blk_io *model[NR];
static uint32_t model_nr;

static uint32_t model_first(void)
{
    uint32_t first = 0;

    for (uint32_t i = 1; i < model_nr; i++)
        if (model[i]->priv.start_ns < model[first]->priv.start_ns)
            first = i;
    return first;
}

static struct blk_io *model_take(uint32_t i)
{
    struct blk_io *io = model[i];

    memmove(&model[i], &model[i + 1], (--model_nr - i) * sizeof(model[0]));
    return io;
}

/* One newcomer, or one that was somewhere else, of an age that others may have. */
static void add(uint32_t i, uint64_t start_ns)
{
    ios[i].priv.start_ns = start_ns;
    list_init(&ios[i].priv.node);
    model[model_nr++] = &ios[i];
    waits_add(&q, &ios[i]);
}

static void leave(bool first)
{
    struct blk_io *io;

    cr_assert_eq(waits_first(&q), model[model_first()]);
    io = model_take(first ? model_first() : draw(model_nr));
    waits_remove(&q, io);
}

Test(waits, the_oldest_is_first_and_of_two_of_one_age_the_one_that_came_first)
{
    uint32_t came = 0;

    waits_init(&q);
    cr_assert(waits_empty(&q) && waits_first(&q) == NULL);
    while (came < 6000) {
        if (model_nr == 0 || draw(100) < 55)
            add(came, draw(3) == 0 ? draw(came / 8 + 1) : came / 4), came++;
        else
            leave(draw(3) != 0);
        if (came % 64 == 0)
            cr_assert_eq(waits_verify(&q), model_nr);
    }
    cr_assert_gt(model_nr, 100);
    while (model_nr > 0)
        leave(true);
    cr_assert(waits_empty(&q) && waits_first(&q) == NULL && q.late == NULL);
}

Test(waits, those_that_come_in_order_take_no_steps)
{
    waits_init(&q);
    for (uint32_t i = 0; i < NR; i++)
        add(i, i / 2);
    for (uint32_t i = 1; i < NR; i += 2)
        waits_remove(&q, &ios[i]);
    for (uint32_t i = 0; i < NR; i += 2) {
        cr_assert_eq(waits_first(&q), &ios[i]);
        waits_remove(&q, &ios[i]);
    }
    cr_assert_eq(q.melds, 0);
}

/* 8,000 wait; each of 8,000 others comes from elsewhere, and belongs between two of them. In one list that is 32 million looks. */
static void come_between(uint32_t step)
{
    waits_init(&q);
    for (uint32_t i = 0; i < NR; i += 2) {
        ios[i].priv.start_ns = i;
        waits_add(&q, &ios[i]);
    }
    for (uint32_t i = 0; i < NR / 2; i++) {
        uint32_t k = i * step % (NR / 2) * 2 + 1;

        ios[k].priv.start_ns = k == NR - 1 ? 1 : k;
        waits_add(&q, &ios[k]);
    }
    cr_assert_leq(q.melds, NR / 2);
}

Test(waits, those_that_come_between_others_take_few_steps)
{
    static const uint32_t steps[] = {1, NR / 2 - 1, 7, 3001}; /* in order, backwards, here and there */

    for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
        uint64_t before = 0;

        come_between(steps[s]);
        for (uint32_t i = 0; i < NR; i++) {
            struct blk_io *io = waits_first(&q);

            cr_assert_geq(io->priv.start_ns, before);
            before = io->priv.start_ns;
            waits_remove(&q, io);
        }
        cr_assert(waits_empty(&q));
        cr_assert_leq(q.melds / (NR / 2), 14, "%llu steps for each", (unsigned long long)(q.melds / (NR / 2)));
    }
}

/* As a fence does, which wants none of them any more. */
Test(waits, those_that_leave_from_between_others_take_few_steps)
{
    come_between(3001);
    for (uint32_t i = 0; i < NR; i++)
        waits_remove(&q, &ios[i * 7001u % NR]);
    cr_assert(waits_empty(&q) && q.late == NULL);
    cr_assert_leq(q.melds / (NR / 2), 14);
}
