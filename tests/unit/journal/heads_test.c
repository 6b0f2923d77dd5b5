/* SPDX-License-Identifier: Apache-2.0 */
/* heads_test.c: headers and footers of one block, and of 4096 bytes as older pools have them: what a tear leaves of their writes, and
 * that one spot that cannot be read takes the header or the first group, not both.
 */
#include "rig.h"

#define SECTOR 512u

static void quiet(void) { log_set_level(LOG_LEVEL_ERROR + 1); }

TestSuite(journal_heads, .init = quiet, .timeout = 120);

static struct rig *opened(bool long_heads)
{
    struct rig *r = rig_new(&(struct rig_opts){.seed = 3, .nr_segments = 12, .long_heads = long_heads});

    cr_assert_eq(r->geo.head_bytes, long_heads ? 4096 : SECTOR);
    cr_assert_eq(rig_open(r), 0);
    return r;
}

static void write_many(struct rig *r, uint64_t lba, uint32_t blocks)
{
    rig_write(r, lba, blocks);
    cr_assert_eq(rig_wait(r), 0);
    sim_run_for(r->sim, NS_PER_MS);
}

static void write_one(struct rig *r, uint64_t lba) { write_many(r, lba, 4); }

static void zero_one(struct rig *r, uint64_t lba)
{
    rig_append(r, JOURNAL_HOST, JOURNAL_ZERO, lba, 1);
    cr_assert_eq(rig_wait(r), 0);
}

Test(journal_heads, each_length_is_written_and_believed_to_its_last_byte_and_no_further)
{
    static uint8_t buf[JRN_SEG_HEADER_BYTES];
    struct segpool_geometry geo = {.segment_bytes = RIG_SEGMENT_BYTES, .nr_segments = 4, .align_bytes = SECTOR, .nr_shards = 1,
                                   .head_bytes = SECTOR, .pool = {{9}}}, other = geo;
    struct jrn_seg_header h = {.epoch = 5, .seq_floor = 1}, back;
    struct jrn_footer f = {.head = h, .summary_off = geo.segment_bytes - 2 * SECTOR, .summary_bytes = 100, .nr_entries = 1,
                           .first_group = 1, .nr_groups = 1, .end_off = 8192}, foot;

    other.head_bytes = sizeof(buf);
    for (uint32_t i = 0; i < 2; i++, geo.head_bytes = sizeof(buf), other.head_bytes = SECTOR) {
        memset(buf, 0xee, sizeof(buf));
        jrn_seg_header_encode(&geo, 2, &h, buf);
        cr_assert_eq(jrn_seg_header_decode(&geo, 2, buf, &back), 0);
        cr_assert_eq(jrn_seg_header_decode(&other, 2, buf, &back), -FIRN_E_CORRUPT);
        for (uint32_t at = 0; at < sizeof(buf); at++) {
            cr_assert(at < geo.head_bytes || buf[at] == 0xee);
            buf[at] ^= 1;
            cr_assert_eq(jrn_seg_header_decode(&geo, 2, buf, &back) == 0, at >= geo.head_bytes, "byte %u", at);
            buf[at] ^= 1;
        }
        f.summary_off = geo.segment_bytes - geo.head_bytes - SECTOR; /* the last place that is left */
        jrn_footer_encode(&geo, 2, &f, buf);
        cr_assert_eq(jrn_footer_decode(&geo, 2, buf, &foot), 0);
        f.summary_off += SECTOR;
        jrn_footer_encode(&geo, 2, &f, buf);
        cr_assert_eq(jrn_footer_decode(&geo, 2, buf, &foot), -FIRN_E_CORRUPT, "a summary inside the footer");
    }
}

/* The newest segment has a header and no group: it was opened ahead of need. Returns its number. */
static uint32_t opened_ahead(struct rig *r)
{
    static uint8_t buf[JRN_SEG_HEADER_BYTES];
    uint32_t newest = 0;
    uint64_t epoch = 0;

    for (uint32_t i = 0; i < r->geo.nr_segments; i++) {
        struct jrn_seg_header h;

        sim_disk_peek(r->disk, rig_base(r, i), buf, sizeof(buf));
        if (jrn_seg_header_decode(&r->geo, i, buf, &h) != 0 || h.epoch < epoch)
            continue;
        epoch = h.epoch;
        newest = i;
    }
    for (uint32_t i = 0; i < r->nr_w; i++)
        cr_assert(r->w[i].freed || r->w[i].a.loc.segment != newest);
    return newest;
}

static void fill_until_opened_ahead(struct rig *r)
{
    uint32_t sealed = 0, n = 0;

    while (sealed < 20) { /* so every segment was used before */
        write_one(r, n++ * 10);
        if (r->nr_sealed > 2) {
            rig_free_oldest(r);
            sealed++;
        }
    }
    for (uint32_t before = r->opened; r->opened == before; n++)
        write_one(r, n * 10);
}

/* Any of the sectors of its header's write arrived; the others hold what was there. */
static void header_torn(bool long_heads)
{
    static uint8_t new[JRN_SEG_HEADER_BYTES], torn[JRN_SEG_HEADER_BYTES];
    struct rig *r = opened(long_heads);
    uint32_t segment, sectors = r->geo.head_bytes / SECTOR;

    fill_until_opened_ahead(r);
    rig_crash(r);
    segment = opened_ahead(r);
    sim_disk_peek(r->disk, rig_base(r, segment), new, sizeof(new));
    rig_save(r);
    for (uint32_t mask = 0; mask < 1u << sectors; mask++) {
        rig_restore(r);
        memcpy(torn, new, sizeof(torn));
        for (uint32_t i = 0; i < sectors; i++)
            if (!(mask >> i & 1))
                memset(torn + i * SECTOR, 0x5a, SECTOR);
        sim_disk_poke(r->disk, rig_base(r, segment), torn, r->geo.head_bytes);
        cr_assert_eq(rig_open(r), 0, "mask %x", mask);
        cr_assert_eq(rig_verify(r), 0, "mask %x", mask);
        cr_assert_eq(r->nr_dmg + r->nr_unnamed, 0);
        rig_crash(r);
    }
    rig_free(r);
}

