/* SPDX-License-Identifier: Apache-2.0 */
/* advice.c: see advice.h. It looks at what is there, by name alone: the error says what was found inside. But damage may be
 * anywhere: whether it is the metadata's is looked up.
 *
 * 1. Nothing is there, or devices without a label or a byte: a pool is yet to be made. 2. Devices are missing, and others or the
 * metadata are there: they belong together. 3. Every device is there and the metadata is not, or holds nothing: it can be made
 * again from them. 4. So it can where it is damaged, once it is out of the way.
 */
#include "daemon/advice.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/err.h"
#include "tier/meta.h"

struct look { unsigned devices, absent, empty; };

static bool absent(const char *path, struct stat *st) { return stat(path, st) != 0 && errno == ENOENT; }

static void look_at(struct look *l, const char *path)
{
    struct stat st;

    l->devices++;
    if (absent(path, &st))
        l->absent++;
    else if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0)
        l->empty++;
}

static bool metadata_absent(const struct config *c)
{
    char file[CONFIG_TEXT_MAX + 16];
    struct stat st;

    snprintf(file, sizeof(file), "%s/data.mdb", config_text(c, pool_metadata));
    return absent(file, &st);
}

/* Absent, or as somebody left it who was cut off before the first record. */
static bool metadata_empty(const struct config *c)
{
    struct meta_walk w = {0};
    char why[256];

    return metadata_absent(c) || (meta_lmdb_walk(config_text(c, pool_metadata), &w, why) == 0 && w.records == 0);
}

static bool metadata_damaged(const struct config *c)
{
    struct meta_walk w = {0};
    char why[256];
    int err = meta_lmdb_walk(config_text(c, pool_metadata), &w, why);

    return err == -FIRN_E_CORRUPT || (!err && w.bad_records > 0);
}

static enum advice judge(const struct config *c, int err)
{
    struct look l = {0};

    if (err == -FIRN_E_ROLLED_BACK)
        return ADVICE_LOSS;
    if (err == -FIRN_E_CORRUPT)
        return metadata_damaged(c) ? ADVICE_REPLACE : ADVICE_NONE;
    if (err != -FIRN_E_NOT_FIRN && err != -FIRN_E_MISSING)
        return ADVICE_NONE;
    look_at(&l, config_text(c, journal_path));
    for (unsigned i = 0; i < c->nr_cache; i++)
        look_at(&l, c->cache[i].path);
    for (unsigned i = 0; i < c->nr_capacity; i++)
        look_at(&l, c->capacity[i].path);
    if (l.absent > 0)
        return l.absent == l.devices && metadata_absent(c) ? ADVICE_FORMAT : ADVICE_CONNECT;
    if (err == -FIRN_E_NOT_FIRN || l.empty > 0)
        return ADVICE_FORMAT;
    return metadata_empty(c) ? ADVICE_REBUILD : ADVICE_NONE;
}

enum advice advice_for(const struct config *c, const char *dev, int err, char line[static ADVICE_BYTES])
{
    const char *meta = config_text(c, pool_metadata), *option = dev ? "dev" : "config", *name = dev ? dev : c->file;
    enum advice a = judge(c, err);

    if (a == ADVICE_FORMAT && dev) /* the files are whole by name: no start with --dev would make them again */
        a = ADVICE_NONE;
    line[0] = '\0';
    switch (a) {
    case ADVICE_NONE:
        break;
    case ADVICE_FORMAT:
        snprintf(line, ADVICE_BYTES, "not formatted yet: run firnd --config %s --format; it makes files that have a size, and refuses "
                 "what holds other data", name);
        break;
    case ADVICE_CONNECT:
        snprintf(line, ADVICE_BYTES, "connect what is missing, or %s %s", dev ? "put it back into" : "correct its path in", name);
        break;
    case ADVICE_LOSS:
        snprintf(line, ADVICE_BYTES, "put the right journal device and metadata back; if there are none, firnctl check --%s %s --data "
                 "tells what is lost, and a start with --accept-loss goes on without it", option, name);
        break;
    case ADVICE_REBUILD:
        snprintf(line, ADVICE_BYTES, "put the metadata back into pool.metadata, %s, or make it again from the devices: firnctl check "
                 "--%s %s --rebuild-map %s", meta, option, name, meta);
        break;
    case ADVICE_REPLACE:
        snprintf(line, ADVICE_BYTES, "move the damaged metadata aside, then make it again from the devices: mv %s %s.bad && firnctl check "
                 "--%s %s --rebuild-map %s", meta, meta, option, name, meta);
        break;
    }
    return a;
}

void advice_for_format(const struct config *c, const char *dev, bool pool, char line[static ADVICE_BYTES])
{
    const char *option = dev ? "dev" : "config", *name = dev ? dev : c->file;

    if (pool)
        snprintf(line, ADVICE_BYTES, "a whole pool is there: leave --format out to serve it; firnctl dump volumes --%s %s tells what it "
                 "holds. For another pool name %s; to put one in its place, and lose all that its volumes hold, stop its firnd, save what "
                 "is wanted, then add --force", option, name, dev ? "another directory" : "other devices");
    else
        snprintf(line, ADVICE_BYTES, "look at what is there: firnctl dump labels --%s %s knows what is Firn's, blkid and lsblk -f tell the "
                 "rest. Name %s, or, if nothing of it is wanted, add --force", option, name, dev ? "another directory" : "other devices");
}
