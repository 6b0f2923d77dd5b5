/* SPDX-License-Identifier: Apache-2.0 */
/* format_test.c: records survive a round trip; a changed byte is refused or means something else that encodes to itself. */
#include <criterion/criterion.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "tier/format.h"
#include "tier/tier.h"

static struct label a_label(enum tier_role role)
{
    struct label l = {.pool_name = "default", .role = (uint16_t)role, .nr_capacity = 2, .nr_shards = 3, .generation = 7,
                      .device_bytes = 300 * MIB, .created_wall_ns = 5};

    memset(l.pool.b, 0x11, 16);
    memset(l.device.b, 0x22, 16);
    if (role == TIER_JOURNAL) {
        l.seg_base_bytes = MIB;
        l.seg_bytes = 1 << 20;
        l.seg_nr = 298;
        l.seg_align = 4096;
    } else if (role == TIER_CAPACITY) {
        l.index = 1;
        l.ext_base_bytes = LABEL_AREA_BYTES;
        l.ext_nr = region_plan(l.device_bytes);
    }
    return l;
}

Test(format, label_survives_a_round_trip_in_every_role)
{
    for (int role = TIER_JOURNAL; role <= TIER_CAPACITY; role++) {
        struct label in = a_label((enum tier_role)role), out;
        uint8_t buf[LABEL_BYTES], again[LABEL_BYTES];

        memset(&out, 0, sizeof(out));
        label_encode(&in, buf);
        cr_assert_eq(label_decode(buf, &out), 0);
        label_encode(&out, again);
        cr_assert_eq(memcmp(buf, again, sizeof(buf)), 0);
        cr_assert_eq(out.ext_nr, in.ext_nr);
        cr_assert_eq(out.seg_nr, in.seg_nr);
    }
}

Test(format, only_a_journal_with_blocks_of_512_bytes_has_short_heads)
{
    struct label in = a_label(TIER_JOURNAL), out;
    uint8_t buf[LABEL_BYTES];

    cr_assert_eq(label_head_bytes(&in), 4096);
    in.seg_align = 512;
    label_encode(&in, buf);
    cr_assert_eq(label_decode(buf, &out), 0);
    cr_assert_eq(label_head_bytes(&out), 4096, "a pool of before there was a choice");
    in.incompat = LABEL_INCOMPAT_SHORT_HEADS;
    label_encode(&in, buf);
    cr_assert_eq(label_decode(buf, &out), 0);
    cr_assert_eq(label_head_bytes(&out), 512);
    for (int role = TIER_CACHE; role <= TIER_CAPACITY; role++) {
        in = a_label((enum tier_role)role);
        in.incompat = LABEL_INCOMPAT_SHORT_HEADS;
        label_encode(&in, buf);
        cr_assert_eq(label_decode(buf, &out), -FIRN_E_CORRUPT, "role %d", role);
    }
}

Test(format, label_with_any_byte_changed_is_refused)
{
    struct label in = a_label(TIER_JOURNAL), out;
    uint8_t buf[LABEL_BYTES];

    label_encode(&in, buf);
    for (unsigned i = 0; i < LABEL_BYTES; i++) {
        buf[i] ^= 0x40;
        cr_assert_neq(label_decode(buf, &out), 0, "byte %u", i);
        buf[i] ^= 0x40;
    }
    cr_assert_eq(label_decode(buf, &out), 0);
}

static void reseal(uint8_t *buf)
{
    le32 crc = to_le32(crc32c(0, buf + 4, 4092));

    memcpy(buf, &crc, 4);
}

