/* SPDX-License-Identifier: Apache-2.0 */
/* trace_args.c: `firn-sim trace-gen` writes a trace, `firn-sim peers` says what other caches would have needed for one. */
#include "tools/sim/trace_args.h"

#include "base/strbuf.h"
#include "tools/sim/gen.h"
#include "tools/sim/peer.h"
#include "tools/sim/replay_args.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUESTS_MAX 100000000u

static const char gen_usage[] =
    "usage: firn-sim trace-gen KIND [--requests N] [--seed N]\n"
    "\n"
    "Writes a block trace to standard output, in the form that firn-sim replay reads. The same words, the same trace.\n"
    "\n"
    "  --requests N           how many (60000)\n"
    "  --seed N               another one of the kind (1)\n"
    "kinds:\n";

static const char peers_usage[] =
    "usage: firn-sim peers --trace FILE[.gz] [--ssd SIZE|PERCENT%] [--closed|--open] [--json]\n"
    "\n"
    "Prints what other caches' published rules would have needed for a trace, on the disk and the SSD of firn-sim replay.\n"
    "\n"
    "  --trace FILE           the trace; may be compressed with gzip\n"
    "  --ssd SIZE|PERCENT%    the SSD: a size, or a part of the trace's footprint (10%)\n"
    "  --closed, --open       as firn-sim replay\n"
    "  --json                 one JSON document on standard output\n";

static int bad(const char *verb, const char *what, const char *value)
{
    fprintf(stderr, "firn-sim %s: %s: %s (see --help)\n", verb, what, value);
    return 2;
}

static bool number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0';
}

/* ---- trace-gen ---- */

enum { OPT_REQUESTS = 1, OPT_SEED, OPT_TRACE, OPT_SSD, OPT_CLOSED, OPT_OPEN, OPT_JSON, OPT_HELP };

static void print_kinds(void)
{
    fputs(gen_usage, stdout);
    for (int i = 0; i < GEN_KIND_NR; i++)
        printf("  %-12s %s\n", gen_kind_name((enum gen_kind)i), gen_kind_text((enum gen_kind)i));
}

static int write_trace(const struct trace *t)
{
    for (size_t i = 0; i < t->nr; i++)
        printf("%" PRId64 ",%c,%" PRIu64 ",%u\n", t->req[i].t_us, t->req[i].write ? 'W' : 'R', t->req[i].off_bytes,
               t->req[i].len_bytes);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "firn-sim trace-gen: the trace cannot be written: %s\n", strerror(errno));
        return 1;
    }
    return 0;
}

int trace_gen_main(int argc, char **argv)
{
    static const struct option options[] = {
        {"requests", required_argument, NULL, OPT_REQUESTS}, {"seed", required_argument, NULL, OPT_SEED},
        {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0},
    };
    uint64_t requests = 60000, seed = 1;
    struct trace t = {0};
    int opt, kind, rc;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == OPT_HELP) {
            print_kinds();
            return 0;
        }
        if (opt == '?')
            return 2;
        if (!number(optarg, opt == OPT_SEED ? &seed : &requests) || requests == 0 || requests > REQUESTS_MAX)
            return bad("trace-gen", opt == OPT_SEED ? "--seed: not a number" : "--requests: not a number from 1 to 100000000", optarg);
    }
    if (optind + 1 != argc)
        return bad("trace-gen", "one kind of trace is needed", optind == argc ? "KIND" : argv[optind + 1]);
    kind = gen_kind_parse(argv[optind]);
    if (kind < 0)
#define X(tag, name, text) " " name
        return bad("trace-gen", "no such kind; there are" GEN_KINDS(X), argv[optind]);
#undef X
    gen_trace((enum gen_kind)kind, seed, (size_t)requests, &t);
    rc = write_trace(&t);
    trace_free(&t);
    return rc;
}

/* ---- peers ---- */

struct peers_args { const char *trace, *ssd; bool closed, open, json; };

static double mb(uint64_t bytes) { return (double)bytes / 1e6; }

static double hit(const struct peer_score *s) { return s->blocks_read == 0 ? 0 : (double)s->blocks_hit / (double)s->blocks_read; }

static void add_text(struct strbuf *out, const char *name, const struct peer_score *s)
{
    strbuf_add(out, "%-8s %9.3f %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %12.3f %12.3f %12.3f %12.3f %14.6f %12.3f\n", name, 100 * hit(s),
               s->hdd_reads, s->hdd_writes, s->hdd_seeks, mb(s->hdd_read_bytes), mb(s->hdd_write_bytes), mb(s->ssd_write_bytes),
               (double)s->hdd_busy_ns / 1e9, s->mean_ns / 1e6, (double)s->p99_ns / 1e6);
}

