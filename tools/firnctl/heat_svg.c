/* SPDX-License-Identifier: Apache-2.0 */
/* heat_svg.c: the same picture for a page: a square a part, its reads above, its writes below, a bar at its foot what of it is on the
 * SSD; the hottest are numbered, and told below. What the pointer is on is told in words. An outline alone: never written.
 */
#include <math.h>

#include "tools/firnctl/heat.h"

#define WIDTH   896 /* of the squares */
#define LEFT    88
#define TOP     84
#define SCALE   260 /* width of a scale in the legend */
#define SSD     "#3ddc84"

struct rgb { double r, g, b; };
#define STOPS 6u
static const struct rgb fire[STOPS] = {{30, 32, 42}, {92, 18, 32}, {178, 36, 34}, {240, 96, 30}, {255, 178, 48}, {255, 246, 206}};
static const struct rgb ice[STOPS] = {{30, 32, 42}, {22, 42, 104}, {28, 86, 172}, {44, 152, 222}, {126, 216, 246}, {238, 252, 255}};

struct grid { int columns, cell, below; }; /* cell: a square and the gap after it; below: where the squares end */

static struct grid grid_of(const struct heat_map *m)
{
    struct grid g = {.columns = m->nr > 512 ? 64 : m->nr > 128 ? 32 : 16};

    g.cell = WIDTH / g.columns;
    g.below = TOP + (int)((m->nr + (uint32_t)g.columns - 1) / (uint32_t)g.columns) * g.cell;
    return g;
}

/* Between stops. */
static const char *colour(const struct rgb stop[static STOPS], double height, char buf[static 8])
{
    unsigned i = MIN((unsigned)(height * (STOPS - 1)), STOPS - 2);
    double t = height * (STOPS - 1) - i;

    snprintf(buf, 8, "#%02x%02x%02x", (uint8_t)(stop[i].r + t * (stop[i + 1].r - stop[i].r)),
             (uint8_t)(stop[i].g + t * (stop[i + 1].g - stop[i].g)), (uint8_t)(stop[i].b + t * (stop[i + 1].b - stop[i].b)));
    return buf;
}

static void put_rect(FILE *f, double x, double y, double w, double h, const char *fill)
{
    fprintf(f, "<rect x=\"%.4g\" y=\"%.4g\" width=\"%.4g\" height=\"%.4g\" fill=\"%s\"/>", x, y, w, h, fill);
}

static void put_part(FILE *f, const struct heat_map *m, const struct grid *g, uint32_t i)
{
    const struct heat_part *p = &m->part[i];
    int x = LEFT + (int)i % g->columns * g->cell, y = TOP + (int)i / g->columns * g->cell, side = g->cell - 1, foot = MAX(side / 6, 2);
    double half = (side - foot) / 2.0, share = p->ssd == 0 ? 0 : (double)p->ssd / (double)MAX(p->hdd, p->ssd);
    char range[72], b1[32], b2[32], c[8];

    fprintf(f, "<g><title>%s: %.0f reads and %.0f writes an hour; %s on SSD, %s on HDD</title>", heat_range(m, i, range), p->reads,
            p->writes, size_format(p->ssd, b1), size_format(p->hdd, b2));
    if (heat_where(p) == HEAT_EMPTY && heat_rate(p) <= 0) {
        fprintf(f, "<rect x=\"%d.5\" y=\"%d.5\" width=\"%d\" height=\"%d\" fill=\"#12141a\" stroke=\"#1f222b\"/></g>\n", x, y,
                side - 1, side - 1);
        return;
    }
    put_rect(f, x, y, side, half, colour(fire, heat_height(p->reads, m->top), c));
    put_rect(f, x, y + half, side, half, colour(ice, heat_height(p->writes, m->top), c));
    put_rect(f, x, y + side - foot, side, foot, "#3a3e4a");
    if (share > 0)
        put_rect(f, x, y + side - foot, MAX(side * share, 1.0), foot, SSD);
    fputs("</g>\n", f);
}

/* Addresses: of lines, and how far in them. */
static void put_rulers(FILE *f, const struct heat_map *m, const struct grid *g)
{
    char b[32];

    fputs("<g fill=\"#8b90a0\" font-size=\"11\">\n", f);
    for (uint32_t i = 0; i < m->nr; i += (uint32_t)g->columns)
        fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", LEFT - 8,
                TOP + (int)i / g->columns * g->cell + g->cell / 2 + 4, heat_offset(i * m->part_bytes, m->part_bytes, b));
    for (int k = 1; k < 4; k++) {
        uint32_t x = (uint32_t)(k * g->columns / 4);

        if (x < m->nr)
            fprintf(f, "<text x=\"%d\" y=\"%d\">+%s</text>\n", LEFT + (int)x * g->cell, TOP - 7,
                    heat_offset(x * m->part_bytes, m->part_bytes, b));
    }
    fputs("</g>\n", f);
}

static void put_ranks(FILE *f, const struct grid *g, const uint32_t *hottest, uint32_t nr)
{
    int size = MIN(MAX(g->cell - 4, 10), 16);

    fprintf(f, "<g font-size=\"%d\" font-weight=\"bold\" text-anchor=\"middle\" fill=\"#fff\" stroke=\"#101218\" stroke-width=\"3\" "
               "paint-order=\"stroke\" pointer-events=\"none\">\n", size);
    for (uint32_t n = 0; n < nr; n++)
        fprintf(f, "<text x=\"%.1f\" y=\"%.1f\">%u</text>\n", LEFT + (int)hottest[n] % g->columns * g->cell + (g->cell - 1) / 2.0,
                TOP + (int)hottest[n] / g->columns * g->cell + (g->cell - 1) / 2.0 + size * 0.35, n + 1);
    fputs("</g>\n", f);
}

