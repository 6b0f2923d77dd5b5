/* SPDX-License-Identifier: Apache-2.0 */
/* opts.c: see opts.h. */
#include "opts.h"

#include "base/sizefmt.h"
#include "zipf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum kind { K_TEXT, K_RW, K_U32, K_U64, K_PORT, K_SIZE, K_SIZE32, K_TIME, K_RATE, K_FLAG, K_INT };

#define HOSTNQN_DEFAULT "nqn.2014-08.org.nvmexpress:uuid:6669726e-6265-4e63-8800-000000000001"
#define ANY             UINT64_MAX
#define BS_MAX          (64 * MIB)
#define KATO_MAX_NS     (UINT32_MAX * NS_PER_MS)

/* lo, hi: of the number, or of a text's length; hi ANY: no upper end. */
struct option_desc { const char *name; enum kind kind; size_t off; uint64_t lo, hi; const char *arg, *help; };
#define OPT(name, kind, member, lo, hi, arg, help) {name, kind, offsetof(struct bench_opts, member), lo, hi, arg, help}
#define TEXT(name, member, arg, help) \
    {name, K_TEXT, offsetof(struct bench_opts, member), 1, sizeof(((struct bench_opts *)0)->member) - 1, arg, help}

static const struct option_desc options[] = {
    TEXT("host", host, "ADDRESS", "target's address (127.0.0.1)"),
    OPT("port", K_PORT, port, 1, 65535, "N", "target's port (4420)"),
    TEXT("nqn", nqn, "NQN", "subsystem to connect to"),
    TEXT("hostnqn", hostnqn, "NQN", "this host's name (" HOSTNQN_DEFAULT ")"),
    OPT("rw", K_RW, rw, 0, 0, "KIND", "read, write, mixed, randread, randwrite, randmixed (randread)"),
    OPT("read-pct", K_U32, read_pct, 0, 100, "N", "reads in a mixed load, percent (70)"),
    OPT("trim-pct", K_U32, trim_pct, 0, 100, "N", "writes that become deallocations, percent (0)"),
    OPT("zero-pct", K_U32, zero_pct, 0, 100, "N", "writes that become write zeroes, percent (0)"),
    OPT("bs", K_SIZE32, bs_bytes, 512, BS_MAX, "SIZE", "bytes a request (4KiB)"),
    OPT("qd", K_U32, qd, 1, INI_DEPTH_MAX, "N", "requests outstanding on each I/O queue (32)"),
    OPT("connections", K_U32, connections, 1, THREADS_MAX * ASSOC_IO_MAX, "N", "I/O queues, shared out among the threads (1)"),
    OPT("threads", K_U32, threads, 1, THREADS_MAX, "N",
        "threads, each with a part of the range; they are one host with one controller (1)"),
    OPT("own-hosts", K_FLAG, own_hosts, 0, 0, "",
        "each thread a host of its own, its number behind the host's name: for a namespace that many may use"),
    OPT("time", K_TIME, time_ns, NS_PER_MS, ANY, "DURATION", "stop after this long (10s, if nothing else ends the run)"),
    OPT("ops", K_U64, ops, 1, ANY, "N", "stop after so many requests"),
    OPT("bytes", K_SIZE, bytes, 1, ANY, "SIZE", "stop after so many bytes"),
    OPT("zipf", K_U32, zipf_pct, 0, (uint64_t)(100 * ZIPF_THETA_MAX), "N",
        "random places by Zipf's law, the k-th most popular as often as 1/k^(N/100) (0: all alike)"),
    OPT("rate", K_RATE, rate, 0, ANY, "N[/s]", "start at most so many requests a second (0: no limit)"),
    OPT("size", K_SIZE, size_bytes, 512, ANY, "SIZE", "range to use (the whole namespace)"),
    OPT("offset", K_SIZE, offset_bytes, 0, ANY, "SIZE", "where the range begins (0)"),
    OPT("seed", K_U64, seed, 0, ANY, "N", "of the random numbers (1)"),
    OPT("warmup", K_TIME, warmup_ns, 0, ANY, "DURATION", "run this long before measuring (0s)"),
    OPT("flush-every", K_U32, flush_every, 0, UINT32_MAX, "N", "a Flush after every N writes (0: none)"),
    OPT("reconnect", K_TIME, reconnect_ns, 0, ANY, "DURATION", "go on after a lost connection, trying this long (0s: fail)"),
    OPT("timeout", K_TIME, timeout_ns, NS_PER_MS, ANY, "DURATION", "longest wait for an answer (30s)"),
    OPT("keep-alive", K_TIME, kato_ns, 0, KATO_MAX_NS, "DURATION", "keep-alive timeout announced, in whole ms (5s; 0s: none)"),
    OPT("in-capsule", K_SIZE, in_capsule, 0, ANY, "SIZE", "send at most so much data inside capsules (what the target allows)"),
    OPT("cpu", K_INT, cpu, 0, 1023, "N", "pin thread 0 to this CPU, thread 1 to the next, ..."),
    OPT("hdgst", K_FLAG, hdgst, 0, 0, "", "header digests"),
    OPT("ddgst", K_FLAG, ddgst, 0, 0, "", "data digests"),
    OPT("sq-flow", K_FLAG, sq_flow, 0, 0, "", "SQ flow control (then the target may not use the SUCCESS flag)"),
    OPT("poll", K_FLAG, poll, 0, 0, "", "spin for completions instead of sleeping"),
    OPT("fua", K_FLAG, fua, 0, 0, "", "set FUA on writes"),
    OPT("verify", K_FLAG, verify, 0, 0, "", "stamp every block written, judge every block read"),
    TEXT("ack-log", ack_log, "FILE", "log of submitted and acknowledged writes, outside the pool"),
    OPT("fresh", K_FLAG, fresh, 0, 0, "", "with a new log: the volume was never written, so blocks read as zeros (a sample is read first)"),
    OPT("idle", K_FLAG, idle, 0, 0, "", "connect and keep alive, send no I/O"),
    OPT("json", K_FLAG, json, 0, 0, "", "one JSON document on standard output"),
};

