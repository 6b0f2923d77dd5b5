/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_api.c: a request line, a token and a body from any bytes: METHOD, URI and header are the first three lines, the rest
 * is the body. What the router accepts names only valid names; what the body gives stays inside its limits.
 */
#include "daemon/api_json.h"
#include "daemon/route.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
    if (!ok)
        abort();
}

/* The next line as a string of its own; the caller frees it. */
static char *line(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *nl = memchr(*at, '\n', (size_t)(end - *at));
    size_t len = (size_t)((nl ? nl : end) - *at);
    char *s = malloc(len + 1);

    expect(s != NULL);
    memcpy(s, *at, len);
    s[len] = '\0';
    *at = nl ? nl + 1 : end;
    return s;
}

static void try_route(const char *method, const char *uri)
{
    struct route_error e = {0};
    struct route r;

    if (route_parse(method, uri, &r, &e) != 0) {
        expect(e.status >= 400 && e.status < 500 && e.code && e.message);
        return;
    }
    expect(r.id < ROUTE_NR && r.limit >= 1 && r.limit <= PAGE_LIMIT_MAX);
    expect(r.volume[0] == '\0' || name_valid(r.volume));
    expect(r.after[0] == '\0' || name_valid(r.after));
    expect(r.nqn[0] == '\0' || host_entry_valid(r.nqn));
    expect(strstr(r.volume, "..") == NULL || r.volume[0] != '.');
    expect(!strchr(r.volume, '/') && !strchr(r.nqn, '/'));
}

static void try_body(const char *body, size_t len)
{
    struct volume_params p = {0};
    char why[256] = "";
    json_t *o = api_json_parse(body, len, why);
    int seen;

    if (!o) {
        expect(why[0] != '\0');
        return;
    }
    seen = api_volume_params(o, 63, &p, why);
    expect(seen >= 0 || why[0] != '\0');
    if (seen > 0 && (seen & API_NAME))
        expect(name_valid(p.name));
    if (seen > 0 && (seen & API_SIZE))
        expect(p.size_bytes > 0 && p.size_bytes <= VOLUME_BYTES_MAX);
    if (seen > 0 && (seen & API_LBA))
        expect(p.lba_bytes == 512 || p.lba_bytes == 4096);
    json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *at = data, *end = data + size;
    char *method, *uri, *header;

    if (size > API_BODY_BYTES_MAX)
        return 0;
    method = line(&at, end);
    uri = line(&at, end);
    header = line(&at, end);
    try_route(method, uri);
    expect(!token_matches(header, "a token that no input can hold\n"));
    token_matches(header, "t");
    try_body((const char *)at, (size_t)(end - at));
    free(method);
    free(uri);
    free(header);
    return 0;
}
