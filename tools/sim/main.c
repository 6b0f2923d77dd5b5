/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: firn-sim's command line. */
#include "tools/sim/bugs.h"
#include "tools/sim/replay_args.h"
#include "tools/sim/report.h"
#include "tools/sim/trace_args.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
    "usage: firn-sim explore [--seed N] [--seeds K | --file LIST] [--jobs J] [--ops N] [--profile P] [--bug B]\n"
    "                        [--check-determinism[=ONE_IN]] [--require-faults N] [--seconds S] [--verbose] [--json]\n"
    "       firn-sim bugs    [--bug B] [--limit SEEDS] [--jobs J] [--ops N] [--seed N] [--seconds S] [--json]\n"
    "       firn-sim faults  [--seed N] [--seeds K] [--jobs J] [--ops N] [--profile P] [--seconds S] [--json]\n"
    "       firn-sim list    [--json]: profiles, planted bugs and fault classes\n"
    "       firn-sim replay  --trace FILE[.gz] ...: see firn-sim replay --help; so have size, peers and trace-gen\n"
    "\n"
    "explore runs the engine on simulated devices in virtual time, one world a seed, crashes it again and again, and\n"
    "judges every byte that is read. A failing seed prints the command that replays it.\n"
    "bugs plants one bug at a time and counts the seeds until it is caught.\n"
    "faults prints how often each class of fault fired in a run.\n"
    "replay runs a block trace through the engine on modelled devices and prints what it cost; size does so at several sizes of\n"
    "the SSD; peers prints what other caches would have needed; trace-gen makes a trace.\n"
    "\n"
    "  --seed N               the first seed (1)\n"
    "  --seeds K              how many (100)\n"
    "  --file LIST            seeds from a file: one a line, with an optional profile; # begins a comment\n"
    "  --jobs J               processes (one a processor)\n"
    "  --ops N                host requests a seed (2000)\n"
    "  --profile P            one kind of trouble for all seeds\n"
    "  --bug B                plant this bug; bugs: this one alone (firn-sim list names them)\n"
    "  --check-determinism    run one seed in ONE_IN (100) twice and compare their traces\n"
    "  --require-faults N     fail if a class of fault fired fewer than N times\n"
    "  --seconds S            a seed that takes longer counts as hung (120)\n"
    "  --limit SEEDS          bugs: give up after so many (2000)\n"
    "  --verbose              tell the story of the seed on standard error\n"
    "  --watch UNIT           with --verbose: tell of each request that touches this logical block\n"
    "  --json                 one JSON document on standard output\n"
    "firn-sim --version prints the version.\n"
    "exit status: 0 done, 1 something failed, 2 the command line is wrong\n";

struct args {
    struct explore_opts o;
    const char *file;
    uint64_t require_faults, limit;
    bool     json;
};

static int bad(const char *what, const char *value)
{
    fprintf(stderr, "firn-sim: %s: %s (see --help)\n", what, value);
    return 2;
}

static bool number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != '-';
}

enum { OPT_SEED, OPT_SEEDS, OPT_FILE, OPT_JOBS, OPT_OPS, OPT_PROFILE, OPT_BUG, OPT_DET, OPT_REQ, OPT_SECONDS, OPT_LIMIT,
       OPT_WATCH, OPT_VERBOSE, OPT_JSON, OPT_HELP, OPT_NR };
enum verb { EXPLORE = 1, BUGS = 2, FAULTS = 4, LIST = 8 };

/* lo, hi: of a number; hi 0: it is none. verbs: who takes it. */
static const struct { const char *name; int has_arg; unsigned verbs; uint64_t lo, hi; } rows[OPT_NR] = {
    [OPT_SEED] = {"seed", required_argument, EXPLORE | BUGS | FAULTS, 0, UINT64_MAX},
    [OPT_SEEDS] = {"seeds", required_argument, EXPLORE | FAULTS, 1, UINT32_MAX},
    [OPT_FILE] = {"file", required_argument, EXPLORE, 0, 0},
    [OPT_JOBS] = {"jobs", required_argument, EXPLORE | BUGS | FAULTS, 1, 1024},
    [OPT_OPS] = {"ops", required_argument, EXPLORE | BUGS | FAULTS, 1, UINT32_MAX},
    [OPT_PROFILE] = {"profile", required_argument, EXPLORE | FAULTS, 0, 0},
    [OPT_BUG] = {"bug", required_argument, EXPLORE | BUGS, 0, 0},
    [OPT_DET] = {"check-determinism", optional_argument, EXPLORE, 1, UINT32_MAX},
    [OPT_REQ] = {"require-faults", required_argument, EXPLORE, 0, UINT32_MAX},
    [OPT_SECONDS] = {"seconds", required_argument, EXPLORE | BUGS | FAULTS, 1, 86400},
    [OPT_LIMIT] = {"limit", required_argument, BUGS, 1, UINT32_MAX},
    [OPT_WATCH] = {"watch", required_argument, EXPLORE, 0, UINT64_MAX},
    [OPT_VERBOSE] = {"verbose", no_argument, EXPLORE, 0, 0},
    [OPT_JSON] = {"json", no_argument, EXPLORE | BUGS | FAULTS | LIST, 0, 0},
    [OPT_HELP] = {"help", no_argument, EXPLORE | BUGS | FAULTS | LIST, 0, 0},
};

