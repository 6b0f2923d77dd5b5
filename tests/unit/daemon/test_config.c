/* SPDX-License-Identifier: Apache-2.0 */
/* Every key of firn.conf against every way to get it wrong; messages carry file and line. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "daemon/config.h"
#include "tier/tier.h"

static struct config c;
static struct strbuf problems;

static int parse(const char *text)
{
    strbuf_fini(&problems);
    strbuf_init(&problems);
    return config_parse(text, "t.conf", &c, &problems);
}

/* "a.b.c" = value as nested groups, the key on line 2. */
static char *setting(const char *path, const char *value)
{
    static char out[2048];
    char copy[128], *save = NULL, tail[16] = "";
    char *part;

    snprintf(copy, sizeof(copy), "%s", path);
    snprintf(out, sizeof(out), "# first line\n");
    part = strtok_r(copy, ".", &save);
    for (char *next; part; part = next) {
        next = strtok_r(NULL, ".", &save);
        snprintf(out + strlen(out), sizeof(out) - strlen(out), next ? "%s: { " : "%s = ", part);
        if (next)
            strcat(tail, " };");
    }
    snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s;%s\n", value, tail);
    return out;
}

static void expect_refused(const char *path, const char *value, const char *words)
{
    char head[160];

    snprintf(head, sizeof(head), "t.conf:2: %s: ", path);
    cr_assert_neq(parse(setting(path, value)), 0, "%s = %s was accepted", path, value);
    cr_assert(strncmp(strbuf_str(&problems), head, strlen(head)) == 0, "%s = %s said: %s", path, value, strbuf_str(&problems));
    cr_assert(strstr(strbuf_str(&problems), words) != NULL, "%s = %s said: %s", path, value, strbuf_str(&problems));
}

static bool is_text(const struct config_key_info *k) { return config_kind_is_text(k->kind); }

Test(config, defaults_parse_and_are_what_the_list_shows)
{
    cr_assert_eq(parse(""), 0);
    cr_assert_eq(config_num(&c, export_port), 4420);
    cr_assert_eq(config_num(&c, tier_dirty_max), 60);
    cr_assert_eq(config_num(&c, export_poll_ns), 50000);
    cr_assert_str_eq(config_text(&c, pool_name), "default");
}

Test(config, every_key_refuses_a_wrong_type)
{
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const struct config_key_info *k = config_key_info((enum config_key)i);

        expect_refused(k->path, "[ 1, 2 ]", "allowed");
        expect_refused(k->path, "1.5", "allowed");
        expect_refused(k->path, "{ a = 1; }", "allowed");
        if (k->kind != CONFIG_BOOL)
            expect_refused(k->path, "true", "allowed");
        if (is_text(k) || k->kind == CONFIG_BOOL)
            expect_refused(k->path, "7", "allowed");
        else if (k->kind == CONFIG_UINT || k->kind == CONFIG_PERCENT)
            expect_refused(k->path, "\"7\"", "allowed");
    }
}

Test(config, every_sized_key_refuses_a_bad_unit)
{
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const struct config_key_info *k = config_key_info((enum config_key)i);

        if (k->kind == CONFIG_SIZE) {
            expect_refused(k->path, "\"5 parsec\"", "KiB MiB GiB TiB");
            expect_refused(k->path, "\"64MB\"", "KiB MiB GiB TiB");
            expect_refused(k->path, "\"\"", "KiB MiB GiB TiB");
            expect_refused(k->path, "\"-1MiB\"", "KiB MiB GiB TiB");
        } else if (k->kind == CONFIG_DURATION) {
            expect_refused(k->path, "\"5\"", "us ms s m h");
            expect_refused(k->path, "\"5 days\"", "us ms s m h");
        } else if (k->kind == CONFIG_PERCENT) {
            expect_refused(k->path, "\"sixty\"", "percentage");
        }
    }
}

