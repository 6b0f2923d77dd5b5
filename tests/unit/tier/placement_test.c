/* SPDX-License-Identifier: Apache-2.0 */
/* placement_test.c: which extents belong on flash; and that moving them there comes to an end. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tier/placement.h"

#define HOT (PLACEMENT_WARM + 2u) /* heat from 4 */
#define FEW 256u

static struct placement_room room(uint64_t used, uint64_t total) { return (struct placement_room){used, total}; }

Test(placement, heat_is_counted_in_powers_of_two)
{
    cr_expect_eq(placement_heat_class(0), PLACEMENT_COLD);
    cr_expect_eq(placement_heat_class(0.99), PLACEMENT_COLD);
    cr_expect_eq(placement_heat_class(1), PLACEMENT_WARM);
    cr_expect_eq(placement_heat_class(3.99), PLACEMENT_WARM + 1);
    cr_expect_eq(placement_heat_class(4), HOT);
    cr_expect_eq(placement_heat_class(2147483648.0), PLACEMENT_SSD - 1);
    cr_expect_eq(placement_heat_class(1e30), PLACEMENT_SSD - 1);
}

Test(placement, what_is_hot_and_fits_goes_up_and_what_is_cold_comes_down)
{
    struct placement_census c = {0};
    struct placement_marks m;
    struct placement_room half = room(50, 100);

    c.nr[0][HOT] = 10;
    c.nr[0][HOT + 3] = 20;
    c.nr[1][PLACEMENT_COLD] = 50;
    m = placement_decide(&c, 100, HOT, FEW);
    cr_expect_eq(m.hot, HOT);
    cr_expect_eq(m.edge, PLACEMENT_CLASSES);
    cr_expect(placement_up(&m, HOT, &half) && placement_up(&m, HOT + 3, &half) && placement_up(&m, PLACEMENT_SSD, &half));
    cr_expect_not(placement_up(&m, HOT - 1, &half));
    cr_expect_not(placement_up(&m, PLACEMENT_HDD, &half));
    cr_expect_not(placement_down(&m, HOT - 1, &half, true), "one class is between up and down");
    cr_expect(placement_down(&m, HOT - 2, &half, true) && placement_down(&m, PLACEMENT_COLD, &half, true));
    cr_expect_not(placement_down(&m, PLACEMENT_COLD, &half, false), "nobody knows yet what is cold");
    cr_expect(placement_down(&m, PLACEMENT_HDD, &half, false));
}

Test(placement, what_does_not_fit_whole_fills_what_is_left)
{
    struct placement_census c = {0};
    struct placement_marks m;

    c.nr[0][HOT + 4] = 60;
    c.nr[0][HOT + 3] = 60;
    m = placement_decide(&c, 100, HOT, FEW);
    cr_expect_eq(m.hot, HOT + 4);
    cr_expect_eq(m.edge, HOT + 3);
    cr_expect(placement_up(&m, HOT + 3, &(struct placement_room){84, 100}));
    cr_expect_not(placement_up(&m, HOT + 3, &(struct placement_room){85, 100}));
    cr_expect(placement_up(&m, HOT + 4, &(struct placement_room){89, 100}));
    cr_expect_not(placement_up(&m, HOT + 4, &(struct placement_room){90, 100}));
    cr_expect_not(placement_down(&m, HOT + 3, &(struct placement_room){90, 100}, true), "it stays");
    cr_expect(placement_down(&m, HOT + 2, &(struct placement_room){10, 100}, true), "two classes colder than what is hot");
    c.nr[0][HOT + 4] = 200;
    m = placement_decide(&c, 100, HOT, FEW);
    cr_expect_eq(m.hot, HOT + 5);
    cr_expect_eq(m.edge, HOT + 4);
}

Test(placement, above_the_mark_the_coldest_makes_room)
{
    struct placement_census c = {0};
    struct placement_marks m;
    struct placement_room full = room(91, 100), enough = room(90, 100);

    c.nr[1][HOT] = 5;
    c.nr[1][HOT + 1] = 80;
    c.nr[1][PLACEMENT_SSD] = 6;
    m = placement_decide(&c, 100, HOT, FEW);
    cr_expect_eq(m.coldest, HOT);
    cr_expect(placement_down(&m, HOT, &full, false));
    cr_expect_not(placement_down(&m, HOT, &enough, true));
    cr_expect_not(placement_down(&m, HOT + 1, &full, true));
    cr_expect_not(placement_down(&m, PLACEMENT_SSD, &full, true), "never what is for the SSD");
    cr_expect(placement_new(&m, HOT + 1, &(struct placement_room){96, 100}), "the rest is for new ones");
    cr_expect_not(placement_new(&m, HOT + 1, &(struct placement_room){97, 100}));
    cr_expect_not(placement_new(&m, PLACEMENT_COLD, &(struct placement_room){0, 100}));
    cr_expect_not(placement_new(&m, PLACEMENT_HDD, &(struct placement_room){0, 100}));
}

