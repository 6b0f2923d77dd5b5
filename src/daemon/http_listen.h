/* SPDX-License-Identifier: Apache-2.0 */
/* http_listen.h: listening sockets of the API, and its token file. */
#ifndef FIRN_DAEMON_HTTP_LISTEN_H
#define FIRN_DAEMON_HTTP_LISTEN_H

#include "base/types.h"

#define TOKEN_CHARS_MAX  1024u
#define TOKEN_CHARS_SAFE 16u

/* A listening socket, or negative and words in why. A stale unix socket is replaced, a living one is not; mode 0600. */
int http_listen_unix(const char *path, char why[static 256]);
int http_listen_tcp(const char *addr, uint16_t port, uint16_t *chosen, char why[static 256]);
/* The first line of the file without blanks around it. What is unwise about it is logged. */
int http_read_token(const char *file, char token[static TOKEN_CHARS_MAX], char why[static 256]);

#endif
