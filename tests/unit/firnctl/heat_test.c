/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of heat: the scale, which parts are the hottest, addresses that differ, and what each kind of terminal is given. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tools/firnctl/heat.h"

static struct heat_map map; /* large */

static char *drawn(unsigned columns, enum heat_look look)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    heat_draw(f, &map, columns, look);
    fclose(f);
    return text;
}

static void some_heat(void)
{
    map = (struct heat_map){.volume = "db", .size_bytes = 64 * MIB, .part_bytes = 4 * MIB, .half_life_s = 3600, .nr = 16, .top = 1000};
    map.part[2] = (struct heat_part){.reads = 1000, .ssd = 4 * MIB, .hdd = 4 * MIB};
    map.part[5] = (struct heat_part){.reads = 3, .writes = 300, .ssd = MIB, .hdd = 4 * MIB};
    map.part[6] = (struct heat_part){.hdd = 4 * MIB};
}

Test(firnctl_heat, the_scale_is_logarithmic_and_ends_at_its_top)
{
    cr_assert_eq(heat_step(0, 1000), 0);
    cr_assert_eq(heat_step(0.01, 1000), 1);
    cr_assert_eq(heat_step(1000, 1000), HEAT_STEPS);
    cr_assert_eq(heat_step(2000, 1000), HEAT_STEPS);
    cr_assert_eq(heat_step(5, 0), 0);
    cr_assert_float_eq(heat_height(31, 1023), 0.5, 1e-9);
    for (double r = 1; r < 1000; r *= 1.5)
        cr_assert_leq(heat_step(r, 1000), heat_step(r * 1.5, 1000));
}

Test(firnctl_heat, the_hottest_are_in_order_and_the_cold_are_none)
{
    uint32_t h[HEAT_HOTTEST];

    some_heat();
    cr_assert_eq(heat_hottest(&map, h), 2);
    cr_assert_eq(h[0], 2);
    cr_assert_eq(h[1], 5);
    for (uint32_t i = 0; i < 16; i++)
        map.part[i].reads = (double)(i * 7 % 16), map.part[i].writes = 0;
    cr_assert_eq(heat_hottest(&map, h), HEAT_HOTTEST);
    for (uint32_t i = 0; i < HEAT_HOTTEST; i++)
        cr_assert_eq(map.part[h[i]].reads, 15 - i);
}

static void same(uint64_t bytes, uint64_t step, const char *want)
{
    char buf[32];

    cr_assert_str_eq(heat_offset(bytes, step, buf), want);
}

Test(firnctl_heat, addresses_have_the_digits_that_tell_neighbours_apart)
{
    same(0, 4 * MIB, "0 B");
    same(40 * MIB, 4 * MIB, "40.0 MiB");
    same(GIB, 4 * MIB, "1.0 GiB");
    same(1948 * MIB, 4 * MIB, "1.902 GiB");
    same(1952 * MIB, 4 * MIB, "1.906 GiB");
    same(5 * GIB / 4, 4 * MIB, "1.25 GiB");
    same(TIB, 4 * MIB, "1.0 TiB");
    same(TIB + 4 * MIB, 4 * MIB, "1.000004 TiB");
}

Test(firnctl_heat, no_two_neighbours_have_the_same_range)
{
    static const uint64_t parts[] = {4 * MIB, 20 * MIB, 68 * MIB, 4 * GIB};
    char was[72], is[72];

    for (unsigned k = 0; k < ARRAY_LEN(parts); k++) {
        map = (struct heat_map){.size_bytes = 1000 * parts[k] - MIB, .part_bytes = parts[k], .nr = 1000};
        for (uint32_t i = 1; i < map.nr; i++) {
            const char *dash = strstr(heat_range(&map, i, is), " - ");

            cr_assert(strncmp(is, dash + 3, (size_t)(dash - is)) != 0 || strlen(dash + 3) != (size_t)(dash - is), "%s", is);
            cr_assert_str_neq(heat_range(&map, i - 1, was), is);
        }
    }
}

Test(firnctl_heat, plain_is_ascii_with_reads_writes_and_where)
{
    char *text;

    some_heat();
    text = drawn(16, HEAT_PLAIN);
    for (const char *c = text; *c; c++)
        cr_assert(*c == '\n' || (*c >= ' ' && *c <= '~'));
    cr_assert_not_null(strstr(text, "\n       0 B r   @  :          \n"
                                    "           w      %          \n               1  2h         \n"), "%s", text);
    cr_assert_not_null(strstr(text, "cold  .:-=+*#%@ hot: 0 to 1000 an hour\n"));
    cr_assert_not_null(strstr(text, " 2 20.0 MiB - 24.0 MiB                   3          300    1.0 MiB    4.0 MiB\n"), "%s", text);
    free(text);
}

Test(firnctl_heat, where_parts_lie_has_a_letter_each)
{
    static const struct heat_part parts[] = {
        {.hdd = 4 * MIB}, {.ssd = 4 * MIB, .hdd = 4 * MIB}, {.ssd = 3 * MIB, .hdd = 4 * MIB}, {.ssd = 3 * MIB - 1, .hdd = 4 * MIB},
        {.ssd = 1, .hdd = 4 * MIB}, {.ssd = 0}, {.ssd = 4096},
    };
    char *text;

    map = (struct heat_map){.volume = "db", .size_bytes = 28 * MIB, .part_bytes = 4 * MIB, .half_life_s = 3600, .nr = ARRAY_LEN(parts)};
    memcpy(map.part, parts, sizeof(parts));
    text = drawn(16, HEAT_PLAIN);
    cr_assert_not_null(strstr(text, "\n       0 B   hSSss S\n"), "%s", text);
    cr_assert_not_null(strstr(text, " S on SSD, s in part, h on HDD, blank: unwritten\n"), "%s", text);
    cr_assert_not_null(strstr(text, "\nAll of it is cold"), "%s", text);
    free(text);
}

Test(firnctl_heat, a_rich_terminal_has_reads_over_writes_in_one_sign)
{
    char *text;

    some_heat();
    text = drawn(16, HEAT_RICH);
    cr_assert_not_null(strstr(text, "\033[38;5;228;48;5;235m\u2580")); /* reads alone, white heat */
    cr_assert_not_null(strstr(text, ";48;5;87m\u2580"));               /* writes, near the top */
    cr_assert_not_null(strstr(text, "above writes"));
    free(text);
    text = drawn(16, HEAT_COLOUR);
    cr_assert_null(strstr(text, "\u2580"));
    cr_assert_not_null(strstr(text, "\033[48;5;228m "));
    free(text);
}

Test(firnctl_heat, no_line_is_wider_than_the_picture_and_what_is_around_it)
{
    char *text;
    unsigned x = 0, widest = 0;

    some_heat();
    text = drawn(64, HEAT_PLAIN);
    for (const char *c = text; *c; c++) {
        x = *c == '\n' ? 0 : x + 1;
        widest = MAX(widest, x);
    }
    cr_assert_leq(widest, 80, "%s", text);
    free(text);
}

Test(firnctl_heat, few_parts_do_not_take_a_wide_screen)
{
    cr_assert_eq(heat_columns(192, 384), 96);
    cr_assert_eq(heat_columns(192, 3000), 192);
    cr_assert_eq(heat_columns(128, 32), 64);
    cr_assert_eq(heat_columns(96, 32), 96);
}
