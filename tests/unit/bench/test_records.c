/* SPDX-License-Identifier: Apache-2.0 */
/* Histogram, stamps, the oracle's judgement, the acknowledgement log. */
#include "../../../tools/bench/acklog.h"
#include "../../../tools/bench/hist.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const uint8_t nguid[16] = "this-namespace-1";
static const uint8_t other[16] = "another-namespac";

Test(hist, percentiles_are_within_two_percent)
{
    struct hist *h = malloc(sizeof(*h));

    hist_init(h);
    for (uint64_t i = 1; i <= 100000; i++)
        hist_add(h, i * 100);
    for (double p = 1; p < 100; p += 7) {
        double want = p / 100 * 1e7, got = (double)hist_percentile_ns(h, p);

        cr_assert(got >= want * 0.999 && got <= want * 1.02, "p%.0f: %f for %f", p, got, want);
    }
    cr_assert_eq(hist_percentile_ns(h, 100), 10000000);
    cr_assert_eq(h->max_ns, 10000000);
    free(h);
}

Test(hist, huge_and_zero_values_have_a_bucket)
{
    struct hist *h = malloc(sizeof(*h));

    hist_init(h);
    cr_assert_eq(hist_percentile_ns(h, 50), 0);
    hist_add(h, 0);
    hist_add(h, UINT64_MAX);
    cr_assert_eq(hist_percentile_ns(h, 50), 0);
    cr_assert_eq(h->count, 2);
    free(h);
}

static void stamp_one(uint8_t *buf, uint32_t ub, const uint8_t *ns, uint64_t unit, uint64_t id)
{
    struct stamp s = {.unit = unit, .write_id = id, .generation = 1};

    memcpy(s.nguid, ns, 16);
    stamp_fill(buf, ub, &s);
}

