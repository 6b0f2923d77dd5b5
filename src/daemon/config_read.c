/* SPDX-License-Identifier: Apache-2.0 */
/* config_read.c: firn.conf to struct config, through libconfig.
 *
 * 1. The file is read whole (bounded, no NUL bytes, no @include: libconfig would end the process on some of those).
 * 2. libconfig parses it; a syntax error is the only problem then.
 * 3. The tree is walked: a setting that is no key, group or list of ours is unknown; a key's value is turned into the
 *    text a user would have written and goes through config_set_text(), so file and API accept the same values.
 * Every problem is collected; the walk goes on.
 */
#include "daemon/config.h"

#include <errno.h>
#include <inttypes.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/sizefmt.h"

#define FILE_BYTES_MAX (256u * 1024u) /* a full configuration has some 5 KiB */
#define PATH_CHARS_MAX 128u

struct reader {
    struct config *c;
    struct strbuf *problems;
    unsigned       nr_problems;
};

static void problem(struct reader *r, unsigned line, const char *key, const char *what)
{
    strbuf_add(r->problems, "%s:%u: %s: %s\n", r->c->file, line, key, what);
    r->nr_problems++;
}

static unsigned line_of(const config_setting_t *s)
{
    unsigned line = config_setting_source_line(s);

    return line ? line : 1;
}

/* What the user wrote, as text; false when the value has a type that no key has. */
static bool scalar_text(const config_setting_t *s, enum config_kind kind, char *buf, size_t cap)
{
    const char *str;

    switch (config_setting_type(s)) {
    case CONFIG_TYPE_STRING:
        str = config_setting_get_string(s);
        if (kind == CONFIG_BOOL || kind == CONFIG_UINT || (kind == CONFIG_PERCENT && strchr(str, '%') == NULL))
            return false;
        snprintf(buf, cap, "%s", str);
        return true;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        if (config_kind_is_text(kind) || kind == CONFIG_BOOL)
            return false;
        snprintf(buf, cap, "%lld", config_setting_get_int64(s));
        return true;
    case CONFIG_TYPE_BOOL:
        snprintf(buf, cap, "%s", config_setting_get_bool(s) ? "true" : "false");
        return kind == CONFIG_BOOL;
    default:
        return false;
    }
}

static const char *type_wanted(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_ADDR:
    case CONFIG_LEVEL:
    case CONFIG_HOURS:
    case CONFIG_PROFILE:
        return "wrong type; allowed: a text in quotes";
    case CONFIG_UINT:
        return "wrong type; allowed: a whole number";
    case CONFIG_SIZE:
        return "wrong type; allowed: a size such as \"64MiB\", or a number of bytes";
    case CONFIG_DURATION:
        return "wrong type; allowed: a duration such as \"50us\"";
    case CONFIG_PERCENT:
        return "wrong type; allowed: a percentage such as 60 or \"60%\"";
    case CONFIG_BOOL:
        return "wrong type; allowed: true or false";
    }
    return "wrong type";
}

static void read_key(struct reader *r, const config_setting_t *s, enum config_key key)
{
    const struct config_key_info *k = config_key_info(key);
    char text[1024], why[256];

    r->c->line[key] = line_of(s);
    if (!scalar_text(s, k->kind, text, sizeof(text)))
        problem(r, line_of(s), k->path, type_wanted(k->kind));
    else if (config_set_text(r->c, key, text, why) != 0)
        problem(r, line_of(s), k->path, why);
}

static void read_media(struct reader *r, const config_setting_t *m, const char *full, enum tier_media *out)
{
    const char *text = config_setting_get_string(m);

    if (text != NULL && strcmp(text, "ssd") == 0)
        *out = TIER_MEDIA_SSD;
    else if (text != NULL && strcmp(text, "hdd") == 0)
        *out = TIER_MEDIA_HDD;
    else
        problem(r, line_of(m), full, "allowed: \"ssd\" or \"hdd\"; without it the kernel says");
}

