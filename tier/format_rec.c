/* SPDX-License-Identifier: Apache-2.0 */
/* format_rec.c: what all metadata records begin with: a version, and reserved bytes that are zero. A name in one is valid and padded. */
#include "tier/format_rec.h"

#include "base/err.h"
#include "tier/tier.h"

bool rec_all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

int rec_check_version(const void *buf, uint32_t len, uint32_t want, uint16_t version)
{
    const struct rec_head *h = buf;

    if (len < sizeof(*h))
        return -FIRN_E_CORRUPT;
    if (from_le16(h->version) > version)
        return -FIRN_E_FORMAT_VERSION;
    if (len != want || from_le16(h->version) != version || from_le16(h->reserved) != 0)
        return -FIRN_E_CORRUPT;
    return 0;
}

uint16_t rec_version(const void *buf, uint32_t len)
{
    return len < sizeof(struct rec_head) ? 0 : from_le16(((const struct rec_head *)buf)->version);
}

int rec_check(const void *buf, uint32_t len, uint32_t want) { return rec_check_version(buf, len, want, REC_VERSION); }

int rec_name_get(const char *raw, size_t field, char *out)
{
    size_t n = strnlen(raw, field);

    if (n == 0 || n >= field || !rec_all_zero((const uint8_t *)raw + n, field - n))
        return -FIRN_E_CORRUPT;
    memcpy(out, raw, field);
    return name_valid(out) ? 0 : -FIRN_E_CORRUPT;
}
