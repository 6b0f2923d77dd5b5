/* SPDX-License-Identifier: Apache-2.0 */
/* report.c: figures for people and, with --json, for scripts. */
#include "bench.h"

#include "base/err.h"
#include "base/sizefmt.h"

#include <jansson.h>
#include <stdio.h>

static const double percentiles[] = {50, 90, 99, 99.9};
static const char *const percentile_names[] = {"p50_us", "p90_us", "p99_us", "p999_us"};

static uint64_t violations(const struct totals *t)
{
    uint64_t sum = 0;

    for (uint32_t v = ORACLE_OK + 1; v < ORACLE_VERDICT_NR; v++)
        sum += t->verdicts[v];
    return sum;
}

bool totals_clean(const struct totals *t)
{
    return t->err == 0 && violations(t) == 0 && t->st.protocol_faults == 0 && t->st.io_errors == 0;
}

static double iops(const struct totals *t)
{
    return t->seconds > 0 ? (double)t->st.ops / t->seconds : 0;
}

static double mb_per_s(const struct totals *t)
{
    return t->seconds > 0 ? (double)t->st.bytes / t->seconds / 1e6 : 0;
}

static json_t *lat_json(const struct hist *h)
{
    json_t *j = json_object();

    json_object_set_new(j, "count", json_integer((json_int_t)h->count));
    json_object_set_new(j, "mean_us", json_real(hist_mean_ns(h) / 1e3));
    for (size_t i = 0; i < ARRAY_LEN(percentiles); i++)
        json_object_set_new(j, percentile_names[i], json_real((double)hist_percentile_ns(h, percentiles[i]) / 1e3));
    json_object_set_new(j, "max_us", json_real((double)h->max_ns / 1e3));
    return j;
}

static void add_u64(json_t *j, const char *key, uint64_t v)
{
    json_object_set_new(j, key, json_integer((json_int_t)v));
}

static json_t *findings_json(const struct totals *t)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < t->nr_workers; i++)
        for (uint32_t k = 0; k < t->workers[i].nr_findings; k++) {
            const struct finding *f = &t->workers[i].findings[k];
            uint64_t bytes = f->unit * t->workers[i].oracle.unit_bytes;
            json_t *j = json_object();

            add_u64(j, "lba", bytes / t->ns->lba_bytes);
            add_u64(j, "acknowledged_id", f->sure & ~WRITE_ID_ZERO);
            add_u64(j, "seen_id", f->seen & ~WRITE_ID_ZERO);
            json_object_set_new(j, "found", json_string(oracle_verdict_text(f->verdict)));
            json_array_append_new(list, j);
        }
    return list;
}

static json_t *common_json(const struct totals *t)
{
    json_t *j = json_object();

    json_object_set_new(j, "ok", json_boolean(totals_clean(t)));
    if (t->err)
        json_object_set_new(j, "error", json_string(t->why));
    add_u64(j, "violations", violations(t));
    add_u64(j, "io_errors", t->st.io_errors);
    add_u64(j, "protocol_faults", t->st.protocol_faults);
    add_u64(j, "units_judged", t->st.units_judged);
    json_object_set_new(j, "findings", findings_json(t));
    return j;
}

static void print_json(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    puts("");
    json_decref(j);
}

static void run_json(const struct bench_opts *o, const struct totals *t)
{
    json_t *j = common_json(t), *lat = json_object();

    (void)o;
    json_object_set_new(j, "seconds", json_real(t->seconds));
    json_object_set_new(j, "iops", json_real(iops(t)));
    json_object_set_new(j, "mb_per_s", json_real(mb_per_s(t)));
    json_object_set_new(j, "cpu_us_per_op", json_real(t->st.ops ? (double)t->st.cpu_ns / 1e3 / (double)t->st.ops : 0));
    json_object_set_new(j, "latency", lat_json(&t->all));
    for (uint32_t op = 0; op < GEN_OP_NR; op++)
        if (t->st.by_op[op])
            json_object_set_new(lat, gen_op_name(op), lat_json(&t->st.lat[op]));
    json_object_set_new(j, "by_op", lat);
    add_u64(j, "ops", t->st.ops);
    add_u64(j, "writes_submitted", t->st.submitted_writes);
    add_u64(j, "writes_acked", t->st.acked_writes);
    add_u64(j, "requests_lost", t->st.lost_requests);
    add_u64(j, "writes_lost", t->st.lost_writes);
    add_u64(j, "reconnects", t->st.reconnects);
    json_object_set_new(j, "outage_max_s", json_real((double)t->st.outage_max_ns / 1e9));
    add_u64(j, "r2ts", t->st.r2ts);
    add_u64(j, "success_flags", t->st.success_flags);
    print_json(j);
}

