/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

TestSuite(journal_vanished, .timeout = 60);

/* The stream's first segment is free; the one behind it, opened ahead of need, keeps its header and loses all else. */
Test(journal_vanished, an_oldest_segment_without_groups_is_a_loss)
{
    struct rig *r = rig_new(&(struct rig_opts){0});
    uint32_t segs[8], ns = 0, n = 0;

    log_set_level(LOG_LEVEL_ERROR + 1);
    cr_assert_eq(rig_open(r), 0);
    for (; ns < 3; n++) {
        rig_write(r, n * 100, 8);
        cr_assert_eq(rig_wait(r), 0);
        if (ns == 0 || segs[ns - 1] != r->w[n].a.loc.segment)
            segs[ns++] = r->w[n].a.loc.segment;
    }
    rig_free_oldest(r);
    cr_assert_eq(rig_wait(r), 0);
    cr_assert_neq(r->freed[segs[0]], 0);
    rig_crash(r);
    rig_zero(r, segs[1], JRN_SEG_HEADER_BYTES, RIG_SEGMENT_BYTES - JRN_SEG_HEADER_BYTES);
    r->replay_only = true;
    cr_assert_neq(rig_open(r), 0);
    cr_assert_geq(r->report.groups_unnamed, 1u);
    rig_free(r);
}
