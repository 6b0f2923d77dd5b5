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

#define COLUMNS_MIN  16u
#define COLUMNS_MAX  192u
#define BANDS_MIN    4u
#define BANDS_MAX    20u
#define AROUND       13u   /* lines above and below the bands */
#define SVG_PARTS    1024u
#define STRIP_JSON   48u   /* whatever the screen */
static_assert(COLUMNS_MAX * BANDS_MAX <= HEAT_PARTS_MAX, "what a screen shows can be asked for");

struct screen { unsigned columns, lines; };

static struct screen screen_size(void)
{
    struct winsize w = {0};

    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0 || w.ws_row == 0)
        return (struct screen){80, 40};
    return (struct screen){w.ws_col, w.ws_row};
}

/* Round numbers of them make round addresses at the lines' beginnings. */
static unsigned picture_columns(unsigned screen)
{
    unsigned n = MAX(screen, HEAT_MARGIN) - HEAT_MARGIN;

    return MIN(MAX(n >= 64 ? ROUND_DOWN(n, 32u) : ROUND_DOWN(n, 16u), COLUMNS_MIN), COLUMNS_MAX);
}

static unsigned picture_bands(unsigned lines, enum heat_look look)
{
    unsigned height = look == HEAT_RICH ? 2 : 3;

    return MIN(MAX((MAX(lines, AROUND) - AROUND) / height, BANDS_MIN), BANDS_MAX);
}

static bool utf8(void)
{
    const char *v = getenv("LC_ALL");

    if (v == NULL || v[0] == '\0')
        v = getenv("LC_CTYPE");
    if (v == NULL || v[0] == '\0')
        v = getenv("LANG");
    return v != NULL && (strcasestr(v, "utf-8") != NULL || strcasestr(v, "utf8") != NULL);
}

/* https://no-color.org: set and not empty. */
static enum heat_look want_look(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    if (!isatty(STDOUT_FILENO) || (no != NULL && no[0] != '\0') || term == NULL || strcmp(term, "dumb") == 0 || strncmp(term, "vt", 2) == 0)
        return HEAT_PLAIN;
    return utf8() ? HEAT_RICH : HEAT_COLOUR;
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
    m->top = 0;
    per_hour = log(2) * 3600 / (double)m->half_life_s;
    for (uint32_t i = 0; i < m->nr; i++) {
        m->part[i] = (struct heat_part){real_at(doc, "read", i) * per_hour, real_at(doc, "write", i) * per_hour,
                                        bytes_at(used, "ssd", i), bytes_at(used, "hdd", i)};
        m->top = MAX(m->top, heat_peak(&m->part[i]));
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
        fprintf(stderr, "firnctl: %s cannot be written (%s); name a file in a place with room\n", file, strerror(errno));
    return failed ? CTL_FAILED : CTL_DONE;
}

static int one(const struct args *a, struct heat_map *m)
{
    struct screen screen = screen_size();
    unsigned columns = picture_columns(screen.columns), parts = columns * picture_bands(screen.lines, want_look());
    json_t *doc = NULL;
    int err = get_heat(a, a->pos[0], arg(a, svg) ? SVG_PARTS : arg(a, json) ? HEAT_PARTS_MAX : parts, &doc);

    if (!err) {
        to_map(doc, m);
        if (arg(a, svg))
            err = write_svg(arg(a, svg), m);
        if (!print_json(a, doc) && !arg(a, svg))
            heat_draw(stdout, m, heat_columns(columns, m->nr), want_look());
    }
    json_decref(doc);
    return err;
}

/* One scale for all, so that the volume that is hot stands out. */
static void draw_all(const json_t *list, struct heat_map *m, unsigned strip, unsigned name, bool quiet)
{
    enum heat_look look = want_look();
    double top = 0;
    json_t *doc;
    size_t i;

    json_array_foreach(list, i, doc)
    {
        to_map(doc, m);
        top = MAX(top, m->top);
    }
    if (!quiet)
        printf("%-*s %10s  %-*.*s  %10s %10s\n", (int)name, "VOLUME", "SIZE", (int)strip, (int)strip,
               strip < 32 ? "HEAT" : "HEAT, FROM ITS BEGIN TO ITS END", "READS/H", "WRITES/H");
    json_array_foreach(list, i, doc)
    {
        to_map(doc, m);
        heat_strip(stdout, m, strip, name, top, look);
    }
    if (!quiet)
        heat_legend(stdout, top, name + 13, look);
}

static int all(const struct args *a, struct heat_map *m)
{
    json_t *volumes = all_volumes(a), *list = json_array(), *v, *doc;
    int err = volumes ? CTL_DONE : CTL_FAILED;
    unsigned name = 6, beside, strip;
    size_t i;

    json_array_foreach(volumes, i, v)
        name = MAX(name, (unsigned)strlen(json_text(v, "name")));
    beside = name + 36; /* size, frame and figures */
    strip = MIN(MAX(screen_size().columns, beside + COLUMNS_MIN) - beside, COLUMNS_MAX);
    json_array_foreach(volumes, i, v)
    {
        doc = NULL;
        err = get_heat(a, json_text(v, "name"), arg(a, json) ? STRIP_JSON : strip, &doc);
        if (err)
            break;
        json_array_append_new(list, doc);
    }
    if (!err && arg(a, json)) {
        json_incref(list);
        doc = json_pack("{s:o}", "volumes", list);
        print_json(a, doc);
        json_decref(doc);
    } else if (!err && json_array_size(volumes) == 0 && !arg(a, quiet)) {
        fputs("firnctl: there are no volumes yet; `firnctl volume create NAME --size SIZE` makes one\n", stderr);
    } else if (!err && json_array_size(volumes) > 0) {
        draw_all(list, m, strip, name, arg(a, quiet) != NULL);
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
