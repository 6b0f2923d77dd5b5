/* SPDX-License-Identifier: Apache-2.0 */
/* http.c: requests as libmicrohttpd brings them.
 *
 * 1. The URI is kept as it came (request_begin). 2. When the headers are there, everything that can be refused is
 * refused before a byte of body is taken: size of headers, ambiguous length, token, route, announced length.
 * 3. The body is gathered up to its bound. 4. A request that may have to wait leaves libmicrohttpd's thread: its connection is
 * suspended, and a lane takes it; one lane for questions to reactor 0, one for changes, which may wait for the metadata.
 * 5. api_handle() makes the reply, and it is sent. So /healthz is answered whatever else hangs.
 */
#include "daemon/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/http_listen.h"
#include "daemon/http_watch.h"
#include "daemon/lane.h"

#define THREADS           2u
#define CONNECTIONS       256u
#define CONNECTIONS_PER_ADDRESS 64u
#define POOL_BYTES        (16u * 1024u) /* a connection's headers, in and out */
#define HEADERS_NS        (10 * NS_PER_S)
#define BODY_NS           (30 * NS_PER_S)
#define DRAIN_BYTES_MAX   (1u << 20)    /* of a body that is refused anyway; beyond it the connection is cut */
#define STUCK_NS          (2 * NS_PER_S) /* a lane whose threads are all at one request for so long takes no more */
#define RETRY_AFTER_S     2u
#define STOP_NS           NS_PER_S       /* the stop waits so long for replies that are there to be sent */

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
    pthread_mutex_t mu;         /* token, in_lanes */
    pthread_cond_t  cv;         /* in_lanes became 0 */
    char            token[TOKEN_CHARS_MAX];
    uint32_t        in_lanes;   /* requests that were given to a lane and whose reply is not sent yet */
};

struct request {
    struct job   job;           /* in a lane; its connection is suspended */
    struct server         *s;
    struct MHD_Connection *mc;
    char        *uri;
    struct route route;
    bool         begun, in_lane, answered; /* answered: reply is there */
    struct reply reply;
    char        *body;
    size_t       len, drained;
};

/* ---- connections and their deadlines ------------------------------------------------------------------------------ */

static void conn_event(void *cls, struct MHD_Connection *mc, void **ctx, enum MHD_ConnectionNotificationCode toe)
{
    struct http *h = ((struct server *)cls)->h;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (toe == MHD_CONNECTION_NOTIFY_STARTED) {
        *ctx = info ? watch_add(h->watch, info->connect_fd, HEADERS_NS) : NULL;
    } else if (*ctx) {
        watch_remove(h->watch, *ctx);
        *ctx = NULL;
    }
}

static void conn_deadline(struct http *h, struct MHD_Connection *mc, uint64_t in_ns)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    if (info && info->socket_context)
        watch_deadline(h->watch, info->socket_context, in_ns);
}

static void look_at_lanes(void *ctx)
{
    struct http *h = ctx;

    for (unsigned i = 0; i < ARRAY_LEN(h->servers); i++)
        for (unsigned w = 0; w < ROUTE_WAIT_NR; w++)
            if (h->servers[i].lanes[w])
                lane_look(h->servers[i].lanes[w]);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void *request_begin(void *cls, const char *uri, struct MHD_Connection *mc)
{
    struct request *rq = calloc(1, sizeof(*rq));

    (void)cls;
    (void)mc;
    if (rq)
        rq->uri = strdup(uri);
    return rq;
}

static void leave_lane(struct http *h, struct request *rq)
{
    if (!rq->in_lane)
        return;
    rq->in_lane = false;
    pthread_mutex_lock(&h->mu);
    if (--h->in_lanes == 0)
        pthread_cond_broadcast(&h->cv);
    pthread_mutex_unlock(&h->mu);
}

static void request_end(void *cls, struct MHD_Connection *mc, void **ctx, enum MHD_RequestTerminationCode toe)
{
    struct request *rq = *ctx;

    (void)toe;
    conn_deadline(((struct server *)cls)->h, mc, HEADERS_NS);
    if (!rq)
        return;
    leave_lane(((struct server *)cls)->h, rq);
    free(rq->uri);
    free(rq->body);
    free(rq->reply.body);
    free(rq);
    *ctx = NULL;
}

static void add_allow(struct MHD_Response *resp, unsigned allow)
{
    char text[64] = "";

    for (unsigned m = HTTP_GET; m <= HTTP_DELETE; m <<= 1)
        if (allow & m)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", text[0] ? ", " : "",
                     http_method_name((enum http_method)m));
    MHD_add_response_header(resp, "Allow", text);
}

