/* SPDX-License-Identifier: Apache-2.0 */
/* stamp.c: stamp first, the rest of the unit filled from the write id, so that no two writes share a byte run that could
 * hide a tear. */
#include "stamp.h"

#include "base/crc32c.h"

static const char stamp_magic[8] = {'F', 'i', 'r', 'n', 'S', 't', 'm', 'p'};

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void stamp_fill(void *unit_buf, uint32_t unit_bytes, const struct stamp *s)
{
    struct stamp_bytes b = {.unit = to_le64(s->unit),
                            .write_id = to_le64(s->write_id),
                            .generation = to_le32(s->generation),
                            .unit_bytes = to_le32(unit_bytes),
                            .log_id = to_le64(s->log_id)};
    uint8_t *at = unit_buf;
    uint64_t word = mix(s->write_id ^ mix(s->unit + 1)) | 1;

    assert(unit_bytes >= 512 && unit_bytes % 512 == 0);
    memcpy(b.magic, stamp_magic, sizeof(b.magic));
    memcpy(b.nguid, s->nguid, sizeof(b.nguid));
    for (uint32_t i = sizeof(b); i < unit_bytes; i += 8) {
        memcpy(at + i, &word, 8);
        word += UINT64_C(0x9e3779b97f4a7c15);
    }
    memcpy(at, &b, sizeof(b));
    b.crc = to_le32(crc32c(0, at, unit_bytes));
    memcpy(at, &b, sizeof(b));
}

static bool all_zero(const uint8_t *p, uint32_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

enum stamp_verdict stamp_read(const void *unit_buf, uint32_t unit_bytes, struct stamp *out)
{
    const uint8_t *at = unit_buf;
    struct stamp_bytes b, bare;
    uint32_t crc;

    memcpy(&b, at, sizeof(b));
    if (memcmp(b.magic, stamp_magic, sizeof(b.magic)) != 0)
        return all_zero(at, unit_bytes) ? STAMP_ZEROS : STAMP_ALIEN;
    bare = b;
    bare.crc = to_le32(0);
    crc = crc32c(0, &bare, sizeof(bare));
    crc = crc32c(crc, at + sizeof(b), unit_bytes - sizeof(b));
    if (crc != from_le32(b.crc) || from_le32(b.unit_bytes) != unit_bytes)
        return STAMP_TORN;
    memcpy(out->nguid, b.nguid, sizeof(out->nguid));
    out->unit = from_le64(b.unit);
    out->write_id = from_le64(b.write_id);
    out->generation = from_le32(b.generation);
    out->log_id = from_le64(b.log_id);
    return STAMP_WHOLE;
}

const char *stamp_verdict_name(enum stamp_verdict v)
{
    switch (v) {
    case STAMP_WHOLE: return "whole";
    case STAMP_ZEROS: return "zeros";
    case STAMP_TORN: return "torn";
    case STAMP_ALIEN: return "alien";
    }
    return "?";
}
