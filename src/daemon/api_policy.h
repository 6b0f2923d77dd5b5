/* SPDX-License-Identifier: Apache-2.0 */
/* api_policy.h: what of the places for copies a volume is to have, as the API spells it. Pure. */
#ifndef FIRN_DAEMON_API_POLICY_H
#define FIRN_DAEMON_API_POLICY_H

#include <jansson.h>

#include "tier/tier.h"

/* "10%", "2GiB", bytes; 0: no limit. False: it is none of them. */
bool api_get_share(const json_t *v, struct volume_share *out);
bool api_get_admit(const json_t *v, enum volume_admit *out);
/* A size, "auto" or 0: the pool's, "none". */
bool api_get_stream(const json_t *v, uint64_t *out);
/* Adds cache_min, cache_max, admit and stream_cutoff, each as it could be given. */
void api_put_policy(json_t *volume, const struct volume_policy *p);
/* Why minima and maxima are refused, with figures. */
void api_say_min_over_max(const struct volume_policy *p, char what[static 256]);
void api_say_min_over_room(const struct volume_share *min, const struct tier_cache_room *room, char what[static 256]);
/* Which of the fields of mask (enum volume_field) differs, in words; false: none. */
bool api_policy_differs(const struct volume_policy *is, const struct volume_policy *wanted, unsigned mask, char what[static 160]);

#endif