static void read_dev_member(struct reader *r, const config_setting_t *m, const char *path, struct config_dev *dev)
{
    const char *name = config_setting_name(m);
    struct config scratch; /* a device's path and size obey the rules of the journal's */
    enum config_key key;
    char full[PATH_CHARS_MAX], text[1024], why[256];

    snprintf(full, sizeof(full), "%s.%.40s", path, name);
    if (strcmp(name, "path") == 0)
        key = CONFIG_KEY_journal_path;
    else if (strcmp(name, "size") == 0)
        key = CONFIG_KEY_journal_size;
    else if (strcmp(name, "media") == 0 && strcmp(path, "pool.capacity") == 0) {
        read_media(r, m, full, &dev->media);
        return;
    } else {
        problem(r, line_of(m), full, strcmp(path, "pool.capacity") == 0 ? "unknown key; allowed here: path, size, media"
                                                                        : "unknown key; allowed here: path, size");
        return;
    }
    if (!scalar_text(m, config_key_info(key)->kind, text, sizeof(text)))
        problem(r, line_of(m), full, type_wanted(config_key_info(key)->kind));
    else if (config_set_text(&scratch, key, text, why) != 0)
        problem(r, line_of(m), full, why);
    else if (key == CONFIG_KEY_journal_path)
        memcpy(dev->path, scratch.v[key].text, CONFIG_TEXT_MAX);
    else
        dev->size_bytes = scratch.v[key].num;
}

static void read_devs(struct reader *r, const config_setting_t *list, const char *path, struct config_dev *out,
                      unsigned max, unsigned *nr)
{
    int n = config_setting_length(list);

    if (!config_setting_is_list(list)) {
        problem(r, line_of(list), path, "wrong type; allowed: a list such as ( { path = \"/dev/sdb\"; } )");
        return;
    }
    for (int i = 0; i < n; i++) {
        const config_setting_t *e = config_setting_get_elem(list, (unsigned)i);
        struct config_dev dev = {.line = line_of(e)};
        unsigned before = r->nr_problems;

        if (*nr == max) {
            problem(r, dev.line, path, "too many devices");
            return;
        }
        if (!config_setting_is_group(e)) {
            problem(r, dev.line, path, "wrong type; allowed: groups such as { path = \"/dev/sdb\"; size = \"1TiB\"; }");
            continue;
        }
        for (int j = 0; j < config_setting_length(e); j++)
            read_dev_member(r, config_setting_get_elem(e, (unsigned)j), path, &dev);
        if (dev.path[0] == '\0' && r->nr_problems == before)
            problem(r, dev.line, path, "path is missing; every device has one");
        out[(*nr)++] = dev;
    }
}

/* Is `path` a group that holds keys? */
static bool is_group(const char *path)
{
    size_t len = strlen(path);

    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const char *p = config_key_info((enum config_key)i)->path;

        if (strncmp(p, path, len) == 0 && p[len] == '.')
            return true;
    }
    return false;
}

static void say_unknown(struct reader *r, const config_setting_t *s, const char *path, const char *parent)
{
    struct strbuf b;
    size_t len = strlen(parent);

    strbuf_init(&b);
    strbuf_add(&b, "unknown key; allowed here:");
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const char *p = config_key_info((enum config_key)i)->path;

        if (len == 0 ? strchr(p, '.') == NULL
                     : strncmp(p, parent, len) == 0 && p[len] == '.' && strchr(p + len + 1, '.') == NULL)
            strbuf_add(&b, " %s", len == 0 ? p : p + len + 1);
    }
    if (len == 0)
        strbuf_add(&b, " pool export api tier mover journal limits log");
    if (strcmp(parent, "pool") == 0)
        strbuf_add(&b, " journal cache capacity");
    problem(r, line_of(s), path, strbuf_str(&b));
    strbuf_fini(&b);
}

/* Groups nest at most as deep as our keys do ("pool.journal.path"), so the recursion is bounded: an unknown group is
 * reported and not entered. */
