/* SPDX-License-Identifier: Apache-2.0 */
/* volume.c: `firnctl volume ...` and `firnctl host ...`. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/sizefmt.h"
#include "tools/firnctl/client.h"
#include "tools/firnctl/commands.h"
#include "tools/firnctl/policy.h"

#define PATH_CAP 1024

static int usage(const char *what, const char *value, const char *allowed)
{
    fprintf(stderr, "firnctl: %s: \"%s\" is not valid; allowed: %s\n", what, value, allowed);
    return CTL_USAGE;
}

/* Names are checked here too: a bad one is a mistake of the command line, not of the server. */
static int volume_path(const char *name, const char *rest, char out[static PATH_CAP])
{
    if (!name_valid(name))
        return usage("NAME", name, "a-z, 0-9, '.' and '-', beginning with a letter or digit, at most 63 characters");
    snprintf(out, PATH_CAP, "/v1/volumes/%s%s", name, rest);
    return 0;
}

/* "1.2MiB" is a size, of 1258291 bytes and a fifth. */
static int usage_size(const char *what, const char *value, int err, const char *allowed)
{
    if (err != -EDOM)
        return usage(what, value, allowed);
    fprintf(stderr, "firnctl: %s: \"%s\" is not a whole number of bytes; allowed: %s\n", what, value, allowed);
    return CTL_USAGE;
}

static int put_rate(json_t *body, const char *key, const char *text)
{
    uint64_t v;
    int err = size_parse(text, &v);

    if (err || v > INT64_MAX)
        return usage_size(key, text, err, "a size such as 200MiB (KiB MiB GiB TiB), at least 1MiB; 0: no cap");
    if (v != 0 && v < MIB) { /* most likely a unit was forgotten */
        fprintf(stderr, "firnctl: %s: \"%s\" is %" PRIu64 " bytes a second; allowed: at least 1MiB, such as 200MiB; 0: no cap\n", key,
                text, v);
        return CTL_USAGE;
    }
    json_object_set_new(body, key, json_integer((json_int_t)v));
    return 0;
}

static int put_size(json_t *body, const char *text)
{
    uint64_t v;
    int err = size_parse(text, &v);

    if (err || v < MIB || v > VOLUME_BYTES_MAX)
        return usage_size("size", text, err, "1MiB to 256TiB, such as 10GiB (KiB MiB GiB TiB)");
    json_object_set_new(body, "size", json_integer((json_int_t)v));
    return 0;
}

static int put_lba(json_t *body, const char *text)
{
    if (strcmp(text, "4096") != 0 && strcmp(text, "512") != 0)
        return usage("lba", text, "4096, 512");
    json_object_set_new(body, "lba", json_integer(text[0] == '4' ? 4096 : 512));
    return 0;
}

static int put_number(json_t *body, const char *key, const char *text)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end || v > INT64_MAX)
        return usage(key, text, "a whole number; 0: no cap");
    json_object_set_new(body, key, json_integer((json_int_t)v));
    return 0;
}

static int put_field(json_t *body, const char *key, const char *text)
{
    const char *allowed;

    if (strcmp(key, "size") == 0)
        return put_size(body, text);
    if (strcmp(key, "bandwidth") == 0)
        return put_rate(body, key, text);
    if (strcmp(key, "lba") == 0)
        return put_lba(body, text);
    if (strcmp(key, "iops") == 0)
        return put_number(body, key, text);
    if (strcmp(key, "tier") == 0) {
        if (strcmp(text, "auto") != 0 && strcmp(text, "ssd") != 0 && strcmp(text, "hdd") != 0)
            return usage(key, text, "auto, ssd, hdd");
        json_object_set_new(body, key, json_string(text));
        return 0;
    }
    allowed = policy_put(body, key, text);
    if (allowed == NULL)
        return 0;
    return allowed[0] ? usage(key, text, allowed) : usage("key", key, "tier, iops, bandwidth, " POLICY_KEYS);
}

static const char *size_of(const json_t *o, const char *key, char buf[static 32])
{
    return size_format((uint64_t)json_num(o, key), buf);
}

