/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h: an env for tests that other threads post to: a queue under a mutex, no clock that matters. */
#ifndef TEST_LOOP_H
#define TEST_LOOP_H

#include "rt/env.h"

struct env *loop_new(void);
void loop_free(struct env *e);

#endif
