/* SPDX-License-Identifier: Apache-2.0 */
/* slot_table_test.c: what a page of a table costs, and how far it may lag. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tier/slot_table.h"

#define SEC UINT64_C(1000000000)

static struct segpool_geometry geometry(uint32_t align)
{
    return (struct segpool_geometry){.base_bytes = MIB, .segment_bytes = 4 * MIB, .nr_segments = 16, .align_bytes = align, .nr_shards = 1};
}

static void table_up(struct slot_table *t, uint32_t align)
{
    struct segpool_geometry geo = geometry(align);

    cr_assert_eq(slot_table_init(t, &geo, geo.nr_segments), 0);
}

Test(slot_table, a_page_is_due_once_half_of_it_or_64_entries_have_changed)
{
    for (uint32_t align = 512; align <= 4096; align *= 8) {
        static struct slot_table t;
        uint32_t full = align == 512 ? 12 : 64, s, p;

        table_up(&t, align);
        for (uint32_t i = 0; i < full; i++) {
            cr_assert(!slot_table_next(&t, SLOT_TABLE_BUSY, 1000 * SEC, &s, &p));
            slot_table_changed(&t, 3, t.layout.entries + i, SEC);
        }
        cr_assert(slot_table_next(&t, SLOT_TABLE_BUSY, SEC, &s, &p) && s == 3 && p == 1);
        cr_assert(!slot_table_next(&t, SLOT_TABLE_STOP, SEC, &s, &p), "nothing is left");
        slot_table_fini(&t);
    }
}

Test(slot_table, an_old_change_waits_for_an_idle_device_and_a_stop_for_nothing)
{
    static struct slot_table t;
    uint32_t s, p;

    table_up(&t, 512);
    slot_table_changed(&t, 3, 0, 5 * SEC);
    slot_table_changed(&t, 3, 25, 20 * SEC);
    slot_table_changed(&t, 4, 0, 20 * SEC);
    cr_assert(!slot_table_next(&t, SLOT_TABLE_IDLE, 34 * SEC, &s, &p));
    cr_assert(!slot_table_next(&t, SLOT_TABLE_BUSY, 99 * SEC, &s, &p));
    cr_assert(slot_table_next(&t, SLOT_TABLE_IDLE, 35 * SEC, &s, &p) && s == 3 && p == 0);
    cr_assert(slot_table_next(&t, SLOT_TABLE_IDLE, 35 * SEC, &s, &p) && s == 3 && p == 1);
    cr_assert(!slot_table_next(&t, SLOT_TABLE_IDLE, 35 * SEC, &s, &p));
    slot_table_changed(&t, 3, 0, 40 * SEC); /* its age begins anew */
    cr_assert(slot_table_next(&t, SLOT_TABLE_IDLE, 60 * SEC, &s, &p) && s == 4 && p == 0);
    cr_assert(!slot_table_next(&t, SLOT_TABLE_IDLE, 60 * SEC, &s, &p));
    cr_assert(slot_table_next(&t, SLOT_TABLE_STOP, 60 * SEC, &s, &p) && s == 3 && p == 0);
    cr_assert(!slot_table_next(&t, SLOT_TABLE_STOP, 60 * SEC, &s, &p));
    slot_table_fini(&t);
}

Test(slot_table, a_segment_that_leaves_takes_its_pages_with_it)
{
    static struct slot_table t;
    uint32_t s, p;

    table_up(&t, 512);
    for (uint32_t i = 0; i < 100; i++)
        slot_table_changed(&t, 3, i, SEC);
    slot_table_forget(&t, 3);
    slot_table_changed(&t, 3, 0, SEC);
    cr_assert(!slot_table_next(&t, SLOT_TABLE_BUSY, 99 * SEC, &s, &p), "what was due was due of the former use");
    slot_table_forget(&t, 3);
    cr_assert(!slot_table_next(&t, SLOT_TABLE_STOP, 99 * SEC, &s, &p));
    slot_table_fini(&t);
}

Test(slot_table, whatever_the_order_all_is_written_in_the_end_and_little_until_then)
{
    for (uint32_t align = 512; align <= 4096; align *= 8)
        for (int writer = 0; writer < 2; writer++) { /* one that keeps up, and one that hardly ever comes */
            static struct slot_table t;
            static uint8_t lag[16 * 1024];
            uint64_t fills = 200000, pages = 0, left = 0;
            uint32_t s, p;

            table_up(&t, align);
            memset(lag, 0, sizeof(lag));
            srand(5);
            for (uint64_t i = 0; i < fills; i++) {
                uint32_t place = (uint32_t)rand() % t.layout.nr_places;

                s = (uint32_t)rand() % 16;
                slot_table_changed(&t, s, place, i + 1);
                lag[s * 1024 + place] = 1;
                while ((writer == 0 || i % 5000 == 0) && slot_table_next(&t, SLOT_TABLE_BUSY, i + 1, &s, &p)) {
                    memset(&lag[s * 1024 + p * t.layout.entries], 0, slot_page_entries(&t.layout, p));
                    pages++;
                }
            }
            cr_assert_leq(pages * align, fills * BLOCK_BYTES / 50);
            cr_assert(writer != 0 || pages > fills / 200);
            while (slot_table_next(&t, SLOT_TABLE_STOP, fills, &s, &p))
                memset(&lag[s * 1024 + p * t.layout.entries], 0, slot_page_entries(&t.layout, p));
            for (uint32_t i = 0; i < sizeof(lag); i++)
                left += lag[i];
            cr_assert_eq(left, 0);
            slot_table_fini(&t);
        }
}

Test(slot_table, a_page_that_found_no_room_comes_back)
{
    static struct slot_table t;
    uint32_t s, p, nr = 0;

    table_up(&t, 512);
    for (uint32_t seg = 0; seg < 16; seg++) /* 43 pages each: more than the ring notes */
        for (uint32_t place = 0; place < t.layout.nr_places; place++)
            slot_table_changed(&t, seg, place, SEC);
    for (uint32_t i = 0; i < 1000; i++) /* more than a page's counter can say */
        slot_table_changed(&t, 15, 24 * 40 + i % 24, SEC);
    while (slot_table_next(&t, SLOT_TABLE_BUSY, SEC, &s, &p))
        cr_assert(++nr <= SLOT_TABLE_DUE && s != 15);
    for (uint32_t i = 0; i < 12; i++)
        slot_table_changed(&t, 15, 24 * 40 + i, SEC);
    cr_assert(slot_table_next(&t, SLOT_TABLE_BUSY, SEC, &s, &p) && s == 15 && p == 40);
    slot_table_fini(&t);
}
