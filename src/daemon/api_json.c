/* SPDX-License-Identifier: Apache-2.0 */
/* api_json.c: see api_json.h. Depth is judged before jansson sees the text, since it builds as deep as it is told. */
#include "daemon/api_json.h"

#include "daemon/api_policy.h"

#include <inttypes.h>
#include <stdio.h>

static bool depth_ok(const char *s, size_t len)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        if (in_string) {
            if (s[i] == '\\')
                i++;
            else if (s[i] == '"')
                in_string = false;
        } else if (s[i] == '"') {
            in_string = true;
        } else if (s[i] == '{' || s[i] == '[') {
            if (++depth > API_JSON_DEPTH_MAX)
                return false;
        } else if ((s[i] == '}' || s[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

json_t *api_json_parse(const char *body, size_t len, char why[static 256])
{
    json_error_t e;
    json_t *obj;

    if (!depth_ok(body, len)) {
        snprintf(why, 256, "the JSON nests deeper than %d", API_JSON_DEPTH_MAX);
        return NULL;
    }
    obj = json_loadb(body, len, JSON_REJECT_DUPLICATES, &e);
    if (!obj)
        snprintf(why, 256, "the body is not JSON: %.160s (line %d)", e.text, e.line);
    else if (!json_is_object(obj)) {
        snprintf(why, 256, "the body is not a JSON object");
        json_decref(obj);
        obj = NULL;
    }
    return obj;
}

static const char *const tier_names[] = {[VOLUME_AUTO] = "auto", [VOLUME_SSD] = "ssd", [VOLUME_HDD] = "hdd"};

const char *volume_tier_name(enum volume_tier t)
{
    return (unsigned)t < ARRAY_LEN(tier_names) ? tier_names[t] : "auto";
}

static bool get_number(const json_t *v, bool size_text, uint64_t *out)
{
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *out = (uint64_t)json_integer_value(v);
        return true;
    }
    return size_text && json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v) &&
           size_parse(json_string_value(v), out) == 0 && *out <= INT64_MAX; /* more is no number of JSON */
}

static bool get_tier(const json_t *v, enum volume_tier *out)
{
    for (unsigned i = 0; json_is_string(v) && i < ARRAY_LEN(tier_names); i++)
        if (strcmp(json_string_value(v), tier_names[i]) == 0) {
            *out = (enum volume_tier)i;
            return true;
        }
    return false;
}

static bool get_name(const json_t *v, char out[static NAME_MAX_CHARS + 1])
{
    const char *s = json_string_value(v);

    if (!s || strlen(s) != json_string_length(v) || !name_valid(s))
        return false;
    snprintf(out, NAME_MAX_CHARS + 1, "%s", s);
    return true;
}

static bool get_size(const json_t *v, uint64_t *out)
{
    return get_number(v, true, out) && *out >= MIB && *out <= VOLUME_BYTES_MAX;
}

static bool get_lba(const json_t *v, uint32_t *out)
{
    uint64_t n;

    if (!get_number(v, false, &n) || (n != 512 && n != 4096))
        return false;
    *out = (uint32_t)n;
    return true;
}

static bool get_bandwidth(const json_t *v, uint64_t *out)
{
    *out = 0;
    return get_number(v, true, out) && (*out == 0 || *out >= API_BANDWIDTH_MIN);
}

#define SHARE_FORM "allowed: a part of the places for copies on the SSD such as \"10%\", or a size of 1 MiB or more, rounded up to whole " \
                   "MiB; 0: no limit"

#define FIELDS(x)                                                                                                 \
    x("name",      API_NAME,      get_name(v, out->name),                                                       \
      "allowed: a-z, 0-9, '.' and '-', beginning with a letter or digit, at most 63 characters")                  \
    x("size",      API_SIZE,      get_size(v, &out->size_bytes), "allowed: 1 MiB to 256 TiB, rounded up to whole MiB, such as \"10GiB\"") \
    x("lba",       API_LBA,       get_lba(v, &out->lba_bytes),   "allowed: 4096 and 512")                         \
    x("tier",      API_TIER,      get_tier(v, &out->tier),       "allowed: auto, ssd, hdd")                       \
    x("iops",      API_IOPS,      get_number(v, false, &out->iops), "allowed: a number a second; 0: no cap")      \
    x("bandwidth", API_BANDWIDTH, get_bandwidth(v, &out->bandwidth), \
      "allowed: a size a second such as \"200MiB\", at least 1 MiB; 0: no cap")                                   \
    x("cache_min", API_CACHE_MIN, api_get_share(v, &out->policy.cache_min), SHARE_FORM)                           \
    x("cache_max", API_CACHE_MAX, api_get_share(v, &out->policy.cache_max), SHARE_FORM)                           \
    x("admit",     API_ADMIT,     api_get_admit(v, &out->policy.admit), "allowed: auto, never, first, second, third") \
    x("stream_cutoff", API_STREAM, api_get_stream(v, &out->policy.stream_cutoff), \
      "allowed: 64 KiB to 1 TiB such as \"1MiB\"; \"auto\": the pool's; \"none\"")

/* A bandwidth that was understood and is too small is shown as it was understood. */
static void say_invalid(const char *key, unsigned field, const struct volume_params *p, const char *form, char why[static 256])
{
    if (field == API_BANDWIDTH && p->bandwidth > 0 && p->bandwidth < API_BANDWIDTH_MIN)
        snprintf(why, 256, "%s: %" PRIu64 " bytes a second are too little; %s", key, p->bandwidth, form);
    else
        snprintf(why, 256, "%s: not a valid value; %s", key, form);
}

int api_volume_params(json_t *obj, unsigned allowed, struct volume_params *out, char why[static 256])
{
    unsigned seen = 0;
    const char *key;
    json_t *v;

    json_object_foreach(obj, key, v)
    {
        unsigned field = 0;
        bool ok = false;
        const char *form = "";

#define X(text, bit, get, allowed_text) \
        if (strcmp(key, text) == 0) {   \
            field = bit;                \
            ok = get;                   \
            form = allowed_text;        \
        }
        FIELDS(X)
#undef X
        if (!(field & allowed)) {
            snprintf(why, 256, "%.60s: %s", key, field ? "cannot be changed" : "unknown field");
            return -FIRN_E_INVALID;
        }
        if (!ok) {
            say_invalid(key, field, out, form, why);
            return -FIRN_E_INVALID;
        }
        seen |= field;
    }
    return (int)seen;
}