static enum MHD_Result send_reply(struct MHD_Connection *mc, struct reply *r, bool close_after)
{
    struct MHD_Response *resp = MHD_create_response_from_buffer(r->len, r->body, r->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    enum MHD_Result rc;
    char seconds[16];

    if (!resp) {
        free(r->body);
        r->body = NULL;
        return MHD_NO;
    }
    r->body = NULL; /* the response's from here on */
    MHD_add_response_header(resp, "Content-Type", r->type ? r->type : "text/plain");
    MHD_add_response_header(resp, "Cache-Control", "no-store");
    MHD_add_response_header(resp, "X-Content-Type-Options", "nosniff");
    if (r->status == 401)
        MHD_add_response_header(resp, "WWW-Authenticate", "Bearer");
    if (r->status == 405)
        add_allow(resp, r->allow);
    if (r->retry_after_s) {
        snprintf(seconds, sizeof(seconds), "%u", r->retry_after_s);
        MHD_add_response_header(resp, "Retry-After", seconds);
    }
    if (close_after)
        MHD_add_response_header(resp, "Connection", "close");
    rc = MHD_queue_response(mc, r->status, resp);
    MHD_destroy_response(resp);
    return rc;
}

static enum MHD_Result refuse(struct MHD_Connection *mc, unsigned status, const char *code, const char *message, unsigned allow)
{
    struct reply r = {.allow = allow};

    reply_error(&r, status, code, message);
    return send_reply(mc, &r, true);
}

static bool allowed(const struct server *s, struct MHD_Connection *mc)
{
    const char *given = MHD_lookup_connection_value(mc, MHD_HEADER_KIND, "Authorization");
    bool ok;

    if (!s->tcp)
        return true;
    pthread_mutex_lock(&s->h->mu);
    ok = token_matches(given, s->h->token);
    pthread_mutex_unlock(&s->h->mu);
    return ok;
}

struct header_facts { unsigned lengths, encodings; bool odd_encoding; };

static enum MHD_Result see_header(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct header_facts *f = cls;

    (void)kind;
    if (strcasecmp(key, "Content-Length") == 0)
        f->lengths++;
    if (strcasecmp(key, "Transfer-Encoding") == 0) {
        f->encodings++;
        f->odd_encoding |= !value || strcasecmp(value, "chunked") != 0;
    }
    return MHD_YES;
}

/* A body whose length two parties could see differently is how requests are smuggled. */
static bool length_is_plain(struct MHD_Connection *mc)
{
    struct header_facts f = {0};

    MHD_get_connection_values(mc, MHD_HEADER_KIND, see_header, &f);
    return f.lengths + f.encodings <= 1 && !f.odd_encoding;
}

/* The headers are there. True: go on; false: *rc is what to return. */
static bool check_head(struct server *s, struct MHD_Connection *mc, const char *method, struct request *rq, enum MHD_Result *rc)
{
    const union MHD_ConnectionInfo *size = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const char *length = MHD_lookup_connection_value(mc, MHD_HEADER_KIND, "Content-Length");
    struct route_error e;
    int bad = route_parse(method, rq->uri, &rq->route, &e);

    if (size && size->header_size > API_HEADER_BYTES_MAX)
        *rc = refuse(mc, 431, "invalid", "the headers are longer than 8 KiB", 0);
    else if (!length_is_plain(mc))
        *rc = refuse(mc, 400, "invalid", "the length of the body is ambiguous", 0);
    else if ((bad || route_needs_token(rq->route.id)) && !allowed(s, mc))
        *rc = refuse(mc, 401, "unauthorized", "a valid token is needed: Authorization: Bearer TOKEN (api.token_file)", 0);
    else if (bad)
        *rc = refuse(mc, e.status, e.code, e.message, e.allow);
    else if (length && strtoull(length, NULL, 10) > API_BODY_BYTES_MAX)
        *rc = refuse(mc, 413, "too_large", "the body is longer than 64 KiB", 0);
    else
        return true;
    return false;
}

static enum MHD_Result take_body(struct request *rq, const char *data, size_t *len)
{
    size_t n = *len;

