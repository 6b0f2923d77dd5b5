/* SPDX-License-Identifier: Apache-2.0 */
/* core.c: the clock, the queue of what will happen, chance, and the end of the world.
 *
 * 1. sim_at() puts an event into a heap ordered by (time, tie); the tie is drawn from the seed, so that equal times come
 *    in any order and always in the same one.
 * 2. sim_step() takes the first, moves the clock to it, mixes it into the trace hash, runs it.
 * 3. A crash planned by count falls between two events: the queue is emptied, then the hooks decide what media keep.
 * Failures: a queue that is empty while somebody waits is `stuck` and treated as a crash by the straight-line callers.
 */
#include "tools/sim/priv.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t mix64(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Memory of writes and of worlds that are gone stays for the next: else the kernel clears the same pages again and again. Larger than that
 * are tables, most of whose pages are never touched. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

struct sim *sim_new(uint64_t seed)
{
    struct sim *s = calloc(1, sizeof(*s));

    assert(s != NULL);
    keep_memory();
    s->seed = seed;
    s->rng = mix64(seed + UINT64_C(0x9e3779b97f4a7c15));
    s->now_ns = NS_PER_S; /* zero means "never" in too many places */
    list_init(&s->hooks);
    return s;
}

void sim_free(struct sim *s)
{
    assert(list_empty(&s->hooks));
    free(s->heap);
    free(s);
}

uint64_t sim_now_ns(const struct sim *s) { return s->now_ns; }
uint64_t sim_seed(const struct sim *s) { return s->seed; }
uint64_t sim_trace_hash(const struct sim *s) { return s->trace_hash; }
uint64_t sim_events_run(const struct sim *s) { return s->events; }
bool sim_crashed(const struct sim *s) { return s->crashed; }
bool sim_stuck(const struct sim *s) { return s->stuck; }
const struct sim_faults *sim_fault_counts(const struct sim *s) { return &s->counts; }
void sim_trace_mix(struct sim *s, uint64_t v) { s->trace_hash = mix64(s->trace_hash ^ v) + v; }
void sim_wall_jump(struct sim *s, int64_t ns) { s->wall_skew_ns += ns; }

/* ---- chance ---- */

uint64_t sim_rand(struct sim *s)
{
    s->rng += UINT64_C(0x9e3779b97f4a7c15);
    return mix64(s->rng);
}

uint64_t sim_below(struct sim *s, uint64_t n)
{
    assert(n > 0);
    return sim_rand(s) % n;
}

uint64_t sim_between(struct sim *s, uint64_t lo, uint64_t hi)
{
    assert(lo <= hi);
    return lo + sim_below(s, hi - lo + 1);
}

bool sim_chance(struct sim *s, uint32_t ppm)
{
    return ppm != 0 && sim_below(s, 1000000) < ppm;
}

/* ---- the queue ---- */

static bool slot_before(const struct sim_slot *a, const struct sim_slot *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->tie < b->tie;
}

static void slot_put(struct sim *s, uint32_t pos, const struct sim_slot *slot)
{
    s->heap[pos] = *slot;
    if (slot->kind == SIM_WAIT_EVENT)
        ((struct sim_event *)slot->who)->heap_pos = pos;
    else
        ((struct env_timer *)slot->who)->heap_pos = pos;
}

static void slot_forget(const struct sim_slot *slot)
{
    if (slot->kind == SIM_WAIT_EVENT)
        ((struct sim_event *)slot->who)->heap_pos = 0;
    else
        ((struct env_timer *)slot->who)->heap_pos = 0;
}

static void sift(struct sim *s, uint32_t pos, struct sim_slot slot)
{
    while (pos > 1 && slot_before(&slot, &s->heap[pos / 2])) {
        slot_put(s, pos, &s->heap[pos / 2]);
        pos /= 2;
    }
    for (uint32_t kid; (kid = pos * 2) <= s->nr; pos = kid) {
        if (kid < s->nr && slot_before(&s->heap[kid + 1], &s->heap[kid]))
            kid++;
        if (!slot_before(&s->heap[kid], &slot))
            break;
        slot_put(s, pos, &s->heap[kid]);
    }
    slot_put(s, pos, &slot);
}

void sim_push(struct sim *s, uint64_t at_ns, enum sim_waiter kind, void *who)
{
    struct sim_slot slot = {MAX(at_ns, s->now_ns), sim_rand(s), kind, who};

    if (s->nr + 1 >= s->cap) {
        s->cap = s->cap == 0 ? 256 : s->cap * 2;
        s->heap = realloc(s->heap, s->cap * sizeof(*s->heap));
        assert(s->heap != NULL);
    }
    s->nr++;
    sift(s, s->nr, slot);
}

void sim_pull(struct sim *s, uint32_t pos)
{
    struct sim_slot last;

    assert(pos >= 1 && pos <= s->nr);
    slot_forget(&s->heap[pos]);
    last = s->heap[s->nr--];
    if (pos <= s->nr)
        sift(s, pos, last);
}

