/* SPDX-License-Identifier: Apache-2.0 */
/* size_svg.c: the curve over sizes of the SSD as a drawing: three panels under each other over one axis, the SSD's size on a logarithmic
 * scale: hit ratio, busy time of the HDDs, bytes written to the SSD. Sizes that are too small for the engine are a grey strip at the
 * left, and have no points.
 */
#include "tools/sim/size_curve.h"

#include "base/limits.h"
#include "base/sizefmt.h"

#include <math.h>

#define LEFT    76
#define WIDTH   640
#define INSET   36     /* the outermost points stand off the frame, so that their figures have room */
#define TOP     96     /* of the first panel's frame */
#define HEIGHT  140
#define STEP    192    /* from panel to panel */
#define PANELS  3u
#define LABEL   60     /* labels on the axis stay so far from each other */
#define FIGURE  32     /* and figures at points; else one is left out, and told to the pointer alone */
#define GREY    "#667085"

static const struct panel { const char *title, *unit, *colour; double top; } panels[PANELS] = { /* top 0: what the values need */
    {"Hit ratio: reads that need no HDD", "%", "#2563eb", 100},
    {"What is left for the HDDs: busy time", "s", "#c2410c", 0},
    {"Wear: written to the SSD", "MB", "#15803d", 0},
};

static double value(const struct size_point *p, unsigned panel)
{
    return panel == 0 ? 100 * p->read_hit : panel == 1 ? p->hdd_busy_s : p->ssd_write_mb;
}

/* An SSD that is no block long has a place at the left end, too. */
static double log_size(const struct size_point *p) { return log((double)MAX(p->ssd_bytes, (uint64_t)BLOCK_BYTES)); }

static double across(const struct size_curve *c, const struct size_point *p)
{
    double least = log_size(&c->point[0]), most = log_size(&c->point[c->nr - 1]);
    double part = most <= least ? 0.5 : (log_size(p) - least) / (most - least);

    return LEFT + INSET + part * (WIDTH - 2 * INSET);
}

/* A fourth of the axis: 1, 2, 2.5 or 5 times a power of ten. */
static double tick_of(const struct size_curve *c, unsigned panel)
{
    static const double steps[] = {1, 2, 2.5, 5, 10};
    double top = panels[panel].top, ten;
    unsigned k = 0;

    for (uint32_t i = 0; i < c->nr && panels[panel].top <= 0; i++)
        top = c->point[i].too_small ? top : fmax(top, value(&c->point[i], panel));
    if (top <= 0)
        return 1;
    ten = pow(10, floor(log10(top / 4)));
    while (k + 1 < ARRAY_LEN(steps) && steps[k] * ten * 4 < top * 0.999)
        k++;
    return steps[k] * ten;
}

static int digits(double v) { return v >= 100 || v == floor(v) ? 0 : v >= 10 ? 1 : 2; }

static void draw_frame(struct strbuf *out, unsigned panel, double base, double tick)
{
    strbuf_add(out, "<text x=\"%d\" y=\"%.0f\" font-weight=\"bold\">%s, %s</text>\n", LEFT, base - HEIGHT - 12, panels[panel].title,
               panels[panel].unit);
    for (int k = 0; k <= 4; k++) {
        double y = base - k * HEIGHT / 4.0;

        strbuf_add(out, "<path d=\"M%d %.1fh%d\" stroke=\"%s\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" "
                   "fill=\"" GREY "\">%.*f</text>\n", LEFT, y, WIDTH, k == 0 ? "#98a2b3" : "#e4e7ec", LEFT - 8, y + 4,
                   digits(tick * k), tick * k);
    }
}

static void draw_points(struct strbuf *out, const struct size_curve *c, unsigned panel, double base, double top, uint32_t first)
{
    const char *colour = panels[panel].colour;
    double last = 0;

    for (uint32_t i = first; i < c->nr; i++) {
        const struct size_point *p = &c->point[i];
        double x = across(c, p), v = value(p, panel), y = base - v / top * HEIGHT;
        char size[32];

        strbuf_add(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#fff\" stroke=\"%s\" stroke-width=\"2\">"
                   "<title>SSD of %s: %.2f %s</title></circle>\n", x, y, colour, size_format(p->ssd_bytes, size), v, panels[panel].unit);
        if (x - last < FIGURE)
            continue;
        last = x;
        strbuf_add(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"%s\" paint-order=\"stroke\" stroke=\"#fff\" "
                   "stroke-width=\"3\">%.*f</text>\n", x, y < base - HEIGHT + 16 ? y + 19 : y - 10, colour, digits(v), v);
    }
}

