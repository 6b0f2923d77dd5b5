/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: firnctl: the table of commands, its help, and dispatch. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/firnctl/commands.h"

#define VOLUME_FIELDS (CTL(size) | CTL(lba) | CTL(tier) | CTL(iops) | CTL(bandwidth) | VOLUME_POLICY)
#define VOLUME_POLICY (CTL(cache_min) | CTL(cache_max) | CTL(admit) | CTL(stream_cutoff))
#define OFFLINE       (CTL(config) | CTL(dev))

static const struct command commands[] = {
    {"status", "", 0, 0, 0, cmd_status, "pool, devices, journal fill, volumes, alerts: one screen", NULL},
    {"volume create", "NAME --size SIZE [--lba 4096|512] [--tier auto|ssd|hdd] [--iops N] [--bandwidth SIZE]"
     " [--cache-min PART] [--cache-max PART] [--admit WHEN] [--stream-cutoff SIZE]", VOLUME_FIELDS, 1, 1,
     cmd_volume_create, "make a volume; one that is there already is fine if all that is asked for is so",
     "No host may connect to it before `firnctl host allow`. Volumes are thin: their sizes may add up to more than the pool."},
    {"volume list", "", 0, 0, 0, cmd_volume_list, "all volumes, one a line", NULL},
    {"volume show", "NAME", 0, 1, 1, cmd_volume_show, "everything about a volume", NULL},
    {"volume resize", "NAME --size SIZE", CTL(size), 1, 1, cmd_volume_resize, "grow a volume while it is in use; hosts are told", NULL},
    {"volume set", "NAME key=value…", 0, 2, 16, cmd_volume_set, "change tier, iops, bandwidth, its part of the copies on the SSD",
     "tier=auto, ssd (what is written stays on the SSD) or hdd (it moves on to the HDD in the next pause),\n"
     "iops=N and bandwidth=SIZE (at most so much a second; 0: no cap),\n"
     "cache_min=PART and cache_max=PART (least and most of the places for copies on the SSD, as 10% or 2GiB; 0: no limit),\n"
     "admit=auto (as firn.conf says), never, first, second or third (copied to the SSD at that miss),\n"
     "stream_cutoff=SIZE (nothing of a longer stream of reads is copied), auto (as firn.conf says) or none."},
    {"volume delete", "NAME", CTL(force), 1, 1, cmd_volume_delete, "delete a volume and its data", NULL},
    {"host allow", "VOLUME HOSTNQN", 0, 2, 2, cmd_host_allow, "let a host connect; '*' lets any", NULL},
    {"host deny", "VOLUME HOSTNQN", 0, 2, 2, cmd_host_deny, "take that back; its connections are cut", NULL},
    {"host list", "VOLUME", 0, 1, 1, cmd_host_list, "hosts that may connect", NULL},
    {"device list", "", 0, 0, 0, cmd_device_list, "devices of the pool and their state", NULL},
    {"loss clear", "", 0, 0, 0, cmd_loss_clear, "end the alert about a loss that --accept-loss accepted, once it is looked after",
     "A start with firnd --accept-loss leaves an alert with its date, at later starts too. Compare the volumes with what they should\n"
     "hold, restore what is missing, then clear it. Nothing is changed but the alert."},
    {"heat", "[VOLUME] [--svg FILE]", CTL(svg), 0, 1, cmd_heat, "what hosts read and wrote lately, as a picture; where it lies",
     "Without VOLUME a line a volume, all on one scale. Colours on a terminal that has them, unless NO_COLOR is set; else plain signs.\n"
     "Figures are requests an hour: a mean in which what was a tier.heat_half_life ago counts half."},
    {"top", "", CTL(count) | CTL(interval), 0, 0, cmd_top, "live: operations, throughput, latency, hit ratio, per volume",
     "With --json, each screen is a JSON document of its own."},
    {"check", "", OFFLINE | CTL(quick) | CTL(meta) | CTL(data) | CTL(rebuild_map) | CTL(without), 0, 0, cmd_check,
     "offline: every invariant and checksum of a pool; 3: damage found",
     "--rebuild-map makes new metadata in a directory that holds none; what is there is moved aside first. What was deleted lately\n"
     "may be back, and may leave no room for what the log holds: a line says how much is missing, and no map is made. Do it again\n"
     "with --without VOLUME for each that had been deleted; the devices are only read, so that another try is always possible."},
    {"dump", "WHAT", OFFLINE, 1, 1, cmd_dump, "offline: on-disk structures in words: journal, extents, heat, labels or volumes", NULL},
    {"bundle", "FILE", 0, 1, 1, cmd_bundle, "what support needs in one file, secrets left out",
     "A running server is asked for its status, configuration, devices, volumes and metrics; versions are added. All of it becomes\n"
     "one JSON document in FILE, which must not be there yet and which its owner alone may read. Tokens are never in it; names of\n"
     "hosts and volumes are."},
};

