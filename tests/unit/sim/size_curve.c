/* SPDX-License-Identifier: Apache-2.0 */
/* The curve over sizes of the SSD: its points are those of single replays, and its three forms say the same. */
#include "tools/sim/size_curve.h"

#include "base/limits.h"
#include "base/log.h"
#include "daemon/config.h"
#include "tools/sim/gen.h"

#include <criterion/criterion.h>
#include <jansson.h>

static struct trace t;
static struct tier_opts tune;
static struct replay_opts o;
static char why[256];

static void begin(void)
{
    static struct config c;

    config_defaults(&c);
    config_tier_opts(&c, &tune);
    gen_trace(GEN_OLTP, 3, 3000, &t);
    trace_index(&t);
    o = (struct replay_opts){.trace = &t, .tune = &tune, .nr_hdd = 1};
    log_set_level(LOG_LEVEL_WARN);
}

static void end(void) { trace_free(&t); }

static struct size_curve curve_of(uint32_t nr, const uint64_t *kib)
{
    struct size_curve c = {.nr = nr};

    for (uint32_t i = 0; i < nr; i++)
        c.point[i].ssd_bytes = kib[i] * KIB;
    cr_assert_eq(size_curve_run(&o, &c, why), 0, "%s", why);
    return c;
}

Test(size_curve, points_are_sorted_and_those_of_single_replays, .init = begin, .fini = end)
{
    struct size_curve c = curve_of(4, (const uint64_t[]){16384, 500, 4096, 16384});
    struct score s;

    cr_assert_eq(c.nr, 3u);
    cr_assert(c.point[0].ssd_bytes == 500 * KIB && c.point[0].too_small && !c.point[1].too_small);
    o.ssd_bytes = 16 * MIB;
    cr_assert_eq(replay_run(&o, &s, why), 0, "%s", why);
    cr_assert_float_eq(c.point[2].hdd_busy_s, (double)s.hdd.busy_ns / 1e9, 1e-9);
    cr_assert_float_eq(c.point[2].read_hit, score_read_hit(&s), 1e-12);
    cr_assert_float_eq(c.point[2].turnovers * 16 * (double)MIB, (double)s.ssd.write_bytes, 1);
    cr_assert_float_eq(c.point[2].wear * (double)(s.blocks_written * BLOCK_BYTES), (double)s.ssd.write_bytes, 1);
    cr_assert(c.point[2].hdd_load > 0 && c.point[2].hdd_load <= 1);
    score_fini(&s);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

Test(size_curve, table_json_and_drawing_have_every_size, .init = begin, .fini = end)
{
    struct size_curve c = curve_of(3, (const uint64_t[]){500, 4096, 16384});
    struct strbuf b;
    json_t *root, *sizes;

    strbuf_init(&b);
    size_curve_print(&b, &c);
    cr_assert_eq(count(strbuf_str(&b), " MiB "), 2u);
    cr_assert_eq(count(strbuf_str(&b), "too small for the engine"), 1u);
    strbuf_fini(&b);
    strbuf_init(&b);
    size_curve_json(&b, &c);
    root = json_loads(strbuf_str(&b), 0, NULL);
    sizes = json_object_get(root, "sizes");
    cr_assert_eq(json_array_size(sizes), 3u);
    cr_assert(json_is_true(json_object_get(json_array_get(sizes, 0), "too_small")));
    cr_assert_float_eq(json_number_value(json_object_get(json_array_get(sizes, 2), "hdd_busy_s")), c.point[2].hdd_busy_s, 1e-6);
    json_decref(root);
    strbuf_fini(&b);
    strbuf_init(&b);
    size_curve_svg(&b, &c);
    cr_assert_eq(count(strbuf_str(&b), "<polyline"), 3u);
    cr_assert_eq(count(strbuf_str(&b), "<circle"), 6u);
    cr_assert_eq(count(strbuf_str(&b), "too small for the engine"), 3u); /* a panel */
    cr_assert_eq(count(strbuf_str(&b), "font-weight=\"bold\""), 3u);
    for (unsigned k = 0; k <= 4; k++) { /* the scale of the hit ratio */
        char tick[16];

        snprintf(tick, sizeof(tick), ">%u</text>", k * 25);
        cr_assert(strstr(strbuf_str(&b), tick) != NULL, "%s", tick);
    }
    cr_assert(count(strbuf_str(&b), "<svg") == 1 && count(strbuf_str(&b), "</svg>") == 1 && strstr(strbuf_str(&b), "nan") == NULL);
    strbuf_fini(&b);
}

Test(size_curve, a_size_of_nothing_is_drawn_at_the_left_end, .init = begin, .fini = end)
{
    struct size_curve c = curve_of(2, (const uint64_t[]){0, 4096});
    struct strbuf b;

    strbuf_init(&b);
    size_curve_svg(&b, &c);
    cr_assert_eq(count(strbuf_str(&b), "nan"), 0u);
    cr_assert_eq(count(strbuf_str(&b), "inf"), 0u);
    cr_assert_eq(count(strbuf_str(&b), "too small for the engine"), 3u);
    cr_assert_eq(count(strbuf_str(&b), "<circle"), 3u);
    strbuf_fini(&b);
}
