/* SPDX-License-Identifier: Apache-2.0 */
/* task_queue.h: tasks in the order in which they came; constant time, no memory of its own. One thread. */
#ifndef FIRN_RT_TASK_QUEUE_H
#define FIRN_RT_TASK_QUEUE_H

#include "rt/env.h"

struct task_queue { struct env_task *first, **end; uint32_t nr; };

static inline void task_queue_init(struct task_queue *q)
{
    *q = (struct task_queue){.end = &q->first};
}

static inline void task_queue_put(struct task_queue *q, struct env_task *task)
{
    assert(!task->queued && task->fn != NULL);
    task->queued = true;
    task->next = NULL;
    *q->end = task;
    q->end = &task->next;
    q->nr++;
}

/* Runs what is queued now, not what that queues; returns how many. */
static inline uint32_t task_queue_run(struct task_queue *q)
{
    uint32_t max = q->nr, nr = 0;

    for (; nr < max && q->nr > 0; nr++) {
        struct env_task *task = q->first;

        q->first = task->next;
        if (q->first == NULL)
            q->end = &q->first;
        q->nr--;
        task->queued = false;
        task->fn(task);
    }
    return nr;
}

#endif
