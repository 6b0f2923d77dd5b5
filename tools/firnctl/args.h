/* SPDX-License-Identifier: Apache-2.0 */
/* args.h: firnctl's command line: options before or after the words of the command, each command taking its own. */
#ifndef FIRN_TOOLS_FIRNCTL_ARGS_H
#define FIRN_TOOLS_FIRNCTL_ARGS_H

#include "base/types.h"

#define SOCKET_DEFAULT "/run/firn/firnd.sock"
#define POSITIONAL_MAX 66u
#define WITHOUT_MAX    64u

/*    name         argument  global  what it does */
#define CTL_OPTIONS(x)                                                                             \
    x(socket,      "PATH",   true,   "the server's unix socket (" SOCKET_DEFAULT ")")              \
    x(url,         "URL",    true,   "the server's TCP address instead, such as http://10.0.0.1:9920") \
    x(token_file,  "FILE",   true,   "token for --url")                                            \
    x(timeout,     "SECONDS", true,  "longest wait for an answer (10; 60 for what changes something)") \
    x(json,        NULL,     true,   "one JSON document on standard output")                       \
    x(quiet,       NULL,     true,   "no confirmations, headings or notes")                                 \
    x(help,        NULL,     true,   "what a command does")                                        \
    x(version,     NULL,     true,   "print the version")                                          \
    x(size,        "SIZE",   false,  "size of the volume, such as 10GiB: at least 1MiB, rounded up to whole MiB")                          \
    x(lba,         "BYTES",  false,  "block size hosts see: 4096 (default) or 512")                \
    x(tier,        "TIER",   false,  "auto (default), ssd: written blocks stay there; hdd: they go there soon") \
    x(iops,        "N",      false,  "at most N operations a second; 0: no cap")                   \
    x(bandwidth,   "SIZE",   false,  "at most SIZE a second, 1MiB or more; 0: no cap")                           \
    x(cache_min,   "PART",   false,  "least of the places for copies on the SSD: 10%, or 2GiB; 0: no limit") \
    x(cache_max,   "PART",   false,  "most of the places for copies on the SSD: 10%, or 2GiB; 0: no limit") \
    x(admit,       "WHEN",   false,  "auto (default, as firn.conf says), never, first, second or third: copied to the SSD at that miss") \
    x(stream_cutoff, "SIZE", false,  "nothing of a longer stream of reads is copied to the SSD; auto (default), none") \
    x(force,       NULL,     false,  "also while hosts are connected: they are cut off")           \
    x(config,      "FILE",   false,  "offline: the server's configuration (/etc/firn/firn.conf)")  \
    x(dev,         "DIR",    false,  "offline: the directory of `firnd --dev DIR`")                \
    x(quick,       NULL,     false,  "labels and the journal's ends only")                         \
    x(meta,        NULL,     false,  "everything but the data (default)")                          \
    x(data,        NULL,     false,  "also read and verify every block")                           \
    x(rebuild_map, "DIR",    false,  "metadata is lost: make new one in DIR from what the devices say of themselves") \
    x(without,     "VOLUME", false,  "with --rebuild-map: leave out VOLUME, as the rebuild names it; repeatable, or a list with commas") \
    x(svg,         "FILE",   false,  "draw it into FILE instead")                                   \
    x(count,       "N",      false,  "stop after N screens")                                       \
    x(interval,    "SECONDS",false,  "between two screens (1)")

enum ctl_option {
#define X(name, arg, global, help) CTL_##name,
    CTL_OPTIONS(X)
#undef X
    CTL_OPTION_NR
};
#define CTL(name) (1u << CTL_##name)
static_assert(CTL_OPTION_NR <= 32, "a bit each");

struct args {
    const char *opt[CTL_OPTION_NR]; /* the argument, "" for a flag, NULL when not given */
    const char *pos[POSITIONAL_MAX];
    unsigned    npos;
    const char *without[WITHOUT_MAX]; /* every argument of --without; opt[] has the last one alone */
    unsigned    nwithout;
};
#define arg(a, name) ((a)->opt[CTL_##name])

struct command {
    const char *words;              /* "volume create" */
    const char *operands;           /* "NAME --size SIZE" */
    unsigned    takes;              /* CTL() bits beside the global ones */
    unsigned    pos_min, pos_max;
    int       (*run)(const struct args *a);
    const char *help;
    const char *more;               /* for `COMMAND --help` alone, sentences; NULL: none */
};

enum { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2, CTL_DAMAGE = 3 };

/* 0, or CTL_USAGE with a line on standard error. */
int  args_parse(int argc, char **argv, struct args *out);
/* Prints the options whose bits are set, or the global ones. */
void args_help(unsigned takes, bool global);
/* --timeout, or that many seconds. */
long args_timeout_s(const struct args *a, long otherwise);
unsigned args_given(const struct args *a); /* bits of the command options that were given */
const char *args_name(enum ctl_option o); /* without dashes: as the API calls it */
const char *args_spelling(enum ctl_option o, char buf[static 32]);

#endif
