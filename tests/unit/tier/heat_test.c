/* SPDX-License-Identifier: Apache-2.0 */
/* heat_test.c: what heats a cell, how it cools down, what is forgotten when there is no room, and how far it can go. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/err.h"
#include "tier/format_heat.h"
#include "tier/heat.h"

#define HOUR 3600u

static void up(struct heat *h) { cr_assert_eq(heat_init(h, 0, HOUR), 0); }

static void near(float is, double want) { cr_assert(fabs((double)is - want) <= want * 0.001, "%f, not %f", (double)is, want); }

static struct heat_value of(const struct heat *h, uint32_t now, uint32_t no) { return heat_get(h, now, 1, no); }

Test(heat, halves_every_half_life_and_use_24_times_slower)
{
    struct heat h;

    up(&h);
    for (int i = 0; i < 64; i++)
        heat_touch(&h, 100, 1, 0, 1, i % 2);
    near(of(&h, 100, 0).read, 32);
    near(of(&h, 100 + HOUR, 0).read, 16);
    near(of(&h, 100 + 3 * HOUR, 0).write, 4);
    near(of(&h, 100 + 24 * HOUR, 0).use, 32);
    cr_assert_eq(of(&h, 100 + 24 * HOUR, 0).read, 0, "what is colder than HEAT_MIN is cold");
    heat_fini(&h);
}

Test(heat, is_the_same_however_often_it_is_looked_at)
{
    struct heat a, b;

    up(&a);
    up(&b);
    for (int i = 0; i < 1000; i++) {
        heat_touch(&a, 0, 1, 0, 1, true);
        heat_touch(&b, 0, 1, 0, 1, true);
    }
    for (uint32_t t = 0; t < HOUR; t += 7) {
        struct heat_value v = of(&a, t, 0);

        heat_put(&a, 1, 0, t, &v);
    }
    near(of(&a, HOUR, 0).write, (double)of(&b, HOUR, 0).write);
    heat_fini(&a);
    heat_fini(&b);
}

Test(heat, a_steady_rate_settles_at_rate_times_half_life_over_ln_2)
{
    struct heat h;

    up(&h);
    for (uint32_t t = 0; t < 12 * HOUR; t += 10)
        heat_touch(&h, t, 1, 0, 1, false);
    near(of(&h, 12 * HOUR, 0).read, HOUR / 10.0 / log(2) * (1 - pow(2, -12)));
    heat_fini(&h);
}

Test(heat, counts_requests_and_not_blocks_and_long_ones_are_no_use)
{
    struct heat h;

    up(&h);
    heat_touch(&h, 0, 1, 8, 16, false);           /* 64 KiB */
    near(of(&h, 0, 0).read, 1);
    near(of(&h, 0, 0).use, 1);
    heat_touch(&h, 0, 1, 8, 17, true);
    near(of(&h, 0, 0).write, 1);
    near(of(&h, 0, 0).use, 1);
    heat_fini(&h);
}

Test(heat, a_request_over_a_bound_touches_both_cells)
{
    struct heat h;

    up(&h);
    heat_touch(&h, 0, 1, HEAT_CELL_BLOCKS - 1, 2, false);
    heat_touch(&h, 0, 1, 2 * HEAT_CELL_BLOCKS, 1, false);
    near(of(&h, 0, 0).read, 1);
    near(of(&h, 0, 1).read, 1);
    near(of(&h, 0, 2).read, 1);
    cr_assert_eq(heat_get(&h, 0, 2, 0).read, 0, "another layer's");
    heat_touch(&h, 0, 1, (UINT64_C(1) << 36) - 1, 1, true); /* the last block that a volume may have */
    near(of(&h, 0, (1u << HEAT_CELL_BITS) - 1).write, 1);
    heat_fini(&h);
}

Test(heat, a_full_bucket_gives_up_its_coldest_cell)
{
    uint32_t left = 0, hot = 0;
    uint64_t nr;
    struct heat h;

    up(&h);
    nr = heat_nr_cells(&h);
    for (uint32_t no = 0; no < 8 * nr; no++)
        for (uint32_t i = 0; i < (no % 16 == 0 ? 3u : 1u); i++) /* one in 16 is touched three times: half of what there is room for */
            heat_touch(&h, 0, 1, (uint64_t)no * HEAT_CELL_BLOCKS, 1, false);
    for (uint32_t no = 0; no < 8 * nr; no++) {
        left += of(&h, 0, no).read > 0;
        hot += no % 16 == 0 && of(&h, 0, no).read > 2;
    }
    cr_assert_eq(left, nr, "full, and no more");
    cr_assert_gt(hot, nr / 2 * 9 / 10, "%u of %u", hot, (unsigned)nr / 2);
    heat_fini(&h);
}

Test(heat, never_overflows)
{
    struct heat_value most = {HEAT_MAX, HEAT_MAX, HEAT_MAX};
    struct heat_rec r = {.clock_s = HEAT_CLOCK_MAX}, back;
    uint8_t buf[HEAT_REC_BYTES];
    struct heat h;

    up(&h);
    heat_put(&h, 1, 0, 0, &most);
    heat_touch(&h, 0, 1, 0, 1, true);
    cr_assert_eq(of(&h, 0, 0).write, HEAT_MAX);
    cr_assert_eq(of(&h, HEAT_CLOCK_MAX, 0).write, 0, "68 years on");
    near(of(&h, 31 * HOUR, 0).write, 1);
    heat_put(&h, 1, 1, 500, &most);
    cr_assert_eq(of(&h, 100, 1).read, HEAT_MAX, "a clock that went back lets no time pass");
    r.v[3] = of(&h, 0, 0);
    cr_assert_eq(heat_rec_decode(buf, heat_rec_encode(&r, buf), &back), 0);
    cr_assert_eq(back.v[3].write, HEAT_MAX);
    heat_fini(&h);
}

