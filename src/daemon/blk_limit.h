/* SPDX-License-Identifier: Apache-2.0 */
/* blk_limit.h: a blk over a blk that holds requests back so that a volume keeps to its IOPS and bandwidth.
 *
 * Two token buckets, each filled continuously and holding at most 100 ms worth (at least one request's); reads, writes
 * and zeroes pay, flushes do not. The target asks before it takes buffers for a request (blk_may_begin()) and has paid with
 * the yes; a request of who does not ask, and that cannot pay, waits in order on a timer of the blk's env. blk_cancel() ends
 * the wait, so that a fence or a stop does not last as long as a queue under a low cap; for what was passed on it asks the
 * blk below. Resizes of that one are passed on to the watchers above.
 * Threads: the home env of the blk below, where not said otherwise. Memory: none after new.
 */
#ifndef FIRN_DAEMON_BLK_LIMIT_H
#define FIRN_DAEMON_BLK_LIMIT_H

#include "rt/blk.h"

struct blk_limit;

/* Any thread; it takes requests after blk_limit_start(). */
int  blk_limit_new(struct blk *below, uint64_t iops, uint64_t bandwidth, struct blk_limit **out);
struct blk *blk_limit_blk(struct blk_limit *l);
/* 0: no cap. What already waits is judged by the new caps. */
void blk_limit_set(struct blk_limit *l, uint64_t iops, uint64_t bandwidth);
/* These two on the blk's env: joins and leaves the watchers of the blk below. stop requires: nothing waits. */
void blk_limit_start(struct blk_limit *l);
void blk_limit_stop(struct blk_limit *l);
void blk_limit_free(struct blk_limit *l); /* any thread, after stop (or before start) */

#endif
