/* SPDX-License-Identifier: Apache-2.0 */
/* advice.h: the next step for somebody whose pool does not open: one line, the same wherever it is met. */
#ifndef FIRN_DAEMON_ADVICE_H
#define FIRN_DAEMON_ADVICE_H

#include "daemon/config.h"

#define ADVICE_BYTES 1536u

enum advice {
    ADVICE_NONE,          /* the error says it */
    ADVICE_FORMAT,        /* there is no pool yet */
    ADVICE_CONNECT,       /* devices are missing */
    ADVICE_REBUILD,       /* only the metadata is gone */
    ADVICE_LOSS,          /* acknowledged writes are missing: the right devices, or consent */
    ADVICE_REPLACE,       /* ... or is damaged: what is left of it is in the way */
};

/* err: what opening or probing answered. dev: DIR of --dev, or NULL. line: "" for ADVICE_NONE. */
enum advice advice_for(const struct config *c, const char *dev, int err, char line[static ADVICE_BYTES]);
/* Of a format that was refused for what lies on a device. pool: it is the whole pool that the configuration names. */
void advice_for_format(const struct config *c, const char *dev, bool pool, char line[static ADVICE_BYTES]);

#endif