static void add_json(struct strbuf *out, const char *name, const struct peer_score *s)
{
    strbuf_add(out, "{\"name\": \"%s\", \"read_hit\": %.9f, \"hdd_reads\": %" PRIu64 ", \"hdd_writes\": %" PRIu64
               ", \"hdd_seeks\": %" PRIu64 ", ", name, hit(s), s->hdd_reads, s->hdd_writes, s->hdd_seeks);
    strbuf_add(out, "\"hdd_read_mb\": %.6f, \"hdd_write_mb\": %.6f, \"ssd_write_mb\": %.6f, \"hdd_busy_s\": %.9f, \"mean_ms\": %.9f, "
               "\"p99_ms\": %.6f}", mb(s->hdd_read_bytes), mb(s->hdd_write_bytes), mb(s->ssd_write_bytes), (double)s->hdd_busy_ns / 1e9,
               s->mean_ns / 1e6, (double)s->p99_ns / 1e6);
}

static uint64_t bytes_written(const struct trace *t)
{
    uint64_t blocks = 0;

    for (size_t i = 0; i < t->nr; i++)
        blocks += t->req[i].write ? trace_last(&t->req[i]) - trace_first(&t->req[i]) + 1 : 0;
    return blocks * BLOCK_BYTES;
}

static void print_peers(const struct peers_args *a, const struct trace *t, uint64_t ssd_bytes)
{
    bool closed = peer_closed(t, a->closed, a->open);
    struct strbuf out;

    strbuf_init(&out);
    if (a->json)
        strbuf_add(&out, "{\"requests\": %zu, \"footprint_bytes\": %" PRIu64 ", \"span_bytes\": %" PRIu64 ", \"ssd_bytes\": %" PRIu64
                   ", \"host_write_mb\": %.6f, \"closed\": %s, \"peers\": [", t->nr, t->blocks * BLOCK_BYTES,
                   ROUND_UP(t->end_bytes, GIB), ssd_bytes, mb(bytes_written(t)), closed ? "true" : "false");
    else
        strbuf_add(&out, "%-8s %9s %10s %10s %10s %12s %12s %12s %12s %14s %12s\n", closed ? "closed" : "open", "hits %", "HDD reads",
                   "writes", "seeks", "read MB", "write MB", "SSD MB", "HDD busy s", "mean ms", "p99 ms");
    for (int k = 0; k < PEER_NR; k++) {
        struct peer_score s;

        peer_run((enum peer_kind)k, t, ssd_bytes, closed, &s);
        if (a->json && k > 0)
            strbuf_add(&out, ", ");
        (a->json ? add_json : add_text)(&out, peer_name((enum peer_kind)k), &s);
    }
    if (a->json)
        strbuf_add(&out, "]}\n");
    fputs(strbuf_str(&out), stdout);
    strbuf_fini(&out);
}

static int take(struct peers_args *a, int opt)
{
    switch (opt) {
    case OPT_TRACE:  a->trace = optarg; return 0;
    case OPT_SSD:    a->ssd = optarg; return 0;
    case OPT_CLOSED: a->closed = true; return 0;
    case OPT_OPEN:   a->open = true; return 0;
    case OPT_JSON:   a->json = true; return 0;
    case OPT_HELP:
        fputs(peers_usage, stdout);
        exit(0);
    default:
        return 2; /* getopt_long has said why */
    }
}

int peers_main(int argc, char **argv)
{
    static const struct option options[] = {
        {"trace", required_argument, NULL, OPT_TRACE}, {"ssd", required_argument, NULL, OPT_SSD},
        {"closed", no_argument, NULL, OPT_CLOSED},     {"open", no_argument, NULL, OPT_OPEN},
        {"json", no_argument, NULL, OPT_JSON},         {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0},
    };
    struct peers_args a = {.ssd = "10%"};
    struct trace t = {0};
    uint64_t ssd_bytes;
    char why[512];
    int opt, rc = 0;

    while (rc == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1)
        rc = take(&a, opt);
    if (rc == 0 && (optind != argc || a.trace == NULL))
        rc = bad("peers", "a trace is needed, and nothing else", optind != argc ? argv[optind] : "--trace FILE");
    if (rc == 0 && a.closed && a.open)
        rc = bad("peers", "one of the two", "--closed, --open");
    if (rc != 0)
        return rc;
    if (trace_read(a.trace, &t, why) != 0) {
        fprintf(stderr, "%s\n", why);
        return 2;
    }
    if (replay_ssd_parse(a.ssd, t.blocks * BLOCK_BYTES, &ssd_bytes))
        print_peers(&a, &t, ssd_bytes);
    else
        rc = bad("peers", "--ssd: neither a size up to 15TiB (8GiB) nor a percentage up to 1000%", a.ssd);
    trace_free(&t);
    return rc;
}
