/* SPDX-License-Identifier: Apache-2.0 */
/* stage.c: frames: a hash to find them, a list of free ones, a queue of ready ones. */
#include "tier/stage.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static uint32_t *head_of(const struct stage *st, uint32_t x, uint32_t in_extent)
{
    uint32_t h = (x * EXTENT_BLOCKS + in_extent) * 2654435761u;

    return &st->hash[(h ^ h >> 15) & st->hash_mask];
}

int stage_init(struct stage *st, uint32_t nr)
{
    uint32_t size = 1;

    assert(nr >= STAGE_FRAMES_MIN && nr <= STAGE_FRAMES_MAX);
    while (size < nr * 2)
        size *= 2;
    *st = (struct stage){.nr = nr, .hash_mask = size - 1};
    st->mem = mmap(NULL, (size_t)nr * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    st->frame = calloc((size_t)nr + 1, sizeof(*st->frame));
    st->hash = calloc(size, sizeof(*st->hash));
    if (st->mem == MAP_FAILED)
        st->mem = NULL;
    if (st->mem == NULL || st->frame == NULL || st->hash == NULL) {
        stage_fini(st);
        return -ENOMEM;
    }
    for (uint32_t f = nr; f > 0; f--) { /* the first ones first: what is claimed together lies together */
        st->frame[f].next = st->free;
        st->free = f;
    }
    return 0;
}

void stage_fini(struct stage *st)
{
    if (st->mem != NULL)
        munmap(st->mem, (size_t)st->nr * BLOCK_BYTES);
    free(st->frame);
    free(st->hash);
    *st = (struct stage){0};
}

uint32_t stage_find(const struct stage *st, uint32_t x, uint32_t in_extent)
{
    uint32_t f;

    if (!stage_may_have(st, x))
        return STAGE_NONE;
    for (f = *head_of(st, x, in_extent); f != STAGE_NONE; f = st->frame[f].hash_next)
        if (st->frame[f].x == x && st->frame[f].in_extent == in_extent)
            return f;
    return STAGE_NONE;
}

static void hide(struct stage *st, uint32_t f)
{
    struct frame *m = stage_frame(st, f);
    uint32_t *at = head_of(st, m->x, m->in_extent);

    while (*at != f)
        at = &st->frame[*at].hash_next;
    *at = m->hash_next;
    assert(st->filter[m->x % STAGE_FILTER] > 0);
    st->filter[m->x % STAGE_FILTER]--;
}

static void set_free(struct stage *st, uint32_t f)
{
    struct frame *m = stage_frame(st, f);

    m->state = FRAME_FREE;
    m->fetch = NULL;
    m->next = st->free;
    st->free = f;
}

static void leave_queue(struct stage *st, uint32_t f)
{
    struct frame *m = stage_frame(st, f);

    if (m->prev != STAGE_NONE)
        st->frame[m->prev].next = m->next;
    else
        st->first = m->next;
    if (m->next != STAGE_NONE)
        st->frame[m->next].prev = m->prev;
    else
        st->last = m->prev;
}

static void join_queue(struct stage *st, uint32_t f)
{
    struct frame *m = stage_frame(st, f);

    m->next = STAGE_NONE;
    m->prev = st->last;
    if (st->last != STAGE_NONE)
        st->frame[st->last].next = f;
    else
        st->first = f;
    st->last = f;
}

uint32_t stage_claim(struct stage *st, uint32_t x, uint32_t in_extent, uint32_t csum, struct fetch *fetch)
{
    uint32_t *head = head_of(st, x, in_extent), f;

    assert(stage_find(st, x, in_extent) == STAGE_NONE && stage_claimable(st) > 0);
    if (st->free == STAGE_NONE)
        stage_drop(st, st->first);
    f = st->free;
    st->free = st->frame[f].next;
    st->frame[f] = (struct frame){.x = x, .in_extent = (uint16_t)in_extent, .csum = csum, .fetch = fetch, .hash_next = *head,
                                  .state = FRAME_FETCHING};
    *head = f;
    st->filter[x % STAGE_FILTER]++;
    st->nr_out++;
    return f;
}

void stage_arrived(struct stage *st, uint32_t f, bool good)
{
    struct frame *m = stage_frame(st, f);

    assert((m->state == FRAME_FETCHING || m->state == FRAME_DROPPED) && st->nr_out > 0);
    st->nr_out--;
    if (m->state == FRAME_FETCHING && good) {
        m->state = FRAME_READY;
        m->fetch = NULL;
        join_queue(st, f);
        return;
    }
    if (m->state == FRAME_FETCHING)
        hide(st, f);
    set_free(st, f);
}

void stage_yield(struct stage *st, uint32_t f)
{
    struct frame *m = stage_frame(st, f);

    if (m->state != FRAME_READY || st->first == f)
        return;
    leave_queue(st, f);
    m->prev = STAGE_NONE;
    m->next = st->first;
    st->frame[st->first].prev = f;
    st->first = f;
}

void stage_lend(struct stage *st, uint32_t f)
{
    assert(stage_frame(st, f)->state == FRAME_READY);
    leave_queue(st, f);
    stage_frame(st, f)->state = FRAME_LENT;
    st->nr_out++;
}

bool stage_returned(struct stage *st, uint32_t f)
{
    struct frame *m = stage_frame(st, f);

    assert((m->state == FRAME_LENT || m->state == FRAME_DROPPED) && st->nr_out > 0);
    st->nr_out--;
    if (m->state == FRAME_DROPPED) {
        set_free(st, f);
        return false;
    }
    m->state = FRAME_READY;
    join_queue(st, f);
    return true;
}

void stage_drop(struct stage *st, uint32_t f)
{
    struct frame *m = stage_frame(st, f);

    assert(m->state == FRAME_FETCHING || stage_holds(st, f));
    hide(st, f);
    if (m->state != FRAME_READY) {
        m->state = FRAME_DROPPED;
        return;
    }
    leave_queue(st, f);
    set_free(st, f);
}

void stage_drop_block(struct stage *st, uint32_t x, uint32_t in_extent)
{
    uint32_t f = stage_find(st, x, in_extent);

    if (f != STAGE_NONE)
        stage_drop(st, f);
}

void stage_drop_extent(struct stage *st, uint32_t x)
{
    for (uint32_t i = 0; i < EXTENT_BLOCKS && stage_may_have(st, x); i++)
        stage_drop_block(st, x, i);
}

void stage_verify(const struct stage *st)
{
    uint32_t nr_free = 0, nr_ready = 0, nr_out = 0, nr_found = 0, filtered = 0;

    for (uint32_t f = st->free; f != STAGE_NONE; f = st->frame[f].next, nr_free++)
        assert(st->frame[f].state == FRAME_FREE);
    for (uint32_t f = st->first; f != STAGE_NONE; f = st->frame[f].next, nr_ready++)
        assert(st->frame[f].state == FRAME_READY);
    for (uint32_t f = 1; f <= st->nr; f++) {
        const struct frame *m = &st->frame[f];
        bool found = m->state == FRAME_FETCHING || stage_holds(st, f);

        nr_out += m->state == FRAME_FETCHING || m->state == FRAME_LENT || m->state == FRAME_DROPPED;
        nr_found += found;
        assert(!found || stage_find(st, m->x, m->in_extent) == f);
    }
    for (uint32_t i = 0; i < STAGE_FILTER; i++)
        filtered += st->filter[i];
    assert(nr_out == st->nr_out && nr_free + nr_ready + nr_out == st->nr && filtered == nr_found);
}
