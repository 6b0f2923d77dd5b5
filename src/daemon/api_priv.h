/* SPDX-License-Identifier: Apache-2.0 */
/* api_priv.h: what the files of the API share: replies and errors (api_reply.c), and the verbs that api.c hands requests to. */
#ifndef FIRN_DAEMON_API_PRIV_H
#define FIRN_DAEMON_API_PRIV_H

#include <jansson.h>

#include "base/log.h"
#include "daemon/api.h"

/* api_reply.c */
void reply_json(struct reply *out, unsigned status, json_t *doc); /* takes doc; NULL: no memory */
void reply_text(struct reply *out, unsigned status, const char *type, const char *text);
void reply_detail(struct reply *out, unsigned status, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);
void reply_err(struct api *a, struct reply *out, int err);
void reply_volume_err(struct api *a, struct reply *out, int err, const char *name); /* about the volume of that name */
json_t *body_object(const char *body, size_t len, struct reply *out); /* NULL: out says what is wrong with it */

/* api_volumes.c */
void api_volumes_list(struct api *a, const struct route *r, struct reply *out);
void api_volume_create(struct api *a, const char *body, size_t len, struct reply *out);
void api_volume(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out); /* get, change, delete */
void api_heat(struct api *a, const struct route *r, struct reply *out);
void api_hosts(struct api *a, const struct route *r, struct reply *out);

/* api_pool.c */
json_t *api_pool_json(const struct tier_info *i);
json_t *api_tiers_json(const struct tier_info *i);
json_t *api_devices_json(struct node *n);
void api_pool(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out);

#endif
