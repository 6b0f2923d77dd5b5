/* SPDX-License-Identifier: Apache-2.0 */
/* route.c: from method and URI to a struct route, or to 400, 404 or 405 with words. */
#include "daemon/route.h"

#include <stdio.h>
#include <stdlib.h>

#define PIECES_MAX 8u
#define PIECE_CHARS_MAX 256u /* decoded; an NQN is the longest */

static const struct {
    const char *path;
    unsigned    methods;
    bool        open;
    enum route_wait wait;
} routes[ROUTE_NR] = {
#define X(tag, path, methods, open, wait) {path, methods, open, wait},
    ROUTES(X)
#undef X
};

static const struct { enum http_method m; const char *name; } methods[] = {
    {HTTP_GET, "GET"}, {HTTP_POST, "POST"}, {HTTP_PUT, "PUT"}, {HTTP_PATCH, "PATCH"}, {HTTP_DELETE, "DELETE"},
};

const char *http_method_name(enum http_method m)
{
    for (unsigned i = 0; i < ARRAY_LEN(methods); i++)
        if (methods[i].m == m)
            return methods[i].name;
    return "?";
}

bool route_needs_token(enum route_id id)
{
    assert(id < ROUTE_NR);
    return !routes[id].open;
}

enum route_wait route_wait(const struct route *r)
{
    assert(r->id < ROUTE_NR);
    return r->method == HTTP_GET || r->id == ROUTE_CONFIG ? routes[r->id].wait : ROUTE_CHANGES;
}

static int fail(struct route_error *e, unsigned status, const char *code, const char *message)
{
    *e = (struct route_error){.status = status, .code = code, .message = message};
    return -1;
}

