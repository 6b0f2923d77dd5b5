/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.h: CRC32C (Castagnoli, reflected, initial and final value all ones) as iSCSI and NVMe/TCP use it; by ISA-L. */
#ifndef FIRN_BASE_CRC32C_H
#define FIRN_BASE_CRC32C_H

#include "base/types.h"

/* CRC32C of buf; `crc` is 0 to begin, or the result for the bytes before it. crc32c(0, "123456789", 9) == 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *buf, size_t len);

/* The checksum of one 4 KiB block, bound to its address so that a misdirected block never verifies:
 * the block's plain CRC32C, exclusive-or a 32-bit mix of (layer, lba). lba counts 4 KiB blocks.
 * A given plain CRC (say, from a data digest pass) needs no second look at the bytes. */
uint32_t block_csum_of_crc(uint32_t plain_crc, uint64_t layer, uint64_t lba);
uint32_t block_csum(const void *block, uint64_t layer, uint64_t lba);

#endif
