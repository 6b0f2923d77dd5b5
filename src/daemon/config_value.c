/* SPDX-License-Identifier: Apache-2.0 */
/* config_value.c: one value of one key: from text, to text, and whether it is allowed. No file is involved, so the
 * parser, the API and the tests share it.
 */
#include "daemon/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sizefmt.h"

static const struct config_key_info keys[CONFIG_KEY_NR] = {
#define X(path, kind, member, min, max, shown, flags, help) \
    [CONFIG_KEY_##member] = {path, CONFIG_##kind, min, max, shown, flags, help},
    CONFIG_KEYS(X)
#undef X
};

const struct config_key_info *config_key_info(enum config_key key)
{
    assert(key < CONFIG_KEY_NR);
    return &keys[key];
}

enum config_key config_key_by_path(const char *path)
{
    for (unsigned i = 0; i < CONFIG_KEY_NR; i++)
        if (strcmp(keys[i].path, path) == 0)
            return (enum config_key)i;
    return CONFIG_KEY_NR;
}

bool config_kind_is_text(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_ADDR:
    case CONFIG_LEVEL:
    case CONFIG_HOURS:
    case CONFIG_PROFILE:
        return true;
    case CONFIG_UINT:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
    case CONFIG_PERCENT:
    case CONFIG_BOOL:
        return false;
    }
    return false;
}

/* A number in the key's own words: exact, so that printing and reading again gives the same value. */
static void print_number(struct strbuf *b, enum config_kind kind, uint64_t v)
{
    static const struct { uint64_t unit; const char *name; } sizes[] = {
        {TIB, "TiB"}, {GIB, "GiB"}, {MIB, "MiB"}, {KIB, "KiB"},
    };
    static const struct { uint64_t unit; const char *name; } times[] = {
        {3600 * NS_PER_S, "h"}, {60 * NS_PER_S, "m"}, {NS_PER_S, "s"}, {NS_PER_MS, "ms"}, {NS_PER_US, "us"},
    };

    if (kind == CONFIG_BOOL) {
        strbuf_add(b, "%s", v ? "true" : "false");
        return;
    }
    for (unsigned i = 0; kind == CONFIG_SIZE && v != 0 && i < ARRAY_LEN(sizes); i++)
        if (v % sizes[i].unit == 0) {
            strbuf_add(b, "%" PRIu64 "%s", v / sizes[i].unit, sizes[i].name);
            return;
        }
    for (unsigned i = 0; kind == CONFIG_DURATION && i < ARRAY_LEN(times); i++)
        if (v % times[i].unit == 0 && (v != 0 || i == 2)) {
            strbuf_add(b, "%" PRIu64 "%s", v / times[i].unit, times[i].name);
            return;
        }
    strbuf_add(b, "%" PRIu64 "%s", v, kind == CONFIG_DURATION ? "ns" : "");
}

static void say_range(const struct config_key_info *k, char why[static 256])
{
    struct strbuf b;

    strbuf_init(&b);
    strbuf_add(&b, "out of range; allowed: ");
    if (k->flags & KEY_ZERO)
        strbuf_add(&b, "0, or ");
    print_number(&b, k->kind, k->min);
    strbuf_add(&b, " to ");
    print_number(&b, k->kind, k->max);
    snprintf(why, 256, "%s", strbuf_str(&b));
    strbuf_fini(&b);
}

static int parse_plain(const char *text, uint64_t *out)
{
    bool negative = text[0] == '-'; /* a number all the same, and in no range */
    char *end;

    text += negative;
    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (*end != '\0')
        return -EINVAL;
    return errno != 0 || negative ? -ERANGE : 0;
}

static int parse_percent(const char *text, uint64_t *out)
{
    char digits[8];
    size_t len = strlen(text);

    if (len > 1 && text[len - 1] == '%')
        len--;
    if (len >= sizeof(digits))
        return -EINVAL;
    memcpy(digits, text, len);
    digits[len] = '\0';
    return parse_plain(digits, out);
}

static int parse_bool(const char *text, uint64_t *out)
{
    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0 ? 0 : -EINVAL;
}

static int parse_number(const struct config_key_info *k, const char *text, uint64_t *out, char why[static 256])
{
    int err = -EINVAL;
    const char *form = "";

    switch (k->kind) {
    case CONFIG_SIZE:
        err = size_parse(text, out);
        form = "a size such as \"64MiB\" (KiB MiB GiB TiB, Ki Mi Gi Ti) or a number of bytes";
        break;
    case CONFIG_DURATION:
        err = duration_parse(text, out);
        form = "a duration such as \"50us\" (us ms s m h)";
        break;
    case CONFIG_PERCENT:
        err = parse_percent(text, out);
        form = "a percentage such as 60";
        break;
    case CONFIG_BOOL:
        err = parse_bool(text, out);
        form = "true or false";
        break;
    case CONFIG_UINT:
        err = parse_plain(text, out);
        form = "a number";
        break;
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_ADDR:
    case CONFIG_LEVEL:
    case CONFIG_HOURS:
    case CONFIG_PROFILE:
        assert(false && "a text is not parsed as a number");
    }
    if (err == -ERANGE)
        say_range(k, why);
    else if (err == -EDOM)
        snprintf(why, 256, "\"%.60s\" is not a whole number of %s", text, k->kind == CONFIG_SIZE ? "bytes" : "ns");
    else if (err)
        snprintf(why, 256, "\"%.60s\" is not %s", text, form);
    return err ? -FIRN_E_INVALID : 0;
}

