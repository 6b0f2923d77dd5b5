/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c: a server from its start to its end.
 *
 * 1. Signals are blocked before the first thread; the node opens, then the API; "ready" is logged and systemd told.
 * 2. Signals: SIGHUP reads the configuration again; SIGTERM and SIGINT stop. Between them the fill of the pool is looked at.
 * 3. Stop: API, listeners, target, tier; 0 when all is committed.
 * Failures: what hangs beyond STOP_S seconds, or can no longer be committed, ends in 1: the pool is then as after a crash, which loses
 * nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/advice.h"
#include "daemon/api.h"
#include "daemon/fill.h"
#include "daemon/http.h"
#include "daemon/metrics_page.h"
#include "daemon/plan.h"
#include "daemon/settings.h"

#define STOP_S 24
#define LOOK_S 5       /* how often the fill of the pool is looked at */

struct server {
    struct node         *node;
    struct http         *http;
    struct api           api;
};

/* Thousands of hosts need descriptors; the soft limit is only a default. */
static void raise_limits(const struct config *c)
{
    struct rlimit files, memlock;
    uint64_t want = config_num(c, limits_connections) + 1024;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < want) {
        files.rlim_cur = MIN((rlim_t)want, files.rlim_max);
        setrlimit(RLIMIT_NOFILE, &files);
        if (files.rlim_cur < want)
            log_warn("few file descriptors: fewer connections than configured",
                     "limit=%llu wanted=%llu do=\"raise the hard limit of open files (LimitNOFILE=)\"",
                     (unsigned long long)files.rlim_cur, (unsigned long long)want);
    }
    if (getrlimit(RLIMIT_MEMLOCK, &memlock) == 0 && memlock.rlim_cur != RLIM_INFINITY)
        log_debug("locked memory is limited", "limit_kib=%llu note=\"no fault: Linux 5.11 alone counts io_uring's rings against it, and a "
                  "start that fails for it says so; then raise LimitMEMLOCK= or ulimit -l\"", (unsigned long long)memlock.rlim_cur / 1024);
}

static int start_api(struct server *s, const struct plan *p, char why[static 256])
{
    const struct config *c = &p->cfg;
    struct timespec now;
    int err;

    snprintf(why, 256, "out of memory");
    clock_gettime(CLOCK_MONOTONIC, &now);
    s->api.started_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
    s->api.node = s->node;
    err = http_new(&s->http);
    if (!err)
        err = http_load_token(s->http, config_text(c, api_token_file), why);
    if (!err)
        err = settings_new(c, &p->opts, s->node, s->http, &s->api.settings);
    if (!err)
        err = metrics_page_new(s->node, &s->api.metrics);
    if (!err && (config_text(c, api_unix)[0] || config_text(c, api_listen)[0]))
        err = http_start(s->http, &s->api, config_text(c, api_unix), config_text(c, api_listen), (uint16_t)config_num(c, api_port), why);
    return err;
}

static void stop_api(struct server *s)
{
    s->api.stopping = true;
    if (s->http)
        http_stop(s->http);
    if (s->api.metrics)
        metrics_page_free(s->api.metrics);
    if (s->api.settings)
        settings_free(s->api.settings);
    if (s->http)
        http_free(s->http);
}

static void say_ready(const struct server *s, const struct plan *p)
{
    char socket[LOG_QUOTED_BYTES];

    log_info("ready", "port=%u discovery_port=%u api=%s api_port=%u node=%s reactors=%u", node_port(s->node),
             node_discovery_port(s->node), log_quoted(config_text(&p->cfg, api_unix), socket), http_port(s->http), node_name(s->node),
             node_reactors(s->node));
    sd_notify(0, "READY=1");
}

static void overdue(int sig)
{
    static const char words[] = "level=error msg=\"stop takes too long\" action=\"exit as after a crash\"\n";

    (void)sig;
    if (write(STDERR_FILENO, words, sizeof(words) - 1) < 0)
        _exit(EXIT_FAILED);
    _exit(EXIT_FAILED);
}

