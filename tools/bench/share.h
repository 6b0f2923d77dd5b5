/* SPDX-License-Identifier: Apache-2.0 */
/* share.h: one controller for all threads of a run, as one host has it: a target takes a second association of the same host
 * for the first one come back, and cuts that off.
 *
 * Thread 0 leads: it has the admin queue, publishes the controller, and stays until the others are done. The others join it
 * with their I/O queues. Each publication is a generation; who loses a connection says which one is over, and waits for the next.
 */
#ifndef FIRN_BENCH_SHARE_H
#define FIRN_BENCH_SHARE_H

#include "assoc.h"

#include <pthread.h>

struct ctrl_share {
    pthread_mutex_t   mu;
    pthread_cond_t    changed;
    struct assoc_ctrl ctrl;
    uint32_t          generation; /* of ctrl; 0: none yet */
    uint32_t          over;       /* up to this one nothing works any more */
    uint32_t          others;     /* threads beside the first that are not done */
    bool              gone;       /* the first has ended: there will be no other controller */
};

void     share_init(struct ctrl_share *s, uint32_t others);
void     share_fini(struct ctrl_share *s);
uint32_t share_publish(struct ctrl_share *s, const struct assoc *a); /* the leader's; returns the generation */
bool     share_is_over(struct ctrl_share *s, uint32_t generation);
bool     share_has_others(struct ctrl_share *s);
void     share_end(struct ctrl_share *s);                            /* the leader leaves */

void     share_lost(struct ctrl_share *s, uint32_t generation);
/* Waits for a controller after that generation. Its generation; 0: none within the time, or the leader has gone. */
uint32_t share_join(struct ctrl_share *s, uint32_t after, uint64_t wait_ns, struct assoc_ctrl *out);
void     share_leave(struct ctrl_share *s);

#endif
