/* SPDX-License-Identifier: Apache-2.0 */
/* heat_map.c: what all pictures of heat have in common: the scale, which parts are the hottest, how addresses are written. Pure. */
#include <math.h>

#include "tools/firnctl/heat.h"

double heat_height(double rate, double top)
{
    if (rate <= 0 || top <= 0)
        return 0;
    return MIN(log1p(rate) / log1p(top), 1.0);
}

unsigned heat_step(double rate, double top)
{
    double height = heat_height(rate, top);

    return height <= 0 ? 0 : MIN(1 + (unsigned)(height * (HEAT_STEPS - 0.001)), HEAT_STEPS);
}

enum heat_where heat_where(const struct heat_part *p)
{
    if (p->ssd == 0)
        return p->hdd == 0 ? HEAT_EMPTY : HEAT_ON_HDD;
    return p->ssd * 4 >= MAX(p->hdd, p->ssd) * 3 ? HEAT_ON_SSD : HEAT_IN_PART;
}

uint32_t heat_hottest(const struct heat_map *m, uint32_t out[static HEAT_HOTTEST])
{
    uint32_t nr = 0;

    for (uint32_t i = 0; i < m->nr; i++) {
        double rate = heat_rate(&m->part[i]);
        uint32_t at = nr;

        if (rate <= 0)
            continue;
        for (; at > 0 && heat_rate(&m->part[out[at - 1]]) < rate; at--)
            if (at < HEAT_HOTTEST)
                out[at] = out[at - 1];
        if (at < HEAT_HOTTEST)
            out[at] = i;
        nr = MIN(nr + 1, HEAT_HOTTEST);
    }
    return nr;
}

char *heat_offset(uint64_t bytes, uint64_t step, char buf[static 32])
{
    static const struct { const char *name; uint64_t bytes; } units[] = {{"KiB", KIB}, {"MiB", MIB}, {"GiB", GIB}, {"TiB", TIB}};
    unsigned u = 0;
    int digits = 1, n;
    uint64_t resolved;

    if (bytes < KIB)
        return size_format(bytes, buf);
    while (u + 1 < ARRAY_LEN(units) && bytes >= units[u + 1].bytes)
        u++;
    for (resolved = units[u].bytes / 10; resolved > MAX(step, KIB); resolved /= 10)
        digits++;
    n = snprintf(buf, 32, "%.*f", digits, (double)bytes / (double)units[u].bytes);
    while (buf[n - 1] == '0' && buf[n - 2] != '.')
        n--;
    snprintf(buf + n, 32 - (size_t)n, " %s", units[u].name);
    return buf;
}

char *heat_range(const struct heat_map *m, uint32_t part, char buf[static 72])
{
    uint64_t from = part * m->part_bytes;
    char b1[32], b2[32];

    snprintf(buf, 72, "%s - %s", heat_offset(from, m->part_bytes, b1),
             heat_offset(MIN(from + m->part_bytes, m->size_bytes), m->part_bytes, b2));
    return buf;
}

unsigned heat_columns(unsigned columns, uint32_t parts)
{
    while (columns >= 128 && parts <= 3 * columns)
        columns = ROUND_DOWN(columns / 2, 32u);
    return columns;
}
