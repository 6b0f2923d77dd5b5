/* SPDX-License-Identifier: Apache-2.0 */
/* slot_table.h: which pages of the tables of slot segments should be written, and when. Pure: the caller has the clock and writes.
 *
 * A page is a hint for the next start, so it may lag: it is due once so many of its entries have changed that writing it costs less
 * than a fiftieth of what the fills wrote; or its segment's oldest change is SLOT_TABLE_AGE_NS old and the device has nothing
 * better to do; or the pool stops. Only a fill is a change: an entry whose copy was evicted is found out by its checksum.
 * What a crash forgets is what changed since, and no more.
 */
#ifndef FIRN_TIER_SLOT_TABLE_H
#define FIRN_TIER_SLOT_TABLE_H

#include "tier/format_slots.h"

#define SLOT_TABLE_AGE_NS (30 * UINT64_C(1000000000))
#define SLOT_TABLE_DUE    256u

enum slot_table_when { SLOT_TABLE_BUSY, SLOT_TABLE_IDLE, SLOT_TABLE_STOP }; /* due pages; old ones too; all that changed */

struct slot_table {
    struct slot_layout layout;
    uint8_t  *changed;           /* entries a page, [segment][page]; stops at 255 */
    uint32_t *nr_changed;        /* a segment: pages with changes that were not written */
    uint64_t *since_ns;          /* a segment with such pages: when the first of them changed */
    uint32_t  nr_segments;
    uint32_t  full;              /* changes that make a page due */
    uint32_t  due[SLOT_TABLE_DUE]; /* segment * nr_pages + page; a page that finds no room comes back with its next changes */
    uint32_t  due_first, due_nr;
    uint32_t  scan;              /* segment */
};

int  slot_table_init(struct slot_table *t, const struct segpool_geometry *geo, uint32_t nr_segments); /* 0, -ENOMEM */
void slot_table_fini(struct slot_table *t);
/* The index has a new entry in that place, or the write of the page failed. */
void slot_table_changed(struct slot_table *t, uint32_t segment, uint32_t place, uint64_t now_ns);
/* The segment is no longer one for slots: nothing of its table needs to be written. */
void slot_table_forget(struct slot_table *t, uint32_t segment);
/* A page to write now; it counts as unchanged from here on. False: none. */
bool slot_table_next(struct slot_table *t, enum slot_table_when when, uint64_t now_ns, uint32_t *segment, uint32_t *page);

#endif
