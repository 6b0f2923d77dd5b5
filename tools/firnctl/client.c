/* SPDX-License-Identifier: Apache-2.0 */
/* client.c: see client.h. */
#include "tools/firnctl/client.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/strbuf.h"

#define ANSWER_BYTES_MAX (256u << 20) /* metrics of ten thousand busy volumes */
#define TIMEOUT_READ_S   10L /* what a server that lives needs much less than: whoever asks is told soon that it hangs */
#define TIMEOUT_CHANGE_S 60L /* a delete waits for what is under way */

struct answer { struct strbuf b; long status; };

static size_t on_data(char *p, size_t size, size_t n, void *ctx)
{
    struct answer *a = ctx;

    if (a->b.len + size * n > ANSWER_BYTES_MAX)
        return 0;
    strbuf_add_bytes(&a->b, p, size * n);
    return a->b.failed ? 0 : size * n;
}

/* What to do about an error, by the API's code. */
static const char *advice(const char *code, const char *message, long status)
{
    static const struct { const char *code, *text; } rows[] = {
        {"not_found", "`firnctl volume list` shows what is there"},
        {"exists", "choose another name, or change it with volume set or volume resize"},
        {"invalid", "see --help of the command"},
        {"in_use", "disconnect the host (nvme disconnect), or add --force"},
        {"no_space", "delete volumes or trim them"},
        {"no_resources", "see the limits in firn.conf"},
        {"unauthorized", "give --token-file the server's token"},
        {"stopped", "start the server again"},
        {"timeout", "see the server's log and `firnctl status`"},
        {"device_failed", "see `firnctl device list`"},
        {"read_only", "see `firnctl status`"},
        {"busy", "if it lasts, see the server's log and `firnctl status`"},
    };

    if (strcmp(code, "in_use") == 0 && strstr(message, "another change"))
        return "try again in a moment";
    if (strcmp(code, "invalid") == 0 && strstr(message, "volumes only grow"))
        return "to have less, make a smaller volume, copy the files and delete this one";
    if ((strcmp(code, "no_resources") == 0 && strstr(message, "limits.")) || (strcmp(code, "read_only") == 0 && strstr(message, "--ram")))
        return ""; /* the message says it */
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].code, code) == 0)
            return rows[i].text;
    return status == 404 ? "the server may be older than this firnctl" : "see the server's log";
}

/* What stands in a text for people: whoever answers at a URL is not to move the cursor of those who read it, or worse. */
static void defuse_text(json_t *text)
{
    char *s = strdup(json_string_value(text));

    for (char *p = s; p != NULL && *p; p++) {
        bool c1 = (unsigned char)p[0] == 0xc2 && (unsigned char)p[1] >= 0x80 && (unsigned char)p[1] < 0xa0; /* as UTF-8 */

        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (c1)
            p[0] = p[1] = '?';
    }
    if (s != NULL)
        json_string_set(text, s);
    free(s);
}

/* As deep as a parser lets it be. */
static void defuse(json_t *v)
{
    const char *key;
    json_t *at;
    size_t i;

    if (json_is_string(v))
        defuse_text(v);
    json_array_foreach(v, i, at)
        defuse(at);
    json_object_foreach(v, key, at)
    {
        defuse(at);
    }
}

static int say_error(const char *what, const struct answer *ans)
{
    json_t *doc = json_loadb(ans->b.s ? ans->b.s : "", ans->b.len, 0, NULL);
    const json_t *e = doc ? json_object_get(doc, "error") : NULL;
    const char *code = e ? json_text(e, "code") : "", *message = e ? json_text(e, "message") : "";
    const char *then = advice(code, message, ans->status);

    if (e != NULL) {
        defuse(json_object_get(e, "message"));
        message = json_text(e, "message");
    }
    if (message[0])
        fprintf(stderr, "firnctl: %s: %s%s%s\n", what, message, then[0] ? "; " : "", then);
    else
        fprintf(stderr, "firnctl: %s: the server answered %ld; %s\n", what, ans->status, advice("", "", ans->status));
    json_decref(doc);
    return CTL_FAILED;
}

static bool read_token(const char *file, char *out, size_t cap)
{
    FILE *f = fopen(file, "re");
    bool ok = f && fgets(out, (int)cap, f);

    if (f)
        fclose(f);
    if (ok)
        out[strcspn(out, " \t\r\n")] = '\0';
    return ok && out[0];
}

static int add_token(const struct args *a, struct curl_slist **headers)
{
    char token[1024], line[1100];

    if (!arg(a, token_file))
        return 0;
    if (!read_token(arg(a, token_file), token, sizeof(token))) {
        fprintf(stderr, "firnctl: %s: cannot be read or holds no token; give the file that api.token_file names\n", arg(a, token_file));
        return CTL_FAILED;
    }
    snprintf(line, sizeof(line), "Authorization: Bearer %s", token);
    *headers = curl_slist_append(*headers, line);
    explicit_bzero(token, sizeof(token));
    explicit_bzero(line, sizeof(line));
    return 0;
}

