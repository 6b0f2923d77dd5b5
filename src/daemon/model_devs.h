/* SPDX-License-Identifier: Apache-2.0 */
/* model_devs.h: devices of a pool in the time of HDDs and SSDs, for tests and demonstrations on a machine that has none. */
#ifndef FIRN_DAEMON_MODEL_DEVS_H
#define FIRN_DAEMON_MODEL_DEVS_H

#include "rt/dev_model.h"
#include "tier/tier.h"

enum model_hdd_which { MODEL_HDD_NONE, MODEL_HDD_CAPACITY, MODEL_HDD_ALL, MODEL_HDD_FIRST = 16 /* and on: one capacity device */ };

/* Lives as long as the tier that was opened with it. Zeroed, but for which and ssd. */
struct model_devs {
    enum model_hdd_which  which;
    bool                  ssd;     /* the devices that are no HDDs are SSDs of the model */
    char                  path[256]; /* MODEL_HDD_FIRST and on: of that device */
    bool                  shared;  /* a capacity device lies behind the journal already */
    struct dev_model_disk disk;    /* MODEL_HDD_ALL: of the journal and the first capacity device */
};

/* "capacity", "all", or the number of a capacity device, from 0: the others stay what they are. */
int model_hdd_parse(const char *text, enum model_hdd_which *out);
/* Makes o see its devices through m; nothing where neither is asked for. o->envs is one env: heads and channels are not shared
 * between threads. */
void model_devs_use(struct model_devs *m, struct tier_opts *o);

#endif
