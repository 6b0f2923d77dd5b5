/* SPDX-License-Identifier: Apache-2.0 */
/* choose.c: the best regions, one after the other: each is the one that gives most for its time, with the way to it from
 * what the sweep writes just before. (By the way from the one chosen before it, a stream was left behind for what is urgent further up,
 * and cost a seek later: 159 MB/s instead of 180 and more.) What gives less than half of what the first one does is left for later,
 * when more dirt may lie there, unless it is urgent. What was taken is then written in one sweep.
 * Measured on tencent-50k: 16 regions and a half, 91 s of disk time; 8 and no bound, 104 s; 16 and no bound, 107 s.
 * By the root of heat, against no heat: tencent-50k at 5, 10 and 20 % takes 0.9, -0.2 and 1.2 % less of the disk, cphy-vm 2.0, 1.6 and 2.1.
 * By heat itself: -0.8 and 0.4 % at 10 %, and requests wait for a fifth longer: what is dense and hot stays too long.
 */
#include "tier/choose.h"

#include "base/limits.h"
#include "rt/dev_model.h"

#include <math.h>

#define WORTH_OF_BEST 0.5

static uint64_t write_ns(uint64_t span_bytes, uint64_t head_bytes, uint64_t off_bytes, uint64_t len_bytes)
{
    uint64_t seeks = 0;

    return dev_model_hdd_cost_ns(span_bytes, &head_bytes, true, off_bytes, len_bytes, &seeks);
}

void choose_add_run(struct choose_region *r, uint64_t span_bytes, uint64_t off_bytes, uint64_t len_bytes)
{
    assert(r->blocks == 0 || off_bytes >= r->end_bytes);
    if (r->blocks == 0)
        r->first_bytes = r->end_bytes = off_bytes;
    r->inside_ns += write_ns(span_bytes, r->end_bytes, off_bytes, len_bytes);
    r->end_bytes = off_bytes + len_bytes;
    r->blocks += (uint32_t)(len_bytes / BLOCK_BYTES);
}

uint64_t choose_cost_ns(const struct choose_region *r, uint64_t span_bytes, uint64_t head_bytes)
{
    uint64_t command_ns = write_ns(span_bytes, 0, 0, 0); /* the first run's own has it too */

    return write_ns(span_bytes, head_bytes, r->first_bytes, 0) - command_ns + r->inside_ns;
}

double choose_score(const struct choose_region *r, uint64_t span_bytes, uint64_t head_bytes)
{
    double ns = (double)MAX(choose_cost_ns(r, span_bytes, head_bytes), UINT64_C(1));

    return r->blocks * (double)NS_PER_MS / ns / sqrt(1.0 + (double)r->write_heat);
}

static void move_to(struct choose_region *r, uint32_t from, uint32_t to)
{
    struct choose_region x = r[from];

    r[from] = r[to];
    r[to] = x;
}

/* Of equals the lowest address: the result is the same on every machine. */
static bool better(const struct choose_region *a, double a_score, const struct choose_region *b, double b_score)
{
    if (a->urgent != b->urgent)
        return a->urgent;
    return a_score != b_score ? a_score > b_score : a->first_bytes < b->first_bytes;
}

/* Where the sweep comes from when it reaches the region: the end of what is chosen and lies closest below it, or the head. */
static uint64_t comes_from(const struct choose_region *r, uint32_t k, const struct choose_region *to, uint64_t head_bytes)
{
    uint64_t from = head_bytes;

    for (uint32_t i = 0; i < k; i++)
        if (r[i].end_bytes <= to->first_bytes && (r[i].end_bytes > from || from > to->first_bytes))
            from = r[i].end_bytes;
    return from;
}

/* Brings the best of r[k..nr) to r[k]; its score. */
static double best_next(struct choose_region *r, uint32_t k, uint32_t nr, uint64_t span_bytes, uint64_t head_bytes)
{
    double best = choose_score(&r[k], span_bytes, comes_from(r, k, &r[k], head_bytes));
    uint32_t at = k;

    for (uint32_t i = k + 1; i < nr; i++) {
        double score = choose_score(&r[i], span_bytes, comes_from(r, k, &r[i], head_bytes));

        if (better(&r[i], score, &r[at], best)) {
            best = score;
            at = i;
        }
    }
    move_to(r, at, k);
    return best;
}

/* From the head upwards; what lies below comes after all that does not. */
static bool before(const struct choose_region *a, const struct choose_region *b, uint64_t head_bytes)
{
    bool a_below = a->first_bytes < head_bytes, b_below = b->first_bytes < head_bytes;

    return a_below != b_below ? b_below : a->first_bytes < b->first_bytes;
}

/* Insertion sort: there are few, and qsort() may allocate. */
static void sweep(struct choose_region *r, uint32_t nr, uint64_t head_bytes)
{
    for (uint32_t i = 1; i < nr; i++)
        for (uint32_t at = i; at > 0 && before(&r[at], &r[at - 1], head_bytes); at--)
            move_to(r, at, at - 1);
}

uint32_t choose_best(struct choose_region *r, uint32_t nr, uint32_t keep, uint64_t span_bytes, uint64_t head_bytes)
{
    double first = 0;
    uint32_t k;

    for (k = 0; k < MIN(nr, keep); k++) {
        double score = best_next(r, k, nr, span_bytes, head_bytes);

        if (!r[k].urgent && score < first * WORTH_OF_BEST)
            break;
        if (!r[k].urgent && first == 0)
            first = score;
    }
    sweep(r, k, head_bytes);
    return k;
}
