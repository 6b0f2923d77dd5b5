/* SPDX-License-Identifier: Apache-2.0 */
/* model_hdd.h: devices of a pool in the time of HDDs, for tests and demonstrations on a machine that has none. */
#ifndef FIRN_DAEMON_MODEL_HDD_H
#define FIRN_DAEMON_MODEL_HDD_H

#include "rt/dev_model.h"
#include "tier/tier.h"

enum model_hdd_which { MODEL_HDD_NONE, MODEL_HDD_CAPACITY, MODEL_HDD_ALL, MODEL_HDD_FIRST = 16 /* and on: one capacity device */ };

/* Lives as long as the tier that was opened with it. Zeroed, but for which. */
struct model_hdd {
    enum model_hdd_which  which;
    char                  path[256]; /* MODEL_HDD_FIRST and on: of that device */
    bool                  shared;  /* a capacity device lies behind the journal already */
    struct dev_model_disk disk;    /* MODEL_HDD_ALL: of the journal and the first capacity device */
};

/* "capacity", "all", or the number of a capacity device, from 0: the others stay what they are. */
int model_hdd_parse(const char *text, enum model_hdd_which *out);
/* Makes o see its devices through m; nothing with MODEL_HDD_NONE. o->envs is one env: heads are not shared between threads. */
void model_hdd_use(struct model_hdd *m, struct tier_opts *o);

#endif
