/* SPDX-License-Identifier: Apache-2.0 */
/* crafted_test.c: logs whose checksums hold, and which no log of ours would be: a start ends in order. */
#include "journal/format.h"
#include "rig.h"

TestSuite(crafted, .timeout = 60);

static _Alignas(4096) uint8_t foot[JRN_FOOTER_MAX], summary[1 << 16];

/* Every entry of the sealed segment's summary now claims the place of the first one. */
static void claim_one_place(struct rig *r, uint32_t segment)
{
    uint64_t base = r->geo.base_bytes + (uint64_t)segment * r->geo.segment_bytes;
    struct jrn_footer f;
    struct jrn_entry e;
    size_t at = 0, pos = 0, len;

    sim_disk_peek(r->ssd, base + jrn_footer_off(&r->geo), foot, r->geo.head_bytes);
    cr_assert_eq(jrn_footer_decode(&r->geo, segment, foot, &f), 0);
    cr_assert_gt(f.nr_entries, 1u);
    len = ROUND_UP((size_t)f.summary_bytes, (size_t)512);
    sim_disk_peek(r->ssd, base + f.summary_off, summary, len);
    for (; pos < f.summary_bytes; at = pos) {
        cr_assert_eq(jrn_entry_decode(&r->geo, summary, (size_t)f.summary_bytes, &pos, &e), 0);
        memcpy(summary + at, summary, sizeof(uint32_t)); /* an entry begins with its unit */
    }
    f.summary_crc = jrn_summary_crc(&r->geo, segment, f.head.epoch, summary, (size_t)f.summary_bytes);
    jrn_footer_encode(&r->geo, segment, &f, foot);
    sim_disk_poke(r->ssd, base + f.summary_off, summary, len);
    sim_disk_poke(r->ssd, base + jrn_footer_off(&r->geo), foot, r->geo.head_bytes);
}

static void loses_nothing(bool short_heads)
{
    uint32_t segment;
    struct rig r;

    rig_init(&r, &(struct rig_opts){.seed = 5, .segments = 24, .short_heads = short_heads});
    cr_assert_eq(rig_boot(&r), 0);
    for (uint64_t i = 0; i < 4; i++)
        cr_assert_eq(rig_write(&r, i * 3, 1, 3), 0);
    segment = (uint32_t)((rig_log_offset(&r, 0) - r.geo.base_bytes) / r.geo.segment_bytes);
    rig_stop(&r);
    claim_one_place(&r, segment);
    cr_assert_eq(rig_boot(&r), 0, "the groups themselves are whole");
    cr_assert_eq(r.report.segments_scanned, 1u);
    for (uint64_t i = 0; i < 4; i++)
        rig_expect(&r, i * 3, 1, 3);
    rig_fini(&r);
}

Test(crafted, a_summary_whose_entries_claim_one_place_loses_nothing)
{
    loses_nothing(false);
    loses_nothing(true);
}
