/* SPDX-License-Identifier: Apache-2.0 */
/* remnant.h: a directory of `firnd --dev` that has lost its journal is not an empty one. */
#ifndef FIRN_DAEMON_REMNANT_H
#define FIRN_DAEMON_REMNANT_H

#include "daemon/embedded.h"

/* After embedded_config(): where it found no journal and no unfinished format, but a capacity with a pool's label or metadata
 * are there, *state becomes EMBEDDED_POOL, of which a part is missing, and *c asks for no file to be made. */
void remnant_look(struct config *c, enum embedded_state *state);

#endif