Test(placement, the_hottest_and_the_coldest_go_first)
{
    struct placement_census c = {0};
    struct placement_marks m;

    c.nr[0][HOT] = 1000;
    c.nr[0][HOT + 1] = 100;
    c.nr[0][HOT + 2] = 100;
    c.nr[1][PLACEMENT_COLD] = 300;
    c.nr[1][PLACEMENT_WARM] = 10;
    m = placement_decide(&c, 100000, HOT, FEW);
    cr_expect_eq(m.up_from, HOT + 1);
    cr_expect_eq(m.down_to, PLACEMENT_COLD, "more than asked for, but somebody has to begin");
    c.nr[0][HOT + 2] = 300;
    c.nr[1][PLACEMENT_COLD] = 30;
    m = placement_decide(&c, 100000, HOT, FEW);
    cr_expect_eq(m.up_from, HOT + 2);
    cr_expect_eq(m.down_to, PLACEMENT_CLASSES);
    m = placement_decide(&(struct placement_census){0}, 100, HOT, FEW);
    cr_expect_eq(m.up_from, 0);
}

Test(placement, flash_that_cannot_be_used_takes_nothing)
{
    struct placement_census c = {0};
    struct placement_marks m;
    struct placement_room none = room(0, 0);

    c.nr[0][HOT] = 1;
    m = placement_decide(&c, 0, HOT, FEW);
    cr_expect_not(placement_up(&m, HOT, &none));
    cr_expect_not(placement_up(&m, PLACEMENT_SSD, &none));
    cr_expect_not(placement_new(&m, PLACEMENT_SSD, &none));
}

/* ---- constant heat: every extent moves a bounded number of times, and then nothing does ---- */

#define EXTENTS 400u
struct toy { unsigned class[EXTENTS]; bool flash[EXTENTS]; uint32_t moves[EXTENTS]; struct placement_room r; };

static uint32_t toy_walk(struct toy *t, const struct placement_marks *m)
{
    uint32_t moved = 0;

    for (uint32_t i = 0; i < EXTENTS; i++) {
        bool go = t->flash[i] ? placement_down(m, t->class[i], &t->r, true) : placement_up(m, t->class[i], &t->r);

        if (!go)
            continue;
        t->r.used += t->flash[i] ? UINT64_MAX : 1;
        t->flash[i] = !t->flash[i];
        t->moves[i]++;
        moved++;
    }
    return moved;
}

static struct placement_marks toy_marks(const struct toy *t)
{
    struct placement_census c = {0};

    for (uint32_t i = 0; i < EXTENTS; i++)
        c.nr[t->flash[i]][t->class[i]]++;
    return placement_decide(&c, t->r.total, HOT, FEW);
}

Test(placement, under_heat_that_stays_moves_come_to_an_end, .timeout = 60)
{
    srand(7);
    for (uint32_t world = 0; world < 2000; world++) {
        struct toy t = {.r = {0, 1 + (uint32_t)rand() % 500}};
        uint32_t classes = 1 + (uint32_t)rand() % PLACEMENT_CLASSES, rounds = 0, most = 0;

        for (uint32_t i = 0; i < EXTENTS; i++) {
            t.class[i] = (uint32_t)rand() % classes;
            t.flash[i] = t.r.used < t.r.total && rand() % 2 == 0;
            t.r.used += t.flash[i];
        }
        while (1) {
            struct placement_marks m = toy_marks(&t);

            if (toy_walk(&t, &m) == 0)
                break;
            cr_assert_lt(++rounds, 60, "world %u goes on and on", world);
        }
        for (uint32_t i = 0; i < EXTENTS; i++)
            most = MAX(most, t.moves[i]);
        cr_assert_leq(most, 2, "world %u: an extent moved %u times", world, most);
        cr_assert_leq(t.r.used, t.r.total);
    }
}
