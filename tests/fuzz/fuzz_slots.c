/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_slots.c: a page of a slot segment's table, as found on a device, at both alignments. What is accepted encodes to the very
 * bytes it came from and names only places, layers and blocks that can be. The checksum is made good first, so that the fields
 * are reached.
 */
#include "base/crc32c.h"
#include "tier/format.h"
#include "tier/format_slots.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EPOCH   3u
#define SEGMENT 2u
#define SEGMENT_BYTES (256u * 1024u)

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static void try_page(const struct segpool_geometry *geo, uint32_t page, const uint8_t *buf)
{
    static struct slot_page p;
    uint8_t again[4096];
    struct slot_layout l;
    struct strbuf text;

    p.epoch = EPOCH;
    p.segment = SEGMENT;
    p.page = page;
    if (slot_page_decode(geo, buf, &p) != 0)
        return;
    slot_layout_of(geo, &l);
    expect(p.nr <= l.entries && page * l.entries + p.nr <= l.nr_places);
    for (uint32_t i = 0; i < p.nr; i++)
        expect(p.entry[i].layer < NEXT_ID_MAX && p.entry[i].block < SLOT_PAGE_BLOCKS_MAX);
    slot_page_encode(geo, &p, again);
    expect(memcmp(buf, again, geo->align_bytes) == 0);
    strbuf_init(&text);
    slot_page_print(&text, &p);
    expect(text.len > 0);
    strbuf_fini(&text);
}

static void reseal(const struct segpool_geometry *geo, uint32_t page, uint8_t *buf)
{
    struct { struct uuid pool; le32 segment, page; le64 epoch; } seed = {geo->pool, to_le32(SEGMENT), to_le32(page), to_le64(EPOCH)};
    uint32_t crc = crc32c(0, &seed, sizeof(seed));
    le32 sum = to_le32(crc32c(crc, buf + 4, geo->align_bytes - 4));

    memcpy(buf, &sum, sizeof(sum));
}

/* The first byte: alignment and page; a page of the table follows. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct segpool_geometry geo = {.base_bytes = 4096, .segment_bytes = SEGMENT_BYTES, .nr_segments = 4, .nr_shards = 1,
                                   .pool = {{42}}};
    uint8_t buf[4096] = {0};
    struct slot_layout l;
    uint32_t page;

    if (size == 0)
        return 0;
    geo.align_bytes = data[0] & 1 ? 512 : 4096;
    slot_layout_of(&geo, &l);
    page = (uint32_t)(data[0] >> 1) % l.nr_pages;
    memcpy(buf, data + 1, MIN(size - 1, (size_t)geo.align_bytes));
    try_page(&geo, page, buf);
    reseal(&geo, page, buf);
    try_page(&geo, page, buf);
    return 0;
}
