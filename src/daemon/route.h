/* SPDX-License-Identifier: Apache-2.0 */
/* route.h: an HTTP request line as a decision: which resource, which method, which names. Pure; fed with what peers send.
 *
 * The path is cut at '/' before anything is decoded, and each piece is percent-decoded exactly once: "%2f" and "%2e%2e"
 * are characters of a name, where the rules for names refuse them. No piece ever becomes a path of the file system.
 */
#ifndef FIRN_DAEMON_ROUTE_H
#define FIRN_DAEMON_ROUTE_H

#include "base/limits.h"
#include "base/sizefmt.h"
#include "base/types.h"

enum http_method { HTTP_GET = 1, HTTP_POST = 2, HTTP_PUT = 4, HTTP_PATCH = 8, HTTP_DELETE = 16 };

/* What a GET of it asks may make it wait: nothing, or reactor 0. What changes volumes waits for the metadata besides. */
enum route_wait { ROUTE_AT_ONCE, ROUTE_ASKS, ROUTE_CHANGES, ROUTE_WAIT_NR };

/*    tag       path                                 methods                              free of the token   a GET */
#define ROUTES(x)                                                                                        \
    x(PAGE,     "/",                                 HTTP_GET,                            false, ROUTE_ASKS)    \
    x(METRICS,  "/metrics",                          HTTP_GET,                            true,  ROUTE_ASKS)    \
    x(HEALTHZ,  "/healthz",                          HTTP_GET,                            true,  ROUTE_AT_ONCE) \
    x(READYZ,   "/readyz",                           HTTP_GET,                            true,  ROUTE_AT_ONCE) \
    x(STATUS,   "/v1/status",                        HTTP_GET,                            false, ROUTE_AT_ONCE) \
    x(POOL,     "/v1/pool",                          HTTP_GET | HTTP_PATCH,               false, ROUTE_AT_ONCE) \
    x(DEVICES,  "/v1/devices",                       HTTP_GET,                            false, ROUTE_AT_ONCE) \
    x(CONFIG,   "/v1/config",                        HTTP_GET | HTTP_PATCH,               false, ROUTE_ASKS)    \
    x(VOLUMES,  "/v1/volumes",                       HTTP_GET | HTTP_POST,                false, ROUTE_ASKS)    \
    x(VOLUME,   "/v1/volumes/{volume}",              HTTP_GET | HTTP_PATCH | HTTP_DELETE, false, ROUTE_ASKS)    \
    x(HEAT,     "/v1/volumes/{volume}/heat",         HTTP_GET,                            false, ROUTE_ASKS)    \
    x(HOSTS,    "/v1/volumes/{volume}/hosts",        HTTP_GET,                            false, ROUTE_ASKS)    \
    x(HOST,     "/v1/volumes/{volume}/hosts/{nqn}",  HTTP_PUT | HTTP_DELETE,              false, ROUTE_ASKS)

enum route_id {
#define X(tag, path, methods, open, wait) ROUTE_##tag,
    ROUTES(X)
#undef X
    ROUTE_NR
};

#define PAGE_LIMIT_DEFAULT 100u
#define PAGE_LIMIT_MAX     1000u
#define HEAT_PARTS_DEFAULT 256u
#define HEAT_PARTS_MAX     4096u

struct route {
    enum route_id    id;
    enum http_method method;
    char             volume[NAME_MAX_CHARS + 1];
    char             nqn[NQN_MAX_BYTES + 1];
    unsigned         limit;                      /* ?limit=, default 100 */
    char             after[NAME_MAX_CHARS + 1];  /* ?after= */
    bool             force;                      /* ?force=true */
    unsigned         parts;                      /* ?parts=, default 256: of a picture of heat */
};

/* What is wrong with a request: an HTTP status, an API error code and a sentence; allow: for 405. */
struct route_error {
    unsigned    status;
    const char *code, *message;
    unsigned    allow; /* enum http_method bits */
};

/* uri: path and query as they came, undecoded. 0, or -1 and *err. */
int  route_parse(const char *method, const char *uri, struct route *out, struct route_error *err);
bool route_needs_token(enum route_id id);
enum route_wait route_wait(const struct route *r);
const char *http_method_name(enum http_method m);
/* An entry of an allow-list: "*" for any host, or an NQN. */
bool host_entry_valid(const char *text);

/* "Authorization" header against the token: true when it is "Bearer TOKEN". The time taken tells nothing about TOKEN. */
bool token_matches(const char *header, const char *token);

#endif
