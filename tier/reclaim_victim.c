/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim_victim.c: which segment reclaim empties next: the one that gains most for its moves (policy.h), of the log or of
 * the clean copies.
 *
 * Pure but for the clock: it looks at every sealed segment and changes nothing. No victim is what is held, what moves still leave,
 * what could not be read a moment ago, and what has more dirt than victim_max: emptying that would gain no space (reclaim.c).
 */
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/reclaim.h"

#define PLACED_A_BLOCK 8u /* blocks of twins whose records, moved, take as much room as a block; at least, for streams of 32 KiB and more */

static double victim_score(const struct shard *s, uint32_t g, enum reclaim_price price)
{
    uint32_t records = s->seg[g].discards + (s->seg[g].placed + PLACED_A_BLOCK - 1) / PLACED_A_BLOCK;
    struct policy_segment p = {.segment = g, .slots = s->ix.slots_per_segment, .dirty = s->ix.seg_dirty[g] + records,
                               .live = s->ix.seg_live[g] + records,
                               .age = s->newest_epoch - s->seg[g].epoch};
    double score;

    if (p.dirty > s->victim_max || (price == PRICE_NOTHING && p.dirty > 0) || (price == PRICE_HALF && p.dirty > p.slots / 2))
        return 0;
    score = policy_victim_score(&p);
    return score == 0 && price == PRICE_ANY ? (double)(p.slots - p.dirty) / (double)p.slots / 1e6 : score;
}

/* Of the log. */
uint32_t reclaim_victim(struct shard *s, enum reclaim_price price, double *best_score)
{
    uint64_t now = env_now_ns(s->env);
    uint32_t best = INDEX_NONE;

    *best_score = 0;
    for (uint32_t g = 0; g < s->log_segments; g++) {
        double score;

        if (s->seg[g].use != SEGMENT_LOG_SEALED || s->seg[g].holds > 0 || s->seg[g].moving > 0 ||
            g == s->seq_high_segment || s->seg[g].skip_until_ns > now)
            continue;
        score = victim_score(s, g, price);
        if (score > *best_score) {
            *best_score = score;
            best = g;
        }
    }
    return best;
}

/* Of the segments for clean copies; one that is better than `score`. */
uint32_t reclaim_slot_victim(struct shard *s, double score)
{
    uint32_t best = INDEX_NONE;

    for (uint32_t g = 0; g < s->log_segments; g++) { /* what lies on other devices is of no use to the log */
        double of = s->seg[g].use == SEGMENT_SLOTS ? places_victim_score(s, g, score) : 0;

        if (of > score) {
            score = of;
            best = g;
        }
    }
    return best;
}

double reclaim_score(const struct shard *s, uint32_t g) { return victim_score(s, g, PRICE_FAIR); }

/* The journal asks at its reserve and two more; in a tiny pool that would be every segment there is. */
uint32_t reclaim_free_target(const struct shard *s) { return MIN(s->reserve_segments + 2, MAX(s->log_segments / 2, 2u) - 1); }

/* What the log gives, or the clean copies. While a segment of those closes, and nothing hurries, only what costs nothing. */
uint32_t reclaim_cheapest(struct shard *s, bool hurry)
{
    bool may_release = places_may_release(s);
    double score;
    uint32_t g = reclaim_victim(s, hurry ? PRICE_ANY : may_release ? PRICE_FAIR : PRICE_NOTHING, &score);
    uint32_t copies = may_release ? reclaim_slot_victim(s, score) : INDEX_NONE;

    return copies != INDEX_NONE ? copies : g;
}
