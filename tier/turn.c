/* SPDX-License-Identifier: Apache-2.0 */
/* turn.c: the turn of a capacity device.
 *
 * Whoever wants it sets its bit, then tries to take it. Whoever gives it clears the bit of the next that waits and hands it over; if
 * nobody waits it puts it down, and looks again: a bit that was set meanwhile belongs either to one who took the turn himself, or to
 * one who found it taken and now waits for this hand.
 */
#include "tier/turn.h"

#define STUCK_NS NS_PER_S
#define PAUSE_MIN_NS (10 * NS_PER_MS)
#define PAUSE_MAX_NS NS_PER_S

static uint64_t bit_of(uint32_t shard)
{
    assert(shard < REACTORS_MAX);
    return UINT64_C(1) << shard;
}

static bool grab(struct turn *t) { return !__atomic_exchange_n(&t->taken, true, __ATOMIC_SEQ_CST); }

/* True: the bit was still set. */
static bool unmark(struct turn *t, uint32_t shard)
{
    return (__atomic_fetch_and(&t->waiting, ~bit_of(shard), __ATOMIC_SEQ_CST) & bit_of(shard)) != 0;
}

bool turn_take(struct turn *t, uint32_t shard, struct turn_want *w)
{
    bool had;

    __atomic_store_n(&t->want[shard], w, __ATOMIC_RELAXED);
    had = (__atomic_fetch_or(&t->waiting, bit_of(shard), __ATOMIC_SEQ_CST) & bit_of(shard)) != 0;
    assert(!had);
    if (!grab(t))
        return false;
    had = unmark(t, shard); /* only who has the turn takes bits away, or their owner */
    assert(had);
    return true;
}

/* Whoever puts the turn down must see the bit of one who found it taken: both write first and look then, in one order for all. */
bool turn_others_wait(const struct turn *t) { return __atomic_load_n(&t->waiting, __ATOMIC_SEQ_CST) != 0; }

bool turn_try(struct turn *t) { return !turn_others_wait(t) && grab(t); }

bool turn_withdraw(struct turn *t, uint32_t shard) { return unmark(t, shard); }

/* The next one after this shard, round and round; false: nobody waits. */
static bool hand_over(struct turn *t, uint32_t shard)
{
    uint64_t waiting;

    while ((waiting = __atomic_load_n(&t->waiting, __ATOMIC_SEQ_CST)) != 0) {
        uint64_t behind = shard + 1 < 64 ? waiting & (UINT64_MAX << (shard + 1)) : 0;
        uint32_t next = (uint32_t)__builtin_ctzll(behind != 0 ? behind : waiting);
        struct turn_want *w = __atomic_load_n(&t->want[next], __ATOMIC_RELAXED);

        if (!unmark(t, next)) /* withdrawn just now */
            continue;
        env_post(w->env, &w->granted);
        return true;
    }
    return false;
}

void turn_give(struct turn *t, uint32_t shard)
{
    do {
        if (hand_over(t, shard))
            return;
        __atomic_store_n(&t->taken, false, __ATOMIC_SEQ_CST);
    } while (turn_others_wait(t) && grab(t));
}

bool turn_stuck(const struct turn *t, uint64_t now_ns)
{
    uint64_t since = __atomic_load_n(&t->run_since_ns, __ATOMIC_RELAXED);

    return since != 0 && now_ns > since + STUCK_NS;
}

/* Racing shards may lose a step; the next request makes it good. */
void turn_fg_took(struct turn *t, uint64_t took_ns, uint64_t target_ns)
{
    uint64_t pause = __atomic_load_n(&t->pause_ns, __ATOMIC_RELAXED);

    if (target_ns == 0)
        pause = 0;
    else if (took_ns > target_ns)
        pause = MIN(MAX(2 * pause, PAUSE_MIN_NS), PAUSE_MAX_NS);
    else
        pause = pause / 2 < PAUSE_MIN_NS ? 0 : pause / 2;
    if (pause != __atomic_load_n(&t->pause_ns, __ATOMIC_RELAXED))
        __atomic_store_n(&t->pause_ns, pause, __ATOMIC_RELAXED);
}

void turn_pause(struct turn *t, uint64_t now_ns)
{
    uint64_t pause = __atomic_load_n(&t->pause_ns, __ATOMIC_RELAXED);

    if (pause == 0 || now_ns > __atomic_load_n(&t->fg_last_ns, __ATOMIC_RELAXED) + PAUSE_MAX_NS)
        return;
    __atomic_store_n(&t->not_before_ns, MAX(t->not_before_ns, now_ns + pause), __ATOMIC_RELAXED);
}

static uint64_t bytes_ns(uint64_t bytes, uint64_t bytes_per_s)
{
    return (uint64_t)((double)bytes * (double)NS_PER_S / (double)bytes_per_s);
}

void turn_charge(struct turn *t, uint64_t now_ns, uint64_t bytes, uint64_t bytes_per_s, uint64_t ops_per_s)
{
    uint64_t ns = bytes_per_s != 0 ? bytes_ns(bytes, bytes_per_s) : 0;

    if (ops_per_s != 0)
        ns = MAX(ns, NS_PER_S / ops_per_s);
    if (ns != 0)
        __atomic_store_n(&t->not_before_ns, MAX(t->not_before_ns, now_ns) + ns, __ATOMIC_RELAXED);
}

/* Shards that race for it may both go: each goes less often then. */
void turn_charge_migration(struct turn *t, uint64_t now_ns, uint64_t bytes, uint64_t bytes_per_s)
{
    uint64_t at = __atomic_load_n(&t->migrate_not_before_ns, __ATOMIC_RELAXED);

    __atomic_store_n(&t->migrate_not_before_ns, MAX(at, now_ns) + bytes_ns(bytes, bytes_per_s), __ATOMIC_RELAXED);
}
