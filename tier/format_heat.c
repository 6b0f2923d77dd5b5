/* SPDX-License-Identifier: Apache-2.0 */
/* format_heat.c: a value on media is the upper half of an IEEE single: 8 bits of exponent, 7 of fraction. No sign, nothing above
 * HEAT_MAX, and nothing between 0 and HEAT_MIN.
 */
#include "tier/format_heat.h"

#include "base/err.h"
#include "tier/format_rec.h"

#define HEAT_REC_VERSION 1u

struct heat_media { le16 read, write, use; };
struct heat_rec_media {
    le16    version;             /*  0 */
    le16    reserved;            /*  2 zero */
    le32    reserved2;           /*  4 zero */
    le64    clock_s;             /*  8 at most HEAT_CLOCK_MAX */
    struct heat_media v[HEAT_GROUP_CELLS]; /* 16 */
};
static_assert(sizeof(struct heat_rec_media) == HEAT_REC_BYTES, "on-disk size is frozen");
static_assert(HEAT_REC_BYTES <= META_VALUE_MAX, "a record is a value");

struct meta_key meta_key_layer_heat(uint64_t layer)
{
    struct meta_key k = {.len = 1, .b = {'T'}};

    meta_key_put(&k, layer, 8);
    return k;
}

struct meta_key meta_key_heat(uint64_t layer, uint32_t group)
{
    struct meta_key k = meta_key_layer_heat(layer);

    meta_key_put(&k, group, 4);
    return k;
}

int meta_key_parse_heat(const struct meta_key *k, uint64_t *layer, uint32_t *group)
{
    if (k->len != 13 || k->b[0] != 'T')
        return -FIRN_E_CORRUPT;
    *layer = meta_key_at(k, 1, 8);
    *group = (uint32_t)meta_key_at(k, 9, 4);
    return *layer == 0 || *group >= HEAT_GROUPS_MAX ? -FIRN_E_CORRUPT : 0;
}

static le16 half_of(float v)
{
    uint32_t bits;

    if (v < HEAT_MIN)
        return to_le16(0);
    v = MIN(v, HEAT_MAX);
    memcpy(&bits, &v, sizeof(bits));
    return to_le16((uint16_t)((bits + 0x8000u) >> 16));
}

static int float_of(le16 half, float *out)
{
    uint32_t bits = (uint32_t)from_le16(half) << 16;

    memcpy(out, &bits, sizeof(bits));
    return bits == 0 || (*out >= HEAT_MIN && *out <= HEAT_MAX) ? 0 : -FIRN_E_CORRUPT; /* not for what is no number, either */
}

uint32_t heat_rec_encode(const struct heat_rec *r, void *buf)
{
    struct heat_rec_media m = {.version = to_le16(HEAT_REC_VERSION), .clock_s = to_le64(r->clock_s)};

    assert(r->clock_s <= HEAT_CLOCK_MAX);
    for (unsigned i = 0; i < HEAT_GROUP_CELLS; i++)
        m.v[i] = (struct heat_media){half_of(r->v[i].read), half_of(r->v[i].write), half_of(r->v[i].use)};
    memcpy(buf, &m, sizeof(m));
    return sizeof(m);
}

int heat_rec_decode(const void *buf, uint32_t len, struct heat_rec *out)
{
    struct heat_rec_media m;
    int err = 0;

    if (len < 4)
        return -FIRN_E_CORRUPT;
    memcpy(&m, buf, MIN(len, sizeof(m)));
    if (from_le16(m.version) > HEAT_REC_VERSION)
        return -FIRN_E_FORMAT_VERSION;
    if (len != sizeof(m) || from_le16(m.version) != HEAT_REC_VERSION || from_le16(m.reserved) != 0 || from_le32(m.reserved2) != 0 ||
        from_le64(m.clock_s) > HEAT_CLOCK_MAX)
        return -FIRN_E_CORRUPT;
    out->clock_s = (uint32_t)from_le64(m.clock_s);
    for (unsigned i = 0; i < HEAT_GROUP_CELLS && !err; i++) {
        err = float_of(m.v[i].read, &out->v[i].read);
        err = err ? err : float_of(m.v[i].write, &out->v[i].write);
        err = err ? err : float_of(m.v[i].use, &out->v[i].use);
    }
    return err;
}
