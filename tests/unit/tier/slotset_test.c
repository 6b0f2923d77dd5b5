/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tier/slotset.h"

#define SLOTS 20001u /* neither a multiple of a word nor of what a word above stands for */

/* The same question asked of an array of bools. */
static uint32_t next_in(const bool *in, uint32_t from)
{
    while (from < SLOTS && !in[from])
        from++;
    return from < SLOTS ? from : SLOT_NONE;
}

Test(slotset, agrees_with_an_array_of_flags)
{
    static bool in[SLOTS];
    struct slotset t;
    uint32_t nr = 0;

    cr_assert_eq(slotset_init(&t, SLOTS), 0);
    srand(7);
    for (int i = 0; i < 60000; i++) {
        uint32_t at = (uint32_t)rand() % SLOTS, from = (uint32_t)rand() % SLOTS, ups = i < 20000 ? 2 : 20;

        if (in[at]) {
            slotset_remove(&t, at);
        } else if ((uint32_t)rand() % ups != 0) {
            continue; /* sparse at first, nearly empty later */
        } else {
            slotset_add(&t, at);
        }
        nr += in[at] ? UINT32_MAX : 1;
        in[at] = !in[at];
        cr_assert_eq(t.nr, nr);
        cr_assert_eq(slotset_next(&t, from), next_in(in, from));
        cr_assert_eq(slotset_has(&t, at), in[at]);
    }
    slotset_fini(&t);
}

Test(slotset, knows_its_ends)
{
    struct slotset t;

    cr_assert_eq(slotset_init(&t, SLOTS), 0);
    cr_assert_eq(slotset_next(&t, 0), SLOT_NONE);
    slotset_add(&t, SLOTS - 1);
    cr_assert_eq(slotset_next(&t, 0), SLOTS - 1);
    cr_assert_eq(slotset_next(&t, SLOTS - 1), SLOTS - 1);
    cr_assert_eq(slotset_next(&t, SLOTS), SLOT_NONE);
    slotset_remove(&t, SLOTS - 1);
    slotset_add(&t, 0);
    cr_assert_eq(slotset_next(&t, 0), 0);
    cr_assert_eq(slotset_next(&t, 1), SLOT_NONE);
    slotset_fini(&t);
}

Test(slotset, counts_a_group)
{
    struct slotset t;

    cr_assert_eq(slotset_init(&t, 1), 0);
    cr_assert_eq(slotset_group(&t, 0), 0);
    slotset_fini(&t);
    cr_assert_eq(slotset_init(&t, 3 * SLOTSET_GROUP), 0);
    for (uint32_t i = SLOTSET_GROUP; i < 2 * SLOTSET_GROUP; i += 4)
        slotset_add(&t, i);
    slotset_add(&t, 2 * SLOTSET_GROUP);
    cr_assert_eq(slotset_group(&t, SLOTSET_GROUP + 1), 16);
    slotset_fini(&t);
}
