/* SPDX-License-Identifier: Apache-2.0 */
/* What a long verification says of itself, by a clock of the test's. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tools/bench/progress.h"

static char *said(bool tty, uint64_t total, const uint64_t (*at)[2], size_t nr)
{
    struct progress p;
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    progress_start(&p, f, tty, 5 * NS_PER_S, total);
    for (size_t i = 0; i < nr; i++)
        progress_tick(&p, at[i][0] * NS_PER_MS, at[i][1]);
    progress_end(&p);
    fclose(f);
    return text;
}

Test(progress, a_short_run_says_nothing)
{
    static const uint64_t at[][2] = {{5001, 10}, {5999, 100}};
    char *text = said(true, 100, at, ARRAY_LEN(at));

    cr_assert_str_eq(text, "");
    free(text);
}

Test(progress, elsewhere_than_on_a_terminal_a_line_each_ten_seconds)
{
    static const uint64_t at[][2] = {{6000, 1}, {14999, 30}, {15000, 40}, {15100, 41}, {24999, 70}, {25000, 75}, {36000, 130}};
    char *text = said(false, 100, at, ARRAY_LEN(at));

    cr_assert_str_eq(text, "firn-bench: verify: 40 of 100 blocks read, 40 %\n"
                           "firn-bench: verify: 75 of 100 blocks read, 75 %\n"
                           "firn-bench: verify: 100 of 100 blocks read, 100 %\n");
    free(text);
}

Test(progress, on_a_terminal_one_line_that_is_wiped_at_the_end)
{
    static const uint64_t at[][2] = {{6000, 1}, {6500, 2}, {7000, 3}};
    char *text = said(true, 3, at, ARRAY_LEN(at));

    cr_assert_str_eq(text, "\rfirn-bench: verify: 1 of 3 blocks read, 33 %\rfirn-bench: verify: 3 of 3 blocks read, 100 %\r\033[K");
    free(text);
}
