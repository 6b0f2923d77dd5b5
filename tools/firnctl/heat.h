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
    double   hottest;            /* of the sums of reads and writes */
    struct heat_part part[HEAT_PARTS_MAX];
};

static inline double heat_rate(const struct heat_part *p) { return p->reads + p->writes; }
/* 0: cold; 1 to HEAT_STEPS: of the way from one request an hour to the hottest part, by its logarithm. */
#define HEAT_STEPS 9u
unsigned heat_step(const struct heat_map *m, const struct heat_part *p);
/* Where most of what a part holds lies. */
enum heat_where { HEAT_EMPTY, HEAT_ON_HDD, HEAT_IN_PART, HEAT_ON_SSD };
enum heat_where heat_where(const struct heat_part *p);
uint64_t heat_part_end(const struct heat_map *m, uint32_t i);

/* One row for each `columns` parts, where it lies below, a legend, and the hottest parts. colour: 256 colours by escapes. */
void heat_draw(FILE *f, const struct heat_map *m, unsigned columns, bool colour);
/* One line of at most `columns` signs. */
void heat_strip(FILE *f, const struct heat_map *m, unsigned columns, bool colour);
void heat_svg(FILE *f, const struct heat_map *m);

#endif
