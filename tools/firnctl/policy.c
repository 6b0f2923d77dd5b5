/* SPDX-License-Identifier: Apache-2.0 */
/* policy.c: what of the places for copies a volume is to have, as `firnctl volume create` and `set` take it and `show` tells it. */
#include "tools/firnctl/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/sizefmt.h"
#include "tools/firnctl/client.h"
#include "tools/firnctl/commands.h"

static bool share_ok(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    uint64_t bytes;

    if (text[0] < '0' || text[0] > '9')
        return false;
    if (strcmp(end, "%") == 0)
        return n <= 100;
    return size_parse(text, &bytes) == 0 && bytes <= VOLUME_BYTES_MAX && (bytes == 0 || bytes >= MIB); /* 50: % was forgotten */
}

static bool admit_ok(const char *text)
{
    static const char *const names[] = {"auto", "never", "first", "second", "third"};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(text, names[i]) == 0)
            return true;
    return false;
}

static bool stream_ok(const char *text)
{
    uint64_t bytes;

    if (strcmp(text, "auto") == 0 || strcmp(text, "none") == 0)
        return true;
    return size_parse(text, &bytes) == 0 && bytes >= 64 * KIB && bytes <= TIB;
}

const char *policy_put(json_t *body, const char *key, const char *text)
{
    bool share = strcmp(key, "cache_min") == 0 || strcmp(key, "cache_max") == 0, stream = strcmp(key, "stream_cutoff") == 0;

    if (!share && !stream && strcmp(key, "admit") != 0)
        return POLICY_NOT_ITS_KEY;
    if (share && !share_ok(text))
        return "a part of the places for copies on the SSD such as 10%, or a size from 1MiB such as 2GiB; 0: no limit";
    if (stream && !stream_ok(text))
        return "64KiB to 1TiB such as 1MiB; auto: the pool's; none";
    if (!share && !stream && !admit_ok(text))
        return "auto, never, first, second, third";
    json_object_set_new(body, key, json_string(text));
    return NULL;
}

/* A size, or what stands there in words; "": nothing that is worth a line. */
static const char *words(const json_t *v, const char *key, char buf[static 32])
{
    const json_t *at = json_object_get(v, key);

    if (json_is_string(at))
        return strcmp(json_string_value(at), "auto") == 0 ? "" : json_string_value(at);
    return json_integer_value(at) == 0 ? "" : size_format((uint64_t)json_integer_value(at), buf);
}

void policy_show(const json_t *v)
{
    const char *min, *max, *admit, *stream;
    char b1[32], b2[32];

    min = words(v, "cache_min", b1);
    max = words(v, "cache_max", b2);
    if (min[0] || max[0])
        printf("%-13s %s%s%s%s%s of the places for copies\n", "cache share", min[0] ? "at least " : "", min, min[0] && max[0] ? ", " : "",
               max[0] ? "at most " : "", max);
    admit = words(v, "admit", b1);
    if (admit[0])
        printf("%-13s %s\n", "admit", strcmp(admit, "never") == 0 ? "never: nothing is copied to the SSD" : admit);
    stream = words(v, "stream_cutoff", b2);
    if (stream[0])
        printf("%-13s %s\n", "stream cutoff", stream);
}
