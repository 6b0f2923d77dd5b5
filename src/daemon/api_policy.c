/* SPDX-License-Identifier: Apache-2.0 */
/* api_policy.c: see api_policy.h. */
#include "daemon/api_policy.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/sizefmt.h"

static const char *const admit_names[] = {[VOLUME_ADMIT_AUTO] = "auto", [VOLUME_ADMIT_NEVER] = "never", [VOLUME_ADMIT_FIRST] = "first",
                                          [VOLUME_ADMIT_SECOND] = "second", [VOLUME_ADMIT_THIRD] = "third"};

/* NULL: no text, or one with a NUL in it. */
static const char *text_of(const json_t *v)
{
    return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v) ? json_string_value(v) : NULL;
}

static bool get_bytes(const json_t *v, uint64_t *out)
{
    const char *text = text_of(v);

    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *out = (uint64_t)json_integer_value(v);
        return true;
    }
    return text != NULL && size_parse(text, out) == 0;
}

static bool get_percent(const char *text, uint32_t *out)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    *out = (uint32_t)n;
    return text[0] >= '0' && text[0] <= '9' && strcmp(end, "%") == 0 && n <= 100;
}

bool api_get_share(const json_t *v, struct volume_share *out)
{
    const char *text = text_of(v);

    *out = (struct volume_share){0};
    if (text != NULL && strchr(text, '%') != NULL)
        return get_percent(text, &out->pct);
    if (!get_bytes(v, &out->bytes) || out->bytes > VOLUME_BYTES_MAX || (out->bytes != 0 && out->bytes < MIB)) /* 50: of what? */
        return false;
    out->bytes = ROUND_UP(out->bytes, (uint64_t)MIB);
    return true;
}

bool api_get_admit(const json_t *v, enum volume_admit *out)
{
    const char *text = text_of(v);

    for (unsigned i = 0; text != NULL && i < ARRAY_LEN(admit_names); i++)
        if (strcmp(text, admit_names[i]) == 0) {
            *out = (enum volume_admit)i;
            return true;
        }
    return false;
}

bool api_get_stream(const json_t *v, uint64_t *out)
{
    const char *text = text_of(v);

    *out = 0;
    if (text != NULL && strcmp(text, "auto") == 0)
        return true;
    if (text != NULL && strcmp(text, "none") == 0) {
        *out = UINT64_MAX;
        return true;
    }
    if (!get_bytes(v, out) || *out > TIB || *out < 64 * KIB) /* 0 is "none" in firn.conf, and would be "auto" here */
        return false;
    *out = ROUND_UP(*out, (uint64_t)KIB);
    return true;
}

static json_t *share_json(const struct volume_share *sh)
{
    char text[8];

    if (sh->pct == 0)
        return json_integer((json_int_t)sh->bytes);
    snprintf(text, sizeof(text), "%u%%", sh->pct % 101);
    return json_string(text);
}

void api_put_policy(json_t *volume, const struct volume_policy *p)
{
    json_object_set_new(volume, "cache_min", share_json(&p->cache_min));
    json_object_set_new(volume, "cache_max", share_json(&p->cache_max));
    json_object_set_new(volume, "admit", json_string(admit_names[p->admit]));
    json_object_set_new(volume, "stream_cutoff", p->stream_cutoff == 0            ? json_string("auto")
                                                 : p->stream_cutoff == UINT64_MAX ? json_string("none")
                                                                                  : json_integer((json_int_t)p->stream_cutoff));
}

static const char *share_text(const struct volume_share *sh, char buf[static 32])
{
    if (sh->pct == 0)
        return size_format(sh->bytes, buf);
    snprintf(buf, 32, "%u%%", sh->pct % 101);
    return buf;
}

void api_say_min_over_max(const struct volume_policy *p, char what[static 256])
{
    char min[32], max[32];

    snprintf(what, 256, "cache_min: %s is more than cache_max, which is %s; raise that one, too, or set it to 0, which is no limit",
             share_text(&p->cache_min, min), share_text(&p->cache_max, max));
}

void api_say_min_over_room(const struct volume_share *min, const struct tier_cache_room *room, char what[static 256])
{
    uint64_t left = room->bytes - MIN(room->others_min_bytes, room->bytes);
    char is[32], all[32], taken[32], rest[32];

    snprintf(what, 256, "cache_min: %s does not fit: other volumes of its reactor were promised %s of the %s that copies can have there at "
             "most; %s are left, which is %u%%",
             share_text(min, is), size_format(room->others_min_bytes, taken), size_format(room->bytes, all), size_format(left, rest),
             room->bytes < 100 ? 0 : (unsigned)MIN(left / (room->bytes / 100), UINT64_C(100)));
}

bool api_policy_differs(const struct volume_policy *is, const struct volume_policy *wanted, unsigned mask, char what[static 160])
{
    const char *field = NULL;

    if ((mask & VOLUME_F_CACHE_MIN) && (is->cache_min.pct != wanted->cache_min.pct || is->cache_min.bytes != wanted->cache_min.bytes))
        field = "cache_min";
    if ((mask & VOLUME_F_CACHE_MAX) && (is->cache_max.pct != wanted->cache_max.pct || is->cache_max.bytes != wanted->cache_max.bytes))
        field = "cache_max";
    if ((mask & VOLUME_F_ADMIT) && is->admit != wanted->admit)
        field = "admit";
    if ((mask & VOLUME_F_STREAM) && is->stream_cutoff != wanted->stream_cutoff)
        field = "stream_cutoff";
    if (field != NULL)
        snprintf(what, 160, "its %s is another one", field);
    return field != NULL;
}
