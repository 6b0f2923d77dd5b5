/* SPDX-License-Identifier: Apache-2.0 */
/* rt_test.h: a reactor for one test, and waiting with a limit. */
#ifndef FIRN_TESTS_RT_TEST_H
#define FIRN_TESTS_RT_TEST_H

#include "rt/dev.h"
#include "rt/env.h"
#include "rt/reactor.h"

/* A reactor that the test's own thread runs through env_run_once(). */
struct reactor *test_reactor(uint32_t poll_us, bool plain_ring);
/* Runs passes until *flag or five seconds are over; says whether the flag is set. A timer wakes the loop for the limit. */
bool run_until(struct reactor *r, const bool *flag);
/* Passes for so long. */
void run_for_ms(struct reactor *r, uint64_t ms);
/* A new temporary file of so many bytes under $TMPDIR or /tmp; the name is the caller's to unlink and free. */
char *test_file(uint64_t bytes);
/* Of that byte, aligned for a device; the caller's to free. */
void *test_blocks(size_t bytes, int fill);
struct dev *test_open(struct reactor *r, const char *path, bool pmem);

#endif