static void print_findings(const struct totals *t)
{
    for (uint32_t i = 0; i < t->nr_workers; i++)
        for (uint32_t k = 0; k < t->workers[i].nr_findings; k++) {
            const struct finding *f = &t->workers[i].findings[k];

            printf("violation: lba %llu: %s (acknowledged write %llu%s, found write %llu; 0: none)\n",
                   (unsigned long long)(f->unit * t->workers[i].oracle.unit_bytes / t->ns->lba_bytes),
                   oracle_verdict_text(f->verdict), (unsigned long long)(f->sure & ~WRITE_ID_ZERO),
                   f->sure & WRITE_ID_ZERO ? " of zeros" : "", (unsigned long long)(f->seen & ~WRITE_ID_ZERO));
        }
}

/* What was under way when the connection went, and what can be known of it. */
static void print_lost(const struct bench_opts *o, const struct totals *t, bool verify)
{
    fprintf(stderr, "firn-bench: %llu requests were under way", (unsigned long long)t->st.lost_requests);
    if (t->st.lost_writes)
        fprintf(stderr, ", %llu of them writes that may be there or not", (unsigned long long)t->st.lost_writes);
    if (verify)
        fputs("; verify again when the target is back: nothing is proven yet\n", stderr);
    else if (o->ack_log[0])
        fprintf(stderr, "; when the target is back, firn-bench verify --ack-log %s proves what was acknowledged%s\n", o->ack_log,
                o->reconnect_ns ? "" : "; --reconnect 60s goes on by itself");
    else
        fprintf(stderr, "; look whether the target runs%s\n", o->reconnect_ns ? "" : "; --reconnect 60s goes on when it comes back");
}

/* Bytes that do not fit the log need not be the server's fault: whoever reads of violations must know the other cause. */
static void print_doubt(const struct totals *t)
{
    if (violations(t))
        fputs("firn-bench: if something else wrote to this volume since (a run without this log, a file system), this is no loss of the "
              "server: the log cannot know of it\n", stderr);
}

static void print_failure(const struct bench_opts *o, const struct totals *t, bool verify)
{
    if (t->err)
        fprintf(stderr, "firn-bench: %s\n", t->why[0] ? t->why : err_text(t->err));
    if (t->lost)
        print_lost(o, t, verify);
    print_doubt(t);
}

static void print_lat(const char *name, const struct hist *h)
{
    printf("%-8s %9llu  mean %8.1f  p50 %8.1f  p90 %8.1f  p99 %8.1f  p99.9 %8.1f  max %8.1f us\n", name,
           (unsigned long long)h->count, hist_mean_ns(h) / 1e3, (double)hist_percentile_ns(h, 50) / 1e3,
           (double)hist_percentile_ns(h, 90) / 1e3, (double)hist_percentile_ns(h, 99) / 1e3,
           (double)hist_percentile_ns(h, 99.9) / 1e3, (double)h->max_ns / 1e3);
}

