/* SPDX-License-Identifier: Apache-2.0 */
/* heat_draw.c: heat as a picture of characters. A column is a part of the volume, and addresses run like text.
 *
 * A band has up to three lines: reads, writes, and where it lies. Reads burn from embers to white heat, writes freeze from deep water to
 * ice. Where the terminal has UTF-8 and colours the first two are one line of half blocks, reads over writes. Without colour it is plain
 * ASCII, which any terminal, log and mail shows; a line in which there is nothing is left out then.
 */
#include "tools/firnctl/heat.h"

#define HALF "\u2580" /* upper half block */

static const char signs[] = " .:-=+*#%@";
static const int fire[] = {235, 52, 88, 124, 160, 202, 208, 214, 220, 228};
static const int ice[] = {235, 17, 18, 19, 25, 31, 38, 45, 87, 159};
static_assert(sizeof(signs) - 1 == HEAT_STEPS + 1 && ARRAY_LEN(fire) == HEAT_STEPS + 1 && ARRAY_LEN(ice) == HEAT_STEPS + 1,
              "a sign, and a colour, a step");

static const char *const letters[HEAT_WHERE_NR] = {" ", "h", "s", "S"};
static const int inks[HEAT_WHERE_NR] = {0, 242, 65, 41}; /* legible on dark and on light */

static const char *mark(enum heat_where w, enum heat_look look) { return look == HEAT_RICH && w != HEAT_EMPTY ? HALF : letters[w]; }

static bool never_written(const struct heat_part *p) { return heat_where(p) == HEAT_EMPTY && heat_rate(p) <= 0; }

static double rate_of(const struct heat_part *p, bool writes) { return writes ? p->writes : p->reads; }

static void end_colour(FILE *f, enum heat_look look)
{
    if (look != HEAT_PLAIN)
        fputs("\033[0m", f);
}

static void put_half_blocks(FILE *f, const struct heat_part *p, uint32_t nr, double top)
{
    for (uint32_t i = 0; i < nr; i++) {
        if (never_written(&p[i]))
            fputs("\033[0m ", f);
        else
            fprintf(f, "\033[38;5;%d;48;5;%dm" HALF, fire[heat_step(p[i].reads, top)], ice[heat_step(p[i].writes, top)]);
    }
}

static void put_signs(FILE *f, const struct heat_part *p, uint32_t nr, double top, bool writes, enum heat_look look)
{
    for (uint32_t i = 0; i < nr; i++) {
        unsigned step = heat_step(rate_of(&p[i], writes), top);

        if (look == HEAT_PLAIN)
            putc(signs[step], f);
        else if (never_written(&p[i]))
            fputs("\033[0m ", f);
        else
            fprintf(f, "\033[48;5;%dm ", (writes ? ice : fire)[step]);
    }
}

static bool any(const struct heat_part *p, uint32_t nr, bool writes)
{
    for (uint32_t i = 0; i < nr; i++)
        if (rate_of(&p[i], writes) > 0)
            return true;
    return false;
}

/* Where parts lie; the hottest have their rank there. */
static void put_where(FILE *f, const struct heat_map *m, uint32_t from, uint32_t end, enum heat_look look)
{
    uint32_t hottest[HEAT_HOTTEST], nr = heat_hottest(m, hottest);

    for (uint32_t i = from; i < end; i++) {
        enum heat_where w = heat_where(&m->part[i]);
        uint32_t rank = 0;

        while (rank < nr && hottest[rank] != i)
            rank++;
        if (rank < nr)
            fprintf(f, "%s%u", look == HEAT_PLAIN ? "" : "\033[0;1m", rank + 1);
        else if (look == HEAT_PLAIN || w == HEAT_EMPTY)
            fputs(letters[w], f);
        else
            fprintf(f, "\033[0;38;5;%dm%s", inks[w], mark(w, look));
    }
    end_colour(f, look);
}

static void put_band(FILE *f, const struct heat_map *m, uint32_t from, uint32_t end, enum heat_look look)
{
    const struct heat_part *p = &m->part[from];
    const char *label;
    char at[32];

    label = heat_offset(from * m->part_bytes, m->part_bytes, at);
    if (look == HEAT_RICH) {
        fprintf(f, "%*s ", (int)HEAT_MARGIN - 1, label);
        put_half_blocks(f, p, end - from, m->top);
        fputs("\033[0m\n", f);
        label = "";
    }
    for (unsigned writes = 0; writes < 2 && look != HEAT_RICH; writes++) {
        if (!any(p, end - from, writes))
            continue;
        fprintf(f, "%*s %c ", (int)HEAT_MARGIN - 3, label, writes ? 'w' : 'r');
        put_signs(f, p, end - from, m->top, writes, look);
        end_colour(f, look);
        putc('\n', f);
        label = "";
    }
    fprintf(f, "%*s   ", (int)HEAT_MARGIN - 3, label);
    put_where(f, m, from, end, look);
    putc('\n', f);
}

