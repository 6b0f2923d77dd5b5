/* SPDX-License-Identifier: Apache-2.0 */
/* size_curve.c: one trace at several sizes of the SSD, as a table and as JSON; size_svg.c draws it. */
#include "tools/sim/size_curve.h"

#include "base/limits.h"
#include "base/sizefmt.h"

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

double size_part(const struct size_curve *c, const struct size_point *p)
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

        strbuf_add(out, "%12s %9.2f ", size_format(p->ssd_bytes, text), size_part(c, p));
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
