/* SPDX-License-Identifier: Apache-2.0 */
/* config.c: the configuration as a whole: its defaults, how keys relate, the example file, and what the tier gets. */
#include "daemon/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/sizefmt.h"
#include "tier/tier.h"

void config_defaults(struct config *c)
{
    char why[256];

    memset(c, 0, sizeof(*c));
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const struct config_key_info *k = config_key_info((enum config_key)i);

        if (!(k->flags & KEY_REQUIRED) && config_set_text(c, (enum config_key)i, k->shown, why) != 0)
            assert(false && "a default must be allowed by its own key");
    }
    config_num(c, journal_size) = 0; /* the example names a size; a device is used whole unless told otherwise */
}

bool config_addr_is_loopback(const char *addr)
{
    struct in_addr a4;
    struct in6_addr a6;

    if (inet_pton(AF_INET, addr, &a4) == 1)
        return (ntohl(a4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, addr, &a6) == 1 && IN6_IS_ADDR_LOOPBACK(&a6);
}

struct checker {
    const struct config *c;
    struct strbuf       *problems;
    unsigned             nr;
};

static void wrong(struct checker *k, unsigned line, const char *key, const char *what)
{
    if (k->c->file[0])
        strbuf_add(k->problems, "%s:%u: %s: %s\n", k->c->file, line ? line : 1, key, what);
    else /* --dev and --ram read no file: an option set this key */
        strbuf_add(k->problems, "firnd: %s: %s\n", key, what);
    k->nr++;
}

static void check_pool(struct checker *k)
{
    const struct config *c = k->c;
    const char *journal = config_text(c, journal_path);

    if (journal[0] == '\0')
        wrong(k, c->line[CONFIG_KEY_journal_path], "pool.journal.path",
              "missing; allowed: an SSD, a partition of one, or a file");
    if (c->nr_capacity == 0)
        wrong(k, 0, "pool.capacity", "missing; at least one device, such as ( { path = \"/dev/sdb\"; } )");
    for (unsigned i = 0; i < c->nr_capacity; i++) {
        if (c->capacity[i].path[0] && strcmp(c->capacity[i].path, journal) == 0)
            wrong(k, c->capacity[i].line, "pool.capacity", "is also the journal; a device has one role");
        for (unsigned j = 0; j < i; j++)
            if (c->capacity[i].path[0] && strcmp(c->capacity[i].path, c->capacity[j].path) == 0)
                wrong(k, c->capacity[i].line, "pool.capacity", "names one device twice");
        for (unsigned j = 0; j < c->nr_cache; j++)
            if (c->capacity[i].path[0] && strcmp(c->capacity[i].path, c->cache[j].path) == 0)
                wrong(k, c->capacity[i].line, "pool.capacity", "is also a cache; a device has one role");
    }
}

static void check_token(struct checker *k)
{
    const char *file = config_text(k->c, api_token_file);
    char what[256];

    if (file[0] == '\0' || access(file, R_OK) == 0)
        return;
    snprintf(what, sizeof(what), "%.120s: %s; put one line of random text there, for root alone to read", file, strerror(errno));
    wrong(k, k->c->line[CONFIG_KEY_api_token_file], "api.token_file", what);
}

static void check_net(struct checker *k)
{
    const struct config *c = k->c;
    const char *listen = config_text(c, api_listen);

    if (listen[0] && !config_addr_is_loopback(listen) && config_text(c, api_token_file)[0] == '\0')
        wrong(k, c->line[CONFIG_KEY_api_listen], "api.listen",
              "is open to other machines and there is no token; set api.token_file, or listen on 127.0.0.1");
    check_token(k);
    if (config_num(c, export_port) != 0 && config_num(c, export_port) == config_num(c, export_discovery_port))
        wrong(k, c->line[CONFIG_KEY_export_discovery_port], "export.discovery_port",
              "the same as export.port, which serves discovery too; choose another");
}

/* The one of the two that was set is the one to complain about; a default is named with the profile that it comes from. */
enum config_key config_dirty_wrong(const struct config *c, char why[static 256])
{
    const uint64_t start = config_num(c, tier_dirty_start), max = config_num(c, tier_dirty_max);
    const bool start_set = c->line[CONFIG_KEY_tier_dirty_start] != 0, max_set = c->line[CONFIG_KEY_tier_dirty_max] != 0;
    char profile[17];

    if (start < max)
        return CONFIG_KEY_NR;
    snprintf(profile, sizeof(profile), "%.16s", config_text(c, tier_profile));
    if (max_set && !start_set) {
        snprintf(why, 256, "%" PRIu64 ", not above tier.dirty_start, which tier.profile %s has at %" PRIu64 "; set that one lower, too",
                 max, profile, start);
        return CONFIG_KEY_tier_dirty_max;
    }
    if (max_set)
        snprintf(why, 256, "%" PRIu64 ", not below tier.dirty_max, which is %" PRIu64, start, max);
    else
        snprintf(why, 256, "%" PRIu64 ", not below tier.dirty_max, which tier.profile %s has at %" PRIu64 "; set that one higher, too",
                 start, profile, max);
    return CONFIG_KEY_tier_dirty_start;
}

int config_validate_net(const struct config *c, struct strbuf *problems)
{
    struct checker k = {.c = c, .problems = problems};

    check_net(&k);
    return k.nr ? -FIRN_E_INVALID : 0;
}

int config_validate(const struct config *c, struct strbuf *problems)
{
    struct checker k = {.c = c, .problems = problems};
    enum config_key dirty;
    char why[256];

    check_pool(&k);
    check_net(&k);
    if (config_text(c, api_listen)[0] == '\0' && config_text(c, api_unix)[0] == '\0')
        wrong(&k, c->line[CONFIG_KEY_api_unix], "api.unix", "empty, and so is api.listen; the API needs one of them");
    dirty = config_dirty_wrong(c, why);
    if (dirty != CONFIG_KEY_NR)
        wrong(&k, c->line[dirty], config_key_info(dirty)->path, why);
    return k.nr ? -FIRN_E_INVALID : 0;
}

void config_node_name(const struct config *c, char out[static 64])
{
    if (config_text(c, node)[0]) {
        snprintf(out, 64, "%.63s", config_text(c, node));
        return;
    }
    if (gethostname(out, 63) != 0)
        out[0] = '\0';
    out[63] = '\0';
    for (char *p = out; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
        else if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '.' || *p == '-'))
            *p = '-';
    }
    if (!name_valid(out))
        snprintf(out, 64, "node");
}