Test(format, label_fields_out_of_range_are_refused_under_a_good_checksum)
{
    static const struct { unsigned off; uint8_t v; int err; const char *what; } rows[] = {
        {4, 2, -FIRN_E_FORMAT_VERSION, "version"}, {4, 0, -FIRN_E_CORRUPT, "version zero"},
        {152, 4, -FIRN_E_FORMAT_VERSION, "incompat bit"},
        {152, 2, -FIRN_E_CORRUPT, "a ring on a journal"}, {188, 1, -FIRN_E_CORRUPT, "entries of a ring on a journal"},
        {152, 1, -FIRN_E_CORRUPT, "short heads where align is 4096"}, {112, 9, -FIRN_E_CORRUPT, "role"},
        {116, 0, -FIRN_E_CORRUPT, "capacity devices"}, {118, 0, -FIRN_E_CORRUPT, "shards"},
        {118, 65, -FIRN_E_CORRUPT, "too many shards"}, {120, 0, -FIRN_E_CORRUPT, "generation"},
        {156, 1, -FIRN_E_CORRUPT, "align"}, {161, 1, -FIRN_E_CORRUPT, "segments' base"},
        {171, 0xff, -FIRN_E_CORRUPT, "segment bytes"}, {175, 0xff, -FIRN_E_CORRUPT, "segments"},
        {184, 1, -FIRN_E_CORRUPT, "extents on a journal"}, {48, 'A', -FIRN_E_CORRUPT, "name"},
        {60, 'x', -FIRN_E_CORRUPT, "bytes behind the name"}, {4095, 1, -FIRN_E_CORRUPT, "reserved"}, {8, 'X', -FIRN_E_NOT_FIRN, "magic"},
    };
    struct label in = a_label(TIER_JOURNAL), out;
    uint8_t buf[LABEL_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        label_encode(&in, buf);
        buf[rows[i].off] = rows[i].v;
        reseal(buf);
        cr_expect_eq(label_decode(buf, &out), rows[i].err, "%s", rows[i].what);
    }
}

Test(format, extents_of_a_label_end_before_the_last_label_area)
{
    struct label in = a_label(TIER_CAPACITY), out;
    uint8_t buf[LABEL_BYTES];

    in.ext_nr++;
    label_encode(&in, buf);
    cr_assert_eq(label_decode(buf, &out), -FIRN_E_CORRUPT);
}

Test(format, a_ring_lies_before_the_first_region_and_is_the_same_for_all)
{
    static const struct { uint32_t incompat, nr; uint64_t base; int err; } rows[] = {
        {LABEL_INCOMPAT_RING, 12, LABEL_AREA_BYTES + 12 * DESC_BYTES, 0},
        {LABEL_INCOMPAT_RING, 12, LABEL_AREA_BYTES + 11 * DESC_BYTES, -FIRN_E_CORRUPT},
        {LABEL_INCOMPAT_RING, 9, 2 * LABEL_AREA_BYTES, -FIRN_E_CORRUPT}, /* of three shards, two halves each */
        {LABEL_INCOMPAT_RING, 0, 2 * LABEL_AREA_BYTES, -FIRN_E_CORRUPT},
        {0, 12, 2 * LABEL_AREA_BYTES, -FIRN_E_CORRUPT},
        {LABEL_INCOMPAT_RING, 0xfffffffc, 2 * LABEL_AREA_BYTES, -FIRN_E_CORRUPT},
    };
    uint8_t buf[LABEL_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct label in = a_label(TIER_CAPACITY), out;

        in.ext_nr -= 2;
        in.incompat = rows[i].incompat;
        in.ring_nr = rows[i].nr;
        in.ext_base_bytes = rows[i].base;
        label_encode(&in, buf);
        cr_expect_eq(label_decode(buf, &out), rows[i].err, "row %zu", i);
        cr_expect(rows[i].err != 0 || out.ring_nr == rows[i].nr);
    }
}

