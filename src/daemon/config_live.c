/* SPDX-License-Identifier: Apache-2.0 */
/* config_live.c: what a running server cannot be given by a request, and what to do instead. Pure. */
#include <stdio.h>

#include "base/err.h"
#include "daemon/config.h"

/* Keys that are no plain values, and those of which a restart alone is not enough. */
static const struct { const char *path, *todo; } rows[] = {
    {"pool.cache", "is read at the start alone; name the device in firn.conf, stop firnd, take an empty one in with `firnd --add-cache`, "
                   "start it"},
    {"pool.capacity", "its devices are taken when a pool is formatted; none can be added or grown later"},
    {"pool.journal.size", "is taken when a pool is formatted"},
    {"pool.name", "is given when a pool is formatted"},
    {"pool.metadata", "is read at the start alone; stop firnd, move the directory, set it in firn.conf, start firnd"},
    {"journal.segment_size", "is chosen when a pool is formatted"},
    {"journal.align", "is chosen when a pool is formatted"},
    {"api.token_file", "is read from firn.conf alone; set it there and reload firnd (SIGHUP)"},
};

/* A group of the file: there is a key below it. */
static const char *key_below(const char *path)
{
    size_t len = strlen(path);

    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const char *full = config_key_info((enum config_key)i)->path;

        if (len > 0 && strncmp(full, path, len) == 0 && full[len] == '.')
            return full;
    }
    return NULL;
}

bool config_live(const char *path, char why[static 256])
{
    enum config_key key = config_key_by_path(path);
    const char *below = key_below(path);

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].path, path) == 0) {
            snprintf(why, 256, "%.60s: %s", path, rows[i].todo);
            return false;
        }
    if (key == CONFIG_KEY_NR && below)
        snprintf(why, 256, "%.60s: a group, no key; name each of its keys, such as %s", path, below);
    else if (key == CONFIG_KEY_NR)
        snprintf(why, 256, "%.100s: unknown key", path);
    else if (!(config_key_info(key)->flags & KEY_RELOAD))
        snprintf(why, 256, "%.60s: is read at the start alone; set it in firn.conf and restart firnd", path);
    else
        return true;
    return false;
}
