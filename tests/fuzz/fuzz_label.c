/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_label.c: labels and extent descriptions, as found on a device. What is accepted encodes to the very bytes it came
 * from, and names nothing outside the device. The checksum is made good first, so that the fields are reached.
 */
#include "base/crc32c.h"
#include "base/strbuf.h"
#include "tier/label.h"
#include "tier/tier.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static void try_label(const uint8_t *buf)
{
    uint8_t again[LABEL_BYTES];
    struct strbuf text;
    struct label l;

    if (label_decode(buf, &l) != 0)
        return;
    label_encode(&l, again);
    expect(memcmp(buf, again, LABEL_BYTES) == 0);
    if (l.role == TIER_JOURNAL)
        expect(l.seg_base_bytes + (uint64_t)l.seg_nr * l.seg_bytes <= l.device_bytes);
    if (l.role == TIER_CAPACITY)
        expect(ring_offset(l.ring_nr) <= l.ext_base_bytes && l.ring_nr % (2u * l.nr_shards) == 0);
    if (l.role == TIER_CAPACITY)
        expect(region_extent_offset(l.ext_base_bytes, l.ext_nr - 1) + EXTENT_BYTES <= l.device_bytes);
    strbuf_init(&text);
    label_print(&text, &l);
    expect(text.len > 0);
    strbuf_fini(&text);
}

static void try_desc(const uint8_t *buf)
{
    uint8_t again[DESC_BYTES];
    struct extent_desc d;

    if (extent_desc_decode(buf, &d) != 0)
        return;
    extent_desc_encode(&d, again);
    expect(memcmp(buf, again, DESC_BYTES) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t buf[LABEL_BYTES] = {0};
    le32 crc;

    memcpy(buf, data, MIN(size, sizeof(buf)));
    try_label(buf);
    try_desc(buf);
    crc = to_le32(crc32c(0, buf + 4, sizeof(buf) - 4));
    memcpy(buf, &crc, sizeof(crc));
    try_label(buf);
    try_desc(buf);
    return 0;
}
