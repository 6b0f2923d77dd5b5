/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_page.h: what /metrics says beside what other rooms registered: volumes, pool, devices, target, reactors. */
#ifndef FIRN_DAEMON_METRICS_PAGE_H
#define FIRN_DAEMON_METRICS_PAGE_H

#include "base/strbuf.h"
#include "daemon/node.h"

struct metrics_page;

int  metrics_page_new(struct node *n, struct metrics_page **out); /* registers its collector */
void metrics_page_free(struct metrics_page *p);
/* The whole page; asks reactor 0 for what volumes use, so no reactor may call this. */
void metrics_page_render(struct metrics_page *p, struct strbuf *out);

#endif
