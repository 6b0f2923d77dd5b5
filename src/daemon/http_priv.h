/* SPDX-License-Identifier: Apache-2.0 */
/* http_priv.h: shared by http.c (the way of a request) and http_life.c (start and stop). */
#ifndef FIRN_DAEMON_HTTP_PRIV_H
#define FIRN_DAEMON_HTTP_PRIV_H

#include <microhttpd.h>
#include <pthread.h>

#include "daemon/http.h"
#include "daemon/http_listen.h"
#include "daemon/http_watch.h"
#include "daemon/lane.h"

#define BODY_NS           (30 * NS_PER_S)

struct server {                 /* one listening socket */
    struct http       *h;
    struct MHD_Daemon *mhd;
    struct lane       *lanes[ROUTE_WAIT_NR]; /* NULL where nothing waits */
    bool               tcp;
};

struct http {
    struct api     *api;
    struct server   servers[2];
    uint16_t        port;
    char            unix_path[128];
    struct watch   *watch;
    pthread_mutex_t mu;         /* token, token_changes, in_lanes */
    pthread_cond_t  cv;         /* in_lanes became 0 */
    char            token[TOKEN_CHARS_MAX];
    unsigned        token_changes; /* since the start */
    uint32_t        in_lanes;   /* requests that were given to a lane and whose reply is not sent yet */
};

/* http.c: what libmicrohttpd calls; cls is the struct server, where there is one. */
void  http_conn_event(void *cls, struct MHD_Connection *mc, void **ctx, enum MHD_ConnectionNotificationCode toe);
void *http_request_begin(void *cls, const char *uri, struct MHD_Connection *mc);
void  http_request_end(void *cls, struct MHD_Connection *mc, void **ctx, enum MHD_RequestTerminationCode toe);
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mc, const char *url, const char *method, const char *version,
                                const char *data, size_t *len, void **ctx);

#endif
