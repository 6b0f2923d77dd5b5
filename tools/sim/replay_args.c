/* SPDX-License-Identifier: Apache-2.0 */
/* replay_args.c: `firn-sim replay` and `firn-sim size`: command line, configuration, files; the work is replay.c's and
 * size_curve.c's. */
#include "tools/sim/replay_args.h"

#include "base/err.h"
#include "base/log.h"
#include "base/sizefmt.h"
#include "daemon/config.h"
#include "tools/sim/peer.h"
#include "tools/sim/replay.h"
#include "tools/sim/size_curve.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
    "usage: firn-sim replay --trace FILE[.gz] [--profile P] [--config F] [--ssd SIZE|PERCENT%] [--hdd N]\n"
    "                       [--closed|--open] [--json] [--oplog F]\n"
    "\n"
    "Replays a block trace through the engine on modelled devices in virtual time and prints the scorecard.\n"
    "A line of a trace is t_us,op,offset,len: microseconds or -1 (when the request before it is answered), R or W, bytes.\n"
    "\n"
    "  --trace FILE           the trace; may be compressed with gzip\n"
    "  --config F             take the knobs of tier, mover and journal from a firn.conf; its devices are not used, and one with\n"
    "                         pool.cache or SSDs in pool.capacity is refused: neither is modelled\n"
    "  --profile P            balanced, low-wear, mysql, cassandra or archive, whatever the configuration says; its other keys count\n"
    "  --ssd SIZE|PERCENT%    the SSD's segments: a size, or a part of the trace's footprint (10%)\n"
    "  --hdd N                HDDs behind it, 1 to 16 (1)\n"
    "  --closed               do not look at the trace's times: one request outstanding\n"
    "  --open                 look at them, even where one HDD alone would need more than three times as long\n"
    "  --json                 one JSON document on standard output\n"
    "  --oplog F              write each device command as H|S,R|W,offset,len; of the second HDD on into F.1, F.2, ...\n"
    "exit status: 0 done, 1 the replay failed, 2 command line, configuration or trace are wrong\n";

static const char size_usage[] =
    "usage: firn-sim size --trace FILE[.gz] [--profile P] [--config F] [--hdd N] [--closed|--open]\n"
    "                     [--sizes LIST] [--json] [--svg F]\n"
    "\n"
    "Replays a block trace at several sizes of the SSD and prints, for each, hit ratio, load of the HDDs, latency and wear.\n"
    "\n"
    "  --sizes LIST           sizes, or parts of the trace's footprint, with commas (1%,2%,5%,10%,20%,50%,100%); what is\n"
    "                         too small for the engine is named, not replayed\n"
    "  --svg F                draw the curves into this file, too\n"
    "The others are those of firn-sim replay.\n";

struct args {
    bool        sizes_wanted;     /* the verb is size */
    const char *trace_path, *config, *profile, *ssd, *oplog, *sizes, *svg;
    uint32_t    nr_hdd;
    bool        json, closed, open;
};

static const char *verb = "replay"; /* for complaints */

static int bad(const char *what, const char *value)
{
    fprintf(stderr, "firn-sim %s: %s: %s (see --help)\n", verb, what, value);
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
    else if (size_parse(text, bytes) != 0)
        return false;
    if (*bytes > REPLAY_SSD_BYTES_MAX)
        return false;
    *bytes = ROUND_DOWN(*bytes, (uint64_t)BLOCK_BYTES);
    return true;
}

enum { OPT_TRACE = 1, OPT_PROFILE, OPT_CONFIG, OPT_SSD, OPT_HDD, OPT_CLOSED, OPT_OPEN, OPT_JSON, OPT_OPLOG, OPT_SIZES, OPT_SVG,
       OPT_HELP };

