/* SPDX-License-Identifier: Apache-2.0 */
/* plan_format.c: --format, --add-cache, and the first start with --dev, which makes its files.
 *
 * A format with --dev leaves a mark while it is under way (embedded.h): one that was cut short is done again, if nothing there says
 * otherwise. Of two processes one makes the pool, under a lock, and what is there is looked at again once it has that.
 * Failures: what lies there is never written over unless that was asked for; the log says why, and what to do.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/advice.h"
#include "daemon/node.h"
#include "daemon/plan.h"

/* Why a format failed, and what to do: where there was no room for --dev, and where something else lies there. */
static int no_format(const struct plan *p, int err, const char *why)
{
    char quoted[LOG_QUOTED_BYTES], next[LOG_QUOTED_BYTES], line[ADVICE_BYTES], ignored[256];

    if (err == -FIRN_E_FOREIGN)
        advice_for_format(&p->cfg, p->opts.dev, node_probe(&p->cfg, ignored) == 0, line);
    else if (err == -ENOSPC && p->opts.dev)
        snprintf(line, sizeof(line), "make room, name a directory on another file system, or ask for a smaller journal with "
                 "--journal-size, such as 64MiB");
    else
        return plan_failed("cannot format", why);
    log_error("cannot format", "why=%s do=%s", log_quoted(why, quoted), log_quoted(line, next));
    return EXIT_FAILED;
}

/* The files of a pool that is there are what they were made. */
static void sizes_as_made(struct plan *p)
{
    config_num(&p->cfg, journal_size) = config_num(&p->cfg, journal_segment_size) = p->cfg.capacity[0].size_bytes = 0;
}

/* Whatever left the mark: the start goes on with the pool, and says what is wrong with it. */
static int marked_wrongly(struct plan *p, const char *used)
{
    char why[256], quoted[LOG_QUOTED_BYTES];

    log_warn("an unfinished format is marked, but there is a pool: nothing is made anew", "why=%s", log_quoted(used, quoted));
    if (embedded_mark(p->opts.dev, false, why) != 0)
        return plan_failed("cannot start", why);
    p->dev_state = EMBEDDED_POOL;
    sizes_as_made(p);
    return EXIT_DONE;
}

/* The mark of a format that failed: nothing is left that it would speak of, or another process has it. */
static bool mark_goes(const struct plan *p, int err)
{
    return access(config_text(&p->cfg, journal_path), F_OK) != 0 || (err == -FIRN_E_BUSY && p->dev_state == EMBEDDED_EMPTY);
}

static int format(struct plan *p, enum node_over over)
{
    bool mark = p->opts.dev && p->dev_state != EMBEDDED_POOL; /* what may hold data is never marked for overwriting */
    char why[256] = "", unmarked[256];
    int err;

    if (mark && embedded_mark(p->opts.dev, true, why) != 0)
        return plan_failed("cannot format", why);
    err = node_format(&p->cfg, over, why);
    if (err == -FIRN_E_EXISTS && over == NODE_OVER_REMAINS)
        return marked_wrongly(p, why);
    if (err) {
        if (mark && mark_goes(p, err))
            embedded_mark(p->opts.dev, false, unmarked);
        return no_format(p, err, why);
    }
    if (mark && embedded_mark(p->opts.dev, false, why) != 0)
        return plan_failed("cannot format", why);
    log_info("formatted", "pool=%s", config_text(&p->cfg, pool_name));
    return EXIT_DONE;
}

int plan_format(struct plan *p) { return format(p, p->opts.force ? NODE_OVER_ANYTHING : NODE_OVER_NOTHING); }

int plan_add_cache(const struct plan *p)
{
    char why[256] = "";

    return node_add_cache(&p->cfg, p->opts.force != NULL, why) == 0 ? EXIT_DONE : plan_failed("cannot change the cache devices", why);
}

/* --dev, first start: the files are made. A format that was cut short is done again, if nothing there says otherwise. */
int plan_prepare_dev(struct plan *p)
{
    uint64_t *size[] = {&config_num(&p->cfg, journal_size), &config_num(&p->cfg, journal_segment_size), &p->cfg.capacity[0].size_bytes};
    const uint64_t wanted[] = {*size[0], *size[1], *size[2]};
    char why[256] = "";
    int err;

    if (p->dev_state == EMBEDDED_POOL) /* since the first look */
        return EXIT_DONE;
    if (p->dev_state == EMBEDDED_EMPTY)
        return format(p, NODE_OVER_NOTHING);
    sizes_as_made(p);
    err = node_probe(&p->cfg, why);
    if (err == 0)
        return embedded_mark(p->opts.dev, false, why) != 0 ? plan_failed("cannot start", why) : EXIT_DONE;
    for (unsigned i = 0; i < ARRAY_LEN(size); i++)
        *size[i] = wanted[i];
    if (err == -FIRN_E_MISSING || err == -FIRN_E_NOT_FIRN || err == -FIRN_E_CORRUPT) /* cut short before the last file, or label */
        return format(p, NODE_OVER_REMAINS);
    return plan_failed("cannot start", why);
}

/* Of two at once one makes the pool; what is there is looked at again under the lock. */
int plan_under_lock(struct plan *p, const char *what, int (*fn)(struct plan *))
{
    char why[256];
    int fd, rc;

    if (embedded_lock(p->opts.dev, &fd, &p->dev_state, why) != 0)
        return plan_failed(what, why);
    if (p->dev_state == EMBEDDED_POOL)
        sizes_as_made(p);
    rc = fn(p);
    close(fd);
    return rc;
}