    *len = 0;
    if (rq->len + n > API_BODY_BYTES_MAX || rq->drained) {
        rq->drained += n;
        return rq->drained > DRAIN_BYTES_MAX ? MHD_NO : MHD_YES;
    }
    if (!rq->body)
        rq->body = malloc(API_BODY_BYTES_MAX);
    if (!rq->body)
        return MHD_NO;
    memcpy(rq->body + rq->len, data, n);
    rq->len += n;
    return MHD_YES;
}

/* ---- lanes -------------------------------------------------------------------------------------------------------- */

/* Its own thread of libmicrohttpd goes on with it; from there on rq is not touched here. */
static void answered(struct request *rq)
{
    rq->answered = true;
    MHD_resume_connection(rq->mc);
}

static void job_run(struct job *j)
{
    struct request *rq = container_of(j, struct request, job);

    api_handle(rq->s->h->api, &rq->route, rq->body ? rq->body : "", rq->len, &rq->reply);
    answered(rq);
}

static void job_refuse(struct job *j)
{
    struct request *rq = container_of(j, struct request, job);

    if (rq->s->h->api->stopping)
        reply_error(&rq->reply, 503, "stopped", err_text(-FIRN_E_STOPPED));
    else
        reply_error(&rq->reply, 503, "busy", "earlier requests take long, and this one was not begun: try again in a moment");
    rq->reply.retry_after_s = RETRY_AFTER_S;
    answered(rq);
}

static void enter_lane(struct lane *lane, struct request *rq, struct MHD_Connection *mc)
{
    struct http *h = rq->s->h;

    pthread_mutex_lock(&h->mu);
    h->in_lanes++;
    pthread_mutex_unlock(&h->mu);
    rq->in_lane = true;
    rq->mc = mc;
    rq->job = (struct job){.run = job_run, .refuse = job_refuse};
    list_init(&rq->job.node);
    MHD_suspend_connection(mc);
    lane_put(lane, &rq->job);
}

/* ---- the handler --------------------------------------------------------------------------------------------------- */

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mc, const char *url, const char *method, const char *version,
                                  const char *data, size_t *len, void **ctx)
{
    struct server *s = cls;
    struct request *rq = *ctx;
    struct lane *lane;
    enum MHD_Result rc;

    (void)url;
    (void)version;
    if (!rq || !rq->uri)
        return MHD_NO;
    if (!rq->begun) {
        rq->begun = true;
        rq->s = s;
        conn_deadline(s->h, mc, BODY_NS);
        return check_head(s, mc, method, rq, &rc) ? MHD_YES : rc;
    }
    if (*len > 0)
        return take_body(rq, data, len);
    if (rq->drained)
        return refuse(mc, 413, "too_large", "the body is longer than 64 KiB", 0);
    lane = s->lanes[route_wait(&rq->route)];
    if (!rq->answered && lane) {
        enter_lane(lane, rq, mc);
        return MHD_YES; /* it comes here again, answered */
    }
    if (!rq->answered)
        api_handle(s->h->api, &rq->route, rq->body ? rq->body : "", rq->len, &rq->reply);
    conn_deadline(s->h, mc, BODY_NS);
    rc = send_reply(mc, &rq->reply, false);
    leave_lane(s->h, rq);
    return rc;
}

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
    memcpy(h->token, token, sizeof(token));
    pthread_mutex_unlock(&h->mu);
    explicit_bzero(token, sizeof(token));
    return 0;
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
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)request_begin, NULL},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)request_end, s},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)conn_event, s},
        {tcp ? MHD_OPTION_PER_IP_CONNECTION_LIMIT : MHD_OPTION_END, CONNECTIONS_PER_ADDRESS, NULL},
        {MHD_OPTION_END, 0, NULL},
    };

    s->h = h;
    s->tcp = tcp;
    if (lane_new("http-look", STUCK_NS, &s->lanes[ROUTE_ASKS]) == 0 && lane_new("http-change", STUCK_NS, &s->lanes[ROUTE_CHANGES]) == 0)
        s->mhd = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0,
                                  NULL, NULL, on_request, s, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
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
