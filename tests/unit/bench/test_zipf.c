/* SPDX-License-Identifier: Apache-2.0 */
/* Places drawn by Zipf's law: how often each rank comes up, and that ranks and places are one to one. */
#include "../../../tools/bench/zipf.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static uint64_t bits(void *state)
{
    uint64_t x = *(uint64_t *)state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void expect_law(double theta, uint64_t nr)
{
    enum { DRAWS = 400000 };
    struct zipf z;
    uint64_t state = 7, *count = calloc(nr + 1, sizeof(*count));
    double sum = 0;

    zipf_init(&z, nr, theta, 1);
    for (uint64_t k = 1; k <= nr; k++)
        sum += pow((double)k, -theta);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t k = zipf_rank(&z, bits, &state);

        cr_assert(k >= 1 && k <= nr);
        count[k]++;
    }
    for (uint64_t k = 1; k <= MIN(nr, (uint64_t)20); k++) {
        double want = DRAWS * pow((double)k, -theta) / sum;

        cr_assert(fabs((double)count[k] - want) < 5 * sqrt(want) + 1, "theta %.2f of %llu: rank %llu came up %llu times, not %.0f", theta,
                  (unsigned long long)nr, (unsigned long long)k, (unsigned long long)count[k], want);
    }
    free(count);
}

Test(zipf, ranks_come_up_by_the_law)
{
    static const double thetas[] = {0.5, 0.99, 1.0, 1.1, 2.0};

    for (size_t i = 0; i < ARRAY_LEN(thetas); i++) {
        expect_law(thetas[i], 1);
        expect_law(thetas[i], 10);
        expect_law(thetas[i], 100000);
    }
}

Test(zipf, every_place_has_one_rank)
{
    for (uint64_t nr = 1; nr < 200; nr++) {
        struct zipf z;
        uint8_t seen[256] = {0};
        uint64_t found = 0;

        zipf_init(&z, nr, 1.0, 16);
        for (uint64_t rank = 1; rank <= z.runs * z.run; rank++) {
            uint64_t place = zipf_place(&z, rank);

            if (place >= nr)
                continue;
            cr_assert_eq(seen[place]++, 0);
            found++;
        }
        cr_assert_eq(found, nr);
    }
}
