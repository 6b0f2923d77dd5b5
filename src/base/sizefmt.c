/* SPDX-License-Identifier: Apache-2.0 */
/* sizefmt.c: sizes, durations, names and UUIDs in text.
 *
 * A number is decimal digits, optionally a fraction ("1.5GiB"), then a unit without a blank: KiB MiB GiB TiB, or
 * Ki Mi Gi Ti as Kubernetes has them, or B or nothing for bytes. Durations must name us, ms, s, m or h. Anything else
 * is refused, decimal units too: a guess here would make a volume of the wrong size. A fraction must give a whole number.
 */
#include "base/sizefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/limits.h"

struct unit { const char *name; uint64_t factor; };

static const struct unit size_units[] = {
    {"", 1},       {"B", 1},
    {"KiB", KIB},  {"Ki", KIB}, {"MiB", MIB}, {"Mi", MIB},
    {"GiB", GIB},  {"Gi", GIB}, {"TiB", TIB}, {"Ti", TIB},
};

static const struct unit duration_units[] = {
    {"ns", 1}, {"us", NS_PER_US}, {"ms", NS_PER_MS}, {"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Reads digits at *p into *v, at least one; moves *p behind them and counts them in *digits. */
static int digits_parse(const char **p, uint64_t *v, int *digits)
{
    *v = 0;
    *digits = 0;
    for (; is_digit(**p); (*p)++, (*digits)++)
        if (__builtin_mul_overflow(*v, UINT64_C(10), v) ||
            __builtin_add_overflow(*v, (uint64_t)(**p - '0'), v))
            return -ERANGE;
    return *digits > 0 ? 0 : -EINVAL;
}

/* frac / 10^digits * factor, which must be a whole number. */
static int fraction_scale(uint64_t frac, int digits, uint64_t factor, uint64_t *out)
{
    unsigned __int128 x = (unsigned __int128)frac * factor;
    uint64_t ten = 1;

    for (int i = 0; i < digits; i++)
        ten *= 10;
    if (x % ten != 0)
        return -EDOM;
    *out = (uint64_t)(x / ten);
    return 0;
}

static int number_parse(const char *text, const struct unit *units, size_t nr, uint64_t *out)
{
    const char *p = text;
    uint64_t whole, frac = 0, part = 0;
    int digits, frac_digits = 0;
    int err = digits_parse(&p, &whole, &digits);

    if (err)
        return err;
    if (*p == '.') {
        p++;
        err = digits_parse(&p, &frac, &frac_digits);
        if (err || frac_digits > 9)
            return -EINVAL;
    }
    for (size_t i = 0; i < nr; i++) {
        if (strcmp(p, units[i].name) != 0)
            continue;
        err = fraction_scale(frac, frac_digits, units[i].factor, &part);
        if (err)
            return err;
        if (__builtin_mul_overflow(whole, units[i].factor, &whole) || __builtin_add_overflow(whole, part, &whole))
            return -ERANGE;
        *out = whole;
        return 0;
    }
    return -EINVAL;
}

int size_parse(const char *text, uint64_t *bytes)
{
    return number_parse(text, size_units, ARRAY_LEN(size_units), bytes);
}

int duration_parse(const char *text, uint64_t *ns)
{
    return number_parse(text, duration_units, ARRAY_LEN(duration_units), ns);
}

char *size_format(uint64_t bytes, char buf[static 32])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    size_t i = 0;

    /* 1023.95 would be printed as "1024.0" */
    for (; i + 1 < ARRAY_LEN(names) && v >= (i == 0 ? 1024 : 1023.95); i++)
        v /= 1024;
    if (i == 0)
        snprintf(buf, 32, "%" PRIu64 " B", bytes);
    else
        snprintf(buf, 32, "%.1f %s", v, names[i]);
    return buf;
}

char *duration_format(uint64_t ns, char buf[static 32])
{
    static const struct unit steps[] = {{"d", 86400 * NS_PER_S}, {"h", 3600 * NS_PER_S}, {"min", 60 * NS_PER_S},
                                        {"s", NS_PER_S}, {"ms", NS_PER_MS}, {"us", NS_PER_US}};

    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (ns >= steps[i].factor) {
            snprintf(buf, 32, "%.1f %s", (double)ns / (double)steps[i].factor, steps[i].name);
            return buf;
        }
    snprintf(buf, 32, "%" PRIu64 " ns", ns);
    return buf;
}

static bool name_char(char c, bool first)
{
    if ((c >= 'a' && c <= 'z') || is_digit(c))
        return true;
    return !first && (c == '.' || c == '-');
}

bool name_valid(const char *name)
{
    size_t n = strnlen(name, NAME_MAX_CHARS + 1);

    if (n == 0 || n > NAME_MAX_CHARS)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!name_char(name[i], i == 0))
            return false;
    return true;
}

bool nqn_valid(const char *nqn)
{
    size_t n = strnlen(nqn, NQN_MAX_BYTES + 1);

    if (n > NQN_MAX_BYTES || n < 5 || memcmp(nqn, "nqn.", 4) != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (nqn[i] <= ' ' || nqn[i] > '~' || nqn[i] == '"' || nqn[i] == '\\' || nqn[i] == '/')
            return false;
    return true;
}

static bool uuid_dash_before(size_t byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

char *uuid_format(const struct uuid *u, char buf[static UUID_TEXT_CHARS + 1])
{
    static const char hex[] = "0123456789abcdef";
    char *p = buf;

    for (size_t i = 0; i < sizeof(u->b); i++) {
        if (uuid_dash_before(i))
            *p++ = '-';
        *p++ = hex[u->b[i] >> 4];
        *p++ = hex[u->b[i] & 15];
    }
    *p = '\0';
    return buf;
}

int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int uuid_parse(const char *text, struct uuid *out)
{
    struct uuid u;
    const char *p = text;

    for (size_t i = 0; i < sizeof(u.b); i++) {
        int hi, lo;

        if (uuid_dash_before(i) && *p++ != '-')
            return -EINVAL;
        hi = hex_digit(p[0]);
        lo = hi < 0 ? -1 : hex_digit(p[1]); /* a NUL in p[0] ends the text: look no further */
        if (lo < 0)
            return -EINVAL;
        u.b[i] = (uint8_t)(hi << 4 | lo);
        p += 2;
    }
    if (*p != '\0')
        return -EINVAL;
    *out = u;
    return 0;
}
