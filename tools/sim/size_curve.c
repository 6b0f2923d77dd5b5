/* SPDX-License-Identifier: Apache-2.0 */
/* size_curve.c: one trace at several sizes of the SSD, as a table, as JSON and as a drawing.
 *
 * The drawing has three panels under each other over one axis, the SSD's size on a logarithmic scale: hit ratio, busy time of
 * the HDDs, bytes written to the SSD. Sizes that are too small for the engine are in the table, and in no panel.
 */
#include "tools/sim/size_curve.h"

#include "base/limits.h"
#include "base/sizefmt.h"

#include <math.h>
#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    const struct size_point *x = a, *y = b;

    return (x->ssd_bytes > y->ssd_bytes) - (x->ssd_bytes < y->ssd_bytes);
}

static void sort_points(struct size_curve *c)
{
    uint32_t kept = 0;

    qsort(c->point, c->nr, sizeof(c->point[0]), by_size);
    for (uint32_t i = 1; i < c->nr; i++)
        if (c->point[i].ssd_bytes != c->point[kept].ssd_bytes)
            c->point[++kept] = c->point[i];
    c->nr = kept + 1;
}

static void take_score(struct size_point *p, struct score *s)
{
    uint64_t host = s->blocks_written != 0 ? s->blocks_written : s->blocks_read, whole_ns = s->run_ns + s->flush_ns;

    p->read_hit = score_read_hit(s);
    p->hdd_busy_s = (double)s->hdd.busy_ns / 1e9;
    p->hdd_load = whole_ns == 0 ? 0 : (double)s->hdd.busy_ns / (double)whole_ns / s->nr_hdd;
    p->mean_ms = score_mean_ns(s) / 1e6;
    p->p99_ms = (double)score_percentile_ns(s, 990) / 1e6;
    p->ssd_write_mb = (double)s->ssd.write_bytes / 1e6;
    p->wear = (double)s->ssd.write_bytes / (double)(MAX(host, UINT64_C(1)) * BLOCK_BYTES);
    p->turnovers = (double)s->ssd.write_bytes / (double)p->ssd_bytes;
}

int size_curve_run(const struct replay_opts *base, struct size_curve *c, char why[static 256])
{
    struct replay_opts o = *base;

    assert(c->nr >= 1 && c->nr <= SIZE_POINTS_MAX);
    c->footprint_bytes = base->trace->blocks * BLOCK_BYTES;
    c->nr_hdd = base->nr_hdd;
    c->closed = base->closed;
    sort_points(c);
    for (uint32_t i = 0; i < c->nr; i++) {
        struct size_point *p = &c->point[i];
        struct score score;
        int err;

        o.ssd_bytes = p->ssd_bytes;
        p->too_small = o.ssd_bytes < replay_ssd_min(&o);
        if (p->too_small)
            continue;
        err = replay_run(&o, &score, why);
        if (err == 0)
            take_score(p, &score);
        score_fini(&score);
        if (err != 0)
            return err;
    }
    return 0;
}

/* ---- table, JSON ---- */

static double part_of(const struct size_curve *c, const struct size_point *p)
{
    return 100 * (double)p->ssd_bytes / (double)c->footprint_bytes;
}

void size_curve_print(struct strbuf *out, const struct size_curve *c)
{
    char text[32];

    strbuf_add(out, "footprint %s, %u HDD, %s\n", size_format(c->footprint_bytes, text), c->nr_hdd,
               c->closed ? "one request outstanding" : "requests at the trace's times");
    strbuf_add(out, "%12s %9s %9s %12s %9s %12s %12s %12s %9s %10s\n", "SSD", "of it %", "hits %", "HDD busy s", "load %", "mean ms",
               "p99 ms", "SSD MB", "wear", "turnovers");
    for (uint32_t i = 0; i < c->nr; i++) {
        const struct size_point *p = &c->point[i];

        strbuf_add(out, "%12s %9.2f ", size_format(p->ssd_bytes, text), part_of(c, p));
        if (p->too_small)
            strbuf_add(out, "too small for the engine\n");
        else
            strbuf_add(out, "%9.2f %12.2f %9.2f %12.3f %12.3f %12.2f %9.3f %10.2f\n", 100 * p->read_hit, p->hdd_busy_s, 100 * p->hdd_load,
                       p->mean_ms, p->p99_ms, p->ssd_write_mb, p->wear, p->turnovers);
    }
    strbuf_add(out, "wear: bytes written to the SSD for each byte that the host wrote (read, if it wrote nothing); turnovers: the same in"
                    " SSDs\n");
}