static void reads_show(const json_t *blocks)
{
    double hit = (double)json_num(blocks, "hit"), all = hit + (double)json_num(blocks, "miss");

    if (all > 0)
        printf("%-13s %.1f %% of blocks from the SSD or RAM, %.1f %% from capacity devices\n", "reads", 100 * hit / all,
               100 - 100 * hit / all);
}

static void show_volume(const json_t *v)
{
    const json_t *used = json_object_get(v, "used"), *hosts = json_object_get(v, "hosts");
    char b1[32], b2[32], b3[32];
    size_t i;
    json_t *h;

    printf("%-13s %s\n%-13s %s\n%-13s %s\n%-13s %s\n", "name", json_text(v, "name"), "nqn", json_text(v, "nqn"), "uuid",
           json_text(v, "uuid"), "serial", json_text(v, "serial"));
    printf("%-13s %s (%" PRId64 " bytes), blocks of %" PRId64 "\n", "size", size_of(v, "size", b1), json_num(v, "size"),
           json_num(v, "lba"));
    printf("%-13s %s on SSD, %s on HDD; %s not yet destaged", "used", size_of(used, "ssd", b1), size_of(used, "hdd", b2),
           size_of(v, "dirty", b3));
    if (json_num(used, "flash") > 0)
        printf(", %s on flash", size_of(used, "flash", b1));
    printf(", %s copies\n", size_of(used, "copies", b1));
    reads_show(json_object_get(v, "read_blocks"));
    printf("%-13s %s\n", "tier", json_text(v, "tier"));
    policy_show(v);
    if (json_num(v, "iops"))
        printf("%-13s %" PRId64 " a second\n", "iops cap", json_num(v, "iops"));
    if (json_num(v, "bandwidth"))
        printf("%-13s %s a second\n", "bandwidth cap", size_of(v, "bandwidth", b1));
    printf("%-13s %" PRId64 "\n", "connected", json_num(v, "controllers"));
    if (json_array_size(hosts) == 0)
        printf("%-13s none may connect; `firnctl host allow` lets one in\n", "hosts");
    json_array_foreach(hosts, i, h)
        printf("%-13s %s\n", i ? "" : "hosts", strcmp(client_string(h), "*") ? client_string(h) : "* (any)");
    if (json_is_true(json_object_get(v, "read_only")))
        printf("%-13s yes: its metadata failed a check\n", "read-only");
}

/* A size that was rounded up is said in bytes: in short it may look like the one asked for. */
static void print_made(const json_t *v, const json_t *asked, bool created)
{
    char buf[32];

    printf("%s %s, %s", created ? "created" : "exists", json_text(v, "name"), size_of(v, "size", buf));
    if (json_num(v, "size") != json_num(asked, "size"))
        printf(": %" PRId64 " bytes, rounded up to whole MiB", json_num(v, "size"));
    printf("\nnqn %s\n", json_text(v, "nqn"));
}

int cmd_volume_create(const struct args *a)
{
    static const enum ctl_option fields[] = {CTL_size,      CTL_lba,       CTL_tier,  CTL_iops,         CTL_bandwidth,
                                             CTL_cache_min, CTL_cache_max, CTL_admit, CTL_stream_cutoff};
    char path[PATH_CAP], what[128];
    json_t *body = json_object(), *v = NULL;
    long status = 0;
    int err = volume_path(a->pos[0], "", path);

    if (!err && !arg(a, size)) {
        fprintf(stderr, "firnctl: volume create: no size; say one, such as --size 10GiB\n");
        err = CTL_USAGE;
    }
    json_object_set_new(body, "name", json_string(a->pos[0]));
    for (unsigned i = 0; !err && i < ARRAY_LEN(fields); i++)
        if (a->opt[fields[i]])
            err = put_field(body, args_name(fields[i]), a->opt[fields[i]]);
    if (err) {
        json_decref(body);
        return err;
    }
    snprintf(what, sizeof(what), "cannot create volume %s", a->pos[0]);
    json_incref(body); /* the request takes one */
    err = client_json(a, what, "POST", "/v1/volumes", body, &v, &status);
    if (!err && !print_json(a, v) && !arg(a, quiet))
        print_made(v, body, status == 201);
    json_decref(body);
    json_decref(v);
    return err;
}

