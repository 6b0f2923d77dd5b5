/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: firn-sim's command line. */
#include "tools/sim/bugs.h"
#include "tools/sim/replay_args.h"
#include "tools/sim/report.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
    "usage: firn-sim explore [--seed N] [--seeds K | --file LIST] [--jobs J] [--ops N] [--profile P] [--bug B]\n"
    "                        [--check-determinism[=ONE_IN]] [--require-faults N] [--seconds S] [--verbose] [--json]\n"
    "       firn-sim bugs    [--bug B] [--limit SEEDS] [--jobs J] [--ops N] [--seed N] [--json]\n"
    "       firn-sim faults  [--seed N] [--seeds K] [--jobs J]\n"
    "       firn-sim list    profiles, planted bugs and fault classes\n"
    "       firn-sim replay  --trace FILE[.gz] ...: see firn-sim replay --help\n"
    "\n"
    "explore runs the engine on simulated devices in virtual time, one world a seed, crashes it again and again, and\n"
    "judges every byte that is read. A failing seed prints the command that replays it.\n"
    "bugs plants one bug at a time and counts the seeds until it is caught.\n"
    "faults prints how often each class of fault fired in a run.\n"
    "replay runs a block trace through the engine on modelled devices and prints what it cost.\n"
    "\n"
    "  --seed N               the first seed (1)\n"
    "  --seeds K              how many (100)\n"
    "  --file LIST            seeds from a file: one a line, with an optional profile; # begins a comment\n"
    "  --jobs J               processes (one a processor)\n"
    "  --ops N                host requests a seed (2000)\n"
    "  --profile P            one kind of trouble for all seeds\n"
    "  --check-determinism    run one seed in ONE_IN (100) twice and compare their traces\n"
    "  --require-faults N     fail if a class of fault fired fewer than N times\n"
    "  --seconds S            a seed that takes longer counts as hung (120)\n"
    "  --limit SEEDS          bugs: give up after so many (400)\n"
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

enum { OPT_SEED = 1, OPT_SEEDS, OPT_FILE, OPT_JOBS, OPT_OPS, OPT_PROFILE, OPT_BUG, OPT_DET, OPT_REQ, OPT_SECONDS, OPT_LIMIT,
       OPT_WATCH, OPT_VERBOSE, OPT_JSON, OPT_HELP };

static const struct option options[] = {
    {"seed", required_argument, NULL, OPT_SEED},         {"seeds", required_argument, NULL, OPT_SEEDS},
    {"file", required_argument, NULL, OPT_FILE},         {"jobs", required_argument, NULL, OPT_JOBS},
    {"ops", required_argument, NULL, OPT_OPS},           {"profile", required_argument, NULL, OPT_PROFILE},
    {"bug", required_argument, NULL, OPT_BUG},           {"check-determinism", optional_argument, NULL, OPT_DET},
    {"require-faults", required_argument, NULL, OPT_REQ}, {"seconds", required_argument, NULL, OPT_SECONDS},
    {"watch", required_argument, NULL, OPT_WATCH},
    {"limit", required_argument, NULL, OPT_LIMIT},       {"verbose", no_argument, NULL, OPT_VERBOSE},
    {"json", no_argument, NULL, OPT_JSON},               {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static int take_word(struct args *a, int opt)
{
    switch (opt) {
    case OPT_FILE:
        a->file = optarg;
        return 0;
    case OPT_PROFILE:
        a->o.profile = sim_profile_parse(optarg);
        return a->o.profile < 0 ? bad("unknown profile", optarg) : 0;
    case OPT_BUG:
        a->o.bug = sim_bug_parse(optarg);
        return a->o.bug < 0 ? bad("unknown planted bug", optarg) : 0;
    case OPT_VERBOSE:
        a->o.verbose = true;
        return 0;
    case OPT_JSON:
        a->json = true;
        return 0;
    default:
        fputs("firn-sim: see firn-sim --help\n", stderr); /* getopt_long has said why */
        return 2;
    }
}

static int take_number(struct args *a, int opt)
{
    uint64_t n = 100;

    if (optarg != NULL && (!number(optarg, &n) || (n > UINT32_MAX && opt != OPT_SEED)))
        return bad("not a number in range", optarg);
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

static int parse(struct args *a, int argc, char **argv)
{
    int opt, rc = 0;

    while (rc == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == OPT_HELP) {
            fputs(usage, stdout);
            exit(0);
        }
        rc = opt == OPT_FILE || opt == OPT_PROFILE || opt == OPT_BUG || opt == OPT_VERBOSE || opt == OPT_JSON || opt == '?'
                 ? take_word(a, opt) : take_number(a, opt);
    }
    if (rc == 0 && optind != argc)
        rc = bad("unexpected word", argv[optind]);
    return rc;
}

/* ---- seeds from a file ---- */

static int explore_line(struct args *a, char *line, struct explore_sum *total)
{
    struct explore_opts o = a->o;
    struct explore_sum sum;
    char profile[32] = "";
    int err;

    line[strcspn(line, "#\n")] = '\0';
    if (line[strspn(line, " \t")] == '\0')
        return 0;
    if (sscanf(line, "%" SCNu64 " %31s", &o.seed, profile) < 1)
        return bad("not a seed", line);
    o.seeds = 1;
    if (profile[0] != '\0' && (o.profile = sim_profile_parse(profile)) < 0)
        return bad("unknown profile", profile);
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
    int rc = 0;

    if (f == NULL)
        return bad("cannot be read", a->file);
    while (rc == 0 && fgets(line, sizeof(line), f) != NULL)
        rc = explore_line(a, line, &total);
    fclose(f);
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

static int cmd_list(void)
{
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
                     .limit = 400};
    static char self[] = "firn-sim";
    const char *verb;
    int rc;

    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        puts("firn-sim " FIRN_VERSION);
        return 0;
    }
    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    verb = argv[1];
    argv[1] = self; /* the name that getopt_long complains under */
    if (strcmp(verb, "replay") == 0)
        return replay_main(argc - 1, argv + 1);
    rc = parse(&a, argc - 1, argv + 1);
    if (rc != 0)
        return rc;
    if (strcmp(verb, "explore") == 0)
        return cmd_explore(&a, false);
    if (strcmp(verb, "faults") == 0)
        return cmd_explore(&a, true);
    if (strcmp(verb, "bugs") == 0)
        return bugs_run(&a.o, a.o.bug, a.limit, a.json);
    if (strcmp(verb, "list") == 0)
        return cmd_list();
    return bad("unknown command", verb);
}