static void add_dev(struct tier_opts *o, enum tier_role role, const char *path, uint64_t size_bytes)
{
    struct tier_dev_opts *d = &o->devs[o->nr_devs++];

    d->role = role;
    d->size_bytes = size_bytes;
    snprintf(d->path, sizeof(d->path), "%s", path);
}

void config_tier_opts(const struct config *c, struct tier_opts *out)
{
    memset(out, 0, sizeof(*out));
    snprintf(out->pool_name, sizeof(out->pool_name), "%.63s", config_text(c, pool_name));
    snprintf(out->meta_path, sizeof(out->meta_path), "%s", config_text(c, pool_metadata));
    out->meta_map_bytes = config_num(c, pool_metadata_size);
    out->buffered = config_num(c, pool_buffered);
    out->journal_pmem = config_num(c, journal_pmem);
    out->segment_bytes = (uint32_t)config_num(c, journal_segment_size);
    out->journal_align = (uint32_t)config_num(c, journal_align);
    out->group_bytes_max = (uint32_t)config_num(c, journal_group_max);
    out->groups_in_flight = (uint32_t)config_num(c, journal_groups);
    out->ios_per_shard = (uint32_t)config_num(c, journal_queue_depth);
    out->stage_bytes = config_num(c, tier_stage_size);
    out->fetch_bytes = (uint32_t)config_num(c, tier_fetch_size);
    out->read_ahead_max = (uint32_t)config_num(c, tier_read_ahead_max);
    out->admit_touches = (uint32_t)config_num(c, tier_admit);
    out->admit_blocks = config_num(c, tier_admit_blocks);
    out->admit_again = (uint32_t)config_num(c, tier_admit_again);
    out->admit_turns = (uint32_t)config_num(c, tier_admit_memory);
    out->stream_cutoff = config_num(c, tier_stream_cutoff) != 0 ? config_num(c, tier_stream_cutoff) : UINT64_MAX;
    out->destage_victims = config_num(c, tier_destage_victims);
    out->write_bypass = config_num(c, tier_write_bypass);
    out->write_bypass_part = (uint32_t)config_num(c, tier_write_bypass_part);
    out->write_bypass_rate = config_num(c, tier_write_bypass_rate);
    out->heat_half_life_ns = config_num(c, tier_heat_half_life_ns);
    out->migrate_rate = config_num(c, tier_migrate_rate) != 0 ? config_num(c, tier_migrate_rate) : TIER_MIGRATE_OFF;
    out->migrate_heat = (uint32_t)config_num(c, tier_migrate_heat);
    out->dirty_start_pct = (uint32_t)config_num(c, tier_dirty_start);
    out->dirty_max_pct = (uint32_t)config_num(c, tier_dirty_max);
    out->io_deadline_ns = config_num(c, tier_io_deadline_ns);
    out->mover_bandwidth = config_num(c, mover_bandwidth);
    out->mover_iops = (uint32_t)config_num(c, mover_iops);
    out->mover_latency_ns = config_num(c, mover_latency_ns);
    config_hours(config_text(c, mover_hours), &out->mover_from_min, &out->mover_to_min);
    add_dev(out, TIER_JOURNAL, config_text(c, journal_path), config_num(c, journal_size));
    for (unsigned i = 0; i < c->nr_cache; i++)
        add_dev(out, TIER_CACHE, c->cache[i].path, c->cache[i].size_bytes);
    for (unsigned i = 0; i < c->nr_capacity; i++)
        add_dev(out, TIER_CAPACITY, c->capacity[i].path, c->capacity[i].size_bytes);
    for (unsigned i = 0; i < c->nr_capacity; i++)
        out->devs[out->nr_devs - c->nr_capacity + i].media = c->capacity[i].media;
}

