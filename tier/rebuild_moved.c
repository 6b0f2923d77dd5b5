/* SPDX-License-Identifier: Apache-2.0 */
/* rebuild_moved.c: an extent moved to another place, and nothing was written to it in between: both places say the same of it. The old
 * one may be somebody else's since, who has not said so yet. So the bytes decide: the place of which more blocks fit their checksums.
 * Where both are whole either will do. One that cannot be read fits nothing.
 * On devices with a ring the descriptions tell which is the younger; if that one is whole, nothing is in doubt.
 * Where one is not whole there is doubt: somebody else may have written over the old place, or a later destage, of which no description
 * tells yet, over the new one. Then the old place has what was there before that, and it fits.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "tier/check.h"

struct extent_copy { uint8_t desc[DESC_BYTES], data[EXTENT_BYTES]; };

struct fit { uint32_t nr; bool whole; };

static struct fit blocks_that_fit(const struct offline *o, const struct found_extent *f, struct extent_copy *c)
{
    const struct pool_dev *d = offline_capacity(o, f->place.dev);
    uint64_t base = d->label.ext_base_bytes;
    struct extent_desc desc;
    struct fit fit = {.whole = true};

    if (dev_read_sync(d->on[0], f->desc_off, c->desc, DESC_BYTES) != 0 ||
        extent_desc_decode(c->desc, &desc) != 0 ||
        dev_read_sync(d->on[0], region_extent_offset(base, f->place.slot), c->data, EXTENT_BYTES) != 0)
        return (struct fit){0};
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        bool ok = block_csum(c->data + (size_t)i * BLOCK_BYTES, f->layer, f->extent * EXTENT_BLOCKS + i) == desc.sums.csum[i];

        if (!(desc.sums.valid[i / 64] >> (i % 64) & 1))
            continue;
        fit.nr += ok;
        fit.whole &= ok;
    }
    return fit;
}

/* What a device without a ring says has no age: nobody knows which of the two it is. */
static bool is_younger(const struct found_extent *a, const struct found_extent *b)
{
    return a->age.generation != 0 && b->age.generation != 0 && desc_younger(&a->age, &b->age);
}

int rebuild_better(const struct offline *o, const struct found_extent *a, const struct found_extent *b, bool *second, bool *doubt)
{
    struct extent_copy *c = aligned_alloc(BLOCK_BYTES, sizeof(*c));
    struct fit of_a, of_b;

    if (c == NULL)
        return -ENOMEM;
    of_a = blocks_that_fit(o, a, c);
    of_b = blocks_that_fit(o, b, c);
    *second = of_b.nr > of_a.nr;
    *doubt = !of_a.whole || !of_b.whole;
    if ((is_younger(a, b) && of_a.whole) || (is_younger(b, a) && of_b.whole)) {
        *second = is_younger(b, a);
        *doubt = false;
    }
    free(c);
    return 0;
}

int rebuild_fits(const struct offline *o, const struct found_extent *f, bool *fits)
{
    struct extent_copy *c = aligned_alloc(BLOCK_BYTES, sizeof(*c));
    struct fit fit;

    if (c == NULL)
        return -ENOMEM;
    fit = blocks_that_fit(o, f, c);
    *fits = fit.whole && fit.nr > 0;
    free(c);
    return 0;
}
