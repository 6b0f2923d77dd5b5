/* SPDX-License-Identifier: Apache-2.0 */
/* api.c: one function a resource and method. The route is checked already; here, in api_volumes.c and in api_pool.c bodies are read,
 * node.h is asked, and its answers become JSON (api_reply.c).
 */
#include "daemon/api.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "daemon/alerts.h"
#include "daemon/api_priv.h"
#include "daemon/metrics_page.h"
#include "daemon/settings.h"
#include "daemon/status_page.h"

static uint64_t uptime_s(const struct api *a)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return ((uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec - a->started_ns) / NS_PER_S;
}

static void add_alert(void *ctx, const char *text) { json_array_append_new(ctx, json_string(text)); }

static json_t *alerts_json(struct node *n)
{
    json_t *list = json_array();

    if (list)
        alerts_of_node(n, add_alert, list);
    return list;
}

static json_t *tier_stats_json(struct node *n)
{
    struct tier_stats s;
    json_t *o = json_object();

    node_tier_stats(n, &s);
#define X(name, help) json_object_set_new(o, #name, json_integer((json_int_t)s.name));
    TIER_COUNTERS(X)
#undef X
    return o;
}

static void status(struct api *a, struct reply *out)
{
    struct tier_info info;
    struct target_stats t;

    node_pool_info(a->node, &info);
    node_target_stats(a->node, &t);
    reply_json(out, 200, json_pack("{s:s,s:s,s:b,s:I,s:i,s:i,s:i, s:o?,s:o?,s:o,s:o, s:{s:I,s:I,s:I,s:I,s:I},s:o}",
                                   "node", node_name(a->node), "version", FIRN_VERSION, "ready", (int)!a->stopping,
                                   "uptime_s", (json_int_t)uptime_s(a), "reactors", (int)node_reactors(a->node),
                                   "port", (int)node_port(a->node), "discovery_port", (int)node_discovery_port(a->node),
                                   "pool", node_has_pool(a->node) ? api_pool_json(&info) : NULL,
                                   "tiers", node_has_pool(a->node) ? api_tiers_json(&info) : NULL,
                                   "devices", api_devices_json(a->node), "tier", tier_stats_json(a->node),
                                   "target", "connections", (json_int_t)t.connections, "refused", (json_int_t)t.connections_refused,
                                   "protocol_errors", (json_int_t)t.protocol_errors, "digest_errors", (json_int_t)t.digest_errors,
                                   "fenced_commands", (json_int_t)t.fenced_commands,
                                   "alerts", alerts_json(a->node)));
}

static void config(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out)
{
    char why[256] = "";
    json_t *o;
    int err;

    if (r->method == HTTP_PATCH) {
        o = body_object(body, len, out);
        if (!o)
            return;
        err = settings_set(a->settings, o, why);
        json_decref(o);
        if (err) {
            reply_error(out, api_http_status(err), err == -ETIMEDOUT ? "timeout" : err_code(err), why);
            return;
        }
    }
    reply_json(out, 200, settings_json(a->settings));
}

static void metrics(struct api *a, struct reply *out)
{
    struct strbuf b;

    strbuf_init(&b);
    metrics_page_render(a->metrics, &b);
    reply_text(out, b.failed ? 503 : 200, "text/plain; version=0.0.4; charset=utf-8", strbuf_str(&b));
    strbuf_fini(&b);
}

static void page(struct api *a, struct reply *out)
{
    struct strbuf b;

    strbuf_init(&b);
    status_page_render(a->node, uptime_s(a), &b);
    reply_text(out, b.failed ? 503 : 200, "text/html; charset=utf-8", strbuf_str(&b));
    strbuf_fini(&b);
}

static void readyz(struct api *a, struct reply *out)
{
    struct tier_info info;
    char text[sizeof(info.read_only_why) + 16];

    node_pool_info(a->node, &info);
    snprintf(text, sizeof(text), "read-only: %s\n", info.read_only_why);
    if (a->stopping)
        reply_text(out, 503, "text/plain", "stopping\n");
    else if (info.read_only)
        reply_text(out, 503, "text/plain", text);
    else
        reply_text(out, 200, "text/plain", "ok\n");
}

void api_handle(struct api *a, const struct route *r, const char *body, size_t len, struct reply *out)
{
    *out = (struct reply){.status = 500};
    if (a->stopping && r->method != HTTP_GET) {
        reply_error(out, 503, "stopped", err_text(-FIRN_E_STOPPED));
        return;
    }
    switch (r->id) {
    case ROUTE_PAGE:
        page(a, out);
        return;
    case ROUTE_METRICS:
        metrics(a, out);
        return;
    case ROUTE_HEALTHZ:
        reply_text(out, 200, "text/plain", "ok\n");
        return;
    case ROUTE_READYZ:
        readyz(a, out);
        return;
    case ROUTE_STATUS:
        status(a, out);
        return;
    case ROUTE_POOL:
        api_pool(a, r, body, len, out);
        return;
    case ROUTE_DEVICES:
        reply_json(out, 200, json_pack("{s:o}", "devices", api_devices_json(a->node)));
        return;
    case ROUTE_CONFIG:
        config(a, r, body, len, out);
        return;
    case ROUTE_VOLUMES:
        if (r->method == HTTP_POST)
            api_volume_create(a, body, len, out);
        else
            api_volumes_list(a, r, out);
        return;
    case ROUTE_VOLUME:
        api_volume(a, r, body, len, out);
        return;
    case ROUTE_HEAT:
        api_heat(a, r, out);
        return;
    case ROUTE_HOSTS:
    case ROUTE_HOST:
        api_hosts(a, r, out);
        return;
    case ROUTE_NR:
        break;
    }
    assert(false && "a route without a verb");
}
