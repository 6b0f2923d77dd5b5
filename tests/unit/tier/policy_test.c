/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "tier/policy.h"

static struct policy_state state(uint64_t dirty)
{
    return (struct policy_state){.now_ns = NS_PER_S, .fg_last_ns = NS_PER_S, .dirty = dirty, .capacity = 1000,
                                 .start_pct = 60, .max_pct = 80};
}

Test(policy, little_dirt_is_left_alone)
{
    struct policy_state p = state(600);

    cr_assert_eq(policy_destage_at(&p), UINT64_MAX);
    p.drain = true;
    cr_assert_eq(policy_destage_at(&p), 0);
}

Test(policy, one_device_has_three_quarters_of_the_limit)
{
    struct policy_state p = state(policy_share_scaled(600));

    cr_assert_not(policy_share_full(599, 1000, 80));
    cr_assert(policy_share_full(600, 1000, 80));
    cr_assert_eq(policy_destage_at(&p), p.now_ns + POLICY_GAP_NS, "at its share a device works as all do at the limit");
}

Test(policy, more_dirt_asks_for_less_silence)
{
    struct policy_state a = state(620), b = state(700), c = state(800);

    cr_assert_gt(policy_destage_at(&a), policy_destage_at(&b));
    cr_assert_gt(policy_destage_at(&b), b.now_ns);
    cr_assert_eq(policy_destage_at(&c), c.now_ns + POLICY_GAP_NS);
    c.urgent = true;
    cr_assert_eq(policy_destage_at(&c), 0);
    a.fg_last_ns = 0;
    cr_assert_eq(policy_destage_at(&a), 0, "silence was long enough");
}

Test(policy, descriptions_wait_for_silence_of_hosts_and_destage)
{
    struct policy_state p = state(0);

    cr_assert_eq(policy_describe_at(&p, 0, true), p.fg_last_ns + POLICY_DESCRIBE_NS);
    p.fg_last_ns = 0;
    cr_assert_eq(policy_describe_at(&p, 0, true), 0);
    cr_assert_eq(policy_describe_at(&p, p.now_ns, true), p.now_ns + POLICY_DESCRIBE_NS, "destage has just ended");
    cr_assert_eq(policy_describe_at(&p, p.now_ns, false), p.now_ns + POLICY_SETTLED_NS, "few are not worth a way there yet");
    p.urgent = true;
    cr_assert_gt(policy_describe_at(&p, 0, true), p.now_ns);
    p.urgent = false;
    p.fg_in_flight = 1;
    cr_assert_gt(policy_describe_at(&p, 0, true), p.now_ns);
    p.drain = true;
    cr_assert_eq(policy_describe_at(&p, p.now_ns, true), 0, "a drain waits for them");
    p.not_before_ns = p.now_ns + 5;
    cr_assert_eq(policy_describe_at(&p, 0, true), p.now_ns + 5, "but not beyond the cap or the pause after an error");
}

Test(policy, foreground_goes_first_unless_writers_wait)
{
    struct policy_state p = state(700);

    p.fg_in_flight = 1;
    cr_assert(policy_yields(&p));
    p.urgent = true;
    cr_assert_not(policy_yields(&p));
}

Test(policy, between_two_requests_of_a_host_nothing_is_begun)
{
    struct policy_state p = state(799);

    p.fg_last_ns = p.now_ns - POLICY_GAP_NS + 1;
    cr_assert(policy_yields(&p));
    cr_assert_gt(policy_destage_at(&p), p.now_ns);
    p.fg_last_ns--;
    cr_assert_not(policy_yields(&p));
    cr_assert_eq(policy_destage_at(&p), 0);
    p.dirty = 620;
    cr_assert(policy_yields(&p), "the less is dirty, the longer");
    p.dirty = 929;
    p.fg_last_ns = p.now_ns - POLICY_GAP_NS + 1;
    cr_assert(policy_yields(&p), "beyond the limit as well");
    p.fg_last_ns--;
    cr_assert_not(policy_yields(&p));
    p.fg_last_ns = p.now_ns;
    p.urgent = true;
    cr_assert_not(policy_yields(&p), "for a write that waits nothing is asked");
}

Test(policy, a_batch_ends_for_many_that_wait_or_when_it_has_written_much)
{
    cr_assert_not(policy_ends_batch(POLICY_HOLD_BYTES, NS_PER_S, 0, false), "nobody waits");
    cr_assert(policy_ends_batch(POLICY_HOLD_BYTES, 0, 1, true));
    cr_assert_not(policy_ends_batch(POLICY_HOLD_BYTES - 1, NS_PER_S, POLICY_HOLD_WRITES - 1, true), "a few wait for the sweep");
    cr_assert(policy_ends_batch(1, POLICY_HOLD_MAX_NS, 1, true), "but not for all of a long one");
    cr_assert_not(policy_ends_batch(1, POLICY_HOLD_MAX_NS, 0, false));
    cr_assert(policy_ends_batch(1, POLICY_HOLD_NS, POLICY_HOLD_WRITES, true));
    cr_assert_not(policy_ends_batch(1, POLICY_HOLD_NS - 1, POLICY_HOLD_WRITES, true));
    cr_assert_not(policy_ends_batch(0, POLICY_HOLD_NS, POLICY_HOLD_WRITES, true), "what was written is what they wait for");
}

