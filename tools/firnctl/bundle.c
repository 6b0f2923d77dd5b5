/* SPDX-License-Identifier: Apache-2.0 */
/* bundle.c: `firnctl bundle FILE`: one JSON document with what support needs. No secret is in it: the API never tells a
 * token, and the configuration names only the file that holds it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/err.h"
#include "tools/firnctl/client.h"
#include "tools/firnctl/commands.h"

static json_t *system_json(void)
{
    struct utsname u;

    if (uname(&u) != 0)
        return json_object();
    return json_pack("{s:s,s:s,s:s}", "kernel", u.release, "build", u.version, "machine", u.machine);
}

static int gather(const struct args *a, json_t *doc)
{
    static const struct { const char *key, *path; } parts[] = {
        {"status", "/v1/status"}, {"config", "/v1/config"}, {"devices", "/v1/devices"},
    };
    json_t *volumes, *part = NULL;
    char *metrics = NULL;

    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        if (client_json(a, "cannot gather the bundle", "GET", parts[i].path, NULL, &part, NULL) != 0)
            return CTL_FAILED;
        json_object_set_new(doc, parts[i].key, part);
    }
    volumes = all_volumes(a);
    if (!volumes || client_text(a, "cannot gather the bundle", "/metrics", &metrics) != 0) {
        json_decref(volumes);
        return CTL_FAILED;
    }
    json_object_set_new(doc, "volumes", volumes);
    json_object_set_new(doc, "metrics", json_string(metrics));
    free(metrics);
    return 0;
}

static int write_all(int fd, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t n = write(fd, text, left);

        if (n < 0 && errno != EINTR)
            return -errno;
        n = n > 0 ? n : 0;
        text += n;
        left -= (size_t)n;
    }
    return 0;
}

/* A new file with all of doc, or none. */
static int write_new(const char *file, const json_t *doc)
{
    char *text = json_dumps(doc, JSON_INDENT(1));
    int fd = text ? open(file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600) : -1, err = text ? 0 : -ENOMEM;

    if (text && fd < 0)
        err = -errno;
    if (fd >= 0) {
        err = write_all(fd, text);
        if (close(fd) != 0 && !err)
            err = -errno;
        if (err)
            unlink(file);
    }
    free(text);
    return err;
}

int cmd_bundle(const struct args *a)
{
    const char *file = a->pos[0];
    json_t *doc = json_pack("{s:s,s:o}", "firnctl", FIRN_VERSION, "system", system_json());
    int err = 0, unwritten;

    if (!*file) {
        fprintf(stderr, "firnctl: bundle: FILE is empty; name a new file\n");
        json_decref(doc);
        return CTL_USAGE;
    }
    err = gather(a, doc);
    if (!err) {
        unwritten = write_new(file, doc);
        if (unwritten) {
            fprintf(stderr, "firnctl: %s cannot be written (%s); name a new file in a place with room\n", file, err_text(unwritten));
            err = CTL_FAILED;
        } else if (!arg(a, quiet) && !arg(a, json)) {
            printf("wrote %s\n", file);
        }
    }
    json_decref(doc);
    doc = json_pack("{s:s}", "file", file); /* NULL: no text that JSON could carry */
    if (!err && doc)
        print_json(a, doc);
    json_decref(doc);
    return err;
}