Test(stamp, round_trip_and_every_flipped_bit_shows)
{
    static uint8_t buf[4096];
    struct stamp out;

    stamp_one(buf, sizeof(buf), nguid, 77, 12345);
    cr_assert_eq(stamp_read(buf, sizeof(buf), &out), STAMP_WHOLE);
    cr_assert_eq(out.unit, 77);
    cr_assert_eq(out.write_id, 12345);
    for (uint32_t bit = 0; bit < sizeof(buf) * 8; bit += 37) {
        buf[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        cr_assert_neq(stamp_read(buf, sizeof(buf), &out), STAMP_WHOLE, "bit %u", bit);
        buf[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

Test(stamp, halves_of_two_writes_are_torn)
{
    static uint8_t a[4096], b[4096];
    struct stamp out;

    stamp_one(a, sizeof(a), nguid, 5, 1);
    stamp_one(b, sizeof(b), nguid, 5, 2);
    memcpy(a + 512, b + 512, 512);
    cr_assert_eq(stamp_read(a, sizeof(a), &out), STAMP_TORN);
    memset(a, 0, sizeof(a));
    cr_assert_eq(stamp_read(a, sizeof(a), &out), STAMP_ZEROS);
    a[4095] = 1;
    cr_assert_eq(stamp_read(a, sizeof(a), &out), STAMP_ALIEN);
}

Test(oracle, a_stamp_of_another_log_is_no_version_of_this_one)
{
    static uint8_t buf[4096];
    struct stamp s = {.unit = 3, .write_id = 5, .generation = 1, .log_id = 77};
    struct oracle o;
    bool collapsed;
    uint64_t seen;

    cr_assert_eq(oracle_init(&o, nguid, 4096, 100), 0);
    o.log_id = 78;
    memcpy(s.nguid, nguid, 16);
    stamp_fill(buf, sizeof(buf), &s);
    cr_assert_eq(oracle_judge(&o, 3, buf, &collapsed, &seen), ORACLE_OK, "left by an earlier use");
    for (uint64_t id = 4; id <= 6; id++) { /* a newer number, the same, an older one: numbers of two logs say nothing */
        cr_assert_eq(oracle_begin_write(&o, 3, 1, id), 0);
        oracle_acked(&o, 3, 1, id);
        cr_assert_eq(oracle_judge(&o, 3, buf, &collapsed, &seen), ORACLE_OTHER);
    }
    cr_assert_eq(oracle_violations(&o), 3);
    o.log_id = 77;
    oracle_observed(&o, 3, 5);
    cr_assert_eq(oracle_judge(&o, 3, buf, &collapsed, &seen), ORACLE_OK);
    oracle_fini(&o);
}

static enum oracle_verdict judge(struct oracle *o, uint64_t unit, uint64_t id, const uint8_t *ns, uint64_t stamped_unit)
{
    static uint8_t buf[4096];
    bool collapsed;
    uint64_t seen;

    if (id & WRITE_ID_ZERO)
        memset(buf, 0, sizeof(buf));
    else
        stamp_one(buf, sizeof(buf), ns, stamped_unit, id);
    return oracle_judge(o, unit, buf, &collapsed, &seen);
}

static enum oracle_verdict see(struct oracle *o, uint64_t unit, uint64_t id) { return judge(o, unit, id, nguid, unit); }

static void write_acked(struct oracle *o, uint64_t unit, uint64_t id)
{
    cr_assert_eq(oracle_begin_write(o, unit, 1, id), 0);
    oracle_acked(o, unit, 1, id);
}

Test(oracle, only_the_last_acknowledged_write_is_legal)
{
    struct oracle o;

    cr_assert_eq(oracle_init(&o, nguid, 4096, 100), 0);
    write_acked(&o, 7, 1);
    write_acked(&o, 7, 2);
    cr_assert_eq(see(&o, 7, 2), ORACLE_OK);
    cr_assert_eq(see(&o, 7, 1), ORACLE_STALE);
    cr_assert_eq(see(&o, 7, 9), ORACLE_UNKNOWN);
    cr_assert_eq(see(&o, 7, WRITE_ID_ZERO), ORACLE_LOST);
    cr_assert_eq(judge(&o, 7, 2, nguid, 8), ORACLE_FOREIGN);
    cr_assert_eq(judge(&o, 7, 2, other, 7), ORACLE_FOREIGN);
    cr_assert_eq(oracle_violations(&o), 5);
    oracle_fini(&o);
}

Test(oracle, unacknowledged_writes_may_or_may_not_be_there_but_not_flip)
{
    struct oracle o;

    oracle_init(&o, nguid, 4096, 100);
    write_acked(&o, 3, 1);
    oracle_begin_write(&o, 3, 1, 2);
    oracle_unacked(&o, 3, 1);
    oracle_begin_write(&o, 3, 1, 3);
    oracle_unacked(&o, 3, 1);
    cr_assert_eq(see(&o, 3, 2), ORACLE_OK);
    cr_assert_eq(see(&o, 3, 2), ORACLE_OK);
    cr_assert_eq(see(&o, 3, 1), ORACLE_STALE, "what was read once must not disappear");
    cr_assert_eq(see(&o, 3, 3), ORACLE_UNKNOWN, "a dead write must not come late");
    oracle_fini(&o);
}

Test(oracle, zeros_are_a_version)
{
    struct oracle o;

    oracle_init(&o, nguid, 4096, 100);
    o.fresh = true;
    cr_assert_eq(see(&o, 1, WRITE_ID_ZERO), ORACLE_OK, "untouched");
    write_acked(&o, 1, 1);
    write_acked(&o, 1, 2 | WRITE_ID_ZERO);
    cr_assert_eq(see(&o, 1, WRITE_ID_ZERO), ORACLE_OK);
    cr_assert_eq(see(&o, 1, 1), ORACLE_STALE, "a discarded block rose from the dead");
    oracle_fini(&o);
}

Test(oracle, no_write_beside_another_request_on_a_unit)
{
    struct oracle o;

    oracle_init(&o, nguid, 4096, 100);
    cr_assert(oracle_try_read(&o, 10, 4));
    cr_assert_not(oracle_can_write(&o, 12, 4));
    cr_assert(oracle_try_read(&o, 12, 4), "two reads may overlap");
    oracle_end_read(&o, 10, 4);
    oracle_end_read(&o, 12, 4);
    cr_assert(oracle_can_write(&o, 12, 4));
    oracle_begin_write(&o, 12, 4, 1);
    cr_assert_not(oracle_try_read(&o, 9, 4));
    cr_assert_not(oracle_can_write(&o, 15, 1));
    oracle_fini(&o);
}

static char *temp_log(void)
{
    static char path[] = "/tmp/firn-unit-acklog-XXXXXX";
    int fd = mkstemp(path);

    close(fd);
    unlink(path);
    return path;
}

static void write_log(const char *path, uint64_t log_id)
{
    struct acklog_geometry geo = {.unit_bytes = 4096, .nr_units = 64, .log_id = log_id};
    static struct acklog_writer w;
    char why[256];

    memcpy(geo.nguid, nguid, 16);
    acklog_writer_init(&w, acklog_open_append(path, &geo, why), 1);
    acklog_append(&w, ACK_RUN, 1, 0, 1);
    for (uint64_t id = 1; id <= 1000; id++) {
        acklog_append(&w, ACK_SUBMIT, id, id % 60, 2);
        if (id != 1000)
            acklog_append(&w, ACK_ACKED, id, id % 60, 2);
    }
    cr_assert_eq(acklog_flush(&w), 0);
    close(w.fd);
}

Test(acklog, replay_rebuilds_what_was_acknowledged)
{
    char *path = temp_log(), why[256];
    struct acklog_summary sum;
    struct oracle o;

    write_log(path, 0); /* as version 1 made it: stamps say 0 as well */
    oracle_init(&o, nguid, 4096, 64);
    o.log_id = 9;
    cr_assert_eq(acklog_replay(path, &o, &sum, why), 0, "%s", why);
    cr_assert_eq(o.log_id, 0);
    cr_assert_eq(sum.submitted, 1000);
    cr_assert_eq(sum.acked, 999);
    cr_assert_eq(sum.next_id, 1001);
    cr_assert(sum.fresh && o.fresh && sum.runs == 1);
    cr_assert_eq(see(&o, 39, 999), ORACLE_OK);
    cr_assert_eq(see(&o, 40, 1000), ORACLE_OK, "submitted and not acknowledged");
    cr_assert_eq(see(&o, 38, 938), ORACLE_STALE, "998 covers it");
    oracle_fini(&o);
    unlink(path);
}

Test(acklog, torn_last_record_is_ignored_and_damage_before_it_is_not)
{
    char *path = temp_log(), why[256], byte = 0x5a;
    struct acklog_summary sum;
    struct oracle o;
    FILE *f;

    write_log(path, UINT64_C(0x123456789abcdef1));
    cr_assert_eq(truncate(path, 64 + 32 * 500 + 11), 0);
    oracle_init(&o, nguid, 4096, 64);
    cr_assert_eq(acklog_replay(path, &o, &sum, why), 0);
    cr_assert_eq(o.log_id, UINT64_C(0x123456789abcdef1));
    f = fopen(path, "r+b");
    fseek(f, 64 + 32 * 100 + 9, SEEK_SET);
    fwrite(&byte, 1, 1, f);
    fclose(f);
    cr_assert_neq(acklog_replay(path, &o, &sum, why), 0);
    oracle_fini(&o);
    oracle_init(&o, other, 4096, 64);
    cr_assert_eq(acklog_replay(path, &o, &sum, why), -EXDEV, "another volume's log");
    oracle_fini(&o);
    unlink(path);
}
