/* SPDX-License-Identifier: Apache-2.0 */
/* offline.c: `firnctl check` and `firnctl dump`: read the pool's devices directly, change nothing. The server must be
 * stopped: its locks on the devices refuse a second reader, whose picture would be torn.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/sizefmt.h"
#include "daemon/advice.h"
#include "daemon/config.h"
#include "daemon/embedded.h"
#include "daemon/options.h"
#include "daemon/remnant.h"
#include "rt/reactor.h"
#include "tier/tier.h"
#include "tools/firnctl/commands.h"

/* Of a directory without the slashes behind it. */
static int path_len(const char *path)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    return (int)n;
}

static int dev_dir_config(const char *dir, struct config *c)
{
    enum embedded_state state;
    struct stat st;
    char why[256];

    if (stat(dir, &st) != 0 && errno == ENOENT) { /* looking must not make it */
        fprintf(stderr, "firnctl: --dev %s: there is no such directory; name the one that firnd --dev was given\n", dir);
        return CTL_FAILED;
    }
    if (embedded_config(dir, false, 0, 0, c, &state, why) != 0) {
        fprintf(stderr, "firnctl: --dev: %s\n", why);
        return CTL_FAILED;
    }
    remnant_look(c, &state);
    if (state != EMBEDDED_POOL) {
        fprintf(stderr, "firnctl: --dev %s: there is no pool in it; firnd --dev makes one\n", dir);
        return CTL_FAILED;
    }
    return 0;
}

static int read_config(const struct args *a, struct config *c)
{
    struct strbuf problems;
    int rc = 0;

    if (arg(a, config) && arg(a, dev)) {
        fprintf(stderr, "firnctl: --config and --dev exclude each other; choose one\n");
        return CTL_USAGE;
    }
    if (arg(a, dev))
        return dev_dir_config(arg(a, dev), c);
    strbuf_init(&problems);
    if (config_load(arg(a, config) ? arg(a, config) : CONFIG_FILE_DEFAULT, c, &problems) != 0 || config_validate(c, &problems) != 0)
        rc = CTL_USAGE;
    fputs(strbuf_str(&problems), stderr);
    strbuf_fini(&problems);
    return rc;
}

struct job {
    enum tier_check_depth    depth;
    enum tier_dump           dump;
    const char              *new_meta; /* rebuild: directory for the new metadata */
    const char             **without;  /* ... and volumes that it leaves out */
    uint32_t                 nr_without;
    char                    *names;    /* what without points into */
    struct strbuf            out;
    struct tier_check_report report;
};

static int do_check(const struct tier_opts *o, struct job *j, char *why)
{
    return tier_check(o, j->depth, &j->out, &j->report, why);
}

static int do_rebuild(const struct tier_opts *o, struct job *j, char *why)
{
    return tier_rebuild_map(o, j->new_meta, &j->out, &j->report, why);
}

static int do_dump(const struct tier_opts *o, struct job *j, char *why)
{
    return tier_dump(o, j->dump, &j->out, why);
}

/* What somebody does about an error. */
static void say_error(const struct args *a, const struct config *c, const char *what, const struct job *j, int err, const char *why)
{
    char line[ADVICE_BYTES];

    fprintf(stderr, "firnctl: %s: %s; ", what, why[0] ? why : err_text(err));
    if (err == -FIRN_E_BUSY)
        fprintf(stderr, "stop firnd first\n");
    else if (j->new_meta && err == -FIRN_E_EXISTS)
        fprintf(stderr, "move it aside first, then the same command again: mv %.*s %.*s.bad\n", path_len(j->new_meta), j->new_meta,
                path_len(j->new_meta), j->new_meta);
    else if (j->new_meta && err == -FIRN_E_NOT_FOUND)
        fprintf(stderr, "name those that were:\n%s", strbuf_str(&j->out));
    else if (err == -FIRN_E_MISSING && advice_for(c, arg(a, dev), err, line) == ADVICE_CONNECT)
        fprintf(stderr, "%s\n", line);
    else
        fprintf(stderr, "see that the configuration names the pool's devices\n");
}

/* A pool whose metadata is of no use: what a start says too. */
static void add_advice(const struct args *a, const struct config *c, struct job *j)
{
    char line[ADVICE_BYTES];

    if (j->report.meta_err && advice_for(c, arg(a, dev), j->report.meta_err, line) != ADVICE_NONE)
        strbuf_add(&j->out, "%s\n", line);
}

/* Runs fn over a reactor of its own; CTL_DONE, or an error that was said. */
static int with_pool(const struct args *a, const char *what, int (*fn)(const struct tier_opts *, struct job *, char *), struct job *j)
{
    struct reactor_opts ro = {.cpu = -1};
    struct config *c = calloc(1, sizeof(*c));
    struct tier_opts *o = calloc(1, sizeof(*o));
    struct reactor *r = NULL;
    struct env *env;
    char why[256] = "out of memory";
    int rc = c && o ? read_config(a, c) : CTL_FAILED, err = 0;

    if (rc == 0) {
        err = reactor_new(&ro, &r, why);
        if (!err) {
            env = reactor_env(r);
            config_tier_opts(c, o);
            o->envs = &env;
            o->nr_envs = 1;
            o->rebuild_without = j->without;
            o->nr_rebuild_without = j->nr_without;
            err = fn(o, j, why);
            reactor_free(r);
            add_advice(a, c, j);
        }
        if (err) {
            say_error(a, c, what, j, err, why);
            rc = CTL_FAILED;
        }
    }
    free(o);
    free(c);
    return rc;
}

