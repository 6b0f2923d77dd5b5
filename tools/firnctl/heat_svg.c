/* SPDX-License-Identifier: Apache-2.0 */
/* heat_svg.c: the same picture for a page: a square a part, its colour the heat, a bar at its foot what of it is on the SSD; what the
 * pointer is on is told in words.
 */
#include <math.h>

#include "tools/firnctl/heat.h"

#define SQUARE  14
#define COLUMNS 48u
#define LEFT    70
#define TOP     56

struct rgb { double r, g, b; };

/* Between stops, by step. */
static struct rgb colour_of(double x)
{
    static const struct rgb stop[] = {{24, 26, 34}, {38, 30, 92}, {120, 28, 109}, {200, 52, 65}, {245, 130, 48}, {252, 255, 190}};
    const unsigned last = sizeof(stop) / sizeof(stop[0]) - 1;
    unsigned i = MIN((unsigned)(x * last), last - 1);
    double t = x * last - i;

    return (struct rgb){stop[i].r + t * (stop[i + 1].r - stop[i].r), stop[i].g + t * (stop[i + 1].g - stop[i].g),
                        stop[i].b + t * (stop[i + 1].b - stop[i].b)};
}

static double warmth(const struct heat_map *m, const struct heat_part *p)
{
    return m->hottest > 0 ? log1p(heat_rate(p)) / log1p(m->hottest) : 0;
}

static void put_part(FILE *f, const struct heat_map *m, uint32_t i)
{
    const struct heat_part *p = &m->part[i];
    int x = LEFT + (int)(i % COLUMNS) * (SQUARE + 1), y = TOP + (int)(i / COLUMNS) * (SQUARE + 1);
    struct rgb c = colour_of(warmth(m, p));
    double share = p->ssd == 0 ? 0 : (double)p->ssd / (double)MAX(p->hdd, p->ssd);
    char b1[32], b2[32], b3[32], b4[32];

    fprintf(f, "<g><title>%s - %s: %.0f reads and %.0f writes an hour; %s on SSD, %s on HDD</title>",
            size_format(i * m->part_bytes, b1), size_format(heat_part_end(m, i), b2), p->reads, p->writes, size_format(p->ssd, b3),
            size_format(p->hdd, b4));
    fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#%02x%02x%02x\"/>", x, y, SQUARE, SQUARE, (unsigned)c.r,
            (unsigned)c.g, (unsigned)c.b);
    if (share > 0)
        fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"2\" fill=\"#35e0ff\"/>", x, y + SQUARE - 2, SQUARE * share);
    fprintf(f, "</g>\n");
}

static void put_legend(FILE *f, const struct heat_map *m, int y)
{
    fprintf(f, "<text x=\"%d\" y=\"%d\">cold</text>\n", LEFT, y + 11);
    for (int i = 0; i <= 20; i++) {
        struct rgb c = colour_of(i / 20.0);

        fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"9\" height=\"12\" fill=\"#%02x%02x%02x\"/>\n", LEFT + 36 + i * 9, y, (unsigned)c.r,
                (unsigned)c.g, (unsigned)c.b);
    }
    fprintf(f, "<text x=\"%d\" y=\"%d\">%.0f requests an hour</text>\n", LEFT + 236, y + 11, m->hottest);
    fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"2\" fill=\"#35e0ff\"/><text x=\"%d\" y=\"%d\">what is on the SSD</text>\n",
            LEFT + 420, y + 6, LEFT + 440, y + 11);
}

void heat_svg(FILE *f, const struct heat_map *m)
{
    uint32_t rows = (m->nr + COLUMNS - 1) / COLUMNS;
    int width = LEFT + (int)COLUMNS * (SQUARE + 1) + 20, below = TOP + (int)rows * (SQUARE + 1);
    char b1[32], b2[32], b3[32];

    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\" "
               "fill=\"#c8ccd8\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#101218\"/>\n", width, below + 44);
    fprintf(f, "<text x=\"%d\" y=\"24\" font-size=\"16\">Heat of volume %s, %s</text>\n", LEFT, m->volume, size_format(m->size_bytes, b1));
    fprintf(f, "<text x=\"%d\" y=\"42\">a square is %s; heat halves every %s</text>\n", LEFT, size_format(m->part_bytes, b2),
            duration_format(m->half_life_s * NS_PER_S, b3));
    for (uint32_t i = 0; i < m->nr; i++) {
        if (i % COLUMNS == 0)
            fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" font-size=\"10\">%s</text>\n", LEFT - 6,
                    TOP + (int)(i / COLUMNS) * (SQUARE + 1) + 11, size_format(i * m->part_bytes, b1));
        put_part(f, m, i);
    }
    put_legend(f, m, below + 16);
    fprintf(f, "</svg>\n");
}
