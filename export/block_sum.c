/* SPDX-License-Identifier: Apache-2.0 */
/* block_sum.c: the CRC32C of each block, out of the data digest that is computed anyway.
 *
 * For bytes A then B, crc(AB) = shift(crc(A)) ^ crc(B), where shift is linear and depends on B's length alone. So the digest
 * before and after a block gives the block's own sum: the bytes are looked at once, as they came from the host, and what the
 * journal keeps is what the host's digest vouched for.
 */
#include "export/block_sum.h"

#include <pthread.h>

#include "base/crc32c.h"

static uint32_t table[4][256];

/* crc32c(v, zeros) is shift(v) ^ crc32c(0, zeros). */
static void fill(void)
{
    static const uint8_t zeros[BLOCK_BYTES];
    uint32_t zero = crc32c(0, zeros, sizeof(zeros));

    for (uint32_t k = 0; k < 4; k++)
        for (uint32_t v = 0; v < 256; v++)
            table[k][v] = crc32c(v << (8 * k), zeros, sizeof(zeros)) ^ zero;
}

void block_sum_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fill);
}

uint32_t block_sum(uint32_t before, uint32_t after)
{
    return after ^ table[0][before & 0xff] ^ table[1][before >> 8 & 0xff] ^ table[2][before >> 16 & 0xff] ^ table[3][before >> 24];
}
