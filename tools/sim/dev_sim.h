/* SPDX-License-Identifier: Apache-2.0 */
/* dev_sim.h: a handle on a simulated disk; one env's. */
#ifndef FIRN_SIM_DEV_SIM_H
#define FIRN_SIM_DEV_SIM_H

#include "tools/sim/disk.h"

struct sim_dev {
    struct dev       dev;
    struct sim_disk *disk;
    struct list      node;  /* disk's handles */
};

/* At a crash: what was in flight is no more. Frees a handle that was closed and waited for that. */
void sim_dev_forget(struct sim_dev *sd);
void sim_disk_unheard(struct sim_disk *d); /* what is in flight ends, and nobody hears of it */
void sim_req_free(struct sim_req *r);

#endif