static void read_group(struct reader *r, const config_setting_t *group, const char *parent)
{
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        char path[PATH_CHARS_MAX];
        enum config_key key;

        snprintf(path, sizeof(path), "%s%s%.60s", parent, parent[0] ? "." : "", config_setting_name(s));
        key = config_key_by_path(path);
        if (key != CONFIG_KEY_NR)
            read_key(r, s, key);
        else if (strcmp(path, "pool.cache") == 0)
            read_devs(r, s, path, r->c->cache, CACHE_DEVS_MAX, &r->c->nr_cache);
        else if (strcmp(path, "pool.capacity") == 0)
            read_devs(r, s, path, r->c->capacity, CAPACITY_DEVS_MAX, &r->c->nr_capacity);
        else if (!is_group(path))
            say_unknown(r, s, path, parent);
        else if (!config_setting_is_group(s))
            problem(r, line_of(s), path, "wrong type; allowed: a group such as { ... }");
        else
            read_group(r, s, path);
    }
}

/* libconfig 1.5 ends the process when an included "file" is a directory; and lines of an include would be misnamed. */
static unsigned include_line(const char *text)
{
    unsigned line = 1;
    bool line_start = true;

    for (const char *p = text; *p; p++) {
        if (line_start && strncmp(p, "@include", 8) == 0)
            return line;
        if (*p == '\n')
            line++;
        line_start = *p == '\n' || (line_start && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\f'));
    }
    return 0;
}

int config_parse(const char *text, const char *file, struct config *out, struct strbuf *problems)
{
    struct reader r = {.c = out, .problems = problems};
    config_t cfg;
    unsigned line = include_line(text);

    config_defaults(out);
    snprintf(out->file, sizeof(out->file), "%s", file);
    if (line) {
        problem(&r, line, "@include", "files cannot include others; put the keys here");
        return -FIRN_E_INVALID;
    }
    config_init(&cfg);
    if (config_read_string(&cfg, text) != CONFIG_TRUE) {
        problem(&r, (unsigned)MAX(config_error_line(&cfg), 1), config_error_text(&cfg),
                "the file does not parse; settings look like  name = value;");
    } else {
        out->has_pool = config_lookup(&cfg, "pool") != NULL;
        read_group(&r, config_root_setting(&cfg), "");
    }
    config_destroy(&cfg);
    config_profile_apply(out);
    return r.nr_problems ? -FIRN_E_INVALID : 0;
}

/* The whole file as a string; the caller frees it. */
static int slurp(const char *file, char **out, const char **why)
{
    char *buf = malloc(FILE_BYTES_MAX + 1);
    FILE *f = fopen(file, "re");
    size_t n = 0;
    int err = 0;

    *why = "cannot be read";
    if (!buf || !f) {
        err = -errno;
    } else {
        n = fread(buf, 1, FILE_BYTES_MAX + 1, f);
        if (ferror(f))
            err = -errno;
        else if (n > FILE_BYTES_MAX)
            err = -EFBIG;
        else if (memchr(buf, '\0', n))
            err = -EILSEQ;
    }
    if (f)
        fclose(f);
    if (err) {
        free(buf);
        return err ? err : -EIO;
    }
    buf[n] = '\0';
    *out = buf;
    return 0;
}

int config_load(const char *file, struct config *out, struct strbuf *problems)
{
    char *text = NULL;
    const char *why;
    int err = slurp(file, &text, &why);

    if (err) {
        config_defaults(out);
        snprintf(out->file, sizeof(out->file), "%s", file);
        strbuf_add(problems, err == -ENOENT ? "%s: %s: %s; name a file with --config, or try --dev DIR, which needs none\n"
                                            : "%s: %s: %s; it must be a readable text of at most 256 KiB\n", file, why, err_text(err));
        return err;
    }
    err = config_parse(text, file, out, problems);
    free(text);
    return err;
}
