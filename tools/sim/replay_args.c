/* SPDX-License-Identifier: Apache-2.0 */
/* replay_args.c: `firn-sim replay`: command line, configuration, files; the work is replay.c's. */
#include "tools/sim/replay_args.h"

#include "base/err.h"
#include "base/log.h"
#include "base/sizefmt.h"
#include "daemon/config.h"
#include "tools/sim/replay.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
    "usage: firn-sim replay --trace FILE[.gz] [--profile balanced] [--config F] [--ssd SIZE|PERCENT%] [--hdd N]\n"
    "                       [--closed] [--json] [--oplog F]\n"
    "\n"
    "Replays a block trace through the engine on modelled devices in virtual time and prints the scorecard.\n"
    "A line of a trace is t_us,op,offset,len: microseconds or -1 (when the request before it is answered), R or W, bytes.\n"
    "\n"
    "  --trace FILE           the trace; may be compressed with gzip\n"
    "  --profile P            balanced, the only one that this engine knows\n"
    "  --config F             take the knobs of tier, mover and journal from a firn.conf; its devices are not used\n"
    "  --ssd SIZE|PERCENT%    the SSD's segments: a size, or a part of the trace's footprint (10%)\n"
    "  --hdd N                HDDs behind it, 1 to 16 (1)\n"
    "  --closed               do not look at the trace's times: one request outstanding\n"
    "  --json                 one JSON document on standard output\n"
    "  --oplog F              write each device command as H|S,R|W,offset,len; of the second HDD on into F.1, F.2, ...\n"
    "exit status: 0 done, 1 the replay failed, 2 command line, configuration or trace are wrong\n";

struct args {
    const char *trace_path, *config, *ssd, *oplog;
    uint32_t    nr_hdd;
    bool        json, closed;
};

static int bad(const char *what, const char *value)
{
    fprintf(stderr, "firn-sim replay: %s: %s (see --help)\n", what, value);
    return 2;
}

/* ---- words ---- */

/* Digits, perhaps a point and digits. strtod() would also take "inf", "0x1p3" and a locale's comma. */
static bool percent_parse(const char *text, double *out)
{
    double unit = 1;
    const char *c = text;

    for (*out = 0; *c >= '0' && *c <= '9'; c++)
        *out = *out * 10 + (*c - '0');
    if (c == text)
        return false;
    if (*c == '.' && (c[1] < '0' || c[1] > '9'))
        return false;
    for (c += *c == '.'; *c >= '0' && *c <= '9'; c++)
        *out += (*c - '0') * (unit /= 10);
    return strcmp(c, "%") == 0 && *out > 0 && *out <= 1000;
}

bool replay_ssd_parse(const char *text, uint64_t footprint_bytes, uint64_t *bytes)
{
    double percent;

    if (percent_parse(text, &percent))
        *bytes = (uint64_t)((double)footprint_bytes * percent / 100);
    else if (size_parse(text, bytes) != 0 || *bytes > VOLUME_BYTES_MAX)
        return false;
    *bytes = ROUND_DOWN(*bytes, (uint64_t)BLOCK_BYTES);
    return true;
}

enum { OPT_TRACE = 1, OPT_PROFILE, OPT_CONFIG, OPT_SSD, OPT_HDD, OPT_CLOSED, OPT_JSON, OPT_OPLOG, OPT_HELP };

