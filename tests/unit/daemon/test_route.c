/* SPDX-License-Identifier: Apache-2.0 */
/* The router against well-formed requests, traversal forms and odd names; the token compare; bodies. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/api_json.h"
#include "daemon/route.h"

static struct route r;
static struct route_error e;

Test(route, every_resource_is_found)
{
    static const struct { const char *method, *uri; enum route_id id; } good[] = {
        {"GET", "/", ROUTE_PAGE}, {"HEAD", "/healthz", ROUTE_HEALTHZ}, {"GET", "/metrics", ROUTE_METRICS},
        {"GET", "/v1/volumes", ROUTE_VOLUMES}, {"POST", "/v1/volumes", ROUTE_VOLUMES},
        {"GET", "/v1/volumes/a", ROUTE_VOLUME}, {"PATCH", "/v1/volumes/a.b-c", ROUTE_VOLUME},
        {"DELETE", "/v1/volumes/a?force=true", ROUTE_VOLUME}, {"GET", "/v1/volumes/a/hosts", ROUTE_HOSTS},
        {"PUT", "/v1/volumes/a/hosts/nqn.2014-08.org.nvmexpress:uuid:x", ROUTE_HOST},
        {"PUT", "/v1/volumes/a/hosts/*", ROUTE_HOST}, {"DELETE", "/v1/volumes/a/hosts/%2a", ROUTE_HOST},
        {"GET", "/v1/pool", ROUTE_POOL}, {"GET", "/v1/devices", ROUTE_DEVICES}, {"GET", "/v1/status?", ROUTE_STATUS},
    };

    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        cr_assert_eq(route_parse(good[i].method, good[i].uri, &r, &e), 0, "%s %s", good[i].method, good[i].uri);
        cr_assert_eq(r.id, good[i].id, "%s", good[i].uri);
    }
}

/* What is asked to see whether the server lives must not stand behind what hangs. */
Test(route, probes_and_figures_wait_for_nobody_and_questions_not_for_changes)
{
    static const struct { const char *method, *uri; enum route_wait wait; } rows[] = {
        {"GET", "/healthz", ROUTE_AT_ONCE}, {"HEAD", "/readyz", ROUTE_AT_ONCE}, {"GET", "/v1/status", ROUTE_AT_ONCE},
        {"GET", "/v1/pool", ROUTE_AT_ONCE}, {"GET", "/v1/devices", ROUTE_AT_ONCE}, {"GET", "/metrics", ROUTE_ASKS},
        {"GET", "/v1/volumes", ROUTE_ASKS}, {"GET", "/v1/volumes/a/hosts", ROUTE_ASKS}, {"PATCH", "/v1/config", ROUTE_ASKS},
        {"POST", "/v1/volumes", ROUTE_CHANGES}, {"PATCH", "/v1/volumes/a", ROUTE_CHANGES}, {"DELETE", "/v1/volumes/a", ROUTE_CHANGES},
        {"PUT", "/v1/volumes/a/hosts/*", ROUTE_CHANGES}, {"DELETE", "/v1/volumes/a/hosts/*", ROUTE_CHANGES},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        cr_assert_eq(route_parse(rows[i].method, rows[i].uri, &r, &e), 0, "%s", rows[i].uri);
        cr_assert_eq(route_wait(&r), rows[i].wait, "%s %s", rows[i].method, rows[i].uri);
    }
}

Test(route, names_are_decoded_once)
{
    cr_assert_eq(route_parse("GET", "/v1/volumes/%61b", &r, &e), 0);
    cr_assert_str_eq(r.volume, "ab");
    cr_assert_neq(route_parse("GET", "/v1/volumes/%2561b", &r, &e), 0);
    cr_assert_eq(e.status, 400);
    cr_assert_eq(route_parse("PUT", "/v1/volumes/a/hosts/nqn.x%3Ay", &r, &e), 0);
    cr_assert_str_eq(r.nqn, "nqn.x:y");
    cr_assert_eq(route_parse("GET", "/v1/volumes?limit=7&after=b%2d1", &r, &e), 0);
    cr_assert_eq(r.limit, 7);
    cr_assert_str_eq(r.after, "b-1");
}

