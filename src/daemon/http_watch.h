/* SPDX-License-Identifier: Apache-2.0 */
/* http_watch.h: a thread that cuts connections of the API beyond their deadline. libmicrohttpd's own timeout restarts with
 * each byte, which a slow sender can abuse.
 */
#ifndef FIRN_DAEMON_HTTP_WATCH_H
#define FIRN_DAEMON_HTTP_WATCH_H

#include "base/types.h"

#define WATCH_MS 500

struct watch;
struct watched; /* a connection */

int  watch_new(struct watch **out);
/* The thread; it also calls tick every WATCH_MS. Negative: there is none. */
int  watch_start(struct watch *w, void (*tick)(void *ctx), void *ctx);
struct watched *watch_add(struct watch *w, int fd, uint64_t in_ns); /* NULL: no memory */
void watch_deadline(struct watch *w, struct watched *c, uint64_t in_ns);
void watch_remove(struct watch *w, struct watched *c);
void watch_stop(struct watch *w);
void watch_free(struct watch *w);

#endif
