/* SPDX-License-Identifier: Apache-2.0 */
/* policy.h: a volume's part of the places for copies on the SSD. */
#ifndef FIRN_CTL_POLICY_H
#define FIRN_CTL_POLICY_H

#include <jansson.h>

#define POLICY_KEYS "cache_min, cache_max, admit, stream_cutoff"
#define POLICY_NOT_ITS_KEY ""

/* NULL: put into the body. Else what is allowed there; POLICY_NOT_ITS_KEY: it is about something else. */
const char *policy_put(json_t *body, const char *key, const char *text);
void policy_show(const json_t *volume); /* lines of what is not as usual */

#endif