/* Every way to write "..", '/' and '\' that has fooled a server, at every place of a path: none reaches a name. */
Test(route, no_traversal_form_gets_through)
{
    static const char *const dots[] = {"..", ".", "%2e%2e", "%2e.", ".%2e", "%252e%252e", "..%00", "%00", "..;", "....", "%c0%ae%c0%ae",
                                       "%e0%80%ae", "..%c0%af", "%uff0e%uff0e", "..%5c", "..\\", "~", "%7e", "-a", ".a", "A", "a b", "a%20",
                                       "a%0a", "a%0d%0aX:1", "%", "%4", "%zz", ""};
    static const char *const forms[] = {"/v1/volumes/%s", "/v1/volumes/%s/hosts", "/v1/volumes/%s/etc/passwd", "/%s/v1/volumes",
                                        "/v1/%s/volumes", "/v1/volumes/a/%s", "/v1/volumes/a/hosts/%s", "/v1/volumes/a/hosts/%s/x", "/%s"};
    unsigned nr = 0;

    for (unsigned i = 0; i < ARRAY_LEN(forms); i++)
        for (unsigned j = 0; j < ARRAY_LEN(dots); j++, nr++) {
            char uri[256];

            if (forms[i][2] == 's' && dots[j][0] == '\0')
                continue; /* "/" is the status page */
            snprintf(uri, sizeof(uri), "%.*s%s%s", (int)(strchr(forms[i], '%') - forms[i]), forms[i], dots[j],
                     strchr(forms[i], '%') + 2);
            for (unsigned m = 0; m < 2; m++) {
                cr_assert_neq(route_parse(m ? "PUT" : "GET", uri, &r, &e), 0, "%s was taken", uri);
                cr_assert(e.status == 400 || e.status == 404 || e.status == 405, "%s: %u", uri, e.status);
            }
        }
    cr_assert_geq(nr, 200);
}

Test(route, fixed_pieces_take_no_escapes)
{
    cr_assert_neq(route_parse("GET", "/v1/%76olumes", &r, &e), 0);
    cr_assert_neq(route_parse("GET", "//v1/volumes", &r, &e), 0);
    cr_assert_neq(route_parse("GET", "/v1/volumes/", &r, &e), 0);
    cr_assert_neq(route_parse("GET", "v1/volumes", &r, &e), 0);
    cr_assert_neq(route_parse("GET", "", &r, &e), 0);
    cr_assert_neq(route_parse("GET", "http://x/v1/volumes", &r, &e), 0);
    cr_assert_neq(route_parse("OPTIONS", "*", &r, &e), 0);
}

Test(route, heat_is_a_volumes_and_takes_parts)
{
    cr_assert_eq(route_parse("GET", "/v1/volumes/a/heat", &r, &e), 0);
    cr_assert_eq(r.id, ROUTE_HEAT);
    cr_assert_eq(r.parts, HEAT_PARTS_DEFAULT);
    cr_assert_str_eq(r.volume, "a");
    cr_assert_eq(route_parse("GET", "/v1/volumes/a/heat?parts=4096", &r, &e), 0);
    cr_assert_eq(r.parts, 4096);
    cr_assert_neq(route_parse("PUT", "/v1/volumes/a/heat", &r, &e), 0);
    cr_assert_eq(e.status, 405);
    cr_assert(route_needs_token(ROUTE_HEAT));
}

Test(route, wrong_methods_say_which_are_allowed)
{
    cr_assert_neq(route_parse("DELETE", "/v1/volumes", &r, &e), 0);
    cr_assert_eq(e.status, 405);
    cr_assert_eq(e.allow, HTTP_GET | HTTP_POST);
    cr_assert_neq(route_parse("get", "/v1/volumes", &r, &e), 0);
    cr_assert_eq(e.status, 405);
}

Test(route, query_parameters_are_checked)
{
    static const char *const bad[] = {"limit=0", "limit=1001", "limit=-1", "limit=", "limit=99999999999", "limit=1x", "after=../x",
                                      "force=yes", "parts=0", "parts=4097", "parts=", "parts=1e3", "colour=1", "limit",
                                      "%zz=1", "limit=%31%"};
    char uri[128];

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(uri, sizeof(uri), "/v1/volumes?%s", bad[i]);
        cr_assert_neq(route_parse("GET", uri, &r, &e), 0, "%s", bad[i]);
        cr_assert_eq(e.status, 400);
    }
}

Test(route, later_resources_are_not_found)
{
    cr_assert_neq(route_parse("POST", "/v1/volumes/a/snapshots", &r, &e), 0);
    cr_assert_eq(e.status, 404);
    cr_assert_neq(route_parse("POST", "/v1/volumes/a/clone", &r, &e), 0);
    cr_assert_eq(e.status, 404);
}

