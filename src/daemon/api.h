/* SPDX-License-Identifier: Apache-2.0 */
/* api.h: the verbs of the HTTP API: a checked route and a body in, a reply out. http.c carries it, node.h does it. */
#ifndef FIRN_DAEMON_API_H
#define FIRN_DAEMON_API_H

#include "base/types.h"
#include "daemon/node.h"
#include "daemon/route.h"

struct metrics_page;
struct settings;

struct api {
    struct node         *node;
    struct settings     *settings;
    struct metrics_page *metrics;
    uint64_t             started_ns;  /* CLOCK_MONOTONIC */
    _Atomic bool         stopping;    /* /readyz says so; changes are refused */
};

struct reply {
    unsigned    status;
    const char *type;     /* Content-Type */
    char       *body;     /* malloc'd */
    size_t      len;
    unsigned    allow;    /* enum http_method bits, for 405 */
    unsigned    retry_after_s; /* 0: not said */
};

/* Any HTTP thread. Always leaves a reply; a NULL body is an empty one. */
void api_handle(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out);

/* {"error": {"code": ..., "message": ...}} */
void reply_error(struct reply *out, unsigned status, const char *code, const char *message);
/* The one place where an error of ours becomes an HTTP status. */
unsigned api_http_status(int err);

#endif
