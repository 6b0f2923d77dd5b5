/* SPDX-License-Identifier: Apache-2.0 */
/* report.c: what a run of seeds prints at its end, for people and as one JSON document. */
#include "tools/sim/report.h"

#include <inttypes.h>

static void report_text(const struct explore_sum *s, uint64_t floor, struct strbuf *b)
{
    sim_faults_print(b, &s->faults, floor);
    strbuf_add(b, "profiles:");
    for (int i = 0; i < PROFILE_NR; i++)
        strbuf_add(b, " %s %" PRIu64, sim_profile_name((enum sim_profile)i), s->by_profile[i]);
    strbuf_add(b, "\n%" PRIu64 " requests, %" PRIu64 " events, %" PRIu64 " crashes, %" PRIu64 " blocks read and judged\n",
               s->ops, s->events, s->crashes, s->blocks_checked);
    strbuf_add(b, "%" PRIu64 " starts refused because of damage; lying flushes: %" PRIu64 " noticed, %" PRIu64
               " losses missed; %" PRIu64 " seeds run twice\n", s->refused, s->lies_noticed, s->lies_missed,
               s->determinism_checked);
}

static void report_json(const struct explore_sum *s, uint64_t floor, struct strbuf *b)
{
    strbuf_add(b, "{\"passed\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"requests\": %" PRIu64
               ", \"events\": %" PRIu64 ", \"crashes\": %" PRIu64 ", \"blocks_checked\": %" PRIu64
               ", \"lies_noticed\": %" PRIu64 ", \"lies_missed\": %" PRIu64, s->passed, s->failed, s->refused, s->ops,
               s->events, s->crashes, s->blocks_checked, s->lies_noticed, s->lies_missed);
    if (s->failed != 0)
        strbuf_add(b, ", \"first_failed_seed\": %" PRIu64, s->first_failed);
    strbuf_add(b, ", \"faults\": ");
    sim_faults_json(b, &s->faults, floor);
    strbuf_add(b, "}\n");
}

void report_print(const struct explore_sum *s, uint64_t floor, bool json)
{
    struct strbuf b;

    strbuf_init(&b);
    if (json)
        report_json(s, floor, &b);
    else
        report_text(s, floor, &b);
    fputs(strbuf_str(&b), stdout);
    strbuf_fini(&b);
}

unsigned report_rare(const struct explore_sum *s, uint64_t floor)
{
    unsigned rare = 0;

    for (int i = 0; i < SIM_FAULT_NR; i++)
        rare += s->faults.of[i].fired < floor;
    return rare;
}
