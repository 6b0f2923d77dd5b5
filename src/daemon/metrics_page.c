/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_page.c: /metrics.
 *
 * What it says of volumes is known on reactor 0 only: it is fetched first, in pieces of NODE_STATS_MAX volumes, which are
 * copied there and printed here, each family of series into a text of its own; then the collector puts the page together. No
 * lock that a reactor takes is held. Nothing is kept for a volume between two pages, so ten thousand volumes cost nothing but
 * the page, and a deleted one is gone from the next. Histograms are printed for operations that have happened.
 */
#include "daemon/metrics_page.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "journal/journal.h"
#include "rt/metrics.h"

/* Families of series that every volume has:  type   help */
#define VOLUME_FAMILIES(x)                                                                            \
    x(ops_total,       "counter",   "Commands completed, by operation.")                              \
    x(bytes_total,     "counter",   "Bytes moved by commands, by operation.")                         \
    x(latency_seconds, "histogram", "Time from command to completion, by operation.")                 \
    x(cache_hits_total,   "counter", "Blocks of the volume read that the SSD or RAM held.")            \
    x(cache_misses_total, "counter", "Blocks of the volume read that a capacity device held.")        \
    x(controllers,     "gauge",     "Hosts' controllers connected to the volume.")                    \
    x(size_bytes,      "gauge",     "Size of the volume as hosts see it.")                            \
    x(used_bytes,      "gauge",     "Bytes that the volume takes, by tier.")                          \
    x(dirty_bytes,     "gauge",     "Bytes of the volume that are on the SSD only.")

struct metrics_page {
    struct metric_collector coll;
    struct node    *n;
    pthread_mutex_t mu;    /* one page at a time: what follows is the page's */
    bool            complete;
#define X(name, type, help) struct strbuf name;
    VOLUME_FAMILIES(X)
#undef X
};

static const char *const op_names[SUBSYS_OP_NR] = {
    [SUBSYS_READ] = "read", [SUBSYS_WRITE] = "write", [SUBSYS_FLUSH] = "flush",
    [SUBSYS_DISCARD] = "discard", [SUBSYS_WRITE_ZEROES] = "write_zeroes", [SUBSYS_OTHER] = "other",
};
static const char *const dev_op_names[DEV_OP_NR] = {
    [DEV_READ] = "read", [DEV_WRITE] = "write", [DEV_FLUSH] = "flush", [DEV_DISCARD] = "discard",
};

