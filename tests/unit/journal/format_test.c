/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes: round trips; every damaged byte, and every byte in a wrong place, is refused; the decision table. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "journal/format.h"
#include "journal/priv.h"

TestSuite(journal_format, .timeout = 30);

static const struct segpool_geometry geo = {
    .base_bytes = MIB, .segment_bytes = 1 << 20, .nr_segments = 16, .align_bytes = 512, .head_bytes = 512, .nr_shards = 4,
    .pool = {{1, 2, 3}}};

static const struct jrn_seg_header head = {.epoch = 99, .shard = 3, .stream = JOURNAL_MOVES, .prev_segment = 4,
                                           .prev_epoch = 98, .cut_group = 1234, .group_floor = 1234, .seq_floor = 777};

static struct jrn_group build(uint8_t *buf, uint64_t off)
{
    static const uint32_t csum[7] = {11, 22, 44, 55, 66, 77, 33};
    struct jrn_record r[5] = {
        {JOURNAL_WRITE, 5, 100, 2, 901, 0}, {JOURNAL_ZERO, 5, 200, UINT64_C(1) << 36, 902, 0},
        {JOURNAL_PLACED, 5, 50, 4, 904, JOURNAL_PLACE_MAX - 1}, {JOURNAL_WRITE, 6, 7, 1, 903, 0}, {JOURNAL_WRITE, 8, 9, 10, 890, 0}};
    struct jrn_group g = {.number = 50, .epoch = 99, .durable_group = 48, .durable_seq = 880, .meta_commit_no = 7,
                          .index = 3, .nr_records = 4, .nr_echo = 1, .nr_sums = 7, .shard = 3,
                          .stream = JOURNAL_HOST, .prev_crc = 0xabcd};

    for (uint32_t i = 0; i < 4; i++)
        jrn_record_encode(&r[i], buf + JRN_FIXED_BYTES + i * JRN_RECORD_BYTES);
    jrn_csums_encode(csum, 7, buf + JRN_FIXED_BYTES + 4 * JRN_RECORD_BYTES);
    jrn_record_encode(&r[4], buf + JRN_FIXED_BYTES + 4 * JRN_RECORD_BYTES + 28);
    jrn_group_encode(&geo, 2, off, &g, buf);
    return g;
}

Test(journal_format, a_group_survives_the_round_trip)
{
    static uint8_t buf[JRN_GROUP_HEADER_MAX];
    struct jrn_group in = build(buf, 8192), g;
    struct jrn_record r;
    uint32_t csum[2];

    cr_assert_eq(jrn_group_decode(&geo, 2, 8192, buf, sizeof(buf), &g), 0);
    cr_assert_eq(g.number, in.number);
    cr_assert_eq(g.epoch, in.epoch);
    cr_assert_eq(g.durable_group, in.durable_group);
    cr_assert_eq(g.durable_seq, in.durable_seq);
    cr_assert_eq(g.meta_commit_no, in.meta_commit_no);
    cr_assert_eq(g.index, in.index);
    cr_assert_eq(g.prev_crc, in.prev_crc);
    cr_assert_eq(g.shard, 3u);
    jrn_group_record(&g, 1, &r);
    cr_assert(r.type == JOURNAL_ZERO && r.lba == 200 && r.nblocks == UINT64_C(1) << 36 && r.seq == 902);
    jrn_group_echo(&g, 0, &r);
    cr_assert(r.layer == 8 && r.lba == 9 && r.nblocks == 10 && r.seq == 890);
    jrn_group_record(&g, 2, &r);
    cr_assert(r.type == JOURNAL_PLACED && r.lba == 50 && r.nblocks == 4 && r.seq == 904 && r.place == JOURNAL_PLACE_MAX - 1);
    cr_assert(g.nr_sums == 7 && g.nr_blocks == 3, "what lies elsewhere has checksums and no payload");
    jrn_group_csums(&g, 1, 2, csum);
    cr_assert(csum[0] == 22 && csum[1] == 44);
}

