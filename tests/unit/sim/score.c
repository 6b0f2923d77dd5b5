/* SPDX-License-Identifier: Apache-2.0 */
/* The scorecard's figures and its two forms. */
#include "tools/sim/score.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>

static struct score sample(uint64_t n)
{
    struct score s = {.requests = n, .blocks_read = 200, .blocks_missed = 50, .blocks_in_ram = 40,
                      .hdd = {3, 4, 1500000, 2500000, 5, 1234567891}, .ssd = {.writes = 2, .write_bytes = 10000000},
                      .ssd_host_bytes = 6000000, .ssd_moved_bytes = 1000000, .ssd_fill_bytes = 500000, .nr_hdd = 1,
                      .segment_bytes = 262144};

    s.latency_ns = calloc(n, sizeof(uint64_t));
    for (uint64_t i = 0; i < n; i++)
        s.latency_ns[i] = (i * 7919 % n) * 1000; /* n prime to 7919: each of 0..n-1 us once */
    score_finish(&s);
    return s;
}

Test(score, percentiles_are_ranks)
{
    struct score s = sample(10000);

    cr_assert_eq(score_percentile_ns(&s, 0), 0u);
    cr_assert_eq(score_percentile_ns(&s, 500), 5000000u);
    cr_assert_eq(score_percentile_ns(&s, 990), 9900000u);
    cr_assert_eq(score_percentile_ns(&s, 999), 9990000u);
    cr_assert_float_eq(score_mean_ns(&s), 4999500.0, 1e-6);
    score_fini(&s);
    s = sample(1);
    cr_assert_eq(score_percentile_ns(&s, 999), 0u);
    score_fini(&s);
}

Test(score, headers_are_what_is_left)
{
    struct score s = sample(1);

    cr_assert_eq(score_header_bytes(&s), 2500000u);
    cr_assert_float_eq(score_read_hit(&s), 0.75, 1e-12);
    s.blocks_read = 0;
    cr_assert_float_eq(score_read_hit(&s), 0, 1e-12);
    score_fini(&s);
}

Test(score, json_has_the_scorecards_keys_and_no_others)
{
    static const struct { const char *key; double value; } want[] = {
        {"requests", 1000}, {"hdd_reads", 3}, {"hdd_writes", 4}, {"hdd_seeks", 5}, {"hdd_read_mb", 1.5}, {"hdd_write_mb", 2.5},
        {"hdd_busy_s", 1.234567891}, {"ssd_write_mb", 10}, {"ssd_relocated_mb", 1}, {"read_hit", 0.75}, {"mean_ms", 0.4995},
        {"p50_ms", 0.5}, {"p99_ms", 0.99}, {"p999_ms", 0.999},
    };
    struct score s = sample(1000);
    struct strbuf b;
    json_t *j;

    strbuf_init(&b);
    score_json(&b, &s);
    j = json_loads(strbuf_str(&b), 0, NULL);
    cr_assert_not_null(j);
    cr_assert_eq(json_object_size(j), ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        cr_assert_not_null(json_object_get(j, want[i].key), "%s", want[i].key);
        cr_assert_float_eq(json_number_value(json_object_get(j, want[i].key)), want[i].value, 1e-9, "%s", want[i].key);
    }
    json_decref(j);
    strbuf_fini(&b);
    score_fini(&s);
}

Test(score, the_table_splits_the_ssds_bytes)
{
    struct score s = sample(1000);
    struct strbuf b;

    strbuf_init(&b);
    score_print(&b, &s);
    cr_assert_not_null(strstr(strbuf_str(&b), "host 6.000 MB, headers 2.500 MB, relocated 1.000 MB, fill 0.500 MB"));
    cr_assert_not_null(strstr(strbuf_str(&b), "75.000 % of 200 blocks (55.000 % on the SSD, 20.000 % in RAM)"));
    cr_assert_not_null(strstr(strbuf_str(&b), "p99.9 0.999000"));
    strbuf_fini(&b);
    score_fini(&s);
}
