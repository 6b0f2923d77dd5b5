/* SPDX-License-Identifier: Apache-2.0 */
/* Replays of small generated traces: the rules of the game, and that nothing but the trace decides the figures. */
#include "tools/sim/replay.h"

#include "base/limits.h"
#include "base/log.h"
#include "daemon/config.h"
#include "tools/sim/replay_args.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static struct trace t;
static struct tier_opts tune;
static struct replay_opts o;
static struct score score;
static char why[256];
static uint64_t seed;

static void begin(void)
{
    static struct config c;

    config_defaults(&c);
    config_tier_opts(&c, &tune);
    o = (struct replay_opts){.trace = &t, .tune = &tune, .ssd_bytes = 8 * MIB, .nr_hdd = 1};
    seed = 42;
    log_set_level(LOG_LEVEL_WARN);
}

static void end(void)
{
    score_fini(&score);
    trace_free(&t);
}

static void run(void)
{
    trace_index(&t);
    cr_assert_eq(replay_run(&o, &score, why), 0, "%s", why);
}

/* Each read of the disk brings what was asked for, and no more. */
static void fetch_nothing_else(void) { tune.fetch_bytes = tune.read_ahead_max = BLOCK_BYTES; }

/* ---- traces ---- */

static uint64_t below(uint64_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (seed >> 33) % n;
}

/* Zipf, roughly: half of the requests go to the first of n places, half of the rest to the first half of what remains, ... */
static uint64_t skewed(uint64_t n)
{
    uint64_t span = n;

    while (span > 16 && below(4) != 0)
        span /= 2;
    return below(span) * UINT64_C(7919) % n;
}

static void add_zipf(unsigned nr, unsigned write_pct, int64_t step_us)
{
    for (unsigned i = 0; i < nr; i++)
        trace_add(&t, step_us < 0 ? -1 : (int64_t)i * step_us, below(100) < write_pct, skewed(16384) * BLOCK_BYTES, BLOCK_BYTES);
}

static void add_scan(uint64_t from, unsigned nr, uint32_t len, bool write)
{
    for (unsigned i = 0; i < nr; i++)
        trace_add(&t, -1, write, from + (uint64_t)i * len, len);
}

/* Log writes in a row, table pages here and there, some of them read before they are written. */
static void add_oltp(unsigned nr)
{
    uint64_t log = 0;

    for (unsigned i = 0; i < nr; i++, log = (log + 1536) % (2 * MIB)) {
        uint64_t page = 64 * MIB + skewed(4096) * 16384;

        trace_add(&t, (int64_t)i * 3000, true, log, 1536);
        trace_add(&t, (int64_t)i * 3000 + 400, i % 3 == 0, page, 16384);
    }
}

/* ---- what the devices were sent, priced apart from the product's model ---- */

struct priced { double hdd_ms, ssd_ms; uint64_t reads, writes, seeks, ssd_writes; };

static double seek_ms(double gap, double span, bool write)
{
    double part = fmin(1, fabs(gap) / span);

    return write ? 0.32 + 14.78 * sqrt(part) + 4.16 : 0.23 + 13.44 * sqrt(part) + 4.16;
}

static void price_hdd(struct priced *p, bool write, double *head, double off, double len, double span)
{
    double gap = off - *head, ms = 0.1 + len / 200e3, seek = seek_ms(gap, span, write);

    if (gap > 0 && gap <= 524288 && gap / 200e3 < seek) {
        ms += gap / 200e3;
    } else if (gap < 0 || gap > 0) {
        ms += seek;
        p->seeks++;
    }
    *head = off + len;
    p->hdd_ms += ms;
    p->reads += !write;
    p->writes += write;
}

static struct priced price(FILE *log, double span)
{
    struct priced p = {0};
    double head = 0;
    unsigned long long off, len;
    char dev, op;

    rewind(log);
    while (fscanf(log, "%c,%c,%llu,%llu\n", &dev, &op, &off, &len) == 4) {
        if (dev == 'S') {
            p.ssd_ms += op == 'W' ? 0.020 + (double)len / 1050e3 : 0.085 + (double)len / 3200e3;
            p.ssd_writes += op == 'W';
        } else {
            price_hdd(&p, op == 'W', &head, (double)off, (double)len, span);
        }
    }
    cr_assert(feof(log));
    return p;
}

