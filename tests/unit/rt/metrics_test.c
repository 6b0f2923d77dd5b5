/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/metrics.h"
#include "rt/trace.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static double three(void *ctx) { return *(double *)ctx * 3; }

static void collect(struct metric_collector *c, struct strbuf *out)
{
    (void)c;
    strbuf_add(out, "# HELP firn_many Many.\n# TYPE firn_many gauge\nfirn_many{v=\"1\"} 4\n");
}

Test(metrics, the_page_groups_series_by_name)
{
    static struct metric_counter n1, n2;
    static struct metric_gauge g;
    static double one = 0.5;
    struct metric a = {.name = "firn_ops_total", .help = "Operations.", .type = METRIC_COUNTER, .src.counter = &n1};
    struct metric b = {.name = "firn_fill", .help = "Fill.", .type = METRIC_GAUGE, .src.gauge = &g};
    struct metric c = {.name = "firn_ops_total", .help = "Operations.", .type = METRIC_COUNTER, .src.counter = &n2};
    struct metric d = {.name = "firn_ratio", .help = "Ratio.", .type = METRIC_GAUGE_FN, .src.fn = three, .ctx = &one};
    struct metric_collector k = {.render = collect};
    struct strbuf out;

    metric_labels(&a, "device", "/dev/\"a\\\n", "op", "read", NULL);
    metric_labels(&c, "device", "b", NULL);
    metric_register(&a);
    metric_register(&b);
    metric_register(&c);
    metric_register(&d);
    metric_collector_register(&k);
    metric_add(&n1, 40);
    metric_add(&n1, 2);
    metric_add(&n2, UINT64_MAX);
    metric_set(&g, -7);
    strbuf_init(&out);
    metrics_render(&out);
    cr_assert_str_eq(strbuf_str(&out),
                     "# HELP firn_ops_total Operations.\n# TYPE firn_ops_total counter\n"
                     "firn_ops_total{device=\"/dev/\\\"a\\\\\\n\",op=\"read\"} 42\n"
                     "firn_ops_total{device=\"b\"} 18446744073709551615\n"
                     "# HELP firn_fill Fill.\n# TYPE firn_fill gauge\nfirn_fill -7\n"
                     "# HELP firn_ratio Ratio.\n# TYPE firn_ratio gauge\nfirn_ratio 1.5\n"
                     "# HELP firn_many Many.\n# TYPE firn_many gauge\nfirn_many{v=\"1\"} 4\n");
    strbuf_fini(&out);
    metric_unregister(&a);
    metric_unregister(&b);
    metric_unregister(&c);
    metric_unregister(&d);
    metric_collector_unregister(&k);
    strbuf_init(&out);
    metrics_render(&out);
    cr_assert_str_eq(strbuf_str(&out), "");
}

Test(metrics, a_label_that_does_not_fit_is_left_out_whole)
{
    struct metric m = {.name = "x"};
    char big[300];

    memset(big, '"', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    metric_labels(&m, "a", "1", "big", big, "c", "3", NULL);
    cr_assert_str_eq(m.labels, "a=\"1\",c=\"3\"");
}

Test(metrics, histogram_buckets_hold_what_their_bounds_say)
{
    static const uint64_t bounds[] = {1000, 1500, 2000, 3000, 4000, 6000, 8000};
    struct metric_hist h = {0};
    struct strbuf out;

    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        metric_observe_ns(&h, bounds[i]);
        cr_assert_eq(h.bucket[i], 1u, "a bound belongs to its own bucket");
        metric_observe_ns(&h, bounds[i] + 1);
        cr_assert_eq(h.bucket[i + 1], 1u);
        h.bucket[i] = h.bucket[i + 1] = 0;
    }
    memset(&h, 0, sizeof(h));
    cr_assert_eq(metric_quantile_ns(&h, 0.5), 0u);
    metric_observe_ns(&h, 0);
    for (int i = 0; i < 98; i++)
        metric_observe_ns(&h, 90 * NS_PER_US);
    metric_observe_ns(&h, 3600 * NS_PER_S);
    cr_assert_eq(metric_quantile_ns(&h, 0), 1000u);
    cr_assert_eq(metric_quantile_ns(&h, 0.5), 96 * NS_PER_US);
    cr_assert_gt(metric_quantile_ns(&h, 1), 64 * NS_PER_S);
    strbuf_init(&out);
    metric_hist_render(&out, "t", "op=\"r\"", &h);
    cr_assert(strstr(strbuf_str(&out), "t_bucket{op=\"r\",le=\"1e-06\"} 1\n") != NULL);
    cr_assert(strstr(strbuf_str(&out), "t_bucket{op=\"r\",le=\"9.6e-05\"} 99\n") != NULL);
    cr_assert(strstr(strbuf_str(&out), "t_bucket{op=\"r\",le=\"+Inf\"} 100\n") != NULL);
    cr_assert(strstr(strbuf_str(&out), "t_sum{op=\"r\"} 3600.008820000\nt_count{op=\"r\"} 100\n") != NULL);
    strbuf_fini(&out);
}