static int take_word(struct args *a, int opt)
{
    switch (opt) {
    case OPT_FILE:
        a->file = optarg;
        return 0;
    case OPT_PROFILE:
        a->o.profile = sim_profile_parse(optarg);
        return a->o.profile < 0 ? bad("unknown profile, firn-sim list names them", optarg) : 0;
    case OPT_BUG:
        a->o.bug = sim_bug_parse(optarg);
        return a->o.bug < 0 ? bad("unknown planted bug, firn-sim list names them", optarg) : 0;
    case OPT_VERBOSE:
        a->o.verbose = true;
        return 0;
    case OPT_JSON:
        a->json = true;
        return 0;
    default:
        fputs(usage, stdout); /* OPT_HELP */
        exit(0);
    }
}

static int take_number(struct args *a, int opt)
{
    uint64_t n = 100; /* --check-determinism alone */

    if (optarg != NULL && (!number(optarg, &n) || n < rows[opt].lo || n > rows[opt].hi)) {
        fprintf(stderr, "firn-sim: --%s: \"%s\" is not valid; allowed: %" PRIu64 " to %" PRIu64 " (see --help)\n", rows[opt].name, optarg,
                rows[opt].lo, rows[opt].hi);
        return 2;
    }
    switch (opt) {
    case OPT_SEED:    a->o.seed = n; break;
    case OPT_SEEDS:   a->o.seeds = n; break;
    case OPT_JOBS:    a->o.jobs = (uint32_t)n; break;
    case OPT_OPS:     a->o.ops = (uint32_t)n; break;
    case OPT_DET:     a->o.twice_in = (uint32_t)n; break;
    case OPT_REQ:     a->require_faults = n; break;
    case OPT_SECONDS: a->o.seconds_a_seed = (uint32_t)n; break;
    case OPT_LIMIT:   a->limit = n; break;
    case OPT_WATCH:   a->o.watch = n; break;
    default:          return 2;
    }
    return 0;
}

/* opt: a row's number and 1, or '?'. */
static int take(struct args *a, enum verb verb, const char *verb_name, int opt)
{
    if (opt < 1 || opt > OPT_NR) {
        fputs("firn-sim: see firn-sim --help\n", stderr); /* getopt_long has said why */
        return 2;
    }
    opt--;
    if (!(rows[opt].verbs & verb)) {
        fprintf(stderr, "firn-sim: %s does not take --%s (see --help)\n", verb_name, rows[opt].name);
        return 2;
    }
    return rows[opt].hi ? take_number(a, opt) : take_word(a, opt);
}

static int parse(struct args *a, enum verb verb, const char *verb_name, int argc, char **argv)
{
    struct option options[OPT_NR + 1] = {0};
    bool seeds = false;
    int opt, rc = 0;

    for (int i = 0; i < OPT_NR; i++)
        options[i] = (struct option){rows[i].name, rows[i].has_arg, NULL, i + 1};
    while (rc == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        seeds |= opt == OPT_SEED + 1 || opt == OPT_SEEDS + 1;
        rc = take(a, verb, verb_name, opt);
    }
    if (rc == 0 && optind != argc)
        rc = bad("unexpected word", argv[optind]);
    if (rc == 0 && a->file != NULL && seeds)
        rc = bad("--seed and --seeds are not taken with", "--file");
    return rc;
}

/* ---- seeds from a file ---- */

static int bad_line(const struct args *a, unsigned no, const char *what, const char *text)
{
    fprintf(stderr, "%s:%u: %s: %s (a line is SEED [PROFILE])\n", a->file, no, what, text);
    return 2;
}

static int explore_line(struct args *a, unsigned no, char *line, struct explore_sum *total)
{
    struct explore_opts o = a->o;
    struct explore_sum sum;
    char seed[32] = "", profile[32] = "", more[2] = "";
    int err;

    line[strcspn(line, "#\n")] = '\0';
    if (line[strspn(line, " \t\r")] == '\0')
        return 0;
    sscanf(line, "%31s %31s %1s", seed, profile, more);
    if (!number(seed, &o.seed) || more[0] != '\0')
        return bad_line(a, no, "not a seed", line);
    o.seeds = 1;
    if (profile[0] != '\0' && (o.profile = sim_profile_parse(profile)) < 0)
        return bad_line(a, no, "unknown profile", profile);
    err = explore(&o, &sum);
    total->passed += sum.passed;
    total->failed += sum.failed;
    return err == 0 ? 0 : 1;
}

