/* SPDX-License-Identifier: Apache-2.0 */
/* bundle.c: `firnctl bundle FILE`: one JSON document with what support needs. No secret is in it: the API never tells a
 * token, and the configuration names only the file that holds it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

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

int cmd_bundle(const struct args *a)
{
    const char *file = a->pos[0];
    json_t *doc = json_pack("{s:s,s:o}", "firnctl", FIRN_VERSION, "system", system_json());
    int err = 0, fd = -1;

    if (!*file) {
        fprintf(stderr, "firnctl: bundle: FILE is empty; name a new file\n");
        json_decref(doc);
        return CTL_USAGE;
    }
    err = gather(a, doc);
    if (!err) {
        fd = open(file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0 || json_dumpfd(doc, fd, JSON_INDENT(1)) != 0 || close(fd) != 0) {
            fprintf(stderr, "firnctl: %s cannot be written (%m); name a new file in a place with room\n", file);
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
