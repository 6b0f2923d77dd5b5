/* SPDX-License-Identifier: Apache-2.0 */
/* format_slots.h: the bytes of a slot segment: where its table and its places lie, and the pages of the table. Pure: no I/O, no
 * allocation; FORMAT.md is the prose.
 *
 * A slot segment is {segment header, as journal/ writes it}{pages of the table, `align` bytes each}{places of 4096 bytes}. Entry e
 * of page p says which block lies in place p * entries a page + e, and what its checksum is. It is a hint: a stale page is as
 * good as none, so pages are written without a flush, and whoever reads one compares each entry with the map.
 */
#ifndef FIRN_TIER_FORMAT_SLOTS_H
#define FIRN_TIER_FORMAT_SLOTS_H

#include "base/strbuf.h"
#include "journal/journal.h"

#define SLOT_HEADER_BYTES    4096u                 /* what a segment header takes, of any use */
#define SLOT_ENTRIES_MAX     204u                  /* entries of a page of 4096 bytes */
#define SLOT_PAGE_BLOCKS_MAX (UINT64_C(1) << 36)   /* block numbers are lower, as in the index */

struct slot_layout {
    uint32_t page_bytes;         /* the segment's align */
    uint32_t entries;            /* a page */
    uint32_t nr_pages;
    uint32_t nr_places;
    uint32_t first_unit;         /* of place 0, in units of 512 bytes from the segment's start; a multiple of 8 */
};

/* As many places as the segment has room for. The same everywhere in a pool. */
void slot_layout_of(const struct segpool_geometry *geo, struct slot_layout *out);
static inline uint32_t slot_place_unit(const struct slot_layout *l, uint32_t place)
{
    assert(place < l->nr_places);
    return l->first_unit + place * (BLOCK_BYTES / JOURNAL_UNIT_BYTES);
}
static inline uint32_t slot_unit_place(const struct slot_layout *l, uint32_t unit)
{
    assert(unit >= l->first_unit && unit % 8 == 0 && (unit - l->first_unit) / 8 < l->nr_places);
    return (unit - l->first_unit) / (BLOCK_BYTES / JOURNAL_UNIT_BYTES);
}
/* Bytes from the segment's start. */
static inline uint32_t slot_page_offset(const struct slot_layout *l, uint32_t page) { return SLOT_HEADER_BYTES + page * l->page_bytes; }

struct slot_entry { uint64_t layer, block; uint32_t csum; }; /* layer 0: nothing is known of the place */

struct slot_page {
    uint64_t epoch;              /* of the segment: pages of its former uses never verify */
    uint32_t segment, page;
    uint32_t nr;                 /* entries below are for places [page * entries, + nr); the last page may have fewer than entries */
    struct slot_entry entry[SLOT_ENTRIES_MAX];
};

/* Entries of that page; page < nr_pages. */
uint32_t slot_page_entries(const struct slot_layout *l, uint32_t page);
void slot_page_encode(const struct segpool_geometry *geo, const struct slot_page *p, void *buf /* align bytes */);
/* Expects in *p epoch, segment and page; fills in the rest. 0; -FIRN_E_NOT_FOUND: not written in this use of the segment;
 * -FIRN_E_CORRUPT: torn or damaged, all of it is to be dropped. */
int  slot_page_decode(const struct segpool_geometry *geo, const void *buf, struct slot_page *p);
void slot_page_print(struct strbuf *out, const struct slot_page *p);

#endif