/* What UTF-8 takes on the screen; printf() counts bytes. */
static unsigned columns(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void help_all(void)
{
    printf("Usage: firnctl [options] COMMAND …\n\nCommands:\n");
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        char left[160];

        snprintf(left, sizeof(left), "%s %.*s", commands[i].words, (int)strcspn(commands[i].operands, "["), commands[i].operands);
        printf("  %s%*s %s\n", left, (int)(38 - MIN(columns(left), 38u)), "", commands[i].help);
    }
    printf("\nOptions, before or after the command:\n");
    args_help(0, true);
    printf("\n`firnctl COMMAND --help` shows what a command takes.\n"
           "Exit status: 0 done; 1 the operation failed; 2 the command line is wrong; 3 check found damage.\n");
}

static const char *gap(const struct command *c)
{
    return c->operands[0] ? " " : "";
}

static void help_one(const struct command *c)
{
    printf("Usage: firnctl %s%s%s\n\n%s.\n\n", c->words, gap(c), c->operands, c->help);
    if (c->more)
        printf("%s\n\n", c->more);
    if (c->takes) {
        printf("Options of this command:\n");
        args_help(c->takes, false);
        printf("\n");
    }
    printf("Options of every command:\n");
    args_help(0, true);
}

/* How many words of pos the command's name takes; 0: it is not this one. */
static unsigned match(const struct command *c, const struct args *a)
{
    const char *space = strchr(c->words, ' ');
    size_t first = space ? (size_t)(space - c->words) : strlen(c->words);

    if (a->npos < 1 || strlen(a->pos[0]) != first || strncmp(a->pos[0], c->words, first) != 0)
        return 0;
    if (!space)
        return 1;
    return a->npos >= 2 && strcmp(a->pos[1], space + 1) == 0 ? 2 : 0;
}

/* Commands that Firn is to have and this version has not. */
static bool say_absent(const char *word, const char *next)
{
    static const char *const absent[] = {"scrub", "snapshot", "volume clone", "volume restore", "device add",
                                         "device evacuate", "device remove"};

    for (unsigned i = 0; i < ARRAY_LEN(absent); i++) {
        size_t first = strcspn(absent[i], " ");
        bool two = absent[i][first] == ' ';

        if (strlen(word) != first || strncmp(word, absent[i], first) != 0 || (two && strcmp(next, absent[i] + first + 1) != 0))
            continue;
        fprintf(stderr, "firnctl: %s: not in this version (see README, limits)\n", absent[i]);
        return true;
    }
    return false;
}

