/* SPDX-License-Identifier: Apache-2.0 */
/* heat_draw.c: heat as a picture of characters. A sign is a part of the volume, and addresses run like text. Without colour it
 * is plain ASCII, which any terminal, log and mail shows.
 */
#include <math.h>
#include <stdlib.h>

#include "tools/firnctl/heat.h"

#define HOTTEST_SHOWN 5u

static const char signs[] = " .:-=+*#%@";
static const int colours[] = {234, 17, 18, 54, 90, 126, 161, 202, 214, 228}; /* from night over embers to white heat */
static_assert(sizeof(signs) - 1 == HEAT_STEPS + 1 && sizeof(colours) / sizeof(colours[0]) == HEAT_STEPS + 1, "a sign a step");

unsigned heat_step(const struct heat_map *m, const struct heat_part *p)
{
    double rate = heat_rate(p), top = log1p(m->hottest);

    if (rate <= 0 || top <= 0)
        return 0;
    return MIN(1 + (unsigned)(log1p(rate) / top * (HEAT_STEPS - 0.001)), HEAT_STEPS);
}

enum heat_where heat_where(const struct heat_part *p)
{
    if (p->ssd == 0)
        return p->hdd == 0 ? HEAT_EMPTY : HEAT_ON_HDD;
    return p->ssd * 4 >= MAX(p->hdd, p->ssd) * 3 ? HEAT_ON_SSD : HEAT_IN_PART;
}

uint64_t heat_part_end(const struct heat_map *m, uint32_t i) { return MIN((i + 1) * m->part_bytes, m->size_bytes); }

static void put_heat(FILE *f, const struct heat_map *m, uint32_t from, uint32_t end, bool colour)
{
    for (uint32_t i = from; i < end; i++) {
        unsigned step = heat_step(m, &m->part[i]);

        if (colour)
            fprintf(f, "\033[48;5;%dm ", colours[step]);
        else
            putc(signs[step], f);
    }
    if (colour)
        fputs("\033[0m", f);
}

static void put_where(FILE *f, const struct heat_map *m, uint32_t from, uint32_t end, bool colour)
{
    static const char letter[] = {[HEAT_EMPTY] = ' ', [HEAT_ON_HDD] = 'h', [HEAT_IN_PART] = 's', [HEAT_ON_SSD] = 'S'};
    static const char *const ink[] = {[HEAT_EMPTY] = "\033[0m", [HEAT_ON_HDD] = "\033[38;5;242m", [HEAT_IN_PART] = "\033[38;5;37m",
                                      [HEAT_ON_SSD] = "\033[38;5;51m"};

    for (uint32_t i = from; i < end; i++)
        fprintf(f, "%s%c", colour ? ink[heat_where(&m->part[i])] : "", letter[heat_where(&m->part[i])]);
    if (colour)
        fputs("\033[0m", f);
}

static void put_legend(FILE *f, bool colour)
{
    fputs("           cold ", f);
    for (unsigned s = 0; s <= HEAT_STEPS; s++) {
        if (colour)
            fprintf(f, "\033[48;5;%dm  ", colours[s]);
        else
            putc(signs[s], f);
    }
    fprintf(f, "%s hot; below it: S on SSD, s in part, h on HDD, nothing: never written\n", colour ? "\033[0m" : "");
}

static const struct heat_map *sorted;

static int by_rate(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    double x = heat_rate(&sorted->part[i]), y = heat_rate(&sorted->part[k]);

    return x > y ? -1 : x < y ? 1 : i < k ? -1 : 1;
}

static void put_hottest(FILE *f, const struct heat_map *m)
{
    static uint32_t order[HEAT_PARTS_MAX];
    char b1[32], b2[32];

    for (uint32_t i = 0; i < m->nr; i++)
        order[i] = i;
    sorted = m;
    qsort(order, m->nr, sizeof(order[0]), by_rate);
    fprintf(f, "\n%-26s %12s %12s %10s %10s\n", "HOTTEST", "READS/H", "WRITES/H", "ON SSD", "ON HDD");
    for (uint32_t n = 0; n < MIN(m->nr, HOTTEST_SHOWN) && heat_rate(&m->part[order[n]]) > 0; n++) {
        const struct heat_part *p = &m->part[order[n]];
        char range[72];

        snprintf(range, sizeof(range), "%s - %s", size_format(order[n] * m->part_bytes, b1), size_format(heat_part_end(m, order[n]), b2));
        fprintf(f, "%-26s %12.0f %12.0f %10s %10s\n", range, p->reads, p->writes, size_format(p->ssd, b1), size_format(p->hdd, b2));
    }
}

void heat_draw(FILE *f, const struct heat_map *m, unsigned columns, bool colour)
{
    char b1[32], b2[32];

    fprintf(f, "%s, %s: a sign is %s; heat halves every ", m->volume, size_format(m->size_bytes, b1), size_format(m->part_bytes, b2));
    fprintf(f, "%s\n\n", duration_format(m->half_life_s * NS_PER_S, b1));
    for (uint32_t i = 0; i < m->nr; i += columns) {
        uint32_t end = MIN(i + columns, m->nr);

        fprintf(f, "%10s ", size_format(i * m->part_bytes, b1));
        put_heat(f, m, i, end, colour);
        fprintf(f, "\n%10s ", "");
        put_where(f, m, i, end, colour);
        putc('\n', f);
    }
    put_legend(f, colour);
    if (m->hottest > 0)
        put_hottest(f, m);
    else
        fprintf(f, "\nAll of it is cold: nobody has read or written it lately.\n");
}

void heat_strip(FILE *f, const struct heat_map *m, unsigned columns, bool colour)
{
    double reads = 0, writes = 0;
    char b[32];

    for (uint32_t i = 0; i < m->nr; i++) {
        reads += m->part[i].reads;
        writes += m->part[i].writes;
    }
    fprintf(f, "%-24s %10s |", m->volume, size_format(m->size_bytes, b));
    put_heat(f, m, 0, MIN(m->nr, columns), colour);
    fprintf(f, "%*s| %10.0f %10.0f\n", (int)(columns - MIN(m->nr, columns)), "", reads, writes);
}