static const struct option options[] = {
    {"trace", required_argument, NULL, OPT_TRACE},   {"profile", required_argument, NULL, OPT_PROFILE},
    {"config", required_argument, NULL, OPT_CONFIG}, {"ssd", required_argument, NULL, OPT_SSD},
    {"hdd", required_argument, NULL, OPT_HDD},       {"json", no_argument, NULL, OPT_JSON},
    {"closed", no_argument, NULL, OPT_CLOSED},
    {"oplog", required_argument, NULL, OPT_OPLOG},   {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static int take_hdd(struct args *a, const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || n < 1 || n > REPLAY_HDDS_MAX)
        return bad("--hdd: not a number from 1 to 16", text);
    a->nr_hdd = (uint32_t)n;
    return 0;
}

static int take(struct args *a, int opt)
{
    switch (opt) {
    case OPT_TRACE:  a->trace_path = optarg; return 0;
    case OPT_CONFIG: a->config = optarg; return 0;
    case OPT_SSD:    a->ssd = optarg; return 0;
    case OPT_OPLOG:  a->oplog = optarg; return 0;
    case OPT_JSON:   a->json = true; return 0;
    case OPT_CLOSED: a->closed = true; return 0;
    case OPT_HDD:    return take_hdd(a, optarg);
    case OPT_PROFILE:
        return strcmp(optarg, "balanced") == 0 ? 0 : bad("--profile: balanced is the only one; there is no such profile", optarg);
    case OPT_HELP:
        fputs(usage, stdout);
        exit(0);
    default:
        fputs("firn-sim: see firn-sim replay --help\n", stderr); /* getopt_long has said why */
        return 2;
    }
}

static int parse(struct args *a, int argc, char **argv)
{
    int opt, rc = 0;

    while (rc == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1)
        rc = take(a, opt);
    if (rc == 0 && optind != argc)
        rc = bad("unexpected word", argv[optind]);
    if (rc == 0 && (a->trace_path == NULL || a->trace_path[0] == '\0'))
        rc = bad("a trace is needed", "--trace FILE");
    return rc;
}

/* ---- files ---- */

static int load_config(const struct args *a, struct tier_opts *tune)
{
    struct config *c = calloc(1, sizeof(*c));
    struct strbuf problems;
    int err = 0;

    assert(c != NULL);
    strbuf_init(&problems);
    config_defaults(c);
    if (a->config != NULL && access(a->config, R_OK) != 0) {
        strbuf_add(&problems, "firn-sim replay: --config: %s: %s\n", a->config, err_text(-errno));
        err = -FIRN_E_INVALID;
    } else if (a->config != NULL)
        err = config_load(a->config, c, &problems);
    if (err == 0 && config_num(c, tier_dirty_start) >= config_num(c, tier_dirty_max)) {
        strbuf_add(&problems, "%s:%u: tier.dirty_start: not below tier.dirty_max\n", a->config, c->line[CONFIG_KEY_tier_dirty_start]);
        err = -FIRN_E_INVALID;
    }
    if (err == 0)
        config_tier_opts(c, tune);
    else
        fprintf(stderr, "%s", strbuf_str(&problems));
    strbuf_fini(&problems);
    free(c);
    return err == 0 ? 0 : 2;
}

static int oplog_open(const char *path, struct replay_opts *o)
{
    char name[512];

    for (uint32_t i = 0; i < o->nr_hdd; i++) {
        if (i == 0)
            snprintf(name, sizeof(name), "%s", path);
        else
            snprintf(name, sizeof(name), "%.500s.%u", path, i);
        o->oplog[i] = fopen(name, "w");
        if (o->oplog[i] == NULL)
            return bad(name, strerror(errno));
    }
    return 0;
}

static int oplog_close(struct replay_opts *o)
{
    int rc = 0;

    for (uint32_t i = 0; i < o->nr_hdd; i++) {
        bool failed = o->oplog[i] != NULL && ferror(o->oplog[i]);

        if (o->oplog[i] != NULL && (fclose(o->oplog[i]) != 0 || failed)) {
            fprintf(stderr, "firn-sim replay: the log of commands cannot be written\n");
            rc = 1;
        }
    }
    return rc;
}

/* ---- the run ---- */

static int size_ssd(const struct args *a, struct replay_opts *o)
{
    uint64_t footprint = o->trace->blocks * BLOCK_BYTES, min;
    char have[32], want[32];

    if (!replay_ssd_parse(a->ssd, footprint, &o->ssd_bytes))
        return bad("--ssd: neither a size (8GiB) nor a percentage up to 1000%", a->ssd);
    min = replay_ssd_min(o);
    if (o->ssd_bytes >= min)
        return 0;
    fprintf(stderr, "firn-sim replay: --ssd: %s is an SSD of %s, too small for the engine, which needs %s: say --ssd %llu, or more\n",
            a->ssd, size_format(o->ssd_bytes, have), size_format(min, want), (unsigned long long)min);
    return 2;
}

static int run(const struct args *a, struct replay_opts *o)
{
    struct score score;
    struct strbuf out;
    char why[256];
    int err = replay_run(o, &score, why);

    if (err != 0) {
        fprintf(stderr, "firn-sim replay: %s: %s\n", a->trace_path, why);
        score_fini(&score);
        return 1;
    }
    strbuf_init(&out);
    if (a->json)
        score_json(&out, &score);
    else
        score_print(&out, &score);
    fputs(strbuf_str(&out), stdout);
    strbuf_fini(&out);
    score_fini(&score);
    return 0;
}

int replay_main(int argc, char **argv)
{
    struct args a = {.ssd = "10%", .nr_hdd = 1};
    struct tier_opts tune;
    struct replay_opts o = {.tune = &tune};
    struct trace trace_in = {0};
    char why[512];
    int rc = parse(&a, argc, argv), closed;

    log_set_level(LOG_LEVEL_WARN);
    o.nr_hdd = a.nr_hdd;
    o.closed = a.closed;
    if (rc == 0)
        rc = load_config(&a, &tune);
    if (rc == 0 && trace_read(a.trace_path, &trace_in, why) != 0) {
        fprintf(stderr, "%s\n", why);
        rc = 2;
    }
    o.trace = &trace_in;
    if (rc == 0)
        rc = size_ssd(&a, &o);
    if (rc == 0 && a.oplog != NULL)
        rc = oplog_open(a.oplog, &o);
    if (rc == 0)
        rc = run(&a, &o);
    closed = oplog_close(&o);
    trace_free(&trace_in);
    return rc != 0 ? rc : closed;
}
