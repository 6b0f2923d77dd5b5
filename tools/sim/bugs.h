/* SPDX-License-Identifier: Apache-2.0 */
/* bugs.h: the hunt for planted bugs. */
#ifndef FIRN_SIM_BUGS_H
#define FIRN_SIM_BUGS_H

#include "tools/sim/explore.h"

/* Prints a table; only: one enum sim_bug, or -1. Exit status: 0 all caught, 1 not. */
int bugs_run(const struct explore_opts *base, int only, uint64_t limit, bool json);

#endif
