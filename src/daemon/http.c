/* SPDX-License-Identifier: Apache-2.0 */
/* http.c: requests as libmicrohttpd brings them.
 *
 * 1. The URI is kept as it came (request_begin). 2. When the headers are there, everything that can be refused is
 * refused before a byte of body is taken: size of headers, ambiguous length, token, route, announced length.
 * 3. The body is gathered up to its bound. 4. api_handle() makes the reply.
 * A watcher thread cuts connections that are beyond their deadline; libmicrohttpd's own timeout restarts with each byte,
 * which a slow sender can abuse.
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

#define THREADS           4u
#define CONNECTIONS       256u
#define CONNECTIONS_PER_ADDRESS 64u
#define POOL_BYTES        (16u * 1024u) /* a connection's headers, in and out */
#define HEADERS_NS        (10 * NS_PER_S)
#define BODY_NS           (30 * NS_PER_S)
#define DRAIN_BYTES_MAX   (1u << 20)    /* of a body that is refused anyway; beyond it the connection is cut */
#define WATCH_MS          500

struct server {                 /* one listening socket */
    struct http       *h;
    struct MHD_Daemon *mhd;
    bool               tcp;
};

struct http {
    struct api     *api;
    struct server   servers[2];
    uint16_t        port;
    char            unix_path[128];
    pthread_mutex_t mu;         /* token, conns, quit */
    pthread_cond_t  cv;
    char            token[TOKEN_CHARS_MAX];
    struct list     conns;      /* of conn.node */
    pthread_t       watcher;
    bool            watching, quit;
};

struct conn {
    struct list node;
    int         fd;
    uint64_t    deadline_ns;
};

struct request {
    char        *uri;
    struct route route;
    bool         begun;
    char        *body;
    size_t       len, drained;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- connections and their deadlines ------------------------------------------------------------------------------ */

static void conn_event(void *cls, struct MHD_Connection *mc, void **ctx, enum MHD_ConnectionNotificationCode toe)
{
    struct http *h = ((struct server *)cls)->h;
    struct conn *c = *ctx;

    if (toe == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_CONNECTION_FD);

        c = calloc(1, sizeof(*c));
        *ctx = c;
        if (!c)
            return;
        list_init(&c->node);
        if (!info)
            return;
        c->fd = info->connect_fd;
        c->deadline_ns = now_ns() + HEADERS_NS;
        pthread_mutex_lock(&h->mu);
        list_push_back(&h->conns, &c->node);
        pthread_mutex_unlock(&h->mu);
    } else if (c) {
        pthread_mutex_lock(&h->mu);
        list_remove(&c->node);
        pthread_mutex_unlock(&h->mu);
        *ctx = NULL;
        free(c);
    }
}

static void conn_deadline(struct http *h, struct MHD_Connection *mc, uint64_t in_ns)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct conn *c = info ? info->socket_context : NULL;

    if (!c)
        return;
    pthread_mutex_lock(&h->mu);
    c->deadline_ns = now_ns() + in_ns;
    pthread_mutex_unlock(&h->mu);
}

static void *watch(void *arg)
{
    struct http *h = arg;

    pthread_setname_np(pthread_self(), "http-watch");
    pthread_mutex_lock(&h->mu);
    while (!h->quit) {
        uint64_t now = now_ns();
        struct timespec until;

        list_for_each(n, &h->conns)
        {
            struct conn *c = list_entry(n, struct conn, node);

            if (now > c->deadline_ns)
                shutdown(c->fd, SHUT_RDWR); /* its server notices and closes it */
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WATCH_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        pthread_cond_timedwait(&h->cv, &h->mu, &until);
    }
    pthread_mutex_unlock(&h->mu);
    return NULL;
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

static void request_end(void *cls, struct MHD_Connection *mc, void **ctx, enum MHD_RequestTerminationCode toe)
{
    struct request *rq = *ctx;

    (void)toe;
    conn_deadline(((struct server *)cls)->h, mc, HEADERS_NS);
    if (!rq)
        return;
    free(rq->uri);
    free(rq->body);
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

    if (!resp) {
        free(r->body);
        return MHD_NO;
    }
    MHD_add_response_header(resp, "Content-Type", r->type ? r->type : "text/plain");
    MHD_add_response_header(resp, "Cache-Control", "no-store");
    MHD_add_response_header(resp, "X-Content-Type-Options", "nosniff");
    if (r->status == 401)
        MHD_add_response_header(resp, "WWW-Authenticate", "Bearer");
    if (r->status == 405)
        add_allow(resp, r->allow);
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

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mc, const char *url, const char *method, const char *version,
                                  const char *data, size_t *len, void **ctx)
{
    struct server *s = cls;
    struct request *rq = *ctx;
    struct reply reply = {0};
    enum MHD_Result rc;

    (void)url;
    (void)version;
    if (!rq || !rq->uri)
        return MHD_NO;
    if (!rq->begun) {
        rq->begun = true;
        conn_deadline(s->h, mc, BODY_NS);
        return check_head(s, mc, method, rq, &rc) ? MHD_YES : rc;
    }
    if (*len > 0)
        return take_body(rq, data, len);
    if (rq->drained)
        return refuse(mc, 413, "too_large", "the body is longer than 64 KiB", 0);
    api_handle(s->h->api, &rq->route, rq->body ? rq->body : "", rq->len, &reply);
    conn_deadline(s->h, mc, BODY_NS);
    return send_reply(mc, &reply, false);
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

    if (!h)
        return -FIRN_E_NO_RESOURCES;
    pthread_mutex_init(&h->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* who sets the clock back must not put the watcher to sleep */
    pthread_cond_init(&h->cv, &attr);
    pthread_condattr_destroy(&attr);
    list_init(&h->conns);
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
    s->mhd = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, s,
                              MHD_OPTION_ARRAY, options, MHD_OPTION_END);
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
    err = -pthread_create(&h->watcher, NULL, watch, h);
    h->watching = err == 0;
    if (err)
        snprintf(why, 256, "a thread for the HTTP server: %.100s", err_text(err));
    return err;
}

uint16_t http_port(const struct http *h)
{
    return h->port;
}

void http_stop(struct http *h)
{
    for (unsigned i = 0; i < ARRAY_LEN(h->servers); i++) {
        if (h->servers[i].mhd)
            MHD_stop_daemon(h->servers[i].mhd);
        h->servers[i].mhd = NULL;
    }
    if (h->unix_path[0])
        unlink(h->unix_path);
    h->unix_path[0] = '\0';
    if (!h->watching)
        return;
    pthread_mutex_lock(&h->mu);
    h->quit = true;
    pthread_cond_signal(&h->cv);
    pthread_mutex_unlock(&h->mu);
    pthread_join(h->watcher, NULL);
    h->watching = false;
}

void http_free(struct http *h)
{
    explicit_bzero(h->token, sizeof(h->token));
    pthread_mutex_destroy(&h->mu);
    pthread_cond_destroy(&h->cv);
    free(h);
}
