/* SPDX-License-Identifier: Apache-2.0 */
/* config_profile.c: tier.profile: other defaults for keys. A profile is nothing but its lines in this list: no code asks which one it
 * is, and each line can be had, or undone, by the key itself. All of them are keys that may change while running.
 *
 * The figures of low-wear are measured (tier/POLICY.md). The others follow from how those programs read and write:
 * - mysql: pages of 16 KiB at random with a hot set; a redo log and a doublewrite buffer, written again and again; now and then a scan
 *   or a dump. The buffer pool has what is hottest: a page that comes here twice came back, and that says nothing of the other three of
 *   its chunk, so pages are judged alone. Scans are streams from 1 MiB on. Half the transfer and half
 *   the memory a miss. More of the log may be dirty, for what is written again is destaged once.
 * - cassandra: commit log, memtables and compaction write whole files once, in order; compaction reads them once, in order. None of that
 *   belongs on the SSD: streams end at 512 KiB, and read-ahead is as long as the memory lets it. Point reads of hot partitions come
 *   back as chunks. Destage begins early, so that the log has room when the next compaction writes as fast as the network does.
 * - archive: written once, read rarely, then from end to end. A copy must be asked for a third time; reads fetch and read ahead as
 *   much as the memory lets them; what is written goes to the HDD soon, so that little is lost with the SSD, and only once.
 */
#include "daemon/config.h"

#include <stdio.h>

#define NAMES(x) x("balanced") x("low-wear") x("mysql") x("cassandra") x("archive")

struct preset { const char *profile; enum config_key key; const char *value; };

static const struct preset presets[] = {
    {"low-wear", CONFIG_KEY_tier_admit_blocks, "true"},
    {"low-wear", CONFIG_KEY_tier_admit_again, "4"},
    {"low-wear", CONFIG_KEY_tier_destage_victims, "true"},
    {"low-wear", CONFIG_KEY_tier_dirty_max, "70"},
    {"low-wear", CONFIG_KEY_tier_write_bypass, "4MiB"},

    {"mysql", CONFIG_KEY_tier_admit_blocks, "true"},
    {"mysql", CONFIG_KEY_tier_stream_cutoff, "1MiB"},
    {"mysql", CONFIG_KEY_tier_fetch_size, "64KiB"},
    {"mysql", CONFIG_KEY_tier_dirty_start, "70"},
    {"mysql", CONFIG_KEY_tier_dirty_max, "85"},

    {"cassandra", CONFIG_KEY_tier_stream_cutoff, "512KiB"},
    {"cassandra", CONFIG_KEY_tier_read_ahead_max, "2MiB"},
    {"cassandra", CONFIG_KEY_tier_dirty_start, "25"},

    {"archive", CONFIG_KEY_tier_admit, "3"},
    {"archive", CONFIG_KEY_tier_admit_again, "4"},
    {"archive", CONFIG_KEY_tier_stream_cutoff, "1MiB"},
    {"archive", CONFIG_KEY_tier_destage_victims, "true"},
    {"archive", CONFIG_KEY_tier_fetch_size, "256KiB"},
    {"archive", CONFIG_KEY_tier_read_ahead_max, "2MiB"},
    {"archive", CONFIG_KEY_tier_dirty_start, "20"},
};

static const char *const names[] = {
#define X(name) name,
    NAMES(X)
#undef X
};

bool config_profile_valid(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static void set_default(struct config *c, enum config_key key, const char *value)
{
    char why[256];

    if (config_set_text(c, key, value, why) != 0)
        assert(false && "what a profile says must be allowed by the key");
}

void config_profile_apply(struct config *c)
{
    const char *profile = config_text(c, tier_profile);

    for (unsigned i = 0; i < ARRAY_LEN(presets); i++)
        if (c->line[presets[i].key] == 0)
            set_default(c, presets[i].key, config_key_info(presets[i].key)->shown);
    for (unsigned i = 0; i < ARRAY_LEN(presets); i++)
        if (c->line[presets[i].key] == 0 && strcmp(presets[i].profile, profile) == 0)
            set_default(c, presets[i].key, presets[i].value);
}

bool config_profile_sets(enum config_key key)
{
    for (unsigned i = 0; i < ARRAY_LEN(presets); i++)
        if (presets[i].key == key)
            return true;
    return false;
}

void config_profile_print(struct strbuf *b, const char *indent)
{
    for (unsigned n = 0; n < ARRAY_LEN(names); n++) {
        const char *sep = "";

        for (unsigned i = 0; i < ARRAY_LEN(presets); i++) {
            if (strcmp(presets[i].profile, names[n]) != 0)
                continue;
            if (sep[0] == '\0')
                strbuf_add(b, "%s#   %s:", indent, names[n]);
            strbuf_add(b, "%s %s = %s", sep, strchr(config_key_info(presets[i].key)->path, '.') + 1, presets[i].value);
            sep = ",";
        }
        if (sep[0] != '\0')
            strbuf_add(b, "\n");
    }
}
