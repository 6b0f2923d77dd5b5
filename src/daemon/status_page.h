/* SPDX-License-Identifier: Apache-2.0 */
/* status_page.h: the page at "/": one screen for people; plain HTML, no script. */
#ifndef FIRN_DAEMON_STATUS_PAGE_H
#define FIRN_DAEMON_STATUS_PAGE_H

#include "base/strbuf.h"
#include "daemon/node.h"

void status_page_render(struct node *n, uint64_t uptime_s, struct strbuf *out);

#endif
