/* SPDX-License-Identifier: Apache-2.0 */
/* fake_dev.h: a dev that keeps every request until the test says how it ends; and an env whose clock the test moves. */
#ifndef FIRN_TESTS_FAKE_DEV_H
#define FIRN_TESTS_FAKE_DEV_H

#include "rt/dev.h"
#include "rt/timer_heap.h"

struct fake_env {
    struct env        env;
    struct timer_heap timers;
    uint64_t          now_ns;
    struct env_task  *tasks[256];
    unsigned          nr;
};
void fake_env_init(struct fake_env *e);
void fake_env_run(struct fake_env *e);                     /* deferred tasks, until none is left */
void fake_env_advance(struct fake_env *e, uint64_t to_ns); /* timers on the way, each at its time */

struct fake_dev {
    struct dev     dev;
    struct dev_io *held[64]; /* in the order of submission */
    unsigned       nr;
    bool           closed;
};
void fake_dev_init(struct fake_dev *f, struct env *e, uint64_t size_bytes);
void fake_dev_end(struct fake_dev *f, int err); /* ends the oldest held request */

#endif
