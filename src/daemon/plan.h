/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h: what a call of firnd is to do, from its options and its configuration: plan.c makes it; a format, a check, or serving carries
 * it out, each with the exit status that main.c ends with.
 */
#ifndef FIRN_DAEMON_PLAN_H
#define FIRN_DAEMON_PLAN_H

#include "daemon/embedded.h"
#include "daemon/options.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct plan {
    struct options      opts;
    struct config       cfg;
    uint64_t            ram_bytes;
    enum embedded_state dev_state;
};

/* plan.c */
int plan_read(struct plan *p);                            /* the rest of it, from p->opts; every problem is said */
int plan_failed(const char *what, const char *why);       /* a line of the log; EXIT_FAILED */

/* plan_format.c */
int plan_format(struct plan *p);                          /* --format */
int plan_add_cache(const struct plan *p);                 /* --add-cache */
int plan_prepare_dev(struct plan *p);                     /* --dev, before it is served; under its lock */
int plan_under_lock(struct plan *p, const char *what, int (*fn)(struct plan *)); /* of --dev; what: said if it cannot be had */

/* plan_check.c */
int plan_check(struct plan *p);                           /* --check */

/* serve.c */
int plan_serve(struct plan *p);                           /* until a signal ends it */

#endif
