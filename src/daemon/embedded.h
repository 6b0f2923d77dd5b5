/* SPDX-License-Identifier: Apache-2.0 */
/* embedded.h: `firnd --dev DIR`: a whole pool of files in one directory, of which the capacity is sparse, without a configuration file. */
#ifndef FIRN_DAEMON_EMBEDDED_H
#define FIRN_DAEMON_EMBEDDED_H

#include "daemon/config.h"

enum embedded_state {
    EMBEDDED_POOL,       /* a pool is there */
    EMBEDDED_EMPTY,      /* to be formatted */
    EMBEDDED_UNFINISHED, /* a first format was cut short: format again, if the files hold no more than it left */
};

/* With make, makes DIR (0700) if it is not there; fills *c with files in it, loopback only. journal_bytes, capacity_bytes: of
 * the files when they are made (0: 1 GiB, 64 GiB); a pool that is there keeps its own. */
int embedded_config(const char *dir, bool make, uint64_t journal_bytes, uint64_t capacity_bytes, struct config *c,
                    enum embedded_state *state, char why[static 256]);
/* Of a pool to be made, once the options have their say: as many segments of the log for each reactor, however many there are. */
void embedded_segments(struct config *c);
/* Before the first format: keeps every other --dev from making a pool in DIR until *fd is closed, and looks again at *state;
 * -FIRN_E_BUSY: another one is at it. */
int embedded_lock(const char *dir, int *fd, enum embedded_state *state, char why[static 256]);
/* Around the first format, under the lock: the mark says that what lies in DIR was never served. */
int embedded_mark(const char *dir, bool formatting, char why[static 256]);

#endif
