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
#include "daemon/settings_say.h"

#define SET_BY_REQUEST 1u /* line of a key that a request has set: it is no default */

struct settings {
    pthread_mutex_t mu;
    struct config   cfg;
    struct config   was;    /* before the change in hand */
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

static void log_tuned(enum config_key key, const struct config *from, const struct config *to, int err)
{
    if (!err)
        settings_say(LOG_LEVEL_INFO, "applied", key, from, to, "");
    else if (err == -ETIMEDOUT)
        settings_say(LOG_LEVEL_WARN, "not applied yet", key, from, to, "the pool has not answered; it takes it when its reactors go on");
    else
        settings_say(LOG_LEVEL_ERROR, "not applied", key, from, to, err_text(err));
}

/* A key whose value differs, or the token's, which may be new under its old name. True: it is in force. */
static bool apply_one(struct settings *s, enum config_key key, const struct config *fresh, int tuned)
{
    const struct config *was = &s->was;
    const struct config_key_info *k = config_key_info(key);
    unsigned tokens = http_token_changes(s->http);
    char why[256];

    if (!(k->flags & KEY_RELOAD)) {
        settings_say(LOG_LEVEL_WARN, "not applied", key, was, fresh, settings_why_not_live(k->path, why));
        return false;
    }
    if (tunes(key)) {
        log_tuned(key, was, fresh, tuned);
        return tuned == 0;
    }
    if (apply(s, key, fresh, why) != 0) {
        settings_say(LOG_LEVEL_ERROR, "not applied", key, was, fresh, why);
        return false;
    }
    if (!config_value_equal(was, fresh, key))
        settings_say(LOG_LEVEL_INFO, "applied", key, was, fresh, "");
    else if (tokens != http_token_changes(s->http))
        log_info("applied", "key=%s file=\"%s\" what=\"another token\"", k->path, config_text(fresh, api_token_file));
    return true;
}

/* Where keys stand in the file that was read: what no longer stands there is the profile's from now on. */
static void apply_changes(struct settings *s, const struct config *fresh)
{
    unsigned nr_changed = 0, nr_applied = 0;
    bool changed[CONFIG_KEY_NR], tuned = false;
    int err;

    s->was = s->cfg;
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        changed[i] = !config_value_equal(&s->was, fresh, (enum config_key)i);
        tuned |= changed[i] && tunes((enum config_key)i);
        nr_changed += changed[i];
    }
    err = tuned ? tune(s, fresh) : 0;
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++)
        if (changed[i] || i == CONFIG_KEY_api_token_file)
            nr_applied += apply_one(s, (enum config_key)i, fresh, err) && changed[i];
    nr_changed += settings_say_devs(&s->was, fresh);
    memcpy(s->cfg.line, fresh->line, sizeof(s->cfg.line));
    log_info("configuration read again", "file=\"%s\" changed=%u applied=%u", s->cfg.file, nr_changed, nr_applied);
}

static int reload_token(struct settings *s)
{
    unsigned before = http_token_changes(s->http);
    char why[256] = "", quoted[LOG_QUOTED_BYTES];
    int err = http_load_token(s->http, config_text(&s->cfg, api_token_file), why);

    if (err)
        log_error("not applied", "key=api.token_file why=%s", log_quoted(why, quoted));
    else if (before != http_token_changes(s->http))
        log_info("applied", "key=api.token_file file=\"%s\" what=\"another token\"", config_text(&s->cfg, api_token_file));
    return err;
}

static int read_again(struct settings *s, struct config *fresh)
{
    struct strbuf problems;
    int err;

    strbuf_init(&problems);
    err = config_load(s->cfg.file, fresh, &problems);
    if (!err)
        err = options_apply(s->opts, fresh, &problems);
    if (!err)
        err = config_validate(fresh, &problems);
    if (err)
        log_lines(strbuf_str(&problems));
    else
        apply_changes(s, fresh);
    strbuf_fini(&problems);
    return err;
}

int settings_reload(struct settings *s)
{
    struct config *fresh = calloc(1, sizeof(*fresh));
    int err;

    if (!fresh)
        return -FIRN_E_NO_RESOURCES;
    pthread_mutex_lock(&s->mu);
    if (s->cfg.file[0] == '\0') {
        log_info("no configuration file to read again", "source=options");
        err = reload_token(s);
    } else {
        err = read_again(s, fresh);
    }
    pthread_mutex_unlock(&s->mu);
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

/* Those that the request names, and those that follow a profile. When the pool refuses its part, nothing is changed. */
static int apply_request(struct settings *s, const struct config *fresh, json_t *keys, char why[static 256])
{
    bool asked[CONFIG_KEY_NR], tuned = false;
    int err;

    s->was = s->cfg;
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
        settings_say(LOG_LEVEL_INFO, "applied", (enum config_key)i, &s->was, &s->cfg, "");
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
