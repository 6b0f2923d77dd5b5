/* SPDX-License-Identifier: Apache-2.0 */
/* client.h: one request to firnd over its unix socket or a URL (libcurl), and what its errors mean to a user. */
#ifndef FIRN_TOOLS_FIRNCTL_CLIENT_H
#define FIRN_TOOLS_FIRNCTL_CLIENT_H

#include <jansson.h>

#include "tools/firnctl/args.h"

/* `what` begins the error line: "cannot create volume a". body is taken (freed); out may be NULL. CTL_DONE, or
 * CTL_FAILED or CTL_USAGE with one line on standard error. *status (may be NULL): the HTTP status, 0: no answer. */
int client_json(const struct args *a, const char *what, const char *method, const char *path, json_t *body, json_t **out, long *status);
/* The same for a text answer, malloc'd. */
int client_text(const struct args *a, const char *what, const char *path, char **out);
/* Percent-encodes one piece of a path. */
void client_escape(const char *text, char *out, size_t cap);

int64_t     json_num(const json_t *o, const char *key);  /* 0 when absent */
const char *client_string(const json_t *v);                /* "" when it is none */
const char *json_text(const json_t *o, const char *key); /* "" when absent */
/* With --json: prints doc; true: that was all. */
bool        print_json(const struct args *a, const json_t *doc);

#endif