/* Decodes [s, end) once. False: a bad escape, a control character (NUL too), or too long. */
static bool decode(const char *s, const char *end, char out[static PIECE_CHARS_MAX])
{
    size_t n = 0;

    while (s < end) {
        int c = (unsigned char)*s++;

        if (c == '%') {
            int hi = s < end ? hex_digit(s[0]) : -1, lo = s + 1 < end ? hex_digit(s[1]) : -1;

            if (hi < 0 || lo < 0)
                return false;
            c = hi * 16 + lo;
            s += 2;
        }
        if (c < 0x20 || c == 0x7f || n + 1 >= PIECE_CHARS_MAX)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

bool host_entry_valid(const char *text)
{
    return strcmp(text, "*") == 0 || nqn_valid(text);
}

/* Does the raw path fit the pattern? Placeholders take one whole piece, decoded; fixed pieces match as they stand. */
static bool match(const char *pattern, char segs[][PIECE_CHARS_MAX], const bool *raw_plain, unsigned nr,
                  const char **volume, const char **nqn)
{
    const char *p = pattern + 1;
    unsigned i = 0;

    *volume = *nqn = NULL;
    if (*p == '\0')
        return nr == 0;
    for (;; i++) {
        size_t len = strcspn(p, "/");

        if (i == nr)
            return false;
        if (strncmp(p, "{volume}", len) == 0)
            *volume = segs[i];
        else if (strncmp(p, "{nqn}", len) == 0)
            *nqn = segs[i];
        else if (!raw_plain[i] || strlen(segs[i]) != len || strncmp(p, segs[i], len) != 0)
            return false;
        if (p[len] == '\0')
            return i + 1 == nr;
        p += len + 1;
    }
}

static bool get_count(const char *value, unsigned max, unsigned *out)
{
    unsigned long v = strspn(value, "0123456789") == strlen(value) && value[0] && strlen(value) <= 4 ? strtoul(value, NULL, 10) : 0;

    *out = (unsigned)v;
    return v >= 1 && v <= max;
}

static int parse_param(struct route *r, const char *key, const char *value, struct route_error *e)
{
    if (strcmp(key, "limit") == 0)
        return get_count(value, PAGE_LIMIT_MAX, &r->limit) ? 0 : fail(e, 400, "invalid", "limit: allowed are 1 to 1000");
    if (strcmp(key, "parts") == 0)
        return get_count(value, HEAT_PARTS_MAX, &r->parts) ? 0 : fail(e, 400, "invalid", "parts: allowed are 1 to 4096");
    if (strcmp(key, "after") == 0) {
        if (value[0] && !name_valid(value))
            return fail(e, 400, "invalid", "after: not a name");
        snprintf(r->after, sizeof(r->after), "%.63s", value);
        return 0;
    }
    if (strcmp(key, "force") == 0) {
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return fail(e, 400, "invalid", "force: allowed are true and false");
        r->force = value[0] == 't';
        return 0;
    }
    return fail(e, 400, "invalid", "unknown query parameter; there are limit, after, parts and force");
}

static int parse_query(struct route *r, const char *q, struct route_error *e)
{
    char key[PIECE_CHARS_MAX], value[PIECE_CHARS_MAX];

    while (*q) {
        size_t len = strcspn(q, "&");
        const char *end = q + len, *eq = memchr(q, '=', len);

        if (!decode(q, eq ? eq : end, key) || !decode(eq ? eq + 1 : end, end, value))
            return fail(e, 400, "invalid", "the query is not well formed");
        if (parse_param(r, key, value, e) != 0)
            return -1;
        q = *end ? end + 1 : end;
    }
    return 0;
}

static int split_path(const char *uri, size_t len, char segs[][PIECE_CHARS_MAX], bool *plain, unsigned *nr,
                      struct route_error *e)
{
    const char *p = uri + 1, *end = uri + len;

    *nr = 0;
    if (len == 0 || uri[0] != '/')
        return fail(e, 400, "invalid", "the path does not begin with '/'");
    if (p == end)
        return 0;
    for (;;) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;

        if (*nr == PIECES_MAX)
            return fail(e, 404, "not_found", "there is no such resource");
        if (!decode(p, stop, segs[*nr]))
            return fail(e, 400, "invalid", "the path is not well formed");
        plain[*nr] = memchr(p, '%', (size_t)(stop - p)) == NULL;
        (*nr)++;
        if (!slash)
            return 0;
        p = slash + 1;
    }
}

static int take_names(struct route *r, const char *volume, const char *nqn, struct route_error *e)
{
    if (volume) {
        if (!name_valid(volume))
            return fail(e, 400, "invalid", "not a volume name; allowed: a-z, 0-9, '.' and '-', at most 63 characters");
        snprintf(r->volume, sizeof(r->volume), "%.63s", volume);
    }
    if (nqn) {
        if (!host_entry_valid(nqn))
            return fail(e, 400, "invalid", "not a host NQN; allowed: nqn.… of at most 223 characters, or '*'");
        snprintf(r->nqn, sizeof(r->nqn), "%.223s", nqn);
    }
    return 0;
}

int route_parse(const char *method, const char *uri, struct route *out, struct route_error *err)
{
    char segs[PIECES_MAX][PIECE_CHARS_MAX];
    bool plain[PIECES_MAX];
    unsigned nr, m = 0;
    const char *volume, *nqn;
    size_t path_len = strcspn(uri, "?");

    memset(out, 0, sizeof(*out));
    out->limit = PAGE_LIMIT_DEFAULT;
    out->parts = HEAT_PARTS_DEFAULT;
    for (unsigned i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(method, methods[i].name) == 0)
            m = methods[i].m;
    if (strcmp(method, "HEAD") == 0)
        m = HTTP_GET;
    if (split_path(uri, path_len, segs, plain, &nr, err) != 0)
        return -1;
    for (unsigned i = 0; i < ROUTE_NR; i++) {
        if (!match(routes[i].path, segs, plain, nr, &volume, &nqn))
            continue;
        if (!(routes[i].methods & m)) {
            fail(err, 405, "method_not_allowed", "the resource does not take this method");
            err->allow = routes[i].methods;
            return -1;
        }
        out->id = (enum route_id)i;
        out->method = (enum http_method)m;
        if (take_names(out, volume, nqn, err) != 0)
            return -1;
        return parse_query(out, uri[path_len] ? uri + path_len + 1 : "", err);
    }
    return fail(err, 404, "not_found", "there is no such resource");
}

bool token_matches(const char *header, const char *token)
{
    static const char scheme[] = "Bearer ";
    size_t tlen = strlen(token), glen;
    unsigned diff;

    if (!header || tlen == 0 || strncmp(header, scheme, sizeof(scheme) - 1) != 0)
        return false;
    header += sizeof(scheme) - 1;
    glen = strlen(header);
    /* Every byte of what was given is looked at, against the token repeated: length and place of a difference stay unseen. */
    diff = glen != tlen;
    for (size_t i = 0; i < glen; i++)
        diff |= (unsigned char)header[i] ^ (unsigned char)token[i % tlen];
    return diff == 0;
}