void report_run(const struct bench_opts *o, const struct totals *t)
{
    if (o->json) {
        run_json(o, t);
        print_failure(o, t, false);
        return;
    }
    if (t->err && t->st.submitted_writes == 0 && t->st.ops == 0 && t->st.reconnects == 0) { /* nothing ran: no figures */
        print_failure(o, t, false);
        return;
    }
    for (uint32_t op = 0; op < GEN_OP_NR; op++)
        if (t->st.by_op[op])
            print_lat(gen_op_name(op), &t->st.lat[op]);
    printf("%.0f IOPS, %.1f MB/s, %.2f s, own CPU %.2f us an operation\n", iops(t), mb_per_s(t), t->seconds,
           t->st.ops ? (double)t->st.cpu_ns / 1e3 / (double)t->st.ops : 0.0);
    if (o->verify || t->st.reconnects)
        printf("writes: %llu submitted, %llu acknowledged; %llu blocks judged, %llu violations; %llu reconnects (longest outage %.3f s)\n",
               (unsigned long long)t->st.submitted_writes, (unsigned long long)t->st.acked_writes,
               (unsigned long long)t->st.units_judged, (unsigned long long)violations(t),
               (unsigned long long)t->st.reconnects, (double)t->st.outage_max_ns / 1e9);
    if (t->st.io_errors || t->st.protocol_faults)
        printf("errors: %llu commands failed, %llu protocol faults\n", (unsigned long long)t->st.io_errors,
               (unsigned long long)t->st.protocol_faults);
    print_findings(t);
    print_failure(o, t, false);
}

/* The next range of units that could not be read, from *u on. */
static bool next_unreadable(const struct oracle *o, uint64_t *u, uint64_t *nr)
{
    while (*u < o->nr_units && !o->units[*u].unreadable)
        ++*u;
    for (*nr = 0; *u + *nr < o->nr_units && o->units[*u + *nr].unreadable; ++*nr)
        ;
    return *nr > 0;
}

static json_t *unreadable_json(const struct totals *t)
{
    const struct oracle *o = &t->workers[0].oracle;
    json_t *list = json_array();

    for (uint64_t u = 0, nr = 0; t->workers[0].oracle_used && next_unreadable(o, &u, &nr); u += nr) {
        json_t *j = json_object();

        add_u64(j, "lba", u * o->unit_bytes / t->ns->lba_bytes);
        add_u64(j, "lbas", nr * o->unit_bytes / t->ns->lba_bytes);
        json_array_append_new(list, j);
    }
    return list;
}

static void print_unreadable(const struct totals *t)
{
    const struct oracle *o = &t->workers[0].oracle;

    for (uint64_t u = 0, nr = 0; t->workers[0].oracle_used && next_unreadable(o, &u, &nr); u += nr)
        printf("unreadable: lba %llu+%llu\n", (unsigned long long)(u * o->unit_bytes / t->ns->lba_bytes),
               (unsigned long long)(nr * o->unit_bytes / t->ns->lba_bytes));
}

void report_verify(const struct bench_opts *o, const struct totals *t)
{
    if (o->json) {
        json_t *j = common_json(t);

        add_u64(j, "writes_submitted", t->log.submitted);
        add_u64(j, "writes_acked", t->log.acked);
        add_u64(j, "units_known", t->touched);
        add_u64(j, "runs", t->log.runs);
        json_object_set_new(j, "unreadable", unreadable_json(t));
        print_json(j);
        print_failure(o, t, true);
        return;
    }
    printf("log: %u runs, %llu writes submitted, %llu acknowledged, %llu blocks\n", t->log.runs,
           (unsigned long long)t->log.submitted, (unsigned long long)t->log.acked, (unsigned long long)t->touched);
    printf("read: %llu blocks judged, %llu violations, %llu unreadable blocks\n", (unsigned long long)t->st.units_judged,
           (unsigned long long)violations(t), (unsigned long long)t->st.io_errors);
    print_unreadable(t);
    for (uint32_t v = ORACLE_OK + 1; v < ORACLE_VERDICT_NR; v++)
        if (t->verdicts[v])
            printf("  %llu: %s\n", (unsigned long long)t->verdicts[v], oracle_verdict_text((enum oracle_verdict)v));
    print_findings(t);
    print_failure(o, t, true);
    puts(totals_clean(t) ? "verified: nothing acknowledged is missing" : "NOT verified");
}
