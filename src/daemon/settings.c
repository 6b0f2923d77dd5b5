/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c: see settings.h. */
#include "daemon/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "daemon/http.h"
#include "daemon/node.h"
#include "daemon/options.h"

#define SET_BY_REQUEST 1u /* line of a key that a request has set: it is no default */

struct settings {
    pthread_mutex_t mu;
    struct config   cfg;
    const struct options *opts;
    struct node    *node;
    struct http    *http;
};

int settings_new(const struct config *cfg, const struct options *opts, struct node *node, struct http *http, struct settings **out)
{
    struct settings *s = calloc(1, sizeof(*s));

    if (!s)
        return -FIRN_E_NO_RESOURCES;
    pthread_mutex_init(&s->mu, NULL);
    s->cfg = *cfg;
    s->opts = opts;
    s->node = node;
    s->http = http;
    *out = s;
    return 0;
}

void settings_free(struct settings *s)
{
    pthread_mutex_destroy(&s->mu);
    free(s);
}

static bool tunes(enum config_key key)
{
    const struct config_key_info *k = config_key_info(key);

    return (k->flags & KEY_RELOAD) && (strncmp(k->path, "tier.", 5) == 0 || strncmp(k->path, "mover.", 6) == 0);
}

/* Every KEY_RELOAD key has its line here; the assertion finds one that was forgotten. What tunes the tier is in force: see tune(). */
static int apply(struct settings *s, enum config_key key, const struct config *from, char why[static 256])
{
    enum log_level level;

    if (key == CONFIG_KEY_log_level && log_level_parse(config_text(from, log_level), &level) == 0) {
        log_set_level(level);
    } else if (key == CONFIG_KEY_limits_volumes) {
        node_set_volumes_max(s->node, config_num(from, limits_volumes));
    } else if (!tunes(key)) {
        int err = http_load_token(s->http, config_text(from, api_token_file), why);

        assert(key == CONFIG_KEY_api_token_file);
        if (err)
            return err;
    }
    s->cfg.v[key] = from->v[key];
    return 0;
}

static void log_lines(const char *text)
{
    while (*text) {
        char line[LOG_QUOTED_BYTES], quoted[LOG_QUOTED_BYTES];
        size_t len = strcspn(text, "\n");

        snprintf(line, sizeof(line), "%.*s", (int)MIN(len, sizeof(line) - 1), text);
        log_error("configuration not applied", "problem=%s", log_quoted(line, quoted));
        text += len + (text[len] == '\n');
    }
}

/* What tunes the tier takes effect all at once, before anything else of a change. 0: it is in force. -ETIMEDOUT: the pool has it, and
 * takes it when its reactors go on: so it is what is set. Else it is as it was. */
static int tune(struct settings *s, const struct config *fresh)
{
    struct config *next = calloc(1, sizeof(*next));
    int err;

    if (!next)
        return -FIRN_E_NO_RESOURCES;
    *next = s->cfg;
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++)
        if (tunes((enum config_key)i))
            next->v[i] = fresh->v[i];
    err = node_retune(s->node, next);
    if (!err || err == -ETIMEDOUT)
        s->cfg = *next;
    free(next);
    return err;
}

static void log_tuned(const char *path, int err)
{
    if (!err)
        log_info("applied", "key=%s", path);
    else if (err == -ETIMEDOUT)
        log_warn("not applied yet", "key=%s why=\"the pool has not answered; it takes it when its reactors go on\"", path);
    else
        log_error("not applied", "key=%s why=\"%s\"", path, err_text(err));
}

static bool devs_equal(const struct config_dev *a, unsigned nr_a, const struct config_dev *b, unsigned nr_b)
{
    bool same = nr_a == nr_b;

    for (unsigned i = 0; same && i < nr_a; i++)
        same = strcmp(a[i].path, b[i].path) == 0 && a[i].size_bytes == b[i].size_bytes && a[i].media == b[i].media;
    return same;
}

static void warn_devs(const struct config *is, const struct config *fresh)
{
    if (!devs_equal(is->cache, is->nr_cache, fresh->cache, fresh->nr_cache))
        log_warn("needs a restart", "key=pool.cache");
    if (!devs_equal(is->capacity, is->nr_capacity, fresh->capacity, fresh->nr_capacity))
        log_warn("needs a restart", "key=pool.capacity");
}

/* Where keys stand in the file that was read: what no longer stands there is the profile's from now on. */
static void apply_changes(struct settings *s, const struct config *fresh)
{
    bool changed[CONFIG_KEY_NR], tuned = false;
    char why[256], quoted[LOG_QUOTED_BYTES];
    int err;

    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        changed[i] = !config_value_equal(&s->cfg, fresh, (enum config_key)i);
        tuned |= changed[i] && tunes((enum config_key)i);
    }
    err = tuned ? tune(s, fresh) : 0;
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        enum config_key key = (enum config_key)i;
        const struct config_key_info *k = config_key_info(key);
        unsigned tokens = http_token_changes(s->http);

        if (!changed[i] && key != CONFIG_KEY_api_token_file) /* the token may be new under the old name */
            continue;
        if (!(k->flags & KEY_RELOAD))
            log_warn("needs a restart", "key=%s", k->path);
        else if (tunes(key))
            log_tuned(k->path, err);
        else if (apply(s, key, fresh, why) != 0)
            log_error("not applied", "key=%s why=%s", k->path, log_quoted(why, quoted));
        else if (changed[i] || tokens != http_token_changes(s->http))
            log_info("applied", "key=%s", k->path);
    }
    warn_devs(&s->cfg, fresh);
    memcpy(s->cfg.line, fresh->line, sizeof(s->cfg.line));
}

