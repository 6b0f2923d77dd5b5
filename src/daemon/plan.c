/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c: what a call of firnd is to do, from its options and its configuration.
 *
 * --dev DIR makes a configuration for the files in there, --ram one for no files at all; else a file is read. Then the options that
 * override keys are applied, and the whole is validated. Failures: every problem is said on stderr, and the exit status is EXIT_USAGE;
 * EXIT_FAILED where a directory cannot be had.
 */
#include "daemon/plan.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/sizefmt.h"
#include "daemon/remnant.h"

static int size_option(const char *name, const char *text, uint64_t min, uint64_t *out)
{
    *out = 0;
    if (!text)
        return 0;
    if (size_parse(text, out) == 0 && *out >= min)
        return 0;
    fprintf(stderr, "firnd: %s: \"%s\" is not a size of at least %lluMiB, such as \"1GiB\"\n", name, text,
            (unsigned long long)(min / MIB));
    return -FIRN_E_INVALID;
}

static void ram_config(struct config *c)
{
    config_defaults(c);
    snprintf(config_text(c, export_listen), CONFIG_TEXT_MAX, "127.0.0.1");
    config_text(c, api_listen)[0] = '\0';
    config_text(c, api_unix)[0] = '\0'; /* two of them may run at once; --api-socket opens one */
}

/* --dev and a size: that of a file which is to be made. What is there keeps its own. */
static void say_size_kept(const char *option, const char *path, uint64_t wanted)
{
    struct stat st;
    char want[32], is[32];

    if (wanted == 0 || stat(path, &st) != 0 || ROUND_DOWN((uint64_t)st.st_size, BLOCK_BYTES) == ROUND_DOWN(wanted, BLOCK_BYTES))
        return;
    log_warn("an option has no effect: the pool is there already", "option=%s wanted=\"%s\" is=\"%s\" path=\"%s\" "
             "do=\"leave it out, or name another directory for a new pool\"", option, size_format(wanted, want),
             size_format((uint64_t)st.st_size, is), path);
}

/* Fills plan->cfg; 0, EXIT_FAILED or EXIT_USAGE. */
static int make_config(struct plan *p, struct strbuf *problems)
{
    uint64_t journal, capacity;
    char why[256];

    if (size_option("--ram", p->opts.ram, MIB, &p->ram_bytes) != 0 ||
        size_option("--journal-size", p->opts.journal_size, 64 * MIB, &journal) != 0 ||
        size_option("--capacity-size", p->opts.capacity_size, 64 * MIB, &capacity) != 0)
        return EXIT_USAGE;
    if (p->opts.dev) {
        if (embedded_config(p->opts.dev, !p->opts.check, journal, capacity, &p->cfg, &p->dev_state, why) != 0) {
            fprintf(stderr, "firnd: --dev: %s\n", why);
            return EXIT_FAILED;
        }
        if (!p->opts.format) /* who asks for a format by name is told what is there by it */
            remnant_look(&p->cfg, &p->dev_state);
        if (p->dev_state == EMBEDDED_POOL) {
            say_size_kept("--journal-size", config_text(&p->cfg, journal_path), journal);
            say_size_kept("--capacity-size", p->cfg.capacity[0].path, capacity);
        }
        return 0;
    }
    if (p->opts.ram) {
        ram_config(&p->cfg);
        p->ram_bytes = ROUND_UP(p->ram_bytes, MIB);
        return 0;
    }
    return config_load(p->opts.config ? p->opts.config : CONFIG_FILE_DEFAULT, &p->cfg, problems) ? EXIT_USAGE : 0;
}

int plan_read(struct plan *p)
{
    struct strbuf problems;
    int rc, bad;

    strbuf_init(&problems);
    rc = make_config(p, &problems);
    if (rc != EXIT_FAILED && !(rc == EXIT_USAGE && problems.len == 0)) {
        bad = options_apply(&p->opts, &p->cfg, &problems);
        if (p->opts.dev && p->dev_state != EMBEDDED_POOL)
            embedded_segments(&p->cfg);
        if ((p->opts.model_hdd || p->opts.model_ssd) && config_num(&p->cfg, reactors) != 1) {
            strbuf_add(&problems, "firnd: --model-%s: a modelled device serves one reactor; add --reactors 1\n",
                       p->opts.model_hdd ? "hdd" : "ssd");
            bad = -FIRN_E_INVALID;
        }
        if (rc == 0 && !bad)
            bad = p->opts.ram ? config_validate_net(&p->cfg, &problems) : config_validate(&p->cfg, &problems);
        if (bad)
            rc = EXIT_USAGE;
    }
    fputs(strbuf_str(&problems), stderr);
    strbuf_fini(&problems);
    return rc;
}

int plan_failed(const char *what, const char *why)
{
    char quoted[LOG_QUOTED_BYTES];

    log_error(what, "why=%s", log_quoted(why, quoted));
    return EXIT_FAILED;
}