json_t *all_volumes(const struct args *a)
{
    json_t *all = json_array(), *page = NULL;
    char path[PATH_CAP], after[NAME_MAX_CHARS + 1] = "";

    do {
        snprintf(path, sizeof(path), "/v1/volumes?limit=1000&after=%s", after);
        json_decref(page);
        page = NULL;
        if (client_json(a, "cannot list volumes", "GET", path, NULL, &page, NULL) != 0) {
            json_decref(all);
            return NULL;
        }
        json_array_extend(all, json_object_get(page, "volumes"));
        snprintf(after, sizeof(after), "%.63s", json_text(page, "next"));
    } while (after[0]);
    json_decref(page);
    return all;
}

int cmd_volume_list(const struct args *a)
{
    json_t *all = all_volumes(a), *v;
    size_t i;

    if (!all)
        return CTL_FAILED;
    if (arg(a, json)) {
        json_t *doc = json_pack("{s:O}", "volumes", all);

        print_json(a, doc);
        json_decref(doc);
    } else {
        if (!arg(a, quiet))
            printf("%-32s %12s %12s %12s %12s %9s %s\n", "NAME", "SIZE", "ON SSD", "ON FLASH", "ON HDD", "CONNECTED", "STATE");
        json_array_foreach(all, i, v)
        {
            const json_t *used = json_object_get(v, "used");
            char b1[32], b2[32], b3[32], b4[32];

            printf("%-32s %12s %12s %12s %12s %9" PRId64 " %s\n", json_text(v, "name"), size_of(v, "size", b1), size_of(used, "ssd", b2),
                   size_of(used, "flash", b3), size_of(used, "hdd", b4), json_num(v, "controllers"),
                   json_is_true(json_object_get(v, "read_only")) ? "read-only" : "ok");
        }
        if (json_array_size(all) == 0 && !arg(a, quiet))
            fputs("firnctl: there are no volumes yet; `firnctl volume create NAME --size SIZE` makes one\n", stderr);
    }
    json_decref(all);
    return CTL_DONE;
}

/* One request about one volume, its answer shown. */
static int on_volume(const struct args *a, const char *verb, const char *method, const char *rest, json_t *body, bool show)
{
    char path[PATH_CAP], what[160];
    json_t *v = NULL;
    int err = volume_path(a->pos[0], rest, path);

    if (err) {
        json_decref(body);
        return err;
    }
    snprintf(what, sizeof(what), "cannot %s volume %s", verb, a->pos[0]);
    err = client_json(a, what, method, path, body, &v, NULL);
    if (!err && !print_json(a, v) && show && !arg(a, quiet))
        show_volume(v);
    json_decref(v);
    return err;
}

int cmd_volume_show(const struct args *a)
{
    return on_volume(a, "show", "GET", "", NULL, true);
}

int cmd_volume_resize(const struct args *a)
{
    json_t *body = json_object();
    int err;

    if (!arg(a, size)) {
        json_decref(body);
        fprintf(stderr, "firnctl: volume resize: no size; say the new one, such as --size 20GiB\n");
        return CTL_USAGE;
    }
    err = put_size(body, arg(a, size));
    if (err) {
        json_decref(body);
        return err;
    }
    return on_volume(a, "resize", "PATCH", "", body, true);
}

int cmd_volume_set(const struct args *a)
{
    json_t *body = json_object();
    int err = 0;

    for (unsigned i = 1; !err && i < a->npos; i++) {
        const char *eq = strchr(a->pos[i], '=');
        char key[32];

        if (!eq || eq - a->pos[i] >= (long)sizeof(key)) {
            err = usage("set", a->pos[i], "key=value with tier, iops, bandwidth, " POLICY_KEYS);
            break;
        }
        snprintf(key, sizeof(key), "%.*s", (int)(eq - a->pos[i]), a->pos[i]);
        if (strcmp(key, "size") == 0 || strcmp(key, "lba") == 0)
            err = usage("set", key, "tier, iops, bandwidth, " POLICY_KEYS "; `firnctl volume resize` changes the size");
        else if (json_object_get(body, key))
            err = usage("set", a->pos[i], "each key once");
        else
            err = put_field(body, key, eq + 1);
    }
    if (err) {
        json_decref(body);
        return err;
    }
    json_incref(body); /* the request takes one */
    err = on_volume(a, "change", "PATCH", "", body, true);
    json_decref(body);
    return err;
}