/* ---- the example file ------------------------------------------------------------------------------------------- */

static void print_range(struct strbuf *b, const struct config_key_info *k)
{
    struct config c;
    enum config_key key = config_key_by_path(k->path);

    if (config_kind_is_text(k->kind) || k->kind == CONFIG_BOOL)
        return;
    strbuf_add(b, " [%s", k->flags & KEY_ZERO ? "0, or " : "");
    c.v[key].num = k->min;
    config_value_print(b, &c, key);
    strbuf_add(b, " to ");
    c.v[key].num = k->max;
    config_value_print(b, &c, key);
    strbuf_add(b, "]");
}

static void print_key(struct strbuf *b, const struct config_key_info *k, const char *indent)
{
    const char *name = strrchr(k->path, '.') ? strrchr(k->path, '.') + 1 : k->path;
    bool quoted = config_kind_is_text(k->kind) || k->kind == CONFIG_DURATION ||
                  (k->kind == CONFIG_SIZE && strspn(k->shown, "0123456789") != strlen(k->shown));

    strbuf_add(b, "%s# %s", indent, k->help);
    print_range(b, k);
    strbuf_add(b, "%s\n", k->flags & KEY_RELOAD ? " (SIGHUP applies it)" : "");
    if (k->kind == CONFIG_PROFILE)
        config_profile_print(b, indent);
    strbuf_add(b, "%s%s%s = %s%s%s;\n", indent, config_profile_sets(config_key_by_path(k->path)) ? "# " : "", name, quoted ? "\"" : "",
               k->shown, quoted ? "\"" : "");
}

static void print_group(struct strbuf *b, const char *group, const char *indent)
{
    size_t len = strlen(group);

    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const struct config_key_info *k = config_key_info((enum config_key)i);

        if (len == 0 ? strchr(k->path, '.') == NULL
                     : strncmp(k->path, group, len) == 0 && k->path[len] == '.' && !strchr(k->path + len + 1, '.'))
            print_key(b, k, indent);
    }
}

void config_print_default(struct strbuf *b)
{
    static const char *const groups[] = {"export", "api", "tier", "mover", "journal", "limits", "log"};

    strbuf_add(b, "# firn.conf: every key of firnd with its default, its range and what it trades.\n"
                  "# Sizes take KiB MiB GiB TiB (or Ki Mi Gi Ti) or bytes; durations us ms s m h; rates are per second.\n"
                  "# `firnd --check --config FILE` tells what is wrong with a file and changes nothing.\n"
                  "# Keys whose defaults depend on tier.profile are commented out; they stand here as balanced has them.\n\n");
    print_group(b, "", "");
    strbuf_add(b, "\npool: {\n");
    print_group(b, "pool", "  ");
    strbuf_add(b, "  journal: {\n");
    print_group(b, "pool.journal", "    ");
    strbuf_add(b, "  };\n"
                  "  # SSDs for copies of hot blocks; the journal's SSD then holds the log alone. ( ): one SSD for both. "
                  "firnd --add-cache takes in new ones.\n"
                  "  # One that is all theirs: ( { path = \"/dev/disk/by-id/nvme-B\"; size = 0; } )\n"
                  "  cache: ( );\n"
                  "  # HDDs (or SSDs) where data rests; a file may stand for one. size: bytes to use; 0: all of it. media:\n"
                  "  # \"ssd\" or \"hdd\", where the kernel has it wrong, as in many virtual machines: with both in one\n"
                  "  # pool hot data moves to the SSDs, and cold data leaves them.\n"
                  "  capacity: ( { path = \"/dev/disk/by-id/ata-B\"; size = 0; }, { path = \"/dev/disk/by-id/ata-C\"; } );\n"
                  "};\n");
    for (unsigned i = 0; i < ARRAY_LEN(groups); i++) {
        strbuf_add(b, "\n%s: {\n", groups[i]);
        print_group(b, groups[i], "  ");
        strbuf_add(b, "};\n");
    }
}