Test(config, every_number_refuses_what_is_out_of_range)
{
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const struct config_key_info *k = config_key_info((enum config_key)i);
        char value[64];

        if (is_text(k) || k->kind == CONFIG_BOOL)
            continue;
        if (k->kind == CONFIG_DURATION)
            snprintf(value, sizeof(value), "\"%lluus\"", (unsigned long long)(k->max / 1000 + 1));
        else
            snprintf(value, sizeof(value), "%lluL", (unsigned long long)(k->max + 1));
        expect_refused(k->path, value, "out of range");
        if (k->min > 1) {
            if (k->kind == CONFIG_DURATION)
                snprintf(value, sizeof(value), "\"%lluus\"", (unsigned long long)(k->min / 1000 - 1));
            else
                snprintf(value, sizeof(value), "%lluL", (unsigned long long)(k->min - 1));
            expect_refused(k->path, value, "out of range");
        }
        expect_refused(k->path, k->kind == CONFIG_DURATION ? "\"-1s\"" : "-1", "");
    }
}

Test(config, every_text_refuses_what_does_not_fit)
{
    char longer[600];

    memset(longer, 'a', sizeof(longer));
    longer[0] = '"';
    longer[598] = '"';
    longer[599] = '\0';
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const struct config_key_info *k = config_key_info((enum config_key)i);

        if (!is_text(k))
            continue;
        expect_refused(k->path, longer, "allowed");
        if (k->kind == CONFIG_NAME)
            expect_refused(k->path, "\"../etc\"", "allowed");
        if (k->kind == CONFIG_ADDR)
            expect_refused(k->path, "\"localhost\"", "IPv4");
        if (k->kind == CONFIG_HOURS) {
            expect_refused(k->path, "\"22-06\"", "22:00-06:00");
            expect_refused(k->path, "\"22:00-24:00\"", "23:59");
            expect_refused(k->path, "\"22:60-06:00\"", "23:59");
            expect_refused(k->path, "\"06:00-06:00\"", "two different times");
        }
        if (k->kind == CONFIG_LEVEL)
            expect_refused(k->path, "\"loud\"", "debug, info, warn, error");
        if (k->kind == CONFIG_PROFILE)
            expect_refused(k->path, "\"fast\"", "balanced, low-wear, mysql, cassandra, archive");
        if (k->kind == CONFIG_PATH)
            expect_refused(k->path, "\"relative\"", "begins with");
        if (k->min > 0)
            expect_refused(k->path, "\"\"", "allowed");
    }
}

Test(config, unknown_keys_are_named_with_what_is_allowed)
{
    expect_refused("colour", "1", "allowed here: node reactors");
    expect_refused("export.prot", "4420", "allowed here: listen port");
    expect_refused("pool.journal.mirror", "\"/dev/x\"", "allowed here: path size pmem");
    expect_refused("pool.journal.align", "512", "unknown key");
    expect_refused("pool", "1", "a group");
    expect_refused("pool.cache", "\"/dev/x\"", "a list");
    expect_refused("pool.capacity", "( 1 )", "groups such as");
    cr_assert_neq(parse("pool: { capacity: ( { path = \"/x\";\n colour = 1; } ); };"), 0);
    cr_assert(strncmp(strbuf_str(&problems), "t.conf:2: pool.capacity.colour: unknown key; ", 45) == 0);
}

Test(config, all_problems_are_told_at_once_with_their_lines)
{
    cr_assert_neq(parse("export: {\n  port = 70000;\n};\nlog: { level = \"x\"; };\nnope = 1;\n"), 0);
    cr_assert(strstr(strbuf_str(&problems), "t.conf:2: export.port: out of range; allowed: 0 to 65535\n"));
    cr_assert(strstr(strbuf_str(&problems), "t.conf:4: log.level: "));
    cr_assert(strstr(strbuf_str(&problems), "t.conf:5: nope: unknown key; "));
}

