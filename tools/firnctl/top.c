/* SPDX-License-Identifier: Apache-2.0 */
/* top.c: `firnctl top`: rates per volume between two looks at the server's counters. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/sizefmt.h"
#include "tools/firnctl/client.h"
#include "tools/firnctl/commands.h"

#define ROWS_MAX 30u

struct row { const char *name; double reads, writes, bytes, read_us, write_us, hits; }; /* hits: 0 to 1; -1: no block was read */

static int64_t io_num(const json_t *v, const char *op, const char *key)
{
    return v ? json_num(json_object_get(json_object_get(v, "io"), op), key) : 0;
}

static double delta(const json_t *now, const json_t *then, const char *op, const char *key)
{
    int64_t d = io_num(now, op, key) - io_num(then, op, key);

    return d > 0 ? (double)d : 0; /* a volume made anew under its name counts from 0 */
}

static double mean_us(const json_t *now, const json_t *then, const char *op)
{
    double n = delta(now, then, op, "latency_count");

    return n > 0 ? delta(now, then, op, "latency_sum_ns") / n / 1000 : 0;
}

static const json_t *find(const json_t *volumes, const char *name)
{
    size_t i;
    json_t *v;

    json_array_foreach(volumes, i, v)
        if (strcmp(json_text(v, "name"), name) == 0)
            return v;
    return NULL;
}

static int by_load(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    double lx = x->reads + x->writes, ly = y->reads + y->writes;

    return lx < ly ? 1 : lx > ly ? -1 : strcmp(x->name, y->name);
}

static json_t *ratio_json(double hits) { return hits < 0 ? json_null() : json_real(hits); }

static json_t *row_json(const struct row *r)
{
    return json_pack("{s:s,s:f,s:f,s:f,s:f,s:f,s:o}", "name", r->name, "read_iops", r->reads, "write_iops", r->writes, "bytes_per_second",
                     r->bytes, "read_us", r->read_us, "write_us", r->write_us, "hit_ratio", ratio_json(r->hits));
}

static double ratio_of(int64_t hit, int64_t miss)
{
    return hit < 0 || miss < 0 || hit + miss == 0 ? -1 : (double)hit / (double)(hit + miss); /* below 0: they were counted anew */
}

static double volume_hits(const json_t *now, const json_t *then)
{
    const json_t *a = json_object_get(now, "read_blocks"), *b = json_object_get(then, "read_blocks");

    return ratio_of(json_num(a, "hit") - json_num(b, "hit"), json_num(a, "miss") - json_num(b, "miss"));
}

static double hit_ratio(const json_t *now, const json_t *then)
{
    const json_t *a = json_object_get(now, "tier"), *b = json_object_get(then, "tier");
    int64_t ssd = json_num(a, "read_hit_blocks") - json_num(b, "read_hit_blocks");
    int64_t ram = json_num(a, "stage_hit_blocks") - json_num(b, "stage_hit_blocks");

    return ratio_of(ssd + ram, json_num(a, "read_miss_blocks") - json_num(b, "read_miss_blocks"));
}

static void print_row(const struct row *r)
{
    char bytes[32], hits[32] = "-";

    if (r->hits >= 0)
        snprintf(hits, sizeof(hits), "%.1f", 100 * r->hits);
    printf("%-26s %9.0f %9.0f %10s %8.0f %9.0f %8s\n", r->name, r->reads, r->writes, size_format((uint64_t)r->bytes, bytes), r->read_us,
           r->write_us, hits);
}

static void print_screen(const struct args *a, const struct row *rows, size_t n, double hits, double seconds)
{
    double reads = 0, writes = 0, bytes = 0;
    json_t *list = json_array(), *doc;
    char b[32];

    for (size_t i = 0; i < n; i++) {
        reads += rows[i].reads;
        writes += rows[i].writes;
        bytes += rows[i].bytes;
        json_array_append_new(list, row_json(&rows[i]));
    }
    doc = json_pack("{s:f,s:f,s:f,s:f,s:o,s:o}", "seconds", seconds, "read_iops", reads, "write_iops", writes, "bytes_per_second", bytes,
                    "hit_ratio", ratio_json(hits), "volumes", list);
    if (!print_json(a, doc)) {
        if (isatty(STDOUT_FILENO))
            printf("\033[H\033[J");
        printf("%.0f reads/s, %.0f writes/s, %s/s", reads, writes, size_format((uint64_t)bytes, b));
        if (hits >= 0)
            printf(", %.1f %% of blocks read were on the SSD or in RAM", hits * 100);
        printf("\n\n");
        printf("%-26s %9s %9s %10s %8s %9s %8s\n", "VOLUME", "READS/s", "WRITES/s", "BYTES/s", "READ us", "WRITE us", "HITS %");
        for (size_t i = 0; i < n && i < ROWS_MAX; i++)
            print_row(&rows[i]);
    }
    json_decref(doc);
    fflush(stdout);
}

struct look { json_t *volumes, *status; double at_s; };

static void look_free(struct look *l)
{
    json_decref(l->volumes);
    json_decref(l->status);
    *l = (struct look){0};
}

static bool look_take(const struct args *a, struct look *l)
{
    struct timespec t;

    *l = (struct look){.volumes = all_volumes(a)};
    clock_gettime(CLOCK_MONOTONIC, &t);
    l->at_s = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    if (l->volumes && client_json(a, "cannot get the status", "GET", "/v1/status", NULL, &l->status, NULL) == 0)
        return true;
    look_free(l);
    return false;
}

static void show(const struct args *a, const struct look *now, const struct look *then)
{
    size_t n = json_array_size(now->volumes), i;
    struct row *rows = calloc(n + 1, sizeof(*rows));
    double s = now->at_s - then->at_s;
    json_t *v;

    if (!rows)
        return;
    json_array_foreach(now->volumes, i, v)
    {
        const json_t *was = find(then->volumes, json_text(v, "name"));

        rows[i] = (struct row){.name = json_text(v, "name"),
                               .reads = delta(v, was, "read", "ops") / s,
                               .writes = delta(v, was, "write", "ops") / s,
                               .bytes = (delta(v, was, "read", "bytes") + delta(v, was, "write", "bytes")) / s,
                               .read_us = mean_us(v, was, "read"),
                               .write_us = mean_us(v, was, "write"),
                               .hits = volume_hits(v, was)};
    }
    qsort(rows, n, sizeof(*rows), by_load);
    print_screen(a, rows, n, hit_ratio(now->status, then->status), s);
    free(rows);
}

static bool whole(const char *text, unsigned long max, unsigned long *out)
{
    char *end;

    *out = strtoul(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && !*end && *out >= 1 && *out <= max;
}

int cmd_top(const struct args *a)
{
    unsigned long count = 0, interval = 1;
    struct look then, now;

    if ((arg(a, count) && !whole(arg(a, count), 1000000, &count)) || (arg(a, interval) && !whole(arg(a, interval), 3600, &interval))) {
        fprintf(stderr, "firnctl: top: --count takes 1 to 1000000, --interval 1 to 3600 seconds\n");
        return CTL_USAGE;
    }
    if (!look_take(a, &then))
        return CTL_FAILED;
    for (unsigned long i = 0; count == 0 || i < count; i++) {
        sleep((unsigned)interval);
        if (!look_take(a, &now)) {
            look_free(&then);
            return CTL_FAILED;
        }
        show(a, &now, &then);
        look_free(&then);
        then = now;
    }
    look_free(&then);
    return CTL_DONE;
}
