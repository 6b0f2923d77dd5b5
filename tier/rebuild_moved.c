/* SPDX-License-Identifier: Apache-2.0 */
/* rebuild_moved.c: an extent moved to another place, and nothing was written to it in between: both places say the same of it. The old
 * one may be somebody else's since, who has not said so yet. So the bytes decide: the place of which more blocks fit their checksums.
 * Where both are whole either will do. One that cannot be read fits nothing.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "tier/check.h"

struct extent_copy { uint8_t desc[DESC_BYTES], data[EXTENT_BYTES]; };

static uint32_t blocks_that_fit(const struct offline *o, const struct found_extent *f, struct extent_copy *c)
{
    const struct pool_dev *d = offline_capacity(o, f->place.dev);
    uint64_t base = d->label.ext_base_bytes;
    struct extent_desc desc;
    uint32_t nr = 0;

    if (dev_read_sync(d->on[0], region_desc_offset(base, f->place.slot), c->desc, DESC_BYTES) != 0 ||
        extent_desc_decode(c->desc, &desc) != 0 ||
        dev_read_sync(d->on[0], region_extent_offset(base, f->place.slot), c->data, EXTENT_BYTES) != 0)
        return 0;
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++)
        if (desc.sums.valid[i / 64] >> (i % 64) & 1)
            nr += block_csum(c->data + (size_t)i * BLOCK_BYTES, f->layer, f->extent * EXTENT_BLOCKS + i) == desc.sums.csum[i];
    return nr;
}

int rebuild_better(const struct offline *o, const struct found_extent *a, const struct found_extent *b, bool *second)
{
    struct extent_copy *c = aligned_alloc(BLOCK_BYTES, sizeof(*c));

    if (c == NULL)
        return -ENOMEM;
    *second = blocks_that_fit(o, b, c) > blocks_that_fit(o, a, c);
    free(c);
    return 0;
}
