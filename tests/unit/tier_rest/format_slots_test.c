/* SPDX-License-Identifier: Apache-2.0 */
/* format_slots_test.c: slot segments use what they have; a page comes back as it was written, or not at all. */
#include <criterion/criterion.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "tier/format_slots.h"

static struct segpool_geometry geometry(uint32_t segment_bytes, uint32_t align)
{
    return (struct segpool_geometry){.base_bytes = MIB, .segment_bytes = segment_bytes, .nr_segments = 16,
                                     .align_bytes = align, .nr_shards = 1, .pool = {{7, 1}}};
}

Test(format_slots, header_pages_and_places_share_a_segment_without_overlap_and_none_is_missing)
{
    for (uint32_t align = 512; align <= 4096; align *= 8)
        for (uint32_t bytes = SEGMENT_BYTES_MIN; bytes <= SEGMENT_BYTES_MAX; bytes = bytes < 4 * MIB ? bytes + 4096 : bytes * 2) {
            struct segpool_geometry geo = geometry(bytes, align);
            struct slot_layout l;
            uint32_t table, sum = 0;

            slot_layout_of(&geo, &l);
            table = slot_page_offset(&l, l.nr_pages);
            cr_assert(slot_page_offset(&l, 0) >= SLOT_HEADER_BYTES && table <= l.first_unit * JOURNAL_UNIT_BYTES);
            cr_assert(l.first_unit % 8 == 0 && l.first_unit * JOURNAL_UNIT_BYTES - table < BLOCK_BYTES);
            cr_assert_eq(l.first_unit * JOURNAL_UNIT_BYTES + l.nr_places * BLOCK_BYTES, bytes);
            for (uint32_t p = 0; p < l.nr_pages; p++)
                sum += slot_page_entries(&l, p);
            cr_assert_eq(sum, l.nr_places, "a place without an entry");
            cr_assert_eq(slot_unit_place(&l, slot_place_unit(&l, l.nr_places - 1)), l.nr_places - 1);
        }
}

Test(format_slots, a_table_takes_a_hundredth_of_a_large_segment)
{
    struct segpool_geometry geo = geometry(16 * MIB, 4096);
    struct slot_layout l;

    slot_layout_of(&geo, &l);
    cr_assert_eq(l.nr_places, 4096 - 1 - 20);
    geo = geometry(256 * 1024, 512);
    slot_layout_of(&geo, &l);
    cr_assert(l.nr_places == 62 && l.nr_pages == 3 && l.entries == 24);
}

static void a_page(const struct segpool_geometry *geo, uint32_t page, struct slot_page *p)
{
    struct slot_layout l;

    slot_layout_of(geo, &l);
    memset(p, 0, sizeof(*p));
    *p = (struct slot_page){.epoch = 99, .segment = 5, .page = page, .nr = slot_page_entries(&l, page)};
    for (uint32_t i = 0; i < p->nr; i++)
        if (i % 5 != 2)
            p->entry[i] = (struct slot_entry){1 + i % 3, (UINT64_C(1) << 36) - 1 - i, i * 2654435761u};
}

Test(format_slots, a_page_survives_a_round_trip)
{
    for (uint32_t align = 512; align <= 4096; align *= 8) {
        struct segpool_geometry geo = geometry(4 * MIB, align);
        struct slot_page in, out = {.epoch = 99, .segment = 5};
        struct slot_layout l;
        uint8_t buf[4096];

        slot_layout_of(&geo, &l);
        for (uint32_t page = 0; page < l.nr_pages; page++) {
            a_page(&geo, page, &in);
            out.page = page;
            slot_page_encode(&geo, &in, buf);
            cr_assert_eq(slot_page_decode(&geo, buf, &out), 0);
            cr_assert_eq(out.nr, in.nr);
            for (uint32_t i = 0; i < in.nr; i++)
                cr_assert(in.entry[i].layer == out.entry[i].layer && in.entry[i].block == out.entry[i].block &&
                          in.entry[i].csum == out.entry[i].csum);
        }
    }
}

