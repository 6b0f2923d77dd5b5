/* SPDX-License-Identifier: Apache-2.0 */
/* heat.c: `firnctl heat [VOLUME]`: asks for as many parts as the picture has room for, and has it drawn. */
#include "tools/firnctl/heat.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/firnctl/client.h"
#include "tools/firnctl/commands.h"

#define COLUMNS_MIN  32u
#define COLUMNS_MAX  128u
#define COLUMNS_ELSE 64u  /* where nobody says how wide it is */
#define MARGIN       12u  /* addresses, left of the picture */
#define ROWS         8u
#define STRIP        48u
#define SVG_PARTS    768u

static unsigned screen_columns(void)
{
    struct winsize w = {0};

    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0)
        return COLUMNS_ELSE;
    return MIN(MAX((unsigned)w.ws_col, COLUMNS_MIN + MARGIN) - MARGIN, COLUMNS_MAX);
}

/* https://no-color.org: set and not empty. */
static bool want_colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && (no == NULL || no[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

static double real_at(const json_t *o, const char *key, size_t i)
{
    double v = json_number_value(json_array_get(json_object_get(o, key), i));

    return v >= 0 && v < 1e18 ? v : 0;
}

static uint64_t bytes_at(const json_t *o, const char *key, size_t i)
{
    json_int_t v = json_integer_value(json_array_get(json_object_get(o, key), i));

    return v > 0 ? (uint64_t)v : 0;
}

/* Heat h that stays as it is comes of h * ln 2 requests a half-life. */
static void to_map(const json_t *doc, struct heat_map *m)
{
    const json_t *used = json_object_get(doc, "used");
    double per_hour;

    snprintf(m->volume, sizeof(m->volume), "%.63s", name_valid(json_text(doc, "volume")) ? json_text(doc, "volume") : "?");
    m->size_bytes = (uint64_t)MAX(json_num(doc, "size"), 0);
    m->part_bytes = (uint64_t)MAX(json_num(doc, "part"), 1);
    m->half_life_s = (uint64_t)MAX(json_num(doc, "half_life_s"), 1);
    m->nr = (uint32_t)MIN(json_array_size(json_object_get(doc, "read")), (size_t)HEAT_PARTS_MAX);
    m->hottest = 0;
    per_hour = log(2) * 3600 / (double)m->half_life_s;
    for (uint32_t i = 0; i < m->nr; i++) {
        m->part[i] = (struct heat_part){real_at(doc, "read", i) * per_hour, real_at(doc, "write", i) * per_hour,
                                        bytes_at(used, "ssd", i), bytes_at(used, "hdd", i)};
        m->hottest = MAX(m->hottest, heat_rate(&m->part[i]));
    }
}

static int get_heat(const struct args *a, const char *volume, unsigned parts, json_t **doc)
{
    char path[NAME_MAX_CHARS + 64], what[NAME_MAX_CHARS + 64];

    snprintf(path, sizeof(path), "/v1/volumes/%.63s/heat?parts=%u", volume, parts);
    snprintf(what, sizeof(what), "cannot get the heat of volume %.63s", volume);
    return client_json(a, what, "GET", path, NULL, doc, NULL);
}

static int write_svg(const char *file, const struct heat_map *m)
{
    FILE *f = fopen(file, "w");
    bool failed = f == NULL;

    if (f != NULL) {
        heat_svg(f, m);
        failed = fflush(f) != 0 || ferror(f);
        failed |= fclose(f) != 0;
    }
    if (failed)
        fprintf(stderr, "firnctl: cannot write %s: %s\n", file, strerror(errno));
    return failed ? CTL_FAILED : CTL_DONE;
}

static int one(const struct args *a, struct heat_map *m)
{
    unsigned columns = screen_columns();
    json_t *doc = NULL;
    int err = get_heat(a, a->pos[0], arg(a, svg) ? SVG_PARTS : arg(a, json) ? HEAT_PARTS_MAX : columns * ROWS, &doc);

    if (!err) {
        to_map(doc, m);
        if (arg(a, svg))
            err = write_svg(arg(a, svg), m);
        if (!print_json(a, doc) && !arg(a, svg))
            heat_draw(stdout, m, columns, want_colour());
    }
    json_decref(doc);
    return err;
}

static int all(const struct args *a, struct heat_map *m)
{
    json_t *volumes = all_volumes(a), *list = json_array(), *v, *doc;
    int err = volumes ? CTL_DONE : CTL_FAILED;
    size_t i;

    if (!err && !arg(a, json) && !arg(a, quiet) && json_array_size(volumes) > 0)
        printf("%-24s %10s  %-*s  %10s %10s\n", "VOLUME", "SIZE", (int)STRIP, "HEAT, FROM ITS BEGIN TO ITS END", "READS/H", "WRITES/H");
    json_array_foreach(volumes, i, v)
    {
        doc = NULL;
        err = get_heat(a, json_text(v, "name"), STRIP, &doc);
        if (err)
            break;
        to_map(doc, m);
        if (!arg(a, json))
            heat_strip(stdout, m, STRIP, want_colour());
        json_array_append_new(list, doc);
    }
    if (!err && arg(a, json)) {
        json_incref(list);
        doc = json_pack("{s:o}", "volumes", list);
        print_json(a, doc);
        json_decref(doc);
    } else if (!err && json_array_size(volumes) == 0 && !arg(a, quiet)) {
        fputs("firnctl: there are no volumes yet; `firnctl volume create NAME --size SIZE` makes one\n", stderr);
    }
    json_decref(list);
    json_decref(volumes);
    return err;
}

int cmd_heat(const struct args *a)
{
    struct heat_map *m;
    int err;

    if (a->npos > 0 && !name_valid(a->pos[0])) {
        fprintf(stderr, "firnctl: VOLUME: \"%s\" is not valid; allowed: a-z, 0-9, '.' and '-', beginning with a letter or digit\n",
                a->pos[0]);
        return CTL_USAGE;
    }
    if (a->npos == 0 && arg(a, svg)) {
        fputs("firnctl: heat: --svg draws one volume; say which, such as firnctl heat NAME --svg heat.svg\n", stderr);
        return CTL_USAGE;
    }
    m = calloc(1, sizeof(*m));
    if (m == NULL) {
        fputs("firnctl: out of memory\n", stderr);
        return CTL_FAILED;
    }
    err = a->npos > 0 ? one(a, m) : all(a, m);
    free(m);
    return err;
}