Test(format, a_ring_takes_a_part_of_a_device_that_is_large_enough)
{
    cr_expect_eq(ring_plan(255 * MIB, 0, 1), 0);
    cr_expect_eq(ring_plan(256 * MIB, 0, 1), 2 * RING_HALF_MIN);
    cr_expect_eq(ring_plan(256 * MIB, 0, 2), 0);
    cr_expect_eq(ring_plan(32 * GIB, 0, 1) * (uint64_t)DESC_BYTES, 64 * MIB);
    cr_expect_leq(ring_plan(16 * TIB, 0, 7) * (uint64_t)DESC_BYTES, RING_BYTES_MAX);
    cr_expect_eq(ring_plan(16 * TIB, 0, 7) % 14, 0);
    cr_expect_eq(ring_plan(16 * TIB, RING_NONE, 1), 0);
    cr_expect_eq(ring_plan(16 * MIB, 6 * DESC_BYTES, 3), 6);
    cr_expect_eq(ring_plan(16 * MIB, 9 * MIB, 1), 0, "more than half of the device");
}

Test(format, region_plan_never_leaves_the_device)
{
    cr_assert_eq(region_plan(0), 0);
    cr_assert_eq(region_plan(2 * LABEL_AREA_BYTES), 0);
    for (uint64_t bytes = 3 * MIB; bytes < 200 * MIB; bytes += 512 * KIB + 4096) {
        uint32_t nr = region_plan(bytes);

        if (nr == 0)
            continue;
        cr_assert_leq(region_extent_offset(LABEL_AREA_BYTES, nr - 1) + EXTENT_BYTES, bytes - LABEL_AREA_BYTES);
        cr_assert_lt(region_desc_offset(LABEL_AREA_BYTES, nr - 1), region_extent_offset(LABEL_AREA_BYTES, nr - 1));
    }
    cr_assert_gt(region_plan(16 * TIB), 16u * 1000 * 1000);
}

/* Any change to a record is refused, or decodes to a record whose encoding is that very change. */
#define STABLE(type, in, encode, decode)                                                       \
    do {                                                                                       \
        uint8_t buf_[META_VALUE_MAX], again_[META_VALUE_MAX];                                  \
        type out_;                                                                             \
        uint32_t len_;                                                                         \
        memset(&out_, 0, sizeof(out_));                                                        \
        memset(buf_, 0, sizeof(buf_));                                                         \
        len_ = encode(&(in), buf_);                                                            \
        cr_assert_eq(decode(buf_, len_, &out_), 0);                                            \
        cr_assert_eq(encode(&out_, again_), len_);                                             \
        cr_assert_eq(memcmp(buf_, again_, len_), 0);                                           \
        cr_assert_eq(decode(buf_, len_ - 1, &out_), -FIRN_E_CORRUPT);                          \
        cr_assert_eq(decode(buf_, len_ + 1, &out_), -FIRN_E_CORRUPT);                          \
        cr_assert_eq(decode(buf_, 0, &out_), -FIRN_E_CORRUPT);                                 \
        for (uint32_t i_ = 0; i_ < len_; i_++)                                                 \
            for (unsigned bit_ = 0; bit_ < 8; bit_++) {                                        \
                buf_[i_] = (uint8_t)(buf_[i_] ^ 1u << bit_);                                   \
                memset(&out_, 0, sizeof(out_));                                                \
                if (decode(buf_, len_, &out_) == 0) {                                          \
                    encode(&out_, again_);                                                     \
                    cr_assert_eq(memcmp(buf_, again_, len_), 0, "byte %u bit %u", i_, bit_);   \
                }                                                                              \
                buf_[i_] = (uint8_t)(buf_[i_] ^ 1u << bit_);                                   \
            }                                                                                  \
    } while (0)

Test(format, extent_records_are_stable)
{
    struct extent_rec placed = {.place = {.dev = 3, .slot = 77}, .destaged_seq = 12345};
    struct extent_rec tomb = {.place = {.dev = EXTENT_NO_DEV}, .destaged_seq = 9};

    STABLE(struct extent_rec, placed, extent_rec_encode, extent_rec_decode);
    STABLE(struct extent_rec, tomb, extent_rec_encode, extent_rec_decode);
}

