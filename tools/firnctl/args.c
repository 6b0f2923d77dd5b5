/* SPDX-License-Identifier: Apache-2.0 */
/* args.c: see args.h. Hand-written because getopt cannot tell which command an option belongs to. */
#include "tools/firnctl/args.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define SOCKET_CHARS_MAX 107u /* sockaddr_un */
#define TIMEOUT_S_MAX    3600

static const struct { const char *name, *arg, *help; bool global; } rows[CTL_OPTION_NR] = {
#define X(name, arg, global, help) {#name, arg, help, global},
    CTL_OPTIONS(X)
#undef X
};

const char *args_spelling(enum ctl_option o, char buf[static 32])
{
    snprintf(buf, 32, "--%s", rows[o].name);
    for (char *p = buf; *p; p++)
        if (*p == '_')
            *p = '-';
    return buf;
}

const char *args_name(enum ctl_option o) { return rows[o].name; }

static unsigned find(const char *text, size_t len)
{
    char name[32];
    unsigned i = 0;

    while (i < CTL_OPTION_NR && (strlen(args_spelling((enum ctl_option)i, name)) != len || strncmp(name, text, len) != 0))
        i++;
    return i;
}

static int take_option(struct args *out, int argc, char **argv, int *i)
{
    const char *text = argv[*i], *eq = strchr(text, '=');
    size_t len = eq ? (size_t)(eq - text) : strlen(text);
    unsigned o = find(text, len);

    if (o == CTL_OPTION_NR) {
        fprintf(stderr, "firnctl: unknown option %.*s; see firnctl --help\n", (int)len, text);
        return CTL_USAGE;
    }
    if (!rows[o].arg && eq) {
        fprintf(stderr, "firnctl: %.*s takes no value\n", (int)len, text);
        return CTL_USAGE;
    }
    if (!rows[o].arg)
        out->opt[o] = "";
    else if (eq)
        out->opt[o] = eq + 1;
    else if (*i + 1 < argc)
        out->opt[o] = argv[++*i];
    else {
        fprintf(stderr, "firnctl: %s needs a value: %s\n", text, rows[o].arg);
        return CTL_USAGE;
    }
    if (o == CTL_without && out->nwithout == WITHOUT_MAX) {
        fprintf(stderr, "firnctl: --without: more than %u times; it also takes a list with commas\n", WITHOUT_MAX);
        return CTL_USAGE;
    }
    if (o == CTL_without)
        out->without[out->nwithout++] = out->opt[o];
    return 0;
}

/* Where the server is: what could not be the name of one is the command line's fault, not the server's. */
static int check_where(const struct args *a)
{
    const char *u = arg(a, url), *s = arg(a, socket);

    if (s && u) {
        fprintf(stderr, "firnctl: --socket and --url exclude each other; choose one\n");
        return CTL_USAGE;
    }
    if (u && (!*u || (strstr(u, "://") && strncasecmp(u, "http://", 7) != 0 && strncasecmp(u, "https://", 8) != 0))) {
        fprintf(stderr, "firnctl: --url: \"%s\" is not valid; allowed: http://ADDRESS:PORT\n", u);
        return CTL_USAGE;
    }
    if (s && (!*s || strlen(s) > SOCKET_CHARS_MAX)) {
        fprintf(stderr, "firnctl: --socket: \"%s\" is not valid; allowed: a path of 1 to %u characters\n", s, SOCKET_CHARS_MAX);
        return CTL_USAGE;
    }
    return 0;
}

static int check_timeout(const struct args *a)
{
    const char *t = arg(a, timeout);
    size_t len = t ? strlen(t) : 0;
    bool whole = len >= 1 && len <= 4 && strspn(t, "0123456789") == len;

    if (!t || (whole && args_timeout_s(a, 0) >= 1 && args_timeout_s(a, 0) <= TIMEOUT_S_MAX))
        return 0;
    fprintf(stderr, "firnctl: --timeout: \"%s\" is not valid; allowed: 1 to %d seconds\n", t, TIMEOUT_S_MAX);
    return CTL_USAGE;
}

int args_parse(int argc, char **argv, struct args *out)
{
    bool options = true;

    memset(out, 0, sizeof(*out));
    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && strcmp(argv[i], "-h") == 0) {
            out->opt[CTL_help] = "";
        } else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (take_option(out, argc, argv, &i) != 0)
                return CTL_USAGE;
        } else if (out->npos == POSITIONAL_MAX) {
            fprintf(stderr, "firnctl: too many arguments\n");
            return CTL_USAGE;
        } else {
            out->pos[out->npos++] = argv[i];
        }
    }
    return check_where(out) ? CTL_USAGE : check_timeout(out);
}

long args_timeout_s(const struct args *a, long otherwise)
{
    return arg(a, timeout) ? strtol(arg(a, timeout), NULL, 10) : otherwise;
}

unsigned args_given(const struct args *a)
{
    unsigned given = 0;

    for (unsigned i = 0; i < CTL_OPTION_NR; i++)
        if (a->opt[i] && !rows[i].global)
            given |= 1u << i;
    return given;
}

void args_help(unsigned takes, bool global)
{
    for (unsigned i = 0; i < CTL_OPTION_NR; i++) {
        char name[32], left[64];

        if (!(global && rows[i].global) && !(takes & (1u << i)))
            continue;
        snprintf(left, sizeof(left), "%s%s%s", args_spelling((enum ctl_option)i, name), rows[i].arg ? " " : "",
                 rows[i].arg ? rows[i].arg : "");
        printf("  %-22s %s\n", left, rows[i].help);
    }
}