/* How far a column is from the beginning of its line. */
static void put_ruler(FILE *f, const struct heat_map *m, unsigned columns)
{
    unsigned step = columns / (columns >= 48 ? 4 : 2), shown = 0;
    char at[32];

    fprintf(f, "%*s", (int)HEAT_MARGIN, "");
    for (unsigned x = step; x + step <= MIN(columns, m->nr); x += step) {
        fprintf(f, "%*s", (int)(x - shown), "");
        shown = x + (unsigned)fprintf(f, "|+%s", heat_offset(x * m->part_bytes, m->part_bytes, at));
    }
    putc('\n', f);
}

static void put_scale(FILE *f, bool writes, enum heat_look look)
{
    for (unsigned s = 0; s <= HEAT_STEPS; s++) {
        if (look == HEAT_PLAIN)
            putc(signs[s], f);
        else
            fprintf(f, "\033[48;5;%dm ", (writes ? ice : fire)[s]);
    }
    end_colour(f, look);
}

void heat_legend(FILE *f, double top, unsigned margin, enum heat_look look)
{
    if (top <= 0)
        return;
    fprintf(f, "%*s%s ", (int)margin, "", look == HEAT_PLAIN ? "cold" : "reads");
    put_scale(f, false, look);
    if (look == HEAT_PLAIN) {
        fputs(" hot", f);
    } else {
        fputs(look == HEAT_RICH ? " above writes " : ", writes ", f);
        put_scale(f, true, look);
    }
    fprintf(f, ": 0 to %.*f an hour\n", top < 10 ? 1 : 0, top);
}

static void put_where_legend(FILE *f, enum heat_look look)
{
    static const char *const words[] = {[HEAT_ON_HDD] = "on HDD", [HEAT_IN_PART] = "in part", [HEAT_ON_SSD] = "on SSD"};

    fprintf(f, "%*s", (int)HEAT_MARGIN, "");
    if (look != HEAT_RICH)
        fputs("r reads, w writes, ", f);
    for (unsigned w = HEAT_ON_SSD; w > HEAT_EMPTY; w--) {
        if (look == HEAT_PLAIN)
            fprintf(f, "%s %s, ", letters[w], words[w]);
        else
            fprintf(f, "\033[38;5;%dm%s\033[0m %s, ", inks[w], mark(w, look), words[w]);
    }
    fputs("blank: unwritten\n", f);
}

static void put_hottest(FILE *f, const struct heat_map *m)
{
    uint32_t hottest[HEAT_HOTTEST], nr = heat_hottest(m, hottest);

    fprintf(f, "\n   %-26s %12s %12s %10s %10s\n", "HOTTEST", "READS/H", "WRITES/H", "ON SSD", "ON HDD");
    for (uint32_t n = 0; n < nr; n++) {
        const struct heat_part *p = &m->part[hottest[n]];
        char range[72], b1[32], b2[32];

        fprintf(f, " %u %-26s %12.0f %12.0f %10s %10s\n", n + 1, heat_range(m, hottest[n], range), p->reads, p->writes,
                size_format(p->ssd, b1), size_format(p->hdd, b2));
    }
}

void heat_draw(FILE *f, const struct heat_map *m, unsigned columns, enum heat_look look)
{
    char b1[32], b2[32], b3[32];

    fprintf(f, "%s, %s: a column is %s; heat halves every %s\n", m->volume, size_format(m->size_bytes, b1),
            size_format(m->part_bytes, b2), duration_format(m->half_life_s * NS_PER_S, b3));
    put_ruler(f, m, columns);
    for (uint32_t i = 0; i < m->nr; i += columns)
        put_band(f, m, i, MIN(i + columns, m->nr), look);
    heat_legend(f, m->top, HEAT_MARGIN, look);
    put_where_legend(f, look);
    if (m->top > 0)
        put_hottest(f, m);
    else
        fprintf(f, "\nAll of it is cold: nobody has read or written it lately.\n");
}

void heat_strip(FILE *f, const struct heat_map *m, unsigned columns, unsigned name, double top, enum heat_look look)
{
    uint32_t nr = MIN(m->nr, columns);
    double reads = 0, writes = 0;
    char b[32];

    for (uint32_t i = 0; i < m->nr; i++) {
        reads += m->part[i].reads;
        writes += m->part[i].writes;
    }
    fprintf(f, "%-*s %10s |", (int)name, m->volume, size_format(m->size_bytes, b));
    if (look == HEAT_RICH)
        put_half_blocks(f, m->part, nr, top);
    for (uint32_t i = 0; i < nr && look != HEAT_RICH; i++) {
        const struct heat_part *p = &m->part[i];

        put_signs(f, p, 1, top, p->writes > p->reads, look);
    }
    end_colour(f, look);
    fprintf(f, "%*s| %10.0f %10.0f\n", (int)(columns - nr), "", reads, writes);
}
