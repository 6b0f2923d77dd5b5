/* SPDX-License-Identifier: Apache-2.0 */
/* size_curve.h: how large should the SSD be? One trace replayed at several sizes: hits, what is left for the HDDs, wear. */
#ifndef FIRN_SIM_SIZE_CURVE_H
#define FIRN_SIM_SIZE_CURVE_H

#include "base/strbuf.h"
#include "tools/sim/replay.h"

#define SIZE_POINTS_MAX 32u

struct size_point {
    uint64_t ssd_bytes;          /* room for segments */
    bool     too_small;          /* for the engine: the rest is not known */
    double   read_hit;           /* 0..1 */
    double   hdd_busy_s;         /* of all HDDs, the final flush included */
    double   hdd_load;           /* busy time as a part of the replay's, final flush included; 1: never at rest */
    double   mean_ms, p99_ms;
    double   ssd_write_mb;       /* MB: 10^6 bytes */
    double   wear;               /* bytes written to the SSD for each that the host wrote; without host writes for each that it read */
    double   turnovers;          /* times that the SSD was written over */
};

struct size_curve {
    uint64_t footprint_bytes;
    uint32_t nr_hdd, nr;
    bool     closed;             /* one request outstanding: the load says less than the busy seconds */
    struct size_point point[SIZE_POINTS_MAX];
};

/* point[..nr].ssd_bytes are given; sorts them, leaves doubles out, fills the rest in. Else why says what went wrong. */
int  size_curve_run(const struct replay_opts *base, struct size_curve *c, char why[static 256]);
void size_curve_print(struct strbuf *out, const struct size_curve *c);
void size_curve_json(struct strbuf *out, const struct size_curve *c);
double size_part(const struct size_curve *c, const struct size_point *p); /* of the footprint, in percent */
void size_curve_svg(struct strbuf *out, const struct size_curve *c);

#endif
