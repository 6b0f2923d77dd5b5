/* SPDX-License-Identifier: Apache-2.0 */
/* trace.c: reading a block trace.
 *
 * 1. zlib hands out lines, of compressed files and of others alike.
 * 2. A line is taken apart field by field; the first that is broken ends the reading with its number and what is wrong. Empty
 *    lines at the end are none.
 * 3. The earliest time becomes 0: recorders begin to count at their start, at midnight, or in 1970.
 * 4. The requests' ranges are sorted and joined: footprint, and a number for each touched block.
 */
#include "tools/sim/trace.h"

#include "base/err.h"
#include "base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <zlib.h>

#define LINE_MAX_CHARS 255

/* ---- lines ---- */

/* Takes digits at *at up to the end character; moves *at behind it. */
static bool take_number(const char **at, char end, uint64_t max, uint64_t *out)
{
    const char *c = *at;
    uint64_t n = 0;

    if (*c < '0' || *c > '9')
        return false;
    for (; *c >= '0' && *c <= '9'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');

        if (n > (max - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *at = c + 1;
    *out = n;
    return *c == end;
}

/* NULL, or what is wrong. */
static const char *parse_line(const char *at, struct trace_req *q)
{
    uint64_t t = 0, off, len;

    q->t_us = -1;
    if (strncmp(at, "-1,", 3) == 0)
        at += 3;
    else if (take_number(&at, ',', INT64_MAX / 2000, &t))
        q->t_us = (int64_t)t;
    else
        return "the time is neither -1 nor a number of microseconds (t_us,op,offset,len)";
    if ((at[0] != 'R' && at[0] != 'W') || at[1] != ',')
        return "the operation is neither R nor W (t_us,op,offset,len)";
    q->write = at[0] == 'W';
    at += 2;
    if (!take_number(&at, ',', VOLUME_BYTES_MAX, &off))
        return "the offset is not a number of bytes up to 256 TiB (t_us,op,offset,len)";
    if (!take_number(&at, '\0', TRACE_LEN_MAX, &len) || len == 0)
        return "the length is not a number of bytes from 1 to 2^30, or more follows it (t_us,op,offset,len)";
    if (off + len > VOLUME_BYTES_MAX)
        return "the request ends behind 256 TiB";
    q->off_bytes = off;
    q->len_bytes = (uint32_t)len;
    return NULL;
}

/* Another archive, or a disk: what it lacks in its first field helps nobody. */
static bool is_text(const char *line)
{
    for (; *line != '\0'; line++)
        if (((unsigned char)*line < ' ' && *line != '\t' && *line != '\r') || (unsigned char)*line >= 0x7f)
            return false;
    return true;
}

/* Lines as they come: *empty is the number of the first of the empty ones that nothing has followed yet; 0: none. */
static const char *take_line(char *line, bool last, uint64_t no, uint64_t *empty, struct trace *t)
{
    size_t n = strlen(line);
    struct trace_req q;
    const char *wrong;

    if (n > 0 && line[n - 1] == '\n')
        line[--n] = '\0';
    else if (!last)
        return "the line is longer than 255 characters, or not text";
    if (n > 0 && line[n - 1] == '\r')
        line[n - 1] = '\0';
    if (line[strspn(line, " \t")] == '\0') {
        *empty = *empty ? *empty : no;
        return NULL;
    }
    if (*empty)
        return "the line is empty, and not the last (t_us,op,offset,len)";
    wrong = parse_line(line, &q);
    if (wrong != NULL && !is_text(line))
        return "this is not text: a trace is text, or text compressed with gzip";
    if (wrong == NULL)
        trace_add(t, q.t_us, q.write, q.off_bytes, q.len_bytes);
    return wrong;
}

/* ---- the file ---- */

static int read_error(gzFile f, const char *path, uint64_t line, char why[static 512])
{
    int z, e = errno;

    (void)gzerror(f, &z);
    if (z == Z_OK || z == Z_STREAM_END)
        return 0;
    snprintf(why, 512, "%.300s:%llu: %.120s", path, (unsigned long long)line,
             z == Z_ERRNO       ? err_text(e)
             : z == Z_BUF_ERROR ? "the compressed file ends too soon: copy it again"
                                : "the compressed file is damaged: copy it again");
    return z == Z_ERRNO ? -e : -FIRN_E_INVALID;
}

/* What a flipped bit makes of a line may come long before the code that cannot be, or the sum at the end, that tells of it. */
static int damage_behind(gzFile f, const char *path, uint64_t line, char why[static 512])
{
    char rest[4096];

    while (gzread(f, rest, sizeof(rest)) > 0) {
    }
    return read_error(f, path, line, why);
}

static int read_lines(gzFile f, const char *path, struct trace *t, char why[static 512])
{
    char line[LINE_MAX_CHARS + 2];
    uint64_t no = 1, empty = 0;

    for (; gzgets(f, line, sizeof(line)) != NULL; no++) {
        const char *wrong = take_line(line, gzeof(f), no, &empty, t);
        int err = wrong != NULL ? damage_behind(f, path, no, why) : 0; /* a torn stream shows as a torn line */

        if (err != 0)
            return err;
        if (wrong != NULL) {
            snprintf(why, 512, "%.300s:%llu: %s", path, (unsigned long long)(empty ? empty : no), wrong);
            return -FIRN_E_INVALID;
        }
    }
    return read_error(f, path, no, why);
}

/* 0, or an error with what to do in why. */
static int open_trace(const char *path, gzFile *out, char why[static 512])
{
    struct stat st;
    int err = 0;

    errno = 0;
    *out = gzopen(path, "rb");
    if (*out == NULL)
        err = errno == 0 ? -ENOMEM : -errno;
    else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) /* opens, and cannot be read */
        err = -EISDIR;
    if (err == 0)
        return 0;
    if (*out != NULL)
        gzclose(*out);
    snprintf(why, 512, "%.300s: the trace cannot be read: %s; %s", path, err_text(err),
             err == -EISDIR   ? "name a file in it"
             : err == -EACCES ? "let this user read it"
                              : "see that the name is right, or make a trace: firn-sim trace-gen oltp >FILE");
    return err;
}

static void begin_at_zero(struct trace *t)
{
    int64_t first_us = INT64_MAX;

    for (size_t i = 0; i < t->nr; i++)
        first_us = t->req[i].t_us < 0 ? first_us : MIN(first_us, t->req[i].t_us);
    for (size_t i = 0; i < t->nr; i++)
        t->req[i].t_us -= t->req[i].t_us < 0 ? 0 : first_us;
}

int trace_read(const char *path, struct trace *out, char why[static 512])
{
    gzFile f;
    int err, z;

    *out = (struct trace){0};
    err = open_trace(path, &f, why);
    if (err != 0)
        return err;
    gzbuffer(f, 1u << 12); /* lines before damage in the same buffer are lost: a large one would blame line 1 */
    errno = 0;
    err = read_lines(f, path, out, why);
    z = gzclose(f);
    if (err == 0 && z != Z_OK) {
        snprintf(why, 512, "%.300s:%zu: the compressed file ends too soon: copy it again", path, out->nr + 1);
        err = -FIRN_E_INVALID;
    }
    if (err == 0 && out->nr == 0) {
        snprintf(why, 512, "%.300s:1: there is no request in the file", path);
        err = -FIRN_E_INVALID;
    }
    if (err != 0) {
        trace_free(out);
    } else {
        begin_at_zero(out);
        trace_index(out);
    }
    return err;
}

void trace_free(struct trace *t)
{
    free(t->req);
    free(t->run);
    *t = (struct trace){0};
}

/* ---- what is touched ---- */

bool trace_timed(const struct trace *t)
{
    for (size_t i = 0; i < t->nr; i++)
        if (t->req[i].t_us >= 0)
            return true;
    return false;
}

void trace_add(struct trace *t, int64_t t_us, bool write, uint64_t off_bytes, uint32_t len_bytes)
{
    assert(len_bytes > 0);
    if ((t->nr & (t->nr - 1)) == 0) { /* full at every power of two */
        t->req = realloc(t->req, MAX(t->nr * 2, (size_t)1) * sizeof(*t->req));
        assert(t->req != NULL);
    }
    t->req[t->nr++] = (struct trace_req){.t_us = t_us, .off_bytes = off_bytes, .len_bytes = len_bytes, .write = write};
    t->end_bytes = MAX(t->end_bytes, off_bytes + len_bytes);
}

static int by_first(const void *a, const void *b)
{
    const struct trace_run *x = a, *y = b;

    return (x->first > y->first) - (x->first < y->first);
}

static void join_runs(struct trace *t)
{
    size_t kept = 0;

    for (size_t i = 1; i < t->nr_runs; i++) {
        struct trace_run *into = &t->run[kept], *r = &t->run[i];

        if (r->first <= into->first + into->nr)
            into->nr = MAX(into->nr, r->first + r->nr - into->first);
        else
            t->run[++kept] = *r;
    }
    t->nr_runs = kept + 1;
}

void trace_index(struct trace *t)
{
    assert(t->nr > 0 && t->run == NULL);
    t->run = malloc(t->nr * sizeof(*t->run));
    assert(t->run != NULL);
    for (size_t i = 0; i < t->nr; i++)
        t->run[i] = (struct trace_run){.first = trace_first(&t->req[i]), .nr = trace_last(&t->req[i]) - trace_first(&t->req[i]) + 1};
    t->nr_runs = t->nr;
    qsort(t->run, t->nr_runs, sizeof(*t->run), by_first);
    join_runs(t);
    t->blocks = 0;
    for (size_t i = 0; i < t->nr_runs; i++) {
        t->run[i].base = t->blocks;
        t->blocks += t->run[i].nr;
    }
}

uint64_t trace_rank(const struct trace *t, uint64_t block)
{
    size_t lo = 0, hi = t->nr_runs;

    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        if (t->run[mid].first <= block)
            lo = mid;
        else
            hi = mid;
    }
    assert(block >= t->run[lo].first && block - t->run[lo].first < t->run[lo].nr);
    return t->run[lo].base + (block - t->run[lo].first);
}
