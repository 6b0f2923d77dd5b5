/* SPDX-License-Identifier: Apache-2.0 */
/* firn-bench whole, against a small target over memory: honest, and lying in ways that the verifier must catch. */
#include "mock.h"

#include "../../../tools/bench/bench.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct mock_opts honest = {.size_bytes = 8 << 20, .lba_bytes = 4096, .in_capsule_bytes = 8192,
                                        .r2t_bytes = 32768, .success_flag = true};

static struct bench_opts opts_of(const struct mock *m, const char *log, int argc, char **argv)
{
    struct bench_opts o;

    cr_assert_eq(opts_parse(argc, argv, &o), 0);
    snprintf(o.nqn, sizeof(o.nqn), "%s", MOCK_NQN);
    o.port = mock_port(m);
    if (log)
        snprintf(o.ack_log, sizeof(o.ack_log), "%s", log);
    return o;
}
#define OPTS(m, log, ...) \
    opts_of(m, log, (int)ARRAY_LEN(((char *[]){__VA_ARGS__})), (char *[]){__VA_ARGS__})

static char *log_path(void)
{
    static char path[] = "/tmp/firn-unit-bench-XXXXXX";

    close(mkstemp(path));
    unlink(path);
    return path;
}

static void quiet(void)
{
    cr_redirect_stdout();
    cr_redirect_stderr();
}

Test(target, mixed_load_is_verified_with_every_transfer_shape, .init = quiet, .timeout = 60)
{
    static const struct { char *bs; bool digests, success; uint32_t lba; } shapes[] = {
        {"4KiB", false, true, 4096}, {"4KiB", true, false, 4096}, {"64KiB", true, true, 4096}, {"512", false, true, 512},
        {"16KiB", false, false, 512},
    };

    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct mock_opts mo = honest;
        struct mock *m;
        char *log = log_path();
        struct bench_opts o;

        mo.lba_bytes = shapes[i].lba;
        mo.success_flag = shapes[i].success;
        m = mock_start(&mo);
        o = OPTS(m, log, "--rw", "randmixed", "--ops", "3000", "--verify", "--fresh", "--zero-pct", "20", "--flush-every",
                 "50", "--qd", "16", "--connections", "2", "--bs", shapes[i].bs);
        o.hdgst = o.ddgst = shapes[i].digests;
        cr_assert_eq(cmd_run(&o), 0, "shape %zu", i);
        cr_assert_eq(cmd_verify(&o), 0, "shape %zu", i);
        mock_stop(m);
        unlink(log);
    }
}

static int run_against_lie(enum mock_lie lie, bool ddgst)
{
    struct mock_opts mo = honest;
    struct mock *m;
    char *log = log_path();
    struct bench_opts o;
    int run;

    mo.lie = lie;
    m = mock_start(&mo);
    o = OPTS(m, log, "--rw", "randmixed", "--ops", "4000", "--verify", "--fresh", "--zero-pct", "20", "--trim-pct", "10");
    o.ddgst = ddgst;
    run = cmd_run(&o);
    mock_stop(m);
    unlink(log);
    return run;
}

Test(target, every_lie_is_caught, .init = quiet, .timeout = 60)
{
    cr_assert_eq(run_against_lie(MOCK_HONEST, true), 0);
    cr_assert_eq(run_against_lie(MOCK_DROP_WRITE, false), 1);
    cr_assert_eq(run_against_lie(MOCK_TEAR_WRITE, false), 1);
    cr_assert_eq(run_against_lie(MOCK_MISDIRECT, false), 1);
    cr_assert_eq(run_against_lie(MOCK_DROP_ZEROES, false), 1);
    cr_assert_eq(run_against_lie(MOCK_SHORT_READ, false), 1);
    cr_assert_eq(run_against_lie(MOCK_BAD_DDGST, true), 1);
}

Test(target, verify_finds_what_was_lost_after_the_run, .init = quiet, .timeout = 60)
{
    struct mock *m = mock_start(&honest);
    char *log = log_path();
    struct bench_opts o = OPTS(m, log, "--rw", "randwrite", "--ops", "3000", "--verify", "--fresh");

    cr_assert_eq(cmd_run(&o), 0);
    cr_assert_eq(cmd_verify(&o), 0);
    memset(mock_memory(m) + 4096 * 1000, 0, 4096 * 64);
    cr_assert_eq(cmd_verify(&o), 1);
    mock_stop(m);
    unlink(log);
}