static const struct option replay_options[] = {
    {"trace", required_argument, NULL, OPT_TRACE},   {"profile", required_argument, NULL, OPT_PROFILE},
    {"config", required_argument, NULL, OPT_CONFIG}, {"ssd", required_argument, NULL, OPT_SSD},
    {"hdd", required_argument, NULL, OPT_HDD},       {"json", no_argument, NULL, OPT_JSON},
    {"closed", no_argument, NULL, OPT_CLOSED},       {"open", no_argument, NULL, OPT_OPEN},
    {"oplog", required_argument, NULL, OPT_OPLOG},   {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static const struct option size_options[] = {
    {"trace", required_argument, NULL, OPT_TRACE},   {"profile", required_argument, NULL, OPT_PROFILE},
    {"config", required_argument, NULL, OPT_CONFIG}, {"sizes", required_argument, NULL, OPT_SIZES},
    {"hdd", required_argument, NULL, OPT_HDD},       {"json", no_argument, NULL, OPT_JSON},
    {"closed", no_argument, NULL, OPT_CLOSED},       {"open", no_argument, NULL, OPT_OPEN},
    {"svg", required_argument, NULL, OPT_SVG},       {"help", no_argument, NULL, OPT_HELP},
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
    case OPT_SIZES:  a->sizes = optarg; return 0;
    case OPT_SVG:    a->svg = optarg; return 0;
    case OPT_OPEN:   a->open = true; return 0;
    case OPT_JSON:   a->json = true; return 0;
    case OPT_CLOSED: a->closed = true; return 0;
    case OPT_HDD:    return take_hdd(a, optarg);
    case OPT_PROFILE:
        a->profile = optarg;
        return config_profile_valid(optarg) ? 0 : bad("--profile: neither balanced, low-wear, mysql, cassandra nor archive", optarg);
    case OPT_HELP:
        fputs(a->sizes_wanted ? size_usage : usage, stdout);
        exit(0);
    default:
        fprintf(stderr, "firn-sim: see firn-sim %s --help\n", verb); /* getopt_long has said why */
        return 2;
    }
}

static int parse(struct args *a, int argc, char **argv)
{
    const struct option *options = a->sizes_wanted ? size_options : replay_options;
    int opt, rc = 0;

    while (rc == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1)
        rc = take(a, opt);
    if (rc == 0 && a->closed && a->open)
        rc = bad("one of the two", "--closed, --open");
    if (rc == 0 && optind != argc)
        rc = bad("unexpected word", argv[optind]);
    if (rc == 0 && (a->trace_path == NULL || a->trace_path[0] == '\0'))
        rc = bad("a trace is needed", "--trace FILE");
    return rc;
}

/* ---- files ---- */

#define SSD_BLOCK_BYTES 512u /* the modelled SSD's: headers may be as small, unless a configuration says otherwise */

static int refuse(struct strbuf *problems, const char *file, unsigned line, const char *what)
{
    strbuf_add(problems, "%s:%u: %s; give --config a copy of the file without it\n", file, line, what);
    return -FIRN_E_INVALID;
}

/* Devices are the model's own; but figures of one SSD and of HDDs are not those of a pool that has more than these. */
static int refuse_devices(const char *file, const struct config *c, struct strbuf *problems)
{
    if (c->nr_cache > 0)
        return refuse(problems, file, c->cache[0].line, "pool.cache: not modelled: one SSD is both log and cache");
    for (unsigned i = 0; i < c->nr_capacity; i++)
        if (c->capacity[i].media == TIER_MEDIA_SSD)
            return refuse(problems, file, c->capacity[i].line, "pool.capacity: media = \"ssd\" is not modelled: all are HDDs, alike");
    return 0;
}

static int load_config(const struct args *a, struct tier_opts *tune)
{
    struct config *c = calloc(1, sizeof(*c));
    enum config_key wrong;
    struct strbuf problems;
    char why[256];
    int err = 0;

    assert(c != NULL);
    strbuf_init(&problems);
    config_defaults(c);
    if (a->config != NULL && access(a->config, R_OK) != 0) {
        strbuf_add(&problems, "firn-sim replay: --config: %s: %s\n", a->config, err_text(-errno));
        err = -FIRN_E_INVALID;
    } else if (a->config != NULL)
        err = config_load(a->config, c, &problems);
    if (err == 0)
        err = refuse_devices(a->config, c, &problems);
    if (a->profile != NULL && config_set_text(c, CONFIG_KEY_tier_profile, a->profile, why) == 0)
        config_profile_apply(c);
    if (c->line[CONFIG_KEY_journal_align] == 0)
        c->v[CONFIG_KEY_journal_align].num = SSD_BLOCK_BYTES;
    if (err == 0 && (wrong = config_dirty_wrong(c, why)) != CONFIG_KEY_NR) { /* the presets fit by themselves: there is a file */
        strbuf_add(&problems, "%s:%u: %s: %s\n", a->config, c->line[wrong], config_key_info(wrong)->path, why);
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
    uint64_t min;
    char have[32], want[32];

    if (!replay_ssd_parse(a->ssd, o->trace->blocks * BLOCK_BYTES, &o->ssd_bytes))
        return bad("--ssd: neither a size up to 15TiB (8GiB) nor a percentage up to 1000%", a->ssd);
    min = replay_ssd_min(o);
    if (o->ssd_bytes >= min)
        return 0;
    fprintf(stderr, "firn-sim replay: --ssd: %s is an SSD of %s, too small for the engine, which needs %s: say --ssd %llu, "
            "or more; a part of the trace's footprint ends in %%\n", a->ssd, size_format(o->ssd_bytes, have), size_format(min, want),
            (unsigned long long)min);
    return 2;
}

static int failed(const struct args *a, const char *why)
{
    fprintf(stderr, "firn-sim %s: %s: %s\n", verb, a->trace_path, why);
    return 1;
}

static int run_once(const struct args *a, struct replay_opts *o)
{
    struct score score;
    struct strbuf out;
    char why[256];

    if (replay_run(o, &score, why) != 0) {
        score_fini(&score);
        return failed(a, why);
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

static int run_replay(const struct args *a, struct replay_opts *o)
{
    int rc = size_ssd(a, o), closed;

    if (rc == 0 && a->oplog != NULL)
        rc = oplog_open(a->oplog, o);
    if (rc == 0)
        rc = run_once(a, o);
    closed = oplog_close(o);
    return rc != 0 ? rc : closed;
}

static int take_sizes(const struct args *a, struct size_curve *curve, const struct trace *t)
{
    const char *at = a->sizes;
    char word[64];

    for (curve->nr = 0; ; curve->nr++) {
        size_t n = strcspn(at, ",");

        if (curve->nr == SIZE_POINTS_MAX)
            return bad("more than 32 sizes", a->sizes);
        snprintf(word, sizeof(word), "%.*s", (int)MIN(n, sizeof(word) - 1), at);
        if (!replay_ssd_parse(word, t->blocks * BLOCK_BYTES, &curve->point[curve->nr].ssd_bytes))
            return bad("neither a size up to 15TiB nor a percentage up to 1000%", word);
        if (at[n] == '\0')
            break;
        at += n + 1;
    }
    curve->nr++;
    return 0;
}

static int write_svg(const char *path, const struct size_curve *curve)
{
    struct strbuf out;
    FILE *f = fopen(path, "w");
    bool wrong;

    if (f == NULL)
        return bad(path, strerror(errno));
    strbuf_init(&out);
    size_curve_svg(&out, curve);
    wrong = fputs(strbuf_str(&out), f) == EOF;
    strbuf_fini(&out);
    if (fclose(f) != 0 || wrong) {
        fprintf(stderr, "firn-sim size: %s cannot be written\n", path);
        return 1;
    }
    return 0;
}

/* Before minutes of replays; what is there stays until there is another picture. */
static int can_write(const char *path)
{
    FILE *f = fopen(path, "a");

    if (f == NULL)
        return bad(path, strerror(errno));
    fclose(f);
    return 0;
}

static int run_sizes(const struct args *a, struct replay_opts *o)
{
    struct size_curve curve;
    struct strbuf out;
    char why[256];
    int rc = take_sizes(a, &curve, o->trace);

    if (rc == 0 && a->svg != NULL)
        rc = can_write(a->svg);
    if (rc != 0)
        return rc;
    if (size_curve_run(o, &curve, why) != 0)
        return failed(a, why);
    strbuf_init(&out);
    if (a->json)
        size_curve_json(&out, &curve);
    else
        size_curve_print(&out, &curve);
    fputs(strbuf_str(&out), stdout);
    strbuf_fini(&out);
    return a->svg == NULL ? 0 : write_svg(a->svg, &curve);
}

static int run(struct args *a, int argc, char **argv)
{
    struct tier_opts tune;
    struct trace trace_in = {0};
    struct replay_opts o = {.tune = &tune, .trace = &trace_in};
    char why[512];
    int rc = parse(a, argc, argv);

    log_set_level(LOG_LEVEL_WARN);
    o.nr_hdd = a->nr_hdd;
    if (rc == 0)
        rc = load_config(a, &tune);
    if (rc == 0 && trace_read(a->trace_path, &trace_in, why) != 0) {
        fprintf(stderr, "%s\n", why);
        rc = 2;
    }
    if (rc == 0) {
        o.closed = peer_closed(&trace_in, a->closed, a->open);
        rc = a->sizes_wanted ? run_sizes(a, &o) : run_replay(a, &o);
    }
    trace_free(&trace_in);
    return rc;
}

int replay_main(int argc, char **argv)
{
    struct args a = {.ssd = "10%", .nr_hdd = 1};

    return run(&a, argc, argv);
}

int size_main(int argc, char **argv)
{
    struct args a = {.sizes_wanted = true, .nr_hdd = 1, .sizes = "1%,2%,5%,10%,20%,50%,100%"};

    verb = "size";
    return run(&a, argc, argv);
}
