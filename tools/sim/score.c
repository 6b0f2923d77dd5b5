/* SPDX-License-Identifier: Apache-2.0 */
/* score.c: means, percentiles, and the scorecard as a table and as JSON. */
#include "tools/sim/score.h"

#include "base/sizefmt.h"

#include <inttypes.h>
#include <stdlib.h>

void score_fini(struct score *s) { free(s->latency_ns); }

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

void score_finish(struct score *s)
{
    qsort(s->latency_ns, s->requests, sizeof(*s->latency_ns), by_value);
}

/* Whole numbers are added: the order in which the answers came does not show in the last digit. */
double score_mean_ns(const struct score *s)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < s->requests; i++)
        sum += s->latency_ns[i];
    return s->requests == 0 ? 0 : (double)sum / (double)s->requests;
}

uint64_t score_percentile_ns(const struct score *s, unsigned part)
{
    assert(part < 1000);
    return s->requests == 0 ? 0 : s->latency_ns[s->requests * part / 1000];
}

double score_read_hit(const struct score *s)
{
    return s->blocks_read == 0 ? 0 : 1 - (double)MIN(s->blocks_missed, s->blocks_read) / (double)s->blocks_read;
}

uint64_t score_header_bytes(const struct score *s)
{
    uint64_t named = s->ssd_host_bytes + s->ssd_moved_bytes + s->ssd_fill_bytes;

    return s->ssd.write_bytes - MIN(named, s->ssd.write_bytes);
}

static double mb(uint64_t bytes) { return (double)bytes / 1e6; }
static double ms(double ns) { return ns / 1e6; }

static void print_dev(struct strbuf *out, const char *name, const struct score_dev *d)
{
    strbuf_add(out, "%-12s %10" PRIu64 " reads %12.3f MB   %10" PRIu64 " writes %12.3f MB   busy %12.3f s", name, d->reads,
               mb(d->read_bytes), d->writes, mb(d->write_bytes), (double)d->busy_ns / 1e9);
    if (d->seeks != 0)
        strbuf_add(out, "   %" PRIu64 " seeks", d->seeks);
    strbuf_add(out, "\n");
}

static void print_hdd_parts(struct strbuf *out, const struct score *s)
{
    static const char *const name[] = {[SCORE_READ] = "reads", [SCORE_DESTAGE] = "destage", [SCORE_DESCRIBE] = "descriptions"};

    strbuf_add(out, "  time      ");
    for (unsigned u = 0; u < SCORE_USE_NR; u++)
        strbuf_add(out, " %s %.3f s + %.3f s%s", name[u], (double)s->use_ns[0][u] / 1e9, (double)s->use_ns[1][u] / 1e9,
                   u + 1 < SCORE_USE_NR ? "," : " (run + final flush)\n");
    strbuf_add(out, "  of it      %.3f MB destaged, %.3f MB bridging holes, %.3f MB descriptions\n",
               mb(s->destaged_blocks * BLOCK_BYTES), mb(s->bridged_blocks * BLOCK_BYTES), mb(s->described_bytes));
}

static void print_ssd_parts(struct strbuf *out, const struct score *s)
{
    strbuf_add(out, "  written    host %.3f MB, headers %.3f MB, relocated %.3f MB, fill %.3f MB\n", mb(s->ssd_host_bytes),
               mb(score_header_bytes(s)), mb(s->ssd_moved_bytes), mb(s->ssd_fill_bytes));
    strbuf_add(out, "  metadata   %" PRIu64 " batches, %.3f MB if LMDB writes them (modelled; beside the above)\n", s->meta_batches,
               mb(s->meta_pages * BLOCK_BYTES));
}

void score_print(struct strbuf *out, const struct score *s)
{
    double in_ram = s->blocks_read == 0 ? 0 : MIN((double)s->blocks_in_ram / (double)s->blocks_read, score_read_hit(s));
    char ssd[32], segment[32], footprint[32], span[32];

    strbuf_add(out, "trace        %" PRIu64 " requests (%" PRIu64 " reads, %" PRIu64 " writes), footprint %s, span %s\n", s->requests,
               s->reads, s->writes, size_format(s->footprint_bytes, footprint), size_format(s->span_bytes, span));
    strbuf_add(out, "arrivals     %s\n", s->closed ? "one request outstanding" : "at the trace's times");
    strbuf_add(out, "pool         SSD %s in segments of %s, %u HDD\n", size_format(s->ssd_bytes, ssd),
               size_format(s->segment_bytes, segment), s->nr_hdd);
    strbuf_add(out, "read hits    %.3f %% of %" PRIu64 " blocks (%.3f %% on the SSD, %.3f %% in RAM)\n", 100 * score_read_hit(s),
               s->blocks_read, 100 * (score_read_hit(s) - in_ram), 100 * in_ram);
    print_dev(out, "HDD", &s->hdd);
    print_hdd_parts(out, s);
    print_dev(out, "SSD", &s->ssd);
    print_ssd_parts(out, s);
    strbuf_add(out, "latency ms   mean %.6f   p50 %.6f   p99 %.6f   p99.9 %.6f   (%" PRIu64 " writes waited for space)\n",
               ms(score_mean_ns(s)), ms((double)score_percentile_ns(s, 500)), ms((double)score_percentile_ns(s, 990)),
               ms((double)score_percentile_ns(s, 999)), s->write_waits);
    strbuf_add(out, "time         %.6f s from first arrival to last answer, %.6f s of final flush\n", (double)s->run_ns / 1e9,
               (double)s->flush_ns / 1e9);
}

void score_json(struct strbuf *out, const struct score *s)
{
    strbuf_add(out, "{\"requests\": %" PRIu64 ", \"hdd_reads\": %" PRIu64 ", \"hdd_writes\": %" PRIu64 ", \"hdd_seeks\": %" PRIu64 ", ",
               s->requests, s->hdd.reads, s->hdd.writes, s->hdd.seeks);
    strbuf_add(out, "\"hdd_read_mb\": %.6f, \"hdd_write_mb\": %.6f, \"hdd_busy_s\": %.9f, ", mb(s->hdd.read_bytes),
               mb(s->hdd.write_bytes), (double)s->hdd.busy_ns / 1e9);
    strbuf_add(out, "\"ssd_write_mb\": %.6f, \"ssd_relocated_mb\": %.6f, \"read_hit\": %.9f, ", mb(s->ssd.write_bytes),
               mb(s->ssd_moved_bytes), score_read_hit(s));
    strbuf_add(out, "\"mean_ms\": %.9f, \"p50_ms\": %.6f, \"p99_ms\": %.6f, \"p999_ms\": %.6f}\n", ms(score_mean_ns(s)),
               ms((double)score_percentile_ns(s, 500)), ms((double)score_percentile_ns(s, 990)),
               ms((double)score_percentile_ns(s, 999)));
}
