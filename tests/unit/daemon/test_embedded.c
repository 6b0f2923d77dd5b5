/* SPDX-License-Identifier: Apache-2.0 */
/* test_embedded.c: what the log of `firnd --dev` is cut into: enough segments for every reactor's share of it. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "daemon/embedded.h"

static uint64_t segment_bytes(uint64_t journal_bytes, uint64_t reactors)
{
    struct config *c = calloc(1, sizeof(*c));
    enum embedded_state state;
    uint64_t bytes;
    char why[256];

    cr_assert_not_null(c);
    cr_assert_eq(embedded_config("/nonexistent/pool", false, journal_bytes, 0, c, &state, why), 0, "%s", why);
    cr_assert_eq(state, EMBEDDED_EMPTY);
    config_num(c, reactors) = reactors;
    embedded_segments(c);
    bytes = config_num(c, journal_segment_size);
    free(c);
    return bytes;
}

Test(embedded, every_reactor_has_segments_enough)
{
    cr_expect_eq(segment_bytes(0, 1), 0, "1 GiB for one: 64 of 16 MiB, as without a word");
    cr_expect_eq(segment_bytes(0, 4), 4 * MIB, "1 GiB for four: 64 each");
    cr_expect_eq(segment_bytes(2 * GIB, 3), 10 * MIB);
    cr_expect_eq(segment_bytes(16 * GIB, 4), 0, "1024 of 16 MiB are enough");
    cr_expect_eq(segment_bytes(64 * MIB, 4), 4 * MIB, "none is smaller");
}