void size_curve_json(struct strbuf *out, const struct size_curve *c)
{
    strbuf_add(out, "{\"footprint_bytes\": %llu, \"hdds\": %u, \"closed\": %s, \"sizes\": [", (unsigned long long)c->footprint_bytes,
               c->nr_hdd, c->closed ? "true" : "false");
    for (uint32_t i = 0; i < c->nr; i++) {
        const struct size_point *p = &c->point[i];

        strbuf_add(out, "%s{\"ssd_bytes\": %llu, \"too_small\": %s", i == 0 ? "" : ", ", (unsigned long long)p->ssd_bytes,
                   p->too_small ? "true" : "false");
        if (!p->too_small)
            strbuf_add(out, ", \"read_hit\": %.9f, \"hdd_busy_s\": %.9f, \"hdd_load\": %.9f, \"mean_ms\": %.9f, \"p99_ms\": %.6f, "
                       "\"ssd_write_mb\": %.6f, \"wear\": %.9f, \"turnovers\": %.9f", p->read_hit, p->hdd_busy_s, p->hdd_load, p->mean_ms,
                       p->p99_ms, p->ssd_write_mb, p->wear, p->turnovers);
        strbuf_add(out, "}");
    }
    strbuf_add(out, "]}\n");
}

/* ---- the drawing ---- */

#define PANELS       3u
#define PANEL_X      90
#define PANEL_WIDTH  560
#define PANEL_HEIGHT 150
#define PANEL_STEP   190

static const struct panel { const char *title, *colour; double top; } panels[PANELS] = { /* top 0: the highest value */
    {"reads without the HDD, %", "#2b6cb0", 100},
    {"busy time of the HDDs, s", "#c05621", 0},
    {"written to the SSD, MB", "#2f855a", 0},
};

static double value(const struct size_point *p, unsigned panel)
{
    return panel == 0 ? 100 * p->read_hit : panel == 1 ? p->hdd_busy_s : p->ssd_write_mb;
}

static double across(const struct size_curve *c, const struct size_point *p)
{
    double least = log((double)c->point[0].ssd_bytes), most = log((double)c->point[c->nr - 1].ssd_bytes);

    return PANEL_X + (most <= least ? PANEL_WIDTH / 2.0 : (log((double)p->ssd_bytes) - least) / (most - least) * PANEL_WIDTH);
}

static double top_of(const struct size_curve *c, unsigned panel)
{
    double top = panels[panel].top;

    for (uint32_t i = 0; i < c->nr && panels[panel].top <= 0; i++)
        top = c->point[i].too_small ? top : fmax(top, value(&c->point[i], panel));
    return top > 0 ? top : 1;
}

static void draw_panel(struct strbuf *out, const struct size_curve *c, unsigned panel)
{
    double base = 40 + PANEL_HEIGHT + (double)panel * PANEL_STEP, top = top_of(c, panel);

    strbuf_add(out, "<text x=\"%d\" y=\"%.0f\">%s</text>\n", PANEL_X, base - PANEL_HEIGHT - 8, panels[panel].title);
    strbuf_add(out, "<path d=\"M%d %.0fV%.0fH%d\" fill=\"none\" stroke=\"#888\"/>\n", PANEL_X, base - PANEL_HEIGHT, base,
               PANEL_X + PANEL_WIDTH);
    strbuf_add(out, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">%.0f</text>\n<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">0</text>\n",
               PANEL_X - 6, base - PANEL_HEIGHT + 4, top, PANEL_X - 6, base + 4);
    strbuf_add(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", panels[panel].colour);
    for (uint32_t i = 0; i < c->nr; i++)
        if (!c->point[i].too_small)
            strbuf_add(out, "%.1f,%.1f ", across(c, &c->point[i]), base - value(&c->point[i], panel) / top * PANEL_HEIGHT);
    strbuf_add(out, "\"/>\n");
    for (uint32_t i = 0; i < c->nr; i++)
        if (!c->point[i].too_small)
            strbuf_add(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"><title>%.3f</title></circle>\n",
                       across(c, &c->point[i]), base - value(&c->point[i], panel) / top * PANEL_HEIGHT, panels[panel].colour,
                       value(&c->point[i], panel));
}

void size_curve_svg(struct strbuf *out, const struct size_curve *c)
{
    double foot = 40 + PANEL_HEIGHT + (double)(PANELS - 1) * PANEL_STEP + 18;
    char text[32];

    strbuf_add(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"%.0f\" font-family=\"sans-serif\" "
                    "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", foot + 32);
    for (unsigned panel = 0; panel < PANELS; panel++)
        draw_panel(out, c, panel);
    for (uint32_t i = 0; i < c->nr; i++)
        strbuf_add(out, "<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">%.3g%%</text>\n", across(c, &c->point[i]), foot,
                   part_of(c, &c->point[i]));
    strbuf_add(out, "<text x=\"%d\" y=\"%.0f\">size of the SSD, as a part of the trace's footprint of %s</text>\n</svg>\n",
               PANEL_X, foot + 20, size_format(c->footprint_bytes, text));
}
