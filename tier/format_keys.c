/* SPDX-License-Identifier: Apache-2.0 */
/* format_keys.c: keys of metadata records: a tag and big-endian numbers, so that LMDB's order is theirs; and the checksum over a key
 * and its value. Parsing a key of another tag or length is -FIRN_E_CORRUPT.
 */
#include "tier/format_rec.h"

#include "base/crc32c.h"
#include "base/err.h"

void meta_key_put(struct meta_key *k, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        k->b[k->len++] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
}

uint64_t meta_key_at(const struct meta_key *k, unsigned at, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | k->b[at + i];
    return v;
}

static struct meta_key key_of(char tag, uint64_t v, unsigned bytes)
{
    struct meta_key k = meta_key_tag(tag);

    meta_key_put(&k, v, bytes);
    return k;
}

struct meta_key meta_key_tag(char tag)
{
    struct meta_key k = {.len = 1};

    k.b[0] = (uint8_t)tag;
    return k;
}

struct meta_key meta_key_pool(void) { return meta_key_tag('P'); }
struct meta_key meta_key_volume(uint64_t id) { return key_of('V', id, 8); }
struct meta_key meta_key_hosts(uint64_t volume) { return key_of('H', volume, 8); }
struct meta_key meta_key_layer(uint64_t id) { return key_of('L', id, 8); }
struct meta_key meta_key_layer_extents(uint64_t layer) { return key_of('E', layer, 8); }
struct meta_key meta_key_layer_sums(uint64_t layer) { return key_of('C', layer, 8); }
struct meta_key meta_key_segment(uint32_t segment) { return key_of('G', segment, 4); }
struct meta_key meta_key_shard(uint32_t shard) { return key_of('S', shard, 4); }

struct meta_key meta_key_device(uint16_t role, uint16_t index)
{
    struct meta_key k = key_of('D', role, 2);

    meta_key_put(&k, index, 2);
    return k;
}

struct meta_key meta_key_host(uint64_t volume, uint32_t n)
{
    struct meta_key k = meta_key_hosts(volume);

    meta_key_put(&k, n, 4);
    return k;
}

struct meta_key meta_key_extent(uint64_t layer, uint64_t extent)
{
    struct meta_key k = meta_key_layer_extents(layer);

    meta_key_put(&k, extent, 8);
    return k;
}

struct meta_key meta_key_sums(uint64_t layer, uint64_t extent)
{
    struct meta_key k = meta_key_layer_sums(layer);

    meta_key_put(&k, extent, 8);
    return k;
}

int meta_key_parse_id(const struct meta_key *k, char tag, uint64_t *id)
{
    unsigned bytes = tag == 'G' || tag == 'S' ? 4 : 8;

    if (k->len != 1 + bytes || k->b[0] != (uint8_t)tag)
        return -FIRN_E_CORRUPT;
    *id = meta_key_at(k, 1, bytes);
    return 0;
}

int meta_key_parse_host(const struct meta_key *k, uint64_t *volume, uint32_t *n)
{
    if (k->len != 13 || k->b[0] != 'H')
        return -FIRN_E_CORRUPT;
    *volume = meta_key_at(k, 1, 8);
    *n = (uint32_t)meta_key_at(k, 9, 4);
    return 0;
}

int meta_key_parse_extent(const struct meta_key *k, char tag, uint64_t *layer, uint64_t *extent)
{
    if (k->len != 17 || k->b[0] != (uint8_t)tag)
        return -FIRN_E_CORRUPT;
    *layer = meta_key_at(k, 1, 8);
    *extent = meta_key_at(k, 9, 8);
    /* The extent's first block must be a block that a volume may have. */
    if (*layer == 0 || *extent >= VOLUME_BYTES_MAX / EXTENT_BYTES)
        return -FIRN_E_CORRUPT;
    return 0;
}

uint32_t meta_value_crc(const struct meta_key *k, const void *value, uint32_t len)
{
    uint32_t crc = crc32c(0, &k->len, 1);

    crc = crc32c(crc, k->b, k->len);
    return len > 0 ? crc32c(crc, value, len) : crc;
}
