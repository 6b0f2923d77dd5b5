/* SPDX-License-Identifier: Apache-2.0 */
/* Block traces: what a line may be, what is said of one that is not, and what a trace touches. */
#include "tools/sim/trace.h"

#include "base/err.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

static char path[64];
static char why[512];
static struct trace t;

static void begin(void)
{
    snprintf(path, sizeof(path), "/tmp/firn-trace-XXXXXX");
    close(mkstemp(path));
}

static void end(void)
{
    trace_free(&t);
    unlink(path);
}

static int read_text(const char *text, size_t len)
{
    FILE *f = fopen(path, "w");

    cr_assert(f != NULL && fwrite(text, 1, len, f) == len && fclose(f) == 0);
    return trace_read(path, &t, why);
}

static void is_broken(const char *text, unsigned line, const char *what)
{
    char at[96];

    snprintf(at, sizeof(at), "%s:%u: ", path, line);
    cr_assert_eq(read_text(text, strlen(text)), -FIRN_E_INVALID, "\"%s\" was taken", text);
    cr_assert(strncmp(why, at, strlen(at)) == 0, "%s", why);
    cr_assert(strstr(why, what) != NULL, "%s", why);
    cr_assert(t.req == NULL && t.nr == 0);
}

Test(trace, lines_become_requests, .init = begin, .fini = end)
{
    const char text[] = "0,R,4096,512\n-1,W,0,1\r\n7200500000,W,34359738367,1073741824";

    cr_assert_eq(read_text(text, strlen(text)), 0, "%s", why);
    cr_assert_eq(t.nr, 3u);
    cr_assert(t.req[0].t_us == 0 && !t.req[0].write && t.req[0].off_bytes == 4096 && t.req[0].len_bytes == 512);
    cr_assert(t.req[1].t_us == -1 && t.req[1].write && t.req[1].off_bytes == 0 && t.req[1].len_bytes == 1);
    cr_assert(t.req[2].t_us == 7200500000 && t.req[2].off_bytes == 34359738367 && t.req[2].len_bytes == TRACE_LEN_MAX);
    cr_assert_eq(t.end_bytes, 34359738367u + TRACE_LEN_MAX);
}

Test(trace, a_broken_line_is_named, .init = begin, .fini = end)
{
    is_broken("", 1, "no request");
    is_broken("t_us,op,offset,len\n", 1, "the time");
    is_broken("0,R,0,4096\n\n0,R,0,4096\n", 2, "the line is empty");
    is_broken("0,R,0,4096\n\n \r\n0,R,0,4096\n\n", 2, "the line is empty");
    is_broken("\n\n", 1, "no request");
    is_broken("0,R,0,4096\n-2,R,0,4096\n", 2, "the time");
    is_broken("+1,R,0,4096\n", 1, "the time");
    is_broken("1.5,R,0,4096\n", 1, "the time");
    is_broken("99999999999999999999,R,0,4096\n", 1, "the time");
    is_broken("0,r,0,4096\n", 1, "the operation");
    is_broken("0,RW,0,4096\n", 1, "the operation");
    is_broken("0\n", 1, "the time");
    is_broken("0,R\n", 1, "the operation");
    is_broken("0,R,-4096,4096\n", 1, "the offset");
    is_broken("0,R,281474976710657,4096\n", 1, "the offset");
    is_broken("0,R,0x10,4096\n", 1, "the offset");
    is_broken("0,R,4096\n", 1, "the offset");
    is_broken("0,R,0,\n", 1, "the length");
    is_broken("0,R,0,0\n", 1, "the length");
    is_broken("0,R,0,1073741825\n", 1, "the length");
    is_broken("0,R,0,4096,1\n", 1, "more follows");
    is_broken("0,R,0,4096 \n", 1, "more follows");
    is_broken("0,R,281474976710656,1\n", 1, "behind 256 TiB");
}

Test(trace, the_earliest_time_is_zero, .init = begin, .fini = end)
{
    const char text[] = "-1,R,0,1\n1600000000000500,R,0,1\n1600000000000000,W,0,1\n-1,R,0,1\n1600000001000000,R,0,1\n";

    cr_assert_eq(read_text(text, strlen(text)), 0, "%s", why);
    cr_assert(t.req[0].t_us == -1 && t.req[1].t_us == 500 && t.req[2].t_us == 0 && t.req[3].t_us == -1 && t.req[4].t_us == 1000000);
    cr_assert(trace_timed(&t));
    trace_free(&t);
    cr_assert_eq(read_text("-1,R,0,1\n", 9), 0, "%s", why);
    cr_assert(t.req[0].t_us == -1 && !trace_timed(&t));
}