Test(replay, the_log_of_commands_prices_the_same, .init = begin, .fini = end)
{
    struct priced p;

    add_zipf(3000, 60, 2000);
    o.oplog[0] = tmpfile();
    run();
    p = price(o.oplog[0], (double)GIB);
    cr_assert_float_eq(p.hdd_ms, (double)score.hdd.busy_ns / 1e6, 1e-6 * (double)(p.reads + p.writes));
    cr_assert_float_eq(p.ssd_ms, (double)score.ssd.busy_ns / 1e6, 1e-6 * (double)(score.ssd.reads + score.ssd.writes));
    cr_assert(p.reads == score.hdd.reads && p.writes == score.hdd.writes && p.seeks == score.hdd.seeks);
    cr_assert_eq(p.ssd_writes, score.ssd.writes);
    fclose(o.oplog[0]);
}

/* ---- destage ---- */

/* The log takes it five times as fast: what is written waits for the disk from the first second on. */
Test(replay, a_stream_to_the_disk_runs_at_its_speed, .init = begin, .fini = end)
{
    uint64_t mib = 600, filling_ns;

    for (uint64_t i = 0; i < mib; i++)
        trace_add(&t, -1, true, i * MIB, MIB);
    o.ssd_bytes = 256 * MIB;
    tune.segment_bytes = 2 * MIB;
    run();
    filling_ns = o.ssd_bytes * 6 / 10; /* a GB a second until destage begins */
    cr_assert_geq(score.hdd.write_bytes, mib * MIB);
    cr_assert_lt((double)(score.run_ns + score.flush_ns - filling_ns) * 0.9, (double)(mib * MIB) * 5, "5 ns a byte");
    cr_assert_lt(score.hdd.seeks, 40);
    cr_assert_lt(score_percentile_ns(&score, 999), 200 * NS_PER_MS, "a writer that waits does not wait for a whole batch");
}

/* Every read misses, comes while destage is at work, and is one more that the disk has to seek for. */
Test(replay, a_read_waits_for_one_run_at_most, .init = begin, .fini = end)
{
    uint64_t busiest_ns = 0;

    for (int i = 0; i < 800; i++)
        trace_add(&t, -1, true, below(1024) * MIB, 16 * KIB + (uint32_t)below(8) * 64 * (uint32_t)KIB);
    for (int i = 0; i < 600; i++)
        trace_add(&t, 4000000 + i * 33000, false, 2 * GIB + below(GIB / 4096) * 4096, 4096);
    o.ssd_bytes = 512 * MIB;
    tune.segment_bytes = 2 * MIB;
    tune.dirty_start_pct = 1;
    run();
    busiest_ns = score.latency_ns[score.requests - 1];
    cr_assert_gt(score.destaged_blocks, 10000);
    cr_assert_lt(score.flush_ns, 2 * NS_PER_S, "most was destaged between the reads");
    cr_assert_lt(busiest_ns, (20 + 20) * NS_PER_MS, "a run and the read itself: %f ms", (double)busiest_ns / 1e6);
}

/* ---- the same again ---- */

static char *json_of(void)
{
    struct strbuf b;
    char *text;

    score = (struct score){0};
    cr_assert_eq(replay_run(&o, &score, why), 0, "%s", why);
    strbuf_init(&b);
    score_json(&b, &score);
    score_print(&b, &score);
    text = strdup(strbuf_str(&b));
    strbuf_fini(&b);
    score_fini(&score);
    score = (struct score){0};
    return text;
}

Test(replay, same_trace_same_figures, .init = begin, .fini = end)
{
    char *a, *b;

    add_oltp(2000);
    trace_index(&t);
    a = json_of();
    b = json_of();
    cr_assert_str_eq(a, b);
    free(a);
    free(b);
}

/* ---- the rules ---- */

Test(replay, a_scan_reads_the_disk_from_end_to_end, .init = begin, .fini = end)
{
    fetch_nothing_else();
    add_scan(0, 512, 65536, false); /* 32 MiB */
    run();
    cr_assert_eq(score.hdd.reads, 512u);
    cr_assert_eq(score.hdd.read_bytes, 32 * MIB);
    cr_assert_eq(score.hdd.seeks, 1u, "the first: extents lie one behind the other");
    cr_assert_eq(score.hdd.writes + score.ssd.writes, 0u);
    cr_assert_float_eq(score_read_hit(&score), 0, 1e-12);
    cr_assert_eq(score.blocks_read, 8192u);
}

/* Host requests of so many bytes, one after the other: how much of the disk's rate they get. */
static double rate_of(uint32_t len, uint64_t ssd_bytes)
{
    o.ssd_bytes = ssd_bytes;
    add_scan(0, (unsigned)(128 * MIB / len), len, false);
    run();
    cr_assert_leq(score.hdd.read_bytes, 129 * MIB);
    return 128.0 * (double)MIB / 200e6 / ((double)score.run_ns / 1e9);
}

Test(replay, a_stream_gets_nine_tenths_of_the_disk, .init = begin, .fini = end)
{
    cr_assert_geq(rate_of(1 << 20, 512 * MIB), 0.9);
}

