/* SPDX-License-Identifier: Apache-2.0 */
/* sizefmt.h: sizes, durations and names as users write them; strict UUIDs. */
#ifndef FIRN_BASE_SIZEFMT_H
#define FIRN_BASE_SIZEFMT_H

#include "base/types.h"

int size_parse(const char *text, uint64_t *bytes);      /* "10GiB", "10Gi", "4096"; -EINVAL, -ERANGE, -EDOM: parts of a byte */
int duration_parse(const char *text, uint64_t *ns);     /* "50us", "3s", "2h"; a bare number is refused */
char *size_format(uint64_t bytes, char buf[static 32]); /* "10.0 GiB"; returns buf */
char *duration_format(uint64_t ns, char buf[static 32]);

#define NAME_MAX_CHARS 63
/* Volume, snapshot, pool and node names: [a-z0-9][a-z0-9.-]{0,62}. */
bool name_valid(const char *name);

/* The one rule for NQNs, in Connect and in allow-lists: "nqn." and more, at most NQN_MAX_BYTES printable ASCII characters without
 * blanks, quotes, '/' and '\'. The specification lets an NQN have more; nobody is known to use it, and logs, JSON and URLs stay
 * plain. Reads no byte behind the terminator, nor more than NQN_MAX_BYTES + 1. */
bool nqn_valid(const char *nqn);

int hex_digit(char c); /* what it stands for; -1: nothing */

#define UUID_TEXT_CHARS 36
char *uuid_format(const struct uuid *u, char buf[static UUID_TEXT_CHARS + 1]);
int   uuid_parse(const char *text, struct uuid *out);

#endif
