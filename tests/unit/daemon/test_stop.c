/* SPDX-License-Identifier: Apache-2.0 */
/* How the time for a stop is shared out. */
#include <criterion/criterion.h>

#include "daemon/node_priv.h"
#include "export/priv.h"

#define ALL (22 * NS_PER_S) /* what serve.c gives */

Test(stop, the_target_may_drain_and_then_wait_for_devices)
{
    uint64_t ports = stop_part_ns(STOP_PORTS, 0, ALL);

    cr_assert_geq(stop_part_ns(STOP_TARGET, ports, ALL), DRAIN_NS + 5 * NS_PER_S);
}

Test(stop, the_tier_has_a_third_whatever_the_others_took)
{
    uint64_t spent = stop_part_ns(STOP_PORTS, 0, ALL);

    spent += stop_part_ns(STOP_TARGET, spent, ALL);
    spent += stop_part_ns(STOP_SUBSYSTEMS, spent, ALL);
    cr_assert_geq(stop_part_ns(STOP_TIER, spent, ALL), ALL / 3);
    cr_assert_eq(spent + stop_part_ns(STOP_TIER, spent, ALL), ALL);
    cr_assert_eq(stop_part_ns(STOP_TIER, ALL + 1, ALL), 0);
}
