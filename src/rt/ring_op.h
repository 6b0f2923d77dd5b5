/* SPDX-License-Identifier: Apache-2.0 */
/* ring_op.h: what the reactor calls when an operation on its ring is done; embedded where the request lives. */
#ifndef FIRN_RT_RING_OP_H
#define FIRN_RT_RING_OP_H

#include "base/types.h"

/* done() runs from the loop with the CQE's result; with IORING_CQE_F_MORE in flags it will run again (multishot). */
struct reactor_op { void (*done)(struct reactor_op *op, int res, uint32_t cqe_flags); };

#endif
