/* SPDX-License-Identifier: Apache-2.0 */
/* options.c: see options.h. */
#include "daemon/options.h"

#include <getopt.h>
#include <stdio.h>

#include "base/err.h"
#include "daemon/model_devs.h"

static const struct { const char *name, *arg, *help; size_t at; } rows[] = {
#define X(name, arg, help) {#name, arg, help, offsetof(struct options, name)},
    DAEMON_OPTIONS(X)
#undef X
};

/* Options are spelled with '-', members with '_'. */
static void spell(const char *name, char out[static 32])
{
    snprintf(out, 32, "%s", name);
    for (char *p = out; *p; p++)
        if (*p == '_')
            *p = '-';
}

/* Refused before anything is looked at or made. */
static int check_together(const struct options *o)
{
    const char *wrong = NULL;
    enum model_hdd_which which;

    if (o->format && o->ram)
        wrong = "--ram has nothing to format";
    else if (o->force && !o->format && !o->add_cache)
        wrong = "--force belongs to --format and --add-cache";
    else if (o->add_cache && (o->format || o->check || o->ram || o->dev))
        wrong = "--add-cache goes with --config alone: a pool that was formatted, and is to be as its configuration says";
    else if (o->format && o->check)
        wrong = "--format and --check exclude each other";
    else if ((o->journal_size || o->capacity_size) && !o->dev)
        wrong = "--journal-size and --capacity-size belong to --dev; a configuration says sizes itself";
    else if ((o->model_hdd || o->model_ssd) && (o->ram || o->format || o->check))
        wrong = "--model-hdd and --model-ssd belong to a pool that is served";
    else if (o->model_hdd && model_hdd_parse(o->model_hdd, &which) != 0)
        wrong = "--model-hdd: capacity, all, or the number of a capacity device";
    if (wrong)
        fprintf(stderr, "firnd: %s\n", wrong);
    return wrong ? -FIRN_E_INVALID : 0;
}

int options_parse(int argc, char **argv, struct options *out)
{
    static char names[ARRAY_LEN(rows)][32];
    struct option longs[ARRAY_LEN(rows) + 1];
    const char *given;
    int at = 0, c;

    memset(out, 0, sizeof(*out));
    memset(longs, 0, sizeof(longs));
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        spell(rows[i].name, names[i]);
        longs[i] = (struct option){names[i], rows[i].arg ? required_argument : no_argument, NULL, 'o'};
    }
    while ((c = getopt_long(argc, argv, "", longs, &at)) != -1) {
        if (c != 'o') { /* getopt said what is wrong */
            fprintf(stderr, "firnd: see firnd --help\n");
            return -FIRN_E_INVALID;
        }
        given = optarg ? optarg : "";
        memcpy((char *)out + rows[at].at, &given, sizeof(given));
    }
    if (optind < argc) {
        fprintf(stderr, "firnd: unexpected argument \"%s\"; options begin with --, see firnd --help\n", argv[optind]);
        return -FIRN_E_INVALID;
    }
    if ((out->dev != NULL) + (out->ram != NULL) + (out->config != NULL) > 1) {
        fprintf(stderr, "firnd: --config, --dev and --ram exclude each other; choose one\n");
        return -FIRN_E_INVALID;
    }
    return check_together(out);
}

void options_help(void)
{
    printf("Usage: firnd [--config FILE | --dev DIR | --ram SIZE] [options]\n\n"
           "Serves volumes to NVMe/TCP hosts: writes land durably in a log on an SSD and rest on HDDs later.\n\n");
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        char name[32], left[64];

        spell(rows[i].name, name);
        snprintf(left, sizeof(left), "--%s%s%s", name, rows[i].arg ? " " : "", rows[i].arg ? rows[i].arg : "");
        printf("  %-24s %s\n", left, rows[i].help);
    }
    printf("\nExit status: 0 done; 1 the operation failed; 2 the command line or configuration is wrong.\n"
           "Signals: SIGTERM stops, SIGHUP reads the configuration again.\n");
}

struct overlay {
    struct config *c;
    struct strbuf *problems;
    unsigned       nr;
};

static void lay(struct overlay *v, const char *option, const char *value, enum config_key key)
{
    char why[256];

    if (!value || config_set_text(v->c, key, value, why) == 0)
        return;
    strbuf_add(v->problems, "firnd: %s: %s\n", option, why);
    v->nr++;
}

int options_apply(const struct options *o, struct config *c, struct strbuf *problems)
{
    struct overlay v = {.c = c, .problems = problems};

    lay(&v, "--reactors", o->reactors, CONFIG_KEY_reactors);
    lay(&v, "--listen", o->listen, CONFIG_KEY_export_listen);
    lay(&v, "--port", o->port, CONFIG_KEY_export_port);
    if (o->port && !o->discovery_port && config_num(c, export_port) == 0)
        config_num(c, export_discovery_port) = 0;
    lay(&v, "--discovery-port", o->discovery_port, CONFIG_KEY_export_discovery_port);
    lay(&v, "--api-socket", o->api_socket, CONFIG_KEY_api_unix);
    if (o->api_port && config_text(c, api_listen)[0] == '\0')
        lay(&v, "--api-listen", "127.0.0.1", CONFIG_KEY_api_listen);
    lay(&v, "--api-listen", o->api_listen, CONFIG_KEY_api_listen);
    lay(&v, "--api-port", o->api_port, CONFIG_KEY_api_port);
    lay(&v, "--api-token-file", o->api_token_file, CONFIG_KEY_api_token_file);
    lay(&v, "--log-level", o->log_level, CONFIG_KEY_log_level);
    return v.nr ? -FIRN_E_INVALID : 0;
}
