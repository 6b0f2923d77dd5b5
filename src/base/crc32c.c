/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.c: ISA-L's crc32_iscsi works on the register; the inversions at both ends are ours. */
#include "base/crc32c.h"

#include <isa-l/crc.h>

#define CRC_CHUNK_BYTES ((size_t)1 << 30) /* crc32_iscsi takes an int */

uint32_t crc32c(uint32_t crc, const void *buf, size_t len)
{
    unsigned char *p = (unsigned char *)(uintptr_t)buf; /* ISA-L's prototype lacks const; it only reads */
    uint32_t reg = ~crc;

    while (len > 0) {
        size_t n = MIN(len, CRC_CHUNK_BYTES);

        reg = crc32_iscsi(p, (int)n, reg);
        p += n;
        len -= n;
    }
    return ~reg;
}

/* Both numbers stir all 32 bits: multiplication by odd constants and shifts (a bijection of 64 bits), then folding. */
static uint32_t address_mix(uint64_t layer, uint64_t lba)
{
    uint64_t x = layer * UINT64_C(0x9e3779b97f4a7c15) + lba + UINT64_C(0x6a09e667f3bcc909);

    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(x ^ (x >> 32));
}

uint32_t block_csum_of_crc(uint32_t plain_crc, uint64_t layer, uint64_t lba)
{
    return plain_crc ^ address_mix(layer, lba);
}

uint32_t block_csum(const void *block, uint64_t layer, uint64_t lba)
{
    return block_csum_of_crc(crc32c(0, block, BLOCK_BYTES), layer, lba);
}
