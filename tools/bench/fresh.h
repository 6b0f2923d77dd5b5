/* SPDX-License-Identifier: Apache-2.0 */
/* fresh.h: --fresh is a promise of the user; a sample of the range is read before it is believed. */
#ifndef FIRN_BENCH_FRESH_H
#define FIRN_BENCH_FRESH_H

#include "worker.h"

/* Before the worker has requests of its own; the range is in whole LBAs. 0: all that was read are zeros. 1: *used_byte is
 * not. Negative: the connection was lost, why says how. */
int fresh_sample(struct worker *w, uint64_t begin_bytes, uint64_t end_bytes, uint64_t *used_byte, char why[static 256]);

#endif