Test(format, an_extent_that_no_write_could_be_newer_than_is_refused)
{
    struct extent_rec last = {.place = {.dev = 3, .slot = 77}, .destaged_seq = SEQ_MEDIA_MAX}, beyond = last, out;
    uint8_t buf[META_VALUE_MAX] = {0};

    cr_assert_eq(extent_rec_decode(buf, extent_rec_encode(&last, buf), &out), 0);
    beyond.destaged_seq++;
    cr_assert_eq(extent_rec_decode(buf, extent_rec_encode(&beyond, buf), &out), -FIRN_E_CORRUPT);
}

Test(format, checksums_of_an_extent_are_stable)
{
    struct extent_sums s = {.valid = {0xff00ff, 0, 1, UINT64_C(1) << 63}, .damaged = {0xff00, 0, 0, 0}};

    for (unsigned i = 0; i < EXTENT_BLOCKS; i++)
        if (s.valid[i / 64] >> (i % 64) & 1)
            s.csum[i] = 0x1000 + i;
    STABLE(struct extent_sums, s, extent_sums_encode, extent_sums_decode);
}

Test(format, a_block_cannot_be_valid_and_damaged)
{
    struct extent_sums s = {.valid = {1}, .damaged = {1}}, out;
    uint8_t buf[META_VALUE_MAX];

    cr_assert_eq(extent_sums_decode(buf, extent_sums_encode(&s, buf), &out), -FIRN_E_CORRUPT);
}

Test(format, pool_volume_layer_and_device_records_are_stable)
{
    struct pool_rec p = {.name = "default", .next_volume_id = 4, .next_layer_id = 9, .nr_shards = 2, .nr_capacity = 3,
                         .loss_wall_ns = 5, .copies_epoch = 6};
    struct volume_rec v = {.id = 3, .layer = 8, .name = "db-1", .size_bytes = 64 * MIB, .lba_bytes = 512, .shard = 1,
                           .tier = VOLUME_SSD, .iops = 10, .nr_hosts = 2};
    struct layer_rec l = {.volume = 3, .parent = 0};
    struct device_rec d = {.device_bytes = GIB};

    memset(p.uuid.b, 7, 16);
    memset(v.uuid.b, 8, 16);
    STABLE(struct pool_rec, p, pool_rec_encode, pool_rec_decode);
    STABLE(struct volume_rec, v, volume_rec_encode, volume_rec_decode);
    STABLE(struct layer_rec, l, layer_rec_encode, layer_rec_decode);
    STABLE(struct device_rec, d, device_rec_encode, device_rec_decode);
}

Test(format, a_volume_record_has_the_new_version_only_where_it_has_a_policy)
{
    struct volume_rec v = {.id = 3, .layer = 8, .name = "db-1", .size_bytes = 64 * MIB, .lba_bytes = 4096}, out;
    struct volume_rec bad[] = {{.cache_min = VOLUME_SHARE_PCT | 101}, {.cache_max = VOLUME_SHARE_PCT}, {.admit = VOLUME_ADMIT_THIRD + 1},
                               {.stream_kib = VOLUME_STREAM_KIB_MAX + 1}, {.cache_min = (uint32_t)(VOLUME_BYTES_MAX / MIB) + 1}};
    uint8_t buf[META_VALUE_MAX];

    (void)volume_rec_encode(&v, buf);
    cr_assert_eq(buf[0], 1);
    buf[0] = 2; /* nobody writes that */
    cr_assert_eq(volume_rec_decode(buf, VOLUME_REC_BYTES, &out), -FIRN_E_CORRUPT);
    v.cache_min = VOLUME_SHARE_PCT | 10;
    v.cache_max = 2048;
    v.stream_kib = UINT32_MAX;
    v.admit = VOLUME_ADMIT_SECOND;
    STABLE(struct volume_rec, v, volume_rec_encode, volume_rec_decode);
    (void)volume_rec_encode(&v, buf);
    cr_assert_eq(buf[0], 2);
    buf[0] = 1;
    cr_assert_eq(volume_rec_decode(buf, VOLUME_REC_BYTES, &out), -FIRN_E_CORRUPT);
    buf[0] = 3;
    cr_assert_eq(volume_rec_decode(buf, VOLUME_REC_BYTES, &out), -FIRN_E_FORMAT_VERSION);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct volume_rec b = v;

        b.cache_min = bad[i].cache_min;
        b.cache_max = bad[i].cache_max;
        b.stream_kib = bad[i].stream_kib;
        b.admit = bad[i].admit;
        cr_assert_eq(volume_rec_decode(buf, volume_rec_encode(&b, buf), &out), -FIRN_E_CORRUPT, "%u", i);
    }
}

