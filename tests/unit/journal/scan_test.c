/* SPDX-License-Identifier: Apache-2.0 */
/* Two looks at a segment without a summary, of which either may have gone astray. */
#include <stdlib.h>

#include "rig.h"

static const struct segpool_geometry geo = {.segment_bytes = 256 * KIB, .align_bytes = 4096, .head_bytes = 4096};

static void add(struct scan *s, uint64_t off, uint64_t number, uint64_t epoch, uint32_t nr_blocks)
{
    s->v = realloc(s->v, (s->nr + 1) * sizeof(*s->v));
    s->v[s->nr++] = (struct scan_group){.off = off, .g = {.number = number, .epoch = epoch, .nr_blocks = nr_blocks, .nr_records = 1,
                                                          .raw = malloc(64)}};
}

static void joined(struct scan *a, struct scan *b, const uint64_t *numbers, uint32_t nr)
{
    cr_assert_eq(scan_join(&geo, 36, a, b), 0);
    cr_assert(b->nr == 0 && a->nr == nr, "%u groups, not %u", a->nr, nr);
    for (uint32_t i = 0; i < nr; i++) {
        cr_assert_eq(a->v[i].g.number, numbers[i]);
        cr_assert(i == 0 || a->v[i - 1].off < a->v[i].off);
    }
    scan_free(a);
    scan_free(b);
}

/* The pass that missed the newest group, the only one that was acknowledged, found more of the segment's former use. */
Test(scan, what_either_pass_found_is_there)
{
    struct scan a = {0}, b = {0};

    add(&a, 4096, 530, 36, 2);
    add(&a, 16384, 531, 36, 4);
    add(&a, 40960, 375, 25, 1);
    add(&b, 4096, 530, 36, 2);
    add(&b, 40960, 375, 25, 1);
    add(&b, 49152, 376, 25, 1);
    add(&b, 57344, 377, 25, 1);
    joined(&a, &b, (uint64_t[]){530, 531, 375, 376, 377}, 5);
}

/* With its header hidden, the payload of a group is searched, and what a host wrote there may look like groups. */
Test(scan, payload_is_no_group)
{
    struct scan a = {0}, b = {0};

    add(&a, 4096, 530, 36, 8);
    add(&a, 40960, 531, 36, 1);
    add(&b, 8192, 7, 36, 1);
    add(&b, 16384, 8, 25, 1);
    add(&b, 40960, 531, 36, 1);
    joined(&a, &b, (uint64_t[]){530, 531}, 2);
}

Test(scan, nothing_and_something)
{
    struct scan a = {0}, b = {0};

    joined(&a, &b, NULL, 0);
    add(&b, 4096, 1, 36, 0);
    joined(&a, &b, (uint64_t[]){1}, 1);
    add(&a, 4096, 1, 36, 0);
    joined(&a, &b, (uint64_t[]){1}, 1);
}
