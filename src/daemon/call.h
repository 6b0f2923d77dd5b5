/* SPDX-License-Identifier: Apache-2.0 */
/* call.h: a question from a thread that may wait (HTTP, main) to a reactor, which may not.
 *
 * The asker allocates the call, embedded in its own structure, and waits with a deadline. When the deadline passes the
 * asker goes away and the call lives on until the reactor answers it: two owners, the last one frees.
 */
#ifndef FIRN_DAEMON_CALL_H
#define FIRN_DAEMON_CALL_H

#include <pthread.h>

#include "base/types.h"
#include "rt/env.h"

struct call {
    struct env_task task;
    void          (*run)(struct call *c);  /* on the reactor; ends, now or later, in call_done() */
    void          (*fini)(struct call *c); /* frees the structure around it; any thread */
    pthread_mutex_t mu;
    pthread_cond_t  cv;
    unsigned        owners;                /* under mu */
    bool            done;                  /* under mu */
    int             err;                   /* valid once done */
};

void call_init(struct call *c, void (*run)(struct call *), void (*fini)(struct call *));
/* Posts it and waits. The run's error, or -ETIMEDOUT: then results must not be looked at. The asker still owes call_put(). */
int  call_wait(struct env *env, struct call *c, uint64_t timeout_ns);
void call_done(struct call *c, int err); /* on the reactor, once */
void call_put(struct call *c);

#endif
