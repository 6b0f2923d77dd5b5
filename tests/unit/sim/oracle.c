/* SPDX-License-Identifier: Apache-2.0 */
/* The oracle allows what a host may legally read and nothing else. */
#include "tools/sim/oracle.h"

#include <criterion/criterion.h>

static uint8_t buf[8192];
static char why[256];

static uint64_t write_whole(struct oracle *o, uint64_t unit, uint64_t nr, bool acked)
{
    uint64_t v = oracle_write_begin(o, unit, nr, false);

    oracle_write_end(o, v, unit, nr, acked ? ORACLE_ACKED : ORACLE_OVER);
    return v;
}

static int read_of(struct oracle *o, uint64_t version, uint64_t unit, uint64_t nr)
{
    if (version == 0)
        memset(buf, 0, sizeof(buf));
    else
        oracle_fill(o, version, unit, nr, buf);
    return oracle_read_check(o, oracle_read_begin(o), unit, nr, buf, why);
}

Test(oracle, a_new_volume_reads_zeros_only)
{
    struct oracle *o = oracle_new(1, 4096, 4), *other = oracle_new(2, 4096, 4);
    uint64_t v = write_whole(other, 1, 1, true);

    cr_assert_eq(read_of(o, 0, 1, 1), 0);
    oracle_fill(other, v, 1, 1, buf);
    cr_assert_neq(oracle_read_check(o, oracle_read_begin(o), 1, 1, buf, why), 0, "another volume's bytes");
    memset(buf, 0x5a, 4096);
    cr_assert_neq(oracle_read_check(o, oracle_read_begin(o), 1, 1, buf, why), 0, "garbage");
    oracle_free(o);
    oracle_free(other);
}

Test(oracle, an_acknowledged_write_hides_all_before_it)
{
    struct oracle *o = oracle_new(1, 4096, 4);
    uint64_t a = write_whole(o, 0, 2, true), b = write_whole(o, 1, 1, true);

    cr_assert_eq(read_of(o, a, 0, 1), 0);
    cr_assert_eq(read_of(o, b, 1, 1), 0);
    cr_assert_neq(read_of(o, a, 1, 1), 0);
    cr_assert_neq(read_of(o, 0, 0, 1), 0);
    oracle_free(o);
}

Test(oracle, an_unanswered_write_may_be_there_until_it_was_seen_or_not_seen)
{
    struct oracle *o = oracle_new(1, 4096, 4);
    uint64_t a = write_whole(o, 0, 2, true), b = oracle_write_begin(o, 0, 2, false);

    oracle_crash(o);
    cr_assert_eq(read_of(o, b, 0, 1), 0);
    cr_assert_neq(read_of(o, a, 0, 1), 0, "what was read once must stay");
    cr_assert_eq(read_of(o, a, 1, 1), 0);
    cr_assert_neq(read_of(o, b, 1, 1), 0, "what was not there cannot come later");
    oracle_free(o);
}

Test(oracle, concurrent_writes_may_end_either_way_and_then_stay)
{
    struct oracle *o = oracle_new(1, 4096, 1);
    uint64_t a = oracle_write_begin(o, 0, 1, false), b = oracle_write_begin(o, 0, 1, false);

    oracle_write_end(o, b, 0, 1, ORACLE_ACKED);
    oracle_write_end(o, a, 0, 1, ORACLE_ACKED);
    cr_assert_neq(read_of(o, 0, 0, 1), 0);
    cr_assert_eq(read_of(o, a, 0, 1), 0);
    cr_assert_neq(read_of(o, b, 0, 1), 0);
    oracle_free(o);
}

Test(oracle, a_read_that_began_before_the_acknowledgement_may_see_the_old)
{
    struct oracle *o = oracle_new(1, 4096, 1);
    uint64_t a = write_whole(o, 0, 1, true), begun = oracle_read_begin(o), b = write_whole(o, 0, 1, true);

    oracle_fill(o, a, 0, 1, buf);
    cr_assert_eq(oracle_read_check(o, begun, 0, 1, buf, why), 0);
    cr_assert_neq(read_of(o, a, 0, 1), 0);
    cr_assert_eq(read_of(o, b, 0, 1), 0);
    oracle_free(o);
}

Test(oracle, zeros_are_a_version)
{
    struct oracle *o = oracle_new(1, 4096, 1);
    uint64_t a = write_whole(o, 0, 1, true), z;

    cr_assert_neq(read_of(o, 0, 0, 1), 0);
    z = oracle_write_begin(o, 0, 1, true);
    oracle_write_end(o, z, 0, 1, ORACLE_ACKED);
    cr_assert_eq(read_of(o, 0, 0, 1), 0);
    cr_assert_neq(read_of(o, a, 0, 1), 0);
    oracle_free(o);
}

Test(oracle, a_small_write_is_never_there_in_part)
{
    struct oracle *o = oracle_new(1, 512, 16);
    uint64_t a = write_whole(o, 0, 8, true), b = oracle_write_begin(o, 2, 3, false);

    oracle_crash(o);
    oracle_fill(o, a, 0, 8, buf);
    oracle_fill(o, b, 2, 2, buf + 2 * 512);
    cr_assert_neq(oracle_read_check(o, oracle_read_begin(o), 0, 8, buf, why), 0, "two of three units");
    oracle_free(o);
}

Test(oracle, a_stamp_in_the_wrong_place_or_half_a_unit_is_caught)
{
    struct oracle *o = oracle_new(1, 4096, 4);
    uint64_t a = write_whole(o, 0, 4, true), b = oracle_write_begin(o, 3, 1, false);
    uint8_t half[4096];

    oracle_fill(o, a, 1, 1, buf);
    cr_assert_neq(oracle_read_check(o, oracle_read_begin(o), 0, 1, buf, why), 0);
    oracle_crash(o);
    oracle_fill(o, a, 3, 1, buf);
    oracle_fill(o, b, 3, 1, half);
    memcpy(buf + 2048, half + 2048, 2048);
    cr_assert_neq(oracle_read_check(o, oracle_read_begin(o), 3, 1, buf, why), 0);
    oracle_free(o);
}

Test(oracle, a_failed_write_may_still_come_with_the_next_start_and_not_later)
{
    struct oracle *o = oracle_new(1, 4096, 2);
    uint64_t a = write_whole(o, 0, 2, true), b = oracle_write_begin(o, 0, 2, false);

    oracle_write_end(o, b, 0, 2, ORACLE_FAILED);
    cr_assert_eq(read_of(o, a, 0, 2), 0);
    oracle_crash(o);
    cr_assert_eq(read_of(o, b, 0, 1), 0);
    cr_assert_eq(read_of(o, a, 1, 1), 0);
    cr_assert_neq(read_of(o, b, 1, 1), 0);
    oracle_free(o);
}
