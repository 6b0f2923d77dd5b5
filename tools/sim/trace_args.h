/* SPDX-License-Identifier: Apache-2.0 */
/* trace_args.h: the verbs of firn-sim that are about traces alone: `trace-gen` and `peers`. Without the engine. */
#ifndef FIRN_SIM_TRACE_ARGS_H
#define FIRN_SIM_TRACE_ARGS_H

/* argv[0] is the verb. Exit status: 0 done, 1 output cannot be written, 2 command line or trace are wrong. */
int trace_gen_main(int argc, char **argv);
int peers_main(int argc, char **argv);

#endif