static void defaults(struct bench_opts *o)
{
    *o = (struct bench_opts){.host = "127.0.0.1", .port = 4420, .random = true, .read_pct = 70, .bs_bytes = 4096, .qd = 32,
                             .connections = 1, .threads = 1, .seed = 1, .timeout_ns = 30 * NS_PER_S, .kato_ns = 5 * NS_PER_S,
                             .in_capsule = UINT32_MAX, .cpu = -1,
                             .hostnqn = HOSTNQN_DEFAULT};
}

void opts_help(void)
{
    puts("usage: firn-bench run|verify|list|ping [options]\n"
         "  run     load a namespace; with --verify --ack-log FILE keep the evidence\n"
         "  verify  read every block that the log knows and prove that nothing acknowledged is missing\n"
         "  list    the target's discovery log\n"
         "  ping    TCP round trip on this machine: the floor under every latency\n");
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        printf("  --%-12s %-9s %s\n", options[i].name, options[i].arg, options[i].help);
    puts("\nexit: 0 done and proven; 1 failed, or a violation was found; 2 the command line is wrong");
}

static int parse_u64(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno || end == text || *end || text[0] == '-' ? -EINVAL : 0;
}

static int parse_rate(const char *text, uint64_t *out)
{
    char buf[32];
    size_t n = strlen(text);

    if (n >= sizeof(buf))
        return -EINVAL;
    memcpy(buf, text, n + 1);
    if (n > 2 && strcmp(buf + n - 2, "/s") == 0)
        buf[n - 2] = '\0';
    return parse_u64(buf, out);
}

static int parse_rw(const char *text, struct bench_opts *o)
{
    static const char *const names[] = {[RW_READ] = "read", [RW_WRITE] = "write", [RW_MIXED] = "mixed"};

    o->random = strncmp(text, "rand", 4) == 0;
    for (uint32_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(text + (o->random ? 4 : 0), names[i]) == 0) {
            o->rw = (enum bench_rw)i;
            return 0;
        }
    return -EINVAL;
}

