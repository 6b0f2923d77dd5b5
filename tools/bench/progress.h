/* SPDX-License-Identifier: Apache-2.0 */
/* progress.h: a word on how far a long verification is: on a terminal one line that changes, elsewhere a line each 10 s. */
#ifndef FIRN_BENCH_PROGRESS_H
#define FIRN_BENCH_PROGRESS_H

#include "base/types.h"

#include <stdio.h>

struct progress {
    FILE    *to;
    bool     tty;
    bool     shown;             /* the terminal's line is to be wiped */
    uint64_t total, due_ns;
};

void progress_start(struct progress *p, FILE *to, bool tty, uint64_t now_ns, uint64_t total);
void progress_tick(struct progress *p, uint64_t now_ns, uint64_t done); /* as often as one likes */
void progress_end(struct progress *p);

#endif