Test(target, a_cut_connection_ends_the_run_unless_it_may_reconnect, .init = quiet, .timeout = 60)
{
    struct mock_opts mo = honest;
    struct mock *m;
    char *log = log_path();
    struct bench_opts o;

    mo.lie = MOCK_CUT;
    m = mock_start(&mo);
    o = OPTS(m, log, "--rw", "randmixed", "--ops", "5000", "--verify", "--fresh");
    cr_assert_eq(cmd_run(&o), 1);
    o.reconnect_ns = 5 * NS_PER_S;
    o.fresh = false;
    cr_assert_eq(cmd_run(&o), 0);
    cr_assert_eq(cmd_verify(&o), 0);
    mock_stop(m);
    unlink(log);
}

Test(target, a_command_without_an_answer_ends_the_association, .init = quiet, .timeout = 60)
{
    struct mock_opts mo = honest;
    struct mock *m;
    char *log = log_path();
    struct bench_opts o;

    mo.lie = MOCK_MUTE;
    m = mock_start(&mo);
    o = OPTS(m, log, "--rw", "randmixed", "--ops", "1200", "--verify", "--fresh", "--timeout", "300ms");
    cr_assert_eq(cmd_run(&o), 1);
    o.reconnect_ns = 5 * NS_PER_S;
    o.fresh = false;
    cr_assert_eq(cmd_run(&o), 0);
    mock_stop(m);
    unlink(log);
}

static struct oracle gen_oracle;
static void generate(struct bench_opts *o, uint32_t seed)
{
    struct gen g;
    struct gen_req req[32];
    uint32_t nr = 0;

    oracle_init(&gen_oracle, (const uint8_t *)"0123456789abcdef", 4096, 256);
    gen_init(&g, o, &gen_oracle, 65536, 65536 + 100 * (uint64_t)o->bs_bytes, seed);
    for (uint32_t turn = 0; turn < 20000; turn++) {
        if (nr < 32 && gen_next(&g, &req[nr])) {
            struct gen_req *r = &req[nr];

            cr_assert(r->off_bytes >= 65536 && r->off_bytes + r->len_bytes <= 65536 + 100 * (uint64_t)o->bs_bytes);
            for (uint32_t k = 0; k < nr; k++) /* judged without the oracle */
                cr_assert(r->off_bytes >= req[k].off_bytes + req[k].len_bytes || req[k].off_bytes >= r->off_bytes + r->len_bytes ||
                          (r->op == GEN_READ && req[k].op == GEN_READ));
            if (r->op != GEN_READ)
                oracle_begin_write(&gen_oracle, r->off_bytes / 4096, r->len_bytes / 4096, turn + 1);
            nr++;
        } else if (nr > 0) {
            struct gen_req done = req[gen_random(&g) % nr];
            uint32_t at = 0;

            while (memcmp(&req[at], &done, sizeof(done)) != 0)
                at++;
            if (done.op == GEN_READ)
                oracle_end_read(&gen_oracle, done.off_bytes / 4096, done.len_bytes / 4096);
            else
                oracle_acked(&gen_oracle, done.off_bytes / 4096, done.len_bytes / 4096, turn + 1);
            req[at] = req[--nr];
        }
    }
    oracle_fini(&gen_oracle);
}

Test(gen, never_a_write_beside_another_request_on_a_block)
{
    struct bench_opts o;

    cr_assert_eq(opts_parse(4, (char *[]){"--rw", "randmixed", "--bs", "8KiB"}, &o), 0);
    generate(&o, 1);
    generate(&o, 2);
    cr_assert_eq(opts_parse(4, (char *[]){"--rw", "mixed", "--bs", "4KiB"}, &o), 0);
    generate(&o, 3);
}

Test(target, threads_share_the_range_and_the_log, .init = quiet, .timeout = 60)
{
    struct mock *m = mock_start(&honest);
    char *log = log_path();
    struct bench_opts o = OPTS(m, log, "--rw", "randmixed", "--ops", "6000", "--verify", "--fresh", "--threads", "3",
                               "--connections", "3");

    cr_assert_eq(cmd_run(&o), 0);
    cr_assert_eq(cmd_run(&o), 2, "a log with a run in it is not fresh");
    o.fresh = false;
    cr_assert_eq(cmd_run(&o), 0, "a second run goes on from the log");
    cr_assert_eq(cmd_verify(&o), 0);
    mock_stop(m);
    unlink(log);
}

Test(target, wrong_command_lines_say_so, .init = quiet)
{
    static char *const bad[][2] = {{"--bs", "1000"}, {"--qd", "0"}, {"--rw", "sideways"}, {"--port", "70000"},
                                   {"--time", "10"}, {"--nonsense", "1"}, {"--read-pct", "101"}, {"--size", "-5"}};
    struct bench_opts o;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(opts_parse(2, (char **)bad[i], &o), 2, "%s %s", bad[i][0], bad[i][1]);
}