Test(metrics, histograms_of_several_writers_add_up)
{
    struct metric_hist sum = {0}, a = {0}, b = {0};

    metric_observe_ns(&a, 10 * NS_PER_US);
    metric_observe_ns(&a, NS_PER_S);
    metric_observe_ns(&b, 10 * NS_PER_US);
    metric_hist_add(&sum, &a);
    metric_hist_add(&sum, &b);
    cr_assert_eq(sum.count, 3u);
    cr_assert_eq(sum.sum_ns, NS_PER_S + 20 * NS_PER_US);
    cr_assert_eq(metric_quantile_ns(&sum, 0.5), 12 * NS_PER_US);
    cr_assert_eq(a.count, 2u, "the parts stay as they are");
}

/* ---- trace --------------------------------------------------------------------------------------------------------- */

Test(trace, keeps_the_last_events_in_order)
{
    struct strbuf out;

    strbuf_init(&out);
    trace_dump(&out, 10);
    cr_assert_str_eq(strbuf_str(&out), "");
    for (uint64_t i = 0; i < 10000; i++)
        trace(TRACE_TIER_WRITE, i, 2, 3);
    trace(TRACE_META_COMMIT, 7, 8, 9);
    trace_dump(&out, 2);
    cr_assert_str_eq(strbuf_str(&out), "9999 TIER_WRITE (layer lba blocks) 9999 2 3\n10000 META_COMMIT (batch entries err) 7 8 9\n");
    strbuf_fini(&out);
    strbuf_init(&out);
    trace_dump(&out, UINT32_MAX);
    cr_assert_eq(strncmp(strbuf_str(&out), "5905 ", 5), 0, "as many as the ring holds");
    strbuf_fini(&out);
}

static void *other_thread(void *arg)
{
    trace(TRACE_CMD_STATE, 11, 22, 33);
    pthread_barrier_wait(arg);
    pause();
    return NULL;
}

Test(trace, a_crash_writes_every_threads_last_words)
{
    char got[8192] = "";
    pthread_barrier_t both;
    pthread_t t;
    int p[2], status;
    pid_t pid;

    cr_assert_eq(pipe(p), 0);
    pid = fork();
    if (pid == 0) {
        dup2(p[1], STDERR_FILENO);
        trace_install_crash_handler();
        pthread_barrier_init(&both, NULL, 2);
        pthread_create(&t, NULL, other_thread, &both);
        pthread_barrier_wait(&both);
        trace(TRACE_TIER_READ, UINT64_MAX, 0, 5);
        abort();
    }
    close(p[1]);
    for (size_t n = 0; n < sizeof(got) - 1;) {
        ssize_t r = read(p[0], got + n, sizeof(got) - 1 - n);

        if (r <= 0)
            break;
        n += (size_t)r;
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "the default action follows");
    cr_assert(strstr(got, "event=CMD_STATE 11 22 33\n") != NULL, "%s", got);
    cr_assert(strstr(got, "event=TIER_READ 18446744073709551615 0 5\n") != NULL, "%s", got);
}