Test(journal_format, every_flipped_bit_of_a_group_header_is_refused)
{
    static uint8_t buf[JRN_GROUP_HEADER_MAX];
    struct jrn_group g;

    build(buf, 8192);
    for (uint32_t bit = 0; bit < 8 * jrn_group_header_bytes(4, 1, 7); bit++) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(jrn_group_decode(&geo, 2, 8192, buf, sizeof(buf), &g), -FIRN_E_CORRUPT, "bit %u", bit);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(jrn_group_decode(&geo, 2, 8192, buf, sizeof(buf), &g), 0);
}

Test(journal_format, a_whole_group_header_in_a_wrong_place_is_refused)
{
    static uint8_t buf[JRN_GROUP_HEADER_MAX];
    struct segpool_geometry other = geo;
    struct jrn_group g;

    build(buf, 8192);
    cr_assert_neq(jrn_group_decode(&geo, 3, 8192, buf, sizeof(buf), &g), 0);
    cr_assert_neq(jrn_group_decode(&geo, 2, 8704, buf, sizeof(buf), &g), 0);
    other.pool.b[15] = 1;
    cr_assert_neq(jrn_group_decode(&other, 2, 8192, buf, sizeof(buf), &g), 0);
    for (size_t len = 0; len < jrn_group_header_bytes(4, 1, 7); len++)
        cr_assert_neq(jrn_group_decode(&geo, 2, 8192, buf, len, &g), 0);
}

/* Fields that no writer of ours makes, under a checksum that holds. */
Test(journal_format, a_group_with_impossible_fields_is_refused_although_its_checksum_holds)
{
    static uint8_t buf[JRN_GROUP_HEADER_MAX];
    static const struct jrn_group good = {.number = 50, .epoch = 99, .durable_group = 48, .index = 3, .nr_records = 1,
                                          .shard = 3};
    static const struct jrn_record zero = {JOURNAL_ZERO, 5, 200, 1, 902, 0};
    struct jrn_record bad_rec[] = {{JOURNAL_ZERO, 0, 1, 1, 1, 0}, {JOURNAL_ZERO, 1, 1, 0, 1, 0}, {JOURNAL_ZERO, 1, 1, 1, 0, 0},
                                   {(enum journal_rec_type)9, 1, 1, 1, 1, 0}, {JOURNAL_ZERO, 1, UINT64_MAX, 2, 1, 0},
                                   {JOURNAL_ZERO, 1, 1, (UINT64_C(1) << 36) + 1, 1, 0}, {JOURNAL_WRITE, 1, 1, 1, 1, 0},
                                   {JOURNAL_WRITE, 1, 1, 1000, 1, 0}, {JOURNAL_PLACED, 1, 1, 0, 1, 9}, {JOURNAL_PLACED, 1, 1, 257, 1, 9},
                                   {JOURNAL_PLACED, 1, 1, 1, 1, 9} /* its checksum is not there */,
                                   {JOURNAL_ZERO, 1, 1, 1, SEQ_MEDIA_MAX + 1, 0}};
    struct jrn_group bad[] = {good, good, good, good, good, good, good, good, good, good, good, good}, g = good;

    bad[0].number = 0;
    bad[1].epoch = 0;
    bad[2].durable_group = 50;
    bad[3].index = 50;
    bad[4].shard = 4;
    bad[5].stream = (enum journal_stream)2;
    bad[6].nr_sums = 1; /* a block that no record has */
    bad[7].nr_echo = 1;   /* an echo of nothing */
    bad[8].durable_seq = SEQ_MEDIA_MAX + 1; /* there would be no number for the next write */
    bad[9].number = NUMBER_MEDIA_MAX + 1;
    bad[10].epoch = NUMBER_MEDIA_MAX + 1;
    bad[11].meta_commit_no = NUMBER_MEDIA_MAX + 1;
    jrn_record_encode(&zero, buf + JRN_FIXED_BYTES);
    jrn_group_encode(&geo, 2, 8192, &g, buf);
    cr_assert_eq(jrn_group_decode(&geo, 2, 8192, buf, sizeof(buf), &g), 0);
    for (uint32_t i = 0; i < ARRAY_LEN(bad); i++) {
        memset(buf + JRN_FIXED_BYTES + JRN_RECORD_BYTES, 0, 64);
        jrn_group_encode(&geo, 2, 8192, &bad[i], buf);
        cr_assert_neq(jrn_group_decode(&geo, 2, 8192, buf, sizeof(buf), &g), 0, "case %u", i);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(bad_rec); i++) {
        g = good;
        jrn_record_encode(&bad_rec[i], buf + JRN_FIXED_BYTES);
        jrn_group_encode(&geo, 2, 8192, &g, buf);
        cr_assert_neq(jrn_group_decode(&geo, 2, 8192, buf, sizeof(buf), &g), 0, "record %u", i);
    }
}