Test(format_slots, every_flipped_bit_of_a_page_is_refused)
{
    struct segpool_geometry geo = geometry(MIB, 512);
    struct slot_page in, out = {.epoch = 99, .segment = 5, .page = 1};
    uint8_t buf[512];

    a_page(&geo, 1, &in);
    slot_page_encode(&geo, &in, buf);
    for (uint32_t bit = 0; bit < 8 * sizeof(buf); bit++) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_lt(slot_page_decode(&geo, buf, &out), 0, "bit %u", bit);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(slot_page_decode(&geo, buf, &out), 0);
}

Test(format_slots, a_page_of_another_use_place_or_pool_is_no_page)
{
    struct segpool_geometry geo = geometry(MIB, 512), other = geo;
    struct slot_page in, out;
    uint8_t buf[512] = {0};

    a_page(&geo, 1, &in);
    out = (struct slot_page){.epoch = 99, .segment = 5, .page = 1};
    cr_assert_eq(slot_page_decode(&geo, buf, &out), -FIRN_E_NOT_FOUND, "never written");
    slot_page_encode(&geo, &in, buf);
    out.epoch = 100;
    cr_assert_eq(slot_page_decode(&geo, buf, &out), -FIRN_E_NOT_FOUND, "a former use");
    out = (struct slot_page){.epoch = 99, .segment = 6, .page = 1};
    cr_assert_eq(slot_page_decode(&geo, buf, &out), -FIRN_E_CORRUPT, "another segment");
    out = (struct slot_page){.epoch = 99, .segment = 5, .page = 2};
    cr_assert_eq(slot_page_decode(&geo, buf, &out), -FIRN_E_CORRUPT, "another page");
    other.pool.b[3] ^= 1;
    out.page = 1;
    cr_assert_eq(slot_page_decode(&other, buf, &out), -FIRN_E_CORRUPT, "another pool");
}

/* Makes the checksum good again after a field was spoilt: those whom a checksum does not stop must be stopped by the fields. */
static int decode_resealed(const struct segpool_geometry *geo, uint8_t *buf)
{
    struct { struct uuid pool; le32 segment, page; le64 epoch; } seed = {geo->pool, to_le32(5), to_le32(0), to_le64(99)};
    le32 crc = to_le32(crc32c(crc32c(0, &seed, sizeof(seed)), buf + 4, 508));
    struct slot_page out = {.epoch = 99, .segment = 5};

    memcpy(buf, &crc, 4);
    return slot_page_decode(geo, buf, &out);
}

Test(format_slots, entries_that_nobody_could_have_written_are_refused)
{
    struct segpool_geometry geo = geometry(MIB, 512);
    struct { uint32_t at; uint8_t v; } bad[] = {
        {16 + 2 * 20 + 8, 1},   /* an empty place with a block */
        {16 + 2 * 20 + 16, 1},  /* or with a checksum */
        {16 + 7, 0x80},         /* a layer that will never be */
        {16 + 8 + 4, 0x10},     /* a block beyond every volume */
        {511, 1},               /* behind the last entry */
    };
    struct slot_page in;
    uint8_t buf[512];

    a_page(&geo, 0, &in);
    for (uint32_t i = 0; i < ARRAY_LEN(bad); i++) {
        slot_page_encode(&geo, &in, buf);
        cr_assert_eq(decode_resealed(&geo, buf), 0);
        buf[bad[i].at] = bad[i].v;
        cr_assert_eq(decode_resealed(&geo, buf), -FIRN_E_CORRUPT, "case %u", i);
    }
}

Test(format_slots, a_page_can_be_read_by_people)
{
    struct segpool_geometry geo = geometry(MIB, 512);
    struct slot_page p;
    struct strbuf b;

    a_page(&geo, 0, &p);
    strbuf_init(&b);
    slot_page_print(&b, &p);
    cr_assert_not_null(strstr(strbuf_str(&b), "segment 5, epoch 99, page 0"));
    cr_assert_not_null(strstr(strbuf_str(&b), "0: layer 1 block 68719476735"));
    strbuf_fini(&b);
}