Test(replay, so_does_one_of_small_requests, .init = begin, .fini = end)
{
    cr_assert_geq(rate_of(16384, 512 * MIB), 0.9);
}

Test(replay, and_one_with_little_memory, .init = begin, .fini = end)
{
    cr_assert_geq(rate_of(65536, 64 * MIB), 0.9);
}

Test(replay, readers_of_neighbours_find_them_in_memory, .init = begin, .fini = end)
{
    for (unsigned i = 0; i < 256; i++) { /* two blocks of each 128 KiB, far from each other in order, near in time */
        uint64_t chunk = 1 + below(4096);

        trace_add(&t, -1, false, chunk << 17, BLOCK_BYTES);
        trace_add(&t, -1, false, (chunk << 17) + 100 * 1024, BLOCK_BYTES);
    }
    o.ssd_bytes = 512 * MIB;
    run();
    cr_assert_leq(score.hdd.reads, 256u);
    cr_assert_geq(score_read_hit(&score), 0.5);
    cr_assert_geq(score.blocks_in_ram, 256u, "the second of each two, at least");
    cr_assert_leq(score.blocks_in_ram, score.blocks_read - score.blocks_missed);
}

Test(replay, one_outstanding_waits_for_each_answer, .init = begin, .fini = end)
{
    for (unsigned i = 0; i < 500; i++)
        trace_add(&t, -1, false, below(200000) * BLOCK_BYTES, BLOCK_BYTES);
    fetch_nothing_else();
    run();
    cr_assert_eq(score.hdd.reads, 500u);
    cr_assert_float_eq(score_mean_ns(&score) * 500, (double)score.hdd.busy_ns, 0.01 * (double)score.hdd.busy_ns);
}

Test(replay, requests_with_a_time_do_not_wait_for_others, .init = begin, .fini = end)
{
    for (unsigned i = 0; i < 100; i++)
        trace_add(&t, 0, false, below(200000) * BLOCK_BYTES, BLOCK_BYTES);
    run();
    cr_assert_float_eq((double)score.latency_ns[99], (double)score.hdd.busy_ns, 0.01 * (double)score.hdd.busy_ns, "the last waits for all");
    cr_assert_gt(score_mean_ns(&score), 0.4 * (double)score.hdd.busy_ns);
}

Test(replay, closed_does_not_look_at_times, .init = begin, .fini = end)
{
    for (unsigned i = 0; i < 100; i++)
        trace_add(&t, 0, false, below(200000) * BLOCK_BYTES, BLOCK_BYTES);
    o.closed = true;
    run();
    cr_assert_float_eq(score_mean_ns(&score) * 100, (double)score.hdd.busy_ns, 0.01 * (double)score.hdd.busy_ns);
}

Test(replay, quiet_requests_take_what_the_device_takes, .init = begin, .fini = end)
{
    trace_add(&t, 0, false, 512 * MIB, BLOCK_BYTES);      /* HDD */
    trace_add(&t, 1000000, true, 512 * MIB, BLOCK_BYTES); /* SSD, with a header */
    trace_add(&t, 2000000, false, 512 * MIB, BLOCK_BYTES); /* SSD */
    run();
    cr_assert_gt(score.latency_ns[2], 4 * NS_PER_MS);
    cr_assert(score.latency_ns[0] >= 20000 && score.latency_ns[1] < 200000, "%lu %lu", score.latency_ns[0], score.latency_ns[1]);
    cr_assert_eq(score.hdd.reads, 1u);
    cr_assert_eq(score.ssd.reads, 2u, "one of them destages it");
    cr_assert_float_eq(score_read_hit(&score), 0.5, 1e-12);
}

Test(replay, every_write_reaches_the_ssd_and_then_the_disk, .init = begin, .fini = end)
{
    for (unsigned i = 0; i < 200; i++)
        trace_add(&t, (int64_t)i * 1000, true, (uint64_t)i * 3 * MIB + 512, 512); /* a block each */
    run();
    cr_assert_eq(score.ssd_host_bytes, 200u * BLOCK_BYTES);
    cr_assert_geq(score.ssd.write_bytes, 2 * score.ssd_host_bytes, "data and a header each");
    cr_assert_eq(score.destaged_blocks, 200u, "the final flush counts");
    cr_assert_eq(score.hdd.write_bytes, 200u * BLOCK_BYTES + score.described_bytes);
    cr_assert_gt(score.meta_pages, score.meta_batches);
    cr_assert_gt(score.flush_ns, 0u);
}

