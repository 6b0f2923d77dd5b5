/* SPDX-License-Identifier: Apache-2.0 */
/* policy.c: when to destage, which log segment to empty. */
#include "tier/policy.h"

#include "base/limits.h"

#define VICTIM_FULL_PCT 85u /* fuller segments are not worth the moves */
#define BURST_MAX_PCT   95u /* as much as a configuration may ask for: above it reclaim finds little to empty */
#define VICTIM_CLEAN    10.0 /* a segment whose blocks are all clean counts as so much older: nothing is moved, only copies are lost */

static uint64_t pct_of(uint64_t capacity, uint32_t pct) { return capacity * pct / 100; }

bool policy_writes_wait(uint64_t dirty, uint64_t capacity, uint32_t max_pct)
{
    return dirty >= pct_of(capacity, max_pct);
}

uint32_t policy_burst_pct(uint32_t max_pct) { return MAX(MIN(max_pct + (100 - max_pct) * 2 / 3, BURST_MAX_PCT), max_pct); }

bool policy_calm(uint64_t dirty, uint64_t capacity, uint32_t max_pct) { return dirty < pct_of(capacity, max_pct) / 10 * 9; }

uint64_t policy_share_scaled(uint64_t dirty) { return dirty * 100 / POLICY_SHARE_PCT; }

bool policy_share_full(uint64_t dirty, uint64_t capacity, uint32_t max_pct)
{
    return policy_writes_wait(policy_share_scaled(dirty), capacity, max_pct);
}

/* Above the start mark the silence that is asked for shrinks in proportion, until it is no longer than what lies between two requests of
 * one host. So it stays beyond the limit: as long as no write waits, reads alone are there to be held up. */
static uint64_t silence_ns(const struct policy_state *p)
{
    uint64_t start = pct_of(p->capacity, p->start_pct), max = pct_of(p->capacity, p->max_pct);

    if (p->dirty >= max || max <= start)
        return POLICY_GAP_NS;
    return MIN(MAX(POLICY_IDLE_NS * (max - p->dirty) / (max - start), POLICY_GAP_NS), POLICY_IDLE_NS);
}

enum policy_regime policy_regime(const struct policy_state *p)
{
    if (p->drain || p->urgent || policy_writes_wait(p->dirty, p->capacity, policy_burst_pct(p->max_pct)))
        return POLICY_URGENT;
    return p->dirty > pct_of(p->capacity, p->start_pct) ? POLICY_PROPORTIONAL : POLICY_IDLE;
}

bool policy_on_hours(uint64_t wall_ns, uint32_t from_min, uint32_t to_min)
{
    uint32_t min = (uint32_t)(wall_ns / (60 * NS_PER_S) % (24 * 60));

    if (from_min <= to_min)
        return from_min == to_min || (min >= from_min && min < to_min);
    return min >= from_min || min < to_min;
}

uint64_t policy_destage_at(const struct policy_state *p)
{
    enum policy_regime regime = policy_regime(p);
    uint64_t at;

    if (regime == POLICY_URGENT)
        at = p->not_before_ns;
    else if (regime == POLICY_IDLE && !p->eager)
        return UINT64_MAX;
    else if (p->off_hours)
        return p->now_ns + POLICY_HOURS_NS;
    else if (p->fg_in_flight > 0)
        at = p->now_ns + MAX(silence_ns(p), NS_PER_MS);
    else
        at = MAX(p->fg_last_ns + silence_ns(p), p->not_before_ns);
    return at <= p->now_ns ? 0 : at;
}

uint64_t policy_rest_at(const struct policy_state *p)
{
    uint64_t at = MAX(p->fg_last_ns + POLICY_REST_NS, p->not_before_ns);

    if (p->off_hours)
        return p->now_ns + POLICY_HOURS_NS;
    if (p->fg_in_flight > 0)
        at = MAX(at, p->now_ns + POLICY_REST_NS);
    return at <= p->now_ns ? 0 : at;
}

uint64_t policy_cold_at(uint32_t dirty_blocks, uint64_t written_ns)
{
    return written_ns + (dirty_blocks >= POLICY_DENSE_BLOCKS ? POLICY_COOL_NS : POLICY_COLD_NS);
}

uint64_t policy_describe_at(const struct policy_state *p, uint64_t busy_ns, bool ripe)
{
    uint64_t at = p->not_before_ns;

    if (!p->drain)
        at = MAX(at, MAX(p->fg_last_ns + POLICY_DESCRIBE_NS, busy_ns + (ripe ? POLICY_DESCRIBE_NS : POLICY_SETTLED_NS)));
    if (!p->drain && (p->fg_in_flight > 0 || p->urgent))
        at = MAX(at, p->now_ns + POLICY_DESCRIBE_NS);
    return at <= p->now_ns ? 0 : at;
}

bool policy_yields(const struct policy_state *p)
{
    return (p->fg_in_flight > 0 || p->now_ns < p->fg_last_ns + silence_ns(p)) && policy_regime(p) != POLICY_URGENT;
}

bool policy_ends_batch(uint64_t bytes, uint64_t age_ns, uint32_t waiting, bool held)
{
    return (held && (bytes >= POLICY_HOLD_BYTES || (bytes > 0 && age_ns >= POLICY_HOLD_MAX_NS))) ||
           (waiting >= POLICY_HOLD_WRITES && bytes > 0 && age_ns >= POLICY_HOLD_NS);
}

double policy_victim_score(const struct policy_segment *s)
{
    double u = s->slots == 0 ? 1.0 : (double)s->dirty / (double)s->slots, gain = (1 - u) / (1 + u), age = (double)(s->age + 1);

    if (s->live == 0)
        return 1e12 * age;
    if (s->dirty == 0)
        return VICTIM_CLEAN * age;
    return u * 100 > VICTIM_FULL_PCT ? 0 : age * gain * gain * gain;
}