/* Of the points that there are the line, what lies under it, and each with its figure. */
static void draw_curve(struct strbuf *out, const struct size_curve *c, unsigned panel, double base, double top)
{
    const char *colour = panels[panel].colour;
    uint32_t first = 0;

    while (first < c->nr && c->point[first].too_small) /* sorted by size: those come first */
        first++;
    if (first < c->nr) {
        strbuf_add(out, "<polygon fill=\"%s\" fill-opacity=\"0.08\" points=\"%.1f,%.1f ", colour, across(c, &c->point[first]), base);
        for (uint32_t i = first; i < c->nr; i++)
            strbuf_add(out, "%.1f,%.1f ", across(c, &c->point[i]), base - value(&c->point[i], panel) / top * HEIGHT);
        strbuf_add(out, "%.1f,%.1f\"/>\n", across(c, &c->point[c->nr - 1]), base);
    }
    strbuf_add(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2.5\" stroke-linejoin=\"round\" points=\"", colour);
    for (uint32_t i = first; i < c->nr; i++)
        strbuf_add(out, "%.1f,%.1f ", across(c, &c->point[i]), base - value(&c->point[i], panel) / top * HEIGHT);
    strbuf_add(out, "\"/>\n");
    draw_points(out, c, panel, base, top, first);
}

static void draw_too_small(struct strbuf *out, const struct size_curve *c)
{
    double right;
    uint32_t nr = 0;

    while (nr < c->nr && c->point[nr].too_small)
        nr++;
    if (nr == 0)
        return;
    right = LEFT + WIDTH;
    if (nr < c->nr)
        right = MIN(across(c, &c->point[nr - 1]) + INSET / 2.0, (across(c, &c->point[nr]) + across(c, &c->point[nr - 1])) / 2);
    for (unsigned panel = 0; panel < PANELS; panel++)
        strbuf_add(out, "<rect x=\"%d\" y=\"%u\" width=\"%.1f\" height=\"%d\" fill=\"#f2f4f7\"/><text transform=\"translate(%d %u) "
                   "rotate(-90)\" text-anchor=\"middle\" font-size=\"10\" fill=\"" GREY "\">too small for the engine</text>\n", LEFT,
                   TOP + panel * STEP, right - LEFT, HEIGHT, LEFT + 16, TOP + panel * STEP + HEIGHT / 2);
}

/* Two lines under the last panel: parts of the footprint, and sizes. A label that would touch the one before it is left out. */
static void draw_axis(struct strbuf *out, const struct size_curve *c, double y)
{
    double last = -LABEL;
    char size[32];

    for (uint32_t i = 0; i < c->nr; i++) {
        const struct size_point *p = &c->point[i];
        double x = across(c, p), part = size_part(c, p);
        int fine = part < 0.95 ? 2 : part < 9.95 && fabs(part - round(part)) > 0.05;

        for (unsigned panel = 0; panel < PANELS; panel++)
            strbuf_add(out, "<path d=\"M%.1f %uv5\" stroke=\"#98a2b3\"/>", x, TOP + HEIGHT + panel * STEP);
        if (x - last < LABEL)
            continue;
        last = x;
        strbuf_add(out, "\n<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">%.*f %%</text><text x=\"%.1f\" y=\"%.0f\" "
                   "text-anchor=\"middle\" font-size=\"11\" fill=\"" GREY "\">%s</text>", x, y, fine, part, x, y + 16,
                   size_format(p->ssd_bytes, size));
    }
    strbuf_add(out, "\n<text x=\"%d\" y=\"%.0f\" text-anchor=\"middle\">size of the SSD, in percent of what the trace touches, "
               "and in bytes; logarithmic</text>\n", LEFT + WIDTH / 2, y + 40);
}

void size_curve_svg(struct strbuf *out, const struct size_curve *c)
{
    int width = LEFT + WIDTH + 28, height = TOP + (int)(PANELS - 1) * STEP + HEIGHT + 76;
    char text[32];

    strbuf_add(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
               "font-size=\"12\" fill=\"#1d2939\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", width, height, width,
               height);
    strbuf_add(out, "<text x=\"%d\" y=\"32\" font-size=\"20\">How large should the SSD be?</text>\n<text x=\"%d\" y=\"53\" "
               "fill=\"" GREY "\">a trace that touches %s; %u HDD%s; %s</text>\n", LEFT, LEFT,
               size_format(c->footprint_bytes, text), c->nr_hdd,
               c->nr_hdd == 1 ? "" : "s", c->closed ? "one request outstanding" : "requests at the trace's times");
    draw_too_small(out, c);
    for (unsigned panel = 0; panel < PANELS; panel++) {
        double base = TOP + HEIGHT + (double)panel * STEP, tick = tick_of(c, panel);

        draw_frame(out, panel, base, tick);
        draw_curve(out, c, panel, base, 4 * tick);
    }
    draw_axis(out, c, TOP + (PANELS - 1) * STEP + HEIGHT + 20);
    strbuf_add(out, "</svg>\n");
}