static void store(struct bench_opts *o, const struct option_desc *d, uint64_t v)
{
    uint16_t v16 = (uint16_t)v;
    uint32_t v32 = (uint32_t)v;
    void *to = (char *)o + d->off;

    if (d->kind == K_PORT)
        memcpy(to, &v16, sizeof(v16));
    else if (d->kind == K_U32 || d->kind == K_SIZE32 || d->kind == K_INT)
        memcpy(to, &v32, sizeof(v32));
    else
        memcpy(to, &v, sizeof(v));
}

static int set_option(struct bench_opts *o, const struct option_desc *d, const char *text)
{
    uint64_t v = strlen(text);
    int err = 0;

    switch (d->kind) {
    case K_FLAG: *(bool *)((char *)o + d->off) = true; return 0;
    case K_RW: return parse_rw(text, o);
    case K_TEXT: break;
    case K_RATE: err = parse_rate(text, &v); break;
    case K_TIME: err = duration_parse(text, &v); break;
    case K_SIZE:
    case K_SIZE32: err = size_parse(text, &v); break;
    case K_U32:
    case K_U64:
    case K_INT:
    case K_PORT: err = parse_u64(text, &v); break;
    }
    if (err || v < d->lo || v > d->hi)
        return -EINVAL;
    if (d->kind == K_TEXT)
        memcpy((char *)o + d->off, text, v + 1);
    else
        store(o, d, v);
    return 0;
}

static void end_text(enum kind kind, uint64_t v, char out[static 32])
{
    if (kind == K_SIZE || kind == K_SIZE32)
        size_format(v, out);
    else if (kind == K_TIME)
        duration_format(v, out);
    else
        snprintf(out, 32, "%llu", (unsigned long long)v);
}

static const char *not_what(const struct option_desc *d, const char *text)
{
    uint64_t v;

    return (d->kind == K_SIZE || d->kind == K_SIZE32) && size_parse(text, &v) == -EDOM ? "a whole number of bytes" : "valid";
}

/* "2" is not enough: what the option is, and between which ends. */
static int complain_value(const struct option_desc *d, const char *text)
{
    static const char *const forms[] = {
        [K_TEXT] = "characters", [K_RW] = "read, write, mixed, randread, randwrite, randmixed", [K_U32] = "a number",
        [K_U64] = "a number", [K_PORT] = "a number", [K_INT] = "a number", [K_RATE] = "a number, or N/s", [K_FLAG] = "",
        [K_SIZE] = "a size such as 4KiB (KiB MiB GiB TiB, or bytes)", [K_SIZE32] = "a size such as 4KiB (KiB MiB GiB TiB, or bytes)",
        [K_TIME] = "a duration such as 10s (us ms s m h)"};
    char lo[32], hi[32];

    end_text(d->kind, d->lo, lo);
    end_text(d->kind, d->hi, hi);
    fprintf(stderr, "firn-bench: --%s: \"%.300s\" is not %s; allowed: %s", d->name, text, not_what(d, text), forms[d->kind]);
    if (d->kind != K_RW && d->hi != ANY)
        fprintf(stderr, ", %s to %s", lo, hi);
    else if (d->kind != K_RW && d->lo > 0)
        fprintf(stderr, ", at least %s", lo);
    fputs("; see firn-bench --help\n", stderr);
    return 2;
}

static int complain(const char *what, const char *detail)
{
    fprintf(stderr, "firn-bench: %s%s%s; see firn-bench --help\n", what, detail ? ": " : "", detail ? detail : "");
    return 2;
}

