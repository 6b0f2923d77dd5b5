/* SPDX-License-Identifier: Apache-2.0 */
/* http.c: requests as libmicrohttpd brings them.
 *
 * 1. The URI is kept as it came (http_request_begin). 2. When the headers are there, everything that can be refused is
 * refused before a byte of body is taken: size of headers, ambiguous length, token, route, announced length.
 * 3. The body is gathered up to its bound. 4. A request that may have to wait leaves libmicrohttpd's thread: its connection is
 * suspended, and a lane takes it; one lane for questions to reactor 0, one for changes, which may wait for the metadata.
 * 5. api_handle() makes the reply, and it is sent. So /healthz is answered whatever else hangs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/err.h"
#include "daemon/http_priv.h"

#define HEADERS_NS        (10 * NS_PER_S)
#define DRAIN_BYTES_MAX   (1u << 20)    /* of a body that is refused anyway; beyond it the connection is cut */
#define RETRY_AFTER_S     2u

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

void http_conn_event(void *cls, struct MHD_Connection *mc, void **ctx, enum MHD_ConnectionNotificationCode toe)
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

/* ---- requests ---------------------------------------------------------------------------------------------------- */

void *http_request_begin(void *cls, const char *uri, struct MHD_Connection *mc)
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

void http_request_end(void *cls, struct MHD_Connection *mc, void **ctx, enum MHD_RequestTerminationCode toe)
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
    else if (length && strtoull(length, NULL, 10) > API_BODY_BYTES_MAX + DRAIN_BYTES_MAX) /* what is shorter is read, so that its
                                                                                            * sender comes to read the answer */
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

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mc, const char *url, const char *method, const char *version,
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