int cmd_volume_delete(const struct args *a)
{
    char path[PATH_CAP], what[160];
    int err = volume_path(a->pos[0], arg(a, force) ? "?force=true" : "", path);

    if (err)
        return err;
    snprintf(what, sizeof(what), "cannot delete volume %s", a->pos[0]);
    err = client_json(a, what, "DELETE", path, NULL, NULL, NULL);
    if (!err && arg(a, json))
        printf("{}\n");
    else if (!err && !arg(a, quiet))
        printf("deleted %s\n", a->pos[0]);
    return err;
}

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

static bool host_valid(const char *nqn)
{
    return strcmp(nqn, "*") == 0 || nqn_valid(nqn);
}

static int on_host(const struct args *a, const char *verb, const char *method)
{
    char rest[NQN_MAX_BYTES * 3 + 16] = "/hosts/", path[PATH_CAP], what[400];
    json_t *doc = NULL;
    int err;

    client_escape(a->pos[1], rest + 7, sizeof(rest) - 7);
    err = volume_path(a->pos[0], rest, path);
    if (err)
        return err;
    if (!host_valid(a->pos[1]))
        return usage("HOSTNQN", a->pos[1],
                     "nqn.... (see /etc/nvme/hostnqn on the host; no blanks, quotes, '/' or '\\'), or '*' for any");
    snprintf(what, sizeof(what), "cannot %s %.223s on volume %s", verb, a->pos[1], a->pos[0]);
    err = client_json(a, what, method, path, NULL, &doc, NULL);
    if (!err)
        print_json(a, doc);
    json_decref(doc);
    return err;
}

int cmd_host_allow(const struct args *a) { return on_host(a, "allow", "PUT"); }

/* The API takes away what is not there without a word; a person has probably mistyped it. */
int cmd_host_deny(const struct args *a)
{
    char path[PATH_CAP], what[400];
    json_t *doc = NULL, *h;
    bool found = false;
    size_t i;
    int err = volume_path(a->pos[0], "/hosts", path);

    if (err)
        return err;
    snprintf(what, sizeof(what), "cannot deny %.223s on volume %s", a->pos[1], a->pos[0]);
    err = client_json(a, what, "GET", path, NULL, &doc, NULL);
    json_array_foreach(json_object_get(doc, "hosts"), i, h)
        found |= strcmp(client_string(h), a->pos[1]) == 0;
    json_decref(doc);
    if (!err && !found && host_valid(a->pos[1])) {
        fprintf(stderr, "firnctl: %s: it is not on the list; `firnctl host list %s` shows who is\n", what, a->pos[0]);
        return CTL_FAILED;
    }
    return err ? err : on_host(a, "deny", "DELETE");
}

int cmd_host_list(const struct args *a)
{
    char path[PATH_CAP], what[160];
    json_t *doc = NULL, *h;
    size_t i;
    int err = volume_path(a->pos[0], "/hosts", path);

    if (err)
        return err;
    snprintf(what, sizeof(what), "cannot list the hosts of volume %s", a->pos[0]);
    err = client_json(a, what, "GET", path, NULL, &doc, NULL);
    if (!err && !print_json(a, doc)) {
        json_array_foreach(json_object_get(doc, "hosts"), i, h)
            printf("%s\n", client_string(h));
        if (json_array_size(json_object_get(doc, "hosts")) == 0 && !arg(a, quiet)) /* not among the names that a script reads */
            fprintf(stderr, "firnctl: no host may connect to volume %s; `firnctl host allow %s HOSTNQN` lets one in\n", a->pos[0],
                    a->pos[0]);
    }
    json_decref(doc);
    return err;
}