Test(route, only_probes_and_metrics_are_free_of_the_token)
{
    for (unsigned i = 0; i < ROUTE_NR; i++) {
        bool open = i == ROUTE_HEALTHZ || i == ROUTE_READYZ || i == ROUTE_METRICS;

        cr_assert_eq(route_needs_token((enum route_id)i), !open);
    }
}

Test(token, only_the_exact_token_matches)
{
    cr_assert(token_matches("Bearer secret", "secret"));
    cr_assert(!token_matches(NULL, "secret"));
    cr_assert(!token_matches("", "secret"));
    cr_assert(!token_matches("Bearer ", "secret"));
    cr_assert(!token_matches("Bearer secre", "secret"));
    cr_assert(!token_matches("Bearer secrets", "secret"));
    cr_assert(!token_matches("Bearer secretsecret", "secret"));
    cr_assert(!token_matches("Bearer Secret", "secret"));
    cr_assert(!token_matches("Basic secret", "secret"));
    cr_assert(!token_matches("bearer secret", "secret"));
    cr_assert(!token_matches("Bearer ", ""), "an empty token lets nobody in");
}

static int params(const char *text, unsigned allowed, struct volume_params *p)
{
    char why[256];
    json_t *o = api_json_parse(text, strlen(text), why);
    int rc = o ? api_volume_params(o, allowed, p, why) : -1;

    json_decref(o);
    return rc;
}

Test(json, volume_parameters_are_read)
{
    struct volume_params p = {.lba_bytes = 4096};
    unsigned all = API_NAME | API_SIZE | API_LBA | API_TIER | API_IOPS | API_BANDWIDTH;

    const char *body = "{\"name\":\"a\",\"size\":\"10GiB\",\"lba\":512,\"tier\":\"ssd\","
                       "\"iops\":5,\"bandwidth\":\"1MiB\"}";

    cr_assert_eq(params(body, all, &p), (int)all);
    cr_assert_str_eq(p.name, "a");
    cr_assert_eq(p.size_bytes, 10 * GIB);
    cr_assert_eq(p.lba_bytes, 512);
    cr_assert_eq(p.tier, VOLUME_SSD);
    cr_assert_eq(p.bandwidth, MIB);
    cr_assert_eq(params("{\"size\":1048576}", all, &p), API_SIZE);
}

Test(json, bad_bodies_are_refused)
{
    static const char *const bad[] = {
        "", "x", "[]", "3", "null", "{", "{\"name\":1}", "{\"name\":\"A\"}", "{\"name\":\"a\\u0000b\"}", "{\"name\":\"a\",\"name\":\"b\"}",
        "{\"size\":0}", "{\"size\":-1}", "{\"size\":1.5}", "{\"size\":\"10GB\"}", "{\"size\":99999999999999999999}",
        "{\"size\":\"300TiB\"}", "{\"size\":1048575}",
        "{\"lba\":1024}", "{\"lba\":\"4096\"}", "{\"tier\":\"tape\"}", "{\"tier\":0}", "{\"iops\":-5}", "{\"iops\":\"x\"}",
        "{\"bandwidth\":\"fast\"}", "{\"bandwidth\":200}", "{\"bandwidth\":\"1023KiB\"}",
        "{\"bandwidth\":\"16777215TiB\"}", "{\"colour\":1}", "{\"size\":{\"a\":1}}",
    };
    struct volume_params p;

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_lt(params(bad[i], 63, &p), 0, "%s was taken", bad[i]);
    cr_assert_lt(params("{\"lba\":512}", API_SIZE, &p), 0, "a field outside the mask was taken");
}

Test(json, depth_is_bounded_and_strings_do_not_count)
{
    char deep[256] = "", why[256];

    for (int i = 0; i < 16; i++)
        strcat(deep, "{\"a\":");
    strcat(deep, "1");
    for (int i = 0; i < 16; i++)
        strcat(deep, "}");
    json_t *o = api_json_parse(deep, strlen(deep), why);
    cr_assert_not_null(o);
    json_decref(o);
    char deeper[300];
    snprintf(deeper, sizeof(deeper), "{\"a\":%s}", deep);
    cr_assert_null(api_json_parse(deeper, strlen(deeper), why));
    const char *brackets = "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"}";
    o = api_json_parse(brackets, strlen(brackets), why);
    cr_assert_not_null(o);
    json_decref(o);
}