Test(format, a_shard_record_of_the_version_before_calls_nothing_described)
{
    struct shard_rec in = {.durable_seq = 9, .described_seq = 9, .mark = {{7, 3, 1}}}, out = {.described_seq = 5};
    uint8_t buf[SHARD_REC_BYTES];
    uint32_t len = shard_rec_encode(&in, buf) - (uint32_t)sizeof(uint64_t);

    buf[0] = 2;
    cr_assert_eq(shard_rec_decode(buf, len, &out), 0);
    cr_expect_eq(out.durable_seq, 9);
    cr_expect_eq(out.mark[0].group, 7);
    cr_expect_eq(out.described_seq, 0);
    cr_expect_eq(shard_rec_decode(buf, SHARD_REC_BYTES, &out), -FIRN_E_CORRUPT);
    buf[0] = 1;
    cr_expect_eq(shard_rec_decode(buf, len, &out), -FIRN_E_CORRUPT);
}

Test(format, a_shard_record_calls_no_more_described_than_durable)
{
    struct shard_rec in = {.durable_seq = 9, .described_seq = 9, .mark = {{7, 3, 1}}}, out;
    uint8_t buf[META_VALUE_MAX] = {0};

    STABLE(struct shard_rec, in, shard_rec_encode, shard_rec_decode);
    in.described_seq = 10;
    cr_assert_eq(shard_rec_decode(buf, shard_rec_encode(&in, buf), &out), -FIRN_E_CORRUPT);
}

Test(format, a_shard_record_has_a_mark_for_each_device_where_there_are_rings)
{
    struct shard_rec in = {.durable_seq = 9, .described_seq = 8, .mark = {{7, 3, 1}}, .nr_rings = 2, .ring = {{7, 100}, {9, 3}}}, out;
    uint8_t buf[META_VALUE_MAX] = {0};
    uint32_t len = shard_rec_encode(&in, buf);

    cr_assert_eq(len, SHARD_REC_BYTES + 2 * SHARD_REC_RING_BYTES);
    cr_assert_eq(shard_rec_decode(buf, len, &out), 0);
    cr_assert(out.nr_rings == 2 && out.ring[0].homed_seq == 7 && out.ring[0].head == 100 && out.ring[1].homed_seq == 9 &&
              out.ring[1].head == 3 && out.described_seq == 8);
    STABLE(struct shard_rec, in, shard_rec_encode, shard_rec_decode);
    for (uint32_t n = 0; n < len; n++)
        cr_expect_eq(shard_rec_decode(buf, n, &out) == 0, n == SHARD_REC_BYTES + SHARD_REC_RING_BYTES, "%u bytes", n);
    in.ring[1].homed_seq = 10;
    cr_expect_eq(shard_rec_decode(buf, shard_rec_encode(&in, buf), &out), -FIRN_E_CORRUPT, "more than is durable");
    in.nr_rings = 0;
    cr_expect_eq(shard_rec_encode(&in, buf), SHARD_REC_BYTES);
    cr_expect_eq(buf[0], 3, "as older programs know it");
    buf[0] = 6;
    cr_expect_eq(shard_rec_decode(buf, SHARD_REC_BYTES, &out), -FIRN_E_FORMAT_VERSION);
}