Test(config, syntax_errors_and_includes_name_their_line)
{
    cr_assert_neq(parse("a = 1;\nb = = 2;\n"), 0);
    cr_assert(strncmp(strbuf_str(&problems), "t.conf:2: ", 10) == 0, "%s", strbuf_str(&problems));
    cr_assert_neq(parse("node = \"n\";\n  @include \"/etc\"\n"), 0);
    cr_assert(strncmp(strbuf_str(&problems), "t.conf:2: @include: ", 20) == 0);
    cr_assert_neq(parse("node = \"a\";\nnode = \"b\";\n"), 0);
}

Test(config, relations_between_keys_are_checked)
{
    static const struct { const char *text, *words; } bad[] = {
        {"tier: { dirty_start = 80; dirty_max = 60; };", "tier.dirty_start: 80, not below tier.dirty_max, which is 60\n"},
        {"tier: { dirty_start = 70; };", "tier.dirty_start: 70, not below tier.dirty_max, which tier.profile balanced has at 60; set"},
        {"tier: { profile = \"mysql\"; dirty_max = 60; };", "tier.dirty_max: 60, not above tier.dirty_start, which tier.profile mysql has"},
        {"api: { listen = \"0.0.0.0\"; };", "api.listen: is open to other machines"},
        {"api: { listen = \"\"; unix = \"\"; };", "api.unix: empty"},
        {"export: { discovery_port = 4420; };", "export.discovery_port: the same"},
        {"reactors = 1;", "pool.journal.path: missing"},
        {"reactors = 1;", "pool.capacity: missing"},
        {"pool: { journal: { path = \"/a\"; }; capacity: ( { path = \"/a\"; } ); };", "is also the journal"},
        {"pool: { journal: { path = \"/a\"; }; capacity: ( { path = \"/b\"; }, { path = \"/b\"; } ); };", "twice"},
    };

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        cr_assert_eq(parse(bad[i].text), 0, "%s: %s", bad[i].text, strbuf_str(&problems));
        cr_assert_neq(config_validate(&c, &problems), 0);
        cr_assert(strstr(strbuf_str(&problems), bad[i].words), "%s: %s", bad[i].text, strbuf_str(&problems));
    }
}

Test(config, the_example_file_holds_every_key_with_its_default)
{
    struct config d;
    struct strbuf file;

    strbuf_init(&file);
    config_print_default(&file);
    cr_assert_eq(parse(strbuf_str(&file)), 0, "%s", strbuf_str(&problems));
    cr_assert_eq(config_validate(&c, &problems), 0, "%s", strbuf_str(&problems));
    config_defaults(&d);
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const struct config_key_info *k = config_key_info((enum config_key)i);

        cr_assert_eq(c.line[i] == 0, config_profile_sets((enum config_key)i), "%s is not in the example file", k->path);
        if (!(k->flags & KEY_REQUIRED) && strcmp(k->path, "pool.journal.size") != 0)
            cr_assert(config_value_equal(&c, &d, (enum config_key)i), "%s differs from its default", k->path);
    }
    cr_assert_eq(c.nr_capacity, 2);
    strbuf_fini(&file);
}

static const char *const profiles[] = {"balanced", "low-wear", "mysql", "cassandra", "archive"};

Test(config, a_profile_sets_what_it_says_and_nothing_that_needs_a_restart)
{
    for (unsigned p = 0; p < ARRAY_LEN(profiles); p++) {
        struct config d;
        char text[64];
        unsigned differ = 0;

        snprintf(text, sizeof(text), "tier: { profile = \"%s\"; };", profiles[p]);
        cr_assert_eq(parse(text), 0, "%s", strbuf_str(&problems));
        cr_assert_lt(config_num(&c, tier_dirty_start), config_num(&c, tier_dirty_max), "%s", profiles[p]);
        config_defaults(&d);
        for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
            if (i == CONFIG_KEY_tier_profile || config_value_equal(&c, &d, (enum config_key)i))
                continue;
            differ++;
            cr_assert(config_profile_sets((enum config_key)i), "%s: %s", profiles[p], config_key_info((enum config_key)i)->path);
            cr_assert(config_key_info((enum config_key)i)->flags & KEY_RELOAD, "%s", config_key_info((enum config_key)i)->path);
        }
        cr_assert_eq(differ == 0, p == 0, "%s sets %u keys", profiles[p], differ);
    }
}

