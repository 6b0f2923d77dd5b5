/* SPDX-License-Identifier: Apache-2.0 */
/* format_slots.c: pages of a slot segment's table to bytes and back.
 *
 * The checksum of a page is seeded with pool, segment, page and epoch: whole pages in a wrong place, of another pool or of a
 * former use of the segment fail like damaged ones. An entry that no engine could have written makes the page a damaged one.
 */
#include "tier/format_slots.h"

#include "base/crc32c.h"
#include "base/err.h"
#include "tier/format.h"

#define SLOT_MAGIC 0x544e5246u    /* bytes on media: 'F' 'R' 'N' 'T' */

struct slot_page_media {
    le32 crc;                     /*  0  of all that follows, to the page's end */
    le32 magic;                   /*  4 */
    le64 epoch;                   /*  8  of the segment's header */
} __attribute__((packed));
struct slot_entry_media {
    le64 layer;                   /*  0  0: empty, and so are the others */
    le64 block;                   /*  8 */
    le32 csum;                    /* 16  block_csum() */
} __attribute__((packed));
static_assert(sizeof(struct slot_page_media) == 16, "on-disk size is frozen");
static_assert(sizeof(struct slot_entry_media) == 20, "on-disk size is frozen");
static_assert((4096 - sizeof(struct slot_page_media)) / sizeof(struct slot_entry_media) == SLOT_ENTRIES_MAX, "the coarsest page");

/* ---- layout ---- */

static uint32_t table_end(const struct segpool_geometry *geo, uint32_t nr_pages)
{
    return ROUND_UP(SLOT_HEADER_BYTES + nr_pages * geo->align_bytes, BLOCK_BYTES);
}

static uint32_t places_behind(const struct segpool_geometry *geo, uint32_t nr_pages)
{
    return (geo->segment_bytes - table_end(geo, nr_pages)) / BLOCK_BYTES;
}

void slot_layout_of(const struct segpool_geometry *geo, struct slot_layout *out)
{
    uint32_t entries = (uint32_t)((geo->align_bytes - sizeof(struct slot_page_media)) / sizeof(struct slot_entry_media));
    uint32_t pages = (geo->segment_bytes / BLOCK_BYTES) / (entries + 1);

    assert(geo->align_bytes == 512 || geo->align_bytes == 4096);
    assert(geo->segment_bytes % BLOCK_BYTES == 0 && geo->segment_bytes >= 4 * BLOCK_BYTES);
    pages = MAX(pages, 1u);
    while (pages * entries < places_behind(geo, pages)) /* fewer pages leave more places: the first that fits is the best */
        pages++;
    *out = (struct slot_layout){.page_bytes = geo->align_bytes, .entries = entries, .nr_pages = pages,
                                .nr_places = places_behind(geo, pages),
                                .first_unit = table_end(geo, pages) / JOURNAL_UNIT_BYTES};
}

uint32_t slot_page_entries(const struct slot_layout *l, uint32_t page)
{
    assert(page < l->nr_pages);
    return MIN(l->entries, l->nr_places - page * l->entries);
}

/* ---- pages ---- */

static uint32_t page_crc(const struct segpool_geometry *geo, const struct slot_page *p, const void *buf)
{
    struct {
        struct uuid pool;
        le32 segment, page;
        le64 epoch;
    } seed = {geo->pool, to_le32(p->segment), to_le32(p->page), to_le64(p->epoch)};

    return crc32c(crc32c(0, &seed, sizeof(seed)), (const char *)buf + 4, geo->align_bytes - 4);
}

static struct slot_entry_media *entries_of(void *buf) { return (void *)((char *)buf + sizeof(struct slot_page_media)); }

void slot_page_encode(const struct segpool_geometry *geo, const struct slot_page *p, void *buf)
{
    struct slot_page_media *head = buf;
    struct slot_entry_media *e = entries_of(buf);

    memset(buf, 0, geo->align_bytes);
    assert(p->nr <= SLOT_ENTRIES_MAX && sizeof(*head) + p->nr * sizeof(*e) <= geo->align_bytes);
    head->magic = to_le32(SLOT_MAGIC);
    head->epoch = to_le64(p->epoch);
    for (uint32_t i = 0; i < p->nr; i++) {
        if (p->entry[i].layer == 0)
            continue;
        e[i].layer = to_le64(p->entry[i].layer);
        e[i].block = to_le64(p->entry[i].block);
        e[i].csum = to_le32(p->entry[i].csum);
    }
    head->crc = to_le32(page_crc(geo, p, buf));
}

static bool entry_possible(const struct slot_entry *e)
{
    if (e->layer == 0)
        return e->block == 0 && e->csum == 0;
    return e->layer < NEXT_ID_MAX && e->block < SLOT_PAGE_BLOCKS_MAX;
}

static bool zeros(const uint8_t *from, const uint8_t *to)
{
    while (from < to)
        if (*from++ != 0)
            return false;
    return true;
}

int slot_page_decode(const struct segpool_geometry *geo, const void *buf, struct slot_page *p)
{
    const struct slot_page_media *head = buf;
    const struct slot_entry_media *e = (const void *)(head + 1);
    struct slot_layout l;

    slot_layout_of(geo, &l);
    p->nr = slot_page_entries(&l, p->page);
    if (from_le32(head->magic) != SLOT_MAGIC || from_le64(head->epoch) != p->epoch)
        return -FIRN_E_NOT_FOUND;
    if (from_le32(head->crc) != page_crc(geo, p, buf))
        return -FIRN_E_CORRUPT;
    for (uint32_t i = 0; i < p->nr; i++) {
        p->entry[i] = (struct slot_entry){from_le64(e[i].layer), from_le64(e[i].block), from_le32(e[i].csum)};
        if (!entry_possible(&p->entry[i]))
            return -FIRN_E_CORRUPT;
    }
    return zeros((const uint8_t *)&e[p->nr], (const uint8_t *)buf + geo->align_bytes) ? 0 : -FIRN_E_CORRUPT;
}

void slot_page_print(struct strbuf *out, const struct slot_page *p)
{
    strbuf_add(out, "slots of segment %u, epoch %llu, page %u\n", p->segment, (unsigned long long)p->epoch, p->page);
    for (uint32_t i = 0; i < p->nr; i++)
        if (p->entry[i].layer != 0)
            strbuf_add(out, "  %u: layer %llu block %llu csum %08x\n", i, (unsigned long long)p->entry[i].layer,
                       (unsigned long long)p->entry[i].block, p->entry[i].csum);
}