Test(format, a_shard_record_with_final_marks_has_a_version_of_its_own)
{
    for (uint32_t rings = 0; rings < 3; rings++) {
        struct shard_rec in = {.durable_seq = 9, .described_seq = 8, .mark = {{7, 3, 1}}, .marks_final = true, .nr_rings = rings}, out;
        uint8_t buf[META_VALUE_MAX] = {0};
        uint32_t len = shard_rec_encode(&in, buf);

        cr_expect_eq(len, SHARD_REC_BYTES + rings * SHARD_REC_RING_BYTES);
        cr_expect_eq(buf[0], 5, "one that an older program refuses: it would not take it back");
        STABLE(struct shard_rec, in, shard_rec_encode, shard_rec_decode);
        cr_assert_eq(shard_rec_decode(buf, len, &out), 0);
        cr_expect(out.marks_final && out.nr_rings == rings && out.mark[0].group == 7);
        for (uint32_t n = 0; n < len; n++)
            cr_expect_eq(shard_rec_decode(buf, n, &out) == 0, n >= SHARD_REC_BYTES && (n - SHARD_REC_BYTES) % SHARD_REC_RING_BYTES == 0);
        buf[4] = 0;
        cr_expect_eq(shard_rec_decode(buf, len, &out), -FIRN_E_CORRUPT, "the version says so, and nothing else does");
        buf[4] = 3;
        cr_expect_eq(shard_rec_decode(buf, len, &out), -FIRN_E_CORRUPT);
        in.marks_final = false;
        cr_expect_eq(shard_rec_encode(&in, buf), len);
        cr_expect_eq(buf[0], rings ? 4 : 3);
        buf[4] = 1;
        cr_expect_eq(shard_rec_decode(buf, len, &out), -FIRN_E_CORRUPT);
    }
}

Test(format, ids_after_which_there_is_no_next_one_are_refused)
{
    struct pool_rec last = {.name = "default", .next_volume_id = NEXT_ID_MAX, .next_layer_id = NEXT_ID_MAX, .nr_shards = 1,
                            .nr_capacity = 1}, out;
    struct pool_rec volume = last, layer = last;
    uint8_t buf[META_VALUE_MAX] = {0};

    cr_assert_eq(pool_rec_decode(buf, pool_rec_encode(&last, buf), &out), 0);
    volume.next_volume_id++;
    cr_assert_eq(pool_rec_decode(buf, pool_rec_encode(&volume, buf), &out), -FIRN_E_CORRUPT);
    layer.next_layer_id++;
    cr_assert_eq(pool_rec_decode(buf, pool_rec_encode(&layer, buf), &out), -FIRN_E_CORRUPT);
}

Test(format, a_newer_record_version_is_named_as_such)
{
    struct layer_rec l = {.volume = 1}, out;
    uint8_t buf[64];
    uint32_t len = layer_rec_encode(&l, buf);

    buf[0] = 2;
    cr_assert_eq(layer_rec_decode(buf, len, &out), -FIRN_E_FORMAT_VERSION);
}

Test(format, hosts_are_printable_and_bounded)
{
    char longest[NQN_MAX_BYTES + 2], out[NQN_MAX_BYTES + 1];
    uint8_t buf[NQN_MAX_BYTES + 8];
    uint32_t len = host_rec_encode("nqn.2014-08.org.nvmexpress:uuid:1", buf);

    cr_assert_eq(host_rec_decode(buf, len, out), 0);
    cr_assert_str_eq(out, "nqn.2014-08.org.nvmexpress:uuid:1");
    cr_assert_eq(host_rec_decode(buf, 4, out), -FIRN_E_CORRUPT);
    cr_assert_eq(host_rec_decode(buf, 3, out), -FIRN_E_CORRUPT);
    buf[6] = 0;
    cr_assert_eq(host_rec_decode(buf, len, out), -FIRN_E_CORRUPT);
    memset(longest, 'a', sizeof(longest));
    longest[NQN_MAX_BYTES + 1] = '\0';
    cr_assert_not(host_nqn_valid(longest));
    longest[NQN_MAX_BYTES] = '\0';
    cr_assert(host_nqn_valid(longest));
    cr_assert_eq(host_rec_decode(buf, host_rec_encode(longest, buf), out), 0);
    cr_assert_not(host_nqn_valid(""));
    cr_assert_not(host_nqn_valid("a b"));
}

