/* SPDX-License-Identifier: Apache-2.0 */
/* replay_args.h: the verbs `firn-sim replay` and `firn-sim size`. */
#ifndef FIRN_SIM_REPLAY_ARGS_H
#define FIRN_SIM_REPLAY_ARGS_H

#include "base/types.h"

/* argv[0] is the verb. Exit status: 0 done, 1 the replay failed, 2 command line, configuration or trace are wrong. */
int replay_main(int argc, char **argv);
int size_main(int argc, char **argv);

/* --ssd: "12.5%" of footprint_bytes, or a size; whole blocks, rounded down. False: neither. */
bool replay_ssd_parse(const char *text, uint64_t footprint_bytes, uint64_t *bytes);

#endif