static int reload_token(struct settings *s)
{
    unsigned before = http_token_changes(s->http);
    char why[256] = "", quoted[LOG_QUOTED_BYTES];
    int err = http_load_token(s->http, config_text(&s->cfg, api_token_file), why);

    if (err)
        log_error("not applied", "key=api.token_file why=%s", log_quoted(why, quoted));
    else if (before != http_token_changes(s->http))
        log_info("applied", "key=api.token_file");
    return err;
}

int settings_reload(struct settings *s)
{
    struct config *fresh = calloc(1, sizeof(*fresh));
    struct strbuf problems;
    int err;

    if (!fresh)
        return -FIRN_E_NO_RESOURCES;
    strbuf_init(&problems);
    pthread_mutex_lock(&s->mu);
    if (s->cfg.file[0] == '\0') {
        log_info("no configuration file to read again", "source=options");
        err = reload_token(s);
    } else {
        err = config_load(s->cfg.file, fresh, &problems);
        if (!err)
            err = options_apply(s->opts, fresh, &problems);
        if (!err)
            err = config_validate(fresh, &problems);
        if (err)
            log_lines(strbuf_str(&problems));
        else
            apply_changes(s, fresh);
        if (!err)
            log_info("configuration read again", "file=\"%s\"", s->cfg.file);
    }
    pthread_mutex_unlock(&s->mu);
    strbuf_fini(&problems);
    free(fresh);
    return err;
}

/* A value as the file would have it; NULL: it is no value. */
static const char *value_text(const json_t *v, char num[static 32])
{
    if (json_is_string(v))
        return json_string_value(v);
    if (json_is_boolean(v))
        return json_is_true(v) ? "true" : "false";
    snprintf(num, 32, "%" PRId64, (int64_t)json_integer_value(v));
    return json_is_integer(v) ? num : NULL;
}

/* One key of a request, into fresh. */
static int set_one(struct config *fresh, const char *path, const json_t *v, char why[static 256])
{
    enum config_key key = config_key_by_path(path);
    char num[32], what[256];
    const char *text = value_text(v, num);
    int err = -FIRN_E_INVALID;

    if (!config_live(path, why))
        return err;
    if (text == NULL)
        snprintf(why, 256, "%.100s: not a text, number, true or false", path);
    else if ((err = config_set_text(fresh, key, text, what)) != 0)
        snprintf(why, 256, "%.60s: %.190s", path, what);
    if (!err)
        fresh->line[key] = SET_BY_REQUEST;
    return err;
}

/* All keys of a request, and what they are together. */
static int set_all(struct config *fresh, json_t *keys, char why[static 256])
{
    enum config_key wrong;
    const char *path;
    char what[256];
    json_t *v;
    int err = 0;

    json_object_foreach(keys, path, v)
    {
        if (!err)
            err = set_one(fresh, path, v, why);
    }
    if (!err)
        config_profile_apply(fresh);
    if (err || (wrong = config_dirty_wrong(fresh, what)) == CONFIG_KEY_NR)
        return err;
    snprintf(why, 256, "%s: %.220s", config_key_info(wrong)->path, what);
    return -FIRN_E_INVALID;
}

static void log_applied(const struct settings *s, enum config_key key)
{
    struct strbuf b;

    strbuf_init(&b);
    config_value_print(&b, &s->cfg, key);
    log_info("applied", "key=%s value=%s", config_key_info(key)->path, log_quoted(strbuf_str(&b), (char[LOG_QUOTED_BYTES]){0}));
    strbuf_fini(&b);
}

/* Those that the request names, and those that follow a profile. When the pool refuses its part, nothing is changed. */
static int apply_request(struct settings *s, const struct config *fresh, json_t *keys, char why[static 256])
{
    bool asked[CONFIG_KEY_NR], tuned = false;
    int err;

    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const char *path = config_key_info((enum config_key)i)->path;

        asked[i] = json_object_get(keys, path) != NULL || !config_value_equal(&s->cfg, fresh, (enum config_key)i);
        tuned |= asked[i] && tunes((enum config_key)i);
    }
    err = tuned ? tune(s, fresh) : 0;
    if (err && err != -ETIMEDOUT) {
        snprintf(why, 256, "nothing is changed: %s",
                 err == -FIRN_E_IN_USE ? "the pool has not yet taken an earlier change" : err_text(err));
        return err;
    }
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        if (!asked[i])
            continue;
        (void)apply(s, (enum config_key)i, fresh, why); /* cannot fail: what may, the token, is not set this way */
        s->cfg.line[i] = fresh->line[i];
        log_applied(s, (enum config_key)i);
    }
    if (err)
        snprintf(why, 256, "all of it is set, but the pool has not answered yet: keys of tier and mover are in force as soon as its "
                           "reactors go on; GET /v1/config has them already");
    return err;
}

int settings_set(struct settings *s, json_t *keys, char why[static 256])
{
    struct config *fresh = calloc(1, sizeof(*fresh));
    int err;

    if (!fresh)
        return -FIRN_E_NO_RESOURCES;
    pthread_mutex_lock(&s->mu);
    *fresh = s->cfg;
    err = set_all(fresh, keys, why);
    if (!err)
        err = apply_request(s, fresh, keys, why);
    pthread_mutex_unlock(&s->mu);
    free(fresh);
    return err;
}

json_t *settings_json(struct settings *s)
{
    json_t *o = json_object();

    pthread_mutex_lock(&s->mu);
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        struct strbuf b;

        strbuf_init(&b);
        config_value_print(&b, &s->cfg, (enum config_key)i);
        json_object_set_new(o, config_key_info((enum config_key)i)->path, json_string(strbuf_str(&b)));
        strbuf_fini(&b);
    }
    pthread_mutex_unlock(&s->mu);
    return o;
}