Test(format, keys_sort_as_their_numbers_and_parse_back)
{
    struct meta_key a = meta_key_extent(1, 255), b = meta_key_extent(1, 256), c = meta_key_extent(2, 0);
    struct meta_key sums = meta_key_sums(7, 9), host = meta_key_host(5, 31);
    uint64_t layer, extent, id;
    uint32_t n;

    cr_assert_lt(memcmp(a.b, b.b, a.len), 0);
    cr_assert_lt(memcmp(b.b, c.b, b.len), 0);
    cr_assert_eq(meta_key_parse_extent(&sums, 'C', &layer, &extent), 0);
    cr_assert(layer == 7 && extent == 9);
    cr_assert_eq(meta_key_parse_extent(&sums, 'E', &layer, &extent), -FIRN_E_CORRUPT);
    cr_assert_eq(meta_key_parse_host(&host, &id, &n), 0);
    cr_assert(id == 5 && n == 31);
    a = meta_key_segment(70000);
    cr_assert_eq(meta_key_parse_id(&a, 'G', &id), 0);
    cr_assert_eq(id, 70000);
    a.len--;
    cr_assert_eq(meta_key_parse_id(&a, 'G', &id), -FIRN_E_CORRUPT);
    a = meta_key_extent(1, VOLUME_BYTES_MAX / EXTENT_BYTES);
    cr_assert_eq(meta_key_parse_extent(&a, 'E', &layer, &extent), -FIRN_E_CORRUPT, "behind the largest volume");
}

Test(format, extent_description_survives_and_any_changed_byte_is_refused)
{
    struct extent_desc in = {.slot = 5, .layer = 2, .extent = 3, .destaged_seq = 4,
                             .volume = {.uuid = {{1}}, .size_bytes = 4 * MIB, .lba_bytes = 512, .name = "db"}}, out;
    uint8_t buf[DESC_BYTES];

    in.sums.valid[1] = 2;
    in.sums.csum[65] = 0xdeadbeef;
    extent_desc_encode(&in, buf);
    cr_assert_eq(extent_desc_decode(buf, &out), 0);
    cr_assert(out.slot == 5 && out.layer == 2 && out.extent == 3 && out.destaged_seq == 4 && out.sums.csum[65] == 0xdeadbeef);
    cr_assert(out.volume.uuid.b[0] == 1 && out.volume.size_bytes == 4 * MIB && out.volume.lba_bytes == 512);
    cr_assert_str_eq(out.volume.name, "db");
    for (unsigned i = 0; i < DESC_BYTES; i++) {
        buf[i] ^= 1;
        cr_assert_neq(extent_desc_decode(buf, &out), 0, "byte %u", i);
        buf[i] ^= 1;
    }
    in.volume.name[0] = '.';
    extent_desc_encode(&in, buf);
    cr_assert_eq(extent_desc_decode(buf, &out), -FIRN_E_CORRUPT, "not a name");
    in.volume = (struct desc_volume){.lba_bytes = 512};
    extent_desc_encode(&in, buf);
    cr_assert_eq(extent_desc_decode(buf, &out), -FIRN_E_CORRUPT, "half a volume");
    in.volume.lba_bytes = 0;
    extent_desc_encode(&in, buf);
    cr_assert_eq(extent_desc_decode(buf, &out), 0, "an unknown one");
    memset(buf, 0, sizeof(buf));
    cr_assert_eq(extent_desc_decode(buf, &out), -FIRN_E_NOT_FOUND);
}

#define DESC_HEAD_BYTES 48u      /* checksum, version, magic, both UUIDs */