Test(journal_format, a_group_that_would_reach_into_the_footer_is_refused)
{
    static uint8_t buf[JRN_GROUP_HEADER_MAX];
    uint64_t last = jrn_footer_off(&geo) - 512 - 3 * BLOCK_BYTES;
    struct jrn_group g;

    build(buf, last);
    cr_assert_eq(jrn_group_decode(&geo, 2, last, buf, sizeof(buf), &g), 0);
    build(buf, last + 512);
    cr_assert_neq(jrn_group_decode(&geo, 2, last + 512, buf, sizeof(buf), &g), 0);
}

Test(journal_format, a_segment_header_survives_the_round_trip_and_no_flipped_bit)
{
    static uint8_t buf[JRN_SEG_HEADER_BYTES];
    struct jrn_seg_header h;

    jrn_seg_header_encode(&geo, 5, &head, buf);
    cr_assert_eq(jrn_seg_header_decode(&geo, 5, buf, &h), 0);
    cr_assert(h.epoch == head.epoch && h.shard == head.shard && h.stream == head.stream &&
              h.prev_segment == head.prev_segment && h.prev_epoch == head.prev_epoch && h.cut_group == head.cut_group &&
              h.group_floor == head.group_floor && h.seq_floor == head.seq_floor);
    cr_assert_neq(jrn_seg_header_decode(&geo, 6, buf, &h), 0, "another segment's");
    for (uint32_t bit = 0; bit < 8 * geo.head_bytes; bit += bit < 2048 ? 1 : 97) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(jrn_seg_header_decode(&geo, 5, buf, &h), 0, "bit %u", bit);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(journal_format, a_segment_header_with_impossible_fields_is_refused)
{
    static uint8_t buf[JRN_SEG_HEADER_BYTES];
    struct jrn_seg_header bad[] = {head, head, head, head, head, head, head, head, head}, h;

    bad[0].epoch = 0;
    bad[1].shard = 4;
    bad[2].stream = (enum journal_stream)2;
    bad[3].prev_segment = 16;
    bad[4].prev_epoch = 99;
    bad[5].seq_floor = SEQ_MEDIA_MAX + 1;
    bad[6].epoch = NUMBER_MEDIA_MAX + 1;
    bad[7].cut_group = NUMBER_MEDIA_MAX + 1;
    bad[8].group_floor = NUMBER_MEDIA_MAX + 1;
    for (uint32_t i = 0; i < ARRAY_LEN(bad); i++) {
        jrn_seg_header_encode(&geo, 5, &bad[i], buf);
        cr_assert_eq(jrn_seg_header_decode(&geo, 5, buf, &h), -FIRN_E_CORRUPT, "case %u", i);
    }
}

/* A newer program's segment: whole, and not ours to touch. */
Test(journal_format, a_newer_version_or_an_unknown_feature_is_told_from_damage)
{
    static uint8_t buf[JRN_SEG_HEADER_BYTES];
    static const uint32_t at[] = {8 /* version */, 10 /* use */, 48 /* ro_compat */, 52 /* incompat */};
    struct { struct uuid pool; uint32_t segment, zero; uint64_t epoch, off; } seed = {geo.pool, 5, 0, 0, 0};
    struct jrn_seg_header h;

    for (uint32_t i = 0; i < ARRAY_LEN(at); i++) {
        uint32_t crc;

        jrn_seg_header_encode(&geo, 5, &head, buf);
        buf[at[i]] ^= 0x40;
        crc = crc32c(crc32c(0, &seed, sizeof(seed)), buf + 4, geo.head_bytes - 4);
        memcpy(buf, &crc, 4);
        cr_assert_eq(jrn_seg_header_decode(&geo, 5, buf, &h), -FIRN_E_FORMAT_VERSION, "byte %u", at[i]);
    }
}

Test(journal_format, a_footer_survives_the_round_trip_and_no_flipped_bit)
{
    static uint8_t buf[JRN_FOOTER_MAX];
    struct jrn_footer in = {.head = head, .summary_off = 65536, .summary_bytes = 4000, .summary_crc = 9, .nr_entries = 7,
                            .first_group = 1234, .nr_groups = 8, .seq_min = 3, .seq_max = 30, .end_off = 60000,
                            .meta_commit_no = 44}, f, bad[10];

    jrn_footer_encode(&geo, 5, &in, buf);
    cr_assert_eq(jrn_footer_decode(&geo, 5, buf, &f), 0);
    cr_assert(f.head.epoch == 99 && f.summary_off == 65536 && f.summary_bytes == 4000 && f.nr_entries == 7 &&
              f.first_group == 1234 && f.nr_groups == 8 && f.seq_min == 3 && f.seq_max == 30 && f.end_off == 60000 &&
              f.meta_commit_no == 44 && f.summary_crc == 9);
    for (uint32_t bit = 0; bit < 8 * geo.head_bytes; bit += bit < 2048 ? 1 : 97) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(jrn_footer_decode(&geo, 5, buf, &f), 0, "bit %u", bit);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = in;
    bad[0].end_off = 65537;
    bad[1].summary_bytes = geo.segment_bytes;
    bad[2].seq_min = 31;
    bad[3].nr_entries = 9;
    bad[4].first_group = 0;
    bad[5].nr_groups = UINT64_MAX;
    bad[6].seq_max = SEQ_MEDIA_MAX + 1;
    bad[7].first_group = 1233;
    bad[8].first_group = NUMBER_MEDIA_MAX - 7;
    bad[9].meta_commit_no = NUMBER_MEDIA_MAX + 1;
    for (uint32_t i = 0; i < ARRAY_LEN(bad); i++) {
        jrn_footer_encode(&geo, 5, &bad[i], buf);
        cr_assert_eq(jrn_footer_decode(&geo, 5, buf, &f), -FIRN_E_CORRUPT, "case %u", i);
    }
}

Test(journal_format, summary_entries_survive_the_round_trip_and_impossible_ones_are_refused)
{
    static uint8_t header[JRN_GROUP_HEADER_MAX], sum[1024];
    struct jrn_entry kept = {JRN_ENTRY_KEPT, 16, 1, 4, 7, 3, 1, NULL}, lost = {JRN_ENTRY_LOST, 20, 0, 0, 0, 0, 5, NULL}, e;
    struct jrn_entry damaged = {JRN_ENTRY_DAMAGED, 24, 0, 1, 0, 0, 1, NULL}, bad[6];
    struct jrn_group g = build(header, 8192);
    struct jrn_record r;
    size_t len, pos = 0;

    len = jrn_entry_encode(&kept, jrn_group_body(&g), sum);
    len += jrn_entry_encode(&lost, NULL, sum + len);
    len += jrn_entry_encode(&damaged, jrn_group_echo_bytes(&g), sum + len);
    cr_assert_eq(jrn_entry_decode(&geo, sum, len, &pos, &e), 0);
    cr_assert(e.kind == JRN_ENTRY_KEPT && e.unit == 16 && e.nr_records == 4 && e.nr_sums == 7 && e.nr_blocks == 3);
    jrn_entry_record(&e, 3, &r);
    cr_assert(r.layer == 6 && r.seq == 903);
    cr_assert_eq(jrn_entry_decode(&geo, sum, len, &pos, &e), 0);
    cr_assert(e.kind == JRN_ENTRY_LOST && e.nr_groups == 5);
    cr_assert_eq(jrn_entry_decode(&geo, sum, len, &pos, &e), 0);
    cr_assert(e.kind == JRN_ENTRY_DAMAGED && pos == len);
    cr_assert_neq(jrn_entry_decode(&geo, sum, len, &pos, &e), 0, "behind the end");
    for (uint32_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = kept;
    bad[0].unit = geo.segment_bytes / 512 - 8;
    bad[1].nr_sums = 2;
    bad[2].nr_groups = 2;
    bad[3].unit = 1;
    bad[4].kind = (enum jrn_entry_kind)3;
    bad[5].kind = JRN_ENTRY_LOST;
    for (uint32_t i = 0; i < ARRAY_LEN(bad); i++) {
        pos = 0;
        len = jrn_entry_encode(&bad[i], jrn_group_body(&g), sum);
        cr_assert_eq(jrn_entry_decode(&geo, sum, len, &pos, &e), -FIRN_E_CORRUPT, "case %u", i);
    }
}

Test(journal_format, printers_name_what_they_print)
{
    static uint8_t buf[JRN_GROUP_HEADER_MAX];
    struct jrn_group g = build(buf, 8192);
    struct jrn_record r;
    struct strbuf out;

    strbuf_init(&out);
    jrn_group_record(&g, 0, &r);
    jrn_seg_header_print(&out, &head);
    jrn_group_print(&out, &g);
    jrn_record_print(&out, &r);
    cr_assert_not_null(strstr(strbuf_str(&out), "cut at group 1234"));
    cr_assert_not_null(strstr(strbuf_str(&out), "group 50 epoch 99"));
    cr_assert_not_null(strstr(strbuf_str(&out), "layer 5 lba 100+2 seq 901"));
    strbuf_fini(&out);
}

Test(journal_format, exactly_one_row_of_the_decision_table_fits_each_pattern_of_facts)
{
    bool used[JUDGE_ROWS] = {false};

    for (uint32_t bits = 0; bits < 64; bits++) {
        struct facts f = {bits & 1, bits & 2, bits & 4, bits & 8, bits & 16, bits & 32};
        uint32_t rows = 0, row = 0;

        cr_assert_eq(judge_bits(&f), bits);
        for (uint32_t i = 0; i < JUDGE_ROWS; i++)
            if ((bits & judge_table[i].mask) == judge_table[i].value) {
                rows++;
                row = i;
            }
        cr_assert_eq(rows, 1, "pattern %u fits %u rows", bits, rows);
        cr_assert_eq(judge(&f), judge_table[row].decision);
        used[row] = true;
        if (f.marked && !f.cut && f.header_ok == false)
            cr_assert_eq(judge(&f), DECISION_CORRUPT_HEADER, "below the mark nothing is skipped silently");
        if (!f.marked && judge(&f) == DECISION_KEEP)
            cr_assert(f.header_ok && f.epoch_current && f.expected && f.payload_ok && !f.cut);
    }
    for (uint32_t i = 0; i < JUDGE_ROWS; i++) {
        cr_assert(used[i]);
        cr_assert_eq(judge_table[i].letter, 'A' + (char)i);
    }
}

Test(journal_format, geometry_is_cut_as_the_size_allows)
{
    struct segpool_geometry g;

    cr_assert_eq(segpool_plan(GIB, 0, 4096, 1, &g), 0);
    cr_assert_eq(g.segment_bytes, 16 * MIB);
    cr_assert_eq(g.nr_segments, 63);
    cr_assert_eq(segpool_plan(64 * GIB, 0, 512, 4, &g), 0);
    cr_assert_eq(g.segment_bytes, 64 * MIB);
    cr_assert_eq(segpool_plan(8 * TIB, 0, 512, 4, &g), 0);
    cr_assert_eq(g.segment_bytes, 256 * MIB);
    cr_assert_eq(segpool_plan(64 * MIB, 0, 4096, 1, &g), -FIRN_E_INVALID);
    cr_assert_eq(segpool_plan(GIB, 100000, 4096, 1, &g), -FIRN_E_INVALID);
    cr_assert_eq(segpool_plan(GIB, 0, 1024, 1, &g), -FIRN_E_INVALID);
    cr_assert_eq(segpool_plan(GIB, 0, 4096, 0, &g), -FIRN_E_INVALID);
    cr_assert_eq(segpool_plan(MIB, 0, 4096, 1, &g), -FIRN_E_INVALID);
}
