/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c: see settings.h. */
#include "daemon/settings.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "daemon/http.h"
#include "daemon/node.h"
#include "daemon/options.h"

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

/* Every KEY_RELOAD key has its line here; the assertion finds one that was forgotten. */
static int apply(struct settings *s, enum config_key key, const struct config *from, char why[static 256])
{
    enum log_level level;

    if (key == CONFIG_KEY_log_level && log_level_parse(config_text(from, log_level), &level) == 0) {
        log_set_level(level);
    } else if (key == CONFIG_KEY_limits_volumes) {
        node_set_volumes_max(s->node, config_num(from, limits_volumes));
    } else {
        int err;

        assert(key == CONFIG_KEY_api_token_file);
        err = http_load_token(s->http, config_text(from, api_token_file), why);
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

static void apply_changes(struct settings *s, const struct config *fresh)
{
    char why[256], quoted[LOG_QUOTED_BYTES];

    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        enum config_key key = (enum config_key)i;
        const struct config_key_info *k = config_key_info(key);
        bool same = config_value_equal(&s->cfg, fresh, key);
        unsigned tokens = http_token_changes(s->http);

        if (!(k->flags & KEY_RELOAD)) {
            if (!same)
                log_warn("needs a restart", "key=%s", k->path);
        } else if (!same || key == CONFIG_KEY_api_token_file) { /* the token may be new under the old name */
            if (apply(s, key, fresh, why) != 0)
                log_error("not applied", "key=%s why=%s", k->path, log_quoted(why, quoted));
            else if (!same || tokens != http_token_changes(s->http))
                log_info("applied", "key=%s", k->path);
        }
    }
    if (fresh->nr_cache != s->cfg.nr_cache || fresh->nr_capacity != s->cfg.nr_capacity)
        log_warn("needs a restart", "key=%s", fresh->nr_cache != s->cfg.nr_cache ? "pool.cache" : "pool.capacity");
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

/* One key of a request, into fresh. */
static int set_one(struct config *fresh, const char *path, const json_t *v, char why[static 256])
{
    enum config_key key = config_key_by_path(path);
    char num[32];

    snprintf(num, sizeof(num), "%" PRId64, (int64_t)json_integer_value(v));
    if (key == CONFIG_KEY_NR)
        snprintf(why, 256, "%.100s: unknown key", path);
    else if (!(config_key_info(key)->flags & KEY_RELOAD) || key == CONFIG_KEY_api_token_file)
        snprintf(why, 256, "%.100s: needs a restart; set it in the file", path);
    else if (!json_is_string(v) && !json_is_integer(v))
        snprintf(why, 256, "%.100s: not a text or number", path);
    else
        return config_set_text(fresh, key, json_is_string(v) ? json_string_value(v) : num, why);
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

int settings_set(struct settings *s, json_t *keys, char why[static 256])
{
    struct config *fresh = calloc(1, sizeof(*fresh));
    const char *path;
    json_t *v;
    int err = 0;

    if (!fresh)
        return -FIRN_E_NO_RESOURCES;
    json_object_foreach(keys, path, v)
    {
        if (!err)
            err = set_one(fresh, path, v, why);
    }
    pthread_mutex_lock(&s->mu);
    json_object_foreach(keys, path, v)
    {
        if (!err) /* cannot fail: what may, the token, is not set this way */
            err = apply(s, config_key_by_path(path), fresh, why);
        if (!err)
            log_applied(s, config_key_by_path(path));
    }
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
