/* SPDX-License-Identifier: Apache-2.0 */
/* settings_say.c: changes of the configuration, as the log has them: each with what was and what is to be. */
#include "daemon/settings_say.h"

#include <stdio.h>

static const char *value_quoted(const struct config *c, enum config_key key, char buf[static LOG_QUOTED_BYTES])
{
    struct strbuf b;

    strbuf_init(&b);
    config_value_print(&b, c, key);
    log_quoted(strbuf_str(&b), buf);
    strbuf_fini(&b);
    return buf;
}

void settings_say(enum log_level level, const char *what, enum config_key key, const struct config *from, const struct config *to,
                  const char *why)
{
    char a[LOG_QUOTED_BYTES], b[LOG_QUOTED_BYTES], w[LOG_QUOTED_BYTES];

    value_quoted(from, key, a);
    value_quoted(to, key, b);
    log_line(level, what, "key=%s from=%s to=%s%s%s", config_key_info(key)->path, a, b, why[0] ? " why=" : "",
             why[0] ? log_quoted(why, w) : "");
}

const char *settings_why_not_live(const char *path, char why[static 256])
{
    (void)config_live(path, why);
    return why + strlen(path) + 2;
}

/* Exact: lists that differ read differently. */
static void devs_print(struct strbuf *b, const struct config_dev *devs, unsigned nr, bool media)
{
    for (unsigned i = 0; i < nr; i++) {
        strbuf_add(b, "%s%s", i ? ", " : "", devs[i].path);
        if (devs[i].size_bytes) {
            strbuf_add(b, " ");
            config_size_print(b, devs[i].size_bytes);
        }
        if (media && devs[i].media != TIER_MEDIA_ASK)
            strbuf_add(b, " %s", devs[i].media == TIER_MEDIA_HDD ? "hdd" : "ssd");
    }
}

static unsigned say_devs(const char *key, const struct config_dev *is, unsigned nr_is, const struct config_dev *wanted, unsigned nr_wanted,
                         bool media)
{
    char from[LOG_QUOTED_BYTES], to[LOG_QUOTED_BYTES], why[256], w[LOG_QUOTED_BYTES];
    struct strbuf a, b;
    bool same;

    strbuf_init(&a);
    strbuf_init(&b);
    devs_print(&a, is, nr_is, media);
    devs_print(&b, wanted, nr_wanted, media);
    same = strcmp(strbuf_str(&a), strbuf_str(&b)) == 0;
    if (!same)
        log_warn("not applied", "key=%s from=%s to=%s why=%s", key, log_quoted(strbuf_str(&a), from), log_quoted(strbuf_str(&b), to),
                 log_quoted(settings_why_not_live(key, why), w));
    strbuf_fini(&a);
    strbuf_fini(&b);
    return !same;
}

unsigned settings_say_devs(const struct config *is, const struct config *wanted)
{
    return say_devs("pool.cache", is->cache, is->nr_cache, wanted->cache, wanted->nr_cache, false) +
           say_devs("pool.capacity", is->capacity, is->nr_capacity, wanted->capacity, wanted->nr_capacity, true);
}