Test(format, a_description_with_any_bit_of_its_head_flipped_is_rotten_and_never_unwritten)
{
    struct extent_desc in = {.pool = {{1, 2}}, .device = {{3, 4}}, .slot = 5, .layer = 2, .extent = 3, .destaged_seq = 4}, out;
    uint8_t buf[DESC_BYTES];

    extent_desc_encode(&in, buf);
    cr_assert_eq(extent_desc_decode_on(&in.pool, &in.device, buf, &out), 0);
    for (unsigned bit = 0; bit < DESC_HEAD_BYTES * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(extent_desc_decode_on(&in.pool, &in.device, buf, &out), -FIRN_E_CORRUPT, "bit %u", bit);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    memset(buf, 0xff, 16);
    cr_assert_eq(extent_desc_decode_on(&in.pool, &in.device, buf, &out), -FIRN_E_CORRUPT, "nothing left before the UUIDs");
    memset(buf + 16, 0xff, 16);
    cr_assert_eq(extent_desc_decode_on(&in.pool, &in.device, buf, &out), -FIRN_E_CORRUPT, "of this device");
    memset(buf + 32, 0xff, 16);
    cr_assert_eq(extent_desc_decode_on(&in.pool, &in.device, buf, &out), -FIRN_E_NOT_FOUND, "nobody can tell");
}

Test(format, what_others_described_and_what_nobody_wrote_is_no_description)
{
    struct extent_desc in = {.pool = {{1, 2}}, .device = {{3, 4}}, .slot = 5, .layer = 2, .extent = 3, .destaged_seq = 4}, out;
    struct uuid pool = {{5}}, device = {{6}};
    uint8_t buf[DESC_BYTES] = {0};

    cr_assert_eq(extent_desc_decode_on(&in.pool, &in.device, buf, &out), -FIRN_E_NOT_FOUND);
    memset(buf, 0xa5, sizeof(buf));
    cr_assert_eq(extent_desc_decode_on(&in.pool, &in.device, buf, &out), -FIRN_E_NOT_FOUND);
    extent_desc_encode(&in, buf);
    cr_assert_eq(extent_desc_decode_on(&pool, &device, buf, &out), -FIRN_E_NOT_FOUND);
    cr_assert_eq(extent_desc_decode_on(&in.pool, &device, buf, &out), -FIRN_E_NOT_FOUND, "of another device of the pool");
    cr_assert_eq(extent_desc_decode_on(&pool, &in.device, buf, &out), -FIRN_E_NOT_FOUND);
    buf[8] ^= 1;
    cr_assert_eq(extent_desc_decode_on(&pool, &device, buf, &out), -FIRN_E_NOT_FOUND, "and rotten");
}

Test(format, descriptions_have_an_age_where_there_is_a_ring)
{
    struct extent_desc in = {.slot = 5, .layer = 2, .extent = 3, .destaged_seq = 4}, out;
    struct desc_age a = {2, 1}, b = {1, 9}, c = {2, 2};
    uint8_t buf[DESC_BYTES];

    extent_desc_encode(&in, buf);
    cr_assert_eq(buf[4], 1, "as older programs know it");
    in.age = (struct desc_age){.generation = 7, .no = 9};
    extent_desc_encode(&in, buf);
    cr_assert_eq(buf[4], 2);
    cr_assert_eq(extent_desc_decode(buf, &out), 0);
    cr_assert(out.age.generation == 7 && out.age.no == 9 && out.extent == 3);
    buf[4] = 1;
    reseal(buf);
    cr_expect_eq(extent_desc_decode(buf, &out), -FIRN_E_CORRUPT);
    buf[4] = 3;
    reseal(buf);
    cr_expect_eq(extent_desc_decode(buf, &out), -FIRN_E_FORMAT_VERSION);
    in.age.generation = 0;
    extent_desc_encode(&in, buf);
    cr_expect_eq(extent_desc_decode(buf, &out), -FIRN_E_CORRUPT, "a number, and no start that it counts from");
    cr_assert(desc_younger(&a, &b) && desc_younger(&c, &a) && !desc_younger(&a, &a) && !desc_younger(&a, &c));
}