Test(journal_heads, a_header_torn_at_any_sector_loses_nothing)
{
    header_torn(false);
    header_torn(true);
}

/* Summary and footer are one write: any of its sectors arrived, the others hold what was there. */
static void seal_torn(bool long_heads)
{
    static uint8_t whole[65536], torn[sizeof(whole)], foot[JRN_FOOTER_MAX];
    struct rig *r = opened(long_heads);
    struct jrn_footer f;
    uint32_t segment, sectors;
    uint64_t at;

    for (uint32_t i = 0; r->nr_sealed == 0; i++)
        write_one(r, i * 10);
    segment = r->sealed[0];
    rig_crash(r);
    sim_disk_peek(r->disk, rig_base(r, segment) + jrn_footer_off(&r->geo), foot, r->geo.head_bytes);
    cr_assert_eq(jrn_footer_decode(&r->geo, segment, foot, &f), 0);
    cr_assert_eq(f.summary_off + ROUND_UP(f.summary_bytes, (uint64_t)SECTOR), jrn_footer_off(&r->geo));
    at = rig_base(r, segment) + f.summary_off;
    sectors = (uint32_t)(r->geo.segment_bytes - f.summary_off) / SECTOR;
    cr_assert(sectors >= 2 && sectors <= 16);
    sim_disk_peek(r->disk, at, whole, sectors * SECTOR);
    rig_save(r);
    for (uint32_t k = 0; k < 4 * sectors; k++) {
        uint32_t mask = k < sectors ? 1u << k : k < 2 * sectors ? ~(1u << k % sectors) : (uint32_t)sim_below(r->sim, 1u << sectors);

        rig_restore(r);
        memcpy(torn, whole, sizeof(torn));
        for (uint32_t i = 0; i < sectors; i++)
            if (!(mask >> i & 1))
                memset(torn + i * SECTOR, 0x5a, SECTOR);
        sim_disk_poke(r->disk, at, torn, sectors * SECTOR);
        cr_assert_eq(rig_open(r), 0, "mask %x", mask);
        cr_assert_eq(rig_verify(r), 0, "mask %x", mask);
        cr_assert_eq(r->nr_dmg + r->nr_unnamed, 0);
        rig_crash(r);
    }
    rig_free(r);
}

Test(journal_heads, a_seal_torn_at_any_sector_loses_nothing)
{
    seal_torn(false);
    seal_torn(true);
}

/* One group, acknowledged, which nothing else knows of; then 4096 bytes of the device cannot be read. */
static void unreadable_spot(bool long_heads)
{
    struct rig *r = opened(long_heads);
    uint64_t base;

    rig_append(r, JOURNAL_HOST, JOURNAL_ZERO, 1, 8);
    cr_assert_eq(rig_wait(r), 0);
    base = rig_base(r, r->w[0].a.loc.segment);
    rig_crash(r);
    r->replay_only = true;
    sim_disk_latent(r->disk, base, 4096);
    cr_assert_eq(rig_open(r), 0, "the group says what the header did");
    cr_assert_eq(rig_verify(r), 0);
    sim_disk_heal(r->disk);
    sim_disk_latent(r->disk, base + 4096, 4096);
    cr_assert_neq(rig_open(r), 0, "what cannot be read is no tear: the header says that the segment is in use");
    rig_free(r);
}

Test(journal_heads, a_spot_that_cannot_be_read_never_hides_that_a_group_was_there)
{
    unreadable_spot(false);
    unreadable_spot(true);
}

Test(journal_heads, a_geometry_has_heads_of_one_block_or_of_4096_bytes)
{
    struct rig *r = opened(false);
    struct segpool_geometry geo = r->geo;

    cr_assert_eq(rig_close(r, true), 0);
    for (uint32_t bytes = 0; bytes <= 8192; bytes += SECTOR) {
        geo.head_bytes = bytes;
        cr_assert_eq(segpool_geometry_valid(&(struct dev){.caps = {.size_bytes = GIB, .block_bytes = SECTOR}}, &geo),
                     bytes == SECTOR || bytes == 4096);
    }
    rig_free(r);
}

/* The newest group of the log begins less than 4096 bytes before the segment's end. What stands there cannot be read. */
Test(journal_heads, the_last_place_of_a_segment_is_looked_at_too)
{
    struct rig *r = opened(false);
    uint32_t n, segment;
    uint64_t spot;

    for (n = 0; n < 4; n++)
        write_many(r, n * 100, 15);
    for (; n < 8; n++)
        zero_one(r, n * 100);
    write_many(r, 1, 1);
    zero_one(r, 5000);
    segment = r->w[0].a.loc.segment;
    spot = r->geo.segment_bytes - 4096;
    cr_assert_eq(r->w[9].a.loc.segment, segment);
    cr_assert_gt((uint64_t)r->w[9].a.loc.unit * SECTOR, spot);
    rig_crash(r);
    r->replay_only = true;
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_verify(r), 0, "nothing but a search finds it");
    sim_disk_latent(r->disk, rig_base(r, segment) + spot, 4096);
    cr_assert_neq(rig_open(r), 0);
    cr_assert_eq(r->report.groups_unnamed, 1u);
    rig_free(r);
}