/* Names what exists: the verbs of the noun that was given, or all first words. */
static int say_unknown(const struct args *a)
{
    const char *last = "";
    bool noun = false;

    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        size_t len = strlen(a->pos[0]);

        noun |= strncmp(commands[i].words, a->pos[0], len) == 0 && commands[i].words[len] == ' ';
    }
    fprintf(stderr, "firnctl: unknown command \"%s%s%s\"; there %s", a->pos[0], a->npos > 1 && noun ? " " : "",
            a->npos > 1 && noun ? a->pos[1] : "", noun ? "is" : "are");
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        const char *space = strchr(commands[i].words, ' ');
        size_t first = space ? (size_t)(space - commands[i].words) : strlen(commands[i].words);

        if (noun && space && strlen(a->pos[0]) == first && strncmp(commands[i].words, a->pos[0], first) == 0) {
            fprintf(stderr, " %s", commands[i].words);
            fputs(",", stderr);
        } else if (!noun && strncmp(last, commands[i].words, first) != 0) {
            fprintf(stderr, " %.*s", (int)first, commands[i].words);
            fputs(",", stderr);
        }
        last = commands[i].words;
    }
    fprintf(stderr, " see firnctl --help\n");
    return CTL_USAGE;
}

/* `firnctl volume --help`: the commands of a noun. False: it is none. */
static bool help_noun(const char *noun)
{
    size_t len = strlen(noun);
    bool any = false;

    for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
        if (strncmp(commands[i].words, noun, len) == 0 && commands[i].words[len] == ' ') {
            printf("%s  firnctl %s %s\n      %s\n", any ? "" : "Usage:\n", commands[i].words, commands[i].operands, commands[i].help);
            any = true;
        }
    if (any)
        printf("\n`firnctl COMMAND --help` shows what a command takes.\n");
    return any;
}

static int check_options(const struct command *c, const struct args *a)
{
    unsigned odd = args_given(a) & ~c->takes;
    char name[32];

    if (!odd)
        return 0;
    fprintf(stderr, "firnctl: %s does not take %s; see firnctl %s --help\n", c->words,
            args_spelling((enum ctl_option)__builtin_ctz(odd), name), c->words);
    return CTL_USAGE;
}

static int run(struct args *a)
{
    const struct command *c = NULL;
    unsigned words = 0;

    for (unsigned i = 0; i < ARRAY_LEN(commands) && !words; i++) {
        words = match(&commands[i], a);
        c = &commands[i];
    }
    if (!words && arg(a, help) && a->npos == 1 && help_noun(a->pos[0]))
        return CTL_DONE;
    if (!words)
        return say_unknown(a);
    if (arg(a, help)) {
        help_one(c);
        return CTL_DONE;
    }
    if (check_options(c, a) != 0)
        return CTL_USAGE;
    a->npos -= words;
    memmove(a->pos, a->pos + words, a->npos * sizeof(a->pos[0]));
    if (a->npos < c->pos_min || a->npos > c->pos_max) {
        fprintf(stderr, "firnctl: usage: firnctl %s%s%s; see firnctl %s --help\n", c->words, gap(c), c->operands, c->words);
        return CTL_USAGE;
    }
    return c->run(a);
}

int main(int argc, char **argv)
{
    struct args a;
    int rc;

    if (argc > 1 && say_absent(argv[1], argc > 2 ? argv[2] : "")) /* before their options, which are not there either */
        return CTL_USAGE;
    rc = args_parse(argc, argv, &a);
    if (rc)
        return rc;
    if (arg(&a, version)) {
        printf("firnctl %s\n", FIRN_VERSION);
        return CTL_DONE;
    }
    if (a.npos > 0 && strcmp(a.pos[0], "help") == 0) { /* `firnctl help volume` is `firnctl volume --help` */
        a.opt[CTL_help] = "";
        a.npos--;
        memmove(a.pos, a.pos + 1, a.npos * sizeof(a.pos[0]));
    }
    if (a.npos == 0) {
        if (arg(&a, help)) {
            help_all();
            return CTL_DONE;
        }
        fprintf(stderr, "firnctl: no command; see firnctl --help\n");
        return CTL_USAGE;
    }
    if (say_absent(a.pos[0], a.npos > 1 ? a.pos[1] : ""))
        return CTL_USAGE;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    rc = run(&a);
    curl_global_cleanup();
    return rc;
}