Test(config, a_key_that_is_set_wins_over_the_profile_wherever_it_stands)
{
    cr_assert_eq(parse("tier: { admit_again = 2; profile = \"low-wear\"; };"), 0);
    cr_assert_eq(config_num(&c, tier_admit_again), 2);
    cr_assert_eq(config_num(&c, tier_admit_blocks), 1);
    cr_assert_eq(config_set_text(&c, CONFIG_KEY_tier_profile, "mysql", (char[256]){0}), 0);
    config_profile_apply(&c); /* another one takes back what the first one said */
    cr_assert_eq(config_num(&c, tier_admit_again), 2);
    cr_assert_eq(config_num(&c, tier_destage_victims), 0);
    cr_assert_eq(config_num(&c, tier_dirty_start), 70);
}

Test(config, values_print_as_they_are_read)
{
    static const struct { const char *path, *text; } v[] = {
        {"export.poll", "50us"}, {"export.poll", "0s"}, {"journal.group_max", "256KiB"}, {"pool.journal.size", "16GiB"},
        {"tier.io_deadline", "2m"}, {"log.level", "debug"}, {"pool.buffered", "true"}, {"mover.bandwidth", "0"},
    };
    char why[256];

    config_defaults(&c);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        struct strbuf b;

        strbuf_init(&b);
        cr_assert_eq(config_set_text(&c, config_key_by_path(v[i].path), v[i].text, why), 0, "%s: %s", v[i].path, why);
        config_value_print(&b, &c, config_key_by_path(v[i].path));
        cr_assert_str_eq(strbuf_str(&b), v[i].text);
        strbuf_fini(&b);
    }
}

Test(config, a_whole_file_reaches_the_tier)
{
    static const char text[] =
        "node = \"n1\";\nreactors = 2;\n"
        "pool: { name = \"p\"; metadata = \"/m\"; journal: { path = \"/j\"; size = \"1Gi\"; };\n"
        "  cache: ( { path = \"/j\"; } ); capacity: ( { path = \"/c1\"; }, { path = \"/c2\"; size = 1099511627776L; } ); };\n"
        "journal: { segment_size = \"16MiB\"; group_max = 65536; groups_in_flight = 4; align = 512; };\n"
        "mover: { bandwidth = \"10MiB\"; }; tier: { dirty_start = \"40%\"; dirty_max = 50; };\n";
    struct tier_opts *o = calloc(1, sizeof(*o));

    cr_assert_eq(parse(text), 0, "%s", strbuf_str(&problems));
    cr_assert_eq(config_validate(&c, &problems), 0, "%s", strbuf_str(&problems));
    config_tier_opts(&c, o);
    cr_assert_eq(o->nr_devs, 4);
    cr_assert_eq(o->devs[0].role, TIER_JOURNAL);
    cr_assert_eq(o->devs[0].size_bytes, GIB);
    cr_assert_eq(o->devs[1].role, TIER_CACHE);
    cr_assert_str_eq(o->devs[3].path, "/c2");
    cr_assert_eq(o->devs[3].size_bytes, TIB);
    cr_assert_eq(o->segment_bytes, 16 * MIB);
    cr_assert_eq(o->groups_in_flight, 4);
    cr_assert_eq(o->dirty_start_pct, 40);
    cr_assert_eq(o->mover_bandwidth, 10 * MIB);
    cr_assert_eq(o->mover_iops, 0);
    cr_assert_eq(parse("mover: { iops = 30; latency_target = \"50ms\"; hours = \"22:30-06:05\"; };"), 0);
    config_tier_opts(&c, o);
    cr_assert_eq(o->mover_iops, 30);
    cr_assert_eq(o->mover_latency_ns, 50 * NS_PER_MS);
    cr_assert_eq(o->mover_from_min, 22 * 60 + 30);
    cr_assert_eq(o->mover_to_min, 6 * 60 + 5);
    free(o);
}