static int explore_file(struct args *a)
{
    struct explore_sum total = {0};
    char line[256];
    FILE *f = fopen(a->file, "r");
    unsigned no = 0;
    int rc = 0;

    errno = f == NULL ? errno : 0;
    while (f != NULL && rc == 0 && fgets(line, sizeof(line), f) != NULL)
        rc = explore_line(a, ++no, line, &total);
    if (f == NULL || (rc == 0 && ferror(f))) {
        fprintf(stderr, "firn-sim: --file: %s: %s\n", a->file, err_text(-errno));
        rc = 2;
    } else if (rc == 0 && total.passed + total.failed == 0) {
        rc = bad("there is no seed in the file", a->file);
    }
    if (f != NULL)
        fclose(f);
    if (rc != 2)
        printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", total.passed, total.failed);
    return rc != 0 ? rc : total.failed == 0 ? 0 : 1;
}

/* ---- verbs ---- */

static int cmd_explore(struct args *a, bool table_only)
{
    struct explore_sum sum;
    unsigned rare;
    int err;

    if (a->file != NULL)
        return explore_file(a);
    err = explore(&a->o, &sum);
    if (err != 0) {
        fprintf(stderr, "firn-sim: %s\n", err_text(err));
        return 1;
    }
    rare = a->require_faults == 0 ? 0 : report_rare(&sum, a->require_faults);
    report_print(&sum, a->require_faults, a->json);
    if (rare != 0)
        printf(a->json ? "" : "%u fault classes fired fewer than %" PRIu64 " times\n", rare, a->require_faults);
    if (!a->json && !table_only)
        printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", sum.passed, sum.failed + (rare != 0));
    return sum.failed == 0 && rare == 0 ? 0 : 1;
}

static const struct { const char *verb; int (*main)(int argc, char **argv); } trace_verbs[] = {
    {"replay", replay_main}, {"size", size_main}, {"peers", peers_main}, {"trace-gen", trace_gen_main},
};

/* None of the names and texts holds a quote or a backslash. */
static void list_json(void)
{
    fputs("{\"profiles\": [", stdout);
    for (int i = 0; i < PROFILE_NR; i++)
        printf("%s\"%s\"", i ? ", " : "", sim_profile_name((enum sim_profile)i));
    fputs("],\n \"bugs\": [", stdout);
    for (int i = 0; i < BUG_NR; i++)
        printf("%s\"%s\"", i ? ", " : "", sim_bug_name((enum sim_bug)i));
    fputs("],\n \"faults\": {", stdout);
    for (int i = 0; i < SIM_FAULT_NR; i++)
        printf("%s\n  \"%s\": \"%s\"", i ? "," : "", sim_fault_name((enum sim_fault)i), sim_fault_text((enum sim_fault)i));
    puts("}}");
}

static int cmd_list(bool json)
{
    if (json) {
        list_json();
        return 0;
    }
    for (int i = 0; i < PROFILE_NR; i++)
        printf("profile %s\n", sim_profile_name((enum sim_profile)i));
    for (int i = 0; i < BUG_NR; i++)
        printf("bug %s\n", sim_bug_name((enum sim_bug)i));
    for (int i = 0; i < SIM_FAULT_NR; i++)
        printf("fault %s: %s\n", sim_fault_name((enum sim_fault)i), sim_fault_text((enum sim_fault)i));
    return 0;
}

int main(int argc, char **argv)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct args a = {.o = {.seed = 1, .seeds = 100, .jobs = cpus < 1 ? 1 : (uint32_t)cpus, .ops = 2000, .profile = -1, .bug = -1,
                           .watch = UINT64_MAX,
                           .self = argv[0]},
                     .limit = 2000};
    static char self[] = "firn-sim";
    static const struct { const char *name; enum verb verb; } verbs[] = {
        {"explore", EXPLORE}, {"bugs", BUGS}, {"faults", FAULTS}, {"list", LIST},
    };
    const char *name;
    enum verb verb = 0;
    int rc;

    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        puts("firn-sim " FIRN_VERSION);
        return 0;
    }
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        fputs(usage, argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    name = argv[1];
    argv[1] = self; /* the name that getopt_long complains under */
    for (size_t i = 0; i < ARRAY_LEN(trace_verbs); i++)
        if (strcmp(name, trace_verbs[i].verb) == 0)
            return trace_verbs[i].main(argc - 1, argv + 1);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        verb = strcmp(name, verbs[i].name) == 0 ? verbs[i].verb : verb;
    if (verb == 0)
        return bad("unknown command; there are explore, bugs, faults, list, replay, size, peers, trace-gen", name);
    rc = parse(&a, verb, name, argc - 1, argv + 1);
    if (rc != 0)
        return rc;
    if (verb == BUGS)
        return bugs_run(&a.o, a.o.bug, a.limit, a.json);
    return verb == LIST ? cmd_list(a.json) : cmd_explore(&a, verb == FAULTS);
}
