/* SPDX-License-Identifier: Apache-2.0 */
/* http.h: the HTTP server: a unix socket guarded by its mode, and a TCP port guarded by a token.
 *
 * Threads of its own (libmicrohttpd's, and lanes for requests that may wait for a reactor); a reactor never waits for them.
 * Bounds: 64 KiB of body (413), 8 KiB of headers (431), 10 s until headers are whole, 30 s for the body and the answer,
 * connections in all and per address. A client beyond a deadline is cut off by a thread that watches.
 */
#ifndef FIRN_DAEMON_HTTP_H
#define FIRN_DAEMON_HTTP_H

#include "daemon/api.h"

struct http;

int  http_new(struct http **out);
/* The token that TCP clients send; "" forgets it. On error the old one stays. */
int  http_load_token(struct http *h, const char *file, char why[static 256]);
unsigned http_token_changes(struct http *h); /* times that it became another one */
/* Empty unix path or empty listen address: not served there. api must outlive the server. */
int  http_start(struct http *h, struct api *api, const char *unix_path, const char *listen, uint16_t port, char why[static 256]);
uint16_t http_port(const struct http *h); /* 0: no TCP */
void http_stop(struct http *h);           /* requests in work are answered first */
void http_free(struct http *h);

#endif
