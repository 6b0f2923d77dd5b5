/* SPDX-License-Identifier: Apache-2.0 */
/* plan_check.c: --check: configuration, token and devices are looked at; nothing is written, and the log is not judged.
 *
 * Failures: every device that is missing is named, not the first alone; then what to do about it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/advice.h"
#include "daemon/http_listen.h"
#include "daemon/node.h"
#include "daemon/plan.h"

static unsigned say_missing(const char *role, const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0)
        return 0;
    fprintf(stderr, "firnd: %s device \"%s\": %s\n", role, path, strerror(errno));
    return 1;
}

/* Every device that is not there; a probe would end at the first. How many of those without which no start is possible. */
static unsigned check_missing(const struct config *c)
{
    unsigned missing = say_missing("journal", config_text(c, journal_path)), caches = 0;

    for (unsigned i = 0; i < c->nr_cache; i++)
        caches += say_missing("cache", c->cache[i].path);
    for (unsigned i = 0; i < c->nr_capacity; i++)
        missing += say_missing("capacity", c->capacity[i].path);
    if (caches > 0 && missing == 0)
        printf("cache_missing: a start goes on without %u cache device%s, and loses nothing\n", caches, caches == 1 ? "" : "s");
    return missing;
}

static int say_next(const struct plan *p, int err)
{
    char line[ADVICE_BYTES], why[256];

    if (advice_for(&p->cfg, p->opts.dev, err, line) == ADVICE_NONE)
        return EXIT_FAILED;
    if (node_survey(&p->cfg, why) == -FIRN_E_FOREIGN)
        fprintf(stderr, "firnd: %s\n", why);
    fprintf(stderr, "firnd: %s\n", line);
    return EXIT_FAILED;
}

static int check_devices(struct plan *p)
{
    char why[256] = "";
    int err;

    if (check_missing(&p->cfg) > 0)
        return say_next(p, -FIRN_E_MISSING);
    err = node_probe(&p->cfg, why);
    if (err == -FIRN_E_BUSY) {
        printf("devices: in use by a running server, not looked at\n");
        return EXIT_DONE;
    }
    if (err == 0) {
        printf("devices: good\nlog: not looked at: a start judges it, and firnctl check does\n");
        return EXIT_DONE;
    }
    fprintf(stderr, "firnd: %s\n", why);
    return say_next(p, err);
}

/* A start reads it too, and would end there. */
static int check_token(const struct config *c)
{
    char token[TOKEN_CHARS_MAX], why[256];
    int err = config_text(c, api_token_file)[0] ? http_read_token(config_text(c, api_token_file), token, why) : 0;

    explicit_bzero(token, sizeof(token));
    if (err)
        fprintf(stderr, "firnd: api.token_file: %s\n", why);
    return err ? EXIT_FAILED : EXIT_DONE;
}

int plan_check(struct plan *p)
{
    int rc = check_token(&p->cfg), devices;

    if (rc == EXIT_DONE)
        printf("configuration: good\n");
    if (p->ram_bytes)
        return rc;
    if (p->opts.dev && p->dev_state != EMBEDDED_POOL) {
        printf("devices: not formatted yet: the first start with --dev does it\n");
        return rc;
    }
    fflush(stdout);
    devices = check_devices(p);
    return MAX(rc, devices);
}
