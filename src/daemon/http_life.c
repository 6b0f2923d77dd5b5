/* SPDX-License-Identifier: Apache-2.0 */
/* http_life.c: the HTTP server's start and stop.
 *
 * Start: for each socket its lanes, then libmicrohttpd's threads; last the thread that watches deadlines and lanes.
 * Stop: lanes finish what runs and refuse the rest; the replies go out; then libmicrohttpd's threads end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/http_priv.h"

#define THREADS           2u
#define CONNECTIONS       256u
#define CONNECTIONS_PER_ADDRESS 64u
#define POOL_BYTES        (16u * 1024u) /* a connection's headers, in and out */
#define STUCK_NS          (2 * NS_PER_S) /* a lane whose threads are all at one request for so long takes no more */
#define STOP_NS           NS_PER_S       /* the stop waits so long for replies that are there to be sent */

/* libmicrohttpd would decode the path and, separately, we would: route.c does it, once. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mc, char *s)
{
    (void)cls;
    (void)mc;
    return strlen(s);
}

static PRINTF_LIKE(2, 0) void mhd_says(void *cls, const char *fmt, va_list ap)
{
    char text[200];

    (void)cls;
    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    for (char *p = text; *p; p++)
        if (*p == '"' || (unsigned char)*p < 0x20)
            *p = '\'';
    log_debug("http", "text=\"%s\"", text);
}

static void look_at_lanes(void *ctx)
{
    struct http *h = ctx;

    for (unsigned i = 0; i < ARRAY_LEN(h->servers); i++)
        for (unsigned w = 0; w < ROUTE_WAIT_NR; w++)
            if (h->servers[i].lanes[w])
                lane_look(h->servers[i].lanes[w]);
}

/* ---- start and stop ---------------------------------------------------------------------------------------------- */

int http_new(struct http **out)
{
    struct http *h = calloc(1, sizeof(*h));
    pthread_condattr_t attr;

    if (!h || watch_new(&h->watch) != 0) {
        free(h);
        return -FIRN_E_NO_RESOURCES;
    }
    pthread_mutex_init(&h->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->cv, &attr);
    pthread_condattr_destroy(&attr);
    *out = h;
    return 0;
}

int http_load_token(struct http *h, const char *file, char why[static 256])
{
    char token[TOKEN_CHARS_MAX] = "";

    if (file[0]) {
        int err = http_read_token(file, token, why);

        if (err)
            return err;
    }
    pthread_mutex_lock(&h->mu);
    h->token_changes += strcmp(h->token, token) != 0;
    memcpy(h->token, token, sizeof(token));
    pthread_mutex_unlock(&h->mu);
    explicit_bzero(token, sizeof(token));
    return 0;
}

unsigned http_token_changes(struct http *h)
{
    unsigned n;

    pthread_mutex_lock(&h->mu);
    n = h->token_changes;
    pthread_mutex_unlock(&h->mu);
    return n;
}

static int start_server(struct http *h, struct server *s, int fd, bool tcp, char why[static 256])
{
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)mhd_says, NULL},
        {MHD_OPTION_LISTEN_SOCKET, fd, NULL},
        {MHD_OPTION_THREAD_POOL_SIZE, THREADS, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)(BODY_NS / NS_PER_S), NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)http_request_begin, NULL},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)http_request_end, s},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)http_conn_event, s},
        {tcp ? MHD_OPTION_PER_IP_CONNECTION_LIMIT : MHD_OPTION_END, CONNECTIONS_PER_ADDRESS, NULL},
        {MHD_OPTION_END, 0, NULL},
    };

    s->h = h;
    s->tcp = tcp;
    if (lane_new("http-look", STUCK_NS, &s->lanes[ROUTE_ASKS]) == 0 && lane_new("http-change", STUCK_NS, &s->lanes[ROUTE_CHANGES]) == 0)
        s->mhd = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0,
                                  NULL, NULL, http_on_request, s, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (s->mhd)
        return 0;
    close(fd);
    snprintf(why, 256, "the HTTP server does not start: out of threads, memory or descriptors");
    return -FIRN_E_NO_RESOURCES;
}

int http_start(struct http *h, struct api *api, const char *unix_path, const char *listen, uint16_t port, char why[static 256])
{
    int fd, err;

    h->api = api;
    if (unix_path[0]) {
        fd = http_listen_unix(unix_path, why);
        if (fd < 0)
            return fd;
        snprintf(h->unix_path, sizeof(h->unix_path), "%s", unix_path);
        err = start_server(h, &h->servers[0], fd, false, why);
        if (err)
            return err;
    }
    if (listen[0]) {
        fd = http_listen_tcp(listen, port, &h->port, why);
        if (fd < 0)
            return fd;
        err = start_server(h, &h->servers[1], fd, true, why);
        if (err)
            return err;
    }
    err = watch_start(h->watch, look_at_lanes, h);
    if (err)
        snprintf(why, 256, "a thread for the HTTP server: %.100s", err_text(err));
    return err;
}

uint16_t http_port(const struct http *h)
{
    return h->port;
}

/* Replies that lanes have made are sent by libmicrohttpd's threads: they are to come to it before they end. */
static void wait_for_replies(struct http *h)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(STOP_NS / NS_PER_S);
    pthread_mutex_lock(&h->mu);
    while (h->in_lanes > 0 && pthread_cond_timedwait(&h->cv, &h->mu, &until) == 0)
        ;
    pthread_mutex_unlock(&h->mu);
}

static void stop_lanes(struct http *h)
{
    for (unsigned i = 0; i < ARRAY_LEN(h->servers); i++)
        for (unsigned w = 0; w < ROUTE_WAIT_NR; w++)
            if (h->servers[i].lanes[w])
                lane_stop(h->servers[i].lanes[w]);
}

static void stop_server(struct server *s)
{
    if (s->mhd)
        MHD_stop_daemon(s->mhd);
    s->mhd = NULL;
    for (unsigned w = 0; w < ROUTE_WAIT_NR; w++) {
        if (s->lanes[w])
            lane_free(s->lanes[w]);
        s->lanes[w] = NULL;
    }
}

/* From stop_lanes() on every request is answered at once, so no connection stays suspended. */
void http_stop(struct http *h)
{
    stop_lanes(h);
    wait_for_replies(h);
    watch_stop(h->watch);
    for (unsigned i = 0; i < ARRAY_LEN(h->servers); i++)
        stop_server(&h->servers[i]);
    if (h->unix_path[0])
        unlink(h->unix_path);
    h->unix_path[0] = '\0';
}

void http_free(struct http *h)
{
    explicit_bzero(h->token, sizeof(h->token));
    pthread_mutex_destroy(&h->mu);
    pthread_cond_destroy(&h->cv);
    watch_free(h->watch);
    free(h);
}