/* What is right by itself and wrong together. */
static int check(const struct bench_opts *o)
{
    if (o->bs_bytes % 512)
        return complain("--bs must be a multiple of 512 bytes", NULL);
    if (o->connections < o->threads || o->connections > o->threads * ASSOC_IO_MAX)
        return complain("--connections must be at least --threads, at most 64 a thread", NULL);
    if (!o->own_hosts && o->connections > ASSOC_IO_MAX)
        return complain("--connections is at most 64: all threads share one controller, unless --own-hosts is given", NULL);
    if (o->own_hosts && strlen(o->hostnqn) + 4 >= sizeof(o->hostnqn))
        return complain("--hostnqn is too long for --own-hosts", NULL);
    if (o->trim_pct + o->zero_pct > 100)
        return complain("--trim-pct and --zero-pct are more than 100 together", NULL);
    if (o->trim_pct && o->bs_bytes % BLOCK_BYTES)
        return complain("--trim-pct needs --bs in whole 4KiB blocks: smaller deallocations are only a hint", NULL);
    if (o->ops && o->ops < o->threads)
        return complain("--ops must be at least --threads: each thread does its share", NULL);
    if (o->bytes && o->bytes < o->threads)
        return complain("--bytes must be at least --threads: each thread does its share", NULL);
    if (o->zipf_pct && !o->random)
        return complain("--zipf needs a random --rw", NULL);
    if (o->kato_ns % NS_PER_MS)
        return complain("--keep-alive must be whole milliseconds", NULL);
    return 0;
}

static const struct option_desc *find_option(const char *text, size_t len)
{
    for (size_t k = 0; len > 2 && k < ARRAY_LEN(options); k++)
        if (strncmp(text, "--", 2) == 0 && strlen(options[k].name) == len - 2 && strncmp(text + 2, options[k].name, len - 2) == 0)
            return &options[k];
    return NULL;
}

/* One option, `--name VALUE` or `--name=VALUE`; *i moves on to its last word. */
static int take_option(int argc, char **argv, int *i, struct bench_opts *o)
{
    const char *eq = strchr(argv[*i], '='), *text;
    const struct option_desc *d = find_option(argv[*i], eq ? (size_t)(eq - argv[*i]) : strlen(argv[*i]));

    if (d == NULL)
        return complain(strncmp(argv[*i], "--", 2) == 0 ? "unknown option" : "unexpected word", argv[*i]);
    if (d->kind == K_FLAG && eq)
        return complain("takes no value", argv[*i]);
    if (d->kind != K_FLAG && !eq && *i + 1 == argc)
        return complain("a value is missing after", argv[*i]);
    text = d->kind == K_FLAG ? "" : eq ? eq + 1 : argv[++*i];
    return set_option(o, d, text) ? complain_value(d, text) : 0;
}

int opts_parse(int argc, char **argv, struct bench_opts *o)
{
    defaults(o);
    for (int i = 0; i < argc; i++)
        if (take_option(argc, argv, &i, o) != 0)
            return 2;
    if (o->connections < o->threads && o->connections == 1)
        o->connections = o->threads;
    if (o->time_ns == 0 && o->ops == 0 && o->bytes == 0)
        o->time_ns = 10 * NS_PER_S;
    return check(o);
}

void opts_assoc(const struct bench_opts *o, uint32_t thread, struct assoc_opts *out)
{
    uint32_t share = o->connections / o->threads + (thread < o->connections % o->threads ? 1 : 0);

    *out = (struct assoc_opts){.port = o->port, .io_queues = share, .depth = o->qd, .hdgst = o->hdgst, .ddgst = o->ddgst,
                               .sq_flow = o->sq_flow, .kato_ms = (uint32_t)(o->kato_ns / NS_PER_MS),
                               .timeout_ns = o->timeout_ns, .in_capsule_cap = (uint32_t)MIN(o->in_capsule, UINT32_MAX)};
    memcpy(out->host, o->host, sizeof(out->host));
    memcpy(out->subnqn, o->nqn, sizeof(out->subnqn));
    memcpy(out->hostnqn, o->hostnqn, sizeof(out->hostnqn));
    if (!o->own_hosts) {
        out->first_queue = o->connections / o->threads * thread + MIN(thread, o->connections % o->threads);
        out->all_queues = o->connections;
    } else if (thread > 0) {
        snprintf(out->hostnqn + strlen(out->hostnqn), sizeof(out->hostnqn) - strlen(out->hostnqn), "-%u", thread);
    }
    hostid_of(out->hostnqn, 0, out->hostid);
}
