/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c: see settings.h. */
#include "daemon/settings.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "daemon/http.h"
#include "daemon/node.h"

struct settings {
    pthread_mutex_t mu;
    struct config   cfg;
    struct node    *node;
    struct http    *http;
};

int settings_new(const struct config *cfg, struct node *node, struct http *http, struct settings **out)
{
    struct settings *s = calloc(1, sizeof(*s));

    if (!s)
        return -FIRN_E_NO_RESOURCES;
    pthread_mutex_init(&s->mu, NULL);
    s->cfg = *cfg;
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

        if (!(k->flags & KEY_RELOAD)) {
            if (!same)
                log_warn("needs a restart", "key=%s", k->path);
        } else if (!same || key == CONFIG_KEY_api_token_file) { /* the token may be new under the old name */
            if (apply(s, key, fresh, why) != 0)
                log_error("not applied", "key=%s why=%s", k->path, log_quoted(why, quoted));
            else if (!same)
                log_info("applied", "key=%s", k->path);
        }
    }
    if (fresh->nr_cache != s->cfg.nr_cache || fresh->nr_capacity != s->cfg.nr_capacity)
        log_warn("needs a restart", "key=%s", fresh->nr_cache != s->cfg.nr_cache ? "pool.cache" : "pool.capacity");
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
        err = http_load_token(s->http, config_text(&s->cfg, api_token_file), (char[256]){0});
    } else {
        err = config_load(s->cfg.file, fresh, &problems);
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

int settings_set(struct settings *s, const char *path, const char *text, char why[static 256])
{
    enum config_key key = config_key_by_path(path);
    struct config *fresh;
    int err;

    if (key == CONFIG_KEY_NR) {
        snprintf(why, 256, "%.100s: unknown key", path);
        return -FIRN_E_INVALID;
    }
    if (!(config_key_info(key)->flags & KEY_RELOAD) || key == CONFIG_KEY_api_token_file) {
        snprintf(why, 256, "%.100s: needs a restart; set it in the file", path);
        return -FIRN_E_INVALID;
    }
    fresh = calloc(1, sizeof(*fresh));
    if (!fresh)
        return -FIRN_E_NO_RESOURCES;
    err = config_set_text(fresh, key, text, why);
    if (!err) {
        pthread_mutex_lock(&s->mu);
        err = apply(s, key, fresh, why);
        pthread_mutex_unlock(&s->mu);
    }
    if (!err)
        log_info("applied", "key=%s value=%s", path, log_quoted(text, (char[LOG_QUOTED_BYTES]){0}));
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