Test(heat, names_each_cell_that_changed_until_it_is_saved)
{
    uint64_t cursor = 0, gone = 0;
    uint32_t budget = 100, seen = 0;
    struct heat h;

    up(&h);
    for (uint32_t no = 0; no < 10; no++)
        heat_touch(&h, 0, 1 + no % 2, (uint64_t)no * HEAT_CELL_BLOCKS, 1, false);
    cr_assert_eq(h.nr_changed, 10);
    while (cursor < heat_nr_cells(&h)) {
        const struct heat_cell *c = heat_next_changed(&h, &cursor, &budget);

        if (c != NULL && ++seen)
            heat_note_saved(&h, c->layer, c->no);
        if (budget == 0)
            budget = 100;
    }
    cr_assert_eq(seen, 10);
    cr_assert_eq(h.nr_changed, 0);
    heat_touch(&h, 0, 1, 0, 1, false);
    heat_touch(&h, 0, 2, HEAT_CELL_BLOCKS, 1, false);
    for (budget = 10; !heat_forget(&h, 1, &gone, &budget); budget = 10)
        ;
    cr_assert_eq(h.nr_changed, 1);
    cr_assert_eq(heat_get(&h, 0, 1, 2).read, 0);
    near(heat_get(&h, 0, 2, 1).read, 2);
    heat_fini(&h);
}

/* ---- the record ---- */

Test(heat, a_record_keeps_values_to_within_half_a_percent)
{
    struct heat_rec r = {.clock_s = 12345}, out;
    uint8_t buf[HEAT_REC_BYTES];
    float v = HEAT_MIN;

    for (unsigned i = 0; i < HEAT_GROUP_CELLS; i++, v *= 1.1f)
        r.v[i] = (struct heat_value){v, v * 1.5f, v / 2};
    cr_assert_eq(heat_rec_encode(&r, buf), HEAT_REC_BYTES);
    cr_assert_eq(heat_rec_decode(buf, HEAT_REC_BYTES, &out), 0);
    cr_assert_eq(out.clock_s, r.clock_s);
    for (unsigned i = 0; i < HEAT_GROUP_CELLS; i++) {
        cr_assert(fabsf(out.v[i].read - r.v[i].read) <= r.v[i].read / 200);
        cr_assert(fabsf(out.v[i].write - r.v[i].write) <= r.v[i].write / 200);
        cr_assert_eq(out.v[i].use > 0, r.v[i].use >= HEAT_MIN);
    }
}

Test(heat, a_record_is_refused_unless_every_field_is_one_that_is_written)
{
    static const struct { uint16_t half; int err; } values[] = {
        {0, 0}, {0x3c80, 0}, {0x4f00, 0}, {0x3f80, 0},
        {0x3c7f, -FIRN_E_CORRUPT}, {0x0001, -FIRN_E_CORRUPT}, {0x4f01, -FIRN_E_CORRUPT}, {0x7f80, -FIRN_E_CORRUPT},
        {0x7fc0, -FIRN_E_CORRUPT}, {0xbf80, -FIRN_E_CORRUPT}, {0x8000, -FIRN_E_CORRUPT}, {0xffff, -FIRN_E_CORRUPT},
    };
    struct heat_rec r = {.clock_s = 1}, out;
    uint8_t buf[HEAT_REC_BYTES + 1] = {0}, again[HEAT_REC_BYTES];

    heat_rec_encode(&r, buf);
    cr_assert_eq(heat_rec_decode(buf, HEAT_REC_BYTES - 1, &out), -FIRN_E_CORRUPT);
    cr_assert_eq(heat_rec_decode(buf, HEAT_REC_BYTES + 1, &out), -FIRN_E_CORRUPT);
    cr_assert_eq(heat_rec_decode(buf, 0, &out), -FIRN_E_CORRUPT);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        for (unsigned at = 16; at < HEAT_REC_BYTES; at += 766) {
            le16 v = to_le16(values[i].half);

            heat_rec_encode(&r, buf);
            memcpy(buf + at, &v, 2);
            cr_expect_eq(heat_rec_decode(buf, HEAT_REC_BYTES, &out), values[i].err, "%04x at %u", values[i].half, at);
            if (values[i].err == 0) {
                heat_rec_encode(&out, again);
                cr_expect_eq(memcmp(buf, again, HEAT_REC_BYTES), 0, "%04x", values[i].half);
            }
        }
    for (unsigned at = 0; at < 16; at++) { /* of the clock the lower half means something */
        heat_rec_encode(&r, buf);
        buf[at] ^= 0x80;
        cr_expect_eq(heat_rec_decode(buf, HEAT_REC_BYTES, &out) == 0, at >= 8 && at < 11, "byte %u", at);
    }
    heat_rec_encode(&r, buf);
    buf[0] = 2;
    cr_assert_eq(heat_rec_decode(buf, HEAT_REC_BYTES, &out), -FIRN_E_FORMAT_VERSION);
}

Test(heat, keys_name_a_layer_and_a_group_that_can_be)
{
    struct meta_key k = meta_key_heat(7, 9);
    uint64_t layer;
    uint32_t group;

    cr_assert_eq(meta_key_parse_heat(&k, &layer, &group), 0);
    cr_assert(layer == 7 && group == 9);
    k = meta_key_heat(0, 9);
    cr_assert_neq(meta_key_parse_heat(&k, &layer, &group), 0);
    k = meta_key_heat(7, HEAT_GROUPS_MAX);
    cr_assert_neq(meta_key_parse_heat(&k, &layer, &group), 0);
    k = meta_key_layer_heat(7);
    cr_assert_neq(meta_key_parse_heat(&k, &layer, &group), 0);
}
