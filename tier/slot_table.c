/* SPDX-License-Identifier: Apache-2.0 */
/* slot_table.c: see slot_table.h. A page that becomes due is noted in a short ring; old pages are found segment by segment. */
#include "tier/slot_table.h"

#include <errno.h>
#include <stdlib.h>

#define FULL_MAX 64u             /* of a page of 4096 bytes: 1.6 % of the fills' bytes; of one of 512 bytes half its entries, 1.1 % */

int slot_table_init(struct slot_table *t, const struct segpool_geometry *geo, uint32_t nr_segments)
{
    *t = (struct slot_table){.nr_segments = nr_segments};
    slot_layout_of(geo, &t->layout);
    t->full = MIN(t->layout.entries / 2, FULL_MAX);
    t->changed = calloc((size_t)nr_segments * t->layout.nr_pages, sizeof(*t->changed));
    t->since_ns = calloc(nr_segments, sizeof(*t->since_ns));
    t->nr_changed = calloc(nr_segments, sizeof(*t->nr_changed));
    if (t->changed && t->since_ns && t->nr_changed)
        return 0;
    slot_table_fini(t);
    return -ENOMEM;
}

void slot_table_fini(struct slot_table *t)
{
    free(t->changed);
    free(t->since_ns);
    free(t->nr_changed);
    *t = (struct slot_table){0};
}

static uint8_t *changed_of(struct slot_table *t, uint32_t segment, uint32_t page)
{
    assert(segment < t->nr_segments && page < t->layout.nr_pages);
    return &t->changed[(size_t)segment * t->layout.nr_pages + page];
}

void slot_table_changed(struct slot_table *t, uint32_t segment, uint32_t place, uint64_t now_ns)
{
    uint32_t page = place / t->layout.entries;
    uint8_t *n = changed_of(t, segment, page);

    if (*n == 0 && t->nr_changed[segment]++ == 0)
        t->since_ns[segment] = now_ns;
    if (*n == UINT8_MAX)
        *n = (uint8_t)(UINT8_MAX - t->full); /* it goes on counting, so that it becomes due again and again */
    ++*n;
    if (*n % t->full == 0 && t->due_nr < SLOT_TABLE_DUE)
        t->due[(t->due_first + t->due_nr++) % SLOT_TABLE_DUE] = segment * t->layout.nr_pages + page;
}

static void page_clear(struct slot_table *t, uint32_t segment, uint32_t page)
{
    uint8_t *n = changed_of(t, segment, page);

    t->nr_changed[segment] -= *n != 0;
    *n = 0;
}

void slot_table_forget(struct slot_table *t, uint32_t segment)
{
    for (uint32_t p = 0; p < t->layout.nr_pages; p++)
        page_clear(t, segment, p);
}

/* What became due and was not written for another reason since. */
static bool next_due(struct slot_table *t, uint32_t *segment, uint32_t *page)
{
    while (t->due_nr > 0) {
        uint32_t at = t->due[t->due_first];

        t->due_first = (t->due_first + 1) % SLOT_TABLE_DUE;
        t->due_nr--;
        *segment = at / t->layout.nr_pages;
        *page = at % t->layout.nr_pages;
        if (*changed_of(t, *segment, *page) >= t->full)
            return true;
    }
    return false;
}

static bool next_changed(struct slot_table *t, uint64_t since_max_ns, uint32_t *segment, uint32_t *page)
{
    for (uint32_t i = 0; i < t->nr_segments; i++, t->scan = (t->scan + 1) % t->nr_segments) {
        if (t->nr_changed[t->scan] == 0 || t->since_ns[t->scan] > since_max_ns)
            continue;
        *segment = t->scan;
        for (*page = 0; *changed_of(t, *segment, *page) == 0; ++*page)
            ;
        return true;
    }
    return false;
}

bool slot_table_next(struct slot_table *t, enum slot_table_when when, uint64_t now_ns, uint32_t *segment, uint32_t *page)
{
    bool found = next_due(t, segment, page);

    switch (when) {
    case SLOT_TABLE_BUSY:
        break;
    case SLOT_TABLE_IDLE:
        if (!found && now_ns > SLOT_TABLE_AGE_NS)
            found = next_changed(t, now_ns - SLOT_TABLE_AGE_NS, segment, page);
        break;
    case SLOT_TABLE_STOP:
        found = found || next_changed(t, UINT64_MAX, segment, page);
        break;
    }
    if (found)
        page_clear(t, *segment, *page);
    return found;
}
