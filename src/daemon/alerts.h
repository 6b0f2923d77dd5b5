/* SPDX-License-Identifier: Apache-2.0 */
/* alerts.h: what an administrator should act on, in sentences: one list for the API, `firnctl status` and the status page. */
#ifndef FIRN_DAEMON_ALERTS_H
#define FIRN_DAEMON_ALERTS_H

#include "tier/tier.h"

struct node;

/* say once an alert; text is the callee's until say returns. Pure. */
void alerts_tell(const struct tier_info *info, const struct tier_dev_info *devs, uint32_t nr,
                 void (*say)(void *ctx, const char *text), void *ctx);
/* The same of a running server, as it is now; nothing without a pool. */
void alerts_of_node(struct node *n, void (*say)(void *ctx, const char *text), void *ctx);

#endif