static void set_target(const struct args *a, CURL *c, const char *path, char url[static 1024])
{
    if (arg(a, url)) {
        size_t len = strlen(arg(a, url));

        while (len > 0 && arg(a, url)[len - 1] == '/')
            len--;
        snprintf(url, 1024, "%.*s%s", (int)MIN(len, 300u), arg(a, url), path);
    } else {
        snprintf(url, 1024, "http://firnd%s", path);
        curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, arg(a, socket) ? arg(a, socket) : SOCKET_DEFAULT);
    }
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
}

static int socket_error(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err = 0;

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) != 0)
        err = -errno;
    if (fd >= 0)
        close(fd);
    return err ? err : -ECONNREFUSED; /* it came up meanwhile: what curl met is the likelier cause */
}

static int say_unreachable(const struct args *a, const char *what, CURLcode rc, const char *detail)
{
    const char *where = arg(a, url) ? arg(a, url) : arg(a, socket) ? arg(a, socket) : SOCKET_DEFAULT;

    if (!arg(a, url) && rc == CURLE_COULDNT_CONNECT) { /* curl does not say why; the socket itself does */
        int err = socket_error(where);

        if (err == -EACCES || err == -EPERM)
            fprintf(stderr, "firnctl: %s: %s: %s as uid %u: the socket is its owner's; run it as the user that runs firnd, or as root\n",
                    what, where, err_text(err), (unsigned)geteuid());
        else
            fprintf(stderr, "firnctl: %s: %s: %s: is firnd running, and is --socket right?\n", what, where, err_text(err));
        return CTL_FAILED;
    }
    fprintf(stderr, "firnctl: %s: no answer at %s (%s); is firnd running, and is --%s right?\n", what, where,
            detail[0] ? detail : curl_easy_strerror(rc), arg(a, url) ? "url" : "socket");
    return CTL_FAILED;
}

static int request(const struct args *a, const char *what, const char *method, const char *path, json_t *body, struct answer *ans)
{
    CURL *c = curl_easy_init();
    char url[1024], detail[CURL_ERROR_SIZE] = "", *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    int err = add_token(a, &headers);
    long timeout_s = args_timeout_s(a, strcmp(method, "GET") == 0 ? TIMEOUT_READ_S : TIMEOUT_CHANGE_S);
    CURLcode rc = CURLE_OK;

    strbuf_init(&ans->b);
    ans->status = 0;
    if (!err && c) {
        set_target(a, c, path, url);
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_TIMEOUT, timeout_s);
        curl_easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
        curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, ans);
        if (text)
            curl_easy_setopt(c, CURLOPT_POSTFIELDS, text);
        rc = curl_easy_perform(c);
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &ans->status);
    }
    if (!err && (!c || rc != CURLE_OK))
        err = say_unreachable(a, what, rc, detail);
    else if (!err && (ans->status < 200 || ans->status > 299))
        err = say_error(what, ans);
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    free(text);
    json_decref(body);
    return err;
}

int client_json(const struct args *a, const char *what, const char *method, const char *path, json_t *body, json_t **out, long *status)
{
    struct answer ans;
    json_error_t je;
    int err = request(a, what, method, path, body, &ans);

    if (status)
        *status = ans.status;
    if (!err && out) {
        *out = json_loadb(strbuf_str(&ans.b), ans.b.len, 0, &je);
        if (!*out) {
            fprintf(stderr, "firnctl: %s: the answer is not JSON; is that a firnd?\n", what);
            err = CTL_FAILED;
        } else if (!arg(a, json)) { /* JSON has its own way to write them */
            defuse(*out);
        }
    }
    strbuf_fini(&ans.b);
    return err;
}

int client_text(const struct args *a, const char *what, const char *path, char **out)
{
    struct answer ans;
    int err = request(a, what, "GET", path, NULL, &ans);

    *out = err ? NULL : strdup(strbuf_str(&ans.b));
    strbuf_fini(&ans.b);
    return !err && !*out ? CTL_FAILED : err;
}

void client_escape(const char *text, char *out, size_t cap)
{
    size_t n = 0;

    for (; *text && n + 4 < cap; text++) {
        unsigned char ch = (unsigned char)*text;

        if (isalnum(ch) || strchr(".-_:", ch))
            out[n++] = (char)ch;
        else
            n += (size_t)snprintf(out + n, 4, "%%%02X", ch);
    }
    out[n] = '\0';
}

int64_t json_num(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

const char *client_string(const json_t *v)
{
    const char *s = json_string_value(v);

    return s ? s : "";
}

const char *json_text(const json_t *o, const char *key)
{
    return client_string(json_object_get(o, key));
}

bool print_json(const struct args *a, const json_t *doc)
{
    if (!arg(a, json))
        return false;
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    putchar('\n');
    return true;
}
