/* SPDX-License-Identifier: Apache-2.0 */
/* block_sum.h: the CRC32C of one 4 KiB block from a running CRC32C before and after it. */
#ifndef FIRN_EXPORT_BLOCK_SUM_H
#define FIRN_EXPORT_BLOCK_SUM_H

#include "base/types.h"

void block_sum_init(void); /* before the first block_sum(); any thread, any number of times */
uint32_t block_sum(uint32_t before, uint32_t after);

#endif