/* Powers of ten, where the logarithm puts them. */
static void put_scale(FILE *f, const struct heat_map *m, const struct rgb stop[static STOPS], const char *what, int x, int y)
{
    char c[8];

    fprintf(f, "<text x=\"%d\" y=\"%d\">%s</text>\n", x, y, what);
    for (int i = 0; i < SCALE / 4; i++)
        put_rect(f, x + i * 4, y + 8, 4, 10, colour(stop, i * 4.0 / SCALE, c));
    fprintf(f, "\n<g fill=\"#8b90a0\" font-size=\"11\" text-anchor=\"middle\"><text x=\"%d\" y=\"%d\">0</text>", x, y + 32);
    for (double v = 1; v < m->top; v *= 10) {
        double at = heat_height(v, m->top);

        if (at > 0.06 && at < 0.86)
            fprintf(f, "<text x=\"%.0f\" y=\"%d\">%.0f</text>", x + at * SCALE, y + 32, v);
    }
    if (m->top > 0)
        fprintf(f, "<text x=\"%d\" y=\"%d\">%.*f</text>", x + SCALE, y + 32, m->top < 10 ? 1 : 0, m->top);
    fputs("</g>\n", f);
}

static void put_legend(FILE *f, const struct heat_map *m, int y)
{
    int x = LEFT + 2 * (SCALE + 60);

    put_scale(f, m, fire, "upper half: reads an hour", LEFT, y);
    put_scale(f, m, ice, "lower half: writes an hour", LEFT + SCALE + 60, y);
    put_rect(f, x, y - 9, 26, 4, SSD);
    fprintf(f, "<text x=\"%d\" y=\"%d\">foot: this part is on the SSD,</text>\n", x + 34, y - 2);
    put_rect(f, x, y + 9, 26, 4, "#3a3e4a");
    fprintf(f, "<text x=\"%d\" y=\"%d\">the rest on the HDD alone</text>\n", x + 34, y + 16);
    fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"#12141a\" stroke=\"#2b2f3a\"/>", x + 7, y + 22);
    fprintf(f, "<text x=\"%d\" y=\"%d\">never written</text>\n", x + 34, y + 33);
}

static void put_hottest(FILE *f, const struct heat_map *m, int y, const uint32_t *hottest, uint32_t nr)
{
    static const int right[] = {470, 590, 720, 850};
    static const char *const head[] = {"reads an hour", "writes an hour", "on SSD", "on HDD"};

    fprintf(f, "<text x=\"%d\" y=\"%d\" fill=\"#8b90a0\">%s</text>", LEFT, y,
            nr > 0 ? "the hottest" : "all of it is cold: nobody has read or written it lately");
    for (unsigned c = 0; c < ARRAY_LEN(head) && nr > 0; c++)
        fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" fill=\"#8b90a0\">%s</text>", LEFT + right[c], y, head[c]);
    for (uint32_t n = 0; n < nr; n++) {
        const struct heat_part *p = &m->part[hottest[n]];
        char range[72], cell[ARRAY_LEN(head)][32];

        snprintf(cell[0], sizeof(cell[0]), "%.0f", p->reads);
        snprintf(cell[1], sizeof(cell[1]), "%.0f", p->writes);
        size_format(p->ssd, cell[2]);
        size_format(p->hdd, cell[3]);
        y += 20;
        fprintf(f, "\n<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%u</text><text x=\"%d\" y=\"%d\">%s</text>", LEFT, y, n + 1,
                LEFT + 22, y, heat_range(m, hottest[n], range));
        for (unsigned c = 0; c < ARRAY_LEN(head); c++)
            fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", LEFT + right[c], y, cell[c]);
    }
    fputs("\n", f);
}

void heat_svg(FILE *f, const struct heat_map *m)
{
    struct grid g = grid_of(m);
    uint32_t hottest[HEAT_HOTTEST], nr = heat_hottest(m, hottest);
    int width = LEFT + WIDTH + 28, height = g.below + 126 + (int)nr * 20;
    char b1[32], b2[32], b3[32];

    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
               "font-size=\"13\" fill=\"#d5d8e2\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#101218\"/>\n", width,
            height, width, height);
    fprintf(f, "<text x=\"%d\" y=\"34\" font-size=\"20\">What is hot in volume %s</text>\n", LEFT, m->volume);
    fprintf(f, "<text x=\"%d\" y=\"55\" fill=\"#8b90a0\">%s; a square is %s; heat halves every %s</text>\n", LEFT,
            size_format(m->size_bytes, b1), size_format(m->part_bytes, b2), duration_format(m->half_life_s * NS_PER_S, b3));
    put_rulers(f, m, &g);
    for (uint32_t i = 0; i < m->nr; i++)
        put_part(f, m, &g, i);
    put_ranks(f, &g, hottest, nr);
    put_legend(f, m, g.below + 34);
    put_hottest(f, m, g.below + 102, hottest, nr);
    fprintf(f, "</svg>\n");
}