static bool addr_valid(const char *text)
{
    unsigned char raw[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1;
}

/* The length of the UTF-8 sequence at p, 0 where there is none: RFC 3629, no longer forms, no surrogates. */
static unsigned utf8_length(const unsigned char *p)
{
    unsigned nr = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

    for (unsigned i = 1; i < nr; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return nr;
}

/* Paths are labels of metrics, and texts of JSON: either is UTF-8, or lost with all that stands beside it. */
static bool utf8_valid(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    while (*p != '\0') {
        unsigned nr = utf8_length(p);

        if (nr == 0)
            return false;
        p += nr;
    }
    return true;
}

static bool path_valid(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return (text[0] == '/' || text[0] == '.') && utf8_valid(text);
}

bool config_hours(const char *text, uint32_t *from_min, uint32_t *to_min)
{
    static const char form[] = "00:00-00:00"; /* sscanf() would take signs and spaces, too */
    unsigned h[2] = {0}, m[2] = {0};

    *from_min = *to_min = 0;
    if (text[0] == '\0')
        return true;
    for (size_t i = 0; i < sizeof(form); i++)
        if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
            return false;
    if (sscanf(text, "%2u:%2u-%2u:%2u", &h[0], &m[0], &h[1], &m[1]) != 4)
        return false;
    *from_min = h[0] * 60 + m[0];
    *to_min = h[1] * 60 + m[1];
    return h[0] < 24 && h[1] < 24 && m[0] < 60 && m[1] < 60 && *from_min != *to_min;
}

static int check_text(const struct config_key_info *k, const char *text, char why[static 256])
{
    size_t len = strlen(text);
    enum log_level level;
    bool ok = true;
    const char *form = "";

    if (len == 0 && k->min == 0)
        return 0;
    if (len < k->min || len > k->max) {
        snprintf(why, 256, "%zu characters; allowed: %" PRIu64 " to %" PRIu64, len, k->min, k->max);
        return -FIRN_E_INVALID;
    }
    if (k->kind == CONFIG_NAME) {
        ok = name_valid(text);
        form = "a name; allowed: a-z, 0-9, '.' and '-', beginning with a letter or digit, at most 63";
    } else if (k->kind == CONFIG_PATH) {
        ok = path_valid(text);
        form = "a path; it begins with '/' or '.', and is UTF-8 without control characters";
    } else if (k->kind == CONFIG_ADDR) {
        ok = addr_valid(text);
        form = "an IPv4 or IPv6 address in numbers";
    } else if (k->kind == CONFIG_HOURS) {
        uint32_t from, to;

        ok = config_hours(text, &from, &to);
        form = "hours of the day such as \"22:00-06:00\"; allowed: two different times from 00:00 to 23:59";
    } else if (k->kind == CONFIG_PROFILE) {
        ok = config_profile_valid(text);
        form = "a profile; allowed: balanced, low-wear, mysql, cassandra, archive";
    } else {
        assert(k->kind == CONFIG_LEVEL);
        ok = log_level_parse(text, &level) == 0;
        form = "a level; allowed: debug, info, warn, error";
    }
    if (ok)
        return 0;
    snprintf(why, 256, "\"%.60s\" is not %s", text, form);
    return -FIRN_E_INVALID;
}

/* What a range cannot say. Said with the range, so that all that is wrong with a file is said at once. */
static int check_multiple(enum config_key key, uint64_t v, char why[static 256])
{
    const char *what = NULL;

    if (key == CONFIG_KEY_journal_align && v != 512 && v != 4096)
        what = "neither 512 nor 4096";
    else if (key == CONFIG_KEY_journal_segment_size && v % MIB != 0)
        what = "not a whole number of MiB";
    else if ((key == CONFIG_KEY_journal_group_max || key == CONFIG_KEY_tier_fetch_size || key == CONFIG_KEY_tier_read_ahead_max) &&
             v % BLOCK_BYTES != 0)
        what = "not a multiple of 4KiB";
    if (what)
        snprintf(why, 256, "%s", what);
    return what ? -FIRN_E_INVALID : 0;
}

int config_set_text(struct config *c, enum config_key key, const char *text, char why[static 256])
{
    const struct config_key_info *k = config_key_info(key);
    uint64_t v = 0;
    int err;

    if (config_kind_is_text(k->kind)) {
        err = check_text(k, text, why);
        if (!err)
            snprintf(c->v[key].text, CONFIG_TEXT_MAX, "%s", text);
        return err;
    }
    err = parse_number(k, text, &v, why);
    if (err)
        return err;
    if ((v < k->min || v > k->max) && !(v == 0 && (k->flags & KEY_ZERO))) {
        say_range(k, why);
        return -FIRN_E_INVALID;
    }
    err = check_multiple(key, v, why);
    if (!err)
        c->v[key].num = v;
    return err;
}

void config_value_print(struct strbuf *b, const struct config *c, enum config_key key)
{
    const struct config_key_info *k = config_key_info(key);

    if (config_kind_is_text(k->kind))
        strbuf_add(b, "%s", c->v[key].text);
    else
        print_number(b, k->kind, c->v[key].num);
}

void config_size_print(struct strbuf *b, uint64_t bytes) { print_number(b, CONFIG_SIZE, bytes); }

bool config_value_equal(const struct config *a, const struct config *b, enum config_key key)
{
    if (config_kind_is_text(config_key_info(key)->kind))
        return strcmp(a->v[key].text, b->v[key].text) == 0;
    return a->v[key].num == b->v[key].num;
}
