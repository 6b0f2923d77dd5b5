/* SPDX-License-Identifier: Apache-2.0 */
/* heat.h: the heat of one volume as firnctl has it, between what fetches it and what draws it. */
#ifndef FIRN_TOOLS_FIRNCTL_HEAT_H
#define FIRN_TOOLS_FIRNCTL_HEAT_H

#include <stdio.h>

#include "base/limits.h"
#include "base/sizefmt.h"

#define HEAT_PARTS_MAX 4096u

struct heat_part { double reads, writes; uint64_t ssd, hdd; }; /* requests an hour, as long as it stays so; bytes */
struct heat_map {
    char     volume[NAME_MAX_CHARS + 1];
    uint64_t size_bytes, part_bytes, half_life_s;
    uint32_t nr;
    double   top;                /* the most reads, or writes, that a part has: the end of the scale */
    struct heat_part part[HEAT_PARTS_MAX];
};

static inline double heat_rate(const struct heat_part *p) { return p->reads + p->writes; }
static inline double heat_peak(const struct heat_part *p) { return MAX(p->reads, p->writes); }
/* 0 to 1: how far up the scale that ends at top, which is logarithmic. */
double heat_height(double rate, double top);
/* 0: cold; 1 to HEAT_STEPS: the same in steps. */
#define HEAT_STEPS 9u
unsigned heat_step(double rate, double top);
/* Where most of what a part holds lies. */
enum heat_where { HEAT_EMPTY, HEAT_ON_HDD, HEAT_IN_PART, HEAT_ON_SSD, HEAT_WHERE_NR };
enum heat_where heat_where(const struct heat_part *p);

/* The parts that are hottest, reads and writes together, the hottest first. Returns how many; cold ones are none. */
#define HEAT_HOTTEST 5u
uint32_t heat_hottest(const struct heat_map *m, uint32_t out[static HEAT_HOTTEST]);

/* An address with as many digits as tell it from its neighbours a step away. */
char *heat_offset(uint64_t bytes, uint64_t step, char buf[static 32]);
/* "1.902 GiB - 1.906 GiB" */
char *heat_range(const struct heat_map *m, uint32_t part, char buf[static 72]);

/* So many of the columns that there are: few parts on a wide screen are a square rather than a ribbon. */
unsigned heat_columns(unsigned columns, uint32_t parts);

/* What a terminal can show. */
enum heat_look {
    HEAT_PLAIN,                  /* ASCII: any terminal, log, mail */
    HEAT_COLOUR,                 /* the same in 256 colours */
    HEAT_RICH,                   /* and half blocks of UTF-8: a sign shows reads over writes */
};

/* Of a line, left of the picture. */
#define HEAT_MARGIN 13u
/* A band for each `columns` parts: reads, writes, where they lie; then a legend, and the hottest parts. */
void heat_draw(FILE *f, const struct heat_map *m, unsigned columns, enum heat_look look);
/* One line of `columns` signs for a volume among others, whose names take `name` columns; top: of all of them. */
void heat_strip(FILE *f, const struct heat_map *m, unsigned columns, unsigned name, double top, enum heat_look look);
void heat_legend(FILE *f, double top, unsigned margin, enum heat_look look);
void heat_svg(FILE *f, const struct heat_map *m);

#endif