Test(replay, long_and_ragged_requests_cover_whole_blocks, .init = begin, .fini = end)
{
    trace_add(&t, -1, true, 100, 3 * 1024 * 1024);       /* more than a command, and not aligned */
    trace_add(&t, -1, false, MIB - 1, 2);                /* two blocks */
    trace_add(&t, -1, false, 0, 5 * 1024 * 1024);
    run();
    cr_assert_eq(score.blocks_written, 769u);
    cr_assert_eq(score.blocks_read, 2u + 1280u);
    cr_assert_eq(score.requests, 3u);
}

Test(replay, a_small_ssd_reclaims_and_loses_nothing, .init = begin, .fini = end)
{
    o.ssd_bytes = 3 * MIB;
    add_zipf(6000, 80, 500);
    add_scan(100 * MIB, 100, 131072, true);
    add_zipf(3000, 30, -1);
    run();
    cr_assert_gt(score.ssd_moved_bytes, 0u);
    cr_assert_gt(score.hdd.writes, 0u);
    cr_assert_gt(score_read_hit(&score), 0.02);
}

Test(replay, several_disks_share_the_volume, .init = begin, .fini = end)
{
    struct priced p;

    o.nr_hdd = 2;
    o.oplog[0] = tmpfile();
    o.oplog[1] = tmpfile();
    fetch_nothing_else();
    add_scan(0, 1024, 131072, false); /* 128 MiB: two regions */
    run();
    p = price(o.oplog[0], (double)GIB);
    cr_assert_eq(p.reads, 512u);
    p = price(o.oplog[1], (double)GIB);
    cr_assert_eq(p.reads, 512u);
    fclose(o.oplog[0]);
    fclose(o.oplog[1]);
}

/* ---- a replay is a test too ---- */

Test(replay, a_wrong_block_ends_the_run, .init = begin, .fini = end)
{
    static const struct tier_bugs bugs = {.move_drops_dirty = true};

    tune.bugs = &bugs;
    o.ssd_bytes = 3 * MIB;
    add_zipf(6000, 100, 500);
    add_scan(0, 512, 131072, false);
    trace_index(&t);
    cr_assert_lt(replay_run(&o, &score, why), 0);
    cr_assert(strstr(why, "request ") != NULL, "%s", why);
}

Test(replay, an_engine_that_fails_ends_the_run, .init = begin, .fini = end)
{
    trace_add(&t, 0, true, 0, 4096);
    trace_index(&t);
    tune.journal_align = 1024; /* there is no such thing */
    cr_assert_lt(replay_run(&o, &score, why), 0);
    cr_assert_neq(why[0], '\0');
}

/* ---- sizes ---- */

Test(replay, segments_are_a_1024th_within_limits, .init = begin, .fini = end)
{
    o.ssd_bytes = 8 * GIB;
    cr_assert_eq(replay_segment_bytes(&o), 8 * MIB);
    o.ssd_bytes = 100 * MIB;
    cr_assert_eq(replay_segment_bytes(&o), 256 * KIB);
    o.ssd_bytes = 8 * MIB;
    cr_assert_eq(replay_segment_bytes(&o), 256 * KIB);
    o.ssd_bytes = 4 * MIB; /* 32 of them */
    cr_assert_eq(replay_segment_bytes(&o), 128 * KIB);
    o.ssd_bytes = MIB;
    cr_assert_eq(replay_segment_bytes(&o), SEGMENT_BYTES_MIN);
    o.ssd_bytes = TIB;
    cr_assert_eq(replay_segment_bytes(&o), SEGMENT_BYTES_MAX);
    tune.segment_bytes = 32 * MIB;
    cr_assert_eq(replay_segment_bytes(&o), 32 * MIB);
}

Test(replay, the_smallest_ssd_works, .init = begin, .fini = end)
{
    o.ssd_bytes = 0;
    o.ssd_bytes = replay_ssd_min(&o);
    add_zipf(500, 50, -1);
    run();
    cr_assert_eq(score.ssd_bytes, 8u * SEGMENT_BYTES_MIN);
}

Test(replay, an_ssd_is_a_size_or_a_part_of_the_footprint)
{
    static const char *const wrong[] = {"", "%", "0%", ".5%", "5.%", "10 %", "-1%", "1e1%", "1001%", "10%%", "x", "10QiB", "nan%"};
    uint64_t n;

    cr_assert(replay_ssd_parse("10%", GIB, &n) && n == ROUND_DOWN(GIB / 10, 4096));
    cr_assert(replay_ssd_parse("12.5%", GIB, &n) && n == GIB / 8);
    cr_assert(replay_ssd_parse("100%", GIB, &n) && n == GIB);
    cr_assert(replay_ssd_parse("64MiB", GIB, &n) && n == 64 * MIB);
    cr_assert(replay_ssd_parse("5000", GIB, &n) && n == 4096);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        cr_assert_not(replay_ssd_parse(wrong[i], GIB, &n), "%s", wrong[i]);
}
