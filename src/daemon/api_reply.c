/* SPDX-License-Identifier: Apache-2.0 */
/* api_reply.c: what the API answers: JSON or text, and errors. An error of ours becomes an HTTP status in api_http_status() and
 * nowhere else; its code and words are base/err.h's, unless somebody knows better what it means here.
 *
 * No memory for an answer: 503 without a body.
 */
#include "daemon/api_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api_json.h"

void reply_json(struct reply *out, unsigned status, json_t *doc)
{
    out->status = status;
    out->type = "application/json";
    out->body = doc ? json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    out->len = out->body ? strlen(out->body) : 0;
    if (!out->body)
        out->status = 503; /* no memory even for an error's words */
    json_decref(doc);
}

void reply_error(struct reply *out, unsigned status, const char *code, const char *message)
{
    reply_json(out, status, json_pack("{s:{s:s,s:s}}", "error", "code", code, "message", message));
}

void reply_detail(struct reply *out, unsigned status, const char *code, const char *fmt, ...)
{
    char message[sizeof(((struct tier_info *)0)->read_only_why)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    reply_error(out, status, code, message);
}

void reply_text(struct reply *out, unsigned status, const char *type, const char *text)
{
    out->status = status;
    out->type = type;
    out->body = strdup(text);
    out->len = out->body ? strlen(text) : 0;
}

static unsigned status_of_own(enum firn_err e)
{
    switch (e) {
    case FIRN_E_NOT_FOUND:
        return 404;
    case FIRN_E_EXISTS:
    case FIRN_E_IN_USE:
    case FIRN_E_READ_ONLY:
        return 409;
    case FIRN_E_INVALID:
    case FIRN_E_RANGE:
        return 400;
    case FIRN_E_NOT_ALLOWED:
        return 403;
    case FIRN_E_NO_SPACE:
        return 507;
    case FIRN_E_NO_RESOURCES:
    case FIRN_E_STOPPED:
    case FIRN_E_BUSY:
    case FIRN_E_CANCELED:
        return 503;
    case FIRN_E_DAMAGED:
    case FIRN_E_DEVICE_FAILED:
    case FIRN_E_NOT_FIRN:
    case FIRN_E_FOREIGN:
    case FIRN_E_MISSING:
    case FIRN_E_FORMAT_VERSION:
    case FIRN_E_CORRUPT:
    case FIRN_E_ROLLED_BACK:
    case FIRN_E_META:
        return 500;
    case FIRN_E_BASE:
    case FIRN_E_END:
        break;
    }
    return 500;
}

unsigned api_http_status(int err)
{
    unsigned e = (unsigned)(err < 0 ? -err : err);

    if (e > FIRN_E_BASE && e < FIRN_E_END)
        return status_of_own((enum firn_err)e);
    return e == ETIMEDOUT ? 504 : 500;
}

void reply_err(struct api *a, struct reply *out, int err)
{
    struct tier_info info;

    node_pool_info(a->node, &info);
    if (err == -ETIMEDOUT)
        reply_error(out, api_http_status(err), "timeout", "the server did not answer in time; it may still do it");
    else if (err == -FIRN_E_META && info.read_only)
        reply_detail(out, api_http_status(err), err_code(err), "%s", info.read_only_why);
    else if (err == -FIRN_E_READ_ONLY && !node_has_pool(a->node))
        reply_detail(out, api_http_status(err), err_code(err), "the server runs from memory (--ram): it has the one volume ram");
    else
        reply_error(out, api_http_status(err), err_code(err), err_text(err));
}

/* About the volume of that name. */
void reply_volume_err(struct api *a, struct reply *out, int err, const char *name)
{
    if (err == -FIRN_E_NOT_FOUND)
        reply_detail(out, 404, "not_found", "there is no volume %s", name);
    else if (err == -FIRN_E_IN_USE)
        reply_detail(out, 409, "in_use", "another change of volume %s is in work", name);
    else
        reply_err(a, out, err);
}

json_t *body_object(const char *body, size_t len, struct reply *out)
{
    char why[256];
    json_t *o = api_json_parse(body, len, why);

    if (!o)
        reply_error(out, 400, "invalid", why);
    return o;
}