static void head(struct strbuf *b, const char *name, const char *type, const char *help)
{
    strbuf_add(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* ---- volumes ----------------------------------------------------------------------------------------------------- */

static void print_op(struct metrics_page *p, const struct volume_stats *v, enum subsys_op op)
{
    char labels[128];

    snprintf(labels, sizeof(labels), "volume=\"%s\",op=\"%s\"", v->name, op_names[op]);
    if (v->ops[op] || op <= SUBSYS_WRITE)
        strbuf_add(&p->ops_total, "firn_volume_ops_total{%s} %" PRIu64 "\n", labels, v->ops[op]);
    if (v->bytes[op] || op <= SUBSYS_WRITE)
        strbuf_add(&p->bytes_total, "firn_volume_bytes_total{%s} %" PRIu64 "\n", labels, v->bytes[op]);
    if (v->latency[op].count)
        metric_hist_render(&p->latency_seconds, "firn_volume_latency_seconds", labels, &v->latency[op]);
}

static void print_volume(struct metrics_page *p, const struct volume_stats *v)
{
    for (unsigned i = 0; v->served && i < SUBSYS_OP_NR; i++)
        print_op(p, v, (enum subsys_op)i);
    if (v->served)
        strbuf_add(&p->controllers, "firn_volume_controllers{volume=\"%s\"} %" PRIu32 "\n", v->name, v->controllers);
    strbuf_add(&p->size_bytes, "firn_volume_size_bytes{volume=\"%s\"} %" PRIu64 "\n", v->name, v->size_bytes);
    strbuf_add(&p->used_bytes, "firn_volume_used_bytes{volume=\"%s\",tier=\"ssd\"} %" PRIu64 "\n"
                               "firn_volume_used_bytes{volume=\"%s\",tier=\"flash\"} %" PRIu64 "\n"
                               "firn_volume_used_bytes{volume=\"%s\",tier=\"hdd\"} %" PRIu64 "\n",
               v->name, v->used_bytes_ssd, v->name, v->used_bytes_flash, v->name, v->used_bytes_hdd);
    strbuf_add(&p->cache_hits_total, "firn_volume_cache_hits_total{volume=\"%s\"} %" PRIu64 "\n", v->name, v->hit_blocks);
    strbuf_add(&p->cache_misses_total, "firn_volume_cache_misses_total{volume=\"%s\"} %" PRIu64 "\n", v->name, v->miss_blocks);
    strbuf_add(&p->dirty_bytes, "firn_volume_dirty_bytes{volume=\"%s\"} %" PRIu64 "\n", v->name, v->dirty_bytes);
}

static void gather_volumes(struct metrics_page *p)
{
    struct volume_stats *v = calloc(NODE_STATS_MAX, sizeof(*v));
    char after[NAME_MAX_CHARS + 1] = "";
    int nr = v ? (int)NODE_STATS_MAX : -1;

    while (nr == (int)NODE_STATS_MAX) {
        nr = node_volume_stats(p->n, after, v, NODE_STATS_MAX);
        for (int i = 0; i < nr; i++)
            print_volume(p, &v[i]);
        if (nr > 0)
            memcpy(after, v[nr - 1].name, sizeof(after));
    }
    p->complete = nr >= 0;
    free(v);
}

static void render_volumes(struct metrics_page *p, struct strbuf *b)
{
#define X(name, type, help)                                                  \
    head(b, "firn_volume_" #name, type, help);                               \
    strbuf_add_bytes(b, strbuf_str(&p->name), p->name.len);                  \
    b->failed |= p->name.failed;
    VOLUME_FAMILIES(X)
#undef X
}

/* ---- pool and devices -------------------------------------------------------------------------------------------- */

static void pool_gauge(struct strbuf *b, const char *pool, const char *name, const char *labels, uint64_t v, const char *help)
{
    head(b, name, "gauge", help);
    strbuf_add(b, "%s{pool=\"%s\"%s%s} %" PRIu64 "\n", name, pool, labels[0] ? "," : "", labels, v);
}

static void pool_counter(struct strbuf *b, const char *pool, const char *name, const char *labels, uint64_t v, const char *help)
{
    head(b, name, "counter", help);
    strbuf_add(b, "%s{pool=\"%s\"%s%s} %" PRIu64 "\n", name, pool, labels[0] ? "," : "", labels, v);
}

static void render_tier_stats(struct metrics_page *p, const char *pool, struct strbuf *b)
{
    struct tier_stats s;

    node_tier_stats(p->n, &s);
#define X(name, help) pool_counter(b, pool, "firn_tier_" #name "_total", "", s.name, "Tier: " help ".");
    TIER_COUNTERS(X)
#undef X
    pool_counter(b, pool, "firn_cache_hits_total", "", s.read_hit_blocks + s.stage_hit_blocks, "Blocks read that the SSD or RAM held.");
    pool_counter(b, pool, "firn_cache_misses_total", "", s.read_miss_blocks, "Blocks read that a capacity device held.");
    head(b, "firn_tier_migrated_bytes_total", "counter", "Bytes moved between tiers, by direction.");
    strbuf_add(b, "firn_tier_migrated_bytes_total{pool=\"%s\",direction=\"destage\"} %" PRIu64 "\n"
                  "firn_tier_migrated_bytes_total{pool=\"%s\",direction=\"to_flash\"} %" PRIu64 "\n"
                  "firn_tier_migrated_bytes_total{pool=\"%s\",direction=\"to_hdd\"} %" PRIu64 "\n",
               pool, s.destage_blocks * BLOCK_BYTES, pool, s.migrate_up_blocks * BLOCK_BYTES, pool, s.migrate_down_blocks * BLOCK_BYTES);
    head(b, "firn_checksum_errors_total", "counter", "Blocks that failed their checksum, by tier.");
    strbuf_add(b, "firn_checksum_errors_total{pool=\"%s\",tier=\"ssd\"} %" PRIu64 "\n"
                  "firn_checksum_errors_total{pool=\"%s\",tier=\"hdd\"} %" PRIu64 "\n",
               pool, s.csum_errors_ssd, pool, s.csum_errors_hdd);
}

static void render_journal(struct metrics_page *p, const char *pool, struct strbuf *b)
{
    struct journal_stats s;
    struct metric_hist h;
    struct metric m;

    node_journal_stats(p->n, &s);
#define X(name, help) pool_counter(b, pool, "firn_journal_" #name "_total", "", s.name, "Journal: " help ".");
    JOURNAL_COUNTERS(X)
#undef X
    node_commit_hist(p->n, &h);
    metric_labels(&m, "pool", pool, NULL);
    head(b, "firn_journal_commit_seconds", "histogram", "Time from a commit group's submission until it is durable.");
    metric_hist_render(b, "firn_journal_commit_seconds", m.labels, &h);
}

static void render_pool(struct metrics_page *p, struct strbuf *b)
{
    struct tier_info i;

    node_pool_info(p->n, &i);
    pool_gauge(b, i.name, "firn_journal_size_bytes", "", i.journal_bytes, "Size of the log.");
    pool_gauge(b, i.name, "firn_journal_dirty_bytes", "", i.journal_dirty_bytes, "Bytes of the log that are not destaged.");
    pool_gauge(b, i.name, "firn_journal_kept_bytes", "", i.journal_kept_bytes,
               "Bytes of those that were destaged, and wait for it again: a write that a crash cut short may have torn them.");
    pool_gauge(b, i.name, "firn_journal_segments", "", i.journal_segments, "Segments of the log.");
    pool_gauge(b, i.name, "firn_journal_free_segments", "", i.journal_free_segments, "Segments of the log that are free.");
    pool_gauge(b, i.name, "firn_capacity_size_bytes", "", i.capacity_bytes, "Size of the capacity devices together.");
    pool_gauge(b, i.name, "firn_capacity_used_bytes", "", i.capacity_used_bytes, "Bytes of capacity that extents take.");
    pool_gauge(b, i.name, "firn_capacity_reserved_bytes", "", i.capacity_reserved_bytes,
               "Bytes of capacity held for what the log will settle there.");
    head(b, "firn_tier_extents", "gauge", "Extents of which the tier holds anything.");
    strbuf_add(b, "firn_tier_extents{pool=\"%s\",tier=\"ssd\"} %" PRIu64 "\n"
                  "firn_tier_extents{pool=\"%s\",tier=\"flash\"} %" PRIu64 "\n"
                  "firn_tier_extents{pool=\"%s\",tier=\"hdd\"} %" PRIu64 "\n",
               i.name, i.ssd_extents, i.name, i.flash_used_bytes / EXTENT_BYTES, i.name,
               (i.capacity_used_bytes - i.flash_used_bytes) / EXTENT_BYTES);
    pool_gauge(b, i.name, "firn_index_blocks", "", i.index_blocks, "Blocks that the index in memory knows.");
    pool_gauge(b, i.name, "firn_index_bytes", "", i.index_bytes, "Memory that the index takes.");
    pool_gauge(b, i.name, "firn_damaged_blocks", "", i.damaged_blocks, "Blocks of 4 KiB known not to be readable, each counted once.");
    pool_gauge(b, i.name, "firn_pool_read_only", "", i.read_only, "1: the pool takes no writes.");
    render_tier_stats(p, i.name, b);
    render_journal(p, i.name, b);
}

static void dev_series(struct strbuf *b, const char *name, const char *type, const char *help, const struct tier_dev_info *d, uint32_t nr,
                       uint64_t (*get)(const struct tier_dev_info *d, unsigned op), bool by_op)
{
    head(b, name, type, help);
    for (uint32_t i = 0; i < nr; i++)
        for (unsigned op = 0; op < (by_op ? (unsigned)DEV_OP_NR : 1u); op++) {
            struct metric m;

            if (by_op)
                metric_labels(&m, "device", d[i].path, "op", dev_op_names[op], NULL);
            else
                metric_labels(&m, "device", d[i].path, NULL);
            strbuf_add(b, "%s{%s} %" PRIu64 "\n", name, m.labels, get(&d[i], op));
        }
}

static uint64_t dev_ops(const struct tier_dev_info *d, unsigned op) { return d->io.ops[op]; }
static uint64_t dev_bytes(const struct tier_dev_info *d, unsigned op) { return d->io.bytes[op]; }
static uint64_t dev_errors(const struct tier_dev_info *d, unsigned op) { return d->io.errors[op]; }
static uint64_t dev_size(const struct tier_dev_info *d, unsigned op) { (void)op; return d->size_bytes; }
static uint64_t dev_used(const struct tier_dev_info *d, unsigned op) { (void)op; return d->used_bytes; }
static uint64_t dev_up(const struct tier_dev_info *d, unsigned op) { (void)op; return strcmp(tier_dev_state(d), "ok") == 0; }

static void dev_latency(struct metrics_page *p, struct strbuf *b, const struct tier_dev_info *d, uint32_t nr)
{
    head(b, "firn_device_latency_seconds", "histogram", "Time from request to completion at the device, by operation.");
    for (uint32_t i = 0; i < nr; i++)
        for (unsigned op = 0; op < DEV_OP_NR; op++) {
            struct metric_hist h;
            struct metric m;

            node_dev_hist(p->n, i, (enum dev_op)op, &h);
            if (h.count == 0)
                continue;
            metric_labels(&m, "device", d[i].path, "op", dev_op_names[op], NULL);
            metric_hist_render(b, "firn_device_latency_seconds", m.labels, &h);
        }
}

static void render_devices(struct metrics_page *p, struct strbuf *b)
{
    const uint32_t max = 1 + CACHE_DEVS_MAX + CAPACITY_DEVS_MAX;
    struct tier_dev_info *d = calloc(max, sizeof(*d));
    uint32_t nr = d ? node_dev_info(p->n, d, max) : 0;

    dev_series(b, "firn_device_ops_total", "counter", "Requests to the device, by operation.", d, nr, dev_ops, true);
    dev_series(b, "firn_device_bytes_total", "counter", "Bytes moved to and from the device, by operation.", d, nr, dev_bytes, true);
    dev_series(b, "firn_device_errors_total", "counter", "Requests that the device failed, by operation.", d, nr, dev_errors, true);
    dev_latency(p, b, d, nr);
    dev_series(b, "firn_device_size_bytes", "gauge", "Size of the device as the pool uses it.", d, nr, dev_size, false);
    dev_series(b, "firn_device_used_bytes", "gauge", "Bytes of it in use.", d, nr, dev_used, false);
    dev_series(b, "firn_device_up", "gauge", "0: the device failed, is degraded, or is missing.", d, nr, dev_up, false);
    free(d);
}

/* ---- target, reactors, process ----------------------------------------------------------------------------------- */

static void plain(struct strbuf *b, const char *name, const char *type, uint64_t v, const char *help)
{
    head(b, name, type, help);
    strbuf_add(b, "%s %" PRIu64 "\n", name, v);
}

static void render_target(struct metrics_page *p, struct strbuf *b)
{
    struct target_stats t;

    node_target_stats(p->n, &t);
    plain(b, "firn_connections", "gauge", t.connections, "NVMe/TCP connections open.");
    plain(b, "firn_connections_refused_total", "counter", t.connections_refused, "Connections refused: not allowed, or a limit.");
    plain(b, "firn_protocol_errors_total", "counter", t.protocol_errors, "Connections ended for breaking the protocol.");
    plain(b, "firn_digest_errors_total", "counter", t.digest_errors, "PDUs whose digest did not match.");
    plain(b, "firn_fenced_commands_total", "counter", t.fenced_commands, "Commands of dead associations that were fenced.");
}

static void render_reactors(struct metrics_page *p, struct strbuf *b)
{
    static const struct { const char *name, *help; size_t at; } rows[] = {
        {"firn_reactor_passes_total", "Passes of the loop.", offsetof(struct reactor_stats, passes)},
        {"firn_reactor_sleeps_total", "Times the reactor slept in the kernel.", offsetof(struct reactor_stats, sleeps)},
        {"firn_reactor_wakeups_total", "Times another thread woke it.", offsetof(struct reactor_stats, wakeups)},
        {"firn_reactor_sqes_total", "Operations given to the ring.", offsetof(struct reactor_stats, sqes)},
        {"firn_reactor_cqes_total", "Completions taken from the ring.", offsetof(struct reactor_stats, cqes)},
    };
    struct reactor_stats s[REACTORS_MAX];
    uint32_t nr = node_reactors(p->n);

    for (uint32_t i = 0; i < nr; i++)
        node_reactor_stats(p->n, i, &s[i]);
    for (unsigned r = 0; r < ARRAY_LEN(rows); r++) {
        head(b, rows[r].name, "counter", rows[r].help);
        for (uint32_t i = 0; i < nr; i++) {
            uint64_t v;

            memcpy(&v, (const char *)&s[i] + rows[r].at, sizeof(v));
            strbuf_add(b, "%s{reactor=\"%" PRIu32 "\"} %" PRIu64 "\n", rows[r].name, i, v);
        }
    }
    head(b, "firn_reactor_busy_seconds_total", "counter", "Time the reactor had work.");
    for (uint32_t i = 0; i < nr; i++)
        strbuf_add(b, "firn_reactor_busy_seconds_total{reactor=\"%" PRIu32 "\"} %.6f\n", i, (double)s[i].busy_ns / 1e9);
    head(b, "firn_reactor_spin_seconds_total", "counter", "Time the reactor spun without work.");
    for (uint32_t i = 0; i < nr; i++)
        strbuf_add(b, "firn_reactor_spin_seconds_total{reactor=\"%" PRIu32 "\"} %.6f\n", i, (double)s[i].spin_ns / 1e9);
}

static void render(struct metric_collector *c, struct strbuf *b)
{
    struct metrics_page *p = container_of(c, struct metrics_page, coll);

    head(b, "firn_build_info", "gauge", "Always 1; the labels say what runs.");
    strbuf_add(b, "firn_build_info{version=\"%s\",node=\"%s\"} 1\n", FIRN_VERSION, node_name(p->n));
    plain(b, "firn_up", "gauge", p->complete, "1: the server answers, reactor 0 included.");
    plain(b, "firn_log_dropped_lines_total", "counter", log_dropped(), "Log lines that standard error did not take.");
    render_target(p, b);
    render_reactors(p, b);
    if (node_has_pool(p->n)) {
        render_pool(p, b);
        render_devices(p, b);
    }
    render_volumes(p, b);
}

int metrics_page_new(struct node *n, struct metrics_page **out)
{
    struct metrics_page *p = calloc(1, sizeof(*p));

    if (!p)
        return -FIRN_E_NO_RESOURCES;
    p->n = n;
    p->coll.render = render;
    pthread_mutex_init(&p->mu, NULL);
    metric_collector_register(&p->coll);
    *out = p;
    return 0;
}

void metrics_page_free(struct metrics_page *p)
{
    metric_collector_unregister(&p->coll);
    pthread_mutex_destroy(&p->mu);
    free(p);
}

void metrics_page_render(struct metrics_page *p, struct strbuf *out)
{
    pthread_mutex_lock(&p->mu);
#define X(name, type, help) strbuf_init(&p->name);
    VOLUME_FAMILIES(X)
#undef X
    gather_volumes(p);
    metrics_render(out);
#define X(name, type, help) strbuf_fini(&p->name);
    VOLUME_FAMILIES(X)
#undef X
    pthread_mutex_unlock(&p->mu);
}