Test(config, what_a_request_cannot_set_says_what_to_do)
{
    char why[256];

    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        const struct config_key_info *k = config_key_info((enum config_key)i);
        bool live = config_live(k->path, why);

        cr_assert(live == ((k->flags & KEY_RELOAD) && i != CONFIG_KEY_api_token_file), "%s", k->path);
        cr_assert(live || (strstr(why, k->path) == why && strstr(why, "unknown") == NULL), "%s", why);
    }
    cr_assert(!config_live("pool.cache", why));
    cr_assert(strstr(why, "read at the start alone") && strstr(why, "firnd --add-cache"), "%s", why);
    cr_assert(!config_live("pool.capacity", why));
    cr_assert(strstr(why, "when a pool is formatted"), "%s", why);
    cr_assert(!config_live("pool.journal", why));
    cr_assert_str_eq(why, "pool.journal: a group, no key; name each of its keys, such as pool.journal.path");
    cr_assert(!config_live("pool.cach", why));
    cr_assert_str_eq(why, "pool.cach: unknown key");
    cr_assert(!config_live("", why));
    cr_assert_str_eq(why, ": unknown key");
}

Test(config, hours_are_two_times_of_the_day)
{
    static const char *const bad[] = {"22:00", "22:00-22:00", "24:00-06:00", "22:60-06:00", "22:00-06:000", "22.00-06:00", "2:00-06:00",
                                      "+2:00-06:00", "-0:00-06:00", " 2:00-06:00", "22:00-+6:00", "22:00- 6:00"};
    uint32_t from, to;

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        cr_expect(!config_hours(bad[i], &from, &to), "%s", bad[i]);
    cr_assert(config_hours("23:59-00:00", &from, &to) && from == 1439 && to == 0);
    cr_assert(config_hours("", &from, &to) && from == 0 && to == 0);
}

Test(config, a_file_that_cannot_be_used_is_told)
{
    FILE *f = fopen("/tmp/firn-config-nul", "w");

    strbuf_init(&problems);
    cr_assert_neq(config_load("/nonexistent/firn.conf", &c, &problems), 0);
    cr_assert(strncmp(strbuf_str(&problems), "/nonexistent/firn.conf: ", 24) == 0);
    cr_assert_neq(config_load("/tmp", &c, &problems), 0);
    fwrite("node = \"a\";\0x", 1, 13, f);
    fclose(f);
    cr_assert_neq(config_load("/tmp/firn-config-nul", &c, &problems), 0);
    remove("/tmp/firn-config-nul");
}

Test(config, only_loopback_is_loopback)
{
    cr_assert(config_addr_is_loopback("127.0.0.1"));
    cr_assert(config_addr_is_loopback("127.9.9.9"));
    cr_assert(config_addr_is_loopback("::1"));
    cr_assert(!config_addr_is_loopback("0.0.0.0"));
    cr_assert(!config_addr_is_loopback("::"));
    cr_assert(!config_addr_is_loopback("128.0.0.1"));
}

Test(config, paths_are_utf8)
{
    static const char *const good[] = {"/a", "/\xc3\xa4", "/\xe2\x82\xac", "/\xed\x9f\xbf", "/\xf0\x9f\x98\x80", "/\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"/\x80", "/\xc0\xaf", "/\xc3", "/\xe0\x9f\xbf", "/\xe2\x82", "/\xed\xa0\x80", "/\xf0\x8f\xbf\xbf",
                                      "/\xf0\x9f\x98", "/\xf4\x90\x80\x80", "/\xf5\x80\x80\x80", "/\xff"};
    struct config into;
    char why[256];

    config_defaults(&into);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_assert_eq(config_set_text(&into, CONFIG_KEY_pool_metadata, good[i], why), 0, "%zu: %s", i, why);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_neq(config_set_text(&into, CONFIG_KEY_pool_metadata, bad[i], why), 0, "%zu was accepted", i);
}