static void print_report(const struct args *a, const struct job *j)
{
    const struct tier_check_report *r = &j->report;
    json_t *list, *doc;
    const char *p = strbuf_str(&j->out);

    if (!arg(a, json)) {
        fputs(p, stdout);
        if (!arg(a, quiet))
            printf("%" PRIu64 " records, %" PRIu64 " blocks read: %" PRIu64 " finding%s, %" PRIu64 " with loss of data; %" PRIu64
                   " blocks of data damaged\n",
                   r->records, r->blocks_read, r->findings, r->findings == 1 ? "" : "s", r->losses, r->damaged_blocks);
        return;
    }
    list = json_array();
    while (*p) {
        size_t len = strcspn(p, "\n");

        json_array_append_new(list, json_stringn_nocheck(p, len));
        p += len + (p[len] == '\n');
    }
    doc = json_pack("{s:o,s:I,s:I,s:I,s:I,s:I}", "lines", list, "findings", (json_int_t)r->findings, "losses", (json_int_t)r->losses,
                    "blocks_read", (json_int_t)r->blocks_read, "records", (json_int_t)r->records,
                    "damaged_blocks", (json_int_t)r->damaged_blocks);
    json_dumpf(doc, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(doc);
}

/* Each name of each --without; 0, or an error that was said. */
static int read_without(const struct args *a, struct job *j)
{
    struct strbuf all;
    char *at;

    if (a->nwithout == 0)
        return 0;
    strbuf_init(&all);
    for (unsigned i = 0; i < a->nwithout; i++)
        strbuf_add(&all, "%s%s", i ? "," : "", a->without[i]);
    j->names = strdup(strbuf_str(&all));
    strbuf_fini(&all);
    j->without = j->names ? calloc(strlen(j->names) + 1, sizeof(*j->without)) : NULL;
    if (!j->without) {
        fprintf(stderr, "firnctl: out of memory\n");
        return CTL_FAILED;
    }
    at = j->names;
    for (char *name; (name = strsep(&at, ",")) != NULL; j->without[j->nr_without++] = name)
        if (!name_valid(name)) {
            fprintf(stderr, "firnctl: --without: \"%s\" is not valid; allowed: names of volumes, as the rebuild prints them, with commas\n",
                    name);
            return CTL_USAGE;
        }
    return 0;
}

int cmd_check(const struct args *a)
{
    struct job j = {.depth = TIER_CHECK_META};
    int rc;

    if ((arg(a, quick) != NULL) + (arg(a, meta) != NULL) + (arg(a, data) != NULL) + (arg(a, rebuild_map) != NULL) > 1) {
        fprintf(stderr, "firnctl: check: --quick, --meta, --data and --rebuild-map exclude each other; choose one\n");
        return CTL_USAGE;
    }
    if (arg(a, quick))
        j.depth = TIER_CHECK_QUICK;
    if (arg(a, data))
        j.depth = TIER_CHECK_DATA;
    j.new_meta = arg(a, rebuild_map);
    if (arg(a, without) && !j.new_meta) {
        fprintf(stderr, "firnctl: check: --without goes with --rebuild-map alone\n");
        return CTL_USAGE;
    }
    strbuf_init(&j.out);
    rc = read_without(a, &j);
    if (rc == 0)
        rc = j.new_meta ? with_pool(a, "cannot rebuild the map", do_rebuild, &j) : with_pool(a, "cannot check", do_check, &j);
    if (rc == CTL_DONE)
        print_report(a, &j);
    if (rc == CTL_DONE && (j.report.findings || j.report.losses))
        rc = CTL_DAMAGE;
    strbuf_fini(&j.out);
    free(j.without);
    free(j.names);
    return rc;
}

int cmd_dump(const struct args *a)
{
    static const struct { const char *name; enum tier_dump dump; } kinds[] = {
        {"journal", TIER_DUMP_JOURNAL}, {"extents", TIER_DUMP_EXTENTS}, {"labels", TIER_DUMP_LABELS}, {"volumes", TIER_DUMP_VOLUMES},
        {"heat", TIER_DUMP_HEAT},
    };
    struct job j = {0};
    unsigned i = 0;
    json_t *doc;
    int rc;

    while (i < ARRAY_LEN(kinds) && strcmp(a->pos[0], kinds[i].name) != 0)
        i++;
    if (i == ARRAY_LEN(kinds)) {
        fprintf(stderr, "firnctl: dump: \"%s\" is nothing to dump; there are journal, extents, heat, labels, volumes\n", a->pos[0]);
        return CTL_USAGE;
    }
    j.dump = kinds[i].dump;
    strbuf_init(&j.out);
    rc = with_pool(a, "cannot dump", do_dump, &j);
    if (rc == CTL_DONE && arg(a, json)) {
        doc = json_pack("{s:s,s:o}", "dump", a->pos[0], "text", json_stringn_nocheck(strbuf_str(&j.out), j.out.len));
        json_dumpf(doc, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(doc);
    } else if (rc == CTL_DONE) {
        fputs(strbuf_str(&j.out), stdout);
        if (j.out.len == 0 && !arg(a, quiet))
            fprintf(stderr, "firnctl: there are no %s in this pool yet\n", kinds[i].name);
    }
    strbuf_fini(&j.out);
    return rc;
}
