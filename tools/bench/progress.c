/* SPDX-License-Identifier: Apache-2.0 */
/* progress.c: see progress.h. A run that is over before the first line is due says nothing. */
#include "progress.h"

#define TTY_EVERY_NS  NS_PER_S
#define LINE_EVERY_NS (10 * NS_PER_S)

static uint64_t every_ns(const struct progress *p) { return p->tty ? TTY_EVERY_NS : LINE_EVERY_NS; }

void progress_start(struct progress *p, FILE *to, bool tty, uint64_t now_ns, uint64_t total)
{
    *p = (struct progress){.to = to, .tty = tty, .total = total};
    p->due_ns = now_ns + every_ns(p);
}

void progress_tick(struct progress *p, uint64_t now_ns, uint64_t done)
{
    uint64_t seen = MIN(done, p->total); /* what a lost connection interrupted is judged twice */

    if (now_ns < p->due_ns)
        return;
    p->due_ns = now_ns + every_ns(p);
    fprintf(p->to, "%sfirn-bench: verify: %llu of %llu blocks read, %llu %%%s", p->tty ? "\r" : "", (unsigned long long)seen,
            (unsigned long long)p->total, (unsigned long long)(p->total ? seen * 100 / p->total : 100), p->tty ? "" : "\n");
    fflush(p->to);
    p->shown = p->tty;
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", p->to);
    p->shown = false;
}