Test(trace, empty_lines_at_the_end_are_no_requests, .init = begin, .fini = end)
{
    static const char *const ends[] = {"\n", "\n\n", "\n\r\n", "\n\n\n \t\n", "\n ", "\r\n\r\n"};

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        char text[64];
        int n = snprintf(text, sizeof(text), "0,R,0,4096\n1,W,4096,4096%s", ends[i]);

        cr_assert_eq(read_text(text, (size_t)n), 0, "%zu: %s", i, why);
        cr_assert_eq(t.nr, 2u);
        trace_free(&t);
    }
}

Test(trace, what_is_no_text_is_refused, .init = begin, .fini = end)
{
    const char nul[] = "0,R,0,4096\0\n0,R,0,4096\n";
    char longer[400];

    cr_assert_eq(read_text(nul, sizeof(nul) - 1), -FIRN_E_INVALID);
    cr_assert(strstr(why, ":1: ") != NULL && strstr(why, "not text") != NULL, "%s", why);
    memset(longer, '0', sizeof(longer));
    cr_assert_eq(read_text(longer, sizeof(longer)), -FIRN_E_INVALID);
    cr_assert(strstr(why, "longer than") != NULL, "%s", why);
}

static size_t write_gz(unsigned lines)
{
    gzFile f = gzopen(path, "wb");
    FILE *p;
    long size;

    for (unsigned i = 0; i < lines; i++)
        gzprintf(f, "%u,%c,%u,%u\n", i, i % 3 ? 'R' : 'W', i * 7919u % 100000u * 4096u, 4096u);
    gzclose(f);
    p = fopen(path, "r");
    fseek(p, 0, SEEK_END);
    size = ftell(p);
    fclose(p);
    return (size_t)size;
}

Test(trace, gzip_is_read_like_text, .init = begin, .fini = end)
{
    write_gz(5000);
    cr_assert_eq(trace_read(path, &t, why), 0, "%s", why);
    cr_assert_eq(t.nr, 5000u);
    cr_assert_eq(t.req[4999].t_us, 4999);
    cr_assert_eq(t.blocks, 5000u);
}

Test(trace, gzip_that_ends_too_soon_is_refused, .init = begin, .fini = end)
{
    size_t size = write_gz(5000);

    cr_assert_eq(truncate(path, (off_t)size / 2), 0);
    cr_assert_eq(trace_read(path, &t, why), -FIRN_E_INVALID);
    cr_assert(strstr(why, "ends too soon") != NULL, "%s", why);
    write_gz(5000);
    cr_assert_eq(truncate(path, (off_t)size - 4), 0);
    cr_assert_eq(trace_read(path, &t, why), -FIRN_E_INVALID, "without its last sum");
}

Test(trace, gzip_that_ends_anywhere_but_at_its_end_is_refused, .init = begin, .fini = end)
{
    size_t size = write_gz(40);

    for (size_t n = size - 1; n > 0; n--) {
        cr_assert_eq(truncate(path, (off_t)n), 0);
        cr_assert_eq(trace_read(path, &t, why), -FIRN_E_INVALID, "%zu of %zu bytes", n, size);
        cr_assert(n < 2 || strstr(why, "ends too soon") != NULL, "%zu: %s", n, why);
    }
}

Test(trace, a_file_that_cannot_be_read_is_named)
{
    cr_assert_eq(trace_read("/nonexistent/trace.csv", &t, why), -ENOENT);
    cr_assert(strstr(why, "/nonexistent/trace.csv") != NULL, "%s", why);
    cr_assert_lt(trace_read("/tmp", &t, why), 0);
    cr_assert(strstr(why, "/tmp") != NULL, "%s", why);
}

Test(trace, touched_blocks_are_numbered_without_gaps, .fini = end)
{
    trace_add(&t, 0, true, 100 * BLOCK_BYTES, 3 * BLOCK_BYTES);
    trace_add(&t, 0, false, 7, 1);                                          /* block 0 */
    trace_add(&t, 0, true, 10 * BLOCK_BYTES - 1, 2);                        /* 9 and 10 */
    trace_add(&t, 0, false, 102 * BLOCK_BYTES, 2 * BLOCK_BYTES);            /* overlaps 100..102 */
    trace_add(&t, 0, false, 104 * BLOCK_BYTES, BLOCK_BYTES);                /* meets 103 */
    trace_index(&t);
    cr_assert_eq(t.nr_runs, 3u);
    cr_assert_eq(t.blocks, 1u + 2u + 5u);
    cr_assert_eq(trace_rank(&t, 0), 0u);
    cr_assert_eq(trace_rank(&t, 9), 1u);
    cr_assert_eq(trace_rank(&t, 10), 2u);
    for (unsigned b = 100; b < 105; b++)
        cr_assert_eq(trace_rank(&t, b), b - 100 + 3);
    cr_assert_eq(t.end_bytes, 105u * BLOCK_BYTES);
}
