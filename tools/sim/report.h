/* SPDX-License-Identifier: Apache-2.0 */
/* report.h: the closing words of a run. */
#ifndef FIRN_SIM_REPORT_H
#define FIRN_SIM_REPORT_H

#include "tools/sim/explore.h"

void report_print(const struct explore_sum *s, uint64_t floor, bool json);
/* How many fault classes fired fewer than floor times. */
unsigned report_rare(const struct explore_sum *s, uint64_t floor);

#endif
