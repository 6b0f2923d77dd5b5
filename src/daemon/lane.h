/* SPDX-License-Identifier: Apache-2.0 */
/* lane.h: threads for requests that may have to wait, so that the threads that serve connections never do.
 *
 * A lane has LANE_THREADS of them; what finds them busy waits its turn. When each has been at one request for stuck_ns the
 * lane is stuck, as all changes are while the metadata hangs: then what waits in it is refused, and what comes, until one ends.
 */
#ifndef FIRN_DAEMON_LANE_H
#define FIRN_DAEMON_LANE_H

#include "base/list.h"
#include "base/types.h"

#define LANE_THREADS    2u
#define LANE_QUEUE_MAX  128u /* waiting; more are refused */

struct lane;

/* The caller's, until one of the two was called, once: run() on a thread of the lane, refuse() on any. */
struct job {
    struct list node;
    void      (*run)(struct job *j);
    void      (*refuse)(struct job *j);
};

int  lane_new(const char *name, uint64_t stuck_ns, struct lane **out);
void lane_put(struct lane *l, struct job *j);
void lane_look(struct lane *l); /* to be called now and then: refuses what waits in a stuck lane */
void lane_stop(struct lane *l); /* what runs is awaited; what waits or comes is refused */
void lane_free(struct lane *l); /* after lane_stop() */

#endif