/* A line when the pool reaches 80, 90 and 95 per cent, and again every FILL_AGAIN looks while it stays there. */
static void look_at_fill(const struct server *s, struct fill_watch *w)
{
    struct tier_info i;
    uint32_t level;

    node_pool_info(s->node, &i);
    level = fill_look(w, &i);
    if (level != 0)
        log_warn("the pool is getting full",
                 "above_pct=%u used=%llu reserved=%llu bytes=%llu do=\"delete or trim volumes\"", level,
                 (unsigned long long)i.capacity_used_bytes, (unsigned long long)i.capacity_reserved_bytes,
                 (unsigned long long)i.capacity_bytes);
}

/* A line at the first write that is refused, and one when there is room again. */
static void look_at_refusals(const struct server *s, struct fill_refusals *r)
{
    struct tier_stats stats;
    struct tier_info i;

    node_pool_info(s->node, &i);
    node_tier_stats(s->node, &stats);
    switch (fill_look_refused(r, &i, stats.write_no_space)) {
    case FILL_FULL:
        log_error("the pool refuses writes to new places",
                  "refused=%llu used=%llu reserved=%llu bytes=%llu do=\"delete or trim volumes\"", (unsigned long long)stats.write_no_space,
                  (unsigned long long)i.capacity_used_bytes, (unsigned long long)i.capacity_reserved_bytes,
                  (unsigned long long)i.capacity_bytes);
        break;
    case FILL_ROOM:
        log_info("the pool has room again", "refused=%llu used=%llu reserved=%llu bytes=%llu", (unsigned long long)stats.write_no_space,
                 (unsigned long long)i.capacity_used_bytes, (unsigned long long)i.capacity_reserved_bytes,
                 (unsigned long long)i.capacity_bytes);
        break;
    case FILL_NOTHING:
        break;
    }
}

static void serve_signals(struct server *s, const sigset_t *set)
{
    const struct timespec look_every = {.tv_sec = LOOK_S};
    struct fill_watch fill = {0};
    struct fill_refusals refusals = {0};

    for (;;) {
        int sig = sigtimedwait(set, NULL, &look_every);

        if (sig < 0) {
            look_at_fill(s, &fill);
            look_at_refusals(s, &refusals);
        } else if (sig == SIGHUP) {
            sd_notify(0, "RELOADING=1");
            settings_reload(s->api.settings);
            sd_notify(0, "READY=1");
        } else if (sig == SIGTERM || sig == SIGINT) {
            log_info("stopping", "signal=%s", sig == SIGTERM ? "SIGTERM" : "SIGINT");
            return;
        }
    }
}

static int stop(struct server *s)
{
    int rc;

    signal(SIGALRM, overdue);
    alarm(STOP_S);
    sd_notify(0, "STOPPING=1");
    stop_api(s);
    rc = node_stop(s->node, (STOP_S - 2) * NS_PER_S);
    if (rc < 0)
        _exit(EXIT_FAILED); /* threads still run: nothing may be freed */
    log_info("stopped", "dropped_log_lines=%llu", (unsigned long long)log_dropped());
    return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int no_start(const struct plan *p, int err, const char *why)
{
    char quoted[LOG_QUOTED_BYTES], line[ADVICE_BYTES], next[LOG_QUOTED_BYTES];

    if (p->ram_bytes || advice_for(&p->cfg, p->opts.dev, err, line) == ADVICE_NONE)
        return plan_failed("cannot start", why);
    log_error("cannot start", "why=%s do=%s", log_quoted(why, quoted), log_quoted(line, next));
    return EXIT_FAILED;
}

int plan_serve(struct plan *p)
{
    struct server s = {0};
    struct node_opts o = {.cfg = &p->cfg, .ram_bytes = p->ram_bytes, .accept_loss = p->opts.accept_loss != NULL};
    char why[256] = "";
    sigset_t set;
    int err;

    if (p->opts.model_hdd)
        model_hdd_parse(p->opts.model_hdd, &o.model_hdd);
    o.model_ssd = p->opts.model_ssd != NULL;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before the first thread, so that all inherit it */
    signal(SIGPIPE, SIG_IGN);
    raise_limits(&p->cfg);
    err = node_open(&o, &s.node, why);
    if (err)
        return no_start(p, err, why);
    if (start_api(&s, p, why) != 0) {
        stop_api(&s);
        if (node_stop(s.node, (STOP_S - 2) * NS_PER_S) < 0)
            _exit(EXIT_FAILED);
        return plan_failed("cannot start", why);
    }
    say_ready(&s, p);
    serve_signals(&s, &set);
    return stop(&s);
}