Test(policy, victims_are_empty_segments_then_old_and_sparse_ones_never_full_ones)
{
    struct policy_segment empty = {.slots = 100, .age = 1}, old = {.dirty = 20, .live = 40, .slots = 100, .age = 50},
                          young = {.dirty = 20, .live = 90, .slots = 100, .age = 2}, clean = {.live = 90, .slots = 100, .age = 2},
                          full = {.dirty = 90, .live = 90, .slots = 100, .age = 99},
                          half = {.dirty = 50, .live = 50, .slots = 100, .age = 200};

    cr_assert_gt(policy_victim_score(&empty), policy_victim_score(&old));
    cr_assert_gt(policy_victim_score(&old), policy_victim_score(&young));
    cr_assert_gt(policy_victim_score(&clean), policy_victim_score(&old), "nothing to be moved");
    cr_assert_gt(policy_victim_score(&old), policy_victim_score(&half), "however old it is");
    clean.age = 0;
    cr_assert_lt(policy_victim_score(&clean), policy_victim_score(&old), "its copies are worth something too");
    cr_assert_eq(policy_victim_score(&full), 0);
}

Test(policy, the_regime_follows_from_the_dirt)
{
    struct policy_state p = state(600);

    cr_assert_eq(policy_regime(&p), POLICY_IDLE);
    p.urgent = true;
    cr_assert_eq(policy_regime(&p), POLICY_URGENT, "something waits");
    p = state(601);
    cr_assert_eq(policy_regime(&p), POLICY_PROPORTIONAL);
    p = state(929);
    cr_assert_eq(policy_regime(&p), POLICY_PROPORTIONAL, "no write waits");
    p = state(930);
    cr_assert_eq(policy_regime(&p), POLICY_URGENT, "there is no more room for bursts");
}

Test(policy, a_burst_has_two_thirds_of_what_the_limit_leaves)
{
    cr_assert_eq(policy_burst_pct(70), 90);
    cr_assert_eq(policy_burst_pct(85), 95);
    cr_assert_eq(policy_burst_pct(90), 95, "no more than may be configured");
    cr_assert_eq(policy_burst_pct(95), 95);
    cr_assert_eq(policy_burst_pct(2), 67);
}

Test(policy, a_device_at_rest_takes_what_is_dense_or_cold_below_the_start_mark)
{
    struct policy_state p = state(10);

    cr_assert_eq(policy_destage_at(&p), UINT64_MAX);
    cr_assert_eq(policy_rest_at(&p), p.fg_last_ns + POLICY_REST_NS);
    p.fg_last_ns = 0;
    cr_assert_eq(policy_rest_at(&p), 0);
    p.fg_in_flight = 1;
    cr_assert_gt(policy_rest_at(&p), p.now_ns);
    cr_assert_lt(policy_cold_at(POLICY_DENSE_BLOCKS, 5), policy_cold_at(POLICY_DENSE_BLOCKS - 1, 5));
    cr_assert_eq(policy_cold_at(256, 5), 5 + POLICY_COOL_NS, "not while it is being written");
}

Test(policy, only_what_is_urgent_is_destaged_off_hours)
{
    struct policy_state p = state(700);
    uint64_t min = 60 * NS_PER_S;

    p.fg_last_ns = 0;
    p.off_hours = true;
    cr_assert_eq(policy_destage_at(&p), p.now_ns + POLICY_HOURS_NS);
    cr_assert_eq(policy_rest_at(&p), p.now_ns + POLICY_HOURS_NS);
    p.urgent = true;
    cr_assert_eq(policy_destage_at(&p), 0);
    cr_assert(policy_on_hours(77 * min, 0, 0), "always");
    cr_assert(policy_on_hours((1440 + 600) * min, 600, 601));
    cr_assert_not(policy_on_hours(601 * min, 600, 601));
    cr_assert_not(policy_on_hours(599 * min, 600, 601));
    cr_assert(policy_on_hours(23 * 60 * min, 22 * 60, 6 * 60), "over midnight");
    cr_assert(policy_on_hours(5 * 60 * min, 22 * 60, 6 * 60));
    cr_assert_not(policy_on_hours(6 * 60 * min, 22 * 60, 6 * 60));
}
