/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: firnd from its command line to its exit status.
 *
 * 1. Options and configuration (plan.c); anything wrong there ends in 2, with every problem said. 2. --check, --add-cache and --format
 * do their part and end (plan_check.c, plan_format.c). 3. Else it serves until a signal ends it (serve.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "daemon/plan.h"
#include "rt/trace.h"

static int run(struct plan *p)
{
    enum log_level level = LOG_LEVEL_INFO;
    int rc = plan_read(p);

    if (rc)
        return rc;
    log_level_parse(config_text(&p->cfg, log_level), &level);
    log_set_level(level);
    if (p->opts.check)
        return plan_check(p);
    if (p->opts.add_cache)
        return plan_add_cache(p);
    if (p->opts.format)
        return p->opts.dev ? plan_under_lock(p, "cannot format", plan_format) : plan_format(p);
    if (p->opts.dev && p->dev_state != EMBEDDED_POOL) {
        rc = plan_under_lock(p, "cannot start", plan_prepare_dev);
        if (rc)
            return rc;
    }
    return plan_serve(p);
}

static void print_config(void)
{
    struct strbuf b;

    strbuf_init(&b);
    config_print_default(&b);
    fputs(strbuf_str(&b), stdout);
    strbuf_fini(&b);
}

int main(int argc, char **argv)
{
    struct plan *p = calloc(1, sizeof(*p));
    int rc;

    if (!p) {
        fputs("firnd: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    umask(077);
    trace_install_crash_handler();
    if (options_parse(argc, argv, &p->opts) != 0) {
        rc = EXIT_USAGE;
    } else if (p->opts.help) {
        options_help();
        rc = EXIT_DONE;
    } else if (p->opts.version) {
        printf("firnd %s\n", FIRN_VERSION);
        rc = EXIT_DONE;
    } else if (p->opts.print_config) {
        print_config();
        rc = EXIT_DONE;
    } else {
        rc = run(p);
    }
    free(p);
    return rc;
}
