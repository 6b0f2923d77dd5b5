/* SPDX-License-Identifier: Apache-2.0 */
/* press.c: where all that is dirty in a victim is to be destaged (tier.destage_victims): the mover is told what reclaim wants.
 *
 * With the victim's, what is dirty in those that come next: one sweep of the disk costs each of them less (tencent-50k at 10 %: 230 s of
 * disk time, with the victim's alone 244). When the sweep is over, they are victims that cost nothing.
 * What is pinned, or could not be destaged, is left to reclaim, which moves it.
 */
#include "tier/priv.h"
#include "tier/reclaim.h"
#include "tier/twin.h"

#define PRESS_SEGMENTS 8u /* victims to come whose dirt is destaged with that of the one at work, */
#define PRESS_EXTENTS 32u /* until so many extents are */

/* Extents of which blocks lie dirty in the segment become urgent; how many that were not. */
static uint32_t press(struct shard *s, uint32_t g, uint32_t *looks)
{
    uint32_t nr = 0;

    for (uint32_t at = 0; at < s->ix.slots_per_segment && *looks > 0; at++, --*looks) {
        uint32_t id = g * s->ix.slots_per_segment + at;
        struct index_entry n;
        struct extent *e;
        uint32_t x;

        if (!index_slot_used(&s->ix, id) || !(index_flags_of(&s->ix, id) & INDEX_DIRTY))
            continue;
        index_get(&s->ix, id, &n);
        x = extent_find(&s->xt, n.layer, extent_no(n.block));
        e = extent_at(&s->xt, x);
        if (e->flags & (EXTENT_SPARSE_MOVE | EXTENT_PINNED | EXTENT_URGENT))
            continue;
        e->flags |= EXTENT_URGENT;
        extent_relist(&s->xt, x);
        nr++;
    }
    s->seg[g].pressed = true;
    return nr;
}

/* Of those with dirt that have not been pressed, the best victim. */
static uint32_t press_best(struct shard *s)
{
    uint32_t best = INDEX_NONE;
    double most = 0;

    for (uint32_t g = 0; g < s->twin_segment; g++) {
        double score;

        if (s->seg[g].use != SEGMENT_LOG_SEALED || s->seg[g].pressed || s->ix.seg_dirty[g] == 0 || g == s->seq_high_segment)
            continue;
        score = reclaim_score(s, g);
        if (score > most) {
            most = score;
            best = g;
        }
    }
    return best;
}

void reclaim_press(struct shard *s, uint32_t g)
{
    uint32_t looks = SCAN_BUDGET, nr = 0;

    for (uint32_t i = 0; i < PRESS_SEGMENTS && g != INDEX_NONE && looks > 0; i++) {
        nr += press(s, g, &looks);
        g = nr < PRESS_EXTENTS ? press_best(s) : INDEX_NONE;
    }
}
