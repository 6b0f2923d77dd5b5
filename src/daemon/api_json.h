/* SPDX-License-Identifier: Apache-2.0 */
/* api_json.h: bodies of the API: checked JSON in, objects out. Pure; api.c holds the verbs. */
#ifndef FIRN_DAEMON_API_JSON_H
#define FIRN_DAEMON_API_JSON_H

#include <jansson.h>

#include "tier/tier.h"

#define API_JSON_DEPTH_MAX 16

#define API_BANDWIDTH_MIN MIB /* a cap of a few bytes a second is a number without its unit, and a database that stands still */

/* An object, or NULL and a sentence: not JSON, no object, deeper than API_JSON_DEPTH_MAX, a key twice. */
json_t *api_json_parse(const char *body, size_t len, char why[static 256]);

enum api_field { API_NAME = 1, API_SIZE = 2, API_LBA = 4, API_TIER = 8, API_IOPS = 16, API_BANDWIDTH = 32, API_CACHE_MIN = 64,
                 API_CACHE_MAX = 128, API_ADMIT = 256, API_STREAM = 512 };
#define API_POLICY (API_CACHE_MIN | API_CACHE_MAX | API_ADMIT | API_STREAM)
#define API_CHANGES (API_TIER | API_IOPS | API_BANDWIDTH | API_POLICY)
/* Fills *out from the object; fields outside `allowed` are an error. Returns the fields that were there (enum api_field
 * bits), or -FIRN_E_INVALID and words in why. Sizes: bytes as a number, or text such as "10GiB". */
int api_volume_params(json_t *obj, unsigned allowed, struct volume_params *out, char why[static 256]);

const char *volume_tier_name(enum volume_tier t);

#endif
