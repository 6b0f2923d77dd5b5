/* SPDX-License-Identifier: Apache-2.0 */
/* timer_heap.c: a binary heap of pointers; each timer knows its place, so cancel and move take O(log n). */
#include "rt/timer_heap.h"

#include <errno.h>
#include <stdlib.h>

#define HEAP_CAP_FIRST 1024u

int timer_heap_init(struct timer_heap *h)
{
    *h = (struct timer_heap){.cap = HEAP_CAP_FIRST};
    h->at = calloc(h->cap + 1, sizeof(struct env_timer *));
    return h->at == NULL ? -ENOMEM : 0;
}

void timer_heap_fini(struct timer_heap *h)
{
    free(h->at);
    *h = (struct timer_heap){0};
}

static void place(struct timer_heap *h, uint32_t pos, struct env_timer *t)
{
    h->at[pos] = t;
    t->heap_pos = pos;
}

static void sift_up(struct timer_heap *h, uint32_t pos, struct env_timer *t)
{
    for (; pos > 1 && h->at[pos / 2]->deadline_ns > t->deadline_ns; pos /= 2)
        place(h, pos, h->at[pos / 2]);
    place(h, pos, t);
}

static void sift_down(struct timer_heap *h, uint32_t pos, struct env_timer *t)
{
    for (uint32_t child; (child = pos * 2) <= h->nr; pos = child) {
        if (child < h->nr && h->at[child + 1]->deadline_ns < h->at[child]->deadline_ns)
            child++;
        if (h->at[child]->deadline_ns >= t->deadline_ns)
            break;
        place(h, pos, h->at[child]);
    }
    place(h, pos, t);
}

static void heap_grow(struct timer_heap *h)
{
    struct env_timer **at = realloc(h->at, ((size_t)h->cap * 2 + 1) * sizeof(struct env_timer *));

    assert(at != NULL); /* a timer that cannot be armed would be a deadline that never comes */
    h->at = at;
    h->cap *= 2;
}

void timer_heap_arm(struct timer_heap *h, struct env_timer *t, uint64_t deadline_ns)
{
    timer_heap_cancel(h, t);
    if (h->nr == h->cap)
        heap_grow(h);
    t->deadline_ns = deadline_ns;
    h->nr++;
    sift_up(h, h->nr, t);
}

void timer_heap_cancel(struct timer_heap *h, struct env_timer *t)
{
    uint32_t pos = t->heap_pos;
    struct env_timer *last;

    if (pos == 0)
        return;
    assert(pos <= h->nr && h->at[pos] == t);
    t->heap_pos = 0;
    last = h->at[h->nr--];
    if (last == t)
        return;
    sift_up(h, pos, last);
    sift_down(h, last->heap_pos, last);
}

struct env_timer *timer_heap_pop_due(struct timer_heap *h, uint64_t now_ns)
{
    struct env_timer *t = h->nr > 0 ? h->at[1] : NULL;

    if (t == NULL || t->deadline_ns > now_ns)
        return NULL;
    timer_heap_cancel(h, t);
    return t;
}
