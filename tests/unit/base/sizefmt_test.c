/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sizefmt.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "base/limits.h"

static void sizes_to(const char *text, int err, uint64_t want)
{
    uint64_t got = 77;

    cr_assert_eq(size_parse(text, &got), err, "\"%s\"", text);
    cr_assert_eq(got, err ? 77 : want, "\"%s\" gave %llu", text, (unsigned long long)got);
}

Test(size, what_users_write)
{
    sizes_to("0", 0, 0);
    sizes_to("4096", 0, 4096);
    sizes_to("4096B", 0, 4096);
    sizes_to("10GiB", 0, 10 * GIB);
    sizes_to("10Gi", 0, 10 * GIB);
    sizes_to("1KiB", 0, KIB);
    sizes_to("3Mi", 0, 3 * MIB);
    sizes_to("256TiB", 0, 256 * TIB);
    sizes_to("1.5GiB", 0, GIB + GIB / 2);
    sizes_to("0.5Ki", 0, 512);
    sizes_to("18446744073709551615", 0, UINT64_MAX);
    sizes_to("16777215Ti", 0, 16777215 * TIB);
}

Test(size, what_is_refused)
{
    static const char *const bad[] = {"", " ", "G", "GiB", "-1", "+1", " 1", "1 ", "1 GiB", "1G", "1GB", "1gib", "1GIB", "0x10",
                                      "1e3", "1.", ".5GiB",
                                      "1.0000000000GiB", "1..5GiB", "1,5GiB", "10GiBx", "1GiB ", "1PiB", "1us"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        sizes_to(bad[i], -EINVAL, 0);
    sizes_to("1.5", -EDOM, 0);
    sizes_to("0.3KiB", -EDOM, 0);
    sizes_to("1.2MiB", -EDOM, 0);
    sizes_to("18446744073709551616", -ERANGE, 0);
    sizes_to("16777216TiB", -ERANGE, 0);
    sizes_to("99999999999999999999GiB", -ERANGE, 0);
    sizes_to("16777215.9999999999TiB", -EINVAL, 0);
}

static void durations_to(const char *text, int err, uint64_t want)
{
    uint64_t got = 77;

    cr_assert_eq(duration_parse(text, &got), err, "\"%s\"", text);
    cr_assert_eq(got, err ? 77 : want, "\"%s\"", text);
}

Test(duration, what_users_write_and_what_is_refused)
{
    durations_to("50us", 0, 50 * NS_PER_US);
    durations_to("3s", 0, 3 * NS_PER_S);
    durations_to("2h", 0, 7200 * NS_PER_S);
    durations_to("5m", 0, 300 * NS_PER_S);
    durations_to("250ms", 0, 250 * NS_PER_MS);
    durations_to("0.5s", 0, NS_PER_S / 2);
    durations_to("0s", 0, 0);
    durations_to("5", -EINVAL, 0);
    durations_to("", -EINVAL, 0);
    durations_to("s", -EINVAL, 0);
    durations_to("-1s", -EINVAL, 0);
    durations_to("1 s", -EINVAL, 0);
    durations_to("1S", -EINVAL, 0);
    durations_to("1d", -EINVAL, 0);
    durations_to("6000000h", -ERANGE, 0);
}

Test(size, formats)
{
    char b[32];

    cr_assert_str_eq(size_format(0, b), "0 B");
    cr_assert_str_eq(size_format(1023, b), "1023 B");
    cr_assert_str_eq(size_format(1024, b), "1.0 KiB");
    cr_assert_str_eq(size_format(10 * GIB, b), "10.0 GiB");
    cr_assert_str_eq(size_format(GIB - 1, b), "1.0 GiB");
    cr_assert_str_eq(size_format(UINT64_MAX, b), "16.0 EiB");
    cr_assert_str_eq(duration_format(999, b), "999 ns");
    cr_assert_str_eq(duration_format(1500, b), "1.5 us");
    cr_assert_str_eq(duration_format(3 * NS_PER_S, b), "3.0 s");
    cr_assert_str_eq(duration_format(5400 * NS_PER_S, b), "1.5 h");
}

Test(name, valid_and_invalid)
{
    char longest[NAME_MAX_CHARS + 2];

    cr_assert(name_valid("a") && name_valid("0") && name_valid("pvc-1.x") && name_valid("a..b--"));
    cr_assert(!name_valid("") && !name_valid("-a") && !name_valid(".a") && !name_valid("A") && !name_valid("a_b"));
    cr_assert(!name_valid("a b") && !name_valid("a/b") && !name_valid("../x") && !name_valid("a\n") && !name_valid("\xc3\xa4"));
    memset(longest, 'a', sizeof(longest));
    longest[NAME_MAX_CHARS] = '\0';
    cr_assert(name_valid(longest));
    longest[NAME_MAX_CHARS] = 'a';
    longest[NAME_MAX_CHARS + 1] = '\0';
    cr_assert(!name_valid(longest));
}

Test(name, nqns)
{
    static const char *const good[] = {"nqn.x", "nqn.2014-08.org.nvmexpress:uuid:1", "nqn.2026-11.io.firn:n:v_1.2~"};
    static const char *const bad[] = {"", "nqn.", "*", "NQN.x", "iqn.x", "nqn.a b", "nqn.a\n", "nqn.a\"b", "nqn.a/b", "nqn.a\\b",
                                      "nqn.\xc3\xa4", "nqn.a\x7f"};
    char longest[NQN_MAX_BYTES + 2];

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        cr_assert(nqn_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_not(nqn_valid(bad[i]), "%s", bad[i]);
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "nqn.", 4);
    longest[NQN_MAX_BYTES + 1] = '\0';
    cr_assert_not(nqn_valid(longest));
    longest[NQN_MAX_BYTES] = '\0';
    cr_assert(nqn_valid(longest));
}

Test(uuid, round_trip_and_strictness)
{
    static const char text[] = "01234567-89ab-cdef-0123-456789abcdef";
    static const char *const bad[] = {"", "0", "01234567-89ab-cdef-0123-456789abcde", "01234567-89ab-cdef-0123-456789abcdef0",
                                      "0123456789ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-456789abcdeg",
                                      "0123456789abcdef0123456789abcdef", "{01234567-89ab-cdef-0123-456789abcdef}",
                                      "01234567-89ab-cdef-0123 456789abcdef"};
    struct uuid u, v = {{9}};
    char b[UUID_TEXT_CHARS + 1];

    cr_assert_eq(uuid_parse(text, &u), 0);
    cr_assert_eq(u.b[0], 0x01);
    cr_assert_eq(u.b[15], 0xef);
    cr_assert_str_eq(uuid_format(&u, b), text);
    cr_assert_eq(uuid_parse("01234567-89AB-CDEF-0123-456789ABCDEF", &v), 0);
    cr_assert_eq(memcmp(&u, &v, sizeof(u)), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(uuid_parse(bad[i], &u), -EINVAL, "\"%s\"", bad[i]);
    cr_assert_str_eq(uuid_format(&u, b), text, "a failed parse changes nothing");
}