void sim_at(struct sim *s, struct sim_event *ev, uint64_t at_ns)
{
    assert(ev->fn != NULL);
    if (ev->heap_pos != 0)
        sim_pull(s, ev->heap_pos);
    if (!s->crashed)
        sim_push(s, at_ns, SIM_WAIT_EVENT, ev);
}

void sim_cancel(struct sim *s, struct sim_event *ev)
{
    if (ev->heap_pos != 0)
        sim_pull(s, ev->heap_pos);
}

/* ---- running ---- */

static void run_slot(const struct sim_slot *slot)
{
    if (slot->kind == SIM_WAIT_EVENT) {
        struct sim_event *ev = slot->who;

        ev->fn(ev);
    } else {
        struct env_timer *t = slot->who;

        t->fn(t);
    }
}

int sim_step(struct sim *s)
{
    struct sim_slot first;

    if (s->crash_due || (s->crash_in_events != 0 && --s->crash_in_events == 0))
        sim_crash(s);
    if (s->crashed)
        return -FIRN_E_STOPPED;
    if (s->nr == 0)
        return -EAGAIN;
    first = s->heap[1];
    sim_pull(s, 1);
    assert(first.at_ns >= s->now_ns);
    s->now_ns = first.at_ns;
    s->events++;
    sim_trace_mix(s, first.at_ns ^ ((uint64_t)first.kind << 60));
    run_slot(&first);
    return 0;
}

int sim_run_until(struct sim *s, bool (*done)(void *ctx), void *ctx, uint64_t limit_ns)
{
    uint64_t end = s->now_ns + limit_ns;

    while (!done(ctx)) {
        int err;

        if (s->now_ns > end)
            return -ETIMEDOUT;
        err = sim_step(s);
        if (err != 0)
            return err;
    }
    return 0;
}

int sim_run_for(struct sim *s, uint64_t ns)
{
    uint64_t end = s->now_ns + ns;

    while (s->nr != 0 && s->heap[1].at_ns <= end) {
        int err = sim_step(s);

        if (err != 0)
            return err;
    }
    if (s->crashed)
        return -FIRN_E_STOPPED;
    s->now_ns = end;
    return 0;
}

/* ---- the end, and what comes after ---- */

void sim_crash(struct sim *s)
{
    assert(!s->crashed);
    s->crashed = true;
    s->crash_due = false;
    s->crash_in_events = s->crash_in_writes = 0;
    sim_fault_fired(s, SIM_CRASH);
    sim_fault_mattered(s, SIM_CRASH);
    sim_trace_mix(s, s->now_ns);
    while (s->nr != 0)
        sim_pull(s, s->nr);
    list_for_each_safe(n, tmp, &s->hooks) {
        struct sim_crash_hook *h = list_entry(n, struct sim_crash_hook, node);

        h->fn(h);
    }
}

void sim_crash_in_events(struct sim *s, uint64_t events) { s->crash_in_events = events; }
void sim_crash_in_writes(struct sim *s, uint64_t writes) { s->crash_in_writes = writes; }

void sim_saw_write(struct sim *s)
{
    if (s->crash_in_writes != 0 && --s->crash_in_writes == 0)
        s->crash_due = true;
}

void sim_reboot(struct sim *s)
{
    while (s->nr != 0) /* timers that closing code armed: nobody will hear them */
        sim_pull(s, s->nr);
    s->crashed = s->stuck = s->crash_due = false;
    s->crash_in_events = s->crash_in_writes = 0;
    s->now_ns += sim_between(s, NS_PER_MS, NS_PER_S);
    sim_ends_unheard(s);
}

void sim_ends_unheard(struct sim *s)
{
    list_for_each(n, &s->hooks) {
        struct sim_crash_hook *h = list_entry(n, struct sim_crash_hook, node);

        if (h->unheard != NULL)
            h->unheard(h);
    }
}

void sim_crash_hook_add(struct sim *s, struct sim_crash_hook *h)
{
    list_push_back(&s->hooks, &h->node);
}

void sim_crash_hook_remove(struct sim_crash_hook *h)
{
    list_remove(&h->node);
}

void sim_fault_fired(struct sim *s, enum sim_fault f)
{
    assert(f < SIM_FAULT_NR);
    s->counts.of[f].fired++;
}

void sim_fault_mattered(struct sim *s, enum sim_fault f)
{
    assert(f < SIM_FAULT_NR);
    s->counts.of[f].mattered++;
}

void sim_violation(struct sim *s, const char *fmt, ...)
{
    va_list ap;

    if (s->violation[0] != '\0')
        return;
    va_start(ap, fmt);
    vsnprintf(s->violation, sizeof(s->violation), fmt, ap);
    va_end(ap);
}

const char *sim_violation_text(const struct sim *s)
{
    return s->violation[0] == '\0' ? NULL : s->violation;
}
