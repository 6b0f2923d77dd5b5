/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: firnd from its command line to its exit status.
 *
 * 1. Options and configuration; anything wrong there ends in 2, with every problem said. 2. --format and --check do their
 * part and end. 3. The node opens and serves; the API opens; "ready" is logged and systemd told. 4. Signals: SIGHUP
 * reads the configuration again; SIGTERM and SIGINT stop. 5. Stop: API, listeners, target, tier; 0 when all is
 * committed. What hangs beyond STOP_S seconds, or can no longer be committed, ends in 1: the pool is then as after a crash,
 * which loses nothing.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/advice.h"
#include "daemon/api.h"
#include "daemon/embedded.h"
#include "daemon/fill.h"
#include "daemon/http.h"
#include "daemon/http_listen.h"
#include "daemon/metrics_page.h"
#include "daemon/options.h"
#include "daemon/remnant.h"
#include "daemon/settings.h"
#include "rt/trace.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
#define STOP_S 24
#define LOOK_S 5       /* how often the fill of the pool is looked at */

/* ---- configuration ------------------------------------------------------------------------------------------------- */

struct plan {
    struct options      opts;
    struct config       cfg;
    uint64_t            ram_bytes;
    enum embedded_state dev_state;
};

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

static int read_config(struct plan *p)
{
    struct strbuf problems;
    int rc, bad;

    strbuf_init(&problems);
    rc = make_config(p, &problems);
    if (rc != EXIT_FAILED && !(rc == EXIT_USAGE && problems.len == 0)) {
        bad = options_apply(&p->opts, &p->cfg, &problems);
        if (p->opts.dev && p->dev_state != EMBEDDED_POOL)
            embedded_segments(&p->cfg);
        if (p->opts.model_hdd && config_num(&p->cfg, reactors) != 1) {
            strbuf_add(&problems, "firnd: --model-hdd: a disk's head serves one reactor; add --reactors 1\n");
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

/* ---- format, check ------------------------------------------------------------------------------------------------- */

static int failed(const char *what, const char *why)
{
    char quoted[LOG_QUOTED_BYTES];

    log_error(what, "why=%s", log_quoted(why, quoted));
    return EXIT_FAILED;
}

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
        return failed("cannot format", why);
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
        return failed("cannot start", why);
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
        return failed("cannot format", why);
    err = node_format(&p->cfg, over, why);
    if (err == -FIRN_E_EXISTS && over == NODE_OVER_REMAINS)
        return marked_wrongly(p, why);
    if (err) {
        if (mark && mark_goes(p, err))
            embedded_mark(p->opts.dev, false, unmarked);
        return no_format(p, err, why);
    }
    if (mark && embedded_mark(p->opts.dev, false, why) != 0)
        return failed("cannot format", why);
    log_info("formatted", "pool=%s", config_text(&p->cfg, pool_name));
    return EXIT_DONE;
}

static int format_asked(struct plan *p) { return format(p, p->opts.force ? NODE_OVER_ANYTHING : NODE_OVER_NOTHING); }

static int add_cache(const struct plan *p)
{
    char why[256] = "";

    return node_add_cache(&p->cfg, p->opts.force != NULL, why) == 0 ? EXIT_DONE : failed("cannot change the cache devices", why);
}

/* --dev, first start: the files are made. A format that was cut short is done again, if nothing there says otherwise. */
static int prepare_dev(struct plan *p)
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
        return embedded_mark(p->opts.dev, false, why) != 0 ? failed("cannot start", why) : EXIT_DONE;
    for (unsigned i = 0; i < ARRAY_LEN(size); i++)
        *size[i] = wanted[i];
    if (err == -FIRN_E_MISSING || err == -FIRN_E_NOT_FIRN || err == -FIRN_E_CORRUPT) /* cut short before the last file, or label */
        return format(p, NODE_OVER_REMAINS);
    return failed("cannot start", why);
}

/* Of two at once one makes the pool; what is there is looked at again under the lock. */
static int with_dev_lock(struct plan *p, const char *what, int (*fn)(struct plan *))
{
    char why[256];
    int fd, rc;

    if (embedded_lock(p->opts.dev, &fd, &p->dev_state, why) != 0)
        return failed(what, why);
    if (p->dev_state == EMBEDDED_POOL)
        sizes_as_made(p);
    rc = fn(p);
    close(fd);
    return rc;
}

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

static int check(struct plan *p)
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

/* ---- serving ------------------------------------------------------------------------------------------------------- */

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
    log_info("ready", "port=%u discovery_port=%u api=\"%s\" api_port=%u node=%s reactors=%u", node_port(s->node),
             node_discovery_port(s->node), config_text(&p->cfg, api_unix), http_port(s->http), node_name(s->node),
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
        return failed("cannot start", why);
    log_error("cannot start", "why=%s do=%s", log_quoted(why, quoted), log_quoted(line, next));
    return EXIT_FAILED;
}

static int serve(struct plan *p)
{
    struct server s = {0};
    struct node_opts o = {.cfg = &p->cfg, .ram_bytes = p->ram_bytes, .accept_loss = p->opts.accept_loss != NULL};
    char why[256] = "";
    sigset_t set;
    int err;

    if (p->opts.model_hdd)
        model_hdd_parse(p->opts.model_hdd, &o.model_hdd);
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
        return failed("cannot start", why);
    }
    say_ready(&s, p);
    serve_signals(&s, &set);
    return stop(&s);
}

static int run(struct plan *p)
{
    enum log_level level = LOG_LEVEL_INFO;
    int rc = read_config(p);

    if (rc)
        return rc;
    log_level_parse(config_text(&p->cfg, log_level), &level);
    log_set_level(level);
    if (p->opts.check)
        return check(p);
    if (p->opts.add_cache)
        return add_cache(p);
    if (p->opts.format)
        return p->opts.dev ? with_dev_lock(p, "cannot format", format_asked) : format_asked(p);
    if (p->opts.dev && p->dev_state != EMBEDDED_POOL) {
        rc = with_dev_lock(p, "cannot start", prepare_dev);
        if (rc)
            return rc;
    }
    return serve(p);
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
