/* SPDX-License-Identifier: Apache-2.0 */
/* opts.c: see opts.h. */
#include "opts.h"

#include "base/sizefmt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum kind { K_TEXT, K_RW, K_U32, K_U64, K_PORT, K_SIZE, K_SIZE32, K_TIME, K_RATE, K_FLAG, K_INT };

#define HOSTNQN_DEFAULT "nqn.2014-08.org.nvmexpress:uuid:6669726e-6265-4e63-8800-000000000001"

struct option_desc { const char *name; enum kind kind; size_t off, room; const char *arg, *help; };
#define OPT(name, kind, member, arg, help) \
    {name, kind, offsetof(struct bench_opts, member), sizeof(((struct bench_opts *)0)->member), arg, help}

static const struct option_desc options[] = {
    OPT("host", K_TEXT, host, "ADDRESS", "target's address (127.0.0.1)"),
    OPT("port", K_PORT, port, "N", "target's port (4420)"),
    OPT("nqn", K_TEXT, nqn, "NQN", "subsystem to connect to"),
    OPT("hostnqn", K_TEXT, hostnqn, "NQN", "this host's name (" HOSTNQN_DEFAULT ")"),
    OPT("rw", K_RW, rw, "KIND", "read, write, mixed, randread, randwrite, randmixed (randread)"),
    OPT("read-pct", K_U32, read_pct, "N", "reads in a mixed load, percent (70)"),
    OPT("trim-pct", K_U32, trim_pct, "N", "writes that become deallocations, percent (0)"),
    OPT("zero-pct", K_U32, zero_pct, "N", "writes that become write zeroes, percent (0)"),
    OPT("bs", K_SIZE32, bs_bytes, "SIZE", "bytes a request (4KiB)"),
    OPT("qd", K_U32, qd, "N", "requests outstanding on each I/O queue (32)"),
    OPT("connections", K_U32, connections, "N", "I/O queues, shared out among the threads (1)"),
    OPT("threads", K_U32, threads, "N", "threads, each with a part of the range; they are one host with one controller (1)"),
    OPT("own-hosts", K_FLAG, own_hosts, "",
        "each thread a host of its own, its number behind the host's name: for a namespace that many may use"),
    OPT("time", K_TIME, time_ns, "DURATION", "stop after this long (10s, if nothing else ends the run)"),
    OPT("ops", K_U64, ops, "N", "stop after so many requests"),
    OPT("bytes", K_SIZE, bytes, "SIZE", "stop after so many bytes"),
    OPT("rate", K_RATE, rate, "N[/s]", "start at most so many requests a second"),
    OPT("size", K_SIZE, size_bytes, "SIZE", "range to use (the whole namespace)"),
    OPT("offset", K_SIZE, offset_bytes, "SIZE", "where the range begins (0)"),
    OPT("seed", K_U64, seed, "N", "of the random numbers (1)"),
    OPT("warmup", K_TIME, warmup_ns, "DURATION", "run this long before measuring (0s)"),
    OPT("flush-every", K_U32, flush_every, "N", "a Flush after every N writes (0: none)"),
    OPT("reconnect", K_TIME, reconnect_ns, "DURATION", "go on after a lost connection, trying this long (0s: fail)"),
    OPT("timeout", K_TIME, timeout_ns, "DURATION", "longest wait for an answer (30s)"),
    OPT("keep-alive", K_TIME, kato_ns, "DURATION", "keep-alive timeout announced (5s)"),
    OPT("in-capsule", K_SIZE, in_capsule, "SIZE", "send at most so much data inside capsules (what the target allows)"),
    OPT("cpu", K_INT, cpu, "N", "pin thread 0 to this CPU, thread 1 to the next, ..."),
    OPT("hdgst", K_FLAG, hdgst, "", "header digests"),
    OPT("ddgst", K_FLAG, ddgst, "", "data digests"),
    OPT("sq-flow", K_FLAG, sq_flow, "", "SQ flow control (then the target may not use the SUCCESS flag)"),
    OPT("poll", K_FLAG, poll, "", "spin for completions instead of sleeping"),
    OPT("fua", K_FLAG, fua, "", "set FUA on writes"),
    OPT("verify", K_FLAG, verify, "", "stamp every block written, judge every block read"),
    OPT("ack-log", K_TEXT, ack_log, "FILE", "log of submitted and acknowledged writes, outside the pool"),
    OPT("fresh", K_FLAG, fresh, "", "with a new log: the volume was never written, so blocks read as zeros at first"),
    OPT("idle", K_FLAG, idle, "", "connect and keep alive, send no I/O"),
    OPT("json", K_FLAG, json, "", "one JSON document on standard output"),
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

static int store_u32(void *to, int err, uint64_t v)
{
    uint32_t narrow = (uint32_t)v;

    memcpy(to, &narrow, sizeof(narrow));
    return err || v > UINT32_MAX ? -EINVAL : 0;
}

static int set_option(struct bench_opts *o, const struct option_desc *d, const char *text)
{
    void *to = (char *)o + d->off;
    uint64_t v = 0;
    int err;

    switch (d->kind) {
    case K_FLAG: *(bool *)to = true; return 0;
    case K_TEXT:
        if (strlen(text) >= d->room)
            return -EINVAL;
        memcpy(to, text, strlen(text) + 1);
        return 0;
    case K_RW: return parse_rw(text, o);
    case K_U64: return parse_u64(text, to);
    case K_RATE: return parse_rate(text, to);
    case K_SIZE: return size_parse(text, to);
    case K_TIME: return duration_parse(text, to);
    case K_U32: err = parse_u64(text, &v); return store_u32(to, err, v);
    case K_SIZE32: err = size_parse(text, &v); return store_u32(to, err, v);
    case K_INT: err = parse_u64(text, &v); return store_u32(to, err || v > 1023 ? -EINVAL : 0, v);
    case K_PORT:
        err = parse_u64(text, &v);
        *(uint16_t *)to = (uint16_t)v;
        return err || v == 0 || v > 65535 ? -EINVAL : 0;
    }
    return -EINVAL;
}

static int complain(const char *what, const char *detail)
{
    fprintf(stderr, "firn-bench: %s%s%s; see firn-bench --help\n", what, detail ? ": " : "", detail ? detail : "");
    return 2;
}

static int check(const struct bench_opts *o)
{
    if (o->bs_bytes == 0 || o->bs_bytes % 512 || o->bs_bytes > 64 * MIB)
        return complain("--bs must be a multiple of 512, at most 64MiB", NULL);
    if (o->qd == 0 || o->qd > INI_DEPTH_MAX)
        return complain("--qd must lie between 1 and 1024", NULL);
    if (o->threads == 0 || o->threads > 64 || o->connections < o->threads || o->connections > o->threads * ASSOC_IO_MAX)
        return complain("--connections must be at least --threads (1 to 64), at most 64 a thread", NULL);
    if (!o->own_hosts && o->connections > ASSOC_IO_MAX)
        return complain("--connections is at most 64: all threads share one controller, unless --own-hosts is given", NULL);
    if (o->own_hosts && strlen(o->hostnqn) + 4 >= sizeof(o->hostnqn))
        return complain("--hostnqn is too long for --own-hosts", NULL);
    if (o->read_pct > 100 || o->trim_pct + o->zero_pct > 100)
        return complain("percentages do not add up", NULL);
    if (o->trim_pct && o->bs_bytes % BLOCK_BYTES)
        return complain("--trim-pct needs --bs in whole 4KiB blocks: smaller deallocations are only a hint", NULL);
    return 0;
}

int opts_parse(int argc, char **argv, struct bench_opts *o)
{
    defaults(o);
    for (int i = 0; i < argc; i++) {
        const struct option_desc *d = NULL;

        for (size_t k = 0; k < ARRAY_LEN(options) && d == NULL; k++)
            if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, options[k].name) == 0)
                d = &options[k];
        if (d == NULL)
            return complain("unknown option", argv[i]);
        if (d->kind != K_FLAG && i + 1 == argc)
            return complain("a value is missing after", argv[i]);
        if (set_option(o, d, d->kind == K_FLAG ? "" : argv[i + 1])) {
            fprintf(stderr, "firn-bench: --%s: bad value \"%s\"\n", d->name, argv[i + 1]);
            return 2;
        }
        i += d->kind != K_FLAG;
    }
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
