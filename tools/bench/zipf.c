/* SPDX-License-Identifier: Apache-2.0 */
/* zipf.c: rejection-inversion (Hoermann and Derflinger, 1996). The density x^-theta is drawn by inverting its integral; the
 * rounded result is a rank, and the few draws that lie over the corner of its bar are thrown away. */
#include "zipf.h"

#include <math.h>

static double integral(double theta, double x)
{
    return fabs(theta - 1) < 1e-9 ? log(x) : (pow(x, 1 - theta) - 1) / (1 - theta);
}

static double inverse(double theta, double y)
{
    return fabs(theta - 1) < 1e-9 ? exp(y) : pow(MAX(1 + y * (1 - theta), 0.0), 1 / (1 - theta));
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

void zipf_init(struct zipf *z, uint64_t nr, double theta, uint64_t run)
{
    assert(nr > 0 && run > 0 && theta > 0 && theta <= ZIPF_THETA_MAX);
    *z = (struct zipf){.theta = theta, .nr = nr, .run = run, .runs = (nr + run - 1) / run};
    z->step = MAX((uint64_t)((double)z->runs * 0.6180339887), (uint64_t)1);
    while (common_divisor(z->step, z->runs) != 1) /* then every run comes up once */
        z->step++;
    z->high = integral(theta, (double)nr + 0.5);
    z->low = integral(theta, 1.5) - 1;
    z->near = 2 - inverse(theta, integral(theta, 2.5) - pow(2, -theta));
}

uint64_t zipf_rank(const struct zipf *z, uint64_t (*bits)(void *ctx), void *ctx)
{
    for (;;) {
        double u = z->high + (double)(bits(ctx) >> 11) * 0x1p-53 * (z->low - z->high), x = inverse(z->theta, u);
        double k = MIN(MAX(floor(x + 0.5), 1.0), (double)z->nr);

        if (k - x <= z->near || u >= integral(z->theta, k + 0.5) - pow(k, -z->theta))
            return (uint64_t)k;
    }
}

uint64_t zipf_place(const struct zipf *z, uint64_t rank)
{
    uint64_t run = (rank - 1) / z->run;

    return (uint64_t)((unsigned __int128)run * z->step % z->runs) * z->run + (rank - 1) % z->run;
}

uint64_t zipf_next(const struct zipf *z, uint64_t (*bits)(void *ctx), void *ctx)
{
    uint64_t place;

    do
        place = zipf_place(z, zipf_rank(z, bits, ctx));
    while (place >= z->nr);
    return place;
}
